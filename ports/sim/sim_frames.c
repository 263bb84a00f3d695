/* SPDX-License-Identifier: MIT */
/*
 * sim_frames.c - the memory of the simulated machine: where frames lie, and what is in them. Who gets which is decided in
 * sim_alloc.c.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim_priv.h"

#define GARBAGE 0xdb

/* ---- frames -------------------------------------------------------------------------------------------- */

/* Whoever makes a small machine makes many: not by asking the kernel each time. */
#define SMALL (64u << 10)
#define LARGE (2u << 20) /* a large page */

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

/*
 * A kernel maps the descriptors of its frames by large pages, and so by a handful of TLB entries; where the host has such pages
 * they lie in them here. Where it has none, nothing is lost.
 */
void *sim_reserve_descriptors(uint64_t size)
{
	void *p = sim_reserve(size);

#ifdef MADV_HUGEPAGE
	if (p && size >= LARGE)
		(void)madvise(p, size, MADV_HUGEPAGE);
#endif
	return p;
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

bool sim_frame_is_free(const struct sim *s, avm_pfn_t pfn)
{
	return sim_frame_is_ours(s, pfn) && s->frames.state[pfn - SIM_FIRST_PFN] == SIM_FRAME_FREE;
}

void sim_frame_spoil(struct sim *s, avm_pfn_t pfn)
{
#ifdef AVM_DEBUG
	memset(sim_contents(s, pfn), GARBAGE, s->frames.content);
#else
	(void)s;
	(void)pfn;
#endif
}

void *avm_port_frame_ptr(struct avm *m, avm_pfn_t pfn)
{
	struct sim *s = sim_around(m);
	struct sim_frames *f = &s->frames;
	void *p = NULL;

#ifdef AVM_DEBUG
	if (sim_frame_is_free(s, pfn))
		sim_error(s, "frame %#llx is pointed to, and it is free", (unsigned long long)pfn);
#endif
	if (sim_frame_is_ours(s, pfn))
		p = f->tables ? f->tables[pfn - SIM_FIRST_PFN] :
				f->contents + (pfn - SIM_FIRST_PFN) * AVM_PAGE_SIZE;
	if (!p)
		sim_error(s, "frame %#llx has no memory to point to", (unsigned long long)pfn);
	return p;
}

/* ---- contents ------------------------------------------------------------------------------------------ */

static inline unsigned char *contents_of_ours(struct sim *s, uint64_t i)
{
	unsigned char *bytes = s->frames.contents + i * s->frames.content;

	sim_touched(bytes, true);
	return bytes;
}

unsigned char *sim_contents(struct sim *s, avm_pfn_t pfn)
{
	if (!sim_frame_is_ours(s, pfn))
		return sim_store_make(&s->frames.devices, pfn);
	return contents_of_ours(s, pfn - SIM_FIRST_PFN);
}

static unsigned char *contents_of_others(struct sim *s, avm_pfn_t pfn)
{
	if (sim_frame_is_free(s, pfn))
		sim_error(s, "contents of frame %#llx are used, and it is free",
			  (unsigned long long)pfn);
	return sim_contents(s, pfn);
}

/* The same for the core, which has no business in a free frame. */
static inline unsigned char *contents(struct sim *s, avm_pfn_t pfn)
{
	uint64_t i = pfn - SIM_FIRST_PFN;

	if (i < s->frames.count && s->frames.state[i] != SIM_FRAME_FREE)
		return contents_of_ours(s, i);
	return contents_of_others(s, pfn);
}

void avm_port_frame_clear(struct avm *m, avm_pfn_t pfn)
{
	struct sim *s = sim_around(m);

	memset(contents(s, pfn), 0, s->frames.content);
}

/* Then no spin lock is held: a page lock may sleep. (Pages are also copied under table locks, at fork.) */
static bool page_is_locked(const struct sim *s, avm_pfn_t pfn)
{
	uint64_t i = pfn - SIM_FIRST_PFN;

	return i < s->frames.count && (atomic_load(&s->pages[i].flags) & AVM_PG_LOCKED);
}

/*
 * Does somebody make a copy of his own of a page of a file? Others, who map it shared, may write to it all the while. Where a page
 * moves both are locked, and nobody may.
 */
static bool may_be_written(const struct sim *s, avm_pfn_t to, avm_pfn_t from)
{
	uint64_t i = from - SIM_FIRST_PFN;

	return i < s->frames.count && !(atomic_load(&s->pages[i].mapping) & AVM_MAPPING_ANON) &&
	       !page_is_locked(s, to);
}

void avm_port_frame_copy(struct avm *m, avm_pfn_t to, avm_pfn_t from)
{
	struct sim *s = sim_around(m);

	if (page_is_locked(s, from))
		sim_interrupt(s, SIM_AT_FRAME_COPY);
	if (sim_revoking(s) && !may_be_written(s, to, from))
		sim_check_protected(s, from, SIM_NO_SLOT, "while its frame is copied");
	sim_shared_read(contents(s, to), contents(s, from), s->frames.content);
}

/* How many of `len` bytes at `offset` a frame has. */
static size_t bytes_kept(const struct sim *s, size_t offset, size_t len)
{
	size_t room = offset < s->frames.content ? s->frames.content - offset : 0;

	return len < room ? len : room;
}

void avm_port_frame_read(struct avm *m, avm_pfn_t pfn, size_t offset, void *buf, size_t len)
{
	struct sim *s = sim_around(m);
	size_t kept = bytes_kept(s, offset, len);

	sim_shared_read(buf, contents(s, pfn) + (kept ? offset : 0), kept);
	memset((char *)buf + kept, 0, len - kept);
	sim_disturb(s);
}

void avm_port_frame_write(struct avm *m, avm_pfn_t pfn, size_t offset, const void *buf, size_t len)
{
	struct sim *s = sim_around(m);
	size_t kept = bytes_kept(s, offset, len);

	sim_shared_write(contents(s, pfn) + (kept ? offset : 0), buf, kept);
}

bool avm_port_frame_same(struct avm *m, avm_pfn_t a, avm_pfn_t b)
{
	struct sim *s = sim_around(m);

	return sim_shared_same(contents(s, a), contents(s, b), s->frames.content);
}
