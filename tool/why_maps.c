/* SPDX-License-Identifier: MIT */
/*
 * why_maps.c - for each address space, who made the boundary at an address: a hash table of addresses.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "why.h"

struct why_maps {
	struct why_maps *next;
	uint64_t mm_id;
	struct why_origin *slots;
	size_t nr, cap; /* cap: a power of two */
};

static struct why_maps *find_map(const struct why *w, uint64_t mm_id)
{
	struct why_maps *m = w->maps[mm_id % WHY_BUCKETS];

	while (m && m->mm_id != mm_id)
		m = m->next;
	return m;
}

static struct why_origin *slot(struct why_origin *slots, size_t cap, uint64_t address)
{
	size_t i = (size_t)((address >> 12) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (cap - 1);

	while (slots[i].what && slots[i].address != address)
		i = (i + 1) & (cap - 1);
	return &slots[i];
}

static void grow(struct why_maps *m)
{
	size_t cap = m->cap ? m->cap * 2 : 64;
	struct why_origin *slots = replay_must(calloc(cap, sizeof(*slots)));

	for (size_t i = 0; i < m->cap; i++) {
		if (m->slots[i].what)
			*slot(slots, cap, m->slots[i].address) = m->slots[i];
	}
	free(m->slots);
	m->slots = slots;
	m->cap = cap;
}

void why_maps_note(struct why *w, uint64_t mm_id, uint64_t address, const char *what, uint64_t line)
{
	struct why_maps *m = find_map(w, mm_id);
	struct why_origin *o;

	if (!m) {
		m = replay_must(calloc(1, sizeof(*m)));
		m->mm_id = mm_id;
		m->next = w->maps[mm_id % WHY_BUCKETS];
		w->maps[mm_id % WHY_BUCKETS] = m;
	}
	if (m->nr * 2 >= m->cap)
		grow(m);
	o = slot(m->slots, m->cap, address);
	if (!o->what)
		m->nr++;
	*o = (struct why_origin){ address, line, what };
}

struct why_origin why_maps_find(const struct why *w, uint64_t mm_id, uint64_t address)
{
	const struct why_maps *m = find_map(w, mm_id);

	if (!m || !m->cap)
		return (struct why_origin){ 0 };
	return *slot(m->slots, m->cap, address);
}

/* Of the boundaries that there are: what has been one is of no interest to a child. */
void why_maps_fork(struct why *w, const struct avm_mm *parent, struct avm_mm *child)
{
	for (struct avm_vma *v = avm_next_vma(child, NULL); v; v = avm_next_vma(child, v)) {
		struct why_origin start = why_maps_find(w, parent->id, v->start);
		struct why_origin end = why_maps_find(w, parent->id, v->end);

		if (start.what)
			why_maps_note(w, child->id, start.address, start.what, start.line);
		if (end.what)
			why_maps_note(w, child->id, end.address, end.what, end.line);
	}
}

void why_maps_drop(struct why *w, uint64_t mm_id)
{
	for (struct why_maps **p = &w->maps[mm_id % WHY_BUCKETS]; *p; p = &(*p)->next) {
		struct why_maps *m = *p;

		if (m->mm_id != mm_id)
			continue;
		*p = m->next;
		free(m->slots);
		free(m);
		return;
	}
}

void why_maps_free(struct why *w)
{
	for (size_t i = 0; i < WHY_BUCKETS; i++) {
		while (w->maps[i])
			why_maps_drop(w, w->maps[i]->mm_id);
	}
}
