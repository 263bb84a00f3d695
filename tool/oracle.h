/* SPDX-License-Identifier: MIT */
/*
 * oracle.h - what memory must contain: a flat model that shares no code with the core.
 *
 * A process is a sorted list of ranges (protection, object behind it) and a sorted list of pages
 * that were written. fork copies both. There are no frames, no page tables, no anon_vmas, no
 * sharing of copies: nothing that could be wrong in the way the core can be wrong. The model knows
 * contents and which accesses fail how; it does not know the boundaries of VMAs, nor limits, nor
 * memory that runs out.
 *
 * The caller runs an operation on the core first. If it succeeded, it tells the oracle with the
 * function of the same name. If it failed, it compares the error with what the oracle_*_error()
 * function predicts, where there is one; a prescribed partial effect (mprotect before a hole) is
 * applied by the same call as success:
 *
 *	int want = oracle_mprotect_error(p, addr, end, prot);
 *	int got = avm_mprotect(mm, addr, end - addr, prot);
 *
 *	if (got == want)
 *		oracle_mprotect(p, addr, end, prot);
 *	else if (got != -AVM_ENOMEM)		no memory, a limit: nothing has changed
 *		wrong();
 *
 * And around each access, which must not cross a page:
 *
 *	struct oracle_answer want = oracle_access(p, addr, AVM_ACCESS_READ);
 *	unsigned got = sim_load(...);
 *
 *	if (got == 0 && want.may_grow)
 *		oracle_grow(p, addr);		the stack grew: now the answer is another one
 *	if (got == 0 && !oracle_load(p, addr, bytes, len))
 *		wrong();
 *
 * Addresses and lengths are bytes and page-aligned unless an access is meant; `end` is exclusive.
 * Nothing here fails: without memory the program ends.
 */
#ifndef ANONVM_TOOL_ORACLE_H
#define ANONVM_TOOL_ORACLE_H

#include "anonvm/types.h"

struct oracle;
struct oracle_proc;
struct oracle_object;

/*
 * Pages of `page_size` bytes, of which the first `content` are modelled: all of them, or 8 where
 * frames keep one stamp only.
 */
struct oracle *oracle_create(uint64_t page_size, uint32_t content);
void oracle_destroy(struct oracle *o); /* with all processes and objects */

/* ---- processes ------------------------------------------------------------------------------- */

struct oracle_proc *oracle_proc_create(struct oracle *o);
struct oracle_proc *oracle_fork(const struct oracle_proc *parent);
void oracle_exit(struct oracle_proc *p);

/* ---- objects: files and shared memory -------------------------------------------------------- */

/* First contents of page `index` of a file: writes `content` bytes. */
typedef void oracle_fill_fn(void *context, uint64_t index, void *bytes);

/*
 * A file of `size` bytes; fill NULL: zeroes. What lies on its disk is what was synced last;
 * dropping a page that was not synced (punch) brings that back. One reference, the caller's; each
 * range that maps it holds one.
 */
struct oracle_object *oracle_file(struct oracle *o, uint64_t size, oracle_fill_fn *fill,
				  void *context);
/* Memory without a disk: a punched page is zero. */
struct oracle_object *oracle_shmem(struct oracle *o, uint64_t size);
void oracle_object_put(struct oracle_object *object);

void oracle_truncate(struct oracle_object *object,
		     uint64_t size); /* private copies beyond go, too */
void oracle_punch(struct oracle_object *object, uint64_t first_page, uint64_t end_page);
void oracle_sync(struct oracle_object *object);
void oracle_sync_pages(struct oracle_object *object, uint64_t first_page, uint64_t end_page);
/*
 * As write(2), which may make the file larger. And: are these the bytes that read(2) may return?
 * Any length.
 */
void oracle_object_store(struct oracle_object *object, uint64_t offset, const void *bytes,
			 uint64_t len);
bool oracle_object_load(struct oracle_object *object, uint64_t offset, const void *seen,
			uint64_t len);

/* ---- operations ------------------------------------------------------------------------------ */

enum oracle_flags {
	ORACLE_SHARED = 1 << 0,
	ORACLE_MAYWRITE =
		1 << 1, /* may be given PROT_WRITE later; set but for read-only shared files */
	ORACLE_GROWSDOWN = 1 << 2,
	ORACLE_LOCKED = 1 << 3, /* refuses DONTNEED, FREE, REMOVE */
	ORACLE_SPECIAL = 1 << 4, /* bare frames; object pages are frame numbers */
	ORACLE_DONTCOPY = 1 << 5, /* this and the next are set by madvise */
	ORACLE_WIPEONFORK = 1 << 6,
};

struct oracle_map {
	avm_addr_t start, end;
	uint32_t prot; /* AVM_PROT_... */
	uint32_t flags; /* ORACLE_... */
	struct oracle_object *object; /* NULL: private anonymous, or, with SHARED, a new shmem */
	uint64_t pgoff; /* page of the object at start */
};

/* Replaces whatever is there. brk and exec are made of this and oracle_munmap. */
void oracle_mmap(struct oracle_proc *p, const struct oracle_map *map);
void oracle_munmap(struct oracle_proc *p, avm_addr_t start, avm_addr_t end);

/* 0, -ENOMEM (a hole) or -EACCES (a may-bit): what precedes it is changed all the same. */
int oracle_mprotect_error(const struct oracle_proc *p, avm_addr_t start, avm_addr_t end,
			  uint32_t prot);
void oracle_mprotect(struct oracle_proc *p, avm_addr_t start, avm_addr_t end, uint32_t prot);

/*
 * 0, -ENOMEM (a hole; the rest is done), -EINVAL or -EACCES (a range that cannot take the advice;
 * what precedes is done).
 */
int oracle_madvise_error(const struct oracle_proc *p, avm_addr_t start, avm_addr_t end,
			 enum avm_advice advice);
void oracle_madvise(struct oracle_proc *p, avm_addr_t start, avm_addr_t end,
		    enum avm_advice advice);

/*
 * [from, from + old_len) went to [to, to + new_len). `flags`: AVM_MREMAP_DONTUNMAP or 0. old_len 0
 * (shared mappings) makes a second mapping.
 */
void oracle_mremap(struct oracle_proc *p, avm_addr_t from, uint64_t old_len, avm_addr_t to,
		   uint64_t new_len, uint32_t flags);

/* mlock, munlock: up to the first hole. Contents do not change; later advice may be refused. */
void oracle_lock(struct oracle_proc *p, avm_addr_t start, avm_addr_t end);
void oracle_unlock(struct oracle_proc *p, avm_addr_t start, avm_addr_t end);

/*
 * Pages were faulted in as by an access (populate, mlock, MAP_POPULATE), which ends at the first
 * page that fails. A write gives each page of a private mapping a copy of its own. Returns the
 * address reached.
 */
avm_addr_t oracle_populate(struct oracle_proc *p, avm_addr_t start, avm_addr_t end,
			   enum avm_access access);

/* The growsdown range above addr grew to cover it. pre: oracle_access() said may_grow. */
void oracle_grow(struct oracle_proc *p, avm_addr_t addr);

/* First address in [start, end) that is not mapped, or end. */
avm_addr_t oracle_hole(const struct oracle_proc *p, avm_addr_t start, avm_addr_t end);

/* ---- accesses -------------------------------------------------------------------------------- */

struct oracle_answer {
	unsigned fault; /* 0: it works. Else AVM_FAULT_MAPERR, ACCERR or SIGBUS: it must fail so */
	bool may_grow; /* with MAPERR: or a stack grows down to here, if limits and guard permit */
};
struct oracle_answer oracle_access(const struct oracle_proc *p, avm_addr_t addr,
				   enum avm_access access);
/* As a debugger (R8.10); EXEC is not asked for. */
struct oracle_answer oracle_forced(const struct oracle_proc *p, avm_addr_t addr,
				   enum avm_access access);

/*
 * The memory behind a private page has gone bad: this process gets SIGBUS until the page is unmapped, or dropped by
 * DONTNEED. A fork inherits it.
 */
void oracle_lose(struct oracle_proc *p, avm_addr_t addr);
bool oracle_is_lost(const struct oracle_proc *p, avm_addr_t addr);

/*
 * May a load at addr, which works, see these bytes? Remembers what a true answer tells (MADV_FREE
 * leaves two possibilities, and a look decides).
 */
bool oracle_load(struct oracle_proc *p, avm_addr_t addr, const void *seen, uint32_t len);

/* A store at addr worked, forced or not. len 0: a write access whose data does not matter. */
void oracle_store(struct oracle_proc *p, avm_addr_t addr, const void *bytes, uint32_t len);

/*
 * As oracle_load, and learns nothing: for looking at memory from outside while nobody accesses it.
 */
bool oracle_permits(const struct oracle_proc *p, avm_addr_t addr, const void *seen, uint32_t len);

/*
 * The n-th possible contents at addr (n = 0, 1), for messages: false when there are not so many.
 * Fills buf with len bytes. pre: addr is mapped.
 */
bool oracle_possible(const struct oracle_proc *p, avm_addr_t addr, unsigned n, void *buf,
		     uint32_t len);

/*
 * The range around addr with the same attributes (it may be more than a VMA): false when it is not
 * mapped. The object is not referenced.
 */
bool oracle_find(const struct oracle_proc *p, avm_addr_t addr, struct oracle_map *out);

#endif
