/* SPDX-License-Identifier: MIT */
/*
 * test_schedules.c - does the scheduler find what only some orders show? Small shapes whose answer is known, without the
 * core: a counter that loses an update, two locks in two orders, a lock that nobody drops, windows far apart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check_dpor.h"
#include "check_priv.h"

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

/* ---- shapes ------------------------------------------------------------------------------------------------------- */

/* Objects of eight bytes (check_record.c). */
static _Alignas(8) _Atomic uint32_t a, b, flag;
static uint32_t steps; /* before and between what matters */

static uint32_t load(_Atomic uint32_t *x)
{
	check_point(x, false, NULL);
	return atomic_load(x);
}

static void store(_Atomic uint32_t *x, uint32_t value)
{
	check_point(x, true, NULL);
	atomic_store(x, value);
}

static void pass(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		load(&flag);
}

/* A window of one step in a long way. */
static void lose_update(void *argument)
{
	uint32_t value;

	(void)argument;
	pass(steps);
	value = load(&a);
	store(&a, value + 1);
	pass(steps);
}

static void lock(_Atomic uint32_t *l)
{
	uint32_t free = 0;

	for (;;) {
		check_point(l, true, NULL);
		if (atomic_compare_exchange_strong(l, &free, 1))
			return;
		free = 0;
		avm_port_wait(sim_machine(sim), l, 1);
	}
}

static void unlock(_Atomic uint32_t *l)
{
	store(l, 0);
	avm_port_wake(sim_machine(sim), l);
}

static void two_locks(void *argument)
{
	_Atomic uint32_t *first = argument ? &a : &b, *second = argument ? &b : &a;

	pass(steps);
	lock(first);
	lock(second);
	unlock(second);
	unlock(first);
}

static void spin_for_ever(void *argument)
{
	(void)argument;
	while (load(&flag) == 0)
		check_relax(sim_machine(sim));
}

static void set_flag(void *argument)
{
	(void)argument;
	pass(3);
	store(&flag, 1);
}

static void run_away(void *argument)
{
	(void)argument;
	while (load(&flag) == 0)
		;
}

/* Both windows have to be met: the second thread goes through a whole, twice, at the right places of the first. */
static void two_windows(void *argument)
{
	uint32_t x, y;

	(void)argument;
	x = load(&a);
	pass(steps);
	if (load(&a) == x)
		return;
	y = load(&b);
	pass(steps);
	if (load(&b) != y)
		check_fail("both windows");
}

static void change_both(void *argument)
{
	(void)argument;
	store(&a, 1);
	pass(steps);
	store(&b, 1);
}

/* ---- running --------------------------------------------------------------------------------------------------------- */

static bool run(struct check_schedule *s, void (*one)(void *), void (*two)(void *))
{
	atomic_store(&a, 0);
	atomic_store(&b, 0);
	atomic_store(&flag, 0);
	check_begin(checker, sim, s);
	check_spawn(checker, one, NULL);
	check_spawn(checker, two, &a);
	return check_run(checker);
}

/* Executions until `wrong` says so; 0: never in `most`. */
static unsigned search(enum check_strategy strategy, uint32_t rate, void (*one)(void *),
		       void (*two)(void *), bool (*wrong)(bool good), unsigned most,
		       struct check_schedule *s)
{
	uint32_t length = 0;

	for (unsigned i = 1; i <= most; i++) {
		*s = (struct check_schedule){ .strategy = i == 1 ? CHECK_REPLAY : strategy,
					      .seed = i,
					      .rate = rate,
					      .length = length,
					      .budget = 100000 };
		bool bad = wrong(run(s, one, two));

		length = i == 1 ? check_points(checker) : length;
		if (bad)
			return i;
	}
	return 0;
}

static bool update_is_lost(bool good)
{
	return good && atomic_load(&a) != 2;
}

static bool it_stops(bool good)
{
	return !good;
}

static void threads_one_after_the_other_lose_nothing(void **state)
{
	struct check_schedule s = { .strategy = CHECK_REPLAY };

	(void)state;
	steps = 10;
	assert_true(run(&s, lose_update, lose_update));
	assert_int_equal(atomic_load(&a), 2);
	assert_int_equal(check_points(checker), 2 * (2 * 10 + 2));
}

static void each_strategy_finds_a_lost_update(void **state)
{
	static const struct {
		enum check_strategy strategy;
		uint32_t rate;
	} all[] = { { CHECK_WALK, 4 },
		    { CHECK_STICKY, 1 },
		    { CHECK_STICKY, 3 },
		    { CHECK_PCT, 1 },
		    { CHECK_PCT, 2 } };
	struct check_schedule s;

	(void)state;
	steps = 10;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		assert_int_not_equal(search(all[i].strategy, all[i].rate, lose_update, lose_update,
					    update_is_lost, 2000, &s),
				     0);
}

static void what_was_found_is_found_again(void **state)
{
	struct check_schedule s;
	uint64_t trace;

	(void)state;
	steps = 10;
	assert_int_not_equal(
		search(CHECK_WALK, 8, lose_update, lose_update, update_is_lost, 2000, &s), 0);
	trace = check_trace(checker);
	assert_true(s.nr_switches > 0);
	s.strategy = CHECK_REPLAY;
	assert_true(update_is_lost(run(&s, lose_update, lose_update)));
	assert_true(check_trace(checker) == trace);
	/* One switch fewer is another execution. */
	s.nr_switches = 0;
	assert_false(update_is_lost(run(&s, lose_update, lose_update)));
	assert_false(check_trace(checker) == trace);
}

static void locks_in_two_orders_are_a_deadlock(void **state)
{
	struct check_schedule s;

	(void)state;
	steps = 5;
	assert_int_not_equal(search(CHECK_STICKY, 1, two_locks, two_locks, it_stops, 500, &s), 0);
	assert_non_null(strstr(check_finding(checker), "deadlock"));
	s.strategy = CHECK_REPLAY;
	assert_false(run(&s, two_locks, two_locks));
	assert_non_null(strstr(check_finding(checker), "deadlock"));
}

static void spinning_until_another_writes_ends(void **state)
{
	struct check_schedule s = { .strategy = CHECK_REPLAY };

	(void)state;
	assert_true(run(&s, spin_for_ever, set_flag));
}

static void spinning_for_what_nobody_writes_is_a_livelock(void **state)
{
	struct check_schedule s = { .strategy = CHECK_REPLAY };

	(void)state;
	assert_false(run(&s, spin_for_ever, spin_for_ever));
	assert_non_null(strstr(check_finding(checker), "livelock"));
}

static void a_thread_without_end_is_stopped(void **state)
{
	struct check_schedule s = { .strategy = CHECK_REPLAY, .budget = 1000 };

	(void)state;
	assert_false(run(&s, run_away, run_away));
	assert_non_null(strstr(check_finding(checker), "no end"));
}

/* A bug of depth two: both windows have to be met in one execution. */
static void two_windows_are_found_with_few_switches(void **state)
{
	struct check_schedule s;

	(void)state;
	steps = 60;
	assert_int_not_equal(search(CHECK_STICKY, 3, two_windows, change_both, it_stops, 5000, &s),
			     0);
	assert_string_equal(check_finding(checker), "both windows");
	assert_true(s.nr_switches >= 2);
}

/* ---- all there are ---------------------------------------------------------------------------------------------------- */

/* A shape of which every execution is wanted. */
struct shape {
	void (*one)(void *), (*two)(void *);
	bool (*wrong)(bool good);
	struct check_schedule found;
	bool is_found;
};

static bool run_shape(void *context, struct check_schedule *s)
{
	struct shape *x = context;

	if (!x->wrong(run(s, x->one, x->two)))
		return true;
	x->found = *s;
	x->is_found = true;
	return false;
}

/* => executions of the last pass; all, if nothing is found */
static uint64_t explore(struct shape *x, unsigned bound, bool *all)
{
	struct check_explorer e = { .bound = bound,
				    .nr_threads = 2,
				    .run = run_shape,
				    .context = x };

	x->is_found = false;
	*all = check_explore(checker, &e);
	assert_true(*all || x->is_found);
	return e.of_last_pass;
}

static void touch_shared(void *argument)
{
	(void)argument;
	for (uint32_t i = 0; i < steps; i++)
		store(&a, 1);
}

static void touch_own(void *argument)
{
	for (uint32_t i = 0; i < steps; i++)
		store(argument ? &a : &b, 1);
}

static void read_shared(void *argument)
{
	(void)argument;
	pass(steps);
}

static bool never(bool good)
{
	return !good;
}

/* Of n points each: none; one, in either; one in each, the second where it has done something since the first. */
static void executions_within_a_bound_are_counted(void **state)
{
	struct shape x = { touch_shared, touch_shared, never, { .seed = 0 }, false };
	bool all;

	(void)state;
	for (steps = 1; steps < 6; steps++) {
		uint64_t n = steps;

		assert_int_equal(explore(&x, 0, &all), 2);
		assert_int_equal(explore(&x, 1, &all), 2 + 2 * n);
		assert_int_equal(explore(&x, 2, &all), 2 + 2 * n * n);
		assert_true(all);
	}
}

static void what_nobody_shares_is_no_choice(void **state)
{
	struct shape own = { touch_own, touch_own, never, { .seed = 0 }, false };
	struct shape reading = { read_shared, read_shared, never, { .seed = 0 }, false };
	bool all;

	(void)state;
	steps = 5;
	assert_int_equal(explore(&own, 2, &all), 2);
	assert_int_equal(explore(&reading, 2, &all), 2);
	assert_true(all);
}

/* Meets 1 in a, having seen 0: so the other must come in between, and stop in between. */
static void see_both(void *argument)
{
	uint32_t first = load(&a), second = load(&a);

	(void)argument;
	if (first == 0 && second == 1)
		check_fail("seen");
}

static void set_for_a_while(void *argument)
{
	(void)argument;
	store(&a, 1);
	store(&a, 0);
}

static void a_bound_finds_what_needs_no_more_preemptions(void **state)
{
	struct shape one = { lose_update, lose_update, update_is_lost, { .seed = 0 }, false };
	struct shape two = { see_both, set_for_a_while, it_stops, { .seed = 0 }, false };
	struct shape three = { two_windows, change_both, it_stops, { .seed = 0 }, false };
	bool all;

	(void)state;
	steps = 3;
	explore(&one, 0, &all);
	assert_true(all);
	explore(&one, 1, &all);
	assert_false(all);
	assert_int_equal(one.found.nr_switches, 1);
	explore(&two, 1, &all);
	assert_true(all);
	explore(&two, 2, &all);
	assert_false(all);
	assert_int_equal(two.found.nr_switches, 2);
	explore(&three, 2, &all);
	assert_true(all);
	explore(&three, 3, &all);
	assert_false(all);
	assert_int_equal(three.found.nr_switches, 3);
	assert_false(run(&three.found, two_windows, change_both));
}

/* Whatever it takes. */
static void all_traces_have_what_any_bound_finds(void **state)
{
	struct shape shapes[] = {
		{ lose_update, lose_update, update_is_lost, { .seed = 0 }, false },
		{ see_both, set_for_a_while, it_stops, { .seed = 0 }, false },
		{ two_windows, change_both, it_stops, { .seed = 0 }, false },
		{ two_locks, two_locks, it_stops, { .seed = 0 }, false },
		{ spin_for_ever, spin_for_ever, it_stops, { .seed = 0 }, false },
	};

	(void)state;
	steps = 3;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct shape *x = &shapes[i];
		struct check_explorer e = { .nr_threads = 2, .run = run_shape, .context = x };

		assert_false(check_explore_traces(checker, &e));
		assert_true(x->is_found);
		assert_true(x->wrong(run(&x->found, x->one, x->two)));
	}
}

static void a_deadlock_needs_one_preemption(void **state)
{
	struct shape x = { two_locks, two_locks, it_stops, { .seed = 0 }, false };
	bool all;

	(void)state;
	steps = 2;
	explore(&x, 0, &all);
	assert_true(all);
	explore(&x, 1, &all);
	assert_false(all);
	assert_non_null(strstr(check_finding(checker), "deadlock"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_one_after_the_other_lose_nothing),
		cmocka_unit_test(each_strategy_finds_a_lost_update),
		cmocka_unit_test(what_was_found_is_found_again),
		cmocka_unit_test(locks_in_two_orders_are_a_deadlock),
		cmocka_unit_test(spinning_until_another_writes_ends),
		cmocka_unit_test(spinning_for_what_nobody_writes_is_a_livelock),
		cmocka_unit_test(a_thread_without_end_is_stopped),
		cmocka_unit_test(two_windows_are_found_with_few_switches),
		cmocka_unit_test(executions_within_a_bound_are_counted),
		cmocka_unit_test(what_nobody_shares_is_no_choice),
		cmocka_unit_test(a_bound_finds_what_needs_no_more_preemptions),
		cmocka_unit_test(a_deadlock_needs_one_preemption),
		cmocka_unit_test(all_traces_have_what_any_bound_finds),
	};

	return cmocka_run_group_tests(tests, open_checker, close_checker);
}
