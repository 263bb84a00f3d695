/* SPDX-License-Identifier: MIT */
/*
 * commit.c - promises of memory (commit.h).
 */
#include "commit.h"

#include "error.h"

uint64_t avm_commit_limit(struct avm *m)
{
	uint64_t frames = atomic_load_explicit(&m->frames_total, memory_order_relaxed);

	if (m->config.commit == AVM_COMMIT_OFF)
		return AVM_NO_LIMIT;
	frames += atomic_load_explicit(&m->swap_slots, memory_order_relaxed);
	return frames > m->config.commit_reserve ? frames - m->config.commit_reserve : 0;
}

bool avm_commit_needs(struct avm *m, uint64_t pages)
{
	uint64_t limit = avm_commit_limit(m);

	return m->config.commit == AVM_COMMIT_STRICT &&
	       (limit < pages ||
		atomic_load_explicit(&m->committed, memory_order_relaxed) > limit - pages);
}

int avm_commit_shared(struct avm *m, uint64_t pages, uint64_t given_back)
{
	uint64_t limit = avm_commit_limit(m);
	uint64_t now = atomic_load_explicit(&m->committed, memory_order_relaxed);

	if (!pages)
		return 0;
	do {
		if (pages > given_back && (now > limit || pages - given_back > limit - now))
			return -AVM_ENOMEM;
	} while (!atomic_compare_exchange_weak_explicit(
		&m->committed, &now, now + pages, memory_order_relaxed, memory_order_relaxed));
	return 0;
}

void avm_uncommit_shared(struct avm *m, uint64_t pages)
{
	atomic_fetch_sub_explicit(&m->committed, pages, memory_order_relaxed);
}

int avm_commit_for_all(struct avm_mm *mm, uint64_t pages, uint64_t given_back)
{
	return avm_commit_shared(mm->machine, pages, given_back);
}

void avm_recommit_for_all(struct avm_mm *mm, uint64_t pages)
{
	atomic_fetch_add_explicit(&mm->machine->committed, pages, memory_order_relaxed);
}

int avm_commit(struct avm_mm *mm, uint64_t pages)
{
	return avm_commit_instead(mm, pages, 0);
}

void avm_uncommit(struct avm_mm *mm, uint64_t pages)
{
	avm_recommit(mm, -pages);
}
