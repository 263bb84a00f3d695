/* SPDX-License-Identifier: MIT */
/*
 * Inside of the trace reader: the window on the text, the scanner, and what each format supplies.
 */
#ifndef ANONVM_TOOL_TRACE_PRIV_H
#define ANONVM_TOOL_TRACE_PRIV_H

#include <string.h>
#include <sys/types.h>

#include "trace.h"

/* A file, a child's output or memory, seen through a window [pos, len) of buf. */
struct trace_source {
	int fd; /* -1 for memory */
	pid_t child; /* 0: none */
	int child_err; /* file that collects the child's stderr, -1: none */
	const char *child_name;
	char *own; /* the buffer, NULL for memory */
	const char *buf;
	size_t cap, pos, len;
	bool eof;
};

struct strace_reader;

struct trace {
	struct trace_source src;
	char *name;
	enum trace_format format;
	uint64_t line; /* number of the line at src.pos */
	uint64_t last_time;
	const char *raw; /* the record of the last event, in the window */
	size_t raw_len;
	struct strace_reader *strace;
	struct trace_stats stats;
	int failed;
	char error[TRACE_ERR_MAX];
	char complaint[TRACE_COMPLAINTS][TRACE_ERR_MAX];
};

/* trace_source.c */
int source_open_fd(struct trace_source *s, int fd);
void source_open_mem(struct trace_source *s, const char *text, size_t len);
/* Read through a child: argv as for exec, in_fd its standard input (-1: none). => 0 or -errno */
int source_open_child(struct trace_source *s, char *const argv[], int in_fd);
/* Make the window longer: => 1, 0 at the end, or -errno. Moves the text: pointers go stale. */
int source_more(struct trace_source *s);
/* Read all there is, at most limit bytes. => 0, -EFBIG, or -errno */
int source_load(struct trace_source *s, size_t limit);
/*
 * At the end of the text: did the child do its work? => 0, or -EIO with its own words, or how it
 * ended, in err.
 */
int source_child_status(struct trace_source *s, char err[TRACE_ERR_MAX]);
void source_close(struct trace_source *s);

static inline size_t source_avail(const struct trace_source *s)
{
	return s->len - s->pos;
}

/* trace_open.c */
__attribute__((format(printf, 4, 5))) int trace_fail(struct trace *t, int err, uint64_t line,
						     const char *fmt, ...);
__attribute__((format(printf, 3, 4))) void trace_complain(struct trace *t, uint64_t line,
							  const char *fmt, ...);
int trace_lookup_call(const char *name, size_t n); /* enum trace_call, or -1 */
unsigned int trace_call_nargs(enum trace_call call);
/* fd, flags and the like are ints: make of argument i what the kernel makes of it. */
uint64_t trace_fix_arg(enum trace_call call, unsigned int i, uint64_t v);
/*
 * Find the end of the line that starts off bytes after src.pos. => 1 and *end (the offset of the
 * newline), 0 at the end of the text (no byte left), or the error, already told (cut or giant line).
 */
int trace_line_end(struct trace *t, size_t off, size_t *end);
/* Text of the last event's record, newline included; strace: of its line. */
struct trace_str trace_raw(const struct trace *t);

/* trace_perf.c, trace_strace.c */
bool perf_is_record(const char *p, const char *end);
int perf_next(struct trace *t, struct trace_event *ev);
bool strace_is_record(const char *p, const char *end);
int strace_open(struct trace *t);
int strace_next(struct trace *t, struct trace_event *ev);
void strace_close(struct trace *t);

/* trace_consts.c */
/* A symbolic constant of strace's (x86-64 numbers). => false: not known */
bool trace_const(const char *name, size_t n, uint64_t *value);
int trace_errno(const char *name, size_t n); /* 0: not known */

/* The scanner: a cursor that never passes end. Each step => false and *unchanged* on a mismatch. */
struct scan {
	const char *p;
	const char *end;
};

static inline bool scan_char(struct scan *s, char c)
{
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static inline bool scan_lit_n(struct scan *s, const char *lit, size_t n)
{
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, lit, n) != 0)
		return false;
	s->p += n;
	return true;
}

#define scan_lit(s, lit) scan_lit_n((s), "" lit, sizeof(lit) - 1)

static inline void scan_spaces(struct scan *s)
{
	while (s->p < s->end && *s->p == ' ')
		s->p++;
}

/* Decimal digits; a number that overflows 64 bits is a mismatch. */
static inline bool scan_dec(struct scan *s, uint64_t *out)
{
	const char *p = s->p;
	uint64_t v = 0;

	while (p < s->end && *p >= '0' && *p <= '9') {
		uint64_t d = (uint64_t)(*p - '0');

		if (v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
		p++;
	}
	if (p == s->p)
		return false;
	s->p = p;
	*out = v;
	return true;
}

static inline int scan_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Hexadecimal digits without a prefix, at most 16 of them that count. */
static inline bool scan_hex(struct scan *s, uint64_t *out)
{
	const char *p = s->p;
	uint64_t v = 0;

	for (; p < s->end; p++) {
		int d = scan_digit(*p);

		if (d < 0)
			break;
		if (v >> 60)
			return false;
		v = v << 4 | (uint64_t)d;
	}
	if (p == s->p)
		return false;
	s->p = p;
	*out = v;
	return true;
}

static inline bool scan_0x(struct scan *s, uint64_t *out)
{
	struct scan c = *s;

	if (!scan_lit(&c, "0x") || !scan_hex(&c, out))
		return false;
	*s = c;
	return true;
}

/* A pid: decimal, or -1. */
static inline bool scan_pid(struct scan *s, int32_t *out)
{
	struct scan c = *s;
	bool minus = scan_char(&c, '-');
	uint64_t v;

	if (!scan_dec(&c, &v) || v > INT32_MAX)
		return false;
	*out = minus ? -(int32_t)v : (int32_t)v;
	*s = c;
	return true;
}

/* The same in base 10 from the right: the cursor's end moves. */
static inline bool rscan_lit_n(struct scan *s, const char *lit, size_t n)
{
	if ((size_t)(s->end - s->p) < n || memcmp(s->end - n, lit, n) != 0)
		return false;
	s->end -= n;
	return true;
}

#define rscan_lit(s, lit) rscan_lit_n((s), "" lit, sizeof(lit) - 1)

static inline void rscan_spaces(struct scan *s)
{
	while (s->end > s->p && s->end[-1] == ' ')
		s->end--;
}

/* The last word " key=VALUE" of the text: takes VALUE off, then key. */
static inline bool rscan_word(struct scan *s, const char *key, size_t n, struct scan *value)
{
	const char *p = s->end;

	while (p > s->p && p[-1] != '=' && p[-1] != ' ' && p[-1] != '\n')
		p--;
	value->p = p;
	value->end = s->end;
	if ((size_t)(p - s->p) < n || memcmp(p - n, key, n) != 0)
		return false;
	s->end = p - n;
	return true;
}

static inline struct trace_str scan_str(const char *p, const char *end)
{
	return (struct trace_str){ p, (size_t)(end - p) };
}

#endif /* ANONVM_TOOL_TRACE_PRIV_H */
