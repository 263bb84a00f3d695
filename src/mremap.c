/* SPDX-License-Identifier: MIT */
/*
 * mremap.c - mappings that grow, shrink and move (R13.3).
 *
 *	shrink		the tail is unmapped
 *	grow in place	the VMA takes the free range behind it, and perhaps the VMA that touches then
 *	move		a VMA for the new range (or one that merges it) gets the source's chain; the entries move; the
 *			old range is unmapped, or left behind empty (DONTUNMAP), or there is none (old_len 0)
 *
 * A move reserves everything first: VMAs and chain entries for what is split and what is new, page
 * tables at the target, the promise of memory. Only then is the target cleared (FIXED) and the rest
 * done, which cannot fail. So a failing mremap FIXED does not lose what was at the target, which
 * mremap(2) would permit.
 */
#include "anonvm/ops.h"
#include "commit.h"
#include "error.h"
#include "mlock.h"
#include "mm.h"
#include "mmu_gather.h"
#include "move.h"
#include "munmap.h"
#include "page.h"
#include "reclaim.h"

#define KNOWN_FLAGS (AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED | AVM_MREMAP_DONTUNMAP)
#define LOCK_FLAGS (AVM_VM_LOCKED | AVM_VM_LOCKONFAULT)

struct request {
	struct avm_mm *mm;
	avm_addr_t addr;
	uint64_t old_len; /* whole pages; 0: a second mapping of the same pages */
	uint64_t new_len;
	uint32_t flags;
	avm_addr_t new_addr; /* FIXED: where; DONTUNMAP: a hint; at the end the result */
	avm_addr_t old_end, new_end; /* of the ranges; the new one's when its place is known */
	uint64_t kept; /* what of the source is to be found at the target: the smaller length */
};

static bool is_fixed(const struct request *q)
{
	return q->flags & AVM_MREMAP_FIXED;
}

static bool leaves_source(const struct request *q)
{
	return q->flags & AVM_MREMAP_DONTUNMAP;
}

/* It is to be elsewhere, whether there is room here or not. */
static bool must_move(const struct request *q)
{
	return q->flags & (AVM_MREMAP_FIXED | AVM_MREMAP_DONTUNMAP);
}

static uint64_t pages_of(uint64_t len)
{
	return len >> AVM_PAGE_SHIFT;
}

static uint32_t chain_len(const struct avm_vma *vma)
{
	return atomic_load_explicit(&vma->chain_len, memory_order_relaxed);
}

/* ---- decode ---------------------------------------------------------------------------------- */

/* What does not depend on what is mapped. Rounds the lengths. */
static int check_args(struct request *q)
{
	uint64_t size = q->mm->task_size;

	if ((q->flags & ~(uint32_t)KNOWN_FLAGS) || !avm_page_aligned(q->addr))
		return -AVM_EINVAL;
	if (!q->new_len || q->new_len > size || q->old_len > AVM_PAGE_MASK)
		return -AVM_EINVAL;
	q->old_len = avm_page_up(q->old_len);
	q->new_len = avm_page_up(q->new_len);
	q->old_end = q->addr + q->old_len;
	q->kept = q->old_len < q->new_len ? q->old_len : q->new_len;
	if (!must_move(q))
		return 0;
	if (!(q->flags & AVM_MREMAP_MAYMOVE) || !avm_page_aligned(q->new_addr))
		return -AVM_EINVAL;
	if (q->new_len > size || q->new_addr > size - q->new_len)
		return -AVM_EINVAL;
	if (leaves_source(q) && q->old_len != q->new_len)
		return -AVM_EINVAL;
	/* Differences do not wrap where sums would. */
	if (q->addr <= q->new_addr ? q->new_addr - q->addr < q->old_len :
				     q->addr - q->new_addr < q->new_len)
		return -AVM_EINVAL;
	return is_fixed(q) && q->new_addr < q->mm->lowest ? -AVM_EPERM : 0;
}

/* May this VMA grow or move so? */
static int check_vma(const struct request *q, const struct avm_vma *vma)
{
	uint64_t no_growth = AVM_VM_DONTEXPAND | AVM_VM_SPECIAL;
	uint64_t more = pages_of(q->new_len - q->kept);
	uint64_t first = avm_vma_index(vma, q->addr);

	if (!q->old_len && !(vma->flags & AVM_VM_SHARED))
		return -AVM_EINVAL;
	if (leaves_source(q) && (vma->flags & no_growth))
		return -AVM_EINVAL;
	if (q->kept > vma->end - q->addr)
		return -AVM_EFAULT;
	if (leaves_source(q)) /* of one size: the new range comes on top */
		return avm_mm_may_expand(q->mm, vma->flags, pages_of(q->new_len));
	if (!more)
		return 0;
	if (first + pages_of(q->new_len) < first)
		return -AVM_EINVAL;
	if (vma->flags & no_growth)
		return -AVM_EFAULT;
	if ((vma->flags & AVM_VM_LOCKED) && avm_mm_may_lock(q->mm, more))
		return -AVM_EAGAIN;
	return avm_mm_may_expand(q->mm, vma->flags, more);
}

/* ---- in place -------------------------------------------------------------------------------- */

static int shrink(const struct request *q)
{
	avm_addr_t start = q->addr + q->new_len;

	if (q->old_len > q->mm->task_size - q->addr)
		return -AVM_EINVAL;
	return avm_unmap_range(q->mm, start, q->old_end);
}

/* The old range ends where the VMA does, and behind it is room. */
static bool can_grow(const struct request *q, const struct avm_vma *vma)
{
	if (!q->old_len || q->old_end != vma->end || q->new_len > q->mm->task_size - q->addr)
		return false;
	return !avm_mm_find_in(q->mm, vma->end, q->addr + q->new_len);
}

static avm_noinline int grow(const struct request *q, struct avm_vma *vma)
{
	struct avm_mm *mm = q->mm;
	avm_addr_t end = q->addr + q->new_len;
	const struct avm_vma *next = avm_vma_next(vma);
	bool joins = next && next->start == end;
	uint64_t pages = pages_of(end - vma->end);
	struct avm_pool pool = { .mm = mm };

	if ((vma->flags & AVM_VM_ACCOUNT) && avm_commit(mm, pages))
		return -AVM_ENOMEM;
	/* An entry for the case that one of the two that join is unfaulted. */
	if (joins && avm_pool_fill(&pool, 0, 1)) {
		if (vma->flags & AVM_VM_ACCOUNT)
			avm_uncommit(mm, pages);
		return -AVM_ENOMEM;
	}
	avm_mm_account(mm, vma->flags, (int64_t)pages);
	avm_vma_extend(&pool, vma, end);
	avm_pool_drain(&pool);
	return 0;
}

/* ---- move: reserve --------------------------------------------------------------------------- */

/* Linux keeps this much away from the limit, whether the move will need it or not. */
static bool room_for_move(const struct request *q)
{
	const unsigned spare = must_move(q) ? 5 : 3;

	return q->mm->vmas.count + spare < q->mm->machine->config.max_map_count;
}

/* VMAs and chain entries for all that may come; the order of the steps is that of move(). */
static int reserve_objects(const struct request *q, struct avm_pool *pool,
			   const struct avm_vma *src)
{
	uint32_t chain = chain_len(src) ? chain_len(src) : 1;
	/* When a tail goes first, the rest is at the end of its VMA: only the tail can be a hole. */
	avm_addr_t first = q->old_len > q->new_len ? q->addr + q->new_len : q->addr;

	if (is_fixed(q) && avm_unmap_reserve(pool, q->new_addr, q->new_end))
		return -AVM_ENOMEM;
	if (!leaves_source(q) && q->old_len && avm_unmap_reserve(pool, first, q->old_end))
		return -AVM_ENOMEM;
	/*
	 * The new VMA and its chain. When neighbours take the range instead, the VMA is left over,
	 * and an entry (they have one at most, R2.2) joins the two. An unfaulted source that merges
	 * with its own target needs them then: it is a hole in the middle now.
	 */
	return avm_pool_fill(pool, 1, chain);
}

static uint64_t pages_to_promise(const struct request *q, const struct avm_vma *src)
{
	if (!(src->flags & AVM_VM_ACCOUNT))
		return 0;
	return pages_of(leaves_source(q) ? q->new_len : q->new_len - q->kept);
}

/* 0, or -ENOMEM with nothing changed; the pool is the caller's to drain either way. */
static int reserve(const struct request *q, struct avm_pool *pool, struct avm_vma *src)
{
	struct avm_mm *mm = q->mm;
	uint64_t promise = pages_to_promise(q, src);
	uint64_t given_back = 0;

	if (is_fixed(q))
		given_back = avm_mm_accounted(mm, q->new_addr, q->new_end);
	if (!room_for_move(q) || avm_commit_instead(mm, promise, given_back))
		return -AVM_ENOMEM;
	if (!reserve_objects(q, pool, src)) {
		avm_vma_lock(src); /* no fault makes an entry that would have to move */
		if (!avm_move_reserve(mm, q->addr, q->new_addr, q->kept))
			return 0;
		avm_tables_trim(mm, q->new_addr, q->new_end);
	}
	avm_uncommit(mm, promise);
	return -AVM_ENOMEM;
}

/* ---- move: change ---------------------------------------------------------------------------- */

/*
 * The VMA for the new range: an own one, or a neighbour that takes it. Its chain is a clone of the
 * source's, unless the neighbour has the very same (R2.2). The source may be part of the result
 * when it is unfaulted.
 */
static avm_noinline struct avm_vma *make_target(const struct request *q, struct avm_pool *pool,
						struct avm_vma *src)
{
	struct avm_range r = avm_range_of(src, q->addr, q->addr + q->kept);
	bool faulted = r.anon_vma;
	struct avm_vma *target;

	/* No page knows its index yet: one that fits the new address merges better. */
	if (!faulted && avm_vma_is_anon(src))
		r.pgoff = q->new_addr >> AVM_PAGE_SHIFT;
	r.start = q->new_addr;
	r.end = q->new_end;
	target = avm_vma_add(pool, &r, NULL);
	if (faulted && !avm_vma_anon(target)) {
		avm_family_lock_vma(src);
		avm_family_clone(target, src, &pool->avcs);
		avm_family_unlock_vma(src);
	}
	return target;
}

static void move_entries(const struct request *q, struct avm_vma *src, struct avm_vma *target)
{
	uint64_t len = q->kept;

	/* Both are locked: the source since the tables were reserved, the target since it has its range. */
	if (!len)
		return;
	avm_notify_start(q->mm, q->addr, q->addr + len);
	avm_move_range(src, q->addr, target, q->new_addr, len);
	avm_notify_end(q->mm, q->addr, q->addr + len);
}

/*
 * DONTUNMAP: the source stays mapped and empty, and is locked no more (all of its VMA, as on
 * Linux). A VMA that has nothing left to be found by leaves its family.
 */
static void leave_source(const struct request *q, struct avm_vma *src, const struct avm_vma *target)
{
	int64_t pages = (int64_t)avm_vma_pages(src);

	avm_vma_lock(src);
	if (src->flags & AVM_VM_LOCKED) {
		avm_mm_account(q->mm, src->flags, -pages);
		avm_vma_set_flags(src, src->flags & ~LOCK_FLAGS); /* reclaim may look beside us */
		avm_mm_account(q->mm, src->flags, pages);
		avm_mlock_mark(q->mm, src->start, src->end, 0);
	}
	if (src != target && src->start == q->addr && src->end == q->old_end)
		avm_family_unlink(src);
}

/* The old range goes; what it had promised has moved along with the pages. */
static void drop_source(const struct request *q, struct avm_pool *pool, uint64_t flags)
{
	uint64_t len = q->kept;

	if (!len)
		return;
	if (flags & AVM_VM_ACCOUNT)
		avm_recommit(q->mm, pages_of(len)); /* unmapping gives back what is still wanted */
	avm_unmap_commit(pool, q->addr, q->addr + len);
}

/*
 * Everything is reserved: cannot fail. The source is looked up anew whenever the VMAs around it may
 * have changed.
 */
static void change(const struct request *q, struct avm_pool *pool)
{
	struct avm_mm *mm = q->mm;
	avm_addr_t tail = q->addr + q->kept;
	struct avm_vma *src, *target;
	uint64_t flags;

	if (is_fixed(q))
		avm_unmap_commit_keep_tables(pool, q->new_addr, q->new_end);
	if (tail < q->old_end)
		avm_unmap_commit_keep_tables(pool, tail, q->old_end);
	src = avm_mm_find_exact(mm, q->addr);
	flags = src->flags;
	target = make_target(q, pool, src);
	avm_mm_account(mm, flags, (int64_t)pages_of(q->new_len));
	src = avm_mm_find_exact(mm, q->addr);
	move_entries(q, src, target);
	if (leaves_source(q))
		leave_source(q, src, target);
	else
		drop_source(q, pool, flags);
	if (tail < q->old_end)
		avm_tables_trim(mm, tail, q->old_end);
}

static int move(struct request *q, struct avm_vma *src)
{
	struct avm_pool pool = { .mm = q->mm };
	int err;

	q->new_end = q->new_addr + q->new_len;
	err = reserve(q, &pool, src);
	if (!err)
		change(q, &pool);
	avm_pool_drain(&pool);
	return err;
}

/* ---- the operation --------------------------------------------------------------------------- */

/* A place that was given, or one that is found. */
static int choose_place(struct request *q)
{
	if (!is_fixed(q))
		return avm_mm_place(q->mm, leaves_source(q) ? q->new_addr : 0, q->new_len,
				    &q->new_addr);
	if (q->old_len > q->new_len && q->old_len > q->mm->task_size - q->addr)
		return -AVM_EINVAL;
	/* A second mapping must not take the place of the first. */
	return q->old_len || q->new_addr != q->addr ? 0 : -AVM_EFAULT;
}

/* => mmap_lock write. *locked: the mapping is. */
static int remap(struct request *q, bool *locked)
{
	struct avm_vma *vma = avm_mm_find_exact(q->mm, q->addr);
	int err;

	if (!vma)
		return -AVM_EFAULT;
	if (!must_move(q) && q->new_len <= q->old_len) {
		q->new_addr = q->addr;
		return q->new_len < q->old_len ? shrink(q) : 0;
	}
	err = check_vma(q, vma);
	if (err)
		return err;
	*locked = vma->flags & AVM_VM_LOCKED;
	if (!must_move(q) && can_grow(q, vma)) {
		q->new_addr = q->addr;
		return grow(q, vma);
	}
	if (!(q->flags & AVM_MREMAP_MAYMOVE))
		return -AVM_ENOMEM;
	err = choose_place(q);
	return err ? err : move(q, vma);
}

static avm_noinline int remap_once(struct request *q, bool *locked)
{
	int err = avm_mmap_write_lock(q->mm);

	if (err)
		return err;
	err = remap(q, locked);
	avm_mmap_write_unlock(q->mm);
	return err;
}

/* A failed try may have found a place: the next one does not want it. */
static avm_noinline int remap_retrying(struct request *q, bool *locked)
{
	struct avm_retry retry = avm_retry_begin(q->mm->machine);
	avm_addr_t asked = q->new_addr;
	int err;

	for (;;) {
		err = remap_once(q, locked);
		if (err != -AVM_ENOMEM || !avm_retry(&retry, q->mm->machine, q->mm))
			return err;
		q->new_addr = asked;
	}
}

int avm_mremap(struct avm_mm *mm, avm_addr_t addr, uint64_t old_len, uint64_t new_len,
	       uint32_t flags, avm_addr_t new_addr, avm_addr_t *out)
{
	struct request q = { .mm = mm,
			     .addr = addr,
			     .old_len = old_len,
			     .new_len = new_len,
			     .flags = flags,
			     .new_addr = new_addr };
	bool locked = false;
	int err = check_args(&q);

	if (!err)
		err = remap_retrying(&q, &locked);
	if (err)
		return err;
	*out = q.new_addr;
	if (locked && q.new_len > q.old_len)
		(void)avm_mlock_populate(mm, q.new_addr + q.old_len, q.new_addr + q.new_len,
					 AVM_MLOCK_GO_ON);
	return 0;
}
