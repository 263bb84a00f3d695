/* SPDX-License-Identifier: MIT */
/*
 * The reader of strace's logs: lines of each form, and who is whose child when the lines come in any
 * order.
 */
#include "trace_text.h"

#define T "1795348854.174257 "

static void a_finished_call_is_entered_and_left_at_once(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x, "4072  " T "mmap(0x7fc2683a2000, 1400832, PROT_READ|PROT_EXEC, "
		      "MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE, 3</usr/lib/libc.so.6>, 0x26000) = "
		      "0x7fc2683a2000\n");
	text_next(&x, &ev, TRACE_SYS_ENTER);
	assert_int_equal(ev.sys.call, TRACE_CALL_MMAP);
	assert_int_equal(ev.pid, 4072);
	assert_int_equal(ev.tid, 4072);
	assert_int_equal(ev.cpu, -1);
	assert_int_equal(ev.time, 1795348854174257000);
	assert_int_equal(ev.sys.nargs, 6);
	assert_int_equal(ev.sys.arg[0], 0x7fc2683a2000);
	assert_int_equal(ev.sys.arg[1], 1400832);
	assert_int_equal(ev.sys.arg[2], 5);
	assert_int_equal(ev.sys.arg[3], 0x812);
	assert_int_equal(ev.sys.arg[4], 3);
	assert_int_equal(ev.sys.arg[5], 0x26000);
	assert_int_equal(ev.sys.unknown, 0);
	assert_str(ev.sys.path, "/usr/lib/libc.so.6");
	text_next(&x, &ev, TRACE_SYS_EXIT);
	assert_int_equal(ev.sys.ret, 0x7fc2683a2000);
	assert_int_equal(ev.sys.arg[1], 1400832);
	text_end(&x);
}

static void arguments_of_every_notation_have_values(void **state)
{
	static const struct {
		const char *call;
		unsigned long long value;
		unsigned int arg;
		bool known;
	} rows[] = {
		{ "brk(NULL) = 0x5000", 0, 0, true },
		{ "mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x1000",
		  (unsigned long long)-1, 4, true },
		{ "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_HUGETLB|21<<MAP_HUGE_SHIFT, -1, 0) = 0x1",
		  2 | 0x40000 | 21ull << 26, 3, true },
		{ "mmap(NULL, 4096, PROT_READ|0x40 /* PROT_??? */, MAP_SHARED, 3</a, b>, 0) = 0x1",
		  0x41, 2, true },
		{ "mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3</a\\76, (b>, 0x3000) = 0x1000", 0x3000,
		  5, true },
		{ "madvise(0x1000, 4096, MADV_DONTNEED) = 0", 4, 2, true },
		{ "madvise(0x1000, 4096, MADV_NEW_THING) = 0", 0, 2, false },
		{ "madvise(0x1000, 4096, 0x69 /* MADV_??? */) = 0", 0x69, 2, true },
		{ "mremap(0x1000, 4096, 8192, MREMAP_MAYMOVE) = 0x9000", 1, 3, true },
		{ "mremap(0x1000, 4096, 8192, MREMAP_MAYMOVE) = 0x9000", 0, 4, false },
		{ "mremap(0x1000, 4096, 8192, MREMAP_MAYMOVE|MREMAP_FIXED, 0x9000) = 0x9000",
		  0x9000, 4, true },
		{ "shmat(98304, NULL, SHM_RDONLY) = 0x7f0000000000", 0x1000, 2, true },
		{ "fallocate(3</t>, FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE, 0, 4096) = 0", 3, 1,
		  true },
		{ "ftruncate(3</memfd:x (deleted)>, 4096) = 0", 4096, 1, true },
		{ "prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0x1000, 4096, \"a), b\") = 0", 4096, 3,
		  true },
		{ "prctl(PR_SET_NAME, \"a\\\", \") = 0", 15, 0, true },
		{ "process_madvise(3<anon_inode:[pidfd]>, [{iov_base=0x1, iov_len=2}, {}], 2, MADV_COLD, 0) "
		  "= 2",
		  20, 3, true },
		{ "mlockall(MCL_CURRENT|MCL_FUTURE) = 0", 3, 0, true },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct trace_event ev;
		struct text x;

		snprintf(text, sizeof(text), "7 " T "%s\n", rows[i].call);
		text_open(&x, text);
		text_next(&x, &ev, TRACE_SYS_ENTER);
		assert_int_equal(ev.sys.arg[rows[i].arg], rows[i].value);
		assert_int_equal(!(ev.sys.unknown & 1u << rows[i].arg), rows[i].known);
		text_next(&x, &ev, TRACE_SYS_EXIT);
		assert_int_equal(trace_stats(x.trace)->unknown_args,
				 strstr(rows[i].call, "NEW_THING") ? 1 : 0);
		text_end(&x);
	}
}

static void results_are_values_errnos_or_none(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x, "7 " T "munmap(0x1, 3)  = -1 EINVAL (Invalid argument)\n"
		      "7 " T "munmap(0x1, 3)  = ?\n"
		      "7 " T "munmap(0x1, 3)  = -1 EWHATEVER (No idea)\n"
		      "7 " T "brk(0x5000)     = 0x5000\n");
	text_next(&x, &ev, TRACE_SYS_ENTER);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	assert_int_equal(ev.sys.err, 22);
	assert_int_equal(ev.sys.ret, 0);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	assert_true(ev.sys.no_result);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	assert_int_equal(trace_stats(x.trace)->unknown_args, 1);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	assert_int_equal(ev.sys.ret, 0x5000);
	text_end(&x);
}

static void unfinished_and_resumed_are_one_call(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x, "7 1.000001 munmap(0x7f3faf715000, 36864 <unfinished ...>\n"
		      "8 1.000002 wait4(-1,  <unfinished ...>\n"
		      "9 1.000003 mprotect(0x1000, 8192, PROT_READ <unfinished ...>\n"
		      "7 1.000004 <... munmap resumed>)        = 0\n"
		      "9 1.000005 <... mprotect resumed>) = -1 ENOMEM (Cannot allocate memory)\n"
		      "9 1.000006 <... mprotect resumed>) = 0\n");
	text_next(&x, &ev, TRACE_SYS_ENTER);
	assert_int_equal(ev.sys.arg[1], 36864);
	text_next(&x, &ev, TRACE_OTHER);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	assert_int_equal(ev.tid, 9);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	assert_int_equal(ev.tid, 7);
	assert_int_equal(ev.sys.call, TRACE_CALL_MUNMAP);
	assert_int_equal(ev.sys.arg[0], 0x7f3faf715000);
	assert_int_equal(ev.time, 1000004000);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	assert_int_equal(ev.sys.err, 12);
	assert_int_equal(trace_stats(x.trace)->orphans, 0);
	text_next(&x, &ev, TRACE_OTHER);
	assert_int_equal(trace_stats(x.trace)->orphans, 1);
	text_end(&x);
}

static void a_call_begun_twice_is_an_orphan(void **state)
{
	struct text x;

	(void)state;
	text_open(&x, "7 1.1 munmap(0x1000, 4096 <unfinished ...>\n"
		      "7 1.2 brk(NULL <unfinished ...>\n"
		      "7 1.3 <... munmap resumed>) = 0\n");
	assert_int_equal(text_drain(&x), 0);
	assert_int_equal(trace_stats(x.trace)->orphans, 2);
	text_close(&x);
}

static void exec_replaces_the_address_space_when_it_succeeds(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(
		&x,
		"7 1.1 execve(\"/usr/bin/no\", [\"a\", \"b)\"], 0x7ff /* 4 vars */) = -1 ENOENT (No)\n"
		"7 1.2 execve(\"/usr/bin/true\", [\"true\"], 0x7ff /* 41 vars */) = 0\n"
		"7 1.3 execveat(3</usr/bin/x>, \"sub/y\", [\"y\"], 0x7ff, 0) = 0\n"
		"7 1.4 execve(\"./z\", [\"z\"], 0x7ff /* 41 vars */ <unfinished ...>\n"
		"7 1.5 <... execve resumed>) = 0\n");
	text_next(&x, &ev, TRACE_OTHER);
	text_next(&x, &ev, TRACE_COMM);
	assert_true(ev.comm.exec);
	assert_str(ev.comm.comm, "true");
	text_next(&x, &ev, TRACE_COMM);
	assert_str(ev.comm.comm, "y");
	text_next(&x, &ev, TRACE_OTHER);
	text_next(&x, &ev, TRACE_COMM);
	assert_str(ev.comm.comm, "z");
	assert_int_equal(ev.time, 1500000000);
	text_end(&x);
}

static void expect_child(struct text *x, int parent, int pid, int tid, unsigned int flags)
{
	struct trace_event ev;

	text_next(x, &ev, TRACE_NEWTASK);
	assert_int_equal(ev.tid, parent);
	assert_int_equal(ev.newtask.child_pid, pid);
	assert_int_equal(ev.newtask.child_tid, tid);
	assert_int_equal(ev.newtask.clone_flags &
				 (TRACE_CLONE_VM | TRACE_CLONE_VFORK | TRACE_CLONE_THREAD),
			 flags);
}

static void clones_give_threads_and_processes(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(
		&x,
		"7 1.1 clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD|CLONE_SETTLS, child_tid=0x7f, "
		"exit_signal=0, stack=0x7f, stack_size=0x7fff80} => {parent_tid=[8]}, 88) = 8\n"
		"8 1.2 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x1) = 9\n"
		"9 1.3 fork() = 10\n"
		"9 1.4 fork() = -1 EAGAIN (Resource temporarily unavailable)\n"
		"8 1.5 brk(NULL) = 0\n"
		"10 1.6 +++ killed by SIGSEGV (core dumped) +++\n"
		"7 1.7 +++ exited with 0 +++\n"
		"8 1.8 +++ exited with 0 +++\n");
	expect_child(&x, 7, 7, 8, TRACE_CLONE_VM | TRACE_CLONE_THREAD);
	expect_child(&x, 8, 9, 9, 0);
	expect_child(&x, 9, 10, 10, 0);
	text_next(&x, &ev, TRACE_OTHER);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	assert_int_equal(ev.pid, 7);
	assert_int_equal(ev.tid, 8);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	text_next(&x, &ev, TRACE_EXIT);
	assert_int_equal(ev.exit.tid, 10);
	assert_true(ev.exit.group_dead);
	/* The leader goes first; the group dies with its last thread. */
	text_next(&x, &ev, TRACE_EXIT);
	assert_false(ev.exit.group_dead);
	text_next(&x, &ev, TRACE_EXIT);
	assert_int_equal(ev.pid, 7);
	assert_true(ev.exit.group_dead);
	text_end(&x);
}

/* Two clones are under way at once, and the second one's child speaks first. */
static void a_child_that_speaks_first_is_announced_by_its_own_parent(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(
		&x,
		"7 1.1 clone(child_stack=NULL, flags=SIGCHLD) = 8\n"
		"7 1.2 vfork( <unfinished ...>\n"
		"8 1.3 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD <unfinished ...>\n"
		"20 1.4 brk(NULL) = 0x1\n"
		"21 1.5 brk(NULL) = 0x1\n"
		"8 1.6 <... clone resumed>, child_tidptr=0x7f) = 20\n"
		"7 1.7 <... vfork resumed>) = 21\n"
		"20 1.8 +++ exited with 0 +++\n"
		"7 1.9 fork() = 20\n");
	expect_child(&x, 7, 8, 8, 0);
	text_next(&x, &ev, TRACE_OTHER);
	text_next(&x, &ev, TRACE_OTHER);
	expect_child(&x, 8, 20, 20, 0);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	assert_int_equal(ev.tid, 20);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	expect_child(&x, 7, 21, 21, TRACE_CLONE_VM | TRACE_CLONE_VFORK);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	text_next(&x, &ev, TRACE_OTHER);
	text_next(&x, &ev, TRACE_OTHER);
	text_next(&x, &ev, TRACE_EXIT);
	/* The number is used again. */
	expect_child(&x, 7, 20, 20, 0);
	text_end(&x);
}

/* A child of vfork is often gone by the time that its parent goes on. */
static void a_child_that_is_gone_before_its_birth_is_announced_once(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x, "7 1.1 vfork( <unfinished ...>\n"
		      "8 1.2 brk(NULL) = 0x1\n"
		      "8 1.3 +++ exited with 1 +++\n"
		      "7 1.4 <... vfork resumed>) = 8\n");
	text_next(&x, &ev, TRACE_OTHER);
	expect_child(&x, 7, 8, 8, TRACE_CLONE_VM | TRACE_CLONE_VFORK);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	text_next(&x, &ev, TRACE_EXIT);
	text_next(&x, &ev, TRACE_OTHER);
	text_end(&x);
}

static void a_number_used_again_belongs_to_the_later_parent(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x, "7 1.1 fork() = 20\n"
		      "20 1.2 +++ exited with 0 +++\n"
		      "7 1.3 fork() = 8\n"
		      "7 1.4 vfork( <unfinished ...>\n"
		      "8 1.5 fork( <unfinished ...>\n"
		      "20 1.6 brk(NULL) = 0x1\n"
		      "8 1.7 <... fork resumed>) = 20\n"
		      "7 1.8 <... vfork resumed>) = 21\n");
	expect_child(&x, 7, 20, 20, 0);
	text_next(&x, &ev, TRACE_EXIT);
	expect_child(&x, 7, 8, 8, 0);
	text_next(&x, &ev, TRACE_OTHER);
	text_next(&x, &ev, TRACE_OTHER);
	expect_child(&x, 8, 20, 20, 0);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	text_next(&x, &ev, TRACE_OTHER);
	expect_child(&x, 7, 21, 21, TRACE_CLONE_VM | TRACE_CLONE_VFORK);
	text_end(&x);
}

static void exec_by_a_thread_makes_it_the_leader(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(
		&x,
		"7 1.1 clone3({flags=CLONE_VM|CLONE_THREAD}, 88) = 8\n"
		"8 1.2 execve(\"/bin/true\", [\"true\"], 0x7f /* 41 vars */ <pid changed to 7 ...>\n"
		"7 1.3 +++ superseded by execve in pid 8 +++\n"
		"7 1.4 <... execve resumed>) = 0\n"
		"7 1.5 +++ exited with 0 +++\n");
	expect_child(&x, 7, 7, 8, TRACE_CLONE_VM | TRACE_CLONE_THREAD);
	text_next(&x, &ev, TRACE_OTHER);
	text_next(&x, &ev, TRACE_EXIT);
	assert_int_equal(ev.exit.tid, 7);
	assert_false(ev.exit.group_dead);
	text_next(&x, &ev, TRACE_COMM);
	assert_int_equal(ev.tid, 7);
	assert_true(ev.comm.exec);
	text_next(&x, &ev, TRACE_EXIT);
	assert_true(ev.exit.group_dead);
	text_end(&x);
}

static void lines_without_a_thread_id_are_the_root_s(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x, "1.1 brk(NULL) = 0x1\n"
		      "1.2 clone(child_stack=NULL, flags=SIGCHLD) = 8\n"
		      "strace: Process 8 attached\n"
		      "[pid     8] 1.3 brk(NULL) = 0x1\n"
		      "[pid     7] 1.4 wait4(-1,  <unfinished ...>\n"
		      "[pid     8] 1.5 +++ exited with 0 +++\n"
		      "1.6 --- SIGCHLD {si_signo=SIGCHLD} ---\n"
		      "1.7 +++ exited with 0 +++\n");
	text_next(&x, &ev, TRACE_SYS_ENTER);
	assert_int_equal(ev.tid, 7);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	expect_child(&x, 7, 8, 8, 0);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	assert_int_equal(ev.tid, 8);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	text_next(&x, &ev, TRACE_OTHER);
	text_next(&x, &ev, TRACE_EXIT);
	text_next(&x, &ev, TRACE_EXIT);
	assert_int_equal(ev.tid, 7);
	assert_true(ev.exit.group_dead);
	assert_int_equal(trace_stats(x.trace)->skipped, 2);
	text_end(&x);
}

static void many_tasks_are_told_apart(void **state)
{
	enum {
		TASKS = 3000
	};
	char *text = malloc(TASKS * 96);
	struct trace_event ev;
	struct text x;
	size_t n = 0;

	(void)state;
	assert_non_null(text);
	for (int i = 1; i <= TASKS; i++)
		n += (size_t)sprintf(text + n, "%d 1.1 vfork( <unfinished ...>\n", i * 64);
	for (int i = 1; i <= TASKS; i++)
		n += (size_t)sprintf(text + n, "%d 1.2 <... vfork resumed>) = %d\n", i * 64,
				     i * 64 + 1);
	text_open(&x, text);
	for (int i = 1; i <= TASKS; i++)
		text_next(&x, &ev, TRACE_OTHER);
	for (int i = 1; i <= TASKS; i++)
		expect_child(&x, i * 64, i * 64 + 1, i * 64 + 1,
			     TRACE_CLONE_VM | TRACE_CLONE_VFORK);
	text_end(&x);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_finished_call_is_entered_and_left_at_once),
		cmocka_unit_test(arguments_of_every_notation_have_values),
		cmocka_unit_test(results_are_values_errnos_or_none),
		cmocka_unit_test(unfinished_and_resumed_are_one_call),
		cmocka_unit_test(a_call_begun_twice_is_an_orphan),
		cmocka_unit_test(exec_replaces_the_address_space_when_it_succeeds),
		cmocka_unit_test(clones_give_threads_and_processes),
		cmocka_unit_test(a_child_that_speaks_first_is_announced_by_its_own_parent),
		cmocka_unit_test(a_child_that_is_gone_before_its_birth_is_announced_once),
		cmocka_unit_test(a_number_used_again_belongs_to_the_later_parent),
		cmocka_unit_test(exec_by_a_thread_makes_it_the_leader),
		cmocka_unit_test(lines_without_a_thread_id_are_the_root_s),
		cmocka_unit_test(many_tasks_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
