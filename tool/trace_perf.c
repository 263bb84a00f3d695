/* SPDX-License-Identifier: MIT */
/*
 * The text of perf script:
 *
 *	COMM PID/TID [CPU] SECONDS.FRACTION: EVENT: FIELDS
 *
 * COMM takes 16 columns, right-aligned and raw: it may hold anything, a newline too. So a record is
 * first looked for at column 17, across lines if need be; a comm has at most 15 bytes, so that one
 * which spans lines begins with a space. FIELDS may end in free text (a comm, a file name), which is
 * why those events are read from the right, and go on over lines that are no record.
 *
 * One pass, no copies: strings point into the window. Positions are kept as offsets from src.pos,
 * because the window moves when more is read.
 */
#include <errno.h>

#include "trace_perf.h"

#define COMM_COLUMNS 16u
/* A comm that perf made up for a kernel thread may be longer than its columns. */
#define COMM_LONGEST 80u
/* From the start of a record to its event, with room: columns and five numbers. */
#define HEAD_MAX 256u
/* A file name has at most 4095 bytes. */
#define CONTINUED_MAX 8192u

struct head {
	int32_t pid, tid, cpu;
	uint64_t time;
	size_t comm_len; /* raw: padding included */
	size_t body; /* offset of the event's name */
};

static bool scan_time(struct scan *s, uint64_t *ns)
{
	uint64_t sec, frac = 0;
	unsigned int digits = 0;

	if (!scan_dec(s, &sec) || sec > UINT64_MAX / 2000000000u || !scan_char(s, '.'))
		return false;
	while (s->p < s->end && *s->p >= '0' && *s->p <= '9' && digits < 9) {
		frac = frac * 10 + (uint64_t)(*s->p++ - '0');
		digits++;
	}
	if (!digits)
		return false;
	for (; digits < 9; digits++)
		frac *= 10;
	*ns = sec * 1000000000u + frac;
	return true;
}

/* " PID/TID [CPU] TIME: "; the CPU is optional. */
static bool scan_head(struct scan *s, struct head *h)
{
	uint64_t cpu;

	if (!scan_char(s, ' '))
		return false;
	scan_spaces(s);
	if (!scan_pid(s, &h->pid) || !scan_char(s, '/') || !scan_pid(s, &h->tid) ||
	    !scan_char(s, ' '))
		return false;
	scan_spaces(s);
	h->cpu = -1;
	if (scan_char(s, '[')) {
		if (!scan_dec(s, &cpu) || cpu > INT32_MAX || !scan_char(s, ']'))
			return false;
		h->cpu = (int32_t)cpu;
		scan_spaces(s);
	}
	if (!scan_time(s, &h->time) || !scan_char(s, ':') || !scan_char(s, ' '))
		return false;
	scan_spaces(s);
	return true;
}

static bool head_at(const char *p, const char *end, size_t comm_len, struct head *h)
{
	struct scan s = { p + comm_len, end };

	if (!scan_head(&s, h))
		return false;
	h->comm_len = comm_len;
	h->body = (size_t)(s.p - p);
	return true;
}

/* Does a record begin at p? */
static bool scan_record(const char *p, const char *end, struct head *h)
{
	if ((size_t)(end - p) > HEAD_MAX)
		end = p + HEAD_MAX;
	if ((size_t)(end - p) > COMM_COLUMNS && head_at(p, end, COMM_COLUMNS, h) &&
	    (p[0] == ' ' || !memchr(p, '\n', COMM_COLUMNS)))
		return true;

	/* No such columns: a longer comm, or somebody took the padding away. Within the line. */
	const char *nl = memchr(p, '\n', (size_t)(end - p));

	if (nl)
		end = nl;
	for (size_t n = 1; n < COMM_LONGEST && n < (size_t)(end - p); n++) {
		if (p[n] == ' ' && p[n - 1] != ' ' && head_at(p, end, n, h))
			return true;
	}
	return false;
}

bool perf_is_record(const char *p, const char *end)
{
	struct head h;

	return scan_record(p, end, &h);
}

/* --- Records ---------------------------------------------------------------------------------- */

/* The end of the line that begins at off, without errors: they are told when we get there. */
static bool peek_line(struct trace *t, size_t off, size_t *end)
{
	struct trace_source *s = &t->src;

	for (;;) {
		const char *p = s->buf + s->pos;
		const char *nl = NULL;

		if (source_avail(s) > off)
			nl = memchr(p + off, '\n', source_avail(s) - off);
		if (nl && (s->eof || source_avail(s) >= off + HEAD_MAX)) {
			*end = (size_t)(nl - p);
			return true;
		}
		if (source_avail(s) > off + CONTINUED_MAX || source_more(s) <= 0)
			break;
	}

	const char *p = s->buf + s->pos;
	const char *nl = source_avail(s) > off ? memchr(p + off, '\n', source_avail(s) - off) :
						 NULL;

	*end = nl ? (size_t)(nl - p) : 0;
	return nl;
}

/* How far does a record whose first line ends at nl go? To before the next record. */
static size_t extend(struct trace *t, size_t nl)
{
	size_t end = nl;
	size_t next;

	while (end - nl < CONTINUED_MAX && peek_line(t, end + 1, &next)) {
		const char *p = t->src.buf + t->src.pos;

		if (perf_is_record(p + end + 1, p + source_avail(&t->src)))
			break;
		if (next - nl > CONTINUED_MAX)
			break;
		end = next;
	}
	return end;
}

static uint64_t count_newlines(const char *p, const char *end)
{
	uint64_t n = 0;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
		n++;
		p++;
	}
	return n;
}

static void consume(struct trace *t, size_t end, uint64_t lines)
{
	t->src.pos += end + 1;
	t->line += lines;
}

/* A line that is no record and continues none. */
static void stray_line(struct trace *t, size_t nl)
{
	const char *p = t->src.buf + t->src.pos;
	char q[80];

	/* Blank, a header of perf, or an entry of a call chain */
	if (!nl || p[0] == '#' || p[0] == '\t')
		t->stats.skipped++;
	else
		trace_complain(t, t->line, "no record of perf script: \"%s\"",
			       trace_quote(q, sizeof(q), scan_str(p, p + nl)));
	consume(t, nl, 1);
}

static int malformed(struct trace *t, struct trace_str name, struct trace_str body)
{
	char n[64], q[160];

	return trace_fail(t, -EINVAL, t->line, "malformed %s: \"%s\"",
			  trace_quote(n, sizeof(n), name), trace_quote(q, sizeof(q), body));
}

static int has_nul(struct trace *t, struct trace_str record)
{
	char q[160];

	return trace_fail(t, -EINVAL, t->line, "a NUL byte in the record: \"%s\"",
			  trace_quote(q, sizeof(q), record));
}

/* One try: the record's text ends at offset end. */
static bool parse_until(struct trace *t, const struct head *h, const struct perf_type *type,
			enum trace_call call, size_t fields, size_t end, struct trace_event *ev)
{
	const char *p = t->src.buf + t->src.pos;
	struct scan s = { p + fields, p + end };

	memset(&ev->sys, 0, sizeof(*ev) - offsetof(struct trace_event, sys));
	ev->kind = type->kind;
	ev->pid = h->pid;
	ev->tid = h->tid;
	if (type->kind == TRACE_SYS_ENTER || type->kind == TRACE_SYS_EXIT)
		ev->sys.call = call;
	return !memchr(p, '\0', end) && type->parse(&s, ev);
}

/*
 * The longest text that parses is the record's: what remains of the lines that looked like its
 * continuation is garbage, and told as such. => the end, or 0.
 */
static size_t parse_longest(struct trace *t, const struct head *h, const struct perf_type *type,
			    enum trace_call call, size_t fields, size_t nl, struct trace_event *ev)
{
	size_t end = type->text == PERF_TEXT_FREE ? extend(t, nl) : nl;

	for (;;) {
		if (parse_until(t, h, type, call, fields, end, ev))
			return end;
		if (end == nl)
			return 0;
		do
			end--;
		while (t->src.buf[t->src.pos + end] != '\n');
	}
}

static int give_record(struct trace *t, const struct head *h, size_t nl, struct trace_event *ev)
{
	const char *p = t->src.buf + t->src.pos;
	struct scan s = { p + h->body, p + nl };
	enum trace_call call = TRACE_CALL_MMAP;
	struct trace_str name;
	const struct perf_type *type = perf_scan_type(&s, &name, &call);
	size_t name_len = name.n;
	size_t end = nl;

	if (type)
		end = parse_longest(t, h, type, call, (size_t)(s.p - p), nl, ev);
	p = t->src.buf + t->src.pos;
	name = (struct trace_str){ p + h->body, name_len };
	if (memchr(p, '\0', nl))
		return has_nul(t, scan_str(p, p + nl));
	if (!end || !name_len)
		return malformed(t, name, scan_str(p + h->body, p + nl));

	struct scan comm = { p, p + h->comm_len };

	scan_spaces(&comm);
	if (!type)
		ev->kind = TRACE_OTHER;
	ev->pid = h->pid;
	ev->tid = h->tid;
	ev->cpu = h->cpu;
	ev->time = h->time;
	ev->line = t->line;
	ev->task_comm = scan_str(comm.p, comm.end);
	ev->name = name;
	t->raw = p;
	t->raw_len = end + 1;

	uint64_t lines = count_newlines(p, p + end + 1);

	t->stats.continued += lines - 1;
	consume(t, end, lines);
	return 1;
}

int perf_next(struct trace *t, struct trace_event *ev)
{
	for (;;) {
		struct head h;
		size_t nl;
		int rc = trace_line_end(t, 0, &nl);

		if (rc <= 0)
			return rc;
		while (source_avail(&t->src) < HEAD_MAX && source_more(&t->src) > 0)
			;

		const char *p = t->src.buf + t->src.pos;

		if (!scan_record(p, p + source_avail(&t->src), &h)) {
			stray_line(t, nl);
			continue;
		}
		rc = 1;
		if (h.body > nl)
			rc = trace_line_end(t, h.body, &nl);
		if (rc < 0)
			return rc;
		if (!rc)
			return trace_fail(t, -EINVAL, t->line, "the record has no event");
		return give_record(t, &h, nl, ev);
	}
}
