/* SPDX-License-Identifier: MIT */
/*
 * port.c - a complete port of tier 0: the eight functions of include/anonvm/port.h, over a static array.
 *
 * The host is used for two things: writing a line, and ending the program. A kernel has both.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "avm_port.h"
#include "kernel.h"

static _Alignas(AVM_PAGE_SIZE) unsigned char ram[NR_FRAMES][AVM_PAGE_SIZE];

/* The first of n free frames in a row that start at a multiple of their size, or NR_FRAMES. */
static unsigned take(struct kernel *k, size_t n)
{
	for (unsigned i = 0; i + n <= NR_FRAMES; i++) {
		size_t free = 0;

		if ((uintptr_t)ram[i] % (n * AVM_PAGE_SIZE))
			continue;
		while (free < n && !k->taken[i + free])
			free++;
		if (free < n)
			continue;
		while (free)
			k->taken[i + --free] = true;
		k->nr_taken += (unsigned)n;
		return i;
	}
	return NR_FRAMES;
}

static void give_back(struct kernel *k, unsigned i, size_t n)
{
	k->nr_taken -= (unsigned)n;
	while (n)
		k->taken[i + --n] = false;
}

/* ---- frames ---------------------------------------------------------------------------------- */

avm_pfn_t avm_port_frame_alloc(struct avm *m, enum avm_frame_use use)
{
	unsigned i = take(m->context, 1);

	(void)use; /* one kind of memory serves both */
	return i < NR_FRAMES ? FIRST_PFN + i : AVM_PFN_NONE;
}

void avm_port_frame_free(struct avm *m, avm_pfn_t pfn)
{
	give_back(m->context, (unsigned)(pfn - FIRST_PFN), 1);
}

void *avm_port_frame_ptr(struct avm *m, avm_pfn_t pfn)
{
	(void)m;
	return ram[pfn - FIRST_PFN];
}

/* ---- memory for the core's own objects --------------------------------------------------------- */

void *avm_port_meta_alloc(struct avm *m, size_t size)
{
	unsigned i = take(m->context, size / AVM_PAGE_SIZE);

	return i < NR_FRAMES ? ram[i] : NULL;
}

void avm_port_meta_free(struct avm *m, void *ptr, size_t size)
{
	size_t offset = (size_t)((unsigned char *)ptr - ram[0]);

	give_back(m->context, (unsigned)(offset / AVM_PAGE_SIZE), size / AVM_PAGE_SIZE);
}

/* ---- the rest ---------------------------------------------------------------------------------- */

int avm_port_root_init(struct avm *m, struct avm_mm *mm, void *root)
{
	(void)m;
	(void)mm;
	(void)root; /* a real kernel copies the entries of its own half here */
	return 0;
}

void avm_port_log(struct avm *m, enum avm_log_level level, const char *line)
{
	(void)m;
	(void)level;
	console("%s\n", line);
}

_Noreturn void avm_port_panic(struct avm *m, const char *why)
{
	(void)m;
	console("panic: %s\n", why);
	abort();
}

void console(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	fflush(stdout);
}
