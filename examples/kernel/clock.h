/* SPDX-License-Identifier: MIT */
/* clock.h - how long the machine has been running. */
#ifndef KERNEL_CLOCK_H
#define KERNEL_CLOCK_H

#include <stdint.h>

void clock_start(void);

/* Since clock_start(). */
uint64_t clock_us(void);

/* Of the first CPU's timer: the clock of a machine that has no other. */
void clock_tick(void);

#endif
