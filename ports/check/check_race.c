/* SPDX-License-Identifier: MIT */
/*
 * check_race.c - the detector of data races: vector clocks, and for each word the accesses that nothing later makes
 * superfluous.
 *
 * An access is remembered until one comes that is after it and at least as strong: whoever races with the old one then
 * races with the new one as well, or has seen both. So few are kept for a word: one or two for each thread.
 */
#include "check_race.h"

#include <string.h>
#include <sys/mman.h>

#include "check_priv.h"
#include "check_shadow.h"

struct check *check_judging;

/* ---- life ------------------------------------------------------------------------------------------------------------- */

/* For the most part it is never touched. */
struct check_races *check_races_new(void)
{
	void *r = mmap(NULL, sizeof(struct check_races), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return r == MAP_FAILED ? NULL : r;
}

void check_races_free(struct check_races *r)
{
	if (r)
		munmap(r, sizeof(*r));
}

/* The outside is before all threads and after all: it is not in the clocks. */
void check_races_begin(struct check *c)
{
	struct check_races *r = c->races;

	r->generation++;
	r->nr_elsewhere = r->nr_syncs = 0;
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

/* NULL: there are too many. Forgetting accesses misses races, and invents none. */
struct word *check_word_elsewhere(struct check_races *r, uintptr_t address)
{
	uint32_t i = hash(address, ELSEWHERE_SHIFT);
	struct elsewhere *e;

	for (;; i++) {
		e = &r->elsewhere[i % ELSEWHERE];
		if (e->generation != r->generation)
			break;
		if (e->address == address)
			return &e->word;
	}
	if (r->nr_elsewhere == ELSEWHERE / 4 * 3)
		return NULL;
	r->nr_elsewhere++;
	e->address = address;
	e->generation = r->generation;
	e->word.n = e->word.oldest = 0;
	return &e->word;
}

/* Forgetting an edge would invent races. */
struct sync *check_sync_elsewhere(struct check_races *r, uintptr_t address)
{
	static struct sync nowhere;
	uint32_t i = hash(address, SYNCS_SHIFT);
	struct sync_elsewhere *s;

	for (;; i++) {
		s = &r->syncs_elsewhere[i % SYNCS];
		if (s->sync.generation != r->generation)
			break;
		if (s->address == address)
			return &s->sync;
	}
	if (r->nr_syncs == SYNCS / 4 * 3) {
		r->blind = true;
		check_judging = NULL;
		return &nowhere;
	}
	r->nr_syncs++;
	*s = (struct sync_elsewhere){ address, { r->generation, { { 0 } } } };
	return &s->sync;
}

/* ---- accesses ------------------------------------------------------------------------------------------------------------ */

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
static __attribute__((noinline, cold)) void report(seen_t a, uint32_t a_site, seen_t b,
						   uint32_t b_site, uintptr_t address)
{
	bool swap = b_site < a_site || (a_site == b_site && kind_of(b) < kind_of(a));
	char one[16], two[16], text[256];
	seen_t first = swap ? b : a, second = swap ? a : b;

	spell(one, swap ? b_site : a_site);
	spell(two, swap ? a_site : b_site);
	snprintf(
		text, sizeof(text),
		"race: %s %s and %s %s, and nothing puts one before the other; T%u and T%u at %#zx",
		one, what(kind_of(first)), two, what(kind_of(second)), thread_of(first),
		thread_of(second), (size_t)address);
	check_fail(text);
}

static bool conflict(seen_t a, seen_t b)
{
	return thread_of(a) != thread_of(b) && (bytes_of(a) & bytes_of(b)) &&
	       ((kind_of(a) | kind_of(b)) & SEEN_WRITES) &&
	       !(kind_of(a) & kind_of(b) & SEEN_ATOMIC);
}

void check_look_closely(struct check *c, struct word *w, uintptr_t address, seen_t new,
			uint32_t site)
{
	const struct check_clock *now = &course_of(c)->now;
	unsigned n = 0, there = w->n;

	/* The same again, and nobody has seen that we have gone on: whoever races with this has raced already. */
	for (unsigned i = 0; i < there; i++) {
		if (w->seen[i] == new)
			return;
	}
	for (unsigned i = 0; i < there; i++) {
		seen_t old = w->seen[i];
		bool before = when(old) <= now->of[thread_of(old)];

		if (!before && conflict(new, old))
			report(new, site, old, w->site[i], address);
		if (before && replaces(new, old))
			continue;
		w->seen[n] = old;
		w->site[n++] = w->site[i];
	}
	w->n = (uint8_t)n;
	if (n < KEPT)
		w->n++;
	else
		n = w->oldest++ % KEPT;
	w->seen[n] = new;
	w->site[n] = site;
}

static inline void access_range(struct check *c, uintptr_t at, size_t size, unsigned kind,
				const void *site)
{
	seen_t new = seen_now(c, kind), bytes;
	uintptr_t end = at + size;

	if (size && at % WORD + size <= WORD) {
		bytes = (0xffu >> (WORD - size)) << at % WORD;
		look(c, at - at % WORD, new | bytes << SEEN_BYTES, site_of(site));
		return;
	}
	while (at < end) {
		uintptr_t word = at & ~(uintptr_t)(WORD - 1);
		uintptr_t last = end - word < WORD ? end - word : WORD;

		bytes = (0xffu << (at - word)) & (0xffu >> (WORD - last));
		look(c, word, new | bytes << SEEN_BYTES, site_of(site));
		at = word + WORD;
	}
}

/* ---- pages ---------------------------------------------------------------------------------------------------------------- */

static void look_back(struct check *c, uintptr_t address, seen_t old, uint32_t old_site, seen_t new,
		      uint32_t site)
{
	if (when(old) > course_of(c)->now.of[thread_of(old)] && conflict(new, old))
		report(new, site, old, old_site, address);
}

/* Every word of it is written: that alone is worth remembering afterwards, if there is no race. */
static void write_page(struct check *c, uintptr_t address, uint32_t site)
{
	struct check_races *r = c->races;
	struct page *p = page_at(r, address);
	seen_t new = seen_now(c, SEEN_WRITES) | UINT64_C(0xff) << SEEN_BYTES;

	for (unsigned i = 0; check_footprint && i < PAGE_WORDS; i++)
		check_footprint_note(address + i * WORD, c->current, 0xff, true);
	if (p->based)
		look_back(c, address, p->base, p->base_site, new, site);
	for (unsigned i = 0; i < PAGE_WORDS / 64; i++) {
		for (uint64_t used = p->used[i]; used; used &= used - 1) {
			uintptr_t at = address + (i * 64 + (unsigned)__builtin_ctzll(used)) * WORD;
			const struct word *w = word_at(r, at);

			for (uint8_t k = 0; k < w->n; k++)
				look_back(c, at, w->seen[k], w->site[k], new, site);
		}
	}
	page_begin(r, p);
	p->based = true;
	p->base = new;
	p->base_site = site;
}

static bool is_pages(uintptr_t at, size_t size)
{
	return in_region(at) && at % AVM_PAGE_SIZE == 0 && size % AVM_PAGE_SIZE == 0;
}

static void write_range(struct check *c, uintptr_t at, size_t size, const void *site)
{
	if (!is_pages(at, size)) {
		access_range(c, at, size, SEEN_WRITES, site);
		return;
	}
	for (size_t i = 0; i < size; i += AVM_PAGE_SIZE)
		write_page(c, at + i, site_of(site));
}

void check_range(const volatile void *at, size_t size, bool write, const void *site)
{
	struct check *c = check_judging;

	if (!c)
		return;
	if (write && size >= AVM_PAGE_SIZE)
		write_range(c, (uintptr_t)at, size, site);
	else
		access_range(c, (uintptr_t)at, size, write ? SEEN_WRITES : 0, site);
}

/* ---- what orders ------------------------------------------------------------------------------------------------------------ */

void check_fence(int order)
{
	struct check *c = check_judging;

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
	struct check *c = check_judging;

	if (!c)
		return;
	check_clock_join(&sync_at(c->races, key_of(object))->clock, &course_of(c)->now);
	tick(c);
}

void check_acquire(const void *object)
{
	struct check *c = check_judging;

	if (c)
		check_clock_join(&course_of(c)->now, &sync_at(c->races, key_of(object))->clock);
}

static void forget(struct check_races *r, uintptr_t at, size_t size)
{
	if (is_pages(at, size)) {
		for (size_t i = 0; i < size; i += AVM_PAGE_SIZE)
			page_begin(r, page_at(r, at + i));
		return;
	}
	for (size_t i = 0; i < size; i += WORD) {
		struct word *w = word_at(r, at + i);

		if (w)
			w->n = 0;
	}
}

/* No access of the core: it leaves no footprint. */
static void take_back(struct check *c, const void *memory, size_t size, const void *site)
{
	struct check_footprint *footprint = check_footprint;

	check_footprint = NULL;
	write_range(c, (uintptr_t)memory, size, site);
	check_footprint = footprint;
}

/*
 * Taking memory back is a write: whoever still uses it must have come before. Whoever is given it comes after, as a lock of
 * the allocator would see to; by pages, for the host may cut it otherwise.
 */
void check_handed(const void *memory, size_t size, enum sim_handing how)
{
	struct check *c = check_judging;
	bool given = how == SIM_GIVEN || how == SIM_FRAME_GIVEN;

	if (check_running)
		check_touch(&check_running->sim->frames, true);
	if (!c)
		return;
	if (how == SIM_TAKEN_BACK)
		take_back(c, memory, size, __builtin_return_address(0));
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
