/* SPDX-License-Identifier: MIT */
/*
 * file.c - the page cache of a file (R14), and reading and writing through it.
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

#include "error.h"
#include "frame.h"
#include "lock.h"
#include "lru.h"
#include "page.h"
#include "radix.h"
#include "slab.h"

#define MAX_BYTES ((uint64_t)INT64_MAX)

static const struct avm_file_ops no_ops;

/* ---- life ------------------------------------------------------------------------------------ */

/* pre: size <= MAX_BYTES. One reference, the caller's. */
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
}

int avm_file_init(struct avm *m, struct avm_file *f, const struct avm_file_ops *ops, void *context,
		  uint64_t size)
{
	if (size > MAX_BYTES)
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

static void drop_cache(struct avm_file *f)
{
	struct avm_page *page;
	uint64_t index = 0;

	while ((page = avm_file_next(f, &index, UINT64_MAX))) {
		avm_page_lock(f->machine, page);
		avm_file_remove_page(f, page);
		avm_page_unlock(f->machine, page);
		avm_page_put(f->machine, page);
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
	if (f->owned) {
		/* What its mmap has promised (R1.5). */
		atomic_fetch_sub_explicit(&m->committed, f->size >> AVM_PAGE_SHIFT,
					  memory_order_relaxed);
		avm_cache_free(m, &m->files, f);
		return;
	}
	if (f->ops->release)
		f->ops->release(f);
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

/* Writers may race: the size only grows here. */
static void grow_size(struct avm_file *f, uint64_t size)
{
	uint64_t old = atomic_load_explicit(&f->size, memory_order_relaxed);

	while (old < size)
		if (atomic_compare_exchange_weak_explicit(
			    &f->size, &old, size, memory_order_release, memory_order_relaxed))
			return;
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

void avm_file_clear_cached(struct avm_file *f, uint64_t index, size_t from, size_t to)
{
	struct avm_page *page = avm_file_find(f, index);

	if (!page)
		return;
	avm_page_lock(f->machine, page);
	if (avm_page_file(page) == f) {
		avm_file_clear_bytes(f->machine, page, from, to);
		avm_page_set(page, AVM_PG_DIRTY);
	}
	avm_page_unlock(f->machine, page);
	avm_page_put(f->machine, page);
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

struct avm_page *avm_file_next(struct avm_file *f, uint64_t *index, uint64_t last)
{
	struct avm_page *page;

	avm_spin_lock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	page = avm_radix_next(&f->pages, index, last);
	if (page)
		avm_page_get(page);
	avm_spin_unlock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	return page;
}

struct avm_page *avm_file_find(struct avm_file *f, uint64_t index)
{
	return avm_file_next(f, &index, index);
}

/* Nodes of the index come and go without pages_lock: the lock of their cache is a leaf as well. */
static bool spares_grow(struct avm *m, struct avm_radix_spares *spares)
{
	void *node = avm_cache_alloc(m, &m->radix_nodes);

	if (node)
		avm_radix_spare_put(spares, node);
	return node;
}

static void spares_drain(struct avm *m, struct avm_radix_spares *spares)
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
	spares_drain(m, &spares);
	return err;
}

void avm_file_remove_page(struct avm_file *f, struct avm_page *page)
{
	struct avm *m = f->machine;
	uint64_t index = atomic_load_explicit(&page->index, memory_order_relaxed);
	struct avm_radix_spares spares = { 0 };
	const void *was;

	avm_assert_page_locked(m, page);
	avm_spin_lock(m, &f->pages_lock, AVM_LOCK_LEAF);
	was = avm_radix_erase(&f->pages, index, &spares);
	f->nr_pages--;
	avm_spin_unlock(m, &f->pages_lock, AVM_LOCK_LEAF);
	AVM_BUG_ON(m, was != page);
	spares_drain(m, &spares);
	atomic_store_explicit(&page->mapping, 0, memory_order_relaxed);
	avm_page_clear(page, AVM_PG_DIRTY);
	avm_page_put(m, page);
}

enum get_how {
	GET_READ, /* a page of the file: -EFAULT beyond its end */
	GET_WRITE_PART, /* the file may be about to grow to hold it */
	GET_WRITE_WHOLE, /* every byte is about to be written: do not read */
};

/* => page locked, in the cache, not up to date. As fill_page(). */
static int fill_new_page(struct avm_file *f, uint64_t index, struct avm_page *page,
			 enum get_how how)
{
	bool outside = beyond_end(f, index);

	if (how == GET_READ && outside)
		return -AVM_EFAULT;
	if (how == GET_WRITE_WHOLE)
		return 0;
	if (!outside)
		return fill_page(f, index, page);
	avm_port_frame_clear(f->machine, page->pfn);
	return 0;
}

/* Adds a page that is not in the cache: locked and held. As avm_file_get_page(), or -EEXIST. */
static int add_page(struct avm_file *f, uint64_t index, enum get_how how, struct avm_page **out)
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
	avm_page_unlock(m, page);
	avm_page_put(m, page);
	return err;
}

static int get_page(struct avm_file *f, uint64_t index, enum get_how how, struct avm_page **out)
{
	struct avm *m = f->machine;
	struct avm_page *page;
	int err;

	for (;;) {
		if (how == GET_READ && beyond_end(f, index))
			return -AVM_EFAULT;
		page = avm_file_find(f, index);
		if (!page) {
			err = add_page(f, index, how, out);
			if (err == -AVM_EEXIST)
				continue;
			return err;
		}
		avm_page_lock(m, page);
		if (avm_page_file(page) == f && !(how == GET_READ && beyond_end(f, index))) {
			*out = page;
			return 0;
		}
		avm_page_unlock(m, page);
		avm_page_put(m, page);
	}
}

int avm_file_get_page(struct avm_file *f, uint64_t index, struct avm_page **out)
{
	return get_page(f, index, GET_READ, out);
}

int64_t avm_file_readahead(struct avm_file *f, uint64_t first, uint64_t n)
{
	uint64_t pages = avm_file_nr_pages(avm_file_size(f));
	uint64_t done;

	if (first >= pages)
		return 0;
	if (n > pages - first)
		n = pages - first;
	for (done = 0; done < n; done++) {
		struct avm_page *page;
		int err = get_page(f, first + done, GET_READ, &page);

		if (err < 0)
			return done ? (int64_t)done : err;
		avm_page_unlock(f->machine, page);
		avm_page_put(f->machine, page);
	}
	return (int64_t)done;
}

/* ---- read and write -------------------------------------------------------------------------- */

static size_t part_of_page(uint64_t offset, uint64_t len)
{
	uint64_t room = AVM_PAGE_SIZE - (offset & ~AVM_PAGE_MASK);

	return (size_t)(len < room ? len : room);
}

int64_t avm_file_read(struct avm_file *f, uint64_t offset, void *buf, uint64_t len)
{
	struct avm *m = f->machine;
	uint64_t done = 0;

	while (done < len) {
		uint64_t pos = offset + done, size;
		struct avm_page *page;
		size_t n;
		int err = pos < offset ? -AVM_EFAULT :
					 get_page(f, pos >> AVM_PAGE_SHIFT, GET_READ, &page);

		if (err == -AVM_EFAULT) /* the end */
			break;
		if (err < 0)
			return done ? (int64_t)done : err;
		size = avm_file_size(f);
		n = pos < size ? part_of_page(pos, len - done) : 0;
		if (n > size - pos)
			n = (size_t)(size - pos);
		avm_port_frame_read(m, page->pfn, (size_t)(pos & ~AVM_PAGE_MASK),
				    (char *)buf + done, n);
		avm_page_unlock(m, page);
		avm_page_put(m, page);
		if (!n)
			break;
		done += n;
	}
	return (int64_t)done;
}

/* How much of a write is possible; a file that knows its own size does not grow by it. */
static int clip_write(struct avm_file *f, uint64_t offset, uint64_t *len)
{
	uint64_t limit = f->ops->size ? f->ops->size(f) : MAX_BYTES;

	if (offset >= limit)
		return -AVM_EFBIG;
	if (*len > limit - offset)
		*len = limit - offset;
	return 0;
}

int64_t avm_file_write(struct avm_file *f, uint64_t offset, const void *buf, uint64_t len)
{
	struct avm *m = f->machine;
	uint64_t done = 0, size;
	int err;

	if (!len)
		return 0;
	err = clip_write(f, offset, &len);
	if (err)
		return err;
	/* What a mapping has scribbled behind the end must not show in the gap. */
	size = avm_file_size(f);
	if (offset > size && (size & ~AVM_PAGE_MASK))
		avm_file_clear_cached(f, size >> AVM_PAGE_SHIFT, (size_t)(size & ~AVM_PAGE_MASK),
				      AVM_PAGE_SIZE);
	while (done < len) {
		uint64_t pos = offset + done;
		size_t n = part_of_page(pos, len - done);
		struct avm_page *page;

		err = get_page(f, pos >> AVM_PAGE_SHIFT,
			       n == AVM_PAGE_SIZE ? GET_WRITE_WHOLE : GET_WRITE_PART, &page);
		if (err < 0)
			return done ? (int64_t)done : err;
		avm_port_frame_write(m, page->pfn, (size_t)(pos & ~AVM_PAGE_MASK),
				     (const char *)buf + done, n);
		avm_page_set(page, AVM_PG_DIRTY);
		done += n;
		if (!f->ops->size)
			grow_size(f, offset + done);
		avm_page_unlock(m, page);
		avm_page_put(m, page);
	}
	return (int64_t)done;
}
