/* SPDX-License-Identifier: MIT */
/* glue.h - what the kernel sees of the glue, and the glue of the kernel. */
#ifndef GLUE_H
#define GLUE_H

#include <stdint.h>

#include "anonvm/anonvm.h"

/* The kernel's side. */
#include "console.h" /* print() */
#include "cpu.h" /* this_cpu(), irq_save(), the direct map */
#include "kernel.h" /* struct kernel: the machine, its memory */
#include "panic.h" /* panic() */
#include "pool.h" /* aligned physical memory */
#include "spinlock.h" /* which call tlb_poll() while they spin */
#include "store.h" /* pages on a disk */
#include "thread.h" /* thread_sleep(), thread_wake() */

/* What the glue keeps for each address space: mm->context. NULL: one that no CPU ever loads. */
struct space {
	_Atomic uint64_t cpus; /* bit per CPU that has it loaded */
};

static inline struct kernel *kernel_of(const struct avm *m)
{
	return m->context;
}

/* Loads the tables of `to` in the place of those of `from`; NULL: the kernel's own. => interrupts off. */
void tlb_switch(struct avm_mm *from, struct avm_mm *to);

/* Runs the deferred calls whose time has come. To be called often, with no lock of the core's held. */
void grace_poll(void);

/* A page fault of a user, with the error code of the CPU. 0: go on where it was; else bits of AVM_FAULT_ERROR. */
unsigned page_fault(struct avm_mm *mm, uint64_t addr, uint64_t error, void *regs);

#endif
