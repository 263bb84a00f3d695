/* SPDX-License-Identifier: MIT */
/* test_cpus.c - the machine of several CPUs itself: what it has of its own, and what may go wrong with it. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "anonvm/anonvm.h"
#include "avm_port.h"
#include "list.h"
#include "lru.h"
#include "page.h"
#include "percpu.h"
#include "threads.h"

#define PAGE UINT64_C(4096)
#define AT(i) (UINT64_C(0x200000) + (uint64_t)(i)*PAGE)
#define RW (AVM_PROT_READ | AVM_PROT_WRITE)
#define ALL (SMP_RECLAIM | SMP_KSM | SMP_COMPACT)

struct bed {
	struct sim *s;
	struct avm *m;
	struct sim_proc *a;
};

static void bed_open(struct bed *b, uint64_t frames)
{
	const struct sim_config config = { .core = { .low_frames = 16, .high_frames = 32 },
					   .frames = frames,
					   .check_tlb = true,
					   .tlb_entries = 16,
					   .log = fopen("/dev/null", "w") };
	const struct sim_swap_config swap = { .slots = 1024 };
	struct avm_swap_device *d;

	assert_non_null(config.log);
	assert_int_equal(sim_create(&b->s, &config), 0);
	b->m = sim_machine(b->s);
	assert_int_equal(sim_swap_add(b->s, &swap, &d), 0);
	assert_int_equal(sim_proc_create(b->s, NULL, &b->a), 0);
}

static void map(struct bed *b, unsigned page, unsigned n)
{
	const struct avm_mmap args = { .addr = AT(page),
				       .len = n * PAGE,
				       .prot = RW,
				       .flags = AVM_MAP_FIXED | AVM_MAP_PRIVATE |
						AVM_MAP_ANONYMOUS };
	avm_addr_t out;

	assert_int_equal(avm_mmap(sim_mm(b->a), &args, &out), 0);
}

static void write_pages(struct bed *b, unsigned first, unsigned n)
{
	for (uint64_t i = first; i < first + n; i++)
		assert_int_equal(sim_store(b->a, AT(i), &i, sizeof(i), NULL), 0);
}

static void read_pages(struct bed *b, unsigned first, unsigned n)
{
	for (uint64_t i = first, got; i < first + n; i++) {
		assert_int_equal(sim_load(b->a, AT(i), &got, sizeof(got), NULL), 0);
		assert_int_equal(got, i);
	}
}

static void elsewhere(struct bed *b, void *(*what)(void *))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, what, b), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ---- how many there are ---------------------------------------------------------------------------------------------- */

static void *use_a_cpu(void *argument)
{
	struct bed *b = argument;

	avm_port_cpu_id(b->m);
	return NULL;
}

/* In a process of its own, before there are threads in this one: it ends. */
static void a_machine_has_no_more_cpus_than_it_was_told(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (!pid) {
		const struct sim_config config = { .core = { .cpus = 1 }, .frames = 64 };
		struct bed b;

		if (!freopen("/dev/null", "w", stderr) || sim_create(&b.s, &config))
			_exit(1);
		b.m = sim_machine(b.s);
		elsewhere(&b, use_a_cpu);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* ---- TLBs -------------------------------------------------------------------------------------------------------- */

static void *touch_first(void *argument)
{
	struct bed *b = argument;

	write_pages(b, 0, 1); /* and stays: its TLB keeps the translation */
	return NULL;
}

static void another_cpu_s_translation_is_shot_down(void **state)
{
	struct smp_tlb_stats before, after;
	struct bed b;

	(void)state;
	bed_open(&b, 256);
	map(&b, 0, 1);
	elsewhere(&b, touch_first);
	assert_false(sim_translated(b.a, AT(0)));
	smp_tlb_stats(b.s, &before);
	assert_int_equal(avm_munmap(sim_mm(b.a), AT(0), PAGE), 0);
	smp_tlb_stats(b.s, &after);
	assert_true(after.shootdowns > before.shootdowns);
	assert_int_equal(smp_check_tlbs(b.s), 0);
	assert_int_equal(sim_errors(b.s), 0);
	assert_int_equal(sim_destroy(b.s), 0);
}

/* ---- frames -------------------------------------------------------------------------------------------------------- */

static void *keep_frames(void *argument)
{
	struct bed *b = argument;
	avm_pfn_t pfn[20];

	for (unsigned i = 0; i < 20; i++)
		pfn[i] = avm_port_frame_alloc(b->m, AVM_FRAME_USER);
	for (unsigned i = 0; i < 20; i++)
		avm_port_frame_free(b->m, pfn[i]);
	return NULL;
}

static void what_another_cpu_keeps_is_not_lost(void **state)
{
	avm_pfn_t pfn[64];
	unsigned n = 0;
	struct bed b;

	(void)state;
	bed_open(&b, 64);
	elsewhere(&b, keep_frames);
	while ((pfn[n] = avm_port_frame_alloc(b.m, AVM_FRAME_USER)) != AVM_PFN_NONE)
		n++;
	assert_int_equal(n, 64 - avm_cpu_sum(b.m, &b.m->cpus[0].frames_used));
	while (n)
		avm_port_frame_free(b.m, pfn[--n]);
	assert_int_equal(sim_destroy(b.s), 0);
}

/* ---- what each CPU has to itself ------------------------------------------------------------------------------------------ */

static void *write_first_96(void *argument)
{
	write_pages(argument, 0, 96);
	return NULL;
}

static uint64_t isolate_of(struct bed *b, uint64_t n, uint64_t *of)
{
	struct avm_list list = { &list, &list };
	struct avm_page *page;
	uint64_t isolated = avm_lru_isolate(b->m, AVM_LRU_INACTIVE_ANON, n, &list);

	of[0] = of[1] = 0;
	while ((page = avm_page_pop(&list))) {
		of[avm_page_cpu(page)]++;
		avm_lru_putback(b->m, page, AVM_PUTBACK_SAME);
	}
	return isolated;
}

/* 96 pages of one CPU, 32 of another: three of one for each of the other. */
static void reclaim_takes_from_all_cpus_alike(void **state)
{
	uint64_t of[2], ones[2] = { 0 };
	struct bed b;

	(void)state;
	bed_open(&b, 512);
	map(&b, 0, 128);
	write_pages(&b, 96, 32);
	elsewhere(&b, write_first_96);
	assert_int_equal(avm_lru_count(b.m, AVM_LRU_INACTIVE_ANON), 128);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(isolate_of(&b, 16, of), 16);
		assert_int_equal(of[1], 12);
	}
	/* One each time, from the next CPU that has any: never more than was asked for, nor always from the same. */
	for (unsigned i = 0; i < 128; i++) {
		assert_int_equal(isolate_of(&b, 1, of), 1);
		ones[0] += of[0];
		ones[1] += of[1];
	}
	assert_true(ones[0] && ones[1]);
	assert_int_equal(isolate_of(&b, 1000, of), 128);
	assert_int_equal(of[0], 32);
	assert_int_equal(sim_destroy(b.s), 0);
}

static void *unmap_all(void *argument)
{
	struct bed *b = argument;

	assert_int_equal(avm_munmap(sim_mm(b->a), AT(0), 64 * PAGE), 0);
	return NULL;
}

static void what_one_cpu_gets_and_another_gives_back_is_nothing(void **state)
{
	struct avm_stats before, now;
	struct bed b;

	(void)state;
	bed_open(&b, 512);
	avm_stats(b.m, &before);
	map(&b, 0, 64);
	write_pages(&b, 0, 64);
	assert_int_equal(avm_mm_rss(sim_mm(b.a), AVM_RSS_ANON), 64);
	elsewhere(&b, unmap_all);
	assert_int_equal(avm_mm_rss(sim_mm(b.a), AVM_RSS_ANON), 0);
	avm_stats(b.m, &now);
	assert_int_equal(now.frames_used - now.tables, before.frames_used - before.tables);
	assert_int_equal(avm_lru_count(b.m, AVM_LRU_INACTIVE_ANON), 0);
	assert_int_equal(avm_verify(b.m, AVM_VERIFY_ALL, NULL), 0);
	assert_int_equal(sim_destroy(b.s), 0);
}

/* ---- work beside ------------------------------------------------------------------------------------------------------ */

static void threads_that_cannot_be_made_are_an_error(void **state)
{
	const struct smp_disorder none = { 0 }, no_threads = { .no_threads = true };
	struct bed b;

	(void)state;
	bed_open(&b, 256);
	smp_set_disorder(b.s, &no_threads);
	assert_int_equal(smp_start(b.s, ALL), -AVM_EAGAIN);
	assert_string_equal(sim_last_error(b.s), "no thread for work in the background");
	smp_set_disorder(b.s, &none);
	assert_int_equal(smp_start(b.s, ALL), 0);
	assert_int_equal(smp_start(b.s, ALL), -AVM_EBUSY);
	smp_stop(b.s);
	assert_int_equal(sim_errors(b.s), 0);
	assert_int_equal(sim_destroy(b.s), 0);
}

static void wait_until_dead(struct sim *s, unsigned left)
{
	struct smp_work_stats work;

	for (unsigned i = 0; i < 10000; i++) {
		smp_work_stats(s, &work);
		if (work.alive == left)
			return;
		usleep(1000);
	}
	fail_msg("alive: %#x", work.alive);
}

/* Nobody waits for the dead one, and who needs memory reclaims it himself. */
static void a_thread_beside_that_dies_is_missed_and_nothing_is_lost(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b, 128);
	map(&b, 0, 200);
	assert_int_equal(smp_start(b.s, ALL), 0);
	write_pages(&b, 0, 50);
	smp_end(b.s, SMP_RECLAIM);
	wait_until_dead(b.s, SMP_KSM | SMP_COMPACT);
	write_pages(&b, 0, 200);
	smp_pause(b.s);
	assert_int_equal(sim_verify(b.s, AVM_VERIFY_ALL, stderr), 0);
	smp_go_on(b.s);
	read_pages(&b, 0, 200);
	smp_stop(b.s);
	assert_int_equal(sim_destroy(b.s), 0);
}

static void a_machine_ends_while_work_goes_on_beside(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		struct bed b;

		bed_open(&b, 128);
		map(&b, 0, 200);
		assert_int_equal(smp_start(b.s, ALL), 0);
		write_pages(&b, 0, 200);
		assert_int_equal(avm_madvise(sim_mm(b.a), AT(0), 200 * PAGE, AVM_MADV_MERGEABLE),
				 0);
		assert_int_equal(sim_destroy(b.s), 0);
	}
}

struct late {
	struct avm_deferred deferred;
	atomic_uint *done;
};

static void late_call(struct avm_deferred *d)
{
	struct late *late = (struct late *)(void *)d;

	usleep(1000);
	atomic_fetch_add(late->done, 1);
	free(late);
}

static void a_machine_waits_for_what_is_deferred(void **state)
{
	atomic_uint done = 0;
	struct bed b;

	(void)state;
	bed_open(&b, 128);
	for (unsigned i = 0; i < 50; i++) {
		struct late *late = malloc(sizeof(*late));

		assert_non_null(late);
		late->deferred.call = late_call;
		late->done = &done;
		avm_port_defer(b.m, &late->deferred);
	}
	assert_int_equal(sim_destroy(b.s), 0);
	assert_int_equal(atomic_load(&done), 50);
}

static void reclaim_beside_keeps_frames_free(void **state)
{
	struct smp_work_stats work;
	struct bed b;

	(void)state;
	bed_open(&b, 128);
	map(&b, 0, 400);
	assert_int_equal(smp_start(b.s, SMP_RECLAIM), 0);
	for (unsigned i = 0; i < 400; i += 10) {
		write_pages(&b, i, 10);
		usleep(500);
	}
	smp_stop(b.s);
	smp_work_stats(b.s, &work);
	assert_true(work.reclaims > 0);
	read_pages(&b, 0, 400);
	assert_int_equal(sim_destroy(b.s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_has_no_more_cpus_than_it_was_told),
		cmocka_unit_test(another_cpu_s_translation_is_shot_down),
		cmocka_unit_test(what_another_cpu_keeps_is_not_lost),
		cmocka_unit_test(threads_that_cannot_be_made_are_an_error),
		cmocka_unit_test(a_thread_beside_that_dies_is_missed_and_nothing_is_lost),
		cmocka_unit_test(a_machine_ends_while_work_goes_on_beside),
		cmocka_unit_test(a_machine_waits_for_what_is_deferred),
		cmocka_unit_test(reclaim_takes_from_all_cpus_alike),
		cmocka_unit_test(what_one_cpu_gets_and_another_gives_back_is_nothing),
		cmocka_unit_test(reclaim_beside_keeps_frames_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
