/* SPDX-License-Identifier: MIT */
/*
 * Traces by strangers: cut, damaged, glued, garbage. Every one gives an error or a complaint with file
 * and line, or is accounted for line by line; none gives more than that.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "random.h"
#include "trace_text.h"

#define HEAD "               t  4046/4048  [001]   442.348682556: "
#define GOOD HEAD "PERF_RECORD_LOST lost 1\n"

static const char perf_text[] =
	"         swapper     0/0     [000]     0.000000000: PERF_RECORD_MMAP -1/0: "
	"[0xffffffff81000000(0x120bb08) @ 0xffffffff81000000]: x [kernel.kallsyms]_text\n" HEAD
	"PERF_RECORD_COMM exec: t:4046/4046\n" HEAD
	"PERF_RECORD_MMAP2 4046/4046: [0x555d90209000(0x5000) @ 0 fe:00 10952832 4142152986]: r--p "
	"/tmp/t\n" HEAD
	"exceptions:page_fault_kernel: address=0x555d9020d068 ip=elf_load error_code=0x2        0\n" HEAD
	"kmem:rss_stat: mm_id=677632386 curr=1 type=MM_ANONPAGES size=8192B               0\n" HEAD
	"sched:sched_process_exec: filename=./t pid=4046 old_pid=4046               0\n" HEAD
	"syscalls:sys_enter_mmap: addr: 0x00000000, len: 0x00002000, prot: 0x00000003, flags: "
	"0x00000022, fd: 0xffffffff, off: 0x00000000               0\n" HEAD
	"syscalls:sys_exit_mmap: 0x7fa20e164000               0\n" HEAD
	"PERF_RECORD_FORK(4049:4049):(4046:4046)\n" HEAD
	"task:task_newtask: pid=4049 comm=t clone_flags=1200000 oom_score_adj=0        0\n"
	"            nl\nx  4046/4046  [000]   442.351342566: PERF_RECORD_COMM: nl\nx:4046/4046\n"
	"            nl\nx  4046/4046  [000]   442.351437068: sched:sched_process_exit: comm=nl\n"
	"x pid=4046 prio=120 group_dead=true               0\n" GOOD;

static const char strace_text[] =
	"7 1.1 execve(\"./t\", [\"t\", \"a\\\"b\"], 0x7ffe0bbc0318 /* 41 vars */) = 0\n"
	"7 1.2 mmap(NULL, 42219, PROT_READ|0x40 /* PROT_??? */, MAP_PRIVATE|21<<MAP_HUGE_SHIFT, "
	"3</etc/ld.so.cache>, 0) = 0x7fc26855e000\n"
	"7 1.3 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x7f} => {parent_tid=[8]}, 88) = 8\n"
	"7 1.4 vfork( <unfinished ...>\n"
	"9 1.5 munmap(0x1000, 4096 <unfinished ...>\n"
	"7 1.6 <... vfork resumed>) = 9\n"
	"9 1.7 <... munmap resumed>) = -1 EINVAL (Invalid argument)\n"
	"8 1.8 execve(\"/bin/true\", [\"true\"], 0x7f /* 4 vars */ <pid changed to 7 ...>\n"
	"7 1.9 +++ superseded by execve in pid 8 +++\n"
	"7 2.0 <... execve resumed>) = 0\n"
	"9 2.1 --- SIGCHLD {si_signo=SIGCHLD} ---\n"
	"9 2.2 +++ killed by SIGSEGV +++\n"
	"7 2.3 exit_group(0) = ?\n";

static void expect_error(const char *text, size_t n, const char *where, const char *what)
{
	struct text x;
	const char *err;

	if (text_open_n(&x, text, n) == 0) {
		if (text_drain(&x) != -EINVAL)
			fail_msg("read without an error: %.*s", (int)(n < 300 ? n : 300), text);
		err = trace_error(x.trace);
		/* It stays. */
		assert_int_equal(text_drain(&x), -EINVAL);
	} else {
		err = x.err;
		assert_null(x.trace);
	}
	if (strncmp(err, where, strlen(where)) != 0 || !strstr(err, what))
		fail_msg("\"%s\" is not \"%s ... %s\"", err, where, what);
	text_close(&x);
}

static void what_is_no_trace_is_refused(void **state)
{
	char *zeros = calloc(1, 300000);

	(void)state;
	assert_non_null(zeros);
	expect_error("", 0, "T:1: ", "empty");
	expect_error("hello\nworld\n", 12, "T:1: ", "not a trace");
	expect_error("# only\n\n\n", 9, "T:1: ", "not a trace");
	expect_error("\n", 1, "T:1: ", "not a trace");
	expect_error(zeros, 300000, "T:1: ", "not a trace");
	/* Default fields of perf script: no pid. */
	expect_error("t 4046 [000]   442.351437: kmem:x: 0\n", 37, "T:1: ", "-F comm,pid,tid");
	free(zeros);
}

static void fields_that_do_not_parse_are_errors(void **state)
{
	static const char *const events[] = {
		"kmem:rss_stat: mm_id=1 curr=1 type=MM_ANONPAGES size=8192",
		"kmem:rss_stat: mm_id=1 curr=1 type=MM_WHAT size=8192B",
		"kmem:rss_stat: mm_id=x curr=1 type=MM_ANONPAGES size=8192B",
		"kmem:rss_stat: mm_id=1 curr=1 type=MM_ANONPAGES size=9223372036854775808B",
		"kmem:rss_stat: mm_id=18446744073709551616 curr=1 type=MM_ANONPAGES size=1B",
		"exceptions:page_fault_user: address=0x10000000000000000 ip=0x1 error_code=0x6",
		"exceptions:page_fault_user: address=0x1 ip=0x1 error_code=6",
		"exceptions:page_fault_user: address=0x1 ip=0x1",
		"exceptions:page_fault_user: address=0x1 ip=0x1 error_code=0x6 0 more",
		"exceptions:page_fault_user:",
		"page-faults: zzz",
		"syscalls:sys_enter_mmap: addr: 0x00000000, len: 0x00002000",
		"syscalls:sys_enter_munmap: addr: 0x0, len: 0x2000, more: 0x0",
		"syscalls:sys_enter_brk: brk: 12",
		"syscalls:sys_exit_brk: 12",
		"syscalls:sys_exit_brk:",
		"task:task_newtask: pid=1 comm=x oom_score_adj=0",
		"task:task_newtask: pid=99999999999 comm=x clone_flags=0 oom_score_adj=0",
		"sched:sched_process_exec: filename=x pid=1",
		"sched:sched_process_exit: comm=x pid= prio=120 group_dead=true",
		"sched:sched_process_exit: comm=x",
		"PERF_RECORD_COMM exec: te",
		"PERF_RECORD_COMM te:1/1",
		"PERF_RECORD_FORK(4046:4048):(4045:4044",
		"PERF_RECORD_FORK",
		"PERF_RECORD_LOST lost",
		"PERF_RECORD_LOST lost -1",
		"PERF_RECORD_MMAP2 1/1: [0x1000(0x1000) @ 0 fe:00 1 0]: rw p /x",
		"PERF_RECORD_MMAP2 1/1: [0x1000(0x1000) @ 0 fe:00 1]: rw-p /x",
		"PERF_RECORD_MMAP2 1/1: [0x1000(0x1000) @ 0 <12]: rw-p /x",
		"PERF_RECORD_MMAP2 1/1: [0x1000(0x1000 @ 0 fe:00 1 0]: rw-p /x",
		"PERF_RECORD_MMAP 1/1: [0x1000(0x1000) @ 0]: z /x",
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		snprintf(text, sizeof(text), GOOD HEAD "%s\n" GOOD, events[i]);
		expect_error(text, strlen(text), "T:2: ", "malformed ");
	}
}

static void calls_of_strace_that_do_not_parse_are_errors(void **state)
{
	static const char *const calls[] = {
		"munmap(0x1000, 4096",
		"munmap(0x1000, 4096)",
		"munmap(0x1000, 4096) = ",
		"munmap(0x1000) = 0",
		"munmap(0x1000, 4096) = x",
		"mmap(NULL, 4096) = 0x1000",
		"mmap(\"unfinished string, 4096) = 0x1000",
		"clone(flags=SIGCHLD",
		"execve(\"a\") = z",
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		snprintf(text, sizeof(text), "7 1.1 brk(NULL) = 0x1\n7 1.2 %s\n", calls[i]);
		expect_error(text, strlen(text), "T:2: ", "malformed ");
	}
}

static void a_nul_byte_is_an_error(void **state)
{
	static const char comm[] = GOOD "         \0     t  1/1  [001]   1.0: cycles: 1\n";
	static const char name[] = GOOD HEAD "PERF_RECORD_MMAP2 1/1: [0x1(0x1) @ 0 fe:00 1 0]: "
					     "rw-p /x\0y\n";
	static const char other[] = GOOD HEAD "cycles: \0\n";
	static const char call[] = "7 1.1 brk(NULL) = 0\n7 1.1 open(\"\0\") = 1\n";

	(void)state;
	expect_error(comm, sizeof(comm) - 1, "T:2: ", "NUL");
	expect_error(name, sizeof(name) - 1, "T:2: ", "NUL");
	expect_error(other, sizeof(other) - 1, "T:2: ", "NUL");
	expect_error(call, sizeof(call) - 1, "T:2: ", "NUL");
}

static void giant_lines_are_errors(void **state)
{
	enum {
		SIZE = 3 << 20
	};
	char *text = malloc(SIZE);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', SIZE);
	memcpy(text, GOOD, sizeof(GOOD) - 1);
	expect_error(text, SIZE, "T:2: ", "longer than");
	memcpy(text + sizeof(GOOD) - 1,
	       HEAD "PERF_RECORD_MMAP2 1/1: [0x1(0x1) @ 0 fe:00 1 0]: rw-p /", 100);
	expect_error(text, SIZE, "T:2: ", "longer than");
	memset(text, 'x', SIZE);
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): nor is a trace */
	memcpy(text, "7 1.1 brk(NULL) = 0x123\n7 1.1 open(", 35);
	expect_error(text, SIZE, "T:2: ", "longer than");
	free(text);
}

static void garbage_lines_are_complaints_with_their_numbers(void **state)
{
	struct text x;

	(void)state;
	text_open(&x, "garbage before\n" GOOD "foo \x1b[31m bar\n" GOOD HEAD
		      "sched:sched_process_exit: comm=x pid=1 prio=1 group_dead=true 0\n"
		      "garbage after what could go on\n" GOOD HEAD
		      "PERF_RECORD_MMAP2 1/1: [0x1(0x1) @ 0 00:00 0 0]: rw-p //anon\nmore\n" GOOD);
	assert_int_equal(text_drain(&x), 0);
	assert_int_equal(trace_stats(x.trace)->bad_lines, 4);
	assert_int_equal(trace_stats(x.trace)->events, 6);
	assert_ptr_equal(strstr(trace_complaint(x.trace, 0), "T:1: "), trace_complaint(x.trace, 0));
	assert_string_equal(trace_complaint(x.trace, 1),
			    "T:3: no record of perf script: \"foo \\x1b[31m bar\"");
	assert_non_null(strstr(trace_complaint(x.trace, 2), "T:6: "));
	assert_non_null(strstr(trace_complaint(x.trace, 3), "T:9: "));
	assert_null(trace_complaint(x.trace, 4));
	text_close(&x);

	/* What would make sense as the end of the line before, and as the comm of the next. */
	text_open(&x, HEAD
		  "sched:sched_process_exit: comm=x pid=5 prio=1 group_dead=true 0\n"
		  "not a comm: too long pid=6 prio=1 group_dead=true 0\n"
		  "foo\n"
		  "                       7/7     [000]   442.342566: PERF_RECORD_LOST lost 1\n");
	assert_int_equal(text_drain(&x), 0);
	assert_int_equal(trace_stats(x.trace)->bad_lines, 2);
	assert_int_equal(trace_stats(x.trace)->events, 2);
	text_close(&x);

	text_open(&x, "7 1.1 brk(NULL) = 0\nwhat?\n");
	assert_int_equal(text_drain(&x), 0);
	assert_string_equal(trace_complaint(x.trace, 0), "T:2: no line of strace -ttt: \"what?\"");
	text_close(&x);
}

static void only_the_first_complaints_are_kept_and_all_are_counted(void **state)
{
	char text[4096] = GOOD;
	struct text x;

	(void)state;
	for (size_t i = 0, n = strlen(text); i < 100; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "garbage\n");
	text_open(&x, text);
	assert_int_equal(text_drain(&x), 0);
	assert_int_equal(trace_stats(x.trace)->bad_lines, 100);
	assert_non_null(trace_complaint(x.trace, TRACE_COMPLAINTS - 1));
	assert_null(trace_complaint(x.trace, TRACE_COMPLAINTS));
	text_close(&x);
}

/* Reads whatever it is to the end, looks at all there is to look at. => the last result */
static int read_all(const char *text, size_t n)
{
	struct trace_event ev;
	struct text x;
	int rc;

	if (text_open_n(&x, text, n) < 0) {
		assert_memory_equal(x.err, "T:", 2);
		text_close(&x);
		return -EINVAL;
	}
	while ((rc = trace_next(x.trace, &ev)) > 0) {
		char q[64];

		assert_in_range(ev.kind, 0, TRACE_NR_KINDS - 1);
		trace_quote(q, sizeof(q), ev.task_comm);
		trace_quote(q, sizeof(q), ev.name);
		if (ev.kind == TRACE_MMAP)
			trace_quote(q, sizeof(q), ev.mmap.filename);
		if (ev.kind == TRACE_COMM)
			trace_quote(q, sizeof(q), ev.comm.comm);
		if (ev.kind == TRACE_SYS_ENTER && ev.sys.path.n)
			trace_quote(q, sizeof(q), ev.sys.path);
	}

	const struct trace_stats *s = trace_stats(x.trace);

	if (rc < 0)
		assert_memory_equal(trace_error(x.trace), "T:", 2);
	if (!rc && trace_format(x.trace) == TRACE_PERF)
		assert_int_equal(s->lines, s->events + s->bad_lines + s->skipped + s->continued);
	if (!rc) {
		uint64_t lines = 0;

		for (size_t i = 0; i < n; i++)
			lines += text[i] == '\n';
		assert_int_equal(s->lines, lines);
	}
	text_close(&x);
	return rc;
}

static void a_cut_at_any_byte_is_an_error_unless_between_lines(void **state)
{
	static const char *const texts[] = { perf_text, strace_text };

	(void)state;
	for (int i = 0; i < 2; i++) {
		for (size_t n = 0; n < strlen(texts[i]); n++) {
			int rc = read_all(texts[i], n);

			if (!n || texts[i][n - 1] != '\n')
				assert_int_equal(rc, -EINVAL);
		}
		assert_int_equal(read_all(texts[i], strlen(texts[i])), 0);
	}
}

static void damaged_bytes_never_do_more_than_fail(void **state)
{
	static const char *const texts[] = { perf_text, strace_text };
	static const char alphabet[] = "\n\0 /:,()[]{}<>\"\\=-0x9fF|*~\xff";
	struct rng rng = { 1 };
	int failed = 0, passed = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		const char *text = texts[round & 1];
		size_t n = strlen(text);
		char *copy = malloc(n * 2);

		assert_non_null(copy);
		memcpy(copy, text, n);
		for (uint64_t k = 1 + rng_below(&rng, 4); k; k--) {
			size_t at = rng_below(&rng, n);
			size_t len = rng_below(&rng, n - at < 40 ? n - at : 40);

			switch (rng_below(&rng, 3)) {
			case 0:
				copy[at] = alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
				break;
			case 1:
				memmove(copy + at, copy + at + len, n - at - len);
				n -= len;
				break;
			default:
				if (n + len > strlen(text) * 2)
					break;
				memmove(copy + at + len, copy + at, n - at);
				n += len;
			}
		}
		if (read_all(copy, n) < 0)
			failed++;
		else
			passed++;
		free(copy);
	}
	/* Both outcomes are exercised. */
	assert_true(failed > 1000 && passed > 1000);
}

/* Two traces line by line, as if two writers had shared a file. */
static void interleaved_traces_are_told(void **state)
{
	struct text x;

	(void)state;
	text_open(&x, "               t  1/1  [001]   5.0: PERF_RECORD_LOST lost 1\n"
		      "               t  1/1  [001]   1.0: PERF_RECORD_LOST lost 1\n"
		      "               t  1/1  [001]   6.0: PERF_RECORD_LOST lost 1\n"
		      "               t  1/1  [001]   2.0: PERF_RECORD_LOST lost 1\n");
	assert_int_equal(text_drain(&x), 0);
	assert_int_equal(trace_stats(x.trace)->unordered, 2);
	text_close(&x);
	/* In the middle of a line */
	expect_error(GOOD HEAD "kmem:rss_stat: mm_id=1 " GOOD, sizeof(GOOD HEAD GOOD) + 22,
		     "T:2: ", "malformed kmem:rss_stat");
}

/* --- Files ------------------------------------------------------------------------------------ */

static char dir[] = "/tmp/test-trace-XXXXXX";

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, const char *bytes, size_t n)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static size_t read_file(const char *name, char *bytes, size_t size)
{
	FILE *f = fopen(path_of(name), "r");
	size_t n;

	assert_non_null(f);
	n = fread(bytes, 1, size, f);
	fclose(f);
	return n;
}

/* => false: there is no such program */
static bool pack(const char *program, const char *from, const char *to)
{
	char *argv[] = { (char *)(uintptr_t)program, "-c", NULL };
	posix_spawn_file_actions_t fa;
	int status, rc;
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, path_of(from), O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, path_of(to), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	rc = posix_spawnp(&pid, program, &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (rc)
		return false;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0;
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = { "plain", "packed", "cut" };

	(void)state;
	for (size_t i = 0; i < 3; i++)
		unlink(path_of(names[i]));
	return rmdir(dir);
}

static int drain_file(const char *name, char err[TRACE_ERR_MAX], uint64_t *events)
{
	struct trace_event ev;
	struct trace *t;
	int rc = trace_open(&t, path_of(name), err);

	*events = 0;
	if (rc)
		return rc;
	while ((rc = trace_next(t, &ev)) > 0)
		(*events)++;
	memcpy(err, trace_error(t), TRACE_ERR_MAX);
	trace_close(t);
	return rc;
}

static void packed_files_are_read_and_cut_ones_are_errors(void **state)
{
	static const char *const programs[] = { "gzip", "xz", "zstd" };
	enum {
		LINES = 40000
	};
	size_t size = LINES * sizeof(GOOD);
	char *text = malloc(size);
	char *packed = malloc(size);
	char err[TRACE_ERR_MAX];
	uint64_t events;
	size_t n = 0;

	(void)state;
	assert_true(text && packed);
	/* Numbers that differ, so that there is something left to cut when packed. */
	for (int i = 0; i < LINES; i++)
		n += (size_t)snprintf(text + n, size - n,
				      "t 1/1 [0] %d.0: PERF_RECORD_LOST lost %u\n", i,
				      (unsigned int)i * 2654435761u);
	write_file("plain", text, n);
	assert_int_equal(drain_file("plain", err, &events), 0);
	assert_int_equal(events, LINES);
	for (size_t i = 0; i < 3; i++) {
		if (!pack(programs[i], "plain", "packed"))
			continue;
		if (drain_file("packed", err, &events) < 0)
			fail_msg("%s: %s", programs[i], err);
		assert_int_equal(events, LINES);

		size_t m = read_file("packed", packed, size);

		write_file("cut", packed, m / 2);
		assert_true(drain_file("cut", err, &events) < 0);
		assert_non_null(strstr(err, "/cut:"));
		assert_non_null(strstr(err, programs[i]));
		packed[m / 2] = (char)~packed[m / 2];
		write_file("cut", packed, m);
		assert_true(drain_file("cut", err, &events) < 0);
	}
	free(text);
	free(packed);
}

static void a_packed_trace_may_be_closed_before_its_end(void **state)
{
	char err[TRACE_ERR_MAX];
	struct trace_event ev;
	struct trace *t;

	(void)state;
	/* Left by the test before: larger than a pipe holds. */
	if (!pack("gzip", "plain", "packed"))
		skip();
	assert_int_equal(trace_open(&t, path_of("packed"), err), 0);
	assert_int_equal(trace_next(t, &ev), 1);
	trace_close(t);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void files_that_cannot_be_opened_are_errors(void **state)
{
	char err[TRACE_ERR_MAX];
	struct trace *t = NULL;

	(void)state;
	assert_int_equal(trace_open(&t, path_of("nothing"), err), -ENOENT);
	assert_non_null(strstr(err, "nothing: No such file"));
	assert_int_equal(trace_open(&t, dir, err), -EISDIR);
	assert_null(t);
	write_file("cut", "PERFILE2", 8);
	assert_true(trace_open(&t, path_of("cut"), err) < 0);
	assert_non_null(strstr(err, "perf"));
	trace_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_trace_is_refused),
		cmocka_unit_test(fields_that_do_not_parse_are_errors),
		cmocka_unit_test(calls_of_strace_that_do_not_parse_are_errors),
		cmocka_unit_test(a_nul_byte_is_an_error),
		cmocka_unit_test(giant_lines_are_errors),
		cmocka_unit_test(garbage_lines_are_complaints_with_their_numbers),
		cmocka_unit_test(only_the_first_complaints_are_kept_and_all_are_counted),
		cmocka_unit_test(a_cut_at_any_byte_is_an_error_unless_between_lines),
		cmocka_unit_test(damaged_bytes_never_do_more_than_fail),
		cmocka_unit_test(interleaved_traces_are_told),
		cmocka_unit_test(packed_files_are_read_and_cut_ones_are_errors),
		cmocka_unit_test(a_packed_trace_may_be_closed_before_its_end),
		cmocka_unit_test(files_that_cannot_be_opened_are_errors),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
