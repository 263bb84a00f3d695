/* SPDX-License-Identifier: MIT */
/*
 * fault.h - one fault on its way through fault.c, cow.c and filemap.c.
 */
#ifndef AVM_FAULT_INTERNAL_H
#define AVM_FAULT_INTERNAL_H

#include "anonvm/fault.h"
#include "pgtable.h"

struct avm_fault_ctx {
	struct avm_mm *mm;
	struct avm_vma *vma;
	avm_addr_t addr; /* page-aligned */
	enum avm_access access;
	bool force; /* R8.10: a debugger's */
	void *regs;
	struct avm_ptc c; /* stands on the entry; its table is locked where a function says so */
	avm_pte_t seen; /* the entry as the fault found it: look again before changing it */
};

/* cow.c: write to a present, read-only entry (R8.3). => table locked on entry, unlocked on return. */
unsigned avm_fault_write_protected(struct avm_fault_ctx *f);

/* filemap.c: absent page of a file mapping (R8.6). => table not locked. */
unsigned avm_fault_file(struct avm_fault_ctx *f);

/*
 * The fault itself, mmap_lock held for read by the caller; -> bits. Used by avm_fault(), populate, mlock and
 * forced access. RETRY: the VMA may be gone; look it up again.
 */
unsigned avm_fault_locked(struct avm_vma *vma, avm_addr_t addr, enum avm_access access, bool force,
			  void *regs);

#endif
