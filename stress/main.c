/* SPDX-License-Identifier: MIT */
/* main.c - `anonvm stress`: the command line. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stress.h"

enum exit_status {
	EXIT_FOUND = 1,
	EXIT_USAGE = 2,
};

static const char help[] =
	"usage: anonvm stress [OPTION...]\n"
	"\n"
	"Runs the core in real threads: random operations in many address spaces on a machine that has too little\n"
	"memory for them, with reclaim, merging and compaction beside. Looks for wrong contents, broken invariants,\n"
	"stale translations, deadlocks and leaks. docs/threads.md says how.\n"
	"\n"
	"  --threads N      1 to 32 (default 4)\n"
	"  --processes N    1 to 64 (default 8)\n"
	"  --seconds S      (default 10, if no --operations)\n"
	"  --operations N   of each thread, instead\n"
	"  --memory P       per cent of what the processes would like to have, 10 to 200 (default 25)\n"
	"  --seed N         (default: from the clock)\n"
	"  --verify MS      milliseconds from one look at everything to the next (default 1000)\n"
	"  --yields N       one lock operation in N gives the processor away (default 1000; 0: none)\n"
	"  --interrupt N    one wait in N that can be given up is (default 50; 0: none)\n"
	"  --fail N         one allocation in N fails (default 0: none)\n"
	"  --patience S     seconds without any progress that are a failure (default 10)\n"
	"  --family NAME    reuse (default), chain or flat\n"
	"  --without NAME   no such operation (of the table that is printed; not load), or nothing of that beside: reclaim,\n"
	"                   merging, compaction; may be given again\n"
	"  --scale          instead: what two threads that fault get done, beside one, and beside one without locks\n"
	"  --quiet          one line\n"
	"  --help           this text\n"
	"\n"
	"exit status: 0 nothing found, 1 a violation, 2 bad usage\n";

static bool bad(const char *option, const char *what)
{
	fprintf(stderr, "anonvm: stress: --%s: '%s'; see 'anonvm stress --help'\n", option, what);
	return false;
}

static bool parse_number(const char *name, const char *text, uint64_t least, uint64_t most,
			 uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	return errno || end == text || *end || *text == '-' || *out < least || *out > most ?
		       bad(name, text) :
		       true;
}

static bool parse_family(const char *text, struct options *o)
{
	static const char *const names[] = { [AVM_FAMILY_REUSE] = "reuse",
					     [AVM_FAMILY_CHAIN] = "chain",
					     [AVM_FAMILY_FLAT] = "flat" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(names[i], text)) {
			o->family = (enum avm_family_policy)i;
			return true;
		}
	}
	return bad("family", text);
}

/* An operation, or what goes on beside. */
static bool parse_without(const char *text, struct options *o)
{
	static const char *const beside[] = { "reclaim", "merging", "compaction" };

	for (unsigned i = OP_LOAD + 1; i < NR_OPS; i++) {
		if (!strcmp(op_names[i], text)) {
			o->without |= UINT32_C(1) << i;
			return true;
		}
	}
	for (unsigned i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
		if (!strcmp(beside[i], text)) {
			o->beside &= ~(1u << i);
			return true;
		}
	}
	return bad("without", text);
}

static bool parse_small(const char *name, unsigned least, unsigned most, uint32_t *out)
{
	uint64_t n;

	if (!parse_number(name, optarg, least, most, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool parse_option(int c, struct options *o)
{
	switch (c) {
	case 't':
		return parse_small("threads", 1, MAX_THREADS, &o->threads);
	case 'p':
		return parse_small("processes", 1, MAX_PROCESSES, &o->processes);
	case 's':
		return parse_number("seconds", optarg, 1, 10000000, &o->seconds);
	case 'o':
		return parse_number("operations", optarg, 1, UINT64_MAX, &o->operations);
	case 'm':
		return parse_small("memory", 10, 200, &o->memory);
	case 'S':
		return parse_number("seed", optarg, 0, UINT64_MAX, &o->seed);
	case 'v':
		return parse_small("verify", 10, 3600000, &o->every);
	case 'y':
		return parse_small("yields", 0, UINT32_MAX, &o->yields);
	case 'i':
		return parse_small("interrupt", 0, UINT32_MAX, &o->interrupted);
	case 'f':
		return parse_small("fail", 0, UINT32_MAX, &o->allocs);
	case 'P':
		return parse_small("patience", 1, 3600, &o->patience);
	case 'F':
		return parse_family(optarg, o);
	case 'w':
		return parse_without(optarg, o);
	case 'C':
		o->scale = true;
		return true;
	case 'q':
		o->quiet = true;
		return true;
	case 'h':
		o->help = true;
		return true;
	default:
		fprintf(stderr, "see 'anonvm stress --help'\n");
		return false;
	}
}

static bool parse_options(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{ "threads", required_argument, NULL, 't' },
		{ "processes", required_argument, NULL, 'p' },
		{ "seconds", required_argument, NULL, 's' },
		{ "operations", required_argument, NULL, 'o' },
		{ "memory", required_argument, NULL, 'm' },
		{ "seed", required_argument, NULL, 'S' },
		{ "verify", required_argument, NULL, 'v' },
		{ "yields", required_argument, NULL, 'y' },
		{ "interrupt", required_argument, NULL, 'i' },
		{ "fail", required_argument, NULL, 'f' },
		{ "patience", required_argument, NULL, 'P' },
		{ "family", required_argument, NULL, 'F' },
		{ "without", required_argument, NULL, 'w' },
		{ "scale", no_argument, NULL, 'C' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (!parse_option(c, o))
			return false;
	}
	if (optind < argc) {
		fprintf(stderr, "anonvm: stress: '%s' is no option; see 'anonvm stress --help'\n",
			argv[optind]);
		return false;
	}
	return true;
}

/* The programs beside this one. Exit status of the last. */
static int run_beside(const char *name)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;
	int status;

	if (n < 0)
		return EXIT_FOUND;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash || (size_t)(slash + 1 - path) + strlen(name) >= sizeof(path))
		return EXIT_FOUND;
	memcpy(slash + 1, name, strlen(name) + 1);
	fflush(stdout);
	switch (fork()) {
	case -1:
		break;
	case 0:
		execl(path, name, (char *)NULL);
		fprintf(stderr, "anonvm: stress: %s: %s (built by: make scale)\n", path,
			strerror(errno));
		_exit(EXIT_FOUND);
	default:
		return wait(&status) < 0 || status ? EXIT_FOUND : 0;
	}
	return EXIT_FOUND;
}

int main(int argc, char **argv)
{
	struct options o = { .threads = 4,
			     .processes = 8,
			     .seconds = 10,
			     .memory = 25,
			     .seed = (uint64_t)time(NULL),
			     .every = 1000,
			     .yields = 1000,
			     .interrupted = 50,
			     .patience = 10,
			     .beside = SMP_RECLAIM | SMP_KSM | SMP_COMPACT };

	if (!parse_options(argc, argv, &o))
		return EXIT_USAGE;
	if (o.help) {
		fputs(help, stdout);
		return 0;
	}
	if (o.scale)
		return run_beside("stress-scale") | run_beside("stress-scale-unlocked");
	return stress_run(&o) ? EXIT_FOUND : 0;
}
