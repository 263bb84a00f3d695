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

#define NO_INDEX UINT32_MAX
#define QUEUE_MAX 4

struct task {
	int32_t tid;
	int32_t tgid;
	uint32_t threads;	/* alive, of the group: in the leader's entry */
	bool used, alive;
	struct trace_str pending;	/* name of the call that is unfinished, or empty */
	struct scan pending_args;
	int32_t announced;	/* child of the pending clone that has been given already */
};

struct birth {
	int32_t child, parent;
	bool taken;
};

struct strace_reader {
	struct task *tasks;	/* hash by tid, open addressing; entries stay for good */
	size_t ntasks, task_slots;
	struct birth *births;	/* in the order of the text, then sorted by child, stable */
	size_t nbirths, birth_cap;
	int32_t root;		/* whose lines have no thread id */
	char *scratch;		/* an unfinished call and its end, put together */
	size_t scratch_cap;
	struct trace_event queue[QUEUE_MAX];
	unsigned int head, tail;
};

static size_t hash_tid(int32_t tid, size_t slots)
{
	return ((uint32_t)tid * 2654435761u) & (slots - 1);
}

static struct task *probe(struct task *tasks, size_t slots, int32_t tid)
{
	size_t i = hash_tid(tid, slots);

	while (tasks[i].used && tasks[i].tid != tid)
		i = (i + 1) & (slots - 1);
	return &tasks[i];
}

static struct task *find_task(struct strace_reader *r, int32_t tid)
{
	struct task *k = r->task_slots ? probe(r->tasks, r->task_slots, tid) : NULL;

	return k && k->used ? k : NULL;
}

static int grow_tasks(struct strace_reader *r)
{
	size_t slots = r->task_slots ? r->task_slots * 2 : 64;
	struct task *tasks = calloc(slots, sizeof(*tasks));

	if (!tasks)
		return -ENOMEM;
	for (size_t i = 0; i < r->task_slots; i++) {
		if (r->tasks[i].used)
			*probe(tasks, slots, r->tasks[i].tid) = r->tasks[i];
	}
	free(r->tasks);
	r->tasks = tasks;
	r->task_slots = slots;
	return 0;
}

/* A task begins to live, or lives again under a number used before. Moves the table. */
static int add_task(struct strace_reader *r, int32_t tid, int32_t tgid)
{
	struct task *k;

	if (r->ntasks * 2 >= r->task_slots && grow_tasks(r) < 0)
		return -ENOMEM;
	k = probe(r->tasks, r->task_slots, tid);
	if (!k->used)
		r->ntasks++;

	/* A leader that is gone keeps the count of the threads it left behind. */
	uint32_t threads = k->used && tgid != tid ? k->threads : 0;

	*k = (struct task){ .tid = tid, .tgid = tgid, .threads = threads, .used = true, .alive = true };
	k = find_task(r, tgid);
	if (k)
		k->threads++;
	return 0;
}

/* => it was the last of its group */
static bool remove_task(struct strace_reader *r, struct task *k)
{
	struct task *leader = find_task(r, k->tgid);

	k->alive = false;
	k->pending.n = 0;
	if (leader && leader->threads)
		leader->threads--;
	return !leader || !leader->threads;
}

/* --- First pass ------------------------------------------------------------------------------- */

static bool name_is(struct trace_str s, const char *name)
{
	return s.n == strlen(name) && !memcmp(s.p, name, s.n);
}

static bool is_clone(struct trace_str s)
{
	return name_is(s, "clone") || name_is(s, "clone3") || name_is(s, "fork") ||
	       name_is(s, "vfork");
}

static bool is_exec(struct trace_str s)
{
	return name_is(s, "execve") || name_is(s, "execveat");
}

static int32_t child_of(const struct strace_call *c)
{
	uint64_t ret;
	int err;
	bool none, known;

	if (!c->result.n || !strace_result(c->result, &ret, &err, &none, &known) || none || err ||
	    !ret || ret > INT32_MAX)
		return 0;
	return (int32_t)ret;
}

static int note_birth(struct strace_reader *r, const struct strace_line *l)
{
	struct strace_call c;
	int32_t child;

	if ((l->form != STRACE_CALL && l->form != STRACE_RESUMED) || !is_clone(l->name) ||
	    !strace_split(l->rest, true, &c))
		return 0;
	child = child_of(&c);
	if (!child)
		return 0;
	if (r->nbirths == r->birth_cap) {
		size_t cap = r->birth_cap ? r->birth_cap * 2 : 64;
		struct birth *b = realloc(r->births, cap * sizeof(*b));

		if (!b)
			return -ENOMEM;
		r->births = b;
		r->birth_cap = cap;
	}
	r->births[r->nbirths++] = (struct birth){ .child = child, .parent = l->tid };
	return 0;
}

/* By child; those of one child keep their order, by where they stand. */
static int cmp_birth(const void *pa, const void *pb)
{
	const struct birth *a = pa, *b = pb;

	return (a->child > b->child) - (a->child < b->child);
}

static void sort_births(struct birth *b, struct birth *tmp, size_t n)
{
	/* Bottom-up merge: stable, and no recursion. */
	for (size_t w = 1; w < n; w *= 2) {
		for (size_t lo = 0; lo < n; lo += 2 * w) {
			size_t mid = lo + w < n ? lo + w : n, hi = lo + 2 * w < n ? lo + 2 * w : n;
			size_t i = lo, j = mid;

			for (size_t k = lo; k < hi; k++)
				tmp[k] = j >= hi || (i < mid && cmp_birth(&b[i], &b[j]) <= 0) ?
						 b[i++] : b[j++];
		}
		memcpy(b, tmp, n * sizeof(*b));
	}
}

/* The next birth of this child that has not been seen yet, or NULL. */
static struct birth *find_birth(struct strace_reader *r, int32_t child)
{
	size_t lo = 0, hi = r->nbirths;

	/* Taken ones come first among equals, so this is a partition. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		struct birth *b = &r->births[mid];

		if (b->child < child || (b->child == child && b->taken))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < r->nbirths && r->births[lo].child == child ? &r->births[lo] : NULL;
}

typedef int (*line_fn)(struct strace_reader *r, const struct strace_line *l);

static int each_line(struct trace *t, line_fn fn)
{
	const char *p = t->src.buf + t->src.pos;
	const char *end = p + source_avail(&t->src);
	int rc = 0;

	while (p < end && !rc) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		struct strace_line l;

		if (!nl)
			break;
		if (strace_parse_line(p, nl, &l))
			rc = fn(t->strace, &l);
		p = nl + 1;
	}
	return rc;
}

/* The first thread id that nobody begot is the one whose lines had none before. => 1: found */
static int guess_root(struct strace_reader *r, const struct strace_line *l)
{
	if (!l->has_tid || find_birth(r, l->tid))
		return 0;
	r->root = l->tid;
	return 1;
}

static int note_births(struct trace *t)
{
	struct strace_reader *r = t->strace;
	int rc = each_line(t, note_birth);
	struct birth *tmp;

	if (rc || !r->nbirths)
		return rc;
	tmp = malloc(r->nbirths * sizeof(*tmp));
	if (!tmp)
		return -ENOMEM;
	sort_births(r->births, tmp, r->nbirths);
	free(tmp);
	return 0;
}

int strace_open(struct trace *t)
{
	int rc = source_load(&t->src, TRACE_STRACE_MAX);

	if (rc == -EFBIG)
		return trace_fail(t, rc, 0, "an strace log of more than %u bytes", TRACE_STRACE_MAX);
	if (rc)
		return rc;
	t->strace = calloc(1, sizeof(*t->strace));
	if (!t->strace)
		return -ENOMEM;
	t->strace->root = 1;
	rc = note_births(t);
	if (rc)
		return rc;
	each_line(t, guess_root);
	return 0;
}

void strace_close(struct trace *t)
{
	if (!t->strace)
		return;
	free(t->strace->tasks);
	free(t->strace->births);
	free(t->strace->scratch);
	free(t->strace);
	t->strace = NULL;
}

/* --- Second pass ------------------------------------------------------------------------------ */

static struct trace_event *push(struct trace *t, enum trace_kind kind, const struct task *k,
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

	if (name_is(name, "vfork"))
		return TRACE_CLONE_VFORK | TRACE_CLONE_VM;
	while (args.p < args.end && !scan_lit(&args, "flags="))
		args.p++;
	while (args.p < args.end) {
		const char *p = args.p;
		uint64_t v;

		while (args.p < args.end && !memchr("|,})", *args.p, 4))
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
static int announce(struct trace *t, struct task *k, int32_t child, struct trace_str name,
		    struct scan args, const struct strace_line *l)
{
	uint64_t flags = clone_flags(t, name, args);
	struct trace_event *ev = push(t, TRACE_NEWTASK, k, l);
	struct birth *b = find_birth(t->strace, child);

	ev->newtask.child_tid = child;
	ev->newtask.child_pid = flags & TRACE_CLONE_THREAD ? k->tgid : child;
	ev->newtask.clone_flags = flags;
	ev->newtask.comm = (struct trace_str){ "", 0 };
	if (b)
		b->taken = true;
	return add_task(t->strace, child, ev->newtask.child_pid);
}

/* The task that speaks; one never heard of is a child to announce, or came from outside. */
static int get_task(struct trace *t, int32_t tid, const struct strace_line *l, struct task **out)
{
	struct strace_reader *r = t->strace;
	struct task *k = find_task(r, tid);
	int rc;

	if (!k || !k->alive) {
		struct birth *b = find_birth(r, tid);
		struct task *parent = b ? find_task(r, b->parent ? b->parent : r->root) : NULL;

		if (parent && parent->alive && parent->pending.n && is_clone(parent->pending)) {
			parent->announced = tid;
			rc = announce(t, parent, tid, parent->pending, parent->pending_args, l);
		} else {
			rc = add_task(r, tid, tid);
		}
		if (rc)
			return trace_fail(t, rc, t->line, "out of memory");
	}
	*out = find_task(r, tid);
	return 0;
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
			    !memchr("[{\"", c->arg[i].p[0], 3))
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

static bool sys_exit(struct trace *t, struct task *k, const struct strace_line *l,
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

static void sys_enter(struct trace *t, struct task *k, const struct strace_line *l,
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

static void exec_done(struct trace *t, struct task *k, const struct strace_line *l,
		      const struct strace_call *c)
{
	unsigned int i = name_is(l->name, "execveat") ? 1 : 0;
	struct trace_event *ev = push(t, TRACE_COMM, k, l);

	ev->comm.pid = k->tgid;
	ev->comm.tid = k->tid;
	ev->comm.exec = true;
	ev->comm.comm = i < c->nargs ? base_name(c->arg[i]) : (struct trace_str){ "", 0 };
}

/* A call is done: args are all of its text. => 0 or the error */
static int call_done(struct trace *t, struct task *k, const struct strace_line *l,
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
	if (!is_clone(l->name) && !is_exec(l->name))
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
	child = child_of(&c);
	if (!child || k->announced == child) {
		k->announced = 0;
		return 0;
	}

	struct task *known_child = find_task(t->strace, child);

	if (known_child && known_child->alive)
		return 0;
	return announce(t, k, child, l->name, args, l) ? trace_fail(t, -ENOMEM, t->line,
								    "out of memory") : 0;
}

static int call_resumed(struct trace *t, struct task *k, const struct strace_line *l)
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

static void call_unfinished(struct trace *t, struct task *k, const struct strace_line *l)
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

static void task_exited(struct trace *t, struct task *k, const struct strace_line *l)
{
	struct trace_event *ev = push(t, TRACE_EXIT, k, l);

	ev->exit.comm = (struct trace_str){ "", 0 };
	ev->exit.tid = k->tid;
	ev->exit.has_group_dead = true;
	ev->exit.group_dead = remove_task(t->strace, k);
}

/*
 * A thread's exec makes it the leader, under the leader's number: as perf, tell of the end of the
 * old leader, and go on with the call under its number.
 */
static int leader_superseded(struct trace *t, int32_t tid, const struct strace_line *l)
{
	struct task *k, *by;
	struct trace_event *ev;
	int rc = get_task(t, tid, l, &k);

	if (rc)
		return rc;
	ev = push(t, TRACE_EXIT, k, l);
	ev->exit.comm = (struct trace_str){ "", 0 };
	ev->exit.tid = tid;
	ev->exit.has_group_dead = true;
	by = find_task(t->strace, l->other);
	if (!by || !by->alive || by == k)
		return 0;
	k->pending = by->pending;
	k->pending_args = by->pending_args;
	remove_task(t->strace, by);
	return 0;
}

static int do_line(struct trace *t, const struct strace_line *l)
{
	int32_t tid = l->has_tid ? l->tid : t->strace->root;
	struct task *k;
	int rc;

	if (l->form == STRACE_SUPERSEDED)
		return leader_superseded(t, tid, l);
	rc = get_task(t, tid, l, &k);
	if (rc)
		return rc;
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
