/* SPDX-License-Identifier: MIT */
/* printf.c - see printf.h. The kernel and the user programs have a copy each. */
#include "printf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct output {
	void (*put)(void *context, char c);
	void *context;
	unsigned width; /* of the item */
	bool left, zeroes;
};

static void pad(struct output *o, size_t len, bool before)
{
	if (before == o->left)
		return;
	for (; len < o->width; len++)
		o->put(o->context, before && o->zeroes ? '0' : ' ');
}

static void put_text(struct output *o, const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	pad(o, len, true);
	for (size_t i = 0; i < len; i++)
		o->put(o->context, text[i]);
	pad(o, len, false);
}

static void put_number(struct output *o, uint64_t n, unsigned base, bool negative)
{
	char digits[24];
	size_t i = sizeof(digits);

	digits[--i] = '\0';
	do {
		digits[--i] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	if (negative)
		digits[--i] = '-';
	put_text(o, &digits[i]);
}

static void put_signed(struct output *o, int64_t n)
{
	put_number(o, n < 0 ? -(uint64_t)n : (uint64_t)n, 10, n < 0);
}

static const char *flags_and_width(struct output *o, const char *f)
{
	o->left = o->zeroes = false;
	o->width = 0;
	for (; *f == '-' || *f == '0'; f++) {
		o->left = o->left || *f == '-';
		o->zeroes = o->zeroes || *f == '0';
	}
	for (; *f >= '0' && *f <= '9'; f++)
		o->width = 10 * o->width + (unsigned)(*f - '0');
	return f;
}

void format_text(void (*put)(void *context, char c), void *context, const char *format,
		 va_list args)
{
	struct output o = { .put = put, .context = context };

	for (const char *f = format; *f; f++) {
		char one[2] = { 0 };
		bool is_long = false;

		if (*f != '%') {
			put(context, *f);
			continue;
		}
		f = flags_and_width(&o, f + 1);
		for (; *f == 'l'; f++)
			is_long = true;
		switch (*f) {
		case 's':
			put_text(&o, va_arg(args, const char *));
			break;
		case 'd':
			put_signed(&o, is_long ? va_arg(args, long) : va_arg(args, int));
			break;
		case 'u':
		case 'x':
			put_number(&o,
				   is_long ? va_arg(args, unsigned long) :
					     va_arg(args, unsigned int),
				   *f == 'u' ? 10 : 16, false);
			break;
		case 'p':
			put_number(&o, (uintptr_t)va_arg(args, void *), 16, false);
			break;
		case 'c':
			one[0] = (char)va_arg(args, int);
			put_text(&o, one);
			break;
		default:
			put(context, *f);
		}
	}
}
