/* SPDX-License-Identifier: MIT */
/* The nodes of the radix tree, for radix.c and its checker only. */
#ifndef AVM_RADIX_NODE_H
#define AVM_RADIX_NODE_H

#include "bitmap.h"
#include "radix.h"

enum {
	AVM_RADIX_BITS = 6,
	AVM_RADIX_FANOUT = 1 << AVM_RADIX_BITS,
	AVM_RADIX_MAX_HEIGHT = (64 + AVM_RADIX_BITS - 1) / AVM_RADIX_BITS,
};

struct avm_radix_node {
	uint64_t used; /* bit i: slot[i] is not NULL */
	uint32_t level;
	uint32_t spare;
	void *slot[AVM_RADIX_FANOUT];
};

_Static_assert(sizeof(struct avm_radix_node) <= AVM_RADIX_NODE_BYTES, "a node fits its allocation");

/* The first used slot at or after @from, or AVM_RADIX_FANOUT. */
static inline uint32_t avm_rnode_next(const struct avm_radix_node *node, uint32_t from)
{
	uint64_t used = from < AVM_RADIX_FANOUT ? node->used & ~UINT64_C(0) << from : 0;

	return used ? avm_word_first(used) : AVM_RADIX_FANOUT;
}

#endif
