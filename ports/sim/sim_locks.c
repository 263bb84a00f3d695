/* SPDX-License-Identifier: MIT */
/*
 * sim_locks.c - the rules of src/lock.h as assertions: order, mode, owner, what may sleep where.
 *
 * With one thread no lock is ever contended, so a wrong order never deadlocks: it has to be looked for. Every lock
 * operation comes by here first; what it breaks is reported with sim_error(), and then it is done all the same.
 */
#include "sim_priv.h"

#ifdef AVM_DEBUG

#include <pthread.h>
#include <stdlib.h>

enum mode {
	HELD_READ,
	HELD_WRITE,
};

enum how {
	WAITING,
	NESTED,
	TRYING,
};

struct held {
	const volatile void *lock;
	pthread_t owner;
	enum avm_lock_class class;
	enum mode mode;
	uint64_t vmas; /* mmap_lock: VMAs locked for write under it; they go with it */
};

/* In order of taking. VMA locks held for write are counted only: fork holds one for every VMA. */
struct sim_locks {
	struct held *held;
	size_t nr, room;
	unsigned rcu;
};

static const char *name_of(enum avm_lock_class class)
{
	static const char *const names[AVM_NR_LOCK_CLASSES] = {
		[AVM_LOCK_MMAP] = "MMAP",     [AVM_LOCK_VMA] = "VMA",
		[AVM_LOCK_PAGE] = "PAGE",     [AVM_LOCK_RECLAIM] = "RECLAIM",
		[AVM_LOCK_FILE] = "FILE",     [AVM_LOCK_FAMILY] = "FAMILY",
		[AVM_LOCK_TABLE] = "TABLE",   [AVM_LOCK_PAGE_TABLE] = "PAGE_TABLE",
		[AVM_LOCK_NOTIFY] = "NOTIFY", [AVM_LOCK_LEAF] = "LEAF",
		[AVM_LOCK_KSM] = "KSM",
	};

	return class < AVM_NR_LOCK_CLASSES ? names[class] : "?";
}

static bool spins(enum avm_lock_class class)
{
	return class >= AVM_LOCK_PAGE_TABLE;
}

static struct sim_locks *locks_of(struct sim *s)
{
	struct sim_locks **place = sim_locks_place(s);

	if (!*place)
		*place = sim_host_alloc(sizeof(**place));
	return *place;
}

static struct held *find(struct sim_locks *l, const volatile void *lock)
{
	for (size_t i = l->nr; i-- > 0;) {
		if (l->held[i].lock == lock)
			return &l->held[i];
	}
	return NULL;
}

/* What a fault runs under: this mmap_lock, or the lock of a VMA whose mmap_lock it is. */
static struct held *find_fault_lock(struct sim_locks *l, const volatile void *mmap_lock)
{
	for (size_t i = 0; i < l->nr; i++) {
		struct held *h = &l->held[i];

		if (h->class == AVM_LOCK_VMA &&
		    &((const volatile struct avm_vma *)h->lock)->mm->mmap_lock == mmap_lock)
			return h;
	}
	return find(l, mmap_lock);
}

static void push(struct sim_locks *l, enum avm_lock_class class, const volatile void *lock,
		 enum mode mode)
{
	if (l->nr == l->room) {
		l->room = l->room ? l->room * 2 : 16;
		l->held = realloc(l->held, l->room * sizeof(*l->held));
		if (!l->held)
			abort();
	}
	l->held[l->nr++] = (struct held){ lock, pthread_self(), class, mode, 0 };
}

static void pop(struct sim_locks *l, struct held *h)
{
	for (l->nr--; h < l->held + l->nr; h++)
		h[0] = h[1];
}

/* ---- taking -------------------------------------------------------------------------------------------- */

static void check_may_sleep(struct sim *s, struct sim_locks *l, const char *what)
{
	if (l->rcu)
		sim_error(s, "lock rules: %s may sleep inside an RCU read section", what);
	for (size_t i = 0; i < l->nr; i++) {
		if (spins(l->held[i].class))
			sim_error(s, "lock rules: %s may sleep under the spin lock %s %p", what,
				  name_of(l->held[i].class), (const void *)l->held[i].lock);
	}
}

/* May a second lock of this class be waited for while `h` is held? */
static bool may_nest(const struct held *h, const volatile void *lock, enum how how)
{
	if (how != NESTED)
		return false;
	if (h->class == AVM_LOCK_TABLE)
		return (uintptr_t)lock > (uintptr_t)h->lock;
	return h->class == AVM_LOCK_MMAP;
}

static void check_order(struct sim *s, struct sim_locks *l, enum avm_lock_class class,
			const volatile void *lock, enum how how)
{
	unsigned same = 0;

	for (size_t i = 0; i < l->nr; i++) {
		const struct held *h = &l->held[i];

		if (h->class > class || (h->vmas && class < AVM_LOCK_VMA))
			sim_error(s, "lock rules: %s %p is taken under %s %p", name_of(class),
				  (const void *)lock,
				  name_of(h->class > class ? h->class : AVM_LOCK_VMA),
				  (const void *)h->lock);
		if (h->class != class || h->lock == lock)
			continue;
		if (++same > 1 || !may_nest(h, lock, how))
			sim_error(s, "lock rules: %s %p is taken under another, %p", name_of(class),
				  (const void *)lock, (const void *)h->lock);
	}
}

static void take(struct sim *s, struct sim_locks *l, enum avm_lock_class class,
		 const volatile void *lock, enum mode mode, enum how how)
{
	if (find(l, lock))
		sim_error(s, "lock rules: %s %p is taken twice", name_of(class),
			  (const void *)lock);
	/* A trylock waits for nobody; yet there is never a reason to hold two families. */
	if (how != TRYING) {
		if (!spins(class))
			check_may_sleep(s, l, name_of(class));
		check_order(s, l, class, lock, how);
	} else if (class == AVM_LOCK_FAMILY) {
		for (size_t i = 0; i < l->nr; i++) {
			if (l->held[i].class == class && l->held[i].lock != lock)
				sim_error(s, "lock rules: FAMILY %p is taken under another, %p",
					  (const void *)lock, (const void *)l->held[i].lock);
		}
	}
	push(l, class, lock, mode);
}

/* A VMA lock for write: only under mmap_lock for write, and dropped with it. */
static void take_vma(struct sim *s, struct sim_locks *l, const struct avm_vma *vma)
{
	struct held *h = find(l, &vma->mm->mmap_lock);

	check_may_sleep(s, l, name_of(AVM_LOCK_VMA));
	check_order(s, l, AVM_LOCK_VMA, vma, WAITING);
	if (!h || h->mode != HELD_WRITE) {
		sim_error(s, "lock rules: VMA %p is taken for write without mmap_lock for write",
			  (const void *)vma);
		return;
	}
	h->vmas++;
}

/* ---- dropping, asserting --------------------------------------------------------------------------------- */

/* The lock as it is held, in that mode; NULL, and reported, if it is not. */
static struct held *held_as(struct sim *s, struct sim_locks *l, enum avm_lock_class class,
			    const volatile void *lock, enum mode mode, const char *doing)
{
	struct held *h = find(l, lock);

	if (!h || h->class != class) {
		sim_error(s, "lock rules: %s %p is %s and not held", name_of(class),
			  (const void *)lock, doing);
		return NULL;
	}
	if (h->mode != mode)
		sim_error(s, "lock rules: %s %p is %s as held for %s", name_of(class),
			  (const void *)lock, doing, mode == HELD_READ ? "read" : "write");
	if (!pthread_equal(h->owner, pthread_self()))
		sim_error(s, "lock rules: %s %p is %s by a stranger", name_of(class),
			  (const void *)lock, doing);
	return h;
}

static void drop(struct sim *s, struct sim_locks *l, enum avm_lock_class class,
		 const volatile void *lock, enum mode mode)
{
	struct held *h = held_as(s, l, class, lock, mode, "unlocked");

	if (h)
		pop(l, h);
}

static void downgrade(struct sim *s, struct sim_locks *l, enum avm_lock_class class,
		      const volatile void *lock)
{
	struct held *h = held_as(s, l, class, lock, HELD_WRITE, "downgraded");

	if (!h)
		return;
	h->mode = HELD_READ;
	h->vmas = 0;
}

static void assert_held(struct sim *s, struct sim_locks *l, enum avm_lock_class class,
			const volatile void *lock, bool write)
{
	const struct held *h = class == AVM_LOCK_VMA ? find_fault_lock(l, lock) : find(l, lock);

	if (!h)
		sim_error(s, "lock rules: %s %p should be held here", name_of(class),
			  (const void *)lock);
	else if (write && h->mode != HELD_WRITE)
		sim_error(s, "lock rules: %s %p should be held for write here", name_of(class),
			  (const void *)lock);
}

static void rcu_exit(struct sim *s, struct sim_locks *l)
{
	if (!l->rcu)
		sim_error(s, "lock rules: an RCU read section ends that did not begin");
	else
		l->rcu--;
}

/* ---- the hook ------------------------------------------------------------------------------------------ */

bool sim_set_other_cpu(struct sim *s, sim_other_cpu *other, void *context)
{
	s->other_cpu = other;
	s->other_context = context;
	return true;
}

static void run_other_cpu(struct sim *s, int event, int class, const volatile void *lock)
{
	sim_other_cpu *other = s->other_cpu;

	if (!other)
		return;
	s->other_cpu = NULL;
	other(s->other_context, event, class, lock);
	if (!s->other_cpu)
		s->other_cpu = other;
}

void sim_lock_event(struct avm *m, int event, int class_number, const volatile void *lock)
{
	struct sim *s = sim_of(m);
	struct sim_locks *l = locks_of(s);
	enum avm_lock_class class = (enum avm_lock_class)class_number;

	run_other_cpu(s, event, class_number, lock);
	switch ((enum avm_lock_event)event) {
	case AVM_LOCK_EV_READ:
		take(s, l, class, lock, HELD_READ, WAITING);
		break;
	case AVM_LOCK_EV_WRITE:
		if (class == AVM_LOCK_VMA)
			take_vma(s, l, (const struct avm_vma *)lock);
		else
			take(s, l, class, lock, HELD_WRITE, WAITING);
		break;
	case AVM_LOCK_EV_NEST:
		take(s, l, class, lock, HELD_WRITE, NESTED);
		break;
	case AVM_LOCK_EV_TRY:
		take(s, l, class, lock, HELD_WRITE, TRYING);
		break;
	case AVM_LOCK_EV_TRY_READ:
		take(s, l, class, lock, HELD_READ, TRYING);
		break;
	case AVM_LOCK_EV_UNLOCK_READ:
		drop(s, l, class, lock, HELD_READ);
		break;
	case AVM_LOCK_EV_UNLOCK_WRITE:
		drop(s, l, class, lock, HELD_WRITE);
		break;
	case AVM_LOCK_EV_DOWNGRADE:
		downgrade(s, l, class, lock);
		break;
	case AVM_LOCK_EV_MIGHT_SLEEP:
		check_may_sleep(s, l, "an operation");
		break;
	case AVM_LOCK_EV_ASSERT:
		assert_held(s, l, class, lock, false);
		break;
	case AVM_LOCK_EV_ASSERT_WRITE:
		assert_held(s, l, class, lock, true);
		break;
	case AVM_LOCK_EV_RCU_ENTER:
		l->rcu++;
		break;
	case AVM_LOCK_EV_RCU_EXIT:
		rcu_exit(s, l);
		break;
	}
}

void sim_locks_check(struct sim *s, const char *where)
{
	struct sim_locks *l = locks_of(s);

	for (size_t i = 0; i < l->nr; i++)
		sim_error(s, "lock rules: %s %p is held %s", name_of(l->held[i].class),
			  (const void *)l->held[i].lock, where);
	if (l->rcu)
		sim_error(s, "lock rules: an RCU read section is open %s", where);
}

void sim_locks_free(struct sim_locks *l)
{
	if (l)
		free(l->held);
	free(l);
}

void sim_locks_fini(struct sim *s)
{
	sim_locks_free(s->locks);
}

struct sim_locks *sim_locks_switch(struct sim *s)
{
	struct sim_locks *locks = s->locks;

	s->locks = NULL;
	return locks;
}

void sim_locks_switch_back(struct sim *s, struct sim_locks *locks)
{
	sim_locks_check(s, "after an interruption");
	sim_locks_free(s->locks);
	s->locks = locks;
}

#else

bool sim_set_other_cpu(struct sim *s, sim_other_cpu *other, void *context)
{
	(void)s;
	(void)other;
	(void)context;
	return false;
}

void sim_locks_check(struct sim *s, const char *where)
{
	(void)s;
	(void)where;
}

void sim_locks_free(struct sim_locks *l)
{
	(void)l;
}

void sim_locks_fini(struct sim *s)
{
	(void)s;
}

struct sim_locks *sim_locks_switch(struct sim *s)
{
	return s->locks;
}

void sim_locks_switch_back(struct sim *s, struct sim_locks *locks)
{
	s->locks = locks;
}

#endif
