/* SPDX-License-Identifier: MIT */
/*
 * shrink.c - a failing program made smaller: first operations are left out (ddmin), then their arguments made simpler,
 * as long as it fails by the same check.
 */
#include <stdlib.h>
#include <string.h>

#include "program.h"

void program_free(struct program *pr)
{
	free(pr->ops);
	pr->ops = NULL;
	pr->n = pr->room = 0;
}

struct shrinker {
	struct program *pr;
	enum check check;
	unsigned runs;
};

/* Does the program still fail so? What comes after the failure is cut off. */
static bool still_fails(struct shrinker *s)
{
	size_t at;

	s->runs++;
	if (program_run(s->pr, &at, NULL) != s->check)
		return false;
	if (s->check == CHECK_LEAK)
		return true;
	/* What ran in the middle of it belongs to it. */
	do {
		at++;
	} while (at < s->pr->n && s->pr->ops[at].inside);
	s->pr->n = at < s->pr->n ? at : s->pr->n;
	return true;
}

/* Tries without ops [i, i + n). */
static bool leave_out(struct shrinker *s, size_t i, size_t n)
{
	struct program *pr = s->pr;
	size_t size = n * sizeof(*pr->ops), total = pr->n;
	struct op *gone = malloc(size);

	if (!gone)
		exit(2);
	memcpy(gone, &pr->ops[i], size);
	memmove(&pr->ops[i], &pr->ops[i + n], (total - i - n) * sizeof(*pr->ops));
	pr->n = total - n;
	if (still_fails(s)) {
		free(gone);
		return true;
	}
	memmove(&pr->ops[i + n], &pr->ops[i], (total - i - n) * sizeof(*pr->ops));
	memcpy(&pr->ops[i], gone, size);
	pr->n = total;
	free(gone);
	return false;
}

/* From the end: what is last depends on what is first. */
static bool leave_out_chunks(struct shrinker *s, size_t chunk)
{
	bool any = false;

	for (size_t end = s->pr->n; end;) {
		size_t n = chunk < end ? chunk : end;

		if (end > s->pr->n)
			end = s->pr->n;
		if (n > end)
			n = end;
		if (!n)
			break;
		if (n < s->pr->n)
			any |= leave_out(s, end - n, n);
		end -= n;
	}
	return any;
}

static bool try_op(struct shrinker *s, size_t i, const struct op *simpler)
{
	struct op was = s->pr->ops[i];
	size_t n = s->pr->n;

	if (!memcmp(&was, simpler, sizeof(was)))
		return false;
	s->pr->ops[i] = *simpler;
	if (still_fails(s) && i < s->pr->n)
		return true;
	s->pr->ops[i] = was;
	s->pr->n = n;
	return false;
}

static void simplify_flag(struct shrinker *s, size_t i, uint32_t flag)
{
	struct op op = s->pr->ops[i];

	op.flags &= ~flag;
	try_op(s, i, &op);
}

static void simplify(struct shrinker *s, size_t i)
{
	struct op op = s->pr->ops[i];

	op.fail_first = op.fail_count = 0;
	try_op(s, i, &op);
	op = s->pr->ops[i];
	op.mode = 0;
	try_op(s, i, &op);
	op = s->pr->ops[i];
	op.file = op.kind == OP_MMAP && !(op.flags & AVM_MAP_ANONYMOUS) ? 1 : op.file;
	try_op(s, i, &op);
	if (op.kind == OP_MMAP) {
		op = s->pr->ops[i];
		op.file = 0;
		op.to = 0;
		op.flags |= AVM_MAP_ANONYMOUS;
		try_op(s, i, &op);
		simplify_flag(s, i, AVM_MAP_POPULATE);
		simplify_flag(s, i, AVM_MAP_LOCKED);
		simplify_flag(s, i, AVM_MAP_NORESERVE);
		simplify_flag(s, i, AVM_MAP_GROWSDOWN);
		op = s->pr->ops[i];
		op.prot = AVM_PROT_READ | AVM_PROT_WRITE;
		try_op(s, i, &op);
	}
	/* Shorter, by halves. */
	for (op = s->pr->ops[i]; op.len > PAGE && op.len % PAGE == 0;) {
		op.len = op.len / 2 / PAGE * PAGE;
		if (!try_op(s, i, &op))
			break;
	}
	op = s->pr->ops[i];
	op.len = op.len > PAGE && op.len % PAGE == 0 ? op.len - PAGE : op.len;
	while (try_op(s, i, &op) && op.len > PAGE)
		op.len -= PAGE;
}

static void simplify_world(struct shrinker *s)
{
	struct program was = *s->pr;

	for (int what = 0; what < 6; what++) {
		const struct avm_limits none = { AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT,
						 AVM_NO_LIMIT };

		was = *s->pr;
		switch (what) {
		case 0:
			s->pr->limits = none;
			break;
		case 1:
			s->pr->core.commit = AVM_COMMIT_OFF;
			s->pr->core.commit_reserve = 0;
			break;
		case 2:
			s->pr->core.max_map_count = 0;
			break;
		case 3:
			s->pr->core.family = AVM_FAMILY_REUSE;
			break;
		case 4:
			s->pr->core.fault_around = 1;
			break;
		default:
			s->pr->contents = SIM_STAMPS;
			break;
		}
		if (!still_fails(s))
			*s->pr = was;
	}
}

void program_shrink(struct program *pr, enum check check, FILE *progress)
{
	struct shrinker s = { pr, check, 0 };
	size_t before = pr->n;

	pr->thorough = true;
	if (!still_fails(&s))
		pr->thorough = false;
	if (!pr->thorough && !still_fails(&s)) {
		fprintf(progress, "it does not fail the same way again\n");
		return;
	}
	for (size_t chunk = pr->n / 2; chunk; chunk /= 2) {
		leave_out_chunks(&s, chunk);
		fprintf(progress, "shrinking: %zu operations, %u runs\n", pr->n, s.runs);
	}
	while (leave_out_chunks(&s, 1))
		;
	simplify_world(&s);
	for (size_t i = 0; i < pr->n; i++)
		simplify(&s, i);
	while (leave_out_chunks(&s, 1))
		;
	fprintf(progress, "%zu operations shrunk to %zu in %u runs\n", before, pr->n, s.runs);
}
