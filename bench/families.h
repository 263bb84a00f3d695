/* SPDX-License-Identifier: MIT */
/*
 * families.h - what families of forks cost: shapes, and the two sides that build them.
 *
 * A shape is a set of processes that have come from one by fork. Each has the same VMAs at the same places, and has
 * written to each page of them, so that it has pages, and anon_vmas, of its own. bench_families.c has the list, asks
 * and reports; families_core.c builds a shape from processes of the simulated machine, families_host.c from processes
 * of the kernel beneath.
 */
#ifndef BENCH_FAMILIES_H
#define BENCH_FAMILIES_H

#include <stdbool.h>
#include <stdint.h>

#include "anonvm/machine.h"
#include "bench.h"

enum form {
	FORM_STAR, /* the first process forks all others */
	FORM_RELAY, /* each forks the next and exits */
	FORM_CHAIN, /* each forks the next and stays */
	FORM_TREE, /* each forks two, level by level */
};

struct shape {
	const char *name;
	enum form form;
	unsigned processes; /* ever */
	unsigned vmas; /* of each process, apart from each other; 0: none but what a process of the host has anyway */
	unsigned pages; /* of each VMA */
};

/* Of how many at the end. */
static inline unsigned shape_alive(const struct shape *s)
{
	return s->form == FORM_RELAY ? 1 : s->processes;
}

struct counts {
	double avcs, anon_vmas, bytes;
};

/* ---- on the simulated machine ---------------------------------------------------------------------------- */

struct core_family;

/* Ends the program when there is no memory, as everything here. */
struct core_family *core_family_open(const struct shape *s, enum avm_family_policy policy);

/* Until so many processes have been. */
void core_family_grow(struct core_family *f, unsigned processes);

/* One more process, by fork, and its exit: ns. */
double core_family_leaf(const struct bench *b, struct core_family *f);

struct counts core_family_count(struct core_family *f);

/* Reverse walks: how many (VMA, address) pairs they have looked at, and how many of those mapped the page. */
struct walks {
	double visited, mapped;
	double ns; /* of the whole operation, for each page */
};

/* Of some pages, of all processes alike, which `take` takes from everybody: avm_migrate, avm_page_out. */
struct walks core_family_walk(struct core_family *f, int (*take)(struct avm *m, avm_pfn_t pfn));

/* Of reclaim that is asked for so many pages. */
struct walks core_family_shrink(struct core_family *f, unsigned pages);

void core_family_close(struct core_family *f);

/* ---- on the host ------------------------------------------------------------------------------------------ */

struct host_family;

/*
 * In processes of its own, which end when this program does, however it ends. NULL, and a bench_skip(): there are not
 * so many processes, or not so much memory.
 */
struct host_family *host_family_open(struct bench *b, const struct shape *s);

/* fork, _exit and wait of one more: the time that both spend on a CPU. NAN: the processes have died. */
double host_family_leaf(struct host_family *h);

/* What /proc/slabinfo has more than before. NAN: it may not be read. */
struct counts host_family_count(struct host_family *h);

/* Ends all processes. What is left in /proc/slabinfo then is not of this family, but of others meanwhile. */
struct counts host_family_close(struct host_family *h);

#endif
