/* SPDX-License-Identifier: MIT */
/* Faults on anonymous memory, dispatch, stacks, populate (R8.1, R8.2, R8.7 - R8.9). */
#include "world.h"

#include "fault.h"
#include "lock.h"
#include "mm.h"
#include "page.h"

/* ---- what is refused ------------------------------------------------------------------------- */

static void nothing_mapped_is_maperr(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	assert_int_equal(fault_read(w.mm, a - PAGE), AVM_FAULT_MAPERR);
	assert_int_equal(fault_write(w.mm, a + PAGE), AVM_FAULT_MAPERR);
	assert_int_equal(fault_read(w.mm, 0), AVM_FAULT_MAPERR);
	assert_int_equal(fault_read(w.mm, ~(avm_addr_t)0), AVM_FAULT_MAPERR);
	assert_int_equal(event(&w, AVM_EV_FAULT_MINOR), 0);
	world_close(&w);
}

static void forbidden_access_is_accerr_and_makes_nothing(void **state)
{
	struct world w;
	avm_addr_t none, ro, rw;
	uint64_t tables;

	(void)state;
	world_open(&w);
	none = map_anon(w.mm, 1, AVM_PROT_NONE);
	ro = map_anon(w.mm, 1, AVM_PROT_READ);
	rw = map_anon(w.mm, 1, RW);
	tables = atomic_load(&w.mm->tables);
	assert_int_equal(fault_read(w.mm, none), AVM_FAULT_ACCERR);
	assert_int_equal(fault_write(w.mm, none), AVM_FAULT_ACCERR);
	assert_int_equal(fault_write(w.mm, ro), AVM_FAULT_ACCERR);
	assert_int_equal(avm_fault(w.mm, rw, AVM_ACCESS_EXEC, NULL), AVM_FAULT_ACCERR);
	assert_int_equal(atomic_load(&w.mm->tables), tables);
	world_close(&w);
}

static void what_can_be_written_or_executed_can_be_read(void **state)
{
	struct world w;
	avm_addr_t wo, xo;

	(void)state;
	world_open(&w);
	wo = map_anon(w.mm, 1, AVM_PROT_WRITE);
	xo = map_anon(w.mm, 1, AVM_PROT_EXEC);
	assert_int_equal(fault_read(w.mm, wo), AVM_FAULT_MINOR | AVM_FAULT_ZERO);
	assert_int_equal(fault_read(w.mm, xo), AVM_FAULT_MINOR | AVM_FAULT_ZERO);
	assert_int_equal(avm_fault(w.mm, xo, AVM_ACCESS_EXEC, NULL),
			 AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS);
	world_close(&w);
}

/* ---- anonymous memory ------------------------------------------------------------------------ */

static void first_read_maps_the_zero_page(void **state)
{
	struct world w;
	struct avm_pte_info info;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 2, RW);
	assert_int_equal(fault_read(w.mm, a + 123), AVM_FAULT_MINOR | AVM_FAULT_ZERO);
	info = pte(w.mm, a);
	assert_true(info.zero);
	assert_false(info.write);
	assert_true(info.young);
	assert_false(info.dirty);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 0);
	assert_null(avm_find_vma(w.mm, a)->anon_vma);
	assert_int_equal(pte(w.mm, a + PAGE).kind, AVM_PTE_NONE);
	assert_int_equal(event(&w, AVM_EV_ZERO_MAP), 1);
	assert_int_equal(event(&w, AVM_EV_FAULT_MINOR), 1);
	assert_int_equal(load(w.a, a), 0);
	world_close(&w);
}

static void first_write_maps_an_exclusive_zeroed_page(void **state)
{
	struct world w;
	struct avm_pte_info info;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 2, RW);
	assert_int_equal(fault_write(w.mm, a + PAGE + 5), AVM_FAULT_MINOR);
	info = pte(w.mm, a + PAGE);
	assert_true(info.write && info.young && info.dirty && !info.zero && !info.exec);
	assert_true(is_exclusive(info.page));
	assert_true(has_flag(info.page, AVM_PG_LRU));
	assert_int_equal(avm_page_mapcount(info.page), 1);
	assert_int_equal(avm_page_refs(info.page), 1);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 1);
	assert_ptr_equal(avm_page_anon_vma(info.page), avm_find_vma(w.mm, a)->anon_vma);
	assert_int_equal(event(&w, AVM_EV_ZERO_FILL), 1);
	for (unsigned i = 0; i < PAGE; i += 511)
		assert_int_equal(load(w.a, a + PAGE + i), 0);
	world_close(&w);
}

/* The load puts a translation of the zero page into the TLB: a flush that is missing would show. */
static void write_to_the_zero_page_gives_a_zeroed_page(void **state)
{
	struct world w;
	uint64_t flushes;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	assert_int_equal(load(w.a, a), 0);
	flushes = event(&w, AVM_EV_TLB_FLUSH);
	assert_int_equal(fault_write(w.mm, a), AVM_FAULT_MINOR);
	assert_int_equal(event(&w, AVM_EV_TLB_FLUSH), flushes + 1);
	assert_int_equal(event(&w, AVM_EV_ZERO_FILL), 1);
	assert_int_equal(event(&w, AVM_EV_COW_COPY), 0);
	assert_true(pte(w.mm, a).write);
	store(w.a, a, 7);
	assert_int_equal(load(w.a, a), 7);
	assert_int_equal(load(w.a, a + 1), 0);
	world_close(&w);
}

static void a_fault_with_nothing_to_do_is_spurious(void **state)
{
	struct world w;
	avm_pte_t before;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	store(w.a, a, 1);
	before = peek_entry(w.mm, a);
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS);
	assert_int_equal(fault_write(w.mm, a), AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS);
	assert_int_equal(peek_entry(w.mm, a), before);
	assert_int_equal(event(&w, AVM_EV_FAULT_SPURIOUS), 2);
	world_close(&w);
}

/* R8.9: as on a port whose MMU sets no bits. */
static void old_and_clean_entries_are_updated_in_place(void **state)
{
	struct world w;
	avm_addr_t a;
	avm_pte_t p;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	store(w.a, a, 9);
	p = avm_pte_mkclean(avm_pte_mkold(peek_entry(w.mm, a)));
	poke_entry(w.mm, a, p);
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_MINOR);
	assert_int_equal(peek_entry(w.mm, a), avm_pte_mkyoung(p));
	assert_int_equal(fault_write(w.mm, a), AVM_FAULT_MINOR);
	assert_int_equal(peek_entry(w.mm, a), avm_pte_mkdirty(avm_pte_mkyoung(p)));
	assert_int_equal(load(w.a, a), 9);
	world_close(&w);
}

static void an_entry_that_lags_behind_its_vma_is_repaired(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW | AVM_PROT_EXEC);
	store(w.a, a, 9);
	poke_entry(w.mm, a, avm_pte_modify(peek_entry(w.mm, a), 0));
	assert_true(pte(w.mm, a).none);
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_MINOR);
	assert_false(pte(w.mm, a).none);
	poke_entry(w.mm, a, avm_pte_modify(peek_entry(w.mm, a), 0));
	assert_int_equal(avm_populate(w.mm, a, PAGE, AVM_ACCESS_READ), 0);
	assert_false(pte(w.mm, a).none);
	poke_entry(w.mm, a, avm_pte_modify(peek_entry(w.mm, a), AVM_VM_READ));
	assert_int_equal(avm_fault(w.mm, a, AVM_ACCESS_EXEC, NULL), AVM_FAULT_MINOR);
	assert_true(pte(w.mm, a).exec);
	assert_int_equal(load(w.a, a), 9);
	world_close(&w);
}

static void pages_of_locked_memory_are_unevictable(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_at(w.mm, 0, 1, RW, ANON, NULL, 0);
	avm_find_vma(w.mm, a)->flags |= AVM_VM_LOCKED;
	w.mm->locked_vm++;
	assert_int_equal(fault_write(w.mm, a), AVM_FAULT_MINOR);
	assert_true(has_flag(page_at(w.mm, a), AVM_PG_UNEVICTABLE));
	assert_int_equal(w.m->cpus[0].lru_count[AVM_LRU_UNEVICTABLE], 1);
	world_close(&w);
}

/*
 * R8.7: whichever allocation fails, the entry and the VMA are as before. Each try in a fresh
 * process.
 */
static void write_fault_without_memory_changes_nothing(void **state)
{
	struct world w;
	unsigned failures = 0, bits;

	(void)state;
	world_open(&w);
	for (uint64_t i = 1;; i++) {
		struct sim_proc *p;
		struct avm_mm *mm;
		avm_addr_t a;

		assert_int_equal(sim_proc_create(w.s, NULL, &p), 0);
		mm = sim_mm(p);
		a = map_anon(mm, 1, RW);
		sim_fail_alloc(w.s, i, 1);
		bits = fault_write(mm, a);
		sim_fail_alloc(w.s, 0, 0);
		assert_int_equal(avm_pte_empty(peek_entry(mm, a)), bits == AVM_FAULT_OOM);
		assert_int_equal(rss(mm, AVM_RSS_ANON), bits != AVM_FAULT_OOM);
		world_check(&w);
		sim_proc_exit(p);
		if (bits != AVM_FAULT_OOM)
			break;
		failures++;
	}
	assert_int_equal(bits, AVM_FAULT_MINOR);
	assert_int_equal(failures, 6); /* three tables, an anon_vma and its chain entry, a page */
	assert_int_equal(event(&w, AVM_EV_OOM), failures);
	world_close(&w);
}

/* ---- stacks ---------------------------------------------------------------------------------- */

#define STACK 0x7f0000000000ull

static avm_addr_t map_stack(struct world *w, uint64_t pages, uint32_t more)
{
	return map_at(w->mm, STACK, pages, RW, ANON | AVM_MAP_GROWSDOWN | more, NULL, 0);
}

static void a_stack_grows_to_the_faulting_page(void **state)
{
	struct world w;
	struct avm_vma *vma;
	uint64_t pgoff, total;

	(void)state;
	world_open(&w);
	map_stack(&w, 2, 0);
	store(w.a, STACK, 1);
	vma = avm_find_vma(w.mm, STACK);
	pgoff = vma->pgoff;
	total = w.mm->total_vm;
	assert_int_equal(fault_write(w.mm, STACK - 3 * PAGE + 40), AVM_FAULT_MINOR);
	assert_int_equal(vma->start, STACK - 3 * PAGE);
	assert_int_equal(vma->end, STACK + 2 * PAGE);
	assert_int_equal(vma->pgoff, pgoff - 3);
	assert_int_equal(w.mm->total_vm, total + 3);
	assert_int_equal(pte(w.mm, STACK - 3 * PAGE).kind, AVM_PTE_PRESENT);
	assert_int_equal(pte(w.mm, STACK - 2 * PAGE).kind, AVM_PTE_NONE);
	assert_int_equal(load(w.a, STACK), 1);
	world_close(&w);
}

static void a_read_below_a_stack_grows_and_prepares_it(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map_stack(&w, 1, 0);
	assert_null(avm_find_vma(w.mm, STACK)->anon_vma);
	assert_int_equal(fault_read(w.mm, STACK - 1), AVM_FAULT_MINOR | AVM_FAULT_ZERO);
	assert_non_null(avm_find_vma(w.mm, STACK)->anon_vma);
	assert_int_equal(avm_find_vma(w.mm, STACK)->start, STACK - PAGE);
	world_close(&w);
}

static void a_stack_does_not_grow_beyond_its_limits(void **state)
{
	struct world w;
	struct avm_vma *vma;

	(void)state;
	world_open(&w);
	map_stack(&w, 2, 0);
	vma = avm_find_vma(w.mm, STACK);
	w.mm->limits.stack = 4 * PAGE;
	assert_int_equal(fault_write(w.mm, STACK - 2 * PAGE - 1), AVM_FAULT_MAPERR);
	w.mm->limits.address_space = 3 * PAGE;
	assert_int_equal(fault_write(w.mm, STACK - 2 * PAGE), AVM_FAULT_MAPERR);
	assert_int_equal(vma->start, STACK);
	assert_int_equal(fault_write(w.mm, STACK - PAGE), AVM_FAULT_MINOR);
	w.mm->limits.address_space = AVM_NO_LIMIT;
	assert_int_equal(fault_write(w.mm, STACK - 2 * PAGE), AVM_FAULT_MINOR);
	assert_int_equal(vma->start, STACK - 2 * PAGE);
	world_close(&w);
}

static void a_locked_stack_does_not_grow_beyond_locked_memory(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	w.mm->limits.locked = 2 * PAGE;
	map_stack(&w, 1, AVM_MAP_LOCKED);
	assert_int_equal(fault_write(w.mm, STACK - 2 * PAGE), AVM_FAULT_MAPERR);
	assert_int_equal(fault_write(w.mm, STACK - PAGE), AVM_FAULT_MINOR);
	assert_int_equal(w.mm->locked_vm, 2);
	world_close(&w);
}

static void a_stack_stops_at_the_lowest_address(void **state)
{
	struct world w;
	avm_addr_t lowest;

	(void)state;
	world_open(&w);
	lowest = w.mm->lowest;
	map_at(w.mm, lowest + PAGE, 1, RW, ANON | AVM_MAP_GROWSDOWN, NULL, 0);
	assert_int_equal(fault_write(w.mm, lowest - 1), AVM_FAULT_MAPERR);
	assert_int_equal(fault_write(w.mm, lowest), AVM_FAULT_MINOR);
	world_close(&w);
}

static void a_stack_keeps_its_distance(void **state)
{
	struct world w;
	uint64_t guard;
	avm_addr_t below;

	(void)state;
	world_open(&w);
	guard = w.m->config.stack_guard * PAGE;
	map_stack(&w, 1, 0);
	below = map_at(w.mm, STACK - guard - 4 * PAGE, 2, RW, ANON, NULL, 0);
	assert_int_equal(fault_write(w.mm, STACK - 3 * PAGE), AVM_FAULT_MAPERR);
	assert_int_equal(fault_write(w.mm, STACK - 2 * PAGE), AVM_FAULT_MINOR);
	/* What cannot be touched cannot be run into. */
	assert_int_equal(avm_mprotect(w.mm, below, 2 * PAGE, AVM_PROT_NONE), 0);
	assert_int_equal(fault_write(w.mm, STACK - 3 * PAGE), AVM_FAULT_MINOR);
	world_close(&w);
}

static void a_stack_may_touch_another_stack(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map_stack(&w, 1, 0);
	map_at(w.mm, STACK - 4 * PAGE, 2, RW, ANON | AVM_MAP_GROWSDOWN, NULL, 0);
	assert_int_equal(fault_write(w.mm, STACK - 2 * PAGE), AVM_FAULT_MINOR);
	assert_int_equal(avm_find_vma(w.mm, STACK)->start, STACK - 2 * PAGE);
	world_close(&w);
}

/* Moved up, it keeps the low index of its pages (R13.3): there is none below 0. */
static void a_moved_stack_stops_at_index_0(void **state)
{
	struct world w;
	avm_addr_t low, out;

	(void)state;
	world_open(&w);
	low = w.mm->lowest;
	map_at(w.mm, low, 1, RW, ANON | AVM_MAP_GROWSDOWN, NULL, 0);
	store(w.a, low, 5);
	assert_int_equal(avm_mremap(w.mm, low, PAGE, PAGE, AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED,
				    STACK, &out),
			 0);
	assert_int_equal(avm_find_vma(w.mm, STACK)->pgoff, low / PAGE);
	assert_int_equal(fault_write(w.mm, STACK - low - PAGE), AVM_FAULT_MAPERR);
	assert_int_equal(fault_write(w.mm, STACK - low), AVM_FAULT_MINOR);
	assert_int_equal(avm_find_vma(w.mm, STACK)->pgoff, 0);
	assert_int_equal(load(w.a, STACK), 5);
	world_close(&w);
}

static void below_other_memory_nothing_grows(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map_at(w.mm, STACK, 1, RW, ANON, NULL, 0);
	assert_int_equal(fault_write(w.mm, STACK - 8), AVM_FAULT_MAPERR);
	world_close(&w);
}

static void a_stack_is_committed_as_it_grows(void **state)
{
	struct world w;
	uint64_t committed, limit;
	struct avm_stats st;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 64,
						  .core = { .commit = AVM_COMMIT_STRICT } });
	map_stack(&w, 1, 0);
	avm_stats(w.m, &st);
	committed = st.committed;
	limit = st.commit_limit;
	assert_int_equal(fault_write(w.mm, STACK - (limit - committed + 1) * PAGE),
			 AVM_FAULT_MAPERR);
	assert_int_equal(world_committed(&w), committed);
	assert_null(avm_find_vma(w.mm, STACK)->anon_vma);
	assert_int_equal(fault_write(w.mm, STACK - 3 * PAGE), AVM_FAULT_MINOR);
	assert_int_equal(world_committed(&w), committed + 3);
	world_close(&w);
}

/*
 * The family is the growth's: without it nothing has grown. After it only the page may be lacking.
 */
static void a_stack_without_memory_stays_as_it_is(void **state)
{
	struct world w;
	unsigned failures = 0, bits;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 256,
						  .core = { .commit = AVM_COMMIT_STRICT } });
	for (uint64_t i = 1;; i++) {
		struct sim_proc *p;
		struct avm_mm *mm;
		uint64_t committed, grown;

		assert_int_equal(sim_proc_create(w.s, NULL, &p), 0);
		mm = sim_mm(p);
		map_at(mm, STACK, 1, RW, ANON | AVM_MAP_GROWSDOWN, NULL, 0);
		committed = world_committed(&w);
		sim_fail_alloc(w.s, i, 1);
		bits = fault_write(mm, STACK - PAGE);
		sim_fail_alloc(w.s, 0, 0);
		grown = (STACK - avm_find_vma(mm, STACK)->start) / PAGE;
		assert_int_equal(grown, avm_find_vma(mm, STACK)->anon_vma ? 1 : 0);
		assert_int_equal(world_committed(&w), committed + grown);
		assert_int_equal(rss(mm, AVM_RSS_ANON), bits != AVM_FAULT_OOM);
		world_check(&w);
		sim_proc_exit(p);
		if (bits != AVM_FAULT_OOM)
			break;
		failures++;
	}
	assert_int_equal(bits, AVM_FAULT_MINOR);
	assert_int_equal(failures, 6);
	world_close(&w);
}

/* ---- populate -------------------------------------------------------------------------------- */

static void populate_makes_the_range_present(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 8, RW);
	assert_int_equal(avm_populate(w.mm, a, 3 * PAGE, AVM_ACCESS_READ), 0);
	assert_true(pte(w.mm, a + 2 * PAGE).zero);
	assert_int_equal(pte(w.mm, a + 3 * PAGE).kind, AVM_PTE_NONE);
	/* Bytes, not pages: from the middle of the second to the middle of the fourth. */
	assert_int_equal(avm_populate(w.mm, a + PAGE + 10, 2 * PAGE, AVM_ACCESS_WRITE), 0);
	assert_true(pte(w.mm, a).zero);
	assert_true(pte(w.mm, a + PAGE).write);
	assert_true(pte(w.mm, a + 3 * PAGE).write);
	assert_int_equal(pte(w.mm, a + 4 * PAGE).kind, AVM_PTE_NONE);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 3);
	assert_int_equal(avm_populate(w.mm, a, 0, AVM_ACCESS_WRITE), 0);
	world_close(&w);
}

static void populate_does_not_fault_on_what_is_present(void **state)
{
	struct world w;
	uint64_t faults;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 4, RW);
	assert_int_equal(avm_populate(w.mm, a, 4 * PAGE, AVM_ACCESS_WRITE), 0);
	faults = event(&w, AVM_EV_FAULT_MINOR);
	assert_int_equal(faults, 4);
	assert_int_equal(avm_populate(w.mm, a, 4 * PAGE, AVM_ACCESS_READ), 0);
	assert_int_equal(event(&w, AVM_EV_FAULT_MINOR), faults);
	world_close(&w);
}

static void populate_stops_where_it_must(void **state)
{
	struct world w;
	struct test_file *tf;
	avm_addr_t a, f;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 2 * PAGE);
	a = map_at(w.mm, 0x10000000, 4, RW, ANON, NULL, 0);
	assert_int_equal(avm_munmap(w.mm, a + 2 * PAGE, PAGE), 0);
	assert_int_equal(avm_populate(w.mm, a, 4 * PAGE, AVM_ACCESS_WRITE), -AVM_EFAULT);
	assert_true(pte(w.mm, a + PAGE).write);
	assert_int_equal(pte(w.mm, a + 3 * PAGE).kind, AVM_PTE_NONE);
	assert_int_equal(avm_populate(w.mm, a, PAGE, AVM_ACCESS_EXEC), -AVM_EFAULT);
	assert_int_equal(avm_populate(w.mm, a, ~(uint64_t)0, AVM_ACCESS_READ), -AVM_EFAULT);
	assert_int_equal(avm_populate(w.mm, w.mm->task_size, PAGE, AVM_ACCESS_READ), -AVM_EFAULT);

	f = map_file(w.mm, 3, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file);
	assert_int_equal(avm_populate(w.mm, f, 3 * PAGE, AVM_ACCESS_READ), -AVM_EIO);
	assert_int_equal(pte(w.mm, f + PAGE).kind, AVM_PTE_PRESENT);
	assert_int_equal(avm_file_invalidate(&tf->file, 0, 2), 0);
	tf->read_error = -AVM_EAGAIN;
	assert_int_equal(avm_populate(w.mm, f, PAGE, AVM_ACCESS_READ), -AVM_EAGAIN);
	sim_fail_alloc(w.s, 1, 0);
	assert_int_equal(avm_populate(w.mm, f, PAGE, AVM_ACCESS_READ), -AVM_ENOMEM);
	sim_fail_alloc(w.s, 0, 0);
	assert_int_equal(avm_munmap(w.mm, f, 3 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void populate_does_not_grow_stacks(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map_stack(&w, 1, 0);
	assert_int_equal(avm_populate(w.mm, STACK - PAGE, PAGE, AVM_ACCESS_WRITE), -AVM_EFAULT);
	assert_int_equal(avm_find_vma(w.mm, STACK)->start, STACK);
	world_close(&w);
}

/* ---- the lock of the VMA alone --------------------------------------------------------------- */

static void a_fault_takes_mmap_lock_to_find_its_vma(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 8, RW);
	fault_read(w.mm, a);
	assert_int_equal(event(&w, AVM_EV_FAULT_MMAP_LOCK), 1);
	fault_read(w.mm, a + PAGE);
	assert_int_equal(event(&w, AVM_EV_FAULT_MMAP_LOCK), 1);
	fault_write(w.mm, a); /* needs a family */
	assert_int_equal(event(&w, AVM_EV_FAULT_MMAP_LOCK), 2);
	for (unsigned i = 0; i < 8; i++)
		fault_write(w.mm, a + i * PAGE);
	assert_int_equal(fault_read(w.mm, a + 8 * PAGE), AVM_FAULT_MAPERR);
	assert_int_equal(event(&w, AVM_EV_FAULT_MMAP_LOCK), 2);
	world_close(&w);
}

static void another_vma_at_the_same_place_is_found_anew(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 2, RW);
	fault_write(w.mm, a);
	assert_int_equal(avm_munmap(w.mm, a, 2 * PAGE), 0);
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_MAPERR);
	map_at(w.mm, a, 2, AVM_PROT_READ, ANON, NULL, 0);
	assert_int_equal(fault_write(w.mm, a), AVM_FAULT_ACCERR);
	assert_int_equal(event(&w, AVM_EV_FAULT_MMAP_LOCK), 2);
	assert_int_equal(avm_mprotect(w.mm, a, 2 * PAGE, AVM_PROT_NONE), 0);
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_ACCERR); /* the same VMA, as it is now */
	assert_int_equal(event(&w, AVM_EV_FAULT_MMAP_LOCK), 2);
	world_close(&w);
}

static void a_locked_vma_sends_its_faults_to_mmap_lock(void **state)
{
	struct avm_vma_reader r;
	struct world w;
	avm_addr_t a, b;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 2, RW);
	map_anon(w.mm, 1, AVM_PROT_NONE);
	b = map_anon(w.mm, 2, RW);
	fault_write(w.mm, a);
	fault_write(w.mm, b);
	avm_vma_remember(avm_mm_find(w.mm, a), a);
	assert_int_equal(avm_mmap_write_lock(w.mm), 0);
	avm_vma_lock(avm_mm_find(w.mm, a));
	assert_false(avm_vma_read_lock(w.mm, a, &r));
	avm_vma_remember(avm_mm_find(w.mm, b), b);
	assert_int_equal(fault_write(w.mm, b + PAGE), AVM_FAULT_MINOR); /* beside a writer */
	avm_mmap_write_unlock(w.mm);
	avm_vma_remember(avm_mm_find(w.mm, a), a);
	assert_int_equal(fault_write(w.mm, a + PAGE), AVM_FAULT_MINOR);
	assert_int_equal(event(&w, AVM_EV_FAULT_MMAP_LOCK), 2);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_mapped_is_maperr),
		cmocka_unit_test(forbidden_access_is_accerr_and_makes_nothing),
		cmocka_unit_test(what_can_be_written_or_executed_can_be_read),
		cmocka_unit_test(first_read_maps_the_zero_page),
		cmocka_unit_test(first_write_maps_an_exclusive_zeroed_page),
		cmocka_unit_test(write_to_the_zero_page_gives_a_zeroed_page),
		cmocka_unit_test(a_fault_with_nothing_to_do_is_spurious),
		cmocka_unit_test(old_and_clean_entries_are_updated_in_place),
		cmocka_unit_test(an_entry_that_lags_behind_its_vma_is_repaired),
		cmocka_unit_test(pages_of_locked_memory_are_unevictable),
		cmocka_unit_test(write_fault_without_memory_changes_nothing),
		cmocka_unit_test(a_stack_grows_to_the_faulting_page),
		cmocka_unit_test(a_read_below_a_stack_grows_and_prepares_it),
		cmocka_unit_test(a_stack_does_not_grow_beyond_its_limits),
		cmocka_unit_test(a_locked_stack_does_not_grow_beyond_locked_memory),
		cmocka_unit_test(a_stack_stops_at_the_lowest_address),
		cmocka_unit_test(a_stack_keeps_its_distance),
		cmocka_unit_test(a_stack_may_touch_another_stack),
		cmocka_unit_test(a_moved_stack_stops_at_index_0),
		cmocka_unit_test(below_other_memory_nothing_grows),
		cmocka_unit_test(a_stack_is_committed_as_it_grows),
		cmocka_unit_test(a_stack_without_memory_stays_as_it_is),
		cmocka_unit_test(populate_makes_the_range_present),
		cmocka_unit_test(populate_does_not_fault_on_what_is_present),
		cmocka_unit_test(populate_stops_where_it_must),
		cmocka_unit_test(a_fault_takes_mmap_lock_to_find_its_vma),
		cmocka_unit_test(another_vma_at_the_same_place_is_found_anew),
		cmocka_unit_test(a_locked_vma_sends_its_faults_to_mmap_lock),
		cmocka_unit_test(populate_does_not_grow_stacks),
	};

	return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
