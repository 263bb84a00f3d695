/* SPDX-License-Identifier: MIT */
/*
 * vma.c - changing the set of VMAs: split, merge, add, remove (R2, R3).
 *
 * Every change of boundaries is one *relayout*: up to three touching VMAs get new ranges at once. One of them may
 * be new (a split: it takes its part from the old one), one may grow (a merge, or a boundary that moves), the
 * others shrink or go. Whoever grows into pages of a faulted VMA while unfaulted itself first gets that VMA's
 * chain, because the pages that change hands point into it (R3.2, gallery 03). Between taking the VMAs out of the
 * interval trees and putting them back nothing is allocated (R3.3, gallery 14): entries come from the pool.
 * (vma_modify.c has a shorter way for VMAs that are in no interval tree.)
 */
#include "vma.h"

#include "error.h"
#include "file.h"
#include "mm.h"
#include "page.h"
#include "vma_change.h"

extern inline struct avm_vma *avm_vma_next(const struct avm_vma *vma);
extern inline struct avm_vma *avm_vma_prev(const struct avm_vma *vma);
extern inline uint64_t avm_vma_index(const struct avm_vma *vma, avm_addr_t addr);

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

static avm_noinline void set_range(struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	/* R1.2: stays right, below the old start as well. */
	uint64_t pgoff = avm_vma_index(vma, start);

	avm_vma_tree_set_range(&vma->mm->vmas, vma, start, end);
	vma->pgoff = pgoff;
}

/* The first of the parts keeps what is below the others, which are fresh. */
static void split_set(const struct part *parts, unsigned nr)
{
	struct avm_vma *vma = parts[0].vma, *upper[2];
	struct avm_vma_tree *tree = &vma->mm->vmas;

	if (!AVM_FAST)
		set_range(vma, vma->start, parts[0].end);
	for (unsigned i = 1; i < nr; i++) {
		if (AVM_FAST)
			upper[i - 1] = parts[i].vma;
		else
			avm_vma_tree_insert(tree, parts[i].vma);
	}
	if (AVM_FAST)
		avm_vma_tree_split(tree, vma, upper, nr - 1);
}

/* The set itself, in an order in which no two VMAs ever overlap: leave, shrink; and then `grows` is set. */
static void relayout_set(const struct part *parts, unsigned nr, const struct part *grows)
{
	struct avm_vma_tree *tree = &grows->vma->mm->vmas;
	struct avm_vma *last = NULL;

	for (const struct part *p = parts; p < parts + nr; p++) {
		if (p == grows)
			continue;
		if (!part_goes(p))
			set_range(p->vma, p->start, p->end);
		else if (AVM_FAST && p->start > grows->start)
			last = p->vma;
		else
			avm_vma_tree_erase(tree, p->vma);
	}
	/* Those that go and lie above are one after the other. */
	if (last)
		avm_vma_tree_join(tree, grows->vma, last);
	else
		set_range(grows->vma, grows->start, grows->end);
}

static void layout_set(const struct part *parts, unsigned nr, const struct part *grows)
{
	if (grows)
		relayout_set(parts, nr, grows);
	else
		split_set(parts, nr);
}

/*
 * One fence for all (G-S). Returns the first faulted VMA among the parts, if any: all that are faulted share one anon_vma
 * (R2.2), and none becomes so while mmap_lock is held for write.
 */
static struct avm_vma *lock_parts(const struct part *parts, unsigned nr)
{
	struct avm_vma *faulted = NULL;
	bool any = false;

	for (const struct part *p = parts; p < parts + nr; p++) {
		if (AVM_FAST)
			any |= avm_vma_lock_begin(p->vma);
		else
			avm_vma_lock(p->vma);
		if (!faulted && avm_vma_anon(p->vma))
			faulted = p->vma;
	}
	if (!any)
		return faulted;
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < nr; i++)
		avm_vma_lock_end(parts[i].vma);
	return faulted;
}

/* The same where the VMAs are in the trees of a file, or a family: out of them, and back. => those are locked. */
static void relayout_trees(struct avm_pool *pool, const struct part *parts, unsigned nr,
			   const struct part *grows, struct avm_vma *faulted)
{
	for (unsigned i = 0; i < nr; i++) {
		if (parts[i].fresh)
			continue;
		file_detach(parts[i].vma);
		avm_family_detach(parts[i].vma);
	}
	layout_set(parts, nr, grows);
	for (unsigned i = 0; i < nr; i++) {
		struct avm_vma *vma = parts[i].vma;

		if (part_goes(&parts[i]))
			continue;
		file_attach(vma);
		if (avm_vma_anon(vma))
			avm_family_attach(vma);
		else if (faulted && (parts[i].fresh || &parts[i] == grows))
			avm_family_clone(vma, faulted, &pool->avcs);
	}
}

/*
 * Gives the parts their new ranges. Either one, `grows`, takes what the others lose; or that is NULL, and all but the first
 * are fresh, the parts that it loses, in order. Cannot fail: needs one chain entry in the pool for each entry of a chain to
 * be cloned. Parts that go are out of everything and still to be freed. => mmap_lock write.
 */
static void relayout(struct avm_pool *pool, const struct part *parts, unsigned nr,
		     const struct part *grows)
{
	struct avm_vma *faulted = lock_parts(parts, nr);
	struct avm_file *file = parts[0].vma->file;

	avm_assert_mmap_write_locked(parts[0].vma->mm);
	if (AVM_FAST && !file && !faulted) {
		layout_set(parts, nr, grows);
		return;
	}
	avm_mappings_lock(file);
	if (faulted)
		avm_family_lock_vma(faulted);
	relayout_trees(pool, parts, nr, grows, faulted);
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

AVM_PART_OF_CALLER enum avm_refusal merge_refusal(const struct avm_range *r,
						  const struct avm_vma *vma)
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

enum avm_refusal avm_merge_refusal(const struct avm_range *r, const struct avm_vma *vma)
{
	return merge_refusal(r, vma);
}

/* The same, for the plan that all changes come by. */
static avm_inlined enum avm_refusal refusal_of(const struct avm_range *r, const struct avm_vma *vma)
{
	return AVM_FAST ? merge_refusal(r, vma) : avm_merge_refusal(r, vma);
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

enum avm_merge avm_merge_plan(struct avm_mm *mm, const struct avm_range *r,
			      const struct avm_vma *prev, const struct avm_vma *next,
			      const struct avm_vma *self)
{
	bool left = prev && prev->end == r->start && !refused(mm, r->start, refusal_of(r, prev));
	bool right = next && next->start == r->end && !refused(mm, r->end, refusal_of(r, next));

	if ((left || right) && self && self->start == r->start && self->end == r->end &&
	    has_close(self)) {
		refused(mm, left ? r->start : r->end, AVM_REFUSED_SPECIAL);
		return AVM_MERGE_NONE;
	}
	if (left && right && refused(mm, r->end, refusal_of_three(prev, next)))
		right = false;
	if (left)
		return right ? AVM_MERGE_BOTH : AVM_MERGE_PREV;
	return right ? AVM_MERGE_NEXT : AVM_MERGE_NONE;
}

/* ---- the operations ------------------------------------------------------------------------------------- */

struct avm_vma *avm_vma_give_away(struct avm_pool *pool, struct avm_vma *vma,
				  const struct avm_range *r, enum avm_merge plan,
				  struct avm_vma *prev, struct avm_vma *next)
{
	struct avm_mm *mm = pool->mm;
	struct part parts[3], *taker;
	unsigned nr = 0;

	/* What is left of vma: above what prev takes, below what next takes, nothing in between. */
	if (vma && plan == AVM_MERGE_NEXT)
		parts[nr++] = (struct part){ vma, vma->start, r->start, false };
	else if (vma)
		parts[nr++] = (struct part){ vma, r->end, vma->end, false };
	taker = &parts[nr];
	if (plan == AVM_MERGE_NEXT)
		parts[nr++] = (struct part){ next, r->start, next->end, false };
	else
		parts[nr++] = (struct part){ prev, prev->start,
					     plan == AVM_MERGE_BOTH ? next->end : r->end, false };
	if (plan == AVM_MERGE_BOTH)
		parts[nr++] = (struct part){ next, next->start, next->start, false };
	relayout(pool, parts, nr, taker);
	avm_count(mm->machine, AVM_EV_MERGE, bury(mm, parts, nr));
	return taker->vma;
}

/* A range between `prev` and `next`, which may be NULL. */
static struct avm_vma *add_between(struct avm_pool *pool, const struct avm_range *r,
				   struct avm_vma *prev, struct avm_vma *next)
{
	enum avm_merge plan = avm_merge_plan(pool->mm, r, prev, next, NULL);
	struct avm_vma *vma;

	if (plan != AVM_MERGE_NONE)
		return avm_vma_give_away(pool, NULL, r, plan, prev, next);
	vma = avm_pool_take(pool, r);
	avm_vma_enter(vma);
	return vma;
}

struct avm_vma *avm_vma_add(struct avm_pool *pool, const struct avm_range *r, struct avm_vma *next)
{
	if (!AVM_FAST || !next) /* behind all, or not looked for */
		next = avm_mm_find(pool->mm, r->start);
	return add_between(pool, r, r->first_of_heap ? NULL : avm_vma_before(pool->mm, next), next);
}

#if AVM_FAST

/* What a VMA that has just come into the set has to do with its file, which mostly is none. */
static avm_inlined void enter_file(struct avm_vma *vma)
{
	if (avm_likely(!vma->file))
		return;
	link_file(vma);
	file_opened(vma);
}

int avm_vma_add_alone(struct avm_mm *mm, const struct avm_range *r)
{
	struct avm_vma *vma = avm_vma_alloc(mm, r);

	if (!vma)
		return -AVM_ENOMEM;
	if (avm_vma_tree_reserve(&mm->vmas, 1)) {
		avm_vma_free(mm, vma);
		return -AVM_ENOMEM;
	}
	(void)avm_vma_lock_begin(vma); /* no fence: see avm_vma_enter() */
	avm_vma_tree_insert_found(&mm->vmas, vma);
	enter_file(vma);
	return 0;
}

#endif

void avm_vma_extend(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t end)
{
	struct avm_range r = avm_range_of(vma, vma->end, end);

	/* R2.2 keeps long chains from being cloned. Here none is: the VMA that grows stays, with its own. */
	r.fork_child = false;
	add_between(pool, &r, vma, avm_vma_next(vma));
}

/* Another part of the VMA, [start, end), which it is to lose (R3.1). */
static avm_small struct part cut(struct avm_pool *pool, const struct avm_vma *vma, avm_addr_t start,
				 avm_addr_t end)
{
	struct avm_range r = avm_range_of(vma, start, end);

	return (struct part){ avm_pool_take(pool, &r), start, end, true };
}

struct avm_vma *avm_vma_carve(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t start,
			      avm_addr_t end)
{
	struct part parts[3] = { { vma, vma->start, vma->end, false } };
	unsigned nr = 1;

	if (start > vma->start) {
		parts[0].end = start;
		parts[nr++] = cut(pool, vma, start, end);
	}
	if (end < vma->end) {
		parts[nr - 1].end = end;
		parts[nr++] = cut(pool, vma, end, vma->end);
	}
	vma = parts[start > vma->start].vma;
	if (nr == 1)
		return vma;
	relayout(pool, parts, nr, NULL);
	for (unsigned i = 1; i < nr; i++)
		file_opened(parts[i].vma);
	avm_count(pool->mm->machine, AVM_EV_SPLIT, nr - 1);
	return vma;
}

struct avm_vma *avm_vma_split(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t addr)
{
	return avm_vma_carve(pool, vma, addr, vma->end);
}

void avm_vma_resize(struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	struct part part = { vma, start, end, false };
	struct avm_pool none = { .mm = vma->mm };

	relayout(&none, &part, 1, &part);
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
	enter_file(vma);
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
	AVM_ASSERT(vma->mm->machine,
		   atomic_load(&vma->write_seq) == atomic_load(&vma->mm->write_seq));
	avm_vma_tree_erase(&vma->mm->vmas, vma);
	if (AVM_FAST && avm_vma_is_plain(vma))
		avm_vma_free(vma->mm, vma);
	else
		avm_vma_release(vma);
}
