/* SPDX-License-Identifier: MIT */
/*
 * script_swap.c - lines about memory under pressure: swap devices, and pages that leave memory.
 *
 * The oracle hears of none of them: a page that has been away is the page it was.
 */
#include <limits.h>
#include <string.h>

#include "scratch.h"
#include "script_priv.h"

#define MAX_SLOTS (1u << 20) /* of a device: verified after each line */

#define MANY_PAGES (1u << 20)

/* ---- devices --------------------------------------------------------------------------------- */

static struct run_swap *find_swap(struct run *run, const struct script_name *name)
{
	for (size_t i = 0; i < run->nr_swaps; i++) {
		if (!strcmp(run->swaps[i].name.text, name->text))
			return &run->swaps[i];
	}
	run_bad(run, "no swap device %s", name->text);
	return NULL;
}

static bool take_kind(struct run *run, const struct script_line *line, const char *keyword,
		      enum sim_swap_kind *kind)
{
	const struct script_option *o = script_option(line, keyword);
	const char *word = o ? o->args[0].name.text : "memory";

	for (int i = 0; scratch_swap_kinds[i]; i++) {
		if (strcmp(scratch_swap_kinds[i], word) != 0)
			continue;
		*kind = (enum sim_swap_kind)i;
		return true;
	}
	run_bad(run, "%s is memory, file, zstd or lz4", keyword);
	return false;
}

static void add_device(struct run *run, const struct script_name *name,
		       const struct sim_swap_config *config, struct outcome *out)
{
	struct run_swap *w = run_new_swap(run, name);

	if (!w)
		return;
	out->error = scratch_swap_add(run->sim, config, &w->device);
	if (out->error)
		run->nr_swaps--;
}

static bool take_slots(struct run *run, uint64_t n, uint32_t *slots)
{
	if (n > MAX_SLOTS)
		run_bad(run, "at most %u slots", MAX_SLOTS);
	*slots = (uint32_t)n;
	return !run->over;
}

void run_machine_swap(struct run *run, const struct script_line *line, struct outcome *out)
{
	const struct script_name name = { "swap" };
	struct sim_swap_config config = { .kind = SIM_SWAP_MEMORY };

	if (!script_has(line, "swap") && script_has(line, "swapkind"))
		run_bad(run, "swapkind of what?");
	if (run->over || !script_has(line, "swap") ||
	    !take_slots(run, script_number(line, "swap", 0), &config.slots) ||
	    !take_kind(run, line, "swapkind", &config.kind))
		return;
	add_device(run, &name, &config, out);
}

/* swapon NAME slots N [priority P] [kind K] [file "PATH"] */
void op_swapon(struct run *run, const struct script_line *line, struct outcome *out)
{
	const struct script_option *file = script_option(line, "file");
	struct sim_swap_config config = { .kind = SIM_SWAP_MEMORY };
	uint64_t priority = script_number(line, "priority", 0);

	if (priority > INT32_MAX)
		run_bad(run, "priority: number too large");
	if (run->over || !take_slots(run, script_number(line, "slots", 0), &config.slots) ||
	    !take_kind(run, line, "kind", &config.kind))
		return;
	config.priority = (int32_t)priority;
	if (file) {
		config.kind = SIM_SWAP_FILE;
		config.path = run->options->files ? file->args[0].text : NULL;
	}
	add_device(run, &line->args[0].name, &config, out);
}

void op_swapoff(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_swap *w = find_swap(run, &line->args[0].name);

	if (!w)
		return;
	out->error = sim_swap_remove(run->sim, w->device);
	if (!out->error)
		*w = run->swaps[--run->nr_swaps];
}

/* fail {swapread|swapwrite} N [count M] [on NAME]: the N-th from now, and M in a row. */
void run_fail_swap(struct run *run, const struct script_line *line)
{
	const struct script_option *on = script_option(line, "on");
	const struct run_swap *one = on ? find_swap(run, &on->args[0].name) : NULL;
	uint64_t n = line->args[1].number;
	uint64_t count = script_number(line, "count", 1);
	unsigned times = count ? (unsigned)count : UINT_MAX;

	if (on && line->args[0].number == 0)
		run_bad(run, "on: of swapread and swapwrite");
	if (n > UINT_MAX || count > UINT_MAX)
		run_bad(run, "number too large");
	if (run->over)
		return;
	run->io_fails = true;
	for (size_t i = 0; i < run->nr_swaps; i++) {
		const struct run_swap *w = &run->swaps[i];

		if (one && w != one)
			continue;
		if (!n)
			sim_swap_fail(w->device, 0, 0, 0);
		else if (line->args[0].number == 1)
			sim_swap_fail(w->device, (unsigned)n - 1, times, 0);
		else
			sim_swap_fail(w->device, (unsigned)n - 1, 0, times);
	}
}

static void check(struct run *run, const struct script_line *line, const char *word, uint64_t got)
{
	uint64_t want = script_number(line, word, got);

	if (got != want)
		run_fail(run, "%s %llu, expected %llu", word, (unsigned long long)got,
			 (unsigned long long)want);
}

/* swap NAME ... */
void op_swap(struct run *run, const struct script_line *line, struct outcome *out)
{
	const struct run_swap *w = find_swap(run, &line->args[0].name);
	struct sim_swap_stats st;

	(void)out;
	if (!w)
		return;
	sim_swap_stats(w->device, &st);
	check(run, line, "used", w->device->used);
	check(run, line, "pages", st.pages);
	check(run, line, "reads", st.reads);
	check(run, line, "writes", st.writes);
}

void run_show_swap(struct run *run, FILE *f)
{
	for (size_t i = 0; i < run->nr_swaps; i++) {
		const struct avm_swap_device *d = run->swaps[i].device;
		struct sim_swap_stats st;

		sim_swap_stats(d, &st);
		fprintf(f,
			"%s: %u slots, %u used, priority %d; reads %llu, writes %llu, "
			"discards %llu; %llu pages in %llu bytes\n",
			run->swaps[i].name.text, d->nr_slots, d->used, d->priority,
			(unsigned long long)st.reads, (unsigned long long)st.writes,
			(unsigned long long)st.discards, (unsigned long long)st.pages,
			(unsigned long long)st.bytes);
	}
}

/* ---- pages ----------------------------------------------------------------------------------- */

uint64_t run_pages(struct run *run, const struct script_line *line, size_t arg)
{
	uint64_t pages = 1;

	if (line->nr_args > arg && line->args[arg].kind == 'L')
		pages = line->args[arg].number / SCRIPT_PAGE;
	if (!pages || pages > MANY_PAGES)
		run_bad(run, "between 1 and %u pages", MANY_PAGES);
	return run->over ? 0 : pages;
}

void op_reclaim(struct run *run, const struct script_line *line, struct outcome *out)
{
	out->has_count = true;
	out->count = avm_shrink(run_avm(run), line->args[0].number);
}

void op_shrinkall(struct run *run, const struct script_line *line, struct outcome *out)
{
	(void)line;
	out->has_count = true;
	out->count = avm_shrink_all(run_avm(run));
}

/* ksm N: looks at the next N pages of mergeable memory. */
void op_ksm(struct run *run, const struct script_line *line, struct outcome *out)
{
	int64_t got = avm_ksm_scan(run_avm(run), line->args[0].number);

	out->error = got < 0 ? (int)got : 0;
	out->has_count = got >= 0;
	out->count = got >= 0 ? (uint64_t)got : 0;
}

void op_balance(struct run *run, const struct script_line *line, struct outcome *out)
{
	(void)line;
	out->has_count = true;
	out->count = avm_balance(run_avm(run));
}

/* swapped A ADDR [LEN], resident A ADDR [LEN]: what the entries say, each of them. */
void op_swapped(struct run *run, const struct script_line *line, struct outcome *out)
{
	const struct run_proc *p = run_proc(run, &line->args[0].name);
	bool swapped = !strcmp(line->op->name, "swapped");
	uint64_t n = run_pages(run, line, 2);
	avm_addr_t addr;

	(void)out;
	if (!p || !n || !run_addr(run, &line->args[1].addr, &addr))
		return;
	for (uint64_t i = 0; i < n && !run->over; i++) {
		struct avm_pte_info pte;

		avm_pte_at(run_mm(p), addr + i * SCRIPT_PAGE, &pte);
		if (pte.kind != (swapped ? AVM_PTE_SWAP : AVM_PTE_PRESENT))
			run_fail(run, "page %llu is not %s", (unsigned long long)i, line->op->name);
	}
}
