/* SPDX-License-Identifier: MIT */
/* kernel.h - the smallest kernel there is: a megabyte of RAM in a static array, and a console. */
#ifndef KERNEL_H
#define KERNEL_H

#include "anonvm/anonvm.h"
#include "avm_arch.h"

#define NR_FRAMES 256
#define FIRST_PFN 1 /* so that frame number 0 is always a mistake */

struct kernel {
	struct avm machine;
	struct avm_region region;
	struct avm_page pages[NR_FRAMES]; /* the descriptors: 64 bytes a frame */
	bool taken[NR_FRAMES];
	unsigned nr_taken;
};

void console(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
