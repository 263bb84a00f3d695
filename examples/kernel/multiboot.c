/* SPDX-License-Identifier: MIT */
/*
 * multiboot.c - see multiboot.h. Free memory, one run of it below 4 GiB, behind the last thing that was loaded:
 *
 *	loaded | descriptors | swap | objects | frames
 */
#include "multiboot.h"

#include <string.h>

#include "avm_arch.h"
#include "console.h"
#include "glue.h"
#include "kernel.h"
#include "memstore.h"
#include "program.h"

#define HAS_MODULES 0x08
#define HAS_MEMORY_MAP 0x40
#define FREE_MEMORY 1
#define LINE 256
#define KIB 1024ull

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, command_line;
	uint32_t nr_modules, modules, symbols[4], map_bytes, map;
};

struct module {
	uint32_t start, end, command_line, reserved;
};

struct memory {
	uint32_t size; /* of what follows */
	uint64_t start, bytes;
	uint32_t type;
} __attribute__((packed));

static struct program programs[MAX_PROGRAMS];
static char lines[MAX_PROGRAMS][LINE]; /* what follows the name */
static uint64_t next, end; /* memory that nobody has yet */

static uint64_t page_up(uint64_t n)
{
	return (n + AVM_PAGE_SIZE - 1) & AVM_PAGE_MASK;
}

void *boot_alloc(uint64_t bytes)
{
	uint64_t at = next;

	if (page_up(bytes) > end - next)
		panic("not enough memory for what the command line asks for");
	next += page_up(bytes);
	memset(direct_map(at), 0, page_up(bytes));
	return direct_map(at);
}

/* ---- text ------------------------------------------------------------------------------------------ */

/* The text behind `name=`, as a number; `fallback` where it is not there. */
static uint64_t option(const char *line, const char *name, uint64_t fallback)
{
	size_t len = 0;

	while (name[len])
		len++;
	for (const char *at = line; *at; at++) {
		uint64_t value = 0;

		if ((at != line && at[-1] != ' ') || memcmp(at, name, len) || at[len] != '=')
			continue;
		for (at += len + 1; *at >= '0' && *at <= '9'; at++)
			value = 10 * value + (uint64_t)(*at - '0');
		return value;
	}
	return fallback;
}

/* The last part of the path that the line begins with; returns what comes behind it. */
static const char *copy_name(char *to, size_t size, const char *line)
{
	const char *name = line;
	size_t n = 0;

	for (; *line && *line != ' '; line++) {
		if (*line == '/')
			name = line + 1;
	}
	for (; name < line && n < size - 1; name++)
		to[n++] = *name;
	to[n] = '\0';
	return *line ? line + 1 : line;
}

static void copy_line(char *to, const char *from)
{
	size_t n = 0;

	while (from[n] && n < LINE - 1) {
		to[n] = from[n];
		n++;
	}
	to[n] = '\0';
}

const char *multiboot_arguments(unsigned n)
{
	return lines[n];
}

uint64_t multiboot_number(unsigned n, const char *name, uint64_t fallback)
{
	return option(lines[n], name, fallback);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

/* The largest run of free memory that the direct map covers. */
static void find_memory(const struct info *info)
{
	const char *at = direct_map(info->map);
	const char *stop = at + info->map_bytes;

	while (at < stop) {
		struct memory m;
		uint64_t last;

		memcpy(&m, at, sizeof(m));
		at += m.size + sizeof(m.size);
		last = m.start + m.bytes < MAPPED_MEMORY ? m.start + m.bytes : MAPPED_MEMORY;
		if (m.type != FREE_MEMORY || m.start >= last || last - m.start <= end - next)
			continue;
		next = page_up(m.start);
		end = last & AVM_PAGE_MASK;
	}
}

static void read_programs(const struct info *info)
{
	const struct module *modules = direct_map(info->modules);

	kernel.programs = programs;
	for (unsigned i = 0; i < info->nr_modules && i < MAX_PROGRAMS; i++) {
		struct program *p = &programs[kernel.nr_programs++];
		const char *line = direct_map(modules[i].command_line);

		p->data = direct_map(modules[i].start);
		p->size = modules[i].end - modules[i].start;
		copy_line(lines[i], copy_name(p->name, sizeof(p->name), line));
		if (page_up(modules[i].end) > next)
			next = page_up(modules[i].end);
	}
}

static void read_options(const struct info *info)
{
	static char line[LINE];

	/* It may lie in memory that is about to be given away. */
	copy_line(line, direct_map(info->command_line));
	kernel.options = (struct options){ .frames = option(line, "frames", 0) * KIB,
					   .swap = option(line, "swap", 0) * KIB,
					   .objects = option(line, "objects", 0) * KIB,
					   .cpus = option(line, "cpus", 1),
					   .no_msi = option(line, "no_msi", NO_BUS) };
}

/* What is left becomes the two pools. A frame costs a page, its descriptor, and a byte in the pool. */
static void make_pools(void)
{
	uint64_t objects = kernel.options.objects ? kernel.options.objects : (end - next) / 8;
	uint64_t nr_objects = objects / AVM_PAGE_SIZE, nr_frames;
	uint8_t *orders = boot_alloc(nr_objects);

	objects = physical(boot_alloc(nr_objects * AVM_PAGE_SIZE)) / AVM_PAGE_SIZE;
	pool_init(&kernel.objects, objects, nr_objects, orders);

	nr_frames = kernel.options.frames / AVM_PAGE_SIZE;
	if (!nr_frames)
		nr_frames = (end - next - 2 * AVM_PAGE_SIZE) /
			    (AVM_PAGE_SIZE + sizeof(struct avm_page) + 1);
	kernel.pages = boot_alloc(nr_frames * sizeof(struct avm_page));
	orders = boot_alloc(nr_frames);
	pool_init(&kernel.frames, physical(boot_alloc(nr_frames * AVM_PAGE_SIZE)) / AVM_PAGE_SIZE,
		  nr_frames, orders);
}

void multiboot_read(uint32_t info_at)
{
	const struct info *info = direct_map(info_at);
	uint64_t loaded = (uint64_t)(uintptr_t)kernel_end - KERNEL_BASE;

	if (!(info->flags & HAS_MEMORY_MAP))
		panic("the boot loader does not say what memory there is");
	find_memory(info);
	read_options(info);
	if (next < loaded)
		next = loaded;
	if (info->flags & HAS_MODULES)
		read_programs(info);
	if (kernel.options.swap) {
		kernel.swap = memstore_init(kernel.options.swap / AVM_PAGE_SIZE);
		kernel.swap_slots = boot_alloc(kernel.swap->slots * sizeof(struct avm_swap_slot));
	}
	make_pools();
}
