/* SPDX-License-Identifier: MIT */
/*
 * test_races.c - what somebody else may do between two steps, done at just that moment by the other CPU of the
 * simulated machine (sim_set_other_cpu; debug builds). Each test says which look it makes necessary.
 */
#include "anon_vma.h"
#include "fault.h"
#include "ksm.h"
#include "merged.h"
#include "ops.h"
#include "page.h"
#include "rmap.h"

/* What the other CPU waits for, and what it does then, once. */
struct rival {
	enum avm_lock_event event;
	enum avm_lock_class class;
	void (*act)(struct rival *r);
	unsigned acts;
	struct world w;
	struct avm_page *page;
	struct avm_anon_vma *av;
	const char *missing; /* what a look found wrong */
};

static void wait_for_it(void *context, int event, int lock_class, const volatile void *lock)
{
	struct rival *r = context;

	(void)lock;
	if (event != (int)r->event || lock_class != (int)r->class || r->acts)
		return;
	r->acts++;
	r->act(r);
}

/* One faulted page at AT(0). False, and the test is skipped, in a release build. */
static void rival_open(struct rival *r, enum avm_lock_event event, enum avm_lock_class class,
		       void (*act)(struct rival *r))
{
	*r = (struct rival){ .event = event, .class = class, .act = act };
	world_open(&r->w);
	if (!sim_set_other_cpu(r->w.s, wait_for_it, r)) {
		world_close(&r->w);
		skip();
	}
	sim_set_other_cpu(r->w.s, NULL, NULL);
	map(&r->w, 0, 1, RW);
	mark(&r->w, 0, 1);
	r->page = page_at(r->w.mm, AT(0));
	r->av = avm_vma_anon(avm_find_vma(r->w.mm, AT(0)));
}

static void rival_starts(struct rival *r)
{
	sim_set_other_cpu(r->w.s, wait_for_it, r);
}

static void rival_ends(struct rival *r)
{
	sim_set_other_cpu(r->w.s, NULL, NULL);
	assert_int_equal(r->acts, 1);
}

/* ---- R8.8: a page of a file may have gone when its lock is there ----------------------------------------- */

static struct test_file *shorter;

static void truncate_it(struct rival *r)
{
	(void)r;
	assert_int_equal(avm_file_truncate(&shorter->file, 0), 0);
}

static void a_first_write_sees_that_the_page_was_truncated(void **state)
{
	struct rival r;
	avm_addr_t a;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_WRITE, AVM_LOCK_PAGE, truncate_it);
	shorter = test_file_open(&r.w, PAGE);
	a = map_file(r.w.mm, 1, RW, AVM_MAP_SHARED, &shorter->file);
	assert_int_equal(load(r.w.a, a), 1);
	rival_starts(&r);
	assert_int_equal(fault_write(r.w.mm, a), AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS);
	rival_ends(&r);
	assert_int_equal(fault_write(r.w.mm, a), AVM_FAULT_SIGBUS);
	assert_int_equal(avm_munmap(r.w.mm, a, PAGE), 0);
	test_file_close(shorter);
	world_close(&r.w);
}

/* ---- R6: look again under the lock (gallery 09) --------------------------------------------------------- */

static void unmap_page(struct rival *r)
{
	atomic_store(&r->page->mapcount, 0);
}

static void place_elsewhere(struct rival *r)
{
	atomic_fetch_add(&r->page->mapping, sizeof(struct avm_anon_vma));
}

/* The memory of the anon_vma was given to another family. */
static void recycle(struct rival *r)
{
	atomic_store(&r->av->root, r->av + 1);
}

static void expect_nobody(void (*act)(struct rival *r))
{
	struct avm_anon_vma *root, *out;
	uintptr_t mapping;
	struct rival r;

	rival_open(&r, AVM_LOCK_EV_TRY_READ, AVM_LOCK_FAMILY, act);
	mapping = atomic_load(&r.page->mapping);
	root = avm_family_root(r.av);
	rival_starts(&r);
	assert_int_equal(avm_family_resolve(r.w.m, r.page, AVM_RESOLVE_WAIT, &out), -AVM_ENOENT);
	rival_ends(&r);
	assert_int_equal(event(&r.w, AVM_EV_RACE_UNMAPPED), 1);
	assert_int_equal(atomic_load(&root->lock.word), 0);
	atomic_store(&r.page->mapcount, AVM_MAPCOUNT_EXCLUSIVE | 1);
	atomic_store(&r.page->mapping, mapping);
	atomic_store(&r.av->root, root);
	assert_int_equal(avm_family_resolve(r.w.m, r.page, AVM_RESOLVE_WAIT, &out), 0);
	avm_family_unlock_read(r.w.m, out);
	world_close(&r.w);
}

static void resolve_sees_that_the_page_was_unmapped(void **state)
{
	(void)state;
	expect_nobody(unmap_page);
}

static void resolve_sees_that_the_page_is_another_s_now(void **state)
{
	(void)state;
	expect_nobody(place_elsewhere);
}

static void resolve_sees_that_it_has_locked_a_stranger(void **state)
{
	(void)state;
	expect_nobody(recycle);
}

/* ---- R4.1: two faults prepare one VMA (gallery 18) ----------------------------------------------------- */

static void prepare_first(struct rival *r)
{
	assert_int_equal(avm_family_prepare(avm_find_vma(r->w.mm, AT(8))), 0);
}

static void whoever_prepares_second_frees_what_he_brought(void **state)
{
	const struct avm_vma *vma;
	struct avm_stats before, after;
	struct rival r;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_WRITE, AVM_LOCK_FAMILY, prepare_first);
	map(&r.w, 8, 1, RW);
	avm_stats(r.w.m, &before);
	rival_starts(&r);
	assert_int_equal(fault_write(r.w.mm, AT(8)), AVM_FAULT_MINOR);
	rival_ends(&r);
	assert_int_equal(event(&r.w, AVM_EV_RACE_PREPARE), 1);
	vma = avm_find_vma(r.w.mm, AT(8));
	assert_int_equal(atomic_load(&vma->chain_len), 1);
	assert_int_equal(avm_vma_anon(vma)->num_active_vmas, 1);
	avm_stats(r.w.m, &after);
	assert_int_equal(after.anon_vmas, before.anon_vmas + 1);
	assert_int_equal(after.avcs, before.avcs + 1);
	world_close(&r.w);
}

/* ---- R8.8: two faults at one address --------------------------------------------------------------------- */

static void fault_first(struct rival *r)
{
	/* mmap_lock is held for read by the first fault: one more reader would be the same. */
	assert_int_equal(avm_fault_locked(avm_find_vma(r->w.mm, AT(9)), AT(9), AVM_ACCESS_WRITE,
					  AVM_FORCE_NO, NULL),
			 AVM_FAULT_MINOR);
	store(r->w.a, AT(9), 0x77);
}

static void the_second_of_two_faults_changes_nothing(void **state)
{
	uint64_t frames;
	struct rival r;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_WRITE, AVM_LOCK_TABLE, fault_first);
	map(&r.w, 8, 2, RW);
	store(r.w.a, AT(8), 1); /* prepared, and the table is there */
	frames = sim_frames_used(r.w.s);
	rival_starts(&r);
	assert_int_equal(fault_write(r.w.mm, AT(9)), AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS);
	rival_ends(&r);
	assert_int_equal(load(r.w.a, AT(9)), 0x77);
	assert_int_equal(sim_frames_used(r.w.s), frames + 1);
	world_close(&r.w);
}

static void read_first(struct rival *r)
{
	assert_int_equal(avm_fault_locked(avm_find_vma(r->w.mm, AT(9)), AT(9), AVM_ACCESS_READ,
					  AVM_FORCE_NO, NULL),
			 AVM_FAULT_MINOR | AVM_FAULT_ZERO);
}

static void two_reads_map_the_zero_page_once(void **state)
{
	struct rival r;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_WRITE, AVM_LOCK_TABLE, read_first);
	map(&r.w, 8, 2, RW);
	store(r.w.a, AT(8), 1);
	rival_starts(&r);
	assert_int_equal(fault_read(r.w.mm, AT(9)), AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS);
	rival_ends(&r);
	assert_int_equal(event(&r.w, AVM_EV_ZERO_MAP), 1);
	world_close(&r.w);
}

/* The zero page that the second has seen is gone when he has its lock. */
static void two_writes_replace_the_zero_page_once(void **state)
{
	struct rival r;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_WRITE, AVM_LOCK_TABLE, fault_first);
	map(&r.w, 8, 2, RW);
	store(r.w.a, AT(8), 1);
	assert_int_equal(load(r.w.a, AT(9)), 0);
	rival_starts(&r);
	assert_int_equal(fault_write(r.w.mm, AT(9)), AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS);
	rival_ends(&r);
	assert_int_equal(load(r.w.a, AT(9)), 0x77);
	world_close(&r.w);
}

/* ---- R13.3: entries move under the locks of the trees ---------------------------------------------------- */

/* A walker that comes while entries move would see a page twice or not at all: it has to wait. */
static void walk(struct rival *r)
{
	struct avm_rmap_walk w;

	if (avm_rmap_begin(&w, r->w.m, r->page, AVM_RESOLVE_TRY) == -AVM_EBUSY)
		return;
	avm_rmap_end(&w);
	r->missing = "the lock of the tree";
}

/* The pages of a file are walked with the page lock. */
static void lock_and_walk(struct rival *r)
{
	if (!avm_page_trylock(r->w.m, r->page)) {
		r->missing = "a page that nobody locks";
		return;
	}
	walk(r);
	avm_page_unlock(r->w.m, r->page);
}

static void a_walker_waits_while_entries_move(void **state)
{
	struct avm_rmap_walk w;
	avm_addr_t out;
	struct rival r;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_NEST, AVM_LOCK_TABLE, walk);
	rival_starts(&r);
	/* Into another table: the second table lock comes after both places are known. */
	assert_int_equal(avm_mremap(r.w.mm, AT(0), PAGE, PAGE,
				    AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED, AT(1024), &out),
			 0);
	rival_ends(&r);
	assert_null(r.missing);
	assert_int_equal(avm_rmap_begin(&w, r.w.m, r.page, AVM_RESOLVE_TRY), 0);
	assert_true(avm_rmap_next(&w));
	assert_int_equal(w.c.addr, AT(1024));
	assert_false(avm_rmap_next(&w));
	avm_rmap_end(&w);
	world_close(&r.w);
}

static void a_walker_of_a_file_waits_as_well(void **state)
{
	struct test_file *tf;
	avm_addr_t at, out;
	struct rival r;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_NEST, AVM_LOCK_TABLE, lock_and_walk);
	tf = test_file_open(&r.w, PAGE);
	at = map_file(r.w.mm, 1, RW, AVM_MAP_SHARED, &tf->file);
	(void)load(r.w.a, at);
	r.page = page_at(r.w.mm, at);
	rival_starts(&r);
	assert_int_equal(avm_mremap(r.w.mm, at, PAGE, PAGE, AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED,
				    AT(1024), &out),
			 0);
	rival_ends(&r);
	assert_null(r.missing);
	assert_int_equal(avm_munmap(r.w.mm, out, PAGE), 0);
	test_file_close(tf);
	world_close(&r.w);
}

/* R12: before the locks go, the old translation is gone: whoever finds the page at its new place has it alone. */
static void look_at_the_tlb(struct rival *r)
{
	if (sim_translated(r->w.a, AT(0)))
		r->missing = "the flush";
}

static void a_move_flushes_before_it_drops_the_locks(void **state)
{
	avm_addr_t out;
	struct rival r;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_UNLOCK_WRITE, AVM_LOCK_TABLE, look_at_the_tlb);
	assert_int_equal(load(r.w.a, AT(0)), 0x40);
	assert_true(sim_translated(r.w.a, AT(0)));
	rival_starts(&r);
	assert_int_equal(avm_mremap(r.w.mm, AT(0), PAGE, PAGE,
				    AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED, AT(1024), &out),
			 0);
	rival_ends(&r);
	assert_null(r.missing);
	assert_int_equal(load(r.w.a, AT(1024)), 0x40);
	world_close(&r.w);
}

/* ---- R14: what leaves a file stays away --------------------------------------------------------------------- */

/* Found by threads: the pass over the slots came after that over the pages, and between them a slot became a page. */
static void bring_the_first_page_back(struct rival *r)
{
	(void)load(r->w.a, AT(2048));
}

static void a_hole_keeps_nothing_that_comes_from_swap_meanwhile(void **state)
{
	const struct sim_swap_config swap = { .slots = 4 };
	struct avm_swap_device *d;
	struct avm_file *f;
	struct rival r;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_WRITE, AVM_LOCK_PAGE, bring_the_first_page_back);
	assert_int_equal(sim_swap_add(r.w.s, &swap, &d), 0);
	assert_int_equal(sim_memfd_create(r.w.s, "f", 2 * PAGE, &f), 0);
	map_at(r.w.mm, AT(2048), 2, RW, AVM_MAP_SHARED | AVM_MAP_FIXED, f, 0);
	store(r.w.a, AT(2048), 1);
	store(r.w.a, AT(2049), 2);
	assert_int_equal(avm_page_out(r.w.m, page_at(r.w.mm, AT(2048))->pfn), 0);
	rival_starts(&r);
	assert_int_equal(avm_file_punch(f, 0, 2 * PAGE), 0);
	rival_ends(&r);
	assert_int_equal(load(r.w.a, AT(2048)), 0);
	assert_int_equal(load(r.w.a, AT(2049)), 0);
	sim_file_put(f);
	world_close(&r.w);
}

/* ---- R13.2, R16: what was written through a pin is wanted ---------------------------------------------------- */

static void write_through_a_pin(struct rival *r)
{
	const unsigned char new = 0x77;

	/* What avm_pin() does; its locks are in the order of another thread. */
	avm_page_get(r->page);
	atomic_fetch_add(&r->page->pins, 1);
	avm_port_frame_write(r->w.m, r->page->pfn, 0, &new, 1);
	avm_unpin(r->w.m, &r->page, 1, AVM_UNPIN_DIRTY);
}

/* The first walk asks whether the page was used; then it is found lazy, and the second takes the entries. */
static void wait_for_the_second_walk(struct rival *r)
{
	r->act = write_through_a_pin;
	r->acts = 0;
}

static void a_pin_that_comes_and_goes_keeps_a_page_from_being_given_up(void **state)
{
	struct rival r;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_TRY_READ, AVM_LOCK_FAMILY, wait_for_the_second_walk);
	assert_int_equal(avm_madvise(r.w.mm, AT(0), PAGE, AVM_MADV_FREE), 0);
	rival_starts(&r);
	assert_int_equal(avm_page_out(r.w.m, r.page->pfn), -AVM_EBUSY);
	rival_ends(&r);
	assert_int_equal(load(r.w.a, AT(0)), 0x77);
	world_close(&r.w);
}

/* ---- R13.2, R15: what is merged is nobody's to give up ------------------------------------------------------- */

static uintptr_t merged_mapping;

/* The last step of merging, a moment before the page lock was got: from here on it is a merged page. */
static void make_known(struct rival *r)
{
	atomic_store(&r->page->mapping, merged_mapping);
}

/* All but that. */
static void make_merged_but_for_that(struct rival *r)
{
	uintptr_t mapping = atomic_load(&r->page->mapping);

	avm_page_lock(r->w.m, r->page);
	assert_int_equal(avm_merged_make(r->w.m, r->page, 1, r->av), 1);
	avm_page_unlock(r->w.m, r->page);
	merged_mapping = atomic_exchange(&r->page->mapping, mapping);
}

static void whether_a_page_is_merged_is_asked_under_its_lock(void **state)
{
	struct sim_proc *child;
	struct rival r;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_TRY, AVM_LOCK_PAGE, make_known);
	/* The entry is read-only, and the page not exclusive. */
	assert_int_equal(sim_proc_fork(r.w.a, &child), 0);
	sim_proc_exit(child);
	make_merged_but_for_that(&r);
	rival_starts(&r);
	assert_int_equal(avm_madvise(r.w.mm, AT(0), PAGE, AVM_MADV_FREE), 0);
	rival_ends(&r);
	assert_true(avm_page_is_merged(r.page));
	assert_false(avm_page_test(r.page, AVM_PG_LAZYFREE));
	assert_true(avm_page_test(r.page, AVM_PG_DIRTY));
	assert_int_equal(load(r.w.a, AT(0)), 0x40);
	world_close(&r.w);
}

/* ---- R15, R12: read-only in the tables is not yet read-only -------------------------------------------------- */

static struct sim_proc *merging;

/* Found by threads. Between two tables: what the first has lost is still in the TLB. */
static void merge_with_ours(struct rival *r)
{
	struct avm_vma *vma = avm_find_vma(sim_mm(merging), AT(0));
	struct avm_page *page = page_at(sim_mm(merging), AT(0));
	struct avm_pte_info ours;
	struct avm_ptc c;

	avm_pte_at(r->w.mm, AT(0), &ours);
	if (!sim_translated(r->w.a, AT(0)) || ours.write) {
		r->acts = 0;
		return;
	}
	assert_true(avm_ptc_at(&c, sim_mm(merging), AT(0)));
	avm_page_get(page);
	assert_int_equal(avm_ksm_page(vma, &c, page), 1);
	avm_page_put(r->w.m, page);
	if (sim_translated(r->w.a, AT(0)))
		r->missing = "the flush";
}

static void a_page_is_merged_when_nobody_can_write_to_it_any_more(void **state)
{
	struct rival r;

	(void)state;
	rival_open(&r, AVM_LOCK_EV_WRITE, AVM_LOCK_TABLE, merge_with_ours);
	map(&r.w, 512, 1, RW);
	store(r.w.a, AT(512), 1);
	map(&r.w, 1, 511, RW);
	assert_int_equal(avm_madvise(r.w.mm, AT(0), PAGE, AVM_MADV_MERGEABLE), 0);
	assert_int_equal(sim_proc_create(r.w.s, NULL, &merging), 0);
	map_at(sim_mm(merging), AT(0), 1, RW, ANON, NULL, 0);
	store(merging, AT(0), 0x40);
	assert_int_equal(avm_madvise(sim_mm(merging), AT(0), PAGE, AVM_MADV_MERGEABLE), 0);
	/* Seen, and seen unchanged: ours is what others may be merged with. */
	assert_int_equal(avm_ksm_scan(r.w.m, UINT64_MAX), 0);
	assert_int_equal(avm_ksm_scan(r.w.m, 1), 0);
	store(r.w.a, AT(0), 0x40);
	rival_starts(&r);
	assert_int_equal(avm_mprotect(r.w.mm, AT(0), 513 * PAGE, AVM_PROT_READ), 0);
	rival_ends(&r);
	assert_null(r.missing);
	assert_int_equal(load(merging, AT(0)), 0x40);
	world_close(&r.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_first_write_sees_that_the_page_was_truncated),
		cmocka_unit_test(resolve_sees_that_the_page_was_unmapped),
		cmocka_unit_test(resolve_sees_that_the_page_is_another_s_now),
		cmocka_unit_test(resolve_sees_that_it_has_locked_a_stranger),
		cmocka_unit_test(whoever_prepares_second_frees_what_he_brought),
		cmocka_unit_test(the_second_of_two_faults_changes_nothing),
		cmocka_unit_test(two_reads_map_the_zero_page_once),
		cmocka_unit_test(two_writes_replace_the_zero_page_once),
		cmocka_unit_test(a_walker_waits_while_entries_move),
		cmocka_unit_test(a_walker_of_a_file_waits_as_well),
		cmocka_unit_test(a_move_flushes_before_it_drops_the_locks),
		cmocka_unit_test(a_hole_keeps_nothing_that_comes_from_swap_meanwhile),
		cmocka_unit_test(a_pin_that_comes_and_goes_keeps_a_page_from_being_given_up),
		cmocka_unit_test(whether_a_page_is_merged_is_asked_under_its_lock),
		cmocka_unit_test(a_page_is_merged_when_nobody_can_write_to_it_any_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
