/* SPDX-License-Identifier: MIT */
/*
 * script_args.h - words of a script into numbers, addresses, ranges. Each function returns NULL, or
 * what is wrong with the word.
 */
#ifndef ANONVM_TOOL_SCRIPT_ARGS_H
#define ANONVM_TOOL_SCRIPT_ARGS_H

#include "script_priv.h"

const char *parse_name(const char *word, size_t len, struct script_name *out);
const char *parse_number(const char *word, uint64_t *out);
const char *
parse_length(const char *word,
	     uint64_t *out); /* in bytes: "4" is pages, "4b" bytes, "4k" ...; "-1" wraps */
const char *parse_addr(const char *word, struct script_addr *out);
const char *parse_prot(const char *word, uint64_t *out);
const char *parse_access(const char *word, uint64_t *out);
const char *parse_range(const char *word, struct script_range *out); /* no permissions */
const char *parse_map(const char *word, struct script_range *out);
const char *parse_value(const struct token *t, struct script_value *out);

#endif
