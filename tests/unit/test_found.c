/* SPDX-License-Identifier: MIT */
/* test_found.c - defects that were found by reading, each by the smallest program that shows it. */
#include "world.h"

/* R13.4: mlock leaves such memory alone, so nobody would ever unlock it. */
static void a_device_is_never_locked(void **state)
{
	const struct avm_mmap locked = {
		.len = 2 * PAGE,
		.prot = RW,
		.flags = AVM_MAP_SHARED | AVM_MAP_LOCKED,
	};
	struct avm_mmap args = locked;
	struct test_file *dev;
	struct world w;
	avm_addr_t a, b;

	(void)state;
	world_open(&w);
	dev = test_device_open(&w, 1u << 20, 8);
	args.file = &dev->file;
	assert_int_equal(avm_mmap(w.mm, &args, &a), 0);
	assert_int_equal(avm_mlockall(w.mm, AVM_MCL_FUTURE), 0);
	args.flags = AVM_MAP_SHARED;
	args.pgoff = 4;
	assert_int_equal(avm_mmap(w.mm, &args, &b), 0);
	assert_false(avm_find_vma(w.mm, a)->flags & AVM_VM_LOCKED);
	assert_false(avm_find_vma(w.mm, b)->flags & AVM_VM_LOCKED);
	assert_int_equal(w.mm->locked_vm, 0);
	avm_mm_unmap_all(w.mm);
	test_file_close(dev);
	world_close(&w);
}

/* ---- R12: translations go before writeback can come by ---------------------------------------------- */

struct unmapper {
	struct world w;
	avm_addr_t addr;
	unsigned entries_gone, flushed;
};

static uint64_t flushes(struct world *w)
{
	return event(w, AVM_EV_TLB_FLUSH);
}

/* The lock of a table is about to be dropped: of the one whose entry has been taken away? */
static void look_at_unlock(void *context, int event, int lock_class, const volatile void *lock)
{
	struct unmapper *u = context;
	struct avm_pte_info info;

	(void)lock;
	if (event != AVM_LOCK_EV_UNLOCK_WRITE || lock_class != AVM_LOCK_TABLE || u->entries_gone)
		return;
	avm_pte_at(u->w.mm, u->addr, &info);
	if (info.kind != AVM_PTE_NONE)
		return;
	u->entries_gone++;
	u->flushed += flushes(&u->w) != 0;
}

/*
 * Another CPU may write to a dirty page through an old translation until the flush. Writeback that comes before must
 * wait for it, or what is written afterwards is lost.
 */
static void dirty_pages_of_files_are_flushed_under_the_table_lock(void **state)
{
	struct test_file *tf;
	struct unmapper u = { 0 };

	(void)state;
	world_open(&u.w);
	tf = test_file_open(&u.w, 2 * PAGE);
	u.addr = map_at(u.w.mm, 0x10000000, 2, RW, AVM_MAP_SHARED, &tf->file, 0);
	assert_int_equal(sim_store(u.w.a, u.addr, "a", 1, NULL), 0);
	atomic_store(&u.w.m->cpus[0].events[AVM_EV_TLB_FLUSH], 0);
	if (!sim_set_other_cpu(u.w.s, look_at_unlock, &u))
		u.entries_gone = u.flushed = 1; /* nobody can look in a release build */
	assert_int_equal(avm_munmap(u.w.mm, u.addr, 2 * PAGE), 0);
	sim_set_other_cpu(u.w.s, NULL, NULL);
	assert_int_equal(u.entries_gone, 1);
	assert_int_equal(u.flushed, 1);
	test_file_close(tf);
	world_close(&u.w);
}

/* ---- notifiers ---------------------------------------------------------------------------------------- */

struct listener {
	struct avm_notifier n;
	struct avm_mm *mm;
	unsigned starts, ends, unguarded;
};

/* Who tells us holds mmap_lock, or the lock that keeps us on the list. */
static void guard_check(struct listener *l)
{
	if (!atomic_load(&l->mm->mmap_lock.word) && !atomic_load(&l->mm->notify_lock.word))
		l->unguarded++;
}

static void on_start(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct listener *l = (struct listener *)n;

	assert_true(start < end);
	l->starts++;
	guard_check(l);
}

static void on_end(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct listener *l = (struct listener *)n;

	assert_true(start < end);
	l->ends++;
	guard_check(l);
}

static void notifiers_stay_while_they_are_told_of_a_file(void **state)
{
	struct listener l = { .n = { .invalidate_start = on_start, .invalidate_end = on_end } };
	struct test_file *tf;
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	l.mm = w.mm;
	tf = test_file_open(&w, 2 * PAGE);
	a = map_at(w.mm, 0x10000000, 2, RW, AVM_MAP_SHARED, &tf->file, 0);
	assert_int_equal(sim_store(w.a, a, "a", 1, NULL), 0);
	avm_notifier_add(w.mm, &l.n);
	/* Writeback takes permission to write away. */
	assert_int_equal(avm_file_sync(&tf->file), 0);
	assert_int_equal(l.starts, 1);
	assert_int_equal(avm_file_truncate(&tf->file, 0), 0);
	assert_true(l.starts > 1);
	assert_int_equal(l.ends, l.starts);
	assert_int_equal(l.unguarded, 0);
	avm_notifier_del(w.mm, &l.n);
	avm_mm_unmap_all(w.mm);
	test_file_close(tf);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_is_never_locked),
		cmocka_unit_test(dirty_pages_of_files_are_flushed_under_the_table_lock),
		cmocka_unit_test(notifiers_stay_while_they_are_told_of_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
