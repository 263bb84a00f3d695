/* SPDX-License-Identifier: MIT */
/*
 * check_bound.h - every execution of a program with at most so many preemptions: a thread that could go on stops, and another
 * goes on. Whoever goes on when a thread has to wait, or is done, costs nothing: there all are tried.
 *
 * Of executions that differ in the order of independent steps only (check_record.h) one is enough. So no thread is stopped before
 * a step of which nothing has been touched by a second thread, or nothing written, so far; when an object turns out to be shared
 * after all, everything is gone through once more. And a thread that was preempted does not come back before something
 * has happened that depends on its next step: check_bound.c says why that loses nothing within the bound.
 */
#ifndef CHECK_BOUND_H
#define CHECK_BOUND_H

#include "check.h"

struct check_explorer {
	/* Given. */
	unsigned bound, nr_threads;
	uint64_t most; /* executions, then it is cut; 0: any number */
	bool all; /* nothing is left out: to compare with */
	/* One execution, with all that is to be seen to before and after. False: enough. */
	bool (*run)(void *context, struct check_schedule *schedule);
	void *context;
	/* Found. */
	uint64_t executions; /* of all passes: with 0, 1, ... preemptions, and the last one again where that was necessary */
	uint64_t of_last_pass;
	uint64_t pruned; /* of these: given up in the middle, as another shows all that would come */
	bool cut; /* more choices than can be kept: not all was seen */
};

/* True: all was gone through, and nobody has said that it was enough. */
bool check_explore(struct check *c, struct check_explorer *e);

#endif
