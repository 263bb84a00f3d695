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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_is_never_locked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
