/* SPDX-License-Identifier: MIT */
/*
 * Where is room for a new mapping: the gap searches of the VMA tree. They read ends and gaps in the
 * nodes and no VMA.
 */
#include "vma_node.h"

/* The highest or the lowest place in the gap [lo, hi). */
static bool fit(const struct avm_gap *w, avm_addr_t lo, avm_addr_t hi, avm_addr_t *addr)
{
	avm_addr_t place;

	lo = lo > w->low ? lo : w->low;
	hi = hi < w->high ? hi : w->high;
	if (hi < lo || hi - lo < w->len)
		return false;
	place = (w->order == AVM_GAP_TOPDOWN ? hi - w->len : lo + w->align - 1) & ~(w->align - 1);
	/* Aligning may lead out, or round the end of the addresses. */
	if (place < lo || place > hi - w->len)
		return false;
	*addr = place;
	return true;
}

/* A place in the walk over the gaps in order: entry i of node, which is on level. */
struct gap_cursor {
	struct avm_vma_node *node;
	uint32_t i;
	uint32_t level;
	uint32_t height;
	struct avm_vma_path above; /* the entries that lead to node */
};

/* To the entry of a node that @from is in, or the last one. */
static void cursor_enter(struct gap_cursor *c, struct avm_vma_node *node, avm_addr_t from)
{
	c->node = node;
	c->i = avm_vma_node_search_clamped(node, from);
}

/* The end of the VMA before the entry. */
static avm_addr_t cursor_lo(const struct gap_cursor *c)
{
	const struct avm_vma_node *node = c->node;
	uint32_t i = c->i;

	for (uint32_t level = c->level + 1; !i && level < c->height; level++) {
		node = c->above.node[level];
		i = c->above.index[level];
	}
	return i ? avm_vma_node_end(node, i - 1) : 0;
}

/* Into the child at the cursor. */
static void cursor_down(struct gap_cursor *c, avm_addr_t from)
{
	c->above.node[c->level] = c->node;
	c->above.index[c->level] = (uint8_t)c->i;
	c->level--;
	cursor_enter(c, avm_vma_node_slot(c->node, c->i), from);
}

static bool cursor_up(struct gap_cursor *c)
{
	if (++c->level == c->height)
		return false;
	c->node = c->above.node[c->level];
	c->i = c->above.index[c->level];
	return true;
}

/* To the next entry on the way; false at the end. */
static bool cursor_step(struct gap_cursor *c, enum avm_gap_order order)
{
	do {
		if (order == AVM_GAP_BOTTOMUP && c->i + 1u < c->node->count) {
			c->i++;
			return true;
		}
		if (order == AVM_GAP_TOPDOWN && c->i) {
			c->i--;
			return true;
		}
	} while (cursor_up(c));
	return false;
}

/*
 * The gaps between the VMAs, in order from the one that low or high is in, and down only where some gap is
 * long enough. Then only those cut by low or high can disappoint, and those without an aligned place.
 */
static bool search_tree(const struct avm_vma_tree *tree, const struct avm_gap *w, avm_addr_t *addr)
{
	avm_addr_t from = w->order == AVM_GAP_TOPDOWN ? w->high - 1 : w->low;
	struct gap_cursor c;

	c.height = tree->height;
	c.level = tree->height - 1;
	cursor_enter(&c, avm_vma_tree_root(tree), from);
	for (;;) {
		uint64_t gap = c.node->gap[c.i];

		if (gap >= w->len && c.level) {
			cursor_down(&c, from);
			continue;
		}
		if (gap >= w->len) {
			avm_addr_t lo = cursor_lo(&c);

			if (fit(w, lo, lo + gap, addr))
				return true;
			if (w->order == AVM_GAP_TOPDOWN ? lo <= w->low : lo >= w->high)
				return false;
		}
		if (!cursor_step(&c, w->order))
			return false;
	}
}

/* The gap behind the last VMA is in no node: it is the first from above, the last from below. */
bool avm_vma_tree_find_gap(const struct avm_vma_tree *tree, const struct avm_gap *w,
			   avm_addr_t *addr)
{
	const struct avm_vma_node *root = avm_vma_tree_root(tree);
	avm_addr_t last_end = root ? avm_vma_node_last_end(root) : 0;

	if (!w->len || w->high <= w->low)
		return false;
	if (w->order == AVM_GAP_TOPDOWN && fit(w, last_end, UINT64_MAX, addr))
		return true;
	if (w->low < last_end && search_tree(tree, w, addr))
		return true;
	return w->order == AVM_GAP_BOTTOMUP && fit(w, last_end, UINT64_MAX, addr);
}
