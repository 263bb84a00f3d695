/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "program.h"
int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], 0, 0) : 1, n = argc > 2 ? strtoull(argv[2], 0, 0) : 100;
	struct check *c = check_new();
	struct settings s = { 0, 0 };
	uint64_t ex = 0, pts = 0;
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (uint64_t k = 0; k < n; k++) {
		struct program pr;
		program_make(&pr, seed + k, &s);
		uint32_t length = 100;
		for (int i = 0; i < 30; i++) {
			struct check_schedule sch = { .strategy = i < 2 ? CHECK_REPLAY : 1 + i % 3, .seed = seed * 1000 + k * 31 + i, .length = length, .first = i % pr.nr_threads };
			sch.rate = sch.strategy == CHECK_WALK ? 2 << (i % 5) : 1 + i % 4;
			struct result r;
			program_run(c, &pr, &sch, &r);
			if (i == 0) length = r.points;
			ex++; pts += r.points;
			if (r.finding[0]) {
				printf("seed %lu schedule %d strategy %d: %s; points %u switches %u\n", (unsigned long)(seed + k), i, sch.strategy, r.finding, r.points, sch.nr_switches);
				program_print(&pr, stdout);
				for (uint32_t q = 0; q < sch.nr_switches && q < 12; q++) printf("T%u at %u -> T%u %p\n", sch.switches[q].thread, sch.switches[q].at, sch.switches[q].to, sch.switches[q].site);
				return 1;
			}
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	double t = b.tv_sec - a.tv_sec + (b.tv_nsec - a.tv_nsec) / 1e9;
	printf("%lu executions, %.0f/s, %.0f points each\n", ex, ex / t, (double)pts / ex);
}
