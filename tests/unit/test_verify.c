/* SPDX-License-Identifier: MIT */
/*
 * Verify is silent on a machine in order, and says the right number for each violation: every test
 * plants one in the middle of a machine, sees it reported, takes it back, and sees silence again.
 * Whatever is planted, nothing crashes.
 */
#include "verify_rig.h"

#include "pgtable.h"
#include "radix.h"
#include "random.h"
#include "slab.h"
#include "vma_node.h"

/* ---- planting ------------------------------------------------------------------------------- */

enum {
	MAX_PLANTED = 32,
	MAX_BYTES = 64,
};

struct planted {
	void *at;
	size_t size;
	unsigned char old[MAX_BYTES];
};

struct field {
	struct rig r;
	struct planted planted[MAX_PLANTED];
	unsigned nr_planted;
};

static void plant(struct field *f, void *at, const void *value, size_t size)
{
	struct planted *p = &f->planted[f->nr_planted++];

	assert_true(f->nr_planted <= MAX_PLANTED && size <= MAX_BYTES);
	p->at = at;
	p->size = size;
	memcpy(p->old, at, size);
	memcpy(at, value, size);
}

/* Sets a field, whatever its type, to an integer or pointer. */
#define PLANT(f, lvalue, value) \
	do { \
		uint64_t planted_value = (uint64_t)(value); \
		_Static_assert(sizeof(lvalue) <= sizeof(planted_value), "a scalar"); \
		plant(f, (void *)(uintptr_t) & (lvalue), &planted_value, sizeof(lvalue)); \
	} while (0)
#define PLANT_PTR(f, lvalue, value) PLANT(f, lvalue, (uintptr_t)(value))

/* Adds to a counter. */
#define PLANT_ADD(f, lvalue, n) PLANT(f, lvalue, (uint64_t)(lvalue) + (uint64_t)(n))

static void undo(struct field *f)
{
	while (f->nr_planted) {
		struct planted *p = &f->planted[--f->nr_planted];

		memcpy(p->at, p->old, p->size);
	}
}

/* What the report says of the machine as it is. */
static void look(struct field *f, struct capture *c)
{
	int64_t n;

	capture_init(c);
	n = avm_verify(f->r.w.m, AVM_VERIFY_ALL, &c->sink);
	assert_true(n >= 0);
	assert_int_equal(n, c->lines);
}

/* `what` is a number, or a number and the beginning of what is said. */
static bool says(const struct capture *c, const char *what)
{
	size_t n = strlen(what);

	for (const char *line = c->text; *line; line = strchr(line, '\n') + 1)
		if (!strncmp(line, what, n) && (line[n] == ':' || strchr(what, ':')))
			return true;
	return false;
}

static void reported(struct field *f, const char *number)
{
	struct capture c;

	look(f, &c);
	if (!says(&c, number))
		fail_msg("%s expected; the report is:\n%s", number, c.text);
	capture_free(&c);
}

/*
 * The number is among the report's, now and on no account afterwards. All ways of looking survive
 * it.
 */
static void expect_and_undo(struct field *f, const char *number)
{
	reported(f, number);
	for (int level = AVM_VERIFY_VMAS; level <= AVM_VERIFY_ALL; level++) {
		avm_verify(f->r.w.m, (enum avm_verify_level)level, NULL);
		avm_verify_mm(f->r.ma, (enum avm_verify_level)level, NULL);
		avm_verify_mm(f->r.mc, (enum avm_verify_level)level, NULL);
	}
	undo(f);
	rig_quiet(&f->r);
}

/* The number is the only one: for what must not set off a cascade. */
static void expect_only(struct field *f, const char *number)
{
	struct capture c;

	look(f, &c);
	if (c.lines != 1 || !says(&c, number))
		fail_msg("one %s expected; the report is:\n%s", number, c.text);
	capture_free(&c);
	expect_and_undo(f, number);
}

static int setup(void **state)
{
	struct field *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	rig_open(&f->r, AVM_FAMILY_REUSE);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct field *f = *state;

	rig_close(&f->r);
	free(f);
	return 0;
}

/*
 * Pointers that lead nowhere good; the last ones lead to objects, of the wrong kind or to the wrong
 * one.
 */
static _Alignas(64) unsigned char garbage[4096];

enum {
	NR_WILD = 7,
};

static void *wild(struct field *f, unsigned i)
{
	struct avm_vma *vma = vma_at(f->r.ma, f->r.idle);

	switch (i) {
	case 0:
		return NULL;
	case 1:
		return (void *)(uintptr_t)8;
	case 2:
		return garbage + 128;
	case 3:
		return garbage + 131;
	case 4:
		return vma;
	case 5:
		return (char *)vma + 8;
	default:
		return atomic_load(&f->r.ma->vmas.root);
	}
}

/* ---- in order ------------------------------------------------------------------------------- */

static void a_machine_in_order_is_passed_in_silence(void **state)
{
	static const enum avm_family_policy policies[] = { AVM_FAMILY_REUSE, AVM_FAMILY_CHAIN,
							   AVM_FAMILY_FLAT };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct rig r;

		rig_open(&r, policies[i]);
		sim_proc_exit(r.b);
		rig_quiet(&r);
		assert_int_equal(avm_munmap(r.ma, r.anon + 2 * PAGE, 3 * PAGE), 0);
		rig_quiet(&r);
		sim_proc_exit(r.a);
		rig_quiet(&r);
		rig_close(&r);
	}
}

static void an_empty_machine_is_passed_in_silence(void **state)
{
	struct sim *s;

	(void)state;
	assert_int_equal(sim_create(&s, &(struct sim_config){ .frames = 8 }), 0);
	for (int level = AVM_VERIFY_VMAS; level <= AVM_VERIFY_ALL; level++)
		assert_int_equal(avm_verify(sim_machine(s), (enum avm_verify_level)level, NULL), 0);
	assert_int_equal(sim_destroy(s), 0);
}

static void looking_changes_no_counter_and_keeps_no_memory(void **state)
{
	struct field *f = *state;
	struct avm_stats before, after;
	uint64_t bytes = sim_meta_bytes(f->r.w.s);
	uint64_t allocs = sim_allocs(f->r.w.s);

	avm_stats(f->r.w.m, &before);
	assert_int_equal(avm_verify(f->r.w.m, AVM_VERIFY_ALL, NULL), 0);
	avm_stats(f->r.w.m, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(sim_meta_bytes(f->r.w.s), bytes);
	assert_int_equal(sim_allocs(f->r.w.s), allocs);
}

/* ---- V1 ------------------------------------------------------------------------------------- */

static void v1_counts_of_pages(void **state)
{
	struct field *f = *state;

	PLANT_ADD(f, f->r.ma->total_vm, 1);
	expect_only(f, "V1");
	PLANT_ADD(f, f->r.ma->data_vm, 1);
	expect_only(f, "V1");
	PLANT_ADD(f, f->r.mb->exec_vm, 1);
	expect_only(f, "V1");
	PLANT_ADD(f, f->r.mb->stack_vm, 1);
	expect_only(f, "V1");
	PLANT_ADD(f, f->r.ma->locked_vm, -1);
	expect_only(f, "V1");
	PLANT_ADD(f, f->r.ma->vmas.count, 1);
	expect_and_undo(f, "V1: number of VMAs");
	PLANT_ADD(f, f->r.w.m->committed, 1);
	expect_only(f, "V1");
	PLANT_ADD(f, f->r.ma->committed, 1);
	expect_and_undo(f, "V1: pages promised, as it counts them");
}

/* A VMA that is kept for the next operation is of the address space and in nothing else. */
static void v1_spare_vmas(void **state)
{
	struct field *f = *state;
	struct avm_mm *mm = f->r.ma;
	uint32_t nr = mm->nr_spare;

	assert_true(nr < AVM_SPARE_VMAS);
	PLANT(f, mm->nr_spare, AVM_SPARE_VMAS + 1);
	expect_and_undo(f, "V1: more spare VMAs than there can be");
	PLANT(f, mm->nr_spare, nr + 1);
	mm->spare[nr] = vma_at(mm, f->r.anon);
	expect_and_undo(f, "V1: a spare VMA is in use");
	PLANT(f, mm->nr_spare, nr + 1);
	mm->spare[nr] = (struct avm_vma *)(void *)mm;
	expect_and_undo(f, "V1: a spare VMA is no VMA");
}

static void v1_way_to_a_change(void **state)
{
	struct field *f = *state;
	struct avm_vma_tree *tree = &f->r.ma->vmas;

	assert_ptr_equal(avm_vma_tree_find_way(tree, f->r.anon), vma_at(f->r.ma, f->r.anon));
	rig_quiet(&f->r);
	PLANT_PTR(f, tree->way.node[0], tree->reserve);
	expect_only(f, "V1: VMA tree: the way kept leads elsewhere");
	PLANT_ADD(f, tree->way_to, -PAGE);
	expect_only(f, "V1: VMA tree: the way kept leads elsewhere");
	PLANT_ADD(f, tree->way_from, PAGE);
	expect_only(f, "V1: VMA tree: the way kept leads elsewhere");
}

static void v1_ranges(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.ma, f->r.anon);
	struct avm_vma *middle = vma_at(f->r.ma, f->r.split + 2 * PAGE);

	PLANT_ADD(f, vma->end, 1);
	expect_and_undo(f, "V1: a VMA is not page-aligned");
	PLANT_ADD(f, vma->end, PAGE);
	expect_and_undo(f, "V1");
	PLANT_ADD(f, middle->start, -PAGE);
	expect_and_undo(f, "V1: a VMA begins before the one below it ends");
	PLANT(f, vma->start, vma->end);
	expect_and_undo(f, "V1: a VMA is empty");
	PLANT(f, vma->start, vma->end + 7 * PAGE);
	expect_and_undo(f, "V1: a VMA is empty");
	PLANT(f, f->r.ma->task_size, vma->start);
	expect_and_undo(f, "V1: a VMA ends beyond the address space");
}

static void v1_list(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.ma, f->r.anon);
	struct avm_vma *far = avm_list_first(&f->r.ma->vmas.list, struct avm_vma, link);

	for (unsigned i = 0; i < NR_WILD; i++) {
		PLANT_PTR(f, vma->link.next, wild(f, i));
		expect_and_undo(f, "V1: the list of VMAs is broken");
		PLANT_PTR(f, vma->link.prev, wild(f, i));
		expect_and_undo(f, "V1: the list of VMAs is broken");
		PLANT_PTR(f, f->r.ma->vmas.list.next, wild(f, i));
		expect_and_undo(f, "V1: the list of VMAs is broken");
	}
	PLANT_PTR(f, vma->link.next, &vma->link); /* round in circles */
	expect_and_undo(f, "V1: the list of VMAs is broken");
	PLANT_PTR(f, vma->link.next, &far->link);
	expect_and_undo(f, "V1: the list of VMAs is broken");
	PLANT_PTR(f, vma->link.next, &vma->link);
	PLANT_PTR(f, vma->link.prev, &vma->link);
	expect_and_undo(f, "V1: the list of VMAs is broken");
}

static void v1_tree(void **state)
{
	struct field *f = *state;
	struct avm_vma_node *root = atomic_load(&f->r.ma->vmas.root);

	assert_int_equal(root->level, 0);
	avm_vma_tree_trim(&f->r.ma->vmas);
	for (unsigned i = 0; i < NR_WILD; i++) {
		void *pointer = wild(f, i);

		if (pointer != root) {
			PLANT_PTR(f, f->r.ma->vmas.root, pointer);
			expect_and_undo(f, pointer ? "V1: a link of the VMA tree leads to no node" :
						     "V1: the height of the VMA tree is wrong");
		}
		if (pointer) {
			PLANT_PTR(f, f->r.ma->vmas.reserve, pointer);
			expect_and_undo(f,
					"V1: the reserve of the VMA tree is longer than it says");
		}
		if (pointer && pointer != root) {
			PLANT_PTR(f, f->r.ma->vmas.reserve, pointer);
			PLANT(f, f->r.ma->vmas.nr_reserve, 1);
			expect_and_undo(f, "V1: the reserve of the VMA tree leads to no node");
		}
		if (pointer != wild(f, 4)) {
			PLANT_PTR(f, root->slot[1], pointer);
			expect_and_undo(f, "V1: an entry of the VMA tree leads to no VMA");
		}
	}
	PLANT_ADD(f, f->r.ma->vmas.height, 1);
	expect_and_undo(f, "V1: a node of the VMA tree is overwritten");
	PLANT(f, f->r.ma->vmas.height, 200);
	expect_and_undo(f, "V1: the height of the VMA tree is wrong");
	PLANT(f, root->magic, 0);
	expect_and_undo(f, "V1: a node of the VMA tree is overwritten");
	PLANT(f, root->count, 4000);
	expect_and_undo(f, "V1: a node of the VMA tree is overwritten");
	PLANT_ADD(f, root->gap[1], PAGE);
	expect_only(f, "V1: VMA tree: the gap before a VMA is wrong");
}

static void nodes_in_reserve_are_in_order(void **state)
{
	struct field *f = *state;

	assert_int_equal(avm_vma_tree_reserve(&f->r.ma->vmas, 50), 0);
	assert_true(f->r.ma->vmas.nr_reserve > 1);
	rig_quiet(&f->r);
	PLANT_ADD(f, f->r.ma->vmas.nr_reserve, -1);
	expect_and_undo(f, "V1: the reserve of the VMA tree is longer than it says");
	PLANT_ADD(f, f->r.ma->vmas.nr_reserve, 1);
	expect_only(f, "V1: VMA tree: the reserve has not as many nodes as it says");
	avm_vma_tree_trim(&f->r.ma->vmas);
}

/* Enough VMAs for a tree of two levels, whose root is then bent. */
static void v1_inner_nodes(void **state)
{
	struct field *f = *state;
	struct avm_vma_node *root;

	for (unsigned i = 0; i < 60; i++)
		map_at(f->r.ma, 0x10000000 + 2 * i * PAGE, 1, i % 2 ? RW : AVM_PROT_READ, ANON,
		       NULL, 0);
	root = atomic_load(&f->r.ma->vmas.root);
	assert_int_equal(root->level, 1);
	rig_quiet(&f->r);
	for (unsigned i = 0; i < NR_WILD; i++) {
		PLANT_PTR(f, root->slot[1], wild(f, i));
		expect_and_undo(f, "V1");
	}
	PLANT_PTR(f, root->slot[1], atomic_load(&root->slot[0]));
	expect_and_undo(f, "V1: a node of the VMA tree is met in two places");
	PLANT_PTR(f, root->slot[1], root);
	expect_and_undo(f, "V1: a node of the VMA tree is overwritten");
}

/* Level 1 has no records: there, the number of nodes is what ends a walk. */
static void v1_one_node_in_every_place(void **state)
{
	struct field *f = *state;
	struct avm_vma_node *root;
	struct capture c;

	for (unsigned i = 0; i < 60; i++)
		map_at(f->r.ma, 0x10000000 + 2 * i * PAGE, 1, RW, ANON, NULL, 0);
	root = atomic_load(&f->r.ma->vmas.root);
	assert_int_equal(root->level, 1);
	PLANT(f, root->count, AVM_VMA_NODE_SLOTS);
	for (unsigned i = 1; i < AVM_VMA_NODE_SLOTS; i++)
		PLANT_PTR(f, root->slot[i], atomic_load(&root->slot[0]));
	capture_init(&c);
	avm_verify(f->r.w.m, AVM_VERIFY_VMAS, &c.sink);
	assert_true(says(&c, "V1: the VMA tree has more nodes than there are"));
	capture_free(&c);
	expect_and_undo(f, "V1");
}

/* ---- V3 ------------------------------------------------------------------------------------- */

static void v3_owner(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.mb, f->r.anon);

	PLANT_PTR(f, vma->mm, f->r.ma);
	expect_and_undo(f, "V3");
	PLANT_PTR(f, vma->mm, garbage + 1);
	expect_and_undo(f, "V3");
	PLANT_PTR(f, vma->mm, NULL);
	expect_and_undo(f, "V3");
}

static void v3_file(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.mb, f->r.shared);

	PLANT_PTR(f, vma->file,
		  garbage + 128); /* readable, as it must be: files are the embedder's */
	expect_and_undo(f, "V3: a VMA maps something that is no file of this machine");
	PLANT_PTR(f, vma->file, vma);
	expect_and_undo(f, "V3: a VMA maps something that is no file of this machine");
	PLANT_PTR(f, vma->file, f->r.memfd);
	expect_and_undo(f, "V3: a VMA in the tree of mappings maps another file");
	PLANT_PTR(f, vma->file, NULL);
	expect_and_undo(f, "V3: a VMA without a file is in a tree of mappings");
	PLANT_ADD(f, f->r.file->nr_mappings, 1);
	expect_only(f, "V3");
	PLANT(f, f->r.file->refs, 1);
	expect_only(f, "V3");
	PLANT_ADD(f, vma->pgoff, 1);
	expect_and_undo(f, "V3");
}

static void v3_tree_of_mappings(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.mb, f->r.shared);
	struct avm_inode *root = f->r.file->mappings.root;

	assert_ptr_not_equal(&vma->shared, root);
	for (unsigned i = 0; i < NR_WILD; i++) {
		PLANT_PTR(f, vma->shared.left, wild(f, i) ? wild(f, i) : garbage);
		expect_and_undo(f, "V3: a link of the tree of mappings leads to no VMA");
		PLANT_PTR(f, vma->shared.parent_bits, wild(f, i));
		expect_and_undo(f, "V3: a VMA does not point back to its parent in the tree");
		PLANT_PTR(f, f->r.file->mappings.root, wild(f, i));
		expect_and_undo(f, "V3: a VMA is not in the tree of its file");
	}
	PLANT(f, vma->shared.subtree_last, 99);
	expect_and_undo(f, "V3");
	PLANT_PTR(f, root->right, root->left);
	expect_and_undo(f, "V3: one node is both children");
	PLANT_PTR(f, root->left, root);
	expect_and_undo(f, "V3");
}

/* Two that point to each other, both ways up: no root, and no end. */
static void v3_a_circle_beside_the_tree(void **state)
{
	struct field *f = *state;
	struct avm_vma *one = vma_at(f->r.mb, f->r.shared);
	struct avm_vma *two = vma_at(f->r.mc, f->r.shared);

	PLANT_PTR(f, one->shared.parent_bits, (uintptr_t)&two->shared | AVM_INODE_LINKED);
	PLANT_PTR(f, two->shared.parent_bits, (uintptr_t)&one->shared | AVM_INODE_LINKED);
	PLANT_PTR(f, one->shared.left, &two->shared);
	PLANT_PTR(f, two->shared.left, &one->shared);
	expect_and_undo(f, "V3");
}

static void v3_not_in_the_tree(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma =
		vma_at(f->r.ma, f->r.shared); /* has entries: fork leaves those of files out */

	avm_mappings_remove(&f->r.file->mappings, vma);
	f->r.file->nr_mappings--;
	reported(f, "V3");
	reported(f, "V22");
	avm_mappings_insert(&f->r.file->mappings, vma);
	f->r.file->nr_mappings++;
	rig_quiet(&f->r);
}

/* ---- V10, V11 ------------------------------------------------------------------------------- */

static void v10_anon_vma_and_chain(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.mb, f->r.anon);
	struct avm_vma *idle = vma_at(f->r.ma, f->r.idle);

	PLANT_PTR(f, vma->anon_vma, NULL);
	expect_and_undo(f, "V10");
	PLANT_PTR(f, idle->anon_vma, avm_vma_anon(vma));
	expect_and_undo(f, "V10");
	PLANT_ADD(f, vma->chain_len, 1);
	expect_only(f, "V10");
	/* The chain is gone, and its entries lie in trees. */
	PLANT_PTR(f, vma->chain.next, &vma->chain);
	PLANT_PTR(f, vma->chain.prev, &vma->chain);
	expect_and_undo(f, "V10");
}

static void v11_own_and_root(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.mc, f->r.anon);
	struct avm_vma *other = vma_at(f->r.mc, f->r.split);
	struct avm_anon_vma *own = avm_vma_anon(vma);

	assert_int_equal(vma->chain_len, 3);
	PLANT_PTR(f, vma->anon_vma, avm_vma_anon(other));
	expect_and_undo(f, "V11: the VMA's own anon_vma is not on its chain");
	PLANT_PTR(f, own->root, own);
	expect_and_undo(f, "V11: the root of an anon_vma is not the last of the chain");
	PLANT_PTR(f, avc_at(vma, 2)->anon_vma->root, own);
	expect_and_undo(f, "V11: the last anon_vma of the chain is not a root");
	for (unsigned i = 0; i < NR_WILD; i++) {
		PLANT_PTR(f, vma->anon_vma, wild(f, i));
		expect_and_undo(f, wild(f, i) ? "V11" : "V10");
		PLANT_PTR(f, own->root, wild(f, i));
		expect_and_undo(f, "V16: the root of an anon_vma has been freed");
	}
}

static void v11_entries(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.mc, f->r.anon);
	struct avm_anon_vma_chain *avc = avc_at(vma, 1);

	PLANT_PTR(f, avc->anon_vma, avc_at(vma, 0)->anon_vma);
	expect_and_undo(f, "V11: an anon_vma is twice on one chain");
	for (unsigned i = 0; i < NR_WILD; i++) {
		PLANT_PTR(f, avc->anon_vma, wild(f, i));
		expect_and_undo(f, "V11: an entry of the chain names no live anon_vma");
		PLANT_PTR(f, avc->vma, wild(f, i));
		expect_and_undo(f, "V11: an entry of the chain names another VMA");
		PLANT_PTR(f, avc->same_vma.next, wild(f, i));
		expect_and_undo(f, "V11: the list of the chain is broken");
		PLANT_PTR(f, avc->same_vma.prev, wild(f, i));
		expect_and_undo(f, "V11: the list of the chain is broken");
		PLANT_PTR(f, vma->chain.next, wild(f, i));
		expect_and_undo(f, "V11: the list of the chain is broken");
		PLANT_PTR(f, vma->chain.prev, wild(f, i));
		expect_and_undo(f, "V11: the list of the chain ends elsewhere");
	}
	PLANT_PTR(f, avc->same_vma.next, &avc->same_vma);
	expect_and_undo(f, "V11: the list of the chain is broken");
}

/* ---- V12 ------------------------------------------------------------------------------------ */

static void v12_not_in_the_tree(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.mb, f->r.anon);
	struct avm_anon_vma_chain *avc = avc_at(vma, 1);

	avm_family_tree_remove(&avc->anon_vma->tree, avc);
	reported(f, "V12");
	reported(f, "V22"); /* b's pages of the time before the fork are not found */
	avm_family_tree_insert(&avc->anon_vma->tree, avc);
	rig_quiet(&f->r);
}

static void v12_not_on_the_chain(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.mb, f->r.anon);
	struct avm_anon_vma_chain *avc = avc_at(vma, 1);
	struct avm_list *before = avc->same_vma.prev;

	avm_list_del(&avc->same_vma);
	vma->chain_len--;
	reported(f, "V12");
	avm_list_add(&avc->same_vma, before);
	vma->chain_len++;
	rig_quiet(&f->r);
}

/* gallery 14: a boundary moves and the trees are not told. */
static void v12_stale_range(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.ma, f->r.anon);

	PLANT_ADD(f, vma->pgoff, 100);
	expect_and_undo(f, "V12");
	PLANT_ADD(f, avc_at(vma, 0)->node.subtree_last, 1);
	expect_and_undo(f, "V12");
}

static void v12_links(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.mc, f->r.anon);
	struct avm_anon_vma_chain *avc = avc_at(vma, 2);
	struct avm_anon_vma *root = avc->anon_vma;

	assert_ptr_not_equal(root->tree.root, &avc->node);
	for (unsigned i = 0; i < NR_WILD; i++) {
		void *pointer = wild(f, i);

		PLANT_PTR(f, avc->node.parent_bits, (uintptr_t)pointer | AVM_INODE_LINKED | 4);
		expect_and_undo(f,
				"V12: a chain entry does not point back to its parent in the tree");
		if (pointer) {
			PLANT_PTR(f, avc->node.left, pointer);
			expect_and_undo(f, "V12: a link of the tree leads to no chain entry");
			PLANT_PTR(f, root->tree.root, pointer);
			expect_and_undo(f, "V12: a link of the tree leads to no chain entry");
		}
		PLANT_PTR(f, avc->vma, pointer);
		if (i != 4) /* the one that is a VMA */
			reported(f, "V12: a chain entry in the tree belongs to no live VMA");
		expect_and_undo(f, "V11");
		PLANT_PTR(f, avc->anon_vma, pointer);
		expect_and_undo(f, "V12: a chain entry in the tree is another anon_vma's");
	}
	PLANT_PTR(f, avc->node.right, root->tree.root);
	expect_and_undo(f, "V12");
	PLANT_PTR(f, root->tree.root, NULL);
	expect_and_undo(f, "V12: a chain entry is in no tree");
	PLANT_PTR(f, root->tree.root->left, root->tree.root->right);
	expect_and_undo(f, "V12");
}

/* ---- V13 - V16 ------------------------------------------------------------------------------ */

static void v13_chains_of_one_anon_vma_differ(void **state)
{
	struct field *f = *state;
	struct avm_anon_vma_chain *avc;
	struct avm_vma *low, *high;

	assert_int_equal(avm_munmap(f->r.mc, f->r.anon + 2 * PAGE, PAGE), 0);
	low = vma_at(f->r.mc, f->r.anon);
	high = vma_at(f->r.mc, f->r.anon + 3 * PAGE);
	assert_ptr_not_equal(low, high);
	assert_ptr_equal(avm_vma_anon(low), avm_vma_anon(high));
	/* Another order, with nothing else wrong than the order. */
	avc = avc_at(high, 0);
	avm_list_move(&avc->same_vma, &avc_at(high, 1)->same_vma);
	reported(f, "V13");
	avm_list_move(&avc->same_vma, &high->chain);
	rig_quiet(&f->r);
}

static void v14_parent_before_child(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.mc, f->r.anon);
	struct avm_anon_vma_chain *avc = avc_at(vma, 0);
	struct avm_anon_vma *av = avc->anon_vma;

	avm_list_move(&avc->same_vma, &avc_at(vma, 1)->same_vma);
	reported(f, "V14");
	avm_list_move(&avc->same_vma, &vma->chain);
	rig_quiet(&f->r);
	for (unsigned i = 0; i < NR_WILD; i++) {
		PLANT_PTR(f, av->parent, wild(f, i));
		expect_and_undo(f, "V14");
	}
}

static void v15_counters(void **state)
{
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.mc, f->r.anon);

	for (unsigned i = 0; i < 3; i++) {
		struct avm_anon_vma *av = avc_at(vma, i)->anon_vma;

		PLANT_ADD(f, av->refcount, 1);
		expect_only(f, "V15");
		PLANT_ADD(f, av->refcount, -1);
		expect_only(f, "V15");
		PLANT_ADD(f, av->num_children, 1);
		expect_only(f, "V15");
		PLANT_ADD(f, av->num_active_vmas, 1);
		expect_only(f, "V15");
	}
}

static void v16_anon_vmas_without_entries(void **state)
{
	struct field *f = *state;
	struct avm_cache *cache = &f->r.w.m->anon_vmas;
	struct avm_page *page = page_at(f->r.mc, f->r.anon);
	struct avm_anon_vma *av = avm_cache_alloc(f->r.w.m, cache);

	assert_non_null(av);
	atomic_store(&av->root, av);
	av->num_active_vmas = 0;
	av->id = 4711;
	reported(f, "V16: an anon_vma without entries is still there");
	reported(f, "V40: an anon_vma is on no chain");
	PLANT_PTR(f, page->mapping, (uintptr_t)av | AVM_MAPPING_ANON);
	reported(f, "V16: a mapped page's anon_vma has no entries");
	undo(f);
	avm_cache_free(f->r.w.m, cache, av);
	rig_quiet(&f->r);
}

static void v16_mapped_page_of_a_freed_anon_vma(void **state)
{
	struct field *f = *state;
	struct avm_page *page = page_at(f->r.mc, f->r.anon);
	struct avm_anon_vma *gone = avm_cache_alloc(f->r.w.m, &f->r.w.m->anon_vmas);

	assert_non_null(gone);
	avm_cache_free(f->r.w.m, &f->r.w.m->anon_vmas, gone);
	PLANT_PTR(f, page->mapping, (uintptr_t)gone | AVM_MAPPING_ANON);
	expect_and_undo(f, "V16: a mapped page's anon_vma has been freed");
	for (unsigned i = 0; i < NR_WILD; i++) {
		uintptr_t at = (uintptr_t)wild(f, i) & ~(uintptr_t)AVM_MAPPING_FLAGS;

		PLANT_PTR(f, page->mapping, at | AVM_MAPPING_ANON);
		expect_and_undo(f, "V16: a mapped page's anon_vma has been freed");
		PLANT_PTR(f, page->mapping, at | AVM_MAPPING_FLAGS);
		expect_and_undo(f, "V20: a merged page names a node that is not its own");
	}
}

/* ---- V20 - V24 ------------------------------------------------------------------------------ */

/* What took April 2010: a page whose anon_vma is one its mapper is not linked to. */
static void v20_mapping_not_in_chain(void **state)
{
	struct field *f = *state;
	struct avm_page *page = page_at(f->r.ma, f->r.anon + 2 * PAGE);
	struct avm_anon_vma *child = avm_vma_anon(vma_at(f->r.mc, f->r.anon));

	PLANT_PTR(f, page->mapping, (uintptr_t)child | AVM_MAPPING_ANON);
	expect_and_undo(f, "V20");
}

static void v20_index(void **state)
{
	struct field *f = *state;

	PLANT_ADD(f, page_at(f->r.ma, f->r.anon + 2 * PAGE)->index, 1);
	expect_and_undo(f, "V20");
}

static avm_pte_t *slot_at(struct avm_mm *mm, avm_addr_t addr)
{
	struct avm_ptc c;

	assert_true(avm_ptc_at(&c, mm, addr));
	return c.pte;
}

/* The hole is of our own making, so that there is a table for it. */
static void v20_entry_outside_of_vmas(void **state)
{
	struct field *f = *state;
	avm_addr_t hole = f->r.anon + 3 * PAGE;
	avm_pte_t entry = *slot_at(f->r.ma, f->r.anon + 2 * PAGE);
	avm_pte_t zero = *slot_at(f->r.ma, f->r.anon + 4 * PAGE);

	assert_int_equal(avm_munmap(f->r.ma, hole, PAGE), 0);
	rig_quiet(&f->r);
	PLANT(f, *slot_at(f->r.ma, hole), entry);
	expect_and_undo(f, "V20");
	PLANT(f, *slot_at(f->r.ma, hole), zero);
	expect_and_undo(f, "V20");
}

static void v21_counts(void **state)
{
	struct field *f = *state;
	struct avm_page *page = page_at(f->r.ma, f->r.anon + 2 * PAGE);
	struct avm_page *cached = page_at(f->r.ma, f->r.shared);

	assert_int_equal(avm_page_mapcount(page), 3);
	PLANT_ADD(f, page->mapcount, 1);
	expect_only(f, "V21");
	PLANT_ADD(f, page->refcount, 1);
	expect_only(f, "V21");
	PLANT_ADD(f, page->mapcount, -1);
	expect_only(f, "V21");
	PLANT_ADD(f, cached->refcount, -1);
	expect_only(f, "V21");
	PLANT_ADD(f, f->r.ma->root_table->refcount, 1);
	expect_only(f, "V21: references of a page table");
	PLANT_ADD(f, f->r.ma->root_table->mapcount, 1);
	expect_only(f, "V21: mapcount of a page table");
}

static void v21_entries_behind_the_counts(void **state)
{
	struct field *f = *state;
	avm_addr_t addr = f->r.anon + 2 * PAGE;

	PLANT(f, *slot_at(f->r.mc, addr), AVM_PTE_EMPTY);
	expect_and_undo(f, "V21");
	PLANT(f, *slot_at(f->r.mc, addr), avm_pte_make(0x123456789ull, AVM_VM_READ));
	expect_and_undo(f, "V21: an entry maps a frame of no region");
}

static void v22_page_of_a_file_that_is_none(void **state)
{
	struct field *f = *state;
	struct avm_page *page = page_at(f->r.ma, f->r.shared);

	for (unsigned i = 0; i < NR_WILD; i++) {
		PLANT_PTR(f, page->mapping, (uintptr_t)wild(f, i) & ~(uintptr_t)AVM_MAPPING_FLAGS);
		expect_and_undo(f, "V22: a mapped page belongs to no file that is mapped");
	}
}

/* One more entry than the walk finds: at an index that is not the page's. */
static void v22_entry_where_no_walk_looks(void **state)
{
	struct field *f = *state;
	avm_addr_t free = f->r.shared + 3 * PAGE;

	PLANT(f, *slot_at(f->r.ma, free), *slot_at(f->r.ma, f->r.shared));
	expect_and_undo(f, "V22: entries that a reverse walk finds");
}

static void v23_writable_and_shared(void **state)
{
	struct field *f = *state;
	avm_addr_t addr = f->r.anon + 2 * PAGE;
	avm_pte_t *slot = slot_at(f->r.mc, addr);
	avm_pte_t *file = slot_at(f->r.ma, f->r.priv);
	avm_pte_t *mine = slot_at(f->r.mc, f->r.anon);
	struct avm_page *page = page_at(f->r.mc, f->r.anon);

	PLANT(f, *slot, avm_pte_mkwrite(*slot));
	expect_and_undo(f, "V23: a writable private page is mapped more than once");
	PLANT(f, *file, avm_pte_mkwrite(*file));
	expect_and_undo(f, "V23: a page of a file is writable through a private mapping");
	assert_true(avm_pte_write(*mine));
	PLANT(f, page->mapcount, 1);
	expect_only(f, "V23");
	PLANT(f, vma_at(f->r.mc, f->r.anon)->flags, AVM_VM_READ);
	expect_and_undo(f, "V23");
	page = page_at(f->r.mc, addr);
	PLANT(f, page->mapcount, atomic_load(&page->mapcount) | AVM_MAPCOUNT_EXCLUSIVE);
	expect_only(f, "V23");
}

static void v24_zero_page(void **state)
{
	struct field *f = *state;
	struct avm_page *zero = f->r.w.m->zero_page;
	avm_pte_t *slot = slot_at(f->r.ma, f->r.anon + 4 * PAGE);

	assert_int_equal(avm_pte_pfn(*slot), zero->pfn);
	PLANT(f, *slot, avm_pte_mkwrite(*slot));
	expect_only(f, "V24");
	PLANT(f, zero->mapcount, 1);
	expect_only(f, "V24");
	PLANT(f, zero->flags, atomic_load(&zero->flags) | AVM_PG_LRU);
	expect_only(f, "V24");
	PLANT_PTR(f, zero->mapping, garbage);
	expect_only(f, "V24");
	PLANT_ADD(f, zero->refcount, 1);
	expect_only(f, "V24");
	zero = page_at(f->r.ma, f->r.anon);
	PLANT(f, zero->flags, atomic_load(&zero->flags) | AVM_PG_ZERO);
	expect_and_undo(f, "V24: a second zero page");
}

/* ---- V25, V26, V32 -------------------------------------------------------------------------- */

static void v25_a_frame_lost(void **state)
{
	struct field *f = *state;
	struct avm_page *page = avm_page_alloc(f->r.w.m, AVM_FRAME_USER);

	assert_non_null(page);
	reported(f, "V25");
	avm_page_put(f->r.w.m, page);
	page = avm_page_alloc(f->r.w.m, AVM_FRAME_TABLE);
	assert_non_null(page);
	reported(f, "V25");
	avm_page_put(f->r.w.m, page);
	rig_quiet(&f->r);
}

static void v25_lru(void **state)
{
	struct field *f = *state;
	struct avm_page *page = page_at(f->r.ma, f->r.anon + 2 * PAGE);
	struct avm *m = f->r.w.m;

	for (unsigned i = 0; i < NR_WILD; i++) {
		PLANT_PTR(f, page->lru.next, wild(f, i));
		expect_and_undo(f, "V25: an LRU list is broken");
		PLANT_PTR(f, page->lru.prev, wild(f, i));
		expect_and_undo(f, "V25: an LRU list is broken");
		PLANT_PTR(f, m->cpus[0].lru[AVM_LRU_INACTIVE_ANON].next, wild(f, i));
		expect_and_undo(f, "V25: an LRU list is broken");
		PLANT_PTR(f, m->cpus[0].lru[AVM_LRU_INACTIVE_ANON].prev, wild(f, i));
		expect_only(f, "V25: an LRU list ends elsewhere");
	}
	PLANT_PTR(f, page->lru.next, &page->lru);
	expect_and_undo(f, "V25");
	PLANT(f, page->flags, atomic_load(&page->flags) & ~(uint32_t)AVM_PG_LRU);
	expect_and_undo(f, "V25: a page's LRU flag and the LRU lists differ");
	PLANT(f, page->flags, atomic_load(&page->flags) | AVM_PG_ISOLATED);
	PLANT_ADD(f, page->refcount, 1);
	expect_only(f, "V25: an isolated page is on an LRU list");
	PLANT(f, page->flags, atomic_load(&page->flags) | AVM_PG_ACTIVE);
	expect_and_undo(f, "V25");
	PLANT_ADD(f, m->cpus[0].lru_count[AVM_LRU_INACTIVE_FILE], 1);
	expect_only(f, "V25");
	assert_int_equal(m->cpus[0].lru_count[AVM_LRU_UNEVICTABLE], 1);
	PLANT(f, m->cpus[0].lru_count[AVM_LRU_UNEVICTABLE], 0);
	expect_only(f, "V25");
}

static void v25_counts(void **state)
{
	struct field *f = *state;
	struct avm *m = f->r.w.m;

	PLANT_ADD(f, m->cpus[0].frames_used, 1);
	expect_only(f, "V25");
	PLANT_ADD(f, m->cpus[0].tables_used, -1);
	expect_only(f, "V25");
	PLANT_ADD(f, m->frames_total, 1);
	expect_only(f, "V25");
	PLANT_ADD(f, m->regions->count, 1);
	expect_and_undo(f, "V25");
	PLANT_PTR(f, m->regions->next, m->regions); /* no end */
	expect_and_undo(f, "V25");
	PLANT_ADD(f, page_at(f->r.ma, f->r.anon)->pfn, 1);
	expect_and_undo(f, "V25");
}

static void v25_page_cache(void **state)
{
	struct field *f = *state;
	struct avm_page *page = page_at(f->r.ma, f->r.shared);
	struct avm_file *file = f->r.file;
	void *one = page, *two;

	assert_ptr_equal(avm_radix_lookup(&file->pages, 0), page);
	two = avm_radix_lookup(&file->pages, 1);
	assert_non_null(two);
	PLANT_ADD(f, page->index, 1);
	expect_and_undo(f, "V25: a cached page names another file or index");
	PLANT_PTR(f, page->mapping, f->r.memfd);
	expect_and_undo(f, "V25: a cached page names another file or index");
	PLANT_ADD(f, file->nr_pages, 1);
	expect_only(f, "V25");
	for (unsigned i = 0; i < NR_WILD; i++) {
		PLANT_PTR(f, file->pages.root, wild(f, i));
		expect_and_undo(f, "V25: radix tree: a link leads to no node of this tree");
	}
	for (unsigned i = 1; i < NR_WILD; i++) {
		avm_radix_replace(&file->pages, 0, wild(f, i));
		reported(f, "V25: the page cache holds something that is no page");
		reported(f, "V25: a page is not in the page cache that it names");
		avm_radix_replace(&file->pages, 0, one);
		rig_quiet(&f->r);
	}
	avm_radix_replace(&file->pages, 0, two);
	reported(f, "V25: a page is in the page cache twice");
	avm_radix_replace(&file->pages, 0, one);
	rig_quiet(&f->r);
}

static void v25_tables(void **state)
{
	struct field *f = *state;
	struct avm_page *root = f->r.ma->root_table;
	avm_pte_t *entries = avm_port_frame_ptr(f->r.w.m, root->pfn);
	avm_pte_t *slot;
	struct avm_ptc c;

	assert_true(avm_ptc_at(&c, f->r.ma, f->r.anon));
	PLANT_ADD(f, c.table->u.table.used, 1);
	expect_only(f, "V25");
	PLANT_ADD(f, c.table->u.table.level, 1);
	expect_and_undo(f, "V25: an upper entry leads to no table of the level below");
	PLANT(f, c.table->flags, atomic_load(&c.table->flags) | AVM_PG_DIRTY);
	expect_only(f, "V25: a page table has flags of another use");
	PLANT_ADD(f, c.table->index, PAGE);
	expect_only(f, "V25");
	PLANT_PTR(f, c.table->mapping, f->r.mb);
	expect_only(f, "V25");
	PLANT_ADD(f, c.table->pfn, 1);
	expect_and_undo(f, "V25: a page table does not know its frame");
	PLANT(f, *slot_at(f->r.ma, f->r.anon), avm_pte_make(c.table->pfn, AVM_VM_READ));
	expect_and_undo(f, "V25: a page table is mapped");
	for (slot = entries; !*slot;)
		slot++;
	PLANT(f, *slot, 0); /* a subtree cut off */
	expect_and_undo(f, "V25: a page table is in no address space");
	PLANT(f, *slot, avm_arch_table_make(0x123456789ull));
	expect_and_undo(f, "V25: an upper entry leads to a frame of no region");
	PLANT(f, *slot, avm_arch_table_make(root->pfn)); /* round in circles */
	expect_and_undo(f, "V25");
	PLANT(f, *slot, avm_arch_table_make(c.table->pfn)); /* two levels lower */
	expect_and_undo(f, "V25");
	PLANT(f, entries[slot == entries], *slot);
	expect_and_undo(f, "V25: a page table is met in two places");
	for (unsigned i = 0; i < NR_WILD; i++) {
		PLANT_PTR(f, f->r.ma->root_table, wild(f, i));
		expect_and_undo(f, "V25: the root table is no frame");
	}
}

/* A kernel's own tables need not lie in frames of the core's (avm_port_root_init()). */
static void the_half_of_a_root_that_is_the_ports_is_passed_in_silence(void **state)
{
	struct field *f = *state;
	avm_pte_t *entries = avm_port_frame_ptr(f->r.w.m, f->r.ma->root_table->pfn);

	PLANT(f, entries[AVM_TABLE_ENTRIES / 2], avm_arch_table_make(0x123456789ull));
	PLANT(f, entries[AVM_TABLE_ENTRIES - 1], avm_arch_table_make(f->r.ma->root_table->pfn));
	rig_quiet(&f->r);
	undo(f);
}

static struct avm_page *free_page(struct field *f)
{
	const struct avm_region *region = f->r.w.m->regions;

	for (uint64_t i = 0; i < region->count; i++)
		if (!avm_page_flags(&region->pages[i]))
			return &region->pages[i];
	fail_msg("no free frame");
	return NULL;
}

static void v26_free_frames(void **state)
{
	struct field *f = *state;
	struct avm_page *page = free_page(f);

	PLANT(f, page->flags, AVM_PG_DIRTY);
	expect_only(f, "V26");
	PLANT(f, page->refcount, 1);
	expect_only(f, "V26");
	PLANT(f, page->mapcount, 1);
	expect_only(f, "V26");
	PLANT(f, page->mapcount, AVM_MAPCOUNT_EXCLUSIVE);
	expect_only(f, "V26");
	PLANT_PTR(f, page->mapping, garbage + 1);
	expect_only(f, "V26");
	PLANT(f, *slot_at(f->r.mc, f->r.anon), avm_pte_make(page->pfn, AVM_VM_READ));
	expect_and_undo(f, "V26");
}

static void v27_wanted_and_not_dirty(void **state)
{
	const uint32_t fine[] = { AVM_PG_DIRTY, AVM_PG_LAZYFREE };
	struct field *f = *state;
	avm_pte_t *slot = slot_at(f->r.mc, f->r.anon);
	struct avm_page *page = page_at(f->r.mc, f->r.anon);

	PLANT(f, *slot, avm_pte_mkclean(*slot));
	expect_and_undo(f, "V27: a page's content is nowhere else");
	/* The page says so itself, or nobody wants it. */
	for (unsigned i = 0; i < 2; i++) {
		PLANT(f, *slot, avm_pte_mkclean(*slot));
		PLANT(f, page->flags, atomic_load(&page->flags) | fine[i]);
		assert_int_equal(avm_verify(f->r.w.m, AVM_VERIFY_ALL, NULL), 0);
		undo(f);
	}
}

static void v32_rss(void **state)
{
	struct field *f = *state;

	for (unsigned i = 0; i < AVM_NR_RSS; i++) {
		assert_true(i == AVM_RSS_SWAP || atomic_load(&f->r.ma->cpus[0].rss[i]));
		PLANT_ADD(f, f->r.ma->cpus[0].rss[i], 1);
		expect_only(f, "V32");
	}
	PLANT_ADD(f, f->r.mb->tables, 1);
	expect_only(f, "V32");
}

/* ---- V40, V41 ------------------------------------------------------------------------------- */

static void v40_lost_objects(void **state)
{
	struct field *f = *state;
	struct avm *m = f->r.w.m;
	struct avm_cache *caches[] = { &m->vmas, &m->avcs, &m->tree_nodes, &m->files };

	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		void *object = avm_cache_alloc(m, caches[i]);

		assert_non_null(object);
		if (caches[i] == &m->files) /* its size counts among the promises: none */
			atomic_init(&((struct avm_file *)object)->size, 0);
		assert_int_equal(avm_verify(m, AVM_VERIFY_ALL, NULL), 1);
		reported(f, "V40");
		avm_cache_free(m, caches[i], object);
		rig_quiet(&f->r);
	}
}

static void v40_counts_of_a_cache(void **state)
{
	struct field *f = *state;

	PLANT_ADD(f, f->r.w.m->avcs.nr_objects, 1);
	expect_only(f, "V40");
	PLANT_ADD(f, f->r.w.m->avcs.nr_slabs, 1);
	expect_and_undo(f, "V40");
	PLANT_ADD(f, f->r.w.m->nr_mms, 1);
	expect_only(f, "V40");
}

static void v40_list_of_address_spaces(void **state)
{
	struct field *f = *state;

	PLANT_PTR(f, f->r.mb->link.next, NULL);
	expect_and_undo(f, "V40: the list of address spaces is broken");
	PLANT_PTR(f, f->r.mb->link.next, &f->r.ma->link);
	expect_and_undo(f, "V40: the list of address spaces is broken");
	PLANT_PTR(f, f->r.w.m->mms.next, garbage + 128);
	expect_and_undo(f, "V40: the list of address spaces is broken");
}

static void v40_red_zones(void **state)
{
#ifdef AVM_DEBUG
	struct field *f = *state;
	struct avm_vma *vma = vma_at(f->r.ma, f->r.anon);
	unsigned char *below = (unsigned char *)vma - 1;

	PLANT(f, *below, 0);
	expect_only(f, "V40");
	PLANT(f, below[sizeof(*vma) + 1], 0);
	expect_only(f, "V40");
#else
	(void)state;
	skip();
#endif
}

static void v41_locks(void **state)
{
	struct field *f = *state;
	struct avm *m = f->r.w.m;
	struct avm_vma *vma = vma_at(f->r.mc, f->r.anon);
	struct avm_page *page = page_at(f->r.mc, f->r.anon);
	struct avm_ptc c;

	PLANT(f, f->r.ma->mmap_lock.word, 1);
	expect_only(f, "V41");
	PLANT(f, f->r.ma->page_table_lock.word, 1);
	expect_only(f, "V41");
	PLANT_ADD(f, f->r.ma->write_seq, 1);
	expect_only(f, "V41");
	PLANT(f, vma->readers, 1);
	expect_only(f, "V41");
	PLANT(f, avm_family_root(avm_vma_anon(vma))->lock.word, 0x80000000u);
	expect_only(f, "V41");
	PLANT(f, f->r.file->mmap_lock.word, 1);
	expect_only(f, "V41");
	PLANT(f, f->r.file->pages_lock.word, 1);
	expect_only(f, "V41");
	PLANT(f, m->cpus[0].lru_lock.word, 1);
	expect_only(f, "V41");
	PLANT(f, m->mm_lock.word, 1);
	expect_only(f, "V41");
	PLANT(f, m->radix_nodes.lock.word, 1);
	expect_only(f, "V41");
	PLANT(f, m->gathers_open, 1);
	expect_only(f, "V41");
	PLANT(f, page->flags, atomic_load(&page->flags) | AVM_PG_LOCKED);
	expect_only(f, "V41");
	assert_true(avm_ptc_at(&c, f->r.mb, f->r.anon));
	PLANT(f, c.table->table_lock.word, 1);
	expect_only(f, "V41");
}

/* ---- without memory ------------------------------------------------------------------------- */

/* The address sanitizer ends a program that asks for too much, unless told not to. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static void no_memory_to_count_in_is_said(void **state)
{
	struct field *f = *state;
	uint64_t bytes = sim_meta_bytes(f->r.w.s);
	uint64_t frames = UINT64_C(1) << 56;

	PLANT(f, f->r.w.m->frames_total, frames);
	PLANT(f, f->r.w.m->regions->count, frames);
	assert_int_equal(avm_verify(f->r.w.m, AVM_VERIFY_ALL, NULL), -AVM_ENOMEM);
	assert_int_equal(avm_verify_mm(f->r.ma, AVM_VERIFY_ALL, NULL), -AVM_ENOMEM);
	undo(f);
	assert_int_equal(sim_meta_bytes(f->r.w.s), bytes);
}

/* ---- one address space ---------------------------------------------------------------------- */

static void one_address_space_sees_its_own(void **state)
{
	struct field *f = *state;
	struct avm_page *page = page_at(f->r.ma, f->r.locked);
	struct capture c;

	PLANT_ADD(f, page->index, 1);
	assert_true(avm_verify_mm(f->r.ma, AVM_VERIFY_ALL, NULL) > 0);
	assert_int_equal(avm_verify_mm(f->r.ma, AVM_VERIFY_FAMILIES, NULL), 0);
	undo(f);
	PLANT_ADD(f, f->r.ma->total_vm, 1);
	assert_int_equal(avm_verify_mm(f->r.ma, AVM_VERIFY_VMAS, NULL), 1);
	assert_int_equal(avm_verify_mm(f->r.mb, AVM_VERIFY_VMAS, NULL), 0);
	undo(f);
	PLANT(f, page->mapcount, 0);
	PLANT(f, page->refcount, 0);
	capture_init(&c);
	avm_verify_mm(f->r.ma, AVM_VERIFY_ALL, &c.sink);
	assert_true(says(&c, "V21: a page is mapped more often than it says"));
	assert_true(says(&c, "V21: a page has fewer references than mappings"));
	capture_free(&c);
	undo(f);
	PLANT_ADD(f, vma_at(f->r.mb, f->r.anon)->chain_len, 1);
	assert_int_equal(avm_verify_mm(f->r.mb, AVM_VERIFY_FAMILIES, NULL), 1);
	assert_int_equal(avm_verify_mm(f->r.mb, AVM_VERIFY_VMAS, NULL), 0);
	undo(f);
}

static void the_lock_of_the_caller_is_no_violation(void **state)
{
	struct field *f = *state;

	assert_int_equal(avm_mmap_write_lock(f->r.ma), 0);
	assert_int_equal(avm_verify_mm(f->r.ma, AVM_VERIFY_VMAS, NULL), 0);
	avm_mmap_write_unlock(f->r.ma);
}

/* ---- anything ------------------------------------------------------------------------------- */

/*
 * Memory to be spoiled. Not: pointers to what is the embedder's (files, address spaces, regions,
 * descriptors).
 */
struct target {
	unsigned char *at;
	size_t size;
};

static struct target pick(struct field *f, struct rng *rng)
{
	struct avm_mm *mms[] = { f->r.ma, f->r.mb, f->r.mc };
	struct avm_mm *mm = mms[rng_below(rng, 3)];
	struct avm_vma *vma = NULL;
	struct avm_region *region = f->r.w.m->regions;
	struct avm_anon_vma_chain *avc;
	struct avm_page *page;
	struct avm_ptc c;

	for (uint64_t n = 1 + rng_below(rng, mm->vmas.count); n--;)
		vma = avm_next_vma(mm, vma);
	avc = avm_list_first_or_null(&vma->chain, struct avm_anon_vma_chain, same_vma);
	page = &region->pages[rng_below(rng, 96)];
	switch (rng_below(rng, 10)) {
	case 0:
		return (struct target){ (unsigned char *)vma, offsetof(struct avm_vma, file) };
	case 1:
		return (struct target){ (unsigned char *)&vma->shared,
					sizeof(*vma) - offsetof(struct avm_vma, shared) };
	case 2:
	case 3:
		if (avc)
			return (struct target){ (unsigned char *)avc, sizeof(*avc) };
		/* fallthrough */
	case 4:
		if (avc)
			return (struct target){ (unsigned char *)avc->anon_vma,
						sizeof(*avc->anon_vma) };
		/* fallthrough */
	case 5:
		return (struct target){ (unsigned char *)atomic_load(&mm->vmas.root),
					sizeof(struct avm_vma_node) };
	case 6:
		return (struct target){ (unsigned char *)f->r.file->pages.root,
					AVM_RADIX_NODE_BYTES };
	case 7:
		return (struct target){ (unsigned char *)&mm->vmas,
					offsetof(struct avm_vma_tree, nodes) };
	case 8:
		if (avm_ptc_at(&c, mm, vma->start))
			return (struct target){ (unsigned char *)c.pte, 8 };
		/* fallthrough */
	default:
		return (struct target){ (unsigned char *)page, sizeof(*page) };
	}
}

static uint64_t anything(struct field *f, struct rng *rng, const struct target *t)
{
	void *object;

	switch (rng_below(rng, 4)) {
	case 0:
		return rng_next(rng);
	case 1:
		return rng_below(rng, 5);
	case 2:
		object = wild(f, (unsigned)rng_below(rng, NR_WILD));
		return (uintptr_t)object;
	default:
		return (uintptr_t)t->at + rng_below(rng, t->size) / 8 * 8;
	}
}

static void nothing_that_is_spoiled_crashes(void **state)
{
	struct field *f = *state;
	struct rng rng = { 2010 };

	for (unsigned round = 0; round < 3000; round++) {
		unsigned n = 1 + (unsigned)rng_below(&rng, 3);
		struct target t[3];
		uint64_t value[3];

		for (unsigned i = 0; i < n; i++) {
			t[i] = pick(f, &rng);
			value[i] = anything(f, &rng, &t[i]);
		}
		for (unsigned i = 0; i < n; i++)
			plant(f, t[i].at + rng_below(&rng, t[i].size / 8) * 8, &value[i], 8);
		for (int level = AVM_VERIFY_VMAS; level <= AVM_VERIFY_ALL; level++) {
			avm_verify(f->r.w.m, (enum avm_verify_level)level, NULL);
			avm_verify_mm(f->r.mb, (enum avm_verify_level)level, NULL);
		}
		undo(f);
	}
	rig_quiet(&f->r);
}

int main(void)
{
#define IN_FIELD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_in_order_is_passed_in_silence),
		cmocka_unit_test(an_empty_machine_is_passed_in_silence),
		IN_FIELD(looking_changes_no_counter_and_keeps_no_memory),
		IN_FIELD(v1_counts_of_pages),
		IN_FIELD(v1_spare_vmas),
		IN_FIELD(v1_way_to_a_change),
		IN_FIELD(v1_ranges),
		IN_FIELD(v1_list),
		IN_FIELD(v1_tree),
		IN_FIELD(nodes_in_reserve_are_in_order),
		IN_FIELD(v1_inner_nodes),
		IN_FIELD(v1_one_node_in_every_place),
		IN_FIELD(v3_owner),
		IN_FIELD(v3_file),
		IN_FIELD(v3_tree_of_mappings),
		IN_FIELD(v3_a_circle_beside_the_tree),
		IN_FIELD(v3_not_in_the_tree),
		IN_FIELD(v10_anon_vma_and_chain),
		IN_FIELD(v11_own_and_root),
		IN_FIELD(v11_entries),
		IN_FIELD(v12_not_in_the_tree),
		IN_FIELD(v12_not_on_the_chain),
		IN_FIELD(v12_stale_range),
		IN_FIELD(v12_links),
		IN_FIELD(v13_chains_of_one_anon_vma_differ),
		IN_FIELD(v14_parent_before_child),
		IN_FIELD(v15_counters),
		IN_FIELD(v16_anon_vmas_without_entries),
		IN_FIELD(v16_mapped_page_of_a_freed_anon_vma),
		IN_FIELD(v20_mapping_not_in_chain),
		IN_FIELD(v20_index),
		IN_FIELD(v20_entry_outside_of_vmas),
		IN_FIELD(v21_counts),
		IN_FIELD(v21_entries_behind_the_counts),
		IN_FIELD(v22_page_of_a_file_that_is_none),
		IN_FIELD(v22_entry_where_no_walk_looks),
		IN_FIELD(v23_writable_and_shared),
		IN_FIELD(v24_zero_page),
		IN_FIELD(v25_a_frame_lost),
		IN_FIELD(v25_lru),
		IN_FIELD(v25_counts),
		IN_FIELD(v25_page_cache),
		IN_FIELD(v25_tables),
		IN_FIELD(the_half_of_a_root_that_is_the_ports_is_passed_in_silence),
		IN_FIELD(v26_free_frames),
		IN_FIELD(v27_wanted_and_not_dirty),
		IN_FIELD(v32_rss),
		IN_FIELD(v40_lost_objects),
		IN_FIELD(v40_counts_of_a_cache),
		IN_FIELD(v40_list_of_address_spaces),
		IN_FIELD(v40_red_zones),
		IN_FIELD(v41_locks),
		IN_FIELD(no_memory_to_count_in_is_said),
		IN_FIELD(one_address_space_sees_its_own),
		IN_FIELD(the_lock_of_the_caller_is_no_violation),
		IN_FIELD(nothing_that_is_spoiled_crashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
