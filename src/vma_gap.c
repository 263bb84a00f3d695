/* SPDX-License-Identifier: MIT */
/*
 * Where is room for a new mapping: the gap searches of the VMA tree. They read ends and gaps in the
 * nodes and no VMA.
 */
#include "vma_node.h"

/* The highest, the lowest aligned place of @len bytes in [lo, hi). */
static bool fit_high(avm_addr_t lo, avm_addr_t hi, uint64_t len, uint64_t align, avm_addr_t *addr)
{
	if (hi < lo || hi - lo < len)
		return false;

	avm_addr_t place = (hi - len) & ~(align - 1);

	if (place < lo)
		return false;
	*addr = place;
	return true;
}

static bool fit_low(avm_addr_t lo, avm_addr_t hi, uint64_t len, uint64_t align, avm_addr_t *addr)
{
	avm_addr_t place = (lo + align - 1) & ~(align - 1);

	/* place < lo: the addition has wrapped. */
	if (place < lo || hi < place || hi - place < len)
		return false;
	*addr = place;
	return true;
}

static avm_addr_t max_addr(avm_addr_t a, avm_addr_t b)
{
	return a > b ? a : b;
}

static avm_addr_t min_addr(avm_addr_t a, avm_addr_t b)
{
	return a < b ? a : b;
}

/* A place in the walk over the gaps in order. What is left of it above is kept in up[]. */
struct gap_cursor {
	const struct avm_vma_node *node;
	uint32_t i;
	uint32_t level;
	avm_addr_t floor; /* the end of the VMA before the first entry of node */
	struct {
		const struct avm_vma_node *node;
		uint32_t i;
		avm_addr_t floor;
	} up[AVM_VMA_TREE_MAX_HEIGHT];
};

static avm_addr_t cursor_lo(const struct gap_cursor *c)
{
	return c->i ? avm_vma_node_end(c->node, c->i - 1) : c->floor;
}

/* Into the child at the cursor; the caller sets i. */
static void cursor_down(struct gap_cursor *c)
{
	c->up[c->level].node = c->node;
	c->up[c->level].i = c->i;
	c->up[c->level].floor = c->floor;
	c->floor = cursor_lo(c);
	c->node = avm_vma_node_slot(c->node, c->i);
	c->level--;
}

static bool cursor_up(struct gap_cursor *c, uint32_t height)
{
	if (++c->level == height)
		return false;
	c->node = c->up[c->level].node;
	c->i = c->up[c->level].i;
	c->floor = c->up[c->level].floor;
	return true;
}

/*
 * Both searches go from gap to gap in order, and down only where some gap is long enough. Then only
 * those cut by @low or @high can disappoint, and those without an aligned place.
 */
bool avm_vma_tree_find_gap_topdown(const struct avm_vma_tree *tree, uint64_t len, avm_addr_t low,
				   avm_addr_t high, uint64_t align, avm_addr_t *addr)
{
	struct gap_cursor c = { .node = avm_vma_tree_root(tree), .level = tree->height - 1 };
	avm_addr_t last_end = c.node ? avm_vma_node_last_end(c.node) : 0;

	align = align ? align : 1;
	if (!len || high <= low)
		return false;
	if (fit_high(max_addr(last_end, low), high, len, align, addr))
		return true;
	if (!c.node)
		return false;

	/* From the gap that high is in, to the left. */
	c.i = avm_vma_node_search_clamped(c.node, high - 1);
	for (;;) {
		uint64_t gap = c.node->gap[c.i];

		if (gap >= len && c.level) {
			cursor_down(&c);
			c.i = avm_vma_node_search_clamped(c.node, high - 1);
			continue;
		}
		if (gap >= len) {
			avm_addr_t lo = cursor_lo(&c);

			if (fit_high(max_addr(lo, low), min_addr(lo + gap, high), len, align, addr))
				return true;
			if (lo <= low)
				return false;
		}
		while (!c.i)
			if (!cursor_up(&c, tree->height))
				return false;
		c.i--;
	}
}

bool avm_vma_tree_find_gap_bottomup(const struct avm_vma_tree *tree, uint64_t len, avm_addr_t low,
				    avm_addr_t high, uint64_t align, avm_addr_t *addr)
{
	struct gap_cursor c = { .node = avm_vma_tree_root(tree), .level = tree->height - 1 };
	avm_addr_t last_end = c.node ? avm_vma_node_last_end(c.node) : 0;

	align = align ? align : 1;
	if (!len || high <= low)
		return false;

	/* From the gap that low is in, or the one behind the VMA that low is in, to the right. */
	bool more = low < last_end;

	if (more)
		c.i = avm_vma_node_search(c.node, low);
	while (more) {
		uint64_t gap = c.node->gap[c.i];

		if (gap >= len && c.level) {
			cursor_down(&c);
			c.i = avm_vma_node_search(c.node, low);
			continue;
		}
		if (gap >= len) {
			avm_addr_t lo = cursor_lo(&c);

			if (lo >= high)
				return false;
			if (fit_low(max_addr(lo, low), min_addr(lo + gap, high), len, align, addr))
				return true;
		}
		while (more && ++c.i == c.node->count)
			more = cursor_up(&c, tree->height);
	}
	return fit_low(max_addr(last_end, low), high, len, align, addr);
}
