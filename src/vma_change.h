/* SPDX-License-Identifier: MIT */
/* vma_change.h - what vma.c has for vma_modify.c: may ranges merge, and the changes of the set. */
#ifndef AVM_VMA_CHANGE_H
#define AVM_VMA_CHANGE_H

#include "vma.h"

/* R2, of a range and a VMA that touches it, below or above. AVM_NR_REFUSALS: nothing in the way. */
enum avm_refusal avm_merge_refusal(const struct avm_range *r, const struct avm_vma *vma);

enum avm_merge {
	AVM_MERGE_NONE,
	AVM_MERGE_PREV, /* the VMA below takes the range */
	AVM_MERGE_NEXT, /* the VMA above takes the range */
	AVM_MERGE_BOTH, /* the VMA below takes the range and the VMA above */
};

/*
 * What the range merges with of `prev`, the VMA before it, and `next`, the one behind it, or NULL. `self`: the VMA that
 * holds the range today and would disappear if the range is all of it, or NULL. Counts refusals and tells the observer.
 * Changes nothing.
 */
enum avm_merge avm_merge_plan(struct avm_mm *mm, const struct avm_range *r,
			      const struct avm_vma *prev, const struct avm_vma *next,
			      const struct avm_vma *self);

/*
 * [start, end), a part of `vma` or (NULL) free, goes to its neighbours, by plan. Cannot fail. Returns the VMA that
 * has it then.
 */
struct avm_vma *avm_vma_give_away(struct avm_pool *pool, struct avm_vma *vma,
				  const struct avm_range *r, enum avm_merge plan,
				  struct avm_vma *prev, struct avm_vma *next);

/* Makes [start, end), a part of the VMA, one of its own, which is returned. Needs the pool of as many splits. Cannot fail. */
struct avm_vma *avm_vma_carve(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t start,
			      avm_addr_t end);

#endif
