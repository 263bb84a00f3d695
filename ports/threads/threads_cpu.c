/* SPDX-License-Identifier: MIT */
/*
 * threads_cpu.c - CPUs: which thread is which, waiting, RCU, and failures that they are given.
 */
#include "threads_priv.h"

#include <linux/futex.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <urcu/urcu-bp.h>
#include <urcu/call-rcu.h>

_Thread_local struct cpu *cpu_mine;
_Thread_local uint64_t cpu_mine_of;

static atomic_uint_least64_t last_id;

/* ---- coming and going --------------------------------------------------------------------------------------- */

int sim_cpus_init(struct sim *s)
{
	struct smp *smp = sim_host_alloc(sizeof(*smp));

	s->smp = smp;
	s->threads = true;
	smp->id = atomic_fetch_add(&last_id, 1) + 1;
	sim_mutex_init(&smp->frames_mutex);
	pthread_mutex_init(&smp->work_mutex, NULL);
	pthread_cond_init(&smp->work_cond, NULL);
	smp->cpus = aligned_alloc(AVM_CACHE_LINE, SMP_CPUS * sizeof(*smp->cpus));
	if (!smp->cpus)
		return -AVM_ENOMEM;
	memset(smp->cpus, 0, SMP_CPUS * sizeof(*smp->cpus));
	for (unsigned i = 0; i < SMP_CPUS; i++) {
		smp->cpus[i].sim = s;
		smp->cpus[i].number = i;
		smp->cpus[i].random = i * UINT64_C(0x9e3779b97f4a7c15) + 1;
	}
	return 0;
}

void sim_cpus_fini(struct sim *s)
{
	struct smp *smp = s->smp;

	if (!smp)
		return;
	for (unsigned i = 0; smp->cpus && i < SMP_CPUS; i++) {
		free(smp->cpus[i].tlb);
		free(smp->cpus[i].frames);
		sim_locks_free(smp->cpus[i].locks);
	}
	free(smp->cpus);
	free(smp);
	s->smp = NULL;
}

static void make_tlb(struct cpu *c)
{
	const struct sim_config *config = &c->sim->config;

	if (c->tlb || config->no_tlb)
		return;
	cpu_lock(&c->tlb_lock);
	c->tlb = sim_host_alloc(config->tlb_entries * sizeof(*c->tlb));
	cpu_unlock(&c->tlb_lock);
}

static void make_frames(struct cpu *c)
{
	if (c->frames)
		return;
	c->most_frames = cpu_frames_most(c->sim);
	c->frames = sim_host_alloc(c->most_frames * sizeof(*c->frames));
}

/* A thread has come. It is a mistake of the caller's if there is no CPU left. */
struct cpu *cpu_come(struct sim *s)
{
	struct smp *smp = s->smp;

	for (unsigned i = 0; i < s->machine.config.cpus; i++) {
		struct cpu *c = &smp->cpus[i];
		unsigned n = i;
		bool there = false;

		if (!atomic_compare_exchange_strong(&c->there, &there, true))
			continue;
		make_tlb(c);
		make_frames(c);
		atomic_compare_exchange_strong(&smp->nr_cpus, &n, i + 1);
		cpu_mine = c;
		cpu_mine_of = smp->id;
		return c;
	}
	avm_port_panic(&s->machine, "there are more threads than CPUs");
}

void smp_leave(struct sim *s)
{
	struct cpu *c;

	if (cpu_mine_of != s->smp->id)
		return;
	c = cpu_mine;
	sim_locks_check(s, "by a thread that leaves");
	cpu_frames_back(c);
	cpu_meta_back(c);
	cpu_tlb_empty(c);
	cpu_mine_of = 0;
	atomic_store(&c->there, false);
}

unsigned sim_irq_depth(struct sim *s)
{
	return cpu_here(s)->irq_depth;
}

struct sim_locks **sim_locks_place(struct sim *s)
{
	return &cpu_here(s)->locks;
}

unsigned avm_port_cpu_id(struct avm *m)
{
	return cpu_here(sim_of(m))->number;
}

/* ---- time, chance ----------------------------------------------------------------------------------------------- */

uint64_t cpu_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t cpu_random(struct cpu *c)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return c->random;
}

void smp_set_disorder(struct sim *s, const struct smp_disorder *d)
{
	s->smp->disorder = *d;
}

void cpu_disturb(struct cpu *c)
{
	if (cpu_chance(c, c->sim->smp->disorder.yields))
		sched_yield();
}

void sim_disturb(struct sim *s)
{
	cpu_disturb(cpu_here(s));
}

/* ---- spinning, waiting --------------------------------------------------------------------------------------------- */

#define PATIENCE \
	100u /* looks at a lock whose holder runs; then he may be waiting for our processor */

static void pause_once(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

void cpu_lock_slow(struct cpu_lock *l)
{
	for (unsigned i = 0;; i++) {
		if (!atomic_load_explicit(&l->taken, memory_order_relaxed) &&
		    !atomic_exchange_explicit(&l->taken, 1, memory_order_acquire))
			return;
		if (i % PATIENCE == PATIENCE - 1)
			sched_yield();
		else
			pause_once();
	}
}

void threads_relax(struct avm *m)
{
	static _Thread_local unsigned looks;

	if (!(looks % PATIENCE))
		cpu_waits(cpu_here(sim_of(m)), NULL);
	if (++looks % PATIENCE)
		pause_once();
	else
		sched_yield();
}

static long futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
	return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

int avm_port_wait(struct avm *m, _Atomic uint32_t *word, uint32_t value)
{
	struct cpu *c = cpu_here(sim_of(m));
	const struct smp_disorder *d = &c->sim->smp->disorder;

	if (atomic_load_explicit(word, memory_order_relaxed) != value)
		return 0;
	if (cpu_chance(c, d->interrupted))
		return -AVM_EINTR;
	cpu_waits(c, word);
	futex(word, FUTEX_WAIT, value);
	cpu_waited(c, word);
	return 0;
}

void avm_port_wake(struct avm *m, _Atomic uint32_t *word)
{
	(void)m;
	futex(word, FUTEX_WAKE, INT_MAX);
}

/* ---- RCU -------------------------------------------------------------------------------------------------------------- */

uintptr_t avm_port_irq_save(struct avm *m)
{
	struct cpu *c = cpu_here(sim_of(m));

	urcu_bp_read_lock();
	return c->irq_depth++;
}

void avm_port_irq_restore(struct avm *m, uintptr_t saved)
{
	struct sim *s = sim_of(m);
	struct cpu *c = cpu_here(s);

	if (!c->irq_depth || c->irq_depth - 1 != saved)
		sim_error(s, "interrupts are restored out of order");
	c->irq_depth = (unsigned)saved;
	if (!saved)
		TSAN_RELEASE(&s->smp->rcu);
	cpu_disturb(c);
	urcu_bp_read_unlock();
}

struct call {
	struct rcu_head head;
	struct sim *sim;
	struct avm_deferred *deferred;
};

static void run(struct rcu_head *head)
{
	struct call *call = caa_container_of(head, struct call, head);

	TSAN_ACQUIRE(call);
	TSAN_ACQUIRE(&call->sim->smp->rcu);
	call->deferred->call(call->deferred);
	atomic_fetch_sub_explicit(&call->sim->smp->nr_deferred, 1, memory_order_release);
	free(call);
}

void avm_port_defer(struct avm *m, struct avm_deferred *d)
{
	struct call *call = sim_host_alloc(sizeof(*call));

	call->sim = sim_of(m);
	call->deferred = d;
	atomic_fetch_add_explicit(&call->sim->smp->nr_deferred, 1, memory_order_relaxed);
	TSAN_RELEASE(call);
	urcu_bp_call_rcu(&call->head, run);
}

void sim_run_deferred(struct sim *s)
{
	while (atomic_load_explicit(&s->smp->nr_deferred, memory_order_acquire))
		usleep(100);
}

void smp_settle(struct sim *s)
{
	sim_run_deferred(s);
}

void sim_interrupt(struct sim *s, enum sim_at at)
{
	(void)at;
	cpu_disturb(cpu_here(s));
}

void sim_set_interruption(struct sim *s, sim_interruption *call, void *context)
{
	s->interruption = call;
	s->interruption_context = context;
}

/* ---- failures, the end --------------------------------------------------------------------------------------------------- */

void sim_fail_alloc(struct sim *s, uint64_t first, uint64_t count)
{
	__atomic_store_n(&s->fail_count, count, __ATOMIC_RELAXED);
	__atomic_store_n(&s->fail_first, first ? sim_allocs(s) + first : 0, __ATOMIC_RELAXED);
}

bool sim_alloc_fails(struct avm *m)
{
	struct sim *s = sim_of(m);
	struct cpu *c = cpu_here(s);
	uint64_t first = __atomic_load_n(&s->fail_first, __ATOMIC_RELAXED), n, count;

	cpu_disturb(c);
	if (cpu_chance(c, s->smp->disorder.allocs)) {
		__atomic_fetch_add(&s->allocs_failed, 1, __ATOMIC_RELAXED);
		return true;
	}
	/* A counter that all change would be the busiest place of the machine: kept only while somebody asks. */
	if (!first)
		return false;
	n = __atomic_add_fetch(&s->allocs, 1, __ATOMIC_RELAXED);
	count = __atomic_load_n(&s->fail_count, __ATOMIC_RELAXED);
	if (n < first || (count && n - first >= count))
		return false;
	__atomic_fetch_add(&s->allocs_failed, 1, __ATOMIC_RELAXED);
	return true;
}

bool sim_allocs_fail(struct avm *m, uint32_t n)
{
	bool fails = false;

	while (n-- && !fails)
		fails = sim_alloc_fails(m);
	return fails;
}

uint64_t sim_allocs(const struct sim *s)
{
	return __atomic_load_n(&s->allocs, __ATOMIC_RELAXED);
}

uint64_t sim_allocs_failed(const struct sim *s)
{
	return __atomic_load_n(&s->allocs_failed, __ATOMIC_RELAXED);
}

void sim_set_wait_eintr(struct sim *s, bool eintr)
{
	s->smp->disorder.interrupted = eintr;
}

_Noreturn void avm_port_panic(struct avm *m, const char *why)
{
	struct sim *s = sim_of(m);

	fprintf(stderr, "panic: %s\n", why);
	if (s->config.log != stderr)
		fprintf(s->config.log, "panic: %s\n", why);
	fflush(s->config.log);
	smp_dump(s, stderr);
	abort();
}
