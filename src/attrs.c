/* SPDX-License-Identifier: MIT */
/*
 * attrs.c - one walk for all operations that change what VMAs are and not what they map (R2.5), and
 * the two smallest of those: names and policies.
 *
 * The walk goes twice over the range: first to find what will change, so that exactly that is
 * reserved and lack of memory changes nothing; then to change it. Addresses, not VMAs, carry the
 * second walk on: merging may have taken the VMA that came next.
 */
#include "attrs.h"

#include "anonvm/ops.h"
#include "file.h"
#include "mm.h"

static struct avm_vma_attrs attrs_of(const struct avm_vma *vma)
{
	return (struct avm_vma_attrs){ vma->flags, vma->policy, vma->name };
}

static bool attrs_equal(const struct avm_vma_attrs *a, const struct avm_vma_attrs *b)
{
	return a->flags == b->flags && a->policy == b->policy && a->name == b->name;
}

/* A step of either walk: the part of the next VMA that lies in the range, and what it is to be. */
struct step {
	struct avm_vma *vma; /* NULL: the end */
	avm_addr_t start, end;
	struct avm_vma_attrs attrs;
	bool changes;
	int err; /* the walk ends here, and why; or a hole was skipped */
};

static struct step next_step(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
			     const struct avm_attrs_change *change)
{
	struct step s = { .vma = avm_mm_find(mm, start), .start = start };
	struct avm_vma_attrs old;
	int err;

	if (!s.vma || s.vma->start > start) {
		s.err = -AVM_ENOMEM;
		if (!s.vma || s.vma->start >= end || change->holes == AVM_HOLES_STOP) {
			s.vma = NULL;
			return s;
		}
		s.start = s.vma->start;
	}
	s.end = s.vma->end < end ? s.vma->end : end;
	old = s.attrs = attrs_of(s.vma);
	err = change->decide(change, s.vma, &s.attrs);
	if (err) {
		s.err = err;
		s.vma = NULL;
		return s;
	}
	s.changes = !attrs_equal(&old, &s.attrs);
	return s;
}

/* Reserves what the change of [start, end) needs, from the first VMA that changes to the last. */
static int reserve(struct avm_mm *mm, struct avm_pool *pool, avm_addr_t start, avm_addr_t end,
		   const struct avm_attrs_change *change)
{
	struct avm_vma_attrs attrs = { 0 };
	avm_addr_t first = 0;
	avm_addr_t last = 0;

	while (start < end) {
		struct step s = next_step(mm, start, end, change);

		if (!s.vma)
			break;
		if (s.changes) {
			if (!last) {
				first = s.start;
				attrs = s.attrs;
			}
			last = s.end;
		}
		start = s.end;
	}
	return last ? avm_vma_modify_reserve(mm, pool, first, last, &attrs) : 0;
}

/* Cannot fail: reserved. */
static void change_one(struct avm_mm *mm, struct avm_pool *pool, const struct step *s)
{
	int64_t pages = (int64_t)((s->end - s->start) >> AVM_PAGE_SHIFT);

	avm_mm_account(mm, s->vma->flags, -pages);
	avm_mm_account(mm, s->attrs.flags, pages);
	avm_vma_modify(mm, pool, s->vma, s->start, s->end, &s->attrs);
}

int avm_attrs_apply(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
		    const struct avm_attrs_change *change, int no_memory)
{
	struct avm_pool pool;
	int result = 0;

	avm_assert_mmap_write_locked(mm);
	avm_pool_init(&pool);
	if (reserve(mm, &pool, start, end, change))
		return no_memory;
	while (start < end) {
		struct step s = next_step(mm, start, end, change);

		if (s.err)
			result = s.err;
		if (!s.vma)
			break;
		if (s.changes)
			change_one(mm, &pool, &s);
		start = s.end;
	}
	avm_pool_drain(mm, &pool);
	return result;
}

int avm_attrs_flags(const struct avm_attrs_change *change, const struct avm_vma *vma,
		    struct avm_vma_attrs *attrs)
{
	(void)vma;
	attrs->flags = (attrs->flags & ~change->clear) | change->set;
	return 0;
}

/* ---- names and policies ---------------------------------------------------------------------- */

static int decide_name(const struct avm_attrs_change *change, const struct avm_vma *vma,
		       struct avm_vma_attrs *attrs)
{
	/* Shared anonymous memory has a file only because the core made one for it. */
	if (vma->file && !vma->file->owned)
		return -AVM_EBADF;
	attrs->name = change->id;
	return 0;
}

static int decide_policy(const struct avm_attrs_change *change, const struct avm_vma *vma,
			 struct avm_vma_attrs *attrs)
{
	(void)vma;
	attrs->policy = change->id;
	return 0;
}

static int apply_to(struct avm_mm *mm, avm_addr_t addr, uint64_t len,
		    const struct avm_attrs_change *change)
{
	avm_addr_t end;
	int err;

	if (!avm_range_ok(addr, len, AVM_PAGE_MASK, &end))
		return -AVM_EINVAL;
	if (addr == end)
		return 0;
	err = avm_mmap_write_lock(mm);
	if (err)
		return err;
	err = avm_attrs_apply(mm, addr, end, change, -AVM_ENOMEM);
	avm_mmap_write_unlock(mm);
	return err;
}

int avm_set_name(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t name)
{
	struct avm_attrs_change change = { .decide = decide_name, .id = name };

	return apply_to(mm, addr, len, &change);
}

int avm_set_policy(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t policy)
{
	struct avm_attrs_change change = { .decide = decide_policy, .id = policy };

	return apply_to(mm, addr, len, &change);
}
