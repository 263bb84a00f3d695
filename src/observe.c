/* SPDX-License-Identifier: MIT */
/*
 * observe.c - iterators over address spaces, VMAs, entries, families and reverse maps. They look
 * and change nothing, not even the counters of reverse walks: that is why the last one is not
 * src/rmap.c's.
 */
#include "anonvm/observe.h"

#include "anon_vma.h"
#include "file.h"
#include "list.h"
#include "lock.h"
#include "merged.h"
#include "mm.h"
#include "page.h"
#include "pgtable.h"
#include "slab.h"
#include "vma.h"

/* ---- address spaces and VMAs ---------------------------------------------------------------- */

struct avm_mm *avm_next_mm(struct avm *m, struct avm_mm *mm)
{
	const struct avm_list *next = mm ? mm->link.next : m->mms.next;

	return next == &m->mms ? NULL : avm_list_entry(next, struct avm_mm, link);
}

struct avm_vma *avm_next_vma(struct avm_mm *mm, struct avm_vma *vma)
{
	return vma ? avm_vma_tree_next(&mm->vmas, vma) : avm_vma_tree_first(&mm->vmas);
}

struct avm_vma *avm_find_vma(struct avm_mm *mm, avm_addr_t addr)
{
	return avm_mm_find(mm, addr);
}

/* ---- entries -------------------------------------------------------------------------------- */

static enum avm_pte_kind kind_of_entry(avm_pte_t pte)
{
	switch (avm_pte_entry_kind(pte)) {
	case AVM_ENTRY_MIGRATION:
		return AVM_PTE_MIGRATION;
	case AVM_ENTRY_POISON:
		return AVM_PTE_POISON;
	case AVM_ENTRY_SWAP:
		break;
	}
	return AVM_PTE_SWAP;
}

static void describe(const struct avm *m, avm_addr_t addr, avm_pte_t pte, struct avm_pte_info *info)
{
	*info = (struct avm_pte_info){ .addr = addr };
	if (avm_pte_empty(pte))
		return;
	if (!avm_pte_present(pte)) {
		info->kind = kind_of_entry(pte);
		info->entry = avm_pte_entry_value(pte);
		info->write = avm_pte_entry_write(pte);
		info->exclusive = avm_pte_entry_exclusive(pte);
		return;
	}
	info->kind = AVM_PTE_PRESENT;
	info->pfn = avm_pte_pfn(pte);
	info->write = avm_pte_write(pte);
	info->exec = avm_pte_exec(pte);
	info->young = avm_pte_young(pte);
	info->dirty = avm_pte_dirty(pte);
	info->none = avm_pte_none_access(pte);
	info->special = avm_pte_special(pte);
	if (!info->special)
		info->page = avm_page_of(m, info->pfn);
	info->zero = info->page && avm_page_test(info->page, AVM_PG_ZERO);
	info->exclusive = info->page && avm_page_is_exclusive(info->page);
}

void avm_pte_at(struct avm_mm *mm, avm_addr_t addr, struct avm_pte_info *info)
{
	struct avm_ptc c;

	addr = avm_page_down(addr);
	if (!avm_ptc_at(&c, mm, addr)) {
		*info = (struct avm_pte_info){ .addr = addr };
		return;
	}
	describe(mm->machine, addr, avm_ptc_get(&c), info);
}

bool avm_next_pte(struct avm_mm *mm, avm_addr_t end, struct avm_pte_info *info)
{
	avm_addr_t start = avm_page_up(info->addr);
	struct avm_ptc c;

	if (start < info->addr || start >= end)
		return false;
	for (bool more = avm_ptc_first(&c, mm, start, end); more; more = avm_ptc_next_table(&c)) {
		for (; c.addr < c.stop; avm_ptc_step(&c)) {
			avm_pte_t pte = avm_ptc_get(&c);

			if (avm_pte_empty(pte))
				continue;
			describe(mm->machine, c.addr, pte, info);
			return true;
		}
	}
	return false;
}

/* ---- families ------------------------------------------------------------------------------- */

/* The tree is given as a pointer to const; its nodes are not of it. */
static struct avm_anon_vma_chain *family_first(const struct avm_anon_vma *av)
{
	struct avm_inode *node = avm_itree_first(&av->tree);

	return node ? avm_family_tree_entry(node) : NULL;
}

static struct avm_anon_vma_chain *family_next(const struct avm_anon_vma_chain *avc)
{
	struct avm_inode *node = avm_inode_next(&avc->node);

	return node ? avm_family_tree_entry(node) : NULL;
}

/* The first entry of the tree that starts at `first` or above. */
static struct avm_anon_vma_chain *family_seek(const struct avm_anon_vma *av, uint64_t first)
{
	const struct avm_inode *node = av->tree.root;
	const struct avm_inode *found = NULL;

	while (node) {
		if (avm_family_tree_node_start(node) < first) {
			node = node->right;
			continue;
		}
		found = node;
		node = node->left;
	}
	return found ? avm_family_tree_entry(found) : NULL;
}

void avm_anon_vma_info(const struct avm_anon_vma *av, struct avm_anon_vma_info *info)
{
	*info = (struct avm_anon_vma_info){
		.anon_vma = av,
		.id = av->id,
		.root_id = avm_family_root(av)->id,
		.refcount = atomic_load_explicit(&av->refcount, memory_order_relaxed),
		.num_children = av->num_children,
		.num_active_vmas = av->num_active_vmas,
	};
	/* Not to be read once the tree is empty (R4.5). */
	if (!avm_itree_empty(&av->tree))
		info->parent_id = av->parent->id;
	for (const struct avm_anon_vma_chain *avc = family_first(av); avc; avc = family_next(avc))
		info->nr_avcs++;
}

bool avm_anon_vma_live(struct avm *m, const struct avm_anon_vma *av)
{
	struct avm_cache *cache = &m->anon_vmas;

	if (!avm_cache_owns(m, cache, av) || !avm_cache_owns(m, cache, avm_family_root(av)))
		return false;
	/* The parent is not read once the tree is empty (R4.5). */
	return avm_itree_empty(&av->tree) || avm_cache_owns(m, cache, av->parent);
}

struct avm_anon_vma *avm_next_in_chain(const struct avm_vma *vma, const struct avm_anon_vma *av)
{
	const struct avm_anon_vma_chain *avc;
	bool here = !av;

	avm_list_for_each_entry(avc, &vma->chain, struct avm_anon_vma_chain, same_vma) {
		if (here)
			return avc->anon_vma;
		here = avc->anon_vma == av;
	}
	return NULL;
}

struct avm_vma *avm_next_in_family(const struct avm_anon_vma *av, struct avm_vma *vma)
{
	const struct avm_anon_vma_chain *avc;

	if (!vma) {
		avc = family_first(av);
		return avc ? avc->vma : NULL;
	}
	avc = family_seek(av, avm_vma_first_index(vma));
	while (avc && avc->vma != vma)
		avc = family_next(avc);
	avc = avc ? family_next(avc) : NULL;
	return avc ? avc->vma : NULL;
}

struct avm_anon_vma *avm_page_anon_vma(const struct avm_page *page)
{
	uintptr_t mapping = atomic_load_explicit(&page->mapping, memory_order_acquire);

	if ((mapping & AVM_MAPPING_FLAGS) != AVM_MAPPING_ANON)
		return NULL;
	return (struct avm_anon_vma *)(mapping & ~(uintptr_t)AVM_MAPPING_FLAGS);
}

/* ---- reverse maps --------------------------------------------------------------------------- */

enum walk_kind {
	WALK_ANON,
	WALK_FILE,
};

static int lock_item(struct avm *m, struct avm_rmap_iter *it)
{
	struct avm_anon_vma *av = it->item->anon_vma;

	avm_rw_read_always(m, &avm_family_root(av)->lock, AVM_LOCK_FAMILY);
	it->lock_root = av;
	it->first = it->item->index;
	return 0;
}

static int lock_mappers(struct avm *m, struct avm_rmap_iter *it)
{
	struct avm_page *page = it->page;
	struct avm_anon_vma *av;
	struct avm_file *file;
	int err;

	if (avm_page_is_merged(page)) {
		it->kind = WALK_ANON;
		it->item = avm_page_mapped(page) ? avm_merged_items(avm_page_merged(page)) : NULL;
		return it->item ? lock_item(m, it) : -AVM_ENOENT;
	}
	if (avm_page_is_anon(page)) {
		err = avm_family_resolve(m, page, AVM_RESOLVE_WAIT, &av);
		it->kind = WALK_ANON;
		it->lock_root = av;
		return err;
	}
	file = avm_page_file(page);
	if (!file || !avm_page_mapped(page) || avm_page_test(page, AVM_PG_TABLE))
		return -AVM_ENOENT;
	avm_mappings_lock_read(file);
	it->kind = WALK_FILE;
	it->lock_root = file;
	return 0;
}

int avm_rmap_iter_begin(struct avm *m, struct avm_rmap_iter *it, struct avm_page *page)
{
	int err;

	*it = (struct avm_rmap_iter){ .page = page };
	avm_page_lock(m, page);
	err = lock_mappers(m, it);
	if (err) {
		avm_page_unlock(m, page);
		return err;
	}
	if (!it->item)
		it->first = atomic_load_explicit(&page->index, memory_order_relaxed);
	return 0;
}

/* The next VMA that could map the page, or NULL. */
static struct avm_vma *next_mapper(struct avm_rmap_iter *it)
{
	struct avm_anon_vma_chain *avc = it->position;
	struct avm_anon_vma *av = it->lock_root;
	struct avm_file *file = it->lock_root;

	if (it->kind == WALK_FILE) {
		it->position =
			it->position ?
				avm_mappings_iter_next(it->position, it->first, it->first) :
				avm_mappings_iter_first(&file->mappings, it->first, it->first);
		return it->position;
	}
	avc = avc ? avm_family_tree_iter_next(avc, it->first, it->first) :
		    avm_family_tree_iter_first(&av->tree, it->first, it->first);
	it->position = avc;
	return avc ? avc->vma : NULL;
}

/* The family of the next item of a merged page, locked in the place of the last; false: there is none. */
static bool next_item(struct avm *m, struct avm_rmap_iter *it)
{
	if (!it->item || !it->item->next)
		return false;
	avm_family_unlock_read(m, it->lock_root);
	it->item = it->item->next;
	return !lock_item(m, it);
}

bool avm_rmap_iter_next(struct avm *m, struct avm_rmap_iter *it)
{
	struct avm_vma *vma;

	while ((vma = next_mapper(it)) || next_item(m, it)) {
		if (!vma)
			continue;
		avm_addr_t addr = avm_vma_addr(vma, it->first);
		struct avm_pte_info info;

		it->visited++;
		avm_pte_at(vma->mm, addr, &info);
		if (info.kind != AVM_PTE_PRESENT || info.page != it->page)
			continue;
		it->mapped++;
		it->vma = vma;
		it->addr = addr;
		return true;
	}
	return false;
}

void avm_rmap_iter_end(struct avm *m, struct avm_rmap_iter *it)
{
	struct avm_file *file = it->lock_root;

	if (it->kind == WALK_FILE)
		avm_rw_unlock_read(m, &file->mmap_lock, AVM_LOCK_FILE);
	else
		avm_family_unlock_read(m, it->lock_root);
	avm_page_unlock(m, it->page);
}
