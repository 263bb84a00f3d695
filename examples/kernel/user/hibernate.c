/* SPDX-License-Identifier: MIT */
/*
 * hibernate.c - ROUNDS: generations of processes that share, copy and check pages, while everything that can leave memory
 * is made to, again and again: what a desktop does that is put to sleep. The oops of April 2010 came this way: pages of a
 * parent that a child brought back from swap.
 */
#include <stdatomic.h>

#include "user.h"

#define GENERATIONS 5
#define NR_PAGES 24

struct common {
	_Atomic unsigned going; /* processes that have not ended */
	_Atomic bool enough;
};

static struct common *common;
static char *pages;
static uint64_t seeds[NR_PAGES];

static void hibernate(void)
{
	CHECK(system_call(SYS_HIBERNATE, 0, 0, 0, 0, 0) >= 0);
}

static void check_pages(void)
{
	for (unsigned i = 0; i < NR_PAGES; i++)
		CHECK(page_is(pages + i * PAGE, seeds[i]));
}

/* Some are written, all are read; VMAs are split and joined meanwhile. */
static void work(struct random *r)
{
	unsigned i = (unsigned)(next_random(r) % NR_PAGES);
	char *page = pages + i * PAGE;

	CHECK(!system_call(SYS_MPROTECT, (long)page, PAGE, AVM_PROT_READ, 0, 0));
	CHECK(page_is(page, seeds[i]));
	CHECK(!system_call(SYS_MPROTECT, (long)page, PAGE, AVM_PROT_READ | AVM_PROT_WRITE, 0, 0));
	seeds[i] = next_random(r);
	fill_page(page, seeds[i]);
	check_pages();
}

static void generation(unsigned n)
{
	struct random r = { 0x2010ull + n + 977 * (unsigned)getpid() };
	unsigned children = 0;

	work(&r);
	for (unsigned i = 0; n && i < 2; i++) {
		int pid;

		hibernate(); /* the child inherits entries that name slots, and pages of ours that come back by its fault */
		pid = fork();
		CHECK(pid >= 0);
		if (!pid) {
			generation(n - 1);
			exit(0);
		}
		children++;
		work(&r);
	}
	while (!atomic_load(&common->enough)) {
		work(&r);
		yield();
	}
	wait_for(children);
	check_pages();
}

int main(const char *arguments)
{
	unsigned long rounds = number_in(arguments, 0, 20);
	int status = -1, pid;
	long broken = 0;

	common = map_shared(PAGE);
	pages = map(NR_PAGES * PAGE);
	for (unsigned i = 0; i < NR_PAGES; i++)
		fill_page(pages + i * PAGE, seeds[i] = i);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		generation(GENERATIONS);
		exit(0);
	}
	while (rounds-- && !broken) {
		hibernate();
		broken = system_call(SYS_VERIFY, 0, 0, 0, 0, 0);
		yield();
	}
	atomic_store(&common->enough, true);
	CHECK(!broken);
	CHECK(wait(&status) == pid && !status);
	check_pages();
	return 0;
}
