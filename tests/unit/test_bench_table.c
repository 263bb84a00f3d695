/* SPDX-License-Identifier: MIT */
/* The table of `anonvm bench` from samples that are made up: medians, who is slower, which bar is met. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define AVM_BUILD "release"
#include "../../bench/bench_print.c"
#include "../../bench/bench_rows.c"

static const struct bench_work work = { "made-up", "nothing", NULL, 0 };

struct table {
	struct bench bench;
	struct bench_row *row;
	char *text;
	size_t len;
};

static int table_open(void **state)
{
	struct table *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->bench.work = &work;
	t->bench.rows_end = &t->bench.rows;
	t->bench.bars_end = &t->bench.bars;
	t->bench.skipped_end = &t->bench.skipped;
	t->row = bench_row(&t->bench, BENCH_NS, "a row");
	*state = t;
	return 0;
}

static int table_close(void **state)
{
	struct table *t = *state;

	bench_free(&t->bench);
	free(t->text);
	free(t);
	return 0;
}

static void add_all(struct bench_series *s, const double *samples, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		bench_add(s, samples[i]);
}

/* What is printed, rows and end. */
static const char *print(struct table *t)
{
	FILE *f = open_memstream(&t->text, &t->len);

	assert_non_null(f);
	bench_print_rows(&t->bench, &work, f);
	bench_print_end(&t->bench, f);
	fclose(f);
	return t->text;
}

static void median_smallest_and_largest_are_shown(void **state)
{
	struct table *t = *state;

	add_all(&t->row->ours, (double[]){ 50, 10, 30, NAN, 40, 20 }, 6);
	assert_int_equal(t->row->ours.n, 5);
	assert_non_null(strstr(print(t), "a row"));
	assert_non_null(strstr(t->text, "30 ns (10..50)"));
	bench_add(&t->row->ours, 60);
	assert_float_equal(bench_median(&t->row->ours), 35, 1e-9);
}

static void a_row_that_is_slower_is_printed_as_such(void **state)
{
	struct table *t = *state;

	bench_add(&t->row->ours, 200);
	bench_add(bench_against(t->row, "rival"), 100);
	assert_non_null(strstr(print(t), "0.50       rival  ** SLOWER **"));
}

static void bytes_are_larger_and_objects_more(void **state)
{
	struct table *t = *state;

	t->row->unit = BENCH_BYTES;
	bench_add(&t->row->ours, 200);
	bench_add(bench_against(t->row, "rival"), 100);
	assert_non_null(strstr(print(t), "0.50       rival  ** LARGER **"));
	free(t->text);
	t->row->unit = BENCH_COUNT;
	assert_non_null(strstr(print(t), "0.50       rival  ** MORE **"));
}

static void a_row_that_is_faster_or_above_a_limit_is_not(void **state)
{
	struct table *t = *state;

	bench_add(&t->row->ours, 200);
	bench_add(bench_against(t->row, "rival"), 500);
	bench_add(bench_limit(t->row, "physics"), 100);
	assert_non_null(strstr(print(t), "2.50       rival\n"));
	assert_non_null(strstr(t->text, "0.50       physics\n"));
}

static void of_rates_the_larger_is_better(void **state)
{
	struct table *t = *state;

	t->row->unit = BENCH_RATE;
	bench_add(&t->row->ours, 2e6);
	bench_add(bench_against(t->row, "rival"), 1e6);
	assert_non_null(strstr(print(t), "2000k/s"));
	assert_non_null(strstr(t->text, "2.00       rival\n"));
}

static void what_has_no_samples_has_no_ratio(void **state)
{
	struct table *t = *state;

	bench_add(&t->row->ours, 200);
	bench_against(t->row, "rival");
	bench_skip(&t->bench, "the %s", "rival");
	assert_null(strstr(print(t), "nan"));
	assert_null(strstr(t->text, "SLOWER"));
	assert_non_null(strstr(t->text, "left out\n  the rival\n"));
}

static void a_bar_is_met_up_to_its_limit(void **state)
{
	struct table *t = *state;

	bench_bar(&t->bench, AT_LEAST, 10, 10, "x", "first");
	bench_bar(&t->bench, AT_LEAST, 9.9, 10, "x", "second");
	bench_bar(&t->bench, AT_MOST, 10, 10, "x", "third");
	bench_bar(&t->bench, AT_MOST, 10.1, 10, "x", "fourth");
	bench_bar(&t->bench, AT_MOST, NAN, 10, "x", "fifth");
	assert_non_null(strstr(print(t), "  met           first"));
	assert_non_null(strstr(t->text, "  NOT met       second"));
	assert_non_null(strstr(t->text, "  met           third"));
	assert_non_null(strstr(t->text, "  NOT met       fourth"));
	assert_non_null(strstr(t->text, "  NOT MEASURED  fifth"));
	assert_false(bench_bar_met(t->bench.bars->next->next->next->next));
}

static void rounds_are_as_many_as_asked_for(void **state)
{
	struct table *t = *state;

	t->bench.repeat = 5;
	for (int again = 0; again < 2; again++) {
		unsigned rounds = 0;

		while (bench_round(&t->bench))
			rounds++;
		assert_int_equal(rounds, 5);
	}
}

#define TABLE_TEST(name) cmocka_unit_test_setup_teardown(name, table_open, table_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TABLE_TEST(median_smallest_and_largest_are_shown),
		TABLE_TEST(a_row_that_is_slower_is_printed_as_such),
		TABLE_TEST(bytes_are_larger_and_objects_more),
		TABLE_TEST(a_row_that_is_faster_or_above_a_limit_is_not),
		TABLE_TEST(of_rates_the_larger_is_better),
		TABLE_TEST(what_has_no_samples_has_no_ratio),
		TABLE_TEST(a_bar_is_met_up_to_its_limit),
		TABLE_TEST(rounds_are_as_many_as_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
