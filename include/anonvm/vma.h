/* SPDX-License-Identifier: MIT */
/*
 * vma.h - one run of pages of an address space with one meaning.
 *
 * VMAs belong to the core. An embedder sees them in file operations and through the iterators of
 * observe.h; it may read the fields that R1 names and changes none.
 */
#ifndef ANONVM_VMA_H
#define ANONVM_VMA_H

#include "anonvm/types.h"

/*
 * Who may touch what (docs/locking.md has the whole table):
 *   start, end, flags, pgoff:   read under mmap_lock (any mode), or the vma lock after revalidation;
 *				 start, end, pgoff also under the lock of a tree the VMA is in, and flags
 *				 too, atomically: old or new;
 *				 changed under mmap_lock write + vma lock write + those trees' locks
 *   anon_vma:		 NULL -> x once, by prepare (mmap_lock read + family lock + page_table_lock,
 *				 looked at again under them), or under mmap_lock write. Read by acquire.
 *   chain:			 read under mmap_lock read when anon_vma is set; changed under mmap_lock
 *				 write, or mmap_lock read + page_table_lock for the one step empty -> one
 *   shared:			 file->mmap_lock
 */
struct avm_vma {
	avm_addr_t start; /* [start, end), page-aligned, not empty */
	avm_addr_t end;
	uint64_t flags; /* AVM_VM_... */
	uint64_t pgoff; /* R1.2, in pages */
	struct avm_list link; /* mm->vmas.list, in address order */
	struct avm_mm *mm;
	struct avm_anon_vma *_Atomic anon_vma; /* NULL: unfaulted */

	struct avm_list chain; /* avm_anon_vma_chain.same_vma: newest first, root last */
	struct avm_file *file; /* NULL: private anonymous */
	uint64_t private_data; /* the file's own, kept over split and fork */

	uint32_t policy; /* R1.3: opaque id, 0 is the default */
	uint32_t name; /* opaque id of a name (PR_SET_VMA_ANON_NAME), 0 is none */
	_Atomic uint32_t
		chain_len; /* entries on `chain`; a neighbour reads it without our lock (R4.1) */
	_Atomic uint32_t readers; /* vma lock: faults inside; bit 31: a writer waits for them */
	_Atomic uint32_t write_seq; /* vma lock: held for write iff equal to mm->write_seq */
	_Atomic uint32_t remembered; /* may be in mm->recent */
	struct avm_inode shared; /* in file->mappings */
};

#endif
