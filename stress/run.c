/* SPDX-License-Identifier: MIT */
/*
 * run.c - a stress run: threads that work, a look at everything from time to time while they rest, and somebody who
 * watches that something moves.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"
#include "stress.h"

#define VIOLATIONS_PRINTED 20
#define MARGIN 64 /* frames beside those that are shared out: tables of small runs */

/* ---- stopping the world ---------------------------------------------------------------------------------------- */

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	atomic_bool stop; /* to be looked at under the mutex */
	bool rest, end;
	unsigned resting, working;
	atomic_bool looking; /* it is us who does not move */
	atomic_bool over;
} control = { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

void violation(struct world *w, const char *format, ...)
{
	va_list args;

	if (atomic_fetch_add(&w->violations, 1) < VIOLATIONS_PRINTED) {
		va_start(args, format);
		flockfile(stderr);
		fputs("violation: ", stderr);
		vfprintf(stderr, format, args);
		fputc('\n', stderr);
		funlockfile(stderr);
		va_end(args);
	}
	atomic_store(&w->failed, true);
}

/* False: to end. */
static bool go_on(void)
{
	bool end;

	if (!atomic_load_explicit(&control.stop, memory_order_relaxed))
		return true;
	pthread_mutex_lock(&control.mutex);
	while (control.rest && !control.end) {
		control.resting++;
		pthread_cond_broadcast(&control.cond);
		pthread_cond_wait(&control.cond, &control.mutex);
		control.resting--;
	}
	end = control.end;
	pthread_mutex_unlock(&control.mutex);
	return !end;
}

static void stop_world(struct world *w)
{
	pthread_mutex_lock(&control.mutex);
	control.rest = true;
	atomic_store(&control.stop, true);
	while (control.resting < control.working)
		pthread_cond_wait(&control.cond, &control.mutex);
	pthread_mutex_unlock(&control.mutex);
	atomic_store(&control.looking, true);
	smp_pause(w->sim);
	smp_settle(w->sim);
}

static void start_world(struct world *w)
{
	smp_go_on(w->sim);
	atomic_store(&control.looking, false);
	pthread_mutex_lock(&control.mutex);
	control.rest = false;
	atomic_store(&control.stop, control.end);
	pthread_cond_broadcast(&control.cond);
	pthread_mutex_unlock(&control.mutex);
}

/* ---- looking at everything -------------------------------------------------------------------------------------- */

static void look(struct world *w, struct worker *t, unsigned loads_in)
{
	int64_t broken = sim_verify(w->sim, AVM_VERIFY_ALL, stderr);
	struct smp_work_stats work;

	w->looks++;
	smp_work_stats(w->sim, &work);
	if (control.working && work.alive != w->options->beside)
		violation(w, "a thread of those beside has died: %#x of %#x are left", work.alive,
			  w->options->beside);
	if (broken)
		violation(w, "%lld invariants are broken at rest", (long long)broken);
	if (smp_check_tlbs(w->sim))
		violation(w, "%s", sim_last_error(w->sim));
	if (!broken)
		look_at_contents(w, t, loads_in);
	space_free_gone(w);
}

/* ---- threads ------------------------------------------------------------------------------------------------------- */

static uint64_t operations(const struct worker *t)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < NR_OPS; i++)
		n += GET(t->done[i]);
	return n;
}

static void *work(void *argument)
{
	struct worker *t = argument;
	struct world *w = t->world;
	uint64_t most = w->options->operations;

	for (uint64_t n = 0; (!most || n < most) && go_on(); n++) {
		perform(t);
		if (sim_errors(w->sim))
			atomic_store(&w->failed, true);
		if (GET(w->failed))
			break;
	}
	smp_leave(w->sim);
	pthread_mutex_lock(&control.mutex);
	control.working--;
	pthread_cond_broadcast(&control.cond);
	pthread_mutex_unlock(&control.mutex);
	return NULL;
}

static void print_workers(const struct world *w)
{
	for (unsigned i = 0; i < w->options->threads; i++) {
		int now = GET(w->workers[i].now);

		fprintf(stderr, "  thread %u: %llu operations, now: %s\n", i,
			(ull)operations(&w->workers[i]), now < 0 ? "between two" : op_names[now]);
	}
}

/* Ends the process: who does not move cannot be waited for. */
static void *watch(void *argument)
{
	struct world *w = argument;
	uint64_t before = 0, now;
	unsigned still = 0;

	while (!atomic_load(&control.over)) {
		usleep(250000);
		now = 0;
		for (unsigned i = 0; i < w->options->threads; i++)
			now += operations(&w->workers[i]);
		still = now == before && !atomic_load(&control.looking) ? still + 1 : 0;
		before = now;
		if (still < 4 * w->options->patience)
			continue;
		fprintf(stderr, "violation: nothing has moved for %u s (--seed %llu)\n",
			w->options->patience, (ull)w->options->seed);
		print_workers(w);
		smp_dump(w->sim, stderr);
		_exit(1);
	}
	return NULL;
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Until they have done what they should, or something is wrong. */
static void wait_and_look(struct world *w, struct worker *t)
{
	double begin = seconds_now(), end = begin + (double)w->options->seconds;
	const struct timespec step = { w->options->every / 1000,
				       w->options->every % 1000 * 1000000L };
	bool done = false;

	while (!done) {
		nanosleep(&step, NULL);
		pthread_mutex_lock(&control.mutex);
		done = !control.working || GET(w->failed) ||
		       (!w->options->operations && seconds_now() >= end);
		control.end = done;
		pthread_mutex_unlock(&control.mutex);
		if (done)
			break;
		stop_world(w);
		look(w, t, 16);
		start_world(w);
	}
	pthread_mutex_lock(&control.mutex);
	atomic_store(&control.stop, true);
	pthread_cond_broadcast(&control.cond);
	pthread_mutex_unlock(&control.mutex);
	w->seconds = seconds_now() - begin;
}

static bool run_threads(struct world *w)
{
	unsigned n = w->options->threads, made;
	pthread_t threads[MAX_THREADS], watcher;
	bool watched;

	control.working = n;
	watched = !pthread_create(&watcher, NULL, watch, w);
	for (made = 0; watched && made < n; made++) {
		if (pthread_create(&threads[made], NULL, work, &w->workers[made]))
			break;
	}
	if (made == n) {
		wait_and_look(w, &w->workers[n]);
	} else {
		fprintf(stderr, "anonvm: stress: only %u threads of %u can be made\n", made, n);
		pthread_mutex_lock(&control.mutex);
		control.end = true;
		atomic_store(&control.stop, true);
		pthread_mutex_unlock(&control.mutex);
	}
	for (unsigned i = 0; i < made; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&control.over, true);
	if (watched)
		pthread_join(watcher, NULL);
	return made == n;
}

/* ---- the machine ------------------------------------------------------------------------------------------------------ */

static bool make_files(struct world *w)
{
	for (unsigned i = 0; i < SHARED_AREAS; i++) {
		char name[16];
		int err;

		snprintf(name, sizeof(name), "file%u", i);
		err = i % 2 ? sim_file_create(w->sim, name, AREA_PAGES * PAGE, 0, &w->files[i]) :
			      sim_memfd_create(w->sim, name, AREA_PAGES * PAGE, &w->files[i]);
		if (err)
			return false;
		w->file_objects[i] = object_new(AREAS - SHARED_AREAS + i, w->options->threads);
	}
	return true;
}

static bool make_machine(struct world *w)
{
	const struct options *o = w->options;
	uint64_t wanted = (uint64_t)o->processes * AREAS * AREA_PAGES;
	uint64_t frames = wanted * o->memory / 100 + MARGIN * (uint64_t)o->processes;
	const struct sim_config config = {
		.core = { .family = o->family,
			  .fault_around = 4,
			  .low_frames = frames / 16 < 16 ? 16 : frames / 16,
			  .high_frames = frames / 8 < 32 ? 32 : frames / 8 },
		.frames = frames,
		.contents = SIM_BYTES,
		.check_tlb = true,
		.tlb_entries = 64,
	};
	const struct sim_swap_config swap = { .slots = (uint32_t)(wanted * 2) };
	const struct smp_disorder disorder = { .yields = o->yields,
					       .interrupted = o->interrupted,
					       .allocs = o->allocs };
	struct avm_swap_device *d;

	if (sim_create(&w->sim, &config))
		return false;
	if (sim_swap_add(w->sim, &swap, &d) || !make_files(w))
		return false;
	atomic_store(&w->reserved[0], true);
	if (!space_spawn(w, 0))
		return false;
	smp_set_disorder(w->sim, &disorder);
	return !smp_start(w->sim, o->beside);
}

static void make_workers(struct world *w)
{
	unsigned n = w->options->threads + 1; /* the last one is who looks */

	w->workers = aligned_alloc(64, n * sizeof(*w->workers));
	if (!w->workers)
		abort();
	for (unsigned i = 0; i < n; i++) {
		w->workers[i] = (struct worker){ .world = w, .number = i, .now = -1 };
		w->workers[i].random = (w->options->seed + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
	}
}

/* Everybody has left. Reads all that can be read. */
static void end_machine(struct world *w)
{
	const struct smp_disorder none = { 0 };
	uint64_t left;

	smp_stop(w->sim);
	smp_set_disorder(w->sim, &none);
	if (!w->violations && !sim_errors(w->sim))
		look(w, &w->workers[w->options->threads], 1);
	else
		sim_verify(w->sim, AVM_VERIFY_ALL, stderr);
	avm_stats(sim_machine(w->sim), &w->stats);
	report(w, stdout);
	if (w->violations || sim_errors(w->sim))
		return; /* nothing of it can be trusted */
	for (unsigned i = 0; i < w->options->processes; i++) {
		struct space *p = space_get(w, i);

		if (!p)
			continue;
		space_put(w, p);
		space_put(w, p);
	}
	space_free_gone(w);
	for (unsigned i = 0; i < SHARED_AREAS; i++) {
		sim_file_put(w->files[i]);
		free(w->file_objects[i]);
	}
	left = sim_destroy(w->sim);
	if (left)
		violation(w, "%llu frames, objects or bytes are left", (ull)left);
}

int stress_run(const struct options *o)
{
	static struct world w;
	bool ran;

	w.options = o;
	make_workers(&w);
	if (!make_machine(&w)) {
		fprintf(stderr, "anonvm: stress: no machine: %s\n",
			w.sim ? sim_last_error(w.sim) : "it cannot be made");
		return 1;
	}
	ran = run_threads(&w);
	if (sim_errors(w.sim))
		violation(&w, "%llu errors of the machine, the last: %s", (ull)sim_errors(w.sim),
			  sim_last_error(w.sim));
	end_machine(&w);
	free(w.workers);
	if (w.violations)
		printf("FAILED: %llu violations (--seed %llu)\n", (ull)w.violations, (ull)o->seed);
	return w.violations || !ran;
}
