/* SPDX-License-Identifier: MIT */
/*
 * why.h - inside of `anonvm why`: boundaries between VMAs, grouped by what keeps them.
 */
#ifndef ANONVM_TOOL_WHY_H
#define ANONVM_TOOL_WHY_H

#include "replay.h"

#define WHY_BUCKETS 1024

/* Boundaries with one reason, made by one kind of call. */
struct why_group {
	char reason[64];
	char made_by[20];
	uint64_t count;
	uint64_t bytes; /* of the VMAs above the boundaries */
	/* The first: its address, and the line of the trace that made it (0: not known). */
	uint64_t address, line;
	char below[48], above[48]; /* "rw-p heap", "r--p /usr/lib/libc.so.6" */
};

struct why_groups {
	struct why_group *v;
	size_t nr, cap;
	uint64_t total; /* boundaries */
};

/* What is known of one run. */
struct why_run {
	enum avm_family_policy family;
	uint64_t vmas_peak; /* of one address space */
	uint64_t vmas; /* of the one that is told of, at its end */
	uint64_t by_family; /* boundaries that only families keep */
	uint64_t merges;
	uint64_t refused[AVM_NR_REFUSALS];
};

struct why {
	struct replay *replay; /* at work */
	bool all; /* all address spaces, not only the one with the most VMAs */
	struct why_groups now; /* boundaries at the end */
	struct why_groups events; /* refusals while it ran, merged later or not */
	uint64_t best; /* VMAs of the address space that `now` is of */
	uint64_t spaces;
	char comm[64];
	int32_t pid;
	struct why_maps *maps[WHY_BUCKETS]; /* who made the boundaries of each address space */
	struct why_run runs[3];
	unsigned nr_runs;
};

struct why_group *why_group(struct why_groups *g, const char *reason, const char *made_by);
void why_groups_free(struct why_groups *g);
void why_sort(struct why_groups *g); /* the most boundaries first */

/* why_maps.c: the call that last made a boundary at an address. */
struct why_origin {
	uint64_t address, line;
	const char *what; /* NULL: free */
};
void why_maps_note(struct why *w, uint64_t mm_id, uint64_t address, const char *what,
		   uint64_t line);
struct why_origin why_maps_find(const struct why *w, uint64_t mm_id, uint64_t address);
void why_maps_fork(struct why *w, const struct avm_mm *parent, struct avm_mm *child);
void why_maps_drop(struct why *w, uint64_t mm_id);
void why_maps_free(struct why *w);

/* why_report.c */
void why_text(const struct why *w, const struct replay *r, unsigned top);
int why_json(const struct why *w, const struct replay *r, unsigned top);

#endif
