/* SPDX-License-Identifier: MIT */
/*
 * mprotect.c - other permissions for a range (R13.1).
 *
 * What precedes the first hole, or the first VMA whose may-bits forbid it, is changed; the error comes afterwards.
 * Everything that this change needs is promised and reserved before the first VMA is touched, so that lack of memory
 * changes nothing at all.
 */
#include "anonvm/ops.h"
#include "attrs.h"
#include "commit.h"
#include "fault.h"
#include "file.h"
#include "mm.h"
#include "mmu_gather.h"
#include "page.h"
#include "pgtable.h"
#include "vma.h"

#define PROT_GROWS (AVM_PROT_GROWSDOWN | AVM_PROT_GROWSUP)

/* May-bits stand four bits above the bits they permit. */
static bool permitted(uint64_t flags)
{
	return !(flags & ~(flags >> 4) & AVM_VM_ACCESS);
}

/* The flags of a VMA afterwards, `accounted` included (R1.1). */
static uint64_t new_flags(const struct avm_vma *vma, uint32_t prot)
{
	uint64_t flags = (vma->flags & ~AVM_VM_ACCESS) | avm_flags_of_prot(prot);

	if (flags == vma->flags) /* nothing is won or lost, the promise included */
		return flags;
	if (flags & AVM_VM_WRITE) {
		if (!(vma->flags & AVM_VM_WRITE) && avm_flags_accountable(flags))
			flags |= AVM_VM_ACCOUNT;
	} else if (avm_vma_is_anon(vma) && !avm_vma_anon(vma)) {
		flags &= ~AVM_VM_ACCOUNT;
	}
	return flags;
}

struct protect_sum {
	uint64_t charge; /* pages to be promised */
	uint64_t data; /* pages that become private and writable, stacks excepted */
};

/* The change, and what it comes to: complete when the look is over. */
struct protect {
	struct avm_attrs_change change;
	uint32_t prot;
	struct protect_sum *sum;
};

static uint64_t pages_of(const struct avm_attrs_step *s)
{
	return (s->at.end - s->at.start) >> AVM_PAGE_SHIFT;
}

static avm_inlined int decide(struct avm_attrs_step *s, uint32_t prot, struct protect_sum *sum)
{
	uint64_t old = s->at.vma->flags, flags = new_flags(s->at.vma, prot);

	if (!permitted(flags))
		return -AVM_EACCES;
	s->attrs.flags = flags;
	if ((flags & AVM_VM_ACCOUNT) && !(old & AVM_VM_ACCOUNT))
		sum->charge += pages_of(s);
	if (avm_flags_data(flags) && !(old & AVM_VM_WRITE))
		sum->data += pages_of(s);
	return 0;
}

static int decide_protect(const struct avm_attrs_change *change, struct avm_attrs_step *s)
{
	const struct protect *p = avm_container_of(change, const struct protect, change);

	return decide(s, p->prot, p->sum);
}

/* ---- entries --------------------------------------------------------------------------------------------- */

/*
 * May an entry of this VMA be writable at once, without the fault that would find out? A private page only if no
 * other process can see it; a shared one unless the file wants to be told of the first write.
 */
static bool writable_at_once(const struct avm_vma *vma, avm_pte_t pte)
{
	struct avm_page *page;

	if (!(vma->flags & AVM_VM_WRITE) || avm_pte_special(pte))
		return false;
	page = avm_page_of(vma->mm->machine, avm_pte_pfn(pte));
	if (vma->flags & AVM_VM_SHARED)
		return vma->file->shmem || avm_pte_dirty(pte);
	return avm_page_is_exclusive(page);
}

/* A page that is being moved comes back as its entry says: not writable, if write has been taken away meanwhile. */
static void change_absent(const struct avm_vma *vma, struct avm_ptc *c, avm_pte_t entry)
{
	if (avm_pte_empty(entry) || avm_pte_entry_kind(entry) != AVM_ENTRY_MIGRATION ||
	    (vma->flags & AVM_VM_WRITE))
		return;
	avm_ptc_set(c, avm_pte_make_entry(AVM_ENTRY_MIGRATION, avm_pte_entry_value(entry), false,
					  avm_pte_entry_exclusive(entry)));
}

/* True: something was mapped. */
static avm_inlined bool change_entries(struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	bool any = false;
	struct avm_ptc c;

	for (bool more = avm_ptc_begin(&c, vma->mm, start, end); more; more = avm_ptc_next(&c)) {
		avm_pte_t pte = avm_ptc_get(&c);

		if (!avm_pte_present(pte)) {
			change_absent(vma, &c, pte);
			continue;
		}
		pte = avm_pte_modify(avm_ptc_clear(&c), vma->flags);
		if (writable_at_once(vma, pte))
			pte = avm_pte_mkwrite(pte);
		avm_ptc_set(&c, pte);
		any = AVM_FAST;
	}
	return any;
}

/*
 * Locked memory has its pages, and private memory its own ones once it is writable: has this just become both? What was
 * writable before is not asked again: it may share pages with a child, and that is how it stays.
 */
static bool wants_own_pages(uint64_t old, uint64_t now)
{
	uint64_t kind = AVM_VM_WRITE | AVM_VM_SHARED | AVM_VM_LOCKED | AVM_VM_LOCKONFAULT;

	return (old & kind) == AVM_VM_LOCKED && (now & AVM_VM_WRITE);
}

/* As far as there is memory: only a promise to try. */
static void give_own_pages(struct avm_vma *vma, avm_addr_t start, avm_addr_t end)
{
	for (; start < end; start += AVM_PAGE_SIZE) {
		unsigned bits = avm_fault_locked(vma, start, AVM_ACCESS_WRITE, AVM_FORCE_NO, NULL);

		if (bits & (AVM_FAULT_ERROR | AVM_FAULT_RETRY))
			return;
	}
}

/* ---- the operation ---------------------------------------------------------------------------------------- */

static avm_inlined bool follow(const struct avm_attrs_step *s, uint64_t old)
{
	uint64_t now = s->attrs.flags;
	bool any;

	if ((old & AVM_VM_ACCOUNT) && !(now & AVM_VM_ACCOUNT))
		avm_uncommit(s->at.vma->mm, pages_of(s));
	any = change_entries(s->at.vma, s->at.start, s->at.end);
	if (wants_own_pages(old, now))
		give_own_pages(s->at.vma, s->at.start, s->at.end);
	return any;
}

/* What becomes more is promised; within the limit of data, or not at all. 0 or -ENOMEM. */
static int promise_sum(struct avm_mm *mm, const struct protect_sum *sum)
{
	if (sum->data && mm->data_vm + sum->data > mm->limits.data >> AVM_PAGE_SHIFT)
		return -AVM_ENOMEM;
	return sum->charge ? avm_commit(mm, sum->charge) : 0;
}

/* => mmap_lock write. */
static avm_noinline int protect_range(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
				      uint32_t prot)
{
	struct protect_sum sum = { 0 };
	const struct protect p = {
		.change = { .decide = decide_protect, .follow = follow, .holes = AVM_HOLES_STOP },
		.prot = prot,
		.sum = &sum,
	};
	struct avm_attrs_plan plan;
	uint64_t charge;

	avm_attrs_look(mm, start, end, &p.change, &plan);
	charge = sum.charge; /* making the change adds to the sum once more */
	if (!plan.last)
		return plan.err;
	if (promise_sum(mm, &sum))
		return -AVM_ENOMEM;
	if (avm_attrs_make(mm, &plan, &p.change)) {
		avm_uncommit(mm, charge);
		return -AVM_ENOMEM;
	}
	return plan.err;
}

/* `pages` have other flags. Mostly those are of no sum but that of private, writable memory. */
static avm_inlined void account(struct avm_mm *mm, uint64_t old, uint64_t now, int64_t pages)
{
	if ((old | now) & (AVM_VM_EXEC | AVM_VM_GROWSDOWN | AVM_VM_LOCKED)) {
		avm_mm_account(mm, old, -pages);
		avm_mm_account(mm, now, pages);
		return;
	}
	if (avm_flags_data(old))
		mm->data_vm -= (uint64_t)pages;
	if (avm_flags_data(now))
		mm->data_vm += (uint64_t)pages;
}

/* The same where it lies in one VMA, as most do: no walk. */
static avm_inlined int protect_part(struct avm_attrs_step *s, uint32_t prot)
{
	struct avm_mm *mm = s->at.vma->mm;
	uint64_t old = s->at.vma->flags;
	struct protect_sum sum = { 0 };
	int err = decide(s, prot, &sum);

	if (err || s->attrs.flags == old)
		return err;
	if (promise_sum(mm, &sum))
		return -AVM_ENOMEM;
	avm_notify_start(mm, s->at.start, s->at.end);
	err = avm_vma_modify_part(&s->at.vma, s->at.start, s->at.end, &s->attrs);
	if (err) {
		avm_uncommit(mm, sum.charge);
	} else {
		account(mm, old, s->attrs.flags, (int64_t)pages_of(s));
		if (follow(s, old))
			avm_tlb_flush(mm, s->at.start, s->at.end);
	}
	avm_notify_end(mm, s->at.start, s->at.end);
	return err;
}

/* => mmap_lock write. */
static int mprotect_locked(struct avm_mm *mm, avm_addr_t start, avm_addr_t end, uint32_t prot)
{
	struct avm_vma *vma = AVM_FAST ? avm_mm_find_way(mm, start) : NULL;

	if (AVM_FAST && vma && vma->start <= start && vma->end >= end) {
		struct avm_attrs_step s = {
			.at = { .vma = vma, .start = start, .end = end },
			.attrs = { vma->flags, vma->policy, vma->name },
		};

		return protect_part(&s, prot);
	}
	return protect_range(mm, start, end, prot);
}

/* PROT_GROWSDOWN: from the start of the stack. */
static int extend_down(struct avm_mm *mm, avm_addr_t *start, avm_addr_t end)
{
	struct avm_vma *vma = avm_mm_find(mm, *start);

	if (!vma || vma->start >= end)
		return -AVM_ENOMEM;
	if (!(vma->flags & AVM_VM_GROWSDOWN))
		return -AVM_EINVAL;
	*start = vma->start;
	return 0;
}

int avm_mprotect(struct avm_mm *mm, avm_addr_t addr, uint64_t len, uint32_t prot)
{
	avm_addr_t end = addr + avm_page_up(len);
	int err;

	/* Of several errors, the one that Linux finds first. */
	if ((prot & PROT_GROWS) == PROT_GROWS || !avm_page_aligned(addr))
		return -AVM_EINVAL;
	if (!len)
		return 0;
	if (end <= addr)
		return -AVM_ENOMEM;
	if (prot & ~(uint32_t)(AVM_PROT_ALL | PROT_GROWS))
		return -AVM_EINVAL;
	err = avm_mmap_write_lock(mm);
	if (err)
		return err;
	if (prot & AVM_PROT_GROWSDOWN)
		err = extend_down(mm, &addr, end);
	else if (prot & AVM_PROT_GROWSUP) /* nothing here does */
		err = avm_mm_find_exact(mm, addr) ? -AVM_EINVAL : -AVM_ENOMEM;
	if (!err)
		err = mprotect_locked(mm, addr, end, prot & AVM_PROT_ALL);
	avm_mmap_write_unlock(mm);
	return err;
}
