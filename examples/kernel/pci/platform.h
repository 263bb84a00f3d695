/* SPDX-License-Identifier: MIT */
/*
 * platform.h - all that the drivers ask of the kernel beneath them.
 *
 * A kernel fills in a struct platform once. The tests put a simulated machine there, whose devices lie: nothing that a
 * device says is believed before it was checked, and nothing is asked of it twice where two answers could differ.
 */
#ifndef PLATFORM_H
#define PLATFORM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "anonvm/types.h"

/* What a device writes, and where, to interrupt. */
struct msi_message {
	uint64_t address;
	uint32_t data;
};

/* One page that the CPU has at `memory` and devices have at `address`. */
#define DMA_PAGE_SIZE 4096
struct dma_page {
	void *memory;
	uint64_t address;
};

struct platform {
	void *context; /* the first argument of all the others */

	/* Configuration space: 1, 2 or 4 bytes, aligned. Nobody there: all ones. */
	uint32_t (*config_read)(void *context, unsigned bus, unsigned devfn, unsigned offset,
				unsigned size);
	void (*config_write)(void *context, unsigned bus, unsigned devfn, unsigned offset,
			     unsigned size, uint32_t value);

	/* Makes registers accessible, uncached. -EBUSY: memory of the kernel's lies there; -ENOMEM. */
	int (*map)(void *context, uint64_t address, uint64_t size, uintptr_t *base);
	uint32_t (*mmio_read)(void *context, uintptr_t at, unsigned size);
	void (*mmio_write)(void *context, uintptr_t at, unsigned size, uint32_t value);

	/* A cleared page; 0 or -ENOMEM. */
	int (*dma_take)(void *context, struct dma_page *page);
	void (*dma_give)(void *context, struct dma_page *page);

	/* An interrupt vector whose handler runs with interrupts off. Its number, >= 0, or a negative errno. */
	int (*vector_take)(void *context, void (*handler)(void *arg), void *arg,
			   struct msi_message *message);
	void (*vector_give)(void *context, int vector);

	/* Since boot. */
	uint64_t (*microseconds)(void *context);

	/*
	 * For a little while: at most until an interrupt of a device's has come, where one is to come. A wake-up that was
	 * missed costs no more than that while. Who has a lock around the drivers may give it up meanwhile.
	 */
	void (*wait)(void *context, bool interrupt_comes);

	/* One line, without a newline. */
	void (*log)(void *context, const char *line);
};

/* Knows %s, %u, %x and %0Nx of unsigned int, %llx of unsigned long long, and %%. A long line is cut. */
void platform_log(const struct platform *p, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same with something before it. */
void platform_vlog(const struct platform *p, const char *prefix, const char *format, va_list ap);

/* A window of device registers. Accesses outside of it read all ones and write nothing. */
struct mmio {
	const struct platform *platform;
	uintptr_t base;
	uint64_t size;
};

uint32_t mmio_read(const struct mmio *m, uint64_t offset, unsigned size);
void mmio_write(const struct mmio *m, uint64_t offset, unsigned size, uint32_t value);

#endif
