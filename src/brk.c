/* SPDX-License-Identifier: MIT */
/*
 * brk.c - the heap: private anonymous memory whose end moves.
 *
 * The heap is no VMA of its own kind. Growing adds a range at its end, which merges with what is
 * there if R2 says so; shrinking unmaps. mm->brk remembers the byte, the VMAs know pages.
 */
#include "anonvm/ops.h"
#include "mlock.h"
#include "mm.h"
#include "mmap.h"
#include "munmap.h"

#define HEAP_FLAGS (AVM_VM_READ | AVM_VM_WRITE | AVM_VM_MAYREAD | AVM_VM_MAYWRITE | AVM_VM_MAYEXEC)

static int grow(struct avm_mm *mm, avm_addr_t old_end, avm_addr_t new_end)
{
	struct avm_range r = { .start = old_end,
			       .end = new_end,
			       .flags = HEAP_FLAGS | mm->default_flags,
			       .pgoff = old_end >> AVM_PAGE_SHIFT,
			       .first_of_heap = old_end == mm->brk_start };

	/* One page stays free between the heap and what is above it. */
	if (!avm_mm_free_at(mm, old_end, new_end, AVM_PAGE_SIZE))
		return -AVM_ENOMEM;
	if ((r.flags & AVM_VM_LOCKED) && avm_mm_may_lock(mm, (new_end - old_end) >> AVM_PAGE_SHIFT))
		return -AVM_ENOMEM;
	return avm_map_range(mm, &r);
}

static int shrink(struct avm_mm *mm, avm_addr_t new_end, avm_addr_t old_end)
{
	if (!avm_mm_find_in(mm, new_end, old_end))
		return -AVM_ENOMEM; /* somebody has unmapped it */
	return avm_unmap_range(mm, new_end, old_end);
}

/* => mmap_lock write */
static int set_brk(struct avm_mm *mm, avm_addr_t brk)
{
	avm_addr_t old_end = avm_page_up(mm->brk);
	avm_addr_t new_end = avm_page_up(brk);
	int err = 0;

	if (!mm->brk_start || brk < mm->brk_start || brk > mm->task_size)
		return -AVM_ENOMEM;
	if (brk - mm->brk_start > mm->limits.data)
		return -AVM_ENOMEM;
	if (new_end > old_end)
		err = grow(mm, old_end, new_end);
	else if (new_end < old_end)
		err = shrink(mm, new_end, old_end);
	if (!err)
		mm->brk = brk;
	return err;
}

int avm_brk(struct avm_mm *mm, avm_addr_t brk, avm_addr_t *out)
{
	avm_addr_t old = 0;
	uint64_t flags = 0;
	int err = avm_mmap_write_lock(mm);

	if (err) {
		*out = mm->brk;
		return err;
	}
	old = mm->brk;
	flags = mm->default_flags;
	if (brk)
		err = set_brk(mm, brk);
	*out = mm->brk;
	avm_mmap_write_unlock(mm);
	if (!err && brk > old && (flags & AVM_VM_LOCKED))
		(void)avm_mlock_populate(mm, avm_page_up(old), brk, AVM_MLOCK_GO_ON);
	return err;
}
