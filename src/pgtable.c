/* SPDX-License-Identifier: MIT */
/*
 * pgtable.c - finding, making and freeing page tables (pgtable.h).
 *
 * A table of level n covers avm_table_span(n) bytes; level 0 maps pages, the root is of level ROOT. Upper tables
 * are read without a lock: an entry that is set stays until avm_tables_free(), which nobody runs into who has
 * business there, and what it names was cleared before it could be seen (avm_arch_table_load).
 */
#include "pgtable.h"

#include <string.h>

#include "mmu_gather.h"
#include "page.h"
#include "pgtable_entry.h"
#include "pgtable_geometry.h"

#define ROOT AVM_TABLE_ROOT

extern inline void avm_ptc_lock(struct avm_ptc *c);
extern inline void avm_ptc_unlock(struct avm_ptc *c);

static struct avm_page *descriptor(struct avm *m, avm_pfn_t table)
{
	struct avm_page *page = avm_page_of(m, table);

	AVM_BUG_ON(m, !page);
	return page;
}

/* ---- finding ---------------------------------------------------------------------------------------- */

/*
 * From the root towards the table of level `to`, as far as there are tables: the one reached, and its level. Each is whole
 * once its entry can be seen (G-F).
 */
static avm_inlined avm_pfn_t descend(const struct avm_mm *mm, avm_addr_t addr, unsigned to,
				     unsigned *level)
{
	avm_pfn_t table = mm->root_table->pfn;

	for (*level = ROOT; *level > to; --*level) {
		avm_pte_t entry =
			avm_arch_table_load(avm_entry_at(mm->machine, table, addr, *level));

		if (!entry)
			break;
		table = avm_arch_table_pfn(entry);
	}
	return table;
}

/* Steps *addr over a run of empty entries of an upper table; false when that leads past `last`. */
static bool skip_hole(struct avm *m, avm_pfn_t table, unsigned level, avm_addr_t *addr,
		      avm_addr_t last)
{
	const avm_pte_t *entry = avm_entry_at(m, table, *addr, level);
	avm_addr_t at = *addr;

	for (unsigned i = avm_entry_index(at, level); i < AVM_TABLE_ENTRIES; i++, entry++) {
		avm_addr_t edge = at | (avm_entry_span(level) - 1);

		if (avm_arch_table_load(entry))
			break;
		if (edge >= last)
			return false;
		at = edge + 1;
	}
	*addr = at;
	return true;
}

/*
 * The first table of level `to` that covers part of [*addr, last], or AVM_PFN_NONE; *addr goes up to that part.
 */
static avm_inlined avm_pfn_t seek(const struct avm_mm *mm, avm_addr_t *addr, avm_addr_t last,
				  unsigned to)
{
	unsigned level;
	avm_pfn_t table;

	do {
		table = descend(mm, *addr, to, &level);
		if (level == to)
			return table;
		/* Mostly the hole is all that is left. */
		if (AVM_FAST && (*addr | (avm_entry_span(level) - 1)) >= last)
			return AVM_PFN_NONE;
	} while (skip_hole(mm->machine, table, level, addr, last));
	return AVM_PFN_NONE;
}

static void cursor_set(struct avm_ptc *c, avm_pfn_t table, avm_addr_t addr)
{
	avm_addr_t last = addr | (avm_table_span(0) - 1);

	c->addr = addr;
	c->stop = last < c->end - 1 ? last + 1 : c->end;
	c->table = descriptor(c->mm->machine, table);
	c->pte = avm_entry_at(c->mm->machine, table, addr, 0);
}

static avm_inlined bool cursor_seek(struct avm_ptc *c, avm_addr_t addr)
{
	avm_pfn_t table;

	if (addr >= c->end)
		return false;
	table = seek(c->mm, &addr, c->end - 1, 0);
	if (table == AVM_PFN_NONE)
		return false;
	cursor_set(c, table, addr);
	return true;
}

bool avm_ptc_at(struct avm_ptc *c, struct avm_mm *mm, avm_addr_t addr)
{
	unsigned level;
	avm_pfn_t table = descend(mm, addr, 0, &level);

	c->mm = mm;
	c->end = addr + AVM_PAGE_SIZE;
	if (level)
		return false;
	cursor_set(c, table, addr);
	return true;
}

bool avm_ptc_first(struct avm_ptc *c, struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	c->mm = mm;
	c->end = end;
	return cursor_seek(c, start);
}

bool avm_ptc_next_table(struct avm_ptc *c)
{
	return cursor_seek(c, c->stop);
}

static avm_small bool lock_if(struct avm_ptc *c, bool found)
{
	if (found)
		avm_ptc_lock(c);
	return found;
}

bool avm_ptc_begin(struct avm_ptc *c, struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	return lock_if(c, avm_ptc_first(c, mm, start, end));
}

bool avm_ptc_next_locked(struct avm_ptc *c)
{
	avm_ptc_unlock(c);
	return lock_if(c, avm_ptc_next_table(c));
}

struct avm_page *avm_pte_page(const struct avm *m, avm_pte_t pte)
{
	return avm_pte_present(pte) && !avm_pte_special(pte) ? avm_page_of(m, avm_pte_pfn(pte)) :
							       NULL;
}

struct avm_page *avm_ptc_page(const struct avm_ptc *c)
{
	return avm_pte_page(c->mm->machine, avm_ptc_get(c));
}

avm_pte_t avm_ptc_revoke(struct avm_ptc *c)
{
	avm_pte_t old = avm_ptc_clear(c);

	avm_tlb_flush(c->mm, c->addr, c->addr + AVM_PAGE_SIZE);
	return old;
}

/* ---- making ----------------------------------------------------------------------------------------- */

/* An empty table, not linked anywhere, or NULL. */
static struct avm_page *table_new(struct avm_mm *mm, avm_addr_t addr, unsigned level)
{
	struct avm *m = mm->machine;
	struct avm_page *table = avm_page_alloc(m, AVM_FRAME_TABLE);

	if (!table)
		return NULL;
	memset(avm_port_frame_ptr(m, table->pfn), 0, AVM_PAGE_SIZE);
	table->u.table.level = level;
	atomic_store_explicit(&table->mapping, (uintptr_t)mm, memory_order_relaxed);
	atomic_store_explicit(&table->index, addr & ~(avm_table_span(level) - 1),
			      memory_order_relaxed);
	return table;
}

/* Puts a table below `parent`, unless another thread has been faster. 0 or -ENOMEM. */
static int table_add(struct avm_mm *mm, avm_pfn_t parent, avm_addr_t addr, unsigned level)
{
	struct avm *m = mm->machine;
	avm_pte_t *entry = avm_entry_at(m, parent, addr, level + 1);
	struct avm_page *table = table_new(mm, addr, level);
	bool lost;

	if (!table)
		return -AVM_ENOMEM;

	avm_spin_lock(m, &mm->page_table_lock, AVM_LOCK_PAGE_TABLE);
	lost = avm_arch_table_load(entry);
	if (!lost) {
		descriptor(m, parent)->u.table.used++;
		atomic_fetch_add_explicit(&mm->tables, 1, memory_order_relaxed);
		avm_arch_table_store(entry, avm_arch_table_make(table->pfn)); /* G-F */
	}
	avm_spin_unlock(m, &mm->page_table_lock, AVM_LOCK_PAGE_TABLE);

	if (lost)
		avm_page_put(m, table);
	return 0;
}

int avm_ptc_make(struct avm_ptc *c, struct avm_mm *mm, avm_addr_t addr)
{
	avm_pfn_t table;
	unsigned level;

	avm_assert_fault_locked(mm);
	AVM_ASSERT(mm->machine, !(addr & ~AVM_PAGE_MASK));
	c->mm = mm;
	c->end = addr + AVM_PAGE_SIZE;
	while (table = descend(mm, addr, 0, &level), level) {
		int err = table_add(mm, table, addr, level - 1);

		if (err)
			return err;
	}
	cursor_set(c, table, addr);
	return 0;
}

int avm_tables_make(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	struct avm_ptc c;

	while (start < end) {
		avm_addr_t last = start | (avm_table_span(0) - 1);
		int err = avm_ptc_make(&c, mm, start);

		if (err)
			return err;
		if (last >= end - 1)
			break;
		start = last + 1;
	}
	return 0;
}

/* ---- two at once ------------------------------------------------------------------------------------ */

void avm_ptc_lock_two(struct avm_ptc *a, struct avm_ptc *b)
{
	bool ordered = (uintptr_t)&a->table->table_lock < (uintptr_t)&b->table->table_lock;
	struct avm_ptc *second = ordered ? b : a;

	avm_ptc_lock(ordered ? a : b);
	if (a->table != b->table)
		avm_spin_lock_nested(second->mm->machine, &second->table->table_lock,
				     AVM_LOCK_TABLE);
}

void avm_ptc_unlock_two(struct avm_ptc *a, struct avm_ptc *b)
{
	if (a->table != b->table)
		avm_ptc_unlock(b);
	avm_ptc_unlock(a);
}

/* ---- the root --------------------------------------------------------------------------------------- */

int avm_pgtable_init(struct avm_mm *mm)
{
	struct avm *m = mm->machine;
	struct avm_page *root = table_new(mm, 0, ROOT);
	int err;

	if (!root)
		return -AVM_ENOMEM;
	err = avm_port_root_init(m, mm, avm_port_frame_ptr(m, root->pfn));
	if (err) {
		avm_page_put(m, root);
		return err;
	}
	mm->root_table = root;
	atomic_store_explicit(&mm->tables, 1, memory_order_relaxed);
	return 0;
}

void avm_pgtable_fini(struct avm_mm *mm)
{
	struct avm *m = mm->machine;

	AVM_BUG_ON(m, mm->root_table->u.table.used);
	AVM_BUG_ON(m, atomic_load_explicit(&mm->tables, memory_order_relaxed) != 1);
	avm_page_put(m, mm->root_table);
	mm->root_table = NULL;
	atomic_store_explicit(&mm->tables, 0, memory_order_relaxed);
}

/* ---- freeing ---------------------------------------------------------------------------------------- */

static avm_noinline void table_unlink(struct avm_gather *g, struct avm_page *table)
{
	struct avm_mm *mm = g->mm;
	struct avm *m = mm->machine;
	unsigned level = table->u.table.level, parent_level;
	avm_addr_t first = atomic_load_explicit(&table->index, memory_order_relaxed);
	avm_pfn_t parent = descend(mm, first, level + 1, &parent_level);

	AVM_BUG_ON(m, parent_level != level + 1);
	avm_spin_lock(m, &mm->page_table_lock, AVM_LOCK_PAGE_TABLE);
	avm_arch_table_store(avm_entry_at(m, parent, first, parent_level), AVM_PTE_EMPTY);
	descriptor(m, parent)->u.table.used--;
	atomic_fetch_sub_explicit(&mm->tables, 1, memory_order_relaxed);
	avm_spin_unlock(m, &mm->page_table_lock, AVM_LOCK_PAGE_TABLE);

	/* An MMU may have cached the way through this table, for any address below it. */
	avm_gather_flush_page(g, first, avm_table_span(level));
	avm_gather_table(g, table);
}

/* The tables of one level that lie within [floor, last] and touch [start, end). */
static void level_free(struct avm_gather *g, unsigned level, avm_addr_t start, avm_addr_t end,
		       avm_addr_t floor, avm_addr_t last)
{
	struct avm *m = g->mm->machine;
	uint64_t mask = avm_table_span(level) - 1;
	avm_pfn_t pfn;

	while ((pfn = seek(g->mm, &start, end - 1, level)) != AVM_PFN_NONE) {
		struct avm_page *table = descriptor(m, pfn);
		avm_addr_t edge = start | mask;

		if ((start & ~mask) >= floor && edge <= last) {
			AVM_BUG_ON(m, !level && table->u.table.used);
			if (!table->u.table.used)
				table_unlink(g, table);
		}
		if (edge >= end - 1)
			return;
		start = edge + 1;
	}
}

static bool table_fits(unsigned level, avm_addr_t floor, avm_addr_t last)
{
	uint64_t mask = avm_table_span(level) - 1;
	avm_addr_t fit = (floor + mask) & ~mask;

	return fit >= floor && fit <= last && last - fit >= mask;
}

/* Where no table of a level fits between the neighbours no larger one does. */
static avm_noinline void levels_free(struct avm_gather *g, avm_addr_t start, avm_addr_t end,
				     avm_addr_t floor, avm_addr_t last)
{
	for (unsigned level = 0; level < ROOT && table_fits(level, floor, last); level++)
		level_free(g, level, start, end, floor, last);
}

void avm_tables_free(struct avm_gather *g, avm_addr_t start, avm_addr_t end, avm_addr_t floor,
		     avm_addr_t ceiling)
{
	/* Nothing of ours lies above the address space, so its last tables may reach beyond it. */
	avm_addr_t last = ceiling < g->mm->task_size ? ceiling - 1 : ~(avm_addr_t)0;

	avm_assert_mmap_write_locked(g->mm);
	if (start < end && (!AVM_FAST || table_fits(0, floor, last)))
		levels_free(g, start, end, floor, last);
}
