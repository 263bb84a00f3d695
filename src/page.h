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
 * The same for a page that will be one process's alone (R5.6): it has that flag from birth, and its kind. Neither costs
 * anything then.
 */
struct avm_page *avm_page_alloc_exclusive(struct avm *m);

AVM_ONE_STEP void avm_page_get(struct avm_page *page)
{
	atomic_fetch_add_explicit(&page->refcount, 1, memory_order_relaxed);
}

/*
 * One more reference, and no longer exclusive: what fork does to most pages, in one atomic operation where the host
 * has it (a quarter of the cost of fork). No bit is borrowed from a neighbour, since AVM_PG_EXCLUSIVE is set.
 * => AVM_PG_EXCLUSIVE is set, and the lock of the one entry that maps the page is held.
 */
static inline void avm_page_get_shared(struct avm_page *page)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && ATOMIC_LLONG_LOCK_FREE == 2
	atomic_fetch_add_explicit(&page->flags_refcount, (1ull << 32) - AVM_PG_EXCLUSIVE,
				  memory_order_relaxed);
#else
	atomic_fetch_and_explicit(&page->flags, ~(uint32_t)AVM_PG_EXCLUSIVE, memory_order_relaxed);
	avm_page_get(page);
#endif
}

/* Not from zero: false when the page is being freed. */
bool avm_page_tryget(struct avm_page *page);

/* The last one takes the page off the LRU, clears its mapping (R5.5) and gives the frame to the port. */
void avm_page_put(struct avm *m, struct avm_page *page);

/* `n` references at once. */
void avm_page_put_refs(struct avm *m, struct avm_page *page, uint32_t n);

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
	return atomic_load_explicit(&page->mapcount, memory_order_acquire);
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

/* Takes the first page off a list by page->lru that is the caller's; NULL: it is empty. */
struct avm_page *avm_page_pop(struct avm_list *list);

#endif
