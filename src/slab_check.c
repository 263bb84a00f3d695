/* SPDX-License-Identifier: MIT */
/* slab_check.c - is this an object, and are the caches sound? For verify (slab.h). */
#include "slab_chunk.h"

/* Follows nothing but the tree of chunks. */
static struct avm_slab *slab_find(const struct avm_cache *c, const void *p)
{
	return avm_slab_tree_iter_first(&c->slabs, (uintptr_t)p, (uintptr_t)p);
}

bool avm_cache_owns(struct avm *m, struct avm_cache *c, const void *object)
{
	struct avm_slab *s = object ? slab_find(c, object) : NULL;
	uint32_t index;

	(void)m;
	if (!s)
		return false;
	index = avm_slab_index_of(c, s, object);
	return index < c->per_slab && s->next[index] == AVM_SLAB_NEXT_ALLOCATED;
}

/* The free list of a chunk: as long as it should be, and no index twice (each step uses up one). */
static const char *free_list_fault(const struct avm_cache *c, const struct avm_slab *s)
{
	uint32_t left = c->per_slab - s->nr_used;
	uint32_t i = s->first_free;

	if (s->magic != AVM_SLAB_MAGIC || s->cache != c || s->size != c->slab_size)
		return "header of a slab overwritten";
	if (s->nr_used > c->per_slab)
		return "more objects in a slab than fit";
	while (i != AVM_SLAB_NEXT_NONE) {
		if (i >= c->per_slab || !left)
			return "free list of a slab broken";
		left--;
		i = s->next[i];
	}
	return left ? "free list of a slab too short" : NULL;
}

static uint32_t check_slab(struct avm_cache *c, struct avm_slab *s, struct avm_cache_check *k)
{
	const char *fault = free_list_fault(c, s);
	uint32_t used = 0;

	if (fault) {
		k->broken(k, s, fault);
		return 0;
	}
	for (uint32_t i = 0; i < c->per_slab; i++) {
		void *object = avm_slab_object_at(c, s, i);
		bool allocated = s->next[i] == AVM_SLAB_NEXT_ALLOCATED;

		fault = avm_slab_guard_fault(c, object, allocated);
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
		struct avm_slab *s = slab_find(c, link);

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
	const char *fault = avm_slab_tree_check(&c->slabs, c->nr_slabs);
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
	for (struct avm_slab *s = avm_slab_tree_iter_first(&c->slabs, 0, UINT64_MAX); s;
	     s = avm_slab_tree_iter_next(s, 0, UINT64_MAX)) {
		used += check_slab(c, s, k);
		slabs++;
	}
	if (slabs != c->nr_slabs || listed != slabs)
		k->broken(k, c, "number of slabs wrong");
	if (used != c->nr_objects)
		k->broken(k, c, "number of objects wrong");
}
