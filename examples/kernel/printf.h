/* SPDX-License-Identifier: MIT */
/* printf.h - the little of printf() that a kernel and its programs need: %s %c %d %u %x %p %%, width, 0, -, l. */
#ifndef KERNEL_PRINTF_H
#define KERNEL_PRINTF_H

#include <stdarg.h>

void format_text(void (*put)(void *context, char c), void *context, const char *format,
		 va_list args);

#endif
