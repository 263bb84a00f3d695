/* SPDX-License-Identifier: MIT */
/*
 * replay_fault.c - a fault of the trace: would the model have faulted there, and then?
 */
#include <string.h>

#include "replay_priv.h"

#define RACE_NS 100000u

/* What one fault of the trace is to the model, before it is served. */
struct look {
	struct space *space;
	uint64_t addr;
	enum avm_access access;
	struct avm_vma *vma; /* NULL: nothing mapped there */
	enum replay_fault_kind kind;
	bool explained, exact;
	bool present; /* in the model */
};

static enum replay_fault_kind kind_of(const struct avm_vma *vma)
{
	const char *name;

	if (!vma || (vma->flags & AVM_VM_SPECIAL))
		return REPLAY_FAULT_OTHER;
	if (!vma->file)
		return REPLAY_FAULT_ANON;
	name = vma->file->owned ? NULL : ((const struct file *)vma->private_data)->name;
	return name && *name == '[' ? REPLAY_FAULT_OTHER : REPLAY_FAULT_FILE;
}

static enum avm_access access_of(const struct trace_fault *f, const struct avm_vma *vma)
{
	if (!f->has_code)
		return vma && (vma->flags & AVM_VM_WRITE) ? AVM_ACCESS_WRITE : AVM_ACCESS_READ;
	if (f->code & TRACE_PF_INSTR)
		return AVM_ACCESS_EXEC;
	return f->code & TRACE_PF_WRITE ? AVM_ACCESS_WRITE : AVM_ACCESS_READ;
}

/* The VMA of an address; a stack grows to it. */
static struct avm_vma *vma_at(const struct space *s, uint64_t addr)
{
	struct avm_vma *v = avm_find_vma(space_mm(s), addr);

	if (v && v->start > addr && !(v->flags & AVM_VM_GROWSDOWN))
		return NULL;
	return v;
}

static struct look look_at(struct space *s, const struct trace_fault *f)
{
	struct look k = { .space = s, .addr = f->addr };
	struct avm_pte_info e;

	k.vma = vma_at(s, f->addr);
	k.access = access_of(f, k.vma);
	k.kind = kind_of(k.vma);
	k.explained = sim_would_fault(s->proc, f->addr, k.access, &e);
	k.present = e.kind == AVM_PTE_PRESENT && !e.none;
	k.exact = k.explained && f->has_code && k.present == !!(f->code & TRACE_PF_PRESENT);
	return k;
}

/* ---- races --------------------------------------------------------------------------------------------- */

static bool raced(const struct space *s, const struct trace_event *ev)
{
	uint64_t page = page_down(ev->fault.addr);

	for (unsigned i = 0; i < TOUCHED && i < s->nr_touched; i++) {
		const struct touched *t = &s->touched[(s->nr_touched - 1 - i) % TOUCHED];

		if (ev->time - t->time > RACE_NS)
			return false;
		if (t->page == page && t->tid != ev->tid)
			return true;
	}
	return false;
}

static void remember(struct space *s, const struct trace_event *ev)
{
	s->touched[s->nr_touched++ % TOUCHED] =
		(struct touched){ page_down(ev->fault.addr), ev->time, ev->tid };
}

/* ---- the tally ----------------------------------------------------------------------------------------- */

/* A shared page of a file becomes read-only when it is written back, by msync() or by the kernel in its own time. */
static bool written_back(const struct look *k)
{
	return !k->explained && k->present && k->access == AVM_ACCESS_WRITE && k->vma &&
	       k->vma->file && (k->vma->flags & AVM_VM_SHARED) && !k->vma->file->shmem;
}

static const char *cause_of(const struct replay *r, const struct look *k)
{
	static const char *const present[] = {
		"fault.anon: the model has the page",
		"fault.file: the model has the page",
		"fault.other: the model has the page",
	};
	static const char *const absent[] = {
		"fault.anon: only the kernel has the page",
		"fault.file: only the kernel has the page",
		"fault.other: only the kernel has the page",
	};
	static const char *const shared[] = {
		"fault.anon: only the model has the page, not writable",
		"fault.file: only the model has the page, not writable",
		"fault.other: only the model has the page, not writable",
	};

	if (k->space->before_trace)
		return "fault: pages from before the trace";
	if (trace_stats(r->trace)->lost)
		return "fault: events were lost";
	if (written_back(k))
		return "fault.file: written back since, which no record tells";
	if (!k->explained)
		return present[k->kind];
	return k->present ? shared[k->kind] : absent[k->kind];
}

static void tally(struct replay *r, const struct trace_event *ev, const struct look *k)
{
	struct replay_faults *n = &r->faults[k->kind];

	n->recorded++;
	if (!ev->fault.has_code)
		r->without_code++;
	if (k->exact) {
		n->explained++;
		n->exact++;
		return;
	}
	if (raced(k->space, ev)) {
		n->raced++;
		return;
	}
	n->explained += k->explained;
	if (k->explained && !ev->fault.has_code)
		return;
	note_cause(r, cause_of(r, k));
	explain(r, "task %d: %s: %#llx, taken at line %llu", ev->tid, cause_of(r, k),
		(unsigned long long)ev->fault.addr, (unsigned long long)ev->line);
}

/* ---- serving it ---------------------------------------------------------------------------------------- */

/*
 * A page that was there before the trace began: the kernel found it present, so let the model have it, beside the count
 * that has it already. That is told as unexplained all the same.
 */
static void adopt_page(const struct look *k, const struct trace_fault *f)
{
	struct space *s = k->space;
	struct counts before, more;

	if (!s->before_trace || !(f->code & TRACE_PF_PRESENT) || k->present)
		return;
	before = counts_of(s);
	(void)sim_touch(s->proc, k->addr, k->vma && k->vma->file ? AVM_ACCESS_READ : k->access,
			NULL);
	more = counts_of(s);
	for (int i = 0; i < AVM_NR_RSS; i++)
		s->adjust.n[i] -= more.n[i] - before.n[i];
}

void fault_serve(struct replay *r, struct task *t)
{
	struct space *s = t->space;
	struct counts before, total;
	const struct avm_vma *v;
	uint64_t since;

	t->faulting = false;
	if (r->config.wrong == REPLAY_WRONG_NOTHING || !s->proc)
		return;
	before = counts_of(s);
	since = time_now();
	(void)sim_touch(s->proc, t->fault_addr, t->fault_access, NULL);
	time_add(r, REPLAY_OP_FAULT, since);
	total = counts_of(s);
	total = counts_diff(&total, &before);
	plan_begin(&t->fault, s);
	plan_applied(&t->fault, &total);
	v = vma_at(s, t->fault_addr);
	t->fault.open = v && v->file;
	t->fault.addr = t->fault_addr;
	r->state->changed = true;
	space_note(r, s);
	contents_visit(r, s, t->fault_line, t->fault_addr, t->fault_access);
}

/*
 * The kernel may touch user memory with page faults disabled. Such a fault is not served: the kernel finds that out,
 * and takes it again in another way at once.
 */
bool fault_repeated(const struct task *t, const struct trace_event *next)
{
	return t->fault_kernel && next->kind == TRACE_FAULT && next->fault.kernel &&
	       page_down(next->fault.addr) == page_down(t->fault_addr);
}

/*
 * When other tasks use the address space, a fault that changes its counts is served when the count changes, not when
 * it is taken: it may have to wait, for a fork above all.
 */
static bool must_wait(const struct look *k, const struct trace_fault *f)
{
	struct avm_pte_info e;

	if (f->kernel)
		return true;
	if (k->space->users < 2)
		return false;
	avm_pte_at(space_mm(k->space), k->addr, &e);
	return e.kind == AVM_PTE_NONE || e.zero || !e.page || !(e.page->mapping & AVM_MAPPING_ANON);
}

static void judge(struct replay *r, struct task *t, const struct trace_event *ev,
		  const struct look *k)
{
	tally(r, ev, k);
	if (written_back(k))
		(void)avm_file_sync(k->vma->file);
	remember(t->space, ev);
	t->space->row->faults++;
	adopt_page(k, &ev->fault);
	t->fault_addr = k->addr;
	t->fault_access = k->access;
	t->fault_line = ev->line;
	t->fault_kernel = ev->fault.kernel;
	t->faulting = true;
	/* Two replays that are compared do everything in one order, whatever is in memory. */
	if (r->config.contents || !must_wait(k, &ev->fault))
		fault_serve(r, t);
}

void fault_judge(struct replay *r, struct task *t)
{
	struct look k;

	t->has_postponed = false;
	if (!t->space->proc)
		return;
	k = look_at(t->space, &t->postponed.fault);
	judge(r, t, &t->postponed, &k);
}

void fault_event(struct replay *r, struct task *t, const struct trace_event *ev)
{
	struct look k;

	if (!t->space || !t->space->proc)
		return;
	if (ev->fault.has_code)
		around_evidence(r, t->space, ev->fault.addr, ev->fault.code & TRACE_PF_PRESENT);
	k = look_at(t->space, &ev->fault);
	if (!k.exact && t->space->forking && !r->config.contents) {
		/* It has met what another task's fork has done already, and waits. */
		t->postponed = *ev;
		t->has_postponed = true;
		return;
	}
	judge(r, t, ev, &k);
}

/* ---- traces without faults ----------------------------------------------------------------------------- */

/* => false when there is no memory left. */
static bool touch_vma(struct replay *r, struct space *s, const struct avm_vma *v, uint64_t at,
		      uint64_t end)
{
	enum avm_access access = v->flags & AVM_VM_WRITE ? AVM_ACCESS_WRITE : AVM_ACCESS_READ;
	unsigned failed = 0;

	/* What fails for another reason than memory fails at all pages that follow. */
	for (; at < end && !failed && work_allow(r, 8); at += PAGE_SIZE) {
		uint64_t since = time_now();

		failed = sim_touch(s->proc, at, access, NULL);
		time_add(r, REPLAY_OP_FAULT, since);
		r->touches++;
	}
	return !(failed & AVM_FAULT_OOM);
}

/* The policy of --touch, for [start, start + len) that has just been mapped or made accessible. */
void touch_range(struct replay *r, struct space *s, uint64_t start, uint64_t len)
{
	uint64_t at = page_down(start), end = page_up(start + len), to;
	const struct avm_vma *v;
	bool room = true;

	if (!r->state->strace || r->config.touch == REPLAY_TOUCH_NONE || !s->proc)
		return;
	if (r->config.touch == REPLAY_TOUCH_FIRST && end > at + PAGE_SIZE)
		end = at + PAGE_SIZE;
	for (; room && at < end; at = to) {
		v = avm_find_vma(space_mm(s), at);
		if (!v || v->start >= end)
			break;
		to = v->end < end ? v->end : end;
		if (v->flags & AVM_VM_READ)
			room = touch_vma(r, s, v, v->start > at ? v->start : at, to);
	}
	space_note(r, s);
	contents_visit(r, s, r->state->line, page_down(start), AVM_ACCESS_READ);
}
