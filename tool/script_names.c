/* SPDX-License-Identifier: MIT */
/*
 * script_names.c - the processes, files, swap devices and labels of a run, by name.
 */
#include <stdlib.h>
#include <string.h>

#include "script_priv.h"

static bool same(const struct script_name *a, const struct script_name *b)
{
	return !strcmp(a->text, b->text);
}

struct run_proc *run_proc(struct run *run, const struct script_name *name)
{
	for (size_t i = 0; i < run->nr_procs; i++) {
		if (same(&run->procs[i].name, name))
			return &run->procs[i];
	}
	run_bad(run, "no process %s", name->text);
	return NULL;
}

struct run_proc *run_line_proc(struct run *run)
{
	return run_proc(run, &run->line->proc);
}

/* Room for one element more than n, zeroed. */
static void *grow(void *v, size_t n, size_t *room, size_t size)
{
	void *grown = v;

	if (n == *room) {
		*room = *room ? *room * 2 : 8;
		grown = reallocarray(v, *room, size);
	}
	if (!grown) {
		fprintf(stderr, "anonvm: out of memory\n");
		exit(2);
	}
	memset((char *)grown + n * size, 0, size);
	return grown;
}

struct run_proc *run_new_proc(struct run *run, const struct script_name *name)
{
	for (size_t i = 0; i < run->nr_procs; i++) {
		if (!same(&run->procs[i].name, name))
			continue;
		run_bad(run, "there is a process %s already", name->text);
		return NULL;
	}
	run->procs = grow(run->procs, run->nr_procs, &run->procs_room, sizeof(*run->procs));
	run->procs[run->nr_procs].name = *name;
	return &run->procs[run->nr_procs++];
}

struct run_file *run_new_file(struct run *run, const struct script_name *name)
{
	for (size_t i = 0; i < run->nr_files; i++) {
		if (!same(&run->files[i].name, name))
			continue;
		run_bad(run, "there is a file %s already", name->text);
		return NULL;
	}
	run->files = grow(run->files, run->nr_files, &run->files_room, sizeof(*run->files));
	run->files[run->nr_files].name = *name;
	return &run->files[run->nr_files++];
}

struct run_swap *run_new_swap(struct run *run, const struct script_name *name)
{
	for (size_t i = 0; i < run->nr_swaps; i++) {
		if (!same(&run->swaps[i].name, name))
			continue;
		run_bad(run, "there is a swap device %s already", name->text);
		return NULL;
	}
	run->swaps = grow(run->swaps, run->nr_swaps, &run->swaps_room, sizeof(*run->swaps));
	run->swaps[run->nr_swaps].name = *name;
	return &run->swaps[run->nr_swaps++];
}

void run_drop_proc(struct run *run, struct run_proc *p)
{
	*p = run->procs[--run->nr_procs];
}

void run_drop_file(struct run *run, struct run_file *f)
{
	*f = run->files[--run->nr_files];
}

struct run_file *run_file(struct run *run, const struct script_addr *file)
{
	for (size_t i = 0; i < run->nr_files; i++) {
		if (same(&run->files[i].name, &file->label))
			return &run->files[i];
	}
	run_bad(run, "no file %s", file->label.text);
	return NULL;
}

static struct run_label *find_label(struct run *run, const struct script_name *name)
{
	for (size_t i = 0; i < run->nr_labels; i++) {
		if (same(&run->labels[i].name, name))
			return &run->labels[i];
	}
	return NULL;
}

void run_set_label(struct run *run, const struct script_name *name, avm_addr_t addr)
{
	struct run_label *label = find_label(run, name);

	if (!label) {
		run->labels =
			grow(run->labels, run->nr_labels, &run->labels_room, sizeof(*run->labels));
		label = &run->labels[run->nr_labels++];
		label->name = *name;
	}
	label->addr = addr;
}

bool run_addr(struct run *run, const struct script_addr *addr, avm_addr_t *out)
{
	const struct run_label *label;

	*out = addr->number;
	if (addr->label.text[0]) {
		label = find_label(run, &addr->label);
		if (!label) {
			run_bad(run, "no address %s", addr->label.text);
			return false;
		}
		*out = label->addr;
	}
	*out += addr->pages * SCRIPT_PAGE + addr->bytes;
	return true;
}

bool run_range(struct run *run, const struct script_range *range, avm_addr_t *start,
	       avm_addr_t *end)
{
	if (!run_addr(run, &range->base, start))
		return false;
	*end = *start + range->end * SCRIPT_PAGE;
	*start += range->first * SCRIPT_PAGE;
	return true;
}

struct avm_mm *run_mm(const struct run_proc *p)
{
	return sim_mm(p->sim);
}

struct avm *run_avm(const struct run *run)
{
	return sim_machine(run->sim);
}
