/* SPDX-License-Identifier: MIT */
/*
 * forkbomb.c - PROCESSES PAGES: so many processes at once, each of which writes so many pages of what it inherited.
 *
 * Process i forks 2i+1 and 2i+2, so that the family is a tree some levels deep. Each writes half of its pages before it
 * forks, and all that are left after, while its children do the same. When all are there, and each page has been
 * written by each, the invariants are checked, and everybody looks whether his pages are what he wrote.
 */
#include <stdatomic.h>

#include "user.h"

struct common {
	_Atomic unsigned long written, checked;
};

static struct common *common;
static unsigned long nr_processes, nr_pages;
static char *pages;
static uint64_t *seeds; /* what each page is filled with: inherited, and copied, as they are */

static uint64_t seed_of(unsigned long process, unsigned long page)
{
	return process * 1000003 + page * 17 + 1;
}

static void check_pages(void)
{
	for (unsigned long i = 0; i < nr_pages; i++)
		CHECK(page_is(pages + i * PAGE, seeds[i]));
}

/* Every second page, from `first` on. */
static void storm(unsigned long process, unsigned long first)
{
	for (unsigned long i = first; i < nr_pages; i += 2) {
		CHECK(page_is(pages + i * PAGE, seeds[i]));
		seeds[i] = seed_of(process, i);
		fill_page(pages + i * PAGE, seeds[i]);
	}
}

static void wait_until(_Atomic unsigned long *counter, unsigned long value)
{
	while (atomic_load(counter) < value)
		yield();
}

static void run(unsigned long self)
{
	unsigned children = 0;

	storm(self, self % 2);
	for (unsigned long i = 2 * self + 1; i <= 2 * self + 2 && i < nr_processes; i++) {
		int pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			run(i);
			exit(0);
		}
		children++;
	}
	storm(self, 1 - self % 2);
	atomic_fetch_add(&common->written, 1);
	wait_until(&common->written, nr_processes);
	if (!self)
		CHECK(!system_call(SYS_VERIFY, 0, 0, 0, 0, 0));
	check_pages();
	atomic_fetch_add(&common->checked, 1);
	wait_until(&common->checked, nr_processes);
	wait_for(children);
}

int main(const char *arguments)
{
	nr_processes = number_in(arguments, 0, 20);
	nr_pages = number_in(arguments, 1, 16);
	common = map_shared(PAGE);
	pages = map(nr_pages * PAGE);
	seeds = (uint64_t *)(void *)map(nr_pages * sizeof(*seeds));
	for (unsigned long i = 0; i < nr_pages; i++) {
		seeds[i] = seed_of(nr_processes, i);
		fill_page(pages + i * PAGE, seeds[i]);
	}
	run(0);
	say("# %lu processes have written %lu pages each\n", atomic_load(&common->checked),
	    nr_pages);
	return 0;
}
