/* SPDX-License-Identifier: MIT */
/* test_pin.c - pages whose contents and frames stay (R16, R5.6). */
#include "anonvm/memory.h"
#include "frame.h"
#include "lock.h"
#include "middle.h"
#include "page.h"
#include "swap_slot.h"

static struct avm_page *pin(struct sim_proc *p, avm_addr_t addr, enum avm_access access)
{
	struct avm_page *page = NULL;

	assert_int_equal(avm_pin(sim_mm(p), addr, 1, access, &page), 1);
	assert_int_equal(atomic_load(&page->pins), 1);
	return page;
}

static void unpin(struct world *w, struct avm_page *page, enum avm_unpin_how how)
{
	avm_unpin(w->m, &page, 1, how);
}

/* What a device sees, and does. */
static unsigned char peek(struct world *w, const struct avm_page *page)
{
	unsigned char c = 0;

	avm_port_frame_read(w->m, page->pfn, 0, &c, 1);
	return c;
}

static void poke(struct world *w, const struct avm_page *page, unsigned char c)
{
	avm_port_frame_write(w->m, page->pfn, 0, &c, 1);
}

/* ---- taking --------------------------------------------------------------------------------------------- */

static void absent_memory_is_faulted_in(void **state)
{
	struct avm_page *pages[4];
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 4, RW);
	mark(&w, 0, 1);
	assert_int_equal(load(w.a, AT(1)), 0); /* the zero page */
	assert_int_equal(avm_pin(w.mm, AT(0), 4, AVM_ACCESS_READ, pages), 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_ptr_equal(page_at(w.mm, AT(i)), pages[i]);
		assert_true(is_exclusive(pages[i]));
	}
	assert_int_equal(event(&w, AVM_EV_PINNED), 4);
	world_check(&w);
	/* Process and pin go on seeing the same, whoever writes. */
	store(w.a, AT(1), 5);
	assert_int_equal(peek(&w, pages[1]), 5);
	poke(&w, pages[2], 6);
	assert_int_equal(load(w.a, AT(2)), 6);
	avm_unpin(w.m, pages, 4, AVM_UNPIN_CLEAN);
	world_close(&w);
}

static void a_pin_of_shared_pages_copies_them_first(void **state)
{
	struct avm_page *read, *write;
	struct sim_proc *b;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	mark(&w, 0, 2);
	b = fork_of(w.a);
	read = pin(b, AT(0), AVM_ACCESS_READ);
	write = pin(b, AT(1), AVM_ACCESS_WRITE);
	assert_ptr_not_equal(read, page_at(w.mm, AT(0)));
	assert_ptr_not_equal(write, page_at(w.mm, AT(1)));
	world_check(&w);
	store(w.a, AT(0), 1);
	poke(&w, write, 2);
	assert_int_equal(peek(&w, read), 0x40);
	assert_int_equal(load(w.a, AT(1)), 0x41);
	assert_int_equal(load(b, AT(1)), 2);
	unpin(&w, read, AVM_UNPIN_CLEAN);
	unpin(&w, write, AVM_UNPIN_DIRTY);
	world_close(&w);
}

static void read_only_memory_is_pinned_and_stays_read_only(void **state)
{
	struct avm_page *page;
	struct test_file *tf;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, PAGE);
	at = map_file(w.mm, 1, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file);
	assert_int_equal(load(w.a, at), 1);
	page = pin(w.a, at, AVM_ACCESS_READ);
	assert_true(avm_page_is_anon(page));
	assert_int_equal(peek(&w, page), 1);
	world_check(&w);
	assert_int_equal(sim_touch(w.a, at, AVM_ACCESS_WRITE, NULL), AVM_FAULT_ACCERR);
	assert_int_equal(avm_pin(w.mm, at, 1, AVM_ACCESS_WRITE, &page), -AVM_EFAULT);
	page = page_at(w.mm, at);
	unpin(&w, page, AVM_UNPIN_CLEAN);
	assert_int_equal(avm_munmap(w.mm, at, PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void shared_file_pages_are_pinned_as_they_are(void **state)
{
	struct avm_page *page;
	struct test_file *tf;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, PAGE);
	at = map_file(w.mm, 1, RW, AVM_MAP_SHARED, &tf->file);
	page = pin(w.a, at, AVM_ACCESS_READ);
	assert_int_equal(tf->mkwrites, 0);
	assert_false(has_flag(page, AVM_PG_DIRTY));
	unpin(&w, page, AVM_UNPIN_CLEAN);
	assert_int_equal(pin(w.a, at, AVM_ACCESS_WRITE), page);
	assert_int_equal(tf->mkwrites, 1);
	world_check(&w);
	/* Written back in between, written through the pin afterwards: that is written back, too. */
	assert_int_equal(avm_msync(w.mm, at, PAGE, AVM_MS_SYNC), 0);
	poke(&w, page, 0x33);
	unpin(&w, page, AVM_UNPIN_DIRTY);
	assert_int_equal(avm_msync(w.mm, at, PAGE, AVM_MS_SYNC), 0);
	assert_int_equal(tf->data[0], 0x33);
	assert_int_equal(avm_munmap(w.mm, at, PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void what_cannot_be_pinned_is_said(void **state)
{
	struct avm_page *pages[4];
	struct test_file *tf;
	struct world w;
	avm_addr_t at;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	map(&w, 8, 1, AVM_PROT_NONE);
	/* As far as it goes. */
	assert_int_equal(avm_pin(w.mm, AT(0), 4, AVM_ACCESS_WRITE, pages), 2);
	avm_unpin(w.m, pages, 2, AVM_UNPIN_DIRTY);
	assert_int_equal(avm_pin(w.mm, AT(2), 1, AVM_ACCESS_READ, pages), -AVM_EFAULT);
	assert_int_equal(avm_pin(w.mm, AT(8), 1, AVM_ACCESS_READ, pages), -AVM_EFAULT);
	assert_int_equal(avm_pin(w.mm, AT(0) + 1, 1, AVM_ACCESS_READ, pages), -AVM_EINVAL);
	assert_int_equal(avm_pin(w.mm, AT(0), UINT64_MAX, AVM_ACCESS_READ, pages), -AVM_EINVAL);
	assert_int_equal(avm_pin(w.mm, AT(0), 0, AVM_ACCESS_READ, pages), 0);
	tf = test_device_open(&w, 4, 1);
	at = map_file(w.mm, 1, RW, AVM_MAP_SHARED, &tf->file);
	assert_int_equal(avm_pin(w.mm, at, 1, AVM_ACCESS_READ, pages), -AVM_EFAULT);
	assert_int_equal(avm_munmap(w.mm, at, PAGE), 0);
	test_file_close(tf);
	tf = test_file_open(&w, PAGE);
	tf->read_error = -AVM_EIO;
	at = map_file(w.mm, 1, RW, AVM_MAP_SHARED, &tf->file);
	assert_int_equal(avm_pin(w.mm, at, 1, AVM_ACCESS_READ, pages), -AVM_EIO);
	assert_int_equal(avm_munmap(w.mm, at, PAGE), 0);
	test_file_close(tf);
	assert_int_equal(avm_madvise(w.mm, AT(0), 2 * PAGE, AVM_MADV_DONTNEED), 0);
	sim_fail_alloc(w.s, 1, 0);
	assert_int_equal(avm_pin(w.mm, AT(0), 1, AVM_ACCESS_READ, pages), -AVM_ENOMEM);
	sim_fail_alloc(w.s, 0, 0);
	world_close(&w);
}

static void a_page_may_be_pinned_more_than_once(void **state)
{
	struct avm_page *page, *again;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 1, RW);
	page = pin(w.a, AT(0), AVM_ACCESS_WRITE);
	assert_int_equal(avm_pin(w.mm, AT(0), 1, AVM_ACCESS_READ, &again), 1);
	assert_ptr_equal(again, page);
	assert_int_equal(atomic_load(&page->pins), 2);
	world_check(&w);
	unpin(&w, page, AVM_UNPIN_CLEAN);
	assert_int_equal(avm_migrate(w.m, page->pfn), -AVM_EBUSY);
	unpin(&w, page, AVM_UNPIN_CLEAN);
	assert_int_equal(avm_migrate(w.m, page->pfn), 0);
	world_close(&w);
}

/* ---- staying -------------------------------------------------------------------------------------------- */

static void a_pinned_page_is_neither_moved_nor_swapped_out(void **state)
{
	struct avm_page *anon, *file, *shmem;
	struct test_file *tf;
	struct middle k;
	avm_addr_t at, mem;

	(void)state;
	swap_world_open(&k);
	map(&k.w, 0, 2, RW);
	mark(&k.w, 0, 2);
	tf = test_file_open(&k.w, PAGE);
	at = map_file(k.w.mm, 1, RW, AVM_MAP_SHARED, &tf->file);
	mem = map_at(k.w.mm, 0, 1, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	anon = pin(k.w.a, AT(0), AVM_ACCESS_WRITE);
	file = pin(k.w.a, at, AVM_ACCESS_READ);
	shmem = pin(k.w.a, mem, AVM_ACCESS_WRITE);
	assert_int_equal(avm_shrink_all(k.w.m), 1); /* the page beside it */
	world_check(&k.w);
	assert_int_equal(avm_migrate(k.w.m, anon->pfn), -AVM_EBUSY);
	assert_int_equal(avm_migrate(k.w.m, file->pfn), -AVM_EBUSY);
	assert_int_equal(avm_migrate(k.w.m, shmem->pfn), -AVM_EBUSY);
	world_check(&k.w);
	assert_ptr_equal(page_at(k.w.mm, AT(0)), anon);
	assert_ptr_equal(page_at(k.w.mm, at), file);
	assert_ptr_equal(page_at(k.w.mm, mem), shmem);
	unpin(&k.w, anon, AVM_UNPIN_DIRTY);
	unpin(&k.w, file, AVM_UNPIN_CLEAN);
	unpin(&k.w, shmem, AVM_UNPIN_DIRTY);
	assert_int_equal(avm_shrink_all(k.w.m), 3);
	assert_marked(&k.w, 0, 2, 0);
	assert_int_equal(avm_munmap(k.w.mm, at, PAGE), 0);
	test_file_close(tf);
	world_close(&k.w);
}

static void what_was_written_through_a_pin_is_not_lazily_freed(void **state)
{
	struct avm_page *page;
	struct middle k;

	(void)state;
	swap_world_open(&k);
	map(&k.w, 0, 2, RW);
	mark(&k.w, 0, 2);
	page = pin(k.w.a, AT(0), AVM_ACCESS_WRITE);
	assert_int_equal(avm_madvise(k.w.mm, AT(0), 2 * PAGE, AVM_MADV_FREE), 0);
	poke(&k.w, page, 0x11);
	unpin(&k.w, page, AVM_UNPIN_DIRTY);
	assert_int_equal(avm_shrink_all(k.w.m), 2);
	assert_int_equal(load(k.w.a, AT(0)), 0x11);
	assert_int_equal(load(k.w.a, AT(1)), 0);
	world_close(&k.w);
}

static void munmap_and_exit_leave_the_page_to_the_pin(void **state)
{
	struct avm_page *a, *b;
	struct sim_proc *p;
	struct middle k;
	uint64_t used;

	(void)state;
	swap_world_open(&k);
	map(&k.w, 0, 1, RW);
	mark(&k.w, 0, 1);
	assert_int_equal(avm_mlock(k.w.mm, AT(0), PAGE, 0), 0);
	p = fork_of(k.w.a);
	used = sim_frames_used(k.w.s);
	a = pin(k.w.a, AT(0), AVM_ACCESS_READ);
	b = pin(p, AT(0), AVM_ACCESS_WRITE);
	assert_ptr_not_equal(a, b);
	assert_int_equal(avm_munmap(k.w.mm, AT(0), PAGE), 0);
	sim_proc_exit(p);
	world_check(&k.w);
	assert_int_equal(avm_shrink_all(k.w.m), 0);
	assert_int_equal(avm_migrate(k.w.m, a->pfn), -AVM_EBUSY);
	world_check(&k.w);
	assert_int_equal(peek(&k.w, a), 0x40);
	assert_int_equal(peek(&k.w, b), 0x40);
	assert_int_equal(avm_fini(k.w.m), -AVM_EBUSY);
	unpin(&k.w, a, AVM_UNPIN_DIRTY);
	unpin(&k.w, b, AVM_UNPIN_CLEAN);
	assert_int_equal(atomic_load(&a->flags), 0);
	assert_true(sim_frames_used(k.w.s) < used);
	world_close(&k.w);
}

static void a_page_cut_off_its_file_stays_with_the_pin(void **state)
{
	struct avm_page *page;
	struct test_file *tf;
	struct middle k;
	avm_addr_t at;

	(void)state;
	swap_world_open(&k);
	tf = test_file_open(&k.w, PAGE);
	at = map_file(k.w.mm, 1, RW, AVM_MAP_SHARED, &tf->file);
	store(k.w.a, at, 0x41);
	page = pin(k.w.a, at, AVM_ACCESS_WRITE);
	assert_int_equal(avm_file_truncate(&tf->file, 0), 0);
	world_check(&k.w);
	assert_int_equal(avm_shrink_all(k.w.m), 0);
	assert_int_equal(avm_migrate(k.w.m, page->pfn), -AVM_EBUSY);
	world_check(&k.w);
	assert_int_equal(peek(&k.w, page), 0x41);
	unpin(&k.w, page, AVM_UNPIN_DIRTY);
	assert_int_equal(atomic_load(&page->flags), 0);
	assert_int_equal(avm_munmap(k.w.mm, at, PAGE), 0);
	test_file_close(tf);
	world_close(&k.w);
}

/* ---- fork (R5.6) ---------------------------------------------------------------------------------------- */

static void fork_copies_pinned_pages_early(void **state)
{
	struct avm_page *pages[2];
	struct sim_proc *b;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 5, RW);
	mark(&w, 0, 5);
	pages[0] = pin(w.a, AT(1), AVM_ACCESS_WRITE);
	pages[1] = pin(w.a, AT(3), AVM_ACCESS_READ);
	b = fork_of(w.a);
	assert_int_equal(event(&w, AVM_EV_EARLY_COPY), 2);
	world_check(&w);
	assert_ptr_equal(page_at(w.mm, AT(0)), page_at(sim_mm(b), AT(0)));
	for (unsigned i = 1; i < 5; i += 2) {
		assert_ptr_not_equal(page_at(w.mm, AT(i)), page_at(sim_mm(b), AT(i)));
		assert_true(is_exclusive(page_at(w.mm, AT(i))));
		assert_true(is_exclusive(page_at(sim_mm(b), AT(i))));
		assert_false(sim_would_fault(w.a, AT(i), AVM_ACCESS_WRITE, NULL));
		assert_false(sim_would_fault(b, AT(i), AVM_ACCESS_WRITE, NULL));
		assert_int_equal(load(b, AT(i)), 0x40 + i);
	}
	assert_int_equal(rss(sim_mm(b), AVM_RSS_ANON), 5);
	store(w.a, AT(1), 9);
	assert_int_equal(peek(&w, pages[0]), 9);
	assert_int_equal(load(b, AT(1)), 0x41);
	/* The copies are the child's own: a walk from them meets nobody else. */
	avm_unpin(w.m, pages, 2, AVM_UNPIN_CLEAN);
	sim_proc_exit(b);
	world_close(&w);
}

static void without_a_frame_for_the_copy_there_is_no_child(void **state)
{
	struct avm_page *page;
	struct sim_proc *b;
	struct world w;
	unsigned ways;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	mark(&w, 0, 2);
	page = pin(w.a, AT(1), AVM_ACCESS_WRITE);
	for (ways = 0;; ways++) {
		uint64_t failed = sim_allocs_failed(w.s), used = sim_frames_used(w.s);
		int err;

		sim_fail_alloc(w.s, ways + 1, 0);
		err = sim_proc_fork(w.a, &b);
		sim_fail_alloc(w.s, 0, 0);
		if (sim_allocs_failed(w.s) == failed) {
			assert_int_equal(err, 0);
			break;
		}
		assert_int_equal(err, -AVM_ENOMEM);
		assert_int_equal(sim_frames_used(w.s), used);
		world_check(&w);
		assert_false(sim_would_fault(w.a, AT(1), AVM_ACCESS_WRITE, NULL));
	}
	assert_true(ways > 2);
	assert_int_equal(load(b, AT(1)), 0x41);
	unpin(&w, page, AVM_UNPIN_CLEAN);
	world_close(&w);
}

/* The pin goes while the fork waits for the frame of the copy: shared after all, and the frame given back. */
struct waiting {
	struct world w;
	struct avm_page *page;
	unsigned frames;
};

static void end_the_pin(void *context, enum sim_at at)
{
	struct waiting *k = context;

	/* The child's tables come first. */
	if (at == SIM_AT_FRAME_ALLOC && k->page && ++k->frames == 5) {
		unpin(&k->w, k->page, AVM_UNPIN_CLEAN);
		k->page = NULL;
	}
}

static void a_pin_that_ends_meanwhile_needs_no_copy(void **state)
{
	struct avm_page *page;
	struct sim_proc *b;
	struct waiting k = { 0 };

	(void)state;
	world_open(&k.w);
	map(&k.w, 0, 1, RW);
	mark(&k.w, 0, 1);
	k.page = page = pin(k.w.a, AT(0), AVM_ACCESS_WRITE);
	sim_set_interruption(k.w.s, end_the_pin, &k);
	b = fork_of(k.w.a);
	sim_set_interruption(k.w.s, NULL, NULL);
	assert_null(k.page);
	assert_int_equal(event(&k.w, AVM_EV_EARLY_COPY), 0);
	assert_ptr_equal(page_at(sim_mm(b), AT(0)), page);
	world_close(&k.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(absent_memory_is_faulted_in),
		cmocka_unit_test(a_pin_of_shared_pages_copies_them_first),
		cmocka_unit_test(read_only_memory_is_pinned_and_stays_read_only),
		cmocka_unit_test(shared_file_pages_are_pinned_as_they_are),
		cmocka_unit_test(what_cannot_be_pinned_is_said),
		cmocka_unit_test(a_page_may_be_pinned_more_than_once),
		cmocka_unit_test(a_pinned_page_is_neither_moved_nor_swapped_out),
		cmocka_unit_test(what_was_written_through_a_pin_is_not_lazily_freed),
		cmocka_unit_test(munmap_and_exit_leave_the_page_to_the_pin),
		cmocka_unit_test(a_page_cut_off_its_file_stays_with_the_pin),
		cmocka_unit_test(fork_copies_pinned_pages_early),
		cmocka_unit_test(without_a_frame_for_the_copy_there_is_no_child),
		cmocka_unit_test(a_pin_that_ends_meanwhile_needs_no_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
