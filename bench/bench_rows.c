/* SPDX-License-Identifier: MIT */
/* bench_rows.c - what has been measured: series, rows, bars. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

void bench_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("anonvm: bench: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

void *bench_must(void *p)
{
	if (!p)
		bench_die("out of memory");
	return p;
}

static char *format_text(const char *format, va_list args)
{
	char *text;

	if (vasprintf(&text, format, args) < 0)
		bench_die("out of memory");
	return text;
}

/* ---- series --------------------------------------------------------------------------------------------- */

void bench_add(struct bench_series *s, double sample)
{
	if (isnan(sample))
		return;
	if (s->n == s->room) {
		s->room = s->room ? 2 * s->room : 16;
		s->samples = bench_must(realloc(s->samples, s->room * sizeof(*s->samples)));
	}
	s->samples[s->n++] = sample;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(const struct bench_series *s)
{
	double *sorted, median;

	if (!s->n)
		return NAN;
	sorted = bench_must(calloc(s->n, sizeof(*sorted)));
	for (unsigned i = 0; i < s->n; i++)
		sorted[i] = s->samples[i];
	qsort(sorted, s->n, sizeof(*sorted), by_value);
	median = (sorted[(s->n - 1) / 2] + sorted[s->n / 2]) / 2;
	free(sorted);
	return median;
}

double bench_min(const struct bench_series *s)
{
	double min = NAN;

	for (unsigned i = 0; i < s->n; i++)
		min = fmin(min, s->samples[i]);
	return min;
}

double bench_max(const struct bench_series *s)
{
	double max = NAN;

	for (unsigned i = 0; i < s->n; i++)
		max = fmax(max, s->samples[i]);
	return max;
}

/* ---- rows ------------------------------------------------------------------------------------------------ */

struct bench_row *bench_row(struct bench *b, enum bench_unit unit, const char *format, ...)
{
	struct bench_row *row = bench_must(calloc(1, sizeof(*row)));
	va_list args;

	va_start(args, format);
	row->what = format_text(format, args);
	va_end(args);
	row->unit = unit;
	row->work = b->work;
	row->ours.what = "ours";
	*b->rows_end = row;
	b->rows_end = &row->next;
	return row;
}

struct bench_series *bench_against(struct bench_row *row, const char *what)
{
	struct bench_series *s;

	if (row->nr_against == BENCH_MAX_AGAINST)
		bench_die("too many opponents in one row: %s", what);
	s = &row->against[row->nr_against++];
	s->what = what;
	return s;
}

double bench_ratio(const struct bench_row *row, const struct bench_series *against)
{
	double ours = bench_median(&row->ours), theirs = bench_median(against);

	return row->unit == BENCH_RATE ? ours / theirs : theirs / ours;
}

bool bench_round(struct bench *b)
{
	if (b->round == b->repeat) {
		b->round = 0;
		return false;
	}
	b->round++;
	if (b->progress)
		fprintf(stderr, "\r\033[K%s: round %u of %u", b->work->name, b->round, b->repeat);
	return true;
}

/* ---- bars and notes ---------------------------------------------------------------------------------------- */

void bench_bar(struct bench *b, enum bench_bar_kind kind, double value, double limit,
	       const char *unit, const char *format, ...)
{
	struct bench_bar *bar = bench_must(calloc(1, sizeof(*bar)));
	va_list args;

	va_start(args, format);
	bar->what = format_text(format, args);
	va_end(args);
	bar->kind = kind;
	bar->value = value;
	bar->limit = limit;
	bar->unit = unit;
	*b->bars_end = bar;
	b->bars_end = &bar->next;
}

bool bench_bar_met(const struct bench_bar *bar)
{
	return bar->kind == AT_LEAST ? bar->value >= bar->limit : bar->value <= bar->limit;
}

void bench_skip(struct bench *b, const char *format, ...)
{
	struct bench_note *note = bench_must(calloc(1, sizeof(*note)));
	va_list args;

	va_start(args, format);
	note->text = format_text(format, args);
	va_end(args);
	*b->skipped_end = note;
	b->skipped_end = &note->next;
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

static void free_row(struct bench_row *row)
{
	free(row->ours.samples);
	for (unsigned i = 0; i < row->nr_against; i++)
		free(row->against[i].samples);
	free(row->what);
	free(row);
}

void bench_free(struct bench *b)
{
	while (b->rows) {
		struct bench_row *row = b->rows;

		b->rows = row->next;
		free_row(row);
	}
	while (b->bars) {
		struct bench_bar *bar = b->bars;

		b->bars = bar->next;
		free(bar->what);
		free(bar);
	}
	while (b->skipped) {
		struct bench_note *note = b->skipped;

		b->skipped = note->next;
		free(note->text);
		free(note);
	}
}
