/* SPDX-License-Identifier: MIT */
/*
 * perform_poison.c - a frame of anonymous memory goes bad (R16): whoever had its content, and only he, has lost it,
 * unless a slot has it, too.
 */
#include "swap_slot.h"
#include "program.h"

#define MOST_PLACES 256

struct places {
	unsigned n;
	struct place {
		unsigned p;
		avm_addr_t addr;
	} at[MOST_PLACES];
	unsigned poisoned; /* entries, in the whole machine */
};

/* Where the frame is mapped, or, with a slot, what names that. */
static void find_places(const struct world *w, enum avm_pte_kind kind, uint64_t what,
			struct places *out)
{
	*out = (struct places){ 0 };
	for (unsigned p = 0; p < NR_PROCS; p++) {
		struct avm_pte_info pte = { 0 };

		if (!w->procs[p].sim)
			continue;
		for (; avm_next_pte(sim_mm(w->procs[p].sim), WINDOW_END, &pte); pte.addr += PAGE) {
			out->poisoned += pte.kind == AVM_PTE_POISON;
			if (pte.kind == kind && out->n < MOST_PLACES &&
			    (kind == AVM_PTE_PRESENT ? pte.pfn : pte.entry) == what)
				out->at[out->n++] = (struct place){ p, pte.addr };
		}
	}
}

/* Of those who had it mapped each has lost it, or names the slot that has the content still. */
static void check_mapped(struct world *w, const struct places *before, uint64_t slot)
{
	unsigned lost = 0;
	struct places now;

	for (unsigned i = 0; i < before->n; i++) {
		const struct place *at = &before->at[i];
		struct avm_pte_info pte;

		avm_pte_at(sim_mm(w->procs[at->p].sim), at->addr, &pte);
		if (pte.kind == AVM_PTE_POISON) {
			oracle_lose(w->procs[at->p].oracle, at->addr);
			lost++;
		} else if (pte.kind != AVM_PTE_SWAP || pte.entry != slot) {
			world_fail(w, CHECK_CONTENT,
				   "the frame at %#llx of %c is bad, and not gone",
				   (unsigned long long)at->addr, 'A' + (int)at->p);
		}
	}
	find_places(w, AVM_PTE_POISON, UINT64_MAX, &now);
	if (now.poisoned != before->poisoned + lost)
		world_fail(w, CHECK_CONTENT, "%u have lost a page, %u entries say so", lost,
			   now.poisoned - before->poisoned);
}

void perform_poison(struct world *w, const struct op *op)
{
	struct avm *m = sim_machine(w->sim);
	struct avm_page *page = avm_page_of(m, m->regions->first + op->to);
	struct places before, named;
	uint64_t slot = UINT64_MAX;
	int err;

	w->expect = NOT_DONE;
	if (!page || w->lost >= w->program->most_lost || !avm_page_is_anon(page) ||
	    !avm_page_mapcount(page))
		return;
	if (avm_page_in_swap(page))
		slot = page->u.swap;
	find_places(w, AVM_PTE_PRESENT, page->pfn, &before);
	find_places(w, AVM_PTE_SWAP, slot, &named);
	err = avm_poison(m, page->pfn);
	w->expect = err;
	if (err && err != -AVM_EBUSY)
		world_fail(w, CHECK_RESULT, "poison: %d, no such error", err);
	if (err)
		return;
	w->lost++;
	w->changes++;
	check_mapped(w, &before, slot);
	/* The slot was out of date: whoever names it finds the bad page. */
	for (unsigned i = 0; i < named.n && avm_page_in_swap(page); i++)
		oracle_lose(w->procs[named.at[i].p].oracle, named.at[i].addr);
}
