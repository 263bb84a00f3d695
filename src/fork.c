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

/* Promises for all that the child will have; 0 or -ENOMEM. */
static int promise(struct avm_mm *child, const struct avm_mm *parent, uint64_t *pages)
{
	const struct avm_vma *vma;

	avm_list_for_each_entry(vma, &parent->vmas.list, struct avm_vma, link)
		if ((vma->flags & (AVM_VM_DONTCOPY | AVM_VM_ACCOUNT)) == AVM_VM_ACCOUNT)
			*pages += avm_vma_pages(vma);
	return avm_commit(child, *pages);
}

/*
 * The copy of a VMA enters the child's set and its file's mappings.
 * In the trees of its file and its family it comes behind its parent, and it is there before it has entries. So who takes the
 * entries of a page away everywhere, truncation say, meets the parent first: what fork has copied by then, he meets in the
 * copy (G-Q).
 */
static void enter(struct avm_vma *copy, uint64_t *done)
{
	if (AVM_FAST)
		avm_vma_enter_last(copy);
	else
		avm_vma_enter(copy);
	avm_mm_account(copy->mm, copy->flags, (int64_t)avm_vma_pages(copy));
	if (copy->flags & AVM_VM_ACCOUNT)
		*done += avm_vma_pages(copy);
}

/* Have both the VMA and its copy the same entries? */
static bool shares_entries(const struct avm_vma *vma)
{
	return !(vma->flags & AVM_VM_WIPEONFORK) && avm_copy_needed(vma);
}

#if AVM_FORK_AT_ONCE

/*
 * Several VMAs at once: all that they need is allocated together, and the step after the next one's is on its way into the
 * cache while this one is done. Most of what fork costs where VMAs are small is waiting for memory: a VMA is three cache lines of
 * the parent, and seven of the child.
 */
struct batch {
	struct avm_mm *child;
	unsigned nr;
	struct avm_copy_pair pairs[AVM_FORK_BATCH]; /* of a child: memory for it */
	struct avm_fork_reserve family;
};

static void batch_init(struct batch *b, struct avm_mm *child)
{
	b->child = child;
	b->nr = 0;
	b->family.avcs = b->family.anon_vmas = (struct avm_fork_stock){ 0 };
	b->family.pool = (struct avm_avc_pool){ 0 };
}

static void prefetch_vma(const struct avm_vma *vma)
{
	__builtin_prefetch(vma, 1);
	__builtin_prefetch(&vma->chain, 1);
}

/* From `vma` on, as many as fit. Returns the one behind them. => the batch is empty. */
static struct avm_vma *batch_gather(struct batch *b, struct avm_fork_need *need,
				    struct avm_vma *vma)
{
	for (; vma && b->nr < AVM_FORK_BATCH; vma = avm_vma_next(vma)) {
		if (vma->flags & AVM_VM_DONTCOPY)
			continue;
		if (!(vma->flags & AVM_VM_WIPEONFORK) && !avm_fork_need_add(need, vma))
			break;
		b->pairs[b->nr++].parent = vma;
	}
	return vma;
}

/* G-S: one fence for all. */
static void batch_lock(const struct batch *b)
{
	for (unsigned i = 0; i < b->nr; i++)
		(void)avm_vma_lock_begin(b->pairs[i].parent);
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < b->nr; i++)
		avm_vma_lock_end(b->pairs[i].parent);
}

/* *next and those behind it, locked, and with memory for their copies. 0; or -ENOMEM, and the batch is empty. */
static int batch_begin(struct batch *b, struct avm_vma **next)
{
	struct avm *m = b->child->machine;
	struct avm_fork_need need = { 0 };
	void *objects[AVM_FORK_BATCH];
	unsigned nr;

	*next = batch_gather(b, &need, *next);
	nr = b->nr;
	if (!nr)
		return 0;
	batch_lock(b);
	b->nr = 0;
	if (avm_fork_reserve_fill(m, &b->family, &need) ||
	    !avm_cache_alloc_bulk(m, &m->vmas, nr, objects))
		return -AVM_ENOMEM;
	b->nr = nr;
	for (unsigned i = 0; i < nr; i++)
		b->pairs[i].child = objects[i];
	return 0;
}

/* Memory that has not been used. */
static void batch_drain(struct batch *b)
{
	struct avm *m = b->child->machine;

	while (b->nr)
		avm_cache_free(m, &m->vmas, b->pairs[--b->nr].child);
	avm_fork_reserve_drain(m, &b->family);
}

/* What the i-th copy of a batch looks at and writes to. */
static void batch_prefetch(const struct batch *b, unsigned i)
{
	if (i >= b->nr)
		return;
	prefetch_vma(b->pairs[i].child);
	avm_fork_reserve_prefetch(&b->family, b->pairs[i].parent, i);
}

/*
 * Copies the VMAs, and then their entries. `then` is prefetched, and what comes behind that, from `ahead` on. 0 or -ENOMEM; the
 * batch is empty.
 */
static int batch_copy(struct batch *b, const struct batch *then, struct avm_vma *ahead,
		      uint64_t *done)
{
	unsigned nr = b->nr, shared = 0;

	b->nr = 0;
	for (unsigned i = 0; i < nr; i++) {
		struct avm_copy_pair pair = b->pairs[i];

		batch_prefetch(then, i);
		avm_vma_make_copy(pair.child, b->child, pair.parent, NOT_INHERITED);
		if (!(pair.parent->flags & AVM_VM_WIPEONFORK))
			avm_family_fork_reserved(pair.child, pair.parent, &b->family);
		enter(pair.child, done);
		if (shares_entries(pair.parent))
			b->pairs[shared++] = pair;
		if (ahead) {
			ahead = avm_vma_next(ahead);
			if (ahead)
				prefetch_vma(ahead);
		}
	}
	return shared ? avm_copy_entries(b->pairs, shared) : 0;
}

/* 0 or -ENOMEM with part of it done. *done: pages of the promise that are in the child's VMAs. */
static int copy_vmas(struct avm_mm *child, struct avm_mm *parent, uint64_t *done)
{
	struct batch batches[2], *now = &batches[0], *then = &batches[1];
	struct avm_vma *next = avm_vma_tree_first(&parent->vmas);
	int err;

	batch_init(now, child);
	batch_init(then, child);
	err = batch_begin(now, &next);
	while (!err && now->nr) {
		struct batch *done_with = now;

		err = batch_begin(then, &next);
		if (!err)
			err = batch_copy(now, then, next, done);
		now = then;
		then = done_with;
	}
	batch_drain(now);
	batch_drain(then);
	return err;
}

#else

/* One VMA; NULL: no memory, nothing is left. */
static struct avm_vma *copy_vma(struct avm_mm *child, struct avm_vma *vma)
{
	struct avm_range r = avm_range_of(vma, vma->start, vma->end);
	struct avm_vma *copy;

	r.flags &= ~NOT_INHERITED;
	copy = avm_vma_alloc(child, &r);
	if (copy && !(vma->flags & AVM_VM_WIPEONFORK) && avm_family_fork(copy, vma)) {
		avm_vma_free(child, copy);
		return NULL;
	}
	return copy;
}

/* 0 or -ENOMEM with part of it done. *done: pages of the promise that are in the child's VMAs. */
static int copy_vmas(struct avm_mm *child, struct avm_mm *parent, uint64_t *done)
{
	struct avm_vma *vma;

	avm_list_for_each_entry(vma, &parent->vmas.list, struct avm_vma, link) {
		struct avm_copy_pair pair = { .parent = vma };

		if (vma->flags & AVM_VM_DONTCOPY)
			continue;
		avm_vma_lock(vma);
		pair.child = copy_vma(child, vma);
		if (!pair.child)
			return -AVM_ENOMEM;
		enter(pair.child, done);
		if (shares_entries(vma) && avm_copy_entries(&pair, 1))
			return -AVM_ENOMEM;
	}
	return 0;
}

#endif

/* => both mmap_locks write. 0, or -ENOMEM with an empty child and nothing promised. */
static int fork_locked(struct avm_mm *parent, struct avm_mm *child)
{
	bool ask = avm_commit_refuses(parent->machine);
	uint64_t promised = 0, done = 0;
	int err = ask ? promise(child, parent, &promised) : 0;

	if (err)
		return err;
	avm_notify_start(parent, 0, parent->task_size);
	if (AVM_FAST)
		err = avm_vma_tree_begin(&child->vmas, (uint32_t)parent->vmas.count);
	else
		err = avm_vma_tree_reserve(&child->vmas, (uint32_t)parent->vmas.count);
	if (!err)
		err = copy_vmas(child, parent, &done);
	if (!ask) {
		avm_recommit(child, done);
		promised = done;
	}
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
