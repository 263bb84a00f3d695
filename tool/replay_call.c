/* SPDX-License-Identifier: MIT */
/*
 * replay_call.c - a system call of the trace: between enter and exit other tasks go on, so when does it happen?
 *
 * When the trace shows the first sign of it: a changed count, an MMAP2 record, or its end. A mapping that another task
 * gets where this one is unmapping shows, too, that the unmapping is done.
 */
#include <string.h>

#include "replay_priv.h"

static bool overlaps(uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end)
{
	return a < b_end && b < a_end;
}

static void apply(struct replay *r, struct task *t, uint64_t ret)
{
	struct call *c = &t->call;
	struct counts before, after;
	uint64_t start, end;

	if (c->applied || !t->space || !t->space->proc)
		return;
	if (t->space->forking)
		life_fork_passed(r, t,
				 c->sys.call == TRACE_CALL_MADVISE ? c->sys.arg[0] : LIFE_ANYWHERE);
	before = counts_of(t->space);
	if (t->op.space != t->space) {
		plan_begin(&t->op, t->space);
		if (!op_range(c, &start, &end)) {
			work_range(r, t->space, start, end);
			plan_gather(&t->op, start, end, -1);
		}
	}
	r->state->doing = trace_call_name(c->sys.call);
	c->result = op_call(r, t, ret);
	if (op_changed(c, ret, &start, &end))
		start = end = 0;
	note_called(r, t->space, start, end);
	after = counts_of(t->space);
	after = counts_diff(&after, &before);
	plan_applied(&t->op, &after);
	c->applied = true;
	r->state->changed = true;
	space_note(r, t->space);
}

void call_enter(struct replay *r, struct task *t, const struct trace_event *ev)
{
	(void)r;
	plan_drop(&t->op);
	t->call = (struct call){ .active = true, .sys = ev->sys };
	t->call.cursor = ev->sys.arg[0];
}

/* What has been told of the call is enough to do it, without its result. */
static bool result_is_known(const struct call *c)
{
	switch (c->sys.call) {
	case TRACE_CALL_MUNMAP:
	case TRACE_CALL_MADVISE:
	case TRACE_CALL_BRK:
	case TRACE_CALL_MLOCK:
	case TRACE_CALL_MLOCK2:
	case TRACE_CALL_MLOCKALL:
	case TRACE_CALL_SHMDT:
	case TRACE_CALL_FTRUNCATE:
	case TRACE_CALL_FALLOCATE:
		return true;
	default:
		return false;
	}
}

/* A fixed mapping, or a move, unmaps what is in its way before anything else is to be seen of it. */
static void unmap_first(struct replay *r, struct task *t)
{
	uint64_t start, end;

	if (t->op.space || op_range(&t->call, &start, &end))
		return;
	plan_begin(&t->op, t->space);
	work_range(r, t->space, start, end);
	plan_gather(&t->op, start, end, -1);
}

void call_sample(struct replay *r, struct task *t)
{
	if (!t->space->proc)
		return;
	if (result_is_known(&t->call))
		apply(r, t, t->call.sys.arg[0]);
	else
		unmap_first(r, t);
}

/*
 * Faults and calls of other tasks of the address space that nothing has been seen of yet may have begun: lays down their plans,
 * or takes those away again of which no step has been seen.
 */
bool call_others(struct replay *r, const struct task *t, const struct space *s, enum call_look look)
{
	bool begun = false;

	if (s->users < 2 || !s->proc)
		return false;
	(void)work_allow(r, BUCKETS / 8 + r->state->nr_tasks);
	for (struct task *o = NULL; (o = task_next(r, o)) != NULL;) {
		if (o == t || o->space != s)
			continue;
		if (look == CALL_MAY_BEGIN && o->faulting) {
			fault_serve(r, o);
			begun = true;
		}
		if (!o->call.active || o->call.applied)
			continue;
		if (look == CALL_MAY_BEGIN && !o->op.space) {
			unmap_first(r, o);
			begun |= o->op.nr != 0;
		} else if (look == CALL_NOT_BEGUN && plan_untouched(&o->op)) {
			plan_drop(&o->op);
		}
	}
	return begun;
}

/* ---- MMAP2 inside of a call ---------------------------------------------------------------------------- */

/* A record shows the VMA as merged: the new part of it is what is not mapped yet. */
static bool find_new(const struct space *s, const struct trace_mmap *m, uint64_t len, uint64_t *out)
{
	uint64_t at = m->start, found = 0;
	unsigned n = 0;

	while (at < m->start + m->len) {
		const struct avm_vma *v = avm_find_vma(space_mm(s), at);
		uint64_t to = v && v->start < m->start + m->len ? v->start : m->start + m->len;

		if (to > at) {
			if (to - at == len) {
				found = at;
				n++;
			}
		}
		at = v && v->end > to ? v->end : to + PAGE_SIZE;
	}
	*out = found;
	return n == 1;
}

/* Others who are unmapping what this task has just mapped are done with it: mmap_lock was theirs until then. */
static void settle(struct replay *r, struct task *t, uint64_t start, uint64_t end)
{
	if (t->space->users < 2)
		return;
	(void)work_allow(r, BUCKETS / 8 + r->state->nr_tasks);
	for (struct task *o = NULL; (o = task_next(r, o)) != NULL;) {
		uint64_t from, to;

		if (o == t || o->space != t->space || !o->call.active || o->call.applied ||
		    o->call.sys.call != TRACE_CALL_MUNMAP)
			continue;
		if (!op_range(&o->call, &from, &to) && overlaps(from, to, start, end))
			apply(r, o, 0);
	}
}

static void map_record(struct replay *r, struct task *t, const struct trace_event *ev)
{
	struct call *c = &t->call;
	uint64_t len = page_up(c->sys.arg[1]);
	uint64_t at = c->sys.arg[0];

	c->record = ev->mmap;
	c->file = file_of(r, &ev->mmap);
	c->has_record = true;
	if (c->sys.arg[3] & (AVM_MAP_FIXED | AVM_MAP_FIXED_NOREPLACE)) {
		settle(r, t, at, at + len);
	} else if (!find_new(t->space, &ev->mmap, len, &at)) {
		settle(r, t, ev->mmap.start, ev->mmap.start + ev->mmap.len);
		if (!find_new(t->space, &ev->mmap, len, &at))
			return; /* its end will tell */
	}
	apply(r, t, at);
	map_check(r, t->space, &ev->mmap);
	c->has_record = false;
}

void call_record(struct replay *r, struct task *t, const struct trace_event *ev)
{
	struct call *c = &t->call;

	if (!t->space || !t->space->proc)
		return;
	switch (c->sys.call) {
	case TRACE_CALL_MMAP:
		if (c->applied)
			break;
		map_record(r, t, ev);
		return;
	case TRACE_CALL_SHMAT:
		c->record = ev->mmap;
		c->file = file_of(r, &ev->mmap);
		c->has_record = true;
		apply(r, t, ev->mmap.start);
		c->has_record = false;
		break;
	case TRACE_CALL_BRK:
		apply(r, t, c->sys.arg[0]);
		break;
	case TRACE_CALL_MPROTECT:
	case TRACE_CALL_PKEY_MPROTECT:
		op_protect(r, t, ev->mmap.start + ev->mmap.len);
		break;
	default:
		break;
	}
	map_check(r, t->space, &ev->mmap);
}

/* ---- its end ------------------------------------------------------------------------------------------- */

/* Errors that the core is asked for, too; others depend on what the trace does not tell. */
static bool error_is_ours(const struct call *c, int err)
{
	switch (c->sys.call) {
	case TRACE_CALL_MUNMAP:
	case TRACE_CALL_MPROTECT:
	case TRACE_CALL_PKEY_MPROTECT:
	case TRACE_CALL_MADVISE:
		return err == AVM_ENOMEM || err == AVM_EINVAL || err == AVM_EACCES;
	default:
		return false;
	}
}

static bool known_call(const struct call *c, bool strace)
{
	switch (c->sys.call) {
	case TRACE_CALL_PROCESS_MADVISE:
	case TRACE_CALL_REMAP_FILE_PAGES:
	case TRACE_CALL_MSEAL:
	case TRACE_CALL_MINCORE:
	case TRACE_CALL_MSYNC:
		return false;
	case TRACE_CALL_PRCTL:
	case TRACE_CALL_FTRUNCATE:
	case TRACE_CALL_FALLOCATE:
	case TRACE_CALL_MBIND:
		return true;
	default:
		return !strace || !c->sys.unknown;
	}
}

static void compare_result(struct replay *r, const struct task *t, int err)
{
	const struct call *c = &t->call;

	r->results.recorded++;
	if (c->result == -err) {
		r->results.equal++;
		return;
	}
	switch (c->sys.call) {
	case TRACE_CALL_MMAP:
		note_cause(r, "result: mmap");
		break;
	case TRACE_CALL_MREMAP:
		note_cause(r, "result: mremap");
		break;
	case TRACE_CALL_BRK:
		note_cause(r, "result: brk");
		break;
	case TRACE_CALL_MADVISE:
		note_cause(r, "result: madvise");
		break;
	case TRACE_CALL_MPROTECT:
		note_cause(r, "result: mprotect");
		break;
	default:
		note_cause(r, "result: of another call");
		break;
	}
	explain(r, "task %d: %s: core %d, kernel %d", t->tid, trace_call_name(c->sys.call),
		c->result, -err);
}

static void unknown_call(struct replay *r, const struct call *c)
{
	switch (c->sys.call) {
	case TRACE_CALL_PROCESS_MADVISE:
		note_cause(r, "call: process_madvise, of which the trace does not tell the ranges");
		break;
	case TRACE_CALL_REMAP_FILE_PAGES:
		note_cause(r, "call: remap_file_pages");
		break;
	case TRACE_CALL_MSEAL:
		note_cause(r, "call: mseal");
		break;
	case TRACE_CALL_MINCORE:
	case TRACE_CALL_MSYNC:
		break;
	default:
		note_cause(r, "call: arguments not known");
	}
}

void call_exit(struct replay *r, struct task *t, const struct trace_event *ev)
{
	struct call *c = &t->call;

	if (!c->active || c->sys.call != ev->sys.call) {
		*c = (struct call){ .active = true, .sys = ev->sys };
		c->cursor = ev->sys.arg[0];
		if (ev->sys.nargs == 0 && !r->state->strace) {
			note_cause(r, "call: begun before the trace");
			c->active = false;
			return;
		}
	}
	if (r->state->strace)
		c->sys = ev->sys; /* knows the file now */
	if (!t->space || !t->space->proc || ev->sys.no_result) {
		c->active = false;
		return;
	}
	if (!known_call(c, r->state->strace)) {
		unknown_call(r, c);
	} else if ((!ev->sys.err && !op_unseen(r, t)) || error_is_ours(c, ev->sys.err)) {
		if (c->sys.call == TRACE_CALL_MMAP && !c->applied)
			settle(r, t, ev->sys.ret, ev->sys.ret + page_up(c->sys.arg[1]));
		apply(r, t, ev->sys.ret);
		compare_result(r, t, ev->sys.err);
	}
	if (c->has_record)
		map_check(r, t->space, &c->record);
	c->active = c->has_record = false;
	plan_drop(&t->op);
}
