/* SPDX-License-Identifier: MIT */
/*
 * insert_pfn.c - bare frames: devices, the vDSO, a guest's memory.
 *
 * The entries are special: no descriptor is looked at, no count changes, no reverse walk finds
 * them. The embedder keeps the frames alive for as long as they are mapped, and knows of the end
 * through its notifier.
 */
#include "anonvm/ops.h"
#include "mm.h"
#include "mmap.h"
#include "munmap.h"
#include "pgtable.h"
#include "reclaim.h"
#include "vma.h"

/*
 * Shared, so that a write goes to the frame and fork shares it. What was not granted here is not
 * granted by mprotect either.
 */
static uint64_t special_flags(uint32_t prot)
{
	uint64_t flags = avm_flags_of_prot(prot) | AVM_VM_SPECIAL | AVM_VM_SHARED |
			 AVM_VM_DONTEXPAND | AVM_VM_DONTDUMP | AVM_VM_MAYREAD | AVM_VM_MAYEXEC;

	return (prot & AVM_PROT_WRITE) ? flags | AVM_VM_MAYWRITE : flags;
}

/* => tables made. */
static void set_entries(struct avm_vma *vma, avm_pfn_t pfn)
{
	struct avm_ptc c;

	for (bool more = avm_ptc_begin(&c, vma->mm, vma->start, vma->end); more;
	     more = avm_ptc_next(&c)) {
		avm_pte_t pte = avm_pte_mkspecial(avm_pte_make(pfn++, vma->flags));

		if (vma->flags & AVM_VM_WRITE)
			pte = avm_pte_mkdirty(avm_pte_mkwrite(pte));
		avm_ptc_set(&c, pte);
	}
}

/* => mmap_lock write; the range lies within the address space. */
static avm_noinline int insert(struct avm_mm *mm, struct avm_range *r, avm_pfn_t pfn)
{
	int err;

	if (avm_mm_find_in(mm, r->start, r->end))
		return -AVM_EEXIST;
	err = avm_tables_make(mm, r->start, r->end);
	if (!err)
		err = avm_map_range(mm, r);
	if (err) {
		avm_tables_trim(mm, r->start, r->end);
		return err;
	}
	set_entries(avm_mm_find(mm, r->start), pfn);
	return 0;
}

/* The arch's entries have bits for this frame. */
static bool entry_holds(avm_pfn_t pfn)
{
	return avm_pte_pfn(avm_pte_make(pfn, AVM_VM_READ)) == pfn;
}

int avm_insert_pfn(struct avm_mm *mm, avm_addr_t addr, avm_pfn_t pfn, uint64_t n, uint32_t prot)
{
	struct avm_range r = { .start = addr, .flags = special_flags(prot) };
	struct avm_retry retry = avm_retry_begin(mm->machine);
	int err;

	if (!n || (prot & ~(uint32_t)AVM_PROT_ALL) || !avm_page_aligned(addr) ||
	    !entry_holds(pfn) || n - 1 > AVM_PFN_NONE - 1 - pfn || !entry_holds(pfn + n - 1))
		return -AVM_EINVAL;
	if (addr < mm->lowest)
		return -AVM_EPERM;
	if (n > mm->task_size >> AVM_PAGE_SHIFT ||
	    !avm_range_ok(addr, n << AVM_PAGE_SHIFT, mm->task_size, &r.end))
		return -AVM_ENOMEM;
	r.pgoff = addr >> AVM_PAGE_SHIFT;
	do {
		err = avm_mmap_write_lock(mm);
		if (err)
			return err;
		err = insert(mm, &r, pfn);
		avm_mmap_write_unlock(mm);
	} while (err == -AVM_ENOMEM && avm_retry(&retry, mm->machine, mm));
	return err;
}
