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

/* A place in the walk over the gaps in order: entry i of node, which is on level. */
struct gap_cursor {
	struct avm_vma_node *node;
	uint32_t i;
	uint32_t level;
	uint32_t height;
	struct avm_vma_path above; /* the entries that lead to node */
};

/* At the root; the caller sets i. Returns the end of the last VMA, or 0: there is none. */
static avm_addr_t cursor_init(struct gap_cursor *c, const struct avm_vma_tree *tree)
{
	c->node = avm_vma_tree_root(tree);
	c->height = tree->height;
	c->level = tree->height - 1;
	return c->node ? avm_vma_node_last_end(c->node) : 0;
}

/* The end of the VMA before the entry. */
static avm_addr_t cursor_lo(const struct gap_cursor *c)
{
	const struct avm_vma_node *node = c->node;
	uint32_t i = c->i;

	for (uint32_t level = c->level + 1; !i && level < c->height; level++) {
		node = c->above.at[level].node;
		i = c->above.at[level].index;
	}
	return i ? avm_vma_node_end(node, i - 1) : 0;
}

/* Into the child at the cursor; the caller sets i. */
static void cursor_down(struct gap_cursor *c)
{
	struct avm_vma_node *child = avm_vma_node_slot(c->node, c->i);

	c->above.at[c->level].node = c->node;
	c->above.at[c->level].index = c->i;
	c->node = child;
	c->level--;
}

static bool cursor_up(struct gap_cursor *c)
{
	if (++c->level == c->height)
		return false;
	c->node = c->above.at[c->level].node;
	c->i = c->above.at[c->level].index;
	return true;
}

/*
 * Both searches go from gap to gap in order, and down only where some gap is long enough. Then only
 * those cut by @low or @high can disappoint, and those without an aligned place.
 */
bool avm_vma_tree_find_gap_topdown(const struct avm_vma_tree *tree, uint64_t len, avm_addr_t low,
				   avm_addr_t high, uint64_t align, avm_addr_t *addr)
{
	struct gap_cursor c;
	avm_addr_t last_end = cursor_init(&c, tree);

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
			if (!cursor_up(&c))
				return false;
		c.i--;
	}
}

bool avm_vma_tree_find_gap_bottomup(const struct avm_vma_tree *tree, uint64_t len, avm_addr_t low,
				    avm_addr_t high, uint64_t align, avm_addr_t *addr)
{
	struct gap_cursor c;
	avm_addr_t last_end = cursor_init(&c, tree);

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
			more = cursor_up(&c);
	}
	return fit_low(max_addr(last_end, low), high, len, align, addr);
}
