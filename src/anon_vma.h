/* SPDX-License-Identifier: MIT */
/*
 * anon_vma.h - families: who may map an anonymous page (R4, R5, R6).
 *
 * The rest of the core knows families only through the functions below, so that another design can stand in
 * for this one. A family is told of VMAs; it never looks for them.
 *
 *	of VMAs:  prepare, refusal, reserve + clone, fork, unlink		(merge and move: src/vma.c calls
 *		  family_detach / family_attach around every change of a VMA's range, R3.3)
 *	of pages: place, release; resolve (page -> locked live family), walk
 */
#ifndef AVM_ANON_VMA_H
#define AVM_ANON_VMA_H

#include "anonvm/mm.h"
#include "anonvm/page.h"
#include "avm_arch.h"
#include "error.h"
#include "interval_tree.h"
#include "list.h"
#include "lock.h"

/*
 * Where the mapping of an anonymous page points to; the set of VMAs that may map the page. Type-stable
 * (docs/locking.md): `lock` and `tree` are initialised when the memory enters the cache and not again; the tree of a
 * free object is empty, but its lock may be held for a moment by a stale walker, who then finds that `root`, the
 * page's mapping or its mapcount has changed and lets go (R6).
 *   root, refcount: atomic. parent: constant while the tree is not empty. The rest: under root->lock write.
 */
struct avm_anon_vma {
	struct avm_anon_vma *_Atomic root; /* oldest of the family; itself, for a root */
	struct avm_anon_vma *parent; /* itself, for a root; not read once the tree is empty */
	struct avm_rwsem lock; /* order 5; used in the root only, covers the whole family */
	_Atomic uint32_t refcount; /* R4.5 */
	uint32_t num_children; /* R4.3: children with a tree that is not empty; + 1 for a root */
	uint32_t num_active_vmas; /* VMAs whose own anon_vma this is */
	struct avm_itree tree; /* of avm_anon_vma_chain.node, by page range of the VMA */
	uint64_t id; /* for people; new at each allocation, so it is the generation as well */
};

/* One edge (VMA, anon_vma): one cache line. */
struct avm_anon_vma_chain {
	struct avm_inode node; /* in anon_vma->tree; family lock */
	struct avm_list same_vma; /* on vma->chain, newest first, root last; see vma.h */
	struct avm_vma *vma;
	struct avm_anon_vma *anon_vma;
};
_Static_assert(sizeof(void *) != 8 || sizeof(struct avm_anon_vma_chain) == 64, "one cache line");

/* First and last page index of a VMA (R1.2). */
static inline uint64_t avm_vma_first_index(const struct avm_vma *vma)
{
	return vma->pgoff;
}

static inline uint64_t avm_vma_last_index(const struct avm_vma *vma)
{
	return vma->pgoff + ((vma->end - vma->start) >> AVM_PAGE_SHIFT) - 1;
}

static inline uint64_t avm_avc_first(const struct avm_anon_vma_chain *avc)
{
	return avm_vma_first_index(avc->vma);
}

static inline uint64_t avm_avc_last(const struct avm_anon_vma_chain *avc)
{
	return avm_vma_last_index(avc->vma);
}

/* anon_vma->tree: avm_family_tree_insert(), _remove(), _iter_first(), _iter_next(), _check(). */
AVM_ITREE_DEFINE(avm_family_tree, struct avm_anon_vma_chain, node, avm_avc_first, avm_avc_last);

/* Acquire: it is complete, and on the chain (G-C). */
AVM_ONE_STEP struct avm_anon_vma *avm_vma_anon(const struct avm_vma *vma)
{
	return atomic_load_explicit(&vma->anon_vma, memory_order_acquire);
}

/*
 * A walker of the reverse map looks at the flags with the tree's lock, which a change of flags alone does not take: it may
 * find the old ones or the new ones. Everybody else reads them plainly, under mmap_lock.
 */
AVM_ONE_STEP uint64_t avm_vma_peek_flags(const struct avm_vma *vma)
{
	return atomic_load_explicit((const _Atomic uint64_t *)&vma->flags, memory_order_relaxed);
}

AVM_ONE_STEP void avm_vma_set_flags(struct avm_vma *vma, uint64_t flags)
{
	atomic_store_explicit((_Atomic uint64_t *)&vma->flags, flags, memory_order_relaxed);
}

AVM_ONE_STEP struct avm_anon_vma *avm_family_root(const struct avm_anon_vma *av)
{
	return atomic_load_explicit(&av->root, memory_order_relaxed);
}

/* R2.2: faulted, with more than one entry on its chain. */
static inline bool avm_vma_is_fork_child(const struct avm_vma *vma)
{
	return avm_vma_anon(vma) && atomic_load_explicit(&vma->chain_len, memory_order_relaxed) > 1;
}

void avm_family_init(struct avm *m); /* the caches */

/* A new one, that nobody knows: a root with no member. One reference, for the tree that is about to be filled (R4.5). */
static inline void avm_anon_vma_set(struct avm_anon_vma *av, uint64_t id)
{
	av->parent = av;
	av->num_children = 1; /* itself: so that a root with a live child is never reused (R4.3) */
	av->num_active_vmas = 0;
	av->id = id;
	atomic_store_explicit(&av->root, av, memory_order_relaxed);
	atomic_store_explicit(&av->refcount, 1, memory_order_relaxed);
}

/* ---- VMAs ------------------------------------------------------------------------------------------ */

/*
 * R4.1: gives an unfaulted VMA an anon_vma. 0 or -ENOMEM (unchanged).
 * => mmap_lock held, any mode; no lock of order 3b or below. Sleeps.
 */
int avm_family_prepare(struct avm_vma *vma);

/*
 * R2.2 for two anon_vmas, of which `a_child`, `b_child` say whether their VMA is a fork child: what keeps them apart, or
 * AVM_NR_REFUSALS.
 */
enum avm_refusal avm_family_refusal(const struct avm_anon_vma *a, bool a_child,
				    const struct avm_anon_vma *b, bool b_child);

/* Chain entries allocated before any lock is taken, to be drawn from where nothing may fail (R4.2). */
struct avm_avc_pool { /* begins as zero */
	struct avm_list *first; /* by same_vma.next */
	uint64_t nr;
};

int avm_avc_pool_fill(struct avm *m, struct avm_avc_pool *pool,
		      uint64_t nr); /* adds; -ENOMEM: adds none */
void avm_avc_pool_drain(struct avm *m, struct avm_avc_pool *pool);

static inline struct avm_anon_vma_chain *avm_avc_pool_take(struct avm_avc_pool *pool)
{
	struct avm_list *first = pool->first;

	if (!first) /* never: callers look at pool->nr; told to who reads the code without them */
		__builtin_unreachable();
	pool->first = first->next;
	pool->nr--;
	return avm_list_entry(first, struct avm_anon_vma_chain, same_vma);
}

static inline void avm_avc_pool_put(struct avm_avc_pool *pool, struct avm_anon_vma_chain *avc)
{
	avc->same_vma.next = pool->first;
	pool->first = &avc->same_vma;
	pool->nr++;
}

/* The family lock of a faulted VMA; nothing for an unfaulted one. */
void avm_family_lock_vma(struct avm_vma *vma);
void avm_family_unlock_vma(struct avm_vma *vma);

/*
 * => family lock write. Takes all of a VMA's entries out of their trees, puts them back: around every change of
 *    start, end or pgoff (R3.3). Nothing for an unfaulted VMA.
 */
void avm_family_detach(struct avm_vma *vma);
void avm_family_attach(struct avm_vma *vma);

/*
 * R4.2: dst (unfaulted) gets src's anon_vma and its chain in the same order, from the pool (src->chain_len
 * entries). Entries enter the trees: dst's range must be final. => family lock write. Cannot fail.
 */
void avm_family_clone(struct avm_vma *dst, struct avm_vma *src, struct avm_avc_pool *pool);

/*
 * R4.3: the family side of fork for a child VMA, unfaulted, in its final place. Nothing if the parent VMA is
 * unfaulted. 0 or -ENOMEM: the child is unfaulted and nothing is linked.
 * => mmap_lock write of both. Sleeps.
 */
int avm_family_fork(struct avm_vma *child, struct avm_vma *parent);

/*
 * The same where speed is asked for, for several VMAs one after another: first what they need is added up, then the reserve is
 * filled, which may fail and adds nothing then, or adds chain entries alone; then each draws from it, which cannot fail. What is left
 * serves the next ones, and is drained at the end.
 * => mmap_lock write of both: chains stay as they are. Sleeps.
 */
#define AVM_FORK_AT_ONCE AVM_FAST
#define AVM_FORK_BATCH 16u /* at most so many VMAs are reserved for at once, */
#define AVM_FORK_AVCS 48u /* with so many chain entries; but one VMA may need more */

struct avm_fork_need { /* begins as zero */
	uint64_t avcs;
	unsigned anon_vmas;
};

/* Objects that are to be drawn, in the order of the cache. They are not touched before: they are on their way here. */
struct avm_fork_stock {
	uint16_t next, end;
};

struct avm_fork_reserve { /* begins empty */
	struct avm_fork_stock avcs, anon_vmas;
	uint64_t id; /* of the next anon_vma */
	struct avm_avc_pool pool; /* of more chain entries than fit here */
	void *avc[AVM_FORK_AVCS];
	void *anon_vma[AVM_FORK_BATCH];
};

/* The chain entries for one VMA into the pool, if they are not there already, as those of a long chain are. */
void avm_fork_reserve_draw(struct avm_fork_reserve *r, uint32_t n);
/* What is left of them, which is one at most. */
void avm_fork_reserve_put_back(struct avm *m, struct avm_fork_reserve *r);

/* False, with nothing added: this VMA's needs are too many, or to be met alone. */
bool avm_fork_need_add(struct avm_fork_need *need, const struct avm_vma *parent);
int avm_fork_reserve_fill(struct avm *m, struct avm_fork_reserve *r,
			  const struct avm_fork_need *need);
void avm_fork_reserve_prefetch(const struct avm_fork_reserve *r, const struct avm_vma *parent,
			       unsigned i);
void avm_fork_reserve_drain(struct avm *m, struct avm_fork_reserve *r);
void avm_family_fork_reserved(struct avm_vma *child, struct avm_vma *parent,
			      struct avm_fork_reserve *r);

/* R4.4: the VMA leaves its family. Takes the family lock. => mmap_lock write. Cannot fail. */
void avm_family_unlink(struct avm_vma *vma);

/*
 * R3.4: of two VMAs with equal chains, `gone`, already detached, goes. => family lock write. The entries go to
 * the pool, to be drained by the caller after the lock.
 */
void avm_family_drop(struct avm_vma *gone, struct avm_avc_pool *pool);

/* ---- pages ----------------------------------------------------------------------------------------- */

enum avm_placement {
	AVM_PLACE_OWN, /* R5.2: on the VMA's own anon_vma: nobody else sees the page */
	AVM_PLACE_SHARED, /* R5.3: on the root, the last one to go */
};

/*
 * Sets mapping and index of a page about to be mapped at addr in a faulted VMA (R5.1).
 * => the page is new and private, or locked.
 */
void avm_family_place(struct avm_page *page, struct avm_vma *vma, avm_addr_t addr,
		      enum avm_placement how);

/* ---- from a page to its family (R6, R7) --------------------------------------------------------------- */

enum avm_resolve_mode {
	AVM_RESOLVE_WAIT, /* sleep for the lock */
	AVM_RESOLVE_TRY, /* -EBUSY when it is contended */
};

/*
 * R6: the live anon_vma that the page's mapping names, with its family locked for read.
 * Returns 0 and *out; -ENOENT: not anonymous, not mapped, or the family is gone; -EBUSY.
 */
int avm_family_resolve(struct avm *m, struct avm_page *page, enum avm_resolve_mode mode,
		       struct avm_anon_vma **out);
void avm_family_unlock_read(struct avm *m, struct avm_anon_vma *av);

/* Keeps an anon_vma alive over a stretch without lock (migration, KSM); what is kept may be locked again. */
void avm_family_lock_read(struct avm *m, struct avm_anon_vma *av);
void avm_anon_vma_get(struct avm_anon_vma *av);
void avm_anon_vma_put(struct avm *m, struct avm_anon_vma *av);

#endif
