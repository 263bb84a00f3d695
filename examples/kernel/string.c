/* SPDX-License-Identifier: MIT */
/*
 * string.c - the CPU has instructions for two of them; by words, since an emulator does them one by one. The kernel and
 * the user programs have a copy each.
 */
#include <stdint.h>
#include <string.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	size_t words = n / 8, bytes = n % 8;
	void *at = to;

	__asm__ volatile("rep movsq\n\tmov %3, %2\n\trep movsb"
			 : "+D"(at), "+S"(from), "+c"(words)
			 : "r"(bytes)
			 : "memory");
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	uint64_t word = 0x0101010101010101ull * (unsigned char)byte;
	size_t words = n / 8, bytes = n % 8;
	void *at = to;

	__asm__ volatile("rep stosq\n\tmov %3, %1\n\trep stosb"
			 : "+D"(at), "+c"(words)
			 : "a"(word), "r"(bytes)
			 : "memory");
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
