/* SPDX-License-Identifier: MIT */
/*
 * madvise, names and policies, mincore: each advice, each errno, holes, merging, failures (R13.2,
 * R13.4, R2.5).
 */
#include "ops.h"

static int advise(struct world *w, unsigned page, unsigned pages, enum avm_advice advice)
{
	return avm_madvise(w->mm, AT(page), pages * PAGE, advice);
}

static const enum avm_advice all_advice[] = {
	AVM_MADV_NORMAL,	 AVM_MADV_RANDOM,    AVM_MADV_SEQUENTIAL,  AVM_MADV_WILLNEED,
	AVM_MADV_DONTNEED,	 AVM_MADV_FREE,	     AVM_MADV_REMOVE,	   AVM_MADV_DONTFORK,
	AVM_MADV_DOFORK,	 AVM_MADV_MERGEABLE, AVM_MADV_UNMERGEABLE, AVM_MADV_HUGEPAGE,
	AVM_MADV_NOHUGEPAGE,	 AVM_MADV_DONTDUMP,  AVM_MADV_DODUMP,	   AVM_MADV_WIPEONFORK,
	AVM_MADV_KEEPONFORK,	 AVM_MADV_COLD,	     AVM_MADV_PAGEOUT,	   AVM_MADV_POPULATE_READ,
	AVM_MADV_POPULATE_WRITE,
};
#define NR_ADVICE (sizeof(all_advice) / sizeof(all_advice[0]))

/* ---- arguments ------------------------------------------------------------------------------- */

static void bad_arguments_are_einval(void **state)
{
	static const int unknown[] = { 5, 6, 7, 24, 25, 100, -1, 1 << 30 };
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		assert_int_equal(advise(&w, 0, 1, (enum avm_advice)unknown[i]), -AVM_EINVAL);
	for (size_t i = 0; i < NR_ADVICE; i++) {
		assert_int_equal(avm_madvise(w.mm, AT(0) + 1, PAGE, all_advice[i]), -AVM_EINVAL);
		assert_int_equal(avm_madvise(w.mm, AT(0), ~0ull, all_advice[i]), -AVM_EINVAL);
		assert_int_equal(avm_madvise(w.mm, AT(0), 0, all_advice[i]), 0);
		assert_int_equal(avm_madvise(w.mm, AT(100), 0, all_advice[i]), 0);
	}
	assert_int_equal(advise(&w, 0, 1, (enum avm_advice)5), -AVM_EINVAL);
	assert_int_equal(avm_madvise(w.mm, AT(0) + 1, 0, AVM_MADV_NORMAL), -AVM_EINVAL);
	assert_layout(w.mm, BASE, "0+4:rw");
	world_close(&w);
}

static void a_hole_is_enomem_whatever_the_advice(void **state)
{
	struct world w;
	struct avm_file memory;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_memfd(w.m, &memory, NULL, 64 * PAGE), 0);
	for (size_t i = 0; i < NR_ADVICE; i++) {
		enum avm_advice advice = all_advice[i];

		if (advice == AVM_MADV_REMOVE) {
			map_at(w.mm, AT(0), 1, RW, AVM_MAP_SHARED, &memory, 0);
			map_at(w.mm, AT(2), 1, RW, AVM_MAP_SHARED, &memory, 2);
		} else {
			map(&w, 0, 1, RW);
			map(&w, 2, 1, RW);
		}
		assert_int_equal(advise(&w, 0, 3, advice), -AVM_ENOMEM);
		assert_int_equal(advise(&w, 1, 1, advice), -AVM_ENOMEM);
		assert_int_equal(advise(&w, 1, 2, advice), -AVM_ENOMEM);
		assert_int_equal(advise(&w, 2, 2, advice), -AVM_ENOMEM);
		assert_int_equal(avm_madvise(w.mm, AVM_ARCH_TASK_SIZE, PAGE, advice), -AVM_ENOMEM);
		assert_int_equal(advise(&w, 0, 1, advice), 0);
		assert_int_equal(avm_munmap(w.mm, AT(0), 4 * PAGE), 0);
	}
	avm_file_put(&memory);
	world_close(&w);
}

/* ---- flags ----------------------------------------------------------------------------------- */

static void advice_about_flags_sets_and_clears_them(void **state)
{
	static const struct {
		enum avm_advice advice;
		const char *layout;
	} steps[] = {
		{ AVM_MADV_SEQUENTIAL, "0+1:rw 1+2:rwq 3+1:rw" },
		{ AVM_MADV_RANDOM, "0+1:rw 1+2:rwa 3+1:rw" },
		{ AVM_MADV_NORMAL, "0+4:rw" },
		{ AVM_MADV_DONTFORK, "0+1:rw 1+2:rwD 3+1:rw" },
		{ AVM_MADV_DOFORK, "0+4:rw" },
		{ AVM_MADV_WIPEONFORK, "0+1:rw 1+2:rwW 3+1:rw" },
		{ AVM_MADV_KEEPONFORK, "0+4:rw" },
		{ AVM_MADV_DONTDUMP, "0+1:rw 1+2:rwd 3+1:rw" },
		{ AVM_MADV_DODUMP, "0+4:rw" },
		{ AVM_MADV_MERGEABLE, "0+1:rw 1+2:rwM 3+1:rw" },
		{ AVM_MADV_UNMERGEABLE, "0+4:rw" },
		{ AVM_MADV_HUGEPAGE, "0+1:rw 1+2:rwH 3+1:rw" },
		{ AVM_MADV_NOHUGEPAGE, "0+1:rw 1+2:rwN 3+1:rw" },
	};
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		assert_int_equal(advise(&w, 1, 2, steps[i].advice), 0);
		assert_layout(w.mm, BASE, steps[i].layout);
		assert_int_equal(advise(&w, 1, 2, steps[i].advice), 0); /* again: nothing */
		assert_layout(w.mm, BASE, steps[i].layout);
	}
	assert_int_equal(w.mm->total_vm, 4);
	world_close(&w);
}

static void changed_ranges_merge_at_both_ends(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 8, RW);
	mark(&w, 3, 1);
	assert_int_equal(advise(&w, 0, 2, AVM_MADV_DONTDUMP), 0);
	assert_int_equal(advise(&w, 4, 4, AVM_MADV_DONTDUMP), 0);
	assert_layout(w.mm, BASE, "0+2:rwdF 2+2:rwF 4+4:rwdF");
	assert_int_equal(advise(&w, 1, 2, AVM_MADV_DONTDUMP), 0); /* a boundary moves */
	assert_layout(w.mm, BASE, "0+3:rwdF 3+1:rwF 4+4:rwdF");
	assert_int_equal(advise(&w, 3, 1, AVM_MADV_DONTDUMP), 0); /* three become one */
	assert_layout(w.mm, BASE, "0+8:rwdF");
	assert_int_equal(advise(&w, 2, 4, AVM_MADV_DODUMP), 0);
	assert_int_equal(advise(&w, 5, 3, AVM_MADV_DODUMP), 0); /* the other boundary */
	assert_layout(w.mm, BASE, "0+2:rwdF 2+6:rwF");
	assert_marked(&w, 3, 1, 3);
	world_close(&w);
}

static void a_call_that_changes_nothing_merges_nothing(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW); /* two families that may not merge while they are apart ... */
	map(&w, 3, 2, RW);
	mark(&w, 0, 2);
	mark(&w, 3, 2);
	map(&w, 2, 1, RW);
	assert_layout(w.mm, BASE, "0+3:rwF 3+2:rwF");
	assert_int_equal(advise(&w, 0, 5, AVM_MADV_NORMAL), 0);
	assert_layout(w.mm, BASE, "0+3:rwF 3+2:rwF");
	world_close(&w);
}

static void one_call_over_many_mappings(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	map(&w, 2, 2, AVM_PROT_READ);
	map(&w, 6, 2, RW);
	assert_int_equal(advise(&w, 1, 6, AVM_MADV_DONTFORK),
			 -AVM_ENOMEM); /* and the rest is done */
	assert_layout(w.mm, BASE, "0+1:rw 1+1:rwD 2+2:rD 6+1:rwD 7+1:rw");
	assert_int_equal(advise(&w, 0, 4, AVM_MADV_DOFORK), 0);
	assert_layout(w.mm, BASE, "0+2:rw 2+2:r 6+1:rwD 7+1:rw");
	world_close(&w);
}

static void advice_a_mapping_cannot_take_is_einval_and_what_precedes_is_done(void **state)
{
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	map(&w, 0, 1, RW);
	map_at(w.mm, AT(1), 1, RW, AVM_MAP_PRIVATE, &tf->file, 0);
	map(&w, 2, 1, RW);
	assert_int_equal(advise(&w, 0, 3, AVM_MADV_WIPEONFORK), -AVM_EINVAL);
	assert_layout(w.mm, BASE, "0+1:rwW 1+1:rw 2+1:rw");
	assert_int_equal(advise(&w, 0, 3, AVM_MADV_KEEPONFORK), 0);
	map_at(w.mm, AT(5), 1, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	assert_int_equal(advise(&w, 5, 1, AVM_MADV_WIPEONFORK), -AVM_EINVAL);
	assert_int_equal(advise(&w, 5, 1, AVM_MADV_MERGEABLE), 0); /* ignored */
	assert_int_equal(avm_insert_pfn(w.mm, AT(8), 1 << 20, 1, RW), 0);
	assert_int_equal(advise(&w, 8, 1, AVM_MADV_DOFORK), -AVM_EINVAL);
	assert_int_equal(advise(&w, 8, 1, AVM_MADV_DODUMP), -AVM_EINVAL);
	assert_int_equal(advise(&w, 8, 1, AVM_MADV_WIPEONFORK), -AVM_EINVAL);
	assert_int_equal(advise(&w, 8, 1, AVM_MADV_MERGEABLE), 0);
	assert_int_equal(advise(&w, 8, 1, AVM_MADV_DONTFORK), 0);
	assert_layout(w.mm, BASE, "0+1:rw 1+1:rw 2+1:rw 5+1:rws 8+1:rwsDdS");
	assert_int_equal(avm_munmap(w.mm, AT(0), 10 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/* ---- entries --------------------------------------------------------------------------------- */

static void dontneed_gives_zeroes_again(void **state)
{
	struct world w;
	uint64_t frames;

	(void)state;
	world_open(&w);
	map(&w, 0, 8, RW);
	frames = sim_frames_used(w.s);
	mark(&w, 0, 8);
	assert_int_equal(advise(&w, 2, 3, AVM_MADV_DONTNEED), 0);
	assert_layout(w.mm, BASE, "0+8:rwF");
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 5);
	assert_marked(&w, 0, 2, 0);
	assert_marked(&w, 5, 3, 5);
	for (unsigned i = 2; i < 5; i++)
		assert_int_equal(load(w.a, AT(i)), 0);
	assert_int_equal(advise(&w, 0, 8, AVM_MADV_DONTNEED), 0);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 0);
	assert_true(sim_frames_used(w.s) <= frames + 4); /* tables stay */
	world_close(&w);
}

static void dontneed_over_holes_does_the_rest(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	map(&w, 4, 2, RW);
	mark(&w, 0, 2);
	mark(&w, 4, 2);
	assert_int_equal(advise(&w, 1, 4, AVM_MADV_DONTNEED), -AVM_ENOMEM);
	assert_marked(&w, 0, 1, 0);
	assert_int_equal(load(w.a, AT(1)), 0);
	assert_int_equal(load(w.a, AT(4)), 0);
	assert_marked(&w, 5, 1, 5);
	world_close(&w);
}

static void dontneed_on_files_shows_the_file_again(void **state)
{
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	map_at(w.mm, AT(0), 2, RW, AVM_MAP_PRIVATE, &tf->file, 0);
	map_at(w.mm, AT(4), 2, RW, AVM_MAP_SHARED, &tf->file, 4);
	store(w.a, AT(0), 100);
	store(w.a, AT(4), 100);
	assert_int_equal(advise(&w, 0, 2, AVM_MADV_DONTNEED), 0);
	assert_int_equal(advise(&w, 4, 2, AVM_MADV_DONTNEED), 0);
	assert_int_equal(load(w.a, AT(0)), 1); /* the private copy is gone */
	assert_int_equal(load(w.a, AT(4)), 100); /* what is shared is not */
	assert_int_equal(avm_munmap(w.mm, AT(0), 10 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void locked_and_special_memory_is_not_given_up(void **state)
{
	static const enum avm_advice advice[] = { AVM_MADV_DONTNEED, AVM_MADV_FREE, AVM_MADV_COLD,
						  AVM_MADV_PAGEOUT };
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	mark(&w, 0, 4);
	assert_int_equal(avm_mlock(w.mm, AT(2), PAGE, 0), 0);
	assert_int_equal(avm_insert_pfn(w.mm, AT(8), 1 << 20, 1, RW), 0);
	for (size_t i = 0; i < sizeof(advice) / sizeof(advice[0]); i++) {
		mark(&w, 0, 4);
		assert_int_equal(advise(&w, 0, 4, advice[i]), -AVM_EINVAL);
		assert_marked(&w, 2, 2, 2); /* what precedes is done, the rest is not */
		assert_int_equal(load(w.a, AT(1)), advice[i] == AVM_MADV_DONTNEED ? 0 : 0x41);
		assert_int_equal(advise(&w, 8, 1, advice[i]), -AVM_EINVAL);
	}
	world_close(&w);
}

static void free_cold_and_pageout_may_leave_everything(void **state)
{
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	map(&w, 0, 2, RW);
	mark(&w, 0, 2);
	map_at(w.mm, AT(4), 2, RW, AVM_MAP_PRIVATE, &tf->file, 0);
	map_at(w.mm, AT(6), 2, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	assert_int_equal(advise(&w, 0, 2, AVM_MADV_FREE), 0);
	assert_int_equal(advise(&w, 4, 2, AVM_MADV_FREE), -AVM_EINVAL);
	assert_int_equal(advise(&w, 6, 2, AVM_MADV_FREE), -AVM_EINVAL);
	assert_int_equal(advise(&w, 4, 4, AVM_MADV_COLD), 0);
	assert_int_equal(advise(&w, 4, 4, AVM_MADV_PAGEOUT), 0);
	assert_marked(&w, 0, 2, 0);
	assert_int_equal(avm_munmap(w.mm, AT(0), 10 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/* ---- what is behind -------------------------------------------------------------------------- */

static void willneed_reads_ahead(void **state)
{
	struct world w;
	struct test_file *tf;
	uint8_t vec[4];

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	map_at(w.mm, AT(0), 4, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 2);
	map(&w, 4, 2, RW);
	assert_int_equal(advise(&w, 1, 4, AVM_MADV_WILLNEED), 0);
	assert_int_equal(tf->reads, 3);
	assert_int_equal(rss(w.mm, AVM_RSS_FILE), 0); /* cached, not mapped */
	assert_int_equal(avm_mincore(w.mm, AT(0), 4 * PAGE, vec), 0);
	assert_int_equal(vec[0], 0);
	assert_int_equal(vec[1] & vec[2] & vec[3], 1);
	tf->read_error = -AVM_EIO;
	assert_int_equal(advise(&w, 0, 1, AVM_MADV_WILLNEED), 0); /* it was only advice */
	tf->read_error = 0;
	assert_int_equal(avm_munmap(w.mm, AT(0), 10 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void remove_punches_a_hole(void **state)
{
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	map_at(w.mm, AT(0), 4, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	mark(&w, 0, 4);
	assert_int_equal(advise(&w, 1, 2, AVM_MADV_REMOVE), 0);
	assert_marked(&w, 0, 1, 0);
	assert_int_equal(load(w.a, AT(1)), 0);
	assert_int_equal(load(w.a, AT(2)), 0);
	assert_marked(&w, 3, 1, 3);
	map(&w, 10, 1, RW);
	assert_int_equal(advise(&w, 10, 1, AVM_MADV_REMOVE), -AVM_EINVAL);
	map_at(w.mm, AT(11), 1, RW, AVM_MAP_PRIVATE, &tf->file, 0);
	assert_int_equal(advise(&w, 11, 1, AVM_MADV_REMOVE), -AVM_EACCES);
	assert_int_equal(avm_mlock(w.mm, AT(0), PAGE, 0), 0);
	assert_int_equal(advise(&w, 0, 1, AVM_MADV_REMOVE), -AVM_EINVAL);
	assert_marked(&w, 0, 1, 0);
	assert_int_equal(avm_mprotect(w.mm, AT(3), PAGE, AVM_PROT_READ), 0);
	assert_int_equal(advise(&w, 3, 1, AVM_MADV_REMOVE), 0); /* it could be written to */
	assert_int_equal(load(w.a, AT(3)), 0);
	assert_int_equal(avm_munmap(w.mm, AT(0), 20 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void populate_makes_pages_present(void **state)
{
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 2 * PAGE);
	map(&w, 0, 4, RW);
	assert_int_equal(advise(&w, 0, 2, AVM_MADV_POPULATE_READ), 0);
	assert_true(pte(w.mm, AT(1)).zero);
	assert_int_equal(advise(&w, 0, 4, AVM_MADV_POPULATE_WRITE), 0);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 4);
	assert_true(pte(w.mm, AT(3)).write);
	map(&w, 4, 1, AVM_PROT_READ);
	map(&w, 5, 1, AVM_PROT_NONE);
	assert_int_equal(advise(&w, 4, 1, AVM_MADV_POPULATE_WRITE), -AVM_EINVAL);
	assert_int_equal(advise(&w, 4, 1, AVM_MADV_POPULATE_READ), 0);
	assert_int_equal(advise(&w, 5, 1, AVM_MADV_POPULATE_READ), -AVM_EINVAL);
	assert_int_equal(avm_insert_pfn(w.mm, AT(8), 1 << 20, 1, RW), 0);
	assert_int_equal(advise(&w, 8, 1, AVM_MADV_POPULATE_READ), -AVM_EINVAL);
	map_at(w.mm, AT(10), 4, AVM_PROT_READ, AVM_MAP_SHARED, &tf->file, 0);
	assert_int_equal(advise(&w, 10, 4, AVM_MADV_POPULATE_READ), -AVM_EFAULT); /* end of file */
	assert_int_equal(pte(w.mm, AT(11)).kind, AVM_PTE_PRESENT); /* what precedes is there */
	map(&w, 20, 2, RW);
	map(&w, 23, 2, RW);
	assert_int_equal(advise(&w, 20, 5, AVM_MADV_POPULATE_WRITE), -AVM_ENOMEM);
	assert_int_equal(pte(w.mm, AT(21)).kind, AVM_PTE_PRESENT);
	assert_int_equal(pte(w.mm, AT(23)).kind, AVM_PTE_NONE); /* it stops at the hole */
	map(&w, 30, 1, RW);
	sim_fail_alloc(w.s, 1, 0);
	assert_int_equal(advise(&w, 30, 1, AVM_MADV_POPULATE_WRITE), -AVM_ENOMEM);
	sim_fail_alloc(w.s, 0, 0);
	assert_int_equal(avm_munmap(w.mm, AT(0), 40 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/* ---- names and policies ---------------------------------------------------------------------- */

static void names_split_and_merge(void **state)
{
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	map(&w, 0, 4, RW);
	mark(&w, 0, 4);
	assert_int_equal(avm_set_name(w.mm, AT(1), 2 * PAGE, 7), 0);
	assert_layout(w.mm, BASE, "0+1:rwF 1+2:rwFn7 3+1:rwF");
	assert_int_equal(avm_set_name(w.mm, AT(0), 4 * PAGE, 7), 0);
	assert_layout(w.mm, BASE, "0+4:rwFn7");
	assert_int_equal(avm_set_name(w.mm, AT(0), 4 * PAGE, 0), 0);
	assert_layout(w.mm, BASE, "0+4:rwF");
	assert_int_equal(avm_set_name(w.mm, AT(0) + 1, PAGE, 7), -AVM_EINVAL);
	assert_int_equal(avm_set_name(w.mm, AT(0), ~0ull, 7), -AVM_EINVAL);
	assert_int_equal(avm_set_name(w.mm, AT(0), 0, 7), 0);
	map_at(w.mm, AT(4), 1, RW, AVM_MAP_PRIVATE, &tf->file, 0);
	map(&w, 5, 1, RW);
	assert_int_equal(avm_set_name(w.mm, AT(3), 3 * PAGE, 7), -AVM_EBADF);
	assert_layout(w.mm, BASE, "0+3:rwF 3+1:rwFn7 4+1:rw 5+1:rw");
	assert_int_equal(avm_set_name(w.mm, AT(5), 3 * PAGE, 8), -AVM_ENOMEM);
	assert_layout(w.mm, BASE, "0+3:rwF 3+1:rwFn7 4+1:rw 5+1:rwn8");
	map_at(w.mm, AT(8), 1, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	assert_int_equal(avm_set_name(w.mm, AT(8), PAGE, 9), 0); /* its file is no file */
	assert_int_equal(avm_munmap(w.mm, AT(0), 10 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void policies_split_and_merge(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	assert_int_equal(avm_set_policy(w.mm, AT(2), 2 * PAGE, 3), 0);
	assert_layout(w.mm, BASE, "0+2:rw 2+2:rwp3");
	mark(&w, 0, 4);
	assert_int_equal(avm_set_policy(w.mm, AT(2), 2 * PAGE, 0), 0);
	assert_layout(w.mm, BASE, "0+2:rwF 2+2:rwF"); /* two families: R1.3 kept them apart */
	assert_int_equal(avm_set_policy(w.mm, AT(2), 4 * PAGE, 3), -AVM_ENOMEM);
	assert_layout(w.mm, BASE, "0+2:rwF 2+2:rwFp3");
	assert_int_equal(avm_set_policy(w.mm, AT(0) + 5, PAGE, 3), -AVM_EINVAL);
	world_close(&w);
}

/* ---- mincore --------------------------------------------------------------------------------- */

static void mincore_tells_what_is_in_memory(void **state)
{
	struct world w;
	struct test_file *tf;
	uint8_t vec[600];

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	map(&w, 500, 30, RW); /* across a table that is not there */
	mark(&w, 525, 2);
	memset(vec, 9, sizeof(vec));
	assert_int_equal(avm_mincore(w.mm, AT(500), 30 * PAGE, vec), 0);
	for (unsigned i = 0; i < 30; i++)
		assert_int_equal(vec[i], i == 25 || i == 26);
	assert_int_equal(vec[30], 9);
	assert_int_equal(avm_mincore(w.mm, AT(525), 1, vec), 0); /* rounded up */
	assert_int_equal(vec[0], 1);
	map_at(w.mm, AT(530), 4, AVM_PROT_READ, AVM_MAP_SHARED, &tf->file, 0);
	assert_int_equal(avm_file_readahead(&tf->file, 1, 1), 1);
	assert_int_equal(avm_mincore(w.mm, AT(526), 8 * PAGE, vec), 0);
	assert_int_equal(vec[0], 1);
	assert_int_equal(vec[4], 0);
	assert_int_equal(vec[5], 1);
	assert_int_equal(avm_insert_pfn(w.mm, AT(534), 1 << 20, 1, AVM_PROT_READ), 0);
	assert_int_equal(avm_mincore(w.mm, AT(534), PAGE, vec), 0);
	assert_int_equal(vec[0], 1);
	assert_int_equal(avm_mincore(w.mm, AT(0) + 1, PAGE, vec), -AVM_EINVAL);
	assert_int_equal(avm_mincore(w.mm, AT(500), 40 * PAGE, vec), -AVM_ENOMEM);
	assert_int_equal(avm_mincore(w.mm, AT(499), 2 * PAGE, vec), -AVM_ENOMEM);
	assert_int_equal(avm_mincore(w.mm, AT(0), ~0ull, vec), -AVM_ENOMEM);
	assert_int_equal(avm_mincore(w.mm, AVM_ARCH_TASK_SIZE, PAGE, vec), -AVM_ENOMEM);
	assert_int_equal(avm_mincore(w.mm, AT(0), 0, vec), 0);
	assert_int_equal(avm_munmap(w.mm, AT(0), 600 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/* ---- bare frames ----------------------------------------------------------------------------- */

static void bare_frames_are_mapped_whole_and_shared_with_children(void **state)
{
	struct world w;
	struct sim_proc *child;
	struct avm_pte_info info;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_insert_pfn(w.mm, AT(510), 1 << 20, 4, RW), 0);
	assert_int_equal(avm_insert_pfn(w.mm, AT(514), (1 << 20) + 4, 1, AVM_PROT_READ), 0);
	assert_layout(w.mm, BASE, "510+4:rwsdS 514+1:rsdS");
	for (unsigned i = 0; i < 5; i++) {
		info = pte(w.mm, AT(510 + i));
		assert_int_equal(info.kind, AVM_PTE_PRESENT);
		assert_int_equal(info.pfn, (1 << 20) + i);
		assert_true(info.special);
		assert_int_equal(info.write, i < 4);
		assert_null(info.page);
	}
	assert_int_equal(w.mm->total_vm, 5);
	assert_int_equal(rss(w.mm, AVM_RSS_FILE) + rss(w.mm, AVM_RSS_ANON), 0);
	assert_int_equal(avm_mprotect(w.mm, AT(514), PAGE, RW), -AVM_EACCES);
	assert_int_equal(sim_proc_fork(w.a, &child), 0);
	info = pte(sim_mm(child), AT(511));
	assert_int_equal(info.pfn, (1 << 20) + 1);
	assert_true(info.write);
	sim_proc_exit(child);
	world_check(&w);

	assert_int_equal(avm_insert_pfn(w.mm, AT(513), 5, 1, RW), -AVM_EEXIST);
	assert_int_equal(avm_insert_pfn(w.mm, AT(0), 5, 0, RW), -AVM_EINVAL);
	assert_int_equal(avm_insert_pfn(w.mm, AT(0) + 1, 5, 1, RW), -AVM_EINVAL);
	assert_int_equal(avm_insert_pfn(w.mm, AT(0), 5, 1, 64), -AVM_EINVAL);
	assert_int_equal(avm_insert_pfn(w.mm, AT(0), AVM_PFN_NONE - 1, 3, RW), -AVM_EINVAL);
	assert_int_equal(avm_insert_pfn(w.mm, PAGE, 5, 1, RW), -AVM_EPERM);
	assert_int_equal(avm_insert_pfn(w.mm, AVM_ARCH_TASK_SIZE, 5, 1, RW), -AVM_ENOMEM);
	assert_int_equal(avm_insert_pfn(w.mm, AT(0), 5, 1ull << 40, RW), -AVM_ENOMEM);
	w.mm->limits.address_space = 6 * PAGE;
	assert_int_equal(avm_insert_pfn(w.mm, AT(0), 5, 2, RW), -AVM_ENOMEM);
	assert_int_equal(avm_munmap(w.mm, AT(511), PAGE), 0);
	assert_layout(w.mm, BASE, "510+1:rwsdS 512+2:rwsdS 514+1:rsdS");
	world_close(&w);
}

/* ---- failures -------------------------------------------------------------------------------- */

static int dontdump_middle(struct world *w)
{
	return advise(w, 1, 4, AVM_MADV_DONTDUMP);
}

static int name_middle(struct world *w)
{
	return avm_set_name(w->mm, AT(1), 4 * PAGE, 5);
}

static int insert_somewhere(struct world *w)
{
	return avm_insert_pfn(w->mm, AT(1020), 1 << 20, 10, RW);
}

static void a_failing_change_of_flags_changes_nothing(void **state)
{
	struct world w;
	struct sim_proc *child;

	(void)state;
	world_open(&w);
	map(&w, 0, 6, RW);
	mark(&w, 0, 6);
	assert_int_equal(sim_proc_fork(w.a, &child), 0);
	assert_true(fail_everywhere(&w, &(struct attempt){ dontdump_middle, -AVM_EAGAIN }) >= 4);
	w.mm = sim_mm(child);
	assert_true(fail_everywhere(&w, &(struct attempt){ name_middle, -AVM_ENOMEM }) >= 6);
	sim_proc_exit(child);
	w.mm = sim_mm(w.a);
	assert_int_equal(fail_everywhere(&w, &(struct attempt){ name_middle, -AVM_ENOMEM }), 0);
	world_close(&w);
}

static void a_failing_insertion_changes_nothing(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	assert_true(fail_everywhere(&w, &(struct attempt){ insert_somewhere, -AVM_ENOMEM }) >= 4);
	world_close(&w);
}

static void the_limit_of_vmas_is_eagain(void **state)
{
	struct world w;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 256, .core.max_map_count = 3 });
	map(&w, 0, 6, RW);
	map(&w, 8, 1, RW);
	assert_int_equal(advise(&w, 1, 2, AVM_MADV_DONTDUMP), -AVM_EAGAIN);
	assert_layout(w.mm, BASE, "0+6:rw 8+1:rw");
	assert_int_equal(advise(&w, 0, 2, AVM_MADV_DONTDUMP), 0);
	assert_int_equal(advise(&w, 1, 1, AVM_MADV_DONTDUMP), 0); /* is so already */
	assert_int_equal(avm_set_name(w.mm, AT(3), PAGE, 5), -AVM_ENOMEM);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_arguments_are_einval),
		cmocka_unit_test(a_hole_is_enomem_whatever_the_advice),
		cmocka_unit_test(advice_about_flags_sets_and_clears_them),
		cmocka_unit_test(changed_ranges_merge_at_both_ends),
		cmocka_unit_test(a_call_that_changes_nothing_merges_nothing),
		cmocka_unit_test(one_call_over_many_mappings),
		cmocka_unit_test(advice_a_mapping_cannot_take_is_einval_and_what_precedes_is_done),
		cmocka_unit_test(dontneed_gives_zeroes_again),
		cmocka_unit_test(dontneed_over_holes_does_the_rest),
		cmocka_unit_test(dontneed_on_files_shows_the_file_again),
		cmocka_unit_test(locked_and_special_memory_is_not_given_up),
		cmocka_unit_test(free_cold_and_pageout_may_leave_everything),
		cmocka_unit_test(willneed_reads_ahead),
		cmocka_unit_test(remove_punches_a_hole),
		cmocka_unit_test(populate_makes_pages_present),
		cmocka_unit_test(names_split_and_merge),
		cmocka_unit_test(policies_split_and_merge),
		cmocka_unit_test(mincore_tells_what_is_in_memory),
		cmocka_unit_test(bare_frames_are_mapped_whole_and_shared_with_children),
		cmocka_unit_test(a_failing_change_of_flags_changes_nothing),
		cmocka_unit_test(a_failing_insertion_changes_nothing),
		cmocka_unit_test(the_limit_of_vmas_is_eagain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
