/* SPDX-License-Identifier: MIT */
/* The simulated machine: does it see what it is there to see? */
#include "world.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lock.h"
#include "mmu_gather.h"
#include "page.h"

/* A machine whose complaints are wanted, and not printed. */
static void noisy_open(struct world *w, const struct sim_config *config)
{
	static FILE *nowhere;
	struct sim_config c = *config;

	if (!nowhere)
		nowhere = fopen("/dev/null", "w");
	assert_non_null(nowhere);
	c.log = nowhere;
	if (!c.frames)
		c.frames = 1024;
	world_open_with(w, &c);
}

static void expect_error(struct world *w, const char *part)
{
	assert_true(sim_errors(w->s) > 0);
	if (!strstr(sim_last_error(w->s), part))
		fail_msg("\"%s\" is not in \"%s\"", part, sim_last_error(w->s));
}

static void no_error(struct world *w)
{
	assert_string_equal(sim_last_error(w->s), "");
}

/* ---- TLB ----------------------------------------------------------------------------------------------- */

static void a_translation_that_nobody_flushed_is_used_and_reported(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	noisy_open(&w, &(struct sim_config){ .check_tlb = true });
	a = map_anon(w.mm, 1, RW);
	store(w.a, a, 1);
	poke_entry(w.mm, a, avm_pte_wrprotect(peek_entry(w.mm, a)));
	assert_int_equal(load(w.a, a), 1);
	no_error(&w);
	store(w.a, a, 2);
	expect_error(&w, "stale translation");
	assert_int_equal(load(w.a, a), 2); /* as hardware does */
	assert_int_equal(sim_destroy(w.s), 0);
}

/* R12: pages are freed after the flush. */
static void a_frame_that_is_freed_before_the_flush_is_reported(void **state)
{
	struct avm_page *page;
	struct world w;
	avm_pte_t old;
	avm_addr_t a;

	(void)state;
	noisy_open(&w, &(struct sim_config){ .check_tlb = true });
	a = map_anon(w.mm, 1, RW);
	page = avm_page_alloc(w.m, AVM_FRAME_USER);
	assert_non_null(page);
	store(w.a, a, 1);
	assert_true(sim_translated(w.a, a + 5));
	assert_false(sim_translated(w.a, a + PAGE));
	old = peek_entry(w.mm, a);
	poke_entry(w.mm, a, avm_pte_make(page->pfn, AVM_VM_READ));
	avm_port_tlb_flush(w.m, w.mm, a, a + PAGE);
	assert_false(sim_translated(w.a, a));
	(void)load(w.a, a);
	poke_entry(w.mm, a, old);
	no_error(&w);
	avm_page_put(w.m, page);
	expect_error(&w, "is freed, and translated at");
	assert_int_equal(sim_destroy(w.s), 0);
}

static void each_kind_of_staleness_is_seen(void **state)
{
	static const struct {
		enum avm_access access;
		bool stale;
		avm_pte_t set, clear;
	} change[] = {
		{ AVM_ACCESS_READ, true, 0, ~(avm_pte_t)0 },
		{ AVM_ACCESS_READ, true, 3ull << AVM_PAGE_SHIFT, 0 },
		{ AVM_ACCESS_READ, true, SOFT_PTE_NONE, 0 },
		{ AVM_ACCESS_EXEC, true, 0, SOFT_PTE_EXEC },
		{ AVM_ACCESS_WRITE, true, 0, SOFT_PTE_DIRTY },
		{ AVM_ACCESS_READ, false, 0, SOFT_PTE_WRITE },
		{ AVM_ACCESS_READ, false, 0, SOFT_PTE_YOUNG | SOFT_PTE_DIRTY },
	};
	struct world w;
	avm_addr_t a;

	(void)state;
	noisy_open(&w, &(struct sim_config){ .check_tlb = true });
	a = map_anon(w.mm, 1, AVM_PROT_ALL);
	for (size_t i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
		uint64_t before = sim_errors(w.s);
		avm_pte_t good;

		store(w.a, a, 1);
		assert_int_equal(sim_touch(w.a, a, AVM_ACCESS_EXEC, NULL), 0);
		good = peek_entry(w.mm, a);
		poke_entry(w.mm, a, (good & ~change[i].clear) | change[i].set);
		assert_int_equal(sim_touch(w.a, a, change[i].access, NULL), 0);
		assert_int_equal(sim_errors(w.s) - before, change[i].stale);
		poke_entry(w.mm, a, good);
		avm_tlb_flush(w.mm, a, a + PAGE);
	}
	assert_int_equal(sim_destroy(w.s), 0);
}

static void a_flush_of_the_page_or_of_everything_is_enough(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	for (int i = 0; i < 2; i++) {
		unsigned faults = 0;
		unsigned char c = 3;

		store(w.a, a, 1);
		poke_entry(w.mm, a, avm_pte_wrprotect(peek_entry(w.mm, a)));
		avm_tlb_flush(w.mm, a, i ? w.mm->task_size : a + PAGE);
		assert_int_equal(sim_store(w.a, a, &c, 1, &faults), 0);
		assert_true(faults & AVM_FAULT_REUSE);
	}
	world_close(&w);
}

static void a_grant_needs_no_flush(void **state)
{
	struct world w;
	avm_addr_t a;
	unsigned faults = 0;
	unsigned char c = 9;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	store(w.a, a, 1);
	poke_entry(w.mm, a, avm_pte_wrprotect(peek_entry(w.mm, a)));
	avm_tlb_flush(w.mm, a, a + PAGE);
	assert_int_equal(load(w.a, a), 1); /* read-only in the TLB */
	poke_entry(w.mm, a, avm_pte_mkwrite(peek_entry(w.mm, a)));
	assert_int_equal(sim_store(w.a, a, &c, 1, &faults), 0);
	assert_int_equal(faults, 0);
	world_close(&w);
}

static void a_cached_translation_permits_no_more_than_its_entry(void **state)
{
	struct world w;
	struct sim_proc *b;
	avm_addr_t a;
	unsigned faults = 0;
	unsigned char c = 2;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	store(w.a, a, 1);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_int_equal(load(w.a, a), 1); /* dirty, and read-only, in the TLB */
	assert_int_equal(sim_store(w.a, a, &c, 1, &faults), 0);
	assert_true(faults & AVM_FAULT_COW);
	assert_int_equal(load(b, a), 1);
	world_close(&w);
}

static void hardware_sets_young_and_dirty(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	store(w.a, a, 1);
	poke_entry(w.mm, a, avm_pte_mkclean(avm_pte_mkold(peek_entry(w.mm, a))));
	avm_tlb_flush(w.mm, a, a + PAGE);
	assert_int_equal(load(w.a, a), 1);
	assert_true(pte(w.mm, a).young);
	assert_false(pte(w.mm, a).dirty);
	store(w.a, a, 2); /* the translation is cached, and clean */
	assert_true(pte(w.mm, a).dirty);
	world_close(&w);
}

static void each_process_has_a_tlb_of_its_own(void **state)
{
	struct world w;
	struct sim_proc *b;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	assert_int_equal(sim_proc_create(w.s, NULL, &b), 0);
	a = map_anon(w.mm, 1, RW);
	assert_int_equal(map_at(sim_mm(b), a, 1, RW, ANON, NULL, 0), a);
	store(w.a, a, 1);
	store(b, a, 2);
	assert_int_equal(load(w.a, a), 1);
	assert_int_equal(load(b, a), 2);
	world_close(&w);
}

static void an_access_says_how_it_failed(void **state)
{
	struct world w;
	struct avm_pte_info info;
	avm_addr_t a;
	unsigned faults = 0;
	unsigned char c = 0;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, AVM_PROT_READ);
	assert_int_equal(sim_load(w.a, a + PAGE, &c, 1, &faults), AVM_FAULT_MAPERR);
	assert_int_equal(sim_load(w.a, ~(avm_addr_t)0, &c, 1, NULL), AVM_FAULT_MAPERR);
	assert_int_equal(sim_store(w.a, a, &c, 1, NULL), AVM_FAULT_ACCERR);
	assert_int_equal(sim_touch(w.a, a, AVM_ACCESS_EXEC, NULL), AVM_FAULT_ACCERR);
	assert_int_equal(faults, AVM_FAULT_MAPERR);
	assert_true(sim_would_fault(w.a, a, AVM_ACCESS_READ, &info));
	assert_int_equal(info.kind, AVM_PTE_NONE);
	assert_int_equal(load(w.a, a), 0);
	assert_false(sim_would_fault(w.a, a, AVM_ACCESS_READ, &info));
	assert_true(info.zero);
	assert_true(sim_would_fault(w.a, a, AVM_ACCESS_WRITE, NULL));
	/* Bits that no table looks at. */
	assert_int_equal(sim_load(w.a, a + (1ull << 60), &c, 1, NULL), AVM_FAULT_MAPERR);
	world_close(&w);
}

static void an_access_across_a_page_is_a_mistake(void **state)
{
	struct world w;
	avm_addr_t a;
	uint64_t v = 0;

	(void)state;
	noisy_open(&w, &(struct sim_config){ .frames = 0 });
	a = map_anon(w.mm, 2, RW);
	assert_int_equal(sim_store(w.a, a + PAGE - 4, &v, sizeof(v), NULL), AVM_FAULT_SIGBUS);
	expect_error(&w, "an access of 8 bytes");
	assert_int_equal(sim_destroy(w.s), 0);
}

/* ---- frames -------------------------------------------------------------------------------------------- */

static void frames_freed_twice_or_by_mistake_are_reported(void **state)
{
	struct world w;
	avm_pfn_t pfn;

	(void)state;
	noisy_open(&w, &(struct sim_config){ .frames = 0 });
	pfn = avm_port_frame_alloc(w.m, AVM_FRAME_USER);
	avm_port_frame_free(w.m, pfn);
	no_error(&w);
	avm_port_frame_free(w.m, pfn);
	expect_error(&w, "freed twice");
	avm_port_frame_free(w.m, 1ull << 30);
	expect_error(&w, "not of this machine");
	avm_port_frame_free(w.m, 0);
	expect_error(&w, "0 is freed, and is not of this machine");
	avm_port_frame_clear(w.m, pfn);
	expect_error(&w, "it is free");
	assert_int_equal(sim_errors(w.s), 4);
	assert_int_equal(sim_verify(w.s, AVM_VERIFY_VMAS, NULL), 4);
	assert_int_equal(sim_destroy(w.s), 0);
}

static void a_free_frame_that_is_still_mapped_is_reported(void **state)
{
	struct world w;
	avm_addr_t a;
	avm_pfn_t pfn;

	(void)state;
	noisy_open(&w, &(struct sim_config){ .frames = 0 });
	a = map_anon(w.mm, 1, RW);
	store(w.a, a, 1);
	pfn = pte(w.mm, a).pfn;
	avm_port_frame_free(w.m, pfn);
	load(w.a, a);
	expect_error(&w, "it is free");
	assert_int_equal(avm_port_frame_alloc(w.m, AVM_FRAME_USER),
			 pfn); /* last freed, first given */
	assert_int_equal(sim_destroy(w.s), 0);
}

static void what_is_not_given_back_is_counted(void **state)
{
	struct world w;

	(void)state;
	noisy_open(&w, &(struct sim_config){ .frames = 0 });
	avm_port_frame_alloc(w.m, AVM_FRAME_USER);
	avm_port_frame_alloc(w.m, AVM_FRAME_TABLE);
	assert_int_equal(sim_destroy(w.s), 2);

	noisy_open(&w, &(struct sim_config){ .contents = SIM_STAMPS });
	avm_port_frame_alloc(w.m, AVM_FRAME_TABLE);
	assert_int_equal(sim_destroy(w.s), 1);
}

static void a_frame_may_be_one_stamp(void **state)
{
	struct world w;
	struct sim_proc *b;
	avm_addr_t a;
	uint64_t v = 0x1122334455667788ull, got = 0;
	unsigned char bytes[16];

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 1ull << 20,
						  .contents = SIM_STAMPS,
						  .check_tlb = true });
	a = map_anon(w.mm, 1000, RW);
	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t x = v + i;

		assert_int_equal(sim_store(w.a, a + i * PAGE, &x, sizeof(x), NULL), 0);
	}
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_int_equal(sim_store(b, a, &got, sizeof(got), NULL), 0);
	for (uint64_t i = 0; i < 1000; i++) {
		assert_int_equal(sim_load(w.a, a + i * PAGE, &got, sizeof(got), NULL), 0);
		assert_int_equal(got, v + i);
	}
	/* Beyond the stamp there is nothing. */
	avm_port_frame_read(w.m, pte(w.mm, a).pfn, 4, bytes, sizeof(bytes));
	assert_memory_equal(bytes, (char *)&v + 4, 4);
	for (size_t i = 4; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0);
	avm_port_frame_write(w.m, pte(w.mm, a).pfn, 100, bytes, sizeof(bytes));
	assert_int_equal(sim_load(w.a, a, &got, sizeof(got), NULL), 0);
	assert_int_equal(got, v);
	world_close(&w);
}

static void allocations_fail_by_number(void **state)
{
	static const bool want[] = { false, false, true, true, false, false };
	struct world w;
	uint64_t before;

	(void)state;
	world_open(&w);
	before = sim_allocs(w.s);
	sim_fail_alloc(w.s, 3, 2);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_int_equal(sim_alloc_fails(w.m), want[i]);
	assert_int_equal(sim_allocs(w.s), before + 6);
	assert_int_equal(sim_allocs_failed(w.s), 2);
	sim_fail_alloc(w.s, 1, 0);
	for (int i = 0; i < 5; i++)
		assert_true(sim_alloc_fails(w.m));
	sim_fail_alloc(w.s, 0, 0);
	assert_false(sim_alloc_fails(w.m));
	world_close(&w);
}

/* ---- grace periods, waiting ------------------------------------------------------------------------------ */

struct counted {
	struct avm_deferred d;
	int calls;
};

static void count_call(struct avm_deferred *d)
{
	((struct counted *)d)->calls++;
}

static void deferred_calls_wait_for_readers(void **state)
{
	struct counted a = { .d = { .call = count_call } }, b = a;
	struct world w;
	uintptr_t outer, inner;

	(void)state;
	world_open(&w);
	avm_rcu_defer(w.m, &a.d);
	assert_int_equal(a.calls, 1);
	outer = avm_rcu_enter(w.m);
	inner = avm_rcu_enter(w.m);
	avm_rcu_defer(w.m, &a.d);
	avm_rcu_defer(w.m, &b.d);
	avm_rcu_exit(w.m, inner);
	assert_int_equal(a.calls, 1);
	avm_rcu_exit(w.m, outer);
	assert_int_equal(a.calls, 2);
	assert_int_equal(b.calls, 1);
	world_close(&w);
}

static void a_wait_can_be_given_up(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	sim_set_wait_eintr(w.s, true);
	atomic_fetch_add(&w.mm->mmap_lock.word, 1); /* a reader on another CPU */
	assert_int_equal(avm_munmap(w.mm, a, PAGE), -AVM_EINTR);
	atomic_fetch_sub(&w.mm->mmap_lock.word, 1);
	assert_int_equal(avm_munmap(w.mm, a, PAGE), 0);
	world_close(&w);
}

/* Runs in a child of the test, which must not survive it. */
static void expect_panic(void (*body)(struct world *w), const char *message)
{
	char text[512] = "";
	int fds[2], status;
	FILE *out;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct world w;

		signal(SIGABRT, SIG_DFL);
		dup2(fds[1], STDERR_FILENO);
		world_open(&w);
		body(&w);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	out = fdopen(fds[0], "r");
	assert_non_null(out);
	text[fread(text, 1, sizeof(text) - 1, out)] = '\0';
	fclose(out);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	if (!strstr(text, message))
		fail_msg("\"%s\" is not in \"%s\"", message, text);
}

static void wait_for_ever(struct world *w)
{
	atomic_fetch_add(&w->mm->mmap_lock.word, 1);
	map_anon(w->mm, 1, RW);
}

static void spin_for_ever(struct world *w)
{
	struct avm_spinlock l = { 1 };

	avm_spin_lock(w->m, &l, AVM_LOCK_LEAF);
}

/* The interrupted one holds the lock, and does not go on before this returns. */
static void insist(void *context, enum sim_at at)
{
	(void)at;
	avm_mmap_write_lock_always(context, false);
}

static void wait_for_the_interrupted(struct world *w)
{
	sim_set_interruption(w->s, insist, w->mm);
	map_anon(w->mm, 1, RW);
}

static void a_deadlock_is_the_end(void **state)
{
	(void)state;
	expect_panic(wait_for_the_interrupted, "panic: deadlock");
	expect_panic(wait_for_ever, "panic: deadlock");
	expect_panic(spin_for_ever, "panic: deadlock");
}

/* ---- lock rules ---------------------------------------------------------------------------------------- */

#ifdef AVM_DEBUG

/* Two of each kind of lock that a test may take and drop as it likes. */
struct locks {
	struct world w;
	struct avm *m;
	struct avm_rwsem sleeping[2];
	struct avm_spinlock spin[2];
};

static void locks_open(struct locks *l)
{
	memset(l, 0, sizeof(*l));
	noisy_open(&l->w, &(struct sim_config){ .frames = 0 });
	l->m = l->w.m;
}

static void locks_close(struct locks *l, const char *error)
{
	if (error)
		expect_error(&l->w, error);
	else
		no_error(&l->w);
	assert_int_equal(sim_destroy(l->w.s), 0);
}

static void locks_in_order_are_fine(void **state)
{
	struct locks l;
	struct avm_page page = { 0 };

	(void)state;
	locks_open(&l);
	assert_int_equal(avm_mmap_write_lock(l.w.mm), 0);
	avm_page_lock(l.m, &page);
	avm_might_reclaim(l.m);
	assert_int_equal(avm_rw_read(l.m, &l.sleeping[0], AVM_LOCK_FILE), 0);
	assert_int_equal(avm_rw_write(l.m, &l.sleeping[1], AVM_LOCK_FAMILY), 0);
	avm_might_sleep(l.m);
	avm_spin_lock(l.m, &l.spin[0], AVM_LOCK_TABLE);
	avm_spin_lock_nested(l.m, &l.spin[1], AVM_LOCK_TABLE);
	avm_spin_unlock(l.m, &l.spin[0], AVM_LOCK_TABLE);
	avm_spin_lock(l.m, &l.spin[0], AVM_LOCK_LEAF);
	avm_spin_unlock(l.m, &l.spin[0], AVM_LOCK_LEAF);
	avm_spin_unlock(l.m, &l.spin[1], AVM_LOCK_TABLE);
	avm_assert_mmap_write_locked(l.w.mm);
	avm_assert_page_locked(l.m, &page);
	avm_rw_unlock_write(l.m, &l.sleeping[1], AVM_LOCK_FAMILY);
	avm_rw_unlock_read(l.m, &l.sleeping[0], AVM_LOCK_FILE);
	avm_page_unlock(l.m, &page);
	avm_mmap_downgrade(l.w.mm);
	avm_assert_mmap_locked(l.w.mm);
	avm_mmap_read_unlock(l.w.mm);
	assert_int_equal(sim_verify(l.w.s, AVM_VERIFY_ALL, stderr), 0);
	locks_close(&l, NULL);
}

/* Each sleeping class, and the spinning ones, under each that comes after it. */
static void the_wrong_order_of_any_two_classes_is_reported(void **state)
{
	(void)state;
	for (int outer = AVM_LOCK_PAGE; outer < AVM_NR_LOCK_CLASSES; outer++) {
		for (int inner = AVM_LOCK_PAGE; inner < AVM_NR_LOCK_CLASSES; inner++) {
			struct locks l;

			locks_open(&l);
			avm_port_lock_event(l.m, AVM_LOCK_EV_WRITE, outer, &l.spin[0]);
			no_error(&l.w);
			avm_port_lock_event(l.m, AVM_LOCK_EV_WRITE, inner, &l.spin[1]);
			avm_port_lock_event(l.m, AVM_LOCK_EV_UNLOCK_WRITE, inner, &l.spin[1]);
			avm_port_lock_event(l.m, AVM_LOCK_EV_UNLOCK_WRITE, outer, &l.spin[0]);
			locks_close(&l, inner <= outer ? "is taken under" : NULL);
		}
	}
}

static void a_trylock_is_free_of_order_but_not_of_two_families(void **state)
{
	struct avm_page one = { 0 }, two = { 0 };
	struct locks l;

	(void)state;
	locks_open(&l);
	avm_page_lock(l.m, &one);
	assert_true(avm_page_trylock(l.m, &two));
	avm_page_unlock(l.m, &one);
	avm_page_unlock(l.m, &two);
	assert_true(avm_rw_try_read(l.m, &l.sleeping[0], AVM_LOCK_FAMILY));
	no_error(&l.w);
	assert_true(avm_rw_try_read(l.m, &l.sleeping[1], AVM_LOCK_FAMILY));
	avm_rw_unlock_read(l.m, &l.sleeping[1], AVM_LOCK_FAMILY);
	avm_rw_unlock_read(l.m, &l.sleeping[0], AVM_LOCK_FAMILY);
	locks_close(&l, "FAMILY");
}

static void a_second_table_lock_goes_upwards(void **state)
{
	struct locks l;

	(void)state;
	locks_open(&l);
	avm_spin_lock(l.m, &l.spin[1], AVM_LOCK_TABLE);
	avm_spin_lock_nested(l.m, &l.spin[0], AVM_LOCK_TABLE);
	avm_spin_unlock(l.m, &l.spin[0], AVM_LOCK_TABLE);
	avm_spin_unlock(l.m, &l.spin[1], AVM_LOCK_TABLE);
	locks_close(&l, "taken under another");

	locks_open(&l);
	avm_spin_lock_nested(l.m, &l.spin[0], AVM_LOCK_TABLE);
	avm_spin_lock(l.m, &l.spin[1], AVM_LOCK_TABLE);
	avm_spin_unlock(l.m, &l.spin[1], AVM_LOCK_TABLE);
	avm_spin_unlock(l.m, &l.spin[0], AVM_LOCK_TABLE);
	locks_close(&l, "taken under another");
}

static void nothing_sleeps_under_a_spin_lock_or_in_a_read_section(void **state)
{
	struct locks l;
	uintptr_t saved;

	(void)state;
	locks_open(&l);
	avm_spin_lock(l.m, &l.spin[0], AVM_LOCK_LEAF);
	avm_might_sleep(l.m);
	avm_spin_unlock(l.m, &l.spin[0], AVM_LOCK_LEAF);
	locks_close(&l, "may sleep under the spin lock LEAF");

	locks_open(&l);
	saved = avm_rcu_enter(l.m);
	avm_spin_lock(l.m, &l.spin[0], AVM_LOCK_LEAF);
	avm_spin_unlock(l.m, &l.spin[0], AVM_LOCK_LEAF);
	assert_true(avm_rw_try_read(l.m, &l.sleeping[1], AVM_LOCK_FAMILY));
	no_error(&l.w);
	avm_rw_unlock_read(l.m, &l.sleeping[1], AVM_LOCK_FAMILY);
	assert_int_equal(avm_rw_read(l.m, &l.sleeping[0], AVM_LOCK_FAMILY), 0);
	avm_rw_unlock_read(l.m, &l.sleeping[0], AVM_LOCK_FAMILY);
	avm_rcu_exit(l.m, saved);
	locks_close(&l, "FAMILY may sleep inside an RCU read section");
}

static void an_allocation_counts_as_a_lock(void **state)
{
	struct locks l;

	(void)state;
	locks_open(&l);
	assert_int_equal(avm_rw_read(l.m, &l.sleeping[0], AVM_LOCK_FILE), 0);
	avm_might_reclaim(l.m);
	avm_rw_unlock_read(l.m, &l.sleeping[0], AVM_LOCK_FILE);
	locks_close(&l, "RECLAIM");
}

static void a_lock_is_dropped_by_who_holds_it_and_as_it_is_held(void **state)
{
	struct locks l;

	(void)state;
	locks_open(&l);
	avm_port_lock_event(l.m, AVM_LOCK_EV_UNLOCK_WRITE, AVM_LOCK_LEAF, &l.spin[0]);
	locks_close(&l, "is unlocked and not held");

	locks_open(&l);
	avm_port_lock_event(l.m, AVM_LOCK_EV_READ, AVM_LOCK_FILE, &l.sleeping[0]);
	avm_port_lock_event(l.m, AVM_LOCK_EV_UNLOCK_WRITE, AVM_LOCK_FILE, &l.sleeping[0]);
	locks_close(&l, "is unlocked as held for write");

	locks_open(&l);
	avm_port_lock_event(l.m, AVM_LOCK_EV_READ, AVM_LOCK_FILE, &l.sleeping[0]);
	avm_port_lock_event(l.m, AVM_LOCK_EV_READ, AVM_LOCK_FILE, &l.sleeping[0]);
	avm_port_lock_event(l.m, AVM_LOCK_EV_UNLOCK_READ, AVM_LOCK_FILE, &l.sleeping[0]);
	avm_port_lock_event(l.m, AVM_LOCK_EV_UNLOCK_READ, AVM_LOCK_FILE, &l.sleeping[0]);
	locks_close(&l, "is taken twice");

	locks_open(&l);
	avm_port_lock_event(l.m, AVM_LOCK_EV_RCU_EXIT, AVM_LOCK_LEAF, NULL);
	locks_close(&l, "did not begin");
}

static void an_assertion_looks_at_the_mode(void **state)
{
	struct locks l;

	(void)state;
	locks_open(&l);
	avm_assert_mmap_locked(l.w.mm);
	locks_close(&l, "should be held here");

	locks_open(&l);
	assert_int_equal(avm_mmap_read_lock(l.w.mm), 0);
	avm_assert_mmap_locked(l.w.mm);
	no_error(&l.w);
	avm_assert_mmap_write_locked(l.w.mm);
	avm_mmap_read_unlock(l.w.mm);
	locks_close(&l, "should be held for write here");
}

static void a_vma_is_locked_under_its_mmap_lock_and_unlocked_with_it(void **state)
{
	struct locks l;
	struct avm_vma *vma;
	avm_addr_t a;

	(void)state;
	locks_open(&l);
	a = map_anon(l.w.mm, 1, RW);
	vma = avm_find_vma(l.w.mm, a);
	assert_int_equal(avm_mmap_write_lock(l.w.mm), 0);
	avm_vma_lock(vma);
	avm_vma_lock(vma);
	avm_mmap_write_unlock(l.w.mm);
	assert_int_equal(sim_verify(l.w.s, AVM_VERIFY_VMAS, NULL), 0);
	avm_port_lock_event(l.m, AVM_LOCK_EV_WRITE, AVM_LOCK_VMA, vma);
	locks_close(&l, "without mmap_lock for write");

	locks_open(&l);
	a = map_anon(l.w.mm, 1, RW);
	assert_int_equal(avm_mmap_write_lock(l.w.mm), 0);
	assert_int_equal(avm_rw_read(l.m, &l.sleeping[0], AVM_LOCK_FILE), 0);
	avm_vma_lock(avm_find_vma(l.w.mm, a));
	avm_rw_unlock_read(l.m, &l.sleeping[0], AVM_LOCK_FILE);
	avm_mmap_write_unlock(l.w.mm);
	locks_close(&l, "is taken under FILE");
}

static void a_second_mmap_lock_is_a_childs(void **state)
{
	struct locks l;
	struct sim_proc *b;

	(void)state;
	for (int nested = 0; nested < 2; nested++) {
		locks_open(&l);
		assert_int_equal(sim_proc_create(l.w.s, NULL, &b), 0);
		assert_int_equal(avm_mmap_write_lock(l.w.mm), 0);
		avm_mmap_write_lock_always(sim_mm(b), nested);
		avm_mmap_write_unlock(sim_mm(b));
		avm_mmap_write_unlock(l.w.mm);
		locks_close(&l, nested ? NULL : "MMAP");
	}
}

static void a_lock_that_stays_held_is_found_at_rest(void **state)
{
	struct locks l;

	(void)state;
	locks_open(&l);
	assert_int_equal(avm_mmap_read_lock(l.w.mm), 0);
	assert_true(sim_verify(l.w.s, AVM_VERIFY_VMAS, NULL) > 0);
	expect_error(&l.w, "MMAP");
	expect_error(&l.w, "is held at rest");
	avm_mmap_read_unlock(l.w.mm);
	locks_close(&l, "is held at rest");
}

#define LOCK_TESTS \
	cmocka_unit_test(locks_in_order_are_fine), \
		cmocka_unit_test(the_wrong_order_of_any_two_classes_is_reported), \
		cmocka_unit_test(a_trylock_is_free_of_order_but_not_of_two_families), \
		cmocka_unit_test(a_second_table_lock_goes_upwards), \
		cmocka_unit_test(nothing_sleeps_under_a_spin_lock_or_in_a_read_section), \
		cmocka_unit_test(an_allocation_counts_as_a_lock), \
		cmocka_unit_test(a_lock_is_dropped_by_who_holds_it_and_as_it_is_held), \
		cmocka_unit_test(an_assertion_looks_at_the_mode), \
		cmocka_unit_test(a_vma_is_locked_under_its_mmap_lock_and_unlocked_with_it), \
		cmocka_unit_test(a_second_mmap_lock_is_a_childs), \
		cmocka_unit_test(a_lock_that_stays_held_is_found_at_rest),
#else
#define LOCK_TESTS /* release builds have plain locks */
#endif

/* ---- files --------------------------------------------------------------------------------------------- */

static void a_file_has_the_contents_of_its_seed_until_written_back(void **state)
{
	struct world w;
	struct avm_file *f;
	unsigned char want[3][AVM_PAGE_SIZE];
	avm_addr_t a;

	(void)state;
	world_open(&w);
	assert_int_equal(sim_file_create(w.s, "data", 2 * PAGE + 10, 42, &f), 0);
	assert_string_equal(sim_file_name(f), "data");
	for (uint64_t i = 0; i < 3; i++)
		sim_file_page(42, i, want[i], PAGE);
	assert_memory_not_equal(want[0], want[1], PAGE);
	memset(want[2] + 10, 0, PAGE - 10); /* beyond the end */
	a = map_file(w.mm, 3, RW, AVM_MAP_SHARED, f);
	for (uint64_t i = 0; i < 3 * PAGE; i += 5)
		assert_int_equal(load(w.a, a + i), want[i / PAGE][i % PAGE]);
	store(w.a, a + 1, 0xee);
	store(w.a, a + PAGE, 0xdd);
	assert_int_equal(avm_msync(w.mm, a, PAGE, AVM_MS_SYNC), 0);
	assert_int_equal(avm_munmap(w.mm, a, 3 * PAGE), 0);
	/* The first page was written back, and is read again so; the second is still only in the cache. */
	assert_int_equal(avm_file_invalidate(f, 0, 1), 0);
	a = map_file(w.mm, 3, AVM_PROT_READ, AVM_MAP_SHARED, f);
	assert_int_equal(load(w.a, a + 1), 0xee);
	assert_int_equal(load(w.a, a + 2), want[0][2]);
	assert_int_equal(load(w.a, a + PAGE), 0xdd);
	sim_file_put(f);
	world_close(&w);
}

static void what_was_cut_off_is_zero_when_the_file_grows_again(void **state)
{
	struct world w;
	struct avm_file *f;
	unsigned char want[AVM_PAGE_SIZE];
	avm_addr_t a;

	(void)state;
	world_open(&w);
	assert_int_equal(sim_file_create(w.s, "data", 4 * PAGE, 7, &f), 0);
	a = map_file(w.mm, 4, RW, AVM_MAP_SHARED, f);
	store(w.a, a + 2 * PAGE, 0xee);
	store(w.a, a + PAGE + 200, 0xee);
	assert_int_equal(avm_file_sync(f), 0);
	assert_int_equal(avm_file_invalidate(f, 0, 4), 0); /* so that the store alone has it */
	assert_int_equal(sim_file_truncate(f, PAGE + 100), 0);
	assert_int_equal(sim_file_truncate(f, 4 * PAGE), 0);
	sim_file_page(7, 1, want, PAGE);
	assert_int_equal(load(w.a, a + PAGE + 99), want[99]);
	assert_int_equal(load(w.a, a + PAGE + 100), 0);
	assert_int_equal(load(w.a, a + PAGE + 200), 0);
	assert_int_equal(load(w.a, a + 2 * PAGE), 0);
	assert_int_equal(load(w.a, a + 3 * PAGE + 1), 0);
	sim_file_page(7, 0, want, PAGE);
	assert_int_equal(load(w.a, a), want[0]);
	/* A cut that it is not told of, the store sees at the next read. */
	assert_int_equal(avm_file_invalidate(f, 0, 4), 0);
	assert_int_equal(avm_file_truncate(f, 10), 0);
	assert_int_equal(load(w.a, a + 9), want[9]);
	assert_int_equal(avm_file_truncate(f, 4 * PAGE), 0);
	assert_int_equal(load(w.a, a + PAGE), 0);
	sim_file_put(f);
	world_close(&w);
}

static void reads_and_writes_fail_on_demand(void **state)
{
	struct world w;
	struct avm_file *f;
	unsigned faults = 0;
	unsigned char c;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	assert_int_equal(sim_file_create(w.s, "data", 4 * PAGE, 7, &f), 0);
	a = map_file(w.mm, 4, RW, AVM_MAP_SHARED, f);
	sim_file_fail(f, 1, 1, false);
	assert_int_equal(sim_load(w.a, a, &c, 1, NULL), AVM_FAULT_SIGBUS);
	store(w.a, a, 1);
	assert_int_equal(avm_file_sync(f), -AVM_EIO);
	assert_int_equal(avm_file_sync(f), 0);
	sim_file_fail(f, 3, 0, true);
	assert_int_equal(sim_load(w.a, a + PAGE, &c, 1, &faults), 0);
	assert_true(faults & AVM_FAULT_RETRY);
	assert_true(faults & AVM_FAULT_MAJOR);
	sim_file_put(f);
	world_close(&w);
}

static void a_fault_that_never_gets_on_is_reported(void **state)
{
	struct world w;
	struct avm_file *f;
	unsigned char c;
	avm_addr_t a;

	(void)state;
	noisy_open(&w, &(struct sim_config){ .frames = 0 });
	assert_int_equal(sim_file_create(w.s, "data", PAGE, 0, &f), 0);
	a = map_file(w.mm, 1, RW, AVM_MAP_SHARED, f);
	sim_file_fail(f, 1000, 0, true);
	assert_int_equal(sim_load(w.a, a, &c, 1, NULL), AVM_FAULT_OOM);
	expect_error(&w, "no progress");
	assert_int_equal(sim_destroy(w.s), 0);
}

static void memfds_and_files_are_gone_with_the_machine(void **state)
{
	struct world w;
	struct avm_file *f, *held;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(sim_memfd_create(w.s, "mem", PAGE, &f), 0);
		a = map_file(w.mm, 1, RW, AVM_MAP_SHARED, f);
		store(w.a, a, 1);
		sim_file_put(f);
		if (i)
			assert_int_equal(avm_munmap(w.mm, a, PAGE), 0);
	}
	assert_int_equal(sim_file_create(w.s, "held", PAGE, 0, &held), 0);
	world_close(&w);
}

static void frames_of_devices_have_contents(void **state)
{
	struct world w;
	struct sim_proc *b;

	(void)state;
	world_open(&w);
	assert_int_equal(sim_proc_create(w.s, NULL, &b), 0);
	assert_int_equal(avm_insert_pfn(w.mm, 0x100000, 0x500000, 40, RW), 0);
	assert_int_equal(avm_insert_pfn(sim_mm(b), 0x900000, 0x500010, 1, RW), 0);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(load(w.a, 0x100000 + i * PAGE), 0);
		store(w.a, 0x100000 + i * PAGE, (unsigned char)i);
	}
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(load(w.a, 0x100000 + i * PAGE), i);
	assert_int_equal(load(b, 0x900000), 0x10);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_translation_that_nobody_flushed_is_used_and_reported),
		cmocka_unit_test(a_frame_that_is_freed_before_the_flush_is_reported),
		cmocka_unit_test(each_kind_of_staleness_is_seen),
		cmocka_unit_test(a_flush_of_the_page_or_of_everything_is_enough),
		cmocka_unit_test(a_grant_needs_no_flush),
		cmocka_unit_test(a_cached_translation_permits_no_more_than_its_entry),
		cmocka_unit_test(hardware_sets_young_and_dirty),
		cmocka_unit_test(each_process_has_a_tlb_of_its_own),
		cmocka_unit_test(an_access_says_how_it_failed),
		cmocka_unit_test(an_access_across_a_page_is_a_mistake),
		cmocka_unit_test(frames_freed_twice_or_by_mistake_are_reported),
		cmocka_unit_test(a_free_frame_that_is_still_mapped_is_reported),
		cmocka_unit_test(what_is_not_given_back_is_counted),
		cmocka_unit_test(a_frame_may_be_one_stamp),
		cmocka_unit_test(allocations_fail_by_number),
		cmocka_unit_test(deferred_calls_wait_for_readers),
		cmocka_unit_test(a_wait_can_be_given_up),
		cmocka_unit_test(a_deadlock_is_the_end),
		LOCK_TESTS cmocka_unit_test(a_file_has_the_contents_of_its_seed_until_written_back),
		cmocka_unit_test(what_was_cut_off_is_zero_when_the_file_grows_again),
		cmocka_unit_test(reads_and_writes_fail_on_demand),
		cmocka_unit_test(a_fault_that_never_gets_on_is_reported),
		cmocka_unit_test(memfds_and_files_are_gone_with_the_machine),
		cmocka_unit_test(frames_of_devices_have_contents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
