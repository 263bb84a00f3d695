/* SPDX-License-Identifier: MIT */
/*
 * The untyped half of the interval tree: balancing and order. See interval_tree.h.
 *
 * "k-child" in the comments: the rank of the parent is k above that of the child. Outside of an
 * operation k is 1 or 2 everywhere, so equal parities say 2 and unequal ones 1. Within one, an
 * insertion makes one 0-child (seen as equal parities) and a removal one 3-child.
 */
#include "interval_tree_walk.h"

/* One up or one down: the parity does not tell, the caller knows. */
static void shift_rank(struct avm_inode *node)
{
	node->parent_bits ^= AVM_INODE_PARITY;
}

static void set_inode_parent(struct avm_inode *node, const struct avm_inode *parent)
{
	node->parent_bits = (uintptr_t)parent | (node->parent_bits & AVM_INODE_BITS);
}

static struct avm_inode *inode_sibling(const struct avm_inode *parent,
				       const struct avm_inode *child)
{
	return parent->left == child ? parent->right : parent->left;
}

static void replace_inode(struct avm_itree *tree, struct avm_inode *parent,
			  const struct avm_inode *old, struct avm_inode *child)
{
	if (!parent)
		tree->root = child;
	else if (parent->left == old)
		parent->left = child;
	else
		parent->right = child;
}

/* Something below @node went away. Above a node that stays the same, all stays the same. */
static void lower_subtree_last(struct avm_inode *node, avm_inode_key_fn *last)
{
	while (node) {
		uint64_t max = avm_inode_compute_last(node, last);

		if (node->subtree_last == max)
			return;
		node->subtree_last = max;
		node = avm_inode_parent(node);
	}
}

/* @up changes places with its parent, and takes over the parent's subtree. Ranks are untouched. */
static void rotate_up(struct avm_itree *tree, struct avm_inode *up, avm_inode_key_fn *last)
{
	struct avm_inode *down = avm_inode_parent(up);
	struct avm_inode *top = avm_inode_parent(down);
	struct avm_inode *inner;

	if (down->left == up) {
		inner = up->right;
		down->left = inner;
		up->right = down;
	} else {
		inner = up->left;
		down->right = inner;
		up->left = down;
	}
	if (inner)
		set_inode_parent(inner, down);
	replace_inode(tree, top, down, up);
	set_inode_parent(up, top);
	set_inode_parent(down, up);
	up->subtree_last = down->subtree_last;
	down->subtree_last = avm_inode_compute_last(down, last);
}

void avm_itree_attach(struct avm_itree *tree, struct avm_inode *node, struct avm_inode *parent,
		      struct avm_inode **slot, avm_inode_key_fn *last)
{
	node->parent_bits = (uintptr_t)parent | AVM_INODE_LINKED;
	node->left = NULL;
	node->right = NULL;
	*slot = node;

	/* While @node is a 0-child: raise the parent, which may make the parent one. */
	while (parent && avm_inode_parity(parent) == avm_inode_parity(node)) {
		if (avm_inode_parity(inode_sibling(parent, node)) == avm_inode_parity(parent))
			break;
		shift_rank(parent);
		node = parent;
		parent = avm_inode_parent(node);
	}
	if (!parent || avm_inode_parity(parent) != avm_inode_parity(node))
		return;

	/* The sibling is a 2-child and would become a 3-child: rotations end it. */
	struct avm_inode *inner = parent->left == node ? node->right : node->left;

	if (!inner || avm_inode_parity(inner) == avm_inode_parity(node)) {
		rotate_up(tree, node, last);
	} else {
		rotate_up(tree, inner, last);
		rotate_up(tree, inner, last);
		shift_rank(inner);
		shift_rank(node);
	}
	shift_rank(parent);
}

/* @node, a 1-child of @parent whose other child is a 3-child, has a 1-child itself. */
static void detach_rotate(struct avm_itree *tree, struct avm_inode *parent, struct avm_inode *node,
			  avm_inode_key_fn *last)
{
	bool node_is_left = parent->left == node;
	struct avm_inode *outer = node_is_left ? node->left : node->right;
	struct avm_inode *inner = node_is_left ? node->right : node->left;

	if (avm_inode_parity(outer) == avm_inode_parity(node)) {
		/* inner goes up by 2, parent down by 2, node down by 1. */
		rotate_up(tree, inner, last);
		rotate_up(tree, inner, last);
		shift_rank(node);
		return;
	}
	rotate_up(tree, node, last);
	shift_rank(node);
	/* The parent goes down by 1, and as a leaf by one more. */
	if (parent->left || parent->right)
		shift_rank(parent);
}

/* pre: @node (possibly missing) is a 3-child of @parent. */
static void detach_rebalance(struct avm_itree *tree, struct avm_inode *parent,
			     struct avm_inode *node, avm_inode_key_fn *last)
{
	for (;;) {
		struct avm_inode *top = avm_inode_parent(parent);
		bool sinks = top && avm_inode_parity(top) == avm_inode_parity(parent);
		struct avm_inode *other = inode_sibling(parent, node);

		if (avm_inode_parity(other) != avm_inode_parity(parent)) {
			if (avm_inode_parity(other->left) != avm_inode_parity(other) ||
			    avm_inode_parity(other->right) != avm_inode_parity(other)) {
				detach_rotate(tree, parent, other, last);
				return;
			}
			shift_rank(other);
		}
		shift_rank(parent);
		if (!sinks)
			return;
		node = parent;
		parent = top;
	}
}

static void adopt_children(struct avm_inode *node)
{
	if (node->left)
		set_inode_parent(node->left, node);
	if (node->right)
		set_inode_parent(node->right, node);
}

void avm_itree_detach(struct avm_itree *tree, struct avm_inode *node, avm_inode_key_fn *last)
{
	struct avm_inode *heir = NULL;
	struct avm_inode *hole = node;

	/* With two children it is the successor's place that goes; the successor moves into ours. */
	if (node->left && node->right) {
		heir = node->right;
		while (heir->left)
			heir = heir->left;
		hole = heir;
	}

	struct avm_inode *child = hole->left ? hole->left : hole->right;
	struct avm_inode *parent = avm_inode_parent(hole);
	bool was_2_child = parent && avm_inode_parity(parent) == avm_inode_parity(hole);

	replace_inode(tree, parent, hole, child);
	if (child)
		set_inode_parent(child, parent);
	if (heir) {
		*heir = *node;
		replace_inode(tree, avm_inode_parent(node), node, heir);
		adopt_children(heir);
		if (parent == node)
			parent = heir;
	}
	node->parent_bits = 0;

	lower_subtree_last(parent, last);
	lower_subtree_last(heir, last);

	if (was_2_child) {
		detach_rebalance(tree, parent, child, last);
	} else if (parent && !parent->left && !parent->right) {
		/* A leaf of rank 1: comes down to 0. */
		struct avm_inode *top = avm_inode_parent(parent);
		bool sinks = top && avm_inode_parity(top) == avm_inode_parity(parent);

		shift_rank(parent);
		if (sinks)
			detach_rebalance(tree, top, parent, last);
	}
}
