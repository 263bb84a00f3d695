/* SPDX-License-Identifier: MIT */
/* syscall.h - see abi.h for what there is. */
#ifndef KERNEL_SYSCALL_H
#define KERNEL_SYSCALL_H

struct interrupt_frame;

void syscall(struct interrupt_frame *f);

#endif
