/* SPDX-License-Identifier: MIT */
/*
 * replay_run.c - the events of a trace, one after the other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "replay_priv.h"

#define META_FRAMES 16384u
#define PROGRESS_EVERY 65536u

uint64_t time_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

const char *replay_op_name(enum replay_op op)
{
	static const char *const names[REPLAY_NR_OPS] = {
		[REPLAY_OP_FAULT] = "fault",	   [REPLAY_OP_AROUND] = "fault_around",
		[REPLAY_OP_MMAP] = "mmap",	   [REPLAY_OP_MUNMAP] = "munmap",
		[REPLAY_OP_MPROTECT] = "mprotect", [REPLAY_OP_MREMAP] = "mremap",
		[REPLAY_OP_MADVISE] = "madvise",   [REPLAY_OP_BRK] = "brk",
		[REPLAY_OP_LOCK] = "mlock",	   [REPLAY_OP_OTHER] = "other",
		[REPLAY_OP_FORK] = "fork",	   [REPLAY_OP_EXEC] = "exec",
		[REPLAY_OP_EXIT] = "exit",
	};

	return names[op];
}

const char *replay_doing(const struct replay *r, uint64_t *line)
{
	*line = r->state->line;
	return r->state->doing ? r->state->doing : "fault";
}

void note_called(struct replay *r, const struct space *s, uint64_t start, uint64_t end)
{
	if (r->config.hooks && r->config.hooks->called && s->proc && end > start)
		r->config.hooks->called(r->config.context, space_mm(s), r->state->doing, start,
					end);
	r->state->doing = NULL;
}

double replay_core_seconds(const struct replay *r)
{
	uint64_t ns = 0;

	for (int i = 0; i < REPLAY_NR_OPS; i++)
		ns += r->times[i].ns;
	return (double)ns / 1e9;
}

/* ---- one event ----------------------------------------------------------------------------------------- */

/* A task that runs again, in user mode or in a new call, has ended what it was about. */
static void begin_event(struct replay *r, struct task *t, const struct trace_event *ev)
{
	t->prev_seq = t->seq;
	t->seq = r->state->seq;
	if (t->space && t->space->forking && (t->has_postponed || t->faulting))
		life_fork_passed(r, t, t->has_postponed ? LIFE_ANYWHERE : t->fault_addr);
	if (t->has_postponed)
		fault_judge(r, t);
	if (t->faulting && fault_repeated(t, ev)) {
		t->faulting = false;
		r->not_served++;
	} else if (t->faulting) {
		fault_serve(r, t);
	}
	if (t->has_held)
		rss_resolve(r, t, ev);
	if (ev->kind == TRACE_RSS || ev->kind == TRACE_MMAP)
		return;
	if (t->fault.space)
		plan_drop(&t->fault);
	if (ev->kind != TRACE_SYS_ENTER && (ev->kind != TRACE_FAULT || ev->fault.kernel))
		return;
	if (t->exec.active && t->space) {
		/* It has failed: the arguments are gone with the address space they were for. */
		t->space->adjust.n[AVM_RSS_ANON] -= t->exec.charged;
		t->exec = (struct exec){ 0 };
	}
	life_fork_fails(r, t);
}

static void map_event(struct replay *r, struct task *t, const struct trace_event *ev)
{
	const struct trace_mmap *m = &ev->mmap;

	/* The last page of all is nobody's: ends can be rounded up. */
	if (!m->len || m->len > UINT64_MAX - PAGE_SIZE - m->start ||
	    m->start > UINT64_MAX - PAGE_SIZE)
		note_cause(r, "maps: a range that cannot be");
	else if (t->call.active && !t->exec.mapping)
		call_record(r, t, ev);
	else
		life_map(r, t, ev);
}

static void task_event(struct replay *r, struct task *t, const struct trace_event *ev)
{
	switch (ev->kind) {
	case TRACE_SYS_ENTER:
		call_enter(r, t, ev);
		break;
	case TRACE_SYS_EXIT:
		call_exit(r, t, ev);
		break;
	case TRACE_FAULT:
		if (!ev->fault.addr_is_symbol)
			fault_event(r, t, ev);
		break;
	case TRACE_RSS:
		rss_event(r, t, ev);
		break;
	case TRACE_MMAP:
		map_event(r, t, ev);
		break;
	default:
		break;
	}
}

/* Of whom the event tells: a record of perf's own says that itself. NULL: of nobody in particular. */
static struct task *task_of(struct replay *r, const struct trace_event *ev)
{
	switch (ev->kind) {
	case TRACE_SYS_ENTER:
	case TRACE_SYS_EXIT:
	case TRACE_FAULT:
		return task_get(r, ev->tid, ev->pid);
	case TRACE_RSS:
	case TRACE_NEWTASK:
	case TRACE_REC_FORK:
		return task_find(r, ev->tid);
	case TRACE_MMAP:
		return ev->mmap.pid > 0 ? task_get(r, ev->mmap.tid, ev->mmap.pid) : NULL;
	default:
		return NULL;
	}
}

static void replay_event(struct replay *r, const struct trace_event *ev)
{
	struct task *t;

	r->state->seq++;
	r->state->line = ev->line;
	r->state->time = ev->time;
	t = task_of(r, ev);
	if (t) {
		begin_event(r, t, ev);
		task_event(r, t, ev);
	}
	switch (ev->kind) {
	case TRACE_NEWTASK:
		life_new(r, ev);
		break;
	case TRACE_REC_FORK:
		life_fork_recorded(r, ev);
		break;
	case TRACE_COMM:
		life_comm(r, ev);
		break;
	case TRACE_EXEC:
		life_exec_done(r, ev);
		break;
	case TRACE_EXIT:
		life_exit(r, ev);
		break;
	default:
		break;
	}
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static void verify(struct replay *r)
{
	int64_t broken = sim_verify(r->sim, AVM_VERIFY_ALL, stderr);

	r->state->changed = false;
	if (broken < 0) {
		note_cause(r, "machine: no memory to verify");
		broken = 1;
	}
	r->violations += (uint64_t)broken;
}

static void progress(const struct replay *r, uint64_t since)
{
	double s = (double)(time_now() - since) / 1e9;

	if (s >= 1)
		fprintf(stderr, "\r%llu events, %.0f events/s ", (unsigned long long)r->events,
			(double)r->events / s);
}

static int run_events(struct replay *r)
{
	uint64_t since = time_now();
	struct trace_event ev;
	int rc;

	while ((rc = trace_next(r->trace, &ev)) > 0) {
		replay_event(r, &ev);
		r->events++;
		if (work_exhausted(r)) {
			rc = work_refuse(r);
			break;
		}
		if (r->config.verify == REPLAY_VERIFY_EACH && r->state->changed)
			verify(r);
		if (r->config.progress && !(r->events % PROGRESS_EVERY))
			progress(r, since);
		if (r->config.stop && r->events >= r->config.stop) {
			r->stopped = true;
			rc = 0;
			break;
		}
	}
	if (r->config.progress && time_now() - since >= UINT64_C(1000000000))
		fputs("\r\033[K", stderr);
	return rc;
}

/* Whoever is left has been running when the trace ended. */
static void end_tasks(struct replay *r)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (!LIST_EMPTY(&r->state->tasks[i]))
			task_drop(r, LIST_FIRST(&r->state->tasks[i]));
	}
}

int replay_run(struct replay *r)
{
	uint64_t since = time_now();
	int rc = run_events(r);

	if (r->config.verify != REPLAY_VERIFY_NEVER)
		verify(r);
	end_tasks(r);
	if (r->config.verify != REPLAY_VERIFY_NEVER)
		verify(r);
	avm_stats(sim_machine(r->sim), &r->stats);
	if (r->config.verify == REPLAY_VERIFY_NEVER)
		r->violations = sim_errors(r->sim);
	r->ooms = sim_ooms(r->sim);
	files_free(r);
	r->leaked = sim_destroy(r->sim);
	r->sim = NULL;
	r->wall_ns = time_now() - since;
	return rc;
}

/* ---- making and freeing -------------------------------------------------------------------------------- */

static int sim_start(struct replay *r)
{
	uint64_t frames = r->config.frames ? r->config.frames : REPLAY_FRAMES;
	struct sim_config config = {
		.contents = SIM_STAMPS,
		.frames = frames,
		/* A quarter of the machine: enough for anybody but fork bombs. */
		.meta_limit = (frames < META_FRAMES ? META_FRAMES : frames) * (PAGE_SIZE / 4),
		.check_tlb = r->config.verify == REPLAY_VERIFY_EACH || r->config.swap_slots
	};

	int rc;

	/* The trace tells what the kernel mapped around a fault: the core is to map none itself. */
	config.core.fault_around = 1;
	config.core.family = r->config.family;
	rc = sim_create(&r->sim, &config);
	if (rc)
		return rc;
	return pressure_start(r);
}

static int open_trace(struct replay *r, char err[TRACE_ERR_MAX])
{
	const struct replay_config *c = &r->config;

	return c->text ? trace_open_mem(&r->trace, c->text, c->text_len, c->path, err) :
			 trace_open(&r->trace, c->path, err);
}

struct replay *replay_new(const struct replay_config *config, char err[TRACE_ERR_MAX])
{
	struct replay *r = calloc(1, sizeof(*r));
	int rc;

	if (r)
		r->state = calloc(1, sizeof(*r->state));
	if (!r || !r->state) {
		snprintf(err, TRACE_ERR_MAX, "out of memory");
		free(r);
		return NULL;
	}
	r->config = *config;
	trace_quote(r->name, sizeof(r->name),
		    (struct trace_str){ config->path, strlen(config->path) });
	if (open_trace(r, err)) {
		free(r->state);
		free(r);
		return NULL;
	}
	r->state->strace = trace_format(r->trace) == TRACE_STRACE;
	rc = sim_start(r);
	if (rc) {
		snprintf(err, TRACE_ERR_MAX, "the simulated machine: %s", strerror(-rc));
		r->sim = NULL;
		replay_free(r);
		return NULL;
	}
	avm_set_merge_observer(sim_machine(r->sim), config->observer);
	return r;
}

void replay_free(struct replay *r)
{
	while (r->rows) {
		struct replay_row *row = r->rows;

		r->rows = row->next;
		free(row);
	}
	if (r->sim)
		(void)sim_destroy(r->sim);
	trace_close(r->trace);
	free(r->state);
	free(r);
}
