/* SPDX-License-Identifier: MIT */
/*
 * mmu_gather.h - taking translations away (R12): clear entries, gather pages and tables, flush, then free.
 *
 * Between the clearing and the freeing a page is off the map with its mapping still set. Nothing gathered is
 * freed before the flush of its range is complete.
 */
#ifndef AVM_MMU_GATHER_H
#define AVM_MMU_GATHER_H

#include "anonvm/mm.h"
#include "anonvm/page.h"
#include "error.h"

#define AVM_GATHER_BATCH 32

/* On the caller's stack. */
struct avm_gather {
	struct avm_mm *mm;
	avm_addr_t start, end; /* range to flush; empty when start >= end */
	unsigned nr;
	bool open; /* it has had something to free: counted in machine->gathers_open */
	struct avm_page *pages[AVM_GATHER_BATCH]; /* of an entry that has been cleared, each */
	struct avm_list tables; /* unlinked page tables, by page->lru */
};

void avm_gather_begin(struct avm_gather *g, struct avm_mm *mm);

/* A translation of addr has been cleared or made less permissive. */
static inline void avm_gather_flush_page(struct avm_gather *g, avm_addr_t addr, uint64_t page_size)
{
	if (addr < g->start)
		g->start = addr;
	if (addr + page_size > g->end)
		g->end = addr + page_size;
}

/*
 * An entry has been cleared that mapped the page, whose mapcount falls when it is flushed (R5.7). True: the batch is full, and
 * the caller must call avm_gather_flush() after it has dropped the table lock, before the next page.
 */
bool avm_gather_page(struct avm_gather *g, struct avm_page *page);
void avm_gather_table(struct avm_gather *g, struct avm_page *table);

/* Flushes the range; frees nothing yet. Callable under table locks. */
void avm_gather_flush_tlb(struct avm_gather *g);

/* Flushes the range and frees what was gathered; the gather goes on. No spin lock held. */
void avm_gather_flush(struct avm_gather *g);

/* The same, before VMAs leave their families: while a page counts as mapped, its family is alive (R6). */
static inline void avm_gather_settle(struct avm_gather *g)
{
	if (!AVM_FAST || g->nr)
		avm_gather_flush(g);
}

/* The same, and ends. */
void avm_gather_finish(struct avm_gather *g);

/* Flush at once, where nothing is to be freed: fork, mprotect, mremap, COW. Callable under table locks. */
void avm_tlb_flush(struct avm_mm *mm, avm_addr_t start, avm_addr_t end);

/*
 * Translation notifiers, around every change that takes something away or moves it. May sleep.
 * => mmap_lock, any mode.
 */
void avm_notify_start(struct avm_mm *mm, avm_addr_t start, avm_addr_t end);
void avm_notify_end(struct avm_mm *mm, avm_addr_t start, avm_addr_t end);

/*
 * The same for who has not the mmap_lock, but the lock of a tree that a VMA of the mm is in: nobody is added or
 * removed from the one call to the other. => no family lock.
 */
void avm_notify_start_rmap(struct avm_mm *mm, avm_addr_t start, avm_addr_t end);
void avm_notify_end_rmap(struct avm_mm *mm, avm_addr_t start, avm_addr_t end);

#endif
