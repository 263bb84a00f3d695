/* SPDX-License-Identifier: MIT */
/* sim_fail.c - failures on demand: which allocation, which wait. */
#include "sim_priv.h"

void sim_fail_alloc(struct sim *s, uint64_t first, uint64_t count)
{
	s->fail_first = first ? s->allocs + first : 0;
	s->fail_count = count;
}

static bool alloc_fails(struct sim *s)
{
	sim_interrupt(s, SIM_AT_OBJECT_ALLOC);
	s->allocs++;
	if (s->fails && s->fails(SIM_AT_OBJECT_ALLOC)) {
		s->allocs_failed++;
		return true;
	}
	if (!s->fail_first || s->allocs < s->fail_first)
		return false;
	if (s->fail_count && s->allocs - s->fail_first >= s->fail_count)
		return false;
	s->allocs_failed++;
	return true;
}

static bool asked_for(const struct sim *s)
{
	return s->interruption || s->fails || s->fail_first;
}

/* Every allocation comes here: where nobody has asked for anything it is over soon. */
bool sim_alloc_fails(struct avm *m)
{
	struct sim *s = sim_around(m);

	if (asked_for(s))
		return alloc_fails(s);
	s->allocs++;
	return false;
}

/* The same for n of them: does one fail? */
bool sim_allocs_fail(struct avm *m, uint32_t n)
{
	struct sim *s = sim_around(m);
	bool fails = false;

	if (!asked_for(s)) {
		s->allocs += n;
		return false;
	}
	while (n-- && !fails)
		fails = alloc_fails(s);
	return fails;
}

uint64_t sim_allocs(const struct sim *s)
{
	return s->allocs;
}

uint64_t sim_allocs_failed(const struct sim *s)
{
	return s->allocs_failed;
}

void sim_set_wait_eintr(struct sim *s, bool eintr)
{
	s->wait_eintr = eintr;
}
