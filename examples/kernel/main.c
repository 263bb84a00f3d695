/* SPDX-License-Identifier: MIT */
/*
 * main.c - boots, lets the self-test judge the port, runs the programs that came with the kernel one after the other,
 * and sees that each has given everything back. All it says on the serial line is TAP.
 */
#include "../../tests/port/selftest.h"
#include "apic.h"
#include "avm_arch.h"
#include "devices.h"
#include "glue.h"
#include "interrupt.h"
#include "multiboot.h"
#include "process.h"
#include "program.h"
#include "smp.h"
#include "world.h"

#define GOOD_CODE 16
#define BAD_CODE 17

extern unsigned char boot_stack[];

struct kernel kernel;

static unsigned checks, failures;

static void report(bool passed, const char *what)
{
	print("%s %u - %s\n", passed ? "ok" : "not ok", ++checks, what);
	failures += !passed;
}

/* ---- the core ------------------------------------------------------------------------------------- */

static void start_core(void)
{
	struct pool *frames = &kernel.frames;
	struct avm_config config = { .context = &kernel, .low_frames = frames->count / 32 };

	if (avm_init(&kernel.machine, &config) ||
	    avm_add_frames(&kernel.machine, &kernel.region, frames->first, frames->count,
			   kernel.pages))
		panic("the core does not start");
}

/* To memory that was set aside, or to a disk. */
static void start_swap(void)
{
	struct store *s = kernel.swap;

	if (!s)
		s = kernel.swap = devices_swap(&kernel.swap_slots);

	if (s && avm_swap_add(&kernel.machine, &kernel.swap_device, kernel.swap_slots,
			      (uint32_t)s->slots, 0, s))
		panic("the core does not take the swap device");
}

static _Atomic uint32_t *pressure(void)
{
	return &kernel.machine.pressure;
}

static void reclaim_in_background(void *unused)
{
	(void)unused;
	for (;;) {
		thread_sleep(pressure(), 0);
		world_enter();
		(void)avm_balance(&kernel.machine);
		world_leave();
	}
}

/* ---- programs ------------------------------------------------------------------------------------- */

static void print_line(struct avm_sink *sink, const char *line)
{
	(void)sink;
	print("# %s\n", line);
}

static void verify(void)
{
	struct avm_sink sink = { .line = print_line };

	world_stop();
	report(!avm_verify(&kernel.machine, AVM_VERIFY_ALL, &sink), "all invariants hold");
	world_go();
}

/*
 * A page of a process that ends while reclaim works on it stays in the swap cache: nobody's, until reclaim comes again
 * (R10). With one CPU, and nothing to wait for but memory, there is no such moment.
 */
static bool all_given_back(uint64_t free)
{
	struct avm_stats s;

	avm_stats(&kernel.machine, &s);
	if (s.swap_used && (atomic_load(&nr_cpus) > 1 || devices_have_disk()))
		(void)avm_shrink_all(&kernel.machine);
	avm_stats(&kernel.machine, &s);
	print("# frames free: %lu, before: %lu; slots in use: %lu; pages of the kernel free: %lu\n",
	      kernel.frames.nr_free, free, s.swap_used, kernel.objects.nr_free);
	return kernel.frames.nr_free == free && !s.swap_used;
}

/* It is to end with this status: that of a program whose disk fails is a signal. */
static void run_program(struct program *p, const char *arguments, int wanted)
{
	uint64_t free = kernel.frames.nr_free;
	struct avm_stats before, after;
	int status;

	avm_stats(&kernel.machine, &before);
	print("# %s %s\n", p->name, arguments);
	status = program_open(p);
	if (!status) {
		status = process_run(p, arguments);
		program_close(p);
	}
	avm_stats(&kernel.machine, &after);
	print("# status %d; %lu forks, %lu pages copied, %lu out to swap, %lu in\n", status,
	      after.events[AVM_EV_FORK] - before.events[AVM_EV_FORK],
	      after.events[AVM_EV_COW_COPY] - before.events[AVM_EV_COW_COPY],
	      after.events[AVM_EV_SWAP_OUT] - before.events[AVM_EV_SWAP_OUT],
	      after.events[AVM_EV_SWAP_IN] - before.events[AVM_EV_SWAP_IN]);
	report(status == wanted, p->name);
	verify();
	report(all_given_back(free), "as many frames and slots are free as before");
}

static void run_programs(void *unused)
{
	(void)unused;
	report(!avm_selftest(&kernel.machine), "the self-test of the port");
	print("# %u CPUs\n", smp_start((unsigned)kernel.options.cpus));
	devices_start();
	devices_check(report);
	start_swap();
	for (unsigned i = 0; i < kernel.nr_programs; i++)
		run_program(&kernel.programs[i], multiboot_arguments(i),
			    (int)multiboot_number(i, "status", 0));
	if (kernel.swap)
		report(!avm_swap_remove(&kernel.machine, &kernel.swap_device),
		       "swap is given back");
	devices_stop();
	report(!avm_fini(&kernel.machine) && kernel.frames.nr_free == kernel.frames.count,
	       "the core ends, and every frame is free");
	print("1..%u\n", checks);
	power_off(failures ? BAD_CODE : GOOD_CODE);
}

/* ---- the beginning --------------------------------------------------------------------------------- */

static void start_thread(void (*run)(void *argument))
{
	struct thread *t = thread_create(run, NULL);

	if (!t)
		panic("no memory for a thread");
	thread_start(t);
}

/* Called by boot.S, on boot_stack, with what the boot loader has left. */
void kernel_main(uint32_t multiboot_info);
void kernel_main(uint32_t multiboot_info)
{
	struct thread *idle = (struct thread *)(void *)boot_stack;

	console_init();
	interrupt_init();
	cpu_init(0);
	cpus[0].current = idle;
	atomic_store(&nr_cpus, 1);
	write_cr3((uint64_t)(uintptr_t)kernel_root - KERNEL_BASE);
	multiboot_read(multiboot_info);
	print("# anonvm %s on x86-64: %lu frames for users, %lu pages for the kernel, %lu slots of swap\n",
	      AVM_VERSION, kernel.frames.count, kernel.objects.count,
	      kernel.swap ? kernel.swap->slots : 0);
	apic_init();
	cpus[0].apic_id = apic_id();
	apic_start();
	start_core();
	start_thread(run_programs);
	start_thread(reclaim_in_background);
	thread_idle(idle);
}
