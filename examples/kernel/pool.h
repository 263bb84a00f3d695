/* SPDX-License-Identifier: MIT */
/*
 * pool.h - physical memory in blocks of 2^order pages, each aligned to its size (buddies).
 *
 * The kernel has two pools: `frames` is what the core gets for users' pages and page tables; `objects` what the kernel
 * keeps for itself and gives to the core's objects. Users can so not starve the kernel.
 */
#ifndef KERNEL_POOL_H
#define KERNEL_POOL_H

#include "spinlock.h"

#define POOL_ORDERS 11
#define POOL_NONE (~(uint64_t)0)

struct pool_block;

struct pool {
	struct spinlock lock; /* covers all below */
	uint64_t first, count; /* page numbers */
	uint64_t nr_free;
	struct pool_block *free[POOL_ORDERS];
	uint8_t *order; /* of each page: order + 1 of the free block that begins there, 0: none does */
};

/* `order`: memory for `count` bytes. Every page of the pool is free afterwards. */
void pool_init(struct pool *p, uint64_t first, uint64_t count, uint8_t *order);

/* The number of the first page, or POOL_NONE. */
uint64_t pool_alloc(struct pool *p, unsigned order);
void pool_free(struct pool *p, uint64_t page, unsigned order);

#endif
