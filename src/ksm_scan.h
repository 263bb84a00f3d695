/* SPDX-License-Identifier: MIT */
/* ksm_scan.h - merged pages made private again, on request (R15). */
#ifndef AVM_KSM_SCAN_H
#define AVM_KSM_SCAN_H

#include "anonvm/mm.h"

/*
 * Every merged page in the range is copied, or taken over. The VMAs are not mergeable any more: nothing there is merged
 * again meanwhile. 0; -ENOMEM, -EIO, -EINTR: some are merged still. => no locks. Sleeps.
 */
int avm_unmerge(struct avm_mm *mm, avm_addr_t start, avm_addr_t end);

#endif
