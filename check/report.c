/* SPDX-License-Identifier: MIT */
/*
 * report.c - a finding as a file that can be run again, and as a table for a person.
 */
#include <dlfcn.h>
#include <unistd.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

/* ---- the file ---------------------------------------------------------------------------------------------------------- */

static const char head[] = "# anonvm check: run it again with: anonvm check --replay FILE";

static const char *const failing[CHECK_NR_FAILING] = { "alloc", "swap-read", "swap-write",
						       "file-read", "file-write" };

void finding_write(const struct finding *f, FILE *out)
{
	fprintf(out, "%s\nfinding %s\n", head, f->result.finding);
	program_print(&f->program, out);
	fprintf(out, "schedule first T%u%s%s\n", f->schedule.first, f->schedule.late ? " late" : "",
		f->schedule.no_races ? " no-races" : "");
	for (uint32_t i = 0; i < f->schedule.nr_failures; i++) {
		const struct check_failure *x = &f->schedule.failures[i];

		fprintf(out, "  T%u fails %s %u%s\n", x->thread, failing[x->kind], x->at,
			x->on ? " on" : "");
	}
	for (uint32_t i = 0; i < f->schedule.nr_switches; i++) {
		const struct check_switch *s = &f->schedule.switches[i];

		fprintf(out, "  T%u at %u to T%u\n", s->thread, s->at, s->to);
	}
}

static bool read_machine(struct program *pr, const char *line)
{
	static const char *const families[] = { "reuse", "chain", "flat" };
	unsigned frames, slots;
	char family[8], disk[5] = "";

	if (sscanf(line, "machine frames %u slots %u %7s %4s", &frames, &slots, family, disk) < 3 ||
	    frames < 8 || frames > 250 || slots > 250 || (*disk && strcmp(disk, "disk") != 0))
		return false;
	pr->disk = *disk != '\0';
	for (uint8_t i = 0; i < 3; i++) {
		if (!strcmp(family, families[i])) {
			pr->family = i;
			pr->frames = (uint8_t)frames;
			pr->slots = (uint8_t)slots;
			return true;
		}
	}
	return false;
}

static bool read_switch(struct check_schedule *s, const char *line)
{
	unsigned thread, at, to;

	if (sscanf(line, " T%u at %u to T%u", &thread, &at, &to) != 3 || thread >= CHECK_THREADS ||
	    to >= CHECK_THREADS || s->nr_switches == CHECK_SWITCHES)
		return false;
	s->switches[s->nr_switches++] =
		(struct check_switch){ at, (uint8_t)thread, (uint8_t)to, NULL };
	return true;
}

/* "T0 fails alloc 3", "... 3 on" */
static bool read_failure(struct check_schedule *s, const char *line)
{
	unsigned thread, at;
	char what[16], on[4] = "";

	if (sscanf(line, " T%u fails %15s %u %3s", &thread, what, &at, on) < 3 ||
	    thread >= CHECK_THREADS || !at || s->nr_failures == CHECK_FAILURES ||
	    (*on && strcmp(on, "on") != 0))
		return false;
	for (unsigned kind = 0; kind < CHECK_NR_FAILING; kind++) {
		if (strcmp(what, failing[kind]) != 0)
			continue;
		s->failures[s->nr_failures++] =
			(struct check_failure){ at, (uint8_t)thread, (uint8_t)kind, *on };
		return true;
	}
	return false;
}

static bool read_op(struct program *pr, const char *line)
{
	struct op op;
	unsigned t = pr->nr_threads;

	if (!op_parse(line, &op))
		return false;
	if (!t && pr->nr_setup < MAX_SETUP) {
		pr->setup[pr->nr_setup++] = op;
		return true;
	}
	if (!t || pr->nr_ops[t - 1] == MAX_OPS)
		return false;
	pr->ops[t - 1][pr->nr_ops[t - 1]++] = op;
	return true;
}

static bool read_line(struct finding *f, const char *line, bool *scheduled)
{
	struct program *pr = &f->program;
	unsigned n;

	if (*line == '#' || !*line)
		return true;
	if (!strncmp(line, "finding ", 8)) {
		snprintf(f->result.finding, sizeof(f->result.finding), "%.500s", line + 8);
		return true;
	}
	if (!strncmp(line, "machine ", 8))
		return read_machine(pr, line);
	if (sscanf(line, "thread T%u", &n) == 1)
		return n == pr->nr_threads && pr->nr_threads++ < CHECK_THREADS;
	if (sscanf(line, "schedule first T%u", &n) == 1) {
		f->schedule.first = (uint8_t)(n % CHECK_THREADS);
		f->schedule.late = strstr(line, " late") != NULL;
		f->schedule.no_races = strstr(line, " no-races") != NULL;
		*scheduled = true;
		return true;
	}
	if (!*scheduled)
		return read_op(pr, line);
	return read_switch(&f->schedule, line) || read_failure(&f->schedule, line);
}

const char *finding_read(struct finding *f, FILE *in, unsigned *line)
{
	char text[600];
	bool scheduled = false;

	*f = (struct finding){ .schedule = { .strategy = CHECK_REPLAY } };
	for (*line = 1; fgets(text, sizeof(text), in); ++*line) {
		text[strcspn(text, "\r\n")] = '\0';
		if (!read_line(f, text, &scheduled))
			return "not a line of a finding";
	}
	if (!f->program.frames)
		return "no machine";
	return f->program.nr_threads ? NULL : "no thread";
}

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

/* The name of the place in the core, where addr2line is there to tell. */
static void name_site(const void *site, char *name, size_t size)
{
	char command[512], function[128] = "", place[256] = "";
	Dl_info info;
	FILE *p;

	snprintf(name, size, "%p", site);
	if (!dladdr(site, &info) || !info.dli_fname)
		return;
	/* Not /proc/self, which would be the shell. */
	snprintf(command, sizeof(command), "addr2line -f -s -e /proc/%ld/exe 0x%zx 2>/dev/null",
		 (long)getpid(), (size_t)((const char *)site - (const char *)info.dli_fbase - 1));
	p = popen(command, "r");
	if (!p)
		return;
	if (fgets(function, sizeof(function), p) && fgets(place, sizeof(place), p) &&
	    *function != '?') {
		function[strcspn(function, "\n")] = '\0';
		place[strcspn(place, "\n")] = '\0';
		place[strcspn(place, " ")] = '\0';
		snprintf(name, size, "%s (%s)", function, place);
	}
	pclose(p);
}

/* The text of a race has places as they are quick to write. */
void finding_name(struct finding *f)
{
	char *text = f->result.finding, from[sizeof(f->result.finding)];
	size_t n = 0;

	memcpy(from, text, sizeof(from));
	for (const char *p = from; *p && n < sizeof(from) - 1;) {
		const void *site = *p == '@' ? check_spelled_site(p + 1) : NULL;
		char name[400];

		if (!site) {
			text[n++] = *p++;
			continue;
		}
		name_site(site, name, sizeof(name));
		n += (size_t)snprintf(text + n, sizeof(from) - n, "%s", name);
		p += 1 + 8;
	}
	text[n < sizeof(from) ? n : sizeof(from) - 1] = '\0';
}

struct table {
	FILE *out;
	const struct program *pr;
};

#define COLUMN 44

static void row(const struct table *t, unsigned thread, const char *text)
{
	fprintf(t->out, "  %*s%s\n", (int)(thread * COLUMN), "", text);
}

static void on_switch(void *context, unsigned from, unsigned to, const int *op, const void *site)
{
	const struct table *t = context;
	char where[200] = "", text[400], what[100] = "";
	FILE *out = fmemopen(what, sizeof(what) - 1, "w");

	if (op[from] >= 0 && op[from] < t->pr->nr_ops[from])
		op_print(&t->pr->ops[from][op[from]], out);
	else
		fprintf(out, "done");
	fclose(out);
	if (site)
		name_site(site, where, sizeof(where));
	if (!strcmp(what, "done"))
		snprintf(text, sizeof(text), "done");
	else
		snprintf(text, sizeof(text), "%s: %s %s", what, site ? "stops before" : "waits",
			 where);
	row(t, from, text);
	(void)to;
}

void finding_report(const struct finding *f, FILE *out)
{
	struct table t = { out, &f->program };
	struct check_schedule s = f->schedule;
	struct finding again = { .crashed = false };
	struct check *c = check_new();
	struct result r;

	fprintf(out, "anonvm check: %s\n\n", f->result.finding);
	finding_write(f, out);
	fprintf(out, "\nwhat happens, one column for each thread:\n");
	for (unsigned i = 0; i < f->program.nr_threads; i++)
		fprintf(out, "  T%u%*s", i, COLUMN - 4, "");
	fprintf(out, "\n");
	fflush(out);
	s.strategy = CHECK_REPLAY;
	if (!c || f->crashed)
		return;
	program_run_observed(c, &f->program, &s, &r, on_switch, &t);
	for (unsigned i = 0; i < f->program.nr_threads; i++) {
		if (r.op[i] < f->program.nr_ops[i]) {
			char text[128] = "in ";
			FILE *line = fmemopen(text + 3, sizeof(text) - 4, "w");

			op_print(&f->program.ops[i][r.op[i] < 0 ? 0 : r.op[i]], line);
			fclose(line);
			row(&t, i, text);
		}
	}
	again.result = r;
	finding_name(&again);
	fprintf(out, "  => %s\n",
		again.result.finding[0] ? again.result.finding : "nothing is found this time");
}
