/* SPDX-License-Identifier: MIT */
/*
 * run.c - one execution: a machine, the set-up, the threads, and the look at what they have left.
 *
 * A store writes a value that names the page it is for. A load must find such a value for its own page, or nothing,
 * where no operation of the program moves memory or maps it twice. What was stored last in a page of a file must be there
 * in the end, whatever has failed, if nothing was truncated.
 */
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "anonvm/anonvm.h"
#include "check_region.h"
#include "program.h"
#include "sim.h"

#define PAGE UINT64_C(4096)
#define BASE (UINT64_C(0x40000000) - 8 * PAGE) /* across the border of two page tables */
#define FILE_PAGES 6u
#define MANY_SCHEDULES 64u /* of one program; what ends as one more does is looked at again */

struct world {
	struct sim *sim;
	const struct program *pr;
	struct sim_proc *procs[PROCS];
	unsigned users[PROCS]; /* operations that are at it */
	bool dying[PROCS]; /* goes with its last user */
	bool reserved[PROCS]; /* a fork is on its way */
	struct avm_file *files[2];
	struct avm_swap_device *swap;
	uint64_t stores;
	uint64_t last[FILE_PAGES]; /* that was stored in each page of the first file; 0: nothing */
	bool tagged; /* values name pages */
	bool alike; /* ... and of many the same: there is somebody who looks for that */
	bool kept; /* what is in a file stays there */
	char finding[512]; /* in the set-up or at the end */
};

struct thread {
	struct world *w;
	unsigned number;
	int at;
};

/* ---- findings --------------------------------------------------------------------------------------------------------- */

static void found(struct world *w, const char *what)
{
	if (program_is_without(what))
		return;
	if (!w->finding[0])
		snprintf(w->finding, sizeof(w->finding), "%s", what);
	check_fail(what);
}

/* ---- processes ------------------------------------------------------------------------------------------------------- */

static struct sim_proc *get(struct world *w, unsigned p)
{
	check_touch(&w->procs[p], false);
	if (!w->procs[p] || w->dying[p])
		return NULL;
	w->users[p]++;
	check_acquire(&w->procs[p]);
	return w->procs[p];
}

static void put(struct world *w, unsigned p)
{
	struct sim_proc *proc = w->procs[p];

	/* How many there are matters when it is to go. */
	check_touch(&w->procs[p], w->dying[p]);
	check_release(&w->users[p]);
	if (--w->users[p] || !w->dying[p])
		return;
	w->procs[p] = NULL;
	w->dying[p] = false;
	check_acquire(&w->users[p]);
	sim_proc_exit(proc);
}

/* A child of `parent`; NULL: nobody's. */
static void do_process(struct world *w, struct sim_proc *parent, unsigned p)
{
	struct sim_proc *proc;

	check_touch(&w->procs[p], true);
	if (w->procs[p] || w->reserved[p])
		return;
	w->reserved[p] = true;
	if (!(parent ? sim_proc_fork(parent, &proc) : sim_proc_create(w->sim, NULL, &proc)))
		w->procs[p] = proc;
	check_touch(&w->procs[p], true);
	check_release(&w->procs[p]);
	w->reserved[p] = false;
}

/* ---- accesses ---------------------------------------------------------------------------------------------------------- */

/* What a store writes to a page: its name, or what half of the pages have for one. */
static uint64_t value_of(const struct world *w, unsigned page)
{
	return w->alike ? UINT64_C(1) << 32 << page % 2 :
			  (uint64_t)(page + 1) << 32 | (w->stores & 1);
}

static void check_value(struct world *w, unsigned page, uint64_t value)
{
	char text[128];

	if (!value || !w->tagged || value >> 32 == value_of(w, page) >> 32)
		return;
	snprintf(text, sizeof(text), "content: page %u has what was written to another: %#llx",
		 page, (unsigned long long)value);
	found(w, text);
}

static void do_read(struct world *w, struct sim_proc *p, unsigned page)
{
	uint64_t value;

	if (!sim_load(p, BASE + page * PAGE, &value, sizeof(value), NULL))
		check_value(w, page, value);
}

static void note_stored(struct world *w, uint64_t index, uint64_t value)
{
	check_touch(&w->last[index], true);
	w->last[index] = value;
}

/* Did the store go to the file? Nobody has run since, nor may now: no function of the core, where others may go on. */
static void remember(struct world *w, struct sim_proc *p, avm_addr_t addr, uint64_t value)
{
	const struct avm_region *r = sim_machine(w->sim)->regions;
	avm_pfn_t i = sim_translation(p, addr) - r->first;
	const struct avm_page *page = i < r->count ? &r->pages[i] : NULL;

	if (page && page->mapping == (uintptr_t)w->files[0] && page->index < FILE_PAGES)
		note_stored(w, page->index, value);
}

static void do_write(struct world *w, struct sim_proc *p, unsigned page)
{
	uint64_t value = value_of(w, page);
	avm_addr_t addr = BASE + page * PAGE;

	if (w->alike)
		check_touch(&w->stores, true);
	w->stores++;
	if (!sim_store(p, addr, &value, sizeof(value), NULL))
		remember(w, p, addr, value);
}

static void look_at_file(struct world *w)
{
	char text[128];

	for (unsigned page = 0; page < FILE_PAGES; page++) {
		uint64_t value = 0;
		int64_t got;

		if (!w->last[page])
			continue;
		got = avm_file_read(w->files[0], page * PAGE, &value, sizeof(value));
		/* Where all memory is somebody's there is none to read it into, and nothing is known. */
		if (got == -AVM_ENOMEM || (got == sizeof(value) && value == w->last[page]))
			continue;
		snprintf(text, sizeof(text), "content: page %u of the file is not as it was stored",
			 page);
		found(w, text);
	}
}

/* ---- operations ------------------------------------------------------------------------------------------------------------ */

static const uint8_t prots[NR_ACCESSES] = {
	[ACCESS_R] = AVM_PROT_READ,
	[ACCESS_RW] = AVM_PROT_READ | AVM_PROT_WRITE,
	[ACCESS_NONE] = 0,
	[ACCESS_RWX] = AVM_PROT_READ | AVM_PROT_WRITE | AVM_PROT_EXEC,
};

static void do_map(struct world *w, struct avm_mm *mm, const struct op *op)
{
	const struct avm_mmap m = {
		.addr = BASE + op->page * PAGE,
		.len = op->len * PAGE,
		.prot = prots[op->kind == OP_MMAP ? op->arg >> 1 & 3 : ACCESS_RW],
		.flags = (op->arg & 1 ? AVM_MAP_SHARED : AVM_MAP_PRIVATE) | AVM_MAP_FIXED |
			 (op->kind == OP_MMAP ? AVM_MAP_ANONYMOUS : 0),
		.file = op->kind == OP_MMAP ? NULL : w->files[op->arg >> 4 & 1],
		.pgoff = op->arg >> 1 & 7,
	};
	avm_addr_t out;

	avm_mmap(mm, &m, &out);
}

static void do_memory(struct world *w, struct sim_proc *p, const struct op *op)
{
	struct avm_mm *mm = sim_mm(p);
	avm_addr_t addr = BASE + op->page * PAGE, out;
	uint64_t len = op->len * PAGE;

	switch ((enum op_kind)op->kind) {
	case OP_MMAP:
	case OP_MAP_FILE:
		do_map(w, mm, op);
		break;
	case OP_MUNMAP:
		avm_munmap(mm, addr, len);
		break;
	case OP_MPROTECT:
		avm_mprotect(mm, addr, len, prots[op->arg & 3]);
		break;
	case OP_MREMAP:
		avm_mremap(mm, addr, len, len, AVM_MREMAP_MAYMOVE | AVM_MREMAP_FIXED,
			   BASE + (op->arg + op->len > PAGES ? PAGES - op->len : op->arg) * PAGE,
			   &out);
		break;
	case OP_DONTNEED:
		avm_madvise(mm, addr, len, AVM_MADV_DONTNEED);
		break;
	case OP_FREE:
		avm_madvise(mm, addr, len, AVM_MADV_FREE);
		break;
	case OP_PAGEOUT:
		avm_madvise(mm, addr, len, AVM_MADV_PAGEOUT);
		break;
	case OP_MERGEABLE:
		avm_madvise(mm, addr, len, AVM_MADV_MERGEABLE);
		break;
	case OP_UNMERGEABLE:
		avm_madvise(mm, addr, len, AVM_MADV_UNMERGEABLE);
		break;
	case OP_MLOCK:
		avm_mlock(mm, addr, len, 0);
		break;
	case OP_MUNLOCK:
		avm_munlock(mm, addr, len);
		break;
	case OP_READ:
		do_read(w, p, op->page);
		break;
	case OP_WRITE:
		do_write(w, p, op->page);
		break;
	case OP_FORK:
		do_process(w, p, op->arg);
		break;
	default:
		break;
	}
}

/* => true: it was one of the machine */
static bool do_machine(struct world *w, const struct op *op)
{
	struct avm *m = sim_machine(w->sim);

	switch ((enum op_kind)op->kind) {
	case OP_SHRINK:
		avm_shrink(m, op->arg);
		return true;
	case OP_KSM:
		avm_ksm_scan(m, PAGES);
		return true;
	case OP_COMPACT:
		avm_compact(m, 1 + 8 * (op->page % 4u), 8);
		return true;
	case OP_TRUNCATE:
		if (w->files[op->arg >> 3 & 1])
			avm_file_truncate(w->files[op->arg >> 3 & 1], (op->arg & 7) * PAGE);
		return true;
	case OP_SYNC:
		for (unsigned i = 0; i < 2 && w->files[i]; i++)
			avm_file_sync(w->files[i]);
		return true;
	case OP_PROCESS:
		do_process(w, NULL, op->arg);
		return true;
	case OP_SWAPOFF:
		check_touch(&w->swap, true);
		if (w->swap) {
			struct avm_swap_device *d = w->swap;

			w->swap = NULL; /* one at a time */
			check_acquire(&w->swap);
			if (sim_swap_remove(w->sim, d))
				w->swap = d;
			check_touch(&w->swap, true);
			check_release(&w->swap);
		}
		return true;
	default:
		return false;
	}
}

static void perform(struct world *w, const struct op *op)
{
	struct sim_proc *p;

	if (!do_machine(w, op)) {
		p = get(w, op->p);
		if (!p)
			return;
		if (op->kind == OP_EXIT) {
			check_touch(&w->procs[op->p], true);
			w->dying[op->p] = true;
		} else {
			do_memory(w, p, op);
		}
		put(w, op->p);
	}
	sim_check_revoked(w->sim);
	if (sim_errors(w->sim))
		found(w, sim_last_error(w->sim));
}

static void body(void *argument)
{
	struct thread *t = argument;
	const struct program *pr = t->w->pr;

	for (t->at = 0; t->at < pr->nr_ops[t->number]; t->at++)
		perform(t->w, &pr->ops[t->number][t->at]);
}

/* ---- machines ------------------------------------------------------------------------------------------------------------------ */

/* The largest `arg` of the operations of a kind; -1: there is none. */
static int largest_arg(const struct program *pr, enum op_kind kind)
{
	int largest = -1;

	for (unsigned i = 0; i < pr->nr_setup; i++) {
		if (pr->setup[i].kind == kind && pr->setup[i].arg > largest)
			largest = pr->setup[i].arg;
	}
	for (unsigned t = 0; t < pr->nr_threads; t++) {
		for (unsigned i = 0; i < pr->nr_ops[t]; i++) {
			if (pr->ops[t][i].kind == kind && pr->ops[t][i].arg > largest)
				largest = pr->ops[t][i].arg;
		}
	}
	return largest;
}

static bool open_file(struct world *w, unsigned i)
{
	if (w->pr->disk)
		return !sim_file_create(w->sim, "f", FILE_PAGES * PAGE, 0, &w->files[i]);
	return !sim_memfd_create(w->sim, "f", FILE_PAGES * PAGE, &w->files[i]);
}

static bool open_world(struct world *w, const struct program *pr, FILE *log)
{
	const struct sim_config config = {
		.core = { .family = pr->family, .fault_around = 4, .cpus = pr->nr_threads },
		.frames = pr->frames,
		.contents = SIM_STAMPS,
		.check_tlb = true,
		.tlb_entries = 16,
		.log = log
	};
	const struct sim_swap_config swap = { .slots = pr->slots };

	*w = (struct world){ .pr = pr };
	w->alike = largest_arg(pr, OP_KSM) >= 0;
	w->kept = largest_arg(pr, OP_TRUNCATE) < 0;
	w->tagged = largest_arg(pr, OP_MREMAP) < 0 && largest_arg(pr, OP_MAP_FILE) < 0;
	if (sim_create(&w->sim, &config))
		return false;
	if (!open_file(w, 0) || (largest_arg(pr, OP_MAP_FILE) >= 16 && !open_file(w, 1)) ||
	    sim_proc_create(w->sim, NULL, &w->procs[0]))
		return false;
	return !pr->slots || !sim_swap_add(w->sim, &swap, &w->swap);
}

static void verify(struct world *w)
{
	char lines[512] = "";
	FILE *out = fmemopen(lines, sizeof(lines) - 1, "w");

	sim_verify(w->sim, AVM_VERIFY_ALL, out);
	fclose(out);
	lines[strcspn(lines, "\n")] = '\0';
	found(w, lines[0] ? lines : "an invariant is broken");
}

/* All that can be read, and then all goes. */
static void look_at_the_end(struct world *w)
{
	int64_t broken;

	check_region_fresh(true);
	broken = sim_verify(w->sim, AVM_VERIFY_ALL, NULL);
	if (broken)
		verify(w);
	check_region_fresh(false);
	if (w->finding[0])
		return;
	for (unsigned p = 0; p < PROCS; p++) {
		for (unsigned page = 0; w->procs[p] && page < PAGES; page++)
			do_read(w, w->procs[p], page);
	}
	if (w->kept)
		look_at_file(w);
	if (sim_errors(w->sim))
		found(w, sim_last_error(w->sim));
}

static void close_world(struct world *w)
{
	char text[64];
	uint64_t leaked;

	for (unsigned i = 0; i < 2 && w->files[i]; i++)
		sim_file_put(w->files[i]);
	leaked = sim_destroy(w->sim);
	if (!leaked)
		return;
	snprintf(text, sizeof(text), "%llu objects leaked", (unsigned long long)leaked);
	found(w, text);
}

struct watch {
	run_observer *observer;
	void *context;
	const struct thread *threads;
	unsigned n;
};

static void watch_switch(void *context, unsigned from, unsigned to, const void *site)
{
	const struct watch *w = context;
	int op[CHECK_THREADS] = { 0 };

	for (unsigned t = 0; t < w->n; t++)
		op[t] = w->threads[t].at;
	w->observer(w->context, from, to, op, site);
}

/* The core stops in the set-up, or at the end: no thread is there to be left alone with it. */
static jmp_buf stopped;
static char stopped_by[256];

static void stop(const char *what)
{
	snprintf(stopped_by, sizeof(stopped_by), "%s", what);
	longjmp(stopped, 1);
}

/* ---- one program ----------------------------------------------------------------------------------------------------- */

static struct world w, kept;
static uint64_t
	sound[MANY_SCHEDULES]; /* states after which everything held, of the program that is open */
static unsigned nr_sound;

struct sim *program_machine(void)
{
	return w.sim;
}

struct avm_file *program_file(unsigned i)
{
	return w.files[i];
}

void program_open(const struct program *pr, struct result *r)
{
	static FILE *nowhere;

	*r = (struct result){ 0 };
	nr_sound = 0;
	check_region_reset();
	if (!nowhere)
		nowhere = fopen("/dev/null", "w");
	if (setjmp(stopped)) {
		memcpy(r->finding, stopped_by, sizeof(stopped_by));
		return;
	}
	check_set_panic(stop);
	if (!nowhere || !open_world(&w, pr, nowhere)) {
		snprintf(r->finding, sizeof(r->finding), "no machine");
		return;
	}
	for (unsigned i = 0; i < pr->nr_setup; i++)
		perform(&w, &pr->setup[i]);
	memcpy(r->finding, w.finding, sizeof(r->finding));
	kept = w;
	check_region_keep();
}

static void run_threads(struct check *c, struct check_schedule *schedule, struct result *r,
			struct watch *watch)
{
	static struct thread threads[CHECK_THREADS];
	unsigned n = w.pr->nr_threads;

	check_begin(c, w.sim, schedule);
	for (unsigned t = 0; t < n; t++) {
		threads[t] = (struct thread){ &w, t, -1 };
		check_spawn(c, body, &threads[t]);
	}
	watch->threads = threads;
	check_set_observer(c, watch->observer ? watch_switch : NULL, watch);
	if (!check_run(c))
		snprintf(w.finding, sizeof(w.finding), "%s", check_finding(c));
	r->points = check_points(c);
	r->trace = check_trace(c);
	r->pruned = check_pruned(c);
	for (unsigned t = 0; t < n; t++) {
		r->op[t] = threads[t].at;
		r->thread_points[t] = check_thread_points(c, t);
		for (unsigned kind = 0; kind < CHECK_NR_FAILING; kind++)
			r->asked[t][kind] = check_asked(c, t, (enum check_failing)kind);
	}
	check_set_observer(c, NULL, NULL);
	check_end(c);
}

/* What follows depends on nothing but the memory of the machine, and on what we know of it. */
static uint64_t name_state(void)
{
	uint64_t state = check_region_state();
	const unsigned char *p = (const unsigned char *)&w;

	for (size_t i = 0; i + 8 <= offsetof(struct world, finding); i += 8) {
		uint64_t word;

		memcpy(&word, p + i, sizeof(word));
		state = (state ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		state ^= state >> 29;
	}
	return state;
}

static bool is_known(uint64_t state)
{
	for (unsigned i = 0; i < nr_sound; i++) {
		if (sound[i] == state)
			return true;
	}
	return false;
}

void program_go(struct check *c, struct check_schedule *schedule, struct result *r,
		run_observer *observer, void *context)
{
	struct watch watch = { observer, context, NULL, w.pr->nr_threads };
	uint64_t state;

	*r = (struct result){ 0 };
	if (setjmp(stopped)) {
		memcpy(r->finding, stopped_by, sizeof(stopped_by));
		return;
	}
	w = kept;
	check_region_back();
	run_threads(c, schedule, r, &watch);
	if (!w.finding[0] && !r->pruned) {
		sim_check_settled(w.sim);
		if (sim_errors(w.sim))
			found(&w, sim_last_error(w.sim));
		state = name_state();
		r->known = is_known(state);
		if (!r->known)
			look_at_the_end(&w);
		if (!r->known && !w.finding[0])
			close_world(&w);
		if (!r->known && !w.finding[0] && nr_sound < MANY_SCHEDULES)
			sound[nr_sound++] = state;
	}
	memcpy(r->finding, w.finding, sizeof(r->finding));
}

void program_run(struct check *c, const struct program *pr, struct check_schedule *schedule,
		 struct result *r)
{
	program_run_observed(c, pr, schedule, r, NULL, NULL);
}

void program_run_observed(struct check *c, const struct program *pr,
			  struct check_schedule *schedule, struct result *r, run_observer *observer,
			  void *context)
{
	program_open(pr, r);
	if (!r->finding[0])
		program_go(c, schedule, r, observer, context);
}
