/* SPDX-License-Identifier: MIT */
/* spin.c - two processes that wait for each other and never call the kernel: the timer lets both go on. */
#include <stdatomic.h>

#include "user.h"

#define TURNS 5

static void turn(_Atomic unsigned *mine, _Atomic unsigned *theirs)
{
	while (atomic_load(mine) < TURNS) {
		atomic_fetch_add(mine, 1);
		while (atomic_load(theirs) < atomic_load(mine))
			;
	}
}

int main(const char *arguments)
{
	_Atomic unsigned *counters = map_shared(PAGE);
	int pid = fork();

	(void)arguments;
	CHECK(pid >= 0);
	if (!pid) {
		turn(&counters[0], &counters[1]);
		exit(0);
	}
	turn(&counters[1], &counters[0]);
	wait_for(1);
	return 0;
}
