/* SPDX-License-Identifier: MIT */
/*
 * why.c - `anonvm why TRACE`, `anonvm why -- COMMAND`: why has this process so many VMAs?
 *
 * The trace is replayed. Each boundary between two VMAs that touch, at the end of the address space that has the most of
 * them, is there because a merge was refused (R2): it is grouped by the reason, which the two VMAs show, and by the
 * call that made it. Then the trace is replayed with the other two policies of families: what they keep is the part
 * that the order of faults and forks decides.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "why.h"

static const char help[] =
	"usage: anonvm why [OPTION...] TRACE\n"
	"       anonvm why [OPTION...] -- COMMAND [ARGUMENT...]\n"
	"\n"
	"Why are there so many VMAs? Replay TRACE, or record COMMAND and replay that, and say which\n"
	"boundaries between VMAs are there for which reason, and which calls made them; then what other\n"
	"policies of families would have merged.\n"
	"\n"
	"      --all                     all address spaces, not only the one with the most VMAs\n"
	"      --family=reuse|chain|flat how families grow (default reuse)\n"
	"      --touch=first|none|all    as with `anonvm replay`\n"
	"      --top=N                   groups to be shown (default 20)\n"
	"      --json                    as JSON\n"
	"  -q, --quiet                   no progress\n"
	"  -h, --help                    this text\n"
	"\n"
	"exit status: 0 success, 1 the recorded program or the replay failed, 2 bad usage or a bad trace\n";

struct settings {
	struct replay_config config;
	unsigned top;
	bool all, json, quiet, help;
};

/* ---- groups -------------------------------------------------------------------------------------------- */

struct why_group *why_group(struct why_groups *g, const char *reason, const char *made_by)
{
	for (size_t i = 0; i < g->nr; i++) {
		if (!strcmp(g->v[i].reason, reason) && !strcmp(g->v[i].made_by, made_by))
			return &g->v[i];
	}
	if (g->nr == g->cap) {
		g->cap = g->cap ? g->cap * 2 : 16;
		g->v = replay_must(realloc(g->v, g->cap * sizeof(*g->v)));
	}
	g->v[g->nr] = (struct why_group){ 0 };
	snprintf(g->v[g->nr].reason, sizeof(g->v[0].reason), "%s", reason);
	snprintf(g->v[g->nr].made_by, sizeof(g->v[0].made_by), "%s", made_by);
	return &g->v[g->nr++];
}

void why_groups_free(struct why_groups *g)
{
	free(g->v);
	*g = (struct why_groups){ 0 };
}

static int by_count(const void *pa, const void *pb)
{
	const struct why_group *a = pa, *b = pb;

	if (a->count != b->count)
		return a->count < b->count ? 1 : -1;
	return strcmp(a->reason, b->reason);
}

void why_sort(struct why_groups *g)
{
	if (g->nr)
		qsort(g->v, g->nr, sizeof(*g->v), by_count);
}

/* ---- the reason of one boundary ------------------------------------------------------------------------ */

static void flags_reason(char *buf, size_t size, uint64_t differ)
{
	static const struct {
		uint64_t flag;
		const char *name;
	} names[] = {
		{ AVM_VM_ACCESS, "protection" },
		{ AVM_VM_SHARED, "shared" },
		{ AVM_VM_GROWSDOWN, "grows down" },
		{ AVM_VM_LOCKED | AVM_VM_LOCKONFAULT, "locked" },
		{ AVM_VM_DONTCOPY, "DONTFORK" },
		{ AVM_VM_WIPEONFORK, "WIPEONFORK" },
		{ AVM_VM_DONTDUMP, "DONTDUMP" },
		{ AVM_VM_MERGEABLE, "MERGEABLE" },
		{ AVM_VM_NORESERVE, "NORESERVE" },
		{ AVM_VM_HUGEPAGE | AVM_VM_NOHUGEPAGE, "huge pages" },
		{ AVM_VM_SEQ_READ | AVM_VM_RAND_READ, "read order" },
		{ AVM_VM_ACCOUNT, "accounted" },
		{ AVM_VM_MAYREAD | AVM_VM_MAYWRITE | AVM_VM_MAYEXEC, "may-bits" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (differ & names[i].flag) {
			snprintf(buf, size, "flags: %s", names[i].name);
			return;
		}
	}
	snprintf(buf, size, "flags");
}

static bool fork_child(const struct avm_vma *v)
{
	return v->anon_vma && v->chain_len > 1;
}

/* R2, as src/vma.c applies it, for two VMAs that stand. */
static void reason_of(char *buf, size_t size, const struct avm_vma *below,
		      const struct avm_vma *above)
{
	uint64_t pages = (below->end - below->start) >> 12;

	if ((below->flags | above->flags) & (AVM_VM_SPECIAL | AVM_VM_DONTEXPAND))
		snprintf(buf, size, "special");
	else if (below->file != above->file || below->private_data != above->private_data)
		snprintf(buf, size, "file");
	else if (below->flags != above->flags)
		flags_reason(buf, size, below->flags ^ above->flags);
	else if (below->pgoff + pages != above->pgoff)
		snprintf(buf, size, below->file ? "offset" : "offset: moved by mremap");
	else if (below->policy != above->policy)
		snprintf(buf, size, "policy");
	else if (below->name != above->name)
		snprintf(buf, size, "name");
	else if (below->anon_vma && above->anon_vma && below->anon_vma != above->anon_vma)
		snprintf(buf, size, "family");
	else if (fork_child(below) != fork_child(above))
		snprintf(buf, size, "fork_child");
	else
		snprintf(buf, size, "none: no call has asked since");
}

static void describe(char *buf, size_t size, const struct avm_vma *v)
{
	const char *name = v->file ? sim_file_name(v->file) : "anonymous";
	char quoted[40];

	if (!name)
		name = "shared memory";
	if (v->flags & AVM_VM_STACK)
		name = "stack";
	else if (v->flags & AVM_VM_SPECIAL)
		name = "bare frames";
	snprintf(buf, size, "%c%c%c%c %s", v->flags & AVM_VM_READ ? 'r' : '-',
		 v->flags & AVM_VM_WRITE ? 'w' : '-', v->flags & AVM_VM_EXEC ? 'x' : '-',
		 v->flags & AVM_VM_SHARED ? 's' : 'p',
		 trace_quote(quoted, sizeof(quoted), (struct trace_str){ name, strlen(name) }));
}

static void add_boundary(struct why *w, const struct avm_vma *below, const struct avm_vma *above)
{
	struct why_origin o = why_maps_find(w, below->mm->id, above->start);
	struct why_group *g;
	char reason[64];

	reason_of(reason, sizeof(reason), below, above);
	g = why_group(&w->now, reason, o.what ? o.what : "exec");
	if (!g->count++) {
		g->address = above->start;
		g->line = o.line;
		describe(g->below, sizeof(g->below), below);
		describe(g->above, sizeof(g->above), above);
	}
	g->bytes += above->end - above->start;
	w->now.total++;
}

/* ---- looking on ---------------------------------------------------------------------------------------- */

static void on_called(void *context, struct avm_mm *mm, const char *what, avm_addr_t start,
		      avm_addr_t end)
{
	struct why *w = context;
	uint64_t line;

	(void)replay_doing(w->replay, &line);
	why_maps_note(w, mm->id, start, what, line);
	why_maps_note(w, mm->id, (end + 4095) & ~UINT64_C(4095), what, line);
}

static void on_forked(void *context, struct avm_mm *parent, struct avm_mm *child)
{
	why_maps_fork(context, parent, child);
}

static void on_leaving(void *context, struct avm_mm *mm, const struct replay_row *row)
{
	struct why *w = context;
	uint64_t vmas = mm->vmas.count;

	w->spaces++;
	if (w->all || vmas > w->best) {
		if (!w->all)
			why_groups_free(&w->now);
		if (vmas > w->best) {
			w->best = vmas;
			w->pid = row->pid;
			trace_quote(w->comm, sizeof(w->comm),
				    (struct trace_str){ row->comm, strlen(row->comm) });
		}
		for (struct avm_vma *v = avm_next_vma(mm, NULL), *next; v; v = next) {
			next = avm_next_vma(mm, v);
			if (next && next->start == v->end)
				add_boundary(w, v, next);
		}
	}
	why_maps_drop(w, mm->id);
}

struct watcher {
	struct avm_merge_observer observer;
	struct why *why;
};

static void on_refused(struct avm_merge_observer *o, struct avm_mm *mm, avm_addr_t boundary,
		       enum avm_refusal why)
{
	struct why *w = ((struct watcher *)o)->why;
	struct why_group *g;
	const char *what;
	uint64_t line;

	(void)mm;
	what = replay_doing(w->replay, &line);
	g = why_group(&w->events, avm_refusal_name(why), what);
	if (!g->count++) {
		g->address = boundary;
		g->line = line;
	}
	w->events.total++;
}

/* ---- running ------------------------------------------------------------------------------------------- */

static uint64_t kept_by_families(const struct why_groups *g)
{
	uint64_t n = 0;

	for (size_t i = 0; i < g->nr; i++) {
		if (!strcmp(g->v[i].reason, "family") || !strcmp(g->v[i].reason, "fork_child"))
			n += g->v[i].count;
	}
	return n;
}

static void note_run(struct why *w, const struct why *from, const struct replay *r)
{
	struct why_run *run = &w->runs[w->nr_runs++];

	run->family = r->config.family;
	for (const struct replay_row *row = r->rows; row; row = row->next) {
		if (row->vmas_peak > run->vmas_peak)
			run->vmas_peak = row->vmas_peak;
	}
	run->vmas = from->best;
	run->by_family = kept_by_families(&from->now);
	run->merges = r->stats.events[AVM_EV_MERGE];
	memcpy(run->refused, r->stats.refused, sizeof(run->refused));
}

/* => the replay, to be freed, or NULL with the error told */
static struct replay *run_one(struct why *w, struct replay_config config, int *rc)
{
	static const struct replay_hooks hooks = { on_called, on_forked, on_leaving };
	struct watcher watcher = { .observer = { on_refused }, .why = w };
	char err[TRACE_ERR_MAX];
	struct replay *r;

	config.observer = &watcher.observer;
	config.hooks = &hooks;
	config.context = w;
	r = replay_new(&config, err);
	if (!r) {
		fprintf(stderr, "anonvm: why: %s\n", err);
		return NULL;
	}
	w->replay = r;
	*rc = replay_run(r);
	if (*rc < 0)
		fprintf(stderr, "anonvm: why: %s\n", trace_error(r->trace));
	why_maps_free(w);
	return r;
}

/* The other two policies. A trace from the standard input cannot be read again. */
static void run_others(struct why *w, const struct settings *s)
{
	if (!strcmp(s->config.path, "-"))
		return;
	for (int f = AVM_FAMILY_REUSE; f <= AVM_FAMILY_FLAT; f++) {
		struct why other = { .all = w->all };
		struct replay_config config = s->config;
		struct replay *r;
		int rc;

		if (f == (int)s->config.family)
			continue;
		config.family = (enum avm_family_policy)f;
		config.verify = REPLAY_VERIFY_NEVER;
		r = run_one(&other, config, &rc);
		if (r) {
			note_run(w, &other, r);
			replay_free(r);
		}
		why_groups_free(&other.now);
		why_groups_free(&other.events);
	}
}

static int explain(const struct settings *s)
{
	struct why w = { .all = s->all };
	int rc = 0, status = EXIT_OK;
	struct replay *r = run_one(&w, s->config, &rc);

	if (!r)
		return EXIT_USAGE;
	note_run(&w, &w, r);
	if (rc >= 0)
		run_others(&w, s);
	why_sort(&w.now);
	why_sort(&w.events);
	if (s->json)
		status = why_json(&w, r, s->top) ? EXIT_USAGE : EXIT_OK;
	else
		why_text(&w, r, s->top);
	for (unsigned i = 0; i < TRACE_COMPLAINTS && trace_complaint(r->trace, i); i++)
		fprintf(stderr, "anonvm: why: %s\n", trace_complaint(r->trace, i));
	if (rc < 0 || trace_stats(r->trace)->bad_lines)
		status = EXIT_USAGE;
	else if (!status && (r->violations || r->leaked))
		status = EXIT_FAILED;
	replay_free(r);
	why_groups_free(&w.now);
	why_groups_free(&w.events);
	return status;
}

/* ---- recording first ----------------------------------------------------------------------------------- */

static int record_to(const char *path, char **command)
{
	char record[] = "record", quiet[] = "-q", out[] = "-o", end[] = "--";
	size_t n = 0;
	char **argv;
	int status;

	while (command[n])
		n++;
	argv = calloc(n + 6, sizeof(*argv));
	if (!argv)
		return EXIT_USAGE;
	argv[0] = record;
	argv[1] = quiet;
	argv[2] = out;
	argv[3] = strdup(path);
	argv[4] = end;
	memcpy(argv + 5, command, n * sizeof(*argv));
	optind = 0;
	status = cmd_record((int)n + 5, argv);
	free(argv[3]);
	free(argv);
	return status;
}

static int record_and_explain(struct settings *s, char **command)
{
	const char *tmp = getenv("TMPDIR");
	char dir[256], path[300];
	int status;

	snprintf(dir, sizeof(dir), "%.200s/anonvm.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(dir)) {
		perror("anonvm: why: cannot make a temporary folder");
		return EXIT_USAGE;
	}
	snprintf(path, sizeof(path), "%s/why.trace", dir);
	status = record_to(path, command);
	if (access(path, R_OK)) {
		fprintf(stderr, "anonvm: why: nothing was recorded\n");
		rmdir(dir);
		return status ? status : EXIT_FAILED;
	}
	if (status)
		fprintf(stderr, "anonvm: why: %s ended with status %d\n", command[0], status);
	s->config.path = path;
	status = explain(s) ? EXIT_USAGE : status ? EXIT_FAILED : EXIT_OK;
	s->config.path = NULL;
	unlink(path);
	rmdir(dir);
	return status;
}

/* ---- the command --------------------------------------------------------------------------------------- */

static bool parse_option(int c, const char *arg, struct settings *s)
{
	int word = 0;
	char *end;

	switch (c) {
	case 'f':
		word = replay_word(replay_family_words, arg);
		s->config.family = (enum avm_family_policy)word;
		return word >= 0;
	case 't':
		word = replay_word(replay_touch_words, arg);
		s->config.touch = (enum replay_touch)word;
		return word >= 0;
	case 'T':
		s->top = (unsigned)strtoul(arg, &end, 10);
		return *arg >= '0' && *arg <= '9' && !*end;
	case 'a':
		s->all = true;
		return true;
	case 'j':
		s->json = true;
		return true;
	case 'q':
		s->quiet = true;
		return true;
	case 'h':
		s->help = true;
		return true;
	default:
		return false;
	}
}

static int parse_options(int argc, char **argv, struct settings *s)
{
	static const struct option options[] = {
		{ "family", required_argument, NULL, 'f' },
		{ "touch", required_argument, NULL, 't' },
		{ "top", required_argument, NULL, 'T' },
		{ "all", no_argument, NULL, 'a' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, which = 0;

	optind = 0; /* anew, whatever was parsed before */
	while ((c = getopt_long(argc, argv, "+qh", options, &which)) != -1) {
		if (c != '?' && parse_option(c, optarg, s))
			continue;
		if (c != '?')
			fprintf(stderr, "anonvm: why: --%s: not %s\n", options[which].name, optarg);
		return -1;
	}
	return optind;
}

int cmd_why(int argc, char **argv)
{
	struct settings s = { .top = 20 };
	int first = parse_options(argc, argv, &s);

	if (s.help && first >= 0) {
		fputs(help, stdout);
		return EXIT_OK;
	}
	if (first < 0 || first >= argc) {
		if (first >= 0)
			fprintf(stderr, "anonvm: why: a trace, or -- and a command, please\n");
		fprintf(stderr, "anonvm: why: see 'anonvm why --help'\n");
		return EXIT_USAGE;
	}
#if !AVM_HAVE_JANSSON
	if (s.json) {
		fprintf(stderr, "anonvm: why: --json: built without jansson\n");
		return EXIT_USAGE;
	}
#endif
	s.config.progress = !s.quiet && !s.json && isatty(STDERR_FILENO);
	if (!strcmp(argv[first - 1], "--"))
		return record_and_explain(&s, argv + first);
	if (argc - first != 1) {
		fprintf(stderr, "anonvm: why: one trace, please, or -- and a command\n");
		return EXIT_USAGE;
	}
	s.config.path = argv[first];
	return explain(&s);
}
