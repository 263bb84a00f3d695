/* SPDX-License-Identifier: MIT */
/*
 * middle.h - somebody else runs while a page is taken from everybody (src/unmap.h): all its entries are migration
 * entries by then, and whoever took it is about to go back to them. Debug builds only: it is a lock that tells.
 */
#ifndef TEST_MIDDLE_H
#define TEST_MIDDLE_H

#include "ops.h"

#define SLOTS 64u

struct middle {
	struct world w;
	struct avm_swap_device *d;
	void (*act)(struct middle *k);
	unsigned acts;
	struct sim_proc *b; /* another process */
	struct avm_page *page;
	unsigned result;
};

static inline void middle_act(void *context, enum sim_at at)
{
	struct middle *k = context;

	(void)at;
	if (!k->acts++)
		k->act(k);
}

/* The way back waits for the family, or the file, where the way there has only tried (R6, R7). */
static inline void middle_event(void *context, int event, int lock_class, const volatile void *lock)
{
	struct middle *k = context;
	avm_pfn_t pfn;

	(void)lock;
	if (event != AVM_LOCK_EV_READ || k->acts ||
	    (lock_class != AVM_LOCK_FAMILY && lock_class != AVM_LOCK_FILE))
		return;
	/* Any port call that lets others run. */
	sim_set_interruption(k->w.s, middle_act, k);
	pfn = avm_port_frame_alloc(k->w.m, AVM_FRAME_USER);
	sim_set_interruption(k->w.s, NULL, NULL);
	avm_port_frame_free(k->w.m, pfn);
}

static inline void swap_world_open(struct middle *k)
{
	*k = (struct middle){ 0 };
	world_open(&k->w);
	assert_int_equal(
		sim_swap_add(k->w.s,
			     &(struct sim_swap_config){ .kind = SIM_SWAP_MEMORY, .slots = SLOTS },
			     &k->d),
		0);
}

/* Skips the test where nobody can be told. */
static inline void middle_open(struct middle *k, void (*act)(struct middle *k))
{
	swap_world_open(k);
	k->act = act;
	if (!sim_set_other_cpu(k->w.s, middle_event, k)) {
		world_close(&k->w);
		skip();
	}
	sim_set_other_cpu(k->w.s, NULL, NULL);
}

/* avm_migrate() or avm_poison(), with `act` in the middle. */
static inline int with_middle(struct middle *k, int (*call)(struct avm *m, avm_pfn_t pfn),
			      avm_pfn_t pfn)
{
	int err;

	sim_set_other_cpu(k->w.s, middle_event, k);
	err = call(k->w.m, pfn);
	sim_set_other_cpu(k->w.s, NULL, NULL);
	assert_int_equal(k->acts, 1);
	world_check(&k->w);
	return err;
}

static inline struct sim_proc *fork_of(struct sim_proc *p)
{
	struct sim_proc *child;

	assert_int_equal(sim_proc_fork(p, &child), 0);
	return child;
}

/* The page of addr: found in memory, or brought there. */
static inline struct avm_page *page_of(struct sim_proc *p, avm_addr_t addr)
{
	(void)load(p, addr);
	return page_at(sim_mm(p), addr);
}

#endif
