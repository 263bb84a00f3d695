/* SPDX-License-Identifier: MIT */
/*
 * attrs.h - giving the VMAs of a range other flags, names or policies (R2.5), for madvise, mlock
 * and the like.
 */
#ifndef AVM_ATTRS_H
#define AVM_ATTRS_H

#include "mm.h"
#include "vma.h"

/* The part of one VMA that lies in the range, and what it is to be: before it was asked, what it is. */
struct avm_attrs_step {
	struct avm_part at;
	struct avm_vma_attrs attrs;
};

/*
 * One change, as a question put to each VMA of the range. `decide` gets the attributes the VMA has
 * and writes the ones it is to have; leaving them as they are leaves the VMA alone. A negative
 * errno ends the walk there. It may be asked twice: before anything changes, and again then.
 */
struct avm_attrs_change {
	int (*decide)(const struct avm_attrs_change *change, struct avm_attrs_step *s);
	/*
	 * The entries follow: s->at.vma has it all now, and had the flags `old`. True: there were some, so translations are
	 * to be flushed. NULL: they stay as they are.
	 */
	bool (*follow)(const struct avm_attrs_step *s, uint64_t old);
	uint64_t set, clear; /* flags, for who needs no more than that */
	uint32_t id; /* name, policy */
	enum avm_attrs_holes {
		AVM_HOLES_SKIP, /* the rest is done, -ENOMEM at the end */
		AVM_HOLES_STOP, /* -ENOMEM there and then */
	} holes;
};

/* A `decide` that clears and sets flags of every VMA. */
int avm_attrs_flags(const struct avm_attrs_change *change, struct avm_attrs_step *s);

/* What a change comes to, before it is made. */
struct avm_attrs_plan {
	struct avm_attrs_step first; /* that changes something */
	avm_addr_t last; /* the end of the last one that does; 0: nothing changes */
	int err; /* 0; -ENOMEM for a hole; or what decide() said: what is before it can be changed */
};

/* => mmap_lock write, in all of these. */
void avm_attrs_look(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
		    const struct avm_attrs_change *change, struct avm_attrs_plan *plan);

/* Does what was planned, and uses the plan up; there is something. 0, or -ENOMEM (memory, or the limit of VMAs) with nothing changed. */
int avm_attrs_make(struct avm_mm *mm, struct avm_attrs_plan *plan,
		   const struct avm_attrs_change *change);

/* Both: the plan's error, or `no_memory` for that of the second. */
int avm_attrs_apply(struct avm_mm *mm, avm_addr_t start, avm_addr_t end,
		    const struct avm_attrs_change *change, int no_memory);

/* A whole operation: checks the range and takes mmap_lock as well. Addresses beyond the address space are a hole. */
int avm_attrs_operate(struct avm_mm *mm, avm_addr_t addr, uint64_t len,
		      const struct avm_attrs_change *change, int no_memory);

#endif
