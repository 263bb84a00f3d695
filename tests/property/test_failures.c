/* SPDX-License-Identifier: MIT */
/*
 * test_failures.c - every allocation of every kind of operation fails once, in many states.
 *
 * A state is a program; in it one operation runs with its first allocation failing, then with its second, ... until
 * it passes; then the same with all allocations failing from the i-th on. After each failure the machine must be as
 * before: the dumps of all address spaces equal (but for what fork and faults are allowed), the same numbers of
 * objects and frames, every invariant kept, boundaries and contents as the models say. At the end nothing is left.
 *
 *	test_failures [--seed N] [--states N]
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "percpu.h"
#include "states.h"
#include "vma.h"
#include "vma_tree.h"

#define MOST_FAILURES 3000
#define TRIES 3 /* operations of each kind in each state */

/* ---- what must not change ------------------------------------------------------------------------------ */

struct text {
	struct avm_sink sink;
	char *at;
	size_t n, room;
	bool forgiving; /* write permission and exclusive marks may have gone: fork (R9.1) */
};

static void forgive_write(char *line, const char *kind)
{
	line = strstr(line, kind);
	if (line)
		line[strlen(kind)] = '.';
}

/* Fork takes these two from the parent even when it fails. */
static void forgive(char *line)
{
	char *mark = strstr(line, "exclusive");

	if (strncmp(line, "pte ", 4))
		return;
	if (mark)
		memset(mark, '.', strlen("exclusive"));
	forgive_write(line, " present ");
	forgive_write(line, " swap ");
	/* "inuse,exclusive" and "inuse" are to look alike. */
	if (mark)
		memmove(mark - 1, mark + strlen("exclusive"),
			strlen(mark + strlen("exclusive")) + 1);
}

static void append(struct avm_sink *sink, const char *line)
{
	struct text *t = (struct text *)sink;
	size_t len = strlen(line);

	while (t->n + len + 2 > t->room)
		t->at = bounds_grow_array(t->at, t->room, &t->room, 1);
	memcpy(t->at + t->n, line, len + 1);
	if (t->forgiving)
		forgive(t->at + t->n);
	t->n += strlen(t->at + t->n);
	t->at[t->n++] = '\n';
	t->at[t->n] = '\0';
}

struct snapshot {
	struct text text;
	uint64_t counts[10];
};

static const char *const count_names[10] = { "address spaces", "VMAs",		 "anon_vmas",
					     "chain entries",  "promised pages", "frames",
					     "tree nodes",     "radix nodes",	 "files",
					     "bytes of slabs" };

/* Empty slabs may stay. */
static uint64_t slab_bytes(const struct avm *m)
{
	const struct avm_cache *caches[] = { &m->vmas,	     &m->anon_vmas,   &m->avcs,
					     &m->tree_nodes, &m->radix_nodes, &m->files };
	uint64_t bytes = 0;

	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++)
		bytes += (caches[i]->nr_slabs - caches[i]->nr_empty) * caches[i]->slab_size;
	return bytes;
}

static void snapshot(struct world *w, struct snapshot *s, bool forgiving)
{
	struct avm *m = sim_machine(w->sim);
	struct avm_mm *mm = NULL;
	struct avm_stats st;

	*s = (struct snapshot){ .text = { .sink = { .line = append }, .forgiving = forgiving } };
	while ((mm = avm_next_mm(m, mm))) {
		/* What is kept for the next operation: bounded, and given back with the address space. */
		avm_vma_tree_trim(&mm->vmas);
		avm_vma_free_spares(mm);
		avm_dump_mm(mm, &s->text.sink);
	}
	avm_stats(m, &st);
	s->counts[0] = st.mms;
	s->counts[1] = st.vmas;
	s->counts[2] = st.anon_vmas;
	s->counts[3] = st.avcs;
	s->counts[4] = st.committed;
	s->counts[5] = st.frames_used - st.tables; /* empty tables may stay */
	s->counts[6] = m->tree_nodes.nr_objects;
	s->counts[7] = m->radix_nodes.nr_objects;
	s->counts[8] = m->files.nr_objects;
	s->counts[9] = slab_bytes(m);
}

static void first_difference(const char *a, const char *b, char *out, size_t room)
{
	const char *line_a = a, *line_b = b;

	while (*a && *a == *b) {
		if (*a == '\n') {
			line_a = a + 1;
			line_b = b + 1;
		}
		a++;
		b++;
	}
	snprintf(out, room, "\"%.*s\" became \"%.*s\"", (int)strcspn(line_a, "\n"), line_a,
		 (int)strcspn(line_b, "\n"), line_b);
}

static void compare(struct world *w, const struct snapshot *before, const struct snapshot *after)
{
	char what[400];

	for (size_t i = 0; i < 10; i++) {
		if (before->counts[i] != after->counts[i])
			world_fail(w, CHECK_LEAK, "%s: %llu became %llu", count_names[i],
				   (unsigned long long)before->counts[i],
				   (unsigned long long)after->counts[i]);
	}
	if (before->text.n && after->text.n && strcmp(before->text.at, after->text.at) != 0) {
		first_difference(before->text.at, after->text.at, what, sizeof(what));
		world_fail(w, CHECK_LEAK, "changed: %s", what);
	}
}

/*
 * May it change something and fail all the same? Accesses and whatever populates: pages that came in, VMAs that
 * became faulted, stacks that grew. The models know what else must be the same.
 */
static bool may_populate(const struct world *w, const struct op *op)
{
	const struct bounds_mm *mm = w->procs[op->p].bounds;

	switch (op->kind) {
	case OP_LOAD:
	case OP_STORE:
	case OP_TOUCH:
	case OP_COPY_IN:
	case OP_COPY_OUT:
	case OP_COPY:
	case OP_POPULATE:
	case OP_MAP_CACHED:
	case OP_MLOCK:
	case OP_MLOCKALL:
	case OP_EXEC: /* the old image is gone by then */
	case OP_TRUNCATE: /* what is at the edge comes back from swap */
	case OP_PUNCH:
	case OP_SHRINK:
	case OP_SHRINK_ALL:
	case OP_SWAPOFF:
	case OP_KSM:
	case OP_MIGRATE:
	case OP_COMPACT:
	case OP_PIN:
	case OP_READAHEAD:
	case OP_FREAD:
	case OP_FWRITE:
		return true;
	case OP_MADVISE:
		return op->flags == AVM_MADV_POPULATE_READ ||
		       op->flags == AVM_MADV_POPULATE_WRITE || op->flags == AVM_MADV_WILLNEED ||
		       op->flags == AVM_MADV_UNMERGEABLE || op->flags == AVM_MADV_REMOVE;
	case OP_MPROTECT:
		return bounds_locked_pages(mm, 0, mm->top);
	default:
		return false;
	}
}

/* ---- one operation in one state -------------------------------------------------------------------------- */

enum failing {
	FAIL_ALLOC, /* the i-th */
	FAIL_ALLOCS, /* all from the i-th on */
	FAIL_READ, /* the i-th from swap */
	FAIL_WRITE,
	NR_FAILING,
};
static const char *const failing_names[NR_FAILING] = { "allocation", "allocation and all after it,",
						       "read from swap", "write to swap" };

struct sweep {
	const struct program *state;
	const char *name;
	enum failing failing;
	uint32_t i;
	uint64_t triples, operations;
	uint64_t io; /* of the triples: I/O that did fail */
};

static void complain(const struct sweep *s, const struct world *w, const struct op *op)
{
	struct program shown = *s->state;

	shown.ops = calloc(shown.n + 1, sizeof(*shown.ops));
	if (!shown.ops)
		exit(2);
	memcpy(shown.ops, s->state->ops, shown.n * sizeof(*shown.ops));
	shown.ops[shown.n++] = *op;
	fprintf(stderr, "state %s, %s %u fails: %s: %s\n", s->name, failing_names[s->failing], s->i,
		check_name(w->failed), w->what);
	program_print(&shown, w->claim, stderr);
	free(shown.ops);
}

static void enter(struct world *w, const struct program *state)
{
	world_open(w, state);
	for (size_t i = 0; i < state->n && !w->failed; i++) {
		world_step(w, &state->ops[i]);
		state->ops[i].expect = w->expect;
	}
}

static void fail_io(struct world *w, enum failing failing, uint32_t i)
{
	for (unsigned k = 0; k < NR_SWAPS; k++) {
		if (w->swaps[k])
			sim_swap_fail(w->swaps[k], i ? i - 1 : 0, i && failing == FAIL_READ,
				      i && failing == FAIL_WRITE);
	}
}

/* So often something has failed so far. */
static uint64_t failures(const struct world *w, enum failing failing)
{
	const struct avm *m = sim_machine(w->sim);

	if (failing == FAIL_READ)
		return avm_cpu_sum(m, &m->cpus[0].events[AVM_EV_SWAP_READ_ERROR]);
	if (failing == FAIL_WRITE)
		return avm_cpu_sum(m, &m->cpus[0].events[AVM_EV_SWAP_WRITE_ERROR]);
	return w->injected;
}

/* False: passed, nothing failed any more. */
static bool fail_once(struct sweep *s, struct world *w, const struct op *op)
{
	struct snapshot before, after;
	uint64_t failed_before = failures(w, s->failing);
	bool exact = !may_populate(w, op), failed;

	snapshot(w, &before, op->kind == OP_FORK);
	if (s->failing >= FAIL_READ)
		fail_io(w, s->failing, s->i);
	world_step(w, op);
	fail_io(w, s->failing, 0);
	failed = failures(w, s->failing) != failed_before;
	s->io += failed && s->failing >= FAIL_READ;
	if (failed && exact && w->expect < 0) {
		snapshot(w, &after, op->kind == OP_FORK);
		compare(w, &before, &after);
		free(after.text.at);
	}
	free(before.text.at);
	if (failed && !w->failed) {
		world_verify(w, AVM_VERIFY_ALL);
		for (unsigned p = 0; p < NR_PROCS; p++) {
			world_compare(w, p);
			world_audit(w, p);
		}
	}
	return failed && !w->failed;
}

static bool sweep_op(struct sweep *s, struct op op, enum failing failing)
{
	struct world w;

	enter(&w, s->state);
	s->failing = failing;
	s->i = 0;
	op.fail_count = failing == FAIL_ALLOC;
	do {
		s->i++;
		op.fail_first = failing < FAIL_READ ? s->i : 0;
		s->triples++;
	} while (fail_once(s, &w, &op) && s->i < MOST_FAILURES);
	world_close(&w);
	s->operations++;
	if (w.failed)
		complain(s, &w, &op);
	return !w.failed;
}

static void draw(const struct program *state, enum op_kind kind, struct rng *r, struct op *op)
{
	struct world w;

	enter(&w, state);
	generate_kind(r, &w, kind, op);
	world_close(&w);
}

/* Reads and writes of swap fail only where there is some. */
static bool sweep_all(struct sweep *s, const struct op *op)
{
	for (int failing = 0; failing < (s->state->pressure ? NR_FAILING : FAIL_READ); failing++) {
		if (!sweep_op(s, *op, (enum failing)failing))
			return false;
	}
	return true;
}

/* Builds that are slow, and are run with few random operations, sweep each kind of operation in one state of four. */
static uint64_t thinning(void)
{
	const char *ops = getenv("AVM_PROPERTY_OPS");

	return ops && strtoull(ops, NULL, 0) < 50000 ? 4 : 1;
}

static bool sweep_state(struct sweep *s, struct rng *r, uint64_t seed)
{
	uint64_t thin = thinning();
	struct op op;

	for (int kind = 0; kind < NR_OP_KINDS; kind++) {
		if (((uint64_t)kind + seed) % thin)
			continue;
		for (int i = 0; i < TRIES; i++) {
			draw(s->state, (enum op_kind)kind, r, &op);
			if (!sweep_all(s, &op))
				return false;
		}
	}
	return true;
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

/* In a process of its own, because a failure may be a crash. Its totals come through a pipe. */
static bool sweep_apart(const char *name, struct program *pr, uint64_t seed, struct sweep *total)
{
	struct sweep s = { .state = pr, .name = name };
	struct rng r = { .state = seed };
	int channel[2], status;
	pid_t pid;

	fflush(NULL);
	if (pipe(channel) || (pid = fork()) < 0)
		exit(2);
	if (!pid) {
		bool good = sweep_state(&s, &r, seed);

		if (write(channel[1], &s, sizeof(s)) != sizeof(s))
			exit(2);
		exit(good ? 0 : 1);
	}
	close(channel[1]);
	if (read(channel[0], &s, sizeof(s)) == sizeof(s)) {
		total->triples += s.triples;
		total->operations += s.operations;
		total->io += s.io;
	}
	close(channel[0]);
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status))
		fprintf(stderr, "state %s: crash\n", name);
	program_free(pr);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static bool sweep_layouts(uint64_t seed, struct sweep *total, unsigned *states)
{
	static const unsigned depths[] = { 0, 1, 2, 6 };
	bool good = true;
	char name[80];

	for (unsigned i = 0; i < nr_layouts; i++) {
		for (unsigned v = 0; v < layouts[i].variants; v++) {
			for (unsigned d = 0; d < sizeof(depths) / sizeof(depths[0]); d++) {
				struct program pr;

				hand_made(&pr, i, v, depths[d]);
				snprintf(name, sizeof(name), "%s %u, %u forks", layouts[i].name, v,
					 depths[d]);
				good &= sweep_apart(name, &pr, seed + pr.seed, total);
				++*states;
			}
		}
	}
	return good;
}

int main(int argc, char **argv)
{
	struct sweep total = { 0 };
	uint64_t seed = 1, random_states = 40;
	unsigned states = 0;
	bool good;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
		if (!strcmp(argv[i], "--states"))
			random_states = strtoull(argv[i + 1], NULL, 0);
	}
	good = sweep_layouts(seed, &total, &states);
	for (uint64_t i = 0; i < random_states; i++) {
		struct program pr;
		char name[80];

		random_state(&pr, seed * 1000 + i);
		snprintf(name, sizeof(name), "random %llu", (unsigned long long)(seed * 1000 + i));
		good &= sweep_apart(name, &pr, seed + i, &total);
		states++;
	}
	printf("# seed %llu: %llu (operation, state, i) triples swept, %llu of them I/O: %llu operations in %u states: %s\n",
	       (unsigned long long)seed, (unsigned long long)total.triples,
	       (unsigned long long)total.io, (unsigned long long)total.operations, states,
	       good ? "good" : "FAILED");
	return good ? 0 : 1;
}
