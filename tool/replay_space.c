/* SPDX-License-Identifier: MIT */
/*
 * replay_space.c - who is alive: the tasks of the trace, and the address spaces they use.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "replay_priv.h"

#define STACK_LIMIT ((uint64_t)8 << 20)

void *replay_must(void *p)
{
	if (!p) {
		fputs("anonvm: out of memory\n", stderr);
		exit(2);
	}
	return p;
}

/* ---- causes -------------------------------------------------------------------------------------------- */

void note_cause(struct replay *r, const char *name)
{
	unsigned i = 0;

	while (i < r->nr_causes && strcmp(r->causes[i].name, name) != 0)
		i++;
	if (i == REPLAY_CAUSES)
		i--;
	if (i == r->nr_causes) {
		r->causes[i] = (struct replay_cause){ .name = name, .line = r->state->line };
		r->nr_causes++;
	}
	r->causes[i].count++;
}

void explain(const struct replay *r, const char *format, ...)
{
	va_list args;

	if (!r->config.explain)
		return;
	fprintf(stderr, "%s:%llu: ", r->name, (unsigned long long)r->state->line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* ---- address spaces ------------------------------------------------------------------------------------ */

static struct replay_row *row_new(struct replay *r, int32_t pid, const char *comm)
{
	struct replay_row *row = replay_must(calloc(1, sizeof(*row)));

	row->pid = pid;
	snprintf(row->comm, sizeof(row->comm), "%s", comm);
	row->next = r->rows;
	r->rows = row;
	r->nr_rows++;
	return row;
}

void space_note(struct replay *r, struct space *s)
{
	struct replay_row *row = s->row;
	uint64_t frames = sim_frames_used(r->sim);

	if (frames > r->frames_peak)
		r->frames_peak = frames;
	if (!s->proc)
		return;
	/* Read at rest, as statistics: avm_mm_stats() would walk all VMAs. */
	const struct avm_mm *mm = space_mm(s);

	if (mm->vmas.count > row->vmas_peak)
		row->vmas_peak = mm->vmas.count;
	for (int i = 0; i < AVM_NR_RSS; i++) {
		uint64_t rss = avm_mm_rss(mm, (enum avm_rss)i);

		if (rss > row->rss_peak[i])
			row->rss_peak[i] = rss;
	}
}

static void note_chains(struct replay *r, struct space *s)
{
	struct avm_mm_stats st;

	avm_mm_stats(space_mm(s), &st);
	if (st.longest_chain > s->row->longest_chain)
		s->row->longest_chain = st.longest_chain;
	if (st.longest_chain > r->longest_chain)
		r->longest_chain = st.longest_chain;
}

static struct sim_proc *proc_new(struct replay *r, const struct space *parent)
{
	struct avm_limits limits = { AVM_NO_LIMIT, AVM_NO_LIMIT, STACK_LIMIT, AVM_NO_LIMIT };
	/* Whoever loads programs may map the lowest pages. */
	struct avm_mm_config config = { .limits = &limits, .lowest = PAGE_SIZE };
	uint64_t since = time_now();
	struct sim_proc *proc;
	int err;

	if (parent) {
		work_whole(r, parent);
		err = sim_proc_fork(parent->proc, &proc);
		time_add(r, REPLAY_OP_FORK, since);
	} else {
		err = sim_proc_create(r->sim, &config, &proc);
		time_add(r, REPLAY_OP_EXEC, since);
	}
	if (!err)
		return proc;
	note_cause(r, parent ? "machine: no memory for fork" : "machine: no memory for exec");
	return NULL;
}

struct space *space_new(struct replay *r, const struct space *parent, int32_t pid, const char *comm)
{
	struct space *s = replay_must(calloc(1, sizeof(*s)));

	if (parent) {
		s->unknown_image = parent->unknown_image;
		s->before_trace = parent->before_trace;
		s->stack_made = parent->stack_made;
		memcpy(s->fds, parent->fds, sizeof(s->fds));
	}
	s->users = 1;
	s->row = row_new(r, pid, comm);
	LIST_INSERT_HEAD(&r->state->spaces, s, link);
	if (!parent) {
		s->proc = proc_new(r, NULL);
		space_note(r, s);
	}
	return s;
}

void space_fork(struct replay *r, struct space *child, struct space *parent)
{
	r->state->changed = true;
	if (!parent->proc)
		return;
	child->proc = proc_new(r, parent);
	if (!child->proc)
		return;
	around_fork(child, parent);
	parent->row->forks++;
	note_chains(r, child);
	if (r->config.hooks && r->config.hooks->forked)
		r->config.hooks->forked(r->config.context, space_mm(parent), space_mm(child));
	space_note(r, child);
}

void space_end(struct replay *r, struct space *s)
{
	uint64_t since;

	if (!s->proc)
		return;
	work_whole(r, s);
	space_note(r, s);
	note_chains(r, s);
	if (r->config.hooks && r->config.hooks->leaving)
		r->config.hooks->leaving(r->config.context, space_mm(s), s->row);
	since = time_now();
	sim_proc_exit(s->proc);
	time_add(r, REPLAY_OP_EXIT, since);
	s->proc = NULL;
	r->state->changed = true;
}

void space_put(struct replay *r, struct space *s)
{
	if (!s || --s->users)
		return;
	space_end(r, s);
	if (s->mm_id)
		LIST_REMOVE(s, by_id);
	LIST_REMOVE(s, link);
	free(s->guesses);
	free(s);
}

struct space *space_by_id(struct replay *r, uint64_t mm_id)
{
	struct space *s;

	s = LIST_FIRST(&r->state->ids[mm_id % BUCKETS]);
	while (s && s->mm_id != mm_id)
		s = LIST_NEXT(s, by_id);
	return s;
}

void space_bind(struct replay *r, struct space *s, uint64_t mm_id)
{
	if (s->mm_id)
		LIST_REMOVE(s, by_id);
	s->mm_id = mm_id;
	if (mm_id)
		LIST_INSERT_HEAD(&r->state->ids[mm_id % BUCKETS], s, by_id);
}

/* ---- tasks --------------------------------------------------------------------------------------------- */

struct task *task_find(struct replay *r, int32_t tid)
{
	struct task *t;

	t = LIST_FIRST(&r->state->tasks[(uint32_t)tid % BUCKETS]);
	while (t && t->tid != tid)
		t = LIST_NEXT(t, link);
	return t;
}

struct task *task_next(struct replay *r, struct task *t)
{
	size_t b = t ? (uint32_t)t->tid % BUCKETS + 1 : 0;

	t = t ? LIST_NEXT(t, link) : NULL;
	while (!t && b < BUCKETS)
		t = LIST_FIRST(&r->state->tasks[b++]);
	return t;
}

struct task *task_add(struct replay *r, int32_t tid, int32_t pid, struct space *space)
{
	struct task *t = replay_must(calloc(1, sizeof(*t)));

	t->tid = tid;
	t->pid = pid;
	t->space = space;
	r->state->nr_tasks++;
	LIST_INSERT_HEAD(&r->state->tasks[(uint32_t)tid % BUCKETS], t, link);
	if (tid == pid)
		r->processes++;
	else
		r->threads++;
	return t;
}

struct task *task_get(struct replay *r, int32_t tid, int32_t pid)
{
	struct task *t = task_find(r, tid);
	const struct task *leader;

	if (t || tid <= 0)
		return t;
	leader = tid != pid ? task_find(r, pid) : NULL;
	if (leader && leader->space) {
		leader->space->users++;
		return task_add(r, tid, pid, leader->space);
	}
	t = task_add(r, tid, pid, space_new(r, NULL, pid, ""));
	t->begun = true;
	t->space->unknown_image = true;
	t->space->before_trace = !r->state->strace;
	return t;
}

void task_drop(struct replay *r, struct task *t)
{
	plan_drop(&t->fault);
	plan_drop(&t->op);
	free(t->fault.steps);
	free(t->op.steps);
	life_fork_fails(r, t);
	space_put(r, t->space);
	r->state->nr_tasks--;
	LIST_REMOVE(t, link);
	free(t);
}
