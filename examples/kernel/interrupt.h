/* SPDX-License-Identifier: MIT */
/*
 * interrupt.h - what the CPU was doing when it came into the kernel, and who is told.
 *
 * All gates turn interrupts off; a handler of something that a user did turns them on again. The kernel itself is
 * interrupted, but never preempted.
 */
#ifndef KERNEL_INTERRUPT_H
#define KERNEL_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

/* As entry.S pushes it; the CPU's own part is from `error` on. */
struct interrupt_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

enum {
	VECTOR_DEBUG = 1,
	VECTOR_BREAKPOINT = 3,
	VECTOR_OVERFLOW = 4,
	VECTOR_DOUBLE_FAULT = 8,
	VECTOR_PAGE_FAULT = 14,
	NR_EXCEPTIONS = 32,
	VECTOR_OLD_PIC = 32, /* the two 8259, masked: a stray one may come all the same */
	VECTOR_TIMER = 48,
	VECTOR_SHOOT_DOWN,
	VECTOR_DEVICES, /* the first of those that interrupt_register() gives */
	VECTOR_SYSCALL = 128,
	VECTOR_SPURIOUS = 255,
};

/* Bits of the error code of a page fault. */
enum {
	FAULT_PRESENT = 1,
	FAULT_WRITE = 2,
	FAULT_USER = 4,
	FAULT_FETCH = 16,
};

static inline bool from_user(const struct interrupt_frame *f)
{
	return f->cs & 3;
}

void interrupt_init(void); /* once */
void interrupt_load_table(void); /* each CPU */

/*
 * A vector for a device's messages (MSI), which go to the first CPU, or -1: none left. The handler runs with
 * interrupts off, and must not sleep; waking is what it is for.
 */
int interrupt_register(void (*handler)(void *context), void *context);

const char *exception_name(uint64_t vector);

#endif
