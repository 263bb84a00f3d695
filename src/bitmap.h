/* SPDX-License-Identifier: MIT */
/*
 * Bitmaps of 64-bit words. Every search returns @bits when it finds nothing; bits of the last word
 * beyond @bits are never looked at. Not atomic: the caller holds the lock that covers the map.
 */
#ifndef AVM_BITMAP_H
#define AVM_BITMAP_H

#include "anonvm/base.h"

#define AVM_BITMAP_WORDS(bits) (((bits) + 63) / 64)

/* Index of the lowest, of the highest set bit. pre: @word is not 0. */
static inline unsigned int avm_word_first(uint64_t word)
{
	return (unsigned int)__builtin_ctzll(word);
}

static inline unsigned int avm_word_last(uint64_t word)
{
	return 63 - (unsigned int)__builtin_clzll(word);
}

static inline bool avm_bitmap_test(const uint64_t *map, size_t bit)
{
	return map[bit / 64] >> (bit % 64) & 1;
}

static inline void avm_bitmap_set(uint64_t *map, size_t bit)
{
	map[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static inline void avm_bitmap_clear(uint64_t *map, size_t bit)
{
	map[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
}

/* One loop for both searches: @invert is 0 to look for ones, all ones to look for zeros. */
static inline size_t avm_bitmap_scan(const uint64_t *map, size_t bits, size_t from, uint64_t invert)
{
	if (from >= bits)
		return bits;

	size_t i = from / 64;
	uint64_t word = (map[i] ^ invert) & ~UINT64_C(0) << (from % 64);

	while (!word) {
		if (++i >= AVM_BITMAP_WORDS(bits))
			return bits;
		word = map[i] ^ invert;
	}

	size_t bit = i * 64 + avm_word_first(word);

	return bit < bits ? bit : bits;
}

/* The first set, the first clear bit at or after @from. */
static inline size_t avm_bitmap_next_set(const uint64_t *map, size_t bits, size_t from)
{
	return avm_bitmap_scan(map, bits, from, 0);
}

static inline size_t avm_bitmap_next_zero(const uint64_t *map, size_t bits, size_t from)
{
	return avm_bitmap_scan(map, bits, from, ~UINT64_C(0));
}

static inline size_t avm_bitmap_first_set(const uint64_t *map, size_t bits)
{
	return avm_bitmap_next_set(map, bits, 0);
}

static inline size_t avm_bitmap_first_zero(const uint64_t *map, size_t bits)
{
	return avm_bitmap_next_zero(map, bits, 0);
}

#endif
