/* SPDX-License-Identifier: MIT */
/*
 * check_access.c - what the compiler calls for each memory access of the core (-fsanitize=thread): a scheduling point before
 * each atomic one, a word to the detector of races (check_race.c), and the access itself. With one thread at a time on one CPU
 * the order asked for is always had.
 *
 * The names and shapes of these functions are the compiler's.
 */
#include "check_priv.h"
#include "check_shadow.h"

#include <string.h>

#include "check_memory.h"
#undef memset
#undef memcpy

#define POISON 0x6b /* of freed objects, in debug builds: release builds write nothing there */
#define SITE __builtin_return_address(0)

void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
	(void)caller;
}

void __tsan_func_exit(void)
{
}

/* ---- plain accesses ------------------------------------------------------------------------------------------------- */

#define PLAIN(name, size, write) \
	void __tsan_##name(void *at); \
	void __tsan_##name(void *at) \
	{ \
		check_plain(at, size, write, SITE); \
	}

PLAIN(read1, 1, false)
PLAIN(read2, 2, false)
PLAIN(read4, 4, false)
PLAIN(read8, 8, false)
PLAIN(write1, 1, true)
PLAIN(write2, 2, true)
PLAIN(write4, 4, true)
PLAIN(write8, 8, true)
PLAIN(unaligned_read2, 2, false)
PLAIN(unaligned_read4, 4, false)
PLAIN(unaligned_read8, 8, false)
PLAIN(unaligned_write2, 2, true)
PLAIN(unaligned_write4, 4, true)
PLAIN(unaligned_write8, 8, true)
PLAIN(volatile_read1, 1, false)
PLAIN(volatile_read2, 2, false)
PLAIN(volatile_read4, 4, false)
PLAIN(volatile_read8, 8, false)
PLAIN(volatile_write1, 1, true)
PLAIN(volatile_write2, 2, true)
PLAIN(volatile_write4, 4, true)
PLAIN(volatile_write8, 8, true)

#define TWO_WORDS(name, write) \
	void __tsan_##name(void *at); \
	void __tsan_##name(void *at) \
	{ \
		if (write) \
			check_wrote(at, 16); \
		check_range(at, 16, write, SITE); \
	}

TWO_WORDS(read16, false)
TWO_WORDS(write16, true)
TWO_WORDS(unaligned_read16, false)
TWO_WORDS(unaligned_write16, true)

void __tsan_read_range(void *at, unsigned long size);
void __tsan_write_range(void *at, unsigned long size);

void __tsan_read_range(void *at, unsigned long size)
{
	check_range(at, size, false, SITE);
}

void __tsan_write_range(void *at, unsigned long size)
{
	check_wrote(at, size);
	check_range(at, size, true, SITE);
}

/* The compiler tells nothing of these (check_memory.h). */
void *check_memset(void *at, int value, size_t size)
{
	struct check_footprint *footprint = check_footprint;

	check_wrote(at, size);
	if (value == POISON)
		check_footprint = NULL;
	check_range(at, size, true, SITE);
	check_footprint = footprint;
	return memset(at, value, size);
}

void *check_memcpy(void *to, const void *from, size_t size)
{
	check_range(from, size, false, SITE);
	check_wrote(to, size);
	check_range(to, size, true, SITE);
	return memcpy(to, from, size);
}

/* ---- atomic accesses -------------------------------------------------------------------------------------------------- */

/* Nobody else runs between the access and the word about it. */
#define UPDATE(bits, type, name) \
	type __tsan_atomic##bits##_fetch_##name(volatile type *at, type value, int order); \
	type __tsan_atomic##bits##_fetch_##name(volatile type *at, type value, int order) \
	{ \
		check_point(at, true, SITE); \
		check_wrote(at, sizeof(type)); \
		check_atomic(at, sizeof(type), CHECK_UPDATE, order, SITE); \
		return __atomic_fetch_##name(at, value, __ATOMIC_SEQ_CST); \
	}

/* In each of the shapes that a compiler gives it. */
#define EXCHANGE_ONCE(bits, type) \
	static int exchange##bits(volatile type *at, type *expected, type value, int order, \
				  int failed, const void *site) \
	{ \
		int done; \
\
		check_point(at, false, site); \
		done = __atomic_compare_exchange_n(at, expected, value, 0, __ATOMIC_SEQ_CST, \
						   __ATOMIC_SEQ_CST); \
		if (done) { \
			check_exchanged(at); \
			check_wrote(at, sizeof(type)); \
		} \
		check_atomic(at, sizeof(type), done ? CHECK_UPDATE : CHECK_LOAD, \
			     done ? order : failed, site); \
		return done; \
	}

#define EXCHANGE(bits, type, name) \
	int __tsan_atomic##bits##_compare_exchange_##name(volatile type *at, type *expected, \
							  type value, int order, int failed); \
	int __tsan_atomic##bits##_compare_exchange_##name(volatile type *at, type *expected, \
							  type value, int order, int failed) \
	{ \
		return exchange##bits(at, expected, value, order, failed, SITE); \
	}

#define ATOMIC(bits, type) \
	type __tsan_atomic##bits##_load(const volatile type *at, int order); \
	void __tsan_atomic##bits##_store(volatile type *at, type value, int order); \
	type __tsan_atomic##bits##_exchange(volatile type *at, type value, int order); \
	static __attribute__((noinline)) \
	type load##bits(const volatile type *at, int order, const void *site) \
	{ \
		check_point(at, false, site); \
		check_atomic(at, sizeof(type), CHECK_LOAD, order, site); \
		return __atomic_load_n(at, __ATOMIC_SEQ_CST); \
	} \
	/* Alone: at the end tables are read entry by entry. */ \
	type __tsan_atomic##bits##_load(const volatile type *at, int order) \
	{ \
		if (!check_running) \
			return __atomic_load_n(at, __ATOMIC_SEQ_CST); \
		return load##bits(at, order, SITE); \
	} \
	void __tsan_atomic##bits##_store(volatile type *at, type value, int order) \
	{ \
		check_point(at, true, SITE); \
		check_wrote(at, sizeof(type)); \
		check_atomic(at, sizeof(type), CHECK_STORE, order, SITE); \
		__atomic_store_n(at, value, __ATOMIC_SEQ_CST); \
	} \
	type __tsan_atomic##bits##_exchange(volatile type *at, type value, int order) \
	{ \
		check_point(at, true, SITE); \
		check_wrote(at, sizeof(type)); \
		check_atomic(at, sizeof(type), CHECK_UPDATE, order, SITE); \
		return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST); \
	} \
	UPDATE(bits, type, add) \
	UPDATE(bits, type, sub) \
	UPDATE(bits, type, and) \
	UPDATE(bits, type, or) \
	UPDATE(bits, type, xor) \
	EXCHANGE_ONCE(bits, type) \
	EXCHANGE(bits, type, strong) \
	EXCHANGE(bits, type, weak)

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

/* Another shape of the same: what was found is returned. */
#define EXCHANGE_VALUE(bits, type) \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *at, type expected, \
							type value, int order, int failed); \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *at, type expected, \
							type value, int order, int failed) \
	{ \
		exchange##bits(at, &expected, value, order, failed, SITE); \
		return expected; \
	}

EXCHANGE_VALUE(8, uint8_t)
EXCHANGE_VALUE(16, uint16_t)
EXCHANGE_VALUE(32, uint32_t)
EXCHANGE_VALUE(64, uint64_t)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);

void __tsan_atomic_thread_fence(int order)
{
	check_fence(order);
}

void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}
