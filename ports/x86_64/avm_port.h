/* SPDX-License-Identifier: MIT */
/*
 * avm_port.h (x86_64) - the glue between the core and a kernel, here that of examples/kernel. Read in this order:
 *
 *	glue.h		what both sides see of it
 *	memory.c	tier 0: frames, objects, the kernel's half of a root table, messages
 *	fault.c		a page fault of the CPU becomes avm_fault()
 *	sleep.c		tier 1: interrupts, sleeping and waking
 *	grace.c		... deferred calls: RCU by counting moments of rest
 *	tlb.c		... loading tables, flushing, telling other CPUs to flush
 *	swap.c		tier 2: slots of a store of pages; bad news
 *
 * What a kernel needs for it is what glue.h includes: under other names, every kernel has it.
 */
#ifndef AVM_PORT_X86_64_H
#define AVM_PORT_X86_64_H

#define AVM_PORT_TIER 2
#define AVM_PORT_MAX_CPUS 8
#define AVM_PORT_CPU_ALONE /* who is in the kernel is interrupted, but never preempted */

#include "anonvm/port.h"

/* Flushes if another CPU has asked for it; from anywhere. Who holds the lock we spin on may be waiting for that. */
void tlb_poll(void);
#define AVM_PORT_CPU_RELAX(m) ((void)(m), __builtin_ia32_pause(), tlb_poll())

#endif
