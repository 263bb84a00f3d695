/* SPDX-License-Identifier: MIT */
/*
 * perform_memory.c - operations on the whole machine: reclaim, swap devices. The models hear nothing of them: whatever
 * they do, memory contains what it contained.
 */
#include "program.h"

static void do_shrink(struct world *w, const struct op *op)
{
	struct avm *m = sim_machine(w->sim);

	if (op->kind == OP_SHRINK_ALL)
		(void)avm_shrink_all(m);
	else
		(void)avm_shrink(m, op->new_len);
}

static void promise(struct world *w, int64_t slots)
{
	w->bounds.config.commit_limit += (uint64_t)slots;
}

static void do_swapon(struct world *w, const struct op *op)
{
	struct avm_swap_device **d = &w->swaps[op->flags];
	const struct sim_swap_config config = { .slots = (uint32_t)op->new_len,
						.priority = (int32_t)op->to };
	int err;

	w->expect = NOT_DONE;
	if (*d)
		return;
	err = sim_swap_add(w->sim, &config, d);
	w->expect = err;
	if (err)
		world_fail(w, CHECK_RESULT, "swapon: %d, it cannot fail", err);
	promise(w, (int64_t)op->new_len);
}

uint64_t frames_refused(const struct world *w)
{
	return atomic_load(&sim_machine(w->sim)->frames_refused);
}

static bool have_pins(const struct world *w)
{
	for (unsigned i = 0; i < NR_PINS; i++) {
		if (w->pins[i].n)
			return true;
	}
	return false;
}

/* Why a removal may fail: promises, or memory; a slot that cannot be read; somebody in the middle who holds one. */
static bool may_refuse(const struct world *w, int err, uint64_t refused)
{
	bool others = w->inside || w->chances;

	switch (err) {
	case -AVM_ENOMEM:
		return w->bounds.config.strict || world_alloc_failed(w) ||
		       frames_refused(w) != refused;
	case -AVM_EIO:
		return world_alloc_failed(w);
	case -AVM_EBUSY:
	case -AVM_EINTR:
		return others || have_pins(w) || w->lost;
	default:
		return false;
	}
}

static void do_swapoff(struct world *w, const struct op *op)
{
	struct avm_swap_device **d = &w->swaps[op->flags];
	uint64_t refused = frames_refused(w);
	uint32_t slots;
	int err;

	w->expect = NOT_DONE;
	if (!*d)
		return;
	slots = (*d)->nr_slots;
	err = sim_swap_remove(w->sim, *d);
	w->expect = err;
	if (err && !may_refuse(w, err, refused))
		world_fail(w, CHECK_RESULT, "swapoff: %d, without a reason", err);
	if (err)
		return;
	*d = NULL;
	promise(w, -(int64_t)slots);
}

static void do_swap_fail(struct world *w, const struct op *op)
{
	struct avm_swap_device *d = w->swaps[op->flags];

	w->expect = NOT_DONE;
	if (!d)
		return;
	w->expect = 0;
	sim_swap_fail(d, (unsigned)op->to, (unsigned)op->new_len & 15,
		      (unsigned)op->new_len >> 4 & 15);
}

/* ---- frames ------------------------------------------------------------------------------------------- */

static avm_pfn_t first_frame(const struct world *w)
{
	return sim_machine(w->sim)->regions->first;
}

static void do_frames(struct world *w, const struct op *op)
{
	struct avm *m = sim_machine(w->sim);
	int64_t got;

	switch (op->kind) {
	case OP_KSM:
		got = avm_ksm_scan(m, op->new_len);
		break;
	case OP_MIGRATE:
		got = avm_migrate(m, first_frame(w) + op->to);
		break;
	default:
		got = avm_compact(m, first_frame(w) + op->to, op->new_len);
		break;
	}
	w->expect = got < 0 ? (int)got : 0;
	if (got < 0 && got != -AVM_ENOMEM && got != -AVM_ENOENT && got != -AVM_EBUSY &&
	    !(got == -AVM_EINTR && w->inside))
		world_fail(w, CHECK_RESULT, "%lld, no such error", (long long)got);
}

void perform_memory(struct world *w, const struct op *op)
{
	w->expect = 0;
	switch (op->kind) {
	case OP_SWAPON:
		do_swapon(w, op);
		break;
	case OP_SWAPOFF:
		do_swapoff(w, op);
		break;
	case OP_SWAP_FAIL:
		do_swap_fail(w, op);
		break;
	case OP_KSM:
	case OP_MIGRATE:
	case OP_COMPACT:
		do_frames(w, op);
		break;
	case OP_POISON:
		perform_poison(w, op);
		break;
	case OP_PIN:
	case OP_UNPIN:
		perform_pin(w, op);
		break;
	default:
		do_shrink(w, op);
		break;
	}
}
