/* SPDX-License-Identifier: MIT */
/* Entries of the nodes of the VMA tree come, go and move: for vma_tree.c and vma_tree_build.c only. */
#ifndef AVM_VMA_NODE_CHANGE_H
#define AVM_VMA_NODE_CHANGE_H

#include "error.h"
#include "vma_node.h"

/* G-G */
static avm_small void vnode_store(struct avm_vma_node *node, size_t i, uint64_t end, uint64_t gap,
				  void *slot)
{
	atomic_store_explicit(&node->slot[i], slot, memory_order_release);
	atomic_store_explicit(&node->end[i], end, memory_order_relaxed);
	node->gap[i] = gap;
}

static void vnode_copy(struct avm_vma_node *to, size_t i, const struct avm_vma_node *from, size_t j)
{
	vnode_store(to, i, avm_vma_node_end(from, j), from->gap[j], avm_vma_node_slot(from, j));
}

static void vnode_set_count(struct avm_vma_node *node, uint32_t count)
{
	const size_t before = node->count;

	for (size_t i = count; i < before; i++)
		vnode_store(node, i, UINT64_MAX, 0, NULL);
	node->count = (uint16_t)count;
}

/* Room for @n entries from @i on, to be stored. pre: there is so much. */
static void vnode_open(struct avm_vma_node *node, uint32_t i, uint32_t n)
{
	for (size_t j = node->count; j-- > i;)
		vnode_copy(node, j + n, node, j);
	node->count = (uint16_t)(node->count + n);
}

/* pre: not full */
static inline void vnode_insert(struct avm_vma_node *node, uint32_t i, uint64_t end, uint64_t gap,
				void *slot)
{
	vnode_open(node, i, 1);
	vnode_store(node, i, end, gap, slot);
}

/* @n entries from @i on. */
static inline void vnode_remove(struct avm_vma_node *node, uint32_t i, uint32_t n)
{
	const size_t count = node->count;

	for (size_t j = i + n; j < count; j++)
		vnode_copy(node, j - n, node, j);
	if (!AVM_FAST) {
		vnode_set_count(node, (uint32_t)count - n);
		return;
	}
	for (size_t j = count - n; j < count; j++) /* mostly one, and then there is no loop */
		vnode_store(node, j, UINT64_MAX, 0, NULL);
	node->count = (uint16_t)(count - n);
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

/* ---- for vma_tree_build.c ------------------------------------------------------------------------ */

/* An empty node out of the reserve. */
struct avm_vma_node *avm_vma_node_new(struct avm_vma_tree *tree, uint32_t level);

#endif
