/* SPDX-License-Identifier: MIT */
/*
 * avm_arch.h (x86_64) - page-table format of the CPU: four levels of 512 entries, 4 KiB pages, NX, accessed and
 * dirty bits that the CPU sets itself.
 *
 * An entry that the CPU walks (bit 0 set), and the bits of it that are ours:
 *
 *	0 present  1 write  2 user  5 accessed  6 dirty  63 no execute		9 special	12-51 pfn
 *
 * PROT_NONE keeps frame and history but clears bit 0, so that the CPU faults; bit 8 (global, which means nothing
 * in an entry that is not present) says that it is one:
 *
 *	0 clear  8 none  the rest as above
 *
 * One that names no frame of its own (swap, migration, poison), R8.4 and R8.5:
 *
 *	0, 8 clear  1-3 kind  4 write  5 exclusive				12-63 value
 *
 * Whoever must care for CPUs that read memory through entries that are not present (L1TF) inverts the value here.
 *
 * An arch provides exactly the names of this file. Grants need no flush: the CPU walks again before it faults, and
 * never keeps an entry that is not present. Revocations are flushed by src/mmu_gather.h.
 */
#ifndef AVM_ARCH_H
#define AVM_ARCH_H

#include "anonvm/types.h"

#define AVM_PAGE_SHIFT 12
#define AVM_PAGE_SIZE (1ull << AVM_PAGE_SHIFT)
#define AVM_PAGE_MASK (~(AVM_PAGE_SIZE - 1))

#define AVM_TABLE_SHIFT 9 /* log2 of the entries of one table */
#define AVM_TABLE_ENTRIES (1u << AVM_TABLE_SHIFT)
#define AVM_TABLE_LEVELS 4u

/* The lower half, less one page: the last one must not hold a SYSCALL instruction. */
#define AVM_ARCH_TASK_SIZE 0x00007ffffffff000ull
#define AVM_ARCH_LOWEST 0x10000ull

#define AVM_ARCH_HW_YOUNG_DIRTY 1

/* Whatever can be written or executed can be read. */
#define AVM_ARCH_READ_IMPLIED (AVM_VM_READ | AVM_VM_WRITE | AVM_VM_EXEC)

#define X86_PTE_PRESENT 0x001ull
#define X86_PTE_WRITE 0x002ull
#define X86_PTE_USER 0x004ull
#define X86_PTE_YOUNG 0x020ull
#define X86_PTE_DIRTY 0x040ull
#define X86_PTE_NONE 0x100ull
#define X86_PTE_SPECIAL 0x200ull
#define X86_PTE_NX (1ull << 63)
#define X86_PTE_PFN 0x000ffffffffff000ull
#define X86_PTE_PFN_SHIFT 12

#define X86_ENTRY_KIND_SHIFT 1
#define X86_ENTRY_KIND 0x00eull
#define X86_ENTRY_WRITE 0x010ull
#define X86_ENTRY_EXCLUSIVE 0x020ull

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
	return p & (X86_PTE_PRESENT | X86_PTE_NONE);
}

static inline bool avm_pte_none_access(avm_pte_t p)
{
	return p & X86_PTE_NONE;
}

static inline bool avm_pte_write(avm_pte_t p)
{
	return p & X86_PTE_WRITE;
}

static inline bool avm_pte_exec(avm_pte_t p)
{
	return !(p & X86_PTE_NX);
}

static inline bool avm_pte_young(avm_pte_t p)
{
	return p & X86_PTE_YOUNG;
}

static inline bool avm_pte_dirty(avm_pte_t p)
{
	return p & X86_PTE_DIRTY;
}

/* A bare frame: no descriptor is to be touched, whatever avm_page_of() says. */
static inline bool avm_pte_special(avm_pte_t p)
{
	return p & X86_PTE_SPECIAL;
}

static inline avm_pfn_t avm_pte_pfn(avm_pte_t p)
{
	return (p & X86_PTE_PFN) >> X86_PTE_PFN_SHIFT;
}

/* ---- making: nothing but the frame and what the VMA's flags allow; never writable by itself ------------ */

/* A present, young, clean, write-protected entry for a VMA with these flags (AVM_VM_...). */
static inline avm_pte_t avm_pte_make(avm_pfn_t pfn, uint64_t vm_flags)
{
	avm_pte_t p = (pfn << X86_PTE_PFN_SHIFT) | X86_PTE_USER | X86_PTE_YOUNG;

	p |= (vm_flags & AVM_VM_ACCESS) ? X86_PTE_PRESENT : X86_PTE_NONE;
	return (vm_flags & AVM_VM_EXEC) ? p : p | X86_PTE_NX;
}

/* The same frame and history under other flags (mprotect): keeps young, dirty, special; not writable. */
static inline avm_pte_t avm_pte_modify(avm_pte_t p, uint64_t vm_flags)
{
	avm_pte_t keep = p & (X86_PTE_YOUNG | X86_PTE_DIRTY | X86_PTE_SPECIAL);

	return (avm_pte_make(avm_pte_pfn(p), vm_flags) & ~X86_PTE_YOUNG) | keep;
}

static inline avm_pte_t avm_pte_mkwrite(avm_pte_t p)
{
	return p | X86_PTE_WRITE;
}

static inline avm_pte_t avm_pte_wrprotect(avm_pte_t p)
{
	return p & ~X86_PTE_WRITE;
}

static inline avm_pte_t avm_pte_mkdirty(avm_pte_t p)
{
	return p | X86_PTE_DIRTY;
}

static inline avm_pte_t avm_pte_mkclean(avm_pte_t p)
{
	return p & ~X86_PTE_DIRTY;
}

static inline avm_pte_t avm_pte_mkyoung(avm_pte_t p)
{
	return p | X86_PTE_YOUNG;
}

static inline avm_pte_t avm_pte_mkold(avm_pte_t p)
{
	return p & ~X86_PTE_YOUNG;
}

static inline avm_pte_t avm_pte_mkspecial(avm_pte_t p)
{
	return p | X86_PTE_SPECIAL;
}

/* ---- entries -------------------------------------------------------------------------------------- */

static inline bool avm_pte_is_entry(avm_pte_t p)
{
	return !avm_pte_present(p) && (p & X86_ENTRY_KIND);
}

static inline enum avm_entry_kind avm_pte_entry_kind(avm_pte_t p)
{
	return (enum avm_entry_kind)((p & X86_ENTRY_KIND) >> X86_ENTRY_KIND_SHIFT);
}

static inline uint64_t avm_pte_entry_value(avm_pte_t p)
{
	return p >> X86_PTE_PFN_SHIFT;
}

static inline bool avm_pte_entry_write(avm_pte_t p)
{
	return p & X86_ENTRY_WRITE;
}

static inline bool avm_pte_entry_exclusive(avm_pte_t p)
{
	return p & X86_ENTRY_EXCLUSIVE;
}

static inline avm_pte_t avm_pte_make_entry(enum avm_entry_kind kind, uint64_t value, bool write,
					   bool exclusive)
{
	return (value << X86_PTE_PFN_SHIFT) | ((avm_pte_t)kind << X86_ENTRY_KIND_SHIFT) |
	       (write ? X86_ENTRY_WRITE : 0) | (exclusive ? X86_ENTRY_EXCLUSIVE : 0);
}

/* ---- memory: entries are read without the table's lock, so each access is one relaxed load or store ---- */

static inline avm_pte_t avm_arch_pte_load(const avm_pte_t *slot)
{
	return atomic_load_explicit((const _Atomic avm_pte_t *)slot, memory_order_relaxed);
}

/* Writes one entry of the table of `mm` for `addr`; the CPU may walk it at any time. Release, which costs nothing: G-X. */
static inline void avm_arch_pte_store(struct avm_mm *mm, avm_addr_t addr, avm_pte_t *slot,
				      avm_pte_t p)
{
	(void)mm;
	(void)addr;
	atomic_store_explicit((_Atomic avm_pte_t *)slot, p, memory_order_release);
}

/* Reads and clears in one step, so that no accessed or dirty bit set by the MMU meanwhile is lost. */
static inline avm_pte_t avm_arch_pte_clear(struct avm_mm *mm, avm_addr_t addr, avm_pte_t *slot)
{
	(void)mm;
	(void)addr;
	return atomic_exchange_explicit((_Atomic avm_pte_t *)slot, AVM_PTE_EMPTY,
					memory_order_relaxed);
}

/* An entry of an upper table: the frame of the table below. 0 is none. */
static inline avm_pte_t avm_arch_table_make(avm_pfn_t pfn)
{
	return (pfn << X86_PTE_PFN_SHIFT) | X86_PTE_PRESENT | X86_PTE_WRITE | X86_PTE_USER |
	       X86_PTE_YOUNG;
}

static inline avm_pfn_t avm_arch_table_pfn(avm_pte_t entry)
{
	return (entry & X86_PTE_PFN) >> X86_PTE_PFN_SHIFT;
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

/* Beyond so many pages it is cheaper to forget everything. */
#define X86_FLUSH_ALL_PAGES 32

/*
 * Flush of this CPU's TLB, which holds what the loaded tables translate and nothing else (no PCIDs, no global user pages):
 * for another address space than the loaded one it flushes too much, which is harmless. INVLPG drops the
 * upper tables that the CPU remembers, too.
 */
static inline void avm_arch_flush(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	(void)mm;
	if (end - start > X86_FLUSH_ALL_PAGES * AVM_PAGE_SIZE) {
		uint64_t root;

		__asm__ volatile("mov %%cr3, %0\n\tmov %0, %%cr3" : "=r"(root) : : "memory");
		return;
	}
	for (avm_addr_t addr = start; addr < end; addr += AVM_PAGE_SIZE)
		__asm__ volatile("invlpg (%0)" : : "r"(addr) : "memory");
}

#endif
