/* SPDX-License-Identifier: MIT */
/* sim_port.c - the rest of the port contract, for a machine of one thread: waiting, grace periods, messages. */
#include <stdlib.h>

#include "sim_priv.h"

#define MANY_WAITS 1000000 /* of one interruption */

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
	return sim_of(m)->irq_depth++;
}

void avm_port_irq_restore(struct avm *m, uintptr_t saved)
{
	struct sim *s = sim_of(m);

	if (!s->irq_depth || s->irq_depth - 1 != saved)
		sim_error(s, "interrupts are restored out of order");
	s->irq_depth = (unsigned)saved;
	sim_run_deferred(s);
}

void sim_run_deferred(struct sim *s)
{
	if (s->irq_depth || s->running_deferred)
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

void avm_port_defer(struct avm *m, struct avm_deferred *d)
{
	struct sim *s = sim_of(m);

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
