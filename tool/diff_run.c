/* SPDX-License-Identifier: MIT */
/*
 * diff_run.c - a program on both sides. The core runs one batch ahead: while the host performs a batch, the next one is
 * made.
 */
#include <stdlib.h>
#include <string.h>

#include "diff.h"

/* Every so many batches the audit counts mappings, and reads the flags of VMAs, which is slow. */
#define COUNT_EVERY 4u
#define FLAGS_EVERY 32u

struct run {
	struct diff_lab *lab;
	struct diff_program *pr;
	struct diff_core core;
	struct diff_rng rng;
	unsigned proc; /* the generator's */
	size_t made, to_make;
	size_t next; /* operation of the program */
	unsigned batches;
	size_t index[2][DIFF_BATCH]; /* operation of the program, by its place in the batch */
	uint32_t sent[2]; /* without the audits */
};

bool diff_add(struct diff_program *pr, const struct diff_op *op)
{
	if (pr->n == pr->room) {
		size_t room = pr->room ? 2 * pr->room : 1024;
		struct diff_op *ops = realloc(pr->ops, room * sizeof(*ops));

		if (!ops)
			return false;
		pr->ops = ops;
		pr->room = room;
	}
	pr->ops[pr->n++] = *op;
	return true;
}

static bool avoided(struct run *r, const struct diff_op *op)
{
	if (!r->core.procs[op->p])
		return true;
	for (unsigned i = 0; i < diff_nr_rules; i++) {
		if (diff_rules[i].active && diff_rules[i].avoids &&
		    diff_rules[i].avoids(&r->core, op)) {
			diff_rules[i].used++;
			return true;
		}
	}
	return false;
}

/* The next operation of the program, or a new one. NULL: that was all. */
static const struct diff_op *next_op(struct run *r)
{
	while (r->next == r->pr->n) {
		struct diff_op op;

		if (r->made >= r->to_make)
			return NULL;
		diff_generate(&r->rng, &r->core, r->pr, &r->proc, &op);
		if (avoided(r, &op))
			continue;
		if (!diff_add(r->pr, &op))
			return NULL;
		r->made++;
	}
	return &r->pr->ops[r->next++];
}

static void count(struct diff_counts *n, const struct diff_op *op, const struct diff_seen *seen)
{
	n->ops++;
	n->done[op->kind] += seen->ret >= 0;
	n->failed[op->kind] += seen->ret < 0;
	if (seen->ret < 0 && seen->ret > -(int64_t)(sizeof(n->errnos) / sizeof(n->errnos[0])))
		n->errnos[-seen->ret]++;
	n->maperr += seen->ret == DIFF_MAPERR;
	n->accerr += seen->ret == DIFF_ACCERR;
	n->sigbus += seen->ret == DIFF_SIGBUS;
	n->outside += seen->ret == DIFF_OUTSIDE;
	n->copies += seen->frame == DIFF_FRAME_OTHER;
	n->takeovers += seen->frame == DIFF_FRAME_SAME;
}

static void add_audits(struct run *r, unsigned b, struct diff_batch *batch, bool last)
{
	uint32_t what = 0;

	r->batches++;
	if (last || r->batches % COUNT_EVERY == 0)
		what |= DIFF_AUDIT_COUNTS;
	if (last || r->batches % FLAGS_EVERY == 0)
		what |= DIFF_AUDIT_FLAGS;
	r->lab->live[b] = 0;
	for (unsigned p = 0; p < DIFF_PROCS; p++) {
		if (!r->core.procs[p])
			continue;
		batch->ops[batch->n++] =
			(struct diff_op){ .kind = DIFF_AUDIT, .p = (uint8_t)p, .flags = what };
		diff_core_audit(&r->core, p, what, &r->lab->core_audits[b][p]);
		r->lab->live[b] |= 1u << p;
		r->lab->counts.audits++;
	}
}

/* Fills the batch, on the core's side. => false when the program is at its end */
static bool fill(struct run *r, unsigned b, struct diff_batch *batch)
{
	const struct diff_op *op = NULL;

	batch->n = 0;
	while (batch->n < DIFF_BATCH && (op = next_op(r))) {
		struct diff_seen *seen = &r->lab->core_seen[b][batch->n];

		*seen = (struct diff_seen){ .ret = DIFF_NOT_DONE };
		if (r->to_make || !avoided(r, op))
			diff_core_step(&r->core, op, seen);
		if (r->lab->meddle && seen->ret != DIFF_NOT_DONE)
			r->lab->meddle(&r->core, op, seen);
		if (r->lab->trail)
			r->lab->trail[r->next - 1] = *seen;
		if (seen->ret == DIFF_NOT_DONE)
			continue;
		count(&r->lab->counts, op, seen);
		r->index[b][batch->n] = r->next - 1;
		batch->ops[batch->n++] = *op;
	}
	r->sent[b] = batch->n;
	add_audits(r, b, batch, !op);
	return op;
}

/* Compares what the host made of the batch that is under way. */
static bool check(struct run *r, unsigned b, struct diff_finding *f)
{
	struct diff_batch *batch = diff_host_wait(r->lab->host);

	if (!batch) {
		uint32_t at = diff_host_at(r->lab->host);

		f->kind = DIFF_HOST_DIED;
		f->at = r->sent[b] ? r->index[b][at < r->sent[b] ? at : r->sent[b] - 1] : 0;
		snprintf(f->what, sizeof(f->what), "the host's side did not come back");
		return false;
	}
	r->lab->last = b;
	r->lab->last_live = r->lab->live[b];
	r->lab->last_host = batch->audits;
	for (uint32_t i = 0; i < r->sent[b]; i++) {
		if (r->lab->trail)
			r->lab->trail[r->index[b][i]] = batch->seen[i];
		f->at = r->index[b][i];
		if (!diff_compare_seen(&batch->ops[i], &batch->seen[i], &r->lab->core_seen[b][i],
				       f))
			return false;
	}
	return diff_compare_audits(batch->audits, r->lab->core_audits[b], r->lab->live[b], f);
}

static bool run_batches(struct run *r, struct diff_finding *f)
{
	bool more = true, good = true, under_way = false;
	unsigned b = 0;

	while (more && good) {
		more = fill(r, b, diff_host_batch(r->lab->host));
		if (under_way)
			good = check(r, b ^ 1, f);
		if (good) {
			diff_host_start(r->lab->host);
			under_way = true;
			b ^= 1;
		}
	}
	return good && check(r, b ^ 1, f);
}

/* The core's own opinion, when the program is over. */
static bool close_core(struct run *r, struct diff_finding *f)
{
	struct avm_stats st;
	int64_t violations = diff_core_verify(&r->core, NULL);
	uint64_t leaked;

	avm_stats(sim_machine(r->core.sim), &st);
	r->lab->counts.merges += st.events[AVM_EV_MERGE];
	r->lab->counts.splits += st.events[AVM_EV_SPLIT];
	leaked = diff_core_close(&r->core);
	if (!violations && !leaked)
		return true;
	f->kind = DIFF_CORE_BROKEN;
	f->at = r->pr->n ? r->pr->n - 1 : 0;
	snprintf(f->what, sizeof(f->what), "the core: %lld violations, %llu objects leaked",
		 (long long)violations, (unsigned long long)leaked);
	return false;
}

bool diff_run(struct diff_lab *lab, struct diff_program *pr, size_t make, struct diff_finding *f)
{
	struct run r = { .lab = lab, .pr = pr, .to_make = make, .rng = { pr->seed } };
	struct diff_finding second;
	bool good;

	*f = (struct diff_finding){ 0 };
	lab->counts.programs++;
	if (diff_core_open(&r.core, pr, &lab->can) || !diff_host_begin(lab->host)) {
		f->kind = DIFF_HOST_DIED;
		snprintf(f->what, sizeof(f->what), "no process can be made");
		if (r.core.sim)
			diff_core_close(&r.core);
		return false;
	}
	good = run_batches(&r, f);
	if (good)
		return close_core(&r, f);
	close_core(&r, &second);
	return false;
}
