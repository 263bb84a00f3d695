/* SPDX-License-Identifier: MIT */
/*
 * Lookups in the VMA tree without its lock, while another thread changes it. Freed nodes stay as they
 * are until the end: one long grace period. Build with -fsanitize=thread to see the data races, too.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "random.h"
#include "vma_tree.h"

#define VMAS 3000
#define CHANGES 400000
#define STRIDE 64

struct world {
	struct avm_vma_tree tree;
	struct avm_vma vmas[VMAS];
	bool linked[VMAS];
	void **freed; /* after the grace period */
	size_t nr_freed, max_freed;
	_Atomic uint64_t hits; /* lookups that found the right one */
	_Atomic bool stop;
};

static void *world_alloc(void *context)
{
	(void)context;
	return aligned_alloc(64, AVM_VMA_NODE_BYTES);
}

static void world_free(void *context, void *node)
{
	struct world *w = context;

	if (w->nr_freed == w->max_freed) {
		w->max_freed = w->max_freed * 2 + 64;
		w->freed = realloc(w->freed, w->max_freed * sizeof(*w->freed));
	}
	w->freed[w->nr_freed++] = node;
}

/* Returns @context, or NULL when a lookup gave something that is no VMA. */
static void *reader(void *context)
{
	struct world *w = context;
	struct rng rng = { 1 };

	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		uint64_t i = rng_below(&rng, VMAS);
		const struct avm_vma *vma = avm_vma_tree_find(&w->tree, i * STRIDE + 8);

		/* Maybe not the right one, but one of ours. */
		if (vma && (vma < w->vmas || vma >= w->vmas + VMAS))
			return NULL;
		if (vma == &w->vmas[i])
			atomic_fetch_add_explicit(&w->hits, 1, memory_order_relaxed);
	}
	return context;
}

static void flip(struct world *w, size_t i)
{
	struct avm_vma *vma = &w->vmas[i];

	if (w->linked[i]) {
		avm_vma_tree_erase(&w->tree, vma);
	} else {
		assert_int_equal(avm_vma_tree_reserve(&w->tree, 1), 0);
		avm_vma_tree_insert(&w->tree, vma);
	}
	w->linked[i] = !w->linked[i];
}

static void lookups_without_the_lock_stay_on_valid_ground(void **state)
{
	static struct world w;
	static const struct avm_node_alloc nodes = { world_alloc, world_free, &w };
	struct rng rng = { 2 };
	pthread_t thread;
	void *result;
	int changes = 0;

	(void)state;
	avm_vma_tree_init(&w.tree, &nodes, 0, 0);
	for (size_t i = 0; i < VMAS; i++) {
		w.vmas[i].start = i * STRIDE;
		w.vmas[i].end = i * STRIDE + 16;
	}
	assert_int_equal(pthread_create(&thread, NULL, reader, &w), 0);
	/* Waves, so that the tree grows from nothing and goes back to it; as long as both have turns. */
	while (changes < CHANGES || atomic_load_explicit(&w.hits, memory_order_relaxed) < CHANGES) {
		size_t i = (size_t)rng_below(&rng, VMAS);

		changes++;
		if (w.linked[i] == (changes / 10000 % 2 == 0) && rng_below(&rng, 8))
			continue;
		flip(&w, i);
	}
	atomic_store_explicit(&w.stop, true, memory_order_relaxed);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &w);
	assert_true(w.nr_freed > 0);

	avm_vma_tree_destroy(&w.tree);
	for (size_t i = 0; i < w.nr_freed; i++)
		free(w.freed[i]);
	free(w.freed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lookups_without_the_lock_stay_on_valid_ground),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
