/* SPDX-License-Identifier: MIT */
/*
 * test_pairs.c - each pair of the matrix of docs/locking.md ("Who excludes whom"), in two real threads, or three.
 *
 * A test is a state, and what two do to it at the same time, many times over. Where they meet is at locks: whoever is
 * about to take or to drop one stops there now and then for as long as the other needs for a step or two. Afterwards the
 * machine is verified, no CPU may translate what the tables do not, and the contents must be those of one order or the
 * other.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "anonvm/anonvm.h"
#include "threads.h"

#define PAGE UINT64_C(4096)
#define PAGES 8u
#define AT(i) (UINT64_C(0x200000) + (uint64_t)(i)*PAGE)
#define AWAY(i) (UINT64_C(0x40000000) + (uint64_t)(i)*PAGE)
#define RW (AVM_PROT_READ | AVM_PROT_WRITE)
#define ACTORS 3u

struct bed {
	struct sim *s;
	struct avm *m;
	struct sim_proc *a;
	struct avm_mm *mm;
	struct sim_proc *child;
	struct avm_file *f;
	struct avm_page *page; /* of AT(0), before the round */
	unsigned faults[ACTORS]; /* what an actor's last access said */
	uint64_t value;
	uint64_t lost;
	atomic_bool over;
};

typedef void step(struct bed *b);

struct pair {
	step *setup, *act[ACTORS], *check;
	unsigned rounds;
};

/* ---- the stage ------------------------------------------------------------------------------------------------- */

struct actor {
	struct bed *b;
	step *act;
	pthread_barrier_t *start, *end;
	unsigned rounds;
};

/* Stops at a lock for a while: one time in eight. */
static void widen(void *context, int event, int class, const volatile void *lock)
{
	static _Thread_local uint32_t random;
	const struct timespec while_ = { .tv_nsec = 20000 };

	(void)context;
	(void)event;
	(void)class;
	(void)lock;
	if (!random)
		random = (uint32_t)(uintptr_t)&random | 1;
	random = random * 1664525u + 1013904223u;
	if (random >> 29)
		return;
	if (random >> 26 & 1)
		sched_yield();
	else
		nanosleep(&while_, NULL);
}

static void *play(void *argument)
{
	struct actor *a = argument;

	for (unsigned i = 0; i < a->rounds; i++) {
		pthread_barrier_wait(a->start);
		a->act(a->b);
		pthread_barrier_wait(a->end);
	}
	smp_leave(a->b->s);
	return NULL;
}

static void look(struct bed *b)
{
	smp_settle(b->s);
	assert_int_equal(sim_verify(b->s, AVM_VERIFY_ALL, stderr), 0);
	assert_int_equal(smp_check_tlbs(b->s), 0);
	assert_int_equal(sim_errors(b->s), 0);
}

static void bed_open(struct bed *b)
{
	const struct sim_config config = { .core = { .fault_around = 4 },
					   .frames = 256,
					   .check_tlb = true,
					   .tlb_entries = 16 };
	const struct sim_swap_config swap = { .slots = 256 };
	const struct smp_disorder disorder = { .yields = 8 };
	struct avm_swap_device *d;

	*b = (struct bed){ 0 };
	assert_int_equal(sim_create(&b->s, &config), 0);
	b->m = sim_machine(b->s);
	assert_int_equal(sim_swap_add(b->s, &swap, &d), 0);
	smp_set_disorder(b->s, &disorder);
}

static void actors_begin(struct bed *b, const struct pair *p, struct actor *actors,
			 pthread_t *threads, pthread_barrier_t *start, pthread_barrier_t *end,
			 unsigned n)
{
	pthread_barrier_init(start, NULL, n + 1);
	pthread_barrier_init(end, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		actors[i] = (struct actor){ b, p->act[i], start, end, p->rounds };
		assert_int_equal(pthread_create(&threads[i], NULL, play, &actors[i]), 0);
	}
}

/* A fresh address space for each round: what a round leaves behind does not help the next one. */
static void run(const struct pair *p)
{
	unsigned n = p->act[2] ? 3 : 2;
	pthread_barrier_t start, end;
	struct actor actors[ACTORS];
	pthread_t threads[ACTORS];
	struct bed b;

	bed_open(&b);
	actors_begin(&b, p, actors, threads, &start, &end, n);
	for (unsigned i = 0; i < p->rounds; i++) {
		b.child = NULL;
		b.value = i + 1;
		assert_int_equal(sim_memfd_create(b.s, "f", PAGES * PAGE, &b.f), 0);
		assert_int_equal(sim_proc_create(b.s, NULL, &b.a), 0);
		b.mm = sim_mm(b.a);
		p->setup(&b);
		smp_set_observer(b.s, widen, NULL);
		pthread_barrier_wait(&start);
		pthread_barrier_wait(&end);
		smp_set_observer(b.s, NULL, NULL);
		look(&b);
		p->check(&b);
		look(&b);
		if (b.child)
			sim_proc_exit(b.child);
		sim_proc_exit(b.a);
		sim_file_put(b.f);
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start);
	pthread_barrier_destroy(&end);
	assert_int_equal(sim_destroy(b.s), 0);
}

/* ---- properties ------------------------------------------------------------------------------------------------------ */

static int map(struct bed *b, avm_addr_t at, unsigned pages, bool shared)
{
	const struct avm_mmap args = {
		.addr = at,
		.len = pages * PAGE,
		.prot = RW,
		.flags = AVM_MAP_FIXED |
			 (shared ? AVM_MAP_SHARED : AVM_MAP_PRIVATE | AVM_MAP_ANONYMOUS),
		.file = shared ? b->f : NULL,
	};
	avm_addr_t out;

	return avm_mmap(b->mm, &args, &out);
}

static unsigned put(struct sim_proc *p, avm_addr_t at, uint64_t value)
{
	return sim_store(p, at, &value, sizeof(value), NULL);
}

static unsigned get(struct sim_proc *p, avm_addr_t at, uint64_t *value)
{
	return sim_load(p, at, value, sizeof(*value), NULL);
}

static void expect(struct sim_proc *p, avm_addr_t at, uint64_t value)
{
	uint64_t got = ~value;

	assert_int_equal(get(p, at, &got), 0);
	assert_int_equal(got, value);
}

/* Either of two. */
static void expect_one_of(struct sim_proc *p, avm_addr_t at, uint64_t one, uint64_t other)
{
	uint64_t got = 0;

	assert_int_equal(get(p, at, &got), 0);
	assert_true(got == one || got == other);
}

static avm_pfn_t frame_at(struct avm_mm *mm, avm_addr_t at)
{
	struct avm_pte_info info;

	avm_pte_at(mm, at, &info);
	return info.kind == AVM_PTE_PRESENT ? info.pfn : AVM_PFN_NONE;
}

/* ---- states ------------------------------------------------------------------------------------------------------------ */

static void untouched(struct bed *b)
{
	assert_int_equal(map(b, AT(0), PAGES, false), 0);
}

static void written(struct bed *b)
{
	untouched(b);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(put(b->a, AT(i), b->value), 0);
	b->page = avm_page_of(b->m, frame_at(b->mm, AT(0)));
}

static void forked(struct bed *b)
{
	written(b);
	assert_int_equal(sim_proc_fork(b->a, &b->child), 0);
}

static void swapped(struct bed *b)
{
	written(b);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(avm_page_out(b->m, frame_at(b->mm, AT(i))), 0);
}

static void of_a_file(struct bed *b)
{
	assert_int_equal(map(b, AT(0), PAGES, true), 0);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(put(b->a, AT(i), b->value), 0);
	b->page = avm_page_of(b->m, frame_at(b->mm, AT(0)));
}

static void of_a_file_in_swap(struct bed *b)
{
	of_a_file(b);
	for (unsigned i = 0; i < PAGES; i += 2)
		assert_int_equal(avm_page_out(b->m, frame_at(b->mm, AT(i))), 0);
}

/* ---- what is done ------------------------------------------------------------------------------------------------------- */

static void write_first(struct bed *b)
{
	b->faults[0] = put(b->a, AT(0), b->value + 100);
}

static void write_second_word(struct bed *b)
{
	b->faults[1] = put(b->a, AT(0) + 8, b->value + 200);
}

static void write_in_child(struct bed *b)
{
	b->faults[1] = put(b->child, AT(0), b->value + 200);
}

static void read_all(struct bed *b)
{
	uint64_t value;

	for (unsigned i = 0; i < PAGES; i++)
		b->faults[2] = get(b->a, AT(i), &value);
}

static void write_all(struct bed *b)
{
	for (unsigned i = 0; i < PAGES; i++)
		b->faults[0] = put(b->a, AT(i), b->value + 100);
}

static void unmap_all(struct bed *b)
{
	(void)avm_munmap(b->mm, AT(0), PAGES * PAGE);
}

static void unmap_middle(struct bed *b)
{
	(void)avm_munmap(b->mm, AT(2), 4 * PAGE);
}

static void protect_middle(struct bed *b)
{
	(void)avm_mprotect(b->mm, AT(2), 4 * PAGE, AVM_PROT_READ);
}

static void protect_first(struct bed *b)
{
	(void)avm_mprotect(b->mm, AT(0), PAGE, AVM_PROT_READ);
}

static void move_all(struct bed *b)
{
	avm_addr_t out;

	(void)avm_mremap(b->mm, AT(0), PAGES * PAGE, PAGES * PAGE,
			 AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED, AWAY(0), &out);
}

static void empty_all(struct bed *b)
{
	(void)avm_madvise(b->mm, AT(0), PAGES * PAGE, AVM_MADV_DONTNEED);
}

static void fork_it(struct bed *b)
{
	if (sim_proc_fork(b->a, &b->child))
		b->child = NULL;
}

static void page_out_first(struct bed *b)
{
	(void)avm_page_out(b->m, b->page->pfn);
}

static void shrink(struct bed *b)
{
	(void)avm_shrink(b->m, PAGES);
}

static void migrate_first(struct bed *b)
{
	(void)avm_migrate(b->m, b->page->pfn);
}

static void cut_file(struct bed *b)
{
	assert_int_equal(sim_file_truncate(b->f, 0), 0);
}

static void punch_file(struct bed *b)
{
	assert_int_equal(avm_file_punch(b->f, 0, PAGES * PAGE), 0);
}

static void end_child(struct bed *b)
{
	struct sim_proc *child = b->child;

	b->child = NULL;
	sim_proc_exit(child);
}

/* ---- what must be so afterwards --------------------------------------------------------------------------------------------- */

static void both_words_are_there(struct bed *b)
{
	expect(b->a, AT(0), b->value + 100);
	expect(b->a, AT(0) + 8, b->value + 200);
}

static void each_has_its_own(struct bed *b)
{
	expect(b->a, AT(0), b->value + 100);
	expect(b->child, AT(0), b->value + 200);
	expect(b->child, AT(1), b->value);
	assert_int_not_equal(frame_at(b->mm, AT(0)), frame_at(sim_mm(b->child), AT(0)));
}

static void nothing_is_mapped(struct bed *b)
{
	uint64_t value;

	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(get(b->a, AT(i), &value), AVM_FAULT_MAPERR);
}

static void first_is_protected(struct bed *b)
{
	assert_int_equal(put(b->a, AT(0), 1), AVM_FAULT_ACCERR);
	expect_one_of(b->a, AT(0), b->value, b->value + 100);
	assert_true(b->faults[0] == 0 || b->faults[0] == AVM_FAULT_ACCERR);
}

/* Who was too late to write at the old place has written nothing. */
static void all_has_moved(struct bed *b)
{
	uint64_t value;

	assert_int_equal(get(b->a, AT(0), &value), AVM_FAULT_MAPERR);
	for (unsigned i = 0; i < PAGES; i++)
		expect_one_of(b->a, AWAY(i), b->value, b->value + 100);
}

static void empty_or_written(struct bed *b)
{
	for (unsigned i = 0; i < PAGES; i++)
		expect_one_of(b->a, AT(i), 0, b->value + 100);
}

static void copy_is_old_or_new(struct bed *b)
{
	assert_non_null(b->child);
	expect(b->a, AT(0), b->value + 100);
	expect_one_of(b->child, AT(0), b->value, b->value + 100);
	assert_int_equal(put(b->a, AT(0), 7), 0);
	expect_one_of(b->child, AT(0), b->value, b->value + 100);
}

static void is_as_written(struct bed *b)
{
	expect(b->a, AT(0), b->value + 100);
	for (unsigned i = 1; i < PAGES; i++)
		expect_one_of(b->a, AT(i), b->value, b->value + 100);
}

static void is_as_before(struct bed *b)
{
	for (unsigned i = 0; i < PAGES; i++)
		expect(b->a, AT(i), b->value);
}

static void child_is_as_before(struct bed *b)
{
	assert_non_null(b->child);
	is_as_before(b);
	for (unsigned i = 0; i < PAGES; i++)
		expect(b->child, AT(i), b->value);
}

static void edges_are_as_before(struct bed *b)
{
	uint64_t value;

	expect(b->a, AT(0), b->value);
	expect(b->a, AT(7), b->value);
	assert_int_equal(get(b->a, AT(3), &value), AVM_FAULT_MAPERR);
}

static void middle_is_protected(struct bed *b)
{
	is_as_before(b);
	assert_int_equal(put(b->a, AT(3), 1), AVM_FAULT_ACCERR);
	assert_int_equal(put(b->a, AT(6), 1), 0);
}

static void file_is_cut(struct bed *b)
{
	uint64_t value;

	assert_int_equal(get(b->a, AT(0), &value), AVM_FAULT_SIGBUS);
	assert_int_equal(sim_file_truncate(b->f, PAGES * PAGE), 0);
	for (unsigned i = 0; i < PAGES; i++)
		expect(b->a, AT(i), 0);
}

static void file_is_cut_for_both(struct bed *b)
{
	uint64_t value;

	assert_non_null(b->child);
	assert_int_equal(get(b->child, AT(0), &value), AVM_FAULT_SIGBUS);
	file_is_cut(b);
	for (unsigned i = 0; i < PAGES; i++)
		expect(b->child, AT(i), 0);
}

static void file_is_empty(struct bed *b)
{
	for (unsigned i = 0; i < PAGES; i++)
		expect(b->a, AT(i), 0);
}

static void file_is_empty_or_written(struct bed *b)
{
	for (unsigned i = 0; i < PAGES; i++)
		expect_one_of(b->a, AT(i), 0, b->value + 100);
}

static void file_is_gone_with_its_mapping(struct bed *b)
{
	nothing_is_mapped(b);
	assert_int_equal(sim_file_truncate(b->f, PAGES * PAGE), 0);
	assert_int_equal(map(b, AT(0), PAGES, true), 0);
	file_is_empty(b);
}

static void nothing_to_ask(struct bed *b)
{
	is_as_before(b);
}

/* ---- the MMU ------------------------------------------------------------------------------------------------------------------ */

#define TRIES 3000

/* What is written after MADV_FREE stays, whoever looks at the entry or ages it while the MMU sets its dirty bit. */
static void free_and_write(struct bed *b)
{
	for (uint64_t i = 1; i <= TRIES; i++) {
		uint64_t got = 0;

		(void)avm_madvise(b->mm, AT(0), PAGE, AVM_MADV_FREE);
		b->faults[0] |= put(b->a, AT(0), i);
		for (unsigned k = 0; k < 4; k++) {
			sched_yield();
			b->faults[0] |= get(b->a, AT(0), &got);
			b->lost += got != i;
		}
	}
	atomic_store(&b->over, true);
}

static void copy_out(struct bed *b)
{
	unsigned char page[4096];

	while (!atomic_load(&b->over))
		(void)avm_copy_out(b->mm, page, AT(0), sizeof(page), 0);
}

static void reclaim(struct bed *b)
{
	while (!atomic_load(&b->over)) {
		avm_pfn_t pfn = frame_at(b->mm, AT(0));

		if (pfn != AVM_PFN_NONE)
			(void)avm_page_out(b->m, pfn);
		sched_yield();
	}
}

static void nothing_is_lost(struct bed *b)
{
	assert_int_equal(b->faults[0], 0);
	assert_int_equal(b->lost, 0);
}

/* Two processes have equal pages, each its own; the first alone is written to. */
static void equal(struct bed *b)
{
	b->over = false;
	b->lost = 0;
	untouched(b);
	assert_int_equal(avm_madvise(b->mm, AT(0), PAGES * PAGE, AVM_MADV_MERGEABLE), 0);
	assert_int_equal(sim_proc_fork(b->a, &b->child), 0);
	for (unsigned i = 0; i < PAGES; i++) {
		assert_int_equal(put(b->a, AT(i), 1), 0);
		assert_int_equal(put(b->child, AT(i), 1), 0);
	}
}

/* Now like the other's, and now not. */
static void write_one_and_two(struct bed *b)
{
	uint64_t last[PAGES] = { 1, 1, 1, 1, 1, 1, 1, 1 };

	for (unsigned i = 0; i < TRIES; i++) {
		unsigned page = i % PAGES;
		uint64_t got = 0, value = 1 + i / PAGES / 8 % 2;

		/* Seldom, or nothing would ever be merged. */
		if (i / PAGES % 8 == 0 && !put(b->a, AT(page), value))
			last[page] = value;
		page = (page + 3) % PAGES;
		b->lost += get(b->a, AT(page), &got) || got != last[page];
		b->lost += get(b->child, AT(page), &got) || got != 1;
	}
	atomic_store(&b->over, true);
}

/* Entries become read-only at once, translations later. */
static void protect_and_back(struct bed *b)
{
	while (!atomic_load(&b->over)) {
		(void)avm_mprotect(b->mm, AT(0), PAGES * PAGE, AVM_PROT_READ);
		(void)avm_mprotect(b->mm, AT(0), PAGES * PAGE, RW);
	}
}

static void merge(struct bed *b)
{
	while (!atomic_load(&b->over))
		(void)avm_ksm_scan(b->m, 2 * PAGES);
}

/* ---- the matrix --------------------------------------------------------------------------------------------------------------- */

#define PAIR(name, ...) ROUNDS(name, 40, __VA_ARGS__)
#define ROUNDS(name, n, ...) \
	static void name(void **state) \
	{ \
		static const struct pair pair = { __VA_ARGS__, .rounds = n }; \
\
		(void)state; \
		run(&pair); \
	}

/* fault x fault */
PAIR(fault_fault_new_page, .setup = untouched, .act = { write_first, write_second_word, read_all },
     .check = both_words_are_there)
PAIR(fault_fault_two_who_share, .setup = forked, .act = { write_first, write_in_child },
     .check = each_has_its_own)
PAIR(fault_fault_from_swap, .setup = swapped, .act = { write_first, write_second_word, read_all },
     .check = both_words_are_there)

/* fault x operation */
PAIR(fault_munmap, .setup = written, .act = { write_all, unmap_all, read_all },
     .check = nothing_is_mapped)
PAIR(fault_mprotect, .setup = written, .act = { write_first, protect_first },
     .check = first_is_protected)
PAIR(fault_mremap, .setup = written, .act = { write_all, move_all, read_all },
     .check = all_has_moved)
PAIR(fault_dontneed, .setup = written, .act = { write_all, empty_all, read_all },
     .check = empty_or_written)

/* fault x fork, walk, truncate */
PAIR(fault_fork, .setup = written, .act = { write_first, fork_it }, .check = copy_is_old_or_new)
PAIR(fault_reclaim, .setup = written, .act = { write_all, page_out_first, shrink },
     .check = is_as_written)
PAIR(fault_migrate, .setup = written, .act = { write_all, migrate_first, shrink },
     .check = is_as_written)
PAIR(fault_truncate, .setup = of_a_file, .act = { write_all, cut_file, read_all },
     .check = file_is_cut)
PAIR(fault_truncate_swap, .setup = of_a_file_in_swap, .act = { read_all, cut_file, shrink },
     .check = file_is_cut)
PAIR(fault_punch_swap, .setup = of_a_file_in_swap, .act = { read_all, punch_file, shrink },
     .check = file_is_empty)
PAIR(fault_punch, .setup = of_a_file, .act = { write_all, punch_file, shrink },
     .check = file_is_empty_or_written)

/* operation x operation, fork, walk, truncate */
PAIR(operation_operation, .setup = written, .act = { protect_middle, unmap_middle, read_all },
     .check = edges_are_as_before)
PAIR(operation_fork, .setup = written, .act = { protect_middle, fork_it },
     .check = middle_is_protected)
PAIR(operation_walk, .setup = written, .act = { protect_middle, page_out_first, shrink },
     .check = middle_is_protected)
PAIR(munmap_walk, .setup = written, .act = { unmap_all, page_out_first, shrink },
     .check = nothing_is_mapped)
PAIR(mremap_walk, .setup = written, .act = { move_all, migrate_first, shrink },
     .check = all_has_moved)
PAIR(exit_walk, .setup = forked, .act = { end_child, page_out_first, shrink },
     .check = is_as_before)
PAIR(munmap_truncate, .setup = of_a_file, .act = { unmap_all, cut_file },
     .check = file_is_gone_with_its_mapping)

/* fork x fork, walk, truncate */
PAIR(fork_walk, .setup = written, .act = { fork_it, page_out_first, shrink },
     .check = child_is_as_before)
PAIR(fork_migrate, .setup = written, .act = { fork_it, migrate_first }, .check = child_is_as_before)
PAIR(fork_truncate, .setup = of_a_file, .act = { fork_it, cut_file }, .check = file_is_cut_for_both)

/* walk x walk, truncate */
PAIR(walk_walk, .setup = forked, .act = { page_out_first, migrate_first, shrink },
     .check = nothing_to_ask)
PAIR(walk_truncate, .setup = of_a_file, .act = { page_out_first, cut_file, shrink },
     .check = file_is_cut)

/* the MMU of another CPU x whoever changes an entry */
ROUNDS(fault_mmu, 1, .setup = written, .act = { free_and_write, copy_out, reclaim },
       .check = nothing_is_lost)

ROUNDS(mprotect_merge, 3, .setup = equal, .act = { write_one_and_two, protect_and_back, merge },
       .check = nothing_is_lost)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fault_fault_new_page),
		cmocka_unit_test(fault_fault_two_who_share),
		cmocka_unit_test(fault_fault_from_swap),
		cmocka_unit_test(fault_munmap),
		cmocka_unit_test(fault_mprotect),
		cmocka_unit_test(fault_mremap),
		cmocka_unit_test(fault_dontneed),
		cmocka_unit_test(fault_fork),
		cmocka_unit_test(fault_reclaim),
		cmocka_unit_test(fault_migrate),
		cmocka_unit_test(fault_truncate),
		cmocka_unit_test(fault_truncate_swap),
		cmocka_unit_test(fault_punch_swap),
		cmocka_unit_test(fault_punch),
		cmocka_unit_test(operation_operation),
		cmocka_unit_test(operation_fork),
		cmocka_unit_test(operation_walk),
		cmocka_unit_test(munmap_walk),
		cmocka_unit_test(mremap_walk),
		cmocka_unit_test(exit_walk),
		cmocka_unit_test(munmap_truncate),
		cmocka_unit_test(fork_walk),
		cmocka_unit_test(fork_migrate),
		cmocka_unit_test(fork_truncate),
		cmocka_unit_test(walk_walk),
		cmocka_unit_test(walk_truncate),
		cmocka_unit_test(fault_mmu),
		cmocka_unit_test(mprotect_merge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
