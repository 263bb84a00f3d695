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
	for (uint32_t cpu = 0; cpu < m->config.cpus; cpu++)
		for (int i = 0; i < AVM_NR_LRU; i++)
			avm_list_init(&m->cpus[cpu].lru[i]);
}

static avm_small void lock(struct avm *m, struct avm_cpu *cpu)
{
	avm_spin_lock(m, &cpu->lru_lock, AVM_LOCK_LEAF);
}

static avm_small void unlock(struct avm *m, struct avm_cpu *cpu)
{
	avm_spin_unlock(m, &cpu->lru_lock, AVM_LOCK_LEAF);
}

/* The CPU whose lists the page is on, if on any: the one that allocated it. => the page is held, or on a list. */
static struct avm_cpu *cpu_of(struct avm *m, const struct avm_page *page)
{
	return &m->cpus[avm_page_cpu(page)];
}

static avm_small struct avm_cpu *lock_page(struct avm *m, const struct avm_page *page)
{
	struct avm_cpu *cpu = cpu_of(m, page);

	lock(m, cpu);
	return cpu;
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
static void link_page(struct avm_cpu *cpu, struct avm_page *page)
{
	enum avm_lru lru = list_of(page);

	avm_page_set(page, AVM_PG_LRU);
	avm_list_add(&page->lru, &cpu->lru[lru]);
	cpu->lru_count[lru]++;
}

/* => lru_lock */
static void unlink_page(struct avm_cpu *cpu, struct avm_page *page)
{
	cpu->lru_count[list_of(page)]--;
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
	struct avm_cpu *cpu;

	if (!avm_page_test(page, AVM_PG_SWAPBACKED) && is_swapbacked(page))
		avm_page_set(page, AVM_PG_SWAPBACKED);
	cpu = lock_page(m, page);
	AVM_BUG_ON(m, avm_page_test(page, AVM_PG_LRU | AVM_PG_ISOLATED));
	if (!AVM_FAST || avm_page_test(page, AVM_PG_ACTIVE))
		avm_page_clear(page, AVM_PG_ACTIVE);
	link_page(cpu, page);
	unlock(m, cpu);
}

void avm_lru_del(struct avm *m, struct avm_page *page)
{
	struct avm_cpu *cpu;

	/*
	 * Page tables and new pages are on none: spare them the lock. Nobody else moves a page we
	 * free.
	 */
	if (!avm_page_test(page, AVM_PG_LRU))
		return;
	cpu = lock_page(m, page);
	if (avm_page_test(page, AVM_PG_LRU))
		unlink_page(cpu, page);
	unlock(m, cpu);
}

void avm_lru_set_unevictable(struct avm *m, struct avm_page *page, bool unevictable)
{
	struct avm_cpu *cpu = lock_page(m, page);
	bool listed;

	listed = avm_page_test(page, AVM_PG_LRU);
	if (listed)
		unlink_page(cpu, page);
	if (unevictable)
		avm_page_set(page, AVM_PG_UNEVICTABLE);
	else
		avm_page_clear(page, AVM_PG_UNEVICTABLE);
	if (listed)
		link_page(cpu, page);
	unlock(m, cpu);
}

/* ---- isolation ------------------------------------------------------------------------------- */

/* => lru_lock; the page is on a list, and somebody holds it. */
static void isolate(struct avm_cpu *cpu, struct avm_page *page)
{
	unlink_page(cpu, page);
	avm_page_set(page, AVM_PG_ISOLATED);
}

/* Up to n pages from the tail of one CPU's list. */
static uint64_t isolate_some(struct avm *m, struct avm_cpu *cpu, enum avm_lru lru, uint64_t n,
			     struct avm_list *out)
{
	struct avm_list *list = &cpu->lru[lru];
	uint64_t isolated = 0, looks;

	lock(m, cpu);
	looks = cpu->lru_count[lru] < n ? cpu->lru_count[lru] : n;
	while (looks--) {
		struct avm_page *page = avm_list_last(list, struct avm_page, lru);

		/* One without references is being freed, and waits for this lock. */
		if (!avm_page_tryget(page)) {
			avm_list_move(&page->lru, list);
			continue;
		}
		isolate(cpu, page);
		avm_list_add_tail(&page->lru, out);
		isolated++;
	}
	unlock(m, cpu);
	return isolated;
}

static uint64_t count_of(struct avm *m, struct avm_cpu *cpu, enum avm_lru lru)
{
	uint64_t n;

	lock(m, cpu);
	n = cpu->lru_count[lru];
	unlock(m, cpu);
	return n;
}

uint64_t avm_lru_count(struct avm *m, enum avm_lru lru)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < m->config.cpus; i++)
		n += count_of(m, &m->cpus[i], lru);
	return n;
}

/*
 * From each CPU's list as large a part as of any other, so that pages of one age go together: n of all, rounded up; and
 * each time another begins, for what the rounding gives to the first.
 */
static uint64_t isolate_parts(struct avm *m, enum avm_lru lru, uint64_t n, struct avm_list *out)
{
	uint32_t cpus = m->config.cpus, next;
	uint64_t total = avm_lru_count(m, lru), isolated = 0;

	next = atomic_fetch_add_explicit(&m->lru_next, 1, memory_order_relaxed);
	for (uint32_t i = 0; i < cpus && isolated < n; i++) {
		struct avm_cpu *cpu = &m->cpus[(next + i) % cpus];
		uint64_t part = count_of(m, cpu, lru);

		if (part < total)
			part = (part * n + total - 1) / total;
		if (part > n - isolated)
			part = n - isolated;
		if (part)
			isolated += isolate_some(m, cpu, lru, part, out);
	}
	return isolated;
}

uint64_t avm_lru_isolate(struct avm *m, enum avm_lru lru, uint64_t n, struct avm_list *out)
{
	if (AVM_NR_CPUS > 1 && m->config.cpus > 1)
		return isolate_parts(m, lru, n, out);
	return isolate_some(m, &m->cpus[0], lru, n, out);
}

bool avm_lru_isolate_page(struct avm *m, struct avm_page *page)
{
	struct avm_cpu *cpu = lock_page(m, page);
	bool listed;

	listed = avm_page_test(page, AVM_PG_LRU) && avm_page_tryget(page);
	if (listed)
		isolate(cpu, page);
	unlock(m, cpu);
	return listed;
}

void avm_lru_putback(struct avm *m, struct avm_page *page, enum avm_putback where)
{
	struct avm_cpu *cpu = lock_page(m, page);

	AVM_BUG_ON(m, !avm_page_clear(page, AVM_PG_ISOLATED));
	if (where == AVM_PUTBACK_ACTIVE)
		avm_page_set(page, AVM_PG_ACTIVE);
	else if (where == AVM_PUTBACK_INACTIVE)
		avm_page_clear(page, AVM_PG_ACTIVE);
	link_page(cpu, page);
	unlock(m, cpu);
	avm_page_put(m, page);
}
