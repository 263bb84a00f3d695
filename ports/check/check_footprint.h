/* SPDX-License-Identifier: MIT */
/*
 * check_footprint.h - which words of memory the core reads and writes in each thread: what two operations have in common.
 *
 * Recorded in an execution that is judged (check_race.h), of the region and of nothing else. What the port itself touches is
 * not there.
 */
#ifndef CHECK_FOOTPRINT_H
#define CHECK_FOOTPRINT_H

#include "check.h"

#define CHECK_FOOTPRINT_SHIFT 14
#define CHECK_FOOTPRINT_WORDS (1u << CHECK_FOOTPRINT_SHIFT)

/* Eight bytes; a bit for each byte that a thread has read, or written. */
struct check_touched {
	uintptr_t at; /* 0: nothing here */
	uint8_t read[CHECK_THREADS], written[CHECK_THREADS];
};

struct check_footprint {
	uint32_t n;
	bool full; /* there was more */
	struct check_touched words[CHECK_FOOTPRINT_WORDS];
};

/* The one that is written to now; NULL: none. */
extern struct check_footprint *check_footprint;

/* Empty, and the one that is written to from now on. NULL: nobody records. */
void check_footprint_begin(struct check_footprint *f);

void check_footprint_note(uintptr_t word, unsigned thread, unsigned bytes, bool write);

#endif
