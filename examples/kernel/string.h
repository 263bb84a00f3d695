/* SPDX-License-Identifier: MIT */
/* string.h - what every C compiler wants of a program without libc; and all that the core wants of libc. */
#ifndef KERNEL_STRING_H
#define KERNEL_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
