/* SPDX-License-Identifier: MIT */
/*
 * script_show.c - `show`: what the machine looks like, for people.
 */
#include <string.h>

#include "script_priv.h"

static void print_line(struct avm_sink *sink, const char *line)
{
	fprintf(sink->context, "%s\n", line);
}

static void show_stats(struct run *run, FILE *f)
{
	struct avm_stats st;

	avm_stats(run_avm(run), &st);
	fprintf(f, "frames %llu of %llu, page tables %llu, metadata %llu bytes (peak %llu)\n",
		(unsigned long long)st.frames_used, (unsigned long long)st.frames_total,
		(unsigned long long)st.tables, (unsigned long long)st.meta_bytes,
		(unsigned long long)st.meta_bytes_peak);
	fprintf(f,
		"address spaces %llu, VMAs %llu, anon_vmas %llu, AVCs %llu, committed %llu pages\n",
		(unsigned long long)st.mms, (unsigned long long)st.vmas,
		(unsigned long long)st.anon_vmas, (unsigned long long)st.avcs,
		(unsigned long long)st.committed);
	for (int e = 0; e < AVM_NR_EVENTS; e++) {
		if (st.events[e])
			fprintf(f, "  %-28s %llu\n", avm_event_name((enum avm_event)e),
				(unsigned long long)st.events[e]);
	}
	for (int r = 0; r < AVM_NR_REFUSALS; r++) {
		if (st.refused[r])
			fprintf(f, "  refused: %-19s %llu\n", avm_refusal_name((enum avm_refusal)r),
				(unsigned long long)st.refused[r]);
	}
}

/* What the pages of one VMA add up to. */
struct vma_sums {
	uint64_t present, zero, anon, shared, exclusive, dirty;
};

static void sum_page(const struct avm_pte_info *pte, struct vma_sums *sums)
{
	if (pte->kind != AVM_PTE_PRESENT)
		return;
	sums->present++;
	sums->dirty += pte->dirty;
	if (pte->zero) {
		sums->zero++;
		return;
	}
	if (!pte->page)
		return;
	sums->anon += (atomic_load(&pte->page->mapping) & AVM_MAPPING_ANON) != 0;
	sums->shared += (atomic_load(&pte->page->mapcount) & AVM_MAPCOUNT) > 1;
	sums->exclusive += pte->exclusive;
}

static void show_bytes(FILE *f, const char *name, uint64_t bytes)
{
	fprintf(f, " %s %lluk", name, (unsigned long long)(bytes >> 10));
}

/* The fields of smaps; the rarer ones if they are not 0. */
static void show_sums(struct avm_vma *v, FILE *f)
{
	struct avm_vma_stats s;

	avm_vma_stats(v, &s);
	const struct {
		const char *name;
		uint64_t bytes;
		bool rare;
	} fields[] = {
		{ "rss", s.rss, false },
		{ "pss", s.pss, false },
		{ "shared-clean", s.shared_clean, true },
		{ "shared-dirty", s.shared_dirty, true },
		{ "private-clean", s.private_clean, true },
		{ "private-dirty", s.private_dirty, true },
		{ "referenced", s.referenced, false },
		{ "anonymous", s.anonymous, true },
		{ "ksm", s.ksm, true },
		{ "lazyfree", s.lazyfree, true },
		{ "swap", s.swap, true },
		{ "swap-pss", s.swap_pss, true },
		{ "locked", s.locked, true },
	};

	fprintf(f, "   ");
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (fields[i].bytes || !fields[i].rare)
			show_bytes(f, fields[i].name, fields[i].bytes);
	}
	fputc('\n', f);
}

static void show_smaps(const struct run_proc *p, FILE *f)
{
	for (struct avm_vma *v = avm_next_vma(run_mm(p), NULL); v; v = avm_next_vma(run_mm(p), v)) {
		struct vma_sums sums = { 0 };
		struct avm_pte_info pte = { .addr = v->start };
		uint64_t chain = 0;

		for (; avm_next_pte(run_mm(p), v->end, &pte); pte.addr += SCRIPT_PAGE)
			sum_page(&pte, &sums);
		for (struct avm_anon_vma *av = avm_next_in_chain(v, NULL); av;
		     av = avm_next_in_chain(v, av))
			chain++;
		fprintf(f, "%012llx-%012llx %c%c%c%c pages %llu", (unsigned long long)v->start,
			(unsigned long long)v->end, v->flags & AVM_VM_READ ? 'r' : '-',
			v->flags & AVM_VM_WRITE ? 'w' : '-', v->flags & AVM_VM_EXEC ? 'x' : '-',
			v->flags & AVM_VM_SHARED ? 's' : 'p',
			(unsigned long long)((v->end - v->start) / SCRIPT_PAGE));
		for (const struct script_word *w = script_vm_flags; w->word; w++) {
			if (v->flags & w->value)
				fprintf(f, " %s", w->word);
		}
		fprintf(f,
			"\n    present %llu (zero %llu, anonymous %llu, shared %llu, exclusive %llu, "
			"dirty %llu), chain %llu\n",
			(unsigned long long)sums.present, (unsigned long long)sums.zero,
			(unsigned long long)sums.anon, (unsigned long long)sums.shared,
			(unsigned long long)sums.exclusive, (unsigned long long)sums.dirty,
			(unsigned long long)chain);
		show_sums(v, f);
	}
}

/* What stands in the entry, then the page behind it. */
static void show_page(struct run *run, const struct run_proc *p, avm_addr_t addr,
		      struct avm_sink *sink)
{
	struct avm_pte_info pte;
	FILE *f = sink->context;

	avm_pte_at(run_mm(p), addr, &pte);
	if (pte.kind == AVM_PTE_SWAP) {
		fprintf(f, "%#llx of %s: swapped: device %llu slot %llu%s\n",
			(unsigned long long)addr, p->name.text, (unsigned long long)pte.entry >> 32,
			(unsigned long long)pte.entry & UINT32_MAX,
			pte.exclusive ? " exclusive" : "");
		return;
	}
	if (pte.kind != AVM_PTE_PRESENT) {
		fprintf(f, "%#llx of %s: not present\n", (unsigned long long)addr, p->name.text);
		return;
	}
	fprintf(f, "%#llx of %s: frame %#llx%s%s%s%s%s%s\n", (unsigned long long)addr, p->name.text,
		(unsigned long long)pte.pfn, pte.write ? " writable" : " read-only",
		pte.exec ? " exec" : "", pte.young ? " young" : "", pte.dirty ? " dirty" : "",
		pte.none ? " prot-none" : "", pte.zero ? " zero page" : "");
	if (pte.page && !pte.zero)
		avm_dump_page(run_avm(run), pte.page, sink);
}

static void show_entry(const struct avm_pte_info *e, FILE *f)
{
	uintptr_t mapping = e->page ? atomic_load(&e->page->mapping) : 0;

	fprintf(f, "%012llx", (unsigned long long)e->addr);
	if (e->kind == AVM_PTE_PRESENT)
		fprintf(f, " present frame %#llx", (unsigned long long)e->pfn);
	else if (e->kind == AVM_PTE_SWAP)
		fprintf(f, " swapped device %llu slot %llu", (unsigned long long)e->entry >> 32,
			(unsigned long long)e->entry & UINT32_MAX);
	else if (e->kind != AVM_PTE_NONE)
		fprintf(f, e->kind == AVM_PTE_MIGRATION ? " moving" : " poisoned");
	fprintf(f, "%s%s%s%s%s\n", mapping && !(mapping & AVM_MAPPING_FLAGS) ? " file" : "",
		mapping & AVM_MAPPING_MERGED ? " merged" : "", e->zero ? " zero" : "",
		e->exclusive ? " exclusive" : "", e->dirty ? " dirty" : "");
}

/* As /proc/PID/pagemap: the entries of a range, without the empty ones. */
static void show_pagemap(struct run *run, const struct script_line *line, FILE *f)
{
	const struct script_option *o = script_option(line, "pagemap");
	const struct run_proc *p = o ? run_proc(run, &o->args[0].name) : NULL;
	struct avm_pte_info e;
	avm_addr_t start, end;

	if (!p || !run_range(run, o->args[1].range, &start, &end))
		return;
	e = (struct avm_pte_info){ .addr = start };
	for (; avm_next_pte(run_mm(p), end, &e); e.addr += SCRIPT_PAGE)
		show_entry(&e, f);
}

static void show_address_space(struct run *run, const struct script_line *line,
			       struct avm_sink *sink)
{
	static const char *const words[] = { "maps", "family", "smaps", "mm" };
	static void (*const dumps[])(struct avm_mm *, struct avm_sink *) = { avm_dump_maps,
									     avm_dump_families,
									     NULL, avm_dump_mm };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const struct script_option *o = script_option(line, words[i]);
		struct run_proc *p = o ? run_proc(run, &o->args[0].name) : NULL;

		if (p && dumps[i])
			dumps[i](run_mm(p), sink);
		else if (p)
			show_smaps(p, sink->context);
	}
}

static void show(struct run *run, const struct script_line *line, FILE *f)
{
	const struct script_option *page = script_option(line, "page");
	const struct script_option *of = script_option(line, "of");
	struct avm_sink sink = { .line = print_line, .context = f };
	struct run_proc *p = page ? run_proc(run, &of->args[0].name) : NULL;
	avm_addr_t addr;

	show_address_space(run, line, &sink);
	if (script_has(line, "stats"))
		show_stats(run, f);
	show_pagemap(run, line, f);
	if (script_has(line, "swap"))
		run_show_swap(run, f);
	if (p && run_addr(run, &page->args[0].addr, &addr))
		show_page(run, p, addr, &sink);
}

/* show maps A | family A | smaps A | mm A | page ADDR of A | pagemap A RANGE | stats | swap */
void op_show(struct run *run, const struct script_line *line, struct outcome *out)
{
	FILE *f = run->options->out ? run->options->out : fopen("/dev/null", "w");

	(void)out;
	if (!line->nr_options || script_has(line, "page") != script_has(line, "of"))
		run_bad(run, "show what?");
	else if (f)
		show(run, line, f);
	if (f && f != run->options->out)
		fclose(f);
}
