/* SPDX-License-Identifier: MIT */
/*
 * mremap(MREMAP_DONTUNMAP) of locked memory unlocks the place that it leaves behind, but keeps it on the account of locked
 * memory: VmLck stays too high when both are unmapped, and RLIMIT_MEMLOCK is used up by memory that is not there.
 */
#include "finding.h"

static long locked_kb(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	long kb = -1;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "VmLck:", 6))
			kb = strtol(line + 6, NULL, 10);
	}
	if (f)
		fclose(f);
	return kb;
}

int main(void)
{
	char *from = map(4, MAP_PRIVATE | MAP_ANONYMOUS), *to;

	if (mlock(from, 4 * PAGE))
		return 2;
	to = mremap(from, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	if (to == MAP_FAILED)
		return 2;
	munmap(from, 4 * PAGE);
	munmap(to, 4 * PAGE);
	printf("all unmapped; locked: %ld kB\n", locked_kb());
	return say(locked_kb() > 0, "MREMAP_DONTUNMAP leaks locked memory from the account");
}
