/* SPDX-License-Identifier: MIT */
/*
 * The picture of a machine: what is in it, what is red in it, and that nothing a picture is wanted
 * of (a machine that has been spoiled) brings it down. tests/tool/test-graph has the command.
 */
#include "verify_rig.h"

#include "graph.h"
#include "slab.h"

#define RED "#d00000"

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	rig_open(r, AVM_FAMILY_REUSE);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	rig_close(r);
	free(r);
	return 0;
}

static char *draw(struct rig *r)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	graph_draw(r->w.m, NULL, f);
	fclose(f);
	return text;
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	while ((text = strstr(text, what))) {
		text += strlen(what);
		n++;
	}
	return n;
}

/* Nodes of this class, and whether anything at all is red outside of the legend. */
static void draws(struct rig *r, const char *class, unsigned n, bool red)
{
	char *text = draw(r);

	assert_int_equal(count(text, class), n);
	assert_int_equal(count(text, RED) > 1, red);
	free(text);
}

static void point(struct avm_page *page, const void *av)
{
	atomic_store(&page->mapping, (uintptr_t)av | AVM_MAPPING_ANON);
}

static struct avm_anon_vma *freed(struct rig *r)
{
	struct avm_cache *cache = &r->w.m->anon_vmas;
	struct avm_anon_vma *gone = avm_cache_alloc(r->w.m, cache);

	assert_non_null(gone);
	avm_cache_free(r->w.m, cache, gone);
	return gone;
}

/* ---- a machine in order --------------------------------------------------------------------- */

static void everything_that_is_there_is_drawn_and_nothing_is_red(void **state)
{
	struct rig *r = *state;
	struct avm_mm *mm;
	char *text = draw(r);
	unsigned avcs = 0;

	for (mm = NULL; (mm = avm_next_mm(r->w.m, mm));) {
		struct avm_mm_stats st;

		avm_mm_stats(mm, &st);
		avcs += (unsigned)st.avcs;
	}
	assert_int_equal(count(text, "[class=\"process\""), 3);
	assert_int_equal(count(text, "[class=\"avc\""), avcs);
	assert_int_equal(count(text, RED), 1); /* the word in the legend */
	assert_int_equal(count(text, "[class=\"wrong\""), 0);
	assert_int_equal(count(text, "[class=\"dead\""), 0);
	free(text);
}

static void the_same_machine_gives_the_same_picture(void **state)
{
	struct rig *r = *state;
	char *a = draw(r);
	char *b = draw(r);

	assert_string_equal(a, b);
	free(a);
	free(b);
}

static void a_machine_without_processes_is_a_picture(void **state)
{
	struct sim *s;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	assert_int_equal(sim_create(&s, &(struct sim_config){ .frames = 64 }), 0);
	graph_draw(sim_machine(s), NULL, f);
	fclose(f);
	assert_int_equal(count(text, "class="), 0);
	assert_int_equal(count(text, "digraph"), 1);
	free(text);
	assert_int_equal(sim_destroy(s), 0);
}

/* ---- what must not be ----------------------------------------------------------------------- */

/* V20: a page of the grandparent's on the anon_vma of the child, which its chain does not name. */
static void a_page_on_an_anon_vma_that_is_not_on_the_chain_is_red(void **state)
{
	struct rig *r = *state;
	struct avm_page *page = page_at(r->ma, r->anon + 2 * PAGE);
	uintptr_t was = atomic_load(&page->mapping);

	point(page, avm_vma_anon(vma_at(r->mc, r->anon)));
	draws(r, "WRONG: not on a chain", 1, true);
	draws(r, "[class=\"wrong\"", 1, true);
	atomic_store(&page->mapping, was);
	draws(r, "[class=\"wrong\"", 0, false);
}

/* Three processes map the page; the last one has lost the root from its chain. */
static void one_mapper_that_cannot_be_found_is_enough(void **state)
{
	struct rig *r = *state;
	struct avm_page *page = page_at(r->ma, r->anon + 2 * PAGE);
	struct avm_anon_vma_chain *avc = avc_at(vma_at(r->mc, r->anon), 2);
	struct avm_anon_vma *was = avc->anon_vma;

	assert_int_equal(atomic_load(&page->mapcount), 3);
	assert_ptr_equal(avm_page_anon_vma(page), was);
	avc->anon_vma = avc_at(vma_at(r->mc, r->anon), 0)->anon_vma;
	draws(r, "WRONG: not on a chain\\nshared: mapped 3 times", 1, true);
	avc->anon_vma = was;
}

static void a_page_with_a_wrong_index_is_red(void **state)
{
	struct rig *r = *state;
	struct avm_page *page = page_at(r->ma, r->anon + 2 * PAGE);

	atomic_fetch_add(&page->index, 1);
	draws(r, "WRONG: index", 1, true);
	atomic_fetch_sub(&page->index, 1);
}

static void a_page_of_another_file_is_red(void **state)
{
	struct rig *r = *state;
	struct avm_page *page = page_at(r->ma, r->shared);
	uintptr_t was = atomic_load(&page->mapping);

	atomic_store(&page->mapping, (uintptr_t)r->memfd);
	draws(r, "WRONG: other file", 1, true);
	atomic_store(&page->mapping, was);
}

/* Freed memory, addresses that are none, the middle of a live one: never followed, drawn red. */
static void a_page_on_a_dead_anon_vma_is_red(void **state)
{
	struct rig *r = *state;
	struct avm_page *page = page_at(r->mc, r->anon);
	uintptr_t was = atomic_load(&page->mapping);
	const char *own = (const char *)avm_vma_anon(vma_at(r->mc, r->anon));
	const void *const dead[] = { freed(r), (const void *)16, (const void *)UINTPTR_MAX, own + 8,
				     r->w.m };

	for (size_t i = 0; i < sizeof(dead) / sizeof(dead[0]); i++) {
		point(page, (const void *)((uintptr_t)dead[i] & ~(uintptr_t)AVM_MAPPING_FLAGS));
		draws(r, "[class=\"dead\"", 1, true);
		draws(r, "DEAD: freed anon_vma", 1, true);
	}
	atomic_store(&page->mapping, was);
}

static void a_dead_anon_vma_on_a_chain_is_red(void **state)
{
	struct rig *r = *state;
	struct avm_anon_vma_chain *avc = avc_at(vma_at(r->mc, r->anon), 1);
	struct avm_anon_vma *was = avc->anon_vma;

	avc->anon_vma = freed(r);
	draws(r, "[class=\"dead\"", 1, true);
	avc->anon_vma = (struct avm_anon_vma *)16;
	draws(r, "[class=\"dead\"", 1, true);
	avc->anon_vma = was;
}

static void a_chain_with_an_anon_vma_twice_has_an_end(void **state)
{
	struct rig *r = *state;
	struct avm_vma *vma = vma_at(r->mc, r->anon);
	struct avm_anon_vma_chain *avc = avc_at(vma, 1);
	struct avm_anon_vma *was = avc->anon_vma;
	char *text;

	avc->anon_vma = avc_at(vma, 0)->anon_vma;
	text = draw(r);
	assert_int_equal(count(text, "digraph"), 1);
	free(text);
	avc->anon_vma = was;
}

/* ---- entries without a page ----------------------------------------------------------------- */

static unsigned mappings(struct rig *r)
{
	char *text = draw(r);
	unsigned n = count(text, "[class=\"maps\"");

	free(text);
	return n;
}

static void a_swapped_page_is_drawn_with_its_slot(void **state)
{
	struct rig *r = *state;
	unsigned before = mappings(r);
	avm_addr_t empty = r->anon + 7 * PAGE;

	poke_entry(r->ma, empty, avm_pte_make_entry(AVM_ENTRY_SWAP, 77, true, false));
	poke_entry(r->mb, empty, avm_pte_make_entry(AVM_ENTRY_SWAP, 77, true, false));
	draws(r, "[class=\"swap\"", 1, false);
	draws(r, "swap 77", 1, false);
	assert_int_equal(mappings(r), before + 2);
	poke_entry(r->mb, empty, AVM_PTE_EMPTY);
	poke_entry(r->ma, empty, avm_pte_make_entry(AVM_ENTRY_MIGRATION, 3, true, false));
	draws(r, "migrating", 1, false);
	poke_entry(r->ma, empty, avm_pte_make_entry(AVM_ENTRY_POISON, 3, true, false));
	draws(r, "poisoned", 1, false);
	poke_entry(r->ma, empty, AVM_PTE_EMPTY);
}

/* ---- folding keeps what is red -------------------------------------------------------------- */

#define CHILDREN 20

/* A process with 20 VMAs, and as many children; each writes to the last VMA, or to one of its own. */
static void many_open(struct rig *r, struct sim_proc **child, avm_addr_t *heap, bool alike)
{
	world_open(&r->w);
	for (unsigned i = 0; i < CHILDREN; i++) {
		heap[i] = map_at(r->w.mm, 0x10000000 + i * 16 * PAGE, 1, RW, ANON, NULL, 0);
		store(r->w.a, heap[i], 1);
	}
	for (unsigned i = 0; i < CHILDREN; i++) {
		assert_int_equal(sim_proc_fork(r->w.a, &child[i]), 0);
		store(child[i], heap[alike ? CHILDREN - 1 : i], 2);
	}
}

static void processes_that_look_alike_are_drawn_once_and_red_ones_apart(void **state)
{
	struct sim_proc *child[CHILDREN];
	avm_addr_t heap[CHILDREN];
	struct rig r = { 0 };
	struct avm_page *page;
	uintptr_t was;

	(void)state;
	many_open(&r, child, heap, true);
	draws(&r, "[class=\"process\"", 2, false);
	draws(&r, "and 19 like it", 1, false);
	draws(&r, "12 more faulted VMAs", 2, false);
	page = page_at(sim_mm(child[13]), heap[CHILDREN - 1]);
	was = atomic_load(&page->mapping);
	point(page, avm_vma_anon(vma_at(sim_mm(child[7]), heap[CHILDREN - 1])));
	draws(&r, "[class=\"wrong\"", 1, true);
	draws(&r, "[class=\"process\"", 3, true);
	draws(&r, "and 18 like it", 1, true);
	atomic_store(&page->mapping, was);
	world_close(&r.w);
}

static void of_processes_that_all_differ_the_red_one_is_shown(void **state)
{
	struct sim_proc *child[CHILDREN];
	avm_addr_t heap[CHILDREN];
	struct rig r = { 0 };
	struct avm_page *page;
	uintptr_t was;

	(void)state;
	many_open(&r, child, heap, false);
	draws(&r, "[class=\"process\"", 6, false);
	draws(&r, "15 other processes", 1, false);
	page = page_at(sim_mm(child[19]), heap[19]);
	was = atomic_load(&page->mapping);
	point(page, freed(&r));
	draws(&r, "[class=\"wrong\"", 1, true);
	draws(&r, "[class=\"process\"", 6, true);
	draws(&r, "15 other processes", 1, true);
	atomic_store(&page->mapping, was);
	world_close(&r.w);
}

int main(void)
{
#define IN_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		IN_RIG(everything_that_is_there_is_drawn_and_nothing_is_red),
		IN_RIG(the_same_machine_gives_the_same_picture),
		cmocka_unit_test(a_machine_without_processes_is_a_picture),
		IN_RIG(a_page_on_an_anon_vma_that_is_not_on_the_chain_is_red),
		IN_RIG(one_mapper_that_cannot_be_found_is_enough),
		IN_RIG(a_page_with_a_wrong_index_is_red),
		IN_RIG(a_page_of_another_file_is_red),
		IN_RIG(a_page_on_a_dead_anon_vma_is_red),
		IN_RIG(a_dead_anon_vma_on_a_chain_is_red),
		IN_RIG(a_chain_with_an_anon_vma_twice_has_an_end),
		IN_RIG(a_swapped_page_is_drawn_with_its_slot),
		cmocka_unit_test(processes_that_look_alike_are_drawn_once_and_red_ones_apart),
		cmocka_unit_test(of_processes_that_all_differ_the_red_one_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
