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
#define SEEN_ATOMIC 2u

/* An access: when in the course of its thread, which thread, which bytes, which kind, each where the next one begins. */
typedef uint64_t seen_t;

#define SEEN_THREAD 32
#define SEEN_BYTES 40
#define SEEN_KIND 48

struct word {
	_Alignas(64) uint64_t stamp; /* not that of its page: it is as `base` of the page says */
	uint8_t n, oldest;
	uint32_t site[KEPT]; /* from the beginning of the program */
	seen_t seen[KEPT]; /* two of them in the first cache line */
};

/* A page of the region: pages are given and taken back as a whole, at the price of the words that were used. */
struct page {
	_Alignas(128) uint64_t generation; /* of the execution; another: nothing was seen */
	uint64_t stamp;
	bool based;
	seen_t base; /* of every word that has another stamp */
	uint32_t base_site;
	uint64_t used[PAGE_WORDS / 64]; /* words that have this stamp */
};

struct elsewhere {
	uintptr_t address;
	uint64_t generation; /* another: free */
	struct word word;
};

/* What the last release of an atomic object handed on. */
struct sync {
	uint64_t generation;
	struct check_clock clock;
};

struct sync_elsewhere {
	uintptr_t address;
	struct sync sync;
};

struct check_races {
	uint64_t generation; /* of the execution */
	uint64_t stamp; /* the last that was given */
	uint32_t nr_elsewhere, nr_syncs;
	bool blind; /* more atomic objects than can be kept: the rest of the execution is not judged */
	struct check_clock sections; /* of all read sections that have ended */
	struct page pages[CHECK_REGION_SIZE / AVM_PAGE_SIZE];
	struct word words[CHECK_REGION_SIZE / WORD];
	struct sync syncs[CHECK_REGION_SIZE / 4]; /* at an address that four divides */
	struct elsewhere elsewhere[ELSEWHERE];
	struct sync_elsewhere syncs_elsewhere[SYNCS];
};

/* The one whose accesses are judged now, or NULL. */
extern struct check *check_judging;

/* The beginning of the program: the linker's. */
extern const char __executable_start[];

/* ---- clocks ---------------------------------------------------------------------------------------------------------- */

static inline void check_clock_join(struct check_clock *to, const struct check_clock *from)
{
	for (unsigned i = 0; i < CHECK_THREADS; i++)
		to->of[i] = to->of[i] > from->of[i] ? to->of[i] : from->of[i];
}

static struct check_course *course_of(struct check *c)
{
	return &c->threads[c->current].course;
}

/* What comes now has not been handed on. */
static inline void tick(struct check *c)
{
	course_of(c)->now.of[c->current]++;
}

/* ---- tables, by address ------------------------------------------------------------------------------------------------- */

/* NULL: there are too many. Forgetting accesses misses races, and invents none. */
struct word *check_word_elsewhere(struct check_races *r, uintptr_t address);
struct sync *check_sync_elsewhere(struct check_races *r, uintptr_t address);

static inline bool in_region(uintptr_t address)
{
	return address - CHECK_REGION < CHECK_REGION_SIZE;
}

/* Forgets what was seen of its words. */
static __attribute__((noinline, unused)) void page_begin(struct check_races *r, struct page *p)
{
	p->generation = r->generation;
	p->stamp = ++r->stamp;
	p->based = false;
	memset(p->used, 0, sizeof(p->used));
}

static inline struct page *page_at(struct check_races *r, uintptr_t address)
{
	struct page *p = &r->pages[(address - CHECK_REGION) / AVM_PAGE_SIZE];

	if (p->generation != r->generation)
		page_begin(r, p);
	return p;
}

static __attribute__((noinline, unused)) void word_begin(struct word *w, struct page *p,
							 uintptr_t index)
{
	w->stamp = p->stamp;
	w->n = p->based;
	w->oldest = 0;
	w->seen[0] = p->base;
	w->site[0] = p->base_site;
	p->used[index % PAGE_WORDS / 64] |= UINT64_C(1) << index % 64;
}

static inline struct word *word_at(struct check_races *r, uintptr_t address)
{
	uintptr_t index = (address - CHECK_REGION) / WORD;
	struct page *p;

	if (!in_region(address))
		return check_word_elsewhere(r, address);
	p = page_at(r, address);
	if (__builtin_expect(r->words[index].stamp != p->stamp, 0))
		word_begin(&r->words[index], p, index);
	return &r->words[index];
}

static inline struct sync *sync_at(struct check_races *r, uintptr_t address)
{
	struct sync *s = &r->syncs[(address - CHECK_REGION) / 4];

	if (!in_region(address) || address % 4)
		return check_sync_elsewhere(r, address);
	if (s->generation != r->generation)
		*s = (struct sync){ r->generation, { { 0 } } };
	return s;
}

/* ---- accesses ------------------------------------------------------------------------------------------------------------ */

/* Of a word that several threads have used. */
void check_look_closely(struct check *c, struct word *w, uintptr_t address, seen_t new,
			uint32_t site);
/* Of any size. */
void check_range(const volatile void *at, size_t size, bool write, const void *site);

static inline uint32_t when(seen_t s)
{
	return (uint32_t)s;
}

static inline unsigned thread_of(seen_t s)
{
	return s >> SEEN_THREAD & 0xff;
}

static inline unsigned bytes_of(seen_t s)
{
	return s >> SEEN_BYTES & 0xff;
}

static inline unsigned kind_of(seen_t s)
{
	return (unsigned)(s >> SEEN_KIND);
}

/* Whatever races with `old`, which is before `new`, races with `new`. */
static inline bool replaces(seen_t new, seen_t old)
{
	return !((old & ~new) >> SEEN_BYTES & (0xff | SEEN_WRITES << 8)) &&
	       !((new & ~old) >> SEEN_KIND & SEEN_ATOMIC);
}

/* Most words are one thread's, which does the same again. */
static inline __attribute__((always_inline)) void look(struct check *c, uintptr_t address,
						       seen_t new, uint32_t site)
{
	struct word *w = word_at(c->races, address);
	seen_t old;

	if (__builtin_expect(check_footprint != NULL, 0))
		check_footprint_note(address, thread_of(new), bytes_of(new),
				     kind_of(new) & SEEN_WRITES);
	if (!w)
		return;
	old = w->seen[0];
	if (w->n > 1 || (w->n && thread_of(old) != thread_of(new))) {
		check_look_closely(c, w, address, new, site);
		return;
	}
	if (w->n && when(old) == when(new) && replaces(old, new))
		return;
	if (!w->n || !replaces(new, old))
		w->n++;
	w->seen[w->n - 1] = new;
	w->site[w->n - 1] = site;
}

/* ... of no bytes yet */
static inline seen_t seen_now(struct check *c, unsigned kind)
{
	return course_of(c)->now.of[c->current] | (seen_t)c->current << SEEN_THREAD |
	       (seen_t)kind << SEEN_KIND;
}

static inline uint32_t site_of(const void *site)
{
	return (uint32_t)((const char *)site - __executable_start);
}

/* At most a word; what is atomic is in one. */
static inline __attribute__((always_inline)) void judge(struct check *c, uintptr_t at, size_t size,
							unsigned kind, const void *site)
{
	seen_t new = seen_now(c, kind), bytes = (1u << size) - 1;
	uintptr_t in = at % WORD;

	if (__builtin_expect(in + size > WORD, 0))
		check_range((const void *)at, size, kind & SEEN_WRITES,
			    site); /* plain: a word is aligned */
	else
		look(c, at - in, new | bytes << in << SEEN_BYTES, site_of(site));
}

static inline __attribute__((always_inline)) void check_plain(const volatile void *at, size_t size,
							      bool write, const void *site)
{
	struct check *c = check_judging;

	if (c)
		judge(c, (uintptr_t)at, size, write ? SEEN_WRITES : 0, site);
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

/*
 * A store begins anew what the object hands on, a read-modify-write continues it. (That a relaxed store of the thread which
 * released continues it too was C11's rule until C++20 saw that nobody needs it; here it does not.)
 */
static inline void hand_on(struct check *c, struct sync *s, enum check_access access, int order)
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

static inline __attribute__((always_inline)) void check_atomic(const volatile void *at, size_t size,
							       enum check_access access, int order,
							       const void *site)
{
	struct check *c = check_judging;
	struct check_course *t;
	struct sync *s;

	if (!c)
		return;
	t = course_of(c);
	s = sync_at(c->races, (uintptr_t)at);
	if (access != CHECK_STORE)
		check_clock_join(acquires(order) ? &t->now : &t->unfenced, &s->clock);
	judge(c, (uintptr_t)at, size,
	      access == CHECK_LOAD ? SEEN_ATOMIC : SEEN_ATOMIC | SEEN_WRITES, site);
	hand_on(c, s, access, order);
}

#endif
