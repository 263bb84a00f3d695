/* SPDX-License-Identifier: MIT */
/* ksm.h - finding equal pages, and giving them one frame (R15). */
#ifndef AVM_KSM_H
#define AVM_KSM_H

#include "pgtable.h"

/*
 * Looks at a page of a mergeable VMA, anonymous and not merged, that the cursor's entry mapped a moment ago. 1: the entry
 * maps an equal one now; 0: it stays, and what has been seen of it is remembered; -ENOMEM.
 * => machine->ksm.lock; mmap_lock, any mode; page held once, table not locked. Sleeps.
 */
int avm_ksm_page(struct avm_vma *vma, struct avm_ptc *c, struct avm_page *page);

/* What was seen in the round before the one that ends is forgotten. => machine->ksm.lock, or nobody else is there */
void avm_ksm_next_round(struct avm *m);

/* All is forgotten. */
void avm_ksm_forget(struct avm *m);

#endif
