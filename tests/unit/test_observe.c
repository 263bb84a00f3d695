/* SPDX-License-Identifier: MIT */
/*
 * The iterators and counters of observe.h, each against the plainest way of finding out the same.
 */
#include "verify_rig.h"

#include "slab.h"

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	rig_open(r, AVM_FAMILY_REUSE);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	rig_close(r);
	free(r);
	return 0;
}

/* ---- address spaces, VMAs, entries ---------------------------------------------------------- */

static void address_spaces_come_in_order_of_making(void **state)
{
	struct rig *r = *state;
	struct avm_mm *mm = NULL;

	assert_ptr_equal(mm = avm_next_mm(r->w.m, mm), r->ma);
	assert_ptr_equal(mm = avm_next_mm(r->w.m, mm), r->mb);
	assert_ptr_equal(mm = avm_next_mm(r->w.m, mm), r->mc);
	assert_null(avm_next_mm(r->w.m, mm));
}

static void vmas_come_in_order_and_all_of_them(void **state)
{
	struct rig *r = *state;
	struct avm_vma *vma = NULL;
	avm_addr_t floor = 0;
	uint64_t n = 0;

	while ((vma = avm_next_vma(r->ma, vma))) {
		assert_true(vma->start >= floor);
		assert_ptr_equal(avm_find_vma(r->ma, floor), vma);
		assert_ptr_equal(avm_find_vma(r->ma, vma->end - 1), vma);
		floor = vma->end;
		n++;
	}
	assert_int_equal(n, r->ma->vmas.count);
	assert_null(avm_find_vma(r->ma, floor));
}

static void an_entry_is_described(void **state)
{
	struct rig *r = *state;
	struct avm_pte_info i;

	avm_pte_at(r->mc, r->anon + 123, &i);
	assert_int_equal(i.addr, r->anon);
	assert_int_equal(i.kind, AVM_PTE_PRESENT);
	assert_true(i.write && i.young && i.dirty && !i.exec && !i.none && !i.zero && !i.special);
	assert_int_equal(i.page->pfn, i.pfn);

	avm_pte_at(r->ma, r->anon + 4 * PAGE, &i);
	assert_true(i.zero && !i.write && !i.dirty);
	assert_ptr_equal(i.page, r->w.m->zero_page);

	avm_pte_at(r->ma, r->idle, &i);
	assert_int_equal(i.kind, AVM_PTE_NONE);
	assert_null(i.page);
	avm_pte_at(r->ma, r->ma->lowest, &i); /* no table either */
	assert_int_equal(i.kind, AVM_PTE_NONE);
	assert_int_equal(i.addr, r->ma->lowest);
}

static void entries_of_frames_and_of_nothing_accessible(void **state)
{
	struct rig *r = *state;
	struct avm_pte_info i;
	avm_addr_t at = 0x20000000;

	assert_int_equal(avm_insert_pfn(r->ma, at, 0x7777777, 1, AVM_PROT_READ), 0);
	avm_pte_at(r->ma, at, &i);
	assert_true(i.special && !i.page && i.pfn == 0x7777777);
	assert_int_equal(avm_mprotect(r->ma, r->anon, PAGE, AVM_PROT_NONE), 0);
	avm_pte_at(r->ma, r->anon, &i);
	assert_int_equal(i.kind, AVM_PTE_PRESENT);
	assert_true(i.none && !i.write);
}

static void entries_that_are_not_present_have_a_kind(void **state)
{
	struct rig *r = *state;
	const struct {
		enum avm_entry_kind entry;
		enum avm_pte_kind kind;
	} kinds[] = {
		{ AVM_ENTRY_SWAP, AVM_PTE_SWAP },
		{ AVM_ENTRY_MIGRATION, AVM_PTE_MIGRATION },
		{ AVM_ENTRY_POISON, AVM_PTE_POISON },
	};
	avm_addr_t empty = r->anon + 7 * PAGE;

	for (size_t k = 0; k < 3; k++) {
		struct avm_pte_info i;

		poke_entry(r->ma, empty, avm_pte_make_entry(kinds[k].entry, 99, true, false));
		avm_pte_at(r->ma, empty, &i);
		assert_int_equal(i.kind, kinds[k].kind);
		assert_int_equal(i.entry, 99);
		assert_true(i.write && !i.page);
	}
	poke_entry(r->ma, empty, AVM_PTE_EMPTY);
}

static void next_pte_finds_every_entry_once(void **state)
{
	struct rig *r = *state;
	struct avm_pte_info next = { .addr = 0 };
	struct avm_vma *vma = NULL;
	uint64_t n = 0;

	while ((vma = avm_next_vma(r->ma, vma))) {
		for (avm_addr_t addr = vma->start; addr < vma->end; addr += PAGE) {
			struct avm_pte_info here;

			avm_pte_at(r->ma, addr, &here);
			if (here.kind == AVM_PTE_NONE)
				continue;
			assert_true(avm_next_pte(r->ma, r->ma->task_size, &next));
			assert_int_equal(next.addr, addr);
			assert_int_equal(next.pfn, here.pfn);
			next.addr++; /* at or above: the next one begins at the next page */
			n++;
		}
	}
	assert_false(avm_next_pte(r->ma, r->ma->task_size, &next));
	assert_true(n > 15);
}

static void next_pte_stays_in_its_range(void **state)
{
	struct rig *r = *state;
	struct avm_pte_info i = { .addr = r->anon + 2 * PAGE };

	assert_false(avm_next_pte(r->ma, r->anon + 2 * PAGE, &i));
	assert_true(avm_next_pte(r->ma, r->anon + 3 * PAGE, &i));
	i.addr = r->anon + 7 * PAGE;
	assert_false(avm_next_pte(r->ma, r->anon + 8 * PAGE, &i));
	i.addr = ~(avm_addr_t)0;
	assert_false(avm_next_pte(r->ma, ~(avm_addr_t)0, &i));
}

/* ---- families ------------------------------------------------------------------------------- */

static void a_chain_is_walked_from_own_to_root(void **state)
{
	struct rig *r = *state;
	struct avm_vma *vma = vma_at(r->mc, r->anon);
	struct avm_anon_vma *av = NULL;

	for (unsigned i = 0; i < 3; i++) {
		av = avm_next_in_chain(vma, av);
		assert_ptr_equal(av, avc_at(vma, i)->anon_vma);
	}
	assert_null(avm_next_in_chain(vma, av));
	assert_null(avm_next_in_chain(vma_at(r->ma, r->idle), NULL));
}

static void a_family_is_walked_member_by_member(void **state)
{
	struct rig *r = *state;
	struct avm_anon_vma *root = avm_vma_anon(vma_at(r->ma, r->anon));
	struct avm_vma *seen[16], *vma = NULL;
	struct avm_anon_vma_info info;
	uint64_t n = 0, first = 0;

	while ((vma = avm_next_in_family(root, vma))) {
		assert_true(n < 16 && vma->pgoff >= first);
		for (uint64_t i = 0; i < n; i++)
			assert_ptr_not_equal(seen[i], vma);
		first = vma->pgoff;
		seen[n++] = vma;
	}
	avm_anon_vma_info(root, &info);
	assert_ptr_equal(info.anon_vma, root);
	assert_int_equal(info.nr_avcs, n);
	assert_true(n >= 3); /* at the least: one for each generation */
	assert_int_equal(info.id, root->id);
	assert_int_equal(info.root_id, root->id);
	assert_int_equal(info.parent_id, root->id);
	assert_int_equal(info.refcount, 3); /* its tree and two members */
	assert_int_equal(info.num_children, 2);
	assert_int_equal(info.num_active_vmas, 1);

	avm_anon_vma_info(avm_vma_anon(vma_at(r->mc, r->anon)), &info);
	assert_int_equal(info.parent_id, avm_vma_anon(vma_at(r->mb, r->anon))->id);
	assert_int_equal(info.root_id, root->id);
	assert_int_equal(info.nr_avcs, 1);
}

static void an_anon_vma_is_live_until_it_is_freed(void **state)
{
	struct rig *r = *state;
	struct avm *m = r->w.m;
	struct avm_cache *cache = &m->anon_vmas;
	struct avm_anon_vma *child = avm_vma_anon(vma_at(r->mc, r->anon));
	struct avm_anon_vma *root = avm_family_root(child);
	struct avm_anon_vma *parent = child->parent;
	struct avm_anon_vma *gone = avm_cache_alloc(m, cache);

	assert_true(avm_anon_vma_live(m, child));
	assert_true(avm_anon_vma_live(m, root));
	assert_non_null(gone);
	avm_cache_free(m, cache, gone);
	assert_false(avm_anon_vma_live(m, gone));
	assert_false(avm_anon_vma_live(m, NULL));
	assert_false(avm_anon_vma_live(m, (struct avm_anon_vma *)((char *)child + 8)));
	assert_false(avm_anon_vma_live(m, (struct avm_anon_vma *)16));
	assert_false(avm_anon_vma_live(m, (struct avm_anon_vma *)(uintptr_t)r->ma));

	/* Nor when what it leads to is gone. */
	child->parent = gone;
	assert_false(avm_anon_vma_live(m, child));
	child->parent = parent;
	atomic_store(&child->root, gone);
	assert_false(avm_anon_vma_live(m, child));
	atomic_store(&child->root, root);
	assert_true(avm_anon_vma_live(m, child));
}

/*
 * Three VMAs of one anon_vma side by side, and their copies in two children: many indexes in one
 * tree.
 */
static void members_with_many_indexes_are_met_in_order(void **state)
{
	struct rig *r = *state;
	struct avm_anon_vma *root = avm_vma_anon(vma_at(r->ma, r->split));
	struct avm_vma *vma = NULL;
	uint64_t first = 0;
	unsigned n = 0;

	while ((vma = avm_next_in_family(root, vma))) {
		assert_true(vma->pgoff >= first);
		first = vma->pgoff;
		n++;
	}
	assert_int_equal(n, 9);
}

/* Twenty VMAs at one page index: duplicates of the key that the search starts from. */
static void members_with_one_index_are_all_met(void **state)
{
	struct rig *r = *state;
	struct sim_proc *p[20];
	struct avm_anon_vma *root = avm_vma_anon(vma_at(r->ma, r->locked));
	struct avm_vma *vma = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(sim_proc_fork(r->a, &p[i]), 0);
	while ((vma = avm_next_in_family(root, vma)))
		n++;
	assert_int_equal(n, 23);
	for (unsigned i = 0; i < 20; i++)
		sim_proc_exit(p[i]);
}

static void a_page_names_its_anon_vma(void **state)
{
	struct rig *r = *state;

	assert_ptr_equal(avm_page_anon_vma(page_at(r->mc, r->anon)),
			 avm_vma_anon(vma_at(r->mc, r->anon)));
	assert_null(avm_page_anon_vma(page_at(r->ma, r->shared)));
	assert_null(avm_page_anon_vma(r->w.m->zero_page));
}

/* ---- reverse walks -------------------------------------------------------------------------- */

/* Every place that maps the page, the slow way. */
static uint32_t mappings_of(struct rig *r, const struct avm_page *page)
{
	struct avm_mm *mm = NULL;
	uint32_t n = 0;

	while ((mm = avm_next_mm(r->w.m, mm))) {
		struct avm_pte_info i = { .addr = 0 };

		for (; avm_next_pte(mm, mm->task_size, &i); i.addr++)
			n += i.page == page;
	}
	return n;
}

static void a_reverse_walk_finds_every_mapping_of_every_page(void **state)
{
	struct rig *r = *state;
	const struct avm_region *region = r->w.m->regions;
	struct avm_stats before, after;
	unsigned walked = 0, shared = 0;

	avm_stats(r->w.m, &before);
	for (uint64_t f = 0; f < region->count; f++) {
		struct avm_page *page = &region->pages[f];
		uint32_t mapped = mappings_of(r, page);
		struct avm_rmap_iter it;
		struct avm_pte_info i;
		uint32_t n = 0;

		if (avm_rmap_iter_begin(r->w.m, &it, page)) {
			assert_true(!mapped || page == r->w.m->zero_page);
			continue;
		}
		assert_true(has_flag(page, AVM_PG_LOCKED));
		while (avm_rmap_iter_next(r->w.m, &it)) {
			avm_pte_at(it.vma->mm, it.addr, &i);
			assert_ptr_equal(i.page, page);
			n++;
		}
		assert_int_equal(n, mapped);
		assert_int_equal(it.mapped, mapped);
		assert_true(it.visited >= it.mapped);
		avm_rmap_iter_end(r->w.m, &it);
		walked++;
		shared += mapped > 1;
	}
	assert_true(walked > 15 && shared > 5);
	avm_stats(r->w.m, &after);
	assert_memory_equal(&before, &after, sizeof(before));
}

static void a_reverse_walk_may_end_early_and_leaves_no_lock(void **state)
{
	struct rig *r = *state;
	struct avm_page *pages[] = { page_at(r->ma, r->anon + 2 * PAGE),
				     page_at(r->ma, r->shared) };

	for (unsigned i = 0; i < 2; i++) {
		struct avm_rmap_iter it;

		assert_int_equal(avm_rmap_iter_begin(r->w.m, &it, pages[i]), 0);
		assert_true(avm_rmap_iter_next(r->w.m, &it));
		avm_rmap_iter_end(r->w.m, &it);
	}
	/* rig_close() asks for locks held. */
}

static void nobody_can_be_asked_about_a_page_that_is_not_mapped(void **state)
{
	struct rig *r = *state;
	struct avm_rmap_iter it;
	struct avm_page *page = page_at(r->ma, r->anon + 2 * PAGE);

	assert_int_equal(avm_rmap_iter_begin(r->w.m, &it, r->w.m->zero_page), -AVM_ENOENT);
	assert_int_equal(avm_rmap_iter_begin(r->w.m, &it, r->ma->root_table), -AVM_ENOENT);
	assert_false(has_flag(r->ma->root_table, AVM_PG_LOCKED));
	sim_proc_exit(r->b);
	sim_proc_exit(r->c);
	assert_int_equal(avm_munmap(r->ma, r->anon, 8 * PAGE), 0);
	assert_int_equal(avm_rmap_iter_begin(r->w.m, &it, page), -AVM_ENOENT);
	assert_int_equal(avm_page_flags(page), 0);
}

/* ---- counters ------------------------------------------------------------------------------- */

static void machine_counters_agree_with_what_is_there(void **state)
{
	struct rig *r = *state;
	struct avm_stats s;
	struct avm_mm *mm = NULL;
	uint64_t mms = 0, vmas = 0, avcs = 0, tables = 0, lru = 0;

	avm_stats(r->w.m, &s);
	while ((mm = avm_next_mm(r->w.m, mm))) {
		struct avm_mm_stats ms;

		avm_mm_stats(mm, &ms);
		assert_int_equal(ms.vmas, mm->vmas.count);
		assert_int_equal(ms.total_vm, mm->total_vm);
		assert_int_equal(ms.rss[AVM_RSS_ANON], rss(mm, AVM_RSS_ANON));
		mms++;
		vmas += ms.vmas;
		avcs += ms.avcs;
		tables += ms.tables;
	}
	assert_int_equal(s.mms, mms);
	assert_int_equal(s.vmas, vmas);
	assert_int_equal(s.avcs, avcs);
	assert_int_equal(s.tables, tables);
	assert_true(s.vmas_peak >= s.vmas && s.avcs_peak >= s.avcs);
	assert_true(s.anon_vmas && s.anon_vmas_peak >= s.anon_vmas);
	assert_int_equal(s.frames_total, 1024);
	assert_int_equal(s.frames_used, sim_frames_used(r->w.s));
	assert_int_equal(s.meta_bytes, sim_meta_bytes(r->w.s));
	for (unsigned i = 0; i < AVM_NR_LRU; i++)
		lru += s.lru[i];
	assert_int_equal(lru + tables + 1, s.frames_used);
	assert_int_equal(s.events[AVM_EV_FORK], 2);
	assert_int_equal(s.events[AVM_EV_COW_COPY], event(&r->w, AVM_EV_COW_COPY));
	assert_true(s.commit_limit == AVM_NO_LIMIT);
}

static void family_counters_of_an_address_space(void **state)
{
	struct rig *r = *state;
	struct avm_mm_stats a, c;

	avm_mm_stats(r->ma, &a);
	avm_mm_stats(r->mc, &c);
	assert_int_equal(a.longest_chain, 1);
	assert_int_equal(a.fork_children, 0);
	assert_true(a.faulted >= 4 && a.faulted < a.vmas);
	assert_int_equal(c.longest_chain, 3);
	assert_int_equal(c.fork_children, c.faulted);
	assert_int_equal(a.locked_vm, 1);
	assert_int_equal(c.locked_vm, 0);
}

static void every_event_and_refusal_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < AVM_NR_EVENTS; i++) {
		assert_non_null(avm_event_name((enum avm_event)i));
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(avm_event_name((enum avm_event)i),
						avm_event_name((enum avm_event)j));
	}
	for (unsigned i = 0; i < AVM_NR_REFUSALS; i++) {
		assert_non_null(avm_refusal_name((enum avm_refusal)i));
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(avm_refusal_name((enum avm_refusal)i),
						avm_refusal_name((enum avm_refusal)j));
	}
	assert_string_equal(avm_event_name(AVM_EV_COW_COPY), "cow_copies");
	assert_string_equal(avm_event_name(AVM_NR_EVENTS), "unknown");
	assert_string_equal(avm_refusal_name(AVM_REFUSED_FORK_CHILD), "fork_child");
	assert_string_equal(avm_refusal_name(AVM_NR_REFUSALS), "unknown");
}

int main(void)
{
#define IN_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		IN_RIG(address_spaces_come_in_order_of_making),
		IN_RIG(vmas_come_in_order_and_all_of_them),
		IN_RIG(an_entry_is_described),
		IN_RIG(entries_of_frames_and_of_nothing_accessible),
		IN_RIG(entries_that_are_not_present_have_a_kind),
		IN_RIG(next_pte_finds_every_entry_once),
		IN_RIG(next_pte_stays_in_its_range),
		IN_RIG(a_chain_is_walked_from_own_to_root),
		IN_RIG(a_family_is_walked_member_by_member),
		IN_RIG(an_anon_vma_is_live_until_it_is_freed),
		IN_RIG(members_with_many_indexes_are_met_in_order),
		IN_RIG(members_with_one_index_are_all_met),
		IN_RIG(a_page_names_its_anon_vma),
		IN_RIG(a_reverse_walk_finds_every_mapping_of_every_page),
		IN_RIG(a_reverse_walk_may_end_early_and_leaves_no_lock),
		IN_RIG(nobody_can_be_asked_about_a_page_that_is_not_mapped),
		IN_RIG(machine_counters_agree_with_what_is_there),
		IN_RIG(family_counters_of_an_address_space),
		cmocka_unit_test(every_event_and_refusal_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
