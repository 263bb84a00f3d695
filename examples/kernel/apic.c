/* SPDX-License-Identifier: MIT */
/* apic.c - see apic.h. The old timer chip is used once, as a stop-watch. */
#include "apic.h"

#include "cpu.h"
#include "interrupt.h"

#define APIC_BASE 0xfee00000

enum apic_register {
	APIC_ID = 0x20,
	APIC_EOI = 0xb0,
	APIC_SPURIOUS = 0xf0,
	APIC_COMMAND = 0x300,
	APIC_COMMAND_TO = 0x310,
	APIC_TIMER = 0x320,
	APIC_TIMER_START = 0x380,
	APIC_TIMER_NOW = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
};

#define APIC_ON 0x100
#define TIMER_PERIODIC 0x20000
#define TIMER_MASKED 0x10000
#define DIVIDE_BY_16 3
#define COMMAND_PENDING 0x1000
#define COMMAND_ASSERT 0x4000
#define COMMAND_INIT 0x500
#define COMMAND_STARTUP 0x600

#define PIT_HZ 1193182
#define PIT_CHANNEL_2 0x42
#define PIT_COMMAND 0x43
#define PIT_GATE 0x61
#define PIC_1 0x20
#define PIC_2 0xa0

static uint32_t timer_count; /* one tick */

static volatile uint32_t *reg(enum apic_register r)
{
	return (volatile uint32_t *)((char *)direct_map(APIC_BASE) + r);
}

/* At most 50 ms: the chip counts 16 bits. */
void delay_us(uint32_t us)
{
	uint32_t count = (uint32_t)((uint64_t)us * PIT_HZ / 1000000);

	outb(PIT_GATE, (uint8_t)((inb(PIT_GATE) & 0xfdu) | 1));
	outb(PIT_COMMAND, 0xb0); /* channel 2, both bytes, one shot */
	outb(PIT_CHANNEL_2, (uint8_t)count);
	outb(PIT_CHANNEL_2, (uint8_t)(count >> 8));
	while (!(inb(PIT_GATE) & 0x20))
		cpu_relax();
}

/* They are moved off the vectors of exceptions, and masked. */
static void silence_old_controllers(void)
{
	static const uint16_t pics[] = { PIC_1, PIC_2 };

	for (unsigned i = 0; i < 2; i++) {
		outb(pics[i], 0x11);
		outb(pics[i] + 1, (uint8_t)(VECTOR_OLD_PIC + 8 * i));
		outb(pics[i] + 1, i ? 2 : 4);
		outb(pics[i] + 1, 1);
		outb(pics[i] + 1, 0xff);
	}
}

/* Counts in 10 ms, at the best of some tries: who was held up in one has counted too much. */
static uint32_t measure(void)
{
	uint32_t least = UINT32_MAX;

	for (int i = 0; i < 5; i++) {
		uint32_t count;

		*reg(APIC_TIMER_START) = UINT32_MAX;
		delay_us(10000);
		count = UINT32_MAX - *reg(APIC_TIMER_NOW);
		if (count < least)
			least = count;
	}
	return least;
}

void apic_init(void)
{
	silence_old_controllers();
	*reg(APIC_SPURIOUS) = APIC_ON | VECTOR_SPURIOUS;
	*reg(APIC_TIMER_DIVIDE) = DIVIDE_BY_16;
	*reg(APIC_TIMER) = TIMER_MASKED;
	timer_count = measure() / 10 * (1000 / TICKS_PER_SECOND);
}

void apic_start(void)
{
	*reg(APIC_SPURIOUS) = APIC_ON | VECTOR_SPURIOUS;
	*reg(APIC_TIMER_DIVIDE) = DIVIDE_BY_16;
	*reg(APIC_TIMER) = TIMER_PERIODIC | VECTOR_TIMER;
	*reg(APIC_TIMER_START) = timer_count;
}

void apic_end_of_interrupt(void)
{
	*reg(APIC_EOI) = 0;
}

uint32_t apic_id(void)
{
	return *reg(APIC_ID) >> 24;
}

/* Two registers: no interrupt may come between. */
static void command(uint32_t to, uint32_t what)
{
	uintptr_t flags = irq_save();

	*reg(APIC_COMMAND_TO) = to << 24;
	*reg(APIC_COMMAND) = COMMAND_ASSERT | what;
	while (*reg(APIC_COMMAND) & COMMAND_PENDING)
		cpu_relax();
	irq_restore(flags);
}

void apic_send(uint32_t to, uint8_t vector)
{
	command(to, vector);
}

void apic_start_cpu(uint32_t to, uint32_t address)
{
	command(to, COMMAND_INIT);
	delay_us(10000);
	for (int i = 0; i < 2; i++) {
		command(to, COMMAND_STARTUP | address >> 12);
		delay_us(200);
	}
}
