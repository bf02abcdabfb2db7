/* SPDX-FileCopyrightText: 2026 proxy_snn_control developers
 * SPDX-License-Identifier: Apache-2.0 */
/* A policy on a bare processor: observations come by a serial line, actions go back by it.
 *
 * A request is 0xA5, the observation as float32, lowest byte first, and two bytes of checksum.
 * The answer is 0x5A, a status, the action as float32, and two bytes of checksum. A status of 1 means
 * that the observation had a NaN or an infinity, 2 that the checksum was wrong; the action is the
 * last safe one then. The checksum is Fletcher's of what is between the first byte and it.
 */
#include "policy.h"
#include "uart.h"

enum { REQUEST = 0xA5, ANSWER = 0x5A, UNREADABLE = 2 };

typedef struct {
    unsigned low, high;
} checksum;

static void add(checksum *sum, int byte)
{
    sum->low = (sum->low + (unsigned)byte) % 255;
    sum->high = (sum->high + sum->low) % 255;
}

static void put(checksum *sum, int byte)
{
    add(sum, byte);
    uart_write(byte);
}

typedef union {
    float number;
    uint32_t bits;
} word;

/* Receive one observation; 1 if it is whole, 0 if it is not, -1 at the end of the line. */
static int receive(float *observation)
{
    checksum sum = {0, 0};
    int i, byte, low, high;
    do {
        byte = uart_read();
        if (byte < 0)
            return -1;
    } while (byte != REQUEST);
    for (i = 0; i < POLICY_OBSERVATIONS; i++) {
        word value = {0};
        int shift;
        for (shift = 0; shift < 32; shift += 8) {
            byte = uart_read();
            if (byte < 0)
                return -1;
            add(&sum, byte);
            value.bits |= (uint32_t)byte << shift;
        }
        observation[i] = value.number;
    }
    low = uart_read();
    high = uart_read();
    return high < 0 ? -1 : low == (int)sum.low && high == (int)sum.high;
}

static void answer(int status, const float *action)
{
    checksum sum = {0, 0};
    int i;
    uart_write(ANSWER);
    put(&sum, status);
    for (i = 0; i < POLICY_ACTIONS; i++) {
        word value;
        int shift;
        value.number = action[i];
        for (shift = 0; shift < 32; shift += 8)
            put(&sum, (int)(value.bits >> shift & 0xFF));
    }
    uart_write((int)sum.low);
    uart_write((int)sum.high);
}

int main(void)
{
    static policy_state state;
    static float observation[POLICY_OBSERVATIONS], action[POLICY_ACTIONS];
    int whole;
    policy_init(&state);
    while ((whole = receive(observation)) >= 0) {
        if (whole)
            answer(policy_act(&state, observation, action), action);
        else
            answer(UNREADABLE, state.action);
    }
    return 0;
}
