/* SPDX-License-Identifier: MIT */
/* core.c - the core on the simulated machine, as the works want it: what fails ends the program. */
#include "bench.h"

void core_ok(const char *what, int err)
{
	if (err < 0)
		bench_die("%s: error %d of the core", what, -err);
}

void core_open(struct core *c, const struct sim_config *config)
{
	core_ok("making a machine", sim_create(&c->sim, config));
	core_ok("making a process", sim_proc_create(c->sim, NULL, &c->proc));
	c->mm = sim_mm(c->proc);
}

void core_close(struct core *c)
{
	if (sim_destroy(c->sim))
		bench_die("the core has lost something");
}

avm_addr_t core_map(struct avm_mm *mm, avm_addr_t addr, uint64_t pages)
{
	const struct avm_mmap args = {
		.addr = addr,
		.len = pages * AVM_PAGE_SIZE,
		.prot = AVM_PROT_READ | AVM_PROT_WRITE,
		.flags = AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS | (addr ? AVM_MAP_FIXED : 0u),
	};
	avm_addr_t at = 0;

	core_ok("mmap", avm_mmap(mm, &args, &at));
	return at;
}

void core_write(struct avm_mm *mm, avm_addr_t addr)
{
	unsigned result = avm_fault(mm, addr, AVM_ACCESS_WRITE, NULL);

	if (result & (AVM_FAULT_ERROR | AVM_FAULT_RETRY))
		bench_die("a fault of the core failed: %#x", result);
}

double core_write_pages(struct avm_mm *mm, avm_addr_t addr, uint64_t pages, uint64_t stride)
{
	double begin = bench_cpu_ns();

	for (uint64_t i = 0; i < pages; i++)
		core_write(mm, addr + i * stride * AVM_PAGE_SIZE);
	return bench_cpu_ns() - begin;
}

uint64_t core_event(const struct core *c, enum avm_event e)
{
	struct avm_stats stats;

	avm_stats(sim_machine(c->sim), &stats);
	return stats.events[e];
}
