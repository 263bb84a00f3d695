/* SPDX-License-Identifier: MIT */
/*
 * boundaries.c - the model of VMAs: the set, R2 (merge), R3 (split), R4 (families).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boundaries.h"

static void *allocate(size_t n)
{
	void *p = calloc(1, n);

	if (!p) {
		fprintf(stderr, "out of memory\n");
		exit(2);
	}
	return p;
}

void *bounds_grow_array(void *v, size_t n, size_t *room, size_t size)
{
	if (n < *room)
		return v;
	*room = *room ? 2 * *room : 16;
	v = realloc(v, *room * size);
	if (!v) {
		fprintf(stderr, "out of memory\n");
		exit(2);
	}
	return v;
}

struct bounds_result bounds_failed(int err)
{
	return (struct bounds_result){ err, false, false };
}

struct bounds_result bounds_done(int err)
{
	return (struct bounds_result){ err, true, false };
}

/* ---- chains ---------------------------------------------------------------------------------------- */

struct bounds_chain *bounds_chain_get(struct bounds_chain *c)
{
	if (c)
		c->refs++;
	return c;
}

void bounds_chain_put(struct bounds_chain *c)
{
	if (c && !--c->refs)
		free(c);
}

/* `first` in front of `rest` (NULL: of nothing). */
static struct bounds_chain *chain_new(uint32_t first, const struct bounds_chain *rest)
{
	unsigned n = rest ? rest->n : 0;
	struct bounds_chain *c = allocate(sizeof(*c) + (n + 1) * sizeof(c->id[0]));

	c->refs = 1;
	c->n = n + 1;
	c->id[0] = first;
	if (n)
		memcpy(&c->id[1], rest->id, n * sizeof(c->id[0]));
	return c;
}

static uint32_t anon_vma_new(struct bounds *b, uint32_t parent)
{
	uint32_t id = ++b->nr_anon_vmas;

	b->parent = realloc(b->parent, (id + 1) * sizeof(*b->parent));
	if (!b->parent)
		exit(2);
	b->parent[id] = parent ? parent : id;
	return id;
}

/* R2.2: faulted, and with ancestors' anon_vmas on the chain. */
static bool is_fork_child(const struct bounds_vma *v)
{
	return v->chain && v->chain->n > 1;
}

/* ---- machines and address spaces --------------------------------------------------------------------- */

void bounds_init(struct bounds *b, const struct bounds_config *config)
{
	*b = (struct bounds){ .config = *config };
	b->files = allocate(sizeof(*b->files));
	b->nr_files = 1;
}

void bounds_fini(struct bounds *b)
{
	while (b->mms)
		bounds_mm_free(b->mms);
	free(b->files);
	free(b->parent);
}

uint32_t bounds_file(struct bounds *b, uint64_t pages, bool disk)
{
	b->files = realloc(b->files, (b->nr_files + 1) * sizeof(*b->files));
	if (!b->files)
		exit(2);
	b->files[b->nr_files] = (struct bounds_file){ .pages = pages, .disk = disk };
	return b->nr_files++;
}

struct bounds_mm *bounds_mm(struct bounds *b, const struct avm_mm_config *layout)
{
	struct bounds_mm *mm = allocate(sizeof(*mm));

	mm->machine = b;
	mm->lowest = layout->lowest;
	mm->top = layout->task_size;
	mm->base = layout->mmap_base;
	mm->limits = *layout->limits;
	mm->next = b->mms;
	b->mms = mm;
	return mm;
}

void bounds_unmap_all(struct bounds_mm *mm)
{
	for (size_t i = 0; i < mm->n; i++)
		bounds_chain_put(mm->v[i].chain);
	mm->n = 0;
	mm->brk_start = mm->brk = 0;
}

void bounds_mm_free(struct bounds_mm *mm)
{
	struct bounds_mm **p = &mm->machine->mms;

	while (*p != mm)
		p = &(*p)->next;
	*p = mm->next;
	bounds_unmap_all(mm);
	free(mm->v);
	free(mm->wrote);
	free(mm);
}

void bounds_save(const struct bounds_mm *mm, struct bounds_saved *saved)
{
	*saved = (struct bounds_saved){ .n = mm->n,
					.brk = mm->brk,
					.default_flags = mm->default_flags };
	saved->v = allocate((mm->n + 1) * sizeof(*mm->v));
	for (size_t i = 0; i < mm->n; i++) {
		saved->v[i] = mm->v[i];
		bounds_chain_get(mm->v[i].chain);
	}
}

void bounds_restore(struct bounds_mm *mm, const struct bounds_saved *saved)
{
	for (size_t i = 0; i < mm->n; i++)
		bounds_chain_put(mm->v[i].chain);
	for (mm->n = 0; mm->n < saved->n; mm->n++) {
		mm->v = bounds_grow_array(mm->v, mm->n, &mm->room, sizeof(*mm->v));
		mm->v[mm->n] = saved->v[mm->n];
		bounds_chain_get(mm->v[mm->n].chain);
	}
	mm->brk = saved->brk;
	mm->default_flags = saved->default_flags;
}

void bounds_saved_free(struct bounds_saved *saved)
{
	for (size_t i = 0; i < saved->n; i++)
		bounds_chain_put(saved->v[i].chain);
	free(saved->v);
}

/* ---- the set ------------------------------------------------------------------------------------------ */

size_t bounds_index(const struct bounds_mm *mm, avm_addr_t addr)
{
	size_t i = 0;

	while (i < mm->n && mm->v[i].end <= addr)
		i++;
	return i;
}

struct bounds_vma *bounds_above(const struct bounds_mm *mm, avm_addr_t addr)
{
	size_t i = bounds_index(mm, addr);

	return i < mm->n ? &mm->v[i] : NULL;
}

struct bounds_vma *bounds_at(const struct bounds_mm *mm, avm_addr_t addr)
{
	struct bounds_vma *v = bounds_above(mm, addr);

	return v && v->start <= addr ? v : NULL;
}

uint64_t bounds_pgoff(const struct bounds_vma *v, avm_addr_t addr)
{
	return v->pgoff + (addr - v->start) / PAGE;
}

bool bounds_is_anon(const struct bounds_vma *v)
{
	return !v->file && !(v->flags & AVM_VM_SPECIAL);
}

static void insert(struct bounds_mm *mm, size_t i, const struct bounds_vma *v)
{
	mm->v = bounds_grow_array(mm->v, mm->n, &mm->room, sizeof(*mm->v));
	memmove(&mm->v[i + 1], &mm->v[i], (mm->n - i) * sizeof(*mm->v));
	mm->v[i] = *v;
	mm->n++;
}

static void erase(struct bounds_mm *mm, size_t i)
{
	bounds_chain_put(mm->v[i].chain);
	mm->n--;
	memmove(&mm->v[i], &mm->v[i + 1], (mm->n - i) * sizeof(*mm->v));
}

void bounds_cut(struct bounds_mm *mm, avm_addr_t addr)
{
	size_t i = bounds_index(mm, addr);
	struct bounds_vma upper;

	if (i == mm->n || mm->v[i].start >= addr)
		return;
	upper = mm->v[i];
	upper.pgoff = bounds_pgoff(&mm->v[i], addr);
	upper.start = addr;
	bounds_chain_get(upper.chain);
	mm->v[i].end = addr;
	insert(mm, i + 1, &upper);
}

void bounds_remove(struct bounds_mm *mm, avm_addr_t start, avm_addr_t end)
{
	size_t i;

	bounds_cut(mm, start);
	bounds_cut(mm, end);
	i = bounds_index(mm, start);
	while (i < mm->n && mm->v[i].start < end)
		erase(mm, i);
}

/* ---- R2 -------------------------------------------------------------------------------------------------- */

/* R2.1; `below` ends where `above` starts. */
static bool alike(const struct bounds_vma *below, const struct bounds_vma *above)
{
	if ((below->flags | above->flags) & (AVM_VM_SPECIAL | AVM_VM_DONTEXPAND))
		return false;
	return below->flags == above->flags && below->file == above->file &&
	       below->policy == above->policy && below->name == above->name &&
	       above->pgoff == below->pgoff + (below->end - below->start) / PAGE;
}

/* R2.2 */
static bool kin(const struct bounds_vma *a, const struct bounds_vma *b)
{
	if (!a->own && !b->own)
		return true;
	if (a->own && b->own)
		return a->own == b->own;
	return !is_fork_child(a->own ? a : b);
}

/* R2.2 as well: a VMA that grows keeps its chain, however long, and what is above joins without one. */
enum put_what {
	PUT_RANGE,
	PUT_GROWTH,
};

static bool put(struct bounds_mm *mm, const struct bounds_vma *v, enum put_what what)
{
	size_t i = bounds_index(mm, v->start);
	struct bounds_vma *prev = i && mm->v[i - 1].end == v->start ? &mm->v[i - 1] : NULL;
	struct bounds_vma *next = i < mm->n && mm->v[i].start == v->end ? &mm->v[i] : NULL;
	bool left = prev && alike(prev, v) && kin(prev, v);
	bool right = next && alike(v, next) &&
		     (kin(v, next) || (what == PUT_GROWTH && v->own && !next->own));
	struct bounds_vma all = *v;

	if (left && right && prev->own && next->own && prev->own != next->own) /* R2.3 */
		right = false;
	if (left) {
		all.start = prev->start;
		all.pgoff = prev->pgoff;
	}
	if (right)
		all.end = next->end;
	/* Whoever of them is faulted: the others get its chain (R2.4). */
	if (!all.own && left && prev->own) {
		all.own = prev->own;
		all.chain = bounds_chain_get(prev->chain);
	}
	if (!all.own && right && next->own) {
		all.own = next->own;
		all.chain = bounds_chain_get(next->chain);
	}
	if (right)
		erase(mm, i);
	if (left)
		erase(mm, i - 1);
	insert(mm, left ? i - 1 : i, &all);
	return left || right;
}

bool bounds_put(struct bounds_mm *mm, const struct bounds_vma *v)
{
	return put(mm, v, PUT_RANGE);
}

void bounds_put_growth(struct bounds_mm *mm, const struct bounds_vma *v)
{
	put(mm, v, PUT_GROWTH);
}

void bounds_put_apart(struct bounds_mm *mm, const struct bounds_vma *v)
{
	insert(mm, bounds_index(mm, v->start), v);
}

/* ---- R4.1 ------------------------------------------------------------------------------------------------- */

/* May an unfaulted VMA use the anon_vma of `from`, one of these two touching ones? */
static bool may_adopt(const struct bounds_vma *below, const struct bounds_vma *above,
		      const struct bounds_vma *from)
{
	const uint64_t access = AVM_VM_READ | AVM_VM_WRITE | AVM_VM_EXEC;

	return from->own && from->chain->n == 1 && below->end == above->start &&
	       below->file == above->file && below->policy == above->policy &&
	       (below->flags | access) == (above->flags | access) &&
	       above->pgoff == below->pgoff + (below->end - below->start) / PAGE;
}

void bounds_prepare(struct bounds_mm *mm, size_t i)
{
	struct bounds_vma *v = &mm->v[i];
	const struct bounds_vma *from = NULL;

	if (v->own)
		return;
	if (i + 1 < mm->n && may_adopt(v, v + 1, v + 1))
		from = v + 1;
	else if (i && may_adopt(v - 1, v, v - 1))
		from = v - 1;
	if (from) {
		v->own = from->own;
		v->chain = bounds_chain_get(from->chain);
		return;
	}
	v->own = anon_vma_new(mm->machine, 0);
	v->chain = chain_new(v->own, NULL);
}

/* ---- R4.3 -------------------------------------------------------------------------------------------------- */

/* Who is there: on a chain, some VMA's own, somebody's parent. */
struct census {
	bool *alive;
	uint32_t *active, *children;
};

static void census_take(const struct bounds *b, struct census *c)
{
	size_t n = (size_t)b->nr_anon_vmas + 1;

	c->alive = allocate(n * sizeof(*c->alive));
	c->active = allocate(n * sizeof(*c->active));
	c->children = allocate(n * sizeof(*c->children));
	for (const struct bounds_mm *mm = b->mms; mm; mm = mm->next) {
		for (size_t i = 0; i < mm->n; i++) {
			const struct bounds_vma *v = &mm->v[i];

			if (!v->own)
				continue;
			c->active[v->own]++;
			for (unsigned k = 0; k < v->chain->n; k++)
				c->alive[v->chain->id[k]] = true;
		}
	}
	/* A root is its own parent, and so its own child. */
	for (uint32_t id = 1; id < n; id++)
		c->children[b->parent[id]] += c->alive[id];
}

static void census_free(struct census *c)
{
	free(c->alive);
	free(c->active);
	free(c->children);
}

/* The oldest on the chain without a VMA of its own, and with at most one child; 0: none. */
static uint32_t idle_ancestor(const struct bounds *b, const struct bounds_chain *chain)
{
	struct census c;
	uint32_t found = 0;

	census_take(b, &c);
	for (unsigned k = chain->n; k-- && !found;) {
		uint32_t id = chain->id[k];

		if (!c.active[id] && c.children[id] <= 1)
			found = id;
	}
	census_free(&c);
	return found;
}

static void fork_family(struct bounds *b, struct bounds_vma *child, const struct bounds_vma *parent)
{
	if (!parent->own)
		return;
	child->own = 0;
	if (b->config.family == AVM_FAMILY_FLAT)
		child->own = parent->own;
	else if (b->config.family == AVM_FAMILY_REUSE)
		child->own = idle_ancestor(b, parent->chain);
	if (child->own) {
		child->chain = bounds_chain_get(parent->chain);
		return;
	}
	child->own = anon_vma_new(b, parent->own);
	child->chain = chain_new(child->own, parent->chain);
}

struct bounds_mm *bounds_fork(struct bounds_mm *parent)
{
	struct bounds *b = parent->machine;
	struct avm_mm_config layout = { .lowest = parent->lowest,
					.task_size = parent->top,
					.mmap_base = parent->base,
					.limits = &parent->limits };
	struct bounds_mm *child;
	uint64_t charge = 0;

	for (size_t i = 0; i < parent->n; i++) {
		const struct bounds_vma *v = &parent->v[i];

		if ((v->flags & AVM_VM_ACCOUNT) && !(v->flags & AVM_VM_DONTCOPY))
			charge += (v->end - v->start) / PAGE;
	}
	if (!bounds_may_commit(b, charge, 0))
		return NULL;
	child = bounds_mm(b, &layout);
	child->brk_start = parent->brk_start;
	child->brk = parent->brk;
	for (size_t i = 0; i < parent->n; i++) {
		const struct bounds_vma *v = &parent->v[i];
		struct bounds_vma copy = *v;

		if (v->flags & AVM_VM_DONTCOPY)
			continue;
		copy.flags &= ~(AVM_VM_LOCKED | AVM_VM_LOCKONFAULT);
		copy.own = 0;
		copy.chain = NULL;
		if (!(v->flags & AVM_VM_WIPEONFORK))
			fork_family(b, &copy, v);
		insert(child, child->n, &copy);
	}
	return child;
}
