/* SPDX-License-Identifier: MIT */
/*
 * The way from the root of the VMA tree to the place of a change, for vma_tree.c only.
 *
 * It stays for the next change, which mostly is near: all of [way_from, way_to) is in its leaf, or would be. Where only size
 * counts nobody asks, and each change goes down anew. It is a search that nobody can foresee, so there are as few branches in it
 * as can be: a wrong guess costs as much as a level.
 */
#ifndef AVM_VMA_WAY_H
#define AVM_VMA_WAY_H

#include "error.h"
#include "vma_node.h"

#define PREFETCH_WRITE 1

/* It is about to change: let its lines be missed all at once, and not one after the other. */
static void way_fetch_leaf(const struct avm_vma_node *leaf)
{
	for (uint32_t line = 0; line < AVM_VMA_NODE_BYTES; line += AVM_CACHE_LINE)
		__builtin_prefetch((const char *)leaf + line, PREFETCH_WRITE);
}

/* What a change of an entry of the leaf touches: the VMA, which has two lines of interest, and its neighbours' links. */
static avm_inlined void way_fetch_around(const struct avm_vma_node *leaf, uint32_t i)
{
	uint32_t at = i < AVM_VMA_NODE_SLOTS - 1 ? i : AVM_VMA_NODE_SLOTS - 2;
	const void *vma = avm_vma_node_slot(leaf, at); /* or NULL */

	__builtin_prefetch(vma, PREFETCH_WRITE);
	__builtin_prefetch((const void *)((uintptr_t)vma + AVM_CACHE_LINE), PREFETCH_WRITE);
	__builtin_prefetch(avm_vma_node_slot(leaf, at - (at > 0)), PREFETCH_WRITE);
	__builtin_prefetch(avm_vma_node_slot(leaf, at + 1), PREFETCH_WRITE);
}

/* Where what an entry of the way covers begins and ends: at the entry beside it, or where the one above it does. */
static avm_inlined avm_addr_t way_from(const struct avm_vma_tree *tree, uint32_t level)
{
	const struct avm_vma_path *path = &tree->way;

	while (level < tree->height && !path->index[level])
		level++;
	return level < tree->height ? avm_vma_node_end(path->node[level], path->index[level] - 1u) :
				      0;
}

static avm_inlined avm_addr_t way_to(const struct avm_vma_tree *tree, uint32_t level)
{
	const struct avm_vma_path *path = &tree->way;

	while (level < tree->height && path->index[level] + 1u == path->node[level]->count)
		level++;
	return level < tree->height ? avm_vma_node_end(path->node[level], path->index[level]) :
				      UINT64_MAX;
}

/* Those of the leaf, which mostly has neighbours below its parent. */
static avm_inlined void way_set_bounds(struct avm_vma_tree *tree)
{
	const struct avm_vma_node *parent = tree->way.node[1];
	uint32_t i = tree->way.index[1];

	if (tree->height > 1 && i && i + 1u < parent->count) {
		tree->way_from = avm_vma_node_end(parent, i - 1);
		tree->way_to = avm_vma_node_end(parent, i);
		return;
	}
	tree->way_from = way_from(tree, 1);
	tree->way_to = way_to(tree, 1);
}

/* tree->way becomes the way to the leaf of @key. */
static avm_inlined void way_to_leaf(struct avm_vma_tree *tree, avm_addr_t key)
{
	struct avm_vma_node *node = avm_vma_tree_root(tree);
	struct avm_vma_path *path = &tree->way;
	struct avm_vma_node **at = path->node + tree->height;
	avm_addr_t from = 0;

	/* Behind the last one of all: there is none on any level. Elsewhere there is one on all. */
	if (AVM_FAST && tree->height > 1 && avm_unlikely(avm_vma_node_last_end(node) <= key))
		key = avm_vma_node_last_end(node) - 1;
	for (uint8_t *index = path->index + tree->height - 1; index > path->index; index--) {
		uint32_t i = AVM_FAST ? avm_vma_node_search_as(node, key, AVM_VMA_LOOK_LOCKED) :
					avm_vma_node_search_clamped(node, key);

		*--at = node;
		*index = (uint8_t)i;
		if (!AVM_FAST && i)
			from = avm_vma_node_end(node, i - 1);
		node = avm_vma_node_slot(node, i);
	}
	path->node[0] = node;
	if (AVM_FAST) {
		way_fetch_leaf(node);
		way_set_bounds(tree);
	} else {
		tree->way_from = from;
	}
}

/* The end of the VMA before the one that the way leads to (0: there is none). */
static avm_inlined avm_addr_t way_floor(const struct avm_vma_tree *tree)
{
	uint32_t i = tree->way.index[0];
	avm_addr_t end = avm_vma_node_end(tree->way.node[0], i - (i > 0));

	return i ? end : tree->way_from;
}

/* Is @key in the leaf that the way leads to, or would it be? */
static inline bool way_in_leaf(const struct avm_vma_tree *tree, avm_addr_t key)
{
	return key - tree->way_from < tree->way_to - tree->way_from;
}

/*
 * Does the way lead to where @key is, or would be? @floor: of the way, if it is one. pre: @key is below way_to, so
 * there is a way.
 */
static avm_inlined bool way_is_there(const struct avm_vma_tree *tree, avm_addr_t key,
				     avm_addr_t *floor)
{
	uint32_t i = tree->way.index[0];

	if (i >= AVM_VMA_NODE_SLOTS || key >= avm_vma_node_end(tree->way.node[0], i))
		return false;
	*floor = way_floor(tree);
	return key >= *floor;
}

/* Where in the leaf. Returns the index. */
static avm_inlined uint32_t way_in(struct avm_vma_tree *tree, avm_addr_t key)
{
	uint32_t i = avm_vma_node_search_as(tree->way.node[0], key, AVM_VMA_LOOK_LOCKED);

	tree->way.index[0] = (uint8_t)i;
	return i;
}

/* From the root. */
static avm_inlined uint32_t way_down(struct avm_vma_tree *tree, avm_addr_t key)
{
	uint32_t i;

	way_to_leaf(tree, key);
	i = way_in(tree, key);
	if (AVM_FAST)
		way_fetch_around(tree->way.node[0], i);
	return i;
}

static avm_small avm_addr_t way_far(struct avm_vma_tree *tree, avm_addr_t key)
{
	if (AVM_FAST && way_in_leaf(tree, key))
		way_in(tree, key);
	else
		way_down(tree, key);
	return way_floor(tree);
}

/*
 * The way to the first VMA that ends above @key, or behind the last one: then the index in the leaf is its count, and
 * those above are their last. Returns the end of the VMA before.
 */
static avm_inlined avm_addr_t way_to_key(struct avm_vma_tree *tree, avm_addr_t key)
{
	avm_addr_t floor;

	return AVM_FAST && key < tree->way_to && way_is_there(tree, key, &floor) ?
		       floor :
		       way_far(tree, key);
}

/* The same for a VMA in the tree. Mostly the way leads to it, or to the one behind it. */
static avm_inlined avm_addr_t way_to_vma(struct avm_vma_tree *tree, const struct avm_vma *vma)
{
	const struct avm_vma_node *leaf = tree->way.node[0];
	uint32_t i = tree->way.index[0];

	if (!AVM_FAST || !tree->way_to)
		return way_far(tree, vma->end - 1);
	if (i < AVM_VMA_NODE_SLOTS && avm_vma_node_slot(leaf, i) == vma)
		return way_floor(tree);
	if (!i-- || avm_vma_node_slot(leaf, i) != vma)
		return way_far(tree, vma->end - 1);
	tree->way.index[0] = (uint8_t)i;
	return way_floor(tree);
}

#endif
