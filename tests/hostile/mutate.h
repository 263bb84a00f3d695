/* SPDX-License-Identifier: MIT */
/*
 * mutate.h - damages text made of lines and numbers, as a bad disk or a bad person would: the same seed, the same damage.
 */
#ifndef ANONVM_TESTS_MUTATE_H
#define ANONVM_TESTS_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* A text being damaged; `other` is a second one to take lines and words from (it may be the same). */
struct mutation {
	uint64_t rng;
	char *text;
	size_t len, cap;
	const char *other;
	size_t other_len;
};

uint64_t mutate_random(uint64_t *rng);
/* Does one thing to the text. */
void mutate_once(struct mutation *m);

#endif
