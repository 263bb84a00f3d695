/* SPDX-License-Identifier: MIT */
/*
 * oracle_object.c - files and shared memory of the oracle: what was written, over what was synced,
 * over what was there first.
 */
#include <stdlib.h>
#include <string.h>

#include "oracle_priv.h"

static struct oracle_object *make(struct oracle *o, uint64_t size)
{
	struct oracle_object *object = oracle_alloc(1, sizeof(*object));

	object->oracle = o;
	object->refs = 1;
	object->size = size;
	object->fill_end = UINT64_MAX;
	object->now.content = o->content;
	object->disk.content = o->content;
	object->next = o->objects;
	object->link = &o->objects;
	if (object->next)
		object->next->link = &object->next;
	o->objects = object;
	return object;
}

struct oracle_object *oracle_file(struct oracle *o, uint64_t size, oracle_fill_fn *fill,
				  void *context)
{
	struct oracle_object *object = make(o, size);

	object->has_disk = true;
	object->fill = fill;
	object->context = context;
	object->fill_end = size;
	return object;
}

struct oracle_object *oracle_shmem(struct oracle *o, uint64_t size)
{
	return make(o, size);
}

void object_get(struct oracle_object *object)
{
	object->refs++;
}

void oracle_object_put(struct oracle_object *object)
{
	if (--object->refs)
		return;
	cells_free(&object->now);
	cells_free(&object->disk);
	*object->link = object->next;
	if (object->next)
		object->next->link = object->link;
	free(object);
}

bool object_beyond(const struct oracle_object *object, uint64_t index)
{
	uint64_t page = object->oracle->page_size;

	return index >= object->size / page + (object->size % page != 0);
}

/* Zeroes the bytes of page `index` that lie at or beyond `end`, a byte of the object. */
static void cut(const struct oracle_object *object, uint64_t index, uint64_t end, uint8_t *bytes)
{
	uint64_t page = object->oracle->page_size;
	uint64_t keep;

	if (index > end / page) {
		memset(bytes, 0, object->now.content);
		return;
	}
	keep = end - index * page;
	if (keep < object->now.content)
		memset(bytes + keep, 0, object->now.content - keep);
}

void object_page(const struct oracle_object *object, uint64_t index, uint8_t *bytes)
{
	const struct cell *cell = cells_find(&object->now, index);

	if (!cell)
		cell = cells_find(&object->disk, index);
	if (cell) {
		memcpy(bytes, cell->may[0], object->now.content);
		return;
	}
	memset(bytes, 0, object->now.content);
	if (object->fill && index <= object->fill_end / object->oracle->page_size) {
		object->fill(object->context, index, bytes);
		cut(object, index, object->fill_end, bytes);
	}
}

struct cell *object_cell(struct oracle_object *object, uint64_t index)
{
	struct cell *cell = cells_find(&object->now, index);
	uint8_t *bytes;

	if (cell)
		return cell;
	bytes = oracle_alloc(1, object->now.content);
	object_page(object, index, bytes);
	cell = cells_make(&object->now, index, bytes);
	free(bytes);
	return cell;
}

static void truncate_cells(struct oracle_object *object, struct cells *c, uint64_t size)
{
	uint64_t page = object->oracle->page_size;
	struct cell *cell = cells_find(c, size / page);

	cells_drop(c, size / page + (size % page != 0), UINT64_MAX);
	if (cell && size % page)
		cut(object, size / page, size, cell->may[0]);
}

void oracle_truncate(struct oracle_object *object, uint64_t size)
{
	uint64_t page = object->oracle->page_size;
	uint64_t cut_at = size < object->size ? size : object->size;

	truncate_cells(object, &object->now, cut_at);
	truncate_cells(object, &object->disk, cut_at);
	if (cut_at < object->fill_end)
		object->fill_end = cut_at;
	object->size = size;
	oracle_drop_copies(object, cut_at / page + (cut_at % page != 0), UINT64_MAX);
}

void oracle_punch(struct oracle_object *object, uint64_t first_page, uint64_t end_page)
{
	cells_drop(&object->now, first_page, end_page);
}

void oracle_sync_pages(struct oracle_object *object, uint64_t first_page, uint64_t end_page)
{
	uint64_t last = object->size / object->oracle->page_size;
	struct cell *cell = cells_find(&object->now, last);

	if (!object->has_disk)
		return;
	/* What a mapping has scribbled behind the end of the file does not reach the disk, and goes. */
	if (cell && last >= first_page && last < end_page)
		cut(object, last, object->size, cell->may[0]);
	/* What is not in memory (any more) is on the disk as it was. */
	for (size_t i = cells_at(&object->now, first_page); i < cells_at(&object->now, end_page);
	     i++)
		cells_drop(&object->disk, object->now.v[i].index, object->now.v[i].index + 1);
	cells_copy(&object->disk, &object->now, first_page, end_page, 0);
}

void oracle_sync(struct oracle_object *object)
{
	oracle_sync_pages(object, 0, UINT64_MAX);
}

/* The part of [*offset, *offset + *len) in its first page that is modelled; steps over the page. */
static uint32_t step(const struct oracle_object *object, uint64_t *offset, uint64_t *len,
		     uint64_t *bytes)
{
	uint64_t page = object->oracle->page_size;
	uint64_t in_page = page - *offset % page;
	uint64_t at = *offset % page;

	*bytes = *len < in_page ? *len : in_page;
	*offset += *bytes;
	*len -= *bytes;
	if (at >= object->now.content)
		return 0;
	return (uint32_t)(*bytes < object->now.content - at ? *bytes : object->now.content - at);
}

void oracle_object_store(struct oracle_object *object, uint64_t offset, const void *bytes,
			 uint64_t len)
{
	const uint8_t *from = bytes;

	if (len && offset + len > object->size)
		oracle_truncate(object, offset + len);
	while (len) {
		uint64_t page = object->oracle->page_size;
		uint64_t index = offset / page;
		uint32_t at = (uint32_t)(offset % page);
		uint64_t stepped;
		uint32_t part = step(object, &offset, &len, &stepped);

		if (part)
			cell_write(&object->now, object_cell(object, index), at, from, part);
		from += stepped;
	}
}

bool oracle_object_load(struct oracle_object *object, uint64_t offset, const void *seen,
			uint64_t len)
{
	uint8_t *bytes = oracle_alloc(1, object->now.content);
	const uint8_t *from = seen;
	bool same = true;

	while (len) {
		uint64_t page = object->oracle->page_size;
		uint64_t at = offset % page;
		uint64_t stepped;

		object_page(object, offset / page, bytes);

		uint32_t part = step(object, &offset, &len, &stepped);

		if (part && memcmp(bytes + at, from, part) != 0)
			same = false;
		from += stepped;
	}
	free(bytes);
	return same;
}
