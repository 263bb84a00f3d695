/* SPDX-License-Identifier: MIT */
/*
 * The oracle by itself: what it says of accesses and contents after each kind of operation, and one
 * long random run against plain arrays of pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "oracle.h"
#include "random.h"

#define PAGE 4096u
#define BASE 0x10000000u
#define RW (AVM_PROT_READ | AVM_PROT_WRITE)

static avm_addr_t at(uint64_t page)
{
	return BASE + page * PAGE;
}

static void map(struct oracle_proc *p, uint64_t first, uint64_t end, uint32_t prot, uint32_t flags,
		struct oracle_object *object, uint64_t pgoff)
{
	oracle_mmap(p, &(struct oracle_map){ .start = at(first),
					     .end = at(end),
					     .prot = prot,
					     .flags = flags,
					     .object = object,
					     .pgoff = pgoff });
}

static void put(struct oracle_proc *p, uint64_t page, uint64_t value)
{
	oracle_store(p, at(page), &value, 8);
}

static bool may_be(struct oracle_proc *p, uint64_t page, uint64_t value)
{
	return oracle_permits(p, at(page), &value, 8);
}

static unsigned fault(struct oracle_proc *p, uint64_t page, enum avm_access access)
{
	return oracle_access(p, at(page), access).fault;
}

static void accesses_fail_as_protection_says(void **state)
{
	struct oracle *o = oracle_create(PAGE, PAGE);
	struct oracle_proc *p = oracle_proc_create(o);

	(void)state;
	map(p, 0, 1, RW, ORACLE_MAYWRITE, NULL, 0);
	map(p, 1, 2, AVM_PROT_READ, ORACLE_MAYWRITE, NULL, 0);
	map(p, 2, 3, AVM_PROT_NONE, ORACLE_MAYWRITE, NULL, 0);
	map(p, 3, 4, AVM_PROT_EXEC, ORACLE_MAYWRITE, NULL, 0);
	assert_int_equal(fault(p, 0, AVM_ACCESS_WRITE), 0);
	assert_int_equal(fault(p, 0, AVM_ACCESS_EXEC), AVM_FAULT_ACCERR);
	assert_int_equal(fault(p, 1, AVM_ACCESS_READ), 0);
	assert_int_equal(fault(p, 1, AVM_ACCESS_WRITE), AVM_FAULT_ACCERR);
	assert_int_equal(fault(p, 2, AVM_ACCESS_READ), AVM_FAULT_ACCERR);
	assert_int_equal(fault(p, 3, AVM_ACCESS_READ), 0);
	assert_int_equal(fault(p, 3, AVM_ACCESS_EXEC), 0);
	assert_int_equal(fault(p, 4, AVM_ACCESS_READ), AVM_FAULT_MAPERR);
	assert_int_equal(oracle_forced(p, at(2), AVM_ACCESS_WRITE).fault, 0);
	assert_int_equal(oracle_forced(p, at(4), AVM_ACCESS_READ).fault, AVM_FAULT_MAPERR);
	oracle_destroy(o);
}

static void fork_copies_and_separates(void **state)
{
	struct oracle *o = oracle_create(PAGE, PAGE);
	struct oracle_proc *a = oracle_proc_create(o);
	struct oracle_proc *b;

	(void)state;
	map(a, 0, 4, RW, ORACLE_MAYWRITE, NULL, 0);
	map(a, 4, 6, RW, ORACLE_MAYWRITE | ORACLE_SHARED, NULL, 0);
	put(a, 0, 1);
	put(a, 1, 2);
	put(a, 4, 3);
	oracle_madvise(a, at(1), at(2), AVM_MADV_WIPEONFORK);
	oracle_madvise(a, at(2), at(3), AVM_MADV_DONTFORK);
	b = oracle_fork(a);
	assert_true(may_be(b, 0, 1));
	assert_true(may_be(b, 1, 0));
	assert_int_equal(fault(b, 2, AVM_ACCESS_READ), AVM_FAULT_MAPERR);
	put(b, 0, 7);
	put(b, 4, 8);
	assert_true(may_be(a, 0, 1));
	assert_false(may_be(a, 0, 7));
	assert_true(may_be(a, 4, 8));
	oracle_exit(a);
	assert_true(may_be(b, 4, 8));
	oracle_destroy(o);
}

static void fill_with_index(void *context, uint64_t index, void *bytes)
{
	uint64_t value = *(uint64_t *)context + index;

	memset(bytes, 0xff, PAGE);
	memcpy(bytes, &value, 8);
}

static void private_file_pages_follow_the_file_until_copied(void **state)
{
	struct oracle *o = oracle_create(PAGE, PAGE);
	struct oracle_proc *p = oracle_proc_create(o);
	uint64_t first = 100;
	uint64_t value = 55;
	struct oracle_object *f = oracle_file(o, 3 * PAGE, fill_with_index, &first);

	(void)state;
	map(p, 0, 4, RW, ORACLE_MAYWRITE, f, 1);
	assert_true(may_be(p, 0, 101));
	assert_true(may_be(p, 1, 102));
	assert_int_equal(fault(p, 2, AVM_ACCESS_READ), AVM_FAULT_SIGBUS);
	oracle_object_store(f, PAGE, &value, 8);
	assert_true(may_be(p, 0, 55));
	oracle_store(p, at(0), NULL, 0);
	value = 56;
	oracle_object_store(f, PAGE, &value, 8);
	assert_true(may_be(p, 0, 55));
	assert_true(oracle_object_load(f, PAGE, &value, 8));
	oracle_madvise(p, at(0), at(1), AVM_MADV_DONTNEED);
	assert_true(may_be(p, 0, 56));
	oracle_object_put(f);
	assert_true(may_be(p, 0, 56));
	oracle_destroy(o);
}

static void truncation_takes_copies_and_what_returns_is_zero(void **state)
{
	struct oracle *o = oracle_create(PAGE, PAGE);
	struct oracle_proc *p = oracle_proc_create(o);
	struct oracle_proc *q;
	uint64_t first = 100;
	struct oracle_object *f = oracle_file(o, 4 * PAGE, fill_with_index, &first);
	const uint8_t filled = 0xff;
	const uint8_t zero = 0;

	(void)state;
	map(p, 0, 4, RW, ORACLE_MAYWRITE, f, 0);
	map(p, 8, 12, RW, ORACLE_MAYWRITE | ORACLE_SHARED, f, 0);
	put(p, 2, 1);
	put(p, 10, 2);
	q = oracle_fork(p);
	oracle_truncate(f, PAGE + 100);
	assert_int_equal(fault(p, 2, AVM_ACCESS_READ), AVM_FAULT_SIGBUS);
	assert_int_equal(fault(q, 2, AVM_ACCESS_WRITE), AVM_FAULT_SIGBUS);
	assert_true(oracle_permits(p, at(1) + 99, &filled, 1));
	assert_true(oracle_permits(p, at(1) + 100, &zero, 1));
	oracle_truncate(f, 4 * PAGE);
	assert_true(may_be(p, 2, 0));
	assert_true(may_be(q, 10, 0));
	assert_true(oracle_permits(p, at(1) + 100, &zero, 1));
	assert_true(oracle_permits(p, at(1) + 99, &filled, 1));
	oracle_destroy(o);
}

static void punching_a_file_brings_back_what_was_synced(void **state)
{
	struct oracle *o = oracle_create(PAGE, 8);
	struct oracle_proc *p = oracle_proc_create(o);
	struct oracle_object *f = oracle_file(o, 4 * PAGE, NULL, NULL);
	struct oracle_object *m = oracle_shmem(o, 4 * PAGE);

	(void)state;
	map(p, 0, 4, RW, ORACLE_MAYWRITE | ORACLE_SHARED, f, 0);
	map(p, 4, 8, RW, ORACLE_MAYWRITE | ORACLE_SHARED, m, 0);
	put(p, 0, 1);
	put(p, 4, 1);
	oracle_sync(f);
	oracle_sync(m);
	put(p, 0, 2);
	oracle_punch(f, 0, 1);
	oracle_punch(m, 0, 1);
	assert_true(may_be(p, 0, 1));
	assert_true(may_be(p, 4, 0));
	oracle_destroy(o);
}

static void madv_free_allows_old_or_zero_until_looked_at(void **state)
{
	struct oracle *o = oracle_create(PAGE, PAGE);
	struct oracle_proc *p = oracle_proc_create(o);
	const uint64_t zero = 0;
	const uint64_t new = 9;
	const uint64_t old = 5;

	(void)state;
	map(p, 0, 4, RW, ORACLE_MAYWRITE, NULL, 0);
	for (uint64_t i = 0; i < 4; i++)
		put(p, i, old);
	oracle_madvise(p, at(0), at(4), AVM_MADV_FREE);
	assert_true(may_be(p, 0, old));
	assert_true(may_be(p, 0, zero));
	assert_false(may_be(p, 0, new));
	/* Seen old, it may still become zero; seen zero, it stays so. */
	assert_true(oracle_load(p, at(0), &old, 8));
	assert_true(oracle_load(p, at(0), &zero, 8));
	assert_false(oracle_load(p, at(0), &old, 8));
	/* A write beside it settles it, though nobody knows yet how. */
	oracle_store(p, at(1) + 64, &new, 8);
	assert_true(may_be(p, 1, old));
	assert_true(may_be(p, 1, zero));
	assert_true(oracle_load(p, at(1), &old, 8));
	assert_false(may_be(p, 1, zero));
	oracle_store(p, at(2) + 64, &new, 8);
	assert_true(oracle_load(p, at(2), &zero, 8));
	assert_false(may_be(p, 2, old));
	put(p, 3, new);
	assert_false(may_be(p, 3, zero));
	oracle_destroy(o);
}

static void mprotect_foretells_where_it_ends(void **state)
{
	struct oracle *o = oracle_create(PAGE, PAGE);
	struct oracle_proc *p = oracle_proc_create(o);
	struct oracle_object *f = oracle_file(o, 4 * PAGE, NULL, NULL);

	(void)state;
	map(p, 0, 2, AVM_PROT_READ, ORACLE_MAYWRITE, NULL, 0);
	map(p, 2, 4, AVM_PROT_READ, ORACLE_SHARED, f, 0);
	map(p, 6, 8, AVM_PROT_READ, ORACLE_MAYWRITE, NULL, 0);
	assert_int_equal(oracle_mprotect_error(p, at(0), at(2), RW), 0);
	assert_int_equal(oracle_mprotect_error(p, at(1), at(4), RW), -AVM_EACCES);
	assert_int_equal(oracle_mprotect_error(p, at(3), at(7), AVM_PROT_NONE), -AVM_ENOMEM);
	oracle_mprotect(p, at(1), at(8), RW);
	assert_int_equal(fault(p, 0, AVM_ACCESS_WRITE), AVM_FAULT_ACCERR);
	assert_int_equal(fault(p, 1, AVM_ACCESS_WRITE), 0);
	assert_int_equal(fault(p, 2, AVM_ACCESS_WRITE), AVM_FAULT_ACCERR);
	assert_int_equal(fault(p, 6, AVM_ACCESS_WRITE), AVM_FAULT_ACCERR);
	assert_int_equal(oracle_hole(p, at(0), at(8)), at(4));
	assert_int_equal(oracle_hole(p, at(0), at(3)), at(3));
	oracle_destroy(o);
}

static void madvise_foretells_holes_and_refusals(void **state)
{
	struct oracle *o = oracle_create(PAGE, PAGE);
	struct oracle_proc *p = oracle_proc_create(o);

	(void)state;
	map(p, 0, 2, RW, ORACLE_MAYWRITE, NULL, 0);
	map(p, 3, 6, RW, ORACLE_MAYWRITE, NULL, 0);
	for (uint64_t i = 0; i < 6; i++)
		put(p, i, 1);
	oracle_lock(p, at(4), at(5));
	assert_int_equal(oracle_madvise_error(p, at(0), at(4), AVM_MADV_DONTNEED), -AVM_ENOMEM);
	assert_int_equal(oracle_madvise_error(p, at(0), at(6), AVM_MADV_DONTNEED), -AVM_EINVAL);
	assert_int_equal(oracle_madvise_error(p, at(3), at(4), AVM_MADV_DONTNEED), 0);
	assert_int_equal(oracle_madvise_error(p, at(3), at(8), AVM_MADV_DONTFORK), -AVM_ENOMEM);
	assert_int_equal(oracle_madvise_error(p, at(0), at(1), AVM_MADV_REMOVE), -AVM_EINVAL);
	oracle_madvise(p, at(1), at(6), AVM_MADV_DONTNEED);
	assert_true(may_be(p, 0, 1));
	assert_true(may_be(p, 1, 0));
	assert_true(may_be(p, 3, 0));
	assert_true(may_be(p, 4, 1));
	assert_true(may_be(p, 5, 1));
	oracle_unlock(p, at(4), at(5));
	assert_int_equal(oracle_madvise_error(p, at(3), at(6), AVM_MADV_FREE), 0);
	oracle_destroy(o);
}

static void mremap_moves_grows_shrinks_duplicates(void **state)
{
	struct oracle *o = oracle_create(PAGE, PAGE);
	struct oracle_proc *p = oracle_proc_create(o);

	(void)state;
	map(p, 0, 4, RW, ORACLE_MAYWRITE, NULL, 0);
	put(p, 1, 11);
	put(p, 2, 12);
	oracle_mremap(p, at(1), 2 * PAGE, at(10), 3 * PAGE, 0);
	assert_int_equal(fault(p, 1, AVM_ACCESS_READ), AVM_FAULT_MAPERR);
	assert_true(may_be(p, 10, 11));
	assert_true(may_be(p, 11, 12));
	assert_true(may_be(p, 12, 0));
	oracle_mremap(p, at(10), 3 * PAGE, at(10), PAGE, 0);
	assert_int_equal(fault(p, 11, AVM_ACCESS_READ), AVM_FAULT_MAPERR);
	oracle_mremap(p, at(10), PAGE, at(20), PAGE, AVM_MREMAP_DONTUNMAP);
	assert_true(may_be(p, 10, 0));
	assert_true(may_be(p, 20, 11));
	map(p, 30, 32, RW, ORACLE_MAYWRITE | ORACLE_SHARED, NULL, 0);
	put(p, 31, 5);
	oracle_mremap(p, at(31), 0, at(40), PAGE, 0);
	assert_true(may_be(p, 40, 5));
	put(p, 40, 6);
	assert_true(may_be(p, 31, 6));
	oracle_destroy(o);
}

static void stack_growth_is_a_possibility(void **state)
{
	struct oracle *o = oracle_create(PAGE, PAGE);
	struct oracle_proc *p = oracle_proc_create(o);
	struct oracle_answer answer;

	(void)state;
	map(p, 100, 102, RW, ORACLE_MAYWRITE | ORACLE_GROWSDOWN, NULL, 0);
	map(p, 110, 112, RW, ORACLE_MAYWRITE, NULL, 0);
	answer = oracle_access(p, at(98), AVM_ACCESS_WRITE);
	assert_int_equal(answer.fault, AVM_FAULT_MAPERR);
	assert_true(answer.may_grow);
	assert_false(oracle_access(p, at(109), AVM_ACCESS_WRITE).may_grow);
	oracle_grow(p, at(98));
	assert_int_equal(fault(p, 98, AVM_ACCESS_WRITE), 0);
	assert_int_equal(fault(p, 99, AVM_ACCESS_WRITE), 0);
	assert_int_equal(fault(p, 97, AVM_ACCESS_WRITE), AVM_FAULT_MAPERR);
	oracle_destroy(o);
}

/* ---- against arrays -------------------------------------------------------------------------- */

#define PAGES 64
#define PROCS 4
#define STEPS 20000

struct plain_page {
	bool mapped;
	uint32_t prot;
	uint64_t value;
};

struct plain {
	struct oracle_proc *p;
	struct plain_page v[PAGES];
};

static void step(struct oracle *o, struct rng *rng, struct plain *procs, uint64_t unique)
{
	struct plain *a = &procs[rng_below(rng, PROCS)];
	struct plain *b = &procs[rng_below(rng, PROCS)];
	uint64_t i = rng_below(rng, PAGES);
	uint64_t n = 1 + rng_below(rng, PAGES - i);
	uint64_t to = rng_below(rng, PAGES);

	switch (rng_below(rng, 8)) {
	case 0:
		map(a->p, i, i + n, RW, ORACLE_MAYWRITE, NULL, 0);
		for (uint64_t k = i; k < i + n; k++)
			a->v[k] = (struct plain_page){ .mapped = true, .prot = RW };
		break;
	case 1:
		oracle_munmap(a->p, at(i), at(i + n));
		memset(&a->v[i], 0, n * sizeof(a->v[0]));
		break;
	case 2:
		oracle_mprotect(a->p, at(i), at(i + n), AVM_PROT_READ);
		for (uint64_t k = i; k < i + n && a->v[k].mapped; k++)
			a->v[k].prot = AVM_PROT_READ;
		break;
	case 3:
		oracle_madvise(a->p, at(i), at(i + n), AVM_MADV_DONTNEED);
		for (uint64_t k = i; k < i + n; k++)
			a->v[k].value = 0;
		break;
	case 4:
		if (oracle_hole(a->p, at(i), at(i + n)) != at(i + n) || to + n > PAGES ||
		    (to < i + n && i < to + n))
			break;
		oracle_mremap(a->p, at(i), n * PAGE, at(to), n * PAGE, 0);
		memcpy(&a->v[to], &a->v[i], n * sizeof(a->v[0]));
		memset(&a->v[i], 0, n * sizeof(a->v[0]));
		break;
	case 5:
		if (a == b)
			break;
		oracle_exit(b->p);
		b->p = oracle_fork(a->p);
		memcpy(b->v, a->v, sizeof(b->v));
		break;
	default:
		if (!a->v[i].mapped || !(a->v[i].prot & AVM_PROT_WRITE))
			break;
		put(a->p, i, unique);
		a->v[i].value = unique;
		break;
	}
	(void)o;
}

static void compare(struct plain *a, uint64_t page)
{
	const struct plain_page *want = &a->v[page];
	unsigned read = want->mapped ? 0 : AVM_FAULT_MAPERR;
	unsigned write = want->prot & AVM_PROT_WRITE ? 0 :
			 want->mapped		     ? AVM_FAULT_ACCERR :
						       AVM_FAULT_MAPERR;

	assert_int_equal(fault(a->p, page, AVM_ACCESS_READ), read);
	assert_int_equal(fault(a->p, page, AVM_ACCESS_WRITE), write);
	if (want->mapped)
		assert_true(may_be(a->p, page, want->value));
	if (want->mapped)
		assert_false(may_be(a->p, page, want->value + 1));
}

static void agrees_with_plain_arrays(void **state)
{
	struct rng rng = { .state = 1 };
	struct oracle *o = oracle_create(PAGE, 8);
	static struct plain procs[PROCS];

	(void)state;
	memset(procs, 0, sizeof(procs));
	for (unsigned i = 0; i < PROCS; i++)
		procs[i].p = oracle_proc_create(o);
	for (uint64_t i = 0; i < STEPS; i++) {
		step(o, &rng, procs, 2 * (i + 1));
		if (i % 8)
			continue;
		for (unsigned k = 0; k < PROCS; k++) {
			for (uint64_t page = 0; page < PAGES; page++)
				compare(&procs[k], page);
		}
	}
	oracle_destroy(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accesses_fail_as_protection_says),
		cmocka_unit_test(fork_copies_and_separates),
		cmocka_unit_test(private_file_pages_follow_the_file_until_copied),
		cmocka_unit_test(truncation_takes_copies_and_what_returns_is_zero),
		cmocka_unit_test(punching_a_file_brings_back_what_was_synced),
		cmocka_unit_test(madv_free_allows_old_or_zero_until_looked_at),
		cmocka_unit_test(mprotect_foretells_where_it_ends),
		cmocka_unit_test(madvise_foretells_holes_and_refusals),
		cmocka_unit_test(mremap_moves_grows_shrinks_duplicates),
		cmocka_unit_test(stack_growth_is_a_possibility),
		cmocka_unit_test(agrees_with_plain_arrays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
