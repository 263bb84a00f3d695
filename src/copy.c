/* SPDX-License-Identifier: MIT */
/*
 * copy.c - the entries of a VMA at fork (copy.h, R9.1).
 *
 * This is most of what fork costs, so it is done table by table: one pair of locks, one look-up of the child's table
 * and one change of its counts for up to a table's worth of entries; per page, one or two atomic operations and two stores.
 */
#include "copy.h"

#include "anon_vma.h"
#include "frame.h"
#include "lru.h"
#include "page.h"
#include "pgtable.h"
#include "rmap.h"
#include "swap_slot.h"
#include "vma.h"

struct copy {
	struct avm *machine;
	struct avm_vma *child;
	struct avm_region region; /* most pages come from one */
	bool private;
	struct avm_page *spare; /* for the next early copy; NULL: none yet */
	int64_t rss[AVM_NR_RSS]; /* of the child */
};

bool avm_copy_needed(const struct avm_vma *parent)
{
	/* What a file, shared memory or the zero page stands behind, faults bring back. */
	return avm_vma_anon(parent) || (parent->flags & AVM_VM_SPECIAL);
}

/*
 * Takes write permission from the parent's entry. The MMU sets young and dirty beside us: while one of them is not
 * set yet, the entry is empty between the look and the store.
 */
static inline avm_pte_t write_protect(struct avm_ptc *from, uint64_t i, avm_pte_t pte)
{
	if (!avm_pte_write(pte))
		return pte;
	if (!avm_pte_young(pte) || !avm_pte_dirty(pte))
		pte = avm_ptc_take(from, i);
	pte = avm_pte_wrprotect(pte);
	avm_ptc_change(from, i, pte);
	return pte;
}

static inline struct avm_page *page_of(const struct copy *k, avm_pfn_t pfn)
{
	if (pfn - k->region.first < k->region.count)
		return &k->region.pages[pfn - k->region.first];
	return avm_page_of(k->machine, pfn);
}

static void share_file_page(struct copy *k, struct avm_page *page)
{
	avm_page_get(page);
	avm_rmap_add_file(page, 1, k->child);
	k->rss[avm_page_rss(page)]++;
}

/* What the entry maps, if that is something that counts; NULL: a bare frame, the zero page. */
static inline struct avm_page *counted_page(const struct copy *k, avm_pte_t pte)
{
	struct avm_page *page;

	if (avm_pte_special(pte))
		return NULL;
	page = page_of(k, avm_pte_pfn(pte));
	AVM_BUG_ON(k->machine, !page);
	return page == k->machine->zero_page ? NULL : page;
}

/* One more entry maps the page. */
static inline bool share_page(struct copy *k, struct avm_page *page)
{
	if (!avm_page_is_anon(page)) {
		share_file_page(k, page);
		return false;
	}
	avm_rmap_share_anon(page);
	return true;
}

/* R5.6: pin and parent must go on seeing the same page. Pins are taken under the table's lock. */
static inline bool stays_alone(const struct avm_page *page)
{
	return avm_unlikely(avm_page_pinned(page)) && avm_page_test(page, AVM_PG_EXCLUSIVE);
}

/* The child gets a copy of its own, now instead of at the first write. => both tables locked; there is a spare. */
avm_noinline static avm_pte_t copy_early(struct copy *k, const struct avm_page *page,
					 avm_addr_t addr)
{
	struct avm_page *copy = k->spare;
	avm_pte_t pte = avm_pte_mkdirty(avm_pte_for(copy, k->child));

	k->spare = NULL;
	avm_port_frame_copy(k->machine, copy->pfn, page->pfn);
	avm_family_place(copy, k->child, addr, AVM_PLACE_EXCLUSIVE);
	avm_rmap_add_anon(copy, 1, k->child, addr);
	avm_lru_add(k->machine, copy);
	avm_count(k->machine, AVM_EV_EARLY_COPY, 1);
	return (k->child->flags & AVM_VM_WRITE) ? avm_pte_mkwrite(pte) : pte;
}

/*
 * An entry for a page that is not mapped: two processes have it from now on, and neither alone (R9.1). Returns the
 * child's, which is the parent's, too. => both tables locked.
 */
static avm_pte_t share_absent(struct copy *k, struct avm_ptc *from, uint64_t i, avm_pte_t pte)
{
	enum avm_entry_kind kind = avm_pte_entry_kind(pte);
	uint64_t value = avm_pte_entry_value(pte);
	avm_pte_t shared = pte;

	if (kind == AVM_ENTRY_POISON)
		return pte;
	if (k->private)
		shared = avm_pte_make_entry(kind, value, false, false);
	if (shared != pte)
		avm_ptc_change(from, i, shared);
	if (kind == AVM_ENTRY_SWAP) {
		avm_slot_dup(k->machine, value);
		k->rss[AVM_RSS_SWAP]++;
	} else {
		k->rss[avm_page_rss(page_of(k, value))]++;
	}
	return shared;
}

#define AHEAD 16 /* entries: about as long as a miss takes */

/* The descriptor of a page that comes soon. Pages do not lie in the order of their addresses. */
static inline void prefetch_page(const struct copy *k, const struct avm_ptc *from, uint64_t i)
{
	avm_pfn_t pfn = avm_pte_pfn(avm_ptc_get_at(from, i)) - k->region.first;

	if (pfn < k->region.count)
		__builtin_prefetch(&k->region.pages[pfn], 1);
}

/*
 * Entries first to n of the table, or up to one that needs a spare page. Returns how far it came. => both tables locked.
 */
static uint64_t copy_table(struct copy *k, struct avm_ptc *from, struct avm_ptc *to, uint64_t first,
			   uint64_t n)
{
	uint32_t entries = 0, anon = 0;
	bool private = k->private;
	uint64_t i;

	for (i = first; i < n; i++) {
		avm_pte_t pte = avm_ptc_get_at(from, i);
		struct avm_page *page;

		if (AVM_FAST && i + AHEAD < n)
			prefetch_page(k, from, i + AHEAD);
		if (avm_pte_empty(pte))
			continue;
		if (avm_unlikely(!avm_pte_present(pte))) {
			avm_ptc_fill(to, i, share_absent(k, from, i, pte));
			entries++;
			continue;
		}
		page = counted_page(k, pte);
		if (page && stays_alone(page)) {
			if (!k->spare)
				break;
			pte = copy_early(k, page, from->addr + (i << AVM_PAGE_SHIFT));
			anon++;
		} else {
			if (private)
				pte = write_protect(from, i, pte);
			anon += page && share_page(k, page);
		}
		/* The child has not touched it yet. */
		avm_ptc_fill(to, i, avm_pte_mkold(pte));
		entries++;
	}
	avm_ptc_filled(to, entries);
	k->rss[AVM_RSS_ANON] += anon;
	return i;
}

/* Table by table; the locks are dropped for each page that has to be copied. 0 or -ENOMEM. */
static avm_small int copy_whole_table(struct copy *k, struct avm_ptc *from, struct avm_ptc *to)
{
	uint64_t n = (from->stop - from->addr) >> AVM_PAGE_SHIFT, i = 0;

	for (;;) {
		avm_ptc_lock_two(from, to);
		i = copy_table(k, from, to, i, n);
		avm_ptc_unlock_two(from, to);
		if (i == n)
			return 0;
		k->spare = avm_page_alloc(k->machine, AVM_FRAME_USER);
		if (!k->spare)
			return -AVM_ENOMEM;
	}
}

int avm_copy_range(struct avm_vma *child, struct avm_vma *parent)
{
	struct avm *m = child->mm->machine;
	struct copy k = { .machine = m,
			  .child = child,
			  .region = *avm_regions(m),
			  .private = !(parent->flags & AVM_VM_SHARED) };
	struct avm_ptc from, to;
	int err = 0;

	avm_assert_mmap_write_locked(parent->mm);
	avm_assert_mmap_write_locked(child->mm);
	for (bool more = avm_ptc_first(&from, parent->mm, parent->start, parent->end); more && !err;
	     more = avm_ptc_next_table(&from)) {
		err = avm_ptc_make(&to, child->mm, from.addr);
		if (!err)
			err = copy_whole_table(&k, &from, &to);
	}
	if (k.spare) /* a pin went away before it was used */
		avm_page_put(m, k.spare);
	for (int i = 0; i < AVM_NR_RSS; i++)
		avm_rss_add(child->mm, (enum avm_rss)i, k.rss[i]);
	return err;
}
