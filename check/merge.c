/* SPDX-License-Identifier: MIT */
/*
 * merge.c - `anonvm check merge FILE...`: the figures of shards, as `--json` prints them, as those of one campaign.
 */
#include "program.h"

#if AVM_HAVE_JANSSON
#include <jansson.h>
#include <string.h>

static const char *const sums[] = { "executions", "programs", "points",	   "repeated", "diverged",
				    "failing",	  "known",    "exhausted", "pruned",   "findings" };
#define NR_SUMS (sizeof(sums) / sizeof(sums[0]))

struct merged {
	json_t *found; /* a finding once, however many have met it */
	json_int_t sum[NR_SUMS];
	double seconds; /* of all together: shards run side by side, and each costs */
	json_int_t bound;
	bool bounded;
};

static void merge_finding(struct merged *m, json_t *shard)
{
	const char *text = json_string_value(json_object_get(shard, "finding"));
	json_t *other;
	size_t i;

	if (!text)
		return;
	json_array_foreach(m->found, i, other)
	{
		if (same_finding(json_string_value(json_object_get(other, "finding")), text))
			return;
	}
	json_array_append_new(m->found, json_pack("{s:s, s:O}", "finding", text, "program",
						  json_object_get(shard, "program")));
}

/* False: no figures of a campaign, or one that looked for something else. */
static bool merge_one(struct merged *m, json_t *shard)
{
	const json_t *bound = json_object_get(shard, "bound");
	bool same = !m->sum[0] || (m->bounded == (bound != NULL) &&
				   (!bound || json_integer_value(bound) == m->bound));

	if (!json_is_integer(json_object_get(shard, sums[0])) || !same)
		return false;
	m->bounded = bound != NULL;
	m->bound = json_integer_value(bound);
	for (size_t i = 0; i < NR_SUMS; i++)
		m->sum[i] += json_integer_value(json_object_get(shard, sums[i]));
	m->seconds += json_number_value(json_object_get(shard, "seconds"));
	merge_finding(m, shard);
	return true;
}

static void print(struct merged *m)
{
	json_t *j = json_object();

	for (size_t i = 0; i < NR_SUMS; i++) {
		bool of_all = !strcmp(sums[i], "exhausted") || !strcmp(sums[i], "pruned");

		if (!of_all || m->bounded || m->sum[i])
			json_object_set_new(j, sums[i], json_integer(m->sum[i]));
	}
	if (m->bounded)
		json_object_set_new(j, "bound", json_integer(m->bound));
	json_object_set_new(j, "seconds", json_real(m->seconds));
	json_object_set(j, "found", m->found);
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(j);
}

int merge_shards(int n, char **paths)
{
	struct merged m = { .found = json_array() };
	json_error_t error;
	int status = n ? 0 : 2;

	if (!n)
		fprintf(stderr, "anonvm: check: merge: no file\n");
	for (int i = 0; i < n && status != 2; i++) {
		json_t *shard = json_load_file(paths[i], 0, &error);

		if (!shard || !merge_one(&m, shard)) {
			fprintf(stderr, "anonvm: check: merge: %s: %s\n", paths[i],
				shard ? "no figures of such a campaign" : error.text);
			status = 2;
		}
		json_decref(shard);
	}
	if (status != 2) {
		print(&m);
		status = json_array_size(m.found) > 0;
	}
	json_decref(m.found);
	return status;
}

#else

int merge_shards(int n, char **paths)
{
	(void)n;
	(void)paths;
	fprintf(stderr, "anonvm: check: merge: built without jansson\n");
	return 2;
}

#endif
