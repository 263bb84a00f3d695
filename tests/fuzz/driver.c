/* SPDX-License-Identifier: MIT */
/*
 * driver.c - a fuzz target without a fuzzer: runs the files given, and those in the directories given. Exit status 0,
 * unless the target ends the program; 2 if there is nothing to run.
 */
#define _XOPEN_SOURCE 700 /* nftw */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define INPUT_MAX ((size_t)1 << 20)

static unsigned ran;

static int run_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	FILE *f = type == FTW_F ? fopen(path, "rb") : NULL;
	uint8_t *bytes;
	size_t n;

	(void)st;
	(void)at;
	if (!f)
		return type == FTW_F || type == FTW_NS;
	bytes = malloc(INPUT_MAX);
	if (!bytes)
		exit(2);
	n = fread(bytes, 1, INPUT_MAX, f);
	fclose(f);
	/* The target is to see nothing behind the end. */
	bytes = realloc(bytes, n ? n : 1);
	if (!bytes)
		exit(2);
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(bytes, n);
	free(bytes);
	ran++;
	return 0;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (nftw(argv[i], run_file, 8, FTW_PHYS)) {
			fprintf(stderr, "%s: cannot be read\n", argv[i]);
			return 2;
		}
	}
	if (!ran) {
		fprintf(stderr, "usage: %s FILE-OR-DIRECTORY...\n", argv[0]);
		return 2;
	}
	printf("%u inputs\n", ran);
	return 0;
}
