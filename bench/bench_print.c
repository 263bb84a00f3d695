/* SPDX-License-Identifier: MIT */
/* bench_print.c - the table, for people. */
#include <math.h>
#include <string.h>
#include <sys/utsname.h>

#include "anonvm/anonvm.h"
#include "bench.h"

void bench_cpu_model(char *buf, size_t size)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256];

	snprintf(buf, size, "unknown CPU");
	while (f && fgets(line, sizeof(line), f)) {
		const char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) || !colon)
			continue;
		snprintf(buf, size, "%s", colon + 2);
		buf[strcspn(buf, "\n")] = '\0';
		break;
	}
	if (f)
		fclose(f);
}

void bench_kernel(char *buf, size_t size)
{
	struct utsname u;

	if (uname(&u))
		snprintf(buf, size, "unknown kernel");
	else
		snprintf(buf, size, "%s %s %s", u.sysname, u.release, u.machine);
}

/* ---- figures ----------------------------------------------------------------------------------------------- */

static const char *unit_of(enum bench_unit unit, double scale)
{
	switch (unit) {
	case BENCH_NS:
		return scale < 1e3 ? " ns" : scale < 1e6 ? " us" : " ms";
	case BENCH_BYTES:
		return scale < 1e3 ? " B" : scale < 1e6 ? " kB" : " MB";
	case BENCH_COUNT:
		return scale < 1e3 ? "" : scale < 1e6 ? "k" : "M";
	case BENCH_RATE:
		return scale < 1e3 ? "/s" : scale < 1e6 ? "k/s" : "M/s";
	}
	return "";
}

static double scale_of(double value)
{
	value = fabs(value);
	return value < 1e4 ? 1 : value < 1e7 ? 1e3 : 1e6;
}

/* Four digits, or what there is. */
static int decimals(double scaled)
{
	scaled = fabs(scaled);
	if (fabs(scaled - round(scaled)) < 1e-9)
		return 0;
	return scaled < 10 ? 2 : scaled < 1000 ? 1 : 0;
}

/* "92.1 ns (90.0..101)". */
static const char *figure(char *buf, size_t size, enum bench_unit unit,
			  const struct bench_series *s)
{
	double median = bench_median(s), min = bench_min(s), max = bench_max(s);
	double scale = scale_of(median);
	int n;

	if (!s->n)
		return "-";
	n = snprintf(buf, size, "%.*f%s", decimals(median / scale), median / scale,
		     unit_of(unit, scale));
	if (min < max && n > 0 && (size_t)n < size)
		snprintf(buf + n, size - (size_t)n, " (%.*f..%.*f)", decimals(min / scale),
			 min / scale, decimals(max / scale), max / scale);
	return buf;
}

/* ---- the table ----------------------------------------------------------------------------------------------- */

#define WORK "  %-40s "
#define OURS "%-26s"
#define THEIRS "%-28s"

void bench_print_head(const struct bench *b, FILE *f)
{
	char cpu[256], kernel[256];

	bench_cpu_model(cpu, sizeof(cpu));
	bench_kernel(kernel, sizeof(kernel));
	fprintf(f,
		"anonvm %s (%s) on %s, %s\n"
		"medians of %u, smallest and largest in brackets; the host crosses a privilege boundary and has a\n"
		"real TLB to flush: a reference, not an equal opponent\n",
		AVM_VERSION, AVM_BUILD, cpu, kernel, b->repeat);
	if (strcmp(AVM_BUILD, "release") != 0)
		fputs("NOT a release build: these figures mean nothing\n", f);
	fprintf(f, "\n" WORK OURS THEIRS "ratio\n", "work", "ours", "against");
}

static void print_against(const struct bench_row *row, const struct bench_series *s, FILE *f)
{
	char buf[96];
	double ratio = bench_ratio(row, s);

	fprintf(f, THEIRS, figure(buf, sizeof(buf), row->unit, s));
	if (isnan(ratio))
		fprintf(f, "%-10s %s\n", "", s->what);
	else
		fprintf(f, "%-10.2f %s%s\n", ratio, s->what, ratio < 1 ? "  ** SLOWER **" : "");
}

static void print_row(const struct bench_row *row, FILE *f)
{
	char buf[96];

	fprintf(f, WORK OURS, row->what, figure(buf, sizeof(buf), row->unit, &row->ours));
	if (!row->nr_against)
		fputs("-\n", f);
	for (unsigned i = 0; i < row->nr_against; i++) {
		if (i)
			fprintf(f, WORK OURS, "", "");
		print_against(row, &row->against[i], f);
	}
}

void bench_print_rows(const struct bench *b, const struct bench_work *work, FILE *f)
{
	fprintf(f, "%s: %s\n", work->name, work->what);
	for (const struct bench_row *row = b->rows; row; row = row->next) {
		if (row->work == work)
			print_row(row, f);
	}
	fflush(f);
}

static void print_bar(const struct bench_bar *bar, FILE *f)
{
	const char *verdict = bench_bar_met(bar) ? "met" : "NOT met";
	const char *sign = bar->kind == AT_LEAST ? ">=" : "<=";

	if (isnan(bar->value))
		fprintf(f, "  %-13s %-66s %8s", "NOT MEASURED", bar->what, "-");
	else
		fprintf(f, "  %-13s %-66s %8.1f%s", verdict, bar->what, bar->value, bar->unit);
	fprintf(f, "  (%s %g%s)\n", sign, bar->limit, bar->unit);
}

void bench_print_end(const struct bench *b, FILE *f)
{
	if (b->bars)
		fputs("\nbars\n", f);
	for (const struct bench_bar *bar = b->bars; bar; bar = bar->next)
		print_bar(bar, f);
	if (b->skipped)
		fputs("\nleft out\n", f);
	for (const struct bench_note *note = b->skipped; note; note = note->next)
		fprintf(f, "  %s\n", note->text);
	fflush(f);
}
