/* SPDX-License-Identifier: MIT */
/*
 * abi.h - what the kernel and its programs agree on. `int $0x80`: number in rax, arguments in rdi, rsi, rdx, r10, r8, r9;
 * the result in rax, a negative errno on failure. Numbers of errors, protections, flags are those of
 * include/anonvm/types.h.
 */
#ifndef KERNEL_ABI_H
#define KERNEL_ABI_H

enum syscall_number {
	SYS_EXIT, /* status */
	SYS_FORK,
	SYS_WAIT, /* int *status, may be NULL: of any child; returns its pid */
	SYS_GETPID,
	SYS_YIELD,
	SYS_WRITE, /* text, bytes: to the console */
	SYS_BRK, /* end, 0 asks: the end of the heap */
	SYS_MMAP, /* addr, bytes, prot, flags */
	SYS_MUNMAP, /* addr, bytes */
	SYS_MPROTECT, /* addr, bytes, prot */
	SYS_MREMAP, /* addr, old bytes, new bytes, flags, new addr */
	SYS_MADVISE, /* addr, bytes, advice */
	SYS_THREAD, /* entry, stack, argument: a child in the same address space; its pid */
	/* for experiments */
	SYS_HIBERNATE, /* frees every page that can be freed, as before a machine is written to disk */
	SYS_VERIFY, /* waits until nobody else is in the kernel; the number of broken invariants */
	SYS_OOPS, /* addr: the kernel itself touches it, as it never should */
	NR_SYSCALLS,
};

#define SYSCALL_ECHILD 10
#define SYSCALL_ENOSYS 38

/* What wait() stores: the argument of exit(), its low 8 bits, or STATUS_SIGNAL + the number of the signal. */
#define STATUS_SIGNAL 0x100
enum {
	SIGNAL_ILL = 4,
	SIGNAL_TRAP = 5,
	SIGNAL_BUS = 7,
	SIGNAL_FPE = 8,
	SIGNAL_KILL = 9, /* no memory for it */
	SIGNAL_SEGV = 11,
};

#endif
