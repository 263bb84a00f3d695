/* SPDX-License-Identifier: MIT */
/*
 * Is the VMA tree what vma_tree.h says it is (V1)? For verify, so everything is taken to be broken:
 * a pointer is followed only when it may be what it should be, and the work is bounded.
 */
#include "vma_node.h"

struct check {
	const struct avm_vma_tree *tree;
	avm_vma_tree_report_fn *report;
	void *context;
	uint32_t reports;
	uint64_t nodes_left;
	uint64_t vmas;
	avm_addr_t floor; /* the end of the VMA before */
	const struct avm_list *link; /* where the list is; NULL once it has parted from the tree */
	const struct avm_list *link_before;
};

static void complain(struct check *check, avm_addr_t where, const char *what)
{
	check->reports++;
	check->report(check->context, where, what);
}

static bool misaligned(const void *pointer)
{
	return !pointer || (uintptr_t)pointer % _Alignof(uint64_t);
}

/* Can the walk go into @node? If not, that has been reported. */
static bool check_vnode(struct check *check, const struct avm_vma_node *node, uint32_t level)
{
	bool is_root = level + 1 == check->tree->height;

	if (!check->nodes_left) {
		complain(check, check->floor, "VMA tree: more nodes than the VMAs can need");
		return false;
	}
	check->nodes_left--;
	if (misaligned(node) || node->magic != AVM_VMA_NODE_MAGIC) {
		complain(check, check->floor,
			 "VMA tree: a link leads to something that is no node");
		return false;
	}
	if (node->level != level) {
		complain(check, check->floor, "VMA tree: a node is on the wrong level");
		return false;
	}
	if (!node->count || node->count > AVM_VMA_NODE_SLOTS) {
		complain(check, check->floor, "VMA tree: the number of entries of a node is wrong");
		return false;
	}
	if (node->count < (!is_root ? AVM_VMA_NODE_MIN : level ? 2 : 1))
		complain(check, check->floor, "VMA tree: a node has too few entries");
	for (uint32_t i = node->count; i < AVM_VMA_NODE_SLOTS; i++) {
		if (avm_vma_node_end(node, i) != UINT64_MAX || avm_vma_node_slot(node, i))
			complain(check, check->floor, "VMA tree: an unused entry is not clean");
	}
	return true;
}

/* The list must be at @vma, and @vma behind the one it was at before. */
static void check_link(struct check *check, const struct avm_vma *vma)
{
	if (!check->link)
		return;
	if (check->link != &vma->link || vma->link.prev != check->link_before ||
	    misaligned(vma->link.next)) {
		complain(check, vma->start, "VMA tree: the list and the tree part here");
		check->link = NULL;
		return;
	}
	check->link_before = &vma->link;
	check->link = vma->link.next;
}

static void check_vma(struct check *check, const struct avm_vma_node *leaf, uint32_t i)
{
	const struct avm_vma *vma = avm_vma_node_slot(leaf, i);
	avm_addr_t end = avm_vma_node_end(leaf, i);

	check->vmas++;
	if (misaligned(vma)) {
		complain(check, check->floor,
			 "VMA tree: an entry leads to something that is no VMA");
		check->floor = end;
		return;
	}
	if (vma->start >= vma->end)
		complain(check, vma->start, "VMA tree: a VMA is empty");
	if (vma->end != end)
		complain(check, vma->start, "VMA tree: the end of a VMA differs from its entry");
	if (vma->start < check->floor)
		complain(check, vma->start, "VMA tree: a VMA meets the one before it");
	else if (leaf->gap[i] !=
		 avm_vma_tree_gap(check->tree, check->floor, vma->start, vma->flags))
		complain(check, vma->start, "VMA tree: the gap before a VMA is wrong");
	check_link(check, vma);
	check->floor = end;
}

/* pre: the child has passed check_vnode() */
static void check_child_entry(struct check *check, const struct avm_vma_node *node, uint32_t i)
{
	const struct avm_vma_node *child = avm_vma_node_slot(node, i);

	if (avm_vma_node_end(node, i) != avm_vma_node_last_end(child))
		complain(check, check->floor,
			 "VMA tree: the largest end of a node differs above it");
	if (node->gap[i] != avm_vma_node_max_gap(child))
		complain(check, check->floor,
			 "VMA tree: the largest gap of a node differs above it");
}

static void check_nodes(struct check *check)
{
	struct avm_vma_path path;
	uint32_t height = check->tree->height;
	uint32_t level = height - 1;

	path.node[level] = avm_vma_tree_root(check->tree);
	path.index[level] = 0;
	if (!check_vnode(check, path.node[level], level))
		return;
	while (level < height) {
		const struct avm_vma_node *node = path.node[level];
		uint32_t i = path.index[level]++;

		if (i == node->count) {
			level++;
			continue;
		}
		if (!level) {
			check_vma(check, node, i);
			continue;
		}

		struct avm_vma_node *child = avm_vma_node_slot(node, i);

		if (!check_vnode(check, child, level - 1)) {
			/* Its VMAs are missing: do not let all that follow complain about it. */
			check->floor = avm_vma_node_end(node, i);
			check->link = NULL;
			continue;
		}
		check_child_entry(check, node, i);
		path.node[--level] = child;
		path.index[level] = 0;
	}
}

static void check_reserve(struct check *check)
{
	const struct avm_vma_node *node = check->tree->reserve;
	uint32_t n = 0;

	while (node && n <= check->tree->nr_reserve && !misaligned(node)) {
		node = avm_vma_node_slot(node, 0);
		n++;
	}
	if (node || n != check->tree->nr_reserve)
		complain(check, 0, "VMA tree: the reserve has not as many nodes as it says");
}

/* What is kept of the way that the last change took. => nothing else is wrong. */
static void check_way(struct check *check)
{
	const struct avm_vma_tree *tree = check->tree;
	struct avm_vma_node *node = avm_vma_tree_root(tree);
	avm_addr_t from = 0, to = UINT64_MAX;
	bool same = true;

	if (!node || tree->way_from >= tree->way_to)
		return;
	for (uint32_t level = tree->height - 1; level; level--) {
		uint32_t i = avm_vma_node_search_clamped(node, tree->way_from);

		same = same && tree->way.node[level] == node && tree->way.index[level] == i;
		from = i ? avm_vma_node_end(node, i - 1) : from;
		to = i + 1u < node->count ? avm_vma_node_end(node, i) : to;
		node = avm_vma_node_slot(node, i);
	}
	if (!same || tree->way.node[0] != node || tree->way_from != from || tree->way_to != to)
		complain(check, tree->way_from, "VMA tree: the way kept leads elsewhere");
}

uint32_t avm_vma_tree_check(const struct avm_vma_tree *tree, uint64_t max_vmas,
			    avm_vma_tree_report_fn *report, void *context)
{
	struct check check = {
		.tree = tree,
		.report = report,
		.context = context,
		.link = tree->list.next,
		.link_before = &tree->list,
		/* Leaves of MIN entries, half as many nodes above them at the very most, one way down. */
		.nodes_left = max_vmas / 2 + AVM_VMA_TREE_MAX_HEIGHT,
	};

	if (tree->height > AVM_VMA_TREE_MAX_HEIGHT || !tree->height != !avm_vma_tree_root(tree)) {
		complain(&check, 0, "VMA tree: the height is wrong");
		return check.reports;
	}
	if (tree->height)
		check_nodes(&check);
	if (check.vmas != tree->count)
		complain(&check, 0, "VMA tree: the count differs from the VMAs in it");
	if (check.link && (check.link != &tree->list || tree->list.prev != check.link_before))
		complain(&check, check.floor, "VMA tree: the list does not end with the tree");
	check_reserve(&check);
	if (!check.reports)
		check_way(&check);
	return check.reports;
}
