/* SPDX-License-Identifier: MIT */
/*
 * slab.h - caches of objects of one size.
 *
 * Memory comes from the port in chunks aligned to their size. Free objects are tracked by an index array in
 * the chunk's header, never by links inside the objects, so a freed object of a type-stable cache keeps what a
 * stale walker may still read. Chunks of such a cache go back to the port only after a grace period.
 *
 * Debug builds put a red zone on both sides of each object, remember who allocated and who freed it, poison
 * freed objects (type-stable ones excepted) and check all of it on every alloc and free.
 */
#ifndef AVM_SLAB_H
#define AVM_SLAB_H

#include "anonvm/machine.h"

#define AVM_SLAB_POISON 0x6b
#define AVM_SLAB_REDZONE 0xbbu

enum avm_cache_kind {
	AVM_CACHE_PLAIN,
	AVM_CACHE_TYPE_STABLE,
};

void avm_cache_init(struct avm_cache *c, const char *name, size_t object_size,
		    enum avm_cache_kind kind, void (*ctor)(void *object));

/* Gives back empty chunks; false when objects are still allocated (nothing is given back then). */
bool avm_cache_fini(struct avm *m, struct avm_cache *c);

/*
 * An object, or NULL. Contents: undefined, except in type-stable caches (as the last user left them, or as
 * ctor did). Counts as an allocation that may wait (order 3b). `avm_cache_free` may be called under any lock but
 * a leaf.
 */
void *avm_cache_alloc(struct avm *m, struct avm_cache *c);
void avm_cache_free(struct avm *m, struct avm_cache *c, void *object);

/*
 * n objects under one lock: true; or false, and none. Only where AVM_FAST says so.
 */
bool avm_cache_alloc_bulk(struct avm *m, struct avm_cache *c, uint32_t n, void **objects);

/* For verify: calls `each` for every allocated object; bounded. Broken red zones, poison: `broken`. */
struct avm_cache_check {
	void (*each)(struct avm_cache_check *k, void *object);
	void (*broken)(struct avm_cache_check *k, const void *object, const char *what);
};
void avm_cache_check(struct avm *m, struct avm_cache *c, struct avm_cache_check *k);

/* Is this address an allocated object of the cache? O(1) given a pointer into a chunk of *some* cache. */
bool avm_cache_owns(struct avm *m, struct avm_cache *c, const void *object);

#endif
