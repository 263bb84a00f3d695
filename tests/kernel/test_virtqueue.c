/* SPDX-License-Identifier: MIT */
/* A split virtqueue against a device that does what it should, and one that does not. */
#include <stdlib.h>

#include "sim_pci.h"
#include "virtqueue.h"
#include "../unit/random.h"

static struct virtqueue q;
static struct vq_rings *rings;
static struct dma_page page;

static int open_queue(void **state)
{
	(void)state;
	rings = aligned_alloc(DMA_PAGE_SIZE, DMA_PAGE_SIZE);
	assert_non_null(rings);
	memset(rings, 0, DMA_PAGE_SIZE);
	page = (struct dma_page){ .memory = rings, .address = 0x1000 };
	assert_int_equal(vq_init(&q, &page, 8), 0);
	return 0;
}

static int close_queue(void **state)
{
	(void)state;
	free(rings);
	return 0;
}

/* A chain of n parts, the last of which the device writes. */
static int add(unsigned n, uintptr_t token)
{
	struct vq_buffer parts[8];

	for (unsigned i = 0; i < n; i++)
		parts[i] = (struct vq_buffer){ .address = token + i,
					       .len = 100 + i,
					       .written = i + 1 == n };
	return vq_add(&q, parts, n, (void *)token);
}

/* The device says that it is done. */
static void done(uint32_t id, uint32_t len)
{
	rings->used.ring[rings->used.index % q.size] =
		(struct vq_used_entry){ .id = id, .len = len };
	rings->used.index++;
}

static uint16_t head_of(unsigned i) /* of the i-th chain that was ever added */
{
	return rings->avail.ring[i % q.size];
}

static uintptr_t get(void)
{
	uint32_t len;

	return (uintptr_t)vq_get(&q, &len);
}

static void the_page_is_laid_out_as_the_specification_says(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct vq_desc), 16);
	assert_int_equal(offsetof(struct vq_avail, ring), 4);
	assert_int_equal(offsetof(struct vq_used, ring), 4);
	assert_int_equal(sizeof(struct vq_used_entry), 8);
	assert_int_equal(offsetof(struct vq_rings, desc) % 16, 0);
	assert_int_equal(offsetof(struct vq_rings, avail) % 2, 0);
	assert_int_equal(offsetof(struct vq_rings, used) % 4, 0);
}

static void only_powers_of_two_are_sizes(void **state)
{
	(void)state;
	for (unsigned n = 0; n <= 70000; n++) {
		bool good = n == 1 || n == 2 || n == 4 || n == 8 || n == 16 || n == 32 || n == 64;

		assert_int_equal(vq_init(&q, &page, n), good ? 0 : -AVM_EINVAL);
	}
}

static void a_chain_is_written_as_it_was_given(void **state)
{
	uint16_t at;

	(void)state;
	assert_int_equal(add(3, 0x5000), 0);
	assert_int_equal(rings->avail.index, 1);
	at = head_of(0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(rings->desc[at].address, 0x5000 + i);
		assert_int_equal(rings->desc[at].len, 100 + i);
		assert_int_equal(rings->desc[at].flags, i < 2 ? 1 : 2);
		at = rings->desc[at].next;
	}
	assert_int_equal(get(), 0);
	done(head_of(0), 102);
	assert_int_equal(get(), 0x5000);
	assert_int_equal(get(), 0);
	assert_null(q.broken);
	assert_int_equal(q.nr_free, 8);
}

static void a_full_queue_says_so(void **state)
{
	(void)state;
	assert_int_equal(add(3, 1), 0);
	assert_int_equal(add(5, 2), 0);
	assert_int_equal(add(1, 3), -AVM_EAGAIN);
	done(head_of(0), 0);
	assert_int_equal(get(), 1);
	assert_int_equal(add(4, 3), -AVM_EAGAIN);
	assert_int_equal(add(3, 3), 0);
}

/* Many times around, so that the 16-bit indices wrap, and in any order. */
static void chains_come_back_in_any_order_for_ever(void **state)
{
	struct rng rng = { .state = 1 };
	uintptr_t tokens[8];
	uint16_t heads[8];
	unsigned n = 0, added = 0;

	(void)state;
	for (unsigned i = 1; i < 600000; i++) {
		unsigned parts = 1 + (unsigned)rng_below(&rng, 4);

		if (rng_below(&rng, 2) && add(parts, i) == 0) {
			tokens[n] = i;
			heads[n++] = head_of(added++);
		} else if (n) {
			unsigned one = (unsigned)rng_below(&rng, n);

			done(heads[one], (uint32_t)rng_below(&rng, 101));
			assert_int_equal(get(), tokens[one]);
			heads[one] = heads[--n];
			tokens[one] = tokens[n];
		}
		assert_int_equal(q.in_flight, n);
	}
	assert_true(added > 2 * 65536);
	assert_null(q.broken);
}

static void assert_broken(const char *why)
{
	assert_int_equal(get(), 0);
	assert_non_null(q.broken);
	assert_string_equal(q.broken, why);
	assert_int_equal(add(1, 9), -AVM_EIO);
	assert_int_equal(get(), 0);
}

static void an_index_that_runs_ahead_breaks_it(void **state)
{
	(void)state;
	add(2, 1);
	done(head_of(0), 0);
	done(head_of(0), 0);
	assert_broken("is done with more than it was given");
}

static void an_index_that_goes_back_breaks_it(void **state)
{
	(void)state;
	add(2, 1);
	rings->used.index = UINT16_MAX;
	assert_broken("is done with more than it was given");
}

static void an_index_out_of_nothing_breaks_it(void **state)
{
	(void)state;
	rings->used.index = 1;
	assert_broken("is done with more than it was given");
}

static void a_descriptor_that_there_is_not_breaks_it(void **state)
{
	static const uint32_t ids[] = { 8, 63, 64, 0xffff, 0x10000, 0x80000000, UINT32_MAX };

	(void)state;
	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		memset(rings, 0, DMA_PAGE_SIZE);
		vq_init(&q, &page, 8);
		add(2, 1);
		done(ids[i], 0);
		assert_broken("is done with a descriptor that there is not");
	}
}

static void a_chain_that_it_was_not_given_breaks_it(void **state)
{
	(void)state;
	add(2, 1);
	done(rings->desc[head_of(0)].next, 0); /* the middle of a chain */
	assert_broken("is done with what it was not given");
}

static void a_chain_twice_breaks_it(void **state)
{
	(void)state;
	add(2, 1);
	add(2, 2);
	done(head_of(0), 0);
	assert_int_equal(get(), 1);
	done(head_of(0), 0);
	assert_broken("is done with what it was not given");
}

static void more_than_there_was_room_for_breaks_it(void **state)
{
	(void)state;
	add(2, 1);
	done(head_of(0), 102);
	assert_broken("has written more than there was room for");
}

/* What the driver needs to know is not where the device can write. */
static void a_device_that_writes_over_everything_harms_nobody(void **state)
{
	struct rng rng = { .state = 7 };

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		uint32_t len;

		memset(rings, 0, DMA_PAGE_SIZE);
		vq_init(&q, &page, 8);
		for (unsigned j = 0; j < 20; j++) {
			if (rng_below(&rng, 2))
				add(1 + (unsigned)rng_below(&rng, 4), 1 + j);
			for (unsigned k = 0; k < DMA_PAGE_SIZE / 8; k++)
				((uint64_t *)rings)[k] = rng_next(&rng) >> rng_below(&rng, 64);
			rings->used.index =
				(uint16_t)(q.used + rng_below(&rng, rng_below(&rng, 9) ? 2 : 9));
			for (unsigned k = 0; k < 8; k++)
				rings->used.ring[k].id = (uint32_t)rng_below(&rng, 9);
			vq_get(&q, &len);
			assert_true(q.nr_free <= 8 && q.in_flight <= 8);
			if (q.broken)
				break;
		}
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_queue, close_queue)
	const struct CMUnitTest tests[] = {
		TEST(the_page_is_laid_out_as_the_specification_says),
		TEST(only_powers_of_two_are_sizes),
		TEST(a_chain_is_written_as_it_was_given),
		TEST(a_full_queue_says_so),
		TEST(chains_come_back_in_any_order_for_ever),
		TEST(an_index_that_runs_ahead_breaks_it),
		TEST(an_index_that_goes_back_breaks_it),
		TEST(an_index_out_of_nothing_breaks_it),
		TEST(a_descriptor_that_there_is_not_breaks_it),
		TEST(a_chain_that_it_was_not_given_breaks_it),
		TEST(a_chain_twice_breaks_it),
		TEST(more_than_there_was_room_for_breaks_it),
		TEST(a_device_that_writes_over_everything_harms_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
