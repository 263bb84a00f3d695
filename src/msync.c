/* SPDX-License-Identifier: MIT */
/*
 * msync.c - dirty pages of files go back to where they came from (R13.4, R14).
 *
 * A page is written back under its lock, cleaned first: every entry becomes read-only and clean,
 * then the dirty flag is cleared, then the file writes. A store that comes meanwhile faults and
 * waits for the page lock; it makes the page dirty again, for the next time. So no store is ever
 * missed.
 */
#include "anonvm/file.h"
#include "anonvm/ops.h"

#include "file.h"
#include "lock.h"
#include "mm.h"
#include "page.h"
#include "rmap.h"
#include "vma.h"

/* => page locked, in the cache, dirty. Sleeps. */
static int write_locked(struct avm_file *f, uint64_t index, struct avm_page *page)
{
	int err = 0;

	avm_rmap_mkclean(f->machine, page);
	avm_page_clear(page, AVM_PG_DIRTY);
	/* A mapping may have written behind the end: that is not part of the file. */
	avm_file_clear_tail(f, page, avm_file_size(f));
	if (f->ops->write_page)
		err = f->ops->write_page(f, index, page);
	if (err) {
		avm_page_set(page, AVM_PG_DIRTY);
		return err < 0 ? err : -AVM_EIO;
	}
	avm_count(f->machine, AVM_EV_FILE_WRITE, 1);
	return 0;
}

static int write_if_dirty(struct avm_file *f, uint64_t index, struct avm_page *page)
{
	int err = 0;

	if (!avm_page_test(page, AVM_PG_DIRTY))
		return 0;
	avm_page_lock(f->machine, page);
	if (avm_page_file(page) == f && avm_page_test(page, AVM_PG_DIRTY))
		err = write_locked(f, index, page);
	avm_page_unlock(f->machine, page);
	return err;
}

/* All are tried; the first error is returned. No lock held; sleeps. */
static int sync_pages(struct avm_file *f, uint64_t first, uint64_t last)
{
	struct avm_page *page;
	uint64_t index = first;
	int result = 0;

	if (f->shmem) /* its pages are at home */
		return 0;
	while ((page = avm_file_next(f, &index, last))) {
		int err = write_if_dirty(f, index, page);

		avm_page_put(f->machine, page);
		if (!result)
			result = err;
		if (index++ == last)
			break;
	}
	return result;
}

int avm_file_sync(struct avm_file *f)
{
	return sync_pages(f, 0, UINT64_MAX);
}

/* What msync has to write next: pages first .. last of a file, held. */
struct target {
	struct avm_file *file; /* NULL: none is left */
	uint64_t first, last;
};

static bool needs_sync(const struct avm_vma *vma, uint32_t flags)
{
	return (flags & AVM_MS_SYNC) && vma->file && (vma->flags & AVM_VM_SHARED) &&
	       !(vma->flags & AVM_VM_SPECIAL);
}

/*
 * Looks for the next target in [*addr, end), and moves *addr behind it. *hole: nothing is mapped on
 * a part of the way. 0 or -EBUSY. => mmap_lock.
 */
static int next_target(struct avm_mm *mm, avm_addr_t *addr, avm_addr_t end, uint32_t flags,
		       struct target *t, bool *hole)
{
	t->file = NULL;
	while (*addr < end && !t->file) {
		struct avm_vma *vma = avm_mm_find(mm, *addr);
		avm_addr_t from = *addr;

		if (!vma || vma->start > from)
			*hole = true;
		if (!vma || vma->start >= end)
			return 0;
		if ((flags & AVM_MS_INVALIDATE) && (vma->flags & AVM_VM_LOCKED))
			return -AVM_EBUSY;
		if (from < vma->start)
			from = vma->start;
		*addr = vma->end < end ? vma->end : end;
		if (!needs_sync(vma, flags))
			continue;
		t->file = vma->file;
		t->first = avm_vma_index(vma, from);
		t->last = avm_vma_index(vma, *addr - AVM_PAGE_SIZE);
		avm_file_get(t->file);
	}
	return 0;
}

int avm_msync(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t flags)
{
	uint32_t known = AVM_MS_ASYNC | AVM_MS_INVALIDATE | AVM_MS_SYNC;
	avm_addr_t end = avm_page_up(addr + len);
	bool hole = false;

	if ((flags & ~known) || ((flags & AVM_MS_ASYNC) && (flags & AVM_MS_SYNC)) ||
	    !avm_page_aligned(addr))
		return -AVM_EINVAL;
	if (addr + len < addr || end < addr)
		return -AVM_ENOMEM;
	for (;;) {
		struct target t;
		int err;

		if (avm_mmap_read_lock(mm))
			return -AVM_EINTR;
		err = next_target(mm, &addr, end, flags, &t, &hole);
		avm_mmap_read_unlock(mm);
		if (err)
			return err;
		if (!t.file)
			return hole ? -AVM_ENOMEM : 0;
		/* Without mmap_lock: that may take long. The set of VMAs may be another then. */
		err = sync_pages(t.file, t.first, t.last);
		avm_file_put(t.file);
		if (err)
			return err;
	}
}
