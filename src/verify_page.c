/* SPDX-License-Identifier: MIT */
/*
 * verify_page.c - the page tables of an address space and what their entries map: V20, V23, V24,
 * V32 (verify.h).
 *
 * A table is entered once, from the one entry whose place it names; what the entries say of each
 * frame is added up in the notes, for verify_frame.c to compare.
 */
#include "verify.h"

#include "avm_arch.h"
#include "avm_port.h"
#include "vma.h"

#define ROOT (AVM_TABLE_LEVELS - 1)

struct scan {
	struct avm_verify *v;
	const struct avm_mm *mm;
	const struct avm_vma *vma; /* the first that ends above the entry looked at */
	const struct avm_vma *stamped; /* the VMA whose chain has `stamp` */
	uint32_t stamp;
	uint64_t tables;
	uint64_t rss[AVM_NR_RSS];
};

static uint64_t entry_span(uint32_t level)
{
	return UINT64_C(1) << (AVM_PAGE_SHIFT + AVM_TABLE_SHIFT * level);
}

/* ---- entries -------------------------------------------------------------------------------- */

static void complain(struct scan *s, unsigned number, const char *what, avm_addr_t addr,
		     const struct avm_page *page)
{
	avm_verify_say(
		s->v, number, what,
		&(struct avm_where){ .mm = s->mm, .vma = s->vma, .addr = addr, .page = page });
}

static void stamp_chain(struct scan *s)
{
	if (s->stamped == s->vma)
		return;
	s->stamp = avm_verify_stamp_chain(s->v, s->vma);
	s->stamped = s->vma;
}

/* V22, from the other end: the walk from the page comes by here, since it is led to a tree that the VMA is in (V12). */
static void check_merged(struct scan *s, avm_addr_t addr, const struct avm_page *page)
{
	const struct avm_merged *node = avm_verify_merged_node(s->v, page);

	stamp_chain(s);
	if (node && !avm_verify_merged_leads(s->v, node, s->stamp, avm_vma_index(s->vma, addr)))
		complain(s, 22, "no item of a merged page leads to an entry that maps it", addr,
			 page);
}

/* V20; V16 as far as pages go. */
static void check_anon(struct scan *s, avm_addr_t addr, const struct avm_page *page)
{
	const struct avm_anon_vma *av = avm_page_anon_vma(page);
	const struct avm_record *r = avm_verify_record(s->v, AVM_IS_ANON_VMA, av);

	if (!r) {
		complain(s, 16, "a mapped page's anon_vma has been freed", addr, page);
		return;
	}
	if (avm_itree_empty(&av->tree))
		complain(s, 16, "a mapped page's anon_vma has no entries", addr, page);
	stamp_chain(s);
	if (r->stamp != s->stamp)
		avm_verify_say(s->v, 20, "page->mapping is not in the chain of the VMA",
			       &(struct avm_where){ .mm = s->mm,
						    .vma = s->vma,
						    .addr = addr,
						    .page = page,
						    .av = av });
	if (atomic_load_explicit(&page->index, memory_order_relaxed) != avm_vma_index(s->vma, addr))
		complain(s, 20, "page->index is not that of the address", addr, page);
}

/* V23 */
static void check_writable(struct scan *s, avm_addr_t addr, const struct avm_page *page)
{
	if (!(s->vma->flags & AVM_VM_WRITE))
		complain(s, 23, "a writable entry in a mapping that is read-only", addr, page);
	if (s->vma->flags & AVM_VM_SHARED)
		return;
	if (!avm_page_mapped_once(page))
		complain(s, 23, "a writable private page is mapped more than once", addr, page);
	if (!avm_page_is_anon(page))
		complain(s, 23, "a page of a file is writable through a private mapping", addr,
			 page);
	else if (!avm_page_is_exclusive(page))
		complain(s, 23, "a writable private page is not exclusive", addr, page);
}

/* Is the address in a VMA? The scan comes by in ascending order. */
static bool find_vma(struct scan *s, avm_addr_t addr)
{
	while (s->vma && s->vma->end <= addr)
		s->vma = avm_verify_next_vma(s->v, s->mm, s->vma);
	return s->vma && s->vma->start <= addr;
}

static enum avm_rss rss_of(const struct avm_page *page)
{
	if (avm_page_is_anon(page))
		return AVM_RSS_ANON;
	return avm_page_test(page, AVM_PG_SHMEM) ? AVM_RSS_SHMEM : AVM_RSS_FILE;
}

static void check_mapped(struct scan *s, avm_addr_t addr, avm_pte_t pte,
			 const struct avm_page *page, uint32_t *note)
{
	uint32_t flags = avm_page_flags(page);

	if (flags & AVM_PG_TABLE) {
		complain(s, 25, "a page table is mapped", addr, page);
		return;
	}
	if (!(flags & AVM_PG_INUSE)) {
		complain(s, 26, "a free frame is mapped", addr, page);
		return;
	}
	s->rss[rss_of(page)]++;
	if (!find_vma(s, addr)) {
		avm_verify_say(s->v, 20, "an entry that no VMA covers",
			       &(struct avm_where){ .mm = s->mm, .addr = addr, .page = page });
		return;
	}
	if (s->vma->flags & AVM_VM_LOCKED)
		*note |= AVM_NOTE_LOCKED;
	if (avm_page_is_merged(page))
		check_merged(s, addr, page);
	else if (avm_page_is_anon(page))
		check_anon(s, addr, page);
	if (avm_pte_write(pte))
		check_writable(s, addr, page);
}

static void check_present(struct scan *s, avm_addr_t addr, avm_pte_t pte)
{
	struct avm_page *page;
	uint32_t *note;

	if (avm_pte_special(pte))
		return;
	note = avm_verify_note(s->v, avm_pte_pfn(pte), &page);
	if (!note) {
		avm_verify_say(s->v, 21, "an entry maps a frame of no region",
			       &(struct avm_where){ .mm = s->mm, .addr = addr });
		return;
	}
	if (page == s->v->m->zero_page) {
		if (avm_pte_write(pte))
			complain(s, 24, "the zero page is writable", addr, page);
		if (!find_vma(s, addr))
			avm_verify_say(
				s->v, 20, "an entry that no VMA covers",
				&(struct avm_where){ .mm = s->mm, .addr = addr, .page = page });
		return;
	}
	if ((*note & AVM_NOTE_COUNT) < AVM_NOTE_COUNT)
		++*note;
	if (!avm_pte_dirty(pte))
		*note |= AVM_NOTE_CLEAN;
	check_mapped(s, addr, pte, page, note);
}

/* An entry that stands for a page that is not mapped. */
static void check_absent(struct scan *s, avm_addr_t addr, avm_pte_t pte)
{
	const struct avm_where where = { .mm = s->mm, .addr = addr };

	if (!find_vma(s, addr))
		avm_verify_say(s->v, 20, "an entry that no VMA covers", &where);
	switch (avm_pte_entry_kind(pte)) {
	case AVM_ENTRY_SWAP:
		s->rss[AVM_RSS_SWAP]++;
		avm_verify_slot_named(s->v, avm_pte_entry_value(pte), &where);
		if (s->vma && s->vma->start <= addr && !avm_vma_anon(s->vma))
			complain(s, 20, "a swap entry in a VMA without anon_vma", addr, NULL);
		return;
	case AVM_ENTRY_POISON:
		return;
	case AVM_ENTRY_MIGRATION:
		break;
	}
	/* Nobody is moving a page while the machine is at rest. */
	avm_verify_say(s->v, 25, "a page is being moved, or an entry is of no kind", &where);
}

static void check_entry(struct scan *s, avm_addr_t addr, avm_pte_t pte)
{
	if (avm_pte_present(pte))
		check_present(s, addr, pte);
	else
		check_absent(s, addr, pte);
}

/* ---- tables --------------------------------------------------------------------------------- */

static void bad_table(struct scan *s, const char *what, avm_addr_t addr,
		      const struct avm_page *page)
{
	avm_verify_say(s->v, 25, what,
		       &(struct avm_where){ .mm = s->mm, .addr = addr, .page = page });
}

static const avm_pte_t *entries_of(struct avm_verify *v, const struct avm_page *table)
{
	return avm_port_frame_ptr(v->m, table->pfn);
}

/* Marks the table as met; false when it cannot be entered. */
static bool enter_table(struct scan *s, const struct avm_page *table, uint32_t *note,
			uint32_t level, avm_addr_t addr)
{
	const struct avm_where where = { .mm = s->mm, .page = table, .detail = "page table" };
	uint32_t flags = avm_page_flags(table);
	struct avm_page *of_pfn;

	if (avm_verify_note(s->v, table->pfn, &of_pfn) != note) {
		bad_table(s, "a page table does not know its frame", addr, table);
		return false;
	}
	if ((flags & (AVM_PG_INUSE | AVM_PG_TABLE)) != (AVM_PG_INUSE | AVM_PG_TABLE) ||
	    table->u.table.level != level || !entries_of(s->v, table)) {
		bad_table(s, "an upper entry leads to no table of the level below", addr, table);
		return false;
	}
	if (*note & AVM_NOTE_TABLE) {
		bad_table(s, "a page table is met in two places", addr, table);
		return false;
	}
	*note |= AVM_NOTE_TABLE;
	s->tables++;
	if (atomic_load_explicit(&table->mapping, memory_order_relaxed) != (uintptr_t)s->mm)
		bad_table(s, "a page table names another address space", addr, table);
	if (atomic_load_explicit(&table->index, memory_order_relaxed) != addr)
		bad_table(s, "a page table names another address", addr, table);
	avm_verify_spin(s->v, &table->table_lock, &where);
	return true;
}

static uint32_t scan_leaf(struct scan *s, const struct avm_page *table, avm_addr_t addr)
{
	const avm_pte_t *entries = entries_of(s->v, table);
	uint32_t used = 0;

	for (uint32_t i = 0; i < AVM_TABLE_ENTRIES; i++, addr += AVM_PAGE_SIZE) {
		avm_pte_t pte = avm_arch_pte_load(&entries[i]);

		if (avm_pte_empty(pte))
			continue;
		used++;
		check_entry(s, addr, pte);
	}
	return used;
}

static void check_used(struct scan *s, const struct avm_page *table, uint32_t used)
{
	avm_verify_equal(s->v, 25, "entries in use of a page table",
			 &(struct avm_where){ .mm = s->mm, .page = table }, table->u.table.used,
			 used);
}

/* One way down, of tables that have been entered. */
struct way {
	struct {
		const struct avm_page *table;
		const avm_pte_t *entries;
		avm_addr_t addr; /* of the next entry */
		uint32_t i;
		uint32_t used;
	} at[AVM_TABLE_LEVELS];
};

static void descend(struct scan *s, struct way *way, uint32_t level, const struct avm_page *table,
		    avm_addr_t addr)
{
	way->at[level].table = table;
	way->at[level].entries = entries_of(s->v, table);
	way->at[level].addr = addr;
	way->at[level].i = 0;
	way->at[level].used = 0;
}

/* The table that the next entry of an upper level names, entered; NULL when there is none. */
static const struct avm_page *next_table(struct scan *s, struct way *way, uint32_t level,
					 avm_addr_t *addr)
{
	avm_pte_t entry = avm_arch_table_load(&way->at[level].entries[way->at[level].i++]);
	struct avm_page *table;
	uint32_t *note;

	*addr = way->at[level].addr;
	way->at[level].addr += entry_span(level);
	/* Above the addresses of users the root is the port's (avm_port_root_init()). */
	if (!entry || *addr >= AVM_ARCH_TASK_SIZE)
		return NULL;
	way->at[level].used++;
	note = avm_verify_note(s->v, avm_arch_table_pfn(entry), &table);
	if (!note) {
		bad_table(s, "an upper entry leads to a frame of no region", *addr, NULL);
		return NULL;
	}
	return enter_table(s, table, note, level - 1, *addr) ? table : NULL;
}

static void scan_tables(struct scan *s)
{
	const struct avm_page *root = s->mm->root_table;
	uint32_t *note = avm_verify_note_of(s->v, root);
	uint32_t level = ROOT;
	struct way way;

	if (!note) {
		avm_verify_say(s->v, 25, "the root table is no frame",
			       &(struct avm_where){ .mm = s->mm, .raw = root });
		return;
	}
	if (!enter_table(s, root, note, ROOT, 0))
		return;
	descend(s, &way, ROOT, root, 0);
	while (level <= ROOT) {
		const struct avm_page *table;
		avm_addr_t addr;

		if (way.at[level].i == AVM_TABLE_ENTRIES) {
			check_used(s, way.at[level].table, way.at[level].used);
			level++;
			continue;
		}
		table = next_table(s, &way, level, &addr);
		if (!table)
			continue;
		if (level == 1)
			check_used(s, table, scan_leaf(s, table, addr));
		else
			descend(s, &way, --level, table, addr);
	}
}

avm_pte_t avm_verify_pte(struct avm_verify *v, const struct avm_mm *mm, avm_addr_t addr)
{
	struct avm_page *table = mm->root_table;
	const uint32_t *note = avm_verify_note_of(v, table);
	uint32_t level = ROOT;

	for (; note && (*note & AVM_NOTE_TABLE); level--) {
		const avm_pte_t *slot = entries_of(v, table);
		avm_pte_t entry;

		slot += addr / entry_span(level) % AVM_TABLE_ENTRIES;
		if (!level)
			return avm_arch_pte_load(slot);
		entry = avm_arch_table_load(slot);
		note = entry ? avm_verify_note(v, avm_arch_table_pfn(entry), &table) : NULL;
	}
	return AVM_PTE_EMPTY;
}

/* ---- one address space ---------------------------------------------------------------------- */

/* V32 */
static void check_counts(struct scan *s)
{
	static const char *const names[AVM_NR_RSS] = {
		[AVM_RSS_FILE] = "rss of file pages",
		[AVM_RSS_ANON] = "rss of anonymous pages",
		[AVM_RSS_SWAP] = "swap entries",
		[AVM_RSS_SHMEM] = "rss of shared anonymous memory",
	};
	const struct avm_where where = { .mm = s->mm };

	for (unsigned i = 0; i < AVM_NR_RSS; i++)
		avm_verify_equal(s->v, 32, names[i], &where, avm_mm_rss(s->mm, (enum avm_rss)i),
				 s->rss[i]);
	avm_verify_equal(s->v, 32, "number of page tables", &where,
			 atomic_load_explicit(&s->mm->tables, memory_order_relaxed), s->tables);
}

void avm_verify_entries(struct avm_verify *v, struct avm_mm *mm)
{
	struct scan s = { .v = v, .mm = mm, .vma = avm_verify_next_vma(v, mm, NULL) };

	scan_tables(&s);
	check_counts(&s);
}
