/* SPDX-License-Identifier: MIT */
/*
 * test_exploration.c - is nothing lost that is left out as equal to something else? Small programs of loads, stores, updates
 * and locks, drawn at random; of each the traces (which write each load reads, and the order of the writes of each object) that one
 * way of going through all executions meets, and those that another meets. They must be the same ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check_dpor.h"
#include "check_priv.h"
#include "check_random.h"

#define SEEDS 60u /* programs; a few thousand were gone through once */
#define OBJECTS 3u
#define MOST_OPS 6u
#define MOST_TRACES 16384u

static struct check *checker;
static struct sim *sim;

static int open_checker(void **state)
{
	const struct sim_config config = { .frames = 16, .contents = SIM_STAMPS };

	(void)state;
	checker = check_new();
	return checker ? sim_create(&sim, &config) : -1;
}

static int close_checker(void **state)
{
	(void)state;
	check_free(checker);
	return sim_destroy(sim) ? -1 : 0;
}

/* ---- programs ------------------------------------------------------------------------------------------------------ */

enum what {
	LOAD,
	STORE,
	LOCKED, /* stores to the object under its lock */
	BOTH, /* stores to it, and then to something of the port */
	SPIN, /* locks as LOCKED does, spinning */
	OF_MEMORY,
	SECTION = OF_MEMORY, /* loads it twice, in a read section */
	DEFER, /* stores to it, and again after a grace period */
	NR_WHATS,
};

struct thread_program {
	uint8_t n, what[MOST_OPS], object[MOST_OPS];
};

static struct object {
	_Alignas(8) _Atomic uint32_t value, version;
} objects[OBJECTS], locks[OBJECTS], ports[OBJECTS];

static struct thread_program threads[CHECK_THREADS];
static unsigned nr_threads;
static uint64_t
	trace; /* of this execution: a sum, as the order of what does not depend on each other is not to matter */
static uint32_t accesses[CHECK_THREADS + 1];

static void meet(const struct object *o, bool write)
{
	unsigned t = check_current(checker);
	uint64_t h = (uint64_t)(uintptr_t)o * 31 + o->version * 7919u + t * 104729u +
		     ++accesses[t] * UINT64_C(15485863) + write;

	h *= UINT64_C(0x9e3779b97f4a7c15);
	h ^= h >> 31;
	trace += h * UINT64_C(0xbf58476d1ce4e5b9);
}

static uint32_t load(struct object *o)
{
	check_point(&o->value, false, NULL);
	meet(o, false);
	return o->value;
}

static void store(struct object *o, uint32_t value)
{
	check_point(&o->value, true, NULL);
	o->version++;
	meet(o, true);
	o->value = value;
}

static bool exchange(struct object *o, uint32_t from, uint32_t to)
{
	check_point(&o->value, false, NULL);
	if (o->value != from) {
		meet(o, false);
		return false;
	}
	check_exchanged(&o->value);
	o->version++;
	meet(o, true);
	o->value = to;
	return true;
}

static void store_locked(struct object *o, struct object *lock, bool spin)
{
	while (!exchange(lock, 0, 1)) {
		while (spin && load(lock))
			check_relax(sim_machine(sim));
		if (!spin)
			avm_port_wait(sim_machine(sim), &lock->value, 1);
	}
	store(o, 7);
	store(lock, 0);
	avm_port_wake(sim_machine(sim), &lock->value);
}

static struct later {
	struct avm_deferred deferred;
	struct object *object;
} calls[CHECK_THREADS][MOST_OPS];

static void store_again(struct avm_deferred *d)
{
	store(((struct later *)d)->object, 8); /* its first member */
}

static void store_twice(struct object *o, struct later *call)
{
	store(o, 7);
	call->deferred.call = store_again;
	call->object = o;
	avm_port_defer(sim_machine(sim), &call->deferred);
}

static void load_twice(struct object *o)
{
	uintptr_t saved = avm_port_irq_save(sim_machine(sim));

	load(o);
	load(o);
	avm_port_irq_restore(sim_machine(sim), saved);
}

static void run_thread(void *argument)
{
	const struct thread_program *t = argument;

	for (unsigned i = 0; i < t->n; i++) {
		struct object *o = &objects[t->object[i]], *next = &ports[i % 2];

		switch ((enum what)t->what[i]) {
		case LOAD:
			load(o);
			break;
		case STORE:
			store(o, i);
			break;
		case BOTH:
			store(o, i);
			check_touch(next, true);
			next->version++;
			meet(next, true);
			break;
		case SECTION:
			load_twice(o);
			break;
		case DEFER:
			store_twice(o, &calls[check_current(checker)][i]);
			break;
		default:
			store_locked(o, &locks[t->object[i]], t->what[i] == SPIN);
			break;
		}
	}
}

static void draw_program(uint64_t seed, unsigned n, unsigned most, unsigned whats)
{
	uint64_t state = seed;

	nr_threads = n;
	for (unsigned t = 0; t < n; t++) {
		threads[t].n = (uint8_t)(1 + check_random(&state) % most);
		for (unsigned i = 0; i < threads[t].n; i++) {
			threads[t].what[i] = (uint8_t)(check_random(&state) % whats);
			threads[t].object[i] = (uint8_t)(check_random(&state) % OBJECTS);
		}
	}
}

/* ---- traces -------------------------------------------------------------------------------------------------------------- */

struct traces {
	uint64_t of[MOST_TRACES];
	uint32_t n;
	uint64_t executions, pruned; /* that came to their end; that were given up */
	bool wrong; /* a finding */
};

static void add_trace(struct traces *all)
{
	for (uint32_t i = 0; i < all->n; i++) {
		if (all->of[i] == trace)
			return;
	}
	assert_true(all->n < MOST_TRACES);
	all->of[all->n++] = trace;
}

static bool run_program(void *context, struct check_schedule *s)
{
	struct traces *all = context;

	memset(objects, 0, sizeof(objects));
	memset(locks, 0, sizeof(locks));
	memset(ports, 0, sizeof(ports));
	memset(accesses, 0, sizeof(accesses));
	trace = s->late;
	check_begin(checker, sim, s);
	for (unsigned t = 0; t < nr_threads; t++)
		check_spawn(checker, run_thread, &threads[t]);
	if (!check_run(checker)) {
		all->wrong = true;
		return false;
	}
	sim_run_deferred(sim); /* late */
	if (check_pruned(checker))
		return true;
	all->executions++;
	add_trace(all);
	return true;
}

static void explore(struct traces *all, unsigned bound, bool everything)
{
	struct check_explorer e = { .bound = bound,
				    .all = everything,
				    .nr_threads = nr_threads,
				    .run = run_program,
				    .context = all };

	memset(all, 0, sizeof(*all));
	if (!check_explore(checker, &e))
		fail_msg("%s", check_finding(checker));
	all->pruned = e.pruned;
	all->executions = e.of_last_pass - e.pruned;
}

static void explore_traces(struct traces *all)
{
	struct check_explorer e = { .nr_threads = nr_threads, .run = run_program, .context = all };

	memset(all, 0, sizeof(*all));
	if (!check_explore_traces(checker, &e))
		fail_msg("%s", e.cut ? "cut" : check_finding(checker));
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void assert_same(struct traces *a, struct traces *b)
{
	qsort(a->of, a->n, sizeof(a->of[0]), by_value);
	qsort(b->of, b->n, sizeof(b->of[0]), by_value);
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->of, b->of, a->n * sizeof(a->of[0]));
}

static struct traces every, some;

/* ---- tests --------------------------------------------------------------------------------------------------------------- */

static void within_a_bound_no_trace_is_lost(void **state)
{
	uint64_t more = 0, fewer = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		draw_program(seed, 2 + seed % 2, seed % 2 ? 2 : 3, seed % 3 ? OF_MEMORY : NR_WHATS);
		for (unsigned bound = 0; bound <= (seed % 2 ? 2 : 3); bound++) {
			explore(&every, bound, true);
			explore(&some, bound, false);
			assert_same(&every, &some);
			more += every.executions;
			fewer += some.executions;
		}
	}
	assert_true(fewer < more / 2);
}

static void each_trace_comes_once(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		draw_program(seed, 2 + seed % 2, seed % 2 ? 2 : 3, seed % 3 ? OF_MEMORY : NR_WHATS);
		explore(&every, 30, false);
		explore_traces(&some);
		assert_same(&every, &some);
		if (seed % 3) /* read sections: there is more to an order than traces tell */
			assert_int_equal(some.executions, some.n);
	}
}

/* ---- shapes whose number of traces is known ------------------------------------------------------------------------------- */

/* A letter for each operation: a, b, c: a load of that object; A, B, C: a store. */
static void spell_program(const char *const *text)
{
	for (nr_threads = 0; nr_threads < CHECK_THREADS && text[nr_threads]; nr_threads++) {
		struct thread_program *t = &threads[nr_threads];

		t->n = (uint8_t)strlen(text[nr_threads]);
		for (unsigned i = 0; i < t->n; i++) {
			char letter = text[nr_threads][i];

			t->what[i] = letter >= 'a' ? LOAD : STORE;
			t->object[i] = (uint8_t)(letter - (letter >= 'a' ? 'a' : 'A'));
		}
	}
}

static void shapes_have_as_many_traces_as_they_should(void **state)
{
	static const struct {
		const char *threads[CHECK_THREADS];
		unsigned traces;
	} shapes[] = {
		{ { "AAAA", "BBBB" }, 1 }, /* nothing in common */
		{ { "aaaa", "aaaa" }, 1 }, /* nobody writes */
		{ { "A", "A" }, 2 }, /* n stores each: 2n over n */
		{ { "AA", "AA" }, 6 },	       { { "AAA", "AAA" }, 20 },
		{ { "AAAA", "AAAA" }, 70 },    { { "A", "A", "A" }, 6 }, /* 3! */
		{ { "A", "a", "a", "a" }, 8 }, /* each reader before or after */
		{ { "Ab", "Ba" }, 3 }, /* not both loads before both stores */
		{ { "AB", "ba" }, 3 }, /* not b after its store, and a before its own */
		{ { "BBA", "CCA" }, 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		spell_program(shapes[i].threads);
		explore_traces(&some);
		assert_int_equal(some.n, shapes[i].traces);
		assert_int_equal(some.executions, shapes[i].traces);
	}
}

/* Within two preemptions: all executions; those that are not left out; those given up in the middle; the traces of either. */
static void what_a_bound_leaves_out_is_counted(void **state)
{
	static const struct {
		const char *threads[CHECK_THREADS];
		unsigned all, some, pruned, traces;
	} shapes[] = {
		{ { "AAAAA", "AAAAA" }, 62, 52, 0, 42 }, /* 2 + 2n + 2n^2, 2 + 2n^2 */
		{ { "AAAB", "BBBA" }, 42, 14, 2, 7 },
		{ { "ABABAB", "ABABAB" }, 86, 64, 0, 52 },
		{ { "ABC", "CBA", "BAC" }, 402, 252, 36, 63 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		spell_program(shapes[i].threads);
		explore(&every, 2, true);
		explore(&some, 2, false);
		assert_int_equal(every.executions, shapes[i].all);
		assert_int_equal(some.executions, shapes[i].some);
		assert_int_equal(some.pruned, shapes[i].pruned);
		assert_int_equal(every.n, shapes[i].traces);
		assert_int_equal(some.n, shapes[i].traces);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(within_a_bound_no_trace_is_lost),
		cmocka_unit_test(each_trace_comes_once),
		cmocka_unit_test(shapes_have_as_many_traces_as_they_should),
		cmocka_unit_test(what_a_bound_leaves_out_is_counted),
	};

	return cmocka_run_group_tests(tests, open_checker, close_checker);
}
