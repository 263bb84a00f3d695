/* SPDX-License-Identifier: MIT */
/*
 * Recording through strace, where perf cannot be used: the calls, no faults.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record.h"

#define CALLS "trace=%memory,%process,prctl,ftruncate,fallocate"

static int run_strace(const struct record_options *o, const char *log)
{
	char *const head[] = { "strace", "-f",
			       "-ttt",	 "-y",
			       "-o",	 (char *)(uintptr_t)log,
			       "-e",	 CALLS,
			       "-s",	 o->scrub ? "0" : "32",
			       "--" };
	size_t n = 0, ncmd = 0;
	char **argv;
	int status;

	while (o->cmd[ncmd])
		ncmd++;
	argv = calloc(sizeof(head) / sizeof(head[0]) + ncmd + 1, sizeof(*argv));
	if (!argv)
		return -ENOMEM;
	for (; n < sizeof(head) / sizeof(head[0]); n++)
		argv[n] = head[n];
	memcpy(argv + n, o->cmd, ncmd * sizeof(*argv));
	status = record_run(argv);
	free(argv);
	return status;
}

/* Paths are in quotes ("/...") or behind a file descriptor (3</...>); strace lets no newline in. */
static void put_line(FILE *f, const char *p, size_t n)
{
	const char *end = p + n;

	while (p < end) {
		char close = *p == '"' ? '"' : *p == '<' ? '>' : '\0';
		const char *q;

		putc(*p, f);
		p++;
		if (!close || p == end || *p != '/')
			continue;
		q = memchr(p, close, (size_t)(end - p));
		if (!q)
			q = end;
		record_put_path(f, (struct trace_str){ p, (size_t)(q - p) });
		p = q;
	}
}

static int copy(const struct record_options *o, FILE *in)
{
	struct record_out out;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int rc = record_out_open(&out, o->output);

	if (rc)
		return rc;
	while ((n = getline(&line, &cap, in)) > 0) {
		if (o->scrub)
			put_line(out.f, line, (size_t)n);
		else
			fwrite(line, 1, (size_t)n, out.f);
	}
	free(line);
	return record_out_close(&out, o->output);
}

int record_strace(const struct record_options *o, int *status)
{
	size_t n = strlen(o->output) + 16;
	char *log = malloc(n);
	FILE *in;
	int fd, rc;

	if (!log)
		return -ENOMEM;
	snprintf(log, n, "%s.XXXXXX", o->output);
	fd = mkstemp(log);
	in = fd < 0 ? NULL : fdopen(fd, "r");
	if (!in) {
		record_error("%s: %s", log, strerror(errno));
		free(log);
		return -EIO;
	}
	*status = run_strace(o, log);
	rc = *status < 0 ? *status : copy(o, in);
	if (*status < 0)
		record_error("cannot run strace: %s", strerror(-rc));
	fclose(in);
	unlink(log);
	free(log);
	return rc;
}
