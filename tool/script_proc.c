/* SPDX-License-Identifier: MIT */
/*
 * script_proc.c - lines about the machine and whole processes: machine, process, fork, exit, exec,
 * limit, watch, fail.
 */
#include <stdlib.h>
#include <string.h>

#include "script_priv.h"

/* ---- machine --------------------------------------------------------------------------------- */

static uint32_t number32(struct run *run, const struct script_line *line, const char *keyword)
{
	uint64_t n = script_number(line, keyword, 0);

	if (n > UINT32_MAX)
		run_bad(run, "%s: number too large", keyword);
	return (uint32_t)n;
}

void op_machine(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct sim_config config = {
		.frames = script_number(line, "frames", 1024),
		.contents = script_has(line, "stamps") ? SIM_STAMPS : SIM_BYTES,
		.core = {
			.commit = script_has(line, "strict") ? AVM_COMMIT_STRICT : AVM_COMMIT_OFF,
			.commit_reserve = script_number(line, "reserve", 0),
			.max_map_count = number32(run, line, "max-vmas"),
			.fault_around = number32(run, line, "fault-around"),
			.stack_guard = number32(run, line, "guard"),
			.no_stack_guard = script_has(line, "no-guard"),
			.low_frames = script_number(line, "low", 0),
			.high_frames = script_number(line, "high", 0),
		},
	};

	if (run->sim)
		run_bad(run, "the machine line comes first, once");
	if (run->options->family >= 0)
		config.core.family = (enum avm_family_policy)run->options->family;
	if (script_has(line, "reuse"))
		config.core.family = AVM_FAMILY_REUSE;
	if (script_has(line, "chain"))
		config.core.family = AVM_FAMILY_CHAIN;
	if (script_has(line, "flat"))
		config.core.family = AVM_FAMILY_FLAT;
	if (!run->over && run_machine(run, &config))
		run_machine_swap(run, line, out);
}

/* ---- process, fork, exit --------------------------------------------------------------------- */

static const struct {
	const char *keyword;
	size_t offset;
} limit_words[] = {
	{ "as", offsetof(struct avm_limits, address_space) },
	{ "data", offsetof(struct avm_limits, data) },
	{ "stack", offsetof(struct avm_limits, stack) },
	{ "locked", offsetof(struct avm_limits, locked) },
};

static void set_limits(const struct script_line *line, struct avm_limits *limits)
{
	for (size_t i = 0; i < sizeof(limit_words) / sizeof(limit_words[0]); i++) {
		const struct script_option *o = script_option(line, limit_words[i].keyword);

		if (o)
			*(uint64_t *)((char *)limits + limit_words[i].offset) = o->args[0].number;
	}
}

static bool option_addr(struct run *run, const struct script_line *line, const char *keyword,
			avm_addr_t *out)
{
	const struct script_option *o = script_option(line, keyword);

	return !o || run_addr(run, &o->args[0].addr, out);
}

void op_process(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct avm_limits limits = { AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT, AVM_NO_LIMIT };
	struct avm_mm_config config = { .limits = &limits };
	struct run_proc *p;
	struct sim_proc *sim;

	set_limits(line, &limits);
	if (!option_addr(run, line, "lowest", &config.lowest) ||
	    !option_addr(run, line, "top", &config.task_size) ||
	    !option_addr(run, line, "base", &config.mmap_base))
		return;
	p = run_new_proc(run, &line->args[0].name);
	if (!p)
		return;
	out->error = sim_proc_create(run->sim, &config, &sim);
	if (out->error) {
		run_drop_proc(run, p);
		return;
	}
	p->sim = sim;
	p->oracle = oracle_proc_create(run->oracle);
}

void op_fork(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *parent = run_proc(run, &line->args[0].name);
	struct run_proc *child = parent ? run_new_proc(run, &line->args[1].name) : NULL;
	struct sim_proc *sim;

	if (!child)
		return;
	parent = run_proc(run, &line->args[0].name); /* it may have moved */
	out->error = sim_proc_fork(parent->sim, &sim);
	if (out->error) {
		run_drop_proc(run, child);
		return;
	}
	child->sim = sim;
	child->oracle = oracle_fork(parent->oracle);
	child->brk = parent->brk;
}

void op_exit(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_proc(run, &line->args[0].name);

	(void)out;
	if (!p)
		return;
	run_watch_free(p);
	sim_proc_exit(p->sim);
	oracle_exit(p->oracle);
	run_drop_proc(run, p);
}

void op_unmap_all(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_line_proc(run);

	(void)line;
	(void)out;
	if (!p)
		return;
	avm_mm_unmap_all(run_mm(p));
	oracle_munmap(p->oracle, 0, UINT64_MAX & ~(uint64_t)(SCRIPT_PAGE - 1));
}

void op_limit(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_line_proc(run);

	(void)out;
	if (p)
		set_limits(line, &run_mm(p)->limits);
}

/* ---- exec ------------------------------------------------------------------------------------ */

#define SEGMENTS_MAX 64

/* The image that the line describes; the names behind the segments are looked up. */
static bool read_image(struct run *run, const struct script_line *line, struct avm_image *image,
		       struct avm_segment *segments)
{
	const struct script_option *stack = script_option(line, "stack");
	unsigned n = 0;

	*image = (struct avm_image){ .segments = segments };
	for (size_t i = 0; i < line->nr_options; i++) {
		const struct script_arg *a = line->options[i].args;
		struct avm_segment *s = &segments[n];

		if (strncmp(line->options[i].keyword, "segment", 7) != 0)
			continue;
		if (n == SEGMENTS_MAX) {
			run_bad(run, "too many segments");
			return false;
		}
		*s = (struct avm_segment){ .pages = a[1].number / SCRIPT_PAGE,
					   .prot = (uint32_t)a[2].number,
					   .pgoff = a[3].addr.pages };
		if (!run_addr(run, &a[0].addr, &s->start))
			return false;
		if (a[3].addr.label.text[0]) {
			struct run_file *f = run_file(run, &a[3].addr);

			if (!f)
				return false;
			s->file = f->file;
		}
		n++;
	}
	image->nr_segments = n;
	image->argument_pages = script_number(line, "args", 0);
	image->stack_prot = (uint32_t)script_number(line, "stack-prot", 0);
	if (stack && !run_addr(run, &stack->args[0].addr, &image->stack_end))
		return false;
	image->stack_pages = stack ? stack->args[1].number / SCRIPT_PAGE : 0;
	return option_addr(run, line, "brk", &image->brk_start);
}

static void oracle_image(struct run *run, struct oracle_proc *o, const struct avm_image *image)
{
	uint32_t prot = image->stack_prot ? image->stack_prot : AVM_PROT_READ | AVM_PROT_WRITE;

	for (unsigned i = 0; i < image->nr_segments; i++) {
		const struct avm_segment *s = &image->segments[i];
		struct oracle_map map = { .start = s->start,
					  .end = s->start + s->pages * SCRIPT_PAGE,
					  .prot = s->prot,
					  .flags = ORACLE_MAYWRITE,
					  .pgoff = s->pgoff };

		for (size_t k = 0; k < run->nr_files; k++) {
			if (run->files[k].file == s->file)
				map.object = run->files[k].oracle;
		}
		oracle_mmap(o, &map);
	}
	if (image->stack_end)
		oracle_mmap(o, &(struct oracle_map){ .start = image->stack_end -
							      image->stack_pages * SCRIPT_PAGE,
						     .end = image->stack_end,
						     .prot = prot,
						     .flags = ORACLE_MAYWRITE | ORACLE_GROWSDOWN });
}

/* A new address space with the image; when that fails the process goes on with its old one. */
void op_exec(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_proc(run, &line->args[0].name);
	struct avm_segment segments[SEGMENTS_MAX];
	struct avm_image image;
	struct avm_mm_config config;
	struct sim_proc *sim;

	if (!p || !read_image(run, line, &image, segments))
		return;
	config = (struct avm_mm_config){ .lowest = run_mm(p)->lowest,
					 .task_size = run_mm(p)->task_size,
					 .mmap_base = run_mm(p)->mmap_base,
					 .limits = &run_mm(p)->limits };
	out->error = sim_proc_create(run->sim, &config, &sim);
	if (out->error)
		return;
	out->error = avm_exec(sim_mm(sim), &image);
	if (out->error) {
		sim_proc_exit(sim);
		return;
	}
	run_watch_free(p);
	sim_proc_exit(p->sim);
	oracle_exit(p->oracle);
	p->sim = sim;
	p->oracle = oracle_proc_create(run->oracle);
	p->brk = image.brk_start;
	p->lock_future = false;
	oracle_image(run, p->oracle, &image);
}

/* ---- watch: what a second MMU would be told -------------------------------------------------- */

#define WATCH_MAX 4096

struct run_watch {
	struct avm_notifier notifier;
	struct {
		avm_addr_t start, end;
	} seen[WATCH_MAX];
	size_t n; /* the last ones are forgotten when there are too many */
	unsigned open; /* starts without an end */
	bool unbalanced;
};

static void watch_start(struct avm_notifier *notifier, avm_addr_t start, avm_addr_t end)
{
	struct run_watch *w = (struct run_watch *)notifier;

	if (w->n < WATCH_MAX) {
		w->seen[w->n].start = start;
		w->seen[w->n++].end = end;
	}
	w->open++;
}

static void watch_end(struct avm_notifier *notifier, avm_addr_t start, avm_addr_t end)
{
	struct run_watch *w = (struct run_watch *)notifier;

	(void)start;
	(void)end;
	if (!w->open)
		w->unbalanced = true;
	else
		w->open--;
}

void run_watch_free(struct run_proc *p)
{
	if (!p->watch)
		return;
	avm_notifier_del(run_mm(p), &p->watch->notifier);
	free(p->watch);
	p->watch = NULL;
}

void op_watch(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_proc(run, &line->args[0].name);

	(void)out;
	if (!p)
		return;
	if (p->watch) {
		p->watch->n = 0;
		return;
	}
	p->watch = calloc(1, sizeof(*p->watch));
	if (!p->watch) {
		run_bad(run, "out of memory");
		return;
	}
	p->watch->notifier.invalidate_start = watch_start;
	p->watch->notifier.invalidate_end = watch_end;
	avm_notifier_add(run_mm(p), &p->watch->notifier);
}

/* Is all of [start, end) in what was announced since the last `watch`? */
static bool was_told(const struct run_watch *w, avm_addr_t start, avm_addr_t end)
{
	for (size_t i = 0; i < w->n && start < end; i++) {
		if (w->seen[i].start > start || w->seen[i].end <= start)
			continue;
		start = w->seen[i].end;
		i = (size_t)-1; /* an earlier one may go on from here */
	}
	return start >= end;
}

void op_watched(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_proc(run, &line->args[0].name);
	struct run_watch *w = p ? p->watch : NULL;

	(void)out;
	if (!p)
		return;
	if (!w) {
		run_bad(run, "nobody watches %s", p->name.text);
		return;
	}
	if (w->open || w->unbalanced)
		run_fail(run, "starts and ends of invalidation do not match");
	if (line->nr_args == 1 && w->n)
		run_fail(run, "%zu ranges were announced, none expected", w->n);
	for (size_t i = 1; i < line->nr_args; i++) {
		avm_addr_t start, end;

		if (!run_range(run, line->args[i].range, &start, &end))
			return;
		if (!was_told(w, start, end))
			run_fail(run, "[%#llx, %#llx) was not announced", (unsigned long long)start,
				 (unsigned long long)end);
	}
}

/* ---- failures -------------------------------------------------------------------------------- */

void op_fail(struct run *run, const struct script_line *line, struct outcome *out)
{
	(void)out;
	if (line->args[0].number || script_has(line, "on")) {
		run_fail_swap(run, line);
		return;
	}
	sim_fail_alloc(run->sim, line->args[1].number, script_number(line, "count", 1));
}

void op_fail_io(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_file *f = run_file(run, &line->args[1].addr);
	uint64_t n = line->args[2].number;

	(void)out;
	if (!f)
		return;
	if (n > UINT32_MAX) {
		run_bad(run, "number too large");
		return;
	}
	run->io_fails = true;
	if (line->args[0].number == 0)
		sim_file_fail(f->file, (unsigned)n, 0, script_has(line, "retry"));
	else
		sim_file_fail(f->file, 0, (unsigned)n, false);
}

void op_mark(struct run *run, const struct script_line *line, struct outcome *out)
{
	(void)line;
	(void)out;
	avm_stats(run_avm(run), &run->mark);
}

void op_address(struct run *run, const struct script_line *line, struct outcome *out)
{
	out->has_addr = run_addr(run, &line->args[0].addr, &out->addr);
}
