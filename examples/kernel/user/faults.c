/* SPDX-License-Identifier: MIT */
/* faults.c - everything that a program can do wrong by itself: it gets its signal, and nobody else notices. */
#include "user.h"

#define KERNEL 0xffffffff80100000ul
#define DIRECT 0xffff800000100000ul
#define NOT_CANONICAL 0x0000900000000000ul

static const char constant[PAGE] = { 1 };
static volatile int zero;

static void read_at(unsigned long addr)
{
	(void)*(volatile char *)addr;
}

static void write_at(unsigned long addr)
{
	*(volatile char *)addr = 1;
}

static void jump_to(unsigned long addr)
{
	((void (*)(void))addr)();
}

/* A child does it; `signal` ends it. */
static void expect(int signal, void (*what)(unsigned long), unsigned long addr)
{
	int status = -1, pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		what(addr);
		exit(0);
	}
	CHECK(wait(&status) == pid);
	if (status != STATUS_SIGNAL + signal)
		say("# at %lx: status %x, not signal %d\n", addr, (unsigned)status, signal);
	CHECK(status == STATUS_SIGNAL + signal);
}

static void addresses(void)
{
	static const unsigned long bad[] = { 0,
					     8,
					     PAGE,
					     KERNEL,
					     DIRECT,
					     NOT_CANONICAL,
					     0x7ffffffff000,
					     0x7fffffffffff,
					     0x800000000000,
					     ~0ul,
					     1ul << 63,
					     0xfee00000 };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		expect(SIGNAL_SEGV, read_at, bad[i]);
		expect(SIGNAL_SEGV, write_at, bad[i]);
		expect(SIGNAL_SEGV, jump_to, bad[i]);
	}
}

static void protections(void)
{
	char *p = map(3 * PAGE);

	p[0] = '\xc3'; /* ret */
	expect(SIGNAL_SEGV, jump_to, (unsigned long)p);
	expect(SIGNAL_SEGV, write_at, (unsigned long)constant);
	expect(SIGNAL_SEGV, write_at, (unsigned long)&addresses);
	CHECK(!system_call(SYS_MPROTECT, (long)p, PAGE, AVM_PROT_READ, 0, 0));
	expect(SIGNAL_SEGV, write_at, (unsigned long)p);
	CHECK(!system_call(SYS_MPROTECT, (long)p, PAGE, AVM_PROT_NONE, 0, 0));
	expect(SIGNAL_SEGV, read_at, (unsigned long)p);
	CHECK(!system_call(SYS_MPROTECT, (long)p, PAGE, AVM_PROT_READ | AVM_PROT_EXEC, 0, 0));
	jump_to((unsigned long)p);
	unmap(p, 3 * PAGE);
	expect(SIGNAL_SEGV, read_at, (unsigned long)p);
}

/* ---- instructions ------------------------------------------------------------------------------------ */

static void divide(unsigned long n)
{
	zero = (int)n / zero;
}

static void undefined(unsigned long unused)
{
	(void)unused;
	__asm__ volatile("ud2");
}

static void breakpoint(unsigned long unused)
{
	(void)unused;
	__asm__ volatile("int3");
}

/* Single steps: the flag that asks for them. */
static void trap(unsigned long unused)
{
	(void)unused;
	__asm__ volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\tnop" : : : "memory", "cc");
}

/* Its registers would have to be saved: there is none. */
static void vector_unit(unsigned long unused)
{
	(void)unused;
	__asm__ volatile("xorps %xmm0, %xmm0");
}

static void halt(unsigned long unused)
{
	(void)unused;
	__asm__ volatile("hlt");
}

static void interrupts_off(unsigned long unused)
{
	(void)unused;
	__asm__ volatile("cli");
}

static void device(unsigned long port)
{
	__asm__ volatile("outb %%al, %%dx" : : "a"(0), "d"(port));
}

static void load_tables(unsigned long root)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(root));
}

static void false_interrupt(unsigned long unused)
{
	(void)unused;
	__asm__ volatile("int $48");
}

static void bad_stack(unsigned long addr)
{
	__asm__ volatile("mov %0, %%rsp\n\tpush %%rax" : : "r"(addr) : "memory");
}

static void syscall_instruction(unsigned long unused)
{
	(void)unused;
	__asm__ volatile("syscall" : : : "rcx", "r11", "memory");
}

static __attribute__((noinline)) int recurse(int n)
{
	volatile char room[PAGE];

	room[0] = (char)n;
	return n >= 0 ? recurse(n + 1) + room[0] : 0;
}

/* Down to the limit of a stack. */
static void overflow(unsigned long unused)
{
	(void)unused;
	recurse(0);
}

static void instructions(void)
{
	expect(SIGNAL_FPE, divide, 7);
	expect(SIGNAL_ILL, undefined, 0);
	expect(SIGNAL_ILL, vector_unit, 0);
	expect(SIGNAL_ILL, syscall_instruction, 0);
	expect(SIGNAL_TRAP, breakpoint, 0);
	expect(SIGNAL_TRAP, trap, 0);
	expect(SIGNAL_SEGV, halt, 0);
	expect(SIGNAL_SEGV, interrupts_off, 0);
	expect(SIGNAL_SEGV, device, 0xf4);
	expect(SIGNAL_SEGV, load_tables, 0);
	expect(SIGNAL_SEGV, false_interrupt, 0);
	expect(SIGNAL_SEGV, bad_stack, 64);
	expect(SIGNAL_SEGV, bad_stack, KERNEL);
	expect(SIGNAL_SEGV, bad_stack, NOT_CANONICAL);
	expect(SIGNAL_SEGV, overflow, 0);
}

static void at_random(unsigned n)
{
	struct random r = { 4711 };

	while (n--) {
		unsigned long addr = next_random(&r) >> next_random(&r) % 64;

		/* what is mapped, or would be the stack */
		if (addr - 0x400000 < 0x100000 || addr - 0x7f0000000000 < 0x1000000000)
			continue;
		expect(SIGNAL_SEGV, n % 2 ? read_at : write_at, addr);
	}
}

int main(const char *arguments)
{
	addresses();
	protections();
	instructions();
	at_random((unsigned)number_in(arguments, 0, 100));
	return 0;
}
