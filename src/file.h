/* SPDX-License-Identifier: MIT */
/*
 * file.h - the page cache and the mappings of a file, for the rows above (R14).
 */
#ifndef AVM_FILE_INTERNAL_H
#define AVM_FILE_INTERNAL_H

#include "anonvm/file.h"
#include "avm_arch.h"
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

/* The first cached page in [*index, last], likewise, with *index set to its index. */
struct avm_page *avm_file_next(struct avm_file *f, uint64_t *index, uint64_t last);

/*
 * The page, cached, up to date, locked and held: found, or allocated and read. 0; 1 when it had to
 * be read (major); -ENOMEM, -EAGAIN, or the file's error; -EFAULT beyond the end of the file.
 * Sleeps.
 */
int avm_file_get_page(struct avm_file *f, uint64_t index, struct avm_page **out);

/*
 * Takes a page out of the cache; its mapping is NULL then. => page locked, held by the caller, not
 * mapped.
 */
void avm_file_remove_page(struct avm_file *f, struct avm_page *page);

/* Zeroes bytes [from, to) of a page. => page locked. */
void avm_file_clear_bytes(struct avm *m, struct avm_page *page, size_t from, size_t to);

/*
 * The same for what lies beyond `size` in the page that holds the end; nothing for other pages. =>
 * page locked.
 */
void avm_file_clear_tail(struct avm_file *f, struct avm_page *page, uint64_t size);

/* Zeroes bytes of a page if it is in the cache, and makes it dirty. Sleeps. */
void avm_file_clear_cached(struct avm_file *f, uint64_t index, size_t from, size_t to);

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
