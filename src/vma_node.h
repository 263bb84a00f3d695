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

/* Does the entry end at or below @addr? */
static inline uint32_t avm_vma_end_below(const _Atomic uint64_t *end, avm_addr_t addr)
{
	return atomic_load_explicit(end, memory_order_relaxed) <= addr;
}

/*
 * The first entry that ends above @addr; AVM_VMA_NODE_SLOTS or an unused one when there is none. Without branches, which
 * nobody could predict: which third it is in, then where in that.
 */
static inline uint32_t avm_vma_node_search(const struct avm_vma_node *node, avm_addr_t addr)
{
	const uint32_t third = AVM_VMA_NODE_SLOTS / 3;
	const _Atomic uint64_t *end = node->end;
	uint32_t i = 0;

	_Static_assert(AVM_VMA_NODE_SLOTS == 21, "three times seven");
	if (!AVM_FAST) {
		for (uint32_t j = 0; j < AVM_VMA_NODE_SLOTS; j++)
			i += avm_vma_end_below(end + j, addr);
		return i;
	}
	__builtin_prefetch(end + AVM_VMA_NODE_SLOTS - 1);
	i = third * (avm_vma_end_below(end + third - 1, addr) +
		     avm_vma_end_below(end + 2 * third - 1, addr));
	end += i;
	return i + avm_vma_end_below(end, addr) + avm_vma_end_below(end + 1, addr) +
	       avm_vma_end_below(end + 2, addr) + avm_vma_end_below(end + 3, addr) +
	       avm_vma_end_below(end + 4, addr) + avm_vma_end_below(end + 5, addr) +
	       avm_vma_end_below(end + 6, addr);
}

/* The same, but the last one when there is none. */
static inline uint32_t avm_vma_node_search_clamped(const struct avm_vma_node *node, avm_addr_t addr)
{
	if (avm_vma_node_last_end(node) <= addr)
		return node->count - 1u;
	return avm_vma_node_search(node, addr);
}

/* ---- entries, for who changes the tree ---------------------------------------------------------- */

/* G-G */
static inline avm_small void vnode_store(struct avm_vma_node *node, uint32_t i, uint64_t end,
					 uint64_t gap, void *slot)
{
	atomic_store_explicit(&node->slot[i], slot, memory_order_release);
	atomic_store_explicit(&node->end[i], end, memory_order_relaxed);
	node->gap[i] = gap;
}

static inline void vnode_copy(struct avm_vma_node *to, uint32_t i, const struct avm_vma_node *from,
			      uint32_t j)
{
	vnode_store(to, i, avm_vma_node_end(from, j), from->gap[j], avm_vma_node_slot(from, j));
}

static inline void vnode_set_count(struct avm_vma_node *node, uint32_t count)
{
	for (uint32_t i = count; i < node->count; i++)
		vnode_store(node, i, UINT64_MAX, 0, NULL);
	node->count = (uint16_t)count;
}

/* pre: not full */
static inline void vnode_insert(struct avm_vma_node *node, uint32_t i, uint64_t end, uint64_t gap,
				void *slot)
{
	for (uint32_t j = node->count++; j > i; j--)
		vnode_copy(node, j, node, j - 1);
	vnode_store(node, i, end, gap, slot);
}

/* @n entries from @i on. */
static inline void vnode_remove(struct avm_vma_node *node, uint32_t i, uint32_t n)
{
	for (uint32_t j = i + n; j < node->count; j++)
		vnode_copy(node, j - n, node, j);
	vnode_set_count(node, node->count - n);
}

/* The last @n entries of @left become the first of @right. */
static inline void vnode_shift_right(struct avm_vma_node *left, struct avm_vma_node *right,
				     uint32_t n)
{
	for (uint32_t j = right->count; j-- > 0;)
		vnode_copy(right, j + n, right, j);
	for (uint32_t j = 0; j < n; j++)
		vnode_copy(right, j, left, left->count - n + j);
	right->count = (uint16_t)(right->count + n);
	vnode_set_count(left, left->count - n);
}

/* The first @n entries of @right become the last of @left. */
static inline void vnode_shift_left(struct avm_vma_node *left, struct avm_vma_node *right,
				    uint32_t n)
{
	for (uint32_t j = 0; j < n; j++)
		vnode_copy(left, left->count + j, right, j);
	left->count = (uint16_t)(left->count + n);
	for (uint32_t j = n; j < right->count; j++)
		vnode_copy(right, j - n, right, j);
	vnode_set_count(right, right->count - n);
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
