/* SPDX-License-Identifier: MIT */
/*
 * replay_around.c - the pages of files that the kernel maps around a fault.
 *
 * A read fault on a file maps the pages beside it that are in the page cache and not locked at that moment: an aligned
 * block of 16, all of a large folio. The trace has the number only, in the sample after the fault. Where it is the
 * number of pages that were not mapped, the model knows them all. Where it is smaller, some page was not in the cache,
 * or another CPU had it locked: the model maps as many as were mapped, and keeps the others in mind. When a later
 * fault shows that one of those it chose was not mapped, another one must have been instead: it changes its mind. As
 * many faults as pages were left out can be understood in this way, and no more.
 */
#include <stdlib.h>
#include <string.h>

#include "replay_priv.h"

#define AROUND 16u /* pages: Linux' fault_around_bytes */

static bool absent(const struct space *s, uint64_t addr)
{
	struct avm_pte_info e;

	avm_pte_at(space_mm(s), addr, &e);
	return e.kind == AVM_PTE_NONE;
}

/* Brings [start, end) of one VMA into the page cache, then maps it. => pages mapped */
static int64_t map_run(struct replay *r, struct space *s, const struct avm_vma *v, uint64_t start,
		       uint64_t end)
{
	uint64_t index = v->pgoff + (start - v->start) / PAGE_SIZE;
	int64_t n;

	if (start == end || avm_file_readahead(v->file, index, (end - start) / PAGE_SIZE) < 0)
		return 0;
	n = avm_map_cached(space_mm(s), start, end - start);
	r->state->changed = true;
	return n < 0 ? 0 : n;
}

/* Up to `want` absent pages of [start, end), lowest first. => how many */
static int64_t map_absent(struct replay *r, struct space *s, const struct avm_vma *v,
			  uint64_t start, uint64_t end, int64_t want)
{
	int64_t done = 0;

	while (start < end && done < want) {
		uint64_t from, to;

		for (from = start; from < end && !absent(s, from); from += PAGE_SIZE)
			;
		for (to = from;
		     to < end && done + (int64_t)((to - from) / PAGE_SIZE) < want && absent(s, to);
		     to += PAGE_SIZE)
			;
		done += map_run(r, s, v, from, to);
		start = to;
		if (from == to)
			break;
	}
	return done;
}

/* Linux maps an aligned block, cut to the VMA and to one page table; of large folios all pages. */
static void block_of(const struct avm_vma *v, uint64_t addr, uint64_t pages, uint64_t *start,
		     uint64_t *end)
{
	uint64_t bytes = pages * PAGE_SIZE;
	uint64_t table_end = (addr & ~(TABLE_SPAN - 1)) + TABLE_SPAN;

	*start = addr & ~(bytes - 1);
	if (*start < v->start)
		*start = v->start;
	*end = *start + bytes;
	if (*end > table_end)
		*end = table_end;
	if (*end > v->end)
		*end = v->end;
}

/* ---- what is not certain ------------------------------------------------------------------------------- */

static uint64_t bit_of(const struct guess *g, uint64_t addr)
{
	return UINT64_C(1) << (addr - g->start) / PAGE_SIZE;
}

static struct guess *find_guess(struct space *s, uint64_t start)
{
	for (size_t i = 0; i < s->nr_guesses; i++) {
		if (s->guesses[i].start == start)
			return &s->guesses[i];
	}
	return NULL;
}

static void drop_guess(struct space *s, struct guess *g)
{
	*g = s->guesses[--s->nr_guesses];
}

static struct guess *add_guess(struct space *s, uint64_t start)
{
	struct guess *g = find_guess(s, start);

	if (g)
		return g;
	if (s->nr_guesses == s->cap_guesses) {
		size_t cap = s->cap_guesses ? s->cap_guesses * 2 : 8;

		g = replay_must(realloc(s->guesses, cap * sizeof(*g)));
		s->guesses = g;
		s->cap_guesses = cap;
	}
	g = &s->guesses[s->nr_guesses++];
	*g = (struct guess){ .start = start };
	return g;
}

/* Still a page of the cache that is mapped, or still none at all? Much may have happened to it since. */
static void prune(const struct space *s, struct guess *g)
{
	for (uint64_t i = 0; i < AROUND; i++) {
		uint64_t bit = UINT64_C(1) << i;
		struct avm_pte_info e;

		if (!((g->in | g->out) & bit))
			continue;
		avm_pte_at(space_mm(s), g->start + i * PAGE_SIZE, &e);
		if (e.kind != AVM_PTE_NONE)
			g->out &= ~bit;
		if (e.kind != AVM_PTE_PRESENT || !e.page || (e.page->mapping & AVM_MAPPING_ANON))
			g->in &= ~bit;
	}
}

static uint64_t lowest(const struct guess *g, uint64_t bits)
{
	return g->start + (uint64_t)__builtin_ctzll(bits) * PAGE_SIZE;
}

/* One page for another. */
static void change_mind(struct replay *r, struct space *s, uint64_t unmap, uint64_t map)
{
	const struct avm_vma *v = avm_find_vma(space_mm(s), map);

	if (!v || v->start > map || !v->file || unmap < v->start || unmap >= v->end)
		return;
	(void)avm_madvise(space_mm(s), unmap, PAGE_SIZE, AVM_MADV_DONTNEED);
	(void)map_run(r, s, v, map, map + PAGE_SIZE);
	r->around.corrected++;
}

/* => true when the guess is no longer one */
static bool settle(struct replay *r, struct space *s, struct guess *g, uint64_t addr, bool present)
{
	uint64_t bit = bit_of(g, addr), other;

	prune(s, g);
	if (!present && (g->in & bit) && g->out) {
		other = lowest(g, g->out);
		change_mind(r, s, addr, other);
		g->in |= bit_of(g, other);
		g->out &= ~bit_of(g, other);
	} else if (present && (g->out & bit) && g->in) {
		other = lowest(g, g->in);
		change_mind(r, s, other, addr);
		g->out |= bit_of(g, other);
		g->in &= ~bit_of(g, other);
	}
	/* Of this page all is known now. */
	g->in &= ~bit;
	g->out &= ~bit;
	return !g->in || !g->out;
}

void around_evidence(struct replay *r, struct space *s, uint64_t addr, bool present)
{
	addr = page_down(addr);
	/* Backwards: dropping one moves the last. Blocks that a VMA cuts may overlap others. */
	for (size_t i = s->nr_guesses; i-- > 0;) {
		struct guess *g = &s->guesses[i];

		if (addr - g->start >= AROUND * PAGE_SIZE || !((g->in | g->out) & bit_of(g, addr)))
			continue;
		if (settle(r, s, g, addr, present))
			drop_guess(s, g);
	}
}

static uint64_t absent_bits(const struct space *s, uint64_t base, uint64_t start, uint64_t end)
{
	uint64_t bits = 0;

	for (uint64_t a = start; a < end; a += PAGE_SIZE) {
		if (absent(s, a))
			bits |= UINT64_C(1) << (a - base) / PAGE_SIZE;
	}
	return bits;
}

/* Fewer have been mapped than there were. What was not certain before is not certain now. */
static void remember_guess(struct replay *r, struct space *s, uint64_t start, uint64_t end,
			   uint64_t before)
{
	uint64_t left = absent_bits(s, start, start, end);
	struct guess *g = find_guess(s, start);

	if (!left) {
		if (g)
			drop_guess(s, g);
		return;
	}
	if (!(before & ~left))
		return;
	g = add_guess(s, start);
	g->in |= before & ~left;
	g->out = left;
	r->around.ambiguous++;
}

int64_t fault_around(struct replay *r, struct space *s, uint64_t addr, int64_t want)
{
	const struct avm_vma *v = avm_find_vma(space_mm(s), addr);
	uint64_t since = time_now(), start, end, before;
	int64_t done = 0;

	addr = page_down(addr);
	if (!v || v->start > addr || !v->file || (v->flags & AVM_VM_SPECIAL))
		return 0;
	block_of(v, addr, AROUND, &start, &end);
	before = absent_bits(s, start, start, end);
	for (uint64_t pages = AROUND; pages <= TABLE_SPAN / PAGE_SIZE && done < want; pages *= 2) {
		uint64_t from, to;

		block_of(v, addr, pages, &from, &to);
		/* What follows the fault's own page first, then what precedes it. */
		done += map_absent(r, s, v, addr, to, want - done);
		done += map_absent(r, s, v, from, addr, want - done);
	}
	r->around.blocks++;
	if (before)
		remember_guess(r, s, start, end, before);
	time_add(r, REPLAY_OP_AROUND, since);
	return done;
}

/* The child has the parent's entries, certain or not. */
void around_fork(struct space *child, const struct space *parent)
{
	size_t n = parent->nr_guesses;

	if (!n)
		return;
	child->guesses = replay_must(malloc(n * sizeof(*child->guesses)));
	memcpy(child->guesses, parent->guesses, n * sizeof(*child->guesses));
	child->nr_guesses = child->cap_guesses = n;
}
