/* SPDX-License-Identifier: MIT */
/*
 * mm.h - address spaces: make, fork, exec, exit; limits, accounting.
 *
 * The embedder places `struct avm_mm` (inside its process structure, say) and owns that memory until
 * `release` is called. Fields are the core's; those an embedder may set are marked.
 */
#ifndef ANONVM_MM_H
#define ANONVM_MM_H

#include "anonvm/machine.h"
#include "anonvm/types.h"
#include "anonvm/vma.h"

enum avm_rss {
	AVM_RSS_FILE, /* pages of files, private or shared, not copied */
	AVM_RSS_ANON, /* private copies and anonymous memory; the zero page does not count */
	AVM_RSS_SWAP, /* swap entries */
	AVM_RSS_SHMEM, /* pages of shared anonymous memory */
	AVM_NR_RSS,
};

#define AVM_NO_LIMIT (~(uint64_t)0)

/* In bytes, as setrlimit() takes them; AVM_NO_LIMIT is none. May be changed at any time by the embedder. */
struct avm_limits {
	uint64_t address_space; /* RLIMIT_AS: -ENOMEM */
	uint64_t data; /* RLIMIT_DATA: brk and private writable memory, -ENOMEM */
	uint64_t stack; /* RLIMIT_STACK: a growsdown VMA does not grow beyond it */
	uint64_t locked; /* RLIMIT_MEMLOCK: -EAGAIN from mmap, -ENOMEM from mlock; -EPERM when 0 */
};

/* Zero is a good value for every field. */
struct avm_mm_config {
	void *context; /* the embedder's; mm->context */
	void (*release)(
		struct avm_mm *mm); /* the last reference is gone: the struct is yours again */
	avm_addr_t lowest; /* lowest address to be mapped; 0: 64 KiB, as mmap_min_addr */
	avm_addr_t task_size; /* end of user addresses; 0: the arch's */
	avm_addr_t mmap_base; /* placement goes top-down from here; 0: 128 MiB below task_size */
	struct avm_limits *limits; /* copied; NULL: none */
};

/*
 * Told of every range whose translations are about to become, and then have become, less permissive or
 * different: for a second MMU (a guest's, a device's). Called with mmap_lock held (any mode) or a rmap lock
 * held; must not call back into the core for the same address space. `invalidate_end` follows every
 * `invalidate_start`, also when the operation fails. (R12)
 */
struct avm_notifier {
	struct avm_list link;
	void (*invalidate_start)(struct avm_notifier *n, avm_addr_t start, avm_addr_t end);
	void (*invalidate_end)(struct avm_notifier *n, avm_addr_t start, avm_addr_t end);
};

/* VMAs that went and wait to come again. An operation splits two at most. */
#define AVM_SPARE_VMAS 2
#define AVM_RECENT_BITS 4
#define AVM_RECENT_VMAS (1u << AVM_RECENT_BITS)
#define AVM_RECENT_TAG ((uintptr_t)7) /* beside a VMA, which is aligned: bits of the hash */

/* What a CPU has to itself of an address space. */
struct AVM_CPU_ALIGNED avm_mm_cpu {
	/* The VMA that a fault of this CPU is inside, held for read; bit 0: it is counted in vma->readers by now. */
	_Atomic uintptr_t inside;
	_Atomic uint64_t rss[AVM_NR_RSS]; /* modulo 2^64: only the sum counts */
};

struct avm_mm {
	struct avm *machine;
	_Atomic uint32_t users; /* avm_mm_get, avm_mm_put */
	struct avm_rwsem mmap_lock; /* order 1: the set of VMAs and their chains */
	_Atomic uint32_t
		write_seq; /* odd while mmap_lock is held for write; see avm_vma.write_seq */
	struct avm_spinlock page_table_lock; /* order 6: upper tables; the step chain empty -> one */

	struct avm_vma_tree vmas; /* mmap_lock */
	struct avm_page *root_table;
	struct avm_vma *spare[AVM_SPARE_VMAS]; /* for the next operation; mmap_lock write */
	_Atomic uint32_t nr_spare; /* so many are there, from [0] on; also read by avm_stats() */

	uint64_t default_flags; /* mlockall(MCL_FUTURE): flags for new VMAs; mmap_lock */
	avm_addr_t lowest, task_size, mmap_base;
	avm_addr_t brk_start, brk; /* the heap; set by avm_exec(); mmap_lock */
	struct avm_limits limits; /* the embedder may change it */

	/* what stands above is wanted often: in two cache lines */
	void *context;
	void (*release)(struct avm_mm *mm);
	uint64_t id; /* for people; never used twice in a machine */
	struct avm_list link; /* machine->mms */

	/*
	 * VMAs that faults have been in lately, by a hash of the address: where the next one looks without mmap_lock.
	 * Set under mmap_lock; a VMA is out before it is freed. Read under RCU.
	 */
	_Atomic uintptr_t recent[AVM_RECENT_VMAS];

	/* accounting, in pages; mmap_lock for write unless atomic */
	uint64_t total_vm;
	uint64_t data_vm; /* private, writable, not stack */
	uint64_t exec_vm; /* executable, not writable, not stack */
	uint64_t stack_vm;
	uint64_t locked_vm;
	_Atomic uint64_t
		committed; /* promised to its VMAs, where nothing is refused; else in machine->committed */
	_Atomic uint64_t tables; /* page tables, the root included */

	struct avm_rwsem notify_lock; /* order 5b: keeps `notifiers` for who has no mmap_lock */
	struct avm_list notifiers; /* mmap_lock write and notify_lock write to change */

	_Atomic uint64_t fault_cpus; /* bit (id % 64): faults have been here on such a CPU */
	struct avm_mm_cpu cpus[AVM_NR_CPUS]; /* rss: in pages */
};

/*
 * Makes an empty address space with one user. `config` may be NULL.
 * Returns 0; -EINVAL (limits of the address space out of order or beyond the arch's);
 * -ENOMEM (no root table); or what avm_port_root_init() said.
 * Sleeps: yes. Locks: none.
 */
int avm_mm_init(struct avm *m, struct avm_mm *mm, const struct avm_mm_config *config);

/* One more user. The caller has one already. */
void avm_mm_get(struct avm_mm *mm);

/* As avm_mm_get, for a caller that has none: false when the last user is already gone. */
bool avm_mm_tryget(struct avm_mm *mm);

/*
 * One user fewer. The last one unmaps everything (R9.2) and calls mm->release.
 * Sleeps: yes. Locks held: none of this address space.
 */
void avm_mm_put(struct avm_mm *mm);

/*
 * Makes *child a copy-on-write copy of *parent (R9.1), with one user. `config` gives the child its context
 * and release; its layout and limits are the parent's.
 * Returns 0; -ENOMEM: no child, and the parent unchanged, except that pages may be write-protected.
 * -EINTR where the port's wait() was given up; nothing changed.
 * Locks taken: parent's mmap_lock write, its VMAs' locks, child's mmap_lock. Sleeps: yes.
 */
int avm_mm_fork(struct avm_mm *parent, struct avm_mm *child, const struct avm_mm_config *config);

/*
 * Unmaps everything now and keeps the (empty) address space usable: what exec does to the old image when
 * nobody else uses it, and what an embedder's exit may call early. Cannot fail. Sleeps: yes.
 */
void avm_mm_unmap_all(struct avm_mm *mm);

/*
 * Pages of one kind that the address space has: what avm_mm_stats() says, and no more than that. Exact while nothing changes.
 * Locks: none. Never sleeps.
 */
uint64_t avm_mm_rss(const struct avm_mm *mm, enum avm_rss which);

/* The frame of the root table: what to load into the MMU. Never sleeps. */
avm_pfn_t avm_mm_root(const struct avm_mm *mm);

/* One segment of an image that exec maps. */
struct avm_segment {
	avm_addr_t start; /* page-aligned */
	uint64_t pages;
	uint32_t prot; /* AVM_PROT_... */
	struct avm_file *file; /* NULL: anonymous (bss) */
	uint64_t pgoff;
};

/* What exec needs to know of an image (R9.3). */
struct avm_image {
	const struct avm_segment *segments;
	unsigned nr_segments;
	avm_addr_t brk_start; /* where the heap begins; 0: no heap */
	avm_addr_t stack_end; /* page-aligned; 0: no stack */
	uint64_t stack_pages; /* size of the stack VMA at the start */
	uint64_t argument_pages; /* top pages of the stack, made present and zeroed */
	uint32_t stack_prot; /* 0: read and write */
	uint64_t stack_pgoff; /* 0: by R1.2; Linux makes the stack elsewhere, then moves it */
};

/*
 * Fills an empty address space, just made by avm_mm_init(), with an image: segments, heap, stack.
 * The old address space of the process is the caller's to put (a vfork parent keeps its own).
 * Returns 0; -EINVAL (bad or overlapping segments, a device among them, a heap outside of the address space, *mm not
 * empty), -ENOMEM; *mm is empty again then.
 * Sleeps: yes. Locks taken: mmap_lock write.
 */
int avm_exec(struct avm_mm *mm, const struct avm_image *image);

/*
 * Registers, unregisters a notifier; nobody calls it any more when avm_notifier_del() returns. Takes mmap_lock and
 * notify_lock for write. Sleeps: yes.
 */
void avm_notifier_add(struct avm_mm *mm, struct avm_notifier *n);
void avm_notifier_del(struct avm_mm *mm, struct avm_notifier *n);

#endif
