/* SPDX-License-Identifier: MIT */
/*
 * fuzz_api.c - the public interface: bytes are the choices of a program of tests/property, whose oracle, model of
 * boundaries and verifier judge it (records.h has the encoding). Any bytes are a program.
 *
 * A program that fails is printed as a script. With AVM_FUZZ_SHRINK=1 it runs in a process of its own, so that one that
 * crashes can be printed as well, and is made smaller first.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "program.h"
#include "records.h"

struct input {
	const uint8_t *bytes;
	size_t size;
	size_t at; /* record of the operation that runs */
	size_t inside; /* ... of the one in its middle, at this chance; 0: none yet */
};

/* Padded with zeroes. */
static bool take_record(const struct input *in, size_t i, uint8_t *record)
{
	size_t n = i < RECORDS_MAX && in->size > i * RECORD ? in->size - i * RECORD : 0;

	memset(record, 0, RECORD);
	if (!n)
		return false;
	memcpy(record, in->bytes + i * RECORD, n < RECORD ? n : RECORD);
	return true;
}

static struct rng choices(const uint8_t *record, size_t i, unsigned from)
{
	return (struct rng){ .state = i, .bytes = record + from, .end = record + RECORD };
}

static bool make_next(void *context, struct world *w, struct op *op)
{
	const unsigned kinds = w->program->pressure ? NR_OP_KINDS : OP_SHRINK;
	struct input *in = context;
	uint8_t record[RECORD];
	struct rng r;

	do {
		if (!take_record(in, ++in->at, record))
			return false;
	} while (record[RECORD_WHEN] >= WHEN_INSIDE);
	r = choices(record, in->at, RECORD_CHOICES);
	generate_kind(&r, w, (enum op_kind)(record[RECORD_KIND] % kinds), op);
	if (record[RECORD_WHEN] >= WHEN_FAILS) {
		op->fail_first = 1 + (record[RECORD_WHEN] & 31);
		op->fail_count = record[RECORD_WHEN] >> 5 & 1;
	}
	return true;
}

/* Of those behind the operation that runs, the one that waits for this chance. */
static bool make_inside(void *context, struct world *w, struct op *op)
{
	struct input *in = context;
	uint8_t record[RECORD];

	for (size_t i = in->at + 1; take_record(in, i, record); i++) {
		struct rng r = choices(record, i, RECORD_CHOICES);

		if (record[RECORD_WHEN] < WHEN_INSIDE)
			break;
		if (i <= in->inside || (record[RECORD_WHEN] & 63u) + 1 != w->chances)
			continue;
		in->inside = i;
		generate_inside(&r, w, op);
		return true;
	}
	in->inside = 0;
	return false;
}

/* A smaller machine than that of the random programs, which are longer: its size is most of the time. */
static void fewer_frames(struct program *pr)
{
	uint64_t less = pr->frames / 2;

	pr->frames -= less;
	if (pr->core.commit == AVM_COMMIT_STRICT)
		pr->core.commit_reserve -= less;
}

static void draw(struct input *in, struct program *pr)
{
	uint8_t record[RECORD];
	struct rng r;

	take_record(in, 0, record);
	r = choices(record, 0, RECORD_KIND + 1);
	program_draw(pr, &r,
		     record[RECORD_KIND] & RECORD_PLENTY ? PROGRAM_PLENTY : PROGRAM_PRESSURE);
	if (!pr->pressure)
		fewer_frames(pr);
	pr->thorough = !(record[RECORD_KIND] & RECORD_QUICK);
}

static void print(struct program *pr, enum check check)
{
	printf("# %s: %s\n", check_name(check), program_outcome()->what);
	program_take_ops(pr);
	program_print(pr, program_outcome()->claim, stdout);
	program_free(pr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .bytes = data, .size = size };
	const struct maker mk = { make_next, make_inside, &in };
	bool shrink = getenv("AVM_FUZZ_SHRINK");
	struct program pr;
	enum check check;

	draw(&in, &pr);
	check = shrink ? program_run_apart(&pr, &mk, false) : program_run_here(&pr, &mk);
	if (!check)
		return 0;
	if (shrink)
		program_report(&pr, check, "the same input");
	else
		print(&pr, check);
	fflush(stdout);
	abort();
}
