/* SPDX-License-Identifier: MIT */
/*
 * check.h - the simulated machine with several threads, under a scheduler that owns every decision.
 *
 * Threads are coroutines. The core is compiled with the compiler's thread-sanitizer instrumentation, whose callbacks are
 * ours (check_access.c): before each atomic operation of the core stands a scheduling point. Nothing else may switch, so
 * an execution is determined by the program and the list of its switches, and repeating it means following the list.
 *
 *	struct check *c = check_new();
 *	check_begin(c, sim, &schedule);
 *	check_spawn(c, body, argument);		two or more
 *	check_run(c);				=> true, or check_finding()
 *	check_end(c);
 *
 * What is looked for on the way: deadlock, livelock, a thread that makes no progress, and everything that the simulated
 * machine looks for (lock order, sleeping where that is not allowed, stale translations, ...: sim_errors()).
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim;
struct check;

#define CHECK_THREADS 4u
#define CHECK_SWITCHES 512u

/* At its point number `at` the thread stopped and another went on. */
struct check_switch {
	uint32_t at; /* counted in each thread, from 1 */
	uint8_t thread, to;
	const void *
		site; /* in the core: for people, not for replay; NULL: the thread could not go on, or nobody knows */
};

enum check_strategy {
	CHECK_REPLAY, /* the switches given, and no other; where one must be, to the next thread that can run */
	CHECK_WALK, /* at each point, one chance in `rate` */
	CHECK_STICKY, /* `rate` switches, anywhere in `length` points */
	CHECK_PCT, /* threads have priorities; at `rate` places in `length` points the running one gets the lowest */
	/* No strategies of one execution, but of all that there are. */
	CHECK_BOUND, /* check_bound.h */
	CHECK_DPOR, /* check_dpor.h */
	CHECK_NR_STRATEGIES,
};

/* What may fail: the at-th of the thread, and with `on` all that follow. */
enum check_failing {
	CHECK_ALLOC,
	CHECK_SWAP_READ,
	CHECK_SWAP_WRITE,
	CHECK_FILE_READ,
	CHECK_FILE_WRITE,
	CHECK_NR_FAILING,
};

struct check_failure {
	uint32_t at; /* counted in each thread, from 1 */
	uint8_t thread, kind;
	bool on;
};
#define CHECK_FAILURES 2u

struct check_schedule {
	enum check_strategy strategy;
	uint64_t seed;
	uint32_t rate;
	uint32_t length; /* expected points of an execution */
	uint8_t first; /* thread that begins */
	bool no_races; /* plain accesses are not judged */
	bool late; /* grace periods end as late as they may: when all threads are done */
	uint32_t budget; /* points of one execution; 0: a million */
	uint32_t nr_failures; /* given, whatever the strategy */
	struct check_failure failures[CHECK_FAILURES];
	uint32_t nr_switches; /* replay: given. Otherwise: found, for a replay */
	bool overflow; /* there were more switches than can be kept */
	struct check_switch switches[CHECK_SWITCHES];
};

struct check *check_new(void);
void check_free(struct check *c);

/* The schedule is the caller's, and stays until check_end(). */
void check_begin(struct check *c, struct sim *s, struct check_schedule *schedule);
void check_spawn(struct check *c, void (*body)(void *argument), void *argument);
/* Runs all threads to their end. False: there is a finding, and what they left behind cannot be used any more. */
bool check_run(struct check *c);
/* Did it stop in the middle, as going on would have shown nothing new? (Only for check_bound.c and check_dpor.c.) */
bool check_pruned(const struct check *c);
/* What stopped it; "" if nothing did. */
const char *check_finding(const struct check *c);
void check_end(struct check *c);

/*
 * For a report: called when thread `from` stops at `site` (NULL: it has to wait, or is done) and `to` goes on. NULL: nobody.
 */
typedef void check_observer(void *context, unsigned from, unsigned to, const void *site);
void check_set_observer(struct check *c, check_observer *observer, void *context);

/* Of the last run. */
uint32_t check_points(const struct check *c);
unsigned
check_current(const struct check *c); /* number of the thread that runs; CHECK_THREADS: none */
uint64_t check_trace(const struct check *c); /* a hash of all points in their order */
uint32_t check_thread_points(const struct check *c, unsigned thread);
/* How much of that a thread has asked for. */
uint32_t check_asked(const struct check *c, unsigned thread, enum check_failing kind);

/* Told when the core stops outside of check_run(); must not return (longjmp). NULL: the process ends. */
void check_set_panic(void (*panic)(const char *what));

/* A finding of the caller, in a thread or outside. In a thread it does not return. */
void check_fail(const char *what);

/*
 * For what a caller's threads hand to each other without the core: what was before a release of the object is before what
 * comes after a later acquire.
 */
void check_release(const void *object);
void check_acquire(const void *object);

/* What a caller's threads share beside the core: this one reads it here, or changes it. */
void check_touch(const void *object, bool write);

/* The text of a race names a place of the program as '@' and eight letters, which this reads (behind the @): for people, a name is better. */
const void *check_spelled_site(const char *text);

#endif
