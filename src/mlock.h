/* SPDX-License-Identifier: MIT */
/* mlock.h - the pages of locked VMAs, for the operations that make or change such VMAs. */
#ifndef AVM_MLOCK_H
#define AVM_MLOCK_H

#include "anonvm/mm.h"

/* Bare frames, and what a driver keeps in shape: asking to lock them does nothing. */
#define AVM_NEVER_LOCKED (AVM_VM_SPECIAL | AVM_VM_DONTEXPAND)

enum avm_mlock_errors {
	AVM_MLOCK_GO_ON, /* the caller has only promised to try */
	AVM_MLOCK_STOP,
};

/*
 * Faults in what lies of [start, end) in locked VMAs, those that lock on fault excepted. 0, or the
 * first error, as avm_populate() has it. => no lock held. Sleeps.
 */
int avm_mlock_populate(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
		       enum avm_mlock_errors errors);

/*
 * The pages of those VMAs of the range that are what `state` says (AVM_VM_LOCKED, or 0) become so
 * themselves. The other VMAs' are not looked at: somebody else may have locked them. => mmap_lock,
 * any mode.
 */
void avm_mlock_mark(struct avm_mm *mm, avm_addr_t start, avm_addr_t end, uint64_t state);

/*
 * [start, end) of a VMA is about to be unmapped: if the VMA is locked, its pages are no longer so on
 * its account. => mmap_lock write.
 */
void avm_mlock_release(struct avm_vma *vma, avm_addr_t start, avm_addr_t end);

#endif
