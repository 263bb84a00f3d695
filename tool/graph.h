/* SPDX-License-Identifier: MIT */
/*
 * graph.h - a picture of a machine's families (docs/graph.md): address spaces, VMAs, chains,
 * anon_vmas, pages. DOT, or SVG made of it by Graphviz.
 *
 * The machine is at rest, and may be corrupt: a pointer that may lead nowhere is not followed but
 * drawn red.
 */
#ifndef ANONVM_TOOL_GRAPH_H
#define ANONVM_TOOL_GRAPH_H

#include <stdio.h>

#include "anonvm/anonvm.h"

enum graph_format {
	GRAPH_DOT,
	GRAPH_SVG,
};

/*
 * What things are called; each function fills buf, with an empty string where it knows no name, and
 * may be NULL.
 */
struct graph_names {
	void *context;
	void (*process)(void *context, const struct avm_mm *mm, char *buf, size_t room);
	void (*vma)(void *context, const struct avm_vma *vma, char *buf, size_t room);
	void (*file)(void *context, const struct avm_file *file, char *buf, size_t room);
};

/* Writes DOT. `names` may be NULL. Ends the program when there is no memory for it. */
void graph_draw(struct avm *m, const struct graph_names *names, FILE *out);

/* SVG for a name that ends in .svg, else DOT. */
enum graph_format graph_format_of(const char *path);

/*
 * The same into a file, which is opened when the picture is ready; NULL: the standard output.
 * Returns NULL, or what went wrong, to be freed.
 */
char *graph_write(struct avm *m, const struct graph_names *names, enum graph_format format,
		  const char *path);

#endif
