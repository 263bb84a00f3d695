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
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

#define OPS_MAX 4000

/* What a program that runs in a process of its own leaves behind, even if it crashes. */
struct outcome {
	size_t n; /* operations generated */
	size_t at; /* operation that runs */
	enum check failed;
	uint64_t injected;
	char what[512];
	struct op ops[OPS_MAX];
};

static struct outcome *outcome;

static void finish(struct world *w)
{
	world_close(w);
	outcome->injected = w->injected;
	memcpy(outcome->what, w->what, sizeof(w->what));
	outcome->failed = w->failed;
}

static void run_random(const struct program *pr, size_t n)
{
	struct rng r = { pr->seed ^ UINT64_C(0x5deece66d) };
	struct world w;

	world_open(&w, pr);
	for (size_t i = 0; i < n && !w.failed; i++) {
		generate(&r, &w, &outcome->ops[i]);
		outcome->n = i + 1;
		outcome->at = i;
		world_step(&w, &outcome->ops[i]);
		outcome->ops[i].expect = w.expect;
	}
	finish(&w);
}

static void run_fixed(const struct program *pr)
{
	struct world w;

	world_open(&w, pr);
	for (size_t i = 0; i < pr->n && !w.failed; i++) {
		outcome->at = i;
		world_step(&w, &pr->ops[i]);
		outcome->ops[i].expect = w.expect;
	}
	finish(&w);
}

/* Runs one of the two above in a process of its own. n: operations to be made; 0: the program has its own. */
static enum check run_apart(const struct program *pr, size_t n, bool quiet)
{
	int status;
	pid_t pid;

	memset(outcome, 0, offsetof(struct outcome, ops));
	outcome->failed = CHECK_CRASH;
	snprintf(outcome->what, sizeof(outcome->what), "the program ended the process");
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (!pid) {
		if (quiet && !freopen("/dev/null", "w", stderr))
			exit(2);
		alarm(120);
		if (n)
			run_random(pr, n);
		else
			run_fixed(pr);
		exit(0);
	}
	waitpid(pid, &status, 0);
	if ((!WIFEXITED(status) || WEXITSTATUS(status)) && !outcome->failed)
		outcome->failed = CHECK_CRASH;
	return outcome->failed;
}

enum check program_run(const struct program *pr, size_t *at, char *what)
{
	enum check failed = run_apart(pr, 0, true);

	if (at)
		*at = outcome->at;
	if (what)
		memcpy(what, outcome->what, sizeof(outcome->what));
	return failed;
}

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
	memcpy(pr->ops, outcome->ops, n * sizeof(*pr->ops));
}

static void report(struct program *pr, enum check check)
{
	char what[512];

	memcpy(what, outcome->what, sizeof(what));
	take_ops(pr, outcome->n);
	fprintf(stderr, "program %llu, operation %zu: %s: %s\n", (unsigned long long)pr->seed,
		outcome->at, check_name(check), what);
	program_shrink(pr, check, stderr);
	program_run(pr, NULL, what);
	for (size_t i = 0; i < pr->n; i++)
		pr->ops[i].expect = outcome->ops[i].expect;
	printf("# %s: %s\n", check_name(check), what);
	printf("# again: test_property --program %llu\n", (unsigned long long)pr->seed);
	program_print(pr, stdout);
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
	run_apart(&pr, program_length(seed), false);
	take_ops(&pr, outcome->n);
	program_print(&pr, stdout);
	program_free(&pr);
	return 0;
}

static bool run_program(uint64_t seed, uint64_t *ops, uint64_t *injected)
{
	struct program pr;
	enum check check;
	size_t n = program_length(seed);

	program_init(&pr, seed);
	check = run_apart(&pr, n, false);
	*ops += outcome->n;
	*injected += outcome->injected;
	if (check)
		report(&pr, check);
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
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (outcome == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	return o.print ? print_whole(o.program) : run_all(&o);
}
