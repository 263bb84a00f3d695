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

#ifdef AVM_LOCKS_OUT
#define LOCKS false
#else
#define LOCKS true
#endif

enum layout {
	ONE_VMA,
	TWO_VMAS,
	TWO_SPACES,
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

static double of_core(enum layout layout, unsigned n, enum sim_contents contents)
{
	const struct sim_config config = { .core = { .cpus = 4 },
					   .frames = 4 * PAGES,
					   .contents = contents,
					   .no_tlb = true };
	struct runner runners[2];
	struct sim_proc *p[2];
	struct sim *s;
	double rate;

	if (sim_create(&s, &config) || sim_proc_create(s, NULL, &p[0]) ||
	    sim_proc_create(s, NULL, &p[1]))
		abort();
	for (unsigned i = 0; i < n; i++) {
		struct avm_mm *mm = sim_mm(p[layout == TWO_SPACES ? i : 0]);
		avm_addr_t at = BASE + i * PAGES * PAGE;

		map(mm, at, PAGES,
		    AVM_PROT_READ | AVM_PROT_WRITE | (apart(layout, i) ? AVM_PROT_EXEC : 0));
		runners[i] = (struct runner){ .s = s, .mm = mm, .at = at };
	}
	rate = race(runners, n);
	if (sim_destroy(s))
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

static const char *const layouts[NR_LAYOUTS] = { "one VMA", "two VMAs", "two address spaces" };

static void row(const char *who, const char *what, double rate, double one)
{
	printf("%-22s %-32s %10.0f faults/s", who, what, rate);
	if (one > 0)
		printf(" %6.2f times", rate / one);
	printf("\n");
}

static void core_rows(const char *who, enum sim_contents contents)
{
	double one = of_core(TWO_SPACES, 1, contents);
	char what[40];

	row(who, "one thread", one, 0);
	for (unsigned i = 0; i < NR_LAYOUTS; i++) {
		snprintf(what, sizeof(what), "two threads, %s", layouts[i]);
		row(who, what, of_core((enum layout)i, 2, contents), one);
	}
}

static void host_rows(void)
{
	double one = of_host(ONE_VMA, 1);

	row("host", "one thread", one, 0);
	row("host", "two threads, one VMA", of_host(ONE_VMA, 2), one);
	row("host", "two threads, two VMAs", of_host(TWO_VMAS, 2), one);
}

int main(void)
{
	if (!LOCKS) {
		row("core without contents", "one thread, without locks",
		    of_core(TWO_SPACES, 1, SIM_STAMPS), 0);
		return 0;
	}
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* the core has no huge pages */
	core_rows("core", SIM_BYTES);
	host_rows();
	core_rows("core without contents", SIM_STAMPS);
	return 0;
}
