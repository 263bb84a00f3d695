/* SPDX-License-Identifier: MIT */
/*
 * verify_family.c - V10 to V16: chains, trees, counters and lifetimes of families (verify.h).
 *
 * First every chain is walked, which tells each anon_vma how many entries it must find in its tree,
 * how many VMAs call it their own, and which other anon_vmas hang on it; then every tree; then the
 * counters are compared.
 */
#include "verify.h"

#include "list.h"

/* An anon_vma that may be followed, with its record. */
static struct avm_record *live(struct avm_verify *v, const struct avm_anon_vma *av)
{
	return avm_verify_record(v, AVM_IS_ANON_VMA, av);
}

static bool is_root(const struct avm_anon_vma *av)
{
	return avm_family_root(av) == av;
}

/* ---- one chain ------------------------------------------------------------------------------ */

struct chain {
	struct avm_verify *v;
	const struct avm_mm *mm;
	const struct avm_vma *vma;
	const struct avm_anon_vma *own;
	const struct avm_anon_vma *last;
	uint32_t stamp;
	uint32_t len;
	bool ok; /* every entry could be followed */
};

static void complain(struct chain *c, unsigned number, const char *what,
		     const struct avm_anon_vma *av)
{
	avm_verify_say(c->v, number, what,
		       &(struct avm_where){ .mm = c->mm, .vma = c->vma, .av = av });
}

static void complain_raw(struct chain *c, unsigned number, const char *what, const void *raw)
{
	c->ok = false;
	avm_verify_say(c->v, number, what,
		       &(struct avm_where){ .mm = c->mm, .vma = c->vma, .raw = raw });
}

static void check_entry(struct chain *c, const struct avm_anon_vma_chain *avc)
{
	struct avm_record *r = live(c->v, avc->anon_vma);

	avm_verify_reach(c->v, AVM_IS_AVC, avc);
	c->len++;
	if (avc->vma != c->vma)
		complain_raw(c, 11, "an entry of the chain names another VMA", avc->vma);
	if (!r) {
		complain_raw(c, 11, "an entry of the chain names no live anon_vma", avc->anon_vma);
		return;
	}
	if (r->stamp == c->stamp)
		complain(c, 11, "an anon_vma is twice on one chain", avc->anon_vma);
	r->reached++;
	r->stamp = c->stamp;
	r->position = c->len;
	c->last = avc->anon_vma;
}

static void check_entries(struct chain *c)
{
	const struct avm_anon_vma_chain *avc, *last = NULL;
	const struct avm_list *end;

	for (avc = NULL; (avc = avm_verify_next_avc(c->v, c->vma, avc)); last = avc)
		check_entry(c, avc);
	end = last ? last->same_vma.next : c->vma->chain.next;
	if (end != &c->vma->chain)
		complain_raw(c, 11, "the list of the chain is broken", end);
	else if (c->vma->chain.prev != (last ? &last->same_vma : &c->vma->chain))
		complain_raw(c, 11, "the list of the chain ends elsewhere", c->vma->chain.prev);
}

/*
 * V11: the root is last. V14: an ancestor is behind its descendants. Both only of entries that can
 * be followed.
 */
static void check_order(struct chain *c)
{
	const struct avm_anon_vma_chain *avc;

	if (c->last && !is_root(c->last))
		complain(c, 11, "the last anon_vma of the chain is not a root", c->last);
	for (avc = NULL; (avc = avm_verify_next_avc(c->v, c->vma, avc));) {
		const struct avm_anon_vma *av = avc->anon_vma;
		const struct avm_record *r = live(c->v, av);
		const struct avm_record *parent;

		if (!r)
			continue;
		if (avm_family_root(av) != c->last)
			complain(c, 11, "the root of an anon_vma is not the last of the chain", av);
		if (is_root(av))
			continue;
		parent = live(c->v, av->parent);
		if (!parent || parent->stamp != c->stamp || parent->position <= r->position)
			complain(c, 14, "the parent of an anon_vma is not later on the chain", av);
	}
}

/* V13, by comparison with the first VMA that had this anon_vma as its own. */
static void check_equal(struct chain *c, const struct avm_vma *first)
{
	const struct avm_anon_vma_chain *a = NULL, *b = NULL;

	do {
		a = avm_verify_next_avc(c->v, c->vma, a);
		b = avm_verify_next_avc(c->v, first, b);
	} while (a && b && a->anon_vma == b->anon_vma);
	if (a || b)
		complain(c, 13, "VMAs with one anon_vma have different chains", c->own);
}

static void check_own(struct chain *c)
{
	struct avm_record *r = live(c->v, c->own);

	if (!r || r->stamp != c->stamp) {
		complain_raw(c, 11, "the VMA's own anon_vma is not on its chain", c->own);
		return;
	}
	r->active++;
	if (!c->ok)
		return;
	if (r->first)
		check_equal(c, r->first);
	else
		r->first = c->vma;
}

static void check_chain(struct avm_verify *v, const struct avm_mm *mm, const struct avm_vma *vma)
{
	uint32_t len = atomic_load_explicit(&vma->chain_len, memory_order_relaxed);
	struct chain c = {
		.v = v,
		.mm = mm,
		.vma = vma,
		.own = avm_vma_anon(vma),
		.stamp = ++v->stamp,
		.ok = true,
	};

	check_entries(&c);
	if (!c.own != !c.len)
		complain(&c, 10,
			 c.own ? "the VMA is faulted and its chain is empty" :
				 "the VMA is unfaulted and has a chain",
			 NULL);
	avm_verify_equal(v, 10, "length of a chain", &(struct avm_where){ .mm = mm, .vma = vma },
			 len, c.len);
	check_order(&c);
	if (c.own)
		check_own(&c);
}

uint32_t avm_verify_stamp_chain(struct avm_verify *v, const struct avm_vma *vma)
{
	const struct avm_anon_vma_chain *avc;

	v->stamp++;
	for (avc = NULL; (avc = avm_verify_next_avc(v, vma, avc));) {
		struct avm_record *r = live(v, avc->anon_vma);

		if (r)
			r->stamp = v->stamp;
	}
	return v->stamp;
}

/* ---- every anon_vma ------------------------------------------------------------------------- */

/* The anon_vma of slot i, or NULL. */
static const struct avm_anon_vma *anon_vma_at(const struct avm_verify *v, uint64_t i,
					      struct avm_record **r)
{
	*r = &v->records[i];
	return (*r)->object && (*r)->kind == AVM_IS_ANON_VMA ? (*r)->object : NULL;
}

/* V12, one side: what is in the tree. And what hangs on whom. */
static void check_trees(struct avm_verify *v)
{
	struct avm_record *r, *other;
	const struct avm_anon_vma *av;

	for (uint64_t i = 0; i <= v->mask; i++) {
		bool ok;

		av = anon_vma_at(v, i, &r);
		if (!av || (v->only && !r->reached))
			continue;
		avm_verify_tree(v, &av->tree, AVM_IS_AVC, av, &ok);
		r->broken = !ok;
		if (is_root(av))
			continue;
		other = live(v, avm_family_root(av));
		if (other)
			other->members++;
		else
			avm_verify_say(v, 16, "the root of an anon_vma has been freed",
				       &(struct avm_where){ .av = av, .raw = avm_family_root(av) });
		/* Not to be read once the tree is empty (R4.5). */
		other = avm_itree_empty(&av->tree) ? NULL : live(v, av->parent);
		if (other)
			other->children++;
	}
}

/*
 * V12, the other side: every entry of a chain is in its tree, and what is in a tree is on a chain.
 * None is twice.
 */
static void check_edges(struct avm_verify *v)
{
	for (uint64_t i = 0; i <= v->mask; i++) {
		const struct avm_record *r = &v->records[i];
		const struct avm_where where = { .raw = r->object };

		if (!r->object || r->kind != AVM_IS_AVC || (v->only && !r->reached))
			continue;
		if (r->reached && !r->in_tree)
			avm_verify_say(v, 12, "a chain entry is in no tree", &where);
		else if (r->in_tree && !r->reached)
			avm_verify_say(v, 12, "an entry in a tree is on no chain of a live VMA",
				       &where);
	}
}

/* V15, as R4.3 and R4.5 define the counters; V16: what has no entries is held by nobody at rest. */
static void check_counters(struct avm_verify *v)
{
	struct avm_record *r;
	const struct avm_anon_vma *av;

	for (uint64_t i = 0; i <= v->mask; i++) {
		struct avm_where where = { 0 };
		uint32_t refs, filled;

		av = anon_vma_at(v, i, &r);
		if (!av)
			continue;
		where.av = av;
		filled = !avm_itree_empty(&av->tree);
		refs = atomic_load_explicit(&av->refcount, memory_order_relaxed);
		avm_verify_equal(v, 15, "references of an anon_vma", &where, refs,
				 filled + r->members + r->items);
		avm_verify_equal(v, 15, "num_active_vmas", &where, av->num_active_vmas, r->active);
		/*
		 * Of a root without entries only its members are left, and nobody counts its
		 * children.
		 */
		if (filled)
			avm_verify_equal(v, 15, "num_children", &where, av->num_children,
					 r->children + is_root(av));
		if (!filled && !r->members && !r->items)
			avm_verify_say(v, 16, "an anon_vma without entries is still there", &where);
		avm_verify_rwsem(v, &av->lock, &where);
	}
}

void avm_verify_families(struct avm_verify *v)
{
	struct avm_mm *mm = NULL;
	const struct avm_vma *vma;

	while ((mm = avm_verify_next_mm(v, mm))) {
		for (vma = NULL; (vma = avm_verify_next_vma(v, mm, vma));)
			check_chain(v, mm, vma);
	}
	check_trees(v);
	check_edges(v);
	if (v->only)
		return;
	avm_verify_merged(v);
	check_counters(v);
}
