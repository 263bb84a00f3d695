/* SPDX-License-Identifier: MIT */
/* Traces from strings, for the tests of the trace reader. */
#ifndef TESTS_UNIT_TRACE_TEXT_H
#define TESTS_UNIT_TRACE_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "trace.h"

/* A trace of exactly these bytes, in a block of its own: a sanitizer sees the first one too many. */
struct text {
	struct trace *trace;
	char *bytes;
	char err[TRACE_ERR_MAX];
};

static inline int text_open_n(struct text *x, const char *text, size_t n)
{
	x->trace = NULL;
	x->err[0] = '\0';
	x->bytes = malloc(n ? n : 1);
	if (!x->bytes)
		abort();
	memcpy(x->bytes, text, n);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): text_close() frees it */
	return trace_open_mem(&x->trace, x->bytes, n, "T", x->err);
}

static inline void text_close(struct text *x)
{
	trace_close(x->trace);
	free(x->bytes);
	x->trace = NULL;
	x->bytes = NULL;
}

static inline void text_open(struct text *x, const char *text)
{
	if (text_open_n(x, text, strlen(text)) < 0)
		fail_msg("not opened: %s", x->err);
}

/* The next event must be there and of this kind. */
static inline void text_next(struct text *x, struct trace_event *ev, enum trace_kind kind)
{
	int rc = trace_next(x->trace, ev);

	if (rc != 1)
		fail_msg("no event (%d): %s", rc, trace_error(x->trace));
	if (ev->kind != kind)
		fail_msg("line %llu: %s, expected %s", (unsigned long long)ev->line,
			 trace_kind_name(ev->kind), trace_kind_name(kind));
}

static inline void text_end(struct text *x)
{
	struct trace_event ev;
	int rc = trace_next(x->trace, &ev);

	if (rc > 0)
		fail_msg("one event too many: %s", trace_kind_name(ev.kind));
	if (rc < 0)
		fail_msg("%s", trace_error(x->trace));
	assert_int_equal(trace_stats(x->trace)->bad_lines, 0);
	text_close(x);
}

/* One event, and no more. Its strings live until text_close(). */
static inline void text_one(struct text *x, const char *text, struct trace_event *ev,
			    enum trace_kind kind)
{
	struct trace_event more;

	text_open(x, text);
	text_next(x, ev, kind);
	assert_int_equal(trace_next(x->trace, &more), 0);
	assert_int_equal(trace_stats(x->trace)->bad_lines, 0);
}

/* Reads to the end; => the last result. */
static inline int text_drain(struct text *x)
{
	struct trace_event ev;
	int rc;

	while ((rc = trace_next(x->trace, &ev)) > 0)
		;
	return rc;
}

static inline void assert_str(struct trace_str s, const char *expect)
{
	if (s.n != strlen(expect) || memcmp(s.p, expect, s.n) != 0)
		fail_msg("\"%.*s\" is not \"%s\"", (int)s.n, s.p, expect);
}

#endif
