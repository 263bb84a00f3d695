/* SPDX-License-Identifier: MIT */
/*
 * shrink.c - a finding with fewer operations, fewer threads and fewer switches, as long as it is the same one.
 */
#include <ctype.h>
#include <string.h>

#include "program.h"

#define TRIES 60u /* schedules for a smaller program */

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
		};
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

static bool shrink_threads(struct finding *f, struct program *pr)
{
	bool less = false;

	for (unsigned t = pr->nr_threads; t-- > 0 && pr->nr_threads > 1;) {
		const struct program before = *pr;

		drop_thread(pr, t);
		if (still_fails(f, pr))
			less = true;
		else
			*pr = before;
	}
	return less;
}

/* ---- switches ------------------------------------------------------------------------------------------------------------ */

static void shrink_switches(struct finding *f)
{
	struct finding again;

	for (uint32_t i = f->schedule.nr_switches; i-- > 0;) {
		struct check_schedule s = f->schedule;

		s.strategy = CHECK_REPLAY;
		memmove(&s.switches[i], &s.switches[i + 1],
			(s.nr_switches - i - 1) * sizeof(s.switches[0]));
		s.nr_switches--;
		run_apart(&f->program, &s, &again);
		if (again.result.finding[0] &&
		    same_finding(again.result.finding, f->result.finding))
			*f = again;
		if (i > f->schedule.nr_switches)
			i = f->schedule.nr_switches;
	}
}

void finding_shrink(struct finding *f, FILE *progress)
{
	struct program pr = f->program;
	bool less = true;

	/* Not even the same again: then there is nothing to be made smaller. */
	if (f->schedule.overflow || !still_fails(f, &pr))
		return;
	for (unsigned round = 0; less && round < 6; round++) {
		less = shrink_threads(f, &pr);
		for (unsigned t = 0; t < pr.nr_threads; t++)
			less = shrink_ops(f, pr.ops[t], &pr.nr_ops[t], &pr) || less;
		less = shrink_ops(f, pr.setup, &pr.nr_setup, &pr) || less;
		if (progress)
			fprintf(progress, "\rshrinking: %u operations, %u switches  ",
				program_size(&f->program), f->schedule.nr_switches);
	}
	shrink_switches(f);
	f->schedule.strategy = CHECK_REPLAY;
	if (progress)
		fprintf(progress, "\r%50s\r", "");
}
