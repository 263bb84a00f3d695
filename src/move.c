/* SPDX-License-Identifier: MIT */
/* move.c - the entries of a range at mremap (move.h, R13.3). */
#include "move.h"

#include "anon_vma.h"
#include "file.h"
#include "mmu_gather.h"
#include "pgtable.h"

/*
 * Source and target lie differently in their tables: a source table goes in up to two pieces. The end of the piece
 * that the cursor stands on, `shift` being what is added to a source address.
 */
static avm_addr_t piece_end(const struct avm_ptc *src, avm_addr_t shift)
{
	uint64_t span = AVM_PAGE_SIZE << AVM_TABLE_SHIFT;
	uint64_t room = span - ((src->addr + shift) & (span - 1));

	return src->stop - src->addr < room ? src->stop : src->addr + room;
}

int avm_move_reserve(struct avm_mm *mm, avm_addr_t from, avm_addr_t to, uint64_t len)
{
	struct avm_ptc src;

	avm_assert_mmap_write_locked(mm);
	for (bool more = avm_ptc_first(&src, mm, from, from + len); more;
	     more = avm_ptc_next_table(&src)) {
		int err = avm_tables_make(mm, src.addr + (to - from), src.stop + (to - from));

		if (err)
			return err;
	}
	return 0;
}

/* => both tables locked. Frame, permissions, young and dirty stay; nobody's counts change. */
static bool move_piece(struct avm_ptc *src, struct avm_ptc *dst, avm_addr_t end)
{
	bool moved = false;

	for (; src->addr < end; avm_ptc_step(src), avm_ptc_step(dst)) {
		if (avm_pte_empty(avm_ptc_get(src)))
			continue;
		AVM_ASSERT(src->mm->machine, avm_pte_empty(avm_ptc_get(dst)));
		avm_ptc_set(dst, avm_ptc_clear(src));
		moved = true;
	}
	return moved;
}

/*
 * A table that was not there when the target's were made has been made since by a fault in a VMA beside the source, which is
 * locked: nothing in it is the source's, and the target may have none.
 */
static avm_small void move_table(struct avm_ptc *src, avm_addr_t shift)
{
	struct avm_mm *mm = src->mm;
	struct avm_ptc dst;

	while (src->addr < src->stop) {
		avm_addr_t start = src->addr, end = piece_end(src, shift);

		if (!avm_ptc_at(&dst, mm, start + shift)) {
			AVM_ASSERT(mm->machine, avm_pte_empty(avm_ptc_get(src)));
			return;
		}
		avm_ptc_lock_two(src, &dst);
		/* Before the locks go: a store through an old translation must not follow a look at the new. */
		if (move_piece(src, &dst, end))
			avm_tlb_flush(mm, start, end);
		avm_ptc_unlock_two(src, &dst);
	}
}

void avm_move_range(struct avm_vma *old_vma, avm_addr_t from, struct avm_vma *new_vma,
		    avm_addr_t to, uint64_t len)
{
	struct avm_mm *mm = old_vma->mm;
	struct avm_file *file = old_vma->file;
	struct avm_ptc src;

	avm_assert_mmap_write_locked(mm);
	AVM_ASSERT(mm->machine,
		   !avm_vma_anon(old_vma) || avm_vma_anon(old_vma) == avm_vma_anon(new_vma));
	(void)new_vma;
	avm_mappings_lock(file);
	avm_family_lock_vma(old_vma); /* the target's, too: its chain is a clone */
	for (bool more = avm_ptc_first(&src, mm, from, from + len); more;
	     more = avm_ptc_next_table(&src))
		move_table(&src, to - from);
	avm_family_unlock_vma(old_vma);
	avm_mappings_unlock(file);
}
