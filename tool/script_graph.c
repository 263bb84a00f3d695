/* SPDX-License-Identifier: MIT */
/*
 * script_graph.c - the picture of a script's machine, with the names of the script.
 */
#include <stdlib.h>

#include "script_priv.h"

static void process_name(void *context, const struct avm_mm *mm, char *buf, size_t room)
{
	const struct run *run = context;

	for (size_t i = 0; i < run->nr_procs; i++) {
		if (run_mm(&run->procs[i]) == mm)
			snprintf(buf, room, "%s", run->procs[i].name.text);
	}
}

static void file_name(void *context, const struct avm_file *file, char *buf, size_t room)
{
	const struct run *run = context;

	for (size_t i = 0; i < run->nr_files; i++) {
		if (run->files[i].file == file)
			snprintf(buf, room, "%s", run->files[i].name.text);
	}
}

/* Further away a label has probably nothing to do with it. */
#define NEAR_PAGES 1024u

/* As the script may call it: by the nearest label at its start or below, or inside of it. */
static void vma_name(void *context, const struct avm_vma *vma, char *buf, size_t room)
{
	const struct run *run = context;
	const struct run_label *best = NULL;

	for (size_t i = 0; i < run->nr_labels; i++) {
		const struct run_label *label = &run->labels[i];

		if (label->addr >= vma->end || label->addr + NEAR_PAGES * SCRIPT_PAGE <= vma->start)
			continue;
		if (!best || (label->addr <= vma->start ?
				      label->addr > best->addr || best->addr > vma->start :
				      best->addr > vma->start && label->addr < best->addr))
			best = label;
	}
	if (!best)
		return;
	if (best->addr == vma->start)
		snprintf(buf, room, "%s", best->name.text);
	else if (best->addr < vma->start)
		snprintf(buf, room, "%s+%llu", best->name.text,
			 (unsigned long long)((vma->start - best->addr) / SCRIPT_PAGE));
	else
		snprintf(buf, room, "%s-%llu", best->name.text,
			 (unsigned long long)((best->addr - vma->start) / SCRIPT_PAGE));
}

static char *draw(struct run *run, enum graph_format format, const char *path)
{
	const struct graph_names names = { .context = run,
					   .process = process_name,
					   .vma = vma_name,
					   .file = file_name };

	return graph_write(run_avm(run), &names, format, path);
}

/* The machine of a script that failed is drawn all the more; that of a bad script is not. */
void run_picture(struct run *run)
{
	const struct script_picture *picture = run->options->picture;
	char *wrong;

	if (!picture || run->result->status == 2)
		return;
	wrong = draw(run, picture->format, picture->path);
	if (!wrong)
		return;
	/* No line is to blame. */
	free(run->result->what);
	run->result->what = wrong;
	run->result->status = 2;
	run->over = true;
}

/* graph FILE */
void op_graph(struct run *run, const struct script_line *line, struct outcome *out)
{
	const char *path = line->args[0].text;
	char *wrong;

	(void)out;
	if (!run->options->files)
		return;
	wrong = draw(run, graph_format_of(path), path);
	if (wrong)
		run_bad(run, "%s", wrong);
	free(wrong);
}
