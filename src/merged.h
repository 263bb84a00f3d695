/* SPDX-License-Identifier: MIT */
/*
 * merged.h - same-page merged pages: where they came from, and how they are found by their contents (R15).
 *
 *	page --mapping--> node --list--> item --> anon_vma --tree, by index--> VMAs, as for any page (R7)
 *			    ^		 item --> anon_vma --...
 *	     hash --tree----+
 *
 * An item stands for one place that gave up its page for this one: the anon_vma that the VMA there has, on which the
 * item holds a reference, and the page's index in that family (R1.2). Both stay right when the VMA is split, merged,
 * moved or copied, since its entries in trees do; so nothing has to be told when an address changes. What becomes wrong
 * is that the page is mapped there: a write copies it away, and the item stays until the page goes. It costs a walk a
 * look. There are AVM_MERGED_ITEMS of them at most; a page that has so many is not merged with any more.
 */
#ifndef AVM_MERGED_H
#define AVM_MERGED_H

#include "anon_vma.h"
#include "interval_tree.h"
#include "page.h"

#define AVM_MERGED_ITEMS 256u

/* What has a hash, in a tree by it. Equal ones may be there twice. */
struct avm_hashed {
	struct avm_inode node;
	uint64_t hash;
	struct avm_page *page;
};

static inline uint64_t avm_hashed_hash(const struct avm_hashed *h)
{
	return h->hash;
}

/* avm_hash_tree_insert(), _remove(), _iter_first(), _check() ... */
AVM_ITREE_DEFINE(avm_hash_tree, struct avm_hashed, node, avm_hashed_hash, avm_hashed_hash);

/* Constant once it is on the list, which it leaves with the page. */
struct avm_merged_item {
	struct avm_merged_item *next;
	struct avm_anon_vma *anon_vma;
	uint64_t index;
};

/*
 * One for each merged page; lives as long as the page.
 *   hashed: machine->merged_lock; in the tree unless nr_items is AVM_MERGED_ITEMS
 *   items: page lock to add; who holds the page may walk them without
 */
struct avm_merged {
	struct avm_hashed hashed;
	struct avm_merged_item *_Atomic items;
	uint32_t nr_items; /* page lock */
};

void avm_merged_init(struct avm *m); /* the caches */

/* NULL when the page is not merged. */
static inline struct avm_merged *avm_page_merged(const struct avm_page *page)
{
	uintptr_t mapping = atomic_load_explicit(&page->mapping, memory_order_acquire);

	if ((mapping & AVM_MAPPING_FLAGS) != AVM_MAPPING_FLAGS)
		return NULL;
	return (struct avm_merged *)(mapping & ~(uintptr_t)AVM_MAPPING_FLAGS);
}

/* Acquire: an item is whole, and those behind it (G-M). */
static inline struct avm_merged_item *avm_merged_items(const struct avm_merged *node)
{
	return atomic_load_explicit(&node->items, memory_order_acquire);
}

/* A merged page with this hash, held, to which an item can be added; NULL: none. */
struct avm_page *avm_merged_find(struct avm *m, uint64_t hash);

/*
 * The page becomes a merged one, with an item for where it is mapped now. 1 or -ENOMEM.
 * => page locked, anonymous, not exclusive, no entry writable; `av`, its anon_vma, stays meanwhile. As an allocation.
 */
int avm_merged_make(struct avm *m, struct avm_page *page, uint64_t hash, struct avm_anon_vma *av);

/*
 * The page is about to be mapped at `index` of the family of `av`: before mapcount rises (R6). False: no memory.
 * => page locked; av stays meanwhile. As an allocation.
 */
bool avm_merged_add(struct avm *m, struct avm_page *page, struct avm_anon_vma *av, uint64_t index);

/* => the page is merged, and held. */
bool avm_merged_has(const struct avm_page *page, const struct avm_anon_vma *av, uint64_t index);

/* Migration: `to` is the merged page from now on, and `from` is nobody's. => both locked, neither mapped. */
void avm_merged_move(struct avm *m, struct avm_page *from, struct avm_page *to);

#endif
