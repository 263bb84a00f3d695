/* SPDX-License-Identifier: MIT */
/* The machine: configuration, frames, references to pages, LRU lists, its end. */
#include "lru.h"
#include "page.h"
#include "panics.h"
#include "world.h"

/* ---- configuration --------------------------------------------------------------------------- */

static void zero_is_a_good_value_for_every_field(void **state)
{
	static struct avm m; /* no simulator around it: nothing may be done with it */

	(void)state;
	assert_int_equal(avm_init(&m, NULL), 0);
	assert_int_equal(m.config.max_map_count, 65530);
	assert_int_equal(m.config.fault_around, 16);
	assert_int_equal(m.config.stack_guard, 256);
	assert_int_equal(m.config.family, AVM_FAMILY_REUSE);
	assert_int_equal(avm_init(&m, &(struct avm_config){ .no_stack_guard = true,
							    .context = &m,
							    .fault_around = 512 }),
			 0);
	assert_int_equal(m.config.stack_guard, 0);
	assert_ptr_equal(m.context, &m);
}

static void fields_out_of_range_are_einval(void **state)
{
	static struct avm m;
	const struct avm_config bad[] = {
		{ .family = (enum avm_family_policy)3 },
		{ .family = (enum avm_family_policy) - 1 },
		{ .commit = (enum avm_commit_policy)2 },
		{ .fault_around = 3 },
		{ .fault_around = 1024 },
		{ .max_map_count = UINT32_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(avm_init(&m, &bad[i]), -AVM_EINVAL);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void regions_must_be_something_and_new(void **state)
{
	struct world w;
	struct avm_region r, behind, before;
	static struct avm_page pages[4], more[2];
	avm_pfn_t first, count;

	(void)state;
	world_open(&w);
	first = w.m->regions->first;
	count = w.m->regions->count;
	assert_int_equal(avm_add_frames(w.m, &r, first + count, 0, pages), -AVM_EINVAL);
	assert_int_equal(avm_add_frames(w.m, &r, first + count, 4, NULL), -AVM_EINVAL);
	assert_int_equal(avm_add_frames(w.m, &r, first + count - 1, 4, pages), -AVM_EINVAL);
	assert_int_equal(avm_add_frames(w.m, &r, first + 5, 4, pages), -AVM_EINVAL);
	assert_int_equal(avm_add_frames(w.m, &r, AVM_PFN_NONE - 1, 4, pages), -AVM_EINVAL);
	assert_null(avm_page_of(w.m, first + count));
	assert_null(avm_page_of(w.m, AVM_PFN_NONE));
	assert_int_equal(avm_add_frames(w.m, &r, first + count + 10, 4, pages), 0);
	assert_null(avm_page_of(w.m, first + count + 9));
	assert_ptr_equal(avm_page_of(w.m, first + count + 10), &pages[0]);
	assert_ptr_equal(avm_page_of(w.m, first + count + 13), &pages[3]);
	assert_null(avm_page_of(w.m, first + count + 14));
	assert_int_equal(avm_add_frames(w.m, &behind, first + count + 14, 1, &more[0]), 0);
	assert_int_equal(avm_add_frames(w.m, &before, first + count + 9, 1, &more[1]), 0);
	assert_ptr_equal(avm_page_of(w.m, first + count + 14), &more[0]);
	assert_int_equal(avm_page_of(w.m, first + 7)->pfn, first + 7);
	assert_int_equal(atomic_load(&w.m->frames_total), count + 6);
	world_close(&w);
}

static void without_a_zero_page_no_region_is_taken(void **state)
{
	struct world w;
	struct avm_region r;
	struct avm_page *pages;
	avm_pfn_t first;
	uint64_t count;

	(void)state;
	world_open(&w);
	first = w.m->regions->first;
	count = w.m->regions->count;
	pages = w.m->regions->pages;
	sim_proc_exit(w.a);
	assert_int_equal(avm_fini(w.m), 0);
	assert_int_equal(sim_frames_used(w.s), 0);

	assert_int_equal(avm_init(w.m, NULL), 0);
	sim_fail_alloc(w.s, 1, 1);
	assert_int_equal(avm_add_frames(w.m, &r, first, count, pages), -AVM_ENOMEM);
	assert_null(w.m->regions);
	assert_null(w.m->zero_page);
	assert_int_equal(atomic_load(&w.m->frames_total), 0);
	assert_int_equal(avm_add_frames(w.m, &r, first, count, pages), 0);
	assert_true(has_flag(w.m->zero_page, AVM_PG_ZERO));
	assert_int_equal(avm_cpu_sum(w.m, &w.m->cpus[0].frames_used), 1);
	world_close(&w);
}

static void a_machine_in_use_does_not_end(void **state)
{
	struct world w;
	struct avm_page *page;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_fini(w.m), -AVM_EBUSY);
	map_anon(w.mm, 1, RW);
	world_check(&w); /* nothing has been freed */
	sim_proc_exit(w.a);
	page = avm_page_alloc(w.m, AVM_FRAME_USER);
	assert_int_equal(avm_fini(w.m), -AVM_EBUSY);
	avm_page_put(w.m, page);
	world_close(&w);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void a_page_lives_as_long_as_somebody_holds_it(void **state)
{
	struct world w;
	struct avm_page *page;
	uint64_t used;

	(void)state;
	world_open(&w);
	used = sim_frames_used(w.s);
	page = avm_page_alloc(w.m, AVM_FRAME_USER);
	assert_int_equal(avm_page_flags(page), AVM_PG_INUSE);
	assert_int_equal(avm_page_refs(page), 1);
	avm_page_get(page);
	assert_true(avm_page_tryget(page));
	avm_page_put(w.m, page);
	avm_page_put(w.m, page);
	assert_int_equal(sim_frames_used(w.s), used + 1);
	atomic_store(&page->mapping, (uintptr_t)&w | AVM_MAPPING_ANON);
	atomic_store(&page->index, 5);
	avm_page_set(page, AVM_PG_DIRTY);
	avm_page_put(w.m, page);
	assert_int_equal(sim_frames_used(w.s), used);
	assert_int_equal(avm_page_flags(page), 0);
	assert_int_equal(atomic_load(&page->mapcount), 0);
	assert_int_equal(atomic_load(&page->mapping), 0);
	assert_int_equal(atomic_load(&page->index), 0);
	assert_false(avm_page_tryget(page));
	world_close(&w);
}

static void tables_are_counted_apart(void **state)
{
	struct world w;
	struct avm_page *page;
	uint64_t tables;

	(void)state;
	world_open(&w);
	tables = avm_cpu_sum(w.m, &w.m->cpus[0].tables_used);
	page = avm_page_alloc(w.m, AVM_FRAME_TABLE);
	assert_int_equal(avm_page_flags(page), AVM_PG_INUSE | AVM_PG_TABLE);
	assert_int_equal(avm_cpu_sum(w.m, &w.m->cpus[0].tables_used), tables + 1);
	avm_page_put(w.m, page);
	assert_int_equal(avm_cpu_sum(w.m, &w.m->cpus[0].tables_used), tables);
	sim_fail_alloc(w.s, 1, 1);
	assert_null(avm_page_alloc(w.m, AVM_FRAME_TABLE));
	assert_int_equal(avm_cpu_sum(w.m, &w.m->cpus[0].tables_used), tables);
	world_close(&w);
}

static struct world *panicking;

static void put_it(void *page)
{
	avm_page_put(panicking->m, page);
}

static void a_put_too_many_is_noticed(void **state)
{
	struct world w;
	struct avm_page *page;

	(void)state;
	world_open(&w);
	panicking = &w;
	page = avm_page_alloc(w.m, AVM_FRAME_USER);
	atomic_store(&page->mapcount, 1);
	assert_true(panics(put_it, page)); /* freed while it is mapped */
	atomic_store(&page->mapcount, 0);
	avm_page_put(w.m, page);
	assert_true(panics(put_it, page));
	world_close(&w);
}

static unsigned released;

static void count_release(struct avm *m, struct avm_page *page)
{
	assert_non_null(m);
	assert_true(avm_page_is_anon(page)); /* it can still be asked whose it was */
	released++;
}

static void the_family_is_told_of_anonymous_pages_that_go(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	w.m->page_release = count_release;
	a = map_anon(w.mm, 3, RW);
	store(w.a, a, 1);
	store(w.a, a + PAGE, 1);
	load(w.a, a + 2 * PAGE);
	avm_munmap(w.mm, a, 3 * PAGE);
	assert_int_equal(released, 2);
	w.m->page_release = NULL;
	world_close(&w);
}

/* ---- LRU lists ------------------------------------------------------------------------------- */

/* A page read from swap that goes out of the swap cache before it is mapped; see "a list of pages" in docs/checker.md. */
static void a_page_stays_on_the_list_it_came_to(void **state)
{
	struct world w;
	struct avm_page *page;

	(void)state;
	world_open(&w);
	page = avm_page_alloc(w.m, AVM_FRAME_USER);
	avm_page_set(page, AVM_PG_SWAPCACHE);
	avm_lru_add(w.m, page);
	avm_page_clear(page, AVM_PG_SWAPCACHE);
	assert_int_equal(w.m->cpus[0].lru_count[AVM_LRU_INACTIVE_ANON], 1);
	assert_true(avm_lru_isolate_page(w.m, page));
	avm_lru_putback(w.m, page, AVM_PUTBACK_SAME);
	assert_int_equal(w.m->cpus[0].lru_count[AVM_LRU_INACTIVE_ANON], 1);
	avm_page_put(w.m, page);
	for (int l = 0; l < AVM_NR_LRU; l++)
		assert_int_equal(w.m->cpus[0].lru_count[l], 0);
	world_close(&w);
}

static void pages_stand_on_the_list_of_their_kind(void **state)
{
	struct world w;
	struct avm_page *page;
	const struct {
		uint32_t flags;
		uintptr_t mapping;
		enum avm_lru lru;
	} kinds[] = {
		{ 0, AVM_MAPPING_ANON, AVM_LRU_INACTIVE_ANON },
		{ 0, 0, AVM_LRU_INACTIVE_FILE },
		{ AVM_PG_SHMEM, 0, AVM_LRU_INACTIVE_ANON },
		{ AVM_PG_UNEVICTABLE, 0, AVM_LRU_UNEVICTABLE },
		{ AVM_PG_ACTIVE, 0, AVM_LRU_INACTIVE_FILE }, /* new ones have to earn it */
	};

	(void)state;
	world_open(&w);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		page = avm_page_alloc(w.m, AVM_FRAME_USER);
		atomic_store(&page->mapping, kinds[i].mapping);
		avm_page_set(page, kinds[i].flags);
		avm_lru_add(w.m, page);
		assert_int_equal(w.m->cpus[0].lru_count[kinds[i].lru], 1);
		assert_ptr_equal(w.m->cpus[0].lru[kinds[i].lru].next, &page->lru);
		avm_lru_set_unevictable(w.m, page, true);
		assert_int_equal(w.m->cpus[0].lru_count[AVM_LRU_UNEVICTABLE], 1);
		avm_lru_set_unevictable(w.m, page, false);
		assert_int_equal(w.m->cpus[0].lru_count[AVM_LRU_UNEVICTABLE], 0);
		avm_lru_del(w.m, page);
		avm_lru_del(w.m, page); /* on none: nothing */
		for (int l = 0; l < AVM_NR_LRU; l++)
			assert_int_equal(w.m->cpus[0].lru_count[l], 0);
		avm_lru_set_unevictable(w.m, page, true); /* on none: the flag only */
		assert_true(has_flag(page, AVM_PG_UNEVICTABLE));
		assert_false(has_flag(page, AVM_PG_LRU));
		avm_lru_add(w.m, page);
		avm_page_put(w.m, page); /* the last put takes it off */
		assert_int_equal(w.m->cpus[0].lru_count[AVM_LRU_UNEVICTABLE], 0);
	}
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zero_is_a_good_value_for_every_field),
		cmocka_unit_test(fields_out_of_range_are_einval),
		cmocka_unit_test(regions_must_be_something_and_new),
		cmocka_unit_test(without_a_zero_page_no_region_is_taken),
		cmocka_unit_test(a_machine_in_use_does_not_end),
		cmocka_unit_test(a_page_lives_as_long_as_somebody_holds_it),
		cmocka_unit_test(tables_are_counted_apart),
		cmocka_unit_test(a_put_too_many_is_noticed),
		cmocka_unit_test(the_family_is_told_of_anonymous_pages_that_go),
		cmocka_unit_test(a_page_stays_on_the_list_it_came_to),
		cmocka_unit_test(pages_stand_on_the_list_of_their_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
