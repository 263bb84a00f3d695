/* SPDX-License-Identifier: MIT */
/*
 * swap.c - tier 2: pages that leave memory, and news that nobody likes.
 *
 * A slot of a swap device is a page of a store: a disk's driver, or memory that was set aside. The core never
 * reads or writes one slot twice at a time, and keeps the page locked meanwhile.
 */
#include "avm_port.h"
#include "glue.h"

int avm_port_swap_write(struct avm *m, struct avm_swap_device *d, uint32_t slot, avm_pfn_t pfn)
{
	struct store *s = d->context;

	return s->write(s, slot, avm_port_frame_ptr(m, pfn));
}

int avm_port_swap_read(struct avm *m, struct avm_swap_device *d, uint32_t slot, avm_pfn_t pfn)
{
	struct store *s = d->context;

	return s->read(s, slot, avm_port_frame_ptr(m, pfn));
}

void avm_port_swap_discard(struct avm *m, struct avm_swap_device *d, uint32_t slot)
{
	struct store *s = d->context;

	if (s->discard)
		s->discard(s, slot);
}

/* Who asked gets -ENOMEM or AVM_FAULT_OOM, and dies of it in this kernel. Another one would end oom->largest. */
void avm_port_oom(struct avm *m, const struct avm_oom *oom)
{
	print("out of memory: mm %lu; %lu of %lu pages of swap are free\n",
	      oom->mm ? oom->mm->id : 0, oom->swap_free, oom->swap_total);
}

/* The process will be told when it touches the page: that fault is a SIGBUS. */
void avm_port_poisoned(struct avm *m, struct avm_mm *mm, avm_addr_t addr)
{
	print("a frame has gone bad: mm %lu loses the page at %lx\n", mm->id, addr);
}
