/* SPDX-License-Identifier: MIT */
/*
 * world.h - a simulated machine with a process, for tests of the core through its public interface;
 * and files whose operations are in the hands of the test.
 *
 * Every test ends with the whole machine verified, no lock rule broken, and nothing left behind.
 */
#ifndef TEST_WORLD_H
#define TEST_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "anonvm/anonvm.h"
#include "avm_arch.h"
#include "percpu.h"
#include "pgtable.h"
#include "sim.h"

#define PAGE AVM_PAGE_SIZE
#define RW (AVM_PROT_READ | AVM_PROT_WRITE)
#define ANON (AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS)

struct world {
	struct sim *s;
	struct avm *m;
	struct sim_proc *a; /* a first process */
	struct avm_mm *mm; /* its address space */
};

static inline void world_open_with(struct world *w, const struct sim_config *config)
{
	assert_int_equal(sim_create(&w->s, config), 0);
	w->m = sim_machine(w->s);
	assert_int_equal(sim_proc_create(w->s, NULL, &w->a), 0);
	w->mm = sim_mm(w->a);
}

static inline void world_open(struct world *w)
{
	world_open_with(w, &(struct sim_config){ .frames = 4096, .check_tlb = true });
}

static inline void world_check(struct world *w)
{
	assert_int_equal(sim_verify(w->s, AVM_VERIFY_ALL, stderr), 0);
	assert_string_equal(sim_last_error(w->s), "");
	assert_int_equal(sim_errors(w->s), 0);
}

static inline void world_close(struct world *w)
{
	world_check(w);
	assert_int_equal(sim_destroy(w->s), 0);
}

/* ---- mappings -------------------------------------------------------------------------------- */

static inline avm_addr_t map_at(struct avm_mm *mm, avm_addr_t addr, uint64_t pages, uint32_t prot,
				uint32_t flags, struct avm_file *file, uint64_t pgoff)
{
	const struct avm_mmap args = {
		.addr = addr,
		.len = pages * PAGE,
		.prot = prot,
		.flags = flags | (addr ? AVM_MAP_FIXED : 0u),
		.file = file,
		.pgoff = pgoff,
	};
	avm_addr_t out = 0;

	assert_int_equal(avm_mmap(mm, &args, &out), 0);
	return out;
}

static inline avm_addr_t map_anon(struct avm_mm *mm, uint64_t pages, uint32_t prot)
{
	return map_at(mm, 0, pages, prot, ANON, NULL, 0);
}

static inline avm_addr_t map_file(struct avm_mm *mm, uint64_t pages, uint32_t prot, uint32_t flags,
				  struct avm_file *file)
{
	return map_at(mm, 0, pages, prot, flags, file, 0);
}

/* ---- accesses -------------------------------------------------------------------------------- */

static inline unsigned fault_read(struct avm_mm *mm, avm_addr_t addr)
{
	return avm_fault(mm, addr, AVM_ACCESS_READ, NULL);
}

static inline unsigned fault_write(struct avm_mm *mm, avm_addr_t addr)
{
	return avm_fault(mm, addr, AVM_ACCESS_WRITE, NULL);
}

static inline unsigned char load(struct sim_proc *p, avm_addr_t addr)
{
	unsigned char c = 0;

	assert_int_equal(sim_load(p, addr, &c, 1, NULL), 0);
	return c;
}

static inline void store(struct sim_proc *p, avm_addr_t addr, unsigned char c)
{
	assert_int_equal(sim_store(p, addr, &c, 1, NULL), 0);
}

/* ---- looking --------------------------------------------------------------------------------- */

static inline struct avm_pte_info pte(struct avm_mm *mm, avm_addr_t addr)
{
	struct avm_pte_info info;

	avm_pte_at(mm, addr, &info);
	return info;
}

static inline struct avm_page *page_at(struct avm_mm *mm, avm_addr_t addr)
{
	struct avm_pte_info info = pte(mm, addr);

	assert_int_equal(info.kind, AVM_PTE_PRESENT);
	return info.page;
}

static inline bool has_flag(const struct avm_page *page, enum avm_page_flag flag)
{
	return atomic_load(&page->flags) & flag;
}

static inline bool is_exclusive(const struct avm_page *page)
{
	return atomic_load(&page->mapcount) & AVM_MAPCOUNT_EXCLUSIVE;
}

static inline uint64_t rss(struct avm_mm *mm, enum avm_rss which)
{
	return avm_mm_rss(mm, which);
}

/* Pages promised, in the whole machine. */
static inline uint64_t world_committed(struct world *w)
{
	struct avm_stats stats;

	avm_stats(w->m, &stats);
	return stats.committed;
}

static inline uint64_t event(struct world *w, enum avm_event e)
{
	return avm_cpu_sum(w->m, &w->m->cpus[0].events[e]);
}

/* As the MMU, or a rival on another CPU, might: changes an entry behind the back of a fault. */
static inline void poke_entry(struct avm_mm *mm, avm_addr_t addr, avm_pte_t value)
{
	struct avm_ptc c;

	assert_true(avm_ptc_at(&c, mm, addr));
	avm_ptc_lock(&c);
	avm_ptc_set(&c, value);
	avm_ptc_unlock(&c);
}

static inline avm_pte_t peek_entry(struct avm_mm *mm, avm_addr_t addr)
{
	struct avm_ptc c;

	return avm_ptc_at(&c, mm, addr) ? avm_ptc_get(&c) : AVM_PTE_EMPTY;
}

/* ---- files ----------------------------------------------------------------------------------- */

#define TEST_FILE_PAGES 64

/* Page i of a fresh file holds bytes of value i + 1. */
struct test_file {
	struct avm_file file;
	struct avm_file_ops ops;
	unsigned char *data;
	unsigned reads, writes, mkwrites, releases;
	int read_error, write_error, mkwrite_error, frame_error; /* returned, once if `once` */
	bool once;
	avm_pfn_t first_frame;
	void (*hook)(struct test_file *tf); /* called inside read_page and page_mkwrite */
	struct avm_mm *hook_mm;
	avm_addr_t hook_addr;
};

static inline int test_file_error(struct test_file *tf, int *error)
{
	int err = *error;

	if (tf->once)
		*error = 0;
	return err;
}

static inline int test_file_read(struct avm_file *f, uint64_t index, struct avm_page *page)
{
	struct test_file *tf = f->context;
	int err = test_file_error(tf, &tf->read_error);

	tf->reads++;
	if (tf->hook)
		tf->hook(tf);
	if (err)
		return err;
	avm_port_frame_write(f->machine, page->pfn, 0, tf->data + index * PAGE, PAGE);
	return 0;
}

static inline int test_file_write(struct avm_file *f, uint64_t index, struct avm_page *page)
{
	struct test_file *tf = f->context;
	int err = test_file_error(tf, &tf->write_error);

	tf->writes++;
	if (!err)
		avm_port_frame_read(f->machine, page->pfn, 0, tf->data + index * PAGE, PAGE);
	return err;
}

static inline int test_file_mkwrite(struct avm_file *f, uint64_t index, struct avm_page *page)
{
	struct test_file *tf = f->context;

	assert_int_equal(index, atomic_load(&page->index));
	assert_true(has_flag(page, AVM_PG_LOCKED));
	tf->mkwrites++;
	if (tf->hook)
		tf->hook(tf);
	return test_file_error(tf, &tf->mkwrite_error);
}

static inline int test_file_frame(struct avm_file *f, uint64_t index, avm_pfn_t *pfn)
{
	struct test_file *tf = f->context;

	*pfn = tf->first_frame + index;
	return test_file_error(tf, &tf->frame_error);
}

static inline void test_file_release(struct avm_file *f)
{
	struct test_file *tf = f->context;

	tf->releases++;
}

static inline struct test_file *test_file_open(struct world *w, uint64_t size)
{
	struct test_file *tf = calloc(1, sizeof(*tf));

	assert_non_null(tf);
	tf->data = malloc(TEST_FILE_PAGES * PAGE);
	assert_non_null(tf->data);
	for (unsigned i = 0; i < TEST_FILE_PAGES; i++)
		memset(tf->data + i * PAGE, (int)i + 1, PAGE);
	tf->ops = (struct avm_file_ops){
		.read_page = test_file_read,
		.write_page = test_file_write,
		.page_mkwrite = test_file_mkwrite,
		.release = test_file_release,
	};
	assert_int_equal(avm_file_init(w->m, &tf->file, &tf->ops, tf, size), 0);
	return tf;
}

/* A device: file page i is frame `first` + i. */
static inline struct test_file *test_device_open(struct world *w, avm_pfn_t first, uint64_t pages)
{
	struct test_file *tf = test_file_open(w, pages * PAGE);

	tf->ops =
		(struct avm_file_ops){ .get_frame = test_file_frame, .release = test_file_release };
	tf->first_frame = first;
	return tf;
}

/* Every mapping is gone: the last reference is ours. */
static inline void test_file_close(struct test_file *tf)
{
	unsigned before = tf->releases;

	avm_file_put(&tf->file);
	assert_int_equal(tf->releases, before + 1);
	free(tf->data);
	free(tf);
}

#endif
