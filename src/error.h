/* SPDX-License-Identifier: MIT */
/*
 * error.h - assertions of the core.
 *
 * AVM_BUG_ON: the state is broken and going on would make it worse; in every build.
 * AVM_ASSERT: an invariant of a path, in debug builds.
 */
#ifndef AVM_ERROR_H
#define AVM_ERROR_H

#include "avm_port.h"

#define AVM_STR_(x) #x
#define AVM_STR(x) AVM_STR_(x)

#define AVM_BUG_ON(m, cond) \
	do { \
		if (__builtin_expect(!!(cond), 0)) \
			avm_port_panic(m, __FILE__ ":" AVM_STR(__LINE__) ": " #cond); \
	} while (0)

#ifdef AVM_DEBUG
#define AVM_ASSERT(m, cond) AVM_BUG_ON(m, !(cond))
#else
#define AVM_ASSERT(m, cond) ((void)sizeof(!(cond)), (void)(m))
#endif

#define avm_likely(x) __builtin_expect(!!(x), 1)
#define avm_unlikely(x) __builtin_expect(!!(x), 0)

/* Is speed asked for, and not size? Then what is common may have a way of its own beside the general one. */
#ifdef __OPTIMIZE_SIZE__
#define AVM_FAST 0
#else
#define AVM_FAST 1
#endif

/*
 * For what is large and off the deepest path: inlined, it would lie on every stack below, and the caller would reach its
 * own variables over it.
 */
#define avm_noinline __attribute__((noinline))

/* Seldom called: out of the way of what is, and the branch to it is not taken. */
#define avm_cold __attribute__((cold))

/* Shorter when it is called; not inlined where size is asked for. */
#ifdef __OPTIMIZE_SIZE__
#define avm_small avm_noinline
#else
#define avm_small
#endif

/* Part of its caller where speed is asked for: has one caller that counts, and takes as long to call as to do. */
#if defined(__OPTIMIZE__) && !defined(__OPTIMIZE_SIZE__)
#define avm_inlined inline __attribute__((always_inline))
#else
#define avm_inlined inline
#endif

/* Part of its callers in every build: where size is asked for there is one. */
#define AVM_PART_OF_CALLER static inline __attribute__((always_inline))

/* For a load, or one atomic operation: the compiler takes atomics for dear, and would call them at -Os. */
#define AVM_ONE_STEP static inline __attribute__((always_inline))

#endif
