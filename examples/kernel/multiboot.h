/* SPDX-License-Identifier: MIT */
/* multiboot.h - what the boot loader leaves behind, and memory divided by it. */
#ifndef KERNEL_MULTIBOOT_H
#define KERNEL_MULTIBOOT_H

#include <stdint.h>

/* Reads options and programs, and makes the two pools of memory out of what is free. Panics where that cannot be. */
void multiboot_read(uint32_t info);

/* Arguments of the n-th program. */
const char *multiboot_arguments(unsigned n);

/* What stands behind `name=` among them. */
uint64_t multiboot_number(unsigned n, const char *name, uint64_t fallback);

/* Memory that was free when the pools were made; for whole pages at boot, never given back. */
void *boot_alloc(uint64_t bytes);

#endif
