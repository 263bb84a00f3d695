/* SPDX-License-Identifier: MIT */
/*
 * sim.h - a simulated machine that runs on the core: frames, an MMU with a TLB, processes that load and store.
 *
 * The tool, the tests and the benchmarks use only this and the public headers of the core.
 *
 *	struct sim *s;
 *	struct sim_proc *a;
 *
 *	sim_create(&s, &(struct sim_config){ .frames = 1024 });
 *	sim_proc_create(s, NULL, &a);
 *	avm_mmap(sim_mm(a), ...);
 *	sim_store(a, addr, &value, sizeof(value), NULL);
 *
 * Loads and stores go the way of hardware: TLB, page tables (with accessed and dirty bits set), page fault,
 * again. A translation that the core forgot to flush stays in the TLB and is used: that is how a missing flush
 * shows. With `check_tlb` every hit is compared with the page tables as well, and a stale one is reported as
 * soon as it is used (sim_errors); and a frame must be in no TLB any more when it is freed.
 */
#ifndef SIM_H
#define SIM_H

#include <stdio.h>

#include "anonvm/anonvm.h"

enum sim_contents {
	SIM_BYTES, /* every frame has all its bytes */
	SIM_STAMPS, /* every frame remembers its first 8 bytes: one 64-bit stamp */
};

struct sim_config {
	struct avm_config core;
	uint64_t frames; /* 0: 65536 */
	enum sim_contents contents;
	uint64_t meta_limit; /* bytes of metadata: beyond, there is no memory for it; 0: no limit */
	bool check_tlb; /* compare each TLB hit with the tables; no frame is freed that a TLB knows */
	bool no_tlb; /* walk the tables on each access */
	uint32_t tlb_entries; /* a power of two; 0: 256 for each process */
	FILE *log; /* where avm_port_log() goes; NULL: stderr */
};

struct sim;
struct sim_proc;

/* 0 or a negative errno. */
int sim_create(struct sim **out, const struct sim_config *config);

/*
 * Puts every process, ends the machine, and says what was not given back: the number of frames, metadata
 * bytes and objects leaked (0 is right). The struct is gone in any case.
 */
uint64_t sim_destroy(struct sim *s);

struct avm *sim_machine(struct sim *s);
struct sim *sim_of(struct avm *m);

/* ---- processes -------------------------------------------------------------------------------------- */

/* An address space with a TLB of its own. `config` may be NULL; its context and release are ignored. */
int sim_proc_create(struct sim *s, const struct avm_mm_config *config, struct sim_proc **out);

/* avm_mm_fork() into a new process. */
int sim_proc_fork(struct sim_proc *parent, struct sim_proc **out);

/* avm_mm_put(): the process is gone. */
void sim_proc_exit(struct sim_proc *p);

struct avm_mm *sim_mm(struct sim_proc *p);
struct sim_proc *sim_proc_of(struct avm_mm *mm);

/* ---- loads and stores ------------------------------------------------------------------------------- */

/*
 * As a program would: `len` bytes that do not cross a page (SIM_STAMPS: 8 bytes at a page's start). Returns 0, or
 * the error bit of the fault (AVM_FAULT_MAPERR ...); in an interruption, AVM_FAULT_RETRY when the fault needs what the
 * interrupted one holds. *faults, if given, is OR-ed with the bits of every fault on
 * the way (0: none was needed). Stores never write part of the data.
 */
unsigned sim_load(struct sim_proc *p, avm_addr_t addr, void *buf, size_t len, unsigned *faults);
unsigned sim_store(struct sim_proc *p, avm_addr_t addr, const void *buf, size_t len,
		   unsigned *faults);

/* An instruction fetch, or an access whose data does not matter. */
unsigned sim_touch(struct sim_proc *p, avm_addr_t addr, enum avm_access access, unsigned *faults);

/* Would this access fault now, by the page tables alone? Changes nothing. *info as avm_pte_at(). */
bool sim_would_fault(struct sim_proc *p, avm_addr_t addr, enum avm_access access,
		     struct avm_pte_info *info);

/*
 * Under the checker each thread has TLBs of its own, and is told apart who has taken a translation away: when his operation is
 * over no TLB may have it any more. To be called then, on his CPU.
 */
void sim_check_revoked(struct sim *s);

/* Nobody does anything: no TLB may allow what the tables do not. They are empty afterwards. */
void sim_check_settled(struct sim *s);

/* For tests: from now on a flush does nothing. */
void sim_lose_flushes(struct sim *s, bool lose);

/* Is there a translation for this page in the TLB? */
bool sim_translated(struct sim_proc *p, avm_addr_t addr);
/* The frame of that; AVM_PFN_NONE: there is none. Right after an access: the frame that it went to. */
avm_pfn_t sim_translation(struct sim_proc *p, avm_addr_t addr);

/* ---- files ------------------------------------------------------------------------------------------ */

/*
 * A file with contents. Byte i of the file starts as a function of (seed, i), or zero when seed is 0; what is
 * written back (write_page) is kept and read again. Holds one reference; sim_file_put() drops it.
 */
int sim_file_create(struct sim *s, const char *name, uint64_t size, uint64_t seed,
		    struct avm_file **out);
int sim_memfd_create(struct sim *s, const char *name, uint64_t size, struct avm_file **out);
const char *sim_file_name(const struct avm_file *f); /* NULL for one the core made */
void sim_file_put(struct avm_file *f);

/*
 * avm_file_truncate(), and the backing store is cut as well: what lies beyond the size is zero when the file grows
 * again. (The core tells a file of no truncation; the store looks at the size at each read and write only.)
 */
int sim_file_truncate(struct avm_file *f, uint64_t size);

/* First contents of a page of a file made with this seed: `len` bytes from the start of page `index`. */
void sim_file_page(uint64_t seed, uint64_t index, void *bytes, size_t len);

/* The next `reads` reads and `writes` writes of this file fail with -EIO; reads with -EAGAIN, with `retry`. */
void sim_file_fail(struct avm_file *f, unsigned reads, unsigned writes, bool retry);

/* ---- swap --------------------------------------------------------------------------------------------- */

enum sim_swap_kind {
	SIM_SWAP_MEMORY, /* copies of pages */
	SIM_SWAP_FILE, /* a file or block device of the host: slot i at i pages */
	SIM_SWAP_ZSTD, /* copies, compressed */
	SIM_SWAP_LZ4,
	SIM_NR_SWAP_KINDS,
};

struct sim_swap_config {
	enum sim_swap_kind kind;
	uint32_t slots; /* SIM_SWAP_FILE: 0 means as many as an existing file has room for */
	int32_t priority; /* devices of higher priority are filled first */
	/*
	 * SIM_SWAP_FILE: made if it is not there, and then removed with the device. What stands in it is overwritten. It
	 * is locked, so that no two devices share it. With SIM_STAMPS a slot is 8 bytes.
	 */
	const char *path;
	/* Compressed: 0 is the default. zstd: as its command has it. lz4: from 2 on smaller, below 0 faster. */
	int level;
};

/* Can this build make such a device? (Compressors are libraries, which it may lack.) */
bool sim_swap_has(enum sim_swap_kind kind);

/*
 * Makes a device and gives it to the core (avm_swap_add). 0; -EOPNOTSUPP: sim_swap_has() says no; -EINVAL: no slots, no
 * such level, no file, or one that is too small; -EBUSY: somebody else has it as swap; what open(2) says of the file; or
 * what avm_swap_add() says. sim_last_error() has the reason in words; sim_errors() does not count it.
 */
int sim_swap_add(struct sim *s, const struct sim_swap_config *config, struct avm_swap_device **out);

/* avm_swap_remove(), and the device is gone; it stays if that fails. sim_destroy() removes what is left. */
int sim_swap_remove(struct sim *s, struct avm_swap_device *d);

/*
 * After `skip` more of each have gone well, `reads` reads and `writes` writes of this device fail with -EIO
 * (UINT_MAX: for ever). A slot whose writing has failed holds nothing.
 */
void sim_swap_fail(struct avm_swap_device *d, unsigned skip, unsigned reads, unsigned writes);

struct sim_swap_stats {
	uint64_t reads, writes, discards; /* so far, without those that failed */
	uint64_t pages; /* slots that hold a page now ... */
	uint64_t bytes; /* ... in so many bytes */
	uint64_t same_filled; /* of the pages: one word repeated, kept as 8 bytes (compressed kinds) */
	uint64_t incompressible; /* of the pages: kept as they are (compressed kinds) */
};
void sim_swap_stats(const struct avm_swap_device *d, struct sim_swap_stats *out);

/* ---- failures and checks ----------------------------------------------------------------------------- */

/*
 * Allocation number `first` from now (1 is the next) fails, and `count` in a row do (0: every one from there
 * on). first 0: none fails any more. Objects and frames are counted alike.
 */
void sim_fail_alloc(struct sim *s, uint64_t first, uint64_t count);
uint64_t sim_allocs(const struct sim *s); /* so far */
uint64_t sim_allocs_failed(const struct sim *s); /* by injection, so far */

/*
 * One thread that waits for a lock waits for ever: by default that is reported, and the end. With `eintr` the wait is
 * given up with -EINTR instead, as by a signal: for tests of the paths behind it.
 */
void sim_set_wait_eintr(struct sim *s, bool eintr);

/*
 * Another CPU, for tests of what may happen in between: `other` is called whenever the core is about to take, try or
 * drop a lock, and may do whatever somebody else could do at that moment, calls of the core included (from which it is
 * not called again). NULL: nobody. Debug builds only: false elsewhere. Events and classes are those of anonvm/port.h.
 */
typedef void sim_other_cpu(void *context, int event, int lock_class, const volatile void *lock);
bool sim_set_other_cpu(struct sim *s, sim_other_cpu *other, void *context);

/*
 * Somebody else runs now, in all builds: `call` is called where an operation lets others run for long, with nothing held
 * but sleeping locks, and may do whatever another thread could do there, calls of the core included (from which it is
 * not called again). What it has to wait for it cannot get: such waits are given up with -EINTR, as with
 * sim_set_wait_eintr(); one that cannot be given up is a deadlock. NULL: nobody.
 */
enum sim_at {
	SIM_AT_FRAME_ALLOC,
	SIM_AT_OBJECT_ALLOC, /* wherever sim_fail_alloc() counts: before each frame as well */
	SIM_AT_SWAP_READ, /* before the first byte moves, as all below */
	SIM_AT_SWAP_WRITE,
	SIM_AT_FILE_READ,
	SIM_AT_FILE_WRITE,
	SIM_AT_FRAME_COPY, /* of a page that is locked: being moved, or copied out of a cache */
};
typedef void sim_interruption(void *context, enum sim_at at);
void sim_set_interruption(struct sim *s, sim_interruption *call, void *context);

/* avm_verify() with every line printed to `out` (NULL: nowhere); plus the simulator's own errors. */
int64_t sim_verify(struct sim *s, enum avm_verify_level level, FILE *out);

/* Lock-rule violations, stale translations used, double frees of frames ...: 0 is right. The first are logged. */
uint64_t sim_errors(const struct sim *s);
/* Text of the last such error, or of why the host could not do its part; or "". */
const char *sim_last_error(const struct sim *s);

/* How often there was no memory even after reclaim (avm_port_oom), and the last of it, or NULL. */
uint64_t sim_ooms(const struct sim *s);
const struct avm_oom *sim_last_oom(const struct sim *s);

/* How many pages of address spaces were reported as gone bad (avm_port_poisoned), and where the last was. */
uint64_t sim_poisonings(const struct sim *s);
struct avm_mm *sim_last_poisoned(const struct sim *s, avm_addr_t *addr);

/* Frames with contents now, bytes of metadata now. */
uint64_t sim_frames_used(struct sim *s);
uint64_t sim_meta_bytes(const struct sim *s);

#endif
