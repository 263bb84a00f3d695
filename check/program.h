/* SPDX-License-Identifier: MIT */
/*
 * program.h - small programs of several threads: what `anonvm check` runs under its schedules.
 *
 * One thread sets a state up, alone; then two or three do a few operations each at the same time, on up to four address
 * spaces of sixteen pages; then the machine is at rest, and everything must hold.
 */
#ifndef ANONVM_CHECK_PROGRAM_H
#define ANONVM_CHECK_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "check.h"

#define PROCS 4u
#define PAGES 16u
#define MAX_SETUP 24u
#define MAX_OPS 6u /* of a thread */

enum op_kind {
	OP_MMAP, /* anonymous; arg: shared; from bit 1 on: enum access */
	OP_MAP_FILE, /* arg: shared; from bit 1 on: its first page in the file, which from 8 on is another file */
	OP_MUNMAP,
	OP_MPROTECT, /* arg: enum access */
	OP_MREMAP, /* arg: page it goes to */
	OP_DONTNEED,
	OP_FREE,
	OP_PAGEOUT,
	OP_MERGEABLE,
	OP_UNMERGEABLE,
	OP_MLOCK,
	OP_MUNLOCK,
	OP_READ,
	OP_WRITE,
	OP_FORK, /* arg: the child */
	OP_EXIT,
	OP_SHRINK, /* arg: pages; of the machine, as all below */
	OP_KSM,
	OP_COMPACT,
	OP_TRUNCATE, /* arg: pages of the file; from 8 on: of the other */
	OP_SWAPOFF,
	OP_SYNC, /* both files */
	OP_PROCESS, /* arg: one that is nobody's child */
	NR_OP_KINDS,
};

enum access {
	ACCESS_R,
	ACCESS_RW,
	ACCESS_NONE,
	ACCESS_RWX,
	NR_ACCESSES
};

struct sim;
struct avm_file;

struct op {
	uint8_t kind, p, page, len, arg;
};

struct program {
	uint64_t seed;
	uint8_t family; /* enum avm_family_policy */
	uint8_t frames; /* memory of the machine */
	uint8_t slots; /* of its swap device; 0: none */
	uint8_t disk; /* files have something behind them, which is read and written */
	uint8_t nr_threads;
	uint8_t nr_setup;
	uint8_t nr_ops[CHECK_THREADS];
	struct op setup[MAX_SETUP];
	struct op ops[CHECK_THREADS][MAX_OPS];
};

struct settings {
	uint8_t threads, ops; /* of each thread */
};

void program_make(struct program *pr, uint64_t seed, const struct settings *s);
void program_print(const struct program *pr, FILE *out);
void op_print(const struct op *op, FILE *out);
unsigned program_size(const struct program *pr); /* operations, those of the set-up too */

/* ---- running --------------------------------------------------------------------------------------------- */

struct result {
	uint32_t points;
	uint32_t thread_points[CHECK_THREADS];
	uint32_t asked[CHECK_THREADS][CHECK_NR_FAILING];
	uint64_t trace;
	int op[CHECK_THREADS]; /* that each thread was at when it ended */
	bool pruned; /* given up: it would have shown what another does */
	bool known; /* it ended as another execution of the program, which was looked at */
	char finding[512]; /* "": none */
};

/* For a report: told of each switch, with the operation that each thread is at. NULL: nobody. */
typedef void run_observer(void *context, unsigned from, unsigned to, const int *op,
			  const void *site);

/*
 * A machine on which the set-up has run (r->finding: or has failed), and any number of executions that begin there. One program
 * is open at a time; `pr` stays until the next.
 */
void program_open(const struct program *pr, struct result *r);
void program_go(struct check *c, struct check_schedule *schedule, struct result *r,
		run_observer *observer, void *context);

/* Of the execution that runs, or was the last: for who looks into it. NULL: there is no such file. */
struct sim *program_machine(void);
struct avm_file *program_file(unsigned i); /* 0 or 1 */

/* One execution, on a machine of its own. What a finding leaves behind is not given back: end the process soon. */
void program_run(struct check *c, const struct program *pr, struct check_schedule *schedule,
		 struct result *r);
void program_run_observed(struct check *c, const struct program *pr,
			  struct check_schedule *schedule, struct result *r, run_observer *observer,
			  void *context);

/*
 * From now on that judge says nothing: V (invariants), content, leak, lock (rules), machine (its other errors); to see what the
 * others are worth. False: there is none of that name.
 */
bool program_without(const char *judge);
/* Is that what it would have said? */
bool program_is_without(const char *finding);

/* ---- campaigns (campaign.c) ----------------------------------------------------------------------------------- */

struct campaign {
	uint64_t seed; /* of the first program */
	uint64_t shard, shards; /* every shards-th program, from this one */
	uint64_t executions; /* in all; 0: no limit */
	uint64_t programs_in_all; /* 0: no limit */
	double seconds; /* 0: no limit */
	int strategy; /* enum check_strategy; -1: a portfolio */
	unsigned bound; /* CHECK_BOUND: preemptions */
	bool all; /* nothing is left out because it is equal to something else */
	struct settings programs;
	bool no_races, no_failures;
	FILE *progress; /* NULL: none */
};

/* What was found, and how to find it again. */
struct finding {
	struct program program;
	struct check_schedule schedule;
	struct result result;
	bool crashed; /* by a signal */
};

struct tally {
	uint64_t executions, programs, points;
	uint64_t exhausted; /* programs of which there is no other execution with so few preemptions */
	uint64_t pruned; /* executions that were given up: another shows what they would have */
	uint64_t failing; /* executions in which something was to fail */
	uint64_t known; /* ended in a state that had been looked at */
	uint64_t trace; /* a hash of all executions in their order */
	uint64_t repeated, diverged; /* run twice, and the second time otherwise */
	double seconds;
};

/* True: something was found. */
bool campaign_run(const struct campaign *g, struct tally *t, struct finding *f);

/* The execution, in a process of its own; a crash is a finding. */
void run_apart(const struct program *pr, struct check_schedule *schedule, struct finding *f);
/*
 * So many executions of the program, with few switches, and with what is to fail in `like`, until one shows something. False: none
 * does.
 */
bool try_apart(const struct program *pr, const struct check_schedule *like, unsigned tries,
	       struct finding *f);
/*
 * Of the program of `f`, with what fails in it: the first of all executions with at most so many preemptions, fewest first, that shows
 * the same failure. False: none does, or others stand before it, or there are too many to go through.
 */
bool search_apart(const struct finding *f, unsigned bound, struct finding *first);
/* Where a thread was stopped that could have gone on, if it has been run since it was read. */
unsigned count_preemptions(const struct check_schedule *s);
/* Is it the same failure, but for numbers? */
bool same_finding(const char *a, const char *b);

/* Smaller programs, fewer switches (shrink.c). */
void finding_shrink(struct finding *f, FILE *progress);

/* The file that holds a finding, and what a person reads (report.c). */
void finding_write(const struct finding *f, FILE *out);
/* NULL: good; else what is wrong, and in which line. */
const char *finding_read(struct finding *f, FILE *in, unsigned *line);
void finding_report(const struct finding *f, FILE *out);
/* Names of functions and lines for the sites in the text. */
void finding_name(struct finding *f);
bool op_parse(const char *text, struct op *op);

/* ---- what operations have in common (commute.c) --------------------------------------------------------------------- */

/* Prints it, as JSON or for people. => exit status */
int commute(bool json);

/* The bugs of lab/gallery, each in a build of its own (gallery.c): from how many seeds, and what their campaigns are. */
struct gallery {
	const char *name; /* or "all" */
	const struct campaign *campaign;
	const char *strategy;
	const char *keep; /* what the first search of each finds, made smaller; NULL: nowhere */
	unsigned seeds;
	bool shrink, json;
	bool one; /* ours: no more than one is meant */
};

/* Prints what each is found by, and how soon. => exit status: 0 each bug is found, and no control */
int gallery(struct gallery *g);

/* One result of several (merge.c). => exit status */
int merge_shards(int n, char **paths);

#endif
