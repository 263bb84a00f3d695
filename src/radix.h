/* SPDX-License-Identifier: MIT */
/*
 * A map from any 64-bit index to a pointer that is not NULL: the pages of a file by their offset.
 *
 * A radix tree of 64-way nodes, as high as the largest index needs (at most 11 levels). Each node has
 * a bitmap of its used slots, so that finding the next entry skips empty ones, and a node without
 * entries does not exist. Nothing recurses. One lock covers the tree; it is not for lock-free readers.
 */
#ifndef AVM_RADIX_H
#define AVM_RADIX_H

#include "anonvm/types.h"

#define AVM_RADIX_NODE_BYTES (64 * sizeof(void *) + 16)

static inline void avm_radix_init(struct avm_radix *radix)
{
	radix->root = NULL;
	radix->height = 0;
}

static inline bool avm_radix_empty(const struct avm_radix *radix)
{
	return !radix->root;
}

/*
 * Nodes that are in no tree: those that an insertion may take, those that an erasure has left. The
 * tree neither allocates nor frees: it is changed under a lock under which neither is allowed.
 */
struct avm_radix_spares {
	struct avm_radix_node *first;
	uint32_t nr;
};

/* AVM_RADIX_NODE_BYTES of memory, aligned for pointers; get returns NULL when there are none left. */
void avm_radix_spare_put(struct avm_radix_spares *spares, void *memory);
void *avm_radix_spare_get(struct avm_radix_spares *spares);

/*
 * Puts @item at @index. Returns 0; -EEXIST: something is there; -ENOMEM: it takes more nodes than
 * there are spares (none at all in most cases). An error has changed nothing.
 */
int avm_radix_insert(struct avm_radix *radix, uint64_t index, void *item,
		     struct avm_radix_spares *spares);

/* Puts @item where something is already, and returns that. NULL: nothing is, nothing done. */
void *avm_radix_replace(struct avm_radix *radix, uint64_t index, void *item);

/* Takes out what is at @index and returns it, or NULL. The nodes that became empty are spare. */
void *avm_radix_erase(struct avm_radix *radix, uint64_t index, struct avm_radix_spares *spares);

/* What is at @index, or NULL. */
void *avm_radix_lookup(const struct avm_radix *radix, uint64_t index);

/* The first item in [*@index, @last], with *@index set to its index; NULL leaves *@index alone. */
void *avm_radix_next(const struct avm_radix *radix, uint64_t *index, uint64_t last);

/*
 * All items in [first, last], ascending. @index is a uint64_t variable, the index of @item. The body
 * may erase @item, and insert or erase anywhere else.
 */
#define avm_radix_for_each(item, radix, index, first, last) \
	for ((index) = (first), (item) = avm_radix_next(radix, &(index), last); (item); \
	     (item) = (index) < (last) ? (++(index), avm_radix_next(radix, &(index), last)) : \
					 NULL)

/*
 * For verify: NULL when every node is where it belongs and as full as it says and there are at most
 * @max_items items, else what is wrong first. Bounded, and follows no NULL or misaligned pointer.
 */
const char *avm_radix_check(const struct avm_radix *radix, uint64_t max_items);

/*
 * For verify, before the check, when links may lead anywhere: calls @visit for each node before it is
 * followed. False as soon as @visit has said so (no node, or one met before), or the height is wrong.
 */
typedef bool avm_radix_visit_fn(void *context, const void *node);

bool avm_radix_visit(const struct avm_radix *radix, avm_radix_visit_fn *visit, void *context);

#endif
