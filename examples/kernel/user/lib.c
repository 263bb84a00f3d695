/* SPDX-License-Identifier: MIT */
/* lib.c - see user.h. */
#include <stdarg.h>

#include "printf.h"
#include "user.h"

/* ---- system calls ---------------------------------------------------------------------------------- */

void start(const char *arguments);
void start(const char *arguments)
{
	exit(main(arguments));
}

_Noreturn void exit(int status)
{
	for (;;)
		system_call(SYS_EXIT, status, 0, 0, 0, 0);
}

int fork(void)
{
	return (int)system_call(SYS_FORK, 0, 0, 0, 0, 0);
}

struct thread_start {
	void (*run)(void *argument);
	void *argument;
};

static void thread_begin(struct thread_start *s)
{
	s->run(s->argument);
	exit(0);
}

int thread(void (*run)(void *argument), void *argument, char *stack)
{
	struct thread_start *s = (struct thread_start *)(void *)stack - 1;

	*s = (struct thread_start){ run, argument };
	/* as after a call: the stack would be aligned with the address of return */
	return (int)system_call(SYS_THREAD, (long)thread_begin, (long)s - 8, (long)s, 0, 0);
}

int wait(int *status)
{
	return (int)system_call(SYS_WAIT, (long)status, 0, 0, 0, 0);
}

int getpid(void)
{
	return (int)system_call(SYS_GETPID, 0, 0, 0, 0, 0);
}

void yield(void)
{
	system_call(SYS_YIELD, 0, 0, 0, 0, 0);
}

char *brk(char *end)
{
	return (char *)system_call(SYS_BRK, (long)end, 0, 0, 0, 0);
}

static long map_memory(size_t bytes, long kind)
{
	long addr = system_call(SYS_MMAP, 0, (long)bytes, AVM_PROT_READ | AVM_PROT_WRITE,
				kind | AVM_MAP_ANONYMOUS, 0);

	CHECK(addr > 0);
	return addr;
}

char *map(size_t bytes)
{
	return (char *)map_memory(bytes, AVM_MAP_PRIVATE);
}

void *map_shared(size_t bytes)
{
	return (void *)map_memory(bytes, AVM_MAP_SHARED);
}

void unmap(char *addr, size_t bytes)
{
	CHECK(!system_call(SYS_MUNMAP, (long)addr, (long)bytes, 0, 0, 0));
}

/* ---- text ------------------------------------------------------------------------------------------ */

struct line {
	char text[160];
	size_t len;
};

static void put(void *context, char c)
{
	struct line *l = context;

	if (l->len < sizeof(l->text))
		l->text[l->len++] = c;
}

/* One system call, so that lines of several processes stay whole. */
void say(const char *format, ...)
{
	struct line l = { .len = 0 };
	va_list args;

	va_start(args, format);
	format_text(put, &l, format, args);
	va_end(args);
	system_call(SYS_WRITE, (long)l.text, (long)l.len, 0, 0, 0);
}

unsigned long number_in(const char *arguments, unsigned n, unsigned long fallback)
{
	unsigned long value = 0;

	for (; n && *arguments; arguments++)
		n -= *arguments == ' ';
	if (*arguments < '0' || *arguments > '9')
		return fallback;
	for (; *arguments >= '0' && *arguments <= '9'; arguments++)
		value = 10 * value + (unsigned long)(*arguments - '0');
	return value;
}

/* ---- checks ---------------------------------------------------------------------------------------- */

void check(bool good, const char *what, const char *file, int line)
{
	if (good)
		return;
	say("# process %d: %s:%d: not so: %s\n", getpid(), file, line, what);
	exit(1);
}

void wait_for(unsigned n)
{
	while (n--) {
		int status = -1;

		CHECK(wait(&status) > 0);
		CHECK(!status);
	}
}

void fill_page(char *page, unsigned long seed)
{
	uint64_t *words = (uint64_t *)(void *)page;

	for (size_t i = 0; i < PAGE / sizeof(*words); i++)
		words[i] = (seed + i) * 0x9e3779b97f4a7c15ull;
}

bool page_is(const char *page, unsigned long seed)
{
	const uint64_t *words = (const uint64_t *)(const void *)page;

	for (size_t i = 0; i < PAGE / sizeof(*words); i++) {
		if (words[i] != (seed + i) * 0x9e3779b97f4a7c15ull)
			return false;
	}
	return true;
}

/* xorshift */
uint64_t next_random(struct random *r)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return r->state;
}
