/* SPDX-License-Identifier: MIT */
/* families_core.c - families of forks on the simulated machine. */
#include <stdlib.h>

#include "anonvm/anonvm.h"
#include "avm_arch.h"
#include "families.h"
#include "sim.h"

#define BASE 0x10000000ull
#define SAMPLE 1000u /* pages that are walked */

struct core_family {
	struct shape shape;
	struct sim *sim;
	struct sim_proc **alive;
	unsigned nr_alive;
	unsigned born;
};

static _Noreturn void die(const struct core_family *f, const char *what)
{
	bench_die("%s: %s failed: %s", f->shape.name, what, f->sim ? sim_last_error(f->sim) : "");
}

/* ---- the processes ------------------------------------------------------------------------------------- */

/* A hole behind each VMA keeps it from merging, and from its neighbour's anon_vma (R4.1). */
static avm_addr_t page_addr(const struct shape *s, unsigned vma, unsigned page)
{
	return BASE + ((uint64_t)vma * (s->pages + 1) + page) * AVM_PAGE_SIZE;
}

static void write_all(const struct core_family *f, struct sim_proc *p)
{
	for (unsigned vma = 0; vma < f->shape.vmas; vma++) {
		for (unsigned page = 0; page < f->shape.pages; page++) {
			avm_addr_t addr = page_addr(&f->shape, vma, page);

			if (sim_store(p, addr, &addr, sizeof(addr), NULL))
				die(f, "a store");
		}
	}
}

static struct sim_proc *make_first(const struct core_family *f)
{
	const struct shape *s = &f->shape;
	struct sim_proc *p;

	if (sim_proc_create(f->sim, NULL, &p))
		die(f, "making a process");
	for (unsigned vma = 0; vma < s->vmas; vma++) {
		const struct avm_mmap args = {
			.addr = page_addr(s, vma, 0),
			.len = (uint64_t)s->pages * AVM_PAGE_SIZE,
			.prot = AVM_PROT_READ | AVM_PROT_WRITE,
			.flags = AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS | AVM_MAP_FIXED,
		};
		avm_addr_t at;

		if (avm_mmap(sim_mm(p), &args, &at))
			die(f, "mmap");
	}
	return p;
}

static struct sim_proc *fork_from(const struct core_family *f, struct sim_proc *parent)
{
	struct sim_proc *p;

	if (sim_proc_fork(parent, &p))
		die(f, "fork");
	return p;
}

/* Who forks process `n`, counted from 0. */
static struct sim_proc *parent_of(const struct core_family *f, unsigned n)
{
	switch (f->shape.form) {
	case FORM_STAR:
		return f->alive[0];
	case FORM_TREE:
		return f->alive[(n - 1) / 2];
	case FORM_RELAY:
	case FORM_CHAIN:
		break;
	}
	return f->alive[f->nr_alive - 1];
}

void core_family_grow(struct core_family *f, unsigned processes)
{
	while (f->born < processes) {
		struct sim_proc *parent = f->born ? parent_of(f, f->born) : NULL;
		struct sim_proc *p = parent ? fork_from(f, parent) : make_first(f);

		if (parent && f->shape.form == FORM_RELAY) {
			sim_proc_exit(parent);
			f->nr_alive = 0;
		}
		f->alive[f->nr_alive++] = p;
		f->born++;
		write_all(f, p);
	}
}

struct leaf {
	struct core_family *family;
	struct sim_proc *parent;
};

static void fork_and_exit(void *context)
{
	const struct leaf *leaf = context;

	sim_proc_exit(fork_from(leaf->family, leaf->parent));
}

double core_family_leaf(const struct bench *b, struct core_family *f)
{
	struct leaf leaf = { f, parent_of(f, f->born) };

	return bench_time(b, fork_and_exit, &leaf);
}

/* ---- figures --------------------------------------------------------------------------------------------- */

struct counts core_family_count(struct core_family *f)
{
	struct avm *m = sim_machine(f->sim);
	struct avm_stats stats;

	avm_stats(m, &stats);
	return (struct counts){
		.avcs = (double)stats.avcs,
		.anon_vmas = (double)stats.anon_vmas,
		.bytes = (double)(stats.avcs * m->avcs.object_size +
				  stats.anon_vmas * m->anon_vmas.object_size),
	};
}

/* Where a series of walks begins. */
struct since {
	struct avm_stats stats;
	double ns;
};

static void walks_begin(const struct core_family *f, struct since *since)
{
	avm_stats(sim_machine(f->sim), &since->stats);
	since->ns = bench_cpu_ns();
}

static struct walks walks_end(const struct core_family *f, const struct since *since,
			      uint64_t pages)
{
	double ns = bench_cpu_ns() - since->ns;
	const uint64_t *before = since->stats.events;
	struct avm_stats now;

	if (!pages)
		die(f, "taking a page");
	avm_stats(sim_machine(f->sim), &now);
	return (struct walks){
		(double)(now.events[AVM_EV_RMAP_VISITED] - before[AVM_EV_RMAP_VISITED]),
		(double)(now.events[AVM_EV_RMAP_MAPPED] - before[AVM_EV_RMAP_MAPPED]),
		ns / (double)pages,
	};
}

/* The i-th of the sample, which goes through processes, VMAs and pages evenly. False: it is not in memory. */
static bool sample(const struct core_family *f, unsigned i, avm_pfn_t *pfn)
{
	const struct shape *s = &f->shape;
	struct sim_proc *p = f->alive[(uint64_t)i * f->nr_alive / SAMPLE];
	struct avm_pte_info info;

	avm_pte_at(sim_mm(p), page_addr(s, i % s->vmas, i / s->vmas % s->pages), &info);
	*pfn = info.pfn;
	return info.kind == AVM_PTE_PRESENT;
}

struct walks core_family_walk(struct core_family *f, int (*take)(struct avm *m, avm_pfn_t pfn))
{
	struct since since;
	uint64_t taken = 0;
	avm_pfn_t pfn;

	walks_begin(f, &since);
	for (unsigned i = 0; i < SAMPLE; i++) {
		if (sample(f, i, &pfn) && !take(sim_machine(f->sim), pfn))
			taken++;
	}
	return walks_end(f, &since, taken);
}

struct walks core_family_shrink(struct core_family *f, unsigned pages)
{
	struct since since;

	walks_begin(f, &since);
	return walks_end(f, &since, avm_shrink(sim_machine(f->sim), pages));
}

/* ---- begin and end ----------------------------------------------------------------------------------------- */

struct core_family *core_family_open(const struct shape *s, enum avm_family_policy policy)
{
	struct core_family *f = bench_must(calloc(1, sizeof(*f)));
	uint64_t tables = (uint64_t)s->vmas * (s->pages + 1) / 512 + 6;
	uint64_t processes = shape_alive(s) + 2; /* one more; and a parent that is about to go */
	const struct sim_config config = {
		.core.family = policy,
		.frames = processes * ((uint64_t)s->vmas * s->pages + tables) + SAMPLE,
		.contents = SIM_STAMPS,
		.tlb_entries = 1, /* what a TLB costs to make is not of the core */
	};
	const struct sim_swap_config swap = { .kind = SIM_SWAP_MEMORY, .slots = 4 * SAMPLE };
	struct avm_swap_device *device;

	f->shape = *s;
	f->alive = bench_must(calloc(processes, sizeof(struct sim_proc *)));
	if (sim_create(&f->sim, &config) || sim_swap_add(f->sim, &swap, &device))
		die(f, "making a machine");
	return f;
}

void core_family_close(struct core_family *f)
{
	if (sim_errors(f->sim) || sim_destroy(f->sim))
		bench_die("%s: the core has lost something", f->shape.name);
	free(f->alive);
	free(f);
}
