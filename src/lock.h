/* SPDX-License-Identifier: MIT */
/*
 * lock.h - spin locks, sleeping read-write locks, the page lock, the VMA lock, RCU; and their order.
 *
 * Order, outermost first (docs/locking.md):
 *
 *	0  KSM	     machine->ksm.lock		sleeps
 *	1  MMAP	     mm->mmap_lock		sleeps	(fork: parent, then child)
 *	2  VMA	     vma lock			sleeps	(write only under MMAP write; dropped with it)
 *	3  PAGE	     page lock			sleeps	(a second one only by trylock)
 *	3b RECLAIM   pseudo: an allocation that may wait for memory
 *	4  FILE	     file->mmap_lock		sleeps
 *	5  FAMILY    anon_vma->root->lock	sleeps	(one at a time)
 *	5b NOTIFY    mm->notify_lock		sleeps
 *	6  TABLE     mm->page_table_lock, then the lock of one table (two: lower address first)	spins
 *	7  LEAF	     page cache, LRU, mm list, slab						spins
 *
 * Nothing sleeps under a spin lock or inside an RCU read section. A port that defines AVM_PORT_LOCK_HOOKS is
 * told of every operation before it happens, and enforces the above: the sim port does so in one thread.
 */
#ifndef AVM_LOCK_H
#define AVM_LOCK_H

#include "anonvm/mm.h"
#include "anonvm/page.h"
#include "anonvm/vma.h"
#include "avm_port.h"
#include "error.h"

#ifndef AVM_PORT_LOCK_HOOKS
#define avm_port_lock_event(m, event, class, lock) ((void)(m), (void)(class), (void)(lock))
#endif
#ifndef AVM_PORT_CPU_RELAX
#define AVM_PORT_CPU_RELAX(m) ((void)(m))
#endif

#define AVM_RW_WRITER 0x80000000u
#define AVM_RW_WAITERS 0x40000000u
#define AVM_VMA_AWAITED 0x80000000u /* in vma->readers */

/* What is too long to inline. The slow paths also take a lock that is free. */
void avm_spin_slow(struct avm *m, struct avm_spinlock *l);
int avm_rw_read_slow(struct avm *m, struct avm_rwsem *l);
int avm_rw_write_slow(struct avm *m, struct avm_rwsem *l);
void avm_rw_release_slow(struct avm *m, struct avm_rwsem *l, uint32_t held);

/*
 * The first try stands inline where speed is asked for; at -Os a lock is one call. So all of these are inline functions
 * that lock.c has a copy of: the compiler takes the shorter way.
 */
#ifdef __OPTIMIZE_SIZE__
#define AVM_LOCK_INLINE 0
#else
#define AVM_LOCK_INLINE 1
#endif

/* For one thread, to measure what locks cost: there are none. */
#ifdef AVM_LOCKS_OUT
#define AVM_LOCKED 0
#else
#define AVM_LOCKED 1
#endif

/* ---- spin locks ----------------------------------------------------------------------------------- */

inline void avm_spin_acquire(struct avm *m, struct avm_spinlock *l) AVM_UNCHECKED AVM_ACQUIRES(*l);
inline void avm_spin_acquire(struct avm *m, struct avm_spinlock *l)
{
	uint32_t free = 0;

	if (!AVM_LOCKED)
		return;
	if (!AVM_LOCK_INLINE ||
	    !atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire,
						     memory_order_relaxed))
		avm_spin_slow(m, l);
}

inline void avm_spin_lock(struct avm *m, struct avm_spinlock *l, enum avm_lock_class class)
	AVM_ACQUIRES(*l);
inline void avm_spin_lock(struct avm *m, struct avm_spinlock *l, enum avm_lock_class class)
{
	avm_port_lock_event(m, AVM_LOCK_EV_WRITE, class, l);
	avm_spin_acquire(m, l);
}

/* The second of two locks of one class; the caller answers for the order. */
inline void avm_spin_lock_nested(struct avm *m, struct avm_spinlock *l, enum avm_lock_class class)
	AVM_ACQUIRES(*l);
inline void avm_spin_lock_nested(struct avm *m, struct avm_spinlock *l, enum avm_lock_class class)
{
	avm_port_lock_event(m, AVM_LOCK_EV_NEST, class, l);
	avm_spin_acquire(m, l);
}

inline void avm_spin_unlock(struct avm *m, struct avm_spinlock *l,
			    enum avm_lock_class class) AVM_UNCHECKED AVM_RELEASES(*l);
inline void avm_spin_unlock(struct avm *m, struct avm_spinlock *l, enum avm_lock_class class)
{
	avm_port_lock_event(m, AVM_LOCK_EV_UNLOCK_WRITE, class, l);
	if (AVM_LOCKED)
		atomic_store_explicit(&l->word, 0, memory_order_release);
}

/* ---- sleeping read-write locks: 0, or -EINTR when the port gave the wait up -------------------------- */

inline int avm_rw_read(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class)
{
	uint32_t w = atomic_load_explicit(&l->word, memory_order_relaxed);
	int err;

	avm_port_lock_event(m, AVM_LOCK_EV_READ, class, l);
	if (!AVM_LOCKED)
		return 0;
	if (AVM_LOCK_INLINE && !(w & (AVM_RW_WRITER | AVM_RW_WAITERS)) &&
	    atomic_compare_exchange_strong_explicit(&l->word, &w, w + 1, memory_order_acquire,
						    memory_order_relaxed))
		return 0;
	err = avm_rw_read_slow(m, l);
	if (err)
		avm_port_lock_event(m, AVM_LOCK_EV_UNLOCK_READ, class, l);
	return err;
}

inline int avm_rw_write_acquire(struct avm *m, struct avm_rwsem *l)
{
	uint32_t free = 0;

	if (!AVM_LOCKED)
		return 0;
	if (AVM_LOCK_INLINE &&
	    atomic_compare_exchange_strong_explicit(&l->word, &free, AVM_RW_WRITER,
						    memory_order_acquire, memory_order_relaxed))
		return 0;
	return avm_rw_write_slow(m, l);
}

inline int avm_rw_write(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class)
{
	int err;

	avm_port_lock_event(m, AVM_LOCK_EV_WRITE, class, l);
	err = avm_rw_write_acquire(m, l);
	if (err)
		avm_port_lock_event(m, AVM_LOCK_EV_UNLOCK_WRITE, class, l);
	return err;
}

/* For what cannot be given up: waits again. */
void avm_rw_read_always(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class);
void avm_rw_write_always(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class);

inline bool avm_rw_try_read(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class)
{
	uint32_t w = atomic_load_explicit(&l->word, memory_order_relaxed);

	if (!AVM_LOCKED)
		return true;
	if ((w & (AVM_RW_WRITER | AVM_RW_WAITERS)) ||
	    !atomic_compare_exchange_strong_explicit(&l->word, &w, w + 1, memory_order_acquire,
						     memory_order_relaxed))
		return false;
	avm_port_lock_event(m, AVM_LOCK_EV_TRY_READ, class, l);
	return true;
}

/*
 * Once the word says that the lock is free it is not ours to touch: whoever takes it next may free what it lies in. So the
 * waiters' bit goes in the same step.
 */
inline void avm_rw_release(struct avm *m, struct avm_rwsem *l, uint32_t held)
{
	uint32_t w = held;

	if (!AVM_LOCKED)
		return;
	if (!AVM_LOCK_INLINE ||
	    !atomic_compare_exchange_strong_explicit(&l->word, &w, 0, memory_order_release,
						     memory_order_relaxed))
		avm_rw_release_slow(m, l, held);
}

inline void avm_rw_unlock_read(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class)
{
	avm_port_lock_event(m, AVM_LOCK_EV_UNLOCK_READ, class, l);
	avm_rw_release(m, l, 1);
}

inline void avm_rw_unlock_write(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class)
{
	avm_port_lock_event(m, AVM_LOCK_EV_UNLOCK_WRITE, class, l);
	avm_rw_release(m, l, AVM_RW_WRITER);
}

/* ---- waiting for a word to change: the port's; with one CPU there is nobody who could change it -------- */

int avm_word_wait(struct avm *m, _Atomic uint32_t *word, uint32_t value); /* 0 or -EINTR */
void avm_word_wake(struct avm *m, _Atomic uint32_t *word);

/* ---- mmap_lock and the VMA locks under it --------------------------------------------------------- */

inline int avm_mmap_read_lock(struct avm_mm *mm)
{
	return avm_rw_read(mm->machine, &mm->mmap_lock, AVM_LOCK_MMAP);
}

inline void avm_mmap_read_unlock(struct avm_mm *mm)
{
	avm_rw_unlock_read(mm->machine, &mm->mmap_lock, AVM_LOCK_MMAP);
}

/* 0, or -EINTR. */
int avm_mmap_write_lock(struct avm_mm *mm);

/* For what cannot be given up (exit): waits again. `nested`: the child's, at fork. */
void avm_mmap_write_lock_always(struct avm_mm *mm, bool nested);

/* Drops every VMA lock held for write as well. */
void avm_mmap_write_unlock(struct avm_mm *mm);

/* The caller goes on as a reader. */
void avm_mmap_downgrade(struct avm_mm *mm);

#define avm_assert_mmap_locked(mm) \
	avm_port_lock_event((mm)->machine, AVM_LOCK_EV_ASSERT, AVM_LOCK_MMAP, &(mm)->mmap_lock)
#define avm_assert_mmap_write_locked(mm) \
	avm_port_lock_event((mm)->machine, AVM_LOCK_EV_ASSERT_WRITE, AVM_LOCK_MMAP, \
			    &(mm)->mmap_lock)

/* One of the two that a fault runs under: mmap_lock, or the lock of a VMA of this address space. */
#define avm_assert_fault_locked(mm) \
	avm_port_lock_event((mm)->machine, AVM_LOCK_EV_ASSERT, AVM_LOCK_VMA, &(mm)->mmap_lock)

/*
 * => mmap_lock held for write. Waits for the faults inside the VMA and keeps new ones out until mmap_lock is
 *    unlocked. Call it before the first change to a VMA; calling it twice costs a load. Sleeps.
 */
void avm_vma_lock(struct avm_vma *vma);

/*
 * Its slow halves: faults that have said on their CPU that they are inside (mm->cpus) are counted in the VMA, where they
 * can be waited for; and waiting.
 */
void avm_vma_count_readers(struct avm_vma *vma);
void avm_vma_wait_for_readers(struct avm_vma *vma);

/*
 * The same for several at once: begin with each, and if that is true of any, a fence (seq_cst), then end with each. The
 * fence is what the lock costs (G-S). A VMA that no fault has found lately has none inside, and nobody can remember it now.
 */
static inline bool avm_vma_lock_begin(struct avm_vma *vma)
{
	struct avm_mm *mm = vma->mm;
	uint32_t seq = atomic_load_explicit(&mm->write_seq, memory_order_relaxed);

	avm_assert_mmap_write_locked(mm);
	if (atomic_load_explicit(&vma->write_seq, memory_order_relaxed) == seq)
		return false;
	avm_port_lock_event(mm->machine, AVM_LOCK_EV_WRITE, AVM_LOCK_VMA, vma);
	atomic_store_explicit(&vma->write_seq, seq, memory_order_release);
	return !AVM_FAST || atomic_load_explicit(&vma->remembered, memory_order_relaxed);
}

/* G-S: behind the fence. Acquire: G-V. */
static inline void avm_vma_lock_end(struct avm_vma *vma)
{
	if (AVM_NR_CPUS > 1)
		avm_vma_count_readers(vma);
	if (atomic_load_explicit(&vma->readers, memory_order_acquire))
		avm_vma_wait_for_readers(vma);
}

/* A fault that holds the lock of a VMA for read. */
struct avm_vma_reader {
	struct avm_vma *vma;
	_Atomic uintptr_t *inside; /* where that is said; NULL: it is counted in the VMA */
};

/*
 * The VMA that addr lies in, locked for read, if faults have been there lately: a fault then needs no mmap_lock. False: take
 * mmap_lock, and look. Until it is unlocked the VMA stays what and where it is, and so do the tables above its pages; not
 * its neighbours, and not the set. => none of the address space's locks held. Never sleeps.
 */
bool avm_vma_read_lock(struct avm_mm *mm, avm_addr_t addr, struct avm_vma_reader *r);
void avm_vma_read_unlock(struct avm_vma_reader *r);

/* The next fault near addr finds the VMA. => mmap_lock, any mode. */
void avm_vma_remember(struct avm_vma *vma, avm_addr_t addr);

/* No fault finds the VMA any more. => mmap_lock write, the VMA locked. Before it is freed. */
void avm_vma_forget(struct avm_mm *mm, struct avm_vma *vma);

/* ---- page lock ------------------------------------------------------------------------------------- */

void avm_page_lock(struct avm *m, struct avm_page *page);
int avm_page_lock_killable(struct avm *m, struct avm_page *page); /* 0, or -EINTR without it */
bool avm_page_trylock(struct avm *m, struct avm_page *page);
void avm_page_unlock(struct avm *m, struct avm_page *page);

#define avm_assert_page_locked(m, page) \
	avm_port_lock_event(m, AVM_LOCK_EV_ASSERT, AVM_LOCK_PAGE, page)

/* ---- counts of references -------------------------------------------------------------------------- */

/* One more, not from zero: false when what it counts is going. */
bool avm_ref_tryget(_Atomic uint32_t *refs);

/* ---- RCU ------------------------------------------------------------------------------------------- */

/* Returns what exit needs. Nothing in between may sleep. */
uintptr_t avm_rcu_enter(struct avm *m);
void avm_rcu_exit(struct avm *m, uintptr_t saved);

/* d->call(d) after the readers of now have left. */
void avm_rcu_defer(struct avm *m, struct avm_deferred *d);

/* ---- checks ---------------------------------------------------------------------------------------- */

static inline void avm_might_sleep(struct avm *m)
{
	avm_port_lock_event(m, AVM_LOCK_EV_MIGHT_SLEEP, AVM_LOCK_RECLAIM, NULL);
}

/* An allocation that may wait for memory: order 3b, so never under a file, family or spin lock. */
static inline void avm_might_reclaim(struct avm *m)
{
	avm_might_sleep(m);
	avm_port_lock_event(m, AVM_LOCK_EV_WRITE, AVM_LOCK_RECLAIM, m);
	avm_port_lock_event(m, AVM_LOCK_EV_UNLOCK_WRITE, AVM_LOCK_RECLAIM, m);
}

#endif
