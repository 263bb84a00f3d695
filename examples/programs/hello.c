/* SPDX-License-Identifier: MIT */
/*
 * What the trace "compile" compiles.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_length(const void *a, const void *b)
{
	size_t m = strlen(*(char *const *)a), n = strlen(*(char *const *)b);

	return (m > n) - (m < n);
}

int main(int argc, char **argv)
{
	qsort(argv, (size_t)argc, sizeof(*argv), by_length);
	for (int i = 0; i < argc; i++)
		printf("%s\n", argv[i]);
	return 0;
}
