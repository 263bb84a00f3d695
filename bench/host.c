/* SPDX-License-Identifier: MIT */
/*
 * host.c - the kernel beneath: a child process that does with system calls what the core does beside it.
 *
 * A process of its own, so that its address space has what the work wants and nothing of ours. It sleeps in recv()
 * until it is asked for a sample.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

struct host {
	const char *name;
	pid_t pid;
	int fd; /* of a socket: our end; -1: it has died */
	struct bench *bench;
};

/* ---- the limit on VMAs ------------------------------------------------------------------------------------ */

#define MAP_COUNT "/proc/sys/vm/max_map_count"
#define DEFAULT_MAP_COUNT 65530

/* Of the parent only, and of a signal handler: the value to be written back, and where. */
static char old_limit[32];
static size_t old_len;
static int limit_fd = -1;
static bool raised;

static void restore_limit(void)
{
	if (raised && pwrite(limit_fd, old_limit, old_len, 0) < 0)
		return; /* nobody to tell */
}

static void restore_and_die(int signal_number)
{
	restore_limit();
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static const int deadly[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGABRT, SIGSEGV, SIGBUS };

static void on_deadly(void (*handler)(int))
{
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
		struct sigaction old;

		/* What nohup ignores stays ignored. */
		if (!sigaction(deadly[i], NULL, &old) && old.sa_handler != SIG_IGN)
			signal(deadly[i], handler);
	}
}

static uint64_t read_limit(int fd)
{
	ssize_t n = pread(fd, old_limit, sizeof(old_limit) - 1, 0);

	if (n <= 0)
		return 0;
	old_len = (size_t)n;
	old_limit[n] = '\0';
	return strtoull(old_limit, NULL, 10);
}

/* Two of us that raise it would put each other's value back: the second one does without. */
static int open_limit(uint64_t *allowed)
{
	int fd = open(MAP_COUNT, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (!flock(fd, LOCK_EX | LOCK_NB)) {
		*allowed = read_limit(fd);
		if (*allowed)
			return fd;
	}
	close(fd);
	return -1;
}

bool host_allow_vmas(uint64_t vmas, uint64_t *limit)
{
	static uint64_t allowed = DEFAULT_MAP_COUNT;
	char wanted[32];
	int len;

	if (vmas > allowed && limit_fd < 0) {
		limit_fd = open_limit(&allowed);
		atexit(restore_limit);
		on_deadly(restore_and_die);
	}
	*limit = allowed;
	if (vmas <= allowed)
		return true;
	if (limit_fd < 0)
		return false;
	len = snprintf(wanted, sizeof(wanted), "%llu\n", (unsigned long long)vmas);
	raised = true;
	if (pwrite(limit_fd, wanted, (size_t)len, 0) < 0)
		return false;
	*limit = allowed = vmas;
	return true;
}

/* ---- the child ---------------------------------------------------------------------------------------------- */

static _Noreturn void child_main(const struct host_side *side, int fd, pid_t parent)
{
	int error, which;

	/* The limit is the parent's to restore. */
	raised = false;
	on_deadly(SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);

	error = side->open ? side->open(side->context) : 0;
	if (send(fd, &error, sizeof(error), MSG_NOSIGNAL) < 0 || error)
		_exit(1);
	while (recv(fd, &which, sizeof(which), 0) == sizeof(which)) {
		double figures[HOST_FIGURES] = { 0 };

		side->sample(side->context, which, figures);
		if (send(fd, figures, sizeof(figures), MSG_NOSIGNAL) < 0)
			_exit(1);
	}
	_exit(0);
}

struct host *host_start(struct bench *b, const struct host_side *side)
{
	struct host *h = bench_must(calloc(1, sizeof(*h)));
	int fds[2], error = 0;
	pid_t self = getpid();

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		bench_die("socketpair: %s", strerror(errno));
	fflush(NULL);
	h->bench = b;
	h->name = side->name;
	h->fd = fds[0];
	h->pid = fork();
	if (h->pid < 0)
		bench_die("fork: %s", strerror(errno));
	if (!h->pid) {
		close(fds[0]);
		child_main(side, fds[1], self);
	}
	close(fds[1]);
	if (recv(h->fd, &error, sizeof(error), 0) == sizeof(error) && !error)
		return h;
	bench_skip(b, "%s: %s", side->name, error ? strerror(error) : "the process has died");
	host_stop(h);
	return NULL;
}

double host_sample(struct host *h, int which, double figures[HOST_FIGURES])
{
	double all[HOST_FIGURES];

	if (h->fd >= 0 && (send(h->fd, &which, sizeof(which), MSG_NOSIGNAL) != sizeof(which) ||
			   recv(h->fd, all, sizeof(all), 0) != sizeof(all))) {
		bench_skip(h->bench, "%s: the rest of the host, whose process has died", h->name);
		close(h->fd);
		h->fd = -1;
	}
	for (int i = 0; h->fd < 0 && i < HOST_FIGURES; i++)
		all[i] = NAN;
	if (figures)
		memcpy(figures, all, sizeof(all));
	return all[0];
}

void host_stop(struct host *h)
{
	if (!h)
		return;
	/* Younger ones have our end of the socket, too: closing it would not be noticed. */
	kill(h->pid, SIGKILL);
	waitpid(h->pid, NULL, 0);
	if (h->fd >= 0)
		close(h->fd);
	free(h);
}
