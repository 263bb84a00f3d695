/* SPDX-License-Identifier: MIT */
/*
 * cmd_diff.c - `anonvm diff`: random programs on the core and on the kernel below us, compared.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "diff.h"
#include "diff_worker.h"

#if AVM_HAVE_JANSSON
#include <jansson.h>
#endif

static const char help[] =
	"usage: anonvm diff [OPTION...]\n"
	"\n"
	"Runs random programs on the core and on the kernel of this machine at once and compares results,\n"
	"VMAs, contents, who shares a page with whom, and how often each is mapped. A difference that is not\n"
	"a named one (--rules) is shrunk and printed as a script. As root it sees all; without, it does what\n"
	"it can and says what it left out.\n"
	"\n"
	"  --ops N          operations in all (default 100000)\n"
	"  --seed N         of the first program; the next ones follow from it (default: from the clock)\n"
	"  --program-ops N  operations of one program (default 2000)\n"
	"  --procs N        processes at once, 1 to 8 (default: drawn for each program)\n"
	"  --family NAME    reuse or chain (default: drawn for each program)\n"
	"  --no-fork        no fork, exit, exec: the rate without them\n"
	"  --keep FILE      write the script of a difference there (default: standard output)\n"
	"  --no-shrink      print the program as it was found\n"
	"  --rules          the differences that are meant, and which of them this kernel has\n"
	"  --json           the figures as JSON\n"
	"  --quiet          no progress\n"
	"  --help           this text\n"
	"\n"
	"exit status: 0 no difference, 1 a difference, 2 bad usage, or nothing can be compared here\n";

struct settings {
	uint64_t ops, seed, program_ops;
	uint32_t procs;
	int family; /* -1: drawn */
	const char *keep;
	bool shrink, rules, json, quiet, help, no_fork;
};

static bool parse_number(const char *name, const char *text, uint64_t least, uint64_t most,
			 uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-' || *out < least || *out > most) {
		fprintf(stderr, "anonvm: diff: --%s: '%s' is not a number from %llu to %llu\n",
			name, text, (unsigned long long)least, (unsigned long long)most);
		return false;
	}
	return true;
}

static bool parse_family(const char *text, int *out)
{
	if (!strcmp(text, "reuse"))
		*out = AVM_FAMILY_REUSE;
	else if (!strcmp(text, "chain"))
		*out = AVM_FAMILY_CHAIN;
	else
		fprintf(stderr, "anonvm: diff: --family is reuse or chain\n");
	return *out >= 0;
}

static bool parse_option(int c, struct settings *s)
{
	uint64_t n;

	switch (c) {
	case 'n':
		return parse_number("ops", optarg, 1, UINT64_MAX, &s->ops);
	case 's':
		return parse_number("seed", optarg, 0, UINT64_MAX, &s->seed);
	case 'o':
		return parse_number("program-ops", optarg, 1, 1000000, &s->program_ops);
	case 'p':
		if (!parse_number("procs", optarg, 1, DIFF_PROCS, &n))
			return false;
		s->procs = (uint32_t)n;
		return true;
	case 'f':
		return parse_family(optarg, &s->family);
	case 'k':
		s->keep = optarg;
		return true;
	case 'S':
		s->shrink = false;
		return true;
	case 'F':
		return s->no_fork = true;
	case 'r':
		return s->rules = true;
	case 'j':
		return s->json = true;
	case 'q':
		return s->quiet = true;
	case 'h':
		return s->help = true;
	default:
		return false;
	}
}

static bool parse_options(int argc, char **argv, struct settings *s)
{
	static const struct option options[] = {
		{ "ops", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ "program-ops", required_argument, NULL, 'o' },
		{ "procs", required_argument, NULL, 'p' },
		{ "family", required_argument, NULL, 'f' },
		{ "no-fork", no_argument, NULL, 'F' },
		{ "keep", required_argument, NULL, 'k' },
		{ "no-shrink", no_argument, NULL, 'S' },
		{ "rules", no_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	*s = (struct settings){ .ops = 100000,
				.seed = (uint64_t)time(NULL),
				.program_ops = 2000,
				.family = -1,
				.shrink = true };
	optind = 0;
	while ((c = getopt_long(argc, argv, "qh", options, NULL)) != -1) {
		if (!parse_option(c, s))
			return false;
		if (s->help)
			return true;
	}
	if (optind < argc) {
		fprintf(stderr,
			"anonvm: diff: '%s': no argument is wanted; see 'anonvm diff --help'\n",
			argv[optind]);
		return false;
	}
#if !AVM_HAVE_JANSSON
	if (s->json) {
		fprintf(stderr, "anonvm: diff: --json: built without jansson\n");
		return false;
	}
#endif
	return true;
}

/* ---- reports ------------------------------------------------------------------------------------------------------- */

typedef unsigned long long ull;

static const struct {
	size_t offset;
	const char *skipped;
} abilities[] = {
	{ offsetof(struct diff_can, query),
	  "VMAs after each operation: no PROCMAP_QUERY (they are compared every 64 operations)" },
	{ offsetof(struct diff_can, frames),
	  "who shares a page, copy against takeover: /proc/self/pagemap shows no frames (not root?)" },
	{ offsetof(struct diff_can, counts),
	  "mapcounts: /proc/kpagecount cannot be read (not root?)" },
	{ offsetof(struct diff_can, heap),
	  "brk: the heap cannot be moved into the window (not root?)" },
	{ offsetof(struct diff_can, names),
	  "names of anonymous memory: the kernel was built without" },
	{ offsetof(struct diff_can, policies), "memory policies: mbind is refused" },
	{ offsetof(struct diff_can, lock_all),
	  "mlockall: the process is too large (a sanitizer?)" },
	{ offsetof(struct diff_can, force), "forced accesses: /proc/self/mem refuses them" },
};
#define NR_ABILITIES (sizeof(abilities) / sizeof(abilities[0]))

static bool has(const struct diff_can *can, size_t i)
{
	return *(const bool *)(const void *)((const char *)can + abilities[i].offset);
}

static void print_rules(FILE *out)
{
	for (unsigned i = 0; i < diff_nr_rules; i++)
		fprintf(out, "%-20s %-8s %10llu  %s\n", diff_rules[i].name,
			diff_rules[i].active ? "here" : "not here", (ull)diff_rules[i].used,
			diff_rules[i].what);
}

static void print_report(const struct diff_lab *lab, double seconds)
{
	const struct diff_counts *n = &lab->counts;

	for (int i = 0; i < DIFF_NR_KINDS; i++) {
		if (n->done[i] || n->failed[i])
			printf("%-12s %10llu succeeded %10llu failed\n",
			       diff_kind_name((enum diff_kind)i), (ull)n->done[i],
			       (ull)n->failed[i]);
	}
	for (int i = 0; i < (int)(sizeof(n->errnos) / sizeof(n->errnos[0])); i++) {
		if (n->errnos[i])
			printf("%-12s %10llu\n", strerrorname_np(i), (ull)n->errnos[i]);
	}
	printf("SEGV_MAPERR  %10llu\nSEGV_ACCERR  %10llu\nSIGBUS       %10llu\n", (ull)n->maperr,
	       (ull)n->accerr, (ull)n->sigbus);
	printf("merges       %10llu\nsplits       %10llu\n", (ull)n->merges, (ull)n->splits);
	printf("copies       %10llu\ntakeovers    %10llu   (stores to a page that was present)\n",
	       (ull)n->copies, (ull)n->takeovers);
	printf("audits       %10llu\n", (ull)n->audits);
	for (size_t i = 0; i < NR_ABILITIES; i++) {
		if (!has(&lab->can, i))
			printf("skipped: %s\n", abilities[i].skipped);
	}
	printf("named differences, and how often one was met:\n");
	print_rules(stdout);
	printf("%llu operations in %llu programs, %.1f s, %.0f operations/s; a system call costs %llu ns to enter\n",
	       (ull)n->ops, (ull)n->programs, seconds, (double)n->ops / seconds,
	       (ull)lab->can.entry_ns);
}

#if AVM_HAVE_JANSSON
static json_t *json_kinds(const struct diff_counts *n)
{
	json_t *o = json_object();

	for (int i = 0; i < DIFF_NR_KINDS; i++) {
		if (n->done[i] || n->failed[i])
			json_object_set_new(o, diff_kind_name((enum diff_kind)i),
					    json_pack("{s:I, s:I}", "succeeded",
						      (json_int_t)n->done[i], "failed",
						      (json_int_t)n->failed[i]));
	}
	return o;
}

static json_t *json_errnos(const struct diff_counts *n)
{
	json_t *o = json_object();

	for (int i = 0; i < (int)(sizeof(n->errnos) / sizeof(n->errnos[0])); i++) {
		if (n->errnos[i])
			json_object_set_new(o, strerrorname_np(i),
					    json_integer((json_int_t)n->errnos[i]));
	}
	json_object_set_new(o, "SEGV_MAPERR", json_integer((json_int_t)n->maperr));
	json_object_set_new(o, "SEGV_ACCERR", json_integer((json_int_t)n->accerr));
	json_object_set_new(o, "SIGBUS", json_integer((json_int_t)n->sigbus));
	return o;
}

static json_t *json_rules(void)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < diff_nr_rules; i++)
		json_object_set_new(o, diff_rules[i].name,
				    json_pack("{s:b, s:I}", "here", diff_rules[i].active, "met",
					      (json_int_t)diff_rules[i].used));
	return o;
}

static void print_json(const struct diff_lab *lab, const struct settings *s, double seconds,
		       const struct diff_finding *f)
{
	const struct diff_counts *n = &lab->counts;
	json_t *skipped = json_array();
	struct utsname u;
	json_t *o = json_pack("{s:I, s:I, s:I, s:f, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:i}",
			      "seed", (json_int_t)s->seed, "operations", (json_int_t)n->ops,
			      "programs", (json_int_t)n->programs, "seconds", seconds, "kinds",
			      json_kinds(n), "errors", json_errnos(n), "merges",
			      (json_int_t)n->merges, "splits", (json_int_t)n->splits, "copies",
			      (json_int_t)n->copies, "takeovers", (json_int_t)n->takeovers,
			      "chance", (json_int_t)n->chance, "rules", json_rules(), "unexplained",
			      f->kind ? 1 : 0);

	for (size_t i = 0; i < NR_ABILITIES; i++) {
		if (!has(&lab->can, i))
			json_array_append_new(skipped, json_string(abilities[i].skipped));
	}
	json_object_set_new(o, "skipped", skipped);
	if (!uname(&u))
		json_object_set_new(o, "kernel", json_string(u.release));
	if (f->kind)
		json_object_set_new(o, "difference", json_string(f->what));
	json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(o);
}
#endif

/* ---- running --------------------------------------------------------------------------------------------------------- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report_difference(struct diff_lab *lab, const struct settings *s,
			      struct diff_program *pr, struct diff_finding *f)
{
	FILE *out = stdout;

	fprintf(stderr, "anonvm: diff: program %llu, operation %zu: %s: %s\n", (ull)pr->seed, f->at,
		diff_mismatch_name(f->kind), f->what);
	if (s->shrink && f->kind != DIFF_HOST_DIED)
		diff_shrink(lab, pr, f, s->quiet ? NULL : stderr);
	if (s->keep && !(out = fopen(s->keep, "w"))) {
		fprintf(stderr, "anonvm: diff: %s: %s\n", s->keep, strerror(errno));
		return;
	}
	if (!s->json || s->keep)
		diff_print(lab, pr, f, out);
	if (out != stdout)
		fclose(out);
}

/*
 * The same program once more, twice: what does not come again is chance on the host, as a page that another CPU held when
 * it was to be mapped. It is told and counted, but there is nothing to be looked into.
 */
static bool is_chance(struct diff_lab *lab, const struct settings *s, struct diff_program *pr,
		      const struct diff_finding *f)
{
	struct diff_finding again;

	if (f->kind == DIFF_HOST_DIED || f->kind == DIFF_CORE_BROKEN ||
	    !diff_run(lab, pr, 0, &again) || !diff_run(lab, pr, 0, &again))
		return false;
	lab->counts.chance++;
	if (!s->quiet)
		fprintf(stderr, "anonvm: diff: program %llu, operation %zu, once only: %s\n",
			(ull)pr->seed, f->at, f->what);
	return true;
}

/* One program. => false when both sides differ */
static bool run_one(struct diff_lab *lab, const struct settings *s, uint64_t seed,
		    struct diff_finding *f)
{
	struct diff_rng r = { seed ^ UINT64_C(0x64696666) };
	struct diff_program pr = { .seed = seed };
	uint64_t left = s->ops - lab->counts.ops;
	bool good;

	pr.family = s->family >= 0     ? (enum avm_family_policy)s->family :
		    diff_one_in(&r, 3) ? AVM_FAMILY_CHAIN :
					 AVM_FAMILY_REUSE;
	pr.nr_procs = s->procs ? s->procs : 2 + (uint32_t)diff_below(&r, DIFF_PROCS - 1);
	pr.no_fork = s->no_fork;
	good = diff_run(lab, &pr, left < s->program_ops ? left : s->program_ops, f);
	if (!good && is_chance(lab, s, &pr, f)) {
		good = true;
		*f = (struct diff_finding){ 0 };
	}
	if (!good)
		report_difference(lab, s, &pr, f);
	free(pr.ops);
	return good;
}

static int run_all(struct diff_lab *lab, const struct settings *s)
{
	double begin = now(), said = begin;
	struct diff_finding f = { 0 };
	uint64_t seed = s->seed;
	bool progress = !s->quiet && isatty(2), good = true;

	for (; good && lab->counts.ops < s->ops; seed++) {
		good = run_one(lab, s, seed, &f);
		if (progress && now() - said > 0.5) {
			said = now();
			fprintf(stderr, "\r%llu of %llu operations, %.0f/s ", (ull)lab->counts.ops,
				(ull)s->ops, (double)lab->counts.ops / (said - begin));
		}
	}
	if (progress)
		fprintf(stderr, "\r%60s\r", "");
#if AVM_HAVE_JANSSON
	if (s->json) {
		print_json(lab, s, now() - begin, &f);
		return good ? EXIT_OK : EXIT_FAILED;
	}
#endif
	print_report(lab, now() - begin);
	printf("seeds %llu to %llu: %s, %llu that did not come again\n", (ull)s->seed,
	       (ull)seed - 1, good ? "0 unexplained differences" : "a difference",
	       (ull)lab->counts.chance);
	return good ? EXIT_OK : EXIT_FAILED;
}

int cmd_diff(int argc, char **argv)
{
	static struct diff_lab lab;
	struct settings s;
	const char *why;
	int status;

	if (argc > 1 && !strcmp(argv[1], "--worker"))
		return diff_worker_main(argc - 2, argv + 2);
	if (!parse_options(argc, argv, &s))
		return EXIT_USAGE;
	if (s.help) {
		fputs(help, stdout);
		return EXIT_OK;
	}
	diff_rules_probe();
	if (s.rules) {
		print_rules(stdout);
		return EXIT_OK;
	}
	lab.host = diff_host_open(&lab.can, &why);
	if (!lab.host) {
		fprintf(stderr, "anonvm: diff: nothing can be compared here: %s\n", why);
		return EXIT_USAGE;
	}
	status = run_all(&lab, &s);
	diff_host_close(lab.host);
	return status;
}
