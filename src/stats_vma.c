/* SPDX-License-Identifier: MIT */
/* stats_vma.c - what the pages of a VMA add up to: the fields of /proc/PID/smaps. */
#include "anonvm/observe.h"

#include "file.h"
#include "lock.h"
#include "page.h"
#include "pgtable.h"
#include "radix.h"
#include "swap_slot.h"
#include "vma.h"

#define PSS_SHIFT 12 /* parts of a byte, so that little is lost by rounding */

struct sums {
	struct avm_vma_stats *s;
	uint64_t pss, swap_pss; /* shifted */
};

static uint64_t part(uint64_t sharers)
{
	return (AVM_PAGE_SIZE << PSS_SHIFT) / (sharers ? sharers : 1);
}

static void add_page(struct sums *sums, const struct avm_page *page, const struct avm_pte_info *e)
{
	struct avm_vma_stats *s = sums->s;
	uint32_t flags = avm_page_flags(page);
	uint32_t mapcount = avm_page_mapcount(page);
	bool dirty = e->dirty || (flags & AVM_PG_DIRTY);

	s->rss += AVM_PAGE_SIZE;
	sums->pss += part(mapcount);
	if (mapcount > 1)
		*(dirty ? &s->shared_dirty : &s->shared_clean) += AVM_PAGE_SIZE;
	else
		*(dirty ? &s->private_dirty : &s->private_clean) += AVM_PAGE_SIZE;
	if (e->young || (flags & AVM_PG_REFERENCED))
		s->referenced += AVM_PAGE_SIZE;
	if (!avm_page_is_anon(page))
		return;
	s->anonymous += AVM_PAGE_SIZE;
	if (avm_page_is_merged(page))
		s->ksm += AVM_PAGE_SIZE;
	if ((flags & AVM_PG_LAZYFREE) && !dirty)
		s->lazyfree += AVM_PAGE_SIZE;
}

static void add_entry(struct sums *sums, struct avm *m, const struct avm_pte_info *e)
{
	struct avm_swap_slot slot;

	switch (e->kind) {
	case AVM_PTE_PRESENT:
		if (e->page && !e->zero)
			add_page(sums, e->page, e);
		break;
	case AVM_PTE_SWAP:
		/* The swap cache is nobody's share. */
		slot = avm_slot_look(m, e->entry);
		sums->s->swap += AVM_PAGE_SIZE;
		sums->swap_pss += part(slot.count - !!slot.page);
		break;
	case AVM_PTE_MIGRATION: {
		const struct avm_page *page = avm_page_of(m, e->entry);

		if (page)
			add_page(sums, page, e);
		break;
	}
	case AVM_PTE_NONE:
	case AVM_PTE_POISON:
		break;
	}
}

/* Shared anonymous memory: the slots are in its cache. */
static uint64_t swapped_behind(struct avm_vma *vma)
{
	struct avm_file *f = vma->file;
	uint64_t index, n = 0;
	void *item;

	if (!f || !f->shmem)
		return 0;
	avm_spin_lock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	avm_radix_for_each(item, &f->pages, index, avm_shared_first(vma), avm_shared_last(vma))
		n += avm_cache_is_slot(item);
	avm_spin_unlock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	return n;
}

void avm_vma_stats(struct avm_vma *vma, struct avm_vma_stats *s)
{
	struct avm_pte_info e = { .addr = vma->start };
	struct sums sums = { .s = s };

	*s = (struct avm_vma_stats){ .size = vma->end - vma->start };
	for (; avm_next_pte(vma->mm, vma->end, &e); e.addr += AVM_PAGE_SIZE)
		add_entry(&sums, vma->mm->machine, &e);
	s->swap += swapped_behind(vma) * AVM_PAGE_SIZE;
	s->pss = sums.pss >> PSS_SHIFT;
	s->swap_pss = sums.swap_pss >> PSS_SHIFT;
	if (vma->flags & AVM_VM_LOCKED)
		s->locked = s->pss;
}
