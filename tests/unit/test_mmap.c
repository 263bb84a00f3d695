/* SPDX-License-Identifier: MIT */
/* test_mmap.c - mmap, munmap, mprotect through the public interface: errors, placement, limits, accounting. */
#include "ops.h"

/* ---- helpers ------------------------------------------------------------------------------------- */

static int try_map(struct avm_mm *mm, struct avm_mmap args)
{
	avm_addr_t out = 0;
	char *before = dump(mm), *after;
	int err = avm_mmap(mm, &args, &out);

	if (err) { /* promise 1 */
		after = dump(mm);
		assert_string_equal(before, after);
		free(after);
	}
	free(before);
	return err;
}

#define TRY(...) try_map(w.mm, (struct avm_mmap){ __VA_ARGS__ })

static void limits_are(struct world *w, uint64_t as, uint64_t data, uint64_t locked)
{
	w->mm->limits.address_space = as;
	w->mm->limits.data = data;
	w->mm->limits.locked = locked;
}

/* ---- arguments -------------------------------------------------------------------------------------- */

static void bad_arguments_have_the_errno_of_the_manual_page(void **state)
{
	struct world w;
	struct test_file *tf;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	assert_int_equal(TRY(.len = 0, .prot = RW, .flags = ANON), -AVM_EINVAL);
	assert_int_equal(TRY(.len = PAGE, .prot = 0x40, .flags = ANON), -AVM_EINVAL);
	assert_int_equal(TRY(.len = PAGE, .prot = RW, .flags = AVM_MAP_ANONYMOUS), -AVM_EINVAL);
	assert_int_equal(TRY(.len = PAGE, .flags = AVM_MAP_ANONYMOUS | 0x7), -AVM_EINVAL);
	assert_int_equal(TRY(.len = ~0ull, .prot = RW, .flags = ANON), -AVM_ENOMEM);
	assert_int_equal(TRY(.len = 1ull << 47, .prot = RW, .flags = ANON), -AVM_ENOMEM);
	assert_int_equal(TRY(.len = PAGE, .prot = RW, .flags = AVM_MAP_PRIVATE), -AVM_EBADF);
	assert_int_equal(TRY(.len = PAGE, .flags = ANON, .file = &tf->file), -AVM_EINVAL);
	assert_int_equal(TRY(.len = 2 * PAGE, .prot = 1, .flags = AVM_MAP_PRIVATE,
			     .file = &tf->file, .pgoff = ~0ull),
			 -AVM_EOVERFLOW);
	assert_int_equal(TRY(.len = PAGE, .prot = 1, .flags = AVM_MAP_SHARED_VALIDATE | 0x200000,
			     .file = &tf->file),
			 -AVM_EOPNOTSUPP);
	assert_int_equal(TRY(.len = PAGE, .prot = RW,
			     .flags = AVM_MAP_SHARED | AVM_MAP_ANONYMOUS | AVM_MAP_GROWSDOWN),
			 -AVM_EINVAL);
	assert_int_equal(TRY(.len = PAGE, .prot = 1, .flags = AVM_MAP_PRIVATE, .file = &tf->file,
			     .open_mode = AVM_PROT_WRITE),
			 -AVM_EACCES);
	assert_int_equal(TRY(.len = PAGE, .prot = RW, .flags = AVM_MAP_SHARED, .file = &tf->file,
			     .open_mode = AVM_PROT_READ),
			 -AVM_EACCES);
	test_file_close(tf);
	world_close(&w);
}

static void fixed_addresses_are_checked(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(TRY(.addr = BASE + 1, .len = PAGE, .flags = ANON | AVM_MAP_FIXED),
			 -AVM_EINVAL);
	assert_int_equal(TRY(.addr = 0, .len = PAGE, .flags = ANON | AVM_MAP_FIXED), -AVM_EPERM);
	assert_int_equal(TRY(.addr = w.mm->task_size, .len = PAGE, .flags = ANON | AVM_MAP_FIXED),
			 -AVM_ENOMEM);
	assert_int_equal(TRY(.addr = w.mm->task_size - PAGE, .len = 2 * PAGE,
			     .flags = ANON | AVM_MAP_FIXED),
			 -AVM_ENOMEM);
	assert_int_equal(TRY(.addr = BASE, .len = PAGE, .flags = ANON | AVM_MAP_FIXED_NOREPLACE),
			 0);
	assert_int_equal(TRY(.addr = BASE, .len = PAGE, .flags = ANON | AVM_MAP_FIXED_NOREPLACE),
			 -AVM_EEXIST);
	assert_int_equal(
		TRY(.addr = w.mm->task_size - PAGE, .len = PAGE, .flags = ANON | AVM_MAP_FIXED), 0);
	world_close(&w);
}

static void a_read_only_shared_file_can_never_be_made_writable(void **state)
{
	struct avm_mmap args = { .len = PAGE,
				 .prot = AVM_PROT_READ,
				 .flags = AVM_MAP_SHARED,
				 .open_mode = AVM_PROT_READ };
	struct test_file *tf;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	args.file = &tf->file;
	assert_int_equal(avm_mmap(w.mm, &args, &at), 0);
	assert_int_equal(avm_mprotect(w.mm, at, PAGE, RW), -AVM_EACCES);
	assert_int_equal(avm_mprotect(w.mm, at, PAGE, AVM_PROT_READ | AVM_PROT_EXEC), 0);
	assert_int_equal(avm_munmap(w.mm, at, PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/* ---- placement (R1.4) --------------------------------------------------------------------------------- */

static avm_addr_t place(struct world *w, avm_addr_t hint, uint64_t pages)
{
	const struct avm_mmap args = { .addr = hint, .len = pages * PAGE, .flags = ANON };
	avm_addr_t at = 0;

	assert_int_equal(avm_mmap(w->mm, &args, &at), 0);
	return at;
}

static void placement_is_top_down_and_takes_the_highest_gap_that_fits(void **state)
{
	struct world w;
	avm_addr_t top, low;

	(void)state;
	world_open(&w);
	top = place(&w, 0, 8);
	assert_int_equal(top, w.mm->mmap_base - 8 * PAGE);
	low = place(&w, 0, 4);
	assert_int_equal(low, top - 4 * PAGE);
	assert_int_equal(avm_munmap(w.mm, top + PAGE, 2 * PAGE), 0);
	assert_int_equal(place(&w, 0, 3), low - 3 * PAGE);
	assert_int_equal(place(&w, 0, 2), top + PAGE);
	world_close(&w);
}

static void a_hint_is_honoured_when_free_and_rounded_down(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(place(&w, AT(3) + 5, 2), AT(3));
	assert_true(place(&w, AT(4), 1) != AT(4));
	assert_true(place(&w, AT(2), 2) != AT(2));
	assert_int_equal(place(&w, AT(5), 1), AT(5));
	assert_int_equal(place(&w, 0x1000, 1), w.mm->lowest);
	world_close(&w);
}

static void the_guard_below_a_stack_stays_free(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map_at(w.mm, AT(1000), 4, RW, ANON | AVM_MAP_GROWSDOWN, NULL, 0);
	assert_int_equal(place(&w, AT(1000 - 256 - 2), 2), AT(1000 - 256 - 2));
	assert_true(place(&w, AT(1000 - 100), 2) != AT(1000 - 100));
	world_close(&w);
}

static void when_all_below_the_base_is_full_the_room_above_it_is_used(void **state)
{
	const struct avm_mm_config config = { .lowest = 0x10000,
					      .mmap_base = 0x20000,
					      .task_size = 0x40000 };
	struct avm_mmap args = { .len = 16 * PAGE, .flags = ANON };
	struct sim_proc *p;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	assert_int_equal(sim_proc_create(w.s, &config, &p), 0);
	assert_int_equal(avm_mmap(sim_mm(p), &args, &at), 0);
	assert_int_equal(at, 0x10000);
	assert_int_equal(avm_mmap(sim_mm(p), &args, &at), 0);
	assert_int_equal(at, 0x20000);
	args.len = 17 * PAGE;
	assert_int_equal(try_map(sim_mm(p), args), -AVM_ENOMEM);
	args.len = 100 * PAGE; /* more than there is at all */
	assert_int_equal(try_map(sim_mm(p), args), -AVM_ENOMEM);
	world_close(&w);
}

/* ---- limits and promises (R17, R1.5) ---------------------------------------------------------------------- */

static void limits_of_the_address_space_are_kept(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	limits_are(&w, 8 * PAGE, AVM_NO_LIMIT, AVM_NO_LIMIT);
	assert_int_equal(TRY(.len = 9 * PAGE, .flags = ANON), -AVM_ENOMEM);
	assert_int_equal(TRY(.addr = BASE, .len = 8 * PAGE, .flags = ANON | AVM_MAP_FIXED), 0);
	assert_int_equal(TRY(.len = PAGE, .flags = ANON), -AVM_ENOMEM);
	/* What is replaced does not count twice. */
	assert_int_equal(
		TRY(.addr = BASE, .len = 8 * PAGE, .prot = RW, .flags = ANON | AVM_MAP_FIXED), 0);
	world_close(&w);
}

static void the_data_limit_bounds_private_writable_memory(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	limits_are(&w, AVM_NO_LIMIT, 4 * PAGE, AVM_NO_LIMIT);
	assert_int_equal(TRY(.len = 5 * PAGE, .prot = RW, .flags = ANON), -AVM_ENOMEM);
	assert_int_equal(
		TRY(.addr = BASE, .len = 5 * PAGE, .prot = 1, .flags = ANON | AVM_MAP_FIXED), 0);
	assert_int_equal(avm_mprotect(w.mm, BASE, 5 * PAGE, RW), -AVM_ENOMEM);
	assert_int_equal(avm_mprotect(w.mm, BASE, 4 * PAGE, RW), 0);
	assert_int_equal(w.mm->data_vm, 4);
	world_close(&w);
}

static void the_lock_limit_gives_eagain_and_zero_gives_eperm(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	limits_are(&w, AVM_NO_LIMIT, AVM_NO_LIMIT, 2 * PAGE);
	assert_int_equal(TRY(.len = 3 * PAGE, .prot = RW, .flags = ANON | AVM_MAP_LOCKED),
			 -AVM_EAGAIN);
	assert_int_equal(TRY(.len = 2 * PAGE, .prot = RW, .flags = ANON | AVM_MAP_LOCKED), 0);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 2);
	limits_are(&w, AVM_NO_LIMIT, AVM_NO_LIMIT, 0);
	assert_int_equal(TRY(.len = PAGE, .prot = RW, .flags = ANON | AVM_MAP_LOCKED), -AVM_EPERM);
	world_close(&w);
}

static void the_number_of_vmas_is_limited(void **state)
{
	struct world w;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 512, .core.max_map_count = 3 });
	map(&w, 0, 5, RW);
	assert_int_equal(avm_munmap(w.mm, AT(2), PAGE), 0);
	assert_int_equal(avm_mprotect(w.mm, AT(1), PAGE, AVM_PROT_READ), 0);
	assert_layout(w.mm, BASE, "0+1:rw 1+1:r 3+2:rw");
	assert_int_equal(avm_mprotect(w.mm, AT(3), PAGE, AVM_PROT_READ), -AVM_ENOMEM);
	assert_int_equal(TRY(.addr = AT(9), .len = PAGE, .flags = ANON | AVM_MAP_FIXED),
			 -AVM_ENOMEM);
	assert_int_equal(avm_munmap(w.mm, AT(3), PAGE), 0);
	assert_layout(w.mm, BASE, "0+1:rw 1+1:r 4+1:rw");
	world_close(&w);
}

static void strict_commit_refuses_what_frames_could_not_back(void **state)
{
	struct world w;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 128,
						  .core = { .commit = AVM_COMMIT_STRICT,
							    .commit_reserve = 28 } });
	assert_int_equal(TRY(.len = 101 * PAGE, .prot = RW, .flags = ANON), -AVM_ENOMEM);
	assert_int_equal(TRY(.len = 101 * PAGE, .prot = RW, .flags = ANON | AVM_MAP_NORESERVE),
			 -AVM_ENOMEM);
	assert_int_equal(
		TRY(.addr = BASE, .len = 101 * PAGE, .prot = 1, .flags = ANON | AVM_MAP_FIXED), 0);
	assert_int_equal(avm_mprotect(w.mm, BASE, 101 * PAGE, RW), -AVM_ENOMEM);
	assert_int_equal(avm_mprotect(w.mm, BASE, 60 * PAGE, RW), 0);
	assert_int_equal(world_committed(&w), 60);
	/* Unfaulted and anonymous: losing write gives the promise back; faulted keeps it. (R1.1) */
	store(w.a, AT(50), 1);
	assert_int_equal(avm_mprotect(w.mm, BASE, 10 * PAGE, AVM_PROT_READ), 0);
	assert_int_equal(world_committed(&w), 60);
	assert_int_equal(avm_munmap(w.mm, BASE, 60 * PAGE), 0);
	assert_int_equal(world_committed(&w), 0);
	map(&w, 200, 10, RW);
	assert_int_equal(avm_mprotect(w.mm, AT(200), 4 * PAGE, AVM_PROT_READ), 0);
	assert_int_equal(world_committed(&w), 6);
	world_close(&w);
}

static void fork_is_promised_whole_or_refused(void **state)
{
	struct sim_proc *b;
	struct world w;

	(void)state;
	world_open_with(&w,
			&(struct sim_config){ .frames = 100, .core.commit = AVM_COMMIT_STRICT });
	map(&w, 0, 60, RW);
	assert_int_equal(sim_proc_fork(w.a, &b), -AVM_ENOMEM);
	assert_int_equal(world_committed(&w), 60);
	assert_int_equal(avm_madvise(w.mm, BASE, 40 * PAGE, AVM_MADV_DONTFORK), 0);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_int_equal(world_committed(&w), 80);
	sim_proc_exit(b);
	assert_int_equal(world_committed(&w), 60);
	world_close(&w);
}

/* ---- files that have a say ---------------------------------------------------------------------------------- */

static int refuse(struct avm_file *f, uint64_t *flags)
{
	(void)f;
	(void)flags;
	return -AVM_ENODEV;
}

static int no_expand(struct avm_file *f, uint64_t *flags)
{
	(void)f;
	*flags |= AVM_VM_DONTEXPAND;
	return 0;
}

static unsigned opened, closed;

static void count_open(struct avm_vma *vma)
{
	(void)vma;
	opened++;
}

static void count_close(struct avm_vma *vma)
{
	(void)vma;
	closed++;
}

static void a_file_may_refuse_or_change_the_flags(void **state)
{
	struct test_file *tf;
	struct world w;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	tf->ops.mmap = refuse;
	assert_int_equal(TRY(.len = PAGE, .prot = 1, .flags = AVM_MAP_PRIVATE, .file = &tf->file),
			 -AVM_ENODEV);
	tf->ops.mmap = no_expand;
	map_at(w.mm, AT(0), 1, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 0);
	map_at(w.mm, AT(1), 1, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 1);
	assert_layout(w.mm, BASE, "0+1:r 1+1:r@1"); /* dontexpand does not merge */
	assert_int_equal(atomic_load(&w.m->refused[AVM_REFUSED_SPECIAL]), 1);
	assert_int_equal(avm_munmap(w.mm, BASE, 2 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void a_vma_with_close_may_grow_but_never_disappears_by_merging(void **state)
{
	struct test_file *tf;
	struct world w;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	tf->ops.open = count_open;
	tf->ops.close = count_close;
	opened = closed = 0;
	map_at(w.mm, AT(0), 1, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 0);
	map_at(w.mm, AT(2), 1, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 2);
	map_at(w.mm, AT(1), 1, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 1);
	assert_layout(w.mm, BASE, "0+2:r 2+1:r@2"); /* grew to the left VMA, next stays */
	assert_int_equal(avm_mprotect(w.mm, AT(2), PAGE, AVM_PROT_NONE), 0);
	assert_int_equal(avm_mprotect(w.mm, AT(2), PAGE, AVM_PROT_READ), 0);
	assert_layout(w.mm, BASE, "0+2:r 2+1:r@2");
	assert_int_equal(avm_mprotect(w.mm, AT(0), 2 * PAGE, AVM_PROT_NONE), 0);
	assert_int_equal(avm_mprotect(w.mm, AT(0), 2 * PAGE, AVM_PROT_READ), 0);
	assert_layout(w.mm, BASE, "0+2:r 2+1:r@2"); /* nor in favour of the one behind it */
	assert_int_equal(avm_munmap(w.mm, AT(1), PAGE), 0);
	assert_int_equal(closed, 0);
	assert_int_equal(avm_munmap(w.mm, AT(0), 3 * PAGE), 0);
	assert_int_equal(closed, 2);
	assert_int_equal(opened, 2);
	test_file_close(tf);
	world_close(&w);
}

/* ---- munmap --------------------------------------------------------------------------------------------------- */

static void munmap_checks_its_range_and_likes_holes(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_munmap(w.mm, BASE + 1, PAGE), -AVM_EINVAL);
	assert_int_equal(avm_munmap(w.mm, BASE, 0), -AVM_EINVAL);
	assert_int_equal(avm_munmap(w.mm, w.mm->task_size, PAGE), -AVM_EINVAL);
	assert_int_equal(avm_munmap(w.mm, BASE, ~0ull), -AVM_EINVAL);
	assert_int_equal(avm_munmap(w.mm, BASE, PAGE), 0);
	map(&w, 0, 2, RW);
	map(&w, 4, 2, RW);
	mark(&w, 0, 2);
	mark(&w, 4, 2);
	assert_int_equal(avm_munmap(w.mm, AT(1), 4 * PAGE - 7), 0);
	assert_layout(w.mm, BASE, "0+1:rwF 5+1:rwF");
	assert_marked(&w, 0, 1, 0);
	assert_marked(&w, 5, 1, 5);
	world_close(&w);
}

static int punch_middle(struct world *w)
{
	return avm_munmap(w->mm, AT(3), PAGE);
}

static void munmap_that_cannot_split_leaves_everything_mapped(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 6, RW);
	mark(&w, 0, 6);
	assert_true(fail_everywhere(&w, &(struct attempt){ punch_middle, -AVM_ENOMEM }) >= 2);
	assert_layout(w.mm, BASE, "0+3:rwF 4+2:rwF");
	world_close(&w);
}

/* ---- mprotect ---------------------------------------------------------------------------------------------------- */

static void mprotect_checks_its_arguments(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	assert_int_equal(avm_mprotect(w.mm, BASE + 1, PAGE, RW), -AVM_EINVAL);
	assert_int_equal(avm_mprotect(w.mm, BASE, PAGE, 0x80), -AVM_EINVAL);
	assert_int_equal(avm_mprotect(w.mm, BASE, PAGE, RW | AVM_PROT_GROWSUP), -AVM_EINVAL);
	assert_int_equal(avm_mprotect(w.mm, BASE, PAGE, RW | AVM_PROT_GROWSDOWN), -AVM_EINVAL);
	assert_int_equal(avm_mprotect(w.mm, AT(8), PAGE, RW | AVM_PROT_GROWSDOWN), -AVM_ENOMEM);
	assert_int_equal(avm_mprotect(w.mm, BASE, 0, AVM_PROT_NONE), 0);
	assert_int_equal(avm_mprotect(w.mm, BASE, ~0ull - BASE, AVM_PROT_NONE), -AVM_ENOMEM);
	assert_int_equal(avm_mprotect(w.mm, AT(8), PAGE, RW), -AVM_ENOMEM);
	world_close(&w);
}

static void mprotect_changes_what_precedes_a_hole(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	map(&w, 3, 2, RW);
	assert_int_equal(avm_mprotect(w.mm, AT(1), 3 * PAGE, AVM_PROT_READ), -AVM_ENOMEM);
	assert_layout(w.mm, BASE, "0+1:rw 1+1:r 3+2:rw");
	world_close(&w);
}

static void growsdown_extends_the_change_to_the_start_of_the_stack(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map_at(w.mm, AT(600), 4, RW, ANON | AVM_MAP_GROWSDOWN, NULL, 0);
	assert_int_equal(avm_mprotect(w.mm, AT(602), PAGE, AVM_PROT_READ | AVM_PROT_GROWSDOWN), 0);
	assert_layout(w.mm, BASE, "600+3:r 603+1:rw");
	world_close(&w);
}

static void mprotect_keeps_exclusive_pages_writable_and_shared_ones_not(void **state)
{
	struct sim_proc *b;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	mark(&w, 0, 2);
	assert_int_equal(avm_mprotect(w.mm, BASE, 2 * PAGE, AVM_PROT_READ), 0);
	assert_false(pte(w.mm, AT(0)).write);
	assert_int_equal(avm_mprotect(w.mm, BASE, 2 * PAGE, RW), 0);
	assert_true(pte(w.mm, AT(0)).write); /* nobody else sees it: no fault needed */
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_int_equal(avm_mprotect(w.mm, BASE, 2 * PAGE, AVM_PROT_NONE), 0);
	assert_true(pte(w.mm, AT(0)).none);
	assert_int_equal(avm_mprotect(w.mm, BASE, 2 * PAGE, RW), 0);
	assert_false(pte(w.mm, AT(0)).write); /* the child sees it too (R13.1) */
	store(w.a, AT(0), 9);
	assert_int_equal(load(b, AT(0)), 0x40);
	world_close(&w);
}

static void mprotect_makes_shared_file_pages_writable_only_when_dirty(void **state)
{
	struct test_file *tf;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 8 * PAGE);
	at = map_file(w.mm, 2, RW, AVM_MAP_SHARED, &tf->file);
	assert_int_equal(load(w.a, at), 1);
	store(w.a, at + PAGE, 77);
	assert_int_equal(avm_mprotect(w.mm, at, 2 * PAGE, AVM_PROT_READ), 0);
	assert_int_equal(avm_mprotect(w.mm, at, 2 * PAGE, RW), 0);
	assert_false(pte(w.mm, at).write); /* page_mkwrite has not run */
	assert_true(pte(w.mm, at + PAGE).write);
	assert_int_equal(tf->mkwrites, 1);
	assert_int_equal(avm_munmap(w.mm, at, 2 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static int protect_middle(struct world *w)
{
	return avm_mprotect(w->mm, AT(2), 2 * PAGE, AVM_PROT_READ);
}

static void mprotect_without_memory_changes_nothing(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 6, RW);
	mark(&w, 0, 6);
	assert_true(fail_everywhere(&w, &(struct attempt){ protect_middle, -AVM_ENOMEM }) >= 4);
	assert_layout(w.mm, BASE, "0+2:rwF 2+2:rF 4+2:rwF");
	world_close(&w);
}

static int make_middle_writable(struct world *w)
{
	return avm_mprotect(w->mm, AT(2), 2 * PAGE, RW);
}

/* R1.5: what has been promised for it is taken back as well. */
static void mprotect_without_memory_promises_nothing(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 6, AVM_PROT_READ);
	assert_int_equal(world_committed(&w), 0);
	assert_true(fail_everywhere(&w, &(struct attempt){ make_middle_writable, -AVM_ENOMEM }) >=
		    2);
	assert_layout(w.mm, BASE, "0+2:r 2+2:rw 4+2:r");
	assert_int_equal(world_committed(&w), 2);
	world_close(&w);
}

/* Two at most wait for the next operation: they are neither counted nor lost. */
static void a_vma_that_went_comes_again(void **state)
{
	struct avm_vma *vma;
	struct world w;

	(void)state;
	world_open(&w);
	for (unsigned i = 0; i < 4; i++)
		map(&w, 2 * i, 1, RW);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(avm_munmap(w.mm, AT(2 * i), PAGE), 0);
	assert_int_equal(w.mm->nr_spare, AVM_SPARE_VMAS);
	world_check(&w);
	vma = w.mm->spare[1];
	map(&w, 0, 1, RW);
	assert_int_equal(w.mm->nr_spare, AVM_SPARE_VMAS - 1);
	assert_ptr_equal(avm_find_vma(w.mm, AT(0)), vma);
	world_close(&w);
}

struct told {
	struct avm_merge_observer o;
	struct avm_mm *mm;
	avm_addr_t boundary;
	enum avm_refusal why;
	unsigned times;
};

static void note_refusal(struct avm_merge_observer *o, struct avm_mm *mm, avm_addr_t boundary,
			 enum avm_refusal why)
{
	struct told *t = (struct told *)(void *)o;

	t->mm = mm;
	t->boundary = boundary;
	t->why = why;
	t->times++;
}

static void an_observer_is_told_of_each_refusal(void **state)
{
	struct told t = { .o = { note_refusal } };
	struct world w;

	(void)state;
	world_open(&w);
	avm_set_merge_observer(w.m, &t.o);
	map(&w, 0, 2, RW);
	assert_int_equal(t.times, 0);
	map(&w, 2, 2, AVM_PROT_READ);
	assert_int_equal(t.times, 1);
	assert_ptr_equal(t.mm, w.mm);
	assert_int_equal(t.boundary, AT(2));
	assert_int_equal(t.why, AVM_REFUSED_FLAGS);
	assert_int_equal(avm_set_policy(w.mm, AT(2), 2 * PAGE, 3), 0);
	assert_int_equal(avm_mprotect(w.mm, AT(2), 2 * PAGE, RW), 0);
	assert_int_equal(t.why, AVM_REFUSED_POLICY);
	assert_int_equal(t.times, 3);
	assert_int_equal(atomic_load(&w.m->refused[AVM_REFUSED_FLAGS]), 2);
	assert_int_equal(atomic_load(&w.m->refused[AVM_REFUSED_POLICY]), 1);
	avm_set_merge_observer(w.m, NULL);
	map(&w, 4, 1, AVM_PROT_READ);
	assert_int_equal(t.times, 3);
	world_close(&w);
}

static void mprotect_that_changes_nothing_merges_nothing(void **state)
{
	struct sim_proc *b;
	struct world w;

	(void)state;
	world_open(&w);
	/* Two halves that became mergeable without anybody merging them: both unfaulted after the name went. */
	map(&w, 0, 1, RW);
	assert_int_equal(avm_set_name(w.mm, AT(0), PAGE, 1), 0);
	map(&w, 1, 1, RW);
	assert_layout(w.mm, BASE, "0+1:rwn1 1+1:rw");
	assert_int_equal(avm_mprotect(w.mm, AT(0), 2 * PAGE, RW), 0);
	assert_layout(w.mm, BASE, "0+1:rwn1 1+1:rw");
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	world_close(&w);
}

/* ---- the wait for mmap_lock is given up --------------------------------------------------------------------------- */

static void an_operation_whose_wait_is_given_up_says_eintr(void **state)
{
	struct sim_proc *b;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	sim_set_wait_eintr(w.s, true);
	atomic_fetch_or(&w.mm->mmap_lock.word, 0x80000000u); /* somebody else is writing */
	assert_int_equal(avm_munmap(w.mm, BASE, PAGE), -AVM_EINTR);
	assert_int_equal(avm_mprotect(w.mm, BASE, PAGE, AVM_PROT_READ), -AVM_EINTR);
	assert_int_equal(avm_mmap(w.mm, &(struct avm_mmap){ .len = PAGE, .flags = ANON }, &at),
			 -AVM_EINTR);
	assert_int_equal(avm_exec(w.mm, &(struct avm_image){ 0 }), -AVM_EINTR);
	assert_int_equal(sim_proc_fork(w.a, &b), -AVM_EINTR);
	atomic_fetch_and(&w.mm->mmap_lock.word, 0u);
	sim_set_wait_eintr(w.s, false);
	assert_layout(w.mm, BASE, "0+2:rw");
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_arguments_have_the_errno_of_the_manual_page),
		cmocka_unit_test(fixed_addresses_are_checked),
		cmocka_unit_test(a_read_only_shared_file_can_never_be_made_writable),
		cmocka_unit_test(placement_is_top_down_and_takes_the_highest_gap_that_fits),
		cmocka_unit_test(a_hint_is_honoured_when_free_and_rounded_down),
		cmocka_unit_test(the_guard_below_a_stack_stays_free),
		cmocka_unit_test(when_all_below_the_base_is_full_the_room_above_it_is_used),
		cmocka_unit_test(limits_of_the_address_space_are_kept),
		cmocka_unit_test(the_data_limit_bounds_private_writable_memory),
		cmocka_unit_test(the_lock_limit_gives_eagain_and_zero_gives_eperm),
		cmocka_unit_test(the_number_of_vmas_is_limited),
		cmocka_unit_test(strict_commit_refuses_what_frames_could_not_back),
		cmocka_unit_test(fork_is_promised_whole_or_refused),
		cmocka_unit_test(a_file_may_refuse_or_change_the_flags),
		cmocka_unit_test(a_vma_with_close_may_grow_but_never_disappears_by_merging),
		cmocka_unit_test(munmap_checks_its_range_and_likes_holes),
		cmocka_unit_test(munmap_that_cannot_split_leaves_everything_mapped),
		cmocka_unit_test(mprotect_checks_its_arguments),
		cmocka_unit_test(mprotect_changes_what_precedes_a_hole),
		cmocka_unit_test(growsdown_extends_the_change_to_the_start_of_the_stack),
		cmocka_unit_test(mprotect_keeps_exclusive_pages_writable_and_shared_ones_not),
		cmocka_unit_test(mprotect_makes_shared_file_pages_writable_only_when_dirty),
		cmocka_unit_test(mprotect_without_memory_changes_nothing),
		cmocka_unit_test(mprotect_without_memory_promises_nothing),
		cmocka_unit_test(an_observer_is_told_of_each_refusal),
		cmocka_unit_test(mprotect_that_changes_nothing_merges_nothing),
		cmocka_unit_test(an_operation_whose_wait_is_given_up_says_eintr),
		cmocka_unit_test(a_vma_that_went_comes_again),
	};

	return cmocka_run_group_tests_name("mmap", tests, NULL, NULL);
}
