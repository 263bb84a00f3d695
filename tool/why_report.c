/* SPDX-License-Identifier: MIT */
/*
 * why_report.c - what `anonvm why` has found, for people and for programs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "why.h"

#if AVM_HAVE_JANSSON
#include <jansson.h>
#endif

static void put_group(const struct why_group *g)
{
	printf("  %10" PRIu64 " %10" PRIu64 "  %-30s %s\n", g->count, g->bytes >> 10, g->reason,
	       g->made_by);
	printf("%24s  e.g. %#" PRIx64 ": %s | %s", "", g->address, g->below, g->above);
	if (g->line)
		printf(" (line %" PRIu64 ")", g->line);
	printf("\n");
}

static void put_now(const struct why *w, unsigned top)
{
	if (w->all)
		printf("%" PRIu64 " address spaces at their ends: %" PRIu64
		       " boundaries between VMAs that touch\n",
		       w->spaces, w->now.total);
	else
		printf("%s (pid %d) has the most VMAs at its end, of %" PRIu64
		       " address spaces: %" PRIu64 ", with %" PRIu64
		       " boundaries between VMAs that touch\n",
		       *w->comm ? w->comm : "?", w->pid, w->spaces, w->best, w->now.total);
	printf("\n  %10s %10s  %-30s %s\n", "boundaries", "KiB above", "because of", "made by");
	for (size_t i = 0; i < w->now.nr && i < top; i++)
		put_group(&w->now.v[i]);
	if (w->now.nr > top)
		printf("  ... and %zu groups more (--top)\n", w->now.nr - top);
}

static void put_events(const struct why *w, unsigned top)
{
	printf("\nmerges refused while it ran, in all address spaces: %" PRIu64 "\n",
	       w->events.total);
	for (size_t i = 0; i < w->events.nr && i < top; i++) {
		const struct why_group *g = &w->events.v[i];

		printf("  %10" PRIu64 "  %-12s %-14s first at %#" PRIx64 ", line %" PRIu64 "\n",
		       g->count, g->reason, g->made_by, g->address, g->line);
	}
}

static void put_runs(const struct why *w)
{
	printf("\nunder other policies of families\n  %-8s %10s %10s %12s %12s %12s\n", "policy",
	       "VMAs, peak", "merges", "refused:", "refused:", "boundaries");
	printf("  %-8s %10s %10s %12s %12s %12s\n", "", "", "", "family", "fork child",
	       "of families");
	for (unsigned i = 0; i < w->nr_runs; i++) {
		const struct why_run *run = &w->runs[i];

		printf("  %-8s %10" PRIu64 " %10" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64
		       "%s\n",
		       replay_family_words[run->family], run->vmas_peak, run->merges,
		       run->refused[AVM_REFUSED_FAMILY] + run->refused[AVM_REFUSED_THREE_WAY],
		       run->refused[AVM_REFUSED_FORK_CHILD], run->by_family,
		       i ? "" : "   (this one)");
	}
	for (unsigned i = 1; i < w->nr_runs; i++) {
		if (w->runs[i].vmas_peak < w->runs[0].vmas_peak)
			printf("  %s would have merged %" PRIu64 " VMAs more at the peak\n",
			       replay_family_words[w->runs[i].family],
			       w->runs[0].vmas_peak - w->runs[i].vmas_peak);
	}
}

void why_text(const struct why *w, const struct replay *r, unsigned top)
{
	printf("%s: %" PRIu64 " events of %" PRIu64 " processes\n", r->name, r->events,
	       r->processes);
	if (trace_format(r->trace) == TRACE_STRACE)
		printf("strace tells of no faults: %" PRIu64 " touches synthesised (--touch=%s); "
		       "what depends on faults is a guess\n",
		       r->touches, replay_touch_words[r->config.touch]);
	put_now(w, top);
	put_events(w, top);
	put_runs(w);
}

#if AVM_HAVE_JANSSON
static void put(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, json_integer((json_int_t)n));
}

static void put_string(json_t *o, const char *key, const char *text)
{
	json_object_set_new(o, key, json_string(text));
}

static json_t *groups(const struct why_groups *g, unsigned top)
{
	json_t *all = json_array();

	for (size_t i = 0; i < g->nr && i < top; i++) {
		const struct why_group *v = &g->v[i];
		json_t *o = json_object(), *e = json_object();

		put_string(o, "reason", v->reason);
		put_string(o, "made_by", v->made_by);
		put(o, "count", v->count);
		put(o, "bytes", v->bytes);
		put(e, "address", v->address);
		put(e, "line", v->line);
		put_string(e, "below", v->below);
		put_string(e, "above", v->above);
		json_object_set_new(o, "example", e);
		json_array_append_new(all, o);
	}
	return all;
}

static json_t *run_object(const struct why_run *run)
{
	json_t *o = json_object(), *refused = json_object();

	put(o, "vmas_peak", run->vmas_peak);
	put(o, "vmas", run->vmas);
	put(o, "merges", run->merges);
	put(o, "boundaries_of_families", run->by_family);
	for (int i = 0; i < AVM_NR_REFUSALS; i++)
		put(refused, avm_refusal_name((enum avm_refusal)i), run->refused[i]);
	json_object_set_new(o, "refused", refused);
	return o;
}

int why_json(const struct why *w, const struct replay *r, unsigned top)
{
	json_t *o = json_object(), *runs = json_object();
	int rc;

	put_string(o, "trace", r->name);
	put(o, "events", r->events);
	put(o, "address_spaces", w->spaces);
	if (!w->all) {
		put_string(o, "command", w->comm);
		json_object_set_new(o, "pid", json_integer(w->pid));
		put(o, "vmas", w->best);
	}
	put(o, "boundaries", w->now.total);
	json_object_set_new(o, "groups", groups(&w->now, top));
	json_object_set_new(o, "refused", groups(&w->events, top));
	for (unsigned i = 0; i < w->nr_runs; i++)
		json_object_set_new(runs, replay_family_words[w->runs[i].family],
				    run_object(&w->runs[i]));
	json_object_set_new(o, "policies", runs);
	rc = json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	json_decref(o);
	putchar('\n');
	return rc;
}
#else
int why_json(const struct why *w, const struct replay *r, unsigned top)
{
	(void)w;
	(void)r;
	(void)top;
	return -1;
}
#endif
