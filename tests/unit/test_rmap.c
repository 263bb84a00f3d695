/* SPDX-License-Identifier: MIT */
/* test_rmap.c - families and reverse walks from inside: resolve (R6), the walk (R7), its two users. */
#include "anon_vma.h"
#include "ops.h"
#include "rmap.h"

static struct avm_anon_vma *own(struct avm_mm *mm, avm_addr_t addr)
{
	return avm_vma_anon(avm_find_vma(mm, addr));
}

static struct sim_proc *fork_of(struct sim_proc *p)
{
	struct sim_proc *child;

	assert_int_equal(sim_proc_fork(p, &child), 0);
	return child;
}

/* ---- R6 ------------------------------------------------------------------------------------------- */

static void resolve_gives_the_live_anon_vma_of_a_mapped_page(void **state)
{
	struct avm_anon_vma *av;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	assert_int_equal(avm_family_resolve(w.m, page_at(w.mm, AT(0)), AVM_RESOLVE_WAIT, &av), 0);
	assert_ptr_equal(av, own(w.mm, AT(0)));
	avm_family_unlock_read(w.m, av);
	world_close(&w);
}

static void resolve_refuses_files_and_pages_nobody_maps(void **state)
{
	struct avm_anon_vma *av;
	struct avm_page *page;
	struct test_file *tf;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, PAGE);
	at = map_file(w.mm, 1, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file);
	(void)load(w.a, at);
	assert_int_equal(avm_family_resolve(w.m, page_at(w.mm, at), AVM_RESOLVE_WAIT, &av),
			 -AVM_ENOENT);
	assert_int_equal(avm_munmap(w.mm, at, PAGE), 0);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	page = page_at(w.mm, AT(0));
	avm_page_get(page);
	assert_int_equal(avm_munmap(w.mm, AT(0), PAGE), 0);
	/* R5.5: the mapping is still there, and means nothing. The anon_vma is gone. */
	assert_true(avm_page_is_anon(page));
	assert_int_equal(avm_family_resolve(w.m, page, AVM_RESOLVE_WAIT, &av), -AVM_ENOENT);
	avm_page_put(w.m, page);
	test_file_close(tf);
	world_close(&w);
}

static void resolve_says_busy_when_it_may_not_wait(void **state)
{
	struct avm_anon_vma *av, *root;
	struct avm_rmap_walk walk;
	struct avm_page *page;
	struct test_file *tf;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	root = avm_family_root(own(w.mm, AT(0)));
	atomic_store(&root->lock.word, AVM_RW_WRITER);
	assert_int_equal(avm_family_resolve(w.m, page_at(w.mm, AT(0)), AVM_RESOLVE_TRY, &av),
			 -AVM_EBUSY);
	assert_int_equal(avm_rmap_begin(&walk, w.m, page_at(w.mm, AT(0)), AVM_RESOLVE_TRY),
			 -AVM_EBUSY);
	atomic_store(&root->lock.word, 0);

	tf = test_file_open(&w, PAGE);
	at = map_file(w.mm, 1, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file);
	(void)load(w.a, at);
	page = page_at(w.mm, at);
	atomic_store(&tf->file.mmap_lock.word, AVM_RW_WRITER);
	avm_page_lock(w.m, page);
	assert_int_equal(avm_rmap_begin(&walk, w.m, page, AVM_RESOLVE_TRY), -AVM_EBUSY);
	avm_page_unlock(w.m, page);
	atomic_store(&tf->file.mmap_lock.word, 0);
	assert_int_equal(avm_munmap(w.mm, at, PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/*
 * A contended lock, with the reference that keeps the family alive while it sleeps. A waiters' bit on a lock that
 * nobody holds is what a walker meets when it comes between two owners: trylock refuses, the slow path gets it.
 */
static void resolve_sleeps_with_a_reference_when_the_lock_is_contended(void **state)
{
	struct avm_anon_vma *av, *root;
	struct avm_page *page;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	page = page_at(w.mm, AT(0));
	root = avm_family_root(own(w.mm, AT(0)));
	atomic_store(&root->lock.word, AVM_RW_WAITERS);
	assert_int_equal(avm_family_resolve(w.m, page, AVM_RESOLVE_WAIT, &av), 0);
	assert_ptr_equal(av, root);
	assert_int_equal(atomic_load(&root->refcount), 1);
	avm_family_unlock_read(w.m, av);
	assert_int_equal(atomic_load(&root->lock.word), 0);
	world_close(&w);
}

/* The family has ended before the reference could be taken: nobody, and no reference on what is free. */
static void resolve_takes_no_reference_on_a_family_that_has_ended(void **state)
{
	struct avm_anon_vma *av, *root;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	root = avm_family_root(own(w.mm, AT(0)));
	atomic_store(&root->lock.word, AVM_RW_WAITERS);
	atomic_store(&root->refcount, 0);
	assert_int_equal(avm_family_resolve(w.m, page_at(w.mm, AT(0)), AVM_RESOLVE_WAIT, &av),
			 -AVM_ENOENT);
	assert_int_equal(atomic_load(&root->refcount), 0);
	atomic_store(&root->refcount, 1);
	atomic_store(&root->lock.word, 0);
	world_close(&w);
}

/* The same two ways for a file's tree: it is waited for, and then the walk goes on. */
static void a_walk_waits_for_the_tree_of_a_file(void **state)
{
	struct avm_rmap_walk walk;
	struct avm_page *page;
	struct test_file *tf;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, PAGE);
	at = map_file(w.mm, 1, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file);
	(void)load(w.a, at);
	page = page_at(w.mm, at);
	atomic_store(&tf->file.mmap_lock.word, AVM_RW_WAITERS);
	avm_page_lock(w.m, page);
	assert_int_equal(avm_rmap_begin(&walk, w.m, page, AVM_RESOLVE_WAIT), 0);
	assert_true(avm_rmap_next(&walk));
	assert_int_equal(walk.c.addr, at);
	avm_rmap_end(&walk);
	avm_page_unlock(w.m, page);
	assert_int_equal(atomic_load(&tf->file.mmap_lock.word), 0);
	assert_int_equal(avm_munmap(w.mm, at, PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/* ---- R4: what a chain looks like ---------------------------------------------------------------------- */

static void every_generation_sees_its_ancestors_oldest_last(void **state)
{
	struct sim_proc *p, *gen[4];
	struct world w;

	(void)state;
	world_open_with(&w,
			&(struct sim_config){ .frames = 1024, .core.family = AVM_FAMILY_CHAIN });
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	p = w.a;
	for (unsigned i = 0; i < 4; i++)
		p = gen[i] = fork_of(p);
	for (unsigned i = 0; i < 4; i++) {
		const struct avm_vma *vma = avm_find_vma(sim_mm(gen[i]), AT(0));
		const struct avm_anon_vma *av = NULL, *last = NULL;
		unsigned n = 0;

		while ((av = avm_next_in_chain(vma, av))) {
			if (last)
				assert_ptr_equal(last->parent, av);
			last = av;
			n++;
		}
		assert_int_equal(n, i + 2);
		assert_ptr_equal(last, own(w.mm, AT(0)));
	}
	world_close(&w);
}

static void a_relay_of_forks_reuses_an_idle_ancestor(void **state)
{
	struct sim_proc *p, *next;
	struct avm_stats s;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	p = w.a;
	for (unsigned i = 0; i < 50; i++) {
		next = fork_of(p);
		sim_proc_exit(p);
		p = next;
		assert_int_equal(load(p, AT(0)), 0x40);
	}
	avm_stats(w.m, &s);
	/* The root (which a live child keeps from being reused), the idle one, and the one in use. */
	assert_true(s.anon_vmas <= 3 && s.avcs <= 3);
	assert_true(event(&w, AVM_EV_ANON_VMA_REUSED_ANCESTOR) >= 40);
	world_close(&w);
}

static void flat_families_share_one_anon_vma(void **state)
{
	struct sim_proc *b;
	struct world w;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 1024, .core.family = AVM_FAMILY_FLAT });
	map(&w, 0, 2, RW);
	mark(&w, 0, 2);
	b = fork_of(w.a);
	assert_ptr_equal(own(sim_mm(b), AT(0)), own(w.mm, AT(0)));
	store(b, AT(0), 1);
	assert_int_equal(load(w.a, AT(0)), 0x40);
	assert_int_equal(own(w.mm, AT(0))->num_active_vmas, 2);
	world_close(&w);
}

static void a_fresh_vma_takes_a_neighbours_anon_vma_only_if_its_chain_is_singular(void **state)
{
	struct sim_proc *b;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	map(&w, 2, 2, AVM_PROT_READ);
	map(&w, 4, 2, RW);
	mark(&w, 0, 2);
	mark(&w, 4, 2);
	/* The VMA above is asked first (R4.1). */
	assert_int_equal(avm_mprotect(w.mm, AT(3), PAGE, RW | AVM_PROT_EXEC), 0);
	store(w.a, AT(3), 1);
	assert_ptr_equal(own(w.mm, AT(3)), own(w.mm, AT(4)));
	b = fork_of(w.a);
	assert_int_equal(avm_mprotect(sim_mm(b), AT(2), PAGE, RW | AVM_PROT_EXEC), 0);
	store(b, AT(2), 1);
	/* In the child both neighbours came through fork (gallery 04). */
	assert_true(own(sim_mm(b), AT(2)) != own(sim_mm(b), AT(1)));
	assert_true(own(sim_mm(b), AT(2)) != own(sim_mm(b), AT(3)));
	assert_int_equal(atomic_load(&avm_find_vma(sim_mm(b), AT(2))->chain_len), 1);
	world_close(&w);
}

static int fork_and_exit(struct world *w)
{
	struct sim_proc *b;
	int err = sim_proc_fork(w->a, &b);

	if (!err)
		sim_proc_exit(b);
	return err;
}

static void a_fork_that_fails_leaves_no_child_and_links_nothing(void **state)
{
	struct avm_stats before, after;
	struct test_file *tf;
	struct world w;
	uint64_t failures = 0;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 1024,
						  .check_tlb = true,
						  .core.family = AVM_FAMILY_CHAIN });
	tf = test_file_open(&w, 4 * PAGE);
	for (unsigned i = 0; i < 12; i++)
		map(&w, 2 * i, 1, RW);
	for (unsigned i = 0; i < 12; i++)
		mark(&w, 2 * i, 1);
	map_at(w.mm, AT(100), 4, RW, AVM_MAP_PRIVATE, &tf->file, 0);
	store(w.a, AT(101), 3);
	avm_stats(w.m, &before);
	for (uint64_t n = 1;; n++) {
		uint64_t failed = sim_allocs_failed(w.s);
		int err;

		sim_fail_alloc(w.s, n, 1);
		err = fork_and_exit(&w);
		sim_fail_alloc(w.s, 0, 0);
		avm_stats(w.m, &after);
		assert_int_equal(after.avcs, before.avcs);
		assert_int_equal(after.anon_vmas, before.anon_vmas);
		assert_int_equal(after.vmas, before.vmas);
		assert_int_equal(after.mms, 1);
		assert_int_equal(after.tables, before.tables);
		world_check(&w);
		if (sim_allocs_failed(w.s) == failed) {
			assert_int_equal(err, 0);
			break;
		}
		assert_int_equal(err, -AVM_ENOMEM);
		failures++;
	}
	assert_true(failures > 3 * 13);
	for (unsigned i = 0; i < 12; i++)
		assert_marked(&w, 2 * i, 1, 2 * i);
	assert_int_equal(avm_munmap(w.mm, AT(100), 4 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/* ---- R7 --------------------------------------------------------------------------------------------- */

static unsigned mapped_by(struct world *w, struct avm_page *page, uint32_t *visited)
{
	struct avm_rmap_walk walk;
	unsigned n = 0;

	avm_page_lock(w->m, page);
	assert_int_equal(avm_rmap_begin(&walk, w->m, page, AVM_RESOLVE_WAIT), 0);
	while (avm_rmap_next(&walk)) {
		assert_int_equal(avm_pte_pfn(avm_ptc_get(&walk.c)), page->pfn);
		n++;
	}
	*visited = walk.visited;
	avm_rmap_end(&walk);
	avm_page_unlock(w->m, page);
	return n;
}

static void a_walk_finds_every_mapping_and_a_childs_own_page_asks_nobody_else(void **state)
{
	struct sim_proc *b, *c;
	struct world w;
	uint32_t visited;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	mark(&w, 0, 2);
	b = fork_of(w.a);
	c = fork_of(w.a);
	assert_int_equal(mapped_by(&w, page_at(w.mm, AT(0)), &visited), 3);
	store(b, AT(0), 1);
	store(c, AT(0), 1);
	assert_int_equal(mapped_by(&w, page_at(sim_mm(b), AT(0)), &visited), 1);
	assert_int_equal(visited, 1);
	assert_int_equal(mapped_by(&w, page_at(sim_mm(c), AT(1)), &visited), 3);
	world_close(&w);
}

/* R7: whoever is first in the tree, other pages at the same address are passed by. */
static void a_walk_counts_only_entries_that_map_the_page(void **state)
{
	struct sim_proc *b, *c, *d;
	struct avm_rmap_walk walk;
	struct avm_page *page;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	b = fork_of(w.a);
	c = fork_of(w.a);
	d = fork_of(w.a);
	store(w.a, AT(0), 1);
	store(b, AT(0), 2);
	store(d, AT(0), 3);
	page = page_at(sim_mm(c), AT(0));
	avm_page_lock(w.m, page);
	assert_int_equal(avm_rmap_begin(&walk, w.m, page, AVM_RESOLVE_WAIT), 0);
	assert_true(avm_rmap_next(&walk));
	assert_ptr_equal(walk.vma->mm, sim_mm(c));
	assert_false(avm_rmap_next(&walk));
	assert_in_range(walk.visited, 2, 4);
	avm_rmap_end(&walk);
	avm_page_unlock(w.m, page);
	world_close(&w);
}

/* R7: parts of one VMA share a tree; only the part that holds the index is visited, and named. */
static void a_walk_visits_only_vmas_that_overlap_the_index(void **state)
{
	struct avm_rmap_walk walk;
	struct avm_page *page;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 6, RW);
	mark(&w, 0, 6);
	assert_int_equal(avm_mprotect(w.mm, AT(2), 2 * PAGE, AVM_PROT_READ), 0);
	for (unsigned i = 0; i < 6; i++) {
		page = page_at(w.mm, AT(i));
		avm_page_lock(w.m, page);
		assert_int_equal(avm_rmap_begin(&walk, w.m, page, AVM_RESOLVE_WAIT), 0);
		assert_true(avm_rmap_next(&walk));
		assert_ptr_equal(walk.vma, avm_find_vma(w.mm, AT(i)));
		assert_int_equal(walk.visited, 1);
		avm_rmap_end(&walk);
		avm_page_unlock(w.m, page);
	}
	world_close(&w);
}

static void a_walk_may_be_left_in_the_middle(void **state)
{
	struct avm_rmap_walk walk;
	struct avm_page *page;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	(void)fork_of(w.a);
	page = page_at(w.mm, AT(0));
	avm_page_lock(w.m, page);
	assert_int_equal(avm_rmap_begin(&walk, w.m, page, AVM_RESOLVE_WAIT), 0);
	assert_true(avm_rmap_next(&walk));
	avm_rmap_end(&walk);
	avm_page_unlock(w.m, page);
	world_close(&w); /* no lock is left (V41) */
}

static void referenced_counts_young_entries_once_and_tells_who_locks(void **state)
{
	struct avm_page *page;
	struct sim_proc *b;
	struct world w;
	uint64_t flags;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	b = fork_of(w.a);
	assert_int_equal(load(b, AT(0)), 0x40); /* fork hands the entry on as not yet used */
	page = page_at(w.mm, AT(0));
	assert_int_equal(avm_mlock(w.mm, AT(0), PAGE, AVM_MLOCK_ONFAULT), 0);
	assert_int_equal(avm_rmap_referenced(w.m, page, &flags), 2);
	assert_true(flags & AVM_VM_LOCKED);
	assert_int_equal(avm_rmap_referenced(w.m, page, &flags), 0);
	assert_true(flags & AVM_VM_LOCKED);
	page = w.m->zero_page;
	avm_page_lock(w.m, page);
	assert_int_equal(avm_rmap_referenced(w.m, page, &flags), 0);
	avm_page_unlock(w.m, page);
	assert_int_equal(flags, 0);
	world_close(&w);
}

static void mkclean_protects_shared_mappings_and_reports_dirt(void **state)
{
	struct test_file *tf;
	struct avm_page *page;
	struct world w;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 2 * PAGE);
	map_at(w.mm, AT(0), 1, RW, AVM_MAP_SHARED, &tf->file, 0);
	map_at(w.mm, AT(2), 1, AVM_PROT_READ, AVM_MAP_SHARED, &tf->file, 0);
	map_at(w.mm, AT(4), 1, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 0);
	map_at(w.mm, AT(6), 1, RW, AVM_MAP_SHARED, &tf->file, 1);
	store(w.a, AT(0), 9);
	assert_int_equal(load(w.a, AT(2)), 9);
	assert_int_equal(load(w.a, AT(4)), 9);
	page = page_at(w.mm, AT(0));
	avm_page_lock(w.m, page);
	assert_true(avm_rmap_mkclean(w.m, page));
	assert_false(avm_rmap_mkclean(w.m, page));
	avm_page_unlock(w.m, page);
	assert_false(pte(w.mm, AT(0)).write);
	assert_false(pte(w.mm, AT(0)).dirty);
	store(w.a, AT(0), 10); /* the flush was done: this faults, and asks the file again */
	assert_int_equal(tf->mkwrites, 2);
	(void)load(w.a, AT(6));
	assert_int_equal(avm_munmap(w.mm, AT(6), PAGE), 0);
	page = avm_page_of(w.m, page->pfn);
	assert_int_equal(avm_munmap(w.mm, AT(0), 5 * PAGE), 0);
	avm_page_lock(w.m, page);
	assert_false(avm_rmap_mkclean(w.m, page)); /* nobody maps it */
	avm_page_unlock(w.m, page);
	test_file_close(tf);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolve_gives_the_live_anon_vma_of_a_mapped_page),
		cmocka_unit_test(resolve_refuses_files_and_pages_nobody_maps),
		cmocka_unit_test(resolve_says_busy_when_it_may_not_wait),
		cmocka_unit_test(resolve_sleeps_with_a_reference_when_the_lock_is_contended),
		cmocka_unit_test(resolve_takes_no_reference_on_a_family_that_has_ended),
		cmocka_unit_test(a_walk_waits_for_the_tree_of_a_file),
		cmocka_unit_test(every_generation_sees_its_ancestors_oldest_last),
		cmocka_unit_test(a_relay_of_forks_reuses_an_idle_ancestor),
		cmocka_unit_test(flat_families_share_one_anon_vma),
		cmocka_unit_test(
			a_fresh_vma_takes_a_neighbours_anon_vma_only_if_its_chain_is_singular),
		cmocka_unit_test(a_fork_that_fails_leaves_no_child_and_links_nothing),
		cmocka_unit_test(a_walk_finds_every_mapping_and_a_childs_own_page_asks_nobody_else),
		cmocka_unit_test(a_walk_counts_only_entries_that_map_the_page),
		cmocka_unit_test(a_walk_visits_only_vmas_that_overlap_the_index),
		cmocka_unit_test(a_walk_may_be_left_in_the_middle),
		cmocka_unit_test(referenced_counts_young_entries_once_and_tells_who_locks),
		cmocka_unit_test(mkclean_protects_shared_mappings_and_reports_dirt),
	};

	return cmocka_run_group_tests_name("rmap", tests, NULL, NULL);
}
