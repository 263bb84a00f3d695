/* SPDX-License-Identifier: MIT */
/* platform.c - lines for the log, and windows that cannot be left. */
#include "platform.h"

#define LINE 160

struct line {
	char text[LINE];
	size_t len;
};

/* What does not fit is left out. */
static void put(struct line *l, char c)
{
	if (l->len + 1 < LINE)
		l->text[l->len++] = c;
}

static void put_string(struct line *l, const char *s)
{
	while (*s)
		put(l, *s++);
}

static void put_number(struct line *l, uint64_t n, unsigned base, unsigned least)
{
	char digits[20]; /* of the largest, in decimal */
	unsigned i = 0;

	do {
		digits[i++] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n || i < least);
	while (i)
		put(l, digits[--i]);
}

/* One conversion, after its %. Returns what follows it. */
static const char *convert(struct line *l, const char *f, va_list *ap)
{
	unsigned least = 1;

	if (f[0] == '0' && f[1] >= '1' && f[1] <= '9') {
		least = (unsigned)(f[1] - '0');
		f += 2;
	}
	switch (*f) {
	case 's':
		put_string(l, va_arg(*ap, const char *));
		return f + 1;
	case 'u':
		put_number(l, va_arg(*ap, unsigned), 10, least);
		return f + 1;
	case 'x':
		put_number(l, va_arg(*ap, unsigned), 16, least);
		return f + 1;
	case 'l': /* %llx */
		put_number(l, va_arg(*ap, unsigned long long), 16, least);
		return f + 3;
	default: /* %% */
		put(l, '%');
		return f + (*f == '%');
	}
}

void platform_vlog(const struct platform *p, const char *prefix, const char *format, va_list ap)
{
	struct line l = { .len = 0 };
	va_list rest;

	put_string(&l, prefix);
	va_copy(rest, ap);
	while (*format) {
		char c = *format++;

		if (c == '%')
			format = convert(&l, format, &rest);
		else
			put(&l, c);
	}
	va_end(rest);
	l.text[l.len] = '\0';
	p->log(p->context, l.text);
}

void platform_log(const struct platform *p, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	platform_vlog(p, "", format, ap);
	va_end(ap);
}

static bool inside(const struct mmio *m, uint64_t offset, unsigned size)
{
	if (size <= m->size && offset <= m->size - size && offset % size == 0)
		return true;
	platform_log(m->platform, "mmio: %u bytes at %llx lie outside a window of %llx", size,
		     (unsigned long long)offset, (unsigned long long)m->size);
	return false;
}

uint32_t mmio_read(const struct mmio *m, uint64_t offset, unsigned size)
{
	if (!inside(m, offset, size))
		return UINT32_MAX;
	return m->platform->mmio_read(m->platform->context, m->base + offset, size);
}

void mmio_write(const struct mmio *m, uint64_t offset, unsigned size, uint32_t value)
{
	if (inside(m, offset, size))
		m->platform->mmio_write(m->platform->context, m->base + offset, size, value);
}
