/* SPDX-License-Identifier: MIT */
/*
 * Nested forks: a tree of processes, each writing to some of what it inherited, before and after its
 * children do. Every process checks that it sees its own writes and nobody else's.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 24
#define DEPTH 4
#define CHILDREN 3

static char *area;
static long size;

static char *page(int i)
{
	return area + i % PAGES * size;
}

static void must(int ok)
{
	if (!ok)
		_exit(1);
}

int main(void)
{
	unsigned char mine[PAGES];
	int depth = 0, id = 1, failed = 0;

	size = sysconf(_SC_PAGESIZE);
	area = mmap(NULL, (size_t)(PAGES * size), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(area != MAP_FAILED);
	/* The last third is never written before the first fork. */
	for (int i = 0; i < PAGES * 2 / 3; i++)
		*page(i) = (char)i;
	for (int i = 0; i < PAGES; i++)
		mine[i] = (unsigned char)*page(i);
again:
	for (int c = 0; depth < DEPTH && c < CHILDREN; c++) {
		int status;
		pid_t pid = fork();

		must(pid >= 0);
		if (!pid) {
			depth++;
			id = (id * CHILDREN + c) & 0x7f;
			for (int i = 0; i < 5; i++) {
				mine[(id + i * 7) % PAGES] = (unsigned char)(id + depth);
				*page(id + i * 7) = (char)(id + depth);
			}
			goto again;
		}
		/* While the child runs, and again after it. */
		mine[(c * 5) % PAGES]++;
		(*page(c * 5))++;
		must(waitpid(pid, &status, 0) == pid);
		failed |= status;
		mine[(c * 3 + 1) % PAGES]++;
		(*page(c * 3 + 1))++;
		if (c == 1) {
			must(madvise(page(2), (size_t)(2 * size), MADV_DONTNEED) == 0);
			mine[2] = 0;
			mine[3] = 0;
		}
	}
	for (int i = 0; i < PAGES; i++)
		must((unsigned char)*page(i) == mine[i]);
	return failed ? 1 : 0;
}
