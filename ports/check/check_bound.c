/* SPDX-License-Identifier: MIT */
/*
 * check_bound.c - depth-first over lists of switches (check_bound.h). An execution is its list, and without a further switch
 * from there on; each choice it had behind the last of the list makes a longer one. So no list comes twice.
 */
#include "check_bound.h"

#include <stdlib.h>
#include <string.h>

#include "check_priv.h"

#define DEPTH 14u /* switches that somebody chose, free ones too */
#define OBJECTS_SHIFT 14
#define OBJECTS (1u << OBJECTS_SHIFT)

/* Who has touched it: a bit for each thread, and one for each that has written. */
struct object {
	const volatile void *address;
	uint8_t threads, writers;
};

struct check_record {
	struct check_choice *choices;
	uint32_t n, room;
	bool full; /* a choice was not kept */
	bool grew; /* an object is shared that was not */
	uint32_t nr_objects;
	struct object objects[OBJECTS];
};

struct branch {
	uint8_t first, n, preemptions;
	bool late;
	struct check_switch switches[DEPTH];
};

struct branches {
	struct branch *at;
	size_t n, room;
};

/* ---- recording: by the scheduler ----------------------------------------------------------------------------------- */

static struct object *object_at(struct check_record *r, const volatile void *address)
{
	uint32_t i = (uint32_t)((uintptr_t)address * UINT64_C(0x9e3779b97f4a7c15) >>
				(64 - OBJECTS_SHIFT));

	for (;; i++) {
		struct object *o = &r->objects[i % OBJECTS];

		if (o->address == address)
			return o;
		if (o->address)
			continue;
		if (r->nr_objects == OBJECTS / 4 * 3)
			return NULL;
		r->nr_objects++;
		o->address = address;
		return o;
	}
}

static bool is_shared(const struct object *o)
{
	return o->writers && o->threads & (o->threads - 1);
}

void check_record_access(struct check *c, const volatile void *address, bool write)
{
	struct object *o = object_at(c->record, address);
	bool before;

	if (!o)
		return;
	before = is_shared(o);
	o->threads |= (uint8_t)(1u << c->current);
	if (write)
		o->writers |= (uint8_t)(1u << c->current);
	c->record->grew = c->record->grew || is_shared(o) != before;
}

void check_record_choice(struct check *c, const volatile void *address, uint32_t others, bool free)
{
	struct check_record *r = c->record;
	struct check_thread *t = &c->threads[c->current];

	t->choice = UINT32_MAX;
	if (!others || c->replayed < c->schedule->nr_switches)
		return;
	if (r->n == r->room) {
		uint32_t room = r->room ? 2 * r->room : 1024;
		void *more = realloc(r->choices, room * sizeof(*r->choices));

		r->full = r->full || !more;
		if (!more)
			return;
		r->choices = more;
		r->room = room;
	}
	t->choice = r->n;
	r->choices[r->n++] = (struct check_choice){ .object = address,
						    .at = t->points,
						    .others = (uint8_t)others,
						    .thread = (uint8_t)c->current,
						    .free = free,
						    .seen = c->sim->irq_depth };
}

void check_record_seen(struct check *c)
{
	uint32_t choice = c->current < CHECK_THREADS ? c->threads[c->current].choice : UINT32_MAX;

	if (choice < c->record->n)
		c->record->choices[choice].seen = true;
}

/* ---- branches ----------------------------------------------------------------------------------------------------------- */

static struct branch *push(struct branches *b, const struct branch *from)
{
	if (b->n == b->room) {
		size_t room = b->room ? 2 * b->room : 256;
		struct branch *more = realloc(b->at, room * sizeof(*more));

		if (!more)
			return NULL;
		b->at = more;
		b->room = room;
	}
	b->at[b->n] = *from;
	return &b->at[b->n++];
}

static bool matters(struct check_record *r, const struct check_choice *k)
{
	const struct object *o = k->free || k->seen ? NULL : object_at(r, k->object);

	return !o || is_shared(o);
}

/* The longer lists, of one switch each more. False: there was no room for one. */
static bool grow(struct check_record *r, struct branches *b, const struct branch *from,
		 unsigned bound)
{
	for (uint32_t i = 0; i < r->n; i++) {
		const struct check_choice *k = &r->choices[i];

		if ((!k->free && from->preemptions == bound) || !matters(r, k))
			continue;
		for (uint8_t to = 0; to < CHECK_THREADS; to++) {
			struct branch *next;

			if (!(k->others & 1u << to))
				continue;
			next = from->n < DEPTH ? push(b, from) : NULL;
			if (!next)
				return false;
			next->switches[next->n++] =
				(struct check_switch){ k->at, k->thread, to, NULL };
			next->preemptions = (uint8_t)(next->preemptions + !k->free);
		}
	}
	return true;
}

static bool run_branch(struct check *c, struct check_explorer *e, const struct branch *b)
{
	static struct check_schedule s;

	s = (struct check_schedule){ .strategy = CHECK_REPLAY,
				     .first = b->first,
				     .late = b->late,
				     .nr_switches = b->n };
	memcpy(s.switches, b->switches, b->n * sizeof(b->switches[0]));
	c->record->n = 0;
	e->executions++;
	e->of_last_pass++;
	return e->run(e->context, &s);
}

/* False: enough. */
static bool pass(struct check *c, struct check_explorer *e, struct branches *b, unsigned bound)
{
	bool more = true;

	e->of_last_pass = 0;
	c->record->grew = false;
	b->n = 0;
	for (unsigned first = 0; first < e->nr_threads; first++) {
		push(b, &(struct branch){ .first = (uint8_t)first, .late = true });
		push(b, &(struct branch){ .first = (uint8_t)first });
	}
	while (more && b->n) {
		const struct branch now = b->at[--b->n];

		more = run_branch(c, e, &now);
		if (more && !grow(c->record, b, &now, bound))
			e->cut = true;
	}
	return more;
}

bool check_explore(struct check *c, struct check_explorer *e)
{
	struct branches b = { NULL, 0, 0 };
	bool more = true;

	e->executions = e->of_last_pass = 0;
	e->cut = false;
	c->record = calloc(1, sizeof(*c->record));
	if (!c->record)
		return false;
	for (unsigned bound = 0; more && bound <= e->bound; bound++)
		more = pass(c, e, &b, bound);
	while (more && c->record->grew)
		more = pass(c, e, &b, e->bound);
	e->cut = e->cut || c->record->full;
	free(b.at);
	free(c->record->choices);
	free(c->record);
	c->record = NULL;
	return more && !e->cut;
}
