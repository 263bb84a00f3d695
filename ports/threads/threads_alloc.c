/* SPDX-License-Identifier: MIT */
/*
 * threads_alloc.c - frames and metadata for several CPUs, instead of sim_alloc.c.
 *
 * A CPU keeps some free frames, more where there is more memory, and fetches and gives back many at a time: so the common
 * stack is asked seldom, and the lines of what belongs to a frame stay with the CPU that uses it. When the stack is empty,
 * what other CPUs keep is taken from them: a machine is not out of frames before the last one is used. In debug builds
 * metadata goes straight to the host, so that tools see who uses it after the end.
 */
#include <stdlib.h>

#include "threads_priv.h"

uint32_t cpu_frames_most(const struct sim *s)
{
	uint64_t most = s->frames.count / 8 / s->machine.config.cpus;

	if (most < CPU_FRAMES_MIN)
		return CPU_FRAMES_MIN;
	return most < CPU_FRAMES_MAX ? (uint32_t)most : CPU_FRAMES_MAX;
}

static uint32_t batch_of(const struct cpu *c)
{
	uint32_t half = c->most_frames / 2;

	return half < CPU_FRAMES_MOVED ? half : CPU_FRAMES_MOVED;
}

/* ---- the common stack ----------------------------------------------------------------------------------------- */

static uint64_t take_common(struct sim *s, avm_pfn_t *out, uint64_t most)
{
	struct sim_frames *f = &s->frames;
	uint64_t n = 0;

	sim_lock(&s->smp->frames_mutex);
	while (n < most && (f->nr_free || f->fresh < f->count)) {
		if (f->nr_free) {
			out[n++] = f->free[--f->nr_free];
			continue;
		}
		out[n] = SIM_FIRST_PFN + f->fresh++;
		sim_frame_spoil(s, out[n++]);
	}
	sim_unlock(&s->smp->frames_mutex);
	return n;
}

static void give_common(struct sim *s, const avm_pfn_t *pfns, uint64_t n)
{
	struct sim_frames *f = &s->frames;

	sim_lock(&s->smp->frames_mutex);
	for (uint64_t i = 0; i < n; i++)
		f->free[f->nr_free++] = pfns[i];
	sim_unlock(&s->smp->frames_mutex);
}

/* ---- what a CPU keeps -------------------------------------------------------------------------------------------- */

/* The last one that it has got; AVM_PFN_NONE: it has none. */
static avm_pfn_t pop(struct cpu *c)
{
	avm_pfn_t pfn = AVM_PFN_NONE;
	uint32_t n;

	cpu_lock(&c->frames_lock);
	n = atomic_load_explicit(&c->nr_frames, memory_order_relaxed);
	if (n) {
		pfn = c->frames[n - 1];
		atomic_store_explicit(&c->nr_frames, n - 1, memory_order_relaxed);
	}
	cpu_unlock(&c->frames_lock);
	return pfn;
}

static void push(struct cpu *c, const avm_pfn_t *pfns, uint64_t n)
{
	avm_pfn_t away[CPU_FRAMES_MOVED];
	uint32_t had, nr_away = 0;

	cpu_lock(&c->frames_lock);
	had = atomic_load_explicit(&c->nr_frames, memory_order_relaxed);
	/* The oldest go. */
	if (had + n > c->most_frames) {
		nr_away = batch_of(c);
		had -= nr_away;
		memcpy(away, c->frames, nr_away * sizeof(*away));
		memmove(c->frames, c->frames + nr_away, had * sizeof(*away));
	}
	memcpy(c->frames + had, pfns, n * sizeof(*pfns));
	atomic_store_explicit(&c->nr_frames, had + (uint32_t)n, memory_order_relaxed);
	cpu_unlock(&c->frames_lock);
	if (nr_away)
		give_common(c->sim, away, nr_away);
}

void cpu_frames_back(struct cpu *c)
{
	cpu_lock(&c->frames_lock);
	give_common(c->sim, c->frames, atomic_load_explicit(&c->nr_frames, memory_order_relaxed));
	atomic_store_explicit(&c->nr_frames, 0, memory_order_relaxed);
	cpu_unlock(&c->frames_lock);
}

static avm_pfn_t take_from_others(struct sim *s)
{
	unsigned n = smp_nr_cpus(s);

	for (unsigned i = 0; i < n; i++) {
		struct cpu *c = &s->smp->cpus[i];
		avm_pfn_t pfn;

		if (!atomic_load_explicit(&c->nr_frames, memory_order_relaxed))
			continue;
		pfn = pop(c);
		if (pfn != AVM_PFN_NONE)
			return pfn;
	}
	return AVM_PFN_NONE;
}

static avm_pfn_t take_frame(struct cpu *c)
{
	avm_pfn_t pfn = pop(c), got[CPU_FRAMES_MOVED];
	uint64_t n;

	if (pfn != AVM_PFN_NONE)
		return pfn;
	n = take_common(c->sim, got, batch_of(c));
	if (!n)
		return take_from_others(c->sim);
	if (n > 1)
		push(c, got, n - 1);
	return got[n - 1];
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

avm_pfn_t avm_port_frame_alloc(struct avm *m, enum avm_frame_use use)
{
	struct sim *s = sim_of(m);
	struct sim_frames *f = &s->frames;
	avm_pfn_t pfn = take_frame(cpu_here(s));
	uint64_t i = pfn - SIM_FIRST_PFN;

	cpu_disturb(cpu_here(s));
	if (pfn == AVM_PFN_NONE)
		return AVM_PFN_NONE;
	if (f->tables && use == AVM_FRAME_TABLE) {
		f->tables[i] = aligned_alloc(AVM_PAGE_SIZE, AVM_PAGE_SIZE);
		if (!f->tables[i]) {
			push(cpu_here(s), &pfn, 1);
			return AVM_PFN_NONE;
		}
	}
	f->state[i] = use == AVM_FRAME_TABLE ? SIM_FRAME_TABLE : SIM_FRAME_USER;
	return pfn;
}

static bool may_be_freed(struct sim *s, avm_pfn_t pfn)
{
	if (!sim_frame_is_ours(s, pfn)) {
		sim_error(s, "frame %#llx is freed, and is not of this machine",
			  (unsigned long long)pfn);
		return false;
	}
	if (sim_frame_is_free(s, pfn)) {
		sim_error(s, "frame %#llx is freed twice", (unsigned long long)pfn);
		return false;
	}
	return true;
}

void avm_port_frame_free(struct avm *m, avm_pfn_t pfn)
{
	struct sim *s = sim_of(m);
	struct sim_frames *f = &s->frames;
	uint64_t i = pfn - SIM_FIRST_PFN;

	if (!may_be_freed(s, pfn))
		return;
	if (f->state[i] == SIM_FRAME_USER)
		sim_check_untranslated(s, pfn);
	if (f->tables && f->state[i] == SIM_FRAME_TABLE) {
		free(f->tables[i]);
		f->tables[i] = NULL;
	}
	sim_frame_spoil(s, pfn);
	f->state[i] = SIM_FRAME_FREE;
	push(cpu_here(s), &pfn, 1);
}

/* Those that nobody has: the fresh ones, the common stack, and what CPUs keep. => machine at rest */
void sim_frames_count(struct sim *s)
{
	uint64_t used = 0;

	for (uint64_t i = 0; i < s->frames.count; i++)
		used += s->frames.state[i] != SIM_FRAME_FREE;
	s->frames.used = used;
}

/* ---- metadata ------------------------------------------------------------------------------------------------------- */

/* Which of the sizes that are kept; SIM_META_SIZES: none. */
static unsigned kept_size(size_t size)
{
#ifndef AVM_DEBUG
	for (unsigned i = 0; i < SIM_META_SIZES; i++) {
		if (size == (size_t)AVM_META_MIN << i)
			return i;
	}
#endif
	(void)size;
	return SIM_META_SIZES;
}

static void *meta_pop(struct cpu *c, unsigned which)
{
	void *p = NULL;

	if (which == SIM_META_SIZES)
		return NULL;
	cpu_lock(&c->meta_lock);
	if (c->nr_meta[which])
		p = c->meta[which][--c->nr_meta[which]];
	cpu_unlock(&c->meta_lock);
	return p;
}

static bool meta_push(struct cpu *c, unsigned which, void *p)
{
	bool room;

	if (which == SIM_META_SIZES)
		return false;
	cpu_lock(&c->meta_lock);
	room = c->nr_meta[which] < CPU_META;
	if (room)
		c->meta[which][c->nr_meta[which]++] = p;
	cpu_unlock(&c->meta_lock);
	return room;
}

void cpu_meta_back(struct cpu *c)
{
	for (unsigned i = 0; i < SIM_META_SIZES; i++) {
		void *p;

		while ((p = meta_pop(c, i)))
			free(p);
	}
}

void sim_meta_fini(struct sim *s)
{
	for (unsigned i = 0; s->smp && s->smp->cpus && i < SMP_CPUS; i++)
		cpu_meta_back(&s->smp->cpus[i]);
}

void *avm_port_meta_alloc(struct avm *m, size_t size)
{
	struct sim *s = sim_of(m);
	uint64_t now = __atomic_add_fetch(&s->meta_bytes, size, __ATOMIC_RELAXED);
	void *p = NULL;

	if (!s->config.meta_limit || now <= s->config.meta_limit) {
		p = meta_pop(cpu_here(s), kept_size(size));
		if (!p)
			p = aligned_alloc(size, size);
	}
	if (!p)
		__atomic_fetch_sub(&s->meta_bytes, size, __ATOMIC_RELAXED);
	return p;
}

void avm_port_meta_free(struct avm *m, void *ptr, size_t size)
{
	struct sim *s = sim_of(m);

	__atomic_fetch_sub(&s->meta_bytes, size, __ATOMIC_RELAXED);
	if (!meta_push(cpu_here(s), kept_size(size), ptr))
		free(ptr);
}
