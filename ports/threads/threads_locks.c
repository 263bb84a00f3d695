/* SPDX-License-Identifier: MIT */
/*
 * threads_locks.c - who holds what, who waits for it and for how long.
 *
 * The core tells of a lock operation before it happens. So a lock that it is about to take is noted as held; if it has to
 * wait, avm_port_wait() or the pause of a spinner come by here as well, and the time of holding begins anew. In debug
 * builds the rules of sim_locks.c are asked first.
 */
#include "threads_priv.h"

#define RELAXED memory_order_relaxed

static const char *const names[AVM_NR_LOCK_CLASSES] = {
	[AVM_LOCK_KSM] = "KSM",		[AVM_LOCK_MMAP] = "MMAP",
	[AVM_LOCK_VMA] = "VMA",		[AVM_LOCK_PAGE] = "PAGE",
	[AVM_LOCK_RECLAIM] = "RECLAIM", [AVM_LOCK_FILE] = "FILE",
	[AVM_LOCK_FAMILY] = "FAMILY",	[AVM_LOCK_NOTIFY] = "NOTIFY",
	[AVM_LOCK_TABLE] = "TABLE",	[AVM_LOCK_PAGE_TABLE] = "PAGE_TABLE",
	[AVM_LOCK_LEAF] = "LEAF",
};

/* ---- one CPU ---------------------------------------------------------------------------------------------------- */

#ifdef AVM_THREADS_HOOKS

static void begin(struct cpu *c, unsigned class, const volatile void *lock)
{
	uint32_t n = atomic_load_explicit(&c->nr_held, RELAXED);
	struct cpu_held *h = &c->held[n];

	count_up(&c->taken[class], 1);
	if (n == CPU_HELD)
		return;
	atomic_store_explicit(&h->lock, lock, RELAXED);
	atomic_store_explicit(&h->class, class, RELAXED);
	atomic_store_explicit(&h->since, cpu_clock(), RELAXED);
	atomic_store_explicit(&h->waits, false, RELAXED);
	h->contended = false;
	atomic_store_explicit(&c->nr_held, n + 1, RELAXED);
}

static void move(struct cpu_held *to, struct cpu_held *from)
{
	atomic_store_explicit(&to->lock, atomic_load_explicit(&from->lock, RELAXED), RELAXED);
	atomic_store_explicit(&to->class, atomic_load_explicit(&from->class, RELAXED), RELAXED);
	atomic_store_explicit(&to->since, atomic_load_explicit(&from->since, RELAXED), RELAXED);
	atomic_store_explicit(&to->waits, atomic_load_explicit(&from->waits, RELAXED), RELAXED);
	to->contended = from->contended;
}

static void end(struct cpu *c, unsigned class, const volatile void *lock)
{
	uint32_t n = atomic_load_explicit(&c->nr_held, RELAXED), i = n;
	uint64_t held;

	while (i-- > 0) {
		if (atomic_load_explicit(&c->held[i].lock, RELAXED) == lock)
			break;
	}
	if (i == UINT32_MAX)
		return;
	held = cpu_clock() - atomic_load_explicit(&c->held[i].since, RELAXED);
	count_up(&c->kept[class], held);
	if (held > atomic_load_explicit(&c->longest[class], RELAXED))
		atomic_store_explicit(&c->longest[class], held, RELAXED);
	for (; i + 1 < n; i++)
		move(&c->held[i], &c->held[i + 1]);
	atomic_store_explicit(&c->nr_held, n - 1, RELAXED);
}

#endif

/* The lock that it was about to take last, if that is what it waits for. */
static struct cpu_held *wanted(struct cpu *c, const volatile void *word)
{
	uint32_t n = atomic_load_explicit(&c->nr_held, RELAXED);

	if (!n || (word && atomic_load_explicit(&c->held[n - 1].lock, RELAXED) != word))
		return NULL;
	return &c->held[n - 1];
}

/* `word` NULL: it spins. */
void cpu_waits(struct cpu *c, const volatile void *word)
{
	struct cpu_held *h = wanted(c, word);

	if (!h) {
		/* The lock of a VMA has no entry of its own: it is dropped with mmap_lock. */
		if (atomic_load_explicit(&c->last_class, RELAXED) == AVM_LOCK_VMA)
			count_up(&c->contended[AVM_LOCK_VMA], 1);
		return;
	}
	if (!h->contended)
		count_up(&c->contended[atomic_load_explicit(&h->class, RELAXED)], 1);
	h->contended = true;
	/* A spinner does not say when it is through. */
	atomic_store_explicit(&h->waits, word, RELAXED);
}

void cpu_waited(struct cpu *c, const volatile void *word)
{
	struct cpu_held *h = wanted(c, word);
	uint64_t now;

	if (!h)
		return;
	now = cpu_clock();
	count_up(&c->waited[atomic_load_explicit(&h->class, RELAXED)],
		 now - atomic_load_explicit(&h->since, RELAXED));
	atomic_store_explicit(&h->since, now, RELAXED);
	atomic_store_explicit(&h->waits, false, RELAXED);
}

/* ---- the hook ------------------------------------------------------------------------------------------------------ */

#ifdef AVM_THREADS_HOOKS

static void note(struct cpu *c, enum avm_lock_event event, unsigned class,
		 const volatile void *lock)
{
	switch (event) {
	case AVM_LOCK_EV_READ:
	case AVM_LOCK_EV_WRITE:
	case AVM_LOCK_EV_NEST:
	case AVM_LOCK_EV_TRY:
	case AVM_LOCK_EV_TRY_READ:
		atomic_store_explicit(&c->last_class, class, RELAXED);
		if (class == AVM_LOCK_VMA || class == AVM_LOCK_RECLAIM)
			count_up(&c->taken[class], 1);
		else
			begin(c, class, lock);
		break;
	case AVM_LOCK_EV_UNLOCK_READ:
	case AVM_LOCK_EV_UNLOCK_WRITE:
		if (class != AVM_LOCK_VMA && class != AVM_LOCK_RECLAIM)
			end(c, class, lock);
		break;
	case AVM_LOCK_EV_DOWNGRADE:
	case AVM_LOCK_EV_MIGHT_SLEEP:
	case AVM_LOCK_EV_ASSERT:
	case AVM_LOCK_EV_ASSERT_WRITE:
	case AVM_LOCK_EV_RCU_ENTER:
	case AVM_LOCK_EV_RCU_EXIT:
		break;
	}
}

void threads_lock_event(struct avm *m, int event, int class, const volatile void *lock)
{
	struct sim *s = sim_of(m);
	struct cpu *c = cpu_here(s);

#ifdef AVM_DEBUG
	sim_lock_event(m, event, class, lock);
#endif
	if (s->smp->observer)
		s->smp->observer(s->smp->observer_context, event, class, lock);
	cpu_disturb(c);
	note(c, (enum avm_lock_event)event, (unsigned)class, lock);
}

#endif

void smp_set_observer(struct sim *s, smp_observer *observer, void *context)
{
	s->smp->observer_context = context;
	s->smp->observer = observer;
}

/* ---- reports --------------------------------------------------------------------------------------------------------- */

unsigned smp_lock_stats(struct sim *s, struct smp_lock_stats *out, unsigned room)
{
	unsigned n = room < AVM_NR_LOCK_CLASSES ? room : AVM_NR_LOCK_CLASSES;

	for (unsigned i = 0; i < n; i++) {
		out[i] = (struct smp_lock_stats){ .name = names[i] };
		for (unsigned k = 0; k < smp_nr_cpus(s); k++) {
			struct cpu *c = &s->smp->cpus[k];
			uint64_t longest = atomic_load_explicit(&c->longest[i], RELAXED);

			out[i].taken += atomic_load_explicit(&c->taken[i], RELAXED);
			out[i].contended += atomic_load_explicit(&c->contended[i], RELAXED);
			out[i].waited_ns += atomic_load_explicit(&c->waited[i], RELAXED);
			out[i].held_ns += atomic_load_explicit(&c->kept[i], RELAXED);
			if (longest > out[i].longest_hold_ns)
				out[i].longest_hold_ns = longest;
		}
	}
	return n;
}

static void dump_cpu(struct cpu *c, uint64_t now, FILE *out)
{
	uint32_t n = atomic_load_explicit(&c->nr_held, RELAXED);

	fprintf(out, "  CPU %u%s:%s\n", c->number, atomic_load(&c->there) ? "" : " (gone)",
		n ? "" : " holds nothing");
	for (uint32_t i = 0; i < n && i < CPU_HELD; i++) {
		struct cpu_held *h = &c->held[i];
		uint32_t class = atomic_load_explicit(&h->class, RELAXED);
		uint64_t since = atomic_load_explicit(&h->since, RELAXED);
		const volatile void *lock = atomic_load_explicit(&h->lock, RELAXED);

		fprintf(out, "    %s %s %p for %.3f s\n",
			atomic_load_explicit(&h->waits, RELAXED) ? "waits for" :
			i + 1 == n				 ? "holds or spins for" :
								   "holds",
			class < AVM_NR_LOCK_CLASSES ? names[class] : "?", (const void *)lock,
			now > since ? (double)(now - since) / 1e9 : 0.0);
	}
}

void smp_dump(struct sim *s, FILE *out)
{
	uint64_t now = cpu_clock();

	fprintf(out, "locks, by CPU:\n");
	for (unsigned i = 0; i < smp_nr_cpus(s); i++)
		dump_cpu(&s->smp->cpus[i], now, out);
}
