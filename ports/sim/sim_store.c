/* SPDX-License-Identifier: MIT */
/* sim_store.c - a sparse array of pages: a hash table that doubles (sim_priv.h). */
#include <stdlib.h>

#include "sim_priv.h"

#define FIRST_BUCKETS 16

static struct sim_store_bucket *bucket_of(const struct sim_store *st, uint64_t index)
{
	uint64_t hash = index * UINT64_C(0x9e3779b97f4a7c15);

	return &st->buckets[(hash >> 32) & (st->nr_buckets - 1)];
}

static void insert(struct sim_store *st, struct sim_store_page *page)
{
	struct sim_store_bucket *bucket = bucket_of(st, page->index);

	page->next = bucket->first;
	bucket->first = page;
}

static void grow(struct sim_store *st)
{
	struct sim_store old = *st;

	st->nr_buckets = old.nr_buckets ? old.nr_buckets * 2 : FIRST_BUCKETS;
	st->buckets = sim_host_alloc(st->nr_buckets * sizeof(*st->buckets));
	for (uint64_t i = 0; i < old.nr_buckets; i++) {
		struct sim_store_page *page, *next;

		for (page = old.buckets[i].first; page; page = next) {
			next = page->next;
			insert(st, page);
		}
	}
	free(old.buckets);
}

unsigned char *sim_store_find(const struct sim_store *st, uint64_t index)
{
	struct sim_store_page *page;

	if (!st->nr_buckets)
		return NULL;
	for (page = bucket_of(st, index)->first; page; page = page->next) {
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
	insert(st, page);
	st->nr_pages++;
	return page->bytes;
}

void sim_store_drop(struct sim_store *st, uint64_t first)
{
	for (uint64_t i = 0; i < st->nr_buckets; i++) {
		struct sim_store_page **slot = &st->buckets[i].first;

		while (*slot) {
			struct sim_store_page *page = *slot;

			if (page->index < first) {
				slot = &page->next;
				continue;
			}
			*slot = page->next;
			free(page);
			st->nr_pages--;
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
