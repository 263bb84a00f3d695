/* SPDX-License-Identifier: MIT */
/*
 * diff.h - `anonvm diff`: random programs run on the core and on the kernel below us at once, and compared.
 *
 * A program is an array of operations of up to DIFF_PROCS processes, all inside one window of addresses. The core performs an
 * operation when it is made (the generator looks at the core to aim well, never at the host, so that a seed gives the
 * same program everywhere). The host performs the same in batches, in processes of its own that pass each other the
 * turn: only one runs at a time, in the order of the program. Both sides put down what they saw in the same form,
 * and only these records are compared.
 *
 *	diff_core_...		the core's side			diff_core.c
 *	diff_host_...		the host's side, as seen by us	diff_host.c
 *	diff_worker()		... in its processes		diff_worker.c, diff_look.c
 *	diff_generate()		the next operation		diff_generate.c
 *	diff_compare_...	two records			diff_compare.c
 *	diff_rules		differences that are meant	diff_rules.c
 *	diff_run()		all of it			diff_run.c
 *	diff_shrink()		smaller programs		diff_shrink.c
 *	diff_print()		as a script			diff_print.c
 */
#ifndef ANONVM_TOOL_DIFF_H
#define ANONVM_TOOL_DIFF_H

#include <stdio.h>

#include "anonvm/anonvm.h"
#include "sim.h"

#define DIFF_PROCS 8
#define DIFF_FILES 2
#define DIFF_FILE_PAGES 24u
#define DIFF_PAGE UINT64_C(4096)

/* The window lies across the border of two page tables; the heap begins in its upper part. */
#define DIFF_PAGES 512u
#define DIFF_START UINT64_C(0x10100000)
#define DIFF_END (DIFF_START + DIFF_PAGES * DIFF_PAGE)
#define DIFF_HEAP (DIFF_START + 420 * DIFF_PAGE)

enum diff_kind {
	DIFF_MMAP,
	DIFF_MUNMAP,
	DIFF_MPROTECT,
	DIFF_MREMAP,
	DIFF_MADVISE,
	DIFF_MLOCK,
	DIFF_MUNLOCK,
	DIFF_MLOCKALL,
	DIFF_MUNLOCKALL,
	DIFF_MSYNC,
	DIFF_MINCORE,
	DIFF_BRK,
	DIFF_NAME, /* flags: which, 0 none */
	DIFF_POLICY, /* the same; of ranges without a hole */
	DIFF_READ, /* a load of 8 bytes from the start of a page */
	DIFF_WRITE, /* a store of 8 bytes */
	DIFF_PEEK, /* the same as a debugger does it, through /proc/self/mem */
	DIFF_POKE,
	DIFF_FORK, /* p: the parent, q: the child */
	DIFF_EXIT,
	DIFF_EXEC,
	DIFF_TRUNCATE, /* a file; p does it */
	DIFF_PUNCH,
	DIFF_AUDIT, /* nothing but a look at everything */
	DIFF_NR_KINDS,
};

/* Addresses and lengths are bytes. What is not listed for a kind in diff_print.c is not used by it. */
struct diff_op {
	uint8_t kind, p, q;
	uint8_t file; /* 0: none; else 1 + number */
	uint32_t prot, flags; /* flags: of the call; advice */
	uint32_t read_only; /* mmap: the file is opened for reading only */
	uint64_t addr, len;
	uint64_t to; /* mremap: target; mmap: page of the file */
	uint64_t new_len;
	uint64_t value; /* of a store */
};

/* How an access ended, in `ret`; beside 0 and negative errnos. */
enum diff_ret {
	DIFF_MAPERR = -1001,
	DIFF_ACCERR = -1002,
	DIFF_SIGBUS = -1003,
	DIFF_NOT_DONE = -1004, /* there is no such process, or there is one already */
	DIFF_OUTSIDE =
		1, /* an address, but not in the window; what lay there has been unmapped again */
};

/* What a store did to the frame behind a page that was present. */
enum diff_frame {
	DIFF_FRAME_NEW, /* there was none, or the zero page */
	DIFF_FRAME_SAME,
	DIFF_FRAME_OTHER, /* a copy */
	DIFF_FRAME_GONE,
};

/* What one side saw of one operation. */
struct diff_seen {
	int64_t ret; /* an address, 0, negative errno, enum diff_ret */
	uint64_t value; /* read: contents; mincore: a hash of the vector */
	uint64_t maps; /* hash of the VMAs around the range (diff_ranges) */
	uint32_t nr_maps;
	uint32_t frame; /* enum diff_frame */
};

struct diff_vma {
	uint64_t start, end;
	uint64_t offset; /* bytes into the file; 0 where there is none */
	uint32_t prot; /* AVM_PROT_..., DIFF_VMA_SHARED */
	uint32_t file; /* 0: anonymous; 1 + number; DIFF_VMA_SHMEM: shared anonymous memory */
	uint64_t flags; /* AVM_VM_... of DIFF_VM_FLAGS, when they were asked for */
};
#define DIFF_VMA_SHARED 8u
#define DIFF_VMA_SHMEM 255u
/* Flags that the host shows in smaps and the core has too. */
#define DIFF_VM_FLAGS \
	(AVM_VM_READ | AVM_VM_WRITE | AVM_VM_EXEC | AVM_VM_SHARED | AVM_VM_MAYREAD | \
	 AVM_VM_MAYWRITE | AVM_VM_MAYEXEC | AVM_VM_GROWSDOWN | AVM_VM_LOCKED | AVM_VM_DONTCOPY | \
	 AVM_VM_WIPEONFORK | AVM_VM_DONTDUMP | AVM_VM_MERGEABLE | AVM_VM_NORESERVE | \
	 AVM_VM_ACCOUNT | AVM_VM_HUGEPAGE | AVM_VM_NOHUGEPAGE | AVM_VM_SEQ_READ | \
	 AVM_VM_RAND_READ)

enum diff_state {
	DIFF_ABSENT,
	DIFF_ZERO, /* the zero page */
	DIFF_ANON,
	DIFF_FILE, /* of a file, or of shared anonymous memory */
	DIFF_SWAPPED,
};

struct diff_page {
	uint64_t frame; /* a number of that side's own; 0: not known */
	uint64_t value; /* of the first 8 bytes, if present */
	uint32_t mapcount; /* if `counted` */
	uint8_t state; /* enum diff_state */
	bool counted;
};

#define DIFF_MAX_VMAS (DIFF_PAGES)

/* A whole process, as one side sees it. */
struct diff_audit {
	uint32_t nr_vmas;
	bool flags; /* the VMAs' flags have been read */
	struct diff_vma vmas[DIFF_MAX_VMAS];
	struct diff_page pages[DIFF_PAGES];
};

/* How much an audit looks at: diff_op.flags. */
enum diff_audit_flags {
	DIFF_AUDIT_COUNTS = 1, /* mapcounts */
	DIFF_AUDIT_FLAGS = 2, /* flags of VMAs */
};

struct diff_program {
	uint64_t seed;
	enum avm_family_policy family;
	uint32_t nr_procs; /* at most at once */
	bool no_fork; /* process 0 alone, without exec */
	struct diff_op *ops;
	size_t n, room;
};

/* What the host can do, and we are allowed to: found out by trying, once. */
struct diff_can {
	bool query; /* PROCMAP_QUERY: VMAs after each operation */
	bool frames; /* pagemap shows frame numbers */
	bool counts; /* /proc/kpagecount */
	bool heap; /* the heap can be moved into the window */
	bool names; /* of anonymous memory */
	bool policies; /* mbind */
	bool lock_all; /* mlockall touches all of a process */
	bool force; /* /proc/self/mem writes where the process may not */
	bool advice[32]; /* which kinds of madvise the kernel was built with */
	uint64_t lowest; /* address to be mapped */
	uint64_t zero_frame;
	uint64_t entry_ns; /* of a system call */
};

/* ---- both sides ------------------------------------------------------------------------------------- */

/* The ranges around which VMAs are compared after an operation: 0, 1 or 2. */
struct diff_range {
	uint64_t start, end;
};
int diff_ranges(const struct diff_op *op, struct diff_range *out);
/* Is this a call that changes VMAs, with its range in the window? Others are never made. */
bool diff_in_window(uint64_t addr, uint64_t len);
void diff_hash_vma(struct diff_seen *seen, const struct diff_vma *v);
uint64_t diff_hash(uint64_t h, uint64_t x);
const char *diff_kind_name(enum diff_kind kind);

/* ---- the core ----------------------------------------------------------------------------------------- */

struct diff_core {
	struct sim *sim;
	struct sim_proc *procs[DIFF_PROCS];
	struct avm_file *files[DIFF_FILES];
	const struct diff_can *can;
};

/* 0, or a negative errno. Process 0 is there. */
int diff_core_open(struct diff_core *c, const struct diff_program *pr, const struct diff_can *can);
/* What went wrong by the core's own checks, or 0; `report` may be NULL. */
int64_t diff_core_verify(struct diff_core *c, FILE *report);
uint64_t diff_core_close(struct diff_core *c); /* what has leaked */
void diff_core_step(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen);
void diff_core_audit(struct diff_core *c, unsigned p, uint32_t what, struct diff_audit *a);

/* ---- the host ----------------------------------------------------------------------------------------- */

#define DIFF_BATCH 64u /* operations that are given away at once */
#define DIFF_SPARE (DIFF_PROCS + 1) /* audits that may follow in the same batch */

struct diff_batch {
	uint32_t n;
	struct diff_op ops[DIFF_BATCH + DIFF_SPARE];
	struct diff_seen seen[DIFF_BATCH + DIFF_SPARE];
	struct diff_audit audits[DIFF_PROCS];
};

struct diff_host;

/*
 * Starts the process from which all others come; before anything large is allocated here. NULL with the reason in
 * *why where programs cannot be compared at all.
 */
struct diff_host *diff_host_open(struct diff_can *can, const char **why);
void diff_host_close(struct diff_host *h);
/* Ends what runs there, and makes a process 0 with an empty window. */
bool diff_host_begin(struct diff_host *h);
/* The batch to be filled next; given away by start(). One may be under way while another is filled. */
struct diff_batch *diff_host_batch(struct diff_host *h);
void diff_host_start(struct diff_host *h);
/* Waits for the batch that is under way. NULL: the host's side has died (diff_host_at: in which operation). */
struct diff_batch *diff_host_wait(struct diff_host *h);
uint32_t diff_host_at(const struct diff_host *h);

/* A process of the host that has been started anew by exec: `anonvm diff --worker ...`. Does not return. */
int diff_worker_main(int argc, char **argv);

/* ---- comparing ---------------------------------------------------------------------------------------- */

enum diff_mismatch {
	DIFF_EQUAL,
	DIFF_RESULT,
	DIFF_VALUE,
	DIFF_MAPS,
	DIFF_TAKEOVER, /* one side copied, the other did not */
	DIFF_PAGES_STATE,
	DIFF_CONTENT,
	DIFF_SHARING,
	DIFF_MAPCOUNT,
	DIFF_VMA_FLAGS,
	DIFF_CORE_BROKEN, /* the core's own invariants */
	DIFF_HOST_DIED,
	DIFF_NR_MISMATCHES,
};

struct diff_finding {
	enum diff_mismatch kind;
	size_t at; /* operation */
	char what[512];
};

const char *diff_mismatch_name(enum diff_mismatch kind);
bool diff_compare_seen(const struct diff_op *op, const struct diff_seen *host,
		       const struct diff_seen *core, struct diff_finding *f);
/* The audits of all live processes, indexed by process; those not in `live` are not looked at. */
bool diff_compare_audits(const struct diff_audit *host, const struct diff_audit *core,
			 uint32_t live, struct diff_finding *f);

/* ---- differences that are meant ------------------------------------------------------------------------ */

struct diff_rule {
	const char *name;
	const char *what; /* in one sentence */
	/* Does the host differ so? NULL: always. Found out in a process of its own. */
	bool (*probe)(void);
	/* May this operation be made at all, and if not because of this rule? */
	bool (*avoids)(const struct diff_core *c, const struct diff_op *op);
	bool active;
	uint64_t used;
};
extern struct diff_rule diff_rules[];
extern const unsigned diff_nr_rules;
void diff_rules_probe(void);

/* ---- programs ------------------------------------------------------------------------------------------ */

struct diff_rng {
	uint64_t state;
};
uint64_t diff_random(struct diff_rng *r);
uint64_t diff_below(struct diff_rng *r, uint64_t n);
bool diff_one_in(struct diff_rng *r, uint64_t n);

/* `proc`: the process that is at it; draws another one at times. */
void diff_generate(struct diff_rng *r, struct diff_core *c, const struct diff_program *pr,
		   unsigned *proc, struct diff_op *op);

/* What has been seen, over all programs. */
struct diff_counts {
	uint64_t ops, programs;
	uint64_t done[DIFF_NR_KINDS], failed[DIFF_NR_KINDS];
	uint64_t errnos[134];
	uint64_t maperr, accerr, sigbus, outside;
	uint64_t merges, splits;
	uint64_t audits, copies, takeovers;
	uint64_t chance; /* differences that were not there when the program ran again */
};

struct diff_lab {
	struct diff_host *host;
	struct diff_can can;
	struct diff_counts counts;
	struct diff_audit core_audits[2][DIFF_PROCS]; /* as of the batch */
	struct diff_seen core_seen[2][DIFF_BATCH + DIFF_SPARE];
	uint32_t live[2];
	/* For tests: called after each operation of the core, to do it wrong. NULL: nobody. */
	void (*meddle)(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen);
	/* For a report: what the host saw of each operation of the program; NULL if nobody asks. Ours to free. */
	struct diff_seen *trail;
	/* The last audits that were compared. */
	unsigned last;
	uint32_t last_live;
	const struct diff_audit *last_host;
};

/*
 * Runs the program: its own operations; or, when `make` is not 0, so many new ones, which are added to it. True when
 * both sides agree; else *f has the first difference.
 */
bool diff_run(struct diff_lab *lab, struct diff_program *pr, size_t make, struct diff_finding *f);
bool diff_add(struct diff_program *pr, const struct diff_op *op);
void diff_shrink(struct diff_lab *lab, struct diff_program *pr, struct diff_finding *f,
		 FILE *progress);
/* The script, with what each side saw as comments. */
void diff_print(struct diff_lab *lab, const struct diff_program *pr, const struct diff_finding *f,
		FILE *out);

#endif
