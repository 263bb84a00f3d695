/* SPDX-License-Identifier: MIT */
/*
 * sim_thread.c - the part of the port contract that is about threads, for a machine of one: waiting, grace periods, the
 * end. A machine of several threads (ports/check) has its own instead.
 */
#include <stdlib.h>

#include "sim_priv.h"

#define MANY_WAITS 1000000 /* of one interruption */

_Noreturn void avm_port_panic(struct avm *m, const char *why)
{
	FILE *log = sim_of(m)->config.log;

	fprintf(log, "panic: %s\n", why);
	fflush(log);
	if (log != stderr)
		fprintf(stderr, "panic: %s\n", why);
	abort();
}

unsigned avm_port_cpu_id(struct avm *m)
{
	(void)m;
	return 0;
}

/* ---- RCU: one thread, so readers are a nesting depth ------------------------------------------------- */

uintptr_t avm_port_irq_save(struct avm *m)
{
	return sim_around(m)->irq_depth++;
}

void avm_port_irq_restore(struct avm *m, uintptr_t saved)
{
	struct sim *s = sim_around(m);

	if (!s->irq_depth || s->irq_depth - 1 != saved)
		sim_error(s, "interrupts are restored out of order");
	s->irq_depth = (unsigned)saved;
	if (s->deferred)
		sim_run_deferred(s);
}

void avm_port_defer(struct avm *m, struct avm_deferred *d)
{
	sim_defer(sim_of(m), d);
}

/* ---- waiting ------------------------------------------------------------------------------------------- */

int avm_port_wait(struct avm *m, _Atomic uint32_t *word, uint32_t value)
{
	struct sim *s = sim_of(m);

	if (atomic_load_explicit(word, memory_order_relaxed) != value)
		return 0;
	if (s->wait_eintr)
		return -AVM_EINTR;
	/* Who waits on all the same waits for us, who cannot go on before he has returned. */
	if (s->interrupted && s->waits_given_up++ < MANY_WAITS)
		return -AVM_EINTR;
	sim_error(s, "deadlock: the only thread waits for itself");
	avm_port_panic(m, s->last_error);
}

void avm_port_wake(struct avm *m, _Atomic uint32_t *word)
{
	(void)m;
	(void)word; /* nobody can be asleep */
}
