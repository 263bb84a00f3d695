/* SPDX-License-Identifier: MIT */
/* user.h - the C library of the programs: system calls, text, and checks. */
#ifndef USER_H
#define USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"
#include "anonvm/types.h"

#define PAGE 4096ul

int main(const char *arguments);

long system_call(long number, long a, long b, long c, long d, long e);

_Noreturn void exit(int status);
int fork(void);
/* A child in the same address space, which calls run(argument) on a stack that ends at `stack`. */
int thread(void (*run)(void *argument), void *argument, char *stack);
int wait(int *status);
int getpid(void);
void yield(void);
char *brk(char *end);

/* Private memory, readable and writable; the program ends when there is none. */
char *map(size_t bytes);
void unmap(char *addr, size_t bytes);

/* Memory that parent and children see the same, zeroed. */
void *map_shared(size_t bytes);

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The n-th number in the arguments, or `fallback`. */
unsigned long number_in(const char *arguments, unsigned n, unsigned long fallback);

/* Ends the program when it does not hold. */
#define CHECK(what) check(what, #what, __FILE__, __LINE__)
void check(bool good, const char *what, const char *file, int line);

/* Waits for n children, each of which must have exited with 0. */
void wait_for(unsigned n);

/* A page full of words that depend on the page and on `seed`, and whether it still is. */
void fill_page(char *page, unsigned long seed);
bool page_is(const char *page, unsigned long seed);

struct random {
	uint64_t state;
};
uint64_t next_random(struct random *r);

#endif
