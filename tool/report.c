/* SPDX-License-Identifier: MIT */
/*
 * report.c - what a replay came to, for people; and whether it is good enough.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"
#include "scratch.h"

static const char *const fault_names[REPLAY_NR_FAULTS] = { "anonymous", "file", "other" };
static const char *const rss_names[AVM_NR_RSS] = { "file", "anonymous", "swap", "shared memory" };

/* ---- good enough? --------------------------------------------------------------------------------------- */

/* Equal in 99.9 % of the cases, or all but one. */
static bool mostly(uint64_t equal, uint64_t of)
{
	return (of - equal) * 1000 <= of;
}

bool replay_good(const struct replay *r, char *why, size_t size)
{
	const struct replay_faults *a = &r->faults[REPLAY_FAULT_ANON];
	uint64_t off = a->recorded - a->raced - (r->without_code ? a->explained : a->exact);
	uint64_t allowed = a->recorded / 1000 > 10 ? a->recorded / 1000 : 10;
	const struct replay_samples *s = &r->rss[AVM_RSS_ANON];

	if (off > allowed)
		snprintf(why, size,
			 "%" PRIu64 " anonymous faults unexplained or not exact, %" PRIu64
			 " are allowed",
			 off, allowed);
	else if (!mostly(s->equal, s->samples))
		snprintf(why, size,
			 "anonymous pages are unequal at %" PRIu64 " of %" PRIu64 " samples",
			 s->samples - s->equal, s->samples);
	else if (!mostly(r->maps.equal, r->maps.recorded))
		snprintf(why, size, "%" PRIu64 " of %" PRIu64 " mappings are unequal",
			 r->maps.recorded - r->maps.equal, r->maps.recorded);
	else
		return true;
	return false;
}

/* ---- the parts of the report ---------------------------------------------------------------------------- */

/* " 99.123 %", or "-" of nothing. */
static const char *percent(char buf[16], uint64_t part, uint64_t of)
{
	if (!of)
		return "-";
	snprintf(buf, 16, "%.3f %%", 100.0 * (double)part / (double)of);
	return buf;
}

static double mib(uint64_t pages)
{
	return (double)pages / 256.0;
}

static void put_head(const struct replay *r)
{
	const struct trace_stats *t = trace_stats(r->trace);
	double s = (double)r->wall_ns / 1e9;

	printf("%s: %" PRIu64 " events of %" PRIu64 " processes, %" PRIu64 " threads more, %" PRIu64
	       " execs\n",
	       r->name, r->events, r->processes, r->threads, r->execs);
	printf("replayed in %.3f s (%.0f events/s), of that in the core %.3f s; families: %s%s\n",
	       s, s > 0 ? (double)r->events / s : 0, replay_core_seconds(r),
	       replay_family_words[r->config.family], r->stopped ? "; stopped as asked" : "");
	if (t->lost)
		printf("%" PRIu64 " events were lost when this was recorded: what follows them may "
		       "differ\n",
		       t->lost);
	if (trace_format(r->trace) == TRACE_STRACE)
		printf("strace tells of no faults: %" PRIu64
		       " touches synthesised (--touch=%s), %" PRIu64 " parts of images made up\n",
		       r->touches, replay_touch_words[r->config.touch], r->adopted);
	if (r->without_code)
		printf("%" PRIu64 " faults are recorded without their error code: access guessed, "
		       "exactness unknown\n",
		       r->without_code);
}

static void put_pairs(const char *name, const struct replay_pairs *p)
{
	char buf[16];

	if (p->recorded)
		printf("  %-16s %10" PRIu64 " %11s\n", name, p->recorded,
		       percent(buf, p->equal, p->recorded));
}

static void put_fidelity(const struct replay *r)
{
	char explained[16], exact[16], equal[16];

	printf("\nas recorded?\n");
	printf("  %-16s %10s %11s %11s %8s\n", "faults", "recorded", "explained", "exact", "raced");
	for (int i = 0; i < REPLAY_NR_FAULTS; i++) {
		const struct replay_faults *f = &r->faults[i];
		uint64_t of = f->recorded - f->raced;

		printf("  %-16s %10" PRIu64 " %11s %11s %8" PRIu64 "\n", fault_names[i],
		       f->recorded, percent(explained, f->explained, of),
		       percent(exact, f->exact, of), f->raced);
	}
	printf("  %-16s %10s %11s %11s %8s\n", "resident pages", "samples", "equal", "torn",
	       "beside");
	for (int i = 0; i < AVM_NR_RSS; i++) {
		const struct replay_samples *s = &r->rss[i];

		if (s->samples)
			printf("  %-16s %10" PRIu64 " %11s %11" PRIu64 " %8" PRIu64 "\n",
			       rss_names[i], s->samples, percent(equal, s->equal, s->samples),
			       s->torn, s->beside);
	}
	put_pairs("mappings", &r->maps);
	put_pairs("results of calls", &r->results);
	if (r->around.blocks)
		printf("  %" PRIu64 " faults mapped file pages around them, in %" PRIu64
		       " cases fewer than there were; later faults told of %" PRIu64 " which\n",
		       r->around.blocks, r->around.ambiguous, r->around.corrected);
	if (r->not_served)
		printf("  %" PRIu64 " faults of the kernel were not served: page faults were "
		       "disabled\n",
		       r->not_served);
	if (!r->nr_causes)
		return;
	printf("  not as recorded, by cause:\n");
	for (unsigned i = 0; i < r->nr_causes; i++)
		printf("  %10" PRIu64 "  %s (first at line %" PRIu64 ")\n", r->causes[i].count,
		       r->causes[i].name, r->causes[i].line);
}

static void put_machine(const struct replay *r)
{
	const struct avm_stats *s = &r->stats;

	printf("\nmachine\n");
	printf("  peaks             %" PRIu64 " frames (%.1f MiB), %" PRIu64 " VMAs, %" PRIu64
	       " anon_vmas, %" PRIu64 " AVCs, metadata %.1f KiB\n",
	       r->frames_peak, mib(r->frames_peak), s->vmas_peak, s->anon_vmas_peak, s->avcs_peak,
	       (double)s->meta_bytes_peak / 1024);
	printf("  families          longest chain %" PRIu64 "; anon_vmas reused: %" PRIu64
	       " of a neighbour, %" PRIu64 " of an ancestor\n",
	       r->longest_chain, s->events[AVM_EV_ANON_VMA_REUSED_NEIGHBOUR],
	       s->events[AVM_EV_ANON_VMA_REUSED_ANCESTOR]);
	printf("  copy on write     %" PRIu64 " copies, %" PRIu64
	       " reuses without a copy; zero page "
	       "mapped %" PRIu64 " times\n",
	       s->events[AVM_EV_COW_COPY], s->events[AVM_EV_COW_REUSE], s->events[AVM_EV_ZERO_MAP]);
	printf("  VMAs              %" PRIu64 " merges, %" PRIu64 " splits, %" PRIu64 " forks\n",
	       s->events[AVM_EV_MERGE], s->events[AVM_EV_SPLIT], s->events[AVM_EV_FORK]);
	printf("  merges refused   ");
	for (int i = 0; i < AVM_NR_REFUSALS; i++) {
		if (s->refused[i])
			printf(" %s %" PRIu64, avm_refusal_name((enum avm_refusal)i),
			       s->refused[i]);
	}
	printf("\n");
	if (s->events[AVM_EV_RMAP_WALKS])
		printf("  reverse walks     %" PRIu64 ", %" PRIu64 " places visited, %" PRIu64
		       " mapped the page\n",
		       s->events[AVM_EV_RMAP_WALKS], s->events[AVM_EV_RMAP_VISITED],
		       s->events[AVM_EV_RMAP_MAPPED]);
	printf("  invariants        ");
	if (r->config.verify == REPLAY_VERIFY_NEVER)
		printf("not verified");
	else
		printf("%" PRIu64 " violations", r->violations);
	printf(", %" PRIu64 " objects leaked\n", r->leaked);
}

static double ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

static void put_pressure(const struct replay *r)
{
	const uint64_t *e = r->stats.events;
	const struct replay_compared *c = &r->compared;

	printf("\nunder pressure\n");
	printf("  memory            %" PRIu64 " frames (%.1f MiB), %u slots of swap (%s)\n",
	       r->config.frames, mib(r->config.frames), r->config.swap_slots,
	       scratch_swap_kinds[r->config.swap_kind]);
	printf("  reclaim           %" PRIu64 " pages looked at, %" PRIu64
	       " freed (%.2f looks each), "
	       "%" PRIu64 " kept as used; asked %" PRIu64 " times\n",
	       e[AVM_EV_SCANNED], e[AVM_EV_RECLAIMED],
	       ratio(e[AVM_EV_SCANNED], e[AVM_EV_RECLAIMED]), e[AVM_EV_ACTIVATED],
	       e[AVM_EV_DIRECT_RECLAIM]);
	printf("  swap              %" PRIu64 " pages out, %" PRIu64 " in, %" PRIu64
	       " found in the swap cache\n",
	       e[AVM_EV_SWAP_OUT], e[AVM_EV_SWAP_IN], e[AVM_EV_SWAP_CACHE_HIT]);
	printf("  reverse walks     %" PRIu64
	       ", %.2f places visited for each that mapped the page\n",
	       e[AVM_EV_RMAP_WALKS], ratio(e[AVM_EV_RMAP_VISITED], e[AVM_EV_RMAP_MAPPED]));
	printf("  contents          %" PRIu64 " looks, %" PRIu64 " wrong", c->compared, c->wrong);
	if (c->wrong)
		printf(" (first at line %" PRIu64 ")", c->wrong_line);
	if (c->freed)
		printf(", %" PRIu64 " freed as MADV_FREE permits", c->freed);
	printf("\n");
	if (r->ooms)
		printf("  out of memory     %" PRIu64 " times%s%.0" PRIu64 "\n", r->ooms,
		       c->oom_line ? ", and nothing compared from line " : "", c->oom_line);
}

static void put_times(const struct replay *r)
{
	printf("\ntime in the core\n  %-16s %10s %10s %10s\n", "operation", "calls", "ms",
	       "us each");
	for (int i = 0; i < REPLAY_NR_OPS; i++) {
		const struct replay_time *t = &r->times[i];

		if (t->calls)
			printf("  %-16s %10" PRIu64 " %10.3f %10.3f\n",
			       replay_op_name((enum replay_op)i), t->calls, (double)t->ns / 1e6,
			       (double)t->ns / 1e3 / (double)t->calls);
	}
}

static uint64_t resident(const struct replay_row *row)
{
	return row->rss_peak[AVM_RSS_ANON] + row->rss_peak[AVM_RSS_FILE] +
	       row->rss_peak[AVM_RSS_SHMEM];
}

static int by_resident(const void *pa, const void *pb)
{
	const struct replay_row *a = *(const struct replay_row *const *)pa;
	const struct replay_row *b = *(const struct replay_row *const *)pb;

	if (resident(a) != resident(b))
		return resident(a) < resident(b) ? 1 : -1;
	return (a->pid > b->pid) - (a->pid < b->pid);
}

/* All rows, the largest first; NULL without memory or rows. */
static const struct replay_row **sorted_rows(const struct replay *r)
{
	const struct replay_row **rows = malloc((r->nr_rows ? r->nr_rows : 1) * sizeof(void *));
	size_t n = 0;

	for (const struct replay_row *row = r->rows; rows && row; row = row->next)
		rows[n++] = row;
	if (rows)
		qsort(rows, n, sizeof(void *), by_resident);
	return rows;
}

static void put_rows(const struct replay *r, unsigned top)
{
	const struct replay_row **rows = sorted_rows(r);

	if (!rows || !top || !r->nr_rows) {
		free(rows);
		return;
	}
	printf("\naddress spaces, %s %" PRIu64 " (peaks, in KiB)\n",
	       r->nr_rows > top ? "largest of" : "all", r->nr_rows);
	printf("  %-7s %-16s %9s %9s %9s %6s %8s %6s %6s\n", "pid", "command", "anon", "file",
	       "shared", "VMAs", "faults", "forks", "chain");
	for (uint64_t i = 0; i < r->nr_rows && i < top; i++) {
		const struct replay_row *w = rows[i];
		char comm[64];

		trace_quote(comm, sizeof(comm), (struct trace_str){ w->comm, strlen(w->comm) });
		printf("  %-7d %-16s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %6" PRIu64 " %8" PRIu64
		       " %6" PRIu64 " %6" PRIu64 "\n",
		       w->pid, comm, w->rss_peak[AVM_RSS_ANON] * 4, w->rss_peak[AVM_RSS_FILE] * 4,
		       w->rss_peak[AVM_RSS_SHMEM] * 4, w->vmas_peak, w->faults, w->forks,
		       w->longest_chain);
	}
	free(rows);
}

void report_text(const struct replay *r, unsigned top)
{
	put_head(r);
	/* Who is short of memory faults where nobody did. */
	if (r->config.contents)
		put_pressure(r);
	else
		put_fidelity(r);
	put_machine(r);
	put_times(r);
	put_rows(r, top);
}
