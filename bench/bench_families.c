/* SPDX-License-Identifier: MIT */
/*
 * bench_families.c - what families of forks cost: edges, memory, the next fork, reverse walks; by shape and by policy.
 *
 * docs/families.md says what the shapes are and what the figures mean.
 *
 * A process of the host has VMAs of its own beside those of the shape: its program, its libraries, its stack. What they
 * cost is measured by the same family without the VMAs of the shape, and taken off.
 */
#include <math.h>

#include "anonvm/anonvm.h"
#include "families.h"

#define SHRINK 100 /* pages that reclaim is asked for */
#define MANY_VISITS 1e8 /* a minute, or half of one */

enum {
	REUSE = AVM_FAMILY_REUSE,
	CHAIN = AVM_FAMILY_CHAIN,
	FLAT = AVM_FAMILY_FLAT,
	NR_POLICIES,
};

static const char *const policy_names[NR_POLICIES] = {
	[REUSE] = "ours, reuse",
	[CHAIN] = "ours, policy chain",
	[FLAT] = "ours, policy flat",
};

enum {
	WIDE,
	RELAY,
	CHAIN_100,
	CHAIN_1000,
	TREE,
	ZYGOTE,
};

static const struct shape full[] = {
	[WIDE] = { "families-wide", FORM_STAR, 1001, 10, 100 },
	[RELAY] = { "families-relay", FORM_RELAY, 5000, 10, 1 },
	[CHAIN_100] = { "families-chain-100", FORM_CHAIN, 100, 10, 1 },
	[CHAIN_1000] = { "families-chain-1000", FORM_CHAIN, 1000, 10, 1 },
	[TREE] = { "families-tree", FORM_TREE, 1023, 10, 1 },
	[ZYGOTE] = { "families-zygote", FORM_STAR, 101, 1000, 1 },
};

static const struct shape quick[] = {
	[WIDE] = { "families-wide", FORM_STAR, 21, 10, 10 },
	[RELAY] = { "families-relay", FORM_RELAY, 60, 10, 1 },
	[CHAIN_100] = { "families-chain-100", FORM_CHAIN, 20, 10, 1 },
	[CHAIN_1000] = { "families-chain-1000", FORM_CHAIN, 40, 10, 1 },
	[TREE] = { "families-tree", FORM_TREE, 31, 10, 1 },
	[ZYGOTE] = { "families-zygote", FORM_STAR, 6, 100, 1 },
};

/* ---- rows -------------------------------------------------------------------------------------------------- */

/* The same figure of everybody. */
struct row {
	struct bench_series *by_policy[NR_POLICIES];
	struct bench_series *host;
};

static struct row open_row(struct bench *b, enum bench_unit unit, const char *what,
			   const char *host)
{
	struct bench_row *r = bench_row(b, unit, "%s", what);
	struct row row = { .by_policy[REUSE] = &r->ours };

	row.by_policy[CHAIN] = bench_against(r, policy_names[CHAIN]);
	row.by_policy[FLAT] = bench_against(r, policy_names[FLAT]);
	if (host)
		row.host = bench_against(r, host);
	return row;
}

/* ---- who takes part ------------------------------------------------------------------------------------------ */

/* Families of the host; NULL where there is none. */
struct hosts {
	struct host_family *family;
	struct host_family *base; /* without the VMAs of the shape */
	struct host_family *alone, *base_alone; /* one process each */
};

struct sides {
	const struct shape *shape;
	struct core_family *core[NR_POLICIES];
	struct core_family *alone[NR_POLICIES]; /* the first process, without a family */
	struct hosts hosts;
};

static void open_hosts(struct bench *b, const struct shape *s, struct hosts *h)
{
	struct shape base = *s, alone = *s, base_alone = *s;

	base.vmas = base_alone.vmas = 0;
	alone.processes = base_alone.processes = 1;
	h->family = host_family_open(b, s);
	if (!h->family)
		return;
	h->base = host_family_open(b, &base);
	h->alone = host_family_open(b, &alone);
	h->base_alone = host_family_open(b, &base_alone);
}

static void open_sides(struct bench *b, const struct shape *s, struct sides *sides)
{
	*sides = (struct sides){ .shape = s };
	/* First: its processes begin as copies of this one, which should be small. */
	open_hosts(b, s, &sides->hosts);
	for (int p = 0; p < NR_POLICIES; p++) {
		sides->core[p] = core_family_open(s, (enum avm_family_policy)p);
		sides->alone[p] = core_family_open(s, (enum avm_family_policy)p);
		core_family_grow(sides->alone[p], 1);
	}
}

static struct counts close_host(struct host_family *h)
{
	return h ? host_family_close(h) : (struct counts){ NAN, NAN, NAN };
}

static void close_sides(struct sides *sides)
{
	for (int p = 0; p < NR_POLICIES; p++) {
		core_family_close(sides->core[p]);
		core_family_close(sides->alone[p]);
	}
	close_host(sides->hosts.base_alone);
	close_host(sides->hosts.alone);
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

static struct counts host_counts(const struct hosts *h)
{
	struct counts family = { NAN, NAN, NAN }, base = { NAN, NAN, NAN };

	if (h->family)
		family = host_family_count(h->family);
	if (h->base)
		base = host_family_count(h->base);
	return (struct counts){ family.avcs - base.avcs, family.anon_vmas - base.anon_vmas,
				family.bytes - base.bytes };
}

/* Of the host last of all: what is left when its processes are gone is what others have made, or freed, meanwhile. */
static void report_host_counts(struct bench *b, const struct sides *sides, const struct row rows[3])
{
	const struct hosts *h = &sides->hosts;
	struct counts host = host_counts(h);
	struct counts left = close_host(h->base), also = close_host(h->family);
	const double values[3] = { host.avcs, host.anon_vmas, host.bytes };
	const double noise[3] = { fabs(left.avcs) + fabs(also.avcs),
				  fabs(left.anon_vmas) + fabs(also.anon_vmas),
				  fabs(left.bytes) + fabs(also.bytes) };
	static const char *const what[3] = { "AVCs", "anon_vmas", "bytes" };

	if (h->family && isnan(host.avcs))
		bench_skip(b,
			   "%s: AVCs and anon_vmas of the host: only root may read /proc/slabinfo",
			   sides->shape->name);
	for (int i = 0; i < 3; i++) {
		if (fabs(values[i]) > 4 * noise[i])
			bench_add(rows[i].host, values[i]);
		else if (!isnan(values[i]))
			bench_skip(b, "%s: %s of the host: %.0f, and %.0f of others meanwhile",
				   sides->shape->name, what[i], values[i], noise[i]);
	}
}

static void report_counts(struct bench *b, const struct sides *sides, struct row rows[3])
{
	struct row avcs = open_row(b, BENCH_COUNT, "AVCs", "host");
	struct row anon_vmas = open_row(b, BENCH_COUNT, "anon_vmas", "host");
	struct row bytes = open_row(b, BENCH_BYTES, "both, bytes", "host");

	for (int p = 0; p < NR_POLICIES; p++) {
		struct counts c = core_family_count(sides->core[p]);

		bench_add(avcs.by_policy[p], c.avcs);
		bench_add(anon_vmas.by_policy[p], c.anon_vmas);
		bench_add(bytes.by_policy[p], c.bytes);
	}
	rows[0] = avcs;
	rows[1] = anon_vmas;
	rows[2] = bytes;
}

/* ---- the next fork ---------------------------------------------------------------------------------------------- */

static double host_leaf(struct host_family *h)
{
	return h ? host_family_leaf(h) : NAN;
}

static void report_leaf(struct bench *b, struct sides *sides)
{
	struct row leaf = open_row(b, BENCH_NS, "one more: fork + exit", "host");
	struct row alone = open_row(b, BENCH_NS, "the same without a family", "host");
	struct row added = open_row(b, BENCH_NS, "what the family adds", "host, these VMAs");

	while (bench_round(b)) {
		const struct hosts *h = &sides->hosts;
		double in_family = host_leaf(h->family), one = host_leaf(h->alone);
		double base = host_leaf(h->base) - host_leaf(h->base_alone);

		bench_add(leaf.host, in_family);
		bench_add(alone.host, one);
		bench_add(added.host, in_family - one - base);
		for (int p = 0; p < NR_POLICIES; p++) {
			double with = core_family_leaf(b, sides->core[p]);
			double without = core_family_leaf(b, sides->alone[p]);

			bench_add(leaf.by_policy[p], with);
			bench_add(alone.by_policy[p], without);
			bench_add(added.by_policy[p], with - without);
		}
	}
}

/* ---- depth ------------------------------------------------------------------------------------------------------- */

static struct row open_depth_row(struct bench *b, unsigned depth)
{
	char what[64];

	snprintf(what, sizeof(what), "fork + exit, generation %u", depth);
	return open_row(b, BENCH_NS, what, NULL);
}

static void report_depth(struct bench *b, struct sides *sides, unsigned depth)
{
	struct row row = open_depth_row(b, depth);

	for (int p = 0; p < NR_POLICIES; p++)
		core_family_grow(sides->core[p], depth);
	while (bench_round(b)) {
		for (int p = 0; p < NR_POLICIES; p++)
			bench_add(row.by_policy[p], core_family_leaf(b, sides->core[p]));
	}
}

/* Grows what has a depth by and by, and the rest at once. */
static void grow(struct bench *b, struct sides *sides)
{
	unsigned n = sides->shape->processes;

	if (sides->shape->form == FORM_CHAIN) {
		report_depth(b, sides, n / 10);
		report_depth(b, sides, n / 2);
	}
	for (int p = 0; p < NR_POLICIES; p++)
		core_family_grow(sides->core[p], n);
}

/* Is the last generation as the third, which is the first that finds an idle ancestor? */
static void grow_relay(struct bench *b, struct sides *sides)
{
	unsigned n = sides->shape->processes;
	struct row begin = open_depth_row(b, 3), end = open_depth_row(b, n);
	struct core_family *third[NR_POLICIES];
	double memory;

	for (int p = 0; p < NR_POLICIES; p++) {
		third[p] = core_family_open(sides->shape, (enum avm_family_policy)p);
		core_family_grow(third[p], 3);
		core_family_grow(sides->core[p], n);
	}
	memory =
		core_family_count(sides->core[REUSE]).bytes / core_family_count(third[REUSE]).bytes;
	while (bench_round(b)) {
		for (int p = 0; p < NR_POLICIES; p++) {
			bench_add(begin.by_policy[p], core_family_leaf(b, third[p]));
			bench_add(end.by_policy[p], core_family_leaf(b, sides->core[p]));
		}
	}
	bench_bar(b, AT_MOST, memory, 1, "x",
		  "relay: memory of generation %u to that of generation 3", n);
	bench_bar(b, AT_MOST,
		  bench_median(end.by_policy[REUSE]) / bench_median(begin.by_policy[REUSE]), 1.2,
		  "x", "relay: fork + exit of generation %u to that of generation 3", n);
	for (int p = 0; p < NR_POLICIES; p++)
		core_family_close(third[p]);
}

/* ---- walks -------------------------------------------------------------------------------------------------------- */

struct walk_rows {
	struct row visits, ns;
};

static void add_walks(const struct walk_rows *rows, int policy, struct walks w)
{
	bench_add(rows->visits.by_policy[policy], w.visited / w.mapped);
	bench_add(rows->ns.by_policy[policy], w.ns);
}

static struct walk_rows open_walk_rows(struct bench *b, const char *what)
{
	struct walk_rows rows;
	char text[64];

	snprintf(text, sizeof(text), "%s: visits per mapping", what);
	rows.visits = open_row(b, BENCH_COUNT, text, NULL);
	snprintf(text, sizeof(text), "%s: a page", what);
	rows.ns = open_row(b, BENCH_NS, text, NULL);
	return rows;
}

/* All pages are young, so reclaim asks of each, and starts anew, before it takes one. */
static bool takes_too_long(const struct shape *s, int policy)
{
	double n = shape_alive(s), pages = n * s->vmas * s->pages;

	return policy == FLAT && pages * n / 2 > MANY_VISITS;
}

static void report_walks(struct bench *b, const struct sides *sides)
{
	struct walk_rows migrate = open_walk_rows(b, "migration");
	struct walk_rows page_out = open_walk_rows(b, "page-out");
	struct walk_rows shrink = { 0 };
	bool crowd = sides->shape->form != FORM_RELAY; /* one process has no pages to spare */

	if (crowd)
		shrink = open_walk_rows(b, "reclaim of 100 pages");
	for (int p = 0; p < NR_POLICIES; p++) {
		add_walks(&migrate, p, core_family_walk(sides->core[p], avm_migrate));
		if (!crowd)
			;
		else if (takes_too_long(sides->shape, p))
			bench_skip(b, "%s: %s: reclaim, which would take minutes",
				   sides->shape->name, policy_names[p]);
		else
			add_walks(&shrink, p, core_family_shrink(sides->core[p], SHRINK));
		add_walks(&page_out, p, core_family_walk(sides->core[p], avm_page_out));
	}
}

/* ---- the works ------------------------------------------------------------------------------------------------------ */

static void run(struct bench *b, const struct bench_work *work)
{
	struct sides sides;
	struct row counts[3];

	open_sides(b, &(b->quick ? quick : full)[work->size], &sides);
	if (work->size == RELAY)
		grow_relay(b, &sides);
	else
		grow(b, &sides);
	report_counts(b, &sides, counts);
	report_leaf(b, &sides);
	report_walks(b, &sides);
	close_sides(&sides);
	report_host_counts(b, &sides, counts);
}

const struct bench_work bench_families[] = {
	{ "families-wide", "1,000 children of one process, each has copied 1,000 pages", run,
	  WIDE },
	{ "families-relay", "each process forks and exits, 5,000 times", run, RELAY },
	{ "families-chain-100", "each process forks and stays, 100 times", run, CHAIN_100 },
	{ "families-chain-1000", "each process forks and stays, 1,000 times", run, CHAIN_1000 },
	{ "families-tree", "each process has two children, 9 levels deep", run, TREE },
	{ "families-zygote", "1,000 VMAs, 100 children", run, ZYGOTE },
	{ NULL, NULL, NULL, 0 },
};
