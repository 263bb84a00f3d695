/* SPDX-License-Identifier: MIT */
/*
 * graph_pages.c - what the page tables lead to, page by page and then in groups: pages in the same
 * state, on the same anon_vma, mapped by the same VMAs, are one node.
 */
#include <stdlib.h>

#include "graph_priv.h"

/* ---- entries -------------------------------------------------------------------------------- */

static void collect_entry(struct graph *g, size_t vma, const struct avm_pte_info *pte)
{
	struct graph_vma *v = &g->vmas[vma];
	struct graph_entry *e;

	if (pte->kind == AVM_PTE_PRESENT && pte->zero) {
		v->zero++;
		return;
	}
	if (pte->kind == AVM_PTE_PRESENT && !pte->page) {
		v->bare++;
		return;
	}
	g->entries = graph_grow(g->entries, g->nr_entries, &g->room_entries, sizeof(*g->entries));
	e = &g->entries[g->nr_entries++];
	e->kind = pte->kind;
	e->value = pte->kind == AVM_PTE_PRESENT ? pte->pfn : pte->entry;
	e->page = pte->page;
	e->vma = vma;
	e->at = (pte->addr - v->vma->start) / GRAPH_PAGE;
}

static int less(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_value(const void *a, const void *b)
{
	const struct graph_entry *x = a;
	const struct graph_entry *y = b;
	int c = less(x->kind, y->kind);

	c = c ? c : less(x->value, y->value);
	c = c ? c : less(x->vma, y->vma);
	return c ? c : less(x->at, y->at);
}

/* ---- pages ---------------------------------------------------------------------------------- */

/* What is wrong with how one VMA maps an anonymous page, or `good`. */
static enum graph_state anon_state(const struct graph *g, const struct graph_entry *e, size_t av,
				   enum graph_state good)
{
	const struct graph_vma *v = &g->vmas[e->vma];

	if (!g->avs[av].live)
		return GRAPH_DEAD;
	if (graph_position(g, v, av) == GRAPH_NONE)
		return GRAPH_WRONG;
	if (atomic_load(&e->page->index) != v->vma->pgoff + e->at)
		return GRAPH_MISPLACED;
	return good;
}

static enum graph_state file_state(const struct graph *g, const struct graph_entry *e)
{
	uintptr_t mapping = atomic_load(&e->page->mapping);

	/* One without a mapping was taken from its file while it stayed mapped. */
	if (mapping & AVM_MAPPING_MERGED)
		return GRAPH_MERGED;
	return !mapping || mapping == (uintptr_t)g->vmas[e->vma].vma->file ? GRAPH_FILE :
									     GRAPH_WRONG_FILE;
}

static enum graph_state entry_state(const struct graph *g, const struct graph_entry *e, size_t av)
{
	bool exclusive;

	switch (e->kind) {
	case AVM_PTE_SWAP:
		return GRAPH_SWAP;
	case AVM_PTE_MIGRATION:
		return GRAPH_MIGRATION;
	case AVM_PTE_POISON:
		return GRAPH_POISON;
	case AVM_PTE_NONE:
	case AVM_PTE_PRESENT:
		break;
	}
	if (av == GRAPH_NONE)
		return file_state(g, e);
	exclusive = atomic_load(&e->page->mapcount) & AVM_MAPCOUNT_EXCLUSIVE;
	return anon_state(g, e, av, exclusive ? GRAPH_EXCLUSIVE : GRAPH_ANON);
}

static void mark_wrong(struct graph *g, const struct graph_entry *e)
{
	g->vmas[e->vma].wrong = true;
	g->procs[g->vmas[e->vma].proc].wrong = true;
}

/* The worst of what its mappers say. */
static void judge(struct graph *g, struct graph_item *item)
{
	const struct graph_entry *e = &g->entries[item->first];
	const struct avm_anon_vma *av = e->page ? avm_page_anon_vma(e->page) : NULL;

	item->av = av ? graph_av_of(g, av) : GRAPH_NONE;
	item->mapcount = e->page ? atomic_load(&e->page->mapcount) & AVM_MAPCOUNT : 0;
	item->state = GRAPH_POISON;
	for (size_t i = 0; i < item->nr; i++) {
		enum graph_state state = entry_state(g, &e[i], item->av);

		if (state < item->state)
			item->state = state;
	}
	for (size_t i = 0; i < item->nr && graph_is_wrong(item->state); i++)
		mark_wrong(g, &e[i]);
}

static void collect_items(struct graph *g)
{
	for (size_t i = 0; i < g->nr_entries;) {
		struct graph_item *item;
		size_t first = i;

		while (i < g->nr_entries && g->entries[i].kind == g->entries[first].kind &&
		       g->entries[i].value == g->entries[first].value)
			i++;
		g->items = graph_grow(g->items, g->nr_items, &g->room_items, sizeof(*g->items));
		item = &g->items[g->nr_items++];
		item->first = first;
		item->nr = i - first;
		judge(g, item);
	}
}

/* ---- groups --------------------------------------------------------------------------------- */

/* Zero: drawn as one. */
static int compare_kind(const struct graph *g, const struct graph_item *a,
			const struct graph_item *b)
{
	int c = less(a->state, b->state);

	c = c ? c : less(a->av, b->av);
	c = c ? c : less(a->mapcount, b->mapcount);
	c = c ? c : less(a->nr, b->nr);
	for (size_t i = 0; i < a->nr && !c; i++)
		c = less(g->entries[a->first + i].vma, g->entries[b->first + i].vma);
	return c;
}

static int by_kind(const void *a, const void *b, void *context)
{
	const struct graph *g = context;
	const struct graph_item *x = a;
	const struct graph_item *y = b;
	int c = compare_kind(g, x, y);

	return c ? c : less(g->entries[x->first].at, g->entries[y->first].at);
}

/* In the order of addresses, as the cells of a VMA are to stand. */
static int by_place(const void *a, const void *b, void *context)
{
	const struct graph *g = context;
	const struct graph_entry *x =
		&g->entries[g->items[((const struct graph_group *)a)->first].first];
	const struct graph_entry *y =
		&g->entries[g->items[((const struct graph_group *)b)->first].first];
	int c = less(x->vma, y->vma);

	return c ? c : less(x->at, y->at);
}

static void collect_groups(struct graph *g)
{
	for (size_t i = 0; i < g->nr_items;) {
		struct graph_group *group;
		size_t first = i;

		while (i < g->nr_items && !compare_kind(g, &g->items[i], &g->items[first]))
			i++;
		g->groups =
			graph_grow(g->groups, g->nr_groups, &g->room_groups, sizeof(*g->groups));
		group = &g->groups[g->nr_groups++];
		group->first = first;
		group->nr = i - first;
	}
	qsort_r(g->groups, g->nr_groups, sizeof(*g->groups), by_place, g);
}

void graph_collect_pages(struct graph *g)
{
	for (size_t i = 0; i < g->nr_vmas; i++) {
		struct avm_vma *vma = g->vmas[i].vma;
		struct avm_pte_info pte = { .addr = vma->start };

		for (; avm_next_pte(vma->mm, vma->end, &pte); pte.addr += GRAPH_PAGE)
			collect_entry(g, i, &pte);
	}
	if (!g->nr_entries)
		return;
	qsort(g->entries, g->nr_entries, sizeof(*g->entries), by_value);
	collect_items(g);
	qsort_r(g->items, g->nr_items, sizeof(*g->items), by_kind, g);
	collect_groups(g);
}
