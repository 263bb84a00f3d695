/* SPDX-License-Identifier: MIT */
/*
 * boundaries.h - which VMAs there must be: a model of V2, independent of the core.
 *
 * An address space is a sorted array of VMAs, a VMA has a list of the anon_vmas it may find pages on (its chain) as
 * plain numbers. There are no trees, no counters, no entries of page tables: who is still alive, who is active, how
 * many children there are is counted by looking at all VMAs when a rule asks for it. A merge or a split is stated as
 * what is there afterwards, never as what moves where. So the model is slow and has nothing to get out of step.
 *
 * Each operation applies itself by the rules (R1-R4, R8.1, R9, R13) and foretells its result.
 */
#ifndef TESTS_PROPERTY_BOUNDARIES_H
#define TESTS_PROPERTY_BOUNDARIES_H

#include "anonvm/anonvm.h"

#define PAGE ((avm_addr_t)4096)

/* The anon_vmas of a VMA, own end first; shared by all VMAs that have the same. */
struct bounds_chain {
	unsigned refs;
	unsigned n;
	uint32_t id[];
};

struct bounds_vma {
	avm_addr_t start, end;
	uint64_t flags; /* AVM_VM_... */
	uint64_t pgoff;
	uint32_t file; /* 0: none */
	uint32_t policy, name;
	uint32_t own; /* anon_vma of new pages; 0: unfaulted */
	struct bounds_chain *chain; /* NULL: unfaulted */
};

struct bounds_range {
	avm_addr_t start, end;
};

struct bounds_mm {
	struct bounds *machine;
	struct bounds_mm *next;
	struct bounds_vma *v;
	size_t n, room;
	avm_addr_t lowest, top, base;
	avm_addr_t brk_start, brk;
	struct avm_limits limits;
	uint64_t default_flags;
	struct bounds_range *wrote; /* private pages that the last operation populated for writing */
	size_t nr_wrote, room_wrote;
};

struct bounds_file {
	uint64_t pages; /* up to the end of the file */
	bool owned; /* shared anonymous memory that mmap made */
	bool disk; /* its pages are read from there */
};

struct bounds_config {
	enum avm_family_policy family;
	bool strict;
	uint64_t commit_limit; /* pages; when strict */
	uint32_t max_map_count;
	uint64_t guard; /* bytes */
};

struct bounds {
	struct bounds_config config;
	struct bounds_mm *mms;
	struct bounds_file *files; /* by number; 0 is none */
	uint32_t nr_files;
	uint32_t *parent; /* of each anon_vma, by number; a root's is itself */
	uint32_t nr_anon_vmas;
	bool no_populate; /* nobody knows how far populating came: it is left out */
};

/* What an operation must return, and whether it has done anything (all, or the prescribed part) to the VMAs. */
struct bounds_result {
	int err;
	bool applied;
	bool tight; /* two splits more might be too many: it may refuse, whether it will need them or not (R17) */
};

void bounds_init(struct bounds *b, const struct bounds_config *config);
void bounds_fini(struct bounds *b);
uint32_t bounds_file(struct bounds *b, uint64_t pages, bool disk);

struct bounds_mm *bounds_mm(struct bounds *b, const struct avm_mm_config *layout);
void bounds_mm_free(struct bounds_mm *mm);
/* NULL: a fork must fail with -ENOMEM (R1.5). */
struct bounds_mm *bounds_fork(struct bounds_mm *parent);

/* The VMAs as they are, and back again. */
struct bounds_saved {
	struct bounds_vma *v;
	size_t n;
	avm_addr_t brk;
	uint64_t default_flags;
};
void bounds_save(const struct bounds_mm *mm, struct bounds_saved *saved);
void bounds_restore(struct bounds_mm *mm, const struct bounds_saved *saved);
void bounds_saved_free(struct bounds_saved *saved);

/* First VMA that ends above addr, or NULL; the one addr lies in, or NULL. */
struct bounds_vma *bounds_above(const struct bounds_mm *mm, avm_addr_t addr);
struct bounds_vma *bounds_at(const struct bounds_mm *mm, avm_addr_t addr);

/* ---- operations: arguments as the core's ----------------------------------------------------------- */

struct bounds_result bounds_mmap(struct bounds_mm *mm, const struct avm_mmap *args, uint32_t file,
				 avm_addr_t *out);
struct bounds_result bounds_munmap(struct bounds_mm *mm, avm_addr_t addr, uint64_t len);
struct bounds_result bounds_mprotect(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				     uint32_t prot);
struct bounds_result bounds_mremap(struct bounds_mm *mm, avm_addr_t addr, uint64_t old_len,
				   uint64_t new_len, uint32_t flags, avm_addr_t new_addr,
				   avm_addr_t *out);
struct bounds_result bounds_madvise(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				    enum avm_advice advice);
struct bounds_result bounds_mlock(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				  uint32_t flags);
struct bounds_result bounds_munlock(struct bounds_mm *mm, avm_addr_t addr, uint64_t len);
struct bounds_result bounds_mlockall(struct bounds_mm *mm, uint32_t flags);
struct bounds_result bounds_munlockall(struct bounds_mm *mm);
struct bounds_result bounds_brk(struct bounds_mm *mm, avm_addr_t brk, avm_addr_t *out);
struct bounds_result bounds_insert_pfn(struct bounds_mm *mm, avm_addr_t addr, uint64_t n,
				       uint32_t prot);
struct bounds_result bounds_set_name(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				     uint32_t name);
struct bounds_result bounds_set_policy(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				       uint32_t policy);
struct bounds_result bounds_msync(const struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				  uint32_t flags);
struct bounds_result bounds_mincore(const struct bounds_mm *mm, avm_addr_t addr, uint64_t len);
struct bounds_result bounds_populate(struct bounds_mm *mm, avm_addr_t addr, uint64_t len,
				     enum avm_access access);
/* `files`: the model's number for each segment. */
struct bounds_result bounds_exec(struct bounds_mm *mm, const struct avm_image *image,
				 const uint32_t *files);
void bounds_unmap_all(struct bounds_mm *mm);

/*
 * One access: 0, or the bit of the fault that it must end with. Grows stacks and makes VMAs faulted (R8.1, R4.1),
 * also where it fails in the end.
 */
unsigned bounds_access(struct bounds_mm *mm, avm_addr_t addr, enum avm_access access, bool force);

/*
 * After an operation that failed half-way: VMAs of [start, end) may have become faulted. `whose` says with which
 * anon_vma: 0 none, UINT32_MAX a new one.
 */
void bounds_note_faulted(struct bounds_mm *mm, avm_addr_t start, avm_addr_t end,
			 uint32_t (*whose)(void *context, avm_addr_t addr), void *context);

/* ---- between the files of the model ------------------------------------------------------------------ */

size_t bounds_index(const struct bounds_mm *mm, avm_addr_t addr); /* of bounds_above(), or n */
uint64_t bounds_pgoff(const struct bounds_vma *v, avm_addr_t addr);
bool bounds_is_anon(const struct bounds_vma *v); /* private anonymous memory */
void bounds_cut(struct bounds_mm *mm, avm_addr_t addr); /* makes addr a boundary */
void bounds_remove(struct bounds_mm *mm, avm_addr_t start, avm_addr_t end);
/* Puts a range where nothing is, merging by R2. Takes over v->chain's reference. True when it merged. */
bool bounds_put(struct bounds_mm *mm, const struct bounds_vma *v);

/* The same for the range by which the VMA below grows in place: its attributes, its family. */
void bounds_put_growth(struct bounds_mm *mm, const struct bounds_vma *v);

/* The same for the first pages of the heap: they join nothing. */
void bounds_put_apart(struct bounds_mm *mm, const struct bounds_vma *v);
struct bounds_chain *bounds_chain_get(struct bounds_chain *c);
void bounds_chain_put(struct bounds_chain *c);
void bounds_prepare(struct bounds_mm *mm, size_t i); /* R4.1 */
uint64_t bounds_committed(const struct bounds *b);
bool bounds_may_commit(const struct bounds *b, uint64_t pages, uint64_t given_back);
uint64_t bounds_pages(const struct bounds_mm *mm); /* mapped */
uint64_t bounds_locked_pages(const struct bounds_mm *mm, avm_addr_t start, avm_addr_t end);
bool bounds_may_expand(const struct bounds_mm *mm, uint64_t flags, uint64_t pages,
		       uint64_t given_back);
int bounds_may_lock(const struct bounds_mm *mm, uint64_t pages); /* 0, -EPERM, -EAGAIN */
bool bounds_may_have_data(const struct bounds_mm *mm, uint64_t more); /* RLIMIT_DATA */
uint64_t bounds_accounted(const struct bounds_mm *mm, avm_addr_t start, avm_addr_t end);
bool bounds_accountable(uint64_t flags);
uint64_t bounds_flags_of_prot(uint32_t prot);
bool bounds_place(const struct bounds_mm *mm, avm_addr_t hint, uint64_t len, avm_addr_t *out);
/* Pages of locked memory come in; false when `stop` and one could not. */
int bounds_populate_locked(struct bounds_mm *mm, avm_addr_t start, avm_addr_t end, bool stop);
void *bounds_grow_array(void *v, size_t n, size_t *room, size_t size);
struct bounds_result bounds_failed(int err);
struct bounds_result bounds_done(int err);

#endif
