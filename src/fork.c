/* SPDX-License-Identifier: MIT */
/*
 * fork.c - address spaces: an empty one, and a copy-on-write copy of one (R9.1).
 *
 * VMA by VMA: the copy joins its file's mappings and its parent's family, enters the child's set, and gets the
 * parent's entries, private pages being write-protected in both. A failure anywhere empties the child again, which is
 * the same work as exit; the parent has lost nothing but write permission in entries that a fault gives back.
 */
#include "commit.h"
#include "copy.h"
#include "exit.h"
#include "file.h"
#include "mm.h"
#include "mmu_gather.h"
#include "page.h"
#include "reclaim.h"
#include "slab.h"
#include "vma.h"

#define NOT_INHERITED (AVM_VM_LOCKED | AVM_VM_LOCKONFAULT)

/*
 * Promises for all that the child will have; 0 or -ENOMEM. *vmas: how many VMAs that is. Begins to lock them: all have the
 * fence at the end (G-S).
 */
static int promise(struct avm_mm *child, struct avm_mm *parent, uint64_t *pages, uint32_t *vmas)
{
	struct avm_vma *vma;

	*pages = 0;
	*vmas = 0;
	avm_list_for_each_entry(vma, &parent->vmas.list, struct avm_vma, link) {
		if (vma->flags & AVM_VM_DONTCOPY)
			continue;
		if (AVM_FAST)
			(void)avm_vma_lock_begin(vma);
		(*vmas)++;
		if (vma->flags & AVM_VM_ACCOUNT)
			*pages += avm_vma_pages(vma);
	}
	if (AVM_FAST)
		atomic_thread_fence(memory_order_seq_cst);
	return avm_commit(child, *pages);
}

/* VMAs whose objects are allocated together, and whose entries are copied while what is known of them is still in the cache. */
#define BATCH (AVM_FAST ? AVM_FORK_BATCH : 1u)

/* What the next VMAs need. */
struct reserve {
	struct avm_mm *child;
#if AVM_FAST
	unsigned next, end; /* for so many VMAs there is all that they need */
	void *vmas[BATCH];
	struct avm_fork_reserve family;
#endif
};

#if AVM_FAST

static bool reserve_is_empty(const struct reserve *r)
{
	return r->next == r->end;
}

/*
 * For `vma` and those behind it that the child will have. 0, or -ENOMEM. What they look at first is on its way into the cache
 * then. => there is nothing left for VMAs; those of the parent stay as they are.
 */
static int reserve_fill(struct reserve *r, const struct avm_vma *vma)
{
	struct avm *m = r->child->machine;
	struct avm_fork_need need = { 0 };
	unsigned nr = 0;

	for (; vma && nr < BATCH; vma = avm_vma_next(vma)) {
		if (vma->flags & AVM_VM_DONTCOPY)
			continue;
		nr++;
		if (vma->flags & AVM_VM_WIPEONFORK)
			continue;
		avm_fork_need_add(&need, vma);
		__builtin_prefetch(vma->chain.next, 1);
		__builtin_prefetch(avm_vma_anon(vma), 1);
	}
	if (avm_fork_reserve_fill(m, &r->family, &need) ||
	    !avm_cache_alloc_bulk(m, &m->vmas, nr, r->vmas))
		return -AVM_ENOMEM;
	r->next = 0;
	r->end = nr;
	return 0;
}

static void reserve_drain(struct reserve *r)
{
	while (r->next < r->end)
		avm_vma_free(r->child, r->vmas[r->next++]);
	avm_fork_reserve_drain(r->child->machine, &r->family);
}

/* The VMA, in its file's mappings and its family. => something is reserved for it. */
static struct avm_vma *make_copy(struct reserve *r, const struct avm_range *range,
				 struct avm_vma *vma)
{
	struct avm_vma *copy = avm_vma_make(r->vmas[r->next++], r->child, range);

	if (!(vma->flags & AVM_VM_WIPEONFORK))
		avm_family_fork_reserved(copy, vma, &r->family);
	return copy;
}

#else

static inline bool reserve_is_empty(const struct reserve *r)
{
	return !r;
}

static inline int reserve_fill(struct reserve *r, const struct avm_vma *vma)
{
	(void)r;
	(void)vma;
	return 0;
}

static inline void reserve_drain(struct reserve *r)
{
	(void)r;
}

static struct avm_vma *make_copy(struct reserve *r, const struct avm_range *range,
				 struct avm_vma *vma)
{
	struct avm_vma *copy = avm_vma_alloc(r->child, range);

	if (copy && !(vma->flags & AVM_VM_WIPEONFORK) && avm_family_fork(copy, vma)) {
		avm_vma_free(r->child, copy);
		return NULL;
	}
	return copy;
}

#endif

/*
 * The VMA alone: in the child's set, its file's mappings and its family. NULL: no memory, nothing is left.
 * In those trees the copy comes behind its parent, and it is there before it has entries. So who takes the entries of
 * a page away everywhere, truncation say, meets the parent first: what fork has copied by then, he meets in the copy (G-Q).
 */
static struct avm_vma *copy_vma(struct reserve *r, struct avm_vma *vma)
{
	struct avm_range range = avm_range_of(vma, vma->start, vma->end);
	struct avm_vma *copy;

	range.flags &= ~NOT_INHERITED;
	copy = make_copy(r, &range, vma);
	if (!copy)
		return NULL;
	if (AVM_FAST)
		avm_vma_enter_last(copy);
	else
		avm_vma_enter(copy);
	avm_mm_account(r->child, copy->flags, (int64_t)avm_vma_pages(copy));
	return copy;
}

/* What copying the next VMA, and the one behind it, looks at first: of that one what leads further. */
static void prefetch_next(const struct avm_vma *vma)
{
	const struct avm_vma *next = avm_vma_next(vma);
	const struct avm_vma *behind = next ? avm_vma_next(next) : NULL;

	if (!AVM_FAST || !behind)
		return;
	__builtin_prefetch(behind);
	__builtin_prefetch(&behind->chain);
	__builtin_prefetch(next->chain.next, 1);
	__builtin_prefetch(avm_vma_anon(next), 1);
}

/* 0 or -ENOMEM with part of it done. *done: pages of the promise that are in the child's VMAs. */
static int copy_vmas(struct reserve *r, struct avm_mm *parent, uint64_t *done)
{
	struct avm_copy_pair pairs[BATCH];
	struct avm_vma *vma;
	unsigned nr = 0;

	avm_list_for_each_entry(vma, &parent->vmas.list, struct avm_vma, link) {
		struct avm_vma *copy;

		if (vma->flags & AVM_VM_DONTCOPY)
			continue;
		if (AVM_FAST)
			avm_vma_lock_end(vma);
		else
			avm_vma_lock(vma);
		if (reserve_is_empty(r) && reserve_fill(r, vma))
			return -AVM_ENOMEM;
		prefetch_next(vma);
		copy = copy_vma(r, vma);
		if (!copy)
			return -AVM_ENOMEM;
		if (copy->flags & AVM_VM_ACCOUNT)
			*done += avm_vma_pages(copy);
		if ((vma->flags & AVM_VM_WIPEONFORK) || !avm_copy_needed(vma))
			continue;
		pairs[nr++] = (struct avm_copy_pair){ copy, vma };
		if (nr < BATCH)
			continue;
		if (avm_copy_entries(pairs, nr))
			return -AVM_ENOMEM;
		nr = 0;
	}
	return nr ? avm_copy_entries(pairs, nr) : 0;
}

/* => both mmap_locks write. 0, or -ENOMEM with an empty child and nothing promised. */
static int fork_locked(struct avm_mm *parent, struct avm_mm *child)
{
	struct reserve r = { .child = child };
	uint64_t promised, done = 0;
	uint32_t vmas;
	int err = promise(child, parent, &promised, &vmas);

	if (err)
		return err;
	avm_notify_start(parent, 0, parent->task_size);
	if (AVM_FAST)
		err = avm_vma_tree_begin(&child->vmas, vmas);
	else
		err = avm_vma_tree_reserve(&child->vmas, vmas);
	if (!err)
		err = copy_vmas(&r, parent, &done);
	reserve_drain(&r);
	if (AVM_FAST)
		avm_vma_tree_finish(&child->vmas);
	avm_vma_tree_trim(&child->vmas);
	/* Also after a failure: entries of the parent may have been write-protected (R12). */
	avm_tlb_flush(parent, 0, parent->task_size);
	avm_notify_end(parent, 0, parent->task_size);
	if (!err) {
		child->brk_start = parent->brk_start;
		child->brk = parent->brk;
		return 0;
	}
	avm_mm_empty(child); /* takes back the promises in its VMAs */
	avm_uncommit(child, promised - done);
	return err;
}

int avm_mm_init(struct avm *m, struct avm_mm *mm, const struct avm_mm_config *config)
{
	struct avm_retry retry = avm_retry_begin(m);
	int err;

	do {
		err = avm_mm_setup(m, mm, config, NULL);
	} while (err == -AVM_ENOMEM && avm_retry(&retry, m, NULL));
	return err;
}

static int fork_once(struct avm_mm *parent, struct avm_mm *child,
		     const struct avm_mm_config *config)
{
	int err = avm_mm_setup(parent->machine, child, config, parent);

	if (err)
		return err;
	err = avm_mmap_write_lock(parent);
	if (!err) {
		avm_mmap_write_lock_always(child, true);
		err = fork_locked(parent, child);
		avm_mmap_write_unlock(child);
		avm_mmap_write_unlock(parent);
	}
	if (err) {
		avm_mm_destroy(child);
		return err;
	}
	/* From here on others find it (avm_mm_tryget), whole (G-O). */
	atomic_fetch_add_explicit(&child->users, 1, memory_order_release);
	avm_count(parent->machine, AVM_EV_FORK, 1);
	return 0;
}

int avm_mm_fork(struct avm_mm *parent, struct avm_mm *child, const struct avm_mm_config *config)
{
	struct avm_retry retry = avm_retry_begin(parent->machine);
	int err;

	do {
		err = fork_once(parent, child, config);
	} while (err == -AVM_ENOMEM && avm_retry(&retry, parent->machine, parent));
	return err;
}
