/* SPDX-License-Identifier: MIT */
/* finding.h - what the programs of this folder share. Each shows one thing: exit status 0 it is so here, 1 it is not, 2 it
 * could not be tried. */
#ifndef FINDING_H
#define FINDING_H

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PAGE 4096ul

static inline void *map(unsigned long pages, int flags)
{
	void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (at == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return at;
}

static inline int is_mapped(void *at)
{
	unsigned char vec;

	return !mincore(at, PAGE, &vec);
}

static inline int say(int shown, const char *what)
{
	struct utsname u;

	uname(&u);
	printf("Linux %s: %s: %s\n", u.release, what, shown ? "shown" : "not here");
	return shown ? 0 : 1;
}

#endif
