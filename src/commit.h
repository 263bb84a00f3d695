/* SPDX-License-Identifier: MIT */
/* commit.h - promises of memory (R1.5): how many pages have been promised, and whether one more can be. */
#ifndef AVM_COMMIT_H
#define AVM_COMMIT_H

#include "anonvm/mm.h"
#include "error.h"

/* Can a promise be refused? Where not, one may be made as avm_recommit() does. */
static inline bool avm_commit_refuses(const struct avm *m)
{
	return !AVM_FAST || m->config.commit != AVM_COMMIT_OFF;
}

/* To shared anonymous memory, which belongs to no address space. Under any lock. */
int avm_commit_shared(struct avm *m, uint64_t pages, uint64_t given_back);
void avm_uncommit_shared(struct avm *m, uint64_t pages);

/*
 * Where nothing is refused nobody has to know the sum, and each address space counts for itself. False: here it is one
 * counter for all. `pages`: modulo 2^64.
 */
static inline bool avm_commit_alone(struct avm_mm *mm, uint64_t pages)
{
	uint64_t now;

	if (!AVM_FAST || mm->machine->config.commit != AVM_COMMIT_OFF)
		return false;
	now = atomic_load_explicit(&mm->committed, memory_order_relaxed);
	atomic_store_explicit(&mm->committed, now + pages, memory_order_relaxed);
	return true;
}

/* Where there is one counter for all. */
int avm_commit_for_all(struct avm_mm *mm, uint64_t pages, uint64_t given_back);
void avm_recommit_for_all(struct avm_mm *mm, uint64_t pages);

/* To a VMA. 0 or -ENOMEM; avm_uncommit cannot fail. => mmap_lock write. */
int avm_commit(struct avm_mm *mm, uint64_t pages);
void avm_uncommit(struct avm_mm *mm, uint64_t pages);

/* The same, when `given_back` pages are about to be uncommitted in return. */
static inline int avm_commit_instead(struct avm_mm *mm, uint64_t pages, uint64_t given_back)
{
	return avm_commit_alone(mm, pages) ? 0 : avm_commit_for_all(mm, pages, given_back);
}

/* A promise that has been there all along: no limit is asked. */
static inline void avm_recommit(struct avm_mm *mm, uint64_t pages)
{
	if (!avm_commit_alone(mm, pages))
		avm_recommit_for_all(mm, pages);
}

uint64_t avm_commit_limit(struct avm *m);

/* Would promises be broken if there were so many pages (of frames or swap) less? */
bool avm_commit_needs(struct avm *m, uint64_t pages);

#endif
