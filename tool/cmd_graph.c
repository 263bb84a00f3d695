/* SPDX-License-Identifier: MIT */
/*
 * cmd_graph.c - `anonvm graph FILE.avm`: runs a script and draws the machine as it leaves it.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "script.h"

static const char help[] =
	"usage: anonvm graph [OPTION...] FILE.avm\n"
	"\n"
	"Runs a script as `anonvm run` does and draws the machine at its end: processes, their VMAs, the\n"
	"chain of each VMA, anon_vmas, and pages on the anon_vma that they name. What must not be is red.\n"
	"docs/graph.md says how to read the picture; '-' is the standard input.\n"
	"\n"
	"  -o, --output=OUT          write to OUT, not to the standard output\n"
	"  --format=dot|svg          DOT (default), or SVG, through Graphviz (default for OUT.svg)\n"
	"  --stop-at=LINE            draw the machine after this line of the script\n"
	"  --family=reuse|chain|flat how families grow, for scripts whose machine line does not say\n"
	"  -h, --help                this text\n"
	"\n"
	"exit status: 0 drawn, and all as expected; 1 drawn, but the script was not as expected; 2 bad usage,\n"
	"a bad script, or no picture\n";

struct settings {
	struct script_options options;
	struct script_picture picture;
	bool format_given, help;
};

static int bad(const char *what)
{
	fprintf(stderr, "anonvm: graph: %s\n", what);
	return -1;
}

static int parse_format(const char *arg, struct settings *s)
{
	s->format_given = true;
	if (!strcmp(arg, "dot"))
		s->picture.format = GRAPH_DOT;
	else if (!strcmp(arg, "svg"))
		s->picture.format = GRAPH_SVG;
	else
		return bad("--format is dot or svg");
	return 0;
}

static int parse_line(const char *arg, unsigned *out)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(arg, &end, 10);
	if (errno || *end || *arg < '0' || *arg > '9' || !n || n > UINT_MAX)
		return bad("--stop-at is the number of a line");
	*out = (unsigned)n;
	return 0;
}

static int parse_family(const char *arg, int *out)
{
	static const char *const words[] = { "reuse", "chain", "flat" };

	for (int i = 0; i < 3; i++) {
		if (!strcmp(words[i], arg)) {
			*out = i;
			return 0;
		}
	}
	return bad("--family is reuse, chain or flat");
}

static int parse_option(int c, struct settings *s)
{
	switch (c) {
	case 'o':
		s->picture.path = optarg;
		return 0;
	case 'F':
		return parse_format(optarg, s);
	case 's':
		return parse_line(optarg, &s->options.stop_at);
	case 'f':
		return parse_family(optarg, &s->options.family);
	case 'h':
		s->help = true;
		return 0;
	default:
		return -1; /* getopt has said why */
	}
}

/* Returns the first argument that is not an option, or -1. */
static int parse_options(int argc, char **argv, struct settings *s)
{
	static const struct option long_options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "format", required_argument, NULL, 'F' },
		{ "stop-at", required_argument, NULL, 's' },
		{ "family", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	*s = (struct settings){ .options = { .family = -1, .files = true } };
	optind = 0;
	while ((c = getopt_long(argc, argv, "o:h", long_options, NULL)) != -1) {
		if (parse_option(c, s))
			return -1;
		if (s->help)
			return optind;
	}
	if (optind == argc)
		return bad("no script; see 'anonvm graph --help'");
	if (optind + 1 < argc)
		return bad("one script at a time; see 'anonvm graph --help'");
	if (s->picture.path && !strcmp(s->picture.path, "-"))
		s->picture.path = NULL;
	if (!s->format_given && s->picture.path)
		s->picture.format = graph_format_of(s->picture.path);
	s->options.picture = &s->picture;
	return optind;
}

int cmd_graph(int argc, char **argv)
{
	struct settings s;
	int first = parse_options(argc, argv, &s);
	struct script_result r;
	struct script *script;
	char *error;

	if (first < 0)
		return EXIT_USAGE;
	if (s.help) {
		fputs(help, stdout);
		return EXIT_OK;
	}
	script = script_load(argv[first], &error);
	if (!script) {
		fprintf(stderr, "anonvm: %s\n", error ? error : argv[first]);
		free(error);
		return EXIT_USAGE;
	}
	script_run(script, &s.options, &r);
	script_free(script);
	if (r.status)
		fprintf(stderr, "anonvm: %s\n", r.what ? r.what : argv[first]);
	script_result_free(&r);
	return r.status;
}
