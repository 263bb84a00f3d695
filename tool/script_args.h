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

/* One argument of a kind (script_priv.h: the letters), and what people call the kind. */
const char *parse_arg(struct script *s, char kind, const struct token *t, struct script_arg *arg);
const char *kind_name(char kind);

/* Memory that lives as long as the script. */
void *script_keep(struct script *s, size_t size);
void *script_keep_copy(struct script *s, const void *from, size_t size);

#endif
