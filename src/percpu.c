/* SPDX-License-Identifier: MIT */
/* percpu.c - sums over what each CPU has to itself (percpu.h). */
#include "percpu.h"

uint64_t avm_cpu_add_up(const struct avm *m, const _Atomic uint64_t *first, size_t stride)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < avm_cpus(m); i++) {
		const void *at = (const char *)first + i * stride;

		n += atomic_load_explicit((const _Atomic uint64_t *)at, memory_order_relaxed);
	}
	return (int64_t)n < 0 ? 0 : n;
}

uint64_t avm_mm_rss(const struct avm_mm *mm, enum avm_rss which)
{
	return avm_cpu_add_up(mm->machine, &mm->cpus[0].rss[which], sizeof(struct avm_mm_cpu));
}
