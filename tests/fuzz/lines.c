/* SPDX-License-Identifier: MIT */
/*
 * lines.c - how inputs that are text are changed: half of the time by lines, words and numbers, as tests/hostile does.
 */
#include <string.h>

#include "fuzz.h"
#include "mutate.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	struct mutation m = { .rng = seed, .text = (char *)data, .len = size, .cap = max_size };

	if (LLVMFuzzerMutate && (!size || mutate_random(&m.rng) % 2))
		return LLVMFuzzerMutate(data, size, max_size);
	for (uint64_t k = 1 + mutate_random(&m.rng) % 3; k; k--)
		mutate_once(&m);
	return m.len ? m.len : size;
}

/* One, with lines and words of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
				 uint8_t *out, size_t max_size, unsigned seed)
{
	struct mutation m = { .rng = seed,
			      .text = (char *)out,
			      .len = a_size < max_size ? a_size : max_size,
			      .cap = max_size,
			      .other = (const char *)b,
			      .other_len = b_size };

	memcpy(out, a, m.len);
	for (int k = 0; k < 4; k++)
		mutate_once(&m);
	return m.len;
}
