/* SPDX-License-Identifier: MIT */
/* move.h - the entries of a range at mremap (R13.3). */
#ifndef AVM_MOVE_H
#define AVM_MOVE_H

#include "anonvm/mm.h"

/*
 * Makes every leaf table the move of [from, from + len) to `to` will need, which are those that answer to a leaf
 * table of the source: so the source VMA is locked before (avm_vma_lock), and no fault makes another.
 * 0, or -ENOMEM: tables made so far stay, empty, for avm_tables_free().
 * => mmap_lock write. Sleeps.
 */
int avm_move_reserve(struct avm_mm *mm, avm_addr_t from, avm_addr_t to, uint64_t len);

/*
 * Moves the entries of [from, from + len) of old_vma to `to` in new_vma, holding the locks of the trees that
 * reverse walks take, so that a walker sees a page at one place or the other. Flushes before the table locks
 * are dropped. Tables have been reserved: cannot fail. Notifiers, and the tables left empty, are the caller's.
 * => mmap_lock write.
 */
void avm_move_range(struct avm_vma *old_vma, avm_addr_t from, struct avm_vma *new_vma,
		    avm_addr_t to, uint64_t len);

#endif
