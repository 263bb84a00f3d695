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

static void *must(void *p)
{
	if (!p) {
		fputs("anonvm: why: out of memory\n", stderr);
		abort();
	}
	return p;
}

static struct why_maps *find_map(const struct why *w, uint64_t mm_id)
{
	struct why_maps *m = w->maps;

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
	struct why_origin *slots = must(calloc(cap, sizeof(*slots)));

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
		m = must(calloc(1, sizeof(*m)));
		m->mm_id = mm_id;
		m->next = w->maps;
		w->maps = m;
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

void why_maps_fork(struct why *w, uint64_t parent, uint64_t child)
{
	const struct why_maps *m = find_map(w, parent);
	struct why_maps *c;

	if (!m || !m->cap)
		return;
	c = must(malloc(sizeof(*c)));
	*c = *m;
	c->slots = must(malloc(m->cap * sizeof(*m->slots)));
	memcpy(c->slots, m->slots, m->cap * sizeof(*m->slots));
	c->mm_id = child;
	c->next = w->maps;
	w->maps = c;
}

void why_maps_drop(struct why *w, uint64_t mm_id)
{
	for (struct why_maps **p = &w->maps; *p; p = &(*p)->next) {
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
	while (w->maps)
		why_maps_drop(w, w->maps->mm_id);
}
