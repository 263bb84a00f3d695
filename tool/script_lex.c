/* SPDX-License-Identifier: MIT */
/*
 * script_lex.c - a line of a script into words, strings and equals signs.
 */
#include <string.h>

#include "script_priv.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* What follows a backslash; the number of characters it took, or 0. */
static size_t unescape(const char *s, size_t len, char *out)
{
	static const char from[] = "\\\"nt0";
	static const char to[] = "\\\"\n\t";

	if (len >= 3 && s[0] == 'x' && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0) {
		*out = (char)(hex_digit(s[1]) * 16 + hex_digit(s[2]));
		return 3;
	}
	for (size_t i = 0; len && from[i]; i++) {
		if (s[0] == from[i]) {
			*out = to[i];
			return 1;
		}
	}
	return 0;
}

/* The string that begins at s[0] == '"'; the number of characters, or 0. */
static size_t take_string(const char *s, size_t len, char *out, size_t *out_len)
{
	size_t n = 0;

	for (size_t i = 1; i < len; i++) {
		if (s[i] == '"') {
			*out_len = n;
			return i + 1;
		}
		if (s[i] != '\\') {
			out[n++] = s[i];
			continue;
		}

		size_t took = unescape(s + i + 1, len - i - 1, &out[n++]);

		if (!took)
			return 0;
		i += took;
	}
	return 0;
}

static size_t take_word(const char *s, size_t len, char *out)
{
	size_t n = 0;

	while (n < len && !is_blank(s[n]) && s[n] != '=' && s[n] != '"' && s[n] != '#') {
		out[n] = s[n];
		n++;
	}
	return n;
}

const char *script_tokens(const char *line, size_t len, struct tokens *out)
{
	char *text = out->text;
	size_t i = 0;

	out->n = 0;
	if (len > SCRIPT_LINE_MAX)
		return "the line is too long";
	for (size_t k = 0; k < len; k++) {
		if ((unsigned char)line[k] < ' ' && !is_blank(line[k]))
			return "a control character";
	}
	while (i < len) {
		struct token *t = &out->v[out->n];
		size_t took = 1;

		if (is_blank(line[i])) {
			i++;
			continue;
		}
		if (line[i] == '#')
			break;
		if (out->n == SCRIPT_TOKENS_MAX)
			return "too many words";
		t->text = text;
		t->len = 0;
		if (line[i] == '=') {
			t->kind = TOKEN_EQUALS;
		} else if (line[i] == '"') {
			t->kind = TOKEN_STRING;
			took = take_string(line + i, len - i, text, &t->len);
			if (!took)
				return "a string without end, or a bad escape";
		} else {
			t->kind = TOKEN_WORD;
			took = t->len = take_word(line + i, len - i, text);
		}
		/* A text is no longer than what it was taken from, and a NUL for each token. */
		text += t->len;
		*text++ = '\0';
		out->n++;
		i += took;
	}
	return NULL;
}
