/* SPDX-License-Identifier: MIT */
/*
 * unmap.h - taking a page away from everybody who maps it, through the reverse map (R11.2, R16).
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

#endif
