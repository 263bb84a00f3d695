/* SPDX-License-Identifier: MIT */
/*
 * anon_vma.c - families: which VMAs may map an anonymous page (R4, R5, R6).
 *
 * An anonymous page points to one anon_vma; the anon_vma's interval tree holds one entry (AVC) for each VMA in
 * which the page can be mapped. A VMA is in the trees of its own anon_vma and of all its ancestors', because it
 * may still map pages that were made before the forks; those entries are its chain:
 *
 *	VMA of the grandchild   chain:  [own] -> [parent's] -> [root]
 *	VMA of the child        chain:		 [own]      -> [root]
 *	VMA of the first one    chain:			       [own = root]
 *
 * New pages go on the own anon_vma, so that a walk from a page of the grandchild visits nobody else. The order of
 * the chain (newest first, root last) is an invariant (V11), because "the last entry" must mean "the one that goes
 * last": pages that several processes may map are placed there (R5.3).
 *
 * One rw lock per family, in the root, covers all trees, counters and links of the family.
 */
#include "anon_vma.h"

#include "page.h"
#include "slab.h"

static void anon_vma_ctor(void *object)
{
	struct avm_anon_vma *av = object;

	atomic_init(&av->root, NULL);
	atomic_init(&av->refcount, 0);
	atomic_init(&av->lock.word, 0);
	avm_itree_init(&av->tree);
}

void avm_family_init(struct avm *m)
{
	avm_cache_init(&m->anon_vmas, "anon_vma", sizeof(struct avm_anon_vma),
		       AVM_CACHE_TYPE_STABLE, anon_vma_ctor);
	avm_cache_init(&m->avcs, "anon_vma_chain", sizeof(struct avm_anon_vma_chain),
		       AVM_CACHE_PLAIN, NULL);
}

/* ---- one anon_vma -------------------------------------------------------------------------------- */

/* A root with no member and an empty tree; one reference, for the tree that is about to be filled (R4.5). */
static struct avm_anon_vma *anon_vma_alloc(struct avm *m)
{
	struct avm_anon_vma *av = avm_cache_alloc(m, &m->anon_vmas);

	if (av)
		avm_anon_vma_set(av,
				 atomic_fetch_add_explicit(&m->next_id, 1, memory_order_relaxed));
	return av;
}

void avm_anon_vma_get(struct avm_anon_vma *av)
{
	atomic_fetch_add_explicit(&av->refcount, 1, memory_order_relaxed);
}

void avm_anon_vma_put(struct avm *m, struct avm_anon_vma *av)
{
	/* A member holds its root, and a root holds nobody: at most two rounds. */
	while (atomic_fetch_sub_explicit(&av->refcount, 1, memory_order_acq_rel) == 1) {
		struct avm_anon_vma *root = avm_family_root(av);

		AVM_ASSERT(m, avm_itree_empty(&av->tree));
		/* R4.4: given up after the lock. A stale walker may hold it, for read only (R6). */
		AVM_ASSERT(m, !(atomic_load_explicit(&av->lock.word, memory_order_relaxed) &
				AVM_RW_WRITER));
		avm_cache_free(m, &m->anon_vmas, av);
		if (root == av)
			return;
		av = root;
	}
}

/* ---- the family lock ------------------------------------------------------------------------------ */

/* Waits are not given up here: every caller is past the point where it could fail. */
static avm_small void family_lock(struct avm *m, struct avm_anon_vma *root)
{
	if (!AVM_FAST)
		avm_rw_write_always(m, &root->lock, AVM_LOCK_FAMILY);
	while (AVM_FAST && avm_rw_write(m, &root->lock, AVM_LOCK_FAMILY))
		;
}

static avm_small void family_unlock(struct avm *m, struct avm_anon_vma *root)
{
	avm_rw_unlock_write(m, &root->lock, AVM_LOCK_FAMILY);
}

void avm_family_lock_vma(struct avm_vma *vma)
{
	struct avm_anon_vma *av = avm_vma_anon(vma);

	if (av)
		family_lock(vma->mm->machine, avm_family_root(av));
}

void avm_family_unlock_vma(struct avm_vma *vma)
{
	struct avm_anon_vma *av = avm_vma_anon(vma);

	if (av)
		family_unlock(vma->mm->machine, avm_family_root(av));
}

static inline __attribute__((unused)) bool is_held(const struct avm_anon_vma *av)
{
	return atomic_load_explicit(&av->refcount, memory_order_relaxed);
}

/* => somebody holds av: it was pinned, or an item names it (gallery 11). */
void avm_family_lock_read(struct avm *m, struct avm_anon_vma *av)
{
	AVM_ASSERT(m, is_held(av));
	avm_rw_read_always(m, &avm_family_root(av)->lock, AVM_LOCK_FAMILY);
}

void avm_family_unlock_read(struct avm *m, struct avm_anon_vma *av)
{
	avm_rw_unlock_read(m, &avm_family_root(av)->lock, AVM_LOCK_FAMILY);
}

/* ---- chains ---------------------------------------------------------------------------------------- */

static avm_small void pool_trim(struct avm *m, struct avm_avc_pool *pool, uint64_t keep)
{
	while (pool->nr > keep)
		avm_cache_free(m, &m->avcs, avm_avc_pool_take(pool));
}

#if !AVM_FAST /* else anon_vma_fork.c has another */

int avm_avc_pool_fill(struct avm *m, struct avm_avc_pool *pool, uint64_t nr)
{
	uint64_t before = pool->nr;

	while (pool->nr < before + nr) {
		struct avm_anon_vma_chain *avc = avm_cache_alloc(m, &m->avcs);

		if (!avc) {
			pool_trim(m, pool, before);
			return -AVM_ENOMEM;
		}
		avm_avc_pool_put(pool, avc);
	}
	return 0;
}

#endif

void avm_avc_pool_drain(struct avm *m, struct avm_avc_pool *pool)
{
	pool_trim(m, pool, 0);
}

static void chain_len_add(struct avm_vma *vma, uint32_t n)
{
	uint32_t len = atomic_load_explicit(&vma->chain_len, memory_order_relaxed);

	atomic_store_explicit(&vma->chain_len, len + n, memory_order_relaxed);
}

/*
 * Makes the edge (vma, av): into the tree, behind `equal` if there is one, and onto the chain behind `after`.
 * => family lock write.
 */
static void link_edge(struct avm_anon_vma_chain *avc, struct avm_vma *vma, struct avm_anon_vma *av,
		      struct avm_list *after, struct avm_anon_vma_chain *equal)
{
	avc->vma = vma;
	avc->anon_vma = av;
	avm_list_add(&avc->same_vma, after);
	avm_family_tree_insert_behind(&av->tree, avc, equal);
	chain_len_add(vma, 1);
}

/* `av` becomes the VMA's own. => family lock write. Publishes: what it points to is complete (G-C). */
AVM_ONE_STEP void set_own(struct avm_vma *vma, struct avm_anon_vma *av)
{
	av->num_active_vmas++;
	atomic_store_explicit(&vma->anon_vma, av, memory_order_release);
}

/* The VMA's chain is gone. A fork that failed may not have given it an anon_vma of its own. => family lock write. */
static void leave_own(struct avm_vma *vma)
{
	if (avm_vma_anon(vma))
		avm_vma_anon(vma)->num_active_vmas--;
	atomic_store_explicit(&vma->anon_vma, NULL, memory_order_relaxed);
	atomic_store_explicit(&vma->chain_len, 0, memory_order_relaxed);
}

void avm_family_detach(struct avm_vma *vma)
{
	struct avm_anon_vma_chain *avc;

	avm_list_for_each_entry(avc, &vma->chain, struct avm_anon_vma_chain, same_vma)
		avm_family_tree_remove(&avc->anon_vma->tree, avc);
}

void avm_family_attach(struct avm_vma *vma)
{
	struct avm_anon_vma_chain *avc;

	avm_list_for_each_entry(avc, &vma->chain, struct avm_anon_vma_chain, same_vma)
		avm_family_tree_insert(&avc->anon_vma->tree, avc);
}

/*
 * Entry for entry, in the same order: appended, so that the root stays last (gallery 05). What fork copies has the same
 * range as the original, beside which it is put: in the tree of each of many ancestors that is one step, not log n.
 */
static void clone_chain(struct avm_vma *dst, struct avm_vma *src, struct avm_avc_pool *pool)
{
	bool fork = dst->mm != src->mm;
	struct avm_anon_vma_chain *avc;

	avm_list_for_each_entry(avc, &src->chain, struct avm_anon_vma_chain, same_vma)
		link_edge(avm_avc_pool_take(pool), dst, avc->anon_vma, dst->chain.prev,
			  fork ? avc : NULL);
}

void avm_family_clone(struct avm_vma *dst, struct avm_vma *src, struct avm_avc_pool *pool)
{
	AVM_ASSERT(dst->mm->machine, avm_list_empty(&dst->chain) && avm_vma_anon(src));
	AVM_BUG_ON(dst->mm->machine,
		   pool->nr < atomic_load_explicit(&src->chain_len, memory_order_relaxed));
	clone_chain(dst, src, pool);
	set_own(dst, avm_vma_anon(src)); /* gallery 15 */
}

void avm_family_drop(struct avm_vma *gone, struct avm_avc_pool *pool)
{
	while (!avm_list_empty(&gone->chain)) {
		struct avm_anon_vma_chain *avc =
			avm_list_first(&gone->chain, struct avm_anon_vma_chain, same_vma);

		avm_list_unlink(&avc->same_vma);
		avm_avc_pool_put(pool, avc);
	}
	leave_own(gone);
}

/* R4.4. Newest first: a child's tree empties before its parent's, whose counter it lowers (R4.5). */
void avm_family_unlink(struct avm_vma *vma)
{
	struct avm *m = vma->mm->machine;
	struct avm_anon_vma_chain *avc, *next;
	struct avm_anon_vma *root;
	struct avm_list idle;

	if (avm_list_empty(&vma->chain))
		return;
	avm_list_init(&idle);
	avc = avm_list_first(&vma->chain, struct avm_anon_vma_chain, same_vma);
	root = avm_family_root(avc->anon_vma);
	family_lock(m, root);
	avm_list_for_each_entry_safe(avc, next, &vma->chain, struct avm_anon_vma_chain, same_vma) {
		struct avm_anon_vma *av = avc->anon_vma;

		avm_family_tree_remove(&av->tree, avc);
		avm_list_del(&avc->same_vma);
		if (avm_itree_empty(&av->tree)) {
			av->parent->num_children--;
			avm_list_add_tail(&avc->same_vma, &idle);
			continue;
		}
		avm_cache_free(m, &m->avcs, avc);
	}
	leave_own(vma);
	family_unlock(m, root);

	/* The root, if it is among them, comes last: its lock was ours until a moment ago. */
	avm_list_for_each_entry_safe(avc, next, &idle, struct avm_anon_vma_chain, same_vma) {
		avm_anon_vma_put(m, avc->anon_vma);
		avm_cache_free(m, &m->avcs, avc);
	}
}

/* ---- R4.1 prepare ----------------------------------------------------------------------------------- */

/*
 * May a fresh VMA adopt this faulted neighbour's anon_vma? `below` and `above` are the two in address order.
 * A neighbour that came through fork has ancestors on its chain that we would lack (gallery 04). Its chain may
 * grow meanwhile (a concurrent prepare in it: 0 -> 1), never shrink: a stale answer costs a merge, no more.
 */
static struct avm_anon_vma *adoptable(const struct avm_vma *below, const struct avm_vma *above,
				      const struct avm_vma *neighbour)
{
	struct avm_anon_vma *av = avm_vma_anon(neighbour);

	if (!av || atomic_load_explicit(&neighbour->chain_len, memory_order_relaxed) != 1)
		return NULL;
	if (below->end != above->start || below->file != above->file ||
	    below->policy != above->policy || ((below->flags ^ above->flags) & ~AVM_VM_ACCESS))
		return NULL;
	if (avm_vma_last_index(below) + 1 != above->pgoff)
		return NULL;
	return av;
}

static struct avm_anon_vma *adopt_from_neighbour(struct avm_vma *vma)
{
	struct avm_list *head = &vma->mm->vmas.list;
	struct avm_anon_vma *av = NULL;

	if (!avm_list_is_last(&vma->link, head)) {
		struct avm_vma *next = avm_list_next(vma, struct avm_vma, link);

		av = adoptable(vma, next, next);
	}
	if (!av && !avm_list_is_first(&vma->link, head)) {
		struct avm_vma *prev = avm_list_prev(vma, struct avm_vma, link);

		av = adoptable(prev, vma, prev);
	}
	return av;
}

int avm_family_prepare(struct avm_vma *vma)
{
	struct avm *m = vma->mm->machine;
	struct avm_anon_vma_chain *avc;
	struct avm_anon_vma *av, *root, *fresh = NULL;

	if (avm_likely(avm_vma_anon(vma)))
		return 0;
	avm_assert_mmap_locked(vma->mm);
	avc = avm_cache_alloc(m, &m->avcs);
	if (!avc)
		return -AVM_ENOMEM;
	av = adopt_from_neighbour(vma);
	if (av) {
		avm_count(m, AVM_EV_ANON_VMA_REUSED_NEIGHBOUR, 1);
	} else {
		av = fresh = anon_vma_alloc(m);
		if (!av) {
			avm_cache_free(m, &m->avcs, avc);
			return -AVM_ENOMEM;
		}
	}
	root = avm_family_root(av);
	family_lock(m, root);
	avm_spin_lock(m, &vma->mm->page_table_lock, AVM_LOCK_PAGE_TABLE);
	if (avm_likely(!avm_vma_anon(vma))) { /* else another fault was faster (gallery 18) */
		link_edge(avc, vma, av, &vma->chain, NULL);
		set_own(vma, av);
		avc = NULL;
		fresh = NULL;
	}
	avm_spin_unlock(m, &vma->mm->page_table_lock, AVM_LOCK_PAGE_TABLE);
	family_unlock(m, root);
	if (fresh)
		avm_anon_vma_put(m, fresh);
	if (avc) {
		avm_count(m, AVM_EV_RACE_PREPARE, 1);
		avm_cache_free(m, &m->avcs, avc);
	}
	return 0;
}

/* ---- R2.2 ------------------------------------------------------------------------------------------- */

enum avm_refusal avm_family_refusal(const struct avm_anon_vma *a, bool a_child,
				    const struct avm_anon_vma *b, bool b_child)
{
	if (a == b)
		return AVM_NR_REFUSALS;
	if (a && b)
		return AVM_REFUSED_FAMILY;
	return (a ? a_child : b_child) ? AVM_REFUSED_FORK_CHILD : AVM_NR_REFUSALS;
}

/* ---- R4.3 fork ---------------------------------------------------------------------------------------- */

/*
 * The oldest ancestor whose own VMAs are all gone and that at most one live child hangs on: its tree holds
 * nobody's exclusive pages but those that this line of descent may map anyhow. => family lock write.
 */
static struct avm_anon_vma *idle_ancestor(struct avm_vma *parent)
{
	struct avm_anon_vma_chain *avc;

	avm_list_for_each_entry_reverse(avc, &parent->chain, struct avm_anon_vma_chain, same_vma)
		if (!avc->anon_vma->num_active_vmas && avc->anon_vma->num_children < 2)
			return avc->anon_vma;
	return NULL;
}

/* The anon_vma that the child shares with others, by policy; NULL: it gets one of its own. => family lock write. */
static struct avm_anon_vma *shared_own(struct avm *m, struct avm_vma *parent)
{
	struct avm_anon_vma *own = NULL;

	if (m->config.family == AVM_FAMILY_FLAT) {
		own = avm_vma_anon(parent);
	} else if (m->config.family == AVM_FAMILY_REUSE) {
		own = idle_ancestor(parent);
		if (own)
			avm_count(m, AVM_EV_ANON_VMA_REUSED_ANCESTOR, 1);
	}
	return own;
}

/* `av`, which is new, becomes a member of the family, for the pages that the child will make itself. => family lock write. */
static void found_branch(struct avm_vma *child, struct avm_anon_vma *av,
			 struct avm_anon_vma *parent, struct avm_anon_vma_chain *avc)
{
	struct avm_anon_vma *root = avm_family_root(parent);

	av->parent = parent;
	av->num_children = 0;
	atomic_store_explicit(&av->root, root, memory_order_relaxed);
	avm_anon_vma_get(root);
	parent->num_children++;
	link_edge(avc, child, av, &child->chain, NULL);
	set_own(child, av);
}

/* The child may map whatever the parent maps, and what it makes itself. Returns `fresh` if it is not wanted. */
static struct avm_anon_vma *join_family(struct avm_vma *child, struct avm_vma *parent,
					struct avm_anon_vma *fresh, struct avm_avc_pool *pool)
{
	struct avm *m = child->mm->machine;
	struct avm_anon_vma *own;

	avm_family_lock_vma(parent);
	clone_chain(child, parent, pool);
	own = shared_own(m, parent);
	if (own) {
		set_own(child, own);
	} else {
		if (!fresh) /* never: none is asked for only where all share one (avm_fork_need_add) */
			__builtin_unreachable();
		found_branch(child, fresh, avm_vma_anon(parent), avm_avc_pool_take(pool));
		fresh = NULL;
	}
	avm_family_unlock_vma(parent);
	return fresh;
}

#if AVM_FORK_AT_ONCE

void avm_family_fork_reserved(struct avm_vma *child, struct avm_vma *parent,
			      struct avm_fork_reserve *r)
{
	uint32_t n = atomic_load_explicit(&parent->chain_len, memory_order_relaxed);
	struct avm_anon_vma *fresh = NULL;

	if (!avm_vma_anon(parent))
		return;
	if (r->anon_vmas.next < r->anon_vmas.end) {
		fresh = r->anon_vma[r->anon_vmas.next++];
		avm_anon_vma_set(fresh, r->id++);
		n++;
	}
	avm_fork_reserve_draw(r, n);
	if (join_family(child, parent, fresh, &r->pool))
		r->anon_vmas.next--;
	avm_fork_reserve_put_back(child->mm->machine, r);
}

#else

int avm_family_fork(struct avm_vma *child, struct avm_vma *parent)
{
	struct avm *m = child->mm->machine;
	struct avm_avc_pool pool = { 0 };
	struct avm_anon_vma *fresh;

	if (!avm_vma_anon(parent))
		return 0;
	if (avm_avc_pool_fill(m, &pool,
			      1ull + atomic_load_explicit(&parent->chain_len,
							  memory_order_relaxed)))
		return -AVM_ENOMEM;
	fresh = anon_vma_alloc(m);
	if (fresh) {
		fresh = join_family(child, parent, fresh, &pool);
		if (fresh)
			avm_anon_vma_put(m, fresh);
	}
	avm_avc_pool_drain(m, &pool);
	return avm_vma_anon(child) ? 0 : -AVM_ENOMEM;
}

#endif

/* ---- pages (R5, R6) ------------------------------------------------------------------------------------ */

void avm_family_place(struct avm_page *page, struct avm_vma *vma, avm_addr_t addr,
		      enum avm_placement how)
{
	struct avm_anon_vma *av = avm_vma_anon(vma);

	if (how == AVM_PLACE_SHARED)
		av = avm_family_root(av);
	/* G-B */
	atomic_store_explicit(&page->index, vma->pgoff + ((addr - vma->start) >> AVM_PAGE_SHIFT),
			      memory_order_relaxed);
	atomic_store_explicit(&page->mapping, (uintptr_t)av | AVM_MAPPING_ANON,
			      memory_order_release);
}

/* What R6 asks twice, before the lock and under it: the count first (G-A). */
AVM_ONE_STEP bool still_mapped_by(const struct avm_page *page, uintptr_t mapping)
{
	return avm_page_mapped(page) &&
	       atomic_load_explicit(&page->mapping, memory_order_relaxed) == mapping;
}

/* Looked at again, the page was not mapped by this family any more. */
static avm_small void unlock_unmapped(struct avm *m, struct avm_anon_vma *root)
{
	avm_rw_unlock_read(m, &root->lock, AVM_LOCK_FAMILY);
	avm_count(m, AVM_EV_RACE_UNMAPPED, 1);
}

/* The contended case of resolve: sleeps with a reference instead of RCU. `rcu` is left in here. */
static int resolve_slowly(struct avm *m, struct avm_page *page, uintptr_t mapping,
			  struct avm_anon_vma *av, uintptr_t rcu)
{
	struct avm_anon_vma *root = NULL;

	if (!avm_ref_tryget(&av->refcount)) {
		avm_rcu_exit(m, rcu);
		return -AVM_ENOENT;
	}
	/*
	 * What the reference is on may have been recycled before it was taken: another family's, or just being made, with
	 * a root that is still to change. While the page is mapped through av, av is the page's, and its root is settled.
	 */
	if (still_mapped_by(page, mapping))
		root = avm_family_root(av);
	avm_rcu_exit(m, rcu);
	if (root) {
		/* The reference holds av, av holds its root: no recycling from here on. */
		avm_rw_read_always(m, &root->lock, AVM_LOCK_FAMILY);
		if (!still_mapped_by(page, mapping)) {
			unlock_unmapped(m, root);
			root = NULL;
		}
	}
	/* While the page is mapped and the family locked the tree is not empty: never the last reference. */
	AVM_ASSERT(m, !root || !avm_itree_empty(&av->tree));
	avm_anon_vma_put(m, av);
	return root ? 0 : -AVM_ENOENT;
}

int avm_family_resolve(struct avm *m, struct avm_page *page, enum avm_resolve_mode mode,
		       struct avm_anon_vma **out)
{
	uintptr_t rcu = avm_rcu_enter(m);
	uintptr_t mapping = atomic_load_explicit(&page->mapping, memory_order_acquire); /* G-B */
	struct avm_anon_vma *av = (struct avm_anon_vma *)(mapping & ~AVM_MAPPING_FLAGS);
	struct avm_anon_vma *root;
	int err = -AVM_ENOENT;

	if ((mapping & AVM_MAPPING_FLAGS) != AVM_MAPPING_ANON || !avm_page_mapped(page))
		goto out;
	root = avm_family_root(av);
	if (avm_rw_try_read(m, &root->lock, AVM_LOCK_FAMILY)) {
		/* It may be a stranger's lock: av may have been freed and recycled since (gallery 09). */
		if (still_mapped_by(page, mapping) && avm_family_root(av) == root)
			err = 0;
		else
			unlock_unmapped(m, root);
		goto out;
	}
	if (mode == AVM_RESOLVE_TRY) {
		err = -AVM_EBUSY;
		goto out;
	}
	err = resolve_slowly(m, page, mapping, av, rcu);
	*out = av;
	return err;
out:
	/* Who maps the page is in the tree, and cannot leave it now: av is alive, and the page's. */
	AVM_ASSERT(m, err || !avm_itree_empty(&av->tree));
	avm_rcu_exit(m, rcu);
	*out = av;
	return err;
}
