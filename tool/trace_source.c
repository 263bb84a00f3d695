/* SPDX-License-Identifier: MIT */
/*
 * Where the text of a trace comes from: a file, memory, or the output of a child process (gzip, xz,
 * zstd, perf script), read through one sliding buffer.
 *
 * read(), not mmap(): a file that somebody truncates while we look at it must not kill us.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trace_priv.h"

#define SOURCE_BUF (1u << 20)

int source_open_fd(struct trace_source *s, int fd)
{
	*s = (struct trace_source){ .fd = fd, .child_err = -1, .cap = SOURCE_BUF };
	s->own = malloc(s->cap);
	s->buf = s->own;
	return s->own ? 0 : -ENOMEM;
}

void source_open_mem(struct trace_source *s, const char *text, size_t len)
{
	*s = (struct trace_source){ .fd = -1,
				    .child_err = -1,
				    .buf = text,
				    .len = len,
				    .eof = true };
}

/* An unnamed file for the child's complaints: a pipe nobody reads would block it. */
static int open_scratch(void)
{
	FILE *f = tmpfile();
	int fd;

	if (!f)
		return -1;
	fd = fcntl(fileno(f), F_DUPFD_CLOEXEC, 3);
	fclose(f);
	return fd;
}

static int spawn(struct trace_source *s, char *const argv[], int in_fd, int out_fd)
{
	posix_spawn_file_actions_t fa;
	int rc = posix_spawn_file_actions_init(&fa);

	if (rc)
		return -rc;
	if (in_fd >= 0)
		rc = posix_spawn_file_actions_adddup2(&fa, in_fd, 0);
	else
		rc = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(&fa, out_fd, 1);
	if (!rc && s->child_err >= 0)
		rc = posix_spawn_file_actions_adddup2(&fa, s->child_err, 2);
	if (!rc)
		rc = posix_spawnp(&s->child, argv[0], &fa, NULL, argv, environ);
	if (rc)
		s->child = 0;
	posix_spawn_file_actions_destroy(&fa);
	return -rc;
}

int source_open_child(struct trace_source *s, char *const argv[], int in_fd)
{
	int fds[2];
	int rc;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	rc = source_open_fd(s, fds[0]);
	s->child_name = argv[0];
	s->child_err = open_scratch();
	if (!rc)
		rc = spawn(s, argv, in_fd, fds[1]);
	close(fds[1]);
	if (rc)
		source_close(s);
	return rc;
}

static int make_room(struct trace_source *s)
{
	size_t used = s->len - s->pos;

	if (s->pos) {
		memmove(s->own, s->own + s->pos, used);
		s->pos = 0;
		s->len = used;
	}
	if (s->len < s->cap)
		return 0;
	if (s->cap > SIZE_MAX / 2)
		return -ENOMEM;

	char *bigger = realloc(s->own, s->cap * 2);

	if (!bigger)
		return -ENOMEM;
	s->own = bigger;
	s->buf = bigger;
	s->cap *= 2;
	return 0;
}

int source_more(struct trace_source *s)
{
	if (s->eof)
		return 0;

	int rc = make_room(s);

	if (rc)
		return rc;
	for (;;) {
		ssize_t n = read(s->fd, s->own + s->len, s->cap - s->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			s->eof = true;
		s->len += (size_t)n;
		return n > 0;
	}
}

int source_load(struct trace_source *s, size_t limit)
{
	int rc;

	do {
		if (source_avail(s) > limit)
			return -EFBIG;
		rc = source_more(s);
	} while (rc > 0);
	return rc;
}

/* What the child said last: its last line that says something. */
static bool last_words(const struct trace_source *s, char *out, size_t size)
{
	char buf[4096];
	off_t len = s->child_err < 0 ? 0 : lseek(s->child_err, 0, SEEK_END);
	off_t from = len > (off_t)sizeof(buf) ? len - (off_t)sizeof(buf) : 0;
	ssize_t n = len <= 0 ? 0 : pread(s->child_err, buf, sizeof(buf), from);

	while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == ' '))
		n--;
	if (n <= 0)
		return false;

	const char *p = buf + n;

	while (p > buf && p[-1] != '\n')
		p--;
	trace_quote(out, size, scan_str(p, buf + n));
	return true;
}

static pid_t wait_child(struct trace_source *s, int *status)
{
	pid_t rc;

	do
		rc = waitpid(s->child, status, 0);
	while (rc < 0 && errno == EINTR);
	s->child = 0;
	return rc;
}

int source_child_status(struct trace_source *s, char err[TRACE_ERR_MAX])
{
	char words[TRACE_ERR_MAX / 2];
	int status = 0;

	if (!s->child)
		return 0;
	if (wait_child(s, &status) < 0)
		snprintf(err, TRACE_ERR_MAX, "%s: lost sight of the child process", s->child_name);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	else if (last_words(s, words, sizeof(words)))
		snprintf(err, TRACE_ERR_MAX, "%s failed: %s", s->child_name, words);
	else if (WIFSIGNALED(status))
		snprintf(err, TRACE_ERR_MAX, "%s was killed by signal %d", s->child_name,
			 WTERMSIG(status));
	else
		snprintf(err, TRACE_ERR_MAX, "%s ended with status %d", s->child_name,
			 WEXITSTATUS(status));
	return -EIO;
}

void source_close(struct trace_source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->child_err >= 0)
		close(s->child_err);
	if (s->child) {
		int status;

		kill(s->child, SIGTERM);
		wait_child(s, &status);
	}
	free(s->own);
	*s = (struct trace_source){ .fd = -1, .child_err = -1 };
}
