/* SPDX-License-Identifier: MIT */
/*
 * swap_cache.c - which page holds the content of a slot (swap_slot.h).
 *
 * A page in the cache is the slot's content, be it mapped or not: everybody who meets an entry of the slot gets this
 * page. It enters under its lock before it is filled, so that whoever finds it waits for the content, and looks again
 * whether it is still the slot's.
 */
#include "swap_cache.h"

#include "error.h"
#include "lock.h"
#include "lru.h"

#if AVM_PORT_TIER >= 2

/* Two ways in: a page that is to be written gets a slot; a slot that is to be read gets a page. */

static void enter(struct avm_page *page, avm_swp_t swp)
{
	avm_page_get(page);
	page->u.swap = swp;
	avm_page_set(page, AVM_PG_SWAPCACHE);
}

bool avm_swapcache_add(struct avm *m, struct avm_page *page)
{
	avm_swp_t swp;

	avm_assert_page_locked(m, page);
	AVM_BUG_ON(m, avm_page_in_swap(page));
	if (!avm_slot_take(m, page, &swp)) {
		avm_count(m, AVM_EV_SWAP_FULL, 1);
		return false;
	}
	enter(page, swp);
	avm_page_set(page, AVM_PG_DIRTY);
	return true;
}

/* 0; -EEXIST: there is a page; -EAGAIN: the slot is free. => page locked, new. */
static int insert(struct avm_swap_device *d, uint32_t slot, struct avm_page *page)
{
	struct avm_swap_slot *s = &d->slots[slot];
	int err = 0;

	avm_spin_lock(d->machine, &d->lock, AVM_LOCK_LEAF);
	if (!s->count) {
		err = -AVM_EAGAIN;
	} else if (s->page) {
		err = -AVM_EEXIST;
	} else {
		s->page = page;
		s->count++;
		enter(page, avm_swp(d, slot));
	}
	avm_spin_unlock(d->machine, &d->lock, AVM_LOCK_LEAF);
	return err;
}

static struct avm_page *find(struct avm_swap_device *d, uint32_t slot)
{
	struct avm_page *page;

	avm_spin_lock(d->machine, &d->lock, AVM_LOCK_LEAF);
	page = d->slots[slot].page;
	if (page)
		avm_page_get(page);
	avm_spin_unlock(d->machine, &d->lock, AVM_LOCK_LEAF);
	return page;
}

/* ---- out -------------------------------------------------------------------------------------------- */

/* => page locked; the slot's page has been cleared, and its count lowered, under the lock. */
static void leave(struct avm *m, struct avm_page *page)
{
	avm_page_clear(page, AVM_PG_SWAPCACHE);
	page->u.swap = 0;
	avm_page_put_one(m, page); /* the caller has another */
}

enum take_when {
	TAKE_ALWAYS,
	TAKE_IDLE, /* no entry names the slot */
	TAKE_UNUSED, /* nobody holds the page but the cache and the caller */
};

static bool take_out(struct avm *m, struct avm_page *page, enum take_when when)
{
	avm_swp_t swp = page->u.swap;
	struct avm_swap_device *d = avm_swap_device_of(m, swp);
	struct avm_swap_slot *s = &d->slots[avm_swp_slot(swp)];
	uint32_t count;
	bool take;

	avm_assert_page_locked(m, page);
	avm_spin_lock(m, &d->lock, AVM_LOCK_LEAF);
	AVM_BUG_ON(m, s->page != page || !s->count);
	take = when == TAKE_ALWAYS || (when == TAKE_IDLE && s->count == 1) ||
	       (when == TAKE_UNUSED && avm_page_refs(page) == 2);
	if (take) {
		s->page = NULL;
		s->count--;
	}
	count = s->count;
	avm_spin_unlock(m, &d->lock, AVM_LOCK_LEAF);
	if (!take)
		return false;
	if (!count)
		avm_slot_free(d, avm_swp_slot(swp));
	leave(m, page);
	return true;
}

void avm_swapcache_remove(struct avm *m, struct avm_page *page)
{
	avm_page_set(page, AVM_PG_DIRTY);
	take_out(m, page, TAKE_ALWAYS);
}

bool avm_swapcache_drop_idle(struct avm *m, struct avm_page *page)
{
	if (!avm_page_in_swap(page))
		return true;
	if (!take_out(m, page, TAKE_IDLE))
		return false;
	/* From here on the page is the only place of its content. */
	avm_page_set(page, AVM_PG_DIRTY);
	return true;
}

bool avm_swapcache_evict(struct avm *m, struct avm_page *page)
{
	AVM_ASSERT(m, !avm_page_test(page, AVM_PG_DIRTY) && !avm_page_mapped(page));
	return take_out(m, page, TAKE_UNUSED);
}

bool avm_swapcache_closing(struct avm *m, const struct avm_page *page)
{
	return atomic_load_explicit(&avm_swap_device_of(m, page->u.swap)->closing,
				    memory_order_relaxed);
}

bool avm_swapcache_replace(struct avm *m, struct avm_page *from, struct avm_page *to)
{
	avm_swp_t swp = from->u.swap;
	struct avm_swap_device *d = avm_swap_device_of(m, swp);
	bool replaced;

	avm_spin_lock(m, &d->lock, AVM_LOCK_LEAF);
	replaced = avm_page_refs(from) == 2;
	if (replaced) {
		d->slots[avm_swp_slot(swp)].page = to;
		enter(to, swp);
	}
	avm_spin_unlock(m, &d->lock, AVM_LOCK_LEAF);
	if (replaced)
		leave(m, from);
	return replaced;
}

struct avm_page *avm_swapcache_next(struct avm_swap_device *d, uint32_t *slot)
{
	struct avm_page *page = NULL;

	avm_spin_lock(d->machine, &d->lock, AVM_LOCK_LEAF);
	for (; *slot < d->nr_slots && !page; (*slot)++) {
		page = d->slots[*slot].page;
		if (page)
			avm_page_get(page);
	}
	avm_spin_unlock(d->machine, &d->lock, AVM_LOCK_LEAF);
	return page;
}

/* ---- contents --------------------------------------------------------------------------------------- */

static int device_read(struct avm_swap_device *d, uint32_t slot, struct avm_page *page)
{
	return avm_port_swap_read(d->machine, d, slot, page->pfn);
}

static int device_write(struct avm_swap_device *d, uint32_t slot, struct avm_page *page)
{
	return avm_port_swap_write(d->machine, d, slot, page->pfn);
}

int avm_swapcache_write(struct avm *m, struct avm_page *page)
{
	avm_swp_t swp = page->u.swap;
	int err;

	avm_assert_page_locked(m, page);
	avm_might_sleep(m);
	/* Cleared first: who makes the page dirty meanwhile wants it written once more. */
	avm_page_clear(page, AVM_PG_DIRTY);
	err = device_write(avm_swap_device_of(m, swp), avm_swp_slot(swp), page);
	if (err) {
		avm_page_set(page, AVM_PG_DIRTY);
		avm_count(m, AVM_EV_SWAP_WRITE_ERROR, 1);
		return err;
	}
	avm_count(m, AVM_EV_SWAP_OUT, 1);
	return 0;
}

/* A page that the cache has: waits until it is filled, and makes sure that it is the slot's still. */
static int lock_found(struct avm *m, avm_swp_t swp, struct avm_page *page)
{
	int err = avm_page_lock_killable(m, page);

	if (!err) {
		if (avm_page_in_swap(page) && page->u.swap == swp) {
			if (!avm_page_test(page, AVM_PG_POISONED)) {
				avm_count(m, AVM_EV_SWAP_CACHE_HIT, 1);
				return 0;
			}
			err = -AVM_EIO;
		} else {
			avm_count(m, AVM_EV_RACE_SWAPIN_CACHE, 1);
			err = -AVM_EAGAIN;
		}
		avm_page_unlock(m, page);
	}
	avm_page_put(m, page);
	return err;
}

/* Brings a page for a slot that has none. 1, or as avm_swapcache_get(); -EEXIST: somebody was faster. */
static int read_new(struct avm_swap_device *d, uint32_t slot, struct avm_page **out)
{
	struct avm *m = d->machine;
	struct avm_page *page = avm_page_alloc(m, AVM_FRAME_USER);
	int err;

	if (!page)
		return -AVM_ENOMEM;
	avm_page_lock(m, page);
	err = insert(d, slot, page);
	if (!err) {
		err = device_read(d, slot, page);
		if (!err) {
			avm_count(m, AVM_EV_SWAP_IN, 1);
			avm_lru_add(m, page);
			*out = page;
			return 1;
		}
		avm_count(m, AVM_EV_SWAP_READ_ERROR, 1);
		take_out(m, page, TAKE_ALWAYS);
		err = -AVM_EIO;
	} else {
		avm_count(m, AVM_EV_RACE_SWAPIN_CACHE, 1);
	}
	avm_page_unlock(m, page);
	avm_page_put(m, page);
	return err;
}

static int get_from(struct avm_swap_device *d, avm_swp_t swp, struct avm_page **out)
{
	int err;

	do {
		*out = find(d, avm_swp_slot(swp));
		err = *out ? lock_found(d->machine, swp, *out) :
			     read_new(d, avm_swp_slot(swp), out);
	} while (err == -AVM_EEXIST);
	return err;
}

int avm_swapcache_get(struct avm *m, avm_swp_t swp, struct avm_page **out)
{
	struct avm_swap_device *d = avm_swap_device_get(m, swp);
	int err;

	if (!d)
		return -AVM_EAGAIN;
	err = get_from(d, swp, out);
	avm_swap_device_put(d);
	return err;
}

#endif
