/* SPDX-License-Identifier: MIT */
/*
 * symbols.h - names of the kernel's own functions, for back traces. The Makefile links the kernel twice: once to learn
 * where they are, and again with a table of them, which lies behind everything that it names.
 */
#ifndef KERNEL_SYMBOLS_H
#define KERNEL_SYMBOLS_H

#include <stdint.h>

/* The function at an address of the kernel's text, and how far into it; NULL: no table. */
const char *symbol_name(uint64_t addr, uint64_t *offset);

#endif
