/* SPDX-License-Identifier: MIT */
/* families_core.c - shapes of families, made of processes of the simulated machine. */
#include "families.h"

#include <stdio.h>
#include <stdlib.h>

#include "anonvm/anonvm.h"
#include "avm_arch.h"
#include "sim.h"

#define BASE 0x10000000ull
#define SAMPLE 1000u /* pages that are walked */
#define SHRINK 100u /* pages that reclaim is asked for */

struct family {
	const struct shape *shape;
	struct figures *figures;
	struct sim *sim;
	struct sim_proc **alive;
	unsigned nr_alive;
};

static _Noreturn void die(const struct family *f, const char *what)
{
	fprintf(stderr, "families: %s: %s failed: %s\n", f->shape->name, what,
		f->sim ? sim_last_error(f->sim) : "");
	exit(1);
}

/* ---- the processes ------------------------------------------------------------------------------------- */

/* A hole behind each VMA keeps it from merging, and from its neighbour's anon_vma. */
static avm_addr_t page_addr(const struct shape *s, unsigned vma, unsigned page)
{
	return BASE + ((uint64_t)vma * (s->pages + 1) + page) * AVM_PAGE_SIZE;
}

static void write_all(const struct family *f, struct sim_proc *p)
{
	for (unsigned vma = 0; vma < f->shape->vmas; vma++) {
		for (unsigned page = 0; page < f->shape->pages; page++) {
			avm_addr_t addr = page_addr(f->shape, vma, page);

			if (sim_store(p, addr, &addr, sizeof(addr), NULL))
				die(f, "a store");
		}
	}
}

static struct sim_proc *first(struct family *f)
{
	const struct shape *s = f->shape;
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
	write_all(f, p);
	f->alive[f->nr_alive++] = p;
	return p;
}

static struct sim_proc *fork_from(struct family *f, struct sim_proc *parent)
{
	struct sim_proc *p;

	if (sim_proc_fork(parent, &p))
		die(f, "fork");
	return p;
}

struct leaf {
	struct family *family;
	struct sim_proc *parent;
};

static void fork_and_exit(void *context)
{
	struct leaf *leaf = context;

	sim_proc_exit(fork_from(leaf->family, leaf->parent));
}

static struct spread time_leaf(struct family *f, struct sim_proc *parent, double seconds)
{
	struct leaf leaf = { f, parent };

	return spread_of(fork_and_exit, &leaf, seconds);
}

/* ---- the shapes ------------------------------------------------------------------------------------------ */

/* Each returns who forks the next one. */

static struct sim_proc *grow_star(struct family *f)
{
	struct sim_proc *parent = first(f);

	while (f->nr_alive <= f->shape->size) {
		struct sim_proc *p = fork_from(f, parent);

		write_all(f, p);
		f->alive[f->nr_alive++] = p;
	}
	return parent;
}

static struct sim_proc *grow_tree(struct family *f)
{
	unsigned n = shape_alive(f->shape);

	first(f);
	while (f->nr_alive < n) {
		struct sim_proc *p = fork_from(f, f->alive[(f->nr_alive - 1) / 2]);

		write_all(f, p);
		f->alive[f->nr_alive++] = p;
	}
	return f->alive[n - 1];
}

static void note_point(struct family *f, struct sim_proc *p, unsigned depth)
{
	struct point *point = &f->figures->points[f->figures->nr_points];
	struct avm_mm_stats stats;

	if (shape_point(f->shape, f->figures->nr_points) != depth)
		return;
	avm_mm_stats(sim_mm(p), &stats);
	point->depth = depth;
	point->entries = (double)stats.avcs;
	point->leaf = time_leaf(f, p, 0.1);
	f->figures->nr_points++;
}

static struct sim_proc *grow_line(struct family *f)
{
	struct sim_proc *p = first(f);

	for (unsigned depth = 1;; depth++) {
		struct sim_proc *next;

		note_point(f, p, depth);
		if (depth == f->shape->size)
			return p;
		next = fork_from(f, p);
		if (f->shape->form == FORM_RELAY) {
			sim_proc_exit(p);
			f->nr_alive = 0;
		}
		f->alive[f->nr_alive++] = p = next;
		write_all(f, p);
	}
}

static struct sim_proc *grow(struct family *f)
{
	switch (f->shape->form) {
	case FORM_STAR:
		return grow_star(f);
	case FORM_TREE:
		return grow_tree(f);
	case FORM_RELAY:
	case FORM_CHAIN:
		break;
	}
	return grow_line(f);
}

/* ---- the walks --------------------------------------------------------------------------------------------- */

/* Some page of some process; i counts, and processes, VMAs and pages are gone through evenly. */
static bool sample(const struct family *f, unsigned i, avm_pfn_t *pfn)
{
	const struct shape *s = f->shape;
	struct sim_proc *p = f->alive[(uint64_t)i * f->nr_alive / SAMPLE];
	struct avm_pte_info info;

	avm_pte_at(sim_mm(p), page_addr(s, i % s->vmas, i / s->vmas % s->pages), &info);
	*pfn = info.pfn;
	return info.kind == AVM_PTE_PRESENT;
}

static void walks_begin(struct family *f, struct avm_stats *before, double *ns)
{
	avm_stats(sim_machine(f->sim), before);
	*ns = now_ns();
}

static struct walks walks_end(struct family *f, const struct avm_stats *before, double since,
			      uint64_t pages)
{
	double ns = now_ns() - since;
	struct avm_stats now;

	avm_stats(sim_machine(f->sim), &now);
	return (struct walks){
		.walks = now.events[AVM_EV_RMAP_WALKS] - before->events[AVM_EV_RMAP_WALKS],
		.visited = now.events[AVM_EV_RMAP_VISITED] - before->events[AVM_EV_RMAP_VISITED],
		.mapped = now.events[AVM_EV_RMAP_MAPPED] - before->events[AVM_EV_RMAP_MAPPED],
		.ns = pages ? ns / (double)pages : 0,
	};
}

/* Takes pages of the sample from everybody, by migration or to swap. */
static struct walks walk_sample(struct family *f, int (*take)(struct avm *m, avm_pfn_t pfn))
{
	struct avm_stats before;
	unsigned done = 0;
	avm_pfn_t pfn;
	double since;

	walks_begin(f, &before, &since);
	for (unsigned i = 0; i < SAMPLE; i++)
		if (sample(f, i, &pfn) && !take(sim_machine(f->sim), pfn))
			done++;
	if (!done)
		die(f, "walking");
	return walks_end(f, &before, since, done);
}

/* What reclaim does when it needs a few pages: it asks of the oldest whether they have been used, and takes some. */
static struct walks walk_shrink(struct family *f)
{
	struct avm_stats before;
	double since;

	walks_begin(f, &before, &since);
	return walks_end(f, &before, since, avm_shrink(sim_machine(f->sim), SHRINK));
}

/* ---- one family --------------------------------------------------------------------------------------------- */

static void family_open(struct family *f, enum avm_family_policy policy)
{
	const struct shape *s = f->shape;
	uint64_t tables = (uint64_t)s->vmas * (s->pages + 1) / 512 + 6;
	uint64_t processes = shape_alive(s) + 2; /* one more; and who is about to go */
	const struct sim_config config = {
		.core.family = policy,
		.frames = processes * ((uint64_t)s->vmas * s->pages + tables) + SAMPLE,
		.contents = SIM_STAMPS,
		.tlb_entries = 1, /* a TLB of the simulated machine is not what is measured */
	};
	const struct sim_swap_config swap = { .kind = SIM_SWAP_MEMORY, .slots = 4 * SAMPLE };
	struct avm_swap_device *device;

	f->alive = calloc(processes, sizeof(*f->alive));
	if (!f->alive || sim_create(&f->sim, &config) || sim_swap_add(f->sim, &swap, &device))
		die(f, "making a machine");
}

static void family_close(struct family *f)
{
	if (sim_errors(f->sim))
		die(f, "the machine");
	if (sim_destroy(f->sim))
		die(f, "giving everything back");
	free(f->alive);
}

static void count(struct family *f)
{
	struct avm *m = sim_machine(f->sim);
	struct avm_stats stats;

	avm_stats(m, &stats);
	f->figures->counted = true;
	f->figures->processes = (unsigned)stats.mms;
	f->figures->avcs = (double)stats.avcs;
	f->figures->anon_vmas = (double)stats.anon_vmas;
	f->figures->bytes = (double)(stats.avcs * m->avcs.object_size +
				     stats.anon_vmas * m->anon_vmas.object_size);
}

static struct spread time_alone(const struct shape *s, enum avm_family_policy policy)
{
	const struct shape one = { s->name, FORM_CHAIN, 1, s->vmas, s->pages };
	struct figures unused = { 0 };
	struct family f = { .shape = &one, .figures = &unused };
	struct spread alone;

	family_open(&f, policy);
	alone = time_leaf(&f, first(&f), 0.2);
	family_close(&f);
	return alone;
}

void families_core(const struct shape *s, enum avm_family_policy policy, struct figures *figures)
{
	struct family f = { .shape = s, .figures = figures };
	struct sim_proc *parent;

	*figures = (struct figures){ 0 };
	figures->alone = time_alone(s, policy);
	family_open(&f, policy);
	parent = grow(&f);
	count(&f);
	figures->leaf = time_leaf(&f, parent, 0.3);
	figures->migrate = walk_sample(&f, avm_migrate);
	figures->page_out = walk_sample(&f, avm_page_out);
	figures->shrink = walk_shrink(&f);
	family_close(&f);
}
