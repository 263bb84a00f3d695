/* SPDX-License-Identifier: MIT */
/*
 * verify_object.c - which objects there are (verify.h): a hash table with one record for each
 * object of the caches, found by address without following it. V40: each one is reached from where
 * it belongs.
 */
#include "verify.h"

#include "anonvm/machine.h"
#include "slab.h"

_Static_assert(sizeof(struct avm_record) <= 64, "a record is at most one cache line");

static struct avm_cache *cache_of(struct avm *m, enum avm_verify_kind kind)
{
	switch (kind) {
	case AVM_IS_VMA:
		return &m->vmas;
	case AVM_IS_ANON_VMA:
		return &m->anon_vmas;
	case AVM_IS_AVC:
		return &m->avcs;
	case AVM_IS_TREE_NODE:
		return &m->tree_nodes;
	case AVM_IS_RADIX_NODE:
		return &m->radix_nodes;
	case AVM_IS_MERGED:
		return &m->merged;
	case AVM_IS_MERGED_ITEM:
		return &m->merged_items;
	case AVM_IS_KSM_ITEM:
		return &m->ksm_items;
	case AVM_IS_FILE:
	case AVM_NR_KINDS:
		break;
	}
	return &m->files;
}

/* ---- the table ------------------------------------------------------------------------------ */

/* The slot of an object, or the free one where it would go. pre: there is a free one. */
static struct avm_record *slot_of(const struct avm_verify *v, const void *object)
{
	/* Objects are aligned to 16: the low bits say nothing, the product's high ones do. */
	uint64_t i = ((uint64_t)(uintptr_t)object * UINT64_C(0x9e3779b97f4a7c15)) >> 32;

	for (;; i++) {
		struct avm_record *r = &v->records[i & v->mask];

		if (!r->object || r->object == object)
			return r;
	}
}

static struct avm_record *add(struct avm_verify *v, enum avm_verify_kind kind, const void *object)
{
	struct avm_record *r = slot_of(v, object);

	if (r->object || v->nr_records == v->mask)
		return r;
	r->object = object;
	r->kind = kind;
	v->nr_records++;
	return r;
}

struct avm_record *avm_verify_record(const struct avm_verify *v, enum avm_verify_kind kind,
				     const void *object)
{
	struct avm_record *r;

	if (!v->records || !object)
		return NULL;
	r = slot_of(v, object);
	return r->object && r->kind == kind ? r : NULL;
}

bool avm_verify_owned(struct avm_verify *v, enum avm_verify_kind kind, const void *object)
{
	if (v->records)
		return avm_verify_record(v, kind, object);
	return avm_cache_owns(v->m, cache_of(v->m, kind), object);
}

void avm_verify_reach(struct avm_verify *v, enum avm_verify_kind kind, const void *object)
{
	struct avm_record *r = avm_verify_record(v, kind, object);

	if (r)
		r->reached++;
}

void avm_verify_reach_file(struct avm_verify *v, const struct avm_file *file, bool ok)
{
	struct avm_record *r;

	if (!v->records)
		return;
	r = add(v, AVM_IS_FILE, file);
	r->reached++;
	r->broken = !ok;
}

/* ---- filling it ----------------------------------------------------------------------------- */

/* The first time round objects are counted, the second time they get their records. */
struct collector {
	struct avm_cache_check check;
	struct avm_verify *v;
	enum avm_verify_kind kind;
	uint64_t count;
};

static void count_object(struct avm_cache_check *check, void *object)
{
	struct collector *c = (struct collector *)check;

	(void)object;
	c->count++;
}

static void record_object(struct avm_cache_check *check, void *object)
{
	struct collector *c = (struct collector *)check;

	add(c->v, c->kind, object);
}

static void report_broken(struct avm_cache_check *check, const void *object, const char *what)
{
	struct collector *c = (struct collector *)check;

	avm_verify_say(c->v, 40, what,
		       &(struct avm_where){ .raw = object,
					    .detail = cache_of(c->v->m, c->kind)->name });
}

static void ignore_broken(struct avm_cache_check *check, const void *object, const char *what)
{
	(void)check;
	(void)object;
	(void)what;
}

int avm_verify_collect(struct avm_verify *v)
{
	struct collector c = { .check = { count_object, report_broken }, .v = v };
	uint64_t vmas = 0;
	uint64_t slots = 64;
	size_t bytes;

	for (c.kind = 0; c.kind < AVM_NR_KINDS; c.kind++) {
		avm_cache_check(v->m, cache_of(v->m, c.kind), &c.check);
		if (c.kind == AVM_IS_VMA)
			vmas = c.count;
	}
	/* Each VMA may bring a file of the embedder; half of the table stays free. */
	while (slots / 2 < c.count + vmas)
		slots *= 2;
	v->records = avm_verify_alloc(v->m, slots * sizeof(*v->records), &bytes);
	if (!v->records)
		return -AVM_ENOMEM;
	v->mask = slots - 1;

	c.check = (struct avm_cache_check){ record_object, ignore_broken };
	for (c.kind = 0; c.kind < AVM_NR_KINDS; c.kind++)
		avm_cache_check(v->m, cache_of(v->m, c.kind), &c.check);
	return 0;
}

void avm_verify_forget(struct avm_verify *v)
{
	size_t bytes = AVM_META_MIN;

	if (!v->records)
		return;
	while (bytes < (v->mask + 1) * sizeof(*v->records))
		bytes *= 2;
	avm_port_meta_free(v->m, v->records, bytes);
	v->records = NULL;
}

/* ---- V40 ------------------------------------------------------------------------------------ */

void avm_verify_unreached(struct avm_verify *v)
{
	static const char *const lost[AVM_NR_KINDS] = {
		[AVM_IS_VMA] = "a VMA is in no address space",
		[AVM_IS_ANON_VMA] = "an anon_vma is on no chain",
		[AVM_IS_AVC] = "a chain entry is on no chain",
		[AVM_IS_TREE_NODE] = "a node of a VMA tree is in no tree",
		[AVM_IS_MERGED] = "no page is the merged page of a node",
		[AVM_IS_MERGED_ITEM] = "an item is of no merged page",
		[AVM_IS_KSM_ITEM] = "what merging remembers is in no tree of it",
		[AVM_IS_FILE] = "a file of shared anonymous memory is mapped by nobody",
	};

	for (uint64_t i = 0; i <= v->mask; i++) {
		const struct avm_record *r = &v->records[i];

		/*
		 * Page caches of files that nobody maps cannot be found: their nodes may be there.
		 */
		if (!r->object || r->reached || r->kind == AVM_IS_RADIX_NODE)
			continue;
		/* Merged pages outlive those they came from. */
		if (r->items || r->members)
			continue;
		avm_verify_say(v, 40, lost[r->kind], &(struct avm_where){ .raw = r->object });
	}
}
