/* SPDX-License-Identifier: MIT */
/* mremap: each errno, each geometry, each way to fail (R13.3, R2). */
#include "ops.h"

#define MAYMOVE AVM_MREMAP_MAYMOVE
#define FIXED (AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED)
#define DONTUNMAP (AVM_MREMAP_MAYMOVE | AVM_MREMAP_DONTUNMAP)

/* In pages from BASE; the new page, or a negative errno. */
static int64_t remap(struct world *w, unsigned page, unsigned old_pages, unsigned new_pages,
		     uint32_t flags, unsigned new_page)
{
	avm_addr_t out = 0;
	int err = avm_mremap(w->mm, AT(page), old_pages * PAGE, new_pages * PAGE, flags,
			     AT(new_page), &out);

	return err ? err : (int64_t)(out - BASE) / (int64_t)PAGE;
}

static int64_t move_to(struct world *w, unsigned page, unsigned pages, unsigned new_page)
{
	return remap(w, page, pages, pages, FIXED, new_page);
}

/* ---- arguments ------------------------------------------------------------------------------- */

static void bad_arguments_are_einval(void **state)
{
	struct world w;
	avm_addr_t out = 7;
	const struct {
		avm_addr_t addr;
		uint64_t old_len, new_len;
		uint32_t flags;
		avm_addr_t new_addr;
	} bad[] = {
		{ AT(0) + 1, PAGE, PAGE, 0, 0 },
		{ AT(0), PAGE, 2 * PAGE, 8, 0 },
		{ AT(0), PAGE, 2 * PAGE, AVM_MREMAP_FIXED, AT(10) },
		{ AT(0), PAGE, PAGE, AVM_MREMAP_DONTUNMAP, AT(10) },
		{ AT(0), PAGE, 2 * PAGE, DONTUNMAP, AT(10) },
		{ AT(0), PAGE, 0, 0, 0 },
		{ AT(0), PAGE, ~0ull, 0, 0 },
		{ AT(0), PAGE, ~0ull, MAYMOVE, 0 },
		{ AT(0), ~0ull, PAGE, MAYMOVE, 0 },
		{ AT(0), PAGE, 1ull << 48, MAYMOVE, 0 },
		{ AT(0), PAGE, PAGE, FIXED, AT(10) + 1 },
		{ AT(0), PAGE, PAGE, DONTUNMAP, AT(10) + 1 },
		{ AT(0), PAGE, PAGE, FIXED, AVM_ARCH_TASK_SIZE },
		{ AT(0), PAGE, 2 * PAGE, FIXED, AVM_ARCH_TASK_SIZE - PAGE },
		{ AT(0), PAGE, PAGE, FIXED, ~0ull & AVM_PAGE_MASK },
		{ AT(0), PAGE, PAGE, FIXED, AT(0) },
		{ AT(0), 3 * PAGE, PAGE, FIXED, AT(2) },
		{ AT(1), PAGE, 2 * PAGE, FIXED, AT(0) },
		{ AT(0), 0, PAGE, MAYMOVE, 0 }, /* a second mapping of private memory */
	};

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(avm_mremap(w.mm, bad[i].addr, bad[i].old_len, bad[i].new_len,
					    bad[i].flags, bad[i].new_addr, &out),
				 -AVM_EINVAL);
	assert_int_equal(out, 7);
	assert_layout(w.mm, BASE, "0+4:rw");
	assert_int_equal(avm_mremap(w.mm, AT(0), PAGE, PAGE, FIXED, PAGE, &out), -AVM_EPERM);
	world_close(&w);
}

static void old_ranges_that_are_not_one_mapping_are_efault(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	map(&w, 2, 2, AVM_PROT_READ);
	map(&w, 6, 2, RW);
	assert_int_equal(remap(&w, 4, 1, 1, 0, 0), -AVM_EFAULT); /* nothing there */
	assert_int_equal(remap(&w, 8, 1, 2, MAYMOVE, 0), -AVM_EFAULT);
	assert_int_equal(remap(&w, 1, 2, 3, MAYMOVE, 0), -AVM_EFAULT); /* two mappings */
	assert_int_equal(remap(&w, 3, 2, 3, MAYMOVE, 0), -AVM_EFAULT); /* a hole */
	assert_int_equal(remap(&w, 1, 2, 2, FIXED, 20), -AVM_EFAULT);
	assert_int_equal(remap(&w, 1, 2, 2, DONTUNMAP, 20), -AVM_EFAULT);
	assert_layout(w.mm, BASE, "0+2:rw 2+2:r 6+2:rw");
	world_close(&w);
}

static void the_same_size_is_no_change(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	assert_int_equal(remap(&w, 0, 2, 2, 0, 0), 0);
	assert_int_equal(remap(&w, 1, 1, 1, MAYMOVE, 0), 1);
	assert_int_equal(remap(&w, 1, 5, 5, MAYMOVE, 0), 1); /* not looked at, as on Linux */
	assert_layout(w.mm, BASE, "0+2:rw");
	world_close(&w);
}

/* ---- in place -------------------------------------------------------------------------------- */

static void shrinking_unmaps_the_tail(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 8, RW);
	mark(&w, 0, 8);
	assert_int_equal(remap(&w, 0, 8, 6, 0, 0), 0);
	assert_layout(w.mm, BASE, "0+6:rwF");
	assert_int_equal(remap(&w, 1, 3, 1, MAYMOVE, 0), 1); /* the middle goes */
	assert_layout(w.mm, BASE, "0+2:rwF 4+2:rwF");
	assert_int_equal(remap(&w, 0, 5, 1, 0, 0), 0); /* across a hole */
	assert_layout(w.mm, BASE, "0+1:rwF 5+1:rwF");
	assert_int_equal(w.mm->total_vm, 2);
	assert_marked(&w, 5, 1, 5);
	assert_int_equal(avm_mremap(w.mm, AT(0), AVM_ARCH_TASK_SIZE, PAGE, 0, 0,
				    &(avm_addr_t){ 0 }),
			 -AVM_EINVAL);
	world_close(&w);
}

static void growing_takes_the_free_range_behind(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	mark(&w, 0, 2);
	assert_int_equal(remap(&w, 0, 2, 4, 0, 0), 0);
	assert_layout(w.mm, BASE, "0+4:rwF");
	assert_int_equal(remap(&w, 3, 1, 2, MAYMOVE, 0), 3); /* from the last page of it */
	assert_layout(w.mm, BASE, "0+5:rwF");
	assert_marked(&w, 0, 2, 0);
	assert_int_equal(w.mm->total_vm, 5);
	assert_int_equal(w.mm->data_vm, 5);
	world_close(&w);
}

static void growing_merges_with_what_it_reaches(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW); /* unfaulted, up to a faulted one */
	map(&w, 4, 2, RW);
	mark(&w, 4, 2);
	assert_int_equal(remap(&w, 0, 2, 4, 0, 0), 0);
	assert_layout(w.mm, BASE, "0+6:rwF");
	map(&w, 8, 2, RW); /* faulted, up to an unfaulted one */
	assert_int_equal(remap(&w, 0, 6, 8, 0, 0), 0);
	assert_layout(w.mm, BASE, "0+10:rwF");
	map(&w, 12, 2, RW); /* two families do not mix */
	mark(&w, 12, 2);
	assert_int_equal(remap(&w, 0, 10, 12, 0, 0), 0);
	assert_layout(w.mm, BASE, "0+12:rwF 12+2:rwF");
	map(&w, 20, 2, RW);
	map(&w, 24, 2, AVM_PROT_READ);
	assert_int_equal(remap(&w, 20, 2, 4, 0, 0), 20);
	assert_layout(w.mm, BASE, "0+12:rwF 12+2:rwF 20+4:rw 24+2:r");
	assert_marked(&w, 4, 2, 4);
	assert_marked(&w, 12, 2, 12);
	world_close(&w);
}

static void growing_without_room_is_enomem_or_a_move(void **state)
{
	struct world w;
	avm_addr_t out;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	map(&w, 5, 1, AVM_PROT_READ);
	mark(&w, 0, 4);
	assert_int_equal(remap(&w, 0, 4, 6, 0, 0), -AVM_ENOMEM);
	assert_int_equal(remap(&w, 0, 2, 3, 0, 0),
			 -AVM_ENOMEM); /* it does not end where the VMA ends */
	assert_int_equal(avm_mremap(w.mm, AT(0), 4 * PAGE, 6 * PAGE, MAYMOVE, 0, &out), 0);
	assert_layout(w.mm, BASE, "5+1:r");
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(w.a, out + i * PAGE), 0x40 + i);
	store(w.a, out + 5 * PAGE, 1);
	assert_int_equal(w.mm->total_vm, 7);
	world_close(&w);
}

static void growing_stops_at_the_end_of_the_address_space(void **state)
{
	struct world w;
	avm_addr_t last = AVM_ARCH_TASK_SIZE - PAGE, out;

	(void)state;
	world_open(&w);
	map_at(w.mm, last, 1, RW, ANON, NULL, 0);
	assert_int_equal(avm_mremap(w.mm, last, PAGE, 2 * PAGE, 0, 0, &out), -AVM_ENOMEM);
	assert_int_equal(avm_mremap(w.mm, last, PAGE, 2 * PAGE, MAYMOVE, 0, &out), 0);
	assert_true(out < last);
	world_close(&w);
}

/* ---- moves ----------------------------------------------------------------------------------- */

static void a_move_takes_the_pages_along(void **state)
{
	struct world w;
	struct avm_page *page;
	uint64_t frames;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	mark(&w, 0, 3);
	page = page_at(w.mm, AT(1));
	frames = sim_frames_used(w.s);
	assert_int_equal(move_to(&w, 0, 4, 8), 8);
	assert_layout(w.mm, BASE, "8+4:rwF@-8"); /* faulted: pages keep their index */
	assert_ptr_equal(page_at(w.mm, AT(9)), page);
	assert_marked(&w, 8, 3, 0);
	assert_int_equal(load(w.a, AT(11)), 0);
	assert_int_equal(sim_load(w.a, AT(0), &(char){ 0 }, 1, NULL), AVM_FAULT_MAPERR);
	assert_int_equal(sim_frames_used(w.s), frames);
	assert_int_equal(w.mm->total_vm, 4);
	world_close(&w);
}

static void a_move_across_page_tables_keeps_every_page(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 500, 30, RW); /* both ranges cross a table, at different pages */
	mark(&w, 500, 30);
	assert_int_equal(move_to(&w, 500, 30, 1010), 1010);
	for (unsigned i = 0; i < 30; i++)
		assert_int_equal(load(w.a, AT(1010 + i)), (unsigned char)(0x40 + 500 + i));
	assert_int_equal(move_to(&w, 1010, 30, 512), 512);
	assert_int_equal(load(w.a, AT(541)), (unsigned char)(0x40 + 529));
	assert_layout(w.mm, BASE, "512+30:rwF@-12");
	world_close(&w);
}

static void an_unfaulted_mapping_gets_a_fresh_offset_and_merges(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	map(&w, 6, 2, RW);
	map(&w, 10, 2, RW);
	mark(&w, 10, 1);
	assert_int_equal(move_to(&w, 0, 2, 8), 8);
	assert_layout(w.mm, BASE, "6+6:rwF");
	world_close(&w);
}

static void a_faulted_mapping_merges_only_where_it_is_back_in_line(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 6, RW);
	mark(&w, 0, 6);
	assert_int_equal(move_to(&w, 2, 2, 20), 20);
	assert_layout(w.mm, BASE, "0+2:rwF 4+2:rwF 20+2:rwF@-18");
	map(&w, 22, 2, RW);
	assert_int_equal(move_to(&w, 20, 2, 30), 30);
	assert_layout(w.mm, BASE, "0+2:rwF 4+2:rwF 22+2:rw 30+2:rwF@-28");
	assert_int_equal(move_to(&w, 30, 2, 2), 2);
	assert_layout(w.mm, BASE, "0+6:rwF 22+2:rw");
	assert_marked(&w, 0, 6, 0);
	world_close(&w);
}

/* R2.4: the unfaulted neighbour gets the chain before it gets the pages. */
static void an_unfaulted_neighbour_takes_over_the_family(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	mark(&w, 0, 2);
	assert_int_equal(move_to(&w, 0, 2, 40), 40);
	map(&w, 2, 2, RW); /* above the place the pages came from */
	assert_int_equal(move_to(&w, 40, 2, 0), 0);
	assert_layout(w.mm, BASE, "0+4:rwF");
	assert_marked(&w, 0, 2, 0);
	world_check(&w);
	assert_int_equal(move_to(&w, 0, 1, 40), 40); /* page 0, family of 1+3 */
	map(&w, 50, 1, RW);
	assert_int_equal(move_to(&w, 40, 1, 0), 0);
	assert_layout(w.mm, BASE, "0+4:rwF 50+1:rw");
	world_close(&w);
}

static void two_unfaulted_neighbours_become_one_with_the_moved(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 10, 2, RW);
	mark(&w, 10, 2);
	assert_int_equal(move_to(&w, 10, 2, 40), 40);
	map(&w, 8, 2, RW);
	map(&w, 12, 2, RW);
	assert_int_equal(move_to(&w, 40, 2, 10), 10);
	assert_layout(w.mm, BASE, "8+6:rwF");
	assert_marked(&w, 10, 2, 10);
	world_close(&w);
}

/*
 * R2.2: for mremap the VMA copied from counts. A chain of two entries does not fit an unfaulted
 * neighbour.
 */
static void a_fork_child_merges_with_its_own_only(void **state)
{
	struct world w;
	struct sim_proc *child;
	struct avm_mm *mm;
	avm_addr_t out;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	mark(&w, 0, 4);
	assert_int_equal(sim_proc_fork(w.a, &child), 0);
	mm = sim_mm(child);
	store(child, AT(0), 9);
	assert_layout(mm, BASE, "0+4:rwFC");
	assert_int_equal(avm_mremap(mm, AT(0), 2 * PAGE, 2 * PAGE, FIXED, AT(40), &out), 0);
	assert_layout(mm, BASE, "2+2:rwFC 40+2:rwFC@-40");
	map_at(mm, AT(30), 2, RW, ANON, NULL, 0);
	assert_int_equal(avm_mremap(mm, AT(40), 2 * PAGE, 2 * PAGE, FIXED, AT(0), &out), 0);
	assert_layout(mm, BASE, "0+4:rwFC 30+2:rw"); /* equal chains: back in one piece */
	assert_int_equal(avm_mremap(mm, AT(0), 4 * PAGE, 4 * PAGE, FIXED, AT(40), &out), 0);
	map_at(mm, AT(4), 2, RW, ANON, NULL, 0);
	assert_int_equal(avm_mremap(mm, AT(40), 4 * PAGE, 4 * PAGE, FIXED, AT(0), &out), 0);
	assert_layout(mm, BASE, "0+4:rwFC 4+2:rw 30+2:rw");
	assert_int_equal(load(child, AT(0)), 9);
	assert_int_equal(load(child, AT(1)), 0x41);
	assert_int_equal(load(w.a, AT(0)), 0x40);
	world_check(&w);
	sim_proc_exit(child);
	world_close(&w);
}

static void parts_of_a_mapping_move_and_the_rest_stays(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 8, RW);
	mark(&w, 0, 8);
	assert_int_equal(move_to(&w, 0, 2, 20), 20);
	assert_int_equal(move_to(&w, 6, 2, 30), 30);
	assert_int_equal(move_to(&w, 3, 1, 40), 40);
	assert_layout(w.mm, BASE, "2+1:rwF 4+2:rwF 20+2:rwF@-20 30+2:rwF@-24 40+1:rwF@-37");
	assert_marked(&w, 20, 2, 0);
	assert_marked(&w, 30, 2, 6);
	assert_marked(&w, 40, 1, 3);
	assert_int_equal(w.mm->total_vm, 8);
	world_close(&w);
}

/* An unfaulted mapping that moves next to itself: source and target are one VMA for a moment. */
static void an_unfaulted_mapping_may_merge_with_itself(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	assert_int_equal(move_to(&w, 0, 4, 4), 4);
	assert_layout(w.mm, BASE, "4+4:rw");
	assert_int_equal(move_to(&w, 4, 4, 0), 0);
	assert_layout(w.mm, BASE, "0+4:rw");
	assert_int_equal(move_to(&w, 2, 2, 4),
			 4); /* leaves a hole in the middle of the merged one */
	assert_layout(w.mm, BASE, "0+2:rw 4+2:rw");
	map(&w, 8, 2, RW); /* and with a faulted one at the same time */
	mark(&w, 8, 2);
	assert_int_equal(move_to(&w, 4, 2, 6), 6);
	assert_layout(w.mm, BASE, "0+2:rw 6+4:rwF");
	map(&w, 10, 2, AVM_PROT_READ);
	map(&w, 20, 6, RW);
	map(&w, 28, 2, RW);
	mark(&w, 28, 2);
	assert_int_equal(move_to(&w, 24, 2, 26), 26); /* what stays behind was one with them, too */
	assert_layout(w.mm, BASE, "0+2:rw 6+4:rwF 10+2:r 20+4:rwF 26+4:rwF");
	map(&w, 40, 4, RW);
	map(&w, 46, 2, RW);
	mark(&w, 46, 2);
	assert_int_equal(remap(&w, 41, 2, 2, FIXED, 44), 44);
	assert_layout(w.mm, BASE, "0+2:rw 6+4:rwF 10+2:r 20+4:rwF 26+4:rwF 40+1:rwF 43+5:rwF");
	world_close(&w);
}

static void fixed_replaces_what_is_there(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	mark(&w, 0, 2);
	map(&w, 10, 8, AVM_PROT_READ);
	assert_int_equal(load(w.a, AT(12)), 0);
	assert_int_equal(remap(&w, 0, 2, 3, FIXED, 12), 12); /* larger as well */
	assert_layout(w.mm, BASE, "10+2:r 12+3:rwF@-12 15+3:r");
	assert_marked(&w, 12, 2, 0);
	assert_int_equal(load(w.a, AT(14)), 0);
	assert_int_equal(w.mm->total_vm, 8);
	assert_int_equal(remap(&w, 12, 3, 1, FIXED, 16), 16); /* smaller */
	assert_layout(w.mm, BASE, "10+2:r 15+1:r 16+1:rwF@-16 17+1:r");
	assert_marked(&w, 16, 1, 0);
	world_close(&w);
}

static void fixed_into_another_part_of_the_same_mapping(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 10, RW);
	mark(&w, 0, 10);
	assert_int_equal(move_to(&w, 2, 2, 6), 6);
	assert_layout(w.mm, BASE, "0+2:rwF 4+2:rwF 6+2:rwF@-4 8+2:rwF");
	assert_marked(&w, 4, 2, 4);
	assert_marked(&w, 6, 2, 2);
	assert_marked(&w, 8, 2, 8);
	world_close(&w);
}

static void fixed_shrinks_over_whatever_follows(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	mark(&w, 0, 2);
	map(&w, 2, 4, AVM_PROT_READ);
	assert_int_equal(remap(&w, 0, 4, 2, FIXED, 20),
			 20); /* as on Linux, the tail may be another's */
	assert_layout(w.mm, BASE, "4+2:r 20+2:rwF@-20");
	assert_int_equal(avm_mremap(w.mm, AT(20), AVM_ARCH_TASK_SIZE, PAGE, FIXED, AT(0),
				    &(avm_addr_t){ 0 }),
			 -AVM_EINVAL);
	world_close(&w);
}

/* The tail is a hole in the middle of a mapping, though the whole old range is not. */
static int move_head_and_drop_what_follows(struct world *w)
{
	int64_t r = remap(w, 0, 4, 2, FIXED, 20);

	return r < 0 ? (int)r : 0;
}

static void fixed_shrinks_within_a_larger_mapping(void **state)
{
	struct world w;
	struct sim_proc *child, *grandchild;

	(void)state;
	world_open(&w);
	map(&w, 0, 8, RW);
	mark(&w, 0, 8);
	assert_int_equal(sim_proc_fork(w.a, &child), 0);
	store(child, AT(0), 0x40);
	assert_int_equal(sim_proc_fork(child, &grandchild), 0);
	w.mm = sim_mm(grandchild); /* a chain of three to be cloned twice */
	w.a = grandchild;
	assert_true(fail_everywhere(&w, &(struct attempt){ move_head_and_drop_what_follows,
							   -AVM_ENOMEM }) >= 8);
	assert_layout(w.mm, BASE, "4+4:rwFC 20+2:rwFC@-20");
	assert_marked(&w, 20, 2, 0);
	assert_marked(&w, 4, 4, 4);
	world_close(&w);
}

/* The tail's tables are looked at when it goes, and those of the target must not go with them. */
static void fixed_next_to_a_tail_that_empties_its_table(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 500, 20, RW);
	mark(&w, 500, 20);
	assert_int_equal(remap(&w, 500, 20, 10, FIXED, 600), 600);
	assert_layout(w.mm, BASE, "600+10:rwF@-100");
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(load(w.a, AT(600 + i)), (unsigned char)(0x40 + 500 + i));
	world_close(&w);
}

static uint64_t tables(struct world *w)
{
	return atomic_load(&w->mm->tables);
}

static void fixed_onto_what_has_a_table_of_its_own(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	mark(&w, 0, 2);
	map(&w, 1024, 2, RW);
	mark(&w, 1024, 2);
	assert_int_equal(move_to(&w, 0, 2, 1024), 1024);
	assert_marked(&w, 1024, 2, 0);
	world_close(&w);
}

static void tables_that_nobody_needs_any_more_go(void **state)
{
	struct world w;
	uint64_t before;

	(void)state;
	world_open(&w);
	map(&w, 500, 20, RW);
	mark(&w, 500, 20);
	before = tables(&w);
	assert_int_equal(remap(&w, 500, 20, 10, FIXED, 3000), 3000); /* two leaf tables for one */
	assert_int_equal(tables(&w), before - 1);
	assert_int_equal(avm_munmap(w.mm, AT(3000), 10 * PAGE), 0);
	assert_int_equal(tables(&w), 1);
	world_close(&w);
}

/* ---- DONTUNMAP ------------------------------------------------------------------------------- */

static void dontunmap_leaves_an_empty_mapping_without_family(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	mark(&w, 0, 4);
	assert_int_equal(remap(&w, 0, 4, 4, DONTUNMAP | AVM_MREMAP_FIXED, 20), 20);
	assert_layout(w.mm, BASE, "0+4:rw 20+4:rwF@-20");
	assert_marked(&w, 20, 4, 0);
	assert_int_equal(load(w.a, AT(0)), 0);
	assert_int_equal(w.mm->total_vm, 8);
	store(w.a, AT(0), 1);
	assert_marked(&w, 20, 1, 0);
	world_close(&w);
}

static void dontunmap_of_a_part_keeps_the_family(void **state)
{
	struct world w;
	int64_t at;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	mark(&w, 0, 4);
	at = remap(&w, 1, 2, 2, DONTUNMAP, 30); /* a hint, free */
	assert_int_equal(at, 30);
	assert_layout(w.mm, BASE, "0+4:rwF 30+2:rwF@-29");
	assert_int_equal(load(w.a, AT(1)), 0);
	assert_marked(&w, 3, 1, 3);
	assert_marked(&w, 30, 2, 1);
	at = remap(&w, 30, 2, 2, DONTUNMAP, 3); /* a hint, taken */
	assert_true(at > 0 && at != 3);
	assert_layout(w.mm, BASE, "0+4:rwF 30+2:rw@-29");
	world_close(&w);
}

static void dontunmap_works_on_files_and_takes_the_lock_off(void **state)
{
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	map_at(w.mm, AT(0), 4, RW, AVM_MAP_SHARED, &tf->file, 1);
	store(w.a, AT(1), 77);
	assert_int_equal(remap(&w, 0, 4, 4, DONTUNMAP | AVM_MREMAP_FIXED, 20), 20);
	assert_layout(w.mm, BASE, "0+4:rws@1 20+4:rws@1");
	assert_int_equal(load(w.a, AT(21)), 77);
	assert_int_equal(load(w.a, AT(1)), 77);
	map(&w, 40, 4, RW);
	assert_int_equal(avm_mlock(w.mm, AT(40), 4 * PAGE, 0), 0);
	assert_int_equal(w.mm->locked_vm, 4);
	assert_int_equal(remap(&w, 40, 4, 4, DONTUNMAP | AVM_MREMAP_FIXED, 50), 50);
	assert_layout(w.mm, BASE, "0+4:rws@1 20+4:rws@1 40+4:rw 50+4:rwLF@-10");
	assert_int_equal(w.mm->locked_vm, 4);
	assert_int_equal(remap(&w, 50, 2, 2, DONTUNMAP | AVM_MREMAP_FIXED, 60), 60);
	assert_layout(w.mm, BASE, "0+4:rws@1 20+4:rws@1 40+4:rw 50+4:rwF@-10 60+2:rwLF@-20");
	assert_int_equal(w.mm->locked_vm, 2);
	assert_false(has_flag(page_at(w.mm, AT(52)), AVM_PG_UNEVICTABLE));
	assert_true(has_flag(page_at(w.mm, AT(60)), AVM_PG_UNEVICTABLE));
	assert_int_equal(avm_munmap(w.mm, AT(0), 100 * PAGE), 0);
	world_check(&w);
	test_file_close(tf);
	world_close(&w);
}

/*
 * The source merges away into its own target, and the lock that goes is the merged VMA's: as on
 * Linux.
 */
static void dontunmap_of_a_source_that_merges_away(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 6, 2, RW);
	map(&w, 10, 2, RW);
	assert_int_equal(avm_mlock(w.mm, AT(6), 2 * PAGE, AVM_MLOCK_ONFAULT), 0);
	assert_int_equal(avm_mlock(w.mm, AT(10), 2 * PAGE, AVM_MLOCK_ONFAULT), 0);
	load(w.a, AT(10)); /* the zero page */
	assert_int_equal(remap(&w, 10, 2, 2, DONTUNMAP | AVM_MREMAP_FIXED, 8), 8);
	assert_layout(w.mm, BASE, "6+6:rw");
	assert_int_equal(w.mm->locked_vm, 0);
	assert_int_equal(w.mm->total_vm, 6);
	assert_true(pte(w.mm, AT(8)).zero);
	assert_int_equal(pte(w.mm, AT(10)).kind, AVM_PTE_NONE);
	world_close(&w);
}

/* ---- files, shared memory, bare frames ------------------------------------------------------- */

static void a_file_mapping_keeps_its_pages_of_the_file(void **state)
{
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 16 * PAGE);
	map_at(w.mm, AT(0), 4, RW, AVM_MAP_PRIVATE, &tf->file, 2);
	assert_int_equal(load(w.a, AT(0)), 3);
	store(w.a, AT(1), 99);
	assert_int_equal(remap(&w, 1, 3, 6, MAYMOVE | AVM_MREMAP_FIXED, 20), 20);
	assert_layout(w.mm, BASE, "0+1:rwF@2 20+6:rwF@3");
	assert_int_equal(load(w.a, AT(20)), 99);
	assert_int_equal(load(w.a, AT(21)), 5);
	assert_int_equal(load(w.a, AT(25)), 9);
	assert_int_equal(avm_munmap(w.mm, AT(0), 100 * PAGE), 0);
	world_check(&w);
	test_file_close(tf);
	world_close(&w);
}

/* Files end at INT64_MAX; a mapping may grow over that end, as on Linux, and has nothing behind it there. */
static void growth_over_the_end_of_all_files_is_sigbus(void **state)
{
	const uint64_t pages = INT64_MAX / PAGE;
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 4 * PAGE);
	map_at(w.mm, AT(0), 2, RW, AVM_MAP_SHARED, &tf->file, pages - 2);
	assert_int_equal(remap(&w, 0, 2, 8, MAYMOVE, 0), 0);
	assert_int_equal(fault_read(w.mm, AT(7)), AVM_FAULT_SIGBUS);
	assert_int_equal(avm_munmap(w.mm, AT(0), 8 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void old_len_0_maps_shared_memory_again(void **state)
{
	struct world w;
	avm_addr_t out;

	(void)state;
	world_open(&w);
	map_at(w.mm, AT(0), 4, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	store(w.a, AT(2), 5);
	assert_int_equal(remap(&w, 0, 0, 4, 0, 0), -AVM_ENOMEM);
	assert_int_equal(remap(&w, 2, 0, 2, FIXED, 20), 20);
	assert_layout(w.mm, BASE, "0+4:rws 20+2:rws@2");
	assert_int_equal(load(w.a, AT(20)), 5);
	store(w.a, AT(20), 6);
	assert_int_equal(load(w.a, AT(2)), 6);
	assert_int_equal(avm_mremap(w.mm, AT(0), 0, 4 * PAGE, MAYMOVE, 0, &out), 0);
	assert_int_equal(load(w.a, out + 2 * PAGE), 6);
	assert_int_equal(w.mm->total_vm, 10);
	assert_int_equal(remap(&w, 0, 0, 1, FIXED, 0), -AVM_EFAULT); /* onto itself */
	assert_int_equal(remap(&w, 1, 0, 1, FIXED, 2), 2); /* into itself */
	assert_layout(w.mm, BASE, "0+2:rws 2+1:rws@1 3+1:rws@3 20+2:rws@2");
	world_close(&w);
}

static void special_mappings_move_but_do_not_grow(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_insert_pfn(w.mm, AT(0), 1u << 20, 2, RW), 0);
	assert_int_equal(remap(&w, 0, 2, 3, MAYMOVE, 0), -AVM_EFAULT);
	assert_int_equal(remap(&w, 0, 2, 3, 0, 0), -AVM_EFAULT);
	assert_int_equal(remap(&w, 0, 2, 2, DONTUNMAP, 20), -AVM_EINVAL);
	assert_int_equal(remap(&w, 0, 2, 2, FIXED, 20), 20);
	assert_int_equal(pte(w.mm, AT(21)).pfn, (1u << 20) + 1);
	assert_true(pte(w.mm, AT(21)).write);
	assert_int_equal(pte(w.mm, AT(0)).kind, AVM_PTE_NONE);
	assert_int_equal(remap(&w, 20, 2, 1, 0, 0), 20);
	world_close(&w);
}

/* ---- limits, promises ------------------------------------------------------------------------ */

static void limits_are_those_of_mremap(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	map(&w, 8, 4, RW);
	assert_int_equal(avm_mlock(w.mm, AT(0), 4 * PAGE, 0), 0);
	w.mm->limits.locked = 5 * PAGE;
	assert_int_equal(remap(&w, 0, 4, 6, 0, 0), -AVM_EAGAIN);
	assert_int_equal(remap(&w, 0, 4, 5, 0, 0), 0);
	assert_int_equal(w.mm->locked_vm, 5);
	assert_int_equal(pte(w.mm, AT(4)).kind, AVM_PTE_PRESENT); /* it is faulted in */
	w.mm->limits.address_space = 10 * PAGE;
	assert_int_equal(remap(&w, 8, 4, 6, 0, 0), -AVM_ENOMEM);
	assert_int_equal(remap(&w, 8, 4, 4, DONTUNMAP, 20), -AVM_ENOMEM);
	assert_int_equal(remap(&w, 8, 4, 5, 0, 0), 8);
	w.mm->limits.address_space = AVM_NO_LIMIT;
	w.mm->limits.data = 10 * PAGE;
	assert_int_equal(remap(&w, 8, 5, 6, MAYMOVE, 0), -AVM_ENOMEM);
	assert_int_equal(move_to(&w, 8, 5, 30), 30); /* moving needs no more */
	world_close(&w);
}

static void the_limit_of_vmas_is_approached_no_closer_than_linux_does(void **state)
{
	struct world w;
	char *before, *after;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 256, .core.max_map_count = 8 });
	for (unsigned i = 0; i < 3; i++)
		map(&w, 2 * i, 1, RW);
	before = dump(w.mm);
	assert_int_equal(move_to(&w, 0, 1, 20), -AVM_ENOMEM); /* 3 + 2 >= 8 - 3 */
	after = dump(w.mm);
	assert_string_equal(before, after);
	free(before);
	free(after);
	assert_int_equal(avm_munmap(w.mm, AT(2), PAGE), 0);
	assert_int_equal(move_to(&w, 0, 1, 20), 20);
	for (unsigned i = 0; i < 3; i++)
		map(&w, 30 + 2 * i, 1, RW);
	assert_int_equal(remap(&w, 4, 1, 2, 0, 0), 4); /* in place: no matter */
	assert_int_equal(remap(&w, 4, 1, 2, MAYMOVE, 0), -AVM_ENOMEM); /* 5 >= 8 - 3 */
	world_close(&w);
}

static void promises_follow_the_memory(void **state)
{
	struct world w;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 64,
						  .core = { .commit = AVM_COMMIT_STRICT,
							    .commit_reserve = 44 } });
	map(&w, 0, 8, RW);
	assert_int_equal(world_committed(&w), 8);
	assert_int_equal(remap(&w, 0, 8, 10, 0, 0), 0);
	assert_int_equal(world_committed(&w), 10);
	assert_int_equal(move_to(&w, 0, 10, 20), 20); /* 20 in all: it must not count twice */
	assert_int_equal(move_to(&w, 20, 10, 40), 40);
	assert_int_equal(world_committed(&w), 10);
	assert_int_equal(remap(&w, 40, 10, 21, 0, 0), -AVM_ENOMEM);
	assert_int_equal(remap(&w, 40, 10, 21, FIXED, 80), -AVM_ENOMEM);
	assert_int_equal(world_committed(&w), 10);
	assert_int_equal(remap(&w, 40, 10, 12, FIXED, 80), 80);
	assert_int_equal(world_committed(&w), 12);
	assert_int_equal(remap(&w, 80, 12, 12, DONTUNMAP, 0), -AVM_ENOMEM);
	assert_int_equal(remap(&w, 80, 12, 4, FIXED, 20), 20);
	assert_int_equal(world_committed(&w), 4);
	assert_int_equal(remap(&w, 20, 4, 4, DONTUNMAP | AVM_MREMAP_FIXED, 40), 40);
	assert_int_equal(world_committed(&w), 8);
	world_close(&w);
}

/* ---- failures -------------------------------------------------------------------------------- */

static int grow_and_merge(struct world *w)
{
	int64_t r = remap(w, 0, 2, 4, 0, 0);

	return r < 0 ? (int)r : 0;
}

static int move_middle(struct world *w)
{
	int64_t r = remap(w, 2, 4, 6, FIXED, 1030);

	return r < 0 ? (int)r : 0;
}

static int leave_behind(struct world *w)
{
	int64_t r = remap(w, 0, 8, 8, DONTUNMAP, 3000);

	return r < 0 ? (int)r : 0;
}

static int move_anywhere(struct world *w)
{
	avm_addr_t out;

	return avm_mremap(w->mm, AT(0), 8 * PAGE, 4096 * PAGE, MAYMOVE, 0, &out);
}

static void a_growth_that_fails_changes_nothing(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	map(&w, 4, 2, RW);
	mark(&w, 4, 2);
	assert_int_equal(fail_everywhere(&w, &(struct attempt){ grow_and_merge, -AVM_ENOMEM }), 1);
	assert_layout(w.mm, BASE, "0+6:rwF");
	world_close(&w);
}

/*
 * Into the middle of a mapping, out of the middle of a mapping that has a chain of two, into new
 * tables.
 */
static void a_move_that_fails_changes_nothing_and_keeps_the_target(void **state)
{
	struct world w;
	struct sim_proc *child;

	(void)state;
	world_open(&w);
	map(&w, 0, 8, RW);
	mark(&w, 0, 8);
	assert_int_equal(sim_proc_fork(w.a, &child), 0);
	map_at(sim_mm(child), AT(1028), 20, AVM_PROT_READ, ANON, NULL, 0);
	store(child, AT(3), 1);
	w.mm = sim_mm(child);
	w.a = child;
	assert_true(fail_everywhere(&w, &(struct attempt){ move_middle, -AVM_ENOMEM }) > 6);
	assert_layout(w.mm, BASE, "0+2:rwFC 6+2:rwFC 1028+2:r 1030+6:rwFC@-1028 1036+12:r");
	assert_int_equal(load(w.a, AT(1031)), 1);
	assert_marked(&w, 1032, 2, 4);
	world_close(&w);
}

static void leaving_behind_and_moving_anywhere_fail_cleanly(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 8, RW);
	map(&w, 8, 1, AVM_PROT_READ);
	mark(&w, 0, 8);
	assert_true(fail_everywhere(&w, &(struct attempt){ leave_behind, -AVM_ENOMEM }) > 2);
	mark(&w, 0, 8);
	assert_true(fail_everywhere(&w, &(struct attempt){ move_anywhere, -AVM_ENOMEM }) > 2);
	world_close(&w);
}

/* ---- observers of translations --------------------------------------------------------------- */

struct watcher {
	struct avm_notifier n;
	avm_addr_t start, end;
	int open, calls;
};

static void watch_start(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct watcher *x = (struct watcher *)(void *)n;

	x->start = start < x->start ? start : x->start;
	x->end = end > x->end ? end : x->end;
	x->open++;
	x->calls++;
}

static void watch_end(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct watcher *x = (struct watcher *)(void *)n;

	(void)start;
	(void)end;
	x->open--;
}

static void notifiers_hear_of_the_old_range(void **state)
{
	struct world w;
	struct watcher x = { .n = { .invalidate_start = watch_start, .invalidate_end = watch_end },
			     .start = ~0ull };

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	mark(&w, 0, 4);
	avm_notifier_add(w.mm, &x.n);
	assert_int_equal(remap(&w, 1, 2, 2, DONTUNMAP, 20), 20);
	assert_int_equal(x.calls, 1);
	assert_int_equal(x.open, 0);
	assert_int_equal(x.start, AT(1));
	assert_int_equal(x.end, AT(3));
	avm_notifier_del(w.mm, &x.n);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_arguments_are_einval),
		cmocka_unit_test(old_ranges_that_are_not_one_mapping_are_efault),
		cmocka_unit_test(the_same_size_is_no_change),
		cmocka_unit_test(shrinking_unmaps_the_tail),
		cmocka_unit_test(growing_takes_the_free_range_behind),
		cmocka_unit_test(growing_merges_with_what_it_reaches),
		cmocka_unit_test(growing_without_room_is_enomem_or_a_move),
		cmocka_unit_test(growing_stops_at_the_end_of_the_address_space),
		cmocka_unit_test(a_move_takes_the_pages_along),
		cmocka_unit_test(a_move_across_page_tables_keeps_every_page),
		cmocka_unit_test(an_unfaulted_mapping_gets_a_fresh_offset_and_merges),
		cmocka_unit_test(a_faulted_mapping_merges_only_where_it_is_back_in_line),
		cmocka_unit_test(an_unfaulted_neighbour_takes_over_the_family),
		cmocka_unit_test(two_unfaulted_neighbours_become_one_with_the_moved),
		cmocka_unit_test(a_fork_child_merges_with_its_own_only),
		cmocka_unit_test(parts_of_a_mapping_move_and_the_rest_stays),
		cmocka_unit_test(an_unfaulted_mapping_may_merge_with_itself),
		cmocka_unit_test(fixed_replaces_what_is_there),
		cmocka_unit_test(fixed_into_another_part_of_the_same_mapping),
		cmocka_unit_test(fixed_shrinks_over_whatever_follows),
		cmocka_unit_test(fixed_shrinks_within_a_larger_mapping),
		cmocka_unit_test(fixed_next_to_a_tail_that_empties_its_table),
		cmocka_unit_test(fixed_onto_what_has_a_table_of_its_own),
		cmocka_unit_test(tables_that_nobody_needs_any_more_go),
		cmocka_unit_test(dontunmap_leaves_an_empty_mapping_without_family),
		cmocka_unit_test(dontunmap_of_a_part_keeps_the_family),
		cmocka_unit_test(dontunmap_works_on_files_and_takes_the_lock_off),
		cmocka_unit_test(dontunmap_of_a_source_that_merges_away),
		cmocka_unit_test(a_file_mapping_keeps_its_pages_of_the_file),
		cmocka_unit_test(growth_over_the_end_of_all_files_is_sigbus),
		cmocka_unit_test(old_len_0_maps_shared_memory_again),
		cmocka_unit_test(special_mappings_move_but_do_not_grow),
		cmocka_unit_test(limits_are_those_of_mremap),
		cmocka_unit_test(the_limit_of_vmas_is_approached_no_closer_than_linux_does),
		cmocka_unit_test(promises_follow_the_memory),
		cmocka_unit_test(a_growth_that_fails_changes_nothing),
		cmocka_unit_test(a_move_that_fails_changes_nothing_and_keeps_the_target),
		cmocka_unit_test(leaving_behind_and_moving_anywhere_fail_cleanly),
		cmocka_unit_test(notifiers_hear_of_the_old_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
