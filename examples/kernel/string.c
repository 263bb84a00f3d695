/* SPDX-License-Identifier: MIT */
/* string.c - the CPU has instructions for two of them. The kernel and the user programs have a copy each. */
#include <string.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (; n; x++, y++, n--) {
		if (*x != *y)
			return *x < *y ? -1 : 1;
	}
	return 0;
}
