/* SPDX-License-Identifier: MIT */
/* Somebody else runs in the middle of an operation, in one thread (sim_set_interruption). */
#include "world.h"

#include "lock.h"

struct other {
	struct world w;
	unsigned runs[SIM_AT_FRAME_COPY + 1];
	void (*act)(struct other *o);
	int result;
};

static void run(void *context, enum sim_at at)
{
	struct other *o = context;

	o->runs[at]++;
	if (o->act)
		o->act(o);
}

static void other_open(struct other *o, void (*act)(struct other *o))
{
	*o = (struct other){ .act = act };
	world_open(&o->w);
}

static void other_starts(struct other *o)
{
	sim_set_interruption(o->w.s, run, o);
}

static void other_ends(struct other *o)
{
	sim_set_interruption(o->w.s, NULL, NULL);
}

static void he_runs_at_allocations_and_reads_and_writes(void **state)
{
	struct avm_file *f;
	struct other o;
	avm_addr_t a, b;

	(void)state;
	other_open(&o, NULL);
	assert_int_equal(sim_file_create(o.w.s, "data", PAGE, 7, &f), 0);
	a = map_file(o.w.mm, 1, RW, AVM_MAP_SHARED, f);
	b = map_anon(o.w.mm, 1, RW);
	other_starts(&o);
	store(o.w.a, b, 1);
	assert_true(o.runs[SIM_AT_FRAME_ALLOC] >= 1);
	assert_true(o.runs[SIM_AT_OBJECT_ALLOC] >= o.runs[SIM_AT_FRAME_ALLOC]);
	assert_int_equal(o.runs[SIM_AT_FILE_READ], 0);
	store(o.w.a, a, 1);
	assert_int_equal(o.runs[SIM_AT_FILE_READ], 1);
	assert_int_equal(avm_msync(o.w.mm, a, PAGE, AVM_MS_SYNC), 0);
	assert_int_equal(o.runs[SIM_AT_FILE_WRITE], 1);
	other_ends(&o);
	assert_int_equal(load(o.w.a, a), 1);
	world_close(&o.w);
}

/* A whole process comes and goes; what it allocates interrupts nobody. */
static void live_and_die(struct other *o)
{
	struct sim_proc *p;
	avm_addr_t a;

	assert_int_equal(sim_proc_create(o->w.s, NULL, &p), 0);
	a = map_anon(sim_mm(p), 3, RW);
	store(p, a, 1);
	store(p, a + PAGE, 1);
	sim_proc_exit(p);
}

static void he_may_call_the_core_and_is_not_interrupted_himself(void **state)
{
	struct other o;
	avm_addr_t a;

	(void)state;
	other_open(&o, live_and_die);
	a = map_anon(o.w.mm, 1, RW);
	other_starts(&o);
	store(o.w.a, a, 9);
	other_ends(&o);
	assert_true(o.runs[SIM_AT_FRAME_ALLOC] >= 1 && o.runs[SIM_AT_FRAME_ALLOC] < 8);
	assert_int_equal(load(o.w.a, a), 9);
	world_close(&o.w);
}

/* The one who is interrupted holds mmap_lock for write. */
static void unmap_all(struct other *o)
{
	o->result = avm_munmap(o->w.mm, 0x100000, PAGE);
}

static void what_he_would_wait_for_he_cannot_get(void **state)
{
	struct other o;

	(void)state;
	other_open(&o, unmap_all);
	map_at(o.w.mm, 0x100000, 1, RW, ANON, NULL, 0);
	other_starts(&o);
	map_at(o.w.mm, 0x200000, 1, RW, ANON, NULL, 0);
	other_ends(&o);
	assert_int_equal(o.result, -AVM_EINTR);
	assert_non_null(avm_find_vma(o.w.mm, 0x100000));
	world_close(&o.w);
}

static void load_from_another(struct other *o)
{
	unsigned char c;

	o->result = (int)sim_load(o->w.a, 0x100000, &c, 1, NULL);
}

static void a_load_of_his_gives_up_too(void **state)
{
	struct other o;

	(void)state;
	other_open(&o, load_from_another);
	map_at(o.w.mm, 0x100000, 1, RW, ANON, NULL, 0);
	other_starts(&o);
	map_at(o.w.mm, 0x200000, 1, RW, ANON, NULL, 0); /* mmap_lock is held for write */
	other_ends(&o);
	assert_int_equal(o.result, AVM_FAULT_RETRY);
	assert_int_equal(load(o.w.a, 0x100000), 0);
	world_close(&o.w);
}

/* The entry is write-protected already, and not yet flushed: as on another CPU, the store goes through. */
static void store_while_forking(struct other *o)
{
	unsigned char c = 2;

	if (peek_entry(o->w.mm, 0x100000) & SOFT_PTE_WRITE)
		return;
	o->result++;
	assert_int_equal(sim_store(o->w.a, 0x100000, &c, 1, NULL), 0);
}

static void a_flush_that_is_still_to_come_is_not_missed(void **state)
{
	struct sim_proc *child;
	struct other o;

	(void)state;
	other_open(&o, store_while_forking);
	map_at(o.w.mm, 0x100000, 1, RW, ANON, NULL, 0);
	map_at(o.w.mm, 0x300000, 1, RW, ANON, NULL,
	       0); /* for which fork makes a table when it has copied the first entry */
	store(o.w.a, 0x300000, 1);
	store(o.w.a, 0x100000, 1);
	other_starts(&o);
	assert_int_equal(sim_proc_fork(o.w.a, &child), 0);
	other_ends(&o);
	assert_true(o.result > 0);
	assert_int_equal(load(o.w.a, 0x100000), 2);
	assert_int_equal(load(child, 0x100000), 2);
	world_close(&o.w);
}

static void look_around(struct other *o)
{
	o->result++;
	assert_int_equal(avm_fini(o->w.m), -AVM_EBUSY);
}

static void nobody_runs_inside_a_read_section(void **state)
{
	struct other o;
	avm_pfn_t pfn;
	uintptr_t rcu;

	(void)state;
	other_open(&o, look_around);
	other_starts(&o);
	rcu = avm_port_irq_save(o.w.m);
	pfn = avm_port_frame_alloc(o.w.m, AVM_FRAME_USER);
	avm_port_irq_restore(o.w.m, rcu);
	assert_int_equal(o.result, 0);
	avm_port_frame_free(o.w.m, pfn);
	pfn = avm_port_frame_alloc(o.w.m, AVM_FRAME_USER);
	assert_int_equal(o.result, 1);
	avm_port_frame_free(o.w.m, pfn);
	other_ends(&o);
	world_close(&o.w);
}

static struct avm_swap_device *twice;

static void remove_it_too(struct other *o)
{
	o->result = avm_swap_remove(o->w.m, twice);
}

static void a_device_is_removed_by_one(void **state)
{
	const struct sim_swap_config config = { .slots = 4 };
	struct other o;
	avm_addr_t a;

	(void)state;
	other_open(&o, remove_it_too);
	assert_int_equal(sim_swap_add(o.w.s, &config, &twice), 0);
	a = map_anon(o.w.mm, 1, RW);
	store(o.w.a, a, 5);
	assert_int_equal(avm_shrink_all(o.w.m), 1);
	other_starts(&o);
	assert_int_equal(sim_swap_remove(o.w.s, twice), 0);
	other_ends(&o);
	assert_int_equal(o.result, -AVM_EBUSY);
	assert_int_equal(load(o.w.a, a), 5);
	world_close(&o.w);
}

/* The slot that the device is about to bring back is nobody's any more. */
static void give_it_up(struct other *o)
{
	o->result = avm_madvise(o->w.mm, 0x100000, PAGE, AVM_MADV_REMOVE);
}

static void a_device_is_removed_whatever_is_given_up_meanwhile(void **state)
{
	const struct sim_swap_config config = { .slots = 4 };
	struct avm_swap_device *d;
	struct other o;

	(void)state;
	other_open(&o, give_it_up);
	assert_int_equal(sim_swap_add(o.w.s, &config, &d), 0);
	map_at(o.w.mm, 0x100000, 2, RW, AVM_MAP_SHARED | AVM_MAP_ANONYMOUS, NULL, 0);
	store(o.w.a, 0x100000, 5);
	store(o.w.a, 0x101000, 6);
	assert_int_equal(avm_shrink_all(o.w.m), 2);
	other_starts(&o);
	assert_int_equal(sim_swap_remove(o.w.s, d), 0);
	other_ends(&o);
	assert_int_equal(o.result, 0);
	assert_int_equal(load(o.w.a, 0x100000), 0);
	assert_int_equal(load(o.w.a, 0x101000), 6);
	world_close(&o.w);
}

#ifdef AVM_DEBUG
static void keep_a_lock(struct other *o)
{
	assert_int_equal(avm_mmap_read_lock(o->w.mm), 0);
}

static void a_lock_that_he_keeps_is_reported(void **state)
{
	struct sim_config config = { .frames = 64 };
	struct other o = { .act = keep_a_lock };
	avm_pfn_t pfn;

	(void)state;
	config.log = fopen("/dev/null", "w");
	assert_non_null(config.log);
	world_open_with(&o.w, &config);
	other_starts(&o);
	pfn = avm_port_frame_alloc(o.w.m, AVM_FRAME_USER);
	other_ends(&o);
	assert_non_null(strstr(sim_last_error(o.w.s), "is held after an interruption"));
	atomic_store(&o.w.mm->mmap_lock.word, 0);
	avm_port_frame_free(o.w.m, pfn);
	assert_int_equal(sim_destroy(o.w.s), 0);
	fclose(config.log);
}
#define LOCK_TESTS cmocka_unit_test(a_lock_that_he_keeps_is_reported),
#else
#define LOCK_TESTS
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(he_runs_at_allocations_and_reads_and_writes),
		cmocka_unit_test(he_may_call_the_core_and_is_not_interrupted_himself),
		cmocka_unit_test(what_he_would_wait_for_he_cannot_get),
		cmocka_unit_test(a_load_of_his_gives_up_too),
		cmocka_unit_test(a_flush_that_is_still_to_come_is_not_missed),
		cmocka_unit_test(a_device_is_removed_by_one),
		cmocka_unit_test(a_device_is_removed_whatever_is_given_up_meanwhile),
		LOCK_TESTS cmocka_unit_test(nobody_runs_inside_a_read_section),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
