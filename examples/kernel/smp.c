/* SPDX-License-Identifier: MIT */
/*
 * smp.c - see smp.h. CPUs are started one by one, by their APIC ids, which an emulator gives out in order from 0; a
 * real machine has a table of them.
 */
#include "smp.h"

#include <string.h>

#include "apic.h"
#include "cpu.h"
#include "kernel.h"
#include "panic.h"
#include "thread.h"

#define PATIENCE 200 /* times 10 ms */

extern const char trampoline[], trampoline_end[];

/* boot.S: the stack of the CPU that is being started. */
uint64_t another_stack;

void another_cpu_main(void);
void another_cpu_main(void)
{
	struct thread *self = (struct thread *)(uintptr_t)(another_stack - STACK_SIZE);
	unsigned id = atomic_load(&nr_cpus);

	write_cr3((uint64_t)(uintptr_t)kernel_root - KERNEL_BASE);
	cpu_init(id);
	cpus[id].apic_id = apic_id();
	cpus[id].current = self; /* before it counts as one */
	apic_start();
	atomic_store(&nr_cpus, id + 1);
	thread_idle(self);
}

static bool start_one(unsigned id)
{
	struct thread *idle = thread_create(NULL, NULL);

	if (!idle)
		return false;
	another_stack = thread_stack_top(idle);
	apic_start_cpu(id, TRAMPOLINE);
	for (unsigned i = 0; i < PATIENCE && atomic_load(&nr_cpus) <= id; i++)
		delay_us(10000);
	/* One that comes later would find its stack in use: the start-up message cannot be taken back. */
	if (atomic_load(&nr_cpus) <= id)
		panic("a CPU has not come");
	return true;
}

unsigned smp_start(unsigned n)
{
	memcpy(direct_map(TRAMPOLINE), trampoline, (size_t)(trampoline_end - trampoline));
	for (unsigned id = 1; id < n && id < MAX_CPUS; id++) {
		if (!start_one(id))
			break;
	}
	return atomic_load(&nr_cpus);
}
