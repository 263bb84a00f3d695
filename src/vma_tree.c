/* SPDX-License-Identifier: MIT */
/*
 * The B+-tree of the VMAs of an address space. vma_tree.h explains the design and the rules.
 *
 * Every change takes one way down, which records the path, changes one leaf, and goes up again only
 * as far as a largest end or a largest gap has changed. The way stays until nodes come or go: the next change
 * in that leaf needs no descent.
 */
#include "vma_node_change.h"
#include "vma_way.h"

extern inline uint64_t avm_vma_node_max_gap(const struct avm_vma_node *node);
extern inline uint64_t avm_vma_tree_gap(const struct avm_vma_tree *tree, avm_addr_t floor,
					avm_addr_t start, uint64_t flags);

enum {
	SLOTS = AVM_VMA_NODE_SLOTS,
	MIN = AVM_VMA_NODE_MIN,
	MERGE_MAX = SLOTS * 3 / 4, /* a merged node has room left: no split at the next insert */
};

#define ANY_GAP UINT64_MAX

/* ---- nodes and the root ------------------------------------------------------------------------- */

static avm_small struct avm_vma_node *new_vnode(struct avm_vma_tree *tree, uint32_t level)
{
	struct avm_vma_node *node = avm_vma_reserve_pop(tree);

	node->magic = AVM_VMA_NODE_MAGIC;
	node->level = (uint16_t)level;
	node->count = SLOTS;
	vnode_set_count(node, 0);
	return node;
}

#if AVM_FAST

struct avm_vma_node *avm_vma_node_new(struct avm_vma_tree *tree, uint32_t level)
{
	return new_vnode(tree, level);
}

#endif

/* G-G */
static void set_root(struct avm_vma_tree *tree, struct avm_vma_node *root, uint32_t height)
{
	atomic_store_explicit(&tree->root, root, memory_order_release);
	tree->height = height;
	avm_vma_tree_lose_way(tree);
}

/* ---- gaps, up the way -------------------------------------------------------------------------- */

static uint64_t max_gap(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The largest gap of a node, which is no more than @bound: where there is one as large, the search ends. */
static uint64_t max_gap_below(const struct avm_vma_node *node, uint64_t bound)
{
	uint64_t max = 0;

	if (!AVM_FAST)
		return avm_vma_node_max_gap(node);
	for (uint32_t i = 0; i < node->count && max < bound; i++)
		max = max_gap(max, node->gap[i]);
	return max;
}

/* Is there such a gap in the node? */
static bool has_gap(const struct avm_vma_node *node, uint64_t gap)
{
	const uint64_t *g = node->gap, *end = g + node->count;

	while (g < end && *g != gap)
		g++;
	return g < end;
}

/*
 * The entry that stands for way.node[level] in its parent becomes true again. Gaps have gone from the node, of which
 * @lost was the largest, and come, of which @won is; ANY_GAP: who knows. Only where the largest may have gone are the
 * others looked at.
 */
static bool refresh_parent(struct avm_vma_tree *tree, uint32_t level, uint64_t lost, uint64_t won)
{
	const struct avm_vma_node *node = tree->way.node[level];
	struct avm_vma_node *parent = tree->way.node[level + 1];
	uint32_t i = tree->way.index[level + 1];
	uint64_t end = avm_vma_node_last_end(node);
	uint64_t old_gap = parent->gap[i], gap = old_gap;

	if (AVM_FAST && lost != ANY_GAP && won >= gap)
		gap = won;
	else if (!AVM_FAST || lost >= gap)
		gap = max_gap_below(node, lost == ANY_GAP ? ANY_GAP : gap);
	if (avm_vma_node_end(parent, i) == end && gap == old_gap)
		return false;
	atomic_store_explicit(&parent->end[i], end, memory_order_relaxed);
	parent->gap[i] = gap;
	return true;
}

static void refresh_up(struct avm_vma_tree *tree, uint32_t level, uint64_t lost, uint64_t won)
{
	for (; level + 1 < tree->height; level++) {
		const uint64_t *gap = &tree->way.node[level + 1]->gap[tree->way.index[level + 1]];
		uint64_t before = *gap;

		if (!refresh_parent(tree, level, lost, won))
			return;
		lost = before;
		won = *gap;
	}
}

/*
 * Does the entry of the leaf in its parent stay what it is? (lost, won: as of refresh_parent().) Most changes leave a gap as
 * large in the leaf as there was: then nobody above has to know.
 */
static avm_inlined bool stays_above(const struct avm_vma_tree *tree, uint64_t lost, uint64_t won)
{
	const struct avm_vma_node *leaf = tree->way.node[0], *parent = tree->way.node[1];
	uint32_t i = tree->way.index[1];
	uint64_t gap;

	if (tree->height == 1)
		return true;
	gap = parent->gap[i];
	return avm_vma_node_end(parent, i) == avm_vma_node_last_end(leaf) && won <= gap &&
	       (lost < gap || won == gap || has_gap(leaf, gap));
}

/* The leaf has changed, but for its number of entries. */
static avm_inlined void leaf_changed(struct avm_vma_tree *tree, uint64_t lost, uint64_t won)
{
	if (!AVM_FAST || !stays_above(tree, lost, won))
		refresh_up(tree, 0, lost, won);
}

/* ---- insert ------------------------------------------------------------------------------------ */

/*
 * Makes room in the full @node by a new right neighbour that nobody can see yet. Ascending and
 * descending insertions (fork, top-down mmap) leave fuller nodes behind than halves.
 */
static struct avm_vma_node *split_vnode(struct avm_vma_tree *tree, struct avm_vma_node *node,
					uint32_t at)
{
	struct avm_vma_node *right = new_vnode(tree, node->level);
	uint32_t moved = SLOTS / 2;

	if (at > SLOTS - MIN)
		moved = MIN;
	else if (at < MIN)
		moved = SLOTS - MIN;
	vnode_shift_right(node, right, moved);
	return right;
}

static void grow_root(struct avm_vma_tree *tree)
{
	struct avm_vma_node *old = avm_vma_tree_root(tree);
	struct avm_vma_node *root = new_vnode(tree, tree->height);

	if (old)
		vnode_insert(root, 0, avm_vma_node_last_end(old), avm_vma_node_max_gap(old), old);
	tree->way.node[tree->height] = root;
	tree->way.index[tree->height] = 0;
	set_root(tree, root, tree->height + 1);
}

/* An entry that enters a node, and what else has happened to gaps of that node: for refresh_parent(). */
struct entry {
	uint64_t end, gap;
	void *slot;
	uint64_t lost, won;
};

/* Where there may be no room in the leaf. */
static avm_cold void insert_splitting(struct avm_vma_tree *tree, struct entry *e)
{
	struct avm_vma_path *path = &tree->way;
	uint32_t level = 0;
	uint32_t i = path->index[0];

	while (path->node[level]->count == SLOTS) {
		struct avm_vma_node *node = path->node[level];
		struct avm_vma_node *right = split_vnode(tree, node, i);

		if (i > node->count)
			vnode_insert(right, i - node->count, e->end, e->gap, e->slot);
		else
			vnode_insert(node, i, e->end, e->gap, e->slot);
		if (level + 1 == tree->height)
			grow_root(tree);
		refresh_parent(tree, level, ANY_GAP, 0);
		avm_vma_tree_lose_way(tree);

		/* Now the parent gets the new neighbour. */
		*e = (struct entry){ .end = avm_vma_node_last_end(right),
				     .gap = avm_vma_node_max_gap(right),
				     .slot = right,
				     .lost = ANY_GAP };
		level++;
		i = path->index[level] + 1;
	}
	vnode_insert(path->node[level], i, e->end, e->gap, e->slot);
	refresh_up(tree, level, e->lost, max_gap(e->won, e->gap));
}

/* At the end of the way. (A copy is what has an address: the entry itself need not be in memory.) */
static avm_inlined void insert_entry(struct avm_vma_tree *tree, struct entry e)
{
	struct avm_vma_node *leaf = tree->way.node[0];

	if (!AVM_FAST || leaf->count == SLOTS) {
		struct entry copy = e;

		insert_splitting(tree, &copy);
		return;
	}
	vnode_insert(leaf, tree->way.index[0], e.end, e.gap, e.slot);
	leaf_changed(tree, e.lost, max_gap(e.won, e.gap));
}

/* @floor: of the way. */
static avm_inlined void insert_at_way(struct avm_vma_tree *tree, struct avm_vma *vma,
				      avm_addr_t floor)
{
	struct avm_vma_node *leaf = tree->way.node[0];
	uint32_t i = tree->way.index[0];
	struct avm_list *behind = &tree->list;
	struct entry e = { .end = vma->end,
			   .gap = avm_vma_tree_gap(tree, floor, vma->start, vma->flags),
			   .slot = vma };

	/* The VMA behind ends above our start, so it is in this leaf or there is none. */
	if (i < leaf->count) {
		struct avm_vma *next = avm_vma_node_slot(leaf, i);

		behind = &next->link;
		e.lost = leaf->gap[i];
		leaf->gap[i] = e.won = avm_vma_tree_gap(tree, vma->end, next->start, next->flags);
	}
	avm_list_add_tail(&vma->link, behind);
	tree->count++;
	insert_entry(tree, e);
}

void avm_vma_tree_insert(struct avm_vma_tree *tree, struct avm_vma *vma)
{
	if (!tree->height)
		grow_root(tree);
	insert_at_way(tree, vma, way_to_key(tree, vma->start));
}

#if AVM_FAST

void avm_vma_tree_insert_found(struct avm_vma_tree *tree, struct avm_vma *vma)
{
	if (avm_likely(tree->way_to))
		insert_at_way(tree, vma, way_floor(tree));
	else
		avm_vma_tree_insert(tree, vma);
}

/* Right behind the VMA, with no gap in between: where the leaf has room, nothing changes further up. */
void avm_vma_tree_split(struct avm_vma_tree *tree, struct avm_vma *vma,
			struct avm_vma *const *upper, uint32_t n)
{
	struct avm_list *below = &vma->link, *behind = below->next;
	struct avm_vma_node *leaf;
	uint32_t i;

	way_to_vma(tree, vma);
	leaf = tree->way.node[0];
	i = tree->way.index[0]++;
	vma->end = upper[0]->start;
	atomic_store_explicit(&leaf->end[i], vma->end, memory_order_relaxed);
	tree->count += n;
	for (uint32_t k = 0; k < n; k++) {
		below->next = &upper[k]->link;
		upper[k]->link.prev = below;
		below = &upper[k]->link;
	}
	below->next = behind;
	behind->prev = below;
	if (leaf->count + n <= SLOTS) {
		vnode_open(leaf, ++i, n);
		for (uint32_t k = 0; k < n; k++)
			vnode_store(leaf, i + k, upper[k]->end, 0, upper[k]);
		return;
	}
	for (uint32_t k = 0; k < n; k++) {
		struct entry e = { .end = upper[k]->end, .slot = upper[k] };

		way_to_key(tree, upper[k]->start);
		insert_entry(tree, e);
	}
}

#endif

/* ---- erase ------------------------------------------------------------------------------------- */

/*
 * path->node[level] has too few entries: it merges with a neighbour, or takes some of its. Returns
 * whether the parent has lost an entry.
 */
static avm_small bool feed_vnode(struct avm_vma_tree *tree, uint32_t level)
{
	struct avm_vma_path *path = &tree->way;
	struct avm_vma_node *parent = path->node[level + 1];
	uint32_t i = path->index[level + 1];

	/* The left one of the pair is at i. */
	if (i + 1u == parent->count)
		i--;

	struct avm_vma_node *left = avm_vma_node_slot(parent, i);
	struct avm_vma_node *right = avm_vma_node_slot(parent, i + 1);
	uint32_t sum = (uint32_t)left->count + right->count;
	bool merge = sum <= MERGE_MAX;

	if (merge)
		vnode_shift_left(left, right, right->count);
	else if (left->count < right->count)
		vnode_shift_left(left, right, right->count - sum / 2);
	else
		vnode_shift_right(left, right, left->count - sum / 2);

	path->index[level + 1] = (uint8_t)i;
	path->node[level] = left;
	refresh_parent(tree, level, ANY_GAP, 0);
	avm_vma_tree_lose_way(tree);
	if (merge) {
		vnode_remove(parent, i + 1, 1);
		avm_vma_node_free(tree, right);
		return true;
	}
	path->index[level + 1] = (uint8_t)(i + 1);
	path->node[level] = right;
	refresh_parent(tree, level, ANY_GAP, 0);
	return false;
}

static void drop_root(struct avm_vma_tree *tree, struct avm_vma_node *successor)
{
	struct avm_vma_node *root = avm_vma_tree_root(tree);

	set_root(tree, successor, tree->height - 1);
	avm_vma_node_free(tree, root);
}

/* Nodes have too few entries, or the root has. */
static avm_cold void feed_up(struct avm_vma_tree *tree, uint64_t lost, uint64_t won)
{
	uint32_t level = 0;

	while (level + 1 < tree->height && tree->way.node[level]->count < MIN) {
		bool merged = feed_vnode(tree, level);

		lost = ANY_GAP;
		won = 0;
		level++;
		if (!merged)
			break;
	}
	refresh_up(tree, level, lost, won);

	struct avm_vma_node *root = avm_vma_tree_root(tree);

	if (!tree->count)
		drop_root(tree, NULL);
	else if (root->level && root->count == 1)
		drop_root(tree, avm_vma_node_slot(root, 0));
}

/* Entries have gone from the leaf of the way. @lost, @won: as of refresh_parent(). */
static avm_inlined void shrunk(struct avm_vma_tree *tree, uint64_t lost, uint64_t won)
{
	if (AVM_FAST && avm_likely(tree->way.node[0]->count >= MIN))
		leaf_changed(tree, lost, won);
	else
		feed_up(tree, lost, won);
}

/* The VMA in front of @vma ends at @floor now. */
static void set_floor(struct avm_vma_tree *tree, const struct avm_vma *vma, avm_addr_t floor)
{
	way_to_vma(tree, vma);

	uint64_t *gap = &tree->way.node[0]->gap[tree->way.index[0]];
	uint64_t lost = *gap;

	*gap = avm_vma_tree_gap(tree, floor, vma->start, vma->flags);
	leaf_changed(tree, lost, *gap);
}

void avm_vma_tree_erase(struct avm_vma_tree *tree, struct avm_vma *vma)
{
	avm_addr_t floor = way_to_vma(tree, vma);
	struct avm_vma_node *leaf = tree->way.node[0];
	uint32_t i = tree->way.index[0];
	uint64_t lost = leaf->gap[i], won = 0;
	const struct avm_vma *behind = NULL; /* the first one of the next leaf */

	if (i + 1u < leaf->count) {
		const struct avm_vma *next = avm_vma_node_slot(leaf, i + 1);

		lost = max_gap(lost, leaf->gap[i + 1]);
		won = avm_vma_tree_gap(tree, floor, next->start, next->flags);
		leaf->gap[i + 1] = won;
	} else {
		behind = avm_vma_tree_next(tree, vma);
	}
	avm_list_del(&vma->link);
	tree->count--;
	vnode_remove(leaf, i, 1);
	shrunk(tree, lost, won);
	if (behind)
		set_floor(tree, behind, floor);
}

#if AVM_FAST

/* avm_vma_tree_join() where all are in one leaf. False: they are not. */
static avm_inlined bool join_in_leaf(struct avm_vma_tree *tree, struct avm_vma *vma,
				     struct avm_vma *last)
{
	struct avm_vma_node *leaf;
	uint32_t i, n = 0;
	uint64_t lost = 0;

	way_to_vma(tree, vma);
	leaf = tree->way.node[0];
	i = tree->way.index[0];
	do {
		if (i + ++n == leaf->count)
			return false;
		lost = max_gap(lost, leaf->gap[i + n]);
	} while (avm_vma_node_slot(leaf, i + n) != last);
	vma->end = last->end;
	atomic_store_explicit(&leaf->end[i], last->end, memory_order_relaxed);
	vma->link.next = last->link.next;
	vma->link.next->prev = &vma->link;
	tree->count -= n;
	vnode_remove(leaf, i + 1, n);
	/* What touched has no gap, and the leaf ends where it ended. */
	if (lost || leaf->count < MIN)
		shrunk(tree, lost, 0);
	return true;
}

void avm_vma_tree_join(struct avm_vma_tree *tree, struct avm_vma *vma, struct avm_vma *last)
{
	avm_addr_t end = last->end;

	if (join_in_leaf(tree, vma, last))
		return;
	while (last != vma) {
		struct avm_vma *before = avm_list_entry(last->link.prev, struct avm_vma, link);

		avm_vma_tree_erase(tree, last);
		last = before;
	}
	avm_vma_tree_set_range(tree, vma, vma->start, end);
}

#endif

/* ---- change and find --------------------------------------------------------------------------- */

void avm_vma_tree_set_range(struct avm_vma_tree *tree, struct avm_vma *vma, avm_addr_t start,
			    avm_addr_t end)
{
	const struct avm_vma *next = NULL;

	if (vma->end != end)
		next = avm_vma_tree_next(tree, vma);

	avm_addr_t floor = way_to_vma(tree, vma);
	struct avm_vma_node *leaf = tree->way.node[0];
	uint32_t i = tree->way.index[0];
	uint64_t lost = leaf->gap[i];
	uint64_t won = avm_vma_tree_gap(tree, floor, start, vma->flags);

	vma->start = start;
	vma->end = end;
	atomic_store_explicit(&leaf->end[i], end, memory_order_relaxed);
	leaf->gap[i] = won;
	if (next && i + 1u < leaf->count) {
		uint64_t *gap = &leaf->gap[i + 1];

		lost = max_gap(lost, *gap);
		*gap = avm_vma_tree_gap(tree, end, next->start, next->flags);
		won = max_gap(won, *gap);
		next = NULL;
	}
	leaf_changed(tree, lost, won);
	if (next)
		set_floor(tree, next, end);
}

/* The height comes from the root itself: without the lock, tree->height may be that of another. */
struct avm_vma *avm_vma_tree_find(const struct avm_vma_tree *tree, avm_addr_t addr)
{
	const struct avm_vma_node *node = avm_vma_tree_root(tree);

	if (!node)
		return NULL;
	for (uint32_t level = node->level;; level--) {
		uint32_t i = avm_vma_node_search(node, addr);
		void *slot = i < SLOTS ? avm_vma_node_slot(node, i) : NULL;

		if (!level || !slot)
			return slot;
		node = slot;
	}
}

#if AVM_FAST

static avm_inlined struct avm_vma *vma_at(const struct avm_vma_tree *tree, uint32_t i)
{
	return i < SLOTS ? avm_vma_node_slot(tree->way.node[0], i) : NULL;
}

/* Elsewhere than in the leaf that the way leads to. */
static avm_noinline struct avm_vma *find_far(struct avm_vma_tree *tree, avm_addr_t addr)
{
	return tree->height ? vma_at(tree, way_down(tree, addr)) : NULL;
}

struct avm_vma *avm_vma_tree_find_way(struct avm_vma_tree *tree, avm_addr_t addr)
{
	avm_addr_t floor;

	if (!way_in_leaf(tree, addr))
		return find_far(tree, addr);
	if (way_is_there(tree, addr, &floor))
		return avm_vma_node_slot(tree->way.node[0], tree->way.index[0]);
	return vma_at(tree, way_in(tree, addr));
}

#endif
