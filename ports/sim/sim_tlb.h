/* SPDX-License-Identifier: MIT */
/*
 * sim_tlb.h - the TLB of a process, one for each CPU; there are others than the first only under the checker, whose threads take
 * turns. sim_mmu.c alone includes it.
 */
#ifndef SIM_TLB_H
#define SIM_TLB_H

#include <stdlib.h>
#include <string.h>

#include "sim_priv.h"

#define NO_PAGE (~(avm_addr_t)0)

struct tlb_entry {
	avm_addr_t page; /* NO_PAGE: empty */
	avm_pte_t pte;
	uint64_t flushes; /* of the TLB, when the entry was filled: older ones are void */
	uint64_t revoked_by; /* CPU + 1; 0: it is as the tables are */
};

struct sim_proc {
	struct avm_mm mm;
	struct sim *sim;
	LIST_ENTRY(sim_proc) link;
	uint64_t flushes; /* of everything */
	struct tlb_entry *tlb; /* of one CPU behind the other; NULL: none */
};

static inline void sim_tlb_init(struct sim_proc *p)
{
	struct sim *s = p->sim;

	if (s->config.no_tlb)
		return;
	p->tlb = sim_host_alloc(SIM_CPUS * s->config.tlb_entries * sizeof(*p->tlb));
	for (uint32_t i = 0; i < SIM_CPUS * s->config.tlb_entries; i++)
		p->tlb[i].page = NO_PAGE;
}

static inline void sim_tlb_fini(struct sim_proc *p)
{
	free(p->tlb);
}

static inline struct tlb_entry *tlb_slot(const struct sim_proc *p, unsigned cpu, avm_addr_t page)
{
	uint32_t n = p->sim->config.tlb_entries;

	return &p->tlb[cpu * n + ((page >> AVM_PAGE_SHIFT) & (n - 1))];
}

static inline unsigned this_cpu(const struct sim_proc *p)
{
	return SIM_CPUS > 1 ? avm_port_cpu_id(&p->sim->machine) : 0;
}

static inline bool tlb_is_valid(const struct sim_proc *p, const struct tlb_entry *e)
{
	return e->page != NO_PAGE && e->flushes == p->flushes;
}

/* An access begins, and ends: who flushes waits for that. There is nobody else. */
static inline void sim_tlb_begin(const struct sim_proc *p)
{
	(void)p;
}

static inline void sim_tlb_end(const struct sim_proc *p)
{
	(void)p;
}

static inline bool sim_tlb_find(const struct sim_proc *p, avm_addr_t page, avm_pte_t *pte)
{
	const struct tlb_entry *e;

	if (!p->tlb)
		return false;
	sim_touched(p->tlb, false);
	e = tlb_slot(p, this_cpu(p), page);
	*pte = e->pte;
	return e->page == page && e->flushes == p->flushes;
}

static inline void tlb_drop(struct sim_proc *p, unsigned cpu, avm_addr_t page)
{
	struct tlb_entry *e = tlb_slot(p, cpu, page);

	if (e->page == page)
		e->page = NO_PAGE;
}

/* From one's own. */
static inline void sim_tlb_drop(struct sim_proc *p, avm_addr_t page)
{
	sim_touched(p->tlb, true);
	tlb_drop(p, this_cpu(p), page);
}

static inline void sim_tlb_fill(struct sim_proc *p, avm_addr_t page, avm_pte_t pte)
{
	if (!p->tlb)
		return;
	sim_touched(p->tlb, true);
	*tlb_slot(p, this_cpu(p), page) = (struct tlb_entry){ page, pte, p->flushes, 0 };
}

/* When it returns no CPU has a translation of the range. */
static inline void sim_tlb_flush(struct sim_proc *p, avm_addr_t start, avm_addr_t end)
{
	if (!p->tlb)
		return;
	sim_touched(p->tlb, true);
	if ((end - start) >> AVM_PAGE_SHIFT >= p->sim->config.tlb_entries) {
		p->flushes++;
		return;
	}
	for (unsigned cpu = 0; cpu < SIM_CPUS; cpu++) {
		for (avm_addr_t page = start & AVM_PAGE_MASK; page < end; page += AVM_PAGE_SIZE)
			tlb_drop(p, cpu, page);
	}
}

/* R12: a frame that is about to be free must be in no TLB. */
static inline void sim_tlb_check_frame(struct sim *s, avm_pfn_t pfn)
{
	const struct sim_proc *p;

	sim_touched(&s->procs, false);
	for (p = LIST_FIRST(&s->procs); p; p = LIST_NEXT(p, link)) {
		sim_touched(p->tlb, false);
		for (uint32_t i = 0; p->tlb && i < SIM_CPUS * s->config.tlb_entries; i++)
			if (tlb_is_valid(p, &p->tlb[i]) && avm_pte_pfn(p->tlb[i].pte) == pfn)
				sim_error(s, "frame %#llx is freed, and translated at %#llx",
					  (unsigned long long)pfn,
					  (unsigned long long)p->tlb[i].page);
	}
}

/* A walk has read an entry that names a table. */
static inline void sim_walk_step(const struct sim_proc *p)
{
	(void)p;
}

/* What a walk of the tables reads. */
static inline avm_pte_t sim_entry_load(const avm_pte_t *slot)
{
	return avm_arch_pte_load(slot);
}

#endif
