/* SPDX-License-Identifier: MIT */
/*
 * fault.h - one access at one address, and copying to and from address spaces.
 */
#ifndef ANONVM_FAULT_H
#define ANONVM_FAULT_H

#include "anonvm/mm.h"
#include "anonvm/types.h"

/*
 * The CPU could not translate an access: make it possible, or say why not (R8). `regs` is handed to
 * nobody but the port's and the files' operations. Returns bits of enum avm_fault_result. RETRY
 * asks the caller to repeat the access (a lock had to be dropped). Takes the lock of the VMA for read, or
 * mmap_lock: for read where the VMA has not been met lately, is special or gets its family now; for write when a
 * stack grows. Sleeps: yes. Stack: see docs/api.md.
 */
unsigned avm_fault(struct avm_mm *mm, avm_addr_t addr, enum avm_access access, void *regs);

enum avm_copy_flags {
	AVM_COPY_FORCE = 1, /* R8.10: as a debugger: protection does not matter, may-bits do */
};

/*
 * Copies bytes out of (read) or into (write) an address space, faulting as needed, as the process
 * itself would or, with FORCE, as its debugger (R8.10). Returns the number of bytes copied, which
 * is less than `len` when an address on the way cannot be accessed. When not even the first can:
 * -EFAULT (no access, no page behind it, or a bare frame that lies in no region), -ENOMEM, -EAGAIN
 * (a file asks to come again), -EINTR.
 */
int64_t avm_copy_in(struct avm_mm *mm, avm_addr_t to, const void *from, uint64_t len,
		    unsigned flags);
int64_t avm_copy_out(struct avm_mm *mm, void *to, avm_addr_t from, uint64_t len, unsigned flags);

/*
 * Between two address spaces, which may be one. Takes one mmap_lock at a time. Flags go for both.
 */
int64_t avm_copy_between(struct avm_mm *to_mm, avm_addr_t to, struct avm_mm *from_mm,
			 avm_addr_t from, uint64_t len, unsigned flags);

/*
 * Faults in every page of the range for the access: -EFAULT (SIGSEGV), -EIO (SIGBUS), -ENOMEM,
 * -EINTR, -EAGAIN (a file asks to come again); what precedes is present then. Does not grow stacks.
 */
int avm_populate(struct avm_mm *mm, avm_addr_t addr, uint64_t len, enum avm_access access);

/*
 * Maps the pages of file mappings in [addr, addr + len) that are in the page cache and not yet
 * mapped, read-only (shared anonymous memory as the VMA allows), without faults: what fault-around
 * does around a fault. Returns the number mapped; -EINVAL (unaligned, beyond task_size); -ENOMEM
 * (no page table), -EINTR.
 */
int64_t avm_map_cached(struct avm_mm *mm, avm_addr_t addr, uint64_t len);

/*
 * An identity of the memory behind an address, for futexes: equal for all that see the same memory.
 */
struct avm_page_key {
	const void *object; /* file for shared mappings, address space for private ones */
	uint64_t index; /* page of the file, or address / page size */
	uint32_t offset; /* in the page */
};

/*
 * Shared mapping: (file, page); private: (mm, address), which survives COW. -EFAULT: nothing
 * mapped.
 */
int avm_page_key(struct avm_mm *mm, avm_addr_t addr, struct avm_page_key *key);

#endif
