/* SPDX-License-Identifier: MIT */
/* threads_tlb.c - the TLBs of all CPUs, from outside (threads_tlb.h has what an access does). */
#include "threads_priv.h"

void cpu_tlb_empty(struct cpu *c)
{
	cpu_lock(&c->tlb_lock);
	for (uint32_t i = 0; c->tlb && i < c->sim->config.tlb_entries; i++)
		c->tlb[i].space = 0;
	cpu_unlock(&c->tlb_lock);
}

void smp_tlb_stats(struct sim *s, struct smp_tlb_stats *out)
{
	*out = (struct smp_tlb_stats){ 0 };
	for (unsigned i = 0; i < smp_nr_cpus(s); i++) {
		struct cpu *c = &s->smp->cpus[i];

		out->hits += atomic_load_explicit(&c->hits, memory_order_relaxed);
		out->walks += atomic_load_explicit(&c->walks, memory_order_relaxed);
		out->flushes += atomic_load_explicit(&c->flushes, memory_order_relaxed);
		out->shootdowns += atomic_load_explicit(&c->shootdowns, memory_order_relaxed);
	}
}

uint64_t smp_check_tlbs(struct sim *s)
{
	uint64_t stale = 0;

	for (unsigned i = 0; i < smp_nr_cpus(s); i++) {
		struct cpu *c = &s->smp->cpus[i];

		cpu_lock(&c->tlb_lock);
		for (uint32_t k = 0; c->tlb && k < s->config.tlb_entries; k++) {
			const struct cpu_tlb_entry *e = &c->tlb[k];

			if (!e->space || !sim_is_stale(s, e->space, e->page, e->pte))
				continue;
			stale++;
			sim_error(
				s,
				"stale translation at rest: CPU %u, address space %llu, %#llx: %#llx",
				i, (unsigned long long)e->space, (unsigned long long)e->page,
				(unsigned long long)e->pte);
		}
		cpu_unlock(&c->tlb_lock);
	}
	return stale;
}
