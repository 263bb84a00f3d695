/* SPDX-License-Identifier: MIT */
/*
 * script_check.c - claims: boundaries, entries, frames, families, counters.
 */
#include <string.h>

#include "script_priv.h"

/* The process and the address that begin most claims. */
static struct run_proc *take_place(struct run *run, const struct script_arg *args, avm_addr_t *addr)
{
	struct run_proc *p = run_proc(run, &args[0].name);

	return p && run_addr(run, &args[1].addr, addr) ? p : NULL;
}

/* ---- maps ------------------------------------------------------------------------------------ */

static void print_prot(uint64_t flags, char *buf)
{
	buf[0] = flags & AVM_VM_READ ? 'r' : '-';
	buf[1] = flags & AVM_VM_WRITE ? 'w' : '-';
	buf[2] = flags & AVM_VM_EXEC ? 'x' : '-';
	buf[3] = flags & AVM_VM_SHARED ? 's' : 'p';
	buf[4] = '\0';
}

static uint64_t flags_of_map(const struct script_range *r)
{
	return (r->prot & AVM_PROT_READ ? AVM_VM_READ : 0) |
	       (r->prot & AVM_PROT_WRITE ? AVM_VM_WRITE : 0) |
	       (r->prot & AVM_PROT_EXEC ? AVM_VM_EXEC : 0) | (r->shared ? AVM_VM_SHARED : 0);
}

static void compare_vma(struct run *run, const struct avm_vma *v, const struct script_range *want)
{
	avm_addr_t start, end;
	char got_prot[5], want_prot[5];
	uint64_t compared = AVM_VM_ACCESS | AVM_VM_SHARED;

	if (!run_range(run, want, &start, &end))
		return;
	print_prot(flags_of_map(want), want_prot);
	if (!v) {
		run_fail(run, "nothing where %#llx-%#llx %s is expected", (unsigned long long)start,
			 (unsigned long long)end, want_prot);
		return;
	}
	print_prot(v->flags, got_prot);
	if (v->start != start || v->end != end || (v->flags & compared) != flags_of_map(want))
		run_fail(run, "%#llx-%#llx %s, expected %#llx-%#llx %s",
			 (unsigned long long)v->start, (unsigned long long)v->end, got_prot,
			 (unsigned long long)start, (unsigned long long)end, want_prot);
	for (const struct script_word *w = script_vm_flags; w->word; w++) {
		if (want->flags & w->value & ~v->flags)
			run_fail(run, "%#llx-%#llx is not %s", (unsigned long long)start,
				 (unsigned long long)end, w->word);
	}
}

/*
 * maps A RANGE:PERM ..., maps-in A RANGE RANGE:PERM ...: exactly these VMAs, at all or in the
 * range.
 */
void op_maps(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_proc(run, &line->args[0].name);
	bool in = line->nr_args > 1 && line->args[1].kind == 'R';
	avm_addr_t start = 0;
	avm_addr_t end = UINT64_MAX;
	struct avm_vma *v;

	(void)out;
	if (!p || (in && !run_range(run, line->args[1].range, &start, &end)))
		return;
	v = avm_find_vma(run_mm(p), start);
	for (size_t i = in ? 2 : 1; i < line->nr_args && !run->over; i++) {
		compare_vma(run, v && v->start < end ? v : NULL, line->args[i].range);
		v = v ? avm_next_vma(run_mm(p), v) : NULL;
	}
	if (!run->over && v && v->start < end)
		run_fail(run, "%#llx-%#llx besides what is expected", (unsigned long long)v->start,
			 (unsigned long long)v->end);
}

void op_vmas(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_proc(run, &line->args[0].name);
	struct avm_mm_stats st;

	(void)out;
	if (!p)
		return;
	avm_mm_stats(run_mm(p), &st);
	if (st.vmas != line->args[1].number)
		run_fail(run, "%llu VMAs, expected %llu", (unsigned long long)st.vmas,
			 (unsigned long long)line->args[1].number);
}

/* ---- entries and pages ----------------------------------------------------------------------- */

struct check {
	const char *word;
	bool holds;
};

static void check_words(struct run *run, const struct script_line *line, const struct check *checks)
{
	for (; checks->word; checks++) {
		if (script_has(line, checks->word) && !checks->holds)
			run_fail(run, "not %s", checks->word);
	}
}

void op_pte(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct avm_pte_info pte;
	avm_addr_t addr;
	struct run_proc *p = take_place(run, line->args, &addr);

	(void)out;
	if (!p)
		return;
	avm_pte_at(run_mm(p), addr, &pte);

	bool present = pte.kind == AVM_PTE_PRESENT;
	const struct check checks[] = {
		{ "absent", pte.kind == AVM_PTE_NONE },
		{ "present", present },
		{ "swapped", pte.kind == AVM_PTE_SWAP },
		{ "poisoned", pte.kind == AVM_PTE_POISON },
		{ "writable", present && pte.write },
		{ "readonly", present && !pte.write && !pte.none },
		{ "exec", present && pte.exec },
		{ "prot-none", present && pte.none },
		{ "zero", present && pte.zero },
		{ "not-zero", present && !pte.zero },
		{ "special", present && pte.special },
		{ "young", present && pte.young },
		{ "old", present && !pte.young },
		{ "dirty", present && pte.dirty },
		{ "clean", present && !pte.dirty },
		{ NULL, false },
	};

	check_words(run, line, checks);
}

static struct avm_page *page_at(struct run *run, const struct run_proc *p, avm_addr_t addr)
{
	struct avm_pte_info pte;

	avm_pte_at(run_mm(p), addr, &pte);
	if (pte.kind == AVM_PTE_PRESENT && pte.page)
		return pte.page;
	run_fail(run, "no page at %#llx of %s", (unsigned long long)addr, p->name.text);
	return NULL;
}

static struct avm_vma *vma_at(struct run *run, const struct run_proc *p, avm_addr_t addr)
{
	struct avm_vma *v = avm_find_vma(run_mm(p), addr);

	if (v && v->start <= addr)
		return v;
	run_fail(run, "nothing is mapped at %#llx of %s", (unsigned long long)addr, p->name.text);
	return NULL;
}

static const struct avm_anon_vma *own_of(const struct avm_vma *v)
{
	return atomic_load(&v->anon_vma);
}

static const struct avm_anon_vma *root_of(const struct avm_vma *v)
{
	const struct avm_anon_vma *root = NULL;

	for (const struct avm_anon_vma *av = avm_next_in_chain(v, NULL); av;
	     av = avm_next_in_chain(v, av))
		root = av;
	return root;
}

static void check_number(struct run *run, const struct script_line *line, const char *word,
			 uint64_t got)
{
	uint64_t want = script_number(line, word, got);

	if (got != want)
		run_fail(run, "%s %llu, expected %llu", word, (unsigned long long)got,
			 (unsigned long long)want);
}

/* page A ADDR ...: of the frame that is mapped there. */
void op_page(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	struct run_proc *p = take_place(run, line->args, &addr);
	struct avm_page *page = p ? page_at(run, p, addr) : NULL;
	struct avm_vma *v = page ? vma_at(run, p, addr) : NULL;
	const struct avm_anon_vma *av;
	uintptr_t mapping;
	uint32_t flags, mapcount;

	(void)out;
	if (!v)
		return;
	flags = atomic_load(&page->flags);
	mapcount = atomic_load(&page->mapcount);
	mapping = atomic_load(&page->mapping);
	av = avm_page_anon_vma(page);

	const struct check checks[] = {
		{ "anon", mapping & AVM_MAPPING_ANON },
		{ "file", mapping && !(mapping & AVM_MAPPING_FLAGS) },
		{ "exclusive", mapcount & AVM_MAPCOUNT_EXCLUSIVE },
		{ "shared", !(mapcount & AVM_MAPCOUNT_EXCLUSIVE) },
		{ "dirty", flags & AVM_PG_DIRTY },
		{ "clean", !(flags & AVM_PG_DIRTY) },
		{ "unevictable", flags & AVM_PG_UNEVICTABLE },
		{ "evictable", !(flags & AVM_PG_UNEVICTABLE) },
		{ "active", flags & AVM_PG_ACTIVE },
		{ "inactive", !(flags & AVM_PG_ACTIVE) },
		{ "merged", mapping & AVM_MAPPING_MERGED },
		{ "lazyfree", flags & AVM_PG_LAZYFREE },
		{ "swapcache", flags & AVM_PG_SWAPCACHE },
		{ "not-swapcache", !(flags & AVM_PG_SWAPCACHE) },
		{ "own", av && av == own_of(v) },
		{ "root", av && av == root_of(v) },
		{ NULL, false },
	};

	check_words(run, line, checks);
	check_number(run, line, "mapcount", mapcount & AVM_MAPCOUNT);
	check_number(run, line, "refcount", atomic_load(&page->refcount));
	check_number(run, line, "pins", atomic_load(&page->pins));
}

/* frame A ADDR {same|other} B ADDR */
void op_frame(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t a, b;
	struct run_proc *p = take_place(run, &line->args[0], &a);
	struct run_proc *q = p ? take_place(run, &line->args[3], &b) : NULL;
	struct avm_page *one = q ? page_at(run, p, a) : NULL;
	struct avm_page *two = one ? page_at(run, q, b) : NULL;
	bool want_same = line->args[2].number == 0;

	(void)out;
	if (two && (one == two) != want_same)
		run_fail(run, one == two ? "it is the same frame" : "these are two frames");
}

/* key A ADDR {same|other} B ADDR: of avm_page_key(), which futexes use. */
void op_key(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct avm_page_key one = { 0 };
	struct avm_page_key two = { 0 };
	avm_addr_t a, b;
	struct run_proc *p = take_place(run, &line->args[0], &a);
	struct run_proc *q = p ? take_place(run, &line->args[3], &b) : NULL;
	bool same;

	(void)out;
	if (!q)
		return;
	if (avm_page_key(run_mm(p), a, &one) || avm_page_key(run_mm(q), b, &two)) {
		run_fail(run, "no key: nothing is mapped there");
		return;
	}
	same = one.object == two.object && one.index == two.index && one.offset == two.offset;
	if (same != (line->args[2].number == 0))
		run_fail(run, same ? "it is the same memory" : "these are two places");
}

#define RMAP_MAX 128

/* rmap A ADDR B ADDR C ADDR ...: the reverse walk from the page at A ADDR meets exactly these. */
void op_rmap(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	struct run_proc *p = take_place(run, line->args, &addr);
	struct avm_page *page = p ? page_at(run, p, addr) : NULL;
	size_t want = (line->nr_args - 2) / 2;
	bool met[RMAP_MAX] = { false };
	struct avm_rmap_iter it;
	size_t n = 0;

	(void)out;
	if (!page)
		return;
	if (avm_rmap_iter_begin(run_avm(run), &it, page)) {
		run_fail(run, "nobody can be asked who maps the page");
		return;
	}
	for (; avm_rmap_iter_next(run_avm(run), &it); n++) {
		for (size_t i = 0; i < want; i++) {
			avm_addr_t at;
			struct run_proc *q = take_place(run, &line->args[2 + 2 * i], &at);

			if (q && run_mm(q) == it.vma->mm && at == it.addr)
				met[i] = true;
		}
	}
	avm_rmap_iter_end(run_avm(run), &it);
	for (size_t i = 0; i < want; i++) {
		if (!met[i])
			run_fail(run, "the walk did not meet %s", line->args[2 + 2 * i].name.text);
	}
	if (n != want)
		run_fail(run, "the walk met %zu places, expected %zu", n, want);
}

/* ---- families -------------------------------------------------------------------------------- */

/* The VMA that a word of `family` compares with. */
static struct avm_vma *other_vma(struct run *run, const struct script_line *line, const char *word)
{
	const struct script_option *o = script_option(line, word);
	avm_addr_t addr;
	struct run_proc *p = o ? take_place(run, o->args, &addr) : NULL;

	return p ? vma_at(run, p, addr) : NULL;
}

static void compare_families(struct run *run, const struct script_line *line,
			     const struct avm_vma *v)
{
	const struct avm_vma *o;

	o = other_vma(run, line, "same");
	if (o && own_of(v) != own_of(o))
		run_fail(run, "the anon_vmas differ");
	o = other_vma(run, line, "other");
	if (o && own_of(v) == own_of(o))
		run_fail(run, "the anon_vmas are the same");
	o = other_vma(run, line, "root-of");
	if (o && own_of(v) != root_of(o))
		run_fail(run, "its anon_vma is not the root of the other one's family");
	o = other_vma(run, line, "relative");
	if (o && root_of(v) != root_of(o))
		run_fail(run, "the roots differ");
	o = other_vma(run, line, "stranger");
	if (o && root_of(v) == root_of(o))
		run_fail(run, "the roots are the same");
}

/* family A ADDR ...: of the VMA there. */
void op_family(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	struct run_proc *p = take_place(run, line->args, &addr);
	struct avm_vma *v = p ? vma_at(run, p, addr) : NULL;
	const struct avm_anon_vma *av;
	struct avm_anon_vma_info info = { 0 };
	uint64_t chain = 0;

	(void)out;
	if (!v)
		return;
	av = own_of(v);
	for (const struct avm_anon_vma *a = avm_next_in_chain(v, NULL); a;
	     a = avm_next_in_chain(v, a))
		chain++;
	if (av)
		avm_anon_vma_info(av, &info);

	const struct check checks[] = {
		{ "unfaulted", !av },
		{ "faulted", av != NULL },
		{ "root", av && info.id == info.root_id },
		{ "child", av && info.id != info.root_id },
		{ NULL, false },
	};

	check_words(run, line, checks);
	check_number(run, line, "chain", chain);
	check_number(run, line, "members", info.nr_avcs);
	check_number(run, line, "active", info.num_active_vmas);
	check_number(run, line, "children", info.num_children);
	check_number(run, line, "refs", info.refcount);
	if (!run->over)
		compare_families(run, line, v);
}

/* ---- counters -------------------------------------------------------------------------------- */

void op_rss(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_proc(run, &line->args[0].name);
	struct avm_mm_stats st;

	(void)out;
	if (!p)
		return;
	avm_mm_stats(run_mm(p), &st);
	check_number(run, line, "file", st.rss[AVM_RSS_FILE]);
	check_number(run, line, "anon", st.rss[AVM_RSS_ANON]);
	check_number(run, line, "swap", st.rss[AVM_RSS_SWAP]);
	check_number(run, line, "shmem", st.rss[AVM_RSS_SHMEM]);
}

/* smaps A ADDR ...: of the VMA there, in pages, or bytes with a unit. */
void op_smaps(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	struct run_proc *p = take_place(run, line->args, &addr);
	struct avm_vma *v = p ? vma_at(run, p, addr) : NULL;
	struct avm_vma_stats s;

	(void)out;
	if (!v)
		return;
	avm_vma_stats(v, &s);
	check_number(run, line, "rss", s.rss);
	check_number(run, line, "pss", s.pss);
	check_number(run, line, "shared-clean", s.shared_clean);
	check_number(run, line, "shared-dirty", s.shared_dirty);
	check_number(run, line, "private-clean", s.private_clean);
	check_number(run, line, "private-dirty", s.private_dirty);
	check_number(run, line, "referenced", s.referenced);
	check_number(run, line, "anonymous", s.anonymous);
	check_number(run, line, "ksm", s.ksm);
	check_number(run, line, "lazyfree", s.lazyfree);
	check_number(run, line, "swap", s.swap);
	check_number(run, line, "swap-pss", s.swap_pss);
	check_number(run, line, "locked", s.locked);
}

/* pages A total N ...: what is accounted to the address space. */
void op_pages(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_proc(run, &line->args[0].name);
	struct avm_mm_stats st;

	(void)out;
	if (!p)
		return;
	avm_mm_stats(run_mm(p), &st);
	check_number(run, line, "total", st.total_vm);
	check_number(run, line, "data", st.data_vm);
	check_number(run, line, "exec", st.exec_vm);
	check_number(run, line, "stack", st.stack_vm);
	check_number(run, line, "locked", st.locked_vm);
	check_number(run, line, "tables", st.tables);
}

static void check_counter(struct run *run, const struct script_line *line, uint64_t got)
{
	uint64_t want = line->args[1].number;

	if (got != want)
		run_fail(run, "%s %llu, expected %llu", line->args[0].name.text,
			 (unsigned long long)got, (unsigned long long)want);
}

/* event NAME N: since the last mark. */
void op_event(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct avm_stats st;

	(void)out;
	avm_stats(run_avm(run), &st);
	for (int e = 0; e < AVM_NR_EVENTS; e++) {
		if (!strcmp(avm_event_name((enum avm_event)e), line->args[0].name.text)) {
			check_counter(run, line, st.events[e] - run->mark.events[e]);
			return;
		}
	}
	run_bad(run, "no event %s", line->args[0].name.text);
}

/* refused NAME N: merges, since the last mark. */
void op_refused(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct avm_stats st;

	(void)out;
	avm_stats(run_avm(run), &st);
	for (int r = 0; r < AVM_NR_REFUSALS; r++) {
		if (!strcmp(avm_refusal_name((enum avm_refusal)r), line->args[0].name.text)) {
			check_counter(run, line, st.refused[r] - run->mark.refused[r]);
			return;
		}
	}
	run_bad(run, "no refusal %s", line->args[0].name.text);
}

void op_count(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct avm_stats st;

	(void)out;
	avm_stats(run_avm(run), &st);
	check_number(run, line, "mms", st.mms);
	check_number(run, line, "vmas", st.vmas);
	check_number(run, line, "anon_vmas", st.anon_vmas);
	check_number(run, line, "avcs", st.avcs);
	check_number(run, line, "tables", st.tables);
	check_number(run, line, "frames", st.frames_used - st.tables);
	check_number(run, line, "committed", st.committed);
	check_number(run, line, "swap", st.swap_used);
}
