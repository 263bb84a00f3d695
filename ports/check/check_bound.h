/* SPDX-License-Identifier: MIT */
/*
 * check_bound.h - every execution of a program with at most so many preemptions: a thread that could go on stops, and another
 * goes on. Whoever goes on when a thread has to wait, or is done, costs nothing: there all are tried.
 *
 * Where the order of two threads cannot matter no thread is stopped: a point is left out whose object no second thread has
 * touched, or none has written, so far, unless it is in a read section, or what follows it up to the next point does
 * something else that others see (memory given or taken back, waiting, waking, the caller's part). When an object turns out
 * to be shared after all, everything is gone through once more.
 */
#ifndef CHECK_BOUND_H
#define CHECK_BOUND_H

#include "check.h"

struct check_explorer {
	/* Given. */
	unsigned bound, nr_threads;
	/* One execution, with all that is to be seen to before and after. False: enough. */
	bool (*run)(void *context, struct check_schedule *schedule);
	void *context;
	/* Found. */
	uint64_t executions; /* of all passes: with 0, 1, ... preemptions, and the last one again where that was necessary */
	uint64_t of_last_pass;
	bool cut; /* more choices than can be kept: not all was seen */
};

/* True: all was gone through, and nobody has said that it was enough. */
bool check_explore(struct check *c, struct check_explorer *e);

#endif
