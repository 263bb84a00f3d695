/* SPDX-License-Identifier: MIT */
/* sim_store.c - a sparse array of pages: a hash table that doubles (sim_priv.h). */
#include <stdlib.h>

#include "sim_priv.h"

#define FIRST_BUCKETS 16

static struct sim_store_list *bucket_of(const struct sim_store *st, uint64_t index)
{
	uint64_t hash = index * UINT64_C(0x9e3779b97f4a7c15);

	return &st->buckets[(hash >> 32) & (st->nr_buckets - 1)];
}

static void grow(struct sim_store *st)
{
	struct sim_store old = *st;

	st->nr_buckets = old.nr_buckets ? old.nr_buckets * 2 : FIRST_BUCKETS;
	st->buckets = sim_host_alloc(st->nr_buckets * sizeof(*st->buckets));
	for (uint64_t i = 0; i < old.nr_buckets; i++) {
		while (!SLIST_EMPTY(&old.buckets[i])) {
			struct sim_store_page *page = SLIST_FIRST(&old.buckets[i]);

			SLIST_REMOVE_HEAD(&old.buckets[i], link);
			SLIST_INSERT_HEAD(bucket_of(st, page->index), page, link);
		}
	}
	free(old.buckets);
}

unsigned char *sim_store_find(const struct sim_store *st, uint64_t index)
{
	struct sim_store_page *page;

	if (!st->nr_buckets)
		return NULL;
	SLIST_FOREACH(page, bucket_of(st, index), link)
	{
		if (page->index == index)
			return page->bytes;
	}
	return NULL;
}

unsigned char *sim_store_make(struct sim_store *st, uint64_t index)
{
	unsigned char *bytes = sim_store_find(st, index);
	struct sim_store_page *page;

	if (bytes)
		return bytes;
	if (st->nr_pages >= st->nr_buckets)
		grow(st);
	page = sim_host_alloc(sizeof(*page) + st->page_size);
	page->index = index;
	SLIST_INSERT_HEAD(bucket_of(st, index), page, link);
	st->nr_pages++;
	return page->bytes;
}

void sim_store_drop(struct sim_store *st, uint64_t first)
{
	for (uint64_t i = 0; i < st->nr_buckets; i++) {
		struct sim_store_page *page = SLIST_FIRST(&st->buckets[i]);

		while (page) {
			struct sim_store_page *next = SLIST_NEXT(page, link);

			if (page->index >= first) {
				SLIST_REMOVE(&st->buckets[i], page, sim_store_page, link);
				free(page);
				st->nr_pages--;
			}
			page = next;
		}
	}
}

void sim_store_fini(struct sim_store *st)
{
	sim_store_drop(st, 0);
	free(st->buckets);
	st->buckets = NULL;
	st->nr_buckets = 0;
}
