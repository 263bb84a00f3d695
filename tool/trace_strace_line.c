/* SPDX-License-Identifier: MIT */
/*
 * One line of `strace -f -ttt -y`, taken apart:
 *
 *	[TID | "[pid" TID"]"] SECONDS.MICROSECONDS REST
 *
 * Inside of arguments there are strings ("..." with backslashes; a quote may not end it), brackets
 * of three kinds, comments, and paths in <> after a file descriptor, in which strace itself writes
 * < and > as octal.
 */
#include <errno.h>

#include "trace_strace.h"

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '?';
}

static struct trace_str scan_name(struct scan *s)
{
	const char *p = s->p;

	while (s->p < s->end && is_name_char(*s->p))
		s->p++;
	return scan_str(p, s->p);
}

static bool scan_tid(struct scan *s, struct strace_line *l)
{
	struct scan c = *s;
	bool bracket = scan_lit(&c, "[pid ");

	scan_spaces(&c);
	if (!scan_pid(&c, &l->tid) || l->tid < 0 || (bracket && !scan_char(&c, ']')) ||
	    !scan_char(&c, ' '))
		return false;
	scan_spaces(&c);
	*s = c;
	l->has_tid = true;
	return true;
}

/* -ttt: seconds since the epoch and microseconds; newer ones can do nanoseconds. */
static bool scan_stamp(struct scan *s, uint64_t *ns)
{
	uint64_t sec, frac = 0;
	unsigned int digits = 0;

	if (!scan_dec(s, &sec) || sec > UINT64_MAX / 2000000000u || !scan_char(s, '.'))
		return false;
	for (; s->p < s->end && *s->p >= '0' && *s->p <= '9' && digits < 9; digits++)
		frac = frac * 10 + (uint64_t)(*s->p++ - '0');
	if (!digits || !scan_char(s, ' '))
		return false;
	for (; digits < 9; digits++)
		frac *= 10;
	*ns = sec * 1000000000u + frac;
	scan_spaces(s);
	return true;
}

static bool parse_plus(struct scan *s, struct strace_line *l)
{
	if (scan_lit(s, "superseded by execve in pid ")) {
		l->form = STRACE_SUPERSEDED;
		return scan_pid(s, &l->other) && rscan_lit(s, " +++");
	}
	l->form = STRACE_EXITED;
	return (scan_lit(s, "exited with ") || scan_lit(s, "killed by ")) && rscan_lit(s, " +++");
}

static bool parse_resumed(struct scan *s, struct strace_line *l)
{
	l->form = STRACE_RESUMED;
	l->name = scan_name(s);
	if (!l->name.n || !scan_lit(s, " resumed>"))
		return false;
	l->rest = *s;
	return true;
}

/* The thread that calls exec becomes its leader: "<pid changed to N ...>" is unfinished, too. */
static bool drop_unfinished(struct scan *s)
{
	struct scan c = *s;
	int32_t pid;

	if (rscan_lit(s, "<unfinished ...>") || rscan_lit(s, "<detached ...>"))
		return true;
	if (!rscan_lit(&c, " ...>"))
		return false;
	while (c.end > c.p && c.end[-1] >= '0' && c.end[-1] <= '9')
		c.end--;

	struct scan digits = { c.end, s->end };

	if (!scan_pid(&digits, &pid) || !rscan_lit(&c, "<pid changed to "))
		return false;
	rscan_spaces(&c);
	*s = c;
	return true;
}

bool strace_parse_line(const char *p, const char *end, struct strace_line *l)
{
	struct scan s = { p, end };

	*l = (struct strace_line){ 0 };
	scan_tid(&s, l);
	if (!scan_stamp(&s, &l->time))
		return false;
	if (scan_lit(&s, "+++ "))
		return parse_plus(&s, l);
	if (scan_lit(&s, "--- ")) {
		l->form = STRACE_SIGNAL;
		return rscan_lit(&s, " ---");
	}
	if (scan_lit(&s, "<... "))
		return parse_resumed(&s, l);
	l->name = scan_name(&s);
	if (!l->name.n || !scan_char(&s, '('))
		return false;
	l->form = drop_unfinished(&s) ? STRACE_UNFINISHED : STRACE_CALL;
	l->rest = s;
	return true;
}

bool strace_is_record(const char *p, const char *end)
{
	struct strace_line l;

	return strace_parse_line(p, end, &l);
}

/* Past what starts at s->p and may hold commas: a string, a comment, a path. => false: nothing */
static bool skip_opaque(struct scan *s)
{
	const char *p = s->p;

	if (scan_char(s, '"')) {
		while (s->p < s->end && *s->p != '"')
			s->p += *s->p == '\\' && s->end - s->p > 1 ? 2 : 1;
		scan_char(s, '"');
		return true;
	}
	if (scan_lit(s, "/*")) {
		while (s->p < s->end && !scan_lit(s, "*/"))
			s->p++;
		return true;
	}
	/* 3</path>, but not 21<<MAP_HUGE_SHIFT */
	if (s->end - p > 1 && p[0] >= '0' && p[0] <= '9' && p[1] == '<' &&
	    !(s->end - p > 2 && p[2] == '<')) {
		while (s->p < s->end && *s->p != '>')
			s->p++;
		scan_char(s, '>');
		return true;
	}
	return false;
}

static struct trace_str trim(const char *p, const char *end)
{
	while (p < end && *p == ' ')
		p++;
	while (end > p && end[-1] == ' ')
		end--;
	return scan_str(p, end);
}

static void add_arg(struct strace_call *c, const char *p, const char *end)
{
	struct trace_str s = trim(p, end);

	if (s.n && c->nargs < STRACE_MAX_ARGS)
		c->arg[c->nargs++] = s;
}

bool strace_split(struct scan s, bool complete, struct strace_call *c)
{
	const char *start = s.p;
	unsigned int depth = 0;

	*c = (struct strace_call){ 0 };
	while (s.p < s.end) {
		if (skip_opaque(&s))
			continue;

		char ch = *s.p;

		if (!depth && (ch == ',' || ch == ')')) {
			add_arg(c, start, s.p);
			start = s.p + 1;
			if (ch == ')')
				break;
		}
		if (ch == '(' || ch == '[' || ch == '{')
			depth++;
		if (depth && (ch == ')' || ch == ']' || ch == '}'))
			depth--;
		s.p++;
	}
	if (!complete) {
		/* "name(args) <unfinished ...>" is no line of strace's, but a line. */
		if (start <= s.p)
			add_arg(c, start, s.p);
		return true;
	}
	if (!scan_char(&s, ')'))
		return false;
	scan_spaces(&s);
	if (!scan_lit(&s, "= "))
		return false;
	c->result = trim(s.p, s.end);
	return c->result.n > 0;
}

static bool scan_number(struct scan *s, uint64_t *v)
{
	bool minus = scan_char(s, '-');

	if (!scan_0x(s, v) && !scan_dec(s, v))
		return false;
	if (minus)
		*v = -*v;
	return true;
}

/* NUMBER, NAME or NUMBER<<NAME */
static bool scan_term(struct scan *s, uint64_t *v)
{
	struct trace_str name;
	uint64_t shift;

	scan_spaces(s);
	if (!scan_number(s, v)) {
		name = scan_name(s);
		return trace_const(name.p, name.n, v);
	}
	if (!scan_lit(s, "<<"))
		return true;
	name = scan_name(s);
	if (!trace_const(name.p, name.n, &shift) || shift > 63)
		return false;
	*v <<= shift;
	return true;
}

/* What may stand behind a term: blanks, a comment, and for a file descriptor its path. */
static void skip_remarks(struct scan *s)
{
	if (s->p < s->end && *s->p == '<') {
		s->p = s->end;
		return;
	}
	do
		scan_spaces(s);
	while (s->end - s->p > 1 && s->p[0] == '/' && skip_opaque(s));
}

bool strace_value(struct trace_str str, uint64_t *v)
{
	struct scan s = { str.p, str.p + str.n };
	uint64_t term;

	*v = 0;
	do {
		if (!scan_term(&s, &term))
			return false;
		*v |= term;
		skip_remarks(&s);
	} while (scan_char(&s, '|'));
	return s.p == s.end;
}

struct trace_str strace_fd_path(struct trace_str s)
{
	const char *p = s.n ? memchr(s.p, '<', s.n) : NULL;

	if (!p || s.p[s.n - 1] != '>')
		return (struct trace_str){ "", 0 };
	return scan_str(p + 1, s.p + s.n - 1);
}

bool strace_result(struct trace_str str, uint64_t *ret, int *err, bool *none, bool *known)
{
	struct scan s = { str.p, str.p + str.n };
	struct trace_str name;

	*ret = 0;
	*err = 0;
	*none = scan_char(&s, '?');
	*known = true;
	if (*none)
		return true;
	if (!scan_number(&s, ret))
		return false;
	if (*ret != UINT64_MAX || !scan_char(&s, ' '))
		return true;
	name = scan_name(&s);
	if (!name.n || name.p[0] != 'E')
		return true;
	*ret = 0;
	*err = trace_errno(name.p, name.n);
	*known = *err != 0;
	if (!*known)
		*err = EINVAL;
	return true;
}
