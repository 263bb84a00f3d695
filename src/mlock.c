/* SPDX-License-Identifier: MIT */
/*
 * mlock.c - memory that stays (R13.4): the flag on the VMAs, and then, without mmap_lock for write,
 * the pages.
 *
 * Pages of locked VMAs are unevictable. A page may be mapped by a locked VMA of another address
 * space as well when munlock makes it evictable here: reclaim asks every VMA that maps it (R11.1)
 * and puts it back.
 */
#include "mlock.h"

#include "anonvm/fault.h"
#include "anonvm/ops.h"
#include "attrs.h"
#include "lru.h"
#include "mm.h"
#include "pgtable.h"

#define LOCK_FLAGS (AVM_VM_LOCKED | AVM_VM_LOCKONFAULT)

/* ---- VMAs ------------------------------------------------------------------------------------ */

static int decide_lock(const struct avm_attrs_change *change, struct avm_attrs_step *s)
{
	if (s->at.vma->flags & AVM_NEVER_LOCKED)
		return 0;
	return avm_attrs_flags(change, s);
}

static avm_noinline struct avm_attrs_change lock_change(uint64_t flags, enum avm_attrs_holes holes)
{
	return (struct avm_attrs_change){ .decide = decide_lock,
					  .set = flags,
					  .clear = LOCK_FLAGS,
					  .holes = holes };
}

static uint64_t limit_pages(const struct avm_mm *mm)
{
	return mm->limits.locked >> AVM_PAGE_SHIFT;
}

static bool within_limit(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	uint64_t more = (end - start) >> AVM_PAGE_SHIFT;

	more -= avm_mm_pages_in(mm, start, end, AVM_VM_LOCKED);
	return mm->locked_vm + more <= limit_pages(mm);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void mark_entry(struct avm_vma *vma, avm_pte_t pte, bool locked)
{
	struct avm *m = vma->mm->machine;
	struct avm_page *page = avm_pte_page(m, pte);

	/* Whoever moves the page asks the old one when he puts it back here. */
	if (avm_pte_is_entry(pte) && avm_pte_entry_kind(pte) == AVM_ENTRY_MIGRATION)
		page = avm_page_of(m, avm_pte_entry_value(pte));
	if (page && page != m->zero_page)
		avm_lru_set_unevictable(m, page, locked);
}

/* The pages that [start, end) of the VMA maps today. */
static void mark_pages(struct avm_vma *vma, avm_addr_t start, avm_addr_t end, bool locked)
{
	struct avm_ptc c;

	for (bool more = avm_ptc_begin(&c, vma->mm, start, end); more; more = avm_ptc_next(&c))
		mark_entry(vma, avm_ptc_get(&c), locked);
}

void avm_mlock_mark(struct avm_mm *mm, avm_addr_t start, avm_addr_t end, uint64_t state)
{
	struct avm_part p = { .end = start };

	while (avm_mm_next_part(mm, &p, end)) {
		uint64_t flags = p.vma->flags;

		if (!(flags & AVM_NEVER_LOCKED) && (flags & AVM_VM_LOCKED) == state)
			mark_pages(p.vma, p.start, p.end, state);
	}
}

void avm_mlock_release(struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	if (vma->flags & AVM_VM_LOCKED)
		mark_pages(vma, start, end, false);
}

/* The access that makes a page of such a VMA stay: a private page must be the process's own. */
static avm_small enum avm_access populating_access(uint64_t flags)
{
	if ((flags & (AVM_VM_WRITE | AVM_VM_SHARED)) == AVM_VM_WRITE)
		return AVM_ACCESS_WRITE;
	if (flags & AVM_VM_READ)
		return AVM_ACCESS_READ;
	return (flags & AVM_VM_WRITE) ? AVM_ACCESS_WRITE : AVM_ACCESS_EXEC;
}

/*
 * On to the next part of the range that wants its pages now: its flags, or 0: none. => mmap_lock not held.
 */
static uint64_t next_to_populate(struct avm_mm *mm, struct avm_part *p, avm_addr_t end)
{
	uint64_t flags = 0;

	if (avm_mmap_read_lock(mm))
		return 0;
	while (!flags && avm_mm_next_part(mm, p, end)) {
		if ((p->vma->flags & (LOCK_FLAGS | AVM_NEVER_LOCKED)) == AVM_VM_LOCKED)
			flags = p->vma->flags;
	}
	avm_mmap_read_unlock(mm);
	return flags;
}

int avm_mlock_populate(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
		       enum avm_mlock_errors errors)
{
	struct avm_part p = { .end = start };
	uint64_t flags;
	int result = 0;

	while ((flags = next_to_populate(mm, &p, end))) {
		int err = avm_populate(mm, p.start, p.end - p.start, populating_access(flags));

		if (!err)
			continue;
		result = result ? result : err;
		if (errors == AVM_MLOCK_STOP)
			break;
	}
	return result;
}

/* What came in meanwhile, as the page cache's. */
static void mark_after(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	if (avm_mmap_read_lock(mm))
		return;
	avm_mlock_mark(mm, start, end, AVM_VM_LOCKED);
	avm_mmap_read_unlock(mm);
}

/* mlock(2): memory that cannot be there at all is -ENOMEM, no frame for it now is -EAGAIN. */
static int mlock_errno(int err)
{
	if (err == -AVM_ENOMEM)
		return -AVM_EAGAIN;
	return err == -AVM_EFAULT || err == -AVM_EIO ? -AVM_ENOMEM : err;
}

/* ---- the operations -------------------------------------------------------------------------- */

/* A range of bytes to the pages that hold them: false when it wraps. */
static bool pages_around(avm_addr_t addr, uint64_t len, avm_addr_t *start, avm_addr_t *end)
{
	*start = avm_page_down(addr);
	return len <= ~addr && avm_range_ok(*start, len + (addr - *start), AVM_PAGE_MASK, end);
}

/* Locks the pages of a range of bytes, or unlocks them: `flags` is what their VMAs are to have. */
static int lock_range(struct avm_mm *mm, avm_addr_t start, avm_addr_t end, uint64_t flags)
{
	const struct avm_attrs_change change = lock_change(flags, AVM_HOLES_STOP);
	int err;

	if (start == end)
		return 0;
	err = avm_mmap_write_lock(mm);
	if (err)
		return err;
	if (flags && !within_limit(mm, start, end))
		err = -AVM_ENOMEM;
	else
		err = avm_attrs_apply(mm, start, end, &change, -AVM_ENOMEM);
	avm_mlock_mark(mm, start, end, flags & AVM_VM_LOCKED);
	avm_mmap_write_unlock(mm);
	return err;
}

int avm_mlock(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t flags)
{
	avm_addr_t start, end;
	int err;

	if (flags & ~(uint32_t)AVM_MLOCK_ONFAULT)
		return -AVM_EINVAL;
	if (!mm->limits.locked)
		return -AVM_EPERM;
	if (!pages_around(addr, len, &start, &end))
		return -AVM_EINVAL;
	err = lock_range(mm, start, end, flags ? LOCK_FLAGS : AVM_VM_LOCKED);
	if (err)
		return err;
	err = avm_mlock_populate(mm, start, end, AVM_MLOCK_STOP);
	mark_after(mm, start, end);
	return mlock_errno(err);
}

int avm_munlock(struct avm_mm *mm, avm_addr_t addr, uint64_t len)
{
	avm_addr_t start, end;

	if (!pages_around(addr, len, &start, &end))
		return -AVM_EINVAL;
	return lock_range(mm, start, end, 0);
}

/* All VMAs there are (CURRENT), and what new ones will be (FUTURE); `lock` is what they are to have. */
static int lock_all(struct avm_mm *mm, uint32_t which, uint64_t lock)
{
	if (which & AVM_MCL_CURRENT) {
		const struct avm_attrs_change change = lock_change(lock, AVM_HOLES_SKIP);

		if (avm_attrs_apply(mm, 0, mm->task_size, &change, -AVM_EAGAIN) == -AVM_EAGAIN)
			return -AVM_ENOMEM;
		avm_mlock_mark(mm, 0, mm->task_size, lock & AVM_VM_LOCKED);
	}
	mm->default_flags &= ~LOCK_FLAGS;
	if (which & AVM_MCL_FUTURE)
		mm->default_flags |= lock;
	return 0;
}

int avm_mlockall(struct avm_mm *mm, uint32_t flags)
{
	uint64_t lock = (flags & AVM_MCL_ONFAULT) ? LOCK_FLAGS : AVM_VM_LOCKED;
	bool current = flags & AVM_MCL_CURRENT;
	int err;

	if (!flags || flags == AVM_MCL_ONFAULT ||
	    (flags & ~(uint32_t)(AVM_MCL_CURRENT | AVM_MCL_FUTURE | AVM_MCL_ONFAULT)))
		return -AVM_EINVAL;
	if (!mm->limits.locked)
		return -AVM_EPERM;
	err = avm_mmap_write_lock(mm);
	if (err)
		return err;
	if (current && mm->total_vm > limit_pages(mm))
		err = -AVM_ENOMEM;
	else
		err = lock_all(mm, flags, lock);
	avm_mmap_write_unlock(mm);
	if (err || !current)
		return err;
	/*
	 * What cannot be there is no error here: a mapping without access, the rest of a file's
	 * last pages.
	 */
	(void)avm_mlock_populate(mm, 0, mm->task_size, AVM_MLOCK_GO_ON);
	mark_after(mm, 0, mm->task_size);
	return 0;
}

int avm_munlockall(struct avm_mm *mm)
{
	int err = avm_mmap_write_lock(mm);

	if (err)
		return err;
	err = lock_all(mm, AVM_MCL_CURRENT, 0);
	avm_mmap_write_unlock(mm);
	return err;
}
