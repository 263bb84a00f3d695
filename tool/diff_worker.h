/* SPDX-License-Identifier: MIT */
/*
 * diff_worker.h - what the processes of the host share with the one that compares.
 *
 * One region of memory, mapped shared by all far from the window, survives fork and exec (it is a memfd).
 * A worker uses nothing that might allocate or map behind our back: no stdio, no malloc.
 */
#ifndef ANONVM_TOOL_DIFF_WORKER_H
#define ANONVM_TOOL_DIFF_WORKER_H

#include <sys/types.h>

#include "diff.h"

enum diff_turn {
	/* 0 to DIFF_PROCS - 1: that process */
	DIFF_TURN_OURS = DIFF_PROCS, /* the batch is done */
	DIFF_TURN_ZYGOTE, /* a new process 0 is wanted */
	DIFF_NR_TURNS,
};

/* Descriptors that exec leaves open, by number. */
enum diff_fd {
	DIFF_FD_SHARED = 200,
	DIFF_FD_FILE = 201, /* and the next: open for reading and writing ... */
	DIFF_FD_READ_ONLY = DIFF_FD_FILE + DIFF_FILES, /* ... the same files, for reading */
	DIFF_FD_COUNTS = DIFF_FD_READ_ONLY + DIFF_FILES, /* /proc/kpagecount, if it may be read */
};

struct diff_shared {
	/* Whose turn it is, a futex each, so that a wake-up wakes the right one only. */
	_Atomic uint32_t turn[DIFF_NR_TURNS];
	_Atomic uint32_t stop; /* everybody but the first process ends */
	_Atomic uint32_t begun; /* process 0 is there: 1; it could not be made: 2 */
	uint32_t at; /* operation of the batch */
	uint32_t current; /* batch under way */
	pid_t exiting; /* not 0: whoever comes next waits for the end of this process */
	pid_t owner; /* the process that compares */
	struct diff_can can;
	uint64_t shmem_dev; /* of the memfds */
	uint64_t inodes[DIFF_FILES];
	struct diff_batch batches[2];
};

/* One process: everything it knows but for the shared region. */
struct diff_worker {
	struct diff_shared *shared;
	unsigned self; /* number of the process */
	int maps, pagemap, mem; /* of itself, under /proc */
};

void diff_pass_turn(struct diff_shared *s, unsigned to);
/* Waits a second at most: false if it has not become ours. */
bool diff_wait_turn_once(struct diff_shared *s, unsigned self);
/* False when it is time to end. */
bool diff_wait_turn(struct diff_shared *s, unsigned self);

/* Opens what it looks through, after fork and exec. */
bool diff_worker_open(struct diff_worker *w);
_Noreturn void diff_worker_run(struct diff_worker *w);
bool diff_worker_heap(void); /* moves the heap of this process to DIFF_HEAP */
void diff_worker_signals(void);
int64_t diff_worker_name(const struct diff_op *op);
int64_t diff_worker_policy(const struct diff_op *op);

/* The beginning of a file, in a buffer that is used again; NULL if it cannot be read. */
const char *diff_read_all(const char *path);
uint64_t diff_number(const char **s, unsigned base); /* 0 if there is none; *s to what follows it */

/* ---- looking at oneself (diff_look.c) --------------------------------------------------------------------- */

bool diff_look_query(int maps, uint64_t addr, const struct diff_shared *s, struct diff_vma *out);
void diff_look_around(struct diff_worker *w, const struct diff_op *op, struct diff_seen *seen);
uint64_t diff_look_entry(struct diff_worker *w, uint64_t addr); /* of pagemap */
void diff_look_audit(struct diff_worker *w, uint32_t what, struct diff_audit *a);

#define DIFF_PM_PRESENT (UINT64_C(1) << 63)
#define DIFF_PM_SWAPPED (UINT64_C(1) << 62)
#define DIFF_PM_FILE (UINT64_C(1) << 61)
#define DIFF_PM_FRAME ((UINT64_C(1) << 55) - 1)

#endif
