/* SPDX-License-Identifier: MIT */
/*
 * verify.h - what the files of verify share.
 *
 * Nothing that is looked at is trusted. A pointer is followed only after the cache (or the region)
 * that its object must lie in has said that there is such an object; a list or a tree is followed
 * only as long as each link leads to something that points back, so that no walk goes round in
 * circles: an object that is met twice would have to point back to two. Address spaces and files of
 * the embedder lie in no cache of ours: of those, the machine they name is looked at.
 *
 *	verify.c	 the driver, the report, the lists
 *	verify_object.c	 one record for each object of the caches; V40
 *	verify_vma.c	 V1, V3
 *	verify_tree.c	 interval trees, for V3 and V12
 *	verify_family.c	 V10-V16
 *	verify_merged.c	 merged pages, as far as V15, V16, V20, V22 and V40 go
 *	verify_page.c	 page tables and their entries: V20, V23, V24, V32
 *	verify_frame.c	 frames, LRU lists, reverse walks: V21, V22, V25, V26
 *
 * V41 is checked wherever an object with a lock comes by.
 */
#ifndef AVM_VERIFY_H
#define AVM_VERIFY_H

#include "anon_vma.h"
#include "anonvm/observe.h"
#include "file.h"
#include "merged.h"
#include "page.h"
#include "swap_slot.h"

enum avm_verify_kind {
	AVM_IS_VMA,
	AVM_IS_ANON_VMA,
	AVM_IS_AVC,
	AVM_IS_TREE_NODE,
	AVM_IS_RADIX_NODE,
	AVM_IS_MERGED,
	AVM_IS_MERGED_ITEM,
	AVM_IS_KSM_ITEM,
	AVM_IS_FILE, /* files of the embedder as well, as they are met */
	AVM_NR_KINDS,
};

/* What is known of one object. Levels 2 and 3 only. */
struct avm_record {
	const void *object; /* NULL: a free slot */
	enum avm_verify_kind kind;
	bool broken; /* reported: what hangs on it is not followed */
	uint32_t reached; /* times met where it belongs (anon_vma: by entries of chains) */
	uint32_t in_tree; /* AVC: times met in the tree of its anon_vma */
	/* anon_vma: */
	uint32_t stamp; /* the last chain it was met on */
	uint32_t position; /* ... and where */
	uint32_t active; /* VMAs whose own it is */
	uint32_t children; /* whose tree is not empty, itself not counted */
	uint32_t members; /* of which it is the root, itself not counted */
	uint32_t items; /* of merged pages */
	const struct avm_vma *first; /* the first VMA whose own it is */
};

/* What is known of one frame: a count of the entries that map it, and: */
#define AVM_NOTE_LRU 0x80000000u /* met on an LRU list */
#define AVM_NOTE_CACHED 0x40000000u /* met in the page cache of its file */
#define AVM_NOTE_TABLE 0x20000000u /* met as a page table */
#define AVM_NOTE_LOCKED 0x10000000u /* mapped by a locked VMA */
#define AVM_NOTE_CLEAN 0x08000000u /* mapped by an entry that is not dirty */
#define AVM_NOTE_COUNT 0x07ffffffu

struct avm_notes {
	struct avm_notes *next;
	const struct avm_region *region;
	size_t bytes; /* of this allocation */
	uint32_t of[]; /* by frame */
};

/* What is known of the slots of one swap device. */
struct avm_slot_notes {
	struct avm_slot_notes *next;
	const struct avm_swap_device *device;
	size_t bytes; /* of this allocation */
	uint32_t names[]; /* by slot: entries, and places in page caches, that name it */
};

struct avm_verify {
	struct avm *m;
	struct avm_sink *report; /* NULL: count only */
	struct avm_mm *only; /* NULL: the whole machine */
	enum avm_verify_level level;
	int64_t violations;
	uint64_t accounted; /* pages promised by the VMAs met */
	uint64_t committed; /* and what their address spaces have counted of that themselves */
	struct avm_record *records; /* a hash table; NULL on level 1 */
	uint64_t mask; /* slots - 1 */
	uint64_t nr_records;
	uint32_t stamp; /* chains met so far */
	struct avm_notes *notes; /* level 3 */
	struct avm_slot_notes *slots; /* level 3 */
};

/* ---- verify.c ------------------------------------------------------------------------------- */

/* Where a violation is. Whatever is set is printed; pointers but `raw` must be safe to follow. */
struct avm_where {
	const struct avm_mm *mm;
	const struct avm_vma *vma;
	avm_addr_t addr;
	const struct avm_page *page;
	const struct avm_anon_vma *av;
	const struct avm_file *file;
	const void *raw;
	const char *detail;
};

void avm_verify_say(struct avm_verify *v, unsigned number, const char *what,
		    const struct avm_where *where);

/* A violation unless the two numbers are equal. */
void avm_verify_equal(struct avm_verify *v, unsigned number, const char *what,
		      const struct avm_where *where, uint64_t found, uint64_t expected);

/* V41 */
void avm_verify_spin(struct avm_verify *v, const struct avm_spinlock *lock,
		     const struct avm_where *where);
void avm_verify_rwsem(struct avm_verify *v, const struct avm_rwsem *lock,
		      const struct avm_where *where);

/* A suspicious pointer to a member, as a suspicious pointer to the whole: nothing is followed. */
#define avm_suspect(pointer, type, member) ((type *)((uintptr_t)(pointer)-offsetof(type, member)))

static inline bool avm_misaligned(const void *pointer)
{
	return !pointer || (uintptr_t)pointer % _Alignof(uint64_t);
}

/*
 * NULL first; NULL at the end and where a list is broken (which the level 1 of verify reports
 * once).
 */
struct avm_mm *avm_verify_next_mm(struct avm_verify *v, const struct avm_mm *mm);
struct avm_vma *avm_verify_next_vma(struct avm_verify *v, const struct avm_mm *mm,
				    const struct avm_vma *vma);
struct avm_anon_vma_chain *avm_verify_next_avc(struct avm_verify *v, const struct avm_vma *vma,
					       const struct avm_anon_vma_chain *avc);

/* Scratch memory: cleared, or NULL. `size` is rounded up; *bytes is what to give back. */
void *avm_verify_alloc(struct avm *m, size_t size, size_t *bytes);

/* ---- verify_object.c ------------------------------------------------------------------------ */

/* 0 or -ENOMEM. Reports what is broken in the caches themselves (V40). */
int avm_verify_collect(struct avm_verify *v);
void avm_verify_forget(struct avm_verify *v);

/* Is this an allocated object of this kind? (Files: of the core's own.) */
bool avm_verify_owned(struct avm_verify *v, enum avm_verify_kind kind, const void *object);

/* Its record; NULL when there is none, and on level 1. */
struct avm_record *avm_verify_record(const struct avm_verify *v, enum avm_verify_kind kind,
				     const void *object);

/* Met where it belongs. */
void avm_verify_reach(struct avm_verify *v, enum avm_verify_kind kind, const void *object);

/*
 * A file of the embedder, or of ours, has been met: level 2 and 3 remember it, and whether its tree
 * is in order.
 */
void avm_verify_reach_file(struct avm_verify *v, const struct avm_file *file, bool ok);

/* Objects nobody has reached. */
void avm_verify_unreached(struct avm_verify *v);

/* ---- verify_vma.c --------------------------------------------------------------------------- */

void avm_verify_vmas(struct avm_verify *v, struct avm_mm *mm);

/* May this be followed? Does not report. */
bool avm_verify_file_ok(struct avm_verify *v, const struct avm_file *file);

/* Is this VMA the first in the tree of its file? So each file is looked at once. */
bool avm_verify_first_of_file(struct avm_verify *v, const struct avm_vma *vma);

/* ---- verify_tree.c -------------------------------------------------------------------------- */

/*
 * An interval tree of chain entries (of `owner`, an anon_vma; V12), of VMAs (of `owner`, a file;
 * V3), of merged pages or of what merging remembers (V40): reports, and counts each entry met in its record. Returns the number of nodes; *ok: it may
 * be searched.
 */
uint64_t avm_verify_tree(struct avm_verify *v, const struct avm_itree *tree,
			 enum avm_verify_kind kind, const void *owner, bool *ok);

/* ---- verify_family.c ------------------------------------------------------------------------ */

void avm_verify_families(struct avm_verify *v);

/* Marks the anon_vmas of a chain with a stamp of their own, to be recognised by it. */
uint32_t avm_verify_stamp_chain(struct avm_verify *v, const struct avm_vma *vma);

/* ---- verify_merged.c ------------------------------------------------------------------------ */

/* The items of all merged pages, counted at their anon_vmas; and the trees by hash. */
void avm_verify_merged(struct avm_verify *v);

/* A merged page is met. Reports when its node is not its own; NULL then. */
const struct avm_merged *avm_verify_merged_node(struct avm_verify *v, const struct avm_page *page);

/* Does one of the items lead to this index by an anon_vma that was marked with the stamp? */
bool avm_verify_merged_leads(struct avm_verify *v, const struct avm_merged *node, uint32_t stamp,
			     uint64_t index);

/* ---- verify_page.c -------------------------------------------------------------------------- */

/* V20, V23, V24, V32, and counts the entries of each frame. */
void avm_verify_entries(struct avm_verify *v, struct avm_mm *mm);

/* The entry for an address, through tables that have been met; empty where there is none. */
avm_pte_t avm_verify_pte(struct avm_verify *v, const struct avm_mm *mm, avm_addr_t addr);

/* ---- verify_frame.c ------------------------------------------------------------------------- */

/* Makes the notes, and reports what is wrong with the regions. 0 or -ENOMEM. */
int avm_verify_notes(struct avm_verify *v);
void avm_verify_free_notes(struct avm_verify *v);

/* The notes on a frame, and its descriptor; NULL when it lies in no region. */
uint32_t *avm_verify_note(const struct avm_verify *v, avm_pfn_t pfn, struct avm_page **page);

/* The same for a suspicious pointer to a descriptor. */
uint32_t *avm_verify_note_of(const struct avm_verify *v, const struct avm_page *page);

void avm_verify_frames(struct avm_verify *v);

/* ---- verify_swap.c -------------------------------------------------------------------------- */

/* Makes the notes, and reports what is wrong with the devices themselves. 0 or -ENOMEM. */
int avm_verify_slots(struct avm_verify *v);
void avm_verify_free_slots(struct avm_verify *v);

/* Something names this slot (V30): an entry, or a page cache. */
void avm_verify_slot_named(struct avm_verify *v, avm_swp_t swp, const struct avm_where *where);

/* How often that was said up to now. */
uint32_t avm_verify_slot_names(const struct avm_verify *v, avm_swp_t swp);

/* Is the page in the swap cache? Reports when its slot does not know it (V31). */
bool avm_verify_in_swap(struct avm_verify *v, const struct avm_page *page);

/* V30, V31: when everybody has been asked. */
void avm_verify_devices(struct avm_verify *v);

#endif
