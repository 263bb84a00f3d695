/* SPDX-License-Identifier: MIT */
/* console.h - text on the first serial line, and the end of it all. */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

#include <stddef.h>

#include "printf.h"

void console_init(void);
void console_write(const char *text, size_t len);

/* printf() of what printf.h knows; one call is not mixed with another CPU's. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A machine that panics does not wait for whoever has the console. */
void console_break_lock(void);

/* Ends the emulator: it exits with 2 * code + 1. On a machine without that device: halts. */
_Noreturn void power_off(unsigned char code);

#endif
