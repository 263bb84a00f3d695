/* SPDX-License-Identifier: MIT */
/* Page tables: the cursor, making and freeing tables, and the gather (R12). */
#include "world.h"

#include "lock.h"
#include "mmu_gather.h"
#include "page.h"
#include "random.h"

#define LEAF_SPAN (PAGE * AVM_TABLE_ENTRIES)
#define UPPER_SPAN (LEAF_SPAN * AVM_TABLE_ENTRIES)
#define BASE (UPPER_SPAN * 1000)

/* An entry that needs no page and no VMA. Tests take theirs away again before the machine is verified. */
static avm_pte_t bare(uint64_t n)
{
	return avm_pte_mkspecial(avm_pte_make(0x100000 + n, AVM_VM_READ));
}

static uint64_t tables(struct world *w)
{
	return atomic_load(&w->mm->tables);
}

static void lock(struct world *w)
{
	assert_int_equal(avm_mmap_write_lock(w->mm), 0);
}

static void open_locked(struct world *w)
{
	world_open(w);
	lock(w);
}

/* Everything that the test made is to be gone without its help. */
static void close_locked(struct world *w)
{
	avm_mmap_write_unlock(w->mm);
	world_close(w);
}

static void put_entry(struct world *w, avm_addr_t addr, avm_pte_t pte)
{
	struct avm_ptc c;

	assert_int_equal(avm_ptc_make(&c, w->mm, addr), 0);
	avm_ptc_lock(&c);
	avm_ptc_set(&c, pte);
	avm_ptc_unlock(&c);
}

static void free_between(struct world *w, avm_addr_t start, avm_addr_t end, avm_addr_t floor,
			 avm_addr_t ceiling)
{
	struct avm_gather g;

	avm_gather_begin(&g, w->mm);
	avm_tables_free(&g, start, end, floor, ceiling);
	avm_gather_finish(&g);
}

static void free_all(struct world *w)
{
	free_between(w, 0, w->mm->task_size, 0, w->mm->task_size);
	assert_int_equal(tables(w), 1);
}

/* ---- finding and making -------------------------------------------------------------------------------- */

static void an_address_space_begins_with_the_root_alone(void **state)
{
	struct world w;
	struct avm_ptc c;

	(void)state;
	open_locked(&w);
	assert_int_equal(tables(&w), 1);
	assert_int_equal(w.mm->root_table->u.table.level, AVM_TABLE_LEVELS - 1);
	assert_int_equal(w.mm->root_table->mapping, (uintptr_t)w.mm);
	assert_int_equal(avm_mm_root(w.mm), w.mm->root_table->pfn);
	assert_false(avm_ptc_at(&c, w.mm, BASE));
	assert_false(avm_ptc_first(&c, w.mm, 0, w.mm->task_size));
	close_locked(&w);
}

static void make_fills_the_way_down_once(void **state)
{
	struct world w;
	struct avm_ptc c;

	(void)state;
	open_locked(&w);
	assert_int_equal(avm_ptc_make(&c, w.mm, BASE + 5 * PAGE), 0);
	assert_int_equal(tables(&w), AVM_TABLE_LEVELS);
	assert_int_equal(c.addr, BASE + 5 * PAGE);
	assert_int_equal(c.stop, c.addr + PAGE);
	assert_true(avm_page_test(c.table, AVM_PG_TABLE));
	assert_int_equal(c.table->u.table.level, 0);
	assert_int_equal(c.table->index, BASE);
	assert_true(avm_pte_empty(avm_ptc_get(&c)));
	assert_int_equal(avm_ptc_make(&c, w.mm, BASE), 0);
	assert_int_equal(tables(&w), AVM_TABLE_LEVELS);
	assert_int_equal(avm_ptc_make(&c, w.mm, BASE + LEAF_SPAN), 0);
	assert_int_equal(tables(&w), AVM_TABLE_LEVELS + 1);
	free_all(&w);
	close_locked(&w);
}

static void a_table_comes_cleared(void **state)
{
	struct world w;
	struct avm_ptc c;

	(void)state;
	open_locked(&w);
	put_entry(&w, BASE, bare(0));
	assert_true(avm_ptc_at(&c, w.mm, BASE));
	avm_ptc_lock(&c);
	avm_ptc_clear(&c);
	avm_ptc_unlock(&c);
	free_all(&w); /* frames are given again, last freed first */
	assert_int_equal(avm_tables_make(w.mm, BASE, BASE + LEAF_SPAN), 0);
	assert_true(avm_ptc_first(&c, w.mm, BASE, BASE + LEAF_SPAN));
	assert_int_equal(c.stop - c.addr, LEAF_SPAN);
	for (; c.addr < c.stop; avm_ptc_step(&c))
		assert_true(avm_pte_empty(avm_ptc_get(&c)));
	free_all(&w);
	close_locked(&w);
}

static void make_fails_at_each_table_and_leaves_nothing_that_cannot_be_freed(void **state)
{
	struct world w;
	struct avm_ptc c;

	(void)state;
	open_locked(&w);
	for (uint64_t n = 1; n < AVM_TABLE_LEVELS; n++) {
		sim_fail_alloc(w.s, n, 1);
		assert_int_equal(avm_ptc_make(&c, w.mm, BASE), -AVM_ENOMEM);
		sim_fail_alloc(w.s, 0, 0);
		assert_int_equal(tables(&w), n);
		assert_false(avm_ptc_at(&c, w.mm, BASE));
		/* Upper tables without a leaf are no reason to stay. */
		free_between(&w, BASE, BASE + PAGE, 0, w.mm->task_size);
		assert_int_equal(tables(&w), 1);
	}
	close_locked(&w);
}

static void used_counts_entries_that_are_not_empty(void **state)
{
	struct world w;
	struct avm_ptc c;

	(void)state;
	open_locked(&w);
	put_entry(&w, BASE, bare(0));
	put_entry(&w, BASE + PAGE, bare(1));
	put_entry(&w, BASE + PAGE, bare(2));
	assert_true(avm_ptc_at(&c, w.mm, BASE + PAGE));
	assert_int_equal(c.table->u.table.used, 2);
	avm_ptc_lock(&c);
	assert_int_equal(avm_ptc_clear(&c), bare(2));
	assert_int_equal(avm_ptc_clear(&c), AVM_PTE_EMPTY);
	assert_int_equal(c.table->u.table.used, 1);
	avm_ptc_unlock(&c);
	put_entry(&w, BASE, AVM_PTE_EMPTY);
	assert_int_equal(c.table->u.table.used, 0);
	free_all(&w);
	close_locked(&w);
}

static void the_same_two_tables_can_be_locked_in_either_order(void **state)
{
	struct world w;
	struct avm_ptc a, b;

	(void)state;
	open_locked(&w);
	assert_int_equal(avm_ptc_make(&a, w.mm, BASE), 0);
	assert_int_equal(avm_ptc_make(&b, w.mm, BASE + LEAF_SPAN), 0);
	avm_ptc_lock_two(&a, &b);
	assert_int_equal(a.table->table_lock.word, 1);
	assert_int_equal(b.table->table_lock.word, 1);
	avm_ptc_unlock_two(&a, &b);
	avm_ptc_lock_two(&b, &a);
	avm_ptc_unlock_two(&b, &a);
	assert_int_equal(avm_ptc_make(&b, w.mm, BASE + PAGE), 0);
	avm_ptc_lock_two(&a, &b);
	avm_ptc_unlock_two(&a, &b);
	assert_int_equal(a.table->table_lock.word, 0);
	free_all(&w);
	close_locked(&w);
}

/* ---- walking ------------------------------------------------------------------------------------------- */

#define MODEL 300

static int by_addr(const void *a, const void *b)
{
	const avm_addr_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Addresses near and far from each other, sorted, each once. */
static size_t random_addresses(struct world *w, struct rng *rng, avm_addr_t *addr)
{
	static const uint64_t spread[] = { PAGE, LEAF_SPAN, UPPER_SPAN, UPPER_SPAN * 512 };
	avm_addr_t at = 0;
	size_t n = 0;

	for (size_t i = 0; i < MODEL; i++) {
		uint64_t far = spread[rng_below(rng, 4)];

		at = (at + far * rng_below(rng, 20)) % w->mm->task_size & AVM_PAGE_MASK;
		addr[i] = at;
	}
	qsort(addr, MODEL, sizeof(*addr), by_addr);
	for (size_t i = 0; i < MODEL; i++) {
		if (!n || addr[n - 1] != addr[i])
			addr[n++] = addr[i];
	}
	return n;
}

static void check_range(struct world *w, const avm_addr_t *addr, size_t n, avm_addr_t start,
			avm_addr_t end)
{
	struct avm_ptc c;
	size_t i = 0;

	while (i < n && addr[i] < start)
		i++;
	for (bool more = avm_ptc_first(&c, w->mm, start, end); more;
	     more = avm_ptc_next_table(&c)) {
		assert_in_range(c.addr, start, end - 1);
		assert_in_range(c.stop, c.addr + 1, end);
		assert_int_equal(c.addr / LEAF_SPAN, (c.stop - 1) / LEAF_SPAN);
		for (; c.addr < c.stop; avm_ptc_step(&c)) {
			if (avm_pte_empty(avm_ptc_get(&c)))
				continue;
			assert_true(i < n);
			assert_int_equal(c.addr, addr[i]);
			assert_int_equal(avm_ptc_get(&c), bare(i));
			i++;
		}
	}
	assert_true(i == n || addr[i] >= end);
}

static void a_walk_meets_every_entry_of_the_range_and_no_other(void **state)
{
	struct rng rng = { 1 };
	struct world w;

	(void)state;
	open_locked(&w);
	for (int round = 0; round < 20; round++) {
		avm_addr_t addr[MODEL];
		size_t n = random_addresses(&w, &rng, addr);

		for (size_t i = 0; i < n; i++)
			put_entry(&w, addr[i], bare(i));
		check_range(&w, addr, n, 0, w.mm->task_size);
		for (int i = 0; i < 50 && n; i++) {
			avm_addr_t start = addr[rng_below(&rng, n)] + PAGE * rng_below(&rng, 2);
			avm_addr_t end = addr[rng_below(&rng, n)] + PAGE * rng_below(&rng, 2);

			if (start < end)
				check_range(&w, addr, n, start, end);
		}
		for (size_t i = 0; i < n; i++)
			put_entry(&w, addr[i], AVM_PTE_EMPTY);
		free_all(&w);
	}
	close_locked(&w);
}

static void the_last_page_of_the_address_space_is_in_reach(void **state)
{
	struct world w;
	struct avm_ptc c;
	avm_addr_t last;

	(void)state;
	open_locked(&w);
	last = w.mm->task_size - PAGE;
	put_entry(&w, last, bare(7));
	assert_true(avm_ptc_first(&c, w.mm, last, w.mm->task_size));
	assert_int_equal(c.addr, last);
	assert_int_equal(c.stop, w.mm->task_size);
	assert_false(avm_ptc_next_table(&c));
	put_entry(&w, last, AVM_PTE_EMPTY);
	/* Its tables reach beyond the end, where nobody is. */
	free_between(&w, last, w.mm->task_size, last - PAGE, w.mm->task_size);
	assert_int_equal(tables(&w), AVM_TABLE_LEVELS);
	free_between(&w, last, w.mm->task_size, 0, w.mm->task_size);
	assert_int_equal(tables(&w), 1);
	close_locked(&w);
}

static void a_range_that_ends_where_a_table_begins_does_not_meet_it(void **state)
{
	struct world w;
	struct avm_ptc c;

	(void)state;
	open_locked(&w);
	assert_int_equal(avm_ptc_make(&c, w.mm, BASE + LEAF_SPAN), 0);
	assert_false(avm_ptc_first(&c, w.mm, BASE, BASE + LEAF_SPAN));
	assert_true(avm_ptc_first(&c, w.mm, BASE, BASE + LEAF_SPAN + PAGE));
	assert_int_equal(c.addr, BASE + LEAF_SPAN);
	assert_false(avm_ptc_first(&c, w.mm, BASE + 2 * LEAF_SPAN, BASE + 3 * LEAF_SPAN));
	free_all(&w);
	close_locked(&w);
}

/* ---- freeing ------------------------------------------------------------------------------------------- */

static void a_table_stays_while_a_neighbour_may_use_it(void **state)
{
	avm_addr_t start = BASE + LEAF_SPAN, end = start + LEAF_SPAN;
	struct world w;

	(void)state;
	open_locked(&w);
	assert_int_equal(avm_tables_make(w.mm, start, end), 0);
	assert_int_equal(tables(&w), AVM_TABLE_LEVELS);
	free_between(&w, start + PAGE, end, start + PAGE, w.mm->task_size);
	assert_int_equal(tables(&w), AVM_TABLE_LEVELS);
	free_between(&w, start, end - PAGE, 0, end - PAGE);
	assert_int_equal(tables(&w), AVM_TABLE_LEVELS);
	/* The leaf fits exactly; the tables above it do not. */
	free_between(&w, start, end, start, end);
	assert_int_equal(tables(&w), AVM_TABLE_LEVELS - 1);
	free_between(&w, start, end, BASE, BASE + UPPER_SPAN);
	assert_int_equal(tables(&w), AVM_TABLE_LEVELS - 2);
	free_between(&w, start, end, 0, w.mm->task_size);
	assert_int_equal(tables(&w), 1);
	close_locked(&w);
}

static void tables_beyond_the_range_stay(void **state)
{
	struct world w;
	struct avm_ptc c;

	(void)state;
	open_locked(&w);
	assert_int_equal(avm_tables_make(w.mm, BASE, BASE + 3 * LEAF_SPAN), 0);
	free_between(&w, BASE + LEAF_SPAN, BASE + 2 * LEAF_SPAN, 0, w.mm->task_size);
	assert_true(avm_ptc_at(&c, w.mm, BASE));
	assert_false(avm_ptc_at(&c, w.mm, BASE + LEAF_SPAN));
	assert_true(avm_ptc_at(&c, w.mm, BASE + 2 * LEAF_SPAN));
	assert_int_equal(tables(&w), AVM_TABLE_LEVELS + 1);
	free_all(&w);
	close_locked(&w);
}

static void freed_frames_are_with_the_port_only_after_the_flush(void **state)
{
	struct world w;
	struct avm_gather g;
	uint64_t frames, flushes;

	(void)state;
	open_locked(&w);
	assert_int_equal(avm_tables_make(w.mm, BASE, BASE + LEAF_SPAN), 0);
	frames = sim_frames_used(w.s);
	flushes = event(&w, AVM_EV_TLB_FLUSH);
	avm_gather_begin(&g, w.mm);
	avm_tables_free(&g, BASE, BASE + PAGE, 0, w.mm->task_size);
	assert_int_equal(w.m->gathers_open, 1);
	assert_int_equal(tables(&w), 1);
	assert_int_equal(sim_frames_used(w.s), frames);
	assert_int_equal(event(&w, AVM_EV_TLB_FLUSH), flushes);
	/* A walk through any of the tables may be cached: the span of the topmost is flushed. */
	assert_true(g.start <= BASE && g.end >= BASE + LEAF_SPAN);
	avm_gather_finish(&g);
	assert_int_equal(sim_frames_used(w.s), frames - (AVM_TABLE_LEVELS - 1));
	assert_int_equal(event(&w, AVM_EV_TLB_FLUSH), flushes + 1);
	assert_int_equal(w.m->gathers_open, 0);
	close_locked(&w);
}

static void pages_are_gathered_up_to_a_batch_and_put_at_the_flush(void **state)
{
	struct world w;
	struct avm_gather g;
	uint64_t frames;

	(void)state;
	open_locked(&w);
	frames = sim_frames_used(w.s);
	avm_gather_begin(&g, w.mm);
	for (unsigned i = 1; i <= AVM_GATHER_BATCH; i++) {
		struct avm_page *page = avm_page_alloc(w.m, AVM_FRAME_USER);

		atomic_store(&page->mapcount, 1);
		avm_gather_flush_page(&g, BASE + i * PAGE, PAGE);
		assert_int_equal(avm_gather_page(&g, page), i == AVM_GATHER_BATCH);
	}
	assert_int_equal(sim_frames_used(w.s), frames + AVM_GATHER_BATCH);
	assert_int_equal(g.start, BASE + PAGE);
	assert_int_equal(g.end, BASE + (AVM_GATHER_BATCH + 1) * PAGE);
	avm_gather_flush(&g);
	assert_int_equal(sim_frames_used(w.s), frames);
	assert_true(g.start >= g.end);
	avm_gather_finish(&g);
	/* The second time there was nothing to flush. */
	assert_int_equal(event(&w, AVM_EV_TLB_FLUSH), 1);
	close_locked(&w);
}

/* ---- notifiers ------------------------------------------------------------------------------------------ */

struct told {
	struct avm_notifier n;
	avm_addr_t start, end;
	int open, calls;
};

static void told_start(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct told *t = (struct told *)n;

	t->start = start;
	t->end = end;
	t->open++;
	t->calls++;
}

static void told_end(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct told *t = (struct told *)n;

	assert_int_equal(t->start, start);
	assert_int_equal(t->end, end);
	t->open--;
}

static void every_notifier_is_told_before_and_after(void **state)
{
	struct told a = { .n = { .invalidate_start = told_start, .invalidate_end = told_end } };
	struct told b = { .n = { .invalidate_start = told_start } };
	struct world w;

	(void)state;
	world_open(&w);
	avm_notifier_add(w.mm, &a.n);
	avm_notifier_add(w.mm, &b.n);
	avm_notify_start(w.mm, BASE, BASE + PAGE);
	assert_int_equal(a.open, 1);
	assert_int_equal(b.start, BASE);
	avm_notify_end(w.mm, BASE, BASE + PAGE);
	assert_int_equal(a.open, 0);
	avm_notifier_del(w.mm, &a.n);
	avm_notify_start(w.mm, BASE, BASE + PAGE);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 2);
	avm_notifier_del(w.mm, &b.n);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_space_begins_with_the_root_alone),
		cmocka_unit_test(make_fills_the_way_down_once),
		cmocka_unit_test(a_table_comes_cleared),
		cmocka_unit_test(make_fails_at_each_table_and_leaves_nothing_that_cannot_be_freed),
		cmocka_unit_test(used_counts_entries_that_are_not_empty),
		cmocka_unit_test(the_same_two_tables_can_be_locked_in_either_order),
		cmocka_unit_test(a_walk_meets_every_entry_of_the_range_and_no_other),
		cmocka_unit_test(the_last_page_of_the_address_space_is_in_reach),
		cmocka_unit_test(a_range_that_ends_where_a_table_begins_does_not_meet_it),
		cmocka_unit_test(a_table_stays_while_a_neighbour_may_use_it),
		cmocka_unit_test(tables_beyond_the_range_stay),
		cmocka_unit_test(freed_frames_are_with_the_port_only_after_the_flush),
		cmocka_unit_test(pages_are_gathered_up_to_a_batch_and_put_at_the_flush),
		cmocka_unit_test(every_notifier_is_told_before_and_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
