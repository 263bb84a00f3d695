/* SPDX-License-Identifier: MIT */
/*
 * verify_vma.c - V1: the VMAs of an address space, their order, their tree, their page counts; V3:
 * whose they are and what they map (verify.h).
 */
#include "verify.h"

#include "lock.h"
#include "mm.h"
#include "vma.h"
#include "vma_node.h"

enum {
	MAX_TREE_HEIGHT = 128, /* a balanced tree of 2^64 nodes has 128 levels at most */
};

/* ---- V1: the tree --------------------------------------------------------------------------- */

/*
 * What avm_vma_tree_check() must be able to rely on: links lead to nodes, and in the leaves to
 * VMAs.
 */
struct tree_walk {
	struct avm_verify *v;
	const struct avm_mm *mm;
	bool ok;
};

static void tree_broken(struct tree_walk *w, const char *what, const void *raw)
{
	w->ok = false;
	avm_verify_say(w->v, 1, what, &(struct avm_where){ .mm = w->mm, .raw = raw });
}

static bool node_ok(struct tree_walk *w, const struct avm_vma_node *node, uint32_t level)
{
	const struct avm_record *r = avm_verify_record(w->v, AVM_IS_TREE_NODE, node);

	if (!avm_verify_owned(w->v, AVM_IS_TREE_NODE, node)) {
		tree_broken(w, "a link of the VMA tree leads to no node", node);
		return false;
	}
	if (node->magic != AVM_VMA_NODE_MAGIC || node->level != level || !node->count ||
	    node->count > AVM_VMA_NODE_SLOTS) {
		tree_broken(w, "a node of the VMA tree is overwritten", node);
		return false;
	}
	if (r && r->reached) {
		tree_broken(w, "a node of the VMA tree is met in two places", node);
		return false;
	}
	avm_verify_reach(w->v, AVM_IS_TREE_NODE, node);
	return true;
}

static void check_leaf(struct tree_walk *w, const struct avm_vma_node *leaf)
{
	for (uint32_t i = 0; i < leaf->count; i++) {
		const struct avm_vma *vma = avm_vma_node_slot(leaf, i);

		if (!avm_verify_owned(w->v, AVM_IS_VMA, vma))
			tree_broken(w, "an entry of the VMA tree leads to no VMA", vma);
	}
}

/*
 * Levels only go down, so no way comes back to itself; where there are no records to say that a
 * node hangs in two places, the number of nodes is the end. Not inlined: the way down is no part of
 * the stack of the other checks.
 */
static __attribute__((noinline)) void walk_nodes(struct tree_walk *w)
{
	struct avm_vma_path path;
	uint32_t height = w->mm->vmas.height;
	uint32_t level = height - 1;
	uint64_t left = w->v->m->tree_nodes.nr_objects;

	path.node[level] = avm_vma_tree_root(&w->mm->vmas);
	path.index[level] = 0;
	if (!node_ok(w, path.node[level], level))
		return;
	while (level < height) {
		struct avm_vma_node *node = path.node[level];
		uint32_t i = path.index[level]++;

		if (!level)
			check_leaf(w, node);
		if (!level || i == node->count) {
			level++;
			continue;
		}
		node = avm_vma_node_slot(node, i);
		if (!left--) {
			tree_broken(w, "the VMA tree has more nodes than there are", NULL);
			return;
		}
		if (!node_ok(w, node, level - 1))
			continue;
		path.node[--level] = node;
		path.index[level] = 0;
	}
}

static void walk_reserve(struct tree_walk *w)
{
	const struct avm_vma_node *node = w->mm->vmas.reserve;

	for (uint32_t n = w->mm->vmas.nr_reserve; node && n; n--) {
		if (!avm_verify_owned(w->v, AVM_IS_TREE_NODE, node)) {
			tree_broken(w, "the reserve of the VMA tree leads to no node", node);
			return;
		}
		avm_verify_reach(w->v, AVM_IS_TREE_NODE, node);
		node = avm_vma_node_slot(node, 0);
	}
	if (node)
		tree_broken(w, "the reserve of the VMA tree is longer than it says", node);
}

static void tree_fault(void *context, avm_addr_t where, const char *what)
{
	struct tree_walk *w = context;

	avm_verify_say(w->v, 1, what, &(struct avm_where){ .mm = w->mm, .addr = where });
}

static void check_tree(struct avm_verify *v, const struct avm_mm *mm)
{
	const struct avm_vma_tree *tree = &mm->vmas;
	struct tree_walk w = { .v = v, .mm = mm, .ok = true };

	if (tree->height > AVM_VMA_TREE_MAX_HEIGHT || !tree->height != !avm_vma_tree_root(tree)) {
		tree_broken(&w, "the height of the VMA tree is wrong", NULL);
		return;
	}
	if (tree->height)
		walk_nodes(&w);
	walk_reserve(&w);
	if (w.ok)
		avm_vma_tree_check(tree, v->m->vmas.nr_objects, tree_fault, &w);
}

/* ---- V1: the list, and what is counted ------------------------------------------------------ */

struct counts {
	uint64_t vmas, total, data, exec, stack, locked, accounted;
};

/* The kinds of pages, as avm_mm documents them. */
static void count_pages(struct counts *n, const struct avm_vma *vma)
{
	uint64_t pages = avm_vma_pages(vma);
	bool stack = vma->flags & AVM_VM_GROWSDOWN;
	bool write = vma->flags & AVM_VM_WRITE;

	n->vmas++;
	n->total += pages;
	if (write && !stack && !(vma->flags & AVM_VM_SHARED))
		n->data += pages;
	if (stack)
		n->stack += pages;
	else if (!write && (vma->flags & AVM_VM_EXEC))
		n->exec += pages;
	if (vma->flags & AVM_VM_LOCKED)
		n->locked += pages;
	if (vma->flags & AVM_VM_ACCOUNT)
		n->accounted += pages;
}

static void check_counts(struct avm_verify *v, const struct avm_mm *mm, const struct counts *n)
{
	const struct avm_where where = { .mm = mm };
	uint64_t committed = atomic_load_explicit(&mm->committed, memory_order_relaxed);

	v->committed += committed;
	if (committed)
		avm_verify_equal(v, 1, "pages promised, as it counts them", &where, committed,
				 n->accounted);
	v->accounted += n->accounted;
	avm_verify_equal(v, 1, "number of VMAs", &where, mm->vmas.count, n->vmas);
	avm_verify_equal(v, 1, "total_vm", &where, mm->total_vm, n->total);
	avm_verify_equal(v, 1, "data_vm", &where, mm->data_vm, n->data);
	avm_verify_equal(v, 1, "exec_vm", &where, mm->exec_vm, n->exec);
	avm_verify_equal(v, 1, "stack_vm", &where, mm->stack_vm, n->stack);
	avm_verify_equal(v, 1, "locked_vm", &where, mm->locked_vm, n->locked);
}

static void check_range(struct avm_verify *v, const struct avm_mm *mm, const struct avm_vma *vma,
			avm_addr_t floor)
{
	const struct avm_where where = { .mm = mm, .vma = vma };

	if (!avm_page_aligned(vma->start) || !avm_page_aligned(vma->end))
		avm_verify_say(v, 1, "a VMA is not page-aligned", &where);
	if (vma->start >= vma->end)
		avm_verify_say(v, 1, "a VMA is empty", &where);
	if (vma->start < floor)
		avm_verify_say(v, 1, "a VMA begins before the one below it ends", &where);
	if (vma->end > mm->task_size)
		avm_verify_say(v, 1, "a VMA ends beyond the address space", &where);
}

static void check_vma_locks(struct avm_verify *v, const struct avm_mm *mm,
			    const struct avm_vma *vma)
{
	uint32_t readers = atomic_load_explicit(&vma->readers, memory_order_relaxed);

	if (readers && !v->only)
		avm_verify_say(v, 41, "a VMA is locked for read",
			       &(struct avm_where){ .mm = mm, .vma = vma });
}

/* ---- V3 ------------------------------------------------------------------------------------- */

bool avm_verify_file_ok(struct avm_verify *v, const struct avm_file *file)
{
	for (enum avm_verify_kind kind = 0; kind < AVM_IS_FILE; kind++) {
		if (avm_verify_owned(v, kind, file))
			return false;
	}
	if (avm_misaligned(file) || file->machine != v->m)
		return false;
	return !file->owned || avm_verify_owned(v, AVM_IS_FILE, file);
}

bool avm_verify_first_of_file(struct avm_verify *v, const struct avm_vma *vma)
{
	const struct avm_inode *node = vma->file->mappings.root;
	const struct avm_inode *parent = NULL;
	const struct avm_inode *first = NULL;

	while (node && avm_verify_owned(v, AVM_IS_VMA, avm_suspect(node, struct avm_vma, shared)) &&
	       avm_inode_parent(node) == parent) {
		first = node;
		parent = node;
		node = node->left;
	}
	return first == &vma->shared;
}

static void check_file(struct avm_verify *v, const struct avm_file *file)
{
	const struct avm_where where = { .file = file };
	uint32_t refs = atomic_load_explicit(&file->refs, memory_order_relaxed);
	bool ok;
	uint64_t n = avm_verify_tree(v, &file->mappings, AVM_IS_VMA, file, &ok);

	avm_verify_equal(v, 3, "number of mappings of a file", &where, file->nr_mappings, n);
	if (refs < n)
		avm_verify_say(v, 3, "a file has fewer references than mappings", &where);
	avm_verify_rwsem(v, &file->mmap_lock, &where);
	avm_verify_spin(v, &file->pages_lock, &where);
	avm_verify_reach_file(v, file, ok);
}

/*
 * Up from the VMA to the root, each step pointing back: is it in the tree, and so met by a walk of
 * it? A way up may lead round in circles that no way down enters: no tree is as high as
 * MAX_TREE_HEIGHT.
 */
static bool in_tree_of_file(struct avm_verify *v, const struct avm_vma *vma)
{
	const struct avm_inode *node = &vma->shared;

	for (int step = 0; step < MAX_TREE_HEIGHT && avm_inode_linked(node); step++) {
		const struct avm_inode *parent = avm_inode_parent(node);

		if (!parent)
			return vma->file->mappings.root == node;
		if (!avm_verify_owned(v, AVM_IS_VMA, avm_suspect(parent, struct avm_vma, shared)))
			return false;
		if (parent->left != node && parent->right != node)
			return false;
		node = parent;
	}
	return false;
}

static void check_owner(struct avm_verify *v, const struct avm_mm *mm, const struct avm_vma *vma)
{
	struct avm_record *r = avm_verify_record(v, AVM_IS_VMA, vma);

	if (vma->mm == mm)
		return;
	if (r)
		r->broken = true;
	avm_verify_say(v, 3, "a VMA names another owner",
		       &(struct avm_where){ .mm = mm, .vma = vma, .raw = vma->mm });
}

static void check_backing(struct avm_verify *v, const struct avm_mm *mm, const struct avm_vma *vma)
{
	const struct avm_where where = { .mm = mm, .vma = vma };

	if (!vma->file) {
		if (avm_inode_linked(&vma->shared))
			avm_verify_say(v, 3, "a VMA without a file is in a tree of mappings",
				       &where);
		return;
	}
	if (!avm_verify_file_ok(v, vma->file)) {
		avm_verify_say(v, 3, "a VMA maps something that is no file of this machine",
			       &(struct avm_where){ .mm = mm, .vma = vma, .raw = vma->file });
		return;
	}
	if (v->only) {
		/* The other mappings are not ours to look at. */
		if (!avm_inode_linked(&vma->shared))
			avm_verify_say(v, 3, "a VMA is not in the tree of its file", &where);
		return;
	}
	if (!in_tree_of_file(v, vma))
		avm_verify_say(v, 3, "a VMA is not in the tree of its file", &where);
	if (avm_verify_first_of_file(v, vma))
		check_file(v, vma->file);
}

/* ---- one address space ---------------------------------------------------------------------- */

/* Where faults look first: VMAs of this address space only. Those of the list have been reached, and no others. */
static void check_recent(struct avm_verify *v, struct avm_mm *mm)
{
	for (unsigned i = 0; i < AVM_RECENT_VMAS; i++) {
		uintptr_t recent = atomic_load_explicit(&mm->recent[i], memory_order_relaxed);
		const struct avm_vma *vma = (const struct avm_vma *)(recent & ~AVM_RECENT_TAG);
		const struct avm_record *r = avm_verify_record(v, AVM_IS_VMA, vma);

		if (vma &&
		    (!avm_verify_owned(v, AVM_IS_VMA, vma) || (r && !r->reached) || vma->mm != mm))
			avm_verify_say(v, 41, "faults find a VMA that is not in the address space",
				       &(struct avm_where){ .mm = mm, .raw = vma });
	}
}

/* Kept for the next operation. Those of the list have been reached. */
static void check_spares(struct avm_verify *v, const struct avm_mm *mm)
{
	uint32_t nr = atomic_load_explicit(&mm->nr_spare, memory_order_relaxed);
	const struct avm_where where = { .mm = mm };

	if (nr > AVM_SPARE_VMAS) {
		avm_verify_say(v, 1, "more spare VMAs than there can be", &where);
		return;
	}
	for (uint32_t i = 0; i < nr; i++) {
		const struct avm_record *r = avm_verify_record(v, AVM_IS_VMA, mm->spare[i]);

		if (!avm_verify_owned(v, AVM_IS_VMA, mm->spare[i]))
			avm_verify_say(v, 1, "a spare VMA is no VMA", &where);
		else if (r && r->reached)
			avm_verify_say(v, 1, "a spare VMA is in use", &where);
		else
			avm_verify_reach(v, AVM_IS_VMA, mm->spare[i]);
	}
}

void avm_verify_vmas(struct avm_verify *v, struct avm_mm *mm)
{
	struct counts n = { 0 };
	const struct avm_vma *vma, *last = NULL;
	avm_addr_t floor = 0;

	check_tree(v, mm);
	for (vma = NULL; (vma = avm_verify_next_vma(v, mm, vma)); last = vma) {
		avm_verify_reach(v, AVM_IS_VMA, vma);
		check_range(v, mm, vma, floor);
		floor = vma->end;
		check_owner(v, mm, vma);
		count_pages(&n, vma);
		check_vma_locks(v, mm, vma);
		check_backing(v, mm, vma);
	}
	if ((last ? last->link.next : mm->vmas.list.next) != &mm->vmas.list)
		avm_verify_say(v, 1, "the list of VMAs is broken",
			       &(struct avm_where){ .mm = mm, .vma = last });
	check_recent(v, mm);
	check_spares(v, mm);
	check_counts(v, mm, &n);
}
