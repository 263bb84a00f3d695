/* SPDX-License-Identifier: MIT */
/*
 * threads_tlb_check.h - among real threads nobody can look at another CPU's TLB between two instructions: what is stale shows
 * when the machine is at rest (sim_is_stale()). sim_mmu.c alone includes it.
 */
#ifndef THREADS_TLB_CHECK_H
#define THREADS_TLB_CHECK_H

void sim_check_revoked(struct sim *s)
{
	(void)s;
}

void sim_check_settled(struct sim *s)
{
	(void)s;
}

void sim_check_protected(struct sim *s, avm_pfn_t pfn, uint64_t slot, const char *what)
{
	(void)s;
	(void)pfn;
	(void)slot;
	(void)what;
}

#endif
