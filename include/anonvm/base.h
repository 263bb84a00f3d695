/* SPDX-License-Identifier: MIT */
/*
 * The shapes of the base data structures: list, interval tree, VMA tree, radix tree.
 *
 * They are public only because structs that a caller places embed them. The operations are internal
 * (src/list.h, src/interval_tree.h, src/vma_tree.h, src/radix.h); an embedder never touches a field.
 * All of them are valid and empty when zero, except a list head and a VMA tree, which need their init.
 */
#ifndef ANONVM_BASE_H
#define ANONVM_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A virtual address. 64 bits everywhere, whatever the host: a simulated machine may be larger than it. */
typedef uint64_t avm_addr_t;

/* A link of a circular doubly-linked list, or its head. */
struct avm_list {
	struct avm_list *next;
	struct avm_list *prev;
};

/*
 * A node of an interval tree (rank-balanced binary tree, augmented with the largest last key below).
 * The two low bits of parent_bits are the parity of the rank and "this node is in a tree".
 */
struct avm_inode {
	uintptr_t parent_bits;
	struct avm_inode *left;
	struct avm_inode *right;
	uint64_t subtree_last;
};

struct avm_itree {
	struct avm_inode *root;
};

_Static_assert(sizeof(void *) != 8 || sizeof(struct avm_inode) == 32, "one edge, one cache line");

/*
 * Where a tree gets its nodes. alloc returns NULL when there is no memory. Contents are undefined;
 * nodes should be aligned to a cache line (speed only).
 */
struct avm_node_alloc {
	void *(*alloc)(void *context);
	void (*free)(void *context, void *node);
	void *context;
};

struct avm_vma_node;

/* Even with the emptiest nodes so many levels are 2 * 5^13 VMAs: more than there is memory for. */
#define AVM_VMA_TREE_MAX_HEIGHT 14

/* The way from a leaf (0) to the root (height - 1): an entry of a node on each level. */
struct avm_vma_path {
	struct avm_vma_node *node[AVM_VMA_TREE_MAX_HEIGHT];
	uint8_t index[AVM_VMA_TREE_MAX_HEIGHT];
};

/*
 * The VMAs of one address space: a B+-tree by address, and a list in the same order.
 * The lock that protects the set of VMAs protects it all; root alone may be read without.
 */
struct avm_vma_tree {
	struct avm_vma_node *_Atomic root; /* NULL when empty */
	uint32_t height; /* levels, leaves included; 0 when empty */
	uint32_t nr_reserve; /* nodes on the reserve list */
	uint64_t count; /* VMAs */
	struct avm_list list; /* of avm_vma.link, ascending */
	struct avm_vma_node *reserve; /* nodes promised to coming inserts */
	const struct avm_node_alloc *nodes;
	uint64_t guard; /* bytes kept free below a VMA that grows down */
	uint64_t guard_flags; /* any of these in avm_vma.flags: it grows down */
	/*
	 * The way of the last change, where the next one often is: all of [way_from, way_to) is in that leaf; empty: the way
	 * is lost. The index in the leaf is where that change was.
	 */
	struct avm_vma_path way;
	avm_addr_t way_from, way_to;
};

struct avm_radix_node;

/* A map from a 64-bit index to a pointer: the pages of a file. */
struct avm_radix {
	struct avm_radix_node *root; /* NULL when empty */
	uint32_t height; /* levels; 0 when empty */
};

#endif
