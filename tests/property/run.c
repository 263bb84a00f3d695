/* SPDX-License-Identifier: MIT */
/* run.c - a program in a process of its own, which may crash; what it leaves behind lies in shared memory. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "percpu.h"
#include "program.h"

static struct outcome *outcome;

struct outcome *program_outcome(void)
{
	if (outcome)
		return outcome;
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (outcome == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return outcome;
}

static void finish(struct world *w)
{
	const struct avm *m = sim_machine(w->sim);

	for (unsigned i = 0; i < AVM_NR_EVENTS; i++)
		outcome->events[i] = avm_cpu_sum(m, &m->cpus[0].events[i]);
	world_close(w);
	outcome->injected = w->injected;
	outcome->insides = w->insides;
	memcpy(outcome->what, w->what, sizeof(w->what));
	memcpy(outcome->claim, w->claim, sizeof(w->claim));
	outcome->failed = w->failed;
}

/* Somebody else gets a chance: seldom taken, sometimes by several. */
static void make_others(struct world *w, void *context)
{
	const struct maker *mk = context;

	while (outcome->n < OPS_MAX) {
		struct op *op = &outcome->ops[outcome->n];

		if (!mk->inside(mk->context, w, op))
			return;
		if (!may_be_inside(w, op))
			continue;
		op->inside = w->chances;
		outcome->n++;
		world_inside(w, op);
		op->expect = w->expect;
	}
}

static void run_made(const struct program *pr, const struct maker *mk)
{
	struct world w;

	world_open(&w, pr);
	w.others = make_others;
	w.others_context = (void *)mk;
	while (outcome->n < OPS_MAX && !w.failed) {
		struct op *op = &outcome->ops[outcome->n];

		if (!mk->next(mk->context, &w, op))
			break;
		outcome->at = outcome->n++;
		world_step(&w, op);
		op->expect = w.expect;
	}
	finish(&w);
}

/* Those behind the operation that runs, up to the next that is not in the middle of it. */
static void replay_others(struct world *w, void *context)
{
	const struct program *pr = context;

	for (size_t i = outcome->at + 1; i < pr->n && pr->ops[i].inside; i++) {
		if (pr->ops[i].inside != w->chances)
			continue;
		world_inside(w, &pr->ops[i]);
		outcome->ops[i].expect = w->expect;
	}
}

static void run_fixed(const struct program *pr)
{
	struct world w;

	world_open(&w, pr);
	w.others = replay_others;
	w.others_context = (void *)pr;
	for (size_t i = 0; i < pr->n && !w.failed; i++) {
		if (pr->ops[i].inside)
			continue;
		outcome->at = i;
		world_step(&w, &pr->ops[i]);
		outcome->ops[i].expect = w.expect;
	}
	finish(&w);
}

enum check program_run_here(const struct program *pr, const struct maker *mk)
{
	program_outcome();
	memset(outcome, 0, offsetof(struct outcome, ops));
	outcome->failed = CHECK_CRASH;
	snprintf(outcome->what, sizeof(outcome->what), "the program ended the process");
	if (mk)
		run_made(pr, mk);
	else
		run_fixed(pr);
	return outcome->failed;
}

enum check program_run_apart(const struct program *pr, const struct maker *mk, bool quiet)
{
	int status;
	pid_t pid;

	program_outcome()->failed = CHECK_CRASH;
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
		program_run_here(pr, mk);
		exit(0);
	}
	waitpid(pid, &status, 0);
	if ((!WIFEXITED(status) || WEXITSTATUS(status)) && !outcome->failed)
		outcome->failed = CHECK_CRASH;
	return outcome->failed;
}

/* ---- random operations -------------------------------------------------------------------------------- */

struct random {
	struct rng r;
	size_t n;
};

static bool random_next(void *context, struct world *w, struct op *op)
{
	struct random *random = context;

	if (outcome->n >= random->n)
		return false;
	generate(&random->r, w, op);
	return true;
}

static bool random_inside(void *context, struct world *w, struct op *op)
{
	struct random *random = context;

	if (!rng_one_in(&random->r, w->program->calm))
		return false;
	generate_inside(&random->r, w, op);
	return true;
}

enum check program_run_random(const struct program *pr, size_t n)
{
	struct random random = { { .state = pr->seed ^ UINT64_C(0x5deece66d) }, n };
	const struct maker mk = { random_next, random_inside, &random };

	return program_run_apart(pr, &mk, false);
}

/* ------------------------------------------------------------------------------------------------------- */

enum check program_run(const struct program *pr, size_t *at, char *what)
{
	enum check failed = program_run_apart(pr, NULL, true);

	if (at)
		*at = outcome->at;
	if (what)
		memcpy(what, outcome->what, sizeof(outcome->what));
	return failed;
}
