/* SPDX-License-Identifier: MIT */
/* hello.c - each system call once, doing what it is for. */
#include "user.h"

static int initialized = 7;
static char zeroed[3 * PAGE];

static void heap(void)
{
	char *end = brk(NULL);

	CHECK(brk(end + 3 * PAGE) == end + 3 * PAGE);
	end[0] = 1;
	end[3 * PAGE - 1] = 2;
	CHECK(brk(end) == end);
}

static void mappings(void)
{
	char *p = map(8 * PAGE);
	long moved;

	CHECK(!p[5 * PAGE]);
	fill_page(p, 1);
	fill_page(p + 7 * PAGE, 2);
	CHECK(!system_call(SYS_MPROTECT, (long)p, PAGE, AVM_PROT_READ, 0, 0));
	CHECK(page_is(p, 1));
	CHECK(!system_call(SYS_MPROTECT, (long)p, PAGE, AVM_PROT_NONE, 0, 0));
	CHECK(!system_call(SYS_MPROTECT, (long)p, PAGE, AVM_PROT_READ | AVM_PROT_WRITE, 0, 0));
	CHECK(page_is(p, 1));
	moved = system_call(SYS_MREMAP, (long)p, 8 * PAGE, 64 * PAGE, AVM_MREMAP_MAYMOVE, 0);
	CHECK(moved > 0);
	p = (char *)moved;
	CHECK(page_is(p, 1) && page_is(p + 7 * PAGE, 2) && !p[63 * PAGE]);
	CHECK(!system_call(SYS_MADVISE, (long)p, PAGE, AVM_MADV_DONTNEED, 0, 0));
	CHECK(!p[0] && page_is(p + 7 * PAGE, 2));
	unmap(p, 64 * PAGE);
}

static void family(void)
{
	char *shared = map_shared(PAGE);
	char *own = map(PAGE);
	int self = getpid(), child, status = -1;

	own[0] = 'p';
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		CHECK(getpid() != self && own[0] == 'p');
		own[0] = 'c';
		shared[0] = 'c';
		exit(42);
	}
	while (!*(volatile char *)shared)
		yield();
	CHECK(wait(&status) == child && status == 42);
	CHECK(own[0] == 'p' && shared[0] == 'c');
	CHECK(wait(NULL) == -SYSCALL_ECHILD);
}

/* The stack grows by itself. */
static __attribute__((noinline)) unsigned deep(unsigned n)
{
	volatile char room[PAGE];

	room[0] = (char)n;
	return n ? deep(n - 1) + (unsigned)room[0] % 2 : 0;
}

int main(const char *arguments)
{
	(void)arguments;
	CHECK(initialized == 7);
	initialized = 8;
	for (size_t i = 0; i < sizeof(zeroed); i++)
		CHECK(!zeroed[i]);
	heap();
	mappings();
	family();
	CHECK(deep(100) == 50);
	say("# hello from process %d\n", getpid());
	return 0;
}
