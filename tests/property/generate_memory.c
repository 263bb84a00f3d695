/* SPDX-License-Identifier: MIT */
/*
 * generate_memory.c - programs for a machine that is too small: its configuration, what is done to it as a whole, and
 * what others do in the middle of operations.
 */
#include "program.h"

#define PICK(r, array) ((array)[rng_below((r), sizeof(array) / sizeof((array)[0]))])

/* An address space takes four frames of tables before it has a page. */
void draw_pressure(struct rng *r, struct program *pr)
{
	static const uint64_t frames[] = { 64, 64, 64, 48, 96, 128 };
	static const uint32_t calm[] = { 3, 6, 12, 30 };

	pr->pressure = true;
	pr->frames = PICK(r, frames);
	pr->nr_procs = pr->frames < 64 ? 5 : NR_PROCS;
	pr->calm = PICK(r, calm);
	pr->most_lost = rng_one_in(r, 6) ? 3 : 0;
	window_start = (avm_addr_t)0x40000000 + 50 * PAGE;
	if (pr->core.commit == AVM_COMMIT_STRICT)
		pr->core.commit_reserve = rng_below(r, 10);
	/* What is locked is not to be had: a few pages each. */
	pr->limits.locked = rng_below(r, 5) * PAGE;
}

/* Swap is what the machine lacks when it starts: devices come soon, and go seldom. */
void make_memory_op(struct rng *r, const struct world *w, struct op *op)
{
	op->flags = (uint32_t)rng_below(r, NR_SWAPS);
	switch (op->kind) {
	case OP_SHRINK:
		op->new_len = 1 + rng_below(r, rng_one_in(r, 12) ? 40 : 4);
		break;
	case OP_SWAPON:
	case OP_SWAPOFF:
		op->kind = w->swaps[op->flags] ? OP_SWAPOFF : OP_SWAPON;
		if (op->kind == OP_SWAPOFF && !rng_one_in(r, 4)) {
			op->kind = OP_SHRINK;
			op->new_len = 2;
			return;
		}
		op->new_len = 8 + rng_below(r, rng_one_in(r, 3) ? 20 : 150);
		op->to = rng_below(r, 3);
		break;
	case OP_KSM:
		op->new_len = 1 + rng_below(r, 60);
		break;
	case OP_MIGRATE:
	case OP_COMPACT:
	case OP_POISON:
		op->to = rng_below(r, w->program->frames);
		op->new_len = 1 + rng_below(r, 16);
		break;
	case OP_UNPIN:
		op->flags = (uint32_t)rng_below(r, NR_PINS);
		op->prot = (uint32_t)rng_below(r, 2);
		break;
	case OP_SWAP_FAIL:
		op->to = rng_below(r, 4);
		op->new_len = rng_below(r, 3) | rng_below(r, 4) << 4;
		break;
	default:
		break;
	}
}

struct weight {
	enum op_kind kind;
	unsigned weight;
};

static enum op_kind draw(struct rng *r, const struct weight *weights, size_t n)
{
	unsigned total = 0;
	uint64_t at;

	for (size_t i = 0; i < n; i++)
		total += weights[i].weight;
	at = rng_below(r, total);
	for (size_t i = 0; i < n; i++) {
		if (at < weights[i].weight)
			return weights[i].kind;
		at -= weights[i].weight;
	}
	return OP_LOAD;
}

/* More that fills memory and looks at it, less that moves borders about. */
enum op_kind draw_kind_under_pressure(struct rng *r)
{
	static const struct weight weights[] = {
		{ OP_MMAP, 60 },      { OP_MUNMAP, 10 },    { OP_MPROTECT, 40 },
		{ OP_MREMAP, 35 },    { OP_MADVISE, 70 },   { OP_MLOCK, 8 },
		{ OP_MUNLOCK, 12 },   { OP_MLOCKALL, 1 },   { OP_MUNLOCKALL, 6 },
		{ OP_MSYNC, 12 },     { OP_MINCORE, 5 },    { OP_BRK, 12 },
		{ OP_INSERT_PFN, 3 }, { OP_NAME, 6 },	    { OP_POLICY, 5 },
		{ OP_LOAD, 220 },     { OP_STORE, 260 },    { OP_TOUCH, 30 },
		{ OP_COPY_IN, 25 },   { OP_COPY_OUT, 15 },  { OP_COPY, 8 },
		{ OP_POPULATE, 80 },  { OP_MAP_CACHED, 5 }, { OP_PROCESS, 8 },
		{ OP_FORK, 40 },      { OP_EXIT, 12 },	    { OP_EXEC, 3 },
		{ OP_UNMAP_ALL, 1 },  { OP_TRUNCATE, 6 },   { OP_PUNCH, 5 },
		{ OP_INVALIDATE, 3 }, { OP_SYNC, 8 },	    { OP_READAHEAD, 3 },
		{ OP_FREAD, 8 },      { OP_FWRITE, 8 },	    { OP_SHRINK, 8 },
		{ OP_SHRINK_ALL, 1 }, { OP_SWAPON, 14 },    { OP_SWAP_FAIL, 10 },
		{ OP_KSM, 40 },	      { OP_MIGRATE, 20 },   { OP_COMPACT, 4 },
		{ OP_PIN, 12 },	      { OP_UNPIN, 16 },	    { OP_POISON, 8 },
	};

	return draw(r, weights, sizeof(weights) / sizeof(weights[0]));
}

uint32_t advice_under_pressure(struct rng *r)
{
	static const enum avm_advice advice[] = { AVM_MADV_MERGEABLE, AVM_MADV_MERGEABLE,
						  AVM_MADV_MERGEABLE, AVM_MADV_FREE,
						  AVM_MADV_PAGEOUT,   AVM_MADV_PAGEOUT,
						  AVM_MADV_COLD };

	return (uint32_t)PICK(r, advice);
}

/* Where the outer operation works, others find the same pages: half of them go there. */
static void come_close(struct rng *r, const struct world *w, struct op *op)
{
	if (w->outer->kind >= OP_TRUNCATE || rng_one_in(r, 2))
		return;
	op->addr = (w->outer->addr & ~(PAGE - 1)) + op->addr % PAGE;
	if (op->kind == OP_MADVISE)
		op->len = PAGE;
}

static void same_process(struct rng *r, const struct world *w, struct op *op)
{
	if (is_single_access(w->outer) && rng_one_in(r, 3))
		op->p = op->q = w->outer->p;
}

void generate_inside(struct rng *r, struct world *w, struct op *op)
{
	static const struct weight weights[] = {
		{ OP_LOAD, 60 },   { OP_STORE, 80 }, { OP_TOUCH, 10 },	  { OP_MADVISE, 40 },
		{ OP_FORK, 10 },   { OP_EXIT, 3 },   { OP_MUNMAP, 10 },	  { OP_MPROTECT, 10 },
		{ OP_SHRINK, 16 }, { OP_SWAPON, 3 }, { OP_SWAP_FAIL, 3 }, { OP_KSM, 6 },
		{ OP_MIGRATE, 8 },
	};
	static const uint32_t advice[] = { AVM_MADV_DONTNEED, AVM_MADV_DONTNEED, AVM_MADV_FREE,
					   AVM_MADV_PAGEOUT, AVM_MADV_COLD };

	generate_kind(r, w, draw(r, weights, sizeof(weights) / sizeof(weights[0])), op);
	/* A page that is written back is on its list and locked: reclaim is to meet it there. */
	if (rng_one_in(r, w->outer->kind == OP_SYNC || w->outer->kind == OP_MSYNC ? 2 : 300))
		*op = (struct op){ .kind = OP_SHRINK_ALL };
	if (op->kind == OP_MADVISE)
		op->flags = PICK(r, advice);
	if (!is_single_access(op) && op->kind != OP_MADVISE)
		return;
	same_process(r, w, op);
	come_close(r, w, op);
}
