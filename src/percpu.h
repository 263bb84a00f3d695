/* SPDX-License-Identifier: MIT */
/*
 * percpu.h - what each CPU has to itself (struct avm_cpu, struct avm_mm_cpu): counters that only their sum gives a meaning.
 *
 * The number of the CPU is a hint unless the port says AVM_PORT_CPU_ALONE: a thread may be on another CPU by the time it
 * uses it. So everything here is right with any number, and fast with the right one.
 */
#ifndef AVM_PERCPU_H
#define AVM_PERCPU_H

#include "anonvm/mm.h"
#include "avm_port.h"
#include "error.h"

AVM_ONE_STEP unsigned avm_cpu_id(struct avm *m)
{
#if AVM_NR_CPUS > 1
	unsigned id = avm_port_cpu_id(m);

	/* Nobody else would ever look at what is kept there. */
	AVM_ASSERT(m, id < m->config.cpus);
	return id;
#else
	(void)m;
	return 0;
#endif
}

/* How many there are: known to the compiler where it is one. */
AVM_ONE_STEP uint32_t avm_cpus(const struct avm *m)
{
	return AVM_NR_CPUS > 1 ? m->config.cpus : 1;
}

AVM_ONE_STEP struct avm_cpu *avm_this_cpu(struct avm *m)
{
	return &m->cpus[avm_cpu_id(m)];
}

/* To a counter of this CPU, modulo 2^64. Others read it at any time. */
AVM_ONE_STEP void avm_local_add(_Atomic uint64_t *counter, uint64_t n)
{
#if AVM_PORT_TIER == 0 || defined(AVM_PORT_CPU_ALONE)
	uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, now + n, memory_order_relaxed);
#else
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
#endif
}

static inline void avm_count(struct avm *m, enum avm_event e, uint64_t n)
{
	avm_local_add(&avm_this_cpu(m)->events[e], n);
}

static inline void avm_rss_add(struct avm_mm *mm, enum avm_rss which, int64_t n)
{
	if (n)
		avm_local_add(&mm->cpus[avm_cpu_id(mm->machine)].rss[which], (uint64_t)n);
}

/*
 * The sum of a counter over the CPUs; `first`: that of CPU 0. Exact when nobody counts; else each part is as it was at some
 * time, and a sum of which more was taken than given by then is told as 0. (avm_mm_rss() does the same.)
 */
uint64_t avm_cpu_add_up(const struct avm *m, const _Atomic uint64_t *first, size_t stride);

AVM_ONE_STEP uint64_t avm_rss_sum(const struct avm_mm *mm, enum avm_rss which)
{
	if (AVM_NR_CPUS > 1)
		return avm_mm_rss(mm, which);
	return atomic_load_explicit(&mm->cpus[0].rss[which], memory_order_relaxed);
}

AVM_ONE_STEP uint64_t avm_cpu_sum(const struct avm *m, const _Atomic uint64_t *first)
{
	if (AVM_NR_CPUS > 1)
		return avm_cpu_add_up(m, first, sizeof(struct avm_cpu));
	return atomic_load_explicit(first, memory_order_relaxed);
}

#endif
