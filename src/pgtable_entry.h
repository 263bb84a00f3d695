/* SPDX-License-Identifier: MIT */
/* pgtable_entry.h - the bodies of AVM_PTC_FN, for pgtable.h or pgtable.c. */
#ifndef AVM_PGTABLE_ENTRY_H
#define AVM_PGTABLE_ENTRY_H

#include "pgtable.h"

AVM_PTC_FN bool avm_ptc_lock_seen(struct avm_ptc *c, avm_pte_t seen)
{
	avm_ptc_lock(c);
	if (avm_ptc_get(c) == seen)
		return true;
	avm_ptc_unlock(c);
	return false;
}

AVM_PTC_FN bool avm_ptc_next(struct avm_ptc *c)
{
	avm_ptc_step(c);
	return c->addr < c->stop || avm_ptc_next_locked(c);
}

AVM_PTC_FN avm_pte_t avm_pte_for(const struct avm_page *page, const struct avm_vma *vma)
{
	return avm_pte_make(page->pfn, vma->flags);
}

AVM_PTC_FN void avm_ptc_set(struct avm_ptc *c, avm_pte_t pte)
{
	avm_pte_t old = avm_arch_pte_load(c->pte);

	c->table->u.table.used += (uint32_t)avm_pte_empty(old) - (uint32_t)avm_pte_empty(pte);
	avm_arch_pte_store(c->mm, c->addr, c->pte, pte);
}

AVM_PTC_FN avm_pte_t avm_ptc_clear(struct avm_ptc *c)
{
	avm_pte_t old = avm_arch_pte_clear(c->mm, c->addr, c->pte);

	c->table->u.table.used -= !avm_pte_empty(old);
	return old;
}

#endif
