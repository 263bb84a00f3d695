/* SPDX-License-Identifier: MIT */
/*
 * graph_model.c - what there is to be drawn, taken down through the iterators of observe.h.
 */
#include <stdlib.h>
#include <string.h>

#include "graph_priv.h"

void *graph_grow(void *v, size_t n, size_t *room, size_t size)
{
	if (n == *room) {
		*room = *room ? *room * 2 : 64;
		v = reallocarray(v, *room, size);
	}
	if (!v) {
		fprintf(stderr, "anonvm: graph: out of memory\n");
		exit(2);
	}
	memset((char *)v + n * size, 0, size);
	return v;
}

/* ---- anon_vmas ------------------------------------------------------------------------------ */

static size_t *slot_of(const struct graph *g, const struct avm_anon_vma *ptr)
{
	uint64_t i = ((uint64_t)(uintptr_t)ptr * UINT64_C(0x9e3779b97f4a7c15)) >> 32;

	for (;; i++) {
		size_t *slot = &g->slots[i & (g->nr_slots - 1)];

		if (!*slot || g->avs[*slot - 1].ptr == ptr)
			return slot;
	}
}

/* Never more than half full, so that a free slot ends every search. */
static void grow_slots(struct graph *g)
{
	if (g->nr_slots > 2 * g->nr_avs)
		return;
	free(g->slots);
	g->nr_slots = g->nr_slots ? 2 * g->nr_slots : 256;
	g->slots = calloc(g->nr_slots, sizeof(*g->slots));
	if (!g->slots) {
		fprintf(stderr, "anonvm: graph: out of memory\n");
		exit(2);
	}
	for (size_t i = 0; i < g->nr_avs; i++)
		*slot_of(g, g->avs[i].ptr) = i + 1;
}

size_t graph_av_of(struct graph *g, const struct avm_anon_vma *ptr)
{
	struct graph_av *av;
	size_t *slot;

	grow_slots(g);
	slot = slot_of(g, ptr);
	if (*slot)
		return *slot - 1;
	g->avs = graph_grow(g->avs, g->nr_avs, &g->room_avs, sizeof(*g->avs));
	*slot = g->nr_avs + 1;
	av = &g->avs[g->nr_avs++];
	av->ptr = ptr;
	av->proc = GRAPH_NONE;
	av->live = avm_anon_vma_live(g->m, ptr);
	if (av->live)
		avm_anon_vma_info(ptr, &av->info);
	return g->nr_avs - 1;
}

size_t graph_position(const struct graph *g, const struct graph_vma *v, size_t av)
{
	for (size_t i = 0; i < v->nr_chain; i++) {
		if (g->links[v->chain + i] == av)
			return i;
	}
	return GRAPH_NONE;
}

/* ---- VMAs ----------------------------------------------------------------------------------- */

/* No further than the VMA says: on a chain with an anon_vma twice the iterator would go in circles. */
static void collect_chain(struct graph *g, struct graph_vma *v)
{
	uint32_t left = atomic_load(&v->vma->chain_len);
	const struct avm_anon_vma *av = avm_next_in_chain(v->vma, NULL);

	v->chain = g->nr_links;
	for (; av && left; av = avm_next_in_chain(v->vma, av), left--) {
		size_t i = graph_av_of(g, av);
		struct graph_av *known = &g->avs[i];

		g->links = graph_grow(g->links, g->nr_links, &g->room_links, sizeof(*g->links));
		g->links[g->nr_links++] = i;
		if (known->proc == GRAPH_NONE)
			known->proc = v->proc;
		else if (known->proc != v->proc)
			known->proc = GRAPH_MANY;
		if (!known->live)
			v->wrong = true;
	}
	v->nr_chain = g->nr_links - v->chain;
}

static void collect_vma(struct graph *g, struct avm_vma *vma)
{
	struct graph_vma *v;

	g->vmas = graph_grow(g->vmas, g->nr_vmas, &g->room_vmas, sizeof(*g->vmas));
	v = &g->vmas[g->nr_vmas++];
	v->vma = vma;
	v->proc = g->nr_procs - 1;
	v->faulted = atomic_load(&vma->anon_vma) != NULL;
	collect_chain(g, v);
	if (v->wrong)
		g->procs[v->proc].wrong = true;
}

void graph_collect(struct graph *g)
{
	struct avm_mm *mm = NULL;

	while ((mm = avm_next_mm(g->m, mm))) {
		struct avm_vma *vma = NULL;
		struct graph_proc *p;

		g->procs = graph_grow(g->procs, g->nr_procs, &g->room_procs, sizeof(*g->procs));
		p = &g->procs[g->nr_procs++];
		p->mm = mm;
		p->first = g->nr_vmas;
		while ((vma = avm_next_vma(mm, vma)))
			collect_vma(g, vma);
		p->nr = g->nr_vmas - p->first;
	}
	graph_collect_pages(g);
}

void graph_free(struct graph *g)
{
	free(g->procs);
	free(g->vmas);
	free(g->links);
	free(g->avs);
	free(g->slots);
	free(g->entries);
	free(g->items);
	free(g->groups);
	free(g->shown);
}

void graph_draw(struct avm *m, const struct graph_names *names, FILE *out)
{
	static const struct graph_names none = { 0 };
	struct graph g = { .m = m, .names = names ? names : &none };

	graph_collect(&g);
	graph_fold(&g);
	graph_print(&g, out);
	graph_free(&g);
}
