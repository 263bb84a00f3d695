/* SPDX-License-Identifier: MIT */
/*
 * The log of strace -f -ttt -y, turned into the events that perf would have given.
 *
 * strace prints thread ids only, and a child's first lines may come before the line that ends the
 * clone which made it (always so for vfork). Hence two passes over the text, which is in memory: the
 * first notes who begot whom; in the second, a thread that speaks before its parent's clone has
 * returned is announced on the spot. One line may give several events: they queue up.
 */
#include <errno.h>
#include <stdlib.h>

#include "trace_strace.h"

#define QUEUE_MAX 4

struct strace_reader {
	struct strace_tasks tasks;
	char *scratch; /* an unfinished call and its end, put together */
	size_t scratch_cap;
	struct trace_event queue[QUEUE_MAX];
	unsigned int head, tail;
};

int strace_open(struct trace *t)
{
	int rc = source_load(&t->src, TRACE_STRACE_MAX);

	if (rc == -EFBIG)
		return trace_fail(t, rc, 0, "an strace log of more than %u bytes",
				  TRACE_STRACE_MAX);
	if (rc)
		return rc;
	t->strace = calloc(1, sizeof(*t->strace));
	if (!t->strace)
		return -ENOMEM;
	return strace_note_births(&t->strace->tasks, (struct scan){ t->src.buf + t->src.pos,
								    t->src.buf + t->src.len });
}

void strace_close(struct trace *t)
{
	if (!t->strace)
		return;
	strace_free_tasks(&t->strace->tasks);
	free(t->strace->scratch);
	free(t->strace);
	t->strace = NULL;
}

static bool is_exec(struct trace_str s)
{
	return strace_name_is(s, "execve") || strace_name_is(s, "execveat");
}

static struct trace_event *push(struct trace *t, enum trace_kind kind, const struct strace_task *k,
				const struct strace_line *l)
{
	struct strace_reader *r = t->strace;
	struct trace_event *ev = &r->queue[r->tail++];

	memset(ev, 0, sizeof(*ev));
	ev->kind = kind;
	ev->pid = k->tgid;
	ev->tid = k->tid;
	ev->cpu = -1;
	ev->time = l->time;
	ev->line = t->line;
	ev->name = l->name;
	ev->task_comm = (struct trace_str){ "", 0 };
	return ev;
}

static int malformed(struct trace *t, const char *p, const char *end)
{
	char q[160];

	return trace_fail(t, -EINVAL, t->line, "malformed line of strace: \"%s\"",
			  trace_quote(q, sizeof(q), scan_str(p, end)));
}

/* "flags=A|B|SIGCHLD" in the arguments of clone and clone3. */
static uint64_t clone_flags(struct trace *t, struct trace_str name, struct scan args)
{
	uint64_t flags = 0;

	if (strace_name_is(name, "vfork"))
		return TRACE_CLONE_VFORK | TRACE_CLONE_VM;
	while (args.p < args.end && !scan_lit(&args, "flags="))
		args.p++;
	while (args.p < args.end) {
		const char *p = args.p;
		uint64_t v;

		while (args.p < args.end && *args.p != '|' && *args.p != ',' && *args.p != '}' &&
		       *args.p != ')')
			args.p++;
		if (strace_value(scan_str(p, args.p), &v))
			flags |= v;
		else if (args.p - p < 3 || memcmp(p, "SIG", 3) != 0)
			t->stats.unknown_args++;
		if (!scan_char(&args, '|'))
			break;
	}
	/* The low byte is the signal for the parent, except for clone3's CLONE_NEWTIME. */
	return flags & ~(uint64_t)0xff;
}

/* A child is born to k by a clone with these arguments. */
static int announce(struct trace *t, struct strace_task *k, int32_t child, struct trace_str name,
		    struct scan args, const struct strace_line *l)
{
	uint64_t flags = clone_flags(t, name, args);
	struct trace_event *ev = push(t, TRACE_NEWTASK, k, l);
	struct strace_birth *b = strace_find_birth(&t->strace->tasks, child);

	ev->newtask.child_tid = child;
	ev->newtask.child_pid = flags & TRACE_CLONE_THREAD ? k->tgid : child;
	ev->newtask.clone_flags = flags;
	ev->newtask.comm = (struct trace_str){ "", 0 };
	if (b)
		b->taken = true;
	return strace_add_task(&t->strace->tasks, child, ev->newtask.child_pid);
}

/*
 * The task that speaks; one never heard of is a child to announce, or came from outside.
 * => NULL: out of memory, told
 */
static struct strace_task *get_task(struct trace *t, int32_t tid, const struct strace_line *l)
{
	struct strace_tasks *r = &t->strace->tasks;
	struct strace_task *k = strace_find_task(r, tid);
	struct strace_birth *b;
	struct strace_task *parent;
	int rc;

	if (k && k->alive)
		return k;
	b = strace_find_birth(r, tid);
	parent = b ? strace_find_task(r, b->parent ? b->parent : r->root) : NULL;
	if (parent && parent->alive && parent->pending.n && strace_is_clone(parent->pending)) {
		parent->announced = tid;
		rc = announce(t, parent, tid, parent->pending, parent->pending_args, l);
	} else {
		rc = strace_add_task(r, tid, tid);
	}
	k = rc ? NULL : strace_find_task(r, tid);
	if (!k)
		trace_fail(t, -ENOMEM, t->line, "out of memory");
	return k;
}

/* Lists, structures and strings: not expected to have a value. */
static bool is_compound(struct trace_str s)
{
	return s.p[0] == '[' || s.p[0] == '{' || s.p[0] == '"';
}

/* Arguments that are there; those that strace leaves out when they do not matter are unknown. */
static void fill_args(struct trace *t, struct trace_sys *sys, const struct strace_call *c)
{
	unsigned int want = trace_call_nargs(sys->call);
	bool finished = c->result.n && c->result.p[0] != '?';

	sys->nargs = want;
	sys->path = (struct trace_str){ "", 0 };
	for (unsigned int i = 0; i < want; i++) {
		if (i >= c->nargs || !strace_value(c->arg[i], &sys->arg[i])) {
			sys->arg[i] = 0;
			sys->unknown |= 1u << i;
			if (i < c->nargs && finished && sys->call != TRACE_CALL_PRCTL &&
			    !is_compound(c->arg[i]))
				t->stats.unknown_args++;
			continue;
		}
		sys->arg[i] = trace_fix_arg(sys->call, i, sys->arg[i]);
		if (!sys->path.n)
			sys->path = strace_fd_path(c->arg[i]);
	}
}

/* mremap's new address and the later arguments of prctl are printed only where they count. */
static unsigned int least_args(enum trace_call call)
{
	if (call == TRACE_CALL_MREMAP)
		return 4;
	return call == TRACE_CALL_PRCTL ? 1 : trace_call_nargs(call);
}

static bool sys_exit(struct trace *t, struct strace_task *k, const struct strace_line *l,
		     enum trace_call call, const struct strace_call *c)
{
	struct trace_event *ev = push(t, TRACE_SYS_EXIT, k, l);
	bool known;

	ev->sys.call = call;
	fill_args(t, &ev->sys, c);
	if (!strace_result(c->result, &ev->sys.ret, &ev->sys.err, &ev->sys.no_result, &known))
		return false;
	t->stats.unknown_args += !known;
	return ev->sys.no_result || c->nargs >= least_args(call);
}

static void sys_enter(struct trace *t, struct strace_task *k, const struct strace_line *l,
		      enum trace_call call, const struct strace_call *c)
{
	struct trace_event *ev = push(t, TRACE_SYS_ENTER, k, l);
	uint64_t counted = t->stats.unknown_args;

	ev->sys.call = call;
	fill_args(t, &ev->sys, c);
	/* What is not known is counted once, at the exit. */
	t->stats.unknown_args = counted;
}

static struct trace_str base_name(struct trace_str s)
{
	const char *end = s.p + s.n;
	const char *p;

	if (end > s.p && end[-1] == '"')
		end--;
	for (p = end; p > s.p && p[-1] != '/' && p[-1] != '"'; p--)
		;
	return scan_str(p, end);
}

static void exec_done(struct trace *t, struct strace_task *k, const struct strace_line *l,
		      const struct strace_call *c)
{
	unsigned int i = strace_name_is(l->name, "execveat") ? 1 : 0;
	struct trace_event *ev = push(t, TRACE_COMM, k, l);

	ev->comm.pid = k->tgid;
	ev->comm.tid = k->tid;
	ev->comm.exec = true;
	ev->comm.comm = i < c->nargs ? base_name(c->arg[i]) : (struct trace_str){ "", 0 };
}

/* A call is done: args are all of its text. => 0 or the error */
static int call_done(struct trace *t, struct strace_task *k, const struct strace_line *l,
		     struct scan args, bool with_enter)
{
	struct strace_call c;
	bool split = strace_split(args, true, &c);
	int call = trace_lookup_call(l->name.p, l->name.n);
	int32_t child;

	if (call >= 0) {
		if (split && with_enter)
			sys_enter(t, k, l, (enum trace_call)call, &c);
		if (!split || !sys_exit(t, k, l, (enum trace_call)call, &c))
			return malformed(t, l->name.p, l->rest.end);
		return 0;
	}
	if (!strace_is_clone(l->name) && !is_exec(l->name))
		return 0;

	uint64_t ret;
	int err;
	bool none, known;

	if (!split || !strace_result(c.result, &ret, &err, &none, &known))
		return malformed(t, l->name.p, l->rest.end);
	if (none || err)
		return 0;
	if (is_exec(l->name)) {
		exec_done(t, k, l, &c);
		return 0;
	}
	child = strace_child_of(&c);
	if (!child || k->announced == child) {
		k->announced = 0;
		return 0;
	}

	struct strace_task *known_child = strace_find_task(&t->strace->tasks, child);

	if (known_child && known_child->alive)
		return 0;
	return announce(t, k, child, l->name, args, l) ?
		       trace_fail(t, -ENOMEM, t->line, "out of memory") :
		       0;
}

static int call_resumed(struct trace *t, struct strace_task *k, const struct strace_line *l)
{
	struct strace_reader *r = t->strace;
	size_t a = (size_t)(k->pending_args.end - k->pending_args.p);
	size_t b = (size_t)(l->rest.end - l->rest.p);

	if (k->pending.n != l->name.n || memcmp(k->pending.p, l->name.p, l->name.n) != 0) {
		t->stats.orphans++;
		return 0;
	}
	if (a + b > r->scratch_cap) {
		char *p = realloc(r->scratch, a + b);

		if (!p)
			return trace_fail(t, -ENOMEM, t->line, "out of memory");
		r->scratch = p;
		r->scratch_cap = a + b;
	}
	memcpy(r->scratch, k->pending_args.p, a);
	memcpy(r->scratch + a, l->rest.p, b);
	k->pending.n = 0;
	return call_done(t, k, l, (struct scan){ r->scratch, r->scratch + a + b }, false);
}

static void call_unfinished(struct trace *t, struct strace_task *k, const struct strace_line *l)
{
	int call = trace_lookup_call(l->name.p, l->name.n);
	struct strace_call c;

	t->stats.orphans += k->pending.n != 0;
	k->pending = l->name;
	k->pending_args = l->rest;
	k->announced = 0;
	if (call < 0)
		return;
	strace_split(l->rest, false, &c);
	sys_enter(t, k, l, (enum trace_call)call, &c);
}

static void task_exited(struct trace *t, struct strace_task *k, const struct strace_line *l)
{
	struct trace_event *ev = push(t, TRACE_EXIT, k, l);

	ev->exit.comm = (struct trace_str){ "", 0 };
	ev->exit.tid = k->tid;
	ev->exit.has_group_dead = true;
	ev->exit.group_dead = strace_remove_task(&t->strace->tasks, k);
}

/*
 * A thread's exec makes it the leader, under the leader's number: as perf, tell of the end of the
 * old leader, and go on with the call under its number.
 */
static int leader_superseded(struct trace *t, int32_t tid, const struct strace_line *l)
{
	struct strace_task *k = get_task(t, tid, l);
	struct strace_task *by;
	struct trace_event *ev;

	if (!k)
		return t->failed;
	ev = push(t, TRACE_EXIT, k, l);
	ev->exit.comm = (struct trace_str){ "", 0 };
	ev->exit.tid = tid;
	ev->exit.has_group_dead = true;
	by = strace_find_task(&t->strace->tasks, l->other);
	if (!by || !by->alive || by == k)
		return 0;
	k->pending = by->pending;
	k->pending_args = by->pending_args;
	strace_remove_task(&t->strace->tasks, by);
	return 0;
}

static int do_line(struct trace *t, const struct strace_line *l)
{
	int32_t tid = l->has_tid ? l->tid : t->strace->tasks.root;
	struct strace_task *k;
	int rc = 0;

	if (l->form == STRACE_SUPERSEDED)
		return leader_superseded(t, tid, l);
	k = get_task(t, tid, l);
	if (!k)
		return t->failed;
	if (l->form == STRACE_EXITED)
		task_exited(t, k, l);
	if (l->form == STRACE_UNFINISHED)
		call_unfinished(t, k, l);
	if (l->form == STRACE_RESUMED)
		rc = call_resumed(t, k, l);
	if (l->form == STRACE_CALL)
		rc = call_done(t, k, l, l->rest, true);
	if (!rc && !t->strace->tail)
		push(t, TRACE_OTHER, k, l);
	return rc;
}

static void stray_line(struct trace *t, const char *p, const char *end)
{
	struct scan s = { p, end };
	char q[80];

	if (p == end || scan_lit(&s, "strace: "))
		t->stats.skipped++;
	else
		trace_complain(t, t->line, "no line of strace -ttt: \"%s\"",
			       trace_quote(q, sizeof(q), scan_str(p, end)));
}

int strace_next(struct trace *t, struct trace_event *ev)
{
	struct strace_reader *r = t->strace;

	while (r->head == r->tail) {
		struct strace_line l;
		size_t nl;
		int rc = trace_line_end(t, 0, &nl);

		if (rc <= 0)
			return rc;

		const char *p = t->src.buf + t->src.pos;

		r->head = 0;
		r->tail = 0;
		t->raw = p;
		t->raw_len = nl + 1;
		if (memchr(p, '\0', nl))
			return trace_fail(t, -EINVAL, t->line, "a NUL byte in the line");
		if (!strace_parse_line(p, p + nl, &l))
			stray_line(t, p, p + nl);
		else if (l.form == STRACE_SIGNAL)
			t->stats.skipped++;
		else
			rc = do_line(t, &l);
		if (rc < 0)
			return rc;
		t->src.pos += nl + 1;
		t->line++;
	}
	*ev = r->queue[r->head++];
	return 1;
}
