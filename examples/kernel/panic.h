/* SPDX-License-Identifier: MIT */
/* panic.h - the last words. */
#ifndef KERNEL_PANIC_H
#define KERNEL_PANIC_H

#include <stdatomic.h>
#include <stdbool.h>

struct interrupt_frame;

extern _Atomic bool panicking; /* the scheduler is not to be relied on any more */

_Noreturn void panic(const char *why);

/* The same for an exception in the kernel: registers are those of the frame; a page fault is looked into. */
_Noreturn void panic_at(const struct interrupt_frame *f, const char *why);

#endif
