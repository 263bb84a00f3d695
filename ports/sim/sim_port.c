/* SPDX-License-Identifier: MIT */
/* sim_port.c - the rest of the port contract: messages, bad news. */
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

/* ---- bad news ------------------------------------------------------------------------------------------ */

void avm_port_oom(struct avm *m, const struct avm_oom *oom)
{
	struct sim *s = sim_of(m);

	sim_lock(&s->mutex);
	s->ooms++;
	s->last_oom = *oom;
	sim_unlock(&s->mutex);
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

	sim_lock(&s->mutex);
	s->poisonings++;
	s->poisoned_mm = mm;
	s->poisoned_addr = addr;
	sim_unlock(&s->mutex);
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
