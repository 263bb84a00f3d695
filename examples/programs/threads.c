/* SPDX-License-Identifier: MIT */
/*
 * Threads that share one address space: they allocate and free in their own arenas, map and unmap,
 * change protections, fault on the same pages at the same time, and one of them forks.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 6
#define ROUNDS 40
#define SHARED_PAGES 64

static char *shared;
static long size;
static pthread_barrier_t barrier;

static int map_and_unmap(unsigned int *seed)
{
	size_t n = (size_t)size * (1 + (size_t)rand_r(seed) % 12);
	char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 1;
	memset(p, 1, n);
	if (mprotect(p, (size_t)size, PROT_READ) < 0)
		return 1;
	if (madvise(p, n, MADV_DONTNEED) < 0)
		return 1;
	return munmap(p, n);
}

static int fork_one(void)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return 1;
	if (!pid) {
		for (int i = 0; i < SHARED_PAGES; i += 3)
			shared[i * size] = 'c';
		_exit(0);
	}
	return waitpid(pid, &status, 0) != pid || status;
}

static void *work(void *arg)
{
	unsigned int seed = (unsigned int)(size_t)arg + 1;
	long bad = 0;

	for (int round = 0; round < ROUNDS; round++) {
		size_t n = 1000 + (size_t)rand_r(&seed) % 90000;
		char *p = malloc(n);

		if (!p)
			return (void *)1;
		memset(p, (int)seed, n);
		/* All at once, so that some faults are raced. */
		if (round % 8 == 0) {
			pthread_barrier_wait(&barrier);
			for (int i = 0; i < SHARED_PAGES; i++)
				shared[i * size + (long)(size_t)arg] = (char)round;
		}
		bad |= map_and_unmap(&seed);
		if (arg == 0 && round % 10 == 5)
			bad |= fork_one();
		free(p);
	}
	return (void *)bad;
}

int main(void)
{
	pthread_t t[THREADS];
	void *ret;
	int bad = 0;

	size = sysconf(_SC_PAGESIZE);
	shared = mmap(NULL, (size_t)(SHARED_PAGES * size), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || pthread_barrier_init(&barrier, NULL, THREADS))
		return 1;
	for (size_t i = 0; i < THREADS; i++)
		bad |= pthread_create(&t[i], NULL, work, (void *)i);
	for (size_t i = 0; i < THREADS; i++) {
		bad |= pthread_join(t[i], &ret);
		bad |= ret != NULL;
	}
	return bad ? 1 : 0;
}
