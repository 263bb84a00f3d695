/* SPDX-License-Identifier: MIT */
/* process.c - see process.h. The kernel itself is the first process, without an address space; orphans become its. */
#include "process.h"

#include "abi.h"
#include "avm_arch.h"
#include "interrupt.h"
#include "program.h"
#include "world.h"

#define CONTAINER(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define STACK_LIMIT (8ull << 20)

static struct spinlock lock; /* covers the family of each process */
static struct process the_kernel = { .name = "kernel" };
static _Atomic int last_pid;

_Static_assert(sizeof(struct process) <= 4096, "a process is a page of the pool");

void enter_user(struct interrupt_frame *frame);

struct process *process_current(void)
{
	return thread_current()->process;
}

/* ---- life --------------------------------------------------------------------------------------- */

static void put(struct process *p)
{
	if (atomic_fetch_sub(&p->refs, 1) == 1)
		pool_free(&kernel.objects, physical(p) >> 12, 0);
}

static void mm_released(struct avm_mm *mm)
{
	put(CONTAINER(mm, struct process, own));
}

/* Without a limit, every address below the stack would be one that it may grow to. A child has its parent's limits. */
static struct avm_mm_config mm_config(struct process *p)
{
	static struct avm_limits limits = { .address_space = AVM_NO_LIMIT,
					    .data = AVM_NO_LIMIT,
					    .stack = STACK_LIMIT,
					    .locked = AVM_NO_LIMIT };

	return (struct avm_mm_config){ .context = &p->space,
				       .release = mm_released,
				       .limits = &limits };
}

/* What a process was doing when it came into the kernel: the top of its stack there. */
static struct interrupt_frame *user_frame(struct thread *t)
{
	return (struct interrupt_frame *)(uintptr_t)thread_stack_top(t) - 1;
}

static void user_thread(void *unused)
{
	(void)unused;
	irq_off();
	enter_user(user_frame(thread_current()));
}

/* Without an address space, and not yet its parent's child. NULL: no memory. */
static struct process *make(const char *name)
{
	uint64_t page = pool_alloc(&kernel.objects, 0);
	struct process *p;

	if (page == POOL_NONE)
		return NULL;
	p = direct_map(page << 12);
	*p = (struct process){ .name = name, .refs = 1 };
	p->thread = thread_create(user_thread, NULL);
	if (!p->thread) {
		put(p);
		return NULL;
	}
	return p;
}

static void unmake(struct process *p)
{
	thread_free(p->thread);
	put(p);
}

/* It has its address space: it becomes visible, and runs as the frame says. */
static int start(struct process *p, struct process *parent, const struct interrupt_frame *f)
{
	int pid = p->pid = atomic_fetch_add(&last_pid, 1) + 1;
	uintptr_t flags;

	*user_frame(p->thread) = *f;
	p->thread->mm = p->mm;
	p->thread->process = p;
	p->refs = p->mm == &p->own ? 2 : 1;
	flags = spin_lock(&lock);
	p->parent = parent;
	p->sibling = parent->children;
	parent->children = p;
	spin_unlock(&lock, flags);
	thread_start(p->thread);
	return pid;
}

int process_fork(const struct interrupt_frame *f)
{
	struct process *parent = process_current();
	struct process *child = make(parent->name);
	struct interrupt_frame frame = *f;
	struct avm_mm_config config;
	int err;

	if (!child)
		return -AVM_ENOMEM;
	config = mm_config(child);
	child->mm = &child->own;
	err = avm_mm_fork(parent->mm, child->mm, &config);
	if (err) {
		unmake(child);
		return err;
	}
	frame.rax = 0;
	return start(child, parent, &frame);
}

int process_thread(const struct interrupt_frame *f, uint64_t entry, uint64_t stack,
		   uint64_t argument)
{
	struct process *self = process_current(), *p;
	struct interrupt_frame frame = *f;

	/* The kernel itself would fault on the way to an address that is none. */
	if (entry >= AVM_ARCH_TASK_SIZE || stack >= AVM_ARCH_TASK_SIZE)
		return -AVM_EFAULT;
	p = make(self->name);
	if (!p)
		return -AVM_ENOMEM;
	avm_mm_get(self->mm);
	p->mm = self->mm;
	frame.rip = entry;
	frame.rsp = stack;
	frame.rdi = argument;
	frame.rbp = 0;
	return start(p, self, &frame);
}

/* ---- death -------------------------------------------------------------------------------------- */

static void wake_parent(struct process *parent)
{
	atomic_fetch_add(&parent->child_events, 1);
	thread_wake(&parent->child_events);
}

/* Its children become the kernel's. => lock */
static void leave_orphans(struct process *p)
{
	while (p->children) {
		struct process *child = p->children;

		p->children = child->sibling;
		child->parent = &the_kernel;
		child->sibling = the_kernel.children;
		the_kernel.children = child;
	}
}

_Noreturn void process_exit(int status)
{
	struct process *p = process_current();
	uintptr_t flags;

	/* The tables are freed with the address space: no CPU may still walk them. */
	thread_drop_mm();
	avm_mm_put(p->mm);
	world_leave();
	flags = spin_lock(&lock);
	leave_orphans(p);
	p->status = status;
	p->dead = true;
	/* Under the lock: once it is dropped the parent may free p, and be freed itself. */
	wake_parent(p->parent);
	wake_parent(&the_kernel);
	spin_unlock(&lock, flags);
	thread_exit();
}

/* The link to a dead child of p, or NULL. => lock */
static struct process **find_dead(struct process *p)
{
	for (struct process **link = &p->children; *link; link = &(*link)->sibling) {
		if ((*link)->dead)
			return link;
	}
	return NULL;
}

/* Waits for a child to end. NULL: there is none. It stays a child. */
static struct process *wait_for_child(struct process *p)
{
	for (;;) {
		uint32_t events = atomic_load(&p->child_events);
		uintptr_t flags = spin_lock(&lock);
		struct process **dead = find_dead(p);
		struct process *child = dead ? *dead : NULL;
		bool none = !p->children;

		spin_unlock(&lock, flags);
		if (child || none)
			return child;
		thread_sleep(&p->child_events, events);
	}
}

/* => only p itself takes children of p away */
static void bury(struct process *p, struct process *child)
{
	uintptr_t flags = spin_lock(&lock);
	struct process **link = &p->children;

	while (*link != child)
		link = &(*link)->sibling;
	*link = child->sibling;
	spin_unlock(&lock, flags);
	put(child);
}

int process_wait(struct process *p, avm_addr_t status)
{
	struct process *child;
	int pid;

	world_leave();
	child = wait_for_child(p);
	world_enter();
	if (!child)
		return -SYSCALL_ECHILD;
	/* Where it cannot be stored, nobody has waited. */
	if (status && avm_copy_in(p->mm, status, &child->status, sizeof(child->status), 0) !=
			      sizeof(child->status))
		return -AVM_EFAULT;
	pid = child->pid;
	bury(p, child);
	return pid;
}

/* ---- the first ------------------------------------------------------------------------------------ */

int process_run(struct program *program, const char *arguments)
{
	struct process *p = make(program->name), *child;
	struct interrupt_frame frame;
	struct avm_mm_config config;
	int err, status = 0, pid;

	if (!p)
		return -AVM_ENOMEM;
	config = mm_config(p);
	p->mm = &p->own;
	err = avm_mm_init(&kernel.machine, p->mm, &config);
	if (err) {
		unmake(p);
		return err;
	}
	world_enter();
	err = program_load(program, p->mm, arguments, &frame);
	world_leave();
	if (err) {
		p->refs = 2;
		avm_mm_put(p->mm);
		unmake(p);
		return err;
	}
	pid = start(p, &the_kernel, &frame);
	while ((child = wait_for_child(&the_kernel))) {
		if (child->pid == pid)
			status = child->status;
		bury(&the_kernel, child);
	}
	return status;
}

/* ---- what it did wrong ----------------------------------------------------------------------------- */

static _Noreturn void kill(int signal)
{
	process_exit(STATUS_SIGNAL + signal);
}

void process_page_fault(struct interrupt_frame *f, uint64_t addr)
{
	unsigned failed = page_fault(process_current()->mm, addr, f->error, f);

	if (failed & AVM_FAULT_OOM)
		kill(SIGNAL_KILL);
	if (failed)
		kill(failed & AVM_FAULT_SIGBUS ? SIGNAL_BUS : SIGNAL_SEGV);
}

void process_exception(const struct interrupt_frame *f)
{
	switch (f->vector) {
	case 0:
	case 16:
	case 19:
		kill(SIGNAL_FPE);
	case VECTOR_DEBUG:
	case VECTOR_BREAKPOINT:
		kill(SIGNAL_TRAP);
	case 6:
	case 7:
		kill(SIGNAL_ILL);
	default:
		kill(SIGNAL_SEGV);
	}
}
