/* SPDX-License-Identifier: MIT */
/*
 * diff_probe.c - what this host can do, and what we may look at: found out by trying, never by a version. In a process of
 * its own, so that nothing of it is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "diff_probe.h"
#include "diff_worker.h"

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static struct diff_can *found;

bool diff_probe_apart(bool (*probe)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
		_exit(probe() ? 0 : 1);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}

static void *map(uint64_t page, uint64_t pages, int prot, int flags)
{
	void *at = (void *)(uintptr_t)(DIFF_START + page * DIFF_PAGE);

	return mmap(at, pages * DIFF_PAGE, prot, flags | MAP_FIXED_NOREPLACE, -1, 0) == at ? at :
											     NULL;
}

/* ---- probes -------------------------------------------------------------------------------------------------------- */

/* Nothing of ours lies in the window, nor so near below that a stack's guard gap would reach it. */
static bool window_is_free(void)
{
	const uint64_t below = 512 * DIFF_PAGE;
	void *at = (void *)(uintptr_t)(DIFF_START - below);

	return mmap(at, below + DIFF_PAGES * DIFF_PAGE + below, PROT_NONE,
		    ANON | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == at;
}

static bool probe_query(void)
{
	static struct diff_shared none; /* no files */
	struct diff_vma v;
	int fd = open("/proc/self/maps", O_RDONLY);

	return map(3, 2, RW, ANON) && diff_look_query(fd, DIFF_START, &none, &v) &&
	       v.start == DIFF_START + 3 * DIFF_PAGE && v.end == DIFF_START + 5 * DIFF_PAGE &&
	       v.prot == (AVM_PROT_READ | AVM_PROT_WRITE);
}

static bool probe_frames(void)
{
	volatile char *at = map(0, 2, RW, ANON);
	struct diff_worker w = { .pagemap = open("/proc/self/pagemap", O_RDONLY) };

	if (!at || w.pagemap < 0)
		return false;
	at[0] = 1;
	(void)at[DIFF_PAGE];
	found->zero_frame = diff_look_entry(&w, DIFF_START + DIFF_PAGE) & DIFF_PM_FRAME;
	return diff_look_entry(&w, DIFF_START) & DIFF_PM_FRAME && found->zero_frame;
}

static bool probe_counts(void)
{
	volatile char *at = map(0, 1, RW, ANON);
	struct diff_worker w = { .pagemap = open("/proc/self/pagemap", O_RDONLY) };
	uint64_t count;

	if (!at || w.pagemap < 0)
		return false;
	at[0] = 1;
	return pread(DIFF_FD_COUNTS, &count, sizeof(count),
		     (off_t)((diff_look_entry(&w, DIFF_START) & DIFF_PM_FRAME) * sizeof(count))) ==
		       (ssize_t)sizeof(count) &&
	       count == 1;
}

static bool probe_force(void)
{
	int fd = open("/proc/self/mem", O_RDWR);
	uint64_t value = 1;

	return map(0, 1, PROT_READ, ANON) && fd >= 0 &&
	       pwrite(fd, &value, sizeof(value), (off_t)DIFF_START) == (ssize_t)sizeof(value);
}

static bool probe_names(void)
{
	const struct diff_op op = { .addr = DIFF_START, .len = DIFF_PAGE, .flags = 1 };

	return map(0, 2, RW, ANON) && !diff_worker_name(&op);
}

static bool probe_policies(void)
{
	const struct diff_op one = { .addr = DIFF_START, .len = DIFF_PAGE, .flags = 1 };
	const struct diff_op two = { .addr = DIFF_START, .len = DIFF_PAGE, .flags = 2 };

	return map(0, 2, RW, ANON) && !diff_worker_policy(&one) && !diff_worker_policy(&two);
}

/* What the address sanitizer reserves would be faulted in, all of it. */
static bool probe_lock_all(void)
{
	const char *s = diff_read_all("/proc/self/statm");

	return s && diff_number(&s, 10) * DIFF_PAGE < UINT64_C(1) << 32;
}

static bool probe_advice(void)
{
	static const int all[] = { 0,  1,  2,  3,  4,  8,  9,  10, 11, 12, 13,
				   14, 15, 16, 17, 18, 19, 20, 21, 22, 23 };
	void *private = map(0, 1, RW, ANON), *shared = map(2, 1, RW, MAP_SHARED | MAP_ANONYMOUS);

	if (!private || !shared)
		return false;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		void *at = all[i] == MADV_REMOVE ? shared : private;

		found->advice[all[i]] = !madvise(at, DIFF_PAGE, all[i]);
	}
	return true;
}

static uint64_t entry_cost(void)
{
	enum {
		CALLS = 20000
	};
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < CALLS; i++)
		syscall(SYS_getppid);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)b.tv_nsec -
		(uint64_t)a.tv_nsec) /
	       CALLS;
}

static uint64_t lowest_address(void)
{
	char text[32] = "";
	int fd = open("/proc/sys/vm/mmap_min_addr", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 && strtoull(text, NULL, 10) ? strtoull(text, NULL, 10) : DIFF_PAGE;
}

bool diff_probe(struct diff_can *can, const char **why)
{
	found = can;
	*why = "the window at 0x10100000 is not free in a process here";
	if (!diff_probe_apart(window_is_free))
		return false;
	can->query = diff_probe_apart(probe_query);
	can->frames = diff_probe_apart(probe_frames);
	can->counts = can->frames && diff_probe_apart(probe_counts);
	can->heap = diff_probe_apart(diff_worker_heap);
	can->names = diff_probe_apart(probe_names);
	can->policies = diff_probe_apart(probe_policies);
	can->lock_all = diff_probe_apart(probe_lock_all);
	can->force = diff_probe_apart(probe_force);
	*why = "madvise cannot be tried";
	if (!diff_probe_apart(probe_advice))
		return false;
	can->lowest = lowest_address();
	can->entry_ns = entry_cost();
	return true;
}
