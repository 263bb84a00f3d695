/* SPDX-License-Identifier: MIT */
/*
 * scale.c - what two threads that fault get done, beside one: in one VMA, in two of one address space, in two address
 * spaces; with frames that have contents, which each fault has to clear, and without, which is the core alone; and the
 * same of the host. `anonvm stress --scale` runs it; built a second time without locks (AVM_LOCKS_OUT), it says what they
 * cost.
 *
 * A turn writes to each page of a range once, and empties the range; only the writes are timed. Threads begin a turn
 * together, and it is over when the last is through.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "anonvm/anonvm.h"
#include "threads.h"

#define PAGE UINT64_C(4096)
#define PAGES UINT64_C(4096) /* of a thread: eight page tables */
#define BASE UINT64_C(0x40000000)
#define TURNS 15
#define ROUNDS 7

#ifdef AVM_LOCKS_OUT
#define LOCKS false
#else
#define LOCKS true
#endif

enum layout {
	ONE_VMA,
	TWO_VMAS,
	TWO_SPACES,
	TWO_MACHINES, /* that share nothing: what this computer can do at best */
	NR_LAYOUTS,
};

struct runner {
	struct sim *s; /* NULL: the host */
	struct avm_mm *mm;
	avm_addr_t at;
	pthread_barrier_t *start;
	double begin[TURNS], end[TURNS];
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void write_all(const struct runner *r)
{
	for (uint64_t i = 0; i < PAGES; i++) {
		if (r->s)
			avm_fault(r->mm, r->at + i * PAGE, AVM_ACCESS_WRITE, NULL);
		else
			*(volatile char *)(uintptr_t)(r->at + i * PAGE) = 1;
	}
}

static void empty(const struct runner *r)
{
	if (r->s)
		avm_madvise(r->mm, r->at, PAGES * PAGE, AVM_MADV_DONTNEED);
	else
		madvise((void *)(uintptr_t)r->at, PAGES * PAGE, MADV_DONTNEED);
}

static void *run(void *argument)
{
	struct runner *r = argument;

	for (unsigned turn = 0; turn < TURNS; turn++) {
		pthread_barrier_wait(r->start);
		r->begin[turn] = now();
		write_all(r);
		r->end[turn] = now();
		pthread_barrier_wait(r->start);
		empty(r);
	}
	if (r->s)
		smp_leave(r->s);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of the median turn, from the first that begins to the last that is through. */
static double faults_per_second(const struct runner *r, unsigned n)
{
	double took[TURNS];

	for (unsigned turn = 0; turn < TURNS; turn++) {
		double begin = r[0].begin[turn], end = r[0].end[turn];

		if (n > 1 && r[1].begin[turn] < begin)
			begin = r[1].begin[turn];
		if (n > 1 && r[1].end[turn] > end)
			end = r[1].end[turn];
		took[turn] = end - begin;
	}
	qsort(took, TURNS, sizeof(*took), by_size);
	return n * (double)PAGES / took[TURNS / 2];
}

static avm_addr_t map(struct avm_mm *mm, avm_addr_t at, uint64_t pages, uint32_t prot)
{
	const struct avm_mmap args = { .addr = at,
				       .len = pages * PAGE,
				       .prot = prot,
				       .flags = AVM_MAP_FIXED | AVM_MAP_PRIVATE |
						AVM_MAP_ANONYMOUS };
	avm_addr_t out;

	if (avm_mmap(mm, &args, &out))
		abort();
	return at;
}

/* Runs as many threads as there are runners, and says what they got done. */
static double race(struct runner *runners, unsigned n)
{
	pthread_barrier_t start;
	pthread_t threads[2];

	pthread_barrier_init(&start, NULL, n);
	for (unsigned i = 0; i < n; i++) {
		runners[i].start = &start;
		if (pthread_create(&threads[i], NULL, run, &runners[i]))
			abort();
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start);
	return faults_per_second(runners, n);
}

/* Neighbours become one VMA, unless one of them is executable. */
static bool apart(enum layout layout, unsigned i)
{
	return layout == TWO_VMAS && i;
}

static struct sim *machine_of(enum sim_contents contents, struct sim_proc **p)
{
	const struct sim_config config = { .core = { .cpus = 4 },
					   .frames = 64 * PAGES,
					   .contents = contents,
					   .no_tlb = true };
	struct sim *s;

	if (sim_create(&s, &config) || sim_proc_create(s, NULL, &p[0]) ||
	    sim_proc_create(s, NULL, &p[1]))
		abort();
	return s;
}

static double of_core(enum layout layout, unsigned n, enum sim_contents contents)
{
	struct runner runners[2];
	struct sim_proc *p[2][2];
	struct sim *s[2];
	double rate;

	for (unsigned i = 0; i < 2; i++)
		s[i] = machine_of(contents, p[i]);
	for (unsigned i = 0; i < n; i++) {
		unsigned on = layout == TWO_MACHINES ? i : 0;
		struct avm_mm *mm = sim_mm(p[on][layout == TWO_SPACES ? i : 0]);
		avm_addr_t at = BASE + i * PAGES * PAGE;

		map(mm, at, PAGES,
		    AVM_PROT_READ | AVM_PROT_WRITE | (apart(layout, i) ? AVM_PROT_EXEC : 0));
		runners[i] = (struct runner){ .s = s[on], .mm = mm, .at = at };
	}
	rate = race(runners, n);
	for (unsigned i = 0; i < 2; i++)
		if (sim_destroy(s[i]))
			abort();
	return rate;
}

/* In one process: two address spaces are the same to the host as to us, and not asked for. */
static double of_host(enum layout layout, unsigned n)
{
	struct runner runners[2];
	char *at = mmap(NULL, 2 * PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	double rate;

	if (at == MAP_FAILED)
		abort();
	if (apart(layout, 1) &&
	    mprotect(at + PAGES * PAGE, PAGES * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC))
		abort();
	for (unsigned i = 0; i < n; i++)
		runners[i] = (struct runner){ .at = (avm_addr_t)(uintptr_t)at + i * PAGES * PAGE };
	rate = race(runners, n);
	munmap(at, 2 * PAGES * PAGE);
	return rate;
}

/* ---- rows: what is compared takes turns, so that what else the machine does hits all alike --------------------------------- */

struct row {
	const char *what;
	enum layout layout;
	unsigned threads;
	double rates[ROUNDS];
};

static double middle(struct row *r)
{
	qsort(r->rates, ROUNDS, sizeof(*r->rates), by_size);
	return r->rates[ROUNDS / 2];
}

/* `contents`: of the core's frames; the host has its own. */
static void print_rows(const char *who, bool host, enum sim_contents contents, struct row *rows,
		       unsigned n)
{
	double one = 0;

	for (unsigned round = 0; round < ROUNDS; round++)
		for (struct row *r = rows; r < rows + n; r++)
			r->rates[round] = host ? of_host(r->layout, r->threads) :
						 of_core(r->layout, r->threads, contents);
	for (struct row *r = rows; r < rows + n; r++) {
		double rate = middle(r);

		printf("%-22s %-32s %10.0f faults/s", who, r->what, rate);
		if (r == rows)
			one = rate;
		else
			printf(" %6.2f times", rate / one);
		printf("\n");
	}
}

int main(void)
{
	struct row rows[] = {
		{ "one thread", TWO_SPACES, 1, { 0 } },
		{ "two threads, one VMA", ONE_VMA, 2, { 0 } },
		{ "two threads, two VMAs", TWO_VMAS, 2, { 0 } },
		{ "two threads, two address spaces", TWO_SPACES, 2, { 0 } },
		{ "two threads, two machines", TWO_MACHINES, 2, { 0 } },
	};

	if (!LOCKS) {
		rows[0].what = "one thread, without locks";
		print_rows("core without contents", false, SIM_STAMPS, rows, 1);
		return 0;
	}
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* the core has no huge pages */
	print_rows("core", false, SIM_BYTES, rows, 5);
	print_rows("host", true, SIM_BYTES, rows, 3);
	print_rows("core without contents", false, SIM_STAMPS, rows, 5);
	return 0;
}
