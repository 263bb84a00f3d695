/* SPDX-License-Identifier: MIT */
/*
 * check_race.c - the detector of data races: vector clocks, and for each word the accesses that nothing later makes
 * superfluous.
 *
 * An access is remembered until one comes that is after it and at least as strong: whoever races with the old one then
 * races with the new one as well, or has seen both. So few are kept for a word: one or two for each thread.
 */
#include "check_race.h"

#include <stdlib.h>

#include "check_priv.h"

#define WORD 8u
#define WORDS_SHIFT 15
#define WORDS (1u << WORDS_SHIFT)
#define SYNCS_SHIFT 14
#define SYNCS (1u << SYNCS_SHIFT)
#define KEPT 9u /* of a word: two cache lines */

#define WRITES 1u
#define ATOMIC 2u

struct seen {
	uint32_t at; /* in the course of its thread */
	uint8_t thread, bytes, kind, unused;
	uint32_t site; /* from the beginning of the program */
};

struct word {
	uintptr_t address;
	uint32_t generation; /* another: free */
	uint8_t n, oldest;
	struct seen seen[KEPT];
};

/* What the last release of an atomic object handed on. */
struct sync {
	uintptr_t address;
	uint32_t generation;
	struct check_clock clock;
};

struct check_races {
	uint32_t generation; /* of the execution */
	uint32_t nr_words, nr_syncs;
	bool blind; /* more atomic objects than can be kept: the rest of the execution is not judged */
	struct check_clock sections; /* of all read sections that have ended */
	struct word words[WORDS];
	struct sync syncs[SYNCS];
};

/* ---- clocks ---------------------------------------------------------------------------------------------------------- */

void check_clock_join(struct check_clock *to, const struct check_clock *from)
{
	for (unsigned i = 0; i < CHECK_THREADS; i++)
		to->of[i] = to->of[i] > from->of[i] ? to->of[i] : from->of[i];
}

static struct check_course *course_of(struct check *c)
{
	return &c->threads[c->current].course;
}

/* What comes now has not been handed on. */
static void tick(struct check *c)
{
	course_of(c)->now.of[c->current]++;
}

/* The one whose accesses are judged here, or NULL. */
static struct check *watching(void)
{
	struct check *c = check_running;

	return c && c->current < CHECK_THREADS && !c->schedule->no_races && !c->races->blind ? c :
											       NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

struct check_races *check_races_new(void)
{
	return calloc(1, sizeof(struct check_races));
}

void check_races_free(struct check_races *r)
{
	free(r);
}

/* The outside is before all threads and after all: it is not in the clocks. */
void check_races_begin(struct check *c)
{
	struct check_races *r = c->races;

	r->generation++;
	r->nr_words = r->nr_syncs = 0;
	r->blind = false;
	r->sections = (struct check_clock){ { 0 } };
	for (unsigned i = 0; i < CHECK_THREADS; i++) {
		c->threads[i].course = (struct check_course){ .now = { { 0 } } };
		c->threads[i].course.now.of[i] = 1;
	}
}

/* ---- tables, by address ------------------------------------------------------------------------------------------------- */

static uint32_t hash(uintptr_t address, unsigned shift)
{
	return (uint32_t)((uint64_t)address * UINT64_C(0x9e3779b97f4a7c15) >> (64 - shift));
}

/* The word, or where it would be. */
static struct word *place_of(struct check_races *r, uintptr_t address)
{
	uint32_t i = hash(address, WORDS_SHIFT);

	while (r->words[i].generation == r->generation && r->words[i].address != address)
		i = (i + 1) % WORDS;
	return &r->words[i];
}

/* NULL: there are too many. Forgetting accesses misses races, and invents none. */
static struct word *word_at(struct check_races *r, uintptr_t address)
{
	struct word *w = place_of(r, address);

	if (w->generation == r->generation)
		return w;
	if (r->nr_words == WORDS / 4 * 3)
		return NULL;
	r->nr_words++;
	w->address = address;
	w->generation = r->generation;
	w->n = w->oldest = 0;
	return w;
}

/* Forgetting an edge would invent races. */
static struct sync *sync_at(struct check_races *r, uintptr_t address)
{
	static struct sync nowhere;
	uint32_t i = hash(address, SYNCS_SHIFT);

	for (; r->syncs[i].generation == r->generation; i = (i + 1) % SYNCS) {
		if (r->syncs[i].address == address)
			return &r->syncs[i];
	}
	if (r->nr_syncs == SYNCS / 4 * 3) {
		r->blind = true;
		return &nowhere;
	}
	r->nr_syncs++;
	r->syncs[i] = (struct sync){ address, r->generation, { { 0 } } };
	return &r->syncs[i];
}

/* ---- accesses ------------------------------------------------------------------------------------------------------------ */

/* The beginning of the program: the linker's. */
extern const char __executable_start[];

/* In letters that are no digits of any number, for same_finding() must tell sites apart. */
static void spell(char *out, uint32_t site)
{
	*out++ = '@';
	for (int shift = 28; shift >= 0; shift -= 4)
		*out++ = (char)('g' + (site >> shift & 15));
	*out = '\0';
}

const void *check_spelled_site(const char *text)
{
	uint32_t site = 0;

	for (int i = 0; i < 8; i++) {
		if (text[i] < 'g' || text[i] > 'v')
			return NULL;
		site = site << 4 | (uint32_t)(text[i] - 'g');
	}
	return __executable_start + site;
}

static const char *what(unsigned kind)
{
	static const char *const names[] = { "reads", "writes", "reads atomically",
					     "writes atomically" };

	return names[kind];
}

/* One text for both orders in which the two may be met. */
static void report(const struct seen *a, const struct seen *b, uintptr_t address)
{
	const struct seen *first =
		a->site < b->site || (a->site == b->site && a->kind < b->kind) ? a : b;
	const struct seen *second = first == a ? b : a;
	char one[16], two[16], text[256];

	spell(one, first->site);
	spell(two, second->site);
	snprintf(
		text, sizeof(text),
		"race: %s %s and %s %s, and nothing puts one before the other; T%u and T%u at %#zx",
		one, what(first->kind), two, what(second->kind), first->thread, second->thread,
		(size_t)address);
	check_fail(text);
}

/* Whatever races with `old`, which is before `new`, races with `new`. */
static bool replaces(const struct seen *new, const struct seen *old)
{
	return !(old->bytes & ~new->bytes) && !(old->kind & WRITES & ~new->kind) &&
	       !(new->kind &ATOMIC & ~old->kind);
}

static bool conflict(const struct seen *a, const struct seen *b)
{
	return a->thread != b->thread && (a->bytes & b->bytes) && ((a->kind | b->kind) & WRITES) &&
	       !(a->kind & b->kind & ATOMIC);
}

static void look(struct check *c, uintptr_t address, const struct seen *new)
{
	const struct check_clock *now = &course_of(c)->now;
	struct word *w = word_at(c->races, address);
	uint8_t n = 0;

	if (!w)
		return;
	for (uint8_t i = 0; i < w->n; i++) {
		const struct seen *old = &w->seen[i];
		bool before = old->at <= now->of[old->thread];

		if (!before && conflict(new, old))
			report(new, old, address);
		/* It says all that this one would. */
		if (old->thread == new->thread && old->at == new->at &&replaces(old, new) && n == i)
			return;
		if (!before || !replaces(new, old))
			w->seen[n++] = *old;
	}
	w->n = n;
	if (n < KEPT)
		w->seen[w->n++] = *new;
	else
		w->seen[w->oldest++ % KEPT] = *new;
}

static void access_range(struct check *c, uintptr_t at, size_t size, unsigned kind,
			 const void *site)
{
	struct seen new = { .at = course_of(c)->now.of[c->current],
			    .thread = (uint8_t)c->current,
			    .kind = (uint8_t)kind,
			    .site = (uint32_t)((const char *)site - __executable_start) };
	uintptr_t end = at + size;

	while (at < end) {
		uintptr_t word = at & ~(uintptr_t)(WORD - 1);
		uintptr_t last = end - word < WORD ? end - word : WORD;

		new.bytes = (uint8_t)((0xffu << (at - word)) & (0xffu >> (WORD - last)));
		look(c, word, &new);
		at = word + WORD;
	}
}

void check_plain(const volatile void *at, size_t size, bool write, const void *site)
{
	struct check *c = watching();

	if (c)
		access_range(c, (uintptr_t)at, size, write ? WRITES : 0, site);
}

/* ---- what orders ------------------------------------------------------------------------------------------------------------ */

static bool acquires(int order)
{
	return order == __ATOMIC_CONSUME || order == __ATOMIC_ACQUIRE ||
	       order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static bool releases(int order)
{
	return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

/*
 * A store begins anew what the object hands on, a read-modify-write continues it. (That a relaxed store of the thread which
 * released continues it too was C11's rule until C++20 saw that nobody needs it; here it does not.)
 */
static void hand_on(struct check *c, struct sync *s, enum check_access access, int order)
{
	struct check_course *t = course_of(c);

	if (access == CHECK_LOAD)
		return;
	if (access == CHECK_STORE)
		s->clock = t->fence;
	else
		check_clock_join(&s->clock, &t->fence);
	if (!releases(order))
		return;
	check_clock_join(&s->clock, &t->now);
	tick(c);
}

void check_atomic(const volatile void *at, size_t size, enum check_access access, int order,
		  const void *site)
{
	struct check *c = watching();
	struct check_course *t;
	struct sync *s;

	if (!c)
		return;
	t = course_of(c);
	s = sync_at(c->races, (uintptr_t)at);
	if (access != CHECK_STORE)
		check_clock_join(acquires(order) ? &t->now : &t->unfenced, &s->clock);
	access_range(c, (uintptr_t)at, size, access == CHECK_LOAD ? ATOMIC : ATOMIC | WRITES, site);
	hand_on(c, s, access, order);
}

void check_fence(int order)
{
	struct check *c = watching();

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
	struct check *c = watching();

	if (!c)
		return;
	check_clock_join(&sync_at(c->races, key_of(object))->clock, &course_of(c)->now);
	tick(c);
}

void check_acquire(const void *object)
{
	struct check *c = watching();

	if (c)
		check_clock_join(&course_of(c)->now, &sync_at(c->races, key_of(object))->clock);
}

static void forget(struct check_races *r, uintptr_t at, size_t size)
{
	for (size_t i = 0; i < size; i += WORD) {
		struct word *w = place_of(r, at + i);

		if (w->generation == r->generation)
			w->n = 0;
	}
}

/*
 * Taking memory back is a write: whoever still uses it must have come before. Whoever is given it comes after, as a lock of
 * the allocator would see to; by pages, for the host may cut it otherwise.
 */
void check_handed(const void *memory, size_t size, enum sim_handing how)
{
	struct check *c = watching();
	bool given = how == SIM_GIVEN || how == SIM_FRAME_GIVEN;

	if (!c)
		return;
	if (how == SIM_TAKEN_BACK)
		access_range(c, (uintptr_t)memory, size, WRITES, __builtin_return_address(0));
	if (how == SIM_GIVEN)
		forget(c->races, (uintptr_t)memory, size);
	for (size_t i = 0; i < size; i += AVM_PAGE_SIZE) {
		const char *piece = (const char *)memory + i;

		if (given)
			check_acquire(piece);
		else
			check_release(piece);
	}
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

struct check_clock check_call_begin(struct check *c, const struct check_clock *seen)
{
	struct check_clock before = course_of(c)->now;

	check_clock_join(&course_of(c)->now, seen);
	return before;
}

void check_call_end(struct check *c, const struct check_clock *before)
{
	struct check_clock *now = &course_of(c)->now;
	uint32_t own = now->of[c->current];

	*now = *before;
	now->of[c->current] = own;
}
