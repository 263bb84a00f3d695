/* SPDX-License-Identifier: MIT */
/* page.c - life of a frame's descriptor (page.h). */
#include "page.h"

#include "frame.h"
#include "list.h"
#include "lock.h"
#include "lru.h"

#ifndef AVM_PORT_FRAME_OPS
extern inline void avm_port_frame_clear(struct avm *m, avm_pfn_t pfn);
extern inline void avm_port_frame_copy(struct avm *m, avm_pfn_t to, avm_pfn_t from);
extern inline void avm_port_frame_read(struct avm *m, avm_pfn_t pfn, size_t offset, void *buf,
				       size_t len);
extern inline void avm_port_frame_write(struct avm *m, avm_pfn_t pfn, size_t offset,
					const void *buf, size_t len);
#endif

/*
 * AVM_PFN_NONE: the port has none, which reclaim may mend (R8.7), or a test wants a failure that nothing mends.
 */
static avm_pfn_t frame_alloc(struct avm *m, enum avm_frame_use use)
{
	avm_pfn_t pfn;

#ifdef AVM_PORT_FAIL
	if (AVM_PORT_FAIL(m))
		return AVM_PFN_NONE;
#endif
	pfn = avm_port_frame_alloc(m, use);
	if (pfn == AVM_PFN_NONE)
		atomic_fetch_add_explicit(&m->frames_refused, 1, memory_order_relaxed);
	return pfn;
}

/* To look at all the CPUs' counters costs a miss for each. */
#define WATCH_EVERY 16u

/*
 * Wakes who reclaims in the background (avm_balance) when frames run low; a hint, so counters may be stale, and one of
 * several CPUs looks now and then only.
 */
static void watch_level(struct avm *m, const struct avm_cpu *cpu)
{
	uint64_t used, total = atomic_load_explicit(&m->frames_total, memory_order_relaxed);

	if (!m->config.low_frames || !total)
		return;
	if (avm_cpus(m) > 1 &&
	    atomic_load_explicit(&cpu->frames_used, memory_order_relaxed) % WATCH_EVERY)
		return;
	used = avm_cpu_sum(m, &m->cpus[0].frames_used);
	if (used + m->config.low_frames < total ||
	    atomic_exchange_explicit(&m->pressure, 1, memory_order_relaxed))
		return;
	avm_word_wake(m, &m->pressure);
}

static struct avm_page *page_new(struct avm *m, enum avm_frame_use use, uint32_t flags,
				 uint32_t refs)
{
	struct avm_page *page;
	struct avm_cpu *cpu;
	avm_pfn_t pfn;

	avm_might_reclaim(m);
	pfn = frame_alloc(m, use);
	if (pfn == AVM_PFN_NONE)
		return NULL;
	/* Not before: the port may have slept, and who sleeps may wake up on another CPU. */
	cpu = avm_this_cpu(m);
	watch_level(m, cpu);
	page = avm_page_of(m, pfn);
	AVM_BUG_ON(m, !page);
	AVM_BUG_ON(m, avm_page_flags(page));
	AVM_BUG_ON(m, avm_page_refs(page));

	flags |= (uint32_t)(cpu - m->cpus) << AVM_PG_CPU_SHIFT;
	page->u.swap = 0;
	if (use == AVM_FRAME_TABLE) {
		page->u.table.level = 0;
		page->u.table.used = 0;
		flags |= AVM_PG_TABLE;
		avm_local_add(&cpu->tables_used, 1);
	}
	/* Without a reference it is nobody's, and nobody changes a flag beside us. */
	atomic_store_explicit(&page->flags, flags, memory_order_relaxed);
	avm_local_add(&cpu->frames_used, 1);
	/* A stale reader that gets a reference from here on sees a page that is whole (G-D). */
	atomic_store_explicit(&page->refcount, refs, memory_order_release);
	return page;
}

struct avm_page *avm_page_alloc(struct avm *m, enum avm_frame_use use)
{
	return page_new(m, use, AVM_PG_INUSE, 1);
}

struct avm_page *avm_page_alloc_exclusive(struct avm *m)
{
	return page_new(m, AVM_FRAME_USER, AVM_PG_INUSE | AVM_PG_SWAPBACKED, !AVM_FAST);
}

struct avm_page *avm_page_pop(struct avm_list *list)
{
	struct avm_page *page = avm_list_first_or_null(list, struct avm_page, lru);

	if (page)
		avm_list_del(&page->lru);
	return page;
}

/* Acquire, if there is one (G-D, G-W). */
bool avm_page_tryget(struct avm_page *page)
{
	return avm_ref_tryget(&page->refcount);
}

/* R5.5: from here on the page is nobody's. */
static void give_up_mapping(struct avm *m, struct avm_page *page)
{
	if (avm_page_is_merged(page))
		m->merged_release(m, page);
	else if (avm_page_is_anon(page) && m->page_release)
		m->page_release(m, page);
	atomic_store_explicit(&page->mapping, 0, memory_order_relaxed);
	atomic_store_explicit(&page->index, 0, memory_order_relaxed);
}

static void page_free(struct avm *m, struct avm_page *page)
{
	struct avm_cpu *cpu = avm_this_cpu(m);
	uint32_t flags = avm_page_flags(page);

	AVM_BUG_ON(m, !(flags & AVM_PG_INUSE));
	AVM_BUG_ON(m, flags & (AVM_PG_LOCKED | AVM_PG_ISOLATED | AVM_PG_POISONED));
	AVM_BUG_ON(m, avm_page_mapped(page));
	AVM_BUG_ON(m, atomic_load_explicit(&page->pins, memory_order_relaxed)); /* or table_lock */
	avm_lru_del(m, page);
	if (flags & AVM_PG_TABLE)
		avm_local_add(&cpu->tables_used, -UINT64_C(1));
	avm_local_add(&cpu->frames_used, -UINT64_C(1));
	give_up_mapping(m, page);
	page->u.swap = 0;
	atomic_store_explicit(&page->flags, 0, memory_order_relaxed);
	avm_port_frame_free(m, page->pfn);
}

bool avm_page_unmapped(struct avm *m, struct avm_page *page)
{
	/* Asked while it is mapped: an anonymous page may be gone a moment after. */
	bool has_own = !avm_page_is_anon(page);
	uint32_t before = 1;

	if (avm_page_is_exclusive(page))
		atomic_store_explicit(&page->mapcount, 0, memory_order_release);
	else
		before = atomic_fetch_sub_explicit(&page->mapcount, 1, memory_order_release);
	AVM_BUG_ON(m, !before);
	if (before > 1)
		return has_own;
	/* What the others did by their entries comes before the end that the caller brings about (G-E). */
	atomic_thread_fence(memory_order_acquire);
	return true;
}

void avm_page_retire(struct avm *m, struct avm_page *page)
{
	uint32_t keep = AVM_PG_INUSE | AVM_PG_LOCKED | AVM_PG_WAITERS | AVM_PG_SWAPCACHE;

	give_up_mapping(m, page);
	avm_page_set(page, AVM_PG_POISONED);
	avm_page_clear(page, AVM_PG_FLAGS & ~(keep | AVM_PG_POISONED));
	atomic_fetch_add_explicit(&m->frames_poisoned, 1, memory_order_relaxed);
}

void avm_page_put_one(struct avm *m, struct avm_page *page)
{
	uint32_t refs =
		atomic_fetch_sub_explicit(&page->refcount, 1, memory_order_release); /* G-E */

	AVM_BUG_ON(m, refs < 2);
}

void avm_page_unmap_held(struct avm *m, struct avm_page *page)
{
	if (avm_page_unmapped(m, page))
		avm_page_put_one(m, page);
}

void avm_page_put(struct avm *m, struct avm_page *page)
{
	uint32_t refs = atomic_fetch_sub_explicit(&page->refcount, 1, memory_order_release);

	AVM_BUG_ON(m, !refs);
	if (refs > 1)
		return;
	/* Everything the other holders did to the page comes before its end (G-E); who had an entry has emptied it (G-W). */
	atomic_thread_fence(memory_order_acquire);
	page_free(m, page);
}

#if AVM_FAST

void avm_page_leave(struct avm *m, struct avm_page *page)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && ATOMIC_LLONG_LOCK_FREE == 2
	/* Neither borrows from the other: both are there. Most often others map the page, and that was all. */
	uint64_t before = atomic_fetch_sub_explicit(&page->counts, (UINT64_C(1) << 32) + 1,
						    memory_order_release);
	uint32_t refs = (uint32_t)before, mapped = (uint32_t)(before >> 32);

	AVM_BUG_ON(m, !mapped || refs < 2);
	if (mapped > 1)
		return;
	atomic_thread_fence(memory_order_acquire); /* G-E */
#else
	avm_page_unmap_held(m, page);
#endif
	avm_page_put(m, page);
}

#endif

struct avm_page *avm_page_of(const struct avm *m, avm_pfn_t pfn)
{
	for (const struct avm_region *r = avm_regions(m); r; r = r->next) {
		if (pfn - r->first < r->count)
			return &r->pages[pfn - r->first];
	}
	return NULL;
}
