/* SPDX-License-Identifier: MIT */
/*
 * Where a recording goes: a file, through a compressor if its name asks for one; and the paths of
 * the recording machine, which have no place in a trace that is given away.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "record.h"

static const struct packer {
	const char *suffix;
	const char *argv[4];
} packers[] = {
	{ ".gz", { "gzip", "-9nc", NULL } },
	{ ".xz", { "xz", "-6c", NULL } },
	{ ".zst", { "zstd", "-19qc", NULL } },
};

static const struct packer *find_packer(const char *path)
{
	size_t n = strlen(path);

	for (size_t i = 0; i < sizeof(packers) / sizeof(packers[0]); i++) {
		size_t m = strlen(packers[i].suffix);

		if (n > m && !strcmp(path + n - m, packers[i].suffix))
			return &packers[i];
	}
	return NULL;
}

static int open_packed(struct record_out *out, const struct packer *p, int fd)
{
	char *argv[4];
	int fds[2];

	memcpy(argv, p->argv, sizeof(argv));
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	out->child = record_spawn(argv, fds[0], fd);
	close(fds[0]);
	if (out->child < 0) {
		int rc = out->child;

		close(fds[1]);
		record_error("cannot run %s: %s", argv[0], strerror(-rc));
		return rc;
	}
	out->child_name = argv[0];
	out->f = fdopen(fds[1], "w");
	return out->f ? 0 : -errno;
}

int record_out_open(struct record_out *out, const char *path)
{
	const struct packer *p = find_packer(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int rc;

	*out = (struct record_out){ 0 };
	if (fd < 0) {
		rc = -errno;
		record_error("%s: %s", path, strerror(errno));
		return rc;
	}
	if (p) {
		rc = open_packed(out, p, fd);
		close(fd);
		return rc;
	}
	out->f = fdopen(fd, "w");
	return out->f ? 0 : -errno;
}

int record_out_close(struct record_out *out, const char *path)
{
	bool bad = ferror(out->f) != 0;
	int status = 0;

	if (fclose(out->f) == EOF)
		bad = true;
	if (bad)
		record_error("%s: %s", path, strerror(errno));
	if (out->child) {
		status = record_wait(out->child);
		if (status)
			record_error("%s: %s failed", path, out->child_name);
	}
	return bad || status ? -EIO : 0;
}

static bool starts_with(struct trace_str s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.n >= n && !memcmp(s.p, prefix, n);
}

void record_put_path(FILE *f, struct trace_str s)
{
	static const char *const keep[] = {
		"/usr/",  "/lib/", "/lib64/", "/bin/",	 "/sbin/",	   "/etc/",  "/dev/",
		"/proc/", "/sys/", "/SYSV",   "/memfd:", "/anon_hugepage", "//anon",
	};
	const char *end = s.p + s.n;
	const char *p = end;

	for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++) {
		if (starts_with(s, keep[i]))
			p = s.p;
	}
	if (!s.n || s.p[0] != '/')
		p = s.p;
	while (p > s.p && p[-1] != '/')
		p--;
	/* What went over lines is one line now: a name is no longer known by its first slash. */
	for (; p < end; p++)
		putc(*p == '\n' && s.p[0] == '/' ? '?' : *p, f);
}
