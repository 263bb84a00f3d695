/* SPDX-License-Identifier: MIT */
/* cpu.c - sums over what each CPU has to itself (cpu.h). */
#include "cpu.h"

static uint64_t sum(const struct avm *m, const _Atomic uint64_t *first, size_t stride)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < m->config.cpus; i++) {
		const void *at = (const char *)first + i * stride;

		n += atomic_load_explicit((const _Atomic uint64_t *)at, memory_order_relaxed);
	}
	return (int64_t)n < 0 ? 0 : n;
}

uint64_t avm_cpu_sum(const struct avm *m, const _Atomic uint64_t *first)
{
	return sum(m, first, sizeof(struct avm_cpu));
}

uint64_t avm_mm_rss(const struct avm_mm *mm, enum avm_rss which)
{
	return sum(mm->machine, &mm->cpus[0].rss[which], sizeof(struct avm_mm_cpu));
}
