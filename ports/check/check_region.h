/* SPDX-License-Identifier: MIT */
/*
 * check_region.h - everything that belongs to an execution, at a fixed address: the stacks of the threads, and the memory of
 * the simulated machine. So no run depends on where the host has room; what the detector of races keeps about a word is found
 * by arithmetic; and the state of a machine is something that can be kept, gone back to, and compared.
 *
 *	| stacks | small: the machine's own, its processes, frames, devices | pages: chunks of objects, page tables |
 *
 * What is small is kept and brought back whole, as the port writes it and tells nobody. Pages are the core's: which lines
 * of them were written the compiler's callbacks know, and only those are brought back.
 *
 * There is one region in a process, so one state that is kept.
 */
#ifndef CHECK_REGION_H
#define CHECK_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_REGION UINT64_C(0x1000000000)
#define CHECK_STACKS_SIZE UINT64_C(0x200000)
#define CHECK_SMALL (CHECK_REGION + CHECK_STACKS_SIZE)
#define CHECK_SMALL_SIZE UINT64_C(0x100000)
#define CHECK_PAGES (CHECK_SMALL + CHECK_SMALL_SIZE)
#define CHECK_PAGES_SIZE UINT64_C(0x500000)
#define CHECK_REGION_SIZE (CHECK_STACKS_SIZE + CHECK_SMALL_SIZE + CHECK_PAGES_SIZE)

#define CHECK_LINE_SHIFT 6
#define CHECK_LINES (CHECK_PAGES_SIZE >> CHECK_LINE_SHIFT)

/* Instead of the C library's, for the simulated machine (check_heap.h). Aligned to a page or more: pages. */
void *check_region_alloc(size_t align, size_t size);
void *check_region_zeroed(size_t n, size_t size);
void *check_region_more(void *p, size_t size);
void check_region_free(void *p);

/* Room for a stack, with a page below it that nobody may touch. NULL: all are taken. */
void *check_region_stack(size_t *size);
void check_region_stack_free(void *stack);

/* Pages that were never anybody's, for who writes and tells nobody: an observer of the core. */
void check_region_fresh(bool fresh);

/* Forgets all that is allocated. */
void check_region_reset(void);
/* As it is now it will be after each check_region_back(). */
void check_region_keep(void);
void check_region_back(void);
/* Nobody goes back any more. */
void check_region_forget(void);
/* Names what differs from what was kept: equal states have equal names. */
uint64_t check_region_state(void);

/* Lines of the pages that were written since they were kept. */
struct check_lines {
	bool watched;
	uint32_t n;
	uint32_t of[CHECK_LINES];
	uint8_t written[CHECK_LINES];
};

extern struct check_lines check_lines;

/* After, or before, a write of the core; or one of the port to a page. */
static inline void check_wrote(const volatile void *at, size_t size)
{
	uint64_t offset = (uintptr_t)at - CHECK_PAGES;

	if (offset >= CHECK_PAGES_SIZE || !check_lines.watched || !size)
		return;
	for (uint64_t line = offset >> CHECK_LINE_SHIFT;
	     line <= (offset + size - 1) >> CHECK_LINE_SHIFT; line++) {
		if (check_lines.written[line])
			continue;
		check_lines.written[line] = 1;
		check_lines.of[check_lines.n++] = (uint32_t)line;
	}
}

#endif
