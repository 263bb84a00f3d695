/* SPDX-License-Identifier: MIT */
/*
 * clock.c - see clock.h. The HPET says itself how fast it counts.
 *
 * The ticks of the CPU's timer are no clock: their length was measured against another chip, while an emulator that had
 * something else to do may have stood still.
 */
#include "clock.h"

#include <stdatomic.h>

#include "apic.h"
#include "cpu.h"

#define HPET 0xfed00000
#define HPET_CAPABILITIES 0x00 /* in its upper half the period, in femtoseconds */
#define HPET_CONFIGURATION 0x10
#define HPET_RUNS 1
#define HPET_COUNTER 0xf0
#define SLOWEST 100000000 /* the specification's bound */
#define FS_PER_US 1000000000

static uint64_t period; /* 0: there is none */
static uint64_t started;
static _Atomic uint64_t ticks;

static volatile uint64_t *hpet(unsigned offset)
{
	return (volatile uint64_t *)((char *)direct_map(HPET) + offset);
}

void clock_start(void)
{
	period = *hpet(HPET_CAPABILITIES) >> 32;
	if (period > SLOWEST)
		period = 0;
	if (!period)
		return;
	*hpet(HPET_CONFIGURATION) |= HPET_RUNS;
	started = *hpet(HPET_COUNTER);
}

void clock_tick(void)
{
	atomic_fetch_add(&ticks, 1);
}

uint64_t clock_us(void)
{
	if (!period)
		return atomic_load(&ticks) * (1000000 / TICKS_PER_SECOND);
	/* A period is 100 ns at most, so a microsecond is at least ten; what the division cuts off are a few per cent. */
	return (*hpet(HPET_COUNTER) - started) / (FS_PER_US / period);
}
