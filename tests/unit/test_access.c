/* SPDX-License-Identifier: MIT */
/* Copying in, out and between address spaces; keys (R8.10). Forced writes: test_cow.c. */
#include "world.h"

#include "page.h"

static void copies_cross_pages_and_mappings(void **state)
{
	struct world w;
	unsigned char in[3 * PAGE], out[3 * PAGE];
	struct test_file *tf;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, 4 * PAGE);
	a = map_at(w.mm, 0x20000000, 2, RW, ANON, NULL, 0);
	map_at(w.mm, a + 2 * PAGE, 2, RW, AVM_MAP_SHARED, &tf->file, 0);
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)(i * 7 + i / PAGE);
	assert_int_equal(avm_copy_in(w.mm, a + 100, in, sizeof(in), 0), sizeof(in));
	assert_int_equal(avm_copy_out(w.mm, out, a + 100, sizeof(out), 0), sizeof(out));
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(load(w.a, a + 100 + PAGE), in[PAGE]);
	assert_int_equal(load(w.a, a + 99), 0);
	assert_int_equal(load(w.a, a + 3 * PAGE + 100),
			 2); /* the file goes on behind what was written */
	assert_true(has_flag(page_at(w.mm, a + 2 * PAGE), AVM_PG_DIRTY));
	assert_int_equal(tf->mkwrites, 2);
	assert_int_equal(avm_copy_in(w.mm, a, in, 0, 0), 0);
	assert_int_equal(avm_copy_out(w.mm, out, 0, 0, 0), 0);
	assert_int_equal(avm_munmap(w.mm, a, 4 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void copies_stop_where_the_process_would(void **state)
{
	struct world w;
	unsigned char buf[4 * PAGE] = { 0 };
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_at(w.mm, 0x20000000, 3, RW, ANON, NULL, 0);
	assert_int_equal(avm_mprotect(w.mm, a + PAGE, PAGE, AVM_PROT_READ), 0);
	assert_int_equal(avm_copy_in(w.mm, a + 10, buf, 2 * PAGE, 0), PAGE - 10);
	assert_int_equal(avm_copy_out(w.mm, buf, a + 10, 4 * PAGE, 0), 3 * PAGE - 10);
	assert_int_equal(avm_copy_in(w.mm, a + PAGE, buf, 1, 0), -AVM_EFAULT);
	assert_int_equal(avm_copy_out(w.mm, buf, a - 1, 2, 0), -AVM_EFAULT);
	assert_int_equal(avm_copy_out(w.mm, buf, ~(avm_addr_t)0, 2, 0), -AVM_EFAULT);
	assert_int_equal(avm_mprotect(w.mm, a, PAGE, AVM_PROT_NONE), 0);
	assert_int_equal(avm_copy_out(w.mm, buf, a, 1, 0), -AVM_EFAULT);
	/* Each mapping on the way is asked, although all is present. */
	avm_find_vma(w.mm, a + PAGE)->flags &= ~AVM_VM_MAYREAD;
	assert_int_equal(avm_mprotect(w.mm, a + PAGE, PAGE, AVM_PROT_NONE), 0);
	assert_int_equal(avm_copy_out(w.mm, buf, a, 3 * PAGE, AVM_COPY_FORCE), PAGE);
	world_close(&w);
}

static void copies_say_what_is_lacking(void **state)
{
	struct world w;
	struct test_file *tf;
	unsigned char buf[PAGE];
	avm_addr_t a;

	(void)state;
	world_open(&w);
	tf = test_file_open(&w, PAGE);
	a = map_file(w.mm, 2, RW, AVM_MAP_PRIVATE, &tf->file);
	tf->once = true;
	tf->read_error = -AVM_EAGAIN;
	assert_int_equal(avm_copy_out(w.mm, buf, a, 1, 0), -AVM_EAGAIN);
	tf->read_error = -AVM_EIO;
	assert_int_equal(avm_copy_out(w.mm, buf, a, 1, 0), -AVM_EFAULT);
	sim_fail_alloc(w.s, 1, 1);
	assert_int_equal(avm_copy_out(w.mm, buf, a, 1, 0), -AVM_ENOMEM);
	sim_fail_alloc(w.s, 0, 0);
	assert_int_equal(avm_copy_out(w.mm, buf, a + PAGE - 4, 8, 0), 4); /* the end of the file */
	assert_int_equal(avm_copy_out(w.mm, buf, a + PAGE, 8, 0), -AVM_EFAULT);
	assert_int_equal(avm_munmap(w.mm, a, 2 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/* The bits an MMU would have set; what is dirty must not be lost when the page goes. */
static void copies_leave_the_traces_of_an_access(void **state)
{
	struct world w;
	avm_addr_t a;
	avm_pte_t p;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	store(w.a, a, 1);
	p = avm_pte_mkclean(avm_pte_mkold(peek_entry(w.mm, a)));
	poke_entry(w.mm, a, p);
	assert_int_equal(avm_copy_out(w.mm, &(char){ 0 }, a, 1, 0), 1);
	assert_int_equal(peek_entry(w.mm, a), avm_pte_mkyoung(p));
	assert_int_equal(avm_copy_in(w.mm, a, &(char){ 5 }, 1, 0), 1);
	assert_int_equal(peek_entry(w.mm, a), avm_pte_mkdirty(avm_pte_mkyoung(p)));
	assert_int_equal(load(w.a, a), 5);
	world_close(&w);
}

/*
 * A program sees its own copy at once, and its relative does not: through TLBs that know the old
 * page.
 */
static void a_copy_into_shared_pages_breaks_cow(void **state)
{
	struct world w;
	struct sim_proc *b;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_anon(w.mm, 1, RW);
	store(w.a, a, 1);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	assert_int_equal(load(w.a, a), 1);
	assert_int_equal(load(b, a), 1);
	assert_int_equal(avm_copy_in(w.mm, a, &(char){ 2 }, 1, 0), 1);
	assert_int_equal(load(w.a, a), 2);
	assert_int_equal(load(b, a), 1);
	world_close(&w);
}

static void a_copy_grows_the_stack(void **state)
{
	struct world w;
	avm_addr_t a = 0x7f0000000000;

	(void)state;
	world_open(&w);
	map_at(w.mm, a, 1, RW, ANON | AVM_MAP_GROWSDOWN, NULL, 0);
	assert_int_equal(avm_copy_in(w.mm, a - 2, "xyz", 3, 0), 3);
	assert_int_equal(avm_find_vma(w.mm, a)->start, a - PAGE);
	assert_int_equal(load(w.a, a), 'z');
	world_close(&w);
}

static void copies_between_address_spaces(void **state)
{
	struct world w;
	unsigned char in[2 * PAGE], out[2 * PAGE];
	struct sim_proc *b;
	avm_addr_t a, c;

	(void)state;
	world_open(&w);
	assert_int_equal(sim_proc_create(w.s, NULL, &b), 0);
	a = map_anon(w.mm, 2, RW);
	c = map_at(sim_mm(b), 0x20000000, 2, RW, ANON, NULL, 0);
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)(i * 11 + i / 256);
	assert_int_equal(avm_copy_in(w.mm, a, in, sizeof(in), 0), sizeof(in));
	assert_int_equal(avm_copy_between(sim_mm(b), c + 5, w.mm, a, 2 * PAGE - 5, 0),
			 2 * PAGE - 5);
	assert_int_equal(avm_copy_out(sim_mm(b), out, c + 5, 2 * PAGE - 5, 0), 2 * PAGE - 5);
	assert_memory_equal(in, out, 2 * PAGE - 5);
	/* Within one. */
	assert_int_equal(avm_copy_between(w.mm, a, w.mm, a + PAGE, PAGE, 0), PAGE);
	assert_int_equal(load(w.a, a + 300), in[PAGE + 300]);
	/* The target ends, the source ends, neither is there. */
	assert_int_equal(avm_copy_between(sim_mm(b), c + PAGE + 1000, w.mm, a, 2 * PAGE, 0),
			 PAGE - 1000);
	assert_int_equal(avm_copy_between(sim_mm(b), c, w.mm, a + 2 * PAGE - 700, PAGE, 0), 700);
	assert_int_equal(avm_copy_between(sim_mm(b), c - 1, w.mm, a, 1, 0), -AVM_EFAULT);
	assert_int_equal(avm_copy_between(sim_mm(b), c, w.mm, a - 1, 1, 0), -AVM_EFAULT);
	assert_int_equal(avm_copy_between(sim_mm(b), c, w.mm, a, 0, 0), 0);
	/* By force, both ways. */
	assert_int_equal(avm_mprotect(w.mm, a, PAGE, AVM_PROT_NONE), 0);
	assert_int_equal(avm_mprotect(sim_mm(b), c, PAGE, AVM_PROT_READ), 0);
	assert_int_equal(avm_copy_between(sim_mm(b), c, w.mm, a, 600, 0), -AVM_EFAULT);
	assert_int_equal(avm_copy_between(sim_mm(b), c, w.mm, a, 600, AVM_COPY_FORCE), 600);
	assert_int_equal(load(b, c + 300), in[PAGE + 300]);
	world_close(&w);
}

static void only_frames_of_the_machine_have_contents(void **state)
{
	struct world w;
	struct test_file *in, *out;
	avm_addr_t a, b, src;
	unsigned char c = 0;

	(void)state;
	world_open(&w);
	src = map_anon(w.mm, 1, RW);
	store(w.a, src, 42);
	in = test_device_open(&w, page_at(w.mm, src)->pfn, 1);
	out = test_device_open(&w, 0xfee00, 1);
	a = map_file(w.mm, 1, RW, AVM_MAP_SHARED, &in->file);
	b = map_file(w.mm, 1, RW, AVM_MAP_SHARED, &out->file);
	assert_int_equal(avm_copy_out(w.mm, &c, a, 1, 0), 1);
	assert_int_equal(c, 42);
	assert_int_equal(avm_copy_in(w.mm, a, &(char){ 43 }, 1, 0), 1);
	assert_int_equal(load(w.a, src), 43);
	assert_int_equal(avm_copy_out(w.mm, &c, b, 1, 0), -AVM_EFAULT);
	assert_int_equal(avm_copy_in(w.mm, b, &c, 1, AVM_COPY_FORCE), -AVM_EFAULT);
	assert_int_equal(avm_munmap(w.mm, a, PAGE), 0);
	assert_int_equal(avm_munmap(w.mm, b, PAGE), 0);
	test_file_close(in);
	test_file_close(out);
	world_close(&w);
}

static bool same_key(struct avm_mm *x, avm_addr_t a, struct avm_mm *y, avm_addr_t b)
{
	struct avm_page_key k = { 0 }, l = { 0 };

	assert_int_equal(avm_page_key(x, a, &k), 0);
	assert_int_equal(avm_page_key(y, b, &l), 0);
	return k.object == l.object && k.index == l.index && k.offset == l.offset;
}

static void keys_are_equal_for_all_who_see_the_same_memory(void **state)
{
	struct world w;
	struct avm_file file;
	struct avm_page_key key;
	struct sim_proc *b;
	struct avm_mm *bm;
	avm_addr_t anon, shared, again, private, sh;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_memfd(w.m, &file, NULL, 4 * PAGE), 0);
	anon = map_anon(w.mm, 1, RW);
	shared = map_file(w.mm, 4, RW, AVM_MAP_SHARED, &file);
	again = map_at(w.mm, 0, 2, RW, AVM_MAP_SHARED, &file, 2);
	private = map_file(w.mm, 4, RW, AVM_MAP_PRIVATE, &file);
	sh = map_at(w.mm, 0, 1, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	bm = sim_mm(b);

	assert_true(same_key(w.mm, shared + 2 * PAGE + 8, w.mm, again + 8));
	assert_true(same_key(w.mm, shared + 8, bm, shared + 8));
	assert_true(same_key(w.mm, sh, bm, sh));
	assert_false(same_key(w.mm, shared, w.mm, shared + 4));
	assert_false(same_key(w.mm, shared, w.mm, shared + PAGE));
	assert_false(same_key(w.mm, anon, bm, anon));
	assert_false(same_key(w.mm, private, w.mm, shared));
	assert_false(same_key(w.mm, private, bm, private));
	/* Copy on write moves the page, not the key. */
	assert_int_equal(avm_page_key(w.mm, anon + 12, &key), 0);
	assert_ptr_equal(key.object, w.mm);
	assert_int_equal(key.index, anon / PAGE);
	assert_int_equal(key.offset, 12);
	store(w.a, anon, 1);
	assert_true(same_key(w.mm, anon, w.mm, anon));
	assert_int_equal(avm_page_key(w.mm, 0x1000, &key), -AVM_EFAULT);
	sim_proc_exit(b);
	sim_proc_exit(w.a);
	avm_file_put(&file);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_cross_pages_and_mappings),
		cmocka_unit_test(copies_stop_where_the_process_would),
		cmocka_unit_test(copies_say_what_is_lacking),
		cmocka_unit_test(copies_leave_the_traces_of_an_access),
		cmocka_unit_test(a_copy_into_shared_pages_breaks_cow),
		cmocka_unit_test(a_copy_grows_the_stack),
		cmocka_unit_test(copies_between_address_spaces),
		cmocka_unit_test(only_frames_of_the_machine_have_contents),
		cmocka_unit_test(keys_are_equal_for_all_who_see_the_same_memory),
	};

	return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
