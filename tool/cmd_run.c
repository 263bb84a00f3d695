/* SPDX-License-Identifier: MIT */
/*
 * cmd_run.c - `anonvm run FILE.avm ...`: runs scripts and says how they went.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "script.h"

#if AVM_HAVE_JANSSON
#include <jansson.h>
#endif

static const char help[] =
	"usage: anonvm run [OPTION...] FILE.avm...\n"
	"\n"
	"Runs scripts on the simulated machine. Every read is compared with a flat model of memory, the\n"
	"invariants are verified, and what a script prints with `show` goes to the output. The language\n"
	"is described in docs/scripts.md; '-' is the standard input.\n"
	"\n"
	"  --verify=each|end|never   check the invariants after each line (default), at the end, or not\n"
	"  --family=reuse|chain|flat how families grow, for scripts whose machine line does not say\n"
	"  --trace                   print each line with its result\n"
	"  --json                    the results as JSON\n"
	"  --quiet                   no summary\n"
	"  --help                    this text\n"
	"\n"
	"exit status: 0 all as expected, 1 something was not, 2 bad usage or a bad script\n";

struct settings {
	struct script_options options;
	bool json, quiet, help;
};

static bool parse_word(const char *const *words, const char *arg, int *out)
{
	for (int i = 0; words[i]; i++) {
		if (!strcmp(words[i], arg)) {
			*out = i;
			return true;
		}
	}
	return false;
}

/* Returns the first argument that is not an option, or -1. */
static int parse_options(int argc, char **argv, struct settings *s)
{
	static const char *const verify_words[] = { "each", "end", "never", NULL };
	static const char *const family_words[] = { "reuse", "chain", "flat", NULL };
	static const struct option long_options[] = {
		{ "verify", required_argument, NULL, 'v' },
		{ "family", required_argument, NULL, 'f' },
		{ "trace", no_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, word;

	*s = (struct settings){ .options = { .family = -1, .out = stdout, .files = true } };
	optind = 0;
	while ((c = getopt_long(argc, argv, "vqh", long_options, NULL)) != -1) {
		switch (c) {
		case 'v':
			if (!optarg || !parse_word(verify_words, optarg, &word)) {
				fprintf(stderr, "anonvm: run: --verify is each, end or never\n");
				return -1;
			}
			s->options.verify = (enum script_verify)word;
			break;
		case 'f':
			if (!parse_word(family_words, optarg, &word)) {
				fprintf(stderr, "anonvm: run: --family is reuse, chain or flat\n");
				return -1;
			}
			s->options.family = word;
			break;
		case 't':
			s->options.trace = true;
			break;
		case 'j':
			s->json = true;
			break;
		case 'q':
			s->quiet = true;
			break;
		case 'h':
			s->help = true;
			return optind;
		default:
			return -1;
		}
	}
	if (optind == argc) {
		fprintf(stderr, "anonvm: run: no script; see 'anonvm run --help'\n");
		return -1;
	}
	return optind;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

#if AVM_HAVE_JANSSON

static json_t *json_counters(const uint64_t *values, int n, const char *(*name)(int))
{
	json_t *o = json_object();

	for (int i = 0; i < n; i++)
		json_object_set_new(o, name(i), json_integer((json_int_t)values[i]));
	return o;
}

static const char *event_name(int e)
{
	return avm_event_name((enum avm_event)e);
}

static const char *refusal_name(int r)
{
	return avm_refusal_name((enum avm_refusal)r);
}

static json_t *json_result(const char *path, const struct script_result *r)
{
	const struct avm_stats *st = &r->stats;
	json_t *o = json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I}", "file", path, "status",
			      r->status, "lines", (json_int_t)r->lines, "bytes_compared",
			      (json_int_t)r->loads, "verified", (json_int_t)r->verified,
			      "violations", (json_int_t)r->violations, "leaked",
			      (json_int_t)r->leaked);

	if (!o)
		return NULL;
	if (r->what)
		json_object_set_new(o, "failure", json_string(r->what));
	json_object_set_new(o, "vmas_peak", json_integer((json_int_t)st->vmas_peak));
	json_object_set_new(o, "anon_vmas_peak", json_integer((json_int_t)st->anon_vmas_peak));
	json_object_set_new(o, "avcs_peak", json_integer((json_int_t)st->avcs_peak));
	json_object_set_new(o, "metadata_bytes_peak",
			    json_integer((json_int_t)st->meta_bytes_peak));
	json_object_set_new(o, "events", json_counters(st->events, AVM_NR_EVENTS, event_name));
	json_object_set_new(o, "refused",
			    json_counters(st->refused, AVM_NR_REFUSALS, refusal_name));
	return o;
}

static void print_json(json_t *results)
{
	json_dumpf(results, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(results);
}

#endif

/* ---- running --------------------------------------------------------------------------------- */

static void report(const struct settings *s, const char *path, const struct script_result *r)
{
	if (r->status) {
		fprintf(stderr, "anonvm: %s\n", r->what ? r->what : path);
		return;
	}
	if (!s->quiet)
		fprintf(stderr,
			"%s: %llu lines as expected, %llu bytes compared, 0 violations, nothing leaked\n",
			path, (unsigned long long)r->lines, (unsigned long long)r->loads);
}

static void run_one(const struct settings *s, const char *path, struct script_result *r)
{
	char *error;
	struct script *script = script_load(path, &error);

	*r = (struct script_result){ 0 };
	if (!script) {
		r->status = EXIT_USAGE;
		r->what = error;
		return;
	}
	script_run(script, &s->options, r);
	script_free(script);
}

int cmd_run(int argc, char **argv)
{
	struct settings s;
	int first = parse_options(argc, argv, &s);
	int worst = EXIT_OK;

	if (first < 0)
		return EXIT_USAGE;
	if (s.help) {
		fputs(help, stdout);
		return EXIT_OK;
	}
#if AVM_HAVE_JANSSON
	json_t *results = json_array();
#else
	if (s.json) {
		fprintf(stderr, "anonvm: run: --json: built without jansson\n");
		return EXIT_USAGE;
	}
#endif
	if (s.json)
		s.options.out = NULL;
	for (int i = first; i < argc; i++) {
		struct script_result r;

		run_one(&s, argv[i], &r);
		report(&s, argv[i], &r);
		if (r.status > worst)
			worst = r.status;
#if AVM_HAVE_JANSSON
		json_array_append_new(results, json_result(argv[i], &r));
#endif
		script_result_free(&r);
	}
#if AVM_HAVE_JANSSON
	if (s.json)
		print_json(results);
	else
		json_decref(results);
#endif
	return worst;
}
