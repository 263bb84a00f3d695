/* SPDX-License-Identifier: MIT */
/*
 * spinlock.h - the kernel's own spin locks, which keep interrupts off.
 *
 * A CPU that spins with interrupts off cannot be told to flush its TLB, and whoever tells it may hold, further
 * up, what it waits for. So it looks for such orders itself (tlb_poll()).
 */
#ifndef KERNEL_SPINLOCK_H
#define KERNEL_SPINLOCK_H

#include <stdatomic.h>

#include "avm_port.h" /* tlb_poll() */
#include "cpu.h"

struct spinlock {
	_Atomic unsigned taken;
};

/* Returns what unlock needs. */
static inline uintptr_t spin_lock(struct spinlock *l)
{
	uintptr_t flags = irq_save();

	while (atomic_exchange_explicit(&l->taken, 1, memory_order_acquire)) {
		while (atomic_load_explicit(&l->taken, memory_order_relaxed)) {
			cpu_relax();
			tlb_poll();
		}
	}
	return flags;
}

static inline void spin_unlock(struct spinlock *l, uintptr_t flags)
{
	atomic_store_explicit(&l->taken, 0, memory_order_release);
	irq_restore(flags);
}

#endif
