/* SPDX-License-Identifier: MIT */
/*
 * cow.c - a write to a present, read-only entry of a private mapping (R8.3).
 *
 * The page the entry maps is
 *	exclusive (R5.6)	nobody else can see it: the entry becomes writable, whatever the
 *				reference count
 *	the zero page		replaced by a zeroed page
 *	anonymous, and it turns	taken over (R5.4): the others have gone
 *	out that we are alone
 *	anything else		copied: shared with a fork relative, of the page cache, a bare frame
 *
 * A forced write (R8.10) goes the same way; only the entry stays read-only.
 */
#include "fault.h"

#include "anon_vma.h"
#include "frame.h"
#include "lru.h"
#include "mmu_gather.h"
#include "page.h"
#include "rmap.h"

struct avm_page *avm_fault_new_page(struct avm_fault_ctx *f)
{
	if ((!AVM_FAST || !avm_vma_anon(f->vma)) && avm_family_prepare(f->vma))
		return NULL;
	return avm_page_alloc_exclusive(f->mm->machine);
}

static void map_new(struct avm_fault_ctx *f, struct avm_page *page)
{
	struct avm *m = f->mm->machine;
	avm_pte_t p = avm_pte_for(page, f->vma);

	/* mapping before mapcount (R6), and both before somebody else can hold the page; a walk then finds the family. */
	avm_family_place(page, f->vma, f->addr, AVM_PLACE_OWN);
	avm_rmap_add_new(page, f->vma, f->addr);
	avm_rmap_locked(f->vma, page, true);
	if (AVM_FAST) {
		avm_lru_add_new(m, page);
		avm_page_first_ref(page);
	} else {
		avm_lru_add(m, page);
	}
	avm_ptc_set(&f->c, avm_pte_written(p, f->vma));
}

void avm_fault_map_new(struct avm_fault_ctx *f, struct avm_page *page)
{
	map_new(f, page);
	avm_rss_add(f->mm, AVM_RSS_ANON, 1);
}

/* The page is this VMA's alone. => table locked on entry, unlocked on return. */
static unsigned reuse(struct avm_fault_ctx *f)
{
	avm_ptc_set(&f->c, avm_pte_written(f->seen, f->vma));
	avm_ptc_unlock(&f->c);
	avm_count(f->mm->machine, AVM_EV_COW_REUSE, 1);
	return AVM_FAULT_MINOR | AVM_FAULT_REUSE;
}

/*
 * Exclusive, or to be had (R5.4)? => table locked. A page lock that is contended is not waited for:
 * whoever holds it is most likely another user, and a copy is always right.
 */
static bool sole_owner(struct avm_fault_ctx *f, struct avm_page *page)
{
	struct avm *m = f->mm->machine;
	bool mine;

	if (avm_page_is_exclusive(page))
		return true;
	/* What another maps cannot be had; this costs less to ask. */
	if (AVM_FAST && avm_page_mapcount(page) > 1)
		return false;
	if (!avm_page_trylock(m, page))
		return false;
	mine = avm_rmap_take_over(page, f->vma, f->addr);
	avm_page_unlock(m, page);
	return mine;
}

/*
 * No MMU has the translation any more. What stood in the entry last is of no interest: it is read-only, so the MMU can
 * have set no more than that it was used.
 */
static void take_away(struct avm_fault_ctx *f)
{
	if (!AVM_FAST) {
		avm_ptc_revoke(&f->c);
		return;
	}
	avm_ptc_set(&f->c, AVM_PTE_EMPTY);
	avm_tlb_flush(f->mm, f->addr, f->addr + AVM_PAGE_SIZE);
}

/*
 * The old page loses this mapping, `page` gets it. => table locked, the entry is as seen. Whoever
 * still has the old translation must lose it before the new page can be written: flush in between
 * (R12).
 */
static void replace(struct avm_fault_ctx *f, struct avm_page *old, struct avm_page *page)
{
	enum avm_rss kind = old ? avm_page_rss(old) : AVM_NR_RSS;

	take_away(f);
	if (kind != AVM_RSS_ANON) {
		if (old)
			avm_rss_add(f->mm, kind, -1);
		avm_rss_add(f->mm, AVM_RSS_ANON, 1);
	}
	if (old) {
		avm_rmap_locked(f->vma, old, false);
		/* An anonymous page the caller leaves with his own reference (R5.7). */
		if (!AVM_FAST || kind != AVM_RSS_ANON)
			avm_page_unmap_held(f->mm->machine, old);
	}
	map_new(f, page);
}

/*
 * Puts the private copy in the place of what was seen. `page` is not the caller's any more. Sleeps.
 */
static bool install(struct avm_fault_ctx *f, struct avm_page *old, struct avm_page *page)
{
	avm_addr_t end = f->addr + AVM_PAGE_SIZE;
	bool same;

	avm_notify_start(f->mm, f->addr, end);
	same = avm_fault_lock_seen(f);
	if (same) {
		replace(f, old, page);
		avm_ptc_unlock(&f->c);
	}
	avm_notify_end(f->mm, f->addr, end);
	if (!same)
		avm_fault_drop_new(f->mm->machine, page);
	return same;
}

/*
 * `old` is what the entry maps, held by the caller; NULL for the zero page and for a bare frame,
 * which have no counts. `source`: what to copy; AVM_PFN_NONE: zeroes. => table not locked; sleeps.
 */
static unsigned copy(struct avm_fault_ctx *f, struct avm_page *old, avm_pfn_t source)
{
	struct avm *m = f->mm->machine;
	bool zeroed = source == AVM_PFN_NONE;
	struct avm_page *page;

	page = avm_fault_new_page(f);
	if (!page)
		return AVM_FAULT_OOM;
	if (zeroed)
		avm_port_frame_clear(m, page->pfn);
	else
		avm_port_frame_copy(m, page->pfn, source);
	if (!install(f, old, page))
		return AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS;
	avm_count(m, zeroed ? AVM_EV_ZERO_FILL : AVM_EV_COW_COPY, 1);
	return zeroed ? AVM_FAULT_MINOR : AVM_FAULT_MINOR | AVM_FAULT_COW;
}

/* => the caller has got a reference on what the entry maps, which goes. */
static unsigned copy_held(struct avm_fault_ctx *f, struct avm_page *old)
{
	struct avm *m = f->mm->machine;
	bool merged = avm_page_is_merged(old);
	unsigned bits = copy(f, old, old->pfn);

	if ((bits & AVM_FAULT_COW) && merged)
		avm_count(m, AVM_EV_KSM_BROKEN, 1);
	if (AVM_FAST && (bits & AVM_FAULT_COW) && avm_page_is_anon(old))
		avm_page_leave(m, old);
	else
		avm_page_put(m, old);
	return bits;
}

unsigned avm_fault_write_protected(struct avm_fault_ctx *f)
{
	struct avm *m = f->mm->machine;
	avm_pfn_t pfn = avm_pte_pfn(f->seen);
	struct avm_page *old = avm_page_of(m, pfn);

	if (avm_pte_special(f->seen)) {
		avm_ptc_unlock(&f->c);
		/* Only frames of the machine have contents that the core can read. */
		return old ? copy(f, NULL, pfn) : AVM_FAULT_SIGBUS;
	}
	if (old == m->zero_page) {
		avm_ptc_unlock(&f->c);
		return copy(f, NULL, AVM_PFN_NONE);
	}
	if (avm_page_is_anon(old) && sole_owner(f, old))
		return reuse(f);
	avm_page_get(old);
	avm_ptc_unlock(&f->c);
	return copy_held(f, old);
}

#if AVM_FAST

/* Does a write have to copy it, whoever asks? It is a file's, or another entry maps it beside ours. */
static bool is_shared(const struct avm_page *page)
{
	return !avm_page_is_anon(page) || avm_page_mapcount(page) > 1;
}

/*
 * What the entry maps, held, if it is to be copied; NULL: the table's lock has to say. All that is known of the page at first
 * is that the entry named it: it may have been freed since, and be anybody's. So first a reference, and then the entry again
 * (G-W): if that is as it was, this is the page that it maps, and stays so; whether it is still mapped there install() asks.
 * From here on it cannot become exclusive, since it is held (R5.4, G-Y). => table not locked.
 */
static struct avm_page *hold_shared(struct avm_fault_ctx *f)
{
	struct avm *m = f->mm->machine;
	struct avm_page *page = avm_page_of(m, avm_pte_pfn(f->seen));

	if (avm_pte_special(f->seen) || page == m->zero_page || !is_shared(page) ||
	    !avm_page_tryget(page))
		return NULL;
	if (avm_likely(avm_ptc_get_acquire(&f->c) == f->seen && is_shared(page)))
		return page;
	avm_page_put(m, page);
	return NULL;
}

bool avm_fault_write_shared(struct avm_fault_ctx *f, unsigned *bits)
{
	struct avm_page *old = hold_shared(f);

	if (old)
		*bits = copy_held(f, old);
	return old;
}

#endif
