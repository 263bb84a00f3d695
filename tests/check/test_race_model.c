/* SPDX-License-Identifier: MIT */
/*
 * test_race_model.c - the detector of races (check_race.c) forgets what it can, and skips what it has seen. Random programs of
 * plain and atomic accesses, against a model that keeps every access with the whole clock of its thread and compares
 * all of them: both must say the same of each execution.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check_priv.h"
#include "check_random.h"
#include "check_region.h"

#define THREADS 3u
#define OPS 10u
#define WORDS 3u
#define PROGRAMS 20000u

#define UNWATCHED __attribute__((no_sanitize("thread"), noinline))

enum kind {
	READ,
	WRITE,
	LOAD,
	STORE,
	ADD,
	ACQUIRE_FENCE,
	RELEASE_FENCE,
	NR_KINDS
};

struct op {
	uint8_t kind, at, size;
	bool ordered; /* acquire, release, or both */
};

/* Memory: plain accesses of 1, 4 and 8 bytes, atomic ones of 4. */
static union {
	uint64_t words[WORDS];
	uint8_t bytes[8 * WORDS];
	_Atomic uint32_t atomics[2 * WORDS];
} * memory, of_program;

static struct op program[THREADS][OPS];

/* What has happened, in its order; and what each thread is about to do. */
static struct done {
	struct op op;
	unsigned thread;
} done[THREADS * OPS];
static unsigned nr_done, at[THREADS];

/* ---- the model ----------------------------------------------------------------------------------------------------------- */

struct clock {
	unsigned of[THREADS];
};

static UNWATCHED void join(struct clock *to, const struct clock *from)
{
	for (unsigned i = 0; i < THREADS; i++)
		to->of[i] = to->of[i] > from->of[i] ? to->of[i] : from->of[i];
}

struct model {
	struct clock now[THREADS], fence[THREADS], unfenced[THREADS], object[2 * WORDS];
};

/* An operation of its thread, on what came before. */
static UNWATCHED void order(struct model *m, const struct done *d)
{
	struct clock *now = &m->now[d->thread], *object = &m->object[d->op.at / 4 % (2 * WORDS)];

	now->of[d->thread]++;
	if (d->op.kind == LOAD || d->op.kind == ADD)
		join(d->op.ordered ? now : &m->unfenced[d->thread], object);
	if (d->op.kind == STORE)
		memset(object, 0, sizeof(*object));
	if (d->op.kind == STORE || d->op.kind == ADD)
		join(object, d->op.ordered ? now : &m->fence[d->thread]);
	if (d->op.kind == ACQUIRE_FENCE)
		join(now, &m->unfenced[d->thread]);
	if (d->op.kind == RELEASE_FENCE)
		m->fence[d->thread] = *now;
}

static UNWATCHED bool conflict(const struct done *a, const struct done *b)
{
	bool atomic = a->op.kind >= LOAD && b->op.kind >= LOAD;
	bool writes = (a->op.kind != READ && a->op.kind != LOAD) ||
		      (b->op.kind != READ && b->op.kind != LOAD);

	return a->thread != b->thread && writes && !atomic && a->op.kind < ACQUIRE_FENCE &&
	       b->op.kind < ACQUIRE_FENCE && a->op.at < b->op.at + b->op.size &&
	       b->op.at < a->op.at + a->op.size;
}

/* Do any two of the first n race? */
static UNWATCHED bool races(unsigned n)
{
	struct model m = { 0 };
	unsigned when[THREADS * OPS];

	for (unsigned i = 0; i < n; i++) {
		order(&m, &done[i]);
		when[i] = m.now[done[i].thread].of[done[i].thread];
		for (unsigned k = 0; k < i; k++) {
			if (conflict(&done[k], &done[i]) &&
			    m.now[done[i].thread].of[done[k].thread] < when[k])
				return true;
		}
	}
	return false;
}

/* ---- the same by the detector -------------------------------------------------------------------------------------------- */

static UNWATCHED void note(unsigned thread)
{
	done[nr_done++] = (struct done){ program[thread][at[thread]], thread };
	at[thread]++;
}

static UNWATCHED struct op next(unsigned thread)
{
	return program[thread][at[thread]];
}

static UNWATCHED bool is_over(unsigned thread)
{
	return at[thread] == OPS;
}

static void access(const struct op *op)
{
	volatile uint8_t *byte = &memory->bytes[op->at];
	volatile uint32_t *half = (volatile uint32_t *)(volatile void *)byte;
	volatile uint64_t *word = (volatile uint64_t *)(volatile void *)byte;

	if (op->kind == READ)
		(void)(op->size == 1 ? *byte : op->size == 4 ? *half : *word);
	else if (op->size == 1)
		*byte = 1;
	else if (op->size == 4)
		*half = 1;
	else
		*word = 1;
}

/* The compiler wants to know the order of each. */
static void perform(const struct op *op)
{
	_Atomic uint32_t *object = &memory->atomics[op->at / 4];

	if (op->kind == LOAD && op->ordered)
		(void)atomic_load_explicit(object, memory_order_acquire);
	else if (op->kind == LOAD)
		(void)atomic_load_explicit(object, memory_order_relaxed);
	else if (op->kind == STORE && op->ordered)
		atomic_store_explicit(object, 1, memory_order_release);
	else if (op->kind == STORE)
		atomic_store_explicit(object, 1, memory_order_relaxed);
	else if (op->kind == ADD && op->ordered)
		atomic_fetch_add_explicit(object, 1, memory_order_acq_rel);
	else if (op->kind == ADD)
		atomic_fetch_add_explicit(object, 1, memory_order_relaxed);
	else if (op->kind == ACQUIRE_FENCE)
		atomic_thread_fence(memory_order_acquire);
	else if (op->kind == RELEASE_FENCE)
		atomic_thread_fence(memory_order_release);
	else
		access(op);
}

static void body(void *argument)
{
	unsigned thread = (unsigned)(uintptr_t)argument;

	while (!is_over(thread)) {
		const struct op op = next(thread);

		perform(&op);
		note(thread);
	}
}

/* ---- programs ---------------------------------------------------------------------------------------------------------------- */

static UNWATCHED void make(uint64_t *random)
{
	static const uint8_t sizes[] = { 1, 4, 8 };
	/* Few plain accesses race less often, and say more of orders. */
	unsigned plain = 1u << check_random(random) % 3;

	for (unsigned t = 0; t < THREADS; t++) {
		for (unsigned i = 0; i < OPS; i++) {
			uint64_t bits = check_random(random);
			struct op *op = &program[t][i];

			op->kind = (uint8_t)(bits % 32 < plain ?
						     bits >> 8 & 1 :
						     LOAD + (bits >> 8) % (NR_KINDS - LOAD));
			op->ordered = bits >> 16 & 3;
			op->size = op->kind < LOAD ? sizes[(bits >> 20) % 3] : 4;
			op->at = (uint8_t)((bits >> 24) % (8 * WORDS / op->size) * op->size);
			if (op->kind >= LOAD && bits >> 40 & 1)
				op->at = 0; /* so that they meet */
		}
	}
}

/* Would what a thread was about to do race with what has happened? */
static UNWATCHED bool next_races(void)
{
	for (unsigned t = 0; t < THREADS; t++) {
		if (is_over(t))
			continue;
		done[nr_done] = (struct done){ next(t), t };
		if (races(nr_done + 1))
			return true;
	}
	return false;
}

static unsigned found;

static UNWATCHED void try_one(struct check *c, struct sim *sim, uint64_t seed)
{
	struct check_schedule s = { .strategy = CHECK_WALK, .rate = 1 + seed % 4, .seed = seed };
	uint64_t random = seed;

	check_region_back(); /* what a finding leaves behind */
	make(&random);
	nr_done = 0;
	memset(at, 0, sizeof(at));
	check_begin(c, sim, &s);
	for (unsigned t = 0; t < THREADS; t++)
		check_spawn(c, body, (void *)(uintptr_t)t);
	if (check_run(c) && !races(nr_done))
		return;
	found++;
	if (!check_finding(c)[0])
		fail_msg("program %llu: a race is missed", (unsigned long long)seed);
	if (races(nr_done) || !next_races())
		fail_msg("program %llu: there is no such race, or one before: %s",
			 (unsigned long long)seed, check_finding(c));
}

static void try_all(bool in_region)
{
	const struct sim_config config = { .frames = 16, .contents = SIM_STAMPS };
	struct check *c = check_new();
	struct sim *sim;

	assert_non_null(c);
	check_region_reset();
	assert_int_equal(sim_create(&sim, &config), 0);
	memory = in_region ? check_region_zeroed(1, sizeof(*memory)) : (void *)&of_program;
	check_region_keep();
	found = 0;
	for (uint64_t seed = 1; seed <= PROGRAMS; seed++)
		try_one(c, sim, seed);
	/* Both answers are frequent. */
	assert_in_range(found, PROGRAMS / 4, PROGRAMS / 4 * 3);
	check_region_back();
	check_region_forget();
	assert_int_equal(sim_destroy(sim), 0);
	check_free(c);
}

static void races_are_those_of_the_model_in_the_region(void **state)
{
	(void)state;
	try_all(true);
}

static void races_are_those_of_the_model_elsewhere(void **state)
{
	(void)state;
	try_all(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(races_are_those_of_the_model_in_the_region),
		cmocka_unit_test(races_are_those_of_the_model_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
