/* SPDX-License-Identifier: MIT */
/*
 * The VMA tree against a sorted array, the gap searches against trying every address, the reserve
 * against an allocator that fails, and the checker against trees that were damaged on purpose.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "error.h"
#include "random.h"
#include "vma_node.h"

/* No alignment: 0. */
static bool gap_topdown(const struct avm_vma_tree *tree, uint64_t len, avm_addr_t low,
			avm_addr_t high, uint64_t align, avm_addr_t *addr)
{
	const struct avm_gap gap = { len, align ? align : 1, low, high, AVM_GAP_TOPDOWN };

	return avm_vma_tree_find_gap(tree, &gap, addr);
}

static bool gap_bottomup(const struct avm_vma_tree *tree, uint64_t len, avm_addr_t low,
			 avm_addr_t high, uint64_t align, avm_addr_t *addr)
{
	const struct avm_gap gap = { len, align ? align : 1, low, high, AVM_GAP_BOTTOMUP };

	return avm_vma_tree_find_gap(tree, &gap, addr);
}

#define OPS 200000
#define GROWS_DOWN AVM_VM_GROWSDOWN

struct arena {
	uint64_t live;
	struct rng rng;
	unsigned int fail_percent;
};

static void *arena_alloc(void *context)
{
	struct arena *arena = context;

	if (rng_below(&arena->rng, 100) < arena->fail_percent)
		return NULL;

	void *node = aligned_alloc(64, AVM_VMA_NODE_BYTES);

	assert_non_null(node);
	memset(node, 0xa5, AVM_VMA_NODE_BYTES);
	arena->live++;
	return node;
}

static void arena_free(void *context, void *node)
{
	struct arena *arena = context;

	assert_true(arena->live > 0);
	arena->live--;
	free(node);
}

/* The tree under test, and the model: the VMAs in order. */
struct world {
	struct avm_vma_tree tree;
	struct avm_node_alloc nodes;
	struct arena arena;
	struct rng rng;
	uint64_t limit; /* addresses are below */
	uint64_t guard;
	uint64_t usual_len; /* most VMAs are shorter */
	struct avm_vma **model;
	size_t n, capacity;
};

static void world_init(struct world *w, uint64_t limit, uint64_t guard, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->arena.rng.state = seed + 1;
	w->rng.state = seed;
	w->nodes = (struct avm_node_alloc){ arena_alloc, arena_free, &w->arena };
	w->limit = limit;
	w->guard = guard;
	w->usual_len = limit < 4096 ? limit / 64 : limit >> 16;
	w->capacity = 1 << 14;
	w->model = calloc(w->capacity, sizeof(struct avm_vma *));
	assert_non_null(w->model);
	avm_vma_tree_init(&w->tree, &w->nodes, guard, GROWS_DOWN);
}

static void world_exit(struct world *w)
{
	avm_vma_tree_destroy(&w->tree);
	assert_int_equal(w->arena.live, 0);
	assert_null(avm_vma_tree_find(&w->tree, 0));
	for (size_t i = 0; i < w->n; i++)
		free(w->model[i]);
	free(w->model);
}

static void print_report(void *context, avm_addr_t where, const char *what)
{
	if (context)
		fprintf(stderr, "%#llx: %s\n", (unsigned long long)where, what);
}

static uint32_t faults(struct world *w)
{
	return avm_vma_tree_check(&w->tree, w->n + 8, print_report, NULL);
}

static void assert_sound(struct world *w)
{
	assert_int_equal(avm_vma_tree_check(&w->tree, w->n, print_report, w), 0);
}

/* The first of the model that ends above @addr. */
static size_t model_find(const struct world *w, uint64_t addr)
{
	size_t low = 0, high = w->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (w->model[middle]->end > addr)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static uint64_t model_floor(const struct world *w, size_t i)
{
	return i ? w->model[i - 1]->end : 0;
}

static uint64_t model_ceiling(const struct world *w, size_t i)
{
	return i + 1 < w->n ? w->model[i + 1]->start : w->limit;
}

/* By the way that a look has left (the first one: none), or by its own, in turn. @next: the one that is behind it then, or NULL. */
static void enter(struct world *w, struct avm_vma *vma, const struct avm_vma *next)
{
	if (w->n % 2 == 0) {
		avm_vma_tree_insert(&w->tree, vma);
		return;
	}
	assert_ptr_equal(avm_vma_tree_find_way(&w->tree, vma->start), next);
	avm_vma_tree_insert_found(&w->tree, vma);
}

static void world_insert(struct world *w, uint64_t start, uint64_t end, uint64_t flags)
{
	struct avm_vma *vma = calloc(1, sizeof(*vma));
	size_t i = model_find(w, start);

	assert_non_null(vma);
	assert_true(w->n < w->capacity);
	vma->start = start;
	vma->end = end;
	vma->flags = flags;
	memmove(&w->model[i + 1], &w->model[i], (w->n - i) * sizeof(struct avm_vma *));
	w->model[i] = vma;
	w->n++;
	enter(w, vma, i + 1 < w->n ? w->model[i + 1] : NULL);
}

static void world_erase(struct world *w, size_t i)
{
	struct avm_vma *vma = w->model[i];

	avm_vma_tree_erase(&w->tree, vma);
	w->n--;
	memmove(&w->model[i], &w->model[i + 1], (w->n - i) * sizeof(struct avm_vma *));
	free(vma);
}

/* As the operations do: reserve, maybe in vain; once granted, the insertions cannot fail. */
static bool world_reserve(struct world *w, uint32_t inserts)
{
	uint32_t reserved = w->tree.nr_reserve;
	uint64_t live = w->arena.live;
	int err = avm_vma_tree_reserve(&w->tree, inserts);

	if (!err)
		return true;
	assert_int_equal(err, -12);
	assert_int_equal(w->tree.nr_reserve, reserved);
	assert_int_equal(w->arena.live, live);
	return false;
}

static uint64_t random_flags(struct world *w)
{
	return rng_below(&w->rng, 4) ? AVM_VM_READ : AVM_VM_READ | GROWS_DOWN;
}

static void random_insert(struct world *w)
{
	uint32_t inserts = 1 + (uint32_t)rng_below(&w->rng, 8);

	if (!world_reserve(w, inserts))
		return;
	while (inserts--) {
		uint64_t at = rng_below(&w->rng, w->limit);
		size_t i = model_find(w, at);
		uint64_t ceiling = i < w->n ? w->model[i]->start : w->limit;

		if (at >= ceiling)
			continue;

		/* Often all the room there is, so that neighbours touch. */
		uint64_t room = ceiling - at;
		uint64_t len = rng_below(&w->rng, 3) ? 1 + rng_below(&w->rng, room) : room;

		if (len > w->usual_len && rng_below(&w->rng, 8))
			len = 1 + rng_below(&w->rng, w->usual_len);
		world_insert(w, at, at + len, random_flags(w));
	}
}

static void random_erase(struct world *w)
{
	/* Runs, as munmap makes them. */
	size_t run = 1 + (size_t)rng_below(&w->rng, 12);

	while (run-- && w->n) {
		size_t i = (size_t)rng_below(&w->rng, w->n);

		world_erase(w, i);
	}
}

static void random_set_range(struct world *w)
{
	if (!w->n)
		return;

	size_t i = (size_t)rng_below(&w->rng, w->n);
	struct avm_vma *vma = w->model[i];
	uint64_t floor = model_floor(w, i);
	uint64_t ceiling = model_ceiling(w, i);
	uint64_t start = vma->start, end = vma->end;

	switch (rng_below(&w->rng, 4)) {
	case 0: /* the start */
		start = floor + rng_below(&w->rng, end - floor);
		break;
	case 1: /* the end, often up to the neighbour */
		end = start + 1 + rng_below(&w->rng, ceiling - start);
		if (rng_below(&w->rng, 2))
			end = ceiling - start > w->usual_len ? start + w->usual_len : ceiling;
		break;
	case 2: /* to another place between the neighbours */
		start = floor + rng_below(&w->rng, ceiling - floor);
		end = start + 1 + rng_below(&w->rng, ceiling - start);
		if (end - start > w->usual_len)
			end = start + w->usual_len;
		break;
	default: /* the flags */
		vma->flags ^= GROWS_DOWN;
	}
	avm_vma_tree_set_range(&w->tree, vma, start, end);
	assert_true(vma->start == start && vma->end == end);
}

static void random_find(struct world *w)
{
	uint64_t at = rng_below(&w->rng, w->limit + 2);
	size_t i = model_find(w, at);
	struct avm_vma *expect = i < w->n ? w->model[i] : NULL;

	assert_ptr_equal(avm_vma_tree_find(&w->tree, at), expect);

	uint64_t end = at + 1 + rng_below(&w->rng, 16);
	bool meets = expect && expect->start < end;

	assert_ptr_equal(avm_vma_tree_find_intersection(&w->tree, at, end), meets ? expect : NULL);
	if (!expect)
		return;
	assert_ptr_equal(avm_vma_tree_prev(&w->tree, expect), i ? w->model[i - 1] : NULL);
	assert_ptr_equal(avm_vma_tree_next(&w->tree, expect),
			 i + 1 < w->n ? w->model[i + 1] : NULL);
	assert_ptr_equal(avm_vma_tree_first(&w->tree), w->model[0]);
	assert_ptr_equal(avm_vma_tree_last(&w->tree), w->model[w->n - 1]);
}

/* Is [a, a + len) free, guards included? Says where it is not. */
static bool model_is_free(const struct world *w, uint64_t a, uint64_t len)
{
	for (size_t i = model_find(w, a); i < w->n; i++) {
		uint64_t taken = w->model[i]->start;

		/* The guard counts up to the VMA below, not beyond it. */
		if (w->model[i]->flags & GROWS_DOWN)
			taken = taken - model_floor(w, i) > w->guard ? taken - w->guard :
								       model_floor(w, i);
		if (taken < a + len)
			return false;
		if (w->model[i]->start >= a + len + w->guard)
			break;
	}
	return true;
}

static void random_gap(struct world *w)
{
	uint64_t len = rng_below(&w->rng, rng_below(&w->rng, 2) ? 12 : w->limit / 16);
	uint64_t low = rng_below(&w->rng, 4) ? rng_below(&w->rng, w->limit) : 0;
	uint64_t high = rng_below(&w->rng, 4) ? low + rng_below(&w->rng, w->limit - low) : w->limit;
	uint64_t align = UINT64_C(1) << rng_below(&w->rng, 5);
	uint64_t step = align;
	uint64_t got = 0xdead, expect = 0xdead;
	bool found = false;

	if (rng_below(&w->rng, 2)) {
		align = 0;
		step = 1;
	}
	for (uint64_t a = high & ~(step - 1); len; a -= step) {
		if (a >= low && a <= high && high - a >= len && model_is_free(w, a, len)) {
			expect = a;
			found = true;
			break;
		}
		if (a < low || !a)
			break;
	}
	assert_int_equal(gap_topdown(&w->tree, len, low, high, align, &got), found);
	assert_int_equal(got, expect);

	got = 0xdead;
	expect = 0xdead;
	found = false;
	for (uint64_t a = (low + step - 1) & ~(step - 1); len && a + len <= high; a += step) {
		if (model_is_free(w, a, len)) {
			expect = a;
			found = true;
			break;
		}
	}
	assert_int_equal(gap_bottomup(&w->tree, len, low, high, align, &got), found);
	assert_int_equal(got, expect);
}

/* The same question where trying every address would take too long: gap by gap, all of them. */
static void random_gap_in_large(struct world *w)
{
	uint64_t len = (1 + rng_below(&w->rng, 4096)) << rng_below(&w->rng, 16);
	uint64_t low = rng_below(&w->rng, 4) ? rng_below(&w->rng, w->limit) : 0;
	uint64_t high = rng_below(&w->rng, 4) ? low + rng_below(&w->rng, w->limit - low) : w->limit;
	uint64_t align = UINT64_C(1) << rng_below(&w->rng, 24);
	uint64_t lowest = UINT64_MAX, highest = UINT64_MAX, got = UINT64_MAX;

	for (size_t i = 0; i <= w->n; i++) {
		uint64_t lo = model_floor(w, i);
		uint64_t hi = i < w->n ? w->model[i]->start : high;

		if (i < w->n && w->model[i]->flags & GROWS_DOWN)
			hi = hi - lo > w->guard ? hi - w->guard : lo;
		lo = lo < low ? low : lo;
		hi = hi > high ? high : hi;
		if (hi < lo || hi - lo < len)
			continue;

		uint64_t first = (lo + align - 1) / align * align;
		uint64_t last = (hi - len) / align * align;

		if (first > last)
			continue;
		highest = last;
		if (lowest == UINT64_MAX)
			lowest = first;
	}

	bool found = gap_topdown(&w->tree, len, low, high, align, &got);

	assert_true(found == (highest != UINT64_MAX) && got == highest);
	got = UINT64_MAX;
	found = gap_bottomup(&w->tree, len, low, high, align, &got);
	assert_true(found == (lowest != UINT64_MAX) && got == lowest);
}

static void assert_same(struct world *w)
{
	struct avm_vma *vma = avm_vma_tree_first(&w->tree);

	assert_int_equal(w->tree.count, w->n);
	for (size_t i = 0; i < w->n; i++) {
		assert_ptr_equal(vma, w->model[i]);
		vma = avm_vma_tree_next(&w->tree, vma);
	}
	assert_null(vma);
}

static void fill(struct world *w, size_t n)
{
	while (w->n < n)
		random_insert(w);
}

/* Phases of growth and of decay, so that nodes split and merge on every level. */
static void run_model(uint64_t limit, uint64_t guard, size_t most, unsigned int check_every,
		      unsigned int gap_percent, uint64_t seed)
{
	struct world w;
	bool grow = true;
	unsigned int turns = 0;
	uint32_t highest = 0;

	world_init(&w, limit, guard, seed);
	w.arena.fail_percent = 20;
	for (unsigned int op = 0; op < OPS; op++) {
		unsigned int dice = (unsigned int)rng_below(&w.rng, 100);

		if (dice < gap_percent && limit > 4096)
			random_gap_in_large(&w);
		else if (dice < gap_percent)
			random_gap(&w);
		else if (dice < 40)
			random_find(&w);
		else if (dice < 60)
			random_set_range(&w);
		else if (dice < (grow ? 94u : 65u))
			random_insert(&w);
		else
			random_erase(&w);

		if (grow ? w.n > most || op % 20000 == 19999 : !w.n) {
			grow = !grow;
			turns++;
			assert_same(&w);
		}
		if (!rng_below(&w.rng, 1000))
			avm_vma_tree_trim(&w.tree);
		highest = w.tree.height > highest ? w.tree.height : highest;
		if (op % check_every == 0)
			assert_sound(&w);
	}
	assert_same(&w);
	assert_sound(&w);
	assert_true(turns > 4);
	assert_true(most < 1000 || highest >= 4);
	world_exit(&w);
}

static void small_address_space_agrees_with_model_at_every_step(void **state)
{
	(void)state;
	run_model(512, 3, 120, 1, 15, 1);
}

static void small_address_space_without_guard_agrees_with_model(void **state)
{
	(void)state;
	run_model(300, 0, 300, 1, 15, 2);
}

static void large_address_space_agrees_with_model(void **state)
{
	(void)state;
	run_model(UINT64_C(1) << 32, 256, 8000, 509, 5, 3);
}

/* ---- two steps for many, where AVM_FAST says so --------------------------------------------------- */

#if AVM_FAST

/* A VMA loses what is above the first of @n addresses, in as many parts. */
static void world_split(struct world *w, size_t i, const uint64_t *addr, uint32_t n)
{
	struct avm_vma *vma = w->model[i], **upper = &w->model[i + 1];
	uint64_t start = vma->start, end = vma->end;

	assert_true(w->n + n <= w->capacity);
	memmove(upper + n, upper, (w->n - i - 1) * sizeof(*upper));
	w->n += n;
	for (uint32_t k = 0; k < n; k++) {
		upper[k] = calloc(1, sizeof(**upper));
		assert_non_null(upper[k]);
		upper[k]->start = addr[k];
		upper[k]->end = k + 1 < n ? addr[k + 1] : end;
		upper[k]->flags = vma->flags;
	}
	avm_vma_tree_split(&w->tree, vma, upper, n);
	assert_true(vma->start == start && vma->end == addr[0]);
}

/* A VMA grows over the @more behind it, and over the room between them. */
static void world_join(struct world *w, size_t i, size_t more)
{
	struct avm_vma *vma = w->model[i], *last = w->model[i + more];
	uint64_t start = vma->start, end = last->end;

	assert_true(more && i + more < w->n);
	avm_vma_tree_join(&w->tree, vma, last);
	assert_true(vma->start == start && vma->end == end);
	for (size_t k = i + 1; k <= i + more; k++)
		free(w->model[k]);
	w->n -= more;
	memmove(&w->model[i + 1], &w->model[i + more + 1],
		(w->n - i - 1) * sizeof(struct avm_vma *));
}

/* Once, or again and again at one place, as mprotect page by page does. */
static void random_split(struct world *w)
{
	uint32_t splits = 1 + (uint32_t)rng_below(&w->rng, 8);
	size_t i;

	if (!w->n || !world_reserve(w, splits))
		return;
	i = (size_t)rng_below(&w->rng, w->n);
	while (splits) {
		uint64_t start = w->model[i]->start, len = w->model[i]->end - start;
		uint64_t addr[2];
		uint32_t n = splits > 1 ? 1 + (uint32_t)rng_below(&w->rng, 2) : 1;

		if (len < 3)
			return;
		addr[0] = start + 1 + rng_below(&w->rng, len - 2);
		addr[1] = addr[0] + 1 + rng_below(&w->rng, start + len - addr[0] - 1);
		world_split(w, i, addr, n);
		i += (size_t)rng_below(&w->rng, 1 + n);
		splits -= n;
	}
}

/* Mostly of one or two, which merges are; sometimes over several leaves. */
static void random_join(struct world *w)
{
	size_t i, more;

	if (w->n < 2)
		return;
	i = (size_t)rng_below(&w->rng, w->n - 1);
	more = 1 + (size_t)rng_below(&w->rng, rng_below(&w->rng, 32) ? 2 : 100);
	world_join(w, i, more < w->n - i ? more : w->n - 1 - i);
}

/* Few others, to leave room between VMAs again, over which joins go, and guards. */
static void random_split_or_join(struct world *w, bool grow)
{
	unsigned int dice = (unsigned int)rng_below(&w->rng, 100);

	if (dice < 3)
		random_insert(w);
	else if (dice < 10 && w->n > 1)
		world_erase(w, (size_t)rng_below(&w->rng, w->n));
	else if (dice < (grow ? 70u : 35u))
		random_split(w);
	else
		random_join(w);
}

/*
 * Trees of each size from one leaf to four levels, kept near it by splits and joins: every level splits, feeds and
 * merges by them. The checker looks at all of a tree that is small after each step.
 */
static void splits_and_joins_agree_with_model(void **state)
{
	static const size_t sizes[] = { 4, 20, 60, 250, 900, 4000 };
	uint32_t highest = 0;

	(void)state;
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		struct world w;
		unsigned int turns = 0;
		bool grow = false;

		world_init(&w, UINT64_C(1) << 32, 256, 100 + k);
		fill(&w, sizes[k]);
		w.arena.fail_percent = 1;
		for (unsigned int op = 0; op < 20000; op++) {
			random_split_or_join(&w, grow);
			random_find(&w);
			if (grow ? w.n > sizes[k] : w.n <= sizes[k] / 2) {
				grow = !grow;
				turns++;
			}
			highest = w.tree.height > highest ? w.tree.height : highest;
			if (w.n > 300 && op % 64)
				continue;
			assert_sound(&w);
			assert_same(&w);
		}
		assert_true(turns > 4);
		world_exit(&w);
	}
	assert_true(highest >= 4);
}

/* As fork makes it: n VMAs, of which so many have been said. */
static void build(struct world *w, uint32_t said, uint32_t n)
{
	assert_int_equal(avm_vma_tree_begin(&w->tree, said), 0);
	for (uint32_t i = 0; i < n; i++) {
		struct avm_vma *vma = calloc(1, sizeof(*vma));

		assert_non_null(vma);
		vma->start = i * 100ull + rng_below(&w->rng, 20);
		vma->end = i * 100ull + 21 + rng_below(&w->rng, 80);
		vma->flags = random_flags(w);
		avm_vma_tree_append(&w->tree, vma);
		w->model[w->n++] = vma;
	}
	assert_null(avm_vma_tree_find(&w->tree, 0)); /* nobody sees it before it is whole */
	avm_vma_tree_finish(&w->tree);
}

static void a_tree_of_any_size_is_built_in_order(void **state)
{
	(void)state;
	for (uint32_t n = 0; n < 8000; n += n < 800 ? 1 : 97) {
		struct world w;

		world_init(&w, 1 << 20, 30, n);
		build(&w, n, n);
		assert_int_equal(w.tree.nr_reserve,
				 0); /* as many nodes as were said, and no more */
		assert_sound(&w);
		for (int i = 0; i < 20; i++) {
			random_find(&w);
			random_insert(&w);
			random_erase(&w);
			random_set_range(&w);
		}
		assert_sound(&w);
		world_exit(&w);
	}
}

static void a_tree_that_ends_early_is_whole(void **state)
{
	struct world w;

	(void)state;
	for (uint32_t n = 0; n < 400; n++) {
		world_init(&w, 1 << 20, 30, n);
		build(&w, 400, n);
		assert_sound(&w);
		world_exit(&w);
	}
	world_init(&w, 1 << 20, 30, 1);
	w.arena.fail_percent = 10;
	assert_int_equal(avm_vma_tree_begin(&w.tree, 4000), -12);
	assert_int_equal(w.arena.live, 0);
	world_exit(&w);
}

#endif

/* ---- addresses, reserves --------------------------------------------------------------------------- */

/* Addresses of the largest size: nothing may wrap. */
static void top_of_the_address_space_is_usable(void **state)
{
	struct world w;
	avm_addr_t a = 0;

	(void)state;
	world_init(&w, UINT64_MAX, 4096, 4);
	assert_true(gap_topdown(&w.tree, 4096, 0, UINT64_MAX, 4096, &a));
	assert_true(a == UINT64_MAX - 8191);
	assert_true(gap_bottomup(&w.tree, 4096, 1, UINT64_MAX, 4096, &a));
	assert_true(a == 4096);
	assert_false(gap_bottomup(&w.tree, 1, UINT64_MAX - 2, UINT64_MAX, 4096, &a));
	assert_false(gap_topdown(&w.tree, UINT64_MAX, 1, UINT64_MAX, 0, &a));
	assert_true(world_reserve(&w, 2));
	world_insert(&w, UINT64_MAX - 4096, UINT64_MAX, GROWS_DOWN);
	world_insert(&w, 0, 4096, GROWS_DOWN);
	assert_sound(&w);
	assert_ptr_equal(avm_vma_tree_find(&w.tree, UINT64_MAX - 1), w.model[1]);
	assert_null(avm_vma_tree_find(&w.tree, UINT64_MAX));
	assert_true(gap_topdown(&w.tree, 4096, 0, UINT64_MAX, 0, &a));
	assert_true(a == UINT64_MAX - 3 * 4096);
	assert_false(gap_topdown(&w.tree, 4096, 0, 4096, 0, &a));
	world_exit(&w);
}

/* Every node full: an insertion needs one node for each level and one for the new root, no less. */
static void reserve_covers_a_split_of_every_level(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, UINT64_MAX, 0, 5);
	while (w.n < AVM_VMA_NODE_SLOTS * AVM_VMA_NODE_SLOTS) {
		size_t victim = 0;
		const struct avm_vma_node *root = w.tree.root;

		/* In a leaf with room while there is one: before its last entry. */
		for (uint32_t i = 0; w.tree.height == 2 && i < root->count; i++) {
			const struct avm_vma_node *leaf = root->slot[i];

			if (leaf->count < AVM_VMA_NODE_SLOTS) {
				victim = model_find(&w, leaf->end[leaf->count - 1] - 1);
				break;
			}
		}

		uint64_t floor = model_floor(&w, victim);
		uint64_t ceiling = victim < w.n ? w.model[victim]->start : UINT64_MAX;
		uint64_t start = floor + (ceiling - floor) / 2;

		if (start == floor || start == ceiling)
			break;
		assert_true(world_reserve(&w, 1));
		world_insert(&w, start, start + 1, 0);
		assert_true(w.tree.height <= 2);
	}
	assert_int_equal(w.n, AVM_VMA_NODE_SLOTS * AVM_VMA_NODE_SLOTS);
	assert_int_equal(w.tree.height, 2);
	avm_vma_tree_trim(&w.tree);
	assert_true(world_reserve(&w, 1));
	assert_int_equal(w.tree.nr_reserve, 3);
	assert_sound(&w);

	uint64_t end = w.model[w.n - 1]->end;

	world_insert(&w, end, end + 1, 0);
	assert_int_equal(w.tree.nr_reserve, 0);
	assert_int_equal(w.tree.height, 3);
	assert_sound(&w);
	world_exit(&w);
}

/* One reservation for all the VMAs of a fork, into an empty tree and into a full one. */
static void one_reserve_covers_many_ordered_inserts(void **state)
{
	/* Ascending, descending, scattered, both ends; the second round falls in between. */
	static const uint64_t most_bytes[] = { 36, 54, 43, 41 };

	(void)state;
	for (int pattern = 0; pattern < 4; pattern++) {
		struct world w;
		uint32_t n = 4000;

		world_init(&w, UINT64_MAX, 0, 6);
		for (int round = 0; round < 2; round++) {
			assert_true(world_reserve(&w, n));
			for (uint64_t k = 0; k < n; k++) {
				uint64_t at = pattern == 0 ? k :
					      pattern == 1 ? n - k :
							     k * 7919 % n;

				if (pattern == 3)
					at = k % 2 ? k : 2 * n - k;
				at = at * 100 + (uint64_t)round * 50;
				world_insert(&w, at, at + 10, 0);
			}
			assert_sound(&w);
		}

		avm_vma_tree_trim(&w.tree);
		assert_true(w.arena.live * AVM_VMA_NODE_BYTES / w.n <= most_bytes[pattern]);
		world_exit(&w);
	}
}

/* ---- the checker speaks ------------------------------------------------------------------------ */

static struct avm_vma_node *node_at(struct world *w, uint32_t level)
{
	struct avm_vma_node *node = w->tree.root;

	while (node->level > level)
		node = node->slot[node->count / 2];
	return node;
}

#define assert_speaks(w, place, value) \
	do { \
		__typeof__(place) saved = (place); \
		(place) = (value); \
		if (!faults(w)) \
			fail_msg("silent: %s = %s", #place, #value); \
		(place) = saved; \
		assert_sound(w); \
	} while (0)

static void checker_reports_every_kind_of_damage(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, UINT64_C(1) << 30, 7, 7);
	fill(&w, 3000);
	assert_int_equal(w.tree.height, 3);
	assert_true(world_reserve(&w, 3));
	assert_sound(&w);

	for (uint32_t level = 0; level < 3; level++) {
		struct avm_vma_node *node = node_at(&w, level);
		uint32_t last = node->count - 1u;

		assert_speaks(&w, node->magic, 0);
		assert_speaks(&w, node->level, 1 + level % 2);
		assert_speaks(&w, node->level, 9);
		assert_speaks(&w, node->count, (uint16_t)(node->count - 1));
		assert_speaks(&w, node->count, 0);
		assert_speaks(&w, node->count, 0xffff);
		assert_speaks(&w, node->end[0], node->end[0] + 1);
		assert_speaks(&w, node->end[last], 0);
		assert_speaks(&w, node->gap[0], node->gap[0] + 1);
		assert_speaks(&w, node->gap[last], UINT64_MAX);
		assert_speaks(&w, node->slot[1], NULL);
		assert_speaks(&w, node->slot[1], (void *)1);
		assert_speaks(&w, node->slot[1], node->slot[0]);
		if (last + 1 < AVM_VMA_NODE_SLOTS) {
			assert_speaks(&w, node->slot[last + 1], node->slot[0]);
			assert_speaks(&w, node->end[last + 1], 0);
		}
	}
	/* Round in circles, on the right level and not. */
	assert_speaks(&w, node_at(&w, 2)->slot[0], node_at(&w, 2));
	assert_speaks(&w, node_at(&w, 2)->slot[1], node_at(&w, 2)->slot[0]);
	assert_speaks(&w, node_at(&w, 1)->slot[0], node_at(&w, 1));

	struct avm_vma *vma = w.model[1500];

	assert_speaks(&w, vma->start, vma->start - 1);
	assert_speaks(&w, vma->start, vma->end);
	assert_speaks(&w, vma->end, vma->end + 1);
	assert_speaks(&w, vma->link.next, NULL);
	assert_speaks(&w, vma->link.next, &vma->link);
	assert_speaks(&w, vma->link.next, &w.model[1502]->link);
	assert_speaks(&w, vma->link.prev, &w.tree.list);
	assert_speaks(&w, w.tree.list.next, &w.tree.list);
	assert_speaks(&w, w.tree.list.prev, &vma->link);
	assert_speaks(&w, w.model[w.n - 1]->link.next, &vma->link);
	assert_speaks(&w, w.tree.count, w.tree.count + 1);
	assert_speaks(&w, w.tree.height, 2);
	assert_speaks(&w, w.tree.height, 0);
	assert_speaks(&w, w.tree.height, 1000);
	assert_speaks(&w, w.tree.root, NULL);
	assert_speaks(&w, w.tree.nr_reserve, w.tree.nr_reserve + 1);
	assert_speaks(&w, w.tree.reserve->slot[0], w.tree.reserve);

	/* A gap that forgets the guard. */
	size_t i = 1500;

	while (!(w.model[i]->flags & GROWS_DOWN) || w.model[i]->start == w.model[i - 1]->end)
		i++;
	assert_speaks(&w, w.model[i]->flags, AVM_VM_READ);
	world_exit(&w);
}

/* Any one bit of the header, the ends, the gaps: found, and survived. */
static void checker_reports_every_flipped_bit(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, UINT64_C(1) << 30, 7, 8);
	fill(&w, 700);
	for (uint32_t level = 0; level < w.tree.height; level++) {
		struct avm_vma_node *node = node_at(&w, level);
		size_t bits = offsetof(struct avm_vma_node, slot) * 8;

		for (size_t bit = 0; bit < bits; bit++) {
			unsigned char *byte = (unsigned char *)node + bit / 8;
			unsigned char mask = (unsigned char)(1u << bit % 8);
			size_t gap_0 = offsetof(struct avm_vma_node, gap) * 8;

			/* What gaps hold from count on is nobody's business. */
			if (bit >= gap_0 + node->count * 64u)
				continue;
			*byte ^= mask;
			if (!faults(&w))
				fail_msg("silent: bit %zu on level %u", bit, level);
			*byte ^= mask;
		}
	}
	assert_sound(&w);
	world_exit(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_address_space_agrees_with_model_at_every_step),
		cmocka_unit_test(small_address_space_without_guard_agrees_with_model),
		cmocka_unit_test(large_address_space_agrees_with_model),
#if AVM_FAST
		cmocka_unit_test(splits_and_joins_agree_with_model),
		cmocka_unit_test(a_tree_of_any_size_is_built_in_order),
		cmocka_unit_test(a_tree_that_ends_early_is_whole),
#endif
		cmocka_unit_test(top_of_the_address_space_is_usable),
		cmocka_unit_test(reserve_covers_a_split_of_every_level),
		cmocka_unit_test(one_reserve_covers_many_ordered_inserts),
		cmocka_unit_test(checker_reports_every_kind_of_damage),
		cmocka_unit_test(checker_reports_every_flipped_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
