/* SPDX-License-Identifier: MIT */
/*
 * gallery.c - `anonvm check --gallery NAME|all`: is each bug of lab/gallery found, and how soon?
 *
 * A variant is another build of this program, whose core has one of the bugs: `gallery/NAME` beside it, where `scripts/gallery
 * --build` puts it. Each is run from several seeds, and says what it has found as JSON. Those whose names begin with C are
 * controls: they look like bugs and are none.
 */
#include "program.h"

#if AVM_HAVE_JANSSON
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define VARIANTS 64u
#define SEEDS 1000u
#define APART 1000000u /* seeds of two searches: programs in between are nobody's */
#define CONTROL_EXECUTIONS 5000u

struct search {
	bool found;
	double executions, seconds; /* of CPU */
	json_t *said; /* by the variant */
};

struct variant {
	char name[64];
	unsigned n, found;
	struct search searches[SEEDS];
	json_t *shrunk; /* the first that was found, made smaller */
	char size[64]; /* ... for people */
	char problem[128];
};

/* ---- where they are -------------------------------------------------------------------------------------------------- */

static bool find_directory(char *out, size_t size)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return false;
	self[n] = '\0';
	return (size_t)snprintf(out, size, "%s/gallery", dirname(self)) < size;
}

/* "all", the name, or what stands before its first dash. */
static bool is_meant(const char *name, const char *wanted)
{
	size_t n = strlen(wanted);

	return !strcmp(wanted, "all") ||
	       (!strncmp(name, wanted, n) && (!name[n] || name[n] == '-'));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* => how many; sorted */
static unsigned list(const char *directory, const char *wanted, char names[VARIANTS][64])
{
	DIR *d = opendir(directory);
	const struct dirent *e;
	unsigned n = 0;

	while (d && n < VARIANTS && (e = readdir(d))) {
		if (e->d_name[0] == '.' || strchr(e->d_name, '.') || !is_meant(e->d_name, wanted))
			continue;
		snprintf(names[n++], 64, "%.63s", e->d_name);
	}
	if (d)
		closedir(d);
	qsort(names, n, 64, compare_names);
	return n;
}

static bool is_control(const struct variant *v)
{
	return v->name[0] == 'C';
}

/* ---- one search ------------------------------------------------------------------------------------------------------- */

static _Noreturn void become(const char *path, const struct gallery *g, const struct variant *v,
			     uint64_t seed, const char *keep, int out)
{
	const struct campaign *c = g->campaign;
	char from[32], most[32];
	const char *argv[24] = { path, "--quiet", "--json", "--seed", from };
	unsigned n = 5;

	snprintf(from, sizeof(from), "%llu", (unsigned long long)seed);
	if (is_control(v) || c->executions) {
		snprintf(most, sizeof(most), "%llu",
			 c->executions ? (unsigned long long)c->executions : CONTROL_EXECUTIONS);
		argv[n++] = "--executions";
	} else {
		snprintf(most, sizeof(most), "%.0f", c->seconds);
		argv[n++] = "--time";
	}
	argv[n++] = most;
	argv[n++] = "--strategy";
	argv[n++] = g->strategy;
	if (c->no_races)
		argv[n++] = "--no-races";
	if (c->no_failures)
		argv[n++] = "--no-failures";
	if (!keep)
		argv[n++] = "--no-shrink";
	if (keep && *keep) {
		argv[n++] = "--keep";
		argv[n++] = keep;
	}
	dup2(out, STDOUT_FILENO);
	execv(path, (char *const *)(uintptr_t)argv);
	_exit(127);
}

/*
 * keep: what is found is made smaller, and written there if that is no empty name; NULL: it is not. False: the variant has said
 * nothing that can be understood.
 */
static bool run(const char *path, const struct gallery *g, const struct variant *v, uint64_t seed,
		const char *keep, struct search *out)
{
	struct rusage usage = { 0 };
	int ends[2], status;
	FILE *in;
	pid_t pid;

	fflush(NULL);
	if (pipe(ends))
		return false;
	pid = fork();
	if (!pid)
		become(path, g, v, seed, keep, ends[1]);
	close(ends[1]);
	in = fdopen(ends[0], "r");
	out->said = in ? json_loadf(in, 0, NULL) : NULL;
	if (in)
		fclose(in);
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || !out->said)
		return false;
	out->found = json_integer_value(json_object_get(out->said, "findings"));
	out->executions = json_number_value(json_object_get(out->said, "executions"));
	out->seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	return true;
}

/* "1+2 after 3; 1": two threads, after three operations; and preemptions. */
static void name_size(const json_t *said, char *out, size_t size)
{
	const json_t *shrunk = json_object_get(said, "shrunk"), *ops;
	size_t n = 0;

	ops = json_object_get(shrunk, "ops");
	for (size_t i = 0; i < json_array_size(ops); i++)
		n += (size_t)snprintf(out + n, size - n, "%s%d", i ? "+" : "",
				      (int)json_integer_value(json_array_get(ops, i)));
	snprintf(out + n, size - n, "%s after %d; %d", n ? "" : "0",
		 (int)json_integer_value(json_object_get(shrunk, "setup")),
		 (int)json_integer_value(json_object_get(shrunk, "preemptions")));
}

static void make_smaller(const char *path, const struct gallery *g, struct variant *v,
			 uint64_t seed)
{
	struct search again = { 0 };
	char keep[PATH_MAX] = "";

	if (g->keep)
		snprintf(keep, sizeof(keep), g->one ? "%s" : "%s.%s", g->keep, v->name);
	if (run(path, g, v, seed, keep, &again) && again.found) {
		name_size(again.said, v->size, sizeof(v->size));
		v->shrunk = json_incref(json_object_get(again.said, "shrunk"));
	}
	json_decref(again.said);
}

static void try_variant(const char *directory, const struct gallery *g, struct variant *v)
{
	char path[PATH_MAX + 80];

	snprintf(path, sizeof(path), "%s/%s", directory, v->name);
	for (v->n = 0; v->n < g->seeds; v->n++) {
		uint64_t seed = g->campaign->seed + (uint64_t)v->n * APART;
		struct search *s = &v->searches[v->n];

		if (!run(path, g, v, seed, NULL, s)) {
			snprintf(v->problem, sizeof(v->problem), "cannot be run");
			return;
		}
		if (s->found && !v->found++ && !is_control(v) && g->shrink)
			make_smaller(path, g, v, seed);
	}
	if (is_control(v) && v->found)
		snprintf(v->problem, sizeof(v->problem), "a control, and something is found");
	else if (!is_control(v) && v->found < v->n)
		snprintf(v->problem, sizeof(v->problem), "not found from %u of %u seeds",
			 v->n - v->found, v->n);
}

/* ---- figures ------------------------------------------------------------------------------------------------------------ */

static int compare_numbers(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The median, and what nine of ten do not exceed; of those that have found something, or of a control all. */
struct spread {
	double median, most;
};

static struct spread spread(const struct variant *v, size_t field)
{
	double of[SEEDS];
	unsigned n = 0;

	for (unsigned i = 0; i < v->n; i++) {
		if (v->searches[i].found || is_control(v))
			memcpy(&of[n++], (const char *)&v->searches[i] + field, sizeof(of[0]));
	}
	if (!n)
		return (struct spread){ 0, 0 };
	qsort(of, n, sizeof(of[0]), compare_numbers);
	return (struct spread){ (of[(n - 1) / 2] + of[n / 2]) / 2, of[(9 * n + 9) / 10 - 1] };
}

/* What stands before the first colon or space: race, V11, panic. */
static size_t length_of_detector(const char *finding)
{
	return strcspn(finding, ": ");
}

/* Each value once, the first met first, with how often: "race 27, V11 3". */
static json_t *count(const struct variant *v, const char *key)
{
	json_t *counts = json_object();

	for (unsigned i = 0; i < v->n; i++) {
		const char *text = json_string_value(json_object_get(v->searches[i].said, key));
		char name[64];

		if (!text || !v->searches[i].found)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)length_of_detector(text), text);
		json_object_set_new(
			counts, name,
			json_integer(1 + json_integer_value(json_object_get(counts, name))));
	}
	return counts;
}

static json_t *json_of_spread(const struct variant *v, size_t field)
{
	struct spread s = spread(v, field);

	return json_pack("{s:f, s:f}", "median", s.median, "nine_of_ten", s.most);
}

/* Each search by itself, for who counts otherwise. */
static json_t *json_of_searches(const struct variant *v)
{
	static const char *const keys[] = { "seed", "finding", "by", "program", "operations" };
	json_t *all = json_array();

	for (unsigned i = 0; i < v->n; i++) {
		const struct search *s = &v->searches[i];
		json_t *j = json_pack("{s:b, s:I, s:f}", "found", s->found, "executions",
				      (json_int_t)s->executions, "seconds", s->seconds);

		for (unsigned k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
			if (json_object_get(s->said, keys[k]))
				json_object_set(j, keys[k], json_object_get(s->said, keys[k]));
		}
		json_array_append_new(all, j);
	}
	return all;
}

static json_t *json_of(const struct variant *v)
{
	json_t *j = json_pack("{s:s, s:b, s:i, s:i, s:o, s:o, s:o, s:o}", "name", v->name,
			      "control", is_control(v), "seeds", (int)v->n, "found", (int)v->found,
			      "detectors", count(v, "finding"), "strategies", count(v, "by"),
			      "executions", json_of_spread(v, offsetof(struct search, executions)),
			      "seconds", json_of_spread(v, offsetof(struct search, seconds)));

	json_object_set_new(j, "searches", json_of_searches(v));
	if (v->shrunk)
		json_object_set(j, "shrunk", v->shrunk);
	if (v->problem[0])
		json_object_set_new(j, "problem", json_string(v->problem));
	return j;
}

static void print_counts(const struct variant *v, const char *key)
{
	json_t *counts = count(v, key), *n;
	const char *name, *before = " ";

	json_object_foreach(counts, name, n)
	{
		if (json_object_size(counts) == 1)
			printf(" %s", name);
		else
			printf("%s%s %d", before, name, (int)json_integer_value(n));
		before = ", ";
	}
	printf(" |");
	json_decref(counts);
}

static void print_row(const struct variant *v)
{
	struct spread executions = spread(v, offsetof(struct search, executions));
	struct spread seconds = spread(v, offsetof(struct search, seconds));

	printf("| %s |", v->name);
	print_counts(v, "finding");
	print_counts(v, "by");
	printf(" %u/%u | %.0f (%.0f) | %.2f (%.2f) | %s | %s |\n", v->found, v->n,
	       executions.median, executions.most, seconds.median, seconds.most, v->size,
	       v->problem[0] ? v->problem :
	       is_control(v) ? "nothing, as it should be" :
			       "");
	fflush(stdout);
}

/* ---- all of them --------------------------------------------------------------------------------------------------------- */

static void forget(struct variant *v)
{
	for (unsigned i = 0; i < v->n; i++)
		json_decref(v->searches[i].said);
	json_decref(v->shrunk);
}

static int try_all(const struct gallery *g, const char *directory, char names[VARIANTS][64],
		   unsigned n)
{
	static struct variant v;
	json_t *all = json_array();
	unsigned problems = 0, controls = 0;

	if (!g->json)
		printf("| bug | what tells it | switches by | found | executions | seconds | made smaller | |\n"
		       "|---|---|---|---|---|---|---|---|\n");
	for (unsigned i = 0; i < n; i++) {
		v = (struct variant){ 0 };
		memcpy(v.name, names[i], sizeof(v.name));
		try_variant(directory, g, &v);
		problems += v.problem[0] != '\0';
		controls += is_control(&v);
		if (g->json)
			json_array_append_new(all, json_of(&v));
		else
			print_row(&v);
		forget(&v);
	}
	if (g->json) {
		json_t *j = json_pack("{s:O, s:i}", "variants", all, "problems", (int)problems);

		json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		putchar('\n');
		json_decref(j);
	} else {
		printf("\n%u bugs and %u controls, %u seeds each; %u problems\n", n - controls,
		       controls, g->seeds, problems);
	}
	json_decref(all);
	return problems != 0;
}

int gallery(struct gallery *g)
{
	static char names[VARIANTS][64];
	char directory[PATH_MAX];
	unsigned n;

	if (!find_directory(directory, sizeof(directory))) {
		fprintf(stderr, "anonvm: check: --gallery: %s\n", strerror(errno));
		return 2;
	}
	n = list(directory, g->name, names);
	if (!n) {
		fprintf(stderr,
			"anonvm: check: --gallery: there is no variant '%s' in %s\n"
			"Each is a build of the checker with one bug put back. In the source of anonvm they are made by\n"
			"  scripts/gallery --build --into %s\n",
			g->name, directory, directory);
		return 2;
	}
	g->one = n == 1;
	return try_all(g, directory, names, n);
}

#else

int gallery(struct gallery *g)
{
	(void)g;
	fprintf(stderr, "anonvm: check: --gallery: built without jansson\n");
	return 2;
}

#endif
