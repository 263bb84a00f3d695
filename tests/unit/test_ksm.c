/* SPDX-License-Identifier: MIT */
/* test_ksm.c - same-page merging: R15, and what merged pages are to everybody else. */
#include "ops.h"
#include "random.h"
#include "rmap.h"

#include "merged.h"

#define ROUND UINT64_MAX

static struct world w;
static struct avm_swap_device *swap;

static void open_with(uint64_t frames)
{
	world_open_with(&w, &(struct sim_config){ .frames = frames, .check_tlb = true });
	assert_int_equal(sim_swap_add(w.s, &(struct sim_swap_config){ .slots = 1024 }, &swap), 0);
}

static void open_world(void)
{
	open_with(512);
}

static struct sim_proc *process(void)
{
	struct sim_proc *p;

	assert_int_equal(sim_proc_create(w.s, NULL, &p), 0);
	return p;
}

static struct sim_proc *fork_of(struct sim_proc *p)
{
	struct sim_proc *child;

	assert_int_equal(sim_proc_fork(p, &child), 0);
	return child;
}

static int advise(struct sim_proc *p, unsigned page, unsigned pages, enum avm_advice advice)
{
	return avm_madvise(sim_mm(p), AT(page), pages * PAGE, advice);
}

/* Mergeable memory, each page filled with `c`. */
static void memory(struct sim_proc *p, unsigned page, unsigned pages, unsigned char c)
{
	map_at(sim_mm(p), AT(page), pages, RW, ANON, NULL, 0);
	assert_int_equal(advise(p, page, pages, AVM_MADV_MERGEABLE), 0);
	for (unsigned i = page; i < page + pages; i++)
		store(p, AT(i), c);
}

static struct avm_page *page_of(struct sim_proc *p, unsigned page)
{
	return page_at(sim_mm(p), AT(page));
}

static bool same_frame(struct sim_proc *a, unsigned i, struct sim_proc *b, unsigned j)
{
	return page_of(a, i) == page_of(b, j);
}

/* Two rounds: what has not changed for one is merged. */
static int64_t scan(void)
{
	int64_t merged = avm_ksm_scan(w.m, ROUND);

	assert_true(merged >= 0);
	world_check(&w);
	merged += avm_ksm_scan(w.m, ROUND);
	world_check(&w);
	return merged;
}

static void expect_sharing(uint64_t pages, uint64_t places)
{
	struct avm_stats s;

	avm_stats(w.m, &s);
	assert_int_equal(s.ksm_pages_shared, pages);
	assert_int_equal(s.ksm_pages_sharing, places);
}

static void close_world(void)
{
	world_close(&w);
}

/* A second process with the same page: merged. */
static struct sim_proc *merged_pair(unsigned char c)
{
	struct sim_proc *b = process();

	memory(w.a, 0, 1, c);
	memory(b, 7, 1, c);
	assert_int_equal(scan(), 1);
	assert_true(same_frame(w.a, 0, b, 7));
	return b;
}

/* ---- merging ------------------------------------------------------------------------------------------- */

static void equal_pages_of_two_processes_get_one_frame(void **state)
{
	struct sim_proc *b;
	uint64_t frames;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 1, 5);
	memory(b, 7, 1, 5);
	frames = sim_frames_used(w.s);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	assert_false(same_frame(w.a, 0, b, 7));
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 1);
	assert_true(same_frame(w.a, 0, b, 7));
	assert_int_equal(sim_frames_used(w.s), frames - 1);
	assert_true(avm_page_is_merged(page_of(b, 7)));
	assert_false(pte(w.mm, AT(0)).write || pte(sim_mm(b), AT(7)).write);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 1);
	assert_int_equal(rss(sim_mm(b), AVM_RSS_ANON), 1);
	assert_int_equal(event(&w, AVM_EV_KSM_MERGED), 1);
	assert_int_equal(event(&w, AVM_EV_KSM_SCANNED), 4);
	expect_sharing(1, 2);
	assert_int_equal(scan(), 0);
	assert_int_equal(event(&w, AVM_EV_KSM_SCANNED), 4); /* merged pages are passed by */
	close_world();
}

static void equal_pages_of_one_process_get_one_frame(void **state)
{
	(void)state;
	open_world();
	memory(w.a, 0, 4, 5);
	memory(w.a, 4, 2, 6);
	memory(w.a, 6, 1, 7);
	assert_int_equal(scan(), 4);
	for (unsigned i = 1; i < 4; i++)
		assert_true(same_frame(w.a, 0, w.a, i));
	assert_true(same_frame(w.a, 4, w.a, 5));
	assert_false(avm_page_is_merged(page_of(w.a, 6)));
	expect_sharing(2, 6);
	close_world();
}

static void what_is_not_marked_is_left_alone(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 2, 5);
	memory(b, 0, 1, 6);
	map_at(sim_mm(b), AT(10), 1, RW, ANON, NULL, 0);
	store(b, AT(10), 6);
	map_at(sim_mm(b), AT(20), 1, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	assert_int_equal(advise(b, 20, 1, AVM_MADV_MERGEABLE), 0);
	store(b, AT(20), 6);
	assert_int_equal(scan(), 1);
	assert_false(avm_page_is_merged(page_of(b, 0)));
	close_world();
}

/* The page was a candidate, and its frame is somebody's who does not want it merged by the time an equal one comes. */
static void a_candidates_frame_may_be_anybodys_later(void **state)
{
	struct sim_proc *b, *c;
	struct avm_page *page;
	unsigned i = 0;

	(void)state;
	open_world();
	b = process();
	c = process();
	memory(w.a, 0, 1, 5);
	memory(b, 0, 1, 5);
	map_at(sim_mm(c), AT(0), 400, RW, ANON, NULL, 0);
	store(c, AT(i++), 1);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	assert_int_equal(avm_ksm_scan(w.m, 1), 0);
	page = page_of(w.a, 0);
	assert_int_equal(avm_munmap(w.mm, AT(0), PAGE), 0);
	while (!atomic_load(&page->refcount))
		store(c, AT(i++), 5);
	assert_ptr_equal(page_of(c, i - 1), page);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	assert_false(avm_page_is_merged(page));
	assert_int_equal(event(&w, AVM_EV_RACE_KSM_CHANGED), 1);
	close_world();
}

/* What was a candidate in this round is another page by now. It is not to be found under the hash of then. */
/* Or a file's, mapped where merging looks: anybody's, too, and without a family. */
static void a_candidates_frame_may_be_a_files_later(void **state)
{
	struct test_file *tf;
	struct sim_proc *b, *c;
	struct avm_page *page;
	unsigned i = 0;

	(void)state;
	open_world();
	tf = test_file_open(&w, 400 * PAGE);
	b = process();
	c = process();
	memory(w.a, 0, 1, 5);
	memory(b, 0, 1, 5);
	map_at(sim_mm(c), AT(0), 400, RW, AVM_MAP_PRIVATE, &tf->file, 0);
	assert_int_equal(advise(c, 0, 400, AVM_MADV_MERGEABLE), 0);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	assert_int_equal(avm_ksm_scan(w.m, 1), 0);
	page = page_of(w.a, 0);
	assert_int_equal(avm_munmap(w.mm, AT(0), PAGE), 0);
	while (!atomic_load(&page->refcount))
		load(c, AT(i++));
	assert_false(avm_page_is_anon(page));
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	assert_false(has_flag(page, AVM_PG_LOCKED));
	assert_int_equal(avm_munmap(sim_mm(c), AT(0), 400 * PAGE), 0);
	test_file_close(tf);
	close_world();
}

static void a_candidate_that_changes_in_the_round_is_not_merged(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 1, 5);
	memory(b, 0, 1, 5);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	assert_int_equal(avm_ksm_scan(w.m, 1), 0);
	store(w.a, AT(0), 6);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	assert_int_equal(event(&w, AVM_EV_RACE_KSM_CHANGED), 1);
	assert_false(avm_page_is_merged(page_of(w.a, 0)));
	close_world();
}

static void a_page_that_changes_between_rounds_is_not_merged(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 1, 1);
	memory(b, 0, 8, 9);
	for (unsigned i = 1; i < 8; i++)
		store(b, AT(i), (unsigned char)i);
	for (unsigned char c = 1; c < 8; c++) {
		store(w.a, AT(0), c);
		assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	}
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 1);
	assert_true(same_frame(w.a, 0, b, 7));
	close_world();
}

static void a_call_looks_at_n_pages_and_the_next_goes_on(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 5, 1);
	memory(b, 0, 5, 1);
	for (unsigned i = 0; i < 5; i++) {
		store(w.a, AT(i), (unsigned char)(10 + i));
		store(b, AT(i), (unsigned char)(10 + i));
	}
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(avm_ksm_scan(w.m, 2), 0);
	assert_int_equal(event(&w, AVM_EV_KSM_SCANNED), 10);
	assert_int_equal(avm_ksm_scan(w.m, 5), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(avm_ksm_scan(w.m, 1), 1);
	assert_int_equal(event(&w, AVM_EV_KSM_SCANNED), 20);
	assert_int_equal(avm_ksm_scan(w.m, 0), 0);
	close_world();
}

static void nobody_left_of_the_round_begins_the_next(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	assert_int_equal(avm_ksm_scan(w.m, 7), 0);
	b = process();
	memory(w.a, 0, 1, 1);
	memory(b, 0, 2, 1);
	assert_int_equal(avm_ksm_scan(w.m, 2), 0);
	sim_proc_exit(b);
	assert_int_equal(avm_ksm_scan(w.m, 7), 0);
	assert_int_equal(event(&w, AVM_EV_KSM_SCANNED), 3);
	close_world();
}

static void a_page_has_so_many_places_and_not_more(void **state)
{
	(void)state;
	open_with(2048);
	memory(w.a, 0, 2 * AVM_MERGED_ITEMS + 88, 3);
	assert_int_equal(scan(), 2 * AVM_MERGED_ITEMS + 88 - 3);
	expect_sharing(3, 2 * AVM_MERGED_ITEMS + 88);
	assert_int_equal(avm_shrink_all(w.m), 3);
	world_check(&w);
	for (unsigned i = 0; i < 2 * AVM_MERGED_ITEMS + 88; i++)
		assert_int_equal(load(w.a, AT(i)), 3);
	close_world();
}

/* It is not looked for any more, and takes nothing with it when it goes. */
static void a_page_that_is_full_goes_alone(void **state)
{
	(void)state;
	open_with(2048);
	memory(w.a, 0, AVM_MERGED_ITEMS, 3);
	memory(w.a, AVM_MERGED_ITEMS, 2, 4);
	assert_int_equal(scan(), AVM_MERGED_ITEMS - 1 + 1);
	assert_int_equal(avm_munmap(w.mm, AT(0), AVM_MERGED_ITEMS * PAGE), 0);
	memory(w.a, 0, 1, 4);
	assert_int_equal(scan(), 1);
	expect_sharing(1, 3);
	close_world();
}

/* V27: an entry of it is never dirty, so nothing but the page can say that it is wanted. */
static void a_merged_page_is_nobodys_to_give_up(void **state)
{
	struct avm_page *page;
	struct sim_proc *b;

	(void)state;
	open_world();
	b = merged_pair(5);
	page = page_of(b, 7);
	assert_int_equal(advise(b, 7, 1, AVM_MADV_FREE), 0);
	assert_false(avm_page_test(page, AVM_PG_LAZYFREE));
	avm_page_set(page, AVM_PG_LAZYFREE);
	assert_int_equal(avm_verify(w.m, AVM_VERIFY_ALL, NULL), 1);
	avm_page_clear(page, AVM_PG_LAZYFREE | AVM_PG_DIRTY);
	assert_int_equal(avm_verify(w.m, AVM_VERIFY_ALL, NULL), 1);
	avm_page_set(page, AVM_PG_DIRTY);
	assert_int_equal(avm_shrink_all(w.m), 1);
	assert_int_equal(load(w.a, AT(0)) + load(b, AT(7)), 10);
	close_world();
}

/* ---- who must not be merged ------------------------------------------------------------------------------ */

static void locked_held_and_pinned_pages_stay(void **state)
{
	struct avm_page *page;
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 1, 5);
	memory(b, 0, 1, 5);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	for (unsigned i = 0; i < 2; i++) {
		page = page_of(i ? b : w.a, 0);
		atomic_fetch_or(&page->flags, AVM_PG_LOCKED);
		assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
		assert_int_equal(event(&w, AVM_EV_RACE_PAGE_LOCKED), i + 1);
		atomic_fetch_and(&page->flags, ~(uint32_t)AVM_PG_LOCKED);
		avm_page_get(page);
		assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
		atomic_store(&page->pins, 1);
		assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
		assert_int_equal(event(&w, AVM_EV_RACE_KSM_CHANGED), 2 * (i + 1));
		if (i)
			assert_true(is_exclusive(page) && pte(sim_mm(b), AT(0)).write);
		world_check(&w);
		avm_page_put(w.m, page);
		atomic_store(&page->pins, 0);
		store(i ? b : w.a, AT(0), 5);
	}
	assert_false(same_frame(w.a, 0, b, 0));
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 1);
	close_world();
}

struct rival {
	struct sim_proc *p;
	unsigned page;
	unsigned after; /* allocations */
	unsigned calls;
};

/* A store at an allocation, where the core lets others run. */
static void rival_stores(void *context, enum sim_at at)
{
	struct rival *r = context;

	if (at == SIM_AT_OBJECT_ALLOC && r->calls++ == r->after)
		store(r->p, AT(r->page), 99);
}

static void a_page_that_changes_while_it_is_merged_is_kept_apart(void **state)
{
	unsigned interrupted = 0;

	(void)state;
	for (unsigned n = 0; n < 10; n++) {
		struct rival r = { .page = 7, .after = n / 2 };
		struct sim_proc *b;

		open_world();
		b = process();
		memory(w.a, 0, 1, 5);
		memory(b, 7, 1, 5);
		assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
		r.p = n % 2 ? b : w.a;
		r.page = n % 2 ? 7 : 0;
		sim_set_interruption(w.s, rival_stores, &r);
		assert_true(avm_ksm_scan(w.m, ROUND) >= 0);
		sim_set_interruption(w.s, NULL, NULL);
		interrupted += r.calls > r.after;
		world_check(&w);
		assert_int_equal(load(w.a, AT(0)), r.calls > r.after && r.p == w.a ? 99 : 5);
		assert_int_equal(load(b, AT(7)), r.calls > r.after && r.p == b ? 99 : 5);
		close_world();
	}
	assert_true(interrupted >= 6);
}

/* What somebody does between two looks of the core at an entry: before the n-th lock of a table in a scan. */
struct race {
	enum {
		RACE_STORE,
		RACE_DISCARD,
		RACE_FORK,
		RACE_SWAP,
		NR_RACES,
	} what;
	struct sim_proc *p;
	unsigned page;
	unsigned at, seen;
	bool done; /* it has happened */
};

static bool family_is_free(struct sim_proc *p, unsigned page)
{
	struct avm_anon_vma *av = avm_vma_anon(avm_find_vma(sim_mm(p), AT(page)));

	return !atomic_load(&avm_family_root(av)->lock.word);
}

static void race_act(void *context, enum sim_at at)
{
	struct race *r = context;
	struct sim_proc *child;

	(void)at;
	switch (r->what) {
	case RACE_STORE:
		r->done = !sim_store(r->p, AT(r->page), "c", 1, NULL);
		break;
	case RACE_DISCARD:
		r->done = !advise(r->p, r->page, 1, AVM_MADV_DONTNEED);
		break;
	case RACE_FORK:
		/* He who would have to wait for the walk comes later. */
		if (!family_is_free(r->p, r->page))
			break;
		r->done = !sim_proc_fork(r->p, &child);
		break;
	default:
		r->done = avm_shrink(w.m, 1);
	}
}

static void race_event(void *context, int event, int lock_class, const volatile void *lock)
{
	struct race *r = context;
	avm_pfn_t pfn;

	(void)lock;
	if (event != AVM_LOCK_EV_WRITE || lock_class != AVM_LOCK_TABLE || r->seen++ != r->at)
		return;
	sim_set_interruption(w.s, race_act, r);
	pfn = avm_port_frame_alloc(w.m, AVM_FRAME_USER);
	sim_set_interruption(w.s, NULL, NULL);
	avm_port_frame_free(w.m, pfn);
}

static unsigned char raced(const struct race *r, struct sim_proc *p)
{
	if (p != r->p || !r->done || r->what > RACE_DISCARD)
		return 5;
	return r->what == RACE_STORE ? 'c' : 0;
}

/* False: the scan was over before. */
static bool race(struct race *r, bool of_b)
{
	struct sim_proc *b;

	open_world();
	b = process();
	memory(w.a, 0, 1, 5);
	memory(b, 7, 1, 5);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	r->p = of_b ? b : w.a;
	r->page = of_b ? 7 : 0;
	if (!sim_set_other_cpu(w.s, race_event, r))
		r->seen = 0;
	assert_true(avm_ksm_scan(w.m, ROUND) >= 0);
	sim_set_other_cpu(w.s, NULL, NULL);
	world_check(&w);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(load(w.a, AT(0)), raced(r, w.a));
		assert_int_equal(load(b, AT(7)), raced(r, b));
		assert_true(avm_ksm_scan(w.m, ROUND) >= 0);
		(void)avm_shrink_all(w.m);
		world_check(&w);
	}
	close_world();
	return r->seen > r->at;
}

static void whoever_comes_between_two_looks_finds_his_own(void **state)
{
	unsigned happened = 0, at = 0;
	bool more = true;

	(void)state;
	for (; more; at++) {
		more = false;
		for (unsigned i = 0; i < 2 * NR_RACES; i++) {
			struct race r = { .what = i / 2, .at = at };

			more |= race(&r, i % 2);
			happened += r.done;
		}
	}
#ifdef AVM_DEBUG
	assert_true(at > 5 && happened > 20);
#endif
}

/* ---- a merged page and its owners -------------------------------------------------------------------------- */

static void a_write_copies_away_and_the_others_keep_what_they_had(void **state)
{
	struct sim_proc *b;
	unsigned faults = 0;

	(void)state;
	open_world();
	b = merged_pair(5);
	store(b, AT(7), 6);
	assert_int_equal(load(w.a, AT(0)), 5);
	assert_int_equal(event(&w, AVM_EV_KSM_BROKEN), 1);
	world_check(&w);
	/* The last owner does not get it for himself: it is to be found by others. */
	assert_int_equal(sim_store(w.a, AT(0), "\7", 1, &faults), 0);
	assert_true(faults & AVM_FAULT_COW);
	assert_int_equal(load(b, AT(7)), 6);
	assert_int_equal(event(&w, AVM_EV_KSM_BROKEN), 2);
	expect_sharing(0, 0);
	world_check(&w);
	store(w.a, AT(0), 6);
	assert_int_equal(scan(), 1);
	assert_true(same_frame(w.a, 0, b, 7));
	close_world();
}

static void breaking_and_merging_again_takes_no_second_item(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = merged_pair(5);
	for (unsigned i = 0; i < 5; i++) {
		store(b, AT(7), 6);
		store(b, AT(7), 5);
		assert_int_equal(scan(), 1);
		expect_sharing(1, 2);
	}
	close_world();
}

static void fork_shares_a_merged_page_like_any(void **state)
{
	struct sim_proc *b, *c;

	(void)state;
	open_world();
	b = merged_pair(5);
	c = fork_of(b);
	world_check(&w);
	assert_true(same_frame(w.a, 0, c, 7));
	assert_int_equal(atomic_load(&page_of(c, 7)->mapcount), 3);
	assert_int_equal(avm_shrink_all(w.m), 1);
	world_check(&w);
	assert_int_equal(load(c, AT(7)), 5);
	assert_int_equal(load(b, AT(7)), 5);
	assert_int_equal(load(w.a, AT(0)), 5);
	world_check(&w);
	close_world();
}

/* After a write and another merge the child has an item of its own, and is in the tree of its parent's as well. */
static void a_place_that_two_items_lead_to_does_not_hide_another(void **state)
{
	struct avm_rmap_walk walk;
	struct avm_rmap_iter it;
	struct avm_page *page;
	struct sim_proc *b, *c;
	unsigned met = 0;
	uint64_t flags;

	(void)state;
	open_world();
	b = merged_pair(5);
	c = fork_of(b);
	store(c, AT(7), 6);
	store(c, AT(7), 5);
	assert_int_equal(scan(), 1);
	page = page_of(w.a, 0);
	assert_int_equal(atomic_load(&page->mapcount), 3);
	expect_sharing(1, 3);

	avm_page_lock(w.m, page);
	assert_int_equal(avm_rmap_begin(&walk, w.m, page, AVM_RESOLVE_WAIT), 0);
	while (avm_rmap_next(&walk))
		met++;
	avm_rmap_end(&walk);
	avm_page_unlock(w.m, page);
	assert_int_equal(met, 4);
	assert_int_equal(avm_rmap_iter_begin(w.m, &it, page), 0);
	while (avm_rmap_iter_next(w.m, &it))
		met--;
	avm_rmap_iter_end(w.m, &it);
	assert_int_equal(met, 0);

	(void)avm_rmap_referenced(w.m, page, &flags);
	(void)load(w.a, AT(0));
	assert_false(pte(sim_mm(b), AT(7)).young || pte(sim_mm(c), AT(7)).young);
	assert_int_equal(avm_shrink_all(w.m), 1);
	world_check(&w);
	assert_int_equal(load(w.a, AT(0)) + load(b, AT(7)) + load(c, AT(7)), 15);
	close_world();
}

static void pages_shared_by_fork_are_merged_one_by_one(void **state)
{
	struct sim_proc *b, *c;

	(void)state;
	open_world();
	memory(w.a, 0, 2, 5);
	b = fork_of(w.a);
	c = fork_of(b);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0); /* met three times, and seen in one round */
	assert_int_equal(scan(), 3);
	assert_true(same_frame(w.a, 0, w.a, 1));
	assert_true(same_frame(w.a, 0, c, 1));
	assert_int_equal(atomic_load(&page_of(b, 0)->mapcount), 6);
	sim_proc_exit(w.a);
	world_check(&w);
	store(b, AT(0), 8);
	assert_int_equal(avm_shrink_all(w.m), 2);
	world_check(&w);
	assert_int_equal(load(c, AT(0)), 5);
	assert_int_equal(load(b, AT(0)), 8);
	close_world();
}

static void the_family_lives_on_when_its_process_has_gone(void **state)
{
	struct avm_anon_vma *av;
	struct avm_stats s;
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(b, 7, 1, 5); /* scanned last: the page of `a` becomes the merged one */
	memory(w.a, 0, 1, 5);
	assert_int_equal(scan(), 1);
	av = atomic_load(&avm_find_vma(w.mm, AT(0))->anon_vma);
	assert_int_equal(atomic_load(&av->refcount), 2);
	sim_proc_exit(w.a);
	world_check(&w);
	assert_int_equal(atomic_load(&av->refcount), 1);
	avm_stats(w.m, &s);
	assert_int_equal(s.anon_vmas, 2);
	assert_int_equal(avm_shrink_all(w.m), 1);
	world_check(&w);
	avm_stats(w.m, &s);
	assert_int_equal(s.anon_vmas, 1);
	assert_int_equal(load(b, AT(7)), 5);
	close_world();
}

/* The root of an item's anon_vma is held by the member alone in the end. */
static void a_grandchilds_item_keeps_its_root(void **state)
{
	struct sim_proc *b, *c, *d;

	(void)state;
	open_world();
	memory(w.a, 0, 1, 4);
	b = fork_of(w.a);
	c = fork_of(b);
	store(c, AT(0), 5);
	d = process();
	memory(d, 9, 1, 5);
	assert_int_equal(scan(), 1);
	sim_proc_exit(w.a);
	sim_proc_exit(b);
	sim_proc_exit(c);
	world_check(&w);
	expect_sharing(1, 2);
	assert_int_equal(avm_shrink_all(w.m), 1);
	assert_int_equal(load(d, AT(9)), 5);
	close_world();
}

static void merged_pages_come_back_from_swap_private(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = merged_pair(5);
	assert_int_equal(avm_shrink_all(w.m), 1);
	world_check(&w);
	expect_sharing(0, 0);
	assert_int_equal(rss(w.mm, AVM_RSS_SWAP), 1);
	store(b, AT(7), 6);
	assert_int_equal(load(w.a, AT(0)), 5);
	world_check(&w);
	store(w.a, AT(0), 6);
	assert_int_equal(scan(), 1);
	close_world();
}

/* Met in the swap cache, still merged, it is copied. */
static void a_merged_page_in_the_swap_cache_is_copied(void **state)
{
	struct avm_page *page;
	struct sim_proc *b;

	(void)state;
	open_world();
	b = merged_pair(5);
	page = page_of(b, 7);
	avm_page_get(page); /* somebody looks at it: it stays in the cache */
	assert_int_equal(avm_shrink_all(w.m), 0);
	assert_int_equal(load(w.a, AT(0)), 5);
	assert_ptr_not_equal(page_of(w.a, 0), page);
	store(b, AT(7), 6);
	assert_int_equal(load(w.a, AT(0)), 5);
	avm_page_put(w.m, page);
	world_check(&w);
	expect_sharing(0, 0);
	close_world();
}

/* A page with a slot that it does not need: merged, it must not come back as what the slot has. */
static void a_page_of_the_swap_cache_can_be_merged(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 1, 5);
	memory(b, 0, 1, 5);
	assert_int_equal(avm_shrink_all(w.m), 2);
	assert_int_equal(load(w.a, AT(0)), 5);
	assert_int_equal(load(b, AT(0)), 5);
	assert_true(has_flag(page_of(w.a, 0), AVM_PG_SWAPCACHE));
	assert_int_equal(scan(), 1);
	assert_int_equal(avm_shrink_all(w.m), 1);
	world_check(&w);
	assert_int_equal(load(w.a, AT(0)), 5);
	assert_int_equal(load(b, AT(0)), 5);
	close_world();
}

/* The slot of the one has old contents, and the dirty bit that says so goes with its owner's entry. */
static void a_merged_page_is_not_what_its_slot_has(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 1, 5);
	memory(b, 0, 1, 7);
	assert_int_equal(avm_shrink_all(w.m), 2);
	assert_int_equal(load(w.a, AT(0)), 5);
	assert_int_equal(load(b, AT(0)), 7);
	store(w.a, AT(0), 7);
	assert_false(has_flag(page_of(w.a, 0), AVM_PG_DIRTY));
	assert_int_equal(scan(), 1);
	assert_true(has_flag(page_of(b, 0), AVM_PG_SWAPCACHE));
	store(w.a, AT(0), 9);
	assert_int_equal(avm_shrink_all(w.m), 2);
	assert_int_equal(load(b, AT(0)), 7);
	close_world();
}

static void what_madvise_free_gave_up_is_not_given_up_when_merged(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 1, 5);
	memory(b, 0, 1, 5);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	assert_int_equal(advise(w.a, 0, 1, AVM_MADV_FREE), 0);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 1);
	assert_false(has_flag(page_of(w.a, 0), AVM_PG_LAZYFREE));
	(void)avm_shrink_all(w.m);
	assert_int_equal(load(b, AT(0)), 5);
	close_world();
}

static void a_locked_vma_keeps_the_merged_page(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 1, 5);
	memory(b, 7, 1, 5);
	assert_int_equal(avm_mlock(sim_mm(b), AT(7), PAGE, 0), 0);
	assert_int_equal(scan(), 1);
	assert_true(has_flag(page_of(w.a, 0), AVM_PG_UNEVICTABLE));
	assert_int_equal(avm_shrink_all(w.m), 0);
	store(b, AT(7), 6);
	world_check(&w);
	assert_int_equal(avm_shrink_all(w.m), 1);
	assert_int_equal(load(w.a, AT(0)), 5);
	close_world();
}

static void a_merged_page_moves_with_all_its_places(void **state)
{
	struct sim_proc *b, *c;
	avm_pfn_t was;

	(void)state;
	open_world();
	b = merged_pair(5);
	c = fork_of(b);
	was = page_of(b, 7)->pfn;
	assert_int_equal(avm_migrate(w.m, was), 0);
	world_check(&w);
	assert_int_not_equal(page_of(b, 7)->pfn, was);
	assert_true(same_frame(w.a, 0, b, 7) && same_frame(b, 7, c, 7));
	assert_true(avm_page_is_merged(page_of(c, 7)));
	expect_sharing(1, 2);
	memory(w.a, 3, 1, 5);
	assert_int_equal(scan(), 1);
	assert_true(same_frame(w.a, 3, c, 7));
	store(c, AT(7), 6);
	assert_int_equal(avm_shrink_all(w.m), 2);
	assert_int_equal(load(w.a, AT(0)) + load(w.a, AT(3)) + load(b, AT(7)), 15);
	close_world();
}

static void a_merged_page_that_goes_bad_is_lost_to_all(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = merged_pair(5);
	assert_int_equal(avm_poison(w.m, page_of(b, 7)->pfn), 0);
	world_check(&w);
	expect_sharing(0, 0);
	assert_int_equal(pte(w.mm, AT(0)).kind, AVM_PTE_POISON);
	assert_int_equal(pte(sim_mm(b), AT(7)).kind, AVM_PTE_POISON);
	memory(w.a, 3, 2, 5);
	assert_int_equal(scan(), 1);
	close_world();
}

static void a_pin_makes_a_merged_page_private_and_keeps_it_so(void **state)
{
	struct avm_page *page;
	struct sim_proc *b;

	(void)state;
	open_world();
	b = merged_pair(5);
	assert_int_equal(avm_pin(w.mm, AT(0), 1, AVM_ACCESS_READ, &page), 1);
	assert_ptr_equal(page, page_of(w.a, 0));
	assert_false(avm_page_is_merged(page));
	assert_int_equal(scan(), 0);
	store(w.a, AT(0), 6);
	assert_int_equal(load(b, AT(7)), 5);
	assert_ptr_equal(page, page_of(w.a, 0));
	avm_unpin(w.m, &page, 1, AVM_UNPIN_CLEAN);
	close_world();
}

/* R5.4, R5.6: what a device writes to is not what others read, and is not taken away from its process either. */
static void a_pinned_candidate_stays_writable_where_it_is(void **state)
{
	struct avm_page *page;
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 1, 5);
	memory(b, 0, 1, 5);
	assert_int_equal(avm_pin(w.mm, AT(0), 1, AVM_ACCESS_WRITE, &page), 1);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
	assert_int_equal(event(&w, AVM_EV_RACE_KSM_CHANGED), 1);
	assert_true(is_exclusive(page) && pte(w.mm, AT(0)).write);
	store(w.a, AT(0), 6);
	assert_ptr_equal(page, page_of(w.a, 0));
	avm_unpin(w.m, &page, 1, AVM_UNPIN_CLEAN);
	close_world();
}

/* A second MMU: what the entry was when it was told that it changes, and has changed. */
struct second_mmu {
	struct avm_notifier n;
	struct sim_proc *p;
	unsigned page, starts, ends;
	bool was_writable, is_writable;
};

static void told_start(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct second_mmu *u = (struct second_mmu *)(void *)n;

	assert_true(start <= AT(u->page) && AT(u->page) < end);
	u->was_writable = pte(sim_mm(u->p), AT(u->page)).write;
	u->starts++;
}

static void told_end(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct second_mmu *u = (struct second_mmu *)(void *)n;

	assert_true(start <= AT(u->page) && AT(u->page) < end);
	u->is_writable = pte(sim_mm(u->p), AT(u->page)).write;
	u->ends++;
}

static void second_mmus_are_told_of_both_entries(void **state)
{
	struct second_mmu u[2];

	(void)state;
	open_world();
	for (unsigned i = 0; i < 2; i++) {
		u[i] = (struct second_mmu){ .n = { .invalidate_start = told_start,
						   .invalidate_end = told_end },
					    .p = i ? process() : w.a,
					    .page = 7 * i };
		memory(u[i].p, u[i].page, 1, 5);
		avm_notifier_add(sim_mm(u[i].p), &u[i].n);
	}
	assert_int_equal(scan(), 1);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(u[i].starts == 1 && u[i].ends == 1);
		assert_true(u[i].was_writable && !u[i].is_writable);
		avm_notifier_del(sim_mm(u[i].p), &u[i].n);
	}
	close_world();
}

/* ---- VMAs that change -------------------------------------------------------------------------------------- */

static void a_vma_that_is_split_or_moved_is_found_by_the_walk(void **state)
{
	avm_addr_t to;
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 6, 5);
	memory(b, 0, 6, 5);
	assert_int_equal(scan(), 11);
	assert_int_equal(avm_mprotect(w.mm, AT(2), 2 * PAGE, AVM_PROT_READ), 0);
	assert_int_equal(avm_munmap(sim_mm(b), AT(1), PAGE), 0);
	assert_int_equal(avm_mremap(sim_mm(b), AT(2), 2 * PAGE, 2 * PAGE,
				    AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED, AT(100), &to),
			 0);
	world_check(&w);
	assert_int_equal(atomic_load(&page_of(b, 100)->mapcount), 11);
	assert_int_equal(avm_shrink_all(w.m), 1);
	world_check(&w);
	assert_int_equal(pte(sim_mm(b), AT(100)).kind, AVM_PTE_SWAP);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(load(w.a, AT(i)), 5);
	assert_int_equal(load(b, AT(0)) + load(b, AT(100)) + load(b, AT(101)), 15);
	close_world();
}

static void unmergeable_makes_every_page_private(void **state)
{
	struct sim_proc *b;

	(void)state;
	open_world();
	b = process();
	memory(w.a, 0, 6, 5);
	memory(b, 0, 6, 5);
	assert_int_equal(scan(), 11);
	assert_int_equal(avm_mprotect(w.mm, AT(2), 2 * PAGE, AVM_PROT_READ), 0);
	assert_int_equal(avm_mprotect(w.mm, AT(4), 2 * PAGE, AVM_PROT_NONE), 0);
	assert_int_equal(avm_munmap(w.mm, AT(0), PAGE), 0);
	assert_int_equal(advise(w.a, 0, 6, AVM_MADV_UNMERGEABLE), -AVM_ENOMEM); /* a hole */
	world_check(&w);
	for (unsigned i = 1; i < 6; i++) {
		assert_false(avm_page_is_merged(page_of(w.a, i)));
		assert_false(avm_find_vma(w.mm, AT(i))->flags & AVM_VM_MERGEABLE);
	}
	assert_false(pte(w.mm, AT(2)).write || pte(w.mm, AT(4)).write);
	assert_int_equal(load(w.a, AT(1)) + load(w.a, AT(3)), 10);
	assert_int_equal(event(&w, AVM_EV_KSM_BROKEN), 5);
	assert_int_equal(scan(), 0);
	assert_int_equal(atomic_load(&page_of(b, 0)->mapcount), 6);
	assert_int_equal(advise(b, 0, 6, AVM_MADV_UNMERGEABLE), 0);
	expect_sharing(0, 0);
	close_world();
}

/* ---- failures ---------------------------------------------------------------------------------------------- */

static void merging_without_memory_leaves_everything_as_it_was(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (uint64_t n = 1;; n++) {
		uint64_t failed;
		struct sim_proc *b;
		int64_t merged;

		open_world();
		b = process();
		memory(w.a, 0, 2, 5);
		memory(b, 0, 2, 6);
		store(w.a, AT(1), 6);
		failed = sim_allocs_failed(w.s);
		sim_fail_alloc(w.s, n, 1);
		merged = avm_ksm_scan(w.m, ROUND);
		if (sim_allocs_failed(w.s) > failed)
			assert_int_equal(merged, -AVM_ENOMEM);
		world_check(&w);
		merged = avm_ksm_scan(w.m, ROUND);
		assert_true(merged >= 0 || merged == -AVM_ENOMEM);
		failed = sim_allocs_failed(w.s) - failed;
		sim_fail_alloc(w.s, 0, 0);
		world_check(&w);
		(void)scan();
		assert_int_equal(scan(), 0);
		assert_true(same_frame(w.a, 1, b, 1) && same_frame(b, 0, b, 1));
		expect_sharing(1, 3);
		close_world();
		if (!failed)
			break;
		failures++;
	}
	assert_true(failures >= 7);
}

/* Two pages, so that an allocation that fails always stands before the only success. */
static void merging_without_memory_says_so(void **state)
{
	int64_t merged = -AVM_ENOMEM;
	unsigned failures = 0;

	(void)state;
	for (uint64_t n = 1; merged < 0; n++) {
		struct sim_proc *b;
		uint64_t failed;

		open_world();
		b = process();
		memory(w.a, 0, 1, 5);
		memory(b, 0, 1, 5);
		assert_int_equal(avm_ksm_scan(w.m, ROUND), 0);
		failed = sim_allocs_failed(w.s);
		sim_fail_alloc(w.s, n, 1);
		merged = avm_ksm_scan(w.m, ROUND);
		failed = sim_allocs_failed(w.s) - failed;
		sim_fail_alloc(w.s, 0, 0);
		assert_int_equal(merged, failed ? -AVM_ENOMEM : 1);
		failures += failed > 0;
		close_world();
	}
	assert_true(failures >= 4);
}

static void unmerging_without_memory_can_be_asked_for_again(void **state)
{
	unsigned failures = 0;

	(void)state;
	for (uint64_t n = 1;; n++) {
		uint64_t failed;
		int err;

		open_world();
		memory(w.a, 0, 3, 5);
		assert_int_equal(scan(), 2);
		failed = sim_allocs_failed(w.s);
		sim_fail_alloc(w.s, n, 0);
		err = advise(w.a, 0, 2, AVM_MADV_UNMERGEABLE);
		sim_fail_alloc(w.s, 0, 0);
		failed = sim_allocs_failed(w.s) - failed;
		world_check(&w);
		if (failed) {
			assert_true(err == -AVM_ENOMEM || err == -AVM_EAGAIN);
			err = advise(w.a, 0, 2, AVM_MADV_UNMERGEABLE);
			failures++;
		}
		assert_int_equal(err, 0);
		assert_false(avm_page_is_merged(page_of(w.a, 0)));
		assert_false(avm_page_is_merged(page_of(w.a, 1)));
		assert_true(avm_page_is_merged(page_of(w.a, 2)));
		close_world();
		if (!failed)
			break;
	}
	assert_true(failures >= 3);
}

/* ---- verify -------------------------------------------------------------------------------------------------- */

struct report {
	struct avm_sink sink;
	const char *wanted;
	bool found;
};

static void report_line(struct avm_sink *sink, const char *line)
{
	struct report *r = (struct report *)(void *)sink;

	if (strstr(line, r->wanted))
		r->found = true;
}

static void expect_violation(const char *wanted)
{
	struct report r = { .sink = { .line = report_line }, .wanted = wanted };

	assert_true(avm_verify(w.m, AVM_VERIFY_ALL, &r.sink) > 0);
	if (!r.found)
		fail_msg("verify does not say \"%s\"", wanted);
}

static void verify_sees_what_is_wrong_with_merged_pages(void **state)
{
	struct avm_merged_item *item;
	struct avm_merged *node;
	struct avm_itree tree, *seen;
	struct avm_page *page;
	struct sim_proc *b;

	(void)state;
	open_world();
	b = merged_pair(5);
	memory(b, 20, 1, 9);
	assert_int_equal(scan(), 0);
	node = avm_page_merged(page_of(b, 7));
	item = atomic_load(&node->items);

	item->index++;
	expect_violation("V22: no item of a merged page leads to an entry that maps it");
	item->index--;
	atomic_fetch_add(&item->anon_vma->refcount, 1);
	expect_violation("V15: references of an anon_vma");
	atomic_fetch_sub(&item->anon_vma->refcount, 1);
	node->nr_items++;
	expect_violation("V40: items of a merged page");
	node->nr_items--;
	item->next->next = item;
	expect_violation("V40: an item is on two lists");
	item->next->next = (struct avm_merged_item *)(void *)node;
	expect_violation("V40: a list of items leads elsewhere");
	item->next->next = NULL;
	page = node->hashed.page;
	node->hashed.page = w.m->zero_page;
	expect_violation("V20: a merged page names a node that is not its own");
	node->hashed.page = page;
	atomic_store(&node->items, item->next);
	expect_violation("V40: an item is of no merged page");
	atomic_store(&node->items, item);

	tree = w.m->merged_pages;
	w.m->merged_pages.root = NULL;
	expect_violation("V40: a merged page cannot be found");
	w.m->merged_pages = tree;
	node->hashed.hash++;
	node->hashed.node.subtree_last--;
	expect_violation("V40");
	node->hashed.node.subtree_last++;
	node->hashed.hash--;
	seen = &w.m->ksm.seen[!w.m->ksm.seen[0].root];
	tree = *seen;
	seen->root = NULL;
	expect_violation("V40: what merging remembers is in no tree of it");
	seen->root = &node->hashed.node;
	expect_violation("V40: a link of a tree by hash leads to nothing that belongs there");
	*seen = tree;
	atomic_fetch_or(&page->mapcount, AVM_MAPCOUNT_EXCLUSIVE);
	expect_violation("V23: a page is exclusive and can be seen by several");
	atomic_fetch_and(&page->mapcount, AVM_MAPCOUNT);
	close_world();
}

/* ---- everything at once --------------------------------------------------------------------------------------- */

#define PROCS 5u
#define PAGES 12u

struct storm {
	struct sim_proc *p[PROCS];
	unsigned char is[PROCS][PAGES];
	struct rng r;
};

static void storm_step(struct storm *s)
{
	unsigned i = (unsigned)rng_below(&s->r, PROCS), j;
	unsigned page = (unsigned)rng_below(&s->r, PAGES);

	switch (rng_below(&s->r, 13)) {
	case 0:
		j = (i + 1) % PROCS;
		sim_proc_exit(s->p[j]);
		s->p[j] = fork_of(s->p[i]);
		memcpy(s->is[j], s->is[i], PAGES);
		break;
	case 1:
		(void)avm_shrink(w.m, rng_below(&s->r, 20));
		break;
	case 2:
		assert_int_equal(advise(s->p[i], page, 1, AVM_MADV_UNMERGEABLE), 0);
		break;
	case 3:
		assert_int_equal(advise(s->p[i], 0, PAGES, AVM_MADV_MERGEABLE), 0);
		break;
	case 4:
		assert_int_equal(avm_mlock(sim_mm(s->p[i]), AT(page), PAGE, 0), 0);
		break;
	case 5:
		assert_int_equal(avm_munlock(sim_mm(s->p[i]), AT(0), PAGES * PAGE), 0);
		break;
	case 6:
		if (pte(sim_mm(s->p[i]), AT(page)).kind == AVM_PTE_PRESENT)
			(void)avm_migrate(w.m, pte(sim_mm(s->p[i]), AT(page)).pfn);
		break;
	case 7:
	case 8:
		assert_true(avm_ksm_scan(w.m, rng_below(&s->r, 2 * PROCS * PAGES)) >= 0);
		break;
	default:
		s->is[i][page] = (unsigned char)rng_below(&s->r, 3);
		store(s->p[i], AT(page), s->is[i][page]);
	}
}

static void a_storm_of_everything_keeps_contents_and_invariants(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct storm s = { .r = { seed } };

		open_with(256);
		for (unsigned i = 0; i < PROCS; i++) {
			s.p[i] = i ? process() : w.a;
			memory(s.p[i], 0, PAGES, 0);
		}
		for (unsigned n = 0; n < 400; n++) {
			storm_step(&s);
			if (n % 8)
				continue;
			world_check(&w);
		}
		for (unsigned i = 0; i < PROCS * PAGES; i++)
			assert_int_equal(load(s.p[i / PAGES], AT(i % PAGES)),
					 s.is[i / PAGES][i % PAGES]);
		assert_true(event(&w, AVM_EV_KSM_MERGED) > 20);
		close_world();
	}
}

static void a_merged_page_moves_with_everybody_who_maps_it(void **state)
{
	struct sim_proc *b, *c;
	avm_pfn_t pfn;

	(void)state;
	open_world();
	b = merged_pair('m');
	c = fork_of(b);
	pfn = page_of(w.a, 0)->pfn;
	assert_int_equal(avm_migrate(w.m, pfn), 0);
	world_check(&w);
	assert_int_not_equal(page_of(w.a, 0)->pfn, pfn);
	assert_true(same_frame(w.a, 0, b, 7));
	assert_true(same_frame(c, 7, b, 7));
	store(b, AT(7), 'b');
	assert_int_equal(load(w.a, AT(0)), 'm');
	assert_int_equal(load(c, AT(7)), 'm');
	/* It can be found and merged with still. */
	memory(b, 20, 1, 'm');
	assert_int_equal(scan(), 1);
	assert_true(same_frame(w.a, 0, b, 20));
	close_world();
}

static void a_poisoned_merged_page_is_everybodys_loss(void **state)
{
	struct sim_proc *b;
	unsigned char byte;

	(void)state;
	open_world();
	b = merged_pair('m');
	assert_int_equal(avm_poison(w.m, page_of(w.a, 0)->pfn), 0);
	world_check(&w);
	assert_int_equal(sim_load(w.a, AT(0), &byte, 1, NULL), AVM_FAULT_SIGBUS);
	assert_int_equal(sim_load(b, AT(7), &byte, 1, NULL), AVM_FAULT_SIGBUS);
	assert_int_equal(sim_poisonings(w.s), 2);
	sim_proc_exit(b);
	world_check(&w);
	close_world();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_pages_of_two_processes_get_one_frame),
		cmocka_unit_test(equal_pages_of_one_process_get_one_frame),
		cmocka_unit_test(a_merged_page_is_nobodys_to_give_up),
		cmocka_unit_test(what_is_not_marked_is_left_alone),
		cmocka_unit_test(a_candidates_frame_may_be_anybodys_later),
		cmocka_unit_test(a_candidates_frame_may_be_a_files_later),
		cmocka_unit_test(a_candidate_that_changes_in_the_round_is_not_merged),
		cmocka_unit_test(a_page_that_changes_between_rounds_is_not_merged),
		cmocka_unit_test(a_call_looks_at_n_pages_and_the_next_goes_on),
		cmocka_unit_test(nobody_left_of_the_round_begins_the_next),
		cmocka_unit_test(a_page_has_so_many_places_and_not_more),
		cmocka_unit_test(a_page_that_is_full_goes_alone),
		cmocka_unit_test(locked_held_and_pinned_pages_stay),
		cmocka_unit_test(a_page_that_changes_while_it_is_merged_is_kept_apart),
		cmocka_unit_test(whoever_comes_between_two_looks_finds_his_own),
		cmocka_unit_test(a_write_copies_away_and_the_others_keep_what_they_had),
		cmocka_unit_test(breaking_and_merging_again_takes_no_second_item),
		cmocka_unit_test(fork_shares_a_merged_page_like_any),
		cmocka_unit_test(a_place_that_two_items_lead_to_does_not_hide_another),
		cmocka_unit_test(pages_shared_by_fork_are_merged_one_by_one),
		cmocka_unit_test(the_family_lives_on_when_its_process_has_gone),
		cmocka_unit_test(a_grandchilds_item_keeps_its_root),
		cmocka_unit_test(merged_pages_come_back_from_swap_private),
		cmocka_unit_test(a_merged_page_in_the_swap_cache_is_copied),
		cmocka_unit_test(a_page_of_the_swap_cache_can_be_merged),
		cmocka_unit_test(a_merged_page_is_not_what_its_slot_has),
		cmocka_unit_test(what_madvise_free_gave_up_is_not_given_up_when_merged),
		cmocka_unit_test(a_locked_vma_keeps_the_merged_page),
		cmocka_unit_test(a_merged_page_moves_with_all_its_places),
		cmocka_unit_test(a_merged_page_that_goes_bad_is_lost_to_all),
		cmocka_unit_test(a_pin_makes_a_merged_page_private_and_keeps_it_so),
		cmocka_unit_test(a_pinned_candidate_stays_writable_where_it_is),
		cmocka_unit_test(second_mmus_are_told_of_both_entries),
		cmocka_unit_test(a_vma_that_is_split_or_moved_is_found_by_the_walk),
		cmocka_unit_test(unmergeable_makes_every_page_private),
		cmocka_unit_test(merging_without_memory_leaves_everything_as_it_was),
		cmocka_unit_test(merging_without_memory_says_so),
		cmocka_unit_test(unmerging_without_memory_can_be_asked_for_again),
		cmocka_unit_test(verify_sees_what_is_wrong_with_merged_pages),
		cmocka_unit_test(a_storm_of_everything_keeps_contents_and_invariants),
		cmocka_unit_test(a_merged_page_moves_with_everybody_who_maps_it),
		cmocka_unit_test(a_poisoned_merged_page_is_everybodys_loss),
	};

	return cmocka_run_group_tests_name("ksm", tests, NULL, NULL);
}
