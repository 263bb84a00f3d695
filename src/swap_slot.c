/* SPDX-License-Identifier: MIT */
/*
 * swap_slot.c - devices and their slots (swap_slot.h). All of a slot is under its device's lock, a leaf.
 *
 * Free slots are a list through the slots themselves. A slot whose last count has gone is discarded at the port first
 * and put on the list afterwards, so that nobody writes to a slot that is about to be discarded.
 */
#include "swap_slot.h"

#include "error.h"
#include "lock.h"
#include "swap_cache.h"

#if AVM_PORT_TIER >= 2

/* => a count of a slot of it is held, so it cannot be removed. */
struct avm_swap_device *avm_swap_device_of(struct avm *m, avm_swp_t swp)
{
	struct avm_swap_device *d = m->swap[avm_swp_device(swp)];

	AVM_BUG_ON(m, !d || avm_swp_slot(swp) >= d->nr_slots);
	return d;
}

struct avm_swap_device *avm_swap_device_get(struct avm *m, avm_swp_t swp)
{
	struct avm_swap_device *d = NULL;

	avm_spin_lock(m, &m->swap_lock, AVM_LOCK_LEAF);
	if (avm_swp_device(swp) < AVM_MAX_SWAP_DEVICES)
		d = m->swap[avm_swp_device(swp)];
	if (d)
		atomic_fetch_add_explicit(&d->users, 1, memory_order_relaxed);
	avm_spin_unlock(m, &m->swap_lock, AVM_LOCK_LEAF);
	return d;
}

void avm_swap_device_put(struct avm_swap_device *d)
{
	struct avm *m = d->machine;

	/* The struct may go as soon as nobody uses it and the lock is free: the wake is under it (G-J). */
	avm_spin_lock(m, &m->swap_lock, AVM_LOCK_LEAF);
	if (atomic_fetch_sub_explicit(&d->users, 1, memory_order_release) == 1 &&
	    atomic_load_explicit(&d->closing, memory_order_relaxed))
		avm_word_wake(m, &d->users);
	avm_spin_unlock(m, &m->swap_lock, AVM_LOCK_LEAF);
}

/* ---- devices ---------------------------------------------------------------------------------------- */

int avm_swap_register(struct avm *m, struct avm_swap_device *d)
{
	int err = -AVM_ENOSPC;

	avm_spin_lock(m, &m->swap_lock, AVM_LOCK_LEAF);
	for (uint32_t i = 0; i < AVM_MAX_SWAP_DEVICES && err; i++) {
		if (m->swap[i])
			continue;
		d->number = i;
		m->swap[i] = d;
		m->nr_swap++;
		err = 0;
	}
	avm_spin_unlock(m, &m->swap_lock, AVM_LOCK_LEAF);
	if (!err)
		atomic_fetch_add_explicit(&m->swap_slots, d->nr_slots, memory_order_relaxed);
	return err;
}

static avm_small void set_device(struct avm *m, uint32_t number, struct avm_swap_device *d)
{
	avm_spin_lock(m, &m->swap_lock, AVM_LOCK_LEAF);
	m->swap[number] = d;
	avm_spin_unlock(m, &m->swap_lock, AVM_LOCK_LEAF);
}

int avm_swap_unregister(struct avm *m, struct avm_swap_device *d)
{
	uint32_t users;

	/* From here on nobody finds it; some may still look at a slot that an entry named once. */
	set_device(m, d->number, NULL);
	while ((users = atomic_load_explicit(&d->users, memory_order_acquire))) {
		if (avm_word_wait(m, &d->users, users)) {
			set_device(m, d->number, d);
			return -AVM_EINTR;
		}
	}
	avm_spin_lock(m, &m->swap_lock, AVM_LOCK_LEAF); /* behind the last put: G-J */
	m->nr_swap--;
	avm_spin_unlock(m, &m->swap_lock, AVM_LOCK_LEAF);
	atomic_fetch_sub_explicit(&m->swap_slots, d->nr_slots, memory_order_relaxed);
	return 0;
}

/* Before used() is asked (G-H). */
bool avm_swap_close(struct avm_swap_device *d)
{
	return !atomic_exchange_explicit(&d->closing, true, memory_order_seq_cst);
}

void avm_swap_reopen(struct avm_swap_device *d)
{
	atomic_store_explicit(&d->closing, false, memory_order_relaxed);
}

/* ---- slots ------------------------------------------------------------------------------------------ */

static bool has_room(const struct avm_swap_device *d)
{
	return !atomic_load_explicit(&d->closing, memory_order_relaxed) &&
	       atomic_load_explicit(&d->used, memory_order_relaxed) < d->nr_slots;
}

/* The open device of highest priority with a free slot, in use; NULL: none. */
static avm_noinline struct avm_swap_device *device_with_room(struct avm *m)
{
	struct avm_swap_device *best = NULL;

	avm_spin_lock(m, &m->swap_lock, AVM_LOCK_LEAF);
	for (uint32_t i = 0; i < AVM_MAX_SWAP_DEVICES; i++) {
		struct avm_swap_device *d = m->swap[i];

		if (d && has_room(d) && !(best && best->priority >= d->priority))
			best = d;
	}
	if (best)
		atomic_fetch_add_explicit(&best->users, 1, memory_order_relaxed);
	avm_spin_unlock(m, &m->swap_lock, AVM_LOCK_LEAF);
	return best;
}

/*
 * A free slot with one count, that of `page`. It is counted as used before we look whether the device is being closed;
 * swapoff closes it, and then looks whether one is used. One of the two sees the other (G-H).
 */
static bool take_slot(struct avm_swap_device *d, struct avm_page *page, uint32_t *slot)
{
	bool taken;

	avm_spin_lock(d->machine, &d->lock, AVM_LOCK_LEAF);
	atomic_fetch_add_explicit(&d->used, 1, memory_order_seq_cst);
	*slot = d->first_free;
	taken = *slot != AVM_SWAP_NO_SLOT &&
		!atomic_load_explicit(&d->closing, memory_order_seq_cst);
	if (taken) {
		struct avm_swap_slot *s = &d->slots[*slot];

		d->first_free = s->next;
		s->page = page;
		s->count = 1;
	}
	avm_spin_unlock(d->machine, &d->lock, AVM_LOCK_LEAF);
	/* Our last step on it, as in avm_slot_free() (G-I). */
	if (!taken)
		atomic_fetch_sub_explicit(&d->used, 1, memory_order_release);
	return taken;
}

bool avm_slot_take(struct avm *m, struct avm_page *page, avm_swp_t *swp)
{
	struct avm_swap_device *d;
	uint32_t slot;
	bool taken = false;

	/* A device may fill up, or be closed, between the look and the taking: then the next one. */
	while (!taken && (d = device_with_room(m))) {
		taken = take_slot(d, page, &slot);
		if (taken)
			*swp = avm_swp(d, slot);
		avm_swap_device_put(d);
	}
	if (taken)
		atomic_fetch_add_explicit(&m->swap_used, 1, memory_order_relaxed);
	return taken;
}

void avm_slot_free(struct avm_swap_device *d, uint32_t slot)
{
	struct avm *m = d->machine;

	avm_port_swap_discard(m, d, slot);
	avm_spin_lock(m, &d->lock, AVM_LOCK_LEAF);
	d->slots[slot].next = d->first_free;
	d->first_free = slot;
	avm_spin_unlock(m, &d->lock, AVM_LOCK_LEAF);
	/* Our last step on the device: whoever finds no slot in use may take it away (G-I). */
	atomic_fetch_sub_explicit(&d->used, 1, memory_order_release);
	atomic_fetch_sub_explicit(&m->swap_used, 1, memory_order_relaxed);
}

void avm_slot_dup(struct avm *m, avm_swp_t swp)
{
	struct avm_swap_device *d = avm_swap_device_of(m, swp);
	struct avm_swap_slot *s = &d->slots[avm_swp_slot(swp)];

	avm_spin_lock(m, &d->lock, AVM_LOCK_LEAF);
	AVM_BUG_ON(m, !s->count || s->count == UINT32_MAX);
	s->count++;
	avm_spin_unlock(m, &d->lock, AVM_LOCK_LEAF);
}

struct avm_swap_slot avm_slot_look(struct avm *m, avm_swp_t swp)
{
	struct avm_swap_device *d = avm_swap_device_of(m, swp);
	struct avm_swap_slot slot;

	avm_spin_lock(m, &d->lock, AVM_LOCK_LEAF);
	slot = d->slots[avm_swp_slot(swp)];
	avm_spin_unlock(m, &d->lock, AVM_LOCK_LEAF);
	return slot;
}

void avm_slot_put(struct avm *m, avm_swp_t swp)
{
	struct avm_swap_device *d = avm_swap_device_of(m, swp);
	struct avm_swap_slot *s = &d->slots[avm_swp_slot(swp)];
	struct avm_page *idle = NULL;
	uint32_t count;

	avm_spin_lock(m, &d->lock, AVM_LOCK_LEAF);
	AVM_BUG_ON(m, !s->count);
	count = --s->count;
	if (count == 1 && s->page && avm_page_tryget(s->page))
		idle = s->page;
	avm_spin_unlock(m, &d->lock, AVM_LOCK_LEAF);
	if (!count)
		avm_slot_free(d, avm_swp_slot(swp));
	if (!idle)
		return;
	/* Whoever has it locked drops it himself, or reclaim does later. */
	if (avm_page_trylock(m, idle)) {
		if (avm_page_in_swap(idle) && !avm_page_mapped(idle))
			avm_swapcache_drop_idle(m, idle);
		avm_page_unlock(m, idle);
	}
	avm_page_put(m, idle);
}

#endif
