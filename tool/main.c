/* SPDX-License-Identifier: MIT */
/*
 * main.c - `anonvm COMMAND ...`: finds the command and hands over to it.
 *
 * A command is either a function of this program (the table below) or a program of its own,
 * `anonvm-COMMAND`, as with git. Programs are looked for in $ANONVM_EXEC_PATH, then in
 * libexec/anonvm beside this program (a build tree) and beside its folder (an installation).
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "anonvm/anonvm.h"
#include "commands.h"
#include "sim.h"

#define PROGRAM_PREFIX "anonvm-"

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary; /* NULL: not in the help */
};

/* In the order of `anonvm --help`. */
static const struct command commands[] = {
	{ "run", cmd_run, "run scripts on the simulated machine and check them" },
	{ "graph", cmd_graph, "draw what a script makes of the families" },
	{ "record", cmd_record, "record what a program does to its memory" },
	{ "replay", cmd_replay, "run a recorded program again, and compare" },
	{ "why", cmd_why, "why a program has so many VMAs" },
	{ "diff", cmd_diff, "random programs here and on the kernel, compared" },
	{ "trace-dump", cmd_trace_dump, NULL },
	{ NULL, NULL, NULL },
};

/* What programs of ours, which come beside this one, are for. */
static const char *program_summary(const char *name)
{
	return !strcmp(name, "bench")  ? "measure the core, beside the kernel beneath" :
	       !strcmp(name, "check")  ? "the core in threads, under a scheduler of our own" :
	       !strcmp(name, "stress") ? "the core in real threads, for as long as you like" :
					 NULL;
}

/* ---- programs beside this one ------------------------------------------------------------------ */

#define MAX_EXEC_DIRS 3

struct exec_dirs {
	char dir[MAX_EXEC_DIRS][PATH_MAX];
	int count;
};

static void add_dir(struct exec_dirs *dirs, const char *base, const char *rest)
{
	int n = snprintf(dirs->dir[dirs->count], PATH_MAX, "%s%s", base, rest);

	if (n > 0 && n < PATH_MAX)
		dirs->count++;
}

static void find_exec_dirs(struct exec_dirs *dirs)
{
	const char *env = getenv("ANONVM_EXEC_PATH");
	char self[PATH_MAX];
	ssize_t n;
	char *slash;

	dirs->count = 0;
	if (env && *env)
		add_dir(dirs, env, "");
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return;
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return;
	*slash = '\0';
	add_dir(dirs, self, "/libexec/anonvm");
	add_dir(dirs, self, "/../libexec/anonvm");
}

/* Does not return when the program exists and can be run. */
static void exec_program(const struct exec_dirs *dirs, char **argv)
{
	for (int i = 0; i < dirs->count; i++) {
		char path[PATH_MAX + NAME_MAX];
		int n = snprintf(path, sizeof(path), "%s/" PROGRAM_PREFIX "%s", dirs->dir[i],
				 argv[0]);

		if (n < 0 || (size_t)n >= sizeof(path) || access(path, X_OK))
			continue;
		execv(path, argv);
		fprintf(stderr, "anonvm: %s: %s\n", path, strerror(errno));
		exit(EXIT_USAGE);
	}
}

static int is_program(const struct dirent *entry)
{
	return !strncmp(entry->d_name, PROGRAM_PREFIX, strlen(PROGRAM_PREFIX));
}

static void list_programs(const struct exec_dirs *dirs)
{
	for (int i = 0; i < dirs->count; i++) {
		struct dirent **entries;
		int n = scandir(dirs->dir[i], &entries, is_program, alphasort);

		if (n < 0)
			continue;
		for (int k = 0; k < n; k++) {
			const char *name = entries[k]->d_name + strlen(PROGRAM_PREFIX);
			const char *summary = program_summary(name);

			if (summary)
				printf("  %-8s  %s\n", name, summary);
			else
				printf("  %-8s  (%s/%s)\n", name, dirs->dir[i], entries[k]->d_name);
			free(entries[k]);
		}
		free(entries);
	}
}

/* ---- what this program answers itself ---------------------------------------------------------- */

/* What depends on libraries that the build may have lacked. */
static const struct feature {
	const char *name;
	const char *without; /* why it is disabled, and what that means */
	bool json;
	enum sim_swap_kind swap; /* if not json */
} features[] = {
	{ "json", "built without jansson: --json is refused", .json = true },
	{ "zstd", "built without libzstd: no swap compressed with it", .swap = SIM_SWAP_ZSTD },
	{ "lz4", "built without liblz4: no swap compressed with it", .swap = SIM_SWAP_LZ4 },
};
#define NR_FEATURES (sizeof(features) / sizeof(features[0]))

static bool is_there(const struct feature *f)
{
#if AVM_HAVE_JANSSON
	const bool json = true;
#else
	const bool json = false;
#endif
	return f->json ? json : sim_swap_has(f->swap);
}

static int print_version(void)
{
	const char *before = "features: ";

	printf("anonvm " AVM_VERSION " (" AVM_BUILD ")\n");
	for (size_t i = 0; i < NR_FEATURES; i++) {
		if (!is_there(&features[i]))
			continue;
		printf("%s%s", before, features[i].name);
		before = " ";
	}
	if (*before == ' ')
		printf("\n");
	for (size_t i = 0; i < NR_FEATURES; i++) {
		if (!is_there(&features[i]))
			printf("disabled: %s (%s)\n", features[i].name, features[i].without);
	}
	return EXIT_OK;
}

static int print_help(const struct exec_dirs *dirs)
{
	printf("usage: anonvm COMMAND [ARGUMENT...]\n"
	       "       anonvm COMMAND --help\n"
	       "       anonvm --version\n"
	       "\n"
	       "commands:\n");
	for (const struct command *c = commands; c->name; c++) {
		if (c->summary)
			printf("  %-8s  %s\n", c->name, c->summary);
	}
	list_programs(dirs);
	printf("\n"
	       "exit status: 0 success, 1 what was checked failed, 2 bad usage or bad input\n");
	return EXIT_OK;
}

/* A file of the checker's begins with what was found; no script does. */
static bool is_finding(const char *path)
{
	char line[256] = "";
	struct stat st;
	FILE *in = stat(path, &st) || !S_ISREG(st.st_mode) ? NULL : fopen(path, "r");

	while (in && fgets(line, sizeof(line), in) && (*line == '#' || *line == '\n'))
		;
	if (in)
		fclose(in);
	return !strncmp(line, "finding ", strlen("finding "));
}

/* `anonvm run FILE` runs that again, too, where the checker is there. */
static void exec_replay(const struct exec_dirs *dirs, char *path)
{
	char check[] = "check", replay[] = "--replay";
	char *argv[] = { check, replay, path, NULL };

	exec_program(dirs, argv);
}

static int dispatch(const struct exec_dirs *dirs, int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[0], "run") && is_finding(argv[1]))
		exec_replay(dirs, argv[1]);
	for (const struct command *c = commands; c->name; c++) {
		if (!strcmp(c->name, argv[0]))
			return c->run(argc, argv);
	}
	if (!strchr(argv[0], '/'))
		exec_program(dirs, argv);
	fprintf(stderr, "anonvm: %s: no such command; see 'anonvm --help'\n", argv[0]);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct exec_dirs dirs;
	const char *arg = argc > 1 ? argv[1] : NULL;

	find_exec_dirs(&dirs);
	if (!arg) {
		fprintf(stderr, "anonvm: no command given; see 'anonvm --help'\n");
		return EXIT_USAGE;
	}
	if (!strcmp(arg, "--version") || !strcmp(arg, "version"))
		return print_version();
	if (!strcmp(arg, "--help") || !strcmp(arg, "-h"))
		return print_help(&dirs);
	if (!strcmp(arg, "help")) {
		char help[] = "--help";
		char *ask[] = { argc > 2 ? argv[2] : NULL, help, NULL };

		return ask[0] ? dispatch(&dirs, 2, ask) : print_help(&dirs);
	}
	return dispatch(&dirs, argc - 1, argv + 1);
}
