/* SPDX-License-Identifier: MIT */
/* threads_sim.h - what ports/sim is made of when there are several threads; included by sim_priv.h. */
#ifndef THREADS_SIM_H
#define THREADS_SIM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the simulation, not of the machine: held for a few steps, below every lock of the core. */
struct sim_mutex {
	pthread_mutex_t mutex;
};

static inline void sim_mutex_init(struct sim_mutex *m)
{
	pthread_mutex_init(&m->mutex, NULL);
}

static inline void sim_lock(struct sim_mutex *m)
{
	pthread_mutex_lock(&m->mutex);
}

static inline void sim_unlock(struct sim_mutex *m)
{
	pthread_mutex_unlock(&m->mutex);
}

/*
 * Programs of the simulated machine may race with each other, and that is no mistake of the core's: what they can be at is
 * read and written in relaxed words. What they cannot be at is not (a frame that is cleared or filled), so a frame that is
 * seen too early, or kept too long, is a data race.
 */
typedef uint64_t __attribute__((may_alias)) sim_word;

static inline bool sim_in_words(const volatile void *a, const volatile void *b, size_t len)
{
	return !(((uintptr_t)a | (uintptr_t)b | len) % sizeof(sim_word));
}

static inline void sim_shared_read(void *to, const void *from, size_t len)
{
	if (sim_in_words(to, from, len)) {
		for (size_t i = 0; i < len / sizeof(sim_word); i++)
			((sim_word *)to)[i] =
				__atomic_load_n((const sim_word *)from + i, __ATOMIC_RELAXED);
		return;
	}
	for (size_t i = 0; i < len; i++)
		((unsigned char *)to)[i] =
			__atomic_load_n((const unsigned char *)from + i, __ATOMIC_RELAXED);
}

static inline void sim_shared_write(void *to, const void *from, size_t len)
{
	if (sim_in_words(to, from, len)) {
		for (size_t i = 0; i < len / sizeof(sim_word); i++)
			__atomic_store_n((sim_word *)to + i, ((const sim_word *)from)[i],
					 __ATOMIC_RELAXED);
		return;
	}
	for (size_t i = 0; i < len; i++)
		__atomic_store_n((unsigned char *)to + i, ((const unsigned char *)from)[i],
				 __ATOMIC_RELAXED);
}

/* pre: whole words */
static inline bool sim_shared_same(const void *a, const void *b, size_t len)
{
	for (size_t i = 0; i < len / sizeof(sim_word); i++) {
		if (__atomic_load_n((const sim_word *)a + i, __ATOMIC_RELAXED) !=
		    __atomic_load_n((const sim_word *)b + i, __ATOMIC_RELAXED))
			return false;
	}
	return true;
}

#endif
