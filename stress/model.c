/* SPDX-License-Identifier: MIT */
/*
 * model.c - what may stand in a word.
 *
 * A value names its page, its thread and how often that thread has written there, in the high bits: so a later one is
 * larger. Where pages are to be alike it names the area only, and one of two.
 */
#include <stdlib.h>
#include <string.h>

#include "stress.h"

#define PAGE_BITS 16
#define THREAD_BITS 8
#define SEQ_SHIFT (PAGE_BITS + THREAD_BITS)

static uint64_t value_of(const struct object *o, unsigned page, unsigned thread, uint64_t seq)
{
	uint64_t place = o->number * AREA_PAGES + (o->alike ? 0 : page);

	if (o->alike)
		seq = 1 + seq % 2;
	return seq << SEQ_SHIFT | (uint64_t)(thread + 1) << PAGE_BITS | place;
}

bool word_is_plausible(const struct object *o, unsigned page, unsigned thread, uint64_t value)
{
	uint64_t low = (UINT64_C(1) << SEQ_SHIFT) - 1;

	return !value || (value & low) == (value_of(o, page, thread, 1) & low);
}

struct object *object_new(uint32_t number, unsigned threads)
{
	size_t size = sizeof(struct object) + AREA_PAGES * threads * sizeof(struct word);
	struct object *o = calloc(1, size);

	if (!o)
		abort();
	o->number = number;
	o->alike = number < AREAS - SHARED_AREAS && number % ALIKE == ALIKE - 1;
	return o;
}

static void copy_word(struct word *to, const struct word *from)
{
	SET(to->low, GET(from->low));
	SET(to->high, GET(from->high));
	SET(to->gen, GET(from->gen));
	SET(to->unsure, GET(from->unsure));
}

void object_copy(struct object *to, const struct object *from, unsigned threads)
{
	SET(to->gen, GET(from->gen));
	for (unsigned i = 0; i < AREA_PAGES; i++) {
		SET(to->pages[i].wiped, GET(from->pages[i].wiped));
		SET(to->pages[i].freed, GET(from->pages[i].freed));
	}
	for (unsigned i = 0; i < AREA_PAGES * threads; i++)
		copy_word(&to->words[i], &from->words[i]);
}

void object_widen(struct object *to, const struct object *from, unsigned threads)
{
	for (unsigned i = 0; i < AREA_PAGES * threads; i++) {
		struct word *w = &to->words[i];
		uint64_t low = GET(from->words[i].low), high = GET(from->words[i].high);

		if (low == GET(w->low) && high == GET(w->high) &&
		    GET(from->words[i].gen) == GET(w->gen))
			continue;
		SET(w->unsure, true);
		if (low < GET(w->low))
			SET(w->low, low);
		if (high > GET(w->high))
			SET(w->high, high);
	}
	/* Their next values are to be larger than what the child may have got. */
	for (unsigned i = 0; i < AREA_PAGES * threads; i++)
		to->words[i].seq = GET(to->words[i].high) >> SEQ_SHIFT;
}

uint64_t word_begin(struct word *w, const struct object *o, unsigned page, unsigned thread)
{
	uint64_t value = value_of(o, page, thread, ++w->seq);

	if (value > GET(w->high))
		SET(w->high, value);
	if (value < GET(w->low))
		SET(w->low, value);
	order();
	return value;
}

void word_end(struct word *w, uint64_t value, bool stored, uint32_t gen, bool stable)
{
	order();
	if (!stored)
		return;
	SET(w->low, value);
	SET(w->high, value);
	SET(w->gen, gen);
	SET(w->unsure, !stable);
}

bool word_may_be(struct word *w, const struct object *o, unsigned page, uint64_t value,
		 uint32_t gen)
{
	uint32_t since = GET(w->gen), when = GET(o->pages[page].freed);
	/* What was stored while the page was given up may have been there before. */
	bool wiped = since < GET(o->pages[page].wiped), freed = when && since <= when;
	bool unsure = GET(w->unsure);

	if (value) {
		if (value < GET(w->low) || value > GET(w->high) || (wiped && !unsure))
			return false;
	} else if (GET(w->low) && !unsure && !wiped && !freed) {
		return false;
	}
	SET(w->low, value);
	SET(w->high, value);
	/* What may have been freed can still go. */
	if (!value || !freed) {
		SET(w->gen, gen);
		SET(w->unsure, false);
	}
	return true;
}
