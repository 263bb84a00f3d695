/* SPDX-License-Identifier: MIT */
/*
 * thread.c - one queue of those that can run, for all CPUs, first come, first served; 64 of those that sleep.
 *
 * The lock is held over the switch of stacks, and dropped by whoever comes out of it: so nobody runs a thread whose stack
 * is still in use, or frees it.
 */
#include "thread.h"

#include "apic.h"
#include "glue.h"
#include "interrupt.h"
#include "kernel.h"
#include "panic.h"
#include "spinlock.h"

#define CANARY 0x6361666566656564ull
#define NR_BEDS 64
#define STACK_ORDER 1
_Static_assert(STACK_SIZE == 4096 << STACK_ORDER, "a stack is a block of the pool");

struct queue {
	struct thread *first, *last;
};

static struct spinlock lock; /* covers all of this, and next, word, asleep and dead of threads */
static struct queue runnable;
static struct queue beds[NR_BEDS];
static struct thread *corpse[MAX_CPUS]; /* has just left this CPU, for ever */
static bool halted[MAX_CPUS]; /* nothing to do there: wants to hear of work */

void switch_stacks(uint64_t *save, uint64_t next);
extern const char thread_entry[];

static void enqueue(struct queue *q, struct thread *t)
{
	t->next = NULL;
	if (q->last)
		q->last->next = t;
	else
		q->first = t;
	q->last = t;
}

static struct thread *dequeue(struct queue *q)
{
	struct thread *t = q->first;

	if (!t)
		return NULL;
	q->first = t->next;
	if (!q->first)
		q->last = NULL;
	return t;
}

static void make_runnable(struct thread *t)
{
	enqueue(&runnable, t);
	for (unsigned i = 0; i < atomic_load(&nr_cpus); i++) {
		if (halted[i]) {
			halted[i] = false;
			apic_send(cpus[i].apic_id, VECTOR_SHOOT_DOWN);
			return;
		}
	}
}

struct thread *thread_current(void)
{
	uintptr_t flags = irq_save();
	struct thread *t = this_cpu()->current;

	irq_restore(flags);
	return t;
}

/* ---- changing from one to another ------------------------------------------------------------------ */

/* Buries who was here before. => lock */
static void arrive(void)
{
	unsigned id = cpu_id();
	struct thread *dead = corpse[id];

	corpse[id] = NULL;
	if (dead)
		thread_free(dead);
}

/* Runs somebody else; returns when the current thread's turn has come again. => lock */
static void schedule(void)
{
	struct cpu *cpu = this_cpu();
	struct thread *from = cpu->current, *to;

	if (from->canary != CANARY)
		panic("a thread has used more than its stack");
	cpu->slice_over = false;
	atomic_fetch_add(&cpu->quiescent, 1);
	if (!from->asleep && !from->dead && from != cpu->idle)
		enqueue(&runnable, from);
	to = dequeue(&runnable);
	if (!to)
		to = cpu->idle;
	if (to == from)
		return;
	if (from->dead)
		corpse[cpu->id] = from;
	cpu->current = to;
	cpu_set_kernel_stack(cpu->id, thread_stack_top(to));
	tlb_switch(from->mm, to->mm);
	switch_stacks(&from->stack_pointer, to->stack_pointer);
	arrive();
}

/* Called by thread_entry, on the stack of a new thread. => lock, interrupts off; neither afterwards. */
void thread_begins(void);
void thread_begins(void)
{
	arrive();
	spin_unlock(&lock, RFLAGS_IF);
}

void thread_yield(void)
{
	uintptr_t flags = spin_lock(&lock);

	schedule();
	spin_unlock(&lock, flags);
}

void thread_drop_mm(void)
{
	uintptr_t flags = irq_save();
	struct thread *t = this_cpu()->current;

	tlb_switch(t->mm, NULL);
	t->mm = NULL;
	irq_restore(flags);
}

/* ---- beginning and end --------------------------------------------------------------------------------- */

struct thread *thread_create(void (*run)(void *argument), void *argument)
{
	uint64_t page = pool_alloc(&kernel.objects, STACK_ORDER);
	struct thread *t;
	uint64_t *stack;

	if (page == POOL_NONE)
		return NULL;
	t = direct_map(page << 12);
	*t = (struct thread){ .canary = CANARY };
	/* What switch_stacks() pops; a frame of user registers may go above. */
	stack = (uint64_t *)(uintptr_t)(thread_stack_top(t) - sizeof(struct interrupt_frame)) - 9;
	stack[0] = stack[1] = 0; /* r15, r14 */
	stack[2] = 0; /* r13 */
	stack[3] = (uint64_t)(uintptr_t)argument; /* r12 */
	stack[4] = 0; /* rbp: back traces end here */
	stack[5] = (uint64_t)(uintptr_t)run; /* rbx */
	stack[6] = (uint64_t)(uintptr_t)thread_entry;
	t->stack_pointer = (uint64_t)(uintptr_t)stack;
	return t;
}

void thread_start(struct thread *t)
{
	uintptr_t flags = spin_lock(&lock);

	make_runnable(t);
	spin_unlock(&lock, flags);
}

void thread_free(struct thread *t)
{
	pool_free(&kernel.objects, physical(t) >> 12, STACK_ORDER);
}

_Noreturn void thread_exit(void)
{
	spin_lock(&lock);
	this_cpu()->current->dead = true;
	schedule();
	panic("a dead thread runs");
}

/* ---- sleep ------------------------------------------------------------------------------------------------ */

static struct queue *bed_of(const _Atomic uint32_t *word)
{
	return &beds[((uintptr_t)word >> 4) % NR_BEDS];
}

void thread_sleep(_Atomic uint32_t *word, uint32_t value)
{
	uintptr_t flags;
	struct thread *t;

	if (atomic_load(&panicking))
		panic("it would have to wait for a lock");
	flags = spin_lock(&lock);
	t = this_cpu()->current;
	/* Whoever changes the word wakes us afterwards, under the lock: no wake-up is lost. */
	if (atomic_load(word) == value) {
		t->word = word;
		t->asleep = true;
		enqueue(bed_of(word), t);
		schedule();
	}
	spin_unlock(&lock, flags);
}

void thread_wake(_Atomic uint32_t *word)
{
	uintptr_t flags = spin_lock(&lock);
	struct queue *bed = bed_of(word);
	struct queue others = { 0 };
	struct thread *t;

	while ((t = dequeue(bed))) {
		if (t->word != word) {
			enqueue(&others, t);
			continue;
		}
		t->asleep = false;
		make_runnable(t);
	}
	*bed = others;
	spin_unlock(&lock, flags);
}

/* ---- CPUs ------------------------------------------------------------------------------------------------- */

_Noreturn void thread_idle(struct thread *self)
{
	struct cpu *cpu = this_cpu();

	self->canary = CANARY;
	cpu->idle = cpu->current = self;
	cpu_set_kernel_stack(cpu->id, thread_stack_top(self));
	for (;;) {
		grace_poll();
		spin_lock(&lock);
		halted[cpu->id] = false;
		if (runnable.first)
			schedule();
		halted[cpu->id] = !runnable.first;
		spin_unlock(&lock, 0);
		if (halted[cpu->id])
			cpu_halt();
		irq_on();
	}
}

void thread_tick(void)
{
	struct cpu *cpu = this_cpu();

	cpu->slice_over = true;
	atomic_fetch_add(&cpu->quiescent, 1);
}

void thread_leave_kernel(void)
{
	if (!this_cpu()->slice_over)
		return;
	grace_poll();
	thread_yield();
}
