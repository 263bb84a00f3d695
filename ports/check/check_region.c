/* SPDX-License-Identifier: MIT */
/*
 * check_region.c - the region of an execution: a small allocator, and its states (check_region.h).
 *
 * What the allocator knows stands at the beginning of the small memory, and goes back with it. Free pieces are kept by size,
 * and what was freed last is given next: whoever uses it after its end soon meets somebody else.
 */
#include "check_region.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE UINT64_C(4096)
#define LINE (UINT64_C(1) << CHECK_LINE_SHIFT)
#define NR_PAGES (CHECK_PAGES_SIZE / PAGE)
#define ORDERS 7u /* pieces of 1 to 64 pages */
#define KEPT_FREE 256u /* pieces of one order; more are not used again */
#define GRAIN 64u /* of small pieces, with the head before each */
#define HEAD 64u
#define SIZES 512u
#define LARGEST (SIZES * GRAIN - HEAD)

#define STACKS 7u
#define STACK_ROOM (CHECK_STACKS_SIZE / (STACKS + 1))

struct small_head {
	uint64_t grains;
	struct small_head *next; /* while it is free */
};

struct pages_of_order {
	uint32_t n;
	uint16_t page[KEPT_FREE];
};

/* At CHECK_SMALL. */
struct heap {
	uint64_t small_end; /* from here on nothing was ever given; from CHECK_SMALL */
	uint64_t pages_end; /* ... in pages */
	bool fresh;
	struct small_head *free[SIZES + 1];
	struct pages_of_order pages[ORDERS];
	uint8_t order[NR_PAGES]; /* of the piece that begins there */
	uint64_t used[NR_PAGES / 64]; /* pages that are somebody's */
};

static struct heap *const heap = (struct heap *)CHECK_SMALL; /* NOLINT: the address is ours */
static char *const pages = (char *)CHECK_PAGES; /* NOLINT */

struct check_lines check_lines;

/* What was kept. */
static struct {
	char *small, *pages;
	uint64_t small_end, pages_end;
} kept;

static bool stack_taken[STACKS];

/* ---- life ----------------------------------------------------------------------------------------------------------- */

static _Noreturn void die(const char *why)
{
	fprintf(stderr, "check: %s\n", why);
	abort();
}

static void *map(void *at, uint64_t size)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED_NOREPLACE : 0);
	void *p = mmap(at, size, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (p == MAP_FAILED || (at && p != at))
		die("there is no room for the region of an execution");
	return p;
}

static void empty(void)
{
	memset(heap, 0, sizeof(*heap));
	heap->small_end = (sizeof(*heap) + GRAIN - 1) & ~(uint64_t)(GRAIN - 1);
}

/* When it is first asked for; a child has it as its parent had. */
static void begin(void)
{
	static bool begun;

	if (begun)
		return;
	begun = true;
	map((void *)CHECK_REGION, CHECK_REGION_SIZE); /* NOLINT */
	kept.small = map(NULL, CHECK_SMALL_SIZE);
	kept.pages = map(NULL, CHECK_PAGES_SIZE);
	empty();
}

void check_region_reset(void)
{
	begin();
	check_region_forget();
	empty();
}

/* ---- stacks ---------------------------------------------------------------------------------------------------------- */

void *check_region_stack(size_t *size)
{
	begin();
	for (unsigned i = 0; i < STACKS; i++) {
		char *at = (char *)CHECK_REGION + (i + 1) * STACK_ROOM; /* NOLINT */

		if (stack_taken[i] || mprotect(at, PAGE, PROT_NONE))
			continue;
		stack_taken[i] = true;
		*size = STACK_ROOM - PAGE;
		return at + PAGE;
	}
	return NULL;
}

void check_region_stack_free(void *stack)
{
	stack_taken[((uintptr_t)stack - CHECK_REGION) / STACK_ROOM - 1] = false;
}

/* ---- small pieces ----------------------------------------------------------------------------------------------------- */

static void *small_alloc(size_t size)
{
	uint64_t grains = (size + HEAD + GRAIN - 1) / GRAIN;
	struct small_head *h;

	if (size > LARGEST)
		return NULL;
	h = heap->free[grains];
	if (h) {
		heap->free[grains] = h->next;
		return (char *)h + HEAD;
	}
	if (heap->small_end + grains * GRAIN > CHECK_SMALL_SIZE)
		return NULL;
	h = (struct small_head *)((char *)heap + heap->small_end);
	heap->small_end += grains * GRAIN;
	h->grains = grains;
	return (char *)h + HEAD;
}

static struct small_head *head_of(void *p)
{
	return (struct small_head *)((char *)p - HEAD);
}

static void small_free(void *p)
{
	struct small_head *h = head_of(p);

	/* What it was is of no account: not for the name of a state either. */
	memset(p, 0, h->grains * GRAIN - HEAD);
	h->next = heap->free[h->grains];
	heap->free[h->grains] = h;
}

/* ---- pages ------------------------------------------------------------------------------------------------------------- */

static void set_used(uint64_t first, unsigned order, bool used)
{
	for (uint64_t i = first; i < first + (UINT64_C(1) << order); i++) {
		heap->used[i / 64] &= ~(UINT64_C(1) << i % 64);
		heap->used[i / 64] |= (uint64_t)used << i % 64;
	}
}

static bool is_used(uint64_t offset)
{
	return heap->used[offset / PAGE / 64] >> offset / PAGE % 64 & 1;
}

static void *pages_alloc(size_t size)
{
	unsigned order = 0;
	struct pages_of_order *o;
	uint64_t first;

	while (order < ORDERS && PAGE << order < size)
		order++;
	if (order == ORDERS)
		return NULL;
	o = &heap->pages[order];
	if (o->n && !heap->fresh) {
		first = o->page[--o->n];
	} else {
		/* As aligned as it is large. */
		first = (heap->pages_end + (UINT64_C(1) << order) - 1) &
			~((UINT64_C(1) << order) - 1);
		if (first + (UINT64_C(1) << order) > NR_PAGES)
			return NULL;
		heap->pages_end = first + (UINT64_C(1) << order);
		heap->order[first] = (uint8_t)order;
	}
	set_used(first, order, true);
	return pages + first * PAGE;
}

static void pages_free(void *p)
{
	uint64_t first = ((uintptr_t)p - CHECK_PAGES) / PAGE;
	struct pages_of_order *o = &heap->pages[heap->order[first]];

	set_used(first, heap->order[first], false);
	if (o->n < KEPT_FREE)
		o->page[o->n++] = (uint16_t)first;
}

void *check_region_alloc(size_t align, size_t size)
{
	void *p;

	begin();
	p = align >= PAGE ? pages_alloc(size) : small_alloc(size);
	if (!p)
		die("the region of an execution is full");
	return p;
}

void *check_region_zeroed(size_t n, size_t size)
{
	void *p = check_region_alloc(1, n * size);

	return memset(p, 0, n * size);
}

void *check_region_more(void *p, size_t size)
{
	void *more = check_region_alloc(1, size);
	uint64_t room;

	if (!p)
		return more;
	room = head_of(p)->grains * GRAIN - HEAD;
	memcpy(more, p, room < size ? room : size);
	small_free(p);
	return more;
}

void check_region_free(void *p)
{
	if (!p)
		return;
	if ((uintptr_t)p - CHECK_PAGES < CHECK_PAGES_SIZE)
		pages_free(p);
	else
		small_free(p);
}

void check_region_fresh(bool fresh)
{
	heap->fresh = fresh;
}

/* ---- states -------------------------------------------------------------------------------------------------------------- */

static void watch_anew(void)
{
	for (uint32_t i = 0; i < check_lines.n; i++)
		check_lines.written[check_lines.of[i]] = 0;
	check_lines.n = 0;
}

/* Clang copies and clears structs by calls of its own, of which nobody is told: there every line may have been written. */
static void catch_up(void)
{
#ifdef __clang__
	check_wrote(pages, heap->pages_end * PAGE);
#endif
}

void check_region_keep(void)
{
	begin();
	watch_anew();
	kept.small_end = heap->small_end;
	kept.pages_end = heap->pages_end * PAGE;
	memcpy(kept.small, heap, kept.small_end);
	memcpy(kept.pages, pages, kept.pages_end);
	check_lines.watched = true;
}

void check_region_forget(void)
{
	check_lines.watched = false;
	watch_anew();
}

/* A line that was nobody's may stay as it is: whoever is given it finds anything. */
void check_region_back(void)
{
	catch_up();
	for (uint32_t i = 0; i < check_lines.n; i++) {
		uint64_t at = check_lines.of[i] * LINE;

		if (at < kept.pages_end)
			memcpy(pages + at, kept.pages + at, LINE);
	}
	watch_anew();
	memcpy(heap, kept.small, kept.small_end);
}

__extension__ typedef unsigned __int128 product_t;

/* Both halves of the product: what is in either word is in every bit. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	product_t product = (product_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Four products, none of which waits for another. */
static uint64_t name_line(uint64_t at, const char *line)
{
	static const uint64_t keys[8] = {
		UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xbf58476d1ce4e5b9),
		UINT64_C(0x94d049bb133111eb), UINT64_C(0xd6e8feb86659fd93),
		UINT64_C(0xa0761d6478bd642f), UINT64_C(0xe7037ed1a0b428db),
		UINT64_C(0x8ebc6af09c88c6e3), UINT64_C(0x589965cc75374cc3),
	};
	uint64_t words[LINE / 8], h = 0;

	memcpy(words, line, LINE);
	for (unsigned i = 0; i < LINE / 8; i += 2)
		h = (h << 1 | h >> 63) + mix(words[i] ^ keys[i], words[i + 1] ^ keys[i + 1]);
	return mix(h ^ keys[0], at ^ keys[1]);
}

/*
 * Lines that are as they were count for nothing, whoever wrote them; the others in any order. `base`: of the names of places. Most
 * of what is small is as it was: it is compared by the piece.
 */
static uint64_t state_of(uint64_t base, const char *now, const char *then, uint64_t end)
{
	uint64_t sum = 0, at = 0;

	while (at < end) {
		uint64_t piece = end - at < 16 * LINE ? end - at : 16 * LINE;

		if (then && !memcmp(now + at, then + at, piece)) {
			at += piece;
			continue;
		}
		for (; piece; piece -= LINE, at += LINE) {
			if (!then || memcmp(now + at, then + at, LINE))
				sum += name_line(base + at, now + at);
		}
	}
	return sum;
}

uint64_t check_region_state(void)
{
	uint64_t end = heap->small_end < kept.small_end ? heap->small_end : kept.small_end;
	const char *small = (const char *)heap;
	uint64_t sum = state_of(CHECK_SMALL, small, kept.small, end);

	catch_up();
	sum += state_of(CHECK_SMALL + end, small + end, NULL, heap->small_end - end);
	for (uint32_t i = 0; i < check_lines.n; i++) {
		uint64_t at = check_lines.of[i] * LINE;

		if (is_used(at))
			sum += state_of(CHECK_PAGES + at, pages + at,
					at < kept.pages_end ? kept.pages + at : NULL, LINE);
	}
	return sum;
}
