/* SPDX-License-Identifier: MIT */
/*
 * avm_arch.h (soft) - page-table format of the simulated machine.
 *
 * Four levels of 512 entries, 4 KiB pages, 47-bit user addresses: the geometry of x86-64, so that traces of
 * real programs replay at their own addresses. A present entry:
 *
 *	bit 0 present  1 write  2 exec  3 none (PROT_NONE)  4 accessed  5 dirty  6 special   12-63 pfn
 *
 * One that is not present but not empty is an entry (swap, migration, poison), R8.4 and R8.5:
 *
 *	bit 0 clear    1-3 kind  4 write  5 exclusive                      12-63 value (slot or pfn)
 *
 * An arch provides exactly the names of this file. Grants need no flush (the MMU walks again before it
 * faults); revocations are flushed by src/mmu_gather.h.
 */
#ifndef AVM_ARCH_H
#define AVM_ARCH_H

#include "anonvm/types.h"

#define AVM_PAGE_SHIFT 12
#define AVM_PAGE_SIZE (1ull << AVM_PAGE_SHIFT)
#define AVM_PAGE_MASK (~(AVM_PAGE_SIZE - 1))

/*
 * log2 of the entries of one table. The checker's programs are of sixteen pages, on both sides of a border of all levels: of larger
 * tables it would see nothing but empty entries, at each of which there is a scheduling point when a table goes.
 */
#ifdef AVM_CHECK
#define AVM_TABLE_SHIFT 6
#else
#define AVM_TABLE_SHIFT 9
#endif
#define AVM_TABLE_ENTRIES (1u << AVM_TABLE_SHIFT)
#define AVM_TABLE_LEVELS 4u

#ifdef AVM_CHECK
#define AVM_ARCH_TASK_SIZE 0x00000007fffff000ull
#else
#define AVM_ARCH_TASK_SIZE 0x00007ffffffff000ull
#endif
#define AVM_ARCH_LOWEST 0x10000ull

/* Does the MMU set the accessed and dirty bits itself? If not, R8.9. */
#ifndef AVM_ARCH_HW_YOUNG_DIRTY
#define AVM_ARCH_HW_YOUNG_DIRTY 1
#endif

/* x86: whatever can be written or executed can be read. */
#define AVM_ARCH_READ_IMPLIED (AVM_VM_READ | AVM_VM_WRITE | AVM_VM_EXEC)

#define SOFT_PTE_PRESENT 0x01ull
#define SOFT_PTE_WRITE 0x02ull
#define SOFT_PTE_EXEC 0x04ull
#define SOFT_PTE_NONE 0x08ull
#define SOFT_PTE_YOUNG 0x10ull
#define SOFT_PTE_DIRTY 0x20ull
#define SOFT_PTE_SPECIAL 0x40ull
#define SOFT_PTE_PFN_SHIFT 12

#define SOFT_ENTRY_KIND_SHIFT 1
#define SOFT_ENTRY_KIND 0x0eull
#define SOFT_ENTRY_WRITE 0x10ull
#define SOFT_ENTRY_EXCLUSIVE 0x20ull

enum avm_entry_kind {
	AVM_ENTRY_SWAP = 1,
	AVM_ENTRY_MIGRATION = 2,
	AVM_ENTRY_POISON = 3,
};

#define AVM_PTE_EMPTY ((avm_pte_t)0)

/* ---- tests -------------------------------------------------------------------------------------- */

static inline bool avm_pte_empty(avm_pte_t p)
{
	return p == AVM_PTE_EMPTY;
}

/* Maps a frame, accessible (not none) or not. */
static inline bool avm_pte_present(avm_pte_t p)
{
	return p & SOFT_PTE_PRESENT;
}

static inline bool avm_pte_none_access(avm_pte_t p)
{
	return p & SOFT_PTE_NONE;
}

static inline bool avm_pte_write(avm_pte_t p)
{
	return p & SOFT_PTE_WRITE;
}

static inline bool avm_pte_exec(avm_pte_t p)
{
	return p & SOFT_PTE_EXEC;
}

static inline bool avm_pte_young(avm_pte_t p)
{
	return p & SOFT_PTE_YOUNG;
}

static inline bool avm_pte_dirty(avm_pte_t p)
{
	return p & SOFT_PTE_DIRTY;
}

/* A bare frame: no descriptor is to be touched, whatever avm_page_of() says. */
static inline bool avm_pte_special(avm_pte_t p)
{
	return p & SOFT_PTE_SPECIAL;
}

static inline avm_pfn_t avm_pte_pfn(avm_pte_t p)
{
	return p >> SOFT_PTE_PFN_SHIFT;
}

/* ---- making: nothing but the frame and what the VMA's flags allow; never writable by itself ------------ */

/* A present, young, clean, write-protected entry for a VMA with these flags (AVM_VM_...). */
static inline avm_pte_t avm_pte_make(avm_pfn_t pfn, uint64_t vm_flags)
{
	avm_pte_t p = (pfn << SOFT_PTE_PFN_SHIFT) | SOFT_PTE_PRESENT | SOFT_PTE_YOUNG;

	if (!(vm_flags & AVM_VM_ACCESS))
		p |= SOFT_PTE_NONE;
	if (vm_flags & AVM_VM_EXEC)
		p |= SOFT_PTE_EXEC;
	return p;
}

/* The same frame and history under other flags (mprotect): keeps young, dirty, special; not writable. */
static inline avm_pte_t avm_pte_modify(avm_pte_t p, uint64_t vm_flags)
{
	avm_pte_t keep = p & (SOFT_PTE_YOUNG | SOFT_PTE_DIRTY | SOFT_PTE_SPECIAL);

	return (avm_pte_make(avm_pte_pfn(p), vm_flags) & ~SOFT_PTE_YOUNG) | keep;
}

static inline avm_pte_t avm_pte_mkwrite(avm_pte_t p)
{
	return p | SOFT_PTE_WRITE;
}

static inline avm_pte_t avm_pte_wrprotect(avm_pte_t p)
{
	return p & ~SOFT_PTE_WRITE;
}

static inline avm_pte_t avm_pte_mkdirty(avm_pte_t p)
{
	return p | SOFT_PTE_DIRTY;
}

static inline avm_pte_t avm_pte_mkclean(avm_pte_t p)
{
	return p & ~SOFT_PTE_DIRTY;
}

static inline avm_pte_t avm_pte_mkyoung(avm_pte_t p)
{
	return p | SOFT_PTE_YOUNG;
}

static inline avm_pte_t avm_pte_mkold(avm_pte_t p)
{
	return p & ~SOFT_PTE_YOUNG;
}

static inline avm_pte_t avm_pte_mkspecial(avm_pte_t p)
{
	return p | SOFT_PTE_SPECIAL;
}

/* ---- entries -------------------------------------------------------------------------------------- */

static inline bool avm_pte_is_entry(avm_pte_t p)
{
	return !avm_pte_present(p) && (p & SOFT_ENTRY_KIND);
}

static inline enum avm_entry_kind avm_pte_entry_kind(avm_pte_t p)
{
	return (enum avm_entry_kind)((p & SOFT_ENTRY_KIND) >> SOFT_ENTRY_KIND_SHIFT);
}

static inline uint64_t avm_pte_entry_value(avm_pte_t p)
{
	return p >> SOFT_PTE_PFN_SHIFT;
}

static inline bool avm_pte_entry_write(avm_pte_t p)
{
	return p & SOFT_ENTRY_WRITE;
}

static inline bool avm_pte_entry_exclusive(avm_pte_t p)
{
	return p & SOFT_ENTRY_EXCLUSIVE;
}

static inline avm_pte_t avm_pte_make_entry(enum avm_entry_kind kind, uint64_t value, bool write,
					   bool exclusive)
{
	return (value << SOFT_PTE_PFN_SHIFT) | ((avm_pte_t)kind << SOFT_ENTRY_KIND_SHIFT) |
	       (write ? SOFT_ENTRY_WRITE : 0) | (exclusive ? SOFT_ENTRY_EXCLUSIVE : 0);
}

/* ---- memory: entries are read without the table's lock, so each access is one load or store ------------- */

static inline avm_pte_t avm_arch_pte_load(const avm_pte_t *slot)
{
	return atomic_load_explicit((const _Atomic avm_pte_t *)slot, memory_order_relaxed);
}

/* Under the checker the simulated MMU is told at once what its TLBs know that is not so any more. */
#ifdef AVM_CHECK
void sim_entry_changed(struct avm_mm *mm, avm_addr_t addr, avm_pte_t now);
#define SOFT_CHANGED(mm, addr, now) sim_entry_changed(mm, addr, now)
#else
#define SOFT_CHANGED(mm, addr, now) ((void)(mm), (void)(addr))
#endif

/*
 * Writes one entry of the table of `mm` for `addr`. The MMU reads it without a lock: what is in the page by now has to be
 * there for who finds the entry (G-X). An arch over foreign page tables (memory inside a Linux process) grants the translation
 * here, under the table's lock.
 */
static inline void avm_arch_pte_store(struct avm_mm *mm, avm_addr_t addr, avm_pte_t *slot,
				      avm_pte_t p)
{
	atomic_store_explicit((_Atomic avm_pte_t *)slot, p, memory_order_release);
	SOFT_CHANGED(mm, addr, p);
}

/* Reads and clears in one step, so that no accessed or dirty bit set by the MMU meanwhile is lost. */
static inline avm_pte_t avm_arch_pte_clear(struct avm_mm *mm, avm_addr_t addr, avm_pte_t *slot)
{
	avm_pte_t was = atomic_exchange_explicit((_Atomic avm_pte_t *)slot, AVM_PTE_EMPTY,
						 memory_order_relaxed);

	SOFT_CHANGED(mm, addr, AVM_PTE_EMPTY);
	return was;
}

/* An entry of an upper table: the frame of the table below. 0 is none. */
static inline avm_pte_t avm_arch_table_make(avm_pfn_t pfn)
{
	return (pfn << SOFT_PTE_PFN_SHIFT) | SOFT_PTE_PRESENT;
}

static inline avm_pfn_t avm_arch_table_pfn(avm_pte_t entry)
{
	return entry >> SOFT_PTE_PFN_SHIFT;
}

/* Upper tables are read without a lock: what an entry names is complete before the entry can be seen. */
static inline avm_pte_t avm_arch_table_load(const avm_pte_t *slot)
{
	return atomic_load_explicit((const _Atomic avm_pte_t *)slot, memory_order_acquire);
}

static inline void avm_arch_table_store(avm_pte_t *slot, avm_pte_t entry)
{
	atomic_store_explicit((_Atomic avm_pte_t *)slot, entry, memory_order_release);
}

/* Flush of this CPU's TLB; used by ports of tier 0. The simulated TLB is flushed by avm_port_tlb_flush(). */
static inline void avm_arch_flush(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	(void)mm;
	(void)start;
	(void)end;
}

#endif
