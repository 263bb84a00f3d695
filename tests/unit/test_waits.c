/* SPDX-License-Identifier: MIT */
/*
 * test_waits.c - the wait for mmap_lock is given up, as by a signal: every operation says so and has changed nothing.
 */
#include "lock.h"
#include "ops.h"

struct call {
	const char *name;
	int64_t (*run)(struct world *w);
	int64_t wanted;
};

static int64_t do_madvise_flags(struct world *w)
{
	return avm_madvise(w->mm, AT(0), PAGE, AVM_MADV_DONTFORK);
}

static int64_t do_madvise_entries(struct world *w)
{
	return avm_madvise(w->mm, AT(0), PAGE, AVM_MADV_DONTNEED);
}

static int64_t do_madvise_behind(struct world *w)
{
	return avm_madvise(w->mm, AT(0), PAGE, AVM_MADV_POPULATE_WRITE);
}

static int64_t do_mlock(struct world *w)
{
	return avm_mlock(w->mm, AT(0), PAGE, 0);
}

static int64_t do_munlock(struct world *w)
{
	return avm_munlock(w->mm, AT(0), PAGE);
}

static int64_t do_mlockall(struct world *w)
{
	return avm_mlockall(w->mm, AVM_MCL_CURRENT | AVM_MCL_FUTURE);
}

static int64_t do_munlockall(struct world *w)
{
	return avm_munlockall(w->mm);
}

static int64_t do_mremap(struct world *w)
{
	avm_addr_t out;

	return avm_mremap(w->mm, AT(0), 2 * PAGE, PAGE, 0, 0, &out);
}

static int64_t do_msync(struct world *w)
{
	return avm_msync(w->mm, AT(0), PAGE, AVM_MS_SYNC);
}

static int64_t do_mincore(struct world *w)
{
	uint8_t vec[2];

	return avm_mincore(w->mm, AT(0), 2 * PAGE, vec);
}

/* Also then it says where the heap ends. */
static int64_t do_brk(struct world *w)
{
	avm_addr_t out = 1;
	int err = avm_brk(w->mm, 0, &out);

	assert_int_equal(out, w->mm->brk);
	return err;
}

static int64_t do_insert_pfn(struct world *w)
{
	return avm_insert_pfn(w->mm, AT(8), 0x100000, 1, AVM_PROT_READ);
}

static int64_t do_set_name(struct world *w)
{
	return avm_set_name(w->mm, AT(0), PAGE, 1);
}

static int64_t do_set_policy(struct world *w)
{
	return avm_set_policy(w->mm, AT(0), PAGE, 1);
}

static int64_t do_copy_in(struct world *w)
{
	return avm_copy_in(w->mm, AT(0), "x", 1, 0);
}

static int64_t do_populate(struct world *w)
{
	return avm_populate(w->mm, AT(0), PAGE, AVM_ACCESS_WRITE);
}

static int64_t do_page_key(struct world *w)
{
	struct avm_page_key key;

	return avm_page_key(w->mm, AT(0), &key);
}

static int64_t do_map_cached(struct world *w)
{
	return avm_map_cached(w->mm, AT(0), PAGE);
}

static int64_t do_fault(struct world *w)
{
	return (int64_t)fault_write(w->mm, AT(0));
}

static const struct call calls[] = {
	{ "madvise, flags", do_madvise_flags, -AVM_EINTR },
	{ "madvise, entries", do_madvise_entries, -AVM_EINTR },
	{ "madvise, behind", do_madvise_behind, -AVM_EINTR },
	{ "mlock", do_mlock, -AVM_EINTR },
	{ "munlock", do_munlock, -AVM_EINTR },
	{ "mlockall", do_mlockall, -AVM_EINTR },
	{ "munlockall", do_munlockall, -AVM_EINTR },
	{ "mremap", do_mremap, -AVM_EINTR },
	{ "msync", do_msync, -AVM_EINTR },
	{ "mincore", do_mincore, -AVM_EINTR },
	{ "brk", do_brk, -AVM_EINTR },
	{ "insert_pfn", do_insert_pfn, -AVM_EINTR },
	{ "set_name", do_set_name, -AVM_EINTR },
	{ "set_policy", do_set_policy, -AVM_EINTR },
	{ "copy_in", do_copy_in, -AVM_EINTR },
	{ "populate", do_populate, -AVM_EINTR },
	{ "page_key", do_page_key, -AVM_EINTR },
	{ "map_cached", do_map_cached, -AVM_EINTR },
	{ "fault", do_fault, AVM_FAULT_RETRY },
};

static void a_wait_that_is_given_up_changes_nothing(void **state)
{
	char *before, *after;
	struct world w;

	(void)state;
	world_open(&w);
	map(&w, 0, 2, RW);
	before = dump(w.mm);
	sim_set_wait_eintr(w.s, true);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int64_t got;

		atomic_fetch_or(&w.mm->mmap_lock.word, AVM_RW_WRITER); /* somebody else */
		got = calls[i].run(&w);
		atomic_store(&w.mm->mmap_lock.word, 0);
		if (got != calls[i].wanted)
			fail_msg("%s: %lld", calls[i].name, (long long)got);
		after = dump(w.mm);
		assert_string_equal(before, after);
		free(after);
	}
	sim_set_wait_eintr(w.s, false);
	free(before);
	world_close(&w);
}

/* A stack that has to grow waits twice: for read, and then for write. */
struct second_wait {
	struct avm_mm *mm;
	bool armed;
};

static void block_the_writer(void *context, int event, int lock_class, const volatile void *lock)
{
	struct second_wait *s = context;

	(void)lock;
	if (!s->armed || event != AVM_LOCK_EV_WRITE || lock_class != AVM_LOCK_MMAP)
		return;
	s->armed = false;
	atomic_fetch_or(&s->mm->mmap_lock.word, AVM_RW_WRITER);
}

static void a_stack_that_cannot_wait_for_the_writer_tries_again(void **state)
{
	struct second_wait s = { .armed = true };
	char *before, *after;
	struct world w;

	(void)state;
	world_open(&w);
	s.mm = w.mm;
	map_at(w.mm, AT(100), 1, RW, ANON | AVM_MAP_GROWSDOWN, NULL, 0);
	if (!sim_set_other_cpu(w.s, block_the_writer, &s)) {
		world_close(&w);
		skip();
	}
	before = dump(w.mm);
	sim_set_wait_eintr(w.s, true);
	assert_int_equal(fault_write(w.mm, AT(98)), AVM_FAULT_RETRY);
	assert_false(s.armed);
	atomic_store(&w.mm->mmap_lock.word, 0);
	sim_set_wait_eintr(w.s, false);
	after = dump(w.mm);
	assert_string_equal(before, after);
	free(before);
	free(after);
	assert_int_equal(fault_write(w.mm, AT(98)), AVM_FAULT_MINOR);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wait_that_is_given_up_changes_nothing),
		cmocka_unit_test(a_stack_that_cannot_wait_for_the_writer_tries_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
