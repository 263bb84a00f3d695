/* SPDX-License-Identifier: MIT */
/*
 * The tasks of an strace log: who is alive, in which group, with which call begun; and, from a first
 * pass over the text, who begot whom.
 */
#include <errno.h>
#include <stdlib.h>

#include "trace_strace.h"

bool strace_name_is(struct trace_str s, const char *name)
{
	return s.n == strlen(name) && !memcmp(s.p, name, s.n);
}

bool strace_is_clone(struct trace_str s)
{
	return strace_name_is(s, "clone") || strace_name_is(s, "clone3") ||
	       strace_name_is(s, "fork") || strace_name_is(s, "vfork");
}

int32_t strace_child_of(const struct strace_call *c)
{
	uint64_t ret;
	int err;
	bool none, known;

	if (!c->result.n || !strace_result(c->result, &ret, &err, &none, &known) || none || err ||
	    !ret || ret > INT32_MAX)
		return 0;
	return (int32_t)ret;
}

static size_t hash_tid(int32_t tid, size_t slots)
{
	uint32_t h = (uint32_t)tid;

	h = (h ^ h >> 16) * 0x7feb352du;
	h = (h ^ h >> 15) * 0x846ca68bu;
	return (h ^ h >> 16) & (slots - 1);
}

static struct strace_task *probe(struct strace_task *tasks, size_t slots, int32_t tid)
{
	size_t i = hash_tid(tid, slots);

	while (tasks[i].used && tasks[i].tid != tid)
		i = (i + 1) & (slots - 1);
	return &tasks[i];
}

struct strace_task *strace_find_task(struct strace_tasks *r, int32_t tid)
{
	struct strace_task *k = r->task_slots ? probe(r->tasks, r->task_slots, tid) : NULL;

	return k && k->used ? k : NULL;
}

static int grow_tasks(struct strace_tasks *r)
{
	size_t slots = r->task_slots ? r->task_slots * 2 : 64;
	struct strace_task *tasks = calloc(slots, sizeof(*tasks));

	if (!tasks)
		return -ENOMEM;
	for (size_t i = 0; i < r->task_slots; i++) {
		if (r->tasks[i].used)
			*probe(tasks, slots, r->tasks[i].tid) = r->tasks[i];
	}
	free(r->tasks);
	r->tasks = tasks;
	r->task_slots = slots;
	return 0;
}

int strace_add_task(struct strace_tasks *r, int32_t tid, int32_t tgid)
{
	struct strace_task *k;

	if (r->ntasks * 2 >= r->task_slots && grow_tasks(r) < 0)
		return -ENOMEM;
	k = probe(r->tasks, r->task_slots, tid);
	if (!k->used)
		r->ntasks++;
	*k = (struct strace_task){ .tid = tid, .tgid = tgid, .used = true, .alive = true };
	k = strace_find_task(r, tgid);
	if (k)
		k->threads++;
	return 0;
}

bool strace_remove_task(struct strace_tasks *r, struct strace_task *k)
{
	struct strace_task *leader = strace_find_task(r, k->tgid);

	k->alive = false;
	k->pending.n = 0;
	if (leader && leader->threads)
		leader->threads--;
	return !leader || !leader->threads;
}

/* --- Who begot whom --------------------------------------------------------------------------- */

static int note_birth(struct strace_tasks *r, const struct strace_line *l)
{
	struct strace_call c;
	int32_t child;

	if ((l->form != STRACE_CALL && l->form != STRACE_RESUMED) || !strace_is_clone(l->name) ||
	    !strace_split(l->rest, true, &c))
		return 0;
	child = strace_child_of(&c);
	if (!child)
		return 0;
	if (r->nbirths == r->birth_cap) {
		size_t cap = r->birth_cap ? r->birth_cap * 2 : 64;
		struct strace_birth *b = realloc(r->births, cap * sizeof(*b));

		if (!b)
			return -ENOMEM;
		r->births = b;
		r->birth_cap = cap;
	}
	r->births[r->nbirths++] = (struct strace_birth){ .child = child, .parent = l->tid };
	return 0;
}

/* By child; those of one child keep their order, by where they stand. */
static int cmp_birth(const void *pa, const void *pb)
{
	const struct strace_birth *a = pa, *b = pb;

	return (a->child > b->child) - (a->child < b->child);
}

static void sort_births(struct strace_birth *b, struct strace_birth *tmp, size_t n)
{
	/* Bottom-up merge: stable, and no recursion. */
	for (size_t w = 1; w < n; w *= 2) {
		for (size_t lo = 0; lo < n; lo += 2 * w) {
			size_t mid = lo + w < n ? lo + w : n, hi = lo + 2 * w < n ? lo + 2 * w : n;
			size_t i = lo, j = mid;

			for (size_t k = lo; k < hi; k++)
				tmp[k] = j >= hi || (i < mid && cmp_birth(&b[i], &b[j]) <= 0) ?
						 b[i++] :
						 b[j++];
		}
		memcpy(b, tmp, n * sizeof(*b));
	}
}

struct strace_birth *strace_find_birth(struct strace_tasks *r, int32_t child)
{
	size_t lo = 0, hi = r->nbirths;

	/* Taken ones come first among equals, so this is a partition. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		struct strace_birth *b = &r->births[mid];

		if (b->child < child || (b->child == child && b->taken))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < r->nbirths && r->births[lo].child == child ? &r->births[lo] : NULL;
}

typedef int (*line_fn)(struct strace_tasks *r, const struct strace_line *l);

static int each_line(struct strace_tasks *r, struct scan text, line_fn fn)
{
	int rc = 0;

	while (text.p < text.end && !rc) {
		const char *nl = memchr(text.p, '\n', (size_t)(text.end - text.p));
		struct strace_line l;

		if (!nl)
			break;
		if (strace_parse_line(text.p, nl, &l))
			rc = fn(r, &l);
		text.p = nl + 1;
	}
	return rc;
}

/* The first thread id that nobody begot is the one whose lines had none before. => 1: found */
static int guess_root(struct strace_tasks *r, const struct strace_line *l)
{
	if (!l->has_tid || strace_find_birth(r, l->tid))
		return 0;
	r->root = l->tid;
	return 1;
}

int strace_note_births(struct strace_tasks *r, struct scan text)
{
	int rc = each_line(r, text, note_birth);
	struct strace_birth *tmp;

	if (rc)
		return rc;
	if (r->nbirths) {
		tmp = malloc(r->nbirths * sizeof(*tmp));
		if (!tmp)
			return -ENOMEM;
		sort_births(r->births, tmp, r->nbirths);
		free(tmp);
	}
	r->root = 1;
	each_line(r, text, guess_root);
	return 0;
}

void strace_free_tasks(struct strace_tasks *r)
{
	free(r->tasks);
	free(r->births);
}
