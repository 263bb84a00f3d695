/* SPDX-License-Identifier: MIT */
/*
 * hostile.c - see hostile.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile.h"
#include "mutate.h"

#define BATCH 64u /* cases in one process: leaks of one are seen at its end, by the sanitizer */
#define CASE_SECONDS 120
#define ERR_MAX 4096u

struct shared {
	size_t at; /* the case being run */
	size_t failed;
	char why[512];
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *must(void *p)
{
	if (!p || p == MAP_FAILED)
		die("out of memory");
	return p;
}

struct text text_read(const char *path, size_t max)
{
	size_t n = strlen(path);
	bool xz = n > 3 && !strcmp(path + n - 3, ".xz"), gz = n > 3 && !strcmp(path + n - 3, ".gz");
	char command[1024];
	struct text t = { NULL, 0 };
	FILE *f;

	snprintf(command, sizeof(command), "%s -dc '%s' 2>/dev/null", xz ? "xz" : "gzip", path);
	f = xz || gz ? popen(command, "r") : fopen(path, "r");
	if (!f)
		return t;
	t.p = must(malloc(max));
	t.n = fread(t.p, 1, max, f);
	if (xz || gz)
		pclose(f);
	else
		fclose(f);
	if (!t.n) {
		free(t.p);
		t.p = NULL;
	}
	return t;
}

bool is_printable(const char *err)
{
	for (; *err; err++) {
		if ((*err < ' ' && *err != '\n') || *err > '~')
			return false;
	}
	return true;
}

bool names_a_line(const char *err)
{
	for (const char *p = err; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
		size_t digits;

		if (strncmp(p, "anonvm: ", 8) != 0)
			continue;
		for (p += 8; *p && *p != '\n'; p++) {
			digits = *p == ':' ? strspn(p + 1, "0123456789") : 0;
			if (digits && p[1 + digits] == ':')
				return true;
		}
		if (!*p)
			break;
	}
	return false;
}

/* ---- one case ------------------------------------------------------------------------------------------ */

static uint64_t case_rng(uint64_t seed, size_t i)
{
	uint64_t rng = seed * UINT64_C(0x9e3779b97f4a7c15) + i;

	(void)mutate_random(&rng);
	return rng;
}

/* The input of a case, and what of its random numbers is left for the command's options. */
static struct text make_input(const struct hostile *h, char *buf, uint64_t *rng)
{
	const struct text *seed = &h->seeds[mutate_random(rng) % h->nr_seeds];
	const struct text *other = &h->seeds[mutate_random(rng) % h->nr_seeds];
	struct mutation m = { .text = buf,
			      .len = seed->n < h->max ? seed->n : h->max,
			      .cap = h->max,
			      .other = other->p,
			      .other_len = other->n };

	memcpy(buf, seed->p, m.len);
	m.rng = mutate_random(rng);
	for (uint64_t k = 1 + mutate_random(rng) % 8; k; k--)
		mutate_once(&m);
	return (struct text){ buf, m.len };
}

static int temporary(void)
{
	int fd = memfd_create("hostile", MFD_CLOEXEC);

	if (fd < 0)
		die("memfd_create");
	return fd;
}

static void replace(int fd, const char *p, size_t n)
{
	if (ftruncate(fd, 0) || pwrite(fd, p, n, 0) != (ssize_t)n)
		die("memfd");
}

static const char *run_case(const struct hostile *h, int in, int err, uint64_t *rng, char *text)
{
	char path[64];
	ssize_t n;
	int status;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", in);
	if (ftruncate(err, 0) || lseek(err, 0, SEEK_SET))
		die("memfd");
	alarm(CASE_SECONDS);
	status = h->run(path, rng);
	alarm(0);
	fflush(NULL);
	n = pread(err, text, ERR_MAX - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	return h->judge(status, text);
}

/* In the child. stderr comes back for what a sanitizer has to say only when it is written to a file of its own. */
static void run_batch(const struct hostile *h, uint64_t seed, size_t end, struct shared *s)
{
	int in = temporary(), err = temporary(), nul = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char *buf = must(malloc(h->max)), text[ERR_MAX];

	if (nul < 0 || dup2(nul, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
		_exit(1);
	for (; s->at < end; s->at++) {
		uint64_t rng = case_rng(seed, s->at);
		struct text t = make_input(h, buf, &rng);
		const char *why;

		replace(in, t.p, t.n);
		why = run_case(h, in, err, &rng, text);
		if (why) {
			snprintf(s->why, sizeof(s->why), "%s: %.400s", why, text);
			exit(1);
		}
	}
	free(buf);
	close(in);
	close(nul);
	exit(0);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static void report(const struct hostile *h, uint64_t seed, const struct shared *s, int status)
{
	char *buf = must(malloc(h->max));
	uint64_t rng = case_rng(seed, s->at);
	struct text t = make_input(h, buf, &rng);
	char name[128];
	FILE *f;

	snprintf(name, sizeof(name), "%s-%llu-%zu.txt", h->name, (unsigned long long)seed, s->at);
	f = fopen(name, "w");
	if (f) {
		fwrite(t.p, 1, t.n, f);
		fclose(f);
	}
	free(buf);
	printf("FAILED: seed %llu, case %zu, input in %s: ", (unsigned long long)seed, s->at, name);
	if (WIFSIGNALED(status))
		printf("%s\n",
		       WTERMSIG(status) == SIGALRM ? "does not end" : strsignal(WTERMSIG(status)));
	else
		printf("%s\n", *s->why ? s->why : "ended by itself: a sanitizer, or a leak");
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

int hostile_main(const struct hostile *h)
{
	uint64_t seed = number_of("AVM_HOSTILE_SEED", 1);
	size_t n = number_of("AVM_HOSTILE_CASES", h->cases), failed = 0;
	struct shared *s = must(
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

	while (s->at < n && failed < 8) {
		size_t end = s->at + BATCH < n ? s->at + BATCH : n;
		pid_t pid;
		int status;

		s->why[0] = '\0';
		fflush(NULL);
		pid = fork();
		if (pid < 0)
			die("fork");
		if (!pid)
			run_batch(h, seed, end, s);
		if (waitpid(pid, &status, 0) != pid)
			die("waitpid");
		if (!status)
			continue;
		report(h, seed, s, status);
		failed++;
		s->at++;
	}
	printf("%s: %zu cases, seed %llu, %zu failed\n", h->name, s->at, (unsigned long long)seed,
	       failed);
	return failed ? 1 : 0;
}
