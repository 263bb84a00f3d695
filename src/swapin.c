/* SPDX-License-Identifier: MIT */
/*
 * swapin.c - a fault on an entry that stands for a page that is not mapped: swap, migration, poison (R8.4, R8.5).
 */
#include "fault.h"

#include "page.h"
#include "swap.h"

#if AVM_PORT_TIER >= 2
static unsigned error_bits(int err)
{
	switch (err) {
	case -AVM_EAGAIN: /* somebody else was faster (R8.8) */
		return AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS;
	case -AVM_EINTR:
		return AVM_FAULT_RETRY;
	case -AVM_ENOMEM:
		return AVM_FAULT_OOM;
	default:
		return AVM_FAULT_SIGBUS;
	}
}

/*
 * The page is back. If others may see it, a write needs a copy all the same, and gets it in this very fault: `bits` are
 * what it has cost so far.
 */
static unsigned write_to_it(struct avm_fault_ctx *f, unsigned bits)
{
	unsigned copied;

	avm_ptc_lock(&f->c);
	f->seen = avm_ptc_get(&f->c);
	if (!avm_pte_present(f->seen)) {
		avm_ptc_unlock(&f->c);
		return bits;
	}
	if (avm_pte_write(f->seen)) {
		avm_ptc_set(&f->c, avm_pte_written(f->seen, f->vma));
		avm_ptc_unlock(&f->c);
		return bits;
	}
	copied = avm_fault_write_protected(f);
	return copied & AVM_FAULT_ERROR ? copied : (copied & ~(unsigned)AVM_FAULT_MINOR) | bits;
}

static unsigned swap_in(struct avm_fault_ctx *f)
{
	int read = avm_swap_in(f->vma, &f->c, f->seen, f->access);
	unsigned bits = read == 1 ? AVM_FAULT_MAJOR : AVM_FAULT_MINOR;

	if (read < 0)
		return error_bits(read);
	return f->access == AVM_ACCESS_WRITE ? write_to_it(f, bits) : bits;
}

#else
static unsigned swap_in(struct avm_fault_ctx *f)
{
	(void)f;
	return AVM_FAULT_SIGBUS;
}
#endif

/*
 * The page is locked as long as it is being moved. Whoever moves it has put it back, here or elsewhere, when he unlocks
 * it.
 */
static unsigned wait_for_migration(struct avm_fault_ctx *f)
{
	struct avm *m = f->mm->machine;
	struct avm_page *page = avm_page_of(m, avm_pte_entry_value(f->seen));
	unsigned bits = AVM_FAULT_MINOR | AVM_FAULT_SPURIOUS;

	if (!page || !avm_page_tryget(page))
		return bits;
	avm_count(m, AVM_EV_RACE_MIGRATION_WAIT, 1);
	if (avm_page_lock_killable(m, page))
		bits = AVM_FAULT_RETRY;
	else
		avm_page_unlock(m, page);
	avm_page_put(m, page);
	return bits;
}

unsigned avm_fault_entry(struct avm_fault_ctx *f)
{
	switch (avm_pte_entry_kind(f->seen)) {
	case AVM_ENTRY_SWAP:
		return swap_in(f);
	case AVM_ENTRY_MIGRATION:
		return wait_for_migration(f);
	case AVM_ENTRY_POISON:
		break;
	}
	return AVM_FAULT_SIGBUS;
}
