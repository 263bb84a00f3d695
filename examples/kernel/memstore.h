/* SPDX-License-Identifier: MIT */
/* memstore.h - a store of pages in memory that was set aside: something to swap to where there is no disk. */
#ifndef KERNEL_MEMSTORE_H
#define KERNEL_MEMSTORE_H

#include "store.h"

/* At boot, once. */
struct store *memstore_init(uint64_t slots);

#endif
