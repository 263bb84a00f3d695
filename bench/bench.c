/* SPDX-License-Identifier: MIT */
/*
 * bench.c - `anonvm bench`: the command line; runs the works that are asked for, one after the other.
 */
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"

#define DEFAULT_REPEAT 11
#define MIN_REPEAT 5 /* fewer have no median to speak of */
#define MAX_REPEAT 1000

enum exit_status {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

static const char help[] =
	"usage: anonvm bench [OPTION...]\n"
	"\n"
	"Measures the core on the simulated machine beside the kernel beneath and the limits of this machine.\n"
	"docs/performance.md says what each row is, and what can be compared.\n"
	"\n"
	"  --only=GLOB     works whose name matches; may be given again\n"
	"  --list          the names of the works, and end\n"
	"  --repeat=N      rounds, 5 or more (default 11): figures are medians, with the smallest and the largest\n"
	"  --quick         short samples, five rounds: to see that it works\n"
	"  --json=FILE     all samples, to FILE ('-': to the standard output, and no table)\n"
	"  --strict        exit status 1 also when a bar is not met\n"
	"  -h, --help      this text\n"
	"\n"
	"exit status: 0 measured; 1 it could not be; 2 bad usage\n";

/* In the order of the table. */
static const struct bench_work *const works[] = { bench_vma,	  bench_fault,	  bench_fork,
						  bench_metadata, bench_families, bench_replay };
#define NR_TABLES (sizeof(works) / sizeof(works[0]))

#define MAX_GLOBS 32

struct settings {
	const char *only[MAX_GLOBS];
	unsigned nr_only;
	const char *json;
	unsigned repeat;
	bool quick, list, strict, help;
};

static int bad(const char *what)
{
	fprintf(stderr, "anonvm: bench: %s; see 'anonvm bench --help'\n", what);
	return -1;
}

static int parse_repeat(const char *arg, unsigned *out)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(arg, &end, 10);
	if (errno || *end || *arg < '0' || *arg > '9' || n < MIN_REPEAT || n > MAX_REPEAT)
		return bad("--repeat is a number from 5 to 1000");
	*out = (unsigned)n;
	return 0;
}

static int parse_option(int c, struct settings *s)
{
	switch (c) {
	case 'o':
		if (s->nr_only == MAX_GLOBS)
			return bad("too many --only");
		s->only[s->nr_only++] = optarg;
		return 0;
	case 'r':
		return parse_repeat(optarg, &s->repeat);
	case 'j':
		s->json = optarg;
		return bench_has_json() ? 0 : bad("--json: built without jansson");
	case 'q':
		s->quick = true;
		return 0;
	case 'l':
		s->list = true;
		return 0;
	case 's':
		s->strict = true;
		return 0;
	case 'h':
		s->help = true;
		return 0;
	default:
		return -1; /* getopt has said why */
	}
}

static int parse_options(int argc, char **argv, struct settings *s)
{
	static const struct option long_options[] = {
		{ "only", required_argument, NULL, 'o' },   { "list", no_argument, NULL, 'l' },
		{ "repeat", required_argument, NULL, 'r' }, { "quick", no_argument, NULL, 'q' },
		{ "json", required_argument, NULL, 'j' },   { "strict", no_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },	    { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (parse_option(c, s))
			return -1;
		if (s->help)
			return 0;
	}
	if (optind != argc)
		return bad("no arguments but options");
	if (!s->repeat)
		s->repeat = s->quick ? MIN_REPEAT : DEFAULT_REPEAT;
	return 0;
}

/* ---- the works ------------------------------------------------------------------------------------------- */

static bool chosen(const struct settings *s, const struct bench_work *work)
{
	for (unsigned i = 0; i < s->nr_only; i++) {
		if (!fnmatch(s->only[i], work->name, 0))
			return true;
	}
	return !s->nr_only;
}

/* The one after `work` (NULL: the first) that is chosen, or NULL. */
static const struct bench_work *next_work(const struct settings *s, const struct bench_work *work)
{
	bool behind = !work;

	for (size_t i = 0; i < NR_TABLES; i++) {
		for (const struct bench_work *w = works[i]; w->name; w++) {
			if (behind && chosen(s, w))
				return w;
			behind |= w == work;
		}
	}
	return NULL;
}

static void list(const struct settings *s)
{
	for (const struct bench_work *w = NULL; (w = next_work(s, w));)
		printf("%-20s %s\n", w->name, w->what);
}

static void run(struct bench *b, const struct settings *s, FILE *table)
{
	if (table)
		bench_print_head(b, table);
	for (const struct bench_work *w = NULL; (w = next_work(s, w));) {
		b->work = w;
		w->run(b, w);
		if (b->progress)
			fputs("\r\033[K", stderr);
		if (table)
			bench_print_rows(b, w, table);
	}
	if (table)
		bench_print_end(b, table);
}

static bool all_met(const struct bench *b)
{
	for (const struct bench_bar *bar = b->bars; bar; bar = bar->next) {
		if (!bench_bar_met(bar))
			return false;
	}
	return true;
}

/* Before anything is measured: that takes minutes. NULL with a message. */
static FILE *open_json(const char *path)
{
	FILE *f = strcmp(path, "-") != 0 ? fopen(path, "w") : stdout;

	if (!f)
		fprintf(stderr, "anonvm: bench: %s: %s\n", path, strerror(errno));
	return f;
}

static enum exit_status measure(struct bench *b, const struct settings *s)
{
	FILE *json = s->json ? open_json(s->json) : NULL;

	if (s->json && !json)
		return EXIT_USAGE;
	run(b, s, json == stdout ? NULL : stdout);
	if (json && (bench_json(b, json) || (json != stdout && fclose(json)))) {
		fprintf(stderr, "anonvm: bench: %s: %s\n", s->json, strerror(errno));
		return EXIT_FAILED;
	}
	return s->strict && !all_met(b) ? EXIT_FAILED : EXIT_OK;
}

/* What child processes inherit: no huge pages, and one CPU, with its caches and its neighbours. */
static void same_for_all_sides(void)
{
	int cpu = sched_getcpu();
	cpu_set_t set;

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	CPU_ZERO(&set);
	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return;
	CPU_SET((size_t)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int main(int argc, char **argv)
{
	struct settings s = { .json = NULL };
	struct bench b = { .progress = isatty(STDERR_FILENO) };
	int status;

	if (parse_options(argc, argv, &s))
		return EXIT_USAGE;
	if (s.help) {
		fputs(help, stdout);
		return EXIT_OK;
	}
	if (!next_work(&s, NULL)) {
		bad("--only: no work has such a name");
		return EXIT_USAGE;
	}
	if (s.list) {
		list(&s);
		return EXIT_OK;
	}
	same_for_all_sides();
	b.repeat = s.repeat;
	b.quick = s.quick;
	b.sample_seconds = s.quick ? 0.001 : 0.02;
	b.rows_end = &b.rows;
	b.bars_end = &b.bars;
	b.skipped_end = &b.skipped;
	status = (int)measure(&b, &s);
	bench_free(&b);
	return status;
}
