/* SPDX-License-Identifier: MIT */
/*
 * report_json.c - what a replay came to, for programs.
 */
#include "replay.h"
#include "scratch.h"

#if AVM_HAVE_JANSSON
#include <jansson.h>
#include <string.h>

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static void put(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, number(n));
}

static json_t *faults(const struct replay *r)
{
	static const char *const names[REPLAY_NR_FAULTS] = { "anon", "file", "other" };
	json_t *all = json_object();

	for (int i = 0; i < REPLAY_NR_FAULTS; i++) {
		json_t *o = json_object();

		put(o, "recorded", r->faults[i].recorded);
		put(o, "explained", r->faults[i].explained);
		put(o, "exact", r->faults[i].exact);
		put(o, "raced", r->faults[i].raced);
		json_object_set_new(all, names[i], o);
	}
	put(all, "without_code", r->without_code);
	put(all, "not_served", r->not_served);
	return all;
}

static json_t *rss(const struct replay *r)
{
	static const char *const names[AVM_NR_RSS] = { "file", "anon", "swap", "shmem" };
	json_t *all = json_object();

	for (int i = 0; i < AVM_NR_RSS; i++) {
		json_t *o = json_object();

		put(o, "samples", r->rss[i].samples);
		put(o, "equal", r->rss[i].equal);
		put(o, "torn", r->rss[i].torn);
		put(o, "beside", r->rss[i].beside);
		json_object_set_new(all, names[i], o);
	}
	return all;
}

/* Pages of files that the kernel maps around a fault: how often which ones was not certain. */
static json_t *around(const struct replay *r)
{
	json_t *o = json_object();

	put(o, "blocks", r->around.blocks);
	put(o, "ambiguous", r->around.ambiguous);
	put(o, "corrected", r->around.corrected);
	return o;
}

static json_t *pairs(const struct replay_pairs *p)
{
	json_t *o = json_object();

	put(o, "recorded", p->recorded);
	put(o, "equal", p->equal);
	return o;
}

static json_t *causes(const struct replay *r)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < r->nr_causes; i++)
		put(o, r->causes[i].name, r->causes[i].count);
	return o;
}

static void put_machine(json_t *o, const struct replay *r)
{
	const struct avm_stats *s = &r->stats;
	json_t *refused = json_object(), *rmap = json_object();

	put(o, "violations", r->violations);
	put(o, "leaked", r->leaked);
	put(o, "frames_peak", r->frames_peak);
	put(o, "vmas_peak", s->vmas_peak);
	put(o, "anon_vmas_peak", s->anon_vmas_peak);
	put(o, "avcs_peak", s->avcs_peak);
	put(o, "longest_chain", r->longest_chain);
	put(o, "merges", s->events[AVM_EV_MERGE]);
	put(o, "splits", s->events[AVM_EV_SPLIT]);
	for (int i = 0; i < AVM_NR_REFUSALS; i++)
		put(refused, avm_refusal_name((enum avm_refusal)i), s->refused[i]);
	json_object_set_new(o, "refused", refused);
	put(o, "cow_copies", s->events[AVM_EV_COW_COPY]);
	put(o, "cow_reuses", s->events[AVM_EV_COW_REUSE]);
	put(o, "zero_maps", s->events[AVM_EV_ZERO_MAP]);
	put(o, "swap_out", s->events[AVM_EV_SWAP_OUT]);
	put(o, "swap_in", s->events[AVM_EV_SWAP_IN]);
	put(rmap, "walks", s->events[AVM_EV_RMAP_WALKS]);
	put(rmap, "visited", s->events[AVM_EV_RMAP_VISITED]);
	put(rmap, "mapped", s->events[AVM_EV_RMAP_MAPPED]);
	json_object_set_new(o, "rmap", rmap);
	put(o, "metadata_bytes_peak", s->meta_bytes_peak);
}

static json_t *pressure(const struct replay *r)
{
	const uint64_t *e = r->stats.events;
	json_t *o = json_object(), *contents = json_object();

	put(o, "frames", r->config.frames);
	put(o, "swap_slots", r->config.swap_slots);
	json_object_set_new(o, "swap_kind", json_string(scratch_swap_kinds[r->config.swap_kind]));
	for (int i = AVM_EV_DIRECT_RECLAIM; i <= AVM_EV_LAZY_FREED; i++)
		put(o, avm_event_name((enum avm_event)i), e[i]);
	put(o, "ooms", r->ooms);
	put(contents, "compared", r->compared.compared);
	put(contents, "wrong", r->compared.wrong);
	put(contents, "freed", r->compared.freed);
	put(contents, "oom_line", r->compared.oom_line);
	json_object_set_new(o, "contents", contents);
	return o;
}

static json_t *times(const struct replay *r)
{
	json_t *all = json_object();

	for (int i = 0; i < REPLAY_NR_OPS; i++) {
		json_t *o = json_object();

		put(o, "calls", r->times[i].calls);
		json_object_set_new(o, "seconds", json_real((double)r->times[i].ns / 1e9));
		json_object_set_new(all, replay_op_name((enum replay_op)i), o);
	}
	return all;
}

static json_t *rows(const struct replay *r, unsigned top)
{
	json_t *all = json_array();

	for (const struct replay_row *w = r->rows; w && top; w = w->next, top--) {
		json_t *o = json_object();
		char comm[80];

		trace_quote(comm, sizeof(comm), (struct trace_str){ w->comm, strlen(w->comm) });
		json_object_set_new(o, "command", json_string(comm));
		json_object_set_new(o, "pid", json_integer(w->pid));
		put(o, "anon_peak", w->rss_peak[AVM_RSS_ANON]);
		put(o, "file_peak", w->rss_peak[AVM_RSS_FILE]);
		put(o, "shmem_peak", w->rss_peak[AVM_RSS_SHMEM]);
		put(o, "vmas_peak", w->vmas_peak);
		put(o, "faults", w->faults);
		put(o, "forks", w->forks);
		put(o, "longest_chain", w->longest_chain);
		json_array_append_new(all, o);
	}
	return all;
}

int report_json(const struct replay *r, unsigned top)
{
	json_t *o = json_object();
	int rc;

	json_object_set_new(o, "trace", json_string(r->name));
	put(o, "events", r->events);
	put(o, "lost", trace_stats(r->trace)->lost);
	put(o, "bad_lines", trace_stats(r->trace)->bad_lines);
	put(o, "processes", r->processes);
	put(o, "threads", r->threads);
	put(o, "execs", r->execs);
	json_object_set_new(o, "family", json_string(replay_family_words[r->config.family]));
	json_object_set_new(o, "touch",
			    trace_format(r->trace) == TRACE_STRACE ?
				    json_string(replay_touch_words[r->config.touch]) :
				    json_null());
	put(o, "touches", r->touches);
	json_object_set_new(o, "faults", faults(r));
	json_object_set_new(o, "fault_around", around(r));
	json_object_set_new(o, "rss", rss(r));
	json_object_set_new(o, "maps", pairs(&r->maps));
	json_object_set_new(o, "results", pairs(&r->results));
	json_object_set_new(o, "unexplained", causes(r));
	put_machine(o, r);
	if (r->config.contents)
		json_object_set_new(o, "pressure", pressure(r));
	json_object_set_new(o, "operations", times(r));
	json_object_set_new(o, "core_seconds", json_real(replay_core_seconds(r)));
	json_object_set_new(o, "wall_seconds", json_real((double)r->wall_ns / 1e9));
	json_object_set_new(o, "address_spaces", rows(r, top));
	rc = json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	json_decref(o);
	putchar('\n');
	return rc;
}
#else
int report_json(const struct replay *r, unsigned top)
{
	(void)r;
	(void)top;
	return -1;
}
#endif
