/* SPDX-License-Identifier: MIT */
/*
 * The reader of perf's text: every shape of line that it decodes, and names that try to be lines.
 */
#include "trace_text.h"

#define HEAD "               t  4046/4048  [001]   442.348682556: "

static void header_gives_comm_pid_tid_cpu_and_time_in_ns(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_one(&x, HEAD "PERF_RECORD_LOST lost 7\n", &ev, TRACE_LOST);
	assert_int_equal(ev.pid, 4046);
	assert_int_equal(ev.tid, 4048);
	assert_int_equal(ev.cpu, 1);
	assert_int_equal(ev.time, 442348682556);
	assert_int_equal(ev.line, 1);
	assert_str(ev.task_comm, "t");
	text_close(&x);
}

static void header_without_cpu_or_nanoseconds_or_padding_is_read(void **state)
{
	static const char *const heads[] = {
		"               t  4046/4048  442.348682: ",
		"               t 4046/4048 [001] 442.348682: ",
		"t 4046/4048 [001] 442.348682: ",
		"kworker/u8:0-a-long-name 4046/4048 [001] 442.348682: ",
	};
	char text[256];
	struct trace_event ev;
	struct text x;

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		snprintf(text, sizeof(text), "%sPERF_RECORD_LOST lost 7\n", heads[i]);
		text_one(&x, text, &ev, TRACE_LOST);
		assert_int_equal(ev.tid, 4048);
		assert_int_equal(ev.cpu, i ? 1 : -1);
		assert_int_equal(ev.time, 442348682000);
		text_close(&x);
	}
}

static void a_task_that_is_gone_has_pid_minus_one(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_one(&x,
		 "             :-1    -1/-1    [000]     1.000000000: PERF_RECORD_LOST lost 7\n",
		 &ev, TRACE_LOST);
	assert_int_equal(ev.pid, -1);
	assert_int_equal(ev.tid, -1);
	text_close(&x);
}

static void comm_may_be_empty_or_look_like_a_header(void **state)
{
	static const struct {
		const char *columns;
		const char *comm;
	} comms[] = {
		{ "                ", "" },
		{ "      a [b] x: y", "a [b] x: y" },
		{ " 1/1 [0] 2.3: x:", "1/1 [0] 2.3: x:" },
		{ "            nl\nx", "nl\nx" },
		{ "  \n 1/1 1.1: a b", "\n 1/1 1.1: a b" },
		{ "       \n\n\n\n\n\n\n\n\n", "\n\n\n\n\n\n\n\n\n" },
		{ "         caf\xc3\xa9\xff\x1b", "caf\xc3\xa9\xff\x1b" },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(comms) / sizeof(comms[0]); i++) {
		struct trace_event ev;
		struct text x;

		assert_int_equal(strlen(comms[i].columns), 16);
		snprintf(text, sizeof(text),
			 HEAD "PERF_RECORD_LOST lost 1\n"
			      "%s  4046/4048  [001]   442.4: PERF_RECORD_LOST lost 2\n" HEAD
			      "PERF_RECORD_LOST lost 3\n",
			 comms[i].columns);
		text_open(&x, text);
		text_next(&x, &ev, TRACE_LOST);
		text_next(&x, &ev, TRACE_LOST);
		assert_int_equal(ev.lost, 2);
		assert_int_equal(ev.tid, 4048);
		assert_str(ev.task_comm, comms[i].comm);
		text_next(&x, &ev, TRACE_LOST);
		assert_int_equal(ev.lost, 3);
		text_end(&x);
	}
}

static void faults_have_address_code_and_origin(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(
		&x, HEAD
		"exceptions:page_fault_user: address=0x7ffd67ef6fa0 ip=0x7fa20e189fe2 "
		"error_code=0x6               0\n" HEAD
		"      exceptions:page_fault_kernel: address=0x555d9020d068 ip=elf_load "
		"error_code=0x3\n" HEAD
		"exceptions:page_fault_kernel: address=0x0 ip=do a=b [kvm] error_code=0x0 0\n" HEAD
		"exceptions:page_fault_kernel: address=some_symbol ip=x error_code=0x10\n" HEAD
		"page-faults:     55a77a3e1058\n" HEAD "page-faults:u:  7f9686cff2c8 \n");
	text_next(&x, &ev, TRACE_FAULT);
	assert_int_equal(ev.fault.addr, 0x7ffd67ef6fa0);
	assert_int_equal(ev.fault.code, TRACE_PF_USER | TRACE_PF_WRITE);
	assert_true(ev.fault.has_code);
	assert_false(ev.fault.kernel);
	assert_str(ev.fault.ip, "0x7fa20e189fe2");
	text_next(&x, &ev, TRACE_FAULT);
	assert_int_equal(ev.fault.code, TRACE_PF_PRESENT | TRACE_PF_WRITE);
	assert_true(ev.fault.kernel);
	assert_str(ev.fault.ip, "elf_load");
	text_next(&x, &ev, TRACE_FAULT);
	assert_int_equal(ev.fault.addr, 0);
	assert_false(ev.fault.addr_is_symbol);
	assert_str(ev.fault.ip, "do a=b [kvm]");
	text_next(&x, &ev, TRACE_FAULT);
	assert_true(ev.fault.addr_is_symbol);
	text_next(&x, &ev, TRACE_FAULT);
	assert_int_equal(ev.fault.addr, 0x55a77a3e1058);
	assert_false(ev.fault.has_code);
	text_next(&x, &ev, TRACE_FAULT);
	assert_int_equal(ev.fault.addr, 0x7f9686cff2c8);
	text_end(&x);
}

static void rss_samples_of_each_type_are_read(void **state)
{
	static const struct {
		const char *fields;
		long long bytes;
		enum trace_rss_type type;
		bool curr;
	} rows[] = {
		{ "curr=1 type=MM_ANONPAGES size=8192B               0", 8192, TRACE_RSS_ANON,
		  true },
		{ "curr=0 type=MM_FILEPAGES size=0B", 0, TRACE_RSS_FILE, false },
		{ "curr=1 type=MM_SHMEMPAGES size=-4096B", -4096, TRACE_RSS_SHMEM, true },
		{ "curr=1 type=MM_SWAPENTS size=1B", 1, TRACE_RSS_SWAP, true },
		{ "curr=1 member=1 size=4096B", 4096, TRACE_RSS_ANON, true },
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct trace_event ev;
		struct text x;

		snprintf(text, sizeof(text), HEAD "kmem:rss_stat: mm_id=4294967295 %s\n",
			 rows[i].fields);
		text_one(&x, text, &ev, TRACE_RSS);
		assert_int_equal(ev.rss.mm_id, 4294967295);
		assert_int_equal(ev.rss.type, rows[i].type);
		assert_int_equal(ev.rss.bytes, rows[i].bytes);
		assert_int_equal(ev.rss.curr, rows[i].curr);
		text_close(&x);
	}
}

static void calls_have_arguments_by_position_and_results_or_errnos(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(
		&x, HEAD
		"syscalls:sys_enter_mmap: addr: 0x00000000, len: 0x00002000, prot: 0x00000003, "
		"flags: 0x00000022, fd: 0xffffffff, off: 0x00000000               0\n" HEAD
		"syscalls:sys_exit_mmap: 0x7fa20e164000               0\n" HEAD
		"syscalls:sys_enter_madvise: start: 0x1000, len_in: 0x007fb000, behavior: 0x4\n" HEAD
		"syscalls:sys_exit_madvise: 0xffffffffffffffea               0\n" HEAD
		"syscalls:sys_enter_munlockall:                0\n" HEAD
		"syscalls:sys_enter_munlockall:\n" HEAD "syscalls:sys_exit_munlockall: 0x0\n" HEAD
		"syscalls:sys_exit_brk: 0xfffffffffffff000\n" HEAD
		"syscalls:sys_exit_brk: 0xfffffffffffff001\n");
	text_next(&x, &ev, TRACE_SYS_ENTER);
	assert_int_equal(ev.sys.call, TRACE_CALL_MMAP);
	assert_int_equal(ev.sys.nargs, 6);
	assert_int_equal(ev.sys.arg[1], 0x2000);
	assert_int_equal(ev.sys.arg[3], 0x22);
	assert_int_equal(ev.sys.arg[4], (uint64_t)-1);
	assert_int_equal(ev.sys.unknown, 0);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	assert_int_equal(ev.sys.ret, 0x7fa20e164000);
	assert_int_equal(ev.sys.err, 0);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	assert_int_equal(ev.sys.call, TRACE_CALL_MADVISE);
	assert_int_equal(ev.sys.arg[2], 4);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	assert_int_equal(ev.sys.err, 22);
	assert_int_equal(ev.sys.ret, 0);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	assert_int_equal(ev.sys.nargs, 0);
	text_next(&x, &ev, TRACE_SYS_ENTER);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	/* Errors begin at -4095. */
	text_next(&x, &ev, TRACE_SYS_EXIT);
	assert_int_equal(ev.sys.err, 0);
	text_next(&x, &ev, TRACE_SYS_EXIT);
	assert_int_equal(ev.sys.err, 4095);
	text_end(&x);
}

static void every_call_is_known_by_its_name(void **state)
{
	char text[512];

	(void)state;
	for (int c = 0; c < TRACE_NR_CALLS; c++) {
		struct trace_event ev;
		struct text x;

		snprintf(text, sizeof(text), HEAD "syscalls:sys_exit_%s: 0x0\n",
			 trace_call_name((enum trace_call)c));
		text_one(&x, text, &ev, TRACE_SYS_EXIT);
		assert_int_equal(ev.sys.call, c);
		text_close(&x);
	}
}

static void newtask_tells_threads_from_processes(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x, HEAD
		  "task:task_newtask: pid=4049 comm=a [b] x: y clone_flags=1200000 "
		  "oom_score_adj=0               0\n" HEAD
		  "task:task_newtask: pid=4050 comm=t clone_flags=3d0f00 oom_score_adj=-1000\n" HEAD
		  "task:task_newtask: pid=4051 comm=x clone_flags=7 clone_flags=4100 "
		  "oom_score_adj=5\n");
	text_next(&x, &ev, TRACE_NEWTASK);
	assert_int_equal(ev.newtask.child_tid, 4049);
	assert_int_equal(ev.newtask.child_pid, 4049);
	assert_int_equal(ev.newtask.clone_flags, 0x1200000);
	assert_str(ev.newtask.comm, "a [b] x: y");
	text_next(&x, &ev, TRACE_NEWTASK);
	assert_int_equal(ev.newtask.child_tid, 4050);
	assert_int_equal(ev.newtask.child_pid, 4046);
	text_next(&x, &ev, TRACE_NEWTASK);
	assert_str(ev.newtask.comm, "x clone_flags=7");
	assert_int_equal(ev.newtask.clone_flags, TRACE_CLONE_VM | TRACE_CLONE_VFORK);
	text_end(&x);
}

static void exits_are_read_from_the_right(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(
		&x, HEAD
		"sched:sched_process_exit: comm=t pid=4048 prio=120 group_dead=false        0\n" HEAD
		"sched:sched_process_exit: comm=t pid=4046 prio=-2 group_dead=true\n" HEAD
		"sched:sched_process_exit: comm=old kernel pid=7 prio=120\n" HEAD
		"sched:sched_process_exit: comm=a pid=1 prio=1\n"
		" pid=8 prio=120 group_dead=true               0\n" HEAD
		"sched:sched_process_exit: comm=\n\n\n pid=9 prio=120 group_dead=true   0\n");
	text_next(&x, &ev, TRACE_EXIT);
	assert_int_equal(ev.exit.tid, 4048);
	assert_true(ev.exit.has_group_dead);
	assert_false(ev.exit.group_dead);
	text_next(&x, &ev, TRACE_EXIT);
	assert_true(ev.exit.group_dead);
	text_next(&x, &ev, TRACE_EXIT);
	assert_false(ev.exit.has_group_dead);
	assert_str(ev.exit.comm, "old kernel");
	text_next(&x, &ev, TRACE_EXIT);
	assert_int_equal(ev.exit.tid, 8);
	assert_str(ev.exit.comm, "a pid=1 prio=1\n");
	assert_int_equal(ev.line, 4);
	text_next(&x, &ev, TRACE_EXIT);
	assert_int_equal(ev.exit.tid, 9);
	assert_str(ev.exit.comm, "\n\n\n");
	assert_int_equal(ev.line, 6);
	assert_int_equal(trace_stats(x.trace)->lines, 9);
	assert_int_equal(trace_stats(x.trace)->continued, 4);
	text_end(&x);
}

static void comm_records_tell_exec_from_renaming(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x, HEAD "PERF_RECORD_COMM exec: te:4432/4432\n" HEAD
			   "PERF_RECORD_COMM: a:1/2: b:4432/4433\n" HEAD
			   "PERF_RECORD_COMM: nl\nx:4046/4048\n" HEAD "PERF_RECORD_COMM: :5/5\n");
	text_next(&x, &ev, TRACE_COMM);
	assert_true(ev.comm.exec);
	assert_str(ev.comm.comm, "te");
	text_next(&x, &ev, TRACE_COMM);
	assert_false(ev.comm.exec);
	assert_int_equal(ev.comm.pid, 4432);
	assert_int_equal(ev.comm.tid, 4433);
	assert_str(ev.comm.comm, "a:1/2: b");
	text_next(&x, &ev, TRACE_COMM);
	assert_str(ev.comm.comm, "nl\nx");
	text_next(&x, &ev, TRACE_COMM);
	assert_str(ev.comm.comm, "");
	assert_int_equal(ev.line, 5);
	text_end(&x);
}

static void mmap2_gives_the_vma_and_its_file(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x, HEAD
		  "PERF_RECORD_MMAP2 4046/4047: [0x555d9020a000(0x1000) @ 0x2000 fe:1f 10952832 "
		  "4142152986]: r-xp /tmp/a file\n" HEAD
		  "PERF_RECORD_MMAP2 4046/4046: [0x7fff9d5a1000(0x21000) @ 0x7ffffffde000 00:00 0 "
		  "0]: rw-p [stack]\n" HEAD
		  "PERF_RECORD_MMAP2 4046/4046: [0x7f0000000000(0x1000) @ 0 00:01 5 0]: ---s "
		  "/dev/zero (deleted)\n" HEAD
		  "PERF_RECORD_MMAP2 4046/4046: [0x7f0000000000(0x1000) @ 0 "
		  "<0123456789abcdef0123>]: r--p /lib/x.so\n" HEAD
		  "PERF_RECORD_MMAP2 4046/4046: [0x7f0000000000(0x1000) @ 0 00:00 0 0]: r--p \n");
	text_next(&x, &ev, TRACE_MMAP);
	assert_int_equal(ev.mmap.pid, 4046);
	assert_int_equal(ev.mmap.tid, 4047);
	assert_int_equal(ev.mmap.start, 0x555d9020a000);
	assert_int_equal(ev.mmap.len, 0x1000);
	assert_int_equal(ev.mmap.pgoff, 0x2000);
	assert_int_equal(ev.mmap.dev_major, 0xfe);
	assert_int_equal(ev.mmap.dev_minor, 0x1f);
	assert_int_equal(ev.mmap.inode, 10952832);
	assert_int_equal(ev.mmap.inode_generation, 4142152986);
	assert_int_equal(ev.mmap.prot, TRACE_PROT_READ | TRACE_PROT_EXEC);
	assert_true(ev.mmap.v2 && ev.mmap.has_inode && !ev.mmap.shared);
	assert_str(ev.mmap.filename, "/tmp/a file");
	text_next(&x, &ev, TRACE_MMAP);
	assert_int_equal(ev.mmap.pgoff, 0x7ffffffde000);
	assert_int_equal(ev.mmap.prot, TRACE_PROT_READ | TRACE_PROT_WRITE);
	text_next(&x, &ev, TRACE_MMAP);
	assert_true(ev.mmap.shared);
	assert_int_equal(ev.mmap.prot, 0);
	text_next(&x, &ev, TRACE_MMAP);
	assert_false(ev.mmap.has_inode);
	text_next(&x, &ev, TRACE_MMAP);
	assert_str(ev.mmap.filename, "");
	text_end(&x);
}

static void plain_mmap_of_the_kernel_has_pid_minus_one(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_one(&x,
		 "         swapper     0/0     [000]     0.000000000: PERF_RECORD_MMAP -1/0: "
		 "[0xffffffff81000000(0x120bb08) @ 0xffffffff81000000]: x [kernel.kallsyms]_text\n",
		 &ev, TRACE_MMAP);
	assert_int_equal(ev.mmap.pid, -1);
	assert_false(ev.mmap.v2);
	assert_int_equal(ev.mmap.prot, TRACE_PROT_READ | TRACE_PROT_EXEC);
	text_close(&x);
}

static void file_names_go_on_over_lines(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x,
		  HEAD "PERF_RECORD_MMAP2 4046/4046: [0x1000(0x1000) @ 0 fe:00 1 0]: r--p /tmp/a\n"
		       "b\n"
		       "  c 1/2 [000] d\n" HEAD "sched:sched_process_exec: filename=./x pid=1\n"
		       " pid=4046 old_pid=4048               0\n" HEAD "PERF_RECORD_LOST lost 1\n");
	text_next(&x, &ev, TRACE_MMAP);
	assert_str(ev.mmap.filename, "/tmp/a\nb\n  c 1/2 [000] d");
	text_next(&x, &ev, TRACE_EXEC);
	assert_str(ev.exec.filename, "./x pid=1\n");
	assert_int_equal(ev.exec.pid, 4046);
	assert_int_equal(ev.exec.old_pid, 4048);
	assert_int_equal(ev.line, 4);
	text_next(&x, &ev, TRACE_LOST);
	assert_int_equal(ev.line, 6);
	text_end(&x);
}

static void task_records_name_child_and_parent(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x, HEAD "PERF_RECORD_FORK(4046:4048):(4045:4044)\n" HEAD
			   "PERF_RECORD_EXIT(4049:4049):(4046:4046)\n" HEAD
			   "PERF_RECORD_LOST_SAMPLES lost 12\n");
	text_next(&x, &ev, TRACE_REC_FORK);
	assert_int_equal(ev.task.pid, 4046);
	assert_int_equal(ev.task.tid, 4048);
	assert_int_equal(ev.task.parent_pid, 4045);
	assert_int_equal(ev.task.parent_tid, 4044);
	text_next(&x, &ev, TRACE_REC_EXIT);
	text_next(&x, &ev, TRACE_LOST);
	assert_int_equal(trace_stats(x.trace)->lost, 12);
	text_end(&x);
}

static void events_of_other_kinds_are_counted(void **state)
{
	struct trace_event ev;
	struct text x;

	(void)state;
	text_open(&x, "# captured on: some day\n#\n" HEAD "cycles:u:  whatever it says\n\n"
		      "\tffffffff81000000 something ([kernel.kallsyms])\n" HEAD
		      "syscalls:sys_enter_openat: dfd: 0xffffff9c, filename: 0x7f\n" HEAD
		      "PERF_RECORD_SWITCH OUT\n");
	text_next(&x, &ev, TRACE_OTHER);
	assert_str(ev.name, "cycles:u");
	text_next(&x, &ev, TRACE_OTHER);
	assert_str(ev.name, "syscalls:sys_enter_openat");
	text_next(&x, &ev, TRACE_OTHER);
	assert_str(ev.name, "PERF_RECORD_SWITCH");
	assert_int_equal(trace_stats(x.trace)->kind[TRACE_OTHER], 3);
	assert_int_equal(trace_stats(x.trace)->skipped, 4);
	text_end(&x);
}

static void time_that_runs_backwards_is_counted(void **state)
{
	struct text x;

	(void)state;
	text_open(&x, "               t 1/1 [001] 2.0: PERF_RECORD_LOST lost 1\n"
		      "               t 1/1 [001] 0.000000000: PERF_RECORD_LOST lost 1\n"
		      "               t 1/1 [001] 1.9: PERF_RECORD_LOST lost 1\n"
		      "               t 1/1 [001] 3.0: PERF_RECORD_LOST lost 1\n");
	assert_int_equal(text_drain(&x), 0);
	assert_int_equal(trace_stats(x.trace)->unordered, 1);
	text_close(&x);
}

static void quoting_makes_any_bytes_printable(void **state)
{
	char buf[16];

	(void)state;
	assert_string_equal(trace_quote(buf, sizeof(buf), (struct trace_str){ "a\n\x1b\\", 4 }),
			    "a\\n\\x1b\\\\");
	assert_string_equal(trace_quote(buf, sizeof(buf),
					(struct trace_str){ "0123456789abcdef", 16 }),
			    "012345678...");
	for (size_t n = 0; n < sizeof(buf); n++) {
		memset(buf, 'x', sizeof(buf));
		trace_quote(buf, n, (struct trace_str){ "\xff\xff\xff\xff\xff", 5 });
		assert_true(!n || strlen(buf) < n);
		assert_int_equal(buf[n], 'x');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_gives_comm_pid_tid_cpu_and_time_in_ns),
		cmocka_unit_test(header_without_cpu_or_nanoseconds_or_padding_is_read),
		cmocka_unit_test(a_task_that_is_gone_has_pid_minus_one),
		cmocka_unit_test(comm_may_be_empty_or_look_like_a_header),
		cmocka_unit_test(faults_have_address_code_and_origin),
		cmocka_unit_test(rss_samples_of_each_type_are_read),
		cmocka_unit_test(calls_have_arguments_by_position_and_results_or_errnos),
		cmocka_unit_test(every_call_is_known_by_its_name),
		cmocka_unit_test(newtask_tells_threads_from_processes),
		cmocka_unit_test(exits_are_read_from_the_right),
		cmocka_unit_test(comm_records_tell_exec_from_renaming),
		cmocka_unit_test(mmap2_gives_the_vma_and_its_file),
		cmocka_unit_test(plain_mmap_of_the_kernel_has_pid_minus_one),
		cmocka_unit_test(file_names_go_on_over_lines),
		cmocka_unit_test(task_records_name_child_and_parent),
		cmocka_unit_test(events_of_other_kinds_are_counted),
		cmocka_unit_test(time_that_runs_backwards_is_counted),
		cmocka_unit_test(quoting_makes_any_bytes_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
