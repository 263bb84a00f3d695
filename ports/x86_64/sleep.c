/* SPDX-License-Identifier: MIT */
/*
 * sleep.c - tier 1: which CPU this is, interrupts, and the two functions over which all sleeping locks are built.
 *
 * wait() must not lose a wake-up: it looks at the word after it has taken the lock that wake() takes. wake() gets an
 * address and must not look behind it, for what lay there may be gone; the queue is found by the address alone.
 */
#include "avm_port.h"
#include "glue.h"

unsigned avm_port_cpu_id(struct avm *m)
{
	return cpu_id();
}

/* A read section of RCU is this pair: while interrupts are off, this CPU has no moment of rest (grace.c). */
uintptr_t avm_port_irq_save(struct avm *m)
{
	return irq_save();
}

/* The outermost one ends a read section, and is a moment of rest itself. */
void avm_port_irq_restore(struct avm *m, uintptr_t saved)
{
	if (!(saved & RFLAGS_IF))
		return;
	atomic_fetch_add(&this_cpu()->quiescent, 1);
	irq_restore(saved);
	grace_poll();
}

/* Nobody kills a thread that waits for a lock: no wait is ever given up. */
int avm_port_wait(struct avm *m, _Atomic uint32_t *word, uint32_t value)
{
	thread_sleep(word, value);
	return 0;
}

void avm_port_wake(struct avm *m, _Atomic uint32_t *word)
{
	thread_wake(word);
}
