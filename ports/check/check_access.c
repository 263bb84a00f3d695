/* SPDX-License-Identifier: MIT */
/*
 * check_access.c - what the compiler calls for each memory access of the core (-fsanitize=thread): a scheduling point before
 * each atomic one, and the access itself. With one thread at a time on one CPU the order asked for is always had.
 *
 * The names and shapes of these functions are the compiler's.
 */
#include "check_priv.h"

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

#define PLAIN(name) \
	void __tsan_##name(void *at); \
	void __tsan_##name(void *at) \
	{ \
		(void)at; \
	}

PLAIN(read1)
PLAIN(read2)
PLAIN(read4)
PLAIN(read8)
PLAIN(read16)
PLAIN(write1)
PLAIN(write2)
PLAIN(write4)
PLAIN(write8)
PLAIN(write16)
PLAIN(unaligned_read2)
PLAIN(unaligned_read4)
PLAIN(unaligned_read8)
PLAIN(unaligned_read16)
PLAIN(unaligned_write2)
PLAIN(unaligned_write4)
PLAIN(unaligned_write8)
PLAIN(unaligned_write16)
PLAIN(volatile_read1)
PLAIN(volatile_read2)
PLAIN(volatile_read4)
PLAIN(volatile_read8)
PLAIN(volatile_write1)
PLAIN(volatile_write2)
PLAIN(volatile_write4)
PLAIN(volatile_write8)

void __tsan_read_range(void *at, unsigned long size);
void __tsan_write_range(void *at, unsigned long size);

void __tsan_read_range(void *at, unsigned long size)
{
	(void)at;
	(void)size;
}

void __tsan_write_range(void *at, unsigned long size)
{
	(void)at;
	(void)size;
}

/* ---- atomic accesses -------------------------------------------------------------------------------------------------- */

#define UPDATE(bits, type, name) \
	type __tsan_atomic##bits##_fetch_##name(volatile type *at, type value, int order); \
	type __tsan_atomic##bits##_fetch_##name(volatile type *at, type value, int order) \
	{ \
		(void)order; \
		check_point(at, true, SITE); \
		return __atomic_fetch_##name(at, value, __ATOMIC_SEQ_CST); \
	}

#define EXCHANGE(bits, type, name) \
	int __tsan_atomic##bits##_compare_exchange_##name(volatile type *at, type *expected, \
							  type value, int order, int failed); \
	int __tsan_atomic##bits##_compare_exchange_##name(volatile type *at, type *expected, \
							  type value, int order, int failed) \
	{ \
		(void)order; \
		(void)failed; \
		check_point(at, true, SITE); \
		return __atomic_compare_exchange_n(at, expected, value, 0, __ATOMIC_SEQ_CST, \
						   __ATOMIC_SEQ_CST); \
	}

#define ATOMIC(bits, type) \
	type __tsan_atomic##bits##_load(const volatile type *at, int order); \
	void __tsan_atomic##bits##_store(volatile type *at, type value, int order); \
	type __tsan_atomic##bits##_exchange(volatile type *at, type value, int order); \
	type __tsan_atomic##bits##_load(const volatile type *at, int order) \
	{ \
		(void)order; \
		check_point(at, false, SITE); \
		return __atomic_load_n(at, __ATOMIC_SEQ_CST); \
	} \
	void __tsan_atomic##bits##_store(volatile type *at, type value, int order) \
	{ \
		(void)order; \
		check_point(at, true, SITE); \
		__atomic_store_n(at, value, __ATOMIC_SEQ_CST); \
	} \
	type __tsan_atomic##bits##_exchange(volatile type *at, type value, int order) \
	{ \
		(void)order; \
		check_point(at, true, SITE); \
		return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST); \
	} \
	UPDATE(bits, type, add) \
	UPDATE(bits, type, sub) \
	UPDATE(bits, type, and) \
	UPDATE(bits, type, or) \
	UPDATE(bits, type, xor) \
	EXCHANGE(bits, type, strong) \
	EXCHANGE(bits, type, weak)

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

/* Another shape of the same: what was found is returned. */
#define EXCHANGE_VALUE(bits, type)                                                                     \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *at, type expected, type value, \
							int order, int failed);                       \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *at, type expected, type value, \
							int order, int failed)                        \
	{                                                                                             \
		(void)order;                                                                          \
		(void)failed;                                                                         \
		check_point(at, true, SITE);                                                          \
		__atomic_compare_exchange_n(at, &expected, value, 0, __ATOMIC_SEQ_CST,                \
					    __ATOMIC_SEQ_CST);                                        \
		return expected;                                                                      \
	}

EXCHANGE_VALUE(8, uint8_t)
EXCHANGE_VALUE(16, uint16_t)
EXCHANGE_VALUE(32, uint32_t)
EXCHANGE_VALUE(64, uint64_t)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);

void __tsan_atomic_thread_fence(int order)
{
	(void)order;
}

void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}
