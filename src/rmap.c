/* SPDX-License-Identifier: MIT */
/*
 * rmap.c - from a page to every entry that maps it (R7), and the counts that go with mapping.
 *
 *	page --mapping--> anon_vma --tree, by index--> AVC --> VMA --arithmetic--> address --tables--> entry
 *	page --mapping--> file	   --tree, by index-----------> VMA --...
 *	page --mapping--> merged   --list--> items, each --> anon_vma --as above-...
 *
 * A stale or foreign anon_vma costs time, never correctness: an entry counts only if it maps this very page.
 */
#include "rmap.h"

#include "anon_vma.h"
#include "file.h"
#include "lru.h"
#include "merged.h"
#include "mmu_gather.h"
#include "page.h"
#include "swap_slot.h"
#include "vma.h"

/* ---- counts ----------------------------------------------------------------------------------------- */

#ifdef AVM_DEBUG
bool avm_rmap_placed(const struct avm_page *page, const struct avm_vma *vma, avm_addr_t addr)
{
	uintptr_t mapping = atomic_load_explicit(&page->mapping, memory_order_relaxed);
	uint64_t index = avm_vma_index(vma, addr);
	const struct avm_anon_vma_chain *avc;

	avm_list_for_each_entry(avc, &vma->chain, struct avm_anon_vma_chain, same_vma) {
		if (((uintptr_t)avc->anon_vma | AVM_MAPPING_ANON) == mapping)
			return atomic_load_explicit(&page->index, memory_order_relaxed) == index;
		/* A forked child's is its parent's. */
		if (avm_page_is_merged(page) && avm_merged_has(page, avc->anon_vma, index))
			return true;
	}
	return false;
}
#endif

void avm_rmap_add(struct avm_page *page, struct avm_vma *vma, avm_addr_t addr)
{
	AVM_ASSERT(vma->mm->machine, !avm_page_is_anon(page) || avm_rmap_placed(page, vma, addr));
	(void)vma, (void)addr;
	if (!avm_rmap_raise(page) || !avm_page_is_anon(page))
		avm_page_get(page);
}

void avm_rmap_mark_locked(struct avm_vma *vma, struct avm_page *page, bool maps)
{
	if ((vma->flags & AVM_VM_LOCKED) && avm_page_test(page, AVM_PG_UNEVICTABLE) != maps)
		avm_lru_set_unevictable(vma->mm->machine, page, maps);
}

enum avm_rss avm_page_rss(const struct avm_page *page)
{
	if (avm_page_is_anon(page))
		return AVM_RSS_ANON;
	return avm_page_test(page, AVM_PG_SHMEM) ? AVM_RSS_SHMEM : AVM_RSS_FILE;
}

/*
 * Is the reference of the entries all there is? More than a look, where pages are held without the table's lock (hold_shared()):
 * who gets a reference after this sees that the page is mapped once (G-Y).
 */
static bool nobody_holds(struct avm_page *page)
{
	uint32_t entries = 1;

	if (!AVM_FAST)
		return avm_page_refs(page) == entries;
	return atomic_compare_exchange_strong_explicit(&page->refcount, &entries, entries,
						       memory_order_acq_rel, memory_order_relaxed);
}

bool avm_rmap_take_over(struct avm_page *page, struct avm_vma *vma, avm_addr_t addr)
{
	struct avm *m = vma->mm->machine;

	avm_assert_page_locked(m, page);
	/* The count of entries first: who copies the page holds it before he unmaps it. A cache holds it, too. */
	if (avm_page_is_merged(page) || !avm_page_mapped_once(page) ||
	    !avm_swapcache_drop_idle(m, page) || !nobody_holds(page))
		return false;
	avm_family_place(page, vma, addr, AVM_PLACE_OWN);
	avm_page_set_exclusive(page);
	return true;
}

/* ---- the walk ----------------------------------------------------------------------------------------- */

/* The lock of a tree to be walked. 0, or -EBUSY (AVM_RESOLVE_TRY). */
static avm_small int lock_tree(const struct avm_rmap_walk *w, struct avm_rwsem *lock,
			       enum avm_lock_class class)
{
	if (avm_rw_try_read(w->machine, lock, class))
		return 0;
	if (w->mode == AVM_RESOLVE_TRY)
		return -AVM_EBUSY;
	avm_rw_read_always(w->machine, lock, class);
	return 0;
}

static int begin_file(struct avm_rmap_walk *w)
{
	struct avm_file *file = avm_page_file(w->page);
	int err;

	/* Or the file may go before its lock is taken. */
	avm_assert_page_locked(w->machine, w->page);
	if (!file || !avm_page_mapped(w->page))
		return -AVM_ENOENT;
	err = lock_tree(w, &file->mmap_lock, AVM_LOCK_FILE);
	if (!err)
		w->file = file;
	return err;
}

/* The family of the item, if one is left. The item holds it, and the page the item. -EBUSY (AVM_RESOLVE_TRY). */
static int enter_item(struct avm_rmap_walk *w, const struct avm_merged_item *item)
{
	int err;

	w->item = item;
	w->anon_vma = NULL;
	w->position = NULL;
	if (!item)
		return -AVM_ENOENT;
	err = lock_tree(w, &avm_family_root(item->anon_vma)->lock, AVM_LOCK_FAMILY);
	if (err)
		return err;
	w->anon_vma = item->anon_vma;
	w->index = item->index;
	return 0;
}

static int begin_merged(struct avm_rmap_walk *w)
{
	struct avm_merged *node = avm_page_merged(w->page);

	if (!avm_page_mapped(w->page))
		return -AVM_ENOENT;
	return enter_item(w, avm_merged_items(node));
}

/* From one family to the next, with none locked in between. False: that was the last. */
static bool next_item(struct avm_rmap_walk *w)
{
	const struct avm_merged_item *item = w->item;

	if (!item)
		return false;
	avm_family_unlock_read(w->machine, w->anon_vma);
	/* One that is busy is passed by, where that is not to be waited for. */
	do {
		item = item->next;
	} while (enter_item(w, item) == -AVM_EBUSY);
	return w->anon_vma;
}

static int begin(struct avm_rmap_walk *w)
{
	if (avm_page_is_merged(w->page))
		return begin_merged(w);
	if (avm_page_is_anon(w->page))
		return avm_family_resolve(w->machine, w->page, (enum avm_resolve_mode)w->mode,
					  &w->anon_vma);
	return begin_file(w);
}

int avm_rmap_begin(struct avm_rmap_walk *w, struct avm *m, struct avm_page *page, int mode)
{
	int err;

	*w = (struct avm_rmap_walk){ .machine = m, .page = page, .mode = mode };
	err = begin(w);
	if (err)
		return err;
	if (w->item) {
		w->expected = UINT32_MAX; /* one that is met twice must not hide another */
	} else {
		w->index = atomic_load_explicit(&page->index, memory_order_relaxed);
		w->expected = avm_page_mapcount(page);
	}
	avm_count(m, AVM_EV_RMAP_WALKS, 1);
	return 0;
}

void avm_rmap_begin_moving(struct avm_rmap_walk *w, struct avm *m, struct avm_page *page,
			   struct avm_page *like, struct avm_anon_vma *pin)
{
	struct avm_merged *merged = avm_page_merged(like);

	*w = (struct avm_rmap_walk){
		.machine = m,
		.page = page,
		.moving = true,
		.mode = AVM_RESOLVE_WAIT,
		.anon_vma = pin,
		.index = atomic_load_explicit(&like->index, memory_order_relaxed),
		.expected = UINT32_MAX,
	};
	if (merged)
		(void)enter_item(w, avm_merged_items(merged));
	else if (pin)
		avm_family_lock_read(m, pin);
	else
		w->file = avm_page_file(like);
	if (w->file)
		avm_mappings_lock_read(w->file);
	avm_count(m, AVM_EV_RMAP_WALKS, 1);
}

/* The next VMA of a family that could map the page; NULL after the last of the last. */
static struct avm_vma *next_in_family(struct avm_rmap_walk *w)
{
	struct avm_anon_vma_chain *avc = w->position;

	do {
		avc = avc ? avm_family_tree_iter_next(avc, w->index, w->index) :
			    avm_family_tree_iter_first(&w->anon_vma->tree, w->index, w->index);
	} while (!avc && next_item(w));
	w->position = avc;
	return avc ? avc->vma : NULL;
}

/* The same for every kind of page. */
static struct avm_vma *next_vma(struct avm_rmap_walk *w)
{
	if (!w->file)
		return w->anon_vma ? next_in_family(w) : NULL;
	w->position = w->position ? avm_mappings_iter_next(w->position, w->index, w->index) :
				    avm_mappings_iter_first(&w->file->mappings, w->index, w->index);
	return w->position;
}

/* Does the entry the cursor stands on map the page, or, moving, stand for it? */
static bool is_of_page(const struct avm_rmap_walk *w)
{
	avm_pte_t pte = avm_ptc_get(&w->c);

	if (w->moving)
		return avm_pte_is_entry(pte) && avm_pte_entry_kind(pte) == AVM_ENTRY_MIGRATION &&
		       avm_pte_entry_value(pte) == w->page->pfn;
	return avm_pte_maps(pte, w->page);
}

static void leave_entry(struct avm_rmap_walk *w)
{
	if (w->locked)
		avm_ptc_unlock(&w->c);
	w->locked = false;
}

bool avm_rmap_next(struct avm_rmap_walk *w)
{
	struct avm_vma *vma;

	leave_entry(w);
	/* Who takes entries away has seen enough when nobody maps the page. */
	while (w->mapped < w->expected && (w->moving || avm_page_mapped(w->page)) &&
	       (vma = next_vma(w))) {
		avm_addr_t addr = vma->start + ((w->index - vma->pgoff) << AVM_PAGE_SHIFT);

		w->visited++;
		if (!avm_ptc_at(&w->c, vma->mm, addr))
			continue;
		avm_ptc_lock(&w->c);
		if (is_of_page(w)) {
			w->locked = true;
			w->vma = vma;
			w->mapped++;
			return true;
		}
		avm_ptc_unlock(&w->c);
	}
	return false;
}

/* The lock of the tree that the VMA was found in keeps the table. */
bool avm_rmap_tell(struct avm_rmap_walk *w)
{
	leave_entry(w);
	avm_notify_start_rmap(w->c.mm, w->c.addr, w->c.addr + AVM_PAGE_SIZE);
	avm_ptc_lock(&w->c);
	w->locked = true;
	return is_of_page(w);
}

void avm_rmap_told(struct avm_rmap_walk *w)
{
	leave_entry(w);
	avm_notify_end_rmap(w->c.mm, w->c.addr, w->c.addr + AVM_PAGE_SIZE);
}

void avm_rmap_end(struct avm_rmap_walk *w)
{
	leave_entry(w);
	if (w->anon_vma)
		avm_family_unlock_read(w->machine, w->anon_vma);
	else if (w->file)
		avm_mappings_unlock_read(w->file);
	avm_count(w->machine, AVM_EV_RMAP_VISITED, w->visited);
	avm_count(w->machine, AVM_EV_RMAP_MAPPED, w->mapped);
}

/* ---- two users ------------------------------------------------------------------------------------------- */

unsigned avm_rmap_referenced(struct avm *m, struct avm_page *page, uint64_t *vm_flags)
{
	struct avm_rmap_walk w;
	unsigned young = 0;

	*vm_flags = 0;
	if (avm_rmap_begin(&w, m, page, AVM_RESOLVE_WAIT))
		return 0;
	while (avm_rmap_next(&w)) {
		uint64_t flags = avm_vma_peek_flags(w.vma);

		/* Here and not later: who unlocks the VMA, or takes the entry away, comes by this lock. */
		if (flags & AVM_VM_LOCKED)
			avm_lru_set_unevictable(m, page, true);
		*vm_flags |= flags;
		if (!avm_pte_young(avm_ptc_get(&w.c)))
			continue;
		/* No flush: a translation that stays cached hides an access or two, no more. */
		avm_ptc_mkold(&w.c);
		young++;
	}
	avm_rmap_end(&w);
	return young;
}

/* => table locked. True when the entry was dirty. */
static bool clean_entry(struct avm_ptc *c)
{
	/* Cleared first, so that no dirty bit set by the MMU meanwhile is lost. */
	avm_pte_t pte = avm_ptc_revoke(c);

	avm_ptc_set(c, avm_pte_mkclean(avm_pte_wrprotect(pte)));
	return avm_pte_dirty(pte);
}

bool avm_rmap_mkclean(struct avm *m, struct avm_page *page)
{
	struct avm_rmap_walk w;
	bool dirty = false;

	avm_assert_page_locked(m, page);
	if (avm_rmap_begin(&w, m, page, AVM_RESOLVE_WAIT))
		return false;
	/*
	 * Who is not mapped any more has no translation either (G-K). Private mappings are met too. Their entries for a page
	 * of a file are neither writable nor dirty.
	 */
	while (avm_rmap_next(&w)) {
		avm_pte_t pte = avm_ptc_get(&w.c);

		if (!avm_pte_write(pte) && !avm_pte_dirty(pte))
			continue;
		if (avm_rmap_tell(&w))
			dirty |= clean_entry(&w.c);
		avm_rmap_told(&w);
	}
	avm_rmap_end(&w);
	return dirty;
}
