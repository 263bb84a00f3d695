/* SPDX-License-Identifier: MIT */
/* interrupt.c - the table of gates, and who handles what. */
#include "interrupt.h"

#include "apic.h"
#include "cpu.h"
#include "devices.h"
#include "panic.h"
#include "process.h"
#include "spinlock.h"
#include "syscall.h"
#include "thread.h"
#include "world.h"

#define ENTRY_BYTES 16 /* entry.S */
#define GATE_INTERRUPT 0x8e00u /* present, interrupts off */
#define GATE_USER 0x6000u /* may be called from user mode */
#define ALARM_STACK 1u
#define NR_DEVICES (VECTOR_SYSCALL - VECTOR_DEVICES)

struct gate {
	uint16_t offset_0;
	uint16_t selector;
	uint16_t attributes;
	uint16_t offset_16;
	uint32_t offset_32;
	uint32_t reserved;
};

struct device {
	void (*handler)(void *context);
	void *context;
};

extern const unsigned char interrupt_entries[];
static struct gate gates[256];
static struct device devices[NR_DEVICES];
static unsigned nr_devices;

void interrupt_init(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t entry = (uint64_t)(uintptr_t)&interrupt_entries[(size_t)ENTRY_BYTES * i];
		unsigned attributes = GATE_INTERRUPT;

		if (i == VECTOR_SYSCALL || i == VECTOR_BREAKPOINT || i == VECTOR_OVERFLOW)
			attributes |= GATE_USER;
		if (i == VECTOR_DOUBLE_FAULT)
			attributes |= ALARM_STACK;
		gates[i] = (struct gate){ .offset_0 = (uint16_t)entry,
					  .selector = KERNEL_CODE,
					  .attributes = (uint16_t)attributes,
					  .offset_16 = (uint16_t)(entry >> 16),
					  .offset_32 = (uint32_t)(entry >> 32) };
	}
}

void interrupt_load_table(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(gates) - 1, (uint64_t)(uintptr_t)gates };

	__asm__ volatile("lidt %0" : : "m"(pointer));
}

int interrupt_register(void (*handler)(void *context), void *context)
{
	if (nr_devices == NR_DEVICES)
		return -1;
	devices[nr_devices] = (struct device){ handler, context };
	return VECTOR_DEVICES + (int)nr_devices++;
}

const char *exception_name(uint64_t vector)
{
	static const char *const names[NR_EXCEPTIONS] = {
		[0] = "divide error",	   [1] = "debug",	   [2] = "NMI",
		[3] = "breakpoint",	   [4] = "overflow",	   [5] = "bound range",
		[6] = "invalid opcode",	   [7] = "no FPU",	   [8] = "double fault",
		[10] = "invalid TSS",	   [11] = "no segment",	   [12] = "stack fault",
		[13] = "protection fault", [14] = "page fault",	   [16] = "FPU error",
		[17] = "alignment check",  [18] = "machine check", [19] = "SIMD error",
	};

	return vector < NR_EXCEPTIONS && names[vector] ? names[vector] : "unknown exception";
}

/* A user's page fault is the core's; any other exception ends the process, or, in the kernel, the kernel. */
static void exception(struct interrupt_frame *f)
{
	uint64_t addr;

	if (!from_user(f))
		panic_at(f, exception_name(f->vector));
	addr = read_cr2(); /* before another fault can come */
	irq_on();
	world_enter();
	if (f->vector == VECTOR_PAGE_FAULT)
		process_page_fault(f, addr);
	else
		process_exception(f);
	world_leave();
}

static void device_interrupt(uint64_t vector)
{
	if (vector >= VECTOR_DEVICES && vector < VECTOR_DEVICES + nr_devices) {
		const struct device *d = &devices[vector - VECTOR_DEVICES];

		d->handler(d->context);
	}
}

/* Called by entry.S, interrupts off, on the stack of the thread that was interrupted. */
void interrupt(struct interrupt_frame *f);
void interrupt(struct interrupt_frame *f)
{
	if (f->vector < NR_EXCEPTIONS) {
		exception(f);
	} else if (f->vector == VECTOR_SYSCALL) {
		irq_on();
		syscall(f);
	} else if (f->vector == VECTOR_TIMER) {
		apic_end_of_interrupt();
		devices_tick();
		thread_tick();
	} else if (f->vector == VECTOR_SHOOT_DOWN) {
		apic_end_of_interrupt();
		tlb_poll();
	} else if (f->vector != VECTOR_SPURIOUS && f->vector >= VECTOR_TIMER) {
		device_interrupt(f->vector);
		apic_end_of_interrupt();
	}
	irq_off();
	if (from_user(f))
		thread_leave_kernel();
}
