/* SPDX-License-Identifier: MIT */
/* pgtable_geometry.h - what a table of which level covers, for pgtable.c only. */
#ifndef AVM_PGTABLE_GEOMETRY_H
#define AVM_PGTABLE_GEOMETRY_H

#include "avm_arch.h"
#include "avm_port.h"

#define AVM_TABLE_ROOT (AVM_TABLE_LEVELS - 1)

_Static_assert(AVM_TABLE_ENTRIES * sizeof(avm_pte_t) <= AVM_PAGE_SIZE, "a table is one frame");

/* Bytes that one entry of a table of this level covers; and the whole table. */
static inline uint64_t avm_entry_span(unsigned level)
{
	return 1ull << (AVM_PAGE_SHIFT + AVM_TABLE_SHIFT * level);
}

static inline uint64_t avm_table_span(unsigned level)
{
	return avm_entry_span(level + 1);
}

static inline unsigned avm_entry_index(avm_addr_t addr, unsigned level)
{
	return (unsigned)(addr >> (AVM_PAGE_SHIFT + AVM_TABLE_SHIFT * level)) &
	       (AVM_TABLE_ENTRIES - 1);
}

static inline avm_pte_t *avm_entry_at(struct avm *m, avm_pfn_t table, avm_addr_t addr,
				      unsigned level)
{
	return (avm_pte_t *)avm_port_frame_ptr(m, table) + avm_entry_index(addr, level);
}

#endif
