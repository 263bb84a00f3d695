/* SPDX-License-Identifier: MIT */
/*
 * sim_alloc.c - frames and metadata: given, and taken back. A machine of several CPUs (ports/threads) has its own instead.
 *
 * Free frames are a stack: what was freed last is given next, so that a page used after its end is soon somebody
 * else's. Debug builds fill frames with garbage when they are freed and when they are given for the first time.
 */
#include <stdlib.h>
#include <string.h>

#include "sim_priv.h"

/* ---- from one owner to the next -------------------------------------------------------------------------- */

static void handed(struct sim *s, const void *memory, size_t size, enum sim_handing how)
{
	if (s->handed)
		s->handed(memory, size, how);
}

static inline void handed_frame(struct sim *s, avm_pfn_t pfn, enum sim_handing how)
{
	uint64_t i = pfn - SIM_FIRST_PFN;

	if (!s->handed)
		return;
	handed(s, &s->pages[i], sizeof(*s->pages), how);
	if (s->frames.tables && s->frames.tables[i])
		handed(s, s->frames.tables[i], AVM_PAGE_SIZE,
		       how == SIM_FRAME_GIVEN ? SIM_GIVEN : SIM_TAKEN_BACK);
}

/* ---- frames -------------------------------------------------------------------------------------------- */

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
	struct sim *s = sim_around(m);
	struct sim_frames *f = &s->frames;
	void *table = NULL;
	avm_pfn_t pfn;

	if (s->interruption)
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
		sim_frame_spoil(s, pfn);
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
	struct sim *s = sim_around(m);
	struct sim_frames *f = &s->frames;

	if (!sim_frame_is_ours(s, pfn)) {
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
	sim_frame_spoil(s, pfn);
	f->state[pfn - SIM_FIRST_PFN] = SIM_FRAME_FREE;
	f->free[f->nr_free++] = pfn;
	f->used--;
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

/* The first lines. */
static void prefetch_head(const char *p)
{
	__builtin_prefetch(p, 1);
	__builtin_prefetch(p + AVM_CACHE_LINE, 1);
	__builtin_prefetch(p + 2 * AVM_CACHE_LINE, 1);
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
	struct sim *s = sim_around(m);
	void **spares = spare_meta(s, size);
	void *p;

	if (s->config.meta_limit && s->meta_bytes + size > s->config.meta_limit)
		return NULL;
	if (spares && *spares) {
		p = *spares;
		*spares = *(void **)p;
		/* Nobody waits for the link in the next one: where memory is real, it is not there. */
		if (*spares)
			prefetch_head(*spares);
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
	struct sim *s = sim_around(m);
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
