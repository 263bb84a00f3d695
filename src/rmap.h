/* SPDX-License-Identifier: MIT */
/*
 * rmap.h - from a page to every (VMA, address, entry) that maps it (R7), and the counts that go with mapping.
 */
#ifndef AVM_RMAP_H
#define AVM_RMAP_H

#include "anonvm/mm.h"
#include "anonvm/page.h"
#include "page.h"
#include "pgtable.h"

/* Does a walk from the page come to this address of the VMA? (V20, at the moment of mapping; gallery 10) */
bool avm_rmap_placed(const struct avm_page *page, const struct avm_vma *vma, avm_addr_t addr);

/*
 * Returns what the word was. Release: whoever sees the count risen sees the mapping that was set before (R6, gallery 10;
 * G-A).
 */
AVM_ONE_STEP uint32_t avm_rmap_raise(struct avm_page *page)
{
	return atomic_fetch_add_explicit(&page->mapcount, 1, memory_order_release);
}

/*
 * An entry that maps the page is about to be written: mapcount rises. An anonymous one has been placed (avm_family_place)
 * before. The caller holds the page, and goes on to: the entry gets a reference of its own, or the first that which all
 * entries of an anonymous page have together (R5.7). => table lock of the entry; page locked.
 */
void avm_rmap_add(struct avm_page *page, struct avm_vma *vma, avm_addr_t addr);

/*
 * The same for an anonymous page that nobody but the caller knows: not a count to be raised, but the first (G-A); and his
 * reference becomes that of the entries. The page is exclusive.
 */
static inline void avm_rmap_add_new(struct avm_page *page, struct avm_vma *vma, avm_addr_t addr)
{
	AVM_ASSERT(vma->mm->machine, !avm_page_mapped(page) && avm_rmap_placed(page, vma, addr));
	(void)vma, (void)addr;
	avm_page_set_exclusive(page);
}

/*
 * The same at fork, for a page that the parent maps: ends its being exclusive (R5.6). Where it is that, one entry maps it,
 * the lock of which is held, and nobody else changes the count: no atomic operation, which would be half of what fork takes
 * for a page. Release, too (G-A). => table locks of both entries.
 */
static inline void avm_rmap_share_anon(struct avm_page *page)
{
	if (avm_page_is_exclusive(page))
		avm_page_end_exclusive(page, 2);
	else
		avm_rmap_raise(page);
}

/* The same for a page-cache page: the entry has a reference of its own, the caller's. */
AVM_ONE_STEP void avm_rmap_add_file(struct avm_page *page, struct avm_vma *vma)
{
	AVM_ASSERT(vma->mm->machine, !avm_page_is_anon(page));
	(void)vma;
	avm_rmap_raise(page);
}

/*
 * R13.4: pages of locked VMAs are unevictable. This one comes to map the page, or (`maps` false) maps it no longer. => table
 * lock.
 */
void avm_rmap_mark_locked(struct avm_vma *vma, struct avm_page *page, bool maps);

static inline void avm_rmap_locked(struct avm_vma *vma, struct avm_page *page, bool maps)
{
	if (!AVM_FAST || avm_unlikely(vma->flags & AVM_VM_LOCKED))
		avm_rmap_mark_locked(vma, page, maps);
}

/* Which rss counter of the mm a page counts in. */
enum avm_rss avm_page_rss(const struct avm_page *page);

/*
 * R5.4: page locked, anonymous, mapped at addr by `vma`: is that its only user? Takes the page over if so: mapping to
 * vma's own anon_vma, exclusive. False: somebody else may see it. => the lock of the table with the entry.
 */
bool avm_rmap_take_over(struct avm_page *page, struct avm_vma *vma, avm_addr_t addr);

/*
 * One reverse walk. begin locks the family (or the file) for read; next stops at each entry that maps the page,
 * with its table locked, and unlocks the one before; end unlocks everything, also after a partial walk.
 *
 *	if (avm_rmap_begin(&w, m, page, AVM_RESOLVE_WAIT) == 0) {
 *		while (avm_rmap_next(&w))
 *			... w.vma, w.c.addr, avm_ptc_get(&w.c) ...
 *		avm_rmap_end(&w);
 *	}
 * A merged page (R15) is walked family by family, each locked in turn: next() may sleep, and a place that is of two of
 * them is met twice.
 *
 * => the page is locked and held (ageing may walk without the lock). Nothing that sleeps inside.
 */
struct avm_rmap_walk {
	struct avm *machine;
	struct avm_page *page;
	bool moving; /* stops at the entries that stand for the page while it is being moved (R16) */
	struct avm_vma *vma;
	struct avm_ptc c; /* stands on the entry; its table is locked iff `locked` */
	bool locked;
	int mode; /* enum avm_resolve_mode */
	struct avm_anon_vma *anon_vma; /* locked; one of the two is set, but behind the last item */
	struct avm_file *file;
	const struct avm_merged_item *item; /* of a merged page */
	void *position; /* node of the tree, to go on from */
	uint64_t index;
	uint32_t expected; /* mappings there were at the start: enough seen, enough walked */
	uint32_t visited, mapped;
};

/* 0; -ENOENT: nobody to ask; -EBUSY (AVM_RESOLVE_TRY). */
int avm_rmap_begin(struct avm_rmap_walk *w, struct avm *m, struct avm_page *page, int mode);
/*
 * The same for the migration entries of the page's frame, of which there may be any number, and none. The page is not
 * mapped: where it was is asked of `like`, which may be the page that takes its place. `pin` is the anon_vma,
 * referenced since the page was mapped (gallery 11); NULL: a page of a file, or a merged one, whose items hold theirs.
 */
void avm_rmap_begin_moving(struct avm_rmap_walk *w, struct avm *m, struct avm_page *page,
			   struct avm_page *like, struct avm_anon_vma *pin);
bool avm_rmap_next(struct avm_rmap_walk *w);
void avm_rmap_end(struct avm_rmap_walk *w);

/*
 * Tells second MMUs that the entry the walk stands on is about to change, and that it has. They may sleep: the table
 * is unlocked meanwhile. False: the entry does not map the page any more; the table is locked all the same.
 */
bool avm_rmap_tell(struct avm_rmap_walk *w);
void avm_rmap_told(struct avm_rmap_walk *w); /* the table is not locked any more */

/* Tests and clears young in every entry; returns how many were. *vm_flags: OR of the VMAs' flags. (R11.1) */
unsigned avm_rmap_referenced(struct avm *m, struct avm_page *page, uint64_t *vm_flags);

/* Write-protects and cleans every entry of a shared file page before writeback; true when one was dirty. */
bool avm_rmap_mkclean(struct avm *m, struct avm_page *page);

#endif
