/* SPDX-FileCopyrightText: 2026 proxy_snn_control developers
 * SPDX-License-Identifier: Apache-2.0 */
/* Standard input and output as the serial line. */
#include "uart.h"

#include <stdio.h>

int uart_read(void)
{
    fflush(stdout);
    return getchar();
}

void uart_write(int byte)
{
    putchar(byte);
}
