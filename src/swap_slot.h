/* SPDX-License-Identifier: MIT */
/*
 * swap_slot.h - swap devices, the counts of their slots, and the swap cache: which page holds a slot's content (R10).
 *
 * A slot is named by an avm_swp_t, which is what stands in an entry. Each entry that names it counts one, and so does
 * the page in the cache (V30). Whoever holds a count (an entry under its table's lock, a cached page under its page
 * lock) may use the slot without more ado; who has only seen an entry goes through the functions that look again.
 *
 * The cache is the `page` of each slot: to find a page costs one line of memory. A page enters and leaves it locked.
 */
#ifndef AVM_SWAP_SLOT_H
#define AVM_SWAP_SLOT_H

#include "anonvm/memory.h"
#include "page.h"

#define AVM_SWP_SLOT_BITS 32

static inline avm_swp_t avm_swp(const struct avm_swap_device *d, uint32_t slot)
{
	return (avm_swp_t)d->number << AVM_SWP_SLOT_BITS | slot;
}

static inline uint32_t avm_swp_device(avm_swp_t swp)
{
	return (uint32_t)(swp >> AVM_SWP_SLOT_BITS);
}

static inline uint32_t avm_swp_slot(avm_swp_t swp)
{
	return (uint32_t)swp;
}

#if AVM_PORT_TIER >= 2

/* ---- devices ---------------------------------------------------------------------------------------- */

/* Enters and leaves m->swap; avm_swap_add() and avm_swap_remove() do the rest. 0 or -ENOSPC. */
int avm_swap_register(struct avm *m, struct avm_swap_device *d);

/* => every slot is free, the device closed. Waits for those who are still looking. 0; -EINTR: it is there still. */
int avm_swap_unregister(struct avm *m, struct avm_swap_device *d);

/* No new slot is given out from now on; false: somebody else has closed it. Or is again. */
bool avm_swap_close(struct avm_swap_device *d);
void avm_swap_reopen(struct avm_swap_device *d);

/* ---- slots ------------------------------------------------------------------------------------------ */

/* One more entry names the slot. => it has a count already, and that cannot go away meanwhile. */
void avm_slot_dup(struct avm *m, avm_swp_t swp);

/*
 * One entry less. If none but the cached page is left, that page goes, too, where its lock is to be had. => the entry
 * is gone. Under table locks; never sleeps.
 */
void avm_slot_put(struct avm *m, avm_swp_t swp);

/* What the slot is at this moment. => as dup; its page is not held. */
struct avm_swap_slot avm_slot_look(struct avm *m, avm_swp_t swp);

/* ---- the swap cache ---------------------------------------------------------------------------------- */

static inline bool avm_page_in_swap(const struct avm_page *page)
{
	return avm_page_test(page, AVM_PG_SWAPCACHE);
}

/*
 * Gives a page a slot of its own, and makes it dirty: nothing has been written yet. False when no device has one.
 * => page locked, not in the cache.
 */
bool avm_swapcache_add(struct avm *m, struct avm_page *page);

/*
 * The page with the content of a slot, locked and held: found in the cache (0), or read from the device (1).
 * -EAGAIN: nobody names the slot any more, or the page has left it meanwhile: look at the entry again. -ENOMEM, -EIO
 * (a page that has gone bad stays here for who names its slot);
 * -EINTR where the port gave up waiting for the page. A page that was read has no mapping yet.
 * => no file, family or spin lock held. Sleeps.
 */
int avm_swapcache_get(struct avm *m, avm_swp_t swp, struct avm_page **out);

/* Takes a page out of the cache; it is dirty then. => page locked. Drops a reference that is not the last. */
void avm_swapcache_remove(struct avm *m, struct avm_page *page);

/* The same if no entry names its slot. True: it is not in the cache (any more). => page locked. */
bool avm_swapcache_drop_idle(struct avm *m, struct avm_page *page);

/*
 * The same for a page that is clean, unmapped and held by nobody but the cache and the caller: its content stays in
 * the slot. False: somebody holds it. => page locked.
 */
bool avm_swapcache_evict(struct avm *m, struct avm_page *page);

/* Is its device being removed? Then it must stay in memory. => page locked, in the cache. */
bool avm_swapcache_closing(struct avm *m, const struct avm_page *page);

/*
 * Puts `to` in the place of `from`, if nobody holds that but the cache and the caller. False: somebody does. => both
 * locked.
 */
bool avm_swapcache_replace(struct avm *m, struct avm_page *from, struct avm_page *to);

/* Writes a page to its slot; it is clean then. 0, or the port's error: it is dirty still. => locked; sleeps. */
int avm_swapcache_write(struct avm *m, struct avm_page *page);

/* For removal: the first cached page in slots [*slot, end), held, with *slot set; NULL: none. */
struct avm_page *avm_swapcache_next(struct avm_swap_device *d, uint32_t *slot);

#else /* a port without swap: nobody has a slot, and none of this costs anything */

static inline void avm_slot_dup(struct avm *m, avm_swp_t swp)
{
	(void)m;
	(void)swp;
}

static inline void avm_slot_put(struct avm *m, avm_swp_t swp)
{
	(void)m;
	(void)swp;
}

static inline struct avm_swap_slot avm_slot_look(struct avm *m, avm_swp_t swp)
{
	(void)m;
	(void)swp;
	return (struct avm_swap_slot){ 0 };
}

static inline bool avm_page_in_swap(const struct avm_page *page)
{
	(void)page;
	return false;
}

static inline bool avm_swapcache_add(struct avm *m, struct avm_page *page)
{
	(void)m;
	(void)page;
	return false;
}

static inline bool avm_swapcache_drop_idle(struct avm *m, struct avm_page *page)
{
	(void)m;
	(void)page;
	return true;
}

static inline bool avm_swapcache_evict(struct avm *m, struct avm_page *page)
{
	(void)m;
	(void)page;
	return false;
}

static inline bool avm_swapcache_replace(struct avm *m, struct avm_page *from, struct avm_page *to)
{
	(void)m;
	(void)from;
	(void)to;
	return false;
}

static inline bool avm_swapcache_closing(struct avm *m, const struct avm_page *page)
{
	(void)m;
	(void)page;
	return false;
}

static inline void avm_swapcache_remove(struct avm *m, struct avm_page *page)
{
	(void)m;
	(void)page;
}

static inline int avm_swapcache_write(struct avm *m, struct avm_page *page)
{
	(void)m;
	(void)page;
	return -AVM_EIO;
}

#endif

#endif
