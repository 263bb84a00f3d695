/* SPDX-License-Identifier: MIT */
/* store.h - numbered places for pages: a disk's driver, or memory that was set aside (memstore.h). */
#ifndef KERNEL_STORE_H
#define KERNEL_STORE_H

#include <stdint.h>

/* read and write return 0 or a negative errno when they are done; they may sleep, discard must not. */
struct store {
	int (*write)(struct store *s, uint64_t slot, const void *page);
	int (*read)(struct store *s, uint64_t slot, void *page);
	void (*discard)(struct store *s, uint64_t slot); /* NULL: nothing to do */
	uint64_t slots;
};

#endif
