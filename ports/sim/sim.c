/* SPDX-License-Identifier: MIT */
/* sim.c - the simulated machine as a whole: making, ending, checking, failing (sim.h). */
#include "sim.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "sim_priv.h"

#define DEFAULT_FRAMES 65536
#define DEFAULT_TLB_ENTRIES 256
#define ERRORS_LOGGED 100

struct avm *sim_machine(struct sim *s)
{
	return &s->machine;
}

struct sim *sim_of(struct avm *m)
{
	return sim_around(m);
}

static void *zeroed_lines(size_t size)
{
	size_t lines = (size + AVM_CACHE_LINE - 1) / AVM_CACHE_LINE;
	void *p = aligned_alloc(AVM_CACHE_LINE, lines * AVM_CACHE_LINE);

	return p ? memset(p, 0, size) : NULL;
}

void *sim_host_alloc(size_t size)
{
	void *p = AVM_NR_CPUS > 1 ? zeroed_lines(size) : calloc(1, size);

	if (!p) {
		fputs("sim: the host is out of memory\n", stderr);
		abort();
	}
	return p;
}

/* ---- errors ------------------------------------------------------------------------------------------- */

void sim_explain(struct sim *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	sim_lock(&s->error_mutex);
	vsnprintf(s->last_error, sizeof(s->last_error), format, args);
	sim_unlock(&s->error_mutex);
	va_end(args);
}

void sim_error(struct sim *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	sim_lock(&s->error_mutex);
	vsnprintf(s->last_error, sizeof(s->last_error), format, args);
	if (s->errors++ < ERRORS_LOGGED)
		avm_port_log(&s->machine, AVM_LOG_ERROR, s->last_error);
	sim_unlock(&s->error_mutex);
	va_end(args);
}

uint64_t sim_errors(const struct sim *s)
{
	return s->errors;
}

const char *sim_last_error(const struct sim *s)
{
	return s->last_error;
}

/* ---- making and ending -------------------------------------------------------------------------------- */

static int sim_start(struct sim *s)
{
	struct avm_config core = s->config.core;
	size_t size = s->frames.count * sizeof(*s->pages);
	int err;

	core.context = s;
	err = avm_init(&s->machine, &core);
	if (err)
		return err;
	s->pages = sim_reserve_descriptors(size);
	if (!s->pages)
		return -AVM_ENOMEM;
	return avm_add_frames(&s->machine, &s->region, SIM_FIRST_PFN, s->frames.count, s->pages);
}

static void sim_free(struct sim *s)
{
	sim_frames_fini(s);
	sim_meta_fini(s);
	sim_locks_fini(s);
	sim_unreserve(s->pages, s->frames.count * sizeof(*s->pages));
	sim_cpus_fini(s);
	free(s);
}

int sim_create(struct sim **out, const struct sim_config *config)
{
	struct sim *s = sim_host_alloc(sizeof(*s));
	int err;

	if (config)
		s->config = *config;
	if (!s->config.frames)
		s->config.frames = DEFAULT_FRAMES;
	if (!s->config.tlb_entries)
		s->config.tlb_entries = DEFAULT_TLB_ENTRIES;
	if (!s->config.log)
		s->config.log = stderr;
	LIST_INIT(&s->procs);
	LIST_INIT(&s->files);
	LIST_INIT(&s->swaps);
	s->deferred_end = &s->deferred;
	sim_mutex_init(&s->mutex);
	sim_mutex_init(&s->error_mutex);

	err = -AVM_EINVAL;
	if (!(s->config.tlb_entries & (s->config.tlb_entries - 1)))
		err = sim_cpus_init(s);
	if (!err)
		err = sim_frames_init(s);
	if (!err)
		err = sim_start(s);
	if (err) {
		sim_free(s);
		return err;
	}
	*out = s;
	return 0;
}

/* Objects that the core still counts. */
static uint64_t objects_left(struct sim *s)
{
	struct avm_stats st;

	avm_stats(&s->machine, &st);
	return st.mms + st.vmas + st.anon_vmas + st.avcs;
}

uint64_t sim_destroy(struct sim *s)
{
	uint64_t left;

	sim_cpus_stop(s);
	sim_fail_alloc(s, 0, 0);
	sim_set_interruption(s, NULL, NULL);
	sim_procs_fini(s);
	sim_files_fini(s);
	sim_run_deferred(s);
	left = sim_swaps_remove(s);
	if (avm_fini(&s->machine))
		left += objects_left(s);
	sim_run_deferred(s);
	sim_swaps_fini(s);
	sim_frames_count(s);
	/* What has gone bad stays where it is. */
	left += s->frames.used + s->meta_bytes - atomic_load(&s->machine.frames_poisoned);
	sim_free(s);
	return left;
}

/* ---- checks -------------------------------------------------------------------------------------------- */

static void print_line(struct avm_sink *sink, const char *line)
{
	if (sink->context)
		fprintf(sink->context, "%s\n", line);
}

int64_t sim_verify(struct sim *s, enum avm_verify_level level, FILE *out)
{
	struct avm_sink sink = { .line = print_line, .context = out };
	int64_t broken;

	sim_locks_check(s, "at rest");
	if (sim_irq_depth(s))
		sim_error(s, "an RCU read section is open at rest");
	broken = avm_verify(&s->machine, level, &sink);
	if (broken < 0)
		return broken;
	if (s->errors && out)
		fprintf(out, "sim: %llu errors, the last: %s\n", (unsigned long long)s->errors,
			s->last_error);
	return broken + (int64_t)s->errors;
}

uint64_t sim_frames_used(struct sim *s)
{
	sim_frames_count(s);
	return s->frames.used;
}

uint64_t sim_meta_bytes(const struct sim *s)
{
	return s->meta_bytes;
}
