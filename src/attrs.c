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
#include "mmu_gather.h"

static struct avm_vma_attrs attrs_of(const struct avm_vma *vma)
{
	return (struct avm_vma_attrs){ vma->flags, vma->policy, vma->name };
}

static bool changes(const struct avm_attrs_step *s)
{
	const struct avm_vma *vma = s->at.vma;

	return s->attrs.flags != vma->flags || s->attrs.policy != vma->policy ||
	       s->attrs.name != vma->name;
}

/* On to the next part. False: the walk is over; *err: why, or that a hole was skipped. */
static bool next_step(struct avm_mm *mm, struct avm_attrs_step *s, avm_addr_t end,
		      const struct avm_attrs_change *change, int *err)
{
	bool found = AVM_FAST ? avm_mm_part_of(&s->at, avm_mm_find_way(mm, s->at.end), end) :
				avm_mm_next_part(mm, &s->at, end);
	int decided;

	if (s->at.hole) {
		*err = -AVM_ENOMEM;
		found = found && change->holes == AVM_HOLES_SKIP;
	}
	if (!found)
		return false;
	s->attrs = attrs_of(s->at.vma);
	decided = change->decide(change, s);
	if (decided)
		*err = decided;
	return !decided;
}

void avm_attrs_look(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
		    const struct avm_attrs_change *change, struct avm_attrs_plan *plan)
{
	struct avm_attrs_step *s = &plan->first, rest;

	avm_assert_mmap_write_locked(mm);
	plan->last = 0;
	plan->err = 0;
	s->at.end = start;
	s->at.hole = false;
	while (s->at.end < end && next_step(mm, s, end, change, &plan->err)) {
		if (!changes(s))
			continue;
		plan->last = s->at.end;
		/* The first that changes something stays in the plan. */
		if (s == &plan->first && s->at.end < end) {
			rest = *s;
			s = &rest;
		}
	}
}

/* Cannot fail: reserved. True: translations have changed. */
static bool change_one(struct avm_pool *pool, struct avm_attrs_step *s,
		       const struct avm_attrs_change *change)
{
	struct avm_mm *mm = pool->mm;
	int64_t pages = (int64_t)((s->at.end - s->at.start) >> AVM_PAGE_SHIFT);
	uint64_t old = s->at.vma->flags;

	avm_mm_account(mm, old, -pages);
	avm_mm_account(mm, s->attrs.flags, pages);
	s->at.vma = avm_vma_modify(pool, s->at.vma, s->at.start, s->at.end, &s->attrs);
	return change->follow && change->follow(s, old);
}

int avm_attrs_make(struct avm_mm *mm, struct avm_attrs_plan *plan,
		   const struct avm_attrs_change *change)
{
	struct avm_attrs_step *s = &plan->first;
	avm_addr_t first = s->at.start;
	struct avm_pool pool = { .mm = mm };
	bool flush = false;
	int known; /* from the look */

	if (avm_vma_modify_reserve(&pool, s->at.vma, first, plan->last, &s->attrs))
		return -AVM_ENOMEM;
	if (change->follow)
		avm_notify_start(mm, first, plan->last);
	do {
		if (changes(s))
			flush |= change_one(&pool, s, change);
	} while (s->at.end < plan->last && next_step(mm, s, plan->last, change, &known));
	if (change->follow) {
		if (flush || !AVM_FAST)
			avm_tlb_flush(mm, first, plan->last);
		avm_notify_end(mm, first, plan->last);
	}
	if (avm_pool_left(&pool))
		avm_pool_drain(&pool);
	return 0;
}

int avm_attrs_apply(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
		    const struct avm_attrs_change *change, int no_memory)
{
	struct avm_attrs_plan plan;

	avm_attrs_look(mm, start, end, change, &plan);
	return plan.last && avm_attrs_make(mm, &plan, change) ? no_memory : plan.err;
}

int avm_attrs_operate(struct avm_mm *mm, avm_addr_t addr, uint64_t len,
		      const struct avm_attrs_change *change, int no_memory)
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
	err = avm_attrs_apply(mm, addr, end, change, no_memory);
	avm_mmap_write_unlock(mm);
	return err;
}

int avm_attrs_flags(const struct avm_attrs_change *change, struct avm_attrs_step *s)
{
	s->attrs.flags = (s->attrs.flags & ~change->clear) | change->set;
	return 0;
}

/* ---- names and policies ---------------------------------------------------------------------- */

static int decide_name(const struct avm_attrs_change *change, struct avm_attrs_step *s)
{
	/* Shared anonymous memory has a file only because the core made one for it. */
	if (s->at.vma->file && !s->at.vma->file->owned)
		return -AVM_EBADF;
	s->attrs.name = change->id;
	return 0;
}

static int decide_policy(const struct avm_attrs_change *change, struct avm_attrs_step *s)
{
	s->attrs.policy = change->id;
	return 0;
}

int avm_set_name(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t name)
{
	const struct avm_attrs_change change = { .decide = decide_name, .id = name };

	return avm_attrs_operate(mm, addr, len, &change, -AVM_ENOMEM);
}

int avm_set_policy(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t policy)
{
	const struct avm_attrs_change change = { .decide = decide_policy, .id = policy };

	return avm_attrs_operate(mm, addr, len, &change, -AVM_ENOMEM);
}
