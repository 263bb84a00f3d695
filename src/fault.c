/* SPDX-License-Identifier: MIT */
/*
 * fault.c - one access at one address that the MMU could not translate (R8).
 *
 *			  the entry is
 *		  empty			    present, read-only	       present, and allows it
 *	      +-----------------------------+--------------------------+-------------------------+
 *   read     | anonymous: zero page	    | set young, or nothing at all (R8.8, R8.9)		 |
 *	      | file: the cached page, and  |							 |
 *	      |       those around it	    |							 |
 *	      +-----------------------------+--------------------------+-------------------------+
 *   write    | anonymous: zeroed page	    | exclusive:  writable     | set young and dirty,	 |
 *   private  | file: copy of the cached    | zero page:  zeroed page  | or nothing at all	 |
 *	      |       page		    | sole owner: taken over   |			 |
 *	      |				    | all others: copied       |			 |
 *	      +-----------------------------+--------------------------+-------------------------+
 *   write    | the cached page, dirty,	    | dirty, and the file is   | the same		 |
 *   shared   | and the file is told	    | told		       |			 |
 *	      +-----------------------------+--------------------------+-------------------------+
 *		  here, filemap.c	      cow.c, filemap.c		 touch()
 *
 * The shape is the same everywhere: look at the entry without its lock, get every resource, lock
 * the table, look again, change it in a stretch that cannot fail. Whoever finds the entry changed
 * gives back what he brought, and the access is tried again. So a fault that fails has changed
 * nothing but perhaps the VMA's family (R4.1) and empty page tables.
 */
#include "fault.h"

#include "anon_vma.h"
#include "commit.h"
#include "frame.h"
#include "mm.h"
#include "page.h"
#include "reclaim.h"
#include "vma.h"

/* ---- anonymous memory (R8.2) ----------------------------------------------------------------- */

static unsigned lost_race(void)
{
	return AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS;
}

/* The zero page has no counts: a machine maps it more often than a counter can count. */
static unsigned zero_page(struct avm_fault_ctx *f)
{
	struct avm *m = f->mm->machine;
	avm_pte_t p = avm_pte_for(m->zero_page, f->vma);

	if (!avm_fault_lock_seen(f))
		return lost_race();
	avm_ptc_set(&f->c, p);
	avm_ptc_unlock(&f->c);
	avm_count(m, AVM_EV_ZERO_MAP, 1);
	return AVM_FAULT_MINOR | AVM_FAULT_ZERO;
}

static unsigned zero_fill(struct avm_fault_ctx *f)
{
	struct avm *m = f->mm->machine;
	struct avm_page *page;

	page = avm_fault_new_page(f);
	if (!page)
		return AVM_FAULT_OOM;
	avm_port_frame_clear(m, page->pfn);
	if (!avm_fault_lock_seen(f)) {
		avm_fault_drop_new(m, page);
		return lost_race();
	}
	avm_fault_map_new(f, page);
	avm_ptc_unlock(&f->c);
	avm_count(m, AVM_EV_ZERO_FILL, 1);
	return AVM_FAULT_MINOR;
}

/* ---- present entries ------------------------------------------------------------------------- */

/* Young and dirty, where the MMU does not set them (R8.9); permissions that the entry lacks and its VMA has. */
static avm_pte_t touched(const struct avm_fault_ctx *f, avm_pte_t p)
{
	p = avm_pte_mkyoung(p);
	if (avm_pte_none_access(p) || (f->access == AVM_ACCESS_EXEC && !avm_pte_exec(p)))
		p = avm_pte_modify(p, f->vma->flags);
	return f->access == AVM_ACCESS_WRITE ? avm_pte_mkdirty(p) : p;
}

/*
 * Nothing is wrong with the entry, or what is can be repaired in place. The MMU sets bits beside us: the entry is empty
 * while it changes, so that none is lost. What has all it needs is left alone: two accesses, each of which empties the
 * entry under the other, would fault for ever. => table locked on entry, unlocked on return.
 */
static unsigned touch(struct avm_fault_ctx *f)
{
	bool changes = touched(f, f->seen) != f->seen;

	if (changes)
		avm_ptc_change(&f->c, 0, touched(f, avm_ptc_take(&f->c, 0)));
	avm_ptc_unlock(&f->c);
	return changes ? AVM_FAULT_MINOR : AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS;
}

static unsigned fault_present(struct avm_fault_ctx *f)
{
	unsigned bits;

	if (AVM_FAST && f->access == AVM_ACCESS_WRITE && !avm_pte_write(f->seen) &&
	    !(f->vma->flags & AVM_VM_SHARED) && avm_fault_write_shared(f, &bits))
		return bits;
	if (!avm_fault_lock_seen(f))
		return lost_race();
	if (f->access != AVM_ACCESS_WRITE || avm_pte_write(f->seen))
		return touch(f);
	if (f->vma->flags & AVM_VM_SHARED)
		return avm_fault_shared_write(f);
	return avm_fault_write_protected(f);
}

/* ---- dispatch -------------------------------------------------------------------------------- */

bool avm_access_ok(const struct avm_vma *vma, enum avm_access access, enum avm_force force)
{
	static const uint64_t needs[] = {
		[AVM_ACCESS_READ] = AVM_ARCH_READ_IMPLIED,
		[AVM_ACCESS_WRITE] = AVM_VM_WRITE,
		[AVM_ACCESS_EXEC] = AVM_VM_EXEC,
	};

	if (vma->flags & needs[access])
		return true;
	if (force == AVM_FORCE_NO || access == AVM_ACCESS_EXEC)
		return false;
	if (access == AVM_ACCESS_READ)
		return vma->flags & AVM_VM_MAYREAD;
	/* What was made to be read by others is not written behind their backs. */
	return (vma->flags & (AVM_VM_SHARED | AVM_VM_MAYWRITE)) == AVM_VM_MAYWRITE;
}

static avm_small unsigned dispatch(struct avm_fault_ctx *f)
{
	if (!avm_access_ok(f->vma, f->access, f->force))
		return AVM_FAULT_ACCERR;
	if (avm_ptc_make(&f->c, f->mm, f->addr))
		return AVM_FAULT_OOM;
	f->seen = avm_ptc_get(&f->c);
	if (avm_pte_present(f->seen))
		return fault_present(f);
	if (!avm_pte_empty(f->seen))
		return avm_fault_entry(f);
	if (!avm_vma_is_anon(f->vma))
		return avm_fault_file(f);
	if (f->access == AVM_ACCESS_WRITE)
		return zero_fill(f);
	return zero_page(f);
}

static void count_fault(struct avm *m, unsigned bits)
{
	if (bits & AVM_FAULT_MAJOR)
		avm_count(m, AVM_EV_FAULT_MAJOR, 1);
	if (bits & AVM_FAULT_MINOR)
		avm_count(m, AVM_EV_FAULT_MINOR, 1);
	if (bits & AVM_FAULT_SPURIOUS)
		avm_count(m, AVM_EV_FAULT_SPURIOUS, 1);
}

unsigned avm_fault_locked(struct avm_vma *vma, avm_addr_t addr, enum avm_access access,
			  enum avm_force force, void *regs)
{
	struct avm_fault_ctx f = {
		.mm = vma->mm,
		.vma = vma,
		.addr = avm_page_down(addr),
		.access = access,
		.force = force,
		.regs = regs,
	};
	unsigned bits;

	avm_assert_fault_locked(vma->mm);
	bits = dispatch(&f);
	count_fault(vma->mm->machine, bits);
	return bits;
}

/* ---- stack growth (R8.1) --------------------------------------------------------------------- */

/* Is there room below, within the limits? `addr` is the new start. */
static bool may_grow(const struct avm_vma *vma, avm_addr_t addr)
{
	struct avm_mm *mm = vma->mm;
	const struct avm_vma *prev = avm_vma_prev(vma);
	uint64_t pages = (vma->start - addr) >> AVM_PAGE_SHIFT;

	if (addr < mm->lowest || vma->end - addr > mm->limits.stack || pages > vma->pgoff)
		return false;
	/* Another stack, or memory nobody can touch, may come close: it cannot be run into. */
	if (prev && !(prev->flags & AVM_VM_GROWSDOWN) && (prev->flags & AVM_VM_ACCESS) &&
	    addr - prev->end < mm->vmas.guard)
		return false;
	if ((vma->flags & AVM_VM_LOCKED) && avm_mm_may_lock(mm, pages))
		return false;
	return !avm_mm_may_expand(mm, vma->flags, pages);
}

/* => mmap_lock write. 0 or a failure bit; the VMA is as before then. Sleeps. */
static avm_noinline unsigned grow_down(struct avm_vma *vma, avm_addr_t addr)
{
	struct avm_mm *mm = vma->mm;
	uint64_t pages = (vma->start - addr) >> AVM_PAGE_SHIFT;
	bool accounted = vma->flags & AVM_VM_ACCOUNT;

	if (!may_grow(vma, addr))
		return AVM_FAULT_MAPERR;
	if (accounted && avm_commit(mm, pages))
		return AVM_FAULT_MAPERR;
	if (avm_family_prepare(vma)) {
		if (accounted)
			avm_uncommit(mm, pages);
		return AVM_FAULT_OOM;
	}
	avm_vma_resize(vma, addr, vma->end);
	avm_mm_account(mm, vma->flags, (int64_t)pages);
	return 0;
}

/*
 * The slow half of the lookup. 0 with *out and mmap_lock held for read, or bits without the lock.
 * => no lock held on entry; sleeps.
 */
static unsigned find_growing(struct avm_mm *mm, avm_addr_t addr, struct avm_vma **out)
{
	unsigned bits = 0;

	if (avm_mmap_write_lock(mm))
		return AVM_FAULT_RETRY;
	*out = avm_mm_find(mm, addr);
	if (!*out) {
		bits = AVM_FAULT_MAPERR;
	} else if (addr < (*out)->start) {
		bits = AVM_FAULT_MAPERR;
		if ((*out)->flags & AVM_VM_GROWSDOWN)
			bits = grow_down(*out, avm_page_down(addr));
	}
	if (bits) {
		avm_mmap_write_unlock(mm);
		return bits;
	}
	avm_mmap_downgrade(mm);
	return 0;
}

/* The VMA of addr, with mmap_lock held for read: as find_growing(). */
static unsigned find_locked(struct avm_mm *mm, avm_addr_t addr, struct avm_vma **out)
{
	bool grows;

	if (avm_mmap_read_lock(mm))
		return AVM_FAULT_RETRY;
	*out = avm_mm_find(mm, addr);
	if (avm_likely(*out && addr >= (*out)->start))
		return 0;
	grows = *out && ((*out)->flags & AVM_VM_GROWSDOWN);
	avm_mmap_read_unlock(mm);
	return grows ? find_growing(mm, addr, out) : AVM_FAULT_MAPERR;
}

/* ---- the way in ------------------------------------------------------------------------------ */

/* A VMA that has to get its family first needs mmap_lock: that looks at neighbours (R4.1). */
static bool needs_no_mmap_lock(const struct avm_vma *vma, enum avm_access access)
{
	return access != AVM_ACCESS_WRITE || avm_vma_anon(vma) || (vma->flags & AVM_VM_SHARED);
}

/* With the lock of the VMA alone: true, and what came of it. */
static bool fault_vma_locked(struct avm_mm *mm, avm_addr_t addr, enum avm_access access,
			     enum avm_force force, void *regs, unsigned *bits)
{
	struct avm_vma_reader r;
	bool done;

	if (!avm_vma_read_lock(mm, addr, &r))
		return false;
	done = needs_no_mmap_lock(r.vma, access);
	if (done)
		*bits = avm_fault_locked(r.vma, addr, access, force, regs);
	avm_vma_read_unlock(&r);
	return done;
}

/* The same with mmap_lock; the next one near addr may do without. */
static unsigned fault_mmap_locked(struct avm_mm *mm, avm_addr_t addr, enum avm_access access,
				  enum avm_force force, void *regs)
{
	struct avm_vma *vma;
	unsigned bits = find_locked(mm, addr, &vma);

	if (bits)
		return bits;
	avm_count(mm->machine, AVM_EV_FAULT_MMAP_LOCK, 1);
	bits = avm_fault_locked(vma, addr, access, force, regs);
	if (!(vma->flags & AVM_VM_SPECIAL))
		avm_vma_remember(vma, addr);
	avm_mmap_read_unlock(mm);
	return bits;
}

unsigned avm_fault_at(struct avm_mm *mm, avm_addr_t addr, enum avm_access access,
		      enum avm_force force, void *regs)
{
	struct avm_retry retry = avm_retry_begin(mm->machine);
	unsigned bits;

	/* R8.7: no lock is held when memory is short. */
	do {
		if (!fault_vma_locked(mm, addr, access, force, regs, &bits))
			bits = fault_mmap_locked(mm, addr, access, force, regs);
	} while ((bits & AVM_FAULT_OOM) && avm_retry(&retry, mm->machine, mm));
	if (bits & AVM_FAULT_OOM)
		avm_count(mm->machine, AVM_EV_OOM, 1);
	return bits;
}

unsigned avm_fault(struct avm_mm *mm, avm_addr_t addr, enum avm_access access, void *regs)
{
	return avm_fault_at(mm, addr, access, AVM_FORCE_NO, regs);
}
