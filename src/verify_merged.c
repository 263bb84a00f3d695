/* SPDX-License-Identifier: MIT */
/*
 * verify_merged.c - merged pages: nodes, items, and the trees by hash (verify.h).
 */
#include "verify.h"

static void complain(struct avm_verify *v, unsigned number, const char *what, const void *raw)
{
	avm_verify_say(v, number, what, &(struct avm_where){ .raw = raw });
}

/* The item, counted where it is to be; NULL when it cannot be followed. */
static const struct avm_merged_item *enter_item(struct avm_verify *v,
						const struct avm_merged_item *item)
{
	struct avm_record *r = avm_verify_record(v, AVM_IS_MERGED_ITEM, item);
	struct avm_record *av;

	if (!r || r->reached) {
		complain(v, 40, r ? "an item is on two lists" : "a list of items leads elsewhere",
			 item);
		return NULL;
	}
	r->reached++;
	av = avm_verify_record(v, AVM_IS_ANON_VMA, item->anon_vma);
	if (av)
		av->items++;
	else
		complain(v, 16, "the anon_vma of a merged page's item has been freed",
			 item->anon_vma);
	return item;
}

static void check_node(struct avm_verify *v, struct avm_record *r)
{
	const struct avm_merged *node = r->object;
	const struct avm_where where = { .raw = node };
	const struct avm_merged_item *item;
	uint32_t n = 0;

	for (item = avm_merged_items(node); item && enter_item(v, item); item = item->next)
		n++;
	r->broken = item;
	if (!r->broken)
		avm_verify_equal(v, 40, "items of a merged page", &where, node->nr_items, n);
	if (r->in_tree != (node->nr_items < AVM_MERGED_ITEMS))
		complain(v, 40,
			 r->in_tree ? "a merged page that is full can be found" :
				      "a merged page cannot be found",
			 node);
}

/* What merging remembers is reached from its trees; nobody looks at the pages. */
static void check_seen(struct avm_verify *v)
{
	bool ok;

	for (int i = 0; i < 2; i++)
		avm_verify_tree(v, &v->m->ksm.seen[i], AVM_IS_KSM_ITEM, NULL, &ok);
	for (uint64_t i = 0; i <= v->mask; i++) {
		struct avm_record *r = &v->records[i];

		if (r->object && r->kind == AVM_IS_KSM_ITEM)
			r->reached = r->in_tree;
	}
}

void avm_verify_merged(struct avm_verify *v)
{
	bool ok;

	avm_verify_tree(v, &v->m->merged_pages, AVM_IS_MERGED, NULL, &ok);
	for (uint64_t i = 0; i <= v->mask; i++) {
		struct avm_record *r = &v->records[i];

		if (r->object && r->kind == AVM_IS_MERGED)
			check_node(v, r);
	}
	check_seen(v);
	avm_verify_rwsem(v, &v->m->ksm.lock, &(struct avm_where){ .detail = "of merging" });
	avm_verify_spin(v, &v->m->merged_lock, &(struct avm_where){ .detail = "of merged pages" });
}

const struct avm_merged *avm_verify_merged_node(struct avm_verify *v, const struct avm_page *page)
{
	const struct avm_merged *node = avm_page_merged(page);
	struct avm_record *r = avm_verify_record(v, AVM_IS_MERGED, node);

	if (!r || node->hashed.page != page) {
		avm_verify_say(v, 20, "a merged page names a node that is not its own",
			       &(struct avm_where){ .page = page, .raw = node });
		return NULL;
	}
	r->reached++;
	return node;
}

bool avm_verify_merged_leads(struct avm_verify *v, const struct avm_merged *node, uint32_t stamp,
			     uint64_t index)
{
	const struct avm_record *r = avm_verify_record(v, AVM_IS_MERGED, node);
	const struct avm_merged_item *item;

	if (!r || r->broken)
		return true; /* reported */
	for (item = avm_merged_items(node); avm_verify_record(v, AVM_IS_MERGED_ITEM, item);
	     item = item->next) {
		const struct avm_record *av = avm_verify_record(v, AVM_IS_ANON_VMA, item->anon_vma);

		if (av && av->stamp == stamp && item->index == index)
			return true;
	}
	return false;
}
