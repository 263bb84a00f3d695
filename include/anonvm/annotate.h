/* SPDX-License-Identifier: MIT */
/*
 * annotate.h - what clang is told of locks (-Wthread-safety, docs/locking.md). For other compilers all of it is nothing, and
 * for clang no code.
 */
#ifndef ANONVM_ANNOTATE_H
#define ANONVM_ANNOTATE_H

struct avm_spinlock; /* what is a lock for clang, so far */

#if defined(__clang__) && !defined(__cplusplus)
#define AVM_ANNOTATE(x) __attribute__((x))
#else
#define AVM_ANNOTATE(x)
#endif

#define AVM_IS_LOCK(name) AVM_ANNOTATE(capability(name))
#define AVM_ACQUIRES(...) AVM_ANNOTATE(acquire_capability(__VA_ARGS__))
#define AVM_RELEASES(...) AVM_ANNOTATE(release_capability(__VA_ARGS__))
#define AVM_NEEDS(...) AVM_ANNOTATE(requires_capability(__VA_ARGS__))

/* The body is not looked at: it is what the annotation says, or locks only if it must. */
#define AVM_UNCHECKED AVM_ANNOTATE(no_thread_safety_analysis)

#endif
