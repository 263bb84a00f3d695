/* SPDX-License-Identifier: MIT */
/*
 * vma_tree_build.c - a VMA tree out of VMAs that come in order, as at fork (vma_tree.h).
 *
 * The way of the tree is its right edge: one open node on each level. A node that is full goes to the open one above, and a
 * new one is begun in its place; so no entry is ever searched for, moved or changed. Nothing leads to the tree before it is
 * finished.
 */
#include "error.h"

#if AVM_FAST

#include "vma_node_change.h"

enum {
	FILL = AVM_VMA_NODE_SLOTS * 6 / 7, /* room is left: no split at the next insert */
};

static uint64_t filled(uint64_t entries)
{
	return (entries + FILL - 1) / FILL;
}

uint64_t avm_vma_nodes_of(uint64_t vmas)
{
	uint64_t level = filled(vmas), nodes = level;

	/* The last of each level comes when the tree is finished, and finds room. */
	while (level > 1) {
		level = filled(level - 1);
		nodes += level;
	}
	return nodes;
}

/* The next entry of a level, which opens a node if there is none. Returns the node that was full, or NULL. */
static struct avm_vma_node *level_append(struct avm_vma_tree *tree, uint32_t level, uint64_t end,
					 uint64_t gap, void *slot)
{
	struct avm_vma_node **open = &tree->way.node[level];
	struct avm_vma_node *full = NULL;

	if (level == tree->height) {
		tree->height++;
		*open = avm_vma_node_new(tree, level);
	} else if ((*open)->count == FILL) {
		full = *open;
		*open = avm_vma_node_new(tree, level);
	}
	vnode_store(*open, (*open)->count++, end, gap, slot);
	return full;
}

/* The leaf is full, or there is none. */
static avm_noinline void append_slowly(struct avm_vma_tree *tree, struct avm_vma *vma, uint64_t gap)
{
	struct avm_vma_node *full = level_append(tree, 0, vma->end, gap, vma);

	for (uint32_t level = 1; full; level++)
		full = level_append(tree, level, avm_vma_node_last_end(full),
				    avm_vma_node_max_gap(full), full);
}

void avm_vma_tree_append(struct avm_vma_tree *tree, struct avm_vma *vma)
{
	struct avm_vma_node *leaf = tree->way.node[0]; /* if there is one */
	avm_addr_t floor = tree->height ? avm_vma_node_last_end(leaf) : 0;
	uint64_t gap = avm_vma_tree_gap(tree, floor, vma->start, vma->flags);

	avm_list_add_tail(&vma->link, &tree->list);
	tree->count++;
	if (avm_likely(tree->height && leaf->count < FILL))
		vnode_store(leaf, leaf->count++, vma->end, gap, vma);
	else
		append_slowly(tree, vma, gap);
}

void avm_vma_tree_finish(struct avm_vma_tree *tree)
{
	struct avm_vma_node **way = tree->way.node;

	if (!tree->height)
		return;
	for (uint32_t level = 0; level + 1 < tree->height; level++) {
		struct avm_vma_node *node = way[level], *parent = way[level + 1];
		uint32_t last = parent->count - 1u;

		if (node->count < AVM_VMA_NODE_MIN) {
			struct avm_vma_node *left = avm_vma_node_slot(parent, last);

			vnode_shift_right(left, node, (uint32_t)AVM_VMA_NODE_MIN - node->count);
			vnode_store(parent, last, avm_vma_node_last_end(left),
				    avm_vma_node_max_gap(left), left);
		}
		vnode_store(parent, parent->count++, avm_vma_node_last_end(node),
			    avm_vma_node_max_gap(node), node);
	}
	/* G-G */
	atomic_store_explicit(&tree->root, way[tree->height - 1], memory_order_release);
	avm_vma_tree_lose_way(tree); /* the edge is no way of a change */
}

#endif
