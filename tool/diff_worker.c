/* SPDX-License-Identifier: MIT */
/*
 * diff_worker.c - a process of the host that performs its operations of a program when it has the turn.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "diff_worker.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

/* ---- turns ----------------------------------------------------------------------------------------------- */

void diff_pass_turn(struct diff_shared *s, unsigned to)
{
	atomic_store(&s->turn[to], 1);
	syscall(SYS_futex, &s->turn[to], FUTEX_WAKE, 1, NULL, NULL, 0);
}

bool diff_wait_turn_once(struct diff_shared *s, unsigned self)
{
	const struct timespec second = { 1, 0 };

	if (atomic_exchange(&s->turn[self], 0))
		return true;
	syscall(SYS_futex, &s->turn[self], FUTEX_WAIT, 0, &second, NULL, 0);
	return atomic_exchange(&s->turn[self], 0);
}

bool diff_wait_turn(struct diff_shared *s, unsigned self)
{
	while (!atomic_load(&s->stop)) {
		if (diff_wait_turn_once(s, self))
			return true;
		/* Nobody is left to give us a turn. */
		if (kill(s->owner, 0) && errno == ESRCH)
			return false;
	}
	return false;
}

/*
 * An address space goes after its process has said so; what others see of its pages changes until then. So who has the
 * turn next waits for that.
 */
static void wait_for_exit(struct diff_shared *s)
{
	struct pollfd fd = { .events = POLLIN };

	if (!s->exiting)
		return;
	fd.fd = (int)syscall(SYS_pidfd_open, s->exiting, 0);
	if (fd.fd >= 0) {
		while (poll(&fd, 1, 1000) < 0 && errno == EINTR)
			;
		close(fd.fd);
	}
	s->exiting = 0;
}

/* ---- accesses ----------------------------------------------------------------------------------------------- */

static sigjmp_buf fault;
static volatile sig_atomic_t fault_code;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr;

	(void)context;
	if (addr < DIFF_START || addr >= DIFF_END)
		_exit(3); /* not one of ours: the worker itself is wrong */
	fault_code = sig == SIGBUS		  ? DIFF_SIGBUS :
		     info->si_code == SEGV_ACCERR ? DIFF_ACCERR :
						    DIFF_MAPERR;
	siglongjmp(fault, 1);
}

void diff_worker_signals(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	signal(SIGCHLD, SIG_IGN); /* children are gone when they end */
	signal(SIGPIPE, SIG_DFL);
}

static void do_read(const struct diff_op *op, struct diff_seen *seen)
{
	if (sigsetjmp(fault, 0)) {
		seen->ret = fault_code;
		return;
	}
	seen->value = *(volatile const uint64_t *)(uintptr_t)op->addr;
}

static void store(const struct diff_op *op, struct diff_seen *seen)
{
	if (sigsetjmp(fault, 0)) {
		seen->ret = fault_code;
		return;
	}
	*(volatile uint64_t *)(uintptr_t)op->addr = op->value;
}

/* Has it a frame that somebody may lose by a store? */
static bool has_frame(const struct diff_worker *w, uint64_t entry)
{
	return entry & DIFF_PM_PRESENT && (entry & DIFF_PM_FRAME) != w->shared->can.zero_frame;
}

/*
 * A page that waits in an LRU batch of this CPU is held by it, and then the kernel copies what it could have taken over:
 * by chance, as batches are emptied by chance. This empties them.
 */
static char scratch[2 * DIFF_PAGE] __attribute__((aligned(4096)));

static void empty_batches(void)
{
	/* Locked memory never gets cold. */
	if (madvise(scratch, DIFF_PAGE, MADV_COLD)) {
		munlock(scratch, DIFF_PAGE);
		madvise(scratch, DIFF_PAGE, MADV_COLD);
	}
}

static void with_frame(struct diff_worker *w, const struct diff_op *op, struct diff_seen *seen,
		       void (*act)(struct diff_worker *w, const struct diff_op *op,
				   struct diff_seen *seen))
{
	uint64_t before, after;

	if (!w->shared->can.frames) {
		act(w, op, seen);
		return;
	}
	before = diff_look_entry(w, op->addr);
	if (has_frame(w, before))
		empty_batches();
	act(w, op, seen);
	if (!has_frame(w, before))
		return;
	after = diff_look_entry(w, op->addr);
	seen->frame = !has_frame(w, after)				  ? DIFF_FRAME_GONE :
		      (after & DIFF_PM_FRAME) == (before & DIFF_PM_FRAME) ? DIFF_FRAME_SAME :
									    DIFF_FRAME_OTHER;
}

static void act_write(struct diff_worker *w, const struct diff_op *op, struct diff_seen *seen)
{
	(void)w;
	store(op, seen);
}

static void act_poke(struct diff_worker *w, const struct diff_op *op, struct diff_seen *seen)
{
	ssize_t n = pwrite(w->mem, &op->value, sizeof(op->value), (off_t)op->addr);

	seen->ret = n == (ssize_t)sizeof(op->value) ? 0 : -(int64_t)errno;
}

static void do_peek(struct diff_worker *w, const struct diff_op *op, struct diff_seen *seen)
{
	ssize_t n = pread(w->mem, &seen->value, sizeof(seen->value), (off_t)op->addr);

	seen->ret = n == (ssize_t)sizeof(seen->value) ? 0 : -(int64_t)errno;
}

/* ---- calls ------------------------------------------------------------------------------------------------- */

static int64_t result(long rc)
{
	return rc == -1 ? -(int64_t)errno : rc;
}

/* What lies outside of the window lies where the core cannot know; it goes at once. */
static int64_t address(long rc, uint64_t len)
{
	if (rc == -1)
		return -(int64_t)errno;
	if (diff_in_window((uint64_t)rc, len))
		return rc;
	munmap((void *)rc, len);
	return DIFF_OUTSIDE;
}

static int64_t do_mmap(const struct diff_op *op)
{
	int fd = -1;

	if (op->file)
		fd = (op->read_only ? DIFF_FD_READ_ONLY : DIFF_FD_FILE) + op->file - 1;
	return address(syscall(SYS_mmap, op->addr, op->len, op->prot, op->flags, fd,
			       op->to * DIFF_PAGE),
		       op->len);
}

static int64_t do_mincore(const struct diff_op *op, struct diff_seen *seen)
{
	unsigned char vec[DIFF_PAGES + 1];
	int64_t rc = result(syscall(SYS_mincore, op->addr, op->len, vec));

	if (!rc) {
		for (uint64_t i = 0; i < (op->len + DIFF_PAGE - 1) / DIFF_PAGE; i++)
			seen->value = diff_hash(seen->value, vec[i] & 1);
	}
	return rc;
}

static int64_t do_brk(const struct diff_op *op)
{
	return (int64_t)syscall(SYS_brk, op->addr);
}

int64_t diff_worker_name(const struct diff_op *op)
{
	static const char *const names[] = { NULL, "one", "two" };

	return result(
		prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, op->addr, op->len, names[op->flags % 3]));
}

/* All say the same on a machine with one node; but VMAs that say it in other words do not merge. */
int64_t diff_worker_policy(const struct diff_op *op)
{
	enum {
		PREFER = 1,
		BIND = 2
	}; /* of linux/mempolicy.h */
	static const int modes[] = { 0, PREFER, BIND };
	unsigned long nodes = 1, mode = (unsigned long)modes[op->flags % 3];

	return result(syscall(SYS_mbind, op->addr, op->len, mode, mode ? &nodes : NULL,
			      mode ? 8 * sizeof(nodes) : 0, 0));
}

static int64_t do_file(const struct diff_op *op)
{
	int fd = DIFF_FD_FILE + op->file - 1;

	if (op->kind == DIFF_TRUNCATE)
		return result(ftruncate(fd, (off_t)op->len));
	return result(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)op->addr,
				(off_t)op->len));
}

static int64_t call(const struct diff_op *op, struct diff_seen *seen)
{
	switch ((enum diff_kind)op->kind) {
	case DIFF_MMAP:
		return do_mmap(op);
	case DIFF_MUNMAP:
		return result(syscall(SYS_munmap, op->addr, op->len));
	case DIFF_MPROTECT:
		return result(syscall(SYS_mprotect, op->addr, op->len, op->prot));
	case DIFF_MREMAP:
		return address(syscall(SYS_mremap, op->addr, op->len, op->new_len, op->flags,
				       op->to),
			       op->new_len);
	case DIFF_MADVISE:
		return result(syscall(SYS_madvise, op->addr, op->len, op->flags));
	case DIFF_MLOCK:
		return result(syscall(SYS_mlock2, op->addr, op->len, op->flags));
	case DIFF_MUNLOCK:
		return result(syscall(SYS_munlock, op->addr, op->len));
	case DIFF_MLOCKALL:
		return result(syscall(SYS_mlockall, op->flags));
	case DIFF_MUNLOCKALL:
		return result(syscall(SYS_munlockall));
	case DIFF_MSYNC:
		return result(syscall(SYS_msync, op->addr, op->len, op->flags));
	case DIFF_MINCORE:
		return do_mincore(op, seen);
	case DIFF_BRK:
		return do_brk(op);
	case DIFF_NAME:
		return diff_worker_name(op);
	case DIFF_POLICY:
		return diff_worker_policy(op);
	default:
		return do_file(op);
	}
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

bool diff_worker_open(struct diff_worker *w)
{
	w->maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	w->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	w->mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	return w->maps >= 0 && w->pagemap >= 0 && w->mem >= 0;
}

static void worker_close(struct diff_worker *w)
{
	close(w->maps);
	close(w->pagemap);
	close(w->mem);
}

/* True in the child, which is another worker from here on. */
static bool do_fork(struct diff_worker *w, const struct diff_op *op, struct diff_seen *seen)
{
	pid_t pid = fork();

	if (pid) {
		seen->ret = pid < 0 ? -(int64_t)errno : 0;
		return false;
	}
	worker_close(w);
	w->self = op->q;
	if (!diff_worker_open(w))
		_exit(4);
	return true;
}

static char number[8];

/* Goes on in diff_worker_main() with the next operation; or here, when it fails. */
static int64_t do_exec(struct diff_worker *w)
{
	static char program[] = "anonvm", command[] = "diff", option[] = "--worker";
	char *argv[] = { program, command, option, number, NULL };
	char *envp[] = { NULL };

	number[0] = (char)('0' + w->self);
	execve("/proc/self/exe", argv, envp);
	return -(int64_t)errno;
}

/* ---- the batch ------------------------------------------------------------------------------------------------- */

static void step(struct diff_worker *w, const struct diff_op *op, struct diff_seen *seen)
{
	switch ((enum diff_kind)op->kind) {
	case DIFF_READ:
		do_read(op, seen);
		break;
	case DIFF_WRITE:
		with_frame(w, op, seen, act_write);
		break;
	case DIFF_PEEK:
		do_peek(w, op, seen);
		break;
	case DIFF_POKE:
		with_frame(w, op, seen, act_poke);
		break;
	case DIFF_EXEC:
		seen->ret = do_exec(w);
		break;
	case DIFF_FORK:
		break;
	case DIFF_AUDIT:
		diff_look_audit(w, op->flags,
				&w->shared->batches[w->shared->current].audits[w->self]);
		break;
	default:
		seen->ret = call(op, seen);
		break;
	}
	diff_look_around(w, op, seen);
}

static _Noreturn void do_exit(struct diff_shared *s)
{
	struct diff_batch *b = &s->batches[s->current];

	s->at++;
	s->exiting = getpid();
	diff_pass_turn(s, s->at < b->n ? b->ops[s->at].p : DIFF_TURN_OURS);
	_exit(0);
}

/*
 * Performs operations until they are another's, or done. => whose turn it is; DIFF_NR_TURNS: not ours to give, we have just
 * been born
 */
static unsigned perform(struct diff_worker *w)
{
	struct diff_shared *s = w->shared;
	struct diff_batch *b = &s->batches[s->current];

	while (s->at < b->n) {
		const struct diff_op *op = &b->ops[s->at];
		struct diff_seen *seen = &b->seen[s->at];

		if (op->p != w->self)
			return op->p;
		*seen = (struct diff_seen){ 0 };
		if (op->kind == DIFF_EXIT)
			do_exit(s);
		if (op->kind == DIFF_FORK && do_fork(w, op, seen))
			return DIFF_NR_TURNS;
		/* What exec starts goes on behind it. */
		if (op->kind == DIFF_EXEC)
			s->at++;
		step(w, op, seen);
		if (op->kind != DIFF_EXEC)
			s->at++;
	}
	return DIFF_TURN_OURS;
}

static void take_turn(struct diff_worker *w)
{
	unsigned next = perform(w);

	if (next < DIFF_NR_TURNS)
		diff_pass_turn(w->shared, next);
}

_Noreturn void diff_worker_run(struct diff_worker *w)
{
	while (diff_wait_turn(w->shared, w->self)) {
		wait_for_exit(w->shared);
		take_turn(w);
	}
	_exit(0);
}

int diff_worker_main(int argc, char **argv)
{
	struct diff_worker w = { 0 };

	if (argc != 1 || argv[0][0] < '0' || argv[0][0] >= '0' + DIFF_PROCS || argv[0][1])
		return 2;
	w.self = (unsigned)(argv[0][0] - '0');
	w.shared = mmap(NULL, sizeof(*w.shared), PROT_READ | PROT_WRITE, MAP_SHARED, DIFF_FD_SHARED,
			0);
	if (w.shared == MAP_FAILED || !diff_worker_open(&w))
		return 2;
	diff_worker_signals();
	if (w.shared->can.heap && !diff_worker_heap())
		return 2;
	/* It was our turn when exec began. */
	take_turn(&w);
	diff_worker_run(&w);
}
