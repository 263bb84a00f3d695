/* SPDX-License-Identifier: MIT */
/*
 * boundaries_access.c - the model of accesses and of populating: who becomes faulted, which stacks grow, what fails.
 */
#include "boundaries.h"

#define LOCK_FLAGS (AVM_VM_LOCKED | AVM_VM_LOCKONFAULT)

static avm_addr_t page_up(uint64_t len)
{
	return (len + PAGE - 1) & ~(PAGE - 1);
}

int bounds_may_lock(const struct bounds_mm *mm, uint64_t pages)
{
	if (!mm->limits.locked)
		return -AVM_EPERM;
	if (bounds_locked_pages(mm, 0, mm->top) + pages > mm->limits.locked / PAGE)
		return -AVM_EAGAIN;
	return 0;
}

/* ---- accesses (R8.1, R8.2, R4.1) ------------------------------------------------------------------------- */

static bool may_grow(const struct bounds_mm *mm, size_t i, avm_addr_t to)
{
	const struct bounds_vma *v = &mm->v[i];
	uint64_t pages = (v->start - to) / PAGE;

	if (!(v->flags & AVM_VM_GROWSDOWN) || to < mm->lowest || pages > v->pgoff)
		return false;
	if (v->end - to > mm->limits.stack)
		return false;
	if (i) {
		const struct bounds_vma *prev = &mm->v[i - 1];
		bool harmless = (prev->flags & AVM_VM_GROWSDOWN) || !(prev->flags & AVM_VM_ACCESS);

		if (!harmless && to - prev->end < mm->machine->config.guard)
			return false;
	}
	if ((v->flags & AVM_VM_LOCKED) && bounds_may_lock(mm, pages))
		return false;
	if (!bounds_may_expand(mm, v->flags, pages, 0))
		return false;
	return !(v->flags & AVM_VM_ACCOUNT) || bounds_may_commit(mm->machine, pages, 0);
}

static bool permits(const struct bounds_vma *v, enum avm_access access, bool force)
{
	bool private = !(v->flags & AVM_VM_SHARED);

	switch (access) {
	case AVM_ACCESS_READ: /* on x86 whatever can be written or executed can be read */
		return (v->flags & AVM_VM_ACCESS) || (force && (v->flags & AVM_VM_MAYREAD));
	case AVM_ACCESS_WRITE:
		return (v->flags & AVM_VM_WRITE) ||
		       (force && private && (v->flags & AVM_VM_MAYWRITE));
	default:
		return v->flags & AVM_VM_EXEC;
	}
}

/* The page is in VMA i. */
static unsigned access_page(struct bounds_mm *mm, size_t i, avm_addr_t page, enum avm_access access,
			    bool force)
{
	const struct bounds_vma *v = &mm->v[i];

	if (!permits(v, access, force))
		return AVM_FAULT_ACCERR;
	if (access == AVM_ACCESS_WRITE && !(v->flags & AVM_VM_SHARED))
		bounds_prepare(mm, i);
	if (v->file && bounds_pgoff(v, page) >= mm->machine->files[v->file].pages)
		return AVM_FAULT_SIGBUS;
	return 0;
}

unsigned bounds_access(struct bounds_mm *mm, avm_addr_t addr, enum avm_access access, bool force)
{
	avm_addr_t page = addr & ~(PAGE - 1);
	size_t i = bounds_index(mm, page);

	if (i == mm->n)
		return AVM_FAULT_MAPERR;
	if (mm->v[i].start > page) {
		if (!may_grow(mm, i, page))
			return AVM_FAULT_MAPERR;
		bounds_prepare(mm, i);
		mm->v[i].pgoff -= (mm->v[i].start - page) / PAGE;
		mm->v[i].start = page;
	}
	return access_page(mm, i, page, access, force);
}

void bounds_note_faulted(struct bounds_mm *mm, avm_addr_t start, avm_addr_t end,
			 uint32_t (*whose)(void *context, avm_addr_t addr), void *context)
{
	for (size_t i = bounds_index(mm, start); i < mm->n && mm->v[i].start < end; i++) {
		struct bounds_vma *v = &mm->v[i];
		uint32_t id = v->own ? 0 : whose(context, v->start);

		if (!id)
			continue;
		/* Which neighbour had it at that moment, nobody knows any more; who has it now does. */
		for (size_t k = 0; k < mm->n && !v->own; k++) {
			if (mm->v[k].own == id && mm->v[k].chain->n == 1) {
				v->own = id;
				v->chain = bounds_chain_get(mm->v[k].chain);
			}
		}
		if (!v->own)
			bounds_prepare(mm, i);
	}
}

/* ---- populate --------------------------------------------------------------------------------------------- */

static void note_written(struct bounds_mm *mm, avm_addr_t start, avm_addr_t end)
{
	if (start == end)
		return;
	mm->wrote = bounds_grow_array(mm->wrote, mm->nr_wrote, &mm->room_wrote, sizeof(*mm->wrote));
	mm->wrote[mm->nr_wrote++] = (struct bounds_range){ start, end };
}

/* 0, -EFAULT (SIGSEGV), -EIO (SIGBUS); what precedes is there. */
static int populate(struct bounds_mm *mm, avm_addr_t start, avm_addr_t end, enum avm_access access)
{
	avm_addr_t at = start;
	unsigned bad = 0;

	if (mm->machine->no_populate)
		return 0;
	while (at < end && !bad) {
		size_t i = bounds_index(mm, at);
		avm_addr_t from = at;

		if (i == mm->n || mm->v[i].start > at)
			return -AVM_EFAULT;
		while (at < end && at < mm->v[i].end && !bad) {
			bad = access_page(mm, i, at, access, false);
			if (!bad)
				at += PAGE;
		}
		if (access == AVM_ACCESS_WRITE && !(mm->v[i].flags & AVM_VM_SHARED))
			note_written(mm, from, at);
	}
	if (bad == AVM_FAULT_SIGBUS)
		return -AVM_EIO;
	return bad ? -AVM_EFAULT : 0;
}

struct bounds_result bounds_populate(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				     enum avm_access access)
{
	avm_addr_t start = addr & ~(PAGE - 1);

	if (addr + len < addr || page_up(addr + len) > mm->top)
		return bounds_failed(-AVM_EFAULT);
	return bounds_done(populate(mm, start, page_up(addr + len), access));
}

int bounds_populate_locked(struct bounds_mm *mm, avm_addr_t start, avm_addr_t end, bool stop)
{
	int result = 0;

	for (size_t i = bounds_index(mm, start); i < mm->n && mm->v[i].start < end; i++) {
		const struct bounds_vma *v = &mm->v[i];
		avm_addr_t from = v->start > start ? v->start : start;
		avm_addr_t to = v->end < end ? v->end : end;
		enum avm_access access = AVM_ACCESS_READ;
		int err;

		if ((v->flags & LOCK_FLAGS) != AVM_VM_LOCKED ||
		    (v->flags & (AVM_VM_SPECIAL | AVM_VM_DONTEXPAND)))
			continue;
		if ((v->flags & AVM_VM_WRITE) && !(v->flags & AVM_VM_SHARED))
			access = AVM_ACCESS_WRITE;
		err = populate(mm, from, to, access);
		if (!result)
			result = err;
		if (err && stop)
			break;
	}
	return result;
}
