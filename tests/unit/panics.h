/* SPDX-License-Identifier: MIT */
/* panics.h - "this ends in avm_port_panic()": tried in a child, which is told by its signal. */
#ifndef TEST_PANICS_H
#define TEST_PANICS_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static inline bool panics(void (*run)(void *), void *context)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		run(context);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

#endif
