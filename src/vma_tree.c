/* SPDX-License-Identifier: MIT */
/*
 * The B+-tree of the VMAs of an address space. vma_tree.h explains the design and the rules.
 *
 * Every change takes one way down, which records the path, changes one leaf, and goes up again only
 * as far as a largest end or a largest gap has changed.
 */
#include "error.h"
#include "vma_node.h"

extern inline uint64_t avm_vma_node_max_gap(const struct avm_vma_node *node);
extern inline uint64_t avm_vma_tree_gap(const struct avm_vma_tree *tree, avm_addr_t floor,
					avm_addr_t start, uint64_t flags);

enum {
	SLOTS = AVM_VMA_NODE_SLOTS,
	MIN = AVM_VMA_NODE_MIN,
	MERGE_MAX = SLOTS * 3 / 4, /* a merged node has room left: no split at the next insert */
	PREFETCH_WRITE = 1,
};

#define ANY_GAP UINT64_MAX

/* ---- nodes ------------------------------------------------------------------------------------- */

/* G-G */
static avm_small void vnode_store(struct avm_vma_node *node, uint32_t i, uint64_t end, uint64_t gap,
				  void *slot)
{
	atomic_store_explicit(&node->slot[i], slot, memory_order_release);
	atomic_store_explicit(&node->end[i], end, memory_order_relaxed);
	node->gap[i] = gap;
}

static void vnode_copy(struct avm_vma_node *to, uint32_t i, const struct avm_vma_node *from,
		       uint32_t j)
{
	vnode_store(to, i, avm_vma_node_end(from, j), from->gap[j], avm_vma_node_slot(from, j));
}

static void vnode_set_count(struct avm_vma_node *node, uint32_t count)
{
	for (uint32_t i = count; i < node->count; i++)
		vnode_store(node, i, UINT64_MAX, 0, NULL);
	node->count = (uint16_t)count;
}

/* pre: not full */
static void vnode_insert(struct avm_vma_node *node, uint32_t i, uint64_t end, uint64_t gap,
			 void *slot)
{
	for (uint32_t j = node->count++; j > i; j--)
		vnode_copy(node, j, node, j - 1);
	vnode_store(node, i, end, gap, slot);
}

/* @n entries from @i on. */
static void vnode_remove(struct avm_vma_node *node, uint32_t i, uint32_t n)
{
	for (uint32_t j = i + n; j < node->count; j++)
		vnode_copy(node, j - n, node, j);
	vnode_set_count(node, node->count - n);
}

/* The last @n entries of @left become the first of @right. */
static void vnode_shift_right(struct avm_vma_node *left, struct avm_vma_node *right, uint32_t n)
{
	for (uint32_t j = right->count; j-- > 0;)
		vnode_copy(right, j + n, right, j);
	for (uint32_t j = 0; j < n; j++)
		vnode_copy(right, j, left, left->count - n + j);
	right->count = (uint16_t)(right->count + n);
	vnode_set_count(left, left->count - n);
}

/* The first @n entries of @right become the last of @left. */
static void vnode_shift_left(struct avm_vma_node *left, struct avm_vma_node *right, uint32_t n)
{
	for (uint32_t j = 0; j < n; j++)
		vnode_copy(left, left->count + j, right, j);
	left->count = (uint16_t)(left->count + n);
	for (uint32_t j = n; j < right->count; j++)
		vnode_copy(right, j - n, right, j);
	vnode_set_count(right, right->count - n);
}

/* ---- reserve ----------------------------------------------------------------------------------- */

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
	tree->way_to = 0;
}

static void reserve_push(struct avm_vma_tree *tree, struct avm_vma_node *node)
{
	atomic_init(&node->slot[0], tree->reserve);
	tree->reserve = node;
	tree->nr_reserve++;
}

static struct avm_vma_node *reserve_pop(struct avm_vma_tree *tree)
{
	struct avm_vma_node *node = tree->reserve;

	tree->reserve = avm_vma_node_slot(node, 0);
	tree->nr_reserve--;
	return node;
}

/* pre: nothing that is reached from the root leads to @node any more */
static void free_vnode(struct avm_vma_tree *tree, struct avm_vma_node *node)
{
	tree->nodes->free(tree->nodes->context, node);
}

static void reserve_shrink(struct avm_vma_tree *tree, uint32_t keep)
{
	while (tree->nr_reserve > keep)
		free_vnode(tree, reserve_pop(tree));
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

int avm_vma_tree_reserve(struct avm_vma_tree *tree, uint32_t inserts)
{
	uint64_t need = nodes_for(tree, inserts);
	uint32_t before = tree->nr_reserve;

	if (!inserts)
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

void avm_vma_tree_trim(struct avm_vma_tree *tree)
{
	reserve_shrink(tree, 0);
}

void avm_vma_tree_keep(struct avm_vma_tree *tree, uint32_t inserts)
{
	reserve_shrink(tree, (uint32_t)nodes_for(tree, inserts));
}

static struct avm_vma_node *new_vnode(struct avm_vma_tree *tree, uint32_t level)
{
	struct avm_vma_node *node = reserve_pop(tree);

	node->magic = AVM_VMA_NODE_MAGIC;
	node->level = (uint16_t)level;
	node->count = SLOTS;
	vnode_set_count(node, 0);
	return node;
}

/* G-G */
static void set_root(struct avm_vma_tree *tree, struct avm_vma_node *root, uint32_t height)
{
	atomic_store_explicit(&tree->root, root, memory_order_release);
	tree->height = height;
}

void avm_vma_tree_destroy(struct avm_vma_tree *tree)
{
	struct avm_vma_node *way[AVM_VMA_TREE_MAX_HEIGHT];
	uint32_t height = tree->height;
	uint32_t level = height - 1;

	reserve_shrink(tree, 0);
	if (height)
		way[level] = avm_vma_tree_root(tree);
	set_root(tree, NULL, 0);
	tree->way_to = 0;
	tree->count = 0;
	avm_list_init(&tree->list);

	/* Children first; count serves as the number of those still to go. */
	while (level < height) {
		struct avm_vma_node *node = way[level];

		if (level && node->count) {
			way[--level] = avm_vma_node_slot(node, --node->count);
			continue;
		}
		free_vnode(tree, node);
		level++;
	}
}

/* ---- paths ------------------------------------------------------------------------------------- */

/*
 * tree->way becomes the way to the first VMA that ends above @key, or behind the last one: then the index in the leaf is
 * its count, and those above are their last. Returns the end of the VMA before (0: there is none).
 */
static avm_addr_t descend(struct avm_vma_tree *tree, avm_addr_t key)
{
	struct avm_vma_node *node = avm_vma_tree_root(tree);
	struct avm_vma_path *path = &tree->way;
	avm_addr_t floor = 0;

	for (uint32_t level = tree->height - 1;; level--) {
		uint32_t i = level ? avm_vma_node_search_clamped(node, key) :
				     avm_vma_node_search(node, key);

		path->node[level] = node;
		path->index[level] = (uint8_t)i;
		if (i)
			floor = avm_vma_node_end(node, i - 1);
		if (!level)
			return floor;
		node = avm_vma_node_slot(node, i);
	}
}

/* The same, for a change, which makes the way wrong. It may have been found before: avm_vma_tree_find_way(). */
static avm_addr_t walk(struct avm_vma_tree *tree, avm_addr_t key)
{
	bool known = key >= tree->way_from && key < tree->way_to;

	tree->way_to = 0;
	return AVM_FAST && known ? tree->way_from : descend(tree, key);
}

#if AVM_FAST

struct avm_vma *avm_vma_tree_find_way(struct avm_vma_tree *tree, avm_addr_t addr)
{
	const struct avm_vma_node *leaf;
	uint32_t i;

	if (!tree->height)
		return NULL;
	tree->way_from = descend(tree, addr);
	leaf = tree->way.node[0];
	i = tree->way.index[0];
	tree->way_to = i < leaf->count ? avm_vma_node_end(leaf, i) : UINT64_MAX;
	return i < leaf->count ? avm_vma_node_slot(leaf, i) : NULL;
}

#endif

static uint64_t max_gap(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * The entry that stands for path->node[level] in its parent becomes true again. Gaps have gone from the node, of which
 * @lost was the largest, and come, of which @won is; ANY_GAP: who knows. Only where the largest may have gone are the
 * others looked at.
 */
static bool refresh_parent(struct avm_vma_path *path, uint32_t level, uint64_t lost, uint64_t won)
{
	const struct avm_vma_node *node = path->node[level];
	struct avm_vma_node *parent = path->node[level + 1];
	uint32_t i = path->index[level + 1];
	uint64_t end = avm_vma_node_last_end(node);
	uint64_t gap = parent->gap[i];

	if (AVM_FAST && lost != ANY_GAP && won >= gap)
		gap = won;
	else if (!AVM_FAST || lost >= gap)
		gap = avm_vma_node_max_gap(node);
	if (avm_vma_node_end(parent, i) == end && parent->gap[i] == gap)
		return false;
	atomic_store_explicit(&parent->end[i], end, memory_order_relaxed);
	parent->gap[i] = gap;
	return true;
}

static void refresh_up(const struct avm_vma_tree *tree, struct avm_vma_path *path, uint32_t level,
		       uint64_t lost, uint64_t won)
{
	for (; level + 1 < tree->height; level++) {
		const uint64_t *gap = &path->node[level + 1]->gap[path->index[level + 1]];
		uint64_t before = *gap;

		if (!refresh_parent(path, level, lost, won))
			return;
		lost = before;
		won = *gap;
	}
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

static void grow_root(struct avm_vma_tree *tree, struct avm_vma_path *path)
{
	struct avm_vma_node *old = avm_vma_tree_root(tree);
	struct avm_vma_node *root = new_vnode(tree, tree->height);

	if (old)
		vnode_insert(root, 0, avm_vma_node_last_end(old), avm_vma_node_max_gap(old), old);
	path->node[tree->height] = root;
	path->index[tree->height] = 0;
	set_root(tree, root, tree->height + 1);
}

/* @lost, @won: what else has happened to gaps of the leaf, for refresh_parent(). */
static void insert_entry(struct avm_vma_tree *tree, struct avm_vma_path *path, uint64_t end,
			 uint64_t gap, void *slot, uint64_t lost, uint64_t won)
{
	uint32_t level = 0;
	uint32_t i = path->index[0];

	won = max_gap(won, gap);
	while (path->node[level]->count == SLOTS) {
		struct avm_vma_node *node = path->node[level];
		struct avm_vma_node *right = split_vnode(tree, node, i);

		if (i > node->count)
			vnode_insert(right, i - node->count, end, gap, slot);
		else
			vnode_insert(node, i, end, gap, slot);
		if (level + 1 == tree->height)
			grow_root(tree, path);
		refresh_parent(path, level, ANY_GAP, 0);

		/* Now the parent gets the new neighbour. */
		end = avm_vma_node_last_end(right);
		gap = avm_vma_node_max_gap(right);
		slot = right;
		lost = ANY_GAP;
		won = 0;
		level++;
		i = path->index[level] + 1;
	}
	vnode_insert(path->node[level], i, end, gap, slot);
	refresh_up(tree, path, level, lost, won);
}

void avm_vma_tree_insert(struct avm_vma_tree *tree, struct avm_vma *vma)
{
	struct avm_vma_path *path = &tree->way;

	if (!tree->height)
		grow_root(tree, path);

	avm_addr_t floor = walk(tree, vma->start);
	struct avm_vma_node *leaf = path->node[0];
	uint32_t i = path->index[0];
	struct avm_list *behind = &tree->list;
	uint64_t lost = 0, won = 0;

	/* The list needs both neighbours: miss the cache on both at once. */
	if (i)
		__builtin_prefetch(avm_vma_node_slot(leaf, i - 1), PREFETCH_WRITE);

	/* The VMA behind ends above our start, so it is in this leaf or there is none. */
	if (i < leaf->count) {
		struct avm_vma *next = avm_vma_node_slot(leaf, i);

		behind = &next->link;
		lost = leaf->gap[i];
		leaf->gap[i] = won = avm_vma_tree_gap(tree, vma->end, next->start, next->flags);
	}
	avm_list_add_tail(&vma->link, behind);
	tree->count++;
	insert_entry(tree, path, vma->end, avm_vma_tree_gap(tree, floor, vma->start, vma->flags),
		     vma, lost, won);
}

#if AVM_FAST

/* The upper part of a VMA: right behind it, with no gap in between, so nothing changes further up. */
void avm_vma_tree_split(struct avm_vma_tree *tree, struct avm_vma *vma, struct avm_vma *upper)
{
	struct avm_vma_path *path = &tree->way;

	walk(tree, vma->end - 1);
	upper->end = vma->end;
	vma->end = upper->start;
	atomic_store_explicit(&path->node[0]->end[path->index[0]++], vma->end,
			      memory_order_relaxed);
	avm_list_add(&upper->link, &vma->link);
	tree->count++;
	insert_entry(tree, path, upper->end, 0, upper, 0, 0);
}

#endif

/* ---- erase ------------------------------------------------------------------------------------- */

/*
 * path->node[level] has too few entries: it merges with a neighbour, or takes some of its. Returns
 * whether the parent has lost an entry.
 */
static avm_small bool feed_vnode(struct avm_vma_tree *tree, struct avm_vma_path *path,
				 uint32_t level)
{
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
	refresh_parent(path, level, ANY_GAP, 0);
	if (merge) {
		vnode_remove(parent, i + 1, 1);
		free_vnode(tree, right);
		return true;
	}
	path->index[level + 1] = (uint8_t)(i + 1);
	path->node[level] = right;
	refresh_parent(path, level, ANY_GAP, 0);
	return false;
}

static void drop_root(struct avm_vma_tree *tree, struct avm_vma_node *successor)
{
	struct avm_vma_node *root = avm_vma_tree_root(tree);

	set_root(tree, successor, tree->height - 1);
	free_vnode(tree, root);
}

/* Entries have gone from the leaf of the path. @lost, @won: as in insert_entry(). */
static void shrunk(struct avm_vma_tree *tree, struct avm_vma_path *path, uint64_t lost,
		   uint64_t won)
{
	uint32_t level = 0;

	while (level + 1 < tree->height && path->node[level]->count < MIN) {
		bool merged = feed_vnode(tree, path, level);

		lost = ANY_GAP;
		won = 0;
		level++;
		if (!merged)
			break;
	}
	refresh_up(tree, path, level, lost, won);

	struct avm_vma_node *root = avm_vma_tree_root(tree);

	if (!tree->count)
		drop_root(tree, NULL);
	else if (root->level && root->count == 1)
		drop_root(tree, avm_vma_node_slot(root, 0));
}

/* The VMA in front of @vma ends at @floor now. */
static void set_floor(struct avm_vma_tree *tree, const struct avm_vma *vma, avm_addr_t floor)
{
	struct avm_vma_path *path = &tree->way;

	descend(tree, vma->end - 1);

	uint64_t *gap = &path->node[0]->gap[path->index[0]];
	uint64_t lost = *gap;

	*gap = avm_vma_tree_gap(tree, floor, vma->start, vma->flags);
	refresh_up(tree, path, 0, lost, *gap);
}

void avm_vma_tree_erase(struct avm_vma_tree *tree, struct avm_vma *vma)
{
	struct avm_vma_path *path = &tree->way;
	const struct avm_vma *next = avm_vma_tree_next(tree, vma);

	__builtin_prefetch(vma->link.next, PREFETCH_WRITE);
	__builtin_prefetch(vma->link.prev, PREFETCH_WRITE);

	avm_addr_t floor = walk(tree, vma->end - 1);
	struct avm_vma_node *leaf = path->node[0];
	uint32_t i = path->index[0];
	uint64_t lost = leaf->gap[i], won = 0;

	avm_list_del(&vma->link);
	tree->count--;
	if (next && i + 1u < leaf->count) {
		lost = max_gap(lost, leaf->gap[i + 1]);
		won = avm_vma_tree_gap(tree, floor, next->start, next->flags);
		leaf->gap[i + 1] = won;
		next = NULL;
	}
	vnode_remove(leaf, i, 1);
	shrunk(tree, path, lost, won);
	if (next)
		set_floor(tree, next, floor);
}

#if AVM_FAST

/* avm_vma_tree_join() where all are in one leaf. False: they are not. */
static bool join_in_leaf(struct avm_vma_tree *tree, struct avm_vma *vma, struct avm_vma *last)
{
	struct avm_vma_path *path = &tree->way;
	struct avm_vma_node *leaf;
	uint32_t i, n = 0;
	uint64_t lost = 0;

	walk(tree, vma->end - 1);
	leaf = path->node[0];
	i = path->index[0];
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
	shrunk(tree, path, lost, 0);
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
	struct avm_vma_path *path = &tree->way;
	const struct avm_vma *next = NULL;

	if (vma->end != end) {
		next = avm_vma_tree_next(tree, vma);
		__builtin_prefetch(next);
	}

	avm_addr_t floor = walk(tree, vma->end - 1);
	struct avm_vma_node *leaf = path->node[0];
	uint32_t i = path->index[0];
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
	refresh_up(tree, path, 0, lost, won);
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
