/* SPDX-License-Identifier: MIT */
/*
 * script_priv.h - inside the scripts: a parsed line, the table of operations, a run.
 */
#ifndef ANONVM_TOOL_SCRIPT_PRIV_H
#define ANONVM_TOOL_SCRIPT_PRIV_H

#include "oracle.h"
#include "script.h"
#include "sim.h"

#define SCRIPT_PAGE 4096u
#define SCRIPT_NAME_MAX 31
#define SCRIPT_LINE_MAX 4096
#define SCRIPT_TOKENS_MAX 256
#define SCRIPT_VALUE_MAX 1024

/* ---- tokens ---------------------------------------------------------------------------------- */

enum token_kind {
	TOKEN_WORD,
	TOKEN_STRING,
	TOKEN_EQUALS,
};

struct token {
	enum token_kind kind;
	const char *text; /* ends with a NUL, which no text contains */
	size_t len; /* a string's bytes may contain NULs */
};

struct tokens {
	struct token v[SCRIPT_TOKENS_MAX];
	size_t n;
	char text[2 * SCRIPT_LINE_MAX];
};

/* Cuts a line into tokens. NULL, or what is wrong. */
const char *script_tokens(const char *line, size_t len, struct tokens *out);

/* ---- a parsed line --------------------------------------------------------------------------- */

struct script_name {
	char text[SCRIPT_NAME_MAX + 1];
};

/* LABEL+PAGES.BYTES, NUMBER+PAGES.BYTES; also FILE+PAGES.BYTES */
struct script_addr {
	struct script_name label; /* empty: number */
	uint64_t number;
	uint64_t pages; /* two's complement */
	uint64_t bytes;
};

struct script_value {
	bool is_number;
	uint64_t number;
	uint32_t len;
	uint8_t bytes[SCRIPT_VALUE_MAX]; /* of a number: its 8 bytes, lowest first */
};

/* BASE+FIRST..END, and for `maps` with :PERM+FLAG... */
struct script_range {
	struct script_addr base;
	uint64_t first, end; /* pages from the base, two's complement */
	uint32_t prot;
	bool shared;
	uint64_t flags; /* these must be set */
};

/* One argument, by its letter in the signature. */
struct script_arg {
	char kind;
	uint64_t number; /* N number, L bytes, P prot, a access, D advice, w index of the word */
	struct script_name name; /* p process */
	struct script_addr addr; /* A address, F file, B file or (empty label) anon */
	struct script_value *value; /* V */
	const char *text; /* T */
	struct script_range *range; /* R, M */
};

/* A keyword with its arguments. */
struct script_option {
	const char *keyword; /* of the table */
	const struct script_arg *args;
};

struct script_expect {
	bool given;
	int error; /* negative errno */
	unsigned signal; /* AVM_FAULT_... error bit */
	bool faults_given;
	unsigned faults; /* AVM_FAULT_MINOR ... bits; none: no fault at all */
	struct script_value *value;
	bool count_given;
	uint64_t count;
	bool at_given;
	struct script_addr at;
	bool unchanged;
	bool any; /* success or failure */
};

struct script_line {
	unsigned number;
	const char *text; /* as written, for messages */
	const struct script_op *op;
	struct script_name proc; /* "A:" */
	struct script_name label; /* "heap =" */
	struct script_arg *args;
	size_t nr_args;
	struct script_option *options;
	size_t nr_options;
	struct script_expect expect;
};

struct script {
	char *name;
	struct script_line *lines;
	size_t n, room;
	struct block *blocks; /* memory of everything a line points to */
};

/* ---- what a line does ------------------------------------------------------------------------ */

struct run;

/* What an operation answered. */
struct outcome {
	int error; /* 0 or negative errno */
	unsigned signal; /* an access failed: AVM_FAULT_... error bit */
	bool has_faults;
	unsigned faults; /* bits of the faults on the way */
	bool has_value;
	uint32_t value_len;
	uint8_t value[SCRIPT_VALUE_MAX];
	bool has_count;
	uint64_t count;
	bool has_addr; /* goes to the label */
	avm_addr_t addr;
};

enum script_op_flags {
	OP_PROC = 1 << 0, /* wants "A:" */
	OP_LABEL = 1 << 1, /* has an address to give to a label */
	OP_CLAIM = 1 << 2, /* a claim: takes no `expect` */
	OP_ATOMIC = 1 << 3, /* when it fails, its address space is as before: checked each time */
	OP_FIRST = 1 << 4, /* makes no machine by itself */
};

/*
 * `args`: letters, one for each argument, blanks between:
 *	A address   L length   N number   P protection   V value   p process   F file+page
 *	B file+page or anon   R range   M range:permissions   a access   D advice
 *	T text: a word or a string
 *	{one|two|three} one of these words
 *	? before a letter: may be missing     * before letters: these, any number of times
 * `options`: keywords, "keyword" or "keyword:LETTERS"; in any order, after the arguments.
 */
struct script_op {
	const char *name;
	unsigned flags;
	const char *args;
	const char *options;
	void (*perform)(struct run *run, const struct script_line *line, struct outcome *out);
};

extern const struct script_op script_ops[];

const struct script_option *script_option(const struct script_line *line, const char *keyword);
bool script_has(const struct script_line *line, const char *keyword);
/* The first argument of the keyword, or `otherwise`. */
uint64_t script_number(const struct script_line *line, const char *keyword, uint64_t otherwise);

/* ---- names of numbers, for parsing and printing ---------------------------------------------- */

struct script_word {
	const char *word;
	uint64_t value;
};
extern const struct script_word script_errnos[], script_signals[], script_faults[], script_advice[],
	script_vm_flags[];
const struct script_word *script_find_word(const struct script_word *table, const char *word);
const char *script_word_of(const struct script_word *table,
			   uint64_t value); /* "?" when there is none */

/* ---- a run ----------------------------------------------------------------------------------- */

struct run_watch;
struct run_pin;

struct run_proc {
	struct script_name name;
	struct sim_proc *sim;
	struct oracle_proc *oracle;
	struct run_watch *watch;
	avm_addr_t brk; /* as avm_brk answered last */
	bool lock_future;
};

struct run_file {
	struct script_name name;
	struct avm_file *file;
	struct oracle_object *oracle;
};

struct run_swap {
	struct script_name name;
	struct avm_swap_device *device;
};

struct run_label {
	struct script_name name;
	avm_addr_t addr;
};

struct run {
	const struct script *script;
	const struct script_line *line;
	const struct script_options *options;
	struct script_result *result;

	struct sim *sim; /* made by the first line that needs it */
	struct oracle *oracle;
	struct oracle_object *frames; /* what bare frames contain */
	enum sim_contents contents;
	uint64_t nr_frames;
	struct run_proc *procs;
	size_t nr_procs, procs_room;
	struct run_file *files;
	size_t nr_files, files_room;
	struct run_swap *swaps;
	size_t nr_swaps, swaps_room;
	struct run_label *labels;
	size_t nr_labels, labels_room;
	struct run_fill *fills; /* contents of files; a mapping may outlive the name */
	uint64_t next_stamp;
	struct run_pin *pins;
	bool poisons; /* a line made a frame go bad */
	bool io_fails; /* a line made reads or writes of a file or a swap device fail */
	bool over; /* the script has failed */
	struct avm_stats mark;
};

/* Ends the script: status 1 (not as expected) or 2 (bad script). The first one counts. */
void run_fail(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
void run_bad(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool run_machine(struct run *run, const struct sim_config *config);
struct avm *run_avm(const struct run *run);

/* These say what is missing, and return NULL or false. */
struct run_proc *run_proc(struct run *run, const struct script_name *name);
struct run_file *run_file(struct run *run, const struct script_addr *file);
bool run_addr(struct run *run, const struct script_addr *addr, avm_addr_t *out);
bool run_range(struct run *run, const struct script_range *range, avm_addr_t *start,
	       avm_addr_t *end);
struct run_proc *run_line_proc(struct run *run); /* of "A:" */
/* Slots for names that are free. They move what run_proc() and run_file() returned before. */
struct run_proc *run_new_proc(struct run *run, const struct script_name *name);
struct run_file *run_new_file(struct run *run, const struct script_name *name);
struct run_swap *run_new_swap(struct run *run, const struct script_name *name);
void run_drop_proc(struct run *run, struct run_proc *p);
void run_drop_file(struct run *run, struct run_file *f);
void run_set_label(struct run *run, const struct script_name *name, avm_addr_t addr);
struct avm_mm *run_mm(const struct run_proc *p);

/* Offset in the file of FILE+PAGES.BYTES. */
static inline uint64_t run_file_offset(const struct script_addr *file)
{
	return file->pages * SCRIPT_PAGE + file->bytes;
}

/* Compares the present pages of all processes with the oracle. */
void run_audit(struct run *run);
void run_watch_free(struct run_proc *p);
void run_fills_free(struct run *run);

/* A text of the address space as `unchanged` compares it; to be freed. */
char *run_dump(const struct run_proc *p);

/* The operations, by file. */
void op_machine(struct run *, const struct script_line *, struct outcome *);
void op_process(struct run *, const struct script_line *, struct outcome *);
void op_fork(struct run *, const struct script_line *, struct outcome *);
void op_exit(struct run *, const struct script_line *, struct outcome *);
void op_exec(struct run *, const struct script_line *, struct outcome *);
void op_unmap_all(struct run *, const struct script_line *, struct outcome *);
void op_limit(struct run *, const struct script_line *, struct outcome *);
void op_watch(struct run *, const struct script_line *, struct outcome *);
void op_watched(struct run *, const struct script_line *, struct outcome *);
void op_fail(struct run *, const struct script_line *, struct outcome *);
void op_fail_io(struct run *, const struct script_line *, struct outcome *);
void op_verify(struct run *, const struct script_line *, struct outcome *);
void op_mark(struct run *, const struct script_line *, struct outcome *);
void op_address(struct run *, const struct script_line *, struct outcome *);

void op_mmap(struct run *, const struct script_line *, struct outcome *);
void op_munmap(struct run *, const struct script_line *, struct outcome *);
void op_mprotect(struct run *, const struct script_line *, struct outcome *);
void op_mremap(struct run *, const struct script_line *, struct outcome *);
void op_madvise(struct run *, const struct script_line *, struct outcome *);
void op_mlock(struct run *, const struct script_line *, struct outcome *);
void op_munlock(struct run *, const struct script_line *, struct outcome *);
void op_mlockall(struct run *, const struct script_line *, struct outcome *);
void op_munlockall(struct run *, const struct script_line *, struct outcome *);
void op_msync(struct run *, const struct script_line *, struct outcome *);
void op_mincore(struct run *, const struct script_line *, struct outcome *);
void op_brk(struct run *, const struct script_line *, struct outcome *);
void op_insert_pfn(struct run *, const struct script_line *, struct outcome *);
void op_name(struct run *, const struct script_line *, struct outcome *);
void op_policy(struct run *, const struct script_line *, struct outcome *);

void op_read(struct run *, const struct script_line *, struct outcome *);
void op_write(struct run *, const struct script_line *, struct outcome *);
void op_touch(struct run *, const struct script_line *, struct outcome *);
void op_fault(struct run *, const struct script_line *, struct outcome *);
void op_stamp(struct run *, const struct script_line *, struct outcome *);
void op_check(struct run *, const struct script_line *, struct outcome *);
void op_copyin(struct run *, const struct script_line *, struct outcome *);
void op_copyout(struct run *, const struct script_line *, struct outcome *);
void op_copy(struct run *, const struct script_line *, struct outcome *);
void op_populate(struct run *, const struct script_line *, struct outcome *);
void op_map_cached(struct run *, const struct script_line *, struct outcome *);

void op_swapon(struct run *, const struct script_line *, struct outcome *);
void op_swapoff(struct run *, const struct script_line *, struct outcome *);
void op_swapout(struct run *, const struct script_line *, struct outcome *);
void op_ksm(struct run *, const struct script_line *, struct outcome *);
void op_migrate(struct run *, const struct script_line *, struct outcome *);
void op_compact(struct run *, const struct script_line *, struct outcome *);
void op_poison(struct run *, const struct script_line *, struct outcome *);
void op_pin(struct run *, const struct script_line *, struct outcome *);
void op_unpin(struct run *, const struct script_line *, struct outcome *);
void op_dma_read(struct run *, const struct script_line *, struct outcome *);
void op_dma_write(struct run *, const struct script_line *, struct outcome *);
void run_unpin_all(struct run *run);
void op_reclaim(struct run *, const struct script_line *, struct outcome *);
void op_shrinkall(struct run *, const struct script_line *, struct outcome *);
void op_balance(struct run *, const struct script_line *, struct outcome *);
void op_swap(struct run *, const struct script_line *, struct outcome *);
void op_swapped(struct run *, const struct script_line *, struct outcome *);
/* `fail swapread` and `fail swapwrite`; the device of `machine swap`; `show swap`. */
void run_fail_swap(struct run *run, const struct script_line *line);
void run_machine_swap(struct run *run, const struct script_line *line, struct outcome *out);
void run_show_swap(struct run *run, FILE *f);
/* Pages of the line's range; 0, and the script is bad, if it is none. */
uint64_t run_pages(struct run *run, const struct script_line *line, size_t arg);

void op_file(struct run *, const struct script_line *, struct outcome *);
void op_memfd(struct run *, const struct script_line *, struct outcome *);
void op_close(struct run *, const struct script_line *, struct outcome *);
void op_truncate(struct run *, const struct script_line *, struct outcome *);
void op_punch(struct run *, const struct script_line *, struct outcome *);
void op_invalidate(struct run *, const struct script_line *, struct outcome *);
void op_sync(struct run *, const struct script_line *, struct outcome *);
void op_readahead(struct run *, const struct script_line *, struct outcome *);
void op_fread(struct run *, const struct script_line *, struct outcome *);
void op_fwrite(struct run *, const struct script_line *, struct outcome *);

void op_maps(struct run *, const struct script_line *, struct outcome *);
void op_vmas(struct run *, const struct script_line *, struct outcome *);
void op_pte(struct run *, const struct script_line *, struct outcome *);
void op_page(struct run *, const struct script_line *, struct outcome *);
void op_frame(struct run *, const struct script_line *, struct outcome *);
void op_key(struct run *, const struct script_line *, struct outcome *);
void op_rmap(struct run *, const struct script_line *, struct outcome *);
void op_family(struct run *, const struct script_line *, struct outcome *);
void op_rss(struct run *, const struct script_line *, struct outcome *);
void op_smaps(struct run *, const struct script_line *, struct outcome *);
void op_pages(struct run *, const struct script_line *, struct outcome *);
void op_event(struct run *, const struct script_line *, struct outcome *);
void op_refused(struct run *, const struct script_line *, struct outcome *);
void op_count(struct run *, const struct script_line *, struct outcome *);

/* Draws the machine as the script has left it, if that is asked for. */
void run_picture(struct run *run);

void op_graph(struct run *, const struct script_line *, struct outcome *);
void op_show(struct run *, const struct script_line *, struct outcome *);

#endif
