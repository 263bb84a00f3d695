/* SPDX-License-Identifier: MIT */
/* oops.c - has the kernel do what it never should, to see what it says of it: write to a page that is shared after fork. */
#include "user.h"

int main(const char *arguments)
{
	char *p = map(4 * PAGE);

	(void)arguments;
	fill_page(p + PAGE, 1);
	if (!fork()) /* still there whenever the parent's turn comes */
		for (;;)
			yield();
	system_call(SYS_OOPS, (long)(p + PAGE), 0, 0, 0, 0);
	return 1;
}
