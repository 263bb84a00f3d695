/* SPDX-License-Identifier: MIT */
/*
 * diff_shrink.c - makes a program smaller while both sides differ in the same way.
 */
#include <stdlib.h>
#include <string.h>

#include "diff.h"

/* A run of n operations from `from` left out. */
static bool fails_without(struct diff_lab *lab, const struct diff_program *pr, size_t from,
			  size_t n, enum diff_mismatch kind, struct diff_finding *f)
{
	struct diff_program less = *pr;
	bool fails;

	less.ops = calloc(pr->n + 1, sizeof(*less.ops));
	if (!less.ops)
		return false;
	less.n = pr->n - n;
	less.room = pr->n + 1;
	memcpy(less.ops, pr->ops, from * sizeof(*pr->ops));
	memcpy(less.ops + from, pr->ops + from + n, (pr->n - from - n) * sizeof(*pr->ops));
	fails = !diff_run(lab, &less, 0, f) && f->kind == kind;
	free(less.ops);
	return fails;
}

static void leave_out(struct diff_program *pr, size_t from, size_t n)
{
	memmove(pr->ops + from, pr->ops + from + n, (pr->n - from - n) * sizeof(*pr->ops));
	pr->n -= n;
}

/* One round with pieces of this size, from the end. => true when something could go */
static bool shrink_by(struct diff_lab *lab, struct diff_program *pr, size_t size,
		      struct diff_finding *f)
{
	bool less = false;
	struct diff_finding now;

	for (size_t end = pr->n; end > 0; end = end > size ? end - size : 0) {
		size_t from = end > size ? end - size : 0;

		if (fails_without(lab, pr, from, end - from, f->kind, &now)) {
			leave_out(pr, from, end - from);
			*f = now;
			less = true;
		}
	}
	return less;
}

/* What comes after the first difference does not matter. */
static void cut(struct diff_lab *lab, struct diff_program *pr, struct diff_finding *f)
{
	struct diff_finding now;

	if (f->at + 1 < pr->n &&
	    fails_without(lab, pr, f->at + 1, pr->n - f->at - 1, f->kind, &now)) {
		pr->n = f->at + 1;
		*f = now;
	}
}

void diff_shrink(struct diff_lab *lab, struct diff_program *pr, struct diff_finding *f,
		 FILE *progress)
{
	cut(lab, pr, f);
	for (size_t size = pr->n / 2; size; size /= 2) {
		if (progress)
			fprintf(progress, "\rshrinking: %zu operations  ", pr->n);
		while (shrink_by(lab, pr, size, f) && size == 1)
			;
	}
	if (progress)
		fprintf(progress, "\r%40s\r", "");
}
