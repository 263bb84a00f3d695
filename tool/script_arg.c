/* SPDX-License-Identifier: MIT */
/*
 * script_arg.c - an argument of a line by the letter of its kind, and the memory that a script keeps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script_args.h"

/* Memory that lives as long as the script. */
struct block {
	struct block *next;
	max_align_t data[];
};

void *script_keep(struct script *s, size_t size)
{
	struct block *b = calloc(1, sizeof(*b) + size);

	if (!b) {
		fprintf(stderr, "anonvm: out of memory\n");
		exit(2);
	}
	b->next = s->blocks;
	s->blocks = b;
	return b->data;
}

void *script_keep_copy(struct script *s, const void *from, size_t size)
{
	void *to = script_keep(s, size ? size : 1);

	if (size)
		memcpy(to, from, size);
	return to;
}

static const char *parse_backing(const char *word, struct script_addr *out)
{
	*out = (struct script_addr){ 0 };
	return strcmp(word, "anon") ? parse_addr(word, out) : NULL;
}

static const char *parse_advice(const char *word, uint64_t *out)
{
	const struct script_word *advice = script_find_word(script_advice, word);

	if (!advice) {
		const char *wrong = parse_number(word, out);

		return !wrong && *out <= INT32_MAX ? NULL : "not an advice";
	}
	*out = advice->value;
	return NULL;
}

static const char *parse_path(struct script *s, const struct token *t, const char **out)
{
	if (!t->len || memchr(t->text, '\0', t->len))
		return "a text without NULs is wanted here";
	*out = script_keep_copy(s, t->text, t->len + 1);
	return NULL;
}

const char *parse_arg(struct script *s, char kind, const struct token *t, struct script_arg *arg)
{
	const char *wrong;

	*arg = (struct script_arg){ .kind = kind };
	if (kind == 'V') {
		arg->value = script_keep(s, sizeof(*arg->value));
		return parse_value(t, arg->value);
	}
	if (kind == 'T' && t->kind != TOKEN_EQUALS)
		return parse_path(s, t, &arg->text);
	if (t->kind != TOKEN_WORD)
		return "a word is wanted here";
	switch (kind) {
	case 'A':
		return parse_addr(t->text, &arg->addr);
	case 'F':
		wrong = parse_addr(t->text, &arg->addr);
		return wrong || !arg->addr.label.text[0] ? "not a file: NAME, NAME+PAGE" : NULL;
	case 'B':
		wrong = parse_backing(t->text, &arg->addr);
		return wrong ? "not anon, nor a file: NAME, NAME+PAGE" : NULL;
	case 'L':
		return parse_length(t->text, &arg->number);
	case 'N':
		return parse_number(t->text, &arg->number);
	case 'P':
		return parse_prot(t->text, &arg->number);
	case 'a':
		return parse_access(t->text, &arg->number);
	case 'D':
		return parse_advice(t->text, &arg->number);
	case 'p':
		return parse_name(t->text, t->len, &arg->name);
	case 'R':
		arg->range = script_keep(s, sizeof(*arg->range));
		return parse_range(t->text, arg->range);
	case 'M':
		arg->range = script_keep(s, sizeof(*arg->range));
		return parse_map(t->text, arg->range);
	default:
		return "not understood";
	}
}

const char *kind_name(char kind)
{
	switch (kind) {
	case 'A':
		return "an address";
	case 'F':
		return "a file";
	case 'B':
		return "anon or a file";
	case 'L':
		return "a length";
	case 'N':
		return "a number";
	case 'P':
		return "a protection";
	case 'V':
		return "a value";
	case 'a':
		return "an access (r, w, x)";
	case 'D':
		return "an advice";
	case 'p':
		return "a process";
	case 'R':
		return "a range";
	case 'T':
		return "a text";
	default:
		return "a mapping";
	}
}

void script_free(struct script *s)
{
	if (!s)
		return;
	while (s->blocks) {
		struct block *next = s->blocks->next;

		free(s->blocks);
		s->blocks = next;
	}
	free(s->lines);
	free(s);
}
