/* SPDX-License-Identifier: MIT */
/*
 * script_frames.c - lines about frames: pages that move to another, frames that go bad, frames that must stay.
 */
#include <stdlib.h>
#include <string.h>

#include "avm_port.h"
#include "script_priv.h"

/* Pages held for a device. */
struct run_pin {
	struct run_pin *next;
	struct script_name name;
	struct script_name proc; /* whose they were, at addr */
	avm_addr_t addr;
	uint64_t n;
	struct avm_page *pages[];
};

/* ---- moving ---------------------------------------------------------------------------------- */

/* OP ADDR [LEN] of A: each page that is mapped there. */
static void each_page(struct run *run, const struct script_line *line, struct outcome *out,
		      int (*op)(struct avm *m, avm_pfn_t pfn))
{
	const struct run_proc *p = run_proc(run, &line->args[line->nr_args - 1].name);
	uint64_t n = run_pages(run, line, 1);
	avm_addr_t addr;

	if (!p || !n || !run_addr(run, &line->args[0].addr, &addr))
		return;
	out->has_count = true;
	for (uint64_t i = 0; i < n; i++) {
		struct avm_pte_info pte;
		int error;

		avm_pte_at(run_mm(p), addr + i * SCRIPT_PAGE, &pte);
		if (pte.kind != AVM_PTE_PRESENT)
			continue;
		error = op(run_avm(run), pte.pfn);
		if (error)
			out->error = error;
		else
			out->count++;
	}
}

/* swapout ADDR [LEN] of A, migrate ADDR [LEN] of A: whoever else maps the pages. */
void op_swapout(struct run *run, const struct script_line *line, struct outcome *out)
{
	each_page(run, line, out, avm_page_out);
}

void op_migrate(struct run *run, const struct script_line *line, struct outcome *out)
{
	each_page(run, line, out, avm_migrate);
}

/* compact FIRST N: frame numbers. */
void op_compact(struct run *run, const struct script_line *line, struct outcome *out)
{
	int64_t got = avm_compact(run_avm(run), line->args[0].number, line->args[1].number);

	out->error = got < 0 ? (int)got : 0;
	out->has_count = got >= 0;
	out->count = got >= 0 ? (uint64_t)got : 0;
}

/* ---- poison ---------------------------------------------------------------------------------- */

/*
 * Whoever maps the page finds out by the entry. What is a file's is read anew by the others: what has not been written
 * back is lost.
 */
static void oracle_loses(struct run_proc *p, avm_addr_t addr)
{
	struct oracle_map map;

	if (!oracle_find(p->oracle, addr, &map) || !map.object)
		return;
	uint64_t index = map.pgoff + (addr - map.start) / SCRIPT_PAGE;

	oracle_punch(map.object, index, index + 1);
}

/* poison ADDR of A: the frame that is mapped there. */
void op_poison(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_proc(run, &line->args[2].name);
	struct avm_pte_info pte;
	avm_addr_t addr;
	bool anon;

	if (!p || !run_addr(run, &line->args[0].addr, &addr))
		return;
	addr -= addr % SCRIPT_PAGE;
	avm_pte_at(run_mm(p), addr, &pte);
	if (pte.kind != AVM_PTE_PRESENT) {
		run_bad(run, "no page there");
		return;
	}
	anon = pte.page && (atomic_load(&pte.page->mapping) & AVM_MAPPING_ANON);
	run->poisons = true;
	out->error = avm_poison(run_avm(run), pte.pfn);
	if (!out->error && !anon)
		oracle_loses(p, addr);
}

/* ---- pins ------------------------------------------------------------------------------------ */

static struct run_pin **find_pin(struct run *run, const struct script_name *name)
{
	struct run_pin **at = &run->pins;

	while (*at && strcmp((*at)->name.text, name->text) != 0)
		at = &(*at)->next;
	return at;
}

static struct run_pin *pin_named(struct run *run, const struct script_name *name)
{
	struct run_pin *pin = *find_pin(run, name);

	if (!pin)
		run_bad(run, "no pin %s", name->text);
	return pin;
}

/* A private page that is pinned is the process's own from now on, as if it had been written. */
static void oracle_pins(struct run_proc *p, avm_addr_t addr, uint64_t n)
{
	struct oracle_map map;

	for (uint64_t i = 0; i < n; i++, addr += SCRIPT_PAGE) {
		if (oracle_find(p->oracle, addr, &map) && !(map.flags & ORACLE_SHARED))
			oracle_store(p->oracle, addr, NULL, 0);
	}
}

/* A: pin ADDR LEN ACCESS as NAME */
void op_pin(struct run *run, const struct script_line *line, struct outcome *out)
{
	const struct script_option *as = script_option(line, "as");
	struct run_proc *p = run_line_proc(run);
	uint64_t n = run_pages(run, line, 1);
	struct run_pin *pin;
	avm_addr_t addr;
	int64_t got;

	if (!p || !n || !run_addr(run, &line->args[0].addr, &addr))
		return;
	if (!as || *find_pin(run, &as->args[0].name)) {
		run_bad(run, as ? "there is such a pin already" : "pin as what?");
		return;
	}
	pin = calloc(1, sizeof(*pin) + n * sizeof(struct avm_page *));
	if (!pin) {
		run_bad(run, "out of memory");
		return;
	}
	got = avm_pin(run_mm(p), addr, n, (enum avm_access)line->args[2].number, pin->pages);
	out->error = got < 0 ? (int)got : 0;
	out->has_count = got >= 0;
	out->count = got >= 0 ? (uint64_t)got : 0;
	if (got <= 0) {
		free(pin);
		return;
	}
	pin->name = as->args[0].name;
	pin->proc = p->name;
	pin->addr = addr;
	pin->n = (uint64_t)got;
	pin->next = run->pins;
	run->pins = pin;
	oracle_pins(p, addr, pin->n);
}

static void unpin(struct run *run, struct run_pin **at, enum avm_unpin_how how)
{
	struct run_pin *pin = *at;

	*at = pin->next;
	avm_unpin(run_avm(run), pin->pages, pin->n, how);
	free(pin);
}

void op_unpin(struct run *run, const struct script_line *line, struct outcome *out)
{
	(void)out;
	if (pin_named(run, &line->args[0].name))
		unpin(run, find_pin(run, &line->args[0].name),
		      script_has(line, "dirty") ? AVM_UNPIN_DIRTY : AVM_UNPIN_CLEAN);
}

void run_unpin_all(struct run *run)
{
	while (run->pins)
		unpin(run, &run->pins, AVM_UNPIN_CLEAN);
}

/* The page that PIN+PAGES.BYTES is in, for `len` bytes of it; NULL: bad. */
static struct avm_page *pinned_page(struct run *run, const struct script_addr *at, uint64_t len,
				    struct run_pin **pin)
{
	*pin = pin_named(run, &at->label);
	if (!*pin)
		return NULL;
	if (at->pages >= (*pin)->n || at->bytes + len > SCRIPT_PAGE ||
	    (run->contents == SIM_STAMPS && (at->bytes || len > 8))) {
		run_bad(run, "not within a page of the pin");
		return NULL;
	}
	return (*pin)->pages[at->pages];
}

/* dma-read PIN+PAGE.BYTE [LEN]: what a device sees. */
void op_dma_read(struct run *run, const struct script_line *line, struct outcome *out)
{
	const struct script_addr *at = &line->args[0].addr;
	uint64_t len = line->nr_args > 1  ? line->args[1].number :
		       line->expect.value ? line->expect.value->len :
					    8;
	struct avm_page *page;
	struct run_pin *pin;

	if (!len || len > SCRIPT_VALUE_MAX) {
		run_bad(run, "between 1 and %u bytes", SCRIPT_VALUE_MAX);
		return;
	}
	page = pinned_page(run, at, len, &pin);
	if (!page)
		return;
	avm_port_frame_read(run_avm(run), page->pfn, (uint32_t)at->bytes, out->value, len);
	out->has_value = true;
	out->value_len = (uint32_t)len;
}

/* dma-write PIN+PAGE.BYTE VALUE [detached]: what a device writes; the process sees it unless it has unmapped the page. */
void op_dma_write(struct run *run, const struct script_line *line, struct outcome *out)
{
	const struct script_addr *at = &line->args[0].addr;
	const struct script_value *v = line->args[1].value;
	struct run_pin *pin;
	struct avm_page *page = pinned_page(run, at, v->len, &pin);
	avm_addr_t addr;

	(void)out;
	if (!page)
		return;
	avm_port_frame_write(run_avm(run), page->pfn, (uint32_t)at->bytes, v->bytes, v->len);
	if (script_has(line, "detached"))
		return;
	struct run_proc *p = run_proc(run, &pin->proc);

	addr = pin->addr + at->pages * SCRIPT_PAGE + at->bytes;
	if (p)
		oracle_store(p->oracle, addr, v->bytes, v->len);
}
