/* SPDX-License-Identifier: MIT */
/*
 * verify_tree.c - interval trees whose links may lead anywhere (verify.h).
 *
 * avm_itree_check() judges order, balance and bounds, but wants links that lead to readable memory.
 * So each link is followed here first, to see that it leads to a chain entry (a VMA) that is
 * allocated, that points back, and that belongs into this tree.
 */
#include "verify.h"

struct walk {
	struct avm_verify *v;
	enum avm_verify_kind kind;
	const void *owner;
	uint64_t nodes;
	bool ok;
};

static void complain(struct walk *w, const char *what, const void *raw)
{
	struct avm_where where = { .raw = raw };

	w->ok = false;
	if (w->kind == AVM_IS_AVC)
		where.av = w->owner;
	else if (w->kind == AVM_IS_VMA)
		where.file = w->owner;
	avm_verify_say(w->v,
		       w->kind == AVM_IS_AVC ? 12 :
		       w->kind == AVM_IS_VMA ? 3 :
					       40,
		       what, &where);
}

static bool links_back(const struct avm_inode *node, const struct avm_inode *parent)
{
	return avm_inode_linked(node) && avm_inode_parent(node) == parent;
}

static bool enter_avc(struct walk *w, const struct avm_inode *node, const struct avm_inode *parent)
{
	struct avm_anon_vma_chain *avc = avm_suspect(node, struct avm_anon_vma_chain, node);
	struct avm_record *r;

	if (!avm_verify_owned(w->v, AVM_IS_AVC, avc)) {
		complain(w, "a link of the tree leads to no chain entry", node);
		return false;
	}
	if (!links_back(node, parent)) {
		complain(w, "a chain entry does not point back to its parent in the tree", avc);
		return false;
	}
	if (avc->anon_vma != w->owner)
		complain(w, "a chain entry in the tree is another anon_vma's", avc);
	if (!avm_verify_owned(w->v, AVM_IS_VMA, avc->vma))
		complain(w, "a chain entry in the tree belongs to no live VMA", avc);
	r = avm_verify_record(w->v, AVM_IS_AVC, avc);
	if (r)
		r->in_tree++;
	return true;
}

static bool enter_vma(struct walk *w, const struct avm_inode *node, const struct avm_inode *parent)
{
	struct avm_vma *vma = avm_suspect(node, struct avm_vma, shared);

	if (!avm_verify_owned(w->v, AVM_IS_VMA, vma)) {
		complain(w, "a link of the tree of mappings leads to no VMA", node);
		return false;
	}
	if (!links_back(node, parent)) {
		complain(w, "a VMA does not point back to its parent in the tree of mappings", vma);
		return false;
	}
	if (vma->file != w->owner)
		complain(w, "a VMA in the tree of mappings maps another file", vma);
	return true;
}

/* A merged page or a page that merging has seen, by hash: both begin with that. */
static bool enter_hashed(struct walk *w, const struct avm_inode *node,
			 const struct avm_inode *parent)
{
	struct avm_hashed *h = avm_suspect(node, struct avm_hashed, node);
	struct avm_record *r;

	if (!avm_verify_owned(w->v, w->kind, h)) {
		complain(w, "a link of a tree by hash leads to nothing that belongs there", node);
		return false;
	}
	if (!links_back(node, parent)) {
		complain(w, "a node of a tree by hash does not point back to its parent", h);
		return false;
	}
	r = avm_verify_record(w->v, w->kind, h);
	if (r)
		r->in_tree++;
	return true;
}

static bool enter(struct walk *w, const struct avm_inode *node, const struct avm_inode *parent)
{
	bool ok;

	if (!node)
		return false;
	if (w->kind == AVM_IS_AVC)
		ok = enter_avc(w, node, parent);
	else if (w->kind == AVM_IS_VMA)
		ok = enter_vma(w, node, parent);
	else
		ok = enter_hashed(w, node, parent);
	w->nodes += ok;
	return ok;
}

static const char *check_order(const struct walk *w, const struct avm_itree *tree)
{
	if (w->kind == AVM_IS_AVC)
		return avm_family_tree_check(tree, w->nodes);
	if (w->kind == AVM_IS_VMA)
		return avm_mappings_check(tree, w->nodes);
	return avm_hash_tree_check(tree, w->nodes);
}

/*
 * Each node is entered from its only parent, so this ends; ways up are ways that have been come
 * down.
 */
static void walk(struct walk *w, const struct avm_inode *node)
{
	enum {
		ENTERED,
		LEFT_DONE,
		RIGHT_DONE,
	} state = ENTERED;

	if (!enter(w, node, NULL))
		return;
	while (node) {
		const struct avm_inode *parent = avm_inode_parent(node);

		if (state == ENTERED) {
			state = LEFT_DONE;
			if (enter(w, node->left, node)) {
				node = node->left;
				state = ENTERED;
			}
			continue;
		}
		if (state == LEFT_DONE) {
			state = RIGHT_DONE;
			if (node->right && node->right == node->left) {
				complain(w, "one node is both children", node);
			} else if (enter(w, node->right, node)) {
				node = node->right;
				state = ENTERED;
			}
			continue;
		}
		if (parent)
			state = parent->left == node ? LEFT_DONE : RIGHT_DONE;
		node = parent;
	}
}

uint64_t avm_verify_tree(struct avm_verify *v, const struct avm_itree *tree,
			 enum avm_verify_kind kind, const void *owner, bool *ok)
{
	struct walk w = { .v = v, .kind = kind, .owner = owner, .ok = true };
	const char *fault;

	walk(&w, tree->root);
	if (w.ok) {
		fault = check_order(&w, tree);
		if (fault)
			complain(&w, fault, NULL);
	}
	*ok = w.ok;
	return w.nodes;
}
