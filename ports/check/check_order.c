/* SPDX-License-Identifier: MIT */
/*
 * check_order.c - what puts an access of one thread before one of another, beside atomic operations (check_shadow.h): fences, what
 * is handed on by way of an object, read sections and the calls that wait for them.
 */
#include "check_race.h"

#include "check_priv.h"
#include "check_shadow.h"

void check_fence(int order)
{
	struct check *c = check_judge.of;

	if (!c)
		return;
	if (acquires(order))
		check_clock_join(&course_of(c)->now, &course_of(c)->unfenced);
	if (!releases(order))
		return;
	course_of(c)->fence = course_of(c)->now;
	tick(c);
}

/* Keys beside those of atomic objects, which are even. */
static uintptr_t key_of(const void *object)
{
	return (uintptr_t)object | 1;
}

void check_release(const void *object)
{
	struct check *c = check_judge.of;
	struct sync *s;

	if (!c)
		return;
	s = sync_at(c->races, key_of(object));
	hand_on(c, s, CHECK_UPDATE, __ATOMIC_RELEASE, is_seen(course_of(c), s));
}

void check_acquire(const void *object)
{
	struct check *c = check_judge.of;
	struct sync *s;

	if (!c)
		return;
	s = sync_at(c->races, key_of(object));
	if (!is_seen(course_of(c), s))
		check_clock_join(&course_of(c)->now, &s->clock);
}

/* ---- read sections -------------------------------------------------------------------------------------------------------- */

void check_section_left(struct check *c)
{
	struct check_clock *now = &course_of(c)->now;

	check_clock_join(&c->races->sections, now);
	for (uint32_t i = 0; i < c->nr_graces; i++) {
		if (c->graces[i].threads & 1u << c->current)
			check_clock_join(&c->graces[i].seen, now);
	}
	tick(c);
}

void check_deferred(struct check *c, struct check_clock *seen)
{
	*seen = c->races->sections;
	check_clock_join(seen, &course_of(c)->now);
	tick(c);
}

struct check_course check_call_begin(struct check *c, const struct check_clock *seen)
{
	struct check_course before = *course_of(c);

	check_clock_join(&course_of(c)->now, seen);
	c->races->in_call = true;
	return before;
}

void check_call_end(struct check *c, const struct check_course *before)
{
	struct check_course *t = course_of(c);
	uint32_t own = t->now.of[c->current];

	*t = *before;
	t->now.of[c->current] = own;
	c->races->in_call = false;
}
