/* SPDX-License-Identifier: MIT */
/* interval_tree_walk.h - the bodies of AVM_ITREE_WALK, for interval_tree.h or interval_tree.c. */
#ifndef AVM_INTERVAL_TREE_WALK_H
#define AVM_INTERVAL_TREE_WALK_H

#include "interval_tree.h"

/*
 * As avm_itree_attach(), which is not called for what most trees are at fork: empty, or of one node; nor where @parent has
 * another child, and so the rank it needs.
 */
static inline void avm_itree_attach_small(struct avm_itree *tree, struct avm_inode *node,
					  struct avm_inode *parent, struct avm_inode **slot,
					  avm_inode_key_fn *last)
{
	uintptr_t rank = parent ? parent->parent_bits & AVM_INODE_PARITY : 1;

	if (!AVM_ITREE_FAST || (!rank && parent != tree->root)) {
		avm_itree_attach(tree, node, parent, slot, last);
		return;
	}
	if (!rank)
		parent->parent_bits |= AVM_INODE_PARITY;
	node->parent_bits = (uintptr_t)parent | AVM_INODE_LINKED;
	node->left = NULL;
	node->right = NULL;
	*slot = node;
}

/* Into the subtree at *@slot, which hangs on @parent. */
static inline void avm_itree_insert_below(struct avm_itree *tree, struct avm_inode *node,
					  struct avm_inode *parent, struct avm_inode **slot,
					  const struct avm_itree_keys *keys)
{
	uint64_t start = keys->start(node);
	uint64_t last = keys->last(node);

	while (*slot) {
		parent = *slot;
		if (parent->subtree_last < last)
			parent->subtree_last = last;
		slot = start < keys->start(parent) ? &parent->left : &parent->right;
	}
	node->subtree_last = last;
	avm_itree_attach_small(tree, node, parent, slot, keys->last);
}

AVM_ITREE_WALK void avm_itree_insert(struct avm_itree *tree, struct avm_inode *node,
				     const struct avm_itree_keys *keys)
{
	avm_itree_insert_below(tree, node, NULL, &tree->root, keys);
}

#ifndef __OPTIMIZE_SIZE__
/*
 * What starts where @equal does stands to the right of it, or above, and whoever is above knows of its last. To the right
 * of the youngest there is nothing: not log n steps, but one.
 */
AVM_ITREE_WALK void avm_itree_insert_behind(struct avm_itree *tree, struct avm_inode *node,
					    struct avm_inode *equal,
					    const struct avm_itree_keys *keys)
{
	avm_itree_insert_below(tree, node, equal, equal ? &equal->right : &tree->root, keys);
}
#endif

/*
 * The heart of a search: the first in the subtree of @node that intersects.
 * pre: something in it ends at @start or later. Should even the leftmost of those start behind
 * @last, then so does everything after it, and nothing intersects.
 */
static inline struct avm_inode *avm_itree_descend(const struct avm_inode *node, uint64_t start,
						  uint64_t last, const struct avm_itree_keys *keys)
{
	for (;;) {
		if (node->left && node->left->subtree_last >= start) {
			node = node->left;
			continue;
		}
		if (keys->start(node) > last)
			return NULL;
		if (keys->last(node) >= start)
			return (struct avm_inode *)node;
		node = node->right;
	}
}

AVM_ITREE_WALK struct avm_inode *avm_itree_iter_first(const struct avm_itree *tree, uint64_t start,
						      uint64_t last,
						      const struct avm_itree_keys *keys)
{
	if (!tree->root || tree->root->subtree_last < start)
		return NULL;
	return avm_itree_descend(tree->root, start, last, keys);
}

AVM_ITREE_WALK struct avm_inode *avm_itree_iter_next(const struct avm_inode *node, uint64_t start,
						     uint64_t last,
						     const struct avm_itree_keys *keys)
{
	for (;;) {
		const struct avm_inode *from;

		if (node->right && node->right->subtree_last >= start)
			return avm_itree_descend(node->right, start, last, keys);
		do {
			from = node;
			node = avm_inode_parent(node);
			if (!node)
				return NULL;
		} while (from == node->right);
		if (keys->start(node) > last)
			return NULL;
		if (keys->last(node) >= start)
			return (struct avm_inode *)node;
	}
}

#endif
