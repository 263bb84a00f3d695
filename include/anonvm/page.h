/* SPDX-License-Identifier: MIT */
/*
 * page.h - the descriptor of one frame.
 *
 * 64 bytes, one for each frame of a region. The embedder supplies the array (avm_add_frames), so that it
 * decides where it lies; everything in it belongs to the core.
 */
#ifndef ANONVM_PAGE_H
#define ANONVM_PAGE_H

#include "anonvm/types.h"

enum avm_page_flag {
	AVM_PG_LOCKED = 1 << 0, /* the page lock; order 3 of docs/locking.md */
	AVM_PG_WAITERS = 1 << 1, /* somebody sleeps on the page lock */
	AVM_PG_INUSE = 1 << 2, /* the frame is allocated; clear in a free frame */
	AVM_PG_DIRTY = 1 << 4, /* differs from what stands behind it */
	AVM_PG_UPTODATE = 1 << 5, /* a page-cache page that has been read */
	AVM_PG_LRU = 1 << 6, /* on one of the LRU lists */
	AVM_PG_ACTIVE = 1 << 7, /* ... the active one of its kind */
	AVM_PG_REFERENCED = 1 << 8, /* used once since it was last looked at */
	AVM_PG_UNEVICTABLE = 1 << 9, /* mapped by a locked VMA, or never to be reclaimed */
	AVM_PG_SHMEM = 1 << 10, /* page cache of shared anonymous memory */
	AVM_PG_TABLE = 1 << 11, /* a page table */
	AVM_PG_ZERO = 1 << 12, /* the zero page */
	AVM_PG_ISOLATED = 1 << 13, /* taken off the LRU by somebody who will put it back */
	AVM_PG_SWAPCACHE = 1 << 14, /* in the swap cache: u.swap names the slot; page lock */
	AVM_PG_LAZYFREE = 1 << 15, /* MADV_FREE: content may go while no entry is dirty */
	AVM_PG_POISONED = 1 << 16, /* the frame has gone bad; never free again */
	AVM_PG_SWAPBACKED = 1 << 17, /* ages with anonymous memory; set before others reach it */
};

/* Above the flags: on whose LRU lists it is, if on any: the CPU that allocated it (its id modulo 256). */
#define AVM_PG_CPU_SHIFT 24
#define AVM_PG_FLAGS ((1u << AVM_PG_CPU_SHIFT) - 1)

/* Low bits of page->mapping (R5.1): ANON alone: an anon_vma; both: a merged page; a file's page has neither. */
#define AVM_MAPPING_ANON 1ul
#define AVM_MAPPING_MERGED 2ul
#define AVM_MAPPING_FLAGS (AVM_MAPPING_ANON | AVM_MAPPING_MERGED)

/* In page->mapcount: how many entries map the page; and R5.6: one, and only its process can see this anonymous page. */
#define AVM_MAPCOUNT_EXCLUSIVE (1u << 31)
#define AVM_MAPCOUNT (AVM_MAPCOUNT_EXCLUSIVE - 1)

/*
 * =>  refcount: page cache + swap cache + pins + whoever holds the page for a moment, and mappings: one for each entry that
 *     maps a page of a file; all entries of an anonymous page hold one together, which the first brings and the last drops.
 * =>  mapcount: PTEs that map the page (V21). It rises under the lock of that PTE's table, and falls when no translation by
 *     that PTE is left (R5.7). The only one to map an exclusive page is the only one to change it: a plain store will do.
 * =>  mapping, index: set before the page is visible to others, or under the page lock; mapping is cleared
 *     only when the page is freed (R5.5), so it may be trusted only while the page is mapped or locked.
 */
struct avm_page {
	_Atomic uint32_t flags; /* enum avm_page_flag */
	union {
		struct avm_spinlock table_lock; /* page table: covers its entries */
		_Atomic uint32_t
			pins; /* else: avm_pin() (R16); each holds a reference; table lock to raise */
	};
	union {
		struct {
			_Atomic uint32_t refcount;
			_Atomic uint32_t mapcount; /* and AVM_MAPCOUNT_EXCLUSIVE */
		};
		_Atomic uint64_t counts; /* both in one step: avm_page_leave() alone */
	};
	_Atomic uintptr_t mapping; /* anon_vma or file, tagged; page table: its address space */
	_Atomic uint64_t index; /* R1.2; file page number; page table: first address it covers */
	struct avm_list lru; /* LRU list, or the list of whoever isolated it */
	union {
		uint64_t swap; /* the swap entry of a page in the swap cache */
		struct { /* page table */
			uint32_t level; /* 0: its entries map pages */
			uint32_t used; /* entries that are not empty; under table_lock */
		} table;
	} u;
	avm_pfn_t pfn;
};

#endif
