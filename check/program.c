/* SPDX-License-Identifier: MIT */
/*
 * program.c - making and printing programs.
 */
#include "program.h"

#include <string.h>

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
	[OP_MMAP] = 8,	    [OP_MAP_FILE] = 5, [OP_MUNMAP] = 10,  [OP_MPROTECT] = 8,
	[OP_MREMAP] = 8,    [OP_DONTNEED] = 6, [OP_FREE] = 3,	  [OP_PAGEOUT] = 8,
	[OP_MERGEABLE] = 3, [OP_MLOCK] = 3,    [OP_MUNLOCK] = 2,  [OP_READ] = 12,
	[OP_WRITE] = 24,    [OP_FORK] = 10,    [OP_EXIT] = 10,	  [OP_SHRINK] = 14,
	[OP_KSM] = 8,	    [OP_COMPACT] = 8,  [OP_TRUNCATE] = 5, [OP_SWAPOFF] = 2,
	[OP_SYNC] = 8,
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

static struct op draw_op(struct rng *r, enum op_kind kind, const struct focus *at)
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

/* Memory that is there, and somebody who shares it; or memory that nobody has touched yet. */
static void make_setup(struct rng *r, struct program *pr, const struct features *f,
		       const struct focus *at)
{
	unsigned n = 2 + below(r, below(r, 2) ? 4 : MAX_SETUP - 2);

	pr->setup[0] = (struct op){ OP_MMAP, 0, at->page, at->len, 0 };
	pr->nr_setup = 1;
	if (f->ksm && below(r, 4)) {
		/* Merging wants pages that are alike, and have been so a round ago: there are few of them by chance. */
		pr->setup[pr->nr_setup++] = (struct op){ OP_MERGEABLE, 0, at->page, at->len, 0 };
		pr->setup[pr->nr_setup++] = draw_op(r, OP_WRITE, at);
		pr->setup[pr->nr_setup++] = draw_op(r, OP_WRITE, at);
		pr->setup[pr->nr_setup++] = (struct op){ .kind = OP_KSM, .len = 1 };
		n += 4;
	}
	if (f->files && below(r, 2))
		pr->setup[pr->nr_setup++] = (struct op){ OP_MAP_FILE, 0, 8, 4, below(r, 2) };
	if (below(r, 3))
		pr->setup[pr->nr_setup++] = draw_op(r, OP_WRITE, at);
	if (at->p || !below(r, 3))
		pr->setup[pr->nr_setup++] = (struct op){ OP_FORK, 0, 0, 1, 1 };
	while (pr->nr_setup < n && pr->nr_setup < MAX_SETUP) {
		struct op op = draw_op(r, draw_kind(r, f), at);

		if (op.kind == OP_EXIT && !op.p)
			continue;
		pr->setup[pr->nr_setup++] = op;
	}
}

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
			draw_op(r, paired && i == 0 ? draw_first(r, f, t) : draw_kind(r, f), at);
}

void program_make(struct program *pr, uint64_t seed, const struct settings *s)
{
	struct rng r = { seed };
	uint64_t bits = check_random(&r.state);
	const struct features f = { bits & 1,  bits & 2,  bits & 4,   bits & 8,
				    bits & 16, bits & 32, bits & 192, (bits & 4) && (bits & 256) };
	const struct focus at = draw_focus(&r);

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

/* ---- printing ---------------------------------------------------------------------------------------------- */

static const char *const names[NR_OP_KINDS] = {
	[OP_MMAP] = "mmap",	    [OP_MAP_FILE] = "map-file", [OP_MUNMAP] = "munmap",
	[OP_MPROTECT] = "mprotect", [OP_MREMAP] = "mremap",	[OP_DONTNEED] = "dontneed",
	[OP_FREE] = "free",	    [OP_PAGEOUT] = "pageout",	[OP_MERGEABLE] = "mergeable",
	[OP_MLOCK] = "mlock",	    [OP_MUNLOCK] = "munlock",	[OP_READ] = "read",
	[OP_WRITE] = "write",	    [OP_FORK] = "fork",		[OP_EXIT] = "exit",
	[OP_SHRINK] = "reclaim",    [OP_KSM] = "ksm",		[OP_COMPACT] = "compact",
	[OP_TRUNCATE] = "truncate", [OP_SWAPOFF] = "swapoff",	[OP_SYNC] = "sync",
	[OP_PROCESS] = "process",
};

void op_print(const struct op *op, FILE *out)
{
	char p = (char)('A' + op->p);

	switch ((enum op_kind)op->kind) {
	case OP_MMAP:
	case OP_MAP_FILE:
		fprintf(out, "%c: %s %u %u %s", p, names[op->kind], op->page, op->len,
			op->arg & 1 ? "shared" : "private");
		if (op->arg > 1)
			fprintf(out, " %u", op->arg / 2u);
		break;
	case OP_MPROTECT:
		fprintf(out, "%c: mprotect %u %u %s", p, op->page, op->len, op->arg ? "rw" : "r");
		break;
	case OP_MREMAP:
		fprintf(out, "%c: mremap %u %u to %u", p, op->page, op->len, op->arg);
		break;
	case OP_READ:
	case OP_WRITE:
		fprintf(out, "%c: %s %u", p, names[op->kind], op->page);
		break;
	case OP_FORK:
		fprintf(out, "fork %c %c", p, 'A' + op->arg);
		break;
	case OP_EXIT:
		fprintf(out, "exit %c", p);
		break;
	case OP_PROCESS:
		fprintf(out, "process %c", 'A' + op->arg);
		break;
	case OP_SHRINK:
	case OP_TRUNCATE:
		fprintf(out, "%s %u", names[op->kind], op->arg);
		break;
	case OP_COMPACT:
		fprintf(out, "compact %u", op->page);
		break;
	case OP_KSM:
	case OP_SWAPOFF:
	case OP_SYNC:
		fprintf(out, "%s", names[op->kind]);
		break;
	default:
		fprintf(out, "%c: %s %u %u", p, names[op->kind], op->page, op->len);
		break;
	}
}

void program_print(const struct program *pr, FILE *out)
{
	static const char *const families[] = { "reuse", "chain", "flat" };

	fprintf(out, "machine frames %u slots %u %s%s\n", pr->frames, pr->slots,
		families[pr->family % 3], pr->disk ? " disk" : "");
	for (unsigned i = 0; i < pr->nr_setup; i++) {
		fprintf(out, "  ");
		op_print(&pr->setup[i], out);
		fprintf(out, "\n");
	}
	for (unsigned t = 0; t < pr->nr_threads; t++) {
		fprintf(out, "thread T%u\n", t);
		for (unsigned i = 0; i < pr->nr_ops[t]; i++) {
			fprintf(out, "  ");
			op_print(&pr->ops[t][i], out);
			fprintf(out, "\n");
		}
	}
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

static bool parse_word(const char *word, struct op *op)
{
	for (unsigned i = 0; i < NR_OP_KINDS; i++) {
		if (!strcmp(word, names[i])) {
			op->kind = (uint8_t)i;
			return true;
		}
	}
	return false;
}

/* "A: WORD PAGE LEN MORE" */
static bool parse_memory(const char *text, struct op *op)
{
	unsigned page = 0, len = 1, to = 0;
	char p, word[16], more[16] = "";
	int n = sscanf(text, " %c: %15s %u %u %15s %u", &p, word, &page, &len, more, &to);

	if (n < 3 || p < 'A' || p >= (char)('A' + PROCS) || !parse_word(word, op) ||
	    page >= PAGES || !len || len > PAGES - page || to >= PAGES)
		return false;
	op->p = (uint8_t)(p - 'A');
	op->page = (uint8_t)page;
	op->len = (uint8_t)len;
	op->arg = !strcmp(more, "shared") || !strcmp(more, "rw");
	if (op->kind == OP_MREMAP)
		op->arg = (uint8_t)to;
	else if (op->kind == OP_MAP_FILE)
		op->arg |= (uint8_t)(to << 1);
	return true;
}

bool op_parse(const char *text, struct op *op)
{
	char word[16], a = 0, b = 0;
	unsigned n = 0;

	*op = (struct op){ .len = 1 };
	if (parse_memory(text, op))
		return true;
	if (sscanf(text, " fork %c %c", &a, &b) == 2 && a >= 'A' && a < (char)('A' + PROCS) &&
	    b >= 'A' && b < (char)('A' + PROCS)) {
		op->kind = OP_FORK;
		op->p = (uint8_t)(a - 'A');
		op->arg = (uint8_t)(b - 'A');
		return true;
	}
	if (sscanf(text, " process %c", &a) == 1 && a >= 'A' && a < (char)('A' + PROCS)) {
		op->kind = OP_PROCESS;
		op->arg = (uint8_t)(a - 'A');
		return true;
	}
	if (sscanf(text, " exit %c", &a) == 1 && a >= 'A' && a < (char)('A' + PROCS)) {
		op->kind = OP_EXIT;
		op->p = (uint8_t)(a - 'A');
		return true;
	}
	if (sscanf(text, " %15s %u", word, &n) < 1 || !parse_word(word, op) ||
	    op->kind < OP_SHRINK || n > 200)
		return false;
	if (op->kind == OP_COMPACT)
		op->page = (uint8_t)(n % PAGES);
	else
		op->arg = (uint8_t)n;
	return true;
}
