/* SPDX-License-Identifier: MIT */
/* space.c - address spaces of a stress run: who is at them, and how they come and go. */
#include <stdlib.h>

#include "sim.h"
#include "stress.h"

/* ---- users ------------------------------------------------------------------------------------------------------- */

/* The struct stays until everything rests, so a late look at it is allowed. */
struct space *space_get(struct world *w, unsigned slot)
{
	struct space *p = atomic_load_explicit(&w->slots[slot], memory_order_acquire);
	uint32_t refs;

	if (!p || GET(p->dying))
		return NULL;
	refs = GET(p->refs);
	while (refs) {
		if (atomic_compare_exchange_weak_explicit(
			    &p->refs, &refs, refs + 1, memory_order_relaxed, memory_order_relaxed))
			return p;
	}
	return NULL;
}

void space_put(struct world *w, struct space *p)
{
	struct space *gone;

	if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1)
		return;
	SET(w->slots[p->slot], NULL);
	sim_proc_exit(p->proc);
	gone = GET(w->gone);
	do {
		p->next = gone;
	} while (!atomic_compare_exchange_weak(&w->gone, &gone, p));
	atomic_store(&w->reserved[p->slot], false);
}

void space_free(struct space *p)
{
	for (unsigned i = 0; i < AREAS; i++) {
		if (!area_is_shared(i))
			free(p->areas[i].object);
	}
	free(p);
}

void space_free_gone(struct world *w)
{
	struct space *p = atomic_exchange(&w->gone, NULL);

	while (p) {
		struct space *next = p->next;

		space_free(p);
		p = next;
	}
}

/* ---- coming --------------------------------------------------------------------------------------------------------- */

int area_map(struct world *w, struct space *p, unsigned area, unsigned first, unsigned n)
{
	struct area *a = &p->areas[area];
	bool shared = area_is_shared(area);
	const struct avm_mmap map = {
		.addr = area_at(area, GET(a->home)) + first * PAGE,
		.len = n * PAGE,
		.prot = AVM_PROT_READ | AVM_PROT_WRITE,
		.flags = AVM_MAP_FIXED |
			 (shared ? AVM_MAP_SHARED : AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS),
		.file = shared ? w->files[area - (AREAS - SHARED_AREAS)] : NULL,
		.pgoff = shared ? first : 0,
	};
	avm_addr_t out;

	return avm_mmap(sim_mm(p->proc), &map, &out);
}

static struct space *space_new(struct world *w, unsigned slot)
{
	struct space *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	p->slot = slot;
	p->refs = 1;
	for (unsigned i = 0; i < AREAS; i++)
		p->areas[i].object = area_is_shared(i) ?
					     w->file_objects[i - (AREAS - SHARED_AREAS)] :
					     object_new(i, w->options->threads);
	return p;
}

static void space_show(struct world *w, struct space *p)
{
	atomic_store_explicit(&w->slots[p->slot], p, memory_order_release);
}

bool space_spawn(struct world *w, unsigned slot)
{
	struct space *p = space_new(w, slot);

	if (sim_proc_create(w->sim, NULL, &p->proc)) {
		space_free(p);
		return false;
	}
	for (unsigned i = 0; i < AREAS; i++) {
		struct area *a = &p->areas[i];
		bool mapped = !area_map(w, p, i, 0, AREA_PAGES);

		a->known = true;
		for (unsigned k = 0; k < AREA_PAGES; k++)
			a->prot[k] = mapped ? AVM_PROT_READ | AVM_PROT_WRITE : HOLE;
	}
	space_show(w, p);
	return true;
}

/* ---- fork -------------------------------------------------------------------------------------------------------------- */

/* What is known before the fork. */
static void copy_areas(struct world *w, struct space *to, const struct space *from)
{
	for (unsigned i = 0; i < AREAS; i++) {
		struct area *a = &to->areas[i];
		const struct area *b = &from->areas[i];

		SET(a->gen, GET(b->gen));
		SET(a->known, GET(b->known));
		order();
		SET(a->home, GET(b->home));
		for (unsigned k = 0; k < AREA_PAGES; k++)
			SET(a->prot[k], GET(b->prot[k]));
		if (!area_is_shared(i))
			object_copy(a->object, b->object, w->options->threads);
	}
	order();
}

/* And after it: an area whose owner was at it meanwhile is unknown until he makes it anew. */
static void settle_areas(struct world *w, struct space *to, const struct space *from)
{
	order();
	for (unsigned i = 0; i < AREAS; i++) {
		struct area *a = &to->areas[i];
		const struct area *b = &from->areas[i];
		uint32_t gen = GET(a->gen);
		bool moved = gen % 2 || GET(b->gen) != gen;

		if (!area_is_shared(i)) {
			uint32_t content = GET(a->object->gen);

			object_widen(a->object, b->object, w->options->threads);
			order();
			moved = moved || content % 2 || GET(b->object->gen) != content;
		}
		if (!moved)
			continue;
		SET(a->known, false);
		SET(a->gen, gen + gen % 2);
		if (!area_is_shared(i))
			SET(a->object->gen, GET(a->object->gen) + GET(a->object->gen) % 2);
	}
}

bool space_fork(struct worker *t, struct space *parent, unsigned slot)
{
	struct world *w = t->world;
	struct space *p = space_new(w, slot);

	copy_areas(w, p, parent);
	if (sim_proc_fork(parent->proc, &p->proc)) {
		space_free(p);
		return false;
	}
	settle_areas(w, p, parent);
	space_show(w, p);
	return true;
}
