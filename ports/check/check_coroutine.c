/* SPDX-License-Identifier: MIT */
/*
 * check_coroutine.c - stacks, and switching between them. By hand where that is known how: the C library's way asks the
 * kernel for the signal mask at each switch.
 */
#include "check_coroutine.h"

#include <stdint.h>

#include "check_region.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define FIBER_LEAVE(from, to, last) \
	__sanitizer_start_switch_fiber((last) ? NULL : &(from)->fake_stack, (to)->stack, (to)->size)
#define FIBER_ENTER(c) __sanitizer_finish_switch_fiber((c)->fake_stack, NULL, NULL)
#else
#define FIBER_LEAVE(from, to, last) ((void)(last))
#define FIBER_ENTER(c) ((void)(c))
#endif

bool check_coroutine_init(struct check_coroutine *c)
{
	*c = (struct check_coroutine){ 0 };
	c->stack = check_region_stack(&c->size);
	return c->stack;
}

void check_coroutine_fini(struct check_coroutine *c)
{
	if (c->stack)
		check_region_stack_free(c->stack);
}

#if defined(__x86_64__)

/*
 * Saves what a call must leave alone on the stack, and the stack pointer in *save; takes them from the other stack. A new
 * stack looks as if it had switched away at the start of its first function.
 */
void check_switch_stacks(void **save, void *to);
__asm__(".text\n"
	".globl check_switch_stacks\n"
	".type check_switch_stacks, @function\n"
	"check_switch_stacks:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size check_switch_stacks, .-check_switch_stacks\n");

static struct check_coroutine *starting;

static void first(void)
{
	struct check_coroutine *c = starting;

	FIBER_ENTER(c);
	c->body(c->argument);
	__builtin_trap();
}

void check_coroutine_start(struct check_coroutine *c, void (*body)(void *argument), void *argument)
{
	uintptr_t *sp = (uintptr_t *)(void *)((char *)c->stack + c->size);

	c->body = body;
	c->argument = argument;
	/* Where a function is entered the stack is 8 bytes off a multiple of 16. */
	*--sp = 0;
	*--sp = (uintptr_t)first;
	for (int i = 0; i < 6; i++)
		*--sp = 0;
	c->sp = sp;
	c->fake_stack = NULL;
}

void check_coroutine_switch(struct check_coroutine *from, struct check_coroutine *to, bool last)
{
	starting = to;
	FIBER_LEAVE(from, to, last);
	check_switch_stacks(&from->sp, to->sp);
	FIBER_ENTER(from);
}

#else

#include <stdlib.h>
#include <ucontext.h>

static struct check_coroutine *starting;

static void first(void)
{
	struct check_coroutine *c = starting;

	FIBER_ENTER(c);
	c->body(c->argument);
	abort();
}

static ucontext_t *context_of(struct check_coroutine *c)
{
	if (!c->sp)
		c->sp = calloc(1, sizeof(ucontext_t));
	return c->sp;
}

void check_coroutine_start(struct check_coroutine *c, void (*body)(void *argument), void *argument)
{
	ucontext_t *u = context_of(c);

	c->body = body;
	c->argument = argument;
	getcontext(u);
	u->uc_stack.ss_sp = c->stack;
	u->uc_stack.ss_size = c->size;
	u->uc_link = NULL;
	makecontext(u, first, 0);
}

void check_coroutine_switch(struct check_coroutine *from, struct check_coroutine *to, bool last)
{
	starting = to;
	FIBER_LEAVE(from, to, last);
	swapcontext(context_of(from), context_of(to));
	FIBER_ENTER(from);
}

#endif
