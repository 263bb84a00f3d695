/* SPDX-License-Identifier: MIT */
/*
 * bench_replay.c - a recorded program replayed: events in a second, against the program's own time on the wall.
 *
 * A replay reads text, and keeps account of what the kernel said; the core is a part of it. Invariants are not verified.
 */
#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "replay.h"

/* In this folder's tree, or in the build tree's that the program is in. */
static bool find_trace(const char *name, char *path, size_t size)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self));
	int n;

	snprintf(path, size, "examples/traces/%s", name);
	if (!access(path, R_OK))
		return true;
	while (len > 0 && self[len - 1] != '/')
		len--;
	n = snprintf(path, size, "%.*s../../../examples/traces/%s", (int)len, self, name);
	return len > 0 && n > 0 && (size_t)n < size && !access(path, R_OK);
}

/* Seconds from the first event to the last, of a run that was slowed down by being recorded. */
static double program_seconds(const char *path)
{
	char err[TRACE_ERR_MAX];
	uint64_t first = UINT64_MAX, last = 0;
	struct trace_event ev;
	struct trace *t;

	if (trace_open(&t, path, err) < 0)
		bench_die("%s", err);
	while (trace_next(t, &ev) > 0) {
		if (ev.time && ev.time < first) /* 0: what perf made up, of before */
			first = ev.time;
		last = ev.time > last ? ev.time : last;
	}
	trace_close(t);
	return last > first ? (double)(last - first) / 1e9 : NAN;
}

struct rates {
	double whole, core;
	uint64_t events;
};

static struct rates replay_once(const char *path)
{
	const struct replay_config config = { .path = path, .verify = REPLAY_VERIFY_NEVER };
	char err[TRACE_ERR_MAX];
	double begin = bench_cpu_ns();
	struct replay *r = replay_new(&config, err);
	struct rates rates;

	if (!r)
		bench_die("%s", err);
	if (replay_run(r) < 0 || r->violations || r->leaked)
		bench_die("%s: the replay has failed", path);
	rates.events = r->events;
	rates.whole = (double)r->events / ((bench_cpu_ns() - begin) / 1e9);
	rates.core = (double)r->events / replay_core_seconds(r);
	replay_free(r);
	return rates;
}

static void replay_trace(struct bench *b, const struct bench_work *work, const char *name)
{
	struct bench_row *whole, *core;
	struct bench_series *whole_program, *core_program;
	char path[PATH_MAX];
	double seconds;

	if (!find_trace(name, path, sizeof(path))) {
		bench_skip(b, "%s: %s is not there", work->name, name);
		return;
	}
	whole = bench_row(b, BENCH_RATE, "events, with reading and accounts");
	whole_program = bench_against(whole, "the program, on the wall");
	core = bench_row(b, BENCH_RATE, "events, the core's part alone, on the wall");
	core_program = bench_against(core, "the program, on the wall");
	seconds = program_seconds(path);
	while (bench_round(b)) {
		struct rates rates = replay_once(path);

		bench_add(&whole->ours, rates.whole);
		bench_add(&core->ours, rates.core);
		bench_add(whole_program, (double)rates.events / seconds);
		bench_add(core_program, (double)rates.events / seconds);
	}
}

static void compile(struct bench *b, const struct bench_work *work)
{
	replay_trace(b, work, "compile.trace.xz");
}

static void build(struct bench *b, const struct bench_work *work)
{
	replay_trace(b, work, "build.trace.xz");
}

const struct bench_work bench_replay[] = {
	{ "replay-compile", "a recorded gcc, replayed", compile, 0 },
	{ "replay-build", "a recorded make of 370 processes, replayed", build, 0 },
	{ NULL, NULL, NULL, 0 },
};
