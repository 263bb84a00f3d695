/* SPDX-License-Identifier: MIT */
/*
 * vma.h - splitting, merging, adding and taking away VMAs (R2, R3).
 *
 * The shape is: decode, reserve, change. An operation first looks, counting splits, then fills
 * a pool with every object that the change may need, which is the only step that can fail; then the functions
 * marked "cannot fail" draw from the pool. Leftovers are drained at the end.
 *
 * All of this happens under mmap_lock for write; each function locks the VMAs it changes (avm_vma_lock; but
 * avm_vma_remove(), whose caller has done so), and the file and the family of the trees they are in, in that order.
 */
#ifndef AVM_VMA_INTERNAL_H
#define AVM_VMA_INTERNAL_H

#include "anon_vma.h"
#include "anonvm/mm.h"
#include "anonvm/vma.h"

struct avm_range;

struct avm_pool { /* begins as zero but for mm */
	struct avm_mm *mm; /* whose VMAs it is for */
	struct avm_list *vmas; /* free VMAs, by link.next */
	unsigned nr_vmas;
	struct avm_avc_pool avcs;
};

/*
 * Adds `vmas` VMAs (and the tree nodes to insert them) and `avcs` chain entries. 0, or -ENOMEM with the pool
 * as it was. No lock below mmap_lock held. Sleeps.
 */
int avm_pool_fill(struct avm_pool *pool, unsigned vmas, uint64_t avcs);
void avm_pool_drain(struct avm_pool *pool);

/* A VMA with that range and those attributes, in nothing yet. pre: there is one in the pool. */
struct avm_vma *avm_pool_take(struct avm_pool *pool, const struct avm_range *r);

/* Is there anything to drain? Nodes are not: as many stay with the set. */
static inline bool avm_pool_left(const struct avm_pool *pool)
{
	return !AVM_FAST || pool->nr_vmas || pool->avcs.nr;
}

/* The attributes that decide about merging, of a range that is not, or not yet, a VMA of its own. */
struct avm_range {
	avm_addr_t start, end;
	uint64_t flags;
	uint64_t pgoff;
	struct avm_file *file;
	uint32_t policy, name;
	struct avm_anon_vma *anon_vma; /* NULL: unfaulted */
	bool fork_child; /* R2.2: its VMA (for mremap: the VMA copied from) is one */
	bool first_of_heap; /* R2.5: what ends where the heap begins is not the heap's */
	uint64_t private_data;
};

/* The range of a VMA, or of a part of it. */
struct avm_range avm_range_of(const struct avm_vma *vma, avm_addr_t start, avm_addr_t end);

/*
 * Adds a free range as a VMA, merging as R2 says. `next`: the VMA behind it; NULL: who knows. Needs a pool of 1 VMA and 1 chain entry. Takes
 * a reference on the file, if it becomes a VMA of its own. Cannot fail. The VMA is unfaulted unless a neighbour
 * takes the range: of r->anon_vma, which mremap gives, only merging takes notice.
 * Accounting (total_vm and so on) is the caller's. Returns the VMA that holds the range now.
 */
struct avm_vma *avm_vma_add(struct avm_pool *pool, const struct avm_range *r, struct avm_vma *next);

/*
 * The same for a range that touches no VMA, without a pool, right behind an avm_mm_find_way() for its start: 0, or -ENOMEM
 * with nothing changed. Only where AVM_FAST says so, elsewhere avm_vma_add() does it all.
 */
int avm_vma_add_alone(struct avm_mm *mm, const struct avm_range *r);

/*
 * A VMA that nothing keeps from growing takes the free range up to `end`, and the VMA above if the two may merge then.
 * Needs one chain entry if there is one. Cannot fail. Accounting is the caller's.
 */
void avm_vma_extend(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t end);

/*
 * Splits at addr (R3.1): returns the upper part. Needs 1 VMA and vma->chain_len chain entries. Cannot fail.
 */
struct avm_vma *avm_vma_split(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t addr);

/*
 * Gives [start, end) of `vma` new flags, name and policy, merging and splitting (R2.5). Needs what
 * avm_vma_modify_reserve() has reserved. Cannot fail. Returns the VMA that holds the range now.
 */
struct avm_vma_attrs {
	uint64_t flags;
	uint32_t policy, name;
};
struct avm_vma *avm_vma_modify(struct avm_pool *pool, struct avm_vma *vma, avm_addr_t start,
			       avm_addr_t end, const struct avm_vma_attrs *attrs);

/*
 * What avm_vma_modify() calls over [start, end) may draw at most: 2 VMAs, entries for two splits, and one entry
 * for every boundary at which exactly one side is faulted (a merge clones only chains of one entry, R2.2).
 * Also -ENOMEM when the splits would exceed mm's limit of VMAs. `first`: the first VMA of the range; `attrs`: what its
 * part is to have; when it is the only one, and goes to a neighbour, nothing is split.
 */
int avm_vma_modify_reserve(struct avm_pool *pool, struct avm_vma *first, avm_addr_t start,
			   avm_addr_t end, const struct avm_vma_attrs *attrs);

/*
 * Both for [start, end) within one VMA, *part, which becomes the one that holds it now. 0, or -ENOMEM with nothing
 * changed. Only where AVM_FAST says so.
 */
int avm_vma_modify_part(struct avm_vma **part, avm_addr_t start, avm_addr_t end,
			const struct avm_vma_attrs *attrs);

/*
 * Another start or end of a VMA: it grows into free space, with nobody to merge with, or leaves off a part that has
 * no entries. Cannot fail.
 */
void avm_vma_resize(struct avm_vma *vma, avm_addr_t start, avm_addr_t end);

/*
 * A VMA alone enters the set (a node is reserved) and its file's mappings, and takes a reference on the file. Its
 * family is the caller's. Cannot fail.
 */
void avm_vma_enter(struct avm_vma *vma);

/* The same for one that lies above all others of a set that is being built (avm_vma_tree_begin()). Only where AVM_FAST says so. */
void avm_vma_enter_last(struct avm_vma *vma);

/* A VMA that is locked, and off the set or about to go with it, leaves its file and its family, and is freed. */
void avm_vma_release(struct avm_vma *vma);

/* Takes a VMA that is locked out of the set, its trees and its family, and frees it. Its entries are empty. Cannot fail. */
void avm_vma_remove(struct avm_vma *vma);

/* May this many more VMAs be made? (R17) */
bool avm_vma_room(const struct avm_mm *mm, unsigned more);

/* A VMA object alone: fork and mremap build their own. File and policy references: the caller's. */
struct avm_vma *avm_vma_alloc(struct avm_mm *mm, const struct avm_range *r);
void avm_vma_free(struct avm_mm *mm, struct avm_vma *vma);

/*
 * Makes an object that has been allocated (machine->vmas) the same VMA as `of` in `mm`, but for some flags; in no tree, and
 * unfaulted. Only where AVM_FAST says so.
 */
void avm_vma_make_copy(struct avm_vma *vma, struct avm_mm *mm, const struct avm_vma *of,
		       uint64_t without);

/* avm_vma_alloc() for a part of a VMA, with what that has; unfaulted. Only where AVM_FAST says so. */
struct avm_vma *avm_vma_alloc_part(const struct avm_vma *of, avm_addr_t start, avm_addr_t end);

/* Those that avm_vma_free() has kept for the next operation. => mmap_lock write. */
void avm_vma_free_spares(struct avm_mm *mm);

inline struct avm_vma *avm_vma_next(const struct avm_vma *vma)
{
	return vma->link.next == &vma->mm->vmas.list ?
		       NULL :
		       avm_list_entry(vma->link.next, struct avm_vma, link);
}

inline struct avm_vma *avm_vma_prev(const struct avm_vma *vma)
{
	return vma->link.prev == &vma->mm->vmas.list ?
		       NULL :
		       avm_list_entry(vma->link.prev, struct avm_vma, link);
}

/* The VMA before `next`; the last one when that is NULL. */
static inline struct avm_vma *avm_vma_before(struct avm_mm *mm, const struct avm_vma *next)
{
	return next ? avm_vma_prev(next) :
		      avm_list_last_or_null(&mm->vmas.list, struct avm_vma, link);
}

static inline uint64_t avm_vma_pages(const struct avm_vma *vma)
{
	return (vma->end - vma->start) >> AVM_PAGE_SHIFT;
}

/* R1.2. Right for an address below the VMA as well: where a stack is about to grow to. */
inline uint64_t avm_vma_index(const struct avm_vma *vma, avm_addr_t addr)
{
	return vma->pgoff + (addr >> AVM_PAGE_SHIFT) - (vma->start >> AVM_PAGE_SHIFT);
}

static inline avm_addr_t avm_vma_addr(const struct avm_vma *vma, uint64_t index)
{
	return vma->start + ((index - vma->pgoff) << AVM_PAGE_SHIFT);
}

static inline bool avm_vma_is_anon(const struct avm_vma *vma)
{
	return !vma->file && !(vma->flags & AVM_VM_SPECIAL);
}

/* In no tree but that of the set: of no file, and nothing has been written to it. */
static inline bool avm_vma_is_plain(const struct avm_vma *vma)
{
	return !vma->file && !avm_vma_anon(vma);
}

/* avm_vma_lock(), in its caller. G-S. */
static avm_inlined void avm_vma_lock_here(struct avm_vma *vma)
{
	if (!AVM_FAST) {
		avm_vma_lock(vma);
		return;
	}
	if (!avm_vma_lock_begin(vma))
		return;
	atomic_thread_fence(memory_order_seq_cst);
	avm_vma_lock_end(vma);
}

#endif
