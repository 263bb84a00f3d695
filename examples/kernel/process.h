/* SPDX-License-Identifier: MIT */
/*
 * process.h - a thread that runs in an address space, a parent and children. The address space is its own, or that of the
 * process whose thread it is.
 */
#ifndef KERNEL_PROCESS_H
#define KERNEL_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "anonvm/anonvm.h"
#include "glue.h"

struct interrupt_frame;

struct process {
	struct avm_mm *mm;
	struct avm_mm own; /* where mm leads, unless it shares another's */
	struct space space; /* the glue's part of it: own.context */
	struct thread *thread;
	const char *name;
	int pid;
	_Atomic uint32_t
		refs; /* one of its own address space, one of the parent that has not waited */
	_Atomic uint32_t child_events; /* changes when a child has ended; wait() sleeps on it */
	/* under the lock of process.c */
	struct process *parent, *children, *sibling;
	bool dead;
	int status;
};

/* The process of the current thread; NULL: a thread of the kernel's own. */
struct process *process_current(void);

/* Runs a program (elf.c) as a child of the kernel and waits for it and all its descendants. A status, or an errno. */
struct program;
int process_run(struct program *program, const char *arguments);

/* What system calls and faults ask for, in the world (world.h). Who exits leaves it. */
int process_fork(const struct interrupt_frame *f); /* pid of the child, or -ENOMEM */
int process_thread(const struct interrupt_frame *f, uint64_t entry, uint64_t stack,
		   uint64_t argument);
int process_wait(struct process *p, avm_addr_t status); /* pid, -ECHILD, -EFAULT */
_Noreturn void process_exit(int status);

void process_page_fault(struct interrupt_frame *f, uint64_t addr);
void process_exception(const struct interrupt_frame *f);

#endif
