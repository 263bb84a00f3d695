/* SPDX-License-Identifier: MIT */
/* The radix tree against a sorted array, under failing allocations, and its checker against damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "radix.h"
#include "random.h"

#define OPS 200000
#define MOST 4000

/* The layout of a node, to damage it. */
struct rnode {
	uint64_t used;
	uint32_t level;
	uint32_t spare;
	void *slot[64];
};

struct entry {
	uint64_t index;
	void *item;
};

struct world {
	struct avm_radix radix;
	struct rng rng;
	uint64_t live;
	unsigned int fail_percent;
	unsigned int fail_at; /* counts down to the allocation that fails; 0: none */
	struct entry model[MOST + 1];
	size_t n;
};

static void *world_alloc(struct world *w)
{
	if (rng_below(&w->rng, 100) < w->fail_percent || (w->fail_at && !--w->fail_at))
		return NULL;

	void *node = malloc(AVM_RADIX_NODE_BYTES);

	assert_non_null(node);
	memset(node, 0x5a, AVM_RADIX_NODE_BYTES);
	w->live++;
	return node;
}

static void world_free(struct world *w, void *node)
{
	w->live--;
	free(node);
}

static struct world *world_new(uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->rng.state = seed;
	avm_radix_init(&w->radix);
	return w;
}

static void drain(struct world *w, struct avm_radix_spares *spares)
{
	void *node;

	while ((node = avm_radix_spare_get(spares)))
		world_free(w, node);
	assert_int_equal(spares->nr, 0);
}

/* As the page cache does it: without spares first, then with one more each time. */
static int insert(struct world *w, uint64_t index, void *item)
{
	struct avm_radix_spares spares = { 0 };
	int err;

	while ((err = avm_radix_insert(&w->radix, index, item, &spares)) == -12) {
		void *node = world_alloc(w);

		if (!node)
			break;
		avm_radix_spare_put(&spares, node);
	}
	if (!err)
		assert_int_equal(spares.nr, 0);
	drain(w, &spares);
	return err;
}

static void *erase(struct world *w, uint64_t index)
{
	struct avm_radix_spares spares = { 0 };
	void *item = avm_radix_erase(&w->radix, index, &spares);

	drain(w, &spares);
	return item;
}

static void erase_all(struct world *w)
{
	uint64_t index;
	void *item;

	avm_radix_for_each(item, &w->radix, index, 0, UINT64_MAX)
	{
		assert_ptr_equal(erase(w, index), item);
	}
	assert_true(avm_radix_empty(&w->radix));
	assert_int_equal(w->live, 0);
	free(w);
}

static void assert_sound(struct world *w)
{
	const char *fault = avm_radix_check(&w->radix, w->n);

	if (fault)
		fail_msg("%s", fault);
}

static size_t model_find(const struct world *w, uint64_t index)
{
	size_t low = 0, high = w->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (w->model[middle].index >= index)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool model_has(const struct world *w, size_t i, uint64_t index)
{
	return i < w->n && w->model[i].index == index;
}

/* Dense and sparse, near borders of levels, at both ends; often one that is there. */
static uint64_t random_index(struct world *w)
{
	uint64_t r = rng_next(&w->rng);

	switch (rng_below(&w->rng, 6)) {
	case 0:
		return r % 300;
	case 1:
		return r;
	case 2:
		return (UINT64_C(1) << r % 64) - 4 + (r >> 32) % 8;
	case 3:
		return UINT64_MAX - r % 100;
	case 4:
		return r >> r % 64;
	default:
		return w->n ? w->model[r % w->n].index : 0;
	}
}

static void random_insert(struct world *w)
{
	uint64_t index = random_index(w);
	void *item = (void *)(uintptr_t)(rng_next(&w->rng) | 1);
	size_t i = model_find(w, index);
	bool there = model_has(w, i, index);
	uint64_t live = w->live;

	if (w->n == MOST)
		return;

	int err = insert(w, index, item);

	if (err) {
		assert_int_equal(err, there ? -17 : -12);
		assert_int_equal(w->live, live);
		return;
	}
	assert_false(there);
	memmove(&w->model[i + 1], &w->model[i], (w->n - i) * sizeof(w->model[0]));
	w->model[i] = (struct entry){ index, item };
	w->n++;
}

static void random_erase(struct world *w)
{
	uint64_t index = random_index(w);
	size_t i = model_find(w, index);
	bool there = model_has(w, i, index);
	void *item = erase(w, index);

	assert_ptr_equal(item, there ? w->model[i].item : NULL);
	if (!there)
		return;
	w->n--;
	memmove(&w->model[i], &w->model[i + 1], (w->n - i) * sizeof(w->model[0]));
	if (!w->n)
		assert_int_equal(w->live, 0);
}

static void random_replace(struct world *w)
{
	uint64_t index = random_index(w);
	void *item = (void *)(uintptr_t)(rng_next(&w->rng) | 1);
	size_t i = model_find(w, index);
	bool there = model_has(w, i, index);

	assert_ptr_equal(avm_radix_replace(&w->radix, index, item),
			 there ? w->model[i].item : NULL);
	if (there)
		w->model[i].item = item;
}

static void random_lookup(struct world *w)
{
	uint64_t index = random_index(w);
	uint64_t last = random_index(w);
	size_t i = model_find(w, index);
	uint64_t at = index;

	assert_ptr_equal(avm_radix_lookup(&w->radix, index),
			 model_has(w, i, index) ? w->model[i].item : NULL);

	bool there = i < w->n && w->model[i].index <= last && index <= last;

	assert_ptr_equal(avm_radix_next(&w->radix, &at, last), there ? w->model[i].item : NULL);
	assert_true(at == (there ? w->model[i].index : index));
}

static void random_range(struct world *w)
{
	uint64_t first = random_index(w), last = random_index(w), index;
	size_t i = model_find(w, first);
	void *item;

	if (first > last)
		return;
	avm_radix_for_each(item, &w->radix, index, first, last)
	{
		assert_true(i < w->n && w->model[i].index == index);
		assert_ptr_equal(item, w->model[i].item);
		i++;
	}
	assert_true(i == w->n || w->model[i].index > last);
}

static void random_operations_agree_with_model(void **state)
{
	struct world *w = world_new(1);
	bool grow = true;

	(void)state;
	w->fail_percent = 10;
	for (int op = 0; op < OPS; op++) {
		unsigned int dice = (unsigned int)rng_below(&w->rng, 100);

		if (dice < 30)
			random_lookup(w);
		else if (dice < 35)
			random_replace(w);
		else if (dice < (grow ? 80u : 50u))
			random_insert(w);
		else
			random_erase(w);
		if (grow ? w->n == MOST || op % 30000 == 29999 : !w->n)
			grow = !grow;
		if (rng_below(&w->rng, 1000) == 0)
			random_range(w);
		if (op % 199 == 0 || w->n < 40)
			assert_sound(w);
	}
	erase_all(w);
}

static void insert_that_fails_anywhere_changes_nothing(void **state)
{
	static const uint64_t indexes[] = { 0, 63, 64, 4095, 4096, UINT64_C(1) << 40, UINT64_MAX };
	static const unsigned int nodes[] = { 1, 0, 2, 1, 3, 10, 14 };
	struct world *w = world_new(2);
	int item;

	(void)state;
	for (size_t i = 0; i < 7; i++) {
		unsigned int failures = 0;

		for (;;) {
			struct avm_radix before = w->radix;
			uint64_t live = w->live;

			w->fail_at = failures + 1;
			if (!insert(w, indexes[i], &item))
				break;
			assert_memory_equal(&before, &w->radix, sizeof(before));
			assert_int_equal(w->live, live);
			assert_sound(w);
			failures++;
		}
		assert_int_equal(failures, nodes[i]);
		w->n++;
		assert_sound(w);
		for (size_t j = 0; j < 7; j++)
			assert_ptr_equal(avm_radix_lookup(&w->radix, indexes[j]),
					 j <= i ? &item : NULL);
	}
	erase_all(w);
}

static void walk_survives_erasure_of_its_item(void **state)
{
	struct world *w = world_new(3);
	uint64_t index, n = 0;
	void *item;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(insert(w, i * i * i, w), 0);
	avm_radix_for_each(item, &w->radix, index, 0, UINT64_MAX)
	{
		assert_ptr_equal(erase(w, index), w);
		n++;
	}
	assert_int_equal(n, 1000);
	assert_true(avm_radix_empty(&w->radix));
	assert_int_equal(w->live, 0);
	free(w);
}

#define assert_speaks(w, place, value) \
	do { \
		__typeof__(place) saved = (place); \
		(place) = (value); \
		if (!avm_radix_check(&(w)->radix, (w)->n + 4)) \
			fail_msg("silent: %s = %s", #place, #value); \
		(place) = saved; \
		assert_sound(w); \
	} while (0)

static void checker_reports_every_kind_of_damage(void **state)
{
	struct world *w = world_new(4);

	(void)state;
	for (uint64_t i = 0; i < 500; i++) {
		assert_int_equal(insert(w, i * 37, w), 0);
		w->n++;
	}
	assert_int_equal(w->radix.height, 3);
	assert_sound(w);
	assert_non_null(avm_radix_check(&w->radix, w->n - 1));

	struct rnode *node[3];

	node[2] = (struct rnode *)w->radix.root;
	node[1] = node[2]->slot[1];
	node[0] = node[1]->slot[5];
	for (uint32_t level = 0; level < 3; level++) {
		unsigned int i = (unsigned int)__builtin_ctzll(node[level]->used);

		assert_speaks(w, node[level]->used, 0);
		assert_speaks(w, node[level]->slot[i], NULL);
		if (~node[level]->used)
			assert_speaks(w, node[level]->slot[__builtin_ctzll(~node[level]->used)], w);
		assert_speaks(w, node[level]->level, level ^ 1);
		for (unsigned int bit = 0; bit < 64; bit++)
			assert_speaks(w, node[level]->used, node[level]->used ^ UINT64_C(1) << bit);
	}
	assert_speaks(w, node[1]->slot[5], (void *)1);
	assert_speaks(w, node[2]->slot[1], node[2]);
	assert_speaks(w, node[1]->slot[5], node[1]);
	assert_speaks(w, w->radix.height, 2);
	assert_speaks(w, w->radix.height, 0);
	assert_speaks(w, w->radix.height, 12);
	assert_speaks(w, w->radix.root, NULL);
	assert_speaks(w, w->radix.root, (struct avm_radix_node *)node[0]);

	erase_all(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_agree_with_model),
		cmocka_unit_test(insert_that_fails_anywhere_changes_nothing),
		cmocka_unit_test(walk_survives_erasure_of_its_item),
		cmocka_unit_test(checker_reports_every_kind_of_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
