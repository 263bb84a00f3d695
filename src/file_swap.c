/* SPDX-License-Identifier: MIT */
/*
 * file_swap.c - shared anonymous memory in swap (R10): the cache of its file has a slot where the page was.
 *
 * A page is either the file's or the swap cache's, never both, and moves under its lock. On the way out the slot is in
 * the file before the page has left it; on the way in the page is the file's before the slot is given up. A file that
 * has ever been in swap is on a list, so that a device can be emptied.
 */
#include "file.h"

#include "error.h"
#include "list.h"
#include "lock.h"
#include "page.h"
#include "radix.h"
#include "swap_slot.h"

#if AVM_PORT_TIER >= 2

static void *slot_item(avm_swp_t swp)
{
	return (void *)(uintptr_t)(swp << 1 | 1);
}

/* => the file's reference count is not 0. */
static void list_file(struct avm_file *f)
{
	struct avm *m = f->machine;

	avm_spin_lock(m, &m->swap_lock, AVM_LOCK_LEAF);
	if (avm_list_empty(&f->swapped))
		avm_list_add(&f->swapped, &m->swapped_files);
	avm_spin_unlock(m, &m->swap_lock, AVM_LOCK_LEAF);
}

void avm_file_unlist(struct avm_file *f)
{
	struct avm *m = f->machine;

	avm_spin_lock(m, &m->swap_lock, AVM_LOCK_LEAF);
	avm_list_del(&f->swapped);
	avm_list_init(&f->swapped);
	avm_spin_unlock(m, &m->swap_lock, AVM_LOCK_LEAF);
}

bool avm_file_swap_out(struct avm_file *f, struct avm_page *page)
{
	struct avm *m = f->machine;
	uint64_t index = atomic_load_explicit(&page->index, memory_order_relaxed);

	AVM_ASSERT(m, f->shmem && avm_page_file(page) == f && !avm_page_mapped(page));
	if (!avm_swapcache_add(m, page))
		return false;
	avm_slot_dup(m, page->u.swap); /* the file's count beside the cache's */
	list_file(f);
	avm_spin_lock(m, &f->pages_lock, AVM_LOCK_LEAF);
	avm_radix_replace(&f->pages, index, slot_item(page->u.swap));
	f->nr_pages--;
	f->nr_swapped++;
	avm_spin_unlock(m, &f->pages_lock, AVM_LOCK_LEAF);
	atomic_store_explicit(&page->mapping, 0, memory_order_relaxed);
	avm_page_put_one(m, page); /* the file's; the swap cache has one */
	return true;
}

/* Puts the page where its slot stands, if it does. => page locked. */
static avm_noinline bool put_back(struct avm_file *f, uint64_t index, avm_swp_t swp,
				  struct avm_page *page)
{
	bool same;

	avm_spin_lock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	same = avm_radix_lookup(&f->pages, index) == slot_item(swp);
	if (same) {
		avm_radix_replace(&f->pages, index, page);
		f->nr_pages++;
		f->nr_swapped--;
		avm_page_get(page);
	}
	avm_spin_unlock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	return same;
}

int avm_file_swap_in(struct avm_file *f, uint64_t index, avm_swp_t swp, struct avm_page **out)
{
	struct avm *m = f->machine;
	struct avm_page *page;
	int read = avm_swapcache_get(m, swp, &page);

	if (read < 0)
		return read;
	if (!put_back(f, index, swp, page)) {
		avm_swapcache_drop_idle(m, page);
		avm_file_done_page(f, page);
		avm_count(m, AVM_EV_RACE_SWAPIN_ENTRY, 1);
		return -AVM_EAGAIN;
	}
	atomic_store_explicit(&page->index, index, memory_order_relaxed);
	atomic_store_explicit(&page->mapping, (uintptr_t)f, memory_order_relaxed);
	avm_page_set(page, AVM_PG_SHMEM | AVM_PG_UPTODATE);
	avm_swapcache_remove(m, page);
	avm_slot_put(m, swp);
	*out = page;
	return read;
}

/* The next slot in [*index, last], with *index set; with `taken` the cache has it no more. */
static bool next_slot(struct avm_file *f, uint64_t *index, uint64_t last,
		      struct avm_radix_spares *taken, avm_swp_t *swp)
{
	bool found = false;
	void *item;

	avm_spin_lock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	if (f->nr_swapped) {
		avm_radix_for_each(item, &f->pages, *index, *index, last)
		{
			found = avm_cache_is_slot(item);
			if (found)
				break;
		}
	}
	if (found)
		*swp = avm_cache_slot(item);
	if (found && taken) {
		avm_radix_erase(&f->pages, *index, taken);
		f->nr_swapped--;
	}
	avm_spin_unlock(f->machine, &f->pages_lock, AVM_LOCK_LEAF);
	return found;
}

void avm_file_drop_slots(struct avm_file *f, uint64_t first, uint64_t last)
{
	struct avm_radix_spares spares = { 0 };
	uint64_t index = first;
	avm_swp_t swp;

	while (next_slot(f, &index, last, &spares, &swp)) {
		avm_slot_put(f->machine, swp);
		avm_file_drain_spares(f->machine, &spares);
		if (index++ == last)
			break;
	}
}

/* ---- a device is removed --------------------------------------------------------------------- */

static int unswap_file(struct avm_file *f, const struct avm_swap_device *d)
{
	uint64_t index = 0;
	avm_swp_t swp;

	while (next_slot(f, &index, UINT64_MAX, NULL, &swp)) {
		struct avm_page *page;
		int err = 0;

		if (avm_swp_device(swp) == d->number) {
			err = avm_file_swap_in(f, index, swp, &page);
			if (err >= 0)
				avm_file_done_page(f, page);
			else if (err != -AVM_EAGAIN)
				return err;
		}
		if (index++ == UINT64_MAX)
			break;
	}
	return 0;
}

/* The file behind `f` on the list (NULL: the first), held; puts `f`. Those that are ending empty themselves. */
static avm_small struct avm_file *next_file(struct avm *m, struct avm_file *f)
{
	struct avm_file *next = NULL;
	struct avm_list *at;

	avm_spin_lock(m, &m->swap_lock, AVM_LOCK_LEAF);
	for (at = f ? f->swapped.next : m->swapped_files.next; at != &m->swapped_files && !next;
	     at = at->next) {
		next = avm_list_entry(at, struct avm_file, swapped);
		if (!avm_file_tryget(next))
			next = NULL;
	}
	avm_spin_unlock(m, &m->swap_lock, AVM_LOCK_LEAF);
	if (f)
		avm_file_put(f);
	return next;
}

int avm_file_unswap(struct avm *m, const struct avm_swap_device *d)
{
	struct avm_file *f = NULL;
	int err = 0;

	while (!err && (f = next_file(m, f)))
		err = unswap_file(f, d);
	if (f)
		avm_file_put(f);
	return err;
}

#endif
