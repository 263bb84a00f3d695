/* SPDX-License-Identifier: MIT */
/* copy.h - the entries of a VMA at fork (R9.1). */
#ifndef AVM_COPY_H
#define AVM_COPY_H

#include "anonvm/mm.h"

/*
 * Copies the entries of `parent` into the same range of `child`. Private pages become read-only and not
 * exclusive in both; the caller flushes the parent afterwards, whatever the result.
 * 0 or -ENOMEM: entries copied so far are in the child, to be zapped by the caller.
 * => mmap_lock write of both; both families are set up.
 */
int avm_copy_range(struct avm_vma *child, struct avm_vma *parent);

/* Does this VMA need its entries copied, or will faults bring them back? */
bool avm_copy_needed(const struct avm_vma *parent);

#endif
