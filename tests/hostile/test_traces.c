/* SPDX-License-Identifier: MIT */
/*
 * test_traces.c - `anonvm replay` and `anonvm why` on damaged traces, with good and bad options.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "hostile.h"
#include "mutate.h"

#define SEED_MAX (48u * 1024)
#define TRACE_MAX (512u * 1024) /* of each bundled trace */
#define MAX_SEEDS 256

static struct text seeds[MAX_SEEDS];
static size_t nr_seeds;

/* ---- what is damaged ----------------------------------------------------------------------------------- */

static size_t line_after(const struct text *t, size_t at)
{
	const char *nl = memchr(t->p + at, '\n', t->n - at);

	return nl ? (size_t)(nl + 1 - t->p) : t->n;
}

static void add_part(const struct text *t, size_t at, size_t max)
{
	size_t end = at;

	while (end < t->n && line_after(t, end) - at <= max)
		end = line_after(t, end);
	if (nr_seeds < MAX_SEEDS && end > at)
		seeds[nr_seeds++] = (struct text){ t->p + at, end - at };
}

/* The beginning, which everything else needs, and some of the rest. */
static void add_trace(const char *path)
{
	struct text t = text_read(path, TRACE_MAX);

	if (!t.p)
		return;
	add_part(&t, 0, SEED_MAX);
	add_part(&t, 0, SEED_MAX / 8);
	for (size_t i = 1; i < 8; i++)
		add_part(&t, line_after(&t, t.n / 8 * i), SEED_MAX / 4);
}

static void add_traces(const char *pattern)
{
	const char *root = getenv("AVM_SOURCE_DIR");
	char path[512];
	glob_t g;

	snprintf(path, sizeof(path), "%s/%s", root ? root : ".", pattern);
	if (glob(path, 0, NULL, &g))
		return;
	for (size_t i = 0; i < g.gl_pathc; i++)
		add_trace(g.gl_pathv[i]);
	globfree(&g);
}

/* ---- the commands -------------------------------------------------------------------------------------- */

static const char *pick(uint64_t *rng, const char *const *words)
{
	size_t n = 0;

	while (words[n])
		n++;
	return words[mutate_random(rng) % n];
}

static bool bad_usage;

static int run(const char *path, uint64_t *rng)
{
	static const char *const options[] = {
		"--touch=all",	  "--touch=none",
		"--touch=first",  "--family=chain",
		"--family=flat",  "--family=reuse",
		"--top=1000000",  "--top=0",
		"--json",	  "-q",
		"--stop=7",	  "--stop=18446744073709551615",
		"--strict",	  "--frames=64",
		"--verify=never", "--verify=end",
		"--frames=8192",  "--frames=4096",
		"--verify=each",  NULL,
	};
	static const char *const shared[] = {
		"--touch=all", "--family=flat", "--top=3", "--json", "--all", "-q", NULL,
	};
	static const char *const bad[] = {
		"--frames=0",
		"--frames=18446744073709551616",
		"--top=-1",
		"--stop=",
		"--family=",
		"--nonsense",
		"--json=1",
		"--frames=1e9",
		"--frames=0x7fffffffffffffff",
		"-",
		NULL,
	};
	bool why = !(mutate_random(rng) % 4);
	char words[6][64];
	char *argv[8];
	int n = 0;

	snprintf(words[n++], sizeof(words[0]), "%s", why ? "why" : "replay");
	snprintf(words[n++], sizeof(words[0]), "--frames=16384");
	if (why)
		n--;
	bad_usage = !(mutate_random(rng) % 32);
	for (uint64_t k = mutate_random(rng) % 3; k; k--)
		snprintf(words[n++], sizeof(words[0]), "%s", pick(rng, why ? shared : options));
	if (bad_usage)
		snprintf(words[n++], sizeof(words[0]), "%s", pick(rng, bad));
	snprintf(words[n++], sizeof(words[0]), "%s", path);
	for (int i = 0; i < n; i++)
		argv[i] = words[i];
	argv[n] = NULL;
	return why ? cmd_why(n, argv) : cmd_replay(n, argv);
}

static const char *judge(int status, const char *err)
{
	if (!is_printable(err))
		return "the message is not printable";
	if (status == EXIT_FAILED && strstr(err, "unequal"))
		return NULL; /* --strict */
	if (status == EXIT_FAILED)
		return strstr(err, "anonymous faults") ? NULL : "an invariant is broken";
	if (bad_usage)
		return status == EXIT_USAGE && *err ? NULL : "bad usage is not refused";
	if (status == EXIT_OK)
		return NULL;
	if (status != EXIT_USAGE)
		return "an exit status that does not exist";
	return names_a_line(err) ? NULL : "the message names no line";
}

int main(void)
{
	struct hostile h = { .name = "hostile-trace",
			     .cases = 400,
			     .seeds = seeds,
			     .max = 2 * SEED_MAX,
			     .run = run,
			     .judge = judge };

	add_traces("examples/traces/*.trace.*");
	add_traces("tests/traces/*.txt");
	add_traces("tests/traces/bad/*.txt");
	h.nr_seeds = nr_seeds;
	if (!nr_seeds) {
		puts("no traces");
		return 1;
	}
	return hostile_main(&h);
}
