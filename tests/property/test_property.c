/* SPDX-License-Identifier: MIT */
/*
 * test_property.c - random programs against the oracle, the invariants and the model of boundaries.
 *
 *	test_property [--seed N] [--ops N] [--program SEED [--print]]
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
	struct rng r = { seed ^ 0xbadc0de };

	return rng_below(&r, 4) ? 200 + rng_below(&r, 1000) : 1000 + rng_below(&r, OPS_MAX - 1000);
}

static void take_ops(struct program *pr, size_t n)
{
	pr->n = pr->room = n;
	pr->ops = calloc(n + 1, sizeof(*pr->ops));
	if (!pr->ops)
		exit(2);
	memcpy(pr->ops, program_outcome()->ops, n * sizeof(*pr->ops));
}

static void report(struct program *pr, enum check check, uint64_t ops)
{
	char what[512];

	memcpy(what, program_outcome()->what, sizeof(what));
	take_ops(pr, program_outcome()->n);
	fprintf(stderr, "program %llu, operation %zu (%llu in all): %s: %s\n",
		(unsigned long long)pr->seed, program_outcome()->at, (unsigned long long)ops,
		check_name(check), what);
	program_shrink(pr, check, stderr);
	program_run(pr, NULL, what);
	for (size_t i = 0; i < pr->n; i++)
		pr->ops[i].expect = program_outcome()->ops[i].expect;
	printf("# %s: %s\n", check_name(check), what);
	printf("# again: test_property --program %llu\n", (unsigned long long)pr->seed);
	program_print(pr, program_outcome()->claim, stdout);
	program_free(pr);
}

struct options {
	uint64_t seed, ops;
	uint64_t program;
	bool one, print;
};

static int print_whole(uint64_t seed)
{
	struct program pr;

	program_init(&pr, seed);
	program_run_apart(&pr, program_length(seed), false);
	take_ops(&pr, program_outcome()->n);
	program_print(&pr, "", stdout);
	program_free(&pr);
	return 0;
}

static bool run_program(uint64_t seed, uint64_t *ops, uint64_t *injected)
{
	struct program pr;
	enum check check;
	size_t n = program_length(seed);

	program_init(&pr, seed);
	check = program_run_apart(&pr, n, false);
	*ops += program_outcome()->n;
	*injected += program_outcome()->injected;
	if (check)
		report(&pr, check, *ops);
	return !check;
}

static int run_all(const struct options *o)
{
	uint64_t ops = 0, injected = 0, programs = 0;
	struct rng r = { o->seed };
	struct timespec start, end;
	double seconds;
	bool good = true;

	clock_gettime(CLOCK_MONOTONIC, &start);
	if (o->one) {
		good = run_program(o->program, &ops, &injected);
		programs = 1;
	}
	while (!o->one && good && ops < o->ops) {
		good = run_program(rng_next(&r) >> 16, &ops, &injected);
		programs++;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
	printf("# seed %llu: %llu operations in %llu programs, %llu with a failed allocation, %.1f s: %s\n",
	       (unsigned long long)o->seed, (unsigned long long)ops, (unsigned long long)programs,
	       (unsigned long long)injected, seconds, good ? "good" : "FAILED");
	return good ? 0 : 1;
}

static bool parse(int argc, char **argv, struct options *o)
{
	const char *ops = getenv("AVM_PROPERTY_OPS");

	*o = (struct options){ .seed = 1, .ops = ops && *ops ? strtoull(ops, NULL, 0) : 100000 };
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

int main(int argc, char **argv)
{
	struct options o;

	if (!parse(argc, argv, &o)) {
		fprintf(stderr,
			"usage: test_property [--seed N] [--ops N] [--program SEED [--print]]\n");
		return 2;
	}
	return o.print ? print_whole(o.program) : run_all(&o);
}
