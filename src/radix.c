/* SPDX-License-Identifier: MIT */
/* The radix tree of radix.h. Level 0 is that of the leaves, whose slots are items. */
#include "radix_node.h"

#include <string.h>

#include "error.h"

enum {
	BITS = AVM_RADIX_BITS,
	FANOUT = AVM_RADIX_FANOUT,
	MAX_HEIGHT = AVM_RADIX_MAX_HEIGHT,
};

static uint32_t slot_of(uint64_t index, uint32_t level)
{
	return index >> (level * BITS) & (FANOUT - 1);
}

/* The largest index of a tree of @height levels, at least 1. */
static avm_small uint64_t max_index(uint32_t height)
{
	return height >= MAX_HEIGHT ? UINT64_MAX : (UINT64_C(1) << (height * BITS)) - 1;
}

static bool covers(const struct avm_radix *radix, uint64_t index)
{
	return radix->height && index <= max_index(radix->height);
}

static avm_small void rnode_set(struct avm_radix_node *node, uint32_t i, void *pointer)
{
	node->slot[i] = pointer;
	node->used |= UINT64_C(1) << i;
}

static avm_small void rnode_clear(struct avm_radix_node *node, uint32_t i)
{
	node->slot[i] = NULL;
	node->used &= ~(UINT64_C(1) << i);
}

/* Spare nodes are linked through slot[0]. */
void avm_radix_spare_put(struct avm_radix_spares *spares, void *memory)
{
	struct avm_radix_node *node = memory;

	node->slot[0] = spares->first;
	spares->first = node;
	spares->nr++;
}

void *avm_radix_spare_get(struct avm_radix_spares *spares)
{
	struct avm_radix_node *node = spares->first;

	if (!node)
		return NULL;
	spares->first = node->slot[0];
	spares->nr--;
	return node;
}

/* pre: there is one */
static struct avm_radix_node *take(struct avm_radix_spares *spares, uint32_t level)
{
	struct avm_radix_node *node = avm_radix_spare_get(spares);

	memset(node, 0, sizeof(*node));
	node->level = level;
	return node;
}

/* The lowest existing node on the way to @index. pre: covers() */
static struct avm_radix_node *lowest(const struct avm_radix *radix, uint64_t index)
{
	struct avm_radix_node *node = radix->root;

	while (node->level) {
		struct avm_radix_node *child = node->slot[slot_of(index, node->level)];

		if (!child)
			break;
		node = child;
	}
	return node;
}

static avm_noinline uint32_t height_for(uint64_t index)
{
	uint32_t height = 1;

	while (index > max_index(height))
		height++;
	return height;
}

/* How many nodes an insertion at @index needs. */
static uint32_t missing_nodes(const struct avm_radix *radix, uint64_t index)
{
	if (covers(radix, index))
		return lowest(radix, index)->level;

	uint32_t height = height_for(index);

	/* New roots, and the way down from the uppermost; in an empty tree these are the same. */
	return radix->height ? height - radix->height + height - 1 : height;
}

/* Adds levels on top until @index is covered. */
static void grow(struct avm_radix *radix, uint64_t index, struct avm_radix_spares *spares)
{
	if (!radix->root) {
		radix->height = height_for(index);
		radix->root = take(spares, radix->height - 1);
	}
	while (!covers(radix, index)) {
		struct avm_radix_node *root = take(spares, radix->height);

		rnode_set(root, 0, radix->root);
		radix->root = root;
		radix->height++;
	}
}

int avm_radix_insert(struct avm_radix *radix, uint64_t index, void *item,
		     struct avm_radix_spares *spares)
{
	if (avm_radix_lookup(radix, index))
		return -AVM_EEXIST;
	if (missing_nodes(radix, index) > spares->nr)
		return -AVM_ENOMEM;

	grow(radix, index, spares);

	struct avm_radix_node *node = lowest(radix, index);

	while (node->level) {
		struct avm_radix_node *child = take(spares, node->level - 1);

		rnode_set(node, slot_of(index, node->level), child);
		node = child;
	}
	rnode_set(node, slot_of(index, 0), item);
	return 0;
}

static struct avm_radix_node *find_leaf(const struct avm_radix *radix, uint64_t index)
{
	struct avm_radix_node *node;

	if (!covers(radix, index))
		return NULL;
	node = lowest(radix, index);
	return node->level ? NULL : node;
}

void *avm_radix_lookup(const struct avm_radix *radix, uint64_t index)
{
	const struct avm_radix_node *leaf = find_leaf(radix, index);

	return leaf ? leaf->slot[slot_of(index, 0)] : NULL;
}

void *avm_radix_replace(struct avm_radix *radix, uint64_t index, void *item)
{
	struct avm_radix_node *leaf = find_leaf(radix, index);
	void **slot = leaf ? &leaf->slot[slot_of(index, 0)] : NULL;
	void *old = slot ? *slot : NULL;

	if (old)
		*slot = item;
	return old;
}

/* A root whose only child is its first covers nothing that the child does not. */
static void shrink(struct avm_radix *radix, struct avm_radix_spares *spares)
{
	while (radix->root && radix->root->level && radix->root->used == 1) {
		struct avm_radix_node *root = radix->root;

		radix->root = root->slot[0];
		radix->height--;
		avm_radix_spare_put(spares, root);
	}
}

void *avm_radix_erase(struct avm_radix *radix, uint64_t index, struct avm_radix_spares *spares)
{
	struct avm_radix_node *way[MAX_HEIGHT];
	struct avm_radix_node *node = radix->root;

	if (!covers(radix, index))
		return NULL;
	for (;; node = node->slot[slot_of(index, node->level)]) {
		if (!node)
			return NULL;
		way[node->level] = node;
		if (!node->level)
			break;
	}

	void *item = node->slot[slot_of(index, 0)];

	if (!item)
		return NULL;
	rnode_clear(node, slot_of(index, 0));
	for (uint32_t level = 0; !way[level]->used;) {
		avm_radix_spare_put(spares, way[level]);
		if (++level == radix->height) {
			avm_radix_init(radix);
			break;
		}
		rnode_clear(way[level], slot_of(index, level));
	}
	shrink(radix, spares);
	return item;
}

/*
 * Down along *index while there is a way; where there is none, up to the first node with a used slot
 * further right, and from there always the first. In a node entered on such a detour, all is right.
 */
void *avm_radix_next(const struct avm_radix *radix, uint64_t *index, uint64_t last)
{
	const struct avm_radix_node *way[MAX_HEIGHT];
	uint64_t at = *index;
	uint32_t level = radix->height - 1;

	if (!covers(radix, at) || at > last)
		return NULL;
	way[level] = radix->root;
	for (;;) {
		uint32_t from = slot_of(at, level);
		uint32_t i = avm_rnode_next(way[level], from);

		while (i == FANOUT) {
			if (++level == radix->height)
				return NULL;
			from = slot_of(at, level);
			i = avm_rnode_next(way[level], from + 1);
		}
		if (i != from) {
			/* The digits below start again from 0. */
			uint64_t unit = UINT64_C(1) << (level * BITS);

			at = (at & ~(unit * FANOUT - 1)) | unit * i;
			if (at > last)
				return NULL;
		}
		if (!level) {
			*index = at;
			return way[0]->slot[i];
		}
		way[level - 1] = way[level]->slot[i];
		level--;
	}
}
