/* SPDX-License-Identifier: MIT */
/*
 * threads_work.c - what goes on beside: reclaim in the background, merging, compaction.
 *
 * Each is a thread that parks between two calls of the core when it is asked to. Who is to stop sleeps in a wait of the
 * core's only for a moment: smp_stop() and smp_pause() wake whoever sleeps for want of work.
 */
#include <stdlib.h>

#include "threads_priv.h"

#define SCAN 64u /* pages that one call of avm_ksm_scan() looks at */
#define COMPACT 32u /* frames that one call of avm_compact() empties */

/* ---- parking ----------------------------------------------------------------------------------------------------- */

/* False: to end. */
static bool go_on(struct smp *smp)
{
	bool stop;

	if (!atomic_load_explicit(&smp->park, memory_order_relaxed))
		return true;
	pthread_mutex_lock(&smp->work_mutex);
	while (smp->paused && !smp->stopping) {
		smp->nr_parked++;
		pthread_cond_broadcast(&smp->work_cond);
		pthread_cond_wait(&smp->work_cond, &smp->work_mutex);
		smp->nr_parked--;
	}
	stop = smp->stopping;
	pthread_mutex_unlock(&smp->work_mutex);
	return !stop;
}

static void set_park(struct smp *smp)
{
	atomic_store(&smp->park, smp->paused || smp->stopping);
}

/* Whoever sleeps for want of work sleeps on machine->pressure, or for a millisecond. */
static void wake(struct sim *s)
{
	atomic_store(&s->machine.pressure, 1);
	avm_port_wake(&s->machine, &s->machine.pressure);
}

/* ---- works --------------------------------------------------------------------------------------------------------- */

static uint64_t reclaim(struct sim *s)
{
	struct avm *m = &s->machine;

	if (!atomic_load(&m->pressure))
		avm_port_wait(m, &m->pressure, 0);
	return avm_balance(m);
}

static void rest(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

static uint64_t scan(struct sim *s)
{
	int64_t merged = avm_ksm_scan(&s->machine, SCAN);

	rest();
	return merged > 0 ? (uint64_t)merged : 0;
}

static uint64_t compact(struct sim *s, uint64_t *at)
{
	int64_t moved = avm_compact(&s->machine, SIM_FIRST_PFN + *at, COMPACT);

	*at += COMPACT;
	if (*at + COMPACT > s->frames.count)
		*at = 0;
	rest();
	return moved > 0;
}

static void *work(void *argument)
{
	struct smp_work_thread *w = argument;
	struct sim *s = w->sim;
	uint64_t at = 0;

	while (go_on(s->smp) && !atomic_load_explicit(&w->dies, memory_order_relaxed)) {
		uint64_t done = w->work == SMP_RECLAIM ? reclaim(s) :
				w->work == SMP_KSM     ? scan(s) :
							 compact(s, &at);

		count_up(&w->done, done);
	}
	smp_leave(s);
	atomic_store(&w->alive, false);
	return NULL;
}

/* ---- beginning, pausing, ending ------------------------------------------------------------------------------------- */

static int start_one(struct sim *s, struct smp_work_thread *w, enum smp_work which)
{
	w->sim = s;
	w->work = which;
	atomic_store(&w->done, 0);
	atomic_store(&w->alive, true);
	atomic_store(&w->dies, false);
	if (s->smp->disorder.no_threads || pthread_create(&w->thread, NULL, work, w))
		return -AVM_EAGAIN;
	w->made = true;
	return 0;
}

int smp_start(struct sim *s, unsigned works)
{
	struct smp *smp = s->smp;

	for (unsigned i = 0; i < NR_WORKS; i++) {
		if (smp->works[i].made)
			return -AVM_EBUSY;
	}
	smp->stopping = false;
	set_park(smp);
	for (unsigned i = 0; i < NR_WORKS; i++) {
		if (!(works & 1u << i))
			continue;
		if (start_one(s, &smp->works[i], (enum smp_work)(1u << i))) {
			sim_explain(s, "no thread for work in the background");
			smp->works[i].alive = false;
			smp_stop(s);
			return -AVM_EAGAIN;
		}
	}
	return 0;
}

void smp_stop(struct sim *s)
{
	struct smp *smp = s->smp;

	pthread_mutex_lock(&smp->work_mutex);
	smp->stopping = true;
	set_park(smp);
	pthread_cond_broadcast(&smp->work_cond);
	pthread_mutex_unlock(&smp->work_mutex);
	wake(s);
	for (unsigned i = 0; i < NR_WORKS; i++) {
		if (smp->works[i].made)
			pthread_join(smp->works[i].thread, NULL);
		smp->works[i].made = false;
	}
	sim_run_deferred(s);
}

void sim_cpus_stop(struct sim *s)
{
	const struct smp_disorder none = { 0 };

	smp_stop(s);
	smp_set_disorder(s, &none);
	smp_set_observer(s, NULL, NULL);
}

void smp_end(struct sim *s, enum smp_work which)
{
	for (unsigned i = 0; i < NR_WORKS; i++) {
		if (which == 1u << i)
			atomic_store(&s->smp->works[i].dies, true);
	}
	wake(s);
}

static unsigned nr_alive(struct smp *smp)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NR_WORKS; i++)
		n += smp->works[i].made && atomic_load(&smp->works[i].alive);
	return n;
}

void smp_pause(struct sim *s)
{
	struct smp *smp = s->smp;

	pthread_mutex_lock(&smp->work_mutex);
	smp->paused = true;
	set_park(smp);
	while (smp->nr_parked < nr_alive(smp)) {
		struct timespec soon;

		wake(s);
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += 10000000;
		if (soon.tv_nsec >= 1000000000) {
			soon.tv_sec++;
			soon.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&smp->work_cond, &smp->work_mutex, &soon);
	}
	pthread_mutex_unlock(&smp->work_mutex);
}

void smp_go_on(struct sim *s)
{
	struct smp *smp = s->smp;

	pthread_mutex_lock(&smp->work_mutex);
	smp->paused = false;
	set_park(smp);
	pthread_cond_broadcast(&smp->work_cond);
	pthread_mutex_unlock(&smp->work_mutex);
}

void smp_work_stats(struct sim *s, struct smp_work_stats *out)
{
	const struct smp_work_thread *w = s->smp->works;

	*out = (struct smp_work_stats){ .reclaims = atomic_load(&w[0].done),
					.scans = atomic_load(&w[1].done),
					.compactions = atomic_load(&w[2].done) };
	for (unsigned i = 0; i < NR_WORKS; i++)
		out->alive |= w[i].made && atomic_load(&w[i].alive) ? 1u << i : 0;
}
