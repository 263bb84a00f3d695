/* SPDX-License-Identifier: MIT */
/*
 * check_sched.c - who runs next: points, switches, and what it means when nobody can.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_priv.h"
#include "check_random.h"
#include "check_record.h"
#include "check_shadow.h"

#define BUDGET 1000000u

struct check *check_running;

static uint32_t below(struct check *c, uint32_t n)
{
	uint64_t bits = check_random(&c->random);

	return (uint32_t)(n & (n - 1) ? bits % n : bits & (n - 1)); /* a division less */
}

/* ---- life of an execution ------------------------------------------------------------------------------------------ */

struct check *check_new(void)
{
	struct check *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->races = check_races_new();
	for (unsigned i = 0; i < CHECK_THREADS; i++) {
		if (!c->races || !check_coroutine_init(&c->threads[i].coroutine)) {
			check_free(c);
			return NULL;
		}
	}
	return c;
}

void check_free(struct check *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < CHECK_THREADS; i++)
		check_coroutine_fini(&c->threads[i].coroutine);
	check_races_free(c->races);
	free(c);
}

/* The places of the execution at which the strategy acts: drawn at once, in order. */
static void draw_places(struct check *c, const struct check_schedule *s)
{
	const uint32_t most = sizeof(c->at) / sizeof(c->at[0]) - 1;
	uint32_t n = s->rate < most ? s->rate : most;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t place = 1 + below(c, s->length ? s->length : 1), k = i;

		for (; k > 0 && c->at[k - 1] > place; k--)
			c->at[k] = c->at[k - 1];
		c->at[k] = place;
	}
	c->at[n] = UINT32_MAX;
}

void check_begin(struct check *c, struct sim *s, struct check_schedule *schedule)
{
	c->sim = s;
	s->handed = check_handed;
	s->fails = check_fails;
	c->schedule = schedule;
	c->nr_threads = 0;
	c->current = CHECK_THREADS;
	c->points = c->relaxed = c->quiet = 0;
	c->trace = 0;
	c->random = schedule->seed;
	c->next_switch = c->replayed = c->nr_graces = 0;
	c->lowest = 0;
	c->finding[0] = '\0';
	c->pruned = false;
	if (c->record)
		check_record_begin(c->record);
	check_races_begin(c);
	c->at[0] = UINT32_MAX;
	if (schedule->strategy == CHECK_STICKY || schedule->strategy == CHECK_PCT)
		draw_places(c, schedule);
	if (schedule->strategy != CHECK_REPLAY) {
		schedule->nr_switches = 0;
		schedule->overflow = false;
	}
}

static void thread_body(void *argument);

void check_spawn(struct check *c, void (*body)(void *argument), void *argument)
{
	struct check_thread *t = &c->threads[c->nr_threads++];

	t->state = CHECK_RUNNABLE;
	t->body = body;
	t->argument = argument;
	t->points = t->irq_depth = 0;
	t->locks = NULL;
	memset(t->asked, 0, sizeof(t->asked));
	t->enabler = NO_NODE;
	t->looked_at = NULL;
	t->looks = false;
	t->priority = 1000 + below(c, 1000);
	check_coroutine_start(&t->coroutine, thread_body, t);
}

void check_set_observer(struct check *c, check_observer *observer, void *context)
{
	c->observer = observer;
	c->observer_context = context;
}

const char *check_finding(const struct check *c)
{
	return c->finding;
}

bool check_pruned(const struct check *c)
{
	return c->pruned;
}

void check_touch(const void *object, bool write)
{
	check_touch_kind(check_running, object, CHECK_PORT, write);
}

uint32_t check_points(const struct check *c)
{
	return c->points;
}

uint32_t check_thread_points(const struct check *c, unsigned thread)
{
	return c->threads[thread].points;
}

uint32_t check_asked(const struct check *c, unsigned thread, enum check_failing kind)
{
	return c->threads[thread].asked[kind];
}

unsigned check_current(const struct check *c)
{
	return c->current;
}

uint64_t check_trace(const struct check *c)
{
	return c->trace;
}

/* ---- switching ----------------------------------------------------------------------------------------------------- */

/* What the simulated machine keeps goes with the thread. */
static void keep(struct check *c)
{
	struct check_thread *t = &c->threads[c->current];

	t->irq_depth = c->sim->irq_depth;
	t->locks = c->sim->locks;
}

static void bring(struct check *c)
{
	struct check_thread *t = &c->threads[c->current];

	c->sim->irq_depth = t->irq_depth;
	c->sim->locks = t->locks;
}

static void go_to(struct check *c, unsigned next, const void *site)
{
	struct check_thread *from = &c->threads[c->current];

	if (next == c->current)
		return;
	if (c->observer)
		c->observer(c->observer_context, c->current, next, site);
	keep(c);
	c->current = next;
	c->quiet = 0;
	bring(c);
	check_judge_now(c);
	check_coroutine_switch(&from->coroutine, &c->threads[next].coroutine, false);
}

/* Back to check_run(), for good. */
static _Noreturn void leave(struct check *c)
{
	struct check_thread *from = &c->threads[c->current];

	keep(c);
	c->current = CHECK_THREADS;
	check_coroutine_switch(&from->coroutine, &c->outside, true);
	abort();
}

/* The turn of the current thread has come: its step begins. */
static void begin_step(struct check *c, const volatile void *object, bool write)
{
	if (check_record_step(c, object, write))
		return;
	c->pruned = true;
	leave(c);
}

void check_fail(const char *what)
{
	struct check *c = check_running;

	if (!c)
		return;
	if (!c->finding[0])
		snprintf(c->finding, sizeof(c->finding), "%s", what);
	if (c->current < CHECK_THREADS)
		leave(c);
}

/* ---- choosing --------------------------------------------------------------------------------------------------------- */

static bool can_run(const struct check *c, unsigned i)
{
	const struct check_thread *t = &c->threads[i];

	return t->state == CHECK_RUNNABLE || (t->state == CHECK_RELAXED && t->looks);
}

static uint32_t others_of(const struct check *c)
{
	uint32_t others = 0;

	for (unsigned i = 0; i < c->nr_threads; i++)
		others |= (uint32_t)(i != c->current && can_run(c, i)) << i;
	return others;
}

static unsigned count_others(const struct check *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->nr_threads; i++)
		n += i != c->current && can_run(c, i);
	return n;
}

/* The n-th of the others that can run. */
static unsigned other(const struct check *c, unsigned n)
{
	for (unsigned i = 0; i < c->nr_threads; i++) {
		if (i != c->current && can_run(c, i) && !n--)
			return i;
	}
	return c->current;
}

static unsigned highest(const struct check *c)
{
	unsigned best = CHECK_THREADS;

	for (unsigned i = 0; i < c->nr_threads; i++) {
		if (can_run(c, i) &&
		    (best == CHECK_THREADS || c->threads[i].priority > c->threads[best].priority))
			best = i;
	}
	return best;
}

static void note(struct check *c, unsigned to, const void *site)
{
	struct check_schedule *s = c->schedule;

	if (s->strategy == CHECK_REPLAY)
		return;
	if (s->nr_switches == CHECK_SWITCHES) {
		s->overflow = true;
		return;
	}
	s->switches[s->nr_switches++] = (struct check_switch){ c->threads[c->current].points,
							       (uint8_t)c->current, (uint8_t)to,
							       site };
}

/* Replay: is a switch due here? => its target, or the current thread */
static unsigned due(struct check *c)
{
	struct check_schedule *s = c->schedule;
	const struct check_switch *next = &s->switches[c->replayed];

	/* One of this thread that is behind us has been missed: the code has changed. */
	while (c->replayed < s->nr_switches && next->thread == c->current &&
	       next->at < c->threads[c->current].points) {
		c->replayed++;
		next++;
	}
	if (c->replayed == s->nr_switches || next->thread != c->current ||
	    next->at != c->threads[c->current].points)
		return c->current;
	c->replayed++;
	return next->to < c->nr_threads && can_run(c, next->to) ? next->to : c->current;
}

/* Another thread is to run here, or this one: what the strategy says. */
static unsigned decide(struct check *c)
{
	const struct check_schedule *s = c->schedule;
	unsigned others;

	switch (s->strategy) {
	case CHECK_REPLAY:
		return due(c);
	case CHECK_WALK:
		if (below(c, s->rate))
			return c->current;
		break;
	case CHECK_STICKY:
		if (c->points < c->at[c->next_switch])
			return c->current;
		c->next_switch++;
		break;
	default:
		if (c->points >= c->at[c->next_switch]) {
			c->next_switch++;
			c->threads[c->current].priority = 999 - c->lowest++;
		}
		return highest(c);
	}
	others = count_others(c);
	return others ? other(c, below(c, others)) : c->current;
}

/* The last point of the execution up to which nothing can be decided, if nobody is woken before, nor anybody switched to. */
static uint32_t quiet_until(const struct check *c)
{
	const struct check_schedule *s = c->schedule;
	const struct check_switch *next = &s->switches[c->replayed];
	uint32_t until = s->budget ? s->budget : BUDGET, at;

	if (c->record)
		return 0;
	switch (s->strategy) {
	case CHECK_REPLAY:
		if (c->replayed == s->nr_switches || next->thread != c->current)
			return until;
		at = c->points + (next->at - c->threads[c->current].points);
		break;
	case CHECK_PCT:
	case CHECK_STICKY:
		at = c->at[c->next_switch];
		break;
	default:
		return 0;
	}
	return at - 1 < until ? at - 1 : until;
}

void check_decide(struct check *c, const volatile void *object, bool write, const void *site)
{
	uint32_t budget = c->schedule->budget ? c->schedule->budget : BUDGET;
	unsigned next;

	if (c->points > budget)
		check_fail("no end: more steps than an execution may take (livelock, or a loop)");
	if (c->record)
		check_record_decision(c, others_of(c) | 1u << c->current, c->current, false);
	next = decide(c);
	if (next != c->current) {
		if (c->schedule->strategy == CHECK_REPLAY)
			c->schedule->switches[c->replayed - 1].site = site;
		note(c, next, site);
		go_to(c, next, site);
	} else {
		c->quiet = quiet_until(c);
	}
	if (c->record)
		begin_step(c, object, write);
}

/* ---- when the current thread cannot go on --------------------------------------------------------------------------- */

/* Who waits for what, as far as anybody can say. */
static _Noreturn void nobody_can_run(struct check *c)
{
	bool spins = false;

	for (unsigned i = 0; i < c->nr_threads; i++)
		spins = spins || c->threads[i].state == CHECK_RELAXED;
	check_fail(
		spins ? "livelock: every thread that is left spins or sleeps, and nobody can change that" :
			"deadlock: every thread that is left waits for another");
	abort();
}

/* That one, or the next who does not sleep. */
static unsigned awake(const struct check *c, unsigned next)
{
	const struct check_record *r = c->record;

	for (unsigned i = 0; r && r->avoids && i < c->nr_threads; i++) {
		unsigned t = (next + i) % c->nr_threads;

		if (t != c->current && can_run(c, t) && !(r->asleep & 1u << t))
			return t;
	}
	return next;
}

/* The next one in a circle, or any: part of the schedule, unless it is the next. */
static void give_way(struct check *c)
{
	unsigned next = CHECK_THREADS, others = count_others(c);

	if (!others && !can_run(c, c->current))
		nobody_can_run(c);
	if (!others) {
		if (c->record)
			check_record_decision(c, 1u << c->current, c->current, true);
		return;
	}
	for (unsigned i = 1; i < c->nr_threads && next == CHECK_THREADS; i++) {
		if (can_run(c, (c->current + i) % c->nr_threads))
			next = (c->current + i) % c->nr_threads;
	}
	if (c->record)
		check_record_decision(c, others_of(c), next, true);
	if (c->schedule->strategy == CHECK_REPLAY) {
		unsigned wanted = due(c);

		next = wanted != c->current ? wanted : awake(c, next);
	} else {
		unsigned wanted = c->schedule->strategy == CHECK_PCT ? highest(c) :
								       other(c, below(c, others));

		if (wanted != next)
			note(c, wanted, NULL);
		next = wanted;
	}
	go_to(c, next, NULL);
}

/* As a point that no access follows: the schedule can name it. */
static void stop_here(struct check *c, enum check_state state)
{
	struct check_thread *t = &c->threads[c->current];

	t->points++;
	c->points++;
	t->state = state;
	t->looks = false;
	c->relaxed += state == CHECK_RELAXED;
	give_way(c);
	c->relaxed -= state == CHECK_RELAXED;
	t->state = CHECK_RUNNABLE;
	c->quiet = 0;
	if (c->record)
		begin_step(c, NULL, false);
}

void check_relax(struct avm *m)
{
	struct check *c = check_running;

	if (!c || c->current == CHECK_THREADS) {
		avm_port_panic(m, "deadlock: a spin lock is taken twice");
		return;
	}
	stop_here(c, CHECK_RELAXED);
}

/* An access of four bytes, or of the eight that have them in it (check_record.c). */
void check_let_look(struct check *c, const volatile void *object)
{
	for (unsigned i = 0; i < c->nr_threads; i++) {
		struct check_thread *t = &c->threads[i];

		if (t->state != CHECK_RELAXED || t->looks ||
		    (uintptr_t)t->looked_at >> 3 != (uintptr_t)object >> 3)
			continue;
		t->looks = true;
		c->quiet = 0;
		if (c->record)
			check_record_enables(c, i);
	}
}

int avm_port_wait(struct avm *m, _Atomic uint32_t *word, uint32_t value)
{
	struct check *c = check_running;

	check_touch_kind(c, (const volatile void *)word, CHECK_ATOMIC, false);
	check_touch_kind(c, (const volatile void *)word, CHECK_WORD, false);
	if (atomic_load_explicit(word, memory_order_relaxed) != value)
		return 0;
	if (!c || c->current == CHECK_THREADS) {
		avm_port_panic(m, "deadlock: the only thread waits for itself");
		return -AVM_EINTR;
	}
	c->threads[c->current].word = word;
	stop_here(c, CHECK_WAITING);
	return 0;
}

void avm_port_wake(struct avm *m, _Atomic uint32_t *word)
{
	struct check *c = check_running;

	(void)m;
	check_touch_kind(c, (const volatile void *)word, CHECK_WORD, true);
	for (unsigned i = 0; c && i < c->nr_threads; i++) {
		if (c->threads[i].state == CHECK_WAITING && c->threads[i].word == word) {
			c->threads[i].state = CHECK_RUNNABLE;
			c->quiet = 0;
			if (c->record)
				check_record_enables(c, i);
		}
	}
}

/* ---- beginning and end ------------------------------------------------------------------------------------------------- */

static void thread_body(void *argument)
{
	struct check_thread *t = argument;
	struct check *c = check_running;

	if (c->record)
		begin_step(c, NULL, false);
	t->body(t->argument);
	sim_locks_check(c->sim, "by a thread that has ended");
	t->points++;
	t->state = CHECK_DONE;
	for (unsigned i = 0; i < c->nr_threads; i++) {
		if (c->threads[i].state != CHECK_DONE) {
			give_way(c);
			break;
		}
	}
	leave(c);
}

/* Who begins is a choice, too. */
static void begin_record(struct check *c)
{
	unsigned first = c->current;

	if (!c->record)
		return;
	c->current = CHECK_THREADS;
	check_record_decision(c, (1u << c->nr_threads) - 1, first, true);
	c->current = first;
}

bool check_run(struct check *c)
{
	struct sim_locks *locks = c->sim->locks;
	unsigned depth = c->sim->irq_depth;

	check_running = c;
	check_judge.of = c->schedule->no_races ? NULL : c;
	c->sim->threads = true;
	c->current = c->schedule->first < c->nr_threads ? c->schedule->first : 0;
	if (c->schedule->strategy == CHECK_PCT)
		c->current = highest(c);
	c->schedule->first = (uint8_t)c->current;
	begin_record(c);
	bring(c);
	check_judge_now(c);
	check_coroutine_switch(&c->outside, &c->threads[c->current].coroutine, false);
	check_running = check_judge.of = NULL;
	c->sim->threads = false;
	for (unsigned i = 0; i < c->nr_threads; i++) {
		if (!c->finding[0])
			sim_locks_free(c->threads[i].locks);
	}
	c->sim->locks = locks;
	c->sim->irq_depth = depth;
	return !c->finding[0];
}

void check_end(struct check *c)
{
	c->sim->handed = NULL;
	c->sim->fails = NULL;
	c->sim = NULL;
	c->schedule = NULL;
}
