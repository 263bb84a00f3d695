/* SPDX-License-Identifier: MIT */
/* The nodes of the VMA tree, for vma_tree.c and its checker only. vma_tree.h explains the design. */
#ifndef AVM_VMA_NODE_H
#define AVM_VMA_NODE_H

#include "error.h"
#include "vma_tree.h"

_Static_assert(sizeof(_Atomic uint64_t) == sizeof(uint64_t),
	       "who has the lock reads an end as what it is");

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
static inline uint64_t avm_vma_node_end(const struct avm_vma_node *node, size_t i)
{
	return atomic_load_explicit(&node->end[i], memory_order_relaxed);
}

/* G-G */
static inline void *avm_vma_node_slot(const struct avm_vma_node *node, size_t i)
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

/* Who looks: with the lock that changes are made under nobody else stores, and a plain load will do, which compares at once. */
enum avm_vma_look {
	AVM_VMA_LOOK_RCU,
	AVM_VMA_LOOK_LOCKED,
};

/* Does the entry end at or below @addr? */
static avm_inlined uint64_t avm_vma_end_below(const _Atomic uint64_t *end, avm_addr_t addr,
					      enum avm_vma_look look)
{
	if (AVM_FAST && look == AVM_VMA_LOOK_LOCKED)
		return *(const uint64_t *)end <= addr;
	return atomic_load_explicit(end, memory_order_relaxed) <= addr;
}

/*
 * The first entry that ends above @addr; AVM_VMA_NODE_SLOTS or an unused one when there is none. Without branches, which
 * nobody could predict: which third it is in, then where in that. Each step waits for the one before: so there are two sums, of
 * two types, or the compiler would make one of them.
 */
static avm_inlined uint32_t avm_vma_node_search_as(const struct avm_vma_node *node, avm_addr_t addr,
						   enum avm_vma_look look)
{
	const _Atomic uint64_t *end = node->end;
	uint64_t third, low;
	uint32_t i = 0;

	_Static_assert(AVM_VMA_NODE_SLOTS == 21, "three times seven");
	if (!AVM_FAST) {
		for (uint32_t j = 0; j < AVM_VMA_NODE_SLOTS; j++)
			i += (uint32_t)avm_vma_end_below(end + j, addr, look);
		return i;
	}
	__builtin_prefetch(end + AVM_VMA_NODE_SLOTS - 1);
	third = 7 *
		(avm_vma_end_below(end + 6, addr, look) + avm_vma_end_below(end + 13, addr, look));
	end += third;
	low = avm_vma_end_below(end, addr, look) + avm_vma_end_below(end + 1, addr, look) +
	      avm_vma_end_below(end + 2, addr, look);
	i = (uint32_t)avm_vma_end_below(end + 3, addr, look) +
	    (uint32_t)avm_vma_end_below(end + 4, addr, look) +
	    (uint32_t)avm_vma_end_below(end + 5, addr, look) +
	    (uint32_t)avm_vma_end_below(end + 6, addr, look);
	return (uint32_t)(third + low) + i;
}

static avm_inlined uint32_t avm_vma_node_search(const struct avm_vma_node *node, avm_addr_t addr)
{
	return avm_vma_node_search_as(node, addr, AVM_VMA_LOOK_RCU);
}

/* The same, but the last one when there is none. */
static inline uint32_t avm_vma_node_search_clamped(const struct avm_vma_node *node, avm_addr_t addr)
{
	if (avm_vma_node_last_end(node) <= addr)
		return node->count - 1u;
	return avm_vma_node_search(node, addr);
}

/*
 * Nodes come or go, and the way of the last change is none any more. Where a leaf ends elsewhere now, who made it so goes on to
 * the VMA behind (set_floor()), and that is the way then.
 */
static inline void avm_vma_tree_lose_way(struct avm_vma_tree *tree)
{
	if (!AVM_FAST)
		return;
	tree->way_from = 0;
	tree->way_to = 0;
}

/* A node that has been reserved, as it comes. */
struct avm_vma_node *avm_vma_reserve_pop(struct avm_vma_tree *tree);

/* pre: nothing that is reached from the root leads to @node any more */
void avm_vma_node_free(struct avm_vma_tree *tree, struct avm_vma_node *node);

/* What is free for the taking between @floor, the end of the VMA before, and @start. */
inline uint64_t avm_vma_tree_gap(const struct avm_vma_tree *tree, avm_addr_t floor,
				 avm_addr_t start, uint64_t flags)
{
	uint64_t room = start - floor;

	if (!(flags & tree->guard_flags))
		return room;
	return room > tree->guard ? room - tree->guard : 0;
}

/* How many nodes a tree of so many VMAs has that is built in order (vma_tree_build.c). */
uint64_t avm_vma_nodes_of(uint64_t vmas);

#endif
