/* SPDX-License-Identifier: MIT */
/*
 * swap.c - from a slot back into an address space (swap.h).
 *
 * The page is fetched, locked, and looked at before the table is locked: it may be somebody else's still in the eyes of
 * the reverse map. Under the table's lock it is only mapped, if the entry is what it was.
 */
#include "swap.h"

#include "anon_vma.h"
#include "error.h"
#include "frame.h"
#include "lock.h"
#include "lru.h"
#include "rmap.h"
#include "vma.h"

#if AVM_PORT_TIER >= 2

/* ---- into an address space ----------------------------------------------------------------------------- */

/* One entry on its way. */
struct swapin {
	struct avm_vma *vma;
	struct avm_ptc *c;
	avm_pte_t entry;
	enum avm_access access;
	struct avm_page *page; /* of the swap cache: locked, held */
};

/* Slots are scarce: a page that is in memory should not keep one. */
static bool scarce(struct avm *m)
{
	return atomic_load_explicit(&m->swap_used, memory_order_relaxed) * 2 >
	       atomic_load_explicit(&m->swap_slots, memory_order_relaxed);
}

/*
 * May the page be mapped here as it is? Not if it was somebody else's, too, when it went out: a merged page (R5.3).
 * Such a page is copied. A page that another family has brought back and left again may name an anon_vma that has been
 * freed, and used again since: so it is looked for among those that would lead a walk to here.
 */
static bool fits(const struct swapin *in)
{
	uintptr_t mapping = atomic_load_explicit(&in->page->mapping, memory_order_relaxed);
	const struct avm_anon_vma_chain *avc;

	if (!mapping)
		return true;
	if (atomic_load_explicit(&in->page->index, memory_order_relaxed) !=
	    avm_vma_index(in->vma, in->c->addr))
		return false;
	avm_list_for_each_entry(avc, &in->vma->chain, struct avm_anon_vma_chain, same_vma)
		if (((uintptr_t)avc->anon_vma | AVM_MAPPING_ANON) == mapping)
			return true;
	return false;
}

/*
 * Does nobody but this entry have the content? The entry says so, or everybody can be counted: the slot's counts are
 * the entry's and the cache's, the page's references the cache's and ours.
 */
static bool known_exclusive(const struct swapin *in)
{
	if (avm_pte_entry_exclusive(in->entry))
		return true;
	return in->access == AVM_ACCESS_WRITE &&
	       avm_slot_look(in->vma->mm->machine, in->page->u.swap).count == 2 &&
	       avm_page_refs(in->page) == 2;
}

/* The entry of a page that has been placed, and counted (mapping before mapcount, R6). => table locked. */
static void map_counted(const struct swapin *in, struct avm_page *page, bool exclusive)
{
	struct avm_vma *vma = in->vma;
	avm_pte_t pte = avm_pte_for(page, vma);

	avm_rss_add(vma->mm, AVM_RSS_SWAP, -1);
	avm_rss_add(vma->mm, AVM_RSS_ANON, 1);
	if (exclusive) {
		avm_page_set_exclusive(page); /* the only entry, of a copy the first */
		if (vma->flags & AVM_VM_WRITE)
			pte = avm_pte_mkwrite(pte);
	}
	avm_ptc_set(in->c, pte);
	avm_rmap_locked(vma, page, true);
}

/* R5.3. The entry's count of the slot goes; it is one of the page's now. => table locked. */
static void map_cached(const struct swapin *in)
{
	struct avm *m = in->vma->mm->machine;
	struct avm_page *page = in->page;
	bool exclusive = known_exclusive(in);

	if (exclusive)
		avm_family_place(page, in->vma, in->c->addr, AVM_PLACE_OWN);
	else if (!atomic_load_explicit(&page->mapping, memory_order_relaxed))
		avm_family_place(page, in->vma, in->c->addr, AVM_PLACE_SHARED);
	avm_rmap_add(page, in->vma, in->c->addr);
	map_counted(in, page, exclusive);
	avm_slot_put(m, page->u.swap);
	/* What is about to be written has no use for its slot; nor has what will stay. */
	if (in->access == AVM_ACCESS_WRITE || (in->vma->flags & AVM_VM_LOCKED) || scarce(m))
		avm_swapcache_drop_idle(m, page);
}

/* Takes over the reference on the copy (R5.2), the only place of its content from now on. => table locked. */
static void map_copy(const struct swapin *in, struct avm_page *copy)
{
	struct avm *m = in->vma->mm->machine;

	avm_page_set(copy, AVM_PG_DIRTY);
	avm_family_place(copy, in->vma, in->c->addr, AVM_PLACE_OWN);
	map_counted(in, copy, true);
	avm_lru_add(m, copy);
	avm_slot_put(m, in->page->u.swap);
	avm_swapcache_drop_idle(m, in->page); /* only we can: it is locked */
	avm_count(m, AVM_EV_COW_COPY, 1);
}

/* 0; -EAGAIN: the entry is another. `copy`: NULL, or what to map instead; its reference is taken over. */
static int map_if_same(const struct swapin *in, struct avm_page *copy)
{
	struct avm *m = in->vma->mm->machine;
	bool same;

	avm_ptc_lock(in->c);
	same = avm_ptc_get(in->c) == in->entry;
	if (same && copy)
		map_copy(in, copy);
	else if (same)
		map_cached(in);
	avm_ptc_unlock(in->c);
	if (same)
		return 0;
	if (copy)
		avm_page_put(m, copy);
	/* Whoever was faster may have been the last to want it. */
	avm_swapcache_drop_idle(m, in->page);
	avm_count(m, AVM_EV_RACE_SWAPIN_ENTRY, 1);
	return -AVM_EAGAIN;
}

static avm_noinline int map_page(const struct swapin *in)
{
	struct avm *m = in->vma->mm->machine;
	struct avm_page *copy = NULL;

	if (!fits(in)) {
		copy = avm_page_alloc(m, AVM_FRAME_USER);
		if (!copy)
			return -AVM_ENOMEM;
		avm_port_frame_copy(m, copy->pfn, in->page->pfn);
	}
	return map_if_same(in, copy);
}

int avm_swap_in(struct avm_vma *vma, struct avm_ptc *c, avm_pte_t entry, enum avm_access access)
{
	struct avm *m = vma->mm->machine;
	struct swapin in = { .vma = vma, .c = c, .entry = entry, .access = access };
	int read = avm_swapcache_get(m, avm_pte_entry_value(entry), &in.page), err;

	if (read < 0)
		return read;
	err = map_page(&in);
	avm_page_unlock(m, in.page);
	avm_page_put(m, in.page);
	return err ? err : read;
}

#endif
