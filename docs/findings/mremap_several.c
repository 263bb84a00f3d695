/* SPDX-License-Identifier: MIT */
/*
 * Since Linux 6.17 mremap(MREMAP_MAYMOVE | MREMAP_FIXED) of unchanged size moves all mappings of its range, across holes.
 * Opposite a hole the target keeps what it had: the range at the target is not unmapped as a whole, as it is when one
 * mapping is moved. Not a defect, but a surprise for whoever counted on EFAULT for a hole.
 */
#include "finding.h"

int main(void)
{
	char *from = map(4, MAP_PRIVATE | MAP_ANONYMOUS);
	char *to = map(4, MAP_PRIVATE | MAP_ANONYMOUS);
	void *got;

	from[0] = 1;
	to[0] = 2;
	if (mprotect(from + 2 * PAGE, 2 * PAGE, PROT_READ))
		return 2;
	munmap(from + PAGE, PAGE);
	got = mremap(from, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (got == MAP_FAILED)
		return say(0, "mremap moves several mappings across a hole");
	printf("moved; opposite the hole the old page of the target is %s\n",
	       is_mapped(to + PAGE) ? "still there" : "gone");
	return say(to[0] == 1, "mremap moves several mappings across a hole");
}
