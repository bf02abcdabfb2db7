/* SPDX-FileCopyrightText: 2026 proxy_snn_control developers
 * SPDX-License-Identifier: Apache-2.0 */
/* The serial line of loop.c; host.c and mps2.c implement it. */
#ifndef UART_H
#define UART_H

/* The next byte, waiting for it; -1 where the line has ended, which only a host's does. */
int uart_read(void);

/* Send a byte. */
void uart_write(int byte);

#endif
