/* SPDX-License-Identifier: MIT */
/*
 * bench.h - `anonvm bench`: what the core costs, beside the kernel beneath it and what the machine can do at best.
 *
 * A *work* is what --only chooses. It prepares all sides, adds rows to the table, and goes round: in each round every
 * side gives one sample to each row, so that whatever else the machine does meanwhile hits all of them alike.
 *
 *	static void run(struct bench *b, const struct bench_work *work)
 *	{
 *		struct bench_row *row = bench_row(b, BENCH_NS, "fork of %llu pages", work->size);
 *		struct bench_series *host = bench_against(row, "host");
 *
 *		while (bench_round(b)) {
 *			bench_add(&row->ours, ...);
 *			bench_add(host, ...);
 *		}
 *		bench_bar(b, AT_LEAST, bench_ratio(row, host), 5, "x", "fork against the host's");
 *	}
 *
 *	const struct bench_work bench_example[] = {
 *		{ "fork-64m", "fork with 64 MiB resident", run, 16384 },
 *		{ 0 },
 *	};
 *
 * and a line in `works` of bench.c. Rows belong to the run and stay until its end. What cannot be had (a right, memory)
 * is said with bench_skip(); the row prints what there is.
 */
#ifndef ANONVM_BENCH_H
#define ANONVM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "avm_arch.h"
#include "sim.h"

enum bench_unit {
	BENCH_NS,
	BENCH_BYTES,
	BENCH_COUNT, /* of objects, visits ...: fewer are better */
	BENCH_RATE, /* per second: more are better */
};

/* One figure, measured again and again. */
struct bench_series {
	const char *what; /* who it is of: "host", "limit: clearing 4 KiB" */
	double *samples;
	unsigned n, room;
	bool limit; /* what nobody can do better than */
};

#define BENCH_MAX_AGAINST 4

struct bench_row {
	struct bench_row *next;
	char *what;
	enum bench_unit unit;
	struct bench_series ours; /* no samples: only the others are of interest */
	struct bench_series against[BENCH_MAX_AGAINST];
	unsigned nr_against;
	const struct bench_work *work;
};

enum bench_bar_kind {
	AT_LEAST,
	AT_MOST,
};

/* A promise about a figure. */
struct bench_bar {
	struct bench_bar *next;
	char *what;
	enum bench_bar_kind kind;
	double value; /* NAN: could not be measured */
	double limit;
	const char *unit; /* "x", " ns" */
};

struct bench_note {
	struct bench_note *next;
	char *text;
};

struct bench {
	unsigned repeat;
	bool quick; /* short samples: to see that it works */
	bool progress;
	double sample_seconds; /* how long one sample of bench_time() should be */

	const struct bench_work *work; /* being run */
	unsigned round;

	struct bench_row *rows, **rows_end;
	struct bench_bar *bars, **bars_end;
	struct bench_note *skipped, **skipped_end;
};

struct bench_work {
	const char *name; /* for --only; NULL ends a table */
	const char *what;
	void (*run)(struct bench *b, const struct bench_work *work);
	uint64_t size; /* pages, VMAs, processes: the work's own */
};

/* One table for each bench_NAME.c. */
extern const struct bench_work bench_vma[];
extern const struct bench_work bench_fault[];
extern const struct bench_work bench_fork[];
extern const struct bench_work bench_metadata[];
extern const struct bench_work bench_families[];
extern const struct bench_work bench_replay[];

/* ---- rows, bars (bench_rows.c) ------------------------------------------------------------------------- */

struct bench_row *bench_row(struct bench *b, enum bench_unit unit, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* An opponent. `what` is kept, not copied. */
struct bench_series *bench_against(struct bench_row *row, const char *what);

/* ... that can be reached, but not beaten: not to beat it is not to be slower. */
struct bench_series *bench_limit(struct bench_row *row, const char *what);

/* A sample that is NAN is none. */
void bench_add(struct bench_series *s, double sample);

/* True for each round that is to be done; shows progress. */
bool bench_round(struct bench *b);

/* How much better ours is than `against`: above 1 it is. NAN if one of them has no samples. */
double bench_ratio(const struct bench_row *row, const struct bench_series *against);

/* `unit` is kept, not copied. */
void bench_bar(struct bench *b, enum bench_bar_kind kind, double value, double limit,
	       const char *unit, const char *format, ...) __attribute__((format(printf, 6, 7)));
bool bench_bar_met(const struct bench_bar *bar);

/* What was left out, and why. */
void bench_skip(struct bench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

void bench_free(struct bench *b);

/* The median of the samples, the smallest and the largest; NAN without samples. */
double bench_median(const struct bench_series *s);
double bench_min(const struct bench_series *s);
double bench_max(const struct bench_series *s);

/* ---- time (time.c) ------------------------------------------------------------------------------------- */

/*
 * Nanoseconds that this thread has been on a CPU: what others do meanwhile does not count. Reading it is a system call:
 * for stretches of microseconds and more.
 */
double bench_cpu_ns(void);

/* Nanoseconds of one call of op(context), by as many calls as make a sample. */
double bench_time(const struct bench *b, void (*op)(void *context), void *context);

/* ---- the core (core.c) -------------------------------------------------------------------------------------- */

struct core {
	struct sim *sim;
	struct sim_proc *proc;
	struct avm_mm *mm;
};

void core_open(struct core *c, const struct sim_config *config);
void core_close(struct core *c); /* everything must be given back */

/* Ends the program if err is negative. */
void core_ok(const char *what, int err);

/* Private, anonymous, to be written; addr 0: wherever there is room. */
avm_addr_t core_map(struct avm_mm *mm, avm_addr_t addr, uint64_t pages);

/* A write fault. And one for each of `pages` that lie `stride` pages apart, in nanoseconds. */
void core_write(struct avm_mm *mm, avm_addr_t addr);
double core_write_pages(struct avm_mm *mm, avm_addr_t addr, uint64_t pages, uint64_t stride);

/* How often it has happened so far: does a work do what it says? */
uint64_t core_event(const struct core *c, enum avm_event e);

/* ---- the kernel beneath (host.c) -------------------------------------------------------------------------- */

#define HOST_FIGURES 4

/* What a child process does: open() once, then sample() whenever it is asked. It has no huge pages. */
struct host_side {
	const char *name; /* for messages */
	int (*open)(void *context); /* 0 or an errno; NULL: nothing to open */
	/* Fills in figures of its own choice. `which` is the asker's. */
	void (*sample)(void *context, int which, double figures[HOST_FIGURES]);
	void *context; /* copied with the process: what the child changes nobody sees */
};

struct host;

/* NULL: it could not be opened, which is said with bench_skip(). */
struct host *host_start(struct bench *b, const struct host_side *side);

/*
 * Asks for sample `which`. The first figure is returned, all of them are in figures[], unless that is NULL. NAN, and a
 * bench_skip(), when the process has died.
 */
double host_sample(struct host *h, int which, double figures[HOST_FIGURES]);

/* NULL: nothing. */
void host_stop(struct host *h);

/*
 * Lets a process have so many VMAs, until the end of this program, however it ends. False: it may not; `*limit` is how
 * many it can have.
 */
bool host_allow_vmas(uint64_t vmas, uint64_t *limit);

/* ---- others --------------------------------------------------------------------------------------------- */

/* Prints a message and ends the program with status 1. */
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The pointer, or the end of the program. */
void *bench_must(void *p);

/* A sequence that looks random and is the same each time. */
struct bench_random {
	uint64_t state;
};
uint64_t bench_below(struct bench_random *r, uint64_t n);

/* What the figures are of: a line each. */
void bench_cpu_model(char *buf, size_t size);
void bench_kernel(char *buf, size_t size);

/* ---- reports (bench_print.c, bench_json.c) ------------------------------------------------------------------- */

/* The head of the table; each row, as it is there; bars and what was skipped. */
void bench_print_head(const struct bench *b, FILE *f);
void bench_print_rows(const struct bench *b, const struct bench_work *work, FILE *f);
void bench_print_end(const struct bench *b, FILE *f);

/* 0, or -1: it could not be written, or this is a build without JSON. */
int bench_json(const struct bench *b, FILE *f);
bool bench_has_json(void);

#endif
