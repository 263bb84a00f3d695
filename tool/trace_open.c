/* SPDX-License-Identifier: MIT */
/*
 * The trace reader's front: opening (what is this file?), errors and complaints, names.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "trace_priv.h"

/* How far into a file the first record is looked for. */
#define SNIFF_MAX (256u * 1024)

static const struct {
	const char *name;
	unsigned int nargs;
} calls[TRACE_NR_CALLS] = {
	[TRACE_CALL_MMAP] = { "mmap", 6 },
	[TRACE_CALL_MUNMAP] = { "munmap", 2 },
	[TRACE_CALL_MPROTECT] = { "mprotect", 3 },
	[TRACE_CALL_PKEY_MPROTECT] = { "pkey_mprotect", 4 },
	[TRACE_CALL_MREMAP] = { "mremap", 5 },
	[TRACE_CALL_REMAP_FILE_PAGES] = { "remap_file_pages", 5 },
	[TRACE_CALL_MADVISE] = { "madvise", 3 },
	[TRACE_CALL_PROCESS_MADVISE] = { "process_madvise", 5 },
	[TRACE_CALL_BRK] = { "brk", 1 },
	[TRACE_CALL_MLOCK] = { "mlock", 2 },
	[TRACE_CALL_MLOCK2] = { "mlock2", 3 },
	[TRACE_CALL_MUNLOCK] = { "munlock", 2 },
	[TRACE_CALL_MLOCKALL] = { "mlockall", 1 },
	[TRACE_CALL_MUNLOCKALL] = { "munlockall", 0 },
	[TRACE_CALL_MBIND] = { "mbind", 6 },
	[TRACE_CALL_MSYNC] = { "msync", 3 },
	[TRACE_CALL_MINCORE] = { "mincore", 3 },
	[TRACE_CALL_MSEAL] = { "mseal", 3 },
	[TRACE_CALL_SHMAT] = { "shmat", 3 },
	[TRACE_CALL_SHMDT] = { "shmdt", 1 },
	[TRACE_CALL_FTRUNCATE] = { "ftruncate", 2 },
	[TRACE_CALL_FALLOCATE] = { "fallocate", 4 },
	[TRACE_CALL_PRCTL] = { "prctl", 5 },
};

static const char *const kinds[TRACE_NR_KINDS] = {
	[TRACE_SYS_ENTER] = "sys_enter", [TRACE_SYS_EXIT] = "sys_exit",
	[TRACE_FAULT] = "fault",	 [TRACE_RSS] = "rss",
	[TRACE_NEWTASK] = "newtask",	 [TRACE_COMM] = "comm",
	[TRACE_EXEC] = "exec",		 [TRACE_MMAP] = "mmap",
	[TRACE_EXIT] = "exit",		 [TRACE_REC_FORK] = "rec_fork",
	[TRACE_REC_EXIT] = "rec_exit",	 [TRACE_LOST] = "lost",
	[TRACE_OTHER] = "other",
};

const char *trace_call_name(enum trace_call call)
{
	return (unsigned int)call < TRACE_NR_CALLS ? calls[call].name : "?";
}

const char *trace_kind_name(enum trace_kind kind)
{
	return (unsigned int)kind < TRACE_NR_KINDS ? kinds[kind] : "?";
}

int trace_lookup_call(const char *name, size_t n)
{
	for (int i = 0; i < TRACE_NR_CALLS; i++) {
		if (strlen(calls[i].name) == n && !memcmp(calls[i].name, name, n))
			return i;
	}
	return -1;
}

unsigned int trace_call_nargs(enum trace_call call)
{
	return calls[call].nargs;
}

uint64_t trace_fix_arg(enum trace_call call, unsigned int i, uint64_t v)
{
	bool is_fd = (call == TRACE_CALL_MMAP && i == 4) || (call == TRACE_CALL_SHMAT && i == 0) ||
		     ((call == TRACE_CALL_FTRUNCATE || call == TRACE_CALL_FALLOCATE ||
		       call == TRACE_CALL_PROCESS_MADVISE) &&
		      i == 0);

	return is_fd ? (uint64_t)(int64_t)(int32_t)(uint32_t)v : v;
}

char *trace_quote(char *buf, size_t size, struct trace_str s)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	if (!size)
		return buf;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		/* Room for the longest form, the dots and the terminator. */
		if (n + 4 + 3 + 1 > size) {
			for (int dots = 0; dots < 3 && n + 1 < size; dots++)
				buf[n++] = '.';
			break;
		}
		if (c == '\n' || c == '\t' || c == '\\') {
			buf[n++] = '\\';
			buf[n++] = c == '\n' ? 'n' : c == '\t' ? 't' : '\\';
		} else if (c >= 0x20 && c < 0x7f) {
			buf[n++] = (char)c;
		} else {
			buf[n++] = '\\';
			buf[n++] = 'x';
			buf[n++] = hex[c >> 4];
			buf[n++] = hex[c & 15];
		}
	}
	buf[n] = '\0';
	return buf;
}

__attribute__((format(printf, 4, 0))) static void
message(const struct trace *t, char out[TRACE_ERR_MAX], uint64_t line, const char *fmt, va_list ap)
{
	char name[TRACE_ERR_MAX / 2];
	int n;

	trace_quote(name, sizeof(name), scan_str(t->name, t->name + strlen(t->name)));
	if (line)
		n = snprintf(out, TRACE_ERR_MAX, "%s:%llu: ", name, (unsigned long long)line);
	else
		n = snprintf(out, TRACE_ERR_MAX, "%s: ", name);
	vsnprintf(out + n, TRACE_ERR_MAX - (size_t)n, fmt, ap);
}

int trace_fail(struct trace *t, int err, uint64_t line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message(t, t->error, line, fmt, ap);
	va_end(ap);
	t->failed = err;
	return err;
}

int trace_refuse(struct trace *t, uint64_t line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message(t, t->error, line, fmt, ap);
	va_end(ap);
	t->failed = -EINVAL;
	return t->failed;
}

void trace_complain(struct trace *t, uint64_t line, const char *fmt, ...)
{
	uint64_t i = t->stats.bad_lines++;
	va_list ap;

	if (i >= TRACE_COMPLAINTS)
		return;
	va_start(ap, fmt);
	message(t, t->complaint[i], line, fmt, ap);
	va_end(ap);
}

static int fail_read(struct trace *t, int rc)
{
	return trace_fail(t, rc, t->line, "%s", strerror(-rc));
}

/* The text is at its end. If a child made it, was that all of it? */
static int check_child(struct trace *t)
{
	char err[TRACE_ERR_MAX];
	int rc = source_child_status(&t->src, err);

	return rc ? trace_fail(t, rc, t->line, "%s", err) : 0;
}

int trace_line_end(struct trace *t, size_t off, size_t *end)
{
	struct trace_source *s = &t->src;

	for (size_t seen = off;;) {
		const char *p = s->buf + s->pos;
		const char *nl = NULL;

		if (source_avail(s) > seen)
			nl = memchr(p + seen, '\n', source_avail(s) - seen);
		if (nl) {
			*end = (size_t)(nl - p);
			return 1;
		}
		seen = source_avail(s) > off ? source_avail(s) : off;
		if (seen - off > TRACE_LINE_MAX)
			return trace_fail(t, -EINVAL, t->line, "line longer than %u bytes",
					  TRACE_LINE_MAX);

		int rc = source_more(s);

		if (rc < 0)
			return fail_read(t, rc);
		if (rc)
			continue;
		rc = check_child(t);
		if (rc)
			return rc;
		if (source_avail(s) <= off)
			return 0;
		return trace_fail(t, -EINVAL, t->line,
				  "the trace is cut in the middle of this line");
	}
}

/* Which format is the first record of? Sees the first SNIFF_MAX bytes. */
static int sniff(struct trace *t)
{
	struct trace_source *s = &t->src;
	int rc = 1;

	while (rc > 0 && source_avail(s) < SNIFF_MAX)
		rc = source_more(s);
	if (rc < 0)
		return fail_read(t, rc);
	if (!source_avail(s)) {
		rc = check_child(t);
		return rc ? rc : trace_fail(t, -EINVAL, 1, "empty: not a trace");
	}

	const char *p = s->buf + s->pos;
	const char *end = p + source_avail(s);

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));

		if (perf_is_record(p, end)) {
			t->format = TRACE_PERF;
			return 0;
		}
		if (strace_is_record(p, nl ? nl : end)) {
			t->format = TRACE_STRACE;
			return 0;
		}
		p = nl ? nl + 1 : end;
	}
	rc = s->eof ? check_child(t) : 0;
	return rc ? rc :
		    trace_fail(
			    t, -EINVAL, 1,
			    "not a trace: neither text of `perf script --ns -F comm,pid,tid,cpu,time,event,trace,addr`"
			    " nor a log of `strace -f -ttt -y`");
}

static int finish_open(struct trace **out, struct trace *t, int rc, char err[TRACE_ERR_MAX])
{
	if (!rc)
		rc = sniff(t);
	if (!rc && t->format == TRACE_STRACE)
		rc = strace_open(t);
	if (!rc) {
		*out = t;
		return 0;
	}
	if (!t->failed)
		fail_read(t, rc);
	memcpy(err, t->error, TRACE_ERR_MAX);
	trace_close(t);
	return rc;
}

static struct trace *new_trace(const char *name, char err[TRACE_ERR_MAX])
{
	struct trace *t = calloc(1, sizeof(*t));

	if (t) {
		t->src = (struct trace_source){ .fd = -1, .child_err = -1 };
		t->name = strdup(name);
		t->line = 1;
	}
	if (!t || !t->name) {
		free(t);
		snprintf(err, TRACE_ERR_MAX, "out of memory");
		return NULL;
	}
	return t;
}

int trace_open_mem(struct trace **out, const char *text, size_t len, const char *name,
		   char err[TRACE_ERR_MAX])
{
	struct trace *t = new_trace(name, err);

	if (!t)
		return -ENOMEM;
	source_open_mem(&t->src, text, len);
	return finish_open(out, t, 0, err);
}

static int open_child(struct trace *t, char *const argv[], int fd)
{
	int rc = source_open_child(&t->src, argv, fd);

	if (rc)
		trace_fail(t, rc, 0, "cannot run %s: %s", argv[0], strerror(-rc));
	return rc;
}

static int open_perf_data(struct trace *t, const char *path)
{
	char *const argv[] = {
		"perf",
		"script",
		"--ns",
		"-i",
		(char *)(uintptr_t)path,
		"--show-mmap-events",
		"--show-task-events",
		"--show-lost-events",
		"-F",
		"comm,pid,tid,cpu,time,event,trace,addr",
		NULL,
	};

	return open_child(t, argv, -1);
}

/* By its first bytes, fd is text, or something a child makes text of. fd is ours to close. */
static int open_by_magic(struct trace *t, const char *path, int fd)
{
	static const struct {
		unsigned char bytes[6];
		size_t n;
		char *argv[4];
	} packers[] = {
		{ { 0x1f, 0x8b }, 2, { "gzip", "-dc", NULL } },
		{ { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, { "xz", "-dc", NULL } },
		{ { 0x28, 0xb5, 0x2f, 0xfd }, 4, { "zstd", "-dcq", NULL } },
	};
	unsigned char head[8] = { 0 };
	ssize_t n = pread(fd, head, sizeof(head), 0);

	/* A pipe has no beginning to come back to: it is taken for text. */
	if (n < 0 && errno == ESPIPE)
		return source_open_fd(&t->src, fd);
	if (n < 0) {
		n = -errno;
		close(fd);
		return (int)n;
	}
	for (size_t i = 0; i < sizeof(packers) / sizeof(packers[0]); i++) {
		if (memcmp(head, packers[i].bytes, packers[i].n) != 0)
			continue;

		int rc = open_child(t, packers[i].argv, fd);

		close(fd);
		return rc;
	}
	if (memcmp(head, "PERFILE2", 8) == 0) {
		close(fd);
		return open_perf_data(t, path);
	}
	return source_open_fd(&t->src, fd);
}

int trace_open(struct trace **out, const char *path, char err[TRACE_ERR_MAX])
{
	bool std_in = !strcmp(path, "-");
	struct trace *t = new_trace(std_in ? "<stdin>" : path, err);
	int fd;

	if (!t)
		return -ENOMEM;
	fd = std_in ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		int rc = -errno;

		trace_fail(t, rc, 0, "%s", strerror(-rc));
		return finish_open(out, t, rc, err);
	}
	return finish_open(out, t, open_by_magic(t, std_in ? "/dev/stdin" : path, fd), err);
}

int trace_next(struct trace *t, struct trace_event *ev)
{
	int rc;

	if (t->failed)
		return t->failed;
	rc = t->format == TRACE_PERF ? perf_next(t, ev) : strace_next(t, ev);
	t->stats.lines = t->line - 1;
	if (rc <= 0)
		return rc;
	t->stats.events++;
	t->stats.kind[ev->kind]++;
	if (ev->kind == TRACE_LOST)
		t->stats.lost += ev->lost;
	if (ev->time && ev->time < t->last_time)
		t->stats.unordered++;
	if (ev->time)
		t->last_time = ev->time;
	return rc;
}

const char *trace_error(const struct trace *t)
{
	return t->error;
}

const char *trace_complaint(const struct trace *t, unsigned int i)
{
	return i < TRACE_COMPLAINTS && i < t->stats.bad_lines ? t->complaint[i] : NULL;
}

const struct trace_stats *trace_stats(const struct trace *t)
{
	return &t->stats;
}

enum trace_format trace_format(const struct trace *t)
{
	return t->format;
}

struct trace_str trace_raw(const struct trace *t)
{
	return (struct trace_str){ t->raw, t->raw_len };
}

void trace_close(struct trace *t)
{
	if (!t)
		return;
	strace_close(t);
	source_close(&t->src);
	free(t->name);
	free(t);
}
