/* SPDX-License-Identifier: MIT */
/*
 * tlb.c - tier 1: no CPU goes on with a translation that has been revoked.
 *
 * Each address space knows which CPUs have it loaded. The order makes it safe: a CPU sets its bit, then loads the
 * tables; who revokes changes the entry, then reads the bits. So either it sees the bit, or the CPU loads afterwards
 * and finds the new entry.
 *
 * A shoot-down is called under spin locks, and waits. The other CPU may spin on one of these, with interrupts off: so
 * all that spin look whether they are wanted (tlb_poll()), and an order is a count, not a message that can be missed.
 */
#include "apic.h"
#include "avm_arch.h"
#include "avm_port.h"
#include "glue.h"
#include "interrupt.h"

static struct space *space_of(const struct avm_mm *mm)
{
	return mm ? mm->context : NULL;
}

void tlb_switch(struct avm_mm *from, struct avm_mm *to)
{
	uint64_t bit = 1ull << cpu_id();

	if (from == to)
		return;
	if (to)
		atomic_fetch_or(&space_of(to)->cpus, bit);
	write_cr3(to ? avm_mm_root(to) << AVM_PAGE_SHIFT :
		       (uint64_t)(uintptr_t)kernel_root - KERNEL_BASE);
	if (from)
		atomic_fetch_and(&space_of(from)->cpus, ~bit);
}

/* What was wanted is read first: an order that comes while we flush is carried out next time. */
void tlb_poll(void)
{
	struct cpu *cpu = this_cpu();
	uint64_t wanted;
	uintptr_t flags;

	if (atomic_load(&cpu->flush_wanted) == atomic_load(&cpu->flush_done))
		return;
	flags = irq_save();
	wanted = atomic_load(&cpu->flush_wanted);
	write_cr3(read_cr3());
	atomic_store(&cpu->flush_done, wanted);
	irq_restore(flags);
}

/* The other CPUs forget everything: they have no use for a range that they would have to be told safely. */
static void shoot_down(uint64_t others)
{
	uint64_t order[MAX_CPUS];

	for (unsigned i = 0; i < MAX_CPUS; i++) {
		if (!(others >> i & 1))
			continue;
		order[i] = atomic_fetch_add(&cpus[i].flush_wanted, 1) + 1;
		apic_send(cpus[i].apic_id, VECTOR_SHOOT_DOWN);
	}
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		while ((others >> i & 1) && atomic_load(&cpus[i].flush_done) < order[i]) {
			cpu_relax();
			tlb_poll();
		}
	}
}

void avm_port_tlb_flush(struct avm *m, struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	struct space *space = space_of(mm);
	uint64_t cpus_of, self = 1ull << cpu_id();

	if (!space)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	cpus_of = atomic_load(&space->cpus);
	if (cpus_of & self)
		avm_arch_flush(mm, start, end);
	if (cpus_of & ~self)
		shoot_down(cpus_of & ~self);
}
