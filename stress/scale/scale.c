/* SPDX-License-Identifier: MIT */
/*
 * scale.c - what two threads that fault get done, beside one: in one VMA, in two of one address space, in two address
 * spaces. `anonvm stress --scale` runs it; built a second time without locks (AVM_LOCKS_OUT), it says what they cost.
 *
 * A turn writes to each page of a range once, and empties the range; only the writes are timed. Threads begin a turn
 * together, and it is over when the last is through.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "anonvm/anonvm.h"
#include "threads.h"

#define PAGE UINT64_C(4096)
#define PAGES UINT64_C(4096) /* of a thread: eight page tables */
#define BASE UINT64_C(0x40000000)
#define TURNS 15

enum layout {
	ONE_VMA,
	TWO_VMAS,
	TWO_SPACES,
	NR_LAYOUTS,
};

struct runner {
	struct sim *s;
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

static void *run(void *argument)
{
	struct runner *r = argument;

	for (unsigned turn = 0; turn < TURNS; turn++) {
		pthread_barrier_wait(r->start);
		r->begin[turn] = now();
		for (uint64_t i = 0; i < PAGES; i++)
			avm_fault(r->mm, r->at + i * PAGE, AVM_ACCESS_WRITE, NULL);
		r->end[turn] = now();
		pthread_barrier_wait(r->start);
		avm_madvise(r->mm, r->at, PAGES * PAGE, AVM_MADV_DONTNEED);
	}
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

static double measure(enum layout layout, unsigned n)
{
	const struct sim_config config = { .core = { .cpus = 4 },
					   .frames = 4 * PAGES,
					   .contents = SIM_STAMPS,
					   .no_tlb = true };
	struct runner runners[2];
	pthread_barrier_t start;
	pthread_t threads[2];
	struct sim_proc *p[2];
	struct sim *s;
	double rate;

	if (sim_create(&s, &config) || sim_proc_create(s, NULL, &p[0]) ||
	    sim_proc_create(s, NULL, &p[1]))
		abort();
	pthread_barrier_init(&start, NULL, n);
	for (unsigned i = 0; i < n; i++) {
		struct avm_mm *mm = sim_mm(p[layout == TWO_SPACES ? i : 0]);
		avm_addr_t at = BASE + i * PAGES * PAGE;

		/* Neighbours become one VMA, unless one of them is executable. */
		map(mm, at, PAGES,
		    AVM_PROT_READ | AVM_PROT_WRITE | (layout == TWO_VMAS && i ? AVM_PROT_EXEC : 0));
		runners[i] = (struct runner){ .s = s, .mm = mm, .at = at, .start = &start };
	}
	for (unsigned i = 0; i < n; i++) {
		if (pthread_create(&threads[i], NULL, run, &runners[i]))
			abort();
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	rate = faults_per_second(runners, n);
	pthread_barrier_destroy(&start);
	if (sim_destroy(s))
		abort();
	return rate;
}

int main(void)
{
	static const char *const names[NR_LAYOUTS] = { "one VMA", "two VMAs",
						       "two address spaces" };
	double one = measure(TWO_SPACES, 1);

#ifdef AVM_LOCKS_OUT
	printf("%-28s %10.0f faults/s\n", "one thread, without locks", one);
	return 0;
#endif
	printf("%-28s %10.0f faults/s\n", "one thread", one);
	for (unsigned i = 0; i < NR_LAYOUTS; i++) {
		double two = measure((enum layout)i, 2);

		printf("two threads, %-15s %10.0f faults/s %6.2f times\n", names[i], two,
		       two / one);
	}
	return 0;
}
