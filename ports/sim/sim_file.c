/* SPDX-License-Identifier: MIT */
/*
 * sim_file.c - files with contents. What was written back is kept; the rest is a function of the seed, up to the
 * smallest size the file ever had, and zero beyond it.
 */
#include <stdlib.h>
#include <string.h>

#include "sim_priv.h"

struct sim_file {
	struct avm_file file;
	struct sim *sim;
	LIST_ENTRY(sim_file) link;
	char *name;
	uint64_t seed;
	uint64_t size; /* when we last looked */
	uint64_t valid; /* bytes that were never cut off */
	struct sim_mutex mutex; /* covers what follows, and size and valid */
	struct sim_store store;
	unsigned fail_reads, fail_writes;
	bool fail_retry;
	bool held; /* by the reference of its maker */
	bool memfd;
};

static struct sim_file *sim_file_of(struct avm_file *f)
{
	return (struct sim_file *)((char *)f - offsetof(struct sim_file, file));
}

/* ---- contents ------------------------------------------------------------------------------------------ */

/* The 8 bytes of a file at 8 * i, as a little-endian number: splitmix64. */
static uint64_t word_at(uint64_t seed, uint64_t i)
{
	uint64_t z = seed + i * UINT64_C(0x9e3779b97f4a7c15);

	if (!seed)
		return 0;
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

void sim_file_page(uint64_t seed, uint64_t index, void *bytes, size_t len)
{
	unsigned char *out = bytes;
	uint64_t first = index << (AVM_PAGE_SHIFT - 3);

	for (size_t i = 0; i < len; i++)
		out[i] = (unsigned char)(word_at(seed, first + i / 8) >> 8 * (i % 8));
}

/* Zeroes the bytes of page `index` from byte `end` of the file on. */
static void cut_page(unsigned char *bytes, size_t len, uint64_t index, uint64_t end)
{
	uint64_t start = index << AVM_PAGE_SHIFT;
	uint64_t keep = end > start ? end - start : 0;

	if (keep < len)
		memset(bytes + keep, 0, len - keep);
}

/* If the file has shrunk since the last look, the store forgets what was cut off. */
static void note_size(struct sim_file *sf)
{
	uint64_t size = sf->file.size;
	uint64_t last = size >> AVM_PAGE_SHIFT;
	unsigned char *bytes;
	bool shrunk = size < sf->size;

	sf->size = size;
	if (!shrunk)
		return;
	if (size < sf->valid)
		sf->valid = size;
	sim_store_drop(&sf->store, last + 1);
	bytes = sim_store_find(&sf->store, last);
	if (bytes)
		cut_page(bytes, sf->store.page_size, last, size);
}

/* ---- operations ---------------------------------------------------------------------------------------- */

/* Does this transfer fail? Somebody else may say so as well (ports/check). */
static bool fails(struct sim_file *sf, enum sim_at at, unsigned *left)
{
	if (sf->sim->fails && sf->sim->fails(at))
		return true;
	if (!*left)
		return false;
	--*left;
	return true;
}

/* => mutex */
static int stored_page(struct sim_file *sf, uint64_t index, unsigned char *buf, size_t len)
{
	const unsigned char *stored;

	if (fails(sf, SIM_AT_FILE_READ, &sf->fail_reads))
		return sf->fail_retry ? -AVM_EAGAIN : -AVM_EIO;
	sim_touched(sf, true);
	note_size(sf);
	stored = sim_store_find(&sf->store, index);
	if (stored) {
		memcpy(buf, stored, len);
	} else {
		sim_file_page(sf->seed, index, buf, len);
		cut_page(buf, len, index, sf->valid);
	}
	return 0;
}

static int file_read_page(struct avm_file *f, uint64_t index, struct avm_page *page)
{
	struct sim_file *sf = sim_file_of(f);
	unsigned char buf[AVM_PAGE_SIZE];
	size_t len = sf->store.page_size;
	int err;

	sim_interrupt(sf->sim, SIM_AT_FILE_READ);
	sim_lock(&sf->mutex);
	err = stored_page(sf, index, buf, len);
	sim_unlock(&sf->mutex);
	if (err)
		return err;
	avm_port_frame_write(f->machine, page->pfn, 0, buf, len);
	return 0;
}

/* => mutex */
static int store_page(struct sim_file *sf, uint64_t index, avm_pfn_t pfn)
{
	unsigned char *bytes;

	if (fails(sf, SIM_AT_FILE_WRITE, &sf->fail_writes))
		return -AVM_EIO;
	sim_check_protected(sf->sim, pfn, SIM_NO_SLOT, "while its frame goes to the file");
	sim_touched(sf, true);
	note_size(sf);
	bytes = sim_store_make(&sf->store, index);
	avm_port_frame_read(sf->file.machine, pfn, 0, bytes, sf->store.page_size);
	cut_page(bytes, sf->store.page_size, index, sf->size);
	return 0;
}

static int file_write_page(struct avm_file *f, uint64_t index, struct avm_page *page)
{
	struct sim_file *sf = sim_file_of(f);
	int err;

	sim_interrupt(sf->sim, SIM_AT_FILE_WRITE);
	sim_lock(&sf->mutex);
	err = store_page(sf, index, page->pfn);
	sim_unlock(&sf->mutex);
	return err;
}

static void file_free(struct sim_file *sf)
{
	LIST_REMOVE(sf, link);
	sim_store_fini(&sf->store);
	free(sf->name);
	free(sf);
}

static void file_release(struct avm_file *f)
{
	struct sim *s = sim_file_of(f)->sim;

	sim_lock(&s->mutex);
	file_free(sim_file_of(f));
	sim_unlock(&s->mutex);
}

static const struct avm_file_ops file_ops = {
	.read_page = file_read_page,
	.write_page = file_write_page,
	.release = file_release,
};

/* ---- making and giving back ---------------------------------------------------------------------------- */

/* The core does not say when a memfd is gone, so those that are go when the next one comes. */
static void free_dead_memfds(struct sim *s)
{
	struct sim_file *sf = LIST_FIRST(&s->files);

	while (sf) {
		struct sim_file *next = LIST_NEXT(sf, link);

		if (sf->memfd && !atomic_load(&sf->file.refs))
			file_free(sf);
		sf = next;
	}
}

static struct sim_file *file_new(struct sim *s, const char *name)
{
	struct sim_file *sf;
	size_t len = strlen(name) + 1;

	sim_lock(&s->mutex);
	free_dead_memfds(s);
	sim_unlock(&s->mutex);
	sf = sim_host_alloc(sizeof(*sf));
	sf->sim = s;
	sf->name = sim_host_alloc(len);
	memcpy(sf->name, name, len);
	sf->store.page_size = s->frames.content;
	sf->held = true;
	sim_mutex_init(&sf->mutex);
	sim_lock(&s->mutex);
	LIST_INSERT_HEAD(&s->files, sf, link);
	sim_unlock(&s->mutex);
	return sf;
}

static int file_made(struct sim_file *sf, int err, struct avm_file **out)
{
	if (err) {
		file_release(&sf->file);
		return err;
	}
	*out = &sf->file;
	return 0;
}

int sim_file_create(struct sim *s, const char *name, uint64_t size, uint64_t seed,
		    struct avm_file **out)
{
	struct sim_file *sf = file_new(s, name);

	sf->seed = seed;
	sf->size = size;
	sf->valid = size;
	return file_made(sf, avm_file_init(&s->machine, &sf->file, &file_ops, sf, size), out);
}

int sim_memfd_create(struct sim *s, const char *name, uint64_t size, struct avm_file **out)
{
	struct sim_file *sf = file_new(s, name);

	sf->memfd = true;
	return file_made(sf, avm_memfd(&s->machine, &sf->file, sf, size), out);
}

void sim_file_put(struct avm_file *f)
{
	sim_file_of(f)->held = false;
	avm_file_put(f);
}

void sim_files_fini(struct sim *s)
{
	struct sim_file *sf = LIST_FIRST(&s->files);

	while (sf) {
		struct sim_file *next = LIST_NEXT(sf, link);

		if (sf->held)
			sim_file_put(&sf->file);
		sf = next;
	}
	free_dead_memfds(s);
	if (!LIST_EMPTY(&s->files))
		sim_error(s, "somebody still uses a file");
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

const char *sim_file_name(const struct avm_file *f)
{
	const struct sim_file *sf = LIST_FIRST(&sim_of(f->machine)->files);

	while (sf && &sf->file != f)
		sf = LIST_NEXT(sf, link);
	return sf ? sf->name : NULL;
}

int sim_file_truncate(struct avm_file *f, uint64_t size)
{
	int err = avm_file_truncate(f, size);

	if (!err) {
		sim_lock(&sim_file_of(f)->mutex);
		note_size(sim_file_of(f));
		sim_unlock(&sim_file_of(f)->mutex);
	}
	return err;
}

void sim_file_fail(struct avm_file *f, unsigned reads, unsigned writes, bool retry)
{
	struct sim_file *sf = sim_file_of(f);

	sf->fail_reads = reads;
	sf->fail_writes = writes;
	sf->fail_retry = retry;
}
