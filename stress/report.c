/* SPDX-License-Identifier: MIT */
/* report.c - what a stress run has done, and what it has met. */
#include "sim.h"
#include "stress.h"

static void print_operations(const struct world *w, FILE *out)
{
	uint64_t all = 0;

	fprintf(out, "%-12s %14s %12s\n", "operation", "done", "/s");
	for (unsigned i = 0; i < NR_OPS; i++) {
		uint64_t n = 0;

		for (unsigned t = 0; t < w->options->threads; t++)
			n += GET(w->workers[t].done[i]);
		all += n;
		fprintf(out, "%-12s %14llu %12.0f\n", op_names[i], (ull)n, (double)n / w->seconds);
	}
	fprintf(out, "%-12s %14llu %12.0f\n\n", "all", (ull)all, (double)all / w->seconds);
}

static void print_locks(const struct world *w, FILE *out)
{
	struct smp_lock_stats locks[16];
	unsigned n = smp_lock_stats(w->sim, locks, 16);

	fprintf(out, "%-12s %14s %12s %12s %12s %14s\n", "lock class", "taken", "contended",
		"waited, ms", "held, ms", "longest, us");
	for (unsigned i = 0; i < n; i++)
		fprintf(out, "%-12s %14llu %12llu %12.1f %12.1f %14.1f\n", locks[i].name,
			(ull)locks[i].taken, (ull)locks[i].contended,
			(double)locks[i].waited_ns / 1e6, (double)locks[i].held_ns / 1e6,
			(double)locks[i].longest_hold_ns / 1e3);
	fputc('\n', out);
}

static uint64_t contended(const struct world *w)
{
	struct smp_lock_stats locks[16];
	unsigned n = smp_lock_stats(w->sim, locks, 16);
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += locks[i].contended;
	return sum;
}

/* Races that somebody has lost: each is harmless, and each is to have happened. */
static void print_races(const struct world *w, FILE *out)
{
	uint64_t retries = 0, ooms = 0;

	for (unsigned t = 0; t < w->options->threads; t++) {
		retries += GET(w->workers[t].retries);
		ooms += GET(w->workers[t].ooms);
	}
	fprintf(out, "%-24s %14s\n", "race taken", "times");
	fprintf(out, "%-24s %14llu\n", "fault_retried", (ull)retries);
	fprintf(out, "%-24s %14llu\n", "fault_spurious",
		(ull)w->stats.events[AVM_EV_FAULT_SPURIOUS]);
	for (unsigned i = AVM_EV_RACE_ISOLATED; i < AVM_NR_EVENTS; i++)
		fprintf(out, "%-24s %14llu\n", avm_event_name((enum avm_event)i),
			(ull)w->stats.events[i]);
	fprintf(out, "%-24s %14llu\n", "lock_contended", (ull)contended(w));
	fprintf(out, "%-24s %14llu\n\n", "out_of_memory", (ull)ooms);
}

static void print_work(const struct world *w, FILE *out)
{
	static const enum avm_event events[] = {
		AVM_EV_FAULT_MINOR, AVM_EV_FAULT_MAJOR, AVM_EV_COW_COPY,   AVM_EV_COW_REUSE,
		AVM_EV_SWAP_OUT,    AVM_EV_SWAP_IN,	AVM_EV_LAZY_FREED, AVM_EV_KSM_MERGED,
		AVM_EV_KSM_BROKEN,  AVM_EV_MIGRATED,	AVM_EV_FORK,	   AVM_EV_EXIT,
		AVM_EV_MERGE,	    AVM_EV_SPLIT,
	};
	struct smp_tlb_stats tlb;

	smp_tlb_stats(w->sim, &tlb);
	for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		fprintf(out, "%s%s %llu", i ? ", " : "core: ", avm_event_name(events[i]),
			(ull)w->stats.events[events[i]]);
	fprintf(out, "\nTLBs: hits %llu, walks %llu, flushes %llu, shoot-downs %llu\n",
		(ull)tlb.hits, (ull)tlb.walks, (ull)tlb.flushes, (ull)tlb.shootdowns);
	fprintf(out,
		"looked %llu times at everything, at %llu words by their frames, %llu by loads\n",
		(ull)w->looks, (ull)w->words_checked, (ull)w->loads_checked);
}

void report(struct world *w, FILE *out)
{
	if (!w->options->quiet) {
		print_operations(w, out);
		print_locks(w, out);
		print_races(w, out);
		print_work(w, out);
	}
	fprintf(out, "%u threads, %u processes, %llu frames, %.1f s, seed %llu: %llu violations\n",
		w->options->threads, w->options->processes, (ull)w->stats.frames_total, w->seconds,
		(ull)w->options->seed, (ull)w->violations);
}
