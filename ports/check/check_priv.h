/* SPDX-License-Identifier: MIT */
/* check_priv.h - what the files of the checker's port share. */
#ifndef CHECK_PRIV_H
#define CHECK_PRIV_H

#include "check.h"
#include "check_coroutine.h"
#include "check_race.h"
#include "sim_priv.h"

enum check_state {
	CHECK_RUNNABLE,
	CHECK_WAITING, /* on `word` */
	CHECK_RELAXED, /* until somebody else has written */
	CHECK_DONE,
};

struct check_thread {
	struct check_coroutine coroutine;
	enum check_state state;
	void (*body)(void *argument);
	void *argument;
	uint32_t points;
	uint32_t writes; /* of the points */
	const volatile void *word; /* waiting for it */
	uint32_t relaxed_at; /* writes of all others when it began to relax */
	uint32_t priority; /* CHECK_PCT: higher goes first */
	/* What the simulated machine keeps for the thread that runs. */
	unsigned irq_depth;
	struct sim_locks *locks;
	struct check_course course;
	uint32_t asked[CHECK_NR_FAILING];
	uint32_t choice; /* the last one that is recorded, or none */
};

/* A place where another thread might have gone on (check_bound.c). */
struct check_choice {
	const volatile void *object; /* of the access that follows */
	uint32_t at; /* point of the thread */
	uint8_t thread, others; /* a bit for each that could run */
	bool free; /* this one could not go on */
	bool seen; /* others see more of what follows than the access */
};
struct check_record;

/* A call that waits for the read sections of these threads. */
struct check_grace {
	struct avm_deferred *deferred;
	uint32_t threads; /* a bit for each */
	struct check_clock seen; /* before the call */
};
#define CHECK_GRACES 256u

struct check {
	struct sim *sim;
	struct check_schedule *schedule;
	struct check_thread threads[CHECK_THREADS];
	struct check_coroutine outside;
	unsigned nr_threads, current; /* CHECK_THREADS: outside */
	uint32_t points, writes;
	uint32_t quiet; /* points up to which there is nothing to decide */
	uint64_t trace;
	uint64_t random;
	uint32_t next_switch; /* CHECK_STICKY, CHECK_PCT: index in `at` */
	uint32_t at[16]; /* points of the execution at which something is to happen, in order */
	uint32_t replayed; /* switches that are behind us */
	uint32_t lowest; /* CHECK_PCT */
	uint32_t nr_graces;
	struct check_grace graces[CHECK_GRACES];
	struct check_races *races;
	struct check_record *record; /* of choices; or NULL */
	check_observer *observer;
	void *observer_context;
	char finding[512];
};

extern struct check *
	check_running; /* the one that has threads going; the callbacks of the compiler know no other way */

/* The point, and who could go on there; what comes behind it is seen by others (check_bound.c). pre: c->record */
void check_record_access(struct check *c, const volatile void *address, bool write);
void check_record_choice(struct check *c, const volatile void *address, uint32_t others, bool free);
void check_record_seen(struct check *c);

/* Does what the current thread asks for fail? */
bool check_fails(enum sim_at at);

/* Others see something that is no access of the core. */
static inline void check_seen(struct check *c)
{
	if (c && c->record)
		check_record_seen(c);
}

/* Does another thread go on at this point? => the thread's turn has come again */
void check_decide(struct check *c, const volatile void *object, bool write, const void *site);

/* A scheduling point: before the access. */
static inline void check_point(const volatile void *object, bool write, const void *site)
{
	struct check *c = check_running;
	struct check_thread *t;

	if (!c || c->current == CHECK_THREADS)
		return;
	t = &c->threads[c->current];
	t->points++;
	c->points++;
	if (c->points > c->quiet)
		check_decide(c, object, write, site);
	c->trace = (c->trace ^ (c->current + 1 + 8 * (uint64_t)write)) * UINT64_C(0x100000001b3) +
		   t->points;
	t->writes += write;
	c->writes += write;
}

#endif
