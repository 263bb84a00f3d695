/* SPDX-License-Identifier: MIT */
/*
 * pgtable.h - the one way to a page-table entry: the cursor.
 *
 * A cursor stands on an entry of a leaf table. Code walks a range table by table:
 *
 *	struct avm_ptc c;
 *
 *	for (bool more = avm_ptc_begin(&c, mm, start, end); more; more = avm_ptc_next(&c))
 *		... avm_ptc_get(&c), avm_ptc_set(&c, pte) ...
 *
 * which locks each in turn, or, where more is to be done for each table than to look at its entries,
 *
 *	for (bool more = avm_ptc_first(&c, mm, start, end); more; more = avm_ptc_next_table(&c)) {
 *		avm_ptc_lock(&c);
 *		for (; c.addr < c.stop; avm_ptc_step(&c))
 *			...
 *		avm_ptc_unlock(&c);
 *	}
 *
 * Every table is a frame with a descriptor (AVM_PG_TABLE): `mapping` its address space, `index` the first
 * address it covers, `u.table.level`, `u.table.used`, `table_lock`. Sharing a leaf table between address
 * spaces (a door to keep open) would be decided in avm_ptc_make() and avm_ptc_lock() alone.
 *
 * Tables are freed only by avm_tables_free(), with mmap_lock held for write, or at exit; a walker that holds
 * neither mmap_lock nor a lock of a tree the VMA is in has no business in them.
 */
#ifndef AVM_PGTABLE_H
#define AVM_PGTABLE_H

#include "anonvm/mm.h"
#include "avm_arch.h"
#include "error.h"
#include "lock.h"

/* Inline where speed is asked for; at -Os pgtable.c has the only copy. */
#ifdef __OPTIMIZE_SIZE__
#define AVM_PTC_FN
#else
#define AVM_PTC_FN static inline
#endif

struct avm_ptc {
	struct avm_mm *mm;
	avm_addr_t addr; /* of the entry the cursor stands on */
	avm_addr_t stop; /* end of this table's part of the range */
	avm_addr_t end; /* end of the range */
	struct avm_page *table; /* the leaf table */
	avm_pte_t *pte; /* its entry for addr */
};

/*
 * To the entry for addr, making tables as needed. 0 or -ENOMEM (tables made on the way stay; they are empty).
 * => mmap_lock held, any mode; no file, family or spin lock held. Sleeps.
 */
int avm_ptc_make(struct avm_ptc *c, struct avm_mm *mm, avm_addr_t addr);

/* Makes every leaf table that [start, end) needs. As above. */
int avm_tables_make(struct avm_mm *mm, avm_addr_t start, avm_addr_t end);

/* To the entry for addr; false when there is no leaf table. Range is that one page. */
bool avm_ptc_at(struct avm_ptc *c, struct avm_mm *mm, avm_addr_t addr);

/* To the first entry at or above start that has a leaf table; false when none below end. */
bool avm_ptc_first(struct avm_ptc *c, struct avm_mm *mm, avm_addr_t start, avm_addr_t end);

/* To the next leaf table of the range; false when there is none. The table lock is not held. */
bool avm_ptc_next_table(struct avm_ptc *c);

/* The place in its table of the entry that the cursor stands on. */
static inline unsigned avm_ptc_index(const struct avm_ptc *c)
{
	return (unsigned)(c->addr >> AVM_PAGE_SHIFT) & (AVM_TABLE_ENTRIES - 1);
}

/* To start, if that is in the table where the cursor is; false: it is not. Locks stay as they are. */
static inline bool avm_ptc_goto(struct avm_ptc *c, avm_addr_t start, avm_addr_t end)
{
	const uint64_t span = AVM_PAGE_SIZE << AVM_TABLE_SHIFT;
	avm_addr_t last = start | (span - 1);

	if ((c->addr | (span - 1)) != last)
		return false;
	c->pte += (int64_t)(start - c->addr) >> AVM_PAGE_SHIFT;
	c->addr = start;
	c->end = end;
	c->stop = last < end - 1 ? last + 1 : end;
	return true;
}

inline void avm_ptc_lock(struct avm_ptc *c) AVM_UNCHECKED;
inline void avm_ptc_lock(struct avm_ptc *c)
{
	avm_spin_lock(c->mm->machine, &c->table->table_lock, AVM_LOCK_TABLE);
}

/* The lock, if the entry is still `seen`. False, without it: it is not. */
AVM_PTC_FN bool avm_ptc_lock_seen(struct avm_ptc *c, avm_pte_t seen);

inline void avm_ptc_unlock(struct avm_ptc *c) AVM_UNCHECKED;
inline void avm_ptc_unlock(struct avm_ptc *c)
{
	avm_spin_unlock(c->mm->machine, &c->table->table_lock, AVM_LOCK_TABLE);
}

/*
 * Entry by entry: to the first one of [start, end) that has a leaf table, to the next. Their table is locked; after
 * false, which is the end, none is.
 */
bool avm_ptc_begin(struct avm_ptc *c, struct avm_mm *mm, avm_addr_t start, avm_addr_t end);
AVM_PTC_FN bool avm_ptc_next(struct avm_ptc *c);

/* From the locked table to the next one, which is locked then; false when there is none. */
bool avm_ptc_next_locked(struct avm_ptc *c);

/* Two tables at once (fork, mremap): lower address of the lock first; the same table once. */
void avm_ptc_lock_two(struct avm_ptc *a, struct avm_ptc *b) AVM_UNCHECKED;
void avm_ptc_unlock_two(struct avm_ptc *a, struct avm_ptc *b);

static inline void avm_ptc_step(struct avm_ptc *c)
{
	c->addr += AVM_PAGE_SIZE;
	c->pte++;
}

static inline avm_pte_t avm_ptc_get(const struct avm_ptc *c)
{
	return avm_arch_pte_load(c->pte);
}

/* For who looks without the lock: what was in the page when the entry was set is there now (G-X). */
static inline avm_pte_t avm_ptc_get_acquire(const struct avm_ptc *c)
{
	avm_pte_t pte = avm_ptc_get(c);

	atomic_thread_fence(memory_order_acquire);
	return pte;
}

/* The page that an entry maps; NULL: it maps none, or a bare frame. */
struct avm_page *avm_pte_page(const struct avm *m, avm_pte_t pte);
struct avm_page *avm_ptc_page(const struct avm_ptc *c);

/* Does the entry map this page? */
static inline bool avm_pte_maps(avm_pte_t pte, const struct avm_page *page)
{
	return avm_pte_present(pte) && !avm_pte_special(pte) && avm_pte_pfn(pte) == page->pfn;
}

/* What the VMA's entry for a page is at first: present, young, clean, write-protected. */
AVM_PTC_FN avm_pte_t avm_pte_for(const struct avm_page *page, const struct avm_vma *vma);

/* => table lock held. Keeps the count of used entries. Flushes nothing (R12 is the caller's). */
AVM_PTC_FN void avm_ptc_set(struct avm_ptc *c, avm_pte_t pte);

/* => table lock held. Empties the entry and returns what stood there, with the MMU's last bits. */
AVM_PTC_FN avm_pte_t avm_ptc_clear(struct avm_ptc *c);

/*
 * The same, and no MMU has the translation any more: the last bits are the last, and nothing is stored through it before
 * the entry is filled again (R12).
 */
avm_pte_t avm_ptc_revoke(struct avm_ptc *c);

/*
 * For loops over a whole table: the entry i places above the cursor. avm_ptc_take() empties one that is to be filled
 * again by avm_ptc_change(), which puts another in place of one that is not empty; avm_ptc_fill() fills an empty one,
 * and avm_ptc_filled() counts what a loop has filled. => table lock held.
 */
static inline avm_pte_t avm_ptc_get_at(const struct avm_ptc *c, uint64_t i)
{
	return avm_arch_pte_load(c->pte + i);
}

AVM_ONE_STEP avm_pte_t avm_ptc_take(struct avm_ptc *c, uint64_t i)
{
	return avm_arch_pte_clear(c->mm, c->addr + (i << AVM_PAGE_SHIFT), c->pte + i);
}

AVM_ONE_STEP void avm_ptc_change(struct avm_ptc *c, uint64_t i, avm_pte_t pte)
{
	avm_arch_pte_store(c->mm, c->addr + (i << AVM_PAGE_SHIFT), c->pte + i, pte);
}

/*
 * The entry becomes old. The MMU sets bits beside us: it is empty between the look and the store, or a dirty bit could be
 * lost, and with it what was written. => table lock held; the entry is present.
 */
static inline void avm_ptc_mkold(struct avm_ptc *c)
{
	avm_ptc_change(c, 0, avm_pte_mkold(avm_ptc_take(c, 0)));
}

static inline void avm_ptc_fill(struct avm_ptc *c, uint64_t i, avm_pte_t pte)
{
	AVM_ASSERT(c->mm->machine, avm_pte_empty(avm_ptc_get_at(c, i)));
	avm_ptc_change(c, i, pte);
}

static inline void avm_ptc_filled(struct avm_ptc *c, uint32_t n)
{
	c->table->u.table.used += n;
}

/*
 * Root table: made with the address space, freed with it. avm_pgtable_fini() needs every leaf gone.
 */
int avm_pgtable_init(struct avm_mm *mm);
void avm_pgtable_fini(struct avm_mm *mm);

struct avm_gather;

/*
 * Unlinks the tables whose whole span lies within [floor, ceiling) and touches [start, end), and hands them to
 * the gather, which frees them after its flush. All their entries must be empty. floor: end of the VMA below
 * (or 0); ceiling: start of the VMA above (or the end of the address space).
 * => mmap_lock write. Cannot fail; allocates nothing.
 */
void avm_tables_free(struct avm_gather *g, avm_addr_t start, avm_addr_t end, avm_addr_t floor,
		     avm_addr_t ceiling);

#ifndef __OPTIMIZE_SIZE__
#include "pgtable_entry.h"
#endif

#endif
