/* SPDX-License-Identifier: MIT */
/*
 * diff_generate.c - the next operation: random, but drawn towards where boundaries are made and unmade. It looks at the core
 * only, so a seed gives the same program whatever the host.
 */
#include "diff.h"

/* splitmix64: the same everywhere. */
uint64_t diff_random(struct diff_rng *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t diff_below(struct diff_rng *r, uint64_t n)
{
	return diff_random(r) % n;
}

bool diff_one_in(struct diff_rng *r, uint64_t n)
{
	return !diff_below(r, n);
}

#define PICK(r, array) ((array)[diff_below((r), sizeof(array) / sizeof((array)[0]))])

/* ---- places -------------------------------------------------------------------------------------------------------- */

/* The VMAs of one process in the window. */
struct view {
	struct avm_mm *mm;
	const struct avm_vma *v[DIFF_MAX_VMAS];
	unsigned n;
};

static void look(struct view *w, struct avm_mm *mm)
{
	w->mm = mm;
	w->n = 0;
	for (struct avm_vma *v = avm_find_vma(mm, DIFF_START);
	     v && v->start < DIFF_END && w->n < DIFF_MAX_VMAS; v = avm_next_vma(mm, v))
		w->v[w->n++] = v;
}

static const struct avm_vma *any_vma(struct diff_rng *r, const struct view *w)
{
	return w->n ? w->v[diff_below(r, w->n)] : NULL;
}

static const struct avm_vma *vma_at(const struct view *w, uint64_t addr)
{
	const struct avm_vma *v = avm_find_vma(w->mm, addr);

	return v && v->start <= addr ? v : NULL;
}

static uint64_t clamp(uint64_t addr)
{
	if (addr < DIFF_START)
		return DIFF_START;
	return addr >= DIFF_END ? DIFF_END - DIFF_PAGE : addr;
}

/* Small numbers mostly, seldom large ones. */
static uint64_t few(struct diff_rng *r, uint64_t most)
{
	return 1 + diff_below(r, diff_one_in(r, 4) ? most : (most + 5) / 6);
}

/* Most of a program happens in a part of the window, around the border of two page tables. */
static uint64_t any_page(struct diff_rng *r)
{
	if (diff_one_in(r, 4))
		return DIFF_START + diff_below(r, DIFF_PAGES) * DIFF_PAGE;
	return DIFF_START + (226 + diff_below(r, 60)) * DIFF_PAGE;
}

static uint64_t page_in(struct diff_rng *r, const struct avm_vma *v)
{
	return v->start + diff_below(r, (v->end - v->start) / DIFF_PAGE) * DIFF_PAGE;
}

/* A page: any; the first, the last, one inside, or one beside a VMA. */
static uint64_t place(struct diff_rng *r, const struct view *w)
{
	const struct avm_vma *v = any_vma(r, w);

	if (!v || diff_one_in(r, 6))
		return any_page(r);
	switch (diff_below(r, 8)) {
	case 0:
	case 1:
		return clamp(v->start);
	case 2:
		return clamp(v->end - DIFF_PAGE);
	case 3:
		return clamp(v->end);
	case 4:
		return clamp(v->start - few(r, 6) * DIFF_PAGE);
	default:
		return clamp(page_in(r, v));
	}
}

/* A page inside a VMA, if there is one. */
static uint64_t mapped(struct diff_rng *r, const struct view *w)
{
	const struct avm_vma *v = any_vma(r, w);

	return !v || diff_one_in(r, 20) ? place(r, w) : clamp(page_in(r, v));
}

/* A length from addr: to a border, over a border, or any. */
static uint64_t length(struct diff_rng *r, const struct view *w, uint64_t addr, uint64_t most)
{
	const struct avm_vma *v = avm_find_vma(w->mm, addr), *next = NULL;
	uint64_t len = few(r, most) * DIFF_PAGE;

	if (v && v->start <= addr && diff_one_in(r, 3))
		len = v->end - addr;
	else if (v && v->start > addr && diff_one_in(r, 3))
		len = v->start - addr;
	else if (v && v->start <= addr && diff_one_in(r, 6))
		next = avm_find_vma(w->mm, v->end);
	if (next)
		len = next->end - addr;
	if (len > most * 2 * DIFF_PAGE)
		len = most * DIFF_PAGE;
	return len > DIFF_END - addr ? DIFF_END - addr : len;
}

/* Where the memory that is mapped without a hole from addr on ends. */
static uint64_t next_hole(const struct view *w, uint64_t addr)
{
	const struct avm_vma *v;

	while (addr < DIFF_END && (v = vma_at(w, addr)))
		addr = v->end;
	return addr;
}

/* A range to work on, seldom one with holes. */
static void range(struct diff_rng *r, const struct view *w, struct diff_op *op)
{
	uint64_t hole;

	op->addr = place(r, w);
	if (!vma_at(w, op->addr) && !diff_one_in(r, 4))
		op->addr = mapped(r, w);
	op->len = length(r, w, op->addr, 24);
	hole = next_hole(w, op->addr);
	if (hole > op->addr && hole - op->addr < op->len && !diff_one_in(r, 4))
		op->len = hole - op->addr;
	if (diff_one_in(r, 60))
		op->len -= 1 + diff_below(r, DIFF_PAGE - 1); /* rounded up */
}

/* ---- operations ----------------------------------------------------------------------------------------------------- */

static const uint32_t prots[] = {
	AVM_PROT_READ | AVM_PROT_WRITE,
	AVM_PROT_READ | AVM_PROT_WRITE,
	AVM_PROT_READ | AVM_PROT_WRITE,
	AVM_PROT_READ,
	AVM_PROT_READ,
	AVM_PROT_NONE,
	AVM_PROT_READ | AVM_PROT_EXEC,
	AVM_PROT_WRITE,
	AVM_PROT_EXEC,
	AVM_PROT_ALL,
};

/* A page of the file: any, or one that continues a neighbour. */
static void choose_file(struct diff_rng *r, const struct view *w, struct diff_op *op)
{
	const struct avm_vma *v = avm_find_vma(w->mm, op->addr + op->len);
	const struct avm_vma *before = vma_at(w, op->addr - DIFF_PAGE);

	op->file = (uint8_t)(1 + diff_below(r, DIFF_FILES));
	op->to = diff_below(r, DIFF_FILE_PAGES + 8);
	op->read_only = diff_one_in(r, 4);
	if (v && v->file && v->start == op->addr + op->len && v->pgoff >= op->len / DIFF_PAGE)
		op->to = v->pgoff - op->len / DIFF_PAGE;
	if (before && before->file && before->end == op->addr && diff_one_in(r, 2))
		op->to = before->pgoff + (before->end - before->start) / DIFF_PAGE;
}

static void make_mmap(struct diff_rng *r, const struct view *w, struct diff_op *op)
{
	op->addr = place(r, w);
	op->len = length(r, w, op->addr, 16);
	op->prot = diff_one_in(r, 2) ? AVM_PROT_READ | AVM_PROT_WRITE : PICK(r, prots);
	op->flags = diff_one_in(r, 5) ? AVM_MAP_SHARED : AVM_MAP_PRIVATE;
	if (diff_one_in(r, 3)) {
		choose_file(r, w, op);
	} else {
		op->flags |= AVM_MAP_ANONYMOUS;
		if (diff_one_in(r, 14))
			op->flags |= AVM_MAP_GROWSDOWN;
	}
	if (!diff_one_in(r, 5))
		op->flags |= diff_one_in(r, 3) ? AVM_MAP_FIXED_NOREPLACE : AVM_MAP_FIXED;
	if (diff_one_in(r, 25))
		op->flags |= AVM_MAP_NORESERVE;
	if (diff_one_in(r, 12))
		op->flags |= AVM_MAP_POPULATE;
	if (diff_one_in(r, 60))
		op->flags |= AVM_MAP_STACK;
	if (diff_one_in(r, 60))
		op->flags = (op->flags & ~(uint32_t)AVM_MAP_FIXED_NOREPLACE) |
			    AVM_MAP_SHARED_VALIDATE;
	if (diff_one_in(r, 30))
		op->flags |= AVM_MAP_LOCKED;
	if (diff_one_in(r, 80))
		op->len = 0;
	if (diff_one_in(r, 80) && op->flags & AVM_MAP_FIXED)
		op->addr += 8; /* refused */
}

static void make_mremap(struct diff_rng *r, const struct view *w, struct diff_op *op)
{
	const struct avm_vma *v = any_vma(r, w);

	op->addr = v && diff_one_in(r, 2) ? clamp(v->start) : mapped(r, w);
	op->len = length(r, w, op->addr, 16);
	op->new_len = op->len;
	if (!diff_one_in(r, 3))
		op->new_len = few(r, 24) * DIFF_PAGE;
	op->flags = diff_one_in(r, 5) ? 0 : AVM_MREMAP_MAYMOVE;
	if (diff_one_in(r, 2)) {
		op->flags |= AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED;
		op->to = place(r, w);
		/* Back to where it would be in line: R1.2. */
		v = vma_at(w, op->addr);
		if (v && v->anon_vma && !v->file && diff_one_in(r, 2))
			op->to = clamp((v->pgoff * DIFF_PAGE + op->addr - v->start));
	}
	if (diff_one_in(r, 5)) {
		op->flags |= AVM_MREMAP_MAYMOVE | AVM_MREMAP_DONTUNMAP;
		op->new_len = op->len;
	}
	if (diff_one_in(r, 12))
		op->len = 0;
	if (op->flags & AVM_MREMAP_FIXED && op->new_len > DIFF_END - op->to)
		op->new_len = DIFF_END - op->to;
	if (op->new_len > DIFF_END - op->addr)
		op->new_len = DIFF_END - op->addr;
	if (diff_one_in(r, 60))
		op->new_len = 0;
}

static void make_madvise(struct diff_rng *r, const struct view *w, struct diff_op *op)
{
	static const enum avm_advice advice[] = {
		AVM_MADV_NORMAL,	 AVM_MADV_RANDOM,      AVM_MADV_SEQUENTIAL,
		AVM_MADV_WILLNEED,	 AVM_MADV_DONTNEED,    AVM_MADV_DONTNEED,
		AVM_MADV_DONTNEED,	 AVM_MADV_FREE,	       AVM_MADV_REMOVE,
		AVM_MADV_DONTFORK,	 AVM_MADV_DOFORK,      AVM_MADV_DOFORK,
		AVM_MADV_MERGEABLE,	 AVM_MADV_UNMERGEABLE, AVM_MADV_HUGEPAGE,
		AVM_MADV_NOHUGEPAGE,	 AVM_MADV_DONTDUMP,    AVM_MADV_DODUMP,
		AVM_MADV_WIPEONFORK,	 AVM_MADV_KEEPONFORK,  AVM_MADV_KEEPONFORK,
		AVM_MADV_COLD,		 AVM_MADV_PAGEOUT,     AVM_MADV_POPULATE_READ,
		AVM_MADV_POPULATE_WRITE,
	};

	range(r, w, op);
	op->flags = (uint32_t)PICK(r, advice);
	if (diff_one_in(r, 200))
		op->flags = 99;
}

static void make_lock(struct diff_rng *r, const struct view *w, struct diff_op *op)
{
	static const uint32_t all[] = { AVM_MCL_CURRENT, AVM_MCL_FUTURE,
					AVM_MCL_CURRENT | AVM_MCL_FUTURE,
					AVM_MCL_CURRENT | AVM_MCL_ONFAULT, AVM_MCL_ONFAULT };

	range(r, w, op);
	op->flags = op->kind == DIFF_MLOCKALL ? PICK(r, all) :
		    op->kind == DIFF_MLOCK    ? diff_one_in(r, 4) :
						0;
}

static void make_access(struct diff_rng *r, const struct view *w, struct diff_op *op)
{
	const struct avm_vma *v;

	op->addr = mapped(r, w);
	for (int i = 0; i < 3 && op->kind == DIFF_WRITE; i++) {
		v = vma_at(w, op->addr);
		if (v && v->flags & AVM_VM_WRITE)
			break;
		op->addr = mapped(r, w);
	}
	v = any_vma(r, w);
	if (v && v->flags & AVM_VM_GROWSDOWN && diff_one_in(r, 2))
		op->addr = clamp(v->start - few(r, 8) * DIFF_PAGE);
	op->len = 8;
	op->value = diff_random(r);
}

static void make_msync(struct diff_rng *r, const struct view *w, struct diff_op *op)
{
	static const uint32_t flags[] = { AVM_MS_SYNC, AVM_MS_SYNC, AVM_MS_ASYNC,
					  AVM_MS_SYNC | AVM_MS_INVALIDATE,
					  AVM_MS_SYNC | AVM_MS_ASYNC };

	range(r, w, op);
	op->flags = PICK(r, flags);
}

static void make_file_op(struct diff_rng *r, struct diff_op *op)
{
	op->file = (uint8_t)(1 + diff_below(r, DIFF_FILES));
	op->addr = diff_below(r, DIFF_FILE_PAGES) * DIFF_PAGE;
	op->len = few(r, 12) * DIFF_PAGE;
	if (op->kind == DIFF_TRUNCATE)
		op->len = (8 + diff_below(r, DIFF_FILE_PAGES)) * DIFF_PAGE;
}

static unsigned live(const struct diff_core *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < DIFF_PROCS; i++)
		n += c->procs[i] != NULL;
	return n;
}

static void make_fork(struct diff_rng *r, const struct diff_core *c, uint32_t nr_procs,
		      struct diff_op *op)
{
	for (unsigned i = 0; i < 2 * DIFF_PROCS; i++) {
		op->q = (uint8_t)diff_below(r, nr_procs);
		if (!c->procs[op->q])
			return;
	}
	/* No room: somebody goes. Relays of forks are what makes chains long. */
	op->kind = DIFF_EXIT;
	op->p = op->q;
}

/* ---- what next -------------------------------------------------------------------------------------------------------- */

static const uint16_t weights[DIFF_NR_KINDS] = {
	[DIFF_MMAP] = 130,     [DIFF_MUNMAP] = 60,  [DIFF_MPROTECT] = 130, [DIFF_MREMAP] = 90,
	[DIFF_MADVISE] = 100,  [DIFF_MLOCK] = 14,   [DIFF_MUNLOCK] = 14,   [DIFF_MLOCKALL] = 1,
	[DIFF_MUNLOCKALL] = 2, [DIFF_MSYNC] = 6,    [DIFF_MINCORE] = 10,   [DIFF_BRK] = 25,
	[DIFF_READ] = 120,     [DIFF_WRITE] = 260,  [DIFF_PEEK] = 10,	   [DIFF_POKE] = 12,
	[DIFF_NAME] = 12,      [DIFF_POLICY] = 12,  [DIFF_FORK] = 10,	   [DIFF_EXIT] = 6,
	[DIFF_EXEC] = 1,       [DIFF_TRUNCATE] = 3, [DIFF_PUNCH] = 3,
};

static enum diff_kind draw_kind(struct diff_rng *r)
{
	unsigned total = 0;
	uint64_t at;

	for (unsigned i = 0; i < DIFF_NR_KINDS; i++)
		total += weights[i];
	at = diff_below(r, total);
	for (unsigned i = 0; i < DIFF_NR_KINDS; i++) {
		if (at < weights[i])
			return (enum diff_kind)i;
		at -= weights[i];
	}
	return DIFF_READ;
}

static bool wanted(const struct diff_can *can, const struct diff_program *pr, enum diff_kind kind)
{
	switch (kind) {
	case DIFF_FORK:
	case DIFF_EXIT:
	case DIFF_EXEC:
		return !pr->no_fork;
	case DIFF_BRK:
		return can->heap;
	case DIFF_PEEK:
	case DIFF_POKE:
		return can->force;
	case DIFF_MLOCKALL:
		return can->lock_all;
	case DIFF_NAME:
		return can->names;
	case DIFF_POLICY:
		return can->policies;
	default:
		return true;
	}
}

/* A program stays with one process for a while: a change of process costs the host two switches. */
static void draw_proc(struct diff_rng *r, const struct diff_core *c, unsigned *proc)
{
	unsigned first = *proc;

	if (diff_one_in(r, 12))
		first = (unsigned)diff_below(r, DIFF_PROCS);
	for (unsigned i = 0; i < DIFF_PROCS; i++) {
		*proc = (first + i) % DIFF_PROCS;
		if (c->procs[*proc])
			return;
	}
}

static void make(struct diff_rng *r, const struct view *w, struct diff_op *op)
{
	switch ((enum diff_kind)op->kind) {
	case DIFF_MMAP:
		make_mmap(r, w, op);
		break;
	case DIFF_MREMAP:
		make_mremap(r, w, op);
		break;
	case DIFF_MADVISE:
		make_madvise(r, w, op);
		break;
	case DIFF_MLOCK:
	case DIFF_MUNLOCK:
	case DIFF_MLOCKALL:
		make_lock(r, w, op);
		break;
	case DIFF_READ:
	case DIFF_WRITE:
	case DIFF_PEEK:
	case DIFF_POKE:
		make_access(r, w, op);
		break;
	case DIFF_MSYNC:
		make_msync(r, w, op);
		break;
	case DIFF_BRK:
		op->addr = diff_one_in(r, 20) ? 0 : DIFF_HEAP + diff_below(r, 24 * DIFF_PAGE);
		break;
	case DIFF_TRUNCATE:
	case DIFF_PUNCH:
		make_file_op(r, op);
		break;
	case DIFF_MPROTECT:
		range(r, w, op);
		op->prot = PICK(r, prots);
		if (diff_one_in(r, 25))
			op->prot |= AVM_PROT_GROWSDOWN;
		break;
	case DIFF_NAME:
	case DIFF_POLICY:
		range(r, w, op);
		op->flags = (uint32_t)diff_below(r, 3);
		break;
	default:
		range(r, w, op);
		break;
	}
}

void diff_generate(struct diff_rng *r, struct diff_core *c, const struct diff_program *pr,
		   unsigned *proc, struct diff_op *op)
{
	struct view w;

	draw_proc(r, c, proc);
	do
		*op = (struct diff_op){ .kind = (uint8_t)draw_kind(r), .p = (uint8_t)*proc };
	while (!wanted(c->can, pr, (enum diff_kind)op->kind));
	if (op->kind == DIFF_EXIT && live(c) == 1)
		op->kind = DIFF_FORK;
	if (op->kind == DIFF_FORK) {
		make_fork(r, c, pr->nr_procs, op);
		if (op->kind == DIFF_EXIT && live(c) == 1)
			op->kind = DIFF_EXEC;
		return;
	}
	if (op->kind == DIFF_EXIT || op->kind == DIFF_EXEC)
		return;
	look(&w, sim_mm(c->procs[*proc]));
	make(r, &w, op);
}
