/* SPDX-License-Identifier: MIT */
/* time.c - how long something takes, and the random numbers that choose what is done. */
#include <time.h>

#include "bench.h"

/* By the thread's own clock: on a machine with other work, time on the wall measures that. */
double bench_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double bench_time(const struct bench *b, void (*op)(void *context), void *context)
{
	for (uint64_t calls = 16;; calls *= 2) {
		double begin = bench_cpu_ns(), ns;

		for (uint64_t i = 0; i < calls; i++)
			op(context);
		ns = bench_cpu_ns() - begin;
		/* Shorter ones have only warmed up. */
		if (ns >= b->sample_seconds * 1e9)
			return ns / (double)calls;
	}
}

/* The high half of the product: a division here would be a good part of what is measured. */
uint64_t bench_below(struct bench_random *r, uint64_t n)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (((z ^ z >> 31) >> 32) * n) >> 32;
}
