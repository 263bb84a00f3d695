/* SPDX-License-Identifier: MIT */
/* Lists and bitmaps against plain arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bitmap.h"
#include "list.h"
#include "random.h"

#define OPS 200000
#define ITEMS 24
#define LISTS 3

struct item {
	int id;
	struct avm_list link;
};

struct world {
	struct avm_list heads[LISTS];
	struct item items[ITEMS];
	struct item *model[LISTS][ITEMS];
	size_t n[LISTS];
	struct rng rng;
};

static void assert_same(struct world *w, size_t l)
{
	struct avm_list *head = &w->heads[l], *pos;
	struct item *item;
	size_t i = 0;

	avm_list_for_each(pos, head)
		assert_ptr_equal(pos, &w->model[l][i++]->link);
	assert_int_equal(i, w->n[l]);
	i = 0;
	avm_list_for_each_entry(item, head, struct item, link)
		assert_ptr_equal(item, w->model[l][i++]);
	avm_list_for_each_entry_reverse(item, head, struct item, link)
		assert_ptr_equal(item, w->model[l][--i]);
	assert_int_equal(avm_list_empty(head), w->n[l] == 0);
	assert_int_equal(avm_list_singular(head), w->n[l] == 1);
	assert_ptr_equal(avm_list_first_or_null(head, struct item, link),
			 w->n[l] ? w->model[l][0] : NULL);
	assert_ptr_equal(avm_list_last_or_null(head, struct item, link),
			 w->n[l] ? w->model[l][w->n[l] - 1] : NULL);
	assert_int_equal(avm_list_check(head, w->n[l]), w->n[l]);
	if (!w->n[l])
		return;
	assert_int_equal(avm_list_check(head, w->n[l] - 1), -1);
	assert_true(avm_list_is_first(&w->model[l][0]->link, head));
	assert_true(avm_list_is_last(&w->model[l][w->n[l] - 1]->link, head));

	/* The rest after and before some place. */
	size_t middle = (size_t)rng_below(&w->rng, w->n[l]);

	i = middle;
	item = w->model[l][middle];
	avm_list_for_each_entry_continue(item, head, struct item, link)
		assert_ptr_equal(item, w->model[l][++i]);
	assert_int_equal(i, w->n[l] - 1);
	i = middle;
	item = w->model[l][middle];
	avm_list_for_each_entry_continue_reverse(item, head, struct item, link)
		assert_ptr_equal(item, w->model[l][--i]);
	assert_int_equal(i, 0);
}

static struct item *model_take(struct world *w, size_t l, size_t i)
{
	struct item *item = w->model[l][i];

	w->n[l]--;
	memmove(&w->model[l][i], &w->model[l][i + 1], (w->n[l] - i) * sizeof(struct item *));
	return item;
}

static void model_put(struct world *w, size_t l, size_t i, struct item *item)
{
	memmove(&w->model[l][i + 1], &w->model[l][i], (w->n[l] - i) * sizeof(struct item *));
	w->model[l][i] = item;
	w->n[l]++;
}

/* The head when @i is the number of entries. */
static struct avm_list *link_at(struct world *w, size_t l, size_t i)
{
	return i < w->n[l] ? &w->model[l][i]->link : &w->heads[l];
}

static void random_move(struct world *w)
{
	size_t from = (size_t)rng_below(&w->rng, LISTS), to = (size_t)rng_below(&w->rng, LISTS);

	if (!w->n[from])
		return;

	struct item *item = model_take(w, from, (size_t)rng_below(&w->rng, w->n[from]));
	size_t i = (size_t)rng_below(&w->rng, w->n[to] + 1);
	struct avm_list *before = link_at(w, to, i);
	struct avm_list *after = i ? link_at(w, to, i - 1) : &w->heads[to];

	switch (rng_below(&w->rng, 4)) {
	case 0:
		avm_list_del(&item->link);
		assert_null(item->link.next);
		assert_null(item->link.prev);
		avm_list_add(&item->link, after);
		break;
	case 1:
		avm_list_del_init(&item->link);
		assert_true(avm_list_empty(&item->link));
		avm_list_add_tail(&item->link, before);
		break;
	case 2:
		avm_list_move(&item->link, after);
		break;
	default:
		avm_list_move_tail(&item->link, before);
	}
	model_put(w, to, i, item);
}

static void random_splice(struct world *w)
{
	size_t from = (size_t)rng_below(&w->rng, LISTS), to = (size_t)rng_below(&w->rng, LISTS);

	if (from == to)
		return;

	size_t i = (size_t)rng_below(&w->rng, w->n[to] + 1);

	if (rng_below(&w->rng, 2))
		avm_list_splice_tail(&w->heads[from], link_at(w, to, i));
	else
		avm_list_splice(&w->heads[from], i ? link_at(w, to, i - 1) : &w->heads[to]);
	while (w->n[from])
		model_put(w, to, i++, model_take(w, from, 0));
}

static void random_replace(struct world *w)
{
	size_t l = (size_t)rng_below(&w->rng, LISTS);
	struct item other = { .id = -1 };

	if (!w->n[l])
		return;

	struct item *item = w->model[l][rng_below(&w->rng, w->n[l])];

	avm_list_replace(&item->link, &other.link);
	assert_null(item->link.next);
	assert_int_equal(avm_list_check(&w->heads[l], ITEMS), w->n[l]);
	avm_list_replace(&other.link, &item->link);
}

static void random_list_operations_agree_with_model(void **state)
{
	struct world w = { .rng = { 1 } };

	(void)state;
	for (size_t l = 0; l < LISTS; l++)
		avm_list_init(&w.heads[l]);
	for (size_t i = 0; i < ITEMS; i++) {
		w.items[i].id = (int)i;
		avm_list_add_tail(&w.items[i].link, &w.heads[0]);
		model_put(&w, 0, i, &w.items[i]);
	}
	for (int op = 0; op < OPS; op++) {
		switch (rng_below(&w.rng, 20)) {
		case 0:
			random_splice(&w);
			break;
		case 1:
			random_replace(&w);
			break;
		default:
			random_move(&w);
		}
		assert_same(&w, (size_t)op % LISTS);
	}
}

static void safe_walk_survives_removal(void **state)
{
	struct avm_list head, *pos, *tmp;
	struct item items[5] = { { 0 } }, *item, *next;
	int n = 0;

	(void)state;
	avm_list_init(&head);
	for (size_t i = 0; i < 5; i++) {
		items[i].id = (int)i;
		avm_list_add_tail(&items[i].link, &head);
	}
	avm_list_for_each_entry_safe(item, next, &head, struct item, link) {
		assert_int_equal(item->id, n++);
		if (item->id % 2)
			avm_list_del(&item->link);
	}
	assert_int_equal(n, 5);
	avm_list_for_each_safe(pos, tmp, &head)
		avm_list_del(pos);
	assert_true(avm_list_empty(&head));
}

static void check_reports_broken_links(void **state)
{
	struct avm_list head;
	struct item items[4] = { { 0 } };

	(void)state;
	avm_list_init(&head);
	for (size_t i = 0; i < 4; i++)
		avm_list_add_tail(&items[i].link, &head);
	for (size_t i = 0; i < 4; i++) {
		struct avm_list saved = items[i].link;
		struct avm_list *wrong[] = { NULL, &items[i].link, &items[(i + 3) % 4].link,
					     (struct avm_list *)1 };

		for (size_t k = 0; k < 4; k++) {
			if (saved.next != wrong[k]) {
				items[i].link.next = wrong[k];
				assert_int_equal(avm_list_check(&head, 100), -1);
			}
			items[i].link = saved;
			if (saved.prev != wrong[k]) {
				items[i].link.prev = wrong[k];
				assert_int_equal(avm_list_check(&head, 100), -1);
			}
			items[i].link = saved;
		}
	}
	assert_int_equal(avm_list_check(&head, 100), 4);
}

#define BITS 300

static void bitmap_searches_agree_with_model(void **state)
{
	struct rng rng = { 2 };

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint64_t map[AVM_BITMAP_WORDS(BITS)];
		bool model[BITS];
		size_t bits = 1 + (size_t)rng_below(&rng, BITS);
		uint64_t fill = rng_next(&rng) & 1 ? UINT64_MAX : 0;

		/* Nearly all one, nearly all zero; what lies beyond the end must not matter. */
		for (size_t i = 0; i < AVM_BITMAP_WORDS(BITS); i++)
			map[i] = fill;
		for (size_t i = 0; i < BITS; i++)
			model[i] = fill;
		for (uint64_t flips = rng_below(&rng, 10); flips--;) {
			size_t bit = (size_t)rng_below(&rng, BITS);

			model[bit] = !model[bit];
			if (model[bit])
				avm_bitmap_set(map, bit);
			else
				avm_bitmap_clear(map, bit);
			assert_int_equal(avm_bitmap_test(map, bit), model[bit]);
		}

		size_t from = (size_t)rng_below(&rng, BITS + 2), set = from, zero = from;

		while (set < bits && !model[set])
			set++;
		while (zero < bits && model[zero])
			zero++;
		assert_int_equal(avm_bitmap_next_set(map, bits, from), set < bits ? set : bits);
		assert_int_equal(avm_bitmap_next_zero(map, bits, from), zero < bits ? zero : bits);
		assert_int_equal(avm_bitmap_first_set(map, bits),
				 avm_bitmap_next_set(map, bits, 0));
		assert_int_equal(avm_bitmap_first_zero(map, bits),
				 avm_bitmap_next_zero(map, bits, 0));
	}
	for (unsigned int bit = 0; bit < 64; bit++) {
		assert_int_equal(avm_word_first(UINT64_C(1) << bit | UINT64_C(1) << 63), bit);
		assert_int_equal(avm_word_last(UINT64_C(1) << bit | 1), bit);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_list_operations_agree_with_model),
		cmocka_unit_test(safe_walk_survives_removal),
		cmocka_unit_test(check_reports_broken_links),
		cmocka_unit_test(bitmap_searches_agree_with_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
