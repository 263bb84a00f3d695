/* SPDX-License-Identifier: MIT */
/*
 * filemap.c - faults on what is not anonymous: files, shared memory, devices (R8.6).
 *
 * A page is mapped under its lock, after a second look whether it is still the file's; truncation
 * locks each page before it takes it out, and unmaps it then. So no page stays mapped that has left
 * the cache. (It may still count as mapped, until somebody else who has emptied an entry has flushed.)
 *
 * A shared page is mapped writable only once the file knows (page_mkwrite) and the page is dirty: a
 * clean page is always read-only in every table. Shared anonymous memory has no file to tell, its
 * pages are dirty from birth: they are mapped writable at once.
 */
#include "fault.h"

#include "anon_vma.h"
#include "file.h"
#include "frame.h"
#include "mm.h"
#include "page.h"
#include "rmap.h"
#include "vma.h"

static unsigned error_bits(int err)
{
	if (err == -AVM_ENOMEM)
		return AVM_FAULT_OOM;
	if (err == -AVM_EAGAIN || err == -AVM_EINTR)
		return AVM_FAULT_RETRY;
	return AVM_FAULT_SIGBUS;
}

/* The entry for a cached page before anybody writes to it. */
static avm_pte_t clean_entry(const struct avm_vma *vma, const struct avm_page *page)
{
	avm_pte_t p = avm_pte_for(page, vma);
	uint64_t shared_write = AVM_VM_SHARED | AVM_VM_WRITE;

	if (vma->file->shmem && (vma->flags & shared_write) == shared_write)
		return avm_pte_mkwrite(p);
	return p;
}

/* Takes over the reference. => table locked, the entry is empty; page locked. */
static void map_cached(struct avm_vma *vma, struct avm_ptc *c, struct avm_page *page, avm_pte_t p)
{
	avm_rmap_add_file(page, vma);
	avm_rss_add(vma->mm, avm_page_rss(page), 1);
	avm_rmap_locked(vma, page, true);
	avm_ptc_set(c, p);
}

/* ---- many cached pages at once --------------------------------------------------------------- */

/*
 * Maps one page if that can be done without waiting. Under the table lock, so the page lock is only
 * tried; a page that is being read, truncated or written back is left to a fault of its own.
 */
static avm_small bool map_if_ready(struct avm_vma *vma, struct avm_ptc *c, struct avm_page *page)
{
	struct avm *m = vma->mm->machine;
	bool ready;

	if (!avm_pte_empty(avm_ptc_get(c)) || !avm_page_trylock(m, page)) {
		avm_page_put(m, page);
		return false;
	}
	ready = avm_page_file(page) == vma->file && avm_page_test(page, AVM_PG_UPTODATE);
	if (ready)
		map_cached(vma, c, page, clean_entry(vma, page));
	avm_page_unlock(m, page);
	if (!ready)
		avm_page_put(m, page);
	return ready;
}

/*
 * Maps what is cached of [c->addr, end), which lies in one table and in the VMA; returns how many
 * pages.
 * => table not locked. Allocates nothing.
 */
static uint64_t map_ready_pages(struct avm_vma *vma, struct avm_ptc *c, avm_addr_t end)
{
	uint64_t nr_pages = avm_file_nr_pages(avm_file_size(vma->file));
	uint64_t index = avm_vma_index(vma, c->addr);
	uint64_t last = avm_vma_index(vma, end - AVM_PAGE_SIZE);
	struct avm_page *page;
	uint64_t mapped = 0;

	if (!nr_pages || index >= nr_pages)
		return 0;
	if (last >= nr_pages)
		last = nr_pages - 1;
	avm_ptc_lock(c);
	while (index <= last && (page = avm_file_next(vma->file, &index, last))) {
		while (c->addr < avm_vma_addr(vma, index))
			avm_ptc_step(c);
		if (!avm_cache_is_slot(page))
			mapped += map_if_ready(vma, c, page);
		index++;
	}
	avm_ptc_unlock(c);
	return mapped;
}

/*
 * The pages that a fault may map besides its own: as many as configured, from the aligned block's
 * start (or the VMA's), within the VMA and the table. As Linux has it since 6.4: a block that the
 * start of the VMA cuts off goes on for its full length.
 */
static void around(const struct avm_fault_ctx *f, avm_addr_t *start, avm_addr_t *end)
{
	uint64_t bytes = (uint64_t)f->mm->machine->config.fault_around << AVM_PAGE_SHIFT;
	uint64_t span = (uint64_t)AVM_TABLE_ENTRIES << AVM_PAGE_SHIFT;
	avm_addr_t table_end = (f->addr & ~(span - 1)) + span;

	*start = f->addr & ~(bytes - 1);
	if (*start < f->vma->start)
		*start = f->vma->start;
	*end = *start + bytes;
	if (*end > table_end)
		*end = table_end;
	if (*end > f->vma->end)
		*end = f->vma->end;
}

/* True when the fault's own page is among those mapped. */
static bool fault_around(struct avm_fault_ctx *f)
{
	struct avm *m = f->mm->machine;
	avm_addr_t start, end;
	struct avm_ptc c;
	uint64_t mapped;
	bool own;

	if (m->config.fault_around <= 1)
		return false;
	around(f, &start, &end);
	c = f->c;
	c.pte -= (f->addr - start) >> AVM_PAGE_SHIFT;
	c.addr = start;
	mapped = map_ready_pages(f->vma, &c, end);
	own = mapped && !avm_pte_empty(avm_ptc_get(&f->c));
	avm_count(m, AVM_EV_FAULT_AROUND, mapped - own);
	return own;
}

/*
 * => mmap_lock. Pages of one VMA; a count, or -ENOMEM when nothing was mapped before tables ran
 * out.
 */
static int64_t map_cached_in(struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	uint64_t span = (uint64_t)AVM_TABLE_ENTRIES << AVM_PAGE_SHIFT;
	int64_t mapped = 0;

	while (start < end) {
		avm_addr_t stop = (start & ~(span - 1)) + span;
		struct avm_ptc c;

		if (stop > end)
			stop = end;
		if (avm_ptc_make(&c, vma->mm, start))
			return mapped ? mapped : -AVM_ENOMEM;
		mapped += (int64_t)map_ready_pages(vma, &c, stop);
		start = stop;
	}
	return mapped;
}

int64_t avm_map_cached(struct avm_mm *mm, avm_addr_t addr, uint64_t len)
{
	struct avm_part p = { .end = addr };
	int64_t mapped = 0;
	avm_addr_t end;

	if (!avm_range_ok(addr, len, mm->task_size, &end))
		return -AVM_EINVAL;
	if (addr == end)
		return 0;
	if (avm_mmap_read_lock(mm))
		return -AVM_EINTR;
	while (avm_mm_next_part(mm, &p, end)) {
		int64_t n;

		if (!p.vma->file || (p.vma->flags & AVM_VM_SPECIAL) ||
		    !(p.vma->flags & AVM_VM_ACCESS))
			continue;
		n = map_cached_in(p.vma, p.start, p.end);
		if (n < 0) {
			mapped = mapped ? mapped : n;
			break;
		}
		mapped += n;
	}
	avm_mmap_read_unlock(mm);
	return mapped;
}

/* ---- one page -------------------------------------------------------------------------------- */

/* What the fault becomes when it is done: `read` is what avm_file_get_page() said. */
static avm_small unsigned done_bits(int read, bool lost)
{
	return (read ? AVM_FAULT_MAJOR : AVM_FAULT_MINOR) | (lost ? AVM_FAULT_SPURIOUS : 0u);
}

/*
 * Private: the cached page is only a source. It stays locked until the copy is mapped, so that a
 * truncation, which takes the page out before it unmaps copies for the second time, finds the copy.
 */
static unsigned copy_absent(struct avm_fault_ctx *f)
{
	struct avm *m = f->mm->machine;
	struct avm_page *page, *cached;
	bool same;
	int read;

	page = avm_fault_new_page(f);
	if (!page)
		return AVM_FAULT_OOM;
	read = avm_file_get_page(f->vma->file, avm_vma_index(f->vma, f->addr), AVM_GET_READ,
				 &cached);
	if (read < 0) {
		avm_fault_drop_new(m, page);
		return error_bits(read);
	}
	avm_port_frame_copy(m, page->pfn, cached->pfn);
	same = avm_fault_lock_seen(f);
	if (same) {
		avm_fault_map_new(f, page);
		avm_ptc_unlock(&f->c);
	}
	avm_file_done_page(f->vma->file, cached);
	if (!same) {
		avm_fault_drop_new(m, page);
		return done_bits(read, true);
	}
	avm_count(m, AVM_EV_COW_COPY, 1);
	return done_bits(read, false) | AVM_FAULT_COW;
}

/* => page locked and the file's; sleeps. */
static bool file_refuses_write(struct avm_file *file, struct avm_page *page)
{
	if (!file->ops->page_mkwrite)
		return false;
	return file->ops->page_mkwrite(
		file, atomic_load_explicit(&page->index, memory_order_relaxed), page);
}

/* The cached page itself, for reading, or for writing to a shared mapping. */
static unsigned share_absent(struct avm_fault_ctx *f)
{
	struct avm *m = f->mm->machine;
	bool write = f->access == AVM_ACCESS_WRITE;
	struct avm_page *page;
	avm_pte_t p;
	bool same;
	int read;

	if (!write && fault_around(f))
		return AVM_FAULT_MINOR;
	read = avm_file_get_page(f->vma->file, avm_vma_index(f->vma, f->addr), AVM_GET_READ, &page);
	if (read < 0)
		return error_bits(read);
	if (write && file_refuses_write(f->vma->file, page)) {
		avm_file_done_page(f->vma->file, page);
		return AVM_FAULT_SIGBUS;
	}
	p = clean_entry(f->vma, page);
	same = avm_fault_lock_seen(f);
	if (same) {
		if (write) {
			avm_page_set(page, AVM_PG_DIRTY);
			p = avm_pte_written(p, f->vma);
		}
		map_cached(f->vma, &f->c, page, p);
		avm_ptc_unlock(&f->c);
	}
	avm_page_unlock(m, page);
	if (!same)
		avm_page_put(m, page);
	return done_bits(read, !same);
}

/* A bare frame. What a private mapping writes to, it copies at once: one fault, not two. */
static unsigned special_absent(struct avm_fault_ctx *f)
{
	struct avm_file *file = f->vma->file;
	avm_pfn_t pfn = AVM_PFN_NONE;
	avm_pte_t p;
	int err;

	/*
	 * avm_insert_pfn() has filled its range: an entry that is gone has nothing to come back
	 * from.
	 */
	if (!file || !file->ops->get_frame)
		return AVM_FAULT_SIGBUS;
	err = file->ops->get_frame(file, avm_vma_index(f->vma, f->addr), &pfn);
	if (err)
		return error_bits(err);
	p = avm_pte_mkspecial(avm_pte_make(pfn, f->vma->flags));
	if (!avm_fault_lock_seen(f))
		return AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS;
	if ((f->vma->flags & AVM_VM_SHARED) && (f->vma->flags & AVM_VM_WRITE))
		p = avm_pte_mkwrite(p);
	if (f->access == AVM_ACCESS_WRITE && avm_pte_write(p))
		p = avm_pte_mkdirty(p);
	avm_ptc_set(&f->c, p);
	f->seen = p;
	if (f->access == AVM_ACCESS_WRITE && !avm_pte_write(p))
		return avm_fault_write_protected(f);
	avm_ptc_unlock(&f->c);
	return AVM_FAULT_MINOR;
}

unsigned avm_fault_file(struct avm_fault_ctx *f)
{
	if (f->vma->flags & AVM_VM_SPECIAL)
		return special_absent(f);
	if (f->access == AVM_ACCESS_WRITE && !(f->vma->flags & AVM_VM_SHARED))
		return copy_absent(f);
	return share_absent(f);
}

/* ---- first write to a clean shared page ------------------------------------------------------ */

/* => table locked on entry, unlocked on return. */
static unsigned set_written(struct avm_fault_ctx *f)
{
	avm_ptc_set(&f->c, avm_pte_written(f->seen, f->vma));
	avm_ptc_unlock(&f->c);
	return AVM_FAULT_MINOR;
}

/*
 * The page lock keeps writeback out between its two steps (clean every entry, clear the dirty
 * flag): what becomes writable here is dirty afterwards, and stays so until the next writeback (G-L).
 */
static unsigned write_clean_page(struct avm_fault_ctx *f, struct avm_page *page)
{
	if (avm_page_file(page) != f->vma->file)
		return AVM_FAULT_MINOR |
		       AVM_FAULT_SPURIOUS; /* truncated: the next look finds no page */
	if (file_refuses_write(f->vma->file, page))
		return AVM_FAULT_SIGBUS;
	if (!avm_fault_lock_seen(f))
		return AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS;
	avm_page_set(page, AVM_PG_DIRTY);
	return set_written(f);
}

unsigned avm_fault_shared_write(struct avm_fault_ctx *f)
{
	struct avm *m = f->mm->machine;
	struct avm_page *page;
	unsigned bits;

	if (avm_pte_special(f->seen))
		return set_written(f);
	page = avm_page_of(m, avm_pte_pfn(f->seen));
	avm_page_get(page);
	avm_ptc_unlock(&f->c);
	if (avm_page_lock_killable(m, page)) {
		avm_page_put(m, page);
		return AVM_FAULT_RETRY;
	}
	bits = write_clean_page(f, page);
	avm_file_done_page(f->vma->file, page);
	return bits;
}
