/* SPDX-License-Identifier: MIT */
/*
 * A long relay of forks: each process forks one child, hands over, and dies. With one anon_vma more
 * in every generation, the family of the last one would be as deep as the relay is long.
 *
 * usage: relay [GENERATIONS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 16

int main(int argc, char **argv)
{
	int generations = argc > 1 ? atoi(argv[1]) : 600;
	long size = sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, (size_t)(PAGES * size), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int done[2];
	char last;

	if (p == MAP_FAILED || pipe(done) < 0)
		return 1;
	memset(p, 'a', (size_t)(PAGES * size));
	for (int i = 0; i < generations; i++) {
		pid_t child = fork();

		if (child < 0)
			return 1;
		if (child && i == 0) {
			/* The first one waits for the end of the line, not for its own child only. */
			close(done[1]);
			waitpid(child, NULL, 0);
			return read(done[0], &last, 1) == 1 && last == 'z' ? 0 : 1;
		}
		if (child)
			_exit(0);
		/* One page is written in each generation, another one only read. */
		p[i % PAGES * size] = (char)('b' + i % 24);
		if (p[(i + 1) % PAGES * size] == '\0')
			return 1;
	}
	return write(done[1], "z", 1) == 1 ? 0 : 1;
}
