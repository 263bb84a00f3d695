/* SPDX-License-Identifier: MIT */
/*
 * lru.c - the page lists of lru.h. All of page->lru of a page on a list, and the counts, under
 * lru_lock.
 */
#include "lru.h"

#include "error.h"
#include "list.h"
#include "lock.h"
#include "page.h"

/*
 * The list of a page follows from its flags and mapping, neither of which changes kind while it is
 * on one.
 */
static enum avm_lru list_of(const struct avm_page *page)
{
	uint32_t flags = avm_page_flags(page);
	bool active = flags & AVM_PG_ACTIVE;

	if (flags & AVM_PG_UNEVICTABLE)
		return AVM_LRU_UNEVICTABLE;
	/* Shared anonymous memory has no file to go back to: it ages with the anonymous pages. */
	if (avm_page_is_anon(page) || (flags & AVM_PG_SHMEM))
		return active ? AVM_LRU_ACTIVE_ANON : AVM_LRU_INACTIVE_ANON;
	return active ? AVM_LRU_ACTIVE_FILE : AVM_LRU_INACTIVE_FILE;
}

/* => lru_lock */
static void link_page(struct avm *m, struct avm_page *page)
{
	enum avm_lru lru = list_of(page);

	avm_page_set(page, AVM_PG_LRU);
	avm_list_add(&page->lru, &m->lru[lru]);
	m->lru_count[lru]++;
}

/* => lru_lock */
static void unlink_page(struct avm *m, struct avm_page *page)
{
	m->lru_count[list_of(page)]--;
	avm_list_del(&page->lru);
	avm_page_clear(page, AVM_PG_LRU);
}

void avm_lru_add(struct avm *m, struct avm_page *page)
{
	avm_spin_lock(m, &m->lru_lock, AVM_LOCK_LEAF);
	AVM_BUG_ON(m, avm_page_test(page, AVM_PG_LRU | AVM_PG_ISOLATED));
	avm_page_clear(page, AVM_PG_ACTIVE);
	link_page(m, page);
	avm_spin_unlock(m, &m->lru_lock, AVM_LOCK_LEAF);
}

void avm_lru_del(struct avm *m, struct avm_page *page)
{
	/*
	 * Page tables and new pages are on none: spare them the lock. Nobody else moves a page we
	 * free.
	 */
	if (!avm_page_test(page, AVM_PG_LRU))
		return;
	avm_spin_lock(m, &m->lru_lock, AVM_LOCK_LEAF);
	if (avm_page_test(page, AVM_PG_LRU))
		unlink_page(m, page);
	avm_spin_unlock(m, &m->lru_lock, AVM_LOCK_LEAF);
}

void avm_lru_set_unevictable(struct avm *m, struct avm_page *page, bool unevictable)
{
	bool listed;

	avm_spin_lock(m, &m->lru_lock, AVM_LOCK_LEAF);
	listed = avm_page_test(page, AVM_PG_LRU);
	if (listed)
		unlink_page(m, page);
	if (unevictable)
		avm_page_set(page, AVM_PG_UNEVICTABLE);
	else
		avm_page_clear(page, AVM_PG_UNEVICTABLE);
	if (listed)
		link_page(m, page);
	avm_spin_unlock(m, &m->lru_lock, AVM_LOCK_LEAF);
}
