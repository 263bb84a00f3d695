/* SPDX-License-Identifier: MIT */
/*
 * stress.h - `anonvm stress`: many threads, many address spaces, little memory, and a model that knows what may be read.
 *
 * Each address space has the same areas at the same places; an area has an owner, a thread, who alone maps, unmaps,
 * protects, moves and empties it. Everybody reads and writes everywhere: in each page each thread has a word of its own,
 * so it knows what it has left there. What it cannot know, because the owner was at the area meanwhile, it sees by the
 * area's generation, which is odd while he is.
 *
 * All of this is relaxed atomics and fences, on purpose: a lock of ours would order what the core has to order.
 */
#ifndef ANONVM_STRESS_H
#define ANONVM_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "anonvm/anonvm.h"
#include "threads.h"

#define PAGE UINT64_C(4096)
#define AREAS 32u
#define AREA_PAGES 32u
#define SHARED_AREAS 4u /* the last ones: of files that all address spaces map */
#define ALIKE 4u /* every so many-th area has the same in every page, for merging */
#define MAX_THREADS 32u
#define MAX_PROCESSES 64u

typedef unsigned long long ull;

/* ---- the model of contents (model.c) ------------------------------------------------------------------------ */

/* What one thread has in one page. Written by it alone, and at rest. */
struct word {
	_Atomic uint64_t low, high; /* what may be there, beside 0 */
	_Atomic uint32_t gen; /* of the object, when that was so */
	_Atomic bool unsure; /* or 0 */
	uint64_t seq; /* of the last store */
};

struct object_page {
	_Atomic uint32_t wiped; /* generation in which all of it was lost ... */
	_Atomic uint32_t freed; /* ... or may have been, any time later */
};

/* The contents of an area, or of a file. Its owner changes the generation. */
struct object {
	uint32_t number;
	bool alike;
	_Atomic uint32_t gen; /* odd: the owner is at it */
	struct object_page pages[AREA_PAGES];
	struct word words[]; /* [page][thread] */
};

struct object *object_new(uint32_t number, unsigned threads);
void object_copy(struct object *to, const struct object *from, unsigned threads);
/* After `to` was copied: `from` has been changed meanwhile by its threads. */
void object_widen(struct object *to, const struct object *from, unsigned threads);

static inline struct word *word_of(struct object *o, unsigned page, unsigned thread,
				   unsigned threads)
{
	return &o->words[page * threads + thread];
}

/* A store: begin, the store of the value returned, end. */
uint64_t word_begin(struct word *w, const struct object *o, unsigned page, unsigned thread);
void word_end(struct word *w, uint64_t value, bool stored, uint32_t gen, bool stable);

/* May the thread read `value`? At `gen`, which was the same before and after; and then that is what it has left there. */
bool word_may_be(struct word *w, const struct object *o, unsigned page, uint64_t value,
		 uint32_t gen);
/* Has any thread written it there, ever? */
bool word_is_plausible(const struct object *o, unsigned page, unsigned thread, uint64_t value);

/* ---- address spaces (space.c) ---------------------------------------------------------------------------------- */

#define HOLE 0x80u /* instead of a protection */

struct area {
	_Atomic uint32_t gen; /* odd: the owner is at it */
	_Atomic bool known; /* what follows; it is not when fork met the owner at work */
	_Atomic uint8_t home; /* it can be in two places */
	_Atomic uint8_t prot[AREA_PAGES]; /* AVM_PROT_..., or HOLE */
	struct object *object;
};

struct space {
	struct sim_proc *proc;
	_Atomic uint32_t refs; /* 0: gone */
	_Atomic bool dying;
	unsigned slot;
	struct space *next; /* of those that are gone: freed at rest */
	struct area areas[AREAS];
};

struct world;
struct worker;

struct space *space_get(struct world *w, unsigned slot); /* or NULL */
void space_put(struct world *w, struct space *p);
bool space_spawn(struct world *w, unsigned slot);
bool space_fork(struct worker *t, struct space *parent, unsigned slot);
void space_free_gone(struct world *w);
void space_free(struct space *p);

/* At home they are neighbours; away each has a page table of its own, which goes when it does. */
static inline avm_addr_t area_at(unsigned area, unsigned home)
{
	if (!home)
		return UINT64_C(0x10000000) + area * AREA_PAGES * PAGE;
	return UINT64_C(0x40000000) + area * UINT64_C(0x200000);
}

static inline bool area_is_shared(unsigned area)
{
	return area >= AREAS - SHARED_AREAS;
}

/* Maps pages of an area anew. 0 or a negative errno. */
int area_map(struct world *w, struct space *p, unsigned area, unsigned first, unsigned n);

/* ---- the run (run.c) ----------------------------------------------------------------------------------------------- */

struct options {
	unsigned threads, processes;
	uint64_t seconds, operations; /* operations 0: by the clock */
	uint64_t seed;
	unsigned memory; /* per cent of what the processes would like to have */
	unsigned every; /* milliseconds from one look at everything to the next */
	uint32_t yields, interrupted, allocs; /* struct smp_disorder */
	unsigned patience; /* seconds */
	uint32_t without; /* operations, a bit each */
	unsigned beside; /* enum smp_work */
	bool quiet, scale, help;
	enum avm_family_policy family;
};

enum op_kind {
	OP_LOAD,
	OP_STORE,
	OP_SWEEP,
	OP_COPY,
	OP_UNMAP,
	OP_PROTECT,
	OP_MOVE,
	OP_EMPTY,
	OP_FREE,
	OP_PAGEOUT,
	OP_LOCK,
	OP_MERGEABLE,
	OP_FORK,
	OP_EXIT,
	OP_SYNC,
	OP_TRUNCATE,
	OP_FILE,
	OP_PIN,
	OP_MIGRATE,
	OP_SHRINK,
	OP_LOOK,
	NR_OPS, /* at most 32 */
};
extern const char *const op_names[NR_OPS];

struct worker {
	struct world *world;
	unsigned number;
	uint64_t random;
	_Atomic uint64_t done[NR_OPS];
	_Atomic int now; /* operation, or -1 */
	_Atomic uint64_t retries, ooms; /* results of faults */
	_Alignas(64) char end;
};

struct world {
	const struct options *options;
	struct sim *sim;
	struct avm_file *files[SHARED_AREAS];
	struct object *file_objects[SHARED_AREAS];
	_Atomic(struct space *) slots[MAX_PROCESSES];
	_Atomic bool reserved[MAX_PROCESSES];
	_Atomic(struct space *) gone;
	struct worker *workers;
	_Atomic bool failed;
	_Atomic uint64_t violations;
	uint64_t looks, words_checked, loads_checked;
	double seconds;
	struct avm_stats stats; /* of the machine before it ended */
};

/* Reported, counted; the run ends. */
void violation(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* 0: nothing wrong. Prints. */
int stress_run(const struct options *o);

/* The report (report.c). */
void report(struct world *w, FILE *out);

uint64_t draw(struct worker *t);
static inline unsigned below(struct worker *t, unsigned n)
{
	return (unsigned)(draw(t) % n);
}

void perform(struct worker *t);

static inline unsigned owner_of(const struct world *w, unsigned area)
{
	return area % w->options->threads;
}

/* ---- accesses, and what they may see (access.c) --------------------------------------------------------------------- */

/* The word of thread `of`. */
void load(struct worker *t, struct space *p, unsigned area, unsigned page, unsigned of);
void store(struct worker *t, struct space *p, unsigned area, unsigned page);
/* As a debugger does, or a read of a device. */
void copy(struct worker *t, struct space *p, unsigned area, unsigned page);
void sweep(struct worker *t, struct space *p, unsigned area);
void pin(struct worker *t, struct space *p, unsigned area, unsigned page);

/* Everything at rest: contents of present pages by their frames. => nobody else runs */
void look_at_contents(struct world *w, struct worker *t, unsigned loads_in);

/* Relaxed, everywhere; the order is by this. */
static inline void order(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}
#define GET(x) atomic_load_explicit(&(x), memory_order_relaxed)
#define SET(x, v) atomic_store_explicit(&(x), (v), memory_order_relaxed)

#endif
