/* SPDX-License-Identifier: MIT */
/*
 * zap.h - taking away the entries of a range.
 */
#ifndef AVM_ZAP_H
#define AVM_ZAP_H

#include "anonvm/mm.h"
#include "mmu_gather.h"

enum avm_zap_what {
	AVM_ZAP_ALL,
	AVM_ZAP_FILE_ONLY, /* leave private copies (invalidate, hole punch) */
};

/*
 * Empties the entries of [start, end), which lies in `vma`: rmap and rss are brought up to date, references
 * go to the gather. File pages get the entry's dirty bit. Cannot fail. Notifiers are the caller's to tell.
 * => mmap_lock (any mode, DONTNEED), or the lock of a tree the VMA is in (truncate). No spin lock.
 */
void avm_zap_range(struct avm_gather *g, struct avm_vma *vma, avm_addr_t start, avm_addr_t end,
		   enum avm_zap_what what);

/*
 * Unmaps pages first .. last of a file from every address space (truncate, punch, invalidate). Takes the
 * file's mmap_lock for read. Tells the notifiers. Cannot fail. Sleeps.
 */
void avm_zap_file(struct avm_file *file, uint64_t first, uint64_t last, enum avm_zap_what what);

#endif
