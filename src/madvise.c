/* SPDX-License-Identifier: MIT */
/*
 * madvise.c - advice about a range (R13.2).
 *
 * Three kinds: advice that changes flags of VMAs (under mmap_lock for write, through attrs.c);
 * advice that empties entries (under mmap_lock for read); and advice that reads, writes or changes
 * what is behind the mapping, which is done without mmap_lock, VMA by VMA, each looked up again.
 *
 * What is before the first VMA that cannot take the advice has been done when the error comes;
 * holes are skipped, and reported at the end. That is what madvise(2) promises, and no more.
 */
#include "anonvm/ops.h"
#include "attrs.h"
#include "anonvm/fault.h"
#include "anonvm/file.h"
#include "error.h"
#include "file.h"
#include "ksm_scan.h"
#include "mm.h"
#include "mmu_gather.h"
#include "pageout.h"
#include "zap.h"

/* ---- flags ----------------------------------------------------------------------------------- */

static int decide_dofork(const struct avm_attrs_change *change, struct avm_attrs_step *s)
{
	if (s->at.vma->flags & AVM_VM_SPECIAL)
		return -AVM_EINVAL;
	return avm_attrs_flags(change, s);
}

static int decide_wipe(const struct avm_attrs_change *change, struct avm_attrs_step *s)
{
	if (!avm_vma_is_anon(s->at.vma) || (s->at.vma->flags & AVM_VM_SHARED))
		return -AVM_EINVAL;
	return avm_attrs_flags(change, s);
}

static int decide_dodump(const struct avm_attrs_change *change, struct avm_attrs_step *s)
{
	if (s->at.vma->flags & (AVM_VM_SPECIAL | AVM_VM_DONTEXPAND))
		return -AVM_EINVAL;
	return avm_attrs_flags(change, s);
}

/* Memory that cannot be merged anyhow is left alone without an error. */
static int decide_mergeable(const struct avm_attrs_change *change, struct avm_attrs_step *s)
{
	if (s->at.vma->flags & (AVM_VM_SHARED | AVM_VM_SPECIAL | AVM_VM_DONTEXPAND))
		return 0;
	return avm_attrs_flags(change, s);
}

#define READING (AVM_VM_RAND_READ | AVM_VM_SEQ_READ)
#define HUGE (AVM_VM_HUGEPAGE | AVM_VM_NOHUGEPAGE)

/* Advice that is not here does not change flags. */
static const struct avm_attrs_change flag_advice[] = {
	[AVM_MADV_NORMAL] = { .decide = avm_attrs_flags, .clear = READING },
	[AVM_MADV_RANDOM] = { .decide = avm_attrs_flags, .set = AVM_VM_RAND_READ, .clear = READING },
	[AVM_MADV_SEQUENTIAL] = { .decide = avm_attrs_flags,
				  .set = AVM_VM_SEQ_READ,
				  .clear = READING },
	[AVM_MADV_DONTFORK] = { .decide = avm_attrs_flags, .set = AVM_VM_DONTCOPY },
	[AVM_MADV_DOFORK] = { .decide = decide_dofork, .clear = AVM_VM_DONTCOPY },
	[AVM_MADV_WIPEONFORK] = { .decide = decide_wipe, .set = AVM_VM_WIPEONFORK },
	[AVM_MADV_KEEPONFORK] = { .decide = avm_attrs_flags, .clear = AVM_VM_WIPEONFORK },
	[AVM_MADV_DONTDUMP] = { .decide = avm_attrs_flags, .set = AVM_VM_DONTDUMP },
	[AVM_MADV_DODUMP] = { .decide = decide_dodump, .clear = AVM_VM_DONTDUMP },
	[AVM_MADV_MERGEABLE] = { .decide = decide_mergeable, .set = AVM_VM_MERGEABLE },
	[AVM_MADV_UNMERGEABLE] = { .decide = avm_attrs_flags, .clear = AVM_VM_MERGEABLE },
	[AVM_MADV_HUGEPAGE] = { .decide = avm_attrs_flags, .set = AVM_VM_HUGEPAGE, .clear = HUGE },
	[AVM_MADV_NOHUGEPAGE] = { .decide = avm_attrs_flags,
				  .set = AVM_VM_NOHUGEPAGE,
				  .clear = HUGE },
};

static bool changes_flags(enum avm_advice advice)
{
	return (unsigned)advice < sizeof(flag_advice) / sizeof(flag_advice[0]) &&
	       flag_advice[advice].decide;
}

/* Not mergeable first: what is copied then stays private. A hole has been reported; the rest is done. */
static int unmerge(struct avm_mm *mm, avm_addr_t addr, uint64_t len)
{
	int result =
		avm_attrs_operate(mm, addr, len, &flag_advice[AVM_MADV_UNMERGEABLE], -AVM_EAGAIN);
	int err;

	if (result && result != -AVM_ENOMEM)
		return result;
	err = avm_unmerge(mm, addr, addr + avm_page_up(len));
	return err ? err : result;
}

/* ---- entries --------------------------------------------------------------------------------- */

/* Memory whose pages may be taken away at any time. */
static bool reclaimable(const struct avm_vma *vma)
{
	return !(vma->flags & (AVM_VM_LOCKED | AVM_VM_SPECIAL));
}

static avm_noinline void discard(struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	struct avm_gather g;

	avm_notify_start(vma->mm, start, end);
	avm_gather_begin(&g, vma->mm);
	avm_zap_range(&g, vma, start, end, AVM_ZAP_ALL);
	avm_gather_finish(&g);
	avm_notify_end(vma->mm, start, end);
}

static int advise_entries_of(struct avm_vma *vma, avm_addr_t start, avm_addr_t end,
			     enum avm_advice advice)
{
	if (!reclaimable(vma))
		return -AVM_EINVAL;
	if (advice == AVM_MADV_FREE && (!avm_vma_is_anon(vma) || (vma->flags & AVM_VM_SHARED)))
		return -AVM_EINVAL;
	if (advice == AVM_MADV_DONTNEED)
		discard(vma, start, end);
	else
		avm_advise_pages(vma, start, end, advice);
	return 0;
}

static int advise_entries(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
			  enum avm_advice advice)
{
	struct avm_part p = { .end = start };
	int err = avm_mmap_read_lock(mm);

	if (err)
		return err;
	while (!err && avm_mm_next_part(mm, &p, end))
		err = advise_entries_of(p.vma, p.start, p.end, advice);
	avm_mmap_read_unlock(mm);
	return err || !p.hole ? err : -AVM_ENOMEM;
}

/* ---- what is behind -------------------------------------------------------------------------- */

/* One part of the range, with what is needed of its VMA after mmap_lock is gone. */
struct behind {
	struct avm_part at;
	uint64_t flags;
	struct avm_file *file; /* held; NULL: none */
	uint64_t pgoff; /* of the start */
};

/* On to the next: 0; -ENOMEM when there is none; -EINTR. */
static int next_behind(struct avm_mm *mm, struct behind *b, avm_addr_t end)
{
	int err = avm_mmap_read_lock(mm);

	if (err)
		return err;
	if (avm_mm_next_part(mm, &b->at, end)) {
		b->flags = b->at.vma->flags;
		b->pgoff = avm_vma_index(b->at.vma, b->at.start);
		b->file = b->at.vma->file;
		if (b->file)
			avm_file_get(b->file);
	} else {
		err = -AVM_ENOMEM;
	}
	avm_mmap_read_unlock(mm);
	return err;
}

static uint64_t len_of(const struct behind *b)
{
	return b->at.end - b->at.start;
}

/* Reading ahead is a favour: what cannot be read is found out by who needs it. */
static int will_need(struct avm_mm *mm, const struct behind *b)
{
	(void)mm;
	if (b->file && !b->file->shmem && !(b->flags & AVM_VM_SPECIAL))
		(void)avm_file_readahead(b->file, b->pgoff, (len_of(b)) >> AVM_PAGE_SHIFT);
	return 0;
}

static int remove_behind(struct avm_mm *mm, const struct behind *b)
{
	(void)mm;
	if (!b->file || (b->flags & (AVM_VM_LOCKED | AVM_VM_SPECIAL)))
		return -AVM_EINVAL;
	if ((b->flags & (AVM_VM_SHARED | AVM_VM_MAYWRITE)) != (AVM_VM_SHARED | AVM_VM_MAYWRITE))
		return -AVM_EACCES;
	/* What stands behind the cache would come back: a hole in it is for its owner to make. */
	if (b->file->ops->read_page)
		return -AVM_EOPNOTSUPP;
	return avm_file_punch(b->file, b->pgoff << AVM_PAGE_SHIFT, len_of(b));
}

static int populate(struct avm_mm *mm, const struct behind *b, enum avm_access access)
{
	uint64_t needed = access == AVM_ACCESS_WRITE ? AVM_VM_WRITE : AVM_VM_READ;
	int err;

	if (!(b->flags & needed) || (b->flags & AVM_VM_SPECIAL))
		return -AVM_EINVAL;
	err = avm_populate(mm, b->at.start, len_of(b), access);
	return err == -AVM_EIO ? -AVM_EFAULT : err;
}

static avm_noinline int advise_part(struct avm_mm *mm, const struct behind *b,
				    enum avm_advice advice)
{
	switch (advice) {
	case AVM_MADV_WILLNEED:
		return will_need(mm, b);
	case AVM_MADV_REMOVE:
		return remove_behind(mm, b);
	case AVM_MADV_POPULATE_READ:
		return populate(mm, b, AVM_ACCESS_READ);
	default:
		return populate(mm, b, AVM_ACCESS_WRITE);
	}
}

static int advise_behind(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
			 enum avm_advice advice)
{
	bool stop_at_hole = advice == AVM_MADV_POPULATE_READ || advice == AVM_MADV_POPULATE_WRITE;
	struct behind b = { .at.end = start };
	int err = 0;

	while (!err && b.at.end < end) {
		err = next_behind(mm, &b, end);
		if (err)
			return err;
		if (b.at.hole && stop_at_hole)
			err = -AVM_ENOMEM;
		else
			err = advise_part(mm, &b, advice);
		if (b.file)
			avm_file_put(b.file);
	}
	return err || !b.at.hole ? err : -AVM_ENOMEM;
}

/* ---- the operation --------------------------------------------------------------------------- */

static bool changes_entries(enum avm_advice advice)
{
	return advice == AVM_MADV_DONTNEED || advice == AVM_MADV_FREE || advice == AVM_MADV_COLD ||
	       advice == AVM_MADV_PAGEOUT;
}

static bool goes_behind(enum avm_advice advice)
{
	return advice == AVM_MADV_WILLNEED || advice == AVM_MADV_REMOVE ||
	       advice == AVM_MADV_POPULATE_READ || advice == AVM_MADV_POPULATE_WRITE;
}

int avm_madvise(struct avm_mm *mm, avm_addr_t addr, uint64_t len, enum avm_advice advice)
{
	avm_addr_t end;

	if (advice == AVM_MADV_UNMERGEABLE)
		return unmerge(mm, addr, len);
	if (changes_flags(advice))
		return avm_attrs_operate(mm, addr, len, &flag_advice[advice], -AVM_EAGAIN);
	if (!changes_entries(advice) && !goes_behind(advice))
		return -AVM_EINVAL;
	/* Addresses beyond the address space are a hole like any other. */
	if (!avm_range_ok(addr, len, AVM_PAGE_MASK, &end))
		return -AVM_EINVAL;
	if (addr == end)
		return 0;
	if (changes_entries(advice))
		return advise_entries(mm, addr, end, advice);
	return advise_behind(mm, addr, end, advice);
}
