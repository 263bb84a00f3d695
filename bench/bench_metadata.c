/* SPDX-License-Identifier: MIT */
/*
 * bench_metadata.c - how many bytes the bookkeeping takes: one object of each kind, and all of it for a VMA and for a
 * VMA with a page.
 *
 * Of the host: what /proc/slabinfo says, which only root may read, and what is known of Linux 6.18 else. All told means
 * what has been taken from the allocator of the system (the port), empty places and tree nodes included, over the number
 * of VMAs. Of the host that is what objects in use take of their slabs, which other processes use as well: the median
 * of some samples is about right.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define PAGE AVM_PAGE_SIZE
#define SETTLE_US 200000 /* in which the kernel frees what a process that has ended had */
#define VMAS 60000 /* within what a process may have by default */

/* ---- objects --------------------------------------------------------------------------------------------------- */

struct slab {
	double size; /* of an object; NAN: not known */
	double bytes; /* that objects in use take of their slabs */
};

static struct slab read_slab(const char *name)
{
	FILE *f = fopen("/proc/slabinfo", "r");
	struct slab s = { NAN, NAN };
	char line[512], found[64];
	unsigned long active, size, per_slab, pages;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %lu %*u %lu %lu %lu", found, &active, &size, &per_slab,
			   &pages) != 5 ||
		    strcmp(found, name) != 0)
			continue;
		s.size = (double)size;
		s.bytes = (double)(active * pages * PAGE) / (double)per_slab;
		break;
	}
	if (f)
		fclose(f);
	return s;
}

static void object_row(struct bench *b, const char *what, double ours, double linux_size,
		       const char *slab)
{
	struct bench_row *row = bench_row(b, BENCH_BYTES, "one %s", what);

	bench_add(&row->ours, ours);
	bench_add(bench_against(row, "Linux 6.18"), linux_size);
	if (slab)
		bench_add(bench_against(row, "host, /proc/slabinfo"), read_slab(slab).size);
}

static void objects(struct bench *b, const struct avm *m)
{
	object_row(b, "VMA", m->vmas.stride, 192, "vm_area_struct");
	object_row(b, "anon_vma", m->anon_vmas.stride, 104, "anon_vma");
	object_row(b, "anon_vma_chain", m->avcs.stride, 64, "anon_vma_chain");
	object_row(b, "descriptor of a page", sizeof(struct avm_page), 64, NULL);
}

/* ---- all told -------------------------------------------------------------------------------------------------- */

static double meta_bytes(const struct core *c)
{
	return (double)sim_meta_bytes(c->sim);
}

/* VMAs of one page, two pages apart: bytes for each; and then for each, when that has been written. */
static void ours_all(struct bench *b, double bytes[2])
{
	const struct sim_config config = { .contents = SIM_STAMPS };
	avm_addr_t base = UINT64_C(1) << 40;
	double before;
	struct core c;

	core_open(&c, &config);
	objects(b, sim_machine(c.sim));
	before = meta_bytes(&c);
	for (uint64_t i = 0; i < VMAS; i++)
		core_map(c.mm, base + 2 * i * PAGE, 1);
	bytes[0] = (meta_bytes(&c) - before) / VMAS;
	core_write_pages(c.mm, base, VMAS, 2);
	bytes[1] = (meta_bytes(&c) - before) / VMAS;
	core_close(&c);
}

static const char *const slabs[] = { "vm_area_struct", "maple_node", "anon_vma", "anon_vma_chain" };

static double slab_bytes(void)
{
	double sum = 0;

	for (size_t i = 0; i < sizeof(slabs) / sizeof(slabs[0]); i++)
		sum += read_slab(slabs[i]).bytes;
	return sum;
}

static void kernel_sample(void *context, int which, double figures[HOST_FIGURES])
{
	double before;
	char *p = mmap(NULL, 2 * VMAS * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)context;
	(void)which;
	if (p == MAP_FAILED)
		_exit(1);
	usleep(SETTLE_US);
	before = slab_bytes();
	for (size_t i = 0; i < VMAS; i++) {
		if (munmap(p + (2 * i + 1) * PAGE, PAGE))
			_exit(1);
	}
	figures[0] = (slab_bytes() - before) / VMAS;
	for (size_t i = 0; i < VMAS; i++)
		*(volatile char *)(p + 2 * i * PAGE) = 1;
	figures[1] = (slab_bytes() - before) / VMAS;
	munmap(p, 2 * VMAS * PAGE);
}

static void metadata(struct bench *b, const struct bench_work *work)
{
	const struct host_side side = { work->name, NULL, kernel_sample, NULL };
	struct host *host = host_start(b, &side);
	struct bench_series *host_empty, *host_written;
	struct bench_row *empty, *written;
	double ours[2];

	ours_all(b, ours);
	empty = bench_row(b, BENCH_BYTES, "a VMA, all told");
	bench_add(&empty->ours, ours[0]);
	host_empty = bench_against(empty, "host, objects in use");
	written = bench_row(b, BENCH_BYTES, "a VMA with a page of its own, all told");
	bench_add(&written->ours, ours[1]);
	host_written = bench_against(written, "host, objects in use");
	while (host && bench_round(b)) {
		double theirs[HOST_FIGURES];

		host_sample(host, 0, theirs);
		bench_add(host_empty, theirs[0]);
		bench_add(host_written, theirs[1]);
	}
	if (!host_empty->n)
		bench_skip(b, "%s: the host, whose /proc/slabinfo only root may read", work->name);
	host_stop(host);
}

const struct bench_work bench_metadata[] = {
	{ "metadata", "bytes of the bookkeeping", metadata, VMAS },
	{ NULL, NULL, NULL, 0 },
};
