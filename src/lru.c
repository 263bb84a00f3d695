/* SPDX-License-Identifier: MIT */
/*
 * lru.c - the page lists of lru.h. All of page->lru of a page on a list, and the counts, under the lru_lock of the page's
 * CPU.
 */
#include "lru.h"

#include "error.h"
#include "list.h"
#include "lock.h"
#include "page.h"

void avm_lru_init(struct avm *m)
{
	for (uint32_t cpu = 0; cpu < avm_cpus(m); cpu++)
		for (int i = 0; i < AVM_NR_LRU; i++)
			avm_list_init(&m->cpus[cpu].lru[i]);
}

/* `cpu`: whose lists. Of a page: avm_page_cpu(). */
static avm_small void AVM_UNCHECKED lock(struct avm *m, unsigned cpu)
{
	avm_spin_lock(m, &m->cpus[cpu].lru_lock, AVM_LOCK_LEAF);
}

static avm_small void AVM_UNCHECKED unlock(struct avm *m, unsigned cpu)
{
	avm_spin_unlock(m, &m->cpus[cpu].lru_lock, AVM_LOCK_LEAF);
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
	struct avm_cpu *cpu = &m->cpus[avm_page_cpu(page)];
	enum avm_lru lru = list_of(page);

	avm_page_set(page, AVM_PG_LRU);
	avm_list_add(&page->lru, &cpu->lru[lru]);
	cpu->lru_count[lru]++;
}

/* => lru_lock */
static void unlink_page(struct avm *m, struct avm_page *page)
{
	m->cpus[avm_page_cpu(page)].lru_count[list_of(page)]--;
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
	unsigned cpu = avm_page_cpu(page);

	if (!avm_page_test(page, AVM_PG_SWAPBACKED) && is_swapbacked(page))
		avm_page_set(page, AVM_PG_SWAPBACKED);
	lock(m, cpu);
	AVM_BUG_ON(m, avm_page_test(page, AVM_PG_LRU | AVM_PG_ISOLATED));
	if (!AVM_FAST || avm_page_test(page, AVM_PG_ACTIVE))
		avm_page_clear(page, AVM_PG_ACTIVE);
	link_page(m, page);
	unlock(m, cpu);
}

#if AVM_FAST

void avm_lru_add_new(struct avm *m, struct avm_page *page)
{
	uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);
	unsigned id = avm_page_cpu(page);
	struct avm_cpu *cpu = &m->cpus[id];
	enum avm_lru lru = list_of(page);

	AVM_ASSERT(m, !avm_page_refs(page));
	lock(m, id);
	avm_list_add(&page->lru, &cpu->lru[lru]);
	cpu->lru_count[lru]++;
	atomic_store_explicit(&page->flags, flags | AVM_PG_LRU, memory_order_relaxed);
	unlock(m, id);
}

#endif

void avm_lru_del(struct avm *m, struct avm_page *page)
{
	unsigned cpu = avm_page_cpu(page);

	/*
	 * Page tables and new pages are on none: spare them the lock. Nobody else moves a page we
	 * free.
	 */
	if (!avm_page_test(page, AVM_PG_LRU))
		return;
	lock(m, cpu);
	if (avm_page_test(page, AVM_PG_LRU))
		unlink_page(m, page);
	unlock(m, cpu);
}

void avm_lru_set_unevictable(struct avm *m, struct avm_page *page, bool unevictable)
{
	unsigned cpu = avm_page_cpu(page);
	bool listed;

	lock(m, cpu);
	listed = avm_page_test(page, AVM_PG_LRU);
	if (listed)
		unlink_page(m, page);
	if (unevictable)
		avm_page_set(page, AVM_PG_UNEVICTABLE);
	else
		avm_page_clear(page, AVM_PG_UNEVICTABLE);
	if (listed)
		link_page(m, page);
	unlock(m, cpu);
}

/* ---- isolation ------------------------------------------------------------------------------- */

/* => lru_lock; the page is on a list, and somebody holds it. */
static void isolate(struct avm *m, struct avm_page *page)
{
	unlink_page(m, page);
	avm_page_set(page, AVM_PG_ISOLATED);
}

uint64_t avm_lru_count(struct avm *m, enum avm_lru lru)
{
	uint64_t n = 0;

	for (unsigned cpu = 0; cpu < avm_cpus(m); cpu++) {
		lock(m, cpu);
		n += m->cpus[cpu].lru_count[lru];
		unlock(m, cpu);
	}
	return n;
}

/*
 * How many of the n that are wanted of this list and those to come, with *left pages, are for this one: pages of one age
 * go together. => lru_lock
 */
static uint64_t share_of(const struct avm_cpu *cpu, enum avm_lru lru, uint64_t n, uint64_t *left)
{
	uint64_t mine = cpu->lru_count[lru];

	if (mine >= *left)
		return n;
	n = (mine * n + *left - 1) / *left;
	*left -= mine;
	return n;
}

/* From the tail of one CPU's list. */
static uint64_t isolate_some(struct avm *m, unsigned cpu, enum avm_lru lru, uint64_t n,
			     uint64_t *left, struct avm_list *out)
{
	struct avm_list *list = &m->cpus[cpu].lru[lru];
	uint64_t isolated = 0;

	lock(m, cpu);
	if (AVM_NR_CPUS > 1)
		n = share_of(&m->cpus[cpu], lru, n, left);
	if (n > m->cpus[cpu].lru_count[lru])
		n = m->cpus[cpu].lru_count[lru];
	while (n--) {
		struct avm_page *page = avm_list_last(list, struct avm_page, lru);

		/* One without references is being freed, and waits for this lock; or it is about to get its first. */
		if (!avm_page_tryget(page)) {
			avm_list_move(&page->lru, list);
			continue;
		}
		isolate(m, page);
		avm_list_add_tail(&page->lru, out);
		isolated++;
	}
	unlock(m, cpu);
	return isolated;
}

/* Each time another CPU is the first, for what the rounding gives to the first. */
uint64_t avm_lru_isolate(struct avm *m, enum avm_lru lru, uint64_t n, struct avm_list *out)
{
	uint64_t left = 0, isolated = 0;
	unsigned first = 0;

	if (avm_cpus(m) > 1) {
		left = avm_lru_count(m, lru);
		first = atomic_fetch_add_explicit(&m->lru_next, 1, memory_order_relaxed);
	}
	for (unsigned i = 0; i < avm_cpus(m) && isolated < n; i++)
		isolated +=
			isolate_some(m, (first + i) % avm_cpus(m), lru, n - isolated, &left, out);
	return isolated;
}

/*
 * Of one load: only then is the page on the list of the CPU whose lock we have, and stays there. The page may be anybody's, and
 * have been another's when its CPU was read first.
 */
static bool is_listed_on(const struct avm_page *page, unsigned cpu)
{
	uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);

	return (flags & AVM_PG_LRU) && (AVM_NR_CPUS == 1 || flags >> AVM_PG_CPU_SHIFT == cpu);
}

bool avm_lru_isolate_page(struct avm *m, struct avm_page *page)
{
	unsigned cpu = avm_page_cpu(page);
	bool listed;

	lock(m, cpu);
	listed = is_listed_on(page, cpu) && avm_page_tryget(page);
	if (listed)
		isolate(m, page);
	unlock(m, cpu);
	return listed;
}

void avm_lru_putback(struct avm *m, struct avm_page *page, enum avm_putback where)
{
	unsigned cpu = avm_page_cpu(page);

	lock(m, cpu);
	AVM_BUG_ON(m, !avm_page_clear(page, AVM_PG_ISOLATED));
	if (where == AVM_PUTBACK_ACTIVE)
		avm_page_set(page, AVM_PG_ACTIVE);
	else if (where == AVM_PUTBACK_INACTIVE)
		avm_page_clear(page, AVM_PG_ACTIVE);
	link_page(m, page);
	unlock(m, cpu);
	avm_page_put(m, page);
}
