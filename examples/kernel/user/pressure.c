/* SPDX-License-Identifier: MIT */
/* pressure.c - PAGES: one process that uses more memory than there is, in order and at random, through every way to get it. */
#include "user.h"

static unsigned long nr_pages;
static char *pages;

static void in_order(void)
{
	for (unsigned long i = 0; i < nr_pages; i++)
		fill_page(pages + i * PAGE, i);
	for (unsigned long i = 0; i < nr_pages; i++)
		CHECK(page_is(pages + i * PAGE, i));
}

static void at_random(void)
{
	struct random r = { 88172645463325252ull };

	for (unsigned long n = 0; n < nr_pages / 2; n++) {
		unsigned long i = next_random(&r) % nr_pages;

		CHECK(page_is(pages + i * PAGE, i));
	}
}

/* Entries that name slots are moved, cut off, and thrown away. */
static void moved(void)
{
	long to = system_call(SYS_MREMAP, (long)pages, (long)(nr_pages * PAGE),
			      (long)(2 * nr_pages * PAGE), AVM_MREMAP_MAYMOVE, 0);
	unsigned long half = nr_pages / 2;

	CHECK(to > 0);
	pages = (char *)to;
	CHECK(!system_call(SYS_MADVISE, to, (long)(half * PAGE), AVM_MADV_DONTNEED, 0, 0));
	for (unsigned long i = 0; i < nr_pages; i += 7)
		CHECK(i < half ? !pages[i * PAGE] : page_is(pages + i * PAGE, i));
	CHECK(!pages[nr_pages * PAGE]);
	unmap(pages, 2 * nr_pages * PAGE);
}

static void heap(void)
{
	char *start = brk(NULL);

	CHECK(brk(start + nr_pages * PAGE) == start + nr_pages * PAGE);
	pages = start;
	in_order();
	CHECK(brk(start) == start);
}

int main(const char *arguments)
{
	nr_pages = number_in(arguments, 0, 1000);
	pages = map(nr_pages * PAGE);
	in_order();
	at_random();
	moved();
	heap();
	return 0;
}
