/* SPDX-License-Identifier: MIT */
/*
 * threads.c - THREADS ROUNDS: threads of one address space, on all CPUs there are, which fault on the same pages, change
 * mappings beside each other and fork, while everything that can leave memory is made to.
 *
 * A word of each page of the common memory is each thread's own: nobody else writes it, so it must be what the thread
 * wrote, whoever else wrote to the page meanwhile, copied it, or brought it back.
 */
#include <stdatomic.h>

#include "user.h"

#define MAX_THREADS 16
#define NR_PAGES 64
#define STACK (4 * PAGE)

struct worker {
	unsigned long number;
	uint64_t written[NR_PAGES]; /* its word in each page */
	struct random random;
};

static struct worker workers[MAX_THREADS];
static unsigned long nr_threads, nr_rounds;
static char *common;
static _Atomic unsigned long going;

static volatile uint64_t *word_of(const struct worker *w, unsigned page)
{
	return (volatile uint64_t *)(void *)(common + page * PAGE) + w->number;
}

static void check_words(const struct worker *w)
{
	for (unsigned i = 0; i < NR_PAGES; i++)
		CHECK(*word_of(w, i) == w->written[i]);
}

static void write_words(struct worker *w)
{
	for (unsigned n = 0; n < NR_PAGES / 4; n++) {
		unsigned i = (unsigned)(next_random(&w->random) % NR_PAGES);

		w->written[i] = next_random(&w->random);
		*word_of(w, i) = w->written[i];
	}
}

/* A child has what its parent had, whatever the other threads do: and it is one thread. */
static void fork_once(struct worker *w)
{
	int pid = fork(), status = -1;

	CHECK(pid >= 0);
	if (!pid) {
		check_words(w);
		write_words(w);
		check_words(w);
		exit(0);
	}
	CHECK(wait(&status) == pid && !status);
}

/* Memory that comes, is changed and goes, beside that of others. */
static void mappings(struct worker *w)
{
	unsigned long pages = 4 + next_random(&w->random) % 12;
	char *p = map(pages * PAGE);
	long moved;

	for (unsigned long i = 0; i < pages; i++)
		fill_page(p + i * PAGE, w->number + i);
	CHECK(!system_call(SYS_MPROTECT, (long)(p + PAGE), PAGE, AVM_PROT_READ, 0, 0));
	CHECK(page_is(p + PAGE, w->number + 1));
	CHECK(!system_call(SYS_MPROTECT, (long)(p + PAGE), PAGE, AVM_PROT_READ | AVM_PROT_WRITE, 0,
			   0));
	moved = system_call(SYS_MREMAP, (long)p, (long)(pages * PAGE), (long)(2 * pages * PAGE),
			    AVM_MREMAP_MAYMOVE, 0);
	CHECK(moved > 0);
	p = (char *)moved;
	for (unsigned long i = 0; i < pages; i++)
		CHECK(page_is(p + i * PAGE, w->number + i));
	CHECK(!p[pages * PAGE]);
	unmap(p, 2 * pages * PAGE);
}

static void work(void *argument)
{
	struct worker *w = argument;

	for (unsigned long round = 0; round < nr_rounds; round++) {
		write_words(w);
		mappings(w);
		check_words(w);
		if (round % 4 == w->number % 4)
			fork_once(w);
	}
	atomic_fetch_sub(&going, 1);
}

int main(const char *arguments)
{
	nr_threads = number_in(arguments, 0, 4);
	nr_rounds = number_in(arguments, 1, 20);
	CHECK(nr_threads <= MAX_THREADS);
	common = map(NR_PAGES * PAGE);
	atomic_store(&going, nr_threads);
	for (unsigned long i = 0; i < nr_threads; i++) {
		workers[i].number = i;
		workers[i].random.state = 7919 * (i + 1);
		CHECK(thread(work, &workers[i], map(STACK) + STACK) > 0);
	}
	while (atomic_load(&going)) {
		CHECK(system_call(SYS_HIBERNATE, 0, 0, 0, 0, 0) >= 0);
		yield();
	}
	wait_for((unsigned)nr_threads);
	CHECK(!system_call(SYS_VERIFY, 0, 0, 0, 0, 0));
	for (unsigned long i = 0; i < nr_threads; i++)
		check_words(&workers[i]);
	return 0;
}
