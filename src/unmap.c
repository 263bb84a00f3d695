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

#include "anon_vma.h"
#include "error.h"
#include "lru.h"
#include "mmu_gather.h"
#include "swap_slot.h"
#include "vma.h"

struct unmap {
	struct avm *machine;
	struct avm_page *page;
	enum avm_unmap_to to;
};

/* May the entry go? What the MMU has left in it the page knows. => table locked, the entry empty. */
static bool may_go(const struct unmap *u, const struct avm_vma *vma)
{
	uint64_t keeps = AVM_VM_LOCKED;

	if (avm_page_pinned(u->page))
		return false;
	if ((u->to == AVM_UNMAP_TO_NOTHING || u->to == AVM_UNMAP_TO_SWAP) &&
	    (avm_vma_peek_flags(vma) & keeps))
		return false;
	/* R13.2: written after MADV_FREE, by this entry or through a pin that has gone, so it is wanted. */
	if (u->to == AVM_UNMAP_TO_NOTHING && avm_page_is_anon(u->page) &&
	    avm_page_test(u->page, AVM_PG_DIRTY)) {
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

/*
 * What comes in the place of an entry of the page that allowed writes, or not, to a page that was exclusive, or not; and
 * the counts that it stands for. => table locked.
 */
static avm_pte_t replacement(const struct unmap *u, struct avm_mm *mm, bool write, bool exclusive)
{
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
		exclusive = avm_page_is_anon(u->page);
	return avm_pte_make_entry(kind_of(u->to), value, write, exclusive);
}

/* => the walk stands on an entry, locked. False: it stays. */
static bool unmap_entry(const struct unmap *u, struct avm_rmap_walk *w)
{
	avm_pte_t pte = avm_ptc_revoke(&w->c), entry;
	bool exclusive;

	if (avm_pte_dirty(pte))
		avm_page_set(u->page, AVM_PG_DIRTY);
	if (!may_go(u, w->vma)) {
		avm_ptc_set(&w->c, pte);
		return false;
	}
	exclusive = avm_page_is_exclusive(u->page);
	entry = replacement(u, w->c.mm, avm_pte_write(pte), exclusive);
	if (!avm_pte_empty(entry))
		avm_ptc_set(&w->c, entry);
	avm_page_unmap_held(u->machine, u->page);
	return true;
}

int avm_rmap_unmap(struct avm *m, struct avm_page *page, enum avm_unmap_to to)
{
	struct unmap u = { .machine = m, .page = page, .to = to };
	struct avm_rmap_walk w;
	bool gone = true;

	avm_assert_page_locked(m, page);
	if (!avm_page_mapped(page))
		return 0;
	if (avm_rmap_begin(&w, m, page, AVM_RESOLVE_WAIT))
		return -AVM_EBUSY;
	while (gone && avm_rmap_next(&w)) {
		if (avm_rmap_tell(&w))
			gone = unmap_entry(&u, &w);
		avm_rmap_told(&w);
	}
	avm_rmap_end(&w);
	return gone && !avm_page_mapped(page) ? 0 : -AVM_EBUSY;
}

/* ---- for a while -------------------------------------------------------------------------------------- */

/* R6, as long as somebody maps the page. A merged page is refused: its way back is another. */
static bool pin_family(struct avm_taken *t)
{
	if (avm_family_resolve(t->machine, t->page, AVM_RESOLVE_WAIT, &t->pin)) {
		t->pin = NULL;
		return false;
	}
	avm_anon_vma_get(t->pin);
	avm_family_unlock_read(t->machine, t->pin);
	return true;
}

static void unpin_family(struct avm_taken *t)
{
	if (t->pin)
		avm_anon_vma_put(t->machine, t->pin);
	t->pin = NULL;
}

int avm_rmap_take(struct avm_taken *t, struct avm *m, struct avm_page *page)
{
	*t = (struct avm_taken){ .machine = m, .page = page, .mapped = avm_page_mapcount(page) };
	if (avm_page_pinned(page))
		return -AVM_EBUSY;
	if (!t->mapped)
		return 0;
	/* A merged page's items hold what they name. */
	if (avm_page_is_anon(page) && !avm_page_is_merged(page) && !pin_family(t))
		return -AVM_EBUSY;
	if (!avm_rmap_unmap(m, page, AVM_UNMAP_TO_MIGRATION))
		return 0;
	avm_rmap_give(t, page);
	return -AVM_EBUSY;
}

/*
 * May the entry be writable at once? It was; the VMA may have changed since. A private page only if it is exclusive, as
 * ever; a shared one only as long as it is dirty, so that its file hears of the next write otherwise.
 */
static bool may_write(uint64_t vm_flags, const struct avm_page *page, avm_pte_t entry)
{
	if (!avm_pte_entry_write(entry) || !(vm_flags & AVM_VM_WRITE))
		return false;
	if (vm_flags & AVM_VM_SHARED)
		return avm_page_test(page, AVM_PG_DIRTY);
	return avm_pte_entry_exclusive(entry);
}

/* => the walk stands on a migration entry, locked. What the MMU knew is in the page's flags, but for its youth. */
static avm_noinline void give_entry(struct avm_rmap_walk *w, struct avm_page *to)
{
	struct avm_vma *vma = w->vma;
	uint64_t vm_flags = avm_vma_peek_flags(vma);
	avm_pte_t entry = avm_ptc_get(&w->c);
	avm_pte_t pte = avm_pte_make(to->pfn, vm_flags);

	avm_rmap_add(to, vma, w->c.addr);
	if (avm_pte_entry_exclusive(entry)) /* no page of a file */
		avm_page_set_exclusive(to);
	if (may_write(vm_flags, to, entry))
		pte = avm_pte_mkwrite((vm_flags & AVM_VM_SHARED) ? avm_pte_mkdirty(pte) : pte);
	avm_ptc_set(&w->c, pte);
	/* The old page has heard of every mlock and munlock so far: they take this lock, too. */
	if (to != w->page && (vm_flags & AVM_VM_LOCKED) &&
	    avm_page_test(w->page, AVM_PG_UNEVICTABLE))
		avm_lru_set_unevictable(w->machine, to, true);
}

/* => as give_entry(). */
static void settle_entry(const struct unmap *u, struct avm_rmap_walk *w)
{
	avm_pte_t entry = avm_ptc_get(&w->c);

	entry = replacement(u, w->c.mm, avm_pte_entry_write(entry), avm_pte_entry_exclusive(entry));
	if (avm_pte_empty(entry))
		avm_ptc_clear(&w->c);
	else
		avm_ptc_set(&w->c, entry);
#if AVM_PORT_TIER >= 2
	if (u->to == AVM_UNMAP_TO_POISON)
		avm_port_poisoned(u->machine, w->c.mm, w->c.addr);
#endif
}

/* Each place gets `to`, or what `u` says. */
static void end_take(struct avm_taken *t, struct avm_page *to, const struct unmap *u)
{
	struct avm_rmap_walk w;

	if (t->mapped) {
		avm_rmap_begin_moving(&w, t->machine, t->page, to, t->pin);
		while (avm_rmap_next(&w)) {
			if (u)
				settle_entry(u, &w);
			else
				give_entry(&w, to);
		}
		avm_rmap_end(&w);
	}
	unpin_family(t);
}

void avm_rmap_give(struct avm_taken *t, struct avm_page *to)
{
	end_take(t, to, NULL);
}

void avm_rmap_settle(struct avm_taken *t, enum avm_unmap_to to)
{
	struct unmap u = { .machine = t->machine, .page = t->page, .to = to };

	end_take(t, t->page, &u);
}
