/* SPDX-License-Identifier: MIT */
/*
 * sim_swap.c - swap devices: where the contents of their slots are kept.
 *
 * What the core may not do is reported, and not only done: to read a slot that was not written since it was last
 * discarded (somebody would see what another process has left there), to write or read a slot for another page
 * than the one that it has given the slot to, or for one that is not locked, and to discard a slot in use.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim_priv.h"

enum form {
	FORM_NONE, /* not written since it was last discarded */
	FORM_BYTES, /* as it is */
	FORM_PACKED,
	FORM_WORD, /* one word repeated */
	FORM_FILE, /* in the file */
};

struct content {
	union {
		unsigned char *bytes; /* FORM_BYTES, FORM_PACKED: `len` of them */
		uint64_t word;
	};
	uint32_t len; /* what it takes */
	uint8_t form;
	bool busy; /* is read or written now */
};

struct sim_swap {
	struct avm_swap_device device;
	struct sim *sim;
	LIST_ENTRY(sim_swap) link;
	enum sim_swap_kind kind;
	uint32_t slots;
	size_t page; /* bytes of content a page has */
	struct avm_swap_slot *core; /* the core's array */
	struct content *contents;

	struct sim_codec *codec;
	unsigned char *packed; /* room for one page that is worth packing */

	int fd; /* -1: none */
	char *made; /* path of the file if it was not there before */

	struct {
		unsigned skip, count;
	} fail_reads, fail_writes;
	struct sim_swap_stats stats;
	struct sim_mutex
		mutex; /* covers the contents of slots but for their I/O, the codec, and all from fail_reads on */
};

static struct sim_swap *sim_swap_of(const struct avm_swap_device *d)
{
	return d->context;
}

/* ---- contents in memory -------------------------------------------------------------------------------- */

/* A page that does not shrink by an eighth is not worth the time to unpack it. */
static size_t room_to_pack(const struct sim_swap *w)
{
	return w->page - w->page / 8;
}

static void count(struct sim_swap *w, const struct content *c, int64_t n)
{
	uint64_t step = (uint64_t)n;

	w->stats.pages += step;
	w->stats.bytes += step * c->len;
	if (c->form == FORM_WORD)
		w->stats.same_filled += step;
	if (c->form == FORM_BYTES && w->codec)
		w->stats.incompressible += step;
}

/* Forgets a content; what stands in a file stands there still. */
static void drop(struct sim_swap *w, struct content *c)
{
	if (c->form == FORM_NONE)
		return;
	count(w, c, -1);
	if (c->form == FORM_BYTES || c->form == FORM_PACKED)
		free(c->bytes);
	c->form = FORM_NONE;
	c->len = 0;
}

static void keep_bytes(struct content *c, enum form form, const void *bytes, size_t len)
{
	c->bytes = sim_host_alloc(len);
	memcpy(c->bytes, bytes, len);
	c->form = (uint8_t)form;
	c->len = (uint32_t)len;
}

/* It equals itself moved by a word. */
static bool is_one_word(const unsigned char *page, size_t len)
{
	return !memcmp(page, page + sizeof(uint64_t), len - sizeof(uint64_t));
}

static void keep_packed(struct sim_swap *w, struct content *c, const unsigned char *page)
{
	size_t packed;

	if (is_one_word(page, w->page)) {
		memcpy(&c->word, page, sizeof(c->word));
		c->form = FORM_WORD;
		c->len = sizeof(c->word);
		return;
	}
	packed = sim_pack(w->codec, w->packed, room_to_pack(w), page, w->page);
	if (packed)
		keep_bytes(c, FORM_PACKED, w->packed, packed);
	else
		keep_bytes(c, FORM_BYTES, page, w->page);
}

static void fill(unsigned char *page, size_t len, uint64_t word)
{
	for (size_t i = 0; i < len; i += sizeof(word))
		memcpy(page + i, &word, sizeof(word));
}

/* ---- contents in a file ------------------------------------------------------------------------------- */

static off_t place_of(const struct sim_swap *w, uint32_t slot)
{
	return (off_t)slot * (off_t)w->page;
}

/* All or nothing: what the host cannot do is no mistake of the core's, and an error of the device. */
static int file_done(struct sim_swap *w, uint32_t slot, ssize_t got, const char *what)
{
	if (got == (ssize_t)w->page)
		return 0;
	sim_explain(w->sim, "swap device %u: slot %u is not %s: %s", w->device.number, slot, what,
		    got < 0 ? strerror(errno) : "the file ends there");
	return -AVM_EIO;
}

static int file_write(struct sim_swap *w, uint32_t slot, struct content *c,
		      const unsigned char *page)
{
	ssize_t put = pwrite(w->fd, page, w->page, place_of(w, slot));
	int err = file_done(w, slot, put, "written");

	if (err)
		return err;
	c->form = FORM_FILE;
	c->len = (uint32_t)w->page;
	return 0;
}

static int file_read(struct sim_swap *w, uint32_t slot, unsigned char *page)
{
	return file_done(w, slot, pread(w->fd, page, w->page, place_of(w, slot)), "read");
}

/* Where the file system cannot, the bytes stay until the slot is written again: nobody may read them anyway. */
static void file_discard(struct sim_swap *w, uint32_t slot)
{
	(void)fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, place_of(w, slot),
			(off_t)w->page);
}

/* ---- the port ------------------------------------------------------------------------------------------ */

static bool fails(struct sim *s, enum sim_at at, unsigned *skip, unsigned *left)
{
	if (s->fails && s->fails(at))
		return true;
	if (!*left)
		return false;
	if (*skip) {
		--*skip;
		return false;
	}
	if (*left != UINT_MAX)
		--*left;
	return true;
}

/* The count is the core's, under a lock of its own, and may be anything but 0: a look at it among threads is a race. */
static bool is_counted(const struct sim_swap *w, uint32_t slot)
{
#ifdef AVM_THREADS
	(void)w;
	(void)slot;
	return true;
#else
	return w->core[slot].count;
#endif
}

/* The core's side of the contract: this slot was given to this page, which is locked. */
static void check_io(struct sim_swap *w, uint32_t slot, avm_pfn_t pfn, const char *what)
{
	const struct avm_page *page = avm_page_of(&w->sim->machine, pfn);
	unsigned device = w->device.number;

	if (sim_frame_is_free(w->sim, pfn))
		sim_error(w->sim, "swap device %u: slot %u is %s, and frame %#llx is free", device,
			  slot, what, (unsigned long long)pfn);
	if (!page || !(atomic_load(&page->flags) & AVM_PG_LOCKED))
		sim_error(w->sim, "swap device %u: slot %u is %s, and its page is not locked",
			  device, slot, what);
	if (!page || w->core[slot].page != page || !is_counted(w, slot))
		sim_error(w->sim, "swap device %u: slot %u is %s for a page that has not got it",
			  device, slot, what);
	if (w->contents[slot].busy)
		sim_error(w->sim, "swap device %u: slot %u is %s in the middle of another I/O",
			  device, slot, what);
}

static void begin_io(struct sim_swap *w, uint32_t slot, avm_pfn_t pfn, const char *what)
{
	sim_lock(&w->mutex);
	check_io(w, slot, pfn, what);
	w->contents[slot].busy = true;
	sim_unlock(&w->mutex);
}

/* NULL, and reported: there is no such slot. */
static struct content *content_of(struct sim_swap *w, uint32_t slot, const char *what)
{
	if (slot < w->slots)
		return &w->contents[slot];
	sim_error(w->sim, "swap device %u: slot %u is %s, and there are %u", w->device.number, slot,
		  what, w->slots);
	return NULL;
}

static int write_content(struct sim_swap *w, uint32_t slot, struct content *c,
			 const unsigned char *page)
{
	int err = 0;

	drop(w, c);
	if (fails(w->sim, SIM_AT_SWAP_WRITE, &w->fail_writes.skip, &w->fail_writes.count))
		return -AVM_EIO;
	if (w->kind == SIM_SWAP_FILE)
		err = file_write(w, slot, c, page);
	else if (w->codec)
		keep_packed(w, c, page);
	else
		keep_bytes(c, FORM_BYTES, page, w->page);
	if (err)
		return err;
	count(w, c, 1);
	w->stats.writes++;
	return 0;
}

int avm_port_swap_write(struct avm *m, struct avm_swap_device *d, uint32_t slot, avm_pfn_t pfn)
{
	struct sim_swap *w = sim_swap_of(d);
	struct content *c = content_of(w, slot, "written");
	int err;

	if (!c)
		return -AVM_EIO;
	begin_io(w, slot, pfn, "written");
	sim_interrupt(w->sim, SIM_AT_SWAP_WRITE);
	sim_lock(&w->mutex);
	err = write_content(w, slot, c, sim_contents(sim_of(m), pfn));
	c->busy = false;
	sim_unlock(&w->mutex);
	return err;
}

static int read_content(struct sim_swap *w, uint32_t slot, const struct content *c,
			unsigned char *page)
{
	if (fails(w->sim, SIM_AT_SWAP_READ, &w->fail_reads.skip, &w->fail_reads.count))
		return -AVM_EIO;
	switch ((enum form)c->form) {
	case FORM_BYTES:
		memcpy(page, c->bytes, c->len);
		return 0;
	case FORM_WORD:
		fill(page, w->page, c->word);
		return 0;
	case FORM_FILE:
		return file_read(w, slot, page);
	case FORM_PACKED:
		if (sim_unpack(w->codec, page, w->page, c->bytes, c->len))
			return 0;
		sim_error(w->sim, "swap device %u: slot %u does not unpack", w->device.number,
			  slot);
		return -AVM_EIO;
	case FORM_NONE:
		break;
	}
	sim_error(w->sim, "swap device %u: slot %u is read and was not written: its content leaks",
		  w->device.number, slot);
	return -AVM_EIO;
}

int avm_port_swap_read(struct avm *m, struct avm_swap_device *d, uint32_t slot, avm_pfn_t pfn)
{
	struct sim_swap *w = sim_swap_of(d);
	struct content *c = content_of(w, slot, "read");
	int err;

	if (!c)
		return -AVM_EIO;
	begin_io(w, slot, pfn, "read");
	sim_interrupt(w->sim, SIM_AT_SWAP_READ);
	sim_lock(&w->mutex);
	err = read_content(w, slot, c, sim_contents(sim_of(m), pfn));
	c->busy = false;
	if (!err)
		w->stats.reads++;
	sim_unlock(&w->mutex);
	return err;
}

/* A slot may come back without ever having been written: its page was wanted again. */
void avm_port_swap_discard(struct avm *m, struct avm_swap_device *d, uint32_t slot)
{
	struct sim_swap *w = sim_swap_of(d);
	struct content *c = content_of(w, slot, "discarded");

	(void)m;
	if (!c)
		return;
	sim_lock(&w->mutex);
	if (w->core[slot].count || c->busy)
		sim_error(w->sim, "swap device %u: slot %u is discarded in use", d->number, slot);
	if (c->form == FORM_FILE)
		file_discard(w, slot);
	drop(w, c);
	w->stats.discards++;
	sim_unlock(&w->mutex);
}

/* ---- making ------------------------------------------------------------------------------------------- */

static int refuse(struct sim *s, int err, const char *path, const char *why)
{
	sim_explain(s, "swap: %s%s%s", path ? path : "", path ? ": " : "", why);
	return err;
}

/* Opens the file, or makes it. */
static int file_open(struct sim_swap *w, const char *path)
{
	w->fd = open(path, O_RDWR | O_CLOEXEC);
	if (w->fd < 0 && errno == ENOENT) {
		w->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (w->fd >= 0) {
			w->made = sim_host_alloc(strlen(path) + 1);
			memcpy(w->made, path, strlen(path) + 1);
		}
	}
	if (w->fd < 0)
		return refuse(w->sim, -errno, path, strerror(errno));
	if (flock(w->fd, LOCK_EX | LOCK_NB))
		return refuse(w->sim, -AVM_EBUSY, path, "is somebody else's swap");
	return 0;
}

/* Room for all slots: given to a new file, asked of an old one. */
static int file_size(struct sim_swap *w, const char *path)
{
	off_t wanted = place_of(w, w->slots), there;
	struct stat st;

	if (w->made && ftruncate(w->fd, wanted))
		return refuse(w->sim, -errno, path, strerror(errno));
	if (fstat(w->fd, &st))
		return refuse(w->sim, -errno, path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return refuse(w->sim, -AVM_EINVAL, path, "is no file and no block device");
	there = lseek(w->fd, 0, SEEK_END);
	if (there < wanted || there < (off_t)w->page) {
		sim_explain(w->sim, "swap: %s: is too small: %lld bytes, and %lld are needed", path,
			    (long long)there, (long long)(w->slots ? wanted : (off_t)w->page));
		return -AVM_EINVAL;
	}
	if (!w->slots) {
		uint64_t fit = (uint64_t)there / w->page;

		w->slots = fit < AVM_SWAP_NO_SLOT ? (uint32_t)fit : AVM_SWAP_NO_SLOT - 1;
	}
	return 0;
}

static int store_open(struct sim_swap *w, const struct sim_swap_config *config)
{
	int err;

	switch (w->kind) {
	case SIM_SWAP_MEMORY:
		return 0;
	case SIM_SWAP_FILE:
		if (!config->path)
			return refuse(w->sim, -AVM_EINVAL, NULL, "which file?");
		err = file_open(w, config->path);
		return err ? err : file_size(w, config->path);
	case SIM_SWAP_ZSTD:
	case SIM_SWAP_LZ4:
		err = sim_codec_new(w->kind, config->level, &w->codec);
		if (err)
			return refuse(w->sim, err, NULL,
				      err == -AVM_EINVAL ? "the compressor has no such level" :
							   "no such compressor here");
		w->packed = sim_host_alloc(room_to_pack(w));
		return 0;
	case SIM_NR_SWAP_KINDS:
		break;
	}
	return refuse(w->sim, -AVM_EOPNOTSUPP, NULL, "no such kind of device");
}

/* The two arrays, and the device is the core's. */
static int swap_start(struct sim_swap *w, int32_t priority)
{
	int err;

	if (!w->slots || w->slots == AVM_SWAP_NO_SLOT)
		return refuse(w->sim, -AVM_EINVAL, NULL, "not so many slots");
	/* By calloc, which leaves the pages of a large array to be made when they are used. */
	w->core = sim_host_alloc(w->slots * sizeof(*w->core));
	w->contents = sim_host_alloc(w->slots * sizeof(*w->contents));
	err = avm_swap_add(&w->sim->machine, &w->device, w->core, w->slots, priority, w);
	if (err)
		return refuse(w->sim, err, NULL,
			      err == -AVM_ENOSPC ? "there are too many devices" :
						   "the core refuses the device");
	return 0;
}

static void swap_free(struct sim_swap *w)
{
	for (uint32_t i = 0; w->contents && i < w->slots; i++)
		drop(w, &w->contents[i]);
	if (w->made)
		unlink(w->made);
	if (w->fd >= 0)
		close(w->fd);
	sim_codec_free(w->codec);
	free(w->made);
	free(w->packed);
	free(w->contents);
	free(w->core);
	free(w);
}

bool sim_swap_has(enum sim_swap_kind kind)
{
	return kind == SIM_SWAP_MEMORY || kind == SIM_SWAP_FILE || sim_codec_there(kind);
}

int sim_swap_add(struct sim *s, const struct sim_swap_config *config, struct avm_swap_device **out)
{
	struct sim_swap *w = sim_host_alloc(sizeof(*w));
	int err;

	w->sim = s;
	w->kind = config->kind;
	w->slots = config->slots;
	w->page = s->frames.content;
	w->fd = -1;
	sim_mutex_init(&w->mutex);
	err = store_open(w, config);
	if (!err)
		err = swap_start(w, config->priority);
	if (err) {
		swap_free(w);
		return err;
	}
	sim_lock(&s->mutex);
	LIST_INSERT_HEAD(&s->swaps, w, link);
	sim_unlock(&s->mutex);
	*out = &w->device;
	return 0;
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

int sim_swap_remove(struct sim *s, struct avm_swap_device *d)
{
	struct sim_swap *w = sim_swap_of(d);
	int err = avm_swap_remove(&s->machine, d);

	if (err)
		return err;
	if (d->used)
		sim_error(s, "swap device %u: is removed with %u slots in use", d->number, d->used);
	sim_lock(&s->mutex);
	LIST_REMOVE(w, link);
	sim_unlock(&s->mutex);
	swap_free(w);
	return 0;
}

uint64_t sim_swaps_remove(struct sim *s)
{
	struct sim_swap *w = LIST_FIRST(&s->swaps);
	uint64_t left = 0;

	while (w) {
		struct sim_swap *next = LIST_NEXT(w, link);

		sim_swap_fail(&w->device, 0, 0, 0);
		if (sim_swap_remove(s, &w->device))
			left += w->device.used ? w->device.used : 1;
		w = next;
	}
	return left;
}

void sim_swaps_fini(struct sim *s)
{
	while (!LIST_EMPTY(&s->swaps)) {
		struct sim_swap *w = LIST_FIRST(&s->swaps);

		LIST_REMOVE(w, link);
		swap_free(w);
	}
}

void sim_swap_fail(struct avm_swap_device *d, unsigned skip, unsigned reads, unsigned writes)
{
	struct sim_swap *w = sim_swap_of(d);

	sim_lock(&w->mutex);
	w->fail_reads.skip = w->fail_writes.skip = skip;
	w->fail_reads.count = reads;
	w->fail_writes.count = writes;
	sim_unlock(&w->mutex);
}

void sim_swap_stats(const struct avm_swap_device *d, struct sim_swap_stats *out)
{
	struct sim_swap *w = sim_swap_of(d);

	sim_lock(&w->mutex);
	*out = w->stats;
	sim_unlock(&w->mutex);
}
