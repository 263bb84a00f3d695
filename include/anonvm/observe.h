/* SPDX-License-Identifier: MIT */
/*
 * observe.h - looking at a machine: iterators, invariants, counters, dumps. Nothing here changes anything.
 *
 * Iterators are structs the caller places; they want a machine at rest, or the address space's mmap_lock
 * held (any mode). They never allocate and never sleep.
 */
#ifndef ANONVM_OBSERVE_H
#define ANONVM_OBSERVE_H

#include "anonvm/file.h"
#include "anonvm/machine.h"
#include "anonvm/mm.h"
#include "anonvm/types.h"

/* ---- iterators ------------------------------------------------------------------------------------ */

/* Address spaces of a machine in order of making: NULL first, NULL after the last. */
struct avm_mm *avm_next_mm(struct avm *m, struct avm_mm *mm);

/* VMAs in address order: NULL first. And the first VMA that ends above addr. */
struct avm_vma *avm_next_vma(struct avm_mm *mm, struct avm_vma *vma);
struct avm_vma *avm_find_vma(struct avm_mm *mm, avm_addr_t addr);

enum avm_pte_kind {
	AVM_PTE_NONE,
	AVM_PTE_PRESENT,
	AVM_PTE_SWAP,
	AVM_PTE_MIGRATION,
	AVM_PTE_POISON,
};

/* What stands in one page-table entry. */
struct avm_pte_info {
	avm_addr_t addr;
	enum avm_pte_kind kind;
	avm_pfn_t pfn; /* present */
	uint64_t entry; /* swap: the slot */
	struct avm_page *page; /* NULL for a bare frame */
	bool write, exec, young, dirty;
	bool none; /* present, but not to be accessed (PROT_NONE) */
	bool zero; /* the zero page */
	bool special; /* bare frame */
	bool exclusive; /* of the page, or of the entry that stands for it: no other process can see it (R5.6) */
};

/* The entry for one address; kind NONE where there is not even a table. */
void avm_pte_at(struct avm_mm *mm, avm_addr_t addr, struct avm_pte_info *info);

/* The next entry that is not empty at or above info->addr and below end; false when there is none. */
bool avm_next_pte(struct avm_mm *mm, avm_addr_t end, struct avm_pte_info *info);

/* An anon_vma as people see it. */
struct avm_anon_vma_info {
	const struct avm_anon_vma *anon_vma;
	uint64_t id;
	uint64_t root_id;
	uint64_t parent_id;
	uint32_t refcount, num_children, num_active_vmas;
	uint64_t nr_avcs; /* VMAs in its tree */
};
void avm_anon_vma_info(const struct avm_anon_vma *av, struct avm_anon_vma_info *info);

/*
 * Is this an anon_vma of the machine that has not been freed, and are the root and the parent that it
 * names? Whatever the pointer is: it is followed only when it leads to one. For what
 * avm_page_anon_vma() gives, and chains in doubt, before they are looked at. O(log slabs).
 */
bool avm_anon_vma_live(struct avm *m, const struct avm_anon_vma *av);

/* The chain of a VMA, newest anon_vma first: pass NULL first; returns NULL after the last. */
struct avm_anon_vma *avm_next_in_chain(const struct avm_vma *vma, const struct avm_anon_vma *av);

/* VMAs in the tree of an anon_vma, by page: NULL first. O(log n + distance of duplicates). */
struct avm_vma *avm_next_in_family(const struct avm_anon_vma *av, struct avm_vma *vma);

/* The anon_vma that an anonymous page's mapping names, or NULL. May be stale when the page is unmapped. */
struct avm_anon_vma *avm_page_anon_vma(const struct avm_page *page);

/* Everybody who maps a page: one reverse walk (R7). Place it, begin, next until false, end. */
struct avm_rmap_iter {
	struct avm_vma *vma; /* valid after next() has returned true */
	avm_addr_t addr;
	/* the core's own */
	struct avm_page *page;
	void *lock_root;
	void *position;
	const struct avm_merged_item
		*item; /* of a merged page (R15): a place that is of two of them is met twice */
	uint64_t first;
	uint32_t visited, mapped;
	int kind;
};
/* Returns 0; -ENOENT when nobody can be asked (unmapped, or the family is gone). Takes the page lock. */
int avm_rmap_iter_begin(struct avm *m, struct avm_rmap_iter *it, struct avm_page *page);
bool avm_rmap_iter_next(struct avm *m, struct avm_rmap_iter *it);
void avm_rmap_iter_end(struct avm *m, struct avm_rmap_iter *it);

/* ---- counters ------------------------------------------------------------------------------------- */

struct avm_stats {
	uint64_t frames_total, frames_used, tables;
	uint64_t lru[AVM_NR_LRU];
	uint64_t mms, vmas, anon_vmas, avcs;
	uint64_t vmas_peak, anon_vmas_peak, avcs_peak;
	uint64_t meta_bytes, meta_bytes_peak;
	uint64_t committed, commit_limit;
	uint64_t swap_total, swap_used; /* slots */
	uint64_t ksm_pages_shared; /* merged pages (R15) */
	uint64_t ksm_pages_sharing; /* places that have given up a page for one of them, or still stand for one */
	uint64_t events[AVM_NR_EVENTS];
	uint64_t refused[AVM_NR_REFUSALS];
};
void avm_stats(struct avm *m, struct avm_stats *s);
const char *avm_event_name(enum avm_event e); /* "cow_copies", for reports and JSON */
const char *avm_refusal_name(enum avm_refusal r); /* "flags", "fork_child", ... */

/* Per address space, counted from its VMAs now: O(VMAs + chains). */
struct avm_mm_stats {
	uint64_t vmas, avcs;
	uint64_t faulted, fork_children; /* VMAs; R2.2 */
	uint64_t longest_chain;
	uint64_t rss[AVM_NR_RSS];
	uint64_t total_vm, locked_vm, data_vm, exec_vm, stack_vm, tables;
};
void avm_mm_stats(struct avm_mm *mm, struct avm_mm_stats *s);

/*
 * What the pages of one VMA add up to, counted now: the fields of /proc/PID/smaps, in bytes. The zero page and bare
 * frames are in none of them. => machine at rest, or mmap_lock.
 */
struct avm_vma_stats {
	uint64_t size;
	uint64_t rss;
	uint64_t pss; /* of each page its part: one n-th of what n mappings share */
	uint64_t shared_clean, shared_dirty, private_clean, private_dirty; /* by mapcount */
	uint64_t referenced;
	uint64_t anonymous;
	uint64_t ksm; /* merged */
	uint64_t lazyfree; /* MADV_FREE, and not written since */
	uint64_t swap; /* entries that name slots, and slots of shared anonymous memory */
	uint64_t swap_pss; /* without the latter */
	uint64_t locked; /* pss, if the VMA is locked */
};
void avm_vma_stats(struct avm_vma *vma, struct avm_vma_stats *s);

/* ---- text ----------------------------------------------------------------------------------------- */

/* Lines go here, without newline. `context` is the caller's. */
struct avm_sink {
	void (*line)(struct avm_sink *sink, const char *line);
	void *context;
};

/* One line per VMA in the shape of /proc/PID/maps, with family in brackets. */
void avm_dump_maps(struct avm_mm *mm, struct avm_sink *sink);

/*
 * Everything that an operation that fails must leave as it was: VMAs with all fields, chains, every entry
 * of the page tables, counters. Two dumps are equal iff the address spaces are.
 */
void avm_dump_mm(struct avm_mm *mm, struct avm_sink *sink);

/* The chain of each VMA and the members of each anon_vma on it. */
void avm_dump_families(struct avm_mm *mm, struct avm_sink *sink);

/* One page: flags, counts, mapping, everybody who maps it. */
void avm_dump_page(struct avm *m, struct avm_page *page, struct avm_sink *sink);

/* ---- invariants ----------------------------------------------------------------------------------- */

enum avm_verify_level {
	AVM_VERIFY_VMAS = 1,
	AVM_VERIFY_FAMILIES = 2,
	AVM_VERIFY_ALL = 3, /* every entry, page and slab */
};

/*
 * Checks the invariants (docs/rules.md, V1-V41 but those of swap) of a machine at rest; reports each
 * violation as a line "V20: ..." (`report` NULL: only counts them). Never stops at the first; never
 * crashes, whatever of the core's own memory is corrupt: a pointer is followed only to an object that
 * is there, and all walks are bounded. Changes nothing.
 * Returns the number of violations, or -ENOMEM (scratch memory for level 2 and 3 comes from the port).
 */
int64_t avm_verify(struct avm *m, enum avm_verify_level level, struct avm_sink *report);

/*
 * The same for what one address space can say of itself: not counters that others add to, not locks.
 * The machine is at rest, but the caller may hold the mmap_lock: for a look in the middle of an
 * operation.
 */
int64_t avm_verify_mm(struct avm_mm *mm, enum avm_verify_level level, struct avm_sink *report);

#endif
