/* SPDX-License-Identifier: MIT */
/*
 * lock.c - the slow halves of lock.h, over the port's wait and wake.
 *
 * A word that somebody may be asleep on says so itself (AVM_RW_WAITERS, AVM_PG_WAITERS), so an
 * unlock without contention never calls the port. The bit is set only while the lock is held, and
 * the unlock that finds it clears it and wakes everybody: a sleeper that loses the race sets it
 * again.
 *
 * On tier 0 there is one CPU and nothing to wait for: a lock that is taken is a deadlock.
 */
#include "lock.h"

#include "avm_arch.h"
#include "error.h"
#include "percpu.h"

#define RW_READERS (~(AVM_RW_WRITER | AVM_RW_WAITERS))

extern inline void avm_spin_acquire(struct avm *m, struct avm_spinlock *l);
extern inline void avm_spin_lock(struct avm *m, struct avm_spinlock *l, enum avm_lock_class class);
extern inline void avm_spin_lock_nested(struct avm *m, struct avm_spinlock *l,
					enum avm_lock_class class);
extern inline void avm_spin_unlock(struct avm *m, struct avm_spinlock *l,
				   enum avm_lock_class class);
extern inline int avm_rw_read(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class);
extern inline int avm_rw_write_acquire(struct avm *m, struct avm_rwsem *l);
extern inline int avm_rw_write(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class);
extern inline bool avm_rw_try_read(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class);
extern inline void avm_rw_release(struct avm *m, struct avm_rwsem *l, uint32_t held);
extern inline void avm_rw_unlock_read(struct avm *m, struct avm_rwsem *l,
				      enum avm_lock_class class);
extern inline void avm_rw_unlock_write(struct avm *m, struct avm_rwsem *l,
				       enum avm_lock_class class);
extern inline int avm_mmap_read_lock(struct avm_mm *mm);
extern inline void avm_mmap_read_unlock(struct avm_mm *mm);

int avm_word_wait(struct avm *m, _Atomic uint32_t *word, uint32_t value)
{
#if AVM_PORT_TIER >= 1
	return avm_port_wait(m, word, value);
#else
	(void)word;
	(void)value;
	avm_port_panic(m, "deadlock: a lock is taken twice on the only CPU");
#endif
}

void avm_word_wake(struct avm *m, _Atomic uint32_t *word)
{
#if AVM_PORT_TIER >= 1
	avm_port_wake(m, word);
#else
	(void)m;
	(void)word;
#endif
}

/* ---- spin locks ------------------------------------------------------------------------------ */

void avm_spin_slow(struct avm *m, struct avm_spinlock *l)
{
	uint32_t free;

	do {
		/* Only look while it is taken: a failing exchange would steal the cache line. */
		while (atomic_load_explicit(&l->word, memory_order_relaxed)) {
#if AVM_PORT_TIER >= 1
			AVM_PORT_CPU_RELAX(m);
#else
			avm_port_panic(m, "deadlock: a spin lock is taken twice on the only CPU");
#endif
		}
		free = 0;
	} while (!atomic_compare_exchange_weak_explicit(&l->word, &free, 1, memory_order_acquire,
							memory_order_relaxed));
}

/* ---- sleeping read-write locks --------------------------------------------------------------- */

/* Sleeps until the word may have changed; `w` is what it was. 0 or -EINTR. */
static int rw_sleep(struct avm *m, struct avm_rwsem *l, uint32_t w)
{
	if (!(w & AVM_RW_WAITERS)) {
		if (!atomic_compare_exchange_weak_explicit(&l->word, &w, w | AVM_RW_WAITERS,
							   memory_order_relaxed,
							   memory_order_relaxed))
			return 0;
		w |= AVM_RW_WAITERS;
	}
	return avm_word_wait(m, &l->word, w);
}

/* Readers let a waiting writer go first, but not on a lock that is between two owners. */
static bool rw_blocked(uint32_t w, uint32_t held)
{
	if (held == AVM_RW_WRITER)
		return w & ~AVM_RW_WAITERS;
	return (w & AVM_RW_WRITER) || ((w & AVM_RW_WAITERS) && (w & RW_READERS));
}

/* `held`: what the lock's word gains, one reader or the writer. */
static int rw_acquire(struct avm *m, struct avm_rwsem *l, uint32_t held)
{
	for (;;) {
		uint32_t w = atomic_load_explicit(&l->word, memory_order_relaxed);

		if (rw_blocked(w, held)) {
			int err = rw_sleep(m, l, w);

			if (err)
				return err;
			continue;
		}
		if (atomic_compare_exchange_weak_explicit(
			    &l->word, &w, w + held, memory_order_acquire, memory_order_relaxed))
			return 0;
	}
}

int avm_rw_read_slow(struct avm *m, struct avm_rwsem *l)
{
	return rw_acquire(m, l, 1);
}

int avm_rw_write_slow(struct avm *m, struct avm_rwsem *l)
{
	return rw_acquire(m, l, AVM_RW_WRITER);
}

/*
 * Whoever leaves it free, or to a single reader, wakes all that wait; who cannot go on sets the bit again, and sleeps on the
 * new word. The address is all that the port is told: there may be no lock behind it any more.
 */
void avm_rw_release_slow(struct avm *m, struct avm_rwsem *l, uint32_t held)
{
	uint32_t w = atomic_load_explicit(&l->word, memory_order_relaxed), left;

	do {
		left = w - held;
		if ((left & ~AVM_RW_WAITERS) <= 1)
			left &= ~AVM_RW_WAITERS;
	} while (!atomic_compare_exchange_weak_explicit(&l->word, &w, left, memory_order_release,
							memory_order_relaxed));
	if (left != w - held)
		avm_word_wake(m, &l->word);
}

void avm_rw_read_always(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class)
{
	while (avm_rw_read(m, l, class))
		;
}

void avm_rw_write_always(struct avm *m, struct avm_rwsem *l, enum avm_lock_class class)
{
	while (avm_rw_write(m, l, class))
		;
}

/* ---- mmap_lock and the VMA locks under it ---------------------------------------------------- */

/*
 * Odd while a writer is in, who alone changes it. A fault inside a VMA compares it with vma->write_seq, which it reads
 * first: that is released after this. Release: with the lock goes all that was done under it (G-U).
 */
AVM_ONE_STEP void write_seq_step(struct avm_mm *mm)
{
	uint32_t seq = atomic_load_explicit(&mm->write_seq, memory_order_relaxed);

	if (AVM_FAST)
		atomic_store_explicit(&mm->write_seq, seq + 1, memory_order_release);
	else
		atomic_fetch_add_explicit(&mm->write_seq, 1, memory_order_release);
}

int avm_mmap_write_lock(struct avm_mm *mm)
{
	int err = avm_rw_write(mm->machine, &mm->mmap_lock, AVM_LOCK_MMAP);

	if (err)
		return err;
	write_seq_step(mm);
	return 0;
}

void avm_mmap_write_lock_always(struct avm_mm *mm, bool nested)
{
	struct avm *m = mm->machine;

	avm_port_lock_event(m, nested ? AVM_LOCK_EV_NEST : AVM_LOCK_EV_WRITE, AVM_LOCK_MMAP,
			    &mm->mmap_lock);
	(void)nested;
	while (avm_rw_write_acquire(m, &mm->mmap_lock))
		;
	write_seq_step(mm);
}

void avm_mmap_write_unlock(struct avm_mm *mm)
{
	write_seq_step(mm);
	avm_rw_unlock_write(mm->machine, &mm->mmap_lock, AVM_LOCK_MMAP);
}

void avm_mmap_downgrade(struct avm_mm *mm)
{
	struct avm *m = mm->machine;

	avm_port_lock_event(m, AVM_LOCK_EV_DOWNGRADE, AVM_LOCK_MMAP, &mm->mmap_lock);
	write_seq_step(mm);
	/* One step from (writer) to (one reader). */
	avm_rw_release_slow(m, &mm->mmap_lock, AVM_RW_WRITER - 1);
}

/*
 * A reader says that it is inside and then looks at write_seq; we set write_seq and then look who is. One of the two sees
 * the other: that is what the fence is for (G-S).
 */
void avm_vma_lock(struct avm_vma *vma)
{
	if (!avm_vma_lock_begin(vma))
		return;
	atomic_thread_fence(memory_order_seq_cst);
	avm_vma_lock_end(vma);
}

/* On the last reader's way out the VMA may be freed: the address of the count is all that the port is told. Release: G-V. */
static void readers_drop(struct avm *m, _Atomic uint32_t *readers)
{
	if (atomic_fetch_sub_explicit(readers, 1, memory_order_release) == (AVM_VMA_AWAITED | 1))
		avm_word_wake(m, readers);
}

/*
 * Where there are several CPUs a fault says in a line of its CPU which VMA it is inside: two in one VMA do not meet in its
 * count. That is where it says so when another fault of its CPU, which sleeps, has that place.
 */
#define COUNTED ((uintptr_t)1) /* in `inside` */

/* seq_cst, and acquire for who finds the bit of another thread's: what writers look at is part of G-S. */
static _Atomic uintptr_t *place_inside(struct avm_mm *mm)
{
	unsigned cpu = avm_cpu_id(mm->machine);
	uint64_t bit = UINT64_C(1) << (cpu % 64);

	if (!(atomic_load_explicit(&mm->fault_cpus, memory_order_acquire) & bit))
		atomic_fetch_or_explicit(&mm->fault_cpus, bit, memory_order_seq_cst);
	return &mm->cpus[cpu].inside;
}

/* False: a fault of this CPU, which sleeps, has the place. seq_cst: G-S. */
static bool inside_cpu(struct avm_mm *mm, struct avm_vma_reader *r)
{
	uintptr_t nothing = 0;

	if (AVM_NR_CPUS == 1)
		return false;
	r->inside = place_inside(mm);
	return atomic_compare_exchange_strong_explicit(r->inside, &nothing, (uintptr_t)r->vma,
						       memory_order_seq_cst, memory_order_relaxed);
}

/* True: the reader was in nobody's count. Release: G-V. */
static bool outside_cpu(struct avm_vma_reader *r)
{
	return AVM_NR_CPUS > 1 && r->inside &&
	       !(atomic_exchange_explicit(r->inside, 0, memory_order_release) & COUNTED);
}

/* Who is inside on this CPU. The count goes up first: whoever finds himself counted takes one off. Acquire, of who has gone: G-V. */
static void count_reader(struct avm_vma *vma, uint32_t cpu)
{
	struct avm_mm *mm = vma->mm;
	_Atomic uintptr_t *inside = &mm->cpus[cpu].inside;
	uintptr_t seen;

	if (!(atomic_load_explicit(&mm->fault_cpus, memory_order_relaxed) >> (cpu % 64) & 1))
		return;
	seen = atomic_load_explicit(inside, memory_order_acquire);
	if (seen != (uintptr_t)vma)
		return;
	atomic_fetch_add_explicit(&vma->readers, 1, memory_order_relaxed);
	if (!atomic_compare_exchange_strong_explicit(inside, &seen, seen | COUNTED,
						     memory_order_acquire, memory_order_acquire))
		atomic_fetch_sub_explicit(&vma->readers, 1, memory_order_relaxed);
}

/* G-S: behind the fence. A CPU whose bit is not there yet has said nothing before it. */
void avm_vma_count_readers(struct avm_vma *vma)
{
	for (uint32_t cpu = 0; AVM_NR_CPUS > 1 && cpu < avm_cpus(vma->mm->machine); cpu++)
		count_reader(vma, cpu);
}

/* The VMA is type-stable: whosoever it is, these are its readers. seq_cst: before the look at its write_seq (G-S). */
static void reader_in(struct avm_mm *mm, struct avm_vma_reader *r)
{
	if (inside_cpu(mm, r))
		return;
	r->inside = NULL;
	atomic_fetch_add_explicit(&r->vma->readers, 1, memory_order_seq_cst);
}

static void reader_out(struct avm *m, struct avm_vma_reader *r)
{
	if (!outside_cpu(r))
		readers_drop(m, &r->vma->readers);
}

/* Acquire: G-V. */
void avm_vma_wait_for_readers(struct avm_vma *vma)
{
	uint32_t awaited =
		atomic_fetch_or_explicit(&vma->readers, AVM_VMA_AWAITED, memory_order_acquire);

	awaited |= AVM_VMA_AWAITED;
	while (awaited != AVM_VMA_AWAITED) {
		(void)avm_word_wait(vma->mm->machine, &vma->readers, awaited);
		awaited = atomic_load_explicit(&vma->readers, memory_order_acquire);
	}
	/* Who comes in from here on sees that the VMA is locked, and goes again. */
	atomic_fetch_and_explicit(&vma->readers, ~AVM_VMA_AWAITED, memory_order_relaxed);
}

/*
 * Where the VMAs are found that faults have been in lately. Regions as large as a table covers are spread by the upper bits of a
 * product with 2^64 / phi: so that neither neighbours nor equal offsets in two mappings meet. Those that do have two places (one
 * where size is asked for), and beside the VMA a few more bits, so that another region's is seldom tried.
 */
struct recent {
	_Atomic uintptr_t *place; /* the first of two */
	uintptr_t tag;
};

static struct recent recent_of(struct avm_mm *mm, avm_addr_t addr)
{
	uint64_t hash = (addr >> (AVM_PAGE_SHIFT + 9)) * 0x9e3779b97f4a7c15u;

	return (struct recent){ &mm->recent[hash >> (65 - AVM_RECENT_BITS) << 1],
				hash >> 32 & AVM_RECENT_TAG };
}

/*
 * Is the VMA that was found there (`seen`), and that we have said we are inside, ours? Three looks, in this order. Its write_seq:
 * from here on a writer who has not locked it yet waits for us (G-S). The address space's: an unlock that we see brings
 * all that was done under the lock (G-U). The place again: what is still there has not been freed since (G-T), so it was
 * this address space's VMA when we said so, and not another that has come to the same memory. Only then is
 * there anything plain to read.
 */
static bool is_inside(struct avm_mm *mm, _Atomic uintptr_t *place, uintptr_t seen,
		      const struct avm_vma *vma, avm_addr_t addr)
{
	uint32_t seq = atomic_load_explicit(&vma->write_seq, memory_order_seq_cst);

	return seq != atomic_load_explicit(&mm->write_seq, memory_order_acquire) &&
	       atomic_load_explicit(place, memory_order_acquire) == seen && addr >= vma->start &&
	       addr < vma->end;
}

/* => in an RCU read section */
static bool try_place(struct avm_mm *mm, _Atomic uintptr_t *place, uintptr_t tag, avm_addr_t addr,
		      struct avm_vma_reader *r)
{
	uintptr_t seen = atomic_load_explicit(place, memory_order_acquire);

	if (seen <= AVM_RECENT_TAG || (seen & AVM_RECENT_TAG) != tag)
		return false;
	r->vma = (struct avm_vma *)(seen - tag);
	reader_in(mm, r);
	if (is_inside(mm, place, seen, r->vma, addr))
		return true;
	reader_out(mm->machine, r);
	return false;
}

bool avm_vma_read_lock(struct avm_mm *mm, avm_addr_t addr, struct avm_vma_reader *r)
{
	struct recent at = recent_of(mm, addr);
	struct avm *m = mm->machine;
	uintptr_t rcu = avm_rcu_enter(m);
	bool locked = try_place(mm, at.place, at.tag, addr, r) ||
		      (AVM_FAST && try_place(mm, at.place + 1, at.tag, addr, r));

	if (locked)
		avm_port_lock_event(m, AVM_LOCK_EV_TRY_READ, AVM_LOCK_VMA, r->vma);
	avm_rcu_exit(m, rcu);
	return locked;
}

void avm_vma_read_unlock(struct avm_vma_reader *r)
{
	struct avm *m = r->vma->mm->machine;

	avm_port_lock_event(m, AVM_LOCK_EV_UNLOCK_READ, AVM_LOCK_VMA, r->vma);
	reader_out(m, r);
}

/*
 * What was first becomes second. It is there, so it is not freed while we have mmap_lock. Two faults do this at once: either is
 * right. A line that is right already stays shared.
 */
void avm_vma_remember(struct avm_vma *vma, avm_addr_t addr)
{
	struct recent at = recent_of(vma->mm, addr);
	uintptr_t first = atomic_load_explicit(&at.place[0], memory_order_relaxed);
	uintptr_t it = (uintptr_t)vma | at.tag;

	if (first == it ||
	    (AVM_FAST && atomic_load_explicit(&at.place[1], memory_order_relaxed) == it))
		return;
	atomic_store_explicit(&vma->remembered, 1, memory_order_relaxed);
	if (AVM_FAST)
		atomic_store_explicit(&at.place[1], first, memory_order_release);
	atomic_store_explicit(&at.place[0], it, memory_order_release);
}

/* Before it is freed (G-T). */
void avm_vma_forget(struct avm_mm *mm, struct avm_vma *vma)
{
	if (!atomic_load_explicit(&vma->remembered, memory_order_relaxed))
		return;
	atomic_store_explicit(&vma->remembered, 0, memory_order_relaxed);
	for (unsigned i = 0; i < AVM_RECENT_VMAS; i++)
		if ((atomic_load_explicit(&mm->recent[i], memory_order_relaxed) &
		     ~AVM_RECENT_TAG) == (uintptr_t)vma)
			atomic_store_explicit(&mm->recent[i], 0, memory_order_relaxed);
}

/* ---- page lock ------------------------------------------------------------------------------- */

AVM_ONE_STEP bool page_lock_once(struct avm_page *page)
{
	return !(atomic_fetch_or_explicit(&page->flags, AVM_PG_LOCKED, memory_order_acquire) &
		 AVM_PG_LOCKED);
}

/* Sleeps until the page lock may be free. 0 or -EINTR. */
static int page_wait(struct avm *m, struct avm_page *page)
{
	uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);

	if (!(flags & AVM_PG_LOCKED) ||
	    !atomic_compare_exchange_weak_explicit(&page->flags, &flags, flags | AVM_PG_WAITERS,
						   memory_order_relaxed, memory_order_relaxed))
		return 0;
	return avm_word_wait(m, &page->flags, flags | AVM_PG_WAITERS);
}

void avm_page_lock(struct avm *m, struct avm_page *page)
{
	while (avm_page_lock_killable(m, page))
		;
}

int avm_page_lock_killable(struct avm *m, struct avm_page *page)
{
	avm_port_lock_event(m, AVM_LOCK_EV_WRITE, AVM_LOCK_PAGE, page);
	while (!page_lock_once(page)) {
		if (page_wait(m, page)) {
			avm_port_lock_event(m, AVM_LOCK_EV_UNLOCK_WRITE, AVM_LOCK_PAGE, page);
			return -AVM_EINTR;
		}
	}
	return 0;
}

bool avm_page_trylock(struct avm *m, struct avm_page *page)
{
	if (!page_lock_once(page))
		return false;
	avm_port_lock_event(m, AVM_LOCK_EV_TRY, AVM_LOCK_PAGE, page);
	return true;
}

void avm_page_unlock(struct avm *m, struct avm_page *page)
{
	avm_port_lock_event(m, AVM_LOCK_EV_UNLOCK_WRITE, AVM_LOCK_PAGE, page);
	if (atomic_fetch_and_explicit(&page->flags, ~(uint32_t)(AVM_PG_LOCKED | AVM_PG_WAITERS),
				      memory_order_release) &
	    AVM_PG_WAITERS)
		avm_word_wake(m, &page->flags);
}

/* ---- counts of references -------------------------------------------------------------------- */

bool avm_ref_tryget(_Atomic uint32_t *refs)
{
	uint32_t now = atomic_load_explicit(refs, memory_order_relaxed);

	while (now)
		if (atomic_compare_exchange_weak_explicit(refs, &now, now + 1, memory_order_acquire,
							  memory_order_relaxed))
			return true;
	return false;
}

/* ---- RCU ------------------------------------------------------------------------------------- */

uintptr_t avm_rcu_enter(struct avm *m)
{
	avm_port_lock_event(m, AVM_LOCK_EV_RCU_ENTER, AVM_LOCK_LEAF, NULL);
#if AVM_PORT_TIER >= 1
	return avm_port_irq_save(m);
#else
	return 0;
#endif
}

void avm_rcu_exit(struct avm *m, uintptr_t saved)
{
	avm_port_lock_event(m, AVM_LOCK_EV_RCU_EXIT, AVM_LOCK_LEAF, NULL);
#if AVM_PORT_TIER >= 1
	avm_port_irq_restore(m, saved);
#else
	(void)saved;
#endif
}

void avm_rcu_defer(struct avm *m, struct avm_deferred *d)
{
#if AVM_PORT_TIER >= 1
	avm_port_defer(m, d);
#else
	(void)m;
	d->call(d);
#endif
}
