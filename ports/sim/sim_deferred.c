/* SPDX-License-Identifier: MIT */
/* sim_deferred.c - what one CPU does between two steps of its own: deferred calls, and somebody else's work. */
#include "sim_priv.h"

/* ---- deferred calls that nobody holds back ---------------------------------------------------------------- */

void sim_run_deferred(struct sim *s)
{
	if (s->irq_depth || s->running_deferred || s->threads)
		return;
	s->running_deferred = true;
	while (s->deferred) {
		struct avm_deferred *d = s->deferred;

		s->deferred = d->next;
		if (!s->deferred)
			s->deferred_end = &s->deferred;
		d->call(d);
	}
	s->running_deferred = false;
}

void sim_defer(struct sim *s, struct avm_deferred *d)
{
	d->next = NULL;
	*s->deferred_end = d;
	s->deferred_end = &d->next;
	sim_run_deferred(s);
}

/* ---- somebody else ------------------------------------------------------------------------------------- */

void sim_set_interruption(struct sim *s, sim_interruption *call, void *context)
{
	s->interruption = call;
	s->interruption_context = context;
}

void sim_interrupt(struct sim *s, enum sim_at at)
{
	struct sim_locks *locks;

	/* A read section cannot be left for others: what it defers would run in its middle. */
	if (!s->interruption || s->interrupted || s->irq_depth)
		return;
	s->interrupted = true;
	s->waits_given_up = 0;
	locks = sim_locks_switch(s);
	s->interruption(s->interruption_context, at);
	sim_locks_switch_back(s, locks);
	s->interrupted = false;
}
