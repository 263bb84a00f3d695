/* SPDX-License-Identifier: MIT */
/*
 * oracle_ranges.c - what is mapped where: the sorted ranges of a process, and the operations that
 * change them.
 */
#include <stdlib.h>
#include <string.h>

#include "oracle_priv.h"

/* First range that ends above the page. */
static size_t range_at(const struct oracle_proc *p, uint64_t page)
{
	size_t low = 0;
	size_t high = p->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (p->v[middle].end <= page)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct range *range_find(const struct oracle_proc *p, uint64_t page)
{
	size_t i = range_at(p, page);

	return i < p->n && p->v[i].start <= page ? &p->v[i] : NULL;
}

const struct range *range_above(const struct oracle_proc *p, uint64_t page)
{
	size_t i = range_at(p, page);

	return i < p->n ? &p->v[i] : NULL;
}

static void insert_at(struct oracle_proc *p, size_t i, const struct range *r)
{
	p->v = oracle_grow_array(p->v, p->n, &p->room, sizeof(*p->v));
	memmove(&p->v[i + 1], &p->v[i], (p->n - i) * sizeof(*p->v));
	p->v[i] = *r;
	p->n++;
	if (r->object)
		object_get(r->object);
}

static void remove_at(struct oracle_proc *p, size_t i)
{
	struct oracle_object *object = p->v[i].object;

	p->n--;
	memmove(&p->v[i], &p->v[i + 1], (p->n - i) * sizeof(*p->v));
	if (object)
		oracle_object_put(object);
}

/* Makes `page` a boundary. */
static void cut_at(struct oracle_proc *p, uint64_t page)
{
	size_t i = range_at(p, page);
	struct range upper;

	if (i == p->n || p->v[i].start >= page)
		return;
	upper = p->v[i];
	upper.pgoff += page - upper.start;
	upper.start = page;
	p->v[i].end = page;
	insert_at(p, i + 1, &upper);
}

static bool same_kind(const struct range *a, const struct range *b)
{
	return a->end == b->start && a->prot == b->prot && a->flags == b->flags &&
	       a->object == b->object && (!a->object || a->pgoff + (a->end - a->start) == b->pgoff);
}

/* Joins neighbours that became alike, from the one before `start` to the one after `end`. */
static void tidy(struct oracle_proc *p, uint64_t start, uint64_t end)
{
	size_t i = range_at(p, start ? start - 1 : 0);

	while (i + 1 < p->n && p->v[i].start <= end) {
		if (!same_kind(&p->v[i], &p->v[i + 1])) {
			i++;
			continue;
		}
		p->v[i].end = p->v[i + 1].end;
		remove_at(p, i + 1);
	}
}

static void remove_range(struct oracle_proc *p, uint64_t start, uint64_t end)
{
	size_t i;

	cut_at(p, start);
	cut_at(p, end);
	i = range_at(p, start);
	while (i < p->n && p->v[i].start < end)
		remove_at(p, i);
	cells_drop(&p->pages, start, end);
}

/* pre: nothing is mapped there. */
static void add_range(struct oracle_proc *p, const struct range *r)
{
	insert_at(p, range_at(p, r->start), r);
	tidy(p, r->start, r->end);
}

void oracle_mmap(struct oracle_proc *p, const struct oracle_map *map)
{
	uint64_t page = p->oracle->page_size;
	struct range r = {
		.start = map->start / page,
		.end = map->end / page,
		.prot = map->prot & AVM_PROT_ALL,
		.flags = map->flags,
		.object = map->object,
		.pgoff = map->object ? map->pgoff : 0,
	};
	bool own = !r.object && (r.flags & ORACLE_SHARED);

	if (own)
		r.object = oracle_shmem(p->oracle, map->end - map->start);
	remove_range(p, r.start, r.end);
	add_range(p, &r);
	if (own)
		oracle_object_put(r.object);
}

void oracle_munmap(struct oracle_proc *p, avm_addr_t start, avm_addr_t end)
{
	remove_range(p, start / p->oracle->page_size, end / p->oracle->page_size);
}

avm_addr_t oracle_hole(const struct oracle_proc *p, avm_addr_t start, avm_addr_t end)
{
	uint64_t page = start / p->oracle->page_size;
	uint64_t last = end / p->oracle->page_size;

	for (size_t i = range_at(p, page); page < last && i < p->n && p->v[i].start <= page; i++)
		page = p->v[i].end;
	return (page < last ? page : last) * p->oracle->page_size;
}

/* What mprotect refuses: where, in pages, and why. `end` and 0: nothing. */
static uint64_t mprotect_reach(const struct oracle_proc *p, uint64_t start, uint64_t end,
			       uint32_t prot, int *error)
{
	uint64_t page = start;

	*error = 0;
	for (size_t i = range_at(p, start); page < end; i++) {
		if (i == p->n || p->v[i].start > page) {
			*error = -AVM_ENOMEM;
			return page;
		}
		if ((prot & AVM_PROT_WRITE) && !(p->v[i].flags & ORACLE_MAYWRITE)) {
			*error = -AVM_EACCES;
			return page;
		}
		page = p->v[i].end;
	}
	return end;
}

int oracle_mprotect_error(const struct oracle_proc *p, avm_addr_t start, avm_addr_t end,
			  uint32_t prot)
{
	int error;

	mprotect_reach(p, start / p->oracle->page_size, end / p->oracle->page_size, prot, &error);
	return error;
}

/* pre: start and end are boundaries, or holes. */
static void set_flags(struct oracle_proc *p, uint64_t start, uint64_t end, uint32_t clear,
		      uint32_t set)
{
	cut_at(p, start);
	cut_at(p, end);
	for (size_t i = range_at(p, start); i < p->n && p->v[i].start < end; i++)
		p->v[i].flags = (p->v[i].flags & ~clear) | set;
	tidy(p, start, end);
}

void oracle_mprotect(struct oracle_proc *p, avm_addr_t start, avm_addr_t end, uint32_t prot)
{
	uint64_t first = start / p->oracle->page_size;
	int error;
	uint64_t last = mprotect_reach(p, first, end / p->oracle->page_size, prot, &error);

	cut_at(p, first);
	cut_at(p, last);
	for (size_t i = range_at(p, first); i < p->n && p->v[i].start < last; i++)
		p->v[i].prot = prot & AVM_PROT_ALL;
	tidy(p, first, last);
}

void oracle_lock(struct oracle_proc *p, avm_addr_t start, avm_addr_t end)
{
	uint64_t page = p->oracle->page_size;

	set_flags(p, start / page, oracle_hole(p, start, end) / page, 0, ORACLE_LOCKED);
}

void oracle_unlock(struct oracle_proc *p, avm_addr_t start, avm_addr_t end)
{
	uint64_t page = p->oracle->page_size;

	set_flags(p, start / page, oracle_hole(p, start, end) / page, ORACLE_LOCKED, 0);
}

void oracle_grow(struct oracle_proc *p, avm_addr_t addr)
{
	uint64_t page = addr / p->oracle->page_size;
	size_t i = range_at(p, page);

	p->v[i].start = page;
	tidy(p, page, p->v[i].end);
}

/* ---- madvise --------------------------------------------------------------------------------- */

static int advice_error(const struct range *r, enum avm_advice advice)
{
	switch (advice) {
	case AVM_MADV_DONTNEED:
	case AVM_MADV_COLD:
	case AVM_MADV_PAGEOUT:
		return r->flags & (ORACLE_LOCKED | ORACLE_SPECIAL) ? -AVM_EINVAL : 0;
	case AVM_MADV_FREE:
		return r->object || (r->flags & (ORACLE_LOCKED | ORACLE_SPECIAL)) ? -AVM_EINVAL : 0;
	case AVM_MADV_REMOVE:
		if (!r->object || (r->flags & (ORACLE_LOCKED | ORACLE_SPECIAL)))
			return -AVM_EINVAL;
		if (!(r->flags & ORACLE_SHARED) || !(r->flags & ORACLE_MAYWRITE))
			return -AVM_EACCES;
		return r->object->has_disk ? -AVM_EOPNOTSUPP : 0;
	case AVM_MADV_WIPEONFORK:
		return r->object ? -AVM_EINVAL : 0;
	case AVM_MADV_DOFORK:
	case AVM_MADV_DODUMP:
		return r->flags & ORACLE_SPECIAL ? -AVM_EINVAL : 0;
	default:
		return 0;
	}
}

static void advise_range(struct oracle_proc *p, uint64_t start, uint64_t end,
			 enum avm_advice advice)
{
	const struct range *r = range_find(p, start);
	struct oracle_object *object = r->object;
	uint64_t pgoff = r->pgoff + (start - r->start);
	size_t last = cells_at(&p->pages, end);

	switch (advice) {
	case AVM_MADV_DONTNEED:
		cells_drop(&p->pages, start, end);
		return;
	case AVM_MADV_FREE:
		for (size_t i = cells_at(&p->pages, start); i < last; i++)
			cell_free_lazily(&p->pages.v[i]);
		return;
	case AVM_MADV_REMOVE:
		oracle_punch(object, pgoff, pgoff + (end - start));
		return;
	case AVM_MADV_DONTFORK:
		set_flags(p, start, end, 0, ORACLE_DONTCOPY);
		return;
	case AVM_MADV_DOFORK:
		set_flags(p, start, end, ORACLE_DONTCOPY, 0);
		return;
	case AVM_MADV_WIPEONFORK:
		set_flags(p, start, end, 0, ORACLE_WIPEONFORK);
		return;
	case AVM_MADV_KEEPONFORK:
		set_flags(p, start, end, ORACLE_WIPEONFORK, 0);
		return;
	default:
		return;
	}
}

/*
 * What advice meets from `page` on: the next piece [*start, *stop) in [page, end), if there is one.
 */
static bool next_piece(const struct oracle_proc *p, uint64_t page, uint64_t end, uint64_t *start,
		       uint64_t *stop)
{
	const struct range *r = range_above(p, page);

	if (page >= end || !r || r->start >= end)
		return false;
	*start = r->start > page ? r->start : page;
	*stop = r->end < end ? r->end : end;
	return true;
}

int oracle_madvise_error(const struct oracle_proc *p, avm_addr_t start, avm_addr_t end,
			 enum avm_advice advice)
{
	uint64_t page = start / p->oracle->page_size;
	uint64_t last = end / p->oracle->page_size;
	uint64_t from, to;
	int hole = 0;

	while (next_piece(p, page, last, &from, &to)) {
		int error = advice_error(range_find(p, from), advice);

		if (error)
			return error;
		if (from > page)
			hole = -AVM_ENOMEM;
		page = to;
	}
	return page < last ? -AVM_ENOMEM : hole;
}

void oracle_madvise(struct oracle_proc *p, avm_addr_t start, avm_addr_t end, enum avm_advice advice)
{
	uint64_t page = start / p->oracle->page_size;
	uint64_t last = end / p->oracle->page_size;
	uint64_t from, to;

	while (next_piece(p, page, last, &from, &to)) {
		if (advice_error(range_find(p, from), advice))
			return;
		advise_range(p, from, to, advice);
		page = to;
	}
}

/* ---- mremap ---------------------------------------------------------------------------------- */

/* Continues the range that ends at `page` by n pages. */
static void extend(struct oracle_proc *p, uint64_t page, uint64_t n)
{
	struct range r = *range_find(p, page - 1);

	r.pgoff += page - r.start;
	r.start = page;
	r.end = page + n;
	add_range(p, &r);
}

static void duplicate(struct oracle_proc *p, uint64_t from, uint64_t to, uint64_t n)
{
	struct range r = *range_find(p, from);

	r.pgoff += from - r.start;
	r.start = to;
	r.end = to + n;
	remove_range(p, to, to + n);
	add_range(p, &r);
}

/* [from, from + n) to `to`, ranges and pages. */
static void move(struct oracle_proc *p, uint64_t from, uint64_t to, uint64_t n, bool keep)
{
	struct cells pages = { .content = p->pages.content };
	struct oracle_proc moved = { .oracle = p->oracle };

	cells_copy(&pages, &p->pages, from, from + n, to - from);
	cut_at(p, from);
	cut_at(p, from + n);
	for (size_t i = range_at(p, from); i < p->n && p->v[i].start < from + n; i++) {
		struct range r = p->v[i];

		r.start += to - from;
		r.end += to - from;
		insert_at(&moved, moved.n, &r);
	}
	if (keep) {
		cells_drop(&p->pages, from, from + n);
		set_flags(p, from, from + n, ORACLE_LOCKED, 0);
	} else {
		remove_range(p, from, from + n);
	}
	for (size_t i = 0; i < moved.n; i++)
		add_range(p, &moved.v[i]);
	cells_copy(&p->pages, &pages, to, to + n, 0);
	while (moved.n)
		remove_at(&moved, moved.n - 1);
	free(moved.v);
	cells_free(&pages);
}

void oracle_mremap(struct oracle_proc *p, avm_addr_t from, uint64_t old_len, avm_addr_t to,
		   uint64_t new_len, uint32_t flags)
{
	uint64_t page = p->oracle->page_size;
	uint64_t a = from / page;
	uint64_t b = to / page;
	uint64_t was = old_len / page;
	uint64_t is = new_len / page;

	if (!was) {
		duplicate(p, a, b, is);
		return;
	}
	if (is < was) {
		remove_range(p, a + is, a + was);
		was = is;
	}
	if (a != b) {
		remove_range(p, b, b + is);
		move(p, a, b, was, flags & AVM_MREMAP_DONTUNMAP);
	}
	if (is > was)
		extend(p, b + was, is - was);
	tidy(p, a, a + was);
}

/* ---- fork, exit ------------------------------------------------------------------------------ */

struct oracle_proc *oracle_fork(const struct oracle_proc *parent)
{
	struct oracle_proc *child = oracle_proc_create(parent->oracle);

	for (size_t i = 0; i < parent->n; i++) {
		struct range r = parent->v[i];

		if (r.flags & ORACLE_DONTCOPY)
			continue;
		r.flags &= ~(uint32_t)ORACLE_LOCKED;
		insert_at(child, child->n, &r);
		if (!(r.flags & ORACLE_WIPEONFORK))
			cells_copy(&child->pages, &parent->pages, r.start, r.end, 0);
	}
	tidy(child, 0, UINT64_MAX);
	return child;
}

void oracle_exit(struct oracle_proc *p)
{
	while (p->n)
		remove_at(p, p->n - 1);
	cells_free(&p->pages);
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	free(p->v);
	free(p);
}

void oracle_drop_copies(struct oracle_object *object, uint64_t first, uint64_t end)
{
	for (struct oracle_proc *p = object->oracle->procs; p; p = p->next) {
		for (size_t i = 0; i < p->n; i++) {
			const struct range *r = &p->v[i];
			uint64_t from = first > r->pgoff ? first - r->pgoff : 0;
			uint64_t to = end > r->pgoff ? end - r->pgoff : 0;

			if (r->object != object || from >= r->end - r->start)
				continue;
			if (to > r->end - r->start)
				to = r->end - r->start;
			cells_drop(&p->pages, r->start + from, r->start + to);
		}
	}
}
