/* SPDX-License-Identifier: MIT */
/* boundaries_limits.c - the model of what there may be: promises (R1.5), limits, and where there is room (R1.4). */
#include <stdlib.h>

#include "boundaries.h"

/* ---- R1.5, limits ---------------------------------------------------------------------------------------- */

bool bounds_accountable(uint64_t flags)
{
	return (flags & AVM_VM_WRITE) &&
	       !(flags & (AVM_VM_SHARED | AVM_VM_NORESERVE | AVM_VM_SPECIAL));
}

uint64_t bounds_flags_of_prot(uint32_t prot)
{
	uint64_t flags = 0;

	if (prot & AVM_PROT_READ)
		flags |= AVM_VM_READ;
	if (prot & AVM_PROT_WRITE)
		flags |= AVM_VM_WRITE;
	if (prot & AVM_PROT_EXEC)
		flags |= AVM_VM_EXEC;
	return flags;
}

uint64_t bounds_accounted(const struct bounds_mm *mm, avm_addr_t start, avm_addr_t end)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < mm->n; i++) {
		const struct bounds_vma *v = &mm->v[i];
		avm_addr_t from = v->start > start ? v->start : start;
		avm_addr_t to = v->end < end ? v->end : end;

		if (from < to && (v->flags & AVM_VM_ACCOUNT))
			pages += (to - from) / PAGE;
	}
	return pages;
}

uint64_t bounds_committed(const struct bounds *b)
{
	bool *mapped = calloc(b->nr_files, sizeof(*mapped));
	uint64_t pages = 0;

	if (!mapped)
		exit(2);
	for (const struct bounds_mm *mm = b->mms; mm; mm = mm->next) {
		pages += bounds_accounted(mm, 0, mm->top);
		for (size_t i = 0; i < mm->n; i++)
			mapped[mm->v[i].file] = true;
	}
	/* Shared anonymous memory is promised whole, for as long as somebody maps some of it. */
	for (uint32_t f = 1; f < b->nr_files; f++) {
		if (b->files[f].owned && mapped[f])
			pages += b->files[f].pages;
	}
	free(mapped);
	return pages;
}

bool bounds_may_commit(const struct bounds *b, uint64_t pages, uint64_t given_back)
{
	return !b->config.strict || !pages ||
	       bounds_committed(b) + pages <= b->config.commit_limit + given_back;
}

uint64_t bounds_pages(const struct bounds_mm *mm)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < mm->n; i++)
		pages += (mm->v[i].end - mm->v[i].start) / PAGE;
	return pages;
}

/* Private, writable and no stack: what RLIMIT_DATA is about. */
static bool is_data(uint64_t flags)
{
	return (flags & AVM_VM_WRITE) && !(flags & (AVM_VM_SHARED | AVM_VM_GROWSDOWN));
}

bool bounds_may_have_data(const struct bounds_mm *mm, uint64_t more)
{
	uint64_t data = 0;

	for (size_t i = 0; i < mm->n; i++) {
		if (is_data(mm->v[i].flags))
			data += (mm->v[i].end - mm->v[i].start) / PAGE;
	}
	return data + more <= mm->limits.data / PAGE;
}

bool bounds_may_expand(const struct bounds_mm *mm, uint64_t flags, uint64_t pages,
		       uint64_t given_back)
{
	if (bounds_pages(mm) + pages - given_back > mm->limits.address_space / PAGE)
		return false;
	return !is_data(flags) || bounds_may_have_data(mm, pages - given_back);
}

uint64_t bounds_locked_pages(const struct bounds_mm *mm, avm_addr_t start, avm_addr_t end)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < mm->n; i++) {
		const struct bounds_vma *v = &mm->v[i];
		avm_addr_t from = v->start > start ? v->start : start;
		avm_addr_t to = v->end < end ? v->end : end;

		if (from < to && (v->flags & AVM_VM_LOCKED))
			pages += (to - from) / PAGE;
	}
	return pages;
}

/* ---- R1.4 -------------------------------------------------------------------------------------------------- */

/* Is [start, start + len) free, and clear of the guard of a stack above? */
static bool fits(const struct bounds_mm *mm, avm_addr_t start, uint64_t len)
{
	const struct bounds_vma *v = bounds_above(mm, start);
	uint64_t guard;

	if (!v)
		return true;
	guard = v->flags & AVM_VM_GROWSDOWN ? mm->machine->config.guard : 0;
	return v->start >= start + len && v->start - (start + len) >= guard;
}

bool bounds_place(const struct bounds_mm *mm, avm_addr_t hint, uint64_t len, avm_addr_t *out)
{
	if (len > mm->top - mm->lowest)
		return false;
	if (hint && hint >= mm->lowest && hint <= mm->top - len && fits(mm, hint, len)) {
		*out = hint;
		return true;
	}
	/* Down from the base; if that fails, up from it. */
	for (avm_addr_t at = mm->base; at >= mm->lowest + len; at -= PAGE) {
		if (fits(mm, at - len, len)) {
			*out = at - len;
			return true;
		}
	}
	for (avm_addr_t at = mm->base; at + len <= mm->top; at += PAGE) {
		if (fits(mm, at, len)) {
			*out = at;
			return true;
		}
	}
	return false;
}
