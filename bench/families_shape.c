/* SPDX-License-Identifier: MIT */
/* families_shape.c - how many processes a shape has, where it is looked at while it grows, and how time is taken. */
#include "families.h"

#include <stdlib.h>
#include <time.h>

#define MAX_RUNS 201u

unsigned shape_processes(const struct shape *s)
{
	switch (s->form) {
	case FORM_STAR:
		return s->size + 1;
	case FORM_TREE:
		return (2u << s->size) - 1;
	case FORM_RELAY:
	case FORM_CHAIN:
		break;
	}
	return s->size;
}

unsigned shape_alive(const struct shape *s)
{
	return s->form == FORM_RELAY ? 1 : shape_processes(s);
}

unsigned shape_point(const struct shape *s, unsigned i)
{
	const unsigned depths[MAX_POINTS] = { 1,	   10,		    s->size / 4,
					      s->size / 2, s->size / 4 * 3, s->size };

	if (s->form == FORM_STAR || s->form == FORM_TREE || i >= MAX_POINTS)
		return 0;
	return depths[i];
}

double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct spread spread_of(void (*op)(void *context), void *context, double seconds)
{
	double ns[MAX_RUNS], begin = now_ns();
	unsigned runs = 0;

	op(context); /* the first meets cold caches, of objects and of the CPU */
	while (runs < 5 || (runs < MAX_RUNS && now_ns() - begin < seconds * 1e9)) {
		double since = now_ns();

		op(context);
		ns[runs++] = now_ns() - since;
	}
	qsort(ns, runs, sizeof(*ns), by_value);
	return (struct spread){ ns[runs / 2], ns[0], ns[runs - 1], runs };
}
