/* SPDX-License-Identifier: MIT */
/* zap.c - taking away the entries of a range, and the pages of a file from everybody (zap.h, R12). */
#include "zap.h"

#include "file.h"
#include "lru.h"
#include "page.h"
#include "pgtable.h"
#include "rmap.h"
#include "swap_slot.h"
#include "vma.h"

/* One run of the loop over a table, which ends with the table or with a full batch. */
struct zap {
	struct avm_gather *g;
	struct avm_vma *vma;
	enum avm_zap_what what;
	int64_t rss[AVM_NR_RSS];
	bool full;
	bool dirty; /* somebody may still be writing to a page of a file */
};

/* An entry that stands for a page that is not mapped: nothing to flush. => table lock. */
static void zap_absent(struct zap *z, struct avm_ptc *c, avm_pte_t entry)
{
	struct avm *m = c->mm->machine;
	uint64_t value = avm_pte_entry_value(entry);
	enum avm_rss rss = AVM_RSS_SWAP;
	bool private = true;

	if (avm_pte_entry_kind(entry) == AVM_ENTRY_MIGRATION) {
		rss = avm_page_rss(avm_page_of(m, value));
		private = rss == AVM_RSS_ANON;
	} else if (avm_pte_entry_kind(entry) == AVM_ENTRY_POISON) {
		private = avm_pte_entry_exclusive(entry);
	}
	if (z->what == AVM_ZAP_FILE_ONLY && private)
		return;
	avm_ptc_clear(c);
	if (avm_pte_entry_kind(entry) != AVM_ENTRY_POISON)
		z->rss[rss]--;
	if (avm_pte_entry_kind(entry) == AVM_ENTRY_SWAP)
		avm_slot_put(m, value);
}

/* Empties the cursor's entry, which is not empty. => table lock. */
static void zap_entry(struct zap *z, struct avm_ptc *c)
{
	struct avm *m = c->mm->machine;
	avm_pte_t pte = avm_ptc_get(c);
	struct avm_page *page = NULL;

	if (!avm_pte_present(pte)) {
		zap_absent(z, c, pte);
		return;
	}
	if (!avm_pte_special(pte)) {
		page = avm_page_of(m, avm_pte_pfn(pte));
		AVM_BUG_ON(m, !page);
	}
	if (page && z->what == AVM_ZAP_FILE_ONLY && avm_page_is_anon(page))
		return;

	pte = avm_ptc_clear(c);
	avm_gather_flush_page(z->g, c->addr, AVM_PAGE_SIZE);
	if (!page || page == m->zero_page)
		return;
	if (avm_pte_dirty(pte) && !avm_page_is_anon(page)) {
		avm_page_set(page, AVM_PG_DIRTY);
		z->dirty = true;
	}
	/* Who had it locked has lost it, and somebody may keep the page: the cache, a pin. Truncation has no mmap_lock. */
	if (avm_page_test(page, AVM_PG_UNEVICTABLE) && (avm_vma_peek_flags(z->vma) & AVM_VM_LOCKED))
		avm_lru_set_unevictable(m, page, false);
	z->rss[avm_page_rss(page)]--;
	z->full = avm_gather_page(z->g, page);
}

static void zap_table(struct zap *z, struct avm_ptc *c)
{
	avm_ptc_lock(c);
	/* A table without entries left has nothing to look for. */
	for (; c->addr < c->stop && c->table->u.table.used && !z->full; avm_ptc_step(c)) {
		if (!avm_pte_empty(avm_ptc_get(c)))
			zap_entry(z, c);
	}
	/*
	 * Whoever writes a page of a file back cleans its entries first, and there is none any more: what an old
	 * translation stored after that would be lost. He comes by this lock, since the page counts as mapped until the
	 * flush; so the translations go before it is dropped (G-K).
	 */
	if (z->dirty)
		avm_gather_flush_tlb(z->g);
	z->dirty = false;
	avm_ptc_unlock(c);
}

/* From the first table that there is. */
static void zap_tables(struct avm_gather *g, struct avm_vma *vma, struct avm_ptc *c,
		       enum avm_zap_what what)
{
	struct zap z = { .g = g, .vma = vma, .what = what };

	do {
		zap_table(&z, c);
		while (z.full) {
			avm_gather_flush(g);
			z.full = false;
			zap_table(&z, c);
		}
	} while (avm_ptc_next_table(c));
	for (int i = 0; i < AVM_NR_RSS; i++)
		avm_rss_add(vma->mm, (enum avm_rss)i, z.rss[i]);
}

void avm_zap_range(struct avm_gather *g, struct avm_vma *vma, avm_addr_t start, avm_addr_t end,
		   enum avm_zap_what what)
{
	struct avm_ptc c;

	if (avm_ptc_first(&c, vma->mm, start, end))
		zap_tables(g, vma, &c, what);
}

static void zap_mapping(struct avm_vma *vma, uint64_t first, uint64_t last, enum avm_zap_what what)
{
	avm_addr_t start = vma->start, end = vma->end;
	struct avm_gather g;

	if (first > avm_shared_first(vma))
		start = avm_vma_addr(vma, first);
	if (last < avm_shared_last(vma))
		end = avm_vma_addr(vma, last + 1);
	avm_notify_start_rmap(vma->mm, start, end);
	avm_gather_begin(&g, vma->mm);
	avm_zap_range(&g, vma, start, end, what);
	avm_gather_finish(&g);
	avm_notify_end_rmap(vma->mm, start, end);
}

void avm_zap_file(struct avm_file *file, uint64_t first, uint64_t last, enum avm_zap_what what)
{
	struct avm_vma *vma;

	/* Cannot be given up half-way: what was cut off a file must be gone. In the order of the tree: G-Q. */
	avm_mappings_lock_read(file);
	for (vma = avm_mappings_iter_first(&file->mappings, first, last); vma;
	     vma = avm_mappings_iter_next(vma, first, last))
		zap_mapping(vma, first, last, what);
	avm_mappings_unlock_read(file);
}
