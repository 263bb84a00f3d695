/* SPDX-License-Identifier: MIT */
/*
 * mutate.c - see mutate.h. Every function leaves the text in [text, text + len), len <= cap.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "mutate.h"

uint64_t mutate_random(uint64_t *rng)
{
	uint64_t z = *rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static size_t below(struct mutation *m, size_t n)
{
	return n ? (size_t)(mutate_random(&m->rng) % n) : 0;
}

/* Puts `n` bytes in place of [at, at + old). Does nothing where there is no room. */
static void splice(struct mutation *m, size_t at, size_t old, const char *p, size_t n)
{
	if (m->len - old + n > m->cap)
		return;
	memmove(m->text + at + n, m->text + at + old, m->len - at - old);
	memcpy(m->text + at, p, n);
	m->len = m->len - old + n;
}

/* ---- lines --------------------------------------------------------------------------------------------- */

struct piece {
	size_t at, n;
};

/* The line around a byte, with its newline. */
static struct piece line_at(const char *text, size_t len, size_t at)
{
	struct piece l = { at, 0 };
	const char *nl;

	while (l.at && text[l.at - 1] != '\n')
		l.at--;
	nl = memchr(text + at, '\n', len - at);
	l.n = (nl ? (size_t)(nl + 1 - text) : len) - l.at;
	return l;
}

static struct piece any_line(struct mutation *m)
{
	return line_at(m->text, m->len, below(m, m->len));
}

/* Some lines in a row: mostly one. */
static struct piece some_lines(struct mutation *m)
{
	struct piece l = any_line(m);
	size_t more = below(m, 4) ? 0 : below(m, 40);

	while (more-- && l.at + l.n < m->len)
		l.n += line_at(m->text, m->len, l.at + l.n).n;
	return l;
}

static void lines_away(struct mutation *m)
{
	struct piece l = some_lines(m);

	splice(m, l.at, l.n, "", 0);
}

#define COPY_MAX 8192

static void lines_again(struct mutation *m)
{
	struct piece l = some_lines(m);
	size_t to = any_line(m).at, times = below(m, 8) ? 1 : 1 + below(m, 50);
	char copy[COPY_MAX];

	if (l.n > sizeof(copy))
		return;
	memcpy(copy, m->text + l.at, l.n);
	while (times--)
		splice(m, to, 0, copy, l.n);
}

static void lines_moved(struct mutation *m)
{
	struct piece l = some_lines(m);
	char copy[COPY_MAX];

	if (l.n > sizeof(copy))
		return;
	memcpy(copy, m->text + l.at, l.n);
	splice(m, l.at, l.n, "", 0);
	if (m->len)
		splice(m, any_line(m).at, 0, copy, l.n);
}

/* Lines of the other text in between. */
static void lines_mixed(struct mutation *m)
{
	size_t from = below(m, m->other_len), to, times = 1 + below(m, 20);

	for (to = any_line(m).at; times-- && from < m->other_len && to < m->len;) {
		struct piece l = line_at(m->other, m->other_len, from);

		splice(m, to, 0, m->other + l.at, l.n);
		from = l.at + l.n;
		to += l.n;
		if (to < m->len && below(m, 2))
			to += line_at(m->text, m->len, to).n;
	}
}

/* ---- numbers and words --------------------------------------------------------------------------------- */

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '+' || c == '.';
}

/* The word at or after a random byte; n 0: none. */
static struct piece any_word(struct mutation *m, const char *text, size_t len, bool number)
{
	struct piece w = { below(m, len), 0 };

	for (int tries = 0; tries < 20; tries++) {
		while (w.at && in_word(text[w.at - 1]))
			w.at--;
		while (w.at < len && !in_word(text[w.at]))
			w.at++;
		for (w.n = 0; w.at + w.n < len && in_word(text[w.at + w.n]);)
			w.n++;
		if (!number || (w.n && isxdigit((unsigned char)text[w.at])))
			return w;
		w = (struct piece){ below(m, len), 0 };
	}
	return (struct piece){ 0, 0 };
}

static uint64_t edge_value(struct mutation *m)
{
	static const uint64_t edges[] = {
		0,
		1,
		4095,
		4096,
		4097,
		UINT64_C(1) << 16,
		UINT64_C(1) << 21,
		INT32_MAX,
		UINT64_C(1) << 31,
		UINT32_MAX,
		UINT64_C(1) << 32,
		UINT64_C(1) << 40,
		(UINT64_C(1) << 46) - 4096,
		(UINT64_C(1) << 47) - 4096,
		UINT64_C(1) << 47,
		UINT64_C(1) << 62,
		INT64_MAX,
		UINT64_C(1) << 63,
		UINT64_MAX - 4095,
		UINT64_MAX - 4094,
		UINT64_MAX - 133, /* an error of the kernel's */
		UINT64_MAX,
	};
	uint64_t v = edges[below(m, sizeof(edges) / sizeof(edges[0]))];

	switch (below(m, 4)) {
	case 0:
		return mutate_random(&m->rng) >> below(m, 64);
	case 1:
		return v + (uint64_t)below(m, 16) * 4096;
	default:
		return v;
	}
}

static void number_changed(struct mutation *m)
{
	struct piece w = any_word(m, m->text, m->len, true);
	bool hex = w.n > 1 && m->text[w.at] == '0' && m->text[w.at + 1] == 'x';
	char text[32];
	int n;

	if (!w.n)
		return;
	if (!below(m, 8))
		n = snprintf(text, sizeof(text), "%" PRId64, (int64_t)edge_value(m));
	else if (hex || !below(m, 3))
		n = snprintf(text, sizeof(text), hex ? "0x%" PRIx64 : "%" PRIx64, edge_value(m));
	else
		n = snprintf(text, sizeof(text), "%" PRIu64, edge_value(m));
	splice(m, w.at, w.n, text, (size_t)n);
}

/* A last digit, or the one before some zeroes. */
static void digit_changed(struct mutation *m)
{
	struct piece w = any_word(m, m->text, m->len, true);
	size_t i = w.n ? w.at + below(m, w.n) : 0;

	if (w.n && isxdigit((unsigned char)m->text[i]))
		m->text[i] =
			"0123456789abcdef"[below(m, isdigit((unsigned char)m->text[i]) ? 10 : 16)];
}

static void word_taken(struct mutation *m, bool number)
{
	bool far = !below(m, 3) && m->other_len;
	const char *from = far ? m->other : m->text;
	struct piece w = any_word(m, from, far ? m->other_len : m->len, number);
	struct piece to = any_word(m, m->text, m->len, number);
	char copy[256];

	if (!w.n || !to.n || w.n > sizeof(copy))
		return;
	memcpy(copy, from + w.at, w.n);
	splice(m, to.at, to.n, copy, w.n);
}

/* One value becomes another wherever it stands: a pid that is reused, an address of another mapping. */
static void number_everywhere(struct mutation *m)
{
	struct piece w = any_word(m, m->text, m->len, true);
	struct piece v = any_word(m, m->text, m->len, true);
	char from[32], to[32];

	if (!w.n || !v.n || w.n > sizeof(from) || v.n > sizeof(to))
		return;
	memcpy(from, m->text + w.at, w.n);
	memcpy(to, m->text + v.at, v.n);
	for (size_t i = below(m, 2) ? 0 : w.at; i + w.n <= m->len;) {
		if (memcmp(m->text + i, from, w.n) != 0) {
			i++;
			continue;
		}
		splice(m, i, w.n, to, v.n);
		i += v.n;
	}
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

static void byte_changed(struct mutation *m)
{
	static const char special[] = "\0\n\n \t\033\177\377,:=()[]{}<>\"'\\#+-@/*0";
	size_t at = below(m, m->len);

	if (below(m, 2))
		m->text[at] = (char)(m->text[at] ^ 1 << below(m, 8));
	else
		m->text[at] = special[below(m, sizeof(special) - 1)];
}

static void bytes_away(struct mutation *m)
{
	size_t at = below(m, m->len), n = 1 + below(m, 12);

	splice(m, at, n < m->len - at ? n : m->len - at, "", 0);
}

static void bytes_put(struct mutation *m)
{
	char bytes[12];
	size_t n = 1 + below(m, sizeof(bytes));

	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)mutate_random(&m->rng);
	splice(m, below(m, m->len), 0, bytes, n);
}

void mutate_once(struct mutation *m)
{
	if (!m->len)
		return;
	switch (below(m, 24)) {
	case 0:
		m->len = below(m, m->len);
		break;
	case 1:
		byte_changed(m);
		break;
	case 2:
		bytes_away(m);
		break;
	case 3:
		bytes_put(m);
		break;
	case 4:
	case 5:
	case 6:
		lines_away(m);
		break;
	case 7:
	case 8:
		lines_again(m);
		break;
	case 9:
	case 10:
		lines_moved(m);
		break;
	case 11:
	case 12:
		lines_mixed(m);
		break;
	case 13:
		digit_changed(m);
		break;
	case 14:
	case 15:
	case 16:
		word_taken(m, true);
		break;
	case 17:
		word_taken(m, false);
		break;
	case 18:
		number_everywhere(m);
		break;
	default:
		number_changed(m);
		break;
	}
}
