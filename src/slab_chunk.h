/* SPDX-License-Identifier: MIT */
/*
 * slab_chunk.h - what a chunk of a cache looks like, for slab.c and its checker only.
 *
 *	chunk:  | struct avm_slab | uint16_t next[per_slab] | ... | object 0 | object 1 | ... |
 *
 * Objects end where the chunk ends, so they are aligned as the stride is. next[i] of a free object is the index
 * of the next free one; of an allocated one it is ALLOCATED, which makes a double free, and the question whether
 * an object is live, one look. Chunks are also in a search tree by address: a pointer of which nobody knows
 * whether it is one can be asked for without being followed.
 *
 * In debug builds each object is | who allocated, who freed | red zone | object | red zone |.
 */
#ifndef AVM_SLAB_CHUNK_H
#define AVM_SLAB_CHUNK_H

#include <string.h>

#include "interval_tree.h"
#include "slab.h"

#define AVM_SLAB_MAGIC 0x51ab51abu

#define AVM_SLAB_NEXT_NONE 0xffffu
#define AVM_SLAB_NEXT_ALLOCATED 0xfffeu

struct avm_slab {
	struct avm_list link; /* cache->partial, full or empty */
	struct avm_inode node; /* cache->slabs */
	struct avm_deferred deferred;
	struct avm *machine;
	struct avm_cache *cache;
	uint32_t magic;
	uint32_t size; /* of the chunk; the cache may be gone when a grace period ends */
	uint16_t nr_used;
	uint16_t first_free;
	uint16_t next[];
};

static inline uint64_t avm_slab_first(const struct avm_slab *s)
{
	return (uintptr_t)s;
}

static inline uint64_t avm_slab_last(const struct avm_slab *s)
{
	return (uintptr_t)s + s->size - 1;
}

AVM_ITREE_DEFINE(avm_slab_tree, struct avm_slab, node, avm_slab_first, avm_slab_last);

#ifdef AVM_DEBUG

#define AVM_SLAB_REDZONE_BYTES 16

struct avm_slab_guard {
	_Alignas(16) const void *allocated_by; /* return addresses */
	const void *freed_by;
	_Alignas(16) uint8_t redzone[AVM_SLAB_REDZONE_BYTES];
};

#define AVM_SLAB_GUARD_BYTES sizeof(struct avm_slab_guard)

static inline struct avm_slab_guard *avm_slab_guard_of(void *object)
{
	return (struct avm_slab_guard *)object - 1;
}

static inline bool avm_slab_filled_with(const uint8_t *p, size_t n, uint8_t byte)
{
	/* Each as the one before it. */
	return !n || (p[0] == byte && !memcmp(p, p + 1, n - 1));
}

static inline size_t avm_slab_tail_bytes(const struct avm_cache *c)
{
	return c->stride - AVM_SLAB_GUARD_BYTES - c->object_size;
}

/* What is wrong with an object, or NULL. */
static inline const char *avm_slab_guard_fault(const struct avm_cache *c, void *object,
					       bool allocated)
{
	if (!avm_slab_filled_with(avm_slab_guard_of(object)->redzone, AVM_SLAB_REDZONE_BYTES,
				  AVM_SLAB_REDZONE))
		return "red zone below broken";
	if (!avm_slab_filled_with((uint8_t *)object + c->object_size, avm_slab_tail_bytes(c),
				  AVM_SLAB_REDZONE))
		return "red zone above broken";
	if (!allocated && !c->type_stable &&
	    !avm_slab_filled_with(object, c->object_size, AVM_SLAB_POISON))
		return "written to after it was freed";
	return NULL;
}

#else

#define AVM_SLAB_GUARD_BYTES 0

static inline const char *avm_slab_guard_fault(const struct avm_cache *c, void *object,
					       bool allocated)
{
	(void)c;
	(void)object;
	(void)allocated;
	return NULL;
}

#endif

static inline void *avm_slab_object_at(const struct avm_cache *c, struct avm_slab *s,
				       uint32_t index)
{
	return (char *)s + c->slab_size - (size_t)(c->per_slab - index) * c->stride +
	       AVM_SLAB_GUARD_BYTES;
}

/* Index of an object, or per_slab when no object starts at that address. */
static inline uint32_t avm_slab_index_of(const struct avm_cache *c, const struct avm_slab *s,
					 const void *object)
{
	uint32_t bytes = c->per_slab * c->stride;
	uintptr_t first = (uintptr_t)s + c->slab_size - bytes;
	uintptr_t offset = (uintptr_t)object - AVM_SLAB_GUARD_BYTES - first;
	uint32_t index;

	if (offset >= bytes)
		return c->per_slab;
	index = (uint32_t)offset / c->stride; /* 32 bits: half of the time */
	return index * c->stride == offset ? index : c->per_slab;
}

#endif
