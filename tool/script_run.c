/* SPDX-License-Identifier: MIT */
/*
 * script_run.c - runs a script: each line, what it expects, and what must be true after any line.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "script_priv.h"

/*
 * Beyond these sizes "after each line" means the cheap checks only; the full ones come at the end.
 */
#define SMALL_FRAMES 8192
#define MAX_FRAMES (1u << 22)

/* ---- failing --------------------------------------------------------------------------------- */

static void fail(struct run *run, int status, const char *format, va_list list)
{
	char what[1024];
	unsigned number = run->line ? run->line->number : 0;

	if (run->over)
		return;
	run->over = true;
	run->result->status = status;
	vsnprintf(what, sizeof(what), format, list);
	for (char *c = what; *c; c++) {
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
			*c = '?';
	}
	if (asprintf(&run->result->what, "%s:%u: %s", run->script->name, number, what) < 0)
		run->result->what = NULL;
}

void run_fail(struct run *run, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fail(run, 1, format, list);
	va_end(list);
}

void run_bad(struct run *run, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fail(run, 2, format, list);
	va_end(list);
}

/* ---- the machine ----------------------------------------------------------------------------- */

bool run_machine(struct run *run, const struct sim_config *config)
{
	struct sim_config c = *config;
	int error;

	if (c.frames > MAX_FRAMES) {
		run_bad(run, "at most %u frames", MAX_FRAMES);
		return false;
	}
	c.check_tlb = true;
	error = sim_create(&run->sim, &c);
	if (error) {
		run->sim = NULL;
		run_fail(run, "no machine: %s", script_word_of(script_errnos, (uint64_t)-error));
		return false;
	}
	run->contents = c.contents;
	avm_stats(run_avm(run), &run->mark);
	run->nr_frames = run->mark.frames_total;
	run->oracle = oracle_create(SCRIPT_PAGE, run->contents == SIM_BYTES ? SCRIPT_PAGE : 8);
	run->frames = oracle_shmem(run->oracle, UINT64_MAX);
	return true;
}

static bool default_machine(struct run *run)
{
	struct sim_config config = { .frames = 1024 };

	if (run->options->family >= 0)
		config.core.family = (enum avm_family_policy)run->options->family;
	return run_machine(run, &config);
}

/* ---- what a line expects --------------------------------------------------------------------- */

static void describe_error(const struct outcome *out, char *buf, size_t room)
{
	if (out->error)
		snprintf(buf, room, "%s", script_word_of(script_errnos, (uint64_t)-out->error));
	else if (out->signal)
		snprintf(buf, room, "%s", script_word_of(script_signals, out->signal));
	else
		snprintf(buf, room, "success");
}

static void describe_faults(unsigned faults, char *buf, size_t room)
{
	size_t n = 0;

	snprintf(buf, room, "none");
	for (const struct script_word *w = script_faults; w->word; w++) {
		if (!(faults & w->value))
			continue;

		int len = snprintf(buf + n, room - n, "%s%s", n ? " " : "", w->word);

		n += len > 0 ? (size_t)len : 0;
	}
}

static void expect_error(struct run *run, const struct script_expect *e, const struct outcome *out)
{
	char got[64];
	struct outcome want = { .error = e->error, .signal = e->signal };
	char wanted[64];

	if (out->error == e->error && out->signal == e->signal)
		return;
	describe_error(out, got, sizeof(got));
	describe_error(&want, wanted, sizeof(wanted));
	run_fail(run, "%s, expected %s", got, wanted);
}

/*
 * The bits that say what a fault did must be the expected ones; whether it was minor or major,
 * spurious or retried, only if the line says so.
 */
static void expect_faults(struct run *run, const struct script_expect *e, const struct outcome *out)
{
	const unsigned did = AVM_FAULT_COW | AVM_FAULT_REUSE | AVM_FAULT_ZERO;
	const unsigned how = AVM_FAULT_MINOR | AVM_FAULT_MAJOR | AVM_FAULT_SPURIOUS |
			     AVM_FAULT_RETRY;
	bool right = (out->faults & did) == (e->faults & did) &&
		     (out->faults & e->faults & how) == (e->faults & how);
	char got[96];
	char wanted[96];

	if (!e->faults)
		right = !out->faults;
	if (!out->has_faults) {
		run_bad(run, "%s makes no faults", run->line->op->name);
		return;
	}
	if (right)
		return;
	describe_faults(out->faults, got, sizeof(got));
	describe_faults(e->faults, wanted, sizeof(wanted));
	run_fail(run, "fault: %s, expected %s", got, wanted);
}

static void print_bytes(const uint8_t *bytes, uint32_t len, char *buf, size_t room)
{
	size_t n = 0;

	for (uint32_t i = 0; i < len && n + 8 < room; i++) {
		if (bytes[i] >= ' ' && bytes[i] < 0x7f && bytes[i] != '"' && bytes[i] != '\\')
			buf[n++] = (char)bytes[i];
		else
			n += (size_t)snprintf(buf + n, room - n, "\\x%02x", bytes[i]);
	}
	buf[n] = '\0';
}

static void expect_value(struct run *run, const struct script_expect *e, const struct outcome *out)
{
	char got[128];
	char wanted[128];

	if (!out->has_value) {
		run_bad(run, "%s has no value to compare", run->line->op->name);
		return;
	}
	if (out->value_len == e->value->len && !memcmp(out->value, e->value->bytes, out->value_len))
		return;
	print_bytes(out->value, out->value_len, got, sizeof(got));
	print_bytes(e->value->bytes, e->value->len, wanted, sizeof(wanted));
	run_fail(run, "\"%s\", expected \"%s\"", got, wanted);
}

static void expect_addr(struct run *run, const struct script_expect *e, const struct outcome *out)
{
	avm_addr_t want;

	if (!run_addr(run, &e->at, &want))
		return;
	if (!out->has_addr)
		run_bad(run, "%s has no address to compare", run->line->op->name);
	else if (out->addr != want)
		run_fail(run, "at %#llx, expected at %#llx", (unsigned long long)out->addr,
			 (unsigned long long)want);
}

static void expect_count(struct run *run, const struct script_expect *e, const struct outcome *out)
{
	if (!out->has_count)
		run_bad(run, "%s has no count to compare", run->line->op->name);
	else if (out->count != e->count)
		run_fail(run, "count %llu, expected %llu", (unsigned long long)out->count,
			 (unsigned long long)e->count);
}

static void compare(struct run *run, const struct outcome *out)
{
	const struct script_expect *e = &run->line->expect;

	if (!e->any)
		expect_error(run, e, out);
	if (e->faults_given && !run->over)
		expect_faults(run, e, out);
	if (e->value && !run->over)
		expect_value(run, e, out);
	if (e->count_given && !run->over)
		expect_count(run, e, out);
	if (e->at_given && !run->over)
		expect_addr(run, e, out);
}

/* ---- what must be true after any line -------------------------------------------------------- */

struct dump {
	FILE *f;
	char *text;
	size_t len;
};

static void dump_line(struct avm_sink *sink, const char *line)
{
	struct dump *d = sink->context;

	fprintf(d->f, "%s\n", line);
}

char *run_dump(const struct run_proc *p)
{
	struct dump d = { .text = NULL };
	struct avm_sink sink = { .line = dump_line, .context = &d };

	d.f = open_memstream(&d.text, &d.len);
	if (!d.f)
		return NULL;
	avm_dump_mm(run_mm(p), &sink);
	fclose(d.f);
	return d.text;
}

/* The first line that differs. */
static void differing_line(const char *before, const char *after, char *buf, size_t room)
{
	while (*before && *after) {
		size_t a = strcspn(before, "\n");
		size_t b = strcspn(after, "\n");

		if (a != b || memcmp(before, after, a) != 0)
			break;
		before += a + (before[a] == '\n');
		after += b + (after[b] == '\n');
	}
	snprintf(buf, room, "was '%.*s', is '%.*s'", (int)strcspn(before, "\n"), before,
		 (int)strcspn(after, "\n"), after);
}

static uint64_t pages_scanned(const struct run *run)
{
	struct avm_stats st;

	avm_stats(run_avm(run), &st);
	return st.events[AVM_EV_SCANNED];
}

/* What is not the address space's own doing when memory is short: entries, and how many pages are resident. */
static void strip_pages(char *dump)
{
	char *to = dump;

	for (const char *line = dump; *line;) {
		size_t len = strcspn(line, "\n");
		size_t kept = strncmp(line, "pte ", 4) ? len : 0;
		const char *rss = memmem(line, kept, " rss_", 5);

		if (rss)
			kept = (size_t)(rss - line);
		memmove(to, line, kept);
		to += kept;
		line += len;
		if (*line == '\n') {
			*to++ = '\n';
			line++;
		}
	}
	*to = '\0';
}

/* `scanned`: pages that reclaim had looked at before the line. */
static void check_unchanged(struct run *run, char *before, uint64_t scanned)
{
	struct run_proc *p = run_line_proc(run);
	char *after = p ? run_dump(p) : NULL;
	char difference[512];

	if (after && pages_scanned(run) != scanned) {
		strip_pages(before);
		strip_pages(after);
	}
	if (after && strcmp(before, after) != 0) {
		differing_line(before, after, difference, sizeof(difference));
		run_fail(run, "it failed, and changed the address space: %s", difference);
	}
	free(after);
}

/* The lines of a report as one: "V20: ...; V22: ...". */
static void join_lines(char *text, size_t len)
{
	while (len && text[len - 1] == '\n')
		text[--len] = '\0';
	for (; *text; text++)
		if (*text == '\n')
			*text = ';';
}

static void verify(struct run *run, enum avm_verify_level level)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int64_t n = sim_verify(run->sim, level, f);

	if (f)
		fclose(f);
	if (text)
		join_lines(text, len);
	run->result->verified++;
	if (n > 0) {
		run->result->violations += (uint64_t)n;
		run_fail(run, "%lld violations: %.400s", (long long)n, text ? text : "");
	} else if (n < 0) {
		run_fail(run, "the invariants could not be checked: %s",
			 script_word_of(script_errnos, (uint64_t)-n));
	}
	free(text);
}

void op_verify(struct run *run, const struct script_line *line, struct outcome *out)
{
	uint64_t level = line->nr_args ? line->args[0].number : AVM_VERIFY_ALL;

	(void)out;
	if (level < AVM_VERIFY_VMAS || level > AVM_VERIFY_ALL) {
		run_bad(run, "the level is 1, 2 or 3");
		return;
	}
	verify(run, (enum avm_verify_level)level);
	if (!run->over)
		run_audit(run);
}

static void check_after(struct run *run)
{
	bool small = sim_frames_used(run->sim) <= SMALL_FRAMES;

	if (sim_errors(run->sim)) {
		run->result->violations += sim_errors(run->sim);
		run_fail(run, "%s", sim_last_error(run->sim));
		return;
	}
	if (run->options->verify != SCRIPT_VERIFY_EACH)
		return;
	verify(run, small ? AVM_VERIFY_ALL : AVM_VERIFY_VMAS);
	if (small && !run->over)
		run_audit(run);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void trace_line(const struct run *run, const struct outcome *out)
{
	char text[160];

	if (!run->options->trace || !run->options->out)
		return;
	fprintf(run->options->out, "%4u  %-56s", run->line->number, run->line->text);
	if (out->error || out->signal) {
		describe_error(out, text, sizeof(text));
		fprintf(run->options->out, "  %s", text);
	}
	if (out->has_addr && !out->error)
		fprintf(run->options->out, "  %#llx", (unsigned long long)out->addr);
	if (out->has_count && !out->error)
		fprintf(run->options->out, "  %llu", (unsigned long long)out->count);
	if (out->has_value && !out->error && !out->signal) {
		print_bytes(out->value, out->value_len, text, sizeof(text));
		fprintf(run->options->out, "  \"%s\"", text);
	}
	if (out->has_faults && out->faults) {
		describe_faults(out->faults, text, sizeof(text));
		fprintf(run->options->out, "  %s", text);
	}
	fputc('\n', run->options->out);
}

static void run_line(struct run *run)
{
	const struct script_line *line = run->line;
	struct outcome out = { 0 };
	char *before = NULL;
	uint64_t scanned = 0;
	bool each = run->options->verify == SCRIPT_VERIFY_EACH;

	if (!(line->op->flags & OP_FIRST) && !run->sim && !default_machine(run))
		return;
	if ((line->op->flags & OP_PROC) &&
	    (line->expect.unchanged || (each && (line->op->flags & OP_ATOMIC)))) {
		struct run_proc *p = run_line_proc(run);

		before = p ? run_dump(p) : NULL;
		scanned = pages_scanned(run);
	} else if (line->expect.unchanged) {
		run_bad(run, "%s has no process that could be unchanged", line->op->name);
	}
	if (line->op->flags & OP_CLAIM)
		trace_line(run, &out); /* before what it prints */
	if (!run->over)
		line->op->perform(run, line, &out);
	run->result->lines++;
	if (!(line->op->flags & OP_CLAIM))
		trace_line(run, &out);
	if (!run->over && !(line->op->flags & OP_CLAIM))
		compare(run, &out);
	if (!run->over && before && (out.error || out.signal))
		check_unchanged(run, before, scanned);
	free(before);
	if (run->over || out.error || out.signal)
		return;
	if (line->label.text[0] && out.has_addr)
		run_set_label(run, &line->label, out.addr);
}

static void finish(struct run *run)
{
	if (!run->sim)
		return;
	if (!run->over && run->options->verify != SCRIPT_VERIFY_NEVER) {
		sim_fail_alloc(run->sim, 0, 0);
		verify(run, AVM_VERIFY_ALL);
		if (!run->over)
			run_audit(run);
	}
	run_picture(run);
	run_unpin_all(run);
	avm_stats(run_avm(run), &run->result->stats);
	for (size_t i = 0; i < run->nr_procs; i++)
		run_watch_free(&run->procs[i]);
	for (size_t i = 0; i < run->nr_files; i++)
		sim_file_put(run->files[i].file);
	run->result->leaked = sim_destroy(run->sim);
	oracle_destroy(run->oracle);
	if (run->result->leaked)
		run_fail(run, "at the end %llu frames, bytes and objects were not given back",
			 (unsigned long long)run->result->leaked);
}

void script_run(const struct script *s, const struct script_options *options,
		struct script_result *result)
{
	struct run run = { .script = s, .options = options, .result = result };

	*result = (struct script_result){ 0 };
	for (size_t i = 0; i < s->n && !run.over; i++) {
		if (options->stop_at && s->lines[i].number > options->stop_at)
			break;
		run.line = &s->lines[i];
		run_line(&run);
		if (run.sim && !run.over)
			check_after(&run);
	}
	if (options->picture && !run.sim && !run.over)
		default_machine(&run);
	finish(&run);
	run_fills_free(&run);
	free(run.procs);
	free(run.files);
	free(run.labels);
	free(run.swaps);
}

void script_result_free(struct script_result *result)
{
	free(result->what);
	result->what = NULL;
}
