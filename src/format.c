/* SPDX-License-Identifier: MIT */
/* format.c - lines of text without a C library (format.h). */
#include "format.h"

enum {
	DIGITS = 20, /* of the largest number, in base 10 */
};

void avm_text_init(struct avm_text *t, char *buf, size_t size)
{
	t->buf = buf;
	t->size = size;
	avm_text_cut(t, 0);
}

void avm_text_cut(struct avm_text *t, size_t len)
{
	t->len = len;
	t->buf[len] = '\0';
}

void avm_text_char(struct avm_text *t, char c)
{
	if (t->len + 1 < t->size) {
		t->buf[t->len++] = c;
		t->buf[t->len] = '\0';
		return;
	}
	for (size_t i = 2; i <= 4; i++)
		t->buf[t->size - i] = '.';
}

void avm_text_str(struct avm_text *t, const char *s)
{
	while (*s)
		avm_text_char(t, *s++);
}

static void number(struct avm_text *t, uint64_t n, unsigned base, unsigned digits)
{
	char reversed[DIGITS];
	unsigned len = 0;

	do {
		reversed[len++] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n || (len < digits && len < DIGITS));
	while (len)
		avm_text_char(t, reversed[--len]);
}

void avm_text_dec(struct avm_text *t, uint64_t n)
{
	number(t, n, 10, 1);
}

void avm_text_hex(struct avm_text *t, uint64_t n, unsigned digits)
{
	number(t, n, 16, digits);
}

void avm_text_field(struct avm_text *t, const char *name, uint64_t n)
{
	avm_text_char(t, ' ');
	avm_text_str(t, name);
	avm_text_char(t, ' ');
	avm_text_dec(t, n);
}

void avm_text_field_hex(struct avm_text *t, const char *name, uint64_t n)
{
	avm_text_char(t, ' ');
	avm_text_str(t, name);
	avm_text_char(t, ' ');
	avm_text_hex(t, n, 1);
}
