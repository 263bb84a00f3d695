/* SPDX-License-Identifier: MIT */
/* trace_fuzz.c - see trace_fuzz.h. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"
#include "trace_fuzz.h"

#define FRAMES 1024u
#define FEW_FRAMES 128u
#define SLOTS 1024u
#define WORK (UINT64_C(1) << 13) /* pages; a millisecond or two */

/* Bits of the character behind the first '#'. */
enum choice {
	CHOICE_TOUCH = 3, /* enum replay_touch */
	CHOICE_EACH = 4, /* verify after each event */
	CHOICE_FAMILY = 24, /* enum avm_family_policy */
	CHOICE_PRESSURE =
		32, /* twice: what pages contain is compared with a replay that has memory enough */
};

static void die(const char *why, const char *what)
{
	printf("%s: %s\n", why, what ? what : "nothing said");
	fflush(stdout);
	abort();
}

/* "NAME:LINE: what", as a terminal can show it. */
static void judge_message(const char *what)
{
	if (!what || strncmp(what, "input:", 6) != 0)
		die("the message does not begin with the trace's name", what);
	for (const char *p = what; *p; p++) {
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			die("the message is not printable", what);
	}
}

/* ---- reading ------------------------------------------------------------------------------------------- */

/* Every line is an event, a continuation, a complaint, or known to be none. */
static void judge_count(struct trace *t)
{
	const struct trace_stats *st = trace_stats(t);
	uint64_t kinds = 0;

	for (int i = 0; i < TRACE_NR_KINDS; i++)
		kinds += st->kind[i];
	if (kinds != st->events)
		die("events of no kind", "trace_stats()");
	if (trace_format(t) == TRACE_PERF &&
	    st->lines != st->events + st->bad_lines + st->skipped + st->continued)
		die("a line that nobody has counted", "trace_stats()");
}

static void read_all(struct trace *t)
{
	struct trace_event ev;
	uint64_t line = 0, n = 0;
	int rc;

	while ((rc = trace_next(t, &ev)) > 0) {
		n++;
		if (trace_format(t) == TRACE_PERF && ev.line <= line)
			die("events out of order", "line");
		line = ev.line;
	}
	if (rc < 0 && trace_next(t, &ev) != rc)
		die("an error that goes away", trace_error(t));
	if (rc < 0)
		judge_message(trace_error(t));
	else
		judge_count(t);
	if (n != trace_stats(t)->events)
		die("events that nobody was given", "trace_stats()");
	for (unsigned i = 0; i < TRACE_COMPLAINTS && trace_complaint(t, i); i++)
		judge_message(trace_complaint(t, i));
}

/* False: it is no trace of this format. */
static bool is_trace(const char *text, size_t len, enum trace_format format)
{
	char err[TRACE_ERR_MAX];
	struct trace *t;
	bool right;

	if (trace_open_mem(&t, text, len, "input", err)) {
		judge_message(err);
		return false;
	}
	right = trace_format(t) == format;
	if (right)
		read_all(t);
	trace_close(t);
	return right;
}

/* ---- replaying ----------------------------------------------------------------------------------------- */

static void replay(const struct replay_config *config)
{
	char err[TRACE_ERR_MAX];
	struct replay *r = replay_new(config, err);

	if (!r)
		die("no replay", err);
	if (replay_run(r) < 0)
		judge_message(trace_error(r->trace));
	if (r->violations)
		die("an invariant is broken", "replay");
	if (r->leaked)
		die("a leak", "replay");
	if (r->compared.wrong)
		die("memory is not what it should be", "replay");
	replay_free(r);
}

/* With memory enough, then with less. */
static void replay_twice(struct replay_config *config)
{
	enum replay_verify verify = config->verify;

	config->contents = contents_new();
	config->verify = REPLAY_VERIFY_NEVER;
	replay(config);
	contents_compare(config->contents);
	config->verify = verify;
	config->frames = FEW_FRAMES;
	config->swap_slots = SLOTS;
	replay(config);
	contents_free(config->contents);
}

void trace_fuzz(const uint8_t *data, size_t size, enum trace_format format)
{
	const char *text = (const char *)data;
	unsigned choice = size > 2 && text[0] == '#' ? data[1] : 0;
	struct replay_config config = {
		.path = "input",
		.text = text,
		.text_len = size,
		.frames = FRAMES,
		.work = WORK,
		.touch = (enum replay_touch)((choice & CHOICE_TOUCH) % 3),
		.family = (enum avm_family_policy)((choice & CHOICE_FAMILY) / 8 % 3),
		.verify = choice & CHOICE_EACH ? REPLAY_VERIFY_EACH : REPLAY_VERIFY_END,
	};

	if (!is_trace(text, size, format))
		return;
	if (choice & CHOICE_PRESSURE)
		replay_twice(&config);
	else
		replay(&config);
}
