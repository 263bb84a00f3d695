/* SPDX-License-Identifier: MIT */
/*
 * graph_out.c - the picture into a file, and through Graphviz.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "graph.h"
#include "record.h"

__attribute__((format(printf, 1, 2))) static char *say(const char *format, ...)
{
	char *what = NULL;
	va_list list;

	va_start(list, format);
	if (vasprintf(&what, format, list) < 0)
		what = NULL;
	va_end(list);
	return what ? what : strdup("out of memory");
}

enum graph_format graph_format_of(const char *path)
{
	size_t n = strlen(path);

	return n >= 4 && !strcmp(path + n - 4, ".svg") ? GRAPH_SVG : GRAPH_DOT;
}

/* Runs `dot -Tsvg` over a file of DOT. NULL, or what went wrong. */
static char *to_svg(FILE *dot, FILE *svg)
{
	char name[] = "dot";
	char format[] = "-Tsvg";
	char *argv[] = { name, format, NULL };
	int status = record_spawn(argv, fileno(dot), fileno(svg));

	if (status == -ENOENT)
		return say("SVG needs the program 'dot': install the package graphviz, or ask for "
			   "--format=dot");
	if (status < 0)
		return say("dot: %s", strerror(-status));
	status = record_wait(status);
	if (status)
		return say("'dot -Tsvg' failed (status %#x)", (unsigned)status);
	return NULL;
}

static char *copy(FILE *from, const char *path)
{
	FILE *to = path ? fopen(path, "w") : stdout;
	char buf[65536];
	size_t n;
	bool bad;

	if (!to)
		return say("%s: %s", path, strerror(errno));
	rewind(from);
	while ((n = fread(buf, 1, sizeof(buf), from)) && fwrite(buf, 1, n, to) == n)
		;
	bad = ferror(from) || fflush(to) || ferror(to);
	if (path)
		bad |= fclose(to) != 0;
	return bad ? say("%s: %s", path ? path : "standard output", strerror(errno)) : NULL;
}

char *graph_write(struct avm *m, const struct graph_names *names, enum graph_format format,
		  const char *path)
{
	FILE *dot = tmpfile();
	FILE *svg = dot && format == GRAPH_SVG ? tmpfile() : NULL;
	char *wrong = NULL;

	if (!dot || (format == GRAPH_SVG && !svg)) {
		wrong = say("temporary file: %s", strerror(errno));
	} else {
		graph_draw(m, names, dot);
		rewind(dot);
		if (svg)
			wrong = to_svg(dot, svg);
		if (!wrong)
			wrong = copy(svg ? svg : dot, path);
	}
	if (dot)
		fclose(dot);
	if (svg)
		fclose(svg);
	return wrong;
}
