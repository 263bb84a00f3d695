/* SPDX-License-Identifier: MIT */
/*
 * page.h - life of a frame's descriptor: allocation, references, flags. Nothing here reclaims (R8.7).
 */
#ifndef AVM_PAGE_INTERNAL_H
#define AVM_PAGE_INTERNAL_H

#include "anonvm/machine.h"
#include "avm_port.h"
#include "percpu.h"
#include "error.h"

/* The list of regions is read without a lock: one store publishes a region that is complete (G-N). */
static inline struct avm_region *avm_regions(const struct avm *m)
{
	return atomic_load_explicit((struct avm_region *const _Atomic *)&m->regions,
				    memory_order_acquire);
}

/*
 * A frame with one reference, no mapping, no flags but INUSE (and TABLE for a table); NULL when the port has
 * none. Contents undefined. Counts as an allocation that may wait (order 3b).
 */
struct avm_page *avm_page_alloc(struct avm *m, enum avm_frame_use use);

/*
 * The same for a page that will be one process's alone: its kind is known from birth. Where AVM_FAST says so it comes without a
 * reference, and gets it from avm_page_first_ref() when it is mapped: until then nobody else can get one, from however
 * stale a pointer, and its flags are changed by plain stores.
 */
struct avm_page *avm_page_alloc_exclusive(struct avm *m);

/* G-D */
AVM_ONE_STEP void avm_page_first_ref(struct avm_page *page)
{
	atomic_store_explicit(&page->refcount, 1, memory_order_release);
}

AVM_ONE_STEP void avm_page_get(struct avm_page *page)
{
	atomic_fetch_add_explicit(&page->refcount, 1, memory_order_relaxed);
}

/* Not from zero: false when the page is being freed. */
bool avm_page_tryget(struct avm_page *page);

/* The last one takes the page off the LRU, clears its mapping (R5.5) and gives the frame to the port. */
void avm_page_put(struct avm *m, struct avm_page *page);

/*
 * The frame has gone bad: it is never free again, and the machine keeps the caller's reference. => page locked, not
 * mapped, on no list; in no cache but perhaps the swap cache.
 */
void avm_page_retire(struct avm *m, struct avm_page *page);

/* The same for who has another reference on the page: never the last, so nothing follows. */
void avm_page_put_one(struct avm *m, struct avm_page *page);

AVM_ONE_STEP uint32_t avm_page_flags(const struct avm_page *page)
{
	uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);

	return AVM_NR_CPUS > 1 ? flags & AVM_PG_FLAGS : flags;
}

/* The CPU on whose LRU lists it is, if on any. => it is not free. */
AVM_ONE_STEP unsigned avm_page_cpu(const struct avm_page *page)
{
	return AVM_NR_CPUS > 1 ? atomic_load_explicit(&page->flags, memory_order_relaxed) >>
					 AVM_PG_CPU_SHIFT :
				 0;
}

AVM_ONE_STEP bool avm_page_test(const struct avm_page *page, uint32_t flag)
{
	return avm_page_flags(page) & flag;
}

/* Sets, clears flags; true when any of them was set before. */
AVM_ONE_STEP bool avm_page_set(struct avm_page *page, uint32_t flags)
{
	return atomic_fetch_or_explicit(&page->flags, flags, memory_order_relaxed) & flags;
}

AVM_ONE_STEP bool avm_page_clear(struct avm_page *page, uint32_t flags)
{
	return atomic_fetch_and_explicit(&page->flags, ~flags, memory_order_relaxed) & flags;
}

AVM_ONE_STEP uint32_t avm_page_refs(const struct avm_page *page)
{
	return atomic_load_explicit(&page->refcount, memory_order_acquire);
}

AVM_ONE_STEP uint32_t avm_page_mapcount(const struct avm_page *page)
{
	return atomic_load_explicit(&page->mapcount, memory_order_acquire) & AVM_MAPCOUNT;
}

/* Does any entry map it? (Nothing is exclusive that is not mapped.) */
AVM_ONE_STEP bool avm_page_mapped(const struct avm_page *page)
{
	return atomic_load_explicit(&page->mapcount, memory_order_acquire);
}

/* By one entry alone? Shifted out: whether it is exclusive. */
AVM_ONE_STEP bool avm_page_mapped_once(const struct avm_page *page)
{
	return atomic_load_explicit(&page->mapcount, memory_order_acquire) << 1 == 2;
}

/*
 * R5.6: anonymous, mapped by one entry, and to be seen by nobody else. It begins and ends, as the count changes, by plain
 * stores of who holds the lock of that entry's table, or has emptied the entry.
 */
AVM_ONE_STEP bool avm_page_is_exclusive(const struct avm_page *page)
{
	return atomic_load_explicit(&page->mapcount, memory_order_relaxed) & AVM_MAPCOUNT_EXCLUSIVE;
}

AVM_ONE_STEP void avm_page_set_exclusive(struct avm_page *page)
{
	atomic_store_explicit(&page->mapcount, AVM_MAPCOUNT_EXCLUSIVE | 1, memory_order_release);
}

/* It was that; from now on `entries` map it, and any number may. G-A: who sees the new count sees the old placing, too. */
AVM_ONE_STEP void avm_page_end_exclusive(struct avm_page *page, uint32_t entries)
{
	atomic_store_explicit(&page->mapcount, entries, memory_order_release);
}

/* Acquire: what was done through a pin, and the flags that say so, come before "none" (avm_unpin, G-P). */
AVM_ONE_STEP bool avm_page_pinned(const struct avm_page *page)
{
	return atomic_load_explicit(&page->pins, memory_order_acquire);
}

AVM_ONE_STEP bool avm_page_is_anon(const struct avm_page *page)
{
	return atomic_load_explicit(&page->mapping, memory_order_relaxed) & AVM_MAPPING_ANON;
}

/* Same-page merged (R15): anonymous, and everybody's. */
AVM_ONE_STEP bool avm_page_is_merged(const struct avm_page *page)
{
	return atomic_load_explicit(&page->mapping, memory_order_relaxed) & AVM_MAPPING_MERGED;
}

/* The file of a page-cache page (NULL when it has none, or has been truncated). Not for anonymous pages. */
AVM_ONE_STEP struct avm_file *avm_page_file(const struct avm_page *page)
{
	return (struct avm_file *)atomic_load_explicit(&page->mapping, memory_order_relaxed);
}

/*
 * An entry has been cleared, and no translation is left of it: mapcount falls. mapping stays (R5.5). True: a reference is
 * the caller's to drop, that of this entry of a page of a file, or what the entries of an anonymous page have had together,
 * of which this was the last.
 */
bool avm_page_unmapped(struct avm *m, struct avm_page *page);

/* The same, with that reference dropped, for who has another on the page. */
void avm_page_unmap_held(struct avm *m, struct avm_page *page);

/*
 * avm_page_unmapped() and avm_page_put() of who holds the anonymous page besides, in one atomic operation where the host has
 * it: what most copies end with. Only where AVM_FAST says so.
 */
void avm_page_leave(struct avm *m, struct avm_page *page);

/* Takes the first page off a list by page->lru that is the caller's; NULL: it is empty. */
struct avm_page *avm_page_pop(struct avm_list *list);

#endif
