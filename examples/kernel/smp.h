/* SPDX-License-Identifier: MIT */
/* smp.h - the other CPUs. */
#ifndef KERNEL_SMP_H
#define KERNEL_SMP_H

/* Starts CPUs 1 to n - 1; returns how many run, this one included. */
unsigned smp_start(unsigned n);

#endif
