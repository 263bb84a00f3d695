/* SPDX-License-Identifier: MIT */
/*
 * unmap.c - taking a page away from everybody who maps it (unmap.h).
 *
 * Entry by entry, each under its table's lock: empty the entry, flush, look at what the MMU has left there, and only
 * then write what replaces it. So nobody writes to the page through an old translation after its entry was replaced,
 * and a store before that is seen as the dirty bit (R12).
 *
 * A page that only one process can see is marked so in the entry instead (R5.6): the mark on the page goes with its
 * last entry, under the lock under which a pin would have to be taken.
 */
#include "unmap.h"

#include "error.h"
#include "mmu_gather.h"
#include "swap_slot.h"
#include "vma.h"

struct unmap {
	struct avm *machine;
	struct avm_page *page;
	enum avm_unmap_to to;
};

/* May the entry go? `pte` is what stood in it; the entry is empty. => table locked. */
static bool may_go(const struct unmap *u, const struct avm_vma *vma, avm_pte_t pte)
{
	uint64_t keeps = AVM_VM_LOCKED;

	if (atomic_load_explicit(&u->page->pins, memory_order_relaxed))
		return false;
	if ((u->to == AVM_UNMAP_TO_NOTHING || u->to == AVM_UNMAP_TO_SWAP) && (vma->flags & keeps))
		return false;
	/* R13.2: written after MADV_FREE, so it is wanted. */
	if (u->to == AVM_UNMAP_TO_NOTHING && avm_page_is_anon(u->page) && avm_pte_dirty(pte)) {
		avm_page_clear(u->page, AVM_PG_LAZYFREE);
		return false;
	}
	return true;
}

static enum avm_entry_kind kind_of(enum avm_unmap_to to)
{
	if (to == AVM_UNMAP_TO_SWAP)
		return AVM_ENTRY_SWAP;
	return to == AVM_UNMAP_TO_MIGRATION ? AVM_ENTRY_MIGRATION : AVM_ENTRY_POISON;
}

/* What replaces the entry, with the counts that it stands for. => table locked. */
static avm_pte_t replacement(const struct unmap *u, struct avm_mm *mm, avm_pte_t pte)
{
	bool anon = avm_page_is_anon(u->page);
	bool exclusive = anon && avm_page_clear(u->page, AVM_PG_EXCLUSIVE);
	uint64_t value = u->page->pfn;

	/* A page that is being moved is in memory all the while. */
	if (u->to != AVM_UNMAP_TO_MIGRATION)
		avm_rss_add(mm, avm_page_rss(u->page), -1);
	if (u->to == AVM_UNMAP_TO_NOTHING)
		return AVM_PTE_EMPTY;
	if (u->to == AVM_UNMAP_TO_SWAP) {
		value = u->page->u.swap;
		avm_slot_dup(u->machine, value);
		avm_rss_add(mm, AVM_RSS_SWAP, 1);
	}
	/* For a poisoned entry the mark says that it was anonymous: a hole in a file leaves it alone. */
	if (u->to == AVM_UNMAP_TO_POISON)
		exclusive = anon;
	return avm_pte_make_entry(kind_of(u->to), value, avm_pte_write(pte), exclusive);
}

/* => the walk stands on an entry, locked. False: it stays. */
static bool unmap_entry(const struct unmap *u, struct avm_rmap_walk *w)
{
	avm_pte_t pte = avm_ptc_clear(&w->c), entry;

	avm_tlb_flush(w->c.mm, w->c.addr, w->c.addr + AVM_PAGE_SIZE);
	if (!may_go(u, w->vma, pte)) {
		avm_ptc_set(&w->c, pte);
		return false;
	}
	if (avm_pte_dirty(pte))
		avm_page_set(u->page, AVM_PG_DIRTY);
	entry = replacement(u, w->c.mm, pte);
	if (!avm_pte_empty(entry))
		avm_ptc_set(&w->c, entry);
	avm_rmap_remove(u->page, 1, w->vma);
#if AVM_PORT_TIER >= 2
	if (u->to == AVM_UNMAP_TO_POISON)
		avm_port_poisoned(u->machine, w->c.mm, w->c.addr);
#endif
	avm_page_put(u->machine, u->page); /* the entry's; the caller has one */
	return true;
}

int avm_rmap_unmap(struct avm *m, struct avm_page *page, enum avm_unmap_to to)
{
	struct unmap u = { .machine = m, .page = page, .to = to };
	struct avm_rmap_walk w;
	bool gone = true;

	avm_assert_page_locked(m, page);
	if (!avm_page_mapcount(page))
		return 0;
	if (avm_rmap_begin(&w, m, page, AVM_RESOLVE_WAIT))
		return -AVM_EBUSY;
	while (gone && avm_rmap_next(&w)) {
		if (avm_rmap_tell(&w))
			gone = unmap_entry(&u, &w);
		avm_rmap_told(&w);
	}
	avm_rmap_end(&w);
	return gone && !avm_page_mapcount(page) ? 0 : -AVM_EBUSY;
}
