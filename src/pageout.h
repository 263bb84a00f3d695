/* SPDX-License-Identifier: MIT */
/* pageout.h - advice about pages that are not wanted for a while, or not at all (R13.2). */
#ifndef AVM_PAGEOUT_H
#define AVM_PAGEOUT_H

#include "anonvm/mm.h"
#include "anonvm/types.h"

/*
 * FREE: what is private may lose its content until the next write, as far as this address space is concerned; entries
 * in swap lose it now. COLD: the pages are the next to go. PAGEOUT: they go now. These two leave alone what others map.
 * => mmap_lock read; [start, end) lies in the VMA, which is neither locked nor special. Sleeps.
 */
void avm_advise_pages(struct avm_vma *vma, avm_addr_t start, avm_addr_t end,
		      enum avm_advice advice);

#endif
