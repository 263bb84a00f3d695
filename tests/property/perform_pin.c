/* SPDX-License-Identifier: MIT */
/*
 * perform_pin.c - pages that stay where they are (R16): pinned, looked at again, and unpinned.
 */
#include "program.h"

static bool allowed(const struct bounds_vma *v, enum avm_access access)
{
	if (!v || (v->flags & AVM_VM_SPECIAL))
		return false;
	if (access == AVM_ACCESS_WRITE)
		return v->flags & AVM_VM_WRITE;
	return v->flags & (AVM_VM_READ | AVM_VM_WRITE | AVM_VM_EXEC);
}

/* A page of a private mapping is made the process's own, be it only for reading, as by a debugger's write. */
static unsigned foretell_pin(struct world *w, struct proc *p, avm_addr_t at, enum avm_access access)
{
	if (bounds_at(p->bounds, at)->flags & AVM_VM_SHARED)
		return foretell(w, p, at, access, false);
	if (foretell(w, p, at, AVM_ACCESS_WRITE, true))
		return AVM_FAULT_SIGBUS;
	oracle_store(p->oracle, at, NULL, 0);
	return 0;
}

/* Why it went no further. */
static void stopped(struct world *w, const struct op *op, avm_addr_t at, int64_t got)
{
	struct proc *p = &w->procs[op->p];
	const struct bounds_vma *v = bounds_at(p->bounds, at);

	if (!allowed(v, (enum avm_access)op->prot))
		return;
	if (world_alloc_failed(w))
		no_memory(w, op->p, at, AVM_ACCESS_WRITE, true);
	else if (!foretell_pin(w, p, at, (enum avm_access)op->prot))
		world_fail(w, CHECK_RESULT, "%lld pages pinned, without a reason", (long long)got);
}

static void do_pin(struct world *w, const struct op *op)
{
	struct pinned *pin = &w->pins[op->flags];
	struct proc *p = &w->procs[op->p];
	uint64_t n = op->len / PAGE;
	int64_t got;

	w->expect = NOT_DONE;
	if (pin->n || !p->sim)
		return;
	got = avm_pin(sim_mm(p->sim), op->addr, n, (enum avm_access)op->prot, pin->pages);
	w->expect = got < 0 ? (int)got : 0;
	pin->n = got < 0 ? 0 : (uint64_t)got;
	pin->p = op->p;
	pin->addr = op->addr;
	pin->changes = w->changes;
	for (uint64_t i = 0; i < pin->n; i++) {
		avm_addr_t at = op->addr + i * PAGE;

		if (!allowed(bounds_at(p->bounds, at), (enum avm_access)op->prot) ||
		    foretell_pin(w, p, at, (enum avm_access)op->prot))
			world_fail(w, CHECK_RESULT, "%#llx is pinned, it must not be",
				   (unsigned long long)at);
	}
	if (pin->n < n)
		stopped(w, op, op->addr + pin->n * PAGE, got);
}

/* Unless somebody has changed what is mapped, process and pin still see the same frame. */
static void look_again(struct world *w, const struct pinned *pin)
{
	if (w->changes != pin->changes || !w->procs[pin->p].sim)
		return;
	for (uint64_t i = 0; i < pin->n; i++) {
		struct avm_pte_info pte;

		avm_pte_at(sim_mm(w->procs[pin->p].sim), pin->addr + i * PAGE, &pte);
		if (pte.kind != AVM_PTE_PRESENT || pte.page != pin->pages[i])
			world_fail(w, CHECK_CONTENT, "the pinned page at %#llx of %c has gone",
				   (unsigned long long)(pin->addr + i * PAGE), 'A' + (int)pin->p);
	}
}

static void unpin(struct world *w, struct pinned *pin, enum avm_unpin_how how)
{
	look_again(w, pin);
	avm_unpin(sim_machine(w->sim), pin->pages, pin->n, how);
	pin->n = 0;
}

void unpin_all(struct world *w)
{
	for (unsigned i = 0; i < NR_PINS; i++) {
		if (w->pins[i].n)
			unpin(w, &w->pins[i], AVM_UNPIN_CLEAN);
	}
}

void perform_pin(struct world *w, const struct op *op)
{
	struct pinned *pin = &w->pins[op->flags];

	if (op->kind == OP_PIN) {
		do_pin(w, op);
		return;
	}
	w->expect = pin->n ? 0 : NOT_DONE;
	if (pin->n)
		unpin(w, pin, op->prot ? AVM_UNPIN_DIRTY : AVM_UNPIN_CLEAN);
}
