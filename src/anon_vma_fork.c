/* SPDX-License-Identifier: MIT */
/*
 * anon_vma_fork.c - what the families of several VMAs need at fork, allocated together (anon_vma.h): one lock of each
 * cache for all of them. Where size is asked for anon_vma.c allocates one by one.
 */
#include "anon_vma.h"

#include "slab.h"

#if AVM_FAST

#define AT_ONCE 16u

static void pool_put(struct avm_avc_pool *pool, struct avm_anon_vma_chain *avc)
{
	avc->same_vma.next = pool->first;
	pool->first = &avc->same_vma;
	pool->nr++;
}

static void pool_free(struct avm *m, struct avm_avc_pool *pool)
{
	struct avm_list *first = pool->first;

	pool->first = first->next;
	pool->nr--;
	avm_cache_free(m, &m->avcs, avm_list_entry(first, struct avm_anon_vma_chain, same_vma));
}

int avm_avc_pool_fill(struct avm *m, struct avm_avc_pool *pool, uint64_t nr)
{
	uint64_t before = pool->nr;
	void *avcs[AT_ONCE];

	while (nr) {
		uint32_t n = nr < AT_ONCE ? (uint32_t)nr : AT_ONCE;

		if (!avm_cache_alloc_bulk(m, &m->avcs, n, avcs)) {
			while (pool->nr > before)
				pool_free(m, pool);
			return -AVM_ENOMEM;
		}
		nr -= n;
		/* The first is taken first. */
		while (n)
			pool_put(pool, avcs[--n]);
	}
	return 0;
}

void avm_fork_need_add(struct avm_fork_need *need, const struct avm_vma *parent)
{
	unsigned own = parent->mm->machine->config.family != AVM_FAMILY_FLAT;

	if (!avm_vma_anon(parent))
		return;
	need->anon_vmas += own;
	need->avcs += own + atomic_load_explicit(&parent->chain_len, memory_order_relaxed);
}

/* Until there are n anon_vmas. 0, or -ENOMEM and there are as many as before. */
static int fill_fresh(struct avm *m, struct avm_fork_reserve *r, unsigned n)
{
	void *fresh[AVM_FORK_BATCH];
	uint64_t id;

	if (n <= r->nr)
		return 0;
	n -= r->nr;
	if (!avm_cache_alloc_bulk(m, &m->anon_vmas, n, fresh))
		return -AVM_ENOMEM;
	id = atomic_fetch_add_explicit(&m->next_id, n, memory_order_relaxed);
	while (n--) {
		avm_anon_vma_set(fresh[n], id + n);
		r->fresh[r->nr++] = fresh[n];
	}
	return 0;
}

int avm_fork_reserve_fill(struct avm *m, struct avm_fork_reserve *r,
			  const struct avm_fork_need *need)
{
	AVM_ASSERT(m, need->anon_vmas <= AVM_FORK_BATCH);
	if (need->avcs > r->avcs.nr && avm_avc_pool_fill(m, &r->avcs, need->avcs - r->avcs.nr))
		return -AVM_ENOMEM;
	return fill_fresh(m, r, need->anon_vmas);
}

void avm_fork_reserve_drain(struct avm *m, struct avm_fork_reserve *r)
{
	while (r->nr)
		avm_anon_vma_put(m, r->fresh[--r->nr]);
	avm_avc_pool_drain(m, &r->avcs);
}

#endif
