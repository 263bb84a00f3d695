/* SPDX-License-Identifier: MIT */
/* mincore.c - which pages of a range are in memory (R13.4). */
#include <string.h>

#include "anonvm/ops.h"
#include "file.h"
#include "mm.h"
#include "page.h"
#include "pgtable.h"
#include "swap_slot.h"
#include "vma.h"

/* The page is not mapped here: is it in the file's cache all the same? */
static avm_noinline uint8_t cached(const struct avm_vma *vma, avm_addr_t addr)
{
	struct avm_page *page;
	bool uptodate;

	if (!vma->file || (vma->flags & AVM_VM_SPECIAL))
		return 0;
	page = avm_file_find(vma->file, avm_vma_index(vma, addr));
	if (!page)
		return 0;
	uptodate = avm_page_test(page, AVM_PG_UPTODATE);
	avm_page_put(vma->mm->machine, page);
	return uptodate;
}

/* Mapped, or on its way to or from swap and in memory still. */
static avm_noinline bool in_memory(struct avm *m, avm_pte_t pte)
{
	if (!avm_pte_is_entry(pte))
		return avm_pte_present(pte);
	switch (avm_pte_entry_kind(pte)) {
	case AVM_ENTRY_SWAP:
		return avm_slot_look(m, avm_pte_entry_value(pte)).page;
	case AVM_ENTRY_MIGRATION:
		return true;
	case AVM_ENTRY_POISON:
		break;
	}
	return false;
}

/* vec[0] is for `base`. */
static void fill(const struct avm_part *p, avm_addr_t base, uint8_t *vec)
{
	struct avm *m = p->vma->mm->machine;
	struct avm_ptc c;

	for (bool more = avm_ptc_begin(&c, p->vma->mm, p->start, p->end); more;
	     more = avm_ptc_next(&c))
		vec[(c.addr - base) >> AVM_PAGE_SHIFT] = in_memory(m, avm_ptc_get(&c));
	/* Looking into the cache may free a page that has just left it: not under a table lock. */
	for (avm_addr_t addr = p->start; addr < p->end; addr += AVM_PAGE_SIZE) {
		uint8_t *bit = &vec[(addr - base) >> AVM_PAGE_SHIFT];

		if (!*bit)
			*bit = cached(p->vma, addr);
	}
}

int avm_mincore(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint8_t *vec)
{
	struct avm_part p = { .end = addr };
	avm_addr_t end;
	int err;

	if (!avm_page_aligned(addr))
		return -AVM_EINVAL;
	if (!avm_range_ok(addr, len, mm->task_size, &end))
		return -AVM_ENOMEM;
	err = avm_mmap_read_lock(mm);
	if (err)
		return err;
	memset(vec, 0, (end - addr) >> AVM_PAGE_SHIFT);
	while (avm_mm_next_part(mm, &p, end) && !p.hole)
		fill(&p, addr, vec);
	avm_mmap_read_unlock(mm);
	return p.hole ? -AVM_ENOMEM : 0;
}
