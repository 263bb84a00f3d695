/* SPDX-License-Identifier: MIT */
/*
 * replay.c - `anonvm replay TRACE`: runs a recorded program again on the core, and reports.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "replay.h"
#include "scratch.h"

static const char help[] =
	"usage: anonvm replay [OPTION...] TRACE\n"
	"\n"
	"Run what TRACE recorded again, through the core on the simulated machine: each mapping, fault,\n"
	"fork, exec and exit. Then say what the families, merges and copies came to, check the\n"
	"invariants, and compare with what the real kernel did. TRACE is the text of `perf script`\n"
	"(`anonvm record` writes it), a perf.data file, or a log of `strace -f -ttt -y`; it may be\n"
	"compressed. '-' is the standard input.\n"
	"\n"
	"      --verify=end|each|never   check the invariants at the end (default), after each change,\n"
	"                                or not\n"
	"      --family=reuse|chain|flat how families grow (default reuse)\n"
	"      --frames=N|N%             size of the machine, in frames (default 1048576), or in percent\n"
	"                                of what the trace needs\n"
	"      --swap=N|auto             swap, in pages; the trace is replayed with memory enough first,\n"
	"                                and the contents of pages are compared\n"
	"      --swap-kind=KIND          memory (default), file, zstd, lz4\n"
	"      --stop=N                  stop after event N\n"
	"      --touch=first|none|all    traces without faults: touch the first page of each new\n"
	"                                mapping (default), no page, or all\n"
	"      --explain                 each difference from the recording, on stderr\n"
	"      --strict                  exit status 1 also when the fidelity is below its bars\n"
	"      --top=N                   rows of the table of address spaces (default 10)\n"
	"      --json                    the report as JSON\n"
	"  -q, --quiet                   no progress\n"
	"  -h, --help                    this text\n"
	"\n"
	"exit status: 0 success; 1 an invariant is violated, something leaked, or (--strict) the replay\n"
	"is not faithful; 2 bad usage or a bad trace\n";

static const char *const verify_words[] = { "end", "each", "never", NULL };
/* For the tests of the measure; not in the help. */
static const char *const wrong_words[] = { "none",	     "maps-nothing",
					   "mprotect-drops", "dontfork-zaps",
					   "mremap-loses",   "store-is-lost",
					   "swap-fails",     NULL };
const char *const replay_family_words[] = { "reuse", "chain", "flat", NULL };
const char *const replay_touch_words[] = { "first", "none", "all", NULL };

struct settings {
	struct replay_config config;
	unsigned top;
	bool json, strict, quiet, help;
	uint64_t percent; /* of the peak; 0: config.frames */
	bool swap_auto;
};

int replay_word(const char *const *words, const char *arg)
{
	for (int i = 0; words[i]; i++) {
		if (!strcmp(words[i], arg))
			return i;
	}
	return -1;
}

static bool parse_number(const char *arg, uint64_t *out)
{
	char *end;

	if (*arg < '0' || *arg > '9')
		return false;
	*out = strtoull(arg, &end, 0);
	return !*end;
}

static bool parse_frames(const char *arg, struct settings *s)
{
	char number[24];
	size_t len = strlen(arg);

	s->percent = 0;
	if (len < 2 || arg[len - 1] != '%')
		return parse_number(arg, &s->config.frames) && s->config.frames &&
		       s->config.frames <= UINT64_C(1) << 32;
	snprintf(number, sizeof(number), "%.*s", (int)len - 1, arg);
	return parse_number(number, &s->percent) && s->percent && s->percent <= 1000;
}

static bool parse_swap(const char *arg, struct settings *s)
{
	uint64_t n = 0;

	s->swap_auto = !strcmp(arg, "auto");
	if (s->swap_auto)
		return true;
	if (!parse_number(arg, &n) || !n || n >= UINT32_MAX)
		return false;
	s->config.swap_slots = (uint32_t)n;
	return true;
}

static bool parse_option(int c, const char *arg, struct settings *s)
{
	uint64_t n = 0;
	int word = 0;

	switch (c) {
	case 'v':
		word = replay_word(verify_words, arg);
		s->config.verify = (enum replay_verify)word;
		return word >= 0;
	case 'f':
		word = replay_word(replay_family_words, arg);
		s->config.family = (enum avm_family_policy)word;
		return word >= 0;
	case 't':
		word = replay_word(replay_touch_words, arg);
		s->config.touch = (enum replay_touch)word;
		return word >= 0;
	case 'w':
		word = replay_word(wrong_words, arg);
		s->config.wrong = (enum replay_wrong)word;
		return word >= 0;
	case 'n':
		return parse_frames(arg, s);
	case 'p':
		return parse_swap(arg, s);
	case 'k':
		word = replay_word(scratch_swap_kinds, arg);
		s->config.swap_kind = (enum sim_swap_kind)word;
		return word >= 0;
	case 's':
		return parse_number(arg, &s->config.stop) && s->config.stop;
	case 'T':
		if (!parse_number(arg, &n) || n > 1000000)
			return false;
		s->top = (unsigned)n;
		return true;
	default:
		return false;
	}
}

/* => index of the first argument that is no option, or -1 */
static int parse_options(int argc, char **argv, struct settings *s)
{
	static const struct option options[] = {
		{ "verify", required_argument, NULL, 'v' },
		{ "family", required_argument, NULL, 'f' },
		{ "touch", required_argument, NULL, 't' },
		{ "wrong-model", required_argument, NULL, 'w' },
		{ "frames", required_argument, NULL, 'n' },
		{ "swap", required_argument, NULL, 'p' },
		{ "swap-kind", required_argument, NULL, 'k' },
		{ "stop", required_argument, NULL, 's' },
		{ "top", required_argument, NULL, 'T' },
		{ "explain", no_argument, NULL, 'e' },
		{ "strict", no_argument, NULL, 'S' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, which = 0;

	optind = 0; /* anew, whatever was parsed before */
	while ((c = getopt_long(argc, argv, "qh", options, &which)) != -1) {
		if (c == 'j')
			s->json = true;
		else if (c == 'e')
			s->config.explain = true;
		else if (c == 'S')
			s->strict = true;
		else if (c == 'q')
			s->quiet = true;
		else if (c == 'h')
			s->help = true;
		else if (c == '?')
			return -1;
		else if (!parse_option(c, optarg, s)) {
			fprintf(stderr, "anonvm: replay: --%s: not %s\n", options[which].name,
				optarg);
			return -1;
		}
	}
	return optind;
}

static int bad_trace(const struct replay *r, int rc)
{
	const struct trace_stats *st = trace_stats(r->trace);

	for (unsigned i = 0; i < TRACE_COMPLAINTS && trace_complaint(r->trace, i); i++)
		fprintf(stderr, "anonvm: replay: %s\n", trace_complaint(r->trace, i));
	if (st->bad_lines > TRACE_COMPLAINTS)
		fprintf(stderr, "anonvm: replay: ... and %llu bad lines more\n",
			(unsigned long long)(st->bad_lines - TRACE_COMPLAINTS));
	if (rc < 0)
		fprintf(stderr, "anonvm: replay: %s\n", trace_error(r->trace));
	return rc < 0 || st->bad_lines ? EXIT_USAGE : EXIT_OK;
}

static int report(const struct replay *r, const struct settings *s, int rc)
{
	char why[256];
	int status;

	if (!s->json)
		report_text(r, s->top);
	else if (report_json(r, s->top))
		return EXIT_USAGE;
	status = bad_trace(r, rc);
	if (status)
		return status;
	if (r->violations || r->leaked || r->compared.wrong)
		return EXIT_FAILED;
	if (s->strict && !r->config.contents && !replay_good(r, why, sizeof(why))) {
		fprintf(stderr, "anonvm: replay: %s\n", why);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

/*
 * With memory enough: how much that is, and what the pages contain. => EXIT_OK, and the settings are those of the
 * replay that counts.
 */
static int measure(struct settings *s)
{
	struct replay_config config = s->config;
	char err[TRACE_ERR_MAX];
	struct replay *r;
	uint64_t peak;
	int status;

	config.frames = 0;
	config.swap_slots = 0;
	config.verify = REPLAY_VERIFY_NEVER;
	config.explain = false;
	config.contents = s->config.contents = contents_new();
	r = replay_new(&config, err);
	if (!r) {
		fprintf(stderr, "anonvm: replay: %s\n", err);
		return EXIT_USAGE;
	}
	status = bad_trace(r, replay_run(r));
	peak = r->frames_peak;
	replay_free(r);
	if (s->percent)
		s->config.frames = peak * s->percent / 100 + 1;
	if (s->swap_auto)
		s->config.swap_slots = peak < UINT32_MAX / 4 ? (uint32_t)(2 * peak + 64) :
							       UINT32_MAX / 2;
	contents_compare(s->config.contents);
	return status;
}

static int replay(struct settings *s)
{
	char err[TRACE_ERR_MAX];
	struct replay *r;
	int status = EXIT_OK;

	if (s->percent || s->swap_auto || s->config.swap_slots) {
		if (!strcmp(s->config.path, "-")) {
			fprintf(stderr,
				"anonvm: replay: a trace that is read twice cannot be '-'\n");
			return EXIT_USAGE;
		}
		status = measure(s);
	}
	if (status)
		return status;
	r = replay_new(&s->config, err);
	if (!r) {
		fprintf(stderr, "anonvm: replay: %s\n", err);
		return EXIT_USAGE;
	}
	status = report(r, s, replay_run(r));
	replay_free(r);
	return status;
}

int cmd_replay(int argc, char **argv)
{
	struct settings s = { .top = 10 };
	int first = parse_options(argc, argv, &s), status;

	if (s.help && first >= 0) {
		fputs(help, stdout);
		return EXIT_OK;
	}
	if (first < 0 || argc - first != 1) {
		if (first >= 0)
			fprintf(stderr, "anonvm: replay: one trace, please\n");
		fprintf(stderr, "anonvm: replay: see 'anonvm replay --help'\n");
		return EXIT_USAGE;
	}
#if !AVM_HAVE_JANSSON
	if (s.json) {
		fprintf(stderr, "anonvm: replay: --json: built without jansson\n");
		return EXIT_USAGE;
	}
#endif
	s.config.path = argv[first];
	s.config.progress = !s.quiet && !s.json && isatty(STDERR_FILENO);
	status = replay(&s);
	contents_free(s.config.contents);
	return status;
}
