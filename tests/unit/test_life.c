/* SPDX-License-Identifier: MIT */
/* test_life.c - address spaces from birth to end: init, references, exec, fork, exit, notifiers (R9, R12). */
#include "ops.h"

static int try_init(struct world *w, struct avm_mm_config config)
{
	struct avm_mm mm;
	int err = avm_mm_init(w->m, &mm, &config);

	if (!err)
		avm_mm_put(&mm);
	return err;
}

static void a_layout_that_makes_no_sense_is_refused(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(try_init(&w, (struct avm_mm_config){ .lowest = 0x1001 }), -AVM_EINVAL);
	assert_int_equal(try_init(&w, (struct avm_mm_config){ .task_size = 0x10000 }), -AVM_EINVAL);
	assert_int_equal(try_init(&w, (struct avm_mm_config){ .task_size = ~0ull << 12 }),
			 -AVM_EINVAL);
	assert_int_equal(try_init(&w, (struct avm_mm_config){ .mmap_base = 0x1000 }), -AVM_EINVAL);
	assert_int_equal(
		try_init(&w, (struct avm_mm_config){ .task_size = 0x40000, .mmap_base = 0x50000 }),
		-AVM_EINVAL);
	assert_int_equal(try_init(&w, (struct avm_mm_config){ .task_size = 0x40000 }), 0);
	sim_fail_alloc(w.s, 1, 1);
	assert_int_equal(try_init(&w, (struct avm_mm_config){ 0 }), -AVM_ENOMEM);
	sim_fail_alloc(w.s, 0, 0);
	world_close(&w);
}

/* A stack gets its room only where that is not half of everything. */
static void room_for_the_stack_is_left_in_a_large_address_space(void **state)
{
	const uint64_t room = 128ull << 20;
	struct world w;

	(void)state;
	world_open(&w);
	for (unsigned more = 0; more < 2; more++) {
		struct avm_mm_config config = { .lowest = 0x10000,
						.task_size = 0x10000 + 2 * room + more * PAGE };
		struct avm_mm mm;

		assert_int_equal(avm_mm_init(w.m, &mm, &config), 0);
		assert_int_equal(mm.mmap_base, config.task_size - more * room);
		avm_mm_put(&mm);
	}
	world_close(&w);
}

static unsigned released;

static void release(struct avm_mm *mm)
{
	(void)mm;
	released++;
}

static void the_last_user_ends_the_address_space(void **state)
{
	const struct avm_mm_config config = { .release = release };
	struct avm_mm mm;
	struct world w;

	(void)state;
	world_open(&w);
	released = 0;
	assert_int_equal(avm_mm_init(w.m, &mm, &config), 0);
	avm_mm_get(&mm);
	assert_true(avm_mm_tryget(&mm));
	avm_mm_put(&mm);
	avm_mm_put(&mm);
	assert_int_equal(released, 0);
	assert_int_equal(fault_write(&mm, BASE), AVM_FAULT_MAPERR);
	map_at(&mm, BASE, 3, RW, ANON, NULL, 0);
	assert_true(fault_write(&mm, BASE) & AVM_FAULT_MINOR);
	avm_mm_put(&mm);
	assert_int_equal(released, 1);
	assert_false(avm_mm_tryget(&mm));
	world_close(&w);
}

static void unmap_all_leaves_an_empty_address_space_that_works(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	mark(&w, 0, 4);
	avm_mm_unmap_all(w.mm);
	assert_layout(w.mm, BASE, "");
	assert_int_equal(w.mm->total_vm, 0);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 0);
	assert_int_equal(atomic_load(&w.mm->tables), 1);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	world_close(&w);
}

/* ---- exec ------------------------------------------------------------------------------------------- */

static struct avm_segment segments[3];

static struct avm_image image_of(struct test_file *tf)
{
	segments[0] =
		(struct avm_segment){ 0x400000, 2, AVM_PROT_READ | AVM_PROT_EXEC, &tf->file, 0 };
	segments[1] = (struct avm_segment){ 0x402000, 2, RW, &tf->file, 2 };
	segments[2] = (struct avm_segment){ 0x404000, 4, RW, NULL, 0 };
	return (struct avm_image){ .segments = segments,
				   .nr_segments = 3,
				   .brk_start = 0x409000,
				   .stack_end = 0x7ffffffff000,
				   .stack_pages = 33,
				   .argument_pages = 2 };
}

static void exec_maps_the_image_and_makes_the_arguments_present(void **state)
{
	struct avm_image image;
	struct test_file *tf;
	struct avm_vma *stack;
	struct world w;
	avm_addr_t brk;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	image = image_of(tf);
	image.stack_pgoff = 0x1234;
	assert_int_equal(avm_exec(w.mm, &image), 0);
	assert_int_equal(load(w.a, 0x401000), 2);
	store(w.a, 0x402000, 9);
	assert_int_equal(load(w.a, 0x404000), 0);
	stack = avm_find_vma(w.mm, 0x7fffffffe000);
	assert_int_equal(stack->pgoff, 0x1234);
	assert_true(stack->flags & AVM_VM_GROWSDOWN);
	assert_int_equal(pte(w.mm, 0x7fffffffe000).kind, AVM_PTE_PRESENT);
	assert_int_equal(pte(w.mm, 0x7fffffffd000).kind, AVM_PTE_PRESENT);
	assert_int_equal(pte(w.mm, 0x7fffffffc000).kind, AVM_PTE_NONE);
	assert_int_equal(avm_brk(w.mm, 0x409000 + PAGE, &brk), 0);
	assert_int_equal(brk, 0x409000 + PAGE);
	avm_mm_unmap_all(w.mm);
	test_file_close(tf);
	world_close(&w);
}

/* R9.3: also when the image would find room beside what is there. */
static void exec_fills_an_empty_address_space_only(void **state)
{
	struct avm_image image;
	struct test_file *tf;
	struct world w;
	char *before, *after;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	image = image_of(tf);
	map(&w, 0, 1, RW);
	mark(&w, 0, 1);
	before = dump(w.mm);
	assert_int_equal(avm_exec(w.mm, &image), -AVM_EINVAL);
	after = dump(w.mm);
	assert_string_equal(before, after);
	assert_marked(&w, 0, 1, 0);
	free(before);
	free(after);
	test_file_close(tf);
	world_close(&w);
}

static int refused(struct world *w, const struct avm_image *image)
{
	int err = avm_exec(w->mm, image);

	assert_int_equal(w->mm->vmas.count, 0);
	assert_int_equal(w->mm->total_vm, 0);
	return err;
}

static void an_image_that_makes_no_sense_is_refused_whole(void **state)
{
	struct avm_image image;
	struct test_file *tf;
	struct world w;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	image = image_of(tf);
	segments[2].start = 0x403000; /* overlaps */
	assert_int_equal(refused(&w, &image), -AVM_EINVAL);
	segments[2].start = 0x404800;
	assert_int_equal(refused(&w, &image), -AVM_EINVAL);
	segments[2].start = 0;
	assert_int_equal(refused(&w, &image), -AVM_EINVAL);
	image = image_of(tf);
	segments[1].pages = 0;
	assert_int_equal(refused(&w, &image), -AVM_EINVAL);
	segments[1].pages = ~0ull;
	assert_int_equal(refused(&w, &image), -AVM_EINVAL);
	image = image_of(tf);
	segments[0].prot = 0x100;
	assert_int_equal(refused(&w, &image), -AVM_EINVAL);
	image = image_of(tf);
	image.stack_pages = 1ull << 52;
	assert_int_equal(refused(&w, &image), -AVM_EINVAL);
	image = image_of(tf);
	image.argument_pages = 34;
	assert_int_equal(refused(&w, &image), -AVM_EINVAL);
	image = image_of(tf);
	image.stack_end = 0x7fffffffe800;
	assert_int_equal(refused(&w, &image), -AVM_EINVAL);
	test_file_close(tf);
	world_close(&w);
}

/* R9.3, R17: as low as mm->lowest, no lower. */
static void an_image_may_begin_at_the_lowest_address(void **state)
{
	struct avm_image image = { .segments = segments, .nr_segments = 1 };
	struct world w;

	(void)state;
	world_open(&w);
	segments[0] = (struct avm_segment){ w.mm->lowest - PAGE, 1, RW, NULL, 0 };
	assert_int_equal(refused(&w, &image), -AVM_EINVAL);
	segments[0].start = w.mm->lowest;
	assert_int_equal(avm_exec(w.mm, &image), 0);
	store(w.a, w.mm->lowest, 1);
	world_close(&w);
}

static void an_image_is_not_of_a_device(void **state)
{
	struct avm_image image = { .segments = segments, .nr_segments = 1 };
	struct test_file *dev;
	struct world w;

	(void)state;
	world_open(&w);
	dev = test_device_open(&w, 0xfee00, 1);
	segments[0] = (struct avm_segment){ 0x400000, 1, RW, &dev->file, 0 };
	assert_int_equal(refused(&w, &image), -AVM_EINVAL);
	test_file_close(dev);
	world_close(&w);
}

static void exec_without_memory_leaves_the_address_space_empty(void **state)
{
	struct avm_image image;
	struct test_file *tf;
	struct world w;
	uint64_t n;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	image = image_of(tf);
	for (n = 1;; n++) {
		sim_fail_alloc(w.s, n, 1);
		if (!avm_exec(w.mm, &image))
			break;
		sim_fail_alloc(w.s, 0, 0);
		assert_layout(w.mm, 0x400000, "");
		assert_int_equal(world_committed(&w), 0);
		world_check(&w);
	}
	sim_fail_alloc(w.s, 0, 0);
	assert_true(n > 8);
	avm_mm_unmap_all(w.mm);
	test_file_close(tf);
	world_close(&w);
}

/* ---- fork: what a child gets -------------------------------------------------------------------------- */

/* R9.1, R1.5: what fork has promised and not yet given to a VMA of the child is taken back, whoever counts it. */
static void fork_without_memory_promises_nothing(void **state)
{
	struct sim_proc *child;
	struct world w;
	uint64_t n;

	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		world_open_with(&w,
				&(struct sim_config){ .frames = 256,
						      .core.commit = strict ? AVM_COMMIT_STRICT :
									      AVM_COMMIT_OFF });
		for (unsigned i = 0; i < 4; i++) {
			map(&w, 4 * i, 3, RW);
			mark(&w, 4 * i, 3);
		}
		assert_int_equal(world_committed(&w), 12);
		for (n = 1;; n++) {
			sim_fail_alloc(w.s, n, 1);
			if (!sim_proc_fork(w.a, &child))
				break;
			sim_fail_alloc(w.s, 0, 0);
			assert_int_equal(world_committed(&w), 12);
			world_check(&w);
		}
		sim_fail_alloc(w.s, 0, 0);
		assert_true(n > 6);
		assert_int_equal(world_committed(&w), 24);
		sim_proc_exit(child);
		world_close(&w);
	}
}

static void a_child_gets_what_madvise_left_it(void **state)
{
	struct sim_proc *b;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	map(&w, 2, 1, RW);
	map(&w, 4, 1, RW);
	mark(&w, 0, 1);
	mark(&w, 2, 1);
	mark(&w, 4, 1);
	assert_int_equal(avm_madvise(w.mm, AT(2), PAGE, AVM_MADV_DONTFORK), 0);
	assert_int_equal(avm_madvise(w.mm, AT(4), PAGE, AVM_MADV_WIPEONFORK), 0);
	assert_int_equal(avm_mlock(w.mm, AT(0), PAGE, 0), 0);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_layout(w.mm, BASE, "0+1:rwLF 2+1:rwDF 4+1:rwWF");
	assert_layout(sim_mm(b), BASE, "0+1:rwFC 4+1:rwW");
	assert_int_equal(sim_mm(b)->locked_vm, 0);
	assert_int_equal(load(b, AT(0)), 0x40);
	assert_int_equal(load(b, AT(4)), 0);
	assert_int_equal(sim_mm(b)->total_vm, 2);
	world_close(&w);
}

static void a_child_copies_files_references_and_layout(void **state)
{
	struct test_file *tf;
	struct sim_proc *b;
	struct world w;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 4 * PAGE);
	map_at(w.mm, AT(0), 4, RW, AVM_MAP_PRIVATE, &tf->file, 0);
	store(w.a, AT(1), 99);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_int_equal(atomic_load(&tf->file.refs), 3);
	assert_int_equal(tf->file.nr_mappings, 2);
	assert_int_equal(avm_munmap(w.mm, AT(0), 4 * PAGE), 0);
	assert_int_equal(load(b, AT(1)), 99);
	assert_int_equal(load(b, AT(2)), 3);
	assert_int_equal(sim_mm(b)->mmap_base, w.mm->mmap_base);
	sim_proc_exit(b);
	test_file_close(tf);
	world_close(&w);
}

/* ---- notifiers ------------------------------------------------------------------------------------------ */

struct counted {
	struct avm_notifier n;
	int open;
	unsigned calls;
	avm_addr_t start, end;
};

static void began(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct counted *c = (struct counted *)(void *)n;

	c->open++;
	c->calls++;
	c->start = start;
	c->end = end;
}

static void ended(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct counted *c = (struct counted *)(void *)n;

	assert_int_equal(start, c->start);
	assert_int_equal(end, c->end);
	c->open--;
}

static void a_notifier_hears_of_every_range_before_and_after(void **state)
{
	struct counted c = { .n = { .invalidate_start = began, .invalidate_end = ended } };
	struct sim_proc *b;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 8, RW);
	mark(&w, 0, 8);
	avm_notifier_add(w.mm, &c.n);
	assert_int_equal(avm_munmap(w.mm, AT(0) - PAGE, PAGE), 0);
	assert_int_equal(c.calls, 0); /* nothing was there */
	assert_int_equal(avm_mprotect(w.mm, AT(1), PAGE, AVM_PROT_READ), 0);
	assert_int_equal(c.calls, 1);
	assert_int_equal(c.start, AT(1));
	assert_int_equal(c.end, AT(2));
	assert_int_equal(avm_munmap(w.mm, AT(3), PAGE), 0);
	assert_int_equal(c.calls, 2);
	assert_int_equal(avm_madvise(w.mm, AT(5), PAGE, AVM_MADV_DONTNEED), 0);
	assert_int_equal(c.calls, 3);
	assert_int_equal(avm_madvise(w.mm, AT(6), PAGE, AVM_MADV_FREE), 0);
	assert_int_equal(c.calls, 4);
	assert_int_equal(c.start, AT(6));
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_int_equal(c.calls, 5);
	assert_int_equal(c.open, 0);
	avm_mm_unmap_all(w.mm);
	assert_int_equal(c.calls, 6);
	assert_int_equal(c.end, w.mm->task_size);
	assert_int_equal(c.open, 0);
	avm_notifier_del(w.mm, &c.n);
	map(&w, 0, 1, RW);
	assert_int_equal(avm_munmap(w.mm, AT(0), PAGE), 0);
	assert_int_equal(c.calls, 6);
	world_close(&w);
}

/* Objects that are asked for by the fork of a process with 40 faulted VMAs: that is three batches. */
static uint64_t objects_of_fork(enum avm_family_policy policy)
{
	struct sim_proc *child;
	uint64_t before;
	struct world w;

	world_open_with(&w, &(struct sim_config){ .frames = 1024, .core.family = policy });
	for (unsigned i = 0; i < 40; i++) {
		map_at(w.mm, AT(2 * i), 1, RW, ANON, NULL, 0);
		store(w.a, AT(2 * i), 1);
	}
	before = sim_allocs(w.s);
	assert_int_equal(sim_proc_fork(w.a, &child), 0);
	before = sim_allocs(w.s) - before;
	world_close(&w);
	return before;
}

/* R4.6: who shares an anon_vma does not ask for one, nor for the entry that goes with it. */
static void a_flat_fork_asks_for_no_object_that_it_does_not_need(void **state)
{
	(void)state;
	assert_int_equal(objects_of_fork(AVM_FAMILY_CHAIN) - objects_of_fork(AVM_FAMILY_FLAT),
			 2 * 40);
}

/* Fork lets each allocation fail in turn, which must change nothing, until one succeeds. */
static struct sim_proc *fork_at_last(struct world *w, struct sim_proc *parent, uint64_t at_least)
{
	uint64_t committed = world_committed(w), n;
	struct sim_proc *child = NULL;

	for (n = 1; !child; n++) {
		sim_fail_alloc(w->s, n, 1);
		if (!sim_proc_fork(parent, &child))
			break;
		child = NULL;
		sim_fail_alloc(w->s, 0, 0);
		assert_int_equal(world_committed(w), committed);
		world_check(w);
	}
	sim_fail_alloc(w->s, 0, 0);
	assert_true(n > at_least);
	world_check(w);
	return child;
}

/* R9.1: of each kind some, in five batches, with a hole where nothing is copied that is longer than one. */
static void a_fork_of_many_vmas_takes_all_or_none(void **state)
{
	enum {
		VMAS = 96
	};
	struct sim_proc *child;
	struct world w;

	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		world_open_with(&w,
				&(struct sim_config){ .frames = 1024,
						      .core.commit = strict ? AVM_COMMIT_STRICT :
									      AVM_COMMIT_OFF });
		for (unsigned i = 0; i < VMAS; i++) {
			map(&w, 2 * i, 1, RW);
			if (i % 5 != 4)
				store(w.a, AT(2 * i), (unsigned char)(i + 1));
			if (i % 7 == 3 || (i >= 40 && i < 60))
				avm_madvise(w.mm, AT(2 * i), PAGE, AVM_MADV_DONTFORK);
			else if (i % 11 == 5)
				avm_madvise(w.mm, AT(2 * i), PAGE, AVM_MADV_WIPEONFORK);
		}
		child = fork_at_last(&w, w.a, 3 * VMAS / 2);
		for (unsigned i = 0; i < VMAS; i++) {
			bool kept = i % 7 != 3 && (i < 40 || i >= 60);
			bool wiped = i % 5 == 4 || i % 11 == 5;
			const struct avm_vma *vma = avm_find_vma(sim_mm(child), AT(2 * i));

			assert_int_equal(vma && vma->start == AT(2 * i), kept);
			if (kept)
				assert_int_equal(load(child, AT(2 * i)), wiped ? 0 : i + 1);
		}
		world_close(&w);
	}
}

/* R4.3: chains of every length up to more than is reserved for a whole batch (AVM_FORK_AVCS). */
static void a_fork_at_the_end_of_a_long_chain_takes_all_or_none(void **state)
{
	enum {
		GENERATIONS = 55,
		VMAS = 3
	};
	struct sim_proc *p;
	struct world w;

	(void)state;
	world_open_with(&w,
			&(struct sim_config){ .frames = 4096, .core.family = AVM_FAMILY_CHAIN });
	for (unsigned i = 0; i < VMAS; i++)
		map(&w, 2 * i, 1, RW);
	p = w.a;
	for (unsigned g = 1; g <= GENERATIONS; g++) {
		struct avm_vma *last;

		for (unsigned i = 0; i < VMAS; i++)
			store(p, AT(2 * i), (unsigned char)g);
		if (g % 6 == 1)
			p = fork_at_last(&w, p, VMAS);
		else
			assert_int_equal(sim_proc_fork(p, &p), 0);
		last = avm_find_vma(sim_mm(p), AT(2 * (VMAS - 1)));
		assert_int_equal(atomic_load(&last->chain_len), g + 1);
		assert_int_equal(load(p, AT(0)), g);
	}
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flat_fork_asks_for_no_object_that_it_does_not_need),
		cmocka_unit_test(a_fork_of_many_vmas_takes_all_or_none),
		cmocka_unit_test(a_fork_at_the_end_of_a_long_chain_takes_all_or_none),
		cmocka_unit_test(a_layout_that_makes_no_sense_is_refused),
		cmocka_unit_test(room_for_the_stack_is_left_in_a_large_address_space),
		cmocka_unit_test(the_last_user_ends_the_address_space),
		cmocka_unit_test(unmap_all_leaves_an_empty_address_space_that_works),
		cmocka_unit_test(exec_maps_the_image_and_makes_the_arguments_present),
		cmocka_unit_test(exec_fills_an_empty_address_space_only),
		cmocka_unit_test(an_image_that_makes_no_sense_is_refused_whole),
		cmocka_unit_test(an_image_may_begin_at_the_lowest_address),
		cmocka_unit_test(an_image_is_not_of_a_device),
		cmocka_unit_test(exec_without_memory_leaves_the_address_space_empty),
		cmocka_unit_test(fork_without_memory_promises_nothing),
		cmocka_unit_test(a_child_gets_what_madvise_left_it),
		cmocka_unit_test(a_child_copies_files_references_and_layout),
		cmocka_unit_test(a_notifier_hears_of_every_range_before_and_after),
	};

	return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
