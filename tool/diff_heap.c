/* SPDX-License-Identifier: MIT */
/*
 * diff_heap.c - moves the heap of a process into the window, so that brk can be compared. Whoever may set any part of the
 * layout of a process does it by two calls of prctl; everybody may set all of it at once, where the kernel has that.
 */
#include <fcntl.h>
#include <linux/prctl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "diff_worker.h"

static uint64_t heap_end(void)
{
	return (uint64_t)syscall(SYS_brk, 0);
}

/* The start may at no moment lie above the end. */
static bool by_parts(void)
{
	bool up = heap_end() < DIFF_HEAP;

	return !prctl(PR_SET_MM, up ? PR_SET_MM_BRK : PR_SET_MM_START_BRK, DIFF_HEAP, 0, 0) &&
	       !prctl(PR_SET_MM, up ? PR_SET_MM_START_BRK : PR_SET_MM_BRK, DIFF_HEAP, 0, 0);
}

/* Fields of /proc/self/stat, counted from 1 as in proc(5); the second is a name in brackets. */
static bool read_stat(uint64_t *fields, unsigned n)
{
	const char *s = diff_read_all("/proc/self/stat"), *end = s ? strrchr(s, ')') : NULL;

	if (!end)
		return false;
	s = end + 1;
	for (unsigned i = 3; i < n; i++) {
		if (*s++ != ' ')
			return false;
		fields[i] = diff_number(&s, 10);
		while (*s && *s != ' ')
			s++; /* a letter, a sign */
	}
	return true;
}

static bool at_once(void)
{
	uint64_t f[52];
	struct prctl_mm_map map = { .exe_fd = (uint32_t)-1 };

	if (!read_stat(f, 52))
		return false;
	map.start_code = f[26];
	map.end_code = f[27];
	map.start_stack = f[28];
	map.start_data = f[45];
	map.end_data = f[46];
	map.start_brk = map.brk = DIFF_HEAP;
	map.arg_start = f[48];
	map.arg_end = f[49];
	map.env_start = f[50];
	map.env_end = f[51];
	return !prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0);
}

bool diff_worker_heap(void)
{
	return (by_parts() || at_once()) && heap_end() == DIFF_HEAP;
}
