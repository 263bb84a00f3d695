/* SPDX-License-Identifier: MIT */
/*
 * check_shadow.h - what the detector of races (check_race.h) keeps about memory, and those parts of it that are in the way of
 * each access of the core.
 */
#ifndef CHECK_SHADOW_H
#define CHECK_SHADOW_H

#include <string.h>

#include "check_footprint.h"
#include "check_priv.h"
#include "check_region.h"

#define WORD 8u
#define KEPT 9u /* of a word: two cache lines */
#define ELSEWHERE_SHIFT 12 /* words that are not in the region: of tests, for the most part */
#define ELSEWHERE (1u << ELSEWHERE_SHIFT)
#define SYNCS_SHIFT 14
#define SYNCS (1u << SYNCS_SHIFT)
#define PAGE_WORDS (AVM_PAGE_SIZE / WORD)

#define SEEN_WRITES 1u
#define SEEN_PLAIN 2u

/*
 * An access: when in the course of its thread, which thread (its number, and a bit of its own), which bytes, which kind; each
 * where the next one begins.
 */
typedef uint64_t seen_t;

#define SEEN_THREAD 32
#define SEEN_BYTES 40
#define SEEN_KIND 48
#define SEEN_OWN UINT64_C(0xff00000000) /* whose it is */
#define SEEN_WHAT \
	UINT64_C(0x3ff0000000000) /* bytes and kind: who has no more of these stands for no more */
#define SEEN_NOTED \
	(UINT64_C(1) \
	 << 63) /* in `now` alone: like no access that is kept, so that all are looked at */

/* Who is remembered at a word, beside the last. */
enum who {
	ALONE, /* nobody */
	OWN, /* the same thread, with something else */
	SEVERAL, /* others, too */
};

/*
 * A word, for those who come to it again: the access that came last. If it is not the only one that is remembered, all are in the
 * word. Of an execution that is over if it is older than `begin`.
 */
struct cell {
	seen_t last;
	uint32_t site; /* from the beginning of the program */
	uint32_t who; /* enum who */
};

/* All that is remembered of one, if it is more than a cell has room for. */
struct word {
	_Alignas(64) uint8_t n;
	uint8_t oldest;
	uint32_t site[KEPT];
	seen_t seen[KEPT];
};

/* A page of the region: pages are given and taken back as a whole, at the price of the words that were used. */
struct page {
	_Alignas(128) uint32_t begin; /* of the execution; another: nothing was seen */
	uint32_t base_site;
	bool based;
	seen_t base; /* of every word whose cell is not used */
	uint64_t used[PAGE_WORDS / 64];
};

struct elsewhere {
	uintptr_t address;
	uint32_t begin; /* of another execution: free */
	struct cell cell;
	struct word word;
};

/* What the last release of an atomic object handed on. */
struct sync {
	struct check_clock clock;
	uint32_t when; /* it was written last; older than `begin`: nothing yet */
	uint8_t thread; /* ... by whom */
	bool whole; /* who has seen so much of that thread has seen all of it */
};

struct sync_elsewhere {
	uintptr_t address;
	struct sync sync;
};

/*
 * Time goes on from one execution to the next: each begins later than all clocks of the one before were, and what is older is
 * nobody's. So nothing has to be cleared, until time is used up.
 */
struct check_races {
	uint32_t begin;
	uint32_t nr_elsewhere, nr_syncs;
	bool in_call; /* deferred: what is known now will be forgotten */
	bool blind; /* more atomic objects than can be kept: the rest of the execution is not judged */
	struct check_clock sections; /* of all read sections that have ended */
	struct page pages[CHECK_REGION_SIZE / AVM_PAGE_SIZE];
	struct cell cells[CHECK_REGION_SIZE / WORD];
	struct word words[CHECK_REGION_SIZE / WORD];
	struct sync syncs[CHECK_REGION_SIZE / 4]; /* at an address that four divides */
	struct elsewhere elsewhere[ELSEWHERE];
	struct sync_elsewhere syncs_elsewhere[SYNCS];
};

/* The one whose accesses are judged now, and what each access of its current thread begins with. */
struct check_judge {
	struct check *of; /* NULL: none are */
	struct cell *cells;
	seen_t now; /* when, and which thread; or with SEEN_NOTED */
	uint32_t begin;
};

extern struct check_judge check_judge;

/* From now on accesses are those of this thread, at this time. */
void check_judge_now(struct check *c);

/* The beginning of the program: the linker's. */
extern const char __executable_start[];

/* ---- clocks ---------------------------------------------------------------------------------------------------------- */

/* They stay below 2^31: signed comparisons are what the CPU has. */
static inline void check_clock_join(struct check_clock *to, const struct check_clock *from)
{
	for (unsigned i = 0; i < CHECK_THREADS; i++) {
		int32_t a = (int32_t)to->of[i], b = (int32_t)from->of[i];

		to->of[i] = (uint32_t)(a > b ? a : b);
	}
}

static inline struct check_course *course_of(struct check *c)
{
	return &c->threads[c->current].course;
}

/* What comes now has not been handed on. */
static inline void tick(struct check *c)
{
	course_of(c)->now.of[c->current]++;
	check_judge.now++;
}

/* ---- accesses ---------------------------------------------------------------------------------------------------------- */

static inline uint32_t when(seen_t s)
{
	return (uint32_t)s;
}

static inline unsigned thread_of(seen_t s)
{
	return s >> SEEN_THREAD & 0xf;
}

static inline unsigned bytes_of(seen_t s)
{
	return s >> SEEN_BYTES & 0xff;
}

static inline unsigned kind_of(seen_t s)
{
	return s >> SEEN_KIND & 3;
}

/* Whatever races with `old`, which is before `new`, races with `new`. */
static inline bool replaces(seen_t new, seen_t old)
{
	return ((old & ~new) & SEEN_WHAT) == 0;
}

static inline uint32_t site_of(const void *site)
{
	return (uint32_t)((const char *)site - __executable_start);
}

static inline bool in_region(uintptr_t address)
{
	return address - CHECK_REGION < CHECK_REGION_SIZE;
}

/* At most a word of the region, which is not what came last. */
void check_look(struct check *c, struct cell *cell, seen_t new, const void *site);
/* Of any size, anywhere. */
void check_range(const volatile void *at, size_t size, bool write, const void *site);
/* Atomic, outside of the region. */
void check_look_elsewhere(struct check *c, uintptr_t at, size_t size, unsigned kind,
			  const void *site);

/* The cell of so many bytes; NULL: they are in two, or none. */
static inline __attribute__((always_inline)) struct cell *cell_at(uintptr_t at, size_t size)
{
	uintptr_t offset = at - CHECK_REGION;

	if (offset >= CHECK_REGION_SIZE || offset % WORD + size > WORD)
		return NULL;
	return &check_judge.cells[offset / WORD];
}

static inline __attribute__((always_inline)) seen_t seen_at(uintptr_t at, size_t size,
							    unsigned kind)
{
	return check_judge.now | ((UINT64_C(1) << size) - 1) << (SEEN_BYTES + at % WORD) |
	       (seen_t)kind << SEEN_KIND;
}

/*
 * The same again, and nobody has seen that we have gone on: whoever races with this has raced already, and the line is known to be
 * written. Most accesses end here.
 */
static inline __attribute__((always_inline)) void check_plain(const volatile void *at, size_t size,
							      bool write, const void *site)
{
	struct cell *cell;
	seen_t new;

	if (!check_judge.of) {
		if (write)
			check_wrote(at, size);
		return;
	}
	cell = cell_at((uintptr_t)at, size);
	new = seen_at((uintptr_t)at, size, write ? SEEN_PLAIN | SEEN_WRITES : SEEN_PLAIN);
	if (cell && cell->last == new)
		return;
	if (write)
		check_wrote(at, size);
	if (cell)
		check_look(check_judge.of, cell, new, site);
	else
		check_range(at, size, write, site);
}

/* ---- what orders ------------------------------------------------------------------------------------------------------------ */

static inline bool acquires(int order)
{
	return order == __ATOMIC_CONSUME || order == __ATOMIC_ACQUIRE ||
	       order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static inline bool releases(int order)
{
	return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

/* Forgetting an edge would invent races. */
struct sync *check_sync_elsewhere(struct check_races *r, uintptr_t address);

static inline struct sync *sync_at(struct check_races *r, uintptr_t address)
{
	struct sync *s = &r->syncs[(address - CHECK_REGION) / 4];

	if (!in_region(address) || address % 4)
		s = check_sync_elsewhere(r, address);
	if (__builtin_expect(s->when < r->begin, 0))
		*s = (struct sync){ .when = r->begin, .whole = true };
	return s;
}

/* Is all that it hands on known to the current thread? */
static inline bool is_seen(const struct check_course *t, const struct sync *s)
{
	return s->whole && t->now.of[s->thread] >= s->when;
}

/*
 * A store begins anew what the object hands on, a read-modify-write continues it. (That a relaxed store of the thread which
 * released continues it too was C11's rule until C++20 saw that nobody needs it; here it does not.) `seen`: we know what was there.
 */
static inline void hand_on(struct check *c, struct sync *s, enum check_access access, int order,
			   bool seen)
{
	struct check_course *t = course_of(c);
	const struct check_clock *more = releases(order) ? &t->now : &t->fence;

	if (access == CHECK_STORE || (seen && releases(order)))
		s->clock = *more;
	else
		check_clock_join(&s->clock, more);
	s->whole = (access == CHECK_STORE || seen) && !c->races->in_call;
	s->when = t->now.of[c->current];
	s->thread = (uint8_t)c->current;
	if (releases(order))
		tick(c);
}

static inline __attribute__((always_inline)) void check_atomic(const volatile void *at, size_t size,
							       enum check_access access, int order,
							       const void *site)
{
	const unsigned kind = access == CHECK_LOAD ? 0 : SEEN_WRITES;
	struct check *c = check_judge.of;
	struct check_course *t;
	struct cell *cell;
	struct sync *s;
	seen_t new;
	bool seen;

	if (!c)
		return;
	t = course_of(c);
	s = sync_at(c->races, (uintptr_t)at);
	seen = is_seen(t, s);
	if (access != CHECK_STORE && !seen) {
		check_clock_join(acquires(order) ? &t->now : &t->unfenced, &s->clock);
		seen = acquires(order);
	}
	cell = cell_at((uintptr_t)at, size);
	new = seen_at((uintptr_t)at, size, kind);
	if (!cell)
		check_look_elsewhere(c, (uintptr_t)at, size, kind, site);
	else if (cell->last != new)
		check_look(c, cell, new, site);
	if (access != CHECK_LOAD)
		hand_on(c, s, access, order, seen);
}

#endif
