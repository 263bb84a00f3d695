/* SPDX-License-Identifier: MIT */
/*
 * test_programs.c - what the programs of the checker are like: a thousand are made, and their shapes counted, without running any.
 * A shape that few programs have is one whose bugs are found late, or never.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../check/program.c"
#include "../../check/text.c"

#define MANY 1000u

/* ---- what a set-up leaves -------------------------------------------------------------------------------------- */

/* A process, by what the operations say: as if none of them failed. */
struct who {
	bool lives, has; /* ... something at the focus */
	int parent; /* -1: nobody's child */
	unsigned generation;
};

/* Whoever has been, in order; `now` has those who are there, by letter. */
struct people {
	struct who all[1 + MAX_SETUP];
	unsigned n;
	int now[PROCS];
};

static void apply(struct people *w, const struct op *op, const struct op *focus)
{
	int i = w->now[op->p];

	if (i < 0)
		return;
	switch ((enum op_kind)op->kind) {
	case OP_FORK:
		if (w->now[op->arg] >= 0)
			return;
		w->now[op->arg] = (int)w->n;
		w->all[w->n++] = (struct who){ true, w->all[i].has, i, w->all[i].generation + 1 };
		break;
	case OP_EXIT:
		w->all[i].lives = w->all[i].has = false;
		w->now[op->p] = -1;
		break;
	case OP_MUNMAP:
	case OP_MREMAP:
	case OP_MMAP:
		if (op->page <= focus->page && op->page + op->len >= focus->page + focus->len)
			w->all[i].has = false;
		break;
	default:
		break;
	}
}

/* The first operation maps the focus, and A is there. */
static struct people after_setup(const struct program *pr)
{
	struct people w = { .all = { { true, true, -1, 0 } }, .n = 1, .now = { 0, -1, -1, -1 } };

	for (unsigned i = 1; i < pr->nr_setup; i++)
		apply(&w, &pr->setup[i], &pr->setup[0]);
	return w;
}

static struct program make(uint64_t seed)
{
	const struct settings s = { 0 };
	struct program pr;

	program_make(&pr, seed, &s);
	return pr;
}

/* Of the programs of the first seeds. */
static unsigned count_programs(bool (*is)(const struct program *pr))
{
	unsigned n = 0;

	for (uint64_t seed = 1; seed <= MANY; seed++) {
		const struct program pr = make(seed);

		n += is(&pr);
	}
	return n;
}

/* ---- generations --------------------------------------------------------------------------------------------------- */

static bool has_grandchild(const struct program *pr)
{
	const struct people w = after_setup(pr);

	for (unsigned i = 0; i < w.n; i++) {
		if (w.all[i].lives && w.all[i].generation >= 2)
			return true;
	}
	return false;
}

/* Somebody in between has lost what it had, and its elders and its children have not. */
static bool has_idle_elder(const struct program *pr)
{
	const struct people w = after_setup(pr);

	for (unsigned i = 0; i < w.n; i++) {
		int parent = w.all[i].parent;

		if (w.all[i].has && parent >= 0 && !w.all[parent].has)
			return true;
	}
	return false;
}

static void of_three_generations_there_are_many(void **state)
{
	(void)state;
	assert_in_range(count_programs(has_grandchild), MANY / 4, MANY * 3 / 4);
}

static void elders_that_have_lost_what_they_had_are_common(void **state)
{
	(void)state;
	assert_in_range(count_programs(has_idle_elder), MANY / 5, MANY / 2);
}

/* ---- patches ------------------------------------------------------------------------------------------------------- */

/* The most parts, of different access, that A's pages at the focus ever were, and what is left of these. */
struct parts {
	unsigned most, last;
};

static unsigned count_parts(const uint8_t *access, const struct op *focus)
{
	unsigned n = 1;

	for (unsigned i = 1; i < focus->len; i++)
		n += access[focus->page + i] != access[focus->page + i - 1u];
	return n;
}

static struct parts parts_of(const struct program *pr)
{
	uint8_t access[PAGES];
	struct parts parts = { 1, 1 };

	memset(access, ACCESS_RW, sizeof(access));
	for (unsigned i = 1; i < pr->nr_setup; i++) {
		const struct op *op = &pr->setup[i];

		if (op->p || (op->kind != OP_MPROTECT && op->kind != OP_MMAP))
			continue;
		memset(access + op->page, op->kind == OP_MMAP ? op->arg >> 1 : op->arg, op->len);
		parts.last = count_parts(access, &pr->setup[0]);
		if (parts.last > parts.most)
			parts.most = parts.last;
	}
	return parts;
}

static bool has_parts(const struct program *pr)
{
	return parts_of(pr).most > 1;
}

static bool has_become_one_again(const struct program *pr)
{
	const struct parts parts = parts_of(pr);

	return parts.most > 1 && parts.last < parts.most;
}

static void mappings_of_several_parts_are_common(void **state)
{
	(void)state;
	assert_in_range(count_programs(has_parts), MANY / 6, MANY * 3 / 4);
}

static void some_of_which_become_one_again(void **state)
{
	(void)state;
	assert_in_range(count_programs(has_become_one_again), MANY / 10, MANY / 2);
}

/* ---- all of them ---------------------------------------------------------------------------------------------------- */

static void a_seed_is_a_program(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= MANY; seed++) {
		const struct program a = make(seed), b = make(seed), c = make(seed + MANY);

		assert_memory_equal(&a, &b, sizeof(a));
		assert_memory_not_equal(&a.setup, &c.setup,
					sizeof(a) - offsetof(struct program, setup));
	}
}

/* Every operation is there, and nothing is in every program that another may need off: but memory that is written. */
static void each_kind_is_in_many_programs_and_not_in_all(void **state)
{
	unsigned with[NR_OP_KINDS] = { 0 };

	(void)state;
	for (uint64_t seed = 1; seed <= MANY; seed++) {
		const struct program pr = make(seed);
		bool has[NR_OP_KINDS] = { false };

		for (unsigned i = 1; i < pr.nr_setup; i++)
			has[pr.setup[i].kind] = true;
		for (unsigned t = 0; t < pr.nr_threads; t++)
			for (unsigned i = 0; i < pr.nr_ops[t]; i++)
				has[pr.ops[t][i].kind] = true;
		for (unsigned kind = 0; kind < NR_OP_KINDS; kind++)
			with[kind] += has[kind];
	}
	for (unsigned kind = 0; kind < NR_OP_KINDS; kind++) {
		if (kind != OP_WRITE &&
		    kind != OP_PROCESS) /* which is for who writes programs by hand */
			assert_in_range(with[kind], MANY / 50, MANY * 9 / 10);
	}
}

static void every_operation_is_in_its_range(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= MANY; seed++) {
		const struct program pr = make(seed);

		assert_in_range(pr.nr_setup, 1, MAX_SETUP);
		for (unsigned i = 0; i < pr.nr_setup; i++) {
			const struct op *op = &pr.setup[i];

			assert_true(op->p < PROCS);
			if (op->kind < OP_FORK)
				assert_true(op->len && op->page + op->len <= PAGES);
		}
	}
}

/* What is written to a file is read as what it was. */
static void print(const struct op *op, char text[100])
{
	FILE *out = fmemopen(text, 100, "w");

	assert_non_null(out);
	op_print(op, out);
	fclose(out);
}

static void what_is_printed_is_read(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= MANY; seed++) {
		const struct program pr = make(seed);

		for (unsigned i = 0; i < pr.nr_setup; i++) {
			char text[100], again[100];
			struct op op;

			print(&pr.setup[i], text);
			assert_true(op_parse(text, &op));
			print(&op, again);
			assert_string_equal(text, again);
			assert_int_equal(op.kind, pr.setup[i].kind);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_three_generations_there_are_many),
		cmocka_unit_test(elders_that_have_lost_what_they_had_are_common),
		cmocka_unit_test(mappings_of_several_parts_are_common),
		cmocka_unit_test(some_of_which_become_one_again),
		cmocka_unit_test(a_seed_is_a_program),
		cmocka_unit_test(each_kind_is_in_many_programs_and_not_in_all),
		cmocka_unit_test(every_operation_is_in_its_range),
		cmocka_unit_test(what_is_printed_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
