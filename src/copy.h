/* SPDX-License-Identifier: MIT */
/* copy.h - the entries of a VMA at fork (R9.1). */
#ifndef AVM_COPY_H
#define AVM_COPY_H

#include "anonvm/mm.h"

struct avm_copy_pair {
	struct avm_vma *child, *parent;
};

/*
 * Copies the entries of each parent into the same range of its child. All are of the same two address spaces, and go
 * faster in the order of their addresses. Private pages become read-only and not exclusive in both; the caller flushes the
 * parent afterwards, whatever the result.
 * 0 or -ENOMEM: entries copied so far are in the child, to be zapped by the caller.
 * => mmap_lock write of both; the families are set up. One pair at least.
 */
int avm_copy_entries(const struct avm_copy_pair *pairs, unsigned nr);

/* Does this VMA need its entries copied, or will faults bring them back? */
bool avm_copy_needed(const struct avm_vma *parent);

#endif
