/* SPDX-License-Identifier: MIT */
/*
 * diff_text.c - reading small files of /proc where stdio might allocate.
 */
#include <fcntl.h>
#include <unistd.h>

#include "diff_worker.h"

/* Of maps, the window comes first: it lies low. */
static char text[1 << 18];

const char *diff_read_all(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n;

	if (fd < 0)
		return NULL;
	while (have < sizeof(text) - 1 && (n = read(fd, text + have, sizeof(text) - 1 - have)) > 0)
		have += (size_t)n;
	close(fd);
	text[have] = '\0';
	return text;
}

uint64_t diff_number(const char **s, unsigned base)
{
	uint64_t x = 0;

	for (;; ++*s) {
		unsigned d = (unsigned)(**s <= '9' ? **s - '0' : **s - 'a' + 10);

		if (d >= base)
			return x;
		x = x * base + d;
	}
}
