/* SPDX-License-Identifier: MIT */
/*
 * check_race.h - data races: two accesses of one place by two threads, at least one of them a write, at least one of
 * them plain, and nothing that puts one before the other (C11 5.1.2.4).
 *
 * What orders: each thread's own course; an acquire that reads what a release wrote, or a read-modify-write after it;
 * fences; the end of a read section and the calls that waited for it; what the port hands from one thread to another.
 * That the scheduler runs one thread at a time orders nothing: a race is found in an execution in which it does no harm.
 */
#ifndef CHECK_RACE_H
#define CHECK_RACE_H

#include "check.h"
#include "sim_priv.h"

/* How far into the course of each thread one has seen. */
struct check_clock {
	uint32_t of[CHECK_THREADS];
};

/* Of one thread. */
struct check_course {
	_Alignas(16) struct check_clock now;
	struct check_clock unfenced; /* what relaxed loads have met: an acquire fence takes it */
	struct check_clock fence; /* at the last release fence: relaxed stores hand it on */
};

enum check_access {
	CHECK_LOAD,
	CHECK_STORE,
	CHECK_UPDATE,
};

struct check_races;

struct check_races *check_races_new(void);
void check_races_free(struct check_races *r);
/* Forgets the last execution. */
void check_races_begin(struct check *c);

/* ---- by the callbacks of the compiler (check_shadow.h) ---------------------------------------------------- */

void check_fence(int order);

/* ---- read sections ----------------------------------------------------------------------------------------------------- */

/* The current thread has left one. What comes later in it may come after what waits for it. */
void check_section_left(struct check *c);
/* What a call that is deferred now will have seen already. */
void check_deferred(struct check *c, struct check_clock *seen);
/* Round a deferred call: it has seen that; its thread has not. => what the thread had seen before */
struct check_course check_call_begin(struct check *c, const struct check_clock *seen);
void check_call_end(struct check *c, const struct check_course *before);

/* Memory that the port gives or takes back. */
void check_handed(const void *memory, size_t size, enum sim_handing how);

#endif
