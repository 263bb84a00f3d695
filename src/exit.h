/* SPDX-License-Identifier: MIT */
/* exit.h - the end of an address space, for exit, exec and a fork that failed. */
#ifndef AVM_EXIT_H
#define AVM_EXIT_H

#include "anonvm/mm.h"

/* Unmaps everything. => mmap_lock write. Cannot fail. */
void avm_mm_empty(struct avm_mm *mm);

/* Takes an empty address space out of the machine; release is not called. Nobody uses it any more. */
void avm_mm_destroy(struct avm_mm *mm);

#endif
