/* SPDX-License-Identifier: MIT */
/*
 * ops.h - what a process asks of its address space.
 *
 * Every function here takes mmap_lock itself, may sleep, and is not callable from interrupts. Addresses and
 * lengths are bytes unless a name says pages. Lengths are rounded up to whole pages. Each returns 0 (or a
 * count, where said) or a negative errno, and on failure the address space is as it was, except where a
 * rule prescribes a partial effect; that is said too.
 */
#ifndef ANONVM_OPS_H
#define ANONVM_OPS_H

#include "anonvm/mm.h"
#include "anonvm/types.h"

struct avm_mmap {
	avm_addr_t addr; /* hint; exact with a FIXED flag */
	uint64_t len; /* bytes */
	uint32_t prot; /* AVM_PROT_... */
	uint32_t flags; /* AVM_MAP_... */
	struct avm_file *file; /* NULL with ANONYMOUS */
	uint64_t pgoff; /* page of the file at the start */
	uint32_t open_mode; /* AVM_PROT_READ | WRITE: how the file was opened; 0: both */
	uint32_t policy; /* R1.3 */
	uint64_t private_data; /* vma->private_data, for the file's operations */
};

/*
 * Maps [*out, *out + len) (R1.4, R2). Shared anonymous memory is backed by a file of its own (R14).
 * -EINVAL  len 0, unaligned fixed address, neither or both of SHARED and PRIVATE, unknown flags with
 *	    SHARED_VALIDATE (-EOPNOTSUPP there)
 * -ENOMEM  no room, the limits on VMAs, address space or data, commit accounting (R1.5), no memory;
 *	    a fixed range beyond task_size
 * -EEXIST  FIXED_NOREPLACE and something is there
 * -EACCES  the file is not open for reading, or SHARED + WRITE and it is not open for writing
 * -EAGAIN  LOCKED beyond the limit; -EPERM: LOCKED and the limit is 0, or fixed below mm->lowest
 * -EOVERFLOW  pgoff + pages overflows
 * -ENODEV  the file cannot be mapped so; or what file->ops->mmap returned
 * With POPULATE or LOCKED pages are faulted in after the call has succeeded; failures of that are ignored.
 */
int avm_mmap(struct avm_mm *mm, const struct avm_mmap *args, avm_addr_t *out);

/*
 * Unmaps whatever lies in [addr, addr + len); holes are fine (R12).
 * -EINVAL  unaligned, len 0, beyond task_size
 * -ENOMEM  a VMA would have to be split and cannot be; everything is still mapped
 */
int avm_munmap(struct avm_mm *mm, avm_addr_t addr, uint64_t len);

/*
 * Sets the protection of [addr, addr + len) (R13.1). len 0 does nothing.
 * -EINVAL  unaligned; GROWSDOWN and GROWSUP together, or on a VMA that does not grow
 * -ENOMEM  a hole: what precedes it has been changed; or no memory, commit limit
 * -EACCES  the may-bits forbid it: what precedes has been changed
 */
int avm_mprotect(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t prot);

/*
 * Resizes or moves a mapping (R13.3). *out gets the (new) address. old_len 0 maps the pages of a shared mapping a
 * second time. DONTUNMAP leaves the old range mapped and empty, and unlocks its VMA. Growth of a locked mapping is
 * faulted in after the call has succeeded.
 * -EINVAL  unaligned; unknown flags; FIXED or DONTUNMAP without MAYMOVE; DONTUNMAP with another size;
 *	    new_len 0 or beyond the address space; old and new range overlap with FIXED or DONTUNMAP;
 *	    old_len 0 on a private mapping; DONTUNMAP on a special or dontexpand one; pgoff would overflow
 * -EFAULT  the old range is not within one mapping that may be moved or grown (hole, special, dontexpand); shrinking
 *	    in place asks only for something at addr
 * -ENOMEM  no room to grow and not MAYMOVE; limits; no memory. Everything is where it was, what is at the target of
 *	    FIXED included.
 * -EAGAIN  locked memory beyond the limit; -EPERM: FIXED below mm->lowest
 */
int avm_mremap(struct avm_mm *mm, avm_addr_t addr, uint64_t old_len, uint64_t new_len,
	       uint32_t flags, avm_addr_t new_addr, avm_addr_t *out);

/*
 * Advice (R13.2). len 0 does nothing.
 * -EINVAL  unaligned; unknown advice; advice that a VMA in the range cannot take (what precedes is done)
 * -ENOMEM  a hole: everything else has been done (POPULATE_* stops there); POPULATE_*: no memory; UNMERGEABLE: none for
 *	    a page that must be copied, and nothing merges there any more
 * -EAGAIN  flags cannot be changed: no memory to split with, or too many VMAs; nothing has been done
 * -EFAULT  POPULATE_*: a page that cannot be (SIGBUS); -EACCES: REMOVE on a mapping that may not be written to
 * -EOPNOTSUPP  REMOVE on a file that reads its pages from elsewhere (avm_file_punch() is for who can change that)
 * Without reclaim FREE, COLD and PAGEOUT check the range and leave the pages as they are.
 */
int avm_madvise(struct avm_mm *mm, avm_addr_t addr, uint64_t len, enum avm_advice advice);

/*
 * Locks memory and faults it in; munlock undoes it (R13.4).
 * -EINVAL  range overflows, unknown flags
 * -ENOMEM  a hole (what precedes has been done), over the limit or no memory to split with (nothing done), or pages
 *	    that cannot be there (no access, beyond the end of a file): the range is locked then
 * -EPERM   the limit is 0; -EAGAIN: no frame for some pages; the range is locked
 * mlockall() faults in what it can and reports none of that.
 */
int avm_mlock(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t flags);
int avm_munlock(struct avm_mm *mm, avm_addr_t addr, uint64_t len);
int avm_mlockall(struct avm_mm *mm, uint32_t flags);
int avm_munlockall(struct avm_mm *mm);

/*
 * Writes dirty pages of shared file mappings back through the file (R13.4).
 * -EINVAL  unaligned, unknown flags, ASYNC and SYNC together
 * -ENOMEM  a hole: everything else has been done; -EBUSY: INVALIDATE on locked memory; -EIO from the file
 */
int avm_msync(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t flags);

/*
 * vec[i] bit 0: page i of [addr, addr + len) is in memory. vec has len / page size entries.
 * -EINVAL unaligned; -ENOMEM a hole or beyond task_size (vec is then undefined)
 */
int avm_mincore(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint8_t *vec);

/*
 * Moves the end of the heap to `brk` and returns 0; 0 as `brk` asks. *out gets the end of the heap, which
 * on failure is the old one.
 * -ENOMEM  no heap, below its start, over a limit, something is in the way (one page stays free), or no memory
 */
int avm_brk(struct avm_mm *mm, avm_addr_t brk, avm_addr_t *out);

/*
 * Maps bare frames (devices, vDSO, guest memory): a special VMA at [addr, addr + n pages), which must be
 * free, every page present, no reverse map, no reference counts. Frames need not lie in a region.
 * What is not granted by `prot` to write is not granted by mprotect either.
 * -EINVAL unaligned, n 0, unknown prot, a frame that no entry can hold; -EEXIST something is there; -EPERM below
 *	    mm->lowest; -ENOMEM
 */
int avm_insert_pfn(struct avm_mm *mm, avm_addr_t addr, avm_pfn_t pfn, uint64_t n, uint32_t prot);

/*
 * Names the anonymous memory in the range (0 takes the name away); splits and merges as R2.1 says.
 * -EINVAL unaligned; -EBADF a file mapping (what precedes is done); -ENOMEM a hole (the rest done)
 */
int avm_set_name(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t name);

/* Sets the policy id of the range; errors as avm_set_name without -EBADF. (R1.3) */
int avm_set_policy(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t policy);

#endif
