/* SPDX-License-Identifier: MIT */
/*
 * poison.c - a frame has gone bad (R16).
 *
 * The page is taken from everybody first, as if to be moved: so it is known whether it was written, nobody else
 * sees it, and if somebody keeps it all can be undone. Then its content
 *	is still in its file, or its slot	the entries lead there
 *	is lost					they say so
 * and the page stays for ever what it is by then: a frame in use that is nobody's.
 */
#include "anonvm/memory.h"

#include "error.h"
#include "file.h"
#include "lock.h"
#include "lru.h"
#include "page.h"
#include "swap_slot.h"
#include "unmap.h"

/* => page locked, isolated, taken. */
static void lose_swapped(struct avm *m, struct avm_page *page, struct avm_taken *taken)
{
	if (!avm_page_test(page, AVM_PG_DIRTY)) {
		avm_rmap_settle(taken, AVM_UNMAP_TO_SWAP);
		avm_swapcache_remove(m, page);
		return;
	}
	avm_rmap_settle(taken, AVM_UNMAP_TO_POISON);
	/* The slot is out of date. Who names it must not read it: he finds the page here, and that it is bad. */
	avm_swapcache_drop_idle(m, page);
}

static void lose(struct avm *m, struct avm_page *page, struct avm_taken *taken)
{
	bool is_anon = avm_page_is_anon(page);
	struct avm_file *file = is_anon ? NULL : avm_page_file(page);
	bool dirty = avm_page_test(page, AVM_PG_DIRTY);

	if (avm_page_in_swap(page)) {
		lose_swapped(m, page, taken);
		return;
	}
	avm_rmap_settle(taken, is_anon || dirty ? AVM_UNMAP_TO_POISON : AVM_UNMAP_TO_NOTHING);
	if (file)
		avm_file_remove_page(file, page);
}

/* => page locked, isolated, held. 0: the reference is the machine's. -EBUSY: nothing has changed. */
static int poison_locked(struct avm *m, struct avm_page *page)
{
	struct avm_taken taken;
	bool cached;

	if (avm_rmap_take(&taken, m, page))
		return -AVM_EBUSY;
	/* Whoever finds it in its cache after this look waits for its lock, and then that it has left. */
	cached = avm_page_in_swap(page) || (!avm_page_is_anon(page) && avm_page_file(page));
	if (avm_page_refs(page) != 1u + cached) {
		avm_rmap_give(&taken, page);
		return -AVM_EBUSY;
	}
	lose(m, page, &taken);
	avm_page_retire(m, page);
	avm_count(m, AVM_EV_POISONED, 1);
	return 0;
}

int avm_poison(struct avm *m, avm_pfn_t pfn)
{
	struct avm_page *page = avm_page_of(m, pfn);
	int err = -AVM_EBUSY;

	avm_might_sleep(m);
	if (!page)
		return -AVM_EINVAL;
	if (avm_page_test(page, AVM_PG_POISONED))
		return -AVM_EEXIST;
	if (!avm_page_test(page, AVM_PG_INUSE))
		return -AVM_ENOENT;
	/* Page tables, the zero page and what somebody else has isolated are on no list. */
	if (!avm_lru_isolate_page(m, page))
		return err;
	if (avm_page_trylock(m, page)) {
		err = poison_locked(m, page);
		avm_page_unlock(m, page);
	}
	if (err)
		avm_lru_putback(m, page, AVM_PUTBACK_SAME);
	return err;
}
