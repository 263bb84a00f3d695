/* SPDX-License-Identifier: MIT */
/*
 * graph_fold.c - what is shown of a machine that is too large for a picture, and what stands for the
 * rest. What is wrong is shown before anything else.
 */
#include "graph_priv.h"

/* ---- processes that look alike -------------------------------------------------------------- */

/*
 * An anon_vma as an outsider sees it: one that only this process has is known by its place on the
 * chain, so that children of one parent, each with one of its own, look alike.
 */
static uint64_t look_of_av(const struct graph *g, const struct graph_vma *v, size_t av)
{
	size_t position = graph_position(g, v, av);

	if (av == GRAPH_NONE)
		return UINT64_MAX;
	if (g->avs[av].proc == v->proc && position != GRAPH_NONE)
		return position;
	return UINT32_MAX + (uint64_t)av;
}

static void look_at_vma(const struct graph *g, struct graph_vma *v)
{
	const struct avm_vma *vma = v->vma;
	uint64_t look = graph_mix(0, vma->start);

	look = graph_mix(look, vma->end);
	look = graph_mix(look, vma->flags);
	look = graph_mix(look, vma->pgoff);
	look = graph_mix(look, (uintptr_t)vma->file);
	look = graph_mix(look, v->nr_chain);
	for (size_t i = 0; i < v->nr_chain; i++)
		look = graph_mix(look, look_of_av(g, v, g->links[v->chain + i]));
	look = graph_mix(look, v->zero);
	v->look = graph_mix(look, v->bare);
}

/* Items come in the order of their groups, which is the same for processes that look alike. */
static void look_at_item(const struct graph *g, const struct graph_item *item)
{
	for (size_t i = 0; i < item->nr; i++) {
		const struct graph_entry *e = &g->entries[item->first + i];
		struct graph_vma *v = &g->vmas[e->vma];

		/* A sum: their order differs where anon_vmas do. */
		uint64_t look = graph_mix(item->state, e->at);

		look = graph_mix(look, item->nr);
		v->look += graph_mix(look, look_of_av(g, v, item->av));
	}
}

static void look_at_all(struct graph *g)
{
	for (size_t i = 0; i < g->nr_vmas; i++)
		look_at_vma(g, &g->vmas[i]);
	for (size_t i = 0; i < g->nr_items; i++)
		look_at_item(g, &g->items[i]);
	for (size_t i = 0; i < g->nr_procs; i++) {
		struct graph_proc *p = &g->procs[i];

		for (size_t k = 0; k < p->nr; k++)
			p->look = graph_mix(p->look, g->vmas[p->first + k].look);
	}
}

static struct graph_proc *shown_like(struct graph *g, const struct graph_proc *p)
{
	for (size_t i = 0; i < g->nr_procs; i++) {
		struct graph_proc *q = &g->procs[i];

		if (q->shown && q->look == p->look && q->nr == p->nr)
			return q;
	}
	return NULL;
}

/* Shows processes, wrong ones or the others, up to a limit; the first one stands for its like. */
static size_t show_procs(struct graph *g, bool wrong, size_t room)
{
	for (size_t i = 0; i < g->nr_procs; i++) {
		struct graph_proc *p = &g->procs[i];
		struct graph_proc *like = shown_like(g, p);

		if (p->wrong != wrong)
			continue;
		if (like) {
			like->alike++;
		} else if (room) {
			p->shown = true;
			room--;
		} else {
			g->other_procs++;
			g->other_wrong += wrong;
		}
	}
	return room;
}

static void fold_procs(struct graph *g)
{
	if (g->nr_procs <= GRAPH_MAX_PROCS) {
		for (size_t i = 0; i < g->nr_procs; i++)
			g->procs[i].shown = true;
		return;
	}
	look_at_all(g);
	show_procs(g, false, show_procs(g, true, GRAPH_MAX_PROCS));
}

/* ---- VMAs ----------------------------------------------------------------------------------- */

static void show_vma(struct graph_proc *p, struct graph_vma *v, size_t *room)
{
	if (*room) {
		v->shown = true;
		(*room)--;
		return;
	}
	p->folded_faulted += v->faulted;
	p->folded_unfaulted += !v->faulted;
	p->folded_wrong += v->wrong;
}

/* Wrong ones first, then faulted ones, and unfaulted ones only where all of them have room. */
static void fold_vmas(struct graph *g, struct graph_proc *p, size_t room)
{
	struct graph_vma *vmas = &g->vmas[p->first];
	size_t wrong = GRAPH_MAX_WRONG;
	size_t used;

	if (p->nr <= room) {
		for (size_t i = 0; i < p->nr; i++)
			vmas[i].shown = true;
		return;
	}
	for (size_t i = 0; i < p->nr; i++) {
		if (vmas[i].wrong)
			show_vma(p, &vmas[i], &wrong);
	}
	used = GRAPH_MAX_WRONG - wrong;
	room -= used < room ? used : room;
	for (size_t i = 0; i < p->nr; i++) {
		if (!vmas[i].wrong && vmas[i].faulted)
			show_vma(p, &vmas[i], &room);
		else if (!vmas[i].wrong)
			p->folded_unfaulted++;
	}
}

/* ---- pages and anon_vmas -------------------------------------------------------------------- */

static bool vma_shown(const struct graph *g, size_t vma)
{
	return g->vmas[vma].shown && g->procs[g->vmas[vma].proc].shown;
}

/* The first VMA that is shown and maps the group has it among its groups, if there is room. */
static void fold_group(struct graph *g, struct graph_group *group)
{
	bool wrong = graph_is_wrong(g->items[group->first].state);
	size_t limit = wrong ? GRAPH_MAX_WRONG : GRAPH_MAX_GROUPS;
	size_t nr;
	const struct graph_entry *e = graph_mappers(g, group, &nr);

	for (size_t i = 0; i < nr; i++) {
		struct graph_vma *v = &g->vmas[e[i].vma];

		if (!vma_shown(g, e[i].vma))
			continue;
		if (v->nr_groups < limit) {
			v->nr_groups++;
			group->shown = true;
			return;
		}
		v->folded_groups++;
		v->folded_pages += group->nr;
		return;
	}
}

bool graph_link_shown(size_t i, size_t n)
{
	return n <= GRAPH_MAX_CHAIN || i + 2 < GRAPH_MAX_CHAIN || i + 1 == n;
}

static void fold_avs(struct graph *g)
{
	for (size_t i = 0; i < g->nr_vmas; i++) {
		const struct graph_vma *v = &g->vmas[i];

		for (size_t k = 0; vma_shown(g, i) && k < v->nr_chain; k++) {
			if (graph_link_shown(k, v->nr_chain))
				g->avs[g->links[v->chain + k]].shown = true;
		}
	}
	for (size_t i = 0; i < g->nr_shown; i++) {
		size_t av = g->items[g->groups[g->shown[i]].first].av;

		if (av != GRAPH_NONE)
			g->avs[av].shown = true;
	}
}

/* Families are numbered as they are met, so that neighbours get different colours. */
static void number_families(struct graph *g)
{
	size_t families = 0;

	for (size_t i = 0; i < g->nr_avs; i++) {
		struct graph_av *av = &g->avs[i];
		size_t k = 0;

		if (!av->live || !av->shown)
			continue;
		while (k < i && (!g->avs[k].live || !g->avs[k].shown ||
				 g->avs[k].info.root_id != av->info.root_id))
			k++;
		av->family = k < i ? g->avs[k].family : families++;
	}
}

/* VMAs of one process, so that all of them remain a picture. */
static size_t vmas_of_each(const struct graph *g)
{
	size_t procs = 0;
	size_t rows = 0;

	for (size_t i = 0; i < g->nr_procs; i++) {
		const struct graph_proc *p = &g->procs[i];

		procs += p->shown;
		rows += !p->shown ? 0 : p->nr < GRAPH_MAX_VMAS ? p->nr : GRAPH_MAX_VMAS;
	}
	return rows <= GRAPH_MAX_ROWS ? GRAPH_MAX_VMAS : GRAPH_MAX_ROWS / procs;
}

void graph_fold(struct graph *g)
{
	size_t room;

	fold_procs(g);
	room = vmas_of_each(g);
	for (size_t i = 0; i < g->nr_procs; i++) {
		if (g->procs[i].shown)
			fold_vmas(g, &g->procs[i], room);
	}
	for (size_t i = 0; i < g->nr_groups; i++) {
		fold_group(g, &g->groups[i]);
		if (!g->groups[i].shown)
			continue;
		g->shown = graph_grow(g->shown, g->nr_shown, &g->room_shown, sizeof(*g->shown));
		g->shown[g->nr_shown++] = i;
	}
	fold_avs(g);
	number_families(g);
}
