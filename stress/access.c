/* SPDX-License-Identifier: MIT */
/* access.c - loads and stores of a stress run, and what they may see: at once, and when everything is at rest. */
#include "avm_port.h"
#include "sim.h"
#include "stress.h"

/* ---- a place, and whether it keeps still ------------------------------------------------------------------------- */

struct place {
	struct space *space;
	unsigned area, page;
	struct area *a;
	avm_addr_t addr;
	uint32_t area_gen, object_gen;
	uint8_t prot;
	bool still; /* so far */
};

static struct place place_of(struct space *p, unsigned area, unsigned page)
{
	struct place at = { .space = p, .area = area, .page = page, .a = &p->areas[area] };

	at.area_gen = GET(at.a->gen);
	at.object_gen = GET(at.a->object->gen);
	order();
	at.still = GET(at.a->known) && !(at.area_gen % 2) && !(at.object_gen % 2);
	at.prot = GET(at.a->prot[page]);
	at.addr = area_at(area, GET(at.a->home)) + page * PAGE;
	return at;
}

static bool was_still(struct place *at)
{
	order();
	at->still = at->still && GET(at->a->gen) == at->area_gen &&
		    GET(at->a->object->gen) == at->object_gen;
	return at->still;
}

/* ---- accesses --------------------------------------------------------------------------------------------------------- */

static void note_faults(struct worker *t, unsigned faults)
{
	if (faults & AVM_FAULT_RETRY)
		SET(t->retries, GET(t->retries) + 1);
	if (faults & AVM_FAULT_OOM)
		SET(t->ooms, GET(t->ooms) + 1);
}

static void access_failed(struct worker *t, const struct place *at, unsigned result, bool write)
{
	unsigned must = at->prot == HOLE				    ? AVM_FAULT_MAPERR :
			at->prot & (write ? AVM_PROT_WRITE : AVM_PROT_READ) ? 0 :
									      AVM_FAULT_ACCERR;

	if (!at->still || result == must || (result & AVM_FAULT_OOM))
		return;
	violation(
		t->world,
		"thread %u: %s at %#llx of address space %u, area %u page %u, prot %#x: fault %#x, expected %#x",
		t->number, write ? "store" : "load", (ull)at->addr, at->space->slot, at->area,
		at->page, at->prot, result, must);
}

static void judge(struct worker *t, struct place *at, unsigned of, uint64_t value)
{
	struct object *o = at->a->object;
	struct word *word = word_of(o, at->page, of, t->world->options->threads);
	uint64_t low = GET(word->low), high = GET(word->high);

	if (!word_is_plausible(o, at->page, of, value)) {
		violation(
			t->world,
			"content: address space %u, area %u page %u, word of thread %u: %#llx, which was "
			"never written there",
			at->space->slot, at->area, at->page, of, (ull)value);
		return;
	}
	if (of != t->number || !at->still)
		return;
	if (word_may_be(word, o, at->page, value, at->object_gen))
		return;
	/* Who wipes the page since then says so before he does. */
	if (was_still(at))
		violation(
			t->world,
			"content: address space %u, area %u page %u, word of thread %u: %#llx, not in "
			"[%#llx, %#llx] (generation %u of %u, wiped %u, freed %u, unsure %d)",
			at->space->slot, at->area, at->page, of, (ull)value, (ull)low, (ull)high,
			GET(word->gen), at->object_gen, GET(o->pages[at->page].wiped),
			GET(o->pages[at->page].freed), GET(word->unsure));
}

void load(struct worker *t, struct space *p, unsigned area, unsigned page, unsigned of)
{
	struct place at = place_of(p, area, page);
	unsigned faults = 0, result;
	uint64_t value;

	result = sim_load(p->proc, at.addr + of * sizeof(value), &value, sizeof(value), &faults);
	was_still(&at);
	note_faults(t, faults);
	if (result || !(at.prot & AVM_PROT_READ))
		access_failed(t, &at, result, false);
	if (!result)
		judge(t, &at, of, value);
}

void store(struct worker *t, struct space *p, unsigned area, unsigned page)
{
	struct place at = place_of(p, area, page);
	struct object *o = at.a->object;
	struct word *word = word_of(o, page, t->number, t->world->options->threads);
	unsigned faults = 0, result;
	uint64_t value;

	/* Alike are only those pages that nobody else writes to. */
	if (o->alike && owner_of(t->world, area) != t->number)
		return;
	value = word_begin(word, o, page, t->number);
	result = sim_store(p->proc, at.addr + t->number * sizeof(value), &value, sizeof(value),
			   &faults);
	was_still(&at);
	word_end(word, value, !result, at.object_gen, at.still);
	note_faults(t, faults);
	if (result || !(at.prot & AVM_PROT_WRITE))
		access_failed(t, &at, result, true);
}

void copy(struct worker *t, struct space *p, unsigned area, unsigned page)
{
	struct place at = place_of(p, area, page);
	struct object *o = at.a->object;
	struct word *word = word_of(o, page, t->number, t->world->options->threads);
	avm_addr_t addr = at.addr + t->number * sizeof(uint64_t);
	uint64_t value;

	if (o->alike && owner_of(t->world, area) != t->number)
		return;
	if (below(t, 2)) {
		if (avm_copy_out(sim_mm(p->proc), &value, addr, sizeof(value), 0) ==
		    sizeof(value)) {
			was_still(&at);
			judge(t, &at, t->number, value);
		}
		return;
	}
	value = word_begin(word, o, page, t->number);
	if (avm_copy_in(sim_mm(p->proc), addr, &value, sizeof(value), 0) == sizeof(value)) {
		was_still(&at);
		word_end(word, value, true, at.object_gen, at.still);
	}
}

void sweep(struct worker *t, struct space *p, unsigned area)
{
	for (unsigned i = 0; i < AREA_PAGES; i++) {
		if (below(t, 3))
			store(t, p, area, i);
		else
			load(t, p, area, i, below(t, t->world->options->threads));
	}
}

void pin(struct worker *t, struct space *p, unsigned area, unsigned page)
{
	struct place at = place_of(p, area, page);
	struct avm_page *pages[4];
	unsigned n = 1 + below(t, 4);
	int64_t got;

	if (page + n > AREA_PAGES)
		n = AREA_PAGES - page;
	got = avm_pin(sim_mm(p->proc), at.addr, n, below(t, 2) ? AVM_ACCESS_READ : AVM_ACCESS_WRITE,
		      pages);
	if (got <= 0)
		return;
	load(t, p, area, page, t->number);
	store(t, p, area, page);
	avm_unpin(sim_machine(t->world->sim), pages, (uint64_t)got, AVM_UNPIN_CLEAN);
}

/* ---- at rest --------------------------------------------------------------------------------------------------------------------- */

static void look_at_word(struct worker *t, struct place *at, avm_pfn_t pfn, unsigned of)
{
	struct world *w = t->world;
	struct object *o = at->a->object;
	const struct word *word;
	uint64_t value = 0;

	if (pfn != AVM_PFN_NONE)
		avm_port_frame_read(sim_machine(w->sim), pfn, of * sizeof(value), &value,
				    sizeof(value));
	w->words_checked++;
	if (word_is_plausible(o, at->page, of, value) &&
	    word_may_be(word_of(o, at->page, of, w->options->threads), o, at->page, value,
			at->object_gen))
		return;
	word = word_of(o, at->page, of, w->options->threads);
	violation(
		w,
		"content at rest: address space %u, area %u page %u (frame %#llx), word of thread %u: %#llx, not in "
		"[%#llx, %#llx] (generation %u of %u, wiped %u, freed %u, unsure %d)",
		at->space->slot, at->area, at->page, (ull)pfn, of, (ull)value, (ull)GET(word->low),
		(ull)GET(word->high), GET(word->gen), at->object_gen, GET(o->pages[at->page].wiped),
		GET(o->pages[at->page].freed), GET(word->unsure));
}

static void look_at_page(struct worker *t, struct place *at, unsigned loads_in)
{
	struct world *w = t->world;
	struct avm_pte_info info;

	avm_pte_at(sim_mm(at->space->proc), at->addr, &info);
	if (at->prot == HOLE) {
		if (info.kind != AVM_PTE_NONE)
			violation(w, "address space %u, area %u page %u: mapped, in a hole",
				  at->space->slot, at->area, at->page);
		return;
	}
	if (info.kind == AVM_PTE_PRESENT ||
	    (info.kind == AVM_PTE_NONE && !area_is_shared(at->area))) {
		avm_pfn_t pfn = info.kind == AVM_PTE_PRESENT ? info.pfn : AVM_PFN_NONE;

		for (unsigned of = 0; of < w->options->threads; of++)
			look_at_word(t, at, pfn, of);
	} else if ((at->prot & AVM_PROT_READ) && loads_in && !below(t, loads_in)) {
		/* As each of them. */
		for (t->number = 0; t->number < w->options->threads; t->number++) {
			w->loads_checked++;
			load(t, at->space, at->area, at->page, t->number);
		}
	}
}

void look_at_contents(struct world *w, struct worker *t, unsigned loads_in)
{
	for (unsigned slot = 0; slot < w->options->processes; slot++) {
		struct space *p = space_get(w, slot);

		for (unsigned area = 0; p && area < AREAS; area++) {
			for (unsigned page = 0; page < AREA_PAGES; page++) {
				struct place at = place_of(p, area, page);

				if (at.still)
					look_at_page(t, &at, loads_in);
			}
		}
		if (p)
			space_put(w, p);
	}
}
