/* SPDX-License-Identifier: MIT */
/*
 * swapon.c - adding and removing swap devices (R10).
 *
 * Removal closes the device and brings its slots back one by one: shared anonymous memory through its files, private
 * memory through every entry of every address space, and what is left is in nobody's but the cache's. Each page
 * brought back is as if its owner had touched it: if the removal fails half-way, nothing has to be undone.
 */
#include "commit.h"
#include "error.h"
#include "exit.h"
#include "file.h"
#include "lock.h"
#include "mm.h"
#include "reclaim.h"
#include "swap.h"
#include "vma.h"

#if AVM_PORT_TIER >= 2

#define REMOVE_ROUNDS 8u
#define ROOM 32u /* frames asked of reclaim at once */

/* ---- adding -------------------------------------------------------------------------------------------- */

int avm_swap_add(struct avm *m, struct avm_swap_device *d, struct avm_swap_slot *slots,
		 uint32_t nr_slots, int32_t priority, void *context)
{
	if (!nr_slots || nr_slots == AVM_SWAP_NO_SLOT || !slots)
		return -AVM_EINVAL;
	*d = (struct avm_swap_device){
		.machine = m,
		.context = context,
		.priority = priority,
		.nr_slots = nr_slots,
		.slots = slots,
	};
	for (uint32_t i = 0; i < nr_slots; i++)
		slots[i] = (struct avm_swap_slot){ .next = i + 1 };
	slots[nr_slots - 1].next = AVM_SWAP_NO_SLOT;
	return avm_swap_register(m, d);
}

/* ---- removing ------------------------------------------------------------------------------------------ */

static bool names_device(avm_pte_t pte, const struct avm_swap_device *d)
{
	return avm_pte_is_entry(pte) && avm_pte_entry_kind(pte) == AVM_ENTRY_SWAP &&
	       avm_swp_device(avm_pte_entry_value(pte)) == d->number;
}

/* The first entry of the device at or behind the cursor in its table; AVM_PTE_EMPTY: none. */
static avm_small avm_pte_t next_entry(struct avm_ptc *c, const struct avm_swap_device *d)
{
	avm_pte_t found = AVM_PTE_EMPTY;

	avm_ptc_lock(c);
	while (c->addr < c->stop) {
		found = avm_ptc_get(c);
		if (names_device(found, d))
			break;
		found = AVM_PTE_EMPTY;
		avm_ptc_step(c);
	}
	avm_ptc_unlock(c);
	return found;
}

/* 0 or an error of avm_swap_in(), but what has gone meanwhile is none. => mmap_lock. */
static int empty_vma(struct avm_vma *vma, const struct avm_swap_device *d)
{
	struct avm_ptc c;
	avm_pte_t entry;

	for (bool more = avm_ptc_first(&c, vma->mm, vma->start, vma->end); more;
	     more = avm_ptc_next_table(&c)) {
		while (!avm_pte_empty(entry = next_entry(&c, d))) {
			int err = avm_swap_in(vma, &c, entry, AVM_ACCESS_READ);

			if (err < 0 && err != -AVM_EAGAIN)
				return err;
		}
	}
	return 0;
}

static avm_noinline int empty_mm(struct avm_mm *mm, const struct avm_swap_device *d)
{
	struct avm_vma *vma;
	int err = avm_mmap_read_lock(mm);

	if (err)
		return err;
	avm_list_for_each_entry(vma, &mm->vmas.list, struct avm_vma, link) {
		if (avm_vma_anon(vma))
			err = empty_vma(vma, d);
		if (err)
			break;
	}
	avm_mmap_read_unlock(mm);
	return err;
}

static int empty_mms(struct avm *m, const struct avm_swap_device *d)
{
	struct avm_mm *mm = NULL;

	while ((mm = avm_mm_get_next(m, mm))) {
		int err = empty_mm(mm, d);

		if (err) {
			avm_mm_put(mm);
			return err;
		}
	}
	return 0;
}

/* Pages that the cache alone keeps in their slots. */
static void empty_cache(struct avm *m, struct avm_swap_device *d)
{
	struct avm_page *page;
	uint32_t slot = 0;

	while ((page = avm_swapcache_next(d, &slot))) {
		if (avm_page_trylock(m, page)) {
			if (avm_page_in_swap(page))
				avm_swapcache_drop_idle(m, page);
			avm_page_unlock(m, page);
		}
		avm_page_put(m, page);
	}
}

/*
 * When a frame was refused: pages go to other devices. Those that have come back from this one do not return to it, so
 * each time less is left to bring back. `refused`: by the port, so far.
 */
static bool make_room(struct avm *m, struct avm_swap_device *d, uint64_t *refused)
{
	uint64_t now = atomic_load_explicit(&m->frames_refused, memory_order_relaxed);

	if (now == *refused)
		return false;
	*refused = now;
	empty_cache(m, d);
	return avm_shrink(m, ROOM);
}

/* None: whoever freed the last one is done with the device, and nobody takes one any more (G-H, G-I). */
static uint32_t used(const struct avm_swap_device *d)
{
	return atomic_load_explicit(&d->used, memory_order_seq_cst);
}

/*
 * One round over everybody. A slot may hide in an address space that was made behind our back (fork), or in a page that
 * somebody has locked: then another round finds it. Only rounds that get nowhere are counted.
 */
static int empty_device(struct avm *m, struct avm_swap_device *d)
{
	uint64_t refused = atomic_load_explicit(&m->frames_refused, memory_order_relaxed);
	unsigned idle = 0;

	while (used(d)) {
		uint32_t before = used(d);
		int err = avm_file_unswap(m, d);

		if (!err)
			err = empty_mms(m, d);
		if (err == -AVM_ENOMEM && make_room(m, d, &refused))
			continue;
		if (err)
			return err;
		empty_cache(m, d);
		if (used(d) == before && ++idle == REMOVE_ROUNDS)
			return -AVM_EBUSY;
	}
	return 0;
}

int avm_swap_remove(struct avm *m, struct avm_swap_device *d)
{
	int err;

	if (d->number >= AVM_MAX_SWAP_DEVICES || m->swap[d->number] != d)
		return -AVM_EINVAL;
	/* What has been promised must be kept (R1.5). */
	if (avm_commit_needs(m, d->nr_slots))
		return -AVM_ENOMEM;
	if (!avm_swap_close(d))
		return -AVM_EBUSY;
	err = empty_device(m, d);
	if (!err)
		err = avm_swap_unregister(m, d);
	if (err)
		avm_swap_reopen(d);
	return err;
}

#else

int avm_swap_add(struct avm *m, struct avm_swap_device *d, struct avm_swap_slot *slots,
		 uint32_t nr_slots, int32_t priority, void *context)
{
	(void)m;
	(void)d;
	(void)slots;
	(void)nr_slots;
	(void)priority;
	(void)context;
	return -AVM_ENODEV;
}

int avm_swap_remove(struct avm *m, struct avm_swap_device *d)
{
	(void)m;
	(void)d;
	return -AVM_EINVAL;
}

#endif
