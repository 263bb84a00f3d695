/* SPDX-License-Identifier: MIT */
/*
 * check_memory.h - comes before every file of the core that is watched: the compiler does not tell of what these touch.
 */
#ifndef CHECK_MEMORY_H
#define CHECK_MEMORY_H

#include <stddef.h>
#include <string.h>

void *check_memset(void *at, int value, size_t size);
void *check_memcpy(void *to, const void *from, size_t size);

#define memset check_memset
#define memcpy check_memcpy

#endif
