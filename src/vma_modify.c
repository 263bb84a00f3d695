/* SPDX-License-Identifier: MIT */
/*
 * vma_modify.c - a range gets other attributes, with the splits and merges that come of it (R2.5).
 *
 * Most ranges lie in one VMA, and many of those VMAs are in no tree but that of the set: where speed is asked for they need
 * no pool, and no relayout() (vma.c).
 */
#include "error.h"
#include "lock.h"
#include "mm.h"
#include "percpu.h"
#include "vma_change.h"

/*
 * A range is to have these attributes. Where it stands: of a function that returns it there would be a copy, two words at once
 * that have just been stored one by one, and the CPU waits until they are in its cache.
 */
static avm_small void give_attrs(struct avm_range *r, const struct avm_vma_attrs *attrs)
{
	r->flags = attrs->flags;
	r->policy = attrs->policy;
	r->name = attrs->name;
}

static void set_attrs(struct avm_vma *vma, const struct avm_vma_attrs *attrs)
{
	avm_vma_lock(vma);
	avm_vma_set_flags(vma, attrs->flags);
	vma->policy = attrs->policy;
	vma->name = attrs->name;
}

struct avm_vma *avm_vma_modify(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t start,
			       avm_addr_t end, const struct avm_vma_attrs *attrs)
{
	struct avm_vma *prev = start == vma->start ? avm_vma_prev(vma) : NULL;
	struct avm_vma *next = end == vma->end ? avm_vma_next(vma) : NULL;

	if (prev || next) {
		struct avm_range r = avm_range_of(vma, start, end);
		enum avm_merge plan;

		give_attrs(&r, attrs);
		plan = avm_merge_plan(pool->mm, &r, prev, next, vma);
		if (plan != AVM_MERGE_NONE)
			return avm_vma_give_away(pool, vma, &r, plan, prev, next);
	}
	vma = avm_vma_carve(pool, vma, start, end);
	set_attrs(vma, attrs);
	return vma;
}

/* Will [start, end), the lower or the upper part of the VMA, go to the neighbour it touches? */
static bool boundary_moves(const struct avm_vma *vma, avm_addr_t start, avm_addr_t end,
			   const struct avm_vma_attrs *attrs)
{
	struct avm_range r = avm_range_of(vma, start, end);
	const struct avm_vma *n = NULL;

	give_attrs(&r, attrs);
	if (start == vma->start)
		n = avm_vma_prev(vma);
	else if (end == vma->end)
		n = avm_vma_next(vma);
	return n && (n->end == start || n->start == end) &&
	       avm_merge_refusal(&r, n) == AVM_NR_REFUSALS;
}

int avm_vma_modify_reserve(struct avm_pool *pool, struct avm_vma *first, avm_addr_t start,
			   avm_addr_t end, const struct avm_vma_attrs *attrs)
{
	struct avm_vma *prev = first->start < start ? NULL : avm_vma_prev(first);
	unsigned splits = 0;
	uint64_t avcs = 0;

	/* One look past the end: the VMA above may take part in the last merge. */
	for (struct avm_vma *vma = first; vma; prev = vma, vma = avm_vma_next(vma)) {
		uint32_t chain = atomic_load_explicit(&vma->chain_len, memory_order_relaxed);

		if (prev && prev->end == vma->start && !avm_vma_anon(prev) != !avm_vma_anon(vma))
			avcs++;
		if (vma->start >= end)
			break;
		if (vma->start < start) {
			splits++;
			avcs += chain;
		}
		if (vma->end > end) {
			splits++;
			avcs += chain;
			break;
		}
	}
	if (splits && !avm_vma_room(pool->mm, splits) && !boundary_moves(first, start, end, attrs))
		return -AVM_ENOMEM;
	return avm_pool_fill(pool, splits, avcs);
}

/* ---- a range within one VMA ------------------------------------------------------------------------------- */

#if AVM_FAST

/* [start, end), the middle of a plain VMA, becomes one of its own, which is returned; NULL: there is no memory, or no room. */
static struct avm_vma *split_middle(struct avm_vma *vma, avm_addr_t start, avm_addr_t end,
				    const struct avm_vma_attrs *attrs)
{
	struct avm_mm *mm = vma->mm;
	struct avm_vma *upper[2];

	upper[0] = avm_vma_room(mm, 2) ? avm_vma_alloc_part(vma, start, end) : NULL;
	if (!upper[0])
		return NULL;
	upper[1] = avm_vma_alloc_part(vma, end, vma->end);
	if (!upper[1])
		goto no_upper;
	if (avm_vma_tree_reserve(&mm->vmas, 2))
		goto no_nodes;
	upper[0]->flags = attrs->flags;
	upper[0]->policy = attrs->policy;
	upper[0]->name = attrs->name;
	avm_vma_lock_here(vma);
	(void)avm_vma_lock_begin(upper[0]); /* no fence: see avm_vma_enter() */
	(void)avm_vma_lock_begin(upper[1]);
	avm_vma_tree_split(&mm->vmas, vma, upper, 2);
	avm_count(mm->machine, AVM_EV_SPLIT, 2);
	return upper[0];
no_nodes:
	avm_vma_free(mm, upper[1]);
no_upper:
	avm_vma_free(mm, upper[0]);
	return NULL;
}

/* A plain VMA takes the one that it touches above, or two: up to `last`. They go. */
static struct avm_vma *swallow(struct avm_vma *vma, struct avm_vma *last)
{
	struct avm_vma *first = avm_vma_next(vma);
	struct avm_mm *mm = vma->mm;
	bool any = avm_vma_lock_begin(vma); /* one fence for all (G-S); the last may be the first */

	any |= avm_vma_lock_begin(first);
	any |= avm_vma_lock_begin(last);
	if (any) {
		atomic_thread_fence(memory_order_seq_cst);
		avm_vma_lock_end(vma);
		avm_vma_lock_end(first);
		avm_vma_lock_end(last);
	}
	avm_vma_tree_join(&mm->vmas, vma, last);
	avm_vma_free(mm, first);
	if (first != last)
		avm_vma_free(mm, last);
	avm_count(mm->machine, AVM_EV_MERGE, first == last ? 1 : 2);
	return vma;
}

static bool is_faulted(const struct avm_vma *vma)
{
	return vma && avm_vma_anon(vma);
}

/*
 * All of a plain VMA gets the attributes. Where neighbours are unfaulted as well, no chain is cloned and nothing can fail.
 * Returns the VMA that holds the range now.
 */
static struct avm_vma *modify_whole(struct avm_vma *vma, const struct avm_vma_attrs *attrs,
				    struct avm_vma *prev, struct avm_vma *next)
{
	struct avm_range r = avm_range_of(vma, vma->start, vma->end);
	enum avm_merge plan;

	give_attrs(&r, attrs);
	plan = avm_merge_plan(vma->mm, &r, prev, next, vma);
	if (plan == AVM_MERGE_BOTH || plan == AVM_MERGE_PREV)
		return swallow(prev, plan == AVM_MERGE_BOTH ? next : vma);
	if (plan == AVM_MERGE_NEXT) {
		struct avm_pool none = { .mm = vma->mm };

		return avm_vma_give_away(&none, vma, &r, plan, prev, next);
	}
	set_attrs(vma, attrs);
	return vma;
}

/* Any VMA, and any part of it. */
static avm_noinline int modify_with_pool(struct avm_vma **part, avm_addr_t start, avm_addr_t end,
					 const struct avm_vma_attrs *attrs)
{
	struct avm_pool pool = { .mm = (*part)->mm };

	if (avm_vma_modify_reserve(&pool, *part, start, end, attrs))
		return -AVM_ENOMEM;
	*part = avm_vma_modify(&pool, *part, start, end, attrs);
	if (avm_pool_left(&pool))
		avm_pool_drain(&pool);
	return 0;
}

int avm_vma_modify_part(struct avm_vma **part, avm_addr_t start, avm_addr_t end,
			const struct avm_vma_attrs *attrs)
{
	struct avm_vma *vma = *part, *prev, *next;

	/* Neither end moves, or both become new. */
	if (!avm_vma_is_plain(vma) || (start > vma->start) != (end < vma->end))
		return modify_with_pool(part, start, end, attrs);
	if (start > vma->start) {
		vma = split_middle(vma, start, end, attrs);
		if (vma)
			*part = vma;
		return vma ? 0 : -AVM_ENOMEM;
	}
	prev = avm_vma_prev(vma);
	next = avm_vma_next(vma);
	if (is_faulted(prev) || is_faulted(next))
		return modify_with_pool(part, start, end, attrs);
	*part = modify_whole(vma, attrs, prev, next);
	return 0;
}

#endif
