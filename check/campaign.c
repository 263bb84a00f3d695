/* SPDX-License-Identifier: MIT */
/*
 * campaign.c - many executions: programs one after the other, each under a portfolio of schedules.
 *
 * They run in a child, which ends with the first finding: what a broken core leaves behind cannot be used, and a crash is
 * a finding like any other. What is being run stands in shared memory.
 */
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check_bound.h"
#include "program.h"

#define SCHEDULES 40u /* of one program */
#define REPEAT_EVERY 97u /* executions: run again, and compared */

struct shared {
	struct tally tally;
	struct finding now;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct shared *share(void)
{
	struct shared *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (s == MAP_FAILED) {
		perror("anonvm: check");
		exit(2);
	}
	return s;
}

/* ---- schedules ----------------------------------------------------------------------------------------------------- */

/*
 * The first ones run each thread alone, in every order of beginning: they show what fails without any race, and how long the
 * program is. Then a portfolio, as no strategy is best for all programs: few switches anywhere, priorities, and walks.
 */
static void draw_schedule(const struct campaign *g, const struct program *pr, unsigned i,
			  uint32_t length, struct check_schedule *s)
{
	uint64_t bits = pr->seed * UINT64_C(0x9e3779b97f4a7c15) + i;

	bits = (bits ^ bits >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
	bits ^= bits >> 29;
	*s = (struct check_schedule){ .seed = bits, .length = length, .no_races = g->no_races };
	s->late = bits >> 8 & 1;
	if (i < pr->nr_threads)
		s->first = (uint8_t)i;
	else if (pr->nr_threads > 1)
		s->first = (uint8_t)((bits >> 16) % pr->nr_threads);
	if (i < pr->nr_threads) {
		s->strategy = CHECK_REPLAY;
		return;
	}
	s->strategy = g->strategy >= 0 ? (enum check_strategy)g->strategy :
		      i % 4 == 0       ? CHECK_WALK :
		      i % 4 == 1       ? CHECK_PCT :
					 CHECK_STICKY;
	s->rate = s->strategy == CHECK_WALK ? 2u << (bits >> 24) % 6 : 1 + (bits >> 24) % 4;
}

/* ---- the child --------------------------------------------------------------------------------------------------------- */

static bool is_over(const struct campaign *g, const struct shared *s, double begin)
{
	return (g->executions && s->tally.executions >= g->executions) ||
	       (g->seconds > 0 && now() - begin >= g->seconds);
}

static void count(struct shared *s)
{
	s->tally.executions++;
	s->tally.known += s->now.result.known;
	s->tally.points += s->now.result.points;
	s->tally.trace = (s->tally.trace ^ s->now.result.trace) * UINT64_C(0x100000001b3);
}

/* The same again, by its list of switches, and from the beginning: everything must happen as before. */
static bool repeats(struct check *c, struct shared *s)
{
	struct result again, setup;

	if (s->now.schedule.overflow)
		return true;
	s->now.schedule.strategy = CHECK_REPLAY;
	program_run(c, &s->now.program, &s->now.schedule, &again);
	program_open(&s->now.program, &setup);
	s->tally.repeated++;
	s->tally.executions++;
	s->tally.diverged += again.trace != s->now.result.trace;
	return again.trace == s->now.result.trace;
}

/* One program. => false at a finding */
static bool run_program(const struct campaign *g, struct check *c, struct shared *s, double begin)
{
	uint32_t length = 0;
	struct result setup;

	program_open(&s->now.program, &setup);
	for (unsigned i = 0; i < SCHEDULES && !is_over(g, s, begin); i++) {
		draw_schedule(g, &s->now.program, i, length, &s->now.schedule);
		s->now.result = setup;
		if (!setup.finding[0])
			program_go(c, &s->now.schedule, &s->now.result, NULL, NULL);
		count(s);
		if (s->now.result.finding[0])
			return false;
		length = length ? length : s->now.result.points;
		if (s->tally.executions % REPEAT_EVERY == 0 && !repeats(c, s)) {
			snprintf(s->now.result.finding, sizeof(s->now.result.finding),
				 "the checker: the same switches do not give the same execution");
			return false;
		}
	}
	return true;
}

/* Exhaustive: every execution of the program with at most g->bound preemptions. */
struct exhausting {
	const struct campaign *g;
	struct check *c;
	struct shared *s;
	double begin;
	bool found;
};

static bool run_one_of_all(void *context, struct check_schedule *schedule)
{
	struct exhausting *x = context;
	struct shared *s = x->s;

	if (is_over(x->g, s, x->begin))
		return false;
	s->now.schedule = *schedule;
	s->now.schedule.no_races = x->g->no_races;
	program_go(x->c, &s->now.schedule, &s->now.result, NULL, NULL);
	count(s);
	x->found = s->now.result.finding[0];
	return !x->found;
}

/* => false at a finding */
static bool exhaust_program(const struct campaign *g, struct check *c, struct shared *s,
			    double begin)
{
	struct exhausting x = { g, c, s, begin, false };
	struct check_explorer e = { .bound = g->bound,
				    .nr_threads = s->now.program.nr_threads,
				    .run = run_one_of_all,
				    .context = &x };

	program_open(&s->now.program, &s->now.result);
	if (s->now.result.finding[0])
		return false;
	s->tally.exhausted += check_explore(c, &e);
	return !x.found;
}

static _Noreturn void child(const struct campaign *g, struct shared *s)
{
	struct check *c = check_new();
	double begin = now();

	if (!c)
		_exit(2);
	mallopt(M_TRIM_THRESHOLD, 64 << 20); /* each machine takes back what the last one gave */
	for (uint64_t k = g->shard; !is_over(g, s, begin); k += g->shards) {
		program_make(&s->now.program, g->seed + k, &g->programs);
		s->tally.programs++;
		if (g->strategy == CHECK_BOUND ? !exhaust_program(g, c, s, begin) :
						 !run_program(g, c, s, begin))
			_exit(1);
	}
	_exit(0);
}

/* ---- the parent -------------------------------------------------------------------------------------------------------- */

static void crash(struct finding *f, int status)
{
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	f->crashed = true;
	snprintf(f->result.finding, sizeof(f->result.finding), "crash: %s",
		 sig ? strsignal(sig) : "the process ended");
}

static void say(const struct campaign *g, const struct shared *s, double begin)
{
	double t = now() - begin;

	fprintf(g->progress, "\r%llu executions of %llu programs, %.0f/s, %.0f s ",
		(unsigned long long)s->tally.executions, (unsigned long long)s->tally.programs,
		(double)s->tally.executions / t, t);
	fflush(g->progress);
}

bool campaign_run(const struct campaign *g, struct tally *t, struct finding *f)
{
	struct shared *s = share();
	double begin = now();
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid)
		child(g, s);
	if (pid < 0) {
		perror("anonvm: check");
		exit(2);
	}
	while (!waitpid(pid, &status, g->progress ? WNOHANG : 0)) {
		usleep(200000);
		say(g, s, begin);
	}
	if (g->progress)
		fprintf(g->progress, "\r%60s\r", "");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		exit(2);
	s->tally.seconds = now() - begin;
	*t = s->tally;
	*f = s->now;
	munmap(s, sizeof(*s));
	if (WIFEXITED(status) && WEXITSTATUS(status) < 2)
		return WEXITSTATUS(status);
	crash(f, status);
	return true;
}

void run_apart(const struct program *pr, struct check_schedule *schedule, struct finding *f)
{
	struct shared *s = share();
	int status;
	pid_t pid;

	s->now.program = *pr;
	s->now.schedule = *schedule;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct check *c = check_new();

		if (!c)
			_exit(2);
		program_run(c, &s->now.program, &s->now.schedule, &s->now.result);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("anonvm: check");
		exit(2);
	}
	*f = s->now;
	munmap(s, sizeof(*s));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		crash(f, status);
}
