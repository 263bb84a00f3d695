/* SPDX-License-Identifier: MIT */
/*
 * vma_pool.c - VMA objects, and pools of all that a change of the set needs: got before, so that it cannot fail.
 */
#include "error.h"
#include "mm.h"
#include "slab.h"
#include "vma.h"

/* Tree nodes for so many insertions stay with the set, which the next operation need not allocate then. */
#define KEPT_INSERTS 2

/*
 * Everything but `remembered`, which is 0 in what is free, what the tree of a file sets when the VMA enters it, and
 * `write_seq` and `readers`, which a fault that found the VMA under RCU before it was recycled may still look at: those two
 * are only ever changed by the lock's own operations.
 */
static void vma_set(struct avm_vma *vma, struct avm_mm *mm, const struct avm_range *r)
{
	vma->start = r->start;
	vma->end = r->end;
	vma->flags = r->flags;
	vma->pgoff = r->pgoff;
	vma->mm = mm;
	atomic_store_explicit(&vma->anon_vma, NULL, memory_order_relaxed);
	avm_list_init(&vma->chain);
	vma->file = r->file;
	if (AVM_FAST)
		vma->shared.parent_bits = 0; /* in no tree: nobody asks for the rest */
	else
		vma->shared = (struct avm_inode){ 0 };
	vma->private_data = r->private_data;
	vma->policy = r->policy;
	vma->name = r->name;
	atomic_store_explicit(&vma->chain_len, 0, memory_order_relaxed);
}

/*
 * Most operations that need a VMA come soon after one that gave one up: so two stay with the address space, out of
 * reach of the lock of all. Also those are type-stable: who finds one under RCU asks it whose it is.
 */
static struct avm_vma *vma_take(struct avm_mm *mm)
{
	uint32_t nr = AVM_FAST ? atomic_load_explicit(&mm->nr_spare, memory_order_relaxed) : 0;

	if (!nr)
		return avm_cache_alloc(mm->machine, &mm->machine->vmas);
#ifdef AVM_PORT_FAIL
	if (AVM_PORT_FAIL(mm->machine))
		return NULL;
#endif
	atomic_store_explicit(&mm->nr_spare, --nr, memory_order_relaxed);
	return mm->spare[nr];
}

void avm_vma_free(struct avm_mm *mm, struct avm_vma *vma)
{
	uint32_t nr = atomic_load_explicit(&mm->nr_spare, memory_order_relaxed);

	avm_vma_forget(mm, vma);
	if (!AVM_FAST || nr == AVM_SPARE_VMAS) {
		avm_cache_free(mm->machine, &mm->machine->vmas, vma);
		return;
	}
	mm->spare[nr] = vma;
	atomic_store_explicit(&mm->nr_spare, nr + 1, memory_order_relaxed);
}

void avm_vma_free_spares(struct avm_mm *mm)
{
	uint32_t nr = atomic_load_explicit(&mm->nr_spare, memory_order_relaxed);

	atomic_store_explicit(&mm->nr_spare, 0, memory_order_relaxed);
	while (AVM_FAST && nr)
		avm_cache_free(mm->machine, &mm->machine->vmas, mm->spare[--nr]);
}

struct avm_vma *avm_vma_alloc(struct avm_mm *mm, const struct avm_range *r)
{
	struct avm_vma *vma = vma_take(mm);

	if (vma)
		vma_set(vma, mm, r);
	return vma;
}

static avm_small struct avm_vma *pool_take(struct avm_pool *pool)
{
	struct avm_list *first = pool->vmas;

	pool->vmas = first->next;
	pool->nr_vmas--;
	return avm_list_entry(first, struct avm_vma, link);
}

struct avm_vma *avm_pool_take(struct avm_pool *pool, const struct avm_range *r)
{
	struct avm_vma *vma;

	AVM_BUG_ON(pool->mm->machine, !pool->nr_vmas);
	vma = pool_take(pool);
	vma_set(vma, pool->mm, r);
	return vma;
}

/* Frees VMAs of the pool until `keep` are left. */
static avm_small void pool_trim_vmas(struct avm_pool *pool, unsigned keep)
{
	while (pool->nr_vmas > keep)
		avm_vma_free(pool->mm, pool_take(pool));
}

int avm_pool_fill(struct avm_pool *pool, unsigned vmas, uint64_t avcs)
{
	struct avm_mm *mm = pool->mm;
	unsigned before = pool->nr_vmas;

	if (AVM_FAST && !vmas && !avcs)
		return 0;
	for (unsigned i = 0; i < vmas; i++) {
		struct avm_vma *vma = vma_take(mm);

		if (!vma)
			goto fail;
		vma->link.next = pool->vmas;
		pool->vmas = &vma->link;
		pool->nr_vmas++;
	}
	if (vmas && avm_vma_tree_reserve(&mm->vmas, pool->nr_vmas))
		goto fail;
	if (avcs && avm_avc_pool_fill(mm->machine, &pool->avcs, avcs))
		goto fail;
	return 0;
fail:
	pool_trim_vmas(pool, before);
	return -AVM_ENOMEM;
}

void avm_pool_drain(struct avm_pool *pool)
{
	struct avm_mm *mm = pool->mm;

	pool_trim_vmas(pool, 0);
	if (!AVM_FAST || pool->avcs.nr)
		avm_avc_pool_drain(mm->machine, &pool->avcs);
	avm_vma_tree_keep(&mm->vmas, KEPT_INSERTS);
}

#if AVM_FAST

/* What `vma` has of `of`, wherever it is. */
static avm_inlined void set_as(struct avm_vma *vma, struct avm_mm *mm, const struct avm_vma *of)
{
	vma->mm = mm;
	atomic_store_explicit(&vma->anon_vma, NULL, memory_order_relaxed);
	avm_list_init(&vma->chain);
	vma->file = of->file;
	vma->private_data = of->private_data;
	vma->policy = of->policy;
	vma->name = of->name;
	atomic_store_explicit(&vma->chain_len, 0, memory_order_relaxed);
	vma->shared.parent_bits = 0;
}

void avm_vma_make_copy(struct avm_vma *vma, struct avm_mm *mm, const struct avm_vma *of,
		       uint64_t without)
{
	vma->start = of->start;
	vma->end = of->end;
	vma->flags = of->flags & ~without;
	vma->pgoff = of->pgoff;
	set_as(vma, mm, of);
}

struct avm_vma *avm_vma_alloc_part(const struct avm_vma *of, avm_addr_t start, avm_addr_t end)
{
	struct avm_vma *vma = vma_take(of->mm);

	if (!vma)
		return NULL;
	vma->start = start;
	vma->end = end;
	vma->flags = of->flags;
	vma->pgoff = avm_vma_index(of, start);
	set_as(vma, of->mm, of);
	return vma;
}

#endif
