/* SPDX-License-Identifier: MIT */
/*
 * fuzz_script.c - the parser of scripts, and what it lets through, unless that would take long.
 *
 * A script may fail, for it may claim what is not so. But it ends as documented; and nothing in it can break an
 * invariant, a rule of the machine, or what memory contains.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "script_priv.h"

#define LINES_MAX 300u /* performed */
#define PAGES_MAX 2048u
#define WRAPS (UINT64_C(1) << 62) /* from here on lengths fail at once */
#define NUMBER_MAX 4096u

static void die(const char *why, const char *what)
{
	printf("%s: %s\n", why, what ? what : "nothing said");
	fflush(stdout);
	abort();
}

/* ---- is it short? -------------------------------------------------------------------------------------- */

static bool is_one_of(const char *word, const char *const *words)
{
	while (*words && strcmp(*words, word) != 0)
		words++;
	return *words;
}

static bool is_small(const struct script_line *line, const struct script_arg *arg)
{
	static const char *const counted[] = { "compact", "ksm", NULL };

	if (arg->kind == 'L')
		return arg->number <= PAGES_MAX * SCRIPT_PAGE || arg->number >= WRAPS;
	return arg->kind != 'N' || !is_one_of(line->op->name, counted) || arg->number <= NUMBER_MAX;
}

/* Of these operations these keywords have a number. */
static bool are_options_small(const struct script_line *line)
{
	static const char *const names[] = { "machine", "swapon", NULL };
	static const char *const keywords[] = { "frames", "swap", "slots", "fault-around", NULL };

	for (size_t i = 0; is_one_of(line->op->name, names) && i < line->nr_options; i++) {
		const struct script_option *o = &line->options[i];

		if (is_one_of(o->keyword, keywords) && o->args[0].number > NUMBER_MAX)
			return false;
	}
	return true;
}

static bool is_short(const struct script *s)
{
	if (s->n > LINES_MAX)
		return false;
	for (size_t i = 0; i < s->n; i++) {
		const struct script_line *line = &s->lines[i];

		if (!are_options_small(line))
			return false;
		for (size_t k = 0; k < line->nr_args; k++) {
			if (!is_small(line, &line->args[k]))
				return false;
		}
	}
	return true;
}

/* ---- is it right? -------------------------------------------------------------------------------------- */

/* "NAME:LINE: what", as a terminal can show it. => what */
static const char *judge_message(const char *text, unsigned long *line)
{
	static const char name[] = "input:";
	char *end = NULL;

	if (!text || strncmp(text, name, strlen(name)) != 0)
		die("the message does not begin with NAME:LINE", text);
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			die("the message is not printable", text);
	}
	*line = strtoul(text + strlen(name), &end, 10);
	if (end == text + strlen(name) || strncmp(end, ": ", 2) != 0)
		die("the message names no line", text);
	return end + 2;
}

static bool claims_unchanged(const struct script *s, unsigned long number)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->lines[i].number == number && s->lines[i].expect.unchanged)
			return true;
	}
	return false;
}

/* A device writes to pages of which the script, perhaps wrongly, says that nobody maps them. */
static bool deceives(const struct script *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (script_has(&s->lines[i], "detached"))
			return true;
	}
	return false;
}

static void judge(const struct script *s, const struct script_result *r)
{
	unsigned long line;
	const char *what;

	if (r->status < 0 || r->status > 2)
		die("an exit status that does not exist", r->what);
	if (r->violations)
		die("an invariant is broken", r->what);
	if (r->leaked)
		die("a leak", r->what);
	if (!r->status)
		return;
	what = judge_message(r->what, &line);
	/* What stands in quotes is the script's. */
	if (*what != '"' && strstr(what, "the oracle says ") && !deceives(s))
		die("memory is not what it should be", r->what);
	/* What the line does not claim is always so. */
	if (!strncmp(what, "it failed, and changed", 22) && !claims_unchanged(s, line))
		die("a failure with an effect", r->what);
}

static void run(const struct script *s)
{
	static FILE *nowhere;
	struct script_options options = { .family = -1, .trace = true };
	struct script_result result;

	if (!nowhere)
		nowhere = fopen("/dev/null", "w");
	options.out = nowhere;
	script_run(s, &options, &result);
	judge(s, &result);
	script_result_free(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned long line;
	char *error = NULL;
	struct script *s = script_parse("input", (const char *)data, size, &error);

	if (!s) {
		judge_message(error, &line);
		free(error);
		return 0;
	}
	if (is_short(s))
		run(s);
	script_free(s);
	return 0;
}
