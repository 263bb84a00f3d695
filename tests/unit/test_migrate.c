/* SPDX-License-Identifier: MIT */
/* test_migrate.c - the same page in another frame, and frames made free on purpose (R16). */
#include "anon_vma.h"
#include "anonvm/memory.h"
#include "lock.h"
#include "lru.h"
#include "middle.h"
#include "page.h"
#include "swap_slot.h"

/* Moves the page behind addr; its contents, and where it is, are for the caller to look at. */
static void moves(struct world *w, struct sim_proc *p, avm_addr_t addr)
{
	struct avm_page *page = page_of(p, addr);
	uint64_t used = sim_frames_used(w->s);

	assert_int_equal(avm_migrate(w->m, page->pfn), 0);
	assert_ptr_not_equal(page_at(sim_mm(p), addr), page);
	assert_int_equal(atomic_load(&page->flags), 0);
	assert_int_equal(sim_frames_used(w->s), used);
	world_check(w);
}

/* ---- what is moved ------------------------------------------------------------------------------------ */

static void an_anonymous_page_keeps_its_content_and_its_owner(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	moves(&w, w.a, AT(0));
	assert_true(is_exclusive(page_at(w.mm, AT(0))));
	assert_true(has_flag(page_at(w.mm, AT(0)), AVM_PG_LRU));
	assert_true(has_flag(page_at(w.mm, AT(0)), AVM_PG_DIRTY));
	/* Writable as before: no fault. */
	assert_false(sim_would_fault(w.a, AT(0), AVM_ACCESS_WRITE, NULL));
	assert_marked(&w, 0, 1, 0);
	store(w.a, AT(0), 9);
	assert_int_equal(load(w.a, AT(0)), 9);
	assert_int_equal(event(&w, AVM_EV_MIGRATED), 1);
	world_close(&w);
}

static void a_page_of_three_processes_is_moved_for_all(void **state)
{
	struct sim_proc *b, *c;
	struct avm_page *page;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	b = fork_of(w.a);
	c = fork_of(b);
	moves(&w, c, AT(0));
	page = page_at(w.mm, AT(0));
	assert_ptr_equal(page_at(sim_mm(b), AT(0)), page);
	assert_ptr_equal(page_at(sim_mm(c), AT(0)), page);
	assert_int_equal(atomic_load(&page->mapcount), 3);
	assert_false(is_exclusive(page));
	store(b, AT(0), 7);
	assert_int_equal(load(w.a, AT(0)), 0x40);
	assert_int_equal(load(b, AT(0)), 7);
	assert_int_equal(load(c, AT(0)), 0x40);
	world_close(&w);
}

static void what_was_write_protected_stays_so(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	assert_int_equal(avm_mprotect(w.mm, AT(0), PAGE, AVM_PROT_READ), 0);
	moves(&w, w.a, AT(0));
	assert_true(sim_would_fault(w.a, AT(0), AVM_ACCESS_WRITE, NULL));
	assert_int_equal(avm_mprotect(w.mm, AT(0), PAGE, RW), 0);
	store(w.a, AT(0), 3);
	world_close(&w);
}

static void pages_of_files_are_moved_with_their_mappings(void **state)
{
	avm_addr_t shared, private;
	struct test_file *tf;
	struct world w;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 4 * PAGE);
	shared = map_file(w.mm, 4, RW, AVM_MAP_SHARED, &tf->file);
	private = map_file(w.mm, 4, RW, AVM_MAP_PRIVATE, &tf->file);
	/* Clean: the first write must still be told. */
	assert_int_equal(load(w.a, shared), 1);
	assert_int_equal(load(w.a, private), 1);
	moves(&w, w.a, shared);
	assert_ptr_equal(page_at(w.mm, private), page_at(w.mm, shared));
	assert_true(sim_would_fault(w.a, shared, AVM_ACCESS_WRITE, NULL));
	store(w.a, shared, 0x55);
	assert_int_equal(tf->mkwrites, 1);
	/* Dirty: and it need not be told again. */
	moves(&w, w.a, shared);
	assert_false(sim_would_fault(w.a, shared, AVM_ACCESS_WRITE, NULL));
	assert_int_equal(load(w.a, private), 0x55);
	assert_int_equal(avm_msync(w.mm, shared, PAGE, AVM_MS_SYNC), 0);
	assert_int_equal(tf->data[0], 0x55);
	moves(&w, w.a, shared);
	assert_true(sim_would_fault(w.a, shared, AVM_ACCESS_WRITE, NULL));
	/* A private copy goes its own way. */
	store(w.a, private, 0x66);
	moves(&w, w.a, private);
	assert_int_equal(load(w.a, private), 0x66);
	assert_int_equal(load(w.a, shared), 0x55);
	assert_int_equal(avm_munmap(w.mm, shared, 4 * PAGE), 0);
	assert_int_equal(avm_munmap(w.mm, private, 4 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void a_cached_page_that_nobody_maps_is_moved(void **state)
{
	struct avm_page *page;
	struct test_file *tf;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, PAGE);
	at = map_file(w.mm, 1, RW, AVM_MAP_SHARED, &tf->file);
	store(w.a, at, 0x31);
	page = page_at(w.mm, at);
	assert_int_equal(avm_madvise(w.mm, at, PAGE, AVM_MADV_DONTNEED), 0);
	assert_int_equal(avm_migrate(w.m, page->pfn), 0);
	world_check(&w);
	assert_int_equal(load(w.a, at), 0x31);
	assert_int_equal(tf->reads, 1);
	assert_ptr_not_equal(page_at(w.mm, at), page);
	assert_int_equal(avm_munmap(w.mm, at, PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void shared_anonymous_memory_is_moved(void **state)
{
	struct sim_proc *b;
	struct middle k;
	avm_addr_t at;

	(void)state;
	swap_world_open(&k);
	at = map_at(k.w.mm, 0, 1, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	store(k.w.a, at, 0x21);
	b = fork_of(k.w.a);
	(void)load(b, at);
	moves(&k.w, b, at);
	assert_ptr_equal(page_at(k.w.mm, at), page_at(sim_mm(b), at));
	assert_false(sim_would_fault(b, at, AVM_ACCESS_WRITE, NULL));
	store(b, at, 0x22);
	assert_int_equal(load(k.w.a, at), 0x22);
	assert_true(avm_shrink_all(k.w.m) >= 1);
	assert_int_equal(load(b, at), 0x22);
	world_close(&k.w);
}

static void a_page_in_the_swap_cache_is_moved_with_its_slot(void **state)
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
	/* One has it back, the other has the slot: it is in the cache. */
	page = page_of(b, AT(0));
	assert_true(has_flag(page, AVM_PG_SWAPCACHE));
	assert_false(has_flag(page, AVM_PG_DIRTY));
	moves(&k.w, b, AT(0));
	assert_false(has_flag(page_at(sim_mm(b), AT(0)), AVM_PG_DIRTY));
	assert_int_equal(load(k.w.a, AT(0)), 0x40);
	assert_ptr_equal(page_at(k.w.mm, AT(0)), page_at(sim_mm(b), AT(0)));
	assert_int_equal(event(&k.w, AVM_EV_SWAP_IN), 1);
	world_close(&k.w);
}

static void a_page_that_is_only_in_the_swap_cache_is_moved(void **state)
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
	sim_proc_exit(b);
	assert_int_equal(atomic_load(&page->mapcount), 0);
	assert_true(has_flag(page, AVM_PG_SWAPCACHE));
	assert_int_equal(avm_migrate(k.w.m, page->pfn), 0);
	world_check(&k.w);
	assert_int_equal(load(k.w.a, AT(0)), 0x40);
	assert_ptr_not_equal(page_at(k.w.mm, AT(0)), page);
	assert_int_equal(event(&k.w, AVM_EV_SWAP_IN), 1);
	world_close(&k.w);
}

static void locked_memory_may_be_moved_and_stays_locked(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	assert_int_equal(avm_mlock(w.mm, AT(0), PAGE, 0), 0);
	moves(&w, w.a, AT(0));
	assert_true(has_flag(page_at(w.mm, AT(0)), AVM_PG_UNEVICTABLE));
	assert_int_equal(avm_munlock(w.mm, AT(0), PAGE), 0);
	moves(&w, w.a, AT(0));
	assert_false(has_flag(page_at(w.mm, AT(0)), AVM_PG_UNEVICTABLE));
	world_close(&w);
}

/* R13.2: written since MADV_FREE, it is wanted; and the dirty bit was in the entry alone. */
static void a_store_after_madv_free_survives_the_move(void **state)
{
	struct middle k;

	(void)state;
	swap_world_open(&k);
	map(&k.w, 0, 2, RW);
	mark(&k.w, 0, 2);
	assert_int_equal(avm_madvise(k.w.mm, AT(0), 2 * PAGE, AVM_MADV_FREE), 0);
	store(k.w.a, AT(0), 5);
	moves(&k.w, k.w.a, AT(0));
	moves(&k.w, k.w.a, AT(1));
	assert_int_equal(avm_shrink_all(k.w.m), 2);
	assert_int_equal(load(k.w.a, AT(0)), 5);
	assert_int_equal(load(k.w.a, AT(1)), 0); /* lazily freed, as it would have been */
	world_close(&k.w);
}

static void what_ages_goes_on_ageing(void **state)
{
	struct avm_page *page;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	page = page_at(w.mm, AT(0));
	assert_true(avm_lru_isolate_page(w.m, page));
	avm_lru_putback(w.m, page, AVM_PUTBACK_ACTIVE);
	moves(&w, w.a, AT(0));
	assert_true(has_flag(page_at(w.mm, AT(0)), AVM_PG_ACTIVE));
	assert_int_equal(avm_lru_count(w.m, AVM_LRU_ACTIVE_ANON), 1);
	world_close(&w);
}

/* ---- what is not -------------------------------------------------------------------------------------- */

static void stays(struct world *w, struct avm_page *page, int err)
{
	uint64_t used = sim_frames_used(w->s);

	assert_int_equal(avm_migrate(w->m, page->pfn), err);
	assert_int_equal(sim_frames_used(w->s), used);
	assert_true(has_flag(page, AVM_PG_INUSE));
}

static void tables_the_zero_page_and_free_frames_are_not_moved(void **state)
{
	struct avm_page *page;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	stays(&w, w.mm->root_table, -AVM_ENOENT);
	stays(&w, w.m->zero_page, -AVM_ENOENT);
	page = page_at(w.mm, AT(0));
	assert_int_equal(avm_munmap(w.mm, AT(0), PAGE), 0);
	assert_int_equal(avm_migrate(w.m, page->pfn), -AVM_ENOENT);
	assert_int_equal(avm_migrate(w.m, AVM_PFN_NONE), -AVM_ENOENT);
	assert_int_equal(event(&w, AVM_EV_MIGRATE_FAILED), 0);
	world_close(&w);
}

static void a_page_that_is_locked_or_isolated_is_busy(void **state)
{
	struct avm_page *page;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	page = page_at(w.mm, AT(0));
	avm_page_lock(w.m, page);
	stays(&w, page, -AVM_EBUSY);
	avm_page_unlock(w.m, page);
	assert_int_equal(event(&w, AVM_EV_RACE_PAGE_LOCKED), 1);
	assert_true(avm_lru_isolate_page(w.m, page));
	stays(&w, page, -AVM_EBUSY);
	avm_lru_putback(w.m, page, AVM_PUTBACK_INACTIVE);
	moves(&w, w.a, AT(0));
	world_close(&w);
}

/* All entries are given back as they were: the mark of the exclusive page, and write. */
static void a_page_that_somebody_holds_is_put_back(void **state)
{
	struct avm_page *page;
	struct test_file *tf;
	struct middle k;
	avm_addr_t at;

	(void)state;
	swap_world_open(&k);
	map(&k.w, 0, 1, RW);
	mark(&k.w, 0, 1);
	tf = test_file_open(&k.w, PAGE);
	at = map_file(k.w.mm, 1, RW, AVM_MAP_SHARED, &tf->file);
	store(k.w.a, at, 2);
	page = page_at(k.w.mm, AT(0));
	avm_page_get(page);
	stays(&k.w, page, -AVM_EBUSY);
	assert_ptr_equal(page_at(k.w.mm, AT(0)), page);
	assert_true(is_exclusive(page));
	assert_false(sim_would_fault(k.w.a, AT(0), AVM_ACCESS_WRITE, NULL));
	avm_page_put(k.w.m, page);
	world_check(&k.w);

	page = page_at(k.w.mm, at);
	avm_page_get(page);
	stays(&k.w, page, -AVM_EBUSY);
	assert_ptr_equal(page_at(k.w.mm, at), page);
	assert_false(sim_would_fault(k.w.a, at, AVM_ACCESS_WRITE, NULL));
	avm_page_put(k.w.m, page);
	world_check(&k.w);

	/* In the swap cache, too. */
	assert_true(avm_shrink_all(k.w.m) >= 1);
	page = page_of(k.w.a, AT(0));
	assert_true(has_flag(page, AVM_PG_SWAPCACHE));
	avm_page_get(page);
	stays(&k.w, page, -AVM_EBUSY);
	avm_page_put(k.w.m, page);
	world_check(&k.w);
	assert_int_equal(event(&k.w, AVM_EV_MIGRATE_FAILED), 3);
	assert_marked(&k.w, 0, 1, 0);
	assert_int_equal(avm_munmap(k.w.mm, at, PAGE), 0);
	test_file_close(tf);
	world_close(&k.w);
}

static void without_a_frame_nothing_happens(void **state)
{
	struct avm_page *page;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	page = page_at(w.mm, AT(0));
	sim_fail_alloc(w.s, 1, 1);
	stays(&w, page, -AVM_ENOMEM);
	assert_int_equal(event(&w, AVM_EV_MIGRATE_FAILED), 1);
	world_check(&w);
	assert_marked(&w, 0, 1, 0);
	world_close(&w);
}

/* ---- somebody else in the middle (debug builds) --------------------------------------------------------- */

static void middle_page(struct middle *k)
{
	map(&k->w, 0, 4, RW);
	mark(&k->w, 0, 1);
	k->page = page_at(k->w.mm, AT(0));
}

static void touch_it(struct middle *k)
{
	assert_true(avm_pte_is_entry(peek_entry(k->w.mm, AT(0))));
	k->result = sim_touch(k->w.a, AT(0), AVM_ACCESS_WRITE, NULL);
}

static void a_fault_in_the_middle_waits_and_comes_again(void **state)
{
	struct middle k;

	(void)state;
	middle_open(&k, touch_it);
	middle_page(&k);
	assert_int_equal(with_middle(&k, avm_migrate, k.page->pfn), 0);
	assert_int_equal(k.result, AVM_FAULT_RETRY);
	assert_int_equal(event(&k.w, AVM_EV_RACE_MIGRATION_WAIT), 1);
	assert_ptr_not_equal(page_at(k.w.mm, AT(0)), k.page);
	assert_marked(&k.w, 0, 1, 0);
	world_close(&k.w);
}

static void fork_it(struct middle *k)
{
	k->b = fork_of(k->w.a);
}

static void a_fork_in_the_middle_shares_the_page(void **state)
{
	struct middle k;

	(void)state;
	middle_open(&k, fork_it);
	middle_page(&k);
	assert_int_equal(with_middle(&k, avm_migrate, k.page->pfn), 0);
	assert_ptr_equal(page_at(sim_mm(k.b), AT(0)), page_at(k.w.mm, AT(0)));
	assert_false(is_exclusive(page_at(k.w.mm, AT(0))));
	assert_true(sim_would_fault(k.w.a, AT(0), AVM_ACCESS_WRITE, NULL));
	store(k.w.a, AT(0), 1);
	assert_int_equal(load(k.b, AT(0)), 0x40);
	world_close(&k.w);
}

static void unmap_it(struct middle *k)
{
	k->result = (unsigned)avm_munmap(k->w.mm, AT(0), 4 * PAGE);
}

/* Gallery 11: the family is gone with its last mapping; but for the pin. */
static void an_munmap_in_the_middle_leaves_nothing(void **state)
{
	struct avm_stats before, after;
	struct middle k;

	(void)state;
	middle_open(&k, unmap_it);
	avm_stats(k.w.m, &before);
	middle_page(&k);
	assert_int_equal(with_middle(&k, avm_migrate, k.page->pfn), 0);
	assert_int_equal(k.result, 0);
	assert_int_equal(atomic_load(&k.page->flags), 0);
	avm_stats(k.w.m, &after);
	assert_int_equal(after.anon_vmas, before.anon_vmas);
	assert_int_equal(rss(k.w.mm, AVM_RSS_ANON), 0);
	world_close(&k.w);
}

static void exit_child(struct middle *k)
{
	sim_proc_exit(k->b);
}

static void the_only_mapper_exits_in_the_middle(void **state)
{
	struct avm_stats before, after;
	struct middle k;

	(void)state;
	middle_open(&k, exit_child);
	avm_stats(k.w.m, &before);
	assert_int_equal(sim_proc_create(k.w.s, NULL, &k.b), 0);
	map_at(sim_mm(k.b), AT(0), 1, RW, ANON, NULL, 0);
	store(k.b, AT(0), 1);
	k.page = page_at(sim_mm(k.b), AT(0));
	assert_int_equal(with_middle(&k, avm_migrate, k.page->pfn), 0);
	avm_stats(k.w.m, &after);
	assert_int_equal(after.anon_vmas, before.anon_vmas);
	world_close(&k.w);
}

/* Another family's anon_vma takes the memory of the one that has gone, if it has gone. */
static void exit_and_found_another(struct middle *k)
{
	sim_proc_exit(k->b);
	map(&k->w, 100, 1, RW);
	mark(&k->w, 100, 1);
}

static void the_pin_keeps_the_family_from_being_recycled(void **state)
{
	struct avm_anon_vma *av;
	struct middle k;

	(void)state;
	middle_open(&k, exit_and_found_another);
	assert_int_equal(sim_proc_create(k.w.s, NULL, &k.b), 0);
	map_at(sim_mm(k.b), AT(0), 1, RW, ANON, NULL, 0);
	store(k.b, AT(0), 1);
	k.page = page_at(sim_mm(k.b), AT(0));
	av = avm_vma_anon(avm_find_vma(sim_mm(k.b), AT(0)));
	assert_int_equal(with_middle(&k, avm_migrate, k.page->pfn), 0);
	assert_ptr_not_equal(avm_vma_anon(avm_find_vma(k.w.mm, AT(100))), av);
	assert_marked(&k.w, 100, 1, 100);
	world_close(&k.w);
}

static void move_it(struct middle *k)
{
	avm_addr_t out;

	k->result = (unsigned)avm_mremap(k->w.mm, AT(0), PAGE, PAGE,
					 AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED, AT(1024), &out);
}

static void an_mremap_in_the_middle_is_followed(void **state)
{
	struct middle k;

	(void)state;
	middle_open(&k, move_it);
	middle_page(&k);
	assert_int_equal(with_middle(&k, avm_migrate, k.page->pfn), 0);
	assert_int_equal(k.result, 0);
	assert_int_equal(load(k.w.a, AT(1024)), 0x40);
	world_close(&k.w);
}

static void protect_and_back(struct middle *k)
{
	assert_int_equal(avm_mprotect(k->w.mm, AT(0), PAGE, AVM_PROT_READ), 0);
	assert_false(avm_pte_entry_write(peek_entry(k->w.mm, AT(0))));
	k->result = (unsigned)avm_mprotect(k->w.mm, AT(0), PAGE, RW);
}

static void mprotect_in_the_middle_takes_write_away(void **state)
{
	struct middle k;

	(void)state;
	middle_open(&k, protect_and_back);
	middle_page(&k);
	assert_int_equal(with_middle(&k, avm_migrate, k.page->pfn), 0);
	assert_int_equal(k.result, 0);
	assert_true(sim_would_fault(k.w.a, AT(0), AVM_ACCESS_WRITE, NULL));
	assert_int_equal(fault_write(k.w.mm, AT(0)), AVM_FAULT_MINOR | AVM_FAULT_REUSE);
	world_close(&k.w);
}

static void unlock_it(struct middle *k)
{
	k->result = (unsigned)avm_munlock(k->w.mm, AT(0), PAGE);
}

static void munlock_in_the_middle_is_heard(void **state)
{
	struct middle k;

	(void)state;
	middle_open(&k, unlock_it);
	middle_page(&k);
	assert_int_equal(avm_mlock(k.w.mm, AT(0), PAGE, 0), 0);
	assert_int_equal(with_middle(&k, avm_migrate, k.page->pfn), 0);
	assert_int_equal(k.result, 0);
	assert_false(has_flag(page_at(k.w.mm, AT(0)), AVM_PG_UNEVICTABLE));
	world_close(&k.w);
}

static void lock_it(struct middle *k)
{
	k->result = (unsigned)avm_mlock(k->w.mm, AT(0), PAGE, AVM_MLOCK_ONFAULT);
}

static void mlock_in_the_middle_is_heard(void **state)
{
	struct middle k;

	(void)state;
	middle_open(&k, lock_it);
	middle_page(&k);
	assert_int_equal(with_middle(&k, avm_migrate, k.page->pfn), 0);
	assert_int_equal(k.result, 0);
	assert_true(has_flag(page_at(k.w.mm, AT(0)), AVM_PG_UNEVICTABLE));
	world_close(&k.w);
}

/*
 * Two mappings, of which one has been taken when somebody pins through the other: both are put back. The table of the
 * second is about to be locked for the first time by then.
 */
static void pin_between(void *context, int event, int lock_class, const volatile void *lock)
{
	struct middle *k = context;
	avm_pfn_t pfn;

	(void)lock;
	if (event != AVM_LOCK_EV_WRITE || lock_class != AVM_LOCK_TABLE || k->result++ != 2)
		return;
	sim_set_interruption(k->w.s, middle_act, k);
	pfn = avm_port_frame_alloc(k->w.m, AVM_FRAME_USER);
	sim_set_interruption(k->w.s, NULL, NULL);
	avm_port_frame_free(k->w.m, pfn);
}

static void pin_it(struct middle *k)
{
	struct avm_page *page;
	bool gone = avm_pte_is_entry(peek_entry(k->w.mm, AT(0)));

	assert_true(gone != avm_pte_is_entry(peek_entry(sim_mm(k->b), AT(0))));
	assert_int_equal(avm_pin(gone ? sim_mm(k->b) : k->w.mm, AT(0), 1, AVM_ACCESS_READ, &page),
			 1);
	assert_ptr_equal(page, k->page);
}

static void a_pin_between_two_entries_keeps_the_page(void **state)
{
	struct test_file *tf;
	struct middle k;

	(void)state;
	middle_open(&k, pin_it);
	tf = test_file_open(&k.w, PAGE);
	map_at(k.w.mm, AT(0), 1, RW, AVM_MAP_SHARED, &tf->file, 0);
	store(k.w.a, AT(0), 0x17);
	k.b = fork_of(k.w.a);
	store(k.b, AT(0), 0x18);
	k.page = page_at(k.w.mm, AT(0));
	sim_set_other_cpu(k.w.s, pin_between, &k);
	assert_int_equal(avm_migrate(k.w.m, k.page->pfn), -AVM_EBUSY);
	sim_set_other_cpu(k.w.s, NULL, NULL);
	assert_int_equal(k.acts, 1);
	world_check(&k.w);
	assert_ptr_equal(page_at(k.w.mm, AT(0)), k.page);
	assert_ptr_equal(page_at(sim_mm(k.b), AT(0)), k.page);
	assert_false(sim_would_fault(k.b, AT(0), AVM_ACCESS_WRITE, NULL));
	avm_unpin(k.w.m, &k.page, 1, AVM_UNPIN_CLEAN);
	sim_proc_exit(k.b);
	assert_int_equal(avm_munmap(k.w.mm, AT(0), PAGE), 0);
	test_file_close(tf);
	world_close(&k.w);
}

static void hold_it(struct middle *k)
{
	avm_page_get(k->page);
}

/* Too late to keep it from moving: the reference is on what is no page of anybody's any more. */
static void a_late_holder_keeps_the_old_frame(void **state)
{
	struct middle k;

	(void)state;
	middle_open(&k, hold_it);
	middle_page(&k);
	sim_set_other_cpu(k.w.s, middle_event, &k);
	assert_int_equal(avm_migrate(k.w.m, k.page->pfn), 0);
	sim_set_other_cpu(k.w.s, NULL, NULL);
	assert_int_equal(atomic_load(&k.page->refcount), 1);
	assert_int_equal(atomic_load(&k.page->mapping), 0);
	avm_page_put(k.w.m, k.page);
	world_check(&k.w);
	assert_marked(&k.w, 0, 1, 0);
	world_close(&k.w);
}

static void cut_the_file(struct middle *k)
{
	struct avm_file *f = avm_find_vma(k->w.mm, AT(0))->file;

	/* Only the mappings: the page itself is locked, and would be waited for. */
	k->result = (unsigned)avm_madvise(k->w.mm, AT(0), PAGE, AVM_MADV_DONTNEED);
	assert_int_equal(f->nr_pages, 1);
}

static void entries_of_a_file_that_go_in_the_middle_stay_away(void **state)
{
	struct test_file *tf;
	struct middle k;

	(void)state;
	middle_open(&k, cut_the_file);
	tf = test_file_open(&k.w, PAGE);
	map_at(k.w.mm, AT(0), 1, RW, AVM_MAP_SHARED, &tf->file, 0);
	store(k.w.a, AT(0), 0x17);
	k.page = page_at(k.w.mm, AT(0));
	assert_int_equal(with_middle(&k, avm_migrate, k.page->pfn), 0);
	assert_int_equal(k.result, 0);
	assert_int_equal(rss(k.w.mm, AVM_RSS_FILE), 0);
	assert_int_equal(load(k.w.a, AT(0)), 0x17);
	assert_int_equal(tf->reads, 1);
	assert_int_equal(avm_munmap(k.w.mm, AT(0), PAGE), 0);
	test_file_close(tf);
	world_close(&k.w);
}

/* ---- compaction ----------------------------------------------------------------------------------------- */

static avm_pfn_t region_first(struct world *w)
{
	return w->m->regions->first;
}

static void a_fragmented_machine_is_compacted(void **state)
{
	enum {
		FRAMES = 256,
		PAGES = 160
	};
	struct world w;
	int64_t freed;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = FRAMES, .check_tlb = true });
	map(&w, 0, PAGES, RW);
	mark(&w, 0, PAGES);
	/* Every second one is free now. */
	for (unsigned i = 0; i < PAGES; i += 2)
		assert_int_equal(avm_madvise(w.mm, AT(i), PAGE, AVM_MADV_DONTNEED), 0);
	freed = avm_compact(w.m, region_first(&w) + 32, 64);
	assert_int_equal(freed, 64);
	world_check(&w);
	for (unsigned i = 1; i < PAGES; i += 2)
		assert_marked(&w, i, 1, i);
	/* A range that has what cannot be moved: tables, the zero page. */
	freed = avm_compact(w.m, region_first(&w), 32);
	assert_true(freed > 0 && freed < 32);
	/* More than there is. */
	assert_int_equal(avm_compact(w.m, region_first(&w) + FRAMES, 8), 0);
	assert_int_equal(avm_compact(w.m, 0, 0), 0);
	world_close(&w);
}

static void without_a_frame_outside_compaction_says_so(void **state)
{
	struct world w;
	uint64_t used;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 64, .check_tlb = true });
	map(&w, 0, 8, RW);
	mark(&w, 0, 8);
	used = sim_frames_used(w.s);
	assert_int_equal(avm_compact(w.m, region_first(&w), 64), -AVM_ENOMEM);
	assert_int_equal(avm_compact(w.m, 0, UINT64_MAX), -AVM_ENOMEM);
	assert_int_equal(sim_frames_used(w.s), used);
	world_check(&w);
	assert_marked(&w, 0, 8, 0);
	world_close(&w);
}

static void compaction_ends_where_frames_end(void **state)
{
	struct avm_page *page;
	struct world w;
	int64_t before;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	mark(&w, 0, 4);
	page = page_at(w.mm, AT(0));
	before = avm_compact(w.m, page->pfn + 64, 64);
	assert_int_equal(before, 64);
	sim_fail_alloc(w.s, 2, 0);
	before = avm_compact(w.m, page->pfn, 2);
	sim_fail_alloc(w.s, 0, 0);
	assert_int_equal(before, 1);
	world_check(&w);
	assert_marked(&w, 0, 4, 0);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_anonymous_page_keeps_its_content_and_its_owner),
		cmocka_unit_test(a_page_of_three_processes_is_moved_for_all),
		cmocka_unit_test(what_was_write_protected_stays_so),
		cmocka_unit_test(pages_of_files_are_moved_with_their_mappings),
		cmocka_unit_test(a_cached_page_that_nobody_maps_is_moved),
		cmocka_unit_test(shared_anonymous_memory_is_moved),
		cmocka_unit_test(a_page_in_the_swap_cache_is_moved_with_its_slot),
		cmocka_unit_test(a_page_that_is_only_in_the_swap_cache_is_moved),
		cmocka_unit_test(locked_memory_may_be_moved_and_stays_locked),
		cmocka_unit_test(a_store_after_madv_free_survives_the_move),
		cmocka_unit_test(what_ages_goes_on_ageing),
		cmocka_unit_test(tables_the_zero_page_and_free_frames_are_not_moved),
		cmocka_unit_test(a_page_that_is_locked_or_isolated_is_busy),
		cmocka_unit_test(a_page_that_somebody_holds_is_put_back),
		cmocka_unit_test(without_a_frame_nothing_happens),
		cmocka_unit_test(a_fault_in_the_middle_waits_and_comes_again),
		cmocka_unit_test(a_fork_in_the_middle_shares_the_page),
		cmocka_unit_test(an_munmap_in_the_middle_leaves_nothing),
		cmocka_unit_test(the_only_mapper_exits_in_the_middle),
		cmocka_unit_test(the_pin_keeps_the_family_from_being_recycled),
		cmocka_unit_test(an_mremap_in_the_middle_is_followed),
		cmocka_unit_test(mprotect_in_the_middle_takes_write_away),
		cmocka_unit_test(munlock_in_the_middle_is_heard),
		cmocka_unit_test(mlock_in_the_middle_is_heard),
		cmocka_unit_test(a_pin_between_two_entries_keeps_the_page),
		cmocka_unit_test(a_late_holder_keeps_the_old_frame),
		cmocka_unit_test(entries_of_a_file_that_go_in_the_middle_stay_away),
		cmocka_unit_test(a_fragmented_machine_is_compacted),
		cmocka_unit_test(without_a_frame_outside_compaction_says_so),
		cmocka_unit_test(compaction_ends_where_frames_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
