/* SPDX-License-Identifier: MIT */
/*
 * thread.h - threads of the kernel, on any CPU, in turn; sleeping on a word until somebody wakes it.
 *
 * A thread in the kernel is never preempted: it leaves the CPU when it sleeps, yields or ends. One in user mode does so
 * when its slice is over.
 */
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

struct avm_mm;
struct interrupt_frame;
struct process;

/* Lies at the low end of its own stack. */
struct thread {
	uint64_t stack_pointer; /* while it does not run */
	struct thread *next; /* in the queue that it is on */
	_Atomic uint32_t *word; /* that it sleeps on */
	bool asleep, dead;
	struct avm_mm *mm; /* loaded when it runs; NULL: the kernel's tables alone */
	struct process *process; /* NULL: a thread of the kernel's own */
	uint64_t canary;
};

static inline uint64_t thread_stack_top(const struct thread *t)
{
	return (uint64_t)(uintptr_t)t + STACK_SIZE;
}

struct thread *thread_current(void);

/* A thread that will call run(argument); NULL: no memory. It waits for thread_start(). */
struct thread *thread_create(void (*run)(void *argument), void *argument);
void thread_start(struct thread *t);
void thread_free(struct thread *t); /* one that was never started */

_Noreturn void thread_exit(void);
void thread_yield(void);

/* Gives up the current address space: from now on this thread runs in the kernel's. */
void thread_drop_mm(void);

/* Sleeps while *word == value; may return early. Wakes all who sleep on the word, whatever is in it. */
void thread_sleep(_Atomic uint32_t *word, uint32_t value);
void thread_wake(_Atomic uint32_t *word);

/* What a CPU's first stack becomes: runs the others, and halts when there are none. Never returns. */
_Noreturn void thread_idle(struct thread *self);

void thread_tick(void); /* => interrupts off */
void thread_leave_kernel(void); /* => interrupts off, on the way to user mode */

#endif
