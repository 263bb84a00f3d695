/* SPDX-License-Identifier: MIT */
/*
 * The symbolic constants that strace prints, by name. The numbers are those of x86-64 Linux, given
 * here as such: a trace is read on any machine, and older headers lack the newer ones.
 */
#include <errno.h>

#include "trace_priv.h"

/* clang-format off */
#define C(name, value) { name, sizeof(name) - 1, value }

static const struct {
	const char *name;
	size_t len;
	uint64_t value;
} consts[] = {
	C("NULL", 0),
	/* mmap, mprotect */
	C("PROT_NONE", 0), C("PROT_READ", 1), C("PROT_WRITE", 2), C("PROT_EXEC", 4),
	C("PROT_SEM", 8), C("PROT_GROWSDOWN", 0x1000000), C("PROT_GROWSUP", 0x2000000),
	C("MAP_FILE", 0), C("MAP_SHARED", 1), C("MAP_PRIVATE", 2), C("MAP_SHARED_VALIDATE", 3),
	C("MAP_DROPPABLE", 8), C("MAP_FIXED", 0x10), C("MAP_ANONYMOUS", 0x20), C("MAP_32BIT", 0x40),
	C("MAP_ABOVE4G", 0x80), C("MAP_GROWSDOWN", 0x100), C("MAP_DENYWRITE", 0x800),
	C("MAP_EXECUTABLE", 0x1000), C("MAP_LOCKED", 0x2000), C("MAP_NORESERVE", 0x4000),
	C("MAP_POPULATE", 0x8000), C("MAP_NONBLOCK", 0x10000), C("MAP_STACK", 0x20000),
	C("MAP_HUGETLB", 0x40000), C("MAP_SYNC", 0x80000), C("MAP_FIXED_NOREPLACE", 0x100000),
	C("MAP_UNINITIALIZED", 0x4000000), C("MAP_HUGE_SHIFT", 26),
	C("MREMAP_MAYMOVE", 1), C("MREMAP_FIXED", 2), C("MREMAP_DONTUNMAP", 4),
	/* madvise */
	C("MADV_NORMAL", 0), C("MADV_RANDOM", 1), C("MADV_SEQUENTIAL", 2), C("MADV_WILLNEED", 3),
	C("MADV_DONTNEED", 4), C("MADV_FREE", 8), C("MADV_REMOVE", 9), C("MADV_DONTFORK", 10),
	C("MADV_DOFORK", 11), C("MADV_MERGEABLE", 12), C("MADV_UNMERGEABLE", 13),
	C("MADV_HUGEPAGE", 14), C("MADV_NOHUGEPAGE", 15), C("MADV_DONTDUMP", 16),
	C("MADV_DODUMP", 17), C("MADV_WIPEONFORK", 18), C("MADV_KEEPONFORK", 19),
	C("MADV_COLD", 20), C("MADV_PAGEOUT", 21), C("MADV_POPULATE_READ", 22),
	C("MADV_POPULATE_WRITE", 23), C("MADV_DONTNEED_LOCKED", 24), C("MADV_COLLAPSE", 25),
	C("MADV_HWPOISON", 100), C("MADV_SOFT_OFFLINE", 101), C("MADV_GUARD_INSTALL", 102),
	C("MADV_GUARD_REMOVE", 103),
	/* mlock, msync, mbind */
	C("MCL_CURRENT", 1), C("MCL_FUTURE", 2), C("MCL_ONFAULT", 4), C("MLOCK_ONFAULT", 1),
	C("MS_ASYNC", 1), C("MS_INVALIDATE", 2), C("MS_SYNC", 4), C("MPOL_DEFAULT", 0),
	C("MPOL_PREFERRED", 1), C("MPOL_BIND", 2), C("MPOL_INTERLEAVE", 3), C("MPOL_LOCAL", 4),
	C("MPOL_PREFERRED_MANY", 5), C("MPOL_WEIGHTED_INTERLEAVE", 6),
	C("MPOL_F_STATIC_NODES", 0x8000), C("MPOL_F_RELATIVE_NODES", 0x4000),
	C("MPOL_MF_STRICT", 1), C("MPOL_MF_MOVE", 2), C("MPOL_MF_MOVE_ALL", 4),
	/* shmat, fallocate */
	C("SHM_RDONLY", 0x1000), C("SHM_RND", 0x2000), C("SHM_REMAP", 0x4000),
	C("SHM_EXEC", 0x8000), C("FALLOC_FL_KEEP_SIZE", 1), C("FALLOC_FL_PUNCH_HOLE", 2),
	C("FALLOC_FL_NO_HIDE_STALE", 4), C("FALLOC_FL_COLLAPSE_RANGE", 8),
	C("FALLOC_FL_ZERO_RANGE", 0x10), C("FALLOC_FL_INSERT_RANGE", 0x20),
	C("FALLOC_FL_UNSHARE_RANGE", 0x40),
	/* prctl: what bears on memory */
	C("PR_SET_VMA", 0x53564d41), C("PR_SET_VMA_ANON_NAME", 0), C("PR_SET_THP_DISABLE", 41),
	C("PR_GET_THP_DISABLE", 42), C("PR_SET_NAME", 15), C("PR_GET_NAME", 16), C("PR_SET_MM", 35),
	C("PR_SET_DUMPABLE", 4), C("PR_GET_DUMPABLE", 3), C("PR_SET_PDEATHSIG", 1),
	C("PR_SET_MEMORY_MERGE", 67), C("PR_GET_MEMORY_MERGE", 68), C("PR_SET_MDWE", 65),
	C("PR_GET_MDWE", 66),
	/* clone; the signal in its low byte does not matter here */
	C("CLONE_VM", 0x100), C("CLONE_FS", 0x200), C("CLONE_FILES", 0x400),
	C("CLONE_SIGHAND", 0x800), C("CLONE_PIDFD", 0x1000), C("CLONE_PTRACE", 0x2000),
	C("CLONE_VFORK", 0x4000), C("CLONE_PARENT", 0x8000), C("CLONE_THREAD", 0x10000),
	C("CLONE_NEWNS", 0x20000), C("CLONE_SYSVSEM", 0x40000), C("CLONE_SETTLS", 0x80000),
	C("CLONE_PARENT_SETTID", 0x100000), C("CLONE_CHILD_CLEARTID", 0x200000),
	C("CLONE_DETACHED", 0x400000), C("CLONE_UNTRACED", 0x800000),
	C("CLONE_CHILD_SETTID", 0x1000000), C("CLONE_NEWCGROUP", 0x2000000),
	C("CLONE_NEWUTS", 0x4000000), C("CLONE_NEWIPC", 0x8000000), C("CLONE_NEWUSER", 0x10000000),
	C("CLONE_NEWPID", 0x20000000), C("CLONE_NEWNET", 0x40000000), C("CLONE_IO", 0x80000000),
	C("CLONE_CLEAR_SIGHAND", 0x100000000), C("CLONE_INTO_CGROUP", 0x200000000),
	C("CLONE_NEWTIME", 0x80), C("SIGCHLD", 17),
};
/* clang-format on */

bool trace_const(const char *name, size_t n, uint64_t *value)
{
	for (size_t i = 0; i < sizeof(consts) / sizeof(consts[0]); i++) {
		if (consts[i].len == n && !memcmp(consts[i].name, name, n)) {
			*value = consts[i].value;
			return true;
		}
	}
	return false;
}

/* clang-format off */
#define E(name) { #name, sizeof(#name) - 1, name }

/* What the calls of trace.h can fail with. */
static const struct {
	const char *name;
	size_t len;
	int value;
} errnos[] = {
	E(EPERM), E(ENOENT), E(ESRCH), E(EINTR), E(EIO), E(ENXIO), E(E2BIG), E(ENOEXEC), E(EBADF),
	E(ECHILD), E(EAGAIN), E(ENOMEM), E(EACCES), E(EFAULT), E(EBUSY), E(EEXIST), E(ENODEV),
	E(ENOTDIR), E(EISDIR), E(EINVAL), E(ENFILE), E(EMFILE), E(ENOTTY), E(ETXTBSY), E(EFBIG),
	E(ENOSPC), E(ESPIPE), E(EROFS), E(EPIPE), E(EDOM), E(ERANGE), E(ENAMETOOLONG), E(ENOSYS),
	E(ELOOP), E(EIDRM), E(EOVERFLOW), E(ELIBBAD), E(EUSERS), E(EOPNOTSUPP), E(ETIMEDOUT),
	E(ENOLCK), E(EHWPOISON), E(ENOTSUP),
};
/* clang-format on */

int trace_errno(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		if (errnos[i].len == n && !memcmp(errnos[i].name, name, n))
			return errnos[i].value;
	}
	return 0;
}
