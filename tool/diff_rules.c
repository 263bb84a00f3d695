/* SPDX-License-Identifier: MIT */
/*
 * diff_rules.c - where the core differs from a host and is meant to: each difference with its name, and a probe that finds
 * out whether this host has it. There is no other way for a difference to be excused. docs/linux-differences.md has
 * the reasons.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "diff_probe.h"

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE)

static char *at_page(unsigned page)
{
	return (char *)(uintptr_t)(DIFF_START + page * DIFF_PAGE);
}

static bool map(unsigned page, unsigned pages, int prot, int flags)
{
	return mmap(at_page(page), pages * DIFF_PAGE, prot, flags, -1, 0) == at_page(page);
}

static const struct avm_vma *vma_at(const struct diff_core *c, const struct diff_op *op, uint64_t addr)
{
	const struct avm_vma *v = avm_find_vma(sim_mm(c->procs[op->p]), addr);

	return v && v->start <= addr ? v : NULL;
}

static uint64_t page_up(uint64_t len)
{
	return (len + DIFF_PAGE - 1) & ~(DIFF_PAGE - 1);
}

/* ---- mremap-several ------------------------------------------------------------------------------------------------- */

static bool probe_mremap_several(void)
{
	return map(0, 1, RW, ANON) && map(1, 1, PROT_READ, ANON) &&
	       mremap(at_page(0), 2 * DIFF_PAGE, 2 * DIFF_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		      at_page(8)) == at_page(8);
}

static bool avoid_mremap_several(const struct diff_core *c, const struct diff_op *op)
{
	const struct avm_vma *v;

	if (op->kind != DIFF_MREMAP || !(op->flags & AVM_MREMAP_FIXED) ||
	    page_up(op->len) != page_up(op->new_len))
		return false;
	v = vma_at(c, op, op->addr);
	return !v || v->end < op->addr + op->len;
}

/* ---- madvise-not-built ------------------------------------------------------------------------------------------------- */

static bool avoid_not_built(const struct diff_core *c, const struct diff_op *op)
{
	return op->kind == DIFF_MADVISE && op->flags < 32 && !c->can->advice[op->flags];
}

struct diff_rule diff_rules[] = {
	{ "mremap-several", "mremap(MREMAP_FIXED) of unchanged size moves all mappings of its range",
	  probe_mremap_several, avoid_mremap_several, false, 0 },
	{ "madvise-not-built", "a kind of advice that this kernel was built without is EINVAL", NULL,
	  avoid_not_built, false, 0 },
};
const unsigned diff_nr_rules = sizeof(diff_rules) / sizeof(diff_rules[0]);

void diff_rules_probe(void)
{
	for (unsigned i = 0; i < diff_nr_rules; i++)
		diff_rules[i].active = !diff_rules[i].probe || diff_probe_apart(diff_rules[i].probe);
}
