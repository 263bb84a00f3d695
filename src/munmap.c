/* SPDX-License-Identifier: MIT */
/*
 * munmap.c - taking ranges away (R12).
 *
 * Entries are cleared, the VMAs leave their trees, the tables that nobody can reach any more are unlinked; then one
 * flush, and only then pages and tables are freed. The only thing that can fail is the split that a hole in the
 * middle of a VMA needs, and it is reserved before anything is touched.
 */
#include "munmap.h"

#include "anonvm/ops.h"
#include "error.h"
#include "mlock.h"
#include "mm.h"
#include "mmu_gather.h"
#include "pgtable.h"
#include "zap.h"

/* Is the range a hole in the VMA, which may be none? */
static bool is_hole(const struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	return vma && vma->start < start && vma->end > end;
}

/* `vma`: the first one of the range, if any. */
static int reserve(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	if (!is_hole(vma, start, end))
		return 0;
	if (!avm_vma_room(pool->mm, 1))
		return -AVM_ENOMEM;
	return avm_pool_fill(pool, 1, atomic_load_explicit(&vma->chain_len, memory_order_relaxed));
}

int avm_unmap_reserve(struct avm_pool *pool, avm_addr_t start, avm_addr_t end)
{
	return reserve(pool, avm_mm_find_in(pool->mm, start, end), start, end);
}

static avm_addr_t max_addr(avm_addr_t a, avm_addr_t b)
{
	return a > b ? a : b;
}

static avm_addr_t min_addr(avm_addr_t a, avm_addr_t b)
{
	return a < b ? a : b;
}

/* [start, end) of the VMA is empty now: takes it off. */
static avm_inlined void drop_range(struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	avm_mm_give_back(vma->mm, vma->flags, (end - start) >> AVM_PAGE_SHIFT);
	if (start > vma->start)
		avm_vma_resize(vma, vma->start, start);
	else if (end < vma->end)
		avm_vma_resize(vma, end, vma->end);
	else
		avm_vma_remove(vma);
}

enum tables {
	FREE_TABLES,
	KEEP_TABLES,
};

/* One VMA alone, of which [from, to) goes. Nothing is mapped between `floor` and that, nor between that and `ceiling`, then. */
struct alone {
	struct avm_vma *vma;
	avm_addr_t from, to, floor, ceiling;
	bool whole; /* it is all of it */
};

static avm_inlined void unmap_alone(const struct alone *a, avm_addr_t start, avm_addr_t end,
				    enum tables tables)
{
	struct avm_mm *mm = a->vma->mm;
	struct avm_gather g;

	avm_gather_begin(&g, mm);
	avm_vma_lock_here(a->vma);
	avm_mlock_release(a->vma, a->from, a->to);
	avm_zap_range(&g, a->vma, a->from, a->to, AVM_ZAP_ALL);
	avm_gather_settle(&g);
	if (a->whole) {
		avm_mm_give_back(mm, a->vma->flags, (a->to - a->from) >> AVM_PAGE_SHIFT);
		avm_vma_remove(a->vma);
	} else {
		drop_range(a->vma, a->from, a->to);
	}
	if (tables == FREE_TABLES)
		avm_tables_free(&g, start, end, a->floor, a->ceiling);
	avm_gather_finish(&g);
}

/* [start, end) takes an end of the VMA. (By value: what has an address is in memory, for everybody.) */
static avm_noinline void unmap_end(struct alone a, avm_addr_t start, avm_addr_t end,
				   enum tables tables)
{
	if (start > a.from)
		a.floor = a.from = start;
	if (end < a.to)
		a.ceiling = a.to = end;
	unmap_alone(&a, start, end, tables);
}

/* [start, end) meets one VMA alone, and takes an end of it, or all, as most do. */
static avm_inlined void unmap_one(struct avm_vma *vma, avm_addr_t start, avm_addr_t end,
				  enum tables tables)
{
	const struct avm_vma *prev = avm_vma_prev(vma), *next = avm_vma_next(vma);
	struct alone a = { .vma = vma,
			   .from = vma->start,
			   .to = vma->end,
			   .floor = prev ? prev->end : 0,
			   .ceiling = next ? next->start : vma->mm->task_size };

	if (start > a.from || end < a.to) {
		unmap_end(a, start, end, tables);
		return;
	}
	a.whole = true;
	unmap_alone(&a, start, end, tables);
}

static bool is_alone(const struct avm_vma *vma, avm_addr_t end)
{
	const struct avm_vma *next = avm_vma_next(vma);

	return !next || next->start >= end;
}

/* No VMA reaches over both ends of the range. The gather is large: where size counts, splitting, which goes deep, is over. */
static avm_noinline void unmap_vmas(struct avm_mm *mm, struct avm_vma *first, avm_addr_t start,
				    avm_addr_t end, enum tables tables)
{
	struct avm_vma *prev, *vma, *next;
	struct avm_gather g;

	avm_gather_begin(&g, mm);
	for (vma = first; vma && vma->start < end; vma = avm_vma_next(vma)) {
		avm_addr_t from = max_addr(start, vma->start), to = min_addr(end, vma->end);

		avm_vma_lock(vma);
		avm_mlock_release(vma, from, to);
		avm_zap_range(&g, vma, from, to, AVM_ZAP_ALL);
	}
	avm_gather_settle(&g);
	prev = first->start < start ? first : avm_vma_prev(first);
	for (vma = first; vma && vma->start < end; vma = next) {
		next = avm_vma_next(vma);
		drop_range(vma, max_addr(start, vma->start), min_addr(end, vma->end));
	}
	next = prev ? avm_vma_next(prev) : avm_vma_tree_first(&mm->vmas);
	if (tables == FREE_TABLES)
		avm_tables_free(&g, start, end, prev ? prev->end : 0,
				next ? next->start : mm->task_size);
	avm_gather_finish(&g);
}

/* `pool`: NULL where the range is known to be no hole. */
static avm_inlined void unmap(struct avm_mm *mm, struct avm_pool *pool, struct avm_vma *first,
			      avm_addr_t start, avm_addr_t end, enum tables tables)
{
	if (!first)
		return;
	avm_notify_start(mm, start, end);
	if (pool && is_hole(first, start, end))
		avm_vma_split(pool, first, end);
	if (AVM_FAST && is_alone(first, end))
		unmap_one(first, start, end, tables);
	else
		unmap_vmas(mm, first, start, end, tables);
	avm_notify_end(mm, start, end);
}

static avm_noinline void unmap_all_of(struct avm_pool *pool, avm_addr_t start, avm_addr_t end,
				      enum tables tables)
{
	unmap(pool->mm, pool, avm_mm_find_in(pool->mm, start, end), start, end, tables);
}

void avm_unmap_commit(struct avm_pool *pool, avm_addr_t start, avm_addr_t end)
{
	unmap_all_of(pool, start, end, FREE_TABLES);
}

void avm_unmap_commit_keep_tables(struct avm_pool *pool, avm_addr_t start, avm_addr_t end)
{
	unmap_all_of(pool, start, end, KEEP_TABLES);
}

void avm_tables_trim(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	struct avm_vma *next = avm_mm_find(mm, start);
	struct avm_vma *prev = next ? avm_vma_prev(next) : avm_vma_tree_last(&mm->vmas);
	struct avm_gather g;

	avm_gather_begin(&g, mm);
	for (;;) { /* gap by gap */
		avm_addr_t floor = prev ? prev->end : 0;
		avm_addr_t ceiling = next ? next->start : mm->task_size;

		avm_tables_free(&g, max_addr(start, floor), min_addr(end, ceiling), floor, ceiling);
		if (!next || next->start >= end)
			break;
		prev = next;
		next = avm_vma_next(next);
	}
	avm_gather_finish(&g);
}

#if AVM_FAST

/* The range is a hole in the VMA. */
static avm_noinline int unmap_hole(struct avm_mm *mm, struct avm_vma *vma, avm_addr_t start,
				   avm_addr_t end)
{
	struct avm_pool pool = { .mm = mm };
	int err = reserve(&pool, vma, start, end);

	if (!err)
		unmap(mm, &pool, vma, start, end, FREE_TABLES);
	avm_pool_drain(&pool);
	return err;
}

#endif

/* Most leave no part of a VMA on both sides, and have nothing to reserve. */
AVM_PART_OF_CALLER int unmap_range(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
#if AVM_FAST
	struct avm_vma *first = start < end ? avm_mm_find_way(mm, start) : NULL;

	if (!first || first->start >= end)
		return 0;
	if (is_hole(first, start, end))
		return unmap_hole(mm, first, start, end);
	unmap(mm, NULL, first, start, end, FREE_TABLES);
	return 0;
#else
	struct avm_pool pool = { .mm = mm };
	int err = avm_unmap_reserve(&pool, start, end);

	if (!err)
		avm_unmap_commit(&pool, start, end);
	avm_pool_drain(&pool);
	return err;
#endif
}

int avm_unmap_range(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	return unmap_range(mm, start, end);
}

int avm_munmap(struct avm_mm *mm, avm_addr_t addr, uint64_t len)
{
	avm_addr_t end;
	int err;

	if (!len || !avm_range_ok(addr, len, mm->task_size, &end))
		return -AVM_EINVAL;
	err = avm_mmap_write_lock(mm);
	if (err)
		return err;
	err = AVM_FAST ? unmap_range(mm, addr, end) : avm_unmap_range(mm, addr, end);
	avm_mmap_write_unlock(mm);
	return err;
}
