/* SPDX-License-Identifier: MIT */
/*
 * slab.c - caches of objects of one size (slab.h).
 *
 *	chunk:  | struct slab | uint16_t next[per_slab] | ... | object 0 | object 1 | ... |
 *
 * Objects end where the chunk ends, so they are aligned as the stride is. next[i] of a free object
 * is the index of the next free one; of an allocated one it is ALLOCATED, which makes a double
 * free, and the question whether an object is live, one look. Chunks are also in a search tree by
 * address: a pointer of which nobody knows whether it is one can be asked for without being
 * followed.
 *
 * In debug builds each object is | who allocated, who freed | red zone | object | red zone |.
 */
#include "slab.h"

#include <string.h>

#include "error.h"
#include "interval_tree.h"
#include "list.h"
#include "lock.h"

#define SLAB_MAGIC 0x51ab51abu
#define SLAB_MIN_OBJECTS 8
#define CACHE_LINE 64u

#define NEXT_NONE 0xffffu
#define NEXT_ALLOCATED 0xfffeu

struct slab {
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

static uint64_t slab_first(const struct slab *s)
{
	return (uintptr_t)s;
}

static uint64_t slab_last(const struct slab *s)
{
	return (uintptr_t)s + s->size - 1;
}

AVM_ITREE_DEFINE(slab_tree, struct slab, node, slab_first, slab_last);

#ifdef AVM_DEBUG

#define REDZONE 16

struct guard {
	_Alignas(16) const void *allocated_by; /* return addresses */
	const void *freed_by;
	_Alignas(16) uint8_t redzone[REDZONE];
};

#define GUARD_BYTES sizeof(struct guard)
#define OBJECT_ALIGN 16u
#define CALLER() __builtin_return_address(0)

static struct guard *guard_of(void *object)
{
	return (struct guard *)object - 1;
}

static bool filled_with(const uint8_t *p, size_t n, uint8_t byte)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != byte)
			return false;
	}
	return true;
}

static size_t tail_bytes(const struct avm_cache *c)
{
	return c->stride - GUARD_BYTES - c->object_size;
}

static void guard_init(struct avm_cache *c, void *object)
{
	struct guard *g = guard_of(object);

	g->allocated_by = NULL;
	g->freed_by = NULL;
	memset(g->redzone, AVM_SLAB_REDZONE, REDZONE);
	memset((uint8_t *)object + c->object_size, AVM_SLAB_REDZONE, tail_bytes(c));
}

static void guard_poison(struct avm_cache *c, void *object)
{
	if (!c->type_stable)
		memset(object, AVM_SLAB_POISON, c->object_size);
}

/* What is wrong with an object, or NULL. */
static const char *guard_fault(const struct avm_cache *c, void *object, bool allocated)
{
	if (!filled_with(guard_of(object)->redzone, REDZONE, AVM_SLAB_REDZONE))
		return "red zone below broken";
	if (!filled_with((uint8_t *)object + c->object_size, tail_bytes(c), AVM_SLAB_REDZONE))
		return "red zone above broken";
	if (!allocated && !c->type_stable && !filled_with(object, c->object_size, AVM_SLAB_POISON))
		return "written to after it was freed";
	return NULL;
}

static void guard_alloc(struct avm *m, struct avm_cache *c, void *object, const void *caller)
{
	const char *fault = guard_fault(c, object, false);

	if (fault)
		avm_port_panic(m, fault);
	guard_of(object)->allocated_by = caller;
}

static void guard_free(struct avm *m, struct avm_cache *c, void *object, const void *caller)
{
	const char *fault = guard_fault(c, object, true);

	if (fault)
		avm_port_panic(m, fault);
	guard_of(object)->freed_by = caller;
	guard_poison(c, object);
}

static uint32_t stride_of(size_t object_size)
{
	size_t bytes = GUARD_BYTES + object_size + REDZONE / 2;

	return (uint32_t)((bytes + OBJECT_ALIGN - 1) & ~(size_t)(OBJECT_ALIGN - 1));
}

#else

#define GUARD_BYTES 0
#define CALLER() NULL

static void guard_init(struct avm_cache *c, void *object)
{
	(void)c;
	(void)object;
}

static void guard_poison(struct avm_cache *c, void *object)
{
	(void)c;
	(void)object;
}

static const char *guard_fault(const struct avm_cache *c, void *object, bool allocated)
{
	(void)c;
	(void)object;
	(void)allocated;
	return NULL;
}

static void guard_alloc(struct avm *m, struct avm_cache *c, void *object, const void *caller)
{
	(void)m;
	(void)c;
	(void)object;
	(void)caller;
}

static void guard_free(struct avm *m, struct avm_cache *c, void *object, const void *caller)
{
	guard_alloc(m, c, object, caller);
}

static uint32_t stride_of(size_t object_size)
{
	size_t align = object_size >= CACHE_LINE ? CACHE_LINE : _Alignof(max_align_t);

	return (uint32_t)((object_size + align - 1) & ~(align - 1));
}

#endif

void avm_cache_init(struct avm_cache *c, const char *name, size_t object_size,
		    enum avm_cache_kind kind, void (*ctor)(void *object))
{
	uint32_t size = AVM_META_MIN / 2;
	uint32_t per_slab;

	memset(c, 0, sizeof(*c));
	c->name = name;
	c->object_size = (uint32_t)object_size;
	c->stride = stride_of(object_size);
	c->type_stable = kind == AVM_CACHE_TYPE_STABLE;
	c->ctor = ctor;
	do {
		size *= 2;
		per_slab = (size - (uint32_t)sizeof(struct slab)) /
			   (c->stride + (uint32_t)sizeof(uint16_t));
	} while (per_slab < SLAB_MIN_OBJECTS);
	c->slab_size = size;
	c->per_slab = per_slab;
	avm_list_init(&c->partial);
	avm_list_init(&c->full);
	avm_list_init(&c->empty);
}

/* ---- objects of a chunk ---------------------------------------------------------------------- */

static void *object_at(const struct avm_cache *c, struct slab *s, uint32_t index)
{
	return (char *)s + c->slab_size - (size_t)(c->per_slab - index) * c->stride + GUARD_BYTES;
}

/* The chunk an object of this cache lies in. pre: it is one. */
static struct slab *slab_of(const struct avm_cache *c, const void *object)
{
	return (struct slab *)((uintptr_t)object & ~((uintptr_t)c->slab_size - 1));
}

/* Index of an object, or per_slab when no object starts at that address. */
static uint32_t index_of(const struct avm_cache *c, const struct slab *s, const void *object)
{
	uintptr_t first = (uintptr_t)s + c->slab_size - (size_t)c->per_slab * c->stride;
	uintptr_t offset = (uintptr_t)object - GUARD_BYTES - first;

	if (offset % c->stride || offset / c->stride >= c->per_slab)
		return c->per_slab;
	return (uint32_t)(offset / c->stride);
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static void meta_taken(struct avm *m, uint64_t size)
{
	uint64_t now = atomic_fetch_add_explicit(&m->meta_bytes, size, memory_order_relaxed) + size;
	uint64_t peak = atomic_load_explicit(&m->meta_bytes_peak, memory_order_relaxed);

	while (peak < now &&
	       !atomic_compare_exchange_weak_explicit(&m->meta_bytes_peak, &peak, now,
						      memory_order_relaxed, memory_order_relaxed))
		;
}

static struct slab *slab_new(struct avm *m, struct avm_cache *c)
{
	struct slab *s = avm_port_meta_alloc(m, c->slab_size);

	if (!s)
		return NULL;
	meta_taken(m, c->slab_size);
	memset(s, 0, sizeof(*s));
	s->machine = m;
	s->cache = c;
	s->magic = SLAB_MAGIC;
	s->size = c->slab_size;
	s->first_free = 0;
	for (uint32_t i = 0; i < c->per_slab; i++) {
		void *object = object_at(c, s, i);

		s->next[i] = (uint16_t)(i + 1 < c->per_slab ? i + 1 : NEXT_NONE);
		guard_init(c, object);
		guard_poison(c, object);
		if (c->ctor)
			c->ctor(object);
	}
	return s;
}

static void slab_release(struct avm_deferred *d)
{
	struct slab *s = avm_container_of(d, struct slab, deferred);
	struct avm *m = s->machine;
	uint32_t size = s->size;

	s->magic = 0;
	atomic_fetch_sub_explicit(&m->meta_bytes, size, memory_order_relaxed);
	avm_port_meta_free(m, s, size);
}

/* => off all lists and the tree. */
static void slab_give_back(struct avm *m, struct avm_cache *c, struct slab *s)
{
	s->deferred.call = slab_release;
	if (c->type_stable)
		avm_rcu_defer(m, &s->deferred);
	else
		slab_release(&s->deferred);
}

/* => cache lock. */
static void slab_forget(struct avm_cache *c, struct slab *s)
{
	avm_list_del(&s->link);
	slab_tree_remove(&c->slabs, s);
	c->nr_slabs--;
	c->nr_empty--;
}

bool avm_cache_fini(struct avm *m, struct avm_cache *c)
{
	if (c->nr_objects)
		return false;
	for (;;) {
		struct slab *s;

		avm_spin_lock(m, &c->lock, AVM_LOCK_LEAF);
		s = avm_list_first_or_null(&c->empty, struct slab, link);
		if (s)
			slab_forget(c, s);
		avm_spin_unlock(m, &c->lock, AVM_LOCK_LEAF);
		if (!s)
			return true;
		slab_give_back(m, c, s);
	}
}

/* ---- alloc and free -------------------------------------------------------------------------- */

/* => cache lock. A chunk with a free object, off the empty list, or NULL. */
static struct slab *slab_usable(struct avm_cache *c)
{
	struct slab *s = avm_list_first_or_null(&c->partial, struct slab, link);

	if (s)
		return s;
	s = avm_list_first_or_null(&c->empty, struct slab, link);
	if (s) {
		avm_list_move(&s->link, &c->partial);
		c->nr_empty--;
	}
	return s;
}

/* => cache lock. */
static void *slab_take(struct avm_cache *c, struct slab *s)
{
	uint32_t index = s->first_free;

	s->first_free = s->next[index];
	s->next[index] = NEXT_ALLOCATED;
	if (++s->nr_used == c->per_slab)
		avm_list_move(&s->link, &c->full);
	if (++c->nr_objects > c->peak_objects)
		c->peak_objects = c->nr_objects;
	return object_at(c, s, index);
}

void *avm_cache_alloc(struct avm *m, struct avm_cache *c)
{
	struct slab *s;
	void *object;

	avm_might_reclaim(m);
#ifdef AVM_PORT_FAIL
	if (AVM_PORT_FAIL(m))
		return NULL;
#endif
	avm_spin_lock(m, &c->lock, AVM_LOCK_LEAF);
	s = slab_usable(c);
	if (!s) {
		avm_spin_unlock(m, &c->lock, AVM_LOCK_LEAF);
		s = slab_new(m, c);
		if (!s)
			return NULL;
		avm_spin_lock(m, &c->lock, AVM_LOCK_LEAF);
		avm_list_add(&s->link, &c->partial);
		slab_tree_insert(&c->slabs, s);
		c->nr_slabs++;
	}
	object = slab_take(c, s);
	avm_spin_unlock(m, &c->lock, AVM_LOCK_LEAF);
	guard_alloc(m, c, object, CALLER());
	return object;
}

/* => cache lock. The object is free; returns a chunk to be given back, or NULL. */
static struct slab *slab_put(struct avm_cache *c, struct slab *s, uint32_t index)
{
	s->next[index] = s->first_free;
	s->first_free = (uint16_t)index;
	c->nr_objects--;
	if (--s->nr_used) {
		/* Behind the others: the fuller chunks are at the front and fill up first. */
		if (s->nr_used == c->per_slab - 1)
			avm_list_move(&s->link, &c->partial);
		return NULL;
	}
	avm_list_move(&s->link, &c->empty);
	if (++c->nr_empty < 2)
		return NULL;
	slab_forget(c, s);
	return s;
}

void avm_cache_free(struct avm *m, struct avm_cache *c, void *object)
{
	struct slab *s = slab_of(c, object);
	struct slab *gone;
	uint32_t index;

	AVM_BUG_ON(m, s->magic != SLAB_MAGIC || s->cache != c);
	index = index_of(c, s, object);
	AVM_BUG_ON(m, index == c->per_slab);
	avm_spin_lock(m, &c->lock, AVM_LOCK_LEAF);
	AVM_BUG_ON(m, s->next[index] != NEXT_ALLOCATED);
	guard_free(m, c, object, CALLER());
	gone = slab_put(c, s, index);
	avm_spin_unlock(m, &c->lock, AVM_LOCK_LEAF);
	if (gone)
		slab_give_back(m, c, gone);
}

/* ---- checks ---------------------------------------------------------------------------------- */

/* Follows nothing but the tree of chunks. */
static struct slab *slab_find(const struct avm_cache *c, const void *p)
{
	return slab_tree_iter_first(&c->slabs, (uintptr_t)p, (uintptr_t)p);
}

bool avm_cache_owns(struct avm *m, struct avm_cache *c, const void *object)
{
	struct slab *s = object ? slab_find(c, object) : NULL;
	uint32_t index;

	(void)m;
	if (!s)
		return false;
	index = index_of(c, s, object);
	return index < c->per_slab && s->next[index] == NEXT_ALLOCATED;
}

/* The free list of a chunk: as long as it should be, and no index twice (each step uses up one). */
static const char *free_list_fault(const struct avm_cache *c, const struct slab *s)
{
	uint32_t left = c->per_slab - s->nr_used;
	uint32_t i = s->first_free;

	if (s->magic != SLAB_MAGIC || s->cache != c || s->size != c->slab_size)
		return "header of a slab overwritten";
	if (s->nr_used > c->per_slab)
		return "more objects in a slab than fit";
	while (i != NEXT_NONE) {
		if (i >= c->per_slab || !left)
			return "free list of a slab broken";
		left--;
		i = s->next[i];
	}
	return left ? "free list of a slab too short" : NULL;
}

static uint32_t check_slab(struct avm_cache *c, struct slab *s, struct avm_cache_check *k)
{
	const char *fault = free_list_fault(c, s);
	uint32_t used = 0;

	if (fault) {
		k->broken(k, s, fault);
		return 0;
	}
	for (uint32_t i = 0; i < c->per_slab; i++) {
		void *object = object_at(c, s, i);
		bool allocated = s->next[i] == NEXT_ALLOCATED;

		fault = guard_fault(c, object, allocated);
		if (fault)
			k->broken(k, object, fault);
		if (!allocated)
			continue;
		used++;
		if (k->each)
			k->each(k, object);
	}
	if (used != s->nr_used)
		k->broken(k, s, "count of a slab wrong");
	return used;
}

/* Entries of one list of chunks; each link is looked up in the tree before it is followed. */
static uint64_t check_list(struct avm_cache *c, const struct avm_list *head,
			   struct avm_cache_check *k)
{
	const struct avm_list *prev = head;
	uint64_t n = 0;

	while (prev->next != head) {
		const struct avm_list *link = prev->next;
		struct slab *s = slab_find(c, link);

		if (!s || &s->link != link || link->prev != prev || n++ == c->nr_slabs) {
			k->broken(k, link, "list of slabs broken");
			break;
		}
		prev = link;
	}
	return n;
}

void avm_cache_check(struct avm *m, struct avm_cache *c, struct avm_cache_check *k)
{
	const char *fault = slab_tree_check(&c->slabs, c->nr_slabs);
	uint64_t slabs = 0;
	uint64_t used = 0;
	uint64_t listed;

	(void)m;
	if (fault) {
		k->broken(k, c, fault);
		return;
	}
	listed = check_list(c, &c->partial, k) + check_list(c, &c->full, k) +
		 check_list(c, &c->empty, k);
	for (struct slab *s = slab_tree_iter_first(&c->slabs, 0, UINT64_MAX); s;
	     s = slab_tree_iter_next(s, 0, UINT64_MAX)) {
		used += check_slab(c, s, k);
		slabs++;
	}
	if (slabs != c->nr_slabs || listed != slabs)
		k->broken(k, c, "number of slabs wrong");
	if (used != c->nr_objects)
		k->broken(k, c, "number of objects wrong");
}
