/* SPDX-License-Identifier: MIT */
/* pgtable_check.c - every table of an address space, whatever state it is in: for verify (pgtable.h). */
#include "pgtable.h"

#include "page.h"
#include "pgtable_geometry.h"

/*
 * The table of `level` at addr as descend() finds it, believing nothing: each descriptor on the way must be of a
 * table of the right level at the right address, which bounds the walk. NULL: none, or corrupt.
 */
static struct avm_page *descend_checked(const struct avm_mm *mm, avm_addr_t addr, unsigned to)
{
	struct avm *m = mm->machine;
	struct avm_page *table = mm->root_table;

	for (unsigned level = AVM_TABLE_ROOT; level > to; level--) {
		avm_pte_t entry = avm_arch_table_load(avm_entry_at(m, table->pfn, addr, level));

		table = entry ? avm_page_of(m, avm_arch_table_pfn(entry)) : NULL;
		if (!table || !avm_page_test(table, AVM_PG_TABLE) ||
		    table->u.table.level != level - 1 ||
		    atomic_load_explicit(&table->index, memory_order_relaxed) !=
			    (addr & ~(avm_table_span(level - 1) - 1)))
			return NULL;
	}
	return table;
}

/* The first such table that covers addresses from `addr` to `last`; NULL: none. */
static struct avm_page *seek_checked(const struct avm_mm *mm, avm_addr_t addr, avm_addr_t last,
				     unsigned to)
{
	for (;;) {
		unsigned level = to;
		avm_addr_t edge;
		struct avm_page *table = descend_checked(mm, addr, to);

		if (table)
			return table;
		/* Nothing here: neither is there in all of the largest table that is not there. */
		while (level + 1 < AVM_TABLE_ROOT && !descend_checked(mm, addr, level + 1))
			level++;
		edge = addr | (avm_table_span(level) - 1);
		if (edge >= last)
			return NULL;
		addr = edge + 1;
	}
}

bool avm_table_walk_next(struct avm_table_walk *w)
{
	const struct avm_mm *mm = w->mm;
	avm_addr_t last =
		(mm->task_size < AVM_ARCH_TASK_SIZE ? mm->task_size : AVM_ARCH_TASK_SIZE) - 1;

	if (!mm->root_table)
		return false;
	if (!w->table) {
		w->table = mm->root_table;
		w->level = AVM_TABLE_ROOT;
		w->next = last + 1;
		return true;
	}
	for (;;) {
		struct avm_page *table =
			w->next <= last ? seek_checked(mm, w->next, last, w->level) : NULL;

		if (table) {
			avm_addr_t first =
				atomic_load_explicit(&table->index, memory_order_relaxed);

			w->table = table;
			w->next = first + avm_table_span(w->level);
			return true;
		}
		if (!w->level)
			return false;
		w->level--;
		w->next = 0;
	}
}
