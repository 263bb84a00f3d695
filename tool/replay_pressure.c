/* SPDX-License-Identifier: MIT */
/*
 * replay_pressure.c - less memory than the program had: does each page still contain what it must?
 *
 * Faults are all that a trace tells of accesses: a page that is there is used unseen. With memory enough that does not
 * matter; under pressure those uses are what brings pages back. So after each fault some pages that the address space
 * has are visited: the first replay chooses them, and remembers what it has seen; the second does the same accesses,
 * and must see the same. Every write leaves a value of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "replay_priv.h"
#include "scratch.h"

#define VISITS 4 /* after each fault */
#define LOST_LOOKS 64 /* one in so many, where the tests of the measure want errors */
#define VISITS_MAX (UINT64_C(1) << 23)

struct visit {
	uint64_t line, addr, value;
	uint64_t order;
	bool write;
};

struct replay_contents {
	struct visit *v;
	size_t n, room;
	bool compare;
	bool freed; /* MADV_FREE has been called: zeroes may be right */
};

struct replay_contents *contents_new(void)
{
	return replay_must(calloc(1, sizeof(struct replay_contents)));
}

static int by_line(const void *pa, const void *pb)
{
	const struct visit *a = pa;
	const struct visit *b = pb;

	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return (a->order > b->order) - (a->order < b->order);
}

/* Postponed faults are served out of order. */
void contents_compare(struct replay_contents *c)
{
	c->compare = true;
	if (c->n)
		qsort(c->v, c->n, sizeof(*c->v), by_line);
}

void contents_free(struct replay_contents *c)
{
	if (c)
		free(c->v);
	free(c);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t h = (a ^ b * UINT64_C(0x9e3779b97f4a7c15)) + b;

	h = (h ^ h >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
	return h ^ h >> 29;
}

/* ---- one visit ----------------------------------------------------------------------------------------- */

/* Looks at the page, and leaves a new value if it is to be written. => error bits of a fault. */
static unsigned look(const struct replay *r, const struct space *s, const struct visit *v,
		     uint64_t *value)
{
	bool lost = r->config.wrong == REPLAY_WRONG_STORE && r->config.contents->compare &&
		    r->compared.compared % LOST_LOOKS == 0;
	uint64_t stamp = mix(v->line, v->addr) | 1;
	unsigned failed = sim_load(s->proc, v->addr, value, sizeof(*value), NULL);

	if (!failed && v->write && !lost)
		failed = sim_store(s->proc, v->addr, &stamp, sizeof(stamp), NULL);
	return failed;
}

/* What cannot be looked at is not remembered. */
static void record(struct replay *r, const struct space *s, struct visit *v)
{
	struct replay_contents *c = r->config.contents;

	if (c->n >= VISITS_MAX || look(r, s, v, &v->value))
		return;
	if (c->n == c->room) {
		c->room = c->room ? 2 * c->room : 4096;
		c->v = replay_must(reallocarray(c->v, c->room, sizeof(*c->v)));
	}
	v->order = c->n;
	c->v[c->n++] = *v;
}

static void compare(struct replay *r, const struct space *s, const struct visit *v)
{
	struct replay_compared *d = &r->compared;
	uint64_t value = 0;
	unsigned failed = look(r, s, v, &value);

	if (failed & AVM_FAULT_OOM) {
		d->oom_line = r->state->line;
		return;
	}
	d->compared++;
	if (!failed && value == v->value)
		return;
	if (!failed && !value && r->config.contents->freed) {
		d->freed++;
		return;
	}
	if (!d->wrong++)
		d->wrong_line = v->line;
	explain(r, "contents of %#llx: %#llx, not %#llx", (unsigned long long)v->addr,
		(unsigned long long)value, (unsigned long long)v->value);
}

/* ---- which pages --------------------------------------------------------------------------------------- */

/* A page that is there, at or behind a random place of a random VMA. */
static bool choose(const struct space *s, uint64_t random, struct visit *v)
{
	struct avm_mm *mm = space_mm(s);
	struct avm_vma *vma = NULL;
	struct avm_pte_info e;
	uint64_t pages;

	for (uint64_t i = random % (mm->vmas.count ? mm->vmas.count : 1) + 1; i; i--)
		vma = avm_next_vma(mm, vma);
	if (!vma || !(vma->flags & AVM_VM_READ) || (vma->flags & AVM_VM_SPECIAL))
		return false;
	pages = (vma->end - vma->start) >> PAGE_SHIFT;
	e = (struct avm_pte_info){ .addr = vma->start + ((random >> 16) % pages << PAGE_SHIFT) };
	if (!avm_next_pte(mm, vma->end, &e) || e.kind != AVM_PTE_PRESENT)
		return false;
	v->addr = e.addr;
	/* A store that needs no fault now changes nothing but the content. */
	v->write = e.write && (random >> 63);
	return true;
}

static bool can_read(const struct space *s, uint64_t addr)
{
	const struct avm_vma *vma = avm_find_vma(space_mm(s), addr);

	return vma && vma->start <= addr && (vma->flags & AVM_VM_READ) &&
	       !(vma->flags & AVM_VM_SPECIAL);
}

static void record_all(struct replay *r, const struct space *s, uint64_t line, uint64_t addr,
		       enum avm_access access)
{
	struct visit v = { .line = line,
			   .addr = page_down(addr),
			   .write = access == AVM_ACCESS_WRITE };

	if (can_read(s, addr))
		record(r, s, &v);
	for (uint64_t i = 0; i < VISITS; i++) {
		v = (struct visit){ .line = line };
		if (choose(s, mix(mix(line, addr), i), &v))
			record(r, s, &v);
	}
}

static void compare_all(struct replay *r, const struct space *s, uint64_t line)
{
	const struct replay_contents *c = r->config.contents;
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (c->v[middle].line < line)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < c->n && c->v[low].line == line && !r->compared.oom_line; low++)
		compare(r, s, &c->v[low]);
}

void contents_visit(struct replay *r, struct space *s, uint64_t line, uint64_t addr,
		    enum avm_access access)
{
	struct replay_contents *c = r->config.contents;

	if (!c || !s->proc)
		return;
	if (!c->compare) {
		record_all(r, s, line, addr, access);
		return;
	}
	/* A process that is not what it was contains what it likes. */
	if (sim_ooms(r->sim) && !r->compared.oom_line)
		r->compared.oom_line = line;
	if (!r->compared.oom_line)
		compare_all(r, s, line);
}

void contents_note_free(struct replay *r)
{
	if (r->config.contents)
		r->config.contents->freed = true;
}

/* ---- swap ---------------------------------------------------------------------------------------------- */

int pressure_start(struct replay *r)
{
	struct sim_swap_config config = { .kind = r->config.swap_kind,
					  .slots = r->config.swap_slots };

	int err = config.slots ? scratch_swap_add(r->sim, &config, &r->swap_device) : 0;

	if (!err && config.slots && r->config.wrong == REPLAY_WRONG_SWAP)
		sim_swap_fail(r->swap_device, 10, 1, 0);
	return err;
}
