/* SPDX-License-Identifier: MIT */
/*
 * grace.c - deferred calls: to be made when every read section that runs now has ended.
 *
 * A section runs with interrupts off and does not sleep. So each CPU counts moments that cannot lie inside of one (a
 * tick of the timer, a change of threads, interrupts that go on again), and when every count has moved since a
 * call was deferred, the sections of that time are over. An idle CPU ticks, too.
 *
 * Two batches: the one that waits, with the counts at its beginning, and the one that comes together meanwhile.
 */
#include "avm_port.h"
#include "glue.h"

static struct spinlock lock; /* covers what follows */
static struct avm_deferred *coming, *waiting;
static uint64_t seen[MAX_CPUS]; /* counts when `waiting` began to wait */
static unsigned nr_seen; /* CPUs that ran then; one that came later has read nothing old */

static bool all_have_rested(void)
{
	for (unsigned i = 0; i < nr_seen; i++) {
		if (atomic_load(&cpus[i].quiescent) == seen[i])
			return false;
	}
	return true;
}

static void begin_to_wait(void)
{
	waiting = coming;
	coming = NULL;
	nr_seen = atomic_load(&nr_cpus);
	for (unsigned i = 0; i < nr_seen; i++)
		seen[i] = atomic_load(&cpus[i].quiescent);
}

void avm_port_defer(struct avm *m, struct avm_deferred *d)
{
	uintptr_t flags = spin_lock(&lock);

	d->next = coming;
	coming = d;
	if (!waiting)
		begin_to_wait();
	spin_unlock(&lock, flags);
}

void grace_poll(void)
{
	struct avm_deferred *due = NULL;
	uintptr_t flags = spin_lock(&lock);

	if (waiting && all_have_rested()) {
		due = waiting;
		begin_to_wait();
	}
	spin_unlock(&lock, flags);
	while (due) {
		struct avm_deferred *d = due;

		due = d->next; /* the call may free what it lies in */
		d->call(d);
	}
}
