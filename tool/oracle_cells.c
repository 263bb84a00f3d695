/* SPDX-License-Identifier: MIT */
/*
 * oracle_cells.c - pages and their possible contents, sorted by number.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_priv.h"

static void out_of_memory(void)
{
	fprintf(stderr, "anonvm: out of memory\n");
	exit(2);
}

void *oracle_alloc(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p)
		out_of_memory();
	return p;
}

/* Room for one element more than n. */
void *oracle_grow_array(void *v, size_t n, size_t *room, size_t size)
{
	if (n < *room)
		return v;
	*room = *room ? *room * 2 : 8;

	void *grown = reallocarray(v, *room, size);

	if (!grown)
		out_of_memory();
	return grown;
}

size_t cells_at(const struct cells *c, uint64_t index)
{
	size_t low = 0;
	size_t high = c->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (c->v[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct cell *cells_find(const struct cells *c, uint64_t index)
{
	size_t i = cells_at(c, index);

	return i < c->n && c->v[i].index == index ? &c->v[i] : NULL;
}

static uint8_t *copy_of(const struct cells *c, const uint8_t *bytes)
{
	uint8_t *copy = oracle_alloc(1, c->content);

	if (bytes)
		memcpy(copy, bytes, c->content);
	return copy;
}

struct cell *cells_make(struct cells *c, uint64_t index, const uint8_t *bytes)
{
	size_t i = cells_at(c, index);

	if (i < c->n && c->v[i].index == index)
		return &c->v[i];
	c->v = oracle_grow_array(c->v, c->n, &c->room, sizeof(*c->v));
	memmove(&c->v[i + 1], &c->v[i], (c->n - i) * sizeof(*c->v));
	c->n++;
	c->v[i] = (struct cell){ .index = index, .may = { copy_of(c, bytes) }, .n = 1 };
	return &c->v[i];
}

/* Only the first `n` possibilities stay. */
static void forget(struct cell *cell, unsigned n)
{
	while (cell->n > n)
		free(cell->may[--cell->n]);
}

void cells_drop(struct cells *c, uint64_t first, uint64_t end)
{
	size_t i = cells_at(c, first);
	size_t k = cells_at(c, end);

	if (i >= k)
		return;
	for (size_t j = i; j < k; j++)
		forget(&c->v[j], 0);
	memmove(&c->v[i], &c->v[k], (c->n - k) * sizeof(*c->v));
	c->n -= k - i;
}

/*
 * Copies the cells of [first, end) to the same numbers plus shift, where there are none. May wrap.
 */
void cells_copy(struct cells *to, const struct cells *from, uint64_t first, uint64_t end,
		uint64_t shift)
{
	size_t last = cells_at(from, end);

	for (size_t i = cells_at(from, first); i < last; i++) {
		const struct cell *cell = &from->v[i];
		struct cell *copy = cells_make(to, cell->index + shift, cell->may[0]);

		while (copy->n < cell->n) {
			copy->may[copy->n] = copy_of(to, cell->may[copy->n]);
			copy->n++;
		}
		copy->lost = cell->lost;
		copy->freed = cell->freed;
		copy->anything = cell->anything;
	}
}

void cells_free(struct cells *c)
{
	cells_drop(c, 0, UINT64_MAX);
	free(c->v);
	*c = (struct cells){ .content = c->content };
}

static bool all_zero(const uint8_t *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		if (bytes[i])
			return false;
	}
	return true;
}

void cell_free_lazily(struct cell *cell)
{
	cell->freed = true;
}

/*
 * A write ends the time in which the page may be freed; whether it was, the bytes beside the write
 * know.
 */
void cell_write(const struct cells *c, struct cell *cell, uint32_t offset, const void *bytes,
		uint32_t len)
{
	if (len == c->content) {
		forget(cell, 1);
		cell->freed = false;
		cell->anything = false;
	}
	if (cell->freed && cell->n < CELL_MAX)
		cell->may[cell->n++] = copy_of(c, NULL);
	else if (cell->freed)
		cell->anything = true;
	cell->freed = false;
	for (unsigned i = 0; i < cell->n && len; i++)
		memcpy(cell->may[i] + offset, bytes, len);
}

bool cell_permits(const struct cell *cell, uint32_t offset, const void *seen, uint32_t len)
{
	if (cell->anything || (cell->freed && all_zero(seen, len)))
		return true;
	for (unsigned i = 0; i < cell->n; i++) {
		if (!memcmp(cell->may[i] + offset, seen, len))
			return true;
	}
	return false;
}

/* pre: cell_permits(the same). What contradicts it was not the case. */
void cell_learn(const struct cells *c, struct cell *cell, uint32_t offset, const void *seen,
		uint32_t len)
{
	unsigned kept = 0;

	if (cell->anything)
		return;
	for (unsigned i = 0; i < cell->n; i++) {
		uint8_t *bytes = cell->may[i];

		if (memcmp(bytes + offset, seen, len) != 0)
			continue;
		cell->may[i] = cell->may[kept];
		cell->may[kept++] = bytes;
	}
	if (kept) {
		forget(cell, kept);
		return;
	}
	/* Freed, and zeroes from now on. */
	forget(cell, 1);
	memset(cell->may[0], 0, c->content);
	cell->freed = false;
}

bool cell_possible(const struct cell *cell, unsigned n, uint32_t offset, void *buf, uint32_t len)
{
	if (n < cell->n)
		memcpy(buf, cell->may[n] + offset, len);
	else if (n == cell->n && cell->freed)
		memset(buf, 0, len);
	else
		return false;
	return true;
}
