/* SPDX-License-Identifier: MIT */
/*
 * generate.c - random operations, drawn towards where things go wrong: the borders of VMAs, ranges that just touch or
 * overlap, places that were moved from, deep forks.
 */
#include "program.h"

/* splitmix64: the same on every host. */
uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* As few bytes as will do: to change one is to change one choice. */
static uint64_t take_bytes(struct rng *r, uint64_t n)
{
	uint64_t v = 0;

	for (uint64_t most = 1; most < n && r->bytes < r->end; most <<= 8)
		v = v << 8 | *r->bytes++;
	return v % n;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	return r->bytes ? take_bytes(r, n) : rng_next(r) % n;
}

/* What is seldom does not happen where bytes are zero, or at an end. */
bool rng_one_in(struct rng *r, uint64_t n)
{
	return rng_below(r, n) == (r->bytes ? n - 1 : 0);
}

#define PICK(r, array) ((array)[rng_below((r), sizeof(array) / sizeof((array)[0]))])

/* ---- configurations ------------------------------------------------------------------------------------ */

avm_addr_t window_start;

void program_draw(struct program *pr, struct rng *r, enum program_kind kind)
{
	static const enum avm_family_policy families[] = { AVM_FAMILY_REUSE, AVM_FAMILY_CHAIN,
							   AVM_FAMILY_FLAT, AVM_FAMILY_REUSE };
	static const uint32_t guards[] = { 1, 4, 16, 0 };

	/* Never short: every page of each window, the files and the tables have room. */
	*pr = (struct program){ .seed = r->state, .frames = 4096, .nr_procs = NR_PROCS };
	window_start = (avm_addr_t)0x40000000 - 200 * PAGE;
	pr->core.family = PICK(r, families);
	pr->contents = rng_one_in(r, 2) ? SIM_BYTES : SIM_STAMPS;
	pr->core.stack_guard = PICK(r, guards);
	pr->core.no_stack_guard = !pr->core.stack_guard;
	pr->core.fault_around = rng_one_in(r, 3) ? 1 : 16;
	if (rng_one_in(r, 3)) {
		pr->core.commit = AVM_COMMIT_STRICT;
		pr->core.commit_reserve = pr->frames - 300 - rng_below(r, 1200);
	}
	if (rng_one_in(r, 6))
		pr->core.max_map_count = 12 + (uint32_t)rng_below(r, 30);
	pr->limits = (struct avm_limits){ AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT };
	if (rng_one_in(r, 6))
		pr->limits.address_space = (60 + rng_below(r, 200)) * PAGE;
	if (rng_one_in(r, 6))
		pr->limits.data = (40 + rng_below(r, 150)) * PAGE;
	if (rng_one_in(r, 3))
		pr->limits.stack = (5 + rng_below(r, 40)) * PAGE;
	if (rng_one_in(r, 4))
		pr->limits.locked = rng_below(r, 60) * PAGE;
	if (kind == PROGRAM_PRESSURE)
		draw_pressure(r, pr);
}

void program_init(struct program *pr, uint64_t seed, enum program_kind kind)
{
	struct rng r = { .state = seed };

	rng_next(&r);
	program_draw(pr, &r, kind);
	pr->seed = seed;
}

/* ---- places ---------------------------------------------------------------------------------------------- */

/* Small numbers mostly, seldom large ones. */
static uint64_t few(struct rng *r, uint64_t most)
{
	return 1 + rng_below(r, rng_one_in(r, 4) ? most : (most + 5) / 6);
}

static avm_addr_t any_page(struct rng *r)
{
	/* Most of a program happens in a part of the window, around the border of two tables. */
	if (rng_one_in(r, 3))
		return WINDOW_START + rng_below(r, WINDOW_PAGES) * PAGE;
	return WINDOW_START + (170 + rng_below(r, 60)) * PAGE;
}

static avm_addr_t clamp(avm_addr_t addr)
{
	if (addr < WINDOW_START)
		return WINDOW_START;
	return addr >= WINDOW_END ? WINDOW_END - PAGE : addr;
}

static const struct bounds_vma *any_vma(struct rng *r, const struct bounds_mm *mm)
{
	return mm && mm->n ? &mm->v[rng_below(r, mm->n)] : NULL;
}

/* A page: any; the first, the last, one inside, or one beside a VMA. */
static avm_addr_t place(struct rng *r, const struct bounds_mm *mm)
{
	const struct bounds_vma *v = any_vma(r, mm);

	if (!v || rng_one_in(r, 6))
		return any_page(r);
	switch (rng_below(r, 8)) {
	case 0:
	case 1:
		return v->start;
	case 2:
		return clamp(v->end - PAGE);
	case 3:
		return clamp(v->end);
	case 4:
		return clamp(v->start - few(r, 6) * PAGE);
	default:
		return v->start + rng_below(r, (v->end - v->start) / PAGE) * PAGE;
	}
}

/* A page inside a VMA, if there is one. */
static avm_addr_t mapped(struct rng *r, const struct bounds_mm *mm)
{
	const struct bounds_vma *v = any_vma(r, mm);

	if (!v || rng_one_in(r, 20))
		return place(r, mm);
	return v->start + rng_below(r, (v->end - v->start) / PAGE) * PAGE;
}

/* A length from addr: to a border, over a border, or any. */
static uint64_t length(struct rng *r, const struct bounds_mm *mm, avm_addr_t addr, uint64_t most)
{
	const struct bounds_vma *v = mm ? bounds_above(mm, addr) : NULL;
	uint64_t len = few(r, most) * PAGE;

	if (v && v->start <= addr && rng_one_in(r, 3))
		len = v->end - addr;
	else if (v && v->start > addr && rng_one_in(r, 3))
		len = v->start - addr;
	else if (v && v->start <= addr && v + 1 < mm->v + mm->n && rng_one_in(r, 6))
		len = v[1].end - addr;
	if (len > most * 2 * PAGE)
		len = most * PAGE;
	return len > WINDOW_END - addr ? WINDOW_END - addr : len;
}

/* Where the memory that is mapped without a hole from addr on ends. */
static avm_addr_t next_hole(const struct bounds_mm *mm, avm_addr_t addr)
{
	for (size_t i = bounds_index(mm, addr); i < mm->n && mm->v[i].start <= addr; i++)
		addr = mm->v[i].end;
	return addr;
}

/* A range to work on, seldom one with holes. */
static void range(struct rng *r, const struct bounds_mm *mm, struct op *op)
{
	avm_addr_t hole;

	op->addr = place(r, mm);
	if (!bounds_at(mm, op->addr) && !rng_one_in(r, 4))
		op->addr = mapped(r, mm);
	op->len = length(r, mm, op->addr, 24);
	hole = next_hole(mm, op->addr);
	if (hole > op->addr && hole - op->addr < op->len && !rng_one_in(r, 4))
		op->len = hole - op->addr;
	if (rng_one_in(r, 60))
		op->len -= 1 + rng_below(r, PAGE - 1); /* rounded up */
}

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

/* ---- operations -------------------------------------------------------------------------------------------- */

static void make_mmap(struct rng *r, const struct bounds_mm *mm, struct op *op)
{
	op->addr = place(r, mm);
	op->len = length(r, mm, op->addr, 16);
	op->prot = rng_one_in(r, 2) ? AVM_PROT_READ | AVM_PROT_WRITE : PICK(r, prots);
	op->flags = rng_one_in(r, 5) ? AVM_MAP_SHARED : AVM_MAP_PRIVATE;
	if (rng_one_in(r, 3)) {
		const struct bounds_vma *v = bounds_above(mm, op->addr);

		op->file = (uint8_t)(1 + rng_below(r, NR_FILES));
		op->to = rng_below(r, 40);
		if (v && v->start == op->addr + op->len && v->pgoff >= op->len / PAGE)
			op->to = v->pgoff - op->len / PAGE; /* in line */
		if (v > mm->v && v[-1].end == op->addr && v[-1].file && rng_one_in(r, 2))
			op->to = bounds_pgoff(&v[-1], v[-1].end);
		if (rng_one_in(r, 4))
			op->mode = AVM_PROT_READ;
	} else {
		op->flags |= AVM_MAP_ANONYMOUS;
		if (rng_one_in(r, 12))
			op->flags |= AVM_MAP_GROWSDOWN;
	}
	if (!rng_one_in(r, 4))
		op->flags |= rng_one_in(r, 3) ? AVM_MAP_FIXED_NOREPLACE : AVM_MAP_FIXED;
	else if (rng_one_in(r, 2))
		op->addr = 0;
	if (rng_one_in(r, 25))
		op->flags |= AVM_MAP_NORESERVE;
	if (rng_one_in(r, 12))
		op->flags |= AVM_MAP_POPULATE;
	if (rng_one_in(r, 60))
		op->flags |= AVM_MAP_STACK;
	if (rng_one_in(r, 60))
		op->flags |= AVM_MAP_SHARED_VALIDATE;
	if (rng_one_in(r, 30))
		op->flags |= AVM_MAP_LOCKED;
	if (rng_one_in(r, 30))
		op->mode |= 1 << 8; /* policy */
	if (rng_one_in(r, 80))
		op->len = 0;
	if (rng_one_in(r, 80))
		op->addr += 8;
}

static void make_mremap(struct rng *r, const struct bounds_mm *mm, struct op *op)
{
	const struct bounds_vma *v = any_vma(r, mm);

	op->addr = mapped(r, mm);
	if (v && rng_one_in(r, 2))
		op->addr = v->start;
	op->len = length(r, mm, op->addr, 16);
	op->new_len = op->len;
	if (!rng_one_in(r, 3))
		op->new_len = few(r, 24) * PAGE;
	op->flags = rng_one_in(r, 5) ? 0 : AVM_MREMAP_MAYMOVE;
	if (rng_one_in(r, 2)) {
		op->flags |= AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED;
		op->to = place(r, mm);
		/* Back to where it would be in line: R1.2. */
		v = bounds_at(mm, op->addr);
		if (v && v->own && !v->file && rng_one_in(r, 2))
			op->to = clamp(bounds_pgoff(v, op->addr) * PAGE);
		if (op->to + op->new_len > WINDOW_END)
			op->new_len = WINDOW_END - op->to;
	}
	if (rng_one_in(r, 5)) {
		op->flags |= AVM_MREMAP_MAYMOVE | AVM_MREMAP_DONTUNMAP;
		op->new_len = op->len;
	}
	if (rng_one_in(r, 12))
		op->len = 0;
}

static void make_madvise(struct rng *r, const struct world *w, const struct bounds_mm *mm,
			 struct op *op)
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

	range(r, mm, op);
	op->flags = (uint32_t)PICK(r, advice);
	if (w->program->pressure && rng_one_in(r, 2))
		op->flags = advice_under_pressure(r);
	if (rng_one_in(r, 100))
		op->flags = 99;
}

static void make_lock(struct rng *r, const struct bounds_mm *mm, struct op *op)
{
	static const uint32_t all[] = { AVM_MCL_CURRENT, AVM_MCL_FUTURE,
					AVM_MCL_CURRENT | AVM_MCL_FUTURE,
					AVM_MCL_CURRENT | AVM_MCL_ONFAULT, AVM_MCL_ONFAULT };

	range(r, mm, op);
	op->flags = op->kind == OP_MLOCKALL ? PICK(r, all) : rng_one_in(r, 4);
}

/* Where a program of the contents loads and stores: with stamps, 8 bytes at the start of a page. */
static void make_access(struct rng *r, const struct world *w, const struct bounds_mm *mm,
			struct op *op)
{
	const struct bounds_vma *v = any_vma(r, mm);

	op->addr = mapped(r, mm);
	for (int i = 0; i < 3 && v && op->kind == OP_STORE; i++) {
		if (bounds_at(mm, op->addr) && (bounds_at(mm, op->addr)->flags & AVM_VM_WRITE))
			break;
		op->addr = mapped(r, mm);
	}
	if (v && (v->flags & AVM_VM_GROWSDOWN) && rng_one_in(r, 2))
		op->addr = clamp(v->start - few(r, 8) * PAGE);
	op->len = 8;
	op->value = rng_next(r);
	/* Equal pages, for those who look for them: a load of what another has written is a hit all the same, else. */
	if (w->program->pressure && rng_one_in(r, 3)) {
		op->value = 1 + rng_below(r, 3);
		return;
	}
	if (w->content == PAGE) {
		op->len = 1 + rng_below(r, 16);
		if (rng_one_in(r, 2))
			op->addr += rng_below(r, PAGE - op->len + 1);
	}
	if (op->kind == OP_TOUCH)
		op->flags = rng_one_in(r, 3) ? AVM_ACCESS_WRITE :
			    rng_one_in(r, 2) ? AVM_ACCESS_READ :
					       AVM_ACCESS_EXEC;
}

static void make_copy(struct rng *r, const struct world *w, const struct bounds_mm *mm,
		      struct op *op)
{
	make_access(r, w, mm, op);
	op->flags = rng_one_in(r, 2) ? AVM_COPY_FORCE : 0;
	if (w->content == PAGE)
		op->len = 1 + rng_below(r, rng_one_in(r, 3) ? 3 * PAGE : 200);
	op->to = place(r, mm) + rng_below(r, PAGE);
}

static void make_insert_pfn(struct rng *r, const struct bounds_mm *mm, struct op *op)
{
	op->addr = place(r, mm);
	op->len = few(r, 6) * PAGE;
	op->to = UINT64_C(0x100000000) + rng_below(r, 32); /* frames of no region */
	op->prot = PICK(r, prots);
}

static void make_msync(struct rng *r, const struct bounds_mm *mm, struct op *op)
{
	static const uint32_t flags[] = { AVM_MS_SYNC, AVM_MS_SYNC, AVM_MS_ASYNC,
					  AVM_MS_SYNC | AVM_MS_INVALIDATE,
					  AVM_MS_SYNC | AVM_MS_ASYNC };

	range(r, mm, op);
	op->flags = PICK(r, flags);
}

/*
 * Reclaim writes pages of files back when it likes, which the oracle does not know. So what is on disk must not be seen:
 * by punching a hole in the cache alone; or behind the end of a file, where a page keeps what a mapping wrote only until
 * it is dropped. Memory that is a file has neither.
 */
static void keep_off_disk(const struct world *w, struct op *op)
{
	uint64_t end = w->files[op->file - 1].size;

	if (op->file == NR_FILES)
		return;
	if (op->kind == OP_TRUNCATE)
		op->len &= ~(PAGE - 1);
	else if (op->kind == OP_PUNCH || (op->kind == OP_FWRITE && op->addr + op->len > end))
		op->file = NR_FILES;
}

static void make_file_op(struct rng *r, const struct world *w, struct op *op)
{
	uint64_t pages;

	op->file = (uint8_t)(1 + rng_below(r, NR_FILES));
	pages = w->files[op->file - 1].size / PAGE + 2;
	op->addr = rng_below(r, pages) * PAGE;
	op->len = few(r, 12) * PAGE;
	op->value = rng_next(r);
	switch (op->kind) {
	case OP_TRUNCATE:
		op->len = rng_below(r, 44) * PAGE;
		if (w->content == PAGE && rng_one_in(r, 2))
			op->len += rng_below(r, PAGE);
		break;
	case OP_FREAD:
	case OP_FWRITE:
		op->len = 8;
		if (w->content == PAGE) {
			op->addr += rng_below(r, PAGE);
			op->len = 1 + rng_below(r, rng_one_in(r, 4) ? 3 * PAGE - 1 : 100);
		}
		break;
	default:
		break;
	}
	if (w->program->pressure)
		keep_off_disk(w, op);
	/* The same after MADV_PAGEOUT, until it is synced. */
	if (op->kind == OP_PUNCH && w->files[op->file - 1].paged_out)
		op->kind = OP_SYNC;
}

static void make_pin(struct rng *r, const struct world *w, struct op *op)
{
	op->addr = mapped(r, w->procs[op->p].bounds);
	op->len = (1 + rng_below(r, PIN_PAGES)) * PAGE;
	op->prot = rng_one_in(r, 2) ? AVM_ACCESS_WRITE : AVM_ACCESS_READ;
	op->flags = (uint32_t)rng_below(r, NR_PINS);
	if (op->addr + op->len > WINDOW_END)
		op->len = PAGE;
}

static void make_fork(struct rng *r, const struct world *w, struct op *op)
{
	for (unsigned i = 0; i < NR_PROCS; i++) {
		op->q = (uint8_t)rng_below(r, w->program->nr_procs);
		if (!w->procs[op->q].sim)
			return;
	}
	/* No room: somebody goes. Relays of forks are what makes chains long. */
	op->kind = OP_EXIT;
	op->p = op->q;
}

/* ---- what next ------------------------------------------------------------------------------------------------ */

static const struct {
	enum op_kind kind;
	unsigned weight;
} weights[] = {
	{ OP_MMAP, 100 },     { OP_MUNMAP, 60 },   { OP_MPROTECT, 110 }, { OP_MREMAP, 70 },
	{ OP_MADVISE, 70 },   { OP_MLOCK, 14 },	   { OP_MUNLOCK, 14 },	 { OP_MLOCKALL, 3 },
	{ OP_MUNLOCKALL, 6 }, { OP_MSYNC, 10 },	   { OP_MINCORE, 8 },	 { OP_BRK, 25 },
	{ OP_INSERT_PFN, 6 }, { OP_NAME, 14 },	   { OP_POLICY, 12 },	 { OP_LOAD, 130 },
	{ OP_STORE, 200 },    { OP_TOUCH, 30 },	   { OP_COPY_IN, 25 },	 { OP_COPY_OUT, 15 },
	{ OP_COPY, 10 },      { OP_POPULATE, 15 }, { OP_MAP_CACHED, 5 }, { OP_PROCESS, 6 },
	{ OP_FORK, 40 },      { OP_EXIT, 18 },	   { OP_EXEC, 3 },	 { OP_UNMAP_ALL, 1 },
	{ OP_TRUNCATE, 6 },   { OP_PUNCH, 5 },	   { OP_INVALIDATE, 3 }, { OP_SYNC, 3 },
	{ OP_READAHEAD, 3 },  { OP_FREAD, 8 },	   { OP_FWRITE, 8 },
};

static enum op_kind draw_kind(struct rng *r)
{
	const unsigned n = sizeof(weights) / sizeof(weights[0]);
	unsigned total = 0;
	uint64_t at;

	for (unsigned i = 0; i < n; i++)
		total += weights[i].weight;
	at = rng_below(r, total);
	for (unsigned i = 0; i < n; i++) {
		if (at < weights[i].weight)
			return weights[i].kind;
		at -= weights[i].weight;
	}
	return OP_LOAD;
}

/* A process that is there; or a slot, if there is none. */
static unsigned draw_proc(struct rng *r, const struct world *w)
{
	unsigned first = (unsigned)rng_below(r, NR_PROCS);

	for (unsigned i = 0; i < NR_PROCS; i++) {
		if (w->procs[(first + i) % NR_PROCS].sim)
			return (first + i) % NR_PROCS;
	}
	return first;
}

static void make_brk(struct rng *r, const struct bounds_mm *mm, struct op *op)
{
	op->addr = mm->brk_start + rng_below(r, 20 * PAGE);
	if (rng_one_in(r, 12))
		op->addr = place(r, mm);
	if (!mm->brk_start && !rng_one_in(r, 10))
		op->kind = OP_EXEC;
}

static void make(struct rng *r, struct world *w, struct op *op)
{
	const struct bounds_mm *mm = w->procs[op->p].bounds;

	op->new_len = rng_below(r, 64);
	switch (op->kind) {
	case OP_MMAP:
		make_mmap(r, mm, op);
		break;
	case OP_MREMAP:
		make_mremap(r, mm, op);
		break;
	case OP_MADVISE:
		make_madvise(r, w, mm, op);
		break;
	case OP_MLOCK:
	case OP_MUNLOCK:
	case OP_MLOCKALL:
		make_lock(r, mm, op);
		break;
	case OP_BRK:
		make_brk(r, mm, op);
		break;
	case OP_INSERT_PFN:
		make_insert_pfn(r, mm, op);
		break;
	case OP_LOAD:
	case OP_STORE:
	case OP_TOUCH:
		make_access(r, w, mm, op);
		break;
	case OP_COPY_IN:
	case OP_COPY_OUT:
	case OP_COPY:
		make_copy(r, w, mm, op);
		break;
	case OP_FORK:
		make_fork(r, w, op);
		break;
	case OP_MSYNC:
		make_msync(r, mm, op);
		break;
	case OP_MPROTECT:
		range(r, mm, op);
		op->prot = PICK(r, prots);
		if (rng_one_in(r, 25))
			op->prot |= AVM_PROT_GROWSDOWN;
		break;
	case OP_NAME:
	case OP_POLICY:
		range(r, mm, op);
		op->flags = (uint32_t)rng_below(r, 3);
		break;
	case OP_POPULATE:
		range(r, mm, op);
		op->flags = rng_one_in(r, 2) ? AVM_ACCESS_WRITE : AVM_ACCESS_READ;
		break;
	default:
		range(r, mm, op);
		break;
	}
}

void generate_kind(struct rng *r, struct world *w, enum op_kind kind, struct op *op)
{
	*op = (struct op){ .kind = kind };
	if (kind >= OP_SHRINK && kind != OP_PIN) {
		make_memory_op(r, w, op);
		return;
	}
	op->p = op->q = (uint8_t)draw_proc(r, w);
	if (!w->procs[op->p].sim || op->kind == OP_PROCESS) {
		op->kind = OP_PROCESS;
		op->p = op->q = (uint8_t)rng_below(r, w->program->nr_procs);
		if (!w->procs[op->p].sim)
			return;
		op->kind = OP_EXEC;
	}
	if (op->kind == OP_PIN)
		make_pin(r, w, op);
	else if (op->kind >= OP_TRUNCATE)
		make_file_op(r, w, op);
	else
		make(r, w, op);
	if (op->kind == OP_COPY)
		op->q = (uint8_t)draw_proc(r, w);
}

void generate(struct rng *r, struct world *w, struct op *op)
{
	generate_kind(r, w, w->program->pressure ? draw_kind_under_pressure(r) : draw_kind(r), op);
	if (rng_one_in(r, 8)) {
		op->fail_first = 1 + (uint32_t)rng_below(r, rng_one_in(r, 3) ? 12 : 2);
		op->fail_count = (uint32_t)rng_below(r, 2);
	}
}
