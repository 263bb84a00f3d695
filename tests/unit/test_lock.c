/* SPDX-License-Identifier: MIT */
/*
 * Locks under real contention: src/lock.c once more, compiled into this file over a port of
 * threads, where wait and wake are a condition variable. (The simulated machine has one thread and
 * never gets to the slow paths.)
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "avm_port.h"

#undef avm_port_lock_event
#undef AVM_PORT_LOCK_HOOKS
#undef AVM_PORT_CPU_RELAX
#define AVM_PORT_CPU_RELAX(m) ((void)(m), sched_yield())
#undef AVM_NR_CPUS
#define AVM_NR_CPUS 3 /* for six threads */
#define avm_port_panic test_panic
#define avm_port_cpu_id test_cpu_id
#define avm_port_wait test_wait
#define avm_port_wake test_wake
#define avm_port_irq_save test_irq_save
#define avm_port_irq_restore test_irq_restore
#define avm_port_defer test_defer
#define avm_spin_slow test_spin_slow
#define avm_rw_read_slow test_rw_read_slow
#define avm_rw_write_slow test_rw_write_slow
#define avm_rw_wake test_rw_wake
#define avm_mmap_write_lock test_mmap_write_lock
#define avm_mmap_write_lock_always test_mmap_write_lock_always
#define avm_mmap_write_unlock test_mmap_write_unlock
#define avm_mmap_downgrade test_mmap_downgrade
#define avm_vma_lock test_vma_lock
#define avm_page_lock test_page_lock
#define avm_page_trylock test_page_trylock
#define avm_page_unlock test_page_unlock
#define avm_rcu_enter test_rcu_enter
#define avm_rcu_exit test_rcu_exit
#define avm_rcu_defer test_rcu_defer

_Noreturn void test_panic(struct avm *m, const char *why);
int test_wait(struct avm *m, _Atomic uint32_t *word, uint32_t value);
void test_wake(struct avm *m, _Atomic uint32_t *word);
unsigned test_cpu_id(struct avm *m);
uintptr_t test_irq_save(struct avm *m);
void test_irq_restore(struct avm *m, uintptr_t saved);
void test_defer(struct avm *m, struct avm_deferred *d);

#include "../../src/lock.c"

#include "world.h"

/* ---- the port -------------------------------------------------------------------------------- */

static pthread_mutex_t port_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t port_cond = PTHREAD_COND_INITIALIZER;
static _Atomic unsigned waits, wakes, asleep;
static _Atomic bool give_up;

int test_wait(struct avm *m, _Atomic uint32_t *word, uint32_t value)
{
	(void)m;
	if (give_up)
		return -AVM_EINTR;
	pthread_mutex_lock(&port_mutex);
	if (atomic_load(word) == value) {
		waits++;
		asleep++;
		pthread_cond_wait(&port_cond, &port_mutex);
		asleep--;
	}
	pthread_mutex_unlock(&port_mutex);
	return 0;
}

void test_wake(struct avm *m, _Atomic uint32_t *word)
{
	(void)m;
	(void)word;
	wakes++;
	pthread_mutex_lock(&port_mutex);
	pthread_cond_broadcast(&port_cond);
	pthread_mutex_unlock(&port_mutex);
}

/* Not that of the simulated machine, which would bring its own lock.c. */
_Noreturn void test_panic(struct avm *m, const char *why)
{
	(void)m;
	(void)fprintf(stderr, "test_lock: %s\n", why);
	abort();
}

/* Threads go from one CPU to the other at any time. */
unsigned test_cpu_id(struct avm *m)
{
	static _Thread_local unsigned calls;

	(void)m;
	return (unsigned)((uintptr_t)pthread_self() >> 12 ^ ++calls / 8) % AVM_NR_CPUS;
}

static _Thread_local int irq_depth;

uintptr_t test_irq_save(struct avm *m)
{
	(void)m;
	return (uintptr_t)irq_depth++;
}

void test_irq_restore(struct avm *m, uintptr_t saved)
{
	(void)m;
	irq_depth--;
	assert_int_equal(irq_depth, (int)saved);
}

static struct avm_deferred *deferred;

void test_defer(struct avm *m, struct avm_deferred *d)
{
	(void)m;
	deferred = d;
}

/* ---- the workload ---------------------------------------------------------------------------- */

#define THREADS 6
#define ROUNDS 3000

static struct avm machine;
static struct avm_mm space;
static struct avm_page page;
static struct avm_vma vma;
static struct avm_spinlock spin;

/* Two numbers that are equal whenever no writer is inside. */
static volatile uint64_t left, right;
static _Atomic unsigned errors, readers_inside, most_readers;

static void look(void)
{
	if (left != right)
		errors++;
}

static void change(void)
{
	left++;
	sched_yield();
	right++;
}

static void setup(void)
{
	memset(&space, 0, sizeof(space));
	memset(&page, 0, sizeof(page));
	memset(&vma, 0, sizeof(vma));
	memset(&spin, 0, sizeof(spin));
	space.machine = &machine;
	machine.config.cpus = AVM_NR_CPUS;
	vma.mm = &space;
	vma.end = 1;
	left = right = 0;
	errors = 0;
	waits = wakes = 0;
	most_readers = 0;
}

static void run_threads(void *(*run)(void *), unsigned n)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < n; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run, (void *)i), 0);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(errors, 0);
	assert_true(left == right);
}

static void *mix_rwsem(void *seed)
{
	uint64_t x = (uintptr_t)seed * 77 + 1;

	for (unsigned i = 0; i < ROUNDS; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		if (x >> 62) { /* three in four read */
			unsigned inside;

			avm_mmap_read_lock(&space);
			inside = ++readers_inside;
			if (inside > most_readers)
				most_readers = inside;
			look();
			sched_yield();
			look();
			readers_inside--;
			avm_mmap_read_unlock(&space);
			continue;
		}
		avm_mmap_write_lock(&space);
		if (!(space.write_seq & 1))
			errors++;
		change();
		if (x >> 61 & 1) {
			avm_mmap_downgrade(&space);
			if (space.write_seq & 1)
				look(); /* somebody else may be next in line, not in */
			look();
			avm_mmap_read_unlock(&space);
		} else {
			avm_mmap_write_unlock(&space);
		}
	}
	return NULL;
}

static void readers_share_and_writers_are_alone(void **state)
{
	(void)state;
	setup();
	run_threads(mix_rwsem, THREADS);
	assert_true(left > 0);
	assert_int_equal(space.mmap_lock.word, 0);
	assert_int_equal(space.write_seq, 2 * left);
	assert_true(most_readers > 1);
	assert_true(waits > 0); /* else this has tested nothing */
}

static void *mix_page(void *seed)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		if ((i + (uintptr_t)seed) % 3 == 0) {
			if (!avm_page_trylock(&machine, &page))
				continue;
		} else {
			avm_page_lock(&machine, &page);
		}
		change();
		atomic_fetch_xor(&page.flags, AVM_PG_DIRTY); /* other flags change all the time */
		avm_page_unlock(&machine, &page);
	}
	return NULL;
}

static void the_page_lock_excludes(void **state)
{
	(void)state;
	setup();
	run_threads(mix_page, THREADS);
	assert_int_equal(page.flags & (AVM_PG_LOCKED | AVM_PG_WAITERS), 0);
	assert_true(waits > 0);
}

static void *mix_spin(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < ROUNDS; i++) {
		avm_spin_lock(&machine, &spin, AVM_LOCK_LEAF);
		change();
		avm_spin_unlock(&machine, &spin, AVM_LOCK_LEAF);
	}
	return NULL;
}

static void the_spin_lock_excludes(void **state)
{
	(void)state;
	setup();
	run_threads(mix_spin, THREADS);
	assert_true(left == (uint64_t)THREADS * ROUNDS);
	assert_int_equal(spin.word, 0);
}

/* ---- VMA locks ------------------------------------------------------------------------------- */

static _Atomic unsigned inside_alone;
static _Atomic bool said,
	counted; /* where faults say that they are inside: some here, some there */

/* As a fault does: without mmap_lock, or else with it. */
static void *fault_inside(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct avm_vma_reader r;

		if (!avm_vma_read_lock(&space, vma.start, &r)) {
			avm_mmap_read_lock(&space);
			look();
			avm_vma_remember(&vma, vma.start);
			avm_mmap_read_unlock(&space);
			continue;
		}
		inside_alone++;
		*(r.inside ? &said : &counted) = 1;
		look();
		sched_yield();
		look();
		avm_vma_read_unlock(&r);
	}
	return NULL;
}

static void *change_vma(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < ROUNDS / 10; i++) {
		avm_mmap_write_lock(&space);
		avm_vma_lock(&vma);
		avm_vma_lock(&vma); /* again: nothing */
		change();
		if (i % 2)
			avm_vma_forget(&space, &vma);
		avm_mmap_write_unlock(&space);
	}
	return NULL;
}

static void *either(void *n)
{
	return (uintptr_t)n < 2 ? change_vma(n) : fault_inside(n);
}

static void a_locked_vma_has_no_fault_inside(void **state)
{
	(void)state;
	setup();
	run_threads(either, THREADS);
	assert_int_equal(vma.readers, 0);
	for (unsigned i = 0; i < AVM_NR_CPUS; i++)
		assert_int_equal(space.cpus[i].inside, 0);
	assert_true(said);
	assert_true(counted);
	assert_int_equal(errors, 0);
	assert_true(inside_alone > 0);
	assert_true(left == 2 * (ROUNDS / 10));
	assert_int_not_equal(vma.write_seq, space.write_seq); /* dropped with mmap_lock */
}

/* ---- one thread is enough -------------------------------------------------------------------- */

static void a_wait_given_up_leaves_the_lock_usable(void **state)
{
	(void)state;
	setup();
	give_up = true;
	assert_int_equal(avm_mmap_read_lock(&space), 0);
	assert_int_equal(avm_mmap_write_lock(&space), -AVM_EINTR);
	assert_int_equal(avm_mmap_read_lock(&space), -AVM_EINTR); /* behind a writer that waited */
	assert_int_equal(space.write_seq, 0);
	avm_mmap_read_unlock(&space);
	assert_int_equal(space.mmap_lock.word, 0);
	assert_int_equal(avm_mmap_write_lock(&space), 0);
	assert_int_equal(avm_mmap_read_lock(&space), -AVM_EINTR);
	assert_false(avm_rw_try_read(&machine, &space.mmap_lock, AVM_LOCK_MMAP));
	avm_mmap_write_unlock(&space);
	assert_int_equal(space.mmap_lock.word, 0);
	give_up = false;
}

static void *take_for_write(void *unused)
{
	(void)unused;
	avm_mmap_write_lock_always(&space, false);
	left = right = 1;
	avm_mmap_write_unlock(&space);
	return NULL;
}

static void a_waiting_writer_goes_before_new_readers(void **state)
{
	pthread_t writer;

	(void)state;
	setup();
	assert_int_equal(avm_mmap_read_lock(&space), 0);
	assert_int_equal(pthread_create(&writer, NULL, take_for_write, NULL), 0);
	while (!asleep)
		sched_yield();
	assert_false(avm_rw_try_read(&machine, &space.mmap_lock, AVM_LOCK_MMAP));
	avm_mmap_read_unlock(&space);
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_true(left == 1);
	assert_int_equal(space.mmap_lock.word, 0);
}

static void read_sections_nest_and_deferred_calls_go_to_the_port(void **state)
{
	struct avm_deferred d = { 0 };
	uintptr_t outer, inner;

	(void)state;
	outer = avm_rcu_enter(&machine);
	inner = avm_rcu_enter(&machine);
	assert_int_equal(irq_depth, 2);
	avm_rcu_exit(&machine, inner);
	avm_rcu_exit(&machine, outer);
	assert_int_equal(irq_depth, 0);
	avm_rcu_defer(&machine, &d);
	assert_ptr_equal(deferred, &d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_share_and_writers_are_alone),
		cmocka_unit_test(the_page_lock_excludes),
		cmocka_unit_test(the_spin_lock_excludes),
		cmocka_unit_test(a_locked_vma_has_no_fault_inside),
		cmocka_unit_test(a_wait_given_up_leaves_the_lock_usable),
		cmocka_unit_test(a_waiting_writer_goes_before_new_readers),
		cmocka_unit_test(read_sections_nest_and_deferred_calls_go_to_the_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
