/* SPDX-License-Identifier: MIT */
/*
 * exec.c - filling a new address space with an image (R9.3).
 */
#include "anonvm/fault.h"
#include "exit.h"
#include "file.h"
#include "mm.h"
#include "mmap.h"

#define MAY_ALL (AVM_VM_MAYREAD | AVM_VM_MAYWRITE | AVM_VM_MAYEXEC)

/* Maps one private range that nothing overlaps. 0, -EINVAL, -ENOMEM. => mmap_lock write. */
static int map_private(struct avm_mm *mm, const struct avm_segment *s, uint64_t more_flags)
{
	struct avm_range r = { .start = s->start, .file = s->file, .pgoff = s->pgoff };

	if (!s->pages || s->pages > mm->task_size >> AVM_PAGE_SHIFT ||
	    (s->prot & ~(uint32_t)AVM_PROT_ALL))
		return -AVM_EINVAL;
	if (!avm_range_ok(s->start, s->pages << AVM_PAGE_SHIFT, mm->task_size, &r.end) ||
	    s->start < mm->lowest || avm_mm_find_in(mm, r.start, r.end))
		return -AVM_EINVAL;
	if (s->file &&
	    (avm_file_is_device(s->file) || !avm_file_has_pages(s->file, s->pgoff, s->pages)))
		return -AVM_EINVAL;
	if (s->pgoff > UINT64_MAX - s->pages)
		return -AVM_EINVAL;
	r.flags = avm_flags_of_prot(s->prot) | MAY_ALL | more_flags;
	return avm_map_range(mm, &r);
}

/* => mmap_lock write. 0, or a negative errno with part of it mapped. */
static avm_noinline int map_image(struct avm_mm *mm, const struct avm_image *image)
{
	int err = 0;

	for (unsigned i = 0; i < image->nr_segments && !err; i++) {
		struct avm_segment s = image->segments[i];

		if (!s.file)
			s.pgoff = s.start >> AVM_PAGE_SHIFT;
		err = map_private(mm, &s, 0);
	}
	if (!err && image->stack_end) {
		struct avm_segment s = { .pages = image->stack_pages, .prot = image->stack_prot };

		if (image->stack_pages > image->stack_end >> AVM_PAGE_SHIFT)
			return -AVM_EINVAL;
		if (!s.prot)
			s.prot = AVM_PROT_READ | AVM_PROT_WRITE;
		s.start = image->stack_end - (image->stack_pages << AVM_PAGE_SHIFT);
		s.pgoff = image->stack_pgoff ? image->stack_pgoff : s.start >> AVM_PAGE_SHIFT;
		err = map_private(mm, &s, AVM_VM_GROWSDOWN | AVM_VM_STACK);
	}
	mm->brk_start = mm->brk = image->brk_start;
	return err;
}

int avm_exec(struct avm_mm *mm, const struct avm_image *image)
{
	uint64_t arguments = image->argument_pages << AVM_PAGE_SHIFT;
	int err;

	if (image->argument_pages > image->stack_pages)
		return -AVM_EINVAL;
	if (image->brk_start && (image->brk_start < mm->lowest || image->brk_start > mm->task_size))
		return -AVM_EINVAL;
	err = avm_mmap_write_lock(mm);
	if (err)
		return err;
	if (mm->vmas.count) {
		avm_mmap_write_unlock(mm);
		return -AVM_EINVAL;
	}
	err = map_image(mm, image);
	avm_mmap_write_unlock(mm);
	if (!err && image->stack_end && arguments)
		err = avm_populate(mm, image->stack_end - arguments, arguments, AVM_ACCESS_WRITE);
	if (err) {
		avm_mm_unmap_all(mm);
		mm->brk_start = mm->brk = 0;
	}
	return err;
}
