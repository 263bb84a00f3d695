/* SPDX-License-Identifier: MIT */
/* mmap.h - adding a mapping, for mmap, brk and exec. */
#ifndef AVM_MMAP_H
#define AVM_MMAP_H

#include "vma.h"

/*
 * Makes [r->start, r->end) a mapping with the range's attributes, instead of whatever is there: limits, commit (which
 * puts ACCOUNT into r->flags), merging (R2), accounting. r->anon_vma is NULL. A reference on r->file is taken if
 * the range becomes a VMA of its own. 0, or -ENOMEM with nothing changed.
 * => mmap_lock write.
 */
int avm_map_range(struct avm_mm *mm, struct avm_range *r);

#endif
