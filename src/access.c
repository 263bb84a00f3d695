/* SPDX-License-Identifier: MIT */
/*
 * access.c - the core itself as a user of address spaces: copying in and out, populating, keys
 * (R8.10).
 *
 * The bytes of a page are read and written under the lock of its table. So the entry that allowed
 * the access still stands while it happens: no fork can share the page, and no fault replace it,
 * between the look and the write.
 */
#include "fault.h"

#include "file.h"
#include "frame.h"
#include "mm.h"
#include "page.h"
#include "vma.h"

/* One way through an address space: who, for what, with what rights. */
struct way {
	struct avm_mm *mm;
	enum avm_access access;
	enum avm_force force;
};

int avm_fault_errno(unsigned bits)
{
	if (bits & AVM_FAULT_OOM)
		return -AVM_ENOMEM;
	if (bits & AVM_FAULT_SIGBUS)
		return -AVM_EIO;
	if (bits & AVM_FAULT_RETRY)
		return -AVM_EAGAIN;
	return (bits & AVM_FAULT_ERROR) ? -AVM_EFAULT : 0;
}

/*
 * May what is behind a read-only entry be written by force? The VMA is private, or the force would
 * not have been allowed; and only this process sees the page.
 */
static bool forced_write_ok(const struct way *w, avm_pte_t p)
{
	const struct avm_page *page = avm_page_of(w->mm->machine, avm_pte_pfn(p));

	return w->force == AVM_FORCE_YES && !avm_pte_special(p) && avm_page_is_exclusive(page);
}

/* Does the entry as it stands allow the access? The VMA does. => table locked. */
static bool entry_ok(const struct way *w, avm_pte_t p)
{
	if (!avm_pte_present(p))
		return false;
	if (w->access == AVM_ACCESS_WRITE)
		return avm_pte_write(p) || forced_write_ok(w, p);
	if (avm_pte_none_access(p) && w->force == AVM_FORCE_NO)
		return false;
	return w->access != AVM_ACCESS_EXEC || avm_pte_exec(p);
}

/* The VMA of addr if it allows the access, or NULL. => mmap_lock. */
static struct avm_vma *usable_vma(const struct way *w, avm_addr_t addr)
{
	struct avm_vma *vma = avm_mm_find_exact(w->mm, addr);

	return vma && avm_access_ok(vma, w->access, w->force) ? vma : NULL;
}

/* ---- copying --------------------------------------------------------------------------------- */

/*
 * Bytes within one page. False when a fault is needed first. *bad: never, the frame has no
 * contents.
 * => mmap_lock; table not locked.
 */
static avm_small bool copy_in_page(const struct way *w, avm_addr_t addr, void *buf, size_t n,
				   bool *bad)
{
	struct avm *m = w->mm->machine;
	size_t offset = (size_t)(addr & ~AVM_PAGE_MASK);
	struct avm_ptc c;
	avm_pte_t p;
	bool ok;

	if (!avm_ptc_at(&c, w->mm, avm_page_down(addr)))
		return false;
	avm_ptc_lock(&c);
	p = avm_ptc_get(&c);
	ok = entry_ok(w, p);
	*bad = ok && avm_pte_special(p) && !avm_page_of(m, avm_pte_pfn(p));
	if (ok && !*bad) {
		bool write = w->access == AVM_ACCESS_WRITE;

		if (write)
			avm_port_frame_write(m, avm_pte_pfn(p), offset, buf, n);
		else
			avm_port_frame_read(m, avm_pte_pfn(p), offset, buf, n);
		/* The MMU sets bits beside us: empty in between, so that none is lost. */
		p = avm_pte_mkyoung(avm_ptc_take(&c, 0));
		avm_ptc_change(&c, 0, write ? avm_pte_mkdirty(p) : p);
	}
	avm_ptc_unlock(&c);
	return ok && !*bad;
}

/* As much as needs no fault, from the start of the range. => mmap_lock. */
static uint64_t copy_present(const struct way *w, avm_addr_t addr, char *buf, uint64_t len,
			     bool *bad)
{
	const struct avm_vma *vma = NULL;
	uint64_t done = 0;

	while (done < len) {
		avm_addr_t pos = addr + done;
		uint64_t room = AVM_PAGE_SIZE - (pos & ~AVM_PAGE_MASK);
		size_t n = (size_t)(len - done < room ? len - done : room);

		if (!vma || pos >= vma->end)
			vma = usable_vma(w, pos);
		if (!vma || !copy_in_page(w, pos, buf + done, n, bad))
			break;
		done += n;
	}
	return done;
}

static int64_t copy(const struct way *w, avm_addr_t addr, void *buf, uint64_t len)
{
	uint64_t done = 0;
	int err = 0;

	while (done < len && !err) {
		bool bad = false;

		if (avm_mmap_read_lock(w->mm))
			return done ? (int64_t)done : -AVM_EINTR;
		done += copy_present(w, addr + done, (char *)buf + done, len - done, &bad);
		avm_mmap_read_unlock(w->mm);
		if (done == len)
			break;
		err = bad ? -AVM_EFAULT :
			    avm_fault_errno(
				    avm_fault_at(w->mm, addr + done, w->access, w->force, NULL));
		if (err == -AVM_EIO)
			err = -AVM_EFAULT;
	}
	return done ? (int64_t)done : err;
}

static enum avm_force force_of(unsigned flags)
{
	return (flags & AVM_COPY_FORCE) ? AVM_FORCE_YES : AVM_FORCE_NO;
}

int64_t avm_copy_in(struct avm_mm *mm, avm_addr_t to, const void *from, uint64_t len,
		    unsigned flags)
{
	const struct way w = { mm, AVM_ACCESS_WRITE, force_of(flags) };

	return copy(&w, to, (void *)(uintptr_t)from, len); /* only read: the access is a write */
}

int64_t avm_copy_out(struct avm_mm *mm, void *to, avm_addr_t from, uint64_t len, unsigned flags)
{
	const struct way w = { mm, AVM_ACCESS_READ, force_of(flags) };

	return copy(&w, from, to, len);
}

int64_t avm_copy_between(struct avm_mm *to_mm, avm_addr_t to, struct avm_mm *from_mm,
			 avm_addr_t from, uint64_t len, unsigned flags)
{
	uint64_t done = 0;
	int64_t n = 0;

	while (done < len) {
		char buf[128];
		uint64_t part = len - done < sizeof(buf) ? len - done : sizeof(buf);

		n = avm_copy_out(from_mm, buf, from + done, part, flags);
		if (n <= 0)
			break;
		n = avm_copy_in(to_mm, to + done, buf, (uint64_t)n, flags);
		if (n <= 0)
			break;
		done += (uint64_t)n; /* if short, the next round says why, and ends */
	}
	return done ? (int64_t)done : n;
}

/* ---- populating ------------------------------------------------------------------------------ */

/* To populate for writing is to write: what MADV_FREE gave up is wanted again (R13.2). */
static bool is_populated(const struct way *w, avm_pte_t pte)
{
	return entry_ok(w, pte) && (w->access != AVM_ACCESS_WRITE || avm_pte_dirty(pte));
}

/*
 * To the first page of [addr, end) whose entry does not allow the access yet; *addr is it, or
 * `end`. 0, or -EFAULT where nothing is mapped. => mmap_lock.
 */
static int skip_present(const struct way *w, avm_addr_t *addr, avm_addr_t end)
{
	const struct avm_vma *vma = NULL;

	for (; *addr < end; *addr += AVM_PAGE_SIZE) {
		struct avm_ptc c;

		if (!vma || *addr >= vma->end)
			vma = avm_mm_find_exact(w->mm, *addr);
		if (!vma)
			return -AVM_EFAULT;
		if (!avm_ptc_at(&c, w->mm, *addr) || !is_populated(w, avm_ptc_get(&c)))
			return 0;
	}
	return 0;
}

int avm_populate(struct avm_mm *mm, avm_addr_t addr, uint64_t len, enum avm_access access)
{
	const struct way w = { mm, access, AVM_FORCE_NO };
	avm_addr_t end;

	if (!avm_range_ok(avm_page_down(addr), len + (addr & ~AVM_PAGE_MASK), mm->task_size,
			  &end) ||
	    addr + len < addr)
		return -AVM_EFAULT;
	addr = avm_page_down(addr);
	while (addr < end) {
		int err;

		if (avm_mmap_read_lock(mm))
			return -AVM_EINTR;
		err = skip_present(&w, &addr, end);
		avm_mmap_read_unlock(mm);
		if (!err && addr < end)
			err = avm_fault_errno(avm_fault_at(mm, addr, access, AVM_FORCE_NO, NULL));
		if (err)
			return err;
	}
	return 0;
}

/* ---- keys ------------------------------------------------------------------------------------ */

int avm_page_key(struct avm_mm *mm, avm_addr_t addr, struct avm_page_key *key)
{
	const struct avm_vma *vma;
	int err = -AVM_EFAULT;

	if (avm_mmap_read_lock(mm))
		return -AVM_EINTR;
	vma = avm_mm_find_exact(mm, addr);
	if (vma) {
		bool shared = (vma->flags & AVM_VM_SHARED) && vma->file;

		key->object = shared ? (const void *)vma->file : (const void *)mm;
		key->index = shared ? avm_vma_index(vma, avm_page_down(addr)) :
				      addr >> AVM_PAGE_SHIFT;
		key->offset = (uint32_t)(addr & ~AVM_PAGE_MASK);
		err = 0;
	}
	avm_mmap_read_unlock(mm);
	return err;
}
