/* SPDX-License-Identifier: MIT */
/* exit.h - the end of an address space, for exit, exec and a fork that failed. */
#ifndef AVM_EXIT_H
#define AVM_EXIT_H

#include "anonvm/mm.h"

/* Unmaps everything. => mmap_lock write. Cannot fail. */
void avm_mm_empty(struct avm_mm *mm);

/* Takes an empty address space out of the machine; release is not called. Nobody uses it any more. */
void avm_mm_destroy(struct avm_mm *mm);

/*
 * The address space behind `mm` (NULL: the first), held; puts `mm`. Those that are ending are left out; NULL: no more.
 * => no locks: the put may end an address space.
 */
struct avm_mm *avm_mm_get_next(struct avm *m, struct avm_mm *mm);

#endif
