/* SPDX-License-Identifier: MIT */
/* Looking at whole interval trees, for the observers: every node in order; and is the tree one? */
#include "interval_tree.h"

struct avm_inode *avm_itree_first(const struct avm_itree *tree)
{
	struct avm_inode *node = tree->root;

	while (node && node->left)
		node = node->left;
	return node;
}

struct avm_inode *avm_inode_next(const struct avm_inode *node)
{
	if (node->right) {
		struct avm_inode *next = node->right;

		while (next->left)
			next = next->left;
		return next;
	}

	struct avm_inode *parent = avm_inode_parent(node);

	while (parent && parent->right == node) {
		node = parent;
		parent = avm_inode_parent(node);
	}
	return parent;
}

static bool inode_link_is_valid(const struct avm_inode *node, const struct avm_inode *parent)
{
	return (uintptr_t)node % _Alignof(struct avm_inode) == 0 && avm_inode_linked(node) &&
	       avm_inode_parent(node) == parent;
}

static int rank_difference(const struct avm_inode *parent, const struct avm_inode *child)
{
	return avm_inode_parity(parent) == avm_inode_parity(child) ? 2 : 1;
}

/* The rank of the root is the sum of the differences on any way down; -1 when the way is broken. */
static int64_t root_rank(const struct avm_itree *tree, uint64_t max)
{
	const struct avm_inode *node = tree->root;
	int64_t rank = -1;

	for (; node; node = node->left) {
		if (max-- == 0 || (node->left && !inode_link_is_valid(node->left, node)))
			return -1;
		rank += rank_difference(node, node->left);
	}
	return rank;
}

static const char *check_inode(const struct avm_inode *node, int64_t rank, avm_inode_key_fn *start,
			       avm_inode_key_fn *last)
{
	if (node->left && node->left == node->right)
		return "interval tree: one node is both children";
	if ((node->left && !inode_link_is_valid(node->left, node)) ||
	    (node->right && !inode_link_is_valid(node->right, node)))
		return "interval tree: a child does not point back to its parent";
	if (start(node) > last(node))
		return "interval tree: an interval ends before it starts";
	if (node->subtree_last != avm_inode_compute_last(node, last))
		return "interval tree: subtree_last is wrong";
	if (rank < 0 || (!node->left && rank - rank_difference(node, NULL) != -1) ||
	    (!node->right && rank - rank_difference(node, NULL) != -1) ||
	    (!node->left && !node->right && rank != 0))
		return "interval tree: out of balance";
	return NULL;
}

const char *avm_itree_check(const struct avm_itree *tree, uint64_t max, avm_inode_key_fn *start,
			    avm_inode_key_fn *last)
{
	const struct avm_inode *node = tree->root;
	enum {
		ENTER,
		LEFT_DONE,
		RIGHT_DONE
	} state = ENTER;
	uint64_t previous_start = 0;

	if (!node)
		return NULL;
	if (!inode_link_is_valid(node, NULL))
		return "interval tree: the root has a parent";

	int64_t rank = root_rank(tree, max);

	if (rank < 0)
		return "interval tree: the leftmost path is broken or too long";
	while (node) {
		if (state == ENTER) {
			const char *fault = check_inode(node, rank, start, last);

			if (fault)
				return fault;
			if (max-- == 0)
				return "interval tree: more nodes than there can be";
			if (node->left) {
				rank -= rank_difference(node, node->left);
				node = node->left;
				continue;
			}
			state = LEFT_DONE;
		}
		if (state == LEFT_DONE) {
			if (start(node) < previous_start)
				return "interval tree: out of order";
			previous_start = start(node);
			if (node->right) {
				rank -= rank_difference(node, node->right);
				node = node->right;
				state = ENTER;
				continue;
			}
		}

		const struct avm_inode *parent = avm_inode_parent(node);

		if (parent) {
			rank += rank_difference(parent, node);
			state = parent->left == node ? LEFT_DONE : RIGHT_DONE;
		}
		node = parent;
	}
	return NULL;
}
