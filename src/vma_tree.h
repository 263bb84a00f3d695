/* SPDX-License-Identifier: MIT */
/*
 * The index of the VMAs of one address space: who covers this address, where is there room.
 *
 * A B+-tree over disjoint ranges [start, end), and a list in the same order, linked by avm_vma.link.
 * An entry of a leaf is (end, gap, VMA); gap is the room between the VMA and the one before it (or
 * address 0), less the guard when the VMA grows down. An entry of an inner node is the same of its
 * child: (largest end, largest gap, child). So one node layout, one search, and a gap search that
 * never touches a VMA. Nodes of 512 bytes: 100,000 VMAs are five levels, of which the upper ones
 * stay in the cache.
 *
 * First promise: reserve() is the only operation that can fail. insert() after it, erase() and
 * set_range() cannot, since removing needs no memory.
 *
 * => The lock that protects the set of VMAs: held for write by everything that changes the tree
 *    (reserve and trim too), held in any mode by everything that only looks.
 * => avm_vma_tree_find() may also run without it, inside an RCU read section, if the free function of
 *    the nodes waits for the grace period and so does that of the VMAs. It then never crashes, but
 *    while the tree changes it may give a VMA that is not the right one, or none: the caller locks
 *    the VMA, looks again whether it covers the address and still belongs here, and takes the slow
 *    road otherwise. This is why ends and slots are atomic, unused slots NULL and unused ends
 *    UINT64_MAX at any moment, and why a freed node never goes to the reserve.
 *
 * start and end of a VMA in the tree change through avm_vma_tree_set_range() only.
 */
#ifndef AVM_VMA_TREE_H
#define AVM_VMA_TREE_H

#include "anonvm/vma.h"
#include "list.h"

#define AVM_VMA_NODE_BYTES 512

/*
 * Empty. Nodes of AVM_VMA_NODE_BYTES come from @nodes, which outlives the tree. @guard bytes below a
 * VMA with any of @guard_flags are not given away by the gap searches.
 */
void avm_vma_tree_init(struct avm_vma_tree *tree, const struct avm_node_alloc *nodes,
		       uint64_t guard, uint64_t guard_flags);

/* Frees every node and empties the list; the VMAs themselves are the caller's. Valid to use again. */
void avm_vma_tree_destroy(struct avm_vma_tree *tree);

/*
 * Whatever happens in between, @inserts insertions cannot fail now. Cheap when the nodes are there.
 * Returns 0, or -ENOMEM: nothing reserved that was not before.
 */
int avm_vma_tree_reserve(struct avm_vma_tree *tree, uint32_t inserts);

/* Gives back what is reserved and not used. */
void avm_vma_tree_trim(struct avm_vma_tree *tree);

/* The same, but for what so many insertions can need: they find it there. */
void avm_vma_tree_keep(struct avm_vma_tree *tree, uint32_t inserts);

/* pre: reserved; start < end; disjoint from all others. Links into the list as well. */
void avm_vma_tree_insert(struct avm_vma_tree *tree, struct avm_vma *vma);

/*
 * Two steps for many: only where AVM_FAST says so, elsewhere set_range(), insert() and erase() do the same.
 *
 * The @n of @upper enter as what lies above the start of the first of them in @vma, which keeps what is below. pre:
 * reserved; @vma is in @tree; they have their ranges, in order, without gaps.
 */
void avm_vma_tree_split(struct avm_vma_tree *tree, struct avm_vma *vma,
			struct avm_vma *const *upper, uint32_t n);

/*
 * @vma grows to the end of @last, a VMA above it that goes, and so do those in between. pre: both are in @tree.
 */
void avm_vma_tree_join(struct avm_vma_tree *tree, struct avm_vma *vma, struct avm_vma *last);

/*
 * A tree out of VMAs that come in order: begin, append each, finish. Before it is finished it is empty to everybody who looks.
 * Only where AVM_FAST says so, elsewhere reserve() and insert() do the same.
 *
 * begin: pre: the tree is empty. 0, or -ENOMEM: nothing reserved that was not before. append: pre: no more VMAs than were
 * said; @vma lies above all others. Links into the list as well. finish: also after none, or some.
 */
int avm_vma_tree_begin(struct avm_vma_tree *tree, uint32_t vmas);
void avm_vma_tree_append(struct avm_vma_tree *tree, struct avm_vma *vma);
void avm_vma_tree_finish(struct avm_vma_tree *tree);

/* pre: @vma is in @tree. Takes it off the list as well. */
void avm_vma_tree_erase(struct avm_vma_tree *tree, struct avm_vma *vma);

/*
 * Sets vma->start and vma->end. pre: @vma is in @tree; start < end; it meets no other (to move the
 * border of two neighbours, shrink one first); the order stays. Also, with the range it has, after a
 * change of the flags that decide over the guard.
 */
void avm_vma_tree_set_range(struct avm_vma_tree *tree, struct avm_vma *vma, avm_addr_t start,
			    avm_addr_t end);

/* The first VMA that ends above @addr (it covers @addr if it starts there or below), or NULL. */
struct avm_vma *avm_vma_tree_find(const struct avm_vma_tree *tree, avm_addr_t addr);

/*
 * The same, for who may change the tree: the way that it takes is kept, and the change that comes (an insertion at @addr,
 * a change of the VMA that is found, or of a neighbour in its leaf) goes without one. Only where AVM_FAST says so.
 */
struct avm_vma *avm_vma_tree_find_way(struct avm_vma_tree *tree, avm_addr_t addr);

/*
 * insert() right behind a find_way() for the start of @vma, which goes by the way that this one took. Only where AVM_FAST says so.
 */
void avm_vma_tree_insert_found(struct avm_vma_tree *tree, struct avm_vma *vma);

/* The first VMA that has a byte in [@start, @end), or NULL. pre: start < end. */
static inline struct avm_vma *avm_vma_tree_find_intersection(const struct avm_vma_tree *tree,
							     avm_addr_t start, avm_addr_t end)
{
	struct avm_vma *vma = avm_vma_tree_find(tree, start);

	return vma && vma->start < end ? vma : NULL;
}

/* The gap that is taken: the first from above, or from below. */
enum avm_gap_order {
	AVM_GAP_TOPDOWN,
	AVM_GAP_BOTTOMUP,
};

struct avm_gap {
	uint64_t len, align; /* align: a power of two */
	avm_addr_t low, high;
	enum avm_gap_order order;
};

/*
 * The highest, the lowest address a, a multiple of the alignment, such that [a, a + len) lies in
 * [low, high) and is free, guards counting as taken. False, with *@addr untouched, when there is no
 * such place.
 * O(log n), plus O(1) for each gap that is long enough but has no aligned place; with addresses and
 * a length that are multiples of the alignment there are none.
 */
bool avm_vma_tree_find_gap(const struct avm_vma_tree *tree, const struct avm_gap *wanted,
			   avm_addr_t *addr);

static inline struct avm_vma *avm_vma_tree_first(const struct avm_vma_tree *tree)
{
	return avm_list_first_or_null(&tree->list, struct avm_vma, link);
}

static inline struct avm_vma *avm_vma_tree_last(const struct avm_vma_tree *tree)
{
	return avm_list_last_or_null(&tree->list, struct avm_vma, link);
}

/* The neighbours of a VMA in the tree, or NULL. */
static inline struct avm_vma *avm_vma_tree_next(const struct avm_vma_tree *tree,
						const struct avm_vma *vma)
{
	return avm_list_is_last(&vma->link, &tree->list) ? NULL :
							   avm_list_next(vma, struct avm_vma, link);
}

static inline struct avm_vma *avm_vma_tree_prev(const struct avm_vma_tree *tree,
						const struct avm_vma *vma)
{
	return avm_list_is_first(&vma->link, &tree->list) ?
		       NULL :
		       avm_list_prev(vma, struct avm_vma, link);
}

/*
 * For verify (V1): reports everything that is wrong with the tree, its list, its count and its
 * reserve, and returns how many reports it made. @max_vmas bounds the work on a tree that has gone
 * round in circles. Nothing is followed that is not a plausible node on the expected level.
 */
typedef void avm_vma_tree_report_fn(void *context, avm_addr_t where, const char *what);

uint32_t avm_vma_tree_check(const struct avm_vma_tree *tree, uint64_t max_vmas,
			    avm_vma_tree_report_fn *report, void *context);

#endif
