/* SPDX-License-Identifier: MIT */
/*
 * sim_tlb_check.h - what TLBs keep that the tables have taken away: sim_mmu.c alone includes it, behind what it uses.
 */
#ifndef SIM_TLB_CHECK_H
#define SIM_TLB_CHECK_H

/* Of any kind of access that goes through the TLB alone. */
static bool allows_more(avm_pte_t cached, avm_pte_t now)
{
	static const enum avm_access kinds[] = { AVM_ACCESS_READ, AVM_ACCESS_WRITE,
						 AVM_ACCESS_EXEC };

	for (unsigned i = 0; i < 3; i++) {
		if (permits(cached, kinds[i]) && used(cached, kinds[i]) == cached &&
		    is_stale(cached, now, kinds[i]))
			return true;
	}
	return false;
}

#ifdef AVM_CHECK
/* Who looks at what is revoked depends on this, even if the entry has gone from the TLB by then. */
static void revoke(struct sim_proc *p, struct tlb_entry *e)
{
	unsigned cpu = this_cpu(p);

	sim_touched(&p->sim->revokers, true);
	e->revoked_by = cpu + 1;
	p->sim->revokers |= 1u << cpu;
}

/* By the arch, after the change. */
void sim_entry_changed(struct avm_mm *mm, avm_addr_t addr, avm_pte_t now)
{
	struct sim_proc *p = sim_proc_of(mm);

	for (unsigned cpu = 0; p && p->tlb && cpu < SIM_CPUS; cpu++) {
		struct tlb_entry *e = tlb_slot(p, cpu, addr);

		if (!tlb_is_valid(p, e) || e->page != (addr & AVM_PAGE_MASK))
			continue;
		if (!allows_more(e->pte, now))
			e->revoked_by = 0;
		else if (!e->revoked_by)
			revoke(p, e);
	}
}
#endif

static void report_kept(struct sim_proc *p, uint32_t i, const char *when)
{
	const struct tlb_entry *e = &p->tlb[i];

	sim_error(p->sim,
		  "CPU %u keeps a translation %s: address space %llu at %#llx, %#llx in its TLB, "
		  "%#llx in the table",
		  i / p->sim->config.tlb_entries, when, (unsigned long long)p->mm.id,
		  (unsigned long long)e->page, (unsigned long long)e->pte,
		  (unsigned long long)walk_load(p, e->page));
}

void sim_check_revoked(struct sim *s)
{
	unsigned me = SIM_CPUS > 1 ? avm_port_cpu_id(&s->machine) : 0;
	struct sim_proc *p;

	if (!(s->revokers & 1u << me))
		return;
	sim_touched(&s->revokers, true);
	s->revokers &= ~(1u << me);
	sim_touched(&s->procs, false);
	for (p = LIST_FIRST(&s->procs); p; p = LIST_NEXT(p, link)) {
		sim_touched(p->tlb, false);
		for (uint32_t i = 0; p->tlb && i < SIM_CPUS * s->config.tlb_entries; i++) {
			if (tlb_is_valid(p, &p->tlb[i]) && p->tlb[i].revoked_by == me + 1)
				report_kept(p, i, "after the operation that took it away");
		}
	}
}

void sim_check_settled(struct sim *s)
{
	struct sim_proc *p;

	s->revokers = 0;
	for (p = LIST_FIRST(&s->procs); p; p = LIST_NEXT(p, link)) {
		for (uint32_t i = 0; p->tlb && i < SIM_CPUS * s->config.tlb_entries; i++) {
			struct tlb_entry *e = &p->tlb[i];

			if (tlb_is_valid(p, e) && allows_more(e->pte, walk_load(p, e->page)))
				report_kept(p, i, "when all is done");
			*e = (struct tlb_entry){ .page = NO_PAGE };
		}
		p->flushes = 0;
	}
}

/*
 * Does a store that goes through the TLB reach a page that still is somebody's? A file's always is. Anonymous memory is gone
 * with its entry, if the store could go there alone: unless the entry says that the page is still there, or on its way.
 */
static bool is_wanted(struct sim_proc *p, const struct tlb_entry *e, uint64_t slot)
{
	uint64_t i = avm_pte_pfn(e->pte) - SIM_FIRST_PFN;
	const struct avm_page *page = i < p->sim->frames.count ? &p->sim->pages[i] : NULL;
	avm_pte_t now = walk_load(p, e->page);

	if (!page || !(page->mapping & AVM_MAPPING_ANON))
		return true;
	if (avm_pte_present(now))
		return avm_pte_pfn(now) == page->pfn;
	return avm_pte_is_entry(now) &&
	       ((avm_pte_entry_kind(now) == AVM_ENTRY_MIGRATION &&
		 avm_pte_entry_value(now) == page->pfn) ||
		(avm_pte_entry_kind(now) == AVM_ENTRY_SWAP && avm_pte_entry_value(now) == slot));
}

void sim_check_protected(struct sim *s, avm_pfn_t pfn, uint64_t slot, const char *what)
{
	struct sim_proc *p;

	if (!sim_revoking(s))
		return;
	sim_touched(&s->procs, false);
	for (p = LIST_FIRST(&s->procs); p; p = LIST_NEXT(p, link)) {
		sim_touched(p->tlb, false);
		for (uint32_t i = 0; p->tlb && i < SIM_CPUS * s->config.tlb_entries; i++) {
			const struct tlb_entry *e = &p->tlb[i];

			if (tlb_is_valid(p, e) && e->revoked_by && avm_pte_pfn(e->pte) == pfn &&
			    avm_pte_write(e->pte) && avm_pte_dirty(e->pte) && is_wanted(p, e, slot))
				report_kept(p, i, what);
		}
	}
}

#endif
