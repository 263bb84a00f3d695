/* SPDX-License-Identifier: MIT */
/*
 * diff_host.c - the host's side of `anonvm diff`, as its owner sees it: the first process, from which all others come,
 * and the batches that go to them.
 *
 * The first process is forked before anything large is allocated here, so that what it forks is small. It never has a turn
 * in a program: it ends the processes of the last one and makes the first of the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "diff_probe.h"
#include "diff_worker.h"

#define WAIT_SECONDS 20 /* then the host's side is dead */

struct diff_host {
	struct diff_shared *shared;
	pid_t zygote;
	uint32_t filling; /* batch */
	bool under_way;
};

/* ---- the first process ------------------------------------------------------------------------------------------- */

/* All on one CPU: a page may wait in the LRU batch of another, with a reference that makes the kernel copy. */
static void stay_on_one_cpu(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return;
	for (size_t cpu = CPU_SETSIZE; cpu-- > 0;) {
		if (CPU_ISSET(cpu, &set)) {
			CPU_ZERO(&set);
			CPU_SET(cpu, &set);
			sched_setaffinity(0, sizeof(set), &set);
			return;
		}
	}
}

static bool put_at(int fd, int number)
{
	bool good = fd >= 0 && dup2(fd, number) == number;

	if (fd >= 0 && fd != number)
		close(fd);
	return good;
}

static bool open_files(struct diff_shared *s)
{
	for (int i = 0; i < DIFF_FILES; i++) {
		char path[] = "/proc/self/fd/000";
		struct stat st;

		if (!put_at(memfd_create("diff", 0), DIFF_FD_FILE + i) ||
		    ftruncate(DIFF_FD_FILE + i, DIFF_FILE_PAGES * DIFF_PAGE) ||
		    fstat(DIFF_FD_FILE + i, &st))
			return false;
		for (int k = 0, n = DIFF_FD_FILE + i; k < 3; k++, n /= 10)
			path[sizeof(path) - 2 - (size_t)k] = (char)('0' + n % 10);
		if (!put_at(open(path, O_RDONLY), DIFF_FD_READ_ONLY + i))
			return false;
		s->inodes[i] = st.st_ino;
	}
	return true;
}

static _Noreturn void first_of_program(struct diff_shared *s)
{
	struct diff_worker w = { .shared = s };

	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	setpgid(0, 0);
	if (!open_files(s) || !diff_worker_open(&w) || (s->can.heap && !diff_worker_heap())) {
		atomic_store(&s->begun, 2);
		diff_pass_turn(s, DIFF_TURN_OURS);
		_exit(1);
	}
	atomic_store(&s->begun, 1);
	diff_pass_turn(s, DIFF_TURN_OURS);
	diff_worker_run(&w);
}

static void end_program(struct diff_shared *s, pid_t group)
{
	if (group > 0)
		kill(-group, SIGKILL);
	/* Orphans become ours; SIGCHLD is ignored: this comes back when there is none any more. */
	while (wait(NULL) > 0 || errno == EINTR)
		;
	for (int i = 0; i < DIFF_PROCS; i++)
		atomic_store(&s->turn[i], 0);
	s->exiting = 0;
}

static _Noreturn void zygote_run(struct diff_shared *s)
{
	pid_t group = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	setpgid(0, 0);
	stay_on_one_cpu();
	diff_worker_signals();
	while (diff_wait_turn(s, DIFF_TURN_ZYGOTE)) {
		end_program(s, group);
		group = fork();
		if (!group)
			first_of_program(s);
		if (group < 0) {
			atomic_store(&s->begun, 2);
			diff_pass_turn(s, DIFF_TURN_OURS);
		}
		setpgid(group, group);
	}
	end_program(s, group);
	_exit(0);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static struct diff_shared *make_shared(void)
{
	struct diff_shared *s;

	if (!put_at(memfd_create("anonvm-diff", 0), DIFF_FD_SHARED) ||
	    ftruncate(DIFF_FD_SHARED, sizeof(*s)))
		return NULL;
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, DIFF_FD_SHARED, 0);
	return s == MAP_FAILED ? NULL : s;
}

struct diff_host *diff_host_open(struct diff_can *can, const char **why)
{
	struct diff_host *h = calloc(1, sizeof(*h));

	*why = "no memory";
	if (!h)
		return NULL;
	h->shared = make_shared();
	if (!h->shared)
		goto fail;
	h->shared->owner = getpid();
	/* Not an error if it may not be read: said by diff_probe(). */
	put_at(open("/proc/kpagecount", O_RDONLY), DIFF_FD_COUNTS);
	if (!diff_probe(&h->shared->can, why))
		goto fail;
	h->zygote = fork();
	if (!h->zygote)
		zygote_run(h->shared);
	if (h->zygote < 0) {
		*why = strerror(errno);
		goto fail;
	}
	*can = h->shared->can;
	return h;
fail:
	diff_host_close(h);
	return NULL;
}

void diff_host_close(struct diff_host *h)
{
	if (!h)
		return;
	if (h->zygote > 0) {
		atomic_store(&h->shared->stop, 1);
		for (unsigned i = 0; i < DIFF_NR_TURNS; i++)
			diff_pass_turn(h->shared, i);
		while (waitpid(h->zygote, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (h->shared)
		munmap(h->shared, sizeof(*h->shared));
	for (int fd = DIFF_FD_SHARED; fd <= DIFF_FD_COUNTS; fd++)
		close(fd);
	free(h);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

static bool wait_for_ours(struct diff_host *h)
{
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		if (diff_wait_turn_once(h->shared, DIFF_TURN_OURS))
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec < WAIT_SECONDS);
	return false;
}

bool diff_host_begin(struct diff_host *h)
{
	h->under_way = false;
	atomic_store(&h->shared->turn[DIFF_TURN_OURS], 0);
	atomic_store(&h->shared->begun, 0);
	diff_pass_turn(h->shared, DIFF_TURN_ZYGOTE);
	/* A worker of the last program that died late may have given us the turn. */
	while (wait_for_ours(h)) {
		if (atomic_load(&h->shared->begun))
			return atomic_load(&h->shared->begun) == 1;
	}
	return false;
}

struct diff_batch *diff_host_batch(struct diff_host *h)
{
	return &h->shared->batches[h->filling];
}

void diff_host_start(struct diff_host *h)
{
	struct diff_shared *s = h->shared;

	s->current = h->filling;
	s->at = 0;
	h->filling ^= 1;
	h->under_way = true;
	diff_pass_turn(s,
		       s->batches[s->current].n ? s->batches[s->current].ops[0].p : DIFF_TURN_OURS);
}

struct diff_batch *diff_host_wait(struct diff_host *h)
{
	if (!h->under_way || !wait_for_ours(h))
		return NULL;
	h->under_way = false;
	return &h->shared->batches[h->shared->current];
}

uint32_t diff_host_at(const struct diff_host *h)
{
	return h->shared->at;
}
