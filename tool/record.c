/* SPDX-License-Identifier: MIT */
/*
 * `anonvm record [-o FILE] -- CMD...`: run a program and record what it does to its memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "record.h"

#define DEFAULT_OUTPUT "anonvm.trace.gz"
#define DEFAULT_PAGES "8192"

static const char help[] =
	"usage: anonvm record [options] [--] COMMAND [ARGUMENT...]\n"
	"\n"
	"Run COMMAND and record what it and its children do to their memory: every system call on\n"
	"memory, every page fault, every change of the resident pages, every fork, exec and exit.\n"
	"Then: anonvm replay FILE, anonvm why FILE.\n"
	"\n"
	"  -o, --output FILE  write the trace to FILE (default " DEFAULT_OUTPUT "); .gz, .xz and\n"
	"                     .zst compress it\n"
	"      --scrub        no directories of this machine in the trace: files outside of /usr,\n"
	"                     /lib, /etc and the like are known by their last name only\n"
	"      --keep-data    keep perf's own file as FILE.data\n"
	"      --strace       record through strace even where perf would do: no faults then\n"
	"  -m, --pages N      perf's buffer, in pages per CPU, a power of two (default " DEFAULT_PAGES
	"):\n"
	"                     larger if events are lost\n"
	"  -q, --quiet        no summary\n"
	"  -h, --help         this text\n"
	"\n"
	"perf needs root, or CAP_PERFMON and the right to read tracefs; without, strace is used.\n"
	"Transparent huge pages are off for COMMAND. The exit status is that of COMMAND (128 + N if\n"
	"signal N killed it), or 2 if recording failed.\n";

void record_error(const char *fmt, ...)
{
	va_list ap;

	fputs("anonvm: record: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void record_note(const struct record_options *o, const char *fmt, ...)
{
	va_list ap;

	if (o->quiet)
		return;
	fputs("anonvm: record: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

pid_t record_spawn(char *const argv[], int in_fd, int out_fd)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t all;
	pid_t pid = 0;
	int rc = posix_spawn_file_actions_init(&fa);

	if (rc)
		return -rc;
	rc = posix_spawnattr_init(&attr);
	if (rc) {
		posix_spawn_file_actions_destroy(&fa);
		return -rc;
	}
	sigfillset(&all);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	if (in_fd >= 0)
		rc = posix_spawn_file_actions_adddup2(&fa, in_fd, 0);
	if (!rc && out_fd >= 0)
		rc = posix_spawn_file_actions_adddup2(&fa, out_fd, 1);
	if (!rc)
		rc = posix_spawnp(&pid, argv[0], &fa, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return rc ? -rc : pid;
}

int record_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return status;
}

/* The setting goes with fork and exec: from here to perf or strace, and from there to the program. */
static int set_thp_disable(unsigned long on)
{
	return prctl(PR_SET_THP_DISABLE, on, 0, 0, 0);
}

int record_run(char *const argv[])
{
	bool thp_was_off = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1;
	bool changed = !thp_was_off && set_thp_disable(1) == 0;
	struct sigaction ignore = { .sa_handler = SIG_IGN }, was_int, was_quit;
	pid_t pid;
	int status;

	/* ^C is for the program; we stay to write down what it did. */
	sigaction(SIGINT, &ignore, &was_int);
	sigaction(SIGQUIT, &ignore, &was_quit);
	pid = record_spawn(argv, -1, -1);
	if (changed)
		set_thp_disable(0);
	status = pid < 0 ? pid : record_wait(pid);
	sigaction(SIGINT, &was_int, NULL);
	sigaction(SIGQUIT, &was_quit, NULL);
	return status;
}

/* perf and strace say in many ways that there is no such program: look first. */
static bool is_program(const char *name)
{
	const char *path = getenv("PATH");
	char buf[4096];

	if (strchr(name, '/'))
		return access(name, X_OK) == 0;
	for (path = path ? path : "/usr/bin:/bin"; *path;) {
		size_t n = strcspn(path, ":");
		int len = snprintf(buf, sizeof(buf), "%.*s/%s", (int)n, path, name);

		if (len > 0 && (size_t)len < sizeof(buf) && access(buf, X_OK) == 0)
			return true;
		path += n;
		path += *path == ':';
	}
	errno = ENOENT;
	return false;
}

/* Read the trace back: that it can be read is the point of having it. */
static int summarise(const struct record_options *o)
{
	uint64_t processes = 1;
	char err[TRACE_ERR_MAX];
	struct trace_event ev;
	struct trace *t;
	int rc;

	if (trace_open(&t, o->output, err) < 0) {
		record_error("%s", err);
		return -EIO;
	}
	while ((rc = trace_next(t, &ev)) > 0)
		processes += ev.kind == TRACE_NEWTASK &&
			     !(ev.newtask.clone_flags & TRACE_CLONE_THREAD);
	if (rc < 0)
		record_error("%s", trace_error(t));

	const struct trace_stats *s = trace_stats(t);

	record_note(o,
		    "%s: %" PRIu64 " events of %" PRIu64 " processes, %" PRIu64 " faults, "
		    "%" PRIu64 " lost",
		    o->output, s->events, processes, s->kind[TRACE_FAULT], s->lost);
	if (s->lost)
		record_error("%" PRIu64 " events were lost: try again with a larger --pages",
			     s->lost);
	trace_close(t);
	return rc;
}

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int record(const struct record_options *o)
{
	char reason[TRACE_ERR_MAX];
	int status = 0;
	bool perf;
	int rc;

	if (!is_program(o->cmd[0])) {
		record_error("%s: %s", o->cmd[0], strerror(errno));
		return EXIT_USAGE;
	}
	perf = !o->force_strace && record_perf_usable(reason, sizeof(reason));
	if (!perf && !o->force_strace)
		record_error("%s; using strace: calls only, no faults", reason);
	rc = perf ? record_perf(o, &status) : record_strace(o, &status);
	if (rc || summarise(o) < 0)
		return EXIT_USAGE;
	return exit_status(status);
}

enum {
	OPT_SCRUB = 256,
	OPT_KEEP_DATA,
	OPT_STRACE
};

static bool is_pages(const char *s)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);

	return *s >= '1' && *s <= '9' && !*end && v <= 1ul << 20 && !(v & (v - 1));
}

int cmd_record(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "pages", required_argument, NULL, 'm' },
		{ "scrub", no_argument, NULL, OPT_SCRUB },
		{ "keep-data", no_argument, NULL, OPT_KEEP_DATA },
		{ "strace", no_argument, NULL, OPT_STRACE },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct record_options o = { .output = DEFAULT_OUTPUT, .pages = DEFAULT_PAGES };
	int c;

	optind = 0; /* anew, whatever was parsed before */
	while ((c = getopt_long(argc, argv, "+o:m:qh", longs, NULL)) != -1) {
		switch (c) {
		case 'o':
			o.output = optarg;
			break;
		case 'm':
			o.pages = optarg;
			break;
		case 'q':
			o.quiet = true;
			break;
		case OPT_SCRUB:
			o.scrub = true;
			break;
		case OPT_KEEP_DATA:
			o.keep_data = true;
			break;
		case OPT_STRACE:
			o.force_strace = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_OK;
		default:
			fputs("try: anonvm record --help\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (!is_pages(o.pages)) {
		record_error("--pages %s: not a power of two", o.pages);
		return EXIT_USAGE;
	}
	o.cmd = argv + optind;
	if (!o.cmd[0]) {
		record_error("no command; try: anonvm record --help");
		return EXIT_USAGE;
	}
	return record(&o);
}
