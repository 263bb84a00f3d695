/* SPDX-License-Identifier: MIT */
/* layout.h - where things are in the upper half; for C, assembly and the linker script. boot.S has the drawing. */
#ifndef KERNEL_LAYOUT_H
#define KERNEL_LAYOUT_H

#define KERNEL_BASE 0xffffffff80000000
#define KERNEL_LOAD 0x100000 /* physical */
#define DIRECT_MAP 0xffff800000000000
#define MAPPED_MEMORY 0x100000000 /* so much of physical memory is in the direct map */

#define TRAMPOLINE 0x8000 /* physical, below 1 MiB, on a page: where other CPUs begin */
#define STACK_SIZE 8192 /* of a thread in the kernel; a power of two */

#endif
