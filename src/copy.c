/* SPDX-License-Identifier: MIT */
/*
 * copy.c - the entries of a VMA at fork (copy.h, R9.1).
 *
 * This is most of what fork costs, so it is done table by table: one pair of locks, one look-up of the child's table
 * and one change of rss for up to a table's worth of entries; per page, two atomic operations and two stores.
 */
#include "copy.h"

#include "page.h"
#include "pgtable.h"
#include "rmap.h"
#include "vma.h"

struct copy {
	struct avm_vma *child;
	bool private;
	int64_t rss[AVM_NR_RSS];
};

bool avm_copy_needed(const struct avm_vma *parent)
{
	/* What a file, shared memory or the zero page stands behind, faults bring back. */
	return avm_vma_anon(parent) || (parent->flags & AVM_VM_SPECIAL);
}

/*
 * Takes write permission from the parent's entry. The MMU sets young and dirty beside us: while one of them is not
 * set yet, the entry is empty between the look and the store.
 */
static avm_pte_t write_protect(struct avm_ptc *from, avm_pte_t pte)
{
	if (!avm_pte_write(pte))
		return pte;
	if (!avm_pte_young(pte) || !avm_pte_dirty(pte))
		pte = avm_ptc_clear(from);
	pte = avm_pte_wrprotect(pte);
	avm_ptc_set(from, pte);
	return pte;
}

/* One more entry maps the page, if there is one that counts. */
static void share_page(struct copy *k, avm_pte_t pte, avm_addr_t addr)
{
	struct avm *m = k->child->mm->machine;
	struct avm_page *page;

	if (avm_pte_special(pte))
		return;
	page = avm_page_of(m, avm_pte_pfn(pte));
	AVM_BUG_ON(m, !page);
	if (page == m->zero_page)
		return;
	avm_page_get(page);
	k->rss[avm_page_rss(page)]++;
	if (avm_page_is_anon(page))
		avm_rmap_share_anon(page, 1, k->child, addr);
	else
		avm_rmap_add_file(page, 1, k->child);
}

/* => both tables locked. */
static void copy_table(struct copy *k, struct avm_ptc *from, struct avm_ptc *to)
{
	for (; from->addr < from->stop; avm_ptc_step(from), avm_ptc_step(to)) {
		avm_pte_t pte = avm_ptc_get(from);

		if (avm_pte_empty(pte))
			continue;
		/* Swap, migration and poison entries: none exists in this version. */
		AVM_BUG_ON(from->mm->machine, !avm_pte_present(pte));
		if (k->private)
			pte = write_protect(from, pte);
		share_page(k, pte, from->addr);
		/* The child has not touched it yet. */
		avm_ptc_set(to, avm_pte_mkold(pte));
	}
}

int avm_copy_range(struct avm_vma *child, struct avm_vma *parent)
{
	struct copy k = { .child = child, .private = !(parent->flags & AVM_VM_SHARED) };
	struct avm_ptc from, to;
	int err = 0;

	avm_assert_mmap_write_locked(parent->mm);
	avm_assert_mmap_write_locked(child->mm);
	for (bool more = avm_ptc_first(&from, parent->mm, parent->start, parent->end); more;
	     more = avm_ptc_next_table(&from)) {
		err = avm_ptc_make(&to, child->mm, from.addr);
		if (err)
			break;
		avm_ptc_lock_two(&from, &to);
		copy_table(&k, &from, &to);
		avm_ptc_unlock_two(&from, &to);
	}
	for (int i = 0; i < AVM_NR_RSS; i++) {
		if (k.rss[i])
			avm_rss_add(child->mm, (enum avm_rss)i, k.rss[i]);
	}
	return err;
}
