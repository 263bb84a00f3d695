/* SPDX-License-Identifier: MIT */
/* world.c - see world.h. */
#include "world.h"

#include <stdatomic.h>
#include <stdint.h>

#include "thread.h"

static _Atomic uint32_t inside;
static _Atomic uint32_t stopped;

/* Counts itself, then looks: who stops the world does it the other way round, so one sees the other. */
void world_enter(void)
{
	for (;;) {
		atomic_fetch_add(&inside, 1);
		if (!atomic_load(&stopped))
			return;
		atomic_fetch_sub(&inside, 1);
		thread_sleep(&stopped, 1);
	}
}

void world_leave(void)
{
	atomic_fetch_sub(&inside, 1);
}

void world_stop(void)
{
	while (atomic_exchange(&stopped, 1))
		thread_sleep(&stopped, 1);
	while (atomic_load(&inside))
		thread_yield();
}

void world_go(void)
{
	atomic_store(&stopped, 0);
	thread_wake(&stopped);
}
