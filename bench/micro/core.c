/* SPDX-License-Identifier: MIT */
/*
 * What operations of the core cost, beside the system calls of the host that do the same.
 *
 *	core [--ours] [WORD...]		only rows whose names contain one of the words; --ours: without the host
 *
 * Each figure is the median of RUNS repetitions, with the fastest and the slowest; the repetitions of the two sides take
 * turns. The host's figures are without the cost of entering its kernel, which stands in the first row. It is the
 * reference that a user knows, no equal: it flushes a real TLB and crosses a boundary.
 *
 * Ours runs on the simulated machine, which keeps 8 bytes for each frame: contents are neither cleared nor copied.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "avm_arch.h"
#include "sim.h"

#define PAGE ((size_t)4096)
#define RUNS 7
#define BASE UINT64_C(0x100000000000)
#define STRIDE 16 /* pages from one VMA to the next */
#define SIZE 4 /* pages of a VMA */

static _Noreturn void die(const char *why)
{
	fprintf(stderr, "core: %s\n", why);
	exit(1);
}

/* Of this process, kernel included: what others do on the machine meanwhile does not count. */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t seed = 20261128;

static uint64_t random_below(uint64_t n)
{
	uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (((z ^ z >> 31) >> 32) * n) >> 32;
}

/* ---- the two sides --------------------------------------------------------------------------------------- */

static bool with_host = true;
static double entry_cost; /* of the host's kernel, ns */

/* An address space of n VMAs; `proc` NULL: the host's own. */
struct space {
	struct sim *sim;
	struct sim_proc *proc;
	uint64_t n;
	uint64_t stride, size; /* pages */
};

static uint64_t vma_at(const struct space *s, uint64_t i)
{
	return BASE + i * s->stride * PAGE;
}

static void map(const struct space *s, uint64_t addr, size_t len)
{
	const struct avm_mmap args = {
		.addr = addr,
		.len = len,
		.prot = AVM_PROT_READ | AVM_PROT_WRITE,
		.flags = AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS | AVM_MAP_FIXED,
	};
	avm_addr_t out;

	if (s->proc ? avm_mmap(sim_mm(s->proc), &args, &out) != 0 :
		      mmap((void *)addr, len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("mmap");
}

static void unmap(const struct space *s, uint64_t addr, size_t len)
{
	if (s->proc ? avm_munmap(sim_mm(s->proc), addr, len) != 0 : munmap((void *)addr, len) != 0)
		die("munmap");
}

static void protect(const struct space *s, uint64_t addr, size_t len, int prot)
{
	if (s->proc ? avm_mprotect(sim_mm(s->proc), addr, len, (uint32_t)prot) != 0 :
		      mprotect((void *)addr, len, prot) != 0)
		die("mprotect");
}

static void write_to(const struct space *s, uint64_t addr)
{
	if (!s->proc)
		*(volatile char *)addr = 1;
	else if (avm_fault(sim_mm(s->proc), addr, AVM_ACCESS_WRITE, NULL) & AVM_FAULT_ERROR)
		die("fault");
}

static void touch_all(const struct space *s)
{
	for (uint64_t i = 0; i < s->n; i++)
		for (uint64_t page = 0; page < s->size; page++)
			write_to(s, vma_at(s, i) + page * PAGE);
}

static struct space space_ours(uint64_t n, uint64_t stride, uint64_t size, uint64_t frames)
{
	struct space s = { .n = n, .stride = stride, .size = size };
	const struct sim_config config = {
		.core = { .max_map_count = 1u << 20 },
		.frames = frames,
		.contents = SIM_STAMPS,
	};

	if (sim_create(&s.sim, &config) || sim_proc_create(s.sim, NULL, &s.proc))
		die("no machine");
	return s;
}

static struct space space_host(uint64_t n, uint64_t stride, uint64_t size)
{
	return (struct space){ .n = n, .stride = stride, .size = size };
}

/* In random order: then objects do not lie in memory as their addresses do. */
static void populate(const struct space *s)
{
	uint64_t *order = calloc(s->n, sizeof(*order));

	if (!order)
		die("out of memory");
	for (uint64_t i = 0; i < s->n; i++) {
		uint64_t j = random_below(i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	for (uint64_t i = 0; i < s->n; i++)
		map(s, vma_at(s, order[i]), s->size * PAGE);
	free(order);
}

static void space_end(const struct space *s)
{
	if (!s->proc)
		munmap((void *)BASE, s->n * s->stride * PAGE);
	else if (sim_destroy(s->sim))
		die("something is left");
}

/* ---- figures --------------------------------------------------------------------------------------------- */

struct figure {
	double ns[RUNS];
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(struct figure *f)
{
	qsort(f->ns, RUNS, sizeof(f->ns[0]), by_value);
	return f->ns[RUNS / 2];
}

static void print_side(struct figure *f)
{
	double middle = median(f); /* sorts */

	printf(" %10.1f (%.1f .. %.1f)", middle, f->ns[0], f->ns[RUNS - 1]);
}

static void print_row(struct figure *ours, struct figure *host, const char *format, ...)
{
	char name[80];
	va_list args;

	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	printf("%-44s", name);
	print_side(ours);
	if (host && with_host) {
		printf("   host");
		print_side(host);
		printf("   %.1fx", median(host) / median(ours));
	}
	printf("\n");
	fflush(stdout);
}

static void measure_entry(void)
{
	struct figure f;

	for (int run = 0; run < RUNS; run++) {
		double begin = now();

		for (int i = 0; i < 200000; i++)
			(void)syscall(SYS_getppid);
		f.ns[run] = (now() - begin) / 200000;
	}
	entry_cost = median(&f);
	printf("entering the host's kernel: %.1f ns (%.1f .. %.1f)\n", entry_cost, f.ns[0],
	       f.ns[RUNS - 1]);
}

/* ---- one VMA of many ------------------------------------------------------------------------------------- */

static void map_unmap(const struct space *s, uint64_t vma)
{
	uint64_t addr = vma_at(s, vma) + (s->size + 2) * PAGE;

	map(s, addr, PAGE);
	unmap(s, addr, PAGE);
}

static void split_merge(const struct space *s, uint64_t vma)
{
	protect(s, vma_at(s, vma) + PAGE, PAGE, PROT_READ);
	protect(s, vma_at(s, vma) + PAGE, PAGE, PROT_READ | PROT_WRITE);
}

static double repeat(const struct space *s, void (*op)(const struct space *s, uint64_t vma),
		     unsigned times)
{
	double begin = now();

	for (unsigned i = 0; i < times; i++)
		op(s, random_below(s->n));
	return (now() - begin) / times;
}

/* Two calls make one operation. */
static void measure_op(const struct space *ours, const struct space *host, const char *name,
		       void (*op)(const struct space *s, uint64_t vma))
{
	struct figure a, b;

	repeat(ours, op, 20000); /* warm */
	for (int run = 0; run < RUNS; run++) {
		a.ns[run] = repeat(ours, op, 100000);
		b.ns[run] = with_host ? repeat(host, op, 20000) - 2 * entry_cost : 0;
	}
	print_row(&a, &b, "%s, %llu VMAs", name, (unsigned long long)ours->n);
}

static void measure_vmas(uint64_t n)
{
	struct space ours = space_ours(n, STRIDE, SIZE, 1 << 20),
		     host = space_host(n, STRIDE, SIZE);

	populate(&ours);
	if (with_host)
		populate(&host);
	measure_op(&ours, &host, "mmap + munmap", map_unmap);
	measure_op(&ours, &host, "mprotect + back", split_merge);
	touch_all(&ours);
	if (with_host)
		touch_all(&host);
	measure_op(&ours, &host, "  all touched: mmap + munmap", map_unmap);
	measure_op(&ours, &host, "  all touched: mprotect + back", split_merge);
	space_end(&ours);
	if (with_host)
		space_end(&host);
}

/* ---- fork ------------------------------------------------------------------------------------------------ */

/* ns of fork alone; *death: of the child. */
static double fork_once(const struct space *s, double *death)
{
	double begin = now(), forked;

	if (s->proc) {
		struct sim_proc *child;

		if (sim_proc_fork(s->proc, &child))
			die("fork");
		forked = now();
		sim_proc_exit(child);
	} else {
		pid_t child = fork();

		forked = now();
		if (child < 0)
			die("fork");
		if (!child)
			_exit(0);
		if (waitpid(child, NULL, 0) < 0)
			die("waitpid");
	}
	*death = now() - forked;
	return forked - begin;
}

/* `work`: pages or VMAs, what a figure is for one of. */
static void measure_fork(const struct space *ours, const struct space *host, double work,
			 const char *what)
{
	struct figure a[2], b[2], x[2], y[2];

	for (int run = 0; run < RUNS; run++) {
		for (int again = 0; again < 2;
		     again++) { /* after it everything is write-protected */
			a[again].ns[run] = fork_once(ours, &x[again].ns[run]) / work;
			x[again].ns[run] /= work;
			if (!with_host)
				continue;
			b[again].ns[run] = fork_once(host, &y[again].ns[run]) / work;
			y[again].ns[run] /= work;
		}
		touch_all(ours);
		if (with_host)
			touch_all(host);
	}
	print_row(&a[0], &b[0], "fork, %s", what);
	print_row(&a[1], &b[1], "  fork again, nothing written");
	print_row(&x[0], NULL, "  exit of the child");
}

static void measure_fork_pages(void)
{
	uint64_t pages = 1 << 18;
	struct space ours = space_ours(1, pages, pages, 1 << 20),
		     host = space_host(1, pages, pages);

	populate(&ours);
	touch_all(&ours);
	if (with_host) {
		populate(&host);
		touch_all(&host);
	}
	measure_fork(&ours, &host, (double)pages, "1 GiB, a page");
	space_end(&ours);
	if (with_host)
		space_end(&host);
}

static void measure_fork_vmas(void)
{
	uint64_t n = 10000;
	struct space ours = space_ours(n, 2, 1, 1 << 20), host = space_host(n, 2, 1);

	populate(&ours);
	touch_all(&ours);
	if (with_host) {
		populate(&host);
		touch_all(&host);
	}
	measure_fork(&ours, &host, (double)n, "10,000 VMAs of a page, a VMA");
	space_end(&ours);
	if (with_host)
		space_end(&host);
}

/* Each generation writes, forks, and dies. */
static void measure_relay(void)
{
	struct space s = space_ours(10, STRIDE, 64, 1 << 16);
	struct figure first, last;
	uint64_t meta[2] = { 0 };
	unsigned generations = 5000;

	populate(&s);
	touch_all(&s);
	for (unsigned i = 0; i < generations; i++) {
		struct sim_proc *child;
		double begin = now(), ns;

		if (sim_proc_fork(s.proc, &child))
			die("fork");
		ns = now() - begin;
		sim_proc_exit(s.proc);
		s.proc = child;
		touch_all(&s);
		if (i >= 100 && i < 100 + RUNS)
			first.ns[i - 100] = ns;
		if (i >= generations - RUNS)
			last.ns[i - (generations - RUNS)] = ns;
		if (i == 100)
			meta[0] = sim_meta_bytes(s.sim);
	}
	meta[1] = sim_meta_bytes(s.sim);
	print_row(&first, NULL, "relay: fork, generation 100, %llu bytes",
		  (unsigned long long)meta[0]);
	print_row(&last, NULL, "relay: fork, generation %u, %llu bytes", generations,
		  (unsigned long long)meta[1]);
	space_end(&s);
}

/* ---- faults ---------------------------------------------------------------------------------------------- */

/* A whole VMA written: ns a page. */
static double write_vma(const struct space *s)
{
	double begin = now();

	touch_all(s);
	return (now() - begin) / (double)(s->n * s->size);
}

static double cow_host(const struct space *s)
{
	int to_parent[2];
	double ns;
	pid_t child;

	if (pipe(to_parent))
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		ns = write_vma(s);
		_exit(write(to_parent[1], &ns, sizeof(ns)) != sizeof(ns));
	}
	if (read(to_parent[0], &ns, sizeof(ns)) != sizeof(ns))
		die("read");
	waitpid(child, NULL, 0);
	close(to_parent[0]);
	close(to_parent[1]);
	return ns;
}

static double cow_ours(const struct space *s)
{
	struct space child = *s;
	double ns;

	if (sim_proc_fork(s->proc, &child.proc))
		die("fork");
	ns = write_vma(&child);
	sim_proc_exit(child.proc);
	return ns;
}

static void measure_faults(void)
{
	uint64_t pages = 1 << 14;
	struct space ours = space_ours(1, pages, pages, 1 << 17),
		     host = space_host(1, pages, pages);
	struct figure fill[2], cow[2];

	for (int run = -1; run < RUNS; run++) { /* once to warm */
		int i = run < 0 ? 0 : run;

		populate(&ours);
		fill[0].ns[i] = write_vma(&ours);
		cow[0].ns[i] = cow_ours(&ours);
		unmap(&ours, BASE, pages * PAGE);
		if (!with_host)
			continue;
		populate(&host);
		fill[1].ns[i] = write_vma(&host);
		cow[1].ns[i] = cow_host(&host);
		unmap(&host, BASE, pages * PAGE);
	}
	print_row(&fill[0], &fill[1], "anonymous write fault (host: and clearing)");
	print_row(&cow[0], &cow[1], "COW fault (host: and copying)");
	space_end(&ours);
}

static void measure_10(void)
{
	measure_vmas(10);
}

static void measure_1000(void)
{
	measure_vmas(1000);
}

static void measure_100000(void)
{
	measure_vmas(100000);
}

static bool wanted(const char *name, char **words)
{
	if (!*words)
		return true;
	for (; *words; words++)
		if (strstr(name, *words))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*measure)(void);
	} all[] = {
		{ "faults", measure_faults },
		{ "relay", measure_relay },
		{ "vmas-10", measure_10 },
		{ "vmas-1000", measure_1000 },
		{ "vmas-100000", measure_100000 },
		{ "fork-vmas", measure_fork_vmas },
		{ "fork-pages", measure_fork_pages },
	};
	char **words = argv + 1;

	(void)argc;
	if (*words && !strcmp(*words, "--ours")) {
		with_host = false;
		words++;
	}
	/* Pages of 4 KiB, as ours are. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	printf("ns: median (fastest .. slowest) of %d\n", RUNS);
	if (with_host)
		measure_entry();
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (wanted(all[i].name, words))
			all[i].measure();
	return 0;
}
