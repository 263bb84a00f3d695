/* SPDX-License-Identifier: MIT */
/* sim_port.c - the rest of the port contract: messages, bad news; and interruptions. */
#include "sim_priv.h"

int avm_port_root_init(struct avm *m, struct avm_mm *mm, void *root)
{
	(void)m;
	(void)mm;
	(void)root;
	return 0; /* no kernel half */
}

/* Information is printed as it stands, so that the self-test can speak TAP. */
void avm_port_log(struct avm *m, enum avm_log_level level, const char *line)
{
	static const char *const prefix[] = {
		[AVM_LOG_ERROR] = "error: ",
		[AVM_LOG_WARN] = "warning: ",
		[AVM_LOG_INFO] = "",
	};

	fprintf(sim_of(m)->config.log, "%s%s\n", prefix[level], line);
}

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

/* ---- bad news ------------------------------------------------------------------------------------------ */

void avm_port_oom(struct avm *m, const struct avm_oom *oom)
{
	struct sim *s = sim_of(m);

	s->ooms++;
	s->last_oom = *oom;
}

uint64_t sim_ooms(const struct sim *s)
{
	return s->ooms;
}

const struct avm_oom *sim_last_oom(const struct sim *s)
{
	return s->ooms ? &s->last_oom : NULL;
}

void avm_port_poisoned(struct avm *m, struct avm_mm *mm, avm_addr_t addr)
{
	struct sim *s = sim_of(m);

	s->poisonings++;
	s->poisoned_mm = mm;
	s->poisoned_addr = addr;
}

uint64_t sim_poisonings(const struct sim *s)
{
	return s->poisonings;
}

struct avm_mm *sim_last_poisoned(const struct sim *s, avm_addr_t *addr)
{
	*addr = s->poisoned_addr;
	return s->poisoned_mm;
}
