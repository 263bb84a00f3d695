/* SPDX-License-Identifier: MIT */
/* pageout.h - advice about pages that are not wanted for a while, or not at all (R13.2). */
#ifndef AVM_PAGEOUT_H
#define AVM_PAGEOUT_H

#include "anonvm/mm.h"
#include "anonvm/types.h"

/*
 * FREE: what is private and this address space's alone may lose its content until the next write; entries in swap lose
 * it now. COLD: the pages are the next to go. PAGEOUT: they go now. Pages that others map, too, are left alone.
 * => mmap_lock read; [start, end) lies in the VMA, which is neither locked nor special. Sleeps.
 */
void avm_advise_free(struct avm_vma *vma, avm_addr_t start, avm_addr_t end);
void avm_advise_away(struct avm_vma *vma, avm_addr_t start, avm_addr_t end, enum avm_advice advice);

#endif
