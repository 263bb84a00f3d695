/* SPDX-License-Identifier: MIT */
/*
 * Intrusive interval tree: "which intervals [start, last] intersect this one", in O(log n + k).
 *
 * A binary search tree by start, where every node also knows the largest last in its subtree, so a
 * search skips whole subtrees that end too early. It is rank-balanced (Haeupler, Sen, Tarjan 2015):
 * a difference of ranks between parent and child is 1 or 2, a missing child has rank -1, a leaf has
 * rank 0. Only the parity of the rank is kept, in a low bit of the parent pointer; an insertion or
 * a removal makes at most two rotations.
 *
 * Order: intervals with equal start are visited in the order of their insertion, whatever was
 * inserted or removed since: an insertion goes right of its equals, and balancing keeps the order.
 * (Moving mappings relies on it: a walk that meets the old place must meet the new one later.)
 * One that is inserted behind another comes after that one, and may come before younger ones.
 *
 * Nothing here allocates, recurses or can fail. The owner's lock covers the tree and its nodes.
 *
 * AVM_ITREE_DEFINE makes the typed functions. START and LAST are functions or macros that take a
 * const type * and give its bounds, last being inclusive; they must not change while it is in a tree.
 *
 *	AVM_ITREE_DEFINE(avc_tree, struct avm_anon_vma_chain, rb, avc_start, avc_last)
 *
 * gives avc_tree_insert(), _insert_behind(), _remove(), _iter_first(), _iter_next(), _check(), and
 *
 *	for (avc = avc_tree_iter_first(tree, first, last); avc;
 *	     avc = avc_tree_iter_next(avc, first, last))
 *
 * During a walk the tree must not change; to remove the visited node, fetch the next one before.
 */
#ifndef AVM_INTERVAL_TREE_H
#define AVM_INTERVAL_TREE_H

#include "list.h"

#define AVM_INODE_PARITY ((uintptr_t)1)
#define AVM_INODE_LINKED ((uintptr_t)2)
#define AVM_INODE_BITS (AVM_INODE_PARITY | AVM_INODE_LINKED)

typedef uint64_t avm_inode_key_fn(const struct avm_inode *node);

/* The bounds of an item. */
struct avm_itree_keys {
	avm_inode_key_fn *start, *last;
};

static inline void avm_itree_init(struct avm_itree *tree)
{
	tree->root = NULL;
}

static inline bool avm_itree_empty(const struct avm_itree *tree)
{
	return !tree->root;
}

static inline struct avm_inode *avm_inode_parent(const struct avm_inode *node)
{
	return (struct avm_inode *)(node->parent_bits & ~AVM_INODE_BITS);
}

/* Is the node in a tree? A zeroed node is in none. */
static inline bool avm_inode_linked(const struct avm_inode *node)
{
	return node->parent_bits & AVM_INODE_LINKED;
}

/* Of the node's rank; of a missing child's, which is -1. */
static inline uintptr_t avm_inode_parity(const struct avm_inode *node)
{
	return node ? node->parent_bits & AVM_INODE_PARITY : AVM_INODE_PARITY;
}

static inline uint64_t avm_inode_compute_last(const struct avm_inode *node, avm_inode_key_fn *last)
{
	uint64_t max = last(node);

	if (node->left && node->left->subtree_last > max)
		max = node->left->subtree_last;
	if (node->right && node->right->subtree_last > max)
		max = node->right->subtree_last;
	return max;
}

/*
 * The untyped half. attach: @node becomes *@slot, an empty child of @parent (or the root when NULL);
 * the caller has raised subtree_last on the way down. detach: @node leaves the tree.
 */
void avm_itree_attach(struct avm_itree *tree, struct avm_inode *node, struct avm_inode *parent,
		      struct avm_inode **slot, avm_inode_key_fn *last);
void avm_itree_detach(struct avm_itree *tree, struct avm_inode *node, avm_inode_key_fn *last);

/* For observers: all nodes in order, whatever they span. */
struct avm_inode *avm_itree_first(const struct avm_itree *tree);
struct avm_inode *avm_inode_next(const struct avm_inode *node);

/*
 * For verify. NULL when links, order, balance and subtree_last are right and there are at most @max
 * nodes, else what is wrong first. Visits at most @max nodes, and follows a link only after its
 * target has pointed back, so it ends on any tree whose links lead to readable memory.
 */
const char *avm_itree_check(const struct avm_itree *tree, uint64_t max, avm_inode_key_fn *start,
			    avm_inode_key_fn *last);

/* Where speed is asked for, each type of item has these inline; at -Os all share the copy in interval_tree.c. */
#ifdef __OPTIMIZE_SIZE__
#define AVM_ITREE_FAST 0
#define AVM_ITREE_WALK
#else
#define AVM_ITREE_FAST 1
#define AVM_ITREE_WALK static inline __attribute__((always_inline))
#endif

/* pre: @node is in no tree, start <= last. Comes behind all that start where it does: fork needs that. */
AVM_ITREE_WALK void avm_itree_insert(struct avm_itree *tree, struct avm_inode *node,
				     const struct avm_itree_keys *keys);

/* The first, and the next after @node, that intersects [@start, @last], or NULL. */
AVM_ITREE_WALK struct avm_inode *avm_itree_iter_first(const struct avm_itree *tree, uint64_t start,
						      uint64_t last,
						      const struct avm_itree_keys *keys);
AVM_ITREE_WALK struct avm_inode *avm_itree_iter_next(const struct avm_inode *node, uint64_t start,
						     uint64_t last,
						     const struct avm_itree_keys *keys);

/*
 * As insert. @equal, if given, is in the tree and has the same bounds: @node comes behind it, and perhaps before younger
 * ones.
 */
#ifdef __OPTIMIZE_SIZE__
static inline void avm_itree_insert_behind(struct avm_itree *tree, struct avm_inode *node,
					   struct avm_inode *equal,
					   const struct avm_itree_keys *keys)
{
	(void)equal; /* behind all that start there is behind this one */
	avm_itree_insert(tree, node, keys);
}
#else
#include "interval_tree_walk.h"
#endif

#define AVM_ITREE_FN static inline __attribute__((unused))

#define AVM_ITREE_DEFINE(name, type, member, START, LAST) \
	AVM_ITREE_FN type *name##_entry(const struct avm_inode *node) \
	{ \
		return avm_container_of(node, type, member); \
	} \
\
	AVM_ITREE_FN uint64_t name##_node_start(const struct avm_inode *node) \
	{ \
		return START((const type *)name##_entry(node)); \
	} \
\
	AVM_ITREE_FN uint64_t name##_node_last(const struct avm_inode *node) \
	{ \
		return LAST((const type *)name##_entry(node)); \
	} \
\
	static const struct avm_itree_keys name##_keys __attribute__((unused)) = { \
		name##_node_start, \
		name##_node_last, \
	}; \
\
	AVM_ITREE_FN void name##_insert(struct avm_itree *tree, type *item) \
	{ \
		avm_itree_insert(tree, &item->member, &name##_keys); \
	} \
\
	AVM_ITREE_FN void name##_insert_behind(struct avm_itree *tree, type *item, type *equal) \
	{ \
		avm_itree_insert_behind(tree, &item->member, equal ? &equal->member : NULL, \
					&name##_keys); \
	} \
\
	/* pre: @item is in @tree. */ \
	AVM_ITREE_FN void name##_remove(struct avm_itree *tree, type *item) \
	{ \
		avm_itree_detach(tree, &item->member, name##_node_last); \
	} \
\
	AVM_ITREE_FN type *name##_iter_first(const struct avm_itree *tree, uint64_t start, \
					     uint64_t last) \
	{ \
		struct avm_inode *node = avm_itree_iter_first(tree, start, last, &name##_keys); \
\
		return node ? name##_entry(node) : NULL; \
	} \
\
	AVM_ITREE_FN type *name##_iter_next(const type *item, uint64_t start, uint64_t last) \
	{ \
		struct avm_inode *node = \
			avm_itree_iter_next(&item->member, start, last, &name##_keys); \
\
		return node ? name##_entry(node) : NULL; \
	} \
\
	AVM_ITREE_FN const char *name##_check(const struct avm_itree *tree, uint64_t max) \
	{ \
		return avm_itree_check(tree, max, name##_node_start, name##_node_last); \
	} \
\
	_Static_assert(sizeof(((type *)0)->member) == sizeof(struct avm_inode), #member)

#endif
