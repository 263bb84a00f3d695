/* SPDX-License-Identifier: MIT */
/*
 * anon_vma_fork.c - what the families of several VMAs need at fork, allocated together (anon_vma.h): one lock of each
 * cache for all of them. Where size is asked for anon_vma.c allocates one by one.
 */
#include "anon_vma.h"

#include "slab.h"

#if AVM_FAST

#define AT_ONCE 16u

int avm_avc_pool_fill(struct avm *m, struct avm_avc_pool *pool, uint64_t nr)
{
	uint64_t before = pool->nr;
	void *avcs[AT_ONCE];

	while (nr) {
		uint32_t n = nr < AT_ONCE ? (uint32_t)nr : AT_ONCE;

		if (!avm_cache_alloc_bulk(m, &m->avcs, n, avcs)) {
			while (pool->nr > before)
				avm_cache_free(m, &m->avcs, avm_avc_pool_take(pool));
			return -AVM_ENOMEM;
		}
		nr -= n;
		/* The first is taken first. */
		while (n)
			avm_avc_pool_put(pool, avcs[--n]);
	}
	return 0;
}

#if AVM_FORK_AT_ONCE

bool avm_fork_need_add(struct avm_fork_need *need, const struct avm_vma *parent)
{
	const struct avm_anon_vma *av = avm_vma_anon(parent);
	unsigned own = parent->mm->machine->config.family != AVM_FAMILY_FLAT;
	uint64_t avcs;

	if (!av)
		return true;
	avcs = own + atomic_load_explicit(&parent->chain_len, memory_order_relaxed);
	if (need->avcs && need->avcs + avcs > AVM_FORK_AVCS)
		return false;
	need->anon_vmas += own;
	need->avcs += avcs;
	return true;
}

/* Until there are n. 0, or -ENOMEM and there are as many as before. => n fit */
static int stock_fill(struct avm *m, struct avm_cache *c, struct avm_fork_stock *s, void **objects,
		      uint64_t n)
{
	uint16_t left = s->end - s->next;

	for (unsigned i = 0; i < left; i++)
		objects[i] = objects[s->next + i];
	s->next = 0;
	s->end = left;
	if (n <= left)
		return 0;
	if (!avm_cache_alloc_bulk(m, c, (uint32_t)n - left, objects + left))
		return -AVM_ENOMEM;
	s->end = (uint16_t)n;
	return 0;
}

static void stock_drain(struct avm *m, struct avm_cache *c, struct avm_fork_stock *s,
			void *const *objects)
{
	while (s->next < s->end)
		avm_cache_free(m, c, objects[s->next++]);
}

int avm_fork_reserve_fill(struct avm *m, struct avm_fork_reserve *r,
			  const struct avm_fork_need *need)
{
	bool fit = need->avcs <= AVM_FORK_AVCS;

	AVM_ASSERT(m, need->anon_vmas <= AVM_FORK_BATCH);
	if (!need->avcs)
		return 0;
	if (fit ? stock_fill(m, &m->avcs, &r->avcs, r->avc, need->avcs) :
		  avm_avc_pool_fill(m, &r->pool, need->avcs))
		return -AVM_ENOMEM;
	r->id = atomic_fetch_add_explicit(&m->next_id, need->anon_vmas, memory_order_relaxed);
	return stock_fill(m, &m->anon_vmas, &r->anon_vmas, r->anon_vma, need->anon_vmas);
}

void avm_fork_reserve_prefetch(const struct avm_fork_reserve *r, const struct avm_vma *parent,
			       unsigned i)
{
	const struct avm_anon_vma *av = avm_vma_anon(parent);

	if (!av)
		return;
	/* It may lie in two lines. */
	__builtin_prefetch(av, 1);
	__builtin_prefetch(&av->id, 1);
	__builtin_prefetch(parent->chain.next, 1);
	if (i < r->anon_vmas.end)
		__builtin_prefetch(r->anon_vma[i], 1);
	if (2 * i + 1 < r->avcs.end) {
		__builtin_prefetch(r->avc[2 * i], 1);
		__builtin_prefetch(r->avc[2 * i + 1], 1);
	}
}

void avm_fork_reserve_drain(struct avm *m, struct avm_fork_reserve *r)
{
	stock_drain(m, &m->avcs, &r->avcs, r->avc);
	stock_drain(m, &m->anon_vmas, &r->anon_vmas, r->anon_vma);
	avm_avc_pool_drain(m, &r->pool);
}

void avm_fork_reserve_draw(struct avm_fork_reserve *r, uint32_t n)
{
	struct avm_fork_stock *s = &r->avcs;

	if (avm_unlikely(r->pool.nr))
		return;
	s->next = (uint16_t)(s->next + n);
	for (uint32_t i = 1; i <= n; i++)
		avm_avc_pool_put(&r->pool, r->avc[s->next - i]);
}

void avm_fork_reserve_put_back(struct avm *m, struct avm_fork_reserve *r)
{
	if (!r->pool.nr)
		return;
	AVM_ASSERT(m, r->pool.nr == 1);
	avm_cache_free(m, &m->avcs, avm_avc_pool_take(&r->pool));
}

#endif
#endif
