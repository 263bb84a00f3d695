/* SPDX-License-Identifier: MIT */
/*
 * graph_priv.h - what the files of the picture share.
 *
 *	graph_model.c	what there is: address spaces, VMAs, chains, anon_vmas
 *	graph_pages.c	... and pages, in groups that are drawn as one
 *	graph_fold.c	what of it is shown, and what stands for others
 *	graph_dot.c	as DOT
 *	graph_out.c	into files, and through Graphviz
 *
 * Everything refers to everything by index into the arrays of struct graph.
 */
#ifndef ANONVM_TOOL_GRAPH_PRIV_H
#define ANONVM_TOOL_GRAPH_PRIV_H

#include "graph.h"

#define GRAPH_PAGE 4096u
#define GRAPH_NONE SIZE_MAX
#define GRAPH_MANY (SIZE_MAX - 1)

/* More than so many are folded; docs/graph.md names them. */
#define GRAPH_MAX_PROCS 6u
#define GRAPH_MAX_VMAS 8u /* of one process */
#define GRAPH_MAX_ROWS 24u /* VMAs of all processes, as far as each can keep four */
#define GRAPH_MAX_GROUPS 6u /* of pages, for one VMA */
#define GRAPH_MAX_CHAIN 4u
#define GRAPH_MAX_WRONG \
	16u /* VMAs of one process, and groups of one VMA, shown because they are red */

struct graph_proc {
	struct avm_mm *mm;
	size_t first, nr; /* its VMAs */
	uint64_t look; /* equal for processes that look alike */
	bool wrong; /* something red is in it */
	bool shown;
	size_t alike; /* processes it stands for, itself not counted */
	/* VMAs that are not shown: */
	size_t folded_unfaulted, folded_faulted, folded_wrong;
};

struct graph_vma {
	struct avm_vma *vma;
	size_t proc;
	size_t chain, nr_chain; /* into links */
	uint64_t look; /* of what is on it */
	uint64_t zero, bare; /* entries for the zero page, for bare frames */
	size_t nr_groups; /* shown */
	size_t folded_groups;
	uint64_t folded_pages;
	bool faulted, wrong, shown;
};

struct graph_av {
	const struct avm_anon_vma *ptr;
	struct avm_anon_vma_info info; /* of a live one */
	bool live, shown;
	size_t family; /* of one that is shown: numbered in order */
	size_t proc; /* the only one that has it on a chain; GRAPH_NONE, GRAPH_MANY */
};

/* An entry of a page table that leads to something to be drawn. */
struct graph_entry {
	enum avm_pte_kind kind;
	uint64_t value; /* frame, swap slot */
	const struct avm_page *page;
	size_t vma;
	uint64_t at; /* page of the VMA */
};

/* In the order in which groups are drawn: what is wrong comes first. */
enum graph_state {
	GRAPH_DEAD, /* mapping leads to no anon_vma */
	GRAPH_WRONG, /* ... to one that is not on the chain of a VMA that maps the page (V20) */
	GRAPH_MISPLACED, /* the index is not that of the address (V20) */
	GRAPH_WRONG_FILE,
	GRAPH_EXCLUSIVE,
	GRAPH_ANON,
	GRAPH_MERGED,
	GRAPH_FILE,
	GRAPH_SWAP,
	GRAPH_MIGRATION,
	GRAPH_POISON,
};

/* One page, or slot, with the entries that lead to it. */
struct graph_item {
	size_t first, nr; /* entries */
	size_t av; /* that it names; GRAPH_NONE */
	enum graph_state state;
	uint32_t mapcount;
};

/* Items that only differ in where they lie. */
struct graph_group {
	size_t first, nr; /* items */
	bool shown;
};

struct graph {
	struct avm *m;
	const struct graph_names *names;
	struct graph_proc *procs;
	size_t nr_procs, room_procs;
	struct graph_vma *vmas;
	size_t nr_vmas, room_vmas;
	size_t *links; /* chains, entry by entry: anon_vmas */
	size_t nr_links, room_links;
	struct graph_av *avs;
	size_t nr_avs, room_avs;
	size_t *slots; /* a hash table of avs by pointer: index + 1 */
	size_t nr_slots;
	struct graph_entry *entries;
	size_t nr_entries, room_entries;
	struct graph_item *items;
	size_t nr_items, room_items;
	struct graph_group *groups;
	size_t nr_groups, room_groups;
	size_t *shown; /* groups that are, in the order of addresses */
	size_t nr_shown, room_shown;
	/* processes that are not shown and look like none that is */
	size_t other_procs, other_wrong;
};

static inline bool graph_is_wrong(enum graph_state state)
{
	return state <= GRAPH_WRONG_FILE;
}

/* FNV-1a, a number at a time. */
static inline uint64_t graph_mix(uint64_t hash, uint64_t n)
{
	for (unsigned i = 0; i < 64; i += 8)
		hash = (hash ^ (n >> i & 0xff)) * UINT64_C(0x100000001b3);
	return hash;
}

/* Room for one element more than n, zeroed. */
void *graph_grow(void *v, size_t n, size_t *room, size_t size);

/* ---- graph_model.c -------------------------------------------------------------------------- */

void graph_collect(struct graph *g);
void graph_free(struct graph *g);

/* The anon_vma of a pointer, which is followed only when it is live. */
size_t graph_av_of(struct graph *g, const struct avm_anon_vma *ptr);

/* Where it stands on the chain of a VMA; GRAPH_NONE when it does not. */
size_t graph_position(const struct graph *g, const struct graph_vma *v, size_t av);

/* ---- graph_pages.c -------------------------------------------------------------------------- */

void graph_collect_pages(struct graph *g);

/* The entries that lead to the first page of a group; those of the others are in the same VMAs. */
static inline const struct graph_entry *graph_mappers(const struct graph *g,
						      const struct graph_group *group, size_t *nr)
{
	const struct graph_item *item = &g->items[group->first];

	*nr = item->nr;
	return &g->entries[item->first];
}

/* ---- graph_fold.c --------------------------------------------------------------------------- */

void graph_fold(struct graph *g);

/* Is the entry i of a chain of n one that is shown? */
bool graph_link_shown(size_t i, size_t n);

/* ---- graph_dot.c ---------------------------------------------------------------------------- */

void graph_print(const struct graph *g, FILE *out);

#endif
