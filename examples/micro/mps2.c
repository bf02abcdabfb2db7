/* SPDX-FileCopyrightText: 2026 proxy_snn_control developers
 * SPDX-License-Identifier: Apache-2.0 */
/* Start and serial line of Arm's MPS2 board with a Cortex-M4F (AN386), as QEMU emulates it. */
#include "uart.h"

#include <stdint.h>

#define UART_DATA (*(volatile uint32_t *)0x40004000u)
#define UART_STATE (*(volatile uint32_t *)0x40004004u) /* bit 0: cannot take more; bit 1: has one */
#define UART_CONTROL (*(volatile uint32_t *)0x40004008u)
#define UART_DIVISOR (*(volatile uint32_t *)0x40004010u)
#define COPROCESSORS (*(volatile uint32_t *)0xE000ED88u)

extern uint32_t stack_end[], data_begin[], data_end[], data_in_flash[], bss_begin[], bss_end[];
int main(void);

int uart_read(void)
{
    while (!(UART_STATE & 2u)) {
    }
    return (int)(UART_DATA & 0xFFu);
}

void uart_write(int byte)
{
    while (UART_STATE & 1u) {
    }
    UART_DATA = (uint32_t)byte;
}

void reset(void);
void reset(void)
{
    uint32_t *to;
    const uint32_t *from = data_in_flash;
    COPROCESSORS |= 0xFu << 20; /* the floating-point unit is off at first */
    __asm__ volatile("dsb\n\tisb");
    for (to = data_begin; to < data_end; to++)
        *to = *from++;
    for (to = bss_begin; to < bss_end; to++)
        *to = 0;
    UART_DIVISOR = 16;
    UART_CONTROL = 3; /* send and receive */
    main();
    for (;;) {
    }
}

static void fault(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)stack_end, (uintptr_t)reset, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
};
