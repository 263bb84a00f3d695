/* SPDX-License-Identifier: MIT */
/*
 * test_hold.c - a fault that has to copy holds the page without the lock of the table, and looks at the entry again (G-W). Is
 * that needed? A fault is stopped at each of its points, and then at each later one; in between comes what would lose a store:
 *
 *	the fault	sees a page that two processes map, read-only
 *	relieve		the other process leaves; a thread of this one stores, and so takes the page over
 *	the fault	holds the page, and copies it
 *	store_again	that thread stores once more, for which it needs no fault; then merging takes write permission
 *			away, and the entry looks as it did
 *	the fault	maps its copy
 *
 * Merging needs a page that was equal when it was last looked at; it finds that this one has changed, and lets it be.
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
#define BASE UINT64_C(0x40000000)
#define OURS (BASE + 8) /* what the fault is for */
#define TAKEN (BASE + 16) /* what another thread of the process stores to, to have the page */
#define THEIRS (BASE + 24) /* ... and when it has it */

enum {
	FAULT,
	STORE_AGAIN,
	RELIEVE
};

static struct sim *sim;
static struct sim_proc *proc, *child;

static void store(avm_addr_t addr, uint64_t value)
{
	assert_int_equal(sim_store(proc, addr, &value, sizeof(value), NULL), 0);
}

static uint64_t load(avm_addr_t addr)
{
	uint64_t value = 0;

	assert_int_equal(sim_load(proc, addr, &value, sizeof(value), NULL), 0);
	return value;
}

/* Two equal pages, the first of which merging is about to find an equal for; both are the child's, too. */
static void open_machine(void)
{
	const struct sim_config config = { .frames = 64, .check_tlb = true, .tlb_entries = 16 };
	const struct avm_mmap m = {
		.addr = BASE,
		.len = 2 * PAGE,
		.prot = AVM_PROT_READ | AVM_PROT_WRITE,
		.flags = AVM_MAP_FIXED | AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS,
	};
	avm_addr_t out;

	assert_int_equal(sim_create(&sim, &config), 0);
	assert_int_equal(sim_proc_create(sim, NULL, &proc), 0);
	assert_int_equal(avm_mmap(sim_mm(proc), &m, &out), 0);
	assert_int_equal(avm_madvise(sim_mm(proc), BASE, 2 * PAGE, AVM_MADV_MERGEABLE), 0);
	store(THEIRS, 1);
	store(THEIRS + PAGE, 1);
	avm_ksm_scan(sim_machine(sim), 2);
	avm_ksm_scan(sim_machine(sim), 1);
	assert_int_equal(sim_proc_fork(proc, &child), 0);
}

static void close_machine(void)
{
	sim_proc_exit(proc);
	assert_int_equal(sim_destroy(sim), 0);
}

/* ---- threads ------------------------------------------------------------------------------------------------ */

static void fault(void *argument)
{
	(void)argument;
	store(OURS, 2);
}

static void relieve(void *argument)
{
	(void)argument;
	sim_proc_exit(child);
	store(TAKEN, 4);
}

static void store_again(void *argument)
{
	(void)argument;
	store(THEIRS, 3);
	avm_ksm_scan(sim_machine(sim), 1);
}

/* The fault stops at its points `first` and `second`; 0: not at all. Returns how many it has. */
static uint32_t run(uint32_t first, uint32_t second)
{
	static struct check_schedule s;
	struct check *checker = check_new();
	uint32_t points;

	assert_non_null(checker);
	open_machine();
	s = (struct check_schedule){ .strategy = CHECK_REPLAY, .first = FAULT };
	if (first)
		s.switches[s.nr_switches++] =
			(struct check_switch){ .at = first, .thread = FAULT, .to = RELIEVE };
	if (second)
		s.switches[s.nr_switches++] =
			(struct check_switch){ .at = second, .thread = FAULT, .to = STORE_AGAIN };
	check_begin(checker, sim, &s);
	check_spawn(checker, fault, NULL);
	check_spawn(checker, store_again, NULL);
	check_spawn(checker, relieve, NULL); /* behind it the first goes on */
	if (!check_run(checker))
		fail_msg("%u, %u: %s", first, second, check_finding(checker));
	points = check_thread_points(checker, FAULT);
	check_end(checker);
	assert_int_equal(load(OURS), 2);
	assert_int_equal(load(TAKEN), 4);
	assert_int_equal(load(THEIRS), 3);
	assert_int_equal(sim_errors(sim), 0);
	close_machine();
	check_free(checker);
	return points;
}

static void no_store_is_lost(void **state)
{
	uint32_t points = run(0, 0);

	(void)state;
	assert_in_range(points, 20, 200);
	for (uint32_t first = 1; first < points; first++)
		for (uint32_t second = first + 1; second <= points; second++)
			run(first, second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_store_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
