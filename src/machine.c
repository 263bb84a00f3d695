/* SPDX-License-Identifier: MIT */
/* machine.c - making and ending a machine; its frames. */
#include "anonvm/machine.h"

#include <string.h>

#include "anon_vma.h"
#include "anonvm/file.h"
#include "anonvm/vma.h"
#include "error.h"
#include "frame.h"
#include "list.h"
#include "ksm.h"
#include "lock.h"
#include "lru.h"
#include "merged.h"
#include "page.h"
#include "radix.h"
#include "slab.h"
#include "vma_tree.h"

#define DEFAULT_MAP_COUNT 65530u
#define DEFAULT_FAULT_AROUND 16u
#define DEFAULT_STACK_GUARD 256u

/* ---- configuration --------------------------------------------------------------------------- */

static void config_defaults(struct avm_config *c)
{
	if (!c->max_map_count)
		c->max_map_count = DEFAULT_MAP_COUNT;
	if (!c->fault_around)
		c->fault_around = DEFAULT_FAULT_AROUND;
	if (!c->stack_guard)
		c->stack_guard = DEFAULT_STACK_GUARD;
	if (c->no_stack_guard)
		c->stack_guard = 0;
	if (!c->high_frames)
		c->high_frames = 2 * c->low_frames;
	if (!c->cpus)
		c->cpus = AVM_NR_CPUS;
}

/* pre: defaults are in. Fault-around stays within one page table. */
avm_noinline static bool config_valid(const struct avm_config *c)
{
	if ((unsigned)c->family > AVM_FAMILY_FLAT || (unsigned)c->commit > AVM_COMMIT_STRICT)
		return false;
	if (c->max_map_count > UINT32_MAX - 2 || c->high_frames < c->low_frames ||
	    c->cpus > AVM_NR_CPUS)
		return false;
	return !(c->fault_around & (c->fault_around - 1)) && c->fault_around <= AVM_TABLE_ENTRIES;
}

/* ---- caches ---------------------------------------------------------------------------------- */

static void *tree_node_alloc(void *machine)
{
	struct avm *m = machine;

	return avm_cache_alloc(m, &m->tree_nodes);
}

static void tree_node_free(void *machine, void *node)
{
	struct avm *m = machine;

	avm_cache_free(m, &m->tree_nodes, node);
}

/* What a fault that found the VMA under RCU may look at, even if it is another VMA by then. */
static void vma_ctor(void *object)
{
	struct avm_vma *vma = object;

	atomic_init(&vma->remembered, 0);
	atomic_init(&vma->readers, 0);
	atomic_init(&vma->write_seq, 0); /* even: held by nobody */
}

struct cache_place {
	uint16_t offset, size;
	const char *name;
};

/* All caches, by their places. Those without a size are set up by who knows what is in them. */
static const struct cache_place cache_places[] = {
	{ offsetof(struct avm, vmas), 0, NULL },
	{ offsetof(struct avm, anon_vmas), 0, NULL },
	{ offsetof(struct avm, avcs), 0, NULL },
	{ offsetof(struct avm, tree_nodes), AVM_VMA_NODE_BYTES, "vma tree node" },
	{ offsetof(struct avm, radix_nodes), AVM_RADIX_NODE_BYTES, "radix node" },
	{ offsetof(struct avm, files), sizeof(struct avm_file), "file" },
	{ offsetof(struct avm, merged), 0, NULL },
	{ offsetof(struct avm, merged_items), 0, NULL },
	{ offsetof(struct avm, ksm_items), sizeof(struct avm_hashed), "ksm item" },
};

/* The i-th cache, or NULL behind the last. */
static struct avm_cache *cache_at(struct avm *m, unsigned i)
{
	if (i == sizeof(cache_places) / sizeof(cache_places[0]))
		return NULL;
	return (struct avm_cache *)(void *)((char *)m + cache_places[i].offset);
}

static void caches_init(struct avm *m)
{
	struct avm_cache *c;

	for (unsigned i = 0; (c = cache_at(m, i)); i++)
		if (cache_places[i].size)
			avm_cache_init(c, cache_places[i].name, cache_places[i].size,
				       AVM_CACHE_PLAIN, NULL);
	avm_cache_init(&m->vmas, "vma", sizeof(struct avm_vma), AVM_CACHE_TYPE_STABLE, vma_ctor);
	avm_family_init(m);
	avm_merged_init(m);
	m->tree_node_alloc = (struct avm_node_alloc){ tree_node_alloc, tree_node_free, m };
}

/* ---- the machine ----------------------------------------------------------------------------- */

int avm_init(struct avm *m, const struct avm_config *config)
{
	memset(m, 0, sizeof(*m));
	if (config)
		m->config = *config;
	config_defaults(&m->config);
	if (!config_valid(&m->config))
		return -AVM_EINVAL;
	m->context = m->config.context;
	avm_lru_init(m);
	avm_list_init(&m->mms);
	avm_list_init(&m->swapped_files);
	atomic_store_explicit(&m->next_id, 1, memory_order_relaxed);
	caches_init(m);
	return 0;
}

/* Frames other than the zero page, or objects, that somebody still holds. */
static bool machine_busy(struct avm *m)
{
	uint64_t frames = avm_cpu_sum(m, &m->cpus[0].frames_used);
	const struct avm_cache *c;

	for (unsigned i = 0; (c = cache_at(m, i)); i++)
		if (c->nr_objects)
			return true;
	frames -= atomic_load_explicit(&m->frames_poisoned, memory_order_relaxed);
	return m->nr_mms || m->nr_swap || frames > (m->zero_page ? 1u : 0u);
}

int avm_fini(struct avm *m)
{
	struct avm_cache *c;

	avm_ksm_forget(m);
	if (machine_busy(m))
		return -AVM_EBUSY;
	if (m->zero_page)
		avm_page_put(m, m->zero_page);
	m->zero_page = NULL;
	for (unsigned i = 0; (c = cache_at(m, i)); i++)
		avm_cache_fini(m, c);
	return 0;
}

void avm_set_merge_observer(struct avm *m, struct avm_merge_observer *o)
{
	m->observer = o;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* G-N */
static void regions_store(struct avm *m, struct avm_region *region)
{
	atomic_store_explicit((struct avm_region * _Atomic *)&m->regions, region,
			      memory_order_release);
}

static bool overlaps(const struct avm *m, avm_pfn_t first, uint64_t count)
{
	for (const struct avm_region *r = avm_regions(m); r; r = r->next) {
		if (first < r->first + r->count && r->first < first + count)
			return true;
	}
	return false;
}

static int take_zero_page(struct avm *m)
{
	struct avm_page *page = avm_page_alloc(m, AVM_FRAME_USER);

	if (!page)
		return -AVM_ENOMEM;
	avm_port_frame_clear(m, page->pfn);
	avm_page_set(page, AVM_PG_ZERO);
	m->zero_page = page;
	return 0;
}

int avm_add_frames(struct avm *m, struct avm_region *region, avm_pfn_t first, uint64_t count,
		   struct avm_page *pages)
{
	if (!count || !pages || first + count < first || overlaps(m, first, count))
		return -AVM_EINVAL;

	memset(pages, 0, count * sizeof(*pages));
	for (uint64_t i = 0; i < count; i++)
		pages[i].pfn = first + i;
	region->next = avm_regions(m);
	region->first = first;
	region->count = count;
	region->pages = pages;
	regions_store(m, region);
	if (!m->zero_page && take_zero_page(m)) {
		regions_store(m, region->next);
		return -AVM_ENOMEM;
	}
	atomic_fetch_add_explicit(&m->frames_total, count, memory_order_relaxed);
	return 0;
}
