/* SPDX-License-Identifier: MIT */
/* commit.h - promises of memory (R1.5): how many pages have been promised, and whether one more can be. */
#ifndef AVM_COMMIT_H
#define AVM_COMMIT_H

#include "anonvm/mm.h"
#include "error.h"

/* To a VMA. 0 or -ENOMEM; avm_uncommit cannot fail. => mmap_lock write. */
int avm_commit(struct avm_mm *mm, uint64_t pages);
/* The same, when `given_back` pages are about to be uncommitted in return. */
int avm_commit_instead(struct avm_mm *mm, uint64_t pages, uint64_t given_back);
void avm_uncommit(struct avm_mm *mm, uint64_t pages);
/* A promise that has been there all along: no limit is asked. */
void avm_recommit(struct avm_mm *mm, uint64_t pages);

/* Can a promise be refused? Where not, one may be made as avm_recommit() does. */
static inline bool avm_commit_refuses(const struct avm *m)
{
	return !AVM_FAST || m->config.commit != AVM_COMMIT_OFF;
}

/* To shared anonymous memory, which belongs to no address space. Under any lock. */
int avm_commit_shared(struct avm *m, uint64_t pages, uint64_t given_back);
void avm_uncommit_shared(struct avm *m, uint64_t pages);

uint64_t avm_commit_limit(struct avm *m);

/* Would promises be broken if there were so many pages (of frames or swap) less? */
bool avm_commit_needs(struct avm *m, uint64_t pages);

#endif
