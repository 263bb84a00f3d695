/* SPDX-License-Identifier: MIT */
/*
 * lru.h - the lists reclaim looks at: active and inactive, anonymous and file, unevictable.
 *
 * Each CPU has such lists, of the pages that it has allocated: reclaim takes from all alike.
 *
 * New pages come to the head of an inactive list and are looked at when they have come to its tail. Whoever wants to
 * do something to a page takes it off, *isolated*: nobody else will, until he puts it back.
 */
#ifndef AVM_LRU_H
#define AVM_LRU_H

#include "anonvm/machine.h"
#include "anonvm/page.h"

/* => config is complete. */
void avm_lru_init(struct avm *m);

/* Puts a page on the inactive list of its kind (`anon` or file; UNEVICTABLE flag wins). Takes lru_lock. */
void avm_lru_add(struct avm *m, struct avm_page *page);

/* The same for an anonymous page that has no reference yet, and so nobody who changes its flags beside us. */
void avm_lru_add_new(struct avm *m, struct avm_page *page);

/* Takes a page off whatever list it is on; nothing when on none. */
void avm_lru_del(struct avm *m, struct avm_page *page);

/* Moves a page to, or from, the unevictable list: mlock. Sets or clears the flag. */
void avm_lru_set_unevictable(struct avm *m, struct avm_page *page, bool unevictable);

/* Up to n pages from the tail of a list, isolated and held, in that order, to the end of `out`. Returns how many. */
uint64_t avm_lru_isolate(struct avm *m, enum avm_lru lru, uint64_t n, struct avm_list *out);

/* One page, whatever list it is on; false: on none. It is held then. */
bool avm_lru_isolate_page(struct avm *m, struct avm_page *page);

enum avm_putback {
	AVM_PUTBACK_INACTIVE,
	AVM_PUTBACK_ACTIVE,
	AVM_PUTBACK_SAME, /* the list of its kind that it was on */
};

/* Puts an isolated page back, to the head of a list of its kind, and drops the reference; it is on no other list. */
void avm_lru_putback(struct avm *m, struct avm_page *page, enum avm_putback where);

uint64_t avm_lru_count(struct avm *m, enum avm_lru lru);

#endif
