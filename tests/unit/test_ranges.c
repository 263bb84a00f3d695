/* SPDX-License-Identifier: MIT */
/* The entries of a range: taking away (R12), copying at fork (R9.1), moving (R13.3). */
#include "world.h"

#include "copy.h"
#include "lock.h"
#include "move.h"
#include "page.h"
#include "zap.h"

#define LEAF_SPAN (PAGE * AVM_TABLE_ENTRIES)
#define BASE (LEAF_SPAN * 4096)

static void zap(struct world *w, avm_addr_t start, uint64_t pages, enum avm_zap_what what)
{
	struct avm_gather g;

	assert_int_equal(avm_mmap_write_lock(w->mm), 0);
	avm_gather_begin(&g, w->mm);
	avm_zap_range(&g, avm_find_vma(w->mm, start), start, start + pages * PAGE, what);
	avm_gather_finish(&g);
	avm_mmap_write_unlock(w->mm);
}

static avm_pte_t bare(uint64_t n)
{
	return avm_pte_mkspecial(avm_pte_make(0x100000 + n, AVM_VM_READ | AVM_VM_WRITE));
}

/* ---- zap ------------------------------------------------------------------------------------------------- */

static void zap_frees_private_pages_and_forgets_their_translations(void **state)
{
	struct world w;
	avm_addr_t a;
	uint64_t frames;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 200, RW);
	store(w.a, a, 1); /* the tables are there from now on */
	zap(&w, a, 200, AVM_ZAP_ALL);
	frames = sim_frames_used(w.s);
	for (unsigned i = 0; i < 200; i++)
		store(w.a, a + i * PAGE, (unsigned char)i);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 200);
	zap(&w, a + 50 * PAGE, 100, AVM_ZAP_ALL);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 100);
	assert_int_equal(sim_frames_used(w.s), frames + 100);
	/* More than a batch: each page was freed after a flush, so none is read through the TLB now. */
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(load(w.a, a + i * PAGE), i >= 50 && i < 150 ? 0 : i);
	world_check(&w);
	zap(&w, a, 200, AVM_ZAP_ALL);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 0);
	assert_int_equal(sim_frames_used(w.s), frames);
	world_close(&w);
}

static void zap_takes_the_zero_page_without_counting_it(void **state)
{
	struct world w;
	avm_addr_t a;
	uint32_t refs;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 8, RW);
	refs = avm_page_refs(w.m->zero_page);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(load(w.a, a + i * PAGE), 0);
	zap(&w, a, 8, AVM_ZAP_ALL);
	assert_int_equal(pte(w.mm, a).kind, AVM_PTE_NONE);
	assert_int_equal(avm_page_refs(w.m->zero_page), refs);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 0);
	world_close(&w);
}

static void zap_gives_the_dirty_bit_to_file_pages(void **state)
{
	struct world w;
	struct test_file *tf;
	struct avm_page *written, *read;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 4 * PAGE);
	a = map_file(w.mm, 4, RW, AVM_MAP_SHARED, &tf->file);
	store(w.a, a, 9);
	assert_int_equal(load(w.a, a + PAGE), 2);
	written = page_at(w.mm, a);
	read = page_at(w.mm, a + PAGE);
	avm_page_clear(written, AVM_PG_DIRTY);
	poke_entry(w.mm, a, avm_pte_mkdirty(peek_entry(w.mm, a)));
	zap(&w, a, 4, AVM_ZAP_ALL);
	assert_true(has_flag(written, AVM_PG_DIRTY));
	assert_false(has_flag(read, AVM_PG_DIRTY));
	assert_int_equal(rss(w.mm, AVM_RSS_FILE), 0);
	assert_int_equal(avm_munmap(w.mm, a, 4 * PAGE), 0);
	assert_int_equal(avm_file_sync(&tf->file), 0);
	assert_int_equal(tf->data[0], 9);
	test_file_close(tf);
	world_close(&w);
}

static void file_only_leaves_private_copies(void **state)
{
	struct world w;
	struct test_file *tf;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 4 * PAGE);
	a = map_file(w.mm, 4, RW, AVM_MAP_PRIVATE, &tf->file);
	store(w.a, a, 99);
	assert_int_equal(load(w.a, a + PAGE), 2);
	zap(&w, a, 4, AVM_ZAP_FILE_ONLY);
	assert_int_equal(pte(w.mm, a).kind, AVM_PTE_PRESENT);
	assert_int_equal(pte(w.mm, a + PAGE).kind, AVM_PTE_NONE);
	assert_int_equal(load(w.a, a), 99);
	zap(&w, a, 4, AVM_ZAP_ALL);
	assert_int_equal(load(w.a, a), 1);
	assert_int_equal(avm_munmap(w.mm, a, 4 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void zap_file_finds_every_mapping_of_the_pages(void **state)
{
	struct world w;
	struct test_file *tf;
	struct sim_proc *b;
	avm_addr_t low, high, other;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 32 * PAGE);
	assert_int_equal(sim_proc_create(w.s, NULL, &b), 0);
	low = map_at(w.mm, 0, 10, RW, AVM_MAP_SHARED, &tf->file, 0);
	high = map_at(w.mm, 0, 10, RW, AVM_MAP_SHARED, &tf->file, 5);
	other = map_at(sim_mm(b), 0, 20, RW, AVM_MAP_SHARED, &tf->file, 2);
	assert_int_equal(avm_populate(w.mm, low, 10 * PAGE, AVM_ACCESS_READ), 0);
	assert_int_equal(avm_populate(w.mm, high, 10 * PAGE, AVM_ACCESS_READ), 0);
	assert_int_equal(avm_populate(sim_mm(b), other, 20 * PAGE, AVM_ACCESS_READ), 0);
	avm_zap_file(&tf->file, 7, 8, AVM_ZAP_ALL);
	for (unsigned i = 0; i < 22; i++) {
		enum avm_pte_kind want = i == 7 || i == 8 ? AVM_PTE_NONE : AVM_PTE_PRESENT;

		if (i < 10)
			assert_int_equal(pte(w.mm, low + i * PAGE).kind, want);
		if (i >= 5 && i < 15)
			assert_int_equal(pte(w.mm, high + (i - 5) * PAGE).kind, want);
		if (i >= 2)
			assert_int_equal(pte(sim_mm(b), other + (i - 2) * PAGE).kind, want);
	}
	assert_int_equal(load(w.a, low + 7 * PAGE), 8);
	avm_zap_file(&tf->file, 0, UINT64_MAX, AVM_ZAP_ALL);
	assert_int_equal(rss(w.mm, AVM_RSS_FILE), 0);
	assert_int_equal(rss(sim_mm(b), AVM_RSS_FILE), 0);
	sim_proc_exit(b);
	assert_int_equal(avm_munmap(w.mm, 0x10000, w.mm->task_size - 0x10000), 0);
	test_file_close(tf);
	world_close(&w);
}

/* ---- copy ------------------------------------------------------------------------------------------------ */

static void fork_shares_private_pages_read_only(void **state)
{
	struct world w;
	struct sim_proc *b, *c;
	struct avm_page *page;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 4, RW);
	store(w.a, a, 1);
	page = page_at(w.mm, a);
	assert_true(is_exclusive(page));
	assert_int_equal(avm_page_refs(page), 1);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_false(is_exclusive(page));
	assert_true(has_flag(page, AVM_PG_INUSE));
	assert_int_equal(avm_page_mapcount(page), 2);
	assert_int_equal(avm_page_refs(page), 1);
	assert_ptr_equal(page_at(sim_mm(b), a), page);
	assert_false(pte(w.mm, a).write);
	assert_false(pte(sim_mm(b), a).write);
	assert_true(pte(sim_mm(b), a).dirty);
	/* The child has not touched it. */
	assert_true(pte(w.mm, a).young);
	assert_false(pte(sim_mm(b), a).young);
	assert_int_equal(rss(sim_mm(b), AVM_RSS_ANON), 1);
	assert_int_equal(sim_proc_fork(b, &c), 0);
	assert_int_equal(avm_page_mapcount(page), 3);
	assert_int_equal(avm_page_refs(page), 1);
	/* Fork flushed the parent: its store finds the write protection. */
	store(w.a, a, 2);
	assert_int_equal(load(b, a), 1);
	assert_int_equal(load(c, a), 1);
	world_check(&w);
	sim_proc_exit(b);
	sim_proc_exit(c);
	world_close(&w);
}

static void fork_keeps_what_the_mmu_had_not_set_yet(void **state)
{
	struct world w;
	struct sim_proc *b;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	store(w.a, a, 1);
	poke_entry(w.mm, a, avm_pte_mkclean(avm_pte_mkold(peek_entry(w.mm, a))));
	avm_port_tlb_flush(w.m, w.mm, a, a + PAGE);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_false(pte(w.mm, a).young || pte(w.mm, a).dirty || pte(w.mm, a).write);
	assert_int_equal(pte(w.mm, a).kind, AVM_PTE_PRESENT);
	assert_int_equal(load(b, a), 1);
	sim_proc_exit(b);
	store(w.a, a, 2); /* what is nowhere else has to be dirty (V27) */
	world_close(&w);
}

static void fork_copies_the_zero_page_and_file_pages_of_a_faulted_mapping(void **state)
{
	struct world w;
	struct test_file *tf;
	struct sim_proc *b;
	avm_addr_t a, f;
	uint32_t refs;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 4 * PAGE);
	a = map_anon(w.mm, 2, RW);
	f = map_file(w.mm, 4, RW, AVM_MAP_PRIVATE, &tf->file);
	assert_int_equal(load(w.a, a), 0);
	store(w.a, a + PAGE, 1);
	store(w.a, f, 1);
	assert_int_equal(load(w.a, f + PAGE), 2);
	refs = avm_page_refs(page_at(w.mm, f + PAGE));
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_true(pte(sim_mm(b), a).zero);
	assert_ptr_equal(page_at(sim_mm(b), f + PAGE), page_at(w.mm, f + PAGE));
	assert_int_equal(avm_page_refs(page_at(w.mm, f + PAGE)), refs + 1);
	assert_int_equal(rss(sim_mm(b), AVM_RSS_FILE), rss(w.mm, AVM_RSS_FILE));
	assert_int_equal(rss(sim_mm(b), AVM_RSS_ANON), 2);
	world_check(&w);
	sim_proc_exit(b);
	assert_int_equal(avm_munmap(w.mm, f, 4 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void fork_leaves_to_faults_what_faults_bring_back(void **state)
{
	struct world w;
	struct test_file *tf;
	struct sim_proc *b;
	avm_addr_t shared, private;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 4 * PAGE);
	shared = map_file(w.mm, 4, RW, AVM_MAP_SHARED, &tf->file);
	private = map_file(w.mm, 4, RW, AVM_MAP_PRIVATE, &tf->file);
	store(w.a, shared, 7);
	assert_int_equal(load(w.a, private + PAGE), 2);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_int_equal(sim_mm(b)->tables, 1);
	assert_true(pte(w.mm, shared).write);
	assert_int_equal(load(b, shared), 7);
	assert_int_equal(load(b, private), 7);
	sim_proc_exit(b);
	assert_int_equal(avm_munmap(w.mm, shared, 4 * PAGE), 0);
	assert_int_equal(avm_munmap(w.mm, private, 4 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void fork_copies_bare_frames_as_they_stand(void **state)
{
	struct world w;
	struct sim_proc *b;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_insert_pfn(w.mm, BASE, 0x200000, 8, RW), 0);
	store(w.a, BASE + PAGE, 5);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_int_equal(pte(sim_mm(b), BASE + PAGE).pfn, 0x200001);
	assert_true(pte(sim_mm(b), BASE + PAGE).special);
	assert_int_equal(load(b, BASE + PAGE), 5);
	assert_int_equal(rss(sim_mm(b), AVM_RSS_ANON), 0);
	sim_proc_exit(b);
	world_close(&w);
}

static void fork_without_memory_leaves_no_child_and_a_whole_parent(void **state)
{
	struct world w;
	struct sim_proc *b;
	avm_addr_t a;
	int err;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 3 * AVM_TABLE_ENTRIES, RW);
	for (unsigned i = 0; i < 3; i++)
		store(w.a, a + i * LEAF_SPAN, (unsigned char)(i + 1));
	for (uint64_t n = 1;; n++) {
		uint64_t frames = sim_frames_used(w.s);

		sim_fail_alloc(w.s, n, 1);
		err = sim_proc_fork(w.a, &b);
		sim_fail_alloc(w.s, 0, 0);
		if (!err)
			break;
		assert_int_equal(err, -AVM_ENOMEM);
		assert_int_equal(sim_frames_used(w.s), frames);
		world_check(&w);
	}
	assert_true(sim_allocs_failed(w.s) > 5);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(load(b, a + i * LEAF_SPAN), i + 1);
		store(w.a, a + i * LEAF_SPAN, 77);
		assert_int_equal(load(b, a + i * LEAF_SPAN), i + 1);
	}
	sim_proc_exit(b);
	world_close(&w);
}

/* ---- move ------------------------------------------------------------------------------------------------ */

#define MOVED (3 * AVM_TABLE_ENTRIES)

/* A source with entries here and there, and an empty target, `skew` pages apart in their tables. */
struct removal {
	struct world w;
	struct avm_vma *from, *to;
};

static bool has_entry(unsigned i)
{
	return i % 7 == 0 || i == MOVED - 1 || (i >= 500 && i < 530);
}

static void removal_open(struct removal *r, uint64_t skew)
{
	avm_addr_t from = BASE, to = BASE + 16 * LEAF_SPAN + skew * PAGE;
	struct avm_ptc c;

	world_open(&r->w);
	map_at(r->w.mm, from, MOVED, RW, ANON, NULL, 0);
	map_at(r->w.mm, to, MOVED, RW, ANON, NULL, 0);
	assert_int_equal(avm_mmap_write_lock(r->w.mm), 0);
	r->from = avm_find_vma(r->w.mm, from);
	r->to = avm_find_vma(r->w.mm, to);
	avm_vma_lock(r->from);
	avm_vma_lock(r->to);
	for (unsigned i = 0; i < MOVED; i++) {
		avm_pte_t pte = i & 1 ? avm_pte_mkold(bare(i)) : avm_pte_mkdirty(bare(i));

		if (!has_entry(i))
			continue;
		assert_int_equal(avm_ptc_make(&c, r->w.mm, from + i * PAGE), 0);
		poke_entry(r->w.mm, from + i * PAGE, pte);
	}
}

static void removal_close(struct removal *r)
{
	struct avm_gather g;

	avm_gather_begin(&g, r->w.mm);
	avm_zap_range(&g, r->from, r->from->start, r->from->end, AVM_ZAP_ALL);
	avm_zap_range(&g, r->to, r->to->start, r->to->end, AVM_ZAP_ALL);
	avm_gather_finish(&g);
	avm_mmap_write_unlock(r->w.mm);
	world_close(&r->w);
}

static void check_moved(struct removal *r, unsigned first, unsigned last)
{
	for (unsigned i = 0; i < MOVED; i++) {
		avm_pte_t pte = i & 1 ? avm_pte_mkold(bare(i)) : avm_pte_mkdirty(bare(i));
		bool moved = i >= first && i < last;

		if (!has_entry(i))
			pte = AVM_PTE_EMPTY;
		assert_int_equal(peek_entry(r->w.mm, r->from->start + i * PAGE),
				 moved ? AVM_PTE_EMPTY : pte);
		assert_int_equal(peek_entry(r->w.mm, r->to->start + i * PAGE),
				 moved ? pte : AVM_PTE_EMPTY);
	}
}

static void move_keeps_every_bit_whatever_the_offset(void **state)
{
	static const uint64_t skews[] = { 0, 1, 100, 511 };

	(void)state;
	for (size_t k = 0; k < sizeof(skews) / sizeof(skews[0]); k++) {
		struct removal r;

		removal_open(&r, skews[k]);
		assert_int_equal(avm_move_reserve(r.w.mm, r.from->start, r.to->start, MOVED * PAGE),
				 0);
		avm_move_range(r.from, r.from->start, r.to, r.to->start, MOVED * PAGE);
		check_moved(&r, 0, MOVED);
		removal_close(&r);
	}
}

static void move_of_a_part_leaves_the_rest(void **state)
{
	avm_addr_t from, to;
	struct removal r;

	(void)state;
	removal_open(&r, 3);
	from = r.from->start + 505 * PAGE;
	to = r.to->start + 505 * PAGE;
	assert_int_equal(avm_move_reserve(r.w.mm, from, to, 100 * PAGE), 0);
	avm_move_range(r.from, from, r.to, to, 100 * PAGE);
	check_moved(&r, 505, 605);
	removal_close(&r);
}

static void move_flushes_each_piece_and_nothing_else(void **state)
{
	struct removal r;
	uint64_t flushes;

	(void)state;
	removal_open(&r, 256);
	assert_int_equal(avm_move_reserve(r.w.mm, r.from->start, r.to->start, MOVED * PAGE), 0);
	flushes = event(&r.w, AVM_EV_TLB_FLUSH);
	avm_move_range(r.from, r.from->start, r.to, r.to->start, MOVED * PAGE);
	assert_int_equal(event(&r.w, AVM_EV_TLB_FLUSH),
			 flushes + 6); /* three tables, two pieces each */
	flushes += 6;
	avm_move_range(r.from, r.from->start, r.to, r.to->start, MOVED * PAGE);
	assert_int_equal(event(&r.w, AVM_EV_TLB_FLUSH), flushes);
	removal_close(&r);
}

static void reserve_makes_the_tables_that_answer_to_the_source_only(void **state)
{
	struct world w;
	struct avm_ptc c;
	struct avm_gather g;
	avm_addr_t far = BASE + 100 * LEAF_SPAN, to = BASE + 1000 * LEAF_SPAN;
	uint64_t tables;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_mmap_write_lock(w.mm), 0);
	assert_int_equal(avm_ptc_make(&c, w.mm, BASE), 0);
	assert_int_equal(avm_ptc_make(&c, w.mm, far), 0);
	assert_int_equal(avm_ptc_make(&c, w.mm, to - LEAF_SPAN), 0); /* the upper tables */
	assert_int_equal(avm_ptc_make(&c, w.mm, to + 200 * LEAF_SPAN), 0);
	tables = w.mm->tables;
	sim_fail_alloc(w.s, 2, 1);
	assert_int_equal(avm_move_reserve(w.mm, BASE, to, 200 * LEAF_SPAN), -AVM_ENOMEM);
	assert_int_equal(w.mm->tables, tables + 1);
	assert_int_equal(avm_move_reserve(w.mm, BASE, to, 200 * LEAF_SPAN), 0);
	assert_int_equal(w.mm->tables, tables + 2);
	assert_true(avm_ptc_at(&c, w.mm, to));
	assert_true(avm_ptc_at(&c, w.mm, to + 100 * LEAF_SPAN));
	avm_gather_begin(&g, w.mm);
	avm_tables_free(&g, 0, w.mm->task_size, 0, w.mm->task_size);
	avm_gather_finish(&g);
	avm_mmap_write_unlock(w.mm);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zap_frees_private_pages_and_forgets_their_translations),
		cmocka_unit_test(zap_takes_the_zero_page_without_counting_it),
		cmocka_unit_test(zap_gives_the_dirty_bit_to_file_pages),
		cmocka_unit_test(file_only_leaves_private_copies),
		cmocka_unit_test(zap_file_finds_every_mapping_of_the_pages),
		cmocka_unit_test(fork_shares_private_pages_read_only),
		cmocka_unit_test(fork_keeps_what_the_mmu_had_not_set_yet),
		cmocka_unit_test(fork_copies_the_zero_page_and_file_pages_of_a_faulted_mapping),
		cmocka_unit_test(fork_leaves_to_faults_what_faults_bring_back),
		cmocka_unit_test(fork_copies_bare_frames_as_they_stand),
		cmocka_unit_test(fork_without_memory_leaves_no_child_and_a_whole_parent),
		cmocka_unit_test(move_keeps_every_bit_whatever_the_offset),
		cmocka_unit_test(move_of_a_part_leaves_the_rest),
		cmocka_unit_test(move_flushes_each_piece_and_nothing_else),
		cmocka_unit_test(reserve_makes_the_tables_that_answer_to_the_source_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
