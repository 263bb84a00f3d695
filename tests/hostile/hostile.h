/* SPDX-License-Identifier: MIT */
/*
 * hostile.h - a command of anonvm, run on thousands of damaged inputs: it must end with a documented status and a
 * message that names the line, in bounded time, whatever it reads.
 *
 *	AVM_HOSTILE_CASES=N	how many (default: some seconds' worth)
 *	AVM_HOSTILE_SEED=N	which; the same number, the same inputs
 *
 * Cases run in child processes, many in each. Of one that fails the input is written to a file, to be looked at.
 */
#ifndef ANONVM_TESTS_HOSTILE_H
#define ANONVM_TESTS_HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *p;
	size_t n;
};

struct hostile {
	const char *name; /* of the file written for a case that fails */
	size_t cases; /* unless AVM_HOSTILE_CASES says otherwise */
	const struct text *seeds;
	size_t nr_seeds;
	size_t max; /* bytes of one input */
	/* Runs the command on the file. rng is the case's own. => its exit status */
	int (*run)(const char *path, uint64_t *rng);
	/* Is this right? `err` is what it said on stderr. NULL, or why not. */
	const char *(*judge)(int status, const char *err);
};

/* => 0, or 1 when a case has failed. */
int hostile_main(const struct hostile *h);

/* The whole of a file, or the first `max` bytes; decompressed when its name says so. p NULL: cannot be read. */
struct text text_read(const char *path, size_t max);

/* Nothing that a terminal would obey. */
bool is_printable(const char *err);

/* Does a line of stderr begin with "anonvm: COMMAND: FILE:LINE: "? */
bool names_a_line(const char *err);

#endif
