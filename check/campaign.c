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

#include "check_dpor.h"
#include "check_random.h"
#include "program.h"

#define SCHEDULES 40u /* of one program */
#define SWEEP_EVERY 8u /* programs: each thing that can fail fails */
#define MOST_TRACES \
	20000u /* of one program, without a failure or with a certain one; with more it is left */
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

/*
 * In a quarter of the others something fails: one allocation or transfer of a thread, or two, or all from one on. How much
 * there is of each the first execution has shown.
 */
static void draw_failures(const struct campaign *g, const struct program *pr,
			  const struct result *first, struct check_schedule *s)
{
	uint64_t state = s->seed ^ UINT64_C(0xfa17);
	unsigned n = g->no_failures || !pr->nr_threads || check_random(&state) % 4 ?
			     0 :
			     1 + check_random(&state) % 2;

	for (unsigned i = 0; i < n; i++) {
		uint64_t bits = check_random(&state);
		uint8_t thread = (uint8_t)(bits % pr->nr_threads);
		bool reads = bits >> 9 & 1, file = pr->disk && bits >> 12 & 1;
		uint8_t kind = (uint8_t)(bits >> 8 & 1 ? CHECK_ALLOC :
					 file && reads ? CHECK_FILE_READ :
					 file	       ? CHECK_FILE_WRITE :
					 reads	       ? CHECK_SWAP_READ :
							 CHECK_SWAP_WRITE);
		uint32_t most = first->asked[thread][kind];

		if (!most)
			continue;
		s->failures[s->nr_failures++] =
			(struct check_failure){ 1 + (uint32_t)(bits >> 16) % most, thread, kind,
						(bits >> 10 & 3) == 0 };
	}
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
	s->tally.pruned += s->now.result.pruned;
	s->tally.known += s->now.result.known;
	s->tally.failing += s->now.schedule.nr_failures > 0;
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

/* One execution of the program that is open. => false at a finding */
static bool run_schedule(struct check *c, struct shared *s)
{
	program_go(c, &s->now.schedule, &s->now.result, NULL, NULL);
	count(s);
	return !s->now.result.finding[0];
}

/* Each thing that a thread asks for fails, once, and from there on: without a switch. => false at a finding */
static bool sweep(const struct campaign *g, struct check *c, struct shared *s, double begin)
{
	const struct check_schedule base = s->now.schedule;
	const struct result whole = s->now.result;

	for (unsigned i = 0; i < CHECK_THREADS * CHECK_NR_FAILING * 2; i++) {
		uint8_t thread = (uint8_t)(i / 2 / CHECK_NR_FAILING);
		uint8_t kind = (uint8_t)(i / 2 % CHECK_NR_FAILING);

		for (uint32_t at = 1; at <= whole.asked[thread][kind]; at++) {
			if (is_over(g, s, begin))
				return true;
			s->now.schedule = base;
			s->now.schedule.nr_failures = 1;
			s->now.schedule.failures[0] =
				(struct check_failure){ at, thread, kind, i % 2 };
			if (!run_schedule(c, s))
				return false;
		}
	}
	return true;
}

/* One program. => false at a finding */
static bool run_program(const struct campaign *g, struct check *c, struct shared *s, double begin)
{
	uint32_t length = 0;
	struct result first = { 0 };

	program_open(&s->now.program, &s->now.result);
	if (s->now.result.finding[0])
		return false;
	for (unsigned i = 0; i < SCHEDULES && !is_over(g, s, begin); i++) {
		draw_schedule(g, &s->now.program, i, length, &s->now.schedule);
		if (i >= s->now.program.nr_threads)
			draw_failures(g, &s->now.program, &first, &s->now.schedule);
		if (!run_schedule(c, s))
			return false;
		length = length ? length : s->now.result.points;
		if (i == 0)
			first = s->now.result;
		if (s->tally.executions % REPEAT_EVERY == 0 && !repeats(c, s)) {
			snprintf(s->now.result.finding, sizeof(s->now.result.finding),
				 "the checker: the same switches do not give the same execution");
			return false;
		}
	}
	if (g->no_failures || s->now.program.seed % SWEEP_EVERY || is_over(g, s, begin))
		return true;
	draw_schedule(g, &s->now.program,
		      (unsigned)(s->now.program.seed / SWEEP_EVERY % s->now.program.nr_threads),
		      length, &s->now.schedule);
	return run_schedule(c, s) && sweep(g, c, s, begin);
}

/*
 * Exhaustive: every execution of the program with at most g->bound preemptions, one of which may be a failure; or, by CHECK_DPOR,
 * with any number, and at most one failure.
 */
struct exhausting {
	const struct campaign *g;
	struct check *c;
	struct shared *s;
	double begin;
	struct check_failure failure; /* of all executions; at 0: none */
	uint32_t asked[CHECK_THREADS][CHECK_NR_FAILING]; /* at most, in those without one */
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
	if (x->failure.at)
		s->now.schedule.failures[s->now.schedule.nr_failures++] = x->failure;
	x->found = !run_schedule(x->c, s);
	for (unsigned t = 0; !x->failure.at && t < CHECK_THREADS; t++) {
		for (unsigned kind = 0; kind < CHECK_NR_FAILING; kind++) {
			if (s->now.result.asked[t][kind] > x->asked[t][kind])
				x->asked[t][kind] = s->now.result.asked[t][kind];
		}
	}
	return !x->found;
}

/* => false at a finding */
static bool exhaust_program(const struct campaign *g, struct check *c, struct shared *s,
			    double begin)
{
	struct exhausting x = { .g = g, .c = c, .s = s, .begin = begin };
	struct check_explorer e = { .bound = g->bound,
				    .all = g->all,
				    .most = g->strategy == CHECK_DPOR ? MOST_TRACES : 0,
				    .nr_threads = s->now.program.nr_threads,
				    .run = run_one_of_all,
				    .context = &x };
	bool (*explore)(struct check * c, struct check_explorer * e) =
		g->strategy == CHECK_DPOR ? check_explore_traces : check_explore;
	bool all;

	program_open(&s->now.program, &s->now.result);
	if (s->now.result.finding[0])
		return false;
	all = explore(c, &e);
	e.bound -= e.bound > 0;
	for (unsigned i = 0; (g->bound || g->strategy == CHECK_DPOR) && !g->no_failures &&
			     i < CHECK_THREADS * CHECK_NR_FAILING;
	     i++) {
		uint8_t thread = (uint8_t)(i / CHECK_NR_FAILING);
		uint8_t kind = (uint8_t)(i % CHECK_NR_FAILING);

		for (uint32_t at = 1; all && at <= x.asked[thread][kind]; at++) {
			x.failure = (struct check_failure){ at, thread, kind, false };
			all = explore(c, &e);
		}
	}
	s->tally.exhausted += all;
	return !x.found;
}

static bool is_exhaustive(const struct campaign *g)
{
	return g->strategy == CHECK_BOUND || g->strategy == CHECK_DPOR;
}

static _Noreturn void child(const struct campaign *g, struct shared *s)
{
	struct check *c = check_new();
	double begin = now();

	if (!c)
		_exit(2);
	mallopt(M_TRIM_THRESHOLD, 64 << 20); /* each machine takes back what the last one gave */
	for (uint64_t k = g->shard; !is_over(g, s, begin); k += g->shards) {
		if (g->programs_in_all && s->tally.programs == g->programs_in_all)
			break;
		program_make(&s->now.program, g->seed + k, &g->programs);
		s->tally.programs++;
		if (is_exhaustive(g) ? !exhaust_program(g, c, s, begin) :
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

/* A process for something that may end it: true in the child, which must end; false in the parent, when it has. */
static bool apart(int *status)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid)
		return true;
	if (pid < 0 || waitpid(pid, status, 0) != pid) {
		perror("anonvm: check");
		exit(2);
	}
	return false;
}

static void take_back(struct shared *s, struct finding *f, int status)
{
	*f = s->now;
	munmap(s, sizeof(*s));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		crash(f, status);
}

void run_apart(const struct program *pr, struct check_schedule *schedule, struct finding *f)
{
	struct shared *s = share();
	int status;

	s->now.program = *pr;
	s->now.schedule = *schedule;
	if (apart(&status)) {
		struct check *c = check_new();

		if (!c)
			_exit(2);
		program_run(c, &s->now.program, &s->now.schedule, &s->now.result);
		_exit(0);
	}
	take_back(s, f, status);
}

/* With what is to fail, and no_races, as they stand in the schedule before. */
static bool run_one_apart(void *context, struct check_schedule *schedule)
{
	struct exhausting *x = context;
	struct check_schedule *now = &x->s->now.schedule;

	schedule->no_races = now->no_races;
	schedule->nr_failures = now->nr_failures;
	memcpy(schedule->failures, now->failures, sizeof(now->failures));
	*now = *schedule;
	program_go(x->c, now, &x->s->now.result, NULL, NULL);
	return !x->s->now.result.finding[0];
}

bool search_apart(const struct finding *f, unsigned bound, struct finding *first)
{
	struct shared *s = share();
	int status;

	s->now = *f;
	s->now.crashed = false;
	if (apart(&status)) {
		struct exhausting x = { .c = check_new(), .s = s };
		struct check_explorer e = { .bound = bound,
					    .most = MOST_TRACES,
					    .nr_threads = f->program.nr_threads,
					    .run = run_one_apart,
					    .context = &x };

		program_open(&s->now.program, &s->now.result);
		if (x.c && !s->now.result.finding[0])
			check_explore(x.c, &e);
		_exit(0);
	}
	take_back(s, first, status);
	return first->result.finding[0] && same_finding(first->result.finding, f->result.finding);
}

/* Few switches, as the i-th of several tries. */
static void draw_try(const struct program *pr, const struct check_schedule *like, unsigned i,
		     struct check_schedule *s)
{
	*s = (struct check_schedule){ .seed = like->seed + i,
				      .strategy = i % 3 ? CHECK_STICKY : CHECK_PCT,
				      .rate = 1 + i % 4,
				      .length = like->length,
				      .first = (uint8_t)(i % pr->nr_threads),
				      .late = like->late,
				      .no_races = like->no_races,
				      .nr_failures = like->nr_failures };
	memcpy(s->failures, like->failures, sizeof(s->failures));
}

bool try_apart(const struct program *pr, const struct check_schedule *like, unsigned tries,
	       struct finding *f)
{
	struct shared *s = share();
	int status;

	s->now.program = *pr;
	if (apart(&status)) {
		struct check *c = check_new();

		if (!c)
			_exit(2);
		program_open(&s->now.program, &s->now.result);
		for (unsigned i = 0; i < tries && !s->now.result.finding[0]; i++) {
			draw_try(pr, like, i, &s->now.schedule);
			program_go(c, &s->now.schedule, &s->now.result, NULL, NULL);
		}
		_exit(0);
	}
	take_back(s, f, status);
	return f->result.finding[0];
}
