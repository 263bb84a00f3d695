/* SPDX-License-Identifier: MIT */
/*
 * mremap(old, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, new) with `old` inside of [new, new + size) fails with EFAULT, after
 * it has unmapped the target, and with it the source: the check that source and target do not overlap takes the old size
 * of 0 for an empty range. mremap(2) promises EINVAL for ranges that overlap.
 *
 * Found by `anonvm diff` in its first minute.
 */
#include "finding.h"

int main(void)
{
	char *at = map(4, MAP_SHARED | MAP_ANONYMOUS);
	void *to = mremap(at + PAGE, 0, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at + PAGE);
	int error = errno;

	if (to != MAP_FAILED || is_mapped(at + PAGE))
		return say(0, "a failing mremap unmaps its source");
	printf("mremap: %s, and the page at the source is gone\n", strerror(error));
	return say(1, "a failing mremap unmaps its source");
}
