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

static avm_small void lock(struct avm *m)
{
	avm_spin_lock(m, &m->lru_lock, AVM_LOCK_LEAF);
}

static avm_small void unlock(struct avm *m)
{
	avm_spin_unlock(m, &m->lru_lock, AVM_LOCK_LEAF);
}

/*
 * The list of a page follows from three flags: its kind, which stays, and two that change under lru_lock alone while it
 * is on one. Not from its mapping, or from whether it is in the swap cache: those come and go.
 */
static enum avm_lru list_of(const struct avm_page *page)
{
	uint32_t flags = avm_page_flags(page);
	bool active = flags & AVM_PG_ACTIVE;

	if (flags & AVM_PG_UNEVICTABLE)
		return AVM_LRU_UNEVICTABLE;
	if (flags & AVM_PG_SWAPBACKED)
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

/*
 * Shared anonymous memory has no file to go back to: it ages with the anonymous pages. So does a page that was read from
 * swap and not yet mapped.
 */
static bool is_swapbacked(const struct avm_page *page)
{
	return avm_page_is_anon(page) || avm_page_test(page, AVM_PG_SHMEM | AVM_PG_SWAPCACHE);
}

void avm_lru_add(struct avm *m, struct avm_page *page)
{
	if (!avm_page_test(page, AVM_PG_SWAPBACKED) && is_swapbacked(page))
		avm_page_set(page, AVM_PG_SWAPBACKED);
	lock(m);
	AVM_BUG_ON(m, avm_page_test(page, AVM_PG_LRU | AVM_PG_ISOLATED));
	if (!AVM_FAST || avm_page_test(page, AVM_PG_ACTIVE))
		avm_page_clear(page, AVM_PG_ACTIVE);
	link_page(m, page);
	unlock(m);
}

void avm_lru_del(struct avm *m, struct avm_page *page)
{
	/*
	 * Page tables and new pages are on none: spare them the lock. Nobody else moves a page we
	 * free.
	 */
	if (!avm_page_test(page, AVM_PG_LRU))
		return;
	lock(m);
	if (avm_page_test(page, AVM_PG_LRU))
		unlink_page(m, page);
	unlock(m);
}

void avm_lru_set_unevictable(struct avm *m, struct avm_page *page, bool unevictable)
{
	bool listed;

	lock(m);
	listed = avm_page_test(page, AVM_PG_LRU);
	if (listed)
		unlink_page(m, page);
	if (unevictable)
		avm_page_set(page, AVM_PG_UNEVICTABLE);
	else
		avm_page_clear(page, AVM_PG_UNEVICTABLE);
	if (listed)
		link_page(m, page);
	unlock(m);
}

/* ---- isolation ------------------------------------------------------------------------------- */

/* => lru_lock; the page is on a list, and somebody holds it. */
static void isolate(struct avm *m, struct avm_page *page)
{
	unlink_page(m, page);
	avm_page_set(page, AVM_PG_ISOLATED);
}

uint64_t avm_lru_isolate(struct avm *m, enum avm_lru lru, uint64_t n, struct avm_list *out)
{
	struct avm_list *list = &m->lru[lru];
	uint64_t isolated = 0, looks;

	lock(m);
	looks = m->lru_count[lru] < n ? m->lru_count[lru] : n;
	while (looks--) {
		struct avm_page *page = avm_list_last(list, struct avm_page, lru);

		/* One without references is being freed, and waits for this lock. */
		if (!avm_page_tryget(page)) {
			avm_list_move(&page->lru, list);
			continue;
		}
		isolate(m, page);
		avm_list_add_tail(&page->lru, out);
		isolated++;
	}
	unlock(m);
	return isolated;
}

bool avm_lru_isolate_page(struct avm *m, struct avm_page *page)
{
	bool listed;

	lock(m);
	listed = avm_page_test(page, AVM_PG_LRU) && avm_page_tryget(page);
	if (listed)
		isolate(m, page);
	unlock(m);
	return listed;
}

void avm_lru_putback(struct avm *m, struct avm_page *page, enum avm_putback where)
{
	lock(m);
	AVM_BUG_ON(m, !avm_page_clear(page, AVM_PG_ISOLATED));
	if (where == AVM_PUTBACK_ACTIVE)
		avm_page_set(page, AVM_PG_ACTIVE);
	else if (where == AVM_PUTBACK_INACTIVE)
		avm_page_clear(page, AVM_PG_ACTIVE);
	link_page(m, page);
	unlock(m);
	avm_page_put(m, page);
}

uint64_t avm_lru_count(struct avm *m, enum avm_lru lru)
{
	uint64_t n;

	lock(m);
	n = m->lru_count[lru];
	unlock(m);
	return n;
}
