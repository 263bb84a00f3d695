/* SPDX-License-Identifier: MIT */
/*
 * families.h - what families of forks cost: shapes, and who is measured on them.
 *
 * A shape is a set of processes that have come from one by fork. Each has the same VMAs at the same places, and has
 * written to each page of them, so that it has pages, and anon_vmas, of its own. bench_families.c has the list and
 * prints; families_core.c and families_host.c build the shapes, from processes of the simulated machine and of the host.
 */
#ifndef BENCH_FAMILIES_H
#define BENCH_FAMILIES_H

#include <stdbool.h>
#include <stdint.h>

#include "anonvm/machine.h"

enum form {
	FORM_STAR, /* one parent, `size` children */
	FORM_RELAY, /* each process forks the next and exits; the last of `size` is there */
	FORM_CHAIN, /* each forks the next and stays; `size` are there */
	FORM_TREE, /* each has two children, `size` levels below the first */
};

struct shape {
	const char *name;
	enum form form;
	unsigned size;
	unsigned vmas; /* of each process, apart from each other */
	unsigned pages; /* of each VMA */
};

unsigned shape_processes(const struct shape *s); /* ever */
unsigned shape_alive(const struct shape *s); /* at the end */

/* Medians of runs, in ns. */
struct spread {
	double median, min, max;
	unsigned runs;
};

/* Of forms that have a depth: fork and exit of one more, when so many generations have been. */
struct point {
	unsigned depth;
	double entries; /* AVCs of the process that forks, in all its VMAs; core only */
	struct spread leaf;
};
#define MAX_POINTS 6

/* The depth of point i; 0: there is none. */
unsigned shape_point(const struct shape *s, unsigned i);

/* Reverse walks of some pages; how many (VMA, address) pairs they looked at, and how many mapped the page. */
struct walks {
	uint64_t walks, visited, mapped;
	double ns; /* of the whole operation, for each page */
};

struct figures {
	char skipped[160]; /* why there are none */
	char note[160];
	unsigned processes; /* when it was counted */
	bool counted;
	double avcs, anon_vmas, bytes;
	double avcs_base, anon_vmas_base; /* host: of processes without those VMAs; taken off from the above */
	double drift; /* host: AVCs that the rest of the system has won or lost meanwhile */
	struct spread leaf; /* one more process: fork and exit */
	struct spread alone; /* the same by a process with the same VMAs and pages, and no family */
	struct spread leaf_base, alone_base; /* host: without those VMAs */
	struct point points[MAX_POINTS];
	unsigned nr_points;
	struct walks migrate, page_out, shrink; /* core only */
};

/* ---- measuring ---------------------------------------------------------------------------------------- */

/* Calls `op` several times, for `seconds` or so, and at least five times. */
double now_ns(void);

struct spread spread_of(void (*op)(void *context), void *context, double seconds);

void families_core(const struct shape *s, enum avm_family_policy policy, struct figures *f);

/* In processes of its own, which are gone when it returns, whatever happens. */
void families_host(const struct shape *s, struct figures *f);

/* What such a process runs, which is this program anew: main() comes here when argv[1] is FAMILIES_HOST_ARG. */
#define FAMILIES_HOST_ARG "--families-host"
int families_host_main(int argc, char **argv);

#endif
