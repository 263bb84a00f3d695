/* SPDX-License-Identifier: MIT */
/*
 * pageout.c - MADV_FREE, COLD and PAGEOUT (pageout.h, R13.2).
 *
 * Entries are looked at under their table's lock, a table at a time. What takes longer than that, reclaim, is done to
 * a batch of isolated pages without it.
 */
#include "pageout.h"

#include "list.h"
#include "lock.h"
#include "lru.h"
#include "mmu_gather.h"
#include "page.h"
#include "pgtable.h"
#include "reclaim.h"
#include "swap_slot.h"
#include "rmap.h"

/* The page of an entry; NULL: none, or not ours to judge. => table locked. */
static struct avm_page *page_behind(const struct avm_ptc *c)
{
	struct avm_page *page = avm_ptc_page(c);

	return page == c->mm->machine->zero_page ? NULL : page;
}

/* ---- FREE ------------------------------------------------------------------------------------ */

/*
 * If others map the page, what tells that they want it must be in their entries, dirty, and not on the page. => page
 * locked.
 */
static bool may_be_freed(const struct avm_page *page)
{
	const uint32_t wanted = AVM_PG_DIRTY | AVM_PG_SWAPCACHE | AVM_PG_UNEVICTABLE;

	return avm_page_mapped_once(page) || !(avm_page_flags(page) & wanted);
}

/*
 * A page without a slot that nobody has written since: that is what reclaim looks for. One whose lock is not to be had
 * keeps its content, which is allowed. => table locked.
 */
static void free_page(struct avm_ptc *c, struct avm_page *page)
{
	struct avm *m = c->mm->machine;

	if (!avm_page_is_anon(page) || !avm_page_trylock(m, page))
		return;
	/* Merged or not is known under the lock only: a page that is being merged may be several people's from one look to the next. */
	if (!avm_page_is_merged(page) && may_be_freed(page) && avm_swapcache_drop_idle(m, page)) {
		/* The next store through any translation must be seen as the dirty bit. */
		avm_ptc_set(c, avm_pte_mkclean(avm_pte_mkold(avm_ptc_revoke(c))));
		avm_page_clear(page, AVM_PG_DIRTY | AVM_PG_REFERENCED);
		avm_page_set(page, AVM_PG_LAZYFREE);
	}
	avm_page_unlock(m, page);
}

static void free_entry(struct avm_vma *vma, struct avm_ptc *c)
{
	struct avm *m = vma->mm->machine;
	avm_pte_t pte = avm_ptc_get(c);
	struct avm_page *page = page_behind(c);

	if (page) {
		free_page(c, page);
		return;
	}
	if (avm_pte_is_entry(pte) && avm_pte_entry_kind(pte) == AVM_ENTRY_SWAP) {
		avm_ptc_clear(c);
		avm_rss_add(vma->mm, AVM_RSS_SWAP, -1);
		avm_slot_put(m, avm_pte_entry_value(pte));
	}
}

/* ---- COLD, PAGEOUT --------------------------------------------------------------------------- */

/* Ages the entry and isolates its page. => table locked. */
static void collect(struct avm_ptc *c, struct avm_list *out)
{
	struct avm *m = c->mm->machine;
	avm_pte_t pte = avm_ptc_get(c);
	struct avm_page *page = page_behind(c);

	/* What others map as well, they may want. */
	if (!page || !avm_page_mapped_once(page) || avm_page_test(page, AVM_PG_UNEVICTABLE))
		return;
	/* No flush: a translation that stays cached hides an access or two. */
	if (avm_pte_young(pte))
		avm_ptc_mkold(c);
	avm_page_clear(page, AVM_PG_REFERENCED);
	if (avm_lru_isolate_page(m, page))
		avm_list_add_tail(&page->lru, out);
}

/* COLD: the next to go. */
static void put_behind(struct avm *m, struct avm_list *pages)
{
	struct avm_page *page;

	while ((page = avm_page_pop(pages))) {
		avm_lru_putback(m, page, AVM_PUTBACK_INACTIVE);
		avm_count(m, AVM_EV_DEACTIVATED, 1);
	}
}

/* ---- the range ------------------------------------------------------------------------------- */

static void advise_table(struct avm_vma *vma, struct avm_ptc *c, enum avm_advice advice,
			 struct avm_list *out)
{
	avm_list_init(out);
	avm_ptc_lock(c);
	for (; c->addr < c->stop; avm_ptc_step(c)) {
		if (advice == AVM_MADV_FREE)
			free_entry(vma, c);
		else
			collect(c, out);
	}
	avm_ptc_unlock(c);
}

void avm_advise_pages(struct avm_vma *vma, avm_addr_t start, avm_addr_t end, enum avm_advice advice)
{
	struct avm *m = vma->mm->machine;
	struct avm_list pages;
	struct avm_ptc c;

	if (advice == AVM_MADV_FREE)
		avm_notify_start(vma->mm, start, end);
	for (bool more = avm_ptc_first(&c, vma->mm, start, end); more;
	     more = avm_ptc_next_table(&c)) {
		advise_table(vma, &c, advice, &pages);
		if (advice == AVM_MADV_COLD)
			put_behind(m, &pages);
		else
			avm_reclaim_pages(m, &pages);
	}
	if (advice == AVM_MADV_FREE)
		avm_notify_end(vma->mm, start, end);
}
