/* SPDX-License-Identifier: MIT */
/*
 * check_record.h - an execution in steps, for those who go through all of them (check_bound.c, check_dpor.c).
 *
 * A step is what a thread does from one point to its next: one atomic access, and whatever follows it. Two steps of two threads
 * are independent when neither writes what the other touches; then their order is of no consequence. What a step touches
 * are the objects of atomic accesses, and what the port says (check_touch()): translations, entries that the MMU reads, frames
 * and memory given and taken back, grace periods, waiting and waking, the caller's part. Plain accesses of the core are not
 * among them: two of them that conflict are ordered by something that is, or are a data race, which is found as such.
 *
 * A thread that sleeps is one whose next step was gone through in another execution: as long as nothing happens that depends on
 * that step it need not come here too, and an execution in which it does is given up (pruned).
 */
#ifndef CHECK_RECORD_H
#define CHECK_RECORD_H

#include "check_priv.h"

#define STEP_TOUCHES 14u
#define NO_NODE UINT32_MAX

struct check_step {
	uint64_t touched[STEP_TOUCHES]; /* keys (check_record.c), the lowest bit: it writes */
	uint32_t n;
	bool much; /* more than can be kept: depends on everything */
};

/* What many steps touch, taken together. */
#define STEPS_TOUCHES 256u

struct check_steps {
	uint64_t touched[STEPS_TOUCHES];
	uint32_t n;
	bool much;
};

/* A place where somebody is chosen, and what he does. */
struct check_node {
	struct check_step step;
	uint32_t at; /* point of the decider */
	uint32_t enabler; /* the step that let the thread go on which had to wait; NO_NODE */
	uint8_t decider; /* the thread that ran until here; CHECK_THREADS: the beginning */
	uint8_t usual; /* who goes on if nobody says otherwise */
	uint8_t thread; /* who did; CHECK_THREADS: nobody, the execution was given up */
	uint8_t enabled, asleep; /* a bit for each thread */
	bool free; /* the decider could not go on */
};

/* Who has touched it: a bit for each thread, and one for each that has written. */
struct check_object {
	uint64_t key;
	uint8_t threads, writers;
};

#define OBJECTS_SHIFT 14
#define OBJECTS (1u << OBJECTS_SHIFT)

struct check_record {
	struct check_node *nodes;
	uint32_t n, room;
	bool full; /* a node was not kept */
	bool grew; /* an object is shared that was not */
	bool defers; /* there was a deferred call: when grace periods end matters */
	bool avoids; /* who goes on when a thread cannot is one that is awake, if there is one */
	bool armed; /* the switches given are behind us: from here on threads sleep */
	uint8_t asleep;
	struct check_step slept[CHECK_THREADS]; /* given: the step each of them would do */
	uint8_t sleepers; /* given: those who sleep when the last switch is behind us */
	uint32_t nr_objects;
	struct check_object objects[OBJECTS];
};

bool check_depend(const struct check_step *a, const struct check_step *b);
void check_steps_begin(struct check_steps *all);
void check_steps_add(struct check_steps *all, const struct check_step *step);
bool check_steps_depend(const struct check_steps *all, const struct check_step *step);
/* Has a second thread to do with anything that the step touches, so far, and has one of them written? */
bool check_step_shared(struct check_record *r, const struct check_step *step);

struct check_record *check_record_new(void);
void check_record_free(struct check_record *r);
/* Before an execution. */
void check_record_begin(struct check_record *r);

#endif
