/* SPDX-License-Identifier: MIT */
/*
 * Inside of `anonvm record`: options, the two recorders, the packed output.
 */
#ifndef ANONVM_TOOL_RECORD_H
#define ANONVM_TOOL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "trace.h"

struct record_options {
	const char *output;
	const char *pages; /* of perf's ring buffer, per CPU */
	char **cmd; /* ends with NULL */
	bool keep_data;
	bool scrub;
	bool force_strace;
	bool quiet;
};

/* A file that is written through gzip, xz or zstd when its name says so. */
struct record_out {
	FILE *f;
	pid_t child;
	const char *child_name;
};

__attribute__((format(printf, 1, 2))) void record_error(const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void record_note(const struct record_options *o,
						       const char *fmt, ...);

/* Start argv; in_fd and out_fd become its 0 and 1 when not -1. => pid or -errno */
pid_t record_spawn(char *const argv[], int in_fd, int out_fd);
int record_wait(pid_t pid); /* => status as of waitpid(), or -errno */
/* Run a recorder in the foreground, huge pages off; => as record_wait() */
int record_run(char *const argv[]);

/* record_out.c: => 0 or -errno, having said what is wrong */
int record_out_open(struct record_out *out, const char *path);
int record_out_close(struct record_out *out, const char *path);
/* Write s without the directories of this machine: what is not part of the system keeps its name. */
void record_put_path(FILE *f, struct trace_str s);

/* record_perf.c. Reasons are for people, and go to reason. */
bool record_perf_usable(char *reason, size_t size);
/* Each: *status is what became of the program, as of waitpid(). => 0 or negative, having said why */
int record_perf(const struct record_options *o, int *status);
int record_strace(const struct record_options *o, int *status);

#endif /* ANONVM_TOOL_RECORD_H */
