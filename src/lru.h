/* SPDX-License-Identifier: MIT */
/*
 * lru.h - the lists reclaim will look at: active and inactive, anonymous and file, unevictable.
 */
#ifndef AVM_LRU_H
#define AVM_LRU_H

#include "anonvm/machine.h"
#include "anonvm/page.h"

/* Puts a page on the inactive list of its kind (`anon` or file; UNEVICTABLE flag wins). Takes lru_lock. */
void avm_lru_add(struct avm *m, struct avm_page *page);

/* Takes a page off whatever list it is on; nothing when on none. */
void avm_lru_del(struct avm *m, struct avm_page *page);

/* Moves a page to, or from, the unevictable list: mlock. Sets or clears the flag. */
void avm_lru_set_unevictable(struct avm *m, struct avm_page *page, bool unevictable);

#endif
