/* SPDX-License-Identifier: MIT */
/*
 * test_swap.c - pages that leave every address space and come back: R5.3, R8.4, R10, R11.
 */
#include "random.h"
#include "world.h"

#define BASE 0x10000000ull
#define HERE(i) (BASE + (i)*PAGE)
#define SLOTS 256u

static struct world w;
static struct avm_swap_device *swap;

static void open_swapping(uint64_t frames, uint32_t slots)
{
	world_open_with(&w, &(struct sim_config){ .frames = frames, .check_tlb = true });
	assert_int_equal(sim_swap_add(w.s, &(struct sim_swap_config){ .slots = slots }, &swap), 0);
}

static uint64_t counted(enum avm_event e)
{
	struct avm_stats s;

	avm_stats(w.m, &s);
	return s.events[e];
}

static uint32_t slots_used(void)
{
	return atomic_load(&swap->used);
}

static void fill(struct sim_proc *p, uint64_t pages, unsigned char first)
{
	for (uint64_t i = 0; i < pages; i++)
		store(p, HERE(i), (unsigned char)(first + i));
}

static void expect_filled(struct sim_proc *p, uint64_t pages, unsigned char first)
{
	for (uint64_t i = 0; i < pages; i++)
		assert_int_equal(load(p, HERE(i)), (unsigned char)(first + i));
}

static enum avm_pte_kind kind(struct sim_proc *p, uint64_t i)
{
	return pte(sim_mm(p), HERE(i)).kind;
}

/* ---- one process ------------------------------------------------------------------------------------- */

static void what_was_swapped_out_comes_back_as_it_was(void **state)
{
	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 8, RW, ANON, NULL, 0);
	fill(w.a, 8, 1);
	assert_int_equal(avm_shrink_all(w.m), 8);
	world_check(&w);
	assert_int_equal(kind(w.a, 3), AVM_PTE_SWAP);
	assert_int_equal(rss(w.mm, AVM_RSS_SWAP), 8);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 0);
	assert_int_equal(slots_used(), 8);
	expect_filled(w.a, 8, 1);
	world_check(&w);
	assert_int_equal(counted(AVM_EV_SWAP_IN), 8);
	assert_int_equal(rss(w.mm, AVM_RSS_SWAP), 0);
	world_close(&w);
}

static void a_page_read_back_is_exclusive_and_can_be_written_without_a_copy(void **state)
{
	unsigned faults = 0;
	unsigned char c = 7;

	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 1, RW, ANON, NULL, 0);
	fill(w.a, 1, 1);
	avm_shrink_all(w.m);
	assert_int_equal(sim_store(w.a, HERE(0), &c, 1, &faults), 0);
	assert_int_equal(faults, AVM_FAULT_MAJOR);
	assert_true(is_exclusive(page_at(w.mm, HERE(0))));
	assert_int_equal(slots_used(), 0); /* its content is another by now */
	world_close(&w);
}

static void a_clean_page_goes_out_again_without_being_written(void **state)
{
	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 4, RW, ANON, NULL, 0);
	fill(w.a, 4, 1);
	avm_shrink_all(w.m);
	expect_filled(w.a, 4, 1);
	assert_int_equal(slots_used(), 4);
	avm_shrink_all(w.m);
	assert_int_equal(counted(AVM_EV_SWAP_OUT), 4);
	expect_filled(w.a, 4, 1);
	world_close(&w);
}

static void munmap_and_exit_give_slots_back(void **state)
{
	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 8, RW, ANON, NULL, 0);
	fill(w.a, 8, 1);
	avm_shrink_all(w.m);
	assert_int_equal(avm_munmap(w.mm, HERE(2), 2 * PAGE), 0);
	assert_int_equal(slots_used(), 6);
	world_check(&w);
	sim_proc_exit(w.a);
	assert_int_equal(slots_used(), 0);
	world_close(&w);
}

/* A machine that has half the frames of what is in use: every access may have to swap. */
static void twice_the_memory_of_the_machine_keeps_its_contents(void **state)
{
	static unsigned char model[96];
	struct rng r = { 7 };

	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 96, RW, ANON, NULL, 0);
	for (int i = 0; i < 3000; i++) {
		uint64_t at = rng_below(&r, 96);

		if (rng_below(&r, 2))
			store(w.a, HERE(at), model[at] = (unsigned char)rng_below(&r, 256));
		else
			assert_int_equal(load(w.a, HERE(at)), model[at]);
		if (i % 500 == 0)
			world_check(&w);
	}
	assert_true(counted(AVM_EV_DIRECT_RECLAIM) > 0);
	world_close(&w);
}

static void locked_memory_stays(void **state)
{
	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 4, RW, ANON, NULL, 0);
	fill(w.a, 4, 1);
	assert_int_equal(avm_mlock(w.mm, HERE(1), PAGE, 0), 0);
	assert_int_equal(avm_shrink_all(w.m), 3);
	assert_int_equal(kind(w.a, 1), AVM_PTE_PRESENT);
	expect_filled(w.a, 4, 1);
	world_close(&w);
}

/* ---- families ------------------------------------------------------------------------------------------ */

/* Gallery 06, the bug of 2010: the page must not be the child's, which dies first. */
static void a_shared_page_brought_back_by_the_child_is_on_the_root(void **state)
{
	struct sim_proc *b;
	struct avm_page *page;

	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 1, RW, ANON, NULL, 0);
	fill(w.a, 1, 'a');
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_int_equal(avm_shrink_all(w.m), 1);
	assert_int_equal(swap->slots[pte(w.mm, HERE(0)).entry].count, 2);
	assert_int_equal(load(b, HERE(0)), 'a');
	page = page_at(sim_mm(b), HERE(0));
	assert_false(is_exclusive(page));
	assert_int_equal(load(w.a, HERE(0)), 'a');
	assert_ptr_equal(page_at(w.mm, HERE(0)), page);
	sim_proc_exit(b);
	world_check(&w);
	assert_int_equal(avm_shrink_all(w.m), 1);
	assert_int_equal(load(w.a, HERE(0)), 'a');
	world_close(&w);
}

static void a_write_to_a_page_whose_slot_is_shared_copies(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 1, RW, ANON, NULL, 0);
	fill(w.a, 1, 'a');
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	avm_shrink_all(w.m);
	store(b, HERE(0), 'b');
	world_check(&w);
	assert_int_equal(load(w.a, HERE(0)), 'a');
	assert_int_equal(load(b, HERE(0)), 'b');
	world_close(&w);
}

static void fork_copies_swap_entries_and_ends_their_being_exclusive(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 4, RW, ANON, NULL, 0);
	fill(w.a, 4, 1);
	avm_shrink_all(w.m);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	world_check(&w);
	store(w.a, HERE(0), 9);
	assert_int_equal(load(b, HERE(0)), 1);
	store(b, HERE(1), 8);
	assert_int_equal(load(w.a, HERE(1)), 2);
	sim_proc_exit(w.a);
	expect_filled(b, 1, 1);
	assert_int_equal(load(b, HERE(3)), 4);
	world_close(&w);
}

/* ---- shared memory, files ---------------------------------------------------------------------------- */

static void shared_memory_swaps_through_its_file(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 4, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	fill(w.a, 4, 1);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_int_equal(load(b, HERE(1)), 2);
	assert_int_equal(avm_shrink_all(w.m), 4);
	world_check(&w);
	assert_int_equal(slots_used(), 4);
	assert_int_equal(kind(w.a, 1), AVM_PTE_NONE);
	store(b, HERE(1), 9);
	assert_int_equal(load(w.a, HERE(1)), 9);
	expect_filled(w.a, 1, 1);
	assert_int_equal(slots_used(), 2);
	world_check(&w);
	sim_proc_exit(b);
	sim_proc_exit(w.a);
	assert_int_equal(slots_used(), 0);
	world_close(&w);
}

static void truncation_drops_what_is_in_swap(void **state)
{
	struct avm_file *f;

	(void)state;
	open_swapping(64, SLOTS);
	assert_int_equal(sim_memfd_create(w.s, "m", 8 * PAGE, &f), 0);
	map_at(w.mm, BASE, 8, RW, AVM_MAP_SHARED, f, 0);
	fill(w.a, 8, 1);
	avm_shrink_all(w.m);
	assert_int_equal(avm_file_truncate(f, 4 * PAGE), 0);
	assert_int_equal(slots_used(), 4);
	assert_int_equal(avm_file_truncate(f, 2 * PAGE + 1), 0);
	assert_int_equal(slots_used(), 2);
	assert_int_equal(load(w.a, HERE(2)), 3);
	assert_int_equal(avm_file_punch(f, 0, PAGE), 0);
	assert_int_equal(load(w.a, HERE(0)), 0);
	assert_int_equal(load(w.a, HERE(1)), 2);
	world_check(&w);
	avm_mm_unmap_all(w.mm);
	sim_file_put(f);
	world_close(&w);
}

static void pages_of_files_are_dropped_and_dirty_ones_written_first(void **state)
{
	struct avm_file *f;
	unsigned char c;

	(void)state;
	open_swapping(64, SLOTS);
	assert_int_equal(sim_file_create(w.s, "f", 8 * PAGE, 5, &f), 0);
	map_at(w.mm, BASE, 8, RW, AVM_MAP_SHARED, f, 0);
	c = load(w.a, HERE(7));
	fill(w.a, 4, 1);
	assert_true(avm_shrink_all(w.m) >= 5);
	world_check(&w);
	assert_int_equal(slots_used(), 0);
	assert_int_equal(f->nr_pages, 0);
	assert_int_equal(counted(AVM_EV_FILE_WRITE), 4);
	expect_filled(w.a, 4, 1);
	assert_int_equal(load(w.a, HERE(7)), c);
	avm_mm_unmap_all(w.mm);
	sim_file_put(f);
	world_close(&w);
}

/* ---- errors --------------------------------------------------------------------------------------------- */

static void a_write_error_keeps_the_page(void **state)
{
	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 2, RW, ANON, NULL, 0);
	fill(w.a, 2, 1);
	sim_swap_fail(swap, 0, 0, 1);
	avm_shrink_all(w.m);
	assert_int_equal(counted(AVM_EV_SWAP_WRITE_ERROR), 1);
	world_check(&w);
	expect_filled(w.a, 2, 1);
	world_close(&w);
}

static void a_read_error_is_a_sigbus_and_nothing_else_is_lost(void **state)
{
	unsigned char c;

	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 2, RW, ANON, NULL, 0);
	fill(w.a, 2, 1);
	avm_shrink_all(w.m);
	sim_swap_fail(swap, 0, 1, 0);
	assert_int_equal(sim_load(w.a, HERE(0), &c, 1, NULL), AVM_FAULT_SIGBUS);
	world_check(&w);
	expect_filled(w.a, 2, 1);
	world_close(&w);
}

static void a_full_device_and_no_frames_is_out_of_memory(void **state)
{
	uint64_t i;
	unsigned char c = 1;

	(void)state;
	open_swapping(32, 8);
	map_at(w.mm, BASE, 96, RW, ANON, NULL, 0);
	for (i = 0; i < 96; i++)
		if (sim_store(w.a, HERE(i), &c, 1, NULL))
			break;
	assert_int_equal(sim_store(w.a, HERE(i), &c, 1, NULL), AVM_FAULT_OOM);
	assert_true(sim_ooms(w.s) > 0);
	world_check(&w);
	/* Nothing was lost: room for what comes back is all that is missing. */
	assert_int_equal(avm_munmap(w.mm, HERE(i / 2), (i - i / 2) * PAGE), 0);
	for (uint64_t j = 0; j < i / 2; j++)
		assert_int_equal(load(w.a, HERE(j)), 1);
	world_close(&w);
}

/* R11: what is locked does not go, however much room there is for it. */
static void out_of_memory_is_reported_with_what_was_left(void **state)
{
	unsigned char c = 1;
	uint64_t i = 0;

	(void)state;
	open_swapping(32, 8);
	map_at(w.mm, BASE, 96, RW, ANON, NULL, 0);
	assert_int_equal(avm_mlock(w.mm, BASE, 96 * PAGE, AVM_MLOCK_ONFAULT), 0);
	while (!sim_store(w.a, HERE(i), &c, 1, NULL))
		i++;
	assert_int_equal(sim_ooms(w.s), 1);
	assert_int_equal(sim_last_oom(w.s)->swap_total, 8);
	assert_int_equal(sim_last_oom(w.s)->swap_free, 8);
	assert_int_equal(sim_last_oom(w.s)->frames_total, 32);
	assert_int_equal(sim_last_oom(w.s)->rss[AVM_RSS_ANON], i);
	world_close(&w);
}

/* ---- devices -------------------------------------------------------------------------------------------- */

static void removing_a_device_brings_everything_back(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 4, RW, ANON, NULL, 0);
	map_at(w.mm, HERE(8), 4, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	fill(w.a, 4, 1);
	store(w.a, HERE(8), 50);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	store(b, HERE(2), 77);
	avm_shrink_all(w.m);
	assert_true(slots_used() >= 5);
	assert_int_equal(sim_swap_remove(w.s, swap), 0);
	world_check(&w);
	assert_int_equal(kind(w.a, 0), AVM_PTE_PRESENT);
	assert_int_equal(load(b, HERE(2)), 77);
	expect_filled(w.a, 4, 1);
	assert_int_equal(load(b, HERE(8)), 50);
	world_close(&w);
}

static void a_device_that_cannot_be_emptied_stays(void **state)
{
	(void)state;
	open_swapping(32, SLOTS);
	map_at(w.mm, BASE, 64, RW, ANON, NULL, 0);
	fill(w.a, 64, 1);
	assert_int_equal(sim_swap_remove(w.s, swap), -AVM_ENOMEM);
	world_check(&w);
	expect_filled(w.a, 64, 1);
	sim_swap_fail(swap, 0, 1, 0);
	assert_int_equal(sim_swap_remove(w.s, swap), -AVM_EIO);
	expect_filled(w.a, 64, 1);
	world_close(&w);
}

/* ---- advice --------------------------------------------------------------------------------------------- */

static void what_was_freed_lazily_is_old_or_zero_until_written(void **state)
{
	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 4, RW, ANON, NULL, 0);
	fill(w.a, 4, 1);
	assert_int_equal(avm_madvise(w.mm, BASE, 4 * PAGE, AVM_MADV_FREE), 0);
	assert_int_equal(load(w.a, HERE(0)), 1);
	store(w.a, HERE(1), 20);
	avm_shrink_all(w.m);
	world_check(&w);
	assert_int_equal(counted(AVM_EV_LAZY_FREED), 3);
	assert_int_equal(load(w.a, HERE(0)), 0);
	assert_int_equal(load(w.a, HERE(1)), 20);
	assert_int_equal(load(w.a, HERE(2)), 0);
	world_close(&w);
}

static void pageout_takes_what_is_ones_own(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_swapping(64, SLOTS);
	map_at(w.mm, BASE, 4, RW, ANON, NULL, 0);
	fill(w.a, 4, 1);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	store(w.a, HERE(2), 30);
	assert_int_equal(avm_madvise(w.mm, BASE, 4 * PAGE, AVM_MADV_PAGEOUT), 0);
	assert_int_equal(kind(w.a, 2), AVM_PTE_SWAP);
	assert_int_equal(kind(w.a, 1), AVM_PTE_PRESENT);
	assert_int_equal(load(w.a, HERE(2)), 30);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_swapped_out_comes_back_as_it_was),
		cmocka_unit_test(a_page_read_back_is_exclusive_and_can_be_written_without_a_copy),
		cmocka_unit_test(a_clean_page_goes_out_again_without_being_written),
		cmocka_unit_test(munmap_and_exit_give_slots_back),
		cmocka_unit_test(twice_the_memory_of_the_machine_keeps_its_contents),
		cmocka_unit_test(locked_memory_stays),
		cmocka_unit_test(a_shared_page_brought_back_by_the_child_is_on_the_root),
		cmocka_unit_test(a_write_to_a_page_whose_slot_is_shared_copies),
		cmocka_unit_test(fork_copies_swap_entries_and_ends_their_being_exclusive),
		cmocka_unit_test(shared_memory_swaps_through_its_file),
		cmocka_unit_test(truncation_drops_what_is_in_swap),
		cmocka_unit_test(pages_of_files_are_dropped_and_dirty_ones_written_first),
		cmocka_unit_test(a_write_error_keeps_the_page),
		cmocka_unit_test(a_read_error_is_a_sigbus_and_nothing_else_is_lost),
		cmocka_unit_test(a_full_device_and_no_frames_is_out_of_memory),
		cmocka_unit_test(out_of_memory_is_reported_with_what_was_left),
		cmocka_unit_test(removing_a_device_brings_everything_back),
		cmocka_unit_test(a_device_that_cannot_be_emptied_stays),
		cmocka_unit_test(what_was_freed_lazily_is_old_or_zero_until_written),
		cmocka_unit_test(pageout_takes_what_is_ones_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
