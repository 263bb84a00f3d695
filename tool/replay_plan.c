/* SPDX-License-Identifier: MIT */
/*
 * replay_plan.c - the steps of an operation that changes resident counts: what the core has done at once, and the kernel
 * reports one by one.
 */
#include <stdlib.h>

#include "replay_priv.h"

struct counts counts_of(const struct space *s)
{
	struct counts c = { { 0 } };

	for (int i = 0; s->proc && i < AVM_NR_RSS; i++)
		c.n[i] = (int64_t)avm_mm_rss(space_mm(s), (enum avm_rss)i);
	return c;
}

struct counts counts_diff(const struct counts *after, const struct counts *before)
{
	struct counts c;

	for (int i = 0; i < AVM_NR_RSS; i++)
		c.n[i] = after->n[i] - before->n[i];
	return c;
}

static bool is_zero(const struct counts *c)
{
	for (int i = 0; i < AVM_NR_RSS; i++) {
		if (c->n[i])
			return false;
	}
	return true;
}

/* ---- plans --------------------------------------------------------------------------------------------- */

void plan_begin(struct plan *p, struct space *s)
{
	plan_drop(p);
	p->space = s;
}

void plan_add(struct plan *p, const struct counts *c)
{
	if (is_zero(c))
		return;
	if (p->nr == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 16;
		p->steps = replay_must(realloc(p->steps, p->cap * sizeof(*p->steps)));
	}
	p->steps[p->nr++] = *c;
}

static int count_as(const struct avm_pte_info *e)
{
	if (e->kind != AVM_PTE_PRESENT || !e->page || e->zero || e->special)
		return -1;
	if (e->page->mapping & AVM_MAPPING_ANON)
		return AVM_RSS_ANON;
	return e->page->flags & AVM_PG_SHMEM ? AVM_RSS_SHMEM : AVM_RSS_FILE;
}

void plan_gather(struct plan *p, uint64_t start, uint64_t end, int sign)
{
	struct avm_mm *mm = space_mm(p->space);
	struct avm_pte_info e;

	for (struct avm_vma *v = avm_find_vma(mm, start); v && v->start < end;
	     v = avm_next_vma(mm, v)) {
		uint64_t to = v->end < end ? v->end : end;
		uint64_t table = 0;
		struct counts c = { { 0 } };

		e.addr = v->start > start ? v->start : start;
		for (; avm_next_pte(mm, to, &e); e.addr += PAGE_SIZE) {
			int type = count_as(&e);

			if (e.addr / TABLE_SPAN != table) {
				plan_add(p, &c);
				c = (struct counts){ { 0 } };
				table = e.addr / TABLE_SPAN;
			}
			if (type >= 0)
				c.n[type] += sign;
		}
		plan_add(p, &c);
	}
}

/* The core has done the whole: what the gathered steps do not account for comes last. */
void plan_applied(struct plan *p, const struct counts *total)
{
	struct counts rest = *total;

	for (size_t i = 0; i < p->nr; i++)
		rest = counts_diff(&rest, &p->steps[i]);
	rest = counts_diff(&rest, &p->done);
	plan_add(p, &rest);
	p->total = *total;
	p->applied = true;
	for (int i = 0; i < AVM_NR_RSS; i++)
		p->space->adjust.n[i] -= total->n[i];
}

/* The operation is over. What the kernel has not reported by now, it has not done: the counts differ from here on. */
void plan_drop(struct plan *p)
{
	struct space *s = p->space;

	for (int i = 0; s && i < AVM_NR_RSS; i++) {
		int64_t rest = (p->applied ? p->total.n[i] : 0) - p->done.n[i];

		s->adjust.n[i] += rest;
		if (!rest)
			continue;
		s->drift_by[i] = (s->drift[i] ? s->drift_by[i] : 0) - rest;
		s->drift[i] = s->drift_by[i] ? "" : NULL;
	}
	p->space = NULL;
	p->nr = p->next = 0;
	p->total = p->done = (struct counts){ { 0 } };
	p->applied = p->open = false;
	p->copied = NULL;
	p->cursor = 0;
}

/* Fork copies entries of VMAs that have an anon_vma; what stands behind others, faults bring back. */
static bool is_copied(const struct avm_vma *v)
{
	return v->anon_vma && !(v->flags & (AVM_VM_DONTCOPY | AVM_VM_WIPEONFORK));
}

/* The next step of a fork: what is mapped in the next VMA, up to the end of one page table. */
static void plan_copy(struct plan *p)
{
	struct avm_mm *mm = space_mm(p->copied);
	size_t had = p->nr;
	struct avm_vma *v;

	while (p->nr == had && (v = avm_find_vma(mm, p->cursor))) {
		struct avm_pte_info e = { .addr = v->start > p->cursor ? v->start : p->cursor };
		struct counts c = { { 0 } };
		uint64_t stop;

		if (!is_copied(v) || !avm_next_pte(mm, v->end, &e)) {
			p->cursor = v->end;
			continue;
		}
		stop = (e.addr & ~(TABLE_SPAN - 1)) + TABLE_SPAN;
		if (stop > v->end)
			stop = v->end;
		do {
			int type = count_as(&e);

			if (type >= 0)
				c.n[type]++;
			e.addr += PAGE_SIZE;
		} while (avm_next_pte(mm, stop, &e));
		p->cursor = stop;
		plan_add(p, &c);
	}
}

bool plan_untouched(const struct plan *p)
{
	return p->space && !p->applied && is_zero(&p->done);
}

int64_t plan_next(struct plan *p, enum avm_rss type)
{
	while (p->next < p->nr && is_zero(&p->steps[p->next]))
		p->next++;
	if (p->next == p->nr && p->copied)
		plan_copy(p);
	return p->next < p->nr ? p->steps[p->next].n[type] : 0;
}

void plan_report(struct replay *r, struct task *t, struct plan *p, enum avm_rss type, int64_t delta)
{
	struct space *s = p->space;

	if (p->next < p->nr)
		p->steps[p->next].n[type] -= delta;
	p->done.n[type] += delta;
	s->adjust.n[type] += delta;
	s->reported[s->nr_reported++ % REPORTED] =
		(struct reported){ r->state->seq, r->state->time, t->tid, type, delta };
}
