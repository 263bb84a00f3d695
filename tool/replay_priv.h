/* SPDX-License-Identifier: MIT */
/*
 * replay_priv.h - inside of replay: tasks, address spaces, files, and the resident counts.
 *
 * How the kernel's samples are compared. kmem:rss_stat comes after each single change of a count, with the value
 * then. An operation changes counts in steps: unmapping and fork once for each page table and VMA, a copy on write
 * once for the file page and once for its copy. The core does each operation at once, so the model keeps, for each
 * task, a *plan*: the steps that its operation consists of, and how many of them the kernel has reported. The count
 * at a moment is that of the core, less what it has done and the kernel has not (replay_rss.c).
 */
#ifndef ANONVM_TOOL_REPLAY_PRIV_H
#define ANONVM_TOOL_REPLAY_PRIV_H

#include <sys/queue.h>

#include "replay.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE ((uint64_t)1 << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define TABLE_SPAN (PAGE_SIZE << 9)

static inline uint64_t page_down(uint64_t a)
{
	return a & PAGE_MASK;
}

static inline uint64_t page_up(uint64_t a)
{
	return (a + PAGE_SIZE - 1) & PAGE_MASK;
}

/* ---- files -------------------------------------------------------------------------------------------- */

struct file {
	LIST_ENTRY(file) link;
	uint64_t hash;
	uint64_t dev, inode, generation;
	char *name;
	struct avm_file *file; /* NULL: anonymous memory */
	struct avm_file special; /* of vvar: bare frames */
	bool is_special;
	bool sized; /* has been truncated: from then on its size matters */
};

/* A descriptor that was once mapped, for ftruncate() and fallocate(). */
struct fd {
	int32_t fd;
	struct file *file;
};
#define FDS 16

/* ---- resident counts ---------------------------------------------------------------------------------- */

struct counts {
	int64_t n[AVM_NR_RSS];
};

struct plan {
	struct space *space; /* whose counts change; NULL: no plan */
	struct counts *steps;
	size_t nr, cap, next;
	struct counts total, done;
	bool applied; /* the core has done it */
	bool open; /* a file fault: the kernel may map more pages than one */
	uint64_t addr; /* ... around here */
	const struct space
		*copied; /* fork: steps are laid down as the kernel gets there, from this parent */
	uint64_t cursor; /* ... where it is */
};

/* A change that the kernel has reported. */
struct reported {
	uint64_t seq, time; /* of the event */
	int32_t tid;
	enum avm_rss type;
	int64_t delta;
};
#define REPORTED 64

struct touched {
	uint64_t page, time;
	int32_t tid;
};
#define TOUCHED 64

/* Pages around a fault of which only the number is known: replay_around.c */
struct guess {
	uint64_t start;
	uint64_t in; /* a bit for each page from start: mapped in the model, perhaps not in the kernel */
	uint64_t out; /* the other way round */
};

/* ---- address spaces ----------------------------------------------------------------------------------- */

struct space {
	LIST_ENTRY(space) by_id; /* while mm_id is known */
	LIST_ENTRY(space) link;
	struct sim_proc *proc; /* NULL: torn down */
	uint64_t mm_id; /* 0: not known yet */
	unsigned users; /* tasks, and a fork or exec in the making */
	unsigned forking; /* tasks in fork: what they have copied is locked */
	struct counts adjust; /* + the core's counts = what the kernel must say now */
	const char *drift[AVM_NR_RSS]; /* the cause of the last unequal sample */
	int64_t drift_by[AVM_NR_RSS];
	struct reported reported[REPORTED];
	unsigned nr_reported; /* all, ever */
	struct touched touched[TOUCHED];
	unsigned nr_touched;
	struct guess *guesses;
	size_t nr_guesses, cap_guesses;
	struct fd fds[FDS];
	bool stack_made; /* exec: the stack is there */
	bool unknown_image; /* began before the trace, or exec'd without records of its image */
	bool before_trace; /* ... and what was present then is unknown */
	bool arguments_unknown; /* pages of exec's arguments, to be told by the first sample */
	struct replay_row *row;
};

struct sample {
	uint64_t mm_id;
	enum avm_rss type;
	int64_t pages;
	bool curr;
	uint64_t line;
};

/* ---- tasks -------------------------------------------------------------------------------------------- */

/* A system call that has been entered. */
struct call {
	bool active;
	bool applied;
	struct trace_sys sys;
	uint64_t cursor; /* mprotect: done up to here */
	int result; /* of the core */
	uint64_t out; /* address the core returned */
	struct trace_mmap record; /* MMAP2 that waits for the call to be applied; its name is gone */
	struct file *file; /* ... of the record */
	bool has_record;
};

/* An execve() on its way: between the first page of arguments and sched_process_exec. */
struct exec {
	bool active; /* arguments are being copied */
	uint64_t mm_id; /* of the address space that is being made */
	int64_t pages; /* of arguments */
	int64_t charged; /* ... to the old address space, until it is left */
	bool mapping; /* COMM has come, sched_process_exec not yet */
	uint64_t total_start, total_end; /* first mapping of an image, as large as all of it */
};

struct task {
	LIST_ENTRY(task) link;
	int32_t tid, pid;
	struct space *space;
	uint64_t seq, prev_seq; /* numbers of its last two events */
	char comm[20];
	struct plan fault, op;
	uint64_t fault_addr;
	uint64_t fault_line; /* where the trace has it */
	enum avm_access fault_access;
	bool faulting; /* taken, not served yet */
	struct trace_event
		postponed; /* a fault that fork may hold up, to be judged when it is over */
	bool has_postponed;
	bool fault_kernel; /* ... by the kernel */
	struct call call;
	struct exec exec;
	struct space *child; /* fork on its way */
	struct sample
		held; /* of an address space never heard of: fork or exec, the next event tells */
	bool has_held;
	bool begun; /* existed before the trace */
};

#define BUCKETS 1024
LIST_HEAD(task_list, task);
LIST_HEAD(space_list, space);
LIST_HEAD(file_list, file);

struct replay_state {
	struct task_list tasks[BUCKETS];
	struct space_list ids[BUCKETS];
	struct space_list spaces;
	struct file_list files[BUCKETS];
	uint64_t seq, time;
	uint64_t line; /* of the event at work */
	const char *doing; /* NULL: serving a fault */
	bool strace;
	bool changed; /* the machine, since it was last verified */
	uint64_t work; /* done: replay_work.c */
	uint64_t nr_tasks; /* alive */
};

/* Tells whoever looks on, and that it is over. */
void note_called(struct replay *r, const struct space *s, uint64_t start, uint64_t end);

static inline struct avm_mm *space_mm(const struct space *s)
{
	return sim_mm(s->proc);
}

/* replay_space.c */
struct task *task_find(struct replay *r, int32_t tid);
struct task *task_next(struct replay *r, struct task *t); /* all of them; NULL first */
struct task *task_add(struct replay *r, int32_t tid, int32_t pid, struct space *space);
/* The task, made as one that existed before the trace if need be. */
struct task *task_get(struct replay *r, int32_t tid, int32_t pid);
void task_drop(struct replay *r, struct task *t);
struct space *space_new(struct replay *r, const struct space *parent, int32_t pid,
			const char *comm); /* parent: fork, to be done by space_fork() */
void space_fork(struct replay *r, struct space *child, struct space *parent);
void space_put(struct replay *r, struct space *s);
void space_end(struct replay *r, struct space *s); /* unmaps everything; the struct stays */
void space_bind(struct replay *r, struct space *s, uint64_t mm_id);
struct space *space_by_id(struct replay *r, uint64_t mm_id);
void space_note(struct replay *r, struct space *s); /* peaks */
void note_cause(struct replay *r, const char *name);
/* With --explain: more about a difference. */
__attribute__((format(printf, 2, 3))) void explain(const struct replay *r, const char *format, ...);

/* replay_pressure.c: after a fault of the trace, taken at `line`, at addr; or a touch made up. */
void contents_visit(struct replay *r, struct space *s, uint64_t line, uint64_t addr,
		    enum avm_access access);
void contents_note_free(struct replay *r);
int pressure_start(struct replay *r);

/* replay_file.c */
struct file *file_of(struct replay *r, const struct trace_mmap *m);
struct file *file_by_name(struct replay *r, struct trace_str name);
void files_free(struct replay *r);

/* replay_plan.c */
void plan_begin(struct plan *p, struct space *s);
void plan_add(struct plan *p, const struct counts *c);
/* Steps for what is mapped in [start, end): sign -1 to be unmapped, 1 just copied. */
void plan_gather(struct plan *p, uint64_t start, uint64_t end, int sign);
void plan_applied(struct plan *p, const struct counts *total);
void plan_drop(struct plan *p);
bool plan_untouched(const struct plan *p); /* neither applied nor reported any of */
int64_t plan_next(struct plan *p,
		  enum avm_rss type); /* the next change of this count; 0: none now */
/* The kernel has reported a change by `delta`. */
void plan_report(struct replay *r, struct task *t, struct plan *p, enum avm_rss type,
		 int64_t delta);
struct counts counts_of(const struct space *s);
struct counts counts_diff(const struct counts *after, const struct counts *before);

/* replay_rss.c */
void rss_compare(struct replay *r, struct task *t, struct space *s, enum avm_rss type,
		 int64_t pages);
void rss_event(struct replay *r, struct task *t, const struct trace_event *ev);
void rss_resolve(struct replay *r, struct task *t, const struct trace_event *next);

/* replay_fault.c */
void fault_event(struct replay *r, struct task *t, const struct trace_event *ev);
void fault_serve(struct replay *r, struct task *t);
void fault_judge(struct replay *r, struct task *t); /* one that was postponed */
bool fault_repeated(const struct task *t, const struct trace_event *next);
void touch_range(struct replay *r, struct space *s, uint64_t start, uint64_t len);

/* replay_around.c */
/* Maps `want` more pages around addr; => how many there were. */
int64_t fault_around(struct replay *r, struct space *s, uint64_t addr, int64_t want);
/* The kernel has found a page there, or none. */
void around_evidence(struct replay *r, struct space *s, uint64_t addr, bool present);
void around_fork(struct space *child, const struct space *parent);

/* replay_call.c */
void call_enter(struct replay *r, struct task *t, const struct trace_event *ev);
void call_exit(struct replay *r, struct task *t, const struct trace_event *ev);
void call_record(struct replay *r, struct task *t, const struct trace_event *ev); /* MMAP2 inside */
void call_sample(struct replay *r, struct task *t); /* a count has changed: it must have begun */
enum call_look {
	CALL_MAY_BEGIN,
	CALL_NOT_BEGUN,
};
bool call_others(struct replay *r, const struct task *t, const struct space *s,
		 enum call_look look);

/* replay_ops.c: what a call does to the core; => 0 or a negative errno */
int op_range(const struct call *c, uint64_t *start, uint64_t *end);
int op_changed(const struct call *c, uint64_t ret, uint64_t *start, uint64_t *end); /* ... change */
/* A call whose file is not certain, and of which nothing was seen: it has done nothing that matters. */
bool op_unseen(const struct replay *r, const struct task *t);
int op_map(struct replay *r, struct space *s, const struct avm_mmap *m);
int op_unmap(struct replay *r, struct space *s, uint64_t start, uint64_t end);
int op_call(struct replay *r, struct task *t, uint64_t ret);
void op_protect(struct replay *r, struct task *t, uint64_t end);

/* replay_life.c */
void life_new(struct replay *r, const struct trace_event *ev);
void life_fork(struct replay *r, struct task *t, uint64_t mm_id);
#define LIFE_ANYWHERE 0
void life_fork_passed(struct replay *r, const struct task *t, uint64_t addr);
void life_fork_recorded(struct replay *r, const struct trace_event *ev);
void life_fork_fails(struct replay *r, struct task *t);
void life_comm(struct replay *r, const struct trace_event *ev);
void life_exec_done(struct replay *r, const struct trace_event *ev);
void life_exit(struct replay *r, const struct trace_event *ev);
void life_teardown(struct replay *r, struct task *t);
void life_map(struct replay *r, struct task *t, const struct trace_event *ev); /* MMAP2 in exec */
void map_check(struct replay *r, const struct space *s, const struct trace_mmap *m);

/* replay_work.c: false means that the trace is about to be refused, so leave it */
bool work_allow(struct replay *r, uint64_t n);
bool work_exhausted(const struct replay *r);
int work_refuse(struct replay *r);
void work_whole(struct replay *r, const struct space *s);
void work_range(struct replay *r, const struct space *s, uint64_t start, uint64_t end);
bool work_populate(struct replay *r, uint64_t pages, bool written);
bool work_populate_range(struct replay *r, const struct space *s, uint64_t start, uint64_t end);

/* replay_run.c */
uint64_t time_now(void);
static inline void time_add(struct replay *r, enum replay_op op, uint64_t since)
{
	r->times[op].calls++;
	r->times[op].ns += time_now() - since;
}

#endif
