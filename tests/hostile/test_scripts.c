/* SPDX-License-Identifier: MIT */
/*
 * test_scripts.c - `anonvm run` on damaged scripts: every case of tests/cases is a seed.
 */
#define _XOPEN_SOURCE 700 /* nftw */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "hostile.h"
#include "mutate.h"

#define SCRIPT_MAX (8u * 1024)
#define MAX_SEEDS 2000

static struct text seeds[MAX_SEEDS];
static size_t nr_seeds;

static int add_case(const char *path, const struct stat *st, int type, struct FTW *at)
{
	size_t n = strlen(path);
	struct text script;

	(void)st;
	(void)at;
	if (type != FTW_F || n < 4 || strcmp(path + n - 4, ".avm") != 0 || nr_seeds == MAX_SEEDS)
		return 0;
	script = text_read(path, SCRIPT_MAX);
	/* A script may say of what a device writes that nobody sees it; changed, it lies, and memory is not what it should be. */
	if (!script.p || memmem(script.p, script.n, "detached", 8))
		free(script.p);
	else
		seeds[nr_seeds++] = script;
	return 0;
}

/* The order of a folder is nobody's: the same seed is to give the same inputs. */
static int by_text(const void *pa, const void *pb)
{
	const struct text *a = pa, *b = pb;
	int order = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);

	return order ? order : (a->n > b->n) - (a->n < b->n);
}

static int run(const char *path, uint64_t *rng)
{
	static const char *const verify[] = { "--verify=each", "--verify=end", "--verify=never" };
	static const char *const family[] = { "--family=reuse", "--family=chain", "--family=flat" };
	char words[4][64];
	char *argv[] = { words[0], words[1], words[2], words[3], NULL };

	snprintf(words[0], sizeof(words[0]), "run");
	snprintf(words[1], sizeof(words[1]), "%s", verify[mutate_random(rng) % 3]);
	snprintf(words[2], sizeof(words[2]), "%s", family[mutate_random(rng) % 3]);
	snprintf(words[3], sizeof(words[3]), "%s", path);
	return cmd_run(4, argv);
}

static const char *judge(int status, const char *err)
{
	if (!is_printable(err))
		return "the message is not printable";
	if (status == EXIT_OK)
		return NULL;
	if (status != EXIT_FAILED && status != EXIT_USAGE)
		return "an exit status that does not exist";
	if (strstr(err, "violat") || strstr(err, "not given back"))
		return "an invariant is broken";
	if (strstr(err, " contains ") && strstr(err, ", the oracle says "))
		return "memory is not what it should be";
	return names_a_line(err) ? NULL : "the message names no line";
}

int main(void)
{
	const char *root = getenv("AVM_SOURCE_DIR");
	struct hostile h = { .name = "hostile-script",
			     .cases = 15000,
			     .seeds = seeds,
			     .max = 2 * SCRIPT_MAX,
			     .run = run,
			     .judge = judge };
	char path[512];

	snprintf(path, sizeof(path), "%s/tests/cases", root ? root : ".");
	if (nftw(path, add_case, 8, FTW_PHYS) || !nr_seeds) {
		puts("no scripts");
		return 1;
	}
	qsort(seeds, nr_seeds, sizeof(seeds[0]), by_text);
	h.nr_seeds = nr_seeds;
	return hostile_main(&h);
}
