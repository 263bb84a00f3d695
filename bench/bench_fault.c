/* SPDX-License-Identifier: MIT */
/*
 * bench_fault.c - what one fault costs, and one page that goes to swap and comes back.
 *
 * A fault is the core's own work, and clearing or copying 4 KiB, which nobody can avoid. So each work runs on two
 * machines: on one, frames have all their bytes; on the other, eight of them (SIM_STAMPS), and what is left is the core.
 * The limit is the clearing or copying alone, in memory of the same size, so that caches help as little as there.
 *
 * All memory has been used before: the first touch of a page that a virtual machine has never used is its hypervisor's
 * time. A fault of the host is a store; one of ours is a call of avm_fault(), which a handler would make.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PAGE AVM_PAGE_SIZE
#define PAGES 16384 /* 64 MiB: more than fits into a cache of the core's */

/* Our two machines. */
struct ours {
	struct core bytes, stamps;
	avm_addr_t addr; /* the same in both */
};

/* The rows of one kind of fault. */
struct rows {
	struct bench_row *whole, *own;
	struct bench_series *host, *limit, *host_less;
};

static void open_one(struct core *c, enum sim_contents contents, bool swap, avm_addr_t *addr)
{
	const struct sim_config config = { .frames = 3 * PAGES, .contents = contents };
	const struct sim_swap_config device = { .kind = SIM_SWAP_MEMORY, .slots = 2 * PAGES };
	struct avm_swap_device *d;

	core_open(c, &config);
	if (swap)
		core_ok("making a swap device", sim_swap_add(c->sim, &device, &d));
	*addr = core_map(c->mm, 0, PAGES);
	core_write_pages(c->mm, *addr, PAGES, 1);
}

static void ours_open(struct ours *o, bool swap)
{
	avm_addr_t addr;

	open_one(&o->bytes, SIM_BYTES, swap, &o->addr);
	open_one(&o->stamps, SIM_STAMPS, swap, &addr);
	if (addr != o->addr)
		bench_die("two equal machines differ");
}

static void ours_close(struct ours *o)
{
	core_close(&o->bytes);
	core_close(&o->stamps);
}

/* It must have happened once for each page. */
static void check_event(const struct core *c, enum avm_event e, uint64_t before)
{
	uint64_t n = core_event(c, e) - before;

	if (n != PAGES)
		bench_die("%s: %llu instead of %d", avm_event_name(e), (unsigned long long)n,
			  PAGES);
}

/* ---- limits ------------------------------------------------------------------------------------------------- */

static unsigned char *touched(void)
{
	unsigned char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bench_die("out of memory");
	memset(p, 1, PAGES * PAGE);
	return p;
}

/* Nanoseconds a page. The pointer is volatile so that the compiler does not see through. */
static double clear_pages(unsigned char *volatile to)
{
	double begin = bench_cpu_ns();

	for (size_t i = 0; i < PAGES; i++)
		memset(to + i * PAGE, 0, PAGE);
	return (bench_cpu_ns() - begin) / PAGES;
}

static double copy_pages(unsigned char *volatile to, const unsigned char *from)
{
	double begin = bench_cpu_ns();

	for (size_t i = 0; i < PAGES; i++)
		memcpy(to + i * PAGE, from + i * PAGE, PAGE);
	return (bench_cpu_ns() - begin) / PAGES;
}

/* ---- the host ------------------------------------------------------------------------------------------------ */

struct kernel {
	unsigned char *pages;
	double *result; /* shared with children of the process */
};

enum {
	KERNEL_ZERO,
	KERNEL_COPY,
	KERNEL_SWAP,
};

static double kernel_write(unsigned char *pages)
{
	double begin = bench_cpu_ns();

	for (size_t i = 0; i < PAGES; i++)
		*(volatile unsigned char *)(pages + i * PAGE) = 2;
	return (bench_cpu_ns() - begin) / PAGES;
}

static int kernel_open(void *context)
{
	struct kernel *k = context;

	k->pages = touched();
	k->result = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return k->result == MAP_FAILED ? errno : 0;
}

/* The child copies; afterwards we are the only owner again, and take each page back. */
static void kernel_copy(struct kernel *k, double figures[HOST_FIGURES])
{
	pid_t pid = fork();

	if (!pid) {
		*k->result = kernel_write(k->pages);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		_exit(1);
	figures[0] = *k->result;
	figures[1] = kernel_write(k->pages);
}

/* On the wall would be the device; this is the kernel, and the device where it is memory. */
static double kernel_swap(struct kernel *k)
{
	double begin = bench_cpu_ns();

	if (madvise(k->pages, PAGES * PAGE, MADV_PAGEOUT))
		_exit(1);
	return (bench_cpu_ns() - begin) / PAGES + kernel_write(k->pages);
}

static void kernel_sample(void *context, int which, double figures[HOST_FIGURES])
{
	struct kernel *k = context;

	switch (which) {
	case KERNEL_ZERO:
		if (madvise(k->pages, PAGES * PAGE, MADV_DONTNEED))
			_exit(1);
		figures[0] = kernel_write(k->pages);
		return;
	case KERNEL_COPY:
		kernel_copy(k, figures);
		return;
	case KERNEL_SWAP:
		figures[0] = kernel_swap(k);
		return;
	}
}

static struct host *kernel_start(struct bench *b, struct kernel *k)
{
	const struct host_side side = { b->work->name, kernel_open, kernel_sample, k };

	return host_start(b, &side);
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

static struct rows make_rows(struct bench *b, const char *what, const char *limit, const char *less)
{
	struct rows r;

	r.whole = bench_row(b, BENCH_NS, "%s", what);
	r.host = bench_against(r.whole, "host");
	r.limit = bench_limit(r.whole, limit);
	r.own = bench_row(b, BENCH_NS, "  without contents: the core's own part");
	r.host_less = bench_against(r.own, less);
	return r;
}

static void add_limit(struct rows *r, double host, double limit)
{
	bench_add(r->host, host);
	bench_add(r->limit, limit);
	bench_add(r->host_less, host - limit);
}

/* ---- a page of zeroes ------------------------------------------------------------------------------------------ */

/* Nanoseconds for each page that is not there, and is to be written. */
static double ours_zero(struct core *c, avm_addr_t addr)
{
	uint64_t before = core_event(c, AVM_EV_ZERO_FILL);
	double ns;

	core_ok("madvise", avm_madvise(c->mm, addr, PAGES * PAGE, AVM_MADV_DONTNEED));
	ns = core_write_pages(c->mm, addr, PAGES, 1);
	check_event(c, AVM_EV_ZERO_FILL, before);
	return ns / PAGES;
}

static void zero(struct bench *b, const struct bench_work *work)
{
	struct rows r = make_rows(b, "write to a page that is not there", "clearing 4 KiB",
				  "host, less clearing");
	struct kernel kernel = { NULL, NULL };
	struct host *host = kernel_start(b, &kernel);
	unsigned char *to = touched();
	struct ours ours;

	(void)work;
	ours_open(&ours, false);
	while (bench_round(b)) {
		bench_add(&r.whole->ours, ours_zero(&ours.bytes, ours.addr));
		bench_add(&r.own->ours, ours_zero(&ours.stamps, ours.addr));
		add_limit(&r, host ? host_sample(host, KERNEL_ZERO, NULL) : NAN, clear_pages(to));
	}
	bench_bar(b, AT_MOST, bench_median(&r.own->ours), 100, " ns",
		  "anonymous fault: the core's own part");
	munmap(to, PAGES * PAGE);
	host_stop(host);
	ours_close(&ours);
}

/* ---- a page that two have ---------------------------------------------------------------------------------------- */

static double ours_copy(struct core *c, avm_addr_t addr, double *reuse)
{
	uint64_t copies = core_event(c, AVM_EV_COW_COPY), reused;
	struct sim_proc *child;
	double ns;

	core_ok("fork", sim_proc_fork(c->proc, &child));
	ns = core_write_pages(sim_mm(child), addr, PAGES, 1);
	check_event(c, AVM_EV_COW_COPY, copies);
	sim_proc_exit(child);
	reused = core_event(c, AVM_EV_COW_REUSE);
	*reuse = core_write_pages(c->mm, addr, PAGES, 1) / PAGES;
	check_event(c, AVM_EV_COW_REUSE, reused);
	return ns / PAGES;
}

static void copy(struct bench *b, const struct bench_work *work)
{
	struct rows r = make_rows(b, "write to a page that two processes have", "copying 4 KiB",
				  "host, less copying");
	struct bench_row *reuse_row =
		bench_row(b, BENCH_NS, "... that is one's own again: no copy");
	struct bench_series *reuse_host = bench_against(reuse_row, "host");
	struct kernel kernel = { NULL, NULL };
	struct host *host = kernel_start(b, &kernel);
	unsigned char *to = touched(), *from = touched();
	struct ours ours;

	(void)work;
	ours_open(&ours, false);
	while (bench_round(b)) {
		double host_figures[HOST_FIGURES] = { NAN, NAN, NAN, NAN }, reuse;

		bench_add(&r.whole->ours, ours_copy(&ours.bytes, ours.addr, &reuse));
		bench_add(&r.own->ours, ours_copy(&ours.stamps, ours.addr, &reuse));
		bench_add(&reuse_row->ours, reuse);
		if (host)
			host_sample(host, KERNEL_COPY, host_figures);
		add_limit(&r, host_figures[0], copy_pages(to, from));
		bench_add(reuse_host, host_figures[1]);
	}
	bench_bar(b, AT_MOST, bench_median(&r.own->ours), 100, " ns",
		  "copy-on-write fault: the core's own part");
	munmap(to, PAGES * PAGE);
	munmap(from, PAGES * PAGE);
	host_stop(host);
	ours_close(&ours);
}

/* ---- a page that goes and comes -------------------------------------------------------------------------------------- */

static bool host_has_swap(void)
{
	FILE *f = fopen("/proc/swaps", "r");
	char line[256];
	int lines = 0;

	while (f && fgets(line, sizeof(line), f))
		lines++;
	if (f)
		fclose(f);
	return lines > 1; /* the first is a heading */
}

/* It comes back to be written: the next time it must be written out again. */
static double ours_swap(struct core *c, avm_addr_t addr)
{
	uint64_t out = core_event(c, AVM_EV_SWAP_OUT), in = core_event(c, AVM_EV_SWAP_IN);
	double ns = bench_cpu_ns();

	core_ok("madvise", avm_madvise(c->mm, addr, PAGES * PAGE, AVM_MADV_PAGEOUT));
	ns = bench_cpu_ns() - ns + core_write_pages(c->mm, addr, PAGES, 1);
	check_event(c, AVM_EV_SWAP_OUT, out);
	check_event(c, AVM_EV_SWAP_IN, in);
	return ns / PAGES;
}

static void swap(struct bench *b, const struct bench_work *work)
{
	struct rows r = make_rows(b, "a page out to swap, and in again by a write",
				  "copying 4 KiB twice", "host, less copying");
	struct kernel kernel = { NULL, NULL };
	struct host *host = host_has_swap() ? kernel_start(b, &kernel) : NULL;
	unsigned char *to = touched(), *from = touched();
	struct ours ours;

	if (!host)
		bench_skip(b, "%s: the host, which has no swap", work->name);
	ours_open(&ours, true);
	while (bench_round(b)) {
		bench_add(&r.whole->ours, ours_swap(&ours.bytes, ours.addr));
		bench_add(&r.own->ours, ours_swap(&ours.stamps, ours.addr));
		add_limit(&r, host ? host_sample(host, KERNEL_SWAP, NULL) : NAN,
			  copy_pages(to, from) + copy_pages(from, to));
	}
	munmap(to, PAGES * PAGE);
	munmap(from, PAGES * PAGE);
	host_stop(host);
	ours_close(&ours);
}

const struct bench_work bench_fault[] = {
	{ "fault-anonymous", "a fault that gives a page of zeroes", zero, PAGES },
	{ "fault-copy", "a fault that copies a page after fork", copy, PAGES },
	{ "fault-swap", "a page to a swap device in memory, and back", swap, PAGES },
	{ NULL, NULL, NULL, 0 },
};
