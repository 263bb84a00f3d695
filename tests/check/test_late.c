/* SPDX-License-Identifier: MIT */
/*
 * test_late.c - a page counts as mapped until whoever has emptied the entry has flushed (R5.7). What comes meanwhile?
 *
 *	munmap		empties the entry of a page of a file; the flush is to come
 *	truncate	finds no entry, and the page leaves the file
 *	page out	finds a page of no file that counts as mapped ...
 *	munmap		flushes
 *	page out	... and does not any more
 *
 * munmap is stopped at each of its points, and then page out at each of its.
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

enum {
	UNMAP,
	PAGE_OUT,
	TRUNCATE
};

static struct sim *sim;
static struct sim_proc *proc;
static struct avm_file *file;
static avm_pfn_t pfn;

static void open_machine(void)
{
	const struct sim_config config = { .frames = 64,
					   .contents = SIM_STAMPS,
					   .check_tlb = true,
					   .tlb_entries = 16 };
	struct avm_mmap m = {
		.addr = BASE,
		.len = PAGE,
		.prot = AVM_PROT_READ | AVM_PROT_WRITE,
		.flags = AVM_MAP_FIXED | AVM_MAP_SHARED,
	};
	struct avm_pte_info entry;
	uint64_t value = 1;
	avm_addr_t out;

	assert_int_equal(sim_create(&sim, &config), 0);
	assert_int_equal(sim_proc_create(sim, NULL, &proc), 0);
	assert_int_equal(sim_file_create(sim, "f", PAGE, 0, &file), 0);
	m.file = file;
	assert_int_equal(avm_mmap(sim_mm(proc), &m, &out), 0);
	assert_int_equal(sim_store(proc, BASE, &value, sizeof(value), NULL), 0);
	avm_pte_at(sim_mm(proc), BASE, &entry);
	pfn = entry.pfn;
}

static void close_machine(void)
{
	sim_proc_exit(proc);
	sim_file_put(file);
	assert_int_equal(sim_errors(sim), 0);
	assert_int_equal(sim_destroy(sim), 0);
}

static void unmap(void *argument)
{
	(void)argument;
	assert_int_equal(avm_munmap(sim_mm(proc), BASE, PAGE), 0);
}

static void truncate_file(void *argument)
{
	(void)argument;
	assert_int_equal(avm_file_truncate(file, 0), 0);
}

static void page_out(void *argument)
{
	(void)argument;
	(void)avm_page_out(sim_machine(sim), pfn);
}

/* munmap stops at its point `first`, and page out at `second`; 0: not at all. *unmaps, *outs: how many they have. */
static void run(uint32_t first, uint32_t second, uint32_t *unmaps, uint32_t *outs)
{
	static struct check_schedule s;
	struct check *checker = check_new();

	assert_non_null(checker);
	open_machine();
	s = (struct check_schedule){ .strategy = CHECK_REPLAY, .first = UNMAP };
	if (first)
		s.switches[s.nr_switches++] =
			(struct check_switch){ .at = first, .thread = UNMAP, .to = TRUNCATE };
	/* Behind truncation munmap would go on: page out goes first. */
	if (first)
		s.switches[s.nr_switches++] =
			(struct check_switch){ .at = first + 1, .thread = UNMAP, .to = PAGE_OUT };
	if (second)
		s.switches[s.nr_switches++] =
			(struct check_switch){ .at = second, .thread = PAGE_OUT, .to = UNMAP };
	check_begin(checker, sim, &s);
	check_spawn(checker, unmap, NULL);
	check_spawn(checker, page_out, NULL);
	check_spawn(checker, truncate_file, NULL);
	if (!check_run(checker))
		fail_msg("%u, %u: %s", first, second, check_finding(checker));
	*unmaps = check_thread_points(checker, UNMAP);
	*outs = check_thread_points(checker, PAGE_OUT);
	check_end(checker);
	close_machine();
	check_free(checker);
}

static void a_page_that_counts_as_mapped_for_a_moment_more(void **state)
{
	uint32_t unmaps, outs, n;

	(void)state;
	run(0, 0, &unmaps, &n);
	for (uint32_t first = 1; first < unmaps; first++) {
		run(first, 0, &n, &outs);
		for (uint32_t second = 1; second <= outs; second++)
			run(first, second, &n, &n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_that_counts_as_mapped_for_a_moment_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
