/* SPDX-License-Identifier: MIT */
/*
 * exit.c - the end of an address space (R9.2).
 *
 * Every entry is cleared, every VMA leaves its family and its file, then tables and pages are freed after one flush.
 */
#include "exit.h"

#include "file.h"
#include "mlock.h"
#include "mm.h"
#include "mmu_gather.h"
#include "page.h"
#include "pgtable.h"
#include "vma.h"
#include "zap.h"

/* The VMA's ties to others; the tree of the address space goes as a whole. */
static void release_vma(struct avm_mm *mm, struct avm_vma *vma)
{
	avm_mm_give_back(mm, vma->flags, avm_vma_pages(vma));
	avm_vma_release(vma);
}

void avm_mm_empty(struct avm_mm *mm)
{
	struct avm_vma *vma, *next;
	struct avm_gather g;

	avm_assert_mmap_write_locked(mm);
	avm_notify_start(mm, 0, mm->task_size);
	avm_gather_begin(&g, mm);
	avm_list_for_each_entry(vma, &mm->vmas.list, struct avm_vma, link) {
		avm_vma_lock(vma);
		avm_mlock_release(vma, vma->start, vma->end);
		avm_zap_range(&g, vma, vma->start, vma->end, AVM_ZAP_ALL);
	}
	avm_gather_settle(&g);
	avm_list_for_each_entry_safe(vma, next, &mm->vmas.list, struct avm_vma, link)
		release_vma(mm, vma);
	avm_vma_free_spares(mm);
	avm_vma_tree_destroy(&mm->vmas);
	/* Also without any VMA: an operation that failed may have left empty tables behind. */
	avm_tables_free(&g, 0, mm->task_size, 0, mm->task_size);
	avm_gather_finish(&g);
	avm_notify_end(mm, 0, mm->task_size);
	mm->brk_start = mm->brk = 0;
}

void avm_mm_unmap_all(struct avm_mm *mm)
{
	avm_mmap_write_lock_always(mm, false);
	avm_mm_empty(mm);
	avm_mmap_write_unlock(mm);
}

void avm_mm_destroy(struct avm_mm *mm)
{
	struct avm *m = mm->machine;

	avm_spin_lock(m, &m->mm_lock, AVM_LOCK_LEAF);
	avm_list_del(&mm->link);
	m->nr_mms--;
	avm_spin_unlock(m, &m->mm_lock, AVM_LOCK_LEAF);
	avm_pgtable_fini(mm);
}

void avm_mm_put(struct avm_mm *mm)
{
	if (atomic_fetch_sub_explicit(&mm->users, 1, memory_order_acq_rel) != 1)
		return;
	avm_mm_unmap_all(mm);
	avm_mm_destroy(mm);
	avm_count(mm->machine, AVM_EV_EXIT, 1);
	if (mm->release)
		mm->release(mm);
}

struct avm_mm *avm_mm_get_next(struct avm *m, struct avm_mm *mm)
{
	struct avm_list *at;
	struct avm_mm *next = NULL;

	avm_spin_lock(m, &m->mm_lock, AVM_LOCK_LEAF);
	for (at = mm ? mm->link.next : m->mms.next; at != &m->mms && !next; at = at->next) {
		next = avm_list_entry(at, struct avm_mm, link);
		if (!avm_mm_tryget(next))
			next = NULL;
	}
	avm_spin_unlock(m, &m->mm_lock, AVM_LOCK_LEAF);
	if (mm)
		avm_mm_put(mm);
	return next;
}
