/* SPDX-License-Identifier: MIT */
/*
 * commute.c - which cache lines two operations have in common: what keeps them from running at the same time at full speed.
 *
 * Two operations on ranges that have nothing to do with each other are run one after the other, each order once, and what
 * the core touches is recorded (check_footprint.h). A line that one of them writes and the other touches goes from one CPU
 * to the other, whether it is a lock, a counter, or two things that happen to lie side by side. It counts if it belongs to
 * an object that is alive between the two: that what the first has freed is given to the second is the allocator's choice.
 *
 * Lines are those of a release build: each object begins with one. Contents of frames, and the port, are not looked at.
 */
#include <stdlib.h>
#include <string.h>

#include "check_footprint.h"
#include "name.h"
#include "program.h"
#include "sim.h"

#if AVM_HAVE_JANSSON
#include <jansson.h>
#endif

#define ROWS 512u
#define FIELDS 32u
#define OBJECTS 1024u

/* ---- what is compared ---------------------------------------------------------------------------------------------------- */

/*
 * P is the process; Q is one that the operation needs beside it; pages are those of a half of eight, of which the page 6
 * is there, and its table with it.
 */
struct subject {
	const char *name;
	bool whole; /* of a process: not twice in one */
	const char *setup, *op;
};

#define TWO_PAGES "P: mmap 1 2 private;P: write 1;P: write 2"

static const struct subject subjects[] = {
	{ "mmap", false, "", "P: mmap 0 1 private" },
	{ "munmap", false, TWO_PAGES, "P: munmap 1 2" },
	{ "mprotect", false, TWO_PAGES, "P: mprotect 1 2 r" },
	{ "mprotect-part", false, TWO_PAGES, "P: mprotect 1 1 r" },
	{ "mremap", false, TWO_PAGES, "P: mremap 1 2 to 3" },
	{ "dontneed", false, TWO_PAGES, "P: dontneed 1 2" },
	{ "free", false, TWO_PAGES, "P: free 1 2" },
	{ "pageout", false, TWO_PAGES, "P: pageout 1 2" },
	{ "mergeable", false, TWO_PAGES, "P: mergeable 1 2" },
	{ "mlock", false, TWO_PAGES, "P: mlock 1 2" },
	{ "munlock", false, TWO_PAGES ";P: mlock 1 2", "P: munlock 1 2" },
	{ "fault-first", false, "P: mmap 1 2 private", "P: write 1" },
	{ "fault-zero", false, "P: mmap 1 2 private;P: write 1", "P: write 2" },
	{ "fault-read", false, "P: mmap 1 2 private;P: write 1", "P: read 2" },
	{ "fault-cow", false, "P: mmap 1 1 private;P: write 1;fork P Q", "P: write 1" },
	{ "fault-reuse", false, "P: mmap 1 1 private;P: write 1;fork P Q;exit Q", "P: write 1" },
	{ "fault-swap", false, "P: mmap 1 1 private;P: write 1;P: pageout 1 1", "P: read 1" },
	{ "fault-file", false, "P: map-file 1 1 shared;P: read 1;P: dontneed 1 1", "P: read 1" },
	{ "fault-file-read", false, "P: map-file 1 1 shared", "P: read 1" },
	{ "fault-file-write", false, "P: map-file 1 1 shared;P: read 1", "P: write 1" },
	{ "fault-file-cow", false, "P: map-file 1 1 private;P: read 1", "P: write 1" },
	{ "fork", true, TWO_PAGES, "fork P Q" },
	{ "exit", true, TWO_PAGES, "exit P" },
	{ "sync", false, "P: map-file 1 1 shared;P: write 1", "sync" },
	{ "truncate", false, "P: map-file 1 1 shared;P: read 1", "truncate 0" },
	{ "reclaim", false, TWO_PAGES, "reclaim 2" },
	{ "ksm", false, TWO_PAGES ";P: mergeable 1 2;ksm", "ksm" },
	{ "compact", false, TWO_PAGES, "compact 0" },
	{ "swapoff", false, TWO_PAGES, "swapoff" },
};
#define SUBJECTS (sizeof(subjects) / sizeof(subjects[0]))

enum relation {
	SAME, /* one address space */
	FORKED, /* two, related by fork */
	APART, /* two that have nothing in common, not even the file */
	NR_RELATIONS,
};

static const char *const relations[NR_RELATIONS] = { "same", "fork", "apart" };

/* ---- what is found ---------------------------------------------------------------------------------------------------------- */

/* A line, by what is on it. */
struct row {
	uint64_t writers, readers; /* a bit for each subject */
	uint64_t pairs[SUBJECTS]; /* [a] has b: the two meet here */
	uint64_t fields_met[SUBJECTS]; /* ... in one field, and not only side by side */
	enum relation relation;
	unsigned nr_fields;
	char name[NAME_SIZE];
	char fields[FIELDS]
		   [NAME_SIZE]; /* in which any two meet; of those only side by side: that are written */
};

static struct row rows[ROWS];
static unsigned nr_rows;
static struct check_footprint footprint;
static struct object objects[OBJECTS]; /* alive between the two, and touched by the first */
static unsigned nr_objects;
static unsigned failures;

static struct row *row_of(enum relation relation, const char *name)
{
	for (unsigned i = 0; i < nr_rows; i++) {
		if (rows[i].relation == relation && !strcmp(rows[i].name, name))
			return &rows[i];
	}
	if (nr_rows == ROWS) {
		fprintf(stderr, "anonvm: check: more than %u lines in common\n", ROWS);
		exit(2);
	}
	snprintf(rows[nr_rows].name, sizeof(rows[0].name), "%s", name);
	rows[nr_rows].relation = relation;
	return &rows[nr_rows++];
}

/* ---- programs ------------------------------------------------------------------------------------------------------------------- */

/* Which half, whose process, and whose files. */
struct side {
	uint8_t p, helper, base, file_page;
};

/* "P: munmap 1 2" of a side. */
static struct op op_of(const char *text, size_t len, const struct side *at)
{
	char line[64];
	struct op op;

	snprintf(line, sizeof(line), "%.*s", (int)len, text);
	for (char *c = line; *c; c++) {
		if (*c == 'P')
			*c = (char)('A' + at->p);
		else if (*c == 'Q')
			*c = (char)('A' + at->helper);
	}
	if (!op_parse(line, &op)) {
		fprintf(stderr, "anonvm: check: '%s'\n", line);
		exit(2);
	}
	if (op.kind < OP_FORK)
		op.page = (uint8_t)(op.page + at->base);
	if (op.kind == OP_MREMAP)
		op.arg = (uint8_t)(op.arg + at->base);
	if (op.kind == OP_MAP_FILE)
		op.arg = (uint8_t)(op.arg | at->file_page << 1);
	if (op.kind == OP_TRUNCATE)
		op.arg = (uint8_t)(op.arg | (at->file_page & 8));
	return op;
}

static void set_up(struct program *pr, const char *text, const struct side *at)
{
	while (*text) {
		size_t len = strcspn(text, ";");

		if (pr->nr_setup == MAX_SETUP) {
			fprintf(stderr, "anonvm: check: a set-up is too long\n");
			exit(2);
		}
		pr->setup[pr->nr_setup++] = op_of(text, len, at);
		text += len + (text[len] == ';');
	}
}

static void add_thread(struct program *pr, const struct subject *s, const struct side *at)
{
	pr->ops[pr->nr_threads][0] = op_of(s->op, strlen(s->op), at);
	pr->nr_ops[pr->nr_threads++] = 1;
}

/* What is set up comes before the fork: the ranges of both are there twice. */
static void make(struct program *pr, enum relation relation, const struct subject *a,
		 const struct subject *b)
{
	const struct side left = { 0, 2, 0, 0 };
	struct side right = { 0, 3, 8, relation == APART ? 8 : 3 };

	*pr = (struct program){ .frames = 80, .slots = 40, .disk = true };
	if (relation == APART) {
		right.p = 1;
		set_up(pr, "process B", &right);
	}
	set_up(pr, "P: mmap 6 1 private;P: write 6", &left);
	set_up(pr, "P: mmap 6 1 private;P: write 6", &right);
	set_up(pr, a->setup, &left);
	set_up(pr, b->setup, &right);
	if (relation == FORKED) {
		set_up(pr, "fork A B", &right);
		right.p = 1;
	}
	add_thread(pr, a, &left);
	add_thread(pr, b, &right);
}

/* ---- one pair ---------------------------------------------------------------------------------------------------------------------- */

static const struct object *known_object(uintptr_t at)
{
	static unsigned last;

	if (last < nr_objects && at - objects[last].at < objects[last].size)
		return &objects[last];
	for (unsigned i = 0; i < nr_objects; i++) {
		if (at - objects[i].at < objects[i].size) {
			last = i;
			return &objects[i];
		}
	}
	return NULL;
}

/* The first is done, the second has not begun. */
static void between(void *context, unsigned from, unsigned to, const int *op, const void *site)
{
	const struct places in = { sim_machine(program_machine()),
				   { program_file(0), program_file(1) } };

	(void)context;
	(void)to;
	(void)op;
	(void)site;
	for (unsigned i = 0; i < CHECK_FOOTPRINT_WORDS; i++) {
		const struct check_touched *t = &footprint.words[i];
		bool mine = t->at && (t->read[from] || t->written[from]);

		if (!mine || known_object(t->at) || nr_objects == OBJECTS)
			continue;
		nr_objects += object_at(&in, t->at, &objects[nr_objects]);
	}
}

/* What each of the two does to the bytes of one line. */
struct line {
	const struct object *o;
	uintptr_t at;
	uint64_t read[2], written[2]; /* a bit for each byte */
};

static struct line lines[CHECK_FOOTPRINT_WORDS];
static unsigned nr_lines;

static int by_place(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* Of words lines, in the order of their places. */
static void gather_lines(void)
{
	unsigned n = 0;

	nr_lines = 0;
	for (unsigned i = 0; i < CHECK_FOOTPRINT_WORDS; i++) {
		const struct check_touched *t = &footprint.words[i];
		const struct object *o = t->at ? known_object(t->at) : NULL;
		unsigned shift;

		if (!o)
			continue;
		shift = (unsigned)((t->at - o->at) % NAME_LINE);
		lines[nr_lines++] = (struct line){
			o,
			t->at - shift,
			{ (uint64_t)t->read[0] << shift, (uint64_t)t->read[1] << shift },
			{ (uint64_t)t->written[0] << shift, (uint64_t)t->written[1] << shift },
		};
	}
	qsort(lines, nr_lines, sizeof(lines[0]), by_place);
	for (unsigned i = 0; i < nr_lines; i++) {
		if (n && lines[n - 1].at == lines[i].at) {
			for (unsigned t = 0; t < 2; t++) {
				lines[n - 1].read[t] |= lines[i].read[t];
				lines[n - 1].written[t] |= lines[i].written[t];
			}
		} else {
			lines[n++] = lines[i];
		}
	}
	nr_lines = n;
}

static void add_field(struct row *r, const char *name)
{
	for (unsigned i = 0; i < r->nr_fields; i++) {
		if (!strcmp(r->fields[i], name))
			return;
	}
	if (name[0] && r->nr_fields < FIELDS)
		memcpy(r->fields[r->nr_fields++], name, NAME_SIZE);
}

/* One of the two writes to it, and the other touches it; the same bytes of it, or not. */
static void judge_line(enum relation relation, const unsigned *subject, const struct line *l)
{
	uint64_t touched[2] = { l->read[0] | l->written[0], l->read[1] | l->written[1] };
	uint64_t both = (l->written[0] & touched[1]) | (l->written[1] & touched[0]);
	char name[NAME_SIZE];
	struct row *r;

	if (!(l->written[0] && touched[1]) && !(l->written[1] && touched[0]))
		return;
	object_name_line(l->o, l->at, name);
	r = row_of(relation, name);
	for (unsigned t = 0; t < 2; t++) {
		*(l->written[t] ? &r->writers : &r->readers) |= UINT64_C(1) << subject[t];
		r->pairs[subject[t]] |= UINT64_C(1) << subject[1 - t];
		if (both)
			r->fields_met[subject[t]] |= UINT64_C(1) << subject[1 - t];
	}
	for (both = both ? both : l->written[0] | l->written[1]; both; both &= both - 1) {
		object_name_field(l->o, l->at + (unsigned)__builtin_ctzll(both), name);
		add_field(r, name);
	}
}

/* `first` goes first. */
static void run_pair(struct check *c, enum relation relation, unsigned a, unsigned b, uint8_t first)
{
	static struct program pr;
	static struct check_schedule s;
	static struct result r;
	const unsigned subject[2] = { a, b };

	make(&pr, relation, &subjects[a], &subjects[b]);
	s = (struct check_schedule){ .strategy = CHECK_REPLAY, .first = first };
	nr_objects = 0;
	program_open(&pr, &r);
	check_footprint_begin(&footprint);
	if (!r.finding[0])
		program_go(c, &s, &r, between, NULL);
	check_footprint_begin(NULL);
	if (r.finding[0] || footprint.full || nr_objects == OBJECTS) {
		fprintf(stderr, "anonvm: check: %s and %s (%s): %s\n", subjects[a].name,
			subjects[b].name, relations[relation],
			r.finding[0] ? r.finding : "more is touched than can be kept");
		program_print(&pr, stderr);
		failures++;
		return;
	}
	gather_lines();
	for (unsigned i = 0; i < nr_lines; i++)
		judge_line(relation, subject, &lines[i]);
}

static int by_name(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->relation != y->relation)
		return x->relation < y->relation ? -1 : 1;
	return strverscmp(x->name, y->name);
}

/* ---- what is said ------------------------------------------------------------------------------------------------------------------ */

static unsigned count_pairs(const uint64_t *pairs)
{
	unsigned n = 0;

	for (unsigned a = 0; a < SUBJECTS; a++) {
		for (unsigned b = a; b < SUBJECTS; b++)
			n += pairs[a] >> b & 1;
	}
	return n;
}

#if AVM_HAVE_JANSSON
static json_t *names_of(uint64_t set)
{
	json_t *j = json_array();

	for (unsigned i = 0; i < SUBJECTS; i++) {
		if (set >> i & 1)
			json_array_append_new(j, json_string(subjects[i].name));
	}
	return j;
}

static json_t *pairs_of(const uint64_t *pairs)
{
	json_t *j = json_object();

	for (unsigned a = 0; a < SUBJECTS; a++) {
		if (pairs[a])
			json_object_set_new(j, subjects[a].name, names_of(pairs[a]));
	}
	return j;
}

static json_t *json_of(const struct row *r)
{
	json_t *fields = json_array();

	for (unsigned i = 0; i < r->nr_fields; i++)
		json_array_append_new(fields, json_string(r->fields[i]));
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "between", relations[r->relation],
			 "line", r->name, "fields", fields, "writers", names_of(r->writers),
			 "readers", names_of(r->readers & ~r->writers), "pairs", pairs_of(r->pairs),
			 "met", pairs_of(r->fields_met));
}

static void print_json(void)
{
	json_t *all = json_array(), *j;

	for (unsigned i = 0; i < nr_rows; i++)
		json_array_append_new(all, json_of(&rows[i]));
	j = json_pack("{s:o, s:o}", "operations", names_of((UINT64_C(1) << SUBJECTS) - 1), "lines",
		      all);
	json_dumpf(j, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(j);
}
#endif

static void print_set(const char *before, uint64_t set)
{
	if (set)
		printf("%s", before);
	for (unsigned i = 0; i < SUBJECTS; i++) {
		if (set >> i & 1)
			printf(" %s", subjects[i].name);
	}
}

static void print_row(const struct row *r)
{
	unsigned n = count_pairs(r->pairs), met = count_pairs(r->fields_met);

	printf("  %s:", r->name);
	for (unsigned i = 0; i < r->nr_fields; i++)
		printf(" %s", r->fields[i]);
	printf("\n    %u pairs", n);
	if (met < n)
		printf(", %u of them only side by side", n - met);
	print_set("; written by", r->writers);
	print_set("; read by", r->readers & ~r->writers);
	putchar('\n');
}

static void print_text(void)
{
	static const char *const titles[NR_RELATIONS] = { "in one address space",
							  "in two that are related by fork",
							  "in two that are not" };
	unsigned relation = NR_RELATIONS;

	for (unsigned i = 0; i < nr_rows; i++) {
		if (rows[i].relation != relation) {
			relation = rows[i].relation;
			printf("%s:\n", titles[relation]);
		}
		print_row(&rows[i]);
	}
}

int commute(bool json)
{
	struct check *c = check_new();

	if (!c)
		return 2;
	for (unsigned relation = 0; relation < NR_RELATIONS; relation++) {
		for (unsigned a = 0; a < SUBJECTS; a++) {
			for (unsigned b = a; b < SUBJECTS; b++) {
				if (relation == SAME && (subjects[a].whole || subjects[b].whole))
					continue;
				run_pair(c, (enum relation)relation, a, b, 0);
				run_pair(c, (enum relation)relation, a, b, 1);
			}
		}
	}
	check_free(c);
	qsort(rows, nr_rows, sizeof(rows[0]), by_name);
#if AVM_HAVE_JANSSON
	if (json)
		print_json();
#endif
	if (!json)
		print_text();
	return failures ? 1 : 0;
}
