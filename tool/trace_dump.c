/* SPDX-License-Identifier: MIT */
/*
 * `anonvm trace-dump FILE`: the events of a trace as the reader understands them, one a line, and the
 * counts on stderr. For debugging the reader and for looking into traces; not in the help.
 */
#include <inttypes.h>
#include <stdio.h>

#include "commands.h"
#include "trace.h"

static const char *const rss_types[] = { "file", "anon", "swap", "shmem" };

static void print_str(const char *key, struct trace_str s)
{
	char q[256];

	printf(" %s=\"%s\"", key, trace_quote(q, sizeof(q), s));
}

static void print_sys(const struct trace_event *ev)
{
	const struct trace_sys *s = &ev->sys;

	printf(" %s", trace_call_name(s->call));
	for (unsigned int i = 0; i < s->nargs; i++) {
		if (s->unknown & 1u << i)
			printf(" ?");
		else
			printf(" 0x%" PRIx64, s->arg[i]);
	}
	if (s->path.n)
		print_str("path", s->path);
	if (ev->kind != TRACE_SYS_EXIT)
		return;
	if (s->no_result)
		printf(" = ?");
	else if (s->err)
		printf(" = -%d", s->err);
	else
		printf(" = 0x%" PRIx64, s->ret);
}

static void print_mmap(const struct trace_mmap *m)
{
	printf(" %d/%d 0x%" PRIx64 "+0x%" PRIx64 " pgoff=0x%" PRIx64 " dev=%x:%x inode=%" PRIu64
	       " %c%c%c%c",
	       m->pid, m->tid, m->start, m->len, m->pgoff, m->dev_major, m->dev_minor, m->inode,
	       m->prot & TRACE_PROT_READ ? 'r' : '-', m->prot & TRACE_PROT_WRITE ? 'w' : '-',
	       m->prot & TRACE_PROT_EXEC ? 'x' : '-', m->shared ? 's' : 'p');
	print_str("file", m->filename);
}

static void print_exit(const struct trace_exit *e)
{
	printf(" tid=%d group_dead=%s", e->tid,
	       !e->has_group_dead ? "?" :
	       e->group_dead	  ? "true" :
				    "false");
	print_str("comm", e->comm);
}

static void print_fields(const struct trace_event *ev)
{
	switch (ev->kind) {
	case TRACE_SYS_ENTER:
	case TRACE_SYS_EXIT:
		print_sys(ev);
		break;
	case TRACE_FAULT:
		printf(" 0x%" PRIx64 " code=0x%" PRIx64 "%s%s", ev->fault.addr, ev->fault.code,
		       ev->fault.has_code ? "" : " (none)", ev->fault.kernel ? " kernel" : "");
		print_str("ip", ev->fault.ip);
		break;
	case TRACE_RSS:
		printf(" mm=%" PRIu64 " curr=%d %s=%" PRId64, ev->rss.mm_id, ev->rss.curr,
		       rss_types[ev->rss.type], ev->rss.bytes);
		break;
	case TRACE_NEWTASK:
		printf(" %d/%d flags=0x%" PRIx64, ev->newtask.child_pid, ev->newtask.child_tid,
		       ev->newtask.clone_flags);
		print_str("comm", ev->newtask.comm);
		break;
	case TRACE_COMM:
		printf(" %d/%d%s", ev->comm.pid, ev->comm.tid, ev->comm.exec ? " exec" : "");
		print_str("comm", ev->comm.comm);
		break;
	case TRACE_EXEC:
		printf(" %d was %d", ev->exec.pid, ev->exec.old_pid);
		print_str("file", ev->exec.filename);
		break;
	case TRACE_MMAP:
		print_mmap(&ev->mmap);
		break;
	case TRACE_EXIT:
		print_exit(&ev->exit);
		break;
	case TRACE_REC_FORK:
	case TRACE_REC_EXIT:
		printf(" %d/%d of %d/%d", ev->task.pid, ev->task.tid, ev->task.parent_pid,
		       ev->task.parent_tid);
		break;
	case TRACE_LOST:
		printf(" %" PRIu64, ev->lost);
		break;
	case TRACE_OTHER:
	default:
		print_str("name", ev->name);
	}
}

static void print_event(const struct trace_event *ev)
{
	printf("%" PRIu64 " %" PRIu64 ".%09" PRIu64 " %d/%d [%d]", ev->line, ev->time / 1000000000,
	       ev->time % 1000000000, ev->pid, ev->tid, ev->cpu);
	print_str("comm", ev->task_comm);
	printf(" %s", trace_kind_name(ev->kind));
	print_fields(ev);
	putchar('\n');
}

static void print_stats(const struct trace *t)
{
	const struct trace_stats *s = trace_stats(t);

	fprintf(stderr,
		"%s: %" PRIu64 " lines, %" PRIu64 " events, lost %" PRIu64 ", bad %" PRIu64
		", skipped %" PRIu64 ", continued %" PRIu64 ", unordered %" PRIu64
		", unknown arguments %" PRIu64 ", orphans %" PRIu64 "\n",
		trace_format(t) == TRACE_PERF ? "perf" : "strace", s->lines, s->events, s->lost,
		s->bad_lines, s->skipped, s->continued, s->unordered, s->unknown_args, s->orphans);
	for (int k = 0; k < TRACE_NR_KINDS; k++) {
		if (s->kind[k])
			fprintf(stderr, "  %-10s %" PRIu64 "\n",
				trace_kind_name((enum trace_kind)k), s->kind[k]);
	}
}

enum output {
	OUTPUT_EVENTS,
	OUTPUT_COUNTS,
};

static int dump(const char *path, enum output output)
{
	char err[TRACE_ERR_MAX];
	struct trace_event ev;
	struct trace *t;
	const char *msg;
	int rc;

	if (trace_open(&t, path, err) < 0) {
		fprintf(stderr, "anonvm: trace-dump: %s\n", err);
		return EXIT_USAGE;
	}
	while ((rc = trace_next(t, &ev)) > 0) {
		if (output == OUTPUT_EVENTS)
			print_event(&ev);
	}
	for (unsigned int i = 0; (msg = trace_complaint(t, i)); i++)
		fprintf(stderr, "anonvm: trace-dump: %s\n", msg);
	if (rc < 0)
		fprintf(stderr, "anonvm: trace-dump: %s\n", trace_error(t));
	print_stats(t);
	if (trace_stats(t)->bad_lines)
		rc = -1;
	trace_close(t);
	return rc < 0 ? EXIT_USAGE : EXIT_OK;
}

int cmd_trace_dump(int argc, char **argv)
{
	bool counts = argc == 3 && argv[1][0] == '-' && argv[1][1] == 'c';

	if (argc != 2 && !counts) {
		fprintf(stderr, "usage: anonvm trace-dump [-c] FILE\n  -c  counts only\n");
		return EXIT_USAGE;
	}
	return dump(argv[argc - 1], counts ? OUTPUT_COUNTS : OUTPUT_EVENTS);
}
