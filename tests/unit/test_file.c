/* SPDX-License-Identifier: MIT */
/*
 * Files: faults through the page cache, truncation, writeback, read and write (R8.6, R13.4, R14).
 */
#include "world.h"

#include "page.h"

struct fixture {
	struct world w;
	struct test_file *tf;
	struct avm_file *file;
	struct avm_mm *mm;
	avm_addr_t a; /* eight pages of the file */
};

static void open_with(struct fixture *f, const struct sim_config *config, uint32_t prot,
		      uint32_t flags, uint64_t size)
{
	world_open_with(&f->w, config);
	f->tf = test_file_open(&f->w, size);
	f->file = &f->tf->file;
	f->mm = f->w.mm;
	f->a = map_at(f->mm, 0x20000000, 8, prot, flags, f->file, 0);
}

/* Eight pages, no fault-around. */
static void open_file(struct fixture *f, uint32_t prot, uint32_t flags)
{
	const struct sim_config config = { .frames = 4096,
					   .check_tlb = true,
					   .core = { .fault_around = 1 } };

	open_with(f, &config, prot, flags, 8 * PAGE);
}

static void close_file(struct fixture *f)
{
	world_check(&f->w);
	assert_int_equal(avm_munmap(f->mm, f->a, 8 * PAGE), 0);
	test_file_close(f->tf);
	world_close(&f->w);
}

static bool present(struct avm_mm *mm, avm_addr_t addr)
{
	return pte(mm, addr).kind == AVM_PTE_PRESENT;
}

/* ---- read faults ----------------------------------------------------------------------------- */

static void the_first_read_is_major_the_second_minor(void **state)
{
	struct fixture f;
	struct avm_page *page;

	(void)state;
	open_file(&f, AVM_PROT_READ, AVM_MAP_PRIVATE);
	assert_int_equal(fault_read(f.mm, f.a + 2 * PAGE), AVM_FAULT_MAJOR);
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE + 17), 3);
	page = page_at(f.mm, f.a + 2 * PAGE);
	assert_int_equal(avm_page_refs(page), 2);
	assert_int_equal(avm_page_mapcount(page), 1);
	assert_true(has_flag(page, AVM_PG_UPTODATE) && has_flag(page, AVM_PG_LRU));
	assert_false(has_flag(page, AVM_PG_LOCKED));
	assert_int_equal(rss(f.mm, AVM_RSS_FILE), 1);
	assert_null(avm_find_vma(f.mm, f.a)->anon_vma);
	assert_int_equal(avm_madvise(f.mm, f.a, 8 * PAGE, AVM_MADV_DONTNEED), 0);
	assert_int_equal(rss(f.mm, AVM_RSS_FILE), 0);
	assert_int_equal(fault_read(f.mm, f.a + 2 * PAGE), AVM_FAULT_MINOR);
	assert_int_equal(f.tf->reads, 1);
	assert_int_equal(event(&f.w, AVM_EV_FAULT_MAJOR), 1);
	assert_int_equal(event(&f.w, AVM_EV_FILE_READ), 1);
	close_file(&f);
}

static void a_read_maps_read_only_even_where_writing_is_allowed(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	assert_int_equal(load(f.w.a, f.a), 1);
	assert_false(pte(f.mm, f.a).write);
	close_file(&f);
}

static void beyond_the_end_is_sigbus(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, &(struct sim_config){ .frames = 256, .core = { .fault_around = 1 } }, RW,
		  AVM_MAP_PRIVATE, 2 * PAGE + 10);
	assert_int_equal(fault_read(f.mm, f.a + 3 * PAGE), AVM_FAULT_SIGBUS);
	assert_int_equal(fault_write(f.mm, f.a + 3 * PAGE), AVM_FAULT_SIGBUS);
	assert_false(present(f.mm, f.a + 3 * PAGE));
	assert_int_equal(f.tf->reads, 0);
	/* The last page is there, and zero behind the end. */
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE + 9), 3);
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE + 10), 0);
	assert_int_equal(load(f.w.a, f.a + 3 * PAGE - 1), 0);
	close_file(&f);
}

static void a_failing_read_leaves_nothing(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_PRIVATE);
	f.tf->once = true;
	f.tf->read_error = -AVM_EIO;
	assert_int_equal(fault_read(f.mm, f.a), AVM_FAULT_SIGBUS);
	assert_int_equal(f.file->nr_pages, 0);
	assert_false(present(f.mm, f.a));
	f.tf->read_error = -AVM_EAGAIN;
	assert_int_equal(fault_read(f.mm, f.a), AVM_FAULT_RETRY);
	f.tf->read_error = -AVM_ENOMEM;
	assert_int_equal(fault_read(f.mm, f.a), AVM_FAULT_OOM);
	f.tf->read_error = 5; /* not an errno at all */
	assert_int_equal(fault_write(f.mm, f.a), AVM_FAULT_SIGBUS);
	assert_int_equal(f.file->nr_pages, 0);
	assert_int_equal(event(&f.w, AVM_EV_FILE_READ), 0);
	assert_int_equal(fault_read(f.mm, f.a), AVM_FAULT_MAJOR);
	close_file(&f);
}

static void faults_without_memory_change_nothing(void **state)
{
	static const struct {
		uint32_t flags;
		enum avm_access access;
		unsigned bits, failures;
	} kinds[] = {
		/* three tables, a page, a node of the index */
		{ AVM_MAP_PRIVATE, AVM_ACCESS_READ, AVM_FAULT_MAJOR, 5 },
		{ AVM_MAP_SHARED, AVM_ACCESS_WRITE, AVM_FAULT_MAJOR, 5 },
		/* ... a chain entry, an anon_vma, a page for the copy */
		{ AVM_MAP_PRIVATE, AVM_ACCESS_WRITE, AVM_FAULT_MAJOR | AVM_FAULT_COW, 8 },
	};

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		for (uint64_t i = 1;; i++) {
			struct fixture f;
			unsigned bits;

			open_file(&f, RW, kinds[k].flags);
			sim_fail_alloc(f.w.s, i, 1);
			bits = avm_fault(f.mm, f.a, kinds[k].access, NULL);
			sim_fail_alloc(f.w.s, 0, 0);
			assert_int_equal(present(f.mm, f.a), bits != AVM_FAULT_OOM);
			assert_int_equal(f.file->nr_pages, bits != AVM_FAULT_OOM);
			close_file(&f);
			if (bits != AVM_FAULT_OOM) {
				assert_int_equal(bits, kinds[k].bits);
				assert_int_equal(i, kinds[k].failures + 1);
				break;
			}
		}
	}
}

/* ---- fault-around ---------------------------------------------------------------------------- */

/* Which of the 64 pages at `start` are present. */
static uint64_t present_mask(struct avm_mm *mm, avm_addr_t start)
{
	uint64_t mask = 0;

	for (unsigned i = 0; i < 64; i++)
		mask |= (uint64_t)present(mm, start + i * PAGE) << i;
	return mask;
}

static void fault_around_maps_the_cached_block(void **state)
{
	const struct sim_config config = { .frames = 512, .core = { .fault_around = 16 } };
	struct world w;
	struct test_file *tf;
	avm_addr_t a;

	(void)state;
	world_open_with(&w, &config);
	tf = test_file_open(&w, 64 * PAGE);
	a = map_at(w.mm, 0x20000000, 64, RW, AVM_MAP_SHARED, &tf->file, 0);
	/* Its own page is not cached: nothing around it is, and it is read. */
	assert_int_equal(fault_read(w.mm, a + 20 * PAGE), AVM_FAULT_MAJOR);
	assert_int_equal(present_mask(w.mm, a), 1ull << 20);
	assert_int_equal(event(&w, AVM_EV_FAULT_AROUND), 0);

	assert_int_equal(avm_file_readahead(&tf->file, 10, 30), 30);
	assert_int_equal(fault_read(w.mm, a + 17 * PAGE), AVM_FAULT_MINOR);
	assert_int_equal(present_mask(w.mm, a), 0xffff0000ull);
	assert_int_equal(event(&w, AVM_EV_FAULT_AROUND), 14);
	assert_int_equal(rss(w.mm, AVM_RSS_FILE), 16);
	for (unsigned i = 16; i < 32; i++) {
		assert_false(pte(w.mm, a + i * PAGE).write);
		assert_int_equal(load(w.a, a + i * PAGE), i + 1);
	}
	/* Its own page is missing, those around are there: they are mapped, and it is read. */
	assert_int_equal(fault_read(w.mm, a + 45 * PAGE), AVM_FAULT_MAJOR);
	assert_int_equal(present_mask(w.mm, a), 0xffff0000ull | 0xffull << 32 | 1ull << 45);
	assert_int_equal(event(&w, AVM_EV_FAULT_AROUND), 14 + 8);
	/* A write maps its own page and no other. */
	assert_int_equal(fault_write(w.mm, a + 12 * PAGE), AVM_FAULT_MINOR);
	assert_int_equal(present_mask(w.mm, a) & 0xffff, 1ull << 12);
	assert_int_equal(avm_munmap(w.mm, a, 64 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/*
 * The block is cut off by the VMA and by the table, and goes on for its length from the VMA's
 * start.
 */
static void fault_around_stays_within_vma_and_table(void **state)
{
	const struct sim_config config = { .frames = 2048, .core = { .fault_around = 16 } };
	const avm_addr_t table = 0x20200000; /* a border between two tables */
	struct world w;
	struct test_file *tf;
	avm_addr_t a;

	(void)state;
	world_open_with(&w, &config);
	tf = test_file_open(&w, 64 * PAGE);
	assert_int_equal(avm_file_readahead(&tf->file, 0, 64), 64);

	a = map_at(w.mm, table - 20 * PAGE, 40, AVM_PROT_READ, AVM_MAP_SHARED, &tf->file, 0);
	assert_int_equal(fault_read(w.mm, table - PAGE), AVM_FAULT_MINOR);
	assert_int_equal(present_mask(w.mm, a), 0xffffull << 4);
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_MINOR);
	assert_int_equal(present_mask(w.mm, a), 0xfffffull);
	assert_int_equal(fault_read(w.mm, a + 39 * PAGE), AVM_FAULT_MINOR);
	assert_int_equal(present_mask(w.mm, a), 0xfffffull | 0xfull << 36);
	assert_int_equal(avm_munmap(w.mm, a, 40 * PAGE), 0);

	/* Starts at page 5 of a block: pages 5 .. 20. */
	a = map_at(w.mm, table + 5 * PAGE, 30, AVM_PROT_READ, AVM_MAP_SHARED, &tf->file, 0);
	assert_int_equal(fault_read(w.mm, a + 3 * PAGE), AVM_FAULT_MINOR);
	assert_int_equal(present_mask(w.mm, a), 0xffffull);
	assert_int_equal(avm_munmap(w.mm, a, 30 * PAGE), 0);

	/* Starts five pages before the border. */
	a = map_at(w.mm, table - 5 * PAGE, 30, AVM_PROT_READ, AVM_MAP_SHARED, &tf->file, 0);
	assert_int_equal(avm_map_cached(w.mm, table + 20 * PAGE, PAGE), 1);
	assert_int_equal(fault_read(w.mm, a + PAGE), AVM_FAULT_MINOR);
	assert_int_equal(present_mask(w.mm, a), 0x1full | 1ull << 25);
	assert_int_equal(avm_munmap(w.mm, a, 30 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

static void fault_around_leaves_what_it_cannot_have_at_once(void **state)
{
	const struct sim_config config = { .frames = 512, .core = { .fault_around = 8 } };
	struct fixture f;
	struct avm_page *locked;

	(void)state;
	open_with(&f, &config, RW, AVM_MAP_PRIVATE, 5 * PAGE);
	assert_int_equal(avm_file_readahead(f.file, 0, 8), 5);
	store(f.w.a, f.a + 1 * PAGE, 77); /* a private copy */
	assert_int_equal(avm_madvise(f.mm, f.a, PAGE, AVM_MADV_DONTNEED), 0);
	assert_int_equal(fault_read(f.mm, f.a + 2 * PAGE), AVM_FAULT_MINOR);
	assert_int_equal(present_mask(f.mm, f.a), 0x1f);
	assert_int_equal(load(f.w.a, f.a + PAGE), 77);
	locked = page_at(f.mm, f.a + 3 * PAGE);
	assert_int_equal(avm_madvise(f.mm, f.a, 8 * PAGE, AVM_MADV_DONTNEED), 0);
	avm_page_set(locked, AVM_PG_LOCKED);
	assert_int_equal(fault_read(f.mm, f.a), AVM_FAULT_MINOR);
	assert_int_equal(present_mask(f.mm, f.a), 0x17);
	avm_page_clear(locked, AVM_PG_LOCKED);
	close_file(&f);
}

static void map_cached_maps_what_is_there(void **state)
{
	const struct sim_config config = { .frames = 512 };
	struct world w;
	struct test_file *tf;
	avm_addr_t a;

	(void)state;
	world_open_with(&w, &config);
	tf = test_file_open(&w, 64 * PAGE);
	a = map_at(w.mm, 0x20000000 - 4 * PAGE, 16, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 0);
	map_at(w.mm, a + 16 * PAGE, 1, RW, ANON, NULL, 0);
	map_at(w.mm, a + 17 * PAGE, 2, AVM_PROT_NONE, AVM_MAP_PRIVATE, &tf->file, 0);
	map_at(w.mm, a + 20 * PAGE, 2, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 0);
	assert_int_equal(avm_map_cached(w.mm, a, 22 * PAGE), 0);
	assert_int_equal(avm_file_readahead(&tf->file, 1, 6), 6);
	assert_int_equal(avm_map_cached(w.mm, a + PAGE, 21 * PAGE),
			 7); /* 1 .. 6, and page 1 again */
	assert_int_equal(present_mask(w.mm, a), 0x7eull | 1ull << 21);
	assert_int_equal(avm_map_cached(w.mm, a, 22 * PAGE), 0);
	assert_int_equal(avm_map_cached(w.mm, a, 0), 0);
	assert_int_equal(avm_map_cached(w.mm, a + 1, PAGE), -AVM_EINVAL);
	assert_int_equal(avm_map_cached(w.mm, a, w.mm->task_size), -AVM_EINVAL);
	assert_int_equal(event(&w, AVM_EV_FAULT_MINOR) + event(&w, AVM_EV_FAULT_MAJOR), 0);
	assert_int_equal(avm_munmap(w.mm, a, 22 * PAGE), 0);

	a = map_at(w.mm, 0x70000000000, 2, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 0);
	sim_fail_alloc(w.s, 1, 1);
	assert_int_equal(avm_map_cached(w.mm, a, 2 * PAGE), -AVM_ENOMEM);
	sim_fail_alloc(w.s, 0, 0);
	assert_int_equal(avm_munmap(w.mm, a, 2 * PAGE), 0);
	/* The second table cannot be had: what came before counts. */
	a = map_at(w.mm, 0x60000200000 - 2 * PAGE, 5, AVM_PROT_READ, AVM_MAP_PRIVATE, &tf->file, 0);
	assert_int_equal(avm_map_cached(w.mm, a, PAGE), 0);
	sim_fail_alloc(w.s, 1, 1);
	assert_int_equal(avm_map_cached(w.mm, a, 5 * PAGE), 1);
	sim_fail_alloc(w.s, 0, 0);
	assert_int_equal(avm_munmap(w.mm, a, 5 * PAGE), 0);
	test_file_close(tf);
	world_close(&w);
}

/* ---- write faults ---------------------------------------------------------------------------- */

static void a_private_write_copies_and_the_file_stays(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_PRIVATE);
	assert_int_equal(fault_write(f.mm, f.a), AVM_FAULT_MAJOR | AVM_FAULT_COW);
	assert_int_equal(fault_write(f.mm, f.a + PAGE), AVM_FAULT_MAJOR | AVM_FAULT_COW);
	assert_int_equal(avm_file_readahead(f.file, 2, 1), 1);
	assert_int_equal(fault_write(f.mm, f.a + 2 * PAGE), AVM_FAULT_MINOR | AVM_FAULT_COW);
	store(f.w.a, f.a, 99);
	assert_int_equal(load(f.w.a, f.a + 1), 1);
	assert_true(pte(f.mm, f.a).write);
	assert_true(is_exclusive(page_at(f.mm, f.a)));
	assert_int_equal(rss(f.mm, AVM_RSS_ANON), 3);
	assert_int_equal(rss(f.mm, AVM_RSS_FILE), 0);
	assert_int_equal(event(&f.w, AVM_EV_COW_COPY), 3);
	assert_int_equal(avm_file_sync(f.file), 0);
	assert_int_equal(f.tf->writes + f.tf->mkwrites, 0);
	assert_int_equal(f.tf->data[0], 1);
	close_file(&f);
}

static void a_shared_write_tells_the_file_and_makes_dirty(void **state)
{
	struct fixture f;
	struct avm_page *page;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	assert_int_equal(fault_write(f.mm, f.a), AVM_FAULT_MAJOR);
	page = page_at(f.mm, f.a);
	assert_true(pte(f.mm, f.a).write && pte(f.mm, f.a).dirty);
	assert_true(has_flag(page, AVM_PG_DIRTY));
	assert_false(is_exclusive(page) || has_flag(page, AVM_PG_LOCKED));
	assert_int_equal(f.tf->mkwrites, 1);
	/* Read first: clean and read-only until the write. */
	assert_int_equal(load(f.w.a, f.a + PAGE), 2);
	page = page_at(f.mm, f.a + PAGE);
	assert_false(has_flag(page, AVM_PG_DIRTY));
	assert_int_equal(fault_write(f.mm, f.a + PAGE), AVM_FAULT_MINOR);
	assert_ptr_equal(page_at(f.mm, f.a + PAGE), page);
	assert_true(pte(f.mm, f.a + PAGE).write && pte(f.mm, f.a + PAGE).dirty);
	assert_true(has_flag(page, AVM_PG_DIRTY));
	assert_int_equal(avm_page_refs(page), 2);
	assert_int_equal(f.tf->mkwrites, 2);
	assert_int_equal(rss(f.mm, AVM_RSS_FILE), 2);
	close_file(&f);
}

static void a_file_that_refuses_the_write_is_sigbus(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	f.tf->mkwrite_error = -AVM_ENOSPC;
	assert_int_equal(fault_write(f.mm, f.a), AVM_FAULT_SIGBUS);
	assert_false(present(f.mm, f.a));
	assert_int_equal(load(f.w.a, f.a), 1);
	assert_int_equal(fault_write(f.mm, f.a), AVM_FAULT_SIGBUS);
	assert_false(pte(f.mm, f.a).write);
	assert_false(has_flag(page_at(f.mm, f.a), AVM_PG_DIRTY));
	close_file(&f);
}

static void pages_of_locked_files_are_unevictable(void **state)
{
	const struct sim_config config = { .frames = 512, .core = { .fault_around = 8 } };
	struct fixture f;

	(void)state;
	open_with(&f, &config, AVM_PROT_READ, AVM_MAP_SHARED | AVM_MAP_LOCKED, 8 * PAGE);
	assert_int_equal(f.w.m->cpus[0].lru_count[AVM_LRU_UNEVICTABLE], 8);
	assert_int_equal(present_mask(f.mm, f.a), 0xff);
	close_file(&f);
}

/* ---- somebody is faster ---------------------------------------------------------------------- */

static void rival_maps_zero_page(struct test_file *tf)
{
	const struct avm *m = tf->file.machine;

	poke_entry(tf->hook_mm, tf->hook_addr, avm_pte_make(m->zero_page->pfn, AVM_VM_READ));
}

static void rival_ages_entry(struct test_file *tf)
{
	poke_entry(tf->hook_mm, tf->hook_addr,
		   avm_pte_mkold(peek_entry(tf->hook_mm, tf->hook_addr)));
}

/*
 * While the file reads, another thread has mapped something: it stays, and the page stays in the
 * cache.
 */
static void an_entry_that_is_filled_during_the_read_is_left_alone(void **state)
{
	static const struct {
		uint32_t flags;
		enum avm_access access;
	} kinds[] = {
		{ AVM_MAP_PRIVATE, AVM_ACCESS_READ },
		{ AVM_MAP_PRIVATE, AVM_ACCESS_WRITE },
		{ AVM_MAP_SHARED, AVM_ACCESS_WRITE },
	};

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		struct fixture f;

		open_file(&f, RW, kinds[k].flags);
		f.tf->hook = rival_maps_zero_page;
		f.tf->hook_mm = f.mm;
		f.tf->hook_addr = f.a;
		assert_int_equal(avm_fault(f.mm, f.a, kinds[k].access, NULL),
				 AVM_FAULT_MAJOR | AVM_FAULT_SPURIOUS);
		assert_true(pte(f.mm, f.a).zero);
		assert_int_equal(rss(f.mm, AVM_RSS_FILE) + rss(f.mm, AVM_RSS_ANON), 0);
		assert_int_equal(f.file->nr_pages, 1);
		poke_entry(f.mm, f.a, AVM_PTE_EMPTY);
		f.tf->hook = NULL;
		assert_true(avm_fault(f.mm, f.a, kinds[k].access, NULL) & AVM_FAULT_MINOR);
		close_file(&f);
	}
}

static void an_entry_that_changes_while_the_file_is_told_is_left_alone(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	assert_int_equal(load(f.w.a, f.a), 1);
	f.tf->hook = rival_ages_entry;
	f.tf->hook_mm = f.mm;
	f.tf->hook_addr = f.a;
	assert_int_equal(fault_write(f.mm, f.a), AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS);
	assert_false(pte(f.mm, f.a).write);
	assert_false(has_flag(page_at(f.mm, f.a), AVM_PG_DIRTY));
	f.tf->hook = NULL;
	assert_int_equal(fault_write(f.mm, f.a), AVM_FAULT_MINOR);
	assert_true(pte(f.mm, f.a).write);
	close_file(&f);
}

static void shrink(struct test_file *tf)
{
	atomic_store(&tf->file.size, PAGE);
}

/* The first step of a truncation happens while we read: it is still to come for our page. */
static void a_page_read_during_truncation_goes_with_it(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_PRIVATE);
	f.tf->hook = shrink;
	assert_int_equal(fault_write(f.mm, f.a + 4 * PAGE), AVM_FAULT_MAJOR | AVM_FAULT_COW);
	assert_int_equal(avm_file_truncate(f.file, PAGE), 0);
	assert_false(present(f.mm, f.a + 4 * PAGE));
	assert_int_equal(f.file->nr_pages, 0);
	assert_int_equal(fault_read(f.mm, f.a + 4 * PAGE), AVM_FAULT_SIGBUS);
	close_file(&f);
}

/* ---- devices --------------------------------------------------------------------------------- */

static void a_shared_device_is_mapped_as_the_vma_allows(void **state)
{
	const uint64_t device = AVM_VM_SPECIAL | AVM_VM_DONTEXPAND | AVM_VM_DONTDUMP;
	struct world w;
	struct test_file *dev;
	avm_addr_t a, ro;

	(void)state;
	world_open(&w);
	dev = test_device_open(&w, 0xfee00, 4);
	a = map_file(w.mm, 4, RW, AVM_MAP_SHARED, &dev->file);
	assert_int_equal(avm_find_vma(w.mm, a)->flags & device, device);
	ro = map_file(w.mm, 4, AVM_PROT_READ, AVM_MAP_SHARED, &dev->file);
	assert_int_equal(fault_read(w.mm, a + PAGE), AVM_FAULT_MINOR);
	assert_true(pte(w.mm, a + PAGE).write && pte(w.mm, a + PAGE).special);
	assert_false(pte(w.mm, a + PAGE).dirty);
	assert_int_equal(pte(w.mm, a + PAGE).pfn, 0xfee01);
	assert_int_equal(fault_write(w.mm, a + 2 * PAGE), AVM_FAULT_MINOR);
	assert_true(pte(w.mm, a + 2 * PAGE).dirty);
	assert_int_equal(fault_read(w.mm, ro + PAGE), AVM_FAULT_MINOR);
	assert_false(pte(w.mm, ro + PAGE).write);
	store(w.a, a + PAGE, 88);
	assert_int_equal(load(w.a, ro + PAGE), 88);
	/* Taken away and given back, it is read-only until the next write. */
	assert_int_equal(avm_mprotect(w.mm, a, 4 * PAGE, AVM_PROT_READ), 0);
	assert_int_equal(avm_mprotect(w.mm, a, 4 * PAGE, RW), 0);
	poke_entry(w.mm, a + PAGE, avm_pte_wrprotect(peek_entry(w.mm, a + PAGE)));
	assert_int_equal(fault_write(w.mm, a + PAGE), AVM_FAULT_MINOR);
	assert_true(pte(w.mm, a + PAGE).write);
	assert_int_equal(rss(w.mm, AVM_RSS_FILE), 0);
	assert_int_equal(avm_munmap(w.mm, a, 4 * PAGE), 0);
	assert_int_equal(avm_munmap(w.mm, ro, 4 * PAGE), 0);
	test_file_close(dev);
	world_close(&w);
}

static void a_device_that_has_no_frame_is_sigbus(void **state)
{
	struct world w;
	struct test_file *dev;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	dev = test_device_open(&w, 0xfee00, 1);
	dev->once = true;
	a = map_file(w.mm, 1, RW, AVM_MAP_SHARED, &dev->file);
	dev->frame_error = -AVM_ENXIO;
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_SIGBUS);
	dev->frame_error = -AVM_EAGAIN;
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_RETRY);
	dev->frame_error = -AVM_ENOMEM;
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_OOM);
	assert_true(avm_pte_empty(peek_entry(w.mm, a)));
	assert_int_equal(avm_munmap(w.mm, a, PAGE), 0);
	test_file_close(dev);
	world_close(&w);
}

static void inserted_frames_do_not_come_back(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_insert_pfn(w.mm, 0x30000000, 0xfee00, 2, RW), 0);
	assert_true(pte(w.mm, 0x30000000).special);
	poke_entry(w.mm, 0x30000000, AVM_PTE_EMPTY);
	assert_int_equal(fault_read(w.mm, 0x30000000), AVM_FAULT_SIGBUS);
	assert_int_equal(avm_munmap(w.mm, 0x30000000, 2 * PAGE), 0);
	world_close(&w);
}

/* ---- shared anonymous memory ----------------------------------------------------------------- */

static void shared_memory_is_writable_at_once(void **state)
{
	struct world w;
	struct sim_proc *b;
	struct avm_page *page;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	a = map_at(w.mm, 0, 4, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_MINOR);
	assert_true(pte(w.mm, a).write);
	assert_false(pte(w.mm, a).dirty);
	page = page_at(w.mm, a);
	assert_true(has_flag(page, AVM_PG_SHMEM) && has_flag(page, AVM_PG_DIRTY));
	assert_int_equal(rss(w.mm, AVM_RSS_SHMEM), 1);
	assert_int_equal(fault_write(w.mm, a + PAGE), AVM_FAULT_MINOR);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	store(w.a, a, 5);
	assert_int_equal(load(b, a), 5);
	store(b, a + 2 * PAGE, 6);
	assert_int_equal(load(w.a, a + 2 * PAGE), 6);
	world_close(&w);
}

static void a_memfd_is_shared_by_all_who_map_it(void **state)
{
	struct world w;
	struct avm_file file;
	struct sim_proc *b;
	avm_addr_t a, c, ro;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_memfd(w.m, &file, &w, 3 * PAGE), 0);
	assert_ptr_equal(file.context, &w);
	assert_int_equal(sim_proc_create(w.s, NULL, &b), 0);
	a = map_file(w.mm, 4, RW, AVM_MAP_SHARED, &file);
	c = map_at(sim_mm(b), 0, 2, RW, AVM_MAP_PRIVATE, &file, 1);
	ro = map_file(w.mm, 2, AVM_PROT_READ, AVM_MAP_SHARED, &file);
	store(w.a, a + PAGE, 5);
	assert_int_equal(load(b, c), 5);
	assert_false(pte(sim_mm(b), c).write);
	assert_int_equal(load(w.a, ro + PAGE), 5);
	assert_false(pte(w.mm, ro + PAGE).write);
	store(b, c, 6);
	assert_int_equal(load(w.a, a + PAGE), 5);
	assert_int_equal(fault_write(w.mm, a + 3 * PAGE), AVM_FAULT_SIGBUS);
	assert_int_equal(avm_file_sync(&file), 0);
	assert_int_equal(avm_file_invalidate(&file, 0, 3), -AVM_EBUSY);
	assert_int_equal(load(w.a, a + PAGE), 5);
	assert_int_equal(avm_munmap(w.mm, a, 4 * PAGE), 0);
	assert_int_equal(avm_munmap(w.mm, ro, 2 * PAGE), 0);
	sim_proc_exit(b);
	avm_file_put(&file);
	world_close(&w);
}

/* ---- truncation ------------------------------------------------------------------------------ */

static void truncation_takes_pages_and_private_copies(void **state)
{
	struct fixture f;
	struct sim_proc *b;
	avm_addr_t p;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	assert_int_equal(sim_proc_create(f.w.s, NULL, &b), 0);
	p = map_file(sim_mm(b), 8, RW, AVM_MAP_PRIVATE, f.file);
	for (unsigned i = 0; i < 8; i++) {
		store(f.w.a, f.a + i * PAGE + 200, 50);
		store(b, p + i * PAGE, 60);
	}
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE + 200), 50);
	assert_int_equal(avm_file_truncate(f.file, 2 * PAGE + 100), 0);
	assert_int_equal(f.file->nr_pages, 3);
	assert_int_equal(rss(f.mm, AVM_RSS_FILE), 3);
	assert_int_equal(rss(sim_mm(b), AVM_RSS_ANON), 3);
	assert_int_equal(fault_read(f.mm, f.a + 3 * PAGE), AVM_FAULT_SIGBUS);
	assert_int_equal(fault_read(sim_mm(b), p + 3 * PAGE), AVM_FAULT_SIGBUS);
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE + 99), 3);
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE + 200), 0);
	assert_int_equal(load(b, p + 2 * PAGE), 60);
	assert_int_equal(load(b, p + 2 * PAGE + 200), 50); /* a copy keeps its tail, as on Linux */
	sim_proc_exit(b);
	close_file(&f);
}

static void what_was_written_behind_the_end_does_not_appear(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	assert_int_equal(avm_file_truncate(f.file, PAGE + 10), 0);
	store(f.w.a, f.a + PAGE + 500, 66);
	assert_int_equal(avm_file_truncate(f.file, 3 * PAGE), 0);
	assert_int_equal(load(f.w.a, f.a + PAGE + 9), 2);
	assert_int_equal(load(f.w.a, f.a + PAGE + 500), 0);
	assert_int_equal(avm_file_truncate(f.file, PAGE + 10), 0);
	store(f.w.a, f.a + PAGE + 500, 66);
	assert_int_equal(avm_file_write(f.file, PAGE + 1000, "x", 1), 1);
	assert_int_equal(load(f.w.a, f.a + PAGE + 500), 0);
	assert_int_equal(load(f.w.a, f.a + PAGE + 1000), 'x');
	store(f.w.a, f.a + PAGE + 2000, 66);
	assert_int_equal(avm_file_sync(f.file), 0);
	assert_int_equal(f.tf->data[PAGE + 2000], 0);
	assert_int_equal(f.tf->data[PAGE + 1000], 'x');
	close_file(&f);
}

static void truncation_refuses_what_is_no_size(void **state)
{
	struct fixture f;
	struct avm_file big;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	assert_int_equal(avm_file_truncate(f.file, (uint64_t)INT64_MAX + 1), -AVM_EFBIG);
	assert_int_equal(atomic_load(&f.file->size), 8 * PAGE);
	assert_int_equal(avm_file_truncate(f.file, INT64_MAX), 0);
	assert_int_equal(avm_file_truncate(f.file, 0), 0);
	assert_int_equal(fault_read(f.mm, f.a), AVM_FAULT_SIGBUS);
	assert_int_equal(avm_file_init(f.w.m, &big, NULL, NULL, (uint64_t)INT64_MAX + 1),
			 -AVM_EFBIG);
	assert_int_equal(avm_memfd(f.w.m, &big, NULL, ~(uint64_t)0), -AVM_EFBIG);
	close_file(&f);
}

/* ---- holes ----------------------------------------------------------------------------------- */

static void a_hole_leaves_private_copies_and_clears_its_edges(void **state)
{
	struct fixture f;
	avm_addr_t p;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	p = map_file(f.mm, 8, RW, AVM_MAP_PRIVATE, f.file);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(load(f.w.a, f.a + i * PAGE), i + 1);
	store(f.w.a, p + 2 * PAGE, 60);
	assert_int_equal(load(f.w.a, p + 3 * PAGE), 4);
	store(f.w.a, f.a + 3 * PAGE, 70); /* dirty: it goes all the same */
	assert_int_equal(avm_file_punch(f.file, PAGE + 100, 3 * PAGE), 0);
	assert_int_equal(f.file->nr_pages, 4);
	assert_false(present(f.mm, f.a + 2 * PAGE) || present(f.mm, f.a + 3 * PAGE));
	assert_false(present(f.mm, p + 3 * PAGE));
	assert_int_equal(load(f.w.a, p + 2 * PAGE), 60);
	assert_int_equal(load(f.w.a, f.a + PAGE + 99), 2);
	assert_int_equal(load(f.w.a, f.a + PAGE + 100), 0);
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE - 1), 0);
	assert_int_equal(load(f.w.a, f.a + 4 * PAGE + 99), 0);
	assert_int_equal(load(f.w.a, f.a + 4 * PAGE + 100), 5);
	assert_int_equal(load(f.w.a, f.a + 3 * PAGE), 4); /* read again */
	assert_int_equal(atomic_load(&f.file->size), 8 * PAGE);
	/* Within one page. */
	assert_int_equal(avm_file_punch(f.file, 5 * PAGE + 10, 20), 0);
	assert_int_equal(load(f.w.a, f.a + 5 * PAGE + 9), 6);
	assert_int_equal(load(f.w.a, f.a + 5 * PAGE + 10), 0);
	assert_int_equal(load(f.w.a, f.a + 5 * PAGE + 29), 0);
	assert_int_equal(load(f.w.a, f.a + 5 * PAGE + 30), 6);
	assert_int_equal(avm_munmap(f.mm, p, 8 * PAGE), 0);
	close_file(&f);
}

static void a_hole_in_shared_memory_reads_as_zeroes(void **state)
{
	struct world w;
	avm_addr_t a;
	struct avm_file *file;

	(void)state;
	world_open(&w);
	a = map_at(w.mm, 0, 4, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	file = avm_find_vma(w.mm, a)->file;
	for (unsigned i = 0; i < 4; i++)
		store(w.a, a + i * PAGE, 9);
	assert_int_equal(avm_file_punch(file, PAGE, 2 * PAGE), 0);
	assert_int_equal(rss(w.mm, AVM_RSS_SHMEM), 2);
	assert_int_equal(load(w.a, a + PAGE), 0);
	assert_int_equal(load(w.a, a + 2 * PAGE), 0);
	assert_int_equal(load(w.a, a + 3 * PAGE), 9);
	assert_int_equal(avm_file_punch(file, 0, 0), -AVM_EINVAL);
	assert_int_equal(avm_file_punch(file, 1, INT64_MAX), -AVM_EFBIG);
	assert_int_equal(avm_file_punch(file, (uint64_t)INT64_MAX + 1, 1), -AVM_EFBIG);
	world_close(&w);
}

/* ---- invalidation ---------------------------------------------------------------------------- */

static void invalidation_drops_what_is_clean(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(f.w.a, f.a + i * PAGE), i + 1);
	memset(f.tf->data, 100, 4 * PAGE); /* by another machine on the network */
	assert_int_equal(avm_file_invalidate(f.file, 0, 2), 0);
	assert_int_equal(f.file->nr_pages, 2);
	assert_int_equal(load(f.w.a, f.a), 100);
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE), 3);
	store(f.w.a, f.a + 2 * PAGE, 50);
	assert_int_equal(avm_file_invalidate(f.file, 0, ~(uint64_t)0), -AVM_EBUSY);
	assert_int_equal(f.file->nr_pages, 1);
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE), 50);
	assert_int_equal(avm_file_sync(f.file), 0);
	assert_int_equal(avm_file_invalidate(f.file, 1, ~(uint64_t)0), 0);
	assert_int_equal(f.file->nr_pages, 0);
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE), 50);
	assert_int_equal(avm_file_invalidate(f.file, 0, 0), 0);
	close_file(&f);
}

/* ---- writeback ------------------------------------------------------------------------------- */

static void msync_writes_back_and_protects_again(void **state)
{
	struct fixture f;
	struct avm_page *page;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	store(f.w.a, f.a + PAGE + 3, 50);
	store(f.w.a, f.a + 3 * PAGE, 51);
	page = page_at(f.mm, f.a + PAGE);
	assert_int_equal(avm_msync(f.mm, f.a, 8 * PAGE, AVM_MS_ASYNC), 0);
	assert_int_equal(avm_msync(f.mm, f.a, 8 * PAGE, 0), 0);
	assert_int_equal(f.tf->writes, 0);
	assert_int_equal(avm_msync(f.mm, f.a, 2 * PAGE, AVM_MS_SYNC), 0);
	assert_int_equal(f.tf->writes, 1);
	assert_int_equal(f.tf->data[PAGE + 3], 50);
	assert_int_equal(f.tf->data[3 * PAGE], 4);
	assert_false(has_flag(page, AVM_PG_DIRTY));
	assert_false(pte(f.mm, f.a + PAGE).write || pte(f.mm, f.a + PAGE).dirty);
	assert_int_equal(event(&f.w, AVM_EV_FILE_WRITE), 1);
	/* The next store, through a TLB that knew the page as writable, is not missed. */
	store(f.w.a, f.a + PAGE + 3, 52);
	assert_int_equal(f.tf->mkwrites, 3);
	assert_int_equal(avm_msync(f.mm, f.a, 8 * PAGE, AVM_MS_SYNC | AVM_MS_INVALIDATE), 0);
	assert_int_equal(f.tf->data[PAGE + 3], 52);
	assert_int_equal(f.tf->data[3 * PAGE], 51);
	assert_int_equal(f.tf->writes, 3);
	close_file(&f);
}

static void msync_reports_what_the_file_says(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	store(f.w.a, f.a, 50);
	store(f.w.a, f.a + PAGE, 51);
	f.tf->write_error = -AVM_EIO;
	f.tf->once = true;
	assert_int_equal(avm_msync(f.mm, f.a, 2 * PAGE, AVM_MS_SYNC), -AVM_EIO);
	assert_int_equal(f.tf->writes, 2); /* the second was tried all the same */
	assert_int_equal(f.tf->data[PAGE], 51);
	assert_int_equal(f.tf->data[0], 1);
	assert_true(has_flag(page_at(f.mm, f.a), AVM_PG_DIRTY));
	f.tf->write_error = 7;
	assert_int_equal(avm_file_sync(f.file), -AVM_EIO);
	assert_int_equal(avm_file_sync(f.file), 0);
	assert_int_equal(f.tf->data[0], 50);
	assert_int_equal(f.tf->writes, 4);
	close_file(&f);
}

static void msync_checks_its_arguments(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	assert_int_equal(avm_msync(f.mm, f.a + 1, PAGE, AVM_MS_SYNC), -AVM_EINVAL);
	assert_int_equal(avm_msync(f.mm, f.a, PAGE, 8), -AVM_EINVAL);
	assert_int_equal(avm_msync(f.mm, f.a, PAGE, AVM_MS_SYNC | AVM_MS_ASYNC), -AVM_EINVAL);
	assert_int_equal(avm_msync(f.mm, f.a, ~(uint64_t)0, AVM_MS_SYNC), -AVM_ENOMEM);
	assert_int_equal(avm_msync(f.mm, f.a, 0 - f.a - 1, AVM_MS_SYNC), -AVM_ENOMEM);
	assert_int_equal(avm_msync(f.mm, f.a, 0, AVM_MS_SYNC), 0);
	assert_int_equal(avm_msync(f.mm, 0x1000, 0, AVM_MS_SYNC), 0);
	close_file(&f);
}

static void msync_over_a_hole_does_the_rest(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	store(f.w.a, f.a, 50);
	store(f.w.a, f.a + 2 * PAGE, 52);
	assert_int_equal(avm_munmap(f.mm, f.a + PAGE, PAGE), 0);
	assert_int_equal(avm_msync(f.mm, f.a, 8 * PAGE, AVM_MS_SYNC), -AVM_ENOMEM);
	assert_int_equal(f.tf->writes, 2);
	assert_int_equal(avm_msync(f.mm, f.a, PAGE, AVM_MS_SYNC), 0);
	assert_int_equal(avm_msync(f.mm, f.a + 2 * PAGE, 7 * PAGE, AVM_MS_SYNC), -AVM_ENOMEM);
	assert_int_equal(avm_msync(f.mm, f.a - PAGE, PAGE, AVM_MS_ASYNC), -AVM_ENOMEM);
	assert_int_equal(avm_msync(f.mm, f.a - PAGE, 2 * PAGE, AVM_MS_ASYNC), -AVM_ENOMEM);
	close_file(&f);
}

static void msync_invalidate_spares_locked_memory(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	store(f.w.a, f.a, 50);
	assert_int_equal(avm_mlock(f.mm, f.a + 4 * PAGE, PAGE, 0), 0);
	assert_int_equal(avm_msync(f.mm, f.a, 8 * PAGE, AVM_MS_SYNC | AVM_MS_INVALIDATE),
			 -AVM_EBUSY);
	assert_int_equal(f.tf->writes, 1); /* what came before is done */
	assert_int_equal(avm_msync(f.mm, f.a, 8 * PAGE, AVM_MS_SYNC), 0);
	close_file(&f);
}

static void writeback_protects_every_mapping(void **state)
{
	struct fixture f;
	struct sim_proc *b;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	store(f.w.a, f.a, 50);
	assert_int_equal(sim_proc_fork(f.w.a, &b), 0);
	store(b, f.a, 51);
	assert_true(pte(f.mm, f.a).write && pte(sim_mm(b), f.a).write);
	assert_int_equal(avm_file_sync(f.file), 0);
	assert_false(pte(f.mm, f.a).write || pte(sim_mm(b), f.a).write);
	store(f.w.a, f.a, 52);
	store(b, f.a, 53);
	assert_int_equal(avm_file_sync(f.file), 0);
	assert_int_equal(f.tf->data[0], 53);
	sim_proc_exit(b);
	close_file(&f);
}

/* ---- read and write -------------------------------------------------------------------------- */

static void reading_goes_through_the_cache_to_the_end(void **state)
{
	struct fixture f;
	unsigned char buf[3 * PAGE];

	(void)state;
	open_with(&f, &(struct sim_config){ .frames = 256 }, RW, AVM_MAP_SHARED, 2 * PAGE + 10);
	store(f.w.a, f.a + PAGE, 50);
	assert_int_equal(avm_file_read(f.file, PAGE - 1, buf, 3), 3);
	assert_memory_equal(buf, "\1\62\2", 3);
	assert_int_equal(avm_file_read(f.file, 0, buf, sizeof(buf)), 2 * PAGE + 10);
	assert_int_equal(buf[2 * PAGE + 9], 3);
	assert_int_equal(avm_file_read(f.file, 2 * PAGE + 10, buf, 1), 0);
	assert_int_equal(avm_file_read(f.file, 1ull << 60, buf, 1), 0);
	assert_int_equal(avm_file_read(f.file, 0, buf, 0), 0);
	assert_int_equal(f.tf->reads, 3);
	assert_int_equal(avm_file_sync(f.file), 0);
	assert_int_equal(avm_file_invalidate(f.file, 0, 3), 0);
	f.tf->read_error = -AVM_EIO;
	assert_int_equal(avm_file_read(f.file, 0, buf, 1), -AVM_EIO);
	f.tf->once = true;
	f.tf->read_error = 0;
	assert_int_equal(avm_file_read(f.file, 0, buf, PAGE), PAGE);
	f.tf->read_error = -AVM_EIO;
	assert_int_equal(avm_file_read(f.file, 0, buf, 2 * PAGE), PAGE); /* short, not lost */
	close_file(&f);
}

static void writing_shows_in_mappings_and_grows_the_file(void **state)
{
	struct fixture f;
	unsigned char buf[2 * PAGE];

	(void)state;
	open_with(&f, &(struct sim_config){ .frames = 256 }, RW, AVM_MAP_SHARED, PAGE + 10);
	assert_int_equal(load(f.w.a, f.a), 1);
	memset(buf, 70, sizeof(buf));
	assert_int_equal(avm_file_write(f.file, 5, buf, 2), 2);
	assert_int_equal(load(f.w.a, f.a + 4), 1);
	assert_int_equal(load(f.w.a, f.a + 6), 70);
	assert_true(has_flag(page_at(f.mm, f.a), AVM_PG_DIRTY));
	/* Over the end: what is kept of the last page is read, the page behind it is not. */
	assert_int_equal(avm_file_write(f.file, PAGE + 20, buf, PAGE), PAGE);
	assert_int_equal(atomic_load(&f.file->size), 2 * PAGE + 20);
	assert_int_equal(f.tf->reads, 2);
	assert_int_equal(load(f.w.a, f.a + PAGE + 9), 2);
	assert_int_equal(load(f.w.a, f.a + PAGE + 10), 0);
	assert_int_equal(load(f.w.a, f.a + PAGE + 20), 70);
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE + 19), 70);
	assert_int_equal(load(f.w.a, f.a + 2 * PAGE + 20), 0);
	/* Whole pages are never read. */
	assert_int_equal(avm_file_truncate(f.file, 8 * PAGE), 0);
	assert_int_equal(avm_file_write(f.file, 4 * PAGE, buf, 2 * PAGE), 2 * PAGE);
	assert_int_equal(f.tf->reads, 2);
	assert_int_equal(atomic_load(&f.file->size), 8 * PAGE);
	assert_int_equal(load(f.w.a, f.a + 6 * PAGE - 1), 70);
	close_file(&f);
}

static void writing_reports_what_stops_it(void **state)
{
	struct fixture f;
	unsigned char buf[2 * PAGE] = { 0 };

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	assert_int_equal(avm_file_write(f.file, 0, buf, 0), 0);
	assert_int_equal(avm_file_write(f.file, INT64_MAX, buf, 1), -AVM_EFBIG);
	assert_int_equal(avm_file_write(f.file, ~(uint64_t)0, buf, 2), -AVM_EFBIG);
	f.tf->read_error = -AVM_EIO;
	assert_int_equal(avm_file_write(f.file, 1, buf, 1), -AVM_EIO);
	assert_int_equal(avm_file_write(f.file, 0, buf, PAGE + 1),
			 PAGE); /* needs to read the second */
	f.tf->read_error = 0;
	sim_fail_alloc(f.w.s, 1, 1);
	assert_int_equal(avm_file_write(f.file, 2 * PAGE, buf, 1), -AVM_ENOMEM);
	sim_fail_alloc(f.w.s, 0, 0);
	assert_int_equal(atomic_load(&f.file->size), 8 * PAGE);
	close_file(&f);
}

static uint64_t three_pages(struct avm_file *f)
{
	(void)f;
	return 3 * PAGE;
}

static void a_file_that_knows_its_size_does_not_grow(void **state)
{
	struct fixture f;
	unsigned char buf[PAGE] = { 0 };

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	f.tf->ops.size = three_pages;
	assert_int_equal(fault_read(f.mm, f.a + 3 * PAGE), AVM_FAULT_SIGBUS);
	assert_int_equal(fault_read(f.mm, f.a + 2 * PAGE), AVM_FAULT_MAJOR);
	assert_int_equal(avm_file_write(f.file, 3 * PAGE - 1, buf, 10), 1);
	assert_int_equal(avm_file_write(f.file, 3 * PAGE, buf, 10), -AVM_EFBIG);
	assert_int_equal(avm_file_readahead(f.file, 0, 8), 3);
	close_file(&f);
}

static uint64_t shrinks_after_the_first_look(struct avm_file *f)
{
	struct test_file *tf = f->context;

	return tf->writes++ ? PAGE : 8 * PAGE;
}

/*
 * The end moves between the look and the page's entry into the cache, where truncation would find
 * it.
 */
static void a_page_beyond_an_end_that_moved_is_given_back(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	f.tf->ops.size = shrinks_after_the_first_look;
	assert_int_equal(fault_write(f.mm, f.a + 4 * PAGE), AVM_FAULT_SIGBUS);
	assert_int_equal(f.file->nr_pages, 0);
	f.tf->ops.size = NULL;
	assert_int_equal(fault_read(f.mm, f.a + 4 * PAGE), AVM_FAULT_MAJOR);
	f.tf->writes = 0;
	f.tf->ops.size = shrinks_after_the_first_look;
	assert_int_equal(avm_file_read(f.file, 4 * PAGE, &(char){ 0 }, 1), 0);
	close_file(&f);
}

static void readahead_brings_pages_in_unmapped(void **state)
{
	struct fixture f;

	(void)state;
	open_file(&f, RW, AVM_MAP_SHARED);
	assert_int_equal(avm_file_readahead(f.file, 2, 100), 6);
	assert_int_equal(f.file->nr_pages, 6);
	assert_int_equal(f.tf->reads, 6);
	assert_int_equal(present_mask(f.mm, f.a), 0);
	assert_int_equal(avm_file_readahead(f.file, 2, 2), 2);
	assert_int_equal(f.tf->reads, 6);
	assert_int_equal(avm_file_readahead(f.file, 8, 1), 0);
	assert_int_equal(avm_file_readahead(f.file, 0, 0), 0);
	f.tf->read_error = -AVM_EIO;
	assert_int_equal(avm_file_readahead(f.file, 0, 4), -AVM_EIO);
	assert_int_equal(avm_file_invalidate(f.file, 5, 1), 0);
	assert_int_equal(avm_file_readahead(f.file, 3, 5), 2);
	close_file(&f);
}

static void a_file_without_operations_is_zeroes(void **state)
{
	struct world w;
	struct avm_file file;
	unsigned char c = 9;
	avm_addr_t a;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_file_init(w.m, &file, NULL, NULL, 2 * PAGE), 0);
	a = map_file(w.mm, 3, RW, AVM_MAP_SHARED, &file);
	assert_int_equal(fault_read(w.mm, a), AVM_FAULT_MINOR);
	assert_int_equal(avm_file_read(&file, PAGE, &c, 1), 1);
	assert_int_equal(c, 0);
	store(w.a, a, 3);
	assert_int_equal(avm_file_sync(&file), 0);
	assert_int_equal(load(w.a, a), 3);
	assert_int_equal(avm_munmap(w.mm, a, 3 * PAGE), 0);
	avm_file_get(&file);
	avm_file_put(&file);
	assert_int_equal(file.nr_pages, 2);
	avm_file_put(&file);
	assert_int_equal(file.nr_pages, 0);
	world_close(&w);
}

/* Pages far apart: the index grows levels, shrinks again, and survives a failure in the middle. */
static void far_pages_of_a_file_come_and_go(void **state)
{
	static const uint64_t offsets[] = { 0,		1ull << 20, 1ull << 30,
					    1ull << 40, 1ull << 50, 1ull << 62 };
	struct world w;
	struct avm_file file;
	unsigned char c;

	(void)state;
	world_open(&w);
	assert_int_equal(avm_memfd(w.m, &file, NULL, INT64_MAX), 0);
	for (unsigned i = 0; i < 6; i++) {
		uint64_t n;

		for (n = 1;; n++) {
			int64_t done;

			c = (unsigned char)(i + 1);
			sim_fail_alloc(w.s, n, 1);
			done = avm_file_write(&file, offsets[i], &c, 1);
			sim_fail_alloc(w.s, 0, 0);
			if (done == 1)
				break;
			assert_int_equal(done, -AVM_ENOMEM);
			assert_int_equal(file.nr_pages, i);
			world_check(&w);
		}
		assert_true(n > 2);
	}
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(avm_file_read(&file, offsets[i], &c, 1), 1);
		assert_int_equal(c, i + 1);
	}
	assert_int_equal(avm_file_truncate(&file, 1ull << 30), 0);
	assert_int_equal(file.nr_pages, 2);
	avm_file_put(&file);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_read_is_major_the_second_minor),
		cmocka_unit_test(a_read_maps_read_only_even_where_writing_is_allowed),
		cmocka_unit_test(beyond_the_end_is_sigbus),
		cmocka_unit_test(a_failing_read_leaves_nothing),
		cmocka_unit_test(faults_without_memory_change_nothing),
		cmocka_unit_test(fault_around_maps_the_cached_block),
		cmocka_unit_test(fault_around_stays_within_vma_and_table),
		cmocka_unit_test(fault_around_leaves_what_it_cannot_have_at_once),
		cmocka_unit_test(map_cached_maps_what_is_there),
		cmocka_unit_test(a_private_write_copies_and_the_file_stays),
		cmocka_unit_test(a_shared_write_tells_the_file_and_makes_dirty),
		cmocka_unit_test(a_file_that_refuses_the_write_is_sigbus),
		cmocka_unit_test(pages_of_locked_files_are_unevictable),
		cmocka_unit_test(an_entry_that_is_filled_during_the_read_is_left_alone),
		cmocka_unit_test(an_entry_that_changes_while_the_file_is_told_is_left_alone),
		cmocka_unit_test(a_page_read_during_truncation_goes_with_it),
		cmocka_unit_test(a_shared_device_is_mapped_as_the_vma_allows),
		cmocka_unit_test(a_device_that_has_no_frame_is_sigbus),
		cmocka_unit_test(inserted_frames_do_not_come_back),
		cmocka_unit_test(shared_memory_is_writable_at_once),
		cmocka_unit_test(a_memfd_is_shared_by_all_who_map_it),
		cmocka_unit_test(truncation_takes_pages_and_private_copies),
		cmocka_unit_test(what_was_written_behind_the_end_does_not_appear),
		cmocka_unit_test(truncation_refuses_what_is_no_size),
		cmocka_unit_test(a_hole_leaves_private_copies_and_clears_its_edges),
		cmocka_unit_test(a_hole_in_shared_memory_reads_as_zeroes),
		cmocka_unit_test(invalidation_drops_what_is_clean),
		cmocka_unit_test(msync_writes_back_and_protects_again),
		cmocka_unit_test(msync_reports_what_the_file_says),
		cmocka_unit_test(msync_checks_its_arguments),
		cmocka_unit_test(msync_over_a_hole_does_the_rest),
		cmocka_unit_test(msync_invalidate_spares_locked_memory),
		cmocka_unit_test(writeback_protects_every_mapping),
		cmocka_unit_test(reading_goes_through_the_cache_to_the_end),
		cmocka_unit_test(writing_shows_in_mappings_and_grows_the_file),
		cmocka_unit_test(writing_reports_what_stops_it),
		cmocka_unit_test(a_file_that_knows_its_size_does_not_grow),
		cmocka_unit_test(a_page_beyond_an_end_that_moved_is_given_back),
		cmocka_unit_test(readahead_brings_pages_in_unmapped),
		cmocka_unit_test(a_file_without_operations_is_zeroes),
		cmocka_unit_test(far_pages_of_a_file_come_and_go),
	};

	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
