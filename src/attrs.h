/* SPDX-License-Identifier: MIT */
/*
 * attrs.h - giving the VMAs of a range other flags, names or policies (R2.5), for madvise, mlock
 * and the like.
 */
#ifndef AVM_ATTRS_H
#define AVM_ATTRS_H

#include "vma.h"

/*
 * One change, as a question put to each VMA of the range. `decide` gets the attributes the VMA has
 * and writes the ones it is to have; leaving them as they are leaves the VMA alone. A negative
 * errno ends the walk there.
 */
struct avm_attrs_change {
	int (*decide)(const struct avm_attrs_change *change, const struct avm_vma *vma,
		      struct avm_vma_attrs *attrs);
	uint64_t set, clear; /* flags, for who needs no more than that */
	uint32_t id; /* name, policy */
	enum avm_attrs_holes {
		AVM_HOLES_SKIP, /* the rest is done, -ENOMEM at the end */
		AVM_HOLES_STOP, /* -ENOMEM there and then */
	} holes;
};

/* A `decide` that clears and sets flags of every VMA. */
int avm_attrs_flags(const struct avm_attrs_change *change, const struct avm_vma *vma,
		    struct avm_vma_attrs *attrs);

/*
 * Applies the change to [start, end). 0; `no_memory` with nothing changed (memory, or the limit of
 * VMAs); -ENOMEM for a hole; or what decide() said, with everything before it done.
 * => mmap_lock write.
 */
int avm_attrs_apply(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
		    const struct avm_attrs_change *change, int no_memory);

#endif
