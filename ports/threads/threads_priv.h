/* SPDX-License-Identifier: MIT */
/* threads_priv.h - what the files of the threads port share: a CPU, and all of them. */
#ifndef THREADS_PRIV_H
#define THREADS_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "sim_priv.h"
#include "threads.h"

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define TSAN_ACQUIRE(p) __tsan_acquire(p)
#define TSAN_RELEASE(p) __tsan_release(p)
#else
#define TSAN_ACQUIRE(p) ((void)(p))
#define TSAN_RELEASE(p) ((void)(p))
#endif

_Static_assert(SMP_CPUS == AVM_NR_CPUS, "the core has a place for each");

/* A CPU keeps an eighth of its share of the frames, within these; half of it, or so many, come and go at a time. */
#define CPU_FRAMES_MIN 32u
#define CPU_FRAMES_MAX 8192u
#define CPU_FRAMES_MOVED 512u
#define CPU_META 4u /* chunks of each size */
#define CPU_HELD 24u /* locks of a thread that are told apart */

/* A spin lock of the simulation. */
struct cpu_lock {
	atomic_uint taken;
};

void cpu_lock_slow(struct cpu_lock *l);

static inline void cpu_lock(struct cpu_lock *l)
{
	if (atomic_exchange_explicit(&l->taken, 1, memory_order_acquire))
		cpu_lock_slow(l);
}

static inline void cpu_unlock(struct cpu_lock *l)
{
	atomic_store_explicit(&l->taken, 0, memory_order_release);
}

struct cpu_tlb_entry {
	uint64_t space; /* avm_mm.id; 0: empty */
	avm_addr_t page;
	avm_pte_t pte;
};

/* A lock that is held or waited for. Read by smp_dump() without order. */
struct cpu_held {
	_Atomic(const volatile void *) lock;
	_Atomic uint32_t class;
	_Atomic uint64_t since; /* ns */
	_Atomic bool waits;
	bool contended; /* counted already */
};

/* Counted by the CPU alone, read by all. */
typedef _Atomic uint64_t cpu_count;

static inline void count_up(cpu_count *c, uint64_t n)
{
	uint64_t now = atomic_load_explicit(c, memory_order_relaxed);

	atomic_store_explicit(c, now + n, memory_order_relaxed);
}

struct cpu {
	/* The TLB: its lock is held while an access goes through it. */
	_Alignas(AVM_CACHE_LINE) struct cpu_lock tlb_lock;
	struct cpu_tlb_entry *tlb;
	cpu_count hits, walks, flushes, shootdowns;

	/* The frames. Others take from here when there are none left elsewhere. */
	avm_pfn_t *frames;
	struct cpu_lock frames_lock, meta_lock;
	_Atomic uint32_t nr_frames;
	uint32_t most_frames;
	uint32_t nr_meta[SIM_META_SIZES];
	void *meta[SIM_META_SIZES][CPU_META];

	struct sim *sim;
	unsigned number;
	unsigned irq_depth;
	struct sim_locks *locks; /* the rules of sim_locks.c */
	uint64_t random;
	atomic_bool there; /* a thread has it */

	_Atomic uint32_t nr_held;
	struct cpu_held held[CPU_HELD];
	_Atomic uint32_t last_class; /* of the lock that it was about to take */
	cpu_count taken[AVM_NR_LOCK_CLASSES], contended[AVM_NR_LOCK_CLASSES];
	cpu_count waited[AVM_NR_LOCK_CLASSES], kept[AVM_NR_LOCK_CLASSES];
	cpu_count longest[AVM_NR_LOCK_CLASSES];
};

struct smp_work_thread {
	struct sim *sim;
	enum smp_work work;
	pthread_t thread;
	bool made;
	cpu_count done;
	atomic_bool alive, dies;
};
#define NR_WORKS 3

struct smp {
	uint64_t id; /* no two machines of a process have the same */
	struct cpu *cpus;
	_Atomic unsigned nr_cpus; /* that have ever been there: the rest is untouched */
	struct sim_mutex
		frames_mutex; /* covers the common stack of free frames, and tables' memory */
	_Atomic uint64_t frames_common; /* a hint: how many are there */

	struct smp_disorder disorder;
	smp_observer *observer;
	void *observer_context;

	pthread_mutex_t work_mutex;
	pthread_cond_t work_cond;
	bool paused, stopping;
	atomic_bool park; /* paused or stopping: to be looked at under work_mutex */
	unsigned nr_parked;
	struct smp_work_thread works[NR_WORKS];

	_Atomic uint64_t nr_deferred; /* calls that have not come yet */
	char rcu; /* for TSan: what readers have done is before what was deferred */
};

/* The CPU that runs, which a thread gets the first time. */
extern _Thread_local struct cpu *cpu_mine;
extern _Thread_local uint64_t cpu_mine_of; /* smp->id */
struct cpu *cpu_come(struct sim *s);

static inline struct cpu *cpu_here(struct sim *s)
{
	if (cpu_mine_of == s->smp->id)
		return cpu_mine;
	return cpu_come(s);
}

static inline unsigned smp_nr_cpus(const struct sim *s)
{
	return atomic_load_explicit(&s->smp->nr_cpus, memory_order_acquire);
}

uint64_t cpu_random(struct cpu *c);
uint64_t cpu_clock(void); /* ns */

/* One in `rate`; never when it is 0. */
static inline bool cpu_chance(struct cpu *c, uint32_t rate)
{
	return rate && !(cpu_random(c) % rate);
}

/* Gives the processor away, sometimes, if that is asked for. */
void cpu_disturb(struct cpu *c);

/* What it keeps goes to all. => its thread, or nobody runs */
void cpu_frames_back(struct cpu *c);
uint32_t cpu_frames_most(const struct sim *s); /* that a CPU keeps */
void cpu_meta_back(struct cpu *c);
void cpu_tlb_empty(struct cpu *c);

/* A wait on a word begins, and ends (threads_locks.c). */
void cpu_waits(struct cpu *c, const volatile void *word);
void cpu_waited(struct cpu *c, const volatile void *word);

#endif
