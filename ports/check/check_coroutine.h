/* SPDX-License-Identifier: MIT */
/* check_coroutine.h - stacks, and switching between them. */
#ifndef CHECK_COROUTINE_H
#define CHECK_COROUTINE_H

#include <stdbool.h>
#include <stddef.h>

struct check_coroutine {
	void *sp; /* while it does not run */
	void *stack;
	size_t size;
	void (*body)(void *argument);
	void *argument;
	void *fake_stack; /* of the address sanitizer */
};

/* Maps a stack once; it is used again and again. */
bool check_coroutine_init(struct check_coroutine *c);
void check_coroutine_fini(struct check_coroutine *c);
/* The next switch to it calls body(argument), which must not return: it switches away for good. */
void check_coroutine_start(struct check_coroutine *c, void (*body)(void *argument), void *argument);
/* Leaves `from` as it is and goes on with `to`. `last`: from will not be gone on with. */
void check_coroutine_switch(struct check_coroutine *from, struct check_coroutine *to, bool last);

#endif
