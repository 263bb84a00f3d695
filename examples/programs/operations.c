/* SPDX-License-Identifier: MIT */
/*
 * operations.c - a little of everything a process can ask of its address space, with forks in between: for recording.
 */
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define RW (PROT_READ | PROT_WRITE)

extern char **environ;

static char *arena, *not_forked, *wiped, *shared;
static volatile char sink;

static void *check(void *p)
{
	if (p == MAP_FAILED) {
		perror("operations");
		exit(1);
	}
	return p;
}

static char *map(size_t pages, int prot, int flags)
{
	return check(mmap(NULL, pages * PAGE, prot, flags | MAP_ANONYMOUS, -1, 0));
}

static char *map_file(int fd, size_t pages, int prot, int flags)
{
	return check(mmap(NULL, pages * PAGE, prot, flags, fd, 0));
}

static void touch(char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		p[i * PAGE]++;
}

static void look(const char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		sink += p[i * PAGE];
}

static void in_child(void)
{
	touch(arena, 16);
	look(wiped, 8);
	touch(wiped, 8);
	look(shared, 4);
	touch(shared, 4);
}

static void child(void (*work)(void))
{
	pid_t pid = fork();

	if (!pid) {
		work();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* What fork copies, leaves out, wipes and shares; protections in between. */
static void forks(void)
{
	arena = map(64, RW, MAP_PRIVATE);
	touch(arena, 64);
	not_forked = map(32, RW, MAP_PRIVATE);
	touch(not_forked, 32);
	madvise(not_forked, 16 * PAGE, MADV_DONTFORK);
	wiped = map(8, RW, MAP_PRIVATE);
	touch(wiped, 8);
	madvise(wiped, 8 * PAGE, MADV_WIPEONFORK);
	shared = map(4, RW, MAP_SHARED);
	touch(shared, 4);
	child(in_child);
	touch(arena, 64);
	touch(not_forked, 32);
	child(in_child);
	mprotect(arena, 32 * PAGE, PROT_READ);
	mprotect(arena, 32 * PAGE, RW);
	touch(arena, 64);
	mprotect(arena + 8 * PAGE, 8 * PAGE, PROT_NONE);
	mprotect(arena + 8 * PAGE, 8 * PAGE, RW);
	touch(arena, 64);
}

static void populate(void)
{
	char *p = map(512, RW, MAP_PRIVATE | MAP_POPULATE);

	touch(p, 512);
	munmap(p + 100 * PAGE, 200 * PAGE);
	munmap(p, 512 * PAGE);
	p = map(256, PROT_READ, MAP_PRIVATE | MAP_POPULATE);
	look(p, 256);
	mprotect(p, 256 * PAGE, RW);
	touch(p, 256);
	munmap(p, 256 * PAGE);
	p = map(256, RW, MAP_SHARED | MAP_POPULATE);
	touch(p, 256);
	madvise(p, 64 * PAGE, MADV_REMOVE);
	look(p, 100);
	munmap(p, 256 * PAGE);
	p = map(300, RW, MAP_PRIVATE);
	madvise(p, 300 * PAGE, MADV_POPULATE_WRITE);
	madvise(p, 10 * PAGE, MADV_DONTNEED);
	madvise(p, 300 * PAGE, MADV_POPULATE_READ);
	touch(p, 300);
	madvise(p, 100 * PAGE, MADV_FREE);
	touch(p, 300);
	mlock(p, 50 * PAGE);
	munlock(p, 50 * PAGE);
	p = map(50, RW, MAP_PRIVATE);
	mlock(p, 50 * PAGE);
	touch(p, 50);
	munmap(p, 20 * PAGE);
	munmap(p, 50 * PAGE);
}

static void memory_file(void)
{
	int fd = memfd_create("operations", 0);
	char *p, *q;

	if (ftruncate(fd, 64 * (off_t)PAGE))
		perror("ftruncate");
	p = map_file(fd, 64, RW, MAP_SHARED);
	touch(p, 64);
	q = map_file(fd, 64, RW, MAP_PRIVATE);
	look(q, 64);
	touch(q, 20);
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10 * PAGE, 20 * PAGE);
	look(p, 40);
	look(q, 40);
	if (ftruncate(fd, 32 * (off_t)PAGE) || ftruncate(fd, 64 * (off_t)PAGE))
		perror("ftruncate");
	touch(p, 64);
	look(q, 64);
	child(in_child);
	munmap(p, 64 * PAGE);
	munmap(q, 64 * PAGE);
	close(fd);
}

static void real_file(void)
{
	char name[] = "operations.XXXXXX";
	int fd = mkstemp(name);
	char *p, *q;

	for (int i = 0; i < 100; i++) {
		if (pwrite(fd, "x", 1, i * (off_t)PAGE) != 1)
			perror("pwrite");
	}
	p = map_file(fd, 100, RW, MAP_SHARED);
	look(p, 50);
	touch(p, 100);
	q = map_file(fd, 100, RW, MAP_PRIVATE);
	look(q, 100);
	touch(q, 50);
	child(in_child);
	if (ftruncate(fd, 40 * (off_t)PAGE) || ftruncate(fd, 100 * (off_t)PAGE))
		perror("ftruncate");
	look(q, 100);
	check(mmap(p + 10 * PAGE, 20 * PAGE, RW, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0));
	touch(p, 100);
	check(mmap(q + 10 * PAGE, 20 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
		   5 * (off_t)PAGE));
	look(q, 100);
	munmap(p, 100 * PAGE);
	munmap(q, 100 * PAGE);
	close(fd);
	unlink(name);
}

static void system_v(void)
{
	int id = shmget(IPC_PRIVATE, 40 * PAGE, IPC_CREAT | 0600);
	char *p = check(shmat(id, NULL, 0)), *q = check(shmat(id, NULL, SHM_RDONLY));

	touch(p, 40);
	look(q, 40);
	shmctl(id, IPC_RMID, NULL);
	child(in_child);
	shmdt(p);
	look(q, 40);
	shmdt(q);
}

static void moves(void)
{
	char *p = map(100, RW, MAP_PRIVATE), *q;

	touch(p, 100);
	p = check(mremap(p, 100 * PAGE, 200 * PAGE, MREMAP_MAYMOVE));
	touch(p, 200);
	q = map(300, PROT_NONE, MAP_PRIVATE);
	q = check(mremap(p, 200 * PAGE, 200 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q));
	touch(q, 200);
	p = check(mremap(q, 200 * PAGE, 200 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	touch(p, 200);
	look(q, 200);
	touch(q, 100);
	q = check(mremap(q, 200 * PAGE, 50 * PAGE, 0));
	touch(q, 50);
	p = check(mremap(p + 50 * PAGE, 50 * PAGE, 120 * PAGE, MREMAP_MAYMOVE));
	touch(p, 120);
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, q, 10 * PAGE, "operations");
	touch(q, 50);
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, q, 10 * PAGE, NULL);
	/* All of these fail, and some do something first. */
	mprotect(q + 48 * PAGE, 10 * PAGE, PROT_READ);
	madvise(q + 48 * PAGE, 10 * PAGE, MADV_DONTNEED);
	munmap(q + 1, 5);
	madvise(q, PAGE, 77);
	(void)!mremap(q, 10 * PAGE, 0, 0);
}

static void *run_true(void *unused)
{
	char name[] = "true", *argv[] = { name, NULL };

	(void)unused;
	execve("/bin/true", argv, environ);
	return NULL;
}

static void exec_in_thread(void)
{
	pthread_t thread;

	touch(arena, 4);
	pthread_create(&thread, NULL, run_true, NULL);
	pause();
}

static void exec_long(void)
{
	static char word[] = "one of many arguments, together as long as many pages are ......";
	static char *argv[3000];

	for (int i = 0; i < 2999; i++)
		argv[i] = word;
	execve("/bin/true", argv, environ);
}

static void exec_garbage(void)
{
	char name[] = "operations.XXXXXX", *argv[] = { name, NULL };
	int fd = mkstemp(name);

	if (write(fd, "garbage garbage", 15) != 15 || fchmod(fd, 0700))
		perror("write");
	close(fd);
	execve(name, argv, environ);
	unlink(name);
	touch(arena, 10);
}

static void execs(void)
{
	char name[] = "true", *argv[] = { name, NULL };
	pid_t pid;

	if (!posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ))
		waitpid(pid, NULL, 0);
	child(exec_garbage);
	child(exec_long);
	child(exec_in_thread);
}

static void *work(void *memory)
{
	for (int i = 0; i < 20; i++) {
		touch(memory, 64);
		madvise(memory, 32 * PAGE, MADV_DONTNEED);
		look(memory, 16);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, work, map(64, RW, MAP_PRIVATE));
	for (int i = 0; i < 6; i++)
		child(in_child);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
}

static void heap_and_stack(void)
{
	char deep[2000000], *p;

	mlockall(MCL_CURRENT | MCL_FUTURE);
	touch(map(30, RW, MAP_PRIVATE), 30);
	(void)!sbrk(100 * PAGE);
	munlockall();
	p = sbrk(200 * PAGE);
	touch((char *)(((size_t)p + PAGE - 1) & ~(PAGE - 1)), 199);
	(void)!sbrk(-150 * (intptr_t)PAGE);
	touch(deep, sizeof(deep) / PAGE);
}

int main(void)
{
	forks();
	populate();
	memory_file();
	real_file();
	system_v();
	moves();
	execs();
	threads();
	heap_and_stack();
	return 0;
}
