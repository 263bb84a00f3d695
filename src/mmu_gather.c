/* SPDX-License-Identifier: MIT */
/* mmu_gather.c - flushing, and freeing what must outlive the flush (mmu_gather.h, R12). */
#include "mmu_gather.h"

#include "avm_arch.h"
#include "error.h"
#include "list.h"
#include "lock.h"
#include "page.h"
#include "swap_slot.h"

static void range_reset(struct avm_gather *g)
{
	g->start = ~(avm_addr_t)0;
	g->end = 0;
}

void avm_gather_begin(struct avm_gather *g, struct avm_mm *mm)
{
	g->mm = mm;
	g->nr = 0;
	range_reset(g);
	avm_list_init(&g->tables);
	if (AVM_FAST)
		g->open = false;
	else
		atomic_fetch_add_explicit(&mm->machine->gathers_open, 1, memory_order_relaxed);
}

/* Most that unmap have nothing to free: counted when they do. */
static void note_open(struct avm_gather *g)
{
	if (!AVM_FAST || avm_likely(g->open))
		return;
	g->open = true;
	atomic_fetch_add_explicit(&g->mm->machine->gathers_open, 1, memory_order_relaxed);
}

bool avm_gather_page(struct avm_gather *g, struct avm_page *page)
{
	AVM_BUG_ON(g->mm->machine, g->nr == AVM_GATHER_BATCH);
	note_open(g);
	g->pages[g->nr++] = page;
	return g->nr == AVM_GATHER_BATCH;
}

void avm_gather_table(struct avm_gather *g, struct avm_page *table)
{
	note_open(g);
	avm_list_add_tail(&table->lru, &g->tables);
}

void avm_gather_flush_tlb(struct avm_gather *g)
{
	avm_tlb_flush(g->mm, g->start, g->end);
	range_reset(g);
}

/*
 * mapcount falls here and not before: until the flush somebody could still see the page by the old translation, and who
 * has it to himself may write to it. What only the swap cache would keep, in a slot that nobody names, goes at once: whoever
 * ends should not leave its memory behind. One that is locked is left to reclaim.
 */
static void put_unmapped(struct avm *m, struct avm_page *page)
{
	if (!avm_page_unmapped(m, page))
		return;
	if (avm_page_in_swap(page) && !avm_page_mapped(page) && avm_page_trylock(m, page)) {
		if (!avm_page_mapped(page))
			avm_swapcache_drop_idle(m, page);
		avm_page_unlock(m, page);
	}
	avm_page_put(m, page);
}

void avm_gather_flush(struct avm_gather *g)
{
	struct avm *m = g->mm->machine;
	struct avm_page *table;

	avm_gather_flush_tlb(g);
	while (g->nr)
		put_unmapped(m, g->pages[--g->nr]);
	while ((table = avm_page_pop(&g->tables)))
		avm_page_put(m, table);
}

void avm_gather_finish(struct avm_gather *g)
{
	if (AVM_FAST && !g->open && g->start >= g->end)
		return;
	avm_gather_flush(g);
	if (!AVM_FAST || g->open)
		atomic_fetch_sub_explicit(&g->mm->machine->gathers_open, 1, memory_order_relaxed);
}

void avm_tlb_flush(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	if (start >= end)
		return;
	avm_count(mm->machine, AVM_EV_TLB_FLUSH, 1);
#if AVM_PORT_TIER >= 1
	avm_port_tlb_flush(mm->machine, mm, start, end);
#else
	avm_arch_flush(mm, start, end);
#endif
}

void avm_notify_start(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	struct avm_notifier *n;

	avm_might_sleep(mm->machine);
	avm_list_for_each_entry(n, &mm->notifiers, struct avm_notifier, link) {
		if (n->invalidate_start)
			n->invalidate_start(n, start, end);
	}
}

void avm_notify_end(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	struct avm_notifier *n;

	avm_might_sleep(mm->machine);
	avm_list_for_each_entry(n, &mm->notifiers, struct avm_notifier, link) {
		if (n->invalidate_end)
			n->invalidate_end(n, start, end);
	}
}

void avm_notify_start_rmap(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	avm_rw_read_always(mm->machine, &mm->notify_lock, AVM_LOCK_NOTIFY);
	avm_notify_start(mm, start, end);
}

void avm_notify_end_rmap(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	avm_notify_end(mm, start, end);
	avm_rw_unlock_read(mm->machine, &mm->notify_lock, AVM_LOCK_NOTIFY);
}
