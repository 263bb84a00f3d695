/* SPDX-License-Identifier: MIT */
/*
 * mmap(MAP_SHARED_VALIDATE | MAP_FIXED_NOREPLACE) on a file is refused with EOPNOTSUPP, as if MAP_FIXED_NOREPLACE were a flag
 * that the kernel does not know. mmap(2) says of MAP_SHARED_VALIDATE that flags which are known are accepted.
 */
#include "finding.h"

int main(void)
{
	int fd = memfd_create("finding", 0);
	void *at = map(1, MAP_PRIVATE | MAP_ANONYMOUS);
	void *known, *refused;

	if (fd < 0 || ftruncate(fd, PAGE))
		return 2;
	munmap(at, PAGE);
	known = mmap(at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (known != at)
		return 2;
	munmap(at, PAGE);
	refused = mmap(at, PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_FIXED_NOREPLACE, fd, 0);
	return say(refused == MAP_FAILED && errno == EOPNOTSUPP,
		   "MAP_SHARED_VALIDATE does not know MAP_FIXED_NOREPLACE");
}
