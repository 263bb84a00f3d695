/* SPDX-License-Identifier: MIT */
/*
 * syscall.c - system calls. Those on memory hand the core what the user gave, whatever it is: every function of ops.h
 * checks its arguments, and its errors are those of Linux.
 */
#include "syscall.h"

#include "abi.h"
#include "glue.h"
#include "interrupt.h"
#include "process.h"
#include "world.h"

struct arguments {
	uint64_t a, b, c, d, e;
	const struct interrupt_frame *frame;
};

/* ---- processes ------------------------------------------------------------------------------------ */

static int64_t sys_exit(struct process *p, const struct arguments *args)
{
	(void)p;
	process_exit((int)(args->a & 0xff));
}

static int64_t sys_fork(struct process *p, const struct arguments *args)
{
	(void)p;
	return process_fork(args->frame);
}

static int64_t sys_thread(struct process *p, const struct arguments *args)
{
	(void)p;
	return process_thread(args->frame, args->a, args->b, args->c);
}

static int64_t sys_wait(struct process *p, const struct arguments *args)
{
	return process_wait(p, args->a);
}

static int64_t sys_getpid(struct process *p, const struct arguments *args)
{
	(void)args;
	return p->pid;
}

static int64_t sys_yield(struct process *p, const struct arguments *args)
{
	(void)p;
	(void)args;
	world_leave();
	thread_yield();
	world_enter();
	return 0;
}

/* As write(2): what could be read is written, and an error told only when nothing could. */
static int64_t sys_write(struct process *p, const struct arguments *args)
{
	uint64_t done = 0;

	while (done < args->b) {
		char text[256];
		uint64_t len = args->b - done < sizeof(text) ? args->b - done : sizeof(text);
		int64_t got = avm_copy_out(p->mm, text, args->a + done, len, 0);

		if (got <= 0)
			return done ? (int64_t)done : got;
		console_write(text, (size_t)got);
		done += (uint64_t)got;
	}
	return (int64_t)done;
}

/* ---- memory --------------------------------------------------------------------------------------- */

/* Addresses are below 2^47: as a result they are no errors. */
static int64_t address_or(int err, avm_addr_t addr)
{
	return err ? err : (int64_t)addr;
}

static int64_t sys_brk(struct process *p, const struct arguments *args)
{
	avm_addr_t end = 0;
	int err = avm_brk(p->mm, args->a, &end);

	return address_or(err, end);
}

/* Memory alone: this kernel has no files that a user could open. */
static int64_t sys_mmap(struct process *p, const struct arguments *args)
{
	const struct avm_mmap map = { .addr = args->a,
				      .len = args->b,
				      .prot = (uint32_t)args->c,
				      .flags = (uint32_t)args->d };
	avm_addr_t addr = 0;
	int err;

	if (!(map.flags & AVM_MAP_ANONYMOUS))
		return -AVM_EBADF;
	err = avm_mmap(p->mm, &map, &addr);
	return address_or(err, addr);
}

static int64_t sys_munmap(struct process *p, const struct arguments *args)
{
	return avm_munmap(p->mm, args->a, args->b);
}

static int64_t sys_mprotect(struct process *p, const struct arguments *args)
{
	return avm_mprotect(p->mm, args->a, args->b, (uint32_t)args->c);
}

static int64_t sys_mremap(struct process *p, const struct arguments *args)
{
	avm_addr_t addr = 0;
	int err = avm_mremap(p->mm, args->a, args->b, args->c, (uint32_t)args->d, args->e, &addr);

	return address_or(err, addr);
}

static int64_t sys_madvise(struct process *p, const struct arguments *args)
{
	return avm_madvise(p->mm, args->a, args->b, (enum avm_advice)args->c);
}

/* ---- experiments ---------------------------------------------------------------------------------- */

static int64_t sys_hibernate(struct process *p, const struct arguments *args)
{
	(void)args;
	return (int64_t)avm_shrink_all(p->mm->machine);
}

static void print_line(struct avm_sink *sink, const char *line)
{
	(void)sink;
	print("%s\n", line);
}

static int64_t sys_verify(struct process *p, const struct arguments *args)
{
	struct avm_sink sink = { .line = print_line };
	int64_t broken;

	(void)args;
	world_leave();
	world_stop();
	broken = avm_verify(p->mm->machine, AVM_VERIFY_ALL, &sink);
	world_go();
	world_enter();
	if (broken < 0)
		print("# the invariants could not be checked: %ld\n", broken);
	return broken;
}

static __attribute__((noinline)) void touch(volatile char *address)
{
	*address = 1;
}

static int64_t sys_oops(struct process *p, const struct arguments *args)
{
	(void)p;
	touch((volatile char *)(uintptr_t)args->a);
	return 0;
}

/* ---- the table ------------------------------------------------------------------------------------ */

static int64_t (*const table[NR_SYSCALLS])(struct process *p, const struct arguments *args) = {
	[SYS_EXIT] = sys_exit,	       [SYS_FORK] = sys_fork,		[SYS_WAIT] = sys_wait,
	[SYS_GETPID] = sys_getpid,     [SYS_YIELD] = sys_yield,		[SYS_WRITE] = sys_write,
	[SYS_BRK] = sys_brk,	       [SYS_MMAP] = sys_mmap,		[SYS_MUNMAP] = sys_munmap,
	[SYS_MPROTECT] = sys_mprotect, [SYS_MREMAP] = sys_mremap,	[SYS_MADVISE] = sys_madvise,
	[SYS_THREAD] = sys_thread,     [SYS_HIBERNATE] = sys_hibernate, [SYS_VERIFY] = sys_verify,
	[SYS_OOPS] = sys_oops,
};

void syscall(struct interrupt_frame *f)
{
	const struct arguments args = { f->rdi, f->rsi, f->rdx, f->r10, f->r8, f };

	if (f->rax >= NR_SYSCALLS) {
		f->rax = (uint64_t)-SYSCALL_ENOSYS;
		return;
	}
	world_enter();
	f->rax = (uint64_t)table[f->rax](process_current(), &args);
	world_leave();
}
