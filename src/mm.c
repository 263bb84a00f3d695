/* SPDX-License-Identifier: MIT */
/*
 * mm.c - the address space: birth, references, lookup, placement, accounting.
 */
#include "mm.h"

#include <string.h>

#include "commit.h"
#include "mmu_gather.h"
#include "page.h"
#include "pgtable.h"
#include "vma.h"

#define MMAP_BASE_GAP \
	(128ull << 20) /* room for the stack above the mmap area, when nothing is said */

/* ---- life ---------------------------------------------------------------------------------------------- */

static bool layout_ok(const struct avm_mm *mm)
{
	return avm_page_aligned(mm->lowest | mm->task_size | mm->mmap_base) &&
	       mm->lowest < mm->mmap_base && mm->mmap_base <= mm->task_size &&
	       mm->task_size <= AVM_ARCH_TASK_SIZE;
}

static void set_layout(struct avm_mm *mm, const struct avm_mm_config *c)
{
	mm->lowest = c->lowest ? c->lowest : AVM_ARCH_LOWEST;
	mm->task_size = c->task_size ? c->task_size : AVM_ARCH_TASK_SIZE;
	mm->mmap_base = c->mmap_base;
	if (!mm->mmap_base)
		mm->mmap_base = mm->task_size - mm->lowest > 2 * MMAP_BASE_GAP ?
					mm->task_size - MMAP_BASE_GAP :
					mm->task_size;
	mm->limits = c->limits ? *c->limits :
				 (struct avm_limits){ AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT,
						      AVM_NO_LIMIT };
}

static void copy_layout(struct avm_mm *mm, const struct avm_mm *of)
{
	mm->lowest = of->lowest;
	mm->task_size = of->task_size;
	mm->mmap_base = of->mmap_base;
	mm->limits = of->limits;
}

int avm_mm_setup(struct avm *m, struct avm_mm *mm, const struct avm_mm_config *config,
		 const struct avm_mm *parent)
{
	static const struct avm_mm_config defaults;
	const struct avm_mm_config *c = config ? config : &defaults;
	int err;

	memset(mm, 0, sizeof(*mm));
	mm->machine = m;
	mm->context = c->context;
	mm->release = c->release;
	if (parent) {
		copy_layout(mm, parent);
	} else {
		set_layout(mm, c);
		if (!layout_ok(mm))
			return -AVM_EINVAL;
		/* A child has none before it is whole: nobody may hold what a fork that fails takes away again. */
		atomic_init(&mm->users, 1);
	}
	avm_vma_tree_init(&mm->vmas, &m->tree_node_alloc,
			  (uint64_t)m->config.stack_guard << AVM_PAGE_SHIFT, AVM_VM_GROWSDOWN);
	avm_list_init(&mm->notifiers);
	err = avm_pgtable_init(mm);
	if (err)
		return err;
	mm->id = atomic_fetch_add_explicit(&m->next_id, 1, memory_order_relaxed);
	avm_spin_lock(m, &m->mm_lock, AVM_LOCK_LEAF);
	avm_list_add_tail(&mm->link, &m->mms);
	m->nr_mms++;
	avm_spin_unlock(m, &m->mm_lock, AVM_LOCK_LEAF);
	return 0;
}

void avm_mm_get(struct avm_mm *mm)
{
	atomic_fetch_add_explicit(&mm->users, 1, memory_order_relaxed);
}

/* Acquire, if there is one (G-O). */
bool avm_mm_tryget(struct avm_mm *mm)
{
	return avm_ref_tryget(&mm->users);
}

avm_pfn_t avm_mm_root(const struct avm_mm *mm)
{
	return mm->root_table->pfn;
}

/* Nobody goes through the notifiers now, and none has been told of a start without its end. */
static void notifiers_lock(struct avm_mm *mm)
{
	struct avm_vma *vma;

	avm_mmap_write_lock_always(mm, false);
	avm_list_for_each_entry(vma, &mm->vmas.list, struct avm_vma, link)
		avm_vma_lock(vma);
	avm_rw_write_always(mm->machine, &mm->notify_lock, AVM_LOCK_NOTIFY);
}

static avm_small void notifiers_unlock(struct avm_mm *mm)
{
	avm_rw_unlock_write(mm->machine, &mm->notify_lock, AVM_LOCK_NOTIFY);
	avm_mmap_write_unlock(mm);
}

void avm_notifier_add(struct avm_mm *mm, struct avm_notifier *n)
{
	notifiers_lock(mm);
	avm_list_add_tail(&n->link, &mm->notifiers);
	notifiers_unlock(mm);
}

void avm_notifier_del(struct avm_mm *mm, struct avm_notifier *n)
{
	notifiers_lock(mm);
	avm_list_del(&n->link);
	notifiers_unlock(mm);
}

/* ---- lookup and placement ----------------------------------------------------------------------------------- */

bool avm_range_ok(avm_addr_t addr, uint64_t len, avm_addr_t limit, avm_addr_t *end)
{
	if (!avm_page_aligned(addr) || addr > limit || len > limit - addr)
		return false;
	*end = addr + avm_page_up(len);
	return *end <= limit;
}

struct avm_vma *avm_mm_find(struct avm_mm *mm, avm_addr_t addr)
{
	return avm_vma_tree_find(&mm->vmas, addr);
}

struct avm_vma *avm_mm_find_exact(struct avm_mm *mm, avm_addr_t addr)
{
	struct avm_vma *vma = avm_vma_tree_find(&mm->vmas, addr);

	return vma && vma->start <= addr ? vma : NULL;
}

struct avm_vma *avm_mm_find_in(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	return start < end ? avm_vma_tree_find_intersection(&mm->vmas, start, end) : NULL;
}

bool avm_mm_next_part(struct avm_mm *mm, struct avm_part *p, avm_addr_t end)
{
	return avm_mm_part_of(p, avm_mm_find(mm, p->end), end);
}

uint64_t avm_mm_pages_in(struct avm_mm *mm, avm_addr_t start, avm_addr_t end, uint64_t flags)
{
	uint64_t pages = 0;

	/* Not avm_mm_next_part(): every mmap comes here, and mostly finds nothing. */
	for (struct avm_vma *vma = avm_mm_find_in(mm, start, end); vma && vma->start < end;
	     vma = avm_vma_next(vma)) {
		avm_addr_t from = vma->start > start ? vma->start : start;
		avm_addr_t to = vma->end < end ? vma->end : end;

		if ((vma->flags & flags) == flags)
			pages += (to - from) >> AVM_PAGE_SHIFT;
	}
	return pages;
}

bool avm_mm_free_at(struct avm_mm *mm, avm_addr_t start, avm_addr_t end, uint64_t guard)
{
	const struct avm_vma *next = avm_mm_find(mm, start);

	if (!next)
		return true;
	if (next->flags & AVM_VM_GROWSDOWN)
		guard += mm->vmas.guard;
	return next->start >= end && next->start - end >= guard;
}

int avm_mm_place(struct avm_mm *mm, avm_addr_t hint, uint64_t len, avm_addr_t *out)
{
	struct avm_gap gap;

	if (len > mm->task_size - mm->lowest)
		return -AVM_ENOMEM;
	if (hint) {
		hint = avm_page_up(hint);
		if (hint >= mm->lowest && hint <= mm->task_size - len &&
		    avm_mm_free_at(mm, hint, hint + len, 0)) {
			*out = hint;
			return 0;
		}
	}
	gap = (struct avm_gap){ len, AVM_PAGE_SIZE, mm->lowest, mm->mmap_base, AVM_GAP_TOPDOWN };
	if (avm_vma_tree_find_gap(&mm->vmas, &gap, out))
		return 0;
	/* Nothing below the base is large enough: the room above it, next to the stack. */
	gap.low = mm->mmap_base;
	gap.high = mm->task_size;
	gap.order = AVM_GAP_BOTTOMUP;
	return avm_vma_tree_find_gap(&mm->vmas, &gap, out) ? 0 : -AVM_ENOMEM;
}

extern inline void avm_mm_account(struct avm_mm *mm, uint64_t flags, int64_t pages);

/* ---- promises and limits ------------------------------------------------------------------------------------ */

uint64_t avm_mm_accounted(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	return avm_mm_pages_in(mm, start, end, AVM_VM_ACCOUNT);
}

static uint64_t to_pages(uint64_t bytes)
{
	return bytes >> AVM_PAGE_SHIFT;
}

int avm_mm_may_expand(struct avm_mm *mm, uint64_t flags, uint64_t pages)
{
	if (mm->total_vm + pages > to_pages(mm->limits.address_space))
		return -AVM_ENOMEM;
	if (avm_flags_data(flags) && mm->data_vm + pages > to_pages(mm->limits.data))
		return -AVM_ENOMEM;
	return 0;
}

int avm_mm_may_lock(struct avm_mm *mm, uint64_t pages)
{
	if (!mm->limits.locked)
		return -AVM_EPERM;
	return mm->locked_vm + pages > to_pages(mm->limits.locked) ? -AVM_EAGAIN : 0;
}

void avm_mm_give_back(struct avm_mm *mm, uint64_t flags, uint64_t pages)
{
	avm_mm_account(mm, flags, -(int64_t)pages);
	if (flags & AVM_VM_ACCOUNT)
		avm_uncommit(mm, pages);
}
