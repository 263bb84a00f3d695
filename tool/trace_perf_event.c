/* SPDX-License-Identifier: MIT */
/*
 * The text of perf script: the fields of each event. trace_perf.c finds the records.
 */
#include "trace_perf.h"

#define COMM_MAX 15u

/* --- The events. Each takes the text after "EVENT: ", and fills in its part of ev. ------------ */

/* What the addr field leaves at the end of a line: blanks and a number. */
static bool at_end(struct scan *s)
{
	uint64_t addr;

	scan_spaces(s);
	if (s->p < s->end)
		scan_hex(s, &addr);
	scan_spaces(s);
	return s->p == s->end;
}

/* The same from the right, before a last word KEY=VALUE. */
static void drop_addr(struct scan *s)
{
	rscan_spaces(s);

	const char *p = s->end;

	while (p > s->p && scan_digit(p[-1]) >= 0)
		p--;
	if (p > s->p && p < s->end && p[-1] == ' ') {
		s->end = p;
		rscan_spaces(s);
	}
}

static bool parse_fault(struct scan *s, struct trace_event *ev)
{
	struct trace_fault *f = &ev->fault;
	const char *ip;

	if (!scan_lit(s, "address="))
		return false;
	if (!scan_0x(s, &f->addr)) {
		/* The kernel's own address, by name. */
		if (s->p == s->end || (*s->p >= '0' && *s->p <= '9'))
			return false;
		f->addr = UINT64_MAX;
		f->addr_is_symbol = true;
		while (s->p < s->end && (*s->p != ' ' || s->end - s->p < 4 || s->p[1] != 'i'))
			s->p++;
	}
	if (!scan_lit(s, " ip="))
		return false;
	ip = s->p;
	while (s->p < s->end && !scan_lit(s, " error_code="))
		s->p++;
	if (s->p == s->end)
		return false;
	f->ip = scan_str(ip, s->p - strlen(" error_code="));
	f->has_code = true;
	return scan_0x(s, &f->code) && at_end(s);
}

static bool parse_fault_user(struct scan *s, struct trace_event *ev)
{
	return parse_fault(s, ev);
}

static bool parse_fault_kernel(struct scan *s, struct trace_event *ev)
{
	ev->fault.kernel = true;
	return parse_fault(s, ev);
}

/* The software event: the address is the sample's addr field. */
static bool parse_fault_soft(struct scan *s, struct trace_event *ev)
{
	scan_spaces(s);
	return scan_hex(s, &ev->fault.addr) && (s->p == s->end || *s->p == ' ');
}

static bool parse_rss_type(struct scan *s, enum trace_rss_type *type)
{
	static const struct {
		const char *name;
		enum trace_rss_type type;
	} names[] = {
		{ "type=MM_ANONPAGES ", TRACE_RSS_ANON },
		{ "type=MM_FILEPAGES ", TRACE_RSS_FILE },
		{ "type=MM_SHMEMPAGES ", TRACE_RSS_SHMEM },
		{ "type=MM_SWAPENTS ", TRACE_RSS_SWAP },
		/* Kernels before 6.1 or so */
		{ "member=0 ", TRACE_RSS_FILE },
		{ "member=1 ", TRACE_RSS_ANON },
		{ "member=2 ", TRACE_RSS_SWAP },
		{ "member=3 ", TRACE_RSS_SHMEM },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (scan_lit_n(s, names[i].name, strlen(names[i].name))) {
			*type = names[i].type;
			return true;
		}
	}
	return false;
}

static bool parse_rss(struct scan *s, struct trace_event *ev)
{
	struct trace_rss *r = &ev->rss;
	bool minus;
	uint64_t curr, bytes;

	if (!scan_lit(s, "mm_id=") || !scan_dec(s, &r->mm_id) || !scan_lit(s, " curr=") ||
	    !scan_dec(s, &curr) || !scan_char(s, ' ') || !parse_rss_type(s, &r->type) ||
	    !scan_lit(s, "size="))
		return false;
	minus = scan_char(s, '-');
	if (!scan_dec(s, &bytes) || bytes > INT64_MAX || !scan_char(s, 'B'))
		return false;
	r->curr = curr != 0;
	r->bytes = minus ? -(int64_t)bytes : (int64_t)bytes;
	return at_end(s);
}

static bool value_dec(struct scan *v, int32_t *out)
{
	return scan_pid(v, out) && v->p == v->end;
}

/* A comm that spans lines is no longer than a comm can be; else the lines are not its own. */
static bool is_comm(struct trace_str s)
{
	return s.n <= COMM_MAX || !memchr(s.p, '\n', s.n);
}

static bool parse_newtask(struct scan *s, struct trace_event *ev)
{
	struct trace_newtask *n = &ev->newtask;
	struct scan v;
	int32_t adj;

	if (!scan_lit(s, "pid=") || !scan_pid(s, &n->child_tid) || !scan_lit(s, " comm="))
		return false;
	drop_addr(s);
	if (!rscan_word(s, " oom_score_adj=", strlen(" oom_score_adj="), &v) ||
	    !value_dec(&v, &adj))
		return false;
	if (!rscan_word(s, " clone_flags=", strlen(" clone_flags="), &v) ||
	    !scan_hex(&v, &n->clone_flags) || v.p != v.end)
		return false;
	n->comm = scan_str(s->p, s->end);
	n->child_pid = n->clone_flags & TRACE_CLONE_THREAD ? ev->pid : n->child_tid;
	return is_comm(n->comm);
}

static bool parse_exec(struct scan *s, struct trace_event *ev)
{
	struct trace_exec *e = &ev->exec;
	struct scan v;

	if (!scan_lit(s, "filename="))
		return false;
	drop_addr(s);
	if (!rscan_word(s, " old_pid=", strlen(" old_pid="), &v) || !value_dec(&v, &e->old_pid) ||
	    !rscan_word(s, " pid=", strlen(" pid="), &v) || !value_dec(&v, &e->pid))
		return false;
	e->filename = scan_str(s->p, s->end);
	return true;
}

static bool parse_exit(struct scan *s, struct trace_event *ev)
{
	struct trace_exit *e = &ev->exit;
	struct scan v;
	int32_t prio;

	if (!scan_lit(s, "comm="))
		return false;
	drop_addr(s);
	if (rscan_lit(s, " group_dead=true")) {
		e->group_dead = true;
		e->has_group_dead = true;
	} else if (rscan_lit(s, " group_dead=false")) {
		e->has_group_dead = true;
	}
	if (!rscan_word(s, " prio=", strlen(" prio="), &v) || !value_dec(&v, &prio) ||
	    !rscan_word(s, " pid=", strlen(" pid="), &v) || !value_dec(&v, &e->tid))
		return false;
	e->comm = scan_str(s->p, s->end);
	return is_comm(e->comm);
}

/* ": NAME: 0xVALUE, NAME: 0xVALUE"; values by position, names have changed between kernels. */
static bool parse_sys_enter(struct scan *s, struct trace_event *ev)
{
	struct trace_sys *sys = &ev->sys;
	unsigned int want = trace_call_nargs(sys->call);

	for (sys->nargs = 0; sys->nargs < want; sys->nargs++) {
		const char *colon = memchr(s->p, ':', (size_t)(s->end - s->p));
		uint64_t v;

		if (!colon)
			return false;
		s->p = colon + 1;
		if (!scan_char(s, ' ') || !scan_0x(s, &v))
			return false;
		sys->arg[sys->nargs] = trace_fix_arg(sys->call, sys->nargs, v);
		if (sys->nargs + 1 < want && !scan_lit(s, ", "))
			return false;
	}
	return at_end(s);
}

static bool parse_sys_exit(struct scan *s, struct trace_event *ev)
{
	struct trace_sys *sys = &ev->sys;
	uint64_t v;

	if (!scan_0x(s, &v))
		return false;
	if (v >= (uint64_t)-4095)
		sys->err = (int)-(int64_t)v;
	else
		sys->ret = v;
	return at_end(s);
}

/* --- PERF_RECORD_... -------------------------------------------------------------------------- */

static bool parse_comm(struct scan *s, struct trace_event *ev)
{
	struct trace_comm *c = &ev->comm;
	struct scan v = *s;
	const char *p = s->end;

	c->exec = scan_lit(s, " exec");
	if (!scan_lit(s, ": "))
		return false;
	while (p > s->p && p[-1] != ':')
		p--;
	v.p = p;
	if (p == s->p || !scan_pid(&v, &c->pid) || !scan_char(&v, '/') || !scan_pid(&v, &c->tid) ||
	    v.p != v.end)
		return false;
	c->comm = scan_str(s->p, p - 1);
	return is_comm(c->comm);
}

/* What "%#lx" gives: 0, or 0x... */
static bool scan_alt_hex(struct scan *s, uint64_t *out)
{
	return scan_0x(s, out) || scan_hex(s, out);
}

static bool scan_small_hex(struct scan *s, unsigned int *out)
{
	uint64_t v;

	if (!scan_hex(s, &v) || v > UINT32_MAX)
		return false;
	*out = (unsigned int)v;
	return true;
}

/* " PID/TID: [START(LEN) @ PGOFF" */
static bool parse_range(struct scan *s, struct trace_mmap *m)
{
	return scan_char(s, ' ') && scan_pid(s, &m->pid) && scan_char(s, '/') &&
	       scan_pid(s, &m->tid) && scan_lit(s, ": [") && scan_alt_hex(s, &m->start) &&
	       scan_char(s, '(') && scan_alt_hex(s, &m->len) && scan_lit(s, ") @ ") &&
	       scan_alt_hex(s, &m->pgoff);
}

static bool scan_flag(struct scan *s, char set, char clear, bool *out)
{
	*out = scan_char(s, set);
	return *out || scan_char(s, clear);
}

/* Only the path of a file goes on over lines: the kernel's own names are whole. */
static bool is_filename(struct trace_str s)
{
	if (!memchr(s.p, '\n', s.n))
		return true;
	return s.p[0] == '/' && (s.n < 6 || memcmp(s.p, "//anon", 6) != 0);
}

static bool parse_mmap(struct scan *s, struct trace_event *ev)
{
	struct trace_mmap *m = &ev->mmap;

	if (!parse_range(s, m) || !scan_lit(s, "]: "))
		return false;
	m->prot = TRACE_PROT_READ;
	if (scan_char(s, 'x'))
		m->prot |= TRACE_PROT_EXEC;
	else if (!scan_char(s, 'r'))
		return false;
	if (!scan_char(s, ' '))
		return false;
	m->filename = scan_str(s->p, s->end);
	return is_filename(m->filename);
}

/* " MAJ:MIN INODE GENERATION" or " <BUILD ID>" */
static bool parse_identity(struct scan *s, struct trace_mmap *m)
{
	uint64_t digits;

	if (!scan_char(s, ' '))
		return false;
	if (scan_char(s, '<')) {
		while (s->p < s->end && scan_digit(*s->p) >= 0)
			s->p++;
		return scan_char(s, '>');
	}
	m->has_inode = true;
	if (!scan_small_hex(s, &m->dev_major) || !scan_char(s, ':') ||
	    !scan_small_hex(s, &m->dev_minor) || !scan_char(s, ' ') || !scan_dec(s, &m->inode) ||
	    !scan_char(s, ' ') || !scan_dec(s, &digits))
		return false;
	m->inode_generation = digits;
	return true;
}

static bool parse_mmap2(struct scan *s, struct trace_event *ev)
{
	struct trace_mmap *m = &ev->mmap;
	bool r, w, x, priv;

	m->v2 = true;
	if (!parse_range(s, m) || !parse_identity(s, m) || !scan_lit(s, "]: "))
		return false;
	if (!scan_flag(s, 'r', '-', &r) || !scan_flag(s, 'w', '-', &w) ||
	    !scan_flag(s, 'x', '-', &x) || !scan_flag(s, 'p', 's', &priv) || !scan_char(s, ' '))
		return false;
	m->prot = (r ? TRACE_PROT_READ : 0) | (w ? TRACE_PROT_WRITE : 0) |
		  (x ? TRACE_PROT_EXEC : 0);
	m->shared = !priv;
	m->filename = scan_str(s->p, s->end);
	return is_filename(m->filename);
}

/* "(PID:TID):(PARENT:PARENT)" */
static bool parse_task(struct scan *s, struct trace_event *ev)
{
	struct trace_task *k = &ev->task;

	return scan_char(s, '(') && scan_pid(s, &k->pid) && scan_char(s, ':') &&
	       scan_pid(s, &k->tid) && scan_lit(s, "):(") && scan_pid(s, &k->parent_pid) &&
	       scan_char(s, ':') && scan_pid(s, &k->parent_tid) && scan_char(s, ')') &&
	       s->p == s->end;
}

static bool parse_lost(struct scan *s, struct trace_event *ev)
{
	return scan_lit(s, " lost ") && scan_dec(s, &ev->lost) && s->p == s->end;
}

/* --- Which event is it? ----------------------------------------------------------------------- */

#define TYPE(name, kind, text, parse) \
	{ \
		name, sizeof(name) - 1, kind, text, parse \
	}

static const struct perf_type tracepoints[] = {
	TYPE("exceptions:page_fault_user", TRACE_FAULT, PERF_TEXT_FIXED, parse_fault_user),
	TYPE("kmem:rss_stat", TRACE_RSS, PERF_TEXT_FIXED, parse_rss),
	TYPE("exceptions:page_fault_kernel", TRACE_FAULT, PERF_TEXT_FIXED, parse_fault_kernel),
	TYPE("task:task_newtask", TRACE_NEWTASK, PERF_TEXT_FREE, parse_newtask),
	TYPE("sched:sched_process_exec", TRACE_EXEC, PERF_TEXT_FREE, parse_exec),
	TYPE("sched:sched_process_exit", TRACE_EXIT, PERF_TEXT_FREE, parse_exit),
	TYPE("page-faults", TRACE_FAULT, PERF_TEXT_FIXED, parse_fault_soft),
	TYPE("page-faults:u", TRACE_FAULT, PERF_TEXT_FIXED, parse_fault_soft),
	{ 0 },
};

static const struct perf_type records[] = {
	TYPE("PERF_RECORD_MMAP2", TRACE_MMAP, PERF_TEXT_FREE, parse_mmap2),
	TYPE("PERF_RECORD_MMAP", TRACE_MMAP, PERF_TEXT_FREE, parse_mmap),
	TYPE("PERF_RECORD_COMM", TRACE_COMM, PERF_TEXT_FREE, parse_comm),
	TYPE("PERF_RECORD_FORK", TRACE_REC_FORK, PERF_TEXT_FIXED, parse_task),
	TYPE("PERF_RECORD_EXIT", TRACE_REC_EXIT, PERF_TEXT_FIXED, parse_task),
	TYPE("PERF_RECORD_LOST", TRACE_LOST, PERF_TEXT_FIXED, parse_lost),
	TYPE("PERF_RECORD_LOST_SAMPLES", TRACE_LOST, PERF_TEXT_FIXED, parse_lost),
	{ 0 },
};

static const struct perf_type sys_enter = {
	.kind = TRACE_SYS_ENTER,
	.text = PERF_TEXT_FIXED,
	.parse = parse_sys_enter,
};
static const struct perf_type sys_exit = {
	.kind = TRACE_SYS_EXIT,
	.text = PERF_TEXT_FIXED,
	.parse = parse_sys_exit,
};

static const struct perf_type *find_type(const struct perf_type *table, struct trace_str name)
{
	for (; table->name; table++) {
		if (table->len == name.n && !memcmp(table->name, name.p, name.n))
			return table;
	}
	return NULL;
}

static const struct perf_type *find_syscall(struct trace_str name, enum trace_call *call)
{
	struct scan s = { name.p, name.p + name.n };
	const struct perf_type *type = &sys_enter;
	int i;

	if (!scan_lit(&s, "syscalls:sys_e"))
		return NULL;
	if (scan_lit(&s, "xit_"))
		type = &sys_exit;
	else if (!scan_lit(&s, "nter_"))
		return NULL;
	i = trace_lookup_call(s.p, (size_t)(s.end - s.p));
	if (i < 0)
		return NULL;
	*call = (enum trace_call)i;
	return type;
}

/* Take the event's name off; => its type, or NULL for one of the others. */
const struct perf_type *perf_scan_type(struct scan *s, struct trace_str *name,
				       enum trace_call *call)
{
	const char *start = s->p;

	if (scan_lit(s, "PERF_RECORD_")) {
		while (s->p < s->end &&
		       ((*s->p >= 'A' && *s->p <= 'Z') || *s->p == '_' || *s->p == '2'))
			s->p++;
		*name = scan_str(start, s->p);
		return find_type(records, *name);
	}
	/* Names have colons inside; the last one is followed by a blank. */
	while (s->p < s->end && (*s->p != ':' || (s->end - s->p > 1 && s->p[1] != ' ')))
		s->p++;
	*name = scan_str(start, s->p);
	scan_char(s, ':');
	scan_spaces(s);
	if (name->n > 9 && !memcmp(name->p, "syscalls:", 9))
		return find_syscall(*name, call);
	return find_type(tracepoints, *name);
}
