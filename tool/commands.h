/* SPDX-License-Identifier: MIT */
/*
 * commands.h - the subcommands that are part of this program.
 *
 * Each one is a main() of its own: argv[0] is the name of the command, it answers --help, and returns
 * the exit status: 0 success, 1 what was checked failed, 2 bad usage or bad input.
 */
#ifndef ANONVM_TOOL_COMMANDS_H
#define ANONVM_TOOL_COMMANDS_H

enum exit_status {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

int cmd_record(int argc, char **argv);
int cmd_trace_dump(int argc, char **argv); /* for debugging; not in the help */

int cmd_run(int argc, char **argv);
int cmd_graph(int argc, char **argv);

int cmd_replay(int argc, char **argv);
int cmd_why(int argc, char **argv);
int cmd_diff(int argc, char **argv);

#endif
