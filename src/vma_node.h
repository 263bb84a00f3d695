/* SPDX-License-Identifier: MIT */
/* The nodes of the VMA tree, for vma_tree.c and its checker only. vma_tree.h explains the design. */
#ifndef AVM_VMA_NODE_H
#define AVM_VMA_NODE_H

#include "error.h"
#include "vma_tree.h"

#define AVM_VMA_NODE_SLOTS 21
/* Every node but the root has at least this many; after it, a quarter full, it looks for a partner. */
#define AVM_VMA_NODE_MIN 5
#define AVM_VMA_NODE_MAGIC 0x564d4121u

struct avm_vma_node {
	uint32_t magic;
	uint16_t level; /* 0: a leaf. Never changes while anybody can see the node. */
	uint16_t count;
	_Atomic uint64_t end[AVM_VMA_NODE_SLOTS]; /* ascending; UINT64_MAX from count on */
	uint64_t gap[AVM_VMA_NODE_SLOTS];
	void *_Atomic
		slot[AVM_VMA_NODE_SLOTS]; /* struct avm_vma or avm_vma_node; NULL from count on */
};

_Static_assert(sizeof(struct avm_vma_node) <= AVM_VMA_NODE_BYTES, "a node fits its allocation");

/*
 * Ends and slots are read by lookups that hold no lock. A slot is published with release, for what
 * it points to; that an end and its slot are seen together is not promised (vma_tree.h).
 */
static inline uint64_t avm_vma_node_end(const struct avm_vma_node *node, uint32_t i)
{
	return atomic_load_explicit(&node->end[i], memory_order_relaxed);
}

/* G-G */
static inline void *avm_vma_node_slot(const struct avm_vma_node *node, uint32_t i)
{
	return atomic_load_explicit(&node->slot[i], memory_order_acquire);
}

/* G-G */
static inline struct avm_vma_node *avm_vma_tree_root(const struct avm_vma_tree *tree)
{
	return atomic_load_explicit(&tree->root, memory_order_acquire);
}

static inline uint64_t avm_vma_node_last_end(const struct avm_vma_node *node)
{
	return avm_vma_node_end(node, node->count - 1u);
}

inline uint64_t avm_vma_node_max_gap(const struct avm_vma_node *node)
{
	uint64_t max = 0;

	for (uint32_t i = 0; i < node->count; i++)
		max = node->gap[i] > max ? node->gap[i] : max;
	return max;
}

/* How many of the entries from @i on, up to @n, end at or below @addr. */
static inline uint32_t avm_vma_node_below(const struct avm_vma_node *node, uint32_t i, uint32_t n,
					  avm_addr_t addr)
{
	uint32_t below = 0;

	for (uint32_t end = i + n; i < end; i++)
		below += avm_vma_node_end(node, i) <= addr;
	return below;
}

static inline uint32_t avm_vma_node_is_below(const struct avm_vma_node *node, uint32_t i,
					     avm_addr_t addr)
{
	return avm_vma_node_end(node, i) <= addr;
}

/*
 * The first entry that ends above @addr; AVM_VMA_NODE_SLOTS or an unused one when there is none. Without branches, which
 * nobody could predict: which third it is in, then where in that.
 */
static inline uint32_t avm_vma_node_search(const struct avm_vma_node *node, avm_addr_t addr)
{
	const uint32_t third = AVM_VMA_NODE_SLOTS / 3;
	uint32_t i;

	_Static_assert(AVM_VMA_NODE_SLOTS == 21, "three times seven");
	if (!AVM_FAST)
		return avm_vma_node_below(node, 0, AVM_VMA_NODE_SLOTS, addr);
	__builtin_prefetch(&node->end[AVM_VMA_NODE_SLOTS - 1]);
	i = third * (avm_vma_node_is_below(node, third - 1, addr) +
		     avm_vma_node_is_below(node, 2 * third - 1, addr));
	return i + avm_vma_node_is_below(node, i, addr) + avm_vma_node_is_below(node, i + 1, addr) +
	       avm_vma_node_is_below(node, i + 2, addr) + avm_vma_node_is_below(node, i + 3, addr) +
	       avm_vma_node_is_below(node, i + 4, addr) + avm_vma_node_is_below(node, i + 5, addr) +
	       avm_vma_node_is_below(node, i + 6, addr);
}

/* The same, but the last one when there is none. */
static inline uint32_t avm_vma_node_search_clamped(const struct avm_vma_node *node, avm_addr_t addr)
{
	if (avm_vma_node_last_end(node) <= addr)
		return node->count - 1u;
	return avm_vma_node_search(node, addr);
}

/* What is free for the taking between @floor, the end of the VMA before, and @start. */
inline uint64_t avm_vma_tree_gap(const struct avm_vma_tree *tree, avm_addr_t floor,
				 avm_addr_t start, uint64_t flags)
{
	uint64_t room = start - floor;

	if (!(flags & tree->guard_flags))
		return room;
	return room > tree->guard ? room - tree->guard : 0;
}

#endif
