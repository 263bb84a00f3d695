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
	CHECK_RELAXED, /* until somebody has written to what it looked at */
	CHECK_DONE,
};

struct check_thread {
	struct check_coroutine coroutine;
	enum check_state state;
	void (*body)(void *argument);
	void *argument;
	uint32_t points;
	const volatile void *word; /* waiting for it */
	const volatile void *looked_at; /* last, atomically */
	bool looks; /* it relaxed, and this was written */
	uint32_t priority; /* CHECK_PCT: higher goes first */
	/* What the simulated machine keeps for the thread that runs. */
	unsigned irq_depth;
	struct sim_locks *locks;
	struct check_course course;
	uint32_t asked[CHECK_NR_FAILING];
	uint32_t enabler; /* the step that let it go on (check_record.c) */
};

/* What an address stands for. */
enum check_kind {
	CHECK_ATOMIC, /* an object of the core */
	CHECK_PORT, /* something of the port, or of the caller */
	CHECK_WORD, /* a word that is waited for */
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
	uint32_t points;
	uint32_t relaxed; /* threads */
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
	struct check_record *record; /* of steps; or NULL */
	bool pruned; /* given up: what it would have shown, another execution has, or will */
	check_observer *observer;
	void *observer_context;
	char finding[512];
};

extern struct check *
	check_running; /* the one that has threads going; the callbacks of the compiler know no other way */

/*
 * For check_record.c; pre: c->record. At each decision: who could go on, and who usually does. When a thread's turn has come, its
 * step begins (object: of its atomic access, or NULL): false, it sleeps, and the execution is to be given up. Then what
 * the step touches.
 */
void check_record_decision(struct check *c, uint32_t enabled, unsigned usual, bool free);
bool check_record_step(struct check *c, const volatile void *object, bool write);
void check_record_touch(struct check *c, const volatile void *object, enum check_kind kind,
			bool write);
/* A call is deferred: when it comes depends on the read sections of others. */
void check_record_defers(struct check *c);
/* The thread, which waits or spins, may go on. */
void check_record_enables(struct check *c, unsigned thread);

/* Does what the current thread asks for fail? */
bool check_fails(enum sim_at at);

static inline void check_touch_kind(struct check *c, const volatile void *object,
				    enum check_kind kind, bool write)
{
	if (c && c->record)
		check_record_touch(c, object, kind, write);
}

static inline void check_defers(struct check *c)
{
	if (c && c->record)
		check_record_defers(c);
}

/* Does another thread go on at this point? => the thread's turn has come again */
void check_decide(struct check *c, const volatile void *object, bool write, const void *site);

/* Threads that spin, and have looked at this, look again. */
void check_let_look(struct check *c, const volatile void *object);

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
	t->looked_at = object;
	if (write && c->relaxed)
		check_let_look(c, object);
}

/* An exchange, whose point was that of a load, has found what it expected. */
static inline void check_exchanged(const volatile void *object)
{
	struct check *c = check_running;

	if (!c || c->current == CHECK_THREADS)
		return;
	if (c->relaxed)
		check_let_look(c, object);
	check_touch_kind(c, object, CHECK_ATOMIC, true);
}

#endif
