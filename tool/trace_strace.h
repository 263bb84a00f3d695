/* SPDX-License-Identifier: MIT */
/*
 * Between the two halves of the strace reader: a line taken apart. trace_strace.c follows the tasks.
 */
#ifndef ANONVM_TOOL_TRACE_STRACE_H
#define ANONVM_TOOL_TRACE_STRACE_H

#include "trace_priv.h"

#define STRACE_MAX_ARGS 8

enum strace_form {
	STRACE_CALL,		/* name(args) = result */
	STRACE_UNFINISHED,	/* name(args <unfinished ...> */
	STRACE_RESUMED,		/* <... name resumed>args) = result */
	STRACE_EXITED,		/* +++ exited with N +++, +++ killed by SIG +++ */
	STRACE_SUPERSEDED,	/* +++ superseded by execve in pid N +++ */
	STRACE_SIGNAL,		/* --- SIG... --- */
};

struct strace_line {
	bool has_tid;
	int32_t tid;
	uint64_t time;
	enum strace_form form;
	struct trace_str name;
	struct scan rest;	/* after "name(", or after "resumed>" */
	int32_t other;		/* STRACE_SUPERSEDED: by which thread */
};

/* What follows "name(": arguments, and the result unless it is unfinished. */
struct strace_call {
	unsigned int nargs;
	struct trace_str arg[STRACE_MAX_ARGS];
	struct trace_str result;	/* "0x7f... ...", "-1 ENOMEM (...)", "?"; empty: none */
};

/* => false: not a line of strace -ttt */
bool strace_parse_line(const char *p, const char *end, struct strace_line *l);
/* Split "args) = result"; => false when it does not end as it should (complete says it must). */
bool strace_split(struct scan s, bool complete, struct strace_call *c);
/* The value of an argument: numbers, constants, flags or-ed. => false: not known */
bool strace_value(struct trace_str s, uint64_t *v);
/* "fd</path>" => the path, or empty */
struct trace_str strace_fd_path(struct trace_str s);
/*
 * The result: *ret or *err; *none for "?". => false: malformed. An errno without a number here
 * is EINVAL, and *known is false.
 */
bool strace_result(struct trace_str s, uint64_t *ret, int *err, bool *none, bool *known);

#endif /* ANONVM_TOOL_TRACE_STRACE_H */
