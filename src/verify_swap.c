/* SPDX-License-Identifier: MIT */
/*
 * verify_swap.c - swap devices: each slot's count is that of those who name it (V30), and the swap cache and its pages
 * know each other (V31) (verify.h).
 *
 * Who names a slot is added up while page tables and page caches are looked at; the slots are compared in the end.
 */
#include "verify.h"

#include "avm_arch.h"
#include "swap_slot.h"

/* 0 or -ENOMEM. */
static int note_device(struct avm_verify *v, const struct avm_swap_device *d)
{
	struct avm_slot_notes *n;
	size_t bytes;

	n = avm_verify_alloc(v->m, sizeof(*n) + d->nr_slots * sizeof(n->names[0]), &bytes);
	if (!n)
		return -AVM_ENOMEM;
	n->device = d;
	n->bytes = bytes;
	n->next = v->slots;
	v->slots = n;
	return 0;
}

int avm_verify_slots(struct avm_verify *v)
{
	int err = 0;

	for (uint32_t i = 0; i < AVM_MAX_SWAP_DEVICES && !err; i++) {
		const struct avm_swap_device *d = v->m->swap[i];

		if (!d)
			continue;
		if (avm_misaligned(d) || d->machine != v->m || d->number != i)
			avm_verify_say(v, 31, "a swap device is none of this machine",
				       &(struct avm_where){ .raw = d });
		else
			err = note_device(v, d);
	}
	return err;
}

void avm_verify_free_slots(struct avm_verify *v)
{
	while (v->slots) {
		struct avm_slot_notes *n = v->slots;

		v->slots = n->next;
		avm_port_meta_free(v->m, n, n->bytes);
	}
}

/* Where the names of the slot are counted; NULL: there is no such slot. */
static uint32_t *names_of(const struct avm_verify *v, avm_swp_t swp)
{
	for (struct avm_slot_notes *n = v->slots; n; n = n->next)
		if (n->device->number == avm_swp_device(swp))
			return avm_swp_slot(swp) < n->device->nr_slots ?
				       &n->names[avm_swp_slot(swp)] :
				       NULL;
	return NULL;
}

void avm_verify_slot_named(struct avm_verify *v, avm_swp_t swp, const struct avm_where *where)
{
	uint32_t *names = names_of(v, swp);

	if (names)
		++*names;
	else
		avm_verify_say(v, 30, "something names a swap slot that there is not", where);
}

/* => there is such a slot. */
static const struct avm_swap_slot *slot_of(const struct avm_verify *v, avm_swp_t swp)
{
	return &v->m->swap[avm_swp_device(swp)]->slots[avm_swp_slot(swp)];
}

uint32_t avm_verify_slot_names(const struct avm_verify *v, avm_swp_t swp)
{
	const uint32_t *names = names_of(v, swp);

	return names ? *names : 0;
}

bool avm_verify_in_swap(struct avm_verify *v, const struct avm_page *page)
{
	if (!avm_page_in_swap(page))
		return false;
	if (!names_of(v, page->u.swap) || slot_of(v, page->u.swap)->page != page)
		avm_verify_say(v, 31, "a page of the swap cache is not under its slot",
			       &(struct avm_where){ .page = page });
	return true;
}

static void check_cached(struct avm_verify *v, avm_swp_t swp, const struct avm_page *page)
{
	const struct avm_where where = { .raw = page };

	if (!avm_verify_note_of(v, page)) {
		avm_verify_say(v, 31, "the swap cache holds something that is no page", &where);
		return;
	}
	if (!avm_page_in_swap(page) || page->u.swap != swp)
		avm_verify_say(v, 31, "a page in the swap cache names another slot",
			       &(struct avm_where){ .page = page });
}

static void check_slot(struct avm_verify *v, const struct avm_swap_device *d, uint32_t i,
		       uint32_t names)
{
	const struct avm_swap_slot *s = &d->slots[i];

	if (s->page)
		check_cached(v, avm_swp(d, i), s->page);
	if (s->count != names + !!s->page)
		avm_verify_equal(v, 30, "count of a swap slot", &(struct avm_where){ .raw = s },
				 s->count, (uint64_t)names + !!s->page);
}

static void check_free_slots(struct avm_verify *v, const struct avm_swap_device *d, uint32_t used)
{
	const struct avm_where where = { .raw = d };
	uint32_t i = d->first_free, n = 0;

	while (i != AVM_SWAP_NO_SLOT && n <= d->nr_slots) {
		if (i >= d->nr_slots || d->slots[i].count || d->slots[i].page) {
			avm_verify_say(v, 31, "the list of free slots is broken", &where);
			return;
		}
		i = d->slots[i].next;
		n++;
	}
	avm_verify_equal(v, 31, "free slots of a swap device", &where, n,
			 (uint64_t)d->nr_slots - used);
	avm_verify_equal(v, 31, "used slots of a swap device", &where,
			 atomic_load_explicit(&d->used, memory_order_relaxed), used);
}

void avm_verify_devices(struct avm_verify *v)
{
	uint64_t all = 0;

	for (const struct avm_slot_notes *n = v->slots; n; n = n->next) {
		const struct avm_swap_device *d = n->device;
		uint32_t used = 0;

		for (uint32_t i = 0; i < d->nr_slots; i++) {
			check_slot(v, d, i, n->names[i]);
			used += !!d->slots[i].count;
		}
		check_free_slots(v, d, used);
		avm_verify_spin(v, &d->lock, &(struct avm_where){ .raw = d });
		all += used;
	}
	avm_verify_equal(v, 31, "used slots of all devices", &(struct avm_where){ 0 },
			 atomic_load_explicit(&v->m->swap_used, memory_order_relaxed), all);
}
