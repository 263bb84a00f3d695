/* SPDX-License-Identifier: MIT */
/*
 * verify_rig.h - a machine with something of everything in it, for the tests of the observers:
 * three generations of a family, private and shared files, shared anonymous memory, the zero page,
 * COW copies, a stack, locked pages; and a sink that keeps what it is told.
 */
#ifndef TEST_VERIFY_RIG_H
#define TEST_VERIFY_RIG_H

#include "world.h"

#include "anon_vma.h"
#include "file.h"
#include "list.h"
#include "mm.h"
#include "page.h"
#include "vma.h"

/* ---- a sink --------------------------------------------------------------------------------- */

struct capture {
	struct avm_sink sink;
	char *text;
	size_t len, size;
	uint64_t lines;
};

static inline void capture_line(struct avm_sink *sink, const char *line)
{
	struct capture *c = (struct capture *)sink;
	size_t n = strlen(line);

	if (c->len + n + 2 > c->size) {
		c->size = 2 * (c->len + n + 2);
		c->text = realloc(c->text, c->size);
		assert_non_null(c->text);
	}
	memcpy(c->text + c->len, line, n);
	c->len += n;
	memcpy(c->text + c->len++, "\n", 2);
	c->lines++;
}

static inline void capture_init(struct capture *c)
{
	*c = (struct capture){ .sink.line = capture_line };
	c->text = calloc(1, 1);
	c->size = 1;
	assert_non_null(c->text);
}

static inline void capture_free(struct capture *c)
{
	free(c->text);
}

/* ---- the machine ---------------------------------------------------------------------------- */

struct rig {
	struct world w;
	struct sim_proc *a, *b, *c; /* grandparent, parent, child */
	struct avm_mm *ma, *mb, *mc;
	struct avm_file *file, *memfd;
	avm_addr_t anon; /* 8 pages, private; 0-3 written by a, 4 read, 5 written by b, 6 by c */
	avm_addr_t priv; /* 4 pages of `file`, private; 0 read, 1 written by a, 2 by b */
	avm_addr_t shared; /* 4 pages of `file`, shared; 0 read, 1 written */
	avm_addr_t shmem; /* 2 pages, shared anonymous */
	avm_addr_t mem; /* 2 pages of `memfd` */
	avm_addr_t idle; /* 2 pages, never touched */
	avm_addr_t split; /* 6 pages in three VMAs of one anon_vma */
	avm_addr_t locked; /* 1 page */
};

/* The whole machine and each address space have nothing to complain about, on any level. */
static inline void rig_quiet(struct rig *r)
{
	struct avm_mm *mm;

	world_check(&r->w);
	for (int level = AVM_VERIFY_VMAS; level <= AVM_VERIFY_ALL; level++) {
		assert_int_equal(avm_verify(r->w.m, (enum avm_verify_level)level, NULL), 0);
		for (mm = NULL; (mm = avm_next_mm(r->w.m, mm));)
			assert_int_equal(avm_verify_mm(mm, (enum avm_verify_level)level, NULL), 0);
	}
}

static inline void rig_map(struct rig *r)
{
	r->ma = sim_mm(r->a);
	r->anon = map_anon(r->ma, 8, RW);
	r->idle = map_anon(r->ma, 2, AVM_PROT_READ);
	r->priv = map_file(r->ma, 4, RW, AVM_MAP_PRIVATE, r->file);
	r->shared = map_file(r->ma, 4, RW, AVM_MAP_SHARED, r->file);
	r->mem = map_file(r->ma, 2, RW, AVM_MAP_SHARED, r->memfd);
	r->shmem = map_at(r->ma, 0, 2, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	r->split = map_anon(r->ma, 6, RW);
	r->locked = map_at(r->ma, 0, 1, RW, ANON | AVM_MAP_LOCKED, NULL, 0);
}

static inline void rig_touch(struct rig *r)
{
	for (unsigned i = 0; i < 4; i++)
		store(r->a, r->anon + i * PAGE, (unsigned char)i);
	load(r->a, r->anon + 4 * PAGE);
	load(r->a, r->priv);
	store(r->a, r->priv + PAGE, 1);
	load(r->a, r->shared);
	store(r->a, r->shared + PAGE, 2);
	store(r->a, r->mem, 3);
	store(r->a, r->shmem, 4);
	for (unsigned i = 0; i < 6; i++)
		store(r->a, r->split + i * PAGE, 5);
	store(r->a, r->locked, 6);
	assert_int_equal(avm_mprotect(r->ma, r->split + 2 * PAGE, 2 * PAGE, AVM_PROT_READ), 0);
}

static inline void rig_open(struct rig *r, enum avm_family_policy family)
{
	memset(r, 0, sizeof(*r));
	world_open_with(&r->w, &(struct sim_config){ .frames = 1024,
						     .check_tlb = true,
						     .core.family = family });
	r->a = r->w.a;
	assert_int_equal(sim_file_create(r->w.s, "data", 16 * PAGE, 7, &r->file), 0);
	assert_int_equal(sim_memfd_create(r->w.s, "memfd", 2 * PAGE, &r->memfd), 0);
	rig_quiet(r);
	rig_map(r);
	rig_quiet(r);
	rig_touch(r);
	rig_quiet(r);

	assert_int_equal(sim_proc_fork(r->a, &r->b), 0);
	r->mb = sim_mm(r->b);
	rig_quiet(r);
	store(r->b, r->anon, 10);
	store(r->b, r->anon + 5 * PAGE, 11);
	store(r->b, r->priv + 2 * PAGE, 12);
	rig_quiet(r);

	assert_int_equal(sim_proc_fork(r->b, &r->c), 0);
	r->mc = sim_mm(r->c);
	store(r->c, r->anon + 6 * PAGE, 13);
	store(r->c, r->anon, 14);
	store(r->a, r->anon + PAGE, 15);
	rig_quiet(r);
}

static inline void rig_close(struct rig *r)
{
	rig_quiet(r);
	sim_file_put(r->file);
	sim_file_put(r->memfd);
	world_close(&r->w);
}

/* ---- finding things in it ------------------------------------------------------------------- */

static inline struct avm_vma *vma_at(struct avm_mm *mm, avm_addr_t addr)
{
	struct avm_vma *vma = avm_find_vma(mm, addr);

	assert_non_null(vma);
	assert_true(vma->start <= addr);
	return vma;
}

/* Entry i of a chain. */
static inline struct avm_anon_vma_chain *avc_at(struct avm_vma *vma, unsigned i)
{
	struct avm_anon_vma_chain *avc;

	avm_list_for_each_entry(avc, &vma->chain, struct avm_anon_vma_chain, same_vma)
		if (!i--)
			return avc;
	fail_msg("chain too short");
	return NULL;
}

#endif
