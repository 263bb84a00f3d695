/* SPDX-License-Identifier: MIT */
/*
 * Memory that moves: arrays that grow by mremap, in place and elsewhere; moves to fixed places; parts
 * taken from the middle; moves of what a fork has shared; and the contents checked after each.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t size;

static void must(int ok)
{
	if (!ok)
		_exit(1);
}

static char *map(size_t pages)
{
	char *p = mmap(NULL, pages * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	must(p != MAP_FAILED);
	return p;
}

static void fill(char *p, size_t pages, unsigned int tag)
{
	for (size_t i = 0; i < pages; i++)
		memcpy(p + i * size, &(uint64_t){ (uint64_t)tag << 32 | i }, 8);
}

static void check(const char *p, size_t pages, size_t first, unsigned int tag)
{
	for (size_t i = 0; i < pages; i++) {
		uint64_t v;

		memcpy(&v, p + i * size, 8);
		must(v == ((uint64_t)tag << 32 | (first + i)));
	}
}

/* A vector that doubles, with something in its way now and then. */
static void grow(unsigned int tag)
{
	size_t n = 1;
	char *p = map(n);
	char *wall[10];
	int walls = 0;

	fill(p, n, tag);
	while (n < 256) {
		char *q;

		if (n & 0x54)
			wall[walls++] = map(1);
		q = mremap(p, n * size, 2 * n * size, MREMAP_MAYMOVE);
		must(q != MAP_FAILED);
		check(q, n, 0, tag);
		p = q;
		n *= 2;
		fill(p, n, tag);
	}
	p = mremap(p, n * size, n / 4 * size, 0);
	must(p != MAP_FAILED);
	check(p, n / 4, 0, tag);
	must(munmap(p, n / 4 * size) == 0);
	while (walls)
		must(munmap(wall[--walls], size) == 0);
}

/* The middle of one area goes onto the middle of another, and comes back. */
static void shuffle(unsigned int tag)
{
	char *a = map(32);
	char *b = map(32);

	fill(a, 32, tag);
	fill(b, 32, tag + 1);
	must(mremap(a + 8 * size, 8 * size, 8 * size, MREMAP_MAYMOVE | MREMAP_FIXED,
		    b + 8 * size) == b + 8 * size);
	check(a, 8, 0, tag);
	check(b, 8, 0, tag + 1);
	check(b + 8 * size, 8, 8, tag);
	must(mremap(b + 8 * size, 8 * size, 8 * size, MREMAP_MAYMOVE | MREMAP_FIXED,
		    a + 8 * size) == a + 8 * size);
	check(a, 32, 0, tag);
	must(munmap(b, 8 * size) == 0);
	must(munmap(b + 16 * size, 16 * size) == 0);
	must(munmap(a, 32 * size) == 0);
}

/* Parent and child share pages, and both move them. */
static void shared_moves(unsigned int tag)
{
	char *p = map(24);
	char *q;
	int status;
	pid_t pid;

	fill(p, 16, tag);
	pid = fork();
	must(pid >= 0);
	q = mremap(p + 4 * size, 12 * size, 20 * size, MREMAP_MAYMOVE);
	must(q != MAP_FAILED);
	check(q, 12, 4, tag);
	fill(q, 6, pid ? tag + 7 : tag + 9);
	check(q + 6 * size, 6, 10, tag);
	check(p, 4, 0, tag);
	if (!pid)
		_exit(0);
	must(waitpid(pid, &status, 0) == pid && status == 0);
	check(q, 6, 0, tag + 7);
	must(munmap(q, 20 * size) == 0);
	must(munmap(p, 4 * size) == 0);
	must(munmap(p + 16 * size, 8 * size) == 0);
}

/* Never written: a move gives it a new index. */
static void unfaulted(void)
{
	char *p = map(8);
	char *place = map(16);
	char *q = mremap(p, 8 * size, 8 * size, MREMAP_MAYMOVE | MREMAP_FIXED, place + 4 * size);

	must(q == place + 4 * size);
	for (int i = 0; i < 16; i++)
		place[(size_t)i * size] = 1;
	must(munmap(place, 16 * size) == 0);
}

int main(void)
{
	size = (size_t)sysconf(_SC_PAGESIZE);
	for (unsigned int i = 0; i < 12; i++) {
		grow(i * 16 + 1);
		shuffle(i * 16 + 3);
		shared_moves(i * 16 + 5);
		unfaulted();
	}
	return 0;
}
