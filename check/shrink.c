/* SPDX-License-Identifier: MIT */
/*
 * shrink.c - a finding with fewer operations, fewer threads and fewer switches, as long as it is the same one.
 */
#include <ctype.h>
#include <string.h>

#include "program.h"

#define TRIES 60u /* schedules for a smaller program */
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

/* With the switches that are there; then with others. */
static bool still_fails(struct finding *f, const struct program *pr)
{
	struct check_schedule s = f->schedule;
	struct finding again;

	s.strategy = CHECK_REPLAY;
	for (unsigned i = 0; i < TRIES; i++) {
		run_apart(pr, &s, &again);
		if (again.result.finding[0] &&
		    same_finding(again.result.finding, f->result.finding)) {
			*f = again;
			return true;
		}
		if (i == 0 && pr->nr_threads < 2)
			return false;
		s = (struct check_schedule){
			.seed = f->schedule.seed + i,
			.strategy = i % 3 ? CHECK_STICKY : CHECK_PCT,
			.rate = 1 + i % 4,
			.length = again.result.points,
			.first = (uint8_t)(i % pr->nr_threads),
			.late = f->schedule.late,
			.no_races = f->schedule.no_races,
			.nr_failures = f->schedule.nr_failures,
		};
		memcpy(s.failures, f->schedule.failures, sizeof(s.failures));
	}
	return false;
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
	if (!again.result.finding[0] || !same_finding(again.result.finding, f->result.finding))
		return false;
	*f = again;
	return true;
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

/* What can be left out was; now with the fewest preemptions there are, as everything with fewer is gone through. */
static bool find_fewer(struct finding *f)
{
	unsigned preemptions = count_preemptions(&f->schedule);
	struct finding first;

	if (!preemptions || !search_apart(f, preemptions <= FEW ? preemptions - 1 : FEW, &first))
		return false;
	*f = first;
	return true;
}

/* False: nothing. */
static bool shrink_program(struct finding *f, struct program *pr)
{
	bool less = shrink_failures(f);

	less = shrink_threads(f, pr) || less;
	for (unsigned t = 0; t < pr->nr_threads; t++)
		less = shrink_ops(f, pr->ops[t], &pr->nr_ops[t], pr) || less;
	less = shrink_ops(f, pr->setup, &pr->nr_setup, pr) || less;
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
