/* SPDX-License-Identifier: MIT */
/*
 * Dumps: their shape, that they are the same for the same state, and that nothing that matters is
 * left out.
 */
#include "verify_rig.h"

#include "format.h"

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	rig_open(r, AVM_FAMILY_REUSE);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	rig_close(r);
	free(r);
	return 0;
}

static void dump_all(struct rig *r, struct capture *c)
{
	struct avm_mm *mm = NULL;

	capture_init(c);
	while ((mm = avm_next_mm(r->w.m, mm))) {
		avm_dump_maps(mm, &c->sink);
		avm_dump_mm(mm, &c->sink);
		avm_dump_families(mm, &c->sink);
	}
	for (uint64_t i = 0; i < r->w.m->regions->count; i++)
		avm_dump_page(r->w.m, &r->w.m->regions->pages[i], &c->sink);
}

static char *dump_of(struct avm_mm *mm)
{
	struct capture c;

	capture_init(&c);
	avm_dump_mm(mm, &c.sink);
	return c.text;
}

static void assert_line(const struct capture *c, const char *line)
{
	size_t n = strlen(line);

	for (const char *at = c->text; *at; at = strchr(at, '\n') + 1)
		if (!strncmp(at, line, n) && at[n] == '\n')
			return;
	fail_msg("no line \"%s\" in:\n%s", line, c->text);
}

/* ---- text ----------------------------------------------------------------------------------- */

static void numbers_are_written_in_both_bases(void **state)
{
	char buf[64];
	struct avm_text t;

	(void)state;
	avm_text_init(&t, buf, sizeof(buf));
	assert_string_equal(buf, "");
	avm_text_dec(&t, 0);
	avm_text_char(&t, ' ');
	avm_text_dec(&t, UINT64_MAX);
	avm_text_char(&t, ' ');
	avm_text_hex(&t, UINT64_MAX, 1);
	assert_string_equal(buf, "0 18446744073709551615 ffffffffffffffff");
	avm_text_cut(&t, 1);
	avm_text_field(&t, "dec", 10);
	avm_text_field_hex(&t, "hex", 10);
	avm_text_char(&t, ' ');
	avm_text_hex(&t, 0xab, 8);
	avm_text_char(&t, ' ');
	avm_text_hex(&t, 0x123456789, 8);
	assert_string_equal(buf, "0 dec 10 hex a 000000ab 123456789");
	assert_int_equal(t.len, strlen(buf));
}

static void text_that_does_not_fit_ends_in_dots(void **state)
{
	char buf[9] = { 0 };
	struct avm_text t;

	(void)state;
	buf[8] = 'x'; /* not ours */
	avm_text_init(&t, buf, 8);
	avm_text_str(&t, "1234567");
	assert_string_equal(buf, "1234567");
	avm_text_str(&t, "8");
	assert_string_equal(buf, "1234...");
	avm_text_dec(&t, 12345678901234567890u);
	assert_string_equal(buf, "1234...");
	assert_int_equal(buf[8], 'x');
}

/* ---- shape ---------------------------------------------------------------------------------- */

static void maps_have_the_shape_of_proc(void **state)
{
	struct world w;
	struct capture c;
	struct avm_file *file;

	(void)state;
	world_open(&w);
	assert_int_equal(sim_file_create(w.s, "f", 8 * PAGE, 1, &file), 0);
	map_at(w.mm, 0x10000000, 2, AVM_PROT_READ | AVM_PROT_EXEC, AVM_MAP_PRIVATE, file, 3);
	map_at(w.mm, 0x20000000, 4, RW, ANON, NULL, 0);
	map_at(w.mm, 0x30000000, 1, RW, AVM_MAP_SHARED, file, 0);
	map_at(w.mm, 0x40000000, 1, RW, ANON | AVM_MAP_GROWSDOWN, NULL, 0);
	assert_int_equal(avm_insert_pfn(w.mm, 0x50000000, 0x777, 1, AVM_PROT_READ), 0);
	store(w.a, 0x20000000, 1);
	assert_int_equal(avm_set_name(w.mm, 0x40000000, PAGE, 7), 0);
	capture_init(&c);
	avm_dump_maps(w.mm, &c.sink);
	assert_string_equal(c.text,
			    "10000000-10002000 r-xp 00000003 file:2\n"
			    "20000000-20004000 rw-p 00020000 anon [anon_vma 3 root 3 chain 1]\n"
			    "30000000-30001000 rw-s 00000000 file:2\n"
			    "40000000-40001000 rw-p 00040000 [stack] name 7\n"
			    "50000000-50001000 r--s 00050000 [frames]\n");
	capture_free(&c);
	assert_int_equal(avm_munmap(w.mm, 0x10000000, 0x40010000), 0);
	sim_file_put(file);
	world_close(&w);
}

static void heap_and_shared_memory_are_named(void **state)
{
	struct world w;
	struct capture c;
	avm_addr_t out;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_exec(w.mm, &(struct avm_image){ .brk_start = 0x600000 }), 0);
	assert_int_equal(avm_brk(w.mm, 0x602000, &out), 0);
	map_at(w.mm, 0x10000000, 1, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	capture_init(&c);
	avm_dump_maps(w.mm, &c.sink);
	assert_string_equal(c.text, "00600000-00602000 rw-p 00000600 [heap]\n"
				    "10000000-10001000 rw-s 00000000 shmem:2\n");
	capture_free(&c);
	world_close(&w);
}

static void everything_of_a_small_address_space(void **state)
{
	struct world w;
	char *text;

	(void)state;
	world_open(&w);
	map_at(w.mm, 0x20000000, 4, RW, ANON, NULL, 0);
	store(w.a, 0x20000000, 1);
	load(w.a, 0x20003000);
	text = dump_of(w.mm);
	assert_string_equal(
		text,
		"mm id 1 lowest 10000 task_size 7ffffffff000 mmap_base 7ffff7fff000 brk_start 0"
		" brk 0 default_flags 0\n"
		"limits as ffffffffffffffff data ffffffffffffffff stack ffffffffffffffff"
		" locked ffffffffffffffff\n"
		"pages vmas 1 total 4 data 4 exec 0 stack 0 locked 0 rss_file 0 rss_anon 1"
		" rss_swap 0 rss_shmem 0\n"
		"vma 20000000-20004000 rw-p flags 20073 pgoff 20000 file 0 mapped 0 private 0"
		" policy 0 name 0 own 2 chain 1\n"
		"  anon_vma 2 root 2 parent 2 refs 1 children 1 active 1\n"
		"pte 20000000 present w-yd-- pfn 6 inuse,exclusive mapcount 1 anon_vma 2"
		" index 20000\n"
		"pte 20003000 present --y--- pfn 1 zero\n");
	free(text);
	world_close(&w);
}

static void a_family_is_told_with_all_its_members(void **state)
{
	struct world w;
	struct sim_proc *child;
	struct capture c;

	(void)state;
	world_open(&w);
	map_at(w.mm, 0x20000000, 4, RW, ANON, NULL, 0);
	map_at(w.mm, 0x30000000, 1, AVM_PROT_READ, ANON, NULL, 0);
	store(w.a, 0x20000000, 1);
	assert_int_equal(sim_proc_fork(w.a, &child), 0);
	capture_init(&c);
	avm_dump_families(sim_mm(child), &c.sink);
	assert_string_equal(c.text, "vma 20000000-20004000 rw-p\n"
				    "  anon_vma 4 root 2 parent 2 refs 1 children 0 active 1 own\n"
				    "    mm 3 20000000-20004000 pages 20000-20003\n"
				    "  anon_vma 2 root 2 parent 2 refs 2 children 2 active 1\n"
				    "    mm 1 20000000-20004000 pages 20000-20003\n"
				    "    mm 3 20000000-20004000 pages 20000-20003\n"
				    "vma 30000000-30001000 r--p unfaulted\n");
	capture_free(&c);

	capture_init(&c);
	avm_dump_page(w.m, page_at(w.mm, 0x20000000), &c.sink);
	assert_string_equal(c.text,
			    "pfn 6 inuse,lru,swapbacked refs 1 mapcount 2 anon_vma 2 index 20000\n"
			    "  mapped by mm 1 at 20000000 in 20000000-20004000\n"
			    "  mapped by mm 3 at 20000000 in 20000000-20004000\n"
			    "  walk visited 2 mapped 2\n");
	capture_free(&c);
	world_close(&w);
}

static void pages_of_every_use(void **state)
{
	struct rig *r = *state;
	struct capture c;

	capture_init(&c);
	avm_dump_page(r->w.m, r->w.m->zero_page, &c.sink);
	assert_line(&c, "pfn 1 inuse,zero refs 1 mapcount 0 index 0");
	avm_dump_page(r->w.m, r->ma->root_table, &c.sink);
	assert_non_null(
		strstr(c.text, "inuse,table refs 1 mapcount 0 mm 1 level 3 used 1 from 0\n"));
	avm_dump_page(r->w.m, &r->w.m->regions->pages[1000], &c.sink);
	assert_line(&c, "pfn 3e9 free refs 0 mapcount 0 index 0");
	avm_dump_page(r->w.m, page_at(r->ma, r->shared + PAGE), &c.sink);
	assert_non_null(strstr(c.text, "inuse,dirty,uptodate,lru refs 2 mapcount 1 file "));
	avm_dump_page(r->w.m, page_at(r->ma, r->locked), &c.sink);
	assert_non_null(strstr(c.text, "unevictable"));
	capture_free(&c);
}

static void entries_of_every_kind(void **state)
{
	struct rig *r = *state;
	struct capture c;

	assert_int_equal(avm_insert_pfn(r->ma, 0x20000000, 0x7777777, 1, AVM_PROT_READ), 0);
	poke_entry(r->ma, r->anon + 7 * PAGE,
		   avm_pte_make_entry(AVM_ENTRY_SWAP, 0x99, true, false));
	assert_int_equal(avm_mprotect(r->ma, r->anon, PAGE, AVM_PROT_NONE), 0);
	capture_init(&c);
	avm_dump_mm(r->ma, &c.sink);
	assert_line(&c, "pte 20000000 present --y--s pfn 7777777");
	assert_non_null(strstr(c.text, " swap w----- value 99\n"));
	assert_non_null(strstr(c.text, " present --ydn- pfn "));
	capture_free(&c);
	poke_entry(r->ma, r->anon + 7 * PAGE, AVM_PTE_EMPTY);
}

/* ---- sameness ------------------------------------------------------------------------------- */

static void two_machines_with_one_history_give_one_text(void **state)
{
	struct rig *r = *state;
	struct rig twin;
	struct capture a, b, again;

	rig_open(&twin, AVM_FAMILY_REUSE);
	dump_all(r, &a);
	dump_all(&twin, &b);
	dump_all(r, &again);
	assert_string_equal(a.text, b.text);
	assert_string_equal(a.text, again.text);
	assert_null(strstr(a.text, "...")); /* no line was too long */
	capture_free(&a);
	capture_free(&b);
	capture_free(&again);
	rig_close(&twin);
}

static void assert_changed(struct rig *r, char **before)
{
	char *after = dump_of(r->ma);

	assert_string_not_equal(*before, after);
	free(*before);
	*before = after;
}

static void whatever_changes_shows(void **state)
{
	struct rig *r = *state;
	struct avm_mm *mm = r->ma;
	char *text = dump_of(mm);
	avm_addr_t out;

	map_at(mm, 0x20000000, 4, RW, ANON, NULL, 0);
	assert_changed(r, &text);
	load(r->a, 0x20000000);
	assert_changed(r, &text);
	store(r->a, 0x20000000, 1);
	assert_changed(r, &text);
	assert_int_equal(avm_mprotect(mm, 0x20000000, PAGE, AVM_PROT_READ), 0);
	assert_changed(r, &text);
	assert_int_equal(avm_madvise(mm, 0x20001000, PAGE, AVM_MADV_DONTFORK), 0);
	assert_changed(r, &text);
	assert_int_equal(avm_madvise(mm, 0x20000000, PAGE, AVM_MADV_DONTNEED), 0);
	assert_changed(r, &text);
	assert_int_equal(avm_set_policy(mm, 0x20000000, PAGE, 5), 0);
	assert_changed(r, &text);
	assert_int_equal(avm_set_name(mm, 0x20000000, PAGE, 6), 0);
	assert_changed(r, &text);
	assert_int_equal(avm_mlock(mm, 0x20000000, PAGE, AVM_MLOCK_ONFAULT), 0);
	assert_changed(r, &text);
	assert_int_equal(avm_mlockall(mm, AVM_MCL_FUTURE), 0);
	assert_changed(r, &text);
	assert_int_equal(avm_mremap(mm, 0x20003000, PAGE, PAGE,
				    AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED, 0x28000000, &out),
			 0);
	assert_changed(r, &text);
	assert_int_equal(avm_munmap(mm, 0x28000000, PAGE), 0);
	assert_changed(r, &text);
	store(r->a, r->anon + 2 * PAGE, 1); /* COW */
	assert_changed(r, &text);
	sim_proc_exit(r->c); /* a child gone is one reference less on the family */
	assert_changed(r, &text);
	mm->limits.stack = 1 << 20;
	assert_changed(r, &text);
	free(text);
}

static void what_fails_leaves_the_text_as_it_was(void **state)
{
	struct rig *r = *state;
	char *before, *after;
	avm_addr_t out;

	before = dump_of(r->ma);
	sim_fail_alloc(r->w.s, 1, 0);
	assert_int_equal(avm_mmap(r->ma, &(struct avm_mmap){ .len = PAGE, .flags = ANON }, &out),
			 -AVM_ENOMEM);
	assert_int_equal(avm_munmap(r->ma, r->anon + PAGE, PAGE), -AVM_ENOMEM);
	sim_fail_alloc(r->w.s, 0, 0);
	after = dump_of(r->ma);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

int main(void)
{
#define IN_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_written_in_both_bases),
		cmocka_unit_test(text_that_does_not_fit_ends_in_dots),
		cmocka_unit_test(maps_have_the_shape_of_proc),
		cmocka_unit_test(heap_and_shared_memory_are_named),
		cmocka_unit_test(everything_of_a_small_address_space),
		cmocka_unit_test(a_family_is_told_with_all_its_members),
		IN_RIG(pages_of_every_use),
		IN_RIG(entries_of_every_kind),
		IN_RIG(two_machines_with_one_history_give_one_text),
		IN_RIG(whatever_changes_shows),
		IN_RIG(what_fails_leaves_the_text_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
