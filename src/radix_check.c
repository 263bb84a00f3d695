/* SPDX-License-Identifier: MIT */
/* The checker of radix trees (radix.h), for verify. */
#include "radix_node.h"

static const char *check_rnode(const struct avm_radix_node *node, uint32_t level)
{
	if (!node || (uintptr_t)node % _Alignof(struct avm_radix_node))
		return "radix tree: a link leads to something that is no node";
	if (node->level != level)
		return "radix tree: a node is on the wrong level";
	if (!node->used)
		return "radix tree: a node has no entries";
	for (uint32_t i = 0; i < AVM_RADIX_FANOUT; i++) {
		if (!node->slot[i] != !(node->used >> i & 1))
			return "radix tree: the bitmap of a node differs from its slots";
	}
	return NULL;
}

const char *avm_radix_check(const struct avm_radix *radix, uint64_t max_items)
{
	const struct avm_radix_node *way[AVM_RADIX_MAX_HEIGHT];
	uint32_t from[AVM_RADIX_MAX_HEIGHT];
	uint32_t height = radix->height;
	uint32_t level = height - 1;
	uint64_t items = 0, nodes = 1;

	if (height > AVM_RADIX_MAX_HEIGHT || !height != !radix->root)
		return "radix tree: the height is wrong";
	if (!height)
		return NULL;

	const char *fault = check_rnode(radix->root, level);

	if (!fault && level && radix->root->used == 1)
		fault = "radix tree: the root is not needed";
	way[level] = radix->root;
	from[level] = 0;
	while (!fault && level < height) {
		uint32_t i = avm_rnode_next(way[level], from[level]);

		from[level] = i + 1;
		if (i == AVM_RADIX_FANOUT) {
			level++;
		} else if (level) {
			way[level - 1] = way[level]->slot[i];
			level--;
			from[level] = 0;
			fault = check_rnode(way[level], level);
			if (!fault && nodes++ / AVM_RADIX_MAX_HEIGHT > max_items)
				fault = "radix tree: more nodes than the items can need";
		} else if (items++ == max_items) {
			fault = "radix tree: more items than there can be";
		}
	}
	return fault;
}

bool avm_radix_visit(const struct avm_radix *radix, avm_radix_visit_fn *visit, void *context)
{
	const struct avm_radix_node *way[AVM_RADIX_MAX_HEIGHT];
	uint32_t from[AVM_RADIX_MAX_HEIGHT];
	uint32_t height = radix->height;
	uint32_t level = height - 1;

	if (height > AVM_RADIX_MAX_HEIGHT || !height != !radix->root)
		return false;
	if (!height)
		return true;
	if (!visit(context, radix->root))
		return false;
	way[level] = radix->root;
	from[level] = 0;
	while (level < height) {
		uint32_t i = level ? from[level] : AVM_RADIX_FANOUT; /* slots of a leaf are items */

		if (i == AVM_RADIX_FANOUT) {
			level++;
			continue;
		}
		from[level] = i + 1;
		if (!way[level]->slot[i])
			continue;
		if (!visit(context, way[level]->slot[i]))
			return false;
		way[level - 1] = way[level]->slot[i];
		from[--level] = 0;
	}
	return true;
}
