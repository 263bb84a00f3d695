/* SPDX-License-Identifier: MIT */
/*
 * Memory under pressure, and always somebody else: a few processes do random things on a machine that is too small for
 * them, and at allocations and at I/O of swap others do random things in between (sim_set_interruption). Every load is
 * compared with what was stored last; the machine is verified now and then, and ends with nothing left.
 *
 * AVM_STORM_SEED=N runs that seed alone; a failure names it, and it is the replay.
 */
#include "world.h"

#include <limits.h>
#include <stdio.h>

#include "random.h"

#define LIVES 6u
#define PAGES 64u /* private ones, from PRIVATE(0) */
#define SHARED_PAGES 24u /* of a memfd that all map */
#define PRIVATE(i) (0x10000000ull + (i)*PAGE)
#define SHARED(i) (0x40000000ull + (i)*PAGE)
#define STEPS 2000u /* of one seed */
#define VERIFY_EVERY 100u

struct life {
	struct sim_proc *proc; /* NULL: not alive */
	bool mapped[PAGES];
	uint64_t want[PAGES];
};

struct storm {
	struct sim *s;
	struct avm *m;
	struct rng rng;
	uint64_t seed;
	struct life lives[LIVES];
	struct life *busy; /* is in the middle of an operation; NULL: nobody, or it does not matter */
	bool inside; /* an interruption runs */
	unsigned calm; /* one in so many chances is taken */
	struct avm_file *mem;
	uint64_t shared[SHARED_PAGES];
	struct avm_swap_device *d;
	bool failures; /* of swap I/O */
	unsigned interruptions, retries, errors;
};

static unsigned below(struct storm *t, unsigned n)
{
	return (unsigned)rng_below(&t->rng, n);
}

#define check(t, what, condition) \
	do { \
		if (!(condition)) \
			fail_msg("seed %llu: %s (%s)", (unsigned long long)(t)->seed, what, \
				 sim_last_error((t)->s)); \
	} while (0)

/* Is this how an access may fail where the model has a page? */
static bool is_excused(struct storm *t, unsigned bits)
{
	if (bits == AVM_FAULT_RETRY && t->inside)
		t->retries++;
	else if (bits == AVM_FAULT_OOM || (bits == AVM_FAULT_SIGBUS && t->failures))
		t->errors++;
	else
		return false;
	return true;
}

/* ---- what one does, at any time ------------------------------------------------------------------------ */

static int map_fixed(struct life *p, avm_addr_t addr, uint64_t pages, uint32_t flags,
		     struct avm_file *file)
{
	const struct avm_mmap args = {
		.addr = addr,
		.len = pages * PAGE,
		.prot = RW,
		.flags = flags | AVM_MAP_FIXED,
		.file = file,
	};
	avm_addr_t out;

	return avm_mmap(sim_mm(p->proc), &args, &out);
}

static void do_store(struct storm *t, struct life *p, unsigned i)
{
	uint64_t word = rng_next(&t->rng);
	unsigned bits = sim_store(p->proc, PRIVATE(i), &word, 8, NULL);

	if (!bits) {
		check(t, "a store where nothing is mapped", p->mapped[i]);
		p->want[i] = word;
	} else if (!is_excused(t, bits)) {
		check(t, "a store fails", !p->mapped[i]);
	}
}

static void do_load(struct storm *t, struct life *p, unsigned i)
{
	uint64_t word = 0;
	unsigned bits = sim_load(p->proc, PRIVATE(i), &word, 8, NULL);

	if (!bits) {
		check(t, "a load where nothing is mapped", p->mapped[i]);
		check(t, "a load of something else", word == p->want[i]);
	} else if (!is_excused(t, bits)) {
		check(t, "a load fails", !p->mapped[i]);
	}
}

static void do_unmap(struct storm *t, struct life *p, unsigned i)
{
	unsigned n = 1 + below(t, 4);

	if (i + n > PAGES)
		n = PAGES - i;
	if (avm_munmap(sim_mm(p->proc), PRIVATE(i), n * PAGE))
		return;
	for (unsigned k = i; k < i + n; k++)
		p->mapped[k] = false;
}

static void do_map(struct storm *t, struct life *p, unsigned i)
{
	(void)t;
	if (map_fixed(p, PRIVATE(i), 1, ANON, NULL))
		return;
	p->mapped[i] = true;
	p->want[i] = 0;
}

static void do_forget(struct storm *t, struct life *p, unsigned i)
{
	(void)t;
	if (!avm_madvise(sim_mm(p->proc), PRIVATE(i), PAGE, AVM_MADV_DONTNEED))
		p->want[i] = 0;
}

static void do_move(struct storm *t, struct life *p, unsigned i)
{
	unsigned to = below(t, PAGES);
	avm_addr_t out;

	if (to == i || !p->mapped[i])
		return;
	if (avm_mremap(sim_mm(p->proc), PRIVATE(i), PAGE, PAGE,
		       AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED, PRIVATE(to), &out))
		return;
	p->want[to] = p->want[i];
	p->mapped[to] = true;
	p->mapped[i] = false;
}

static void do_lock(struct storm *t, struct life *p, unsigned i)
{
	if (below(t, 3))
		(void)avm_munlock(sim_mm(p->proc), PRIVATE(i), PAGE);
	else
		(void)avm_mlock(sim_mm(p->proc), PRIVATE(i), PAGE, 0);
}

static void do_shrink(struct storm *t, struct life *p, unsigned i)
{
	(void)p;
	avm_shrink(t->m, 1 + i % 8);
}

/* ---- what cannot be given up, and so is not done in an interruption ------------------------------------ */

static void do_shared(struct storm *t, struct life *p, unsigned i)
{
	uint64_t word = rng_next(&t->rng);
	unsigned bits;

	i %= SHARED_PAGES;
	if (map_fixed(p, SHARED(0), SHARED_PAGES, AVM_MAP_SHARED, t->mem))
		return;
	bits = sim_store(p->proc, SHARED(i), &word, 8, NULL);
	if (!bits)
		t->shared[i] = word;
	else
		check(t, "a shared store fails", is_excused(t, bits));
	i = below(t, SHARED_PAGES);
	bits = sim_load(p->proc, SHARED(i), &word, 8, NULL);
	if (!bits)
		check(t, "a shared load of something else", word == t->shared[i]);
	else
		check(t, "a shared load fails", is_excused(t, bits));
}

static void do_cut(struct storm *t, struct life *p, unsigned i)
{
	(void)p;
	i %= SHARED_PAGES;
	if (below(t, 2)) {
		if (!avm_file_punch(t->mem, i * PAGE, PAGE))
			t->shared[i] = 0;
		return;
	}
	if (!sim_file_truncate(t->mem, i * PAGE)) {
		for (; i < SHARED_PAGES; i++)
			t->shared[i] = 0;
	}
	assert_int_equal(sim_file_truncate(t->mem, SHARED_PAGES * PAGE), 0);
}

static void add_device(struct storm *t)
{
	const struct sim_swap_config config = { .slots = 50 + below(t, 400),
						.priority = (int32_t)below(t, 3) };

	assert_int_equal(sim_swap_add(t->s, &config, &t->d), 0);
}

static void do_swapoff(struct storm *t, struct life *p, unsigned i)
{
	(void)p;
	if (i % 4)
		return;
	if (!sim_swap_remove(t->s, t->d))
		add_device(t);
}

static void do_fail(struct storm *t, struct life *p, unsigned i)
{
	(void)p;
	if (t->failures)
		sim_swap_fail(t->d, i % 4, below(t, 2), below(t, 3));
}

static void do_exit(struct storm *t, struct life *p, unsigned i)
{
	struct sim_proc *proc = p->proc;

	(void)t;
	(void)i;
	p->proc = NULL;
	sim_proc_exit(proc);
}

/* ---- who does what ------------------------------------------------------------------------------------- */

enum when {
	ALWAYS,
	OTHERS, /* not in the middle of an operation of one's own: would wait for the fault in the VMA */
	CALM, /* not in an interruption */
};

static const struct deed {
	unsigned weight;
	enum when when;
	void (*run)(struct storm *t, struct life *p, unsigned i);
} deeds[] = {
	{ 40, ALWAYS, do_store }, { 40, ALWAYS, do_load },  { 4, OTHERS, do_unmap },
	{ 4, OTHERS, do_map },	  { 2, ALWAYS, do_forget }, { 2, OTHERS, do_move },
	{ 2, OTHERS, do_lock },	  { 3, ALWAYS, do_shrink }, { 1, OTHERS, do_exit },
	{ 16, CALM, do_shared },  { 1, CALM, do_cut },	    { 1, CALM, do_swapoff },
	{ 1, CALM, do_fail },
};
#define NR_DEEDS (sizeof(deeds) / sizeof(deeds[0]))

static const struct deed *some_deed(struct storm *t)
{
	unsigned all = 0, pick;

	for (size_t i = 0; i < NR_DEEDS; i++)
		all += deeds[i].weight;
	pick = below(t, all);
	for (size_t i = 0;; i++) {
		if (pick < deeds[i].weight)
			return &deeds[i];
		pick -= deeds[i].weight;
	}
}

/* Takes the place of p, where nobody else has come to life meanwhile. */
static void place(struct life *p, const struct life *newborn)
{
	if (p->proc)
		sim_proc_exit(newborn->proc);
	else
		*p = *newborn;
}

static void be_born(struct storm *t, struct life *p)
{
	struct life newborn = { 0 };

	if (sim_proc_create(t->s, NULL, &newborn.proc))
		return;
	if (!map_fixed(&newborn, PRIVATE(0), PAGES, ANON, NULL)) {
		for (unsigned i = 0; i < PAGES; i++)
			newborn.mapped[i] = true;
	}
	place(p, &newborn);
}

static void be_forked(struct storm *t, struct life *p, struct life *parent)
{
	struct life *before = t->busy;
	struct life child;
	int err;

	if (!parent->proc || parent == t->busy)
		return;
	if (!t->inside)
		t->busy = parent;
	err = sim_proc_fork(parent->proc, &child.proc);
	t->busy = before;
	if (err)
		return;
	memcpy(child.mapped, parent->mapped, sizeof(child.mapped));
	memcpy(child.want, parent->want, sizeof(child.want));
	place(p, &child);
}

static void act(struct storm *t)
{
	struct life *p = &t->lives[below(t, LIVES)], *before = t->busy;
	const struct deed *deed = some_deed(t);
	unsigned i = below(t, PAGES);

	if (t->inside && (deed->when == CALM || (deed->when == OTHERS && p == t->busy)))
		return;
	if (!p->proc) {
		if (p == t->busy)
			return;
		if (below(t, 2))
			be_born(t, p);
		else
			be_forked(t, p, &t->lives[below(t, LIVES)]);
		return;
	}
	if (!t->inside)
		t->busy = p;
	deed->run(t, p, i);
	t->busy = before;
}

static void interrupt(void *context, enum sim_at at)
{
	struct storm *t = context;

	(void)at;
	if (below(t, t->calm))
		return;
	t->interruptions++;
	t->inside = true;
	for (unsigned n = 1 + below(t, 3); n--;)
		act(t);
	t->inside = false;
}

/* ---- seeds --------------------------------------------------------------------------------------------- */

static void verify(struct storm *t)
{
	sim_set_interruption(t->s, NULL, NULL);
	check(t, "the machine is broken", !sim_verify(t->s, AVM_VERIFY_ALL, stderr));
	sim_set_interruption(t->s, interrupt, t);
}

static void storm_open(struct storm *t, uint64_t seed)
{
	struct sim_config config = { .contents = SIM_STAMPS, .check_tlb = true };

	*t = (struct storm){ .rng = { seed }, .seed = seed };
	config.frames = 40 + below(t, 60);
	config.core.family = (enum avm_family_policy)(seed % 3);
	t->calm = 1 + below(t, 8);
	t->failures = below(t, 2);
	assert_int_equal(sim_create(&t->s, &config), 0);
	t->m = sim_machine(t->s);
	add_device(t);
	assert_int_equal(sim_memfd_create(t->s, "shared", SHARED_PAGES * PAGE, &t->mem), 0);
	sim_set_interruption(t->s, interrupt, t);
}

static void storm_close(struct storm *t)
{
	sim_set_interruption(t->s, NULL, NULL);
	sim_swap_fail(t->d, 0, 0, 0);
	for (struct life *p = t->lives; p < t->lives + LIVES; p++) {
		for (unsigned i = 0; p->proc && i < PAGES; i++)
			do_load(t, p, i);
	}
	verify(t);
	sim_set_interruption(t->s, NULL, NULL);
	assert_int_equal(sim_destroy(t->s), 0);
}

static uint64_t run_seed(uint64_t seed)
{
	struct storm t;
	uint64_t out;

	storm_open(&t, seed);
	for (unsigned step = 1; step <= STEPS; step++) {
		act(&t);
		if (step % VERIFY_EVERY == 0)
			verify(&t);
	}
	out = avm_cpu_sum(t.m, &t.m->cpus[0].events[AVM_EV_SWAP_OUT]);
	check(&t, "nobody came in between", t.interruptions > 0);
	storm_close(&t);
	return out;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void nobody_loses_a_page_in_a_storm(void **state)
{
	uint64_t seed = number("AVM_STORM_SEED", 0);
	uint64_t seeds = number("AVM_PROPERTY_OPS", 100000) / 5000;
	uint64_t out = 0;

	(void)state;
	if (seed) {
		(void)run_seed(seed);
		return;
	}
	for (seed = 1; seed <= seeds + 1; seed++)
		out += run_seed(seed);
	assert_true(out > seeds * 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_loses_a_page_in_a_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
