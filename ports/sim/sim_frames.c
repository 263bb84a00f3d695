/* SPDX-License-Identifier: MIT */
/*
 * sim_frames.c - frames and metadata of the simulated machine, and the contents of frames.
 *
 * Free frames are a stack: what was freed last is given next, so that a page used after its end is soon somebody
 * else's. Debug builds fill frames with garbage when they are freed and when they are given for the first time.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim_priv.h"

#define GARBAGE 0xdb

/* ---- from one owner to the next -------------------------------------------------------------------------- */

static void handed(struct sim *s, const void *memory, size_t size, enum sim_handing how)
{
	if (s->handed)
		s->handed(memory, size, how);
}

static void handed_frame(struct sim *s, avm_pfn_t pfn, enum sim_handing how)
{
	uint64_t i = pfn - SIM_FIRST_PFN;

	handed(s, &s->pages[i], sizeof(*s->pages), how);
	if (s->frames.tables && s->frames.tables[i])
		handed(s, s->frames.tables[i], AVM_PAGE_SIZE,
		       how == SIM_FRAME_GIVEN ? SIM_GIVEN : SIM_TAKEN_BACK);
}

/* ---- frames -------------------------------------------------------------------------------------------- */

/* Whoever makes a small machine makes many: not by asking the kernel each time. */
#define SMALL (64u << 10)

void *sim_reserve(uint64_t size)
{
	void *p;

	if (size <= SMALL) {
		p = aligned_alloc(64, (size + 63) & ~UINT64_C(63));
		return p ? memset(p, 0, size) : NULL;
	}
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int sim_frames_init(struct sim *s)
{
	struct sim_frames *f = &s->frames;

	f->count = s->config.frames;
	f->content = s->config.contents == SIM_BYTES ? AVM_PAGE_SIZE : sizeof(uint64_t);
	f->devices.page_size = f->content;
	f->free = sim_reserve(f->count * sizeof(*f->free));
	f->state = sim_reserve(f->count);
	f->contents = sim_reserve(f->count * f->content);
	if (s->config.contents == SIM_STAMPS)
		f->tables = sim_reserve(f->count * sizeof(*f->tables));
	if (!f->free || !f->state || !f->contents ||
	    (s->config.contents == SIM_STAMPS && !f->tables))
		return -AVM_ENOMEM;
	return 0;
}

void sim_unreserve(void *p, uint64_t size)
{
	if (size <= SMALL)
		free(p);
	else if (p)
		munmap(p, size);
}

void sim_frames_fini(struct sim *s)
{
	struct sim_frames *f = &s->frames;

	for (uint64_t i = 0; f->tables && f->used && i < f->count; i++)
		free(f->tables[i]);
	while (f->spare_tables) {
		void **spare = f->spare_tables;

		f->spare_tables = *spare;
		free(spare);
	}
	sim_unreserve(f->free, f->count * sizeof(*f->free));
	sim_unreserve(f->state, f->count);
	sim_unreserve(f->contents, f->count * f->content);
	sim_unreserve(f->tables, f->count * sizeof(*f->tables));
	sim_store_fini(&f->devices);
}

static bool is_ours(const struct sim_frames *f, avm_pfn_t pfn)
{
	return pfn - SIM_FIRST_PFN < f->count;
}

bool sim_frame_is_free(const struct sim *s, avm_pfn_t pfn)
{
	return is_ours(&s->frames, pfn) && s->frames.state[pfn - SIM_FIRST_PFN] == SIM_FRAME_FREE;
}

static void spoil(struct sim *s, avm_pfn_t pfn)
{
#ifdef AVM_DEBUG
	memset(sim_contents(s, pfn), GARBAGE, s->frames.content);
#else
	(void)s;
	(void)pfn;
#endif
}

/*
 * Memory of tables is kept for the next one: the host would clear and fault in each page anew. In debug builds tools watch who
 * uses it after the end.
 */
static void *table_memory(struct sim_frames *f)
{
	void **spare = f->spare_tables;

	if (!spare)
		return aligned_alloc(AVM_PAGE_SIZE, AVM_PAGE_SIZE);
	f->spare_tables = *spare;
	return spare;
}

static void table_keep(struct sim_frames *f, void **table)
{
#ifdef AVM_DEBUG
	(void)f;
	free(table);
#else
	*table = f->spare_tables;
	f->spare_tables = table;
#endif
}

avm_pfn_t avm_port_frame_alloc(struct avm *m, enum avm_frame_use use)
{
	struct sim *s = sim_of(m);
	struct sim_frames *f = &s->frames;
	void *table = NULL;
	avm_pfn_t pfn;

	sim_interrupt(s, SIM_AT_FRAME_ALLOC);
	if (f->nr_free == 0 && f->fresh == f->count)
		return AVM_PFN_NONE;
	if (f->tables && use == AVM_FRAME_TABLE) {
		table = table_memory(f);
		if (!table)
			return AVM_PFN_NONE;
	}
	if (f->nr_free) {
		pfn = f->free[--f->nr_free];
	} else {
		pfn = SIM_FIRST_PFN + f->fresh++;
		spoil(s, pfn);
	}
	if (table)
		f->tables[pfn - SIM_FIRST_PFN] = table;
	f->state[pfn - SIM_FIRST_PFN] = use == AVM_FRAME_TABLE ? SIM_FRAME_TABLE : SIM_FRAME_USER;
	f->used++;
	handed_frame(s, pfn, SIM_FRAME_GIVEN);
	return pfn;
}

void avm_port_frame_free(struct avm *m, avm_pfn_t pfn)
{
	struct sim *s = sim_of(m);
	struct sim_frames *f = &s->frames;

	if (!is_ours(f, pfn)) {
		sim_error(s, "frame %#llx is freed, and is not of this machine",
			  (unsigned long long)pfn);
		return;
	}
	if (sim_frame_is_free(s, pfn)) {
		sim_error(s, "frame %#llx is freed twice", (unsigned long long)pfn);
		return;
	}
	handed_frame(s, pfn, SIM_FRAME_TAKEN_BACK);
	if (f->tables && f->state[pfn - SIM_FIRST_PFN] == SIM_FRAME_TABLE) {
		table_keep(f, f->tables[pfn - SIM_FIRST_PFN]);
		f->tables[pfn - SIM_FIRST_PFN] = NULL;
	}
	if (f->state[pfn - SIM_FIRST_PFN] == SIM_FRAME_USER)
		sim_check_untranslated(s, pfn);
	spoil(s, pfn);
	f->state[pfn - SIM_FIRST_PFN] = SIM_FRAME_FREE;
	f->free[f->nr_free++] = pfn;
	f->used--;
}

void *avm_port_frame_ptr(struct avm *m, avm_pfn_t pfn)
{
	struct sim *s = sim_of(m);
	struct sim_frames *f = &s->frames;
	void *p = NULL;

#ifdef AVM_DEBUG
	if (sim_frame_is_free(s, pfn))
		sim_error(s, "frame %#llx is pointed to, and it is free", (unsigned long long)pfn);
#endif
	if (is_ours(f, pfn))
		p = f->tables ? f->tables[pfn - SIM_FIRST_PFN] :
				f->contents + (pfn - SIM_FIRST_PFN) * AVM_PAGE_SIZE;
	if (!p)
		sim_error(s, "frame %#llx has no memory to point to", (unsigned long long)pfn);
	return p;
}

/* ---- contents ------------------------------------------------------------------------------------------ */

unsigned char *sim_contents(struct sim *s, avm_pfn_t pfn)
{
	struct sim_frames *f = &s->frames;

	if (!is_ours(f, pfn))
		return sim_store_make(&f->devices, pfn);
	sim_touched(f->contents + (pfn - SIM_FIRST_PFN) * f->content, true);
	return f->contents + (pfn - SIM_FIRST_PFN) * f->content;
}

/* The same for the core, which has no business in a free frame. */
static unsigned char *contents(struct sim *s, avm_pfn_t pfn)
{
	if (sim_frame_is_free(s, pfn))
		sim_error(s, "contents of frame %#llx are used, and it is free",
			  (unsigned long long)pfn);
	return sim_contents(s, pfn);
}

void avm_port_frame_clear(struct avm *m, avm_pfn_t pfn)
{
	struct sim *s = sim_of(m);

	memset(contents(s, pfn), 0, s->frames.content);
}

/* Then no spin lock is held: a page lock may sleep. (Pages are also copied under table locks, at fork.) */
static bool page_is_locked(const struct sim *s, avm_pfn_t pfn)
{
	uint64_t i = pfn - SIM_FIRST_PFN;

	return i < s->frames.count && (atomic_load(&s->pages[i].flags) & AVM_PG_LOCKED);
}

void avm_port_frame_copy(struct avm *m, avm_pfn_t to, avm_pfn_t from)
{
	struct sim *s = sim_of(m);

	if (page_is_locked(s, from))
		sim_interrupt(s, SIM_AT_FRAME_COPY);
	memcpy(contents(s, to), contents(s, from), s->frames.content);
}

/* How many of `len` bytes at `offset` a frame has. */
static size_t bytes_kept(const struct sim *s, size_t offset, size_t len)
{
	size_t room = offset < s->frames.content ? s->frames.content - offset : 0;

	return len < room ? len : room;
}

void avm_port_frame_read(struct avm *m, avm_pfn_t pfn, size_t offset, void *buf, size_t len)
{
	struct sim *s = sim_of(m);
	size_t kept = bytes_kept(s, offset, len);

	memcpy(buf, contents(s, pfn) + (kept ? offset : 0), kept);
	memset((char *)buf + kept, 0, len - kept);
}

void avm_port_frame_write(struct avm *m, avm_pfn_t pfn, size_t offset, const void *buf, size_t len)
{
	struct sim *s = sim_of(m);
	size_t kept = bytes_kept(s, offset, len);

	memcpy(contents(s, pfn) + (kept ? offset : 0), buf, kept);
}

bool avm_port_frame_same(struct avm *m, avm_pfn_t a, avm_pfn_t b)
{
	struct sim *s = sim_of(m);

	return !memcmp(contents(s, a), contents(s, b), s->frames.content);
}

/* ---- metadata ------------------------------------------------------------------------------------------ */

/* Kept for the next one, as that of tables; in debug builds tools watch who uses it after the end. */
static void **spare_meta(struct sim *s, size_t size)
{
#ifndef AVM_DEBUG
	for (size_t i = 0; i < SIM_META_SIZES; i++)
		if (size == (size_t)AVM_META_MIN << i)
			return &s->spare_meta[i];
#endif
	(void)s;
	(void)size;
	return NULL;
}

void sim_meta_fini(struct sim *s)
{
	for (size_t i = 0; i < SIM_META_SIZES; i++) {
		while (s->spare_meta[i]) {
			void **p = s->spare_meta[i];

			s->spare_meta[i] = *p;
			free(p);
		}
	}
}

void *avm_port_meta_alloc(struct avm *m, size_t size)
{
	struct sim *s = sim_of(m);
	void **spares = spare_meta(s, size);
	void *p;

	if (s->config.meta_limit && s->meta_bytes + size > s->config.meta_limit)
		return NULL;
	if (spares && *spares) {
		p = *spares;
		*spares = *(void **)p;
	} else {
		p = aligned_alloc(size, size);
	}
	if (!p)
		return NULL;
	s->meta_bytes += size;
	handed(s, p, size, SIM_GIVEN);
	return p;
}

void avm_port_meta_free(struct avm *m, void *ptr, size_t size)
{
	struct sim *s = sim_of(m);
	void **spares = spare_meta(s, size);

	handed(s, ptr, size, SIM_TAKEN_BACK);
	s->meta_bytes -= size;
	if (!spares) {
		free(ptr);
		return;
	}
	*(void **)ptr = *spares;
	*spares = ptr;
}
