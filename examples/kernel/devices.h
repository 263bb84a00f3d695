/* SPDX-License-Identifier: MIT */
/* devices.h - what hangs on PCI; the platform of the drivers in pci/ and virtio/. */
#ifndef KERNEL_DEVICES_H
#define KERNEL_DEVICES_H

#include <stdbool.h>

#include "anonvm/anonvm.h"

struct store;

/* Finds devices and binds drivers. */
void devices_start(void);

/* Messages and factorials of an edu device, where there is one. */
void devices_check(void (*report)(bool passed, const char *what));

bool devices_have_disk(void);

/* The disk as a store of pages, and the core's array for it; NULL: there is none, or it will not do. */
struct store *devices_swap(struct avm_swap_slot **slots);

/* No device touches memory any more; what they took is given back. => the core does not swap any more */
void devices_stop(void);

/* Of each CPU's timer. */
void devices_tick(void);

#endif
