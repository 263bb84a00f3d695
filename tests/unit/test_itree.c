/* SPDX-License-Identifier: MIT */
/* The interval tree against a plain array kept in the order the tree promises, and its checker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "interval_tree.h"
#include "random.h"

#define OPS 200000
#define MOST 1500

struct span {
	uint64_t start, last;
	struct avm_inode node;
};

#define SPAN_START(span) ((span)->start)
#define SPAN_LAST(span) ((span)->last)

AVM_ITREE_DEFINE(span_tree, struct span, node, SPAN_START, SPAN_LAST);

struct world {
	struct avm_itree tree;
	struct rng rng;
	struct span *model[MOST + 1]; /* by start; among equals the older first */
	size_t n;
	uint64_t limit;
};

static void assert_sound(struct world *w)
{
	const char *fault = span_tree_check(&w->tree, w->n);

	if (fault)
		fail_msg("%s", fault);
}

static void world_insert(struct world *w, uint64_t start, uint64_t last)
{
	struct span *span = calloc(1, sizeof(*span));
	size_t i = 0, high = w->n;

	assert_non_null(span);
	span->start = start;
	span->last = last;
	while (i < high) {
		size_t middle = (i + high) / 2;

		if (w->model[middle]->start > start)
			high = middle;
		else
			i = middle + 1;
	}
	memmove(&w->model[i + 1], &w->model[i], (w->n - i) * sizeof(struct span *));
	w->model[i] = span;
	w->n++;
	assert_false(avm_inode_linked(&span->node));
	span_tree_insert(&w->tree, span);
	assert_true(avm_inode_linked(&span->node));
}

static size_t place_of(struct world *w, const struct span *span)
{
	const struct avm_inode *node = avm_itree_first(&w->tree);
	size_t i = 0;

	for (; node && node != &span->node; node = avm_inode_next(node))
		i++;
	assert_non_null(node);
	return i;
}

/* One more of the bounds of model[twin]: behind it, wherever among those that start there. */
static void world_insert_behind(struct world *w, size_t twin)
{
	struct span *span = calloc(1, sizeof(*span));
	size_t place;

	assert_non_null(span);
	span->start = w->model[twin]->start;
	span->last = w->model[twin]->last;
	span_tree_insert_behind(&w->tree, span, w->model[twin]);
	place = place_of(w, span);
	assert_in_range(place, twin + 1, w->n);
	assert_int_equal(w->model[place - 1]->start, span->start);
	memmove(&w->model[place + 1], &w->model[place], (w->n - place) * sizeof(struct span *));
	w->model[place] = span;
	w->n++;
}

static void world_remove(struct world *w, size_t i)
{
	struct span *span = w->model[i];

	span_tree_remove(&w->tree, span);
	assert_false(avm_inode_linked(&span->node));
	w->n--;
	memmove(&w->model[i], &w->model[i + 1], (w->n - i) * sizeof(struct span *));
	free(span);
}

static void random_insert(struct world *w)
{
	uint64_t start = rng_below(&w->rng, w->limit);
	uint64_t len = rng_below(&w->rng, 16);

	if (w->n == MOST)
		return;
	if (w->n && rng_below(&w->rng, 4) == 0) {
		world_insert_behind(w, rng_below(&w->rng, w->n));
		return;
	}
	/* Sometimes all there is; often what is there already, as after a fork. */
	if (rng_below(&w->rng, 40) == 0)
		len = rng_next(&w->rng);
	if (w->n && rng_below(&w->rng, 3) == 0) {
		const struct span *twin = w->model[rng_below(&w->rng, w->n)];

		start = twin->start;
		len = twin->last - twin->start;
	}
	world_insert(w, start, len > UINT64_MAX - start ? UINT64_MAX : start + len);
}

/* All that meet [start, last], in order, each once. */
static void random_query(struct world *w)
{
	uint64_t start = rng_below(&w->rng, w->limit + 20);
	uint64_t last = start + rng_below(&w->rng, rng_below(&w->rng, 2) ? 4 : w->limit);
	const struct span *span = span_tree_iter_first(&w->tree, start, last);

	for (size_t i = 0; i < w->n; i++) {
		if (w->model[i]->start > last || w->model[i]->last < start)
			continue;
		assert_ptr_equal(span, w->model[i]);
		span = span_tree_iter_next(span, start, last);
	}
	assert_null(span);
}

static void assert_same_order(struct world *w)
{
	const struct avm_inode *node = avm_itree_first(&w->tree);

	for (size_t i = 0; i < w->n; i++) {
		assert_ptr_equal(node, &w->model[i]->node);
		node = avm_inode_next(node);
	}
	assert_null(node);
}

static void run_model(uint64_t limit, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	bool grow = true;
	size_t most = 40;

	assert_non_null(w);
	w->rng.state = seed;
	w->limit = limit;
	for (int op = 0; op < OPS; op++) {
		unsigned int dice = (unsigned int)rng_below(&w->rng, 100);

		if (dice < 5)
			random_query(w);
		else if (dice < (grow ? 75u : 25u))
			random_insert(w);
		else if (w->n)
			world_remove(w, (size_t)rng_below(&w->rng, w->n));
		if (grow ? w->n >= most : !w->n) {
			grow = !grow;
			most = 1 + (size_t)rng_below(&w->rng, MOST);
		}
		if (w->n < 60 || op % 301 == 0) {
			assert_sound(w);
			assert_same_order(w);
		}
	}
	while (w->n)
		world_remove(w, w->n / 2);
	assert_true(avm_itree_empty(&w->tree));
	free(w);
}

static void crowded_intervals_agree_with_model(void **state)
{
	(void)state;
	run_model(12, 1);
}

static void scattered_intervals_agree_with_model(void **state)
{
	(void)state;
	run_model(100000, 2);
}

static void last_of_the_key_space_is_found(void **state)
{
	struct world w = { .limit = 1 };
	const struct span *span;

	(void)state;
	world_insert(&w, UINT64_MAX, UINT64_MAX);
	world_insert(&w, 0, UINT64_MAX);
	world_insert(&w, 0, 0);
	assert_sound(&w);
	span = span_tree_iter_first(&w.tree, UINT64_MAX, UINT64_MAX);
	assert_ptr_equal(span, w.model[0]);
	span = span_tree_iter_next(span, UINT64_MAX, UINT64_MAX);
	assert_ptr_equal(span, w.model[2]);
	assert_null(span_tree_iter_next(span, UINT64_MAX, UINT64_MAX));
	while (w.n)
		world_remove(&w, 0);
}

static unsigned int depth(const struct avm_inode *node)
{
	unsigned int n = 0;

	for (; node; node = avm_inode_parent(node))
		n++;
	return n;
}

/* A thousand children of one parent: the same interval again and again, oldest first. */
static void equal_intervals_stay_balanced_and_in_order(void **state)
{
	enum {
		N = 100000
	};
	struct span *spans = calloc(N, sizeof(*spans));
	struct avm_itree tree = { NULL };
	unsigned int deepest = 0;

	(void)state;
	assert_non_null(spans);
	for (size_t i = 0; i < N; i++) {
		spans[i].start = 5;
		spans[i].last = 9;
		span_tree_insert(&tree, &spans[i]);
	}
	assert_null(span_tree_check(&tree, N));
	for (size_t i = 0; i < N; i++) {
		unsigned int d = depth(&spans[i].node);

		deepest = d > deepest ? d : deepest;
	}
	assert_true(deepest <= 25); /* 1.44 log2 N */

	/* Every other goes; what is left is in order, and at most 2 log2 of its number deep. */
	for (size_t i = 0; i < N; i += 2)
		span_tree_remove(&tree, &spans[i]);
	assert_null(span_tree_check(&tree, N / 2));

	const struct span *span = span_tree_iter_first(&tree, 9, 9);

	for (size_t i = 1; i < N; i += 2) {
		assert_ptr_equal(span, &spans[i]);
		assert_true(depth(&span->node) <= 32);
		span = span_tree_iter_next(span, 9, 9);
	}
	assert_null(span);
	free(spans);
}

#define assert_speaks(w, place, value) \
	do { \
		__typeof__(place) saved = (place); \
		(place) = (value); \
		if (!span_tree_check(&(w)->tree, (w)->n + 4)) \
			fail_msg("silent: %s = %s", #place, #value); \
		(place) = saved; \
		assert_sound(w); \
	} while (0)

static void damage(struct world *w, struct span *span)
{
	struct avm_inode *node = &span->node;
	struct avm_inode *root = w->tree.root;

	/* Elsewhere another rank may do as well. */
	if (!node->left && !node->right)
		assert_speaks(w, node->parent_bits, node->parent_bits ^ AVM_INODE_PARITY);
	assert_speaks(w, node->parent_bits, node->parent_bits ^ AVM_INODE_LINKED);
	assert_speaks(w, node->parent_bits, (uintptr_t)node | AVM_INODE_LINKED);
	assert_speaks(w, node->parent_bits, 0);
	assert_speaks(w, node->subtree_last, node->subtree_last + 1);
	assert_speaks(w, node->subtree_last, 0);
	assert_speaks(w, node->left, node);
	assert_speaks(w, node->right, node);
	assert_speaks(w, node->left, root);
	assert_speaks(w, node->right, root);
	assert_speaks(w, span->last, UINT64_MAX);
	assert_speaks(w, span->start, span->last + 1);
	if (node->left && node->right) {
		/* A missing child leaves no trace in the count, but in the balance or subtree_last. */
		assert_speaks(w, node->left, node->right);
		assert_speaks(w, node->left, (struct avm_inode *)((uintptr_t)node->left + 1));
		assert_speaks(w, node->right, (struct avm_inode *)((uintptr_t)node->right + 1));
		if (node->left->left)
			assert_speaks(w, node->left, NULL);
	}
}

static void checker_reports_every_kind_of_damage(void **state)
{
	struct world w = { .limit = 100000, .rng = { 3 } };

	(void)state;
	while (w.n < 300)
		world_insert(&w, w.n * 10 + 1, w.n * 10 + 8);
	assert_sound(&w);
	assert_non_null(span_tree_check(&w.tree, w.n - 1));
	assert_non_null(span_tree_check(&w.tree, 3));
	for (size_t i = 0; i < w.n; i++)
		damage(&w, w.model[i]);

	/* Two that changed places, and one that moved. */
	assert_speaks(&w, w.model[100]->start, 0);
	assert_speaks(&w, w.tree.root, w.tree.root->left);
	while (w.n)
		world_remove(&w, w.n - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crowded_intervals_agree_with_model),
		cmocka_unit_test(scattered_intervals_agree_with_model),
		cmocka_unit_test(last_of_the_key_space_is_found),
		cmocka_unit_test(equal_intervals_stay_balanced_and_in_order),
		cmocka_unit_test(checker_reports_every_kind_of_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
