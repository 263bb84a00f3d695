/* SPDX-License-Identifier: MIT */
/* ksm_scan.c - which pages merging looks at, round and round; and merged pages made private (ksm_scan.h, R15). */
#include "ksm_scan.h"

#include "anonvm/memory.h"
#include "exit.h"
#include "fault.h"
#include "ksm.h"
#include "lock.h"
#include "mm.h"
#include "page.h"
#include "vma.h"

struct scan {
	struct avm *machine;
	uint64_t left; /* pages to be looked at */
	int64_t merged;
	int err; /* of the last that went wrong */
};

/* The page of an entry if it could be merged, held; NULL: it is nothing for us. => table locked. */
static struct avm_page *page_of(const struct avm_ptc *c)
{
	struct avm_page *page = avm_ptc_page(c);

	if (!page || !avm_page_is_anon(page) || avm_page_is_merged(page))
		return NULL;
	avm_page_get(page);
	return page;
}

/* The first such page at or behind the cursor in its table. */
static avm_noinline struct avm_page *next_page(struct avm_ptc *c)
{
	struct avm_page *page = NULL;

	avm_ptc_lock(c);
	for (; c->addr < c->stop; avm_ptc_step(c)) {
		page = page_of(c);
		if (page)
			break;
	}
	avm_ptc_unlock(c);
	return page;
}

/* => mmap_lock */
static void scan_vma(struct scan *s, struct avm_vma *vma)
{
	struct avm_ksm *ksm = &s->machine->ksm;
	avm_addr_t start = ksm->addr > vma->start ? ksm->addr : vma->start;
	struct avm_ptc c;

	for (bool more = avm_ptc_first(&c, vma->mm, start, vma->end); more;
	     more = avm_ptc_next_table(&c)) {
		struct avm_page *page;

		while (s->left && (page = next_page(&c))) {
			int result = avm_ksm_page(vma, &c, page);

			avm_page_put(s->machine, page);
			if (result < 0)
				s->err = result;
			else
				s->merged += result;
			s->left--;
			avm_ptc_step(&c);
			ksm->addr = c.addr;
		}
		if (!s->left)
			return;
	}
	ksm->addr = vma->end;
}

/* False: the round goes on here some other time. */
static bool scan_mm(struct scan *s, struct avm_mm *mm)
{
	struct avm_ksm *ksm = &s->machine->ksm;
	struct avm_vma *vma;
	int err;

	if (ksm->mm_id != mm->id)
		ksm->addr = 0;
	ksm->mm_id = mm->id;
	err = avm_mmap_read_lock(mm);
	if (err) {
		s->err = err;
		return false;
	}
	for (vma = avm_mm_find(mm, ksm->addr); vma && s->left; vma = avm_vma_next(vma)) {
		if (vma->flags & AVM_VM_MERGEABLE)
			scan_vma(s, vma);
	}
	avm_mmap_read_unlock(mm);
	return s->left;
}

/* From where the last call stopped to the end of the round, or as far as it goes. */
static void scan_round(struct scan *s)
{
	struct avm *m = s->machine;
	struct avm_mm *mm = NULL;

	while ((mm = avm_mm_get_next(m, mm))) {
		if (mm->id < m->ksm.mm_id)
			continue;
		if (!scan_mm(s, mm)) {
			avm_mm_put(mm);
			return;
		}
		m->ksm.mm_id = mm->id + 1;
		m->ksm.addr = 0;
	}
	avm_ksm_next_round(m);
}

int64_t avm_ksm_scan(struct avm *m, uint64_t n)
{
	struct scan s = { .machine = m, .left = n };
	bool from_start;

	if (avm_rw_write(m, &m->ksm.lock, AVM_LOCK_KSM))
		return -AVM_EINTR;
	/* When nothing was left of a round, the next one begins. */
	do {
		from_start = !m->ksm.mm_id;
		scan_round(&s);
	} while (n && s.left == n && !from_start && !s.err);
	avm_rw_unlock_write(m, &m->ksm.lock, AVM_LOCK_KSM);
	return s.merged ? s.merged : s.err;
}

/* ---- private again -------------------------------------------------------------------------------------- */

/* One that is on its way to another frame may be merged, too. */
static bool may_be_merged(struct avm *m, avm_pte_t pte)
{
	const struct avm_page *page = avm_pte_page(m, pte);

	if (avm_pte_is_entry(pte))
		return avm_pte_entry_kind(pte) == AVM_ENTRY_MIGRATION;
	return page && avm_page_is_merged(page);
}

/* The first address in [*addr, end) with a merged page. False: none. => mmap_lock. */
static bool next_merged(struct avm_mm *mm, avm_addr_t *addr, avm_addr_t end)
{
	struct avm_ptc c;

	avm_assert_mmap_locked(mm);
	for (bool more = avm_ptc_first(&c, mm, *addr, end); more; more = avm_ptc_next_table(&c)) {
		/* Not locked: nobody makes merged pages here, and who takes one away is welcome. */
		for (; c.addr < c.stop; avm_ptc_step(&c)) {
			if (!may_be_merged(mm->machine, avm_ptc_get(&c)))
				continue;
			*addr = c.addr;
			return true;
		}
	}
	return false;
}

int avm_unmerge(struct avm_mm *mm, avm_addr_t start, avm_addr_t end)
{
	struct avm *m = mm->machine;
	int err = avm_rw_write(m, &m->ksm.lock, AVM_LOCK_KSM);
	bool found;

	if (err)
		return err;
	/* Whoever has seen the VMAs mergeable has finished with them. */
	avm_rw_unlock_write(m, &m->ksm.lock, AVM_LOCK_KSM);
	do {
		err = avm_mmap_read_lock(mm);
		if (err)
			return err;
		found = next_merged(mm, &start, end);
		avm_mmap_read_unlock(mm);
		if (found)
			err = avm_fault_errno(
				avm_fault_at(mm, start, AVM_ACCESS_WRITE, AVM_FORCE_YES, NULL));
	} while (found && !err);
	return err;
}
