/* SPDX-License-Identifier: MIT */
/*
 * check_dpor.c - source sets and sleep sets (Abdulla, Aronis, Jonsson, Sagonas: Optimal dynamic partial order reduction, 2014).
 *
 * The tree of executions is gone through depth first. After each execution every two steps of different threads are looked for
 * that depend on each other, with nothing in between that puts one before the other: a race. Before the first of them somebody
 * must be tried who can begin what leads to the second without the first. Threads that were tried at a place sleep when
 * another one is tried there.
 *
 * A thread that waits or spins cannot be tried. The step of another that lets it go on is before all that it does then;
 * what could be reversed only by going on without that step is no race.
 */
#include "check_dpor.h"

#include <stdlib.h>
#include <string.h>

#include "check_record.h"

#define TABLE_SHIFT 14
#define TABLE (1u << TABLE_SHIFT)

/* A place of the execution that was gone through last. */
struct place {
	struct check_node node; /* and the step that was done there */
	uint8_t tried, wanted; /* a bit for each thread: done; to be done */
	uint32_t number; /* of the step in its thread, from 1 */
	struct check_clock
		before; /* steps of each thread that come before the end of this one, itself too */
	struct check_step slept[CHECK_THREADS]; /* of those that have been tried, or sleep */
};

/* The last steps that have to do with a key: numbers of places, and one; 0: none. */
struct latest {
	uint64_t key, generation; /* of the execution; another: free */
	uint32_t touched[CHECK_THREADS], wrote[CHECK_THREADS];
};

struct dpor {
	struct check *c;
	struct check_record *r;
	struct check_explorer *e;
	struct place *at;
	uint32_t n, room;
	uint32_t given; /* places that the execution is told */
	bool late;
	uint64_t generation;
	uint32_t last[CHECK_THREADS],
		much[CHECK_THREADS]; /* steps; those that depend on everything */
	uint32_t nr_keys;
	struct latest table[TABLE];
};

static bool make_room(struct dpor *x, uint32_t n)
{
	uint32_t room = x->room ? x->room : 256;
	void *more;

	while (room < n)
		room *= 2;
	if (room == x->room)
		return true;
	more = realloc(x->at, room * sizeof(*x->at));
	if (!more)
		return false;
	x->at = more;
	x->room = room;
	return true;
}

/* ---- what comes before what ------------------------------------------------------------------------------------------- */

static uint32_t later(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static void join(struct check_clock *to, const struct check_clock *from)
{
	for (unsigned t = 0; t < CHECK_THREADS; t++)
		to->of[t] = later(to->of[t], from->of[t]);
}

static bool is_before(const struct place *p, const struct check_clock *clock)
{
	return clock->of[p->node.thread] >= p->number;
}

/* NULL: there are too many. */
static struct latest *latest_of(struct dpor *x, uint64_t key)
{
	uint32_t i = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - TABLE_SHIFT));

	for (;; i++) {
		struct latest *l = &x->table[i % TABLE];

		if (l->generation == x->generation && l->key == key)
			return l;
		if (l->generation == x->generation)
			continue;
		if (x->nr_keys == TABLE / 4 * 3)
			return NULL;
		x->nr_keys++;
		*l = (struct latest){ .key = key, .generation = x->generation };
		return l;
	}
}

/* The last step of the thread on which this one depends: those before it come before that. */
static uint32_t last_rival(struct dpor *x, const struct check_step *s, unsigned thread)
{
	uint32_t rival = s->much ? x->last[thread] : x->much[thread];

	for (uint32_t i = 0; i < s->n; i++) {
		const struct latest *l = latest_of(x, s->touched[i] & ~UINT64_C(1));

		if (!l)
			return x->last[thread];
		rival = later(rival, s->touched[i] & 1 ? l->touched[thread] : l->wrote[thread]);
	}
	return rival;
}

static void note_step(struct dpor *x, uint32_t i)
{
	const struct check_node *k = &x->at[i].node;

	for (uint32_t n = 0; n < k->step.n; n++) {
		struct latest *l = latest_of(x, k->step.touched[n] & ~UINT64_C(1));

		if (!l) {
			x->much[k->thread] = i + 1;
			continue;
		}
		l->touched[k->thread] = i + 1;
		if (k->step.touched[n] & 1)
			l->wrote[k->thread] = i + 1;
	}
	x->last[k->thread] = i + 1;
	if (k->step.much)
		x->much[k->thread] = i + 1;
}

/* Does a step behind the i-th, not after it, come before the k-th? */
static bool is_led_to(const struct dpor *x, uint32_t i, uint32_t k)
{
	for (uint32_t j = i + 1; j < k; j++) {
		if (!is_before(&x->at[i], &x->at[j].before) &&
		    is_before(&x->at[j], &x->at[k].before))
			return true;
	}
	return false;
}

/* Of the steps behind the i-th that do not come after it, and of the last one: whose could be the first? */
static unsigned beginners(const struct dpor *x, uint32_t i, uint32_t last)
{
	unsigned threads = 0, looked = 0;

	for (uint32_t k = i + 1; k <= last; k++) {
		unsigned thread = 1u << x->at[k].node.thread;

		if (looked & thread || (k != last && is_before(&x->at[i], &x->at[k].before)))
			continue;
		looked |= thread;
		if (!is_led_to(x, i, k))
			threads |= thread;
	}
	return threads;
}

/* The i-th step and the last one race. */
static void race(struct dpor *x, uint32_t i, uint32_t last)
{
	struct place *p = &x->at[i];
	unsigned could = x->e->nr_threads == 2 ? 1u << x->at[last].node.thread :
						 beginners(x, i, last);

	could &= p->node.enabled;
	if (!(could & p->wanted))
		p->wanted |= (uint8_t)(could & (~could + 1));
}

/* The step's clock, from those of all that come before it. What nothing else has put there races with it. */
static void look_back(struct dpor *x, uint32_t last)
{
	struct place *p = &x->at[last];
	unsigned t = p->node.thread, left = (1u << x->e->nr_threads) - 1;

	if (x->last[t]) {
		p->before = x->at[x->last[t] - 1].before;
		p->number = x->at[x->last[t] - 1].number + 1;
	}
	if (p->node.enabler != NO_NODE)
		join(&p->before, &x->at[p->node.enabler].before);
	for (left &= ~(1u << t); left;) {
		unsigned rival = CHECK_THREADS;
		uint32_t i = 0;

		for (unsigned other = 0; other < x->e->nr_threads; other++) {
			uint32_t at = left & 1u << other ? last_rival(x, &p->node.step, other) : 0;

			if (at > i) {
				i = at;
				rival = other;
			}
		}
		if (!i)
			break;
		left &= ~(1u << rival);
		if (is_before(&x->at[i - 1], &p->before))
			continue;
		if (last + 1 >= x->given)
			race(x, i - 1, last);
		join(&p->before, &x->at[i - 1].before);
	}
	p->before.of[t] = p->number;
}

static void find_races(struct dpor *x)
{
	x->generation++;
	x->nr_keys = 0;
	memset(x->last, 0, sizeof(x->last));
	memset(x->much, 0, sizeof(x->much));
	for (uint32_t i = 0; i < x->n; i++) {
		struct place *p = &x->at[i];

		p->before = (struct check_clock){ { 0 } };
		p->number = 1;
		look_back(x, i);
		note_step(x, i);
	}
}

/* ---- executions ----------------------------------------------------------------------------------------------------------- */

/* The switches that lead to the last of the places given, and there to its thread. False: there are too many. */
static bool lead(const struct dpor *x, struct check_schedule *s)
{
	*s = (struct check_schedule){ .strategy = CHECK_REPLAY, .late = x->late };
	if (x->given)
		s->first = x->at[0].node.thread;
	for (uint32_t i = 1; i < x->given; i++) {
		const struct check_node *k = &x->at[i].node;

		if (k->thread == k->usual)
			continue;
		if (s->nr_switches == CHECK_SWITCHES)
			return false;
		s->switches[s->nr_switches++] =
			(struct check_switch){ k->at, k->decider, k->thread, NULL };
	}
	return true;
}

/* What was recorded, from the last place that was given. False: it went another way. */
static bool take_over(struct dpor *x)
{
	const struct check_record *r = x->r;

	if (r->full || r->n < x->given || !make_room(x, r->n))
		return false;
	for (uint32_t i = x->given ? x->given - 1 : 0; i < r->n; i++) {
		struct place *p = &x->at[i];
		const struct check_node *k = &r->nodes[i];

		if (i < x->given && p->node.thread != k->thread)
			return false;
		if (i < x->given) {
			p->node.step = k->step;
			continue;
		}
		*p = (struct place){ .node = *k };
		memcpy(p->slept, r->slept, sizeof(p->slept));
	}
	x->n = r->n;
	if (x->n && r->nodes[x->n - 1].thread == CHECK_THREADS)
		x->n--; /* given up there */
	for (uint32_t i = x->given ? x->given - 1 : 0; i < x->n; i++) {
		struct place *p = &x->at[i];

		p->tried |= (uint8_t)(1u << p->node.thread);
		p->wanted |= (uint8_t)(1u << p->node.thread);
		p->slept[p->node.thread] = p->node.step;
	}
	return true;
}

/* The deepest place where somebody is still to be tried, and him. False: there is none. */
static bool next_place(struct dpor *x)
{
	for (x->given = x->n; x->given; x->given--) {
		struct place *p = &x->at[x->given - 1];
		unsigned left = p->wanted & ~(unsigned)(p->tried | p->node.asleep);

		if (!left)
			continue;
		x->r->sleepers = (uint8_t)(p->tried | p->node.asleep);
		memcpy(x->r->slept, p->slept, sizeof(p->slept));
		p->node.thread = (uint8_t)__builtin_ctz(left);
		return true;
	}
	return false;
}

/* False: enough. */
static bool explore(struct dpor *x, bool late)
{
	static struct check_schedule s;
	struct check_explorer *e = x->e;

	x->late = late;
	x->n = x->given = 0;
	x->r->sleepers = 0;
	e->of_last_pass = e->pruned = 0;
	do {
		bool more = lead(x, &s) && e->run(e->context, &s);

		e->executions++;
		e->of_last_pass++;
		e->pruned += check_pruned(x->c);
		if (!more)
			return false;
		if (!take_over(x) || (e->most && e->executions >= e->most)) {
			e->cut = true;
			return false;
		}
		find_races(x);
	} while (next_place(x));
	return true;
}

bool check_explore_traces(struct check *c, struct check_explorer *e)
{
	struct dpor *x = calloc(1, sizeof(*x));
	bool more = false;

	e->executions = 0;
	e->cut = false;
	if (x)
		x->r = check_record_new();
	if (x && x->r) {
		x->c = c;
		x->e = e;
		c->record = x->r;
		x->r->avoids = true;
		more = explore(x, false) && (!x->r->defers || explore(x, true));
		c->record = NULL;
		free(x->at);
	}
	if (x)
		check_record_free(x->r);
	free(x);
	return more;
}
