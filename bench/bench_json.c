/* SPDX-License-Identifier: MIT */
/* bench_json.c - the table and all samples, for programs. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "anonvm/anonvm.h"
#include "bench.h"

#if AVM_HAVE_JANSSON
#include <jansson.h>

bool bench_has_json(void)
{
	return true;
}

/* JSON knows no NAN. */
static json_t *number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *series(const struct bench_series *s)
{
	json_t *o = json_object(), *samples = json_array();

	json_object_set_new(o, "median", number(bench_median(s)));
	json_object_set_new(o, "min", number(bench_min(s)));
	json_object_set_new(o, "max", number(bench_max(s)));
	for (unsigned i = 0; i < s->n; i++)
		json_array_append_new(samples, number(s->samples[i]));
	json_object_set_new(o, "samples", samples);
	return o;
}

static json_t *one_row(const struct bench_row *row)
{
	static const char *const units[] = {
		[BENCH_NS] = "ns",
		[BENCH_BYTES] = "bytes",
		[BENCH_COUNT] = "count",
		[BENCH_RATE] = "per second",
	};
	json_t *o = json_object(), *against = json_array();

	json_object_set_new(o, "work", json_string(row->work->name));
	json_object_set_new(o, "what", json_string(row->what));
	json_object_set_new(o, "unit", json_string(units[row->unit]));
	json_object_set_new(o, "ours", row->ours.n ? series(&row->ours) : json_null());
	for (unsigned i = 0; i < row->nr_against; i++) {
		const struct bench_series *s = &row->against[i];
		double ratio = bench_ratio(row, s);
		json_t *one = series(s);

		json_object_set_new(one, "what", json_string(s->what));
		json_object_set_new(one, "ratio", number(ratio));
		json_object_set_new(one, "slower", json_boolean(ratio < 1));
		json_array_append_new(against, one);
	}
	json_object_set_new(o, "against", against);
	return o;
}

static json_t *one_bar(const struct bench_bar *bar)
{
	json_t *o = json_object();

	json_object_set_new(o, "what", json_string(bar->what));
	json_object_set_new(o, "value", number(bar->value));
	json_object_set_new(o, "kind", json_string(bar->kind == AT_LEAST ? "at least" : "at most"));
	json_object_set_new(o, "limit", number(bar->limit));
	json_object_set_new(o, "unit", json_string(bar->unit));
	json_object_set_new(o, "met",
			    isnan(bar->value) ? json_null() : json_boolean(bench_bar_met(bar)));
	return o;
}

static json_t *everything(const struct bench *b)
{
	json_t *o = json_object(), *rows = json_array(), *bars = json_array();
	json_t *skipped = json_array();
	char text[256];

	json_object_set_new(o, "version", json_string(AVM_VERSION));
	json_object_set_new(o, "build", json_string(AVM_BUILD));
	bench_cpu_model(text, sizeof(text));
	json_object_set_new(o, "cpu", json_string(text));
	bench_kernel(text, sizeof(text));
	json_object_set_new(o, "kernel", json_string(text));
	json_object_set_new(o, "repeat", json_integer((json_int_t)b->repeat));
	json_object_set_new(o, "quick", json_boolean(b->quick));
	for (const struct bench_row *row = b->rows; row; row = row->next)
		json_array_append_new(rows, one_row(row));
	json_object_set_new(o, "rows", rows);
	for (const struct bench_bar *bar = b->bars; bar; bar = bar->next)
		json_array_append_new(bars, one_bar(bar));
	json_object_set_new(o, "bars", bars);
	for (const struct bench_note *note = b->skipped; note; note = note->next)
		json_array_append_new(skipped, json_string(note->text));
	json_object_set_new(o, "left_out", skipped);
	return o;
}

int bench_json(const struct bench *b, const char *path)
{
	bool to_stdout = !strcmp(path, "-");
	FILE *f = to_stdout ? stdout : fopen(path, "w");
	json_t *o = everything(b);
	bool failed = !f || json_dumpf(o, f, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) ||
		      fputc('\n', f) == EOF || fflush(f);

	if (failed)
		fprintf(stderr, "anonvm: bench: %s: %s\n", path, strerror(errno));
	json_decref(o);
	if (f && !to_stdout && fclose(f))
		failed = true;
	return failed ? -1 : 0;
}

#else

bool bench_has_json(void)
{
	return false;
}

int bench_json(const struct bench *b, const char *path)
{
	(void)b;
	(void)path;
	return -1;
}

#endif
