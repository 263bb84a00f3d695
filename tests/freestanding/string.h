/* SPDX-License-Identifier: MIT */
/* All of libc that the core may use; an embedder's compiler wants these three anyway. */
#ifndef AVM_FREESTANDING_STRING_H
#define AVM_FREESTANDING_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
