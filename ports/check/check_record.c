/* SPDX-License-Identifier: MIT */
/*
 * check_record.c - steps, what they touch, and threads that sleep (check_record.h).
 *
 * A key is the number of a word of eight bytes, and the kind of what is meant by its address; an access of four bytes and one of
 * eight that has them in it are one object.
 */
#include "check_record.h"

#include <stdlib.h>
#include <string.h>

/* ---- what is touched --------------------------------------------------------------------------------------------------- */

static uint64_t key_of(const volatile void *address, enum check_kind kind)
{
	return ((uint64_t)(uintptr_t)address >> 3) << 3 | (uint64_t)kind << 1;
}

/* Adds it to `n` keys. False: there are `most`. */
static bool add_touch(uint64_t *touched, uint32_t *n, uint32_t most, uint64_t touch)
{
	for (uint32_t i = 0; i < *n; i++) {
		if ((touched[i] ^ touch) <= 1) {
			touched[i] |= touch & 1;
			return true;
		}
	}
	if (*n == most)
		return false;
	touched[(*n)++] = touch;
	return true;
}

static void step_touch(struct check_step *s, uint64_t key, bool write)
{
	s->much = !add_touch(s->touched, &s->n, STEP_TOUCHES, key | write) || s->much;
}

static bool conflict(const uint64_t *a, uint32_t n, const uint64_t *b, uint32_t m)
{
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t j = 0; j < m; j++) {
			if ((a[i] ^ b[j]) <= 1 && ((a[i] | b[j]) & 1))
				return true;
		}
	}
	return false;
}

bool check_depend(const struct check_step *a, const struct check_step *b)
{
	return a->much || b->much || conflict(a->touched, a->n, b->touched, b->n);
}

void check_steps_begin(struct check_steps *all)
{
	all->n = 0;
	all->much = false;
}

void check_steps_add(struct check_steps *all, const struct check_step *step)
{
	for (uint32_t i = 0; i < step->n; i++)
		all->much = !add_touch(all->touched, &all->n, STEPS_TOUCHES, step->touched[i]) ||
			    all->much;
	all->much = all->much || step->much;
}

bool check_steps_depend(const struct check_steps *all, const struct check_step *step)
{
	return all->much || step->much || conflict(all->touched, all->n, step->touched, step->n);
}

static struct check_object *object_at(struct check_record *r, uint64_t key)
{
	uint32_t i = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - OBJECTS_SHIFT));

	for (;; i++) {
		struct check_object *o = &r->objects[i % OBJECTS];

		if (o->key == key)
			return o;
		if (o->key)
			continue;
		if (r->nr_objects == OBJECTS / 4 * 3)
			return NULL;
		r->nr_objects++;
		o->key = key;
		return o;
	}
}

static bool is_shared(const struct check_object *o)
{
	return o->writers && o->threads & (o->threads - 1);
}

bool check_step_shared(struct check_record *r, const struct check_step *step)
{
	bool shared = step->much;

	for (unsigned i = 0; i < step->n && !shared; i++) {
		const struct check_object *o = object_at(r, step->touched[i] & ~UINT64_C(1));

		shared = !o || is_shared(o);
	}
	return shared;
}

static void note_objects(struct check_record *r, const struct check_node *k)
{
	for (unsigned i = 0; i < k->step.n; i++) {
		struct check_object *o = object_at(r, k->step.touched[i] & ~UINT64_C(1));
		bool before;

		if (!o)
			continue;
		before = is_shared(o);
		o->threads |= (uint8_t)(1u << k->thread);
		if (k->step.touched[i] & 1)
			o->writers |= (uint8_t)(1u << k->thread);
		r->grew = r->grew || is_shared(o) != before;
	}
}

/* ---- by the scheduler ---------------------------------------------------------------------------------------------------- */

/* The step that is going on, or NULL. */
static struct check_step *step_of(struct check *c)
{
	struct check_record *r = c->record;

	if (c->current == CHECK_THREADS || !r->n || r->nodes[r->n - 1].thread != c->current)
		return NULL;
	return &r->nodes[r->n - 1].step;
}

void check_record_touch(struct check *c, const volatile void *object, enum check_kind kind,
			bool write)
{
	struct check_step *s = step_of(c);

	if (s)
		step_touch(s, key_of(object, kind), write);
}

void check_record_defers(struct check *c)
{
	c->record->grew = c->record->grew || !c->record->defers;
	c->record->defers = true;
	check_record_touch(c, c->graces, CHECK_PORT, true);
}

void check_record_enables(struct check *c, unsigned thread)
{
	c->threads[thread].enabler = c->record->n - 1;
}

/* The last step is over: who of those that sleep is woken by it? */
static void close_step(struct check_record *r)
{
	const struct check_node *last = r->n ? &r->nodes[r->n - 1] : NULL;

	if (!last || last->thread == CHECK_THREADS)
		return;
	note_objects(r, last);
	for (unsigned t = 0; t < CHECK_THREADS; t++) {
		if (r->asleep & 1u << t && check_depend(&r->slept[t], &last->step))
			r->asleep &= (uint8_t) ~(1u << t);
	}
}

void check_record_decision(struct check *c, uint32_t enabled, unsigned usual, bool free)
{
	struct check_record *r = c->record;
	bool begins = c->current == CHECK_THREADS;

	close_step(r);
	if (r->n == r->room) {
		uint32_t room = r->room ? 2 * r->room : 1024;
		void *more = realloc(r->nodes, room * sizeof(*r->nodes));

		r->full = r->full || !more;
		if (!more)
			return;
		r->nodes = more;
		r->room = room;
	}
	r->nodes[r->n++] = (struct check_node){ .at = begins ? 0 : c->threads[c->current].points,
						.enabler = NO_NODE,
						.decider = (uint8_t)c->current,
						.usual = (uint8_t)usual,
						.thread = CHECK_THREADS,
						.enabled = (uint8_t)enabled,
						.asleep = r->asleep,
						.free = free };
}

bool check_record_step(struct check *c, const volatile void *object, bool write)
{
	struct check_record *r = c->record;
	struct check_thread *t = &c->threads[c->current];
	struct check_node *k = r->n ? &r->nodes[r->n - 1] : NULL;

	if (!k || k->thread != CHECK_THREADS)
		return true;
	if (!r->armed && c->replayed == c->schedule->nr_switches) {
		r->armed = true;
		r->asleep = r->sleepers;
	}
	if (r->asleep & 1u << c->current)
		return false;
	k->thread = (uint8_t)c->current;
	k->enabler = t->enabler;
	t->enabler = NO_NODE;
	if (object)
		step_touch(&k->step, key_of(object, CHECK_ATOMIC), write);
	return true;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------ */

struct check_record *check_record_new(void)
{
	return calloc(1, sizeof(struct check_record));
}

void check_record_free(struct check_record *r)
{
	if (r)
		free(r->nodes);
	free(r);
}

void check_record_begin(struct check_record *r)
{
	r->n = 0;
	r->asleep = 0;
	r->armed = false;
}
