/* SPDX-License-Identifier: MIT */
/*
 * test_data_races.c - does the detector know a race from an order? Small shapes whose answer is known, in C as the core is
 * written: this file is compiled as the core of the checker is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check_memory.h"
#include "check_priv.h"
#include "check_region.h"

struct shared {
	uint64_t value;
	uint32_t left, right; /* of one word */
	uint8_t bytes[24];
	_Atomic uint32_t flag, counter, lock;
	_Atomic uint64_t other;
	bool met; /* the order that is wanted came about */
	struct avm_deferred deferred;
};

/* In turn: in memory of the program, and in the region of executions. They are kept account of in two ways. */
static struct shared of_program, *shared = &of_program;
#define x (*shared)

static struct check *checker;
static struct sim *sim;

static int open_checker(void **state)
{
	const struct sim_config config = { .frames = 16, .contents = SIM_STAMPS };

	(void)state;
	checker = check_new();
	return checker ? sim_create(&sim, &config) : -1;
}

static int open_in_region(void **state)
{
	if (open_checker(state))
		return -1;
	shared = check_region_zeroed(1, sizeof(*shared));
	return shared ? 0 : -1;
}

static int close_checker(void **state)
{
	(void)state;
	check_free(checker);
	if (shared != &of_program)
		check_region_free(shared);
	return sim_destroy(sim) ? -1 : 0;
}

/* ---- running --------------------------------------------------------------------------------------------------------- */

typedef void body(void *argument);

/* Threads one after the other, in this order, without a switch: what is found there needs no luck. */
static const char *serial(body *one, body *two, body *three)
{
	struct check_schedule s = { .strategy = CHECK_REPLAY };

	memset(&x, 0, sizeof(x));
	check_begin(checker, sim, &s);
	check_spawn(checker, one, NULL);
	check_spawn(checker, two, NULL);
	if (three)
		check_spawn(checker, three, NULL);
	check_run(checker);
	return check_finding(checker);
}

/* All that few hundred executions find: the first finding, or "". */
static const char *walk(body *one, body *two, body *three)
{
	static struct check_schedule s;

	for (uint64_t seed = 1; seed < 300; seed++) {
		s = (struct check_schedule){ .strategy = CHECK_WALK,
					     .rate = 1 + (uint32_t)seed % 4,
					     .seed = seed };
		memset(&x, 0, sizeof(x));
		check_begin(checker, sim, &s);
		check_spawn(checker, one, NULL);
		check_spawn(checker, two, NULL);
		if (three)
			check_spawn(checker, three, NULL);
		if (!check_run(checker))
			break;
	}
	return check_finding(checker);
}

static void is_race(const char *finding)
{
	if (strncmp(finding, "race: @", 7))
		fail_msg("no race is found, but '%s'", finding);
}

#define is_silent(finding) assert_string_equal(finding, "")

/* ---- plain accesses ------------------------------------------------------------------------------------------------- */

static void count(void *argument)
{
	(void)argument;
	x.value++;
}

static void read_value(void *argument)
{
	uint64_t value = *(volatile uint64_t *)&x.value;

	(void)value;
	(void)argument;
}

static void a_counter_of_two_threads_is_a_race(void **state)
{
	struct check_schedule s = { .strategy = CHECK_REPLAY, .no_races = true };

	(void)state;
	is_race(serial(count, count, NULL));
	assert_non_null(strstr(check_finding(checker), "writes"));
	check_begin(checker, sim, &s);
	check_spawn(checker, count, NULL);
	check_spawn(checker, count, NULL);
	assert_true(check_run(checker));
}

static void two_readers_are_none(void **state)
{
	(void)state;
	is_silent(serial(read_value, read_value, read_value));
}

static void a_write_races_with_any_of_several_readers(void **state)
{
	(void)state;
	is_race(serial(read_value, read_value, count));
	is_race(serial(count, read_value, NULL));
}

/* The last reader is before the write, the first is not. */
static void read_and_tell(void *argument)
{
	read_value(argument);
	atomic_store_explicit(&x.flag, 1, memory_order_release);
}

static void write_when_told(void *argument)
{
	if (atomic_load_explicit(&x.flag, memory_order_acquire))
		count(argument);
}

static void one_ordered_reader_does_not_hide_another(void **state)
{
	(void)state;
	is_race(serial(read_value, read_and_tell, write_when_told));
	is_silent(serial(read_and_tell, write_when_told, NULL));
}

static void text_is_the_same_in_both_orders(void **state)
{
	char one[512];

	(void)state;
	is_race(serial(read_value, count, NULL));
	snprintf(one, sizeof(one), "%.*s", (int)strcspn(check_finding(checker), ";"),
		 check_finding(checker));
	is_race(serial(count, read_value, NULL));
	assert_int_equal(strncmp(one, check_finding(checker), strlen(one)), 0);
}

static void left(void *argument)
{
	(void)argument;
	x.left++;
}

static void right(void *argument)
{
	(void)argument;
	x.right++;
}

static void first_byte(void *argument)
{
	(void)argument;
	x.bytes[9]++;
}

static void second_byte(void *argument)
{
	(void)argument;
	x.bytes[10]++;
}

static void clear_bytes(void *argument)
{
	(void)argument;
	memset(x.bytes + 8, 0, 2);
}

static void copy_bytes(void *argument)
{
	(void)argument;
	memcpy(x.bytes + 16, x.bytes, 7);
}

static void fifth_byte(void *argument)
{
	(void)argument;
	x.bytes[4]++;
}

static void copied_byte(void *argument)
{
	(void)argument;
	x.bytes[20]++;
}

static void left_and_right(void *argument)
{
	left(argument);
	right(argument);
}

static void neighbours_do_not_race(void **state)
{
	(void)state;
	is_silent(serial(left, right, NULL));
	is_silent(serial(first_byte, second_byte, NULL));
	is_race(serial(right, right, NULL));
	is_race(serial(second_byte, second_byte, NULL));
	/* What comes later in the word does not hide what was before. */
	is_race(serial(left_and_right, left, NULL));
	is_race(serial(left_and_right, right, NULL));
}

static void memset_and_memcpy_are_accesses(void **state)
{
	(void)state;
	is_race(serial(clear_bytes, first_byte, NULL));
	is_silent(serial(clear_bytes, second_byte, NULL));
	is_race(serial(copy_bytes, fifth_byte, NULL));
	is_race(serial(copy_bytes, copied_byte, NULL));
	is_silent(serial(copy_bytes, second_byte, NULL));
}

/* ---- atomic accesses --------------------------------------------------------------------------------------------------- */

static void add_atomically(void *argument)
{
	(void)argument;
	atomic_fetch_add_explicit(&x.counter, 1, memory_order_relaxed);
}

static void clear_the_counter(void *argument)
{
	(void)argument;
	memset((void *)&x.counter, 0, sizeof(x.counter));
}

static void clear_and_add(void *argument)
{
	clear_the_counter(argument);
	atomic_store_explicit(&x.flag, 1, memory_order_release);
	add_atomically(argument);
}

static void atomic_accesses_race_with_plain_ones_only(void **state)
{
	(void)state;
	is_silent(serial(add_atomically, add_atomically, add_atomically));
	is_race(serial(add_atomically, clear_the_counter, NULL));
	is_race(serial(clear_the_counter, add_atomically, NULL));
	is_race(serial(clear_and_add, add_atomically, NULL));
}

static void count_locked(void *argument)
{
	uint32_t free = 0;

	(void)argument;
	while (!atomic_compare_exchange_strong_explicit(&x.lock, &free, 1, memory_order_acquire,
							memory_order_relaxed)) {
		free = 0;
		check_relax(sim_machine(sim));
	}
	x.value++;
	atomic_store_explicit(&x.lock, 0, memory_order_release);
}

static void a_counter_under_a_lock_is_none(void **state)
{
	(void)state;
	is_silent(walk(count_locked, count_locked, count_locked));
	is_race(walk(count_locked, count_locked, count));
}

/* The lock as it must not be: dropped without a release. */
static void count_badly_locked(void *argument)
{
	uint32_t free = 0;

	(void)argument;
	while (!atomic_compare_exchange_strong_explicit(&x.lock, &free, 1, memory_order_acquire,
							memory_order_relaxed)) {
		free = 0;
		check_relax(sim_machine(sim));
	}
	x.value++;
	atomic_store_explicit(&x.lock, 0, memory_order_relaxed);
}

static void a_lock_that_releases_nothing_is_no_lock(void **state)
{
	(void)state;
	is_race(serial(count_badly_locked, count_badly_locked, NULL));
}

/* ---- publication ------------------------------------------------------------------------------------------------------- */

static void publish(void *argument)
{
	x.value = 1;
	atomic_store_explicit(&x.flag, 1, memory_order_release);
	(void)argument;
}

static void publish_relaxed(void *argument)
{
	x.value = 1;
	atomic_store_explicit(&x.flag, 1, memory_order_relaxed);
	(void)argument;
}

static void take(void *argument)
{
	if (atomic_load_explicit(&x.flag, memory_order_acquire)) {
		x.met = true;
		read_value(argument);
	}
}

static void take_relaxed(void *argument)
{
	if (atomic_load_explicit(&x.flag, memory_order_relaxed))
		read_value(argument);
}

static void publication_needs_a_release_and_an_acquire(void **state)
{
	(void)state;
	is_silent(serial(publish, take, NULL));
	assert_true(x.met);
	is_silent(walk(publish, take, NULL));
	is_race(serial(publish_relaxed, take, NULL));
	is_race(serial(publish, take_relaxed, NULL));
}

/* What is written after the release is not published by it. */
static void publish_too_early(void *argument)
{
	atomic_store_explicit(&x.flag, 1, memory_order_release);
	x.value = 1;
	(void)argument;
}

static void what_follows_a_release_is_not_published(void **state)
{
	(void)state;
	is_race(serial(publish_too_early, take, NULL));
}

static void add_to_the_flag(void *argument)
{
	(void)argument;
	atomic_fetch_add_explicit(&x.flag, 1, memory_order_relaxed);
}

static void store_to_the_flag(void *argument)
{
	(void)argument;
	atomic_store_explicit(&x.flag, 2, memory_order_relaxed);
}

static void fail_to_exchange_the_flag(void *argument)
{
	uint32_t nine = 9;

	(void)argument;
	if (!atomic_compare_exchange_strong_explicit(&x.flag, &nine, 1, memory_order_acquire,
						     memory_order_relaxed))
		read_value(argument);
}

static void read_modify_writes_continue_a_release_and_stores_end_it(void **state)
{
	(void)state;
	is_silent(serial(publish, add_to_the_flag, take));
	assert_true(x.met);
	is_race(serial(publish, store_to_the_flag, take));
}

static void an_exchange_that_fails_has_the_order_of_failure(void **state)
{
	(void)state;
	is_race(serial(publish, fail_to_exchange_the_flag, NULL));
}

/* A reference count: the last one sees what all others did before. */
static void use_and_put(void *argument)
{
	(void)argument;
	x.bytes[check_current(checker)] = 1;
	if (atomic_fetch_add_explicit(&x.counter, 1, memory_order_release) != 2)
		return;
	atomic_thread_fence(memory_order_acquire);
	memset(x.bytes, 0, sizeof(x.bytes));
	x.met = true;
}

static void use_and_put_unfenced(void *argument)
{
	(void)argument;
	x.bytes[check_current(checker)] = 1;
	if (atomic_fetch_add_explicit(&x.counter, 1, memory_order_release) == 2)
		memset(x.bytes, 0, sizeof(x.bytes));
}

static void a_count_of_references_needs_the_fence_of_the_last(void **state)
{
	(void)state;
	is_silent(serial(use_and_put, use_and_put, use_and_put));
	assert_true(x.met);
	is_race(serial(use_and_put_unfenced, use_and_put_unfenced, use_and_put_unfenced));
}

static void publish_fenced(void *argument)
{
	x.value = 1;
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&x.flag, 1, memory_order_relaxed);
	(void)argument;
}

static void a_release_fence_goes_with_a_relaxed_store(void **state)
{
	(void)state;
	is_silent(serial(publish_fenced, take, NULL));
	assert_true(x.met);
}

/* ---- read sections ------------------------------------------------------------------------------------------------------ */

static void free_value(struct avm_deferred *d)
{
	(void)d;
	x.value = 0;
	x.left++;
	x.met = true;
	atomic_store_explicit(&x.counter, check_current(checker) + 1, memory_order_relaxed);
}

/* Others run while it is inside. */
static void read_in_a_section(void *argument)
{
	uintptr_t flags = avm_port_irq_save(sim_machine(sim));

	if (!atomic_load_explicit(&x.flag, memory_order_relaxed))
		read_value(argument);
	atomic_load_explicit(&x.flag, memory_order_relaxed);
	avm_port_irq_restore(sim_machine(sim), flags);
}

static void unpublish_and_defer(void *argument)
{
	(void)argument;
	atomic_store_explicit(&x.flag, 1, memory_order_relaxed);
	x.deferred.call = free_value;
	x.left = 1;
	avm_port_defer(sim_machine(sim), &x.deferred);
}

static void unpublish_and_free(void *argument)
{
	(void)argument;
	atomic_store_explicit(&x.flag, 1, memory_order_relaxed);
	free_value(NULL);
}

static void a_deferred_call_comes_after_the_read_sections(void **state)
{
	(void)state;
	is_silent(serial(read_in_a_section, unpublish_and_defer, NULL));
	assert_true(x.met);
	is_silent(walk(read_in_a_section, unpublish_and_defer, read_in_a_section));
	is_race(walk(read_in_a_section, unpublish_and_free, NULL));
}

/* A section orders nothing but what was deferred: the thread that happens to run the call has not seen more by it. */
static void defer_something(void *argument)
{
	x.deferred.call = free_value;
	x.bytes[0] = 1;
	avm_port_defer(sim_machine(sim), &x.deferred);
	(void)argument;
}

static void enter_and_look(void *argument)
{
	uintptr_t flags = avm_port_irq_save(sim_machine(sim));

	atomic_load_explicit(&x.flag, memory_order_relaxed);
	avm_port_irq_restore(sim_machine(sim), flags);
	/* Only where the call came from here. */
	if (atomic_load_explicit(&x.counter, memory_order_relaxed) == check_current(checker) + 1)
		x.bytes[0] = 2;
	(void)argument;
}

static void running_a_deferred_call_orders_nothing(void **state)
{
	(void)state;
	is_race(walk(enter_and_look, defer_something, NULL));
}

/* ---- memory that is handed on ------------------------------------------------------------------------------------------- */

static void *chunk;

static void use_chunk(void *argument)
{
	(void)argument;
	*(uint64_t *)chunk = 1;
}

static void give_chunk_back(void *argument)
{
	use_chunk(argument);
	check_handed(chunk, 4096, SIM_TAKEN_BACK);
}

static void take_chunk_back(void *argument)
{
	(void)argument;
	check_handed(chunk, 4096, SIM_TAKEN_BACK);
}

static void get_chunk(void *argument)
{
	check_handed(chunk, 4096, SIM_GIVEN);
	use_chunk(argument);
}

static void memory_is_given_after_it_was_taken_back(void **state)
{
	(void)state;
	chunk = aligned_alloc(4096, 4096);
	assert_non_null(chunk);
	is_silent(serial(give_chunk_back, get_chunk, NULL));
	is_race(serial(use_chunk, take_chunk_back, NULL));
	/* What the host did with it in between is not known. */
	is_silent(serial(use_chunk, get_chunk, NULL));
	is_race(serial(give_chunk_back, use_chunk, NULL));
	free(chunk);
}

static void hand_over(void *argument)
{
	x.value = 1;
	check_release(&x.other);
	(void)argument;
}

static void hand_over_too_early(void *argument)
{
	check_release(&x.other);
	x.value = 1;
	(void)argument;
}

static void take_over(void *argument)
{
	check_acquire(&x.other);
	count(argument);
}

static void what_callers_hand_over_is_ordered(void **state)
{
	(void)state;
	is_silent(serial(hand_over, take_over, NULL));
	is_race(serial(take_over, hand_over, NULL));
	is_race(serial(hand_over_too_early, take_over, NULL));
}

/* ---- sizes --------------------------------------------------------------------------------------------------------------- */

#define MANY 40000u

static _Atomic uint32_t many[MANY];
static uint64_t plenty[MANY];

static void count_everywhere(void *argument)
{
	for (uint32_t i = 0; i < MANY; i++)
		plenty[i]++;
	count(argument);
}

static void store_everywhere(void *argument)
{
	for (uint32_t i = 0; i < MANY; i++)
		atomic_store_explicit(&many[i], 1, memory_order_release);
	(void)argument;
}

/* Nothing is known of the last one any more, nor of another. */
static void take_from_the_last(void *argument)
{
	atomic_store_explicit(&x.other, 1, memory_order_release);
	atomic_load_explicit(&many[MANY - 1], memory_order_acquire);
	count(argument);
}

static void publish_everywhere(void *argument)
{
	count(argument);
	store_everywhere(argument);
}

static void more_than_can_be_kept_invents_nothing(void **state)
{
	(void)state;
	is_race(serial(count_everywhere, count_everywhere, NULL));
	is_silent(serial(publish_everywhere, take_from_the_last, NULL));
	/* ... and is over with the execution. */
	is_race(serial(count, count, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_counter_of_two_threads_is_a_race),
		cmocka_unit_test(two_readers_are_none),
		cmocka_unit_test(a_write_races_with_any_of_several_readers),
		cmocka_unit_test(one_ordered_reader_does_not_hide_another),
		cmocka_unit_test(text_is_the_same_in_both_orders),
		cmocka_unit_test(neighbours_do_not_race),
		cmocka_unit_test(memset_and_memcpy_are_accesses),
		cmocka_unit_test(atomic_accesses_race_with_plain_ones_only),
		cmocka_unit_test(a_counter_under_a_lock_is_none),
		cmocka_unit_test(a_lock_that_releases_nothing_is_no_lock),
		cmocka_unit_test(publication_needs_a_release_and_an_acquire),
		cmocka_unit_test(what_follows_a_release_is_not_published),
		cmocka_unit_test(read_modify_writes_continue_a_release_and_stores_end_it),
		cmocka_unit_test(an_exchange_that_fails_has_the_order_of_failure),
		cmocka_unit_test(a_count_of_references_needs_the_fence_of_the_last),
		cmocka_unit_test(a_release_fence_goes_with_a_relaxed_store),
		cmocka_unit_test(a_deferred_call_comes_after_the_read_sections),
		cmocka_unit_test(running_a_deferred_call_orders_nothing),
		cmocka_unit_test(memory_is_given_after_it_was_taken_back),
		cmocka_unit_test(what_callers_hand_over_is_ordered),
		cmocka_unit_test(more_than_can_be_kept_invents_nothing),
	};

	return cmocka_run_group_tests_name("of the program", tests, open_checker, close_checker) +
	       cmocka_run_group_tests_name("in the region", tests, open_in_region, close_checker);
}
