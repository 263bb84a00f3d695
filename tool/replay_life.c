/* SPDX-License-Identifier: MIT */
/*
 * replay_life.c - fork, exec, exit.
 *
 * What the kernel's records say, in their order (Linux 6.18):
 *
 *	fork	a sample of the child's counts for each piece copied (only where something is), then NEWTASK
 *	exec	samples of the address space in the making, page by page, each charged to the old one; that charge
 *		taken back; samples of the old one being unmapped, if this was its last user; COMM exec; the mappings
 *		of the new image, and the faults of the kernel that fills them; sched_process_exec
 *	exit	sched_process_exit. Before 6.16 samples of the address space being unmapped come first, later none
 */
#include <inttypes.h>
#include <string.h>

#include "replay_priv.h"

static void copy_comm(char to[20], struct trace_str comm)
{
	size_t n = comm.n < 19 ? comm.n : 19;

	memcpy(to, comm.p, n);
	to[n] = '\0';
}

/* ---- fork ---------------------------------------------------------------------------------------------- */

/*
 * A child is being made. Other tasks of the parent go on meanwhile: they fault in VMAs that are not copied yet, and
 * wait for those that are. So the core forks when the kernel is done; until then the samples of the child are compared
 * with what there is to be copied, VMA by VMA, as they come.
 */
void life_fork(struct replay *r, struct task *t, uint64_t mm_id)
{
	life_fork_fails(r, t);
	if (!t->space || !t->space->proc)
		return;
	t->child = space_new(r, t->space, 0, t->space->row->comm);
	space_bind(r, t->child, mm_id);
	plan_begin(&t->op, t->child);
	t->op.copied = t->space;
	t->space->forking++;
}

/* What fork has held up goes on. */
static void fork_over(struct replay *r, const struct space *parent)
{
	for (struct task *o = NULL; parent->users > 1 && (o = task_next(r, o)) != NULL;) {
		if (o->space == parent && o->has_postponed)
			fault_judge(r, o);
	}
}

/* The kernel has copied all there is, and unlocks the parent: now the core does it. */
static void fork_copied(struct replay *r, struct task *t)
{
	struct counts total;

	if (!t->child || !t->op.copied)
		return;
	t->op.copied = NULL;
	t->space->forking--;
	space_fork(r, t->child, t->space);
	total = counts_of(t->child);
	plan_applied(&t->op, &total);
	fork_over(r, t->space);
}

/* A VMA that is being copied is locked as a whole. */
static uint64_t locked_up_to(const struct space *s, uint64_t cursor)
{
	const struct avm_vma *v = cursor ? avm_find_vma(space_mm(s), cursor - 1) : NULL;

	return v && v->start < cursor ? v->end : cursor;
}

/*
 * The records of a fork are written some time after the parent is unlocked. Another task shows that it is: it has done
 * something at `addr`, which fork had locked. (LIFE_ANYWHERE: something that wants mmap_lock.)
 */
void life_fork_passed(struct replay *r, const struct task *t, uint64_t addr)
{
	for (struct task *o = NULL; t->space->forking && (o = task_next(r, o)) != NULL;) {
		if (o != t && o->op.copied == t->space &&
		    addr < locked_up_to(t->space, o->op.cursor))
			fork_copied(r, o);
	}
}

void life_fork_recorded(struct replay *r, const struct trace_event *ev)
{
	struct task *t = task_find(r, ev->tid);

	if (t && ev->task.pid != ev->task.parent_pid)
		fork_copied(r, t);
}

void life_fork_fails(struct replay *r, struct task *t)
{
	if (!t->child)
		return;
	if (t->op.copied && t->space)
		t->space->forking--;
	plan_drop(&t->op);
	space_put(r, t->child);
	t->child = NULL;
}

/* => the child, whose user the caller becomes */
static struct space *fork_done(struct replay *r, struct task *t)
{
	struct space *child = t->child;

	if (!t->space || !t->space->proc)
		return NULL;
	if (!child) {
		/* Nothing was copied, or nobody said so. */
		child = space_new(r, t->space, 0, t->space->row->comm);
		space_fork(r, child, t->space);
		return child;
	}
	fork_copied(r, t);
	plan_drop(&t->op);
	t->child = NULL;
	return child;
}

void life_new(struct replay *r, const struct trace_event *ev)
{
	const struct trace_newtask *n = &ev->newtask;
	struct task *t = task_get(r, ev->tid, ev->pid), *old = task_find(r, n->child_tid);
	struct space *s;

	if (!t)
		return;
	if (old && old != t)
		task_drop(r, old); /* its exit was not recorded */
	if (n->clone_flags & TRACE_CLONE_VM) {
		s = t->space;
		if (s)
			s->users++;
	} else {
		s = fork_done(r, t);
		if (s)
			s->row->pid = n->child_pid;
	}
	t = task_add(r, n->child_tid, n->child_pid, s);
	copy_comm(t->comm, n->comm);
}

/* ---- the end of an address space ----------------------------------------------------------------------- */

/* The kernel unmaps all of it, and says so step by step. */
void life_teardown(struct replay *r, struct task *t)
{
	struct space *s = t->space;
	struct counts total, none = { { 0 } };

	if (!s->proc || s->users > 1)
		return;
	plan_begin(&t->op, s);
	plan_gather(&t->op, 0, ~(uint64_t)0 & PAGE_MASK, -1);
	total = counts_of(s);
	total = counts_diff(&none, &total);
	space_end(r, s);
	plan_applied(&t->op, &total);
}

void life_exit(struct replay *r, const struct trace_event *ev)
{
	struct task *t = task_find(r, ev->exit.tid);

	if (t)
		task_drop(r, t);
}

/* ---- exec ---------------------------------------------------------------------------------------------- */

/* Who runs the exec that COMM tells of: a thread that is not the leader takes the leader's id. */
static struct task *execing(struct replay *r, const struct trace_event *ev)
{
	struct task *t = task_find(r, ev->comm.tid);

	if (t && t->exec.active)
		return t;
	for (struct task *o = NULL; (o = task_next(r, o)) != NULL;) {
		if (o->pid != ev->comm.pid || !o->exec.active)
			continue;
		if (t)
			task_drop(r, t);
		LIST_REMOVE(o, link);
		o->tid = ev->comm.tid;
		LIST_INSERT_HEAD(&r->state->tasks[(uint32_t)o->tid % BUCKETS], o, link);
		return o;
	}
	return t ? t : task_add(r, ev->comm.tid, ev->comm.pid, NULL);
}

void life_comm(struct replay *r, const struct trace_event *ev)
{
	struct task *t;
	struct space *old;
	bool counted;

	if (!ev->comm.exec) {
		t = task_find(r, ev->comm.tid);
		if (t)
			copy_comm(t->comm, ev->comm.comm);
		return;
	}
	t = execing(r, ev);
	copy_comm(t->comm, ev->comm.comm);
	plan_drop(&t->fault);
	plan_drop(&t->op);
	t->call.active = false;
	old = t->space;
	counted = t->exec.active;
	t->space = space_new(r, NULL, ev->comm.pid, t->comm);
	if (counted)
		space_bind(r, t->space, t->exec.mm_id);
	t->space->unknown_image = r->state->strace;
	t->space->arguments_unknown = !counted && !r->state->strace;
	t->exec.active = false;
	t->exec.mapping = !r->state->strace;
	t->exec.total_start = t->exec.total_end = 0;
	r->execs++;
	space_put(r, old);
}

void life_exec_done(struct replay *r, const struct trace_event *ev)
{
	struct task *t = task_find(r, ev->exec.pid);

	if (t)
		t->exec.mapping = false;
}

static void make_stack(struct replay *r, struct task *t, const struct trace_mmap *m)
{
	struct avm_image image = { .stack_end = m->start + m->len,
				   .stack_pages = m->len / PAGE_SIZE,
				   .argument_pages = (uint64_t)t->exec.pages,
				   .stack_prot = m->prot,
				   .stack_pgoff = m->pgoff >> PAGE_SHIFT };
	uint64_t since = time_now();

	if (avm_exec(space_mm(t->space), &image))
		note_cause(r, "machine: no memory for exec");
	time_add(r, REPLAY_OP_EXEC, since);
	t->space->stack_made = true;
	t->exec.pages = t->exec.charged = 0;
}

/*
 * The first mapping of an image reserves room for all its segments; the loader unmaps what it is too large by, then
 * puts the other segments there. No record shows that unmapping: the next segment does.
 */
static void cut_reserve(struct replay *r, struct task *t, const struct trace_mmap *m)
{
	struct exec *e = &t->exec;

	if (m->start > e->total_start && m->start < e->total_end) {
		(void)op_unmap(r, t->space, m->start, e->total_end);
		e->total_end = m->start;
		return;
	}
	e->total_start = m->start;
	e->total_end = m->start + m->len;
}

static void map_segment(struct replay *r, struct space *s, const struct trace_mmap *rec)
{
	struct file *f = file_of(r, rec);
	struct avm_mmap m = { .addr = rec->start,
			      .len = rec->len,
			      .prot = rec->prot,
			      .flags = AVM_MAP_FIXED |
				       (rec->shared ? AVM_MAP_SHARED : AVM_MAP_PRIVATE),
			      .pgoff = rec->pgoff >> PAGE_SHIFT };

	if (rec->start >= space_mm(s)->task_size)
		return; /* the kernel's own, for everybody to see: [vsyscall] */
	m.file = f ? f->file : NULL;
	m.private_data = (uintptr_t)f;
	if (!m.file) {
		m.flags |= AVM_MAP_ANONYMOUS;
		m.pgoff = 0;
		if (f && !strcmp(f->name, "[stack]"))
			m.flags |= AVM_MAP_GROWSDOWN;
	}
	r->state->doing = "exec";
	if (op_map(r, s, &m))
		note_cause(r, "machine: a mapping of an image failed");
	note_called(r, s, m.addr, m.addr + m.len);
}

/* Mapped before the trace began: perf lists what it finds in /proc. */
static bool is_inherited(const struct space *s, const struct trace_mmap *m)
{
	const struct avm_vma *v = avm_find_vma(space_mm(s), m->start);

	return !v || v->start >= m->start + m->len;
}

/* A record outside of any call: exec's mappings; a stack that has grown; what was there before the trace. */
void life_map(struct replay *r, struct task *t, const struct trace_event *ev)
{
	const struct trace_mmap *m = &ev->mmap;

	if (!t->space || !t->space->proc)
		return;
	if (t->exec.active) {
		/* The stack of the address space in the making grows: by the page of arguments that comes next. */
		r->maps.recorded++;
		if (m->len == (uint64_t)(t->exec.pages + 1) * PAGE_SIZE)
			r->maps.equal++;
		else
			note_cause(r, "maps: arguments of exec");
		return;
	}
	if (t->exec.mapping && !t->space->stack_made) {
		make_stack(r, t, m);
	} else if (t->exec.mapping) {
		cut_reserve(r, t, m);
		map_segment(r, t->space, m);
	} else if (t->space->unknown_image && is_inherited(t->space, m)) {
		map_segment(r, t->space, m);
		return;
	}
	r->state->changed = true;
	space_note(r, t->space);
	map_check(r, t->space, m);
}

/* ---- the maps ------------------------------------------------------------------------------------------ */

static bool map_equal(const struct avm_vma *v, const struct trace_mmap *m)
{
	unsigned prot;

	if (!v || v->start != m->start || v->end != m->start + m->len)
		return false;
	prot = (v->flags & AVM_VM_READ ? AVM_PROT_READ : 0u) |
	       (v->flags & AVM_VM_WRITE ? AVM_PROT_WRITE : 0u) |
	       (v->flags & AVM_VM_EXEC ? AVM_PROT_EXEC : 0u);
	return (!m->v2 || prot == m->prot) && v->pgoff == m->pgoff >> PAGE_SHIFT;
}

void map_check(struct replay *r, const struct space *s, const struct trace_mmap *m)
{
	const struct avm_vma *v;

	if (!s->proc)
		return;
	v = avm_find_vma(space_mm(s), m->start);
	r->maps.recorded++;
	if (map_equal(v, m)) {
		r->maps.equal++;
		return;
	}
	note_cause(r, s->before_trace ? "maps: from before the trace" : "maps: differs");
	explain(r,
		"%s: kernel %#" PRIx64 ", %" PRIu64 " pages @%#" PRIx64 " prot %x, model %#" PRIx64
		", %" PRIu64 " pages @%#" PRIx64 " flags %#" PRIx64,
		s->row->comm, m->start, m->len / PAGE_SIZE, m->pgoff >> PAGE_SHIFT, m->prot,
		v ? v->start : 0, v ? (v->end - v->start) / PAGE_SIZE : 0, v ? v->pgoff : 0,
		v ? v->flags : 0);
}
