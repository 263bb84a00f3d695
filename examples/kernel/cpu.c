/* SPDX-License-Identifier: MIT */
/* cpu.c - descriptor tables: segments, which hardly matter any more, and the stacks that interrupts take. */
#include "cpu.h"

#include "interrupt.h"

struct cpu cpus[MAX_CPUS];
_Atomic unsigned nr_cpus;

struct tss {
	uint32_t reserved0;
	uint64_t stack[3]; /* of privilege levels 0 to 2 */
	uint64_t reserved1;
	uint64_t interrupt_stack[7]; /* 1: double faults, so that a stack that overflowed is told of */
	uint64_t reserved2;
	uint16_t reserved3, io_map;
} __attribute__((packed));

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

#define NR_SEGMENTS (FIRST_TSS / 8)
#define ALARM_STACK 4096

static uint64_t gdt[NR_SEGMENTS + 2 * MAX_CPUS] = {
	[KERNEL_CODE / 8] = 0x00af9b000000ffff,
	[KERNEL_DATA / 8] = 0x00cf93000000ffff,
	[USER_DATA / 8] = 0x00cff3000000ffff,
	[USER_CODE / 8] = 0x00affb000000ffff,
};
static struct tss tss[MAX_CPUS];
static _Alignas(16) unsigned char alarm_stack[MAX_CPUS][ALARM_STACK];

static void set_tss(unsigned id)
{
	uint64_t base = (uint64_t)(uintptr_t)&tss[id];
	uint64_t *entry = &gdt[NR_SEGMENTS + 2 * id];

	tss[id].io_map = sizeof(struct tss); /* none */
	tss[id].interrupt_stack[0] = (uint64_t)(uintptr_t)alarm_stack[id] + ALARM_STACK;
	entry[0] = (sizeof(struct tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
		   (base >> 24 & 0xff) << 56;
	entry[1] = base >> 32;
}

/* The kernel neither runs nor reads what belongs to a user, except through its own map; where the CPU can see to it. */
static void protect_from_users(void)
{
	uint32_t a = 7, b, c = 0, d;
	uint64_t cr4;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 |= (b & 1u << 7 ? CR4_SMEP : 0) | (b & 1u << 20 ? CR4_SMAP : 0);
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
}

void cpu_init(unsigned id)
{
	struct table_pointer pointer = { sizeof(gdt) - 1, (uint64_t)(uintptr_t)gdt };

	set_tss(id);
	__asm__ volatile("lgdt %0\n\tltr %w1"
			 :
			 : "m"(pointer), "r"(FIRST_TSS + 16 * id)
			 : "memory");
	interrupt_load_table();
	protect_from_users();
	cpus[id].id = id;
}

void cpu_set_kernel_stack(unsigned id, uint64_t top)
{
	tss[id].stack[0] = top;
}
