/* SPDX-License-Identifier: MIT */
/*
 * name.c - names for addresses (name.h). This is the one file of the checker that knows what the core looks like inside.
 */
#include "name.h"

#include <stdio.h>

#include "anon_vma.h"
#include "avm_port.h"
#include "merged.h"
#include "radix_node.h"
#include "slab_chunk.h"
#include "vma_node.h"

#define FIELD_OF(type, field, layout) \
	{ \
		.name = #field, .offset = offsetof(struct type, field), \
		.size = sizeof(((struct type *)0)->field), .within = (layout) \
	}
#define FIELD(type, field) FIELD_OF(type, field, NULL)
#define WITHIN(type, field, layout) FIELD_OF(type, field, &(layout))
#define LAST \
	{ \
		NULL, 0, 0, NULL \
	}

/* NOLINTBEGIN(bugprone-sizeof-expression): a pointer is as large as it is */

/* ---- layouts ------------------------------------------------------------------------------------------------------------ */

static const struct field cache_fields[] = {
	FIELD(avm_cache, name),
	FIELD(avm_cache, object_size),
	FIELD(avm_cache, stride),
	FIELD(avm_cache, per_slab),
	FIELD(avm_cache, slab_size),
	FIELD(avm_cache, type_stable),
	FIELD(avm_cache, ctor),
	FIELD(avm_cache, lock),
	FIELD(avm_cache, partial),
	FIELD(avm_cache, full),
	FIELD(avm_cache, empty),
	FIELD(avm_cache, slabs),
	FIELD(avm_cache, nr_slabs),
	FIELD(avm_cache, nr_empty),
	FIELD(avm_cache, nr_objects),
	FIELD(avm_cache, peak_objects),
	LAST,
};
static const struct layout cache = { "avm_cache", 0, false, cache_fields };

static const struct field tree_fields[] = {
	FIELD(avm_vma_tree, root),
	FIELD(avm_vma_tree, height),
	FIELD(avm_vma_tree, nr_reserve),
	FIELD(avm_vma_tree, count),
	FIELD(avm_vma_tree, list),
	FIELD(avm_vma_tree, reserve),
	FIELD(avm_vma_tree, nodes),
	FIELD(avm_vma_tree, guard),
	FIELD(avm_vma_tree, guard_flags),
	FIELD(avm_vma_tree, way),
	FIELD(avm_vma_tree, way_from),
	FIELD(avm_vma_tree, way_to),
	LAST,
};
static const struct layout vma_tree = { "avm_vma_tree", 0, false, tree_fields };

static const struct field cpu_fields[] = {
	FIELD(avm_cpu, frames_used),
	FIELD(avm_cpu, tables_used),
	FIELD(avm_cpu, lru_lock),
	FIELD(avm_cpu, lru),
	FIELD(avm_cpu, lru_count),
	FIELD(avm_cpu, events),
	LAST,
};
static const struct layout cpu = { "avm_cpu", sizeof(struct avm_cpu), false, cpu_fields };

static const struct field mm_cpu_fields[] = {
	FIELD(avm_mm_cpu, inside),
	FIELD(avm_mm_cpu, rss),
	LAST,
};
static const struct layout mm_cpu = { "avm_mm_cpu", sizeof(struct avm_mm_cpu), false,
				      mm_cpu_fields };

static const struct field machine_fields[] = {
	FIELD(avm, context),
	FIELD(avm, config),
	FIELD(avm, regions),
	FIELD(avm, zero_page),
	FIELD(avm, frames_total),
	FIELD(avm, frames_poisoned),
	FIELD(avm, frames_refused),
	WITHIN(avm, vmas, cache),
	WITHIN(avm, anon_vmas, cache),
	WITHIN(avm, avcs, cache),
	WITHIN(avm, tree_nodes, cache),
	WITHIN(avm, radix_nodes, cache),
	WITHIN(avm, files, cache),
	WITHIN(avm, merged, cache),
	WITHIN(avm, merged_items, cache),
	WITHIN(avm, ksm_items, cache),
	FIELD(avm, tree_node_alloc),
	FIELD(avm, meta_bytes),
	FIELD(avm, meta_bytes_peak),
	FIELD(avm, lru_next),
	FIELD(avm, swap_lock),
	FIELD(avm, swap),
	FIELD(avm, nr_swap),
	FIELD(avm, swapped_files),
	FIELD(avm, swap_slots),
	FIELD(avm, swap_used),
	FIELD(avm, pressure),
	FIELD(avm, merged_lock),
	FIELD(avm, merged_pages),
	FIELD(avm, merged_release),
	FIELD(avm, ksm),
	FIELD(avm, mm_lock),
	FIELD(avm, mms),
	FIELD(avm, nr_mms),
	FIELD(avm, committed),
	FIELD(avm, next_id),
	FIELD(avm, refused),
	FIELD(avm, observer),
	FIELD(avm, page_release),
	FIELD(avm, gathers_open),
	FIELD(avm, warned),
	WITHIN(avm, cpus, cpu),
	LAST,
};
static const struct layout machine = { "avm", 0, true, machine_fields };

static const struct field mm_fields[] = {
	FIELD(avm_mm, machine),
	FIELD(avm_mm, users),
	FIELD(avm_mm, mmap_lock),
	FIELD(avm_mm, write_seq),
	FIELD(avm_mm, page_table_lock),
	WITHIN(avm_mm, vmas, vma_tree),
	FIELD(avm_mm, root_table),
	FIELD(avm_mm, spare),
	FIELD(avm_mm, nr_spare),
	FIELD(avm_mm, default_flags),
	FIELD(avm_mm, lowest),
	FIELD(avm_mm, task_size),
	FIELD(avm_mm, mmap_base),
	FIELD(avm_mm, brk_start),
	FIELD(avm_mm, brk),
	FIELD(avm_mm, limits),
	FIELD(avm_mm, context),
	FIELD(avm_mm, release),
	FIELD(avm_mm, id),
	FIELD(avm_mm, link),
	FIELD(avm_mm, total_vm),
	FIELD(avm_mm, data_vm),
	FIELD(avm_mm, exec_vm),
	FIELD(avm_mm, stack_vm),
	FIELD(avm_mm, locked_vm),
	FIELD(avm_mm, committed),
	FIELD(avm_mm, tables),
	FIELD(avm_mm, recent),
	FIELD(avm_mm, notify_lock),
	FIELD(avm_mm, notifiers),
	FIELD(avm_mm, fault_cpus),
	WITHIN(avm_mm, cpus, mm_cpu),
	LAST,
};
static const struct layout mm = { "avm_mm", 0, true, mm_fields };

static const struct field vma_fields[] = {
	FIELD(avm_vma, start),	      FIELD(avm_vma, end),     FIELD(avm_vma, flags),
	FIELD(avm_vma, pgoff),	      FIELD(avm_vma, link),    FIELD(avm_vma, mm),
	FIELD(avm_vma, anon_vma),     FIELD(avm_vma, chain),   FIELD(avm_vma, file),
	FIELD(avm_vma, private_data), FIELD(avm_vma, policy),  FIELD(avm_vma, name),
	FIELD(avm_vma, chain_len),    FIELD(avm_vma, readers), FIELD(avm_vma, write_seq),
	FIELD(avm_vma, remembered),   FIELD(avm_vma, shared),  LAST,
};
static const struct layout vma = { "avm_vma", 0, true, vma_fields };

static const struct field anon_vma_fields[] = {
	FIELD(avm_anon_vma, root),
	FIELD(avm_anon_vma, parent),
	FIELD(avm_anon_vma, lock),
	FIELD(avm_anon_vma, refcount),
	FIELD(avm_anon_vma, num_children),
	FIELD(avm_anon_vma, num_active_vmas),
	FIELD(avm_anon_vma, tree),
	FIELD(avm_anon_vma, id),
	LAST,
};
static const struct layout anon_vma = { "avm_anon_vma", 0, true, anon_vma_fields };

static const struct field avc_fields[] = {
	FIELD(avm_anon_vma_chain, node),
	FIELD(avm_anon_vma_chain, same_vma),
	FIELD(avm_anon_vma_chain, vma),
	FIELD(avm_anon_vma_chain, anon_vma),
	LAST,
};
static const struct layout avc = { "avm_anon_vma_chain", 0, false, avc_fields };

static const struct field vma_node_fields[] = {
	FIELD(avm_vma_node, magic),
	FIELD(avm_vma_node, level),
	FIELD(avm_vma_node, count),
	FIELD(avm_vma_node, end),
	FIELD(avm_vma_node, gap),
	FIELD(avm_vma_node, slot),
	LAST,
};
static const struct layout vma_node = { "avm_vma_node", 0, false, vma_node_fields };

static const struct field radix_fields[] = {
	FIELD(avm_radix_node, used),
	FIELD(avm_radix_node, level),
	FIELD(avm_radix_node, slot),
	LAST,
};
static const struct layout radix_node = { "avm_radix_node", 0, false, radix_fields };

static const struct field slab_fields[] = {
	FIELD(avm_slab, link),
	FIELD(avm_slab, node),
	FIELD(avm_slab, deferred),
	FIELD(avm_slab, machine),
	FIELD(avm_slab, cache),
	FIELD(avm_slab, magic),
	FIELD(avm_slab, size),
	FIELD(avm_slab, nr_used),
	FIELD(avm_slab, first_free),
	{ "next", offsetof(struct avm_slab, next), 1024, NULL },
	LAST,
};
static const struct layout slab = { "avm_slab", 0, true, slab_fields };

static const struct field page_fields[] = {
	FIELD(avm_page, flags),	   FIELD(avm_page, refcount),
	FIELD(avm_page, mapcount), FIELD(avm_page, pins),
	FIELD(avm_page, mapping),  FIELD(avm_page, index),
	FIELD(avm_page, lru),	   FIELD(avm_page, u),
	FIELD(avm_page, pfn),	   LAST,
};
static const struct layout page = { "avm_page", 0, false, page_fields };

static const struct field table_fields[] = {
	FIELD(avm_page, flags),	   FIELD(avm_page, refcount),
	FIELD(avm_page, mapcount), FIELD(avm_page, table_lock),
	FIELD(avm_page, mapping),  FIELD(avm_page, index),
	FIELD(avm_page, lru),	   FIELD(avm_page, u),
	FIELD(avm_page, pfn),	   LAST,
};
static const struct layout table = { "avm_page", 0, false, table_fields };

static const struct field file_fields[] = {
	FIELD(avm_file, machine),
	FIELD(avm_file, ops),
	FIELD(avm_file, context),
	FIELD(avm_file, id),
	FIELD(avm_file, size),
	FIELD(avm_file, shmem),
	FIELD(avm_file, owned),
	FIELD(avm_file, refs),
	FIELD(avm_file, mmap_lock),
	FIELD(avm_file, mappings),
	FIELD(avm_file, nr_mappings),
	FIELD(avm_file, pages_lock),
	FIELD(avm_file, pages),
	FIELD(avm_file, nr_pages),
	FIELD(avm_file, nr_swapped),
	FIELD(avm_file, swapped),
	LAST,
};
static const struct layout file = { "avm_file", 0, true, file_fields };

static const struct field device_fields[] = {
	FIELD(avm_swap_device, machine),  FIELD(avm_swap_device, context),
	FIELD(avm_swap_device, priority), FIELD(avm_swap_device, number),
	FIELD(avm_swap_device, nr_slots), FIELD(avm_swap_device, users),
	FIELD(avm_swap_device, closing),  FIELD(avm_swap_device, lock),
	FIELD(avm_swap_device, slots),	  FIELD(avm_swap_device, first_free),
	FIELD(avm_swap_device, used),	  LAST,
};
static const struct layout device = { "avm_swap_device", 0, true, device_fields };

static const struct field slot_fields[] = {
	FIELD(avm_swap_slot, page),
	FIELD(avm_swap_slot, count),
	FIELD(avm_swap_slot, next),
	LAST,
};
static const struct layout slot = { "avm_swap_slot", sizeof(struct avm_swap_slot), false,
				    slot_fields };

static const struct layout entries = { "entries", 0, false, NULL };
static const struct layout merged = { "avm_merged", 0, false, NULL };
static const struct layout merged_item = { "avm_merged_item", 0, false, NULL };
static const struct layout ksm_item = { "avm_hashed", 0, false, NULL };

/* NOLINTEND(bugprone-sizeof-expression) */

/* ---- objects of caches ------------------------------------------------------------------------------------------------- */

static const struct {
	size_t cache; /* in the machine */
	const struct layout *layout;
} caches[] = {
	{ offsetof(struct avm, vmas), &vma },
	{ offsetof(struct avm, anon_vmas), &anon_vma },
	{ offsetof(struct avm, avcs), &avc },
	{ offsetof(struct avm, tree_nodes), &vma_node },
	{ offsetof(struct avm, radix_nodes), &radix_node },
	{ offsetof(struct avm, files), &file },
	{ offsetof(struct avm, merged), &merged },
	{ offsetof(struct avm, merged_items), &merged_item },
	{ offsetof(struct avm, ksm_items), &ksm_item },
};

static bool contains(const void *at, size_t size, uintptr_t address)
{
	return address - (uintptr_t)at < size;
}

static struct avm_slab *chunk_of(struct avm_list *list, uintptr_t address)
{
	struct avm_slab *s;

	avm_list_for_each_entry(s, list, struct avm_slab, link) {
		if (contains(s, s->size, address))
			return s;
	}
	return NULL;
}

/* The object, if it is somebody's, or the head of the chunk. */
static bool in_chunk(const struct avm_cache *c, struct avm_slab *s, const struct layout *l,
		     uintptr_t address, struct object *o)
{
	uintptr_t first = (uintptr_t)avm_slab_object_at(c, s, 0) - AVM_SLAB_GUARD_BYTES;
	uint32_t i = address < first ? 0 : (uint32_t)(address - first) / c->stride;
	void *object = avm_slab_object_at(c, s, i);

	if (address < first) {
		*o = (struct object){ (uintptr_t)s, first - (uintptr_t)s, &slab, c->name };
		return true;
	}
	*o = (struct object){ (uintptr_t)object, c->object_size, l, NULL };
	return s->next[i] == AVM_SLAB_NEXT_ALLOCATED && contains(object, c->object_size, address);
}

static bool in_caches(struct avm *m, uintptr_t address, struct object *o)
{
	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		struct avm_cache *c = (struct avm_cache *)(void *)((char *)m + caches[i].cache);
		struct avm_slab *s = chunk_of(&c->partial, address);

		s = s ? s : chunk_of(&c->full, address);
		s = s ? s : chunk_of(&c->empty, address);
		if (s)
			return in_chunk(c, s, caches[i].layout, address, o);
	}
	return false;
}

/* ---- frames ----------------------------------------------------------------------------------------------------------------- */

static const char *role_of(const struct avm *m, const struct avm_page *p)
{
	if (p == m->zero_page)
		return "the zero page";
	if (p->flags & AVM_PG_TABLE)
		return p->u.table.level ? "an upper table" : "a table";
	if (p->mapping & AVM_MAPPING_MERGED)
		return "a merged page";
	return p->mapping & AVM_MAPPING_ANON ? "an anonymous page" : "a page of a file";
}

/* A descriptor, or the entries of a table. */
static bool in_frames(struct avm *m, uintptr_t address, struct object *o)
{
	for (const struct avm_region *r = m->regions; r; r = r->next) {
		for (uint64_t i = 0; i < r->count; i++) {
			const struct avm_page *p = &r->pages[i];
			bool is_table = p->flags & AVM_PG_TABLE;

			if (!(p->flags & AVM_PG_INUSE))
				continue;
			if (contains(p, sizeof(*p), address)) {
				*o = (struct object){ (uintptr_t)p, sizeof(*p),
						      is_table ? &table : &page, role_of(m, p) };
				return true;
			}
			if (is_table &&
			    contains(avm_port_frame_ptr(m, p->pfn), AVM_PAGE_SIZE, address)) {
				*o = (struct object){ (uintptr_t)avm_port_frame_ptr(m, p->pfn),
						      AVM_PAGE_SIZE, &entries, role_of(m, p) };
				return true;
			}
		}
	}
	return false;
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------------- */

static bool is_in(const void *at, size_t size, const struct layout *l, uintptr_t address,
		  struct object *o)
{
	*o = (struct object){ (uintptr_t)at, size, l, NULL };
	return at && contains(at, size, address);
}

static bool in_swap(struct avm *m, uintptr_t address, struct object *o)
{
	for (uint32_t i = 0; i < AVM_MAX_SWAP_DEVICES; i++) {
		const struct avm_swap_device *d = m->swap[i];

		if (d && (is_in(d, sizeof(*d), &device, address, o) ||
			  is_in(d->slots, d->nr_slots * sizeof(*d->slots), &slot, address, o)))
			return true;
	}
	return false;
}

bool object_at(const struct places *in, uintptr_t address, struct object *o)
{
	struct avm_mm *a;

	if (is_in(in->machine, sizeof(*in->machine), &machine, address, o))
		return true;
	avm_list_for_each_entry(a, &in->machine->mms, struct avm_mm, link) {
		if (is_in(a, sizeof(*a), &mm, address, o))
			return true;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (is_in(in->files[i], sizeof(*in->files[i]), &file, address, o))
			return true;
	}
	return in_swap(in->machine, address, o) || in_frames(in->machine, address, o) ||
	       in_caches(in->machine, address, o);
}

static const struct field *field_at(const struct layout *l, size_t offset)
{
	const struct field *f = l->fields;

	for (; f && f->name; f++) {
		if (offset - f->offset < f->size)
			return f;
	}
	return NULL;
}

void object_name_line(const struct object *o, uintptr_t address, char *out)
{
	char line[16] = "";

	if (o->layout->by_line)
		snprintf(line, sizeof(line), "[%u]", (unsigned)(address - o->at) / NAME_LINE);
	snprintf(out, NAME_SIZE, "%s%s%s%s", o->layout->name, line, o->role ? " of " : "",
		 o->role ? o->role : "");
}

void object_name_field(const struct object *o, uintptr_t address, char *out)
{
	size_t offset = address - o->at;
	const struct layout *l = o->layout;
	const struct field *f, *inner = NULL;

	offset = l->element ? offset % l->element : offset;
	f = field_at(l, offset);
	if (f && f->within) {
		offset -= f->offset;
		inner = field_at(f->within,
				 f->within->element ? offset % f->within->element : offset);
	}
	if (f)
		snprintf(out, NAME_SIZE, "%s%s%s", f->name, inner ? "." : "",
			 inner ? inner->name : "");
	else if (l->fields)
		snprintf(out, NAME_SIZE, "+%zu", offset);
	else
		out[0] = '\0';
}
