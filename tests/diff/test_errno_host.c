/* SPDX-License-Identifier: MIT */
/*
 * test_errno_host.c - the same calls with good and bad arguments on the core and on the kernel this runs on: the
 * errors are the same.
 *
 * Both sides begin each call with the same mappings in a window of low addresses. On the host that happens in a child
 * process, which reports through shared memory. Only calls are asked for that stay in the window, or that are
 * refused before they reach anything; see may_ask(). What a kernel was built without (huge pages, say) or is too old
 * for is found out by asking, and left out.
 *
 *	AVM_ERRNO_CALLS=N test_errno_host	random calls (default 20000)
 *	AVM_ERRNO_SEED=N			their seed
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "anonvm/anonvm.h"
#include "sim.h"

#define PAGE UINT64_C(4096)
#define WINDOW UINT64_C(0x10000000)
#define WINDOW_PAGES 128u
#define WINDOW_END (WINDOW + WINDOW_PAGES * PAGE)
#define TASK_SIZE UINT64_C(0x7ffffffff000)
#define LOCK_LIMIT (16 * PAGE)
#define FILE_PAGES 3u
#define SKIP 77

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

enum op {
	OP_MMAP,
	OP_MUNMAP,
	OP_MPROTECT,
	OP_MREMAP,
	OP_MADVISE,
	OP_MLOCK,
	OP_MLOCK2,
	OP_MUNLOCK,
	OP_MLOCKALL,
	OP_MSYNC,
	OP_MINCORE,
	NR_OPS,
};

static const char *const op_names[NR_OPS] = {
	"mmap",	  "munmap",  "mprotect", "mremap", "madvise", "mlock",
	"mlock2", "munlock", "mlockall", "msync",  "mincore",
};

/* Files, as the fifth argument of mmap: index into files[], -1 for none. */
enum file_index {
	FILE_RW,
	FILE_RO,
	FILE_WO,
	FILE_PRIVATE, /* another one, opened for both */
	NR_FILES,
};

struct call {
	enum op op;
	uint64_t a[6]; /* of mmap: addr len prot flags file offset */
};

static uint64_t lowest = 65536;
static bool advice_known[256];

/* ---- what both sides begin with ------------------------------------------------------------------------ */

static const struct piece {
	unsigned page, pages;
	int prot, flags, file;
	bool touch;
} pieces[] = {
	{ 0, 4, RW, ANON, -1, true },
	{ 8, 2, PROT_READ, ANON, -1, false },
	{ 10, 2, PROT_NONE, ANON, -1, false },
	{ 12, 4, RW, MAP_SHARED | MAP_ANONYMOUS, -1, true },
	{ 16, 4, RW, MAP_PRIVATE, FILE_PRIVATE, false },
	{ 20, 4, PROT_READ, MAP_SHARED, FILE_RO, false },
	{ 24, 4, RW, MAP_SHARED, FILE_RW, true },
	{ 28, 4, RW, ANON | MAP_LOCKED, -1, false },
	{ 36, 4, RW, ANON | MAP_GROWSDOWN, -1, true },
	{ 40, 4, RW, ANON, -1, false },
	{ 44, 2, PROT_READ | PROT_EXEC, MAP_PRIVATE, FILE_PRIVATE, false },
};
#define NR_PIECES (sizeof(pieces) / sizeof(pieces[0]))

/* ---- the host ------------------------------------------------------------------------------------------ */

static int fds[NR_FILES];

static bool host_open(void)
{
	char path[64];
	int shared = memfd_create("errno", 0), private = memfd_create("errno", 0);

	if (shared < 0 || private < 0 || ftruncate(shared, FILE_PAGES * PAGE) ||
	    ftruncate(private, FILE_PAGES * PAGE))
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", shared);
	fds[FILE_RW] = shared;
	fds[FILE_PRIVATE] = private;
	fds[FILE_RO] = open(path, O_RDONLY | O_CLOEXEC);
	fds[FILE_WO] = open(path, O_WRONLY | O_CLOEXEC);
	return fds[FILE_RO] >= 0 && fds[FILE_WO] >= 0;
}

static bool host_begin(void)
{
	for (size_t i = 0; i < NR_PIECES; i++) {
		const struct piece *p = &pieces[i];
		void *at = (void *)(uintptr_t)(WINDOW + p->page * PAGE);

		if (mmap(at, p->pages * PAGE, p->prot, p->flags | MAP_FIXED_NOREPLACE,
			 p->file < 0 ? -1 : fds[p->file], 0) != at)
			return false;
		if (p->touch)
			*(volatile char *)at = 1;
	}
	return true;
}

static int host_errno(long rc)
{
	return rc == -1 ? errno : 0;
}

static int host_mmap(const struct call *c)
{
	int fd = (int64_t)c->a[4] < 0 ? -1 : fds[c->a[4]];
	long rc = syscall(SYS_mmap, c->a[0], c->a[1], c->a[2], c->a[3], fd, c->a[5]);
	int err = host_errno(rc);

	if (!err && ((uint64_t)rc < WINDOW || (uint64_t)rc >= WINDOW_END))
		munmap((void *)rc, c->a[1]);
	return err;
}

static int host_mremap(const struct call *c)
{
	long rc = syscall(SYS_mremap, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4]);
	int err = host_errno(rc);

	if (!err && ((uint64_t)rc < WINDOW || (uint64_t)rc >= WINDOW_END))
		munmap((void *)rc, c->a[2]);
	return err;
}

static int host_call(const struct call *c)
{
	static unsigned char vec[WINDOW_PAGES];

	switch (c->op) {
	case OP_MMAP:
		return host_mmap(c);
	case OP_MUNMAP:
		return host_errno(syscall(SYS_munmap, c->a[0], c->a[1]));
	case OP_MPROTECT:
		return host_errno(syscall(SYS_mprotect, c->a[0], c->a[1], c->a[2]));
	case OP_MREMAP:
		return host_mremap(c);
	case OP_MADVISE:
		return host_errno(syscall(SYS_madvise, c->a[0], c->a[1], c->a[2]));
	case OP_MLOCK:
		return host_errno(syscall(SYS_mlock, c->a[0], c->a[1]));
	case OP_MLOCK2:
		return host_errno(syscall(SYS_mlock2, c->a[0], c->a[1], c->a[2]));
	case OP_MUNLOCK:
		return host_errno(syscall(SYS_munlock, c->a[0], c->a[1]));
	case OP_MLOCKALL:
		return host_errno(syscall(SYS_mlockall, c->a[0]));
	case OP_MSYNC:
		return host_errno(syscall(SYS_msync, c->a[0], c->a[1], c->a[2]));
	default:
		return host_errno(syscall(SYS_mincore, c->a[0], c->a[1], vec));
	}
}

/* In the child: what the core is not told of must not matter. */
static bool host_settle(void)
{
	struct rlimit limit = { LOCK_LIMIT, LOCK_LIMIT };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		return false;
	/* Root may lock what it likes, and map what nobody else may. */
	return geteuid() || !setresuid(65534, 65534, 65534);
}

/* Of locked memory, this keeps the old place on the process's account as well (Linux 6.18). */
static bool spoils_account(const struct call *c)
{
	return c->op == OP_MREMAP && (c->a[3] & MREMAP_DONTUNMAP);
}

/* Makes calls, in a process of its own. => false when that cannot begin, or has died of call *done */
static bool host_run(const struct call *calls, size_t n, int *results, size_t *done)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return false;
	if (!pid) {
		if (!host_settle())
			_exit(SKIP);
		while (*done < n) {
			if (!host_begin())
				_exit(SKIP);
			results[*done] = host_call(&calls[*done]);
			syscall(SYS_munlockall);
			syscall(SYS_munmap, WINDOW, WINDOW_PAGES * PAGE);
			++*done;
			if (spoils_account(&calls[*done - 1]))
				break;
		}
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status);
}

/* ---- the core ------------------------------------------------------------------------------------------ */

struct core {
	struct sim *sim;
	struct avm_file *files[NR_FILES];
};

static void die(const char *what)
{
	fprintf(stderr, "test_errno_host: %s\n", what);
	exit(1);
}

static void core_open(struct core *c)
{
	if (sim_create(&c->sim, &(struct sim_config){ .frames = 1024 }) ||
	    sim_memfd_create(c->sim, "shared", FILE_PAGES * PAGE, &c->files[FILE_RW]) ||
	    sim_memfd_create(c->sim, "private", FILE_PAGES * PAGE, &c->files[FILE_PRIVATE]))
		die("no machine");
	c->files[FILE_RO] = c->files[FILE_WO] = c->files[FILE_RW];
}

static int core_mmap(const struct core *core, struct avm_mm *mm, const struct call *c)
{
	static const uint32_t modes[NR_FILES] = {
		[FILE_RW] = AVM_PROT_READ | AVM_PROT_WRITE,
		[FILE_RO] = AVM_PROT_READ,
		[FILE_WO] = AVM_PROT_WRITE,
		[FILE_PRIVATE] = AVM_PROT_READ | AVM_PROT_WRITE,
	};
	struct avm_mmap m = { .addr = c->a[0],
			      .len = c->a[1],
			      .prot = (uint32_t)c->a[2],
			      .flags = (uint32_t)c->a[3],
			      .pgoff = c->a[5] / PAGE };
	avm_addr_t out;

	if ((int64_t)c->a[4] >= 0 && !(m.flags & AVM_MAP_ANONYMOUS)) {
		m.file = core->files[c->a[4]];
		m.open_mode = modes[c->a[4]];
	}
	return avm_mmap(mm, &m, &out);
}

static int core_call(const struct core *core, struct avm_mm *mm, const struct call *c)
{
	static uint8_t vec[WINDOW_PAGES];
	avm_addr_t out;

	switch (c->op) {
	case OP_MMAP:
		return core_mmap(core, mm, c);
	case OP_MUNMAP:
		return avm_munmap(mm, c->a[0], c->a[1]);
	case OP_MPROTECT:
		return avm_mprotect(mm, c->a[0], c->a[1], (uint32_t)c->a[2]);
	case OP_MREMAP:
		return avm_mremap(mm, c->a[0], c->a[1], c->a[2], (uint32_t)c->a[3], c->a[4], &out);
	case OP_MADVISE:
		return avm_madvise(mm, c->a[0], c->a[1], (enum avm_advice)c->a[2]);
	case OP_MLOCK:
		return avm_mlock(mm, c->a[0], c->a[1], 0);
	case OP_MLOCK2:
		return avm_mlock(mm, c->a[0], c->a[1], (uint32_t)c->a[2]);
	case OP_MUNLOCK:
		return avm_munlock(mm, c->a[0], c->a[1]);
	case OP_MLOCKALL:
		return avm_mlockall(mm, (uint32_t)c->a[0]);
	case OP_MSYNC:
		return avm_msync(mm, c->a[0], c->a[1], (uint32_t)c->a[2]);
	default:
		return avm_mincore(mm, c->a[0], c->a[1], vec);
	}
}

static int core_run(const struct core *core, const struct call *c)
{
	struct avm_limits limits = { AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT, LOCK_LIMIT };
	struct avm_mm_config config = { .limits = &limits, .lowest = lowest };
	struct sim_proc *p;
	struct avm_mm *mm;
	int err;

	if (sim_proc_create(core->sim, &config, &p))
		die("no process");
	mm = sim_mm(p);
	for (size_t i = 0; i < NR_PIECES; i++) {
		const struct piece *q = &pieces[i];
		const struct call map = {
			OP_MMAP,
			{ WINDOW + q->page * PAGE, q->pages * PAGE, (uint64_t)q->prot,
			  (uint64_t)q->flags | MAP_FIXED_NOREPLACE, (uint64_t)q->file, 0 }
		};

		if (core_mmap(core, mm, &map))
			die("the core cannot begin");
		if (q->touch && sim_touch(p, map.a[0], AVM_ACCESS_WRITE, NULL))
			die("the core cannot touch");
	}
	err = -core_call(core, mm, c);
	sim_proc_exit(p);
	return err;
}

/* ---- calls --------------------------------------------------------------------------------------------- */

static uint64_t rng_state;

static uint64_t rng(void)
{
	uint64_t z = rng_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t below(uint64_t n)
{
	return rng() % n;
}

#define PICK(array) (array)[below(sizeof(array) / sizeof((array)[0]))]

static uint64_t some_edge(void)
{
	static const uint64_t edges[] = {
		0,
		1,
		PAGE - 1,
		PAGE,
		PAGE + 1,
		15 * PAGE,
		16 * PAGE,
		TASK_SIZE - PAGE,
		TASK_SIZE - 1,
		TASK_SIZE,
		TASK_SIZE + 1,
		TASK_SIZE + PAGE,
		UINT64_C(1) << 47,
		UINT64_C(1) << 48,
		UINT64_C(1) << 62,
		(UINT64_C(1) << 63) - 1,
		UINT64_C(1) << 63,
		UINT64_MAX - 2 * PAGE + 1,
		UINT64_MAX - PAGE,
		UINT64_MAX - PAGE + 1,
		UINT64_MAX - PAGE + 2,
		UINT64_MAX,
	};

	return PICK(edges);
}

static uint64_t some_addr(void)
{
	if (!below(8))
		return some_edge();
	return WINDOW + below(64) * PAGE +
	       (below(10) ? 0 : PICK(((const uint64_t[]){ 1, 8, PAGE - 1 })));
}

static uint64_t some_len(void)
{
	if (!below(8))
		return some_edge();
	return 1 + below(20) * PAGE + PICK(((const uint64_t[]){ 0, PAGE - 1, PAGE - 1, PAGE - 2 }));
}

static uint64_t some_bits(const uint64_t *bits, size_t n, unsigned most)
{
	uint64_t v = 0;

	for (uint64_t k = below(most + 1); k; k--)
		v |= bits[below(n)];
	return v;
}

static void random_mmap(struct call *c)
{
	static const uint64_t flags[] = {
		MAP_ANONYMOUS, MAP_ANONYMOUS, MAP_FIXED,	 MAP_FIXED_NOREPLACE,
		MAP_GROWSDOWN, MAP_LOCKED,    MAP_NORESERVE,	 MAP_POPULATE,
		MAP_NONBLOCK,  MAP_STACK,     UINT64_C(1) << 24,
	};
	static const uint64_t types[] = { 0, 1, 1, 1, 2, 2, 2, 3, 3, 4 };

	c->a[0] = some_addr();
	c->a[1] = some_len();
	c->a[2] = below(8);
	c->a[3] = PICK(types) | some_bits(flags, sizeof(flags) / sizeof(flags[0]), 4);
	c->a[4] = below(NR_FILES + 1) - 1;
	c->a[5] = below(4) ? below(5) * PAGE : some_edge() & ~(PAGE - 1);
}

static void random_mremap(struct call *c)
{
	static const uint64_t flags[] = { 1, 1, 1, 2, 4 };

	c->a[0] = some_addr();
	c->a[1] = some_len();
	c->a[2] = below(2) ? some_len() : c->a[1];
	c->a[3] = below(30) ? some_bits(flags, 5, 3) : 8;
	c->a[4] = some_addr();
}

static struct call random_call(void)
{
	static const uint64_t advices[] = { 0,	1,  2,	3,  4,	8,	    9,	 10, 11,
					    12, 13, 14, 15, 16, 17,	    18,	 19, 20,
					    21, 22, 23, 5,  7,	UINT32_MAX, 1000 };
	static const uint64_t prots[] = { 0,
					  1,
					  2,
					  3,
					  4,
					  5,
					  7,
					  16,
					  PROT_GROWSDOWN | 1,
					  PROT_GROWSUP | 1,
					  PROT_GROWSDOWN | PROT_GROWSUP,
					  1u << 20 };
	struct call c = { .op = (enum op)below(NR_OPS) };

	if (c.op == OP_MMAP || !below(3)) {
		c.op = OP_MMAP;
		random_mmap(&c);
		return c;
	}
	if (c.op == OP_MREMAP || !below(3)) {
		c.op = OP_MREMAP;
		random_mremap(&c);
		return c;
	}
	c.a[0] = some_addr();
	c.a[1] = some_len();
	c.a[2] = below(9);
	if (c.op == OP_MLOCKALL)
		c.a[0] = below(9);
	if (c.op == OP_MLOCK2)
		c.a[2] = below(3);
	if (c.op == OP_MADVISE)
		c.a[2] = PICK(advices);
	if (c.op == OP_MPROTECT)
		c.a[2] = PICK(prots);
	return c;
}

/* ---- which of them may be asked ------------------------------------------------------------------------ */

static uint64_t page_up(uint64_t n)
{
	return (n + PAGE - 1) & ~(PAGE - 1);
}

/* Nothing outside of the window is in it. */
static bool in_window(uint64_t addr, uint64_t len)
{
	return addr >= WINDOW && addr < WINDOW_END && len <= WINDOW_END - addr;
}

/* The kernel refuses such a range before it looks for anything in it. */
static bool refused(uint64_t addr, uint64_t len)
{
	return !len || addr >= TASK_SIZE || len > TASK_SIZE;
}

/* A size that always fits somewhere, or never. */
static bool sure_size(uint64_t len)
{
	return len <= 200 * PAGE || page_up(len) >= TASK_SIZE || !page_up(len);
}

static bool may_ask(const struct call *c)
{
	bool own = in_window(c->a[0], c->a[1]);

	switch (c->op) {
	case OP_MMAP:
		if (c->a[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE))
			return own || refused(c->a[0], c->a[1]) || c->a[0] < lowest;
		return sure_size(c->a[1]);
	case OP_MUNMAP:
		return own || refused(c->a[0], c->a[1]);
	case OP_MREMAP:
		if (!in_window(c->a[0], c->a[1]) && !refused(c->a[0], c->a[1]))
			return false;
		if ((c->a[3] & MREMAP_FIXED) && !in_window(c->a[4], c->a[2]) &&
		    !refused(c->a[4], c->a[2]))
			return false;
		return sure_size(c->a[2]);
	case OP_MADVISE:
		return (own || (refused(c->a[0], c->a[1]) && c->a[0] + c->a[1] < c->a[0])) &&
		       (c->a[2] >= 24 || advice_known[c->a[2]]);
	case OP_MPROTECT:
		/* A stack is looked for above the window, too. */
		return own || (refused(c->a[0], c->a[1]) && !(c->a[2] & PROT_GROWSDOWN));
	case OP_MLOCKALL:
		return !(c->a[0] & MCL_CURRENT) || c->a[0] & ~UINT64_C(7);
	case OP_MINCORE:
		return c->a[1] <= WINDOW_PAGES * PAGE || refused(c->a[0], c->a[1]);
	default:
		return own || refused(c->a[0], c->a[1]);
	}
}

static void probe_advice(void)
{
	void *p = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *shared = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < 24; i++)
		advice_known[i] = !madvise(p, PAGE, i) || !madvise(shared, PAGE, i);
	munmap(p, PAGE);
	munmap(shared, PAGE);
}

static void probe_lowest(void)
{
	FILE *f = fopen("/proc/sys/vm/mmap_min_addr", "r");

	if (f && fscanf(f, "%" SCNu64, &lowest) != 1)
		lowest = 65536;
	if (f)
		fclose(f);
	if (!lowest)
		lowest = PAGE;
}

/* ---- differences that are meant ------------------------------------------------------------------------ */

/* Rounding the length up to pages wraps around to nothing. */
static bool wraps(const struct call *c, int host, int core)
{
	bool bytes = c->op == OP_MLOCK || c->op == OP_MLOCK2 || c->op == OP_MUNLOCK;
	uint64_t len = c->a[1] + (bytes ? c->a[0] % PAGE : 0);

	(void)host;
	return c->op != OP_MMAP && c->a[1] && (len < c->a[1] || !page_up(len)) && core;
}

/* mlock() of what ends beyond all addresses is beyond the limit, too. */
static bool limit_first(const struct call *c, int host, int core)
{
	uint64_t end = c->a[0] + c->a[1];

	return (c->op == OP_MLOCK || c->op == OP_MLOCK2) && host == ENOMEM && core == EINVAL &&
	       (end < c->a[0] || page_up(end) < c->a[0]);
}

/* An old range that wraps around: the manual page has both for it. */
static bool old_range_wraps(const struct call *c, int host, int core)
{
	return c->op == OP_MREMAP && c->a[0] + c->a[1] < c->a[0] && host == EFAULT &&
	       core == EINVAL;
}

/* A fixed address in the last page is taken for an error. */
static bool address_is_error(const struct call *c, int host, int core)
{
	return c->op == OP_MMAP && c->a[0] > UINT64_MAX - 4095 &&
	       (uint64_t)host == UINT64_MAX - c->a[0] + 1 && (core == ENOMEM || core == EINVAL);
}

/* MAP_SHARED_VALIDATE refuses MAP_FIXED_NOREPLACE, which it knows. */
static bool refuses_noreplace(const struct call *c, int host, int core)
{
	(void)core;
	return c->op == OP_MMAP && (c->a[3] & 3) == 3 && (c->a[3] & MAP_FIXED_NOREPLACE) &&
	       host == EOPNOTSUPP;
}

/* Since Linux 6.17, moving without a change of size takes all mappings of the range along. */
static bool moves_several(const struct call *c, int host, int core)
{
	return c->op == OP_MREMAP && (c->a[3] & MREMAP_FIXED) &&
	       page_up(c->a[1]) == page_up(c->a[2]) && !host && core == EFAULT;
}

static struct rule {
	const char *what;
	bool (*applies)(const struct call *c, int host, int core);
	unsigned used;
} rules[] = {
	{ "a length that wraps is none to the kernel, an error to the core", wraps, 0 },
	{ "mlock: the kernel looks at the limit before the range", limit_first, 0 },
	{ "mremap: an old range that wraps is EFAULT to the kernel, EINVAL to the core",
	  old_range_wraps, 0 },
	{ "mmap: the kernel takes an address in the last page for an error", address_is_error, 0 },
	{ "mmap: the kernel's SHARED_VALIDATE knows no FIXED_NOREPLACE", refuses_noreplace, 0 },
	{ "mremap: the kernel moves several mappings at once", moves_several, 0 },
};
#define NR_RULES (sizeof(rules) / sizeof(rules[0]))

static bool known(const struct call *c, int host, int core)
{
	for (size_t i = 0; i < NR_RULES; i++) {
		if (rules[i].applies(c, host, core)) {
			rules[i].used++;
			return true;
		}
	}
	return false;
}

/* ---- the comparison ------------------------------------------------------------------------------------ */

static const char *name_of(int err)
{
	return err ? strerrorname_np(err) ? strerrorname_np(err) : "?" : "success";
}

static void print_call(const struct call *c, int host, int core)
{
	printf("%s(", op_names[c->op]);
	for (int i = 0; i < 6; i++)
		printf("%s%#" PRIx64, i ? ", " : "", c->a[i]);
	printf("): the kernel %s, the core %s\n", name_of(host), name_of(core));
}

int main(void)
{
	const char *calls_text = getenv("AVM_ERRNO_CALLS"), *seed = getenv("AVM_ERRNO_SEED");
	size_t n = calls_text ? strtoull(calls_text, NULL, 0) : 20000, done, wrong = 0;
	struct call *calls = calloc(n, sizeof(*calls));
	size_t *shared = mmap(NULL, sizeof(*shared) + n * sizeof(int), RW,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int *results = (int *)(void *)(shared + 1);
	unsigned counts[2][NR_OPS] = { 0 };
	struct core core = { 0 };

	rng_state = seed ? strtoull(seed, NULL, 0) : 1;
	if (!calls || shared == MAP_FAILED)
		die("no memory");
	probe_advice();
	probe_lowest();
	for (size_t i = 0; i < n;) {
		calls[i] = random_call();
		if (may_ask(&calls[i]))
			i++;
	}
	if (!host_open()) {
		puts("skipped: no memfd here");
		return SKIP;
	}
	while (*shared < n && host_run(calls, n, results, shared))
		;
	done = *shared;
	if (!done) {
		puts("skipped: the window cannot be mapped here");
		return SKIP;
	}
	core_open(&core);
	for (size_t i = 0; i < done; i++) {
		int err = core_run(&core, &calls[i]);

		counts[!!err][calls[i].op]++;
		if (err != results[i] && !known(&calls[i], results[i], err)) {
			wrong++;
			print_call(&calls[i], results[i], err);
		}
	}
	if (done < n) {
		printf("the kernel's side died of this one:\n");
		print_call(&calls[done], 0, core_run(&core, &calls[done]));
		wrong++;
	}
	for (int i = 0; i < NR_OPS; i++)
		printf("%-10s %6u succeeded, %6u failed\n", op_names[i], counts[0][i],
		       counts[1][i]);
	for (size_t i = 0; i < NR_RULES; i++)
		printf("%6u times: %s\n", rules[i].used, rules[i].what);
	printf("%zu calls, %zu with another error than the kernel's\n", done, wrong);
	for (int i = 0; i < NR_FILES; i++) {
		if (i == FILE_RW || i == FILE_PRIVATE)
			sim_file_put(core.files[i]);
	}
	sim_destroy(core.sim);
	free(calls);
	return wrong ? 1 : 0;
}
