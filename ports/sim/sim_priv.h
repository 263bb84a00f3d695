/* SPDX-License-Identifier: MIT */
/* sim_priv.h - what the files of the sim port share. */
#ifndef SIM_PRIV_H
#define SIM_PRIV_H

#include <string.h>
#include <sys/queue.h>

#include "avm_arch.h"
#include "avm_port.h"
#include "sim.h"

#define SIM_META_SIZES 4 /* powers of two from AVM_META_MIN on: chunks that are kept */
#define SIM_FIRST_PFN 1 /* 0 stays what it is in real life: a bug */

/* ---- sparse pages: the backing store of a file; frames of devices ------------------------------------ */

struct sim_store_page {
	struct sim_store_page *next; /* in the bucket */
	uint64_t index;
	unsigned char bytes[]; /* store->page_size */
};

struct sim_store_bucket {
	struct sim_store_page *first;
};

/* Empty when zero but for page_size. */
struct sim_store {
	size_t page_size;
	struct sim_store_bucket *buckets;
	uint64_t nr_buckets; /* a power of two, or 0 */
	uint64_t nr_pages;
};

unsigned char *sim_store_find(const struct sim_store *st, uint64_t index); /* or NULL */
unsigned char *sim_store_make(struct sim_store *st, uint64_t index); /* found, or made of zeroes */
void sim_store_drop(struct sim_store *st, uint64_t first); /* pages from `first` on */
void sim_store_fini(struct sim_store *st);

/* ---- compressors (sim_compress.c) ---------------------------------------------------------------------- */

struct sim_codec;

/* Has the build a compressor for this kind of device? */
bool sim_codec_there(enum sim_swap_kind kind);

/* 0, -EOPNOTSUPP (not in this build, or no kind that compresses), -EINVAL (no such level), -ENOMEM. */
int sim_codec_new(enum sim_swap_kind kind, int level, struct sim_codec **out);
void sim_codec_free(struct sim_codec *c); /* NULL: nothing */

/* How many bytes it takes now, or 0: it does not fit into `room`. */
size_t sim_pack(struct sim_codec *c, void *to, size_t room, const void *from, size_t len);
/* False: these are not `len` bytes packed. */
bool sim_unpack(struct sim_codec *c, void *to, size_t len, const void *from, size_t packed);

/* ---- the machine --------------------------------------------------------------------------------------- */

enum sim_frame_state {
	SIM_FRAME_FREE,
	SIM_FRAME_USER,
	SIM_FRAME_TABLE,
};

/* All frames; arrays are reserved address space, filled as they are used. */
struct sim_frames {
	uint64_t count;
	uint64_t fresh; /* frames from here on were never used */
	uint64_t nr_free; /* frames on the stack `free` */
	uint64_t used;
	avm_pfn_t *free;
	unsigned char *state; /* enum sim_frame_state */
	unsigned char *contents; /* `content` bytes for each */
	size_t content; /* AVM_PAGE_SIZE, or 8 (stamps) */
	void **tables; /* stamps: the memory of page tables; else NULL */
	void **spare_tables; /* a list through the first word of each */
	struct sim_store devices; /* contents of frames that are not ours */
};

/* Of a frame the memory is its descriptor, which the core may look at while the frame is free. */
enum sim_handing {
	SIM_GIVEN,
	SIM_TAKEN_BACK,
	SIM_FRAME_GIVEN,
	SIM_FRAME_TAKEN_BACK,
};

#ifdef AVM_THREADS
#include "threads_sim.h"
#else
/* One thread: nobody to keep out, and what belongs to a CPU is the machine's. */
struct sim_mutex {
	char unused;
};

static inline void sim_mutex_init(const struct sim_mutex *mutex)
{
	(void)mutex;
}

static inline void sim_lock(const struct sim_mutex *mutex)
{
	(void)mutex;
}

static inline void sim_unlock(const struct sim_mutex *mutex)
{
	(void)mutex;
}

/* Contents that programs may be at. */
static inline void sim_shared_read(void *to, const void *from, size_t len)
{
	if (len == sizeof(uint64_t)) /* a stamp: not worth a call */
		memcpy(to, from, sizeof(uint64_t));
	else
		memcpy(to, from, len);
}

static inline void sim_shared_write(void *to, const void *from, size_t len)
{
	memcpy(to, from, len);
}

static inline bool sim_shared_same(const void *a, const void *b, size_t len)
{
	return !memcmp(a, b, len);
}
#endif

struct sim_locks;
LIST_HEAD(sim_proc_list, sim_proc);
LIST_HEAD(sim_file_list, sim_file);
LIST_HEAD(sim_swap_list, sim_swap);

struct sim {
	struct avm machine;
	struct avm_region region;
	struct avm_page *pages;
	struct sim_config config;
	struct sim_frames frames;
	struct sim_proc_list procs;
	struct sim_file_list files;
	struct sim_swap_list swaps;
	struct sim_mutex mutex; /* covers the three lists, and bad news */
	uint64_t meta_bytes;
	void *spare_meta[SIM_META_SIZES]; /* lists through the first word of each */
	/* Told of memory that goes from one owner to the next; NULL: nobody. */
	void (*handed)(const void *memory, size_t size, enum sim_handing how);
	/* Does this allocation of an object, this read or write of swap or a file fail? NULL: nobody says so. */
	bool (*fails)(enum sim_at at);

	uint64_t allocs, allocs_failed;
	uint64_t fail_first, fail_count; /* by number of allocation; first 0: none fails */

	struct sim_mutex error_mutex;
	uint64_t errors;
	char last_error[256];

	unsigned irq_depth; /* RCU readers inside */
	bool running_deferred;
	struct avm_deferred *deferred, **deferred_end;
	bool wait_eintr;
	struct sim_locks *locks; /* debug builds */
	sim_other_cpu *other_cpu;
	void *other_context;

	sim_interruption *interruption;
	void *interruption_context;
	bool interrupted; /* it runs */
	bool threads; /* several run (ports/check) */
	bool lose_flushes; /* sim_lose_flushes() */
	uint32_t revokers; /* CPUs that have taken a translation away which a TLB still has, and are not done */
	uint32_t waits_given_up; /* by this run, or the last */

	uint64_t ooms, poisonings; /* told by the core */
	struct avm_oom last_oom;
	struct avm_mm *poisoned_mm;
	avm_addr_t poisoned_addr;

	struct smp *smp; /* the CPUs of a machine that has several (ports/threads) */
};

/* sim_of(), for who is called often. */
static inline struct sim *sim_around(struct avm *m)
{
	return (struct sim *)((char *)m - offsetof(struct sim, machine));
}

/*
 * What belongs to the CPU that runs: the depth of its read sections, the locks it holds. With several CPUs there is
 * something to make before the machine, and to end after it.
 */
#ifdef AVM_THREADS
unsigned sim_irq_depth(struct sim *s);
struct sim_locks **sim_locks_place(struct sim *s);
int sim_cpus_init(struct sim *s);
void sim_cpus_fini(struct sim *s);
void sim_cpus_stop(struct sim *s); /* nothing goes on beside any more */
void sim_disturb(struct sim *s); /* another thread may have the processor now */
void sim_frames_count(struct sim *s); /* how many are used: into frames.used */
#else
static inline unsigned sim_irq_depth(const struct sim *s)
{
	return s->irq_depth;
}

static inline struct sim_locks **sim_locks_place(struct sim *s)
{
	return &s->locks;
}

static inline int sim_cpus_init(const struct sim *s)
{
	(void)s;
	return 0;
}

static inline void sim_cpus_fini(const struct sim *s)
{
	(void)s;
}

static inline void sim_cpus_stop(const struct sim *s)
{
	(void)s;
}

static inline void sim_disturb(const struct sim *s)
{
	(void)s;
}

static inline void sim_frames_count(const struct sim *s)
{
	(void)s;
}
#endif

/*
 * Words for who keeps track: the port has written to a page table; the MMU has looked at an entry, or changed it; this thread
 * depends here on something of the port, or has changed it.
 */
#ifdef AVM_CHECK
void sim_wrote(const void *at, size_t size);
void sim_walked(const void *slot, bool write);
void sim_touched(const void *object, bool write);
#else
static inline void sim_wrote(const void *at, size_t size)
{
	(void)at;
	(void)size;
}

static inline void sim_walked(const void *slot, bool write)
{
	(void)slot;
	(void)write;
}

static inline void sim_touched(const void *object, bool write)
{
	(void)object;
	(void)write;
}
#endif

/* What goes wrong is counted, remembered and logged; the simulation goes on. */
void sim_error(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Why something that the host would have to do is refused: remembered only. */
void sim_explain(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Zeroed; where there are several CPUs, in cache lines of its own. Ends the program when the host has no memory: failures to
 * be tested are injected.
 */
void *sim_host_alloc(size_t size);

/* Zeroes; for what may be large, and mostly unused. NULL: none. */
void *sim_reserve(uint64_t size);
void *sim_reserve_descriptors(uint64_t size); /* the same, for struct avm_page */
void sim_unreserve(void *p, uint64_t size);
int sim_frames_init(struct sim *s);
void sim_frames_fini(struct sim *s);
void sim_meta_fini(struct sim *s);
/* content bytes of any frame, a device's included. */
unsigned char *sim_contents(struct sim *s, avm_pfn_t pfn);
bool sim_frame_is_free(const struct sim *s, avm_pfn_t pfn);

/* Each has a TLB for each process. Others than the first: only threads of the checker run there. */
#ifdef AVM_CHECK
#define SIM_CPUS 4u
#else
#define SIM_CPUS 1u
#endif

static inline bool sim_frame_is_ours(const struct sim *s, avm_pfn_t pfn)
{
	return pfn - SIM_FIRST_PFN < s->frames.count;
}

/* In debug builds nothing sensible is left in it. */
void sim_frame_spoil(struct sim *s, avm_pfn_t pfn);

/* R12: a frame that is about to be free must be in no TLB. */
void sim_check_untranslated(struct sim *s, avm_pfn_t pfn);

/* Has a TLB a translation that was taken away? */
static inline bool sim_revoking(const struct sim *s)
{
	sim_touched(&s->revokers, false);
	return s->revokers;
}

/*
 * R12: nobody may still be able to write to a frame whose contents are read as the last ones: `what` is done with it. `slot`:
 * the value of entries that stand for the page now.
 */
#define SIM_NO_SLOT UINT64_MAX
void sim_check_protected(struct sim *s, avm_pfn_t pfn, uint64_t slot, const char *what);

/*
 * Does this translation of an address space, by its id, permit what its tables do not? Of one that is gone nothing may be left
 * but what nobody can use. => machine at rest
 */
bool sim_is_stale(struct sim *s, uint64_t space, avm_addr_t page, avm_pte_t pte);

/*
 * Runs the deferred calls that no RCU reader holds back; none while several threads take turns, who come to their end first.
 * Among CPUs: waits until there are none.
 */
void sim_run_deferred(struct sim *s);
void sim_defer(struct sim *s, struct avm_deferred *d); /* one more */

/* Somebody else runs (sim_set_interruption), unless he does already. */
void sim_interrupt(struct sim *s, enum sim_at at);

/* Gives back the files that are still there. */
void sim_files_fini(struct sim *s);
void sim_procs_fini(struct sim *s);

/* Removes every swap device. What still has pages counts as left: returns how many slots. */
uint64_t sim_swaps_remove(struct sim *s);
/* ... and gives the memory of those back, when the core is gone. */
void sim_swaps_fini(struct sim *s);

/* Is told of a lock operation before it happens. (avm_port.h has it where the core calls it.) */
#if defined(AVM_DEBUG) && defined(AVM_THREADS_HOOKS)
void sim_lock_event(struct avm *m, int event, int class, const volatile void *lock);
#endif

/* Reports every lock that is held where none may be. Nothing in release builds. */
void sim_locks_check(struct sim *s, const char *where);
void sim_locks_fini(struct sim *s);
void sim_locks_free(struct sim_locks *l); /* NULL: nothing */

/* Somebody else runs for a while, who holds nothing yet; afterwards he must hold nothing again. */
struct sim_locks *sim_locks_switch(struct sim *s);
void sim_locks_switch_back(struct sim *s, struct sim_locks *locks);

#endif
