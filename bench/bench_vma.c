/* SPDX-License-Identifier: MIT */
/*
 * bench_vma.c - operations on one VMA among 10, 1,000 or 100,000.
 *
 * The address space is a row of slots of eight pages, with a VMA on the first three of each. An operation picks a slot
 * at random, so that what it needs is not in the cache unless everything is:
 *
 *	page	0 1 2 3 4 5 6 7
 *		V V V e . n . .		e: mmap here extends the VMA; n: here it makes a new one
 *
 * The same functions drive both sides; below them are the core's calls and the kernel's. `less entry` is the host's time
 * without what getppid() takes for each system call: the way into the kernel and back.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"
#include "sim.h"

#define PAGE UINT64_C(4096)
#define SLOT (8 * PAGE)
#define VMA_PAGES 3
#define OURS_BASE (UINT64_C(1) << 40)
#define SPARE_VMAS 1000 /* of the process itself, and those that come and go */

struct space {
	const struct calls *calls;
	uint64_t n, base;
	const uint32_t *order; /* in which the slots are filled */
	bool written; /* every page is present */
	struct bench_random random;
	struct sim *sim; /* ours */
	struct sim_proc *proc;
	struct avm_mm *mm;
};

/* addr 0 of map: wherever there is room. */
struct calls {
	uint64_t (*map)(struct space *s, uint64_t addr, uint64_t pages);
	void (*unmap)(struct space *s, uint64_t addr, uint64_t pages);
	void (*protect)(struct space *s, uint64_t addr, uint64_t pages, int prot);
	void (*look)(struct space *s, uint64_t addr);
	void (*write)(struct space *s, uint64_t addr);
};

/* ---- the core ---------------------------------------------------------------------------------------------- */

static void ours_failed(const char *what, int err)
{
	if (err)
		bench_die("%s: error %d of the core", what, -err);
}

static uint64_t ours_map(struct space *s, uint64_t addr, uint64_t pages)
{
	const struct avm_mmap args = {
		.addr = addr,
		.len = pages * PAGE,
		.prot = AVM_PROT_READ | AVM_PROT_WRITE,
		.flags = AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS | (addr ? AVM_MAP_FIXED : 0u),
	};
	avm_addr_t at = 0;

	ours_failed("mmap", avm_mmap(s->mm, &args, &at));
	return at;
}

static void ours_unmap(struct space *s, uint64_t addr, uint64_t pages)
{
	ours_failed("munmap", avm_munmap(s->mm, addr, pages * PAGE));
}

static void ours_protect(struct space *s, uint64_t addr, uint64_t pages, int prot)
{
	ours_failed("mprotect", avm_mprotect(s->mm, addr, pages * PAGE, (uint32_t)prot));
}

static void ours_look(struct space *s, uint64_t addr)
{
	uint8_t vec;

	ours_failed("mincore", avm_mincore(s->mm, addr, PAGE, &vec));
}

static void ours_write(struct space *s, uint64_t addr)
{
	if (avm_fault(s->mm, addr, AVM_ACCESS_WRITE, NULL) & AVM_FAULT_ERROR)
		bench_die("a fault of the core failed");
}

static const struct calls ours_calls = {
	ours_map, ours_unmap, ours_protect, ours_look, ours_write,
};

/* ---- the kernel -------------------------------------------------------------------------------------------- */

static void host_failed(const char *what)
{
	perror(what);
	_exit(1);
}

static uint64_t kernel_map(struct space *s, uint64_t addr, uint64_t pages)
{
	void *p = mmap((void *)(uintptr_t)addr, pages * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (addr ? MAP_FIXED : 0), -1, 0);

	(void)s;
	if (p == MAP_FAILED)
		host_failed("mmap");
	return (uint64_t)(uintptr_t)p;
}

static void kernel_unmap(struct space *s, uint64_t addr, uint64_t pages)
{
	(void)s;
	if (munmap((void *)(uintptr_t)addr, pages * PAGE))
		host_failed("munmap");
}

static void kernel_protect(struct space *s, uint64_t addr, uint64_t pages, int prot)
{
	(void)s;
	if (mprotect((void *)(uintptr_t)addr, pages * PAGE, prot))
		host_failed("mprotect");
}

static void kernel_look(struct space *s, uint64_t addr)
{
	unsigned char vec;

	(void)s;
	if (mincore((void *)(uintptr_t)addr, PAGE, &vec))
		host_failed("mincore");
}

static void kernel_write(struct space *s, uint64_t addr)
{
	(void)s;
	*(volatile char *)(uintptr_t)addr = 1;
}

static const struct calls kernel_calls = {
	kernel_map, kernel_unmap, kernel_protect, kernel_look, kernel_write,
};

/* ---- what is done ------------------------------------------------------------------------------------------ */

static uint64_t random_slot(struct space *s)
{
	return s->base + bench_below(&s->random, s->n) * SLOT;
}

static void map_new(void *context)
{
	struct space *s = context;
	uint64_t addr = random_slot(s) + 5 * PAGE;

	s->calls->map(s, addr, 1);
	s->calls->unmap(s, addr, 1);
}

static void map_placed(void *context)
{
	struct space *s = context;

	s->calls->unmap(s, s->calls->map(s, 0, 1), 1);
}

static void map_extend(void *context)
{
	struct space *s = context;
	uint64_t addr = random_slot(s) + VMA_PAGES * PAGE;

	s->calls->map(s, addr, 1);
	s->calls->unmap(s, addr, 1);
}

static void split_merge(void *context)
{
	struct space *s = context;
	uint64_t addr = random_slot(s) + PAGE;

	s->calls->protect(s, addr, 1, PROT_READ);
	s->calls->protect(s, addr, 1, PROT_READ | PROT_WRITE);
}

static void look(void *context)
{
	struct space *s = context;

	s->calls->look(s, random_slot(s) + PAGE);
}

/* Of the core alone: what a fault does first. */
static void find(void *context)
{
	struct space *s = context;

	if (!avm_find_vma(s->mm, random_slot(s) + PAGE))
		bench_die("a VMA is not there");
}

static void enter(void *context)
{
	(void)context;
	syscall(SYS_getppid);
}

enum operation {
	MAP_NEW,
	MAP_PLACED,
	MAP_EXTEND,
	SPLIT_MERGE,
	LOOK,
	NR_OPERATIONS,
};

static const struct {
	const char *what;
	void (*run)(void *context);
	unsigned calls; /* system calls, each with its entry */
} operations[NR_OPERATIONS] = {
	[MAP_NEW] = { "mmap+munmap of one page", map_new, 2 },
	[MAP_PLACED] = { "mmap+munmap of one page, placed by itself", map_placed, 2 },
	[MAP_EXTEND] = { "mmap that extends a neighbour, munmap", map_extend, 2 },
	[SPLIT_MERGE] = { "mprotect of the middle page and back", split_merge, 2 },
	[LOOK] = { "lookup (mincore of one page)", look, 1 },
};

#define ENTRY NR_OPERATIONS /* what the host can be asked for beside them */

/* ---- making it --------------------------------------------------------------------------------------------- */

/* Slots in random order: neither objects nor tree nodes lie as the addresses do. */
static uint32_t *random_order(uint64_t n)
{
	uint32_t *order = bench_must(calloc(n, sizeof(*order)));
	struct bench_random random = { n };

	for (uint32_t i = 0; i < n; i++) {
		uint32_t j = (uint32_t)bench_below(&random, i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	return order;
}

static void populate(struct space *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t addr = s->base + s->order[i] * SLOT;

		s->calls->map(s, addr, VMA_PAGES);
		for (uint64_t page = 0; s->written && page < VMA_PAGES; page++)
			s->calls->write(s, addr + page * PAGE);
	}
}

static void ours_open(struct space *s)
{
	const struct sim_config config = {
		.core = { .max_map_count = (uint32_t)s->n + SPARE_VMAS },
		.contents = SIM_STAMPS,
	};

	s->calls = &ours_calls;
	s->base = OURS_BASE;
	ours_failed("making a machine", sim_create(&s->sim, &config));
	ours_failed("making a process", sim_proc_create(s->sim, NULL, &s->proc));
	s->mm = sim_mm(s->proc);
	populate(s);
}

/* => nothing is allocated from here on: it would lie where the slots are to be. */
static int kernel_open(struct space *s)
{
	void *room = mmap(NULL, s->n * SLOT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			  -1, 0);

	if (room == MAP_FAILED || munmap(room, s->n * SLOT))
		return errno;
	s->calls = &kernel_calls;
	s->base = (uint64_t)(uintptr_t)room;
	populate(s);
	return 0;
}

struct kernel_space {
	const struct bench *bench;
	struct space space;
};

static int kernel_space_open(void *context)
{
	struct kernel_space *k = context;

	return kernel_open(&k->space);
}

static void kernel_sample(void *context, int which, double figures[HOST_FIGURES])
{
	struct kernel_space *k = context;

	figures[0] =
		bench_time(k->bench, which == ENTRY ? enter : operations[which].run, &k->space);
}

static struct host *kernel_start(struct bench *b, struct kernel_space *k)
{
	const struct host_side side = { b->work->name, kernel_space_open, kernel_sample, k };
	uint64_t limit;

	if (host_allow_vmas(k->space.n + SPARE_VMAS, &limit))
		return host_start(b, &side);
	bench_skip(b, "%s: the host, which allows %llu VMAs (vm.max_map_count; root can raise it)",
		   b->work->name, (unsigned long long)limit);
	return NULL;
}

/* ---- the rows ---------------------------------------------------------------------------------------------- */

struct row {
	struct bench_row *row;
	struct bench_series *host, *less;
};

static void make_rows(struct bench *b, struct row rows[NR_OPERATIONS])
{
	for (int op = 0; op < NR_OPERATIONS; op++) {
		struct row *r = &rows[op];

		r->row = bench_row(b, BENCH_NS, "%s", operations[op].what);
		r->host = bench_against(r->row, "host");
		r->less = bench_against(r->row, "host, less entry");
	}
}

static void sample_host(struct host *host, struct bench_series *entry,
			struct row rows[NR_OPERATIONS])
{
	double in_and_out = host_sample(host, ENTRY, NULL);

	bench_add(entry, in_and_out);
	for (int op = 0; op < NR_OPERATIONS; op++) {
		double ns = host_sample(host, op, NULL);

		bench_add(rows[op].host, ns);
		bench_add(rows[op].less, ns - operations[op].calls * in_and_out);
	}
}

/* What 100,000 VMAs cost more than 10, if both have been asked for. */
static void bar_growth(struct bench *b, uint64_t n, const struct row rows[NR_OPERATIONS])
{
	static const int promised[] = { MAP_NEW, SPLIT_MERGE };
	static double with_ten[NR_OPERATIONS];

	for (size_t i = 0; i < 2; i++) {
		int op = promised[i];
		double ns = bench_median(&rows[op].row->ours);

		if (n == 10)
			with_ten[op] = ns;
		if (n == 100000 && with_ten[op] > 0)
			bench_bar(b, AT_MOST, ns - with_ten[op], 500, " ns",
				  "%s: 100,000 VMAs cost more than 10 by", operations[op].what);
	}
}

static void bars(struct bench *b, uint64_t n, const struct row rows[NR_OPERATIONS])
{
	static const int promised[] = { MAP_NEW, SPLIT_MERGE };

	for (size_t i = 0; i < 2; i++) {
		const struct row *r = &rows[promised[i]];

		bench_bar(b, AT_LEAST, bench_ratio(r->row, r->less), n > 1000 ? 4 : 10, "x",
			  "%s: %s against the host", b->work->name, r->row->what);
	}
	bar_growth(b, n, rows);
}

static void measure(struct bench *b, uint64_t n, bool written)
{
	uint32_t *order = random_order(n);
	struct space ours = { .n = n, .order = order, .written = written, .random = { n } };
	struct kernel_space kernel = { b, ours };
	struct host *host = kernel_start(b, &kernel);
	struct row rows[NR_OPERATIONS];
	struct bench_row *find_row, *entry_row;
	struct bench_series *entry;

	ours_open(&ours);
	make_rows(b, rows);
	find_row = bench_row(b, BENCH_NS, "the lookup alone");
	entry_row = bench_row(b, BENCH_NS, "entry of one system call (getppid)");
	entry = bench_against(entry_row, "host");
	while (bench_round(b)) {
		for (int op = 0; op < NR_OPERATIONS; op++)
			bench_add(&rows[op].row->ours, bench_time(b, operations[op].run, &ours));
		bench_add(&find_row->ours, bench_time(b, find, &ours));
		if (host)
			sample_host(host, entry, rows);
	}
	if (!written)
		bars(b, n, rows);
	host_stop(host);
	free(order);
	if (sim_destroy(ours.sim))
		bench_die("the core has lost something");
}

static void empty_vmas(struct bench *b, const struct bench_work *work)
{
	measure(b, work->size, false);
}

static void written_vmas(struct bench *b, const struct bench_work *work)
{
	measure(b, work->size, true);
}

const struct bench_work bench_vma[] = {
	{ "vma-10", "one VMA among 10, picked at random", empty_vmas, 10 },
	{ "vma-1000", "one VMA among 1,000", empty_vmas, 1000 },
	{ "vma-100000", "one VMA among 100,000", empty_vmas, 100000 },
	{ "vma-written-1000", "one VMA among 1,000, all pages present", written_vmas, 1000 },
	{ NULL, NULL, NULL, 0 },
};
