/* SPDX-License-Identifier: MIT */
/*
 * Where the nodes of the VMA tree come from and where they go: its birth, the nodes that are promised to
 * insertions, its end.
 */
#include "error.h"
#include "vma_node.h"

void avm_vma_tree_init(struct avm_vma_tree *tree, const struct avm_node_alloc *nodes,
		       uint64_t guard, uint64_t guard_flags)
{
	atomic_init(&tree->root, NULL);
	tree->height = 0;
	tree->nr_reserve = 0;
	tree->count = 0;
	avm_list_init(&tree->list);
	tree->reserve = NULL;
	tree->nodes = nodes;
	tree->guard = guard;
	tree->guard_flags = guard_flags;
	avm_vma_tree_lose_way(tree);
}

static void reserve_push(struct avm_vma_tree *tree, struct avm_vma_node *node)
{
	atomic_init(&node->slot[0], tree->reserve);
	tree->reserve = node;
	tree->nr_reserve++;
}

struct avm_vma_node *avm_vma_reserve_pop(struct avm_vma_tree *tree)
{
	struct avm_vma_node *node = tree->reserve;

	tree->reserve = avm_vma_node_slot(node, 0);
	tree->nr_reserve--;
	return node;
}

void avm_vma_node_free(struct avm_vma_tree *tree, struct avm_vma_node *node)
{
	tree->nodes->free(tree->nodes->context, node);
}

static void reserve_shrink(struct avm_vma_tree *tree, uint32_t keep)
{
	while (tree->nr_reserve > keep)
		avm_vma_node_free(tree, avm_vma_reserve_pop(tree));
}

/*
 * An insertion splits at most one node on each level. The root can split too, but the new one has
 * two entries then: it, and those that grow out of it, split again only after SLOTS - 2 further
 * insertions each. (With n / 4 for n / (SLOTS / 2) there is some to spare.)
 */
static uint64_t nodes_for(const struct avm_vma_tree *tree, uint32_t inserts)
{
	return (uint64_t)inserts * tree->height + 1 + inserts / 4;
}

/* So many are in the reserve, and 0; or -ENOMEM, and it is as it was. */
static int reserve_nodes(struct avm_vma_tree *tree, uint64_t need)
{
	uint32_t before = tree->nr_reserve;

	if (AVM_FAST && avm_likely(before >= need))
		return 0;
	if (need > UINT32_MAX)
		return -AVM_ENOMEM;
	while (tree->nr_reserve < need) {
		struct avm_vma_node *node = tree->nodes->alloc(tree->nodes->context);

		if (!node) {
			reserve_shrink(tree, before);
			return -AVM_ENOMEM;
		}
		reserve_push(tree, node);
	}
	return 0;
}

int avm_vma_tree_reserve(struct avm_vma_tree *tree, uint32_t inserts)
{
	return inserts ? reserve_nodes(tree, nodes_for(tree, inserts)) : 0;
}

#if AVM_FAST

int avm_vma_tree_begin(struct avm_vma_tree *tree, uint32_t vmas)
{
	return reserve_nodes(tree, avm_vma_nodes_of(vmas));
}

#endif

void avm_vma_tree_trim(struct avm_vma_tree *tree)
{
	reserve_shrink(tree, 0);
}

void avm_vma_tree_keep(struct avm_vma_tree *tree, uint32_t inserts)
{
	reserve_shrink(tree, (uint32_t)nodes_for(tree, inserts));
}

void avm_vma_tree_destroy(struct avm_vma_tree *tree)
{
	struct avm_vma_node *way[AVM_VMA_TREE_MAX_HEIGHT];
	uint32_t height = tree->height;
	uint32_t level = height - 1;

	reserve_shrink(tree, 0);
	if (height)
		way[level] = avm_vma_tree_root(tree);
	atomic_store_explicit(&tree->root, NULL, memory_order_relaxed);
	tree->height = 0;
	avm_vma_tree_lose_way(tree);
	tree->count = 0;
	avm_list_init(&tree->list);

	/* Children first; count serves as the number of those still to go. */
	while (level < height) {
		struct avm_vma_node *node = way[level];

		if (level && node->count) {
			way[--level] = avm_vma_node_slot(node, --node->count);
			continue;
		}
		avm_vma_node_free(tree, node);
		level++;
	}
}
