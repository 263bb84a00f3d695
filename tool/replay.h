/* SPDX-License-Identifier: MIT */
/*
 * replay.h - a recorded program, run again on the core of the simulated machine, and how near the two came.
 *
 *	struct replay *r = replay_new(&(struct replay_config){ .path = "redis.trace.xz" }, err);
 *
 *	if (r && replay_run(r) >= 0)
 *		... r->faults, r->rss, r->maps: docs/traces.md says what they measure ...
 *	replay_free(r);
 */
#ifndef ANONVM_TOOL_REPLAY_H
#define ANONVM_TOOL_REPLAY_H

#include "sim.h"
#include "trace.h"

/* When to check the invariants of the machine. */
enum replay_verify {
	REPLAY_VERIFY_END,
	REPLAY_VERIFY_EACH,
	REPLAY_VERIFY_NEVER,
};

/* Traces without faults (strace): which pages of a new mapping are touched. */
enum replay_touch {
	REPLAY_TOUCH_FIRST,
	REPLAY_TOUCH_NONE,
	REPLAY_TOUCH_ALL,
};

/* Broken on purpose, for the tests of the measure: each of these must be seen in the figures. */
enum replay_wrong {
	REPLAY_RIGHT,
	REPLAY_WRONG_NOTHING, /* faults map nothing */
	REPLAY_WRONG_MPROTECT, /* mprotect drops the pages */
	REPLAY_WRONG_DONTFORK, /* MADV_DONTFORK drops the pages */
	REPLAY_WRONG_MREMAP, /* mremap loses the pages it moves */
	REPLAY_WRONG_STORE, /* under pressure: a store is lost */
	REPLAY_WRONG_SWAP, /* ... a page does not come back from swap */
};

struct replay_row;

/* For those who look on; each may be NULL. */
struct replay_hooks {
	/* `what` ("mmap", "exec") has been done to [start, end). */
	void (*called)(void *context, struct avm_mm *mm, const char *what, avm_addr_t start,
		       avm_addr_t end);
	void (*forked)(void *context, struct avm_mm *parent, struct avm_mm *child);
	/* The last user of an address space leaves it, or the trace ends. */
	void (*leaving)(void *context, struct avm_mm *mm, const struct replay_row *row);
};

struct replay_config {
	const char *path;
	const char *
		text; /* NULL: what `path` names; else the trace, which `path` is the name of: it must stay */
	size_t text_len;
	uint64_t frames; /* 0: REPLAY_FRAMES */
	uint32_t swap_slots; /* 0: no swap */
	enum sim_swap_kind swap_kind;
	struct replay_contents *contents; /* to be recorded or compared, or NULL */
	enum avm_family_policy family;
	enum replay_verify verify;
	enum replay_touch touch;
	enum replay_wrong wrong;
	uint64_t stop; /* after this event; 0: at the end */
	uint64_t work; /* how much the trace may ask for, in pages; 0: more than any program does */
	struct avm_merge_observer *observer; /* told of refused merges, or NULL */
	const struct replay_hooks *hooks; /* or NULL */
	void *context; /* of the hooks */
	bool explain; /* each difference, on stderr */
	bool progress; /* on stderr */
};

#define REPLAY_FRAMES (UINT64_C(1) << 20)

/* What the measure says of one kind of fault. */
struct replay_faults {
	uint64_t recorded;
	uint64_t explained; /* the model faults there, too */
	uint64_t exact; /* ... and agrees whether a page was present */
	uint64_t raced; /* not exact, but another thread had just been there; not among the explained */
};

enum replay_fault_kind {
	REPLAY_FAULT_ANON,
	REPLAY_FAULT_FILE,
	REPLAY_FAULT_OTHER,
	REPLAY_NR_FAULTS,
};

struct replay_samples {
	uint64_t samples;
	uint64_t equal;
	uint64_t torn; /* equal with a part of one page table: the kernel stopped in the middle to reschedule */
	uint64_t beside; /* equal with or without what another CPU did at the same moment */
};

struct replay_pairs {
	uint64_t recorded, equal;
};

/* What the pages contained, compared with a replay that had memory enough. */
struct replay_compared {
	uint64_t compared;
	uint64_t wrong;
	uint64_t wrong_line; /* the first of them */
	uint64_t freed; /* zeroes, where MADV_FREE permits them */
	uint64_t oom_line; /* memory ran out: from here on nothing is comparable; 0: it did not */
};

/* Why something is not as recorded. */
struct replay_cause {
	const char *name;
	uint64_t count;
	uint64_t line; /* the first of them */
};
#define REPLAY_CAUSES 40

enum replay_op {
	REPLAY_OP_FAULT,
	REPLAY_OP_AROUND,
	REPLAY_OP_MMAP,
	REPLAY_OP_MUNMAP,
	REPLAY_OP_MPROTECT,
	REPLAY_OP_MREMAP,
	REPLAY_OP_MADVISE,
	REPLAY_OP_BRK,
	REPLAY_OP_LOCK,
	REPLAY_OP_OTHER,
	REPLAY_OP_FORK,
	REPLAY_OP_EXEC,
	REPLAY_OP_EXIT,
	REPLAY_NR_OPS,
};

struct replay_time {
	uint64_t calls;
	uint64_t ns;
};

/* One address space, from exec or fork to its end. */
struct replay_row {
	struct replay_row *next;
	int32_t pid;
	char comm[20];
	uint64_t faults;
	uint64_t forks;
	uint64_t vmas_peak;
	uint64_t rss_peak[AVM_NR_RSS]; /* pages; each at its own time */
	uint64_t longest_chain;
};

struct replay {
	struct replay_config config;
	char name[256]; /* of the trace, printable */
	struct sim *sim;
	struct trace *trace;
	struct replay_state *state; /* replay_priv.h */

	uint64_t events;
	uint64_t processes; /* thread groups seen */
	uint64_t threads;
	uint64_t execs;
	struct replay_faults faults[REPLAY_NR_FAULTS];
	uint64_t not_served; /* faults of the kernel with page faults disabled, which it repeated */
	uint64_t without_code; /* faults of which the trace does not tell the access */
	struct replay_samples rss[AVM_NR_RSS];
	struct replay_pairs maps, results;
	struct {
		uint64_t blocks; /* the kernel mapped pages around a fault */
		uint64_t ambiguous; /* ... which ones was not certain */
		uint64_t corrected; /* pages that a later fault put right */
	} around;
	uint64_t touches; /* synthesised */
	uint64_t adopted; /* ranges that the kernel changed and no record had mapped */
	struct replay_cause causes[REPLAY_CAUSES];
	unsigned nr_causes;
	struct replay_time times[REPLAY_NR_OPS];
	struct replay_row *rows; /* newest first */
	uint64_t nr_rows;

	/* After replay_run(). */
	struct avm_stats stats;
	uint64_t frames_peak;
	uint64_t longest_chain;
	uint64_t violations;
	uint64_t leaked;
	struct replay_compared compared;
	uint64_t ooms;
	struct avm_swap_device *swap_device; /* or NULL */
	uint64_t wall_ns;
	bool stopped; /* at config.stop */
};

/*
 * Replay under pressure: the same trace twice, first with memory enough, which says how much that is and what each page
 * contains, then with less. Traces tell of faults only, not of the accesses between them; so at each fault pages are
 * looked at and written again that the program has, chosen at random in the first replay, the same in the second.
 */
struct replay_contents *contents_new(void);
void contents_compare(
	struct replay_contents *c); /* what has been recorded is compared from now on */
void contents_free(struct replay_contents *c);

/* The pointer; without memory the program ends with status 2. */
void *replay_must(void *p);

/* => NULL with a message in err. */
struct replay *replay_new(const struct replay_config *config, char err[TRACE_ERR_MAX]);

/*
 * Everything, the verification and the end of the machine included. => 0; a negative errno when the trace cannot be
 * read to its end (trace_error(r->trace)): the figures are those of what came before.
 */
int replay_run(struct replay *r);
void replay_free(struct replay *r);

/* What is being done just now ("mprotect", "exec", "fault"), and for which line of the trace. */
const char *replay_doing(const struct replay *r, uint64_t *line);

const char *replay_op_name(enum replay_op op);
double replay_core_seconds(const struct replay *r);

/* Does it meet the bars (docs/traces.md)? Else why not, in `why`. */
bool replay_good(const struct replay *r, char *why, size_t size);

/* ---- report.c, report_json.c -------------------------------------------------------------------------- */

void report_text(const struct replay *r, unsigned top);
/* => 0, or -1 where this program was built without JSON. */
int report_json(const struct replay *r, unsigned top);

/* "--family chain" and the like: an index into a list that ends with NULL, or -1. */
int replay_word(const char *const *words, const char *arg);
extern const char *const replay_family_words[];
extern const char *const replay_touch_words[];

#endif
