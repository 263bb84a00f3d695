/* SPDX-License-Identifier: MIT */
/*
 * file.c - the page cache of a file (R14).
 *
 * A page enters the cache locked and not up to date, is filled, and only then unlocked. So whoever
 * finds a page locks it before he trusts it, and looks again whether it is still the file's: it may
 * have been truncated meanwhile. A page leaves the cache locked and unmapped; its mapping is NULL
 * then.
 *
 * The cache holds one reference on each of its pages. Pages beyond the end of the file may be in it
 * for a moment only: truncation sets the size first and takes the pages out afterwards, and who
 * adds a page looks at the size again when it is in.
 */
#include "file.h"

#include <string.h>

#include "commit.h"
#include "error.h"
#include "frame.h"
#include "lock.h"
#include "lru.h"
#include "page.h"
#include "radix.h"
#include "slab.h"

static const struct avm_file_ops no_ops;

/* ---- life ------------------------------------------------------------------------------------ */

/* pre: size <= AVM_FILE_MAX_BYTES. One reference, the caller's. */
static void file_setup(struct avm *m, struct avm_file *f, const struct avm_file_ops *ops,
		       void *context, uint64_t size)
{
	memset(f, 0, sizeof(*f));
	f->machine = m;
	f->ops = ops ? ops : &no_ops;
	f->context = context;
	f->id = atomic_fetch_add_explicit(&m->next_id, 1, memory_order_relaxed);
	atomic_init(&f->size, size);
	atomic_init(&f->refs, 1);
	avm_itree_init(&f->mappings);
	avm_radix_init(&f->pages);
	avm_list_init(&f->swapped);
}

int avm_file_init(struct avm *m, struct avm_file *f, const struct avm_file_ops *ops, void *context,
		  uint64_t size)
{
	if (size > AVM_FILE_MAX_BYTES)
		return -AVM_EFBIG;
	file_setup(m, f, ops, context, size);
	return 0;
}

int avm_memfd(struct avm *m, struct avm_file *f, void *context, uint64_t size)
{
	int err = avm_file_init(m, f, NULL, context, size);

	if (!err)
		f->shmem = true;
	return err;
}

struct avm_file *avm_file_new_shmem(struct avm *m, uint64_t size)
{
	struct avm_file *f = avm_cache_alloc(m, &m->files);

	if (!f)
		return NULL;
	file_setup(m, f, NULL, NULL, size);
	f->shmem = true;
	f->owned = true;
	return f;
}

void avm_file_get(struct avm_file *f)
{
	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

bool avm_file_tryget(struct avm_file *f)
{
	return avm_ref_tryget(&f->refs);
}

void avm_file_done_page(struct avm_file *f, struct avm_page *page)
{
	avm_page_unlock(f->machine, page);
	avm_page_put(f->machine, page);
}

static avm_small void drop_cache(struct avm_file *f)
{
	struct avm_page *page;
	uint64_t index = 0;

	while ((page = avm_file_next(f, &index, UINT64_MAX))) {
		if (avm_cache_is_slot(page)) {
			avm_file_drop_slots(f, index, index);
			continue;
		}
		avm_page_lock(f->machine, page);
		if (avm_page_file(page) == f)
			avm_file_remove_page(f, page);
		avm_file_done_page(f, page);
		/* Reclaim may have had it, and moved it to swap, while we waited for the lock. */
	}
}

void avm_file_put(struct avm_file *f)
{
	struct avm *m = f->machine;
	uint32_t refs = atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel);

	AVM_BUG_ON(m, !refs);
	if (refs > 1)
		return;
	AVM_BUG_ON(m, !avm_itree_empty(&f->mappings)); /* each VMA holds a reference */
	drop_cache(f);
	avm_file_unlist(f);
	if (f->owned) {
		/* What its mmap has promised (R1.5). */
		avm_uncommit_shared(m, f->size >> AVM_PAGE_SHIFT);
		avm_cache_free(m, &m->files, f);
		return;
	}
	if (f->ops->release)
		f->ops->release(f);
}

/* ---- mappings -------------------------------------------------------------------------------- */

void avm_mappings_lock(struct avm_file *f)
{
	if (f)
		avm_rw_write_always(f->machine, &f->mmap_lock, AVM_LOCK_FILE);
}

void avm_mappings_unlock(struct avm_file *f)
{
	if (f)
		avm_rw_unlock_write(f->machine, &f->mmap_lock, AVM_LOCK_FILE);
}

void avm_mappings_lock_read(struct avm_file *f)
{
	avm_rw_read_always(f->machine, &f->mmap_lock, AVM_LOCK_FILE);
}

void avm_mappings_unlock_read(struct avm_file *f)
{
	avm_rw_unlock_read(f->machine, &f->mmap_lock, AVM_LOCK_FILE);
}

/* ---- size ------------------------------------------------------------------------------------ */

uint64_t avm_file_size(struct avm_file *f)
{
	if (f->ops->size)
		return f->ops->size(f);
	return atomic_load_explicit(&f->size, memory_order_acquire);
}

static bool beyond_end(struct avm_file *f, uint64_t index)
{
	return index >= avm_file_nr_pages(avm_file_size(f));
}

/* ---- contents -------------------------------------------------------------------------------- */

void avm_file_clear_bytes(struct avm *m, struct avm_page *page, size_t from, size_t to)
{
	static const char zeroes[128];

	while (from < to) {
		size_t n = to - from < sizeof(zeroes) ? to - from : sizeof(zeroes);

		avm_port_frame_write(m, page->pfn, from, zeroes, n);
		from += n;
	}
}

void avm_file_clear_tail(struct avm_file *f, struct avm_page *page, uint64_t size)
{
	uint64_t index = atomic_load_explicit(&page->index, memory_order_relaxed);
	size_t used = (size_t)(size & ~AVM_PAGE_MASK);

	if (used && index == size >> AVM_PAGE_SHIFT)
		avm_file_clear_bytes(f->machine, page, used, AVM_PAGE_SIZE);
}

/* => page locked. 0: zeroes; 1: read; or what the file said. */
static int fill_page(struct avm_file *f, uint64_t index, struct avm_page *page)
{
	int err;

	if (!f->ops->read_page) {
		avm_port_frame_clear(f->machine, page->pfn);
		return 0;
	}
	err = f->ops->read_page(f, index, page);
	if (err)
		return err < 0 ? err : -AVM_EIO;
	avm_count(f->machine, AVM_EV_FILE_READ, 1);
	/* Whatever the file has there: a mapping shows zeroes beyond the end. */
	avm_file_clear_tail(f, page, avm_file_size(f));
	return 1;
}

/* ---- the cache ------------------------------------------------------------------------------- */

void *avm_file_next(struct avm_file *f, uint64_t *index, uint64_t last)
{
	void *item;

	avm_spin_lock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	item = avm_radix_next(&f->pages, index, last);
	if (item && !avm_cache_is_slot(item))
		avm_page_get(item);
	avm_spin_unlock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	return item;
}

struct avm_page *avm_file_find(struct avm_file *f, uint64_t index)
{
	void *item = avm_file_next(f, &index, index);

	return avm_cache_is_slot(item) ? NULL : item;
}

/* Nodes of the index come and go without pages_lock: the lock of their cache is a leaf as well. */
static bool spares_grow(struct avm *m, struct avm_radix_spares *spares)
{
	void *node = avm_cache_alloc(m, &m->radix_nodes);

	if (node)
		avm_radix_spare_put(spares, node);
	return node;
}

void avm_file_drain_spares(struct avm *m, struct avm_radix_spares *spares)
{
	void *node;

	while ((node = avm_radix_spare_get(spares)))
		avm_cache_free(m, &m->radix_nodes, node);
}

/* 0, -EEXIST or -ENOMEM. On success the cache has its own reference. Sleeps. */
static int insert_page(struct avm_file *f, uint64_t index, struct avm_page *page)
{
	struct avm *m = f->machine;
	struct avm_radix_spares spares = { 0 };
	int err;

	/* Most insertions need no node: the first try brings none, each further one one more. */
	do {
		avm_spin_lock(m, &f->pages_lock, AVM_LOCK_LEAF);
		err = avm_radix_insert(&f->pages, index, page, &spares);
		if (!err) {
			avm_page_get(page);
			f->nr_pages++;
		}
		avm_spin_unlock(m, &f->pages_lock, AVM_LOCK_LEAF);
	} while (err == -AVM_ENOMEM && spares_grow(m, &spares));
	avm_file_drain_spares(m, &spares);
	return err;
}

/* Takes the page out, if nobody but the cache has more than `others` references on it. => page locked. */
static bool take_out(struct avm_file *f, struct avm_page *page, uint32_t others)
{
	struct avm *m = f->machine;
	uint64_t index = atomic_load_explicit(&page->index, memory_order_relaxed);
	struct avm_radix_spares spares = { 0 };
	const void *was = NULL;

	avm_assert_page_locked(m, page);
	/* New references are taken under this lock. */
	avm_spin_lock(m, &f->pages_lock, AVM_LOCK_LEAF);
	if (avm_page_refs(page) - 1 <= others) {
		was = avm_radix_erase(&f->pages, index, &spares);
		AVM_BUG_ON(m, was != page);
		f->nr_pages--;
	}
	avm_spin_unlock(m, &f->pages_lock, AVM_LOCK_LEAF);
	if (!was)
		return false;
	avm_file_drain_spares(m, &spares);
	atomic_store_explicit(&page->mapping, 0, memory_order_relaxed);
	avm_page_clear(page, AVM_PG_DIRTY);
	avm_page_put_one(m, page); /* the caller has another */
	return true;
}

void avm_file_remove_page(struct avm_file *f, struct avm_page *page)
{
	take_out(f, page, UINT32_MAX);
}

bool avm_file_evict_page(struct avm_file *f, struct avm_page *page)
{
	return take_out(f, page, 1);
}

bool avm_file_replace_page(struct avm_file *f, struct avm_page *from, struct avm_page *to)
{
	struct avm *m = f->machine;
	bool replaced;

	avm_spin_lock(m, &f->pages_lock, AVM_LOCK_LEAF);
	replaced = avm_page_refs(from) == 2;
	if (replaced) {
		avm_page_get(to);
		avm_radix_replace(&f->pages, atomic_load_explicit(&to->index, memory_order_relaxed),
				  to);
	}
	avm_spin_unlock(m, &f->pages_lock, AVM_LOCK_LEAF);
	if (replaced)
		avm_page_put_one(m, from);
	return replaced;
}

/* => page locked, in the cache (before the size is asked: G-R), not up to date. As fill_page(). */
static int fill_new_page(struct avm_file *f, uint64_t index, struct avm_page *page,
			 enum avm_get_how how)
{
	bool outside = beyond_end(f, index);

	if (how == AVM_GET_READ && outside)
		return -AVM_EFAULT;
	if (how == AVM_GET_WRITE_WHOLE)
		return 0;
	if (!outside)
		return fill_page(f, index, page);
	avm_port_frame_clear(f->machine, page->pfn);
	return 0;
}

/* Adds a page that is not in the cache: locked and held. As avm_file_get_page(), or -EEXIST. */
static avm_noinline int add_page(struct avm_file *f, uint64_t index, enum avm_get_how how,
				 struct avm_page **out)
{
	struct avm *m = f->machine;
	struct avm_page *page = avm_page_alloc(m, AVM_FRAME_USER);
	int err;

	if (!page)
		return -AVM_ENOMEM;
	avm_page_lock(m, page);
	atomic_store_explicit(&page->index, index, memory_order_relaxed);
	atomic_store_explicit(&page->mapping, (uintptr_t)f, memory_order_relaxed);
	/* There is nothing behind a page of shared anonymous memory: it is dirty from birth. */
	if (f->shmem)
		avm_page_set(page, AVM_PG_SHMEM | AVM_PG_DIRTY);
	err = insert_page(f, index, page);
	if (err < 0)
		goto undo;
	err = fill_new_page(f, index, page, how);
	if (err >= 0) {
		avm_page_set(page, AVM_PG_UPTODATE);
		avm_lru_add(m, page);
		*out = page;
		return err;
	}
	avm_file_remove_page(f, page);
undo:
	avm_file_done_page(f, page);
	return err;
}

/* What the cache has at an index: a page, held, or the slot of one. */
static void *find_item(struct avm_file *f, uint64_t index)
{
	void *item;

	avm_spin_lock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	item = avm_radix_lookup(&f->pages, index);
	if (item && !avm_cache_is_slot(item))
		avm_page_get(item);
	avm_spin_unlock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	return item;
}

/* There is no page: brings one, new or from its slot. -EEXIST: there is something else by now. */
static avm_noinline int bring_page(struct avm_file *f, uint64_t index, const void *item,
				   enum avm_get_how how, struct avm_page **out)
{
	int err;

	if (!item)
		return add_page(f, index, how, out);
	err = avm_file_swap_in(f, index, avm_cache_slot(item), out);
	return err == -AVM_EAGAIN ? -AVM_EEXIST : err;
}

int avm_file_get_page(struct avm_file *f, uint64_t index, enum avm_get_how how,
		      struct avm_page **out)
{
	struct avm *m = f->machine;
	struct avm_page *page;
	void *item;
	int err;

	for (;;) {
		if (how == AVM_GET_READ && beyond_end(f, index))
			return -AVM_EFAULT;
		item = find_item(f, index);
		if (!item || avm_cache_is_slot(item)) {
			err = bring_page(f, index, item, how, out);
			if (err == -AVM_EEXIST)
				continue;
			return err;
		}
		page = item;
		err = avm_page_lock_killable(m, page);
		if (err) {
			avm_page_put(m, page);
			return err;
		}
		/* Asked with the lock that truncation takes the page away under (G-R). */
		if (avm_page_file(page) == f && !(how == AVM_GET_READ && beyond_end(f, index))) {
			*out = page;
			return 0;
		}
		avm_file_done_page(f, page);
	}
}

int avm_file_try_cached(struct avm_file *f, uint64_t index, struct avm_page **out)
{
	void *item = find_item(f, index);
	int err;

	*out = item;
	if (!item || !avm_cache_is_slot(item))
		return 0;
	err = avm_file_get_page(f, index, AVM_GET_WRITE_PART, out);
	if (err < 0)
		return err;
	avm_page_unlock(f->machine, *out);
	return 0;
}
