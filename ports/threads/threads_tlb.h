/* SPDX-License-Identifier: MIT */
/*
 * threads_tlb.h - a TLB for each CPU: sim_mmu.c alone includes it, instead of sim_tlb.h.
 *
 * An access holds the lock of its CPU's TLB from the look at the TLB, or the walk of the tables, to the last byte. Who
 * flushes takes the lock of each CPU that has ever looked at the address space, one after the other: when he is through,
 * nobody has the old translation, nor is in the middle of an access by it, nor of a walk that has read what was there
 * before. That is what the interrupt of a real shoot-down is for.
 *
 * Who looks says so (proc->seen_by) before he walks; who flushes has changed the entry before he asks who has looked.
 * Both are sequentially consistent, so one of them sees the other.
 */
#ifndef THREADS_TLB_H
#define THREADS_TLB_H

#include "threads_priv.h"

_Static_assert(SMP_CPUS <= 64, "one bit each");

struct sim_proc {
	struct avm_mm mm;
	struct sim *sim;
	LIST_ENTRY(sim_proc) link;
	_Atomic uint64_t seen_by; /* CPUs */
};

static inline void sim_tlb_init(struct sim_proc *p)
{
	(void)p;
}

static inline void sim_tlb_fini(struct sim_proc *p)
{
	(void)p;
}

static inline struct cpu_tlb_entry *tlb_slot(const struct cpu *c, uint64_t space, avm_addr_t page)
{
	uint64_t mixed = (page >> AVM_PAGE_SHIFT) + space * 17;

	return &c->tlb[mixed & (c->sim->config.tlb_entries - 1)];
}

static inline void sim_tlb_begin(struct sim_proc *p)
{
	struct cpu *c = cpu_here(p->sim);
	uint64_t bit = UINT64_C(1) << c->number;

	cpu_lock(&c->tlb_lock);
	if (!(atomic_load_explicit(&p->seen_by, memory_order_relaxed) & bit))
		atomic_fetch_or(&p->seen_by, bit);
}

static inline void sim_tlb_end(struct sim_proc *p)
{
	cpu_unlock(&cpu_here(p->sim)->tlb_lock);
}

/* The four that follow: => between begin and end */
static inline bool sim_tlb_find(struct sim_proc *p, avm_addr_t page, avm_pte_t *pte)
{
	struct cpu *c = cpu_here(p->sim);
	const struct cpu_tlb_entry *e;

	if (!c->tlb)
		return false;
	e = tlb_slot(c, p->mm.id, page);
	if (e->page != page || e->space != p->mm.id)
		return false;
	count_up(&c->hits, 1);
	*pte = e->pte;
	return true;
}

static inline void tlb_drop(struct cpu *c, uint64_t space, avm_addr_t page)
{
	struct cpu_tlb_entry *e = tlb_slot(c, space, page);

	if (e->page == page && e->space == space)
		e->space = 0;
}

static inline void sim_tlb_drop(struct sim_proc *p, avm_addr_t page)
{
	struct cpu *c = cpu_here(p->sim);

	if (c->tlb)
		tlb_drop(c, p->mm.id, page);
}

static inline void sim_tlb_fill(struct sim_proc *p, avm_addr_t page, avm_pte_t pte)
{
	struct cpu *c = cpu_here(p->sim);

	count_up(&c->walks, 1);
	if (c->tlb)
		*tlb_slot(c, p->mm.id, page) = (struct cpu_tlb_entry){ p->mm.id, page, pte };
}

/* => tlb_lock of the CPU */
static inline void tlb_flush(struct cpu *c, uint64_t space, avm_addr_t start, avm_addr_t end)
{
	uint32_t entries = c->sim->config.tlb_entries;

	if (!c->tlb)
		return;
	if ((end - start) >> AVM_PAGE_SHIFT < entries) {
		for (avm_addr_t page = start & AVM_PAGE_MASK; page < end; page += AVM_PAGE_SIZE)
			tlb_drop(c, space, page);
		return;
	}
	for (uint32_t i = 0; i < entries; i++) {
		if (c->tlb[i].space == space)
			c->tlb[i].space = 0;
	}
}

static inline void sim_tlb_flush(struct sim_proc *p, avm_addr_t start, avm_addr_t end)
{
	struct sim *s = p->sim;
	struct cpu *mine = cpu_here(s);
	uint64_t seen;

	cpu_disturb(mine);
	count_up(&mine->flushes, 1);
	seen = atomic_fetch_or(&p->seen_by, 0);
	for (unsigned i = 0; seen; i++, seen >>= 1) {
		struct cpu *c = &s->smp->cpus[i];

		if (!(seen & 1))
			continue;
		if (c != mine)
			count_up(&mine->shootdowns, 1);
		cpu_lock(&c->tlb_lock);
		tlb_flush(c, p->mm.id, start, end);
		cpu_unlock(&c->tlb_lock);
	}
}

static inline void sim_tlb_check_frame(struct sim *s, avm_pfn_t pfn)
{
	unsigned n = smp_nr_cpus(s);

	for (unsigned i = 0; i < n; i++) {
		struct cpu *c = &s->smp->cpus[i];

		cpu_lock(&c->tlb_lock);
		for (uint32_t k = 0; c->tlb && k < s->config.tlb_entries; k++) {
			const struct cpu_tlb_entry *e = &c->tlb[k];

			if (e->space && avm_pte_pfn(e->pte) == pfn)
				sim_error(s,
					  "frame %#llx is freed, and CPU %u translates %#llx of "
					  "address space %llu to it",
					  (unsigned long long)pfn, i, (unsigned long long)e->page,
					  (unsigned long long)e->space);
		}
		cpu_unlock(&c->tlb_lock);
	}
}

/* A walk has read an entry that names a table: there is time for somebody to take the table away. */
static inline void sim_walk_step(struct sim_proc *p)
{
	cpu_disturb(cpu_here(p->sim));
}

/* What is behind the entry was written before it (an arch says so, or its hardware follows the dependency). */
static inline avm_pte_t sim_entry_load(const avm_pte_t *slot)
{
	return atomic_load_explicit((const _Atomic avm_pte_t *)slot, memory_order_acquire);
}

#endif
