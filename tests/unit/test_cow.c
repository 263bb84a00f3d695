/* SPDX-License-Identifier: MIT */
/* Writes to private memory that somebody else may see (R5.4, R5.6, R8.3, R8.10). */
#include "world.h"

#include "anon_vma.h"
#include "page.h"

/* A parent with one written page, and its child. */
struct family {
	struct world w;
	struct sim_proc *b;
	struct avm_mm *bm;
	avm_addr_t a;
};

static void family_open(struct family *f)
{
	world_open(&f->w);
	f->a = map_anon(f->w.mm, 4, RW);
	store(f->w.a, f->a, 1);
	assert_int_equal(sim_proc_fork(f->w.a, &f->b), 0);
	f->bm = sim_mm(f->b);
}

/* ---- copy ------------------------------------------------------------------------------------ */

static void write_to_a_shared_page_copies_it(void **state)
{
	struct family f;
	struct avm_page *shared, *copy;

	(void)state;
	family_open(&f);
	shared = page_at(f.w.mm, f.a);
	assert_ptr_equal(page_at(f.bm, f.a), shared);
	assert_false(is_exclusive(shared));
	assert_int_equal(load(f.b, f.a), 1); /* into its TLB */
	assert_int_equal(fault_write(f.bm, f.a), AVM_FAULT_MINOR | AVM_FAULT_COW);
	copy = page_at(f.bm, f.a);
	assert_ptr_not_equal(copy, shared);
	assert_true(pte(f.bm, f.a).write && pte(f.bm, f.a).dirty);
	assert_true(is_exclusive(copy) && has_flag(copy, AVM_PG_LRU));
	assert_ptr_equal(avm_page_anon_vma(copy), avm_find_vma(f.bm, f.a)->anon_vma);
	assert_int_equal(avm_page_mapcount(shared), 1);
	assert_int_equal(avm_page_refs(shared), 1);
	assert_int_equal(rss(f.bm, AVM_RSS_ANON), 1);
	assert_int_equal(event(&f.w, AVM_EV_COW_COPY), 1);
	store(f.b, f.a, 2);
	assert_int_equal(load(f.b, f.a), 2);
	assert_int_equal(load(f.w.a, f.a), 1);
	assert_false(pte(f.w.mm, f.a).write);
	world_close(&f.w);
}

static void three_generations_each_have_their_own(void **state)
{
	struct family f;
	struct sim_proc *c;

	(void)state;
	family_open(&f);
	store(f.b, f.a, 2);
	assert_int_equal(sim_proc_fork(f.b, &c), 0);
	store(c, f.a, 3);
	store(f.b, f.a + 1, 4);
	assert_int_equal(load(f.w.a, f.a), 1);
	assert_int_equal(load(f.b, f.a), 2);
	assert_int_equal(load(c, f.a), 3);
	assert_int_equal(load(c, f.a + 1), 0);
	world_check(&f.w);
	sim_proc_exit(f.b);
	assert_int_equal(load(c, f.a), 3);
	assert_int_equal(load(f.w.a, f.a), 1);
	world_close(&f.w);
}

static void copy_without_memory_changes_nothing(void **state)
{
	struct family f;
	struct avm_page *shared;
	unsigned failures = 0, bits;
	avm_pte_t before;

	(void)state;
	family_open(&f);
	shared = page_at(f.bm, f.a);
	before = peek_entry(f.bm, f.a);
	for (uint64_t i = 1;; i++) {
		sim_fail_alloc(f.w.s, i, 1);
		bits = fault_write(f.bm, f.a);
		sim_fail_alloc(f.w.s, 0, 0);
		if (bits != AVM_FAULT_OOM)
			break;
		failures++;
		assert_int_equal(peek_entry(f.bm, f.a), before);
		assert_int_equal(avm_page_refs(shared), 1);
		assert_int_equal(load(f.b, f.a), 1);
		world_check(&f.w);
	}
	assert_int_equal(bits, AVM_FAULT_MINOR | AVM_FAULT_COW);
	assert_int_equal(failures, 1); /* the page: the family is there */
	world_close(&f.w);
}

/* ---- reuse ----------------------------------------------------------------------------------- */

static void the_last_owner_takes_the_page_over(void **state)
{
	struct family f;
	struct avm_page *page;

	(void)state;
	family_open(&f);
	page = page_at(f.bm, f.a);
	sim_proc_exit(f.w.a);
	assert_int_equal(load(f.b, f.a), 1);
	assert_false(is_exclusive(page));
	assert_int_equal(fault_write(f.bm, f.a), AVM_FAULT_MINOR | AVM_FAULT_REUSE);
	assert_ptr_equal(page_at(f.bm, f.a), page);
	assert_true(is_exclusive(page));
	assert_false(has_flag(page, AVM_PG_LOCKED));
	assert_ptr_equal(avm_page_anon_vma(page), avm_find_vma(f.bm, f.a)->anon_vma);
	assert_true(pte(f.bm, f.a).write && pte(f.bm, f.a).dirty);
	assert_int_equal(event(&f.w, AVM_EV_COW_REUSE), 1);
	assert_int_equal(event(&f.w, AVM_EV_COW_COPY), 0);
	world_close(&f.w);
}

/* R5.6: the reference may be a pin, whose holder must go on seeing what is written. */
static void an_exclusive_page_is_reused_whoever_holds_it(void **state)
{
	struct world w;
	struct avm_page *page;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	store(w.a, a, 1);
	poke_entry(w.mm, a, avm_pte_wrprotect(peek_entry(w.mm, a)));
	page = page_at(w.mm, a);
	avm_page_get(page);
	assert_int_equal(fault_write(w.mm, a), AVM_FAULT_MINOR | AVM_FAULT_REUSE);
	assert_ptr_equal(page_at(w.mm, a), page);
	avm_page_put(w.m, page);
	world_close(&w);
}

static void a_page_that_may_be_shared_is_copied_if_somebody_holds_it(void **state)
{
	struct family f;
	struct avm_page *page;

	(void)state;
	family_open(&f);
	page = page_at(f.bm, f.a);
	sim_proc_exit(f.w.a);
	avm_page_get(page);
	assert_int_equal(fault_write(f.bm, f.a), AVM_FAULT_MINOR | AVM_FAULT_COW);
	assert_ptr_not_equal(page_at(f.bm, f.a), page);
	assert_int_equal(avm_page_refs(page), 1);
	avm_page_put(f.w.m, page);
	assert_int_equal(load(f.b, f.a), 1);
	world_close(&f.w);
}

static void a_page_that_is_locked_is_copied(void **state)
{
	struct family f;
	struct avm_page *page;

	(void)state;
	family_open(&f);
	page = page_at(f.bm, f.a);
	sim_proc_exit(f.w.a);
	avm_page_get(page);
	avm_page_set(page, AVM_PG_LOCKED); /* by somebody on another CPU */
	assert_int_equal(fault_write(f.bm, f.a), AVM_FAULT_MINOR | AVM_FAULT_COW);
	avm_page_clear(page, AVM_PG_LOCKED);
	avm_page_put(f.w.m, page);
	world_close(&f.w);
}

/* ---- races and notices ----------------------------------------------------------------------- */

struct watcher {
	struct avm_notifier notifier;
	unsigned starts, ends;
	avm_addr_t start, end;
	struct avm_mm *poke; /* ages the entry between the copy and the second look */
};

static void watch_start(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct watcher *k = (struct watcher *)n;

	k->starts++;
	k->start = start;
	k->end = end;
	if (k->poke)
		poke_entry(k->poke, start, peek_entry(k->poke, start) ^ avm_pte_mkyoung(0));
}

static void watch_end(struct avm_notifier *n, avm_addr_t start, avm_addr_t end)
{
	struct watcher *k = (struct watcher *)n;

	assert_int_equal(start, k->start);
	assert_int_equal(end, k->end);
	k->ends++;
}

static void replacing_a_page_is_told_and_reuse_is_not(void **state)
{
	struct family f;
	struct watcher k = { .notifier = { .invalidate_start = watch_start,
					   .invalidate_end = watch_end } };

	(void)state;
	family_open(&f);
	avm_notifier_add(f.bm, &k.notifier);
	assert_int_equal(fault_write(f.bm, f.a + 77), AVM_FAULT_MINOR | AVM_FAULT_COW);
	assert_int_equal(k.starts, 1);
	assert_int_equal(k.ends, 1);
	assert_int_equal(k.start, f.a);
	assert_int_equal(k.end, f.a + PAGE);
	avm_notifier_del(f.bm, &k.notifier);

	avm_notifier_add(f.w.mm, &k.notifier);
	assert_int_equal(fault_write(f.w.mm, f.a), AVM_FAULT_MINOR | AVM_FAULT_REUSE);
	assert_int_equal(k.starts, 1);
	avm_notifier_del(f.w.mm, &k.notifier);
	world_close(&f.w);
}

/* R8.8: what was brought is given back, nothing changes, and the next try does it. */
static void an_entry_that_changes_during_the_copy_is_left_alone(void **state)
{
	struct family f;
	struct watcher k = { .notifier = { .invalidate_start = watch_start,
					   .invalidate_end = watch_end } };
	struct avm_page *shared;
	uint64_t frames;

	(void)state;
	family_open(&f);
	shared = page_at(f.bm, f.a);
	k.poke = f.bm;
	frames = sim_frames_used(f.w.s);
	avm_notifier_add(f.bm, &k.notifier);
	assert_int_equal(fault_write(f.bm, f.a), AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS);
	assert_int_equal(k.ends, 1);
	assert_ptr_equal(page_at(f.bm, f.a), shared);
	assert_int_equal(avm_page_refs(shared), 1);
	assert_int_equal(sim_frames_used(f.w.s), frames);
	assert_int_equal(event(&f.w, AVM_EV_COW_COPY), 0);
	avm_notifier_del(f.bm, &k.notifier);
	assert_int_equal(fault_write(f.bm, f.a), AVM_FAULT_MINOR | AVM_FAULT_COW);
	world_close(&f.w);
}

/* ---- pages of files -------------------------------------------------------------------------- */

static void a_cached_page_is_always_copied(void **state)
{
	struct world w;
	struct test_file *tf;
	struct avm_page *cached;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 2 * PAGE);
	a = map_file(w.mm, 2, RW, AVM_MAP_PRIVATE, &tf->file);
	assert_int_equal(load(w.a, a), 1);
	cached = page_at(w.mm, a);
	assert_int_equal(rss(w.mm, AVM_RSS_FILE), 1);
	assert_int_equal(fault_write(w.mm, a), AVM_FAULT_MINOR | AVM_FAULT_COW);
	assert_ptr_not_equal(page_at(w.mm, a), cached);
	assert_int_equal(rss(w.mm, AVM_RSS_FILE), 0);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 1);
	assert_int_equal(avm_page_refs(cached), 1);
	assert_int_equal(avm_page_mapcount(cached), 0);
	assert_false(has_flag(cached, AVM_PG_DIRTY));
	store(w.a, a, 99);
	assert_int_equal(load(w.a, a + 1), 1);
	assert_int_equal(avm_munmap(w.mm, a, 2 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/* Whichever allocation fails: the entry still maps the cached page. Each try in a fresh process. */
static void copy_of_a_cached_page_without_memory_changes_nothing(void **state)
{
	struct world w;
	struct test_file *tf;
	unsigned failures = 0, bits;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, PAGE);
	for (uint64_t i = 1;; i++) {
		struct sim_proc *p;
		avm_pte_t before;
		avm_addr_t a;

		assert_int_equal(sim_proc_create(w.s, NULL, &p), 0);
		a = map_file(sim_mm(p), 1, RW, AVM_MAP_PRIVATE, &tf->file);
		assert_int_equal(load(p, a), 1);
		before = peek_entry(sim_mm(p), a);
		sim_fail_alloc(w.s, i, 1);
		bits = fault_write(sim_mm(p), a);
		sim_fail_alloc(w.s, 0, 0);
		assert_int_equal(peek_entry(sim_mm(p), a) == before, bits == AVM_FAULT_OOM);
		world_check(&w);
		sim_proc_exit(p);
		if (bits != AVM_FAULT_OOM)
			break;
		failures++;
	}
	assert_int_equal(failures, 3);
	test_file_close(tf);
	world_close(&w);
}

/* ---- bare frames ----------------------------------------------------------------------------- */

static void a_private_device_page_is_copied_from_its_frame(void **state)
{
	struct world w;
	struct test_file *dev;
	struct avm_page *frame;
	avm_addr_t a, src;

	(void)state;
	world_open(&w);
	/* Some frame of the machine that stays where it is for a while. */
	src = map_anon(w.mm, 1, RW);
	store(w.a, src, 42);
	frame = page_at(w.mm, src);
	dev = test_device_open(&w, frame->pfn, 1);
	a = map_file(w.mm, 1, RW, AVM_MAP_PRIVATE, &dev->file);
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_MINOR);
	assert_true(pte(w.mm, a).special);
	assert_false(pte(w.mm, a).write);
	assert_int_equal(avm_page_mapcount(frame), 1);
	assert_int_equal(fault_write(w.mm, a), AVM_FAULT_MINOR | AVM_FAULT_COW);
	assert_false(pte(w.mm, a).special);
	store(w.a, a + 1, 43);
	assert_int_equal(load(w.a, a), 42);
	assert_int_equal(load(w.a, src + 1), 0);
	assert_int_equal(rss(w.mm, AVM_RSS_ANON), 2);
	assert_int_equal(avm_munmap(w.mm, a, PAGE), 0);
	/* At once: the write finds nothing there. */
	a = map_file(w.mm, 1, RW, AVM_MAP_PRIVATE, &dev->file);
	assert_int_equal(fault_write(w.mm, a), AVM_FAULT_MINOR | AVM_FAULT_COW);
	assert_int_equal(load(w.a, a), 42);
	assert_int_equal(avm_munmap(w.mm, a, PAGE), 0);
	test_file_close(dev);
	world_close(&w);
}

static void a_frame_outside_the_machine_cannot_be_copied(void **state)
{
	struct world w;
	struct test_file *dev;
	avm_pte_t before;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	dev = test_device_open(&w, 0xfee00, 1);
	a = map_file(w.mm, 1, RW, AVM_MAP_PRIVATE, &dev->file);
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_MINOR);
	before = peek_entry(w.mm, a);
	assert_int_equal(fault_write(w.mm, a), AVM_FAULT_SIGBUS);
	assert_int_equal(peek_entry(w.mm, a), before);
	assert_int_equal(avm_munmap(w.mm, a, PAGE), 0);
	test_file_close(dev);
	world_close(&w);
}

/* ---- forced writes --------------------------------------------------------------------------- */

static void force(struct avm_mm *mm, avm_addr_t addr, unsigned char c)
{
	assert_int_equal(avm_copy_in(mm, addr, &c, 1, AVM_COPY_FORCE), 1);
}

static void a_forced_write_breaks_cow_and_stays_read_only(void **state)
{
	struct family f;
	struct avm_page *page;

	(void)state;
	family_open(&f);
	assert_int_equal(avm_mprotect(f.bm, f.a, PAGE, AVM_PROT_READ), 0);
	assert_int_equal(load(f.b, f.a), 1);
	force(f.bm, f.a, 5);
	assert_false(pte(f.bm, f.a).write);
	assert_true(pte(f.bm, f.a).dirty);
	assert_int_equal(load(f.b, f.a), 5);
	assert_int_equal(load(f.w.a, f.a), 1);
	assert_int_equal(fault_write(f.bm, f.a), AVM_FAULT_ACCERR);
	/* Once it is exclusive there is nothing more to break. */
	page = page_at(f.bm, f.a);
	force(f.bm, f.a, 6);
	assert_ptr_equal(page_at(f.bm, f.a), page);
	assert_int_equal(event(&f.w, AVM_EV_COW_COPY), 1);
	assert_int_equal(load(f.b, f.a), 6);
	world_close(&f.w);
}

static void a_forced_write_to_absent_memory_makes_it(void **state)
{
	struct world w;
	struct test_file *tf;
	avm_addr_t ro, none, file;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, PAGE);
	ro = map_anon(w.mm, 1, AVM_PROT_READ);
	none = map_anon(w.mm, 1, AVM_PROT_NONE);
	file = map_file(w.mm, 1, AVM_PROT_READ | AVM_PROT_EXEC, AVM_MAP_PRIVATE, &tf->file);
	force(w.mm, ro + 9, 5);
	assert_false(pte(w.mm, ro).write);
	assert_int_equal(load(w.a, ro + 9), 5);
	assert_int_equal(load(w.a, ro), 0);
	force(w.mm, none, 6);
	assert_true(pte(w.mm, none).none);
	assert_int_equal(fault_read(w.mm, none), AVM_FAULT_ACCERR);
	force(w.mm, file, 7); /* a breakpoint */
	assert_false(pte(w.mm, file).write);
	assert_int_equal(load(w.a, file), 7);
	assert_int_equal(load(w.a, file + 1), 1);
	assert_int_equal(tf->writes, 0);
	assert_int_equal(avm_munmap(w.mm, file, PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void force_does_not_write_what_others_share(void **state)
{
	struct world w;
	struct test_file *tf;
	unsigned char c = 5;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, PAGE);
	a = map_file(w.mm, 1, AVM_PROT_READ, AVM_MAP_SHARED, &tf->file);
	assert_int_equal(avm_copy_in(w.mm, a, &c, 1, AVM_COPY_FORCE), -AVM_EFAULT);
	assert_int_equal(load(w.a, a), 1);
	assert_int_equal(avm_copy_in(w.mm, a, &c, 1, AVM_COPY_FORCE), -AVM_EFAULT);
	assert_int_equal(load(w.a, a), 1);
	assert_int_equal(avm_munmap(w.mm, a, PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/* After the forced write the page is shared again by a fork: the next one must copy again. */
static void a_forced_write_after_fork_copies_again(void **state)
{
	struct world w;
	struct sim_proc *b;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, AVM_PROT_READ);
	force(w.mm, a, 5);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	force(w.mm, a, 6);
	assert_int_equal(load(b, a), 5);
	assert_int_equal(load(w.a, a), 6);
	force(sim_mm(b), a, 7);
	assert_int_equal(load(b, a), 7);
	assert_int_equal(load(w.a, a), 6);
	world_close(&w);
}

static void force_reads_what_may_be_read(void **state)
{
	struct family f;
	unsigned char c = 0;

	(void)state;
	family_open(&f);
	assert_int_equal(avm_mprotect(f.bm, f.a, 2 * PAGE, AVM_PROT_NONE), 0);
	assert_int_equal(avm_copy_out(f.bm, &c, f.a, 1, 0), -AVM_EFAULT);
	assert_int_equal(avm_copy_out(f.bm, &c, f.a, 1, AVM_COPY_FORCE), 1);
	assert_int_equal(c, 1);
	assert_int_equal(avm_copy_out(f.bm, &c, f.a + PAGE, 1, AVM_COPY_FORCE), 1);
	assert_int_equal(c, 0);
	avm_find_vma(f.bm, f.a)->flags &= ~AVM_VM_MAYREAD;
	assert_int_equal(avm_copy_out(f.bm, &c, f.a, 1, AVM_COPY_FORCE), -AVM_EFAULT);
	world_close(&f.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(write_to_a_shared_page_copies_it),
		cmocka_unit_test(three_generations_each_have_their_own),
		cmocka_unit_test(copy_without_memory_changes_nothing),
		cmocka_unit_test(the_last_owner_takes_the_page_over),
		cmocka_unit_test(an_exclusive_page_is_reused_whoever_holds_it),
		cmocka_unit_test(a_page_that_may_be_shared_is_copied_if_somebody_holds_it),
		cmocka_unit_test(a_page_that_is_locked_is_copied),
		cmocka_unit_test(replacing_a_page_is_told_and_reuse_is_not),
		cmocka_unit_test(an_entry_that_changes_during_the_copy_is_left_alone),
		cmocka_unit_test(a_cached_page_is_always_copied),
		cmocka_unit_test(copy_of_a_cached_page_without_memory_changes_nothing),
		cmocka_unit_test(a_private_device_page_is_copied_from_its_frame),
		cmocka_unit_test(a_frame_outside_the_machine_cannot_be_copied),
		cmocka_unit_test(a_forced_write_breaks_cow_and_stays_read_only),
		cmocka_unit_test(a_forced_write_to_absent_memory_makes_it),
		cmocka_unit_test(force_does_not_write_what_others_share),
		cmocka_unit_test(a_forced_write_after_fork_copies_again),
		cmocka_unit_test(force_reads_what_may_be_read),
	};

	return cmocka_run_group_tests_name("cow", tests, NULL, NULL);
}
