/* SPDX-License-Identifier: MIT */
/*
 * file.h - the page cache and the mappings of a file, for the rows above (R14).
 */
#ifndef AVM_FILE_INTERNAL_H
#define AVM_FILE_INTERNAL_H

#include "anonvm/file.h"
#include "avm_arch.h"
#include "avm_port.h"
#include "interval_tree.h"

static inline uint64_t avm_shared_first(const struct avm_vma *vma)
{
	return vma->pgoff;
}

static inline uint64_t avm_shared_last(const struct avm_vma *vma)
{
	return vma->pgoff + ((vma->end - vma->start) >> AVM_PAGE_SHIFT) - 1;
}

/* file->mappings: VMAs by file page. */
AVM_ITREE_DEFINE(avm_mappings, struct avm_vma, shared, avm_shared_first, avm_shared_last);

/* file->mmap_lock, for write: waits are not given up here. Nothing for no file. */
void avm_mappings_lock(struct avm_file *f);
void avm_mappings_unlock(struct avm_file *f);

/* The same for read, of a file there is. */
void avm_mappings_lock_read(struct avm_file *f);
void avm_mappings_unlock_read(struct avm_file *f);

/* Size in bytes, now. */
uint64_t avm_file_size(struct avm_file *f);

/* Pages that a file of `size` bytes has. */
static inline uint64_t avm_file_nr_pages(uint64_t size)
{
	return (size >> AVM_PAGE_SHIFT) + !!(size & ~AVM_PAGE_MASK);
}

/*
 * The cached page, with a reference, or NULL. It may be on its way in or out: lock it, and look at
 * its mapping.
 */
struct avm_page *avm_file_find(struct avm_file *f, uint64_t index);

/* The first cached page in [*index, last], likewise, or slot of one (avm_cache_is_slot()), with *index set to its index. */
void *avm_file_next(struct avm_file *f, uint64_t *index, uint64_t last);

#define AVM_FILE_MAX_BYTES ((uint64_t)INT64_MAX)

enum avm_get_how {
	AVM_GET_READ, /* a page of the file: -EFAULT beyond its end */
	AVM_GET_WRITE_PART, /* the file may be about to grow to hold it */
	AVM_GET_WRITE_WHOLE, /* every byte is about to be written: do not read */
};

/*
 * The page, cached, up to date, locked and held: found, or allocated and read. 0; 1 when it had to
 * be read (major); -ENOMEM, -EAGAIN, -EINTR, or the file's error; -EFAULT beyond the end of the file.
 * Sleeps.
 */
int avm_file_get_page(struct avm_file *f, uint64_t index, enum avm_get_how how,
		      struct avm_page **out);

/* Gives it back: unlocks the page and drops the reference. */
void avm_file_done_page(struct avm_file *f, struct avm_page *page);

/*
 * Takes a page out of the cache; its mapping is NULL then. => page locked, held by the caller, not
 * mapped.
 */
void avm_file_remove_page(struct avm_file *f, struct avm_page *page);

/*
 * Takes a page out of the cache if nobody holds it but the cache and the caller. False: somebody does. => page locked,
 * not mapped, clean.
 */
bool avm_file_evict_page(struct avm_file *f, struct avm_page *page);

/*
 * Puts `to` in the cache in the place of `from`, if nobody holds that but the cache and the caller. False: somebody
 * does. => both locked; `to` has the mapping and index of `from`, whose mapping stays for the caller to clear.
 */
bool avm_file_replace_page(struct avm_file *f, struct avm_page *from, struct avm_page *to);

/* Zeroes bytes [from, to) of a page. => page locked. */
void avm_file_clear_bytes(struct avm *m, struct avm_page *page, size_t from, size_t to);

/*
 * The same for what lies beyond `size` in the page that holds the end; nothing for other pages. =>
 * page locked.
 */
void avm_file_clear_tail(struct avm_file *f, struct avm_page *page, uint64_t size);

/*
 * The page at an index, held, if there is one; from swap if it is there. It stays in the cache as long as it is held,
 * unless the file is truncated. 0 with *out, NULL where there is none; or an error of avm_file_swap_in(). Sleeps.
 */
int avm_file_try_cached(struct avm_file *f, uint64_t index, struct avm_page **out);
/* The same, again when frames were short (R8.7). Locks held: none. */
int avm_file_hold_cached(struct avm_file *f, uint64_t index, struct avm_page **out);

/* Zeroes bytes of a page if there is one, and makes it dirty. 0, or as above. Sleeps. */
int avm_file_clear_cached(struct avm_file *f, uint64_t index, size_t from, size_t to);

/* One more reference, not from zero. */
bool avm_file_tryget(struct avm_file *f);

struct avm_radix_spares;
void avm_file_drain_spares(struct avm *m, struct avm_radix_spares *spares);

/* ---- shared anonymous memory in swap (file_swap.c) --------------------------------------------- */

/* What the cache holds in the place of a page: the slot with its content. */
static inline bool avm_cache_is_slot(const void *item)
{
	return AVM_PORT_TIER >= 2 && ((uintptr_t)item & 1);
}

static inline avm_swp_t avm_cache_slot(const void *item)
{
	return (uintptr_t)item >> 1;
}

#if AVM_PORT_TIER >= 2

/*
 * Moves a page from the cache of its file to the swap cache: the file has the slot from now on. False: no slot is free.
 * => page locked, not mapped, shared anonymous memory's.
 */
bool avm_file_swap_out(struct avm_file *f, struct avm_page *page);

/*
 * The other way: the page of a slot, cached by the file again, locked and held. 0; 1: it was read; -EAGAIN: the file has
 * something else there by now; -ENOMEM, -EIO, -EINTR. Sleeps.
 */
int avm_file_swap_in(struct avm_file *f, uint64_t index, avm_swp_t swp, struct avm_page **out);

void avm_file_unlist(struct avm_file *f); /* it is ending: nobody looks for slots in it any more */

/* Gives up the slots of pages [first, last]. */
void avm_file_drop_slots(struct avm_file *f, uint64_t first, uint64_t last);

/* Brings back every page of shared anonymous memory that is on the device. 0 or an error of swap_in. Sleeps. */
int avm_file_unswap(struct avm *m, const struct avm_swap_device *d);

#else

static inline bool avm_file_swap_out(struct avm_file *f, struct avm_page *page)
{
	(void)f;
	(void)page;
	return false;
}

static inline int avm_file_swap_in(struct avm_file *f, uint64_t index, avm_swp_t swp,
				   struct avm_page **out)
{
	(void)f;
	(void)index;
	(void)swp;
	(void)out;
	return -AVM_EIO;
}

static inline void avm_file_unlist(struct avm_file *f)
{
	(void)f;
}

static inline void avm_file_drop_slots(struct avm_file *f, uint64_t first, uint64_t last)
{
	(void)f;
	(void)first;
	(void)last;
}

#endif

/* Gives bare frames, not pages of a cache. */
static inline bool avm_file_is_device(const struct avm_file *f)
{
	return f->ops && f->ops->get_frame;
}

/*
 * Can a mapping have these pages of the file? Files end at INT64_MAX bytes. Devices have offsets of
 * their own.
 */
static inline bool avm_file_has_pages(const struct avm_file *f, uint64_t pgoff, uint64_t pages)
{
	uint64_t last = avm_file_is_device(f) ? UINT64_MAX : INT64_MAX >> AVM_PAGE_SHIFT;

	return pages <= last && pgoff <= last - pages;
}

/*
 * A file of shared anonymous memory, made and owned by the core; NULL: no memory. (mmap
 * SHARED|ANONYMOUS)
 */
struct avm_file *avm_file_new_shmem(struct avm *m, uint64_t size);

#endif
