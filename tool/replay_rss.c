/* SPDX-License-Identifier: MIT */
/*
 * replay_rss.c - is the number of resident pages what the kernel says it was?
 *
 * Three things make a sample more than one number to be compared:
 *
 *  - Operations go step by step. A sample inside of one must be the state after its next step, no other; a step may be
 *    torn where the kernel lets others run in the middle of a page table, but never goes back, and nothing is skipped.
 *  - CPUs run beside each other. The value is read a moment before the sample is written, after the task's event before:
 *    what other tasks reported in that moment may be missing in it, and the next step of each may be there already.
 *  - Arguments of exec are charged to the old address space until it is left.
 *
 * A sample that fits none of that is unequal, and so is every later one until the counts meet again: nothing is
 * forgiven. The model learns from samples only how many pages a fault on a file mapped around itself, and how many
 * pages of arguments exec has copied: neither is in the trace otherwise.
 */
#include <stdlib.h>
#include <string.h>

#include "replay_priv.h"

#define BESIDE_NS 10000u /* between the two there is nothing but an interrupt, perhaps */

static enum avm_rss type_of(enum trace_rss_type t)
{
	static const enum avm_rss types[] = {
		[TRACE_RSS_FILE] = AVM_RSS_FILE,
		[TRACE_RSS_ANON] = AVM_RSS_ANON,
		[TRACE_RSS_SWAP] = AVM_RSS_SWAP,
		[TRACE_RSS_SHMEM] = AVM_RSS_SHMEM,
	};

	return types[t];
}

/* ---- one sample ---------------------------------------------------------------------------------------- */

static int64_t view(const struct space *s, enum avm_rss type)
{
	int64_t n = s->proc ? (int64_t)avm_mm_rss(space_mm(s), (enum avm_rss)type) : 0;

	return n + s->adjust.n[type];
}

/* More file pages than the fault itself: the kernel has mapped those around it. */
static bool take_around(struct replay *r, struct task *t, struct plan *p, enum avm_rss type,
			int64_t delta)
{
	int64_t own = plan_next(p, type), more;

	if (!p->open || !p->space->proc || (type != AVM_RSS_FILE && type != AVM_RSS_SHMEM) ||
	    delta < own || own < 0)
		return false;
	more = fault_around(r, p->space, p->addr, delta - own);
	p->total.n[type] += more;
	p->space->adjust.n[type] -= more;
	plan_report(r, t, p, type, own);
	p->done.n[type] += more;
	p->space->adjust.n[type] += more;
	return own + more == delta;
}

static bool take_torn(struct replay *r, struct task *t, struct plan *p, enum avm_rss type,
		      int64_t delta)
{
	int64_t next = plan_next(p, type);

	if (!delta || (delta < 0) != (next < 0) || llabs(delta) > llabs(next))
		return false;
	if (delta != next && (delta < 0 || p->copied))
		r->rss[type].torn++; /* other calls that add pages do so one by one */
	plan_report(r, t, p, type, delta);
	return true;
}

/* While counts differ, a number of pages that only the sample tells would make up for the difference. */
static bool would_make_up(const struct plan *p, enum avm_rss type)
{
	return p->open && p->space->drift[type] && (type == AVM_RSS_FILE || type == AVM_RSS_SHMEM);
}

/* Can this be the task's next step? Takes it if so. */
static bool take_step(struct replay *r, struct task *t, struct space *s, enum avm_rss type,
		      int64_t delta)
{
	struct plan *plans[] = { &t->fault, &t->op };

	for (int i = 0; i < 2; i++) {
		struct plan *p = plans[i];

		if (p->space != s || would_make_up(p, type))
			continue;
		if (p->open && delta > 0 && take_around(r, t, p, type, delta))
			return true;
		if (take_torn(r, t, p, type, delta))
			return true;
	}
	return false;
}

/*
 * Before it reads a file, a fault looks for pages around it in the cache, and says so even if there are none. Faults
 * that a call takes for its range (MAP_POPULATE, mlock) do, too.
 */
static bool found_nothing(struct task *t, const struct space *s, enum avm_rss type)
{
	if (type != AVM_RSS_FILE && type != AVM_RSS_SHMEM)
		return false;
	return (t->fault.space == s && t->fault.open && !s->drift[type]) ||
	       (t->op.space == s && plan_next(&t->op, type) > 0);
}

static bool expects_step(struct task *t, const struct space *s, enum avm_rss type)
{
	return (t->fault.space == s && plan_next(&t->fault, type)) ||
	       (t->op.space == s && plan_next(&t->op, type));
}

/* What other tasks reported since this one's last event, and may not have been in the value: all, or the last few. */
static size_t others_done(const struct replay *r, const struct task *t, const struct space *s,
			  enum avm_rss type, int64_t *out, size_t max)
{
	int64_t sum = 0;
	size_t n = 0;

	for (unsigned i = 0; i < REPORTED && i < s->nr_reported && n < max; i++) {
		const struct reported *d = &s->reported[(s->nr_reported - 1 - i) % REPORTED];

		if (d->seq <= t->prev_seq || r->state->time - d->time > BESIDE_NS)
			break;
		if (d->tid == t->tid || d->type != type)
			continue;
		sum -= d->delta;
		out[n++] = sum;
	}
	return n;
}

/* The next step of each other task may be in the value before it is reported. */
static size_t others_next(struct replay *r, struct task *t, const struct space *s,
			  enum avm_rss type, int64_t *out, size_t max)
{
	size_t n = 0;

	if (s->users < 2)
		return 0;
	(void)work_allow(r, BUCKETS / 8 + r->state->nr_tasks);
	for (struct task *o = NULL; n < max && (o = task_next(r, o)) != NULL;) {
		int64_t next = 0;

		if (o == t)
			continue;
		if (o->fault.space == s)
			next = plan_next(&o->fault, type);
		if (!next && o->op.space == s)
			next = plan_next(&o->op, type);
		if (next && n < max)
			out[n++] = next;
	}
	return n;
}

#define BESIDE 12

/* The same with what happened on other CPUs meanwhile taken away, or added. */
static bool take_seen(struct replay *r, struct task *t, struct space *s, enum avm_rss type,
		      int64_t delta)
{
	int64_t less[BESIDE + 1] = { 0 }, more[BESIDE + 1] = { 0 };
	size_t nl = 1 + others_done(r, t, s, type, less + 1, BESIDE);
	size_t nm = 1 + others_next(r, t, s, type, more + 1, BESIDE);
	bool expected = expects_step(t, s, type);

	for (size_t i = 0; i < nl; i++) {
		for (size_t j = i ? 0 : 1; j < nm; j++) {
			int64_t d = delta - less[i] - more[j];

			if ((!d && !expected) || (d && take_step(r, t, s, type, d)))
				return true;
		}
	}
	return false;
}

static bool take_beside(struct replay *r, struct task *t, struct space *s, enum avm_rss type,
			int64_t delta)
{
	bool taken = take_seen(r, t, s, type, delta);

	if (taken || !call_others(r, t, s, CALL_MAY_BEGIN))
		return taken;
	taken = take_seen(r, t, s, type, delta);
	(void)call_others(r, t, s, CALL_NOT_BEGUN);
	return taken;
}

/* A fault has one step, and that is over, whatever the kernel made of it. Of other plans any part may come yet. */
static void skip_step(struct replay *r, struct task *t, struct space *s, enum avm_rss type)
{
	if (t->fault.space == s && plan_next(&t->fault, type))
		plan_report(r, t, &t->fault, type, plan_next(&t->fault, type));
}

/*
 * One fault that brought 2^n pages: a huge page, or a large folio of anonymous memory. The model gets as many single
 * ones, so that what follows can be compared.
 */
static bool is_huge(struct replay *r, struct task *t, struct space *s, enum avm_rss type,
		    int64_t pages)
{
	int64_t n = pages - view(s, type);
	uint64_t start, end;

	if (type != AVM_RSS_ANON || t->fault.space != s || t->fault.open || !s->proc || n < 2 ||
	    n > 512 || (n & (n - 1)) || plan_next(&t->fault, type) != 1)
		return false;
	start = t->fault.addr & ~((uint64_t)n * PAGE_SIZE - 1);
	end = start + (uint64_t)n * PAGE_SIZE;
	skip_step(r, t, s, type);
	for (uint64_t a = start; a < end; a += PAGE_SIZE)
		(void)sim_touch(s->proc, a, AVM_ACCESS_WRITE, NULL);
	note_cause(r, "rss: huge pages, which this machine does not have");
	return true;
}

/* Unequal before, so unequal now; but the change since tells how many pages a fault mapped around itself. */
static void follow_around(struct replay *r, struct task *t, struct space *s, enum avm_rss type,
			  int64_t pages)
{
	int64_t change = pages - view(s, type) - s->drift_by[type];

	if (s->drift[type] && s->proc && t->fault.space == s && t->fault.open)
		(void)take_around(r, t, &t->fault, type, change);
}

static const char *difference(const struct replay *r, const struct task *t, const struct space *s,
			      enum avm_rss type, int64_t by)
{
	static const char *const names[] = {
		[AVM_RSS_FILE] = "rss.file: differs",
		[AVM_RSS_ANON] = "rss.anon: differs",
		[AVM_RSS_SWAP] = "rss: the kernel has swapped",
		[AVM_RSS_SHMEM] = "rss.shmem: differs",
	};
	static const char *const lasting[] = {
		[AVM_RSS_FILE] = "rss.file: differs still",
		[AVM_RSS_ANON] = "rss.anon: differs still",
		[AVM_RSS_SWAP] = "rss: the kernel has swapped",
		[AVM_RSS_SHMEM] = "rss.shmem: differs still",
	};

	if (s->before_trace)
		return "rss: pages from before the trace";
	if (trace_stats(r->trace)->lost)
		return "rss: events were lost";
	if (t->space != s && t->child != s)
		return "rss: changed by another process, a debugger perhaps";
	return s->drift[type] && *s->drift[type] && s->drift_by[type] == by ? lasting[type] :
									      names[type];
}

static void unequal(struct replay *r, struct task *t, struct space *s, enum avm_rss type,
		    int64_t pages)
{
	const char *cause;
	int64_t by;

	if (is_huge(r, t, s, type, pages))
		return;
	if (s->before_trace) {
		/* Only changes can be compared: what there was before is not known. */
		note_cause(r, difference(r, t, s, type, 0));
		skip_step(r, t, s, type);
		s->adjust.n[type] += pages - view(s, type);
		return;
	}
	follow_around(r, t, s, type, pages);
	skip_step(r, t, s, type);
	by = pages - view(s, type);
	cause = difference(r, t, s, type, by);
	note_cause(r, cause);
	explain(r, "task %d: %s: kernel %lld, model %lld", t->tid, cause, (long long)pages,
		(long long)view(s, type));
	s->drift[type] = cause;
	s->drift_by[type] = by;
}

void rss_compare(struct replay *r, struct task *t, struct space *s, enum avm_rss type,
		 int64_t pages)
{
	int64_t delta = pages - view(s, type);
	bool equal = delta ? take_step(r, t, s, type, delta) :
			     !expects_step(t, s, type) || found_nothing(t, s, type);

	if (!equal && take_beside(r, t, s, type, delta)) {
		r->rss[type].beside++;
		equal = true;
	}
	r->rss[type].samples++;
	if (equal) {
		r->rss[type].equal++;
		s->drift[type] = NULL;
		return;
	}
	unequal(r, t, s, type, pages);
}

/* ---- whose sample is it? ------------------------------------------------------------------------------- */

static void told(struct replay *r, enum avm_rss type, bool equal, const char *cause)
{
	r->rss[type].samples++;
	if (equal)
		r->rss[type].equal++;
	else
		note_cause(r, cause);
}

/* Arguments go to the stack of an address space that nobody uses yet, page by page, and come away so. */
static void exec_sample(struct replay *r, struct task *t, const struct sample *m)
{
	bool equal = m->type == AVM_RSS_ANON &&
		     (m->pages == t->exec.pages + 1 || m->pages < t->exec.pages);

	told(r, m->type, equal, "rss: arguments of exec");
	if (m->type == AVM_RSS_ANON)
		t->exec.pages = m->pages;
}

/* The old address space pays for as many pages as the new one has; in the end it gets all back. */
static bool exec_charge(struct replay *r, struct task *t, const struct sample *m)
{
	struct space *s = t->space;
	int64_t delta = m->pages - view(s, AVM_RSS_ANON);

	if (!t->exec.active || m->type != AVM_RSS_ANON || !m->curr || expects_step(t, s, m->type))
		return false;
	if (!(delta == 1 && t->exec.pages == t->exec.charged + 1) &&
	    !(delta && delta == -t->exec.charged))
		return false;
	t->exec.charged += delta;
	s->adjust.n[AVM_RSS_ANON] += delta;
	s->reported[s->nr_reported++ % REPORTED] =
		(struct reported){ r->state->seq, r->state->time, t->tid, AVM_RSS_ANON, delta };
	told(r, m->type, true, "");
	return true;
}

/* What a process had before the trace began is what its first sample has more than the model. */
static void learn(struct replay *r, struct task *t, const struct sample *m)
{
	struct space *s = t->space;
	int64_t own = plan_next(&t->fault, m->type);
	int64_t more = m->pages - view(s, m->type) - own;
	struct avm_vma *stack = NULL;

	if (!s->arguments_unknown || m->type != AVM_RSS_ANON || more <= 0)
		return;
	s->arguments_unknown = false;
	for (struct avm_vma *v = avm_next_vma(space_mm(s), NULL); v;
	     v = avm_next_vma(space_mm(s), v)) {
		if (v->flags & AVM_VM_STACK)
			stack = v;
	}
	if (!stack || (uint64_t)more > (stack->end - stack->start) / PAGE_SIZE)
		return;
	(void)avm_populate(space_mm(s), stack->end - (uint64_t)more * PAGE_SIZE,
			   (uint64_t)more * PAGE_SIZE, AVM_ACCESS_WRITE);
	(void)r;
}

static void own_sample(struct replay *r, struct task *t, const struct sample *m)
{
	struct space *s = t->space;

	if (!s->mm_id)
		space_bind(r, s, m->mm_id);
	if (s->mm_id != m->mm_id) {
		told(r, m->type, false, "rss: of an unknown address space");
		return;
	}
	if (s->proc)
		learn(r, t, m);
	if (exec_charge(r, t, m))
		return;
	if (t->call.active && !t->call.applied)
		call_sample(r, t);
	rss_compare(r, t, s, m->type, m->pages);
}

static void sample(struct replay *r, struct task *t, const struct sample *m)
{
	struct space *s;

	if (m->curr && t->space) {
		own_sample(r, t, m);
		return;
	}
	if (t->exec.active && m->mm_id == t->exec.mm_id) {
		exec_sample(r, t, m);
		return;
	}
	if (t->child && t->child->mm_id == m->mm_id) {
		rss_compare(r, t, t->child, m->type, m->pages);
		return;
	}
	s = space_by_id(r, m->mm_id);
	if (s && s == t->space) {
		life_teardown(r, t);
		rss_compare(r, t, s, m->type, m->pages);
		return;
	}
	if (s) {
		/* What a truncation does to others who map the file. */
		if (t->call.active && !t->call.applied && t->space)
			call_sample(r, t);
		rss_compare(r, t, s, m->type, m->pages);
		return;
	}
	t->held = *m;
	t->has_held = true;
}

/*
 * The first sample of an unknown address space is known for what it is by the event that follows: exec charges its
 * first page to the old address space at once; all else is a fork.
 */
void rss_resolve(struct replay *r, struct task *t, const struct trace_event *next)
{
	struct sample m = t->held;
	uint64_t line = r->state->line;
	bool charge;

	t->has_held = false;
	r->state->line = m.line;
	charge = next->kind == TRACE_RSS && next->rss.curr && next->rss.type == TRACE_RSS_ANON;
	if (t->space && charge && m.pages == 1 && m.type == AVM_RSS_ANON) {
		t->exec = (struct exec){ .active = true, .mm_id = m.mm_id };
		sample(r, t, &m);
	} else if ((next->kind == TRACE_RSS && next->rss.mm_id == m.mm_id) ||
		   next->kind == TRACE_NEWTASK || next->kind == TRACE_REC_FORK) {
		life_fork(r, t, m.mm_id);
		sample(r, t, &m);
		t->has_held = false;
	} else {
		told(r, m.type, false, "rss: of an unknown address space");
	}
	r->state->line = line;
}

void rss_event(struct replay *r, struct task *t, const struct trace_event *ev)
{
	struct sample m = { .mm_id = ev->rss.mm_id,
			    .type = type_of(ev->rss.type),
			    .pages = ev->rss.bytes >> PAGE_SHIFT,
			    .curr = ev->rss.curr,
			    .line = ev->line };

	sample(r, t, &m);
}
