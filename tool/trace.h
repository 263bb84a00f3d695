/* SPDX-License-Identifier: MIT */
/*
 * Reader of traces: one stream of events out of either format.
 *
 *	perf	the text of `perf script` (or a perf.data file, which is read by running `perf script`)
 *	strace	the log of `strace -f -ttt -y`
 *
 * Text may be compressed by gzip, xz or zstd: what a file is, is told by its first bytes, never by
 * its name, and the decompressor runs as a child process without a shell.
 *
 *	struct trace *t;
 *	struct trace_event ev;
 *	char err[TRACE_ERR_MAX];
 *	int rc;
 *
 *	if (trace_open(&t, "redis.trace.xz", err) < 0)
 *		die(err);
 *	while ((rc = trace_next(t, &ev)) > 0)
 *		...
 *	if (rc < 0)
 *		die(trace_error(t));
 *	if (trace_stats(t)->bad_lines)
 *		die(trace_complaint(t, 0));
 *	trace_close(t);
 *
 * The trace is the word of a stranger. Any input whatever gives events, complaints and at most one
 * error; memory use is bounded (perf text: a buffer; strace: the text, at most TRACE_STRACE_MAX).
 *
 * What becomes of bad input, so that nothing is dropped in silence:
 *
 *  - fatal: trace_next() returns a negative errno, trace_error() says "FILE:LINE: what is wrong".
 *    Events already given stay true. A program should say so and exit with status 2. It is: a file
 *    without any line of a trace; a line of an event listed below whose fields do not parse; a last
 *    line without its newline (the trace was cut in the middle of a line); a line that is longer
 *    than TRACE_LINE_MAX; a decompressor or `perf script` that fails (cut or damaged files); a NUL
 *    byte in a record.
 *  - complaint: reading goes on, the line is counted in `bad_lines`, and the first TRACE_COMPLAINTS
 *    texts are kept: a line that is no record and continues none (garbage). A program should give
 *    its report, print the complaints and exit with status 2.
 *  - counted: events the recorder lost (TRACE_LOST, `lost`); records of events not listed here
 *    (TRACE_OTHER, `other`); lines that are known to carry nothing: blank ones, `#` headers, call
 *    chains, the remarks of strace (`skipped`); time that runs backwards, as in traces that were
 *    glued together (`unordered`); symbolic constants this reader does not know (`unknown_args`);
 *    results of calls that were begun before the trace, or never (`orphans`, strace only: perf's
 *    are given as they come, the user pairs them by tid).
 *
 * A comm or a file name may contain newlines: what looks like a record inside of one cannot be told
 * from a record, in text. Lines that are no record and follow one that ends in free text (COMM,
 * MMAP2, sched_process_exec, sched_process_exit, task_newtask) belong to it.
 */
#ifndef ANONVM_TOOL_TRACE_H
#define ANONVM_TOOL_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_ERR_MAX 512
#define TRACE_LINE_MAX (64u * 1024)
#define TRACE_STRACE_MAX (1u << 30)
#define TRACE_COMPLAINTS 8

enum trace_format {
	TRACE_PERF,
	TRACE_STRACE,
};

enum trace_kind {
	TRACE_SYS_ENTER, /* sys: call, arg[], nargs */
	TRACE_SYS_EXIT, /* sys: call, ret, err; strace: arg[] as well */
	TRACE_FAULT, /* fault (perf only) */
	TRACE_RSS, /* rss (perf only) */
	TRACE_NEWTASK, /* newtask: pid/tid are the parent's */
	TRACE_COMM, /* comm: exec is set when the address space was replaced just now */
	TRACE_EXEC, /* exec: sched_process_exec, *after* the new image's MMAPs */
	TRACE_MMAP, /* mmap: PERF_RECORD_MMAP/MMAP2 (perf only): a VMA as it is, merged */
	TRACE_EXIT, /* exit: one thread is gone */
	TRACE_REC_FORK, /* task: PERF_RECORD_FORK (comes before the NEWTASK of the same child) */
	TRACE_REC_EXIT, /* task: PERF_RECORD_EXIT (comes after the EXIT of the same thread) */
	TRACE_LOST, /* lost: n events are missing hereabouts */
	TRACE_OTHER, /* a record of some other event: `name` */
	TRACE_NR_KINDS,
};

/* The calls that are decoded. Arguments are numbered as in the manual page of the system call. */
enum trace_call {
	TRACE_CALL_MMAP, /* addr len prot flags fd off */
	TRACE_CALL_MUNMAP, /* addr len */
	TRACE_CALL_MPROTECT, /* start len prot */
	TRACE_CALL_PKEY_MPROTECT, /* start len prot pkey */
	TRACE_CALL_MREMAP, /* addr old_len new_len flags new_addr */
	TRACE_CALL_REMAP_FILE_PAGES, /* start size prot pgoff flags */
	TRACE_CALL_MADVISE, /* start len behaviour */
	TRACE_CALL_PROCESS_MADVISE, /* pidfd vec vlen behaviour flags */
	TRACE_CALL_BRK, /* brk */
	TRACE_CALL_MLOCK, /* start len */
	TRACE_CALL_MLOCK2, /* start len flags */
	TRACE_CALL_MUNLOCK, /* start len */
	TRACE_CALL_MLOCKALL, /* flags */
	TRACE_CALL_MUNLOCKALL,
	TRACE_CALL_MBIND, /* start len mode nmask maxnode flags */
	TRACE_CALL_MSYNC, /* start len flags */
	TRACE_CALL_MINCORE, /* start len vec */
	TRACE_CALL_MSEAL, /* start len flags */
	TRACE_CALL_SHMAT, /* shmid shmaddr shmflg */
	TRACE_CALL_SHMDT, /* shmaddr */
	TRACE_CALL_FTRUNCATE, /* fd length */
	TRACE_CALL_FALLOCATE, /* fd mode offset len */
	TRACE_CALL_PRCTL, /* option arg2 arg3 arg4 arg5 */
	TRACE_NR_CALLS,
};

/* A piece of the trace's text, not terminated, any bytes; valid until the next trace_next(). */
struct trace_str {
	const char *p;
	size_t n;
};

struct trace_sys {
	enum trace_call call;
	unsigned int nargs;
	/* As the kernel was given them. fd and the like are sign-extended: (int)arg[4] == -1. */
	uint64_t arg[6];
	/* Bit i: argument i is not known (missing, or a constant this reader has no number for). */
	unsigned int unknown;
	uint64_t ret; /* 0 when err is set */
	int err; /* 0 or a positive errno */
	bool no_result; /* strace: the call never came back ("= ?") */
	struct trace_str path; /* strace: file of the fd argument, with -y; else empty */
};

/* x86 error code bits; the field is 0 and has_code false for software page-fault events. */
#define TRACE_PF_PRESENT 0x01u
#define TRACE_PF_WRITE 0x02u
#define TRACE_PF_USER 0x04u
#define TRACE_PF_INSTR 0x10u

struct trace_fault {
	uint64_t addr;
	uint64_t code;
	bool has_code; /* false: exceptions:* did not exist where this was recorded */
	bool kernel; /* page_fault_kernel: the kernel touched the address (copy_to_user...) */
	bool addr_is_symbol; /* an address of the kernel itself, printed by name: addr is ~0 */
	struct trace_str ip; /* symbol of a kernel fault; hexadecimal otherwise */
};

enum trace_rss_type {
	TRACE_RSS_FILE,
	TRACE_RSS_ANON,
	TRACE_RSS_SWAP,
	TRACE_RSS_SHMEM,
};

struct trace_rss {
	uint64_t mm_id; /* the same number for the same mm, throughout */
	bool curr; /* the mm is the current task's own */
	enum trace_rss_type type;
	int64_t bytes;
};

#define TRACE_CLONE_VM 0x100u
#define TRACE_CLONE_VFORK 0x4000u
#define TRACE_CLONE_THREAD 0x10000u

struct trace_newtask {
	int32_t child_pid; /* thread group: the parent's for a thread, else child_tid */
	int32_t child_tid;
	uint64_t clone_flags;
	struct trace_str comm;
};

struct trace_comm {
	int32_t pid, tid; /* whose comm it is: perf's exec of a thread has the leader's here */
	bool exec;
	struct trace_str comm;
};

struct trace_exec {
	struct trace_str filename;
	int32_t pid; /* tid after the exec (the leader's) */
	int32_t old_pid; /* tid before */
};

#define TRACE_PROT_READ 1u
#define TRACE_PROT_WRITE 2u
#define TRACE_PROT_EXEC 4u

struct trace_mmap {
	int32_t pid, tid; /* -1: the kernel's own */
	uint64_t start, len;
	/* Bytes. For anonymous memory the kernel reports vm_pgoff << PAGE_SHIFT, as for files. */
	uint64_t pgoff;
	unsigned int dev_major, dev_minor;
	uint64_t inode, inode_generation;
	bool v2; /* MMAP2; plain MMAP has no device, inode nor protection but x */
	bool has_inode; /* false: MMAP, or MMAP2 with a build id in its place */
	unsigned int prot; /* TRACE_PROT_ */
	bool shared;
	struct trace_str filename; /* "//anon", "[stack]", "/dev/zero (deleted)", a path... */
};

struct trace_exit {
	struct trace_str comm;
	int32_t tid; /* the thread that is gone */
	bool group_dead; /* it was the last of its thread group */
	bool has_group_dead; /* false: an older kernel does not say */
};

struct trace_task {
	int32_t pid, tid;
	int32_t parent_pid, parent_tid;
};

struct trace_event {
	enum trace_kind kind;
	int32_t pid, tid; /* -1: no longer known to the kernel; the header's, for perf */
	int32_t cpu; /* -1: strace does not say */
	uint64_t time; /* ns; perf: CLOCK_MONOTONIC or what was recorded; strace: wall clock */
	uint64_t line; /* where the record begins, from 1 */
	struct trace_str task_comm; /* perf: the first 16 columns without the padding */
	struct trace_str name; /* perf: name of the event, strace: of the call */
	union {
		struct trace_sys sys;
		struct trace_fault fault;
		struct trace_rss rss;
		struct trace_newtask newtask;
		struct trace_comm comm;
		struct trace_exec exec;
		struct trace_mmap mmap;
		struct trace_exit exit;
		struct trace_task task;
		uint64_t lost;
	};
};

/* Of perf text, every line is accounted for: lines == events + bad_lines + skipped + continued. */
struct trace_stats {
	uint64_t lines;
	uint64_t events; /* given by trace_next(), all kinds */
	uint64_t kind[TRACE_NR_KINDS];
	uint64_t lost; /* sum over TRACE_LOST */
	uint64_t bad_lines; /* complaints */
	uint64_t skipped;
	uint64_t continued; /* lines after the first of a record: names with newlines */
	uint64_t unordered;
	uint64_t unknown_args;
	uint64_t orphans;
};

struct trace;

/*
 * Open a trace; "-" is the standard input (uncompressed text only, it cannot be rewound).
 * => 0, or a negative errno with a message in err, of which *out is not set.
 */
int trace_open(struct trace **out, const char *path, char err[TRACE_ERR_MAX]);

/*
 * The same from memory, which must stay until trace_close(). name is for messages. Plain text only.
 */
int trace_open_mem(struct trace **out, const char *text, size_t len, const char *name,
		   char err[TRACE_ERR_MAX]);

/*
 * => 1 and *ev filled in; 0 at the end of a trace that was read to its end without error; or a
 * negative errno (-EINVAL bad input, -EIO, -ENOMEM), again at every later call.
 */
int trace_next(struct trace *t, struct trace_event *ev);

/*
 * A user of the events finds that it cannot go on with them: trace_next() fails from here on, trace_error() says this.
 * => -EINVAL
 */
__attribute__((format(printf, 3, 4))) int trace_refuse(struct trace *t, uint64_t line,
						       const char *fmt, ...);

/* The error of trace_next(), "FILE:LINE: text", printable whatever the trace contains. */
const char *trace_error(const struct trace *t);

/* Complaint i, "FILE:LINE: text", or NULL; i < TRACE_COMPLAINTS. There may have been more. */
const char *trace_complaint(const struct trace *t, unsigned int i);

const struct trace_stats *trace_stats(const struct trace *t);
enum trace_format trace_format(const struct trace *t);

/* Ends a decompressor that still runs. NULL is allowed. */
void trace_close(struct trace *t);

const char *trace_call_name(enum trace_call call); /* "mmap" */
const char *trace_kind_name(enum trace_kind kind); /* "sys_enter" */

/*
 * Write s into buf as printable ASCII (\n, \xHH, cut with "..." when too long), always terminated:
 * names in traces may hold the escape sequences of terminals. => buf
 */
char *trace_quote(char *buf, size_t size, struct trace_str s);

#endif /* ANONVM_TOOL_TRACE_H */
