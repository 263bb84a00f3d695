/* SPDX-License-Identifier: MIT */
/*
 * file.h - what can be mapped: the page cache of one file, and who maps it (R14).
 *
 * The embedder places `struct avm_file`, one for each file (not for each open), and supplies
 * operations.
 */
#ifndef ANONVM_FILE_H
#define ANONVM_FILE_H

#include "anonvm/mm.h"
#include "anonvm/page.h"
#include "anonvm/types.h"

/* Every operation may be NULL. All may sleep. None is called under a spin lock. */
struct avm_file_ops {
	/*
	 * Fill the frame of `page` (locked, not up to date: nobody uses it yet) with file page
	 * `index`. What is beyond the end of the file is zeroed afterwards. Returns 0; -EIO and
	 * others become SIGBUS; -EAGAIN becomes RETRY (an external pager); -ENOMEM becomes OOM.
	 * NULL: zeroes.
	 */
	int (*read_page)(struct avm_file *f, uint64_t index, struct avm_page *page);

	/*
	 * Write a dirty page (locked) back. Returns 0 or a negative errno: it then stays dirty.
	 * NULL: 0.
	 */
	int (*write_page)(struct avm_file *f, uint64_t index, struct avm_page *page);

	/* Size in bytes. NULL: file->size. Pages wholly beyond it are SIGBUS. */
	uint64_t (*size)(struct avm_file *f);

	/* A shared page is about to become writable (page locked). Nonzero is SIGBUS. NULL: 0. */
	int (*page_mkwrite)(struct avm_file *f, uint64_t index, struct avm_page *page);

	/*
	 * Instead of the page cache: a bare frame for a special mapping (device). -errno is SIGBUS.
	 * A write to a private mapping copies the frame, which must lie in a region then (else
	 * SIGBUS).
	 */
	int (*get_frame)(struct avm_file *f, uint64_t index, avm_pfn_t *pfn);

	/*
	 * The file is being mapped with `vma_flags` (AVM_VM_...): change them, or refuse with a
	 * negative errno. Called before anything has changed.
	 */
	int (*mmap)(struct avm_file *f, uint64_t *vma_flags);

	/* A VMA of this file has come to be (split, fork) or is about to go. With `close`: R2.1. */
	void (*open)(struct avm_vma *vma);
	void (*close)(struct avm_vma *vma);

	/*
	 * The last reference is gone and the page cache empty: the struct is yours again. The mmap_lock of an address
	 * space may be held: munmap and exit drop references.
	 */
	void (*release)(struct avm_file *f);
};

struct avm_file {
	struct avm *machine;
	const struct avm_file_ops *ops;
	void *context;
	uint64_t id; /* for people */
	_Atomic uint64_t size; /* bytes; when ops->size is NULL; changed by truncate and write */
	bool shmem; /* shared anonymous memory: lives in memory and swap, needs no write-back */
	bool owned; /* made by the core (mmap SHARED|ANONYMOUS): freed by it too */

	_Atomic uint32_t refs; /* the embedder's and one for each VMA */
	struct avm_rwsem mmap_lock; /* order 4: covers `mappings` */
	struct avm_itree mappings; /* avm_vma.shared, by file page */
	uint64_t nr_mappings;
	struct avm_spinlock pages_lock; /* leaf: covers pages, nr_pages */
	struct avm_radix pages; /* file page -> struct avm_page, or a swap slot (shmem, R10) */
	uint64_t nr_pages;
	uint64_t nr_swapped; /* slots in `pages` */
	struct avm_list
		swapped; /* machine->swapped_files, from the first slot on; machine->swap_lock */
};

/*
 * Makes a file with one reference, the caller's. `ops` may be NULL: a file of zeroes of `size`
 * bytes. Returns 0, or -EFBIG (size beyond INT64_MAX). Sleeps: no.
 */
int avm_file_init(struct avm *m, struct avm_file *f, const struct avm_file_ops *ops, void *context,
		  uint64_t size);

/* The same for shared anonymous memory (memfd, POSIX shared memory, shmat). */
int avm_memfd(struct avm *m, struct avm_file *f, void *context, uint64_t size);

/*
 * References. The last put writes nothing back: call avm_file_sync() first. It drops the page
 * cache.
 */
void avm_file_get(struct avm_file *f);
void avm_file_put(struct avm_file *f);

/*
 * Sets the size. Pages beyond it leave the cache and every mapping, private copies included; the
 * part of the last page beyond it is zeroed. Returns 0, -EFBIG, or, when that page is in swap and
 * cannot be brought back, -ENOMEM or -EIO, with nothing changed. Sleeps: yes. Locks held: none.
 * Truncating, punching and writing one file are the caller's to serialise, as by the lock of an inode; against
 * faults and mappings they are safe.
 */
int avm_file_truncate(struct avm_file *f, uint64_t size);

/*
 * Punches a hole: pages wholly inside [offset, offset + len) leave the cache and every shared
 * mapping, and read as zeroes (shmem) or are read again; the parts of cached pages at its edges are
 * zeroed. Private copies stay, and so does the size. Returns 0, -EINVAL (len 0), -EFBIG (offset +
 * len beyond INT64_MAX), -ENOMEM, -EIO (a page at an edge is in swap; the hole is not punched).
 * Sleeps: yes. Locks held: none.
 */
int avm_file_punch(struct avm_file *f, uint64_t offset, uint64_t len);

/*
 * Drops clean cached pages [first, first + n) from the cache and all mappings, private copies
 * excepted. Dirty ones stay, and make it -EBUSY in the end; so do all pages of shared anonymous
 * memory. Sleeps: yes. Locks held: none.
 */
int avm_file_invalidate(struct avm_file *f, uint64_t first, uint64_t n);

/*
 * Writes every dirty page back; the first error is returned, all are tried. Sleeps: yes. Locks
 * held: none.
 */
int avm_file_sync(struct avm_file *f);

/*
 * Brings pages [first, first + n) into the cache without mapping them (readahead). Returns how many
 * are cached of them (the end of the file is no error), or a negative errno when not even the first
 * could be.
 */
int64_t avm_file_readahead(struct avm_file *f, uint64_t first, uint64_t n);

/*
 * Reads, writes the file through its page cache, as read(2), write(2) do: bytes, or a negative
 * errno when not even the first could be. Writing makes the file larger, unless it knows its own
 * size (ops->size): -EFBIG.
 */
int64_t avm_file_read(struct avm_file *f, uint64_t offset, void *buf, uint64_t len);
int64_t avm_file_write(struct avm_file *f, uint64_t offset, const void *buf, uint64_t len);

#endif
