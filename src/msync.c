/* SPDX-License-Identifier: MIT */
/* msync.c - dirty pages of files go back to where they came from (R13.4, R14; writeback.h). */
#include "anonvm/file.h"
#include "anonvm/ops.h"

#include "file.h"
#include "lock.h"
#include "mm.h"
#include "page.h"
#include "vma.h"
#include "writeback.h"

static int write_if_dirty(struct avm_file *f, struct avm_page *page)
{
	int err = 0;

	if (!avm_page_test(page, AVM_PG_DIRTY))
		return 0;
	avm_page_lock(f->machine, page);
	if (avm_page_file(page) == f && avm_page_test(page, AVM_PG_DIRTY))
		err = avm_writeback(f, page);
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
		int err = write_if_dirty(f, page);

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
 * Goes on to the next target. 0 or -EBUSY. => mmap_lock.
 */
static int next_target(struct avm_mm *mm, struct avm_part *p, avm_addr_t end, uint32_t flags,
		       struct target *t)
{
	t->file = NULL;
	while (!t->file && avm_mm_next_part(mm, p, end)) {
		struct avm_vma *vma = p->vma;

		if ((flags & AVM_MS_INVALIDATE) && (vma->flags & AVM_VM_LOCKED))
			return -AVM_EBUSY;
		if (!needs_sync(vma, flags))
			continue;
		t->file = vma->file;
		t->first = avm_vma_index(vma, p->start);
		t->last = avm_vma_index(vma, p->end - AVM_PAGE_SIZE);
		avm_file_get(t->file);
	}
	return 0;
}

int avm_msync(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t flags)
{
	uint32_t known = AVM_MS_ASYNC | AVM_MS_INVALIDATE | AVM_MS_SYNC;
	avm_addr_t end = avm_page_up(addr + len);
	struct avm_part p = { .end = addr };

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
		err = next_target(mm, &p, end, flags, &t);
		avm_mmap_read_unlock(mm);
		if (err)
			return err;
		if (!t.file)
			return p.hole ? -AVM_ENOMEM : 0;
		/* Without mmap_lock: that may take long. The set of VMAs may be another then. */
		err = sync_pages(t.file, t.first, t.last);
		avm_file_put(t.file);
		if (err)
			return err;
	}
}
