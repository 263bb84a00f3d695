/* SPDX-License-Identifier: MIT */
/*
 * migrate.c - the same page in another frame (R16).
 *
 *	isolated, locked	nobody else does anything to it
 *	taken			whoever touches it waits for its lock
 *	copied			nobody can write to it meanwhile
 *	replaced in its cache	if nobody else holds it: the look and the change are one step
 *	given			the new page is mapped wherever the old one was, or should be by now
 *
 * Until it is replaced all can be undone: then the old page is given back. A fork, an munmap or an exit in between works
 * on the entries that stand for the page, and is met in them.
 */
#include "anonvm/memory.h"

#include "error.h"
#include "file.h"
#include "frame.h"
#include "list.h"
#include "lock.h"
#include "lru.h"
#include "merged.h"
#include "page.h"
#include "swap_slot.h"
#include "unmap.h"

/* Where a page must not go: frames [first, first + n). */
struct keep_out {
	avm_pfn_t first;
	uint64_t n;
	struct avm_list aside; /* frames of the range that the port had to offer */
};

/* ---- one page --------------------------------------------------------------------------------- */

/* What stays with the page; other flags of lists and mapping come as it is put in its places. */
#define MOVED_FLAGS \
	(AVM_PG_DIRTY | AVM_PG_UPTODATE | AVM_PG_ACTIVE | AVM_PG_REFERENCED | AVM_PG_SHMEM | \
	 AVM_PG_LAZYFREE | AVM_PG_SWAPBACKED)

/* G-B */
static void set_identity(struct avm_page *page, uintptr_t mapping, uint64_t index)
{
	atomic_store_explicit(&page->index, index, memory_order_relaxed);
	atomic_store_explicit(&page->mapping, mapping, memory_order_release);
}

/* `to` takes the place of `from`, which nobody maps, if nobody else holds it. => both locked. */
static bool replace(struct avm *m, struct avm_page *from, struct avm_page *to)
{
	struct avm_file *file;

	if (avm_page_in_swap(from))
		return avm_swapcache_replace(m, from, to);
	if (avm_page_is_anon(from))
		return avm_page_refs(from) == 1;
	file = avm_page_file(from); /* NULL: truncated, and still held by somebody */
	return file && avm_file_replace_page(file, from, to);
}

/* => both locked and held; `from` isolated, `to` new. False: somebody keeps it, all is as before. */
static bool move(struct avm *m, struct avm_page *from, struct avm_page *to)
{
	struct avm_taken taken;

	if (avm_rmap_take(&taken, m, from))
		return false;
	avm_port_frame_copy(m, to->pfn, from->pfn);
	avm_page_set(to, avm_page_flags(from) & MOVED_FLAGS);
	/* What a merged page is hangs on one pointer to it: that moves last. */
	set_identity(to,
		     avm_page_is_merged(from) ?
			     0 :
			     atomic_load_explicit(&from->mapping, memory_order_relaxed),
		     atomic_load_explicit(&from->index, memory_order_relaxed));
	if (!replace(m, from, to)) {
		set_identity(to, 0, 0);
		avm_rmap_give(&taken, from);
		return false;
	}
	if (avm_page_is_merged(from))
		avm_merged_move(m, from, to);
	avm_rmap_give(&taken, to);
	/* Whoever waits for its lock finds that it is nothing any more; as a page does that is freed. */
	set_identity(from, 0, 0);
	avm_page_clear(from, MOVED_FLAGS | AVM_PG_UNEVICTABLE);
	return true;
}

/* Both locks by trylock: a stale fault may hold that of a new page for a moment. */
static bool lock_and_move(struct avm *m, struct avm_page *from, struct avm_page *to)
{
	bool moved = false;

	if (!avm_page_trylock(m, from)) {
		avm_count(m, AVM_EV_RACE_PAGE_LOCKED, 1);
		return false;
	}
	if (avm_page_trylock(m, to)) {
		moved = move(m, from, to);
		avm_page_unlock(m, to);
	}
	avm_page_unlock(m, from);
	return moved;
}

/* An isolated page. 0: it has gone to `to`, and both references with it. -EBUSY: nothing has changed. */
static int move_isolated(struct avm *m, struct avm_page *page, struct avm_page *to)
{
	if (!lock_and_move(m, page, to)) {
		avm_page_put(m, to);
		return -AVM_EBUSY;
	}
	avm_page_set(to, AVM_PG_ISOLATED);
	avm_lru_putback(m, to, AVM_PUTBACK_SAME);
	avm_page_clear(page, AVM_PG_ISOLATED);
	avm_page_put(m, page);
	avm_count(m, AVM_EV_MIGRATED, 1);
	return 0;
}

/* A frame that is not in the range. */
static struct avm_page *alloc_outside(struct avm *m, struct keep_out *range)
{
	struct avm_page *page;

	while ((page = avm_page_alloc(m, AVM_FRAME_USER)) && page->pfn - range->first < range->n)
		avm_list_add(&page->lru, &range->aside);
	return page;
}

/* As avm_migrate(). */
static int migrate(struct avm *m, struct avm_page *page, struct keep_out *range)
{
	uint32_t flags = avm_page_flags(page);
	struct avm_page *to;
	int err = -AVM_ENOMEM;

	if (!(flags & AVM_PG_INUSE) || (flags & (AVM_PG_TABLE | AVM_PG_ZERO | AVM_PG_POISONED)))
		return -AVM_ENOENT;
	if (!avm_lru_isolate_page(m, page))
		return -AVM_EBUSY;
	to = alloc_outside(m, range);
	if (to)
		err = move_isolated(m, page, to);
	if (err) {
		avm_lru_putback(m, page, AVM_PUTBACK_SAME);
		avm_count(m, AVM_EV_MIGRATE_FAILED, 1);
	}
	return err;
}

int avm_migrate(struct avm *m, avm_pfn_t pfn)
{
	struct avm_page *page = avm_page_of(m, pfn);
	struct keep_out nowhere = { 0 };

	avm_might_sleep(m);
	return page ? migrate(m, page, &nowhere) : -AVM_ENOENT;
}

/* ---- compaction --------------------------------------------------------------------------------- */

/* The part of a region that lies in the range: its first descriptor, and *n of them. */
static struct avm_page *part_of(const struct avm_region *r, const struct keep_out *range,
				uint64_t *n)
{
	uint64_t skip = range->first > r->first ? range->first - r->first : 0;
	uint64_t before = r->first > range->first ? r->first - range->first : 0;

	*n = 0;
	if (skip >= r->count || before >= range->n)
		return NULL;
	*n = r->count - skip < range->n - before ? r->count - skip : range->n - before;
	return &r->pages[skip];
}

/* 0 or -ENOMEM: no frame for the next page. *moved: how many there were before. */
static int move_out(struct avm *m, struct keep_out *range, uint64_t *moved)
{
	uint64_t n;

	for (const struct avm_region *r = avm_regions(m); r; r = r->next) {
		struct avm_page *page = part_of(r, range, &n);

		for (; n; n--, page++) {
			int err = migrate(m, page, range);

			if (err == -AVM_ENOMEM)
				return err;
			*moved += !err;
		}
	}
	return 0;
}

static uint64_t count_free(struct avm *m, const struct keep_out *range)
{
	uint64_t free = 0, n;

	for (const struct avm_region *r = avm_regions(m); r; r = r->next) {
		const struct avm_page *page = part_of(r, range, &n);

		for (; n; n--, page++)
			free += !avm_page_test(page, AVM_PG_INUSE);
	}
	return free;
}

int64_t avm_compact(struct avm *m, avm_pfn_t first, uint64_t n)
{
	struct keep_out range = { .first = first, .n = n };
	struct avm_page *page;
	uint64_t moved = 0;
	int err;

	avm_might_sleep(m);
	avm_list_init(&range.aside);
	err = move_out(m, &range, &moved);
	while ((page = avm_page_pop(&range.aside)))
		avm_page_put(m, page);
	return err && !moved ? err : (int64_t)count_free(m, &range);
}
