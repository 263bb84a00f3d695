/* SPDX-License-Identifier: MIT */
/*
 * threads.h - the simulated machine with several CPUs: each thread that comes to it is one.
 *
 * What a CPU has of its own: a TLB, a cache of free frames and of metadata, the locks it holds, the depth of its read
 * sections. A thread gets one with its first call, and gives it back with smp_leave(). RCU is liburcu's. A flush asks
 * every CPU that has ever looked at the address space, and waits for the access under way (docs/threads.md).
 *
 *	sim_create(&s, &config);	and all the rest of sim.h
 *	smp_start(s, SMP_RECLAIM | SMP_KSM);
 *	...				from as many threads as one likes; each ends with smp_leave(s)
 *	smp_stop(s);
 *	sim_destroy(s);
 */
#ifndef THREADS_H
#define THREADS_H

#include "sim.h"

#define SMP_CPUS 64u /* that a machine can have at a time */

/* This thread is a CPU of the machine no more: what it has kept goes back, its TLB is empty. It holds no lock. */
void smp_leave(struct sim *s);

/* ---- what goes on beside ---------------------------------------------------------------------------------- */

enum smp_work {
	SMP_RECLAIM = 1, /* avm_balance() whenever frames run low */
	SMP_KSM = 2, /* avm_ksm_scan() without end */
	SMP_COMPACT = 4, /* avm_compact() of one part of memory after the other */
};

/* 0; -EAGAIN: a thread could not be made, none is running then; -EBUSY: some are there already. */
int smp_start(struct sim *s, unsigned work);
/* They have ended, and what they deferred is done. sim_destroy() does so, too. */
void smp_stop(struct sim *s);

/* For tests: one of them dies, between two calls of the core. */
void smp_end(struct sim *s, enum smp_work which);

/* Nobody of them is in the core until they go on. Not nested; by one thread at a time. */
void smp_pause(struct sim *s);
void smp_go_on(struct sim *s);

/* What was deferred is done: waits until there is nothing. => nobody is in a read section for ever */
void smp_settle(struct sim *s);

/* What each has done, so far: calls that did something. A thread that has died is missing in `alive`. */
struct smp_work_stats {
	uint64_t reclaims, scans, compactions;
	unsigned alive; /* enum smp_work */
};
void smp_work_stats(struct sim *s, struct smp_work_stats *out);

/* ---- disorder ------------------------------------------------------------------------------------------------ */

/* One in so many; 0: none. */
struct smp_disorder {
	uint32_t yields; /* lock operations and flushes give the CPU away first */
	uint32_t interrupted; /* waits that can be given up are, with -EINTR */
	uint32_t allocs; /* allocations fail */
	bool no_threads; /* no thread can be made */
};
void smp_set_disorder(struct sim *s, const struct smp_disorder *d);

/*
 * Called where the core is about to take, to try or to drop a lock, by the thread that does so: to hold it there. NULL: nobody. Set
 * while nobody is in the core. Needs the hooks (AVM_THREADS_HOOKS).
 */
typedef void smp_observer(void *context, int event, int lock_class, const volatile void *lock);
void smp_set_observer(struct sim *s, smp_observer *observer, void *context);

/* ---- locks ----------------------------------------------------------------------------------------------------- */

struct smp_lock_stats {
	const char *name;
	uint64_t taken, contended;
	uint64_t waited_ns, held_ns; /* in all */
	uint64_t longest_hold_ns;
};
/* Of each class, by number; returns how many. Without the hooks only names. */
unsigned smp_lock_stats(struct sim *s, struct smp_lock_stats *out, unsigned room);

/* Which CPU holds, and waits for, what: for when nothing moves. May be called while everything runs. */
void smp_dump(struct sim *s, FILE *out);

/* ---- TLBs -------------------------------------------------------------------------------------------------------- */

struct smp_tlb_stats {
	uint64_t hits, walks, flushes, shootdowns; /* of other CPUs' TLBs */
};
void smp_tlb_stats(struct sim *s, struct smp_tlb_stats *out);

/* => machine at rest. Translations that permit what the tables do not, which are reported. */
uint64_t smp_check_tlbs(struct sim *s);

#endif
