/* SPDX-License-Identifier: MIT */
/*
 * vma.c - changing the set of VMAs: split, merge, add, remove (R2, R3).
 *
 * Every change of boundaries is one *relayout*: up to three touching VMAs get new ranges at once. One of them may
 * be new (a split: it takes its part from the old one), one may grow (a merge, or a boundary that moves), the
 * others shrink or go. Whoever grows into pages of a faulted VMA while unfaulted itself first gets that VMA's
 * chain, because the pages that change hands point into it (R3.2, gallery 03). Between taking the VMAs out of the
 * interval trees and putting them back nothing is allocated (R3.3, gallery 14): entries come from the pool.
 */
#include "vma.h"

#include "error.h"
#include "file.h"
#include "mm.h"
#include "page.h"
#include "slab.h"

extern inline struct avm_vma *avm_vma_next(const struct avm_vma *vma);
extern inline struct avm_vma *avm_vma_prev(const struct avm_vma *vma);
extern inline uint64_t avm_vma_index(const struct avm_vma *vma, avm_addr_t addr);

/* Tree nodes for so many insertions stay with the set, which the next operation need not allocate then. */
#define KEPT_INSERTS 2

/* ---- objects and pools ------------------------------------------------------------------------------ */

struct avm_range avm_range_of(const struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	return (struct avm_range){
		.start = start,
		.end = end,
		.flags = vma->flags,
		.pgoff = avm_vma_index(vma, start),
		.file = vma->file,
		.policy = vma->policy,
		.name = vma->name,
		.anon_vma = avm_vma_anon(vma),
		.fork_child = avm_vma_is_fork_child(vma),
		.private_data = vma->private_data,
	};
}

/*
 * Everything but `remembered`, which is 0 in what is free, and `write_seq` and `readers`, which a fault that found the VMA
 * under RCU before it was recycled may still look at: those two are only ever changed by the lock's own operations.
 */
static void vma_set(struct avm_vma *vma, struct avm_mm *mm, const struct avm_range *r)
{
	vma->start = r->start;
	vma->end = r->end;
	vma->flags = r->flags;
	vma->pgoff = r->pgoff;
	vma->mm = mm;
	atomic_store_explicit(&vma->anon_vma, NULL, memory_order_relaxed);
	avm_list_init(&vma->chain);
	vma->file = r->file;
	vma->shared = (struct avm_inode){ 0 };
	vma->private_data = r->private_data;
	vma->policy = r->policy;
	vma->name = r->name;
	atomic_store_explicit(&vma->chain_len, 0, memory_order_relaxed);
}

/*
 * Most operations that need a VMA come soon after one that gave one up: so two stay with the address space, out of
 * reach of the lock of all. Also those are type-stable: who finds one under RCU asks it whose it is.
 */
static struct avm_vma *vma_take(struct avm_mm *mm)
{
	uint32_t nr = AVM_FAST ? atomic_load_explicit(&mm->nr_spare, memory_order_relaxed) : 0;

	if (!nr)
		return avm_cache_alloc(mm->machine, &mm->machine->vmas);
#ifdef AVM_PORT_FAIL
	if (AVM_PORT_FAIL(mm->machine))
		return NULL;
#endif
	atomic_store_explicit(&mm->nr_spare, --nr, memory_order_relaxed);
	return mm->spare[nr];
}

void avm_vma_free(struct avm_mm *mm, struct avm_vma *vma)
{
	uint32_t nr = atomic_load_explicit(&mm->nr_spare, memory_order_relaxed);

	avm_vma_forget(mm, vma);
	if (!AVM_FAST || nr == AVM_SPARE_VMAS) {
		avm_cache_free(mm->machine, &mm->machine->vmas, vma);
		return;
	}
	mm->spare[nr] = vma;
	atomic_store_explicit(&mm->nr_spare, nr + 1, memory_order_relaxed);
}

void avm_vma_free_spares(struct avm_mm *mm)
{
	uint32_t nr = atomic_load_explicit(&mm->nr_spare, memory_order_relaxed);

	atomic_store_explicit(&mm->nr_spare, 0, memory_order_relaxed);
	while (AVM_FAST && nr)
		avm_cache_free(mm->machine, &mm->machine->vmas, mm->spare[--nr]);
}

struct avm_vma *avm_vma_alloc(struct avm_mm *mm, const struct avm_range *r)
{
	struct avm_vma *vma = vma_take(mm);

	if (vma)
		vma_set(vma, mm, r);
	return vma;
}

static avm_small struct avm_vma *pool_take(struct avm_pool *pool)
{
	struct avm_list *first = pool->vmas;

	pool->vmas = first->next;
	pool->nr_vmas--;
	return avm_list_entry(first, struct avm_vma, link);
}

static avm_small struct avm_vma *pool_take_vma(struct avm_pool *pool, const struct avm_range *r)
{
	struct avm_vma *vma;

	AVM_BUG_ON(pool->mm->machine, !pool->nr_vmas);
	vma = pool_take(pool);
	vma_set(vma, pool->mm, r);
	return vma;
}

/* Frees VMAs of the pool until `keep` are left. */
static avm_small void pool_trim_vmas(struct avm_pool *pool, unsigned keep)
{
	while (pool->nr_vmas > keep)
		avm_vma_free(pool->mm, pool_take(pool));
}

int avm_pool_fill(struct avm_pool *pool, unsigned vmas, uint64_t avcs)
{
	struct avm_mm *mm = pool->mm;
	unsigned before = pool->nr_vmas;

	for (unsigned i = 0; i < vmas; i++) {
		struct avm_vma *vma = vma_take(mm);

		if (!vma)
			goto fail;
		vma->link.next = pool->vmas;
		pool->vmas = &vma->link;
		pool->nr_vmas++;
	}
	if (vmas && avm_vma_tree_reserve(&mm->vmas, pool->nr_vmas))
		goto fail;
	if (avcs && avm_avc_pool_fill(mm->machine, &pool->avcs, avcs))
		goto fail;
	return 0;
fail:
	pool_trim_vmas(pool, before);
	return -AVM_ENOMEM;
}

void avm_pool_drain(struct avm_pool *pool)
{
	struct avm_mm *mm = pool->mm;

	pool_trim_vmas(pool, 0);
	if (!AVM_FAST || pool->avcs.nr)
		avm_avc_pool_drain(mm->machine, &pool->avcs);
	avm_vma_tree_keep(&mm->vmas, KEPT_INSERTS);
}

bool avm_vma_room(const struct avm_mm *mm, unsigned more)
{
	return mm->vmas.count + more <= mm->machine->config.max_map_count;
}

/* ---- the trees a VMA is in ---------------------------------------------------------------------------- */

/* => file->mmap_lock write. */
static void file_attach(struct avm_vma *vma)
{
	if (!vma->file)
		return;
	avm_mappings_insert(&vma->file->mappings, vma);
	vma->file->nr_mappings++;
}

static void file_detach(struct avm_vma *vma)
{
	if (!vma->file)
		return;
	avm_mappings_remove(&vma->file->mappings, vma);
	vma->file->nr_mappings--;
}

static void link_file(struct avm_vma *vma)
{
	avm_mappings_lock(vma->file);
	file_attach(vma);
	avm_mappings_unlock(vma->file);
}

static void unlink_file(struct avm_vma *vma)
{
	avm_mappings_lock(vma->file);
	file_detach(vma);
	avm_mappings_unlock(vma->file);
}

static bool has_close(const struct avm_vma *vma)
{
	return vma && vma->file && vma->file->ops && vma->file->ops->close;
}

static void file_opened(struct avm_vma *vma)
{
	if (!vma->file)
		return;
	avm_file_get(vma->file);
	if (vma->file->ops && vma->file->ops->open)
		vma->file->ops->open(vma);
}

/* ---- relayout: the one way boundaries move --------------------------------------------------------------- */

struct part {
	struct avm_vma *vma;
	avm_addr_t start, end; /* its range to be; none: it goes */
	bool fresh; /* not in any tree yet; has its final range already */
};

static bool part_goes(const struct part *p)
{
	return p->start == p->end;
}

static bool part_grows(const struct part *p)
{
	return p->fresh || p->start < p->vma->start || p->end > p->vma->end;
}

/* The faulted VMA among the parts, if any: all that are faulted share one anon_vma (R2.2). */
static struct avm_vma *faulted_part(const struct part *parts, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (avm_vma_anon(parts[i].vma))
			return parts[i].vma;
	return NULL;
}

static avm_noinline void set_range(struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	/* R1.2: stays right, below the old start as well. */
	uint64_t pgoff = avm_vma_index(vma, start);

	avm_vma_tree_set_range(&vma->mm->vmas, vma, start, end);
	vma->pgoff = pgoff;
}

/* Does the part go to one below that grows, which is not new? Then it lies above it. */
static bool joins(const struct part *p, const struct part *grows)
{
	return AVM_FAST && part_goes(p) && grows && !grows->fresh &&
	       p->vma->start > grows->vma->start;
}

/* A part that its VMA loses: the VMA is the first of the parts, and keeps what is below. */
static avm_small void split_off(struct avm_vma *vma, const struct part *upper)
{
	if (AVM_FAST) {
		avm_vma_tree_split(&vma->mm->vmas, vma, upper->vma);
		return;
	}
	upper->vma->end = upper->end;
	set_range(vma, vma->start, upper->start);
	avm_vma_tree_insert(&vma->mm->vmas, upper->vma);
}

/*
 * The set itself, in an order in which no two VMAs ever overlap: leave, shrink, grow; or parts of the first one enter.
 * Returns the part that grew, or NULL: afterwards the ranges do not tell any more.
 */
static const struct part *relayout_set(const struct part *parts, unsigned nr)
{
	struct avm_vma_tree *tree = &parts[0].vma->mm->vmas;
	const struct part *grows = NULL;
	struct avm_vma *last = NULL;

	if (parts[nr - 1].fresh) {
		while (--nr)
			split_off(parts[0].vma, &parts[nr]);
		return NULL;
	}
	for (unsigned i = 0; i < nr; i++)
		if (part_grows(&parts[i]))
			grows = &parts[i];
	for (unsigned i = 0; i < nr; i++) {
		struct avm_vma *vma = parts[i].vma;

		if (joins(&parts[i], grows))
			last = last && last->start > vma->start ? last : vma;
		else if (part_goes(&parts[i]))
			avm_vma_tree_erase(tree, vma);
		else if (&parts[i] != grows)
			set_range(vma, parts[i].start, parts[i].end);
	}
	if (last)
		avm_vma_tree_join(tree, grows->vma, last);
	else if (grows)
		set_range(grows->vma, grows->start, grows->end);
	return grows;
}

/* One fence for all (G-S). */
static void lock_parts(const struct part *parts, unsigned nr)
{
	bool any = false;

	for (unsigned i = 0; i < nr; i++) {
		if (AVM_FAST)
			any |= avm_vma_lock_begin(parts[i].vma);
		else
			avm_vma_lock(parts[i].vma);
	}
	if (!any)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < nr; i++)
		avm_vma_lock_end(parts[i].vma);
}

/*
 * Gives the parts their new ranges. Either at most one grows, or all but the first are fresh, the parts that it loses, in
 * order. Cannot fail: needs one chain entry in the pool for each entry of a chain to be cloned. Parts that go are out of
 * everything and still to be freed. => mmap_lock write.
 */
static void relayout(struct avm_pool *pool, const struct part *parts, unsigned nr)
{
	struct avm_vma *faulted = faulted_part(parts, nr);
	struct avm_file *file = parts[0].vma->file;
	const struct part *grown;

	avm_assert_mmap_write_locked(parts[0].vma->mm);
	lock_parts(parts, nr);
	avm_mappings_lock(file);
	if (faulted)
		avm_family_lock_vma(faulted);

	for (unsigned i = 0; i < nr; i++) {
		if (parts[i].fresh)
			continue;
		file_detach(parts[i].vma);
		avm_family_detach(parts[i].vma);
	}
	grown = relayout_set(parts, nr);
	for (unsigned i = 0; i < nr; i++) {
		struct avm_vma *vma = parts[i].vma;

		if (part_goes(&parts[i]))
			continue;
		file_attach(vma);
		if (avm_vma_anon(vma))
			avm_family_attach(vma);
		else if (faulted && (parts[i].fresh || &parts[i] == grown))
			avm_family_clone(vma, faulted, &pool->avcs);
	}
	if (faulted) {
		struct avm_anon_vma *root = avm_family_root(avm_vma_anon(faulted));

		for (unsigned i = 0; i < nr; i++)
			if (part_goes(&parts[i]) && avm_vma_anon(parts[i].vma))
				avm_family_drop(parts[i].vma, &pool->avcs);
		avm_rw_unlock_write(faulted->mm->machine, &root->lock, AVM_LOCK_FAMILY);
	}
	avm_mappings_unlock(file);
}

/*
 * The parts that went: their chains are dropped, their pages belong to the one that grew. Returns how many ranges have
 * become part of another: these, or the one that never was a VMA.
 */
static avm_noinline unsigned bury(struct avm_mm *mm, const struct part *parts, unsigned nr)
{
	unsigned gone = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct avm_file *file = parts[i].vma->file;

		if (!part_goes(&parts[i]))
			continue;
		avm_vma_free(mm, parts[i].vma);
		gone++;
		if (file)
			avm_file_put(file);
	}
	return gone ? gone : 1;
}

/* ---- R2: may they merge? ------------------------------------------------------------------------------ */

/* Of a range and a VMA that touches it, below or above. AVM_NR_REFUSALS: nothing in the way. */
static enum avm_refusal refusal(const struct avm_range *r, const struct avm_vma *vma)
{
	if ((r->flags | vma->flags) & (AVM_VM_SPECIAL | AVM_VM_DONTEXPAND))
		return AVM_REFUSED_SPECIAL;
	if (r->file != vma->file || r->private_data != vma->private_data)
		return AVM_REFUSED_FILE;
	if (r->flags != vma->flags)
		return AVM_REFUSED_FLAGS;
	if (r->pgoff != avm_vma_index(vma, r->start))
		return AVM_REFUSED_OFFSET;
	if (r->policy != vma->policy)
		return AVM_REFUSED_POLICY;
	if (r->name != vma->name)
		return AVM_REFUSED_NAME;
	return avm_family_refusal(r->anon_vma, r->fork_child, avm_vma_anon(vma),
				  avm_vma_is_fork_child(vma));
}

static bool refused(struct avm_mm *mm, avm_addr_t boundary, enum avm_refusal why)
{
	struct avm *m = mm->machine;

	if (why == AVM_NR_REFUSALS)
		return false;
	atomic_fetch_add_explicit(&m->refused[why], 1, memory_order_relaxed);
	if (m->observer)
		m->observer->refused(m->observer, mm, boundary, why);
	return true;
}

/* R2.3, and the last clause of R2.1 for the VMA above, which would disappear. */
static avm_small enum avm_refusal refusal_of_three(const struct avm_vma *prev,
						   const struct avm_vma *next)
{
	struct avm_anon_vma *a = avm_vma_anon(prev), *b = avm_vma_anon(next);

	if (has_close(next))
		return AVM_REFUSED_SPECIAL;
	return a && b && a != b ? AVM_REFUSED_THREE_WAY : AVM_NR_REFUSALS;
}

enum merge {
	MERGE_NONE,
	MERGE_PREV, /* the VMA below takes the range */
	MERGE_NEXT, /* the VMA above takes the range */
	MERGE_BOTH, /* the VMA below takes the range and the VMA above */
};

/*
 * What the range merges with of `prev`, the VMA before it, and `next`, the one behind it, or NULL. `self`: the VMA that
 * holds the range today and would disappear if the range is all of it, or NULL. Counts refusals and tells the observer.
 * Changes nothing.
 */
static enum merge merge_plan(struct avm_mm *mm, const struct avm_range *r, struct avm_vma *prev,
			     struct avm_vma *next, struct avm_vma *self)
{
	bool left = prev && prev->end == r->start && !refused(mm, r->start, refusal(r, prev));
	bool right = next && next->start == r->end && !refused(mm, r->end, refusal(r, next));

	if ((left || right) && self && self->start == r->start && self->end == r->end &&
	    has_close(self)) {
		refused(mm, left ? r->start : r->end, AVM_REFUSED_SPECIAL);
		return MERGE_NONE;
	}
	if (left && right && refused(mm, r->end, refusal_of_three(prev, next)))
		right = false;
	if (left)
		return right ? MERGE_BOTH : MERGE_PREV;
	return right ? MERGE_NEXT : MERGE_NONE;
}

/* ---- the operations ------------------------------------------------------------------------------------- */

/* [start, end), a part of `vma` or (NULL) free, goes to its neighbours, by plan. */
static struct avm_vma *give_away(struct avm_pool *pool, struct avm_vma *vma,
				 const struct avm_range *r, enum merge plan, struct avm_vma *prev,
				 struct avm_vma *next)
{
	struct avm_vma *taker = plan == MERGE_NEXT ? next : prev;
	struct avm_mm *mm = pool->mm;
	struct part parts[3];
	unsigned nr = 0;

	/* What is left of vma: above what prev takes, below what next takes, nothing in between. */
	if (vma && plan == MERGE_NEXT)
		parts[nr++] = (struct part){ vma, vma->start, r->start, false };
	else if (vma)
		parts[nr++] = (struct part){ vma, r->end, vma->end, false };
	if (plan == MERGE_NEXT)
		parts[nr++] = (struct part){ next, r->start, next->end, false };
	else
		parts[nr++] = (struct part){ prev, prev->start,
					     plan == MERGE_BOTH ? next->end : r->end, false };
	if (plan == MERGE_BOTH)
		parts[nr++] = (struct part){ next, next->start, next->start, false };
	relayout(pool, parts, nr);
	avm_count(mm->machine, AVM_EV_MERGE, bury(mm, parts, nr));
	return taker;
}

/* A range between `prev` and `next`, which may be NULL. */
static struct avm_vma *add_between(struct avm_pool *pool, const struct avm_range *r,
				   struct avm_vma *prev, struct avm_vma *next)
{
	enum merge plan = merge_plan(pool->mm, r, prev, next, NULL);
	struct avm_vma *vma;

	if (plan != MERGE_NONE)
		return give_away(pool, NULL, r, plan, prev, next);
	vma = pool_take_vma(pool, r);
	avm_vma_enter(vma);
	return vma;
}

struct avm_vma *avm_vma_add(struct avm_pool *pool, const struct avm_range *r, struct avm_vma *next)
{
	if (!AVM_FAST || !next) /* behind all, or not looked for */
		next = avm_mm_find(pool->mm, r->start);
	return add_between(pool, r, r->first_of_heap ? NULL : avm_vma_before(pool->mm, next), next);
}

void avm_vma_extend(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t end)
{
	struct avm_range r = avm_range_of(vma, vma->end, end);

	/* R2.2 keeps long chains from being cloned. Here none is: the VMA that grows stays, with its own. */
	r.fork_child = false;
	add_between(pool, &r, vma, avm_vma_next(vma));
}

/* The part loses what lies above addr to a new one, the next (R3.1). */
static avm_noinline void cut(struct avm_pool *pool, struct part *part, avm_addr_t addr)
{
	struct avm_range r = avm_range_of(part->vma, addr, part->end);

	part[1] = (struct part){ pool_take_vma(pool, &r), addr, part->end, true };
	part->end = addr;
}

/* Makes [start, end), a part of the VMA, one of its own, which is returned. Needs the pool of as many splits. */
static struct avm_vma *carve(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t start,
			     avm_addr_t end)
{
	struct part parts[3] = { { vma, vma->start, vma->end, false } };
	struct part *last = parts;

	if (start > vma->start)
		cut(pool, last++, start);
	vma = last->vma;
	if (end < last->end)
		cut(pool, last++, end);
	if (last == parts)
		return vma;
	relayout(pool, parts, (unsigned)(last - parts) + 1);
	for (const struct part *fresh = parts; fresh++ != last;)
		file_opened(fresh->vma);
	avm_count(pool->mm->machine, AVM_EV_SPLIT, (uint64_t)(last - parts));
	return vma;
}

struct avm_vma *avm_vma_split(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t addr)
{
	return carve(pool, vma, addr, vma->end);
}

void avm_vma_resize(struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	struct part part = { vma, start, end, false };
	struct avm_pool none = { .mm = vma->mm };

	relayout(&none, &part, 1);
}

void avm_vma_enter(struct avm_vma *vma)
{
	/* No fence: who looks at what the object was before finds another range, or all of this one. */
	if (AVM_FAST)
		(void)avm_vma_lock_begin(vma);
	else
		avm_vma_lock(vma);
	avm_vma_tree_insert(&vma->mm->vmas, vma);
	link_file(vma);
	file_opened(vma);
}

#if AVM_FAST

void avm_vma_enter_last(struct avm_vma *vma)
{
	(void)avm_vma_lock_begin(vma);
	avm_vma_tree_append(&vma->mm->vmas, vma);
	link_file(vma);
	file_opened(vma);
}

#endif

void avm_vma_release(struct avm_vma *vma)
{
	struct avm_file *file = vma->file;

	if (has_close(vma))
		file->ops->close(vma);
	unlink_file(vma);
	avm_family_unlink(vma);
	avm_vma_free(vma->mm, vma);
	if (file)
		avm_file_put(file);
}

void avm_vma_remove(struct avm_vma *vma)
{
	avm_assert_mmap_write_locked(vma->mm);
	avm_vma_lock(vma);
	avm_vma_tree_erase(&vma->mm->vmas, vma);
	avm_vma_release(vma);
}

/* ---- R2.5: a range of a VMA gets other attributes --------------------------------------------------------- */

/* [start, end) of the VMA as it is to be. */
static avm_noinline struct avm_range range_with(const struct avm_vma *vma, avm_addr_t start,
						avm_addr_t end, const struct avm_vma_attrs *attrs)
{
	struct avm_range r = avm_range_of(vma, start, end);

	r.flags = attrs->flags;
	r.policy = attrs->policy;
	r.name = attrs->name;
	return r;
}

struct avm_vma *avm_vma_modify(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t start,
			       avm_addr_t end, const struct avm_vma_attrs *attrs)
{
	struct avm_range r = range_with(vma, start, end, attrs);
	struct avm_vma *prev = start == vma->start ? avm_vma_prev(vma) : NULL;
	struct avm_vma *next = end == vma->end ? avm_vma_next(vma) : NULL;
	enum merge plan = merge_plan(pool->mm, &r, prev, next, vma);

	if (plan != MERGE_NONE)
		return give_away(pool, vma, &r, plan, prev, next);
	vma = carve(pool, vma, start, end);
	avm_vma_lock(vma);
	avm_vma_set_flags(vma, attrs->flags);
	vma->policy = attrs->policy;
	vma->name = attrs->name;
	return vma;
}

/* Will [start, end), the lower or the upper part of the VMA, go to the neighbour it touches? */
static bool boundary_moves(const struct avm_vma *vma, avm_addr_t start, avm_addr_t end,
			   const struct avm_vma_attrs *attrs)
{
	struct avm_range r = range_with(vma, start, end, attrs);
	const struct avm_vma *n = NULL;

	if (start == vma->start)
		n = avm_vma_prev(vma);
	else if (end == vma->end)
		n = avm_vma_next(vma);
	return n && (n->end == start || n->start == end) && refusal(&r, n) == AVM_NR_REFUSALS;
}

int avm_vma_modify_reserve(struct avm_pool *pool, struct avm_vma *first, avm_addr_t start,
			   avm_addr_t end, const struct avm_vma_attrs *attrs)
{
	struct avm_vma *prev = avm_vma_prev(first);
	unsigned splits = 0;
	uint64_t avcs = 0;

	/* One look past the end: the VMA above may take part in the last merge. */
	for (struct avm_vma *vma = first; vma; prev = vma, vma = avm_vma_next(vma)) {
		uint32_t chain = atomic_load_explicit(&vma->chain_len, memory_order_relaxed);

		if (prev && prev->end == vma->start && !avm_vma_anon(prev) != !avm_vma_anon(vma))
			avcs++;
		if (vma->start >= end)
			break;
		if (vma->start < start) {
			splits++;
			avcs += chain;
		}
		if (vma->end > end) {
			splits++;
			avcs += chain;
		}
	}
	if (splits && !avm_vma_room(pool->mm, splits) && !boundary_moves(first, start, end, attrs))
		return -AVM_ENOMEM;
	return avm_pool_fill(pool, splits, avcs);
}
