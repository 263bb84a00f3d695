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

#include "program.h"

#define MOST_FAILURES 3000
#define TRIES 3 /* operations of each kind in each state */

/* ---- what must not change ------------------------------------------------------------------------------ */

struct text {
	struct avm_sink sink;
	char *at;
	size_t n, room;
	bool forgiving; /* write permission and exclusive marks may have gone: fork (R9.1) */
};

/* Fork takes these two from the parent even when it fails. */
static void forgive(char *line)
{
	char *mark = strstr(line, "exclusive");

	if (strncmp(line, "pte ", 4))
		return;
	if (mark)
		memset(mark, '.', strlen("exclusive"));
	line = strstr(line, " present ");
	if (line)
		line[strlen(" present ")] = '.';
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
	while ((mm = avm_next_mm(m, mm)))
		avm_dump_mm(mm, &s->text.sink);
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
	case OP_READAHEAD:
	case OP_FREAD:
	case OP_FWRITE:
		return true;
	case OP_MADVISE:
		return op->flags == AVM_MADV_POPULATE_READ ||
		       op->flags == AVM_MADV_POPULATE_WRITE || op->flags == AVM_MADV_WILLNEED;
	case OP_MPROTECT:
		return bounds_locked_pages(mm, 0, mm->top);
	default:
		return false;
	}
}

/* ---- one operation in one state -------------------------------------------------------------------------- */

struct sweep {
	const struct program *state;
	const char *name;
	uint64_t triples, operations;
};

static void complain(const struct sweep *s, const struct world *w, const struct op *op)
{
	struct program shown = *s->state;

	shown.ops = calloc(shown.n + 1, sizeof(*shown.ops));
	if (!shown.ops)
		exit(2);
	memcpy(shown.ops, s->state->ops, shown.n * sizeof(*shown.ops));
	shown.ops[shown.n++] = *op;
	fprintf(stderr, "state %s, allocation %u%s fails: %s: %s\n", s->name, op->fail_first,
		op->fail_count ? "" : " and all after it", check_name(w->failed), w->what);
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

/* False: passed, no allocation failed any more. */
static bool fail_once(struct world *w, const struct op *op)
{
	struct snapshot before, after;
	uint64_t injected = w->injected;
	bool exact = !may_populate(w, op), failed;

	snapshot(w, &before, op->kind == OP_FORK);
	world_step(w, op);
	failed = w->injected != injected;
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

/* count 1: the i-th allocation fails; 0: all from the i-th on. */
static bool sweep_op(struct sweep *s, struct op op, uint32_t count)
{
	struct world w;
	uint32_t i = 0;

	enter(&w, s->state);
	op.fail_count = count;
	do {
		op.fail_first = ++i;
		s->triples++;
	} while (fail_once(&w, &op) && i < MOST_FAILURES);
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

static bool sweep_state(struct sweep *s, struct rng *r)
{
	struct op op;

	for (int kind = 0; kind < NR_OP_KINDS; kind++) {
		for (int i = 0; i < TRIES; i++) {
			draw(s->state, (enum op_kind)kind, r, &op);
			if (!sweep_op(s, op, 1) || !sweep_op(s, op, 0))
				return false;
		}
	}
	return true;
}

/* ---- states that are made by hand -------------------------------------------------------------------------- */

#define AT(page) (WINDOW_START + (180 + (avm_addr_t)(page)) * PAGE)
#define RW (AVM_PROT_READ | AVM_PROT_WRITE)

static void add(struct program *pr, struct op op)
{
	pr->ops = bounds_grow_array(pr->ops, pr->n, &pr->room, sizeof(*pr->ops));
	pr->ops[pr->n++] = op;
}

static void add_map(struct program *pr, unsigned page, unsigned pages, uint32_t prot,
		    uint32_t flags, unsigned file, unsigned pgoff)
{
	add(pr, (struct op){ .kind = OP_MMAP,
			     .addr = AT(page),
			     .len = pages * PAGE,
			     .prot = prot,
			     .flags = flags | AVM_MAP_FIXED | (file ? 0u : AVM_MAP_ANONYMOUS),
			     .file = (uint8_t)file,
			     .to = pgoff });
}

static void add_stores(struct program *pr, unsigned page, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		add(pr,
		    (struct op){ .kind = OP_STORE, .addr = AT(page + i), .len = 8, .value = pr->n });
}

static void add_protect(struct program *pr, unsigned page, unsigned pages, uint32_t prot)
{
	add(pr,
	    (struct op){ .kind = OP_MPROTECT, .addr = AT(page), .len = pages * PAGE, .prot = prot });
}

/* Three touching VMAs; `faulted` has a bit for each. */
static void three_in_a_row(struct program *pr, unsigned faulted)
{
	add_map(pr, 0, 12, RW, AVM_MAP_PRIVATE, 0, 0);
	add_protect(pr, 4, 4, AVM_PROT_READ | AVM_PROT_EXEC);
	add_protect(pr, 4, 4, AVM_PROT_WRITE);
	for (unsigned i = 0; i < 3; i++) {
		if (faulted & 1u << i)
			add_stores(pr, 4 * i, 4);
	}
}

static void around_holes(struct program *pr, unsigned variant)
{
	three_in_a_row(pr, 7);
	add(pr, (struct op){ .kind = OP_MUNMAP, .addr = AT(2), .len = PAGE });
	add(pr, (struct op){ .kind = OP_MUNMAP, .addr = AT(6), .len = (1 + variant) * PAGE });
	add_map(pr, 20, 4, RW, AVM_MAP_PRIVATE | AVM_MAP_GROWSDOWN, 0, 0);
	add_stores(pr, 20, 2);
}

static void files(struct program *pr, unsigned variant)
{
	add_map(pr, 0, 8, RW, AVM_MAP_PRIVATE, 1, 2);
	add_map(pr, 8, 4, RW, AVM_MAP_PRIVATE, 1, 10);
	add_map(pr, 12, 8, RW, AVM_MAP_SHARED, 2, 0);
	add_map(pr, 20, 6, RW, AVM_MAP_SHARED, variant ? 4 : 0, 0);
	add_stores(pr, 0, variant ? 10 : 0);
	add_stores(pr, 13, 4);
	add_stores(pr, 21, 3);
	add_protect(pr, 2, 2, AVM_PROT_READ);
}

/* What mremap moves: away, and back in line; next to its neighbours. */
static void moved(struct program *pr, unsigned variant)
{
	add_map(pr, 0, 12, RW, AVM_MAP_PRIVATE, 0, 0);
	add_stores(pr, variant ? 0 : 4, 6);
	add(pr, (struct op){ .kind = OP_MREMAP,
			     .addr = AT(4),
			     .len = 4 * PAGE,
			     .new_len = 4 * PAGE,
			     .flags = AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED |
				      (variant == 2 ? (uint32_t)AVM_MREMAP_DONTUNMAP : 0u),
			     .to = AT(30) });
	add_map(pr, 40, 3, RW, AVM_MAP_PRIVATE, 0, 0);
	add_stores(pr, 40, variant);
}

static void images(struct program *pr, unsigned variant)
{
	add(pr, (struct op){ .kind = OP_EXEC, .new_len = 9 + variant });
	add(pr, (struct op){ .kind = OP_BRK,
			     .addr = WINDOW_START + (16 + 9 + variant + 9 + 6) * PAGE });
	add(pr, (struct op){ .kind = OP_STORE,
			     .addr = WINDOW_END - 7 * PAGE,
			     .len = 8,
			     .value = pr->n });
}

static void locked(struct program *pr, unsigned variant)
{
	three_in_a_row(pr, variant);
	add(pr, (struct op){ .kind = OP_MLOCK, .addr = AT(2), .len = 4 * PAGE });
	add(pr, (struct op){ .kind = OP_INSERT_PFN,
			     .addr = AT(20),
			     .to = UINT64_C(0x100000000),
			     .len = 4 * PAGE,
			     .prot = RW });
}

static const struct {
	const char *name;
	void (*make)(struct program *pr, unsigned variant);
	unsigned variants;
} layouts[] = {
	{ "three VMAs", three_in_a_row, 8 },
	{ "holes", around_holes, 2 },
	{ "files", files, 2 },
	{ "moved", moved, 3 },
	{ "image", images, 2 },
	{ "locked", locked, 2 },
};

/* The layout in process 0; a line of forks, in which the oldest may be gone. */
static void hand_made(struct program *pr, unsigned layout, unsigned variant, unsigned depth)
{
	program_init(pr, layout * 1000 + variant * 100 + depth, PROGRAM_PLENTY);
	pr->limits = (struct avm_limits){ AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT };
	pr->core.max_map_count = 0;
	pr->core.commit = AVM_COMMIT_OFF;
	pr->core.commit_reserve = 0;
	add(pr, (struct op){ .kind = OP_PROCESS });
	layouts[layout].make(pr, variant);
	for (unsigned i = 0; i < depth; i++) {
		add(pr, (struct op){ .kind = OP_FORK, .p = (uint8_t)i, .q = (uint8_t)(i + 1) });
		add(pr, (struct op){ .kind = OP_STORE,
				     .p = (uint8_t)(i + 1),
				     .q = (uint8_t)(i + 1),
				     .addr = AT(i % 4),
				     .len = 8,
				     .value = pr->n });
		if (depth > 2 && i)
			add(pr, (struct op){ .kind = OP_EXIT, .p = (uint8_t)i, .q = (uint8_t)i });
	}
}

static void random_state(struct program *pr, uint64_t seed)
{
	struct rng r = { seed };
	struct world w;
	size_t n = 30 + rng_below(&r, 200);

	program_init(pr, seed, PROGRAM_PLENTY);
	world_open(&w, pr);
	for (size_t i = 0; i < n && !w.failed; i++) {
		struct op op;

		generate(&r, &w, &op);
		world_step(&w, &op);
		add(pr, op);
	}
	world_close(&w);
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

/* In a process of its own, because a failure may be a crash. Its totals come through a pipe. */
static bool sweep_apart(const char *name, struct program *pr, uint64_t seed, struct sweep *total)
{
	struct sweep s = { .state = pr, .name = name };
	struct rng r = { seed };
	int channel[2], status;
	pid_t pid;

	fflush(NULL);
	if (pipe(channel) || (pid = fork()) < 0)
		exit(2);
	if (!pid) {
		bool good = sweep_state(&s, &r);

		if (write(channel[1], &s, sizeof(s)) != sizeof(s))
			exit(2);
		exit(good ? 0 : 1);
	}
	close(channel[1]);
	if (read(channel[0], &s, sizeof(s)) == sizeof(s)) {
		total->triples += s.triples;
		total->operations += s.operations;
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

	for (unsigned i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
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
	printf("# seed %llu: %llu (operation, state, i) triples swept: %llu operations in %u states: %s\n",
	       (unsigned long long)seed, (unsigned long long)total.triples,
	       (unsigned long long)total.operations, states, good ? "good" : "FAILED");
	return good ? 0 : 1;
}
