/* SPDX-License-Identifier: MIT */
/*
 * Recording through perf: which events there are on this machine, running perf record, and the text
 * of perf script as the trace. The text passes through our own reader on its way, so that what was
 * recorded is known to be readable.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "record.h"
#include "trace_priv.h"

static const char *const tracepoints[] = {
	"kmem:rss_stat",
	"task:task_newtask",
	"sched:sched_process_exec",
	"sched:sched_process_exit",
};

/* prctl names and switches, ftruncate and fallocate cut files: they change memory, too. */
static const enum trace_call recorded[] = {
	TRACE_CALL_MMAP,	  TRACE_CALL_MUNMAP,	      TRACE_CALL_MPROTECT,
	TRACE_CALL_PKEY_MPROTECT, TRACE_CALL_MREMAP,	      TRACE_CALL_REMAP_FILE_PAGES,
	TRACE_CALL_MADVISE,	  TRACE_CALL_PROCESS_MADVISE, TRACE_CALL_BRK,
	TRACE_CALL_MLOCK,	  TRACE_CALL_MLOCK2,	      TRACE_CALL_MUNLOCK,
	TRACE_CALL_MLOCKALL,	  TRACE_CALL_MUNLOCKALL,      TRACE_CALL_MBIND,
	TRACE_CALL_MSEAL,	  TRACE_CALL_SHMAT,	      TRACE_CALL_SHMDT,
	TRACE_CALL_FTRUNCATE,	  TRACE_CALL_FALLOCATE,	      TRACE_CALL_PRCTL,
};

static bool event_exists(const char *system, const char *prefix, const char *name)
{
	static const char *const roots[] = {
		"/sys/kernel/tracing/events",
		"/sys/kernel/debug/tracing/events",
	};
	char path[256];

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s/%s%s", roots[i], system, prefix, name);
		if (!access(path, F_OK))
			return true;
	}
	return false;
}

static void add_event(char *list, size_t size, const char *system, const char *prefix,
		      const char *name)
{
	size_t n = strlen(list);

	if (n < size)
		snprintf(list + n, size - n, "%s%s:%s%s", n ? "," : "", system, prefix, name);
}

static void list_events(const struct record_options *o, char *list, size_t size)
{
	list[0] = '\0';
	if (event_exists("exceptions", "", "page_fault_user")) {
		add_event(list, size, "exceptions", "page_fault_", "user");
		add_event(list, size, "exceptions", "page_fault_", "kernel");
	} else {
		snprintf(list, size, "page-faults");
		record_note(o, "no exceptions:page_fault_* here: faults are recorded without their "
			       "error codes");
	}
	for (size_t i = 0; i < sizeof(tracepoints) / sizeof(tracepoints[0]); i++) {
		const char *colon = strchr(tracepoints[i], ':');
		char system[16];

		snprintf(system, sizeof(system), "%.*s", (int)(colon - tracepoints[i]),
			 tracepoints[i]);
		if (event_exists(system, "", colon + 1))
			add_event(list, size, system, "", colon + 1);
		else
			record_note(o, "no event %s on this kernel", tracepoints[i]);
	}
	for (size_t i = 0; i < sizeof(recorded) / sizeof(recorded[0]); i++) {
		const char *name = trace_call_name(recorded[i]);

		if (!event_exists("syscalls", "sys_enter_", name))
			continue;
		add_event(list, size, "syscalls", "sys_enter_", name);
		add_event(list, size, "syscalls", "sys_exit_", name);
	}
}

/* Try: it needs the program, the rights and the events; trying also makes perf mount tracefs. */
bool record_perf_usable(char *reason, size_t size)
{
	char *const argv[] = { "perf",	    "record", "-q",
			       "-c",	    "1",      "-o",
			       "/dev/null", "-e",     "kmem:rss_stat,syscalls:sys_enter_mmap",
			       "--",	    "true",   NULL };
	struct trace_source s;
	char err[TRACE_ERR_MAX];
	int rc = source_open_child(&s, argv, -1);

	if (rc) {
		snprintf(reason, size, "cannot run perf: %s", strerror(-rc));
		return false;
	}
	while (source_more(&s) > 0)
		s.pos = s.len;
	rc = source_child_status(&s, err);
	if (rc && geteuid())
		snprintf(reason, size,
			 "perf may not record here: that needs root, or CAP_PERFMON and "
			 "the right to read tracefs");
	else if (rc)
		snprintf(reason, size, "%s", err);
	source_close(&s);
	return !rc;
}

static int run_perf(const struct record_options *o, const char *data)
{
	char events[4096];
	size_t n = 0, ncmd = 0;
	char **argv;
	int status;

	while (o->cmd[ncmd])
		ncmd++;
	list_events(o, events, sizeof(events));

	char *const head[] = { "perf",
			       "record",
			       "-q",
			       "-d",
			       "-c",
			       "1",
			       "--sample-cpu",
			       "-m",
			       (char *)(uintptr_t)o->pages,
			       "--clockid",
			       "mono",
			       "-o",
			       (char *)(uintptr_t)data,
			       "-e",
			       events,
			       "--" };

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

static void put_record(const struct record_options *o, FILE *f, const struct trace *t,
		       const struct trace_event *ev)
{
	struct trace_str raw = trace_raw(t);
	struct trace_str path = { raw.p + raw.n, 0 };

	if (o->scrub && ev->kind == TRACE_MMAP)
		path = ev->mmap.filename;
	if (o->scrub && ev->kind == TRACE_EXEC)
		path = ev->exec.filename;
	fwrite(raw.p, 1, (size_t)(path.p - raw.p), f);
	record_put_path(f, path);
	fwrite(path.p + path.n, 1, (size_t)(raw.p + raw.n - (path.p + path.n)), f);
}

/* perf.data -> text -> FILE */
static int convert(const struct record_options *o, const char *data)
{
	char err[TRACE_ERR_MAX];
	struct record_out out;
	struct trace_event ev;
	struct trace *t;
	int rc;

	if (trace_open(&t, data, err) < 0) {
		record_error("%s", err);
		return -EIO;
	}
	rc = record_out_open(&out, o->output);
	if (rc) {
		trace_close(t);
		return rc;
	}
	while ((rc = trace_next(t, &ev)) > 0)
		put_record(o, out.f, t, &ev);
	if (rc < 0)
		record_error("%s", trace_error(t));
	if (trace_complaint(t, 0)) {
		record_error("%s", trace_complaint(t, 0));
		rc = -EINVAL;
	}
	trace_close(t);
	if (record_out_close(&out, o->output) < 0 && !rc)
		rc = -EIO;
	return rc;
}

/* => the name of the file for perf's own data, which must not exist yet for perf to be content. */
static char *data_name(const struct record_options *o)
{
	size_t n = strlen(o->output) + 16;
	char *name = malloc(n);
	int fd;

	if (!name)
		return NULL;
	if (o->keep_data) {
		snprintf(name, n, "%s.data", o->output);
		return name;
	}
	snprintf(name, n, "%s.XXXXXX", o->output);
	fd = mkstemp(name);
	if (fd < 0) {
		free(name);
		return NULL;
	}
	close(fd);
	return name;
}

int record_perf(const struct record_options *o, int *status)
{
	char *data = data_name(o);
	struct stat st;
	int rc = 0;

	if (!data) {
		record_error("%s: %s", o->output, strerror(errno));
		return -EIO;
	}
	*status = run_perf(o, data);
	if (*status < 0) {
		rc = *status;
		record_error("cannot run perf: %s", strerror(-rc));
	} else if (stat(data, &st) < 0 || !st.st_size) {
		rc = -EIO;
		record_error("perf record recorded nothing");
	}
	if (!rc)
		rc = convert(o, data);
	if (rc && !stat(data, &st) && st.st_size) {
		record_error("the recording is kept as %s", data);
	} else if (!o->keep_data) {
		unlink(data);
	}
	free(data);
	return rc;
}
