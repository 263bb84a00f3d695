/* SPDX-License-Identifier: MIT */
/*
 * memory.h - memory under pressure: swap, reclaim, same-page merging, migration, poisoned frames, pins.
 *
 *	swap	  devices of slots; a page that has left every address space comes back through any of them (R10)
 *	reclaim	  which pages go, and how (R11)
 *	merging	  one frame for equal pages (R15)
 *	migration the same page in another frame; compaction; frames that have gone bad; frames that must stay (R16)
 *
 * Everything here works on pages, and finds address spaces through the reverse map. docs/pressure.md has the design.
 */
#ifndef ANONVM_MEMORY_H
#define ANONVM_MEMORY_H

#include "anonvm/machine.h"
#include "anonvm/mm.h"
#include "anonvm/page.h"
#include "anonvm/types.h"

/* ---- swap (R10) ----------------------------------------------------------------------------------- */

/*
 * One slot of a device: what a page of memory fits into. 16 bytes, under the device's lock.
 * `count` (V30): entries that name the slot, in page tables and in the cache of shared anonymous memory, and one for
 * `page`, the page of the swap cache.
 */
struct avm_swap_slot {
	struct avm_page *page; /* swap cache: the page with the slot's content; NULL: none */
	uint32_t count; /* 0: free */
	uint32_t next; /* free: the next free slot */
};

/* A place for pages. Placed by the caller, who may use `context`; the rest is the core's. */
struct avm_swap_device {
	struct avm *machine;
	void *context;
	int32_t priority; /* devices of higher priority are filled first */
	uint32_t number; /* index in machine->swap */
	uint32_t nr_slots;
	_Atomic uint32_t users; /* who reads or writes slots now; removal waits for 0 */
	_Atomic bool closing; /* being removed: no new slot is given out */
	struct avm_spinlock lock; /* leaf: covers what follows */
	struct avm_swap_slot *slots;
	uint32_t first_free; /* AVM_SWAP_NO_SLOT: full */
	_Atomic uint32_t used; /* one more under the lock, one less after it */
};
#define AVM_SWAP_NO_SLOT UINT32_MAX

/*
 * Adds a device of `nr_slots` slots; `slots`, any contents, is the caller's memory until removal. The contents are
 * reached through the port (avm_port_swap_read, _write, _discard), which finds its own data by d->context.
 * Returns 0, -EINVAL (no slots, or UINT32_MAX of them), -ENOSPC (AVM_MAX_SWAP_DEVICES are there), -ENODEV (a port of a
 * tier below 2). Sleeps: no.
 */
int avm_swap_add(struct avm *m, struct avm_swap_device *d, struct avm_swap_slot *slots,
		 uint32_t nr_slots, int32_t priority, void *context);

/*
 * Removes a device: every page on it comes back into memory first, and when memory is short others go to other devices.
 * Returns 0: the struct and the slots are the caller's again. -ENOMEM: not all of it fits elsewhere, or what several
 * address spaces share does not fit into memory at once; -EIO: a slot cannot be read; -EBUSY: somebody holds on to a
 * slot, or is removing the device already; -EINTR; -EINVAL: not there. The device is as usable as before then; what came
 * back stays. Sleeps: yes. Locks held: none.
 */
int avm_swap_remove(struct avm *m, struct avm_swap_device *d);

/* ---- reclaim (R11) --------------------------------------------------------------------------------- */

/*
 * Frees up to n pages, the least recently used first; returns how many it has freed. Pages that are locked, pinned,
 * in use by somebody or, without swap, anonymous stay. Sleeps: yes. Locks held: none that a page of any address space
 * or file could need, that is: none.
 */
uint64_t avm_shrink(struct avm *m, uint64_t n);

/* Frees all that can be freed, recently used or not: what a machine does before it writes itself to disk. */
uint64_t avm_shrink_all(struct avm *m);

/*
 * Frees the page in frame pfn, recently used or not, whoever maps it. 0; -ENOENT: no page there that reclaim knows;
 * -EBUSY: it stays, for one of the reasons of avm_shrink(), or it could not be written. As avm_shrink().
 */
int avm_page_out(struct avm *m, avm_pfn_t pfn);

/*
 * Watermarks (avm_config.low_frames, high_frames): when fewer than low_frames are free, frees pages until high_frames
 * are, or nothing more can be had. Returns how many it has freed. For a thread of the port's that sleeps on
 * machine->pressure (0: none wanted; the core sets it to 1 and wakes when memory runs low). As avm_shrink().
 */
uint64_t avm_balance(struct avm *m);

/* Told to the port when there is no frame even after reclaim (avm_port_oom). */
struct avm_oom {
	struct avm_mm *
		mm; /* who asked; NULL: somebody who reads or writes a file, or makes an address space */
	struct avm_mm *
		largest; /* the one whose end would free most, NULL: none; the figures below are its */
	uint64_t rss[AVM_NR_RSS];
	uint64_t tables;
	uint64_t frames_total, swap_total, swap_free; /* of the machine */
};

/* ---- same-page merging (R15) ------------------------------------------------------------------------- */

/*
 * Looks at the next n pages of VMAs marked MERGEABLE, and gives equal ones one frame. Returns how many pages gave up
 * their frame. If none did: -ENOMEM when there was no memory for what it must remember, -EINTR. Goes round and round: a
 * page is a candidate when it has not changed for one round. A call ends with the round, so UINT64_MAX is all that is
 * left of it. One caller at a time, others wait. Sleeps: yes. Locks held: none.
 */
int64_t avm_ksm_scan(struct avm *m, uint64_t n);

/* ---- migration, compaction, poison (R16) ---------------------------------------------------------------- */

/*
 * Moves the page in frame pfn to another frame. 0; -ENOENT: nothing there that could be moved; -EBUSY: locked, pinned,
 * merged, or somebody else holds it: it is where it was; -ENOMEM: no frame (nothing is reclaimed for it). Who touches
 * the page meanwhile waits. Sleeps: yes. Locks held: none.
 */
int avm_migrate(struct avm *m, avm_pfn_t pfn);

/*
 * Moves what can be moved out of frames [first, first + n). Returns how many frames of the range are free
 * afterwards, or -ENOMEM when no frame outside of it was to be had from the start. Frames of the range that the port
 * offers as a target are kept aside until the end: they are missing meanwhile. As avm_migrate().
 */
int64_t avm_compact(struct avm *m, avm_pfn_t first, uint64_t n);

/*
 * The frame has gone bad: nobody may read it again, and it is not used again: it is the machine's for ever, and the port
 * does not get it back, not even from avm_fini(). A clean page of a file is read anew, one that stands in its swap slot
 * as well; whoever maps any other gets a poisoned entry, and SIGBUS when he touches it; avm_port_poisoned() is told of
 * each. 0; -EBUSY: the frame holds what cannot be taken away (a page table, the zero page, a page that is locked,
 * pinned, merged, or that somebody holds): nothing has changed; -ENOENT: it is free: the port's, who should not hand it
 * out any more; -EINVAL: no such frame; -EEXIST: poisoned already. Sleeps: yes. Locks held: none.
 */
int avm_poison(struct avm *m, avm_pfn_t pfn);

/*
 * Pins n pages from addr (page-aligned), faulting them in for the access: their contents and frames stay until
 * avm_unpin(), whatever happens to the mapping. For writing, copy-on-write is broken first; for reading, a private page
 * becomes exclusive or is copied, so that pin and process go on seeing the same: fork copies it for the child at once.
 * Returns how many are pinned in pages[], fewer than n if one could not be; when not even the first: -EFAULT, -ENOMEM,
 * -EIO, -EINTR, -EINVAL; -EAGAIN: a file asks to come again, or a page that is being moved was not waited for.
 * Bare frames are -EFAULT. A page cut off its file stays with the pin. Sleeps: yes. Locks taken: mmap_lock read.
 */
int64_t avm_pin(struct avm_mm *mm, avm_addr_t addr, uint64_t n, enum avm_access access,
		struct avm_page **pages);

enum avm_unpin_how {
	AVM_UNPIN_CLEAN,
	AVM_UNPIN_DIRTY, /* written through the pin: it is kept, and written back */
};
/* Ends pins, of any address space, gone or not. Sleeps: no. Locks held: any but leaves. */
void avm_unpin(struct avm *m, struct avm_page **pages, uint64_t n, enum avm_unpin_how how);

#endif
