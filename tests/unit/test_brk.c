/* SPDX-License-Identifier: MIT */
/* brk: the heap grows, shrinks, meets its limits and its neighbours. */
#include "ops.h"

/* An address space whose heap begins at BASE. */
static void open_heap(struct world *w)
{
	world_open(w);
	w->mm->brk_start = BASE;
	w->mm->brk = BASE;
}

static avm_addr_t brk_is(struct world *w)
{
	avm_addr_t out = 0;

	assert_int_equal(avm_brk(w->mm, 0, &out), 0);
	return out;
}

static int brk_to(struct world *w, avm_addr_t brk)
{
	avm_addr_t out = 0;
	int err = avm_brk(w->mm, brk, &out);

	assert_int_equal(out, brk_is(w));
	if (!err)
		assert_int_equal(out, brk);
	return err;
}

static void the_heap_grows_and_shrinks_by_pages_and_remembers_bytes(void **state)
{
	struct world w;

	(void)state;
	open_heap(&w);
	assert_int_equal(brk_is(&w), BASE);
	assert_int_equal(brk_to(&w, BASE + 1), 0);
	assert_layout(w.mm, BASE, "0+1:rw");
	assert_int_equal(brk_to(&w, BASE + 100), 0); /* the same page */
	assert_int_equal(brk_to(&w, AT(3)), 0);
	assert_layout(w.mm, BASE, "0+3:rw"); /* one VMA */
	mark(&w, 0, 3);
	assert_int_equal(brk_to(&w, AT(5) - 1), 0);
	assert_layout(w.mm, BASE, "0+5:rwF");
	assert_int_equal(w.mm->total_vm, 5);
	assert_int_equal(w.mm->data_vm, 5);
	assert_int_equal(brk_to(&w, AT(1) + 1), 0);
	assert_layout(w.mm, BASE, "0+2:rwF");
	assert_marked(&w, 0, 2, 0);
	assert_int_equal(brk_to(&w, AT(3)), 0);
	assert_int_equal(load(w.a, AT(2)), 0); /* fresh again */
	assert_int_equal(brk_to(&w, BASE), 0);
	assert_layout(w.mm, BASE, "");
	assert_int_equal(world_committed(&w), 0);
	world_close(&w);
}

static void below_the_start_and_without_a_heap_is_enomem(void **state)
{
	struct world w;

	(void)state;
	open_heap(&w);
	assert_int_equal(brk_to(&w, BASE - 1), -AVM_ENOMEM);
	assert_int_equal(brk_to(&w, AVM_ARCH_TASK_SIZE + 1), -AVM_ENOMEM);
	assert_int_equal(brk_to(&w, ~0ull), -AVM_ENOMEM);
	assert_int_equal(brk_is(&w), BASE);
	w.mm->brk_start = w.mm->brk = 0;
	assert_int_equal(brk_to(&w, BASE), -AVM_ENOMEM);
	assert_int_equal(brk_is(&w), 0);
	world_close(&w);
}

static void a_page_stays_free_above_the_heap(void **state)
{
	struct world w;

	(void)state;
	open_heap(&w);
	map(&w, 4, 1, RW);
	assert_int_equal(brk_to(&w, AT(4)), -AVM_ENOMEM);
	assert_int_equal(brk_to(&w, AT(3) + 1), -AVM_ENOMEM);
	assert_int_equal(brk_to(&w, AT(8)), -AVM_ENOMEM);
	assert_int_equal(brk_to(&w, AT(3)), 0);
	assert_layout(w.mm, BASE, "0+3:rw 4+1:rw");
	assert_int_equal(avm_munmap(w.mm, AT(4), PAGE), 0);
	map_at(w.mm, AT(300), 1, RW, ANON | AVM_MAP_GROWSDOWN, NULL,
	       0); /* and the guard of a stack */
	assert_int_equal(brk_to(&w, AT(300 - 256)), -AVM_ENOMEM);
	assert_int_equal(brk_to(&w, AT(300 - 257)), 0);
	world_close(&w);
}

static void limits_are_enomem(void **state)
{
	struct world w;

	(void)state;
	open_heap(&w);
	w.mm->limits.data = 4 * PAGE;
	assert_int_equal(brk_to(&w, AT(4) + 1), -AVM_ENOMEM);
	assert_int_equal(brk_to(&w, AT(4)), 0);
	w.mm->limits.data = AVM_NO_LIMIT;
	w.mm->limits.address_space = 5 * PAGE;
	assert_int_equal(brk_to(&w, AT(6)), -AVM_ENOMEM);
	assert_int_equal(brk_to(&w, AT(5)), 0);
	w.mm->limits.address_space = AVM_NO_LIMIT;
	assert_int_equal(avm_mlockall(w.mm, AVM_MCL_FUTURE), 0);
	w.mm->limits.locked = 2 * PAGE;
	assert_int_equal(brk_to(&w, AT(8)), -AVM_ENOMEM);
	assert_int_equal(brk_to(&w, AT(7)), 0);
	assert_layout(w.mm, BASE, "0+5:rw 5+2:rwLF");
	assert_int_equal(pte(w.mm, AT(6)).kind, AVM_PTE_PRESENT);
	world_close(&w);
}

static void promises_are_kept(void **state)
{
	struct world w;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 64,
						  .core = { .commit = AVM_COMMIT_STRICT,
							    .commit_reserve = 54 } });
	w.mm->brk_start = w.mm->brk = BASE;
	assert_int_equal(brk_to(&w, AT(11)), -AVM_ENOMEM);
	assert_int_equal(brk_to(&w, AT(10)), 0);
	assert_int_equal(world_committed(&w), 10);
	assert_int_equal(brk_to(&w, AT(4)), 0);
	assert_int_equal(world_committed(&w), 4);
	world_close(&w);
}

static void a_heap_that_was_unmapped_shrinks_no_more(void **state)
{
	struct world w;

	(void)state;
	open_heap(&w);
	assert_int_equal(brk_to(&w, AT(6)), 0);
	assert_int_equal(avm_munmap(w.mm, AT(4), 2 * PAGE), 0);
	assert_int_equal(brk_to(&w, AT(4)), -AVM_ENOMEM);
	assert_int_equal(brk_to(&w, AT(3)), 0);
	assert_layout(w.mm, BASE, "0+3:rw");
	world_close(&w);
}

static void the_heap_merges_with_what_it_continues(void **state)
{
	struct world w;

	(void)state;
	open_heap(&w);
	map(&w, 0, 2, RW);
	w.mm->brk_start = w.mm->brk = AT(2) - 1; /* in the last page of the bss, say */
	assert_int_equal(brk_to(&w, AT(4)), 0);
	assert_layout(w.mm, BASE, "0+4:rw");
	assert_int_equal(avm_mprotect(w.mm, AT(3), PAGE, AVM_PROT_READ), 0);
	assert_int_equal(brk_to(&w, AT(6)), 0);
	assert_layout(w.mm, BASE, "0+3:rw 3+1:r 4+2:rw");
	world_close(&w);
}

static void what_ends_where_the_heap_begins_is_not_the_heap(void **state)
{
	struct world w;

	(void)state;
	open_heap(&w);
	map(&w, 0, 2, RW);
	w.mm->brk_start = w.mm->brk = AT(2);
	assert_int_equal(brk_to(&w, AT(4)), 0);
	assert_layout(w.mm, BASE, "0+2:rw 2+2:rw");
	assert_int_equal(brk_to(&w, AT(5)), 0);
	assert_layout(w.mm, BASE, "0+2:rw 2+3:rw");
	assert_int_equal(brk_to(&w, AT(2)), 0);
	assert_int_equal(brk_to(&w, AT(3)), 0);
	assert_layout(w.mm, BASE, "0+2:rw 2+1:rw");
	/* Anybody else joins it. */
	assert_int_equal(brk_to(&w, AT(2)), 0);
	map(&w, 2, 2, RW);
	assert_layout(w.mm, BASE, "0+4:rw");
	world_close(&w);
}

static int grow_heap(struct world *w)
{
	avm_addr_t out;

	return avm_brk(w->mm, AT(4), &out);
}

static int shrink_heap(struct world *w)
{
	avm_addr_t out;

	return avm_brk(w->mm, AT(2), &out);
}

static void a_failure_changes_nothing(void **state)
{
	struct world w;

	(void)state;
	open_heap(&w);
	assert_true(fail_everywhere(&w, &(struct attempt){ grow_heap, -AVM_ENOMEM }) >= 2);
	mark(&w, 0, 4);
	map(&w, 4, 4, RW); /* adopted by the heap's VMA: to shrink is to split */
	assert_layout(w.mm, BASE, "0+8:rwF");
	assert_true(fail_everywhere(&w, &(struct attempt){ shrink_heap, -AVM_ENOMEM }) >= 2);
	assert_layout(w.mm, BASE, "0+2:rwF 4+4:rwF");
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_heap_grows_and_shrinks_by_pages_and_remembers_bytes),
		cmocka_unit_test(below_the_start_and_without_a_heap_is_enomem),
		cmocka_unit_test(a_page_stays_free_above_the_heap),
		cmocka_unit_test(limits_are_enomem),
		cmocka_unit_test(promises_are_kept),
		cmocka_unit_test(a_heap_that_was_unmapped_shrinks_no_more),
		cmocka_unit_test(the_heap_merges_with_what_it_continues),
		cmocka_unit_test(what_ends_where_the_heap_begins_is_not_the_heap),
		cmocka_unit_test(a_failure_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
