/* SPDX-License-Identifier: MIT */
/* Caches of objects: what they cost, what they keep, what they notice. */
#include "panics.h"
#include "slab.h"
#include "slab_chunk.h"
#include "world.h"

#define MANY 1000

struct fixture {
	struct world w;
	struct avm_cache c;
	unsigned char *object[MANY];
};

static void open_cache(struct fixture *f, size_t size, enum avm_cache_kind kind,
		       void (*ctor)(void *))
{
	world_open(&f->w);
	avm_cache_init(&f->c, "test", size, kind, ctor);
}

static void close_cache(struct fixture *f)
{
	assert_true(avm_cache_fini(f->w.m, &f->c));
	assert_int_equal(f->c.nr_slabs, 0);
	world_close(&f->w);
}

static void alloc_many(struct fixture *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		f->object[i] = avm_cache_alloc(f->w.m, &f->c);
		assert_non_null(f->object[i]);
		memset(f->object[i], (int)(i % 251), f->c.object_size);
	}
}

static void free_many(struct fixture *f, unsigned first, unsigned n, unsigned step)
{
	for (unsigned i = first; i < n; i += step)
		avm_cache_free(f->w.m, &f->c, f->object[i]);
}

/* ---- checks by the cache itself -------------------------------------------------------------- */

struct checked {
	struct avm_cache_check k;
	unsigned objects, broken;
	const char *first;
	const char *what;
};

static void count_object(struct avm_cache_check *k, void *object)
{
	struct checked *x = (struct checked *)(void *)k;

	assert_non_null(object);
	x->objects++;
}

static void count_broken(struct avm_cache_check *k, const void *object, const char *what)
{
	struct checked *x = (struct checked *)(void *)k;

	(void)object;
	if (!x->broken++)
		x->first = what;
	x->what = what;
}

static struct checked check(struct fixture *f)
{
	struct checked x = { .k = { count_object, count_broken } };

	avm_cache_check(f->w.m, &f->c, &x.k);
	return x;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void objects_are_distinct_aligned_and_keep_their_contents(void **state)
{
	static const size_t sizes[] = { 1, 8, 24, 64, 100, 200, 512, 528, 4000 };
	struct fixture f;

	(void)state;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		size_t align = sizes[s] >= 64 ? 64 : 16;

#ifdef AVM_DEBUG
		align = 16;
#endif
		open_cache(&f, sizes[s], AVM_CACHE_PLAIN, NULL);
		assert_true(f.c.per_slab >= 8);
		alloc_many(&f, 300);
		for (unsigned i = 0; i < 300; i++) {
			assert_int_equal((uintptr_t)f.object[i] % align, 0);
			assert_int_equal(f.object[i][0], i % 251);
			assert_int_equal(f.object[i][sizes[s] - 1], i % 251);
		}
		assert_int_equal(f.c.nr_objects, 300);
		assert_int_equal(f.c.nr_slabs, (300 + f.c.per_slab - 1) / f.c.per_slab);
		free_many(&f, 0, 300, 1);
		assert_int_equal(f.c.peak_objects, 300);
		close_cache(&f);
	}
}

static void one_empty_chunk_is_kept_the_others_go_back(void **state)
{
	struct fixture f;
	uint64_t before, peak;

	(void)state;
	open_cache(&f, 100, AVM_CACHE_PLAIN, NULL);
	before = sim_meta_bytes(f.w.s);
	assert_int_equal(atomic_load(&f.w.m->meta_bytes), before);
	alloc_many(&f, MANY);
	peak = sim_meta_bytes(f.w.s);
	assert_int_equal(peak, before + f.c.nr_slabs * f.c.slab_size);
	assert_int_equal(atomic_load(&f.w.m->meta_bytes), peak);
	free_many(&f, 0, MANY, 1);
	assert_int_equal(f.c.nr_slabs, 1);
	assert_int_equal(f.c.nr_empty, 1);
	assert_int_equal(sim_meta_bytes(f.w.s), before + f.c.slab_size);
	assert_int_equal(atomic_load(&f.w.m->meta_bytes_peak), peak);
	alloc_many(&f, 1); /* and it is used again */
	assert_int_equal(f.c.nr_slabs, 1);
	assert_int_equal(f.c.nr_empty, 0);
	free_many(&f, 0, 1, 1);
	close_cache(&f);
}

static void holes_are_filled_before_new_chunks_are_made(void **state)
{
	struct fixture f;
	uint64_t slabs;

	(void)state;
	open_cache(&f, 64, AVM_CACHE_PLAIN, NULL);
	alloc_many(&f, MANY);
	slabs = f.c.nr_slabs;
	free_many(&f, 0, MANY, 2);
	assert_int_equal(f.c.nr_slabs, slabs);
	for (unsigned i = 0; i < MANY; i += 2)
		f.object[i] = avm_cache_alloc(f.w.m, &f.c);
	assert_int_equal(f.c.nr_slabs, slabs);
	for (unsigned i = 1; i < MANY; i += 2)
		assert_int_equal(f.object[i][63], i % 251);
	free_many(&f, 0, MANY, 1);
	close_cache(&f);
}

/* Also out of several chunks, one with holes among them. */
static void many_at_once_are_distinct_and_counted(void **state)
{
	struct fixture f;

	(void)state;
	open_cache(&f, 64, AVM_CACHE_PLAIN, NULL);
	alloc_many(&f, 10);
	free_many(&f, 0, 10, 3);
	assert_true(avm_cache_alloc_bulk(f.w.m, &f.c, MANY - 10, (void **)&f.object[10]));
	for (unsigned i = 0; i < 10; i += 3)
		f.object[i] = avm_cache_alloc(f.w.m, &f.c);
	assert_int_equal(f.c.nr_objects, MANY);
	assert_int_equal(f.c.peak_objects, MANY);
	assert_int_equal(f.c.nr_slabs, (MANY + f.c.per_slab - 1) / f.c.per_slab);
	for (unsigned i = 0; i < MANY; i++)
		memset(f.object[i], (int)(i % 251), f.c.object_size);
	for (unsigned i = 0; i < MANY; i++)
		assert_true(f.object[i][0] == i % 251 && f.object[i][63] == i % 251);
	assert_int_equal(check(&f).objects, MANY);
	free_many(&f, 0, MANY, 1);
	close_cache(&f);
}

static void many_at_once_are_all_or_none(void **state)
{
	uint64_t before;
	struct fixture f;

	(void)state;
	open_cache(&f, 64, AVM_CACHE_PLAIN, NULL);
	for (unsigned i = 1; i <= 3; i++) {
		sim_fail_alloc(f.w.s, i, 1);
		assert_false(avm_cache_alloc_bulk(f.w.m, &f.c, 3, (void **)f.object));
		assert_int_equal(f.c.nr_objects, 0);
	}
	before = sim_meta_bytes(f.w.s);
	close_cache(&f);

	/* The port has eight chunks, and no ninth. */
	world_open_with(&f.w, &(struct sim_config){ .frames = 64,
						    .meta_limit = before + 8 * f.c.slab_size });
	avm_cache_init(&f.c, "test", 64, AVM_CACHE_PLAIN, NULL);
	assert_false(avm_cache_alloc_bulk(f.w.m, &f.c, 8 * f.c.per_slab + 1, (void **)f.object));
	assert_int_equal(f.c.nr_objects, 0);
	assert_true(avm_cache_alloc_bulk(f.w.m, &f.c, 8 * f.c.per_slab, (void **)f.object));
	free_many(&f, 0, 8 * f.c.per_slab, 1);
	close_cache(&f);
}

static void no_memory_is_null_and_changes_nothing(void **state)
{
	struct fixture f;

	(void)state;
	open_cache(&f, 64, AVM_CACHE_PLAIN, NULL);
	sim_fail_alloc(f.w.s, 1, 1);
	assert_null(avm_cache_alloc(f.w.m, &f.c));
	assert_int_equal(f.c.nr_slabs, 0);
	assert_int_equal(f.c.nr_objects, 0);
	alloc_many(&f, 1);
	sim_fail_alloc(f.w.s, 1, 1); /* asked even when a chunk is there */
	assert_null(avm_cache_alloc(f.w.m, &f.c));
	assert_int_equal(f.c.nr_objects, 1);
	assert_false(avm_cache_fini(f.w.m, &f.c));
	assert_int_equal(f.c.nr_slabs, 1);
	free_many(&f, 0, 1, 1);
	close_cache(&f);
}

static unsigned constructed;

static void construct(void *object)
{
	memset(object, 0xc7, 40);
	constructed++;
}

static void type_stable_objects_are_made_once_and_keep_what_they_had(void **state)
{
	struct fixture f;
	unsigned char *o;
	uint64_t before;
	uintptr_t rcu;

	(void)state;
	open_cache(&f, 40, AVM_CACHE_TYPE_STABLE, construct);
	constructed = 0;
	o = avm_cache_alloc(f.w.m, &f.c);
	assert_int_equal(constructed, f.c.per_slab);
	assert_int_equal(o[39], 0xc7);
	o[7] = 99;
	avm_cache_free(f.w.m, &f.c, o);
	assert_int_equal(o[7], 99); /* a stale walker may look */
	assert_ptr_equal(avm_cache_alloc(f.w.m, &f.c), o);
	assert_int_equal(o[7], 99);
	assert_int_equal(constructed, f.c.per_slab);
	avm_cache_free(f.w.m, &f.c, o);

	before = sim_meta_bytes(f.w.s);
	alloc_many(&f, MANY);
	rcu = avm_port_irq_save(f.w.m); /* as a reader would */
	free_many(&f, 0, MANY, 1);
	assert_int_equal(f.c.nr_slabs, 1);
	assert_true(sim_meta_bytes(f.w.s) > before);
	assert_int_equal(f.object[0][0], 0); /* still there to be read */
	assert_int_equal(f.object[250][39], 250);
	avm_port_irq_restore(f.w.m, rcu);
	assert_int_equal(sim_meta_bytes(f.w.s), before);
	assert_int_equal(atomic_load(&f.w.m->meta_bytes), before);
	close_cache(&f);
}

static void owns_knows_live_objects_from_anything_else(void **state)
{
	struct fixture f;
	struct avm_cache *c = &f.c;

	(void)state;
	open_cache(&f, 100, AVM_CACHE_PLAIN, NULL);
	alloc_many(&f, 200);
	for (unsigned i = 0; i < 200; i++)
		assert_true(avm_cache_owns(f.w.m, c, f.object[i]));
	assert_false(avm_cache_owns(f.w.m, c, f.object[0] + 1));
	assert_false(avm_cache_owns(f.w.m, c, f.object[0] - 1));
	assert_false(avm_cache_owns(f.w.m, c, NULL));
	assert_false(avm_cache_owns(f.w.m, c, &f));
	for (unsigned i = 0; i < 64; i++) /* whatever it is, it is not followed */
		assert_false(avm_cache_owns(f.w.m, c, (void *)(uintptr_t)(1ull << i)));
	avm_cache_free(f.w.m, c, f.object[3]);
	assert_false(avm_cache_owns(f.w.m, c, f.object[3]));
	f.object[3] = avm_cache_alloc(f.w.m, c);
	free_many(&f, 0, 200, 1);
	close_cache(&f);
}

static void check_visits_every_live_object_once(void **state)
{
	struct fixture f;
	struct checked x;

	(void)state;
	open_cache(&f, 48, AVM_CACHE_PLAIN, NULL);
	assert_int_equal(check(&f).broken, 0);
	alloc_many(&f, MANY);
	free_many(&f, 0, MANY, 3);
	x = check(&f);
	assert_int_equal(x.broken, 0);
	assert_int_equal(x.objects, MANY - 334);
	free_many(&f, 1, MANY, 3);
	free_many(&f, 2, MANY, 3);
	close_cache(&f);
}

static void check_survives_and_reports_broken_lists_and_counts(void **state)
{
	struct fixture f;
	struct avm_list *old;
	uint64_t last;

	(void)state;
	open_cache(&f, 48, AVM_CACHE_PLAIN, NULL);
	alloc_many(&f, MANY);
	f.c.nr_objects++;
	assert_string_equal(check(&f).what, "number of objects wrong");
	f.c.nr_objects--;
	f.c.nr_slabs++;
	assert_string_equal(check(&f).what, "number of slabs wrong");
	f.c.nr_slabs--;
	old = f.c.full.next;
	f.c.full.next = (struct avm_list *)(uintptr_t)0xdead0000; /* not followed */
	assert_true(check(&f).broken >= 1);
	f.c.full.next = old;
	old = f.c.full.next->next;
	f.c.full.next->next = f.c.full.next; /* round in a circle */
	assert_true(check(&f).broken >= 1);
	f.c.full.next->next = old;
	last = f.c.slabs.root->subtree_last;
	f.c.slabs.root->subtree_last = 0;
	assert_true(check(&f).broken >= 1);
	f.c.slabs.root->subtree_last = last;
	assert_int_equal(check(&f).broken, 0);
	free_many(&f, 0, MANY, 1);
	close_cache(&f);
}

/* What a stray store does to the head of a slab; each is said, and the check goes on to its end. */
static void check_survives_and_reports_broken_slabs(void **state)
{
	struct avm_slab *s;
	struct fixture f;
	uint16_t next;
	unsigned all;

	(void)state;
	open_cache(&f, 48, AVM_CACHE_PLAIN, NULL);
	alloc_many(&f, MANY);
	avm_cache_free(f.w.m, &f.c, f.object[0]); /* the slab is not full any more */
	s = avm_list_first(&f.c.partial, struct avm_slab, link);
	all = check(&f).objects;
	assert_int_equal(all, MANY - 1);

	s->magic++;
	assert_string_equal(check(&f).first, "header of a slab overwritten");
	assert_true(check(&f).objects < all); /* the other slabs are still looked at */
	assert_true(check(&f).objects > 0);
	s->magic--;
	s->nr_used = (uint16_t)(f.c.per_slab + 1);
	assert_string_equal(check(&f).first, "more objects in a slab than fit");
	s->nr_used = (uint16_t)(f.c.per_slab - 2);
	assert_string_equal(check(&f).first, "free list of a slab too short");
	s->nr_used = (uint16_t)(f.c.per_slab - 1);
	next = s->next[s->first_free];
	s->next[s->first_free] = s->first_free; /* round in a circle */
	assert_string_equal(check(&f).first, "free list of a slab broken");
	s->next[s->first_free] = 0x7fff; /* out of the slab */
	assert_string_equal(check(&f).first, "free list of a slab broken");
	s->next[s->first_free] = next;
	assert_int_equal(check(&f).broken, 0);

	f.object[0] = avm_cache_alloc(f.w.m, &f.c);
	free_many(&f, 0, MANY, 1);
	close_cache(&f);
}

/* ---- misuse ---------------------------------------------------------------------------------- */

static void free_first(void *context)
{
	struct fixture *f = context;

	avm_cache_free(f->w.m, &f->c, f->object[0]);
}

static void free_inside(void *context)
{
	struct fixture *f = context;

	avm_cache_free(f->w.m, &f->c, f->object[1] + 16);
}

static void free_to_another_cache(void *context)
{
	struct fixture *f = context;

	avm_cache_free(f->w.m, &f->w.m->avcs, f->object[1]);
}

static void misuse_is_noticed_in_every_build(void **state)
{
	struct fixture f;

	(void)state;
	open_cache(&f, 48, AVM_CACHE_PLAIN, NULL);
	alloc_many(&f, 3);
	assert_true(panics(free_inside, &f));
	assert_true(panics(free_to_another_cache, &f));
	avm_cache_free(f.w.m, &f.c, f.object[0]);
	assert_true(panics(free_first, &f)); /* twice */
	free_many(&f, 1, 3, 1);
	close_cache(&f);
}

#ifdef AVM_DEBUG
static void alloc_all(void *context)
{
	struct fixture *f = context;

	for (unsigned i = 0; i < f->c.per_slab; i++)
		avm_cache_alloc(f->w.m, &f->c);
}

static void overruns_and_writes_after_free_are_noticed(void **state)
{
	struct fixture f;
	struct checked x;

	(void)state;
	open_cache(&f, 50, AVM_CACHE_PLAIN, NULL);
	alloc_many(&f, 3);
	for (int offset = -16; offset < 58; offset++) {
		unsigned char *p = f.object[0] + offset;
		unsigned char old = *p;

		if (offset >= 0 && offset < 50)
			continue;
		*p = (unsigned char)(old ^ 1);
		x = check(&f);
		assert_int_equal(x.broken, 1);
		assert_string_equal(x.what,
				    offset < 0 ? "red zone below broken" : "red zone above broken");
		assert_true(panics(free_first, &f));
		*p = old;
	}
	avm_cache_free(f.w.m, &f.c, f.object[0]);
	assert_int_equal(f.object[0][0], AVM_SLAB_POISON);
	f.object[0][49] = 0;
	assert_string_equal(check(&f).what, "written to after it was freed");
	assert_true(panics(alloc_all, &f));
	f.object[0][49] = AVM_SLAB_POISON;
	assert_int_equal(check(&f).broken, 0);
	free_many(&f, 1, 3, 1);
	close_cache(&f);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_distinct_aligned_and_keep_their_contents),
		cmocka_unit_test(one_empty_chunk_is_kept_the_others_go_back),
		cmocka_unit_test(holes_are_filled_before_new_chunks_are_made),
		cmocka_unit_test(no_memory_is_null_and_changes_nothing),
		cmocka_unit_test(type_stable_objects_are_made_once_and_keep_what_they_had),
		cmocka_unit_test(owns_knows_live_objects_from_anything_else),
		cmocka_unit_test(check_visits_every_live_object_once),
		cmocka_unit_test(check_survives_and_reports_broken_lists_and_counts),
		cmocka_unit_test(many_at_once_are_distinct_and_counted),
		cmocka_unit_test(many_at_once_are_all_or_none),
		cmocka_unit_test(check_survives_and_reports_broken_slabs),
		cmocka_unit_test(misuse_is_noticed_in_every_build),
#ifdef AVM_DEBUG
		cmocka_unit_test(overruns_and_writes_after_free_are_noticed),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
