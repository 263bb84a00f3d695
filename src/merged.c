/* SPDX-License-Identifier: MIT */
/* merged.c - same-page merged pages (merged.h, R15). */
#include "merged.h"

#include "error.h"
#include "slab.h"

static void merged_release(struct avm *m, struct avm_page *page);

void avm_merged_init(struct avm *m)
{
	avm_cache_init(&m->merged, "merged page", sizeof(struct avm_merged), AVM_CACHE_PLAIN, NULL);
	avm_cache_init(&m->merged_items, "merged item", sizeof(struct avm_merged_item),
		       AVM_CACHE_PLAIN, NULL);
	m->merged_release = merged_release;
}

static void lock(struct avm *m) AVM_ACQUIRES(m->merged_lock);
static void unlock(struct avm *m) AVM_RELEASES(m->merged_lock);

static avm_noinline void lock(struct avm *m)
{
	avm_spin_lock(m, &m->merged_lock, AVM_LOCK_LEAF);
}

static void unlock(struct avm *m)
{
	avm_spin_unlock(m, &m->merged_lock, AVM_LOCK_LEAF);
}

struct avm_page *avm_merged_find(struct avm *m, uint64_t hash)
{
	struct avm_page *page = NULL;
	struct avm_hashed *h;

	lock(m);
	h = avm_hash_tree_iter_first(&m->merged_pages, hash, hash);
	/* One without references is being freed, and waits for this lock to leave the tree. */
	while (h && (avm_page_test(h->page, AVM_PG_POISONED) || !avm_page_tryget(h->page)))
		h = avm_hash_tree_iter_next(h, hash, hash);
	/* Under the lock: what is being moved may be another page's from here on, and the reference is on this one. */
	if (h)
		page = h->page;
	unlock(m);
	return page;
}

/* Release: a walker that holds the page alone may be on the list (G-M). */
static bool push(struct avm *m, struct avm_merged *node, struct avm_anon_vma *av, uint64_t index)
{
	struct avm_merged_item *item = avm_cache_alloc(m, &m->merged_items);

	if (!item)
		return false;
	avm_anon_vma_get(av);
	*item = (struct avm_merged_item){ avm_merged_items(node), av, index };
	atomic_store_explicit(&node->items, item, memory_order_release);
	node->nr_items++;
	return true;
}

int avm_merged_make(struct avm *m, struct avm_page *page, uint64_t hash, struct avm_anon_vma *av)
{
	struct avm_merged *node = avm_cache_alloc(m, &m->merged);

	avm_assert_page_locked(m, page);
	if (!node)
		return -AVM_ENOMEM;
	*node = (struct avm_merged){ .hashed = { .hash = hash, .page = page } };
	if (!push(m, node, av, atomic_load_explicit(&page->index, memory_order_relaxed))) {
		avm_cache_free(m, &m->merged, node);
		return -AVM_ENOMEM;
	}
	/* Nobody's to give up any more (R13.2), and not what a slot may have. */
	avm_page_clear(page, AVM_PG_LAZYFREE);
	avm_page_set(page, AVM_PG_DIRTY);
	atomic_store_explicit(&page->mapping, (uintptr_t)node | AVM_MAPPING_FLAGS,
			      memory_order_release);
	lock(m);
	avm_hash_tree_insert(&m->merged_pages, &node->hashed);
	unlock(m);
	return 1;
}

bool avm_merged_has(const struct avm_page *page, const struct avm_anon_vma *av, uint64_t index)
{
	const struct avm_merged_item *i;

	for (i = avm_merged_items(avm_page_merged(page)); i; i = i->next)
		if (i->anon_vma == av && i->index == index)
			return true;
	return false;
}

bool avm_merged_add(struct avm *m, struct avm_page *page, struct avm_anon_vma *av, uint64_t index)
{
	struct avm_merged *node = avm_page_merged(page);

	avm_assert_page_locked(m, page);
	if (avm_merged_has(page, av, index))
		return true;
	if (!push(m, node, av, index))
		return false;
	if (node->nr_items == AVM_MERGED_ITEMS) {
		lock(m);
		avm_hash_tree_remove(&m->merged_pages, &node->hashed);
		unlock(m);
	}
	return true;
}

void avm_merged_move(struct avm *m, struct avm_page *from, struct avm_page *to)
{
	struct avm_merged *node = avm_page_merged(from);

	avm_assert_page_locked(m, from);
	lock(m);
	node->hashed.page = to;
	unlock(m);
	atomic_store_explicit(&to->mapping, (uintptr_t)node | AVM_MAPPING_FLAGS,
			      memory_order_release);
	/* Anonymous still, as far as its list is concerned. */
	atomic_store_explicit(&from->mapping, AVM_MAPPING_ANON, memory_order_relaxed);
}

/* The page is being freed: nobody has a way to the items any more. May be under table locks: never sleeps. */
static void merged_release(struct avm *m, struct avm_page *page)
{
	struct avm_merged *node = avm_page_merged(page);
	struct avm_merged_item *item, *next;

	lock(m);
	if (avm_inode_linked(&node->hashed.node))
		avm_hash_tree_remove(&m->merged_pages, &node->hashed);
	unlock(m);
	for (item = avm_merged_items(node); item; item = next) {
		next = item->next;
		avm_anon_vma_put(m, item->anon_vma);
		avm_cache_free(m, &m->merged_items, item);
	}
	avm_cache_free(m, &m->merged, node);
}
