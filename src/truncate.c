/* SPDX-License-Identifier: MIT */
/*
 * truncate.c - pages that leave a file: truncation, holes, invalidation (R14).
 *
 * Each page leaves in the same order: its entries are taken away, then, under its lock, it leaves
 * the cache. A fault that got in between holds the page lock until it has mapped what it maps; so
 * whoever has the lock next finds the entry and takes it away, too. Private copies are made under
 * the lock of the page they are copied from: the second pass over the range, when all pages are
 * out, sees them.
 */
#include "anonvm/file.h"

#include "error.h"
#include "file.h"
#include "lock.h"
#include "page.h"
#include "zap.h"

enum take_what {
	TAKE_ALL,
	TAKE_CLEAN, /* dirty pages stay */
};

/* Takes one page out. False when it was dirty and stays. => page held, not locked; sleeps. */
static bool take_page(struct avm_file *f, struct avm_page *page, uint64_t index,
		      enum take_what what)
{
	struct avm *m = f->machine;
	bool taken = true;

	avm_page_lock(m, page);
	if (avm_page_file(page) == f) {
		/* Also brings the dirty bits of the entries into the page. */
		if (!AVM_FAST || avm_page_mapped(page))
			avm_zap_file(f, index, index, AVM_ZAP_FILE_ONLY);
		taken = what == TAKE_ALL || !avm_page_test(page, AVM_PG_DIRTY);
		if (taken)
			avm_file_remove_page(f, page);
	}
	avm_page_unlock(m, page);
	return taken;
}

/*
 * Takes the pages first .. last out of the cache, or all but those that are dirty: false if there are any. A page may go to
 * its slot and come back while we are at it, so each place is looked at until there is neither: all pages first and then all
 * slots would miss what has come back behind us. Sleeps.
 */
static bool take_pages(struct avm_file *f, uint64_t first, uint64_t last, enum take_what what)
{
	uint64_t index = first;
	bool all = true;
	void *item;

	while ((item = avm_file_next(f, &index, last))) {
		if (!avm_cache_is_slot(item)) {
			all &= take_page(f, item, index, what);
			avm_page_put(f->machine, item);
		} else if (what == TAKE_ALL) {
			avm_file_drop_slots(f, index, index);
		}
		if (what == TAKE_CLEAN && index++ == last)
			break;
	}
	return all;
}

int avm_file_truncate(struct avm_file *f, uint64_t size)
{
	uint64_t old = avm_file_size(f), edge = size < old ? size : old;
	uint64_t first = avm_file_nr_pages(size);
	struct avm_page *held = NULL;
	int err;

	if (size > AVM_FILE_MAX_BYTES)
		return -AVM_EFBIG;
	if (edge & ~AVM_PAGE_MASK) {
		err = avm_file_hold_cached(f, edge >> AVM_PAGE_SHIFT, &held);
		if (err)
			return err;
	}
	atomic_store_explicit(&f->size, size, memory_order_release);
	/*
	 * Growing: what a mapping has scribbled behind the old end must not become part of the
	 * file.
	 */
	if (held) {
		(void)avm_file_clear_cached(f, edge >> AVM_PAGE_SHIFT,
					    (size_t)(edge & ~AVM_PAGE_MASK), AVM_PAGE_SIZE);
		avm_page_put(f->machine, held);
	}
	/* From here on nobody brings in a page beyond the end (G-R). */
	avm_zap_file(f, first, UINT64_MAX, AVM_ZAP_ALL);
	take_pages(f, first, UINT64_MAX, TAKE_ALL);
	avm_zap_file(f, first, UINT64_MAX, AVM_ZAP_ALL);
	return 0;
}

/* The parts of pages at the edges of a hole [start, end). */
static int clear_edges(struct avm_file *f, uint64_t start, uint64_t end)
{
	uint64_t head = start & ~AVM_PAGE_MASK, tail = end & ~AVM_PAGE_MASK;
	bool same_page = start >> AVM_PAGE_SHIFT == end >> AVM_PAGE_SHIFT;
	int err = 0;

	if (head)
		err = avm_file_clear_cached(f, start >> AVM_PAGE_SHIFT, (size_t)head,
					    same_page ? (size_t)tail : (size_t)AVM_PAGE_SIZE);
	if (!err && tail && !(head && same_page))
		err = avm_file_clear_cached(f, end >> AVM_PAGE_SHIFT, 0, (size_t)tail);
	return err;
}

int avm_file_punch(struct avm_file *f, uint64_t offset, uint64_t len)
{
	uint64_t first, end;
	int err;

	if (!len)
		return -AVM_EINVAL;
	if (offset > AVM_FILE_MAX_BYTES || len > AVM_FILE_MAX_BYTES - offset)
		return -AVM_EFBIG;
	err = clear_edges(f, offset, offset + len);
	if (err)
		return err;
	first = avm_file_nr_pages(offset);
	end = (offset + len) >> AVM_PAGE_SHIFT;
	if (first >= end)
		return 0;
	avm_zap_file(f, first, end - 1, AVM_ZAP_FILE_ONLY);
	take_pages(f, first, end - 1, TAKE_ALL);
	return 0;
}

int avm_file_invalidate(struct avm_file *f, uint64_t first, uint64_t n)
{
	uint64_t last = n > UINT64_MAX - first ? UINT64_MAX : first + n - 1;

	if (!n)
		return 0;
	return take_pages(f, first, last, TAKE_CLEAN) ? 0 : -AVM_EBUSY;
}
