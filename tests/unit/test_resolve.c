/* SPDX-License-Identifier: MIT */
/*
 * test_resolve.c - R6 while others run: src/anon_vma.c once more, compiled into this file, with a step of somebody
 * else in the places where another CPU could come between.
 */
#include "anon_vma.h"
#include "page.h"
#include "slab.h"

/* Run once at the next trylock, which then fails; run once before the next lock that is waited for. */
static void (*at_trylock)(void);
static void (*at_lock)(void);

static void step(void (**what)(void))
{
	void (*run)(void) = *what;

	*what = NULL;
	if (run)
		run();
}

static bool contended_try_read(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class)
{
	(void)l;
	(void)class;
	/* Only this CPU is inside a read section. */
	avm_rcu_exit(m, 0);
	step(&at_trylock);
	(void)avm_rcu_enter(m);
	return false;
}

static void raced_read(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class)
{
	step(&at_lock);
	avm_rw_read_always(m, l, class);
}

#define avm_rw_try_read contended_try_read
#define avm_rw_read_always raced_read
#include "../../src/anon_vma.c"
#undef avm_rw_try_read
#undef avm_rw_read_always

#include "world.h"

static struct world w;
static struct avm_page *page;
static struct avm_anon_vma *of_page, *fresh, *stranger;

static void open_with_page(void)
{
	struct avm_pte_info info;

	world_open(&w);
	map_at(w.mm, 0x10000000, 1, RW, ANON, NULL, 0);
	map_at(w.mm, 0x20000000, 1, RW, ANON, NULL, 0);
	assert_int_equal(sim_store(w.a, 0x10000000, "a", 1, NULL), 0);
	assert_int_equal(sim_store(w.a, 0x20000000, "b", 1, NULL), 0);
	avm_pte_at(w.mm, 0x10000000, &info);
	page = info.page;
	avm_page_get(page);
	of_page = avm_page_anon_vma(page);
	avm_pte_at(w.mm, 0x20000000, &info);
	stranger = avm_page_anon_vma(info.page);
	fresh = NULL;
}

static void close_with_page(void)
{
	avm_page_put(w.m, page);
	world_close(&w);
}

static void unmap(void)
{
	assert_int_equal(avm_munmap(w.mm, 0x10000000, PAGE), 0);
}

/* The anon_vma goes, and its memory becomes one that a fork is about to put into another family. */
static void unmap_and_recycle(void)
{
	unmap();
	fresh = anon_vma_alloc(w.m);
	assert_ptr_equal(fresh, of_page);
}

static void enter_family(void)
{
	atomic_store(&fresh->root, stranger);
}

static void resolve_waits_for_a_lock_that_is_contended(void **state)
{
	struct avm_anon_vma *av = NULL;

	(void)state;
	open_with_page();
	assert_int_equal(avm_family_resolve(w.m, page, AVM_RESOLVE_WAIT, &av), 0);
	assert_ptr_equal(av, of_page);
	avm_family_unlock_read(w.m, av);
	close_with_page();
}

static void resolve_gives_up_a_page_that_is_unmapped_while_it_waits(void **state)
{
	struct avm_anon_vma *av = NULL;

	(void)state;
	open_with_page();
	at_lock = unmap;
	assert_int_equal(avm_family_resolve(w.m, page, AVM_RESOLVE_WAIT, &av), -AVM_ENOENT);
	assert_int_equal(of_page->refcount, 0);
	close_with_page();
}

static void resolve_lets_a_recycled_anon_vma_alone(void **state)
{
	struct avm_anon_vma *av = NULL;

	(void)state;
	open_with_page();
	at_trylock = unmap_and_recycle;
	at_lock = enter_family;
	assert_int_equal(avm_family_resolve(w.m, page, AVM_RESOLVE_WAIT, &av), -AVM_ENOENT);
	assert_int_equal(fresh->lock.word, 0);
	assert_int_equal(stranger->lock.word, 0);
	assert_int_equal(fresh->refcount, 1);
	at_lock = NULL;
	atomic_store(&fresh->root, fresh);
	avm_anon_vma_put(w.m, fresh);
	close_with_page();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolve_waits_for_a_lock_that_is_contended),
		cmocka_unit_test(resolve_gives_up_a_page_that_is_unmapped_while_it_waits),
		cmocka_unit_test(resolve_lets_a_recycled_anon_vma_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
