/* SPDX-License-Identifier: MIT */
/* test_poison.c - frames that have gone bad (R16). */
#include "anonvm/memory.h"
#include "lock.h"
#include "middle.h"
#include "page.h"
#include "swap_slot.h"

static unsigned touched(struct sim_proc *p, avm_addr_t addr)
{
	return sim_touch(p, addr, AVM_ACCESS_READ, NULL);
}

/* Poisons the page behind addr; the frame is in use for ever, and nobody's. */
static struct avm_page *goes_bad(struct world *w, struct avm_page *page)
{
	uint64_t used = sim_frames_used(w->s);

	assert_int_equal(avm_poison(w->m, page->pfn), 0);
	assert_int_equal(sim_frames_used(w->s), used);
	assert_int_equal(atomic_load(&page->mapcount), 0);
	assert_true(has_flag(page, AVM_PG_POISONED));
	assert_int_equal(avm_poison(w->m, page->pfn), -AVM_EEXIST);
	assert_int_equal(avm_migrate(w->m, page->pfn), -AVM_ENOENT);
	world_check(w);
	return page;
}

static void anonymous_memory_is_lost_to_all_who_map_it(void **state)
{
	struct sim_proc *b;
	avm_addr_t where;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 3, RW);
	mark(&w, 0, 3);
	b = fork_of(w.a);
	store(b, AT(1), 9);
	goes_bad(&w, page_at(w.mm, AT(0)));
	assert_int_equal(sim_poisonings(w.s), 2);
	assert_non_null(sim_last_poisoned(w.s, &where));
	assert_true(where == AT(0));
	goes_bad(&w, page_at(sim_mm(b), AT(1)));
	assert_int_equal(event(&w, AVM_EV_POISONED), 2);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 2);
	assert_int_equal(touched(w.a, AT(0)), AVM_FAULT_SIGBUS);
	assert_int_equal(touched(b, AT(0)), AVM_FAULT_SIGBUS);
	assert_int_equal(touched(b, AT(1)), AVM_FAULT_SIGBUS);
	/* The others lose nothing. */
	assert_marked(&w, 1, 2, 1);
	assert_int_equal(load(b, AT(2)), 0x42);
	/* Children inherit the loss; unmapping ends it. */
	assert_int_equal(touched(fork_of(w.a), AT(0)), AVM_FAULT_SIGBUS);
	world_check(&w);
	assert_int_equal(avm_madvise(w.mm, AT(0), PAGE, AVM_MADV_DONTNEED), 0);
	assert_int_equal(load(w.a, AT(0)), 0);
	world_close(&w);
}

static void a_clean_page_of_a_file_is_read_anew(void **state)
{
	struct avm_page *page;
	struct test_file *tf;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 2 * PAGE);
	at = map_file(w.mm, 2, RW, AVM_MAP_SHARED, &tf->file);
	page = page_of(w.a, at);
	goes_bad(&w, page);
	assert_int_equal(sim_poisonings(w.s), 0);
	assert_int_equal(rss(w.mm, AVM_RSS_FILE), 0);
	assert_int_equal(load(w.a, at), 1);
	assert_int_equal(tf->reads, 2);
	assert_ptr_not_equal(page_at(w.mm, at), page);
	/* Also one that nobody maps. */
	page = page_at(w.mm, at);
	assert_int_equal(avm_munmap(w.mm, at, 2 * PAGE), 0);
	goes_bad(&w, page);
	test_file_close(tf);
	world_close(&w);
}

static void a_dirty_page_of_a_file_is_lost_to_who_maps_it(void **state)
{
	struct test_file *tf;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 2 * PAGE);
	at = map_file(w.mm, 2, RW, AVM_MAP_SHARED, &tf->file);
	(void)load(w.a, at + PAGE);
	store(w.a, at, 0x70);
	goes_bad(&w, page_at(w.mm, at));
	assert_int_equal(sim_poisonings(w.s), 1);
	assert_int_equal(touched(w.a, at), AVM_FAULT_SIGBUS);
	assert_int_equal(load(w.a, at + PAGE), 2);
	/* A hole in the file makes room for a new page. */
	assert_int_equal(avm_file_punch(&tf->file, 0, PAGE), 0);
	world_check(&w);
	assert_int_equal(load(w.a, at), 1);
	assert_int_equal(tf->writes, 0);
	assert_int_equal(avm_munmap(w.mm, at, 2 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void shared_anonymous_memory_is_lost(void **state)
{
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	at = map_at(w.mm, 0, 2, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	store(w.a, at, 1);
	store(w.a, at + PAGE, 2);
	goes_bad(&w, page_at(w.mm, at));
	assert_int_equal(rss(w.mm, AVM_RSS_SHMEM), 1);
	assert_int_equal(touched(w.a, at), AVM_FAULT_SIGBUS);
	assert_int_equal(load(w.a, at + PAGE), 2);
	world_close(&w);
}

/* Two processes have it in memory, a third has the slot. */
static void what_a_slot_has_as_well_is_not_lost(void **state)
{
	struct sim_proc *b, *c;
	struct middle k;

	(void)state;
	swap_world_open(&k);
	map(&k.w, 0, 1, RW);
	mark(&k.w, 0, 1);
	b = fork_of(k.w.a);
	c = fork_of(k.w.a);
	assert_int_equal(avm_shrink_all(k.w.m), 1);
	(void)load(b, AT(0));
	goes_bad(&k.w, page_of(k.w.a, AT(0)));
	assert_int_equal(sim_poisonings(k.w.s), 0);
	assert_int_equal(rss(k.w.mm, AVM_RSS_SWAP), 1);
	assert_int_equal(rss(sim_mm(b), AVM_RSS_SWAP), 1);
	assert_int_equal(load(k.w.a, AT(0)), 0x40);
	assert_int_equal(load(b, AT(0)), 0x40);
	assert_int_equal(load(c, AT(0)), 0x40);
	assert_int_equal(event(&k.w, AVM_EV_SWAP_IN), 2);
	world_close(&k.w);
}

/* The mark of an exclusive page survives the way through the slot (R5.6). */
static void an_exclusive_page_comes_back_exclusive(void **state)
{
	struct avm_page *page;
	struct middle k;

	(void)state;
	swap_world_open(&k);
	map(&k.w, 0, 1, RW);
	mark(&k.w, 0, 1);
	assert_int_equal(avm_shrink_all(k.w.m), 1);
	page = page_of(k.w.a, AT(0));
	assert_true(has_flag(page, AVM_PG_SWAPCACHE));
	goes_bad(&k.w, page);
	assert_int_equal(load(k.w.a, AT(0)), 0x40);
	assert_true(is_exclusive(page_at(k.w.mm, AT(0))));
	world_close(&k.w);
}

/* Dirty and in the swap cache: what the slot has is old, so nobody may read it. */
static void a_dirty_page_in_the_swap_cache_is_lost_to_who_has_its_slot(void **state)
{
	struct avm_page *page;
	struct sim_proc *b;
	struct middle k;

	(void)state;
	swap_world_open(&k);
	map(&k.w, 0, 1, RW);
	mark(&k.w, 0, 1);
	b = fork_of(k.w.a);
	assert_int_equal(avm_shrink_all(k.w.m), 1);
	page = page_of(b, AT(0));
	avm_page_set(page, AVM_PG_DIRTY); /* as after a failed write */
	goes_bad(&k.w, page);
	assert_int_equal(sim_poisonings(k.w.s), 1);
	assert_int_equal(touched(b, AT(0)), AVM_FAULT_SIGBUS);
	assert_int_equal(touched(k.w.a, AT(0)), AVM_FAULT_SIGBUS);
	assert_int_equal(rss(k.w.mm, AVM_RSS_SWAP), 1);
	assert_int_equal(avm_swap_remove(k.w.m, k.d), -AVM_EIO);
	world_check(&k.w);
	/* The last who names the slot frees it. */
	assert_int_equal(avm_munmap(k.w.mm, AT(0), PAGE), 0);
	assert_false(has_flag(page, AVM_PG_SWAPCACHE));
	world_close(&k.w);
}

/* ---- refusals ------------------------------------------------------------------------------------------- */

static void what_cannot_be_taken_away_is_busy(void **state)
{
	struct avm_page *page;
	struct sim_proc *b;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	b = fork_of(w.a);
	page = page_at(w.mm, AT(0));
	assert_int_equal(avm_poison(w.m, w.m->zero_page->pfn), -AVM_EBUSY);
	assert_int_equal(avm_poison(w.m, w.mm->root_table->pfn), -AVM_EBUSY);
	assert_int_equal(avm_poison(w.m, AVM_PFN_NONE), -AVM_EINVAL);
	avm_page_get(page);
	assert_int_equal(avm_poison(w.m, page->pfn), -AVM_EBUSY);
	avm_page_put(w.m, page);
	avm_page_lock(w.m, page);
	assert_int_equal(avm_poison(w.m, page->pfn), -AVM_EBUSY);
	avm_page_unlock(w.m, page);
	world_check(&w);
	assert_int_equal(sim_poisonings(w.s), 0);
	assert_ptr_equal(page_at(w.mm, AT(0)), page);
	assert_ptr_equal(page_at(sim_mm(b), AT(0)), page);
	sim_proc_exit(b);
	assert_int_equal(avm_munmap(w.mm, AT(0), PAGE), 0);
	assert_int_equal(avm_poison(w.m, page->pfn), -AVM_ENOENT);
	world_close(&w);
}

static void a_pinned_page_is_busy_and_everything_as_before(void **state)
{
	struct avm_page *page;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	assert_int_equal(avm_pin(w.mm, AT(0), 1, AVM_ACCESS_WRITE, &page), 1);
	assert_int_equal(avm_poison(w.m, page->pfn), -AVM_EBUSY);
	world_check(&w);
	assert_false(sim_would_fault(w.a, AT(0), AVM_ACCESS_WRITE, NULL));
	avm_unpin(w.m, &page, 1, AVM_UNPIN_CLEAN);
	goes_bad(&w, page);
	world_close(&w);
}

/* ---- somebody else in the middle (debug builds) --------------------------------------------------------- */

static void touch_it(struct middle *k)
{
	k->result = touched(k->w.a, AT(0));
}

static void a_fault_in_the_middle_waits(void **state)
{
	struct middle k;

	(void)state;
	middle_open(&k, touch_it);
	map(&k.w, 0, 1, RW);
	mark(&k.w, 0, 1);
	assert_int_equal(with_middle(&k, avm_poison, page_at(k.w.mm, AT(0))->pfn), 0);
	assert_int_equal(k.result, AVM_FAULT_RETRY);
	assert_int_equal(touched(k.w.a, AT(0)), AVM_FAULT_SIGBUS);
	world_close(&k.w);
}

static void fork_it(struct middle *k)
{
	k->b = fork_of(k->w.a);
}

static void a_fork_in_the_middle_is_told_as_well(void **state)
{
	struct middle k;

	(void)state;
	middle_open(&k, fork_it);
	map(&k.w, 0, 1, RW);
	mark(&k.w, 0, 1);
	assert_int_equal(with_middle(&k, avm_poison, page_at(k.w.mm, AT(0))->pfn), 0);
	assert_int_equal(sim_poisonings(k.w.s), 2);
	assert_int_equal(touched(k.b, AT(0)), AVM_FAULT_SIGBUS);
	assert_int_equal(rss(sim_mm(k.b), AVM_RSS_ANON), 0);
	world_close(&k.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(anonymous_memory_is_lost_to_all_who_map_it),
		cmocka_unit_test(a_clean_page_of_a_file_is_read_anew),
		cmocka_unit_test(a_dirty_page_of_a_file_is_lost_to_who_maps_it),
		cmocka_unit_test(shared_anonymous_memory_is_lost),
		cmocka_unit_test(what_a_slot_has_as_well_is_not_lost),
		cmocka_unit_test(an_exclusive_page_comes_back_exclusive),
		cmocka_unit_test(a_dirty_page_in_the_swap_cache_is_lost_to_who_has_its_slot),
		cmocka_unit_test(what_cannot_be_taken_away_is_busy),
		cmocka_unit_test(a_pinned_page_is_busy_and_everything_as_before),
		cmocka_unit_test(a_fault_in_the_middle_waits),
		cmocka_unit_test(a_fork_in_the_middle_is_told_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
