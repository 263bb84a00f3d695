/* SPDX-License-Identifier: MIT */
/* mlock, munlock, mlockall, munlockall: flags, limits, errno, pages (R13.4). */
#include "ops.h"

static int lock(struct world *w, unsigned page, unsigned pages)
{
	return avm_mlock(w->mm, AT(page), pages * PAGE, 0);
}

static int unlock(struct world *w, unsigned page, unsigned pages)
{
	return avm_munlock(w->mm, AT(page), pages * PAGE);
}

static bool present(struct world *w, unsigned page)
{
	return pte(w->mm, AT(page)).kind == AVM_PTE_PRESENT;
}

static bool unevictable(struct world *w, unsigned page)
{
	return has_flag(page_at(w->mm, AT(page)), AVM_PG_UNEVICTABLE);
}

/* ---- mlock ----------------------------------------------------------------------------------- */

static void locking_splits_counts_and_faults_in(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 6, RW);
	mark(&w, 2, 1);
	assert_int_equal(lock(&w, 1, 3), 0);
	assert_layout(w.mm, BASE, "0+1:rwF 1+3:rwLF 4+2:rwF");
	assert_int_equal(w.mm->locked_vm, 3);
	assert_int_equal(w.mm->total_vm, 6);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(present(&w, i), i >= 1 && i <= 3);
	for (unsigned i = 1; i <= 3; i++)
		assert_true(unevictable(&w, i));
	assert_marked(&w, 2, 1, 2);
	assert_int_equal(lock(&w, 3, 3), 0); /* part of it again */
	assert_layout(w.mm, BASE, "0+1:rwF 1+5:rwLF");
	assert_int_equal(w.mm->locked_vm, 5);
	assert_int_equal(unlock(&w, 0, 4), 0);
	assert_layout(w.mm, BASE, "0+4:rwF 4+2:rwLF");
	assert_int_equal(w.mm->locked_vm, 2);
	assert_false(unevictable(&w, 2));
	assert_true(unevictable(&w, 4));
	assert_int_equal(avm_munmap(w.mm, AT(4), PAGE), 0);
	assert_int_equal(w.mm->locked_vm, 1);
	world_close(&w);
}

static void ranges_are_of_bytes_and_take_whole_pages(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	assert_int_equal(avm_mlock(w.mm, AT(1) + PAGE - 1, 2, 0), 0);
	assert_layout(w.mm, BASE, "0+1:rw 1+2:rwLF 3+1:rw");
	assert_int_equal(avm_munlock(w.mm, AT(2) + 1, 1), 0);
	assert_layout(w.mm, BASE, "0+1:rw 1+1:rwLF 2+2:rwF");
	assert_int_equal(avm_mlock(w.mm, AT(3) + 1, 0, 0), 0); /* one page, as on Linux */
	assert_layout(w.mm, BASE, "0+1:rw 1+1:rwLF 2+1:rwF 3+1:rwLF");
	assert_int_equal(avm_mlock(w.mm, AT(2), 0, 0), 0); /* none */
	assert_int_equal(avm_munlock(w.mm, AT(1), 0), 0);
	assert_int_equal(w.mm->locked_vm, 2);
	world_close(&w);
}

static void on_fault_locks_what_comes(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	mark(&w, 0, 1);
	assert_int_equal(avm_mlock(w.mm, AT(0), 4 * PAGE, AVM_MLOCK_ONFAULT), 0);
	assert_layout(w.mm, BASE, "0+4:rwLOF");
	assert_true(unevictable(&w, 0));
	assert_false(present(&w, 1));
	mark(&w, 1, 1);
	assert_true(unevictable(&w, 1));
	assert_int_equal(lock(&w, 0, 4), 0); /* now all of it */
	assert_layout(w.mm, BASE, "0+4:rwLF");
	assert_true(unevictable(&w, 3));
	assert_int_equal(w.mm->locked_vm, 4);
	world_close(&w);
}

static void pages_of_files_are_locked_as_well(void **state)
{
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	map_at(w.mm, AT(0), 2, RW, AVM_MAP_PRIVATE, &tf->file, 0);
	map_at(w.mm, AT(2), 2, RW, AVM_MAP_SHARED, &tf->file, 4);
	map_at(w.mm, AT(4), 2, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 6);
	assert_int_equal(lock(&w, 0, 6), 0);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 2); /* writable and private: copied now */
	assert_int_equal(rss(w.mm, AVM_RSS_FILE), 4);
	for (unsigned i = 0; i < 6; i++)
		assert_true(unevictable(&w, i));
	assert_false(pte(w.mm, AT(2)).write); /* nobody has written: the file is not dirty */
	assert_int_equal(unlock(&w, 0, 6), 0);
	for (unsigned i = 0; i < 6; i++)
		assert_false(unevictable(&w, i));
	assert_int_equal(avm_munmap(w.mm, AT(0), 6 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void locked_memory_that_becomes_writable_gets_its_own_pages(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, AVM_PROT_READ);
	assert_int_equal(lock(&w, 0, 2), 0);
	assert_true(pte(w.mm, AT(1)).zero);
	assert_int_equal(avm_mprotect(w.mm, AT(0), 2 * PAGE, RW), 0);
	assert_false(pte(w.mm, AT(1)).zero);
	assert_true(pte(w.mm, AT(1)).write);
	assert_true(unevictable(&w, 1));
	map(&w, 4, 2, AVM_PROT_READ);
	assert_int_equal(avm_mlock(w.mm, AT(4), 2 * PAGE, AVM_MLOCK_ONFAULT), 0);
	assert_int_equal(avm_mprotect(w.mm, AT(4), 2 * PAGE, RW), 0);
	assert_false(present(&w, 4));
	world_close(&w);
}

/* ---- errno ----------------------------------------------------------------------------------- */

static void bad_arguments(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	assert_int_equal(avm_mlock(w.mm, AT(0), PAGE, 2), -AVM_EINVAL);
	assert_int_equal(avm_mlock(w.mm, AT(0), ~0ull, 0), -AVM_EINVAL);
	assert_int_equal(avm_munlock(w.mm, AT(0), ~0ull), -AVM_EINVAL);
	assert_int_equal(avm_munlock(w.mm, ~0ull, ~0ull), -AVM_EINVAL);
	assert_int_equal(avm_mlockall(w.mm, 0), -AVM_EINVAL);
	assert_int_equal(avm_mlockall(w.mm, AVM_MCL_ONFAULT), -AVM_EINVAL);
	assert_int_equal(avm_mlockall(w.mm, 8 | AVM_MCL_CURRENT), -AVM_EINVAL);
	assert_layout(w.mm, BASE, "0+2:rw");
	world_close(&w);
}

static void a_hole_is_enomem_and_what_precedes_is_locked(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	map(&w, 3, 2, RW);
	assert_int_equal(lock(&w, 0, 5), -AVM_ENOMEM);
	assert_layout(w.mm, BASE, "0+2:rwL 3+2:rw"); /* and not faulted in */
	assert_int_equal(lock(&w, 2, 3), -AVM_ENOMEM);
	assert_int_equal(lock(&w, 4, 3), -AVM_ENOMEM);
	assert_layout(w.mm, BASE, "0+2:rwL 3+1:rw 4+1:rwL");
	assert_int_equal(unlock(&w, 1, 4), -AVM_ENOMEM);
	assert_layout(w.mm, BASE, "0+1:rwL 1+1:rw 3+1:rw 4+1:rwL");
	assert_int_equal(w.mm->locked_vm, 2);
	assert_int_equal(avm_mlock(w.mm, AVM_ARCH_TASK_SIZE, PAGE, 0), -AVM_ENOMEM);
	world_close(&w);
}

static void the_limit_is_enomem_and_nothing_is_done(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 8, RW);
	w.mm->limits.locked = 4 * PAGE + PAGE / 2;
	assert_int_equal(lock(&w, 0, 5), -AVM_ENOMEM);
	assert_layout(w.mm, BASE, "0+8:rw");
	assert_int_equal(lock(&w, 0, 4), 0);
	assert_int_equal(lock(&w, 1, 3), 0); /* locked already: not counted twice */
	assert_int_equal(lock(&w, 1, 4), -AVM_ENOMEM);
	assert_int_equal(avm_mlockall(w.mm, AVM_MCL_CURRENT), -AVM_ENOMEM);
	assert_int_equal(avm_mlockall(w.mm, AVM_MCL_FUTURE), 0); /* for mmap to say */
	w.mm->limits.locked = 0;
	assert_int_equal(lock(&w, 0, 1), -AVM_EPERM);
	assert_int_equal(avm_mlockall(w.mm, AVM_MCL_CURRENT), -AVM_EPERM);
	assert_int_equal(unlock(&w, 0, 8), 0); /* always allowed */
	assert_int_equal(avm_munlockall(w.mm), 0);
	assert_int_equal(w.mm->default_flags, 0);
	assert_int_equal(w.mm->locked_vm, 0);
	world_close(&w);
}

static void pages_that_cannot_be_are_enomem_no_frames_is_eagain(void **state)
{
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, PAGE);
	map(&w, 0, 1, RW);
	map(&w, 1, 1, AVM_PROT_NONE);
	assert_int_equal(lock(&w, 0, 2), -AVM_ENOMEM);
	assert_layout(w.mm, BASE, "0+1:rwLF 1+1:L"); /* locked all the same */
	map_at(w.mm, AT(4), 2, AVM_PROT_READ, AVM_MAP_SHARED, &tf->file, 0);
	assert_int_equal(lock(&w, 4, 2), -AVM_ENOMEM);
	assert_true(unevictable(&w, 4));
	map(&w, 8, 1, RW);
	sim_fail_alloc(w.s, 1, 0);
	assert_int_equal(lock(&w, 8, 1), -AVM_EAGAIN);
	sim_fail_alloc(w.s, 0, 0);
	assert_int_equal(avm_munmap(w.mm, AT(0), 10 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void special_mappings_are_left_alone(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_insert_pfn(w.mm, AT(0), 1 << 20, 2, RW), 0);
	map(&w, 2, 1, RW);
	assert_int_equal(lock(&w, 0, 3), 0);
	assert_layout(w.mm, BASE, "0+2:rwsdS 2+1:rwLF");
	assert_int_equal(w.mm->locked_vm, 1);
	assert_int_equal(unlock(&w, 0, 3), 0);
	world_close(&w);
}

/* ---- mlockall -------------------------------------------------------------------------------- */

static void mlockall_current_locks_what_there_is(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	map(&w, 2, 1, AVM_PROT_NONE);
	map(&w, 5, 2, RW);
	assert_int_equal(avm_mlockall(w.mm, AVM_MCL_CURRENT), 0); /* PROT_NONE is no error here */
	assert_layout(w.mm, BASE, "0+2:rwLF 2+1:L 5+2:rwLF");
	assert_int_equal(w.mm->locked_vm, 5);
	assert_true(unevictable(&w, 6));
	map(&w, 10, 1, RW);
	assert_false(present(&w, 10));
	assert_int_equal(avm_munlockall(w.mm), 0);
	assert_layout(w.mm, BASE, "0+2:rwF 2+1: 5+2:rwF 10+1:rw");
	assert_int_equal(w.mm->locked_vm, 0);
	assert_false(unevictable(&w, 6));
	world_close(&w);
}

static void mlockall_future_locks_what_comes(void **state)
{
	struct world w;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	assert_int_equal(avm_mlockall(w.mm, AVM_MCL_FUTURE), 0);
	a = map_anon(w.mm, 2, RW);
	assert_layout(w.mm, BASE, "0+2:rw");
	assert_int_equal(w.mm->locked_vm, 2);
	assert_int_equal(pte(w.mm, a + PAGE).kind, AVM_PTE_PRESENT);
	assert_int_equal(avm_mlockall(w.mm, AVM_MCL_FUTURE | AVM_MCL_CURRENT | AVM_MCL_ONFAULT), 0);
	assert_layout(w.mm, BASE, "0+2:rwLO");
	assert_false(present(&w, 0));
	a = map_anon(w.mm, 2, RW);
	assert_int_equal(pte(w.mm, a).kind, AVM_PTE_NONE);
	assert_int_equal(avm_mlockall(w.mm, AVM_MCL_CURRENT), 0); /* and nothing for the future */
	assert_int_equal(w.mm->default_flags, 0);
	assert_layout(w.mm, BASE, "0+2:rwLF");
	world_close(&w);
}

/* ---- failures -------------------------------------------------------------------------------- */

static int lock_middle(struct world *w)
{
	return avm_mlock(w->mm, AT(1), 4 * PAGE, AVM_MLOCK_ONFAULT);
}

static int unlock_middle(struct world *w)
{
	return unlock(w, 2, 2);
}

static void a_failure_changes_nothing(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 6, RW);
	mark(&w, 0, 6);
	assert_true(fail_everywhere(&w, &(struct attempt){ lock_middle, -AVM_ENOMEM }) >= 4);
	assert_true(fail_everywhere(&w, &(struct attempt){ unlock_middle, -AVM_ENOMEM }) >= 4);
	assert_layout(w.mm, BASE, "0+1:rwF 1+1:rwLOF 2+2:rwF 4+1:rwLOF 5+1:rwF");
	assert_false(unevictable(&w, 2));
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(locking_splits_counts_and_faults_in),
		cmocka_unit_test(ranges_are_of_bytes_and_take_whole_pages),
		cmocka_unit_test(on_fault_locks_what_comes),
		cmocka_unit_test(pages_of_files_are_locked_as_well),
		cmocka_unit_test(locked_memory_that_becomes_writable_gets_its_own_pages),
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(a_hole_is_enomem_and_what_precedes_is_locked),
		cmocka_unit_test(the_limit_is_enomem_and_nothing_is_done),
		cmocka_unit_test(pages_that_cannot_be_are_enomem_no_frames_is_eagain),
		cmocka_unit_test(special_mappings_are_left_alone),
		cmocka_unit_test(mlockall_current_locks_what_there_is),
		cmocka_unit_test(mlockall_future_locks_what_comes),
		cmocka_unit_test(a_failure_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
