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

#define LATEST 0x60000000u /* an execution that begins then ends long before 2^31 */

struct check_judge check_judge;

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

/* When all that is known is over. */
static uint32_t next_begin(struct check *c)
{
	struct check_races *r = c->races;
	uint32_t latest = r->begin;

	for (unsigned i = 0; i < CHECK_THREADS; i++) {
		if (c->threads[i].course.now.of[i] > latest)
			latest = c->threads[i].course.now.of[i];
	}
	if (latest < LATEST)
		return latest + 1;
	madvise(r, sizeof(*r), MADV_DONTNEED);
	return 1;
}

/* The outside is before all threads and after all: it is not in the clocks. */
void check_races_begin(struct check *c)
{
	struct check_races *r = c->races;
	uint32_t begin = next_begin(c);

	r->begin = begin;
	r->nr_elsewhere = r->nr_syncs = 0;
	r->blind = r->in_call = false;
	r->sections = (struct check_clock){ { 0 } };
	for (unsigned i = 0; i < CHECK_THREADS; i++) {
		c->threads[i].course =
			(struct check_course){ .now = { { begin, begin, begin, begin } } };
		c->threads[i].course.now.of[i] = begin + 1;
	}
}

void check_judge_now(struct check *c)
{
	check_judge.cells = c->races->cells;
	check_judge.begin = c->races->begin;
	check_judge.now = course_of(c)->now.of[c->current] |
			  (seen_t)(c->current | 0x10u << c->current) << SEEN_THREAD |
			  (check_footprint ? SEEN_NOTED : 0);
}

/* ---- tables, by address ------------------------------------------------------------------------------------------------- */

static uint32_t hash(uintptr_t address, unsigned shift)
{
	return (uint32_t)((uint64_t)address * UINT64_C(0x9e3779b97f4a7c15) >> (64 - shift));
}

/* NULL: there are too many. Forgetting accesses misses races, and invents none. */
static struct elsewhere *elsewhere_at(struct check_races *r, uintptr_t address)
{
	uint32_t i = hash(address, ELSEWHERE_SHIFT);
	struct elsewhere *e;

	for (;; i++) {
		e = &r->elsewhere[i % ELSEWHERE];
		if (e->begin != r->begin)
			break;
		if (e->address == address)
			return e;
	}
	if (r->nr_elsewhere == ELSEWHERE / 4 * 3)
		return NULL;
	r->nr_elsewhere++;
	e->address = address;
	e->begin = r->begin;
	e->cell = (struct cell){ 0 };
	return e;
}

struct sync *check_sync_elsewhere(struct check_races *r, uintptr_t address)
{
	static struct sync nowhere;
	uint32_t i = hash(address, SYNCS_SHIFT);
	struct sync_elsewhere *s;

	for (;; i++) {
		s = &r->syncs_elsewhere[i % SYNCS];
		if (s->sync.when < r->begin)
			break;
		if (s->address == address)
			return &s->sync;
	}
	if (r->nr_syncs == SYNCS / 4 * 3) {
		r->blind = true;
		check_judge.of = NULL;
		return &nowhere;
	}
	r->nr_syncs++;
	s->address = address;
	return &s->sync;
}

/* Forgets what was seen of its words. */
static __attribute__((noinline)) void page_begin(struct check_races *r, struct page *p)
{
	struct cell *cells = &r->cells[(uintptr_t)(p - r->pages) * PAGE_WORDS];

	for (unsigned i = 0; i < PAGE_WORDS / 64; i++) {
		for (uint64_t used = p->begin == r->begin ? p->used[i] : 0; used; used &= used - 1)
			cells[i * 64 + (unsigned)__builtin_ctzll(used)].last = 0;
		p->used[i] = 0;
	}
	p->begin = r->begin;
	p->based = false;
}

static inline struct page *page_at(struct check_races *r, uintptr_t number)
{
	struct page *p = &r->pages[number];

	if (__builtin_expect(p->begin != r->begin, 0))
		page_begin(r, p);
	return p;
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
	static const char *const names[] = { "reads atomically", "writes atomically", "reads",
					     "writes" };

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

static inline bool conflict(seen_t a, seen_t b)
{
	return ((a ^ b) & SEEN_OWN) && (bytes_of(a) & bytes_of(b)) &&
	       (kind_of(a) | kind_of(b)) == (SEEN_WRITES | SEEN_PLAIN);
}

static uintptr_t address_of(const struct cell *cell)
{
	return CHECK_REGION + (uintptr_t)(cell - check_judge.cells) * WORD;
}

static void remember(struct cell *cell, struct word *w, unsigned n, seen_t new, uint32_t site,
		     enum who who)
{
	w->n = (uint8_t)(n < KEPT ? n + 1 : n);
	if (n == KEPT)
		n = w->oldest++ % KEPT;
	w->seen[n] = new;
	w->site[n] = site;
	*cell = (struct cell){ new, site, w->n > 1 ? who : ALONE };
}

/* What is remembered of a word, and the new access: less of it, if the new one stands for more. */
static void look_closely(struct check *c, struct cell *cell, struct word *w, uintptr_t address,
			 seen_t new, uint32_t site)
{
	const struct check_clock *now = &course_of(c)->now;
	unsigned n = 0, there = w->n;
	seen_t others = 0;

	for (unsigned i = 0; i < there; i++) {
		seen_t old = w->seen[i];

		if (when(old) > now->of[thread_of(old)]) {
			if (conflict(new, old))
				report(new, site, old, w->site[i], address);
		} else if (replaces(new, old)) {
			continue;
		}
		others |= old ^ new;
		w->seen[n] = old;
		w->site[n++] = w->site[i];
	}
	remember(cell, w, n, new, site, others & SEEN_OWN ? SEVERAL : OWN);
}

/* What a cell stands for, written out. */
static inline void write_out(struct word *w, seen_t only, uint32_t site)
{
	w->n = 1;
	w->oldest = 0;
	w->seen[0] = only;
	w->site[0] = site;
}

/* Not the first access to the word, and others have been there. */
static __attribute__((noinline)) void look_again(struct check *c, struct cell *cell, seen_t new,
						 uint32_t site)
{
	struct word *w = &c->races->words[cell - check_judge.cells];

	if (cell->who == ALONE)
		write_out(w, cell->last, cell->site);
	look_closely(c, cell, w, address_of(cell), new, site);
}

/* ... if all of it is this thread's there is nothing to race with. */
static __attribute__((noinline)) void look_at_own(struct check *c, struct cell *cell, seen_t new,
						  uint32_t site)
{
	struct word *w = &c->races->words[cell - check_judge.cells];
	unsigned n = 0;

	if (cell->who == ALONE) {
		if (when(cell->last) == when(new) && replaces(cell->last, new))
			return;
		write_out(w, cell->last, cell->site);
		w->n = 2;
		w->seen[1] = new;
		w->site[1] = site;
		*cell = (struct cell){ new, site, OWN };
		return;
	}
	for (unsigned i = 0; i < w->n; i++) {
		seen_t old = w->seen[i];

		/* As much, and at the same time: nobody has seen that we have gone on. */
		if (when(old) == when(new) && replaces(old, new)) {
			cell->last = new;
			return;
		}
		if (replaces(new, old))
			continue;
		if (n != i) {
			w->seen[n] = old;
			w->site[n] = w->site[i];
		}
		n++;
	}
	remember(cell, w, n, new, site, OWN);
}

static __attribute__((noinline)) void look_first(struct check *c, struct cell *cell, seen_t new,
						 uint32_t site)
{
	uintptr_t index = (uintptr_t)(cell - check_judge.cells);
	struct page *p = page_at(c->races, index / PAGE_WORDS);

	p->used[index % PAGE_WORDS / 64] |= UINT64_C(1) << index % 64;
	*cell = (struct cell){ new, site, 0 };
	if (!p->based)
		return;
	*cell = (struct cell){ p->base, p->base_site, 0 };
	look_again(c, cell, new, site);
}

/* Most words are one thread's, which does as much again. */
static inline __attribute__((always_inline)) void look(struct check *c, struct cell *cell,
						       seen_t new, uint32_t site)
{
	seen_t old = cell->last;

	if (__builtin_expect(when(old) < check_judge.begin, 0))
		look_first(c, cell, new, site);
	else if (((old ^ new) & SEEN_OWN) || cell->who == SEVERAL)
		look_again(c, cell, new, site);
	else if (cell->who || !replaces(new, old))
		look_at_own(c, cell, new, site);
	else
		*cell = (struct cell){ new, site, ALONE };
}

static __attribute__((noinline)) void look_and_note(struct check *c, struct cell *cell, seen_t new,
						    uint32_t site)
{
	new &= ~SEEN_NOTED;
	check_footprint_note(address_of(cell), thread_of(new), bytes_of(new),
			     kind_of(new) & SEEN_WRITES);
	look(c, cell, new, site);
}

void check_look(struct check *c, struct cell *cell, seen_t new, const void *site)
{
	if (__builtin_expect((new &SEEN_NOTED) != 0, 0))
		look_and_note(c, cell, new, site_of(site));
	else
		look(c, cell, new, site_of(site));
}

static void look_elsewhere(struct check *c, uintptr_t address, seen_t new, uint32_t site)
{
	struct elsewhere *e = elsewhere_at(c->races, address);

	new &= ~SEEN_NOTED;
	if (!e)
		return;
	if (when(e->cell.last) < c->races->begin) {
		write_out(&e->word, new, site);
		e->cell = (struct cell){ new, site, 0 };
		return;
	}
	look_closely(c, &e->cell, &e->word, address, new, site);
}

/* Whole words of one page, from the first on that nobody has used, as long as nobody has. => how many */
static size_t access_unused(struct check *c, struct cell *cell, seen_t new, uint32_t site, size_t n)
{
	size_t index = (size_t)(cell - check_judge.cells) % PAGE_WORDS;
	struct page *p = page_at(c->races, (uintptr_t)(cell - check_judge.cells) / PAGE_WORDS);
	size_t i;

	if (p->based)
		return 0;
	n = n < PAGE_WORDS - index ? n : PAGE_WORDS - index;
	for (i = 0; i < n && when(cell[i].last) < check_judge.begin; i++) {
		p->used[(index + i) / 64] |= UINT64_C(1) << (index + i) % 64;
		cell[i] = (struct cell){ new, site, ALONE };
	}
	return i;
}

static void access_range(struct check *c, uintptr_t at, size_t size, unsigned kind,
			 const void *site)
{
	uintptr_t end = at + size;

	while (at < end) {
		uintptr_t word = at - at % WORD;
		size_t piece = end - word < WORD ? end - at : word + WORD - at;
		seen_t new = seen_at(at, piece, kind);
		struct cell *cell = cell_at(at, piece);
		size_t unused = 0;

		if (cell && piece == WORD && !(new &SEEN_NOTED))
			unused = access_unused(c, cell, new, site_of(site), (end - at) / WORD);
		at += unused ? unused * WORD : piece;
		if (unused)
			continue;
		if (!cell)
			look_elsewhere(c, word, new, site_of(site));
		else if (cell->last != new)
			check_look(c, cell, new, site);
	}
}

void check_look_elsewhere(struct check *c, uintptr_t at, size_t size, unsigned kind,
			  const void *site)
{
	access_range(c, at, size, kind, site);
}

/* ---- pages ---------------------------------------------------------------------------------------------------------------- */

static void look_back(struct check *c, uintptr_t address, seen_t old, uint32_t old_site, seen_t new,
		      uint32_t site)
{
	if (when(old) > course_of(c)->now.of[thread_of(old)] && conflict(new, old))
		report(new, site, old, old_site, address);
}

/* At a word that was used. */
static void look_back_at(struct check *c, uintptr_t address, seen_t new, uint32_t site)
{
	uintptr_t index = (address - CHECK_REGION) / WORD;
	const struct cell *cell = &c->races->cells[index];
	const struct word *w = &c->races->words[index];

	if (cell->who == ALONE) {
		look_back(c, address, cell->last, cell->site, new, site);
		return;
	}
	for (uint8_t k = 0; k < w->n; k++)
		look_back(c, address, w->seen[k], w->site[k], new, site);
}

/* Every word of it is written: that alone is worth remembering afterwards, if there is no race. */
static void write_page(struct check *c, uintptr_t address, uint32_t site)
{
	struct check_races *r = c->races;
	struct page *p = page_at(r, (address - CHECK_REGION) / AVM_PAGE_SIZE);
	seen_t new = seen_at(address, WORD, SEEN_PLAIN | SEEN_WRITES) & ~SEEN_NOTED;

	for (unsigned i = 0; check_footprint && i < PAGE_WORDS; i++)
		check_footprint_note(address + i * WORD, c->current, 0xff, true);
	if (p->based)
		look_back(c, address, p->base, p->base_site, new, site);
	for (unsigned i = 0; i < PAGE_WORDS / 64; i++) {
		for (uint64_t used = p->used[i]; used; used &= used - 1) {
			unsigned offset = i * 64 + (unsigned)__builtin_ctzll(used);

			look_back_at(c, address + offset * WORD, new, site);
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
		access_range(c, at, size, SEEN_PLAIN | SEEN_WRITES, site);
		return;
	}
	for (size_t i = 0; i < size; i += AVM_PAGE_SIZE)
		write_page(c, at + i, site_of(site));
}

void check_range(const volatile void *at, size_t size, bool write, const void *site)
{
	struct check *c = check_judge.of;

	if (!c)
		return;
	if (write && size >= AVM_PAGE_SIZE)
		write_range(c, (uintptr_t)at, size, site);
	else
		access_range(c, (uintptr_t)at, size, write ? SEEN_PLAIN | SEEN_WRITES : SEEN_PLAIN,
			     site);
}

/* ---- memory that goes from one owner to the next ---------------------------------------------------------------------- */

/* As if nobody had read nothing when all began: whatever comes stands for that, too. */
static void forget_word(struct check_races *r, uintptr_t at)
{
	uintptr_t index = (at - CHECK_REGION) / WORD;
	struct page *p = page_at(r, index / PAGE_WORDS);

	p->used[index % PAGE_WORDS / 64] |= UINT64_C(1) << index % 64;
	r->cells[index] = (struct cell){ r->begin, 0, 0 };
}

static void forget(struct check_races *r, uintptr_t at, size_t size)
{
	if (is_pages(at, size)) {
		for (size_t i = 0; i < size; i += AVM_PAGE_SIZE)
			page_begin(r, page_at(r, (at + i - CHECK_REGION) / AVM_PAGE_SIZE));
		return;
	}
	for (size_t i = 0; i < size; i += WORD) {
		struct elsewhere *e = in_region(at + i) ? NULL : elsewhere_at(r, at + i);

		if (in_region(at + i))
			forget_word(r, at + i);
		else if (e)
			e->cell = (struct cell){ 0 };
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
	struct check *c = check_judge.of;
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
