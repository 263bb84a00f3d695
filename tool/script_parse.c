/* SPDX-License-Identifier: MIT */
/*
 * script_parse.c - the text of a script into lines, by the table of operations.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script_args.h"

#define ARGS_MAX 256
#define LOOPS_MAX 8
#define LINES_MAX 200000

/* ---- one line -------------------------------------------------------------------------------- */

struct parser {
	struct script *script;
	struct script_line line;
	struct tokens tokens;
	size_t at;
	struct script_arg args[ARGS_MAX];
	size_t nr_args;
	struct {
		size_t first; /* line */
		uint64_t times;
		unsigned number;
	} loops[LOOPS_MAX]; /* that have not ended */
	size_t nr_loops;
	unsigned number; /* of the line */
	char error[256];
};

__attribute__((format(printf, 2, 3))) static bool bad(struct parser *p, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(p->error, sizeof(p->error), format, list);
	va_end(list);
	/* What is quoted from a script goes to a terminal. */
	for (char *c = p->error; *c; c++) {
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
			*c = '?';
	}
	return false;
}

static bool bad_token(struct parser *p, const struct token *t, const char *wrong)
{
	return bad(p, "%.40s: %s", t->text, wrong);
}

static const struct token *peek(struct parser *p)
{
	return p->at < p->tokens.n ? &p->tokens.v[p->at] : NULL;
}

static bool next_is_word(struct parser *p, const char *word)
{
	const struct token *t = peek(p);

	return t && t->kind == TOKEN_WORD && (!word || !strcmp(t->text, word));
}

static bool take_arg(struct parser *p, char kind)
{
	const struct token *t = peek(p);
	const char *wrong;

	if (!t || next_is_word(p, "expect"))
		return bad(p, "%s is missing", kind_name(kind));
	if (p->nr_args == ARGS_MAX)
		return bad(p, "too many arguments");
	wrong = parse_arg(p->script, kind, t, &p->args[p->nr_args]);
	if (wrong)
		return bad_token(p, t, wrong);
	p->nr_args++;
	p->at++;
	return true;
}

/* {one|two}: the index of the word. */
static bool take_choice(struct parser *p, const char *choice, size_t len)
{
	const struct token *t = peek(p);
	uint64_t index = 0;

	if (!t || t->kind != TOKEN_WORD)
		return bad(p, "one of %.*s is missing", (int)len, choice);
	for (size_t i = 0; i < len; index++) {
		size_t n = strcspn(choice + i, "|}");

		if (n == t->len && !memcmp(choice + i, t->text, n)) {
			p->args[p->nr_args++] = (struct script_arg){ .kind = 'w', .number = index };
			p->at++;
			return true;
		}
		i += n + 1;
	}
	return bad(p, "%.40s: not one of %.*s", t->text, (int)len, choice);
}

/* Would the next token do for this kind? */
static bool fits(struct parser *p, char kind)
{
	const struct token *t = peek(p);
	struct script_arg arg;

	return t && !next_is_word(p, "expect") && !parse_arg(p->script, kind, t, &arg);
}

/* The arguments of the signature up to its end. */
static bool take_args(struct parser *p, const char *signature)
{
	for (const char *s = signature; *s; s++) {
		if (*s == ' ')
			continue;
		if (*s == '{') {
			size_t len = strcspn(s + 1, "}");

			if (!take_choice(p, s + 1, len))
				return false;
			s += len + 1;
			continue;
		}
		if (*s == '?') {
			s++;
			if (fits(p, *s) && !take_arg(p, *s))
				return false;
			continue;
		}
		if (*s == '*') {
			while (fits(p, s[1])) {
				for (const char *k = s + 1; *k; k++) {
					if (!take_arg(p, *k))
						return false;
				}
			}
			return true;
		}
		if (!take_arg(p, *s))
			return false;
	}
	return true;
}

/* ---- options --------------------------------------------------------------------------------- */

/* The entry of the keyword in "one two:LETTERS three", or NULL. */
static const char *find_option(const char *options, const struct token *t)
{
	for (const char *o = options; o && *o; o += strspn(o, " ")) {
		size_t n = strcspn(o, " :");

		if (n == t->len && !memcmp(o, t->text, n))
			return o;
		o += strcspn(o, " ");
	}
	return NULL;
}

#define OPTIONS_MAX 64

static bool take_options(struct parser *p)
{
	const char *allowed = p->line.op->options;
	struct script_option options[OPTIONS_MAX];
	size_t firsts[OPTIONS_MAX];
	size_t n = 0;

	while (peek(p) && !next_is_word(p, "expect")) {
		const struct token *t = peek(p);
		const char *o = t->kind == TOKEN_WORD ? find_option(allowed, t) : NULL;

		if (!o)
			return bad_token(p, t, "not understood here");
		if (n == OPTIONS_MAX)
			return bad(p, "too many options");
		firsts[n] = p->nr_args;
		options[n++].keyword = o;
		p->at++;
		if (peek(p) && peek(p)->kind == TOKEN_EQUALS)
			p->at++;
		o += strcspn(o, " :");
		for (; *o == ':' || (*o && *o != ' '); o++) {
			if (*o != ':' && !take_arg(p, *o))
				return false;
		}
	}
	p->line.args = script_keep_copy(p->script, p->args, p->nr_args * sizeof(p->args[0]));
	p->line.nr_args = p->nr_args;
	for (size_t i = 0; i < n; i++)
		options[i].args = p->line.args + firsts[i];
	p->line.options = script_keep_copy(p->script, options, n * sizeof(options[0]));
	p->line.nr_options = n;
	return true;
}

const struct script_option *script_option(const struct script_line *line, const char *keyword)
{
	size_t len = strlen(keyword);

	for (size_t i = 0; i < line->nr_options; i++) {
		const char *o = line->options[i].keyword;

		if (strcspn(o, " :") == len && !memcmp(o, keyword, len))
			return &line->options[i];
	}
	return NULL;
}

bool script_has(const struct script_line *line, const char *keyword)
{
	return script_option(line, keyword) != NULL;
}

uint64_t script_number(const struct script_line *line, const char *keyword, uint64_t otherwise)
{
	const struct script_option *o = script_option(line, keyword);

	return o ? o->args[0].number : otherwise;
}

/* ---- expect ---------------------------------------------------------------------------------- */

/* A word, or a word and its argument. */
static bool take_want(struct parser *p, struct script_expect *e)
{
	const struct token *t = peek(p);
	const struct script_word *word;

	p->at++;
	if (t->kind == TOKEN_STRING ||
	    (t->kind == TOKEN_WORD && t->text[0] >= '0' && t->text[0] <= '9')) {
		const char *wrong;

		e->value = script_keep(p->script, sizeof(*e->value));
		wrong = parse_value(t, e->value);
		return !wrong || bad_token(p, t, wrong);
	}
	if (t->kind != TOKEN_WORD)
		return bad_token(p, t, "not something to expect");
	if (!strcmp(t->text, "at") || !strcmp(t->text, "count")) {
		struct script_arg arg;
		bool at = t->text[0] == 'a';

		if (!take_arg(p, at ? 'A' : 'N'))
			return false;
		arg = p->args[--p->nr_args];
		e->at_given |= at;
		e->count_given |= !at;
		if (at)
			e->at = arg.addr;
		else
			e->count = arg.number;
		return true;
	}
	if (!strcmp(t->text, "unchanged"))
		return e->unchanged = true;
	if (!strcmp(t->text, "any"))
		return e->any = true;
	if (!strcmp(t->text, "none"))
		return e->faults_given = true;
	word = script_find_word(script_errnos, t->text);
	if (word) {
		e->error = -(int)word->value;
		return true;
	}
	word = script_find_word(script_signals, t->text);
	if (word) {
		e->signal = (unsigned)word->value;
		return true;
	}
	word = script_find_word(script_faults, t->text);
	if (!word)
		return bad_token(p, t, "not something to expect");
	e->faults_given = true;
	e->faults |= (unsigned)word->value;
	return true;
}

static bool take_expect(struct parser *p)
{
	struct script_expect *e = &p->line.expect;

	if (!peek(p))
		return true;
	p->at++;
	if (p->line.op->flags & OP_CLAIM)
		return bad(p, "%s takes no expect: it is a claim itself", p->line.op->name);
	if (!peek(p))
		return bad(p, "expect what?");
	e->given = true;
	while (peek(p)) {
		if (!take_want(p, e))
			return false;
	}
	return true;
}

/* ---- the whole line -------------------------------------------------------------------------- */

/* "A:" and "heap =". */
static bool take_prefix(struct parser *p)
{
	const struct token *t = peek(p);
	const char *wrong;

	if (t->kind == TOKEN_WORD && t->len > 1 && t->text[t->len - 1] == ':') {
		wrong = parse_name(t->text, t->len - 1, &p->line.proc);
		if (wrong)
			return bad_token(p, t, wrong);
		p->at++;
	}
	t = peek(p);
	if (!t || t->kind != TOKEN_WORD || p->at + 1 >= p->tokens.n ||
	    p->tokens.v[p->at + 1].kind != TOKEN_EQUALS)
		return true;
	wrong = parse_name(t->text, t->len, &p->line.label);
	if (wrong)
		return bad_token(p, t, wrong);
	p->at += 2;
	return true;
}

static bool take_op(struct parser *p)
{
	const struct token *t = peek(p);
	const struct script_op *op = script_ops;

	if (!t || t->kind != TOKEN_WORD)
		return bad(p, "an operation is missing");
	while (op->name && strcmp(op->name, t->text) != 0)
		op++;
	if (!op->name)
		return bad_token(p, t, "no such operation");
	if ((op->flags & OP_PROC) && !p->line.proc.text[0])
		return bad(p, "%s wants a process in front, like A: %s", op->name, op->name);
	if (!(op->flags & OP_PROC) && p->line.proc.text[0])
		return bad(p, "%s wants no process in front", op->name);
	if (!(op->flags & OP_LABEL) && p->line.label.text[0])
		return bad(p, "%s gives no address to %s", op->name, p->line.label.text);
	p->line.op = op;
	p->at++;
	return true;
}

/* ---- repeat ---------------------------------------------------------------------------------- */

static void add_line(struct script *s, const struct script_line *line)
{
	if (s->n == s->room) {
		size_t room = s->room ? s->room * 2 : 32;
		struct script_line *grown = reallocarray(s->lines, room, sizeof(*grown));

		if (!grown) {
			fprintf(stderr, "anonvm: out of memory\n");
			exit(2);
		}
		s->lines = grown;
		s->room = room;
	}
	s->lines[s->n++] = *line;
}

/* repeat N { */
static bool begin_loop(struct parser *p)
{
	uint64_t times;

	if (p->tokens.n != 3 || strcmp(p->tokens.v[2].text, "{") != 0 ||
	    parse_number(p->tokens.v[1].text, &times))
		return bad(p, "repeat wants a number and {");
	if (!times || times > LINES_MAX)
		return bad(p, "repeat: between 1 and %u times", LINES_MAX);
	if (p->nr_loops == LOOPS_MAX)
		return bad(p, "too many repeats within each other");
	p->loops[p->nr_loops].first = p->script->n;
	p->loops[p->nr_loops].number = p->number;
	p->loops[p->nr_loops++].times = times;
	return true;
}

/* The lines since are there as often as they are to be performed. */
static bool end_loop(struct parser *p)
{
	struct script *s = p->script;
	size_t first, n;
	uint64_t times;

	if (p->tokens.n != 1 || !p->nr_loops)
		return bad(p, "} ends no repeat");
	first = p->loops[--p->nr_loops].first;
	times = p->loops[p->nr_loops].times;
	n = s->n - first;
	if (first + n * times > LINES_MAX)
		return bad(p, "repeat: more than %u lines", LINES_MAX);
	for (size_t i = n; i < n * times; i++) {
		struct script_line line = s->lines[first + i % n];

		add_line(s, &line);
	}
	return true;
}

static bool parse_line(struct parser *p, const char *text, size_t len)
{
	const char *wrong = script_tokens(text, len, &p->tokens);

	p->at = 0;
	p->nr_args = 0;
	if (wrong)
		return bad(p, "%s", wrong);
	if (!p->tokens.n)
		return true;
	if (p->tokens.v[0].kind == TOKEN_WORD && !strcmp(p->tokens.v[0].text, "repeat"))
		return begin_loop(p);
	if (p->tokens.v[0].kind == TOKEN_WORD && !strcmp(p->tokens.v[0].text, "}"))
		return end_loop(p);
	return take_prefix(p) && take_op(p) && take_args(p, p->line.op->args) && take_options(p) &&
	       take_expect(p);
}

/* The text of a line without the blanks around it, printable. */
static char *line_text(struct script *s, const char *text, size_t len)
{
	char *copy;

	while (len && (*text == ' ' || *text == '\t')) {
		text++;
		len--;
	}
	while (len && strchr(" \t\r", text[len - 1]))
		len--;
	copy = script_keep(s, len + 1);
	for (size_t i = 0; i < len; i++)
		copy[i] = (unsigned char)text[i] >= ' ' && (unsigned char)text[i] < 0x7f ? text[i] :
											   '?';
	return copy;
}

static bool parse_text(struct parser *p, const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		const char *end = memchr(text + i, '\n', len - i);
		size_t n = end ? (size_t)(end - (text + i)) : len - i;

		p->line = (struct script_line){ .number = ++p->number };
		if (!parse_line(p, text + i, n))
			return false;
		if (p->line.op) {
			p->line.text = line_text(p->script, text + i, n);
			add_line(p->script, &p->line);
		}
		i += n + 1;
	}
	if (!p->nr_loops)
		return true;
	p->number = p->loops[p->nr_loops - 1].number;
	return bad(p, "repeat without }");
}

struct script *script_parse(const char *name, const char *text, size_t len, char **error)
{
	struct script *s = calloc(1, sizeof(*s));
	struct parser *p = calloc(1, sizeof(*p));

	*error = NULL;
	if (!s || !p) {
		fprintf(stderr, "anonvm: out of memory\n");
		exit(2);
	}
	p->script = s;
	s->name = script_keep_copy(s, name, strlen(name) + 1);
	if (!parse_text(p, text, len)) {
		if (asprintf(error, "%s:%u: %s", name, p->number, p->error) < 0)
			*error = NULL;
		script_free(s);
		s = NULL;
	}
	free(p);
	return s;
}
