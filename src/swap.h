/* SPDX-License-Identifier: MIT */
/* swap.h - from a slot back into an address space (R8.4, R5.3). */
#ifndef AVM_SWAP_H
#define AVM_SWAP_H

#include "pgtable.h"
#include "swap_slot.h"

/*
 * Brings back the page of `entry`, a swap entry that the cursor's place held a moment ago, and maps it there: writable
 * for who may write if it is known to be the VMA's alone (for a write, whoever can be counted out is), else read-only.
 * 0: it was in memory; 1: it was read. -EAGAIN: the entry is another by now, nothing done; -ENOMEM, -EIO, -EINTR.
 * => mmap_lock; table not locked, no file, family or spin lock held. Sleeps.
 */
int avm_swap_in(struct avm_vma *vma, struct avm_ptc *c, avm_pte_t entry, enum avm_access access);

#endif
