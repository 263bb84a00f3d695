/* SPDX-License-Identifier: MIT */
/*
 * munmap.h - taking ranges away, for the operations that do so on their way (mmap FIXED, mremap, brk).
 *
 * => mmap_lock write in all of these. The range is page-aligned, not empty, and within the address space.
 */
#ifndef AVM_MUNMAP_H
#define AVM_MUNMAP_H

#include "vma.h"

/*
 * Whatever avm_unmap_commit() may need is in the pool afterwards: one VMA when the range is a hole in the middle of
 * one. 0, or -ENOMEM (no memory, or the limit of VMAs). Changes nothing in the address space.
 */
int avm_unmap_reserve(struct avm_pool *pool, avm_addr_t start, avm_addr_t end);

/* Unmaps the range, holes included; gives back commit and locked pages. Cannot fail. */
void avm_unmap_commit(struct avm_pool *pool, avm_addr_t start, avm_addr_t end);

/*
 * The same, but the page tables of the range stay, empty or not: for who has reserved them for what comes next
 * (mremap FIXED).
 */
void avm_unmap_commit_keep_tables(struct avm_pool *pool, avm_addr_t start, avm_addr_t end);

/* Frees the tables of the range that no VMA can reach: what a reservation that was not used has left. */
void avm_tables_trim(struct avm_mm *mm, avm_addr_t start, avm_addr_t end);

/* avm_unmap_reserve() and avm_unmap_commit(). 0 or -ENOMEM with nothing changed. */
int avm_unmap_range(struct avm_mm *mm, avm_addr_t start, avm_addr_t end);

#endif
