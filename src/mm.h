/* SPDX-License-Identifier: MIT */
/*
 * mm.h - the address space as its operations see it: lookup, placement, accounting, limits.
 */
#ifndef AVM_MM_INTERNAL_H
#define AVM_MM_INTERNAL_H

#include "anonvm/mm.h"
#include "avm_arch.h"
#include "lock.h"
#include "vma_tree.h"

static inline avm_addr_t avm_page_down(avm_addr_t a)
{
	return a & AVM_PAGE_MASK;
}

static inline avm_addr_t avm_page_up(avm_addr_t a)
{
	return (a + AVM_PAGE_SIZE - 1) & AVM_PAGE_MASK;
}

static inline bool avm_page_aligned(avm_addr_t a)
{
	return !(a & ~AVM_PAGE_MASK);
}

/*
 * [addr, addr + len) rounded up to pages, in *end: false when addr is unaligned, or the range wraps or passes
 * `limit`. len may be 0.
 */
bool avm_range_ok(avm_addr_t addr, uint64_t len, avm_addr_t limit, avm_addr_t *end);

/* First VMA with end > addr, or NULL. => mmap_lock. */
struct avm_vma *avm_mm_find(struct avm_mm *mm, avm_addr_t addr);

/* The same, for an operation that is about to change the set there. => mmap_lock write. */
static inline struct avm_vma *avm_mm_find_way(struct avm_mm *mm, avm_addr_t addr)
{
#if AVM_FAST
	return avm_vma_tree_find_way(&mm->vmas, addr);
#else
	return avm_mm_find(mm, addr);
#endif
}

/* The VMA that addr lies in, or NULL. */
struct avm_vma *avm_mm_find_exact(struct avm_mm *mm, avm_addr_t addr);

/* First VMA that meets [start, end), or NULL. */
struct avm_vma *avm_mm_find_in(struct avm_mm *mm, avm_addr_t start, avm_addr_t end);

/*
 * What is mapped of a range, VMA by VMA: begin with .end = start. The set of VMAs may change between two steps, which
 * go by address.
 */
struct avm_part {
	struct avm_vma *vma;
	avm_addr_t start, end; /* of the part: within the VMA and the range */
	bool hole; /* something on the way here was not mapped */
};

/* On to the next part. False: there is none up to `end`. => mmap_lock. */
bool avm_mm_next_part(struct avm_mm *mm, struct avm_part *p, avm_addr_t end);

/* The same for who knows the first VMA that ends above p->end, or that there is none (NULL). */
static inline bool avm_mm_part_of(struct avm_part *p, struct avm_vma *vma, avm_addr_t end)
{
	p->vma = vma;
	p->start = p->end;
	if (!vma || vma->start >= end || p->start >= end) {
		p->hole |= p->end < end;
		return false;
	}
	if (vma->start > p->start) {
		p->hole = true;
		p->start = vma->start;
	}
	p->end = vma->end < end ? vma->end : end;
	return true;
}

/* Pages of the range in VMAs that have all of these flags. */
uint64_t avm_mm_pages_in(struct avm_mm *mm, avm_addr_t start, avm_addr_t end, uint64_t flags);

/* Is the range free, and `guard` bytes behind it, and the guard of a stack above? */
bool avm_mm_free_at(struct avm_mm *mm, avm_addr_t start, avm_addr_t end, uint64_t guard);

/* R1.4: where a mapping of `len` bytes goes; 0 or -ENOMEM. `hint` 0: none. */
int avm_mm_place(struct avm_mm *mm, avm_addr_t hint, uint64_t len, avm_addr_t *out);

/* avm_mm_init() without a second try when frames are short. The layout and the limits are those of `parent`, if any. */
int avm_mm_setup(struct avm *m, struct avm_mm *mm, const struct avm_mm_config *config,
		 const struct avm_mm *parent);

/* Pages of [start, end) that have been promised: what unmapping it gives back. => mmap_lock. */
uint64_t avm_mm_accounted(struct avm_mm *mm, avm_addr_t start, avm_addr_t end);

/* May `pages` more be mapped with these flags? RLIMIT_AS, RLIMIT_DATA; 0 or -ENOMEM. */
int avm_mm_may_expand(struct avm_mm *mm, uint64_t flags, uint64_t pages);

/* May `pages` more be locked? 0, -EPERM, -EAGAIN as mmap says. */
int avm_mm_may_lock(struct avm_mm *mm, uint64_t pages);

/* Of these, private, writable memory that is no stack has the first alone: what RLIMIT_DATA bounds. */
#define AVM_DATA_FLAGS (AVM_VM_WRITE | AVM_VM_SHARED | AVM_VM_GROWSDOWN)

static inline bool avm_flags_data(uint64_t flags)
{
	return (flags & AVM_DATA_FLAGS) == AVM_VM_WRITE;
}

/* total_vm, data_vm, exec_vm, stack_vm, locked_vm by the flags of a VMA; `pages` may be negative. */
inline avm_small void avm_mm_account(struct avm_mm *mm, uint64_t flags, int64_t pages)
{
	uint64_t n = (uint64_t)pages; /* modulo 2^64: subtracts when negative */

	mm->total_vm += n;
	if ((flags & AVM_DATA_FLAGS) == AVM_VM_WRITE)
		mm->data_vm += n;
	if (flags & AVM_VM_GROWSDOWN)
		mm->stack_vm += n;
	else if ((flags & (AVM_VM_EXEC | AVM_VM_WRITE)) == AVM_VM_EXEC)
		mm->exec_vm += n;
	if (flags & AVM_VM_LOCKED)
		mm->locked_vm += n;
}

/* `pages` of a VMA with these flags go: out of the sums, and out of the promise if they are promised. */
void avm_mm_give_back(struct avm_mm *mm, uint64_t flags, uint64_t pages);

/* Does private memory with these flags count against the commit limit? (R1.1 accounted) */
static inline bool avm_flags_accountable(uint64_t flags)
{
	return (flags & (AVM_VM_WRITE | AVM_VM_SHARED | AVM_VM_NORESERVE | AVM_VM_SPECIAL)) ==
	       AVM_VM_WRITE;
}

static inline uint64_t avm_flags_of_prot(uint32_t prot)
{
	return ((prot & AVM_PROT_READ) ? AVM_VM_READ : 0) |
	       ((prot & AVM_PROT_WRITE) ? AVM_VM_WRITE : 0) |
	       ((prot & AVM_PROT_EXEC) ? AVM_VM_EXEC : 0);
}

#endif
