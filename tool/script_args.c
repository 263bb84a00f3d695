/* SPDX-License-Identifier: MIT */
/*
 * script_args.c - words of a script into numbers, addresses, ranges.
 */
#include <string.h>

#include "script_args.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Characters of a name at the start of a word. */
static size_t name_len(const char *word)
{
	size_t n = 0;

	if (!is_name_start(word[0]))
		return 0;
	while (is_name_start(word[n]) || is_digit(word[n]))
		n++;
	return n;
}

const char *parse_name(const char *word, size_t len, struct script_name *out)
{
	if (!len || name_len(word) != len)
		return "not a name (letters, digits and _, not a digit first)";
	if (len > SCRIPT_NAME_MAX)
		return "name too long";
	memcpy(out->text, word, len);
	out->text[len] = '\0';
	return NULL;
}

static int digit_of(char c, uint64_t base)
{
	int digit = -1;

	if (is_digit(c))
		digit = c - '0';
	else if (c >= 'a' && c <= 'f')
		digit = c - 'a' + 10;
	else if (c >= 'A' && c <= 'F')
		digit = c - 'A' + 10;
	return digit >= 0 && (uint64_t)digit < base ? digit : -1;
}

/* The number at the start of *word, which moves behind it. */
static const char *take_number(const char **word, uint64_t *out)
{
	const char *p = *word;
	uint64_t base = 10;
	uint64_t n = 0;

	if (p[0] == '0' && p[1] == 'x') {
		base = 16;
		p += 2;
	}
	if (digit_of(*p, base) < 0)
		return "not a number";
	for (; digit_of(*p, base) >= 0; p++) {
		uint64_t digit = (uint64_t)digit_of(*p, base);

		if (n > (UINT64_MAX - digit) / base)
			return "number too large";
		n = n * base + digit;
	}
	*word = p;
	*out = n;
	return NULL;
}

const char *parse_number(const char *word, uint64_t *out)
{
	const char *wrong = take_number(&word, out);

	if (!wrong && *word)
		return "not a number";
	return wrong;
}

const char *parse_length(const char *word, uint64_t *out)
{
	static const struct {
		const char *suffix;
		unsigned shift;
	} units[] = { { "", 12 }, { "b", 0 }, { "k", 10 }, { "m", 20 }, { "g", 30 }, { "t", 40 } };
	bool minus = *word == '-';
	const char *wrong;
	uint64_t n;

	if (minus)
		word++;
	wrong = take_number(&word, &n);
	if (wrong)
		return wrong;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(word, units[i].suffix) != 0)
			continue;
		if (n > UINT64_MAX >> units[i].shift)
			return "length too large";
		*out = minus ? 0 - (n << units[i].shift) : n << units[i].shift;
		return NULL;
	}
	return "not a length: pages, or bytes with b, k, m, g or t behind the number";
}

/* "+N" or "-N" or nothing. */
static const char *take_pages(const char **word, uint64_t *out)
{
	bool minus = **word == '-';
	const char *wrong;

	*out = 0;
	if (**word != '+' && !minus)
		return NULL;
	(*word)++;
	wrong = take_number(word, out);
	if (minus)
		*out = 0 - *out;
	return wrong;
}

/* LABEL or NUMBER, and pages. */
static const char *take_base(const char **word, struct script_addr *out)
{
	size_t n = name_len(*word);
	const char *wrong;

	*out = (struct script_addr){ 0 };
	if (n) {
		wrong = parse_name(*word, n, &out->label);
		*word += n;
	} else {
		wrong = take_number(word, &out->number);
		if (wrong)
			return "not an address: LABEL, LABEL+PAGES, LABEL+PAGES.BYTES, or a number";
	}
	return wrong ? wrong : take_pages(word, &out->pages);
}

const char *parse_addr(const char *word, struct script_addr *out)
{
	const char *wrong = take_base(&word, out);

	if (!wrong && *word == '.') {
		word++;
		wrong = take_number(&word, &out->bytes);
	}
	if (!wrong && *word)
		return "not an address: LABEL, LABEL+PAGES, LABEL+PAGES.BYTES, or a number";
	return wrong;
}

/* Letters of "rwx-" up to the end or a '+'; s only if `shared` is given. */
static const char *take_prot(const char **word, uint64_t *prot, bool *shared)
{
	const char *start = *word;

	*prot = 0;
	if (!strncmp(*word, "none", 4)) {
		*word += 4;
		return NULL;
	}
	for (;; (*word)++) {
		switch (**word) {
		case 'r':
			*prot |= AVM_PROT_READ;
			continue;
		case 'w':
			*prot |= AVM_PROT_WRITE;
			continue;
		case 'x':
			*prot |= AVM_PROT_EXEC;
			continue;
		case '-':
		case 'p':
			continue;
		case 's':
			if (!shared)
				break;
			*shared = true;
			continue;
		default:
			break;
		}
		return *word == start ? "not a protection: of r, w, x, or none" : NULL;
	}
}

const char *parse_prot(const char *word, uint64_t *out)
{
	const char *wrong;

	if (is_digit(*word)) {
		wrong = parse_number(word, out);
		return !wrong && *out > UINT32_MAX ? "number too large" : wrong;
	}
	wrong = take_prot(&word, out, NULL);
	return !wrong && *word ? "not a protection: of r, w, x, or none" : wrong;
}

const char *parse_access(const char *word, uint64_t *out)
{
	static const char letters[] = "rwx";
	const char *at = word[0] && !word[1] ? strchr(letters, word[0]) : NULL;

	if (!at)
		return "not an access: r, w or x";
	*out = (uint64_t)(at - letters);
	return NULL;
}

static const char *take_range(const char **word, struct script_range *out)
{
	const char *wrong = take_base(word, &out->base);
	bool minus;

	if (wrong)
		return wrong;
	out->first = out->base.pages;
	out->base.pages = 0;
	if (strncmp(*word, "..", 2) != 0)
		return "not a range: LABEL+FIRST..END";
	*word += 2;
	minus = **word == '-';
	if (minus)
		(*word)++;
	wrong = take_number(word, &out->end);
	if (wrong)
		return wrong;
	if (minus)
		out->end = 0 - out->end;
	if ((int64_t)out->end <= (int64_t)out->first)
		return "the range is empty";
	return NULL;
}

const char *parse_range(const char *word, struct script_range *out)
{
	const char *wrong;

	*out = (struct script_range){ 0 };
	wrong = take_range(&word, out);
	return !wrong && *word ? "not a range: LABEL+FIRST..END" : wrong;
}

static const char *take_flags(const char *word, struct script_range *out)
{
	while (*word == '+') {
		size_t n = strcspn(++word, "+");
		const struct script_word *flag;
		struct script_name name;

		if (n > SCRIPT_NAME_MAX)
			return "no such flag of a VMA";
		memcpy(name.text, word, n);
		name.text[n] = '\0';
		flag = script_find_word(script_vm_flags, name.text);
		if (!flag)
			return "no such flag of a VMA";
		out->flags |= flag->value;
		word += n;
	}
	return *word ? "not a mapping: RANGE:PERMISSIONS, like heap+0..2:rw" : NULL;
}

const char *parse_map(const char *word, struct script_range *out)
{
	const char *wrong;
	uint64_t prot;

	*out = (struct script_range){ 0 };
	wrong = take_range(&word, out);
	if (wrong)
		return wrong;
	if (*word++ != ':')
		return "not a mapping: RANGE:PERMISSIONS, like heap+0..2:rw";
	wrong = take_prot(&word, &prot, &out->shared);
	if (wrong)
		return wrong;
	out->prot = (uint32_t)prot;
	return take_flags(word, out);
}

const char *parse_value(const struct token *t, struct script_value *out)
{
	const char *wrong;

	*out = (struct script_value){ 0 };
	if (t->kind == TOKEN_STRING) {
		if (!t->len || t->len > SCRIPT_VALUE_MAX)
			return "a string of 1 to 1024 bytes is wanted";
		out->len = (uint32_t)t->len;
		memcpy(out->bytes, t->text, t->len);
		return NULL;
	}
	wrong = parse_number(t->text, &out->number);
	if (wrong)
		return "not a value: a \"string\" or a number";
	out->is_number = true;
	out->len = 8;
	for (unsigned i = 0; i < 8; i++)
		out->bytes[i] = (uint8_t)(out->number >> 8 * i);
	return NULL;
}
