/* SPDX-License-Identifier: MIT */
/*
 * slab.c - caches of objects of one size (slab.h). slab_chunk.h draws the chunks.
 */
#include "slab_chunk.h"

#include <string.h>

#include "error.h"
#include "lock.h"

#define MIN_OBJECTS 8
#define DEBUG_ALIGN 16u

#ifdef AVM_DEBUG

#define GUARDED 1
#define CALLER() __builtin_return_address(0)

static void guard_init(struct avm_cache *c, void *object)
{
	struct avm_slab_guard *g = avm_slab_guard_of(object);

	g->allocated_by = NULL;
	g->freed_by = NULL;
	memset(g->redzone, AVM_SLAB_REDZONE, AVM_SLAB_REDZONE_BYTES);
	memset((uint8_t *)object + c->object_size, AVM_SLAB_REDZONE, avm_slab_tail_bytes(c));
}

static void guard_poison(struct avm_cache *c, void *object)
{
	if (!c->type_stable)
		memset(object, AVM_SLAB_POISON, c->object_size);
}

static void guard_alloc(struct avm *m, struct avm_cache *c, void *object, const void *caller)
{
	const char *fault = avm_slab_guard_fault(c, object, false);

	if (fault)
		avm_port_panic(m, fault);
	avm_slab_guard_of(object)->allocated_by = caller;
}

static void guard_free(struct avm *m, struct avm_cache *c, void *object, const void *caller)
{
	const char *fault = avm_slab_guard_fault(c, object, true);

	if (fault)
		avm_port_panic(m, fault);
	avm_slab_guard_of(object)->freed_by = caller;
	guard_poison(c, object);
}

static uint32_t stride_of(size_t object_size)
{
	size_t bytes = AVM_SLAB_GUARD_BYTES + object_size + AVM_SLAB_REDZONE_BYTES / 2;

	return (uint32_t)((bytes + DEBUG_ALIGN - 1) & ~(size_t)(DEBUG_ALIGN - 1));
}

#else

#define GUARDED 0
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
	size_t align = object_size >= AVM_CACHE_LINE ? AVM_CACHE_LINE : _Alignof(max_align_t);

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
		per_slab = (size - (uint32_t)sizeof(struct avm_slab)) /
			   (c->stride + (uint32_t)sizeof(uint16_t));
	} while (per_slab < MIN_OBJECTS);
	c->slab_size = size;
	c->per_slab = per_slab;
	avm_list_init(&c->partial);
	avm_list_init(&c->full);
	avm_list_init(&c->empty);
}

/* ---- objects of a chunk ---------------------------------------------------------------------- */

/* The chunk an object of this cache lies in. pre: it is one. */
static struct avm_slab *slab_of(const struct avm_cache *c, const void *object)
{
	return (struct avm_slab *)((uintptr_t)object & ~((uintptr_t)c->slab_size - 1));
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

static struct avm_slab *slab_new(struct avm *m, struct avm_cache *c)
{
	struct avm_slab *s = avm_port_meta_alloc(m, c->slab_size);

	if (!s)
		return NULL;
	meta_taken(m, c->slab_size);
	memset(s, 0, sizeof(*s));
	s->machine = m;
	s->cache = c;
	s->magic = AVM_SLAB_MAGIC;
	s->size = c->slab_size;
	s->first_free = 0;
	for (uint32_t i = 0; i < c->per_slab; i++) {
		void *object;

		s->next[i] = (uint16_t)(i + 1 < c->per_slab ? i + 1 : AVM_SLAB_NEXT_NONE);
		if (AVM_FAST && !GUARDED && !c->ctor)
			continue;
		object = avm_slab_object_at(c, s, i);
		guard_init(c, object);
		guard_poison(c, object);
		if (c->ctor)
			c->ctor(object);
	}
	return s;
}

static void slab_release(struct avm_deferred *d)
{
	struct avm_slab *s = avm_container_of(d, struct avm_slab, deferred);
	struct avm *m = s->machine;
	uint32_t size = s->size;

	s->magic = 0;
	atomic_fetch_sub_explicit(&m->meta_bytes, size, memory_order_relaxed);
	avm_port_meta_free(m, s, size);
}

/* => off all lists and the tree. */
static avm_noinline void slab_give_back(struct avm *m, struct avm_cache *c, struct avm_slab *s)
{
	s->deferred.call = slab_release;
	if (c->type_stable)
		avm_rcu_defer(m, &s->deferred);
	else
		slab_release(&s->deferred);
}

/* All of these under the cache's lock; slab_put() returns a chunk to be given back, or NULL. */
static void slab_forget(struct avm_cache *c, struct avm_slab *s) AVM_NEEDS(c->lock);
static struct avm_slab *slab_usable(struct avm_cache *c) AVM_NEEDS(c->lock);
static void slab_add(struct avm_cache *c, struct avm_slab *s) AVM_NEEDS(c->lock);
static void *slab_take(struct avm_cache *c, struct avm_slab *s) AVM_NEEDS(c->lock);
#if AVM_FAST
static uint32_t slab_take_some(struct avm_cache *c, struct avm_slab *s, uint32_t n, void **objects)
	AVM_NEEDS(c->lock);
#endif
static struct avm_slab *slab_put(struct avm_cache *c, struct avm_slab *s, uint32_t index)
	AVM_NEEDS(c->lock);

static void slab_forget(struct avm_cache *c, struct avm_slab *s)
{
	avm_list_del(&s->link);
	avm_slab_tree_remove(&c->slabs, s);
	c->nr_slabs--;
	c->nr_empty--;
}

bool avm_cache_fini(struct avm *m, struct avm_cache *c)
{
	if (c->nr_objects)
		return false;
	for (;;) {
		struct avm_slab *s;

		avm_spin_lock(m, &c->lock, AVM_LOCK_LEAF);
		s = avm_list_first_or_null(&c->empty, struct avm_slab, link);
		if (s)
			slab_forget(c, s);
		avm_spin_unlock(m, &c->lock, AVM_LOCK_LEAF);
		if (!s)
			return true;
		slab_give_back(m, c, s);
	}
}

/* ---- alloc and free -------------------------------------------------------------------------- */

/* A chunk with a free object, off the empty list, or NULL. */
static struct avm_slab *slab_usable(struct avm_cache *c)
{
	struct avm_slab *s = avm_list_first_or_null(&c->partial, struct avm_slab, link);

	if (s)
		return s;
	s = avm_list_first_or_null(&c->empty, struct avm_slab, link);
	if (s) {
		avm_list_move(&s->link, &c->partial);
		c->nr_empty--;
	}
	return s;
}

/* A new chunk. */
static void slab_add(struct avm_cache *c, struct avm_slab *s)
{
	avm_list_add(&s->link, &c->partial);
	avm_slab_tree_insert(&c->slabs, s);
	c->nr_slabs++;
}

static void *slab_take(struct avm_cache *c, struct avm_slab *s)
{
	uint32_t index = s->first_free;

	s->first_free = s->next[index];
	s->next[index] = AVM_SLAB_NEXT_ALLOCATED;
	if (++s->nr_used == c->per_slab)
		avm_list_move(&s->link, &c->full);
	if (++c->nr_objects > c->peak_objects)
		c->peak_objects = c->nr_objects;
	return avm_slab_object_at(c, s, index);
}

void *avm_cache_alloc(struct avm *m, struct avm_cache *c)
{
	struct avm_slab *s;
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
		slab_add(c, s);
	}
	object = slab_take(c, s);
	avm_spin_unlock(m, &c->lock, AVM_LOCK_LEAF);
	guard_alloc(m, c, object, CALLER());
	return object;
}

#if AVM_FAST

/* Up to n objects of a chunk that has one. Returns how many. */
static uint32_t slab_take_some(struct avm_cache *c, struct avm_slab *s, uint32_t n, void **objects)
{
	uint32_t left = c->per_slab - s->nr_used, stride = c->stride;
	char *first = avm_slab_object_at(c, s, 0);
	uint16_t *next = s->next, index = s->first_free;

	if (n > left)
		n = left;
	for (uint32_t i = 0; i < n; i++) {
		uint16_t *free = next + index;

		objects[i] = first + (size_t)index * stride;
		index = *free;
		*free = AVM_SLAB_NEXT_ALLOCATED;
	}
	s->first_free = index;
	s->nr_used = (uint16_t)(s->nr_used + n);
	if (n == left)
		avm_list_move(&s->link, &c->full);
	c->nr_objects += n;
	if (c->nr_objects > c->peak_objects)
		c->peak_objects = c->nr_objects;
	return n;
}

/* Up to n objects; how many, depends on what is free. */
static uint32_t take_free(struct avm *m, struct avm_cache *c, struct avm_slab *fresh, uint32_t n,
			  void **objects)
{
	struct avm_slab *s;
	uint32_t got = 0;

	avm_spin_lock(m, &c->lock, AVM_LOCK_LEAF);
	if (fresh)
		slab_add(c, fresh);
	while (got < n && (s = slab_usable(c)))
		got += slab_take_some(c, s, n - got, objects + got);
	avm_spin_unlock(m, &c->lock, AVM_LOCK_LEAF);
	return got;
}

bool avm_cache_alloc_bulk(struct avm *m, struct avm_cache *c, uint32_t n, void **objects)
{
	uint32_t got;

	avm_might_reclaim(m);
#ifdef AVM_PORT_FAIL_ANY
	if (AVM_PORT_FAIL_ANY(m, n))
		return false;
#endif
	got = take_free(m, c, NULL, n, objects);
	while (avm_unlikely(got < n)) {
		struct avm_slab *fresh = slab_new(m, c);

		if (!fresh)
			break;
		got += take_free(m, c, fresh, n - got, objects + got);
	}
	for (uint32_t i = 0; i < got; i++)
		guard_alloc(m, c, objects[i], CALLER());
	while (got < n && got)
		avm_cache_free(m, c, objects[--got]);
	return got == n;
}

#endif

/* The object is free. */
static struct avm_slab *slab_put(struct avm_cache *c, struct avm_slab *s, uint32_t index)
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
	struct avm_slab *s = slab_of(c, object);
	struct avm_slab *gone;
	uint32_t index;

	AVM_BUG_ON(m, s->magic != AVM_SLAB_MAGIC || s->cache != c);
	index = avm_slab_index_of(c, s, object);
	AVM_BUG_ON(m, index == c->per_slab);
	avm_spin_lock(m, &c->lock, AVM_LOCK_LEAF);
	AVM_BUG_ON(m, s->next[index] != AVM_SLAB_NEXT_ALLOCATED);
	guard_free(m, c, object, CALLER());
	gone = slab_put(c, s, index);
	avm_spin_unlock(m, &c->lock, AVM_LOCK_LEAF);
	if (gone)
		slab_give_back(m, c, gone);
}
