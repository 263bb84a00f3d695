/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - which pages go when frames are wanted, and how (R11).
 *
 *	new --> [ inactive ] --tail--> looked at --not used since--> unmapped, written if dirty, freed
 *		     ^			  |used since
 *		     | tail		  v
 *		[  active  ] <------------+
 *
 * Anonymous memory (swap) and files have a pair of lists each. A page is isolated, locked, and then asked for every
 * reason to stay; each step can find that somebody else wants the page, and then it goes back to a list, as it is. So
 * a page on its way out is never lost, only late. Its last step is the look at its references, with everybody who could
 * take a new one and keep it locked out: it is unmapped, under its lock, and off the lists.
 */
#include "reclaim.h"

#include "error.h"
#include "file.h"
#include "lock.h"
#include "lru.h"
#include "mm.h"
#include "page.h"
#include "rmap.h"
#include "swap_slot.h"
#include "unmap.h"
#include "vma.h"
#include "writeback.h"

#define BATCH 32u /* pages isolated at once */
#define PRIORITIES 12 /* from a 4096th of a list to all of it */
#define RETRIES 16u

enum haste {
	HASTE_LRU, /* pages that have been used stay */
	HASTE_ALL, /* everything that can be had */
};

struct shrink {
	struct avm *machine;
	enum haste haste;
	uint64_t freed, want;
};

/* What becomes of a page. */
enum fate {
	FATE_FREED,
	FATE_INACTIVE, /* once more round */
	FATE_ACTIVE,
};

/* ---- one page --------------------------------------------------------------------------------------- */

/*
 * R11.1. A page of a file is often used once and never again: it becomes active when it is found used a second time.
 * => page locked.
 */
static enum fate second_chance(const struct shrink *s, struct avm_page *page)
{
	struct avm *m = s->machine;
	uint64_t vm_flags;
	unsigned young = avm_rmap_referenced(m, page, &vm_flags);

	if (vm_flags & AVM_VM_LOCKED)
		return FATE_INACTIVE;
	if (!young || s->haste == HASTE_ALL)
		return FATE_FREED;
	if (avm_page_is_anon(page) || young > 1 || (vm_flags & AVM_VM_EXEC) ||
	    avm_page_set(page, AVM_PG_REFERENCED))
		return FATE_ACTIVE;
	return FATE_INACTIVE;
}

/* MADV_FREE, and not written since (R13.2): the content need not go anywhere. */
static bool is_lazy(const struct avm_page *page)
{
	return avm_page_is_anon(page) && !avm_page_in_swap(page) &&
	       (avm_page_flags(page) & (AVM_PG_LAZYFREE | AVM_PG_DIRTY)) == AVM_PG_LAZYFREE;
}

/* Takes the page from everybody who maps it. => page locked. */
static bool unmap(struct avm *m, struct avm_page *page, bool lazy)
{
	bool to_swap = avm_page_is_anon(page) && !lazy;

	return !avm_rmap_unmap(m, page, to_swap ? AVM_UNMAP_TO_SWAP : AVM_UNMAP_TO_NOTHING);
}

/* => page locked, unmapped; dirty. Writes it to where its content will stay. */
static bool clean(struct avm *m, struct avm_page *page)
{
	struct avm_file *file;

	if (avm_page_in_swap(page))
		return !avm_swapcache_write(m, page);
	file = avm_page_file(page);
	/* What cannot be written has nowhere else to be. */
	return file->ops->write_page && !avm_writeback_unmapped(file, page);
}

/* The cache gives the page up: the last reference is ours. => page locked, unmapped. */
static bool evict(struct avm *m, struct avm_page *page)
{
	if (avm_page_test(page, AVM_PG_DIRTY))
		return false;
	if (avm_page_in_swap(page))
		return avm_swapcache_evict(m, page);
	if (avm_page_is_anon(page)) /* lazily freed */
		return avm_page_refs(page) == 1;
	return avm_file_evict_page(avm_page_file(page), page);
}

/* Nobody has the page any more but us: its owner has freed it meanwhile. => page locked. */
static bool is_orphan(const struct avm_page *page)
{
	if (avm_page_in_swap(page))
		return false;
	/* It has left its file; who still counts as mapping it, until he has flushed, has a reference of his own (R5.7). */
	if (!avm_page_is_anon(page))
		return !avm_page_file(page);
	return !avm_page_mapped(page) && avm_page_refs(page) == 1;
}

static bool is_shmem(const struct avm_page *page)
{
	return avm_page_test(page, AVM_PG_SHMEM) && !avm_page_in_swap(page);
}

/*
 * What has to be before the page is unmapped: a slot for the entries of anonymous memory. False: it stays.
 * => page locked.
 */
static avm_small bool has_somewhere_to_go(struct avm *m, struct avm_page *page, bool lazy)
{
	if (!avm_page_is_anon(page) || avm_page_in_swap(page) || lazy)
		return true;
	return avm_swapcache_add(m, page);
}

/* Shared anonymous memory changes its cache once it is unmapped, if nobody else holds it. => page locked. */
static bool to_swap_cache(struct avm_page *page)
{
	return avm_page_refs(page) == 2 && avm_file_swap_out(avm_page_file(page), page);
}

/* => page locked, isolated, held by us. */
static avm_noinline enum fate shrink_locked(struct shrink *s, struct avm_page *page)
{
	struct avm *m = s->machine;
	enum fate fate;
	bool lazy;

	if (avm_page_pinned(page))
		return FATE_INACTIVE;
	if (avm_page_in_swap(page) && !avm_page_mapped(page))
		avm_swapcache_drop_idle(m, page);
	if (is_orphan(page)) {
		avm_count(m, AVM_EV_RACE_ISOLATED, 1);
		return FATE_FREED;
	}
	/* Off the map, and held by whoever is freeing it. */
	if (avm_page_is_anon(page) && !avm_page_mapped(page) && !avm_page_in_swap(page))
		return FATE_INACTIVE;
	if (avm_page_test(page, AVM_PG_UNEVICTABLE))
		return FATE_INACTIVE;
	if (avm_page_in_swap(page) && avm_swapcache_closing(m, page))
		return FATE_ACTIVE;
	fate = second_chance(s, page);
	if (fate != FATE_FREED)
		return fate;
	/* Asked once: who unpins the page may want it from one moment to the next. Then it stays mapped. */
	lazy = is_lazy(page);
	if (!has_somewhere_to_go(m, page, lazy))
		return FATE_ACTIVE;
	if (!unmap(m, page, lazy)) {
		/* If no entry got as far as the slot, it is free for another page. */
		avm_swapcache_drop_idle(m, page);
		return FATE_ACTIVE;
	}
	if (is_shmem(page) && !to_swap_cache(page))
		return FATE_ACTIVE;
	if (avm_page_test(page, AVM_PG_DIRTY) && !clean(m, page))
		return FATE_ACTIVE;
	if (!evict(m, page)) {
		avm_count(m, AVM_EV_RACE_REDIRTIED, 1);
		return FATE_ACTIVE;
	}
	if (lazy)
		avm_count(m, AVM_EV_LAZY_FREED, 1);
	return FATE_FREED;
}

/* An isolated page, off any list of ours. */
static avm_noinline void shrink_page(struct shrink *s, struct avm_page *page)
{
	struct avm *m = s->machine;
	enum fate fate = FATE_INACTIVE;

	avm_count(m, AVM_EV_SCANNED, 1);
	if (avm_page_trylock(m, page)) {
		fate = shrink_locked(s, page);
		avm_page_unlock(m, page);
	} else {
		avm_count(m, AVM_EV_RACE_PAGE_LOCKED, 1);
	}
	if (fate == FATE_FREED) {
		avm_page_clear(page, AVM_PG_ISOLATED);
		avm_page_put(m, page);
		avm_count(m, AVM_EV_RECLAIMED, 1);
		s->freed++;
		return;
	}
	if (fate == FATE_ACTIVE)
		avm_count(m, AVM_EV_ACTIVATED, 1);
	avm_lru_putback(m, page, fate == FATE_ACTIVE ? AVM_PUTBACK_ACTIVE : AVM_PUTBACK_INACTIVE);
}

static avm_noinline void shrink_pages(struct shrink *s, struct avm_list *isolated)
{
	struct avm_page *page;

	while ((page = avm_page_pop(isolated)))
		shrink_page(s, page);
}

uint64_t avm_reclaim_pages(struct avm *m, struct avm_list *isolated)
{
	struct shrink s = { .machine = m, .haste = HASTE_ALL };

	shrink_pages(&s, isolated);
	return s.freed;
}

/* ---- the lists ---------------------------------------------------------------------------------------- */

/*
 * Has the page been used? An anonymous page is not locked, as one missed access does no harm. Of a file's page the file may be
 * gone without the lock: so one that somebody else has locked just now counts as unused.
 */
static bool was_used(struct avm *m, struct avm_page *page, uint64_t *vm_flags)
{
	bool used;

	if (avm_page_is_anon(page))
		return avm_rmap_referenced(m, page, vm_flags);
	if (!avm_page_trylock(m, page))
		return false;
	used = avm_rmap_referenced(m, page, vm_flags);
	avm_page_unlock(m, page);
	return used;
}

/* Ages up to n pages of an active list. */
static avm_noinline void deactivate(struct shrink *s, enum avm_lru active, uint64_t n)
{
	struct avm *m = s->machine;
	struct avm_page *page;
	struct avm_list list;

	avm_list_init(&list);
	avm_lru_isolate(m, active, n, &list);
	while ((page = avm_page_pop(&list))) {
		uint64_t vm_flags;
		bool keep;

		keep = was_used(m, page, &vm_flags) && active == AVM_LRU_ACTIVE_FILE &&
		       (vm_flags & AVM_VM_EXEC) && s->haste == HASTE_LRU;
		if (!keep)
			avm_count(m, AVM_EV_DEACTIVATED, 1);
		avm_page_clear(page, AVM_PG_REFERENCED);
		avm_lru_putback(m, page, keep ? AVM_PUTBACK_ACTIVE : AVM_PUTBACK_INACTIVE);
	}
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * Looks at a share of the pages of one kind, by priority, and at a batch at least; stops when enough have been freed.
 * The list of active ones follows that of the inactive.
 */
static void shrink_kind(struct shrink *s, enum avm_lru inactive, int priority)
{
	enum avm_lru active = inactive + 1;
	struct avm *m = s->machine;
	uint64_t pages = avm_lru_count(m, inactive) + avm_lru_count(m, active);
	uint64_t n = pages >> priority, batch;

	if (n < BATCH)
		n = least(pages, BATCH);
	for (; n && s->freed < s->want; n -= batch) {
		struct avm_list list;

		batch = least(least(n, BATCH), s->want - s->freed);
		if (avm_lru_count(m, inactive) <= avm_lru_count(m, active))
			deactivate(s, active, BATCH);
		avm_list_init(&list);
		if (!avm_lru_isolate(m, inactive, batch, &list))
			return;
		shrink_pages(s, &list);
	}
}

static avm_noinline void shrink_lists(struct shrink *s, int priority)
{
	shrink_kind(s, AVM_LRU_INACTIVE_FILE, priority);
	/* Without swap there are only the pages that MADV_FREE gave up: not worth a search unless all else fails. */
	if (!priority || atomic_load_explicit(&s->machine->swap_slots, memory_order_relaxed))
		shrink_kind(s, AVM_LRU_INACTIVE_ANON, priority);
}

uint64_t avm_shrink(struct avm *m, uint64_t n)
{
	struct shrink s = { .machine = m, .want = n };

	avm_might_sleep(m);
	for (int priority = PRIORITIES; priority >= 0 && s.freed < n; priority--)
		shrink_lists(&s, priority);
	return s.freed;
}

uint64_t avm_shrink_all(struct avm *m)
{
	struct shrink s = { .machine = m, .haste = HASTE_ALL, .want = UINT64_MAX };
	uint64_t before;

	avm_might_sleep(m);
	/* Until a whole round frees nothing: what is behind a locked page or a busy family may come later. */
	do {
		before = s.freed;
		shrink_lists(&s, 0);
	} while (s.freed > before);
	return s.freed;
}

int avm_page_out(struct avm *m, avm_pfn_t pfn)
{
	struct avm_page *page = avm_page_of(m, pfn);
	struct avm_list list;

	avm_might_sleep(m);
	if (!page || !avm_lru_isolate_page(m, page))
		return -AVM_ENOENT;
	avm_list_init(&list);
	avm_list_add_tail(&page->lru, &list);
	return avm_reclaim_pages(m, &list) ? 0 : -AVM_EBUSY;
}

static uint64_t frames_free(struct avm *m)
{
	uint64_t total = atomic_load_explicit(&m->frames_total, memory_order_relaxed);
	uint64_t used = avm_cpu_sum(m, &m->cpus[0].frames_used);

	return used < total ? total - used : 0;
}

uint64_t avm_balance(struct avm *m)
{
	uint64_t freed = 0, now;

	atomic_store_explicit(&m->pressure, 0, memory_order_relaxed);
	if (frames_free(m) >= m->config.low_frames)
		return 0;
	while (frames_free(m) < m->config.high_frames) {
		now = avm_shrink(m, m->config.high_frames - frames_free(m));
		if (!now)
			break;
		freed += now;
	}
	return freed;
}

/* ---- who is short of frames --------------------------------------------------------------------------- */

#if AVM_PORT_TIER >= 2
static uint64_t weight(struct avm_mm *mm)
{
	uint64_t n = atomic_load_explicit(&mm->tables, memory_order_relaxed);

	for (int i = 0; i < AVM_NR_RSS; i++)
		n += avm_rss_sum(mm, (enum avm_rss)i);
	return n;
}

/* => mm_lock: it stays at least as long. */
static struct avm_mm *largest_mm(struct avm *m)
{
	struct avm_mm *mm, *largest = NULL;
	uint64_t most = 0;

	avm_list_for_each_entry(mm, &m->mms, struct avm_mm, link) {
		uint64_t w = weight(mm);

		if (w >= most) {
			most = w;
			largest = mm;
		}
	}
	return largest;
}

static avm_noinline void report_oom(struct avm *m, struct avm_mm *mm)
{
	struct avm_oom oom = { .mm = mm };

	avm_spin_lock(m, &m->mm_lock, AVM_LOCK_LEAF);
	oom.largest = largest_mm(m);
	if (oom.largest) {
		oom.tables = atomic_load_explicit(&oom.largest->tables, memory_order_relaxed);
		for (int i = 0; i < AVM_NR_RSS; i++)
			oom.rss[i] = avm_rss_sum(oom.largest, (enum avm_rss)i);
	}
	avm_spin_unlock(m, &m->mm_lock, AVM_LOCK_LEAF);
	oom.frames_total = atomic_load_explicit(&m->frames_total, memory_order_relaxed);
	oom.swap_total = atomic_load_explicit(&m->swap_slots, memory_order_relaxed);
	oom.swap_free = oom.swap_total - atomic_load_explicit(&m->swap_used, memory_order_relaxed);
	avm_port_oom(m, &oom);
}
#else
static void report_oom(struct avm *m, struct avm_mm *mm)
{
	(void)m;
	(void)mm;
}
#endif

bool avm_retry(struct avm_retry *retry, struct avm *m, struct avm_mm *mm)
{
	uint64_t refused = atomic_load_explicit(&m->frames_refused, memory_order_relaxed);

	if (refused == retry->refused)
		return false;
	retry->refused = refused;
	if (retry->round++ < RETRIES) {
		avm_count(m, AVM_EV_DIRECT_RECLAIM, 1);
		if (avm_shrink(m, BATCH))
			return true;
	}
	report_oom(m, mm);
	return false;
}
