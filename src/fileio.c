/* SPDX-License-Identifier: MIT */
/* fileio.c - reading and writing a file through its page cache, and reading ahead (R14). */
#include "anonvm/file.h"

#include "file.h"
#include "frame.h"
#include "lock.h"
#include "page.h"
#include "reclaim.h"

/* avm_file_get_page(), and again when frames were short (R8.7). */
static int get_page(struct avm_file *f, uint64_t index, enum avm_get_how how, struct avm_page **out)
{
	struct avm_retry retry = avm_retry_begin(f->machine);
	int err;

	do {
		err = avm_file_get_page(f, index, how, out);
	} while (err == -AVM_ENOMEM && avm_retry(&retry, f->machine, NULL));
	return err;
}

int avm_file_hold_cached(struct avm_file *f, uint64_t index, struct avm_page **out)
{
	struct avm_retry retry = avm_retry_begin(f->machine);
	int err;

	do {
		err = avm_file_try_cached(f, index, out);
	} while (err == -AVM_ENOMEM && avm_retry(&retry, f->machine, NULL));
	return err;
}

int avm_file_clear_cached(struct avm_file *f, uint64_t index, size_t from, size_t to)
{
	struct avm_page *page;
	int err = avm_file_hold_cached(f, index, &page);

	if (err || !page)
		return err;
	avm_page_lock(f->machine, page);
	if (avm_page_file(page) == f) {
		avm_file_clear_bytes(f->machine, page, from, to);
		avm_page_set(page, AVM_PG_DIRTY);
	}
	avm_file_done_page(f, page);
	return 0;
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
		int err = get_page(f, first + done, AVM_GET_READ, &page);

		if (err < 0)
			return done ? (int64_t)done : err;
		avm_file_done_page(f, page);
	}
	return (int64_t)done;
}

/* ---- read and write -------------------------------------------------------------------------- */

/* Writers may race: the size only grows here. */
static avm_small void grow_size(struct avm_file *f, uint64_t size)
{
	uint64_t old = atomic_load_explicit(&f->size, memory_order_relaxed);

	while (old < size)
		if (atomic_compare_exchange_weak_explicit(
			    &f->size, &old, size, memory_order_release, memory_order_relaxed))
			return;
}

static avm_small size_t part_of_page(uint64_t offset, uint64_t len)
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
					 get_page(f, pos >> AVM_PAGE_SHIFT, AVM_GET_READ, &page);

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
		avm_file_done_page(f, page);
		if (!n)
			break;
		done += n;
	}
	return (int64_t)done;
}

/* How much of a write is possible; a file that knows its own size does not grow by it. */
static int clip_write(struct avm_file *f, uint64_t offset, uint64_t *len)
{
	uint64_t limit = f->ops->size ? f->ops->size(f) : AVM_FILE_MAX_BYTES;

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
		err = avm_file_clear_cached(f, size >> AVM_PAGE_SHIFT,
					    (size_t)(size & ~AVM_PAGE_MASK), AVM_PAGE_SIZE);
	if (err)
		return err;
	while (done < len) {
		uint64_t pos = offset + done;
		size_t n = part_of_page(pos, len - done);
		struct avm_page *page;

		err = get_page(f, pos >> AVM_PAGE_SHIFT,
			       n == AVM_PAGE_SIZE ? AVM_GET_WRITE_WHOLE : AVM_GET_WRITE_PART,
			       &page);
		if (err < 0)
			return done ? (int64_t)done : err;
		avm_port_frame_write(m, page->pfn, (size_t)(pos & ~AVM_PAGE_MASK),
				     (const char *)buf + done, n);
		avm_page_set(page, AVM_PG_DIRTY);
		done += n;
		if (!f->ops->size)
			grow_size(f, offset + done);
		avm_file_done_page(f, page);
	}
	return (int64_t)done;
}
