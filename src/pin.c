/* SPDX-License-Identifier: MIT */
/*
 * pin.c - pages whose contents and frames stay as they are (R16): what a device reads or writes.
 *
 * A pin is taken under the lock of the table, from an entry that process and pin may share for good: of a private page,
 * because it is exclusive, so that neither a write nor a fork makes the process leave it (R5.6). Whoever takes entries
 * away to move, swap out, merge or share a page looks at its pins under that lock.
 */
#include "anonvm/memory.h"

#include "fault.h"
#include "mm.h"
#include "page.h"
#include "vma.h"

/* The VMA of addr if it may be pinned for this; NULL if not. => mmap_lock. */
static struct avm_vma *usable_vma(struct avm_mm *mm, avm_addr_t addr, enum avm_access access)
{
	struct avm_vma *vma = avm_mm_find_exact(mm, addr);

	if (!vma || (vma->flags & AVM_VM_SPECIAL) || !avm_access_ok(vma, access, AVM_FORCE_NO))
		return NULL;
	return vma;
}

/* What the entry maps, if a pin may have it; NULL: a fault is needed first. => table locked. */
static struct avm_page *page_to_pin(const struct avm_vma *vma, avm_pte_t pte,
				    enum avm_access access)
{
	struct avm_page *page = avm_pte_page(vma->mm->machine, pte);

	if (!page || (access == AVM_ACCESS_WRITE && !avm_pte_write(pte)))
		return NULL;
	if (!(vma->flags & AVM_VM_SHARED) && !avm_page_is_exclusive(page))
		return NULL;
	return page;
}

/* NULL: a fault is needed first. => mmap_lock. */
static struct avm_page *pin_present(struct avm_vma *vma, avm_addr_t addr, enum avm_access access)
{
	struct avm_page *page;
	struct avm_ptc c;

	if (!avm_ptc_at(&c, vma->mm, addr))
		return NULL;
	avm_ptc_lock(&c);
	page = page_to_pin(vma, avm_ptc_get(&c), access);
	if (page) {
		avm_page_get(page);
		atomic_fetch_add_explicit(&page->pins, 1, memory_order_relaxed);
	}
	avm_ptc_unlock(&c);
	return page;
}

/*
 * Pins as many of n pages as need no fault; returns how many. *err: -EFAULT or -EINTR stops it; else the next one needs
 * a fault, in a mapping that is *shared.
 */
static uint64_t pin_some(struct avm_mm *mm, avm_addr_t addr, uint64_t n, enum avm_access access,
			 struct avm_page **pages, bool *shared, int *err)
{
	uint64_t done = 0;

	if (avm_mmap_read_lock(mm)) {
		*err = -AVM_EINTR;
		return 0;
	}
	for (; done < n; done++) {
		struct avm_vma *vma = usable_vma(mm, addr + (done << AVM_PAGE_SHIFT), access);

		if (!vma) {
			*err = -AVM_EFAULT;
			break;
		}
		*shared = vma->flags & AVM_VM_SHARED;
		pages[done] = pin_present(vma, addr + (done << AVM_PAGE_SHIFT), access);
		if (!pages[done])
			break;
	}
	avm_mmap_read_unlock(mm);
	return done;
}

/*
 * A page that a pin may have: a private one by a write, be it only for reading: that makes it exclusive, or a copy. It is
 * forced, as the VMA may be read-only, and then leaves the entry so (R8.10).
 */
static int bring(struct avm_mm *mm, avm_addr_t addr, enum avm_access access, bool shared)
{
	unsigned bits = shared ? avm_fault_at(mm, addr, access, AVM_FORCE_NO, NULL) :
				 avm_fault_at(mm, addr, AVM_ACCESS_WRITE, AVM_FORCE_YES, NULL);

	return avm_fault_errno(bits);
}

int64_t avm_pin(struct avm_mm *mm, avm_addr_t addr, uint64_t n, enum avm_access access,
		struct avm_page **pages)
{
	uint64_t done = 0;
	avm_addr_t end;
	int err = 0;

	if (n > mm->task_size >> AVM_PAGE_SHIFT || (unsigned)access > AVM_ACCESS_EXEC ||
	    !avm_range_ok(addr, n << AVM_PAGE_SHIFT, mm->task_size, &end))
		return -AVM_EINVAL;
	while (done < n && !err) {
		avm_addr_t at = addr + (done << AVM_PAGE_SHIFT);
		bool shared = false;
		uint64_t more = pin_some(mm, at, n - done, access, pages + done, &shared, &err);

		done += more;
		if (done < n && !err)
			err = bring(mm, at + (more << AVM_PAGE_SHIFT), access, shared);
	}
	avm_count(mm->machine, AVM_EV_PINNED, done);
	return done ? (int64_t)done : err;
}

void avm_unpin(struct avm *m, struct avm_page **pages, uint64_t n, enum avm_unpin_how how)
{
	for (uint64_t i = 0; i < n; i++) {
		struct avm_page *page = pages[i];
		uint32_t pins;

		/* First, as long as the pin keeps everybody from judging by it: what was written is wanted (G-P). */
		if (how == AVM_UNPIN_DIRTY) {
			avm_page_set(page, AVM_PG_DIRTY);
			avm_page_clear(page, AVM_PG_LAZYFREE);
		}
		pins = atomic_fetch_sub_explicit(&page->pins, 1, memory_order_release);
		AVM_BUG_ON(m, !pins);
		(void)pins;
		avm_page_put(m, page);
	}
}
