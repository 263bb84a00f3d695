/* SPDX-License-Identifier: MIT */
/*
 * test_tlb.c - does the simulated machine see a translation that outlives its entry? One thread fills its TLB, another takes
 * away what is there, and its flushes are lost; or they are not, and there is nothing to be seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "anonvm/anonvm.h"
#include "check.h"
#include "sim.h"

#define PAGE UINT64_C(4096)
#define BASE UINT64_C(0x40000000)
#define PAGES 4u

static struct check *checker;
static struct sim *sim;
static struct sim_proc *proc;
static struct avm_file *file;
static bool lose; /* flushes of the second thread */
static uint64_t blamed; /* errors after its operation */
static FILE *messages;
static char *said; /* all of them */
static size_t said_size;

static void map(bool shared_file)
{
	const struct avm_mmap m = {
		.addr = BASE,
		.len = PAGES * PAGE,
		.prot = AVM_PROT_READ | AVM_PROT_WRITE,
		.flags = AVM_MAP_FIXED |
			 (shared_file ? AVM_MAP_SHARED : AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS),
		.file = shared_file ? file : NULL,
	};
	avm_addr_t out;

	assert_int_equal(avm_mmap(sim_mm(proc), &m, &out), 0);
	assert_int_equal(avm_madvise(sim_mm(proc), BASE, PAGES * PAGE, AVM_MADV_MERGEABLE), 0);
}

static void make_machine(void)
{
	const struct sim_config config = { .frames = 64,
					   .contents = SIM_STAMPS,
					   .check_tlb = true,
					   .tlb_entries = 16,
					   .log = messages };
	const struct sim_swap_config swap = { .slots = 32 };
	struct avm_swap_device *device;

	checker = check_new();
	assert_non_null(checker);
	assert_int_equal(sim_create(&sim, &config), 0);
	assert_int_equal(sim_swap_add(sim, &swap, &device), 0);
	assert_int_equal(sim_proc_create(sim, NULL, &proc), 0);
	assert_int_equal(sim_file_create(sim, "f", PAGES * PAGE, 0, &file), 0);
}

static void open_machine(bool shared_file)
{
	messages = open_memstream(&said, &said_size);
	assert_non_null(messages);
	make_machine();
	map(shared_file);
}

/* What a lost flush leaves behind is not looked at. */
static void close_machine(void)
{
	sim_proc_exit(proc);
	sim_file_put(file);
	sim_destroy(sim);
	check_free(checker);
	fclose(messages);
	free(said);
}

/* ---- threads --------------------------------------------------------------------------------------------------------- */

/* All pages alike, for merging, and twice looked at. */
static void fill(void *argument)
{
	uint64_t value = 1;

	(void)argument;
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(sim_store(proc, BASE + i * PAGE, &value, sizeof(value), NULL), 0);
	avm_ksm_scan(sim_machine(sim), PAGES);
	for (unsigned i = 0; i < PAGES; i++)
		assert_true(sim_translated(proc, BASE + i * PAGE));
}

typedef void operation(void);

static void take_away(void *argument)
{
	operation *const *op = argument;

	assert_false(sim_translated(proc, BASE)); /* that was another CPU */
	sim_lose_flushes(sim, lose);
	(*op)();
	sim_lose_flushes(sim, false);
	sim_check_revoked(sim);
	blamed = sim_errors(sim);
}

static void look(void *argument)
{
	(void)argument;
	sim_check_revoked(sim);
}

/* `filler`: the CPU whose TLB is filled first, 0 or 1; the other one takes away. */
static void run(operation *op, bool shared_file, bool lost, uint8_t filler)
{
	static struct check_schedule s;

	open_machine(shared_file);
	lose = lost;
	s = (struct check_schedule){ .strategy = CHECK_REPLAY, .first = filler };
	check_begin(checker, sim, &s);
	check_spawn(checker, filler ? take_away : fill, &op);
	check_spawn(checker, filler ? fill : take_away, &op);
	check_spawn(checker, look, NULL);
	assert_true(check_run(checker));
	check_end(checker);
}

/* ---- operations -------------------------------------------------------------------------------------------------------- */

static void do_protect(void)
{
	avm_mprotect(sim_mm(proc), BASE, PAGES * PAGE, AVM_PROT_READ);
}

static void do_unmap(void)
{
	avm_munmap(sim_mm(proc), BASE, PAGES * PAGE);
}

static void do_move(void)
{
	avm_addr_t out;

	avm_mremap(sim_mm(proc), BASE, PAGES * PAGE, PAGES * PAGE,
		   AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED, BASE + (1 << 30), &out);
}

static void do_dontneed(void)
{
	avm_madvise(sim_mm(proc), BASE, PAGES * PAGE, AVM_MADV_DONTNEED);
}

static void do_free(void)
{
	avm_madvise(sim_mm(proc), BASE, PAGES * PAGE, AVM_MADV_FREE);
}

static void do_pageout(void)
{
	avm_madvise(sim_mm(proc), BASE, PAGES * PAGE, AVM_MADV_PAGEOUT);
}

static void do_fork(void)
{
	struct sim_proc *child;

	if (!sim_proc_fork(proc, &child))
		sim_proc_exit(child);
}

static void do_merge(void)
{
	avm_ksm_scan(sim_machine(sim), PAGES);
}

static void do_migrate(void)
{
	avm_compact(sim_machine(sim), 1, 32);
}

static void do_truncate(void)
{
	avm_file_truncate(file, 0);
}

static void do_sync(void)
{
	avm_file_sync(file);
}

static const struct {
	operation *op;
	bool shared_file;
} operations[] = {
	{ do_protect, false }, { do_unmap, false },   { do_move, false }, { do_dontneed, false },
	{ do_free, false },    { do_pageout, false }, { do_fork, false }, { do_merge, false },
	{ do_migrate, false }, { do_protect, true },  { do_unmap, true }, { do_truncate, true },
	{ do_sync, true },     { do_migrate, true },
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* ---- tests ------------------------------------------------------------------------------------------------------------- */

static void what_is_flushed_is_in_no_tlb(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * OPERATIONS; i++) {
		run(operations[i / 2].op, operations[i / 2].shared_file, false, i % 2);
		sim_check_settled(sim);
		assert_int_equal(sim_errors(sim), 0);
		close_machine();
	}
}

static void a_lost_flush_is_the_blame_of_who_lost_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < OPERATIONS; i++) {
		run(operations[i].op, operations[i].shared_file, true, 0);
		assert_int_not_equal(blamed, 0);
		assert_int_equal(sim_errors(sim),
				 blamed); /* the third thread has nothing to do with it */
		close_machine();
	}
}

static void what_is_left_shows_when_all_is_done(void **state)
{
	(void)state;
	run(do_protect, false, true, 0);
	sim_check_settled(sim);
	assert_int_equal(sim_errors(sim), blamed + PAGES);
	assert_non_null(strstr(sim_last_error(sim), "when all is done"));
	sim_check_settled(sim);
	assert_int_equal(sim_errors(sim), blamed + PAGES); /* it has gone with that */
	close_machine();
}

/* While the operation goes on: nobody may write to what is copied or written back. */
static void contents_are_the_last_ones(void **state)
{
	static const struct {
		operation *op;
		bool shared_file;
		const char *says;
	} some[] = { { do_migrate, false, "is copied" },
		     { do_pageout, false, "goes to swap" },
		     { do_sync, true, "goes to the file" } };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		run(some[i].op, some[i].shared_file, true, 0);
		fflush(messages);
		assert_non_null(strstr(said, some[i].says));
		close_machine();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_flushed_is_in_no_tlb),
		cmocka_unit_test(a_lost_flush_is_the_blame_of_who_lost_it),
		cmocka_unit_test(what_is_left_shows_when_all_is_done),
		cmocka_unit_test(contents_are_the_last_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
