/* SPDX-License-Identifier: MIT */
/*
 * test_reclaim.c - which pages go first, and when it stops: R11, R8.7.
 */
#include "world.h"

#define BASE 0x10000000ull
#define HERE(i) (BASE + (i)*PAGE)

static struct world w;
static struct avm_swap_device *swap;

static void open_machine(const struct sim_config *config)
{
	world_open_with(&w, config);
	assert_int_equal(sim_swap_add(w.s, &(struct sim_swap_config){ .slots = 256 }, &swap), 0);
}

static void open_plain(void)
{
	open_machine(&(struct sim_config){ .frames = 256, .check_tlb = true });
}

static void fill(uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		store(w.a, HERE(i), (unsigned char)(i + 1));
}

static void expect_filled(uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		assert_int_equal(load(w.a, HERE(i)), (unsigned char)(i + 1));
}

static uint64_t present(uint64_t first, uint64_t n)
{
	uint64_t count = 0;

	for (uint64_t i = first; i < first + n; i++)
		count += pte(w.mm, HERE(i)).kind == AVM_PTE_PRESENT;
	return count;
}

static uint64_t counted(enum avm_event e)
{
	struct avm_stats s;

	avm_stats(w.m, &s);
	return s.events[e];
}

/* As if nobody had used them for a while. */
static void age(uint64_t first, uint64_t n)
{
	assert_int_equal(avm_madvise(w.mm, HERE(first), n * PAGE, AVM_MADV_COLD), 0);
}

static void it_frees_as_many_as_it_is_asked_for(void **state)
{
	(void)state;
	open_plain();
	map_at(w.mm, BASE, 128, RW, ANON, NULL, 0);
	fill(0, 128);
	age(0, 128);
	assert_int_equal(avm_shrink(w.m, 40), 40);
	assert_int_equal(present(0, 128), 88);
	world_check(&w);
	expect_filled(0, 128);
	world_close(&w);
}

static void what_has_been_used_stays_longer(void **state)
{
	(void)state;
	/* A translation that stays in the TLB hides accesses: not here. */
	open_machine(&(struct sim_config){ .frames = 256, .no_tlb = true });
	map_at(w.mm, BASE, 64, RW, ANON, NULL, 0);
	fill(0, 64);
	age(0, 64);
	expect_filled(0, 32); /* young again */
	assert_int_equal(avm_shrink(w.m, 32), 32);
	assert_int_equal(present(0, 32), 32);
	/* All have begun as active ones, and those that became so again have been asked once more. */
	assert_int_equal(counted(AVM_EV_DEACTIVATED), 64 + 32);
	world_close(&w);
}

static void a_page_of_a_file_used_once_is_not_kept(void **state)
{
	struct avm_file *f;

	(void)state;
	world_open_with(&w, &(struct sim_config){ .core = { .fault_around = 1 }, .frames = 256 });
	assert_int_equal(sim_file_create(w.s, "f", 32 * PAGE, 3, &f), 0);
	map_at(w.mm, BASE, 32, AVM_PROT_READ, AVM_MAP_PRIVATE, f, 0);
	for (uint64_t i = 0; i < 32; i++)
		load(w.a, HERE(i));
	/* Once round: each was used, and is only remembered to have been. */
	avm_shrink(w.m, 1);
	assert_int_equal(counted(AVM_EV_ACTIVATED), 0);
	for (uint64_t i = 0; i < 8; i++)
		load(w.a, HERE(i));
	world_check(&w);
	avm_shrink_all(w.m);
	assert_int_equal(f->nr_pages, 0);
	avm_mm_unmap_all(w.mm);
	sim_file_put(f);
	world_close(&w);
}

static void without_swap_anonymous_memory_stays(void **state)
{
	(void)state;
	world_open_with(&w, &(struct sim_config){ .frames = 256 });
	map_at(w.mm, BASE, 16, RW, ANON, NULL, 0);
	fill(0, 16);
	assert_int_equal(avm_shrink_all(w.m), 0);
	assert_int_equal(avm_madvise(w.mm, HERE(0), 4 * PAGE, AVM_MADV_FREE), 0);
	assert_int_equal(avm_shrink_all(w.m), 4);
	expect_filled(4, 12);
	world_close(&w);
}

static void the_background_keeps_frames_between_the_marks(void **state)
{
	struct avm_stats s;

	(void)state;
	open_machine(&(struct sim_config){ .core = { .low_frames = 32, .high_frames = 64 },
					   .frames = 256 });
	map_at(w.mm, BASE, 300, RW, ANON, NULL, 0);
	fill(0, 64);
	assert_int_equal(atomic_load(&w.m->pressure), 0);
	assert_int_equal(avm_balance(w.m), 0);
	fill(64, 170);
	assert_int_equal(atomic_load(&w.m->pressure), 1);
	assert_true(avm_balance(w.m) > 0);
	assert_int_equal(atomic_load(&w.m->pressure), 0);
	avm_stats(w.m, &s);
	assert_true(s.frames_total - s.frames_used >= 64);
	expect_filled(0, 234);
	world_close(&w);
}

static void watermarks_out_of_order_are_refused(void **state)
{
	struct avm m;

	(void)state;
	assert_int_equal(avm_init(&m, &(struct avm_config){ .low_frames = 8, .high_frames = 4 }),
			 -AVM_EINVAL);
}

/* R8.7: everything that needs a frame gets one as long as there is a page to put out. */
static void every_operation_that_is_short_of_frames_reclaims(void **state)
{
	struct sim_proc *b;
	struct avm_file *f;
	char buf[8];
	avm_addr_t to;

	(void)state;
	open_machine(&(struct sim_config){ .frames = 64, .check_tlb = true });
	map_at(w.mm, BASE, 64, RW, ANON, NULL, 0);
	fill(0, 64);
	assert_int_equal(sim_proc_fork(w.a, &b), 0);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(load(b, HERE(i)), (unsigned char)(i + 1));
	assert_int_equal(sim_file_create(w.s, "f", 96 * PAGE, 3, &f), 0);
	for (uint64_t i = 0; i < 96; i++)
		assert_int_equal(avm_file_read(f, i * PAGE, buf, 8), 8);
	assert_int_equal(avm_file_readahead(f, 0, 8), 8);
	fill(0, 64);
	assert_int_equal(avm_mremap(w.mm, BASE, 64 * PAGE, 64 * PAGE,
				    AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED, 0x7000000000, &to),
			 0);
	assert_int_equal(load(w.a, to + 5 * PAGE), 6);
	assert_int_equal(avm_insert_pfn(w.mm, 0x3000000000, 1u << 20, 1, RW), 0);
	world_check(&w);
	sim_file_put(f);
	world_close(&w);
}

static void priorities_decide_which_device_is_filled(void **state)
{
	struct avm_swap_device *better;

	(void)state;
	open_plain();
	assert_int_equal(sim_swap_add(w.s, &(struct sim_swap_config){ .slots = 8, .priority = 5 },
				      &better),
			 0);
	map_at(w.mm, BASE, 16, RW, ANON, NULL, 0);
	fill(0, 16);
	assert_int_equal(avm_shrink_all(w.m), 16);
	assert_int_equal(atomic_load(&better->used), 8);
	assert_int_equal(atomic_load(&swap->used), 8);
	/* What cannot stay there goes to the other one. */
	assert_int_equal(sim_swap_remove(w.s, better), 0);
	expect_filled(0, 16);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_frees_as_many_as_it_is_asked_for),
		cmocka_unit_test(what_has_been_used_stays_longer),
		cmocka_unit_test(a_page_of_a_file_used_once_is_not_kept),
		cmocka_unit_test(without_swap_anonymous_memory_stays),
		cmocka_unit_test(the_background_keeps_frames_between_the_marks),
		cmocka_unit_test(watermarks_out_of_order_are_refused),
		cmocka_unit_test(every_operation_that_is_short_of_frames_reclaims),
		cmocka_unit_test(priorities_decide_which_device_is_filled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
