/* SPDX-License-Identifier: MIT */
/*
 * types.h - scalars, error numbers, flags and lock words that every other header uses.
 *
 * Errors are negative ints. Their numbers and their meanings are those of the Linux manual pages, so
 * that an embedder can hand them to user space unchanged.
 */
#ifndef ANONVM_TYPES_H
#define ANONVM_TYPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "anonvm/annotate.h" /* of locks, for clang */
#include "anonvm/base.h" /* avm_addr_t, lists, trees */

typedef uint64_t avm_pfn_t; /* number of a frame */
typedef uint64_t avm_pte_t; /* one page-table entry, in the format of the arch */

typedef uint64_t
	avm_swp_t; /* a swap slot: device and number, as in an entry (R10); 0 is a slot, too */

#define AVM_PFN_NONE (~(avm_pfn_t)0)

enum avm_errno {
	AVM_EPERM = 1,
	AVM_ENOENT = 2,
	AVM_EINTR = 4,
	AVM_EIO = 5,
	AVM_ENXIO = 6,
	AVM_EBADF = 9,
	AVM_EAGAIN = 11,
	AVM_ENOMEM = 12,
	AVM_EACCES = 13,
	AVM_EFAULT = 14,
	AVM_EBUSY = 16,
	AVM_EEXIST = 17,
	AVM_ENODEV = 19,
	AVM_EINVAL = 22,
	AVM_EFBIG = 27,
	AVM_ENOSPC = 28,
	AVM_EOVERFLOW = 75,
	AVM_EOPNOTSUPP = 95,
};

/* ---- protections, mapping flags, advice: the numbers of Linux on x86 --------------------------- */

enum avm_prot {
	AVM_PROT_NONE = 0,
	AVM_PROT_READ = 1,
	AVM_PROT_WRITE = 2,
	AVM_PROT_EXEC = 4,
	AVM_PROT_GROWSDOWN = 0x01000000, /* mprotect: extend the change to the start of the stack */
	AVM_PROT_GROWSUP = 0x02000000, /* mprotect: -EINVAL, nothing here grows up */
};
#define AVM_PROT_ALL (AVM_PROT_READ | AVM_PROT_WRITE | AVM_PROT_EXEC)

enum avm_map {
	AVM_MAP_SHARED = 0x01,
	AVM_MAP_PRIVATE = 0x02,
	AVM_MAP_SHARED_VALIDATE = 0x03,
	AVM_MAP_TYPE = 0x0f,
	AVM_MAP_FIXED = 0x10,
	AVM_MAP_ANONYMOUS = 0x20,
	AVM_MAP_GROWSDOWN = 0x0100,
	AVM_MAP_DENYWRITE = 0x0800, /* ignored, as on Linux */
	AVM_MAP_EXECUTABLE = 0x1000, /* ignored, as on Linux */
	AVM_MAP_LOCKED = 0x2000,
	AVM_MAP_NORESERVE = 0x4000,
	AVM_MAP_POPULATE = 0x8000,
	AVM_MAP_NONBLOCK = 0x10000, /* with POPULATE: POPULATE does nothing */
	AVM_MAP_STACK = 0x20000, /* AVM_VM_NOHUGEPAGE, as on Linux since 6.7: keeps boundaries */
	AVM_MAP_FIXED_NOREPLACE = 0x100000,
};

enum avm_mremap {
	AVM_MREMAP_MAYMOVE = 1,
	AVM_MREMAP_FIXED = 2,
	AVM_MREMAP_DONTUNMAP = 4,
};

enum avm_advice {
	AVM_MADV_NORMAL = 0,
	AVM_MADV_RANDOM = 1,
	AVM_MADV_SEQUENTIAL = 2,
	AVM_MADV_WILLNEED = 3,
	AVM_MADV_DONTNEED = 4,
	AVM_MADV_FREE = 8,
	AVM_MADV_REMOVE = 9,
	AVM_MADV_DONTFORK = 10,
	AVM_MADV_DOFORK = 11,
	AVM_MADV_MERGEABLE = 12,
	AVM_MADV_UNMERGEABLE = 13,
	AVM_MADV_HUGEPAGE = 14,
	AVM_MADV_NOHUGEPAGE = 15,
	AVM_MADV_DONTDUMP = 16,
	AVM_MADV_DODUMP = 17,
	AVM_MADV_WIPEONFORK = 18,
	AVM_MADV_KEEPONFORK = 19,
	AVM_MADV_COLD = 20,
	AVM_MADV_PAGEOUT = 21,
	AVM_MADV_POPULATE_READ = 22,
	AVM_MADV_POPULATE_WRITE = 23,
};

enum avm_msync {
	AVM_MS_ASYNC = 1,
	AVM_MS_INVALIDATE = 2,
	AVM_MS_SYNC = 4,
};

enum avm_mlock {
	AVM_MLOCK_ONFAULT = 1, /* avm_mlock: lock pages as they are faulted in */
};

enum avm_mlockall {
	AVM_MCL_CURRENT = 1,
	AVM_MCL_FUTURE = 2,
	AVM_MCL_ONFAULT = 4,
};

/* ---- faults ------------------------------------------------------------------------------------ */

enum avm_access {
	AVM_ACCESS_READ,
	AVM_ACCESS_WRITE,
	AVM_ACCESS_EXEC,
};

/* What avm_fault() did (R8). Exactly one of MINOR, MAJOR, or a failure bit is set; COW comes on top. */
enum avm_fault_result {
	AVM_FAULT_MINOR = 1 << 0, /* done without reading from a file or a swap device */
	AVM_FAULT_MAJOR = 1 << 1, /* done; a page was read in */
	AVM_FAULT_COW = 1 << 2, /* a private copy was made */
	AVM_FAULT_REUSE = 1 << 3, /* a private page was made writable without a copy (R5.4, R5.6) */
	AVM_FAULT_ZERO = 1 << 4, /* the zero page was mapped */
	AVM_FAULT_SPURIOUS = 1 << 5, /* the translation was there already (R8.8) */
	AVM_FAULT_RETRY = 1 << 6, /* nothing done: try the access again */
	AVM_FAULT_OOM = 1 << 7, /* no memory even after reclaim */
	AVM_FAULT_SIGBUS = 1 << 8, /* no page behind the mapping: end of file, I/O error, poison */
	AVM_FAULT_MAPERR = 1 << 9, /* SIGSEGV, SEGV_MAPERR: nothing mapped there */
	AVM_FAULT_ACCERR = 1 << 10, /* SIGSEGV, SEGV_ACCERR: mapped, but not for this access */
};
#define AVM_FAULT_ERROR (AVM_FAULT_OOM | AVM_FAULT_SIGBUS | AVM_FAULT_MAPERR | AVM_FAULT_ACCERR)

/* ---- flags of a VMA (R1.1) ----------------------------------------------------------------------- */

#define AVM_VM_READ (1ull << 0)
#define AVM_VM_WRITE (1ull << 1)
#define AVM_VM_EXEC (1ull << 2)
#define AVM_VM_SHARED (1ull << 3)
#define AVM_VM_MAYREAD (1ull << 4)
#define AVM_VM_MAYWRITE (1ull << 5)
#define AVM_VM_MAYEXEC (1ull << 6)
#define AVM_VM_GROWSDOWN (1ull << 8)
#define AVM_VM_LOCKED (1ull << 9)
#define AVM_VM_LOCKONFAULT (1ull << 10)
#define AVM_VM_DONTCOPY (1ull << 11)
#define AVM_VM_WIPEONFORK (1ull << 12)
#define AVM_VM_DONTEXPAND (1ull << 13)
#define AVM_VM_DONTDUMP (1ull << 14)
#define AVM_VM_MERGEABLE (1ull << 15)
#define AVM_VM_NORESERVE (1ull << 16)
#define AVM_VM_ACCOUNT (1ull << 17)
#define AVM_VM_HUGEPAGE (1ull << 18)
#define AVM_VM_NOHUGEPAGE (1ull << 19)
#define AVM_VM_SEQ_READ (1ull << 20)
#define AVM_VM_RAND_READ (1ull << 21)
#define AVM_VM_SPECIAL (1ull << 22) /* bare frames without rmap: never merged, never reclaimed */
#define AVM_VM_STACK (1ull << 23) /* made by exec as the stack of the image; accounting only */

#define AVM_VM_ACCESS (AVM_VM_READ | AVM_VM_WRITE | AVM_VM_EXEC)

/* ---- lock words; src/lock.h has the rules and the operations -------------------------------------- */

struct AVM_IS_LOCK("spin lock") avm_spinlock {
	_Atomic uint32_t word; /* 0 free, 1 held */
};

struct avm_rwsem {
	_Atomic uint32_t word; /* bit 31 writer, bit 30 waiters, bits 0-29 readers */
};

/* A deferred call: freed memory waits in the object itself for the end of the grace period. */
struct avm_deferred {
	struct avm_deferred *next; /* the port's, from avm_port_defer() to the call */
	void (*call)(struct avm_deferred *d);
};

struct avm;
struct avm_mm;
struct avm_vma;
struct avm_file;
struct avm_page;
struct avm_anon_vma;
struct avm_name;
struct avm_swap_device;

#endif
