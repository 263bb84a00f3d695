/* SPDX-License-Identifier: MIT */
/*
 * drive.c - the command line of the tests: many programs, or one.
 *
 *	test_NAME [--seed N] [--ops N] [--program SEED [--print]]
 *
 * --ops (or AVM_PROPERTY_OPS): operations in all. --program runs the one program of that seed, as a failure names
 * it; --print prints it as a script, whole. A program that fails is made smaller and printed; exit status 1.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "program.h"

/* ---- many programs ---------------------------------------------------------------------------------------- */

static size_t program_length(uint64_t seed)
{
	struct rng r = { .state = seed ^ 0xbadc0de };

	return rng_below(&r, 4) ? 200 + rng_below(&r, 1000) : 1000 + rng_below(&r, OPS_MAX - 1000);
}

void program_take_ops(struct program *pr)
{
	size_t n = program_outcome()->n;

	pr->n = pr->room = n;
	pr->ops = calloc(n + 1, sizeof(*pr->ops));
	if (!pr->ops)
		exit(2);
	memcpy(pr->ops, program_outcome()->ops, n * sizeof(*pr->ops));
}

void program_report(struct program *pr, enum check check, const char *again)
{
	char what[512];

	program_take_ops(pr);
	program_shrink(pr, check, stderr);
	program_run(pr, NULL, what);
	for (size_t i = 0; i < pr->n; i++)
		pr->ops[i].expect = program_outcome()->ops[i].expect;
	printf("# %s: %s\n# again: %s\n", check_name(check), what, again);
	program_print(pr, program_outcome()->claim, stdout);
	program_free(pr);
}

static void report(const char *name, struct program *pr, enum check check, uint64_t ops)
{
	char again[64];

	fprintf(stderr, "program %llu, operation %zu (%llu in all): %s: %s\n",
		(unsigned long long)pr->seed, program_outcome()->at, (unsigned long long)ops,
		check_name(check), program_outcome()->what);
	snprintf(again, sizeof(again), "%s --program %llu", name, (unsigned long long)pr->seed);
	program_report(pr, check, again);
}

struct options {
	const char *name;
	enum program_kind kind;
	uint64_t seed, ops;
	uint64_t program;
	bool one, print;
};

static int print_whole(const struct options *o)
{
	struct program pr;

	program_init(&pr, o->program, o->kind);
	program_run_random(&pr, program_length(o->program));
	program_take_ops(&pr);
	program_print(&pr, "", stdout);
	program_free(&pr);
	return 0;
}

struct totals {
	uint64_t ops, injected, insides, programs;
	uint64_t events[AVM_NR_EVENTS];
};

static bool run_program(const struct options *o, uint64_t seed, struct totals *t)
{
	struct program pr;
	enum check check;
	size_t n = program_length(seed);

	program_init(&pr, seed, o->kind);
	check = program_run_random(&pr, n);
	t->programs++;
	t->ops += program_outcome()->n;
	t->injected += program_outcome()->injected;
	t->insides += program_outcome()->insides;
	for (unsigned i = 0; i < AVM_NR_EVENTS; i++)
		t->events[i] += program_outcome()->events[i];
	if (check)
		report(o->name, &pr, check, t->ops);
	return !check;
}

/* What a run of some length under pressure must have met (R11, R8); all of it is harmless. */
static const enum avm_event wanted[] = {
	AVM_EV_COW_COPY,
	AVM_EV_COW_REUSE,
	AVM_EV_DIRECT_RECLAIM,
	AVM_EV_RECLAIMED,
	AVM_EV_ACTIVATED,
	AVM_EV_DEACTIVATED,
	AVM_EV_OOM,
	AVM_EV_SWAP_OUT,
	AVM_EV_SWAP_IN,
	AVM_EV_SWAP_CACHE_HIT,
	AVM_EV_SWAP_WRITE_ERROR,
	AVM_EV_SWAP_READ_ERROR,
	AVM_EV_SWAP_FULL,
	AVM_EV_LAZY_FREED,
	AVM_EV_RACE_ISOLATED,
	AVM_EV_RACE_REDIRTIED,
	AVM_EV_RACE_SWAPIN_ENTRY,
	AVM_EV_RACE_SWAPIN_CACHE,
	AVM_EV_RACE_PAGE_LOCKED,
	AVM_EV_KSM_SCANNED,
	AVM_EV_KSM_MERGED,
	AVM_EV_KSM_BROKEN,
	AVM_EV_MIGRATED,
	AVM_EV_MIGRATE_FAILED,
	AVM_EV_PINNED,
	AVM_EV_EARLY_COPY,
	AVM_EV_POISONED,
	AVM_EV_RACE_KSM_CHANGED,
	AVM_EV_RACE_MIGRATION_WAIT,
};
#define ENOUGH 200000 /* operations, to have met each */

/* False: something has not happened that had to. */
static bool print_events(const struct totals *t)
{
	bool all = true;

	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		uint64_t n = t->events[wanted[i]];

		printf("# %-22s %12llu%s\n", avm_event_name(wanted[i]), (unsigned long long)n,
		       n ? "" : "  never");
		all &= n != 0;
	}
	printf("# %-22s %12llu\n", "in the middle", (unsigned long long)t->insides);
	return all || t->ops < ENOUGH;
}

static bool run_programs(const struct options *o, struct totals *t)
{
	struct rng r = { .state = o->seed };
	bool good = true;

	if (o->one)
		return run_program(o, o->program, t);
	while (good && t->ops < o->ops)
		good = run_program(o, rng_next(&r) >> 16, t);
	return good;
}

static int run_all(const struct options *o)
{
	struct totals t = { 0 };
	struct timespec start, end;
	double seconds;
	bool good;

	clock_gettime(CLOCK_MONOTONIC, &start);
	good = run_programs(o, &t);
	clock_gettime(CLOCK_MONOTONIC, &end);
	seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
	if (o->kind == PROGRAM_PRESSURE && good)
		good = print_events(&t);
	printf("# seed %llu: %llu operations in %llu programs, %llu with a failed allocation, %.1f s, %.0f/s: %s\n",
	       (unsigned long long)o->seed, (unsigned long long)t.ops,
	       (unsigned long long)t.programs, (unsigned long long)t.injected, seconds,
	       (double)t.ops / seconds, good ? "good" : "FAILED");
	return good ? 0 : 1;
}

static bool parse(int argc, char **argv, struct options *o)
{
	const char *ops = getenv("AVM_PROPERTY_OPS");

	o->seed = 1;
	o->ops = ops && *ops ? strtoull(ops, NULL, 0) : 100000;
	for (int i = 1; i < argc; i++) {
		uint64_t n = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;

		if (!strcmp(argv[i], "--print")) {
			o->print = true;
			continue;
		}
		if (i + 1 == argc)
			return false;
		if (!strcmp(argv[i], "--seed"))
			o->seed = n;
		else if (!strcmp(argv[i], "--ops"))
			o->ops = n;
		else if (!strcmp(argv[i], "--program"))
			o->program = n;
		else
			return false;
		o->one |= !strcmp(argv[i], "--program");
		i++;
	}
	return true;
}

int drive(int argc, char **argv, enum program_kind kind)
{
	struct options o = { .kind = kind, .name = "test_property" };

	if (kind == PROGRAM_PRESSURE)
		o.name = "test_pressure";
	if (!parse(argc, argv, &o)) {
		fprintf(stderr, "usage: %s [--seed N] [--ops N] [--program SEED [--print]]\n",
			o.name);
		return 2;
	}
	return o.print ? print_whole(&o) : run_all(&o);
}
