/* SPDX-License-Identifier: MIT */
/* ops.c - what the threads of a stress run do. */
#include <string.h>

#include "avm_port.h"
#include "sim.h"
#include "stress.h"

const char *const op_names[NR_OPS] = {
	[OP_LOAD] = "load",	    [OP_STORE] = "store",    [OP_SWEEP] = "sweep",
	[OP_COPY] = "copy",	    [OP_UNMAP] = "munmap",   [OP_PROTECT] = "mprotect",
	[OP_MOVE] = "mremap",	    [OP_EMPTY] = "dontneed", [OP_FREE] = "free",
	[OP_PAGEOUT] = "pageout",   [OP_LOCK] = "mlock",     [OP_MERGEABLE] = "mergeable",
	[OP_FORK] = "fork",	    [OP_EXIT] = "exit",	     [OP_SYNC] = "msync",
	[OP_TRUNCATE] = "truncate", [OP_FILE] = "file",	     [OP_PIN] = "pin",
	[OP_MIGRATE] = "migrate",   [OP_SHRINK] = "shrink",  [OP_LOOK] = "mincore",
};

static const uint8_t weights[NR_OPS] = {
	[OP_LOAD] = 60,	   [OP_STORE] = 70,    [OP_SWEEP] = 4, [OP_COPY] = 6,	 [OP_UNMAP] = 5,
	[OP_PROTECT] = 5,  [OP_MOVE] = 3,      [OP_EMPTY] = 4, [OP_FREE] = 3,	 [OP_PAGEOUT] = 4,
	[OP_LOCK] = 2,	   [OP_MERGEABLE] = 1, [OP_FORK] = 1,  [OP_EXIT] = 1,	 [OP_SYNC] = 1,
	[OP_TRUNCATE] = 1, [OP_FILE] = 3,      [OP_PIN] = 3,   [OP_MIGRATE] = 3, [OP_SHRINK] = 1,
	[OP_LOOK] = 2,
};

uint64_t draw(struct worker *t)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return t->random * UINT64_C(0x2545f4914f6cdd1d) >> 8;
}

/* ---- what only the owner does --------------------------------------------------------------------------------------------- */

/* The owner is about to change the area, or its contents, and has done so. */
static void change(_Atomic uint32_t *gen)
{
	order();
	SET(*gen, GET(*gen) + 1);
	order();
}

struct range {
	unsigned first, n;
};

static struct range draw_range(struct worker *t)
{
	struct range r = { 0, AREA_PAGES };

	if (below(t, 3)) {
		r.first = below(t, AREA_PAGES);
		r.n = 1 + below(t, AREA_PAGES - r.first);
	}
	return r;
}

static void set_prot(struct area *a, struct range r, uint8_t prot)
{
	for (unsigned i = 0; i < r.n; i++)
		SET(a->prot[r.first + i], prot);
}

/* => the object's generation is odd */
static void set_lost(struct object *o, struct range r, bool surely)
{
	for (unsigned i = 0; i < r.n; i++) {
		struct object_page *page = &o->pages[r.first + i];

		if (surely)
			SET(page->wiped, GET(o->gen));
		else
			SET(page->freed, GET(o->gen));
	}
}

/* A range goes, or comes anew: of private memory nothing is left then. */
static void remap(struct worker *t, struct space *p, unsigned area, struct range r, bool map)
{
	struct area *a = &p->areas[area];
	avm_addr_t addr = area_at(area, GET(a->home)) + r.first * PAGE;
	bool private = !area_is_shared(area);
	int err;

	change(&a->gen);
	if (private)
		change(&a->object->gen);
	err = map ? area_map(t->world, p, area, r.first, r.n) :
		    avm_munmap(sim_mm(p->proc), addr, r.n * PAGE);
	if (!err) {
		set_prot(a, r, map ? AVM_PROT_READ | AVM_PROT_WRITE : HOLE);
		if (private)
			set_lost(a->object, r, true);
	}
	if (private)
		change(&a->object->gen);
	change(&a->gen);
}

/* Fork has met us at work here: all anew. */
static void make_known(struct space *p, unsigned area)
{
	const struct range all = { 0, AREA_PAGES };
	struct area *a = &p->areas[area];
	struct avm_mm *mm = sim_mm(p->proc);

	if (avm_munmap(mm, area_at(area, 0), AREA_PAGES * PAGE) ||
	    avm_munmap(mm, area_at(area, 1), AREA_PAGES * PAGE))
		return;
	change(&a->gen);
	if (!area_is_shared(area)) {
		change(&a->object->gen);
		set_lost(a->object, all, true);
		change(&a->object->gen);
	}
	set_prot(a, all, HOLE);
	SET(a->home, 0);
	SET(a->known, true);
	change(&a->gen);
}

static void protect(struct worker *t, struct space *p, unsigned area)
{
	static const uint8_t prots[] = { AVM_PROT_READ | AVM_PROT_WRITE, AVM_PROT_READ,
					 AVM_PROT_NONE, AVM_PROT_READ | AVM_PROT_WRITE };
	struct area *a = &p->areas[area];
	struct range r = draw_range(t);
	uint8_t prot = prots[below(t, 4)];
	avm_addr_t addr = area_at(area, GET(a->home)) + r.first * PAGE;
	int err;

	/* It ends at a hole, and has changed what is before it. */
	for (unsigned i = 0; i < r.n; i++) {
		if (GET(a->prot[r.first + i]) == HOLE)
			r.n = i;
	}
	if (!r.n)
		return;
	change(&a->gen);
	err = avm_mprotect(sim_mm(p->proc), addr, r.n * PAGE, prot);
	if (!err)
		set_prot(a, r, prot);
	else if (err != -AVM_EINTR)
		SET(a->known, false); /* some of it may be done */
	change(&a->gen);
}

static void move(struct space *p, unsigned area)
{
	struct area *a = &p->areas[area];
	unsigned home = GET(a->home);
	avm_addr_t out;

	for (unsigned i = 0; i < AREA_PAGES; i++) {
		if (GET(a->prot[i]) == HOLE)
			return;
	}
	change(&a->gen);
	if (!avm_mremap(sim_mm(p->proc), area_at(area, home), AREA_PAGES * PAGE, AREA_PAGES * PAGE,
			AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED, area_at(area, !home), &out))
		SET(a->home, !home);
	change(&a->gen);
}

static void empty(struct worker *t, struct space *p, unsigned area, enum avm_advice advice)
{
	struct area *a = &p->areas[area];
	struct range r = draw_range(t);
	avm_addr_t addr = area_at(area, GET(a->home)) + r.first * PAGE;
	int err;

	if (area_is_shared(area)) {
		avm_madvise(sim_mm(p->proc), addr, r.n * PAGE, AVM_MADV_DONTNEED);
		return;
	}
	change(&a->object->gen);
	err = avm_madvise(sim_mm(p->proc), addr, r.n * PAGE, advice);
	/* -ENOMEM: there are holes, and all else is done. */
	set_lost(a->object, r, advice == AVM_MADV_DONTNEED && (!err || err == -AVM_ENOMEM));
	change(&a->object->gen);
}

/* Shorter, and long again. */
static void truncate_file(struct worker *t, unsigned number)
{
	struct world *w = t->world;
	struct object *o = w->file_objects[number];
	struct range r = { below(t, AREA_PAGES), 0 };

	r.n = AREA_PAGES - r.first;
	change(&o->gen);
	set_lost(o, r, false);
	/* A hole in a file that is stored somewhere would be read again, as it was then. */
	if (w->files[number]->shmem && below(t, 2)) {
		if (!avm_file_punch(w->files[number], r.first * PAGE, r.n * PAGE))
			set_lost(o, r, true);
	} else {
		if (!sim_file_truncate(w->files[number], r.first * PAGE))
			set_lost(o, r, true);
		while (sim_file_truncate(w->files[number], AREA_PAGES * PAGE))
			;
	}
	change(&o->gen);
}

/* ---- what everybody does --------------------------------------------------------------------------------------------------- */

static void advise(struct worker *t, struct space *p, unsigned area, enum op_kind kind)
{
	struct range r = draw_range(t);
	avm_addr_t addr = area_at(area, GET(p->areas[area].home)) + r.first * PAGE;
	struct avm_mm *mm = sim_mm(p->proc);
	uint8_t vec[AREA_PAGES];

	switch (kind) {
	case OP_PAGEOUT:
		avm_madvise(mm, addr, r.n * PAGE, below(t, 2) ? AVM_MADV_PAGEOUT : AVM_MADV_COLD);
		break;
	case OP_LOCK:
		if (below(t, 4) == 0)
			avm_mlock(mm, addr, (1 + r.n % 4) * PAGE, 0);
		else if (below(t, 8))
			avm_munlock(mm, addr, r.n * PAGE);
		else
			avm_munlockall(mm);
		break;
	case OP_MERGEABLE:
		avm_madvise(mm, addr, r.n * PAGE,
			    below(t, 4) ? AVM_MADV_MERGEABLE : AVM_MADV_UNMERGEABLE);
		break;
	case OP_SYNC:
		avm_msync(mm, addr, r.n * PAGE, AVM_MS_SYNC);
		break;
	default:
		avm_mincore(mm, addr, r.n * PAGE, vec);
		break;
	}
}

static void file_access(struct worker *t)
{
	struct world *w = t->world;
	unsigned number = below(t, SHARED_AREAS), page = below(t, AREA_PAGES);
	struct object *o = w->file_objects[number];
	struct word *word = word_of(o, page, t->number, w->options->threads);
	uint64_t offset = page * PAGE + t->number * sizeof(uint64_t), value;
	uint32_t gen = GET(o->gen);
	bool still;

	order();
	if (below(t, 2)) {
		if (avm_file_read(w->files[number], offset, &value, sizeof(value)) != sizeof(value))
			return;
		order();
		still = !(gen % 2) && GET(o->gen) == gen;
		if (!word_is_plausible(o, page, t->number, value) ||
		    (still && !word_may_be(word, o, page, value, gen)))
			violation(w, "content: file %u page %u, word of thread %u: %#llx", number,
				  page, t->number, (ull)value);
		return;
	}
	if (owner_of(w, AREAS - SHARED_AREAS + number) == t->number) {
		value = word_begin(word, o, page, t->number);
		still = avm_file_write(w->files[number], offset, &value, sizeof(value)) ==
			sizeof(value);
		word_end(word, value, still, gen, still);
	} else {
		avm_file_readahead(w->files[number], page, 4);
	}
}

static void machine_op(struct worker *t, enum op_kind kind)
{
	struct avm *m = sim_machine(t->world->sim);
	avm_pfn_t pfn = 1 + draw(t) % atomic_load(&m->frames_total);

	if (kind == OP_SHRINK)
		avm_shrink(m, 1 + below(t, 32));
	else if (below(t, 4))
		avm_migrate(m, pfn);
	else
		avm_page_out(m, pfn);
}

/* ---- coming and going -------------------------------------------------------------------------------------------------------- */

static void do_fork(struct worker *t, struct space *p)
{
	struct world *w = t->world;
	unsigned slot = below(t, w->options->processes);
	bool taken = false;

	if (!atomic_compare_exchange_strong(&w->reserved[slot], &taken, true))
		return;
	if (!(below(t, 16) ? space_fork(t, p, slot) : space_spawn(w, slot)))
		atomic_store(&w->reserved[slot], false);
}

/* The first stays. */
static void do_exit(struct worker *t, struct space *p)
{
	bool dying = false;

	if (p->slot && atomic_compare_exchange_strong(&p->dying, &dying, true))
		space_put(t->world, p);
}

static struct space *draw_space(struct worker *t)
{
	for (;;) {
		struct space *p = space_get(
			t->world, below(t, 2) ? below(t, t->world->options->processes) :
						below(t, 2) % t->world->options->processes);

		if (p)
			return p;
	}
}

static enum op_kind draw_kind(struct worker *t)
{
	uint32_t without = t->world->options->without;
	unsigned total = 0, at;

	for (unsigned i = 0; i < NR_OPS; i++)
		total += without >> i & 1 ? 0 : weights[i];
	at = below(t, total);
	for (unsigned i = 0;; i++) {
		unsigned weight = without >> i & 1 ? 0 : weights[i];

		if (at < weight)
			return (enum op_kind)i;
		at -= weight;
	}
}

/* One of its own. */
static unsigned draw_own(struct worker *t)
{
	unsigned threads = t->world->options->threads;

	return t->number + threads * below(t, (AREAS - t->number + threads - 1) / threads);
}

static void owner_op(struct worker *t, struct space *p, enum op_kind kind)
{
	unsigned area = draw_own(t);

	if (!GET(p->areas[area].known)) {
		make_known(p, area);
		return;
	}
	switch (kind) {
	case OP_UNMAP:
		remap(t, p, area, draw_range(t), below(t, 3));
		break;
	case OP_PROTECT:
		protect(t, p, area);
		break;
	case OP_MOVE:
		move(p, area);
		break;
	case OP_FREE:
		empty(t, p, area, AVM_MADV_FREE);
		break;
	default:
		empty(t, p, area, AVM_MADV_DONTNEED);
		break;
	}
}

static void space_op(struct worker *t, enum op_kind kind)
{
	struct space *p = draw_space(t);
	unsigned area = below(t, AREAS), page = below(t, AREA_PAGES);

	switch (kind) {
	case OP_LOAD:
		load(t, p, area, page,
		     below(t, 3) ? t->number : below(t, t->world->options->threads));
		break;
	case OP_STORE:
		store(t, p, area, page);
		break;
	case OP_SWEEP:
		sweep(t, p, area);
		break;
	case OP_COPY:
		copy(t, p, area, page);
		break;
	case OP_FORK:
		do_fork(t, p);
		break;
	case OP_EXIT:
		do_exit(t, p);
		break;
	case OP_PIN:
		pin(t, p, area, page);
		break;
	case OP_UNMAP:
	case OP_PROTECT:
	case OP_MOVE:
	case OP_EMPTY:
	case OP_FREE:
		owner_op(t, p, kind);
		break;
	default:
		advise(t, p, area, kind);
		break;
	}
	space_put(t->world, p);
}

void perform(struct worker *t)
{
	enum op_kind kind = draw_kind(t);
	unsigned number = below(t, SHARED_AREAS);

	SET(t->now, (int)kind);
	switch (kind) {
	case OP_TRUNCATE:
		if (owner_of(t->world, AREAS - SHARED_AREAS + number) == t->number)
			truncate_file(t, number);
		break;
	case OP_FILE:
		file_access(t);
		break;
	case OP_MIGRATE:
	case OP_SHRINK:
		machine_op(t, kind);
		break;
	default:
		space_op(t, kind);
		break;
	}
	SET(t->done[kind], GET(t->done[kind]) + 1);
	SET(t->now, -1);
}
