/* SPDX-License-Identifier: MIT */
/*
 * check_bound.c - depth-first over lists of switches (check_bound.h). An execution is its list, and without a further switch
 * from there on; each choice it had behind the last of the list makes a longer one. So no list comes twice.
 *
 * Of executions that differ in the order of independent steps only, one is enough, if it is one with no more preemptions than
 * the others. Sleep sets as they are in the books do not see to that: they would keep whichever comes first. So only the
 * thread that is preempted sleeps, until somebody else's step depends on the one it was about to do. If it went on before,
 * s u..u c, then it could as well have done that step first, s c u..u, the switch away from it being one step later:
 *
 *	- that costs the same preemption, or none if the thread has to wait behind the step;
 *	- the switch back to it becomes a switch to whoever comes next, or none at all.
 *
 * So the other one is within the bound, too. Of all equal executions within the bound, the one that stays with its thread
 * for longest is never given up. Threads that were passed over when the one before had to wait do not sleep: to go on with
 * another one of these first may cost a preemption more.
 */
#include "check_bound.h"

#include <stdlib.h>
#include <string.h>

#include "check_record.h"

#define DEPTH 32u /* switches that somebody chose, free ones too */

struct branch {
	uint8_t first, n, preemptions;
	bool late;
	uint8_t sleepers, preempted; /* those of its last switch */
	uint64_t run; /* of the thread that is preempted, without a stop, before the same other; 0: none */
	struct check_switch switches[DEPTH];
	struct check_step slept[CHECK_THREADS];
};

/* What the other thread has touched, in the branch that was taken last of each length, until the preempted one came back. */
struct last {
	uint64_t run;
	struct check_steps others;
};

struct search {
	struct check *c;
	struct check_record *r;
	struct check_explorer *e;
	struct branch *at;
	size_t n, room;
	uint64_t runs;
	bool bounded; /* there was somebody else, and no preemption left */
	struct last last[DEPTH + 1];
};

static struct branch *push(struct search *x, const struct branch *from)
{
	if (x->n == x->room) {
		size_t room = x->room ? 2 * x->room : 256;
		struct branch *more = realloc(x->at, room * sizeof(*more));

		if (!more)
			return NULL;
		x->at = more;
		x->room = room;
	}
	x->at[x->n] = *from;
	return &x->at[x->n++];
}

/* From the list `from` to one that is longer by a switch. False: there was no room. */
static bool push_longer(struct search *x, const struct branch *from, const struct check_node *k,
			uint8_t to)
{
	struct branch *next = from->n < DEPTH ? push(x, from) : NULL;

	if (!next)
		return false;
	next->switches[next->n++] = (struct check_switch){ k->at, k->decider, to, NULL };
	next->preemptions = (uint8_t)(next->preemptions + !k->free);
	next->sleepers = next->preempted = 0;
	next->run = 0;
	if (x->e->all)
		return true;
	next->sleepers = k->asleep;
	memcpy(next->slept, x->r->slept, sizeof(next->slept));
	if (k->free)
		return true;
	next->sleepers |= (uint8_t)(1u << k->decider);
	next->slept[k->decider] = k->step;
	next->preempted = k->decider;
	next->run = x->e->nr_threads == 2 ? x->runs : 0;
	return true;
}

/* The longer lists, of one switch each more. False: there was no room for one. */
static bool grow(struct search *x, const struct branch *from)
{
	struct check_record *r = x->r;
	uint32_t i = 1;

	for (unsigned given = from->n; i < r->n && given; i++)
		given -= r->nodes[i].thread != r->nodes[i].usual;
	for (; i < r->n; i++) {
		const struct check_node *k = &r->nodes[i];
		unsigned others = k->enabled & ~(1u << k->usual) & ~(unsigned)k->asleep;

		x->runs += k->free;
		if (!k->free && !x->e->all && !check_step_shared(r, &k->step))
			continue;
		if (!k->free && from->preemptions == x->e->bound) {
			x->bounded = x->bounded || others;
			continue;
		}
		for (uint8_t to = 0; to < CHECK_THREADS; to++) {
			if (others & 1u << to && !push_longer(x, from, k, to))
				return false;
		}
	}
	x->runs++;
	return true;
}

/* ---- what the other did ------------------------------------------------------------------------------------------------- */

/*
 * Of two threads. In the branch taken last the preempted thread stopped some steps later. If none of what the other did before
 * it came back depends on the step in between, then the other would do the same now, and the preempted one sleep throughout.
 */
static bool is_like_last(const struct search *x, const struct branch *b)
{
	const struct last *l = &x->last[b->n];

	return b->run && l->run == b->run &&
	       !check_steps_depend(&l->others, &b->slept[b->preempted]);
}

static void keep_last(struct search *x, const struct branch *b)
{
	struct last *l = &x->last[b->n];
	uint32_t i = x->r->n;

	l->run = b->run;
	if (!b->run)
		return;
	while (i > 0 && (x->r->nodes[i - 1].decider != b->preempted ||
			 x->r->nodes[i - 1].at != b->switches[b->n - 1].at))
		i--;
	check_steps_begin(&l->others);
	for (i -= i > 0; i < x->r->n && x->r->nodes[i].thread != b->preempted; i++)
		check_steps_add(&l->others, &x->r->nodes[i].step);
}

/* ---- all of them ---------------------------------------------------------------------------------------------------------- */

static bool run_branch(struct search *x, const struct branch *b)
{
	static struct check_schedule s;
	bool more;

	s = (struct check_schedule){ .strategy = CHECK_REPLAY,
				     .first = b->first,
				     .late = b->late,
				     .nr_switches = b->n };
	memcpy(s.switches, b->switches, b->n * sizeof(b->switches[0]));
	x->r->sleepers = b->sleepers;
	memcpy(x->r->slept, b->slept, sizeof(b->slept));
	more = x->e->run(x->e->context, &s);
	x->e->executions++;
	x->e->of_last_pass++;
	x->e->pruned += check_pruned(x->c);
	keep_last(x, b);
	return more;
}

/* False: enough. */
static bool pass(struct search *x)
{
	struct check_explorer *e = x->e;
	bool more = true;

	e->of_last_pass = e->pruned = 0;
	x->r->grew = x->bounded = false;
	x->n = 0;
	for (unsigned first = 0; first < e->nr_threads; first++) {
		if (x->r->defers)
			push(x, &(struct branch){ .first = (uint8_t)first, .late = true });
		push(x, &(struct branch){ .first = (uint8_t)first });
	}
	while (more && x->n) {
		const struct branch now = x->at[--x->n];

		if (is_like_last(x, &now))
			continue;
		if (e->most && e->executions >= e->most) {
			e->cut = true;
			return false;
		}
		more = run_branch(x, &now);
		if (more && !grow(x, &now))
			e->cut = true;
	}
	return more;
}

bool check_explore(struct check *c, struct check_explorer *e)
{
	static struct search x;
	unsigned most = e->bound;
	bool more = true;

	x = (struct search){ .c = c, .r = check_record_new(), .e = e, .runs = 1 };
	e->executions = e->of_last_pass = e->pruned = 0;
	e->cut = false;
	if (!x.r)
		return false;
	c->record = x.r;
	for (e->bound = 0; more && e->bound <= most && (x.bounded || !e->bound); e->bound++)
		more = pass(&x);
	for (e->bound = most; more && x.r->grew;)
		more = pass(&x);
	e->cut = e->cut || x.r->full;
	free(x.at);
	check_record_free(x.r);
	c->record = NULL;
	return more && !e->cut;
}
