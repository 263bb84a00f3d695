/* SPDX-License-Identifier: MIT */
/*
 * port.h - what an embedder supplies. This file *is* the port.
 *
 * A port is a folder on the include path with a file `avm_port.h` that
 *
 *   1. defines AVM_PORT_TIER: 0 one CPU; 1 several CPUs (or a TLB that the core does not see);
 *      2 swap, and reports of memory that ran out or went bad, as well; and AVM_PORT_MAX_CPUS, if there are several;
 *   2. includes this file;
 *   3. may replace any of the hooks at the end by its own macro or inline function.
 *
 * and one or more source files that implement the functions of its tier. The smallest complete port
 * is eight functions:
 *
 *	avm_pfn_t avm_port_frame_alloc(struct avm *m, enum avm_frame_use use)
 *	{
 *		struct kernel *k = m->context;
 *		return k->nr_free ? k->free[--k->nr_free] : AVM_PFN_NONE;
 *	}
 *
 * Every function takes the machine first; `m->context` is whatever the embedder put there. The core
 * never calls a port function with a lock of class AVM_LOCK_LEAF held, except frame_free, log and panic.
 */
#ifndef ANONVM_PORT_H
#define ANONVM_PORT_H

#include "anonvm/types.h"

/* What a frame is wanted for. A port that keeps no contents in frames gives real memory to tables. */
enum avm_frame_use {
	AVM_FRAME_USER, /* contents of user pages; zeroed by the core when that matters */
	AVM_FRAME_TABLE, /* a page table; cleared by the core */
};

enum avm_log_level {
	AVM_LOG_ERROR,
	AVM_LOG_WARN,
	AVM_LOG_INFO,
};

/* TIER 0 */

/*
 * A free frame, or AVM_PFN_NONE when there is none. The frame must lie in a region given to
 * avm_add_frames(). Contents are undefined. May be called with sleeping locks held, never with spin locks.
 */
avm_pfn_t avm_port_frame_alloc(struct avm *m, enum avm_frame_use use);

/*
 * Takes back a frame that frame_alloc gave. May be called under spin locks; must not sleep. Whoever is given the frame next comes
 * after this call (in C11's sense: happens after), as a lock around the free frames has it.
 */
void avm_port_frame_free(struct avm *m, avm_pfn_t pfn);

/*
 * Where the core can read and write the frame: AVM_PAGE_SIZE bytes, valid until the frame is freed.
 * Called for page tables, and for user frames by the default content operations below.
 */
void *avm_port_frame_ptr(struct avm *m, avm_pfn_t pfn);

/*
 * Memory for the core's own objects: `size` bytes (a power of two, at least AVM_META_MIN), aligned to
 * `size`; NULL when there is none. Never called under spin locks.
 */
void *avm_port_meta_alloc(struct avm *m, size_t size);

/* Takes back what meta_alloc gave, with the same size. Must not sleep. */
void avm_port_meta_free(struct avm *m, void *ptr, size_t size);

/*
 * A new root table of an address space has been cleared: fill in the kernel's half. On a port without
 * one: nothing. Returns 0 or a negative errno, which avm_mm_init() passes on.
 */
int avm_port_root_init(struct avm *m, struct avm_mm *mm, void *root);

/* One line of text, without a newline at the end. Callable anywhere; must not sleep. */
void avm_port_log(struct avm *m, enum avm_log_level level, const char *line);

/* The core found its own state broken and cannot go on. Must not return. */
_Noreturn void avm_port_panic(struct avm *m, const char *why);

/* TIER 1 */

/* Number of the CPU this runs on, 0 <= id < AVM_PORT_MAX_CPUS, where that is defined. Stable while interrupts are off. */
unsigned avm_port_cpu_id(struct avm *m);

/* Interrupts off; returns what irq_restore needs. The default RCU read section is built on the pair. */
uintptr_t avm_port_irq_save(struct avm *m);
void avm_port_irq_restore(struct avm *m, uintptr_t saved);

/*
 * Sleep while *word == value; may return early for no reason. wake() wakes every sleeper on the word, and must not look at
 * it: what lay there may be gone. (The shape of a futex.) wait() returns 0, or -EINTR where the port allows a wait to be
 * given up.
 */
int avm_port_wait(struct avm *m, _Atomic uint32_t *word, uint32_t value);
void avm_port_wake(struct avm *m, _Atomic uint32_t *word);

/* Call d->call(d) when every RCU read section that runs now has ended. Must not sleep. */
void avm_port_defer(struct avm *m, struct avm_deferred *d);

/*
 * Forget all translations of [start, end) of this address space, on every CPU, before returning.
 * May forget more. Called under page-table locks.
 */
void avm_port_tlb_flush(struct avm *m, struct avm_mm *mm, avm_addr_t start, avm_addr_t end);

/* TIER 2 */

/*
 * Contents of a slot, to and from the frame of a locked page. 0 or a negative errno: after a write error the page stays
 * in memory, after a read error the fault is SIGBUS. A slot is written before it is first read. May sleep.
 */
int avm_port_swap_write(struct avm *m, struct avm_swap_device *d, uint32_t slot, avm_pfn_t pfn);
int avm_port_swap_read(struct avm *m, struct avm_swap_device *d, uint32_t slot, avm_pfn_t pfn);

/* The content of the slot is not wanted any more. Called under spin locks; must not sleep. */
void avm_port_swap_discard(struct avm *m, struct avm_swap_device *d, uint32_t slot);

/* There is no frame even after reclaim: the fault or call of oom->mm is about to fail. May sleep. */
struct avm_oom;
void avm_port_oom(struct avm *m, const struct avm_oom *oom);

/* The frame behind this page of an address space has gone bad (avm_poison). Must not sleep. */
void avm_port_poisoned(struct avm *m, struct avm_mm *mm, avm_addr_t addr);

/* END OF TIERS */

#define AVM_META_MIN 4096

/*
 * Hooks a port may define in its avm_port.h (as macros, or as inline functions with a macro of the same
 * name); what stands here is the default.
 *
 * AVM_PORT_FRAME_OPS: the port brings its own content operations, in the shape of src/frame.h:
 *	avm_port_frame_clear(m, pfn); avm_port_frame_copy(m, to, from);
 *	avm_port_frame_read(m, pfn, offset, buf, len); avm_port_frame_write(m, pfn, offset, buf, len);
 *	avm_port_frame_same(m, a, b).
 * AVM_PORT_LOCK_HOOKS: the port is told of every lock operation *before* it happens:
 *	avm_port_lock_event(m, event, class, lock). src/lock.h has the rules; the enums are below.
 * AVM_PORT_FAIL(m), AVM_PORT_FAIL_ANY(m, n): asked before each allocation of an object or a frame, and of n objects at once;
 *	true makes it fail.
 * AVM_PORT_MAX_CPUS (1; 256 at most), AVM_PORT_CPU_RELAX: as the names say.
 * AVM_PORT_CPU_ALONE: no other thread comes in between on a CPU while one is in the core, unless that sleeps: counters of a
 *	CPU are then written without atomic operations. (So it is on a kernel that is not preempted, or where each thread is
 *	a CPU of its own.)
 */

#ifndef AVM_PORT_MAX_CPUS
#define AVM_PORT_MAX_CPUS 1
#endif
#if AVM_PORT_MAX_CPUS > 256
#error "AVM_PORT_MAX_CPUS: 256 at most"
#endif
#define AVM_NR_CPUS AVM_PORT_MAX_CPUS

/* Parts of two CPUs lie in two cache lines. So a struct avm or struct avm_mm is aligned to one where there are several. */
#define AVM_CACHE_LINE 64u
#if AVM_NR_CPUS > 1
#define AVM_CPU_ALIGNED __attribute__((aligned(AVM_CACHE_LINE)))
#else
#define AVM_CPU_ALIGNED
#endif

enum avm_lock_class {
	AVM_LOCK_KSM, /* machine->ksm */
	AVM_LOCK_MMAP,
	AVM_LOCK_VMA,
	AVM_LOCK_PAGE,
	AVM_LOCK_RECLAIM,
	AVM_LOCK_FILE,
	AVM_LOCK_FAMILY,
	AVM_LOCK_NOTIFY,
	AVM_LOCK_PAGE_TABLE, /* mm->page_table_lock */
	AVM_LOCK_TABLE, /* one table */
	AVM_LOCK_LEAF,
	AVM_NR_LOCK_CLASSES,
};

enum avm_lock_event {
	AVM_LOCK_EV_READ, /* about to take for read */
	AVM_LOCK_EV_WRITE, /* about to take for write; spin locks, page lock */
	AVM_LOCK_EV_NEST, /* as WRITE, second lock of its class, in the order the class allows */
	AVM_LOCK_EV_TRY, /* trylock has succeeded, for write */
	AVM_LOCK_EV_TRY_READ, /* ... for read */
	AVM_LOCK_EV_UNLOCK_READ,
	AVM_LOCK_EV_UNLOCK_WRITE,
	AVM_LOCK_EV_DOWNGRADE, /* write becomes read */
	AVM_LOCK_EV_MIGHT_SLEEP, /* lock NULL: asserts that sleeping is allowed here */
	AVM_LOCK_EV_ASSERT, /* must be held, in any mode */
	AVM_LOCK_EV_ASSERT_WRITE, /* must be held for write */
	AVM_LOCK_EV_RCU_ENTER, /* lock NULL */
	AVM_LOCK_EV_RCU_EXIT,
};

#endif
