/* SPDX-License-Identifier: MIT */
/* apic.h - the interrupt controller inside each CPU: its timer, and messages to other CPUs. */
#ifndef KERNEL_APIC_H
#define KERNEL_APIC_H

#include <stdint.h>

#define TICKS_PER_SECOND 100

void apic_init(void); /* once: measures the timer, silences the old controllers */
void apic_start(void); /* each CPU: on, the timer ticks */
void apic_end_of_interrupt(void);
uint32_t apic_id(void); /* of this CPU */

void apic_send(uint32_t to, uint8_t vector);

/* INIT and two start-up messages to the CPU `to`: it begins at `address` (below 1 MiB, on a page), in real mode. */
void apic_start_cpu(uint32_t to, uint32_t address);

void delay_us(uint32_t us);

#endif
