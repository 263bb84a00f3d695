/* SPDX-License-Identifier: MIT */
/*
 * Between the two halves of the strace reader: a line taken apart. trace_strace.c
 * makes events of lines, trace_strace_tasks.c knows the tasks.
 */
#ifndef ANONVM_TOOL_TRACE_STRACE_H
#define ANONVM_TOOL_TRACE_STRACE_H

#include "trace_priv.h"

#define STRACE_MAX_ARGS 8

enum strace_form {
	STRACE_CALL, /* name(args) = result */
	STRACE_UNFINISHED, /* name(args <unfinished ...> */
	STRACE_RESUMED, /* <... name resumed>args) = result */
	STRACE_EXITED, /* +++ exited with N +++, +++ killed by SIG +++ */
	STRACE_SUPERSEDED, /* +++ superseded by execve in pid N +++ */
	STRACE_SIGNAL, /* --- SIG... --- */
};

struct strace_line {
	bool has_tid;
	int32_t tid;
	uint64_t time;
	enum strace_form form;
	struct trace_str name;
	struct scan rest; /* after "name(", or after "resumed>" */
	int32_t other; /* STRACE_SUPERSEDED: by which thread */
};

/* What follows "name(": arguments, and the result unless it is unfinished. */
struct strace_call {
	unsigned int nargs;
	struct trace_str arg[STRACE_MAX_ARGS];
	struct trace_str result; /* "0x7f... ...", "-1 ENOMEM (...)", "?"; empty: none */
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

/* --- trace_strace_tasks.c --------------------------------------------------------------------- */

struct strace_task {
	int32_t tid;
	int32_t tgid;
	uint32_t threads; /* alive, of the group: in the leader's entry */
	bool used, alive;
	struct trace_str pending; /* name of the call that is unfinished, or empty */
	struct scan pending_args;
	int32_t announced; /* child of the pending clone that has been given already */
};

struct strace_birth {
	int32_t child, parent; /* parent 0: the root */
	bool taken;
};

struct strace_tasks {
	struct strace_task *tasks; /* hash by tid, open addressing; entries stay for good */
	size_t ntasks, task_slots;
	struct strace_birth *births; /* by child, those of one child in the order of the text */
	size_t nbirths, birth_cap;
	int32_t root; /* whose lines have no thread id */
};

bool strace_name_is(struct trace_str s, const char *name);
bool strace_is_clone(struct trace_str name);
/* The child that a call of the clone family gave, or 0. */
int32_t strace_child_of(const struct strace_call *c);

struct strace_task *strace_find_task(struct strace_tasks *r, int32_t tid);
/*
 * A task begins to live, or lives again under a number used before. Moves the table.
 * => 0 or -ENOMEM
 */
int strace_add_task(struct strace_tasks *r, int32_t tid, int32_t tgid);
/* => it was the last of its group */
bool strace_remove_task(struct strace_tasks *r, struct strace_task *k);
/* First pass. => 0 or -ENOMEM */
int strace_note_births(struct strace_tasks *r, struct scan text);
/* The next birth of this child that is not taken yet, or NULL. */
struct strace_birth *strace_find_birth(struct strace_tasks *r, int32_t child);
void strace_free_tasks(struct strace_tasks *r);

#endif /* ANONVM_TOOL_TRACE_STRACE_H */
