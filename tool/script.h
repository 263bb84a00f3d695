/* SPDX-License-Identifier: MIT */
/*
 * script.h - the scripts of `anonvm run`: one operation or one claim a line (docs/scripts.md has
 * the language).
 *
 * A script is parsed as a whole before anything runs. Running it makes a simulated machine,
 * performs the lines on the core, and compares: what the line expects, what the oracle says of each
 * access, the invariants, the contents of every page that is present, and at the end what was not
 * given back.
 */
#ifndef ANONVM_TOOL_SCRIPT_H
#define ANONVM_TOOL_SCRIPT_H

#include <stdio.h>

#include "anonvm/anonvm.h"
#include "graph.h"

struct script;

/*
 * Parses a script; `name` is for messages. Returns NULL when it is bad: *error is then "NAME:LINE:
 * what", which the caller frees. Any bytes are safe.
 */
struct script *script_parse(const char *name, const char *text, size_t len, char **error);
/* The same for a file; "-" is stdin. */
struct script *script_load(const char *path, char **error);
void script_free(struct script *s);

enum script_verify {
	SCRIPT_VERIFY_EACH, /* after each line */
	SCRIPT_VERIFY_END,
	SCRIPT_VERIFY_NEVER, /* only where a line says so */
};

struct script_picture {
	enum graph_format format;
	const char *path; /* NULL: the standard output */
};

struct script_options {
	enum script_verify verify;
	int family; /* enum avm_family_policy where the script names none; -1: the default */
	bool trace; /* print each line with its result */
	FILE *out; /* for `show` and trace; NULL: nowhere */
	bool files; /* files that a script names are written; without it `graph` does nothing, `swapon` takes its own */
	unsigned stop_at; /* lines behind this one are not performed; 0: all are */
	const struct script_picture *picture; /* of the machine as the script leaves it, or NULL */
};

struct script_result {
	int status; /* 0: as expected; 1: not; 2: the script names what does not exist */
	char *what; /* "NAME:LINE: ...", when status is not 0; freed by script_result_free() */
	uint64_t lines; /* performed */
	uint64_t loads; /* bytes compared with the oracle, by accesses */
	uint64_t verified; /* times the invariants were checked */
	uint64_t violations; /* of invariants, and of what the simulated machine checks */
	uint64_t leaked;
	struct avm_stats stats; /* of the machine at the end; zeroes when there was none */
};

void script_run(const struct script *s, const struct script_options *options,
		struct script_result *result);
void script_result_free(struct script_result *result);

#endif
