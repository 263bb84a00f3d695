/* SPDX-License-Identifier: MIT */
/*
 * badcalls.c - CHILDREN: every system call with bad pointers and numbers, in every place. Each gives an errno, or takes
 * away what the program stands on, which is its own fault; the kernel goes on.
 */
#include "user.h"

#define KERNEL 0xffffffff80100000ul

static const unsigned long bad_pointers[] = {
	1,    8,    PAGE,      KERNEL,	       0xffff800000100000, 0x900000000000, 0x7ffffffff000,
	-1ul, -8ul, 1ul << 63, 0x7fffffffffff,
};
#define NR_BAD (sizeof(bad_pointers) / sizeof(bad_pointers[0]))

static const unsigned long values[] = {
	0,
	1,
	2,
	3,
	7,
	0x22,
	0x32,
	21,
	100,
	PAGE - 1,
	PAGE,
	PAGE + 1,
	64 * PAGE,
	0x400000,
	0x401000,
	0x500000,
	0x7ffff0000000,
	0x7fffff000000,
	0x7fffff000000 - PAGE,
	0x7ffffffff000,
	0x7fffffffffff,
	0x800000000000,
	KERNEL,
	-1ul,
	-PAGE,
	1ul << 32,
	1ul << 63,
	0x7fffffff,
	0x80000000,
};
#define NR_VALUES (sizeof(values) / sizeof(values[0]))

static void pointers(void)
{
	for (unsigned i = 0; i < NR_BAD; i++) {
		int status, pid = fork();

		CHECK(pid >= 0);
		if (!pid)
			exit(3);
		CHECK(system_call(SYS_WRITE, (long)bad_pointers[i], 10, 0, 0, 0) == -AVM_EFAULT);
		/* Nobody has waited: the child is still there. */
		CHECK(system_call(SYS_WAIT, (long)bad_pointers[i], 0, 0, 0, 0) == -AVM_EFAULT);
		CHECK(wait(&status) == pid && status == 3);
	}
	/* What can be read is written; here it is nothing that shows. */
	CHECK(system_call(SYS_WRITE, (long)bad_pointers[0], 0, 0, 0, 0) == 0);
}

static void numbers(void)
{
	for (unsigned i = 0; i < NR_VALUES; i++) {
		if (values[i] >= NR_SYSCALLS)
			CHECK(system_call((long)values[i], 1, 2, 3, 4, 5) == -SYSCALL_ENOSYS);
	}
}

static void ranges(void)
{
	for (unsigned i = 0; i < NR_BAD; i++) {
		long addr = (long)bad_pointers[i];

		CHECK(system_call(SYS_MUNMAP, addr, 2 * PAGE, 0, 0, 0) <= 0);
		CHECK(system_call(SYS_MPROTECT, addr, PAGE, 1, 0, 0) < 0);
		CHECK(system_call(SYS_MADVISE, addr, PAGE, AVM_MADV_DONTNEED, 0, 0) < 0);
		CHECK(system_call(SYS_MREMAP, addr, PAGE, 2 * PAGE, 1, 0) < 0);
		CHECK(system_call(SYS_MMAP, addr, PAGE, 3, 0x32, 0) < 0 || addr == (long)PAGE);
	}
	CHECK(system_call(SYS_THREAD, (long)KERNEL, PAGE, 0, 0, 0) == -AVM_EFAULT);
	CHECK(system_call(SYS_THREAD, PAGE, 0x900000000000, 0, 0, 0) == -AVM_EFAULT);
	CHECK(system_call(SYS_MMAP, 0, -1, 3, 0x22, 0) == -AVM_ENOMEM);
	CHECK(system_call(SYS_MMAP, 0, 0, 3, 0x22, 0) == -AVM_EINVAL);
	CHECK(system_call(SYS_MMAP, 0, PAGE, 3, 0x02, 0) == -AVM_EBADF);
}

/* Any call but those that end, write, or are meant to break things. */
static void one_call(struct random *r)
{
	static const long calls[] = { SYS_FORK,	  SYS_WAIT,    SYS_GETPID, SYS_YIELD,
				      SYS_BRK,	  SYS_MMAP,    SYS_MUNMAP, SYS_MPROTECT,
				      SYS_MREMAP, SYS_MADVISE, NR_SYSCALLS };
	long number = calls[next_random(r) % (sizeof(calls) / sizeof(calls[0]))];
	long a[5];

	for (unsigned i = 0; i < 5; i++) {
		a[i] = (long)values[next_random(r) % NR_VALUES];
		if (next_random(r) % 16 == 0)
			a[i] = (long)next_random(r);
	}
	if (number == SYS_MMAP)
		a[3] |= AVM_MAP_ANONYMOUS;
	/* A child of this call is not to go on as well. */
	if (!system_call(number, a[0], a[1], a[2], a[3], a[4]) && number == SYS_FORK)
		exit(0);
}

static void at_random(unsigned long children)
{
	unsigned survived = 0;

	for (unsigned long n = 0; n < children; n++) {
		int status = -1, pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			struct random r = { 99991 * n + 1 };

			for (unsigned i = 0; i < 40; i++)
				one_call(&r);
			exit(0);
		}
		CHECK(wait(&status) == pid);
		CHECK(!status || status == STATUS_SIGNAL + SIGNAL_SEGV);
		survived += !status;
	}
	say("# %u of %lu have survived what they did\n", survived, children);
}

int main(const char *arguments)
{
	pointers();
	numbers();
	ranges();
	at_random(number_in(arguments, 0, 100));
	return 0;
}
