/* SPDX-License-Identifier: MIT */
/*
 * threads_tsan.h - what ThreadSanitizer does not understand, said in words that it does. Comes before each file of the
 * machine in such a build.
 *
 * It knows no fences. There are two kinds in the core. One comes after a count has gone to zero, by a decrement that
 * releases: the decrement acquires here as well, which is what the fence means for that count. The other is between a store
 * and a load of two words (locks of VMAs), and orders nothing but these atomics: it stays a fence, and TSan need not know.
 */
#ifndef THREADS_TSAN_H
#define THREADS_TSAN_H

#ifndef __ASSEMBLER__
#include <stdatomic.h>

#undef atomic_fetch_sub_explicit
#define atomic_fetch_sub_explicit(object, operand, order) \
	__atomic_fetch_sub(object, operand, \
			   (order) == memory_order_release ? __ATOMIC_ACQ_REL : (order))

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wtsan"
#endif
#endif

#endif
