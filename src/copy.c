/* SPDX-License-Identifier: MIT */
/*
 * copy.c - the entries of a VMA at fork (copy.h, R9.1).
 *
 * This is most of what fork costs, so it is done table by table: one pair of locks, one look-up of the child's table
 * and one change of its counts for up to a table's worth of entries, also when they are those of many small VMAs; per page,
 * three stores, or an atomic operation and two where others have the page already.
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
	struct avm_ptc from, to; /* at the same address */
	bool private;
	bool locked; /* the tables that the cursors are in */
	uint32_t entries; /* of the child's table, that have been filled */
	struct avm_page *spare; /* for the next early copy; NULL: none yet */
	struct avm *machine;
	struct avm_vma *child; /* the VMA that is copied now */
	int64_t rss[AVM_NR_RSS]; /* of the child */
	struct avm_region region; /* most pages come from one */
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
	avm_rmap_add_file(page, k->child);
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
static inline void share_page(struct copy *k, struct avm_page *page)
{
	if (!avm_page_is_anon(page)) {
		share_file_page(k, page);
		return;
	}
	avm_rmap_share_anon(page);
	k->rss[AVM_RSS_ANON]++;
}

/* R5.6: pin and parent must go on seeing the same page. Pins are taken under the table's lock. */
static inline bool stays_alone(const struct avm_page *page)
{
	return avm_unlikely(avm_page_pinned(page)) && avm_page_is_exclusive(page);
}

/* The child gets a copy of its own, now instead of at the first write. => both tables locked; there is a spare. */
avm_noinline static avm_pte_t copy_early(struct copy *k, const struct avm_page *page,
					 avm_addr_t addr)
{
	struct avm_page *copy = k->spare;
	avm_pte_t pte = avm_pte_mkdirty(avm_pte_for(copy, k->child));

	k->spare = NULL;
	avm_port_frame_copy(k->machine, copy->pfn, page->pfn);
	avm_family_place(copy, k->child, addr, AVM_PLACE_OWN);
	avm_rmap_add_new(copy, k->child, addr);
	avm_lru_add(k->machine, copy);
	avm_count(k->machine, AVM_EV_EARLY_COPY, 1);
	return (k->child->flags & AVM_VM_WRITE) ? avm_pte_mkwrite(pte) : pte;
}

/*
 * An entry for a page that is not mapped: two processes have it from now on, and neither alone (R9.1). Returns the
 * child's, which is the parent's, too. => both tables locked.
 */
static avm_small avm_pte_t share_absent(struct copy *k, uint64_t i, avm_pte_t pte)
{
	enum avm_entry_kind kind = avm_pte_entry_kind(pte);
	uint64_t value = avm_pte_entry_value(pte);
	avm_pte_t shared = pte;

	if (kind == AVM_ENTRY_POISON)
		return pte;
	if (k->private)
		shared = avm_pte_make_entry(kind, value, false, false);
	if (shared != pte)
		avm_ptc_change(&k->from, i, shared);
	if (kind == AVM_ENTRY_SWAP) {
		avm_slot_dup(k->machine, value);
		k->rss[AVM_RSS_SWAP]++;
	} else {
		k->rss[avm_page_rss(page_of(k, value))]++;
	}
	return shared;
}

/* The same for one that maps something. Empty, with nothing changed: a page has to be copied, and there is no spare. */
static inline avm_pte_t share_present(struct copy *k, uint64_t i, avm_pte_t pte)
{
	struct avm_page *page = counted_page(k, pte);

	if (page && stays_alone(page)) {
		if (!k->spare)
			return AVM_PTE_EMPTY;
		k->rss[AVM_RSS_ANON]++;
		pte = copy_early(k, page, k->from.addr + (i << AVM_PAGE_SHIFT));
	} else {
		if (k->private)
			pte = write_protect(&k->from, i, pte);
		if (page)
			share_page(k, page);
	}
	/* The child has not touched it yet. */
	return avm_pte_mkold(pte);
}

/* Entry i of the table. False, with nothing changed: it needs a spare page. => both tables locked. */
static bool copy_entry(struct copy *k, uint64_t i)
{
	avm_pte_t pte = avm_ptc_get_at(&k->from, i);

	if (avm_pte_empty(pte))
		return true;
	if (avm_likely(avm_pte_present(pte)))
		pte = share_present(k, i, pte);
	else
		pte = share_absent(k, i, pte);
	if (avm_pte_empty(pte))
		return false;
	avm_ptc_fill(&k->to, i, pte);
	k->entries++;
	return true;
}

#define LINE 8u /* entries in a cache line */
#define AHEAD (4 * LINE) /* about as long as a miss takes */

/*
 * The descriptors of pages that come soon, n entries from i on, if those are in this table: what lies behind the VMA is
 * likely to be the next one's. Pages do not lie in the order of their addresses.
 */
static inline void prefetch_pages(const struct copy *k, uint64_t i, unsigned n)
{
	const struct avm_region region = k->region;
	const struct avm_ptc from = k->from;

	if (!AVM_FAST || i + n > AVM_TABLE_ENTRIES - avm_ptc_index(&from))
		return;
#pragma GCC unroll 8
	for (unsigned j = 0; j < n; j++) {
		avm_pfn_t pfn = avm_pte_pfn(avm_ptc_get_at(&from, i + j)) - region.first;

		if (pfn < region.count)
			__builtin_prefetch(&region.pages[pfn], 1);
	}
}

/* What most entries are: of a page that one process has, and has written. NULL: it is not. */
static inline struct avm_page *common_page(const struct avm_region *r, avm_pte_t pte)
{
	avm_pfn_t pfn = avm_pte_pfn(pte) - r->first;
	struct avm_page *page;

	if (!avm_pte_present(pte) || !avm_pte_write(pte) || !avm_pte_young(pte) ||
	    !avm_pte_dirty(pte) || avm_pte_special(pte) || pfn >= r->count)
		return NULL;
	page = &r->pages[pfn];
	if (!avm_page_is_exclusive(page) || avm_page_pinned(page))
		return NULL;
	return page;
}

/*
 * LINE entries from i on, if all are like that: first they are read, then they are changed. False: nothing has changed.
 */
static inline bool copy_line(struct copy *k, uint64_t i)
{
	const struct avm_region region = k->region;
	struct avm_ptc from = k->from, to = k->to;
	struct avm_page *pages[LINE];

#pragma GCC unroll 8
	for (unsigned j = 0; j < LINE; j++) {
		pages[j] = common_page(&region, avm_ptc_get_at(&from, i + j));
		if (!pages[j])
			return false;
	}
#pragma GCC unroll 8
	for (unsigned j = 0; j < LINE; j++) {
		avm_pte_t pte = avm_pte_wrprotect(avm_ptc_get_at(&from, i + j));

		avm_rmap_share_anon(pages[j]);
		avm_ptc_change(&from, i + j, pte);
		avm_ptc_fill(&to, i + j, avm_pte_mkold(pte));
	}
	k->entries += LINE;
	k->rss[AVM_RSS_ANON] += LINE;
	return true;
}

/*
 * Entries first to n of the table, or up to one that needs a spare page. Returns how far it came. => both tables locked.
 */
static uint64_t copy_table(struct copy *k, uint64_t first, uint64_t n)
{
	uint64_t i = first, line = AVM_FAST && k->private ? first : n; /* where one is tried next */

	k->entries = 0;
	while (i < n) {
		if (i >= line && i + LINE <= n) {
			prefetch_pages(k, i + AHEAD, LINE);
			line = i + LINE;
			if (copy_line(k, i)) {
				i = line;
				continue;
			}
		}
		prefetch_pages(k, i + AHEAD, 1);
		if (!copy_entry(k, i))
			break;
		i++;
	}
	avm_ptc_filled(&k->to, k->entries);
	return i;
}

/* Where speed is asked for tables stay locked from VMA to VMA. */
static void unlock_last(struct copy *k)
{
	if (!AVM_FAST || !k->locked)
		return;
	avm_ptc_unlock_two(&k->from, &k->to);
	k->locked = false;
}

/* The locks are dropped for each page that has to be copied. 0, perhaps with both tables locked, or -ENOMEM. */
static avm_small int copy_whole_table(struct copy *k)
{
	uint64_t n = (k->from.stop - k->from.addr) >> AVM_PAGE_SHIFT, i = 0;

	for (;;) {
		if (!AVM_FAST || !k->locked)
			avm_ptc_lock_two(&k->from, &k->to);
		i = copy_table(k, i, n);
		if (AVM_FAST && i == n) {
			k->locked = true;
			return 0;
		}
		avm_ptc_unlock_two(&k->from, &k->to);
		if (AVM_FAST)
			k->locked = false;
		if (i == n)
			return 0;
		k->spare = avm_page_alloc(k->machine, AVM_FRAME_USER);
		if (!k->spare)
			return -AVM_ENOMEM;
	}
}

/*
 * To the first table of the VMA, to the next one: with the lock, if it is the one that is locked already, as it is for most
 * small VMAs. False: there is none.
 */
static bool first_table(struct copy *k, const struct avm_vma *parent)
{
	if (AVM_FAST && k->locked && avm_ptc_goto(&k->from, parent->start, parent->end) &&
	    avm_ptc_goto(&k->to, parent->start, parent->end))
		return true;
	unlock_last(k);
	return avm_ptc_first(&k->from, parent->mm, parent->start, parent->end);
}

static bool next_table(struct copy *k)
{
	if (AVM_FAST && k->from.stop == k->from.end)
		return false;
	unlock_last(k);
	return avm_ptc_next_table(&k->from);
}

static int copy_vma(struct copy *k, struct avm_vma *child, const struct avm_vma *parent)
{
	bool more = first_table(k, parent);
	int err = 0;

	k->child = child;
	k->private = !(parent->flags & AVM_VM_SHARED);
	for (; more && !err; more = next_table(k)) {
		if (!AVM_FAST || !k->locked)
			err = avm_ptc_make(&k->to, child->mm, k->from.addr);
		if (!err)
			err = copy_whole_table(k);
	}
	return err;
}

int avm_copy_entries(const struct avm_copy_pair *pairs, unsigned nr)
{
	struct avm_mm *mm = pairs->child->mm;
	struct avm *m = mm->machine;
	struct copy k = { .machine = m, .region = *avm_regions(m) };
	int err;

	avm_assert_mmap_write_locked(pairs->parent->mm);
	avm_assert_mmap_write_locked(mm);
	do {
		err = copy_vma(&k, pairs->child, pairs->parent);
		pairs++;
	} while (AVM_FAST && !err && --nr);
	unlock_last(&k);
	if (k.spare) /* a pin went away before it was used */
		avm_page_put(m, k.spare);
	for (int i = 0; i < AVM_NR_RSS; i++)
		avm_rss_add(mm, (enum avm_rss)i, k.rss[i]);
	return err;
}
