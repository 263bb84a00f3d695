/* SPDX-License-Identifier: MIT */
/* cpu.h - one CPU: its instructions, its descriptor tables, and what the kernel keeps for each. */
#ifndef KERNEL_CPU_H
#define KERNEL_CPU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

#define MAX_CPUS 8

/* Selectors. The task registers of the CPUs follow each other, so that TR says which CPU this is. */
#define KERNEL_CODE 0x08
#define KERNEL_DATA 0x10
#define USER_DATA (0x18 | 3)
#define USER_CODE (0x20 | 3)
#define FIRST_TSS 0x28

#define RFLAGS_IF 0x200
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)

struct thread;

struct cpu {
	unsigned id;
	uint32_t apic_id;
	struct thread *current, *idle;
	bool slice_over; /* the timer has ticked: on the way out of the kernel another thread runs */
	_Atomic uint64_t quiescent; /* counts moments at which no RCU read section runs here */
	_Atomic uint64_t flush_wanted, flush_done; /* shoot-downs, ports/x86_64/tlb.c */
};

extern struct cpu cpus[MAX_CPUS];
extern _Atomic unsigned nr_cpus; /* cpus[0 .. nr_cpus) run */

/* Loads this CPU's descriptor tables, which make it number `id`. */
void cpu_init(unsigned id);

/* The stack that the CPU takes when it comes from user mode. */
void cpu_set_kernel_stack(unsigned id, uint64_t top);

/* Stable while interrupts are off, or as long as the thread does not call the scheduler. */
static inline unsigned cpu_id(void)
{
	uint16_t tr;

	__asm__("str %0" : "=r"(tr));
	return (unsigned)(tr - FIRST_TSS) / 16;
}

static inline struct cpu *this_cpu(void)
{
	return &cpus[cpu_id()];
}

/* ---- interrupts ---------------------------------------------------------------------------------- */

/* Returns the flags as they were. */
static inline uintptr_t irq_save(void)
{
	uintptr_t flags;

	__asm__ volatile("pushfq\n\tpop %0\n\tcli" : "=r"(flags) : : "memory");
	return flags;
}

static inline void irq_restore(uintptr_t flags)
{
	if (flags & RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
}

static inline void irq_on(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static inline void irq_off(void)
{
	__asm__ volatile("cli" : : : "memory");
}

/* Sleeps until an interrupt has been handled. => interrupts off; on again afterwards. */
static inline void cpu_halt(void)
{
	__asm__ volatile("sti\n\thlt" : : : "memory");
}

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" : : : "memory");
}

/* ---- registers and ports --------------------------------------------------------------------------- */

static inline uint64_t read_cr2(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr2, %0" : "=r"(value));
	return value;
}

static inline uint64_t read_cr3(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr3, %0" : "=r"(value));
	return value;
}

static inline void write_cr3(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

/* ---- physical memory --------------------------------------------------------------------------------- */

static inline void *direct_map(uint64_t physical)
{
	return (void *)(uintptr_t)(DIRECT_MAP + physical);
}

static inline uint64_t physical(const void *direct)
{
	return (uint64_t)(uintptr_t)direct - DIRECT_MAP;
}

#endif
