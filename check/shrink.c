/* SPDX-License-Identifier: MIT */
/*
 * shrink.c - a finding with fewer operations, fewer threads and fewer switches, as long as it is the same one.
 */
#include <ctype.h>
#include <string.h>

#include "program.h"

#define TRIES 150u /* schedules for a smaller program */
#define MANY_TRIES 3000u /* ... for fewer switches */
#define ROUNDS 3u /* of so many tries, if something else is found */
#define MOST_FAILURES 24u /* things of a thread, of which each fails */
#define FEW 2u /* preemptions: so many are tried in all places */

/* Numbers and addresses differ from one execution to the next; and what follows a semicolon tells where, not what. */
bool same_finding(const char *a, const char *b)
{
	for (;;) {
		while (isxdigit((unsigned char)*a))
			a++;
		while (isxdigit((unsigned char)*b))
			b++;
		if (*a != *b)
			return false;
		if (!*a || *a == ';')
			return true;
		a++;
		b++;
	}
}

static bool is_same(struct finding *f, const struct finding *again)
{
	if (!again->result.finding[0] || !same_finding(again->result.finding, f->result.finding))
		return false;
	*f = *again;
	return true;
}

/* The caches of a CPU are not those of another, nor what they were: the same thing is another one to fail. */
static bool fails_with_another(struct finding *f, const struct program *pr)
{
	struct check_schedule s = f->schedule;
	struct finding again;

	s.strategy = CHECK_REPLAY;
	for (uint32_t at = 1; s.nr_failures == 1 && at <= MOST_FAILURES; at++) {
		s.failures[0].at = at;
		run_apart(pr, &s, &again);
		if (is_same(f, &again))
			return true;
	}
	return false;
}

/* With the switches that are there; then with others. */
static bool still_fails(struct finding *f, const struct program *pr)
{
	struct check_schedule s = f->schedule;
	struct finding again;

	s.strategy = CHECK_REPLAY;
	run_apart(pr, &s, &again);
	if (is_same(f, &again))
		return true;
	if (pr->nr_threads > 1) {
		s.length = again.result.points;
		for (unsigned i = 0; i < ROUNDS; i++, s.seed += TRIES) {
			if (!try_apart(pr, &s, TRIES, &again))
				break;
			if (is_same(f, &again))
				return true;
		}
	}
	return fails_with_another(f, pr);
}

/* ---- operations ------------------------------------------------------------------------------------------------------- */

static void leave_out(struct op *ops, uint8_t *n, unsigned i)
{
	memmove(&ops[i], &ops[i + 1], (*n - i - 1u) * sizeof(*ops));
	--*n;
}

static bool shrink_ops(struct finding *f, struct op *ops, uint8_t *n, struct program *pr)
{
	bool less = false;

	for (unsigned i = *n; i-- > 0;) {
		const struct program before = *pr;

		leave_out(ops, n, i);
		if (still_fails(f, pr))
			less = true;
		else
			*pr = before;
	}
	return less;
}

/* Who does it, and who comes to be by it, if anybody; NULL: the machine does. */
static void who_is_in(struct op *op, uint8_t *who[2])
{
	who[0] = op->kind < OP_SHRINK ? &op->p : NULL;
	who[1] = op->kind == OP_FORK || op->kind == OP_PROCESS ? &op->arg : NULL;
}

/* Who is called `from` is `to`. => is there anybody? */
static bool rename_in(struct op *ops, unsigned n, uint8_t from, uint8_t to)
{
	bool any = false;

	for (unsigned i = 0; i < 2 * n; i++) {
		uint8_t *who[2];

		who_is_in(&ops[i / 2], who);
		if (!who[i % 2] || *who[i % 2] != from)
			continue;
		*who[i % 2] = to;
		any = true;
	}
	return any;
}

/* In the i-th operation of the set-up, and later. => is there anybody? */
static bool rename_behind(struct program *pr, unsigned i, uint8_t from, uint8_t to)
{
	bool any = rename_in(pr->setup + i, pr->nr_setup - i, from, to);

	for (unsigned t = 0; t < pr->nr_threads; t++)
		any |= rename_in(pr->ops[t], pr->nr_ops[t], from, to);
	return any;
}

/* PROCS: there is none. */
static uint8_t unused_name(struct program pr)
{
	uint8_t p = 1;

	while (p < PROCS && rename_behind(&pr, 0, p, p))
		p++;
	return p;
}

/*
 * What cannot just be left out: a fork, whose parent does what the child did; and an exit that only makes room for another of that
 * name, who gets a name of its own.
 */
static bool shrink_names(struct finding *f, struct program *pr)
{
	bool less = false;

	for (unsigned i = pr->nr_setup; i-- > 0;) {
		const struct program before = *pr;
		const struct op op = pr->setup[i];
		uint8_t name = unused_name(*pr);

		if (op.kind == OP_FORK)
			rename_behind(pr, i, op.arg, op.p);
		else if (op.kind == OP_EXIT && name < PROCS)
			rename_behind(pr, i, op.p, name);
		else
			continue;
		leave_out(pr->setup, &pr->nr_setup, i);
		if (still_fails(f, pr))
			less = true;
		else
			*pr = before;
	}
	return less;
}

/* A thread without operations; the others move up. */
static void drop_thread(struct program *pr, unsigned t)
{
	for (; t + 1 < pr->nr_threads; t++) {
		memcpy(pr->ops[t], pr->ops[t + 1], sizeof(pr->ops[t]));
		pr->nr_ops[t] = pr->nr_ops[t + 1];
	}
	pr->nr_threads--;
}

static uint8_t above(uint8_t thread, unsigned t)
{
	return thread > t ? (uint8_t)(thread - 1) : thread;
}

/* What is said of the threads behind it is said of those that they become. */
static void renumber(struct check_schedule *s, unsigned t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->nr_failures; i++) {
		s->failures[n] = s->failures[i];
		s->failures[n].thread = above(s->failures[n].thread, t);
		n += s->failures[i].thread != t;
	}
	s->nr_failures = n;
	n = 0;
	for (uint32_t i = 0; i < s->nr_switches; i++) {
		const struct check_switch *from = &s->switches[i];

		if (from->thread == t || from->to == t)
			continue;
		s->switches[n] = *from;
		s->switches[n].thread = above(from->thread, t);
		s->switches[n++].to = above(from->to, t);
	}
	s->nr_switches = n;
	s->first = above(s->first, t);
}

static bool shrink_threads(struct finding *f, struct program *pr)
{
	bool less = false;

	for (unsigned t = pr->nr_threads; t-- > 0 && pr->nr_threads > 1;) {
		const struct program before = *pr;
		const struct check_schedule schedule = f->schedule;

		drop_thread(pr, t);
		renumber(&f->schedule, t);
		if (still_fails(f, pr)) {
			less = true;
			continue;
		}
		*pr = before;
		f->schedule = schedule;
	}
	return less;
}

/* Without swap, without something behind files. */
static bool shrink_machine(struct finding *f, struct program *pr)
{
	const struct program before = *pr;

	pr->slots = 0;
	if (pr->slots != before.slots && still_fails(f, pr))
		return true;
	*pr = before;
	pr->disk = 0;
	if (pr->disk != before.disk && still_fails(f, pr))
		return true;
	*pr = before;
	return false;
}

/* ---- failures ------------------------------------------------------------------------------------------------------------ */

static bool is_same_with(struct finding *f, struct check_schedule *s)
{
	struct finding again;

	s->strategy = CHECK_REPLAY;
	run_apart(&f->program, s, &again);
	return is_same(f, &again);
}

/* Without it; or else once, and not from there on. */
static bool shrink_failures(struct finding *f)
{
	bool less = false;

	for (uint32_t i = f->schedule.nr_failures; i-- > 0;) {
		struct check_schedule s = f->schedule;

		s.failures[i] = s.failures[--s.nr_failures];
		if (is_same_with(f, &s)) {
			less = true;
			continue;
		}
		s = f->schedule;
		s.failures[i].on = false;
		if (f->schedule.failures[i].on && is_same_with(f, &s))
			less = true;
	}
	return less;
}

/* ---- switches ------------------------------------------------------------------------------------------------------------ */

unsigned count_preemptions(const struct check_schedule *s)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < s->nr_switches; i++)
		n += s->switches[i].site != NULL;
	return n;
}

/* Half of them, a quarter, ... one. */
static void shrink_switches(struct finding *f)
{
	for (uint32_t piece = (f->schedule.nr_switches + 1) / 2; piece; piece /= 2) {
		for (uint32_t i = f->schedule.nr_switches; i >= piece; i -= piece) {
			struct check_schedule s = f->schedule;

			memmove(&s.switches[i - piece], &s.switches[i],
				(s.nr_switches - i) * sizeof(s.switches[0]));
			s.nr_switches -= piece;
			is_same_with(f, &s);
		}
	}
}

/* Where there are too many to go through them all: many, with few switches. */
static bool try_fewer(struct finding *f, unsigned preemptions)
{
	struct check_schedule s = f->schedule;
	struct finding again;

	s.length = f->result.points;
	for (unsigned i = 0; i < ROUNDS * ROUNDS; i++, s.seed += MANY_TRIES) {
		if (!try_apart(&f->program, &s, MANY_TRIES, &again))
			return false;
		if (count_preemptions(&again.schedule) < preemptions && is_same(f, &again))
			return true;
	}
	return false;
}

/* What can be left out was; now with the fewest preemptions there are, as everything with fewer is gone through. */
static bool find_fewer(struct finding *f)
{
	unsigned preemptions = count_preemptions(&f->schedule);
	struct finding first;

	if (!preemptions)
		return false;
	if (search_apart(f, preemptions <= FEW ? preemptions - 1 : FEW, &first)) {
		*f = first;
		return true;
	}
	return preemptions > FEW && try_fewer(f, preemptions);
}

/* False: nothing. */
static bool shrink_program(struct finding *f, struct program *pr)
{
	bool less = shrink_failures(f);

	less = shrink_threads(f, pr) || less;
	for (unsigned t = 0; t < pr->nr_threads; t++)
		less = shrink_ops(f, pr->ops[t], &pr->nr_ops[t], pr) || less;
	less = shrink_ops(f, pr->setup, &pr->nr_setup, pr) || less;
	less = shrink_names(f, pr) || less;
	return shrink_machine(f, pr) || less;
}

void finding_shrink(struct finding *f, FILE *progress)
{
	struct program pr = f->program;
	struct finding first;
	bool less = true;

	/* More switches than were kept: perhaps few will do. */
	if (f->schedule.overflow && search_apart(f, FEW, &first))
		*f = first;
	/* Not even the same again: then there is nothing to be made smaller. */
	if (f->schedule.overflow || !still_fails(f, &pr))
		return;
	for (unsigned round = 0; less && round < 6; round++) {
		less = shrink_program(f, &pr);
		if (!less) {
			shrink_switches(f);
			less = find_fewer(f);
		}
		if (progress)
			fprintf(progress, "\rshrinking: %u operations, %u switches  ",
				program_size(&f->program), f->schedule.nr_switches);
	}
	f->schedule.strategy = CHECK_REPLAY;
	if (progress)
		fprintf(progress, "\r%50s\r", "");
}
