/* SPDX-License-Identifier: MIT */
/*
 * test_leaf.c - a fault looks into the leaf table first that the last one on its CPU was in (G-Z). What if that goes?
 *
 *	near		stores, perhaps twice, and has a table; then stores elsewhere, for which it looks at that table first
 *	recycle		unmaps where it was: the table is free, and next it is another process's, for the very
 *			addresses that `near` wants
 *
 * `near` is stopped at each of its points, and `recycle` then at each of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "anonvm/anonvm.h"
#include "check.h"
#include "sim.h"

#define PAGE UINT64_C(4096)
#define TABLE (512 * PAGE) /* what a leaf table covers */
#define BASE UINT64_C(0x40000000)
#define GONE BASE /* is unmapped */
#define STAYS (BASE + TABLE) /* of both processes */
#define BESIDE (BASE + 2 * TABLE) /* keeps the upper tables of both */

enum {
	NEAR,
	RECYCLE
};

static struct sim *sim;
static struct sim_proc *proc, *other;
static uint32_t stores; /* to GONE */
static struct check *checker;
static uint32_t before; /* points of `near` up to its store to STAYS */

static void map(struct sim_proc *p, avm_addr_t addr, uint64_t pages)
{
	const struct avm_mmap m = {
		.addr = addr,
		.len = pages * PAGE,
		.prot = AVM_PROT_READ | AVM_PROT_WRITE,
		.flags = AVM_MAP_FIXED | AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS,
	};
	avm_addr_t out;

	assert_int_equal(avm_mmap(sim_mm(p), &m, &out), 0);
}

static void store(struct sim_proc *p, avm_addr_t addr, uint64_t value)
{
	assert_int_equal(sim_store(p, addr, &value, sizeof(value), NULL), 0);
}

static uint64_t load(struct sim_proc *p, avm_addr_t addr)
{
	uint64_t value = 0;

	assert_int_equal(sim_load(p, addr, &value, sizeof(value), NULL), 0);
	return value;
}

static void open_machine(void)
{
	const struct sim_config config = { .frames = 64, .check_tlb = true, .tlb_entries = 16 };

	assert_int_equal(sim_create(&sim, &config), 0);
	assert_int_equal(sim_proc_create(sim, NULL, &proc), 0);
	assert_int_equal(sim_proc_create(sim, NULL, &other), 0);
	map(proc, GONE, 2);
	for (int i = 0; i < 2; i++) {
		struct sim_proc *p = i ? other : proc;

		map(p, STAYS, 2);
		map(p, BESIDE, 1);
		store(p, BESIDE, 1);
	}
	/* So that the next fault there needs no mmap_lock. */
	store(proc, STAYS + PAGE, 3);
}

static void close_machine(void)
{
	sim_proc_exit(proc);
	sim_proc_exit(other);
	assert_int_equal(sim_destroy(sim), 0);
}

/* ---- threads ------------------------------------------------------------------------------------------------ */

static void near(void *argument)
{
	(void)argument;
	for (uint32_t i = 0; i < stores; i++) {
		uint64_t value = 1;

		/* It may be unmapped by then. */
		(void)sim_store(proc, GONE + i * PAGE, &value, sizeof(value), NULL);
	}
	before = check_thread_points(checker, NEAR);
	store(proc, STAYS, 2);
}

static void recycle(void *argument)
{
	(void)argument;
	assert_int_equal(avm_munmap(sim_mm(proc), GONE, 2 * PAGE), 0);
	/* Beside what `near` wants, which is empty there. */
	store(other, STAYS + PAGE, 7);
}

/* `near` stops at its point `at`, and `recycle` at `then`; 0: not at all. What `who` has of them. */
static uint32_t run(uint32_t at, uint32_t then, unsigned who)
{
	static struct check_schedule s;
	uint32_t points;

	checker = check_new();
	assert_non_null(checker);
	open_machine();
	s = (struct check_schedule){ .strategy = CHECK_REPLAY, .first = NEAR };
	if (at)
		s.switches[s.nr_switches++] =
			(struct check_switch){ .at = at, .thread = NEAR, .to = RECYCLE };
	if (then)
		s.switches[s.nr_switches++] =
			(struct check_switch){ .at = then, .thread = RECYCLE, .to = NEAR };
	check_begin(checker, sim, &s);
	check_spawn(checker, near, NULL);
	check_spawn(checker, recycle, NULL);
	if (!check_run(checker))
		fail_msg("%u, %u: %s", at, then, check_finding(checker));
	points = check_thread_points(checker, who);
	check_end(checker);
	assert_int_equal(sim_verify(sim, AVM_VERIFY_ALL, stderr), 0);
	assert_int_equal(load(proc, STAYS), 2);
	assert_int_equal(load(proc, STAYS + PAGE), 3);
	assert_int_equal(load(other, STAYS), 0);
	assert_int_equal(load(other, STAYS + PAGE), 7);
	assert_int_equal(sim_errors(sim), 0);
	close_machine();
	check_free(checker);
	return points;
}

/* Wherever `near` is; and in its last store with all that the other may have done by then. */
static void stop_everywhere(uint32_t n)
{
	uint32_t points, last, others;

	stores = n;
	points = run(0, 0, NEAR);
	last = before;
	assert_in_range(points - last, 20, 100);
	for (uint32_t at = 1; at <= points; at++) {
		others = run(at, 0, RECYCLE);
		for (uint32_t then = 1; n > 1 && at > last && then <= others; then++)
			run(at, then, RECYCLE);
	}
}

/* The second fault on a CPU says that it is there, and so its table is remembered. */
static void a_table_that_goes_is_not_found_again(void **state)
{
	(void)state;
	stop_everywhere(2);
}

/* The first one has mmap_lock, and has not said so: who unlinks its table would not look there. */
static void no_table_is_remembered_where_nobody_looks(void **state)
{
	(void)state;
	stop_everywhere(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_that_goes_is_not_found_again),
		cmocka_unit_test(no_table_is_remembered_where_nobody_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
