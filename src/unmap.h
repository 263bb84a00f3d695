/* SPDX-License-Identifier: MIT */
/*
 * unmap.h - taking a page away from everybody who maps it, through the reverse map (R11.2, R16): for good, or for as
 * long as something is done to it.
 */
#ifndef AVM_UNMAP_H
#define AVM_UNMAP_H

#include "rmap.h"

/* What stands in each entry afterwards. */
enum avm_unmap_to {
	AVM_UNMAP_TO_NOTHING, /* a file has the page, or nobody wants it (MADV_FREE) */
	AVM_UNMAP_TO_SWAP, /* the slot of the page, which is in the swap cache */
	AVM_UNMAP_TO_MIGRATION, /* its frame: to be put back (R8.5) */
	AVM_UNMAP_TO_POISON,
};

/*
 * Takes every entry of the page away; what the MMU wrote is in AVM_PG_DIRTY then. 0: nobody maps it any more. -EBUSY:
 * somebody keeps it: a pin, a locked VMA (TO_NOTHING, TO_SWAP), a store to a page that MADV_FREE gave up, or a family
 * that could not be asked; entries that were taken away until then stay so, and their owners fault.
 * => page locked and held. Sleeps for family and file locks.
 */
int avm_rmap_unmap(struct avm *m, struct avm_page *page, enum avm_unmap_to to);

/* A page that has been taken: who touches it waits for its lock, until it has been given back or settled. */
struct avm_taken {
	struct avm *machine;
	struct avm_page *page;
	struct avm_anon_vma *pin; /* of an anonymous page: the way back to its entries (gallery 11) */
	bool mapped; /* there were entries */
};

/*
 * Puts migration entries in the place of all others. 0: nobody can see the page, or change it. -EBUSY: somebody keeps
 * it; everything is as before. As above.
 */
int avm_rmap_take(struct avm_taken *t, struct avm *m, struct avm_page *page);

/*
 * Ends a take: in every place that the page had, and that is wanted still, `to` is mapped; the page itself, or one that
 * has become what it was: mapping, index, flags. => both locked and held. Cannot fail; sleeps.
 */
void avm_rmap_give(struct avm_taken *t, struct avm_page *to);

/* Ends a take: this stands in every place from now on. TO_SWAP: as above. => page locked, held. Cannot fail; sleeps. */
void avm_rmap_settle(struct avm_taken *t, enum avm_unmap_to to);

#endif
