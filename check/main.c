/* SPDX-License-Identifier: MIT */
/*
 * main.c - `anonvm check`: the core under a scheduler that owns every decision.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

#if AVM_HAVE_JANSSON
#include <jansson.h>
#endif

typedef unsigned long long ull;

enum exit_status {
	EXIT_CLEAN = 0,
	EXIT_FOUND = 1,
	EXIT_USAGE = 2,
};

static const char help[] =
	"usage: anonvm check [OPTION...]\n"
	"       anonvm check --replay FILE\n"
	"       anonvm check merge FILE...\n"
	"\n"
	"Runs small random programs of several threads on the core, under schedules of its own: before every\n"
	"atomic operation of the core another thread may go on. Looks for deadlocks, broken lock rules,\n"
	"broken invariants, wrong contents and leaks. What is found is made small and printed; it can be run\n"
	"again. docs/checker.md says what is explored, and what is not.\n"
	"\n"
	"  --seed N                 of the first program (default: from the clock)\n"
	"  --time S                 seconds (default 10, if no --executions and no --programs)\n"
	"  --executions N           executions in all\n"
	"  --programs N             programs in all\n"
	"  --threads-per-program N  2 to 4 (default: 2 or 3)\n"
	"  --ops-per-thread N       1 to 6 (default: 1 to 3)\n"
	"  --strategy NAME          walk, sticky, pct, portfolio (default); bound: of each program every\n"
	"                           execution with at most --bound preemptions; dpor: with any number (for\n"
	"                           --threads-per-program 2 --ops-per-thread 1)\n"
	"  --bound N                0 to 4 (default 2)\n"
	"  --no-reduction           with bound: those, too, that differ in nothing but the order of what is\n"
	"                           independent\n"
	"  --shard I/N              the I-th of N parts of the programs, from 1 on\n"
	"  --keep FILE              write what is found there\n"
	"  --no-races               plain accesses without order are no findings\n"
	"  --without JUDGE          nor what that one says: V, content, leak, lock or machine\n"
	"  --no-failures            nothing is made to fail\n"
	"  --no-shrink              as it was found\n"
	"  --replay FILE            run a finding again\n"
	"  --commute                instead: which cache lines two operations have in common that nobody\n"
	"                           would say have anything to do with each other (docs/scaling.md)\n"
	"  --gallery NAME|all       instead: is that bug of lab/gallery found, or each, by what, and how soon?\n"
	"                           (built by: scripts/gallery --build; at most --time seconds for each, 60)\n"
	"  --seeds N                ... from so many seeds, 1 to 1000 (default 1)\n"
	"  --json                   figures as JSON\n"
	"  --quiet                  no progress\n"
	"  --help                   this text\n"
	"\n"
	"exit status: 0 nothing found, 1 a finding, 2 bad usage; with --gallery: 0 every bug is found, and no\n"
	"control, 1 something else\n";

struct options {
	struct campaign campaign;
	const char *keep, *replay, *gallery, *strategy;
	unsigned seeds;
	bool seeded, shrink, commute, json, quiet, help;
};

static bool bad(const char *option, const char *what)
{
	fprintf(stderr, "anonvm: check: --%s: '%s'; see 'anonvm check --help'\n", option, what);
	return false;
}

static bool parse_number(const char *name, const char *text, uint64_t least, uint64_t most,
			 uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	return errno || end == text || *end || *text == '-' || *out < least || *out > most ?
		       bad(name, text) :
		       true;
}

static const char *const strategies[CHECK_NR_STRATEGIES] = { "serial", "walk",	"sticky",
							     "pct",    "bound", "dpor" };

static bool parse_strategy(const char *text, int *out)
{
	*out = -1;
	if (!strcmp(text, "portfolio"))
		return true;
	for (int i = 1; i < CHECK_NR_STRATEGIES; i++) {
		if (!strcmp(strategies[i], text)) {
			*out = i;
			return true;
		}
	}
	return bad("strategy", text);
}

static bool parse_shard(const char *text, struct campaign *g)
{
	ull i, n;
	char rest;

	if (sscanf(text, "%llu/%llu%c", &i, &n, &rest) != 2 || !i || i > n)
		return bad("shard", text);
	g->shard = i - 1;
	g->shards = n;
	return true;
}

/* One that has no argument. */
static bool parse_flag(int c, struct options *o)
{
	struct campaign *g = &o->campaign;

	switch (c) {
	case 'a':
		return g->all = true;
	case 'R':
		return g->no_races = true;
	case 'F':
		return g->no_failures = true;
	case 'n':
		o->shrink = false;
		return true;
	case 'C':
		return o->commute = true;
	case 'j':
		return o->json = true;
	case 'q':
		return o->quiet = true;
	case 'h':
		return o->help = true;
	default:
		return false;
	}
}

static bool parse_option(int c, struct options *o)
{
	struct campaign *g = &o->campaign;
	uint64_t n = 0;

	switch (c) {
	case 's':
		o->seeded = true;
		return parse_number("seed", optarg, 0, UINT64_MAX, &g->seed);
	case 't':
		if (!parse_number("time", optarg, 1, 10000000, &n))
			return false;
		g->seconds = (double)n;
		return true;
	case 'e':
		return parse_number("executions", optarg, 1, UINT64_MAX, &g->executions);
	case 'P':
		return parse_number("programs", optarg, 1, UINT64_MAX, &g->programs_in_all);
	case 'p':
		if (!parse_number("threads-per-program", optarg, 2, CHECK_THREADS, &n))
			return false;
		g->programs.threads = (uint8_t)n;
		return true;
	case 'o':
		if (!parse_number("ops-per-thread", optarg, 1, MAX_OPS, &n))
			return false;
		g->programs.ops = (uint8_t)n;
		return true;
	case 'S':
		o->strategy = optarg;
		return parse_strategy(optarg, &g->strategy);
	case 'g':
		o->gallery = optarg;
		return true;
	case 'G':
		if (!parse_number("seeds", optarg, 1, 1000, &n))
			return false;
		o->seeds = (unsigned)n;
		return true;
	case 'b':
		if (!parse_number("bound", optarg, 0, 4, &n))
			return false;
		g->bound = (unsigned)n;
		return true;
	case 'd':
		return parse_shard(optarg, g);
	case 'k':
		o->keep = optarg;
		return true;
	case 'r':
		o->replay = optarg;
		return true;
	case 'w':
		return program_without(optarg) || bad("without", optarg);
	default:
		return parse_flag(c, o);
	}
}

static bool parse_options(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "time", required_argument, NULL, 't' },
		{ "executions", required_argument, NULL, 'e' },
		{ "programs", required_argument, NULL, 'P' },
		{ "threads-per-program", required_argument, NULL, 'p' },
		{ "ops-per-thread", required_argument, NULL, 'o' },
		{ "strategy", required_argument, NULL, 'S' },
		{ "bound", required_argument, NULL, 'b' },
		{ "no-reduction", no_argument, NULL, 'a' },
		{ "shard", required_argument, NULL, 'd' },
		{ "keep", required_argument, NULL, 'k' },
		{ "replay", required_argument, NULL, 'r' },
		{ "no-races", no_argument, NULL, 'R' },
		{ "without", required_argument, NULL, 'w' },
		{ "no-failures", no_argument, NULL, 'F' },
		{ "no-shrink", no_argument, NULL, 'n' },
		{ "commute", no_argument, NULL, 'C' },
		{ "gallery", required_argument, NULL, 'g' },
		{ "seeds", required_argument, NULL, 'G' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	*o = (struct options){ .campaign = { .seed = (uint64_t)time(NULL),
					     .shards = 1,
					     .strategy = -1,
					     .bound = 2 },
			       .strategy = "portfolio",
			       .seeds = 1,
			       .shrink = true };
	while ((c = getopt_long(argc, argv, "qh", options, NULL)) != -1) {
		if (!parse_option(c, o))
			return false;
		if (o->help)
			return true;
	}
	if (optind < argc)
		return bad("help", argv[optind]);
#if !AVM_HAVE_JANSSON
	if (o->json)
		return bad("json", "built without jansson");
#endif
	if (o->campaign.seconds <= 0 && !o->campaign.executions && !o->campaign.programs_in_all)
		o->campaign.seconds = o->gallery ? 60 : 10;
	o->campaign.progress = !o->quiet && isatty(2) ? stderr : NULL;
	return true;
}

/* How it was found, before it was made smaller. */
struct origin {
	unsigned operations;
	const char *by;
};

/* ---- what is said -------------------------------------------------------------------------------------------------------- */

#if AVM_HAVE_JANSSON
static json_t *size_of(const struct finding *f)
{
	json_t *ops = json_array();

	for (unsigned t = 0; t < f->program.nr_threads; t++)
		json_array_append_new(ops, json_integer(f->program.nr_ops[t]));
	return json_pack("{s:i, s:i, s:i, s:o, s:i, s:i}", "operations",
			 (int)program_size(&f->program), "threads", (int)f->program.nr_threads,
			 "setup", (int)f->program.nr_setup, "ops", ops, "switches",
			 (int)f->schedule.nr_switches, "preemptions",
			 (int)count_preemptions(&f->schedule));
}

static void print_json(const struct options *o, const struct tally *t, const struct finding *f,
		       const struct origin *origin)
{
	char trace[20];
	json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:i}", "seed",
			      (json_int_t)o->campaign.seed, "executions", (json_int_t)t->executions,
			      "programs", (json_int_t)t->programs, "points", (json_int_t)t->points,
			      "repeated", (json_int_t)t->repeated, "diverged",
			      (json_int_t)t->diverged, "seconds", t->seconds, "findings",
			      f ? 1 : 0);

	snprintf(trace, sizeof(trace), "%016llx", (ull)t->trace);
	if (o->campaign.strategy == CHECK_BOUND)
		json_object_set_new(j, "bound", json_integer(o->campaign.bound));
	if (o->campaign.strategy >= CHECK_BOUND) {
		json_object_set_new(j, "exhausted", json_integer((json_int_t)t->exhausted));
		json_object_set_new(j, "pruned", json_integer((json_int_t)t->pruned));
	}
	json_object_set_new(j, "failing", json_integer((json_int_t)t->failing));
	json_object_set_new(j, "known", json_integer((json_int_t)t->known));
	json_object_set_new(j, "trace", json_string(trace));
	if (f) {
		json_object_set_new(j, "finding", json_string(f->result.finding));
		json_object_set_new(j, "program", json_integer((json_int_t)f->program.seed));
		json_object_set_new(j, "operations", json_integer(origin->operations));
		json_object_set_new(j, "by", json_string(origin->by));
		json_object_set_new(j, "shrunk", size_of(f));
	}
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(j);
}
#endif

/* f: what was found, NULL for nothing. */
static void print_tally(const struct options *o, const struct tally *t, const struct finding *f,
			const struct origin *origin)
{
	double rate = t->seconds > 0 ? (double)t->executions / t->seconds : 0;

#if AVM_HAVE_JANSSON
	if (o->json) {
		print_json(o, t, f, origin);
		return;
	}
#endif
	(void)origin;
	if (o->campaign.strategy == CHECK_BOUND)
		printf("%llu programs exhausted with at most %u preemptions; ", (ull)t->exhausted,
		       o->campaign.bound);
	if (o->campaign.strategy == CHECK_DPOR)
		printf("%llu programs exhausted; ", (ull)t->exhausted);
	printf("%llu executions of %llu programs from seed %llu, %.0f points each, %.1f s, %.0f executions/s; "
	       "%llu run twice, %llu otherwise; %s\n",
	       (ull)t->executions, (ull)t->programs, (ull)o->campaign.seed,
	       t->executions ? (double)t->points / (double)t->executions : 0, t->seconds, rate,
	       (ull)t->repeated, (ull)t->diverged, f ? "a finding" : "nothing found");
}

static void keep(const struct options *o, const struct finding *f)
{
	FILE *out = o->keep ? fopen(o->keep, "w") : NULL;

	if (o->keep && !out)
		fprintf(stderr, "anonvm: check: %s: %s\n", o->keep, strerror(errno));
	if (!out)
		return;
	finding_write(f, out);
	fclose(out);
}

static int search(const struct options *o)
{
	static struct finding f;
	struct origin origin;
	struct tally t;

	if (!campaign_run(&o->campaign, &t, &f)) {
		print_tally(o, &t, NULL, NULL);
		return EXIT_CLEAN;
	}
	origin.operations = program_size(&f.program);
	origin.by = strategies[o->campaign.strategy >= CHECK_BOUND ? o->campaign.strategy :
								     (int)f.schedule.strategy];
	if (o->shrink)
		finding_shrink(&f, o->campaign.progress);
	finding_name(&f);
	print_tally(o, &t, &f, &origin);
	keep(o, &f);
	if (!o->json)
		finding_report(&f, stdout);
	return EXIT_FOUND;
}

static int replay(const struct options *o)
{
	static struct finding f, again;
	FILE *in = fopen(o->replay, "r");
	const char *wrong;
	unsigned line;

	if (!in) {
		fprintf(stderr, "anonvm: check: %s: %s\n", o->replay, strerror(errno));
		return EXIT_USAGE;
	}
	wrong = finding_read(&f, in, &line);
	fclose(in);
	if (wrong) {
		fprintf(stderr, "anonvm: check: %s:%u: %s\n", o->replay, line, wrong);
		return EXIT_USAGE;
	}
	f.schedule.no_races |= o->campaign.no_races;
	run_apart(&f.program, &f.schedule, &again);
	finding_name(&again);
	if (!again.result.finding[0]) {
		printf("nothing found; it was: %s\n", f.result.finding);
		return EXIT_CLEAN;
	}
	printf("found%s: %s\n",
	       same_finding(again.result.finding, f.result.finding) ? " again" : " otherwise",
	       again.result.finding);
	finding_report(&again, stdout);
	return EXIT_FOUND;
}

int main(int argc, char **argv)
{
	struct options o;

	if (argc > 1 && !strcmp(argv[1], "merge"))
		return merge_shards(argc - 2, argv + 2);
	if (!parse_options(argc, argv, &o))
		return EXIT_USAGE;
	if (o.help) {
		fputs(help, stdout);
		return EXIT_CLEAN;
	}
	if (o.commute)
		return commute(o.json);
	if (o.gallery && !o.seeded)
		o.campaign.seed = 1; /* what is known to be found is found again */
	if (o.gallery)
		return gallery(&(struct gallery){ .name = o.gallery,
						  .campaign = &o.campaign,
						  .strategy = o.strategy,
						  .keep = o.keep,
						  .seeds = o.seeds,
						  .shrink = o.shrink,
						  .json = o.json });
	return o.replay ? replay(&o) : search(&o);
}
