/* SPDX-License-Identifier: MIT */
/*
 * fault.h - one fault on its way through fault.c, cow.c and filemap.c.
 */
#ifndef AVM_FAULT_INTERNAL_H
#define AVM_FAULT_INTERNAL_H

#include "anonvm/fault.h"
#include "page.h"
#include "pgtable.h"

enum avm_force {
	AVM_FORCE_NO, /* as the process itself */
	AVM_FORCE_YES, /* R8.10: as its debugger; may-bits decide */
};

struct avm_fault_ctx {
	struct avm_mm *mm;
	struct avm_vma *vma;
	avm_addr_t addr; /* page-aligned */
	enum avm_access access;
	enum avm_force force;
	void *regs;
	struct avm_ptc c; /* stands on the entry; its table is locked where a function says so */
	avm_pte_t seen; /* the entry as the fault found it: look again before changing it */
};

/*
 * avm_fault() for one's own or forced access. Takes mmap_lock, grows stacks. Everybody who needs a
 * page to be there comes through here: it is the one place to shrink and try again when memory is
 * short (R8.7).
 */
unsigned avm_fault_at(struct avm_mm *mm, avm_addr_t addr, enum avm_access access,
		      enum avm_force force, void *regs);

/*
 * The fault itself; -> bits. RETRY: unlock, look the VMA up again.
 * => mmap_lock held, any mode, on entry and on return; or the VMA locked for read, where it needs no family. Sleeps.
 */
unsigned avm_fault_locked(struct avm_vma *vma, avm_addr_t addr, enum avm_access access,
			  enum avm_force force, void *regs);

/* What a fault said, for calls that return an errno: 0; -ENOMEM, -EIO, -EFAULT; -EAGAIN for RETRY. */
int avm_fault_errno(unsigned bits);

/* Do the VMA's flags allow the access? (R8.1, R8.10) */
bool avm_access_ok(const struct avm_vma *vma, enum avm_access access, enum avm_force force);

/*
 * Takes the table lock and looks again: true, with the lock held, when the entry is what the fault
 * has seen. False, without: somebody was faster, and the access is to be tried again (R8.8).
 */
static inline bool avm_fault_lock_seen(struct avm_fault_ctx *f)
{
	return avm_ptc_lock_seen(&f->c, f->seen);
}

/*
 * What a write leaves in the entry: dirty, young, and writable unless the write was forced (R8.10).
 */
static inline avm_pte_t avm_pte_written(avm_pte_t p, const struct avm_vma *vma)
{
	p = avm_pte_mkdirty(avm_pte_mkyoung(p));
	return (vma->flags & AVM_VM_WRITE) ? avm_pte_mkwrite(p) : p;
}

/* ---- cow.c ----------------------------------------------------------------------------------- */

/*
 * Write to a present, read-only entry of a private VMA (R8.3). => table locked on entry, unlocked
 * on return.
 */
unsigned avm_fault_write_protected(struct avm_fault_ctx *f);

/*
 * The same without the lock, where it is plain that the page has to be copied, as most are: true, and what came of it. Only
 * where AVM_FAST says so. => table not locked; sleeps.
 */
bool avm_fault_write_shared(struct avm_fault_ctx *f, unsigned *bits);

/*
 * A page for the private copy, with the family that avm_fault_map_new() will put it in; NULL: no
 * memory. => no file, family or spin lock held; sleeps.
 */
struct avm_page *avm_fault_new_page(struct avm_fault_ctx *f);

/* The same page, which is not wanted after all. => no lock that avm_page_put() may not be called under. */
static inline void avm_fault_drop_new(struct avm *m, struct avm_page *page)
{
	if (AVM_FAST)
		avm_page_first_ref(page);
	avm_page_put(m, page);
}

/*
 * Maps a new anonymous page, written, in the place of an empty entry (R5.2). Its reference is the
 * entry's.
 * => family prepared; table locked.
 */
void avm_fault_map_new(struct avm_fault_ctx *f, struct avm_page *page);

/* ---- swapin.c -------------------------------------------------------------------------------- */

/* An entry that stands for a page that is not mapped (R8.4, R8.5). => table not locked; sleeps. */
unsigned avm_fault_entry(struct avm_fault_ctx *f);

/* ---- filemap.c ------------------------------------------------------------------------------- */

/* Absent page of a file mapping, or of a special one (R8.6). => table not locked; sleeps. */
unsigned avm_fault_file(struct avm_fault_ctx *f);

/*
 * Write to a present, read-only entry of a shared VMA. => table locked on entry, unlocked on
 * return; sleeps.
 */
unsigned avm_fault_shared_write(struct avm_fault_ctx *f);

#endif
