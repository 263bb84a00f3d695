/* SPDX-License-Identifier: MIT */
/*
 * families_host.c - families of forks of the kernel beneath.
 *
 *	this program --> keeper --> first member --> ... --> last member
 *
 * The keeper is the child process of host.c. It makes the first member, which makes the family, and waits until that
 * stands; it adopts members whose parents are gone. Every member ends up in read() on a pipe of which the keeper alone
 * has the other end, so that all of them go when it does, however that happens. One of them, the *forker*, is asked
 * over such a pipe to fork one more and tells how long that took.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "families.h"

#define PAGE 4096u
#define BASE 0x100000000000ull
#define MAX_LEVELS 16
#define KIB_OF_PROCESS 200u /* tables, stacks, what it copies of libraries */
#define GIVE_UP 900 /* seconds */

/* Shared by all of them. */
struct board {
	atomic_uint born;
	int error; /* of the fork that failed, */
	unsigned at; /* the so-manieth */
	double leaf_ns;
	struct counts before, now;
};

struct pipe {
	int read, write;
};

/* What each process has a copy of. */
struct family {
	struct shape shape;
	double sample_seconds;
	struct board *board;
	struct pipe lifeline; /* nothing is ever written */
	struct pipe request; /* to the forker */
	struct pipe done; /* from it, or from whoever has failed */
	struct pipe grown[MAX_LEVELS]; /* to the process that waits on that level */
	pid_t first;
};

struct host_family {
	struct family family;
	struct host *host;
};

/* ---- members ------------------------------------------------------------------------------------------------ */

static void tell(const struct pipe *p)
{
	if (write(p->write, "", 1) != 1)
		_exit(1);
}

/* False: nobody is there any more. */
static bool hear(const struct pipe *p)
{
	char c;
	ssize_t n;

	do {
		n = read(p->read, &c, 1);
	} while (n < 0 && errno == EINTR);
	return n == 1;
}

static _Noreturn void park(const struct family *f)
{
	hear(&f->lifeline);
	_exit(0);
}

/* Writes to each page: so there are pages, and anon_vmas, that are this process's own. */
static void write_all(const struct shape *s)
{
	for (uint64_t vma = 0; vma < s->vmas; vma++) {
		for (uint64_t page = 0; page < s->pages; page++) {
			uint64_t addr = BASE + (vma * (s->pages + 1) + page) * PAGE;

			*(volatile uint64_t *)(uintptr_t)addr = addr;
		}
	}
}

/* A hole behind each VMA. Those of the simulated machine have the same. */
static int map_all(const struct shape *s)
{
	size_t one = (size_t)(s->pages + 1) * PAGE;
	char *at = (char *)(uintptr_t)BASE;

	if (s->vmas &&
	    mmap(at, one * s->vmas, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != at)
		return -1;
	for (unsigned vma = 0; vma < s->vmas; vma++) {
		if (munmap(at + one * vma + one - PAGE, PAGE))
			return -1;
	}
	return 0;
}

static _Noreturn void fail(const struct family *f)
{
	f->board->error = errno;
	f->board->at = atomic_load(&f->board->born) + 1;
	tell(&f->done);
	park(f);
}

/* As fork(); the child is a member. */
static pid_t fork_member(const struct family *f)
{
	struct pollfd keeper = { .fd = f->lifeline.read };
	pid_t pid;

	/* Who grows a family does not read the lifeline, and must not outlive the keeper either. */
	if (poll(&keeper, 1, 0))
		_exit(0);
	pid = fork();
	if (pid < 0)
		fail(f);
	if (!pid) {
		atomic_fetch_add(&f->board->born, 1);
		write_all(&f->shape);
	}
	return pid;
}

/* ---- the forker --------------------------------------------------------------------------------------------- */

/* On a CPU: of this process, and of its children that have been waited for. */
static double cpu_ns(void)
{
	struct rusage children;

	getrusage(RUSAGE_CHILDREN, &children);
	return bench_cpu_ns() +
	       1e9 * (double)(children.ru_utime.tv_sec + children.ru_stime.tv_sec) +
	       1e3 * (double)(children.ru_utime.tv_usec + children.ru_stime.tv_usec);
}

static void fork_and_exit(const struct family *f)
{
	pid_t pid = fork();

	if (pid < 0)
		fail(f);
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
}

static _Noreturn void serve(const struct family *f)
{
	tell(&f->done);
	while (hear(&f->request)) {
		double begin, ns;
		unsigned calls = 0;

		fork_and_exit(f); /* after the others' samples caches are cold */
		begin = cpu_ns();
		do {
			fork_and_exit(f);
			calls++;
			ns = cpu_ns() - begin;
		} while (ns < f->sample_seconds * 1e9);
		f->board->leaf_ns = ns / calls;
		tell(&f->done);
	}
	_exit(0);
}

/* ---- the shapes ----------------------------------------------------------------------------------------------- */

static _Noreturn void grow_star(const struct family *f)
{
	while (atomic_load(&f->board->born) < f->shape.processes) {
		if (!fork_member(f)) {
			tell(&f->grown[0]);
			park(f);
		}
		hear(&f->grown[0]);
	}
	serve(f);
}

/* Of a chain, or a relay: who has forked stays, or goes, and the next has nobody to wait for but his end. */
static _Noreturn void grow_line(const struct family *f)
{
	while (atomic_load(&f->board->born) < f->shape.processes) {
		pid_t self = getpid();

		if (fork_member(f)) {
			if (f->shape.form == FORM_RELAY)
				_exit(0);
			park(f);
		}
		/* Children are adopted when the memory of their parent is gone. */
		while (f->shape.form == FORM_RELAY && getppid() == self)
			sched_yield();
	}
	serve(f);
}

/* Depth first, so that one process at a time waits on each level. The forker is the one that is born last. */
static _Noreturn void grow_tree(const struct family *f)
{
	unsigned levels = 0, level = 0, children = 0;

	while ((2u << levels) - 1 < f->shape.processes)
		levels++;
	while (level < levels && children < 2) {
		if (fork_member(f)) {
			hear(&f->grown[level]);
			children++;
		} else {
			level++;
			children = 0;
		}
	}
	if (level)
		tell(&f->grown[level - 1]);
	if (level == levels && atomic_load(&f->board->born) == f->shape.processes)
		serve(f);
	park(f);
}

static _Noreturn void grow(struct family *f)
{
	/* The keeper's ends: nobody else may hold them. */
	close(f->lifeline.write);
	close(f->request.write);
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_DFL);
	if (map_all(&f->shape))
		fail(f);
	atomic_store(&f->board->born, 1);
	write_all(&f->shape);
	switch (f->shape.form) {
	case FORM_STAR:
		grow_star(f);
	case FORM_TREE:
		grow_tree(f);
	case FORM_RELAY:
	case FORM_CHAIN:
		break;
	}
	grow_line(f);
}

/* ---- the keeper ------------------------------------------------------------------------------------------------- */

#define SLAB_SAMPLES 61

enum ask {
	ASK_COUNT,
	ASK_LEAF,
	ASK_END,
};

/* Of /proc/slabinfo: objects in use, and their size. NAN: only root may read it. */
static void read_slabs(double *avcs, double *anon_vmas, double *bytes)
{
	FILE *f = fopen("/proc/slabinfo", "r");
	char line[512];

	*avcs = *anon_vmas = NAN;
	*bytes = 0;
	while (f && fgets(line, sizeof(line), f)) {
		char *end = line + strcspn(line, " ");
		double n, size;

		if (!*end)
			continue;
		*end++ = '\0';
		n = strtod(end, &end); /* in use */
		(void)strtod(end, &end); /* there is room for */
		size = strtod(end, &end);
		if (!strcmp(line, "anon_vma"))
			*anon_vmas = n;
		else if (!strcmp(line, "anon_vma_chain"))
			*avcs = n;
		else
			continue;
		*bytes += n * size;
	}
	if (f)
		fclose(f);
}

/* Other processes of the system come and go, and what they have is in use too: the least of half a second. */
static struct counts count_slabs(void)
{
	struct counts least = { INFINITY, INFINITY, INFINITY };

	for (unsigned i = 0; i < SLAB_SAMPLES; i++) {
		struct counts c;

		read_slabs(&c.avcs, &c.anon_vmas, &c.bytes);
		if (isnan(c.avcs))
			return c;
		least.avcs = fmin(least.avcs, c.avcs);
		least.anon_vmas = fmin(least.anon_vmas, c.anon_vmas);
		least.bytes = fmin(least.bytes, c.bytes);
		usleep(10000);
	}
	return least;
}

static bool wait_done(const struct family *f)
{
	struct pollfd done = { .fd = f->done.read, .events = POLLIN };

	return poll(&done, 1, GIVE_UP * 1000) == 1 && hear(&f->done) && !f->board->error;
}

/* Everybody: members are of one process group, and whoever loses his parent becomes our child. */
static void end_all(struct family *f)
{
	kill(-f->first, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

static int make_pipes(struct family *f)
{
	struct pipe *const single[] = { &f->lifeline, &f->request, &f->done };
	int fds[2];

	for (unsigned i = 0; i < 3 + MAX_LEVELS; i++) {
		if (pipe(fds))
			return -1;
		*(i < 3 ? single[i] : &f->grown[i - 3]) = (struct pipe){ fds[0], fds[1] };
	}
	return 0;
}

static int open_family(void *context)
{
	struct family *f = context;
	int error;

	if (prctl(PR_SET_CHILD_SUBREAPER, 1) || make_pipes(f))
		return errno;
	f->board->before = count_slabs();
	f->first = fork();
	if (f->first < 0)
		return errno;
	if (!f->first)
		grow(f);
	setpgid(f->first, f->first); /* whoever of the two is first */
	if (wait_done(f)) {
		f->board->now = count_slabs();
		return 0;
	}
	error = f->board->error ? f->board->error : ETIMEDOUT;
	end_all(f);
	return error;
}

static void answer(void *context, int which, double figures[HOST_FIGURES])
{
	struct family *f = context;
	const struct counts *before = &f->board->before;
	struct counts now = f->board->now;

	if (which == ASK_LEAF) {
		tell(&f->request);
		figures[0] = wait_done(f) ? f->board->leaf_ns : NAN;
		return;
	}
	if (which == ASK_END) {
		end_all(f);
		now = count_slabs();
	}
	figures[0] = now.avcs - before->avcs;
	figures[1] = now.anon_vmas - before->anon_vmas;
	figures[2] = now.bytes - before->bytes;
}

/* ---- this process ------------------------------------------------------------------------------------------------ */

/* KiB of memory that can be had. */
static uint64_t available_kib(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	uint64_t kib = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "MemAvailable:", 13))
			kib = strtoull(line + 13, NULL, 10);
	}
	if (f)
		fclose(f);
	return kib;
}

/* Says why not. */
static bool there_is_room(struct bench *b, const struct shape *s)
{
	uint64_t n = shape_alive(s), available = available_kib();
	uint64_t need = n * ((uint64_t)s->vmas * s->pages * (PAGE / 1024) + KIB_OF_PROCESS);
	struct rlimit limit;

	/* 64 bytes an entry, and some VMAs that every process has. */
	if (s->form == FORM_CHAIN)
		need += n * n / 2 * (s->vmas + 16) * 64 / 1024;
	if (need > available / 10 * 8) {
		bench_skip(b, "%s: the host: %llu MiB of memory are needed, %llu are available",
			   s->name, (unsigned long long)need / 1024,
			   (unsigned long long)available / 1024);
		return false;
	}
	if (!getrlimit(RLIMIT_NPROC, &limit) && limit.rlim_cur != RLIM_INFINITY &&
	    limit.rlim_cur < n + 2) {
		bench_skip(b,
			   "%s: the host: %llu processes are needed, the limit (ulimit -u) is %llu",
			   s->name, (unsigned long long)n + 2, (unsigned long long)limit.rlim_cur);
		return false;
	}
	return true;
}

static void say_why_not(struct bench *b, const struct shape *s, const struct board *board)
{
	if (board->error)
		bench_skip(b, "%s: process %u of %u could not be made: %s", s->name, board->at,
			   s->processes, strerror(board->error));
}

struct host_family *host_family_open(struct bench *b, const struct shape *s)
{
	struct host_family *h;
	struct host_side side = { .name = s->name, .open = open_family, .sample = answer };

	if (!there_is_room(b, s))
		return NULL;
	h = bench_must(calloc(1, sizeof(*h)));
	h->family.shape = *s;
	h->family.sample_seconds = b->sample_seconds;
	h->family.board = mmap(NULL, sizeof(*h->family.board), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (h->family.board == MAP_FAILED)
		bench_die("out of memory");
	side.context = &h->family;
	h->host = host_start(b, &side);
	if (h->host)
		return h;
	say_why_not(b, s, h->family.board);
	munmap(h->family.board, sizeof(*h->family.board));
	free(h);
	return NULL;
}

double host_family_leaf(struct host_family *h)
{
	return host_sample(h->host, ASK_LEAF, NULL);
}

static struct counts counts_of(struct host_family *h, enum ask ask)
{
	double figures[HOST_FIGURES];

	host_sample(h->host, (int)ask, figures);
	return (struct counts){ figures[0], figures[1], figures[2] };
}

struct counts host_family_count(struct host_family *h)
{
	return counts_of(h, ASK_COUNT);
}

struct counts host_family_close(struct host_family *h)
{
	struct counts left = counts_of(h, ASK_END);

	host_stop(h->host);
	munmap(h->family.board, sizeof(*h->family.board));
	free(h);
	return left;
}
