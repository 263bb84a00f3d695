/* SPDX-License-Identifier: MIT */
/* kernel.h - the machine: what there is of it, and what the boot loader said. */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "anonvm/anonvm.h"
#include "layout.h"
#include "pool.h"

#define MAX_PROGRAMS 16
#define NO_BUS 256

struct program;
struct store;

/* From the command line of the kernel: `name=value`, in KiB where it is memory. */
struct options {
	uint64_t frames; /* memory for users; 0: what there is */
	uint64_t swap; /* memory set aside to swap to; 0: none */
	uint64_t objects; /* memory of the kernel's own; 0: an eighth */
	uint64_t cpus; /* CPUs to wait for; 0: one */
	uint64_t no_msi; /* number of a PCI bus that is flagged so; NO_BUS: none */
};

struct kernel {
	struct avm machine; /* its context is this struct */
	struct avm_region region;
	struct avm_page *pages; /* descriptors of the frames */
	struct pool frames, objects;
	struct options options;
	struct store *swap; /* NULL: none */
	struct avm_swap_device swap_device;
	struct avm_swap_slot *swap_slots;
	struct program *programs;
	unsigned nr_programs;
};

extern struct kernel kernel;

/* boot.S: the root of the kernel's own tables, 512 entries. */
extern uint64_t kernel_root[];
extern unsigned char kernel_start[], kernel_end[], text_start[], text_end[];

#endif
