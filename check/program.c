/* SPDX-License-Identifier: MIT */
/*
 * program.c - making programs.
 */
#include "program.h"

#include "anonvm/anonvm.h"
#include "check_random.h"

struct rng {
	uint64_t state;
};

static uint8_t below(struct rng *r, unsigned n)
{
	return (uint8_t)(check_random(&r->state) % n);
}

/* ---- making ------------------------------------------------------------------------------------------------ */

/* A feature is on in half of the programs: what is on all the time hides what needs it off. */
struct features {
	bool swap, ksm, files, moves, locks, migration, life, disk;
	bool patches, lineage; /* shapes that a set-up has, below */
};

static bool allowed(enum op_kind kind, const struct features *f)
{
	switch (kind) {
	case OP_PAGEOUT:
	case OP_SHRINK:
	case OP_SWAPOFF:
		return f->swap;
	case OP_MERGEABLE:
	case OP_KSM:
		return f->ksm;
	case OP_UNMERGEABLE:
		return f->ksm && f->patches;
	case OP_MAP_FILE:
	case OP_TRUNCATE:
		return f->files;
	case OP_MREMAP:
		return f->moves;
	case OP_MLOCK:
	case OP_MUNLOCK:
		return f->locks;
	case OP_COMPACT:
		return f->migration;
	case OP_FORK:
	case OP_EXIT:
		return f->life;
	case OP_SYNC:
		return f->disk;
	default:
		return true;
	}
}

static const uint8_t weights[NR_OP_KINDS] = {
	[OP_MMAP] = 8,	    [OP_MAP_FILE] = 5,	  [OP_MUNMAP] = 10,  [OP_MPROTECT] = 8,
	[OP_MREMAP] = 8,    [OP_DONTNEED] = 6,	  [OP_FREE] = 3,     [OP_PAGEOUT] = 8,
	[OP_MERGEABLE] = 3, [OP_MLOCK] = 3,	  [OP_MUNLOCK] = 2,  [OP_READ] = 12,
	[OP_WRITE] = 24,    [OP_FORK] = 10,	  [OP_EXIT] = 10,    [OP_SHRINK] = 14,
	[OP_KSM] = 8,	    [OP_COMPACT] = 8,	  [OP_TRUNCATE] = 5, [OP_SWAPOFF] = 2,
	[OP_SYNC] = 8,	    [OP_UNMERGEABLE] = 2,
};

static enum op_kind draw_kind(struct rng *r, const struct features *f)
{
	for (;;) {
		unsigned total = 0, at;

		for (unsigned i = 0; i < NR_OP_KINDS; i++)
			total += allowed((enum op_kind)i, f) ? weights[i] : 0;
		at = below(r, total);
		for (unsigned i = 0; i < NR_OP_KINDS; i++) {
			if (!allowed((enum op_kind)i, f))
				continue;
			if (at < weights[i])
				return (enum op_kind)i;
			at -= weights[i];
		}
	}
}

/* Where a program happens, for the most part: threads meet where few places are. */
struct focus {
	uint8_t p, page, len;
};

static struct focus draw_focus(struct rng *r)
{
	struct focus at;

	at.p = !below(r, 4);
	at.page = below(r, 8);
	at.len = (uint8_t)(1 + below(r, below(r, 2) ? 3 : 8));
	return at;
}

/* Some of the focus, all of it, more than it; or anything. */
static void draw_range(struct rng *r, const struct focus *at, struct op *op)
{
	op->page = at->page;
	op->len = at->len;
	switch (below(r, 8)) {
	case 0:
		op->page = below(r, PAGES);
		op->len = (uint8_t)(1 + below(r, 6));
		break;
	case 1:
		op->page = 0;
		op->len = PAGES;
		break;
	case 2:
	case 3:
	case 4:
		op->page = (uint8_t)(at->page + below(r, at->len));
		op->len = 1;
		break;
	default:
		break;
	}
	if (op->page + op->len > PAGES)
		op->len = (uint8_t)(PAGES - op->page);
}

static struct op draw_op(struct rng *r, enum op_kind kind, const struct features *f,
			 const struct focus *at)
{
	struct op op = { .kind = (uint8_t)kind, .p = at->p };

	if (!below(r, 3))
		op.p = below(r, below(r, 2) ? 2 : PROCS);
	draw_range(r, at, &op);
	op.arg = below(r, 2);
	switch (kind) {
	case OP_READ:
	case OP_WRITE:
		op.page = (uint8_t)(op.page + below(r, op.len));
		op.len = 1;
		break;
	case OP_MMAP:
		op.arg |= (f->patches && !below(r, 3) ? below(r, NR_ACCESSES) : ACCESS_RW) << 1;
		break;
	case OP_MPROTECT:
		if (f->patches)
			op.arg = below(r, NR_ACCESSES);
		break;
	case OP_MREMAP:
		op.arg = below(r, PAGES);
		break;
	case OP_FORK:
		op.arg = (uint8_t)(1 + below(r, PROCS - 1));
		break;
	case OP_SHRINK:
		op.arg = (uint8_t)(1 + below(r, 16));
		break;
	case OP_TRUNCATE:
		op.arg = below(r, 6);
		break;
	case OP_COMPACT:
		op.page = below(r, 4);
		break;
	default:
		break;
	}
	return op;
}

/* ---- set-ups ------------------------------------------------------------------------------------------------ */

static void add(struct program *pr, struct op op)
{
	if (pr->nr_setup < MAX_SETUP)
		pr->setup[pr->nr_setup++] = op;
}

/* What takes an operation back, or nearly so. What has none: a write. */
static struct op undo(struct op op)
{
	uint8_t from = op.page;

	switch ((enum op_kind)op.kind) {
	case OP_MPROTECT:
		op.arg = ACCESS_RW;
		break;
	case OP_MUNMAP:
		op.kind = OP_MMAP;
		op.arg = ACCESS_RW << 1;
		break;
	case OP_MREMAP:
		op.page = op.arg + op.len > PAGES ? (uint8_t)(PAGES - op.len) : op.arg;
		op.arg = from;
		break;
	case OP_MLOCK:
		op.kind = OP_MUNLOCK;
		break;
	case OP_MERGEABLE:
		op.kind = OP_UNMERGEABLE;
		break;
	default:
		op.kind = OP_WRITE;
		op.len = 1;
		break;
	}
	return op;
}

/* A piece of the focus; or what lies behind it, where memory grows. */
static void draw_piece(struct rng *r, const struct focus *at, struct op *op)
{
	unsigned end = at->page + at->len;

	op->page = (uint8_t)(at->page + below(r, at->len));
	op->len = (uint8_t)(1 + below(r, end - op->page));
	if (op->kind == OP_MMAP && end < PAGES && below(r, 2)) {
		op->page = (uint8_t)end;
		op->len = 1;
	}
}

/*
 * One mapping becomes several, side by side: a piece gets another access or other advice, is mapped anew, unmapped, or moved;
 * something is written, there or near it; and in half of the cases it is taken back, where VMAs may be one again.
 */
static void add_patches(struct rng *r, struct program *pr, const struct features *f,
			const struct focus *at)
{
	static const uint8_t kinds[] = { OP_MPROTECT, OP_MPROTECT,  OP_MPROTECT, OP_MMAP,
					 OP_MUNMAP,   OP_MERGEABLE, OP_MREMAP,	 OP_MLOCK };

	for (unsigned n = 1 + below(r, 3); n; n--) {
		enum op_kind kind = (enum op_kind)kinds[below(r, sizeof(kinds))];
		struct op op = draw_op(r, allowed(kind, f) ? kind : OP_MPROTECT, f, at);
		struct op use = draw_op(r, OP_WRITE, f, at);

		op.p = use.p = at->p;
		draw_piece(r, at, &op);
		add(pr, op);
		if (below(r, 2))
			use.page = (uint8_t)(op.page + below(r, op.len));
		if (below(r, 3))
			add(pr, use);
		if (below(r, 2))
			add(pr, undo(op));
	}
}

static uint8_t draw_living(struct rng *r, unsigned living)
{
	uint8_t p = below(r, PROCS);

	while (!(living >> p & 1))
		p = (uint8_t)((p + 1) % PROCS);
	return p;
}

/* Somebody loses what came down to it: all at once, or a part of the focus. */
static struct op draw_loss(struct rng *r, const struct features *f, const struct focus *at)
{
	static const uint8_t kinds[] = { OP_EXIT, OP_EXIT,   OP_EXIT,	  OP_MUNMAP,  OP_MUNMAP,
					 OP_MMAP, OP_MREMAP, OP_DONTNEED, OP_TRUNCATE };
	enum op_kind kind = (enum op_kind)kinds[below(r, sizeof(kinds))];

	return draw_op(r, allowed(kind, f) ? kind : OP_MUNMAP, f, at);
}

/*
 * Generations: each process is forked by one before it, mostly by the youngest, writes, and one of its elders loses something. The
 * threads will be about one of those who are left.
 */
static void add_lineage(struct rng *r, struct program *pr, const struct features *f,
			struct focus *at)
{
	unsigned living = 1;
	uint8_t youngest = 0;

	for (unsigned n = 2 + below(r, 3); n && living != (1u << PROCS) - 1; n--) {
		uint8_t parent = below(r, 4) ? youngest : draw_living(r, living), child = 0;
		struct op op;

		while (living >> child & 1)
			child++;
		add(pr, (struct op){ OP_FORK, parent, 0, 1, child });
		if (below(r, 2)) {
			op = draw_op(r, OP_WRITE, f, at);
			op.p = below(r, 2) ? parent : child;
			add(pr, op);
		}
		if (below(r, 3)) {
			op = draw_loss(r, f, at);
			op.p = draw_living(r, living);
			add(pr, op);
			if (op.kind == OP_EXIT)
				living &= ~(1u << op.p);
		}
		living |= 1u << child;
		youngest = child;
	}
	at->p = draw_living(r, living);
}

/* Merging wants pages that are alike, and have been so a round ago: there are few of them by chance. */
static void add_alike(struct rng *r, struct program *pr, const struct features *f,
		      const struct focus *at)
{
	add(pr, (struct op){ OP_MERGEABLE, 0, at->page, at->len, 0 });
	add(pr, draw_op(r, OP_WRITE, f, at));
	add(pr, draw_op(r, OP_WRITE, f, at));
	add(pr, (struct op){ .kind = OP_KSM, .len = 1 });
}

/* Memory that is there, and somebody who shares it; or memory that nobody has touched yet. */
static void make_setup(struct rng *r, struct program *pr, const struct features *f,
		       struct focus *at)
{
	unsigned n = 2 + below(r, below(r, 2) ? 4 : 14);
	bool first = f->patches && below(r, 2);
	struct focus root = *at;

	add(pr, (struct op){ OP_MMAP, 0, at->page, at->len, ACCESS_RW << 1 });
	if (f->ksm && below(r, 4)) {
		add_alike(r, pr, f, at);
		n += 4;
	}
	if (f->files && below(r, 2))
		add(pr, (struct op){ OP_MAP_FILE, 0, 8, 4, below(r, 2) });
	if (first) {
		root.p = 0;
		add_patches(r, pr, f, &root);
	}
	if (below(r, 3))
		add(pr, draw_op(r, OP_WRITE, f, at));
	if (f->lineage)
		add_lineage(r, pr, f, at);
	else if (at->p || !below(r, 3))
		add(pr, (struct op){ OP_FORK, 0, 0, 1, 1 });
	if (f->patches && !first)
		add_patches(r, pr, f, at);
	while (pr->nr_setup < n && pr->nr_setup < MAX_SETUP) {
		struct op op = draw_op(r, draw_kind(r, f), f, at);

		if (op.kind == OP_EXIT && op.p == (f->lineage ? at->p : 0))
			continue;
		add(pr, op);
	}
}

/* ---- threads ------------------------------------------------------------------------------------------------ */

/* Who works on pages, from their side, and who takes away what they belong to: the first two threads, in half of the programs. */
static enum op_kind draw_first(struct rng *r, const struct features *f, unsigned thread)
{
	static const uint8_t from_pages[] = { OP_SHRINK, OP_COMPACT, OP_KSM, OP_SHRINK };
	static const uint8_t from_below[] = { OP_MUNMAP, OP_EXIT, OP_MMAP, OP_WRITE };
	const uint8_t *kinds = thread ? from_below : from_pages;
	unsigned i = below(r, 4);

	for (unsigned n = 0; n < 4; n++, i++) {
		if (allowed((enum op_kind)kinds[i % 4], f))
			return (enum op_kind)kinds[i % 4];
	}
	return draw_kind(r, f);
}

static void make_thread(struct rng *r, struct program *pr, unsigned t, const struct features *f,
			const struct focus *at, const struct settings *s)
{
	bool paired = t < 2 && pr->seed % 2;

	pr->nr_ops[t] = s->ops ? s->ops : (uint8_t)(1 + below(r, 3));
	for (unsigned i = 0; i < pr->nr_ops[t]; i++)
		pr->ops[t][i] =
			draw_op(r, paired && i == 0 ? draw_first(r, f, t) : draw_kind(r, f), f, at);
}

void program_make(struct program *pr, uint64_t seed, const struct settings *s)
{
	struct rng r = { seed };
	uint64_t bits = check_random(&r.state);
	const struct features f = { bits & 1,	 bits & 2,
				    bits & 4,	 bits & 8,
				    bits & 16,	 bits & 32,
				    bits & 192,	 (bits & 4) && (bits & 256),
				    bits & 2048, (bits & 192) && (bits & 4096) };
	struct focus at = draw_focus(&r);

	if (f.patches && at.len < 2)
		at.len = 2;
	*pr = (struct program){ .seed = seed, .frames = (uint8_t)(32 + below(&r, 40)) };
	pr->family = below(&r, 3) ? AVM_FAMILY_REUSE :
		     below(&r, 2) ? AVM_FAMILY_CHAIN :
				    AVM_FAMILY_FLAT;
	pr->disk = f.disk;
	pr->slots = f.swap ? (uint8_t)(8 + below(&r, 40)) : 0;
	pr->nr_threads = s->threads ? s->threads : (uint8_t)(2 + !below(&r, 3));
	make_setup(&r, pr, &f, &at);
	for (unsigned t = 0; t < pr->nr_threads; t++)
		make_thread(&r, pr, t, &f, &at, s);
}

unsigned program_size(const struct program *pr)
{
	unsigned n = pr->nr_setup;

	for (unsigned t = 0; t < pr->nr_threads; t++)
		n += pr->nr_ops[t];
	return n;
}
