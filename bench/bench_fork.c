/* SPDX-License-Identifier: MIT */
/*
 * bench_fork.c - fork and exit: of one large VMA, and of many small ones.
 *
 * Fork of a process that has written all its pages since the last one must take each for shared (write-protect it);
 * the next fork finds that done. Both are shown. The child ends at once. The host's exit is what the kernel says that
 * the child has cost, which includes its start; ours is sim_proc_exit(). Frames have no contents here: fork copies none.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PAGE AVM_PAGE_SIZE
#define ENTRIES (PAGE / sizeof(uint64_t)) /* of one table */
#define ROOM_FRAMES 65536 /* for tables */

/* VMAs of `each` pages, one page apart. */
struct shape {
	uint64_t vmas, each;
};

static uint64_t span(const struct shape *s)
{
	return s->vmas * (s->each + 1);
}

/* ---- the core ------------------------------------------------------------------------------------------------- */

struct ours {
	struct core core;
	struct shape shape;
	avm_addr_t base;
};

struct times {
	double fork, exit;
};

static void ours_write(const struct ours *o)
{
	uint64_t each = o->shape.each;

	for (uint64_t i = 0; i < o->shape.vmas; i++)
		core_write_pages(o->core.mm, o->base + i * (each + 1) * PAGE, each, 1);
}

static void ours_open(struct ours *o)
{
	const struct sim_config config = {
		.frames = o->shape.vmas * o->shape.each + ROOM_FRAMES,
		.contents = SIM_STAMPS,
	};
	uint64_t each = o->shape.each;

	core_open(&o->core, &config);
	o->base = UINT64_C(1) << 40;
	for (uint64_t i = 0; i < o->shape.vmas; i++)
		core_map(o->core.mm, o->base + i * (each + 1) * PAGE, each);
	ours_write(o);
}

static struct times ours_fork(const struct ours *o)
{
	struct sim_proc *child;
	double begin = bench_cpu_ns(), middle;

	core_ok("fork", sim_proc_fork(o->core.proc, &child));
	middle = bench_cpu_ns();
	sim_proc_exit(child);
	return (struct times){ middle - begin, bench_cpu_ns() - middle };
}

/* ---- the host -------------------------------------------------------------------------------------------------- */

struct kernel {
	struct shape shape;
	unsigned char *base;
};

enum {
	KERNEL_FORK, /* figures: fork, exit */
	KERNEL_WRITE,
};

static void kernel_write(const struct kernel *k)
{
	uint64_t each = k->shape.each;

	for (uint64_t i = 0; i < k->shape.vmas; i++) {
		for (uint64_t page = 0; page < each; page++) {
			uint64_t at = i * (each + 1) + page;

			*(volatile unsigned char *)(k->base + at * PAGE) = 1;
		}
	}
}

/* One mapping, with holes punched into it. */
static int kernel_open(void *context)
{
	struct kernel *k = context;
	uint64_t each = k->shape.each;
	unsigned char *p = mmap(NULL, span(&k->shape) * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return errno;
	for (uint64_t i = 0; i < k->shape.vmas; i++) {
		if (munmap(p + (i * (each + 1) + each) * PAGE, PAGE))
			return errno;
	}
	k->base = p;
	kernel_write(k);
	return 0;
}

static double rusage_ns(const struct rusage *r)
{
	return (double)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) * 1e9 +
	       (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) * 1e3;
}

static void kernel_sample(void *context, int which, double figures[HOST_FIGURES])
{
	struct kernel *k = context;
	struct rusage usage;
	double begin;
	pid_t pid;

	if (which == KERNEL_WRITE) {
		kernel_write(k);
		return;
	}
	begin = bench_cpu_ns();
	pid = fork();
	if (!pid)
		_exit(0);
	figures[0] = bench_cpu_ns() - begin;
	if (pid < 0 || wait4(pid, NULL, 0, &usage) != pid)
		_exit(1);
	figures[1] = rusage_ns(&usage);
}

static struct times kernel_fork(struct host *h)
{
	double figures[HOST_FIGURES];

	if (!h)
		return (struct times){ NAN, NAN };
	host_sample(h, KERNEL_FORK, figures);
	return (struct times){ figures[0], figures[1] };
}

/* ---- the limit ------------------------------------------------------------------------------------------------- */

struct tables {
	unsigned char *from, *to;
	size_t bytes;
};

/* What the entries of all pages take, in whole tables. */
static void tables_open(struct tables *t, const struct shape *s)
{
	t->bytes = (span(s) + ENTRIES - 1) / ENTRIES * PAGE;
	t->from = bench_must(aligned_alloc(PAGE, t->bytes));
	t->to = bench_must(aligned_alloc(PAGE, t->bytes));
	memset(t->from, 1, t->bytes);
	memset(t->to, 1, t->bytes);
}

static double tables_copy(const struct tables *t)
{
	unsigned char *volatile to = t->to;
	double begin = bench_cpu_ns();

	memcpy(to, t->from, t->bytes);
	return bench_cpu_ns() - begin;
}

static void tables_close(struct tables *t)
{
	free(t->from);
	free(t->to);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

struct rows {
	struct bench_row *fork, *again, *exit, *both;
	struct bench_series *host_fork, *host_again, *host_exit, *host_both;
	struct bench_series *limit;
};

static struct rows make_rows(struct bench *b)
{
	struct rows r;

	r.fork = bench_row(b, BENCH_NS, "fork, every page written since the last");
	r.host_fork = bench_against(r.fork, "host");
	r.limit = bench_limit(r.fork, "copying the entries");
	r.again = bench_row(b, BENCH_NS, "fork, none written since the last");
	r.host_again = bench_against(r.again, "host");
	r.exit = bench_row(b, BENCH_NS, "exit of the child");
	r.host_exit = bench_against(r.exit, "host, start of the child included");
	r.both = bench_row(b, BENCH_NS, "fork and exit, every page written");
	r.host_both = bench_against(r.both, "host");
	return r;
}

static void add_ours(const struct rows *r, const struct ours *o)
{
	struct times first = ours_fork(o), again = ours_fork(o);

	bench_add(&r->fork->ours, first.fork);
	bench_add(&r->again->ours, again.fork);
	bench_add(&r->exit->ours, first.exit);
	bench_add(&r->both->ours, first.fork + first.exit);
	ours_write(o);
}

static void add_host(const struct rows *r, struct host *h)
{
	struct times first = kernel_fork(h), again = kernel_fork(h);

	bench_add(r->host_fork, first.fork);
	bench_add(r->host_again, again.fork);
	bench_add(r->host_exit, first.exit);
	bench_add(r->host_both, first.fork + first.exit);
	if (h)
		host_sample(h, KERNEL_WRITE, NULL);
}

static struct rows measure(struct bench *b, const struct shape *shape)
{
	struct kernel kernel = { *shape, NULL };
	const struct host_side side = { b->work->name, kernel_open, kernel_sample, &kernel };
	struct host *host = host_start(b, &side);
	struct ours ours = { .shape = *shape };
	struct rows r = make_rows(b);
	struct tables tables;

	ours_open(&ours);
	tables_open(&tables, shape);
	/* Both have memory for the child's tables from now on. */
	ours_fork(&ours);
	kernel_fork(host);
	ours_write(&ours);
	if (host)
		host_sample(host, KERNEL_WRITE, NULL);
	while (bench_round(b)) {
		add_ours(&r, &ours);
		add_host(&r, host);
		bench_add(r.limit, tables_copy(&tables));
	}
	host_stop(host);
	tables_close(&tables);
	core_close(&ours.core);
	return r;
}

static void one_vma(struct bench *b, const struct bench_work *work)
{
	const struct shape shape = { .vmas = 1, .each = work->size };
	struct rows r = measure(b, &shape);

	if (work->size == 1 << 18)
		bench_bar(b, AT_MOST, bench_median(&r.fork->ours) / (double)work->size, 10, " ns",
			  "fork of 1 GiB resident, a page");
}

static void many_vmas(struct bench *b, const struct bench_work *work)
{
	const struct shape shape = { .vmas = work->size, .each = 1 };
	struct rows r = measure(b, &shape);

	bench_bar(b, AT_LEAST, bench_ratio(r.fork, r.host_fork), 5, "x",
		  "fork with 10,000 VMAs of one page against the host");
}

const struct bench_work bench_fork[] = {
	{ "fork-64m", "a process with 64 MiB resident", one_vma, 1 << 14 },
	{ "fork-1g", "a process with 1 GiB resident", one_vma, 1 << 18 },
	{ "fork-10000-vmas", "a process with 10,000 VMAs of one page", many_vmas, 10000 },
	{ NULL, NULL, NULL, 0 },
};
