/* SPDX-License-Identifier: MIT */
/*
 * machine.h - one computer: its frames, its objects, its address spaces.
 *
 * Nothing is global: two machines in one process never touch. The embedder places `struct avm`; the core
 * fills it. Fields below `config` are the core's own; read them through observe.h.
 */
#ifndef ANONVM_MACHINE_H
#define ANONVM_MACHINE_H

#include "anonvm/page.h"
#include "anonvm/types.h"
#include "avm_port.h"

/* R4.6: how families of anon_vmas grow. All three are correct; they differ in walk length and memory. */
enum avm_family_policy {
	AVM_FAMILY_REUSE, /* the default: an idle ancestor's anon_vma is reused at fork (R4.3) */
	AVM_FAMILY_CHAIN, /* a new anon_vma at every fork (Linux 2.6.34) */
	AVM_FAMILY_FLAT, /* children share the parent's one anon_vma (Linux 2.6.33) */
};

enum avm_commit_policy {
	AVM_COMMIT_OFF, /* the default: promise more than there is */
	AVM_COMMIT_STRICT, /* R1.5: refuse with -ENOMEM what frames and swap could not back */
};

/* Zero is a good value for every field. */
struct avm_config {
	void *context; /* the embedder's; found again as m->context */
	enum avm_family_policy family;
	enum avm_commit_policy commit;
	uint64_t commit_reserve; /* strict: pages never promised to anybody */
	uint32_t max_map_count; /* VMAs per address space; 0: 65530 */
	uint32_t fault_around; /* pages around a file fault to map if cached; a power of two; 0: 16, 1: none */
	uint32_t stack_guard; /* pages kept free below a growsdown VMA; 0: 256 */
	bool no_stack_guard; /* ... or none at all */
	uint64_t low_frames; /* fewer free frames than this: reclaim in the background (avm_balance); 0: never */
	uint64_t high_frames; /* ... until so many are free; 0: twice low_frames */
	uint32_t cpus; /* avm_port_cpu_id() is less than this; 0: AVM_PORT_MAX_CPUS */
};

/*
 * A cache of objects of one size (src/slab.h). Type-stable caches give memory back only after a grace
 * period, so that a stale pointer read under RCU still points to an object of the type.
 */
struct avm_cache {
	const char *name;
	uint32_t object_size; /* what the user of the cache sees */
	uint32_t stride; /* with red zones, rounded */
	uint32_t per_slab;
	uint32_t slab_size;
	bool type_stable;
	void (*ctor)(void *object); /* when memory enters the cache, not at each allocation */
	struct avm_spinlock lock; /* covers all below */
	struct avm_list partial;
	struct avm_list full;
	struct avm_list empty;
	struct avm_itree slabs; /* all of them, by address */
	uint64_t nr_slabs;
	uint64_t nr_empty;
	uint64_t nr_objects; /* allocated and not freed */
	uint64_t peak_objects;
};

/* A run of frames with consecutive numbers. Placed by the caller; lives as long as the machine. */
struct avm_region {
	struct avm_region *next;
	avm_pfn_t first;
	uint64_t count;
	struct avm_page *pages; /* `count` descriptors */
};

enum avm_lru {
	AVM_LRU_INACTIVE_ANON,
	AVM_LRU_ACTIVE_ANON,
	AVM_LRU_INACTIVE_FILE,
	AVM_LRU_ACTIVE_FILE,
	AVM_LRU_UNEVICTABLE,
	AVM_NR_LRU,
};

/* Counters of what has happened, machine-wide; read with avm_stats(). Relaxed, never decreasing. */
enum avm_event {
	AVM_EV_FAULT_MINOR,
	AVM_EV_FAULT_MAJOR,
	AVM_EV_FAULT_SPURIOUS,
	AVM_EV_FAULT_MMAP_LOCK, /* needed mmap_lock; the others took the lock of their VMA alone */
	AVM_EV_ZERO_FILL, /* private pages given zeroed */
	AVM_EV_ZERO_MAP, /* the zero page mapped */
	AVM_EV_COW_COPY,
	AVM_EV_COW_REUSE, /* exclusive, or sole owner: no copy (R8.3) */
	AVM_EV_FILE_READ, /* pages read from files */
	AVM_EV_FILE_WRITE,
	AVM_EV_FAULT_AROUND, /* file pages mapped beside the faulting one */
	AVM_EV_MERGE, /* VMAs that became one with a neighbour, by any operation */
	AVM_EV_SPLIT,
	AVM_EV_FORK,
	AVM_EV_EXIT,
	AVM_EV_ANON_VMA_REUSED_NEIGHBOUR, /* R4.1 */
	AVM_EV_ANON_VMA_REUSED_ANCESTOR, /* R4.3 */
	AVM_EV_EARLY_COPY, /* pinned page copied at fork (R5.6) */
	AVM_EV_RMAP_WALKS,
	AVM_EV_RMAP_VISITED, /* (VMA, address) pairs looked at */
	AVM_EV_RMAP_MAPPED, /* ... that mapped the page */
	AVM_EV_TLB_FLUSH, /* ranges flushed */
	AVM_EV_OOM,

	AVM_EV_DIRECT_RECLAIM, /* an operation that was short of frames has reclaimed */
	AVM_EV_SCANNED, /* pages that reclaim has looked at to free them */
	AVM_EV_RECLAIMED, /* ... that it has freed */
	AVM_EV_ACTIVATED, /* ... that got a second chance (R11.1) */
	AVM_EV_DEACTIVATED,
	AVM_EV_SWAP_OUT, /* pages written to swap devices */
	AVM_EV_SWAP_IN, /* pages read from them */
	AVM_EV_SWAP_CACHE_HIT, /* faults that found the page in the swap cache */
	AVM_EV_SWAP_WRITE_ERROR,
	AVM_EV_SWAP_READ_ERROR,
	AVM_EV_SWAP_FULL, /* a page stayed because there was no slot */
	AVM_EV_LAZY_FREED, /* MADV_FREE pages whose content was dropped */
	AVM_EV_KSM_SCANNED,
	AVM_EV_KSM_MERGED, /* pages that gave up their frame for an equal one */
	AVM_EV_KSM_BROKEN, /* merged pages copied away by a write or on request */
	AVM_EV_MIGRATED,
	AVM_EV_MIGRATE_FAILED,
	AVM_EV_POISONED,
	AVM_EV_PINNED,

	/* Races: work that somebody else had undone or done meanwhile. Each is harmless, and must happen in tests. */
	AVM_EV_RACE_ISOLATED, /* unmapped or freed by its owner while isolated */
	AVM_EV_RACE_REDIRTIED, /* written or mapped again while being reclaimed: kept */
	AVM_EV_RACE_SWAPIN_ENTRY, /* the entry changed while its page was read */
	AVM_EV_RACE_SWAPIN_CACHE, /* the page found, or brought, is not the slot's any more */
	AVM_EV_RACE_PAGE_LOCKED, /* a page lock that reclaim, merging or migration would not wait for */
	AVM_EV_RACE_KSM_CHANGED, /* a page changed between being found equal and being merged */
	AVM_EV_RACE_MIGRATION_WAIT, /* a fault waited for a page that was being moved */
	AVM_EV_RACE_PREPARE, /* two faults made a family for one VMA at once (R4.1) */
	AVM_EV_RACE_UNMAPPED, /* a walk found, with the family locked, that the page had left it (R6) */
	AVM_NR_EVENTS,
};

/* Why two touching ranges did not become one (R2); counted per machine, told to the merge observer. */
enum avm_refusal {
	AVM_REFUSED_FILE, /* other file, or one has none */
	AVM_REFUSED_OFFSET, /* pgoff not linear */
	AVM_REFUSED_FLAGS, /* protection or another flag differs */
	AVM_REFUSED_POLICY,
	AVM_REFUSED_NAME,
	AVM_REFUSED_SPECIAL, /* special, dontexpand, or has a close operation */
	AVM_REFUSED_FAMILY, /* both faulted, different anon_vmas */
	AVM_REFUSED_FORK_CHILD, /* one is a fork child, the other unfaulted (R2.2) */
	AVM_REFUSED_THREE_WAY, /* prev and next suit the new range but not each other (R2.3) */
	AVM_NR_REFUSALS,
};

/*
 * Told of each refused merge, while mmap_lock is held for write: may look, must not call back into the
 * core. `boundary`: where the two ranges touch.
 */
struct avm_merge_observer {
	void (*refused)(struct avm_merge_observer *o, struct avm_mm *mm, avm_addr_t boundary,
			enum avm_refusal why);
};

/*
 * What each CPU has to itself, so that CPUs that do the same do not meet in a cache line. Which one it is (avm_port_cpu_id())
 * is a hint where the port does not say more: another's part is as right, and only slower. A page is on the lists of the
 * CPU that allocated it as long as it lives.
 */
struct AVM_CPU_ALIGNED avm_cpu {
	/* Taken here, less what was given back here: modulo 2^64, only the sum counts. Zero page and tables included. */
	_Atomic uint64_t frames_used;
	_Atomic uint64_t tables_used; /* of those; the same way */
	struct avm_spinlock lru_lock; /* leaf: covers lru, lru_count, page->lru of pages there */
	struct avm_list lru[AVM_NR_LRU];
	uint64_t lru_count[AVM_NR_LRU];
	_Atomic uint64_t events[AVM_NR_EVENTS];
};

#define AVM_MAX_SWAP_DEVICES 32u

struct avm {
	void *context;
	struct avm_config config;

	struct avm_region *regions; /* changed only by avm_add_frames */
	struct avm_page *zero_page;
	_Atomic uint64_t frames_total;
	_Atomic uint64_t
		frames_poisoned; /* of those used: gone bad, never given back (avm_poison) */
	_Atomic uint64_t frames_refused; /* by the port, so far */

	struct avm_cache vmas; /* type-stable: found under RCU by faults */
	struct avm_cache anon_vmas; /* type-stable (R6) */
	struct avm_cache avcs;
	struct avm_cache tree_nodes;
	struct avm_cache radix_nodes;
	struct avm_cache files; /* shared anonymous memory that mmap made itself */
	struct avm_cache merged; /* same-page merged pages ... */
	struct avm_cache merged_items; /* ... and the places that they came from */
	struct avm_cache ksm_items; /* what avm_ksm_scan() remembers of pages */
	struct avm_node_alloc tree_node_alloc; /* how the VMA trees get nodes from their cache */
	_Atomic uint64_t meta_bytes; /* taken from avm_port_meta_alloc */
	_Atomic uint64_t meta_bytes_peak;

	_Atomic uint32_t lru_next; /* the CPU whose pages reclaim looks at first */

	struct avm_spinlock swap_lock; /* leaf: covers swap[], nr_swap, swapped_files */
	struct avm_swap_device *swap[AVM_MAX_SWAP_DEVICES]; /* by number; NULL: free */
	uint32_t nr_swap;
	struct avm_list swapped_files; /* shared anonymous memory that has been in swap */
	_Atomic uint64_t swap_slots, swap_used; /* of all devices */
	_Atomic uint32_t pressure; /* 1: avm_balance() is wanted */

	struct avm_spinlock merged_lock; /* leaf: covers merged_pages */
	struct avm_itree
		merged_pages; /* by hash of their contents: those that more can be merged with */
	void (*merged_release)(struct avm *m,
			       struct avm_page *page); /* a merged page is being freed */
	struct avm_ksm {
		struct avm_rwsem lock; /* order 0: covers all of this */
		uint64_t mm_id; /* where to go on: the address space, or the next that is left */
		avm_addr_t addr;
		struct avm_itree seen[2]; /* in this round (by its parity), in the last */
		uint32_t round;
	} ksm;

	struct avm_spinlock mm_lock; /* covers mms and nr_mms */
	struct avm_list mms;
	uint64_t nr_mms;

	_Atomic uint64_t committed; /* pages promised (R1.5) */
	_Atomic uint64_t next_id; /* ids of address spaces and anon_vmas, for people */
	_Atomic uint64_t refused[AVM_NR_REFUSALS];
	struct avm_merge_observer *observer;

	/*
	 * A design of families that counts its pages is told here when a page gives up its mapping, which
	 * happens below its row; NULL for the three designs of today, which count none (R4.6: release).
	 */
	void (*page_release)(struct avm *m, struct avm_page *page);

	_Atomic uint32_t gathers_open; /* V41 */
	_Atomic uint32_t warned; /* AVM_WARN_ONCE: bit per site group */

	struct avm_cpu cpus[AVM_NR_CPUS];
};

/*
 * Makes a machine without frames. `config` may be NULL and is copied.
 * Returns 0, or -EINVAL (a field out of range; *m is then unusable).
 * Sleeps: no. Locks: none; nobody else may use *m yet.
 */
int avm_init(struct avm *m, const struct avm_config *config);

/*
 * Ends a machine. Every address space must be gone and every file given back.
 * Returns 0, or -EBUSY (something is left; nothing has been freed). After 0 every frame and all metadata
 * are with the port again, once the port's grace periods have run; but no frame that has gone bad, which
 * the port has been told of by then (avm_poison).
 */
int avm_fini(struct avm *m);

/*
 * Tells the core of frames first .. first+count-1. `region` and `pages` (count descriptors, any contents)
 * are placed by the caller and stay until avm_fini(). The first call also takes one frame as the zero page.
 * Returns 0, -EINVAL (empty, or overlaps a region), -ENOMEM (no frame for the zero page; nothing changed).
 */
int avm_add_frames(struct avm *m, struct avm_region *region, avm_pfn_t first, uint64_t count,
		   struct avm_page *pages);

/* The descriptor of a frame, or NULL when it lies in no region. No locks; never sleeps. */
struct avm_page *avm_page_of(const struct avm *m, avm_pfn_t pfn);

/* What the machine runs on: NULL ends it. Caller serialises against all operations. */
void avm_set_merge_observer(struct avm *m, struct avm_merge_observer *o);

#endif
