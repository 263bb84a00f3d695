/* SPDX-License-Identifier: MIT */
/*
 * inside.c - what somebody else may do in the middle of an operation, and does.
 *
 * Not what the machine could not take, but what the models could not follow: they learn of the outer operation when it
 * is over. So it must not matter to its outcome whether the inner one came before it or after it. And with one thread
 * nothing may be done for which one would have to wait and could not give up: page locks of files (inner operations
 * stay away from files).
 */
#include "program.h"

bool is_single_access(const struct op *op)
{
	return op->kind == OP_LOAD || op->kind == OP_STORE || op->kind == OP_TOUCH;
}

static bool is_entry_advice(uint32_t advice)
{
	return advice == AVM_MADV_DONTNEED || advice == AVM_MADV_FREE || advice == AVM_MADV_COLD ||
	       advice == AVM_MADV_PAGEOUT;
}

/* Does the outer operation work on this process? */
static bool is_busy(const struct world *w, unsigned p)
{
	const struct op *outer = w->outer;

	return (outer->kind < OP_TRUNCATE || outer->kind == OP_PIN) &&
	       (p == outer->p || p == outer->q);
}

/*
 * Does the outer operation change no VMA but by making it faulted, nor ask who else is in its family? Then VMAs of
 * others may come and go.
 */
static bool is_calm(const struct world *w)
{
	switch (w->outer->kind) {
	case OP_LOAD:
	case OP_STORE:
	case OP_TOUCH:
	case OP_COPY_IN:
	case OP_COPY_OUT:
	case OP_COPY:
	case OP_MINCORE:
	case OP_POPULATE:
	case OP_READAHEAD:
	case OP_FREAD:
	case OP_FWRITE:
	case OP_SYNC:
	case OP_SHRINK:
	case OP_SHRINK_ALL:
	case OP_SWAPOFF:
		return true;
	case OP_MADVISE:
		return is_entry_advice(w->outer->flags);
	default:
		return false;
	}
}

/* Private anonymous memory all the way, without a hole. */
static bool all_anon(const struct bounds_mm *mm, avm_addr_t addr, uint64_t len)
{
	avm_addr_t at = addr & ~(PAGE - 1);

	do {
		const struct bounds_vma *v = bounds_at(mm, at);

		if (!v || !bounds_is_anon(v) || (v->flags & AVM_VM_SPECIAL))
			return false;
		at = v->end;
	} while (at < addr + len);
	return true;
}

/* Memory that ends with its last mapping waits for the locks of its pages. */
static bool has_shared(const struct bounds_mm *mm)
{
	for (size_t i = 0; i < mm->n; i++) {
		if (mm->v[i].flags & AVM_VM_SHARED)
			return true;
	}
	return false;
}

/* A process changes its own memory while it waits for a page of it, as another thread of it would. */
static bool may_access(const struct world *w, const struct op *op)
{
	const struct bounds_mm *mm = w->procs[op->p].bounds;
	const struct bounds_vma *v = bounds_at(mm, op->addr);

	if (!all_anon(mm, op->addr, op->len))
		return false;
	if (!is_busy(w, op->p))
		return true;
	/* Who of the two made the VMA faulted, nobody would know. */
	return is_single_access(w->outer) && v->own;
}

static bool may_advise(const struct world *w, const struct op *op)
{
	if (!is_entry_advice(op->flags) || !all_anon(w->procs[op->p].bounds, op->addr, op->len))
		return false;
	return !is_busy(w, op->p) || is_single_access(w->outer);
}

/* VMAs of somebody else come and go. */
static bool may_change(const struct world *w, const struct op *op)
{
	const struct bounds_mm *mm = w->procs[op->p].bounds;

	if (is_busy(w, op->p) || is_busy(w, op->q) || !is_calm(w) || w->bounds.config.strict)
		return false;
	switch (op->kind) {
	case OP_FORK:
		return true;
	case OP_EXIT:
		/* Swapoff may hold the address space, which then stays for a while. */
		return !has_shared(mm) && w->outer->kind != OP_SWAPOFF;
	case OP_MUNMAP:
		return !has_shared(mm);
	default:
		return !bounds_locked_pages(mm, 0, mm->top);
	}
}

bool takes_pages(const struct op *op)
{
	switch (op->kind) {
	case OP_MMAP:
	case OP_MUNMAP:
	case OP_MREMAP:
	case OP_MADVISE:
	case OP_BRK:
	case OP_INSERT_PFN:
	case OP_EXIT:
	case OP_EXEC:
	case OP_UNMAP_ALL:
	case OP_TRUNCATE:
	case OP_PUNCH:
	case OP_INVALIDATE:
		return true;
	default:
		return false;
	}
}

bool may_be_inside(const struct world *w, const struct op *op)
{
	if (op->kind < OP_TRUNCATE && !w->procs[op->p].sim)
		return false;
	switch (op->kind) {
	case OP_LOAD:
	case OP_STORE:
	case OP_TOUCH:
		return may_access(w, op);
	case OP_MADVISE:
		return may_advise(w, op);
	case OP_FORK:
	case OP_EXIT:
	case OP_MUNMAP:
	case OP_MPROTECT:
		return may_change(w, op);
	case OP_SHRINK:
	case OP_SHRINK_ALL:
	case OP_SWAP_FAIL:
	case OP_KSM:
	case OP_MIGRATE:
		return true;
	case OP_SWAPON:
	case OP_SWAPOFF:
		return !w->bounds.config.strict;
	default:
		return false;
	}
}

/* ---- doing it -------------------------------------------------------------------------------------------- */

void world_interrupted(void *context, enum sim_at at)
{
	struct world *w = context;
	/* A page is seldom being moved when somebody wants it: more of them try. */
	int tries = at == SIM_AT_FRAME_COPY ? 6 : 1;

	while (tries-- && w->outer && w->others && !w->failed) {
		w->chances++;
		w->others(w, w->others_context);
	}
}

void world_inside(struct world *w, const struct op *op)
{
	struct mishaps before = w->before, now;
	bool no_populate = w->bounds.no_populate;

	w->expect = NOT_DONE;
	if (w->failed || !may_be_inside(w, op))
		return;
	w->changes += takes_pages(op);
	w->before = world_mishaps(w);
	w->inside = true;
	perform(w, op);
	w->inside = false;
	w->bounds.no_populate = no_populate;
	/* What went wrong here is no excuse for the outer operation. */
	now = world_mishaps(w);
	w->before.injected = before.injected + (now.injected - w->before.injected);
	w->before.ooms = before.ooms + (now.ooms - w->before.ooms);
	w->before.read_errors = before.read_errors + (now.read_errors - w->before.read_errors);
	w->insides++;
	if (sim_errors(w->sim))
		world_fail(w, CHECK_SIM, "%s", sim_last_error(w->sim));
	if (op->kind >= OP_TRUNCATE)
		return;
	if (w->outer->kind < OP_TRUNCATE && op->p == w->outer->p) {
		w->was_interrupted = true;
		return;
	}
	world_compare(w, op->p);
	world_compare(w, op->q);
}
