/* SPDX-License-Identifier: MIT */
/*
 * ksm.c - finding equal pages, and giving them one frame (ksm.h, R15).
 *
 *	a page --hash--> seen in the last round, too? --> equal to a merged page? ----------------+--> its entry gives
 *			   | no				   | no				  |    way to the
 *			 remembered			 equal to another of this round,  |    merged page
 *							 which becomes a merged page -----+
 *							   | no
 *							 remembered by its hash
 *
 * Two trees by a number of 64 bits remember: of each page of this round and the last a number made of its hash and its
 * frame, and of those that have not changed the page under the hash alone. Nothing of it holds a page. It may be
 * anybody's by the time it is looked at: what counts is what is found out with both pages locked.
 *
 * A page whose lock is to be had, that nobody holds but those who map it and the swap cache, and that nobody can write
 * to, stays as it is until its lock is dropped: so two such pages are compared, and not before.
 */
#include "ksm.h"

#include "error.h"
#include "frame.h"
#include "lock.h"
#include "merged.h"
#include "mmu_gather.h"
#include "rmap.h"
#include "slab.h"
#include "swap_slot.h"
#include "vma.h"

/* ---- what has been seen --------------------------------------------------------------------------------- */

#define HASH_FACTOR UINT64_C(0x9e3779b97f4a7c15)

static avm_small uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * HASH_FACTOR;
	return hash ^ hash >> 32;
}

static uint64_t hash_of(struct avm *m, const struct avm_page *page)
{
	uint64_t words[16], hash = 0;

	for (size_t at = 0; at < AVM_PAGE_SIZE; at += sizeof(words)) {
		avm_port_frame_read(m, page->pfn, at, words, sizeof(words));
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			hash = mix(hash, words[i]);
	}
	return hash;
}

static struct avm_itree *this_round(struct avm *m)
{
	return &m->ksm.seen[m->ksm.round % 2];
}

static avm_noinline struct avm_itree *last_round(struct avm *m)
{
	return &m->ksm.seen[(m->ksm.round + 1) % 2];
}

static avm_noinline struct avm_hashed *find(const struct avm_itree *tree, uint64_t number)
{
	return avm_hash_tree_iter_first(tree, number, number);
}

static int remember(struct avm *m, uint64_t number, struct avm_page *page)
{
	struct avm_hashed *h = avm_cache_alloc(m, &m->ksm_items);

	if (!h)
		return -AVM_ENOMEM;
	h->hash = number;
	h->page = page;
	avm_hash_tree_insert(this_round(m), h);
	return 0;
}

/* 1: it was the same in the last round. 0: it is remembered now. -ENOMEM. */
static int unchanged(struct avm *m, struct avm_page *page, uint64_t hash)
{
	uint64_t number = mix(hash, page->pfn + 1);
	struct avm_hashed *h = find(this_round(m), number);

	/* Met before, through the entry of a fork relative. */
	if (h)
		return h->page == page;
	h = find(last_round(m), number);
	if (!h)
		return remember(m, number, NULL);
	avm_hash_tree_remove(last_round(m), h);
	h->page = page;
	avm_hash_tree_insert(this_round(m), h);
	return 1;
}

/*
 * The last of this round with this hash, held, for which `page` stands in from now on. NULL: none; *err: there was no
 * memory to remember `page`.
 */
static struct avm_page *candidate(struct avm *m, struct avm_page *page, uint64_t hash, int *err)
{
	struct avm_hashed *h = find(this_round(m), hash);
	struct avm_page *other;

	if (!h) {
		*err = remember(m, hash, page);
		return NULL;
	}
	other = h->page;
	h->page = page;
	if (other == page || !avm_page_tryget(other))
		return NULL;
	return other;
}

static void forget(struct avm *m, struct avm_itree *tree)
{
	struct avm_hashed *h;

	while ((h = avm_hash_tree_iter_first(tree, 0, UINT64_MAX))) {
		avm_hash_tree_remove(tree, h);
		avm_cache_free(m, &m->ksm_items, h);
	}
}

void avm_ksm_next_round(struct avm *m)
{
	forget(m, last_round(m));
	m->ksm.round++;
	m->ksm.mm_id = 0;
	m->ksm.addr = 0;
}

void avm_ksm_forget(struct avm *m)
{
	avm_ksm_next_round(m);
	avm_ksm_next_round(m);
}

/* ---- merging -------------------------------------------------------------------------------------------- */

/* Does nobody hold the page but who maps it, the swap cache, and we, once? => page locked. */
static bool only_mapped(const struct avm_page *page)
{
	return avm_page_refs(page) == 1u + avm_page_in_swap(page) + avm_page_mapped(page) &&
	       !avm_page_pinned(page);
}

static int changed(struct avm *m)
{
	avm_count(m, AVM_EV_RACE_KSM_CHANGED, 1);
	return 0;
}

/*
 * Takes write permission, and what would give it back, from the entry that the walk stands on. False: it is not to be
 * had, or not to be merged. One that is read-only may have been so for a moment only: who is about to fork, or to change
 * protections, takes away from many entries and flushes at the end, and until then somebody may still write. => table
 * locked on entry.
 */
static bool protect_entry(struct avm_rmap_walk *w)
{
	bool ok;

	if (!(avm_vma_peek_flags(w->vma) & AVM_VM_MERGEABLE))
		return false;
	ok = avm_rmap_tell(w) && !avm_page_pinned(w->page);
	if (ok) {
		if (avm_page_is_exclusive(w->page))
			avm_page_end_exclusive(w->page, 1);
		avm_ptc_set(&w->c, avm_pte_wrprotect(avm_ptc_revoke(&w->c)));
	}
	avm_rmap_told(w);
	return ok;
}

/*
 * Nobody can write to the page any more, and whoever wants to will have to lock it first (R5.4). Returns its anon_vma,
 * with a reference; NULL: somebody does not let us. => page locked.
 */
static struct avm_anon_vma *protect(struct avm *m, struct avm_page *page)
{
	struct avm_anon_vma *av = NULL;
	struct avm_rmap_walk w;
	bool ok = true;

	if (avm_rmap_begin(&w, m, page, AVM_RESOLVE_WAIT))
		return NULL;
	while (ok && avm_rmap_next(&w))
		ok = protect_entry(&w);
	/* All of them, and none can have come: who has cleared his entry a moment ago may still have the translation. */
	if (ok && w.mapped && w.mapped == w.expected) {
		av = w.anon_vma;
		avm_anon_vma_get(av);
	}
	avm_rmap_end(&w);
	return av;
}

/* 1: the page, a candidate, is a merged one now. 0: it is not what it was. -ENOMEM. => page locked. */
static avm_noinline int make_merged(struct avm *m, struct avm_page *page, uint64_t hash)
{
	struct avm_anon_vma *av;
	int err;

	/* What was remembered may be anything by now; it has been held since. */
	if (avm_page_is_merged(page) || !avm_page_is_anon(page))
		return 0;
	av = protect(m, page);
	if (!av)
		return changed(m);
	if (only_mapped(page) && hash_of(m, page) == hash)
		err = avm_merged_make(m, page, hash, av);
	else
		err = changed(m);
	avm_anon_vma_put(m, av);
	return err;
}

struct merge {
	struct avm_vma *vma;
	struct avm_ptc *c;
	struct avm_page *page; /* whose entry at the cursor goes */
	struct avm_page *merged; /* what it maps then */
};

/* The entry is empty, `pte` is what stood there. => table locked; both pages, which are equal. */
static void replace(const struct merge *k, avm_pte_t pte)
{
	avm_pte_t merged = avm_pte_for(k->merged, k->vma);

	avm_rmap_locked(k->vma, k->page, false);
	avm_rmap_locked(k->vma, k->merged, true);
	avm_page_unmap_held(k->vma->mm->machine, k->page);
	avm_rmap_add(k->merged, k->vma, k->c->addr);
	avm_ptc_set(k->c, avm_pte_young(pte) ? merged : avm_pte_mkold(merged));
}

/* True: the entry maps the merged page. => both pages locked. */
static bool replace_if_equal(const struct merge *k)
{
	struct avm *m = k->vma->mm->machine;
	avm_pte_t pte;
	bool equal = false;

	avm_ptc_lock(k->c);
	pte = avm_ptc_get(k->c);
	if (avm_pte_maps(pte, k->page)) {
		pte = avm_ptc_revoke(k->c);
		equal = only_mapped(k->page) &&
			avm_port_frame_same(m, k->page->pfn, k->merged->pfn);
		if (equal)
			replace(k, pte);
		else
			avm_ptc_set(k->c, pte);
	}
	avm_ptc_unlock(k->c);
	return equal;
}

/* 1, 0, -ENOMEM. => both pages locked. */
static int merge_locked(const struct merge *k)
{
	struct avm *m = k->vma->mm->machine;
	avm_addr_t addr = k->c->addr;
	bool done;

	if (!avm_merged_add(m, k->merged, avm_vma_anon(k->vma), avm_vma_index(k->vma, addr)))
		return -AVM_ENOMEM;
	avm_notify_start(k->vma->mm, addr, addr + AVM_PAGE_SIZE);
	done = replace_if_equal(k);
	avm_notify_end(k->vma->mm, addr, addr + AVM_PAGE_SIZE);
	if (!done)
		return changed(m);
	avm_count(m, AVM_EV_KSM_MERGED, 1);
	if (!avm_page_mapped(k->page))
		avm_swapcache_drop_idle(m, k->page);
	return 1;
}

/* `other`: a merged page, or a candidate to become one; hash is that of both. 1, 0, -ENOMEM. */
static int merge(struct avm_vma *vma, struct avm_ptc *c, struct avm_page *page,
		 struct avm_page *other, uint64_t hash, bool is_merged)
{
	struct merge k = { .vma = vma, .c = c, .page = page, .merged = other };
	struct avm *m = vma->mm->machine;
	int err = 0;

	if (!avm_page_trylock(m, page)) {
		avm_count(m, AVM_EV_RACE_PAGE_LOCKED, 1);
		return 0;
	}
	if (avm_page_trylock(m, other)) {
		/* A merged page may have been moved to another frame since it was found. */
		err = is_merged ? avm_page_is_merged(other) : make_merged(m, other, hash);
		if (err > 0)
			err = merge_locked(&k);
		avm_page_unlock(m, other);
	} else {
		avm_count(m, AVM_EV_RACE_PAGE_LOCKED, 1);
	}
	avm_page_unlock(m, page);
	return err;
}

int avm_ksm_page(struct avm_vma *vma, struct avm_ptc *c, struct avm_page *page)
{
	struct avm *m = vma->mm->machine;
	uint64_t hash = hash_of(m, page);
	struct avm_page *other;
	bool is_merged = true;
	int err;

	avm_count(m, AVM_EV_KSM_SCANNED, 1);
	err = unchanged(m, page, hash);
	if (err <= 0)
		return err;
	other = avm_merged_find(m, hash);
	if (!other) {
		is_merged = false;
		err = 0;
		other = candidate(m, page, hash, &err);
	}
	if (!other)
		return err;
	err = merge(vma, c, page, other, hash, is_merged);
	avm_page_put(m, other);
	return err;
}
