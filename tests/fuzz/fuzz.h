/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what libFuzzer, AFL++ and OSS-Fuzz call; driver.c calls it with files.
 *
 * A target takes any bytes whatever, and ends with abort() when something is wrong. It keeps nothing between two
 * inputs, and does the same for the same bytes.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of programs: records.c; of text: lines.c. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
				 uint8_t *out, size_t max_size, unsigned seed);

/* libFuzzer's own; not there with the others. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

#endif
