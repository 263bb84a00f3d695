/* SPDX-License-Identifier: MIT */
/*
 * program.h - random programs: what they consist of, how they are made, run, checked, shrunk and printed.
 *
 * An operation names everything it touches by number, so that it means the same (or nothing) when others before it
 * are left out: that is what makes shrinking possible. Operations on a process that is not there do nothing.
 */
#ifndef TESTS_PROPERTY_PROGRAM_H
#define TESTS_PROPERTY_PROGRAM_H

#include <stdio.h>

#include "boundaries.h"
#include "oracle.h"
#include "sim.h"

#define NR_PROCS 8
#define NR_FILES 4

#define NR_SWAPS 2
#define NR_PINS 4 /* at once */
#define PIN_PAGES 2u /* of each */

/*
 * The window crosses the border of two page tables, and of two of the tables above; where frames are few it lies in
 * one table. The program decides (program_init).
 */
extern avm_addr_t window_start;
#define WINDOW_START window_start
#define WINDOW_PAGES 400
#define WINDOW_END (WINDOW_START + WINDOW_PAGES * PAGE)
#define WINDOW_BASE (WINDOW_START + 300 * PAGE)

enum op_kind {
	OP_MMAP,
	OP_MUNMAP,
	OP_MPROTECT,
	OP_MREMAP,
	OP_MADVISE,
	OP_MLOCK,
	OP_MUNLOCK,
	OP_MLOCKALL,
	OP_MUNLOCKALL,
	OP_MSYNC,
	OP_MINCORE,
	OP_BRK,
	OP_INSERT_PFN,
	OP_NAME,
	OP_POLICY,
	OP_LOAD,
	OP_STORE,
	OP_TOUCH,
	OP_COPY_IN,
	OP_COPY_OUT,
	OP_COPY,
	OP_POPULATE,
	OP_MAP_CACHED,
	OP_PROCESS,
	OP_FORK,
	OP_EXIT,
	OP_EXEC,
	OP_UNMAP_ALL,
	OP_TRUNCATE,
	OP_PUNCH,
	OP_INVALIDATE,
	OP_SYNC,
	OP_READAHEAD,
	OP_FREAD,
	OP_FWRITE,
	OP_SHRINK, /* the whole machine, from here on */
	OP_SHRINK_ALL,
	OP_SWAPON,
	OP_SWAPOFF,
	OP_SWAP_FAIL,
	OP_KSM,
	OP_MIGRATE,
	OP_COMPACT,
	OP_PIN, /* of a process; unpinned by number */
	OP_UNPIN,
	OP_POISON,
	NR_OP_KINDS,
};

#define NOT_DONE 1 /* as result: the operation did nothing here */

struct op {
	enum op_kind kind;
	uint8_t p, q; /* process; the other one (fork: the child; copy: the one copied to) */
	uint8_t file; /* 0: none; else 1 + index */
	avm_addr_t addr;
	uint64_t len; /* bytes */
	/* mremap: target; copy: address copied to; mmap: page of the file; pfn; swap: priority, I/O that goes well */
	avm_addr_t to;
	uint64_t new_len; /* mremap; exec: layout of the image; pages to free; slots; how many reads, writes fail */
	uint32_t prot,
		flags; /* flags: of the call; advice; access; force; name; policy; number of swap device */
	uint32_t mode; /* mmap: open mode; bits 8-: policy */
	uint32_t fail_first, fail_count; /* allocations that fail in this operation; 0: none */
	uint64_t value; /* of a store */
	/*
	 * Not 0: it does not come after the operation before it, but happens in its middle: when that one lets others run
	 * (sim_set_interruption) for the so-manieth time.
	 */
	uint32_t inside;
	int expect; /* the result that is right: 0, a negative errno, the bit of a fault; for print */
};

struct program {
	uint64_t seed;
	struct avm_config core; /* as given to the machine */
	uint64_t frames;
	enum sim_contents contents;
	struct avm_limits limits; /* of each process */
	bool pressure; /* frames are few, there is swap, and others run in the middle of operations */
	uint32_t calm; /* pressure: one in so many chances to run in the middle is taken */
	uint32_t nr_procs; /* at once */
	uint32_t most_lost; /* frames may go bad, up to so many */
	bool thorough; /* every check after every operation: slow, but a failure is seen where it happens */
	struct op *ops;
	size_t n, room;
};

enum program_kind {
	PROGRAM_PLENTY, /* memory is never short */
	PROGRAM_PRESSURE,
};

struct rng;

void program_init(struct program *pr, uint64_t seed,
		  enum program_kind kind); /* draws the configuration */
void program_draw(struct program *pr, struct rng *r, enum program_kind kind); /* ... with this */
void program_free(struct program *pr);

/* ---- running ------------------------------------------------------------------------------------------ */

enum check {
	CHECK_NONE,
	CHECK_RESULT, /* the operation returned something else than foretold */
	CHECK_CONTENT, /* a load, or a frame, has a content the oracle does not permit */
	CHECK_FAULT, /* an access ended otherwise than foretold */
	CHECK_BOUNDARIES, /* V2, and families */
	CHECK_VERIFY,
	CHECK_SIM, /* the simulator: a lock rule, a stale translation, a double free */
	CHECK_LEAK,
	CHECK_CRASH, /* the core panicked */
	NR_CHECKS,
};

struct proc {
	struct sim_proc *sim; /* NULL: there is none */
	struct oracle_proc *oracle;
	struct bounds_mm *bounds;
};

/* Pages that stay, for a while. */
struct pinned {
	uint64_t n; /* 0: none */
	struct avm_page *pages[PIN_PAGES];
	unsigned p;
	avm_addr_t addr;
	uint64_t changes; /* to mappings, when they were pinned */
};

struct file {
	struct avm_file *file;
	struct oracle_object *oracle;
	uint32_t bounds;
	uint64_t size;
	bool paged_out; /* since it was synced: what is on its disk the oracle does not know */
};

/* What has gone wrong so far, and not by the fault of the core. */
struct mishaps {
	uint64_t injected; /* allocations */
	uint64_t ooms;
	uint64_t read_errors; /* of swap */
};

struct world {
	const struct program *program;
	struct sim *sim;
	struct oracle *oracle;
	struct bounds bounds;
	struct proc procs[NR_PROCS];
	struct file files[NR_FILES];
	struct oracle_object *frames; /* what bare frames contain: seen from all who map them */
	uint64_t *core_ids; /* the core's id of each anon_vma of the model, when it has been seen */
	size_t nr_core_ids, room_core_ids;
	uint32_t content; /* bytes of a page that are modelled */
	size_t at; /* operation */
	struct mishaps before; /* this operation */
	uint64_t injected; /* operations in which an allocation failed */
	struct avm_swap_device *swaps[NR_SWAPS]; /* NULL: there is none */
	struct pinned pins[NR_PINS];
	uint64_t lost; /* frames that have gone bad: from then on it is not foretold how far an operation on many pages comes */
	uint64_t changes; /* operations that may have taken a page from where it was mapped */
	const struct op *outer; /* that others may interrupt now; NULL: none */
	bool inside; /* another one runs in the middle of it */
	bool was_interrupted; /* by something else of the same process */
	uint32_t chances; /* that others have had in it */
	uint64_t insides; /* operations that have run in the middle of another */
	void (*others)(struct world *w, void *context); /* chooses who runs (world_inside) */
	void *others_context;
	int expect; /* of the operation that runs; see struct op */
	enum check failed;
	char what[512];
	char claim[4096]; /* the VMAs there must be, as a line of a script; when boundaries are wrong */
};

void world_open(struct world *w, const struct program *pr);
void world_close(struct world *w); /* checks for leaks */
void world_step(struct world *w, const struct op *op); /* performs and checks */
/* In the middle of world_step(): nothing is done if it may not be done there. */
void world_inside(struct world *w, const struct op *op);
void world_interrupted(void *context, enum sim_at at); /* for sim_set_interruption() */
struct mishaps world_mishaps(const struct world *w);
bool takes_pages(const struct op *op); /* away from where they are mapped, for good */
bool may_be_inside(const struct world *w, const struct op *op);

/* Ends the run: this check has failed. Keeps the first. */
__attribute__((format(printf, 3, 4))) void world_fail(struct world *w, enum check check,
						      const char *format, ...);
const char *check_name(enum check check);

void world_compare(struct world *w, unsigned p); /* boundaries and families of a process */
bool world_same_boundaries(struct world *w, unsigned p, char *what, size_t room);
void world_audit(struct world *w, unsigned p); /* contents of all present pages */
void world_verify(struct world *w, enum avm_verify_level level);

void perform(struct world *w, const struct op *op);
void perform_file(struct world *w, const struct op *op);
void perform_access(struct world *w, const struct op *op);
void perform_memory(struct world *w, const struct op *op);
void perform_pin(struct world *w, const struct op *op);
void unpin_all(struct world *w);
void perform_poison(struct world *w, const struct op *op);
uint64_t frames_refused(const struct world *w); /* by the port, so far */
bool world_mishap(const struct world *w); /* in this operation: one of struct mishaps */
/* The page is accessed: what must come of it (R8), by the models, who are told. */
unsigned foretell(struct world *w, struct proc *p, avm_addr_t addr, enum avm_access access,
		  bool force);
/* The access has failed because memory was short, or one would have had to wait. */
void no_memory(struct world *w, unsigned proc, avm_addr_t addr, enum avm_access access, bool force);
bool is_single_access(const struct op *op); /* of one page: mmap_lock is only read */

/*
 * Compares the result of an operation with the one foretold. Says whether the oracle is to follow. Where an allocation
 * failed, the operation may have been done (without some pages) or have changed nothing but families in [start, end):
 * `before` is the model as it was.
 */
bool world_follow(struct world *w, unsigned p, avm_addr_t start, avm_addr_t end, int got,
		  struct bounds_result want, const struct bounds_saved *before);
/* Has an allocation failed in this operation, was memory short all the same, or did swap fail to give a page back? */
bool world_alloc_failed(const struct world *w);
bool world_read_failed(const struct world *w); /* ... the last of the three */
void world_resync(struct world *w, unsigned p, avm_addr_t start, avm_addr_t end);
/* The oracle learns which private pages have been populated; which ranges are locked. */
void world_tell_oracle(struct world *w, unsigned p);
void world_tell_locks(struct world *w, unsigned p);

/* ---- making ------------------------------------------------------------------------------------------- */

struct rng {
	uint64_t state;
	/*
	 * Not NULL: choices are made by these bytes (of a fuzzer), one by one; when there are no more, each is the
	 * simplest. Only values come from the state.
	 */
	const uint8_t *bytes, *end;
};

uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);
bool rng_one_in(struct rng *r, uint64_t n);

/* The next operation, given what is there; one of a kind, if a process and what else it needs are there. */
void generate(struct rng *r, struct world *w, struct op *op);
void generate_kind(struct rng *r, struct world *w, enum op_kind kind, struct op *op);
void generate_inside(struct rng *r, struct world *w, struct op *op); /* for somebody else */
void make_memory_op(struct rng *r, const struct world *w, struct op *op);
void draw_pressure(struct rng *r, struct program *pr); /* the configuration */
enum op_kind draw_kind_under_pressure(struct rng *r);
uint32_t advice_under_pressure(struct rng *r);

/* ---- running apart ----------------------------------------------------------------------------------- */

#define OPS_MAX 4000

/* What a program that runs in a process of its own leaves behind, even if it crashes. */
struct outcome {
	size_t n; /* operations generated */
	size_t at; /* operation that runs */
	enum check failed;
	uint64_t injected, insides;
	uint64_t events[AVM_NR_EVENTS];
	char what[512];
	char claim[4096];
	struct op ops[OPS_MAX];
};

struct outcome *program_outcome(void); /* of the last run */

/* Who makes the operations of a program while it runs. */
struct maker {
	bool (*next)(void *context, struct world *w, struct op *op); /* false: that was all */
	/* One that is to run now, in the middle (if it may be there); asked again until it says no. */
	bool (*inside)(void *context, struct world *w, struct op *op);
	void *context;
};

/* With a maker, or (NULL) the program's own operations. They and how it went are in the outcome. */
enum check program_run_here(const struct program *pr, const struct maker *mk);
/* ... in a process that may crash. `quiet`: it prints nothing. */
enum check program_run_apart(const struct program *pr, const struct maker *mk, bool quiet);
/* Random operations, so many. */
enum check program_run_random(const struct program *pr, size_t n);

/* ---- shrinking, printing -------------------------------------------------------------------------------- */

/* Runs a program with its own operations. The failed check; *what has room for 512. */
enum check program_run(const struct program *pr, size_t *at, char *what);

/* Makes the program smaller while it fails by the same check. */
void program_shrink(struct program *pr, enum check check, FILE *progress);

/* Takes the operations of the outcome, which has failed so: makes them fewer, and prints them. */
void program_report(struct program *pr, enum check check, const char *again);
void program_take_ops(struct program *pr); /* ... of the outcome */

/* The command line of a test program: many programs of the kind, or one. Returns the exit status. */
int drive(int argc, char **argv, enum program_kind kind);

/* As an .avm script, which ends with the claim. */
void program_print(const struct program *pr, const char *claim, FILE *out);

#endif
